/* engine: the life of a query: parse, run, result. And its budgets. */
#include <stdlib.h>

#include "base/clock.h"

#include "eval.h"

#define MS_IN_NS  1000000
#define STEPS_MAX 50000000 /* Of a frame, whatever it may hold in each: they are walked. */

/* --- life --- */

bool query_new(struct query **out, struct str text, const struct query_options *options,
               struct err *err)
{
    struct query *query = MEM_NEW(struct query);
    struct parse_options parse = {.features = options->features};
    int64_t begin_ns = clock_mono_ns();

    *out = NULL;
    query->options = *options;
    if (query->options.lookback_ms <= 0)
        query->options.lookback_ms = 5 * 60 * 1000;
    if (query->options.default_step_ms <= 0)
        query->options.default_step_ms = 60 * 1000;
    query->deadline_ns = INT64_MAX;
    arena_init(&query->arena, options->bytes_max);
    arena_init(&query->run.arena, 0);
    annotations_init(&query->annotations);
    query->text = arena_str(&query->arena, text);
    if (!parse_expr(query->text, &parse, &query->arena, &query->expr, err)) {
        query->expr = NULL;
        query_free(query);
        return false;
    }
    /* In Prometheus' order. */
    if ((options->step_ms > 0 && !query_check_range(query, err)) || !plan_tree(query, err)) {
        query_free(query);
        return false;
    }
    query->result.stats.parse_seconds = (double)(clock_mono_ns() - begin_ns) / 1e9;
    *out = query;
    return true;
}

void query_free(struct query *query)
{
    if (!query)
        return;
    for (size_t i = 0; query->selections && i < query->selector_count; i++)
        selection_free(query->selections[i]);
    VEC_EACH (labels, &query->owned)
        labels_unref(*labels);
    VEC_FREE(&query->owned);
    for (size_t i = 0; i < query->result.count; i++)
        labels_unref(query->result.series[i].labels);
    annotations_deinit(&query->annotations);
    run_deinit(&query->run);
    if (query->has_info_names)
        matcher_deinit(&query->info_names);
    histogram_sum_deinit(&query->sum);
    histogram_sum_deinit(&query->spare);
    expr_deinit(query->expr);
    VEC_EACH (arena, &query->adopted)
        arena_deinit(arena);
    VEC_FREE(&query->adopted);
    arena_deinit(&query->arena);
    mem_free(query);
}

enum query_value_type query_type(const struct query *query)
{
    switch (query->expr->type) {
    case TYPE_SCALAR:
        return QUERY_SCALAR;
    case TYPE_VECTOR:
        return QUERY_VECTOR;
    case TYPE_MATRIX:
        return QUERY_MATRIX;
    case TYPE_STRING:
        return QUERY_STRING;
    case TYPE_NONE:
        break;
    }
    return QUERY_NONE;
}

bool query_check_range(const struct query *query, struct err *err)
{
    if (query->expr->type == TYPE_VECTOR || query->expr->type == TYPE_SCALAR)
        return true;
    return err_set(
        err, ERR_BAD_DATA,
        "invalid expression type \"%s\" for range query, must be Scalar or instant Vector",
        value_type_text(query->expr->type));
}

const struct query_result *query_result(const struct query *query)
{
    ENSURE(query->has_run);
    return &query->result;
}

void query_set_timeout(struct query *query, int64_t timeout_ms)
{
    ENSURE(!query->has_run);
    query->options.timeout_ms = timeout_ms;
}

/* --- budgets --- */

struct labels *query_own(struct query *query, struct labels *labels)
{
    VEC_PUSH(&query->owned, labels);
    query->owned_bytes += sizeof(struct labels) + labels->count * sizeof(struct label);
    for (uint32_t i = 0; i < labels->count; i++)
        query->owned_bytes += labels->items[i].name.len + labels->items[i].value.len;
    return labels;
}

static bool too_many_bytes(const struct query *query, struct err *err)
{
    return err_set(err, ERR_EXECUTION,
                   "query processing would use more than %zu bytes of memory in query execution",
                   query->options.bytes_max);
}

