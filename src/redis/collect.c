/* collect: the engine of steps, and the steps that are a command or two. */
#include "collect.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "commands.h"

#define METRIC_BYTES_MAX  ((size_t)64 << 20)
#define WORK_BYTES_MAX    ((size_t)128 << 20)
#define DATABASES_ASSUMED 16

typedef bool (*collect_step_fn)(struct collect *collect);

static void collect_advance(struct collect *collect);

/* --- ending --- */

static void collect_finish(struct collect *collect)
{
    ENSURE(!collect->finished);
    collect->finished = true;
    timer_stop(collect->timer);
    collect->options.done(collect->options.ctx, collect);
}

void collect_fail(struct collect *collect, const struct err *err)
{
    if (collect->failed)
        return;
    collect->failed = true;
    collect->err = *err;
}

void collect_free(struct collect *collect)
{
    if (!collect)
        return;
    collect->finished = true;
    VEC_EACH (node, &collect->nodes)
        conn_close((*node)->conn);
    timer_free(collect->timer);
    VEC_FREE(&collect->nodes);
    VEC_FREE(&collect->scan.refs);
    VEC_FREE(&collect->jobs);
    VEC_FREE(&collect->patterns);
    VEC_FREE(&collect->groups);
    map_deinit(&collect->group_map);
    metrics_deinit(&collect->metrics);
    arena_deinit(&collect->arena);
    mem_free(collect);
}

static void on_deadline(void *ctx)
{
    struct collect *collect = ctx;
    struct err err = {0};
    err_set(&err, ERR_TIMEOUT, "the scrape took longer than %lld ms",
            (long long)collect->options.deadline_ms);
    collect_fail(collect, &err);
    collect_advance(collect);
}

/* --- nodes --- */

static void on_node_ready(void *owner, struct conn *conn)
{
    struct node *node = owner;
    struct collect *collect = node->collect;
    (void)conn;
    node->ready = true;
    if (collect->nodes.items[0] == node)
        metrics_add_plain(&collect->metrics, STR("exporter_last_scrape_connect_time_seconds"),
                          GAUGE, (double)(clock_mono_ns() - collect->started_ns) / 1e9);
    collect->pending--;
    collect_advance(collect);
}

static void on_node_end(void *owner, struct conn *conn, const struct err *err)
{
    struct node *node = owner;
    struct collect *collect = node->collect;
    (void)conn;
    node->dead = true;
    collect->pending -= node->pending + (node->ready ? 0 : 1);
    node->pending = 0;
    if (collect->nodes.items[0] == node) {
        if (!node->ready)
            metrics_add_plain(&collect->metrics, STR("exporter_last_scrape_connect_time_seconds"),
                              GAUGE, (double)(clock_mono_ns() - collect->started_ns) / 1e9);
        collect_fail(collect, err);
    } else {
        LOG_W("A node of the cluster cannot be asked", "node", log_str(node->address), "err",
              err->text);
    }
    collect_advance(collect);
}

struct node *collect_open_node(struct collect *collect, const struct address *address)
{
    const struct collect_options *options = &collect->options;
    struct node *node = ARENA_NEW(&collect->arena, struct node);
    node->collect = collect;
    node->address = address->host_port;
    node->db = address->db;
    node->refused_db = UINT64_MAX;
    struct conn_options conn = {
        .address = address,
        .user = options->user,
        .password = options->password,
        .tls = options->tls,
        .server_name = options->flags.tls_server_name,
        .timeout_ms = options->flags.timeout_ms,
        .on_ready = on_node_ready,
        .on_end = on_node_end,
        .owner = node,
    };
    collect->pending++;
    VEC_PUSH(&collect->nodes, node);
    node->conn = conn_open(collect->loop, &conn);
    return node;
}

/* --- sending --- */

