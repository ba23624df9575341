/* query_api: parameters and their error texts, and the way over the lane: concurrency, timeouts,
 * clients that go. */
#include "fixture.h"

#define BAD(text) "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"" text "\"}"

static const struct {
    const char *target, *body;
} bad_cases[] = {
    {"/api/v1/query?query=up&limit=x",
     BAD("invalid parameter \\\"limit\\\": strconv.Atoi: parsing \\\"x\\\": invalid syntax")},
    {"/api/v1/query?query=up&limit=99999999999999999999",
     BAD("invalid parameter \\\"limit\\\": strconv.Atoi: parsing \\\"99999999999999999999\\\": "
         "value out of range")},
    {"/api/v1/query?query=up&limit=-1",
     BAD("invalid parameter \\\"limit\\\": limit must be non-negative")},
    {"/api/v1/query?query=up&time=foo",
     BAD("invalid parameter \\\"time\\\": invalid time value for 'time': cannot "
         "parse \\\"foo\\\" to a valid timestamp")},
    {"/api/v1/query?query=up&timeout=foo",
     BAD("invalid parameter \\\"timeout\\\": cannot parse \\\"foo\\\" to a valid duration")},
    {"/api/v1/query?query=up&lookback_delta=foo",
     BAD("error parsing lookback delta duration: cannot parse \\\"foo\\\" to a valid duration")},
    {"/api/v1/query",
     BAD("invalid parameter \\\"query\\\": 1:1: parse error: no expression found in input")},
    {"/api/v1/query_range?query=up&end=2&step=1",
     BAD("invalid parameter \\\"start\\\": cannot parse \\\"\\\" to a valid timestamp")},
    {"/api/v1/query_range?query=up&start=1&end=x&step=1",
     BAD("invalid parameter \\\"end\\\": cannot parse \\\"x\\\" to a valid timestamp")},
    {"/api/v1/query_range?query=up&start=2&end=1&step=1",
     BAD("invalid parameter \\\"end\\\": end timestamp must not be before start time")},
    {"/api/v1/query_range?query=up&start=1&end=2",
     BAD("invalid parameter \\\"step\\\": cannot parse \\\"\\\" to a valid duration")},
    {"/api/v1/query_range?query=up&start=1&end=2&step=0",
     BAD("invalid parameter \\\"step\\\": zero or negative query resolution step widths are not "
         "accepted. Try a "
         "positive integer")},
    {"/api/v1/query_range?query=up&start=0&end=11001&step=1",
     BAD("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
         "resolution "
         "(?step=XX)")},
    {"/api/v1/query_range?query=up[5m]&start=0&end=1&step=1",
     BAD("invalid parameter \\\"query\\\": invalid expression type \\\"range vector\\\" for range "
         "query, must be "
         "Scalar or instant Vector")},
    {"/api/v1/format_query",
     BAD("invalid parameter \\\"query\\\": 1:1: parse error: no expression found in input")},
    {"/api/v1/parse_query",
     BAD("invalid parameter \\\"query\\\": 1:1: parse error: no expression found in input")},
    {"/api/v1/query_exemplars", BAD("1:1: parse error: no expression found in input")},
    {"/api/v1/query_exemplars?query=up&start=2&end=1",
     BAD("end timestamp must not be before start timestamp")},
    {"/api/v1/query_exemplars?query=up&start=x",
     BAD("invalid parameter \\\"start\\\": invalid time value for 'start': cannot parse \\\"x\\\" "
         "to a valid "
         "timestamp")},
};

/* Clients show these texts, and some match on them. */
static void test_serve_query__refuses_bad_parameters(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_cases); i++) {
        get(bad_cases[i].target);
        assert_reply(400, bad_cases[i].body);
        assert_has(reply.head, "Content-Type: application/json");
    }
}

static void test_serve_query__passes_its_parameters_on(void **state)
{
    (void)state;
    get("/api/v1/query?query=up&time=12.5&timeout=10s&lookback_delta=1m&limit=3&stats=all");
    assert_reply(200, "{\"limit\":3,\"stats\":true,\"warnings\":[]}");
    assert_string_equal(fake.query_text, "up");
    assert_int_equal(fake.query_options.start_ms, 12500);
    assert_int_equal(fake.query_options.end_ms, 12500);
    assert_int_equal(fake.query_options.step_ms, 0);
    assert_int_equal(fake.query_options.lookback_ms, 60000);
    assert_int_equal(fake.query_options.default_step_ms, 30000);
    assert_true(fake.query_options.timeout_ms > 0 && fake.query_options.timeout_ms <= 10000);
    assert_int_equal(fake.query_options.samples_max, 50000000);
}

