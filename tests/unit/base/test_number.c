/* Unit tests of base/number: the forms are those that Go prints for the same doubles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void assert_parses(const char *text, double wanted)
{
    double value = 42;
    assert_true(number_parse(str_of(text), &value));
    assert_true(bits_of(value) == bits_of(wanted));
}

static void test_number_parse__takes_what_go_takes(void **state)
{
    (void)state;
    assert_parses("0", 0);
    assert_parses("-0", -0.0);
    assert_parses("+1", 1);
    assert_parses("1e5", 1e5);
    assert_parses("1E+05", 1e5);
    assert_parses(".5", .5);
    assert_parses("5.", 5);
    assert_parses("-5.e-1", -.5);
    assert_parses("0.1", 0.1);
    assert_parses("-Inf", -INFINITY);
    assert_parses("infinity", INFINITY);
    assert_parses("+iNf", INFINITY);
    assert_parses("9007199254740993", 9007199254740992.0);
    assert_parses("9007199254740991e22", 9007199254740991e22);
    assert_parses("1.7976931348623157e308", 1.7976931348623157e308);
    assert_parses("4.9e-324", 4.9406564584124654e-324);
    assert_parses("1e-400", 0);
    assert_parses("-1e-99999999999999999999", -0.0);
    assert_parses("0e99999999999999999999", 0);
    assert_parses("123456789012345678901234567890", 123456789012345678901234567890.0);
}

/* Staleness is told by the NaN's bits: a scraped NaN must be the ordinary one. */
static void test_number_parse__gives_the_normal_nan(void **state)
{
    (void)state;
    double value;

    assert_true(number_parse(STR("nAn"), &value));
    assert_true(bits_of(value) == UINT64_C(0x7ff8000000000001));
    assert_false(number_parse(STR("+NaN"), &value));
}

static void test_number_parse__refuses_the_rest(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     " 1", "1 ",   "1_0",   "0x1p3", "1e",  "1e+",
                                      "e5",   ".",  "+.",   "-",     "+",     "++1", "1.2.3",
                                      "inf1", "in", "nanx", "infin", "1f",    "1,5", "1e5."};
    double value;

    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(number_parse(str_of(bad[i]), &value));
    assert_false(number_parse(STR("1\0"), &value));
}

static void test_number_parse__is_false_and_infinite_out_of_range(void **state)
{
    (void)state;
    double value = 0;

    assert_false(number_parse(STR("1e309"), &value));
    assert_true(value == INFINITY);
    assert_false(number_parse(STR("-1.7976931348623159e308"), &value));
    assert_true(value == -INFINITY);
}

/* Digits that do not fit a mantissa take the slow way; both must round as strtod does. */
static void test_number_parse__agrees_with_strtod(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252u;

    for (int i = 0; i < 200000; i++) {
        char text[128];
        uint64_t whole = random_next(&seed) >> (random_next(&seed) % 64);
        uint64_t fraction = random_next(&seed) >> (random_next(&seed) % 64);
        int exponent = (int)(random_next(&seed) % 620) - 310;
        if (i % 3 == 0)
            exponent /= 20;
        snprintf(text, sizeof(text), "%llu.%llue%d", (unsigned long long)whole,
                 (unsigned long long)fraction, exponent);
        double wanted = strtod(text, NULL), value = 0;
        assert_int_equal(number_parse(str_of(text), &value), !isinf(wanted));
        assert_true(bits_of(value) == bits_of(wanted));
    }
}

static void assert_formats(double value, enum number_form form, const char *wanted)
{
    char text[NUMBER_TEXT_MAX + 1];
    size_t len = number_format(text, value, form);
    text[len] = '\0';
    assert_string_equal(text, wanted);
}

