/* histogram_parts: a native histogram as it comes over the wire: fields in any order, arrays in pieces.
 *
 *     reset -> set fields, read_spans, read_deltas, ... -> take: checked, compact, in an arena
 *
 * Integer histograms come as deltas, float ones as counts; `is_float` says which of the two counts.
 * Keeps its memory from histogram to histogram; the parts of one are bounded. */
#ifndef MODEL_HISTOGRAM_PARTS_H
#define MODEL_HISTOGRAM_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/vec.h"
#include "base/wire.h"
#include "model/histogram.h"
#include "model/histogram_math.h"

struct histogram_side_parts {
    VEC(struct histogram_span) spans;
    VEC(double) from_deltas;
    VEC(double) counts;
    int64_t last; /* Of from_deltas. */
};

struct histogram_parts {
    int32_t schema;
    uint8_t hint;
    bool is_float;
    double zero_threshold, zero_count, count, sum;
    struct histogram_side_parts positive, negative;
    VEC(double) bounds;
    struct histogram_sum scratch;
};

void histogram_parts_deinit(struct histogram_parts *parts);
void histogram_parts_reset(struct histogram_parts *parts);

/* The payloads of repeated fields, each read by `field`: a message BucketSpan {sint32 offset = 1;
 * uint32 length = 2;}, numbers packed or not. */
MUST_CHECK bool histogram_parts_span(struct histogram_side_parts *side, struct reader *in,
                                     struct wire_field field, const char *name, struct err *err);
MUST_CHECK bool histogram_parts_deltas(struct histogram_side_parts *side, struct reader *in,
                                       struct wire_field field, const char *name, struct err *err);
MUST_CHECK bool histogram_parts_counts(struct histogram_side_parts *side, struct reader *in,
                                       struct wire_field field, const char *name, struct err *err);
MUST_CHECK bool histogram_parts_bounds(struct histogram_parts *parts, struct reader *in,
                                       struct wire_field field, const char *name, struct err *err);

/* Checks as histogram_validate does, brings a finer schema than is stored to the finest that is,
 * leaves out empty buckets. */
MUST_CHECK bool histogram_parts_take(struct histogram_parts *parts, struct arena *arena,
                                     const struct histogram **out, struct err *err);

#endif
