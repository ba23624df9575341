/* exporter: routes, options of a request, and the metrics about ourselves.
 *
 *     request -> visit (one look at one Redis) -> metrics -> answer
 *
 * A Redis that cannot be asked is an answer, too: 200 with up 0. The answer comes before the one who
 * scrapes us gives up, since he says when that will be. */
#include "exporter.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/number.h"
#include "collect.h"
#include "door.h"
#include "file.h"
#include "self.h"

#define ANSWER_BYTES_MAX ((size_t)256 << 20)
#define FILE_BYTES_MAX   ((size_t)8 << 20)
#define SCRAPE_MS_MAX    (INT64_C(5) * 60 * 1000)
#define SCRIPTS_MAX      64
#define CONTENT_TYPE     "text/plain; version=0.0.4; charset=utf-8"

struct figures {
    uint64_t scrapes, request_errors;
    uint64_t durations;
    double duration_sum;
};

struct exporter {
    struct uv_loop_s *loop;
    const struct flags *flags; /* Borrowed. */
    struct arena arena;        /* Of the files' texts. */
    struct json *passwords;    /* Owned; NULL without a file. */
    struct script scripts[SCRIPTS_MAX];
    size_t script_count;
    struct regex *search_indexes;
    struct tls_context *tls; /* Made at the first use, and anew when its files change. */
    uint64_t tls_stamp;
    struct door *door;
    struct figures figures;
    struct list visits;
};

enum visit_kind { VISIT_METRICS, VISIT_SCRAPE, VISIT_NODES };

struct visit {
    struct list_node link;
    struct exporter *exporter;
    struct http_exchange *exchange;
    struct collect *collect;
    enum visit_kind kind;
    int64_t started_ns;
};

/* --- answers --- */

static void reply_error(struct http_exchange *exchange, int status, struct str text)
{
    struct http_response response = {.status = status, .content_type = "text/plain; charset=utf-8"};
    struct buf body;
    buf_init(&body, 8192);
    buf_add_str(&body, str_first(text, 8000));
    buf_add_char(&body, '\n');
    http_reply(exchange, &response, &body);
    buf_deinit(&body);
}

static void reply_metrics(struct http_exchange *exchange, struct metrics *metrics)
{
    struct http_response response = {.status = 200, .content_type = CONTENT_TYPE};
    struct buf body;
    buf_init(&body, ANSWER_BYTES_MAX);
    metrics_write(metrics, &body);
    if (body.overflow)
        reply_error(exchange, 500, STR("the metrics are too large"));
    else
        http_reply(exchange, &response, &body);
    buf_deinit(&body);
}

static void add_figures(struct metrics *metrics, const struct figures *figures)
{
    metrics_add(metrics, METRIC_SCRAPES, (double)figures->scrapes, NULL, 0);
    metrics_add(metrics, METRIC_REQUEST_ERRORS, (double)figures->request_errors, NULL, 0);
    metrics_add_points(metrics, METRIC_SCRAPE_DURATION, STR_EMPTY, figures->durations,
                       figures->duration_sum, NULL, 0);
}

static void add_own(const struct exporter *exporter, struct metrics *metrics, enum visit_kind kind)
{
    if (exporter->flags->redis_only_metrics)
        return;
    METRIC_ADD(metrics, METRIC_BUILD_INFO, 1, STR("narthex"), STR(""), STR(""), STR(""));
    if (kind == VISIT_METRICS)
        self_add(metrics);
}

/* --- visits --- */

static void visit_free(struct visit *visit)
{
    list_remove(&visit->link);
    collect_free(visit->collect);
    mem_free(visit);
}

