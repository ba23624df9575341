/* admin_api: deletes, cleaning and snapshots, with Prometheus' answers. */
#include "fixture.h"

static int open_admin(void **state)
{
    (void)state;
    fixture_loop_open(1);
    struct api_options options = fixture_options();
    options.enable_admin = true;
    fixture_open(&options);
    struct label up[2] = {{LABEL_NAME, STR("up")}, {STR("job"), STR("x")}};
    fake_add_series(labels_new(up, 2), 1000, 1);
    return 0;
}

static int close_admin(void **state)
{
    (void)state;
    fixture_close();
    return 0;
}

/* Times are optional; what nothing matches makes no delete. */
static void test_serve_delete_series__deletes_what_matches(void **state)
{
    (void)state;
    ask("POST", "/api/v1/admin/tsdb/delete_series?match[]=up&match[]=down&start=1&end=2.5", NULL,
        "");
    assert_reply(204, "");
    assert_int_equal(fake.deletes, 1);
    assert_string_equal(fake.delete_value, "up");
    assert_int_equal(fake.delete_from_ms, 1000);
    assert_int_equal(fake.delete_to_ms, 2500);
    ask("PUT", "/api/v1/admin/tsdb/delete_series?match[]=down", NULL, "");
    assert_reply(204, "");
    assert_int_equal(fake.deletes, 1);
    ask("PUT", "/api/v1/admin/tsdb/delete_series?match[]=up", NULL, "");
    assert_reply(204, "");
    assert_int_equal(fake.deletes, 2);
    assert_true(fake.delete_from_ms < -(INT64_C(1) << 50) && fake.delete_to_ms > INT64_C(1) << 50);
}

static void test_serve_delete_series__tells_of_bad_parameters(void **state)
{
    (void)state;
    ask("POST", "/api/v1/admin/tsdb/delete_series", NULL, "");
    assert_reply(400, "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"no match[] "
                      "parameter provided\"}");
    ask("POST", "/api/v1/admin/tsdb/delete_series?match[]=up&start=x", NULL, "");
    assert_reply(400, "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"invalid "
                      "parameter \\\"start\\\": invalid time value for 'start': cannot parse "
                      "\\\"x\\\" to a valid timestamp\"}");
    ask("POST", "/api/v1/admin/tsdb/delete_series?match[]=up(", NULL, "");
    assert_int_equal(reply.status, 400);
    assert_has(reply.body, "\"error\":\"invalid parameter \\\"match[]\\\": ");
    fake.delete_fails = true;
    ask("POST", "/api/v1/admin/tsdb/delete_series?match[]=up", NULL, "");
    assert_reply(500, "{\"status\":\"error\",\"errorType\":\"internal\",\"error\":\"too many\"}");
    assert_int_equal(fake.deletes, 0);
}

static void test_serve_snapshot__answers_with_its_name(void **state)
{
    (void)state;
    ask("POST", "/api/v1/admin/tsdb/snapshot", NULL, "");
    assert_reply(200, "{\"status\":\"success\",\"data\":{\"name\":\"20230102T030405Z-"
                      "00000000000000ab\"}}");
    assert_false(fake.skip_head);
    ask("PUT", "/api/v1/admin/tsdb/snapshot?skip_head=true", NULL, "");
    assert_int_equal(reply.status, 200);
    assert_true(fake.skip_head);
    ask("POST", "/api/v1/admin/tsdb/snapshot?skip_head=yes", NULL, "");
    assert_reply(400, "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"invalid "
                      "parameter \\\"skip_head\\\": unable to parse boolean: strconv.ParseBool: "
                      "parsing \\\"yes\\\": invalid syntax\"}");
    fake.snapshot_fails = true;
    ask("POST", "/api/v1/admin/tsdb/snapshot", NULL, "");
    assert_reply(500, "{\"status\":\"error\",\"errorType\":\"internal\",\"error\":\"create "
                      "snapshot: no space\"}");
}

static void test_serve_clean_tombstones__answers_when_it_is_done(void **state)
{
    (void)state;
    ask("POST", "/api/v1/admin/tsdb/clean_tombstones", NULL, "");
    assert_reply(204, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_admin, close_admin)
        TEST(test_serve_delete_series__deletes_what_matches),
        TEST(test_serve_delete_series__tells_of_bad_parameters),
        TEST(test_serve_snapshot__answers_with_its_name),
        TEST(test_serve_clean_tombstones__answers_when_it_is_done),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