static void on_reply(void *ctx, const struct resp *reply)
{
    struct collect_call *call = ctx;
    struct node *node = call->node;
    struct collect *collect = node->collect;
    if (!collect->failed)
        call->fn(collect, node, reply, call->arg);
    call->next_free = collect->free_calls;
    collect->free_calls = call;
    node->pending--;
    collect->pending--;
    collect_advance(collect);
}

void collect_send(struct collect *collect, struct node *node, const struct str *words, size_t count,
                  collect_reply_fn fn, void *arg)
{
    if (node->dead)
        return;
    struct collect_call *call = collect->free_calls;
    if (call)
        collect->free_calls = call->next_free;
    else
        call = ARENA_NEW(&collect->arena, struct collect_call);
    *call = (struct collect_call){.node = node, .fn = fn, .arg = arg};
    node->pending++;
    collect->pending++;
    conn_send(node->conn, words, count, on_reply, call);
}

/* --- steps: greeting and INFO --- */

static struct node *main_node(const struct collect *collect)
{
    return collect->nodes.items[0];
}

static void ignore(struct collect *collect, struct node *node, const struct resp *reply, void *arg)
{
    (void)collect, (void)node, (void)arg;
    if (reply->type == RESP_ERROR)
        LOG_D("Redis refused a command", "err", log_str(str_first(reply->text, 200)));
}

static void on_ping(struct collect *collect, struct node *node, const struct resp *reply, void *arg)
{
    (void)node, (void)arg;
    if (reply->type == RESP_ERROR)
        LOG_E("Couldn't PING server", "err", log_str(str_first(reply->text, 200)));
    else
        metrics_add_plain(&collect->metrics, STR("exporter_last_scrape_ping_time_seconds"), GAUGE,
                          (double)(clock_mono_ns() - collect->pinged_ns) / 1e9);
}

static bool step_greet(struct collect *collect)
{
    struct node *node = main_node(collect);
    if (collect->phase == 0 && collect->options.flags.ping_on_connect) {
        collect->pinged_ns = clock_mono_ns();
        COLLECT_SEND(collect, node, on_ping, NULL, STR("PING"));
        return true;
    }
    if (collect->options.flags.set_client_name)
        COLLECT_SEND(collect, node, ignore, NULL, STR("CLIENT"), STR("SETNAME"),
                     STR("redis_exporter"));
    return false; /* What comes next may follow in the same breath. */
}

static void on_info(struct collect *collect, struct node *node, const struct resp *reply, void *arg)
{
    (void)node;
    struct err err = {0};
    struct str text;
    if (resp_text(reply, &text) && text.len > 0) {
        collect->info = arena_str(&collect->arena, text);
        if (collect->options.flags.append_instance_role)
            collect->metrics.instance_role = info_field(collect->info, STR("role"));
        if (collect->options.flags.append_instance_role && !collect->metrics.instance_role.ptr)
            collect->metrics.instance_role = STR_EMPTY;
        return;
    }
    if (arg == NULL)
        return; /* INFO ALL; plain INFO is asked next. */
    if (reply->type == RESP_ERROR)
        err_set(&err, ERR_IO, STR_FMT, STR_ARG(str_first(reply->text, 1024)));
    else
        err_set(&err, ERR_CORRUPT, "bad reply of Redis: INFO gives no text");
    collect_fail(collect, &err);
}

static void on_config(struct collect *collect, struct node *node, const struct resp *reply,
                      void *arg)
{
    (void)node, (void)arg;
    const struct flags *flags = &collect->options.flags;
    struct config_options options = {.all = flags->config_metrics, .redact = flags->redact_config};
    struct err err = {0};
    if (reply->type == RESP_ERROR) {
        LOG_D("Redis refused CONFIG", "err", log_str(str_first(reply->text, 200)));
        return;
    }
    if (!config_extract(&collect->metrics, reply, &options, &collect->db_count,
                        &collect->cluster_db_count, &err))
        collect_fail(collect, &err);
}

static void on_cluster_info(struct collect *collect, struct node *node, const struct resp *reply,
                            void *arg)
{
    (void)node, (void)arg;
    struct str text;
    if (!resp_text(reply, &text))
        return;
    info_extract_cluster(&collect->metrics, text);
    collect->cluster_enabled = true;
}