static void visit_answer_metrics(struct visit *visit)
{
    struct exporter *exporter = visit->exporter;
    struct collect *collect = visit->collect;
    struct metrics *metrics = &collect->metrics;
    struct figures own = {.scrapes = 1}; /* A target's exporter is new each time, and says so. */
    struct figures *figures = visit->kind == VISIT_METRICS ? &exporter->figures : &own;
    double took = (double)(clock_mono_ns() - visit->started_ns) / 1e9;
    figures->durations++;
    figures->duration_sum += took;
    if (collect->failed)
        LOG_E("Couldn't scrape redis instance", "addr", log_str(collect->options.address.host_port),
              "err", collect->err.text);
    struct str why = collect->failed ? str_of(collect->err.text) : STR_EMPTY;
    if (!str_is_utf8(why))
        why = STR("bad reply of Redis");
    METRIC_ADD(metrics, METRIC_LAST_SCRAPE_ERROR, collect->failed ? 1 : 0, why);
    metrics_add(metrics, METRIC_UP, collect->failed ? 0 : 1, NULL, 0);
    metrics_add_plain(metrics, STR("exporter_last_scrape_duration_seconds"), GAUGE, took);
    add_figures(metrics, figures);
    add_own(exporter, metrics, visit->kind);
    reply_metrics(visit->exchange, metrics);
}

static void visit_answer_nodes(struct visit *visit)
{
    struct collect *collect = visit->collect;
    struct http_response response = {.status = 200, .content_type = "application/json"};
    struct buf body;
    size_t count = 0;
    if (collect->failed) {
        reply_error(
            visit->exchange, 500,
            arena_strf(&collect->arena, "Failed to fetch cluster nodes: %s", collect->err.text));
        return;
    }
    buf_init(&body, ANSWER_BYTES_MAX);
    BUF_ADD(&body, "[\n  {\n    \"targets\": [");
    for (struct str text = collect->nodes_text; text.ptr;) {
        struct node_line line;
        if (!node_line_parse(str_trim(str_cut(text, '\n', &text)), &collect->arena, &line))
            continue;
        bool by_name = visit->exporter->flags->cluster_discover_hostnames && line.hostname.len > 0;
        struct str where = by_name ? line.hostname : line.address;
        buf_addf(&body, "%s\n      ", count++ > 0 ? "," : "");
        buf_add_json_string(&body,
                            arena_strf(&collect->arena, "redis%s://" STR_FMT,
                                       collect->options.address.tls ? "s" : "", STR_ARG(where)));
    }
    buf_addf(&body, "%s],\n    \"labels\": {}\n  }\n]", count > 0 ? "\n    " : "");
    http_reply(visit->exchange, &response, &body);
    buf_deinit(&body);
}

static void visit_done(void *ctx, struct collect *collect)
{
    struct visit *visit = ctx;
    visit->collect = collect;
    if (visit->kind == VISIT_NODES)
        visit_answer_nodes(visit);
    else
        visit_answer_metrics(visit);
    visit_free(visit);
}

/* Nobody waits for the answer any more. */
static void visit_gone(void *ctx)
{
    struct visit *visit = ctx;
    http_reply_text(visit->exchange, 503, "gone");
    visit_free(visit);
}

/* --- what a request wants --- */

/* X-Prometheus-Scrape-Timeout-Seconds, less what the way back takes. */
static int64_t deadline_ms(const struct http_request *request)
{
    double seconds;
    struct str text = http_request_header(request, "X-Prometheus-Scrape-Timeout-Seconds");
    if (!number_parse(text, &seconds) || !(seconds > 0 && seconds * 1000 < (double)SCRAPE_MS_MAX))
        return SCRAPE_MS_MAX;
    double spare = seconds * 0.1 < 0.5 ? seconds * 0.1 : 0.5;
    int64_t ms = (int64_t)((seconds - spare) * 1000);
    return ms > 1 ? ms : 1;
}

/* Changes when the file does. */
static uint64_t file_stamp(struct str path)
{
    struct stat status;
    char *name = str_dup(path);
    uint64_t stamp = 0;
    if (path.len > 0 && stat(name, &status) == 0) {
        stamp = hash64_mix((uint64_t)status.st_mtim.tv_sec, (uint64_t)status.st_mtim.tv_nsec);
        stamp = hash64_mix(hash64_mix(stamp, (uint64_t)status.st_size), (uint64_t)status.st_ino);
    }
    mem_free(name);
    return stamp;
}

