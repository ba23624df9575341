/* histogram_compare: are two histograms equal, and was the counter reset between them? */
#include "histogram_internal.h"

static bool bounds_match(const struct histogram *a, const struct histogram *b)
{
    if (a->bound_count != b->bound_count)
        return false;
    for (uint32_t i = 0; i < a->bound_count; i++)
        if (a->bounds[i] != b->bounds[i])
            return false;
    return true;
}

static bool sides_equal(const struct histogram *a, const struct histogram *b, bool positive)
{
    struct histogram_span_walk in_a, in_b;
    histogram_span_walk_init(&in_a, a, positive, false);
    histogram_span_walk_init(&in_b, b, positive, false);
    for (;;) {
        int32_t a_index, b_index;
        double a_count, b_count;
        bool a_more = histogram_span_walk_next(&in_a, &a_index, &a_count);
        bool b_more = histogram_span_walk_next(&in_b, &b_index, &b_count);
        if (!a_more || !b_more)
            return a_more == b_more;
        if (a_index != b_index || sample_bits(a_count) != sample_bits(b_count))
            return false;
    }
}

bool histogram_equal(const struct histogram *a, const struct histogram *b)
{
    if (a->schema != b->schema || sample_bits(a->count) != sample_bits(b->count) ||
        sample_bits(a->sum) != sample_bits(b->sum))
        return false;
    if (histogram_is_custom(a) && !bounds_match(a, b))
        return false;
    if (a->zero_threshold != b->zero_threshold ||
        sample_bits(a->zero_count) != sample_bits(b->zero_count))
        return false;
    return sides_equal(a, b, false) && sides_equal(a, b, true);
}

/* --- resets --- */

/* The buckets of one sign in another resolution, from a threshold on. */
struct merging_walk {
    struct histogram_span_walk walk;
    int32_t schema; /* Of what comes out. */
    int shift;
    double threshold;
    bool is_custom, has_next;
    int32_t next_index;
    double next_count;
};

static void read_ahead(struct merging_walk *merging)
{
    int32_t index;
    merging->has_next = histogram_span_walk_next(&merging->walk, &index, &merging->next_count);
    if (merging->has_next)
        merging->next_index =
            merging->shift ? histogram_target_index(index, merging->shift) : index;
}

static void merging_init(struct merging_walk *merging, const struct histogram *histogram,
                         bool positive, int32_t schema, double threshold)
{
    *merging = (struct merging_walk){.schema = schema,
                                     .shift = histogram_shift(histogram->schema, schema),
                                     .threshold = threshold,
                                     .is_custom = histogram_is_custom(histogram)};
    histogram_span_walk_init(&merging->walk, histogram, positive, false);
    read_ahead(merging);
}

static bool merging_next(struct merging_walk *merging, int32_t *index, double *count)
{
    while (merging->has_next) {
        *index = merging->next_index;
        *count = merging->next_count;
        read_ahead(merging);
        while (merging->has_next && merging->next_index == *index) {
            *count += merging->next_count;
            read_ahead(merging);
        }
        if (merging->threshold == 0 || merging->is_custom ||
            histogram_exponential_bound(*index, merging->schema) > merging->threshold)
            return true;
    }
    return false;
}

/* Has a bucket lost observations? */
static bool side_was_reset(const struct histogram *histogram, const struct histogram *before,
                           bool positive)
{
    struct merging_walk now, then;
    int32_t index = INT32_MIN, then_index;
    double count = 0, then_count;
    bool more = true;
    merging_init(&now, histogram, positive, histogram->schema, histogram->zero_threshold);
    merging_init(&then, before, positive, histogram->schema, histogram->zero_threshold);
    while (merging_next(&then, &then_index, &then_count)) {
        while (more && index < then_index)
            more = merging_next(&now, &index, &count);
        if (more && index == then_index ? count < then_count : then_count != 0)
            return true;
    }
    return false;
}

/* The observations of one histogram up to a bound, bound after bound. */
struct rollup {
    const struct histogram *histogram;
    struct histogram_span_walk walk;
    int32_t index;
    double count;
    bool more;
};

static void rollup_init(struct rollup *rollup, const struct histogram *histogram)
{
    rollup->histogram = histogram;
    histogram_span_walk_init(&rollup->walk, histogram, true, false);
    rollup->more = histogram_span_walk_next(&rollup->walk, &rollup->index, &rollup->count);
}

static double rollup_to(struct rollup *rollup, double bound)
{
    double sum = 0;
    while (rollup->more && histogram_bound(rollup->histogram, rollup->index) <= bound) {
        sum += rollup->count;
        rollup->more = histogram_span_walk_next(&rollup->walk, &rollup->index, &rollup->count);
    }
    return sum;
}

/* Custom buckets of different bounds: compared between the bounds that both have. */
static bool custom_was_reset(const struct histogram *histogram, const struct histogram *before)
{
    struct rollup now, then;
    uint32_t i = 0, j = 0;
    rollup_init(&now, histogram);
    rollup_init(&then, before);
    while (i <= histogram->bound_count && j <= before->bound_count) {
        double bound = histogram_bound(histogram, (int32_t)i);
        double other = histogram_bound(before, (int32_t)j);
        if (bound == other) {
            if (rollup_to(&now, bound) < rollup_to(&then, bound))
                return true;
            i++;
            j++;
        } else if (bound < other) {
            i++;
        } else {
            j++;
        }
    }
    return false;
}

/* The zero bucket may only have grown: by whole buckets, and not to fewer observations. */
static bool zero_was_reset(const struct histogram *histogram, const struct histogram *before)
{
    if (histogram->zero_threshold == before->zero_threshold)
        return histogram->zero_count < before->zero_count;
    if (!(histogram->zero_threshold > before->zero_threshold))
        return true;
    struct histogram_sum sum = {0};
    double threshold = histogram->zero_threshold, rest;
    histogram_sum_set(&sum, before);
    double zero = histogram_sum_zero_count(&sum, &threshold, &rest);
    histogram_sum_deinit(&sum);
    return threshold != histogram->zero_threshold || histogram->zero_count < zero;
}

bool histogram_was_reset(const struct histogram *histogram, const struct histogram *before)
{
    if (histogram->hint == HISTOGRAM_RESET)
        return true;
    if (histogram->hint == HISTOGRAM_NOT_RESET)
        return false;
    if (histogram->count < before->count)
        return true;
    if (histogram_is_custom(histogram)) {
        if (!histogram_is_custom(before))
            return true;
        if (!bounds_match(histogram, before))
            return custom_was_reset(histogram, before);
    }
    if (histogram->schema > before->schema)
        return true;
    return zero_was_reset(histogram, before) || side_was_reset(histogram, before, true) ||
           side_was_reset(histogram, before, false);
}
