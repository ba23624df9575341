/* eval: one node over all steps of a frame. */
#include "eval.h"

double *scalar_new(const struct frame *frame)
{
    return arena_alloc_array(&frame->query->arena, frame->steps + 1, sizeof(double));
}

static bool eval_number(const struct frame *frame, double number, struct value *out,
                        struct err *err)
{
    *out = (struct value){.type = TYPE_SCALAR, .scalar = scalar_new(frame)};
    for (size_t t = 0; t < frame->steps; t++)
        out->scalar[t] = number;
    return query_hold(frame->query, frame->steps, err);
}

static bool eval_unary(const struct frame *frame, struct expr *expr, struct value *out,
                       struct err *err)
{
    if (!eval_expr(frame, expr->as.unary.expr, out, err))
        return false;
    if (!expr->as.unary.minus)
        return true;
    if (out->type == TYPE_SCALAR) {
        for (size_t t = 0; t < frame->steps; t++)
            out->scalar[t] = -out->scalar[t];
        return true;
    }
    for (size_t i = 0; i < out->vector.count; i++) {
        struct series *series = &out->vector.items[i];
        for (size_t k = 0; k < series->to - series->from; k++)
            series->values[k] = -series->values[k];
        for (size_t t = series->from; series->histograms && t < series->to; t++)
            if (series_has(series, t) && series_histogram(series, t))
                series->histograms[t - series->from] =
                    histogram_scaled(&frame->query->arena, series_histogram(series, t), -1);
        if (!query_check(frame->query, err))
            return false;
    }
    return vector_drop_names(frame, &out->vector, err);
}

/* The value at one step, repeated at all steps of the frame. */
static bool repeat(const struct frame *frame, struct value *value, struct err *err)
{
    struct query *query = frame->query;
    if (value->type == TYPE_SCALAR) {
        double *all = scalar_new(frame);
        for (size_t t = 0; t < frame->steps; t++)
            all[t] = value->scalar[0];
        value->scalar = all;
        return query_hold(query, frame->steps - 1, err);
    }
    for (size_t i = 0; i < value->vector.count; i++) {
        struct series *series = &value->vector.items[i];
        if (series_count(series) == 0)
            continue;
        double number = series->values[0];
        const struct histogram *histogram = series_histogram(series, 0);
        uint64_t samples = histogram ? histogram_samples(histogram) : 1;
        if (!query_hold(query, (frame->steps - 1) * samples, err) || !query_check(query, err))
            return false;
        *series = (struct series){.labels = series->labels,
                                  .to = frame->steps,
                                  .drop_name = series->drop_name,
                                  .values = scalar_new(frame)};
        for (size_t t = 0; t < frame->steps; t++)
            series->values[t] = number;
        if (!histogram)
            continue;
        series->histograms =
            arena_alloc_array(&query->arena, frame->steps, sizeof(*series->histograms));
        for (size_t t = 0; t < frame->steps; t++)
            series->histograms[t] = histogram;
    }
    return true;
}

static bool eval_once(const struct frame *frame, struct expr *expr, struct value *out,
                      struct err *err)
{
    struct frame single = {
        .query = frame->query, .start_ms = frame->start_ms, .step_ms = 1, .steps = 1};
    struct step_totals saved = step_totals_save(frame->query);
    if (!eval_expr(&single, expr, out, err))
        return false;
    step_totals_repeat(frame, &saved);
    return repeat(frame, out, err);
}

static bool eval_node(const struct frame *frame, struct expr *expr, struct value *out,
                      struct err *err)
{
    switch (expr->kind) {
    case EXPR_NUMBER:
        return eval_number(frame, expr->as.number.value, out, err);
    case EXPR_STRING:
        out->string = expr->as.string.value;
        return true;
    case EXPR_VECTOR_SELECTOR:
        return eval_selector(frame, expr, &out->vector, err);
    case EXPR_UNARY:
        return eval_unary(frame, expr, out, err);
    case EXPR_BINARY:
        return eval_binary(frame, expr, out, err);
    case EXPR_CALL:
        return eval_call(frame, expr, out, err);
    case EXPR_AGGREGATE:
        return eval_aggregate(frame, expr, &out->vector, err);
    case EXPR_PAREN:
    case EXPR_MATRIX_SELECTOR:
    case EXPR_SUBQUERY:
    case EXPR_DURATION:
        break;
    }
    return err_set(err, ERR_EXECUTION, "a range vector has no value here");
}

static bool eval_any(const struct frame *frame, struct expr *expr, struct value *out,
                     struct err *err)
{
    *out = (struct value){.type = expr->type};
    if (!query_check(frame->query, err))
        return false;
    if (frame->steps == 0) {
        out->scalar = scalar_new(frame);
        return true;
    }
    bool is_plain = expr->kind == EXPR_NUMBER || expr->kind == EXPR_STRING;
    if (expr->step_invariant && (frame->steps > 1 || frame->is_range) && !is_plain)
        return eval_once(frame, expr, out, err);
    return eval_node(frame, expr, out, err);
}

bool eval_expr(const struct frame *frame, struct expr *expr, struct value *out, struct err *err)
{
    struct query *query = frame->query;
    struct tally *asking = query->tally;
    query->tally = NULL;
    bool ok = eval_any(frame, expr_unwrap(expr), out, err);
    query->tally = asking;
    if (ok && asking)
        tally_gather(asking, frame, out);
    return ok;
}

bool eval_vector(const struct frame *frame, struct expr *expr, struct vector *out, struct err *err)
{
    struct value value;
    if (!eval_expr(frame, expr, &value, err))
        return false;
    *out = value.vector;
    return true;
}

bool eval_scalar(const struct frame *frame, struct expr *expr, double **out, struct err *err)
{
    struct value value;
    if (!eval_expr(frame, expr, &value, err))
        return false;
    *out = value.scalar;
    return true;
}