/* Certificates are renewed under our feet: a changed file is read again. */
static bool fresh_tls(struct exporter *exporter, struct err *err)
{
    const struct flags *flags = exporter->flags;
    struct tls_context *made;
    struct tls_options options = {
        .ca_file = flags->tls_ca_cert_file,
        .cert_file = flags->tls_client_cert_file,
        .key_file = flags->tls_client_key_file,
        .insecure_skip_verify = flags->skip_tls_verification,
    };
    uint64_t stamp =
        hash64_mix(hash64_mix(file_stamp(options.ca_file), file_stamp(options.cert_file)),
                   file_stamp(options.key_file));
    if (exporter->tls && stamp == exporter->tls_stamp)
        return true;
    if (!tls_context_new(&made, &options, err))
        return false;
    tls_context_unref(exporter->tls);
    exporter->tls = made;
    exporter->tls_stamp = stamp;
    return true;
}

/* The file's word for "redis://user@host:port", as it is written there. */
static struct str password_of(const struct exporter *exporter, const struct address *address,
                              struct str user, struct arena *arena)
{
    struct str key = redis_address_key(address, user, arena);
    return json_str(json_get(exporter->passwords, arena_str(arena, key).ptr));
}

static void choose_credentials(const struct exporter *exporter, struct collect_options *options,
                               bool password_in_url, struct arena *arena)
{
    const struct address *address = &options->address;
    const struct flags *flags = exporter->flags;
    options->user = address->user.len > 0 ? address->user : flags->redis_user;
    options->password = flags->redis_password;
    if (flags->redis_password.len == 0)
        options->password = password_of(exporter, address, options->user, arena);
    if (password_in_url && address->has_password)
        options->password = address->password;
}

static void visit_start(struct exporter *exporter, struct http_exchange *exchange,
                        enum visit_kind kind, struct collect_options *options)
{
    struct err err = {0};
    if (options->address.tls && !fresh_tls(exporter, &err)) {
        reply_error(exchange, 500, str_of(err.text));
        return;
    }
    struct visit *visit = MEM_NEW(struct visit);
    visit->exporter = exporter;
    visit->exchange = exchange;
    visit->kind = kind;
    visit->started_ns = clock_mono_ns();
    list_push_back(&exporter->visits, &visit->link);
    options->tls = exporter->tls;
    options->scripts = exporter->scripts;
    options->script_count = exporter->script_count;
    options->search_indexes = exporter->search_indexes;
    options->deadline_ms = deadline_ms(http_exchange_request(exchange));
    options->nodes_only = kind == VISIT_NODES;
    options->done = visit_done;
    options->ctx = visit;
    http_exchange_on_gone(exchange, visit_gone, visit);
    visit->collect = collect_start(exporter->loop, options);
}

/* --- routes --- */

static void serve_metrics(struct exporter *exporter, struct http_exchange *exchange,
                          enum visit_kind kind)
{
    struct collect_options options = {.flags = *exporter->flags};
    struct arena *arena = http_exchange_request(exchange)->arena;
    struct err err = {0};
    if (kind == VISIT_METRICS)
        exporter->figures.scrapes++;
    if (exporter->flags->redis_addr.len == 0) {
        struct metrics metrics;
        metrics_init(&metrics, exporter->flags->namespace, 0);
        add_figures(&metrics, &exporter->figures);
        add_own(exporter, &metrics, kind);
        reply_metrics(exchange, &metrics);
        metrics_deinit(&metrics);
        return;
    }
    if (!redis_address_parse(&options.address, exporter->flags->redis_addr, arena, &err)) {
        reply_error(exchange, 500, str_of(err.text)); /* Was checked at the start. */
        return;
    }
    choose_credentials(exporter, &options, true, arena);
    visit_start(exporter, exchange, kind, &options);
}

static void refuse_request(struct exporter *exporter, struct http_exchange *exchange,
                           struct str text)
{
    exporter->figures.request_errors++;
    reply_error(exchange, 400, text);
}

