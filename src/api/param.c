/* param: reads what callers pass in queries and forms. */
#include "param.h"

#include <inttypes.h>

#include "model/duration.h"
#include "query.h"

struct str param_get(const struct call *call, const char *name)
{
    return http_params_get(&call->params, name);
}

bool param_wrap(struct err *err, const char *name)
{
    return err_wrap(err, "invalid parameter \"%s\"", name);
}

static bool int_parse(struct str text, const char *function, int64_t max, int64_t *out,
                      struct err *err)
{
    struct str digits = text.len > 0 && text.ptr[0] == '+' ? str_after(text, 1) : text;
    bool numeric = digits.len > 0;

    if (str_to_i64(digits, out) && *out <= max && *out >= -max - 1)
        return true;
    for (size_t i = 0; i < digits.len; i++)
        numeric = numeric && ((digits.ptr[i] >= '0' && digits.ptr[i] <= '9') ||
                              (i == 0 && digits.len > 1 && digits.ptr[i] == '-'));
    struct buf quoted;
    buf_init(&quoted, ERR_TEXT_MAX);
    buf_add_go_quoted(&quoted, text);
    err_set(err, ERR_BAD_DATA, "strconv.%s: parsing " STR_FMT ": %s", function,
            STR_ARG(buf_str(&quoted)), numeric ? "value out of range" : "invalid syntax");
    buf_deinit(&quoted);
    return false;
}

bool param_int(struct str text, int64_t *out, struct err *err)
{
    return int_parse(text, "Atoi", INT64_MAX, out, err);
}

bool param_int32(struct str text, int64_t *out, struct err *err)
{
    return int_parse(text, "ParseInt", INT32_MAX, out, err);
}

bool param_limit(const struct call *call, size_t *out, struct err *err)
{
    struct str text = param_get(call, "limit");
    int64_t limit = 0;

    *out = 0;
    if (text.len == 0)
        return true;
    if (!param_int(text, &limit, err))
        return param_wrap(err, "limit");
    if (limit < 0) {
        err_set(err, ERR_BAD_DATA, "limit must be non-negative");
        return param_wrap(err, "limit");
    }
    *out = (size_t)limit;
    return true;
}

static int64_t clamp_time(int64_t time_ms)
{
    if (time_ms < PARAM_TIME_MIN)
        return PARAM_TIME_MIN;
    return time_ms > PARAM_TIME_MAX ? PARAM_TIME_MAX : time_ms;
}

bool param_time(const struct call *call, const char *name, int64_t *out_ms, struct err *err)
{
    if (!api_time_parse(param_get(call, name), out_ms, err))
        return param_wrap(err, name);
    *out_ms = clamp_time(*out_ms);
    return true;
}

bool param_time_or(const struct call *call, const char *name, int64_t absent_ms, int64_t *out_ms,
                   struct err *err)
{
    struct str text = param_get(call, name);

    *out_ms = absent_ms;
    if (text.len == 0)
        return true;
    if (!api_time_parse(text, out_ms, err)) {
        err_wrap(err, "invalid time value for '%s'", name);
        return param_wrap(err, name);
    }
    *out_ms = clamp_time(*out_ms);
    return true;
}

bool param_duration(const struct call *call, const char *name, int64_t *out_ms, struct err *err)
{
    return api_duration_parse(param_get(call, name), out_ms, err) || param_wrap(err, name);
}

size_t param_count(const struct http_params *params, struct str name)
{
    size_t count = 0;

    for (size_t i = 0; i < params->count; i++)
        count += str_eq(params->items[i].name, name);
    return count;
}

static bool selects_something(const struct matchers *set)
{
    for (size_t i = 0; i < set->count; i++) {
        if (!matcher_matches_empty(&set->items[i]))
            return true;
    }
    return false;
}

bool param_sets_parse(const struct http_params *params, bool must_select, struct arena *arena,
                      struct param_sets *out, struct err *err)
{
    size_t count = param_count(params, STR("match[]"));

    *out = (struct param_sets){0};
    out->items = arena_alloc_array(arena, count ? count : 1, sizeof(*out->items));
    for (size_t i = 0; i < params->count; i++) {
        if (!str_eq(params->items[i].name, STR("match[]")))
            continue;
        struct matchers *set = &out->items[out->count];
        *set = (struct matchers){0};
        if (!query_parse_selector(params->items[i].value, set, err))
            goto fail;
        out->count++;
        if (must_select && !selects_something(set)) {
            err_set(err, ERR_BAD_DATA, "match[] must contain at least one non-empty matcher");
            goto fail;
        }
    }
    return true;

fail:
    err->code = ERR_BAD_DATA;
    param_sets_deinit(out);
    return false;
}

void param_sets_deinit(struct param_sets *sets)
{
    for (size_t i = 0; i < sets->count; i++)
        matchers_deinit(&sets->items[i]);
    sets->count = 0;
}
