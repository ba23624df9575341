/* fn_math: functions of one value, element by element. */
#include "eval.h"
#include "model/math_go.h"

#define PI 3.14159265358979323846

static double sign(double x)
{
    return x < 0 ? -1 : x > 0 ? 1 : x;
}
static double degrees(double x)
{
    return x * 180 / PI;
}
static double radians(double x)
{
    return x * PI / 180;
}

math_fn math_function(enum function_id id)
{
    static const math_fn functions[FN_COUNT] = {
        [FN_ABS] = fabs,       [FN_ACOS] = go_acos, [FN_ACOSH] = go_acosh, [FN_ASIN] = go_asin,
        [FN_ASINH] = go_asinh, [FN_ATAN] = go_atan, [FN_ATANH] = go_atanh, [FN_CEIL] = ceil,
        [FN_COS] = go_cos,     [FN_COSH] = go_cosh, [FN_DEG] = degrees,    [FN_EXP] = go_exp,
        [FN_FLOOR] = floor,    [FN_LN] = go_log,    [FN_LOG10] = go_log10, [FN_LOG2] = go_log2,
        [FN_RAD] = radians,    [FN_SGN] = sign,     [FN_SIN] = go_sin,     [FN_SINH] = go_sinh,
        [FN_SQRT] = sqrt,      [FN_TAN] = go_tan,   [FN_TANH] = go_tanh,
    };
    return functions[id];
}

static void clamp_series(const struct frame *frame, struct series *series, const double *least,
                         const double *most)
{
    for (size_t t = series->from; t < series->to; t++) {
        double low = least ? least[t] : -INFINITY, high = most ? most[t] : INFINITY;
        double *value = series_at(series, t);
        *value = max_go(low, min_go(high, *value));
        if (high < low) {
            series_need_bitmap(frame, series);
            bitmap_del(series->present, t - series->from);
        }
    }
}

bool fn_clamp(const struct frame *frame, struct expr *call, struct vector *out, struct err *err)
{
    enum function_id id = call->as.call.function->id;
    double *least = NULL, *most = NULL;
    if (!eval_vector(frame, call_arg(call, 0), out, err))
        return false;
    if (id != FN_CLAMP_MAX && !eval_scalar(frame, call_arg(call, 1), &least, err))
        return false;
    if (id != FN_CLAMP_MIN &&
        !eval_scalar(frame, call_arg(call, id == FN_CLAMP ? 2 : 1), &most, err))
        return false;
    vector_split(frame, out, NULL);
    for (size_t i = 0; i < out->count; i++)
        clamp_series(frame, &out->items[i], least, most);
    vector_drop_empty(out);
    return vector_drop_names(frame, out, err);
}

bool fn_round(const struct frame *frame, struct expr *call, struct vector *out, struct err *err)
{
    double *nearest = NULL;
    if (!eval_vector(frame, call_arg(call, 0), out, err))
        return false;
    if (call->as.call.arg_count > 1 && !eval_scalar(frame, call_arg(call, 1), &nearest, err))
        return false;
    vector_split(frame, out, NULL);
    for (size_t i = 0; i < out->count; i++) {
        struct series *series = &out->items[i];
        for (size_t t = series->from; t < series->to; t++) {
            double inverse = 1.0 / (nearest ? nearest[t] : 1.0);
            double *value = series_at(series, t);
            *value = floor(*value * inverse + 0.5) / inverse;
        }
    }
    return vector_drop_names(frame, out, err);
}
