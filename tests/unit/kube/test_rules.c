/* rules: prometheus-adapter's configuration: what is read, what is refused, and how names go both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rules.h"

static const char rules_text[] =
    "rules:\n"
    "- seriesQuery: 'http_requests_total{namespace!=\"\",pod!=\"\"}'\n"
    "  resources:\n"
    "    overrides:\n"
    "      kubernetes_namespace: {resource: \"namespace\"}\n"
    "      kubernetes_pod_name: {resource: pod}\n"
    "      deploy: {group: apps, resource: deployment}\n"
    "  name: {matches: \"^(.*)_total\", as: \"${1}_per_second\"}\n"
    "  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'\n"
    "- seriesQuery: '{__name__=~\"^some_.*\"}'\n"
    "  seriesFilters: [{is: foo}, {isNot: bar$}]\n"
    "  resources: {template: \"kube_<<.Group>>_<<.Resource>>\"}\n"
    "  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n"
    "externalRules:\n"
    "- seriesQuery: '{__name__=~\"^.*_queue$\"}'\n"
    "  resources: {namespaced: false}\n"
    "  metricsQuery: max(<<.Series>>{<<.LabelMatchers>>}) by (name)\n";

static void check_refused(const char *text, const char *wanted)
{
    struct rule_set *set;
    struct err err = {0};

    assert_false(rule_set_parse(&set, str_of(text), &err));
    assert_null(set);
    assert_string_equal(err.text, wanted);
}

static void check_label(const struct resource_map *map, const char *name, const char *group,
                        const char *wanted)
{
    struct arena arena;
    struct str label;

    arena_init(&arena, 0);
    struct resource resource = resource_find(str_of(name), str_of(group), &arena);
    if (!wanted) {
        assert_false(resource_map_label(map, &resource, &arena, &label));
    } else {
        assert_true(resource_map_label(map, &resource, &arena, &label));
        assert_int_equal(label.len, strlen(wanted));
        assert_memory_equal(label.ptr, wanted, label.len);
    }
    arena_deinit(&arena);
}

/* A file as people have it. */
static void test_rule_set_parse__reads_a_file(void **state)
{
    struct rule_set *set;
    struct err err = {0};

    (void)state;
    assert_true(rule_set_parse(&set, str_of(rules_text), &err));
    assert_int_equal(set->rule_count, 2);
    assert_int_equal(set->external_count, 1);
    assert_int_equal(set->rules[1].line, 10);
    assert_true(str_eq(set->rules[0].pinned, STR("http_requests_total")));
    check_label(&set->rules[0].resources, "pods", "", "kubernetes_pod_name");
    check_label(&set->rules[0].resources, "deployments", "apps", "deploy");
    check_label(&set->rules[0].resources, "services", "", NULL);
    check_label(&set->rules[1].resources, "pods", "", "kube__pod");
    check_label(&set->rules[1].resources, "ingresses", "networking.k8s.io",
                "kube_networking_k8s_io_ingress");
    assert_false(set->external[0].resources.namespaced);
    rule_set_unref(set);
}

/* As adapters read them: nodes lie in no namespace; a value by name may stand where only it makes a query. */
static void test_rule_set_parse__takes_rules_of_nodes_and_of_values(void **state)
{
    struct rule_set *set;
    struct err err = {0};

    (void)state;
    assert_true(rule_set_parse(&set,
                               STR("rules:\n- seriesQuery: node_load1\n"
                                   "  resources: {overrides: {instance: {resource: node}}}\n"
                                   "  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by "
                                   "(<<.GroupBy>>)\n"
                                   "- seriesQuery: up\n  resources: {template: <<.Resource>>}\n"
                                   "  metricsQuery: <<.Series>> > <<index .LabelValuesByName "
                                   "\"limit\">>\n"),
                               &err));
    check_label(&set->rules[0].resources, "nodes", "", "instance");
    check_label(&set->rules[0].resources, "namespaces", "", NULL);
    rule_set_unref(set);
}

