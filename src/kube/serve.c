/* serve: see serve.h and kube.h. */
#include "serve.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define NOT_FOUND "the server could not find the metric "

/* --- answers --- */

void call_answer(struct call *call, int status, struct buf *body)
{
    struct http_response response = {.status = status, .content_type = "application/json"};

    if (call->is_counted)
        request_count(call->kube, call->ask.kind, status);
    http_reply(call->exchange, &response, body);
}

static void answer_status(struct call *call, int code, struct str reason, struct str message)
{
    struct buf body;

    buf_init(&body, ANSWER_BYTES_MAX);
    document_status(&body, reason, code, message);
    call_answer(call, code, &body);
}

static void answer_text(struct http_exchange *exchange, int status, struct str text)
{
    struct http_response response = {.status = status, .content_type = "text/plain; charset=utf-8"};
    struct buf body;

    buf_init(&body, 4096);
    buf_add_str(&body, text);
    http_reply(exchange, &response, &body);
}

/* In the words that the reference server has for it; why, behind. */
static void answer_not_found(struct call *call, const struct err *err)
{
    const struct ask *ask = &call->ask;
    struct buf text;

    buf_init(&text, 8192);
    if (ask->kind == ASK_OBJECTS || ask->kind == ASK_EXTERNAL) {
        buf_addf(&text, NOT_FOUND STR_FMT " for ", STR_ARG(ask->metric));
        if (ask->kind == ASK_OBJECTS)
            resource_add_name(&text, &ask->resource);
        else
            buf_addf(&text, "namespace " STR_FMT, STR_ARG(ask->namespace_name));
        if (ask->kind == ASK_OBJECTS && ask->name.len > 0)
            buf_addf(&text, " " STR_FMT, STR_ARG(ask->name));
        BUF_ADD(&text, ": ");
    }
    buf_add_str(&text, str_of(err->text));
    answer_status(call, 404, STR("NotFound"), buf_str(&text));
    buf_deinit(&text);
}

static void answer_err(struct call *call, const struct err *err)
{
    struct str text = str_of(err->text);

    switch (err->code) {
    case ERR_NOT_FOUND:
        answer_not_found(call, err);
        break;
    case ERR_BAD_DATA:
        answer_status(call, 400, STR("BadRequest"), text);
        break;
    case ERR_BUSY:
        answer_status(call, 503, STR("ServiceUnavailable"), text);
        break;
    case ERR_TIMEOUT:
        answer_status(call, 504, STR("Timeout"), text);
        break;
    case ERR_CANCELED:
        answer_status(call, 503, STR("ServiceUnavailable"), text);
        break;
    default:
        answer_status(call, 500, STR("InternalError"), text);
        break;
    }
}

/* --- the lane --- */

struct finder call_finder(struct call *call)
{
    return (struct finder){.storage = call->storage,
                           .rules = call->rules,
                           .arena = &call->arena,
                           .from_ms = call->now_ms - FIND_WINDOW_MS,
                           .to_ms = call->now_ms};
}

struct evaluator call_evaluator(const struct call *call)
{
    const struct kube_options *options = &call->kube->options;

    return (struct evaluator){.storage = call->storage,
                              .now_ms = call->now_ms,
                              .lookback_ms = options->lookback_ms,
                              .timeout_ms = options->query_timeout_ms,
                              .samples_max = options->query_samples_max,
                              .bytes_max = options->query_bytes_max,
                              .canceled = &call->canceled};
}

static bool run_list(struct call *call, struct buf *out, struct err *err)
{
    struct finder finder = call_finder(call);

    return document_metrics(out, &call->ask, &finder, err);
}

static void call_run(struct job *job)
{
    struct call *call = CONTAINER_OF(job, struct call, job);

    if (atomic_load(&call->canceled))
        err_set(&call->err, ERR_CANCELED, "the request was canceled");
    else if (!call->run(call, &call->out, &call->err))
        ENSURE(call->err.code != ERR_NONE);
}

static void answer_followers(struct call *call)
{
    while (!list_empty(&call->followers)) {
        struct call *follower = CONTAINER_OF(list_first(&call->followers), struct call, node);
        struct buf body;

        list_remove(&follower->node);
        if (call->err.code != ERR_NONE) {
            answer_err(follower, &call->err);
            continue;
        }
        buf_init(&body, ANSWER_BYTES_MAX);
        buf_add_str(&body, buf_str(&call->out));
        call_answer(follower, 200, &body);
    }
}

