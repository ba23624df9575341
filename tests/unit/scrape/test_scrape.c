/* Whole scrapes against a target on the loopback: what ends up in storage, and what the API would
 * show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto_text.h"
#include "scrape_rig.h"

static void expect_last(struct rig *rig, const char *series, double want)
{
    double value;

    if (!fake_last(&rig->storage, series, &value))
        fail_msg("no %s", series);
    if (value != want)
        fail_msg("%s is %f, not %f", series, value, want);
}

static void expect_histogram(struct rig *rig, const char *series, const char *want)
{
    const struct fake_series *found = fake_find(&rig->storage, series);

    if (!found)
        fail_msg("no %s", series);
    if (!str_eq(buf_str(&found->histogram), str_of(want)))
        fail_msg("%s is " STR_FMT ", not %s", series, STR_ARG(buf_str(&found->histogram)), want);
}

/* The first exemplar of the series begins so. */
static void expect_exemplars(struct rig *rig, const char *series, const char *want)
{
    const struct fake_series *found = fake_find(&rig->storage, series);

    if (!found || !str_starts(buf_str(&found->exemplars), str_of(want)))
        fail_msg("%s has not %s", series, want);
}

static bool is_stale(struct rig *rig, const char *series)
{
    double value;

    return fake_last(&rig->storage, series, &value) && sample_is_stale(value);
}

struct seen_target {
    char error[1024];
    enum target_health health;
    int count;
};

static void on_view(void *ctx, const struct target_view *view)
{
    struct seen_target *seen = ctx;

    seen->count++;
    seen->health = view->health;
    snprintf(seen->error, sizeof(seen->error), STR_FMT, STR_ARG(view->error));
}

static struct seen_target see(struct rig *rig)
{
    struct seen_target seen = {0};

    scraper_each_active(rig->scraper, STR_EMPTY, on_view, &seen);
    return seen;
}

static void on_pool(void *ctx, const struct pool_view *view)
{
    *(struct pool_view *)ctx = *view;
}

/* The last of them. */
static struct pool_view view_pool(struct rig *rig)
{
    struct pool_view view = {0};

    scraper_each_pool(rig->scraper, on_pool, &view);
    return view;
}

/* The way of a good scrape, its report, and the second scrape from the cache. */
static void test_scrape__stores_samples_and_report(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.body = "# TYPE a counter\n# HELP a It counts.\na{x=\"1\"} 5\na{x=\"2\"} 6\n";
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 2));
    expect_last(&rig, "a{instance=\"i\", job=\"j\", x=\"1\"}", 5);
    expect_last(&rig, "a{instance=\"i\", job=\"j\", x=\"2\"}", 6);
    expect_last(&rig, "up{instance=\"i\", job=\"j\"}", 1);
    expect_last(&rig, "scrape_samples_scraped{instance=\"i\", job=\"j\"}", 2);
    expect_last(&rig, "scrape_samples_post_metric_relabeling{instance=\"i\", job=\"j\"}", 2);
    expect_last(&rig, "scrape_series_added{instance=\"i\", job=\"j\"}", 0);
    assert_non_null(fake_find(&rig.storage, "scrape_duration_seconds{instance=\"i\", job=\"j\"}"));
    assert_int_equal(rig.storage.series.count, 7);
    assert_int_equal(see(&rig).health, TARGET_UP);
    struct scraper_stats stats;
    scraper_get_stats(rig.scraper, &stats);
    assert_int_equal(stats.cache_entries, 2);
    assert_int_equal(stats.pools_created, 1);
    assert_true(stats.scrape_seconds > 0);
    assert_int_equal(view_pool(&rig).metadata_entries, 1);
    rig_close(&rig);
}

/* Exporters choose format and compression by these headers. */
static void test_scrape__sends_the_headers(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig_configure(&rig, "  params: {module: [a b], z: ['1', '2']}\n  metrics_path: /x\n"
                        "  authorization: {credentials: secret}\n");
    assert_true(rig_scrapes(&rig, 1));
    assert_non_null(strstr(rig.last_headers, "Accept: application/openmetrics-text;version=1.0.0;"
                                             "escaping=allow-utf-8;q=0.6,"
                                             "application/openmetrics-text;version=0.0.1;q=0.5,"
                                             "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
                                             "text/plain;version=0.0.4;q=0.3,*/*;q=0.2\n"));
    assert_non_null(strstr(rig.last_headers, "Accept-Encoding: gzip\n"));
    assert_non_null(strstr(rig.last_headers, "User-Agent: Prometheus/3.14.0\n"));
    assert_non_null(strstr(rig.last_headers, "X-Prometheus-Scrape-Timeout-Seconds: 0.2\n"));
    assert_non_null(strstr(rig.last_headers, "Authorization: Bearer secret\n"));
    assert_string_equal(rig.last_target, "/x?module=a+b&z=1&z=2");
    rig_close(&rig);
}

/* Most exporters compress when asked. */
static void test_scrape__inflates_gzip(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.gzip = true;
    rig.body = "a 5\n";
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 2));
    expect_last(&rig, "a{instance=\"i\", job=\"j\"}", 5);
    rig_close(&rig);
}

static bool first_is_down(struct rig *rig)
{
    const struct target_list *targets = &rig->scraper->pools.items[0]->targets;

    return targets->count == 1 && targets->items[0]->health == TARGET_DOWN;
}