static void extract_info(struct collect *collect)
{
    const struct flags *flags = &collect->options.flags;
    struct info_options options = {
        .db_count = collect->db_count ? collect->db_count : DATABASES_ASSUMED,
        .empty_databases = flags->empty_databases,
        .system_metrics = flags->system_metrics,
        .now_s = clock_wall_ms() / 1000,
    };
    if (collect->cluster_enabled)
        options.db_count = collect->cluster_db_count ? collect->cluster_db_count : 1;
    collect->db_count = options.db_count;
    info_extract(&collect->metrics, collect->info, &options);
}

static bool info_has(const struct collect *collect, struct str text)
{
    return str_find(collect->info, text) < collect->info.len;
}

static bool step_info(struct collect *collect)
{
    const struct flags *flags = &collect->options.flags;
    struct node *node = main_node(collect);
    switch (collect->phase) {
    case 0:
        COLLECT_SEND(collect, node, on_info, NULL, STR("INFO"), STR("ALL"));
        if (!str_eq(flags->config_command, STR("-")))
            COLLECT_SEND(collect, node, on_config, NULL, flags->config_command, STR("GET"),
                         STR("*"));
        return true;
    case 1:
        if (collect->info.len == 0)
            COLLECT_SEND(collect, node, on_info, collect, STR("INFO"));
        return true;
    case 2:
        if (info_has(collect, STR("cluster_enabled:1")))
            COLLECT_SEND(collect, node, on_cluster_info, NULL, STR("CLUSTER"), STR("INFO"));
        return true;
    default:
        extract_info(collect);
        return false;
    }
}

/* --- steps: latency, slow log, clients, modules --- */

static void on_latency(struct collect *collect, struct node *node, const struct resp *reply,
                       void *arg)
{
    (void)node, (void)arg;
    latency_extract(&collect->metrics, reply);
}

static void on_histogram(struct collect *collect, struct node *node, const struct resp *reply,
                         void *arg)
{
    (void)node, (void)arg;
    struct info_usage usage;
    info_usage_read(&usage, collect->info, &collect->arena);
    histogram_extract(&collect->metrics, reply, &usage);
}

/* Older servers would only count an error. */
static bool has_histograms(const struct collect *collect)
{
    struct str rest, major = str_cut(info_field(collect->info, STR("redis_version")), '.', &rest);
    uint64_t number;
    return !str_to_u64(major, &number) || number >= 7;
}

static bool step_latency(struct collect *collect)
{
    struct node *node = main_node(collect);
    COLLECT_SEND(collect, node, on_latency, NULL, STR("LATENCY"), STR("LATEST"));
    if (!collect->options.flags.exclude_latency_histogram && has_histograms(collect))
        COLLECT_SEND(collect, node, on_histogram, NULL, STR("LATENCY"), STR("HISTOGRAM"));
    return false;
}

static void on_number(struct collect *collect, struct node *node, const struct resp *reply,
                      void *arg)
{
    (void)node;
    if (reply->type == RESP_INTEGER)
        metrics_add_plain(&collect->metrics, str_of(arg), GAUGE, (double)reply->integer);
}

static void on_slowlog_length(struct collect *collect, struct node *node, const struct resp *reply,
                              void *arg)
{
    (void)node, (void)arg;
    if (reply->type == RESP_INTEGER)
        metrics_add(&collect->metrics, METRIC_SLOWLOG_LENGTH, (double)reply->integer, NULL, 0);
}

static void on_slowlog(struct collect *collect, struct node *node, const struct resp *reply,
                       void *arg)
{
    (void)node, (void)arg;
    slowlog_extract(&collect->metrics, reply);
}

static void on_commandlog(struct collect *collect, struct node *node, const struct resp *reply,
                          void *arg)
{
    (void)node, (void)arg;
    commandlog_extract(&collect->metrics, reply);
}

