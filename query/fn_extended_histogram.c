/* fn_extended_histogram: histograms in ranges and selectors with the modifiers anchored and
 * smoothed. See fn_extended.c; a histogram between two samples lies on the line between them, too.
 *
 * What is only needed on the way lives in the run's arena. */
#include "eval.h"

#define NOT_COUNTER "this native histogram metric is not a counter:"
#define NOT_GAUGE   "this native histogram metric is not a gauge:"

static void warn(const struct window *window, const char *text)
{
    annotate_named(window->frame->query, true, window->where, text, window_name(window));
}

static void inform(const struct window *window, bool reconciled, const char *text)
{
    if (reconciled)
        annotate_text(window->frame->query, false, window->where, text);
}

/* A counter that was reset between the two starts from nothing. NULL when they do not mix. */
const struct histogram *histogram_between(struct query *query, const struct expr *where,
                                          struct str name, const struct window *window, size_t a,
                                          int64_t at_ms, bool is_counter)
{
    const struct histogram *from = window->histograms[a], *to = window->histograms[a + 1];
    int64_t from_ms = window->histogram_times[a], to_ms = window->histogram_times[a + 1];
    struct histogram_sum *sum = &query->sum;
    struct histogram_added added;
    if (at_ms == from_ms)
        return from;
    if (at_ms == to_ms)
        return to;
    double fraction = (double)(at_ms - from_ms) / (double)(to_ms - from_ms);
    histogram_sum_set(sum, to);
    if (is_counter && histogram_was_reset(to, from)) {
        histogram_sum_multiply(sum, fraction);
        return histogram_sum_take(sum, true, &query->run.arena);
    }
    if (!histogram_sum_subtract(sum, from, &added)) {
        annotate_named(query, true, where, MIXED_SCHEMAS, name);
        return NULL;
    }
    if (added.bounds_reconciled)
        annotate_text(query, false, where, BOUNDS_RECONCILED "subtraction");
    histogram_sum_multiply(sum, fraction);
    if (!histogram_sum_add(sum, from, &added)) {
        annotate_named(query, true, where, MIXED_SCHEMAS, name);
        return NULL;
    }
    if (added.bounds_reconciled)
        annotate_text(query, false, where, BOUNDS_RECONCILED "addition");
    return histogram_sum_take(sum, true, &query->run.arena);
}

/* --- rates --- */

struct extended {
    struct window *window;
    size_t first, last; /* See fn_extended.c. */
    const struct histogram *left, *right;
    bool is_counter;
};

static bool find_ends(struct extended *extended)
{
    const struct window *window = extended->window;
    const int64_t *times = window->histogram_times;
    size_t end = window->histogram_count - 1, after = 0;
    while (after < end && times[after] <= window->start_ms)
        after++;
    extended->first = after > 0 ? after - 1 : 0;
    extended->last = end;
    if (window->smoothed) {
        extended->last = 0;
        while (extended->last < end && times[extended->last] < window->end_ms)
            extended->last++;
    }
    return times[extended->last] > window->start_ms &&
           !(window->smoothed && times[extended->first] > window->end_ms);
}

static bool check_kinds(const struct extended *extended)
{
    const struct window *window = extended->window;
    bool is_custom = histogram_is_custom(window->histograms[extended->first]);
    for (size_t i = extended->first; i <= extended->last; i++) {
        const struct histogram *histogram = window->histograms[i];
        if (histogram_is_custom(histogram) != is_custom) {
            warn(window, MIXED_SCHEMAS);
            return false;
        }
        if (extended->is_counter && histogram->hint == HISTOGRAM_GAUGE)
            warn(window, NOT_COUNTER);
    }
    return true;
}

static bool find_bounds(struct extended *extended)
{
    const struct window *window = extended->window;
    struct query *query = window->frame->query;
    const int64_t *times = window->histogram_times;
    extended->left = window->histograms[extended->first];
    extended->right = window->histograms[extended->last];
    if (window->smoothed && times[extended->first] < window->start_ms)
        extended->left = histogram_between(query, window->where, window_name(window), window,
                                           extended->first, window->start_ms, extended->is_counter);
    if (extended->left && window->smoothed && extended->last > 0 &&
        times[extended->last] > window->end_ms)
        extended->right =
            histogram_between(query, window->where, window_name(window), window, extended->last - 1,
                              window->end_ms, extended->is_counter);
    return extended->left && extended->right;
}

