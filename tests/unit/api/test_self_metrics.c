/* self_metrics: a scraper must be able to read all of it, and the alerts must find their names. */
#include "base/number.h"
#include "fixture.h"

/* The family of a sample's name: without what histograms and summaries put behind it. */
static bool belongs_to(struct str name, struct str family)
{
    if (!str_starts(name, family))
        return false;
    struct str rest = str_after(name, family.len);
    return rest.len == 0 || str_eq(rest, STR("_sum")) || str_eq(rest, STR("_count")) ||
           str_eq(rest, STR("_bucket"));
}

/* Every line: HELP then TYPE of a new family, then samples of that family only, each a number. No
 * family comes twice. */
static void test_serve_metrics__writes_valid_text(void **state)
{
    (void)state;
    static char seen[1 << 16];
    size_t families = 0, samples = 0;
    struct str family = STR_EMPTY;

    get("/api/v1/query?query=up");
    get("/metrics");
    get("/metrics");
    assert_int_equal(reply.status, 200);
    assert_has(reply.head, "Content-Type: text/plain; version=0.0.4; charset=utf-8");
    seen[0] = '\0';
    struct str body = str_of(reply.body);
    assert_true(body.len > 0 && body.ptr[body.len - 1] == '\n');
    body.len--;
    for (struct str rest = body; rest.ptr;) {
        struct str line = str_cut(rest, '\n', &rest), after;
        if (str_starts(line, STR("# HELP "))) {
            family = str_cut(str_after(line, 7), ' ', &after);
            char key[256];
            snprintf(key, sizeof(key), "\n" STR_FMT "\n", STR_ARG(family));
            assert_null(strstr(seen, key));
            assert_true(strlen(seen) + strlen(key) < sizeof(seen));
            memcpy(seen + strlen(seen), key, strlen(key) + 1);
            assert_true(after.len > 0);
            families++;
        } else if (str_starts(line, STR("# TYPE "))) {
            assert_true(str_eq(str_cut(str_after(line, 7), ' ', &after), family));
            assert_true(str_eq(after, STR("gauge")) || str_eq(after, STR("counter")) ||
                        str_eq(after, STR("histogram")) || str_eq(after, STR("summary")));
        } else {
            size_t name_len = str_find_char(line, '{') < str_find_char(line, ' ')
                                  ? str_find_char(line, '{')
                                  : str_find_char(line, ' ');
            double value;
            size_t blank = line.len;
            while (blank > 0 && line.ptr[blank - 1] != ' ')
                blank--;
            assert_true(belongs_to(str_first(line, name_len), family));
            assert_true(number_parse(str_after(line, blank), &value));
            samples++;
        }
    }
    assert_true(families > 60);
    assert_true(samples > families);
}

static void test_serve_metrics__has_what_dashboards_read(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "\nprometheus_ready 1\n",
        "\nprometheus_config_last_reload_successful 1\n",
        "\nprometheus_config_last_reload_success_timestamp_seconds 1.7e+09\n",
        "prometheus_build_info{branch=\"\",goarch=\"\",goos=\"linux\",goversion=\"\",revision="
        "\"narthex-0.1.0\",tags=\"\","
        "version=\"3.14.0\"} 1\n",
        "\nprometheus_tsdb_head_series 3\n",
        "\nprometheus_tsdb_head_samples_appended_total{type=\"float\"} 1e+06\n",
        "\nprometheus_tsdb_compactions_failed_total 0\n",
        "\nprometheus_engine_queries_concurrent_max 20\n",
        "\nprometheus_engine_queries_total 1\n",
        "\nprometheus_engine_query_samples_total 7\n",
        "prometheus_engine_query_duration_seconds_count{slice=\"inner_eval\"} 1\n",
        "\nprometheus_target_interval_length_seconds_sum{interval=\"1m30s\"} 30.25\n",
        "\nprometheus_target_interval_length_seconds_count{interval=\"500ms\"} 2\n",
        "\nprometheus_target_interval_length_seconds{interval=\"1m30s\",quantile=\"0.01\"} ",
        "\nprometheus_target_interval_length_histogram_seconds_bucket{interval=\"1m30s\",le=\"10\"}"
        " 1\n",
        "\nprometheus_target_sync_length_seconds_sum{scrape_job=\"node \\\"x\\\"\"} 30.25\n",
        "\nprometheus_target_sync_length_histogram_seconds_bucket{scrape_job=\"node "
        "\\\"x\\\"\",le=\"+Inf\"} 2\n",
        "\nprometheus_target_scrape_pool_target_limit{scrape_job=\"node \\\"x\\\"\"} 30\n",
        "\nprometheus_target_scrape_pool_sync_total{scrape_job=\"node \\\"x\\\"\"} 4\n",
        "\nprometheus_target_sync_failed_total{scrape_job=\"node \\\"x\\\"\"} 2\n",
        "\nprometheus_target_metadata_cache_bytes{scrape_job=\"node \\\"x\\\"\"} 600\n",
        "\nprometheus_target_scrape_duration_seconds_count 8\n",
        "\nprometheus_sd_refresh_failures_total{config=\"a\",mechanism=\"http\"} 1\n",
        "\nprometheus_sd_refresh_duration_seconds_count{config=\"b\",mechanism=\"http\"} 2\n",
        "\nprometheus_sd_refresh_duration_histogram_seconds_bucket{mechanism=\"http\",le=\"1\"} "
        "2\n",
        "\nprometheus_sd_file_mtime_seconds{filename=\"/etc/a\\\\b.json\"} 1.5\n",
        "\nprometheus_sd_file_scan_duration_seconds_count 0\n",
        "\nprometheus_http_response_size_bytes_bucket{handler=\"/api/v1/query\",le=\"1000\"} 3\n",
        "\npromhttp_metric_handler_requests_total{code=\"200\"} 1\n",
        "\nprometheus_engine_query_duration_histogram_seconds_count{slice=\"queue_time\"} 1\n",
        "prometheus_target_scrape_pool_targets{scrape_job=\"node \\\"x\\\"\"} 1\n",
        "prometheus_http_requests_total{code=\"200\",handler=\"/api/v1/query\"} 1\n",
        "prometheus_http_requests_total{code=\"200\",handler=\"/-/ready\"} 0\n",
        "prometheus_http_requests_total{code=\"400\",handler=\"/api/v1/query\"} 2\n",
        ("prometheus_http_request_duration_seconds_bucket{handler=\"/api/v1/query\",le=\"+Inf\"} "
         "3\n"),
        "prometheus_http_request_duration_seconds_count{handler=\"/api/v1/query\"} 3\n",
        "\nprometheus_tsdb_retention_limit_seconds 1.296e+06\n",
        "\nprocess_start_time_seconds 1.7e+09\n",
    };
    fake.target_count = fake.dropped_from = 1;
    get("/api/v1/query?query=up");
    get("/api/v1/query");
    get("/api/v1/query?query=up&limit=x");
    get("/metrics");
    get("/metrics");
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        assert_has(reply.body, lines[i]);
}

