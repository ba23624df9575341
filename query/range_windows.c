/* range_windows: a function over the windows of one series, at all steps.
 *
 * What a function counts inside windows (resets, changes) is marked once per series; the marks of a window are a slice
 * of those, too. */
#include "range.h"

#define CHECK_SAMPLES 100000 /* So many samples in windows between two looks at the clock. */

static void mark_changes(struct sample_run *run)
{
    for (size_t i = 1; i < run->count; i++) {
        double before = run->value[i - 1], value = run->value[i];
        if (value != before && !(isnan(value) && isnan(before)))
            run->marks[run->mark_count++] = (uint32_t)i;
    }
}

static void mark(struct sample_run *run, enum window_marks wants)
{
    run->mark_count = 0;
    if (wants == MARK_NOTHING)
        return;
    if (run->mark_capacity < run->count) {
        run->mark_capacity = run->count * 2;
        run->marks = mem_realloc(run->marks, run->mark_capacity * sizeof(*run->marks));
    }
    if (wants == MARK_RESETS)
        run->mark_count = scan_falls(run->value, run->count, run->marks);
    else
        mark_changes(run);
}

void range_eval_init(struct range_eval *eval)
{
    struct arena *arena = &eval->frame->query->arena;
    struct range_places *places = &eval->places;
    size_t steps = eval->frame->steps + 1;
    places->low = arena_alloc_array(arena, steps, sizeof(uint32_t));
    places->high = arena_alloc_array(arena, steps, sizeof(uint32_t));
    if (!rate_has(eval->id))
        return;
    places->rate.to_start = arena_alloc_array(arena, steps, sizeof(double));
    places->rate.to_end = arena_alloc_array(arena, steps, sizeof(double));
    places->rate.sampled = arena_alloc_array(arena, steps, sizeof(double));
}

void range_eval_deinit(struct range_eval *eval)
{
    known_times_deinit(&eval->places.known);
}

/* --- windows with histograms in them, and windows that reach beyond their range --- */

/* The histograms in the window at one step. Returns what they count as. */
static uint64_t window_histograms(struct range_eval *eval, struct range_walk *walk, uint64_t *fresh)
{
    const struct sample_run *run = &eval->frame->query->run;
    struct window *window = &eval->window;
    *fresh += walk_histograms(walk, run, time_sub(window->start_ms, eval->source->before_ms),
                              time_add(window->end_ms, eval->source->after_ms));
    window->histogram_times = run->histogram_time_ms + walk->low_histogram;
    window->histograms = run->histogram + walk->low_histogram;
    window->histogram_count = walk->high_histogram - walk->low_histogram;
    return run->histogram_samples[walk->high_histogram] -
           run->histogram_samples[walk->low_histogram];
}

static void eval_window(struct range_eval *eval, size_t t, struct steps *steps)
{
    struct window *window = &eval->window;
    double value;
    if (window->histogram_count == 0) {
        if (eval->function(window, &value))
            steps_set(steps, t, value);
        return;
    }
    window->histogram = NULL;
    if (!histogram_window(window, eval->id, eval->function, &value))
        return;
    if (window->histogram)
        steps_set_histogram(steps, t, window->histogram);
    else
        steps_set(steps, t, value);
}

/* Series with histograms, and windows that reach beyond their range: step after step. */
static bool eval_wide(struct range_eval *eval, struct steps *steps, struct err *err)
{
    struct query *query = eval->frame->query;
    const struct sample_run *run = &query->run;
    const struct modifiers *mod = eval->source->mod;
    struct window *window = &eval->window;
    struct range_walk walk = {0};
    uint64_t widest = 0;
    bool mixed = run->histogram_count > 0;

    window->histogram_count = 0;
    for (size_t t = 0; t < eval->frame->steps; t++) {
        window->time_ms = frame_time(eval->frame, t);
        window->end_ms =
            time_sub(mod->at != AT_NONE ? mod->at_ms : window->time_ms, mod->offset_ms);
        window->start_ms = time_sub(window->end_ms, window->range_ms);
        uint64_t fresh = walk_to(&walk, run, time_sub(window->start_ms, eval->source->before_ms),
                                 time_add(window->end_ms, eval->source->after_ms));
        window->count = walk.high - walk.low;
        uint64_t samples = window->count;
        if (mixed)
            samples += window_histograms(eval, &walk, &fresh);
        eval->last_samples = samples;
        if (samples == 0)
            continue;
        query->result.stats.samples_total += samples;
        if (eval->source->selection)
            query->result.stats.samples_read += fresh;
        step_stats_add(eval->frame, t, samples, eval->source->selection ? fresh : 0);
        if (samples > widest)
            widest = samples;
        window->times = run->time_ms + walk.low;
        window->values = run->value + walk.low;
        window->marks = run->marks + walk.mark_low;
        window->mark_count = walk.mark_high - walk.mark_low;
        window->mark_base = walk.low;
        for (size_t i = 0; i < COUNT_OF(eval->args); i++)
            window->args[i] = eval->args[i] ? eval->args[i][t] : 0;
        double value;
        if (mixed)
            eval_window(eval, t, steps);
        else if (eval->function(window, &value))
            steps_set(steps, t, value);
        if (window->failed)
            return false;
        if ((t % 1000 == 999 || window->histogram_count) && !query_check(query, err))
            return false;
    }
    return query_hold_briefly(query, widest, err);
}

