/* fn_range_histogram: functions of windows that have histograms in them, alone or among floats.
 *
 * Some take histograms, but no mix; some count them; the others look at the floats and tell that
 * they did. */
#include "eval.h"

#define MIXED_SAMPLES "encountered a mix of histograms and floats for metric name"
#define NOT_COUNTER   "this native histogram metric is not a counter:"
#define NOT_GAUGE     "this native histogram metric is not a gauge:"

static void warn(const struct window *window, const char *text)
{
    annotate_named(window->frame->query, true, window->where, text, window_name(window));
}

static void inform_reconciled(const struct window *window, bool reconciled, const char *text)
{
    if (reconciled)
        annotate_text(window->frame->query, false, window->where, text);
}

static bool refuse_mixed(const struct window *window)
{
    if (window->count)
        warn(window, MIXED_SAMPLES);
    return window->count;
}

/* --- rate, increase, delta --- */

struct difference {
    struct window *window;
    bool is_counter;
    bool not_counter; /* A gauge was seen. */
    bool is_custom;
    const struct histogram *first; /* The first one, or an empty one when it was reset after it. */
    struct histogram empty;
};

/* What all must agree on: exponential or custom buckets. And the lowest resolution. */
static bool survey(struct difference *difference, int32_t *schema)
{
    struct window *window = difference->window;
    size_t count = window->histogram_count;
    const struct histogram *last = window->histograms[count - 1];
    if (histogram_is_custom(last) != difference->is_custom) {
        if (difference->not_counter)
            warn(window, NOT_COUNTER);
        warn(window, MIXED_SCHEMAS);
        return false;
    }
    *schema = difference->first->schema < last->schema ? difference->first->schema : last->schema;
    for (size_t i = 1; difference->is_counter && i + 1 < count; i++) {
        const struct histogram *histogram = window->histograms[i];
        difference->not_counter = difference->not_counter || histogram->hint == HISTOGRAM_GAUGE;
        if (histogram->schema < *schema)
            *schema = histogram->schema;
        if (histogram_is_custom(histogram) != difference->is_custom) {
            warn(window, MIXED_SCHEMAS);
            return false;
        }
    }
    return true;
}

/* Adds what there was before each reset. */
static bool add_resets(struct difference *difference)
{
    struct window *window = difference->window;
    const struct histogram *before = difference->first;
    for (size_t i = 1; i < window->histogram_count; i++) {
        const struct histogram *histogram = window->histograms[i];
        struct histogram_added added = {0};
        if (histogram_was_reset(histogram, before) &&
            !histogram_sum_add(&window->frame->query->sum, before, &added)) {
            warn(window, MIXED_SCHEMAS);
            return false;
        }
        inform_reconciled(window, added.bounds_reconciled, BOUNDS_RECONCILED "addition");
        before = histogram;
    }
    return true;
}

/* The difference between the last and the first in query->sum. */
static bool difference_of(struct window *window, bool is_counter)
{
    size_t count = window->histogram_count;
    struct histogram_sum *sum = &window->frame->query->sum;
    const struct histogram *first = window->histograms[0], *last = window->histograms[count - 1];
    struct difference difference = {.window = window, .is_counter = is_counter, .first = first};
    struct histogram_added added = {0};
    int32_t schema;

    difference.not_counter =
        is_counter && (first->hint == HISTOGRAM_GAUGE || last->hint == HISTOGRAM_GAUGE);
    /* A reset right after the first: its layout does not matter. */
    if (is_counter && histogram_was_reset(window->histograms[1], first)) {
        difference.empty = (struct histogram){.schema = window->histograms[1]->schema,
                                              .bounds = window->histograms[1]->bounds,
                                              .bound_count = window->histograms[1]->bound_count};
        difference.first = &difference.empty;
    }
    difference.is_custom = histogram_is_custom(difference.first);
    if (!survey(&difference, &schema))
        return false;
    histogram_sum_set(sum, last);
    histogram_sum_reduce(sum, schema);
    if (!histogram_sum_subtract(sum, difference.first, &added)) {
        warn(window, MIXED_SCHEMAS);
        return false;
    }
    if (difference.not_counter)
        warn(window, NOT_COUNTER);
    inform_reconciled(window, added.bounds_reconciled, BOUNDS_RECONCILED "subtraction");
    if (is_counter && !add_resets(&difference))
        return false;
    if (!is_counter && (first->hint != HISTOGRAM_GAUGE || last->hint != HISTOGRAM_GAUGE))
        warn(window, NOT_GAUGE);
    sum->head.hint = HISTOGRAM_GAUGE;
    return true;
}