static void expect_refused(struct rig *rig, struct str body, const char *error)
{
    rig->long_body = body;
    assert_true(rig_until(rig, first_is_down));
    assert_string_equal(rig->scraper->pools.items[0]->targets.items[0]->error, error);
    rig->scraper->pools.items[0]->targets.items[0]->health = TARGET_UNKNOWN;
}

/* Whether a body is unpacked as a whole or as a stream, it is read as Go reads it: members follow each other, a cut one and
 * junk after the end are errors. */
static void test_scrape__reads_gzip_as_go_does(void **state)
{
    struct rig rig;
    struct buf one, both;

    (void)state;
    rig_open(&rig);
    buf_init(&one, 1 << 20);
    buf_init(&both, 1 << 20);
    deflate_encode(DEFLATE_GZIP, STR("a 5\n"), &one);
    buf_add_str(&both, buf_str(&one));
    deflate_encode(DEFLATE_GZIP, STR("b 6\n"), &both);
    rig.packed = true;
    rig.long_body = buf_str(&both);
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 2));
    expect_last(&rig, "a{instance=\"i\", job=\"j\"}", 5);
    expect_last(&rig, "b{instance=\"i\", job=\"j\"}", 6);
    expect_refused(&rig, str_first(buf_str(&one), one.len - 3), "unexpected EOF");
    one.ptr[one.len - 6] ^= 1;
    expect_refused(&rig, buf_str(&one), "gzip: invalid checksum");
    one.ptr[one.len - 6] ^= 1;
    buf_add_str(&one, STR("junk junk junk junk"));
    expect_refused(&rig, buf_str(&one), "gzip: invalid header");
    rig_close(&rig);
    buf_deinit(&one);
    buf_deinit(&both);
}

static void long_body_fill(struct buf *body, int lines)
{
    buf_init(body, (size_t)64 << 20);
    for (int i = 0; i < lines; i++)
        buf_addf(body, "long_metric_name_total{number=\"%d\",path=\"/a/b/c\"} %d\n", i, i);
}

/* More than one turn's worth of parsing: the transfer pauses and nothing is lost. */
static void test_scrape__takes_long_bodies(void **state)
{
    for (int gzip = 0; gzip < 2; gzip++) {
        struct rig rig;
        struct buf body;

        (void)state;
        rig_open(&rig);
        rig.gzip = gzip;
        long_body_fill(&body, 3000);
        rig.long_body = buf_str(&body);
        rig.interval = "3s";
        rig_configure(&rig, "");
        assert_true(rig_scrapes(&rig, 1));
        assert_string_equal(see(&rig).error, "");
        expect_last(&rig, "scrape_samples_scraped{instance=\"i\", job=\"j\"}", 3000);
        assert_int_equal(rig.storage.series.count, 3005);
        rig_close(&rig);
        buf_deinit(&body);
    }
}

/* A series that is no longer told of ends; one that a failed scrape hid ends, too, and comes back.
 */
static void test_scrape__marks_staleness(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.body = "a 1\nb 2\ntimed 3 1000\n";
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 2));
    rig.body = "a 1\n";
    assert_true(rig_scrapes(&rig, 2));
    assert_true(is_stale(&rig, "b{instance=\"i\", job=\"j\"}"));
    assert_false(is_stale(&rig, "timed{instance=\"i\", job=\"j\"}"));
    expect_last(&rig, "a{instance=\"i\", job=\"j\"}", 1);
    rig.status = 500;
    assert_true(rig_scrapes(&rig, 2));
    assert_true(is_stale(&rig, "a{instance=\"i\", job=\"j\"}"));
    expect_last(&rig, "up{instance=\"i\", job=\"j\"}", 0);
    assert_string_equal(see(&rig).error, "server returned HTTP status 500 Internal Server Error");
    size_t before = fake_find(&rig.storage, "a{instance=\"i\", job=\"j\"}")->samples.count;
    assert_true(rig_scrapes(&rig, 2));
    assert_int_equal(fake_find(&rig.storage, "a{instance=\"i\", job=\"j\"}")->samples.count,
                     before);
    rig.status = 200;
    assert_true(rig_scrapes(&rig, 2));
    expect_last(&rig, "a{instance=\"i\", job=\"j\"}", 1);
    assert_int_equal(see(&rig).health, TARGET_UP);
    rig_close(&rig);
}

static bool all_stale(struct rig *rig)
{
    return is_stale(rig, "a{instance=\"i\", job=\"j\"}") &&
           is_stale(rig, "up{instance=\"i\", job=\"j\"}");
}

/* A target that goes gets its markers a while later; one that comes back before goes on. */
static void test_scrape__marks_removed_targets_late(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.body = "a 1\n";
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 2));
    rig_set_groups(&rig, NULL, 0);
    assert_int_equal(see(&rig).count, 0);
    assert_false(is_stale(&rig, "a{instance=\"i\", job=\"j\"}"));
    rig_configure(&rig, "");
    assert_int_equal(rig.storage.open_groups, 1);
    assert_true(rig_scrapes(&rig, 3));
    assert_false(is_stale(&rig, "a{instance=\"i\", job=\"j\"}"));
    rig_set_groups(&rig, NULL, 0);
    assert_true(rig_until(&rig, all_stale));
    assert_int_equal(rig.storage.open_groups, 0);
    rig_close(&rig);
}

/* One bad line drops the whole scrape; its text and number are shown. */
static void test_scrape__fails_on_a_bad_line(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.body = "a 1\nx \n";
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 1));
    assert_string_equal(see(&rig).error, "expected value after metric, got \"\\n\" (\"INVALID\") "
                                         "while parsing: \"x \\n\"");
    assert_int_equal(fake_find(&rig.storage, "a{instance=\"i\", job=\"j\"}")->samples.count, 0);
    expect_last(&rig, "up{instance=\"i\", job=\"j\"}", 0);
    rig_close(&rig);
}

