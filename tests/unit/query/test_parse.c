/* parse: the tables of tests/golden/parse, the places of nodes, and limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ast.h"
#include "base/mem.h"
#include "functions.h"
#include "parse_table.h"
#include "query.h"

/* What a table's line shows: the printed tree, or "error: text". */
static void show_expr(struct buf *out, struct str text, unsigned features)
{
    struct parse_options options = {.features = features};
    struct arena arena;
    struct expr *expr;
    struct err err;

    arena_init(&arena, 0);
    if (parse_expr(text, &options, &arena, &expr, &err))
        expr_print(out, expr);
    else
        buf_addf(out, "error: %s", err.text);
    expr_deinit(expr);
    arena_deinit(&arena);
}

static void show_selector(struct buf *out, struct str text)
{
    struct matchers matchers;
    struct err err;

    if (!query_parse_selector(text, &matchers, &err)) {
        buf_addf(out, "error: %s", err.text);
        return;
    }
    for (size_t i = 0; i < matchers.count; i++) {
        if (i > 0)
            BUF_ADD(out, " ");
        matcher_print(out, &matchers.items[i]);
    }
    matchers_deinit(&matchers);
}

static void show_metric(struct buf *out, struct str text)
{
    struct labels *labels;
    struct err err;

    if (!query_parse_metric(text, &labels, &err)) {
        buf_addf(out, "error: %s", err.text);
        return;
    }
    labels_print(out, labels);
    labels_unref(labels);
}

static size_t check_table(const char *name)
{
    struct parse_table table;
    struct parse_row row;
    size_t differing = 0;
    struct buf shown;

    buf_init(&shown, 1 << 20);
    parse_table_open(&table, name);
    while (parse_table_next(&table, &row)) {
        buf_clear(&shown);
        if (strcmp(table.mode, "expr") == 0)
            show_expr(&shown, row.text, table.features);
        else if (strcmp(table.mode, "selector") == 0)
            show_selector(&shown, row.text);
        else
            show_metric(&shown, row.text);
        if (str_eq(buf_str(&shown), row.expected))
            continue;
        differing++;
        print_error("%s: " STR_FMT "\n  expected " STR_FMT "\n  got      " STR_FMT "\n", name,
                    STR_ARG(row.text), STR_ARG(row.expected), STR_ARG(buf_str(&shown)));
    }
    size_t rows = table.rows;
    parse_table_close(&table);
    buf_deinit(&shown);
    assert_int_equal(differing, 0);
    return rows;
}

/* What Prometheus 3.14 prints or says, to the character. */
static void test_parse_expr__agrees_with_the_tables(void **state)
{
    static const char *const names[] = {"literals", "operators",  "selectors", "modifiers",
                                        "ranges",   "aggregates", "functions", "experimental"};
    size_t rows = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        rows += check_table(names[i]);
    assert_true(rows >= 800);
}

/* match[] takes a selector and nothing else, but one that selects all. */
static void test_query_parse_selector__agrees_with_the_table(void **state)
{
    (void)state;
    assert_true(check_table("match") >= 20);
}

static void test_query_parse_metric__agrees_with_the_table(void **state)
{
    (void)state;
    assert_true(check_table("metric") >= 20);
}

static bool parses(struct str text, unsigned features, struct err *err)
{
    struct parse_options options = {.features = features};
    struct arena arena;
    struct expr *expr;

    arena_init(&arena, 0);
    bool good = parse_expr(text, &options, &arena, &expr, err);
    expr_deinit(expr);
    arena_deinit(&arena);
    return good;
}

/* `before` count times, `middle`, `after` count times. */
static bool repeated_parses(const char *before, size_t count, const char *middle, const char *after,
                            struct err *err)
{
    struct buf text;

    buf_init(&text, 16 << 20);
    for (size_t i = 0; i < count; i++)
        buf_add_str(&text, str_of(before));
    buf_add_str(&text, str_of(middle));
    for (size_t i = 0; i < count; i++)
        buf_add_str(&text, str_of(after));
    bool good = parses(buf_str(&text), 0, err);
    buf_deinit(&text);
    return good;
}

