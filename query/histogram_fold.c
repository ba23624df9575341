/* histogram_fold: sums and means of histograms, compensated, in the order in which they come.
 *
 * A mean is the sum divided by the count, as long as the sum stays finite; from then on it is a
 * running mean. So before an addition that could overflow the sum is put aside. */
#include "eval.h"

#define SAFE_MAX 1e307 /* Two numbers up to here add up to a finite one. */

void histogram_fold_init(struct histogram_fold *fold, struct query *query, bool is_mean)
{
    *fold = (struct histogram_fold){.query = query, .is_mean = is_mean};
}

static bool is_large(double value)
{
    return !(fabs(value) < SAFE_MAX) && !isnan(value);
}

static bool any_large(const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_large(values[i]))
            return true;
    return false;
}

static bool may_overflow(const struct histogram_sum *sum, const struct histogram *histogram)
{
    return is_large(sum->head.count) || is_large(sum->head.sum) || is_large(sum->head.zero_count) ||
           any_large(sum->positive.count, sum->positive.len) ||
           any_large(sum->negative.count, sum->negative.len) || is_large(histogram->count) ||
           is_large(histogram->sum) || is_large(histogram->zero_count) ||
           any_large(histogram->positive, histogram->positive_count) ||
           any_large(histogram->negative, histogram->negative_count);
}

static bool add(struct histogram_fold *fold, const struct histogram *histogram, double divisor)
{
    struct histogram_added added;
    if (!histogram_sum_add_kahan(&fold->query->sum, histogram, divisor, &added)) {
        fold->failed = true;
        return false;
    }
    fold->bounds_reconciled = fold->bounds_reconciled || added.bounds_reconciled;
    return true;
}

/* True when the sum took it, and is finite still. */
static bool add_directly(struct histogram_fold *fold, const struct histogram *histogram)
{
    struct query *query = fold->query;
    if (!may_overflow(&query->sum, histogram))
        return add(fold, histogram, 1);
    histogram_sum_copy(&query->spare, &query->sum);
    if (!add(fold, histogram, 1))
        return false;
    if (!histogram_sum_overflows(&query->sum))
        return true;
    histogram_sum_copy(&query->sum, &query->spare);
    return false;
}

bool histogram_fold_add(struct histogram_fold *fold, const struct histogram *histogram)
{
    struct histogram_sum *sum = &fold->query->sum;
    if (fold->failed)
        return false;
    fold->saw_reset = fold->saw_reset || histogram->hint == HISTOGRAM_RESET;
    fold->saw_no_reset = fold->saw_no_reset || histogram->hint == HISTOGRAM_NOT_RESET;
    if (fold->count++ == 0) {
        histogram_sum_set(sum, histogram);
        return true;
    }
    if (!fold->is_mean)
        return add(fold, histogram, 1);
    if (!fold->incremental) {
        if (add_directly(fold, histogram))
            return true;
        if (fold->failed)
            return false;
        fold->incremental = true;
        histogram_sum_divide(sum, fold->count - 1);
    }
    histogram_sum_multiply(sum, (fold->count - 1) / fold->count);
    return add(fold, histogram, fold->count);
}

const struct histogram *histogram_fold_take(struct histogram_fold *fold, bool keep_empty)
{
    struct histogram_sum *sum = &fold->query->sum;
    if (fold->is_mean && !fold->incremental)
        histogram_sum_divide(sum, fold->count);
    histogram_sum_settle(sum);
    return histogram_sum_take(sum, keep_empty, &fold->query->arena);
}

void histogram_fold_annotate(const struct histogram_fold *fold, const struct expr *where)
{
    if (fold->saw_reset && fold->saw_no_reset)
        annotate_text(fold->query, true, where,
                      "conflicting counter resets during histogram aggregation");
    if (fold->bounds_reconciled)
        annotate_text(fold->query, false, where, BOUNDS_RECONCILED "aggregation");
}
