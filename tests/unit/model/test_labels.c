/* Label sets: order, equality, printing; and the builder against a naive model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/labels.h"

#define PAIR(name, value) ((struct label){STR(name), STR(value)})

static void assert_str(struct str got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    if (got.len > 0)
        assert_memory_equal(got.ptr, want, got.len);
}

static void assert_prints(void (*print)(struct buf *, const struct labels *),
                          const struct labels *labels, const char *want)
{
    struct buf buf;
    buf_init(&buf, 4096);
    print(&buf, labels);
    assert_str(buf_str(&buf), want);
    buf_deinit(&buf);
}

static void test_labels_new__copies_the_texts(void **state)
{
    (void)state;
    /* The caller's texts may go away at once: a scrape's buffer does. */
    char text[] = "job\0node";
    struct label pair = {{text, 3}, {text + 4, 4}};
    struct labels *labels = labels_new(&pair, 1);
    memset(text, 'x', sizeof(text));
    assert_int_equal(labels->count, 1);
    assert_str(labels_get(labels, LABEL_JOB), "node");
    assert_true(labels_has(labels, LABEL_JOB));
    assert_false(labels_has(labels, LABEL_INSTANCE));
    assert_str(labels_get(labels, LABEL_INSTANCE), "");
    labels_unref(labels);
}

static void test_labels_ref__last_one_frees(void **state)
{
    (void)state;
    struct label pair = PAIR("a", "b");
    struct labels *labels = labels_new(&pair, 1);
    assert_ptr_equal(labels_ref(labels), labels);
    labels_unref(labels);
    assert_str(labels_get(labels, STR("a")), "b");
    labels_unref(labels);
    labels_unref(NULL);
}

static void test_labels_empty__is_equal_to_a_built_empty_set(void **state)
{
    (void)state;
    struct labels_builder builder;
    labels_builder_init(&builder);
    struct labels *built = labels_build(&builder);
    assert_true(labels_eq(built, labels_empty()));
    assert_int_equal(built->hash, labels_hash(NULL, 0));
    for (int i = 0; i < 3; i++) {
        labels_unref(labels_ref(labels_empty()));
        labels_unref(labels_empty()); /* It lives for ever. */
    }
    assert_int_equal(labels_empty()->count, 0);
    labels_unref(built);
    labels_builder_deinit(&builder);
}

static void test_labels_get__finds_each_of_many(void **state)
{
    (void)state;
    /* Above a few labels the search is another one. */
    enum { COUNT = 40 };
    char names[COUNT][8];
    struct label pairs[COUNT];
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "l%02d", i);
        pairs[i] = (struct label){str_of(names[i]), str_of(names[i] + 1)};
    }
    for (size_t count = 0; count <= COUNT; count++) {
        struct labels *labels = labels_new(pairs, count);
        for (size_t i = 0; i < COUNT; i++)
            assert_str(labels_get(labels, pairs[i].name), i < count ? names[i] + 1 : "");
        assert_false(labels_has(labels, STR("a")));
        assert_false(labels_has(labels, STR("l00x")));
        assert_false(labels_has(labels, STR("z")));
        labels_unref(labels);
    }
}

