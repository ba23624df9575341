/* fn_native: figures of native histograms: count, sum, mean, deviation, quantiles, fractions.
 *
 * Inside of an exponential bucket observations are taken to be spread evenly over the logarithm;
 * inside of custom buckets and of the zero bucket evenly. */
#include "eval.h"
#include "model/math_go.h"

static double variance_of(const struct histogram *histogram)
{
    double mean = histogram->sum / histogram->count, sum = 0, rest = 0;
    bool is_custom = histogram_is_custom(histogram);
    struct histogram_walk walk;
    struct histogram_bucket bucket;
    histogram_walk_init(&walk, histogram, false);
    while (histogram_walk_next(&walk, &bucket)) {
        double middle = 0;
        if (bucket.count == 0)
            continue;
        if (is_custom)
            middle = (bucket.upper + bucket.lower) / 2;
        else if (!(bucket.lower <= 0 && bucket.upper >= 0))
            middle = sqrt(bucket.upper * bucket.lower) * (bucket.upper < 0 ? -1 : 1);
        double delta = middle - mean;
        kahan_add(bucket.count * delta * delta, &sum, &rest);
    }
    return (sum + rest) / histogram->count;
}

static double figure_of(enum function_id id, const struct histogram *histogram)
{
    switch (id) {
    case FN_HISTOGRAM_COUNT:
        return histogram->count;
    case FN_HISTOGRAM_SUM:
        return histogram->sum;
    case FN_HISTOGRAM_AVG:
        return histogram->sum / histogram->count;
    case FN_HISTOGRAM_STDDEV:
        return sqrt(variance_of(histogram));
    default:
        return variance_of(histogram);
    }
}

bool fn_native(const struct frame *frame, struct expr *call, struct vector *out, struct err *err)
{
    enum function_id id = call->as.call.function->id;
    struct vector in;
    if (!eval_vector(frame, call_arg(call, 0), &in, err))
        return false;
    vector_split(frame, &in, out);
    for (size_t i = 0; i < out->count; i++) {
        struct series *series = &out->items[i];
        for (size_t t = series->from; t < series->to; t++)
            if (series_has(series, t))
                *series_at(series, t) = figure_of(id, series_histogram(series, t));
        series->histograms = NULL;
        if (!query_check(frame->query, err))
            return false;
    }
    return vector_drop_names(frame, out, err);
}

/* --- quantiles --- */

/* With observations on one side of zero only, the zero bucket reaches to that side only. */
static void cut_zero_bucket(const struct histogram *histogram, struct histogram_bucket *bucket)
{
    if (histogram->negative_count == 0 && histogram->positive_count > 0)
        bucket->lower = 0;
    else if (histogram->positive_count == 0 && histogram->negative_count > 0)
        bucket->upper = 0;
}

static double inside_bucket(const struct histogram *histogram,
                            const struct histogram_bucket *bucket, double fraction)
{
    if (histogram_is_custom(histogram) || (bucket->lower <= 0 && bucket->upper >= 0))
        return bucket->lower + (bucket->upper - bucket->lower) * fraction;
    double lower = go_log2(fabs(bucket->lower)), upper = go_log2(fabs(bucket->upper));
    if (bucket->lower > 0)
        return go_exp2(lower + (upper - lower) * fraction);
    return -go_exp2(upper + (lower - upper) * (1 - fraction));
}

/* Observations of NaN are in no bucket, but in the count. As in Prometheus 3.14, the bucket that was found is forgotten on
 * the way: the last one takes its place. */
static void inform_of_nan(struct query *query, const struct expr *where, struct str name,
                          struct histogram_walk *walk, double count, double total,
                          struct histogram_bucket *bucket)
{
    while (histogram_walk_next(walk, bucket))
        count += bucket->count;
    if (count < total)
        annotate_maybe_named(
            query, false, where,
            "input to histogram_quantile has NaN observations, result is skewed higher", name);
}

