/* self_metrics_scrape: families of /metrics with one series for each job, interval or file: what scraping and discovery tell. */
#include "core.h"
#include "metric_text.h"
#include "net/http_client.h"
#include "self_metrics.h"

/* A view that is written once for each family: series of one family stand together. */
struct family {
    struct buf *out;
    const char *name;
    double (*figure)(const struct pool_view *view); /* NULL: the summary. */
    bool histogram;
};

/* --- pools --- */

static double pool_targets(const struct pool_view *view)
{
    return (double)view->active_count;
}
static double pool_target_limit(const struct pool_view *view)
{
    return (double)view->target_limit;
}
static double pool_syncs(const struct pool_view *view)
{
    return (double)view->syncs;
}
static double pool_sync_failures(const struct pool_view *view)
{
    return (double)view->sync_failures;
}
static double pool_metadata_entries(const struct pool_view *view)
{
    return (double)view->metadata_entries;
}
static double pool_metadata_bytes(const struct pool_view *view)
{
    return (double)view->metadata_bytes;
}

static const struct {
    const char *name, *type, *help;
    double (*figure)(const struct pool_view *view);
} pool_families[] = {
    {"prometheus_target_scrape_pool_targets", "gauge",
     "Current number of targets in this scrape pool.", pool_targets},
    {"prometheus_target_scrape_pool_target_limit", "gauge",
     "Maximum number of targets allowed in this scrape pool.", pool_target_limit},
    {"prometheus_target_scrape_pool_sync_total", "counter",
     "Total number of syncs that were executed on a scrape pool.", pool_syncs},
    {"prometheus_target_sync_failed_total", "counter", "Total number of target sync failures.",
     pool_sync_failures},
    {"prometheus_target_metadata_cache_entries", "gauge",
     "Total number of metric metadata entries in the cache", pool_metadata_entries},
    {"prometheus_target_metadata_cache_bytes", "gauge",
     "The number of bytes that are currently used for storing metric metadata in the cache",
     pool_metadata_bytes},
};

static void add_pool(void *ctx, const struct pool_view *view)
{
    const struct family *family = ctx;
    struct metric_labels labels = {.name = "scrape_job", .value = view->name};

    if (family->figure)
        metric_add(family->out, family->name, "scrape_job", view->name, family->figure(view));
    else if (family->histogram)
        metric_histogram(family->out, family->name, &labels, view->sync_length);
    else
        metric_summary(family->out, family->name, &labels, view->sync_length, metric_quantiles_wide,
                       COUNT_OF(metric_quantiles_wide));
}

static void add_pools(struct buf *out, struct scraper *scraper)
{
    static const char help[] = "Actual interval to sync the scrape pool.";
    struct family length = {.out = out, .name = "prometheus_target_sync_length_seconds"};

    for (size_t i = 0; i < COUNT_OF(pool_families); i++) {
        struct family family = {
            .out = out, .name = pool_families[i].name, .figure = pool_families[i].figure};
        metric_family(out, family.name, pool_families[i].type, pool_families[i].help);
        scraper_each_pool(scraper, add_pool, &family);
    }
    metric_family(out, length.name, "summary", help);
    scraper_each_pool(scraper, add_pool, &length);
    length.name = "prometheus_target_sync_length_histogram_seconds";
    length.histogram = true;
    metric_family(out, length.name, "histogram", help);
    scraper_each_pool(scraper, add_pool, &length);
}

static void add_interval(void *ctx, int64_t interval_ms, const struct summary *length)
{
    const struct family *family = ctx;
    struct buf text;

    buf_init(&text, 64);
    metric_go_duration(&text, interval_ms);
    struct metric_labels labels = {.name = "interval", .value = buf_str(&text)};
    if (family->histogram)
        metric_histogram(family->out, family->name, &labels, length);
    else
        metric_summary(family->out, family->name, &labels, length, metric_quantiles_wide,
                       COUNT_OF(metric_quantiles_wide));
    buf_deinit(&text);
}