/* As Prometheus reports it, which reads a body before it parses it: the whole length, no new series; and of a transfer that
 * failed nothing, also when its first part was bad already. */
static void test_scrape__reports_a_bad_body(void **state)
{
    static const struct {
        const char *extra, *body, *type, *error;
        double body_bytes, scraped, relabelled;
    } cases[] = {
        {"", "a 1\nb 2\nx \nc 3\n", NULL, "expected value", 15, 2, 2},
        {"", "a 1\nb 2\n", "text/html", "received unsupported Content-Type", 8, 0, 0},
        {"  label_limit: 2\n", "a 1\nb 2\n", NULL, "label_limit exceeded", 8, 1, 0},
        {"  body_size_limit: 12B\n", "a 1\nx \nc 3\nd 4\n", NULL, "body size limit exceeded", -1, 0,
         0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig rig;
        rig_open(&rig);
        rig.body = cases[i].body;
        rig.content_type = cases[i].type ? cases[i].type : rig.content_type;
        char extra[128];
        (void)snprintf(extra, sizeof(extra), "  extra_scrape_metrics: true\n%s", cases[i].extra);
        rig_configure(&rig, extra);
        assert_true(rig_scrapes(&rig, 1));
        assert_true(strstr(see(&rig).error, cases[i].error));
        expect_last(&rig, "scrape_body_size_bytes{instance=\"i\", job=\"j\"}", cases[i].body_bytes);
        expect_last(&rig, "scrape_samples_scraped{instance=\"i\", job=\"j\"}", cases[i].scraped);
        expect_last(&rig, "scrape_samples_post_metric_relabeling{instance=\"i\", job=\"j\"}",
                    cases[i].relabelled);
        expect_last(&rig, "scrape_series_added{instance=\"i\", job=\"j\"}", 0);
        rig_close(&rig);
    }
}

/* Each limit fails the scrape in Prometheus' words. */
static void test_scrape__enforces_limits(void **state)
{
    static const struct {
        const char *extra, *error;
    } cases[] = {
        {"  sample_limit: 2\n", "sample limit exceeded"},
        {"  body_size_limit: 20B\n", "body size limit exceeded"},
        {"  label_limit: 3\n", "label_limit exceeded (metric: b, number of labels: 4, limit: 3)"},
        {"  label_name_length_limit: 8\n",
         "label_name_length_limit exceeded (metric: b, label name: long_name, length: 9, limit: "
         "8)"},
        {"  label_value_length_limit: 9\n",
         "label_value_length_limit exceeded (metric: b, label name: long_name, value: "
         "\"long value\", length: 10, limit: 9)"},
        {"  target_limit: 1\n", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig rig;
        rig_open(&rig);
        rig.body = "b{long_name=\"long value\"} 1\nc 2\nd 3\n";
        rig_configure(&rig, cases[i].extra);
        assert_true(rig_scrapes(&rig, 1));
        assert_string_equal(see(&rig).error, cases[i].error ? cases[i].error : "");
        rig_close(&rig);
    }
}

/* A pool over its target limit fails as a whole, without asking anybody. */
static void test_scrape__enforces_target_limit(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig_configure(&rig, "  - targets: ['127.0.0.1:1']\n  target_limit: 1\n");
    assert_true(rig_scrapes(&rig, 2));
    assert_int_equal(see(&rig).count, 2);
    assert_string_equal(see(&rig).error, "target_limit exceeded (number of targets: 2, limit: 1)");
    assert_int_equal(rig.request_count, 0);
    rig_close(&rig);
}

/* Content-Type decides; only a fallback lets a silent target through. */
static void test_scrape__checks_content_type(void **state)
{
    static const struct {
        const char *type, *extra, *error;
    } cases[] = {
        {"text/html", "",
         "received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol "
         "specified for target"},
        {"text/html", "  fallback_scrape_protocol: PrometheusText0.0.4\n", ""},
        {"TEXT/plain;charset=utf-8", "", ""},
        {"application/openmetrics-text", "", "data does not end with # EOF"},
        {"Application/OpenMetrics-Text; version=0.0.1; charset=utf-8",
         "  fallback_scrape_protocol: PrometheusText0.0.4\n", "data does not end with # EOF"},
        {"text/html", "  fallback_scrape_protocol: OpenMetricsText1.0.0\n",
         "data does not end with # EOF"},
        {"nonsense", "  fallback_scrape_protocol: OpenMetricsText0.0.1\n",
         "data does not end with # EOF"},
        {"text/plain", "  fallback_scrape_protocol: OpenMetricsText1.0.0\n", ""},
        {"application/vnd.google.protobuf", "  fallback_scrape_protocol: PrometheusText0.0.4\n",
         "clientpb: insufficient length of buffer, expected at least 98 bytes, got 4 bytes"},
        {"text/html", "  fallback_scrape_protocol: PrometheusProto\n",
         "clientpb: insufficient length of buffer, expected at least 98 bytes, got 4 bytes"},
        {"nonsense", "",
         "received unsupported Content-Type \"nonsense\" and no fallback_scrape_protocol "
         "specified for target"},
        {"text/plain; version=\"0.0.4", "",
         "cannot parse Content-Type \"text/plain; version=\\\"0.0.4\" and no "
         "fallback_scrape_protocol for target\nmime: invalid media parameter"},
        {"text/plain; a=1; A=2", "",
         "cannot parse Content-Type \"text/plain; a=1; A=2\" and no "
         "fallback_scrape_protocol for target\nmime: duplicate parameter name"},
        {"text/", "",
         "cannot parse Content-Type \"text/\" and no fallback_scrape_protocol for target\n"
         "mime: expected token after slash"},
        {"text/plain, text/html", "",
         "cannot parse Content-Type \"text/plain, text/html\" and no fallback_scrape_protocol for "
         "target\nmime: unexpected content after media subtype"},
        {"foo bar", "",
         "cannot parse Content-Type \"foo bar\" and no fallback_scrape_protocol for target\n"
         "mime: expected slash after first token"},
        {"/x", "",
         "cannot parse Content-Type \"/x\" and no fallback_scrape_protocol for target\n"
         "mime: no media type"},
        {"text/plain ; a=\"b\\\"c\" ; a=\"b\\\"c\";", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig rig;
        rig_open(&rig);
        rig.content_type = cases[i].type;
        rig.body = "a 1\n";
        rig_configure(&rig, cases[i].extra);
        assert_true(rig_scrapes(&rig, 1));
        assert_string_equal(see(&rig).error, cases[i].error);
        rig_close(&rig);
    }
}

/* Weights count the places of scrape_protocols. */
static void test_scrape__asks_for_what_is_configured(void **state)
{
    static const struct {
        const char *protocols, *accept;
    } cases[] = {
        {"[PrometheusProto, OpenMetricsText1.0.0, OpenMetricsText0.0.1, PrometheusText1.0.0, "
         "PrometheusText0.0.4]",
         "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
         "encoding=delimited;q=0.6,"
         "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
         "application/openmetrics-text;version=0.0.1;q=0.4,"
         "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,"
         "*/*;q=0.1\n"},
        {"[OpenMetricsText0.0.1]\n  metric_name_escaping_scheme: dots",
         "Accept: application/openmetrics-text;version=0.0.1;q=0.6,*/*;q=0.5\n"},
        {"[PrometheusText0.0.4, OpenMetricsText1.0.0]\n  metric_name_escaping_scheme: underscores",
         "Accept: text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;"
         "escaping=underscores;q=0.5,*/*;q=0.4\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig rig;
        char extra[512];
        rig_open(&rig);
        snprintf(extra, sizeof(extra), "  scrape_protocols: %s\n", cases[i].protocols);
        rig_configure(&rig, extra);
        assert_true(rig_scrapes(&rig, 1));
        assert_non_null(strstr(rig.last_headers, cases[i].accept));
        rig_close(&rig);
    }
}

/* From the wire to storage: timestamps, bounds, created, units; exemplars wait for their sample. */
static void test_scrape__reads_openmetrics(void **state)
{
    struct scraper_stats stats;
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    rig.body =
        "# TYPE h_seconds histogram\n# UNIT h_seconds seconds\n"
        "h_seconds_bucket{le=\"1\"} 4 # {trace_id=\"x\"} 0.5\nh_seconds_created 1.5\n# EOF\n";
    rig.storage.exemplars_max = 10;
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 2));
    assert_string_equal(see(&rig).error, "");
    expect_last(&rig, "h_seconds_bucket{instance=\"i\", job=\"j\", le=\"1.0\"}", 4);
    expect_exemplars(&rig, "h_seconds_bucket{instance=\"i\", job=\"j\", le=\"1.0\"}",
                     "{trace_id=\"x\"} 0.5 @");
    expect_last(&rig, "h_seconds_created{instance=\"i\", job=\"j\"}", 1.5);
    scraper_get_stats(rig.scraper, &stats);
    assert_int_equal(view_pool(&rig).metadata_entries, 1);
    assert_int_equal(stats.exemplars_ignored, 0);
    rig_close(&rig);
}

static void proto_body(struct rig *rig, struct buf *bytes, const char *text)
{
    buf_init(bytes, 1 << 20);
    proto_text_encode(bytes, str_of(text), false);
    rig->long_body = buf_str(bytes);
    rig->content_type = "application/vnd.google.protobuf; "
                        "proto=io.prometheus.client.MetricFamily; encoding=delimited";
}

/* From protobuf to storage: native histograms, exemplars in order of time, what goes stale. */
static void test_scrape__reads_protobuf(void **state)
{
    struct buf first, second;
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.storage.exemplars_max = 10;
    proto_body(
        &rig, &first,
        "{ 1 \"h\" 3 u 4 4 { 1 { 1 \"a\" 2 \"b\" } 7 { 1 u 3 2 d 5 5 z 0 12 { 1 z 1 2 u 2 } "
        "13 pz 1 1 ; 16 { 2 d 2 3 { 1 u 9 } } 16 { 1 { 1 \"t\" 2 \"x\" } 2 d 1 3 { 1 u 8 } } } } } "
        "{ 1 \"g\" 3 u 1 4 { 2 { 1 d 7 } } }");
    rig_configure(&rig, "  scrape_native_histograms: true\n");
    assert_true(rig_scrapes(&rig, 2));
    assert_string_equal(see(&rig).error, "");
    expect_histogram(&rig, "h{a=\"b\", instance=\"i\", job=\"j\"}",
                     "{count:3, sum:5, (1,2]:1, (2,4]:2}");
    expect_last(&rig, "g{instance=\"i\", job=\"j\"}", 7);
    expect_exemplars(&rig, "h{a=\"b\", instance=\"i\", job=\"j\"}",
                     "{t=\"x\"} 1 @8000;{} 2 @9000;");
    expect_last(&rig, "scrape_samples_scraped{instance=\"i\", job=\"j\"}", 2);
    proto_body(&rig, &second, "{ 1 \"g\" 3 u 1 4 { 2 { 1 d 8 } } }");
    assert_true(rig_scrapes(&rig, 2));
    assert_true(is_stale(&rig, "h{a=\"b\", instance=\"i\", job=\"j\"}"));
    expect_last(&rig, "g{instance=\"i\", job=\"j\"}", 8);
    rig_close(&rig);
    buf_deinit(&first);
    buf_deinit(&second);
}

/* Too many buckets: a lower resolution; where none is low enough the scrape fails. */
static void test_scrape__limits_buckets(void **state)
{
    static const struct {
        const char *extra, *error, *want;
    } cases[] = {
        {"  scrape_native_histograms: true\n  native_histogram_bucket_limit: 2\n", "",
         "{count:4, sum:5, (1,4]:3, (4,16]:1}"},
        {"  scrape_native_histograms: true\n  native_histogram_min_bucket_factor: 2\n", "",
         "{count:4, sum:5, (1,2]:1, (2,4]:2, (4,8]:1}"},
        {"  scrape_native_histograms: true\n  native_histogram_min_bucket_factor: 2.1\n", "",
         "{count:4, sum:5, (1,4]:3, (4,16]:1}"},
        {"  scrape_native_histograms: true\n  native_histogram_min_bucket_factor: 4\n", "",
         "{count:4, sum:5, (1,4]:3, (4,16]:1}"},
        {"  convert_classic_histograms_to_nhcb: true\n  native_histogram_bucket_limit: 1\n",
         "histogram bucket limit exceeded", NULL},
        {"  convert_classic_histograms_to_nhcb: true\n  native_histogram_bucket_limit: 2\n", "",
         "{count:4, sum:5, [-Inf,1]:1, (1,+Inf]:3}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf bytes;
        struct rig rig;
        rig_open(&rig);
        proto_body(&rig, &bytes,
                   "{ 1 \"h\" 3 u 4 4 { 7 { 1 u 4 2 d 5 5 z 0 12 { 1 z 1 2 u 3 } 13 pz 1 1 -1 ; "
                   "3 { 1 u 1 2 d 1 } } } }");
        rig_configure(&rig, cases[i].extra);
        assert_true(rig_scrapes(&rig, 1));
        assert_string_equal(see(&rig).error, cases[i].error);
        if (cases[i].want)
            expect_histogram(&rig, "h{instance=\"i\", job=\"j\"}", cases[i].want);
        struct scraper_stats stats;
        scraper_get_stats(rig.scraper, &stats);
        assert_int_equal(stats.exceeded_bucket_limit, cases[i].want ? 0 : 1);
        rig_close(&rig);
        buf_deinit(&bytes);
    }
}

/* A text's buckets become one histogram; a label of the target switches it off again. */
static void test_scrape__converts_classic_histograms(void **state)
{
    struct rig rig;

    (void)state;
    for (int off = 0; off < 2; off++) {
        rig_open(&rig);
        rig.body = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\n"
                   "h_count 3\n# TYPE c counter\nc 1\n";
        rig_configure(&rig, off ? "  convert_classic_histograms_to_nhcb: true\n"
                                  "  relabel_configs: [{target_label: "
                                  "__convert_classic_histograms_to_nhcb__, replacement: 'false'}]\n"
                                : "  convert_classic_histograms_to_nhcb: true\n");
        assert_true(rig_scrapes(&rig, 2));
        assert_string_equal(see(&rig).error, "");
        expect_last(&rig, "c{instance=\"i\", job=\"j\"}", 1);
        if (off)
            expect_last(&rig, "h_count{instance=\"i\", job=\"j\"}", 3);
        else
            expect_histogram(&rig, "h{instance=\"i\", job=\"j\"}",
                             "{count:3, sum:4, [-Inf,1]:1, (1,+Inf]:2}");
        assert_true(!fake_find(&rig.storage, "h_count{instance=\"i\", job=\"j\"}") == !off);
        rig_close(&rig);
    }
}

/* What one format took must not let the other pass: the cache begins anew. */
static void test_scrape__format_may_change(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.body = "a{ b=\"c\" } 1\n# EOF\n";
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 2));
    assert_string_equal(see(&rig).error, "");
    rig.content_type = "application/openmetrics-text";
    assert_true(rig_scrapes(&rig, 2));
    assert_string_equal(see(&rig).error, "expected label name, got \" \" (\"INVALID\") while "
                                         "parsing: \"a{ \"");
    rig.body = "a{b=\"c\"} 2\n# EOF\n";
    assert_true(rig_scrapes(&rig, 2));
    assert_string_equal(see(&rig).error, "");
    expect_last(&rig, "a{b=\"c\", instance=\"i\", job=\"j\"}", 2);
    rig_close(&rig);
}

/* A scraped label that the target has, too. */
static void test_scrape__resolves_label_conflicts(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.body = "a{job=\"own\",exported_job=\"x\",instance=\"\"} 1\n";
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 1));
    expect_last(
        &rig, "a{exported_exported_job=\"own\", exported_job=\"x\", instance=\"i\", job=\"j\"}", 1);
    rig_configure(&rig, "  honor_labels: true\n");
    assert_true(rig_scrapes(&rig, 2));
    expect_last(&rig, "a{exported_job=\"x\", job=\"own\"}", 1);
    assert_true(is_stale(&rig, "a{exported_exported_job=\"own\", exported_job=\"x\", "
                               "instance=\"i\", job=\"j\"}"));
    rig_close(&rig);
}

