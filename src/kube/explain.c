/* explain: why a metric has the value that it has, or none. The same steps as a request's, with all
 * that was found on the way. Answers in the envelope of the HTTP API. */
#include "serve.h"

#include "quantity.h"

struct explanation {
    struct call call;
    struct str metric;
    struct str path; /* To ask the metrics API the same. */
};

/* --- writing --- */

static void add_key(struct buf *out, bool *first, const char *key)
{
    buf_addf(out, "%s\"%s\":", *first ? "" : ",", key);
    *first = false;
}

static void add_text(struct buf *out, bool *first, const char *key, struct str text)
{
    add_key(out, first, key);
    buf_add_json_string(out, text);
}

static void add_rules(struct buf *out, const struct measurement *m)
{
    BUF_ADD(out, "[");
    for (size_t i = 0; i < m->trials->count; i++) {
        const struct trial *trial = &m->trials->items[i];
        bool first = true;
        buf_addf(out, "%s{", i ? "," : "");
        add_key(out, &first, "line");
        buf_addf(out, "%u", m->finder.rules->built_in ? 0 : trial->rule->line);
        add_text(out, &first, "seriesQuery", trial->rule->series_query);
        add_text(out, &first, "metricsQuery", trial->rule->query_text);
        add_text(out, &first, "series", trial->series);
        add_key(out, &first, "serves");
        buf_addf(out, "%s", trial->rule == m->found.rule ? "true" : "false");
        add_text(out, &first, "why", trial->why);
        BUF_ADD(out, "}");
    }
    BUF_ADD(out, "]");
}

static void add_item(struct buf *out, const struct item *item)
{
    bool first = true;

    BUF_ADD(out, "{");
    if (item->name.len > 0)
        add_text(out, &first, "name", item->name);
    if (item->labels) {
        add_key(out, &first, "labels");
        labels_print_json(out, item->labels);
    }
    if (item->state == ITEM_GOOD) {
        add_key(out, &first, "value");
        BUF_ADD(out, "\"");
        (void)quantity_add_milli(out, item->value);
        BUF_ADD(out, "\"");
    } else {
        add_text(out, &first, "why", str_of(item_state_text(item->state)));
    }
    if (item->has_series && item->time_ms > 0) {
        add_key(out, &first, item->state == ITEM_STALE ? "ended" : "timestamp");
        document_add_time(out, item->time_ms);
    }
    BUF_ADD(out, "}");
}

static void add_items(struct buf *out, const struct measurement *m, bool good)
{
    bool first = true;

    BUF_ADD(out, "[");
    for (size_t i = 0; i < m->count; i++) {
        if ((m->items[i].state == ITEM_GOOD) != good)
            continue;
        buf_addf(out, "%s", first ? "" : ",");
        first = false;
        add_item(out, &m->items[i]);
    }
    BUF_ADD(out, "]");
}

static void add_others(struct buf *out, const struct measurement *m)
{
    BUF_ADD(out, "[");
    for (size_t i = 0; i < m->other_count; i++) {
        buf_addf(out, "%s", i ? "," : "");
        buf_add_json_string(out, m->others[i]);
    }
    BUF_ADD(out, "]");
}

static void write_explanation(struct buf *out, const struct explanation *e,
                              const struct measurement *m, const struct err *verdict)
{
    bool first = true;

    BUF_ADD(out, "{\"status\":\"success\",\"data\":{");
    add_text(out, &first, "metric", e->call.ask.metric);
    add_text(out, &first, "api", e->call.ask.group);
    add_text(out, &first, "path", e->path);
    add_text(out, &first, "rulesFile", str_of(e->call.kube->rules_file));
    add_key(out, &first, "rules");
    add_rules(out, m);
    add_text(out, &first, "series", m->found.series);
    add_text(out, &first, "query", m->query);
    if (m->objects) {
        add_text(out, &first, "objectLabel", m->found.label);
        add_text(out, &first, "objectsFrom", str_of(object_source_text(m->objects->source)));
    }
    add_key(out, &first, "found");
    add_items(out, m, true);
    add_key(out, &first, "missing");
    add_items(out, m, false);
    add_key(out, &first, "otherObjects");
    add_others(out, m);
    add_text(out, &first, "verdict", verdict->code == ERR_NONE ? STR("ok") : str_of(verdict->text));
    BUF_ADD(out, "}}");
}

static bool run_explain(struct call *call, struct buf *out, struct err *err)
{
    struct explanation *e = CONTAINER_OF(call, struct explanation, call);
    const struct rule_set *rules = call->rules;
    struct trials trials = {
        .items = arena_alloc_array(&call->arena, rules->rule_count + rules->external_count + 1,
                                   sizeof(struct trial))};
    struct measurement m = {.ask = &call->ask,
                            .objects = call->ask.kind == ASK_EXTERNAL ? NULL : &call->objects,
                            .finder = call_finder(call),
                            .evaluator = call_evaluator(call),
                            .trials = &trials};
    struct err *verdict = ARENA_NEW(&call->arena, struct err);

    (void)err;
    (void)!measure(&m, verdict);
    write_explanation(out, e, &m, verdict);
    measurement_deinit(&m);
    return true;
}