static bool too_many_samples(struct err *err)
{
    return err_set(err, ERR_EXECUTION,
                   "query processing would load too many samples into memory in query execution");
}

size_t query_bytes(const struct query *query)
{
    size_t scratch = query->run.capacity * (sizeof(int64_t) + sizeof(double)) +
                     query->run.mark_capacity * sizeof(uint32_t);
    return query->arena.bytes + query->adopted_bytes + query->owned_bytes + scratch +
           query->run.arena.bytes;
}

bool query_check(struct query *query, struct err *err)
{
    if (query->options.canceled &&
        atomic_load_explicit(query->options.canceled, memory_order_relaxed))
        return err_set(err, ERR_CANCELED, "query was canceled in expression evaluation");
    if (query->deadline_ns != INT64_MAX && clock_mono_coarse_ns() > query->deadline_ns)
        return err_set(err, ERR_TIMEOUT, "query timed out in expression evaluation");
    if (!query->options.bytes_max)
        return true;
    size_t bytes = query_bytes(query);
    if (query->team)
        bytes = team_bytes(query, bytes);
    return (!query->arena.over_budget && bytes <= query->options.bytes_max) ||
           too_many_bytes(query, err);
}

bool query_hold_briefly(struct query *query, uint64_t count, struct err *err)
{
    int64_t sum = query->samples + (int64_t)count;
    uint64_t held = sum > 0 ? (uint64_t)sum : 0;
    if (held > query->result.stats.samples_peak)
        query->result.stats.samples_peak = held;
    return held <= query->options.samples_max || too_many_samples(err);
}

bool query_hold(struct query *query, uint64_t count, struct err *err)
{
    if (!query_hold_briefly(query, count, err))
        return false;
    query->samples += (int64_t)count;
    return true;
}

bool query_allows_steps(struct query *query, size_t steps, struct err *err)
{
    if (steps > STEPS_MAX && steps > query->options.samples_max)
        return too_many_samples(err);
    if (query->options.bytes_max && steps > query->options.bytes_max / (2 * sizeof(double)))
        return too_many_bytes(query, err);
    return true;
}

/* --- running --- */

static int compare_series(const void *a, const void *b)
{
    const struct query_series *left = a, *right = b;
    return labels_cmp(left->labels, right->labels);
}

static void result_histograms(struct query *query, const struct series *series, size_t count,
                              struct query_series *out)
{
    size_t at = 0;
    if (!series->histograms)
        return;
    const struct histogram **histograms =
        arena_alloc_array(&query->arena, count, sizeof(*histograms));
    for (size_t t = series->from; t < series->to; t++)
        if (series_has(series, t))
            histograms[at++] = series_histogram(series, t);
    out->histogram = histograms;
}

/* Series without gaps share the times of the steps. */
static int64_t *step_times(struct query *query, const struct frame *frame)
{
    int64_t *times = arena_alloc_array(&query->arena, frame->steps + 1, sizeof(int64_t));
    for (size_t t = 0; t < frame->steps; t++)
        times[t] = frame_time(frame, t);
    return times;
}

static void result_points(struct query *query, const struct series *series, int64_t *times,
                          struct query_series *out)
{
    size_t at = 0;
    if (out->count == series->to - series->from) {
        out->time_ms = times + series->from;
        out->value = series->values;
        return;
    }
    out->time_ms = arena_alloc_array(&query->arena, out->count, sizeof(int64_t));
    out->value = arena_alloc_array(&query->arena, out->count, sizeof(double));
    for (size_t t = series->from; t < series->to; t++) {
        if (!series_has(series, t))
            continue;
        out->time_ms[at] = times[t];
        out->value[at++] = *series_at(series, t);
    }
}

/* The series of a vector as result: all points of a range query, or the one of an instant query. */
static bool result_vector(struct query *query, const struct frame *frame,
                          const struct vector *vector, struct err *err)
{
    struct query_result *result = &query->result;
    result->series =
        arena_alloc_array(&query->arena, vector->count + 1, sizeof(struct query_series));
    int64_t *times = step_times(query, frame);
    for (size_t i = 0; i < vector->count; i++) {
        const struct series *series = &vector->items[i];
        size_t count = series_count(series);
        if (count == 0)
            continue;
        struct query_series *out = &result->series[result->count++];
        *out = (struct query_series){.labels = labels_ref(series->labels), .count = count};
        result_points(query, series, times, out);
        result_histograms(query, series, count, out);
        if (!query_check(query, err))
            return false;
    }
    return true;
}

