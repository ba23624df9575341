/* self_metrics: /metrics: what the server knows of itself, in text format 0.0.4.
 *
 * Single values are rows of metrics.def; families whose labels are only known at run time are
 * written below. */
#include "core.h"

#include <math.h>

#include "base/cgroup.h"
#include "base/number.h"
#include "metric_text.h"
#include "process.h"
#include "self_metrics.h"
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
    uint64_t accepted;
    double retention_seconds, retention_bytes, retention_percentage;
};

/* --- rows --- */

static void add_rows(struct buf *out, const struct figures *f)
{
#define GAUGE                              "gauge"
#define COUNTER                            "counter"
#define M(name, type, labels, help, value) {name, type, labels, help, (double)(value)},
#define ABSENT(names, reason)
    const struct {
        const char *name, *type, *labels, *help;
        double value;
    } rows[] = {
#include "metrics.def"
    };
#undef ABSENT
#undef M
#undef COUNTER
#undef GAUGE

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (i == 0 || strcmp(rows[i - 1].name, rows[i].name) != 0)
            metric_family(out, rows[i].name, rows[i].type, rows[i].help);
        buf_addf(out, rows[i].labels[0] ? "%s{%s}" : "%s%s", rows[i].name, rows[i].labels);
        metric_value(out, rows[i].value);
    }
}

/* --- families --- */

static void add_build(struct buf *out, const struct api *api)
{
    metric_family(
        out, "prometheus_build_info", "gauge",
        "A metric with a constant '1' value labeled by version, revision, branch and more "
        "from which "
        "prometheus was built.");
    BUF_ADD(out, "prometheus_build_info{branch=\"\",goarch=\"\",goos=\"linux\",goversion=\"\","
                 "revision=\"narthex-");
    buf_add_str(out, api->options.narthex_version);
    BUF_ADD(out, "\",tags=\"\",version=");
    metric_label_value(out, api->options.version);
    BUF_ADD(out, "} 1\n");
    metric_family(out, "narthex_build_info", "gauge",
                  "A constant 1, labelled by the version of this program.");
    BUF_ADD(out, "narthex_build_info{version=");
    metric_label_value(out, api->options.narthex_version);
    BUF_ADD(out, "} 1\n");
}

static uint64_t route_count_of(const struct api *api, const char *path, int status)
{
    for (size_t i = 0; i < api_route_count; i++) {
        const struct route_figures *figures = &api->routes[i];
        if (strcmp(api_routes[i].path, path) != 0)
            continue;
        for (size_t code = 0; code < figures->code_count; code++)
            if (figures->codes[code].status == status)
                return figures->codes[code].count;
    }
    return 0;
}

static void add_http_requests(struct buf *out, const struct api *api)
{
    metric_family(out, "prometheus_http_requests_total", "counter", "Counter of HTTP requests.");
    for (size_t i = 0; i < api_route_count; i++) {
        const struct route_figures *figures = &api->routes[i];
        for (size_t code = 0; code < figures->code_count; code++) {
            buf_addf(out, "prometheus_http_requests_total{code=\"%d\",handler=\"%s\"}",
                     figures->codes[code].status, api_routes[i].path);
            metric_value(out, (double)figures->codes[code].count);
        }
    }
}

/* Of one handler: cumulative buckets by bounds, then the rest. */
static void add_route_histogram(struct buf *out, const char *name, const char *path,
                                const struct route_histogram *figures, const double *bounds,
                                size_t bound_count)
{
    uint64_t total = 0;

    for (size_t i = 0; i < bound_count; i++) {
        total += figures->buckets[i];
        buf_addf(out, "%s_bucket{handler=\"%s\",le=\"", name, path);
        buf_add_number(out, bounds[i], NUMBER_G);
        BUF_ADD(out, "\"}");
        metric_value(out, (double)total);
    }
    buf_addf(out, "%s_bucket{handler=\"%s\",le=\"+Inf\"}", name, path);
    metric_value(out, (double)figures->count);
    buf_addf(out, "%s_sum{handler=\"%s\"}", name, path);
    metric_value(out, figures->sum);
    buf_addf(out, "%s_count{handler=\"%s\"}", name, path);
    metric_value(out, (double)figures->count);
}

static void add_http_histograms(struct buf *out, const struct api *api)
{
    static const char seconds[] = "prometheus_http_request_duration_seconds",
                      bytes[] = "prometheus_http_response_size_bytes";

    metric_family(out, seconds, "histogram", "Histogram of latencies for HTTP requests.");
    for (size_t i = 0; i < api_route_count; i++)
        if (api->routes[i].seconds.count > 0)
            add_route_histogram(out, seconds, api_routes[i].path, &api->routes[i].seconds,
                                route_bucket_seconds, ROUTE_BUCKETS);
    metric_family(out, bytes, "histogram",
                  "Histogram of response size for HTTP requests (here: before compression).");
    for (size_t i = 0; i < api_route_count; i++)
        if (api->routes[i].bytes.count > 0)
            add_route_histogram(out, bytes, api_routes[i].path, &api->routes[i].bytes,
                                route_bucket_bytes, ROUTE_SIZE_BUCKETS);
}