static bool rate(struct window *window, bool is_counter, bool is_rate)
{
    struct query *query = window->frame->query;
    if (refuse_mixed(window))
        return false;
    if (window->anchored || window->smoothed)
        return extended_histogram_rate(window, is_counter, is_rate);
    if (window->histogram_count < 2 || !difference_of(window, is_counter))
        return false;
    double first = window->histograms[0]->count, result = query->sum.head.count;
    double zero_at = is_counter && result > 0 && first >= 0 ? first / result : -1;
    histogram_sum_multiply(&query->sum,
                           window_extrapolation(window, window->histogram_times,
                                                window->histogram_count, zero_at, is_rate));
    window->histogram = histogram_sum_take(&query->sum, false, &query->arena);
    return true;
}

/* --- irate, idelta --- */

/* Are the last two of all samples histograms? None: both are floats. */
static size_t histograms_among_last_two(const struct window *window)
{
    size_t taken = 0, i = window->count, j = window->histogram_count;
    for (size_t k = 0; k < 2 && i + j > 0; k++) {
        bool is_float = j == 0 || (i > 0 && window->times[i - 1] > window->histogram_times[j - 1]);
        if (is_float) {
            i--;
        } else {
            j--;
            taken++;
        }
    }
    return taken;
}

static bool last_two(struct window *window, bool is_rate, window_fn floats, double *out)
{
    struct query *query = window->frame->query;
    size_t last = window->histogram_count - 1;
    if (window->count + window->histogram_count < 2)
        return false;
    size_t histograms = histograms_among_last_two(window);
    if (histograms == 0)
        return floats(window, out);
    if (histograms == 1) {
        warn(window, MIXED_SAMPLES);
        return false;
    }
    const struct histogram *before = window->histograms[last - 1], *now = window->histograms[last];
    double seconds =
        (double)(window->histogram_times[last] - window->histogram_times[last - 1]) / 1000;
    bool any_gauge = now->hint == HISTOGRAM_GAUGE || before->hint == HISTOGRAM_GAUGE;
    bool both_gauge = now->hint == HISTOGRAM_GAUGE && before->hint == HISTOGRAM_GAUGE;
    struct histogram_added added = {0};
    if (is_rate && any_gauge)
        warn(window, NOT_COUNTER);
    if (!is_rate && !both_gauge)
        warn(window, NOT_GAUGE);
    histogram_sum_set(&query->sum, now);
    if ((!is_rate || !histogram_was_reset(now, before)) &&
        !histogram_sum_subtract(&query->sum, before, &added)) {
        warn(window, MIXED_SCHEMAS);
        return false;
    }
    inform_reconciled(window, added.bounds_reconciled, BOUNDS_RECONCILED "subtraction");
    query->sum.head.hint = HISTOGRAM_GAUGE;
    if (is_rate)
        histogram_sum_divide(&query->sum, seconds);
    window->histogram = histogram_sum_take(&query->sum, false, &query->arena);
    return true;
}

/* --- sums --- */

static bool fold(struct window *window, bool is_mean)
{
    struct histogram_fold folding;
    if (refuse_mixed(window))
        return false;
    histogram_fold_init(&folding, window->frame->query, is_mean);
    for (size_t i = 0; i < window->histogram_count; i++) {
        if (!histogram_fold_add(&folding, window->histograms[i])) {
            warn(window, MIXED_SCHEMAS);
            return false;
        }
    }
    histogram_fold_annotate(&folding, window->where);
    window->histogram = histogram_fold_take(&folding, true);
    return true;
}

/* --- picking one --- */

static bool pick(struct window *window, bool is_first, double *out)
{
    size_t i = is_first ? 0 : window->count - 1, j = is_first ? 0 : window->histogram_count - 1;
    bool is_float = window->count && (is_first ? window->times[i] < window->histogram_times[j]
                                               : window->times[i] > window->histogram_times[j]);
    if (is_float)
        *out = window->values[i];
    else
        window->histogram = histogram_copy(&window->frame->query->arena, window->histograms[j]);
    return true;
}

