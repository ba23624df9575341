/* router: which request goes where, and what answers the others. */
#include "fixture.h"

static void test_api_handle__answers_404_and_405(void **state)
{
    (void)state;
    get("/api/v1/nothing");
    assert_reply(404, "404 page not found\n");
    get("/api/v1/label/a/values/b");
    assert_reply(404, "404 page not found\n");
    ask("DELETE", "/api/v1/series?match[]=up", NULL, NULL);
    assert_reply(405, "Method Not Allowed\n");
    assert_has(reply.head, "Allow: GET, OPTIONS, POST");
    ask("HEAD", "/metrics", NULL, NULL);
    assert_int_equal(reply.status, 405);
    assert_has(reply.head, "Allow: GET, OPTIONS");
    get("/api/v1/write");
    assert_int_equal(reply.status, 405);
}

/* Typed by hand, or made of a base with a slash too many. */
static void test_api_handle__redirects_to_the_plain_path(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target;
        int status;
        const char *location;
    } cases[] = {{"GET", "//metrics", 307, "/metrics"},
                 {"GET", "/api/v1/../v1//labels?a=b%20c", 307, "/api/v1/labels?a=b%20c"},
                 {"POST", "/./api/v1/series", 307, "/api/v1/series"},
                 {"GET", "/../../../metrics", 307, "/metrics"},
                 {"GET", "/api/v1/label//values", 307, "/api/v1/label/values"},
                 {"GET", "/api/v1", 307, "/api/v1/"},
                 {"GET", "/metrics/?x", 301, "/metrics?x"},
                 {"POST", "/api/v1/query/", 307, "/api/v1/query"},
                 {"GET", "/nothing/", 404, NULL}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char wanted[128];
        ask(cases[i].method, cases[i].target, NULL, NULL);
        assert_int_equal(reply.status, cases[i].status);
        snprintf(wanted, sizeof(wanted), "Location: %s\r\n", cases[i].location);
        if (cases[i].location)
            assert_has(reply.head, wanted);
    }
}

/* Browsers ask before they send what is not simple. */
static void test_api_handle__answers_preflight_requests(void **state)
{
    (void)state;
    ask("OPTIONS", "/api/v1/whatever", "Origin: http://a\r\n", NULL);
    assert_reply(204, "");
    assert_has(reply.head, "Access-Control-Allow-Origin: http://a");
    assert_has(reply.head, "Access-Control-Allow-Methods: GET, POST, OPTIONS");
    assert_has(reply.head,
               "Access-Control-Allow-Headers: Accept, Authorization, Content-Type, Origin");
    assert_has(reply.head, "Access-Control-Expose-Headers: Date");
    assert_has(reply.head, "Vary: Origin");
    ask("OPTIONS", "/query", NULL, NULL);
    assert_int_equal(reply.status, 200);
    assert_has(reply.head, "Allow: GET, OPTIONS");
}

static void test_api_handle__sends_no_cors_headers_without_an_origin(void **state)
{
    (void)state;
    get("/api/v1/alerts");
    assert_reply(200, "{\"status\":\"success\",\"data\":{\"alerts\":[]}}");
    assert_has(reply.head, "Vary: Origin");
    assert_null(strstr(reply.head, "Access-Control"));
}

/* The flag's regex is anchored: a look-alike domain must not pass. */
static void test_api_handle__echoes_only_an_allowed_origin(void **state)
{
    (void)state;
    fixture_loop_open(1);
    struct api_options options = fixture_options();
    options.cors_origin = STR("https?://(a|b)\\.example");
    fixture_open(&options);
    ask("GET", "/api/v1/alerts", "Origin: http://a.example\r\n", NULL);
    assert_has(reply.head, "Access-Control-Allow-Origin: http://a.example");
    ask("GET", "/api/v1/alerts", "Origin: http://a.example.org\r\n", NULL);
    assert_null(strstr(reply.head, "Access-Control-Allow-Origin"));
    fixture_close();
}

static void test_api_open__refuses_a_bad_origin(void **state)
{
    (void)state;
    struct api *api;
    struct err err = {0};
    struct api_options options = fixture_options();
    options.cors_origin = STR("(a");
    assert_false(api_open(&api, &options, &err));
    assert_null(api);
    assert_has(err.text, "could not compile CORS regex string \"(a\"");
}

/* While the log is replayed the probes must tell alive from ready. */
static void test_api_handle__refuses_before_ready(void **state)
{
    (void)state;
    api_set_ready(fixture.api, false);
    get("/-/ready");
    assert_reply(503, "Service Unavailable");
    assert_has(reply.head, "X-Prometheus-Stopping: false");
    get("/api/v1/query?query=up");
    assert_reply(503, "Service Unavailable");
    get("/-/healthy");
    assert_reply(200, "Prometheus Server is Healthy.\n");
    get("/api/v1/status/walreplay");
    assert_reply(200, "{\"status\":\"success\",\"data\":{\"min\":0,\"max\":0,\"current\":0}}");
    get("/metrics");
    assert_has(reply.body, "\nprometheus_ready 0\n");
    api_set_stopping(fixture.api);
    get("/-/ready");
    assert_reply(503, "Service Unavailable");
    assert_has(reply.head, "X-Prometheus-Stopping: true");
}

