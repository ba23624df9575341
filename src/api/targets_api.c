/* targets_api: what scraping knows: targets, pools and the metadata of metrics. */
#include "core.h"

#include <stdlib.h>

#include "base/number.h"
#include "base/timetext.h"
#include "base/vec.h"
#include "model/duration.h"
#include "param.h"
#include "query.h"

#define ZERO_TIME "0001-01-01T00:00:00Z"

static void json_labels(struct buf *out, bool *first, const char *key, const struct labels *labels)
{
    json_key(out, first, key);
    if (labels)
        labels_print_json(out, labels);
    else
        BUF_ADD(out, "{}");
}

static void json_time_ms(struct buf *out, bool *first, const char *key, int64_t time_ms)
{
    json_key(out, first, key);
    BUF_ADD(out, "\"");
    if (time_ms == 0)
        BUF_ADD(out, ZERO_TIME);
    else
        buf_add_rfc3339_nano(out, time_ms * 1000000);
    BUF_ADD(out, "\"");
}

static void json_duration(struct buf *out, bool *first, const char *key, int64_t duration_ms)
{
    json_key(out, first, key);
    BUF_ADD(out, "\"");
    duration_print(out, duration_ms);
    BUF_ADD(out, "\"");
}

/* --- globalUrl --- */

struct url_parts {
    struct str scheme, host, port, path; /* path: all from the first slash on. */
};

static struct url_parts url_split(struct str url)
{
    struct url_parts parts = {
        .scheme = STR("http"), .host = STR_EMPTY, .port = STR_EMPTY, .path = STR_EMPTY};
    size_t scheme = str_find(url, STR("://"));
    struct str rest = url;

    if (scheme < url.len) {
        parts.scheme = str_first(url, scheme);
        rest = str_after(url, scheme + 3);
    }
    size_t slash = str_find_char(rest, '/');
    parts.path = str_after(rest, slash);
    struct str host = str_first(rest, slash);
    size_t colon = host.len;
    while (colon > 0 && host.ptr[colon - 1] != ':' && host.ptr[colon - 1] != ']')
        colon--;
    bool has_port = colon > 0 && host.ptr[colon - 1] == ':';
    parts.port = has_port ? str_after(host, colon) : STR_EMPTY;
    parts.host = has_port ? str_first(host, colon - 1) : host;
    return parts;
}

/* A target on localhost is shown by the name under which the world reaches us. */
static void add_global_url(struct buf *out, const struct api *api, struct str url)
{
    struct url_parts target = url_split(url), external = url_split(api->options.external_url);
    uint64_t port = 0;

    bool local = str_eq(target.host, STR("127.0.0.1")) || str_eq(target.host, STR("localhost")) ||
                 str_eq(target.host, STR("[::1]"));
    if (!local || !str_to_u64(target.port, &port) || external.host.len == 0) {
        buf_add_json_string(out, url);
        return;
    }
    struct buf text;
    buf_init(&text, url.len + api->options.external_url.len + 16);
    bool own = api->server && port == http_server_port(api->server);
    buf_add_str(&text, own ? external.scheme : target.scheme);
    BUF_ADD(&text, "://");
    buf_add_str(&text, external.host);
    struct str shown_port = own ? external.port : target.port;
    if (shown_port.len > 0) {
        BUF_ADD(&text, ":");
        buf_add_str(&text, shown_port);
    }
    buf_add_str(&text, target.path);
    buf_add_json_string(out, buf_str(&text));
    buf_deinit(&text);
}

/* --- /targets --- */

struct targets_writer {
    const struct api *api;
    struct buf *out;
    bool first;
};

static void write_active(void *ctx, const struct target_view *view)
{
    struct targets_writer *writer = ctx;
    struct buf *out = writer->out;
    bool first = true;

    json_comma(out, &writer->first);
    BUF_ADD(out, "{");
    json_labels(out, &first, "discoveredLabels", view->discovered);
    json_labels(out, &first, "labels", view->labels);
    json_text(out, &first, "scrapePool", view->pool);
    json_text(out, &first, "scrapeUrl", view->url);
    json_key(out, &first, "globalUrl");
    add_global_url(out, writer->api, view->url);
    json_text(out, &first, "lastError", view->error);
    json_time_ms(out, &first, "lastScrape", view->last_scrape_ms);
    json_key(out, &first, "lastScrapeDuration");
    json_seconds(out, view->last_duration_seconds);
    json_text(out, &first, "health", str_of(target_health_text(view->health)));
    json_duration(out, &first, "scrapeInterval", view->interval_ms);
    json_duration(out, &first, "scrapeTimeout", view->timeout_ms);
    BUF_ADD(out, "}");
}