static bool check_key_lists(const struct flags *flags, struct arena *arena, struct err *err)
{
    const struct {
        const char *name;
        struct str text;
    } lists[] = {{"check-keys", flags->check_keys},
                 {"check-single-keys", flags->check_single_keys},
                 {"check-streams", flags->check_streams},
                 {"check-single-streams", flags->check_single_streams},
                 {"count-keys", flags->count_keys}};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        key_ref_list refs = {0};
        bool good = key_refs_parse(&refs, lists[i].text, arena, err);
        VEC_FREE(&refs);
        if (!good)
            return err_wrap(err, "couldn't parse %s", lists[i].name);
    }
    return true;
}

static void serve_scrape(struct exporter *exporter, struct http_exchange *exchange)
{
    const struct http_request *request = http_exchange_request(exchange);
    struct collect_options options = {.flags = *exporter->flags};
    struct http_params params;
    struct err err = {0};
    const struct {
        const char *name;
        struct str *place;
    } lists[] = {{"check-keys", &options.flags.check_keys},
                 {"check-single-keys", &options.flags.check_single_keys},
                 {"check-streams", &options.flags.check_streams},
                 {"check-single-streams", &options.flags.check_single_streams},
                 {"count-keys", &options.flags.count_keys},
                 {"tls_server_name", &options.flags.tls_server_name}};
    if (!http_request_params(request, &params, &err)) {
        refuse_request(exporter, exchange, str_of(err.text));
        return;
    }
    struct str target = http_params_get(&params, "target");
    if (target.len == 0) {
        refuse_request(exporter, exchange, STR("'target' parameter must be specified"));
        return;
    }
    if (!redis_address_parse(&options.address, target, request->arena, &err)) {
        err_wrap(&err, "Invalid 'target' parameter, parse err");
        refuse_request(exporter, exchange, str_of(err.text));
        return;
    }
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        struct str value = http_params_get(&params, lists[i].name);
        if (value.len > 0)
            *lists[i].place = value;
    }
    if (!check_key_lists(&options.flags, request->arena, &err)) {
        err_wrap(&err, "NewRedisExporter() err");
        refuse_request(exporter, exchange, str_of(err.text));
        return;
    }
    /* A password in a request would stand in logs: only files and flags give one. */
    choose_credentials(exporter, &options, false, request->arena);
    visit_start(exporter, exchange, VISIT_SCRAPE, &options);
}

static void serve_reload(struct exporter *exporter, struct http_exchange *exchange)
{
    struct err err = {0};
    if (exporter->flags->redis_password_file.len == 0) {
        reply_error(exchange, 400, STR("There is no pwd file specified"));
    } else if (!exporter_reload(exporter, &err)) {
        err_wrap(&err, "failed to reload passwords file");
        reply_error(exchange, 500, str_of(err.text));
    } else {
        http_reply_text(exchange, 200, "ok");
    }
}

static void serve_index(struct exporter *exporter, struct http_exchange *exchange)
{
    struct http_response response = {.status = 200, .content_type = "text/html; charset=utf-8"};
    struct buf body;
    buf_init(&body, 8192);
    BUF_ADD(&body, "<html>\n<head><title>Redis Exporter (narthex)</title></head>\n<body>\n"
                   "<h1>Redis Exporter (narthex)</h1>\n<p><a href='");
    buf_add_html(&body, exporter->flags->telemetry_path);
    BUF_ADD(&body, "'>Metrics</a></p>\n</body>\n</html>\n");
    http_reply(exchange, &response, &body);
    buf_deinit(&body);
}

static void serve(void *ctx, struct http_exchange *exchange)
{
    struct exporter *exporter = ctx;
    const struct http_request *request = http_exchange_request(exchange);

    if (str_eq(request->path, exporter->flags->telemetry_path)) {
        serve_metrics(exporter, exchange, VISIT_METRICS);
    } else if (str_eq(request->path, STR("/scrape"))) {
        if (exporter->flags->disable_scrape)
            reply_error(exchange, 404, STR("the scrape endpoint is disabled"));
        else
            serve_scrape(exporter, exchange);
    } else if (str_eq(request->path, STR("/health"))) {
        http_reply_text(exchange, 200, "ok");
    } else if (str_eq(request->path, STR("/-/reload"))) {
        serve_reload(exporter, exchange);
    } else if (str_eq(request->path, STR("/discover-cluster-nodes"))) {
        if (exporter->flags->is_cluster)
            serve_metrics(exporter, exchange, VISIT_NODES);
        else
            reply_error(exchange, 400,
                        STR("The discovery endpoint is only available on a redis cluster"));
    } else {
        serve_index(exporter, exchange);
    }
}

