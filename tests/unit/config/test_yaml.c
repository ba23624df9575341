/* Tests of yaml: the tree, its limits and the writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "config/yaml_tree.h"

static struct arena arena;

static int arena_setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int arena_teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static struct yaml_node *parse(struct str text)
{
    struct yaml_node *root;
    struct err err = {0};
    if (!yaml_tree_parse(&root, text, &arena, &err))
        fail_msg("%s", err.text);
    return root;
}

static void parse_error(struct str text, const char *want)
{
    struct yaml_node *root;
    struct err err = {0};
    assert_false(yaml_tree_parse(&root, text, &arena, &err));
    assert_null(root);
    assert_string_equal(err.text, want);
}

/* Messages of every later check rest on these positions. */
static void test_yaml_tree_parse__keeps_line_and_column(void **state)
{
    (void)state;
    struct yaml_node *root = parse(STR("a: 1\nb:\n  - x\n  -   y\n"));
    assert_int_equal(root->kind, YAML_MAPPING);
    assert_int_equal(root->count, 2);
    struct yaml_node *list = root->as.pairs[1].value;
    assert_int_equal(root->as.pairs[1].name->line, 2);
    assert_int_equal(list->kind, YAML_SEQUENCE);
    assert_int_equal(list->count, 2);
    assert_int_equal(list->as.items[1]->line, 4);
    assert_int_equal(list->as.items[1]->column, 7);
    assert_true(str_eq(list->as.items[1]->text, STR("y")));
}

/* No document at all differs from a null one only in the pointer. */
static void test_yaml_tree_parse__empty_text_has_no_root(void **state)
{
    (void)state;
    assert_null(parse(STR("")));
    assert_null(parse(STR("# only a comment\n")));
    assert_true(yaml_is_null(parse(STR("~\n"))));
}

/* YAML 1.1's words are what existing configurations use. */
static void test_yaml_scalar_type__follows_yaml_1_1(void **state)
{
    static const struct {
        const char *text;
        enum yaml_type type;
        const char *tag;
    } cases[] = {
        {"", YAML_NULL, "!!null"},
        {"~", YAML_NULL, "!!null"},
        {"yes", YAML_BOOL, "!!bool"},
        {"Off", YAML_BOOL, "!!bool"},
        {"yEs", YAML_TEXT, "!!str"},
        {"12", YAML_INT, "!!int"},
        {"-0x1F", YAML_INT, "!!int"},
        {"1_000", YAML_INT, "!!int"},
        {"9223372036854775808", YAML_UINT, "!!int"},
        {"18446744073709551616", YAML_FLOAT, "!!float"},
        {"-9223372036854775808", YAML_INT, "!!int"},
        {"1.5", YAML_FLOAT, "!!float"},
        {".5e3", YAML_FLOAT, "!!float"},
        {"-.inf", YAML_FLOAT, "!!float"},
        {"1e", YAML_TEXT, "!!str"},
        {"1:30", YAML_TEXT, "!!str"},
        {"2020-01-02", YAML_TEXT, "!!timestamp"},
        {"2020-01-02T10:00:00Z", YAML_TEXT, "!!timestamp"},
        {"10.0.0.1", YAML_TEXT, "!!str"},
        {"-", YAML_TEXT, "!!str"},
        {"0x", YAML_TEXT, "!!str"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct yaml_node node = {.text = str_of(cases[i].text)};
        yaml_scalar_type(&node);
        if (node.type != cases[i].type || !str_eq(node.tag, str_of(cases[i].tag)))
            fail_msg("`%s` is of type %d and tag " STR_FMT, cases[i].text, (int)node.type,
                     STR_ARG(node.tag));
    }
}

/* Quotes make a text of anything. */
static void test_yaml_tree_parse__quoted_scalars_are_texts(void **state)
{
    (void)state;
    struct yaml_node *root = parse(STR("['1', \"yes\", '', !!str 5, ! 6, !!binary aGk=]\n"));
    static const char *const texts[] = {"1", "yes", "", "5", "6", "hi"};
    assert_int_equal(root->count, COUNT_OF(texts));
    for (size_t i = 0; i < root->count; i++) {
        assert_int_equal(root->as.items[i]->type, YAML_TEXT);
        assert_true(str_eq(root->as.items[i]->text, str_of(texts[i])));
    }
}

/* Templates of jobs: what is written wins over what is merged, wherever the << stands. */
static void test_yaml_tree_parse__expands_merge_keys(void **state)
{
    (void)state;
    struct yaml_node *root = parse(STR("- &a {x: 1, y: 2}\n"
                                       "- &b {y: 3, z: 4}\n"
                                       "- {x: 0, <<: [*a, *b]}\n"
                                       "- {'<<': text}\n"));
    struct yaml_node *merged = root->as.items[2];
    static const char *const names[] = {"x", "y", "z"}, *const values[] = {"0", "2", "4"};
    assert_int_equal(merged->count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(str_eq(merged->as.pairs[i].name->text, str_of(names[i])));
        assert_true(str_eq(merged->as.pairs[i].value->text, str_of(values[i])));
        assert_false(merged->as.pairs[i].duplicate);
    }
    assert_int_equal(root->as.items[3]->count, 1); /* A quoted << is a name as any other. */
    parse_error(STR("<<: [1]\n"), "map merge requires map or sequence of maps as the value");
}

/* The reader says which key is written twice; the tree only marks it. */
static void test_yaml_tree_parse__marks_duplicate_names(void **state)
{
    (void)state;
    struct yaml_node *root = parse(STR("a: 1\nb: 2\na: 3\n"));
    assert_int_equal(root->count, 3);
    assert_false(root->as.pairs[0].duplicate);
    assert_true(root->as.pairs[2].duplicate);
}

/* Aliases are shared, but their expansion is bounded: a kilobyte must not become a billion nodes.
 */
static void test_yaml_tree_parse__refuses_expansion_bombs(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text, 1 << 16);
    buf_addf(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 10; i++) {
        buf_addf(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buf_addf(&text, "%s*a%d", k ? ", " : "", i - 1);
        buf_addf(&text, "]\n");
    }
    parse_error(buf_str(&text), "document contains excessive aliasing");
    buf_deinit(&text);
    parse_error(STR("a: &a [b, *a]\n"), "anchor 'a' value contains itself");
    parse_error(STR("a: &a {b: &c {d: *a}}\n"), "anchor 'a' value contains itself");
}

/* Merges are expanded into arrays, so they have the same budget. */
static void test_yaml_tree_parse__refuses_merge_bombs(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text, 1 << 20);
    buf_addf(&text, "- &m\n");
    for (int i = 0; i < 1000; i++)
        buf_addf(&text, "  k%d: v\n", i);
    for (int i = 0; i < 1000; i++)
        buf_addf(&text, "- <<: *m\n");
    parse_error(buf_str(&text), "document contains excessive aliasing");
    buf_deinit(&text);
}