static bool step_slowlog(struct collect *collect)
{
    static char slow[] = "commandlog_slow_length", request[] = "commandlog_large_request_length",
                answer[] = "commandlog_large_reply_length";
    struct node *node = main_node(collect);
    COLLECT_SEND(collect, node, on_slowlog_length, NULL, STR("SLOWLOG"), STR("LEN"));
    COLLECT_SEND(collect, node, on_slowlog, NULL, STR("SLOWLOG"), STR("GET"), STR("1"));
    if (!info_has(collect, STR("valkey_version:")))
        return false;
    COLLECT_SEND(collect, node, on_number, slow, STR("COMMANDLOG"), STR("LEN"), STR("slow"));
    COLLECT_SEND(collect, node, on_number, request, STR("COMMANDLOG"), STR("LEN"),
                 STR("large-request"));
    COLLECT_SEND(collect, node, on_number, answer, STR("COMMANDLOG"), STR("LEN"),
                 STR("large-reply"));
    if (!str_eq(collect->options.flags.config_command, STR("-")))
        COLLECT_SEND(collect, node, on_commandlog, NULL, collect->options.flags.config_command,
                     STR("GET"), STR("commandlog-*"));
    return false;
}

static void on_clients(struct collect *collect, struct node *node, const struct resp *reply,
                       void *arg)
{
    (void)node, (void)arg;
    struct str text;
    if (resp_text(reply, &text))
        clients_extract(&collect->metrics, text, collect->options.flags.export_client_port,
                        clock_wall_ms() / 1000);
}

static void on_tile38(struct collect *collect, struct node *node, const struct resp *reply,
                      void *arg)
{
    (void)node, (void)arg;
    tile38_extract(&collect->metrics, reply);
}

static void on_modules(struct collect *collect, struct node *node, const struct resp *reply,
                       void *arg)
{
    (void)node, (void)arg;
    struct str text;
    if (resp_text(reply, &text))
        info_extract_modules(&collect->metrics, text);
}

static void on_index(struct collect *collect, struct node *node, const struct resp *reply,
                     void *arg)
{
    (void)node, (void)arg;
    search_index_extract(&collect->metrics, reply);
}

static void on_indexes(struct collect *collect, struct node *node, const struct resp *reply,
                       void *arg)
{
    (void)arg;
    const struct regex *wanted = collect->options.search_indexes;
    for (size_t i = 0; reply->type == RESP_ARRAY && i < reply->count; i++) {
        struct str name;
        if (resp_text(reply->items[i], &name) && (!wanted || regex_matches(wanted, name)))
            COLLECT_SEND(collect, node, on_index, NULL, STR("FT.INFO"), name);
    }
}

static bool step_extras(struct collect *collect)
{
    const struct flags *flags = &collect->options.flags;
    struct node *node = main_node(collect);
    if (flags->export_client_list)
        COLLECT_SEND(collect, node, on_clients, NULL, STR("CLIENT"), STR("LIST"));
    if (flags->is_tile38)
        COLLECT_SEND(collect, node, on_tile38, NULL, STR("SERVER"), STR("EXT"));
    if (flags->modules_metrics) {
        COLLECT_SEND(collect, node, on_modules, NULL, STR("INFO"), STR("MODULES"));
        COLLECT_SEND(collect, node, on_modules, NULL, STR("INFO"), STR("SEARCH"));
    }
    if (flags->search_metrics)
        COLLECT_SEND(collect, node, on_indexes, NULL, STR("FT._LIST"));
    return false;
}

/* --- step: scripts --- */

static void on_script(struct collect *collect, struct node *node, const struct resp *reply,
                      void *arg)
{
    (void)node;
    const struct script *script = arg;
    struct err err = {0};
    size_t count;
    double result = 0; /* 0 failed, 1 values, 2 none. */
    if (!script_extract(&collect->metrics, reply, script->path, &count, &err)) {
        LOG_E("Script failed", "script", log_str(script->path), "err", err.text);
        collect_fail(collect, &err);
    } else {
        result = count > 0 ? 1 : 2;
    }
    METRIC_ADD(&collect->metrics, METRIC_SCRIPT_RESULT, result, script->path);
}