/* Nesting is bounded in every way in which it can grow, so that no query overflows a stack. */
static void test_parse_expr__limits_depth(void **state)
{
    static const struct {
        const char *before, *middle, *after;
    } rows[] = {
        {"(", "1", ")"},         {"-(", "foo", ")"},        {"- ", "foo", ""},
        {"abs(", "foo", ")"},    {"sum(", "foo", ")"},      {"1 ^ ", "1", ""},
        {"", "1", " + 1"},       {"", "foo", "[5m:]"},      {"foo or ", "foo", ""},
        {"1 * (", "1", " - 1)"}, {"", "foo", " @ 1m[1m:]"},
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (strcmp(rows[i].after, " @ 1m[1m:]") == 0 || strcmp(rows[i].after, "[5m:]") == 0)
            continue; /* A subquery of a subquery is a type error before it is too deep. */
        assert_true(repeated_parses(rows[i].before, 300, rows[i].middle, rows[i].after, &err));
        assert_false(repeated_parses(rows[i].before, 100000, rows[i].middle, rows[i].after, &err));
        assert_non_null(strstr(err.text, "nested too deeply, at most 1000 levels"));
    }
    assert_false(repeated_parses("(", 200000, "", "", &err));
    assert_false(repeated_parses("", 100000, "foo[1]", "[5m:]", &err));
    assert_false(repeated_parses("foo[(", 100000, "", "", &err));
    struct buf text;
    buf_init(&text, 1 << 20);
    BUF_ADD(&text, "foo[");
    for (int i = 0; i < 100000; i++)
        BUF_ADD(&text, "(");
    assert_false(parses(buf_str(&text), 0, &err));
    assert_non_null(strstr(err.text, "nested too deeply"));
    buf_clear(&text);
    BUF_ADD(&text, "foo offset -");
    for (int i = 0; i < 100000; i++)
        BUF_ADD(&text, "-");
    assert_false(parses(buf_str(&text), 0, &err));
    assert_non_null(strstr(err.text, "nested too deeply"));
    buf_deinit(&text);
}

/* Long texts are refused before anything is made of them; what is just short enough still works. */
static void test_parse_expr__limits_length(void **state)
{
    struct err err;
    struct buf text;

    (void)state;
    buf_init(&text, 4 << 20);
    BUF_ADD(&text, "foo{a=~\"x");
    while (text.len < EXPR_TEXT_BYTES_MAX - 2)
        BUF_ADD(&text, "x");
    BUF_ADD(&text, "\"}");
    assert_int_equal(text.len, EXPR_TEXT_BYTES_MAX);
    text.ptr[6] = '!';
    text.ptr[5] = 'a';
    text.ptr[4] = 'a';
    text.ptr[6] = '=';
    text.ptr[7] = '"';
    assert_true(parses(buf_str(&text), 0, &err));
    BUF_ADD(&text, " ");
    assert_false(parses(buf_str(&text), 0, &err));
    assert_string_equal(err.text, "1:1: parse error: expression is too long, at most 1048576 "
                                  "bytes are allowed");
    buf_deinit(&text);
}

/* Thousands of items side by side are no nesting. */
static void test_parse_expr__takes_wide_expressions(void **state)
{
    struct err err;
    struct buf text;

    (void)state;
    buf_init(&text, 1 << 20);
    BUF_ADD(&text, "label_join(foo, \"a\", \"b\"");
    for (int i = 0; i < 5000; i++)
        BUF_ADD(&text, ", \"c\"");
    BUF_ADD(&text, ")");
    assert_true(parses(buf_str(&text), 0, &err));
    buf_clear(&text);
    BUF_ADD(&text, "sum by (a");
    for (int i = 0; i < 5000; i++)
        BUF_ADD(&text, ",a");
    BUF_ADD(&text, ") ({b=\"c\"");
    for (int i = 0; i < 5000; i++)
        BUF_ADD(&text, ",b=~\"c\"");
    BUF_ADD(&text, "})");
    assert_true(parses(buf_str(&text), 0, &err));
    buf_deinit(&text);
}

/* A failed parse frees the regexes that it made (a leak shows under the address sanitizer), and
 * errors show nothing of a tree. */