/* --- the request --- */

static void answer_envelope_error(struct call *call, const struct err *err)
{
    struct buf body;

    buf_init(&body, ANSWER_BYTES_MAX);
    buf_addf(&body,
             "{\"status\":\"error\",\"errorType\":\"%s\",\"error\":", err_api_type(err->code));
    buf_add_json_string(&body, str_of(err->text));
    BUF_ADD(&body, "}");
    call_answer(call, err_http_status(err->code), &body);
}

static void finish_explain(struct call *call)
{
    if (call->err.code == ERR_NONE) {
        call_answer(call, 200, &call->out);
        return;
    }
    buf_deinit(&call->out);
    answer_envelope_error(call, &call->err);
}

static void add_segment(struct buf *out, struct str text)
{
    static const char digits[] = "0123456789ABCDEF";

    BUF_ADD(out, "/");
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~*:", c) != NULL;
        if (plain && c != 0) {
            buf_add_char(out, (char)c);
            continue;
        }
        buf_add_char(out, '%');
        buf_add_char(out, digits[c >> 4]);
        buf_add_char(out, digits[c & 15]);
    }
}

static void add_selector(struct buf *out, const struct http_params *params, const char *name,
                         bool *first)
{
    struct str text = http_params_get(params, name);

    if (text.len == 0)
        return;
    buf_addf(out, "%s%s=", *first ? "?" : "&", name);
    *first = false;
    buf_add_url_escaped(out, text);
}

/* The path of the metrics API that asks the same. */
static struct str request_path(const struct http_params *params, struct arena *arena)
{
    struct str metric = http_params_get(params, "metric");
    struct str namespace_name = http_params_get(params, "namespace");
    struct str resource = http_params_get(params, "resource");
    struct str name = http_params_get(params, "name");
    bool external = str_eq(http_params_get(params, "api"), STR("external")), first = true;
    bool about_namespace =
        str_eq(resource, STR("namespace")) || str_eq(resource, STR("namespaces"));
    struct buf out;

    buf_init(&out, 1 << 20);
    buf_addf(&out, "/apis/%s", external ? GROUP_EXTERNAL "/v1beta1" : GROUP_CUSTOM "/v1beta2");
    if (about_namespace && !external && namespace_name.len == 0)
        namespace_name = name;
    if (namespace_name.len > 0) {
        BUF_ADD(&out, "/namespaces");
        add_segment(&out, namespace_name);
    }
    if (!external && about_namespace) {
        BUF_ADD(&out, "/metrics");
    } else if (!external) {
        add_segment(&out, resource.len > 0 ? resource : STR("pods"));
        add_segment(&out, name.len > 0 ? name : STR("*"));
    }
    add_segment(&out, metric);
    add_selector(&out, params, "labelSelector", &first);
    if (!external)
        add_selector(&out, params, "metricLabelSelector", &first);
    struct str path = arena_str(arena, buf_str(&out));
    buf_deinit(&out);
    return path;
}

static bool read_request(struct explanation *e, struct err *err)
{
    struct call *call = &e->call;
    struct arena *arena = call->request->arena;
    struct ask_groups all = {.external = true};
    struct http_params params;

    if (!call->kube->options.storage)
        return err_set(err, ERR_BUSY, "storage is not open yet");
    if (!http_request_params(call->request, &params, err))
        return false;
    if (http_params_get(&params, "metric").len == 0)
        return err_set(err, ERR_BAD_DATA, "invalid parameter \"metric\": it is missing");
    e->path = request_path(&params, arena);
    ask_parse(&call->ask, e->path, &all, arena, err);
    if (call->ask.kind == ASK_NOTHING && http_params_get(&params, "namespace").len == 0)
        return err_set(err, ERR_BAD_DATA,
                       "invalid parameter \"namespace\": it is missing, and what is asked for lies "
                       "in one");
    if (call->ask.kind == ASK_NOTHING) {
        err->code = ERR_BAD_DATA;
        return false;
    }
    return ask_parse_query(&call->ask, &params, arena, err);
}

void kube_explain(struct kube *kube, struct http_exchange *exchange)
{
    const struct http_request *request = http_exchange_request(exchange);
    struct explanation *e = ARENA_NEW(request->arena, struct explanation);
    struct call *call = &e->call;
    struct err err = {0};

    call->kube = kube;
    call->exchange = exchange;
    call->request = request;
    if (!read_request(e, &err)) {
        answer_envelope_error(call, &err);
        return;
    }
    if (call->ask.kind != ASK_EXTERNAL)
        objects_find(&call->objects, &call->ask, kube->options.discovery, false, request->arena);
    call->run = run_explain;
    call->finish = finish_explain;
    call_submit(call);
}