static bool pick_time(const struct window *window, bool is_first, double *out)
{
    int64_t time_ms = window->histogram_times[is_first ? 0 : window->histogram_count - 1];
    if (window->count) {
        int64_t other_ms = window->times[is_first ? 0 : window->count - 1];
        if (is_first ? other_ms < time_ms : other_ms > time_ms)
            time_ms = other_ms;
    }
    *out = (double)time_ms / 1000;
    return true;
}

/* --- resets, changes --- */

struct mixed_sample {
    double value;
    const struct histogram *histogram;
};

/* Anchored: begins with the last sample at or before the start, of either kind. False when there
 * is none after it. */
static bool find_anchor(const struct window *window, size_t *i, size_t *j)
{
    size_t floats = 0, histograms = 0;
    *i = *j = 0;
    if (!window->anchored)
        return true;
    while (floats < window->count && window->times[floats] <= window->start_ms)
        floats++;
    while (histograms < window->histogram_count &&
           window->histogram_times[histograms] <= window->start_ms)
        histograms++;
    if (floats == window->count && histograms == window->histogram_count)
        return false;
    *i = floats;
    *j = histograms;
    if (floats == 0 && histograms == 0)
        return true;
    if (histograms == 0 ||
        (floats && window->times[floats - 1] >= window->histogram_times[histograms - 1]))
        (*i)--;
    else
        (*j)--;
    return true;
}

static bool has_changed(struct mixed_sample before, struct mixed_sample now, bool resets)
{
    if (!before.histogram != !now.histogram)
        return true;
    if (now.histogram)
        return resets ? histogram_was_reset(now.histogram, before.histogram)
                      : !histogram_equal(now.histogram, before.histogram);
    if (resets)
        return now.value < before.value;
    return now.value != before.value && !(isnan(now.value) && isnan(before.value));
}

static bool count_changes(const struct window *window, bool resets, double *out)
{
    struct mixed_sample before = {0};
    bool has_before = false;
    size_t i, j, count = 0;
    if (!find_anchor(window, &i, &j))
        return false;
    while (i < window->count || j < window->histogram_count) {
        struct mixed_sample now = {0};
        bool is_float = j == window->histogram_count ||
                        (i < window->count && window->times[i] < window->histogram_times[j]);
        if (is_float)
            now.value = window->values[i++];
        else
            now.histogram = window->histograms[j++];
        count += has_before && has_changed(before, now, resets);
        before = now;
        has_before = true;
    }
    *out = (double)count;
    return true;
}

/* --- the others --- */

/* Functions of floats alone. */
static bool floats_only(struct window *window, window_fn floats, size_t at_least, double *out)
{
    if (window->count)
        annotate_named(
            window->frame->query, false, window->where,
            "ignored histograms in a range containing both floats and histograms for metric name",
            window_name(window));
    return window->count >= at_least && floats(window, out);
}

bool histogram_window(struct window *window, enum function_id id, window_fn floats, double *out)
{
    switch (id) {
    case FN_RATE:
        return rate(window, true, true);
    case FN_INCREASE:
        return rate(window, true, false);
    case FN_DELTA:
        return rate(window, false, false);
    case FN_IRATE:
        return last_two(window, true, floats, out);
    case FN_IDELTA:
        return last_two(window, false, floats, out);
    case FN_SUM_OVER_TIME:
        return fold(window, false);
    case FN_AVG_OVER_TIME:
        return fold(window, true);
    case FN_FIRST_OVER_TIME:
        return pick(window, true, out);
    case FN_LAST_OVER_TIME:
        return pick(window, false, out);
    case FN_TS_OF_FIRST_OVER_TIME:
        return pick_time(window, true, out);
    case FN_TS_OF_LAST_OVER_TIME:
        return pick_time(window, false, out);
    case FN_COUNT_OVER_TIME:
        *out = (double)(window->count + window->histogram_count);
        return true;
    case FN_PRESENT_OVER_TIME:
    case FN_ABSENT_OVER_TIME:
        return floats(window, out);
    case FN_RESETS:
        return count_changes(window, true, out);
    case FN_CHANGES:
        return count_changes(window, false, out);
    case FN_DOUBLE_EXPONENTIAL_SMOOTHING: /* Checks its factors first. */
        return floats_only(window, floats, 0, out);
    case FN_DERIV:
    case FN_PREDICT_LINEAR:
        return floats_only(window, floats, 2, out);
    default:
        return floats_only(window, floats, 1, out);
    }
}