static void test_parse_expr__frees_what_a_failure_leaves(void **state)
{
    struct err err;

    (void)state;
    assert_false(parses(STR("foo{a=~\"b.*\"} + bar{c=~\"d.*\"} +"), 0, &err));
    assert_false(parses(STR("rate(foo{a=~\"b.*\",c=~\"d\"})"), 0, &err));
    assert_false(parses(STR("foo{a=~\"b.*\",c=~\"(\"}"), 0, &err));
    assert_int_equal(err.code, ERR_BAD_DATA);
    assert_non_null(strstr(err.text, "1:14: parse error: error parsing regexp: missing closing )"));
    assert_false(parses(STR("foo{a=~\"b.*\"} @ 5 @ 6"), 0, &err));
}

/* Walks in the order of the text's operators: node, then its parts. */
static void add_places(struct buf *out, const struct expr *expr)
{
    buf_addf(out, "%s%zu-%zu", out->len > 0 ? " " : "", expr->start, expr->end);
    switch (expr->kind) {
    case EXPR_MATRIX_SELECTOR:
        add_places(out, expr->as.matrix.vector);
        return;
    case EXPR_SUBQUERY:
        add_places(out, expr->as.subquery.expr);
        return;
    case EXPR_PAREN:
        add_places(out, expr->as.paren.expr);
        return;
    case EXPR_UNARY:
        add_places(out, expr->as.unary.expr);
        return;
    case EXPR_BINARY:
        add_places(out, expr->as.binary.lhs);
        add_places(out, expr->as.binary.rhs);
        return;
    case EXPR_CALL:
        for (size_t i = 0; i < expr->as.call.arg_count; i++)
            add_places(out, expr->as.call.args[i]);
        return;
    case EXPR_AGGREGATE:
        add_places(out, expr->as.aggregate.expr);
        if (expr->as.aggregate.param)
            add_places(out, expr->as.aggregate.param);
        return;
    default:
        return;
    }
}

/* Annotations quote these places, so they follow Prometheus even where they look odd: the parser
 * has to look behind an aggregation's parenthesis, and takes the end from what was read last. */
static void test_parse_expr__gives_each_node_its_place(void **state)
{
    static const struct {
        const char *text, *places;
    } rows[] = {
        {"foo", "0-3"},
        {"foo{a=\"b\"} ", "0-10"},
        {"sum(foo)", "0-8 4-7"},
        {"(sum(foo))", "0-10 1-9 5-8"},
        {"(sum(foo) )", "0-11 1-9 5-8"},
        {"sum(foo) by (a)", "0-15 4-7"},
        {"sum by (a) (foo) + 1", "0-20 0-16 12-15 19-20"},
        {"sum(foo offset 5m)", "0-18 4-17"},
        {"sum(foo offset (5m))", "0-20 4-20"},
        {"sum(foo offset -step())", "0-23 4-22"},
        {"topk(5, foo)", "0-12 8-11 5-6"},
        {"rate(foo[5m])", "0-13 5-12 5-8"},
        {"rate(foo[5m] offset 1m )", "0-24 5-22 5-8"},
        {"sum(sum(sum(foo)))", "0-18 4-17 8-16 12-15"},
        {"abs(sum(foo))", "0-13 4-12 8-11"},
        {"-foo", "0-4 1-4"},
        {"- (foo)", "0-7 2-7 3-6"},
        {"-5", "0-2"},
        {"foo + bar * baz", "0-15 0-3 6-15 6-9 12-15"},
        {"(foo + bar) * 2", "0-15 0-11 1-10 1-4 7-10 14-15"},
        {"foo[5m:1m] @ 5", "0-14 0-3"},
        {"foo @ start() offset 5m", "0-23"},
        {"max_over_time(foo[5m:] offset 1m)", "0-33 14-32 14-17"},
        {"sum(foo) # c\n", "0-8 4-7"},
        {"foo anchored + bar smoothed", "0-18 0-3 15-18"},
        {"\"a\"", "0-3"},
        {"time() - 5m", "0-11 0-6 9-11"},
    };
    struct parse_options options = {.features = PARSE_TABLE_FEATURES_ALL};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct arena arena;
        struct expr *expr;
        struct err err;
        struct buf places;
        arena_init(&arena, 0);
        buf_init(&places, 4096);
        assert_true(parse_expr(str_of(rows[i].text), &options, &arena, &expr, &err));
        add_places(&places, expr);
        buf_add_char(&places, '\0');
        assert_string_equal(places.ptr, rows[i].places);
        expr_deinit(expr);
        buf_deinit(&places);
        arena_deinit(&arena);
    }
}