/* One more to what the resets took; in query->spare. */
static bool correct(const struct extended *extended, const struct histogram *before)
{
    struct histogram_sum *sum = &extended->window->frame->query->spare;
    struct histogram_added added = {0};
    if (!sum->is_set) {
        histogram_sum_set(sum, before);
        return true;
    }
    if (!histogram_sum_add(sum, before, &added)) {
        warn(extended->window, MIXED_SCHEMAS);
        return false;
    }
    inform(extended->window, added.bounds_reconciled, BOUNDS_RECONCILED "addition");
    return true;
}

/* The samples between the bounds; the left bound stands for the first of them, the right one for
 * the last. */
static bool correct_resets(const struct extended *extended)
{
    const struct window *window = extended->window;
    const struct histogram *const *histograms = window->histograms;
    const struct histogram *before = extended->left;
    size_t from = extended->first + 1;
    window->frame->query->spare.is_set = false;
    bool left_spans_reset =
        window->smoothed && window->histogram_times[extended->first] < window->start_ms &&
        histogram_was_reset(histograms[extended->first + 1], histograms[extended->first]);
    if (left_spans_reset) {
        before = histograms[extended->first + 1];
        from++;
    }
    if (from > extended->last)
        return true;
    for (size_t i = from; i < extended->last; i++) {
        if (histogram_was_reset(histograms[i], before) && !correct(extended, before))
            return false;
        before = histograms[i];
    }
    return !histogram_was_reset(extended->right, before) || correct(extended, before);
}

bool extended_histogram_rate(struct window *window, bool is_counter, bool is_rate)
{
    struct query *query = window->frame->query;
    struct extended extended = {.window = window, .is_counter = is_counter};
    struct histogram_added added;
    if (!find_ends(&extended) || !check_kinds(&extended) || !find_bounds(&extended))
        return false;
    bool gauges = extended.left->hint == HISTOGRAM_GAUGE && extended.right->hint == HISTOGRAM_GAUGE;
    if (!is_counter && !gauges)
        warn(window, NOT_GAUGE);
    histogram_sum_set(&query->sum, extended.right);
    if (!histogram_sum_subtract(&query->sum, extended.left, &added)) {
        warn(window, MIXED_SCHEMAS);
        return false;
    }
    inform(window, added.bounds_reconciled, BOUNDS_RECONCILED "subtraction");
    if (is_counter) {
        if (!correct_resets(&extended))
            return false;
        if (query->spare.is_set) {
            const struct histogram *correction =
                histogram_sum_take(&query->spare, true, &query->run.arena);
            if (!histogram_sum_add(&query->sum, correction, &added)) {
                warn(window, MIXED_SCHEMAS);
                return false;
            }
            inform(window, added.bounds_reconciled, BOUNDS_RECONCILED "addition");
        }
    }
    if (is_rate)
        histogram_sum_divide(&query->sum, (double)window->range_ms / 1000);
    query->sum.head.hint = HISTOGRAM_GAUGE;
    window->histogram = histogram_sum_take(&query->sum, false, &query->arena);
    return true;
}

/* --- instant selectors --- */

void smoothed_histogram(const struct frame *frame, const struct expr *selector, struct str name,
                        size_t low, size_t high, int64_t at_ms, size_t t, struct steps *steps)
{
    struct query *query = frame->query;
    const struct sample_run *run = &query->run;
    struct window window = {.histogram_times = run->histogram_time_ms,
                            .histograms = run->histogram};
    size_t after = low;
    while (after < high && run->histogram_time_ms[after] < at_ms)
        after++;
    bool is_exact = after < high && run->histogram_time_ms[after] == at_ms;
    if (is_exact) {
        steps_set_histogram(steps, t, histogram_copy(&query->arena, run->histogram[after]));
        return;
    }
    if (after == low)
        return;
    const struct histogram *before = run->histogram[after - 1];
    if (after == high) { /* Carried on; the hint told of the sample before it. */
        struct histogram *copy = histogram_copy(&query->arena, before);
        copy->hint = HISTOGRAM_UNKNOWN_RESET;
        steps_set_histogram(steps, t, copy);
        return;
    }
    if (histogram_is_custom(before) != histogram_is_custom(run->histogram[after])) {
        annotate_named(query, true, selector, MIXED_SCHEMAS, name);
        return;
    }
    bool is_counter =
        before->hint != HISTOGRAM_GAUGE || run->histogram[after]->hint != HISTOGRAM_GAUGE;
    const struct histogram *between =
        histogram_between(query, selector, name, &window, after - 1, at_ms, is_counter);
    if (between)
        steps_set_histogram(steps, t, histogram_copy(&query->arena, between));
}
