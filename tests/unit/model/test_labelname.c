/* Names: what is legacy, what is valid, and the U__ escaping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/labels.h"

static void test_label_name_is_legacy__takes_only_the_old_alphabet(void **state)
{
    (void)state;
    const char *good[] = {"a", "_", "A9", "__name__", "a_b"};
    const char *bad[] = {"", "9", "a:b", "a.b", "a-b", "\xc3\xa4", "a b"};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(label_name_is_legacy(str_of(good[i])));
        assert_true(metric_name_is_legacy(str_of(good[i])));
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(label_name_is_legacy(str_of(bad[i])));
}

static void test_metric_name_is_legacy__takes_colons(void **state)
{
    (void)state;
    assert_true(metric_name_is_legacy(STR("a:b")));
    assert_true(metric_name_is_legacy(STR(":a9")));
    assert_false(metric_name_is_legacy(STR("9a")));
    assert_false(metric_name_is_legacy(STR("a.b")));
    assert_false(metric_name_is_legacy(STR("")));
}

static void test_label_name_is_valid__takes_any_utf8(void **state)
{
    (void)state;
    assert_true(label_name_is_valid(STR("a.b")));
    assert_true(label_name_is_valid(STR("9 \xc3\xa4")));
    assert_false(label_name_is_valid(STR("")));
    assert_false(label_name_is_valid(STR("a\xff")));
}

static void test_label_name_unescape__decodes_as_prometheus_does(void **state)
{
    (void)state;
    const char *cases[][2] = {
        {"", ""},
        {"plain__name", "plain__name"},
        {"U__", ""},
        {"U__a_2e_b", "a.b"},
        {"U__a_2E_b__c", "a.b_c"},
        {"U__a:b", "a:b"},
        {"U__label__with_201c_quotes_201d_", "label_with\xe2\x80\x9cquotes\xe2\x80\x9d"},
        {"U___1f4a9_", "\xf0\x9f\x92\xa9"},
        {"U____", "_"},
        {"U___00041_", "A"},
        /* Malformed: taken as they are. */
        {"U__a_", "U__a_"},
        {"U__a_2e", "U__a_2e"},
        {"U__a_zz_", "U__a_zz_"},
        {"U___d800_", "U___d800_"},
        {"U___10ffff_", "U___10ffff_"}, /* Prometheus reads five digits at most. */
        {"U___0000041_", "U___0000041_"},
    };
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str got = label_name_unescape(&arena, str_of(cases[i][0]));
        assert_true(str_eq(got, str_of(cases[i][1])));
    }
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_label_name_is_legacy__takes_only_the_old_alphabet),
        cmocka_unit_test(test_metric_name_is_legacy__takes_colons),
        cmocka_unit_test(test_label_name_is_valid__takes_any_utf8),
        cmocka_unit_test(test_label_name_unescape__decodes_as_prometheus_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
