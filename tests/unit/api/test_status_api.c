/* status_api, admin_api, write_api and the pages of the server itself. */
#include "fixture.h"

#define OK(data) "{\"status\":\"success\",\"data\":" data "}"

static void test_serve_status__answers_in_shape(void **state)
{
    (void)state;
    get("/api/v1/status/buildinfo");
    assert_reply(200, OK("{\"version\":\"3.14.0\",\"revision\":\"narthex-0.1.0\",\"branch\":\"\","
                         "\"buildUser\":\"\","
                         "\"buildDate\":\"\",\"goVersion\":\"\"}"));
    get("/api/v1/status/config");
    assert_reply(200, OK("{\"yaml\":\"global:\\n  x: \\u003csecret\\u003e\\n\"}"));
    get("/api/v1/status/flags");
    assert_reply(200, OK("{\"web.page-title\":\"\\u003cb\\u003e\"}"));
    get("/api/v1/status/tsdb");
    assert_reply(
        200,
        OK("{\"headStats\":{\"numSeries\":3,\"numLabelPairs\":4,\"chunkCount\":5,\"minTime\":1000,"
           "\"maxTime\":2000},\"seriesCountByMetricName\":[{\"name\":\"u\\u003cp\",\"value\":3}],"
           "\"labelValueCountByLabelName\":[],\"memoryInBytesByLabelName\":[],"
           "\"seriesCountByLabelValuePair\":[]}"));
    assert_int_equal(fake.limit_seen, 10);
    get("/api/v1/status/tsdb?limit=10000");
    assert_int_equal(fake.limit_seen, 10000);
    get("/version");
    assert_has(reply.body, "{\"version\":\"3.14.0\",");
}

static void test_serve_status_tsdb__refuses_bad_limits(void **state)
{
    (void)state;
    get("/api/v1/status/tsdb?limit=0");
    assert_reply(400, "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"limit must be "
                      "a positive number\"}");
    get("/api/v1/status/tsdb?limit=10001");
    assert_reply(400, "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"limit must not "
                      "exceed 10000\"}");
}

/* Each limit that there is, and nothing of the others. */
static void test_serve_status_runtimeinfo__tells_retention_and_reloads(void **state)
{
    (void)state;
    get("/api/v1/status/runtimeinfo");
    assert_has(
        reply.body,
        "{\"status\":\"success\",\"data\":{\"startTime\":\"2023-11-14T22:13:20Z\",\"CWD\":\"/");
    assert_has(reply.body,
               "\"reloadConfigSuccess\":true,\"lastConfigTime\":\"2023-11-14T22:13:20Z\","
               "\"corruptionCount\":0,\"goroutineCount\":");
    assert_has(reply.body, "\"GOGC\":\"\",\"GODEBUG\":\"\",\"storageRetention\":\"15d\"}}");
    fixture.config.retention_ms = 3600000;
    fixture.config.retention_bytes = UINT64_C(10) << 30;
    fixture.config.retention_percentage = 80;
    api_set_reload_failed(fixture.api);
    get("/api/v1/status/runtimeinfo");
    assert_has(reply.body, "\"reloadConfigSuccess\":false");
    assert_has(reply.body, "\"storageRetention\":\"1h or 10GiB or 80%\"");
}

static void test_serve_notifications__tells_of_a_failed_reload(void **state)
{
    (void)state;
    get("/api/v1/notifications");
    assert_reply(200, OK("[]"));
    api_set_reload_failed(fixture.api);
    get("/api/v1/notifications");
    assert_has(reply.body, "[{\"text\":\"Configuration reload has failed.\",\"date\":\"");
    api_set_config(fixture.api, &fixture.config, 1);
    get("/api/v1/notifications");
    assert_reply(200, OK("[]"));
    get("/api/v1/features");
    assert_has(reply.body, "{\"api\":{\"admin\":false,");
    assert_has(reply.body, "\"promql\":{\"anchored\":false,");
}