/* Dropped lines are counted, not stored; what relabelling joins is one series and no staleness. */
static void test_scrape__relabels_metrics(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.body = "a{x=\"1\"} 1\ndrop_me 2\n";
    rig_configure(&rig, "  metric_relabel_configs:\n"
                        "  - {source_labels: [__name__], regex: drop_.*, action: drop}\n"
                        "  - {regex: x, action: labeldrop}\n");
    assert_true(rig_scrapes(&rig, 2));
    expect_last(&rig, "a{instance=\"i\", job=\"j\"}", 1);
    expect_last(&rig, "scrape_samples_scraped{instance=\"i\", job=\"j\"}", 2);
    expect_last(&rig, "scrape_samples_post_metric_relabeling{instance=\"i\", job=\"j\"}", 1);
    assert_null(fake_find(&rig.storage, "drop_me{instance=\"i\", job=\"j\"}"));
    rig.body = "a{x=\"2\"} 3\n";
    assert_true(rig_scrapes(&rig, 2));
    expect_last(&rig, "a{instance=\"i\", job=\"j\"}", 3);
    const struct fake_series *series = fake_find(&rig.storage, "a{instance=\"i\", job=\"j\"}");
    for (size_t i = 0; i < series->samples.count; i++)
        assert_false(sample_is_stale(series->samples.items[i].value));
    rig_close(&rig);
}

