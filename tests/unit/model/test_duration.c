/* Durations, sizes and the API's time inputs: values and error texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/duration.h"

#define HOUR INT64_C(3600000)
#define DAY  (24 * HOUR)

/* One row: what is read, and the result or the error's text. */
struct time_case {
    const char *text;
    int64_t want;
    const char *error; /* NULL: it is read. */
};

static void assert_reads(bool (*parse)(struct str, int64_t *, struct err *),
                         const struct time_case *row)
{
    struct err err;
    int64_t got;
    bool ok = parse(str_of(row->text), &got, &err);
    if (row->error) {
        assert_false(ok);
        assert_string_equal(err.text, row->error);
        assert_int_equal(err.code, ERR_BAD_DATA);
    } else {
        assert_true(ok);
        assert_int_equal(got, row->want);
    }
}

static void test_duration_parse__reads_what_prometheus_reads(void **state)
{
    (void)state;
    const struct time_case rows[] = {
        {"0", 0, NULL},
        {"0w", 0, NULL},
        {"0s", 0, NULL},
        {"324ms", 324, NULL},
        {"3s", 3000, NULL},
        {"5m", 300000, NULL},
        {"1h", HOUR, NULL},
        {"4d", 4 * DAY, NULL},
        {"4d1h", 4 * DAY + HOUR, NULL},
        {"3w2d1h", 23 * DAY + HOUR, NULL},
        {"10y", 3650 * DAY, NULL},
        {"1y2w3d4h5m6s7ms", 382 * DAY + 4 * HOUR + 306007, NULL},
        {"106751d", 106751 * DAY, NULL},
        {"", 0, "empty duration string"},
        {"1", 0, "not a valid duration string: \"1\""},
        {"-1w", 0, "not a valid duration string: \"-1w\""},
        {"1.5d", 0, "unknown unit \".\" in duration \"1.5d\""},
        {"d", 0, "not a valid duration string: \"d\""},
        {"1m1h", 0, "not a valid duration string: \"1m1h\""},
        {"1s1s", 0, "not a valid duration string: \"1s1s\""},
        {"1q", 0, "unknown unit \"q\" in duration \"1q\""},
        {"5m ", 0, "unknown unit \"m \" in duration \"5m \""},
        {"99999999999999999999d", 0, "not a valid duration string: \"99999999999999999999d\""},
        {"294y", 0, "duration out of range"},
        {"200y10400w", 0, "duration out of range"},
        {"107675d", 0, "duration out of range"},
        {"2584200h", 0, "duration out of range"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_reads(duration_parse, &rows[i]);
}

static void test_duration_print__is_gos_text(void **state)
{
    (void)state;
    struct {
        int64_t ms;
        const char *want;
    } rows[] = {
        {0, "0s"},
        {1, "1ms"},
        {324, "324ms"},
        {90 * 60000, "1h30m"},
        {36 * HOUR, "1d12h"},
        {7 * DAY, "1w"},
        {8 * DAY, "8d"},
        {90 * DAY, "90d"},
        {15 * DAY, "15d"},
        {365 * DAY, "1y"},
        {366 * DAY, "366d"},
        {372 * DAY, "372d"},
        {378 * DAY, "54w"},
        {1000, "1s"},
        {1500, "1s500ms"},
        {-90000, "-1m30s"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf buf;
        buf_init(&buf, 100);
        duration_print(&buf, rows[i].ms);
        assert_true(str_eq(buf_str(&buf), str_of(rows[i].want)));
        buf_deinit(&buf);
    }
}

static void test_duration_print__is_read_back(void **state)
{
    (void)state;
    for (int64_t ms = 1; ms < INT64_MAX / 4000000; ms = ms * 7 / 3 + 13) {
        struct buf buf;
        struct err err;
        int64_t got;
        buf_init(&buf, 100);
        duration_print(&buf, ms);
        assert_true(duration_parse(buf_str(&buf), &got, &err));
        assert_int_equal(got, ms);
        buf_deinit(&buf);
    }
}

static void test_size_parse__reads_powers_of_1024(void **state)
{
    (void)state;
    struct {
        const char *text;
        uint64_t want;
        const char *error;
    } rows[] = {
        {"0", 0, NULL},
        {"0B", 0, NULL},
        {"7B", 7, NULL},
        {"1KB", 1024, NULL},
        {"512MB", UINT64_C(512) << 20, NULL},
        {"10GiB", UINT64_C(10) << 30, NULL},
        {"1.5TB", UINT64_C(3) << 39, NULL},
        {"1GB512MB", UINT64_C(1536) << 20, NULL},
        {"1PB", UINT64_C(1) << 50, NULL},
        {"7EB", UINT64_C(7) << 60, NULL},
        {"", 0, "units: invalid "},
        {"-1GB", 0, "units: invalid -1GB"},
        {"GB", 0, "units: invalid GB"},
        {".GB", 0, "units: invalid .GB"},
        {"10", 0, "units: unknown unit  in 10"},
        {"10kB", 0, "units: unknown unit kB in 10kB"},
        {"10XB", 0, "units: unknown unit XB in 10XB"},
        {"1KiB1KB", 0, "units: unknown unit KiB in 1KiB1KB"},
        {"8EB", 0, "units: overflow parsing unit"},
        {"99999999999999999999B", 0, "units: invalid 99999999999999999999B"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err err;
        uint64_t got;
        bool ok = size_parse(str_of(rows[i].text), &got, &err);
        assert_int_equal(ok, rows[i].error == NULL);
        if (ok)
            assert_int_equal(got, rows[i].want);
        else
            assert_string_equal(err.text, rows[i].error);
    }
}

static void test_size_print__is_gos_text(void **state)
{
    (void)state;
    struct {
        uint64_t bytes;
        const char *want;
    } rows[] = {
        {0, "0B"},
        {1, "1B"},
        {1023, "1023B"},
        {1024, "1KiB"},
        {1536, "1KiB512B"},
        {UINT64_C(512) << 20, "512MiB"},
        {UINT64_C(10) << 30, "10GiB"},
        {UINT64_C(1536) << 20, "1GiB512MiB"},
        {UINT64_C(1) << 60, "1EiB"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf buf;
        buf_init(&buf, 100);
        size_print(&buf, rows[i].bytes);
        assert_true(str_eq(buf_str(&buf), str_of(rows[i].want)));
        buf_deinit(&buf);
    }
}

static void test_api_time_parse__reads_seconds_and_rfc3339(void **state)
{
    (void)state;
    const struct time_case rows[] = {
        {"0", 0, NULL},
        {"1435781451.781", INT64_C(1435781451781), NULL},
        {"1.0006", 1001, NULL},
        {"1.0005", 1000, NULL}, /* The nearest float is a bit less. */
        {"1.0004", 1000, NULL},
        {"0.9996", 1000, NULL},
        {"-1.5", -1500, NULL},
        {"-0.001", -1, NULL},
        {"1e3", 1000000, NULL},
        {"2015-07-01T20:10:51.781Z", INT64_C(1435781451781), NULL},
        {"2015-07-01T22:10:51.781+02:00", INT64_C(1435781451781), NULL},
        {"-292273086-05-16T16:47:06Z", INT64_C(-9223309901257974000), NULL},
        {"292277025-08-18T07:12:54.999999999Z", INT64_C(9223309901257974999), NULL},
        {"", 0, "cannot parse \"\" to a valid timestamp"},
        {"now\"", 0, "cannot parse \"now\\\"\" to a valid timestamp"},
        {"30s", 0, "cannot parse \"30s\" to a valid timestamp"},
        /* Go makes times of these that mean nothing. */
        {"1e300", 0, NULL}, /* Beyond its times Go's conversion wraps. */
        {"-9223372036854775808", 0, NULL},
        {"0x1p4", 16000, NULL},
        {"1_000", 1000000, NULL},
        {"1__0", 0, "cannot parse \"1__0\" to a valid timestamp"},
        {"0x10", 0, "cannot parse \"0x10\" to a valid timestamp"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_reads(api_time_parse, &rows[i]);
}

static void test_api_duration_parse__reads_seconds_and_durations(void **state)
{
    (void)state;
    const struct time_case rows[] = {
        {"15", 15000, NULL},
        {"0.5", 500, NULL},
        {"-1", -1000, NULL},
        {"1m30s", 90000, NULL},
        {"5y", 1825 * DAY, NULL},
        {"NaN", INT64_MIN / 1000000, NULL}, /* Callers refuse what is negative. */
        {"", 0, "cannot parse \"\" to a valid duration"},
        {"foo", 0, "cannot parse \"foo\" to a valid duration"},
        {"1s1m", 0, "cannot parse \"1s1m\" to a valid duration"},
        {"9223372037", 0, "cannot parse \"9223372037\" to a valid duration. It overflows int64"},
        {"-9223372037", 0, "cannot parse \"-9223372037\" to a valid duration. It overflows int64"},
        {"+Inf", 0, "cannot parse \"+Inf\" to a valid duration. It overflows int64"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_reads(api_duration_parse, &rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_duration_parse__reads_what_prometheus_reads),
        cmocka_unit_test(test_duration_print__is_gos_text),
        cmocka_unit_test(test_duration_print__is_read_back),
        cmocka_unit_test(test_size_parse__reads_powers_of_1024),
        cmocka_unit_test(test_size_print__is_gos_text),
        cmocka_unit_test(test_api_time_parse__reads_seconds_and_rfc3339),
        cmocka_unit_test(test_api_duration_parse__reads_seconds_and_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
