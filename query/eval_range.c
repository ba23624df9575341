/* eval_range: functions over range vectors, and range vectors themselves.
 *
 * Each series is decoded once into the query's run; the window of a step is a slice of it, between
 * two indexes that only move forward. What a function counts inside windows (resets, changes) is
 * marked once per series; the marks of a window are a slice, too. */
#include "base/number.h"

#include "eval.h"

#define CHECK_SAMPLES 100000 /* So many samples in windows between two looks at the clock. */

/* Where the samples come from: a selection, or the series of a subquery. */
struct range_source {
    const struct expr *matrix; /* EXPR_MATRIX_SELECTOR or EXPR_SUBQUERY */
    const struct modifiers *mod;
    int64_t range_ms;
    bool anchored, smoothed;
    int64_t before_ms, after_ms; /* How far windows reach beyond the range. */
    size_t count;
    const struct selection *selection;
    struct frame sub;
    struct vector vector;
};

static bool source_open(struct range_source *source, const struct frame *frame, struct expr *matrix,
                        struct err *err)
{
    *source = (struct range_source){.matrix = matrix};
    if (matrix->kind == EXPR_SUBQUERY) {
        source->mod = &matrix->as.subquery.mod;
        source->range_ms = matrix->as.subquery.range_ms;
        if (!eval_subquery(frame, matrix, &source->sub, &source->vector, err))
            return false;
        source->count = source->vector.count;
        return true;
    }
    struct expr *selector = matrix->as.matrix.vector;
    source->anchored = selector->as.vector.anchored;
    source->smoothed = selector->as.vector.smoothed;
    if (source->anchored || source->smoothed)
        source->before_ms = frame->query->options.lookback_ms;
    if (source->smoothed)
        source->after_ms = frame->query->options.lookback_ms;
    source->mod = &selector->as.vector.mod;
    source->range_ms = matrix->as.matrix.range_ms;
    source->selection = frame->query->selections[selector->as.vector.index];
    source->count = selection_count(source->selection);
    return true;
}

static struct labels *source_labels(const struct range_source *source, size_t index)
{
    return source->selection ? selection_labels(source->selection, index)
                             : source->vector.items[index].labels;
}

/* A hint compares with the sample before, which a subquery may have left out. */
static const struct histogram *unhinted(struct query *query, const struct histogram *histogram)
{
    if (histogram->hint == HISTOGRAM_GAUGE || histogram->hint == HISTOGRAM_UNKNOWN_RESET)
        return histogram;
    struct histogram *copy = arena_alloc(&query->run.arena, sizeof(*copy));
    *copy = *histogram;
    copy->hint = HISTOGRAM_UNKNOWN_RESET;
    return copy;
}

/* Brings the samples of one series into the run, without stale markers. */
static bool source_load(const struct range_source *source, struct query *query,
                        struct cursor *cursor, size_t index, struct err *err)
{
    struct sample_run *run = &query->run;
    if (source->selection)
        return run_load(query, cursor, index,
                        (struct run_wants){
                            .no_buckets = source->matrix->as.matrix.vector->as.vector.no_buckets},
                        err);
    const struct series *series = &source->vector.items[index];
    run_clear(query);
    run_reserve(query, series->to - series->from);
    for (size_t t = series->from; t < series->to; t++) {
        if (!series_has(series, t))
            continue;
        const struct histogram *histogram = series_histogram(series, t);
        if (histogram && !histogram_is_stale(histogram))
            run_add_histogram(query, frame_time(&source->sub, t), unhinted(query, histogram));
        if (histogram || sample_is_stale(*series_at(series, t)))
            continue;
        run->time_ms[run->count] = frame_time(&source->sub, t);
        run->value[run->count++] = *series_at(series, t);
    }
    return query_check(query, err);
}

static void mark(struct sample_run *run, enum window_marks wants)
{
    run->mark_count = 0;
    if (wants == MARK_NOTHING)
        return;
    for (size_t i = 1; i < run->count; i++) {
        double before = run->value[i - 1], value = run->value[i];
        bool marked = wants == MARK_RESETS ? value < before
                                           : value != before && !(isnan(value) && isnan(before));
        if (marked)
            run->marks[run->mark_count++] = (uint32_t)i;
    }
}

