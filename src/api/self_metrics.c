/* self_metrics: /metrics: what the server knows of itself, in text format 0.0.4.
 *
 * Single values are rows of metrics.def; families whose labels are only known at run time are
 * written below. */
#include "core.h"

#include <math.h>
#include <stdlib.h>

#include "base/cgroup.h"
#include "base/number.h"
#include "process.h"
#include "status.h"
#include "work.h"

#define CONTENT_METRICS "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

struct figures {
    const struct api *api;
    struct storage_stats storage;
    struct exemplar_stats exemplars;
    struct scraper_stats scrape;
    struct discovery_stats discovery;
    struct write_stats write;
    struct process_figures process;
    struct cgroup_memory cgroup;
    size_t queries;
    unsigned connections;
    double retention_seconds, retention_bytes, retention_percentage;
};

static void add_family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_value(struct buf *out, double value)
{
    BUF_ADD(out, " ");
    buf_add_number(out, value, NUMBER_G);
    BUF_ADD(out, "\n");
}

static void add_label_value(struct buf *out, struct str value)
{
    BUF_ADD(out, "\"");
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '\\' || c == '"')
            buf_add_char(out, '\\');
        if (c == '\n')
            BUF_ADD(out, "\\n");
        else
            buf_add_char(out, c);
    }
    BUF_ADD(out, "\"");
}

/* --- rows --- */

static void add_rows(struct buf *out, const struct figures *f)
{
#define GAUGE                              "gauge"
#define COUNTER                            "counter"
#define M(name, type, labels, help, value) {name, type, labels, help, (double)(value)},
    const struct {
        const char *name, *type, *labels, *help;
        double value;
    } rows[] = {
#include "metrics.def"
    };
#undef M
#undef COUNTER
#undef GAUGE

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (i == 0 || strcmp(rows[i - 1].name, rows[i].name) != 0)
            add_family(out, rows[i].name, rows[i].type, rows[i].help);
        buf_addf(out, rows[i].labels[0] ? "%s{%s}" : "%s%s", rows[i].name, rows[i].labels);
        add_value(out, rows[i].value);
    }
}

/* --- families --- */

static void add_build(struct buf *out, const struct api *api)
{
    add_family(out, "prometheus_build_info", "gauge",
               "A metric with a constant '1' value labeled by version, revision, branch and more "
               "from which "
               "prometheus was built.");
    BUF_ADD(out, "prometheus_build_info{branch=\"\",goarch=\"\",goos=\"linux\",goversion=\"\","
                 "revision=\"narthex-");
    buf_add_str(out, api->options.narthex_version);
    BUF_ADD(out, "\",tags=\"\",version=");
    add_label_value(out, api->options.version);
    BUF_ADD(out, "} 1\n");
    add_family(out, "narthex_build_info", "gauge",
               "A constant 1, labelled by the version of this program.");
    BUF_ADD(out, "narthex_build_info{version=");
    add_label_value(out, api->options.narthex_version);
    BUF_ADD(out, "} 1\n");
}

static void add_http_requests(struct buf *out, const struct api *api)
{
    add_family(out, "prometheus_http_requests_total", "counter", "Counter of HTTP requests.");
    for (size_t i = 0; i < api_route_count; i++) {
        const struct route_figures *figures = &api->routes[i];
        for (size_t code = 0; code < figures->code_count; code++) {
            buf_addf(out, "prometheus_http_requests_total{code=\"%d\",handler=\"%s\"}",
                     figures->codes[code].status, api_routes[i].path);
            add_value(out, (double)figures->codes[code].count);
        }
    }
}

