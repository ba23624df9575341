/* series_api: what the index has, and how selectors and limits are refused. */
#include "fixture.h"

#define BAD(text) "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"" text "\"}"

static void add_usual_series(void)
{
    fake_add_series(labels_make("__name__", "down", "job", "x", NULL), 1, 1);
    fake_add_series(labels_make("__name__", "up", "job", "a\"<b", NULL), 1, 1);
    fake_add_series(labels_make("__name__", "up", "job", "x", NULL), 1, 1);
}

static void test_serve_series__refuses_bad_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *target, *body;
    } cases[] = {
        {"/api/v1/series", BAD("no match[] parameter provided")},
        {"/api/v1/series?match[]=any", BAD("invalid parameter \\\"match[]\\\": match[] must "
                                           "contain at least one non-empty matcher")},
        {"/api/v1/series?match[]=up&match[]=any",
         BAD("invalid parameter \\\"match[]\\\": match[] must contain at least one non-empty "
             "matcher")},
        {"/api/v1/series?match[]=(",
         BAD("invalid parameter \\\"match[]\\\": 1:1: parse error: unexpected \\\"(\\\"")},
        {"/api/v1/series?match[]=up&start=x",
         BAD("invalid parameter \\\"start\\\": invalid time value for 'start': "
             "cannot parse \\\"x\\\" to a valid timestamp")},
        {"/api/v1/series?match[]=up&end=x",
         BAD("invalid parameter \\\"end\\\": invalid time value for 'end': cannot "
             "parse \\\"x\\\" to a valid timestamp")},
        {"/api/v1/series?match[]=up&limit=-5",
         BAD("invalid parameter \\\"limit\\\": limit must be non-negative")},
        {"/api/v1/labels?match[]=any", BAD("match[] must contain at least one non-empty matcher")},
        {"/api/v1/label/a/values?match[]=(", BAD("1:1: parse error: unexpected \\\"(\\\"")},
        {"/api/v1/label/a%FFb/values", BAD("invalid label name: \\\"a\\\\xffb\\\"")},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        get(cases[i].target);
        assert_reply(400, cases[i].body);
    }
}

static void test_serve_series__answers_label_sets(void **state)
{
    (void)state;
    add_usual_series();
    get("/api/v1/series?match[]=up&start=10&end=20");
    assert_reply(200, "{\"status\":\"success\",\"data\":[{\"__name__\":\"up\",\"job\":\"a\\\"<b\"},"
                      "{\"__name__\":\"up\",\"job\":\"x\"}]}");
    assert_int_equal(fake.select_from_ms, 10000);
    assert_int_equal(fake.select_to_ms, 20000);
    get("/api/v1/series?match[]=none");
    assert_reply(200, "{\"status\":\"success\",\"data\":[]}");
    assert_true(fake.select_from_ms < -(INT64_C(1) << 60));
    assert_true(fake.select_to_ms > INT64_C(1) << 60);
}

/* A series that two selectors find is one series; all are in one order. */
static void test_serve_series__joins_selectors(void **state)
{
    (void)state;
    add_usual_series();
    ask("POST", "/api/v1/series", "Content-Type: application/x-www-form-urlencoded\r\n",
        "match[]=up&match[]=down&match[]=up");
    assert_reply(200,
                 "{\"status\":\"success\",\"data\":[{\"__name__\":\"down\",\"job\":\"x\"},"
                 "{\"__name__\":\"up\",\"job\":\"a\\\"<b\"},{\"__name__\":\"up\",\"job\":\"x\"}]}");
}

static void test_serve_series__says_when_the_limit_cuts(void **state)
{
    (void)state;
    add_usual_series();
    get("/api/v1/series?match[]=up&limit=1");
    assert_reply(200,
                 "{\"status\":\"success\",\"data\":[{\"__name__\":\"up\",\"job\":\"a\\\"<b\"}],"
                 "\"warnings\":[\"results truncated due to limit\"]}");
    get("/api/v1/series?match[]=up&limit=2");
    assert_null(strstr(reply.body, "warnings"));
}

static void test_serve_label_names__answers_texts(void **state)
{
    (void)state;
    get("/api/v1/labels");
    assert_reply(200, "{\"status\":\"success\",\"data\":[\"a\\\"b\",\"job\"]}");
    assert_int_equal(fake.sets_seen, 0);
    get("/api/v1/labels?match[]=up&match[]=down&limit=1");
    assert_reply(200, "{\"status\":\"success\",\"data\":[\"a\\\"b\"],\"warnings\":[\"results "
                      "truncated due to limit\"]}");
    assert_int_equal(fake.sets_seen, 2);
}

/* Names that do not fit a path come escaped: U__http_2e_status is http.status. */
static void test_serve_label_values__unescapes_names(void **state)
{
    (void)state;
    get("/api/v1/label/job/values");
    assert_reply(200, "{\"status\":\"success\",\"data\":[\"a\\\"b\",\"job\"]}");
    assert_string_equal(fake.name_bytes, "job");
    get("/api/v1/label/U__http_2e_status/values");
    assert_int_equal(reply.status, 200);
    assert_string_equal(fake.name_bytes, "http.status");
    get("/api/v1/label/http.status/values");
    assert_string_equal(fake.name_bytes, "http.status");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    fixture_use_all();
    const struct CMUnitTest tests[] = {
        TEST(test_serve_series__refuses_bad_parameters),
        TEST(test_serve_series__answers_label_sets),
        TEST(test_serve_series__joins_selectors),
        TEST(test_serve_series__says_when_the_limit_cuts),
        TEST(test_serve_label_names__answers_texts),
        TEST(test_serve_label_values__unescapes_names),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