/* --- one series over all steps --- */

struct range_walk {
    size_t low, high;           /* The window's samples. */
    size_t mark_low, mark_high; /* The marks after the first of them. */
    size_t low_histogram, high_histogram;
};

/* The same for histograms. Returns what those count as that are new to the window. */
static uint64_t walk_histograms(struct range_walk *walk, const struct sample_run *run,
                                int64_t start_ms, int64_t end_ms)
{
    size_t seen = walk->high_histogram;
    while (walk->high_histogram < run->histogram_count &&
           run->histogram_time_ms[walk->high_histogram] <= end_ms)
        walk->high_histogram++;
    while (walk->low_histogram < walk->high_histogram &&
           run->histogram_time_ms[walk->low_histogram] <= start_ms)
        walk->low_histogram++;
    size_t fresh = seen > walk->low_histogram ? seen : walk->low_histogram;
    return run->histogram_samples[walk->high_histogram] - run->histogram_samples[fresh];
}

/* Moves the window to (start, end]. Returns how many of its samples were not in the window before.
 */
static size_t walk_to(struct range_walk *walk, const struct sample_run *run, int64_t start_ms,
                      int64_t end_ms)
{
    size_t seen = walk->high;
    while (walk->high < run->count && run->time_ms[walk->high] <= end_ms)
        walk->high++;
    while (walk->low < walk->high && run->time_ms[walk->low] <= start_ms)
        walk->low++;
    while (walk->mark_low < run->mark_count && run->marks[walk->mark_low] <= walk->low)
        walk->mark_low++;
    if (walk->mark_high < walk->mark_low)
        walk->mark_high = walk->mark_low;
    while (walk->mark_high < run->mark_count && run->marks[walk->mark_high] < walk->high)
        walk->mark_high++;
    return walk->high - (seen > walk->low ? seen : walk->low);
}

struct range_eval {
    const struct frame *frame;
    struct range_source *source;
    struct cursor *cursor; /* Of source->selection. */
    enum function_id id;
    window_fn function;
    enum window_marks marks;
    struct window window;
    double *args[2];
    double *scratch; /* One number for each sample of the series, and one more. */
    size_t scratch_count;
    uint32_t *low, *high; /* [steps] */
};

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

/* Finds the windows of all steps and counts their samples. */
static bool place_windows(struct range_eval *eval, struct windows *out, struct err *err)
{
    struct query *query = eval->frame->query;
    const struct sample_run *run = &query->run;
    const struct modifiers *mod = eval->source->mod;
    uint32_t low = 0, high = 0;
    uint64_t total = 0, fresh = 0, widest = 0;
    bool by_step = query->result.stats.step_count > 0;
    *out = (struct windows){.times = run->time_ms,
                            .values = run->value,
                            .sample_count = run->count,
                            .low = eval->low,
                            .high = eval->high,
                            .count = eval->frame->steps,
                            .scratch = eval->scratch};
    for (size_t t = 0; t < eval->frame->steps; t++) {
        int64_t time_ms = mod->at != AT_NONE ? mod->at_ms : frame_time(eval->frame, t);
        int64_t end_ms = time_sub(time_ms, mod->offset_ms);
        int64_t start_ms = time_sub(end_ms, eval->window.range_ms);
        uint32_t seen = high;
        while (high < run->count && run->time_ms[high] <= end_ms)
            high++;
        while (low < high && run->time_ms[low] <= start_ms)
            low++;
        eval->low[t] = low;
        eval->high[t] = high;
        uint32_t unread = high - (seen > low ? seen : low);
        total += high - low;
        fresh += unread;
        if (by_step)
            step_stats_add(eval->frame, t, high - low, eval->source->selection ? unread : 0);
        widest = high - low > widest ? high - low : widest;
    }
    out->window_samples = total;
    query->result.stats.samples_total += total;
    if (eval->source->selection)
        query->result.stats.samples_read += fresh;
    return query_hold_briefly(query, widest, err) && query_check(query, err);
}

static void take_slid(const struct range_eval *eval, struct steps *steps)
{
    for (size_t t = 0; t < eval->frame->steps; t++)
        if (eval->low[t] < eval->high[t])
            steps_set(steps, t, steps->values[t]);
}

