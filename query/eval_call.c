/* eval_call: which code a function call runs. */
#include "eval.h"

static bool call_scalar(const struct frame *frame, struct expr *call, double **out,
                        struct err *err);

/* Every step the same. */
static bool fill(const struct frame *frame, double number, double **out)
{
    *out = scalar_new(frame);
    for (size_t t = 0; t < frame->steps; t++)
        (*out)[t] = number;
    return true;
}

/* scalar(): the only element's value, else NaN. */
static bool call_scalar_of(const struct frame *frame, struct expr *call, double **out,
                           struct err *err)
{
    struct vector vector;
    if (!eval_vector(frame, call_arg(call, 0), &vector, err))
        return false;
    uint32_t *found = arena_zalloc(&frame->query->arena, (frame->steps + 1) * sizeof(uint32_t));
    fill(frame, sample_nan(), out);
    for (size_t i = 0; i < vector.count; i++) {
        const struct series *series = &vector.items[i];
        for (size_t t = series->from; t < series->to; t++)
            if (series_has(series, t) && !series_histogram(series, t))
                (*out)[t] = found[t]++ == 0 ? *series_at(series, t) : sample_nan();
    }
    return true;
}

static bool call_extreme(const struct frame *frame, struct expr *call, double **out,
                         struct err *err)
{
    bool is_max = call->as.call.function->id == FN_MAX_OF;
    double *other;
    if (!eval_scalar(frame, call_arg(call, 0), out, err) ||
        !eval_scalar(frame, call_arg(call, 1), &other, err))
        return false;
    for (size_t t = 0; t < frame->steps; t++)
        (*out)[t] = is_max ? max_go((*out)[t], other[t]) : min_go((*out)[t], other[t]);
    return true;
}

static bool call_scalar(const struct frame *frame, struct expr *call, double **out, struct err *err)
{
    const struct query_options *options = &frame->query->options;
    switch (call->as.call.function->id) {
    case FN_PI:
        return fill(frame, 3.14159265358979323846, out);
    case FN_START:
        return fill(frame, (double)options->start_ms / 1000, out);
    case FN_END:
        return fill(frame, (double)options->end_ms / 1000, out);
    case FN_RANGE:
        return fill(frame, (double)(options->end_ms - options->start_ms) / 1000, out);
    case FN_STEP:
        return fill(
            frame, options->start_ms == options->end_ms ? 0 : (double)options->step_ms / 1000, out);
    case FN_TIME:
        *out = scalar_new(frame);
        for (size_t t = 0; t < frame->steps; t++)
            (*out)[t] = (double)frame_time(frame, t) / 1000;
        return true;
    case FN_SCALAR:
        return call_scalar_of(frame, call, out, err);
    default:
        return call_extreme(frame, call, out, err);
    }
}

static bool call_vector_of(const struct frame *frame, struct expr *call, struct vector *out,
                           struct err *err)
{
    double *values;
    if (!eval_scalar(frame, call_arg(call, 0), &values, err))
        return false;
    *out = vector_new(frame, 1);
    out->items[out->count++] = (struct series){
        .labels = query_own(frame->query, labels_empty()), .to = frame->steps, .values = values};
    return true;
}

static bool call_math(const struct frame *frame, struct expr *call, math_fn function,
                      struct vector *out, struct err *err)
{
    if (!eval_vector(frame, call_arg(call, 0), out, err))
        return false;
    vector_split(frame, out, NULL);
    for (size_t i = 0; i < out->count; i++) {
        struct series *series = &out->items[i];
        for (size_t t = series->from; t < series->to; t++)
            if (series_has(series, t))
                *series_at(series, t) = function(*series_at(series, t));
        if (!query_check(frame->query, err))
            return false;
    }
    return vector_drop_names(frame, out, err);
}

/* Start timestamps are not stored: as Prometheus without that feature. */
static bool call_start_timestamp(const struct frame *frame, struct expr *call, struct vector *out,
                                 struct err *err)
{
    if (!eval_vector(frame, call_arg(call, 0), out, err))
        return false;
    out->count = 0;
    return true;
}

static bool call_vector(const struct frame *frame, struct expr *call, struct vector *out,
                        struct err *err)
{
    enum function_id id = call->as.call.function->id;
    math_fn math = math_function(id);
    if (math)
        return call_math(frame, call, math, out, err);
    switch (id) {
    case FN_ABSENT:
        return fn_absent(frame, call, out, err);
    case FN_CLAMP:
    case FN_CLAMP_MAX:
    case FN_CLAMP_MIN:
        return fn_clamp(frame, call, out, err);
    case FN_ROUND:
        return fn_round(frame, call, out, err);
    case FN_DAYS_IN_MONTH:
    case FN_DAY_OF_MONTH:
    case FN_DAY_OF_WEEK:
    case FN_DAY_OF_YEAR:
    case FN_HOUR:
    case FN_MINUTE:
    case FN_MONTH:
    case FN_YEAR:
        return fn_date(frame, call, out, err);
    case FN_TIMESTAMP:
        return fn_timestamp(frame, call, out, err);
    case FN_LABEL_REPLACE:
        return fn_label_replace(frame, call, out, err);
    case FN_LABEL_JOIN:
        return fn_label_join(frame, call, out, err);
    case FN_SORT:
    case FN_SORT_DESC:
    case FN_SORT_BY_LABEL:
    case FN_SORT_BY_LABEL_DESC:
        return fn_sort(frame, call, out, err);
    case FN_INFO:
        return fn_info(frame, call, out, err);
    case FN_VECTOR:
        return call_vector_of(frame, call, out, err);
    case FN_HISTOGRAM_QUANTILE:
        return fn_histogram_quantile(frame, call, out, err);
    case FN_HISTOGRAM_QUANTILES:
        return fn_histogram_quantiles(frame, call, out, err);
    case FN_HISTOGRAM_FRACTION:
        return fn_histogram_fraction(frame, call, out, err);
    case FN_HISTOGRAM_AVG:
    case FN_HISTOGRAM_COUNT:
    case FN_HISTOGRAM_SUM:
    case FN_HISTOGRAM_STDDEV:
    case FN_HISTOGRAM_STDVAR:
        return fn_native(frame, call, out, err);
    case FN_START_TIMESTAMP:
        return call_start_timestamp(frame, call, out, err);
    default:
        return err_set(err, ERR_EXECUTION, "function \"%s\" is not supported",
                       call->as.call.function->name);
    }
}

bool eval_call(const struct frame *frame, struct expr *call, struct value *out, struct err *err)
{
    struct query *query = frame->query;
    enum function_id id = call->as.call.function->id;
    int64_t before = query->samples;
    struct tally gathered = {0};

    if (window_function(id))
        return eval_range_call(frame, call, &out->vector, err);
    if (id == FN_LABEL_REPLACE || id == FN_LABEL_JOIN) /* Those take series as they are. */
        return call_vector(frame, call, &out->vector, err);
    query->tally = &gathered;
    bool ok = call->type == TYPE_SCALAR ? call_scalar(frame, call, &out->scalar, err)
                                        : call_vector(frame, call, &out->vector, err);
    query->tally = NULL;
    if (!ok)
        return false;
    /* timestamp() of a selector reads it step by step. */
    if (id == FN_TIMESTAMP && expr_unwrap(call->as.call.args[0])->kind == EXPR_VECTOR_SELECTOR) {
        query->samples = before;
        tally_gather(&gathered, frame, out);
    }
    /* info() lets go of nothing. */
    return tally_hold(&gathered, frame, id == FN_INFO ? query->samples : before, out, err);
}