static void list_done(struct call *call)
{
    if (call->err.code == ERR_NONE)
        list_cache_put(call->kube, call->request->path, call->rules, &call->out,
                       clock_mono_ms() - call->begun_mono_ms);
    answer_followers(call);
}

static void call_done(struct job *job)
{
    struct call *call = CONTAINER_OF(job, struct call, job);

    http_exchange_on_gone(call->exchange, NULL, NULL);
    list_remove(&call->node);
    if (call->err.code == ERR_NONE && call->out.overflow)
        err_set(&call->err, ERR_INTERNAL, "the answer is larger than %zu bytes", ANSWER_BYTES_MAX);
    if (call->run == run_list)
        list_done(call);
    rule_set_unref(call->rules);
    arena_deinit(&call->arena);
    if (call->finish) {
        call->finish(call);
        return;
    }
    if (call->err.code == ERR_NONE) {
        call_answer(call, 200, &call->out);
        return;
    }
    buf_deinit(&call->out);
    answer_err(call, &call->err);
}

static void call_gone(void *ctx)
{
    struct call *call = ctx;

    if (call->run != run_list || list_empty(&call->followers))
        atomic_store(&call->canceled, true);
}

void call_submit(struct call *call)
{
    struct kube *kube = call->kube;

    call->job.run = call_run;
    call->job.done = call_done;
    call->storage = kube->options.storage;
    call->rules = rule_set_ref(kube->rules);
    call->now_ms = clock_wall_ms();
    call->begun_mono_ms = clock_mono_ms();
    arena_init(&call->arena, 0);
    buf_init(&call->out, ANSWER_BYTES_MAX);
    list_push_back(&kube->calls, &call->node);
    http_exchange_on_gone(call->exchange, call_gone, call);
    lane_submit(kube->options.query_lane, &call->job);
}

static bool run_measure(struct call *call, struct buf *out, struct err *err)
{
    bool external = call->ask.kind == ASK_EXTERNAL;
    struct measurement m = {.ask = &call->ask,
                            .objects = external ? NULL : &call->objects,
                            .finder = call_finder(call),
                            .evaluator = call_evaluator(call)};
    bool good = measure(&m, err);

    if (good && external)
        document_external(out, &m);
    else if (good)
        document_values(out, &m);
    measurement_deinit(&m);
    return good;
}

static bool run_usage(struct call *call, struct buf *out, struct err *err)
{
    struct usage usage = {.ask = &call->ask,
                          .objects = &call->objects,
                          .finder = call_finder(call),
                          .evaluator = call_evaluator(call)};

    return usage_document(out, &usage, err);
}

/* --- the loop --- */

/* The call that makes the same list; NULL: none. */
static struct call *list_under_way(const struct kube *kube, struct str path)
{
    LIST_EACH (node, &kube->calls) {
        struct call *call = CONTAINER_OF(node, struct call, node);
        if (call->run == run_list && call->rules == kube->rules && !atomic_load(&call->canceled) &&
            str_eq(call->request->path, path))
            return call;
    }
    return NULL;
}

static void serve_document(struct call *call)
{
    struct kube *kube = call->kube;
    struct buf body;

    buf_init(&body, ANSWER_BYTES_MAX);
    if (document_static(&body, &call->ask, &kube->groups, str_of(kube->version))) {
        call_answer(call, 200, &body);
        return;
    }
    const struct buf *known = list_cache_find(kube, call->request->path);
    if (known) {
        buf_add_str(&body, buf_str(known));
        call_answer(call, 200, &body);
        return;
    }
    buf_deinit(&body);
    struct call *leader = list_under_way(kube, call->request->path);
    if (leader) {
        list_push_back(&leader->followers, &call->node);
        return;
    }
    call->run = run_list;
    list_init(&call->followers);
    call_submit(call);
}

static void serve_values(struct call *call)
{
    struct kube *kube = call->kube;
    struct arena *arena = call->request->arena;
    struct http_params params;
    struct err err = {0};
    bool usage = call->ask.kind == ASK_PODS || call->ask.kind == ASK_NODES;

    if (!http_request_params(call->request, &params, &err) ||
        !ask_parse_query(&call->ask, &params, arena, &err)) {
        err.code = ERR_BAD_DATA;
        answer_err(call, &err);
        return;
    }
    if (call->ask.kind != ASK_EXTERNAL)
        objects_find(&call->objects, &call->ask, kube->options.discovery, usage, arena);
    call->run = usage ? run_usage : run_measure;
    call_submit(call);
}