static void test_serve_reload__needs_its_flag_and_method(void **state)
{
    (void)state;
    ask("POST", "/-/reload", NULL, "");
    assert_reply(403, "Lifecycle API is not enabled.");
    ask("PUT", "/-/quit", NULL, "");
    assert_reply(403, "Lifecycle API is not enabled.");
    get("/-/reload");
    assert_reply(405, "Only POST or PUT requests allowed");
    assert_int_equal(fake.reloads + fake.quits, 0);
}

static void test_serve_reload__tells_what_went_wrong(void **state)
{
    (void)state;
    fixture_loop_open(1);
    struct api_options options = fixture_options();
    options.enable_lifecycle = true;
    options.enable_admin = true;
    options.write_receiver = NULL;
    fixture_open(&options);
    ask("POST", "/-/reload", NULL, "");
    assert_reply(200, "");
    fake.reload_fails = true;
    ask("PUT", "/-/reload", NULL, "");
    assert_reply(500, "failed to reload config: couldn't load configuration\n");
    assert_int_equal(fake.reloads, 2);
    ask("POST", "/-/quit", NULL, "");
    assert_reply(200, "Requesting termination... Goodbye!");
    assert_int_equal(fake.quits, 1);
    ask("POST", "/api/v1/write", NULL, "x");
    assert_reply(
        404, "remote write receiver needs to be enabled with --web.enable-remote-write-receiver\n");
    fixture_close();
}

static void test_serve_admin__is_off(void **state)
{
    (void)state;
    static const char *const targets[] = {"/api/v1/admin/tsdb/delete_series?match[]=up",
                                          "/api/v1/admin/tsdb/clean_tombstones",
                                          "/api/v1/admin/tsdb/snapshot"};
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        ask(i % 2 ? "PUT" : "POST", targets[i], NULL, "");
        assert_reply(500, "{\"status\":\"error\",\"errorType\":\"unavailable\",\"error\":\"admin "
                          "APIs disabled\"}");
    }
}

static void test_serve_write__answers_as_the_receiver_says(void **state)
{
    (void)state;
    ask("POST", "/api/v1/write",
        "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n", "good");
    assert_reply(204, "");
    assert_string_equal(fake.write_body, "good");
    ask("POST", "/api/v1/write", NULL, "bad");
    assert_reply(400, "out of order sample\n");
}

static void test_serve_pages__escape_and_open(void **state)
{
    (void)state;
    static const char *const pages[] = {"/query",       "/targets", "/status",
                                        "/tsdb-status", "/config",  "/flags"};
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        get(pages[i]);
        assert_int_equal(reply.status, 200);
        assert_has(reply.head, "Content-Type: text/html; charset=utf-8");
        assert_has(reply.body, "Narthex &lt;1&gt;</title>");
        assert_has(reply.body, "</main></body></html>\n");
    }
    get("/query?g0.expr=%3C/textarea%3E%3Cscript%3Ealert(1)%3C/script%3E&g0.tab=1");
    assert_has(reply.body, "&lt;/textarea&gt;&lt;script&gt;alert(1)&lt;/script&gt;</textarea>");
    get("/config");
    assert_has(reply.body, "x: &lt;secret&gt;");
    get("/flags");
    assert_has(reply.body, "&lt;b&gt;");
    get("/tsdb-status");
    assert_has(reply.body, "u&lt;p");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    fixture_use_all();
    const struct CMUnitTest tests[] = {
        TEST(test_serve_status__answers_in_shape),
        TEST(test_serve_status_tsdb__refuses_bad_limits),
        TEST(test_serve_status_runtimeinfo__tells_retention_and_reloads),
        TEST(test_serve_notifications__tells_of_a_failed_reload),
        TEST(test_serve_reload__needs_its_flag_and_method),
        cmocka_unit_test(test_serve_reload__tells_what_went_wrong),
        TEST(test_serve_admin__is_off),
        TEST(test_serve_write__answers_as_the_receiver_says),
        TEST(test_serve_pages__escape_and_open),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
