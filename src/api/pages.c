/* pages: plain pages, made on the server; only the query page has a script. */
#include "page.h"

#include "base/clock.h"
#include "base/number.h"
#include "base/timetext.h"
#include "param.h"
#include "process.h"
#include "status.h"

#define TOP_ROWS 10

static void page_open(struct buf *out, const struct call *call, const char *title)
{
    buf_init(out, ANSWER_BYTES_MAX);
    page_begin(out, call->api, call->route->path, title);
}

/* --- ways to the query page --- */

static void redirect_to_query(struct call *call, bool ask, struct str query)
{
    struct buf location;

    buf_init(&location, 1 << 20);
    buf_add_str(&location, call->api->link_prefix);
    BUF_ADD(&location, "/query");
    if (ask)
        BUF_ADD(&location, "?");
    buf_add_str(&location, query);
    answer_redirect(call, 302, buf_str(&location));
    buf_deinit(&location);
}

void serve_start_page(struct call *call)
{
    redirect_to_query(call, false, STR_EMPTY);
}

/* Alertmanager's generator links come here. */
void serve_graph_redirect(struct call *call)
{
    redirect_to_query(call, true, call->request->query);
}

void serve_query_page(struct call *call)
{
    struct buf out;

    page_open(&out, call, "Query");
    BUF_ADD(&out,
            "<form id=\"form\"><textarea id=\"expr\" rows=\"3\" spellcheck=\"false\" autofocus "
            "placeholder=\"Expression, for example up (Enter runs it)\">");
    buf_add_html(&out, param_get(call, "g0.expr"));
    BUF_ADD(&out, "</textarea><div class=\"bar\"><button>Table</button>"
                  "<button type=\"button\" id=\"graph\" class=\"plain\">Graph</button>"
                  "<label>over <input id=\"range\" value=\"1h\"></label>"
                  "<span id=\"took\" class=\"dim\"></span></div></form><div id=\"result\"></div>"
                  "<noscript><p class=\"note\">Without scripts, ask the API: ");
    buf_add_html(&out, call->api->link_prefix);
    BUF_ADD(&out, "/api/v1/query?query=up</p></noscript><script>");
    buf_add_str(&out, str_of(page_query_script));
    BUF_ADD(&out, "</script>");
    page_answer(call, &out);
}

/* --- targets --- */

struct targets_page {
    struct buf *out;
    struct scraper *scraper;
    int64_t now_ms;
};

static void add_labels(struct buf *out, const struct labels *labels)
{
    for (uint32_t i = 0; labels && i < labels->count; i++) {
        BUF_ADD(out, "<span class=\"label\">");
        buf_add_html(out, labels->items[i].name);
        BUF_ADD(out, "=&quot;");
        buf_add_html(out, labels->items[i].value);
        BUF_ADD(out, "&quot;</span>");
    }
}

static void add_target_row(void *ctx, const struct target_view *view)
{
    struct targets_page *page = ctx;
    struct buf *out = page->out;
    const char *health = target_health_text(view->health);

    BUF_ADD(out, "<tr><td class=\"m\"><a href=\"");
    buf_add_html(out, view->url);
    BUF_ADD(out, "\">");
    buf_add_html(out, view->url);
    buf_addf(out, "</a></td><td class=\"%s\">%s</td><td>", health, health);
    add_labels(out, view->labels);
    BUF_ADD(out, "</td><td class=\"n\">");
    if (view->last_scrape_ms == 0) {
        BUF_ADD(out, "never</td><td class=\"n\">");
    } else {
        buf_add_number_fixed(out, (double)(page->now_ms - view->last_scrape_ms) / 1000, 1);
        BUF_ADD(out, " s ago</td><td class=\"n\">");
        buf_add_number_fixed(out, view->last_duration_seconds * 1000, 1);
        BUF_ADD(out, " ms");
    }
    BUF_ADD(out, "</td><td class=\"error\">");
    buf_add_html(out, view->error);
    BUF_ADD(out, "</td></tr>\n");
}

static void add_pool(void *ctx, const struct pool_view *view)
{
    static const char *const heads[] = {"Endpoint",    "State",    "Labels",
                                        "Last scrape", "Duration", "Error"};
    struct targets_page *page = ctx;

    BUF_ADD(page->out, "<h2>");
    buf_add_html(page->out, view->name);
    buf_addf(page->out, " <small>%zu active, %zu dropped</small></h2>", view->active_count,
             view->dropped_count);
    if (view->active_count == 0)
        return;
    page_table_begin(page->out, heads, COUNT_OF(heads));
    scraper_each_active(page->scraper, view->name, add_target_row, page);
    page_table_end(page->out);
}

