/* sample: one measured value, and the marker values that have a meaning. Units: time in Unix ms. */
#ifndef MODEL_SAMPLE_H
#define MODEL_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct sample {
    int64_t time_ms;
    double value;
};

/* NaN payloads that Prometheus stores: the stale marker, and what every other NaN becomes when scraped. */
#define SAMPLE_STALE_BITS  UINT64_C(0x7ff0000000000002)
#define SAMPLE_NORMAL_BITS UINT64_C(0x7ff8000000000001)

static inline uint64_t sample_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}
static inline double sample_from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}
static inline bool sample_is_stale(double value) { return sample_bits(value) == SAMPLE_STALE_BITS; }
static inline double sample_stale(void) { return sample_from_bits(SAMPLE_STALE_BITS); }
static inline double sample_nan(void) { return sample_from_bits(SAMPLE_NORMAL_BITS); }

#endif