static void place_all(struct range_eval *eval)
{
    const struct sample_run *run = &eval->frame->query->run;
    const struct modifiers *mod = eval->source->mod;
    struct range_places *places = &eval->places;
    uint32_t low = 0, high = 0;
    places->total = places->fresh = places->widest = 0;
    for (size_t t = 0; t < eval->frame->steps; t++) {
        int64_t time_ms = mod->at != AT_NONE ? mod->at_ms : frame_time(eval->frame, t);
        int64_t end_ms = time_sub(time_ms, mod->offset_ms);
        int64_t start_ms = time_sub(end_ms, eval->window.range_ms);
        uint32_t seen = high;
        while (high < run->count && run->time_ms[high] <= end_ms)
            high++;
        while (low < high && run->time_ms[low] <= start_ms)
            low++;
        places->low[t] = low;
        places->high[t] = high;
        places->total += high - low;
        places->fresh += high - (seen > low ? seen : low);
        places->widest = high - low > places->widest ? high - low : places->widest;
    }
}

static void count_by_step(const struct range_eval *eval)
{
    const struct range_places *places = &eval->places;
    uint32_t seen = 0;
    for (size_t t = 0; t < eval->frame->steps; t++) {
        uint32_t low = places->low[t], high = places->high[t];
        uint32_t fresh = high - (seen > low ? seen : low);
        seen = high;
        step_stats_add(eval->frame, t, high - low, eval->source->selection ? fresh : 0);
    }
}

/* Finds the windows of all steps and counts their samples. */
static bool place_windows(struct range_eval *eval, struct windows *out, struct err *err)
{
    struct query *query = eval->frame->query;
    const struct sample_run *run = &query->run;
    struct range_places *places = &eval->places;
    bool is_known = known_times_are(&places->known, run);
    if (!is_known) {
        place_all(eval);
        known_times_set(&places->known, run);
    }
    *out = (struct windows){.times = run->time_ms,
                            .values = run->value,
                            .sample_count = run->count,
                            .low = places->low,
                            .high = places->high,
                            .count = eval->frame->steps,
                            .window_samples = places->total,
                            .scratch = eval->scratch};
    if (!is_known && rate_has(eval->id))
        rate_place(&places->rate, out, eval->frame, eval->source->mod, eval->window.range_ms);
    size_t last = eval->frame->steps - 1;
    eval->last_samples = places->high[last] - places->low[last];
    query->result.stats.samples_total += places->total;
    if (eval->source->selection)
        query->result.stats.samples_read += places->fresh;
    if (query->result.stats.step_count > 0)
        count_by_step(eval);
    return query_hold_briefly(query, places->widest, err) && query_check(query, err);
}

static void take_slid(const struct range_eval *eval, struct steps *steps)
{
    for (size_t t = 0; t < eval->frame->steps; t++)
        if (eval->places.low[t] < eval->places.high[t])
            steps_set(steps, t, steps->values[t]);
}

static void check_quantiles(struct range_eval *eval)
{
    for (size_t t = 0; t < eval->frame->steps; t++) {
        double quantile = eval->args[0][t];
        if (eval->places.low[t] < eval->places.high[t] &&
            (isnan(quantile) || quantile < 0 || quantile > 1))
            annotate_quantile(eval->frame->query, eval->window.where, quantile);
    }
}

/* The marks between the first and the last sample of the window. */
static void move_marks(struct range_walk *walk, const struct sample_run *run, uint32_t low,
                       uint32_t high)
{
    while (walk->mark_low < run->mark_count && run->marks[walk->mark_low] <= low)
        walk->mark_low++;
    if (walk->mark_high < walk->mark_low)
        walk->mark_high = walk->mark_low;
    while (walk->mark_high < run->mark_count && run->marks[walk->mark_high] < high)
        walk->mark_high++;
}

/* Have all steps from `t` on that lanes take the same arguments, and good ones? */
static bool lanes_agree(const struct range_eval *eval, size_t t)
{
    if (eval->id != FN_DOUBLE_EXPONENTIAL_SMOOTHING)
        return true;
    for (size_t i = 0; i < COUNT_OF(eval->args); i++) {
        double arg = eval->args[i][t];
        if (!(arg > 0 && arg < 1))
            return false;
        for (size_t k = t; k < t + LANES_MAX && k < eval->frame->steps; k++)
            if (eval->args[i][k] != arg)
                return false;
    }
    return true;
}

