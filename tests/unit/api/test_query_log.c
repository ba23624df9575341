/* query_log: a line for each query that was run, in the file that is named; what happens when it cannot be opened. */
#include "fixture.h"

#include "query_log.h"

static char folder[64];

static int open_log(void **state)
{
    struct err err = {0};
    char path[128];
    set_up(state);
    snprintf(folder, sizeof(folder), "/tmp/narthex-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/q.log", folder);
    assert_true(api_set_query_log(fixture.api, str_of(path), &err));
    return 0;
}

static int close_log(void **state)
{
    char command[128];
    tear_down(state);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static void ask_for(int status, const char *method, const char *target, const char *headers,
                    const char *body)
{
    ask(method, target, headers, body);
    assert_int_equal(reply.status, status);
}

/* What is in the file `name`, without the time of the first line; closing the log writes what is pending. */
static void expect_file(const char *name, const char *want)
{
    static char text[1 << 16];
    struct err err = {0};
    char path[128];
    assert_true(api_set_query_log(fixture.api, STR(""), &err));
    while (lane_waiting(fixture.lane) > 0)
        usleep(1000);
    for (int i = 0; i < 100; i++) {
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    const char *rest = text;
    if (len > 0) {
        assert_memory_equal(text, "{\"time\":\"2", 10);
        rest = strstr(text, ",\"level\"");
        assert_non_null(rest);
    }
    assert_string_equal(rest, want);
}

#define HEAD                                                                                       \
    ",\"level\":\"INFO\",\"source\":\"api/query_log.c\",\"msg\":\"promql query "                   \
    "logged\",\"params\":"
#define TAIL                                                                                       \
    ",\"stats\":{\"steps\":0},\"spanID\":\"0000000000000000\",\"traceID\":"                        \
    "\"00000000000000000000000000000000\",\"httpRequest\":{\"clientIP\":\"127.0.0.1\",\"method\":"

/* Fields and their order are Prometheus'; what is no query is not there. */
static void test_query_log_add__of_an_instant_query(void **state)
{
    (void)state;
    ask_for(200, "GET", "/api/v1/query?query=up%7Ba%3D%22b%22%7D&time=1700000000.1239", NULL, NULL);
    ask_for(400, "GET", "/api/v1/query?query=", NULL, NULL);
    expect_file("q.log", HEAD "{\"end\":\"2023-11-14T22:13:20.124Z\",\"query\":\"up{a=\\\"b\\\"}\","
                              "\"start\":\"2023-11-14T22:13:20.124Z\",\"step\":0}" TAIL
                              "\"GET\",\"path\":\"/api/v1/query\"}}\n");
}

/* The step is in whole seconds there. */
static void test_query_log_add__of_a_range_query(void **state)
{
    (void)state;
    ask_for(200, "POST", "/api/v1/query_range",
            "Content-Type: application/x-www-form-urlencoded\r\n",
            "query=up&start=-1&end=20&step=1.5");
    expect_file("q.log", HEAD "{\"end\":\"1970-01-01T00:00:20.000Z\",\"query\":\"up\","
                              "\"start\":\"1969-12-31T23:59:59.000Z\",\"step\":1}" TAIL
                              "\"POST\",\"path\":\"/api/v1/query_range\"}}\n");
}

/* A file that cannot be opened is told as Prometheus does, and the one before stays. */
static void test_api_set_query_log__keeps_the_one_before(void **state)
{
    (void)state;
    struct err err = {0};
    char path[128], want[256];
    snprintf(path, sizeof(path), "%s/none/q.log", folder);
    snprintf(want, sizeof(want), "can't create json log file: open %s: no such file or directory",
             path);
    assert_false(api_set_query_log(fixture.api, str_of(path), &err));
    assert_string_equal(err.text, want);
    assert_non_null(fixture.api->query_log);
    ask_for(200, "GET", "/api/v1/query?query=up&time=0", NULL, NULL);
    expect_file("q.log", HEAD "{\"end\":\"1970-01-01T00:00:00.000Z\",\"query\":\"up\","
                              "\"start\":\"1970-01-01T00:00:00.000Z\",\"step\":0}" TAIL
                              "\"GET\",\"path\":\"/api/v1/query\"}}\n");
    assert_null(fixture.api->query_log);
}

/* A full disk loses lines, and they are counted. */
static void test_query_log_add__counts_what_is_lost(void **state)
{
    (void)state;
    struct err err = {0};
    assert_true(api_set_query_log(fixture.api, STR("/dev/full"), &err));
    for (int i = 0; i < 1000 && fixture.api->query_log_failures == 0; i++)
        ask_for(200, "GET", "/api/v1/query?query=up&time=0", NULL, NULL);
    assert_true(fixture.api->query_log_failures > 0);
    expect_file("q.log", "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_log, close_log)
    fixture_use_all();
    const struct CMUnitTest tests[] = {
        TEST(test_query_log_add__of_an_instant_query),
        TEST(test_query_log_add__of_a_range_query),
        TEST(test_api_set_query_log__keeps_the_one_before),
        TEST(test_query_log_add__counts_what_is_lost),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
