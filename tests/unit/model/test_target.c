/* Target groups: what is written comes back, and names go with the last group that has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "label_names.h"
#include "model/target.h"

static void set_all(struct labels_builder *out, const char *const pairs[][2], size_t count)
{
    labels_builder_clear(out);
    for (size_t i = 0; i < count; i++)
        labels_builder_set(out, str_of(pairs[i][0]), str_of(pairs[i][1]));
}

/* Two targets; `zone` is the first's own. */
static struct target_group *make(const char *source, const char *env)
{
    const char *const first[][2] = {{"__address__", "localhost:9100"}, {"zone", "own"}};
    const char *const second[][2] = {{"__address__", "[::1]:9100"}};
    const char *const common[][2] = {{"a", "1"}, {"env", env}, {"zone", "shared"}};
    struct group_writer writer;
    struct labels_builder labels;

    labels_builder_init(&labels);
    group_writer_init(&writer);
    set_all(&labels, first, 2);
    group_writer_add(&writer, &labels);
    set_all(&labels, second, 1);
    group_writer_add(&writer, &labels);
    set_all(&labels, common, 3);
    struct target_group *group = group_writer_end(&writer, str_of(source), &labels);
    labels_builder_deinit(&labels);
    group_writer_deinit(&writer); /* Nothing is left in it. */
    return group;
}

static void expect(const struct labels_builder *labels, const char *const pairs[][2], size_t count)
{
    assert_int_equal(labels->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_true(str_eq(labels->items[i].name, str_of(pairs[i][0])));
        assert_true(str_eq(labels->items[i].value, str_of(pairs[i][1])));
    }
}

/* A target's own label wins over the group's. */
static void test_target_group_load__joins_own_and_common(void **state)
{
    const char *const first[][2] = {
        {"__address__", "localhost:9100"}, {"a", "1"}, {"env", "prod"}, {"zone", "own"}};
    const char *const second[][2] = {
        {"__address__", "[::1]:9100"}, {"a", "1"}, {"env", "prod"}, {"zone", "shared"}};
    struct target_group *group = make("static/0", "prod");
    struct labels_builder labels;

    (void)state;
    labels_builder_init(&labels);
    assert_string_equal(group->source, "static/0");
    assert_int_equal(group->target_count, 2);
    target_group_load(group, 0, &labels);
    expect(&labels, first, 4);
    target_group_load(group, 1, &labels);
    expect(&labels, second, 4);
    target_group_load_part(group, 2, &labels);
    expect(&labels, second, 1);
    labels_builder_deinit(&labels);
    target_group_unref(group);
}

/* News that say nothing new change nothing. */
static void test_target_group_eq__compares_what_they_say(void **state)
{
    struct target_group *a = make("s", "prod"), *same = make("s", "prod"), *env = make("s", "test"),
                        *source = make("t", "prod");

    (void)state;
    assert_true(target_group_eq(a, same));
    assert_false(target_group_eq(a, env));
    assert_false(target_group_eq(a, source));
    assert_false(target_group_eq(a, NULL));
    assert_true(target_group_eq(NULL, NULL));
    target_group_unref(a);
    target_group_unref(same);
    target_group_unref(env);
    target_group_unref(source);
}

/* Names that come and go must not fill memory: numbers are used again. */
static void test_target_group_unref__lets_names_go(void **state)
{
    uint32_t most = 0;

    (void)state;
    for (int i = 0; i < 5000; i++) {
        char name[32];
        struct labels_builder labels;
        struct group_writer writer;
        labels_builder_init(&labels);
        (void)snprintf(name, sizeof(name), "annotation_%d", i);
        labels_builder_set(&labels, str_of(name), STR("x"));
        uint32_t number = label_name_ref(str_of(name));
        most = number > most ? number : most;
        group_writer_init(&writer);
        group_writer_add(&writer, &labels);
        struct target_group *group = group_writer_end(&writer, STR("s"), &labels);
        label_name_unref(number);
        labels_builder_clear(&labels);
        target_group_load_part(target_group_ref(group), 0, &labels);
        assert_true(str_eq(labels.items[0].name, str_of(name)));
        target_group_unref(group);
        target_group_unref(group);
        labels_builder_deinit(&labels);
    }
    assert_true(most < 100);
}

/* A group that was begun may be given up. */
static void test_group_writer_deinit__drops_what_was_added(void **state)
{
    struct labels_builder labels;
    struct group_writer writer;

    (void)state;
    labels_builder_init(&labels);
    labels_builder_set(&labels, STR("only_here"), STR("x"));
    group_writer_init(&writer);
    group_writer_add(&writer, &labels);
    uint32_t number = label_name_ref(STR("only_here"));
    group_writer_deinit(&writer);
    label_name_unref(number);
    assert_int_equal(label_name_ref(STR("something else")), number);
    label_name_unref(number);
    labels_builder_deinit(&labels);
}

/* An empty group takes a source's targets away. */
static void test_group_writer_end__may_be_empty(void **state)
{
    const struct labels_builder none = {0};
    struct group_writer writer;

    (void)state;
    group_writer_init(&writer);
    struct target_group *group = group_writer_end(&writer, STR(""), &none);
    assert_int_equal(group->target_count, 0);
    assert_string_equal(group->source, "");
    target_group_unref(group);
    target_group_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_group_load__joins_own_and_common),
        cmocka_unit_test(test_target_group_eq__compares_what_they_say),
        cmocka_unit_test(test_target_group_unref__lets_names_go),
        cmocka_unit_test(test_group_writer_deinit__drops_what_was_added),
        cmocka_unit_test(test_group_writer_end__may_be_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
