/* fn_extended: ranges with the modifiers anchored and smoothed.
 *
 * The window of such a range reaches one lookback further back (smoothed: also further on), so that
 * there is a value at its very bounds: anchored takes the last sample before the start, smoothed
 * draws a line between the samples around each bound. No extrapolation then. */
#include "eval.h"

/* On the line between samples `a` and `a + 1`. A counter that was reset between them starts from 0.
 */
static double on_line(const int64_t *times, const double *values, size_t a, int64_t at_ms,
                      bool is_counter)
{
    double from = values[a], to = values[a + 1];
    if (is_counter && to < from)
        from = 0;
    return from + (to - from) * (double)(at_ms - times[a]) / (double)(times[a + 1] - times[a]);
}

/* The samples that matter: the last at or before the start (else the first of all), and the last of
 * all, or for smoothed the first at or after the end. */
struct bounds {
    size_t first, last;
};

static struct bounds find_bounds(const int64_t *times, size_t count, int64_t start_ms,
                                 int64_t end_ms, bool smoothed)
{
    struct bounds bounds = {.first = 0, .last = count - 1};
    size_t after = 0;
    while (after < count - 1 && times[after] <= start_ms)
        after++;
    if (after > 0)
        bounds.first = after - 1;
    if (smoothed) {
        bounds.last = 0;
        while (bounds.last < count - 1 && times[bounds.last] < end_ms)
            bounds.last++;
    }
    return bounds;
}

static double value_at_start(const int64_t *times, const double *values, struct bounds bounds,
                             int64_t start_ms, bool smoothed, bool is_counter)
{
    if (smoothed && times[bounds.first] < start_ms)
        return on_line(times, values, bounds.first, start_ms, is_counter);
    return values[bounds.first];
}

static double value_at_end(const int64_t *times, const double *values, struct bounds bounds,
                           int64_t end_ms, bool smoothed, bool is_counter)
{
    if (smoothed && bounds.last > 0 && times[bounds.last] > end_ms)
        return on_line(times, values, bounds.last - 1, end_ms, is_counter);
    return values[bounds.last];
}

bool extended_rate(struct window *window, bool is_counter, bool is_rate, double *out)
{
    const int64_t *times = window->times;
    const double *values = window->values;
    struct bounds bounds =
        find_bounds(times, window->count, window->start_ms, window->end_ms, window->smoothed);
    if (times[bounds.last] <= window->start_ms ||
        (window->smoothed && times[bounds.first] > window->end_ms))
        return false;
    double left =
        value_at_start(times, values, bounds, window->start_ms, window->smoothed, is_counter);
    double right =
        value_at_end(times, values, bounds, window->end_ms, window->smoothed, is_counter);
    double result = right - left, correction = 0, before = left;
    if (is_counter) {
        size_t from = bounds.first + (times[bounds.first] <= window->start_ms);
        size_t to = bounds.last + (times[bounds.last] < window->end_ms);
        for (size_t i = from; i < to; i++) {
            if (values[i] < before)
                correction += before;
            before = values[i];
        }
        if (right < before)
            correction += before;
        result += correction;
    }
    *out = is_rate ? result / ((double)window->range_ms / 1000) : result;
    return true;
}

bool extended_marks(struct window *window, double *out)
{
    size_t first = 0, marked = 0;
    if (window->times[window->count - 1] <= window->start_ms)
        return false;
    while (first + 1 < window->count && window->times[first + 1] <= window->start_ms)
        first++;
    for (size_t i = 0; i < window->mark_count; i++)
        marked += window->marks[i] - window->mark_base > first;
    *out = (double)marked;
    return true;
}

size_t extended_points(const struct window *window, int64_t *times_out, double *values_out)
{
    const int64_t *times = window->times;
    const double *values = window->values;
    size_t count = 0;
    struct bounds bounds =
        find_bounds(times, window->count, window->start_ms, window->end_ms, window->smoothed);
    if (times[bounds.last] <= window->start_ms)
        return 0;
    times_out[count] = window->start_ms;
    values_out[count++] =
        value_at_start(times, values, bounds, window->start_ms, window->smoothed, false);
    size_t from = bounds.first + (times[bounds.first] <= window->start_ms);
    size_t to = bounds.last + (times[bounds.last] < window->end_ms);
    for (size_t i = from; i < to; i++) {
        times_out[count] = times[i];
        values_out[count++] = values[i];
    }
    times_out[count] = window->end_ms;
    values_out[count++] =
        value_at_end(times, values, bounds, window->end_ms, window->smoothed, false);
    return count;
}

const char *extended_refusal(const struct expr *selector, enum function_id id)
{
    bool rates = id == FN_RATE || id == FN_INCREASE || id == FN_DELTA;
    if (selector->as.vector.anchored && !rates && id != FN_RESETS && id != FN_CHANGES)
        return "anchored modifier can only be used with: changes, delta, increase, rate, resets - "
               "not "
               "with";
    if (selector->as.vector.smoothed && !rates)
        return "smoothed modifier can only be used with: delta, increase, rate - not with";
    return NULL;
}

double smoothed_value(const struct sample_run *run, size_t low, size_t high, int64_t at_ms,
                      bool *found)
{
    size_t after = low;
    while (after < high && run->time_ms[after] < at_ms)
        after++;
    *found = true;
    if (after < high && run->time_ms[after] == at_ms)
        return run->value[after];
    if (after > low && after < high)
        return on_line(run->time_ms, run->value, after - 1, at_ms, false);
    if (after > low)
        return run->value[after - 1];
    *found = false;
    return 0;
}
