/* fn_range: functions of the samples in one window. */
#include <stdlib.h>

#include "eval.h"

/* --- rate and its kin --- */

static inline double extrapolation(const struct window *window, const int64_t *times, size_t count,
                                   double zero_at, bool is_rate)
{
    size_t last = count - 1;
    double to_start = (double)(times[0] - window->start_ms) / 1000;
    double to_end = (double)(window->end_ms - times[last]) / 1000;
    double sampled = (double)(times[last] - times[0]) / 1000;
    double average = sampled / (double)last;
    double threshold = average * 1.1;

    if (to_start >= threshold)
        to_start = average / 2;
    if (zero_at >= 0) {
        /* A counter cannot have been below zero. */
        double to_zero = sampled * zero_at;
        if (to_zero < to_start)
            to_start = to_zero;
    }
    if (to_end >= threshold)
        to_end = average / 2;
    double factor = (sampled + to_start + to_end) / sampled;
    if (is_rate)
        factor /= (double)window->range_ms / 1000;
    return factor;
}

double window_extrapolation(const struct window *window, const int64_t *times, size_t count,
                            double zero_at, bool is_rate)
{
    return extrapolation(window, times, count, zero_at, is_rate);
}

static bool extrapolate(struct window *window, bool is_counter, bool is_rate, double *out)
{
    size_t last = window->count - 1;
    if (window->anchored || window->smoothed)
        return extended_rate(window, is_counter, is_rate, out);
    if (last == 0)
        return false;
    double first_value = window->values[0];
    double result = window->values[last] - first_value;
    for (size_t i = 0; is_counter && i < window->mark_count; i++)
        result += window->values[window->marks[i] - window->mark_base - 1];

    double zero_at = is_counter && result > 0 && first_value >= 0 ? first_value / result : -1;
    double factor = extrapolation(window, window->times, window->count, zero_at, is_rate);
    *out = result * factor;
    return true;
}

static bool fn_rate(struct window *window, double *out)
{
    return extrapolate(window, true, true, out);
}
static bool fn_increase(struct window *window, double *out)
{
    return extrapolate(window, true, false, out);
}
static bool fn_delta(struct window *window, double *out)
{
    return extrapolate(window, false, false, out);
}

static bool last_two(const struct window *window, bool is_rate, double *out)
{
    size_t last = window->count - 1;
    if (last == 0)
        return false;
    double before = window->values[last - 1], value = window->values[last];
    int64_t interval_ms = window->times[last] - window->times[last - 1];
    if (!is_rate || !(value < before))
        value -= before;
    *out = is_rate ? value / ((double)interval_ms / 1000) : value;
    return true;
}

static bool fn_irate(struct window *window, double *out)
{
    return last_two(window, true, out);
}
static bool fn_idelta(struct window *window, double *out)
{
    return last_two(window, false, out);
}

static bool fn_marks(struct window *window, double *out)
{
    if (window->anchored)
        return extended_marks(window, out);
    *out = (double)window->mark_count;
    return true;
}

/* --- sums --- */

static bool fn_sum(struct window *window, double *out)
{
    double sum = 0, compensation = 0;
    for (size_t i = 0; i < window->count; i++)
        kahan_add(window->values[i], &sum, &compensation);
    *out = isinf(sum) ? sum : sum + compensation;
    return true;
}

/* The sum divided; once the sum would overflow, a running mean instead. */
static bool fn_avg(struct window *window, double *out)
{
    double sum = window->values[0], mean = 0, compensation = 0, count = 1;
    bool incremental = false;
    for (size_t i = 1; i < window->count; i++) {
        double value = window->values[i];
        count = (double)(i + 1);
        if (!incremental) {
            double new_sum = sum, new_compensation = compensation;
            kahan_add(value, &new_sum, &new_compensation);
            if (!isinf(new_sum)) {
                sum = new_sum;
                compensation = new_compensation;
                continue;
            }
            incremental = true;
            mean = sum / (count - 1);
            compensation /= count - 1;
        }
        double q = (count - 1) / count;
        mean *= q;
        compensation *= q;
        kahan_add(value / count, &mean, &compensation);
    }
    *out = incremental ? mean + compensation : sum / count + compensation / count;
    return true;
}