/* The rules that are built in are read by the same reader. */
static void test_rule_set_load__has_rules_without_a_file(void **state)
{
    struct rule_set *set;
    struct err err = {0};

    (void)state;
    assert_true(rule_set_load(&set, STR_EMPTY, &err));
    assert_true(set->built_in && set->cpu.given && set->memory.given);
    assert_int_equal(set->window_ms, 30000); /* irate: two scrapes. */
    for (size_t i = 0; i < set->rule_count; i++)
        assert_true(set->rules[i].name.reversible);
    rule_set_unref(set);
    assert_false(rule_set_load(&set, STR("/nonexistent/rules.yml"), &err));
    assert_string_equal(err.text, "open /nonexistent/rules.yml: No such file or directory");
}

/* What is not understood is told with its line. */
static void test_rule_set_parse__refuses_what_it_does_not_know(void **state)
{
    (void)state;
    check_refused("rules:\n- seriesQuery: up\n  serieFilters: []\n",
                  "line 3: field serieFilters is not known in a rule");
    check_refused("rulez: []\n", "line 1: field rulez is not known in the configuration");
    check_refused("rules:\n- seriesQuery: up\n  resources: {template: <<.Resource>>}\n",
                  "line 2: a rule needs a metricsQuery");
    check_refused("rules:\n- metricsQuery: up\n", "line 2: a rule needs a seriesQuery");
    check_refused("rules:\n- seriesQuery: up\n  metricsQuery: up\n",
                  "line 2: a rule needs resources: overrides or a template");
    check_refused("rules:\n- seriesQuery: up\n  seriesQuery: up\n",
                  "line 3: field seriesQuery stands twice in a rule");
    check_refused("rules:\n- seriesQuery: 'up{'\n",
                  "line 2: seriesQuery: 1:4: parse error: unexpected end of input inside braces");
    check_refused("rules:\n- seriesQuery: up\n  seriesFilters: [{is: a, isNot: b}]\n",
                  "line 3: a filter needs either `is` or `isNot`");
    check_refused("rules:\n- seriesQuery: up\n  name: {matches: '^(a)(b)$'}\n",
                  "line 3: must specify an 'as' value for name matcher \"^(a)(b)$\"");
    check_refused("rules:\n- seriesQuery: up\n  metricsQuery: '<<range .GroupBySlice>>'\n",
                  "line 3: <<range .GroupBySlice>> is not supported in a template here; known are "
                  ".Series, .LabelMatchers, .GroupBy, index .GroupBySlice 0 and index "
                  ".LabelValuesByName \"label\"");
    check_refused(
        "rules:\n- seriesQuery: up\n  resources: {overrides: {pod: {resource: pod}}}\n  "
        "metricsQuery: up\n",
        "line 2: resources name no label for the namespace: add one, or namespaced: false");
    check_refused(
        "externalRules:\n- seriesQuery: up\n  metricsQuery: up\n",
        "line 2: resources name no label for the namespace: add one, or namespaced: false");
    check_refused(
        "rules:\n- seriesQuery: up\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}\n",
        "line 3: query: 1:26: parse error: unclosed left parenthesis");
    check_refused("rules:\n- seriesQuery: up\n  metricsQuery: '<<.Series>>[5m]'\n",
                  "line 3: query: it gives a matrix; an instant vector is wanted");
    check_refused("resourceRules: {window: 1x}\n", "line 1: unknown unit \"x\" in duration \"1x\"");
}

