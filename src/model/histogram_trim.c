/* histogram_trim: a histogram without the observations above, or below, a limit.
 *
 * Where the limit cuts a bucket, its observations are split by interpolation: linearly in custom buckets and in the
 * zero bucket, logarithmically in exponential ones. An infinite bucket cannot be split. The sum is estimated from the
 * middle of what is left of each bucket; when nothing was cut, count and sum stay. */
#include "histogram_internal.h"
#include "model/math_go.h"

struct trim {
    double limit;
    bool keep_below, is_custom;
    double count, sum;
    bool changed;
    bool any_positive, any_negative;
};

/* What is kept of a bucket, and the value that its observations are taken to have. */
struct part {
    double count, middle;
};

static double zero_if_infinite(double x)
{
    return isinf(x) ? 0 : x;
}

static double middle_of(double lower, double upper, bool positive, bool linear)
{
    if (isinf(lower)) {
        if (isinf(upper))
            return 0;
        return upper > 0 ? upper / 2 : upper;
    }
    if (isinf(upper))
        return lower;
    if (linear)
        return (lower + upper) / 2;
    double mean = sqrt(fabs(lower * upper));
    return positive ? mean : -mean;
}

/* From -Inf: with a positive bound it is taken to begin at 0. */
static struct part split_from_infinity(const struct trim *trim, double upper, double count)
{
    double limit = trim->limit;
    bool finite = upper < INFINITY;
    if (trim->keep_below) {
        if (limit >= upper)
            return (struct part){count, 0};
        if (limit > 0 && upper > 0 && finite)
            return (struct part){count * limit / upper, limit / 2};
        if (upper <= 0)
            return (struct part){count, limit};
    } else {
        if (limit <= -INFINITY)
            return (struct part){count, 0};
        if (limit >= 0 && upper > limit && finite)
            return (struct part){count * (1 - limit / upper), (limit + upper) / 2};
    }
    return (struct part){0, zero_if_infinite(upper)};
}

static struct part split(const struct trim *trim, double lower, double upper, double count,
                         bool positive)
{
    double limit = trim->limit, below;
    if (isinf(lower) && lower < 0)
        return split_from_infinity(trim, upper, count);
    if (isinf(upper) && upper > 0) {
        if (!trim->keep_below && limit >= lower)
            return (struct part){count, limit};
        return (struct part){0, zero_if_infinite(lower)};
    }
    if (limit <= lower) {
        below = 0;
    } else if (limit >= upper) {
        below = count;
    } else if (trim->is_custom) {
        below = count * ((limit - lower) / (upper - lower));
    } else {
        double low = go_log2(fabs(lower)), high = go_log2(fabs(upper)), at = go_log2(fabs(limit));
        below = count * (limit > 0 ? (at - low) / (high - low) : 1 - (at - high) / (low - high));
    }
    if (trim->keep_below)
        return (struct part){below, middle_of(lower, limit, positive, trim->is_custom)};
    return (struct part){count - below, middle_of(limit, upper, positive, trim->is_custom)};
}

static double trim_bucket(struct trim *trim, double lower, double upper, double count,
                          bool positive)
{
    bool whole = trim->keep_below ? upper <= trim->limit : lower >= trim->limit;
    bool cut = trim->keep_below ? lower < trim->limit : upper > trim->limit;
    struct part part = {0};
    if (whole)
        part = (struct part){count, middle_of(lower, upper, positive, trim->is_custom)};
    else if (cut)
        part = split(trim, lower, upper, count, positive);
    if (whole || cut) {
        trim->count += part.count;
        trim->sum += part.middle * part.count;
    }
    /* Whole buckets that are dropped count as a change, even if infinite. */
    if (part.count != count || (!whole && !cut))
        trim->changed = true;
    return part.count;
}

static void trim_side(struct trim *trim, struct histogram_sum *sum, bool positive)
{
    struct histogram_side *side = positive ? &sum->positive : &sum->negative;
    for (size_t i = 0; i < side->len; i++) {
        double outer = histogram_bound(&sum->head, side->index[i]);
        double inner = histogram_bound(&sum->head, side->index[i] - 1);
        if (side->count[i] == 0)
            continue;
        if (positive)
            trim->any_positive = true;
        else
            trim->any_negative = true;
        side->count[i] = trim_bucket(trim, positive ? inner : -outer, positive ? outer : -inner,
                                     side->count[i], positive);
    }
}

/* The zero bucket reaches to one side only when there are observations on that side only. */
static void trim_zero(struct trim *trim, struct histogram *head)
{
    double lower = -head->zero_threshold, upper = head->zero_threshold, limit = trim->limit;
    struct part part = {0};
    if (!(head->zero_count > 0))
        return;
    if (trim->any_negative && !trim->any_positive)
        upper = 0;
    if (trim->any_positive && !trim->any_negative)
        lower = 0;
    bool none = trim->keep_below ? limit <= lower : limit >= upper;
    bool all = trim->keep_below ? limit >= upper : limit <= lower;
    if (trim->keep_below ? none : (none && !all)) {
        part = (struct part){0, 0};
    } else if (all) {
        part = (struct part){head->zero_count, (lower + upper) / 2};
    } else if (trim->keep_below) {
        part = (struct part){head->zero_count * ((limit - lower) / (upper - lower)),
                             (lower + limit) / 2};
    } else {
        part = (struct part){head->zero_count * ((upper - limit) / (upper - lower)),
                             (limit + upper) / 2};
    }
    trim->changed = trim->changed || part.count != head->zero_count;
    head->zero_count = part.count;
    trim->sum += part.middle * part.count;
    trim->count += part.count;
}

struct histogram *histogram_trimmed(struct arena *arena, const struct histogram *histogram,
                                    double limit, bool keep_below)
{
    struct trim trim = {
        .limit = limit, .keep_below = keep_below, .is_custom = histogram_is_custom(histogram)};
    struct histogram_sum sum = {0};
    histogram_sum_set(&sum, histogram);
    trim_side(&trim, &sum, true);
    trim_side(&trim, &sum, false);
    trim_zero(&trim, &sum.head);
    if (trim.changed) {
        sum.head.count = trim.count;
        sum.head.sum = trim.sum;
    }
    struct histogram *out = histogram_sum_take(&sum, !trim.changed, arena);
    histogram_sum_deinit(&sum);
    return out;
}
