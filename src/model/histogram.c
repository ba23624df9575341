/* histogram: copies, equality and the checks of what comes from outside. */
#include "model/histogram.h"

#include <math.h>
#include <stdio.h>

#include "base/number.h"
#include "model/histogram_math.h"

static const void *copy_array(struct arena *arena, const void *items, size_t count,
                              size_t item_bytes)
{
    if (count == 0)
        return NULL;
    void *copy = arena_alloc_array(arena, count, item_bytes);
    memcpy(copy, items, count * item_bytes);
    return copy;
}

struct histogram *histogram_copy(struct arena *arena, const struct histogram *histogram)
{
    struct histogram *copy = arena_alloc(arena, sizeof(*copy));
    *copy = *histogram;
    copy->positive_spans =
        copy_array(arena, histogram->positive_spans, histogram->positive_span_count,
                   sizeof(struct histogram_span));
    copy->negative_spans =
        copy_array(arena, histogram->negative_spans, histogram->negative_span_count,
                   sizeof(struct histogram_span));
    copy->positive =
        copy_array(arena, histogram->positive, histogram->positive_count, sizeof(double));
    copy->negative =
        copy_array(arena, histogram->negative, histogram->negative_count, sizeof(double));
    copy->bounds = copy_array(arena, histogram->bounds, histogram->bound_count, sizeof(double));
    return copy;
}

static bool same_doubles(const double *a, const double *b, size_t count)
{
    return count == 0 || memcmp(a, b, count * sizeof(double)) == 0;
}

static bool same_spans(const struct histogram_span *a, const struct histogram_span *b, size_t count)
{
    return count == 0 || memcmp(a, b, count * sizeof(*a)) == 0;
}

bool histogram_same(const struct histogram *a, const struct histogram *b)
{
    if (a->schema != b->schema || a->hint != b->hint || a->is_integer != b->is_integer ||
        sample_bits(a->zero_threshold) != sample_bits(b->zero_threshold) ||
        sample_bits(a->zero_count) != sample_bits(b->zero_count) ||
        sample_bits(a->count) != sample_bits(b->count) ||
        sample_bits(a->sum) != sample_bits(b->sum))
        return false;
    if (a->positive_span_count != b->positive_span_count ||
        a->negative_span_count != b->negative_span_count ||
        a->positive_count != b->positive_count || a->negative_count != b->negative_count ||
        a->bound_count != b->bound_count)
        return false;
    return same_spans(a->positive_spans, b->positive_spans, a->positive_span_count) &&
           same_spans(a->negative_spans, b->negative_spans, a->negative_span_count) &&
           same_doubles(a->positive, b->positive, a->positive_count) &&
           same_doubles(a->negative, b->negative, a->negative_count) &&
           same_doubles(a->bounds, b->bounds, a->bound_count);
}

size_t histogram_samples(const struct histogram *histogram)
{
    size_t bytes = 168 + 8 + (size_t)histogram->positive_span_count * 8 +
                   (size_t)histogram->negative_span_count * 8 +
                   (size_t)histogram->positive_count * 8 + (size_t)histogram->negative_count * 8 +
                   (size_t)histogram->bound_count * 8;
    return bytes / 16;
}

/* --- validation --- */

#define NEGATIVE_BUCKET "histogram has a bucket whose observation count is negative"

/* "<before><value><after>" with the value as Go prints it. */
static bool fail_with(struct err *err, const char *before, double value, const char *after)
{
    char text[NUMBER_TEXT_MAX];
    size_t len = number_format(text, value, NUMBER_G);
    return err_set(err, ERR_BAD_DATA, "%s%.*s%s", before, (int)len, text, after);
}

static bool check_spans(const struct histogram_span *spans, uint32_t span_count,
                        uint32_t value_count, bool is_custom, uint64_t *total_out, struct err *err)
{
    uint64_t buckets = 0, total = 0;
    for (uint32_t i = 0; i < span_count; i++) {
        if ((i > 0 || is_custom) && spans[i].offset < 0)
            return err_set(err, ERR_BAD_DATA,
                           "span number %u with offset %d: histogram has a span whose offset is "
                           "negative",
                           i + 1, spans[i].offset);
        buckets += spans[i].length;
        total += spans[i].length + (uint64_t)(spans[i].offset > 0 ? spans[i].offset : 0);
    }
    if (buckets != value_count)
        return err_set(err, ERR_BAD_DATA,
                       "spans need %llu buckets, have %u buckets: histogram spans specify "
                       "different number of buckets than provided",
                       (unsigned long long)buckets, value_count);
    *total_out = total;
    return true;
}

static bool check_buckets(const double *values, uint32_t count, struct err *err)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!(values[i] < 0))
            continue;
        char before[64];
        snprintf(before, sizeof(before), "bucket number %u has observation count of ", i + 1);
        return fail_with(err, before, values[i], ": " NEGATIVE_BUCKET);
    }
    return true;
}