static void add_http_durations(struct buf *out, const struct api *api)
{
    const char *name = "prometheus_http_request_duration_seconds";

    add_family(out, name, "histogram", "Histogram of latencies for HTTP requests.");
    for (size_t i = 0; i < api_route_count; i++) {
        const struct route_figures *figures = &api->routes[i];
        const char *path = api_routes[i].path;
        uint64_t total = 0;
        if (figures->count == 0)
            continue;
        for (size_t bucket = 0; bucket < ROUTE_BUCKETS; bucket++) {
            total += figures->buckets[bucket];
            buf_addf(out, "%s_bucket{handler=\"%s\",le=\"", name, path);
            buf_add_number(out, route_bucket_seconds[bucket], NUMBER_G);
            BUF_ADD(out, "\"}");
            add_value(out, (double)total);
        }
        buf_addf(out, "%s_bucket{handler=\"%s\",le=\"+Inf\"}", name, path);
        add_value(out, (double)figures->count);
        buf_addf(out, "%s_sum{handler=\"%s\"}", name, path);
        add_value(out, figures->seconds);
        buf_addf(out, "%s_count{handler=\"%s\"}", name, path);
        add_value(out, (double)figures->count);
    }
}

static int double_compare(const void *a, const void *b)
{
    const double *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

/* Quantiles of the last ENGINE_WINDOW queries: a running server's own summary needs no more. */
static void add_engine(struct buf *out, const struct api *api)
{
    static const char *const slices[SLICE_COUNT] = {"queue_time", "prepare_time", "inner_eval",
                                                    "result_sort"};
    static const double quantiles[] = {0.5, 0.9, 0.99};
    const char *name = "prometheus_engine_query_duration_seconds";
    const struct engine_figures *engine = &api->engine;
    size_t count = engine->queries < ENGINE_WINDOW ? (size_t)engine->queries : ENGINE_WINDOW;

    add_family(out, name, "summary", "Query timings");
    for (size_t slice = 0; slice < SLICE_COUNT; slice++) {
        double sorted[ENGINE_WINDOW];
        memcpy(sorted, engine->window[slice], sizeof(sorted));
        qsort(sorted, count, sizeof(sorted[0]), double_compare);
        for (size_t i = 0; i < COUNT_OF(quantiles); i++) {
            buf_addf(out, "%s{slice=\"%s\",quantile=\"", name, slices[slice]);
            buf_add_number(out, quantiles[i], NUMBER_G);
            BUF_ADD(out, "\"}");
            add_value(out, count ? sorted[(size_t)(quantiles[i] * (double)(count - 1))] : NAN);
        }
        buf_addf(out, "%s_sum{slice=\"%s\"}", name, slices[slice]);
        add_value(out, engine->sum[slice]);
        buf_addf(out, "%s_count{slice=\"%s\"}", name, slices[slice]);
        add_value(out, (double)engine->queries);
    }
}

static void add_pool_targets(void *ctx, struct str pool, size_t active_count, size_t dropped_count)
{
    struct buf *out = ctx;

    (void)dropped_count;
    BUF_ADD(out, "prometheus_target_scrape_pool_targets{scrape_job=");
    add_label_value(out, pool);
    BUF_ADD(out, "}");
    add_value(out, (double)active_count);
}

static void add_scrape(struct buf *out, const struct figures *f)
{
    const struct api *api = f->api;
    const char *name = "prometheus_target_interval_length_seconds";

    if (api->options.scraper) {
        add_family(out, "prometheus_target_scrape_pool_targets", "gauge",
                   "Current number of targets in this scrape pool.");
        scraper_each_pool(api->options.scraper, add_pool_targets, out);
    }
    struct buf interval;
    buf_init(&interval, 64);
    json_seconds(&interval,
                 api->config ? (double)api->config->global.scrape_interval_ms / 1000 : 0);
    add_family(out, name, "summary", "Actual intervals between scrapes.");
    buf_addf(out, "%s_sum{interval=\"" STR_FMT "s\"}", name, STR_ARG(buf_str(&interval)));
    add_value(out, f->scrape.interval_seconds_sum);
    buf_addf(out, "%s_count{interval=\"" STR_FMT "s\"}", name, STR_ARG(buf_str(&interval)));
    add_value(out, (double)f->scrape.interval_count);
    buf_deinit(&interval);
}

static void add_discovery(struct buf *out, const struct api *api)
{
    if (!api->config || !api->options.discovery)
        return;
    add_family(out, "prometheus_sd_discovered_targets", "gauge",
               "Current number of discovered targets.");
    for (size_t i = 0; i < api->config->scrape_count; i++) {
        struct str job = api->config->scrapes[i].job_name;
        BUF_ADD(out, "prometheus_sd_discovered_targets{config=");
        add_label_value(out, job);
        BUF_ADD(out, ",name=\"scrape\"}");
        add_value(out, (double)discovery_target_count(api->options.discovery, job));
    }
}

static void add_log_fsync(struct buf *out, const struct storage_stats *storage)
{
    add_family(out, "prometheus_tsdb_wal_fsync_duration_seconds", "summary",
               "Duration of write log fsync.");
    BUF_ADD(out, "prometheus_tsdb_wal_fsync_duration_seconds_sum");
    add_value(out, storage->log_fsync_seconds);
    BUF_ADD(out, "prometheus_tsdb_wal_fsync_duration_seconds_count");
    add_value(out, (double)storage->log_fsyncs);
}

static void add_guilty(struct buf *out, const struct storage_guilty *guilty)
{
    if (!guilty->known)
        return;
    add_family(out, "narthex_storage_refused_largest_job_series", "gauge",
               "The job with most series when series were refused last.");
    BUF_ADD(out, "narthex_storage_refused_largest_job_series{job=");
    add_label_value(out, str_of(guilty->job));
    BUF_ADD(out, "}");
    add_value(out, (double)guilty->job_series);
    add_family(out, "narthex_storage_refused_largest_label_values", "gauge",
               "The label name with most values when series were refused last.");
    BUF_ADD(out, "narthex_storage_refused_largest_label_values{name=");
    add_label_value(out, str_of(guilty->label));
    BUF_ADD(out, "}");
    add_value(out, (double)guilty->label_values);
}

static void collect(const struct api *api, struct figures *f)
{
    const struct api_options *options = &api->options;

    *f = (struct figures){.api = api};
    if (options->storage)
        storage_get_stats(options->storage, &f->storage);
    storage_get_exemplar_stats(options->storage, &f->exemplars);
    if (options->scraper)
        scraper_get_stats(options->scraper, &f->scrape);
    if (options->discovery)
        discovery_get_stats(options->discovery, &f->discovery);
    if (options->write_receiver)
        write_receiver_get_stats(options->write_receiver, &f->write);
    process_get_figures(&f->process);
    cgroup_memory_read("", &f->cgroup);
    if (options->start_time_ms > 0)
        f->process.start_seconds = (double)options->start_time_ms / 1000;
    LIST_EACH (node, &api->works)
        f->queries++;
    if (api->server)
        f->connections = http_server_connections(api->server);
    if (api->config) {
        f->retention_seconds = (double)api->config->retention_ms / 1000;
        f->retention_bytes = (double)api->config->retention_bytes;
        f->retention_percentage = api->config->retention_percentage;
    }
}

void serve_metrics(struct call *call)
{
    struct figures f;
    struct buf out;

    collect(call->api, &f);
    buf_init(&out, ANSWER_BYTES_MAX);
    add_build(&out, call->api);
    add_rows(&out, &f);
    add_engine(&out, call->api);
    add_scrape(&out, &f);
    add_discovery(&out, call->api);
    add_log_fsync(&out, &f.storage);
    add_guilty(&out, &f.storage.guilty);
    add_http_requests(&out, call->api);
    add_http_durations(&out, call->api);
    if (call->api->more_metrics)
        call->api->more_metrics(call->api->more_metrics_ctx, &out);
    answer(call, 200, CONTENT_METRICS, &out);
}
