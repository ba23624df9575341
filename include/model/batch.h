/* batch: the samples of one scrape or one remote write request, on their way into storage.
 *
 * All samples of a batch belong to one storage group. A sample is tagged with its kind: a float or a native
 * histogram; one append takes both. Owner: the scrape or request; loop thread. */
#ifndef MODEL_BATCH_H
#define MODEL_BATCH_H

#include <stdint.h>

#include "base/vec.h"
#include "model/histogram.h"
#include "model/sample.h"

typedef uint32_t series_ref; /* A live series of the head; see storage.h for how long it is valid. */
#define SERIES_REF_NONE UINT32_MAX

enum sample_kind {
    SAMPLE_FLOAT,
    SAMPLE_HISTOGRAM,
};

/* What storage did with a sample: filled in by storage_append. */
enum sample_outcome {
    SAMPLE_STORED,
    SAMPLE_SAME,             /* Same time, same bits: accepted silently. */
    SAMPLE_DUPLICATE,        /* Same time, another value. */
    SAMPLE_OUT_OF_ORDER,     /* Older than the series' newest. */
    SAMPLE_OUT_OF_BOUNDS,    /* Older than storage accepts, or too far in the future. */
    SAMPLE_TOO_OLD,          /* Older than the out-of-order window. */
    SAMPLE_LATE,             /* Stored: older than the newest, inside the out-of-order window. */
    SAMPLE_OUTCOME_COUNT,
};

struct batch_sample {
    int64_t time_ms;
    double value;                      /* SAMPLE_FLOAT */
    const struct histogram *histogram; /* SAMPLE_HISTOGRAM: borrowed until storage_append returns. */
    series_ref ref;
    uint8_t kind;    /* enum sample_kind */
    uint8_t outcome; /* enum sample_outcome, out */
};

struct batch {
    VEC(struct batch_sample) samples;
};

static inline void batch_deinit(struct batch *batch) { VEC_FREE(&batch->samples); }
static inline void batch_add(struct batch *batch, series_ref ref, int64_t time_ms, double value)
{
    struct batch_sample sample = {.time_ms = time_ms, .value = value, .ref = ref, .kind = SAMPLE_FLOAT};
    VEC_PUSH(&batch->samples, sample);
}
static inline void batch_add_histogram(struct batch *batch, series_ref ref, int64_t time_ms,
                                       const struct histogram *histogram)
{
    struct batch_sample sample = {
        .time_ms = time_ms, .histogram = histogram, .ref = ref, .kind = SAMPLE_HISTOGRAM};
    VEC_PUSH(&batch->samples, sample);
}

#endif
