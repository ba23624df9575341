/* window_slide: functions whose value follows from that of the window before: extremes, order, sums of integers.
 *
 * Windows come in order and both their ends only move forward, so each sample comes in once and goes once. */
#include "eval.h"

#define INTEGER_MAX 9007199254740992.0 /* 2^53: sums below are exact, in any order. */
#define SORT_NS     3.0
#define SHIFT_NS    (1.0 / 16)
#define SEARCH_NS   30.0

/* --- extremes: those that may still be the largest, largest first --- */

struct extremes {
    uint32_t *items; /* Positions, as many as samples: nothing comes in twice. */
    size_t first, end;
    size_t next;             /* The first sample that has not come in. */
    bool is_max, keeps_last; /* Of equal ones. */
};

static inline bool is_beaten(const struct extremes *extremes, double old, double value)
{
    if (extremes->keeps_last && old == value)
        return true;
    return extremes->is_max ? old < value : old > value;
}

static void extremes_move(struct extremes *extremes, const double *values, size_t low, size_t high)
{
    if (extremes->next < low) {
        extremes->next = low;
        extremes->first = extremes->end = 0;
    }
    for (; extremes->next < high; extremes->next++) {
        double value = values[extremes->next];
        if (isnan(value))
            continue;
        while (extremes->end > extremes->first &&
               is_beaten(extremes, values[extremes->items[extremes->end - 1]], value))
            extremes->end--;
        extremes->items[extremes->end++] = (uint32_t)extremes->next;
    }
    while (extremes->first < extremes->end && extremes->items[extremes->first] < low)
        extremes->first++;
}

static void slide_extremes(enum function_id id, const struct windows *windows, double *out)
{
    bool tells_time = id == FN_TS_OF_MAX_OVER_TIME || id == FN_TS_OF_MIN_OVER_TIME;
    struct extremes extremes = {
        .items = windows->scratch,
        .is_max = id == FN_MAX_OVER_TIME || id == FN_TS_OF_MAX_OVER_TIME,
        .keeps_last = tells_time,
    };
    for (size_t t = 0; t < windows->count; t++) {
        size_t low = windows->low[t], high = windows->high[t];
        if (low == high)
            continue;
        extremes_move(&extremes, windows->values, low, high);
        /* Nothing but NaN: the last of them. */
        size_t at = extremes.first < extremes.end ? extremes.items[extremes.first] : high - 1;
        out[t] = tells_time ? (double)windows->times[at] / 1000 : windows->values[at];
    }
}

/* --- order: the window's values, sorted; NaN apart, they come first --- */

struct sorted {
    double *items;
    size_t count, nans;
    size_t low, high; /* Of the window that it holds. */
};

/* The first position whose value is not below, or with `after` the first whose value is above. */
static size_t sorted_place(const struct sorted *sorted, double value, bool after)
{
    const double *base = sorted->items;
    size_t len = sorted->count;
    while (len > 0) {
        size_t half = len / 2;
        bool right = after ? base[half] <= value : base[half] < value;
        base = right ? base + half + 1 : base;
        len = right ? len - half - 1 : half;
    }
    return (size_t)(base - sorted->items);
}

static void sorted_add(struct sorted *sorted, double value)
{
    if (isnan(value)) {
        sorted->nans++;
        return;
    }
    size_t at = sorted_place(sorted, value, true);
    memmove(sorted->items + at + 1, sorted->items + at, (sorted->count - at) * sizeof(double));
    sorted->items[at] = value;
    sorted->count++;
}

/* Of equal ones the oldest is the first, and the oldest goes first. */
static void sorted_remove(struct sorted *sorted, double value)
{
    if (isnan(value)) {
        sorted->nans--;
        return;
    }
    size_t at = sorted_place(sorted, value, false);
    sorted->count--;
    memmove(sorted->items + at, sorted->items + at + 1, (sorted->count - at) * sizeof(double));
}

static void sorted_make(struct sorted *sorted, const double *values, size_t low, size_t high)
{
    sorted->count = sorted->nans = 0;
    for (size_t i = low; i < high; i++) {
        if (isnan(values[i]))
            sorted->nans++;
        else
            sorted->items[sorted->count++] = values[i];
    }
    doubles_sort(sorted->items, sorted->count);
}

static void sorted_move(struct sorted *sorted, const double *values, size_t low, size_t high)
{
    double size = (double)(high - low) + 1;
    double changes = (double)((low - sorted->low) + (high - sorted->high));
    bool overlap = low < sorted->high;
    if (!overlap || changes * (SEARCH_NS + size * SHIFT_NS) > size * log2(size) * SORT_NS) {
        sorted_make(sorted, values, low, high);
    } else {
        for (size_t i = sorted->low; i < low; i++)
            sorted_remove(sorted, values[i]);
        for (size_t i = sorted->high; i < high; i++)
            sorted_add(sorted, values[i]);
    }
    sorted->low = low;
    sorted->high = high;
}

static double sorted_at(const struct sorted *sorted, size_t at)
{
    return at < sorted->nans ? sample_nan() : sorted->items[at - sorted->nans];
}

static void slide_quantile(const struct windows *windows, const double *quantiles, double *out)
{
    struct sorted sorted = {.items = windows->scratch};
    for (size_t t = 0; t < windows->count; t++) {
        size_t low = windows->low[t], high = windows->high[t];
        double quantile = quantiles[t];
        if (low == high)
            continue;
        if (isnan(quantile) || quantile < 0 || quantile > 1) {
            out[t] = isnan(quantile) ? sample_nan() : quantile < 0 ? -INFINITY : INFINITY;
            continue;
        }
        sorted_move(&sorted, windows->values, low, high);
        struct quantile_place place = quantile_place(quantile, high - low);
        out[t] = sorted_at(&sorted, place.lower) * (1 - place.weight) +
                 sorted_at(&sorted, place.upper) * place.weight;
    }
}

/* --- sums of integers: no addition rounds, so a difference of two sums is the sum between --- */

static bool sums_are_exact(const struct windows *windows)
{
    int64_t *sums = windows->scratch;
    double size = 0;
    sums[0] = 0;
    for (size_t i = 0; i < windows->sample_count; i++) {
        double value = windows->values[i];
        size += fabs(value);
        if (!(size < INTEGER_MAX) || (double)(int64_t)value != value)
            return false;
        sums[i + 1] = sums[i] + (int64_t)value;
    }
    return true;
}

static bool slide_sums(enum function_id id, const struct windows *windows, double *out)
{
    const int64_t *sums = windows->scratch;
    if (windows->window_samples < 3 * (uint64_t)windows->sample_count || !sums_are_exact(windows))
        return false;
    for (size_t t = 0; t < windows->count; t++) {
        size_t low = windows->low[t], high = windows->high[t];
        if (low == high)
            continue;
        double sum = (double)(sums[high] - sums[low]);
        out[t] = id == FN_AVG_OVER_TIME ? sum / (double)(high - low) : sum;
    }
    return true;
}

bool windows_slide(enum function_id id, const struct windows *windows, const double *quantiles,
                   double *out)
{
    switch (id) {
    case FN_MAX_OVER_TIME:
    case FN_MIN_OVER_TIME:
    case FN_TS_OF_MAX_OVER_TIME:
    case FN_TS_OF_MIN_OVER_TIME:
        slide_extremes(id, windows, out);
        return true;
    case FN_QUANTILE_OVER_TIME:
        slide_quantile(windows, quantiles, out);
        return true;
    case FN_SUM_OVER_TIME:
    case FN_AVG_OVER_TIME:
        return slide_sums(id, windows, out);
    default:
        return false;
    }
}