double native_quantile(struct query *query, const struct expr *where, struct str name,
                       double quantile, const struct histogram *histogram)
{
    struct histogram_walk walk;
    struct histogram_bucket bucket = {0};
    double count = 0;
    bool sum_is_nan = isnan(histogram->sum);

    if (quantile < 0)
        return -INFINITY;
    if (quantile > 1)
        return INFINITY;
    if (histogram->count == 0 || isnan(quantile))
        return sample_nan();
    bool forward = sum_is_nan || quantile < 0.5;
    double rank = (forward ? quantile : 1 - quantile) * histogram->count;
    histogram_walk_init(&walk, histogram, !forward);
    while (histogram_walk_next(&walk, &bucket)) {
        count += bucket.count;
        if (bucket.count != 0 && count >= rank)
            break;
    }
    if (!histogram_is_custom(histogram) && bucket.lower < 0 && bucket.upper > 0)
        cut_zero_bucket(histogram, &bucket);
    if (histogram_is_custom(histogram)) {
        if (isinf(bucket.lower) && bucket.lower < 0) {
            if (bucket.upper <= 0)
                return bucket.upper;
            bucket.lower = 0;
        } else if (isinf(bucket.upper) && bucket.upper > 0) {
            return bucket.lower;
        }
    }
    if (count > histogram->count)
        count = histogram->count;
    if (count < rank) {
        if (!sum_is_nan)
            return bucket.upper;
        annotate_maybe_named(query, false, where,
                             "input to histogram_quantile has NaN observations, result is NaN",
                             name);
        return sample_nan();
    }
    rank = forward ? rank - (count - bucket.count) : count - rank;
    if (sum_is_nan)
        inform_of_nan(query, where, name, &walk, count, histogram->count, &bucket);
    return inside_bucket(histogram, &bucket, rank / bucket.count);
}

/* --- fractions --- */

/* The observations up to a limit, found while walking over the buckets. */
struct rank_of_limit {
    double limit, rank;
    bool found;
};

static double below_inside(const struct histogram_bucket *bucket, double before, double limit,
                           bool linear)
{
    if (linear) {
        if (isinf(bucket->lower) && bucket->lower < 0)
            return bucket->count;
        return before + bucket->count * ((limit - bucket->lower) / (bucket->upper - bucket->lower));
    }
    double lower = go_log2(fabs(bucket->lower)), upper = go_log2(fabs(bucket->upper));
    double at = go_log2(fabs(limit));
    double fraction =
        limit > 0 ? (at - lower) / (upper - lower) : 1 - (at - upper) / (lower - upper);
    return before + bucket->count * fraction;
}

static void find_rank(struct rank_of_limit *of, const struct histogram_bucket *bucket,
                      double before, bool linear)
{
    if (of->found)
        return;
    if (bucket->lower >= of->limit) {
        of->rank = before;
        of->found = true;
    } else if (bucket->upper > of->limit) {
        of->rank = below_inside(bucket, before, of->limit, linear);
        of->found = true;
    }
}

double native_fraction(struct query *query, const struct expr *where, struct str name, double lower,
                       double upper, const struct histogram *histogram)
{
    struct rank_of_limit low = {.limit = lower}, high = {.limit = upper};
    struct histogram_walk walk;
    struct histogram_bucket bucket;
    double before = 0, all = histogram->count;
    if (histogram->count == 0 || isnan(lower) || isnan(upper))
        return sample_nan();
    if (lower >= upper)
        return 0;
    histogram_walk_init(&walk, histogram, false);
    while (!(low.found && high.found) && histogram_walk_next(&walk, &bucket)) {
        bool linear = histogram_is_custom(histogram);
        if (bucket.lower <= 0 && bucket.upper >= 0) {
            cut_zero_bucket(histogram, &bucket);
            linear = true;
        }
        find_rank(&low, &bucket, before, linear);
        find_rank(&high, &bucket, before, linear);
        before += bucket.count;
    }
    if (isnan(histogram->sum)) {
        all = before;
        while (histogram_walk_next(&walk, &bucket))
            all += bucket.count;
        if (all < histogram->count)
            annotate_maybe_named(query, false, where,
                                 "input to histogram_fraction has NaN observations, which are "
                                 "excluded from all fractions",
                                 name);
    }
    if (!low.found || low.rank > all)
        low.rank = all;
    if (!high.found || high.rank > all)
        high.rank = all;
    return (high.rank - low.rank) / histogram->count;
}
