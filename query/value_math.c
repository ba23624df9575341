/* value_math: arithmetic that several operators share, to the last bit as Prometheus does it. */
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

/* --- sorting: NaN comes first; equal ones keep their order --- */

static void sort_short(double *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        double value = items[i];
        size_t at = i;
        for (; at > 0 && items[at - 1] > value; at--)
            items[at] = items[at - 1];
        items[at] = value;
    }
}

static void merge_halves(const double *items, size_t half, size_t count, double *out)
{
    size_t left = 0, right = half;
    for (size_t i = 0; i < count; i++) {
        bool takes_left = right == count || (left < half && items[left] <= items[right]);
        out[i] = takes_left ? items[left] : items[right];
        left += takes_left;
        right += !takes_left;
    }
}

#define SORT_SHORT 16

/* Without NaN. */
void doubles_sort(double *items, size_t count)
{
    double on_stack[512], *scratch = on_stack, *from = items;
    if (count <= SORT_SHORT) {
        sort_short(items, count);
        return;
    }
    if (count > COUNT_OF(on_stack))
        scratch = mem_alloc_array(count, sizeof(double));
    for (size_t i = 0; i < count; i += SORT_SHORT)
        sort_short(items + i, count - i < SORT_SHORT ? count - i : SORT_SHORT);
    double *to = scratch;
    for (size_t width = SORT_SHORT; width < count; width *= 2) {
        for (size_t i = 0; i < count; i += 2 * width) {
            size_t len = count - i < 2 * width ? count - i : 2 * width;
            merge_halves(from + i, len < width ? len : width, len, to + i);
        }
        double *swap = from;
        from = to;
        to = swap;
    }
    if (from != items)
        memcpy(items, from, count * sizeof(double));
    if (scratch != on_stack)
        mem_free(scratch);
}

struct quantile_place quantile_place(double quantile, size_t count)
{
    double last = (double)count - 1;
    double rank = quantile * last;
    double lower = fmax(0, floor(rank));
    double upper = fmin(last, lower + 1);
    return (struct quantile_place){(size_t)lower, (size_t)upper, rank - floor(rank)};
}

double quantile_of(double quantile, double *values, size_t count)
{
    size_t nans = 0;
    if (count == 0 || isnan(quantile))
        return sample_nan();
    if (quantile < 0)
        return -INFINITY;
    if (quantile > 1)
        return INFINITY;
    for (size_t i = 0; i < count; i++) {
        if (!isnan(values[i]))
            continue;
        double swap = values[nans];
        values[nans++] = values[i];
        values[i] = swap;
    }
    doubles_sort(values + nans, count - nans);
    struct quantile_place place = quantile_place(quantile, count);
    return values[place.lower] * (1 - place.weight) + values[place.upper] * place.weight;
}