static bool step_scripts(struct collect *collect)
{
    struct str eval = collect->options.flags.script_read_only ? STR("EVAL_RO") : STR("EVAL");
    for (size_t i = 0; i < collect->options.script_count; i++)
        COLLECT_SEND(collect, main_node(collect), on_script, (void *)&collect->options.scripts[i],
                     eval, collect->options.scripts[i].text, STR("0"), STR("0"));
    return false;
}

static void on_nodes_text(struct collect *collect, struct node *node, const struct resp *reply,
                          void *arg)
{
    (void)node, (void)arg;
    struct err err = {0};
    struct str text;
    if (resp_text(reply, &text)) {
        collect->nodes_text = arena_str(&collect->arena, text);
        return;
    }
    err_set(&err, ERR_IO, STR_FMT,
            STR_ARG(reply->type == RESP_ERROR ? str_first(reply->text, 1024)
                                              : STR("bad reply of Redis: CLUSTER NODES")));
    if (collect->options.nodes_only)
        collect_fail(collect, &err);
    else
        LOG_W("The cluster's nodes are unknown", "err", err.text);
}

static bool step_ask_nodes(struct collect *collect)
{
    if (collect->phase > 0 || !(collect->options.flags.is_cluster || collect->options.nodes_only))
        return false;
    COLLECT_SEND(collect, main_node(collect), on_nodes_text, NULL, STR("CLUSTER"), STR("NODES"));
    return true;
}

/* --- the engine --- */

static const collect_step_fn STEPS[] = {
    step_greet,      step_info,    step_latency, step_ask_nodes,  step_nodes,
    step_check_keys, step_slowlog, step_streams, step_count_keys, step_key_groups,
    step_sentinel,   step_extras,  step_scripts,
};
static const collect_step_fn NODES_STEPS[] = {step_ask_nodes};

static void check_budget(struct collect *collect)
{
    struct err err = {0};
    if (!collect->arena.over_budget && !collect->metrics.arena.over_budget)
        return;
    err_set(&err, ERR_LIMIT, "the scrape yields more than %zu MiB",
            (collect->arena.over_budget ? WORK_BYTES_MAX : METRIC_BYTES_MAX) >> 20);
    collect_fail(collect, &err);
}

/* The last thing that a callback does: the owner may free the collect in here. */
static void collect_advance(struct collect *collect)
{
    const collect_step_fn *steps = collect->options.nodes_only ? NODES_STEPS : STEPS;
    size_t count = collect->options.nodes_only ? COUNT_OF(NODES_STEPS) : COUNT_OF(STEPS);
    if (collect->finished)
        return;
    check_budget(collect);
    while (!collect->failed && collect->pending == 0 && collect->step < count) {
        if (steps[collect->step](collect)) {
            collect->phase++;
        } else {
            collect->step++;
            collect->phase = 0;
        }
        check_budget(collect);
    }
    if (collect->failed || (collect->pending == 0 && collect->step == count))
        collect_finish(collect);
}

struct collect *collect_start(struct uv_loop_s *loop, const struct collect_options *options)
{
    struct collect *collect = MEM_NEW(struct collect);
    collect->loop = loop;
    collect->options = *options;
    collect->started_ns = clock_mono_ns();
    arena_init(&collect->arena, WORK_BYTES_MAX);
    metrics_init(&collect->metrics, options->flags.namespace, METRIC_BYTES_MAX);
    map_init(&collect->group_map);
    if (options->flags.append_instance_role)
        collect->metrics.instance_role = STR_EMPTY;
    collect->timer = timer_new(loop, on_deadline, collect);
    timer_start(collect->timer, options->deadline_ms, 0);
    collect_open_node(collect, &options->address);
    return collect;
}