/* Several windows at once, from step *t on. False: there is no such way for them. */
static bool eval_lanes(struct range_eval *eval, const struct windows *windows, size_t *t,
                       struct steps *steps)
{
    double found[LANES_MAX], args[2] = {0};
    bool good[LANES_MAX];
    if (!lanes_have(eval->id) || !lanes_agree(eval, *t))
        return false;
    for (size_t i = 0; i < COUNT_OF(args); i++)
        args[i] = eval->args[i] ? eval->args[i][*t] : 0;
    size_t count = lanes_run(eval->id, windows, *t, args, found, good);
    for (size_t k = 0; k < count; k++) {
        struct window *window = &eval->window;
        window->values = windows->values + windows->low[*t + k];
        window->count = windows->high[*t + k] - windows->low[*t + k];
        if (good[k] || eval->function(window, &found[k]))
            steps_set(steps, *t + k, found[k]);
    }
    *t += count;
    return count > 0;
}

static void window_at(struct range_eval *eval, const struct windows *windows, size_t t,
                      const struct range_walk *walk)
{
    const struct sample_run *run = &eval->frame->query->run;
    const struct modifiers *mod = eval->source->mod;
    struct window *window = &eval->window;
    window->time_ms = frame_time(eval->frame, t);
    window->end_ms = time_sub(mod->at != AT_NONE ? mod->at_ms : window->time_ms, mod->offset_ms);
    window->start_ms = time_sub(window->end_ms, window->range_ms);
    window->count = windows->high[t] - windows->low[t];
    window->times = run->time_ms + windows->low[t];
    window->values = run->value + windows->low[t];
    window->marks = run->marks + walk->mark_low;
    window->mark_count = walk->mark_high - walk->mark_low;
    window->mark_base = windows->low[t];
    for (size_t i = 0; i < COUNT_OF(eval->args); i++)
        window->args[i] = eval->args[i] ? eval->args[i][t] : 0;
}

/* Counters with resets in these steps. Marks ascend, and so do the steps whose windows they are in. */
static void rate_resets(struct range_eval *eval, const struct windows *windows, struct steps *steps)
{
    const struct sample_run *run = &eval->frame->query->run;
    const struct rate_places *places = &eval->places.rate;
    struct range_walk walk = {0};
    size_t t = places->from;
    for (size_t i = 0; i < run->mark_count; i++) {
        uint32_t mark_at = run->marks[i];
        while (t < places->to && windows->high[t] <= mark_at)
            t++;
        for (; t < places->to && windows->low[t] < mark_at; t++) {
            move_marks(&walk, run, windows->low[t], windows->high[t]);
            window_at(eval, windows, t, &walk);
            bool found = eval->function(&eval->window, &steps->values[t]);
            ENSURE_SLOW(found);
            (void)found;
        }
    }
}

static void eval_rate(struct range_eval *eval, const struct windows *windows, struct steps *steps)
{
    const struct rate_places *places = &eval->places.rate;
    if (places->to == 0)
        return;
    rate_run(eval->id, places, windows, steps->values);
    rate_resets(eval, windows, steps);
    steps_mark_all(steps, places->from, places->to);
}

static bool eval_floats(struct range_eval *eval, struct steps *steps, struct err *err)
{
    struct query *query = eval->frame->query;
    struct windows windows;
    struct range_walk walk = {0};
    uint64_t since_check = 0;
    eval->window.histogram_count = 0;
    if (!place_windows(eval, &windows, err))
        return false;
    if (windows.window_samples == 0)
        return true;
    if (eval->id == FN_QUANTILE_OVER_TIME)
        check_quantiles(eval);
    if (rate_has(eval->id) && eval->places.rate.usable) {
        eval_rate(eval, &windows, steps);
        return true;
    }
    if (windows_slide(eval->id, &windows, eval->args[0], steps->values)) {
        take_slid(eval, steps);
        return true;
    }
    for (size_t t = 0; t < eval->frame->steps;) {
        double value;
        since_check += eval->places.high[t] - eval->places.low[t];
        if (since_check > CHECK_SAMPLES) {
            since_check = 0;
            if (!query_check(query, err))
                return false;
        }
        if (eval->places.low[t] == eval->places.high[t]) {
            t++;
            continue;
        }
        if (eval_lanes(eval, &windows, &t, steps))
            continue;
        if (eval->marks != MARK_NOTHING)
            move_marks(&walk, &query->run, eval->places.low[t], eval->places.high[t]);
        window_at(eval, &windows, t, &walk);
        if (eval->function(&eval->window, &value))
            steps_set(steps, t, value);
        if (eval->window.failed)
            return false;
        t++;
    }
    return true;
}

bool range_eval_series(struct range_eval *eval, struct steps *steps, struct err *err)
{
    mark(&eval->frame->query->run, eval->marks);
    bool is_wide = eval->frame->query->run.histogram_count > 0 || eval->source->anchored ||
                   eval->source->smoothed;
    return is_wide ? eval_wide(eval, steps, err) : eval_floats(eval, steps, err);
}
