/* fn_time: parts of dates, and the times of samples. All in UTC. */
#include "base/timetext.h"

#include "eval.h"

/* As Go converts on amd64: what does not fit becomes the least integer. */
static int64_t to_seconds(double value)
{
    if (!(value >= -9223372036854775808.0 && value < 9223372036854775808.0))
        return INT64_MIN;
    return (int64_t)value;
}

/* Go counts seconds from a year long ago without a sign: what lies before comes out 2^64 seconds later, of which whole
 * turns of 400 years leave the rest. */
#define GO_EPOCH          (-9223372028741760000)
#define SECONDS_PER_TURN  (146097 * 86400LL)
#define TURNS_IN_2_TO_64  1461385123
#define SECONDS_AND_TURNS 1699513216 /* 2^64 seconds are so many more than those turns. */

static struct time_civil civil_of(int64_t seconds)
{
    if (seconds >= GO_EPOCH)
        return time_civil_utc(seconds);
    _Static_assert(SECONDS_AND_TURNS < SECONDS_PER_TURN, "less than one more");
    struct time_civil civil = time_civil_utc(seconds + SECONDS_AND_TURNS);
    civil.year += TURNS_IN_2_TO_64 * 400LL;
    return civil;
}

static double date_part(enum function_id id, int64_t seconds)
{
    struct time_civil civil = civil_of(seconds);
    switch (id) {
    case FN_DAYS_IN_MONTH:
        return time_days_in_month(civil.year, civil.month);
    case FN_DAY_OF_MONTH:
        return civil.day;
    case FN_DAY_OF_WEEK:
        return civil.weekday;
    case FN_DAY_OF_YEAR:
        return civil.yearday;
    case FN_HOUR:
        return civil.hour;
    case FN_MINUTE:
        return civil.minute;
    case FN_MONTH:
        return civil.month;
    case FN_YEAR:
        return (double)civil.year;
    default:
        UNREACHABLE();
    }
}

/* One series without labels that has the evaluation time. */
static struct vector now_vector(const struct frame *frame)
{
    struct vector vector = vector_new(frame, 1);
    struct series *series = &vector.items[vector.count++];
    *series =
        (struct series){.labels = query_own(frame->query, labels_empty()), .to = frame->steps};
    series->values = scalar_new(frame);
    for (size_t t = 0; t < frame->steps; t++)
        series->values[t] = (double)(frame_time(frame, t) / 1000);
    return vector;
}

bool fn_date(const struct frame *frame, struct expr *call, struct vector *out, struct err *err)
{
    enum function_id id = call->as.call.function->id;
    if (call->as.call.arg_count == 0)
        *out = now_vector(frame);
    else if (!eval_vector(frame, call_arg(call, 0), out, err))
        return false;
    vector_split(frame, out, NULL);
    for (size_t i = 0; i < out->count; i++) {
        struct series *series = &out->items[i];
        for (size_t t = series->from; t < series->to; t++)
            if (series_has(series, t))
                *series_at(series, t) = date_part(id, to_seconds(*series_at(series, t)));
    }
    return vector_drop_names(frame, out, err);
}

bool fn_timestamp(const struct frame *frame, struct expr *call, struct vector *out, struct err *err)
{
    struct expr *arg = call_arg(call, 0);
    if (arg->kind == EXPR_VECTOR_SELECTOR)
        return eval_selector_times(frame, arg, out, err);
    if (!eval_vector(frame, arg, out, err))
        return false;
    for (size_t i = 0; i < out->count; i++) {
        struct series *series = &out->items[i];
        series->histograms = NULL;
        for (size_t t = series->from; t < series->to; t++)
            *series_at(series, t) = (double)frame_time(frame, t) / 1000;
    }
    return vector_drop_names(frame, out, err);
}