static void write_dropped(void *ctx, const struct target_view *view)
{
    struct targets_writer *writer = ctx;
    bool first = true;

    json_comma(writer->out, &writer->first);
    BUF_ADD(writer->out, "{");
    json_labels(writer->out, &first, "discoveredLabels", view->discovered);
    json_text(writer->out, &first, "scrapePool", view->pool);
    BUF_ADD(writer->out, "}");
}

static void write_dropped_count(void *ctx, const struct pool_view *view)
{
    struct targets_writer *writer = ctx;

    json_comma(writer->out, &writer->first);
    buf_add_json_string(writer->out, view->name);
    BUF_ADD(writer->out, ":");
    buf_add_u64(writer->out, view->dropped_count);
}

void serve_targets(struct call *call)
{
    struct scraper *scraper = call->api->options.scraper;
    struct str state = param_get(call, "state"), pool = param_get(call, "scrapePool");
    bool any = state.len == 0 || str_eq_nocase(state, STR("any"));
    bool active = any || str_eq_nocase(state, STR("active"));
    bool dropped = any || str_eq_nocase(state, STR("dropped"));
    struct buf out;
    struct targets_writer writer = {.api = call->api, .out = &out, .first = true};

    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{\"activeTargets\":[");
    if (active && scraper)
        scraper_each_active(scraper, pool, write_active, &writer);
    BUF_ADD(&out, "],\"droppedTargets\":[");
    writer.first = true;
    if (dropped && scraper)
        scraper_each_dropped(scraper, pool, write_dropped, &writer);
    BUF_ADD(&out, "],\"droppedTargetCounts\":");
    writer.first = true;
    if (dropped) {
        BUF_ADD(&out, "{");
        if (scraper)
            scraper_each_pool(scraper, write_dropped_count, &writer);
        BUF_ADD(&out, "}");
    } else {
        BUF_ADD(&out, "null");
    }
    BUF_ADD(&out, "}");
    answer_data(call, &out);
}

static void write_pool(void *ctx, const struct pool_view *view)
{
    struct targets_writer *writer = ctx;

    json_comma(writer->out, &writer->first);
    buf_add_json_string(writer->out, view->name);
}

void serve_scrape_pools(struct call *call)
{
    struct buf out;
    struct targets_writer writer = {.out = &out, .first = true};

    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{\"scrapePools\":[");
    if (call->api->options.scraper)
        scraper_each_pool(call->api->options.scraper, write_pool, &writer);
    BUF_ADD(&out, "]}");
    answer_data(call, &out);
}

void serve_alertmanagers(struct call *call)
{
    struct buf out;

    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}");
    answer_data(call, &out);
}

/* --- metadata --- */

/* -1: no limit. */
static bool read_count(struct call *call, const char *name, int64_t *out)
{
    struct str text = param_get(call, name);
    struct err err = {0};

    *out = -1;
    if (text.len == 0 || param_int(text, out, &err))
        return true;
    err_set(&err, ERR_BAD_DATA, "%s must be a number", name);
    answer_error(call, &err);
    return false;
}

struct metadata_list {
    VEC(struct metadata) items; /* Texts valid until the loop's next turn. */
};

static void collect_metadata(void *ctx, const struct target_view *target,
                             const struct metadata *metadata)
{
    struct metadata_list *list = ctx;
    (void)target;
    VEC_PUSH(&list->items, *metadata);
}

static int metadata_compare(const void *a, const void *b)
{
    const struct metadata *left = a, *right = b;
    int order = str_cmp(left->metric, right->metric);
    if (!order)
        order = (int)left->type - (int)right->type;
    if (!order)
        order = str_cmp(left->help, right->help);
    return order ? order : str_cmp(left->unit, right->unit);
}

