/* status_api: what the server says of itself, its health, and the two requests that change it
 * (reload, quit). */
#include "core.h"

#include <limits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/number.h"
#include "base/timetext.h"
#include "model/duration.h"
#include "param.h"
#include "process.h"
#include "query.h"
#include "status.h"

#define TSDB_LIMIT_MAX 10000

/* --- health and lifecycle --- */

void serve_healthy(struct call *call)
{
    answer_text(call, 200, STR("Prometheus Server is Healthy.\n"));
}

void serve_ready(struct call *call)
{
    answer_text(call, 200, STR("Prometheus Server is Ready.\n"));
}

static bool check_lifecycle(struct call *call)
{
    enum http_method method = call->request->method;

    if (method != HTTP_POST && method != HTTP_PUT) {
        answer_text(call, 405, STR("Only POST or PUT requests allowed"));
        return false;
    }
    if (!call->api->options.enable_lifecycle) {
        answer_text(call, 403, STR("Lifecycle API is not enabled."));
        return false;
    }
    return true;
}

static void reload_done(void *ctx, const struct err *err)
{
    struct call *call = ctx;
    struct err told;

    if (!err) {
        answer_text(call, 200, STR_EMPTY);
        return;
    }
    told = *err;
    err_wrap(&told, "failed to reload config");
    answer_plain_error(call, 500, str_of(told.text));
}

void serve_reload(struct call *call)
{
    const struct api_options *options = &call->api->options;

    if (!check_lifecycle(call))
        return;
    if (options->reload)
        options->reload(options->ctx, reload_done, call);
    else
        answer_text(call, 200, STR_EMPTY);
}

void serve_quit(struct call *call)
{
    struct api *api = call->api;

    if (!check_lifecycle(call))
        return;
    answer_text(call, 200,
                api->stopping ? STR("Termination already in progress.")
                              : STR("Requesting termination... Goodbye!"));
    if (!api->stopping && api->options.quit)
        api->options.quit(api->options.ctx);
}

/* --- /status --- */

static void add_build_info(struct buf *out, const struct api *api)
{
    bool first = true;
    struct buf revision;

    buf_init(&revision, 256);
    buf_addf(&revision, "narthex-" STR_FMT, STR_ARG(api->options.narthex_version));
    BUF_ADD(out, "{");
    json_text(out, &first, "version", api->options.version);
    json_text(out, &first, "revision", buf_str(&revision));
    json_text(out, &first, "branch", STR_EMPTY);
    json_text(out, &first, "buildUser", STR_EMPTY);
    json_text(out, &first, "buildDate", STR_EMPTY);
    json_text(out, &first, "goVersion", STR_EMPTY);
    BUF_ADD(out, "}");
    buf_deinit(&revision);
}

void serve_version(struct call *call)
{
    struct buf out;

    buf_init(&out, ANSWER_BYTES_MAX);
    add_build_info(&out, call->api);
    BUF_ADD(&out, "\n");
    answer(call, 200, CONTENT_TEXT, &out);
}

void serve_status_buildinfo(struct call *call)
{
    struct buf out;

    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    add_build_info(&out, call->api);
    answer_data(call, &out);
}

