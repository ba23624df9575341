/* value_math: arithmetic that several operators share, to the last bit as Prometheus does it. */
#include <stdlib.h>

#include "eval.h"

double max_go(double a, double b)
{
    if (isinf(a) && a > 0)
        return a;
    if (isinf(b) && b > 0)
        return b;
    if (isnan(a) || isnan(b))
        return sample_nan();
    if (a == 0 && a == b)
        return signbit(a) ? b : a;
    return a > b ? a : b;
}

double min_go(double a, double b)
{
    if (isinf(a) && a < 0)
        return a;
    if (isinf(b) && b < 0)
        return b;
    if (isnan(a) || isnan(b))
        return sample_nan();
    if (a == 0 && a == b)
        return signbit(a) ? a : b;
    return a < b ? a : b;
}

/* NaN comes first. */
static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    if (isnan(a) || isnan(b))
        return isnan(b) - isnan(a);
    return (a > b) - (a < b);
}

double quantile_of(double quantile, double *values, size_t count)
{
    if (count == 0 || isnan(quantile))
        return sample_nan();
    if (quantile < 0)
        return -INFINITY;
    if (quantile > 1)
        return INFINITY;
    qsort(values, count, sizeof(double), compare_doubles);
    double last = (double)count - 1;
    double rank = quantile * last;
    double lower = fmax(0, floor(rank));
    double upper = fmin(last, lower + 1);
    double weight = rank - floor(rank);
    return values[(size_t)lower] * (1 - weight) + values[(size_t)upper] * weight;
}
