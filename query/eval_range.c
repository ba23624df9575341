/* eval_range: functions over range vectors: the call, its arguments, its series one after the other. */
#include "base/number.h"

#include "range.h"

/* --- annotations --- */

static void note_non_counter(struct range_eval *eval, const struct labels *labels)
{
    struct str name = labels_get(labels, LABEL_NAME);
    if (eval->noted.ptr && str_eq(eval->noted, name))
        return; /* The series before had the same. */
    eval->noted = name;
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
    scratch_for(eval, query->run.count);
    eval->window.labels = labels;
    eval->window.scratch = eval->scratch;
    /* Prometheus has the last window until it goes to the next series. */
    if (!range_eval_series(eval, steps, err) ||
        !query_hold_briefly(query, eval->last_samples + steps_samples(steps), err) ||
        !query_hold(query, steps_samples(steps), err))
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
    };
    bool ok = true;
    range_eval_init(&eval);
    if (range->source.selection)
        eval.cursor = run_cursor(query, range->source.selection);
    steps_init(&steps, &frame);
    for (size_t i = first; ok && i < end; i++)
        ok = eval_series(&eval, range, i, &steps, out, err);
    run_cursor_done(query);
    range_eval_deinit(&eval);
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

/* Prometheus 3.14 evaluates a subquery with @ once for all steps, and then a function whose other arguments do not stay the
 * same finds nothing in it. */
static bool subquery_is_lost(const struct expr *call, const struct expr *matrix)
{
    return matrix->kind == EXPR_SUBQUERY && matrix->as.subquery.mod.at != AT_NONE &&
           !call->step_invariant;
}

bool eval_range_call(const struct frame *frame, struct expr *call, struct vector *out,
                     struct err *err)
{
    struct query *query = frame->query;
    struct feed feed;

    if (!range_feed(frame, call, &feed, err))
        return false;
    if (subquery_is_lost(call, ((const struct range_call *)feed.ctx)->matrix))
        feed.count = 0;
    if (!feed_all(&feed, out, err))
        return false;
    /* As Prometheus: what its arguments and absent_over_time's series took is held by the whole query. */
    const struct range_call *range = feed.ctx;
    if (range->matrix->kind == EXPR_SUBQUERY)
        query->samples -= (int64_t)vector_samples(&range->source.vector);
    if (call->as.call.function->id == FN_ABSENT_OVER_TIME) {
        struct vector found = *out;
        vector_absent(frame, &found, absent_labels(query, range->matrix), out);
        return true;
    }
    return query->options.features & QUERY_DELAYED_NAMES || vector_refuse_same(out, err);
}
