/* histogram: a native histogram as one sample: exponential buckets (schema -4..8) or custom ones (schema -53).
 *
 *     spans   (offset, length)*   where runs of populated buckets are; offset counts from the end of the run before
 *     values  one absolute count a bucket of the spans, in their order
 *
 * Bucket i of schema s covers (2^((i-1)*2^-s), 2^(i*2^-s)]; custom bucket i covers (bounds[i-1], bounds[i]].
 * Counts are doubles for integer histograms too (exact below 2^53); `is_integer` remembers what it was. A stale
 * marker is a histogram whose sum is the stale NaN. Source: Prometheus' native histogram specification.
 *
 * A plain value with borrowed arrays: whoever makes one says where they live; histogram_copy puts all in an arena. */
#ifndef MODEL_HISTOGRAM_H
#define MODEL_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "model/sample.h"

#define HISTOGRAM_SCHEMA_MIN    (-4)
#define HISTOGRAM_SCHEMA_MAX    8
#define HISTOGRAM_SCHEMA_CUSTOM (-53)
#define HISTOGRAM_BUCKETS_MAX                                                                      \
    100000 /* Of one sign: what comes from outside and has more is refused. */

enum histogram_hint {
    HISTOGRAM_UNKNOWN_RESET,
    HISTOGRAM_RESET,
    HISTOGRAM_NOT_RESET,
    HISTOGRAM_GAUGE
};

struct histogram_span {
    int32_t offset;
    uint32_t length;
};

struct histogram {
    int32_t schema;
    uint8_t hint; /* enum histogram_hint */
    bool is_integer;
    double zero_threshold, zero_count, count, sum;
    const struct histogram_span *positive_spans, *negative_spans;
    uint32_t positive_span_count, negative_span_count;
    const double *positive, *negative;
    uint32_t positive_count, negative_count;
    const double *bounds; /* Custom buckets only: upper bounds, ascending, without +Inf. */
    uint32_t bound_count;
};

static inline bool histogram_is_stale(const struct histogram *histogram)
{
    return sample_is_stale(histogram->sum);
}
static inline bool histogram_is_custom(const struct histogram *histogram)
{
    return histogram->schema == HISTOGRAM_SCHEMA_CUSTOM;
}

struct histogram *histogram_copy(struct arena *arena, const struct histogram *histogram);
/* Every field and bucket of equal bits; hints too. */
bool histogram_same(const struct histogram *a, const struct histogram *b);
/* Prometheus' checks of what comes from outside (spans match values, no negative count, bounds ascend, ...), with its
 * error texts. */
MUST_CHECK bool histogram_validate(const struct histogram *histogram, struct err *err);

#endif