/* The same line twice: the first counts. Own timestamps may repeat. */
static void test_scrape__drops_duplicates(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.body = "a 1\na 1\nb 1 1000\nb 2 2000\n";
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 1));
    expect_last(&rig, "a{instance=\"i\", job=\"j\"}", 1);
    assert_int_equal(rig.scraper->stats.samples_duplicate, 1);
    const struct fake_series *series = fake_find(&rig.storage, "b{instance=\"i\", job=\"j\"}");
    assert_int_equal(series->samples.count, 2);
    assert_int_equal(series->samples.items[1].time_ms, 2000);
    rig_close(&rig);
}

/* honor_timestamps: false takes the scrape's time and follows staleness. */
static void test_scrape__may_ignore_timestamps(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.body = "a 1 1000\n";
    rig_configure(&rig, "  honor_timestamps: false\n");
    assert_true(rig_scrapes(&rig, 1));
    const struct fake_series *series = fake_find(&rig.storage, "a{instance=\"i\", job=\"j\"}");
    assert_true(series->samples.items[0].time_ms > 1000000);
    rig.body = "";
    assert_true(rig_scrapes(&rig, 2));
    assert_true(is_stale(&rig, "a{instance=\"i\", job=\"j\"}"));
    rig_close(&rig);
}

/* A target that does not answer in time is down, in Go's words. */
static void test_scrape__times_out(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.silent = true;
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 1));
    assert_non_null(strstr(see(&rig).error, "context deadline exceeded"));
    expect_last(&rig, "up{instance=\"i\", job=\"j\"}", 0);
    rig_close(&rig);
}