/* A caller may shorten the flag's timeout, never lengthen it. */
static void test_serve_query__caps_the_timeout(void **state)
{
    (void)state;
    get("/api/v1/query?query=up&timeout=10h");
    assert_int_equal(reply.status, 200);
    assert_true(fake.query_options.timeout_ms <= 120000);
    assert_int_equal(fake.query_options.lookback_ms, 300000);
}

/* The body's values come before the URL's. */
static void test_serve_query__reads_forms(void **state)
{
    (void)state;
    ask("POST", "/api/v1/query?query=url&time=7",
        "Content-Type: application/x-www-form-urlencoded\r\n", "query=body%7B%7D");
    assert_int_equal(reply.status, 200);
    assert_string_equal(fake.query_text, "body{}");
    assert_int_equal(fake.query_options.start_ms, 7000);
}

static void test_serve_query__warns_of_deprecated_stats(void **state)
{
    (void)state;
    get("/api/v1/query?query=up&stats=yes");
    assert_reply(200, "{\"limit\":0,\"stats\":true,\"warnings\":[\"value \\\"yes\\\" for parameter "
                      "\\\"stats\\\" is "
                      "deprecated and will be rejected in the next major release, use \\\"true\\\" "
                      "or \\\"all\\\"\"]}");
}

/* To wake a thread and be woken by it takes longer than most queries of rules and panels. */
static void test_serve_query__answers_light_ones_on_the_loop(void **state)
{
    (void)state;
    get("/api/v1/query?query=up");
    assert_int_equal(reply.status, 200);
    assert_false(pthread_equal(fake.query_thread, pthread_self()));
    get("/api/v1/query?query=light&stats=yes&limit=2");
    assert_int_equal(reply.status, 200);
    assert_has(reply.body, "{\"limit\":2,\"stats\":true,");
    assert_true(pthread_equal(fake.query_thread, pthread_self()));
    get("/api/v1/query_range?query=light&start=1&end=2&step=1");
    assert_int_equal(reply.status, 200);
    assert_false(pthread_equal(fake.query_thread, pthread_self()));
}

static void test_serve_query__maps_errors_of_the_engine(void **state)
{
    (void)state;
    get("/api/v1/query?query=fail");
    assert_reply(422, "{\"status\":\"error\",\"errorType\":\"execution\",\"error\":\"multiple "
                      "matches for labels\"}");
}

/* 11,001 points are the most: (end - start) / step is an integer division. */
static void test_serve_query_range__passes_its_parameters_on(void **state)
{
    (void)state;
    get("/api/v1/query_range?query=up&start=0&end=11000.9&step=1");
    assert_int_equal(reply.status, 200);
    assert_int_equal(fake.query_options.start_ms, 0);
    assert_int_equal(fake.query_options.end_ms, 11000900);
    assert_int_equal(fake.query_options.step_ms, 1000);
    get("/api/v1/"
        "query_range?query=up&start=2020-01-01T00:00:00Z&end=2020-01-01T01:00:00%2B00:00&step="
        "1m30s");
    assert_int_equal(reply.status, 200);
    assert_int_equal(fake.query_options.start_ms, 1577836800000);
    assert_int_equal(fake.query_options.end_ms, 1577840400000);
    assert_int_equal(fake.query_options.step_ms, 90000);
}

static void test_serve_format_query__answers_a_string(void **state)
{
    (void)state;
    get("/api/v1/format_query?query=a%22b");
    assert_reply(200, "{\"status\":\"success\",\"data\":\"a\\\"b\\n  pretty\"}");
    get("/api/v1/parse_query?query=up");
    assert_reply(200, "{\"status\":\"success\",\"data\":{\"type\":\"vectorSelector\"}}");
}

/* No selector, no data: 204. The text of a selector inside a string is none. */
static void test_serve_query_exemplars__tells_selectors_from_none(void **state)
{
    (void)state;
    get("/api/v1/query_exemplars?query=up");
    assert_reply(200, "{\"status\":\"success\",\"data\":[]}");
    get("/api/v1/query_exemplars?query=up2&start=0&end=10");
    assert_reply(200, "{\"status\":\"success\",\"data\":[{\"seriesLabels\":{\"__name__\":\"up2\"},"
                      "\"exemplars\":[{\"labels\":{\"t\":\"x\"},\"value\":\"0.25\","
                      "\"timestamp\":1.500},{\"labels\":{},\"value\":\"1e+300\","
                      "\"timestamp\":2}]}]}");
    get("/api/v1/query_exemplars?query=up1&start=0&end=10");
    assert_reply(200, "{\"status\":\"success\",\"data\":[{\"seriesLabels\":{\"__name__\":\"up1\"},"
                      "\"exemplars\":[{\"labels\":{\"t\":\"y\"},\"value\":\"3\","
                      "\"timestamp\":1}]}]}");
    get("/api/v1/query_exemplars?query=up2&start=3&end=10");
    assert_reply(200, "{\"status\":\"success\",\"data\":[]}");
    get("/api/v1/query_exemplars?query=text");
    assert_reply(204, "");
}