static void result_scalar(struct query *query, const struct frame *frame, double *values)
{
    struct query_result *result = &query->result;
    if (result->type == QUERY_SCALAR) {
        result->scalar = values[0];
        return;
    }
    result->series = ARENA_NEW(&query->arena, struct query_series);
    result->series->labels = labels_empty();
    result->series->count = frame->steps;
    result->series->value = values;
    result->series->time_ms = arena_alloc_array(&query->arena, frame->steps, sizeof(int64_t));
    for (size_t t = 0; t < frame->steps; t++)
        result->series->time_ms[t] = frame_time(frame, t);
    result->count = 1;
}

static bool delayed_names(const struct frame *frame, struct vector *vector, struct err *err)
{
    for (size_t i = 0; i < vector->count; i++)
        if (vector->items[i].drop_name)
            vector->items[i].labels = labels_without_name(frame->query, vector->items[i].labels);
    return vector_merge_same(frame, vector, err);
}

static bool run_frame(struct query *query, const struct frame *frame, struct err *err)
{
    struct value value;
    struct query_result *result = &query->result;
    if (query->expr->type == TYPE_MATRIX)
        return eval_matrix_result(frame, query->expr, err);
    if (!eval_expr(frame, query->expr, &value, err))
        return false;
    switch (value.type) {
    case TYPE_STRING:
        result->string = value.string;
        return true;
    case TYPE_SCALAR:
        result_scalar(query, frame, value.scalar);
        return true;
    default:
        if ((query->options.features & QUERY_DELAYED_NAMES) &&
            !delayed_names(frame, &value.vector, err))
            return false;
        return result_vector(query, frame, &value.vector, err);
    }
}

static bool frame_of_query(struct query *query, struct frame *frame, struct err *err)
{
    const struct query_options *options = &query->options;
    *frame =
        (struct frame){.query = query, .start_ms = options->start_ms, .step_ms = 1, .steps = 1};
    if (options->step_ms <= 0)
        return true;
    frame->step_ms = options->step_ms;
    int64_t span = time_sub(options->end_ms, options->start_ms);
    frame->steps = span < 0 ? 0 : (size_t)(span / options->step_ms) + 1;
    frame->is_range = span != 0;
    return query_allows_steps(query, frame->steps, err);
}

bool query_run(struct query *query, struct storage *storage, struct err *err)
{
    struct query_result *result = &query->result;
    struct query_stats *stats = &result->stats;
    struct frame frame;
    bool is_range = query->options.step_ms > 0;

    ENSURE(!query->has_run);
    int64_t begin_ns = clock_mono_ns();
    if (query->options.timeout_ms > 0)
        query->deadline_ns = time_add(begin_ns, query->options.timeout_ms * MS_IN_NS);
    result->type = is_range ? QUERY_MATRIX : query_type(query);
    result->time_ms = query->options.start_ms;
    if (is_range && !query_check_range(query, err))
        return false;
    if (!query_check(query, err) || !frame_of_query(query, &frame, err) ||
        !plan_select(query, storage, err))
        return false;
    step_stats_begin(query, &frame);
    int64_t planned_ns = clock_mono_ns();
    stats->prepare_seconds = (double)(planned_ns - begin_ns) / 1e9;
    if (!run_frame(query, &frame, err) || !query_check(query, err))
        return false;
    int64_t evaluated_ns = clock_mono_ns();
    stats->eval_seconds = (double)(evaluated_ns - planned_ns) / 1e9;
    if (result->type == QUERY_MATRIX && result->count > 1)
        qsort(result->series, result->count, sizeof(*result->series), compare_series);
    stats->sort_seconds = (double)(clock_mono_ns() - evaluated_ns) / 1e9;
    annotations_finish(query);
    query->has_run = true;
    return true;
}