/* The same as JSON, family by family; a pattern is of whole names. */
static void test_serve_status_self_metrics__says_the_same_as_json(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "{\"name\":\"prometheus_ready\",\"help\":\"Whether Prometheus startup was fully completed "
        "and the server is ready for "
        "normal operation.\",\"type\":\"GAUGE\",\"metric\":[{\"gauge\":{\"value\":1}}]}",
        "\"type\":\"COUNTER\",\"metric\":[{\"label\":[{\"name\":\"scrape_job\",\"value\":\"node "
        "\\\"x\\\"\"}],\"counter\":"
        "{\"value\":2,\"createdTimestamp\":\"2023-11-14T22:13:20Z\"}}]}",
        "{\"label\":[{\"name\":\"interval\",\"value\":\"1m30s\"}],\"histogram\":{\"sampleCount\":"
        "\"2\",\"sampleSum\":30.25,\"bucket\":["
        "{\"cumulativeCount\":\"0\",\"upperBound\":0.01},",
        ("\"summary\":{\"sampleCount\":\"0\",\"sampleSum\":0,\"quantile\":[{\"quantile\":0.5,"
         "\"value\":\"NaN\"},"),
        "{\"name\":\"filename\",\"value\":\"/etc/a\\\\b.json\"}",
    };
    fake.target_count = fake.dropped_from = 1;
    get("/api/v1/status/self_metrics");
    assert_int_equal(reply.status, 200);
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        assert_has(reply.body, parts[i]);
    get("/api/v1/status/self_metrics?metric_name_pattern=prometheus_rea.*");
    assert_has(reply.body, "{\"status\":\"success\",\"data\":[{\"name\":\"prometheus_ready\",");
    assert_null(strstr(reply.body, "prometheus_tsdb"));
    get("/api/v1/status/self_metrics?metric_name_pattern=ready");
    assert_reply(200, "{\"status\":\"success\",\"data\":[]}");
    get("/api/v1/status/self_metrics?metric_name_pattern=(");
    assert_int_equal(reply.status, 400);
    assert_has(reply.body, "\"error\":\"invalid metric_name_pattern: error parsing regexp: missing "
                           "closing ): `^(?:()$`");
}

/* Figures of the kernel: there is no right value, but zero is wrong. */
static void test_serve_metrics__reads_the_process(void **state)
{
    (void)state;
    get("/metrics");
    assert_null(strstr(reply.body, "\nprocess_resident_memory_bytes 0\n"));
    assert_null(strstr(reply.body, "\nprocess_virtual_memory_bytes 0\n"));
    assert_null(strstr(reply.body, "\nprocess_open_fds 0\n"));
    assert_null(strstr(reply.body, "\nnarthex_process_resident_anonymous_bytes 0\n"));
    assert_null(strstr(reply.body, "\nnarthex_threads 0\n"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    fixture_use_all();
    const struct CMUnitTest tests[] = {
        TEST(test_serve_metrics__writes_valid_text),
        TEST(test_serve_metrics__has_what_dashboards_read),
        TEST(test_serve_status_self_metrics__says_the_same_as_json),
        TEST(test_serve_metrics__reads_the_process),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