static void wait_for_runs(int count)
{
    while (fake.queries_run < count)
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
}

/* A waiting query has its own timeout, whatever those before it do. */
static void test_work__ends_what_waits_too_long(void **state)
{
    (void)state;
    static struct client first, second;
    static struct reply first_reply;

    fixture_loop_open(2);
    struct api_options options = fixture_options();
    options.query_concurrency = 1;
    fixture_open(&options);
    atomic_store(&fake.hold, true);
    client_start(&first, "GET", "/api/v1/query?query=hold", NULL, NULL);
    wait_for_runs(1);
    client_start(&second, "GET", "/api/v1/query?query=up&timeout=50ms", NULL, NULL);
    client_wait(&second, &reply);
    assert_reply(400,
                 "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"invalid parameter "
                 "\\\"query\\\": context deadline exceeded\"}");
    assert_int_equal(fake.queries_run, 1);
    atomic_store(&fake.hold, false);
    client_wait(&first, &first_reply);
    assert_int_equal(first_reply.status, 200);
    get("/api/v1/query?query=up"); /* The gate is open again. */
    assert_int_equal(reply.status, 200);
    fixture_close();
}

/* One after the other, all get their turn. */
static void test_work__admits_those_that_wait(void **state)
{
    (void)state;
    static struct client clients[3];

    fixture_loop_open(2);
    struct api_options options = fixture_options();
    options.query_concurrency = 1;
    fixture_open(&options);
    atomic_store(&fake.hold, true);
    client_start(&clients[0], "GET", "/api/v1/query?query=hold", NULL, NULL);
    wait_for_runs(1);
    client_start(&clients[1], "GET", "/api/v1/query?query=up", NULL, NULL);
    client_start(&clients[2], "GET", "/api/v1/query?query=fail", NULL, NULL);
    for (int i = 0; i < 50; i++) {
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    assert_int_equal(fake.queries_run, 1);
    get("/metrics");
    assert_has(reply.body, "\nprometheus_engine_queries 3\n");
    atomic_store(&fake.hold, false);
    const int statuses[] = {200, 200, 422};
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        client_wait(&clients[i], &reply);
        assert_int_equal(reply.status, statuses[i]);
    }
    fixture_close();
}

/* Nobody reads the answer any more: the query must stop working for it. */
static void test_work__cancels_when_the_client_goes(void **state)
{
    (void)state;
    static struct client client;

    atomic_store(&fake.hold, true);
    client.hang_up = true;
    client_start(&client, "GET", "/api/v1/query?query=hold", NULL, NULL);
    client_wait(&client, &reply);
    do {
        usleep(10000);
        get("/metrics");
    } while (!strstr(reply.body, "\nprometheus_engine_queries 0\n"));
    assert_int_equal(fake.queries_run, 1);
    assert_has(reply.body,
               "prometheus_http_requests_total{code=\"499\",handler=\"/api/v1/query\"} 1\n");
}

static void test_api_cancel_queries__answers_all(void **state)
{
    (void)state;
    static struct client client;

    atomic_store(&fake.hold, true);
    client.hang_up = false;
    client_start(&client, "GET", "/api/v1/query?query=hold", NULL, NULL);
    wait_for_runs(1);
    api_cancel_queries(fixture.api);
    client_wait(&client, &reply);
    assert_reply(499, "{\"status\":\"error\",\"errorType\":\"canceled\",\"error\":\"query was "
                      "canceled in expression "
                      "evaluation\"}");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    fixture_use_all();
    const struct CMUnitTest tests[] = {
        TEST(test_serve_query__refuses_bad_parameters),
        TEST(test_serve_query__passes_its_parameters_on),
        TEST(test_serve_query__caps_the_timeout),
        TEST(test_serve_query__reads_forms),
        TEST(test_serve_query__warns_of_deprecated_stats),
        TEST(test_serve_query__maps_errors_of_the_engine),
        TEST(test_serve_query__answers_light_ones_on_the_loop),
        TEST(test_serve_query_range__passes_its_parameters_on),
        TEST(test_serve_format_query__answers_a_string),
        TEST(test_serve_query_exemplars__tells_selectors_from_none),
        cmocka_unit_test(test_work__ends_what_waits_too_long),
        cmocka_unit_test(test_work__admits_those_that_wait),
        TEST(test_work__cancels_when_the_client_goes),
        TEST(test_api_cancel_queries__answers_all),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