void exporter_handle(void *ctx, struct http_exchange *exchange)
{
    struct exporter *exporter = ctx;
    door_ask(exporter->door, exchange, serve, exporter);
}

/* --- life --- */

bool exporter_reload(struct exporter *exporter, struct err *err)
{
    struct buf text;
    struct json *passwords = NULL;
    struct str path = exporter->flags->redis_password_file;
    if (path.len == 0 || exporter->flags->redis_password.len > 0)
        return true;
    buf_init(&text, FILE_BYTES_MAX);
    bool good = file_read_whole(path, &text, err) && json_parse(&passwords, buf_str(&text), err);
    if (good && json_type(passwords) != JSON_OBJECT)
        good = err_set(err, ERR_BAD_DATA, "it is no JSON object");
    buf_deinit(&text);
    if (!good) {
        json_free(passwords);
        return err_wrap(err, "password file " STR_FMT, STR_ARG(path));
    }
    json_free(exporter->passwords);
    exporter->passwords = passwords;
    LOG_I("Loaded passwords", "file", log_str(path), "entries",
          log_fmt("%zu", json_count(passwords)));
    return true;
}

static bool read_scripts(struct exporter *exporter, struct err *err)
{
    struct str rest = exporter->flags->script;
    while (rest.len > 0) {
        struct str path = str_cut(rest, ',', &rest);
        struct buf text;
        if (exporter->script_count == SCRIPTS_MAX)
            return err_set(err, ERR_BAD_DATA, "more than %d scripts", SCRIPTS_MAX);
        buf_init(&text, FILE_BYTES_MAX);
        bool good = file_read_whole(path, &text, err);
        if (good)
            exporter->scripts[exporter->script_count++] =
                (struct script){path, arena_str(&exporter->arena, buf_str(&text))};
        buf_deinit(&text);
        if (!good)
            return err_wrap(err, "Error loading script file " STR_FMT, STR_ARG(path));
    }
    return true;
}

static bool check_flags(struct exporter *exporter, struct err *err)
{
    const struct flags *flags = exporter->flags;
    struct address address;
    if (flags->redis_addr.len > 0 &&
        !redis_address_parse(&address, flags->redis_addr, &exporter->arena, err))
        return err_wrap(err, "redis.addr");
    return check_key_lists(flags, &exporter->arena, err);
}

bool exporter_open(struct exporter **out, struct uv_loop_s *loop, const struct flags *flags,
                   struct err *err)
{
    struct exporter *exporter = MEM_NEW(struct exporter);
    exporter->loop = loop;
    exporter->flags = flags;
    arena_init(&exporter->arena, 0);
    list_init(&exporter->visits);
    *out = exporter;
    if (check_flags(exporter, err) && door_open(&exporter->door, loop, flags, err) &&
        exporter_reload(exporter, err) && read_scripts(exporter, err) && fresh_tls(exporter, err) &&
        (!flags->search_metrics ||
         regex_new(&exporter->search_indexes, flags->check_search_indexes, err)))
        return true;
    exporter_close(exporter);
    *out = NULL;
    return false;
}

void exporter_stop(struct exporter *exporter)
{
    door_stop(exporter->door);
    while (!list_empty(&exporter->visits)) {
        struct visit *visit = CONTAINER_OF(list_first(&exporter->visits), struct visit, link);
        http_reply_text(visit->exchange, 503, "stopping");
        visit_free(visit);
    }
}

void exporter_close(struct exporter *exporter)
{
    if (!exporter)
        return;
    ENSURE(list_empty(&exporter->visits));
    json_free(exporter->passwords);
    regex_free(exporter->search_indexes);
    tls_context_unref(exporter->tls);
    door_close(exporter->door);
    arena_deinit(&exporter->arena);
    mem_free(exporter);
}