static void check_quantiles(struct range_eval *eval)
{
    for (size_t t = 0; t < eval->frame->steps; t++) {
        double quantile = eval->args[0][t];
        if (eval->low[t] < eval->high[t] && (isnan(quantile) || quantile < 0 || quantile > 1))
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
    if (windows_slide(eval->id, &windows, eval->args[0], steps->values)) {
        take_slid(eval, steps);
        return true;
    }
    for (size_t t = 0; t < eval->frame->steps;) {
        double value;
        since_check += eval->high[t] - eval->low[t];
        if (since_check > CHECK_SAMPLES) {
            since_check = 0;
            if (!query_check(query, err))
                return false;
        }
        if (eval->low[t] == eval->high[t]) {
            t++;
            continue;
        }
        if (eval_lanes(eval, &windows, &t, steps))
            continue;
        if (eval->marks != MARK_NOTHING)
            move_marks(&walk, &query->run, eval->low[t], eval->high[t]);
        window_at(eval, &windows, t, &walk);
        if (eval->function(&eval->window, &value))
            steps_set(steps, t, value);
        if (eval->window.failed)
            return false;
        t++;
    }
    return true;
}

static bool eval_one(struct range_eval *eval, struct steps *steps, struct err *err)
{
    bool is_wide = eval->frame->query->run.histogram_count > 0 || eval->source->anchored ||
                   eval->source->smoothed;
    return is_wide ? eval_wide(eval, steps, err) : eval_floats(eval, steps, err);
}

/* --- annotations --- */

static void note_non_counter(const struct range_eval *eval, const struct labels *labels)
{
    struct str name = labels_get(labels, LABEL_NAME);
    if (name.len == 0 || str_ends(name, STR("_total")) || str_ends(name, STR("_sum")) ||
        str_ends(name, STR("_count")) || str_ends(name, STR("_bucket")))
        return;
    struct buf text;
    buf_init(&text, 65536);
    BUF_ADD(&text, "PromQL info: metric might not be a counter, name does not end in "
                   "_total/_sum/_count/_bucket: ");
    buf_add_go_quoted(&text, name);
    annotate(eval->frame->query, false, eval->window.where, buf_str(&text));
    buf_deinit(&text);
}

/* --- the call --- */

struct range_call {
    const struct frame *frame;
    struct expr *call, *matrix;
    struct range_source source;
    double *args[2];
    enum function_id id;
    bool keeps_name;
};

static bool range_call_open(struct range_call *range, const struct frame *frame, struct expr *call,
                            struct err *err)
{
    size_t scalars = 0;
    enum function_id id = call->as.call.function->id;
    *range = (struct range_call){.frame = frame, .call = call, .id = id};
    range->keeps_name = id == FN_LAST_OVER_TIME || id == FN_FIRST_OVER_TIME;
    for (size_t i = 0; i < call->as.call.arg_count; i++)
        if (call_arg(call, i)->type == TYPE_MATRIX)
            range->matrix = call_arg(call, i);
    ENSURE(range->matrix && window_function(id));
    const char *refusal = range->matrix->kind == EXPR_MATRIX_SELECTOR
                              ? extended_refusal(range->matrix->as.matrix.vector, id)
                              : NULL;
    if (refusal)
        return err_set(err, ERR_EXECUTION, "%s %s", refusal, call->as.call.function->name);
    bool ok = source_open(&range->source, frame, range->matrix, err);
    for (size_t i = 0; ok && i < call->as.call.arg_count; i++)
        if (call_arg(call, i)->type == TYPE_SCALAR && scalars < COUNT_OF(range->args))
            ok = eval_scalar(frame, call_arg(call, i), &range->args[scalars++], err);
    return ok;
}

static void scratch_for(struct range_eval *eval, size_t count)
{
    if (count < eval->scratch_count)
        return;
    eval->scratch_count = count * 2 + 1;
    eval->scratch =
        arena_alloc_array(&eval->frame->query->arena, eval->scratch_count, sizeof(double));
}

static bool eval_series(struct range_eval *eval, const struct range_call *range, size_t index,
                        struct steps *steps, struct vector *out, struct err *err)
{
    struct query *query = eval->frame->query;
    const struct range_source *source = &range->source;
    struct labels *labels = source_labels(source, index);
    bool counts = range->id == FN_RATE || range->id == FN_INCREASE;
    bool delays = query->options.features & QUERY_DELAYED_NAMES;
    if (!source_load(source, query, eval->cursor, index, err))
        return false;
    mark(&query->run, eval->marks);
    scratch_for(eval, query->run.count);
    eval->window.labels = labels;
    eval->window.scratch = eval->scratch;
    if (!eval_one(eval, steps, err) || !query_hold(query, steps_samples(steps), err))
        return false;
    if (counts && steps->count > steps->histogram_count)
        note_non_counter(eval, labels);
    bool drops = !range->keeps_name && !delays && !query->keeps_labels;
    struct series *series = &out->items[out->count];
    if (!steps->count)
        return true;
    steps_take(steps, eval->frame, drops ? labels_without_name(query, labels) : labels, series);
    series->drop_name = delays && (!range->keeps_name ||
                                   (!source->selection && source->vector.items[index].drop_name));
    out->count++;
    return true;
}

static bool range_call_part(void *ctx, struct query *query, size_t first, size_t end,
                            struct vector *out, struct err *err)
{
    struct range_call *range = ctx;
    struct frame frame = *range->frame;
    struct steps steps;
    /* Prometheus forgets where a subquery stood. */
    const struct expr *first_arg = call_arg(range->call, 0);
    frame.query = query;
    struct range_eval eval = {
        .frame = &frame,
        .source = &range->source,
        .id = range->id,
        .function = window_function(range->id),
        .marks = window_wants(range->id),
        .window = {.frame = &frame,
                   .call = range->call,
                   .where = first_arg->kind == EXPR_SUBQUERY ? NULL : first_arg,
                   .range_ms = range->source.range_ms,
                   .anchored = range->source.anchored,
                   .smoothed = range->source.smoothed,
                   .err = err},
        .args = {range->args[0], range->args[1]},
        .low = arena_alloc_array(&query->arena, frame.steps + 1, sizeof(uint32_t)),
        .high = arena_alloc_array(&query->arena, frame.steps + 1, sizeof(uint32_t)),
    };
    bool ok = true;
    if (range->source.selection)
        eval.cursor = cursor_new(range->source.selection);
    steps_init(&steps, &frame);
    for (size_t i = first; ok && i < end; i++)
        ok = eval_series(&eval, range, i, &steps, out, err);
    cursor_free(eval.cursor);
    return ok;
}

bool range_feed(const struct frame *frame, struct expr *call, struct feed *out, struct err *err)
{
    struct range_call *range = ARENA_NEW(&frame->query->arena, struct range_call);
    *out = (struct feed){.frame = frame, .part = range_call_part, .ctx = range};
    if (!range_call_open(range, frame, call, err))
        return false;
    out->count = range->source.count;
    out->selection = range->source.selection;
    out->samples_each = (uint64_t)range->source.range_ms / FEED_INTERVAL_MS;
    return true;
}

bool eval_range_call(const struct frame *frame, struct expr *call, struct vector *out,
                     struct err *err)
{
    struct query *query = frame->query;
    uint64_t before = query->samples;
    struct feed feed;

    if (!range_feed(frame, call, &feed, err) || !feed_all(&feed, out, err))
        return false;
    if (call->as.call.function->id == FN_ABSENT_OVER_TIME) {
        const struct range_call *range = feed.ctx;
        struct vector found = *out;
        vector_absent(frame, &found, absent_labels(query, range->matrix), out);
    } else if (!(query->options.features & QUERY_DELAYED_NAMES) && !vector_refuse_same(out, err)) {
        return false;
    }
    query->samples = before;
    return query_hold(query, vector_samples(out), err);
}

/* --- a range vector as result --- */

/* The points of the series in the run, as they are or with those at the bounds. */
static void take_points(struct query *query, const struct range_source *source, int64_t end_ms,
                        struct query_series *series)
{
    struct sample_run *run = &query->run;
    struct range_walk walk = {0};
    int64_t start_ms = time_sub(end_ms, source->range_ms);
    run->mark_count = 0;
    walk_to(&walk, run, time_sub(start_ms, source->before_ms), time_add(end_ms, source->after_ms));
    size_t count = walk.high - walk.low;
    series->time_ms = arena_alloc_array(&query->arena, count + 2, sizeof(int64_t));
    series->value = arena_alloc_array(&query->arena, count + 2, sizeof(double));
    struct window window = {.start_ms = start_ms,
                            .end_ms = end_ms,
                            .smoothed = source->smoothed,
                            .times = run->time_ms + walk.low,
                            .values = run->value + walk.low,
                            .count = count};
    series->count = count;
    if (count == 0)
        return;
    if (source->anchored || source->smoothed) {
        series->count = extended_points(&window, series->time_ms, series->value);
        return;
    }
    memcpy(series->time_ms, window.times, count * sizeof(int64_t));
    memcpy(series->value, window.values, count * sizeof(double));
}

/* Floats and histograms of the range in their order. */
static void merge_points(struct query *query, const struct range_source *source, int64_t end_ms,
                         struct query_series *series)
{
    const struct sample_run *run = &query->run;
    struct range_walk walk = {0}, histograms = {0};
    int64_t start_ms = time_sub(end_ms, source->range_ms);
    walk_to(&walk, run, start_ms, end_ms);
    walk_histograms(&histograms, run, start_ms, end_ms);
    size_t count = walk.high - walk.low + histograms.high_histogram - histograms.low_histogram;
    series->time_ms = arena_alloc_array(&query->arena, count + 1, sizeof(int64_t));
    series->value = arena_zalloc(&query->arena, (count + 1) * sizeof(double));
    const struct histogram **points = arena_zalloc(&query->arena, (count + 1) * sizeof(*points));
    series->histogram = points;
    series->count = count;
    for (size_t at = 0, i = walk.low, j = histograms.low_histogram; at < count; at++) {
        bool is_float = j == histograms.high_histogram ||
                        (i < walk.high && run->time_ms[i] <= run->histogram_time_ms[j]);
        if (is_float) {
            series->time_ms[at] = run->time_ms[i];
            series->value[at] = run->value[i++];
        } else {
            series->time_ms[at] = run->histogram_time_ms[j];
            points[at] = histogram_copy(&query->arena, run->histogram[j++]);
        }
    }
}

static bool take_series(struct query *query, const struct range_source *source, int64_t end_ms,
                        struct query_series *series, struct err *err)
{
    const struct sample_run *run = &query->run;
    if (run->histogram_count == 0) {
        take_points(query, source, end_ms, series);
        return true;
    }
    if (source->anchored || source->smoothed)
        return err_set(err, ERR_EXECUTION, "%s modifier is not supported with histograms",
                       source->anchored ? "anchored" : "smoothed");
    merge_points(query, source, end_ms, series);
    return true;
}

static uint64_t points_samples(const struct query_series *series)
{
    uint64_t samples = series->count;
    for (size_t i = 0; series->histogram && i < series->count; i++)
        if (series->histogram[i])
            samples += histogram_samples(series->histogram[i]) - 1;
    return samples;
}

bool eval_matrix_result(const struct frame *frame, struct expr *matrix, struct err *err)
{
    struct query *query = frame->query;
    struct query_result *result = &query->result;
    struct range_source source;
    bool ok = source_open(&source, frame, expr_unwrap(matrix), err);
    struct cursor *cursor = ok && source.selection ? cursor_new(source.selection) : NULL;

    result->series =
        arena_alloc_array(&query->arena, source.count + 1, sizeof(struct query_series));
    for (size_t i = 0; ok && i < source.count; i++) {
        struct query_series series = {0};
        int64_t end_ms = time_sub(source.mod->at != AT_NONE ? source.mod->at_ms : frame->start_ms,
                                  source.mod->offset_ms);
        ok = source_load(&source, query, cursor, i, err) &&
             take_series(query, &source, end_ms, &series, err);
        if (!ok)
            break;
        if (series.count == 0)
            continue;
        struct labels *labels = source_labels(&source, i);
        if (!source.selection && source.vector.items[i].drop_name)
            labels = labels_without_name(query, labels);
        series.labels = labels_ref(labels);
        result->series[result->count++] = series;
        uint64_t samples = points_samples(&series);
        result->stats.samples_total += samples;
        result->stats.samples_read += samples;
        step_stats_add(frame, 0, samples, samples);
        ok = query_hold(query, samples, err);
    }
    cursor_free(cursor);
    return ok;
}
