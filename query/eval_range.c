/* eval_range: functions over range vectors, and range vectors themselves.
 *
 * Each series is decoded once into the query's run; the window of a step is a slice of it, between
 * two indexes that only move forward. What a function counts inside windows (resets, changes) is
 * marked once per series; the marks of a window are a slice, too. */
#include "base/number.h"

#include "eval.h"

/* Where the samples come from: a selection, or the series of a subquery. */
struct range_source {
    const struct expr *matrix; /* EXPR_MATRIX_SELECTOR or EXPR_SUBQUERY */
    const struct modifiers *mod;
    int64_t range_ms;
    bool anchored, smoothed;
    int64_t before_ms, after_ms; /* How far windows reach beyond the range. */
    size_t count;
    const struct selection *selection;
    struct cursor *cursor;
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
    source->cursor = cursor_new(source->selection);
    source->count = selection_count(source->selection);
    return true;
}

static void source_close(struct range_source *source)
{
    if (source->cursor)
        cursor_free(source->cursor);
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
static bool source_load(struct range_source *source, struct query *query, size_t index,
                        struct err *err)
{
    struct sample_run *run = &query->run;
    if (source->selection)
        return run_load(query, source->cursor, index,
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
    struct range_source source;
    enum function_id id;
    window_fn function;
    enum window_marks marks;
    struct window window;
    double *args[2];
    double *scratch;
    size_t scratch_count;
};

/* The histograms in the window at one step. Returns what they count as. */
static uint64_t window_histograms(struct range_eval *eval, struct range_walk *walk, uint64_t *fresh)
{
    const struct sample_run *run = &eval->frame->query->run;
    struct window *window = &eval->window;
    *fresh += walk_histograms(walk, run, time_sub(window->start_ms, eval->source.before_ms),
                              time_add(window->end_ms, eval->source.after_ms));
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

static bool eval_one(struct range_eval *eval, struct steps *steps, struct err *err)
{
    struct query *query = eval->frame->query;
    const struct sample_run *run = &query->run;
    const struct modifiers *mod = eval->source.mod;
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
        uint64_t fresh = walk_to(&walk, run, time_sub(window->start_ms, eval->source.before_ms),
                                 time_add(window->end_ms, eval->source.after_ms));
        window->count = walk.high - walk.low;
        uint64_t samples = window->count;
        if (mixed)
            samples += window_histograms(eval, &walk, &fresh);
        if (samples == 0)
            continue;
        query->result.stats.samples_total += samples;
        if (eval->source.selection)
            query->result.stats.samples_read += fresh;
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

static void scratch_for(struct range_eval *eval, size_t count)
{
    if (count <= eval->scratch_count)
        return;
    eval->scratch_count = count * 2;
    eval->scratch =
        arena_alloc_array(&eval->frame->query->arena, eval->scratch_count, sizeof(double));
}

static bool eval_all(struct range_eval *eval, enum function_id id, struct vector *out,
                     struct err *err)
{
    struct query *query = eval->frame->query;
    bool keeps_name = id == FN_LAST_OVER_TIME || id == FN_FIRST_OVER_TIME;
    bool counts = id == FN_RATE || id == FN_INCREASE;
    bool delays = query->options.features & QUERY_DELAYED_NAMES;
    struct steps steps;

    steps_init(&steps, eval->frame);
    *out = vector_new(eval->frame, eval->source.count);
    for (size_t i = 0; i < eval->source.count; i++) {
        struct labels *labels = source_labels(&eval->source, i);
        struct series *series = &out->items[out->count];
        if (!source_load(&eval->source, query, i, err))
            return false;
        mark(&query->run, eval->marks);
        scratch_for(eval, query->run.count);
        eval->window.labels = labels;
        eval->window.scratch = eval->scratch;
        if (!eval_one(eval, &steps, err) || !query_hold(query, steps_samples(&steps), err))
            return false;
        if (counts && steps.count > steps.histogram_count)
            note_non_counter(eval, labels);
        struct labels *shown = keeps_name || delays ? labels : labels_without_name(query, labels);
        if (!steps_take(&steps, eval->frame, shown, series))
            continue;
        series->drop_name =
            delays &&
            (!keeps_name || (!eval->source.selection && eval->source.vector.items[i].drop_name));
        out->count++;
    }
    return true;
}

bool eval_range_call(const struct frame *frame, struct expr *call, struct vector *out,
                     struct err *err)
{
    struct query *query = frame->query;
    enum function_id id = call->as.call.function->id;
    size_t scalars = 0;
    struct expr *matrix = NULL;
    struct range_eval eval = {
        .frame = frame, .id = id, .function = window_function(id), .marks = window_wants(id)};
    uint64_t before = query->samples;

    for (size_t i = 0; i < call->as.call.arg_count; i++)
        if (call_arg(call, i)->type == TYPE_MATRIX)
            matrix = call_arg(call, i);
    ENSURE(matrix && eval.function);
    const char *refusal = matrix->kind == EXPR_MATRIX_SELECTOR
                              ? extended_refusal(matrix->as.matrix.vector, id)
                              : NULL;
    if (refusal)
        return err_set(err, ERR_EXECUTION, "%s %s", refusal, call->as.call.function->name);
    bool ok = source_open(&eval.source, frame, matrix, err);
    for (size_t i = 0; ok && i < call->as.call.arg_count; i++)
        if (call_arg(call, i)->type == TYPE_SCALAR && scalars < COUNT_OF(eval.args))
            ok = eval_scalar(frame, call_arg(call, i), &eval.args[scalars++], err);
    /* Prometheus forgets where a subquery stood. */
    const struct expr *first = call_arg(call, 0);
    eval.window = (struct window){.frame = frame,
                                  .call = call,
                                  .where = first->kind == EXPR_SUBQUERY ? NULL : first,
                                  .range_ms = eval.source.range_ms,
                                  .anchored = eval.source.anchored,
                                  .smoothed = eval.source.smoothed,
                                  .err = err};
    ok = ok && eval_all(&eval, id, out, err);
    source_close(&eval.source);
    if (!ok)
        return false;
    if (id == FN_ABSENT_OVER_TIME) {
        struct vector found = *out;
        vector_absent(frame, &found, absent_labels(query, matrix), out);
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

    result->series =
        arena_alloc_array(&query->arena, source.count + 1, sizeof(struct query_series));
    for (size_t i = 0; ok && i < source.count; i++) {
        struct query_series series = {0};
        int64_t end_ms = time_sub(source.mod->at != AT_NONE ? source.mod->at_ms : frame->start_ms,
                                  source.mod->offset_ms);
        ok = source_load(&source, query, i, err) &&
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
        ok = query_hold(query, samples, err);
    }
    source_close(&source);
    return ok;
}