static void serve(struct call *call)
{
    bool needs_storage = call->ask.kind != ASK_DOCUMENT || call->ask.path.count == 3;

    if (call->ask.kind == ASK_NOTHING) {
        answer_not_found(call, &call->path_err);
        return;
    }
    if (needs_storage && !call->kube->options.storage) {
        answer_status(call, 503, STR("ServiceUnavailable"),
                      STR("the server is currently unable to handle the request: storage is not "
                          "open yet"));
        return;
    }
    if (call->ask.kind == ASK_DOCUMENT)
        serve_document(call);
    else
        serve_values(call);
}

static void on_verdict(void *ctx, const struct kube_verdict *verdict)
{
    struct call *call = ctx;

    if (verdict->status == 200)
        serve(call);
    else
        answer_status(call, verdict->status, verdict->reason, verdict->message);
}

static void serve_health(struct kube *kube, struct http_exchange *exchange, struct str path)
{
    bool good = !str_starts(path, STR("/readyz")) || kube->options.storage;

    request_count(kube, ASK_HEALTH, good ? 200 : 503);
    answer_text(exchange, good ? 200 : 503, good ? STR("ok") : STR("storage is not open yet"));
}

void kube_handle(void *ctx, struct http_exchange *exchange)
{
    struct kube *kube = ctx;
    const struct http_request *request = http_exchange_request(exchange);
    struct call *call = ARENA_NEW(request->arena, struct call);

    call->kube = kube;
    call->exchange = exchange;
    call->request = request;
    call->is_counted = true;
    ask_parse(&call->ask, request->target, &kube->groups, request->arena, &call->path_err);
    if (request->method != HTTP_GET && request->method != HTTP_HEAD) {
        answer_status(call, 405, STR("MethodNotAllowed"),
                      STR("the server does not allow this method on the requested resource"));
        return;
    }
    if (call->ask.kind == ASK_HEALTH) {
        serve_health(kube, exchange, request->path);
        return;
    }
    if (kube->options.auth)
        kube_auth_check(kube->options.auth, exchange, &call->ask.attributes, on_verdict, call);
    else
        serve(call);
}

/* --- life --- */

static bool check_rules(const struct kube *kube, const struct rule_set *rules, struct err *err)
{
    if (kube->groups.resource && !rules->cpu.given)
        return err_set(err, ERR_BAD_DATA, "%s: it has no resourceRules, which metrics.k8s.io needs",
                       kube->rules_file);
    return true;
}

static bool load_rules(const struct kube *kube, struct rule_set **out, struct err *err)
{
    if (rule_set_load(out, str_of(kube->rules_file), err) && check_rules(kube, *out, err))
        return true;
    rule_set_unref(*out);
    *out = NULL;
    return err_wrap(err, "metrics rules");
}

bool kube_open(struct kube **out, const struct kube_options *options, struct err *err)
{
    struct kube *kube = MEM_NEW(struct kube);

    kube->options = *options;
    kube->rules_file = str_dup(options->rules_file);
    kube->version = str_dup(options->version);
    kube->groups = (struct ask_groups){.external = options->serve_external,
                                       .resource = options->serve_resource};
    list_init(&kube->calls);
    *out = NULL;
    if (!load_rules(kube, &kube->rules, err)) {
        kube_close(kube);
        return false;
    }
    *out = kube;
    return true;
}

void kube_attach_storage(struct kube *kube, struct storage *storage)
{
    kube->options.storage = storage;
}

bool kube_reload(struct kube *kube, struct err *err)
{
    struct rule_set *rules;

    if (!load_rules(kube, &rules, err))
        return false;
    rule_set_unref(kube->rules);
    kube->rules = rules;
    return true;
}

uint64_t kube_rules_checksum(const struct kube *kube)
{
    return rule_file_checksum(str_of(kube->rules_file));
}

void kube_cancel(struct kube *kube)
{
    LIST_EACH (node, &kube->calls) {
        struct call *call = CONTAINER_OF(node, struct call, node);
        atomic_store(&call->canceled, true);
    }
}

void kube_close(struct kube *kube)
{
    if (!kube)
        return;
    ENSURE(list_empty(&kube->calls));
    list_caches_clear(kube);
    rule_set_unref(kube->rules);
    mem_free(kube->rules_file);
    mem_free(kube->version);
    mem_free(kube);
}