static double variance(const struct window *window)
{
    double count = 0, mean = 0, mean_rest = 0, sum = 0, sum_rest = 0;
    for (size_t i = 0; i < window->count; i++) {
        double value = window->values[i];
        count++;
        double delta = value - (mean + mean_rest);
        kahan_add(delta / count, &mean, &mean_rest);
        kahan_add(delta * (value - (mean + mean_rest)), &sum, &sum_rest);
    }
    return (sum + sum_rest) / count;
}

static bool fn_stddev(struct window *window, double *out)
{
    *out = sqrt(variance(window));
    return true;
}

static bool fn_stdvar(struct window *window, double *out)
{
    *out = variance(window);
    return true;
}

static bool fn_count(struct window *window, double *out)
{
    *out = (double)window->count;
    return true;
}

static bool fn_present(struct window *window, double *out)
{
    (void)window;
    *out = 1;
    return true;
}

/* --- picking one --- */

static bool fn_first(struct window *window, double *out)
{
    *out = window->values[0];
    return true;
}

static bool fn_last(struct window *window, double *out)
{
    *out = window->values[window->count - 1];
    return true;
}

static bool fn_time_of_first(struct window *window, double *out)
{
    *out = (double)window->times[0] / 1000;
    return true;
}

static bool fn_time_of_last(struct window *window, double *out)
{
    *out = (double)window->times[window->count - 1] / 1000;
    return true;
}

static bool fn_min(struct window *window, double *out)
{
    double least = window->values[0];
    for (size_t i = 1; i < window->count; i++)
        if (window->values[i] < least || isnan(least))
            least = window->values[i];
    *out = least;
    return true;
}

static bool fn_max(struct window *window, double *out)
{
    double most = window->values[0];
    for (size_t i = 1; i < window->count; i++)
        if (window->values[i] > most || isnan(most))
            most = window->values[i];
    *out = most;
    return true;
}

static bool fn_time_of_min(struct window *window, double *out)
{
    size_t at = 0;
    for (size_t i = 0; i < window->count; i++)
        if (window->values[i] <= window->values[at] || isnan(window->values[at]))
            at = i;
    *out = (double)window->times[at] / 1000;
    return true;
}

static bool fn_time_of_max(struct window *window, double *out)
{
    size_t at = 0;
    for (size_t i = 0; i < window->count; i++)
        if (window->values[i] >= window->values[at] || isnan(window->values[at]))
            at = i;
    *out = (double)window->times[at] / 1000;
    return true;
}

/* --- order --- */

static bool fn_quantile(struct window *window, double *out)
{
    double quantile = window->args[0];
    if (isnan(quantile) || quantile < 0 || quantile > 1)
        annotate_quantile(window->frame->query, window->where, quantile);
    memcpy(window->scratch, window->values, window->count * sizeof(double));
    *out = quantile_of(quantile, window->scratch, window->count);
    return true;
}

static bool fn_mad(struct window *window, double *out)
{
    for (size_t i = 0; i < window->count; i++) {
        window->scratch[i] = window->values[i];
        if (isnan(window->values[i])) {
            *out = sample_nan();
            return true;
        }
    }
    double median = quantile_of(0.5, window->scratch, window->count);
    for (size_t i = 0; i < window->count; i++)
        window->scratch[i] = fabs(window->scratch[i] - median);
    *out = quantile_of(0.5, window->scratch, window->count);
    return true;
}

/* --- trends --- */

/* Least squares; x in seconds from `origin_ms`. */
static void regress(const struct window *window, int64_t origin_ms, double *slope,
                    double *intercept)
{
    double n = 0, x_sum = 0, y_sum = 0, xy_sum = 0, xx_sum = 0;
    double x_rest = 0, y_rest = 0, xy_rest = 0, xx_rest = 0;
    double first = window->values[0];
    bool is_constant = true;
    for (size_t i = 0; i < window->count; i++) {
        double y = window->values[i], x = (double)(window->times[i] - origin_ms) / 1e3;
        if (i > 0 && y != first)
            is_constant = false;
        n += 1;
        kahan_add(x, &x_sum, &x_rest);
        kahan_add(y, &y_sum, &y_rest);
        kahan_add(x * y, &xy_sum, &xy_rest);
        kahan_add(x * x, &xx_sum, &xx_rest);
    }
    if (is_constant) {
        *slope = isinf(first) ? sample_nan() : 0;
        *intercept = isinf(first) ? sample_nan() : first;
        return;
    }
    x_sum += x_rest;
    y_sum += y_rest;
    xy_sum += xy_rest;
    xx_sum += xx_rest;
    double covariance = xy_sum - x_sum * y_sum / n;
    double x_variance = xx_sum - x_sum * x_sum / n;
    *slope = covariance / x_variance;
    *intercept = y_sum / n - *slope * x_sum / n;
}