void serve_targets_page(struct call *call)
{
    const struct api *api = call->api;
    struct buf out;
    struct targets_page page = {
        .out = &out, .scraper = api->options.scraper, .now_ms = clock_wall_ms()};

    page_open(&out, call, "Targets");
    for (size_t i = 0; api->config && i < api->config->inactive.count; i++) {
        BUF_ADD(&out, "<div class=\"note\">");
        buf_add_html(&out, api->config->inactive.items[i]);
        BUF_ADD(&out, "</div>");
    }
    if (page.scraper)
        scraper_each_pool(page.scraper, add_pool, &page);
    page_answer(call, &out);
}

/* --- status --- */

static void add_time_row(struct buf *out, const char *name, int64_t time_ms)
{
    buf_addf(out, "<tr><th>%s</th><td>", name);
    buf_add_rfc3339_ms(out, time_ms);
    BUF_ADD(out, "</td></tr>\n");
}

void serve_status_page(struct call *call)
{
    const struct api *api = call->api;
    struct process_figures process;
    struct buf out, retention;

    process_get_figures(&process);
    buf_init(&retention, 256);
    status_add_retention(&retention, api);
    page_open(&out, call, "Status");
    page_table_begin(&out, NULL, 0);
    page_row_text(&out, "Version", api->options.narthex_version);
    page_row_text(&out, "Behaves as Prometheus", api->options.version);
    add_time_row(&out, "Started", api->options.start_time_ms);
    add_time_row(&out, "Configuration loaded", api->config_ms);
    page_row_text(&out, "Last reload", api->reload_failed ? STR("failed") : STR("successful"));
    page_row_text(&out, "Retention", buf_str(&retention));
    page_row_number(&out, "Resident memory, anonymous (KiB)", process.anonymous_bytes / 1024);
    page_row_number(&out, "Resident memory, files (KiB)", process.file_bytes / 1024);
    page_row_number(&out, "Open files", process.open_files);
    page_row_number(&out, "Threads", process.threads);
    page_row_number(&out, "Queries run", api->engine.queries);
    page_table_end(&out);
    buf_deinit(&retention);
    page_answer(call, &out);
}

static void add_top_table(struct buf *out, const char *title, const struct storage_top *top)
{
    buf_addf(out, "<h2>%s</h2>", title);
    page_table_begin(out, NULL, 0);
    for (size_t i = 0; i < top->count; i++) {
        BUF_ADD(out, "<tr><td class=\"m\">");
        buf_add_html(out, top->items[i].name);
        BUF_ADD(out, "</td><td class=\"n\">");
        buf_add_u64(out, top->items[i].value);
        BUF_ADD(out, "</td></tr>\n");
    }
    page_table_end(out);
}

void serve_tsdb_page(struct call *call)
{
    struct storage *storage = call->api->options.storage;
    struct storage_cardinality top = {0};
    struct storage_stats stats;
    struct buf out;

    storage_get_stats(storage, &stats);
    storage_get_cardinality(storage, TOP_ROWS, call->request->arena, &top);
    page_open(&out, call, "Storage");
    page_table_begin(&out, NULL, 0);
    page_row_number(&out, "Series in memory", stats.series);
    page_row_number(&out, "Label pairs", stats.label_pairs);
    page_row_number(&out, "Samples appended", stats.samples_appended);
    if (stats.time_min_ms <= stats.time_max_ms) {
        add_time_row(&out, "Oldest sample", stats.time_min_ms);
        add_time_row(&out, "Newest sample", stats.time_max_ms);
    }
    page_row_number(&out, "Memory of the head (KiB)", stats.head_bytes / 1024);
    page_row_number(&out, "Log (KiB)", stats.log_bytes / 1024);
    page_row_number(&out, "Partitions", stats.partitions);
    page_row_number(&out, "Partitions (KiB)", stats.partition_bytes / 1024);
    page_row_text(&out, "Writes",
                  stats.degraded ? STR("refused: the log cannot be written") : STR("taken"));
    page_table_end(&out);
    add_top_table(&out, "Series by metric name", &top.series_by_metric);
    add_top_table(&out, "Values by label name", &top.values_by_label);
    add_top_table(&out, "Bytes by label name", &top.bytes_by_label);
    add_top_table(&out, "Series by label pair", &top.series_by_pair);
    page_answer(call, &out);
}

void serve_config_page(struct call *call)
{
    struct buf out;

    page_open(&out, call, "Configuration");
    BUF_ADD(&out, "<pre>");
    if (call->api->config)
        buf_add_html(&out, call->api->config->printed);
    BUF_ADD(&out, "</pre>");
    page_answer(call, &out);
}

void serve_flags_page(struct call *call)
{
    const struct api_options *options = &call->api->options;
    struct buf out;

    page_open(&out, call, "Flags");
    page_table_begin(&out, NULL, 0);
    for (size_t i = 0; i < options->flag_count; i++) {
        BUF_ADD(&out, "<tr><td class=\"m\">--");
        buf_add_html(&out, options->flags[i].name);
        BUF_ADD(&out, "</td><td class=\"m\">");
        buf_add_html(&out, options->flags[i].value);
        BUF_ADD(&out, "</td></tr>\n");
    }
    page_table_end(&out);
    page_answer(call, &out);
}