/* Of /metrics itself, as the library says it that Prometheus has. */
static void add_metric_handler(struct buf *out, const struct api *api)
{
    static const int statuses[] = {200, 500, 503};
    static const char name[] = "promhttp_metric_handler_requests_total";

    metric_family(out, "promhttp_metric_handler_requests_in_flight", "gauge",
                  "Current number of scrapes being served.");
    BUF_ADD(out, "promhttp_metric_handler_requests_in_flight 1\n");
    metric_family(out, name, "counter", "Total number of scrapes by HTTP status code.");
    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        buf_addf(out, "%s{code=\"%d\"}", name, statuses[i]);
        metric_value(out, (double)route_count_of(api, "/metrics", statuses[i]));
    }
}

static const struct metric_labels no_labels = {.name = NULL};

static void add_engine(struct buf *out, const struct api *api)
{
    static const char *const slices[SLICE_COUNT] = {"inner_eval", "prepare_time", "queue_time",
                                                    "result_sort"};
    static const char summary[] = "prometheus_engine_query_duration_seconds",
                      histogram[] = "prometheus_engine_query_duration_histogram_seconds";

    metric_family(out, summary, "summary", "Query timings");
    for (size_t i = 0; i < SLICE_COUNT; i++) {
        struct metric_labels labels = {.name = "slice", .value = str_of(slices[i])};
        metric_summary(out, summary, &labels, &api->engine.slices[i], metric_quantiles,
                       COUNT_OF(metric_quantiles));
    }
    metric_family(out, histogram, "histogram",
                  "The duration of various parts of PromQL query execution.");
    for (size_t i = 0; i < SLICE_COUNT; i++) {
        struct metric_labels labels = {.name = "slice", .value = str_of(slices[i])};
        metric_histogram(out, histogram, &labels, &api->engine.slices[i]);
    }
}

static void add_log_fsync(struct buf *out, const struct storage_stats *storage)
{
    static const char name[] = "prometheus_tsdb_wal_fsync_duration_seconds";

    metric_family(out, name, "summary", "Duration of write log fsync.");
    metric_summary(out, name, &no_labels, &storage->log_fsync, metric_quantiles,
                   COUNT_OF(metric_quantiles));
}

static void add_builds(struct buf *out, const struct storage_stats *storage)
{
    static const char name[] = "prometheus_tsdb_compaction_duration_seconds";

    metric_family(out, name, "histogram", "Duration of compaction runs (here: of building days).");
    metric_add(out, "prometheus_tsdb_compaction_duration_seconds_bucket", "le", STR("+Inf"),
               (double)storage->builds);
    buf_addf(out, "%s_sum", name);
    metric_value(out, storage->build_seconds);
    buf_addf(out, "%s_count", name);
    metric_value(out, (double)storage->builds);
}

static void add_guilty(struct buf *out, const struct storage_guilty *guilty)
{
    if (!guilty->known)
        return;
    metric_family(out, "narthex_storage_refused_largest_job_series", "gauge",
                  "The job with most series when series were refused last.");
    BUF_ADD(out, "narthex_storage_refused_largest_job_series{job=");
    metric_label_value(out, str_of(guilty->job));
    BUF_ADD(out, "}");
    metric_value(out, (double)guilty->job_series);
    metric_family(out, "narthex_storage_refused_largest_label_values", "gauge",
                  "The label name with most values when series were refused last.");
    BUF_ADD(out, "narthex_storage_refused_largest_label_values{name=");
    metric_label_value(out, str_of(guilty->label));
    BUF_ADD(out, "}");
    metric_value(out, (double)guilty->label_values);
}

static void collect(const struct api *api, struct figures *f)
{
    const struct api_options *options = &api->options;

    *f = (struct figures){.api = api};
    if (options->storage) {
        storage_get_stats(options->storage, &f->storage);
        storage_get_exemplar_stats(options->storage, &f->exemplars);
    }
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
    if (api->server) {
        f->connections = http_server_connections(api->server);
        f->accepted = http_server_accepted(api->server);
    }
    if (api->config) {
        f->retention_seconds = (double)api->config->retention_ms / 1000;
        f->retention_bytes = (double)api->config->retention_bytes;
        f->retention_percentage = api->config->retention_percentage;
    }
}

void self_metrics_write(struct buf *out, const struct api *api)
{
    struct figures f;

    collect(api, &f);
    add_build(out, api);
    add_rows(out, &f);
    add_engine(out, api);
    self_metrics_scrape(out, api, &f.scrape);
    self_metrics_discovery(out, api, &f.discovery);
    self_metrics_dialers(out, api->options.client);
    add_log_fsync(out, &f.storage);
    add_builds(out, &f.storage);
    add_guilty(out, &f.storage.guilty);
    add_http_requests(out, api);
    add_http_histograms(out, api);
    add_metric_handler(out, api);
    if (api->more_metrics)
        api->more_metrics(api->more_metrics_ctx, out);
}

void serve_metrics(struct call *call)
{
    struct buf out;

    buf_init(&out, ANSWER_BYTES_MAX);
    self_metrics_write(&out, call->api);
    answer(call, 200, CONTENT_METRICS, &out);
}