static bool fn_deriv(struct window *window, double *out)
{
    double intercept;
    if (window->count < 2)
        return false;
    regress(window, window->times[0], out, &intercept);
    return true;
}

static bool fn_predict_linear(struct window *window, double *out)
{
    double slope, intercept;
    if (window->count < 2)
        return false;
    regress(window, window->time_ms, &slope, &intercept);
    *out = slope * window->args[0] + intercept;
    return true;
}

static bool check_factor(struct window *window, double factor, const char *name)
{
    if (!(factor <= 0 || factor >= 1))
        return true;
    window->failed = true;
    return err_set(window->err, ERR_EXECUTION, "invalid %s factor. Expected: 0 < %cf < 1, got: %f",
                   name, name[0], factor);
}

static bool fn_double_exponential_smoothing(struct window *window, double *out)
{
    double smoothing = window->args[0], trend = window->args[1];
    if (!check_factor(window, smoothing, "smoothing") || !check_factor(window, trend, "trend"))
        return false;
    if (window->count < 2)
        return false;
    double before = 0, smooth = window->values[0], slope = window->values[1] - window->values[0];
    for (size_t i = 1; i < window->count; i++) {
        double x = smoothing * window->values[i];
        if (i > 1)
            slope = trend * (smooth - before) + (1 - trend) * slope;
        double y = (1 - smoothing) * (smooth + slope);
        before = smooth;
        smooth = x + y;
    }
    *out = smooth;
    return true;
}

/* --- the table --- */

enum window_marks window_wants(enum function_id id)
{
    switch (id) {
    case FN_RATE:
    case FN_INCREASE:
    case FN_RESETS:
        return MARK_RESETS;
    case FN_CHANGES:
        return MARK_CHANGES;
    default:
        return MARK_NOTHING;
    }
}

window_fn window_function(enum function_id id)
{
    static const window_fn functions[FN_COUNT] = {
        [FN_ABSENT_OVER_TIME] = fn_present,
        [FN_AVG_OVER_TIME] = fn_avg,
        [FN_CHANGES] = fn_marks,
        [FN_COUNT_OVER_TIME] = fn_count,
        [FN_DELTA] = fn_delta,
        [FN_DERIV] = fn_deriv,
        [FN_DOUBLE_EXPONENTIAL_SMOOTHING] = fn_double_exponential_smoothing,
        [FN_FIRST_OVER_TIME] = fn_first,
        [FN_IDELTA] = fn_idelta,
        [FN_INCREASE] = fn_increase,
        [FN_IRATE] = fn_irate,
        [FN_LAST_OVER_TIME] = fn_last,
        [FN_MAD_OVER_TIME] = fn_mad,
        [FN_MAX_OVER_TIME] = fn_max,
        [FN_MIN_OVER_TIME] = fn_min,
        [FN_PREDICT_LINEAR] = fn_predict_linear,
        [FN_PRESENT_OVER_TIME] = fn_present,
        [FN_QUANTILE_OVER_TIME] = fn_quantile,
        [FN_RATE] = fn_rate,
        [FN_RESETS] = fn_marks,
        [FN_STDDEV_OVER_TIME] = fn_stddev,
        [FN_STDVAR_OVER_TIME] = fn_stdvar,
        [FN_SUM_OVER_TIME] = fn_sum,
        [FN_TS_OF_FIRST_OVER_TIME] = fn_time_of_first,
        [FN_TS_OF_LAST_OVER_TIME] = fn_time_of_last,
        [FN_TS_OF_MAX_OVER_TIME] = fn_time_of_max,
        [FN_TS_OF_MIN_OVER_TIME] = fn_time_of_min,
    };
    return functions[id];
}