/* The name that a series gets, and the series that a name comes from; "" for none, NULL for several. */
static void check_name(const char *matches, const char *as, const char *series, const char *metric,
                       const char *back)
{
    struct rule_name name;
    struct arena arena;
    struct err err = {0};
    struct str found;
    struct buf out;

    arena_init(&arena, 0);
    buf_init(&out, 1000);
    assert_true(rule_name_init(&name, str_of(matches), str_of(as), &arena, &err));
    bool good = rule_name_metric(&name, str_of(series), &out);
    assert_int_equal(good, metric != NULL);
    assert_true(!metric || str_eq(buf_str(&out), str_of(metric)));
    bool reversed = metric && rule_name_series(&name, str_of(metric), &arena, &found);
    assert_int_equal(reversed, back != NULL);
    assert_true(!reversed || str_eq(found, str_of(back)));
    rule_name_deinit(&name);
    buf_deinit(&out);
    arena_deinit(&arena);
}

/* Go looks anywhere in the name, expands by its own rules, and our way back agrees or is not taken. */
static void test_rule_name__goes_both_ways(void **state)
{
    (void)state;
    check_name("", "", "up", "up", "up");
    check_name("^(.*)_total$", "", "a_total", "a", "a_total");
    check_name("^(.*)_total$", "${1}_per_second", "a_total", "a_per_second", "a_total");
    check_name("^(.*)_total$", "x_$1", "a_total", "x_a", "a_total");
    check_name("^(.*)_total$", "$1_per_second", "a_total", "", NULL);
    check_name("^(.*)_total$", "", "a", NULL, NULL);
    check_name("^container_(.*)_seconds_total$", "", "container_cpu_seconds_total", "cpu",
               "container_cpu_seconds_total");
    check_name("^(.*)_total", "", "a_total_b", "a", NULL);
    check_name("foo", "bar_$0", "a_foo_b", "bar_foo", NULL);
    check_name("^foo$", "bar", "foo", "bar", "foo");
    check_name("foo(.)", "${1}", "xfoo12", "1", NULL);
    check_name("(?P<a>x+)y", "${a}", "xxy", "xx", NULL);
    check_name("(a)(b)", "$2$1", "ab", "ba", NULL);
    check_name("a", "$$0", "a", "$0", NULL);
    check_name("[(](a)", "", "(a", "a", NULL);
}

/* The filters of a rule are unanchored. */
static void test_rule_metric__obeys_the_filters(void **state)
{
    struct rule_set *set;
    struct err err = {0};
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    assert_true(rule_set_parse(&set, str_of(rules_text), &err));
    assert_true(rule_metric(&set->rules[1], STR("some_foo_x"), &out));
    assert_false(rule_metric(&set->rules[1], STR("some_x"), &out));
    assert_false(rule_metric(&set->rules[1], STR("some_foo_bar"), &out));
    assert_true(rule_metric(&set->rules[1], STR("some_foo_bar_x"), &out));
    rule_set_unref(set);
    buf_deinit(&out);
}

/* Targets choose names of series and askers those of resources: neither may become a piece of the query. */
static void test_rules__take_no_query_for_a_name(void **state)
{
    static const char *const names[] = {"some_foo x",  "some_foo{} or x", "some_foo-x",
                                        "some_foo\"x", "some_foo)+(x",    "some_foo\nx",
                                        "some_foo#x",  "some_foo,x"};
    struct rule_set *set;
    struct err err = {0};
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    assert_true(rule_set_parse(&set, str_of(rules_text), &err));
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_false(rule_metric(&set->rules[1], str_of(names[i]), &out));
    assert_true(rule_metric(&set->rules[1], STR("some_foo.x"), &out));
    check_label(&set->rules[1].resources, "x) (secret", "", NULL);
    check_label(&set->rules[1].resources, "xs", "a,b", NULL);
    rule_set_unref(set);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule_set_parse__reads_a_file),
        cmocka_unit_test(test_rule_set_parse__takes_rules_of_nodes_and_of_values),
        cmocka_unit_test(test_rule_set_load__has_rules_without_a_file),
        cmocka_unit_test(test_rule_set_parse__refuses_what_it_does_not_know),
        cmocka_unit_test(test_rule_name__goes_both_ways),
        cmocka_unit_test(test_rule_metric__obeys_the_filters),
        cmocka_unit_test(test_rules__take_no_query_for_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
