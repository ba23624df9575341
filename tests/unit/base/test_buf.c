/* Unit tests of base/buf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"

static void assert_buf(struct buf *buf, const char *text)
{
    assert_false(buf->overflow);
    buf_add_char(buf, '\0');
    assert_string_equal(buf->ptr, text);
    buf_clear(buf);
}

/* A text that was cut must never be continued after the hole. */
static void test_buf_add__stays_overflown(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 10);
    BUF_ADD(&buf, "12345678");
    BUF_ADD(&buf, "abc");
    assert_true(buf.overflow);
    buf_add_char(&buf, 'x');
    assert_int_equal(buf.len, 8);
    assert_null(buf_reserve(&buf, 1));
    buf_clear(&buf);
    BUF_ADD(&buf, "1234567890");
    assert_false(buf.overflow);
    buf_addf(&buf, "%d", 1);
    assert_true(buf.overflow);
    assert_int_equal(buf.len, 10);
    buf_deinit(&buf);
    buf_deinit(NULL);
    assert_null(buf.ptr);
    assert_int_equal(buf.len_max, 10);
}

/* A length from outside near SIZE_MAX must not wrap round. */
static void test_buf_reserve__refuses_huge_lengths(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, SIZE_MAX);
    BUF_ADD(&buf, "abc");
    assert_null(buf_reserve(&buf, SIZE_MAX - 1));
    assert_true(buf.overflow);
    buf_deinit(&buf);
}

static void test_buf_reserve__then_commit_adds(void **state)
{
    (void)state;
    struct buf buf, other;

    buf_init(&buf, 1 << 20);
    buf_init(&other, 5);
    for (int i = 0; i < 1000; i++) {
        char *at = buf_reserve(&buf, 100);
        assert_non_null(at);
        memset(at, 'a' + i % 26, 100);
        buf_commit(&buf, 100);
    }
    assert_int_equal(buf.len, 100000);
    buf_drop_front(&buf, 150);
    assert_int_equal(buf.len, 99850);
    assert_int_equal(buf.ptr[0], 'b');
    assert_int_equal(buf.ptr[50], 'c');
    buf_swap(&buf, &other);
    assert_int_equal(buf.len, 0);
    assert_int_equal(other.len, 99850);
    buf_deinit(&buf);
    buf_deinit(&other);
}

static void test_buf_addf__grows_for_long_texts(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 3000);
    buf_addf(&buf, "%s=%d", "a", 1);
    buf_addf(&buf, "%0*d", 2000, 5);
    assert_int_equal(buf.len, 2003);
    assert_false(buf.overflow);
    buf_deinit(&buf);
}

static void test_buf_add_i64__writes_the_extremes(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 1000);
    buf_add_i64(&buf, INT64_MIN);
    assert_buf(&buf, "-9223372036854775808");
    buf_add_u64(&buf, UINT64_MAX);
    assert_buf(&buf, "18446744073709551615");
    buf_add_i64(&buf, 0);
    buf_add_i64(&buf, -10);
    buf_add_u64(&buf, 100);
    assert_buf(&buf, "0-10100");
    buf_deinit(&buf);
}

/* Whatever a label value holds, the API's answer must stay JSON. */
static void test_buf_add_json_string__escapes(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 1000);
    buf_add_json_string(&buf, STR("a\"b\\c\n\x01\x7f\0z<"));
    assert_buf(&buf, "\"a\\\"b\\\\c\\n\\u0001\x7f\\u0000z\\u003c\"");
    buf_add_json_string(&buf, STR("\xc3\xa9\xff\xe2\x82|\xef\xbf\xbd"));
    assert_buf(&buf, "\"\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd\"");
    buf_add_json_string(&buf, STR("<a&b>\xe2\x80\xa8\xe2\x80\xa9"));
    assert_buf(&buf, "\"\\u003ca\\u0026b\\u003e\\u2028\\u2029\"");
    buf_add_json_plain(&buf, STR("<a&b>\xe2\x80\xa8\n\""));
    assert_buf(&buf, "\"<a&b>\xe2\x80\xa8\\n\\\"\"");
    buf_add_json_string(&buf, (struct str){NULL, 0});
    assert_buf(&buf, "\"\"");
    buf_deinit(&buf);
}

static void test_buf_add_go_quoted__is_strconv_quote(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 1000);
    buf_add_go_quoted(&buf, STR("a\"\\\a\b\f\n\r\t\v\x01\x7f"));
    assert_buf(&buf, "\"a\\\"\\\\\\a\\b\\f\\n\\r\\t\\v\\x01\\x7f\"");
    buf_add_go_quoted(&buf, STR("\xc3\xa9\xff\xc2\xa0\xe2\x80\xa8\xf3\xa0\x80\x81\xef\xbf\xbd"));
    assert_buf(&buf, "\"\xc3\xa9\\xff\\u00a0\\u2028\\U000e0001\xef\xbf\xbd\"");
    buf_deinit(&buf);
}

static void test_buf_add_html__and_url_escape(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 1000);
    buf_add_html(&buf, STR("<a b=\"c\">&'"));
    assert_buf(&buf, "&lt;a b=&#34;c&#34;&gt;&amp;&#39;");
    buf_add_url_escaped(&buf, STR("a b&c=/~-_.\xc3\xa9"));
    assert_buf(&buf, "a+b%26c%3D%2F~-_.%C3%A9");
    buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_add__stays_overflown),
        cmocka_unit_test(test_buf_reserve__refuses_huge_lengths),
        cmocka_unit_test(test_buf_reserve__then_commit_adds),
        cmocka_unit_test(test_buf_addf__grows_for_long_texts),
        cmocka_unit_test(test_buf_add_i64__writes_the_extremes),
        cmocka_unit_test(test_buf_add_json_string__escapes),
        cmocka_unit_test(test_buf_add_go_quoted__is_strconv_quote),
        cmocka_unit_test(test_buf_add_html__and_url_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