/* A reload that changes nothing leaves everything as it is. */
static void test_scrape__keeps_targets_over_reloads(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.body = "a 1\n";
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 1));
    const struct target *target = rig.scraper->pools.items[0]->targets.items[0];
    rig_configure(&rig, "");
    assert_ptr_equal(rig.scraper->pools.items[0]->targets.items[0], target);
    assert_int_equal(target->cache.entries.items[0].len, 1);
    rig_configure(&rig, "  honor_labels: true\n");
    assert_ptr_equal(rig.scraper->pools.items[0]->targets.items[0], target);
    assert_true(rig_scrapes(&rig, 2));
    expect_last(&rig, "a{instance=\"i\", job=\"j\"}", 1);
    const struct fake_series *series = fake_find(&rig.storage, "a{instance=\"i\", job=\"j\"}");
    for (size_t i = 0; i < series->samples.count; i++)
        assert_false(sample_is_stale(series->samples.items[i].value));
    rig_close(&rig);
}

/* New series beyond the limit are refused, old ones go on. */
static void test_scrape__goes_on_when_series_are_refused(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.body = "a 1\n";
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 1));
    rig.storage.series_max = rig.storage.series.count;
    rig.body = "a 2\nnew 3\n";
    assert_true(rig_scrapes(&rig, 2));
    expect_last(&rig, "a{instance=\"i\", job=\"j\"}", 2);
    expect_last(&rig, "up{instance=\"i\", job=\"j\"}", 1);
    assert_null(fake_find(&rig.storage, "new{instance=\"i\", job=\"j\"}"));
    rig_close(&rig);
}

static bool is_asked(struct rig *rig)
{
    return rig->held != NULL;
}

/* A target that goes while it is being scraped: the answer, if it comes, is nobody's. */
static void test_scrape__cancels_what_is_in_flight(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.interval = "2s";
    rig.silent = true;
    rig_configure(&rig, "");
    assert_true(rig_until(&rig, is_asked));
    rig_set_groups(&rig, NULL, 0);
    rig_configure(&rig, "");
    assert_null(rig.scraper->pools.items[0]->targets.items[0]->fetch);
    assert_int_equal(rig.scraper->stats.scrapes, 0);
    rig_close(&rig);
}

