/* Unit tests of base/str. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"

static void assert_str(struct str s, const char *text)
{
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.ptr, text, s.len);
}

/* A label value may be a prefix of another: lengths must decide. */
static void test_str_cmp__orders_bytes_then_length(void **state)
{
    (void)state;
    assert_true(str_cmp(STR("a"), STR("ab")) < 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
    assert_int_equal(str_cmp(STR("ab"), STR("ab")), 0);
    assert_true(str_eq((struct str){NULL, 0}, STR("")));
}

static void test_str_starts__and_ends_hold_for_empty_texts(void **state)
{
    (void)state;
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_false(str_starts(STR("a"), STR("ab")));
    assert_true(str_ends(STR("abc"), STR("bc")));
    assert_false(str_ends(STR("c"), STR("bc")));
    assert_true(str_ends((struct str){NULL, 0}, (struct str){NULL, 0}));
    assert_true(str_eq_nocase(STR("InF"), STR("iNf")));
    assert_false(str_eq_nocase(STR("@"), STR("`"))); /* They differ in the case bit only. */
}

static void test_str_find__yields_the_length_when_absent(void **state)
{
    (void)state;
    assert_int_equal(str_find(STR("hello"), STR("lo")), 3);
    assert_int_equal(str_find(STR("hello"), STR("xx")), 5);
    assert_int_equal(str_find(STR("a"), STR("ab")), 1);
    assert_int_equal(str_find(STR("abc"), STR("")), 0);
    assert_int_equal(str_find_char(STR("abc"), 'c'), 2);
    assert_int_equal(str_find_char((struct str){NULL, 0}, 'c'), 0);
}

/* A loop over parts must see the empty part after a last separator, and then end. */
static void test_str_cut__lets_a_loop_end_on_null(void **state)
{
    (void)state;
    struct str rest = STR("a,,b,");
    const char *wanted[] = {"a", "", "b", ""};
    size_t count = 0;

    while (rest.ptr) {
        assert_true(count < 4);
        assert_str(str_cut(rest, ',', &rest), wanted[count++]);
    }
    assert_int_equal(count, 4);
}

static void test_str_trim__takes_all_ascii_space(void **state)
{
    (void)state;
    assert_str(str_trim(STR(" \t\r\n\v\fa b \n")), "a b");
    assert_str(str_trim(STR("  ")), "");
}

static void test_str_to_u64__refuses_overflow_and_signs(void **state)
{
    (void)state;
    uint64_t u = 0;
    int64_t i = 0;

    assert_true(str_to_u64(STR("18446744073709551615"), &u));
    assert_true(u == UINT64_MAX);
    assert_false(str_to_u64(STR("18446744073709551616"), &u));
    assert_false(str_to_u64(STR("+1"), &u));
    assert_false(str_to_u64(STR(""), &u));
    assert_true(str_to_i64(STR("-9223372036854775808"), &i));
    assert_true(i == INT64_MIN);
    assert_false(str_to_i64(STR("9223372036854775808"), &i));
    assert_false(str_to_i64(STR("-9223372036854775809"), &i));
    assert_false(str_to_i64(STR("-"), &i));
    assert_false(str_to_i64(STR("--1"), &i));
}

/* What RFC 3629 forbids must not reach the index as a label value. */
static void test_str_is_utf8__is_strict(void **state)
{
    (void)state;
    struct str good[] = {STR(""),
                         STR("plain ascii text"),
                         STR("\xc3\xa9"),
                         STR("\xed\x9f\xbf"),
                         STR("\xee\x80\x80"),
                         STR("\xf0\x90\x80\x80"),
                         STR("\xf4\x8f\xbf\xbf"),
                         STR("12345678\xe2\x82\xac")};
    struct str bad[] = {STR("\x80"),
                        STR("\xc0\x80"),
                        STR("\xc1\xbf"),
                        STR("\xe0\x9f\xbf"),
                        STR("\xed\xa0\x80"),
                        STR("\xf0\x8f\xbf\xbf"),
                        STR("\xf4\x90\x80\x80"),
                        STR("\xf5\x80\x80\x80"),
                        STR("\xe2\x82"),
                        STR("12345678\xff"),
                        STR("1234567\xe2\x82")};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(str_is_utf8(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(str_is_utf8(bad[i]));
}

static void test_str_next_rune__moves_by_one_over_bad_bytes(void **state)
{
    (void)state;
    struct str s = STR("a\xe2\x82\xac\xe2\x82"
                       "b\xf0\x9f\x98\x80");
    uint32_t wanted[] = {'a', 0x20ac, 0xfffd, 0xfffd, 'b', 0x1f600};
    size_t at = 0;

    for (size_t i = 0; i < 6; i++)
        assert_int_equal(str_next_rune(s, &at), wanted[i]);
    assert_int_equal(at, s.len);
}

static void test_str_dup__ends_with_nul(void **state)
{
    (void)state;
    char *copy = str_dup(str_from("abc", 2));
    assert_string_equal(copy, "ab");
    mem_free(copy);
    copy = str_dup((struct str){NULL, 0});
    assert_string_equal(copy, "");
    mem_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str_cmp__orders_bytes_then_length),
        cmocka_unit_test(test_str_starts__and_ends_hold_for_empty_texts),
        cmocka_unit_test(test_str_find__yields_the_length_when_absent),
        cmocka_unit_test(test_str_cut__lets_a_loop_end_on_null),
        cmocka_unit_test(test_str_trim__takes_all_ascii_space),
        cmocka_unit_test(test_str_to_u64__refuses_overflow_and_signs),
        cmocka_unit_test(test_str_is_utf8__is_strict),
        cmocka_unit_test(test_str_next_rune__moves_by_one_over_bad_bytes),
        cmocka_unit_test(test_str_dup__ends_with_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
