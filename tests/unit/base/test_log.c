/* Unit tests of base/log, read back through a pipe in place of stderr. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static int pipe_ends[2], stderr_kept;

static void capture_begin(void)
{
    assert_int_equal(pipe(pipe_ends), 0);
    assert_true(fcntl(pipe_ends[1], F_SETPIPE_SZ, 1 << 20) > 0);
    stderr_kept = dup(STDERR_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
    clock_set_wall_ms(1435781451781);
}

static size_t capture_end(char *text, size_t text_max)
{
    size_t len = 0;

    dup2(stderr_kept, STDERR_FILENO);
    close(stderr_kept);
    close(pipe_ends[1]);
    for (ssize_t got; (got = read(pipe_ends[0], text + len, text_max - 1 - len)) > 0;)
        len += (size_t)got;
    text[len] = '\0';
    close(pipe_ends[0]);
    clock_set_wall_ms(INT64_MIN);
    return len;
}

static void test_log_line__writes_logfmt_with_needed_quotes(void **state)
{
    (void)state;
    char text[4096];

    capture_begin();
    log_setup(LOG_INFO, LOG_LOGFMT);
    log_line(LOG_DEBUG, "a.c", 1, "not shown", (char *)0);
    log_line(LOG_WARN, "src/net/server.c", 12, "Server is ready", "address", "[::]:9090", "empty",
             "", "eq", "a=b", "nl", "a\nb", "path", "C:\\x", "e", "\xc3\xa9", "bad", "\xff",
             (char *)0);
    capture_end(text, sizeof(text));
    assert_string_equal(text, "time=2015-07-01T20:10:51.781Z level=WARN source=server.c:12 "
                              "msg=\"Server is ready\" address=[::]:9090 empty=\"\" eq=\"a=b\" "
                              "nl=\"a\\nb\" path=C:\\x e=\xc3\xa9 bad=\"\\xff\"\n");
}

static void test_log_line__writes_json(void **state)
{
    (void)state;
    char text[4096];

    capture_begin();
    log_setup(LOG_DEBUG, LOG_JSON);
    log_line(LOG_DEBUG, "a.c", 1, "say \"hi\"", "n", "1", (char *)0);
    capture_end(text, sizeof(text));
    log_setup(LOG_INFO, LOG_LOGFMT);
    assert_string_equal(text, "{\"time\":\"2015-07-01T20:10:51.781Z\",\"level\":\"DEBUG\","
                              "\"source\":\"a.c:1\",\"msg\":\"say \\\"hi\\\"\",\"n\":\"1\"}\n");
}

/* A value from outside may be of any size: the line must still be one line. */
static void test_log_line__cuts_a_huge_line(void **state)
{
    (void)state;
    static char text[300000], value[200000];

    memset(value, 'v', sizeof(value) - 1);
    capture_begin();
    LOG_E("huge", "before", "1", "value", value, "after", "2");
    size_t len = capture_end(text, sizeof(text));
    assert_true(len > 0 && len <= 64 * 1024 + 1);
    assert_int_equal(text[len - 1], '\n');
    assert_ptr_equal(strchr(text, '\n'), text + len - 1);
    assert_non_null(strstr(text, "before=1"));
}

static void test_log_level_parse__takes_prometheus_names(void **state)
{
    (void)state;
    enum log_level level;

    assert_true(log_level_parse(STR("warn"), &level));
    assert_int_equal(level, LOG_WARN);
    assert_true(log_level_parse(STR("ERROR"), &level));
    assert_false(log_level_parse(STR("fatal"), &level));
    log_setup(LOG_WARN, LOG_LOGFMT);
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_ERROR));
    log_setup(LOG_INFO, LOG_LOGFMT);
}

static void test_log_str__lives_for_eight_calls(void **state)
{
    (void)state;
    static char huge[10000];
    const char *first = log_str(STR("first"));

    memset(huge, 'x', sizeof(huge));
    for (int i = 0; i < 7; i++)
        log_fmt("%d", i);
    assert_string_equal(first, "first");
    assert_true(strlen(log_str((struct str){huge, sizeof(huge)})) < sizeof(huge));
    assert_string_equal(log_str((struct str){NULL, 0}), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_line__writes_logfmt_with_needed_quotes),
        cmocka_unit_test(test_log_line__writes_json),
        cmocka_unit_test(test_log_line__cuts_a_huge_line),
        cmocka_unit_test(test_log_level_parse__takes_prometheus_names),
        cmocka_unit_test(test_log_str__lives_for_eight_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
