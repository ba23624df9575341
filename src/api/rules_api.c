/* rules_api: /rules and /alerts. Rules are not evaluated here yet: the parameters are checked and
 * the lists are empty. */
#include "core.h"

#include "param.h"

static bool is_go_bool(struct str text)
{
    static const struct str texts[] = {STR("1"),    STR("t"),     STR("T"),     STR("TRUE"),
                                       STR("true"), STR("True"),  STR("0"),     STR("f"),
                                       STR("F"),    STR("FALSE"), STR("false"), STR("False")};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        if (str_eq(text, texts[i]))
            return true;
    }
    return false;
}

static void set_quoted(struct err *err, const char *before, struct str text, const char *after)
{
    struct buf quoted;
    buf_init(&quoted, ERR_TEXT_MAX);
    buf_add_go_quoted(&quoted, text);
    err_set(err, ERR_BAD_DATA, "%s" STR_FMT "%s", before, STR_ARG(buf_str(&quoted)), after);
    buf_deinit(&quoted);
}

static bool check_type(struct call *call, struct err *err)
{
    struct str type = param_get(call, "type");
    if (type.len == 0 || str_eq_nocase(type, STR("alert")) || str_eq_nocase(type, STR("record")))
        return true;
    set_quoted(err, "not supported value ", type, "");
    return param_wrap(err, "type");
}

static bool check_exclude_alerts(struct call *call, struct err *err)
{
    struct str text = param_get(call, "exclude_alerts");
    if (text.len == 0 || is_go_bool(text))
        return true;
    set_quoted(err, "error converting exclude_alerts: strconv.ParseBool: parsing ", text,
               ": invalid syntax");
    return param_wrap(err, "exclude_alerts");
}

static bool check_paging(struct call *call, struct err *err)
{
    struct str limit = param_get(call, "group_limit"), token = param_get(call, "group_next_token");
    int64_t count = 0;

    if (limit.len == 0 && token.len == 0)
        return true;
    if (limit.len == 0) {
        err_set(err, ERR_BAD_DATA,
                "group_limit needs to be present in order to paginate over the groups");
        return param_wrap(err, "group_next_token");
    }
    if (!param_int32(limit, &count, err)) {
        err_wrap(err, "group_limit needs to be a valid number");
        return param_wrap(err, "group_limit");
    }
    if (count <= 0) {
        err_set(err, ERR_BAD_DATA, "group_limit needs to be greater than 0");
        return param_wrap(err, "group_limit");
    }
    if (token.len > 0) { /* No group, so no token can be of one. */
        err_set(err, ERR_BAD_DATA,
                "invalid group_next_token '" STR_FMT "'. were rule groups changed?",
                STR_ARG(token));
        return param_wrap(err, "group_next_token");
    }
    return true;
}

static bool check_matchers(struct call *call, struct err *err)
{
    struct param_sets sets;
    if (!param_sets_parse(&call->params, true, call->request->arena, &sets, err))
        return false;
    param_sets_deinit(&sets);
    return true;
}

void serve_rules(struct call *call)
{
    struct err err = {0};
    struct buf out;

    if (!check_type(call, &err) || !check_exclude_alerts(call, &err) || !check_paging(call, &err) ||
        !check_matchers(call, &err)) {
        answer_error(call, &err);
        return;
    }
    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{\"groups\":[]}");
    answer_data(call, &out);
}

void serve_alerts(struct call *call)
{
    struct buf out;

    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{\"alerts\":[]}");
    answer_data(call, &out);
}
