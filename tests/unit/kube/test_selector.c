/* selector: the grammar of label selectors, as objects and as series see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "selector.h"

static struct arena arena;

static bool selects(const char *text, const char *name, const char *value)
{
    struct label labels[] = {{str_of(name), str_of(value)}, {STR("other"), STR("1")}};
    struct selector selector;
    struct err err = {0};

    assert_true(selector_parse(&selector, str_of(text), &arena, &err));
    return selector_matches(&selector, labels, 2);
}

static void check_matchers(const char *text, const char *wanted)
{
    struct selector selector;
    struct err err = {0};
    struct buf out;
    bool first = true;

    buf_init(&out, 1000);
    assert_true(selector_parse(&selector, str_of(text), &arena, &err));
    assert_true(selector_add_matchers(&selector, NULL, &out, &first, &err));
    buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, wanted);
    buf_deinit(&out);
}

static void check_json(const char *text, const char *wanted)
{
    struct selector selector;
    struct err err = {0};
    struct buf out;

    buf_init(&out, 1000);
    assert_true(selector_parse(&selector, str_of(text), &arena, &err));
    selector_add_json(&selector, &out);
    buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, wanted);
    buf_deinit(&out);
}

static void check_refused(const char *text, const char *wanted)
{
    struct selector selector;
    struct err err = {0};

    assert_false(selector_parse(&selector, str_of(text), &arena, &err));
    assert_string_equal(err.text, wanted);
}

/* Every operator, with what a missing label means to it. */
static void test_selector_matches__knows_every_operator(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    assert_true(selects("", "a", "b"));
    assert_true(selects("a=b", "a", "b"));
    assert_true(selects(" a == b , other = 1 ", "a", "b"));
    assert_false(selects("a=b", "a", "c"));
    assert_false(selects("a=b", "x", "b"));
    assert_true(selects("a!=b", "x", "b"));
    assert_false(selects("a!=b", "a", "b"));
    assert_true(selects("a in (x, b)", "a", "b"));
    assert_false(selects("a in (x,y)", "a", "b"));
    assert_false(selects("a notin (x,b)", "a", "b"));
    assert_true(selects("a notin (x,y)", "z", "b"));
    assert_true(selects("a", "a", ""));
    assert_false(selects("!a", "a", ""));
    assert_true(selects("!a", "b", ""));
    assert_true(selects("a=", "a", ""));
    assert_true(selects("a>3,a<5", "a", "4"));
    assert_false(selects("a>4", "a", "4"));
    assert_false(selects("a>4", "a", "five"));
    assert_true(selects("app.kubernetes.io/name=api", "app.kubernetes.io/name", "api"));
    assert_true(selects("in=b", "in", "b"));
    arena_deinit(&arena);
}

/* What a person mistypes is refused, not understood as something else. */
static void test_selector_parse__refuses_what_is_no_selector(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    check_refused("a===b",
                  "unable to parse requirement: found '=', expected: ',' or 'end of string'");
    check_refused("a b",
                  "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
    check_refused("a in x", "unable to parse requirement: found 'x', expected: '('");
    check_refused("a in (x", "unable to parse requirement: found '', expected: ',' or ')'");
    check_refused("a=b,", "unable to parse requirement: found '', expected: identifier after ','");
    check_refused("=b", "unable to parse requirement: found '=', expected: identifier");
    check_refused("a>x",
                  "unable to parse requirement: values: Invalid value: \"x\": for 'Gt', 'Lt' "
                  "operators, the value must be an integer");
    arena_deinit(&arena);
}

/* Values are texts: a dot in one must not match any character, a quote must not end the matcher. */
static void test_selector_add_matchers__quotes_values(void **state)
{
    struct selector selector;
    struct err err = {0};
    struct buf out;
    bool first = true;

    (void)state;
    arena_init(&arena, 0);
    check_matchers("db=db0", "db=\"db0\"");
    check_matchers("a in (x.y,b),c!=d", "a=~\"b|x\\\\.y\",c!=\"d\"");
    check_matchers("e,!f,g notin (h,i)", "e!=\"\",f=\"\",g!~\"h|i\"");
    check_matchers("a=\"},x{", "a=\"\\\"}\",\"x{\"!=\"\"");
    check_matchers("a/b=c", "\"a/b\"=\"c\"");
    assert_true(selector_parse(&selector, STR("a>1"), &arena, &err));
    buf_init(&out, 100);
    assert_false(selector_add_matchers(&selector, NULL, &out, &first, &err));
    buf_deinit(&out);
    arena_deinit(&arena);
}

/* The LabelSelector of MetricValue.selector. */
static void test_selector_add_json__writes_a_label_selector(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    check_json("", "null");
    check_json("db=db0,a==b", "{\"matchLabels\":{\"db\":\"db0\",\"a\":\"b\"}}");
    check_json("a=1,a=2", "{\"matchLabels\":{\"a\":\"2\"}}");
    check_json(
        "x in (b,a)",
        "{\"matchExpressions\":[{\"key\":\"x\",\"operator\":\"In\",\"values\":[\"a\",\"b\"]}]}");
    check_json("a=1,!b,c",
               "{\"matchLabels\":{\"a\":\"1\"},\"matchExpressions\":[{\"key\":\"b\",\"operator\":"
               "\"DoesNotExist\"},{\"key\":\"c\",\"operator\":\"Exists\"}]}");
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selector_matches__knows_every_operator),
        cmocka_unit_test(test_selector_parse__refuses_what_is_no_selector),
        cmocka_unit_test(test_selector_add_matchers__quotes_values),
        cmocka_unit_test(test_selector_add_json__writes_a_label_selector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