void serve_status_config(struct call *call)
{
    struct buf out;
    bool first = true;

    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{");
    json_text(&out, &first, "yaml", call->api->config ? call->api->config->printed : STR_EMPTY);
    BUF_ADD(&out, "}");
    answer_data(call, &out);
}

void serve_status_flags(struct call *call)
{
    const struct api_options *options = &call->api->options;
    struct buf out;
    bool first = true;

    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{");
    for (size_t i = 0; i < options->flag_count; i++) {
        json_comma(&out, &first);
        buf_add_json_string(&out, options->flags[i].name);
        BUF_ADD(&out, ":");
        buf_add_json_string(&out, options->flags[i].value);
    }
    BUF_ADD(&out, "}");
    answer_data(call, &out);
}

static void json_time(struct buf *out, bool *first, const char *key, int64_t time_ns)
{
    json_key(out, first, key);
    BUF_ADD(out, "\"");
    buf_add_rfc3339_nano(out, time_ns);
    BUF_ADD(out, "\"");
}

void status_add_retention(struct buf *out, const struct api *api)
{
    const struct config *config = api->config;

    if (!config)
        return;
    if (config->retention_ms > 0)
        duration_print(out, config->retention_ms);
    if (config->retention_bytes > 0) {
        buf_add_str(out, out->len > 0 ? STR(" or ") : STR_EMPTY);
        size_print(out, config->retention_bytes);
    }
    if (config->retention_percentage > 0) {
        buf_add_str(out, out->len > 0 ? STR(" or ") : STR_EMPTY);
        buf_add_number(out, config->retention_percentage, NUMBER_G);
        buf_add_char(out, '%');
    }
}

static void add_runtime_paths(struct buf *out, bool *first)
{
    char path[PATH_MAX], host[256];

    if (!getcwd(path, sizeof(path)))
        path[0] = '\0';
    if (gethostname(host, sizeof(host)) != 0)
        host[0] = '\0';
    host[sizeof(host) - 1] = '\0';
    json_text(out, first, "CWD", str_of(path));
    json_text(out, first, "hostname", str_of(host));
}

void serve_status_runtimeinfo(struct call *call)
{
    const struct api *api = call->api;
    struct process_figures process;
    struct storage_stats storage;
    struct buf out, retention;
    bool first = true;

    process_get_figures(&process);
    storage_get_stats(api->options.storage, &storage);
    buf_init(&retention, 256);
    status_add_retention(&retention, api);
    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{");
    json_time(&out, &first, "startTime", api->options.start_time_ms * 1000000);
    add_runtime_paths(&out, &first);
    json_time(&out, &first, "serverTime", clock_wall_ns());
    json_key(&out, &first, "reloadConfigSuccess");
    buf_addf(&out, "%s", api->config && !api->reload_failed ? "true" : "false");
    json_time(&out, &first, "lastConfigTime", api->config_ms / 1000 * 1000000000);
    json_key(&out, &first, "corruptionCount");
    buf_add_u64(&out, storage.log_corruptions);
    json_key(&out, &first, "goroutineCount"); /* Threads: the nearest that we have. */
    buf_add_u64(&out, process.threads);
    json_key(&out, &first, "GOMAXPROCS");
    buf_add_i64(&out, sysconf(_SC_NPROCESSORS_ONLN));
    json_key(&out, &first, "GOMEMLIMIT");
    buf_add_i64(&out, INT64_MAX);
    json_text(&out, &first, "GOGC", STR_EMPTY);
    json_text(&out, &first, "GODEBUG", STR_EMPTY);
    json_text(&out, &first, "storageRetention", buf_str(&retention));
    BUF_ADD(&out, "}");
    buf_deinit(&retention);
    answer_data(call, &out);
}

static void add_top(struct buf *out, bool *first_key, const char *key,
                    const struct storage_top *top)
{
    bool first = true;

    json_key(out, first_key, key);
    BUF_ADD(out, "[");
    for (size_t i = 0; i < top->count; i++) {
        bool first_field = true;
        json_comma(out, &first);
        BUF_ADD(out, "{");
        json_text(out, &first_field, "name", top->items[i].name);
        json_key(out, &first_field, "value");
        buf_add_u64(out, top->items[i].value);
        BUF_ADD(out, "}");
    }
    BUF_ADD(out, "]");
}

static bool read_tsdb_limit(struct call *call, int64_t *out)
{
    struct str text = param_get(call, "limit");
    struct err err = {0};

    *out = 10;
    if (text.len == 0)
        return true;
    if (!param_int(text, out, &err) || *out < 1)
        err_set(&err, ERR_BAD_DATA, "limit must be a positive number");
    else if (*out > TSDB_LIMIT_MAX)
        err_set(&err, ERR_BAD_DATA, "limit must not exceed %d", TSDB_LIMIT_MAX);
    else
        return true;
    answer_error(call, &err);
    return false;
}

void serve_status_tsdb(struct call *call)
{
    struct storage *storage = call->api->options.storage;
    struct storage_cardinality top = {0};
    struct storage_stats stats;
    int64_t limit;
    struct buf out;
    bool first = true;

    if (!read_tsdb_limit(call, &limit))
        return;
    storage_get_stats(storage, &stats);
    storage_get_cardinality(storage, (size_t)limit, call->request->arena, &top);
    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    buf_addf(&out,
             "{\"headStats\":{\"numSeries\":%llu,\"numLabelPairs\":%llu,\"chunkCount\":%llu,"
             "\"minTime\":%lld,"
             "\"maxTime\":%lld},",
             (unsigned long long)stats.series, (unsigned long long)stats.label_pairs,
             (unsigned long long)stats.chunks, (long long)stats.time_min_ms,
             (long long)stats.time_max_ms);
    add_top(&out, &first, "seriesCountByMetricName", &top.series_by_metric);
    add_top(&out, &first, "labelValueCountByLabelName", &top.values_by_label);
    add_top(&out, &first, "memoryInBytesByLabelName", &top.bytes_by_label);
    add_top(&out, &first, "seriesCountByLabelValuePair", &top.series_by_pair);
    BUF_ADD(&out, "}");
    answer_data(call, &out);
}

/* Blocks of Prometheus' format do not exist here. */
void serve_status_blocks(struct call *call)
{
    struct buf out;

    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{\"blocks\":[]}");
    answer_data(call, &out);
}

/* The log is replayed before the server listens or not at all: there is no progress to tell. */
void serve_status_walreplay(struct call *call)
{
    struct buf out;

    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{\"min\":0,\"max\":0,\"current\":0}");
    answer_data(call, &out);
}

/* --- notifications --- */

static void add_notification(struct buf *out, bool *first_item, const char *text, int64_t time_ms)
{
    bool first = true;

    json_comma(out, first_item);
    BUF_ADD(out, "{");
    json_text(out, &first, "text", str_of(text));
    json_time(out, &first, "date", time_ms * 1000000);
    BUF_ADD(out, ",\"active\":true}");
}

void serve_notifications(struct call *call)
{
    const struct api *api = call->api;
    struct buf out;
    bool first = true;

    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "[");
    if (api->reload_failed)
        add_notification(&out, &first, "Configuration reload has failed.", api->reload_failed_ms);
    if (!api->ready && !api->stopping)
        add_notification(&out, &first,
                         "Prometheus is starting and replaying the write-ahead log (WAL).",
                         api->options.start_time_ms);
    if (api->stopping)
        add_notification(&out, &first,
                         "Prometheus is shutting down and gracefully stopping all operations.",
                         clock_wall_ms());
    BUF_ADD(&out, "]");
    answer_data(call, &out);
}

/* As Prometheus answers when it has no subscriber slot left: clients then poll. */
void serve_notifications_live(struct call *call)
{
    answer(call, 204, NULL, NULL);
}
