/* template: the part of Go templates that queries are made with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "template.h"

static const struct template_values values = {
    .series = {"s", 1},
    .matchers = {"a=\"b\"", 5},
    .group_by = {{"pod", 3}, {"c", 1}},
    .group_by_count = 2,
    .values = {{{"namespace", 9}, {"ode", 3}}, {{"pod", 3}, {"x|y", 3}}},
    .value_count = 2,
    .resource = {"pod", 3},
    .group = {"apps", 4},
};

static void check(enum template_use use, const char *text, const char *wanted)
{
    struct template template;
    struct arena arena;
    struct err err = {0};
    struct buf out;

    arena_init(&arena, 0);
    buf_init(&out, 1000);
    assert_true(template_parse(&template, str_of(text), use, &arena, &err));
    assert_true(template_render(&template, &values, &out, &err));
    assert_true(str_eq(buf_str(&out), str_of(wanted)));
    buf_deinit(&out);
    arena_deinit(&arena);
}

/* All actions, white space inside and trimming outside. */
static void test_template_render__fills_in_values(void **state)
{
    (void)state;
    check(TEMPLATE_QUERY, "", "");
    check(TEMPLATE_QUERY, "up", "up");
    check(TEMPLATE_QUERY, "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
          "sum(s{a=\"b\"}) by (pod,c)");
    check(TEMPLATE_QUERY, "<< .Series >>", "s");
    check(TEMPLATE_QUERY, "x <<- .Series ->> y", "xsy");
    check(TEMPLATE_QUERY, "<<index .LabelValuesByName \"namespace\">>", "ode");
    check(TEMPLATE_QUERY, "<<index .LabelValuesByName `pod`>>", "x|y");
    check(TEMPLATE_QUERY, "<<.LabelValuesByName.namespace>>", "ode");
    check(TEMPLATE_QUERY, "<<index .LabelValuesByName \"none\">>", "");
    check(TEMPLATE_QUERY, "<<index .GroupBySlice 1>>", "c");
    check(TEMPLATE_QUERY, "a < b > c", "a < b > c");
    check(TEMPLATE_LABEL, "kube_<<.Group>>_<<.Resource>>", "kube_apps_pod");
}

/* Half a template is none. */
static void test_template_parse__refuses_other_actions(void **state)
{
    const char *bad[] = {"<<.Series",
                         "<<>>",
                         "<<.Nope>>",
                         "<<index .X 1>>",
                         "<<if .Series>>",
                         "<<.Resource>>",
                         "<<index .GroupBySlice \"0\">>",
                         "<<index .GroupBySlice 0 1>>",
                         "<<.Series | printf>>"};
    struct template template;
    struct arena arena;
    struct err err = {0};

    (void)state;
    arena_init(&arena, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(template_parse(&template, str_of(bad[i]), TEMPLATE_QUERY, &arena, &err));
    assert_false(template_parse(&template, STR("<<.Series>>"), TEMPLATE_LABEL, &arena, &err));
    arena_deinit(&arena);
}

/* A query by a grouping that is not there must not run. */
static void test_template_render__fails_past_the_groups(void **state)
{
    struct template template;
    struct arena arena;
    struct err err = {0};
    struct buf out;

    (void)state;
    arena_init(&arena, 0);
    buf_init(&out, 100);
    assert_true(
        template_parse(&template, STR("<<index .GroupBySlice 2>>"), TEMPLATE_QUERY, &arena, &err));
    assert_false(template_render(&template, &values, &out, &err));
    assert_string_equal(err.text, "index out of range: .GroupBySlice has 2 items");
    buf_deinit(&out);
    arena_deinit(&arena);
}

/* A name out of a request must not become a piece of the query. */
static void test_template_render__refuses_values_that_are_no_names(void **state)
{
    const struct str bad[] = {STR("x\"} or secret{a=\""),
                              STR("x'"),
                              STR("x\\"),
                              STR("x\n"),
                              STR("x y"),
                              STR("a{b}"),
                              STR("a`b"),
                              {"x\0y", 3}};
    struct template template;
    struct arena arena;
    struct err err = {0};
    struct buf out;

    (void)state;
    arena_init(&arena, 0);
    buf_init(&out, 1000);
    assert_true(template_parse(&template, STR("s{pod=\"<<index .LabelValuesByName \"pod\">>\"}"),
                               TEMPLATE_QUERY, &arena, &err));
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct template_values mine = {.values = {{STR("pod"), bad[i]}}, .value_count = 1};
        assert_false(template_render(&template, &mine, &out, &err));
        assert_int_equal(err.code, ERR_BAD_DATA);
    }
    struct template_values plain = {.values = {{STR("pod"), STR("w-0.a_b|n/1:x")}},
                                    .value_count = 1};
    buf_clear(&out);
    assert_true(template_render(&template, &plain, &out, &err));
    assert_true(str_eq(buf_str(&out), STR("s{pod=\"w-0.a_b|n/1:x\"}")));
    buf_deinit(&out);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_template_render__fills_in_values),
        cmocka_unit_test(test_template_parse__refuses_other_actions),
        cmocka_unit_test(test_template_render__fails_past_the_groups),
        cmocka_unit_test(test_template_render__refuses_values_that_are_no_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