/* What the evaluator relies on: the fields that printing does not show. */
static void test_parse_expr__fills_the_tree(void **state)
{
    struct parse_options options = {0};
    struct arena arena;
    struct expr *expr;
    struct err err;

    (void)state;
    arena_init(&arena, 0);
    assert_true(parse_expr(STR("foo[5m] offset -1.5 @ 2.0004"), &options, &arena, &expr, &err));
    assert_int_equal(expr->kind, EXPR_MATRIX_SELECTOR);
    assert_int_equal(expr->type, TYPE_MATRIX);
    assert_int_equal(expr->as.matrix.range_ms, 300000);
    assert_int_equal(expr->as.matrix.vector->as.vector.mod.offset_ms, -1500);
    assert_int_equal(expr->as.matrix.vector->as.vector.mod.at, AT_TIME);
    assert_int_equal(expr->as.matrix.vector->as.vector.mod.at_ms, 2000);
    assert_int_equal(expr->depth, 2);
    expr_deinit(expr);

    assert_true(parse_expr(STR("a * on (x) group_left (y) b"), &options, &arena, &expr, &err));
    assert_int_equal(expr->as.binary.matching.card, CARD_MANY_TO_ONE);
    assert_true(expr->as.binary.matching.on && expr->as.binary.matching.present);
    assert_int_equal(expr->as.binary.matching.include_count, 1);
    expr_deinit(expr);

    /* Matching means nothing beside a scalar. */
    assert_true(parse_expr(STR("a * on () 2"), &options, &arena, &expr, &err));
    assert_false(expr->as.binary.matching.present || expr->as.binary.matching.on);
    assert_int_equal(expr->type, TYPE_VECTOR);
    expr_deinit(expr);

    assert_true(parse_expr(STR("a and b"), &options, &arena, &expr, &err));
    assert_int_equal(expr->as.binary.matching.card, CARD_MANY_TO_MANY);
    expr_deinit(expr);

    assert_true(parse_expr(STR("-2m"), &options, &arena, &expr, &err));
    assert_int_equal(expr->kind, EXPR_NUMBER);
    assert_true(expr->as.number.value == -120 && expr->as.number.is_duration);
    arena_deinit(&arena);
}

/* The table is searched by halves. */
static void test_function_find__finds_every_row(void **state)
{
    (void)state;
    for (int id = 0; id < FN_COUNT; id++) {
        const struct function *function = function_of((enum function_id)id);
        assert_int_equal(function->id, id);
        assert_ptr_equal(function_find(str_of(function->name)), function);
        assert_true(function->arg_count <= FUNCTION_ARGS_MAX);
        for (int i = 0; i < function->arg_count; i++)
            assert_true(function->args[i] != TYPE_NONE);
    }
    assert_null(function_find(STR("RATE")));
    assert_null(function_find(STR("")));
    assert_null(function_find(STR("zzz")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_expr__agrees_with_the_tables),
        cmocka_unit_test(test_query_parse_selector__agrees_with_the_table),
        cmocka_unit_test(test_query_parse_metric__agrees_with_the_table),
        cmocka_unit_test(test_parse_expr__limits_depth),
        cmocka_unit_test(test_parse_expr__limits_length),
        cmocka_unit_test(test_parse_expr__takes_wide_expressions),
        cmocka_unit_test(test_parse_expr__frees_what_a_failure_leaves),
        cmocka_unit_test(test_parse_expr__gives_each_node_its_place),
        cmocka_unit_test(test_parse_expr__fills_the_tree),
        cmocka_unit_test(test_function_find__finds_every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