/* Our walks recurse: depth is what bounds the stack. */
static void test_yaml_tree_parse__refuses_deep_nesting(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < 10000; i++)
        buf_add_char(&text, '[');
    parse_error(buf_str(&text), "exceeded max depth of 100");
    buf_deinit(&text);
}

/* A writer that writes too little or too much quoting changes what is read back. */
static void test_yaml_writer__texts_are_read_back_as_written(void **state)
{
    static const char *const texts[] = {
        "plain",        "",     "1",    "yes",        "~",    "a: b", "- a",  "#x",        "it's",
        "two\nlines\n", " a ",  "<<",   "2020-01-02", "1:30", "{}",   "*a",   "tab\there", "é",
        "\"q\"",        "a\\b", "!tag", "%x",         "@y",   "`z",   "&anc", "[x]",       "\x7f",
    };
    struct buf out;
    struct yaml_writer *writer;
    (void)state;
    buf_init(&out, 1 << 16);
    writer = yaml_writer_new(&out);
    yaml_write_sequence(writer, false);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        yaml_write_text(writer, str_of(texts[i]));
    yaml_write_sequence_end(writer);
    yaml_writer_free(writer);
    struct yaml_node *root = parse(buf_str(&out));
    assert_int_equal(root->count, COUNT_OF(texts));
    for (size_t i = 0; i < root->count; i++) {
        assert_int_equal(root->as.items[i]->type, YAML_TEXT);
        assert_true(str_eq(root->as.items[i]->text, str_of(texts[i])));
    }
    buf_deinit(&out);
}

/* Paths and the environment may hold anything; the printer must not stop at it. */
static void test_yaml_writer__bad_utf8_becomes_the_replacement(void **state)
{
    struct buf out;
    struct yaml_writer *writer;
    (void)state;
    buf_init(&out, 1 << 10);
    writer = yaml_writer_new(&out);
    yaml_write_mapping(writer);
    yaml_write_plain(writer, STR("a"));
    yaml_write_text(writer, STR("x\xffy"));
    yaml_write_mapping_end(writer);
    yaml_writer_free(writer);
    assert_true(str_eq(buf_str(&out), STR("a: x\xef\xbf\xbdy\n")));
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml_tree_parse__keeps_line_and_column),
        cmocka_unit_test(test_yaml_tree_parse__empty_text_has_no_root),
        cmocka_unit_test(test_yaml_scalar_type__follows_yaml_1_1),
        cmocka_unit_test(test_yaml_tree_parse__quoted_scalars_are_texts),
        cmocka_unit_test(test_yaml_tree_parse__expands_merge_keys),
        cmocka_unit_test(test_yaml_tree_parse__marks_duplicate_names),
        cmocka_unit_test(test_yaml_tree_parse__refuses_expansion_bombs),
        cmocka_unit_test(test_yaml_tree_parse__refuses_merge_bombs),
        cmocka_unit_test(test_yaml_tree_parse__refuses_deep_nesting),
        cmocka_unit_test(test_yaml_writer__texts_are_read_back_as_written),
        cmocka_unit_test(test_yaml_writer__bad_utf8_becomes_the_replacement),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