/* A shutdown waits for what is in flight to be called off, and writes no markers. */
static void test_scrape__stops_in_flight_without_markers(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.body = "a 1\n";
    rig_configure(&rig, "");
    assert_true(rig_scrapes(&rig, 1));
    rig.silent = true;
    assert_true(rig_until(&rig, is_asked));
    size_t appends = rig.storage.append_count;
    rig.scraper->stats.scrapes = 0;
    scraper_stop(rig.scraper, rig_on_stopped, &rig);
    assert_true(rig_until(&rig, rig_is_stopped));
    assert_int_equal(rig.storage.append_count, appends);
    assert_int_equal(rig.scraper->stats.scrapes, 0);
    rig_close(&rig);
}

/* Targets that the rules drop are kept for the eye, up to a limit; pools are listed by name. */
static void test_scrape__lists_dropped_targets(void **state)
{
    struct rig rig;
    struct seen_target seen = {0};

    (void)state;
    rig_open(&rig);
    rig_configure(&rig, "  - targets: [x1, x2, x3]\n  keep_dropped_targets: 2\n"
                        "  relabel_configs:\n"
                        "  - {source_labels: [__address__], regex: 'x.*', action: drop}\n");
    scraper_each_dropped(rig.scraper, STR("j"), on_view, &seen);
    assert_int_equal(seen.count, 2);
    assert_int_equal(see(&rig).count, 1);
    assert_int_equal(rig.scraper->pools.items[0]->dropped_count, 3);
    assert_true(scraper_has_pool(rig.scraper, STR("j")));
    assert_false(scraper_has_pool(rig.scraper, STR("k")));
    rig_close(&rig);
}

/* --- before the storage is open --- */

static const struct fetch *first_fetch(struct rig *rig)
{
    return rig->scraper->pools.items[0]->targets.items[0]->fetch;
}

static size_t held_wanted;

static bool is_held(struct rig *rig)
{
    return rig->scraper->held_bytes > held_wanted && !rig->held && rig->request_count > 0;
}

/* When the server answers at once, what is held has come some turns later. */
static bool has_settled(struct rig *rig)
{
    static size_t turns;

    turns = is_held(rig) ? turns + 1 : 0;
    return turns > 10;
}

static int64_t first_time_ms(struct rig *rig, const char *series)
{
    const struct fake_series *found = fake_find(&rig->storage, series);

    if (!found || found->samples.count == 0)
        fail_msg("no %s", series);
    return found->samples.items[0].time_ms;
}

/* After a kill the log is read for seconds: what targets said meanwhile is stored with its own time
 * once it can be, and once only; then they are scraped on. */
static void test_scrape__holds_answers_until_there_is_a_storage(void **state)
{
    for (int gzip = 0; gzip < 2; gzip++) {
        struct rig rig;
        struct buf body;

        (void)state;
        rig_open_early(&rig);
        rig.gzip = gzip;
        long_body_fill(&body, 3000); /* More than a turn's worth. */
        rig.long_body = buf_str(&body);
        held_wanted = 8000;
        rig_configure(&rig, "");
        assert_true(rig_until(&rig, has_settled));
        assert_non_null(first_fetch(&rig));
        assert_int_equal(rig.scraper->stats.scrapes, 0);
        int64_t before_ms = clock_wall_ms();
        rig.long_body = STR_EMPTY;
        rig.body = "new 1\n";
        for (int i = 0; i < 30; i++) { /* A later time: none of these is another scrape. */
            uv_run(&rig.loop, UV_RUN_NOWAIT);
            uv_sleep(10);
        }
        assert_int_equal(rig.request_count, 1);
        rig_attach(&rig);
        assert_true(rig_scrapes(&rig, 1));
        assert_true(first_time_ms(&rig, "up{instance=\"i\", job=\"j\"}") <= before_ms);
        assert_int_equal(fake_find(&rig.storage, "up{instance=\"i\", job=\"j\"}")->samples.count,
                         1);
        expect_last(&rig, "up{instance=\"i\", job=\"j\"}", 1);
        expect_last(&rig, "scrape_samples_scraped{instance=\"i\", job=\"j\"}", 3000);
        const struct fake_series *took =
            fake_find(&rig.storage, "scrape_duration_seconds{instance=\"i\", job=\"j\"}");
        assert_true(took->samples.items[0].value < 0.3 || gzip);
        assert_int_equal(rig.scraper->held_bytes, 0);
        assert_true(rig_scrapes(&rig, 1));
        expect_last(&rig, "new{instance=\"i\", job=\"j\"}", 1);
        rig_close(&rig);
        buf_deinit(&body);
    }
}

/* A target that is down while nothing can be stored was down then. */
static void test_scrape__holds_failures_until_there_is_a_storage(void **state)
{
    struct rig rig;

    (void)state;
    rig_open_early(&rig);
    rig.status = 503;
    held_wanted = 0;
    rig_configure(&rig, "");
    assert_true(rig_until(&rig, has_settled));
    int64_t before_ms = clock_wall_ms();
    rig.status = 200;
    rig_attach(&rig);
    assert_true(rig_scrapes(&rig, 1));
    assert_true(first_time_ms(&rig, "up{instance=\"i\", job=\"j\"}") <= before_ms);
    expect_last(&rig, "up{instance=\"i\", job=\"j\"}", 0);
    assert_non_null(strstr(see(&rig).error, "503"));
    assert_true(rig_scrapes(&rig, 1));
    expect_last(&rig, "up{instance=\"i\", job=\"j\"}", 1);
    rig_close(&rig);
}