void self_metrics_scrape(struct buf *out, const struct api *api, const struct scraper_stats *stats)
{
    static const char help[] = "Actual intervals between scrapes.";
    static const char duration[] = "prometheus_target_scrape_duration_seconds";
    struct family length = {.out = out, .name = "prometheus_target_interval_length_seconds"};

    if (!api->options.scraper)
        return;
    add_pools(out, api->options.scraper);
    metric_family(out, length.name, "summary", help);
    scraper_each_interval(api->options.scraper, add_interval, &length);
    length.name = "prometheus_target_interval_length_histogram_seconds";
    length.histogram = true;
    metric_family(out, length.name, "histogram", help);
    scraper_each_interval(api->options.scraper, add_interval, &length);
    metric_family(out, duration, "histogram",
                  "Total duration of the scrape from start to commit completion in seconds.");
    metric_add(out, "prometheus_target_scrape_duration_seconds_bucket", "le", STR("+Inf"),
               (double)stats->scrapes);
    buf_addf(out, "%s_sum", duration);
    metric_value(out, stats->scrape_seconds);
    buf_addf(out, "%s_count", duration);
    metric_value(out, (double)stats->scrapes);
}

/* --- connections --- */

enum dial_what { DIAL_ATTEMPTED, DIAL_CLOSED, DIAL_ESTABLISHED, DIAL_WHAT_COUNT };

static void add_failed_dials(struct buf *out, const struct http_client *client)
{
    static const char *const reasons[] = {[HTTP_DIAL_REFUSED] = "refused",
                                          [HTTP_DIAL_RESOLUTION] = "resolution",
                                          [HTTP_DIAL_TIMEOUT] = "timeout",
                                          [HTTP_DIAL_UNKNOWN] = "unknown"};
    static const char name[] = "net_conntrack_dialer_conn_failed_total";
    const struct http_dialer *dialer;

    metric_family(out, name, "counter",
                  "Total number of connections failed to dial by the dialer a given name.");
    for (size_t i = 0; (dialer = http_dialer_at(client, i)) != NULL; i++)
        for (size_t k = 0; k < COUNT_OF(reasons); k++) {
            buf_addf(out, "%s{dialer_name=", name);
            metric_label_value(out, dialer->name);
            buf_addf(out, ",reason=\"%s\"}", reasons[k]);
            metric_value(out, (double)dialer->failed[k]);
        }
}

void self_metrics_dialers(struct buf *out, const struct http_client *client)
{
    static const struct {
        const char *name, *help;
    } families[DIAL_WHAT_COUNT] = {
        {"net_conntrack_dialer_conn_attempted_total",
         "Total number of connections attempted by the given dialer a given name."},
        {"net_conntrack_dialer_conn_closed_total",
         "Total number of connections closed which originated from the dialer of a given name."},
        {"net_conntrack_dialer_conn_established_total",
         "Total number of connections successfully established by the given dialer a given name."},
    };
    const struct http_dialer *dialer;

    if (!client)
        return;
    for (int what = 0; what < DIAL_WHAT_COUNT; what++) {
        metric_family(out, families[what].name, "counter", families[what].help);
        for (size_t i = 0; (dialer = http_dialer_at(client, i)) != NULL; i++)
            metric_add(out, families[what].name, "dialer_name", dialer->name,
                       (double)(what == DIAL_ATTEMPTED     ? dialer->attempted
                                : what == DIAL_ESTABLISHED ? dialer->established
                                                           : dialer->closed));
    }
    add_failed_dials(out, client);
}

/* --- discovery --- */

enum refresh_what { REFRESH_FAILURES, REFRESH_SUMMARY };

struct refresh_family {
    struct buf *out;
    enum refresh_what what;
};

static void add_refresh(void *ctx, const struct refresh_view *view)
{
    const struct refresh_family *family = ctx;
    struct buf more;

    buf_init(&more, 64);
    buf_addf(&more, "mechanism=\"%s\"", view->mechanism);
    buf_add_char(&more, '\0');
    struct metric_labels labels = {.name = "config", .value = view->job, .more = more.ptr};
    if (family->what == REFRESH_SUMMARY) {
        metric_summary(family->out, "prometheus_sd_refresh_duration_seconds", &labels, view->length,
                       metric_quantiles, COUNT_OF(metric_quantiles));
    } else {
        BUF_ADD(family->out, "prometheus_sd_refresh_failures_total{config=");
        metric_label_value(family->out, view->job);
        buf_addf(family->out, ",%s}", more.ptr);
        metric_value(family->out, (double)view->failures);
    }
    buf_deinit(&more);
}