static bool check_bounds(const struct histogram *histogram, struct err *err)
{
    const double *bounds = histogram->bounds;
    uint32_t count = histogram->bound_count;
    uint64_t total;
    for (uint32_t i = 0; i < count; i++) {
        if (isnan(bounds[i]))
            return err_set(err, ERR_BAD_DATA, "histogram custom bounds must not be NaN");
        if (i > 0 && bounds[i] <= bounds[i - 1])
            return err_set(err, ERR_BAD_DATA,
                           "previous bound is %f and current is %f: histogram custom bounds must "
                           "be in strictly increasing order",
                           bounds[i - 1], bounds[i]);
    }
    if (count && isinf(bounds[count - 1]) && bounds[count - 1] > 0)
        return err_set(err, ERR_BAD_DATA,
                       "last +Inf bound must not be explicitly defined: histogram custom bounds "
                       "must be finite");
    if (!check_spans(histogram->positive_spans, histogram->positive_span_count,
                     histogram->positive_count, true, &total, err))
        return false;
    if ((uint64_t)count + 1 < total)
        return err_set(err, ERR_BAD_DATA,
                       "only %u custom bounds defined which is insufficient to cover total span "
                       "length of %llu: histogram custom bounds are too few",
                       count, (unsigned long long)total);
    return true;
}

static bool check_custom(const struct histogram *histogram, struct err *err)
{
    if (!check_bounds(histogram, err))
        return err_wrap(err, "custom buckets");
    if (histogram->zero_count != 0)
        return err_set(err, ERR_BAD_DATA, "custom buckets: must have zero count of 0");
    if (histogram->zero_threshold != 0)
        return err_set(err, ERR_BAD_DATA, "custom buckets: must have zero threshold of 0");
    if (histogram->negative_span_count)
        return err_set(err, ERR_BAD_DATA, "custom buckets: must not have negative spans");
    if (histogram->negative_count)
        return err_set(err, ERR_BAD_DATA, "custom buckets: must not have negative buckets");
    return true;
}

static bool check_exponential(const struct histogram *histogram, struct err *err)
{
    uint64_t total;
    if (!check_spans(histogram->positive_spans, histogram->positive_span_count,
                     histogram->positive_count, false, &total, err))
        return err_wrap(err, "positive side");
    if (!check_spans(histogram->negative_spans, histogram->negative_span_count,
                     histogram->negative_count, false, &total, err) ||
        !check_buckets(histogram->negative, histogram->negative_count, err))
        return err_wrap(err, "negative side");
    if (histogram->zero_count < 0)
        return fail_with(err, "zero bucket has observation count of ", histogram->zero_count,
                         ": " NEGATIVE_BUCKET);
    if (histogram->bound_count)
        return err_set(err, ERR_BAD_DATA,
                       "histogram with exponential schema must not have custom bounds");
    return true;
}

/* Integer histograms add up: exactly, unless there were observations of NaN, which no bucket has. */
static bool check_total(const struct histogram *histogram, struct err *err)
{
    double total = histogram->zero_count;
    for (uint32_t i = 0; i < histogram->positive_count; i++)
        total += histogram->positive[i];
    for (uint32_t i = 0; i < histogram->negative_count; i++)
        total += histogram->negative[i];
    bool may_be_more = isnan(histogram->sum);
    if (may_be_more ? total <= histogram->count : total == histogram->count)
        return true;
    return err_set(err, ERR_BAD_DATA,
                   "%.0f observations found in buckets, but the Count field is %.0f: %s", total,
                   histogram->count,
                   may_be_more ? "histogram's observation count should be at least the number of "
                                 "observations found in the buckets"
                               : "histogram's observation count should equal the number of "
                                 "observations found in the buckets (in absence of NaN)");
}

bool histogram_validate(const struct histogram *histogram, struct err *err)
{
    int32_t schema = histogram->schema;
    if (histogram_is_custom(histogram)) {
        if (!check_custom(histogram, err))
            return false;
    } else if (schema >= HISTOGRAM_SCHEMA_MIN && schema <= HISTOGRAM_SCHEMA_MAX) {
        if (!check_exponential(histogram, err))
            return false;
    } else {
        return err_set(err, ERR_BAD_DATA,
                       "histogram has an invalid schema, which must be between %d and %d for "
                       "exponential buckets, or %d for custom buckets, got schema %d",
                       HISTOGRAM_SCHEMA_MIN, HISTOGRAM_SCHEMA_MAX, HISTOGRAM_SCHEMA_CUSTOM, schema);
    }
    if (histogram->count < 0)
        return fail_with(err, "observation count is  ", histogram->count,
                         ": histogram's observation count is negative");
    if (!check_buckets(histogram->positive, histogram->positive_count, err))
        return err_wrap(err, "positive side");
    return !histogram->is_integer || check_total(histogram, err);
}