/* An answer that is on its way when the storage comes goes on as any other. */
static void test_scrape__takes_the_storage_in_the_middle(void **state)
{
    struct rig rig;
    struct buf body;

    (void)state;
    rig_open_early(&rig);
    long_body_fill(&body, 1000);
    for (int i = 0; i < 100000; i++)
        buf_addf(&body, "# So many lines that one read does not bring them all: %d\n", i);
    rig.long_body = buf_str(&body);
    rig.interval = "20s";
    held_wanted = 20000;
    rig_configure(&rig, "");
    rig.scraper->pools.items[0]->targets.items[0]->due_ms = 0;
    schedule_rebuild(rig.scraper);
    assert_true(rig_until(&rig, is_held));
    rig_attach(&rig);
    assert_true(rig_scrapes(&rig, 1));
    assert_string_equal(see(&rig).error, "");
    expect_last(&rig, "scrape_samples_scraped{instance=\"i\", job=\"j\"}", 1000);
    rig_close(&rig);
    buf_deinit(&body);
}

/* More than there is room for is no scrape at all, and nothing is left of it. */
static void test_scrape__holds_only_so_much(void **state)
{
    struct rig rig;

    (void)state;
    rig_open_early(&rig);
    rig.body = "a 1\n";
    rig.scraper->held_bytes = (size_t)64 << 20;
    rig_configure(&rig, "");
    log_setup((enum log_level)(LOG_ERROR + 1), LOG_LOGFMT);
    while (!rig.scraper->held_full || first_fetch(&rig))
        uv_run(&rig.loop, UV_RUN_ONCE);
    log_setup(LOG_ERROR, LOG_LOGFMT);
    assert_int_equal(rig.scraper->held_bytes, (size_t)64 << 20);
    size_t asked = rig.request_count;
    for (int i = 0; i < 30; i++) {
        uv_run(&rig.loop, UV_RUN_NOWAIT);
        uv_sleep(10);
    }
    assert_int_equal(rig.request_count, asked);
    rig_attach(&rig);
    assert_null(fake_find(&rig.storage, "up{instance=\"i\", job=\"j\"}"));
    assert_true(rig_scrapes(&rig, 1));
    expect_last(&rig, "a{instance=\"i\", job=\"j\"}", 1);
    rig_close(&rig);
}

/* A stop, a target that goes: what is held goes with them, storage or not. */
static void test_scrape__lets_go_of_what_is_held(void **state)
{
    struct rig rig;

    (void)state;
    rig_open_early(&rig);
    rig.body = "a 1\n";
    held_wanted = 0;
    rig_configure(&rig, "");
    assert_true(rig_until(&rig, has_settled));
    scraper_set_groups(rig.scraper, STR("j"), NULL, 0);
    assert_int_equal(rig.scraper->held_bytes, 0);
    rig.request_count = 0;
    rig_configure(&rig, "");
    assert_true(rig_until(&rig, has_settled));
    scraper_set_groups(rig.scraper, STR("j"), NULL, 0); /* It retires, and the storage comes. */
    rig_attach(&rig);
    rig_close(&rig);

    rig_open_early(&rig);
    rig_configure(&rig, "");
    assert_true(rig_until(&rig, has_settled));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scrape__stores_samples_and_report),
        cmocka_unit_test(test_scrape__sends_the_headers),
        cmocka_unit_test(test_scrape__inflates_gzip),
        cmocka_unit_test(test_scrape__reads_gzip_as_go_does),
        cmocka_unit_test(test_scrape__takes_long_bodies),
        cmocka_unit_test(test_scrape__marks_staleness),
        cmocka_unit_test(test_scrape__marks_removed_targets_late),
        cmocka_unit_test(test_scrape__fails_on_a_bad_line),
        cmocka_unit_test(test_scrape__reports_a_bad_body),
        cmocka_unit_test(test_scrape__enforces_limits),
        cmocka_unit_test(test_scrape__enforces_target_limit),
        cmocka_unit_test(test_scrape__checks_content_type),
        cmocka_unit_test(test_scrape__asks_for_what_is_configured),
        cmocka_unit_test(test_scrape__reads_openmetrics),
        cmocka_unit_test(test_scrape__reads_protobuf),
        cmocka_unit_test(test_scrape__limits_buckets),
        cmocka_unit_test(test_scrape__converts_classic_histograms),
        cmocka_unit_test(test_scrape__format_may_change),
        cmocka_unit_test(test_scrape__resolves_label_conflicts),
        cmocka_unit_test(test_scrape__relabels_metrics),
        cmocka_unit_test(test_scrape__drops_duplicates),
        cmocka_unit_test(test_scrape__may_ignore_timestamps),
        cmocka_unit_test(test_scrape__times_out),
        cmocka_unit_test(test_scrape__keeps_targets_over_reloads),
        cmocka_unit_test(test_scrape__goes_on_when_series_are_refused),
        cmocka_unit_test(test_scrape__cancels_what_is_in_flight),
        cmocka_unit_test(test_scrape__stops_in_flight_without_markers),
        cmocka_unit_test(test_scrape__lists_dropped_targets),
        cmocka_unit_test(test_scrape__holds_answers_until_there_is_a_storage),
        cmocka_unit_test(test_scrape__holds_failures_until_there_is_a_storage),
        cmocka_unit_test(test_scrape__takes_the_storage_in_the_middle),
        cmocka_unit_test(test_scrape__holds_only_so_much),
        cmocka_unit_test(test_scrape__lets_go_of_what_is_held),
    };

    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