/* All rounds of one mechanism. */
struct mechanism {
    const char *name;
    struct summary sum;
    bool found;
};

static void sum_refresh(void *ctx, const struct refresh_view *view)
{
    struct mechanism *mechanism = ctx;

    if (strcmp(view->mechanism, mechanism->name) != 0)
        return;
    mechanism->found = true;
    mechanism->sum.count += view->length->count;
    mechanism->sum.sum += view->length->sum;
    for (size_t i = 0; i < SUMMARY_BUCKETS; i++)
        mechanism->sum.buckets[i] += view->length->buckets[i];
}

static void add_refreshes(struct buf *out, const struct discovery *discovery)
{
    static const char *const mechanisms[] = {"dns", "http"};
    struct refresh_family family = {.out = out, .what = REFRESH_FAILURES};

    metric_family(out, "prometheus_sd_refresh_failures_total", "counter",
                  "Number of refresh failures for the given SD mechanism.");
    discovery_each_refresh(discovery, add_refresh, &family);
    family.what = REFRESH_SUMMARY;
    metric_family(out, "prometheus_sd_refresh_duration_seconds", "summary",
                  "The duration of a refresh in seconds for the given SD mechanism.");
    discovery_each_refresh(discovery, add_refresh, &family);
    metric_family(out, "prometheus_sd_refresh_duration_histogram_seconds", "histogram",
                  "The duration of a refresh for the given SD mechanism.");
    for (size_t i = 0; i < COUNT_OF(mechanisms); i++) {
        struct mechanism mechanism = {.name = mechanisms[i]};
        struct metric_labels labels = {.name = "mechanism", .value = str_of(mechanisms[i])};
        discovery_each_refresh(discovery, sum_refresh, &mechanism);
        if (mechanism.found)
            metric_histogram(out, "prometheus_sd_refresh_duration_histogram_seconds", &labels,
                             &mechanism.sum);
    }
}

static void add_file(void *ctx, struct str path, double modified_seconds)
{
    metric_add(ctx, "prometheus_sd_file_mtime_seconds", "filename", path, modified_seconds);
}

static void add_jobs(struct buf *out, const char *name, const struct api *api, bool told)
{
    for (size_t i = 0; i < api->config->scrape_count; i++) {
        struct str job = api->config->scrapes[i].job_name;
        const struct discovery *discovery = api->options.discovery;
        double value = told ? (double)discovery_told_ms(discovery, job) / 1000
                            : (double)discovery_target_count(discovery, job);
        buf_addf(out, "%s{config=", name);
        metric_label_value(out, job);
        BUF_ADD(out, ",name=\"scrape\"}");
        metric_value(out, value);
    }
}

void self_metrics_discovery(struct buf *out, const struct api *api,
                            const struct discovery_stats *stats)
{
    static const struct metric_labels none = {.name = NULL};
    const struct discovery *discovery = api->options.discovery;

    if (!api->config || !discovery)
        return;
    metric_family(out, "prometheus_sd_discovered_targets", "gauge",
                  "Current number of discovered targets.");
    add_jobs(out, "prometheus_sd_discovered_targets", api, false);
    metric_family(out, "prometheus_sd_last_update_timestamp_seconds", "gauge",
                  "Timestamp of the last update sent to the SD consumers.");
    add_jobs(out, "prometheus_sd_last_update_timestamp_seconds", api, true);
    add_refreshes(out, discovery);
    metric_family(out, "prometheus_sd_file_mtime_seconds", "gauge",
                  "Timestamp (mtime) of files read by FileSD. Timestamp is set at read time.");
    discovery_each_file(discovery, add_file, out);
    metric_family(out, "prometheus_sd_file_scan_duration_seconds", "summary",
                  "The duration of the File-SD scan in seconds.");
    metric_summary(out, "prometheus_sd_file_scan_duration_seconds", &none, &stats->file_scan,
                   metric_quantiles, COUNT_OF(metric_quantiles));
}