/* Writes the entries of one metric from `at` on, each different one once; returns where the next
 * metric begins. */
static size_t write_metric_metadata(struct buf *out, const struct metadata_list *list, size_t at,
                                    int64_t limit_per_metric)
{
    const struct metadata *items = list->items.items;
    struct str metric = items[at].metric;
    int64_t written = 0;
    bool first = true;

    buf_add_json_string(out, metric);
    BUF_ADD(out, ":[");
    for (size_t begin = at; at < list->items.count && str_eq(items[at].metric, metric); at++) {
        bool repeated = at > begin && metadata_compare(&items[at - 1], &items[at]) == 0;
        if (repeated || (limit_per_metric > 0 && written >= limit_per_metric))
            continue;
        bool first_field = true;
        json_comma(out, &first);
        BUF_ADD(out, "{");
        json_text(out, &first_field, "type", str_of(metric_type_text(items[at].type)));
        json_text(out, &first_field, "unit", items[at].unit);
        json_text(out, &first_field, "help", items[at].help);
        BUF_ADD(out, "}");
        written++;
    }
    BUF_ADD(out, "]");
    return at;
}

void serve_metadata(struct call *call)
{
    struct metadata_list list = {0};
    int64_t limit, limit_per_metric, written = 0;
    struct buf out;
    bool first = true;

    if (!read_count(call, "limit", &limit) ||
        !read_count(call, "limit_per_metric", &limit_per_metric))
        return;
    if (call->api->options.scraper)
        scraper_each_metadata(call->api->options.scraper, param_get(call, "metric"),
                              collect_metadata, &list);
    VEC_SORT(&list.items, metadata_compare);
    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "{");
    for (size_t at = 0; at < list.items.count && (limit < 0 || written < limit); written++) {
        json_comma(&out, &first);
        at = write_metric_metadata(&out, &list, at, limit_per_metric);
    }
    BUF_ADD(&out, "}");
    VEC_FREE(&list.items);
    answer_data(call, &out);
}

struct target_metadata_writer {
    struct buf *out;
    const struct matchers *matchers;
    bool one_metric, first;
    int64_t limit, written;
    const struct labels *target; /* The current one and whether it is wanted. */
    bool wanted;
};

static void write_target_metadata(void *ctx, const struct target_view *target,
                                  const struct metadata *metadata)
{
    struct target_metadata_writer *writer = ctx;
    struct buf *out = writer->out;
    bool first = true;

    if (target->labels !=
        writer->target) { /* The limit holds between targets only, as in Prometheus. */
        writer->target = target->labels;
        writer->wanted =
            (writer->limit < 0 || writer->written < writer->limit) &&
            matchers_match(writer->matchers->items, writer->matchers->count, target->labels);
    }
    if (!writer->wanted)
        return;
    writer->written++;
    json_comma(out, &writer->first);
    BUF_ADD(out, "{");
    json_labels(out, &first, "target", target->labels);
    if (!writer->one_metric)
        json_text(out, &first, "metric", metadata->metric);
    json_text(out, &first, "type", str_of(metric_type_text(metadata->type)));
    json_text(out, &first, "help", metadata->help);
    json_text(out, &first, "unit", metadata->unit);
    BUF_ADD(out, "}");
}

void serve_targets_metadata(struct call *call)
{
    struct str metric = param_get(call, "metric"), match = param_get(call, "match_target");
    struct matchers matchers = {0};
    struct buf out;
    struct err err = {0};
    struct target_metadata_writer writer = {
        .out = &out, .matchers = &matchers, .one_metric = metric.len > 0, .first = true};

    if (!read_count(call, "limit", &writer.limit))
        return;
    if (match.len > 0 && !query_parse_selector(match, &matchers, &err)) {
        err.code = ERR_BAD_DATA;
        param_wrap(&err, "match_target");
        answer_error(call, &err);
        return;
    }
    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "[");
    if (call->api->options.scraper)
        scraper_each_metadata(call->api->options.scraper, metric, write_target_metadata, &writer);
    BUF_ADD(&out, "]");
    matchers_deinit(&matchers);
    answer_data(call, &out);
}
