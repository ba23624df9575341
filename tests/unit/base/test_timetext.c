/* Unit tests of base/timetext. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "base/timetext.h"

static void assert_parses(const char *text, int64_t wanted_ms)
{
    int64_t ms = 0;
    assert_true(time_parse_rfc3339(str_of(text), &ms));
    assert_true(ms == wanted_ms);
}

static void test_time_parse_rfc3339__takes_fractions_and_zones(void **state)
{
    (void)state;
    assert_parses("1970-01-01T00:00:00Z", 0);
    assert_parses("2015-07-01T20:10:51.781Z", 1435781451781);
    assert_parses("2015-07-01T22:10:51.7819999999999+02:00", 1435781451781);
    assert_parses("2015-07-01T14:40:51.7-05:30", 1435781451700);
    assert_parses("1969-12-31T23:59:59.999Z", -1);
    assert_parses("2000-02-29T00:00:00Z", 951782400000);
    assert_parses("0000-01-01T00:00:00Z", -62167219200000);
    assert_parses("9999-12-31T23:59:59Z", 253402300799000);
    assert_parses("1970-01-01T1:00:00,5Z", 3600500); /* As lax as Go. */
}

static void test_time_parse_rfc3339__refuses_the_rest(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2015-07-01",
        "2015-07-01T20:10:51",
        "2015-07-01 20:10:51Z",
        "2015-07-01t20:10:51z",
        "2015-7-01T20:10:51Z",
        "2015-13-01T20:10:51Z",
        "2015-00-01T20:10:51Z",
        "2015-02-29T20:10:51Z",
        "1900-02-29T20:10:51Z",
        "2015-07-01T24:10:51Z",
        "2015-07-01T20:60:51Z",
        "2015-07-01T20:10:60Z",
        "2015-07-01T20:10:51.Z",
        "2015-07-01T20:10:51+0200",
        "2015-07-01T20:10:51+02:00x",
        "2015-07-01T20:10:51+02",
        "+015-07-01T20:10:51Z",
    };
    int64_t ms;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(time_parse_rfc3339(str_of(bad[i]), &ms));
}

/* The system's own calendar is the other opinion, over four thousand years. */
static void test_time_civil_utc__agrees_with_gmtime(void **state)
{
    (void)state;
    for (int64_t at = -62167219200; at < 64060588800; at += 86400 * 3 + 12347) {
        struct tm tm;
        time_t seconds = (time_t)at;
        assert_non_null(gmtime_r(&seconds, &tm));
        struct time_civil civil = time_civil_utc(at);
        assert_int_equal(civil.year, tm.tm_year + 1900);
        assert_int_equal(civil.month, tm.tm_mon + 1);
        assert_int_equal(civil.day, tm.tm_mday);
        assert_int_equal(civil.hour, tm.tm_hour);
        assert_int_equal(civil.minute, tm.tm_min);
        assert_int_equal(civil.second, tm.tm_sec);
        assert_int_equal(civil.weekday, tm.tm_wday);
        assert_int_equal(civil.yearday, tm.tm_yday + 1);
        assert_true(civil.day <= time_days_in_month(civil.year, civil.month));
    }
}

static void test_time_civil_utc__takes_any_second(void **state)
{
    (void)state;
    struct time_civil civil = time_civil_utc(INT64_MAX);
    assert_true(civil.year == INT64_C(292277026596));
    assert_int_equal(civil.month, 12);
    civil = time_civil_utc(INT64_MIN);
    assert_true(civil.year == INT64_C(-292277022657));
    assert_int_equal(civil.month, 1);
}

static void assert_buf(struct buf *buf, const char *text)
{
    buf_add_char(buf, '\0');
    assert_string_equal(buf->ptr, text);
    buf_clear(buf);
}

static void test_buf_add_rfc3339__writes_both_forms(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 1000);
    buf_add_rfc3339_ms(&buf, 1435781451000);
    assert_buf(&buf, "2015-07-01T20:10:51.000Z");
    buf_add_rfc3339_ms(&buf, -1);
    assert_buf(&buf, "1969-12-31T23:59:59.999Z");
    buf_add_rfc3339_nano(&buf, 1435781451781000000);
    assert_buf(&buf, "2015-07-01T20:10:51.781Z");
    buf_add_rfc3339_nano(&buf, 1435781451000000001);
    assert_buf(&buf, "2015-07-01T20:10:51.000000001Z");
    buf_add_rfc3339_nano(&buf, 0);
    assert_buf(&buf, "1970-01-01T00:00:00Z");
    buf_add_rfc3339_nano(&buf, -1);
    assert_buf(&buf, "1969-12-31T23:59:59.999999999Z");
    buf_add_rfc3339_ms(&buf, INT64_MIN);
    buf_add_rfc3339_ms(&buf, INT64_MAX);
    assert_false(buf.overflow);
    buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_parse_rfc3339__takes_fractions_and_zones),
        cmocka_unit_test(test_time_parse_rfc3339__refuses_the_rest),
        cmocka_unit_test(test_time_civil_utc__agrees_with_gmtime),
        cmocka_unit_test(test_time_civil_utc__takes_any_second),
        cmocka_unit_test(test_buf_add_rfc3339__writes_both_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