static void test_number_format__api_form(void **state)
{
    (void)state;
    assert_formats(0, NUMBER_API, "0");
    assert_formats(-0.0, NUMBER_API, "-0");
    assert_formats(NAN, NUMBER_API, "NaN");
    assert_formats(INFINITY, NUMBER_API, "+Inf");
    assert_formats(-INFINITY, NUMBER_API, "-Inf");
    assert_formats(0.1, NUMBER_API, "0.1");
    assert_formats(1e-6, NUMBER_API, "0.000001");
    assert_formats(9.9e-7, NUMBER_API, "9.9e-07");
    assert_formats(-1e-7, NUMBER_API, "-1e-07");
    assert_formats(1e20, NUMBER_API, "100000000000000000000");
    assert_formats(1e21, NUMBER_API, "1e+21");
    assert_formats(-1.5e300, NUMBER_API, "-1.5e+300");
    assert_formats(9007199254740991, NUMBER_API, "9007199254740991");
    assert_formats(9007199254740993e3, NUMBER_API, "9007199254740993000");
    assert_formats(1435781451.781, NUMBER_API, "1435781451.781");
}

static void test_number_format__go_forms(void **state)
{
    (void)state;
    assert_formats(1, NUMBER_E, "1e+00");
    assert_formats(0, NUMBER_E, "0e+00");
    assert_formats(-12345, NUMBER_E, "-1.2345e+04");
    assert_formats(5e-324, NUMBER_E, "5e-324");
    assert_formats(1000000, NUMBER_G, "1e+06");
    assert_formats(123456789, NUMBER_G, "1.23456789e+08");
    assert_formats(100000, NUMBER_G, "100000");
    assert_formats(999999.5, NUMBER_G, "999999.5");
    assert_formats(0.0001, NUMBER_G, "0.0001");
    assert_formats(0.00001, NUMBER_G, "1e-05");
    assert_formats(0, NUMBER_G, "0");
    assert_formats(1e21, NUMBER_F, "1000000000000000000000");
    assert_formats(1.25e-7, NUMBER_F, "0.000000125");
    assert_formats(0.5, NUMBER_F, "0.5");
}

/* Shortest: it reads back as the same double, and 17 digits are never passed. */
static void test_number_format__round_trips_and_is_no_longer_than_17_digits(void **state)
{
    (void)state;
    static const enum number_form forms[] = {NUMBER_API, NUMBER_F, NUMBER_E, NUMBER_G};
    uint64_t seed = 362436069u;

    for (int i = 0; i < 100000; i++) {
        uint64_t bits = random_next(&seed);
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (i % 4 == 1)
            value = (double)(int64_t)(bits >> (bits & 63));
        else if (i % 4 == 2)
            value = (double)(int64_t)(bits >> (24 + bits % 39)) / (bits % 2 ? 1e6 : 1e3);
        else if (i % 4 == 3)
            value = nextafter((double)(int64_t)(bits >> (14 + bits % 49)) / 1e6, INFINITY);
        if (!isfinite(value))
            continue;
        for (size_t form = 0; form < COUNT_OF(forms); form++) {
            char text[NUMBER_TEXT_MAX + 1], longest[64];
            double back = 0;
            size_t len = number_format(text, value, forms[form]);
            text[len] = '\0';
            assert_true(number_parse((struct str){text, len}, &back));
            assert_true(bits_of(back) == bits_of(value));
            assert_true(bits_of(strtod(text, NULL)) == bits_of(value));
            if (forms[form] != NUMBER_E)
                continue;
            snprintf(longest, sizeof(longest), "%.17g", value);
            assert_true(bits_of(strtod(longest, NULL)) == bits_of(value));
            assert_true(len <= sizeof("-1.2345678901234567e+300") - 1);
        }
    }
}

static void assert_buf(struct buf *buf, const char *text)
{
    buf_add_char(buf, '\0');
    assert_string_equal(buf->ptr, text);
    buf_clear(buf);
}

