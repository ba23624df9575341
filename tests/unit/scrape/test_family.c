/* Metadata per target: kept once for all targets, gone ten scrapes after its last line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "family.h"
#include "openmetrics_lex.h"

static void note(struct family_list *list, struct family_table *table, const char *text)
{
    struct text_line line = {0};
    struct arena arena;
    struct err err;

    arena_init(&arena, 0);
    assert_int_equal(text_lex(&line, str_of(text), true, &err), TEXT_OK);
    family_list_note(list, table, &line, &arena);
    text_line_deinit(&line);
    arena_deinit(&arena);
}

static void expect(const struct family_list *list, const struct family_table *table, size_t index,
                   const char *metric, enum metric_type type, const char *help)
{
    const struct metadata *metadata = family_table_get(table, list->items.items[index].id);

    assert_true(str_eq(metadata->metric, str_of(metric)));
    assert_int_equal(metadata->type, type);
    assert_true(str_eq(metadata->help, str_of(help)));
}

/* HELP and TYPE in either order are one family; what changes replaces. */
static void test_family__joins_help_and_type(void **state)
{
    struct family_table table;
    struct family_list list = {0};

    (void)state;
    family_table_init(&table);
    note(&list, &table, "# HELP a one\\ntwo\n");
    note(&list, &table, "# TYPE a counter\n");
    note(&list, &table, "# TYPE \"b.c\" gauge\n");
    note(&list, &table, "# HELP c other\n");
    assert_int_equal(list.items.count, 3);
    expect(&list, &table, 0, "a", METRIC_COUNTER, "one\ntwo");
    expect(&list, &table, 1, "b.c", METRIC_GAUGE, "");
    family_list_end(&list, &table);
    note(&list, &table, "# HELP a other\n");
    expect(&list, &table, 0, "a", METRIC_COUNTER, "other");
    assert_int_equal(list.bytes, strlen("aother") + strlen("b.c") + strlen("cother"));
    family_list_deinit(&list, &table);
    assert_int_equal(list.bytes, 0);
    family_table_deinit(&table);
}

static void note_openmetrics(struct family_list *list, struct family_table *table, const char *text)
{
    struct text_line line = {0};
    struct arena arena;
    struct err err;

    arena_init(&arena, 0);
    assert_int_equal(openmetrics_lex(&line, str_of(text), true, &err), TEXT_OK);
    family_list_note(list, table, &line, &arena);
    text_line_deinit(&line);
    arena_deinit(&arena);
}

/* A unit is kept with the rest, and goes when it is said to be empty. */
static void test_family__keeps_the_unit(void **state)
{
    struct family_table table;
    struct family_list list = {0};

    (void)state;
    family_table_init(&table);
    note_openmetrics(&list, &table, "# UNIT a_seconds seconds\n");
    note_openmetrics(&list, &table, "# TYPE a_seconds gaugehistogram\n");
    note_openmetrics(&list, &table, "# HELP a_seconds say \\\"a\\\"\n");
    assert_int_equal(list.items.count, 1);
    expect(&list, &table, 0, "a_seconds", METRIC_GAUGEHISTOGRAM, "say \"a\"");
    assert_true(str_eq(family_table_get(&table, list.items.items[0].id)->unit, STR("seconds")));
    note_openmetrics(&list, &table, "# UNIT a_seconds \n");
    expect(&list, &table, 0, "a_seconds", METRIC_GAUGEHISTOGRAM, "say \"a\"");
    assert_int_equal(family_table_get(&table, list.items.items[0].id)->unit.len, 0);
    family_list_deinit(&list, &table);
    family_table_deinit(&table);
}

/* Ten scrapes of grace, then the texts go. */
static void test_family__forgets_after_ten_scrapes(void **state)
{
    struct family_table table;
    struct family_list list = {0};

    (void)state;
    family_table_init(&table);
    note(&list, &table, "# TYPE a counter\n");
    note(&list, &table, "# TYPE b counter\n");
    for (int i = 0; i <= FAMILY_KEEP_ROUNDS; i++) {
        assert_int_equal(list.items.count, 2);
        family_list_end(&list, &table);
        note(&list, &table, "# TYPE b counter\n");
    }
    family_list_end(&list, &table);
    assert_int_equal(list.items.count, 1);
    expect(&list, &table, 0, "b", METRIC_COUNTER, "");
    family_list_deinit(&list, &table);
    family_table_deinit(&table);
}

/* A thousand pods of one image say the same: it is kept once. */
static void test_family__is_shared_by_targets(void **state)
{
    struct family_table table;
    struct family_list lists[3] = {0};

    (void)state;
    family_table_init(&table);
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        note(&lists[i], &table, "# HELP a text\n");
        note(&lists[i], &table, "# TYPE a gauge\n");
    }
    assert_int_equal(lists[0].items.items[0].id, lists[2].items.items[0].id);
    assert_int_equal(table.map.used, 1);
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        family_list_deinit(&lists[i], &table);
    assert_int_equal(table.map.used, 0);
    family_table_deinit(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_family__joins_help_and_type),
        cmocka_unit_test(test_family__keeps_the_unit),
        cmocka_unit_test(test_family__forgets_after_ten_scrapes),
        cmocka_unit_test(test_family__is_shared_by_targets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