static void test_labels_cmp__orders_as_go_does(void **state)
{
    (void)state;
    struct label ab[] = {PAIR("a", "1"), PAIR("b", "1")};
    struct label ac[] = {PAIR("a", "1"), PAIR("c", "0")};
    struct label a2[] = {PAIR("a", "2")};
    struct labels *sets[] = {labels_ref(labels_empty()), labels_new(ab, 1), labels_new(ab, 2),
                             labels_new(ac, 2), labels_new(a2, 1)};
    for (size_t i = 0; i < COUNT_OF(sets); i++) {
        for (size_t j = 0; j < COUNT_OF(sets); j++) {
            int order = labels_cmp(sets[i], sets[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(labels_eq(sets[i], sets[j]), i == j);
        }
    }
    for (size_t i = 0; i < COUNT_OF(sets); i++)
        labels_unref(sets[i]);
}

static void test_labels_hash__agrees_with_the_set_whatever_its_size(void **state)
{
    (void)state;
    /* Storage looks up by the hash of borrowed pairs; scratch and heap paths must agree with the
     * set's own. */
    for (size_t len = 1; len < 5000; len = len * 3 + 1) {
        char *text = mem_alloc(len);
        memset(text, 'v', len);
        struct label pairs[] = {{STR("a"), {text, len}}, {STR("b"), {text, len}}};
        struct labels *labels = labels_new(pairs, 2);
        assert_int_equal(labels->hash, labels_hash(pairs, 2));
        assert_int_not_equal(labels->hash, labels_hash(pairs, 1));
        labels_unref(labels);
        mem_free(text);
    }
    /* The border between name and value counts. */
    struct label left = PAIR("ab", "c"), right = PAIR("a", "bc");
    assert_int_not_equal(labels_hash(&left, 1), labels_hash(&right, 1));
}

static void test_labels_print__is_gos_text(void **state)
{
    (void)state;
    struct label pairs[] = {PAIR("__name__", "up"), PAIR("a.b", "x"), PAIR("job", "a\"b\n\\")};
    struct labels *labels = labels_new(pairs, 3);
    assert_prints(labels_print, labels, "{__name__=\"up\", \"a.b\"=\"x\", job=\"a\\\"b\\n\\\\\"}");
    assert_prints(labels_print, labels_empty(), "{}");
    labels_unref(labels);
}

static void test_labels_print_metric__puts_the_name_in_front(void **state)
{
    (void)state;
    struct label up[] = {PAIR("__name__", "up"), PAIR("instance", "x"), PAIR("job", "y")};
    struct label utf8[] = {PAIR("__name__", "my.metric"), PAIR("job", "y")};
    /* Go sorts the texts name="value": '1' is before '=' is before '_'. */
    struct label digits[] = {PAIR("a", "x"), PAIR("a1", "y"), PAIR("a_", "z")};
    struct labels *labels = labels_new(up, 3);
    assert_prints(labels_print_metric, labels, "up{instance=\"x\", job=\"y\"}");
    labels_unref(labels);
    labels = labels_new(up, 1);
    assert_prints(labels_print_metric, labels, "up");
    labels_unref(labels);
    labels = labels_new(up + 1, 2);
    assert_prints(labels_print_metric, labels, "{instance=\"x\", job=\"y\"}");
    labels_unref(labels);
    labels = labels_new(utf8, 2);
    assert_prints(labels_print_metric, labels, "{\"my.metric\", job=\"y\"}");
    labels_unref(labels);
    labels = labels_new(utf8, 1);
    assert_prints(labels_print_metric, labels, "{\"my.metric\"}");
    labels_unref(labels);
    labels = labels_new(digits, 3);
    assert_prints(labels_print_metric, labels, "{a1=\"y\", a=\"x\", a_=\"z\"}");
    labels_unref(labels);
    assert_prints(labels_print_metric, labels_empty(), "{}");
}

static void test_labels_print_json__is_an_object(void **state)
{
    (void)state;
    struct label pairs[] = {PAIR("__name__", "up"), PAIR("job", "a\"b")};
    struct labels *labels = labels_new(pairs, 2);
    assert_prints(labels_print_json, labels, "{\"__name__\":\"up\",\"job\":\"a\\\"b\"}");
    assert_prints(labels_print_json, labels_empty(), "{}");
    labels_unref(labels);
}

static void test_labels_builder_load__replaces_all(void **state)
{
    (void)state;
    struct label pair = PAIR("a", "1");
    struct labels *labels = labels_new(&pair, 1);
    struct labels_builder builder;
    labels_builder_init(&builder);
    labels_builder_set(&builder, STR("z"), STR("9"));
    labels_builder_load(&builder, labels);
    assert_int_equal(builder.count, 1);
    assert_str(labels_builder_get(&builder, STR("a")), "1");
    labels_builder_load(&builder, labels_empty());
    assert_int_equal(builder.count, 0);
    labels_builder_load(&builder, labels);
    labels_builder_clear(&builder);
    assert_false(labels_builder_has(&builder, STR("a")));
    labels_builder_deinit(&builder);
    labels_unref(labels);
}

static uint64_t random_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* The naive model: a value for each of a few names, none when empty. */
enum { NAMES = 24 };

static void assert_builder_is(const struct labels_builder *builder, char names[NAMES][4],
                              char values[NAMES][4])
{
    struct labels *labels = labels_build(builder);
    size_t count = 0;
    for (size_t i = 0; i < NAMES; i++) {
        count += values[i][0] != 0;
        assert_str(labels_builder_get(builder, str_of(names[i])), values[i]);
        assert_str(labels_get(labels, str_of(names[i])), values[i]);
        assert_int_equal(labels_builder_has(builder, str_of(names[i])), values[i][0] != 0);
    }
    assert_int_equal(builder->count, count);
    for (size_t i = 1; i < builder->count; i++)
        assert_true(str_cmp(builder->items[i - 1].name, builder->items[i].name) < 0);
    assert_int_equal(labels->hash, labels_hash(builder->items, builder->count));
    labels_unref(labels);
}

static void test_labels_builder__agrees_with_a_naive_model(void **state)
{
    (void)state;
    for (uint64_t round = 1; round <= 200; round++) {
        uint64_t seed = round * UINT64_C(0x9e3779b97f4a7c15);
        char names[NAMES][4], values[NAMES][4] = {{0}}, texts[NAMES][10][4];
        struct labels_builder builder;
        labels_builder_init(&builder);
        for (size_t i = 0; i < NAMES; i++) {
            /* Names of several lengths, some prefixes of others. */
            snprintf(names[i], sizeof(names[i]), i % 3 ? "%c%c" : "%c", (int)('a' + i / 3),
                     (int)('a' + i % 3));
            for (int v = 0; v < 10; v++)
                snprintf(texts[i][v], sizeof(texts[i][v]), "%.0d", v); /* Nothing for 0. */
        }
        for (int step = 0; step < 60; step++) {
            size_t i = random_next(&seed) % NAMES, v = random_next(&seed) % 10;
            if (random_next(&seed) % 8 == 0)
                v = 0;
            if (v == 0 && random_next(&seed) % 2)
                labels_builder_del(&builder, str_of(names[i]));
            else
                labels_builder_set(&builder, str_of(names[i]), str_of(texts[i][v]));
            memcpy(values[i], texts[i][v], sizeof(values[i]));
        }
        assert_builder_is(&builder, names, values);
        labels_builder_deinit(&builder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels_new__copies_the_texts),
        cmocka_unit_test(test_labels_ref__last_one_frees),
        cmocka_unit_test(test_labels_empty__is_equal_to_a_built_empty_set),
        cmocka_unit_test(test_labels_get__finds_each_of_many),
        cmocka_unit_test(test_labels_cmp__orders_as_go_does),
        cmocka_unit_test(test_labels_hash__agrees_with_the_set_whatever_its_size),
        cmocka_unit_test(test_labels_print__is_gos_text),
        cmocka_unit_test(test_labels_print_metric__puts_the_name_in_front),
        cmocka_unit_test(test_labels_print_json__is_an_object),
        cmocka_unit_test(test_labels_builder_load__replaces_all),
        cmocka_unit_test(test_labels_builder__agrees_with_a_naive_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
