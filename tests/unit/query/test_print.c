/* print: trees as text, on one line and over several, and as JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ast.h"
#include "base/json.h"
#include "parse_table.h"
#include "query.h"

typedef bool (*show_fn)(struct str text, unsigned features, struct buf *out, struct err *err);

static void check_table(const char *name, show_fn show, size_t rows_least)
{
    struct parse_table table;
    struct parse_row row;
    struct err err;
    struct buf shown;

    buf_init(&shown, 1 << 20);
    parse_table_open(&table, name);
    while (parse_table_next(&table, &row)) {
        buf_clear(&shown);
        assert_true(show(row.text, table.features, &shown, &err));
        if (str_eq(buf_str(&shown), row.expected))
            continue;
        fail_msg("%s: " STR_FMT "\n  expected " STR_FMT "\n  got      " STR_FMT "\n", name,
                 STR_ARG(row.text), STR_ARG(row.expected), STR_ARG(buf_str(&shown)));
    }
    assert_true(table.rows >= rows_least);
    parse_table_close(&table);
    buf_deinit(&shown);
}

/* The formatter of the API and of promtool: people keep its output in their rule files. */
static void test_query_format__agrees_with_the_table(void **state)
{
    (void)state;
    check_table("pretty", query_format, 15);
}

/* The tree view of the pages reads this. */
static void test_query_ast_json__agrees_with_the_table(void **state)
{
    (void)state;
    check_table("json", query_ast_json, 25);
}

static const char *const expr_tables[] = {"literals", "operators",  "selectors", "modifiers",
                                          "ranges",   "aggregates", "functions", "experimental",
                                          "pretty",   "json"};

static void print_of(struct buf *out, struct str text, unsigned features,
                     void (*print)(struct buf *, const struct expr *))
{
    struct parse_options options = {.features = features};
    struct arena arena;
    struct expr *expr;
    struct err err;

    arena_init(&arena, 0);
    buf_clear(out);
    if (!parse_expr(text, &options, &arena, &expr, &err))
        fail_msg(STR_FMT ": %s", STR_ARG(text), err.text);
    print(out, expr);
    expr_deinit(expr);
    arena_deinit(&arena);
}

/* What is printed reads back and prints as the same: rules go through this when they are saved.
 * Several lines mean the same as one. */
static void test_expr_print__is_stable(void **state)
{
    struct buf once, again, lines;
    size_t checked = 0;

    (void)state;
    buf_init(&once, 1 << 20);
    buf_init(&again, 1 << 20);
    buf_init(&lines, 1 << 20);
    for (size_t i = 0; i < COUNT_OF(expr_tables); i++) {
        struct parse_table table;
        struct parse_row row;
        parse_table_open(&table, expr_tables[i]);
        while (parse_table_next(&table, &row)) {
            if (str_starts(row.expected, STR("error: ")))
                continue;
            print_of(&once, row.text, table.features, expr_print);
            print_of(&again, buf_str(&once), table.features, expr_print);
            if (!str_eq(buf_str(&once), buf_str(&again)))
                fail_msg(STR_FMT " became " STR_FMT, STR_ARG(buf_str(&once)),
                         STR_ARG(buf_str(&again)));
            print_of(&lines, row.text, table.features, expr_pretty);
            print_of(&again, buf_str(&lines), table.features, expr_print);
            assert_true(str_eq(buf_str(&once), buf_str(&again)));
            checked++;
        }
        parse_table_close(&table);
    }
    assert_true(checked > 350);
    buf_deinit(&once);
    buf_deinit(&again);
    buf_deinit(&lines);
}

/* Where Prometheus prints something that means something else, we do not follow it. */
static void test_expr_print__keeps_the_meaning(void **state)
{
    static const struct {
        const char *text, *printed;
    } rows[] = {
        {"4s35ms", "4s35ms"},
        {"foo offset (5m) * step()", "foo offset (5m * step())"},
        {"foo offset --5m + 3", "foo offset (5m + 3)"},
        {"foo[(-2) ^ 2 + 9]", "foo[(-2) ^ 2 + 9]"},
        {"sum by (\"without\", \"inf\") (foo)", "sum by (\"without\", \"inf\") (foo)"},
        {"info(foo, {})", "info(foo, {})"},
    };
    struct buf once, again;

    (void)state;
    buf_init(&once, 1 << 20);
    buf_init(&again, 1 << 20);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        print_of(&once, str_of(rows[i].text), PARSE_TABLE_FEATURES_ALL, expr_print);
        assert_true(str_eq(buf_str(&once), str_of(rows[i].printed)));
        print_of(&again, buf_str(&once), PARSE_TABLE_FEATURES_ALL, expr_print);
        assert_true(str_eq(buf_str(&once), buf_str(&again)));
    }
    buf_deinit(&once);
    buf_deinit(&again);
}

/* Whatever the tree holds (quotes, infinities), the answer is JSON. */
static void test_query_ast_json__is_json(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < COUNT_OF(expr_tables); i++) {
        struct parse_table table;
        struct parse_row row;
        parse_table_open(&table, expr_tables[i]);
        while (parse_table_next(&table, &row)) {
            struct json *json;
            struct err err;
            buf_clear(&out);
            if (!query_ast_json(row.text, table.features, &out, &err))
                continue;
            assert_true(json_parse(&json, buf_str(&out), &err));
            assert_true(json_type(json) == JSON_OBJECT);
            json_free(json);
        }
        parse_table_close(&table);
    }
    buf_deinit(&out);
}

/* A small buffer ends the printing early and says so. */
static void test_query_format__reports_a_full_buffer(void **state)
{
    struct buf out;
    struct err err;

    (void)state;
    buf_init(&out, 8);
    assert_false(query_format(STR("sum(rate(foo[5m]))"), 0, &out, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    buf_deinit(&out);
}

/* The deepest trees print without trouble, and in time that grows with the text. */
static void test_expr_pretty__prints_deep_trees(void **state)
{
    struct buf text, out;
    struct err err;

    (void)state;
    buf_init(&text, 1 << 20);
    buf_init(&out, 16 << 20);
    for (int i = 0; i < 900; i++)
        BUF_ADD(&text, "abs(");
    BUF_ADD(&text, "foo");
    for (int i = 0; i < 900; i++)
        BUF_ADD(&text, ")");
    assert_true(query_format(buf_str(&text), 0, &out, &err));
    assert_true(str_starts(buf_str(&out), STR("abs(\n  abs(\n    abs(\n")));
    buf_clear(&text);
    for (int i = 0; i < 900; i++)
        BUF_ADD(&text, "- ");
    BUF_ADD(&text, "foo");
    buf_clear(&out);
    assert_true(query_format(buf_str(&text), 0, &out, &err));
    assert_int_equal(out.len, 903);
    buf_deinit(&text);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_format__agrees_with_the_table),
        cmocka_unit_test(test_query_ast_json__agrees_with_the_table),
        cmocka_unit_test(test_expr_print__is_stable),
        cmocka_unit_test(test_expr_print__keeps_the_meaning),
        cmocka_unit_test(test_query_ast_json__is_json),
        cmocka_unit_test(test_query_format__reports_a_full_buffer),
        cmocka_unit_test(test_expr_pretty__prints_deep_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
