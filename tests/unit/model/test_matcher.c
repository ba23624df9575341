/* Matchers: the four kinds, the empty value, and their texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/matcher.h"

static bool matches(enum matcher_type type, const char *pattern, struct str value)
{
    struct matcher matcher;
    struct err err;
    assert_true(matcher_init(&matcher, type, STR("x"), str_of(pattern), &err));
    bool result = matcher_matches(&matcher, value);
    matcher_deinit(&matcher);
    return result;
}

static void test_matcher_matches__knows_the_four_kinds(void **state)
{
    (void)state;
    assert_true(matches(MATCH_EQUAL, "a", STR("a")));
    assert_false(matches(MATCH_EQUAL, "a", STR("ab")));
    assert_true(matches(MATCH_NOT_EQUAL, "a", STR("ab")));
    assert_false(matches(MATCH_NOT_EQUAL, "a", STR("a")));
    /* Anchored, and a dot matches a newline. */
    assert_true(matches(MATCH_REGEX, "a.c", STR("a\nc")));
    assert_false(matches(MATCH_REGEX, "b", STR("abc")));
    assert_true(matches(MATCH_NOT_REGEX, "b", STR("abc")));
    assert_false(matches(MATCH_NOT_REGEX, "a|abc", STR("abc")));
}

static void test_matcher_matches__takes_any_byte_for_a_dot(void **state)
{
    (void)state;
    assert_true(matches(MATCH_REGEX, ".*", STR("")));
    assert_true(matches(MATCH_REGEX, ".*", STR("\xff\n")));
    assert_true(matches(MATCH_REGEX, ".+", STR("\xff\n")));
    assert_false(matches(MATCH_REGEX, ".+", STR("")));
    assert_false(matches(MATCH_NOT_REGEX, ".*", STR("")));
    assert_true(matches(MATCH_NOT_REGEX, ".+", STR("")));
}

static void test_matcher_init__fails_with_gos_text(void **state)
{
    (void)state;
    struct matcher matcher;
    struct err err;
    assert_false(matcher_init(&matcher, MATCH_REGEX, STR("x"), STR("(a"), &err));
    assert_string_equal(err.text, "error parsing regexp: missing closing ): `(a`");
    matcher_deinit(&matcher); /* Safe after a failure. */
}

static void test_matcher_matches_empty__tells_who_selects_absent_labels(void **state)
{
    (void)state;
    struct {
        enum matcher_type type;
        const char *value;
        bool want;
    } cases[] = {{MATCH_EQUAL, "", true},       {MATCH_EQUAL, "a", false},
                 {MATCH_NOT_EQUAL, "", false},  {MATCH_NOT_EQUAL, "a", true},
                 {MATCH_REGEX, "a*", true},     {MATCH_REGEX, "a+", false},
                 {MATCH_NOT_REGEX, "a+", true}, {MATCH_NOT_REGEX, "a*", false}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct matcher matcher;
        struct err err;
        assert_true(matcher_init(&matcher, cases[i].type, STR("x"), str_of(cases[i].value), &err));
        assert_int_equal(matcher_matches_empty(&matcher), cases[i].want);
        matcher_deinit(&matcher);
    }
}

static void test_matchers_match__needs_all(void **state)
{
    (void)state;
    struct label pairs[] = {{STR("a"), STR("1")}, {STR("b"), STR("2")}};
    struct labels *labels = labels_new(pairs, 2);
    struct matchers matchers = {.items = mem_alloc_array(3, sizeof(struct matcher)), .count = 3};
    struct err err;
    assert_true(matcher_init(&matchers.items[0], MATCH_EQUAL, STR("a"), STR("1"), &err));
    assert_true(matcher_init(&matchers.items[1], MATCH_EQUAL, STR("absent"), STR(""), &err));
    assert_true(matcher_init(&matchers.items[2], MATCH_REGEX, STR("b"), STR("[3-9]"), &err));
    assert_true(matchers_match(matchers.items, 0, labels));
    assert_true(matchers_match(matchers.items, 2, labels));
    assert_false(matchers_match(matchers.items, 3, labels));
    matchers_deinit(&matchers);
    assert_null(matchers.items);
    labels_unref(labels);
}

static void test_matcher_print__quotes_as_go_does(void **state)
{
    (void)state;
    struct {
        enum matcher_type type;
        const char *name, *value, *want;
    } cases[] = {
        {MATCH_EQUAL, "job", "a\"b", "job=\"a\\\"b\""},
        {MATCH_NOT_EQUAL, "a.b", "", "\"a.b\"!=\"\""},
        {MATCH_REGEX, "job", "a.*", "job=~\"a.*\""},
        {MATCH_NOT_REGEX, "job", "\\d", "job!~\"\\\\d\""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct matcher matcher;
        struct err err;
        struct buf buf;
        buf_init(&buf, 100);
        assert_true(matcher_init(&matcher, cases[i].type, str_of(cases[i].name),
                                 str_of(cases[i].value), &err));
        matcher_print(&buf, &matcher);
        assert_true(str_eq(buf_str(&buf), str_of(cases[i].want)));
        matcher_deinit(&matcher);
        buf_deinit(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matcher_matches__knows_the_four_kinds),
        cmocka_unit_test(test_matcher_matches__takes_any_byte_for_a_dot),
        cmocka_unit_test(test_matcher_init__fails_with_gos_text),
        cmocka_unit_test(test_matcher_matches_empty__tells_who_selects_absent_labels),
        cmocka_unit_test(test_matchers_match__needs_all),
        cmocka_unit_test(test_matcher_print__quotes_as_go_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