/* Storage may be opened after the server listens. */
static void test_api_attach_storage__ends_the_wait(void **state)
{
    (void)state;
    fixture_loop_open(1);
    struct api_options options = fixture_options();
    options.storage = NULL;
    options.scraper = NULL;
    options.write_receiver = NULL;
    fixture_open(&options);
    get("/-/ready");
    assert_int_equal(reply.status, 503);
    static const char *const paths[] = {
        "/",
        "/graph",
        "/query",
        "/targets",
        "/status",
        "/tsdb-status",
        "/config",
        "/flags",
        "/version",
        "/federate",
        "/api/v1/query?query=1",
        "/api/v1/query_exemplars?query=up",
        "/api/v1/labels",
        "/api/v1/targets",
        "/api/v1/metadata",
        "/api/v1/features",
        "/api/v1/status/runtimeinfo",
        "/api/v1/status/tsdb",
        "/api/v1/status/walreplay",
    };
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        get(paths[i]);
        assert_true(reply.status == 503 || reply.status == 200 || reply.status == 302);
    }
    get("/metrics");
    assert_int_equal(reply.status, 200);
    struct api_options full = fixture_options();
    api_attach_storage(fixture.api, full.storage, full.scraper, full.write_receiver);
    get("/-/ready");
    assert_reply(200, "Prometheus Server is Ready.\n");
    get("/api/v1/query?query=up");
    assert_int_equal(reply.status, 200);
    fixture_close();
}

/* Behind a proxy all lives below the prefix, the probes too. */
static void test_api_handle__serves_below_the_route_prefix(void **state)
{
    (void)state;
    fixture_loop_open(1);
    struct api_options options = fixture_options();
    options.route_prefix = STR("/prom");
    options.external_url = STR("https://x.example/prom/");
    fixture_open(&options);
    get("/prom/-/healthy");
    assert_int_equal(reply.status, 200);
    get("/-/healthy");
    assert_int_equal(reply.status, 404);
    get("/promises/-/healthy");
    assert_int_equal(reply.status, 404);
    get("/");
    assert_int_equal(reply.status, 302);
    assert_has(reply.head, "Location: /prom");
    get("/prom/");
    assert_int_equal(reply.status, 302);
    assert_has(reply.head, "Location: /prom/query");
    get("/prom/targets");
    assert_has(reply.body, "href=\"/prom/status\"");
    fixture_close();
}

/* Links in alerts of old still find the page. */
static void test_api_handle__redirects_graph_with_its_query(void **state)
{
    (void)state;
    get("/graph?g0.expr=up%7Ba%3D%22b%22%7D&g0.tab=1");
    assert_int_equal(reply.status, 302);
    assert_has(reply.head, "Location: /query?g0.expr=up%7Ba%3D%22b%22%7D&g0.tab=1\r\n");
}

static void test_api_handle__answers_head_without_a_body(void **state)
{
    (void)state;
    ask("HEAD", "/-/healthy", NULL, NULL);
    assert_reply(200, "");
    assert_has(reply.head, "Content-Length: 30");
}

static void test_api_handle__refuses_bad_escapes(void **state)
{
    (void)state;
    get("/api/v1/series?match[]=up&match[]=%zz");
    assert_reply(
        400,
        "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"error parsing form values: "
        "invalid URL escape \\\"%zz\\\"\"}");
    get("/federate?match[]=up&a;b");
    assert_reply(400, "error parsing form values: invalid semicolon separator in query\n");
    get("/api/v1/format_query?a=%zz&query=up"); /* As if it were not there. */
    assert_int_equal(reply.status, 200);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    fixture_use_all();
    const struct CMUnitTest tests[] = {
        TEST(test_api_handle__answers_404_and_405),
        TEST(test_api_handle__redirects_to_the_plain_path),
        TEST(test_api_handle__answers_preflight_requests),
        TEST(test_api_handle__sends_no_cors_headers_without_an_origin),
        cmocka_unit_test(test_api_handle__echoes_only_an_allowed_origin),
        cmocka_unit_test(test_api_open__refuses_a_bad_origin),
        TEST(test_api_handle__refuses_before_ready),
        cmocka_unit_test(test_api_attach_storage__ends_the_wait),
        cmocka_unit_test(test_api_handle__serves_below_the_route_prefix),
        TEST(test_api_handle__redirects_graph_with_its_query),
        TEST(test_api_handle__answers_head_without_a_body),
        TEST(test_api_handle__refuses_bad_escapes),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