/* No shorter text reads back, and of those of its length it is the nearest, which is what printf gives. */
static void test_number_format__is_shortest_and_nearest(void **state)
{
    uint64_t random = 88172645463325252;
    (void)state;
    for (int round = 0; round < 300000; round++) {
        char text[NUMBER_TEXT_MAX + 1], wanted[64];
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        double value = (double)(random >> 12) / (double)(1 + (random & 4095));
        if (round % 4 == 0)
            memcpy(&value, &random, sizeof(value));
        if (!isfinite(value))
            continue;
        text[number_format(text, value, NUMBER_E)] = 0;
        assert_true(strtod(text, NULL) == value);
        const char *mantissa = text[0] == '-' ? text + 1 : text;
        int digits = (int)strcspn(mantissa, "e") - (mantissa[1] == '.');
        snprintf(wanted, sizeof(wanted), "%.*e", digits - 1, value);
        assert_string_equal(text, wanted);
        snprintf(wanted, sizeof(wanted), "%.*e", digits - 2, value);
        assert_true(digits == 1 || strtod(wanted, NULL) != value);
    }
}

static void check_integer(uint64_t value)
{
    char text[NUMBER_TEXT_MAX], expected[NUMBER_TEXT_MAX];
    size_t len = number_format(text, (double)value, NUMBER_API);
    assert_int_equal(len, snprintf(expected, sizeof(expected), "%" PRIu64, value));
    assert_memory_equal(text, expected, len);
    len = number_format(text, (double)value / 1024, NUMBER_API); /* With its decimals, if any. */
    text[len] = '\0';
    assert_true(strtod(text, NULL) == (double)value / 1024);
}

/* Every number of digits, zeroes at both ends of the groups of eight. */
static void test_number_format__integers_are_those_of_printf(void **state)
{
    (void)state;
    uint64_t random = 7;
    for (uint64_t power = 1; power < UINT64_C(10000000000000000); power *= 10) {
        for (uint64_t factor = 1; factor < 10; factor++) {
            check_integer(factor * power <= UINT64_C(1) << 53 ? factor * power : 0);
            check_integer(power + factor <= UINT64_C(1) << 53 ? power + factor : 1);
            check_integer(power - factor <= UINT64_C(1) << 53 ? power - factor : 2);
        }
    }
    for (int i = 0; i < 100000; i++)
        check_integer(random_next(&random) >> (11 + random % 53));
}

static void test_buf_add_number_fixed__is_fmt(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 1000);
    buf_add_number_fixed(&buf, 1.0005, 3);
    assert_buf(&buf, "1.000");
    buf_add_number_fixed(&buf, 123456, -4);
    assert_buf(&buf, "1.235e+05");
    buf_add_number_fixed(&buf, 1.5, -4);
    assert_buf(&buf, "1.5");
    buf_add_number_fixed(&buf, INFINITY, 2);
    assert_buf(&buf, "+Inf");
    buf_add_number_fixed(&buf, -1e308, 3);
    assert_false(buf.overflow);
    buf_deinit(&buf);
}

static void test_buf_add_time_ms__keeps_three_digits(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 1000);
    buf_add_time_ms(&buf, 1435781451781);
    assert_buf(&buf, "1435781451.781");
    buf_add_time_ms(&buf, 1435781451000);
    assert_buf(&buf, "1435781451");
    buf_add_time_ms(&buf, 1005);
    assert_buf(&buf, "1.005");
    buf_add_time_ms(&buf, 1500);
    assert_buf(&buf, "1.500");
    buf_add_time_ms(&buf, -1);
    assert_buf(&buf, "-0.001");
    buf_add_time_ms(&buf, INT64_MIN);
    assert_buf(&buf, "-9223372036854775.808");
    buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number_parse__takes_what_go_takes),
        cmocka_unit_test(test_number_parse__gives_the_normal_nan),
        cmocka_unit_test(test_number_parse__refuses_the_rest),
        cmocka_unit_test(test_number_parse__is_false_and_infinite_out_of_range),
        cmocka_unit_test(test_number_parse__agrees_with_strtod),
        cmocka_unit_test(test_number_format__api_form),
        cmocka_unit_test(test_number_format__go_forms),
        cmocka_unit_test(test_number_format__round_trips_and_is_no_longer_than_17_digits),
        cmocka_unit_test(test_number_format__is_shortest_and_nearest),
        cmocka_unit_test(test_number_format__integers_are_those_of_printf),
        cmocka_unit_test(test_buf_add_number_fixed__is_fmt),
        cmocka_unit_test(test_buf_add_time_ms__keeps_three_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
