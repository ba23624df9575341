/* append_histogram: native_histogram_bucket_limit and native_histogram_min_bucket_factor. Both lower
 * the resolution: each step down joins two buckets. */
#include <math.h>

#include "scraper.h"

/* The finest schema whose buckets grow by the factor at least: 2^2^-schema >= factor. */
int32_t append_schema_max(double bucket_factor)
{
    if (!(bucket_factor > 1))
        return HISTOGRAM_SCHEMA_MAX;
    double schema = floor(-log2(log2(bucket_factor)));
    if (schema <= HISTOGRAM_SCHEMA_MIN)
        return HISTOGRAM_SCHEMA_MIN;
    return schema >= HISTOGRAM_SCHEMA_MAX ? HISTOGRAM_SCHEMA_MAX : (int32_t)schema;
}

static uint64_t bucket_count(const struct histogram *histogram)
{
    return (uint64_t)histogram->positive_count + histogram->negative_count;
}

static const struct histogram *reduce(struct append *append, const struct histogram *histogram,
                                      int32_t schema)
{
    histogram_sum_set(&append->reducer, histogram);
    histogram_sum_reduce(&append->reducer, schema);
    struct histogram *reduced = histogram_sum_take(&append->reducer, false, &append->kept);
    reduced->is_integer = histogram->is_integer;
    return reduced;
}

const struct histogram *append_histogram_limit(struct append *append,
                                               const struct histogram *histogram)
{
    if (!histogram_is_custom(histogram) && histogram->schema > append->schema_max)
        histogram = reduce(append, histogram, append->schema_max);
    while (bucket_count(histogram) > append->bucket_limit) {
        if (histogram_is_custom(histogram) || histogram->schema <= HISTOGRAM_SCHEMA_MIN)
            return NULL;
        histogram = reduce(append, histogram, histogram->schema - 1);
    }
    return histogram;
}
