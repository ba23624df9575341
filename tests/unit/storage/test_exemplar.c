/* exemplar: the ring: what is taken, what is overwritten, what is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "exemplar.h"

static struct labels *series_of(const char *name)
{
    struct label label = {LABEL_NAME, str_of(name)};
    return labels_new(&label, 1);
}

static enum exemplar_outcome add_dated(struct exemplar_ring *ring, const char *series,
                                       int64_t time_ms, double value, const char *trace,
                                       bool is_dated)
{
    struct label label = {STR("trace"), str_of(trace)};
    struct exemplar exemplar = {time_ms, value, &label, 1, !is_dated};
    struct labels *labels = series_of(series);
    enum exemplar_outcome outcome = exemplar_ring_add(ring, labels, &exemplar);

    labels_unref(labels);
    return outcome;
}

static enum exemplar_outcome add(struct exemplar_ring *ring, const char *series, int64_t time_ms,
                                 double value, const char *trace)
{
    return add_dated(ring, series, time_ms, value, trace, true);
}

/* name:time=value per exemplar, as they are listed. */
static void expect_list(const struct exemplar_ring *ring, int64_t from_ms, int64_t to_ms,
                        const char *want)
{
    struct exemplar_list *list = exemplar_ring_list(ring, from_ms, to_ms);
    char text[4096] = "";
    size_t len = 0;

    for (size_t i = 0; i < list->count; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, STR_FMT ":%lld=%g ",
                                STR_ARG(labels_get(list->items[i].series, LABEL_NAME)),
                                (long long)list->items[i].time_ms, list->items[i].value);
    exemplar_list_free(list);
    assert_string_equal(text, want);
}

/* A page that shows the same exemplar without a time at each scrape fills no ring. */
static void test_exemplar_ring_add__knows_undated_ones_again(void **state)
{
    struct exemplar_ring *ring = exemplar_ring_new(10);

    (void)state;
    assert_int_equal(add_dated(ring, "a", 10, 1, "x", false), EXEMPLAR_STORED);
    assert_int_equal(add_dated(ring, "a", 20, 1, "x", false), EXEMPLAR_SAME);
    assert_int_equal(add_dated(ring, "a", 30, 2, "x", false), EXEMPLAR_STORED);
    assert_int_equal(add_dated(ring, "a", 40, 2, "y", false), EXEMPLAR_STORED);
    assert_int_equal(add_dated(ring, "a", 50, 2, "y", true), EXEMPLAR_STORED);
    assert_int_equal(add_dated(ring, "a", 60, 2, "y", false), EXEMPLAR_STORED);
    expect_list(ring, 0, 100, "a:10=1 a:30=2 a:40=2 a:50=2 a:60=2 ");
    exemplar_ring_free(ring);
}

/* Those of one histogram share a time; what comes twice or late is not taken. */
static void test_exemplar_ring_add__keeps_order(void **state)
{
    struct exemplar_ring *ring = exemplar_ring_new(10);
    struct exemplar_stats stats;

    (void)state;
    assert_int_equal(add(ring, "a", 10, 1, "x"), EXEMPLAR_STORED);
    assert_int_equal(add(ring, "a", 10, 1, "x"), EXEMPLAR_SAME);
    assert_int_equal(add(ring, "a", 9, 5, "x"), EXEMPLAR_OUT_OF_ORDER);
    assert_int_equal(add(ring, "a", 10, 0.5, "x"), EXEMPLAR_OUT_OF_ORDER);
    assert_int_equal(add(ring, "a", 10, 2, "x"), EXEMPLAR_STORED);
    assert_int_equal(add(ring, "b", 1, 1, "x"), EXEMPLAR_STORED);
    assert_int_equal(add(ring, "a", 11, 0, "x"), EXEMPLAR_STORED);
    /* Equal time and value: one of the two orders is taken, not both. */
    enum exemplar_outcome other = add(ring, "a", 11, 0, "y");
    enum exemplar_outcome back = add(ring, "a", 11, 0, "x");
    assert_true(other == EXEMPLAR_STORED ? back == EXEMPLAR_OUT_OF_ORDER : back == EXEMPLAR_SAME);
    exemplar_ring_get_stats(ring, &stats);
    assert_int_equal(stats.out_of_order, 3);
    assert_int_equal(stats.series, 2);
    assert_int_equal(stats.oldest_time_ms, 10);
    expect_list(ring, 0, 10, "a:10=1 a:10=2 b:1=1 ");
    exemplar_ring_free(ring);
}

/* 128 runes, not bytes; empty values do not count; damage is refused. */
static void test_exemplar_ring_add__checks_labels(void **state)
{
    struct exemplar_ring *ring = exemplar_ring_new(10);
    struct labels *series = series_of("a");
    char value[400] = "";

    (void)state;
    for (int i = 0; i < 127; i++)
        snprintf(value + 2 * i, 3, "\xc3\xa9");
    struct label labels[] = {{STR("a"), str_of(value)}, {STR("b"), STR_EMPTY}};
    struct exemplar exemplar = {1, 1, labels, 2, false};
    assert_int_equal(exemplar_ring_add(ring, series, &exemplar), EXEMPLAR_STORED);
    labels[1].value = STR("x");
    exemplar.time_ms = 2;
    assert_int_equal(exemplar_ring_add(ring, series, &exemplar), EXEMPLAR_TOO_LONG);
    labels[0].value = STR("\xff");
    assert_int_equal(exemplar_ring_add(ring, series, &exemplar), EXEMPLAR_INVALID);
    labels[0] = labels[1];
    assert_int_equal(exemplar_ring_add(ring, series, &exemplar), EXEMPLAR_INVALID);
    expect_list(ring, INT64_MIN, INT64_MAX, "a:1=1 ");
    labels_unref(series);
    exemplar_ring_free(ring);
}

/* The oldest of all goes, with its series when it was the last one; memory is given back. */
static void test_exemplar_ring_add__overwrites_the_oldest(void **state)
{
    struct exemplar_ring *ring = exemplar_ring_new(3);
    struct exemplar_stats first, stats;

    (void)state;
    add(ring, "a", 1, 1, "x");
    add(ring, "b", 1, 2, "x");
    add(ring, "a", 2, 3, "x");
    exemplar_ring_get_stats(ring, &first);
    add(ring, "b", 2, 4, "x");
    expect_list(ring, 0, 10, "a:2=3 b:1=2 b:2=4 ");
    add(ring, "c", 1, 5, "x");
    add(ring, "c", 2, 6, "x");
    expect_list(ring, 0, 10, "b:2=4 c:1=5 c:2=6 ");
    assert_int_equal(add(ring, "a", 1, 1, "x"), EXEMPLAR_STORED);
    add(ring, "b", 9, 1, "x");
    exemplar_ring_get_stats(ring, &stats);
    assert_int_equal(stats.stored, 3);
    assert_int_equal(stats.series, 3);
    assert_int_equal(stats.oldest_time_ms, 2); /* c: its second. */
    for (int i = 0; i < 1000; i++)
        add(ring, i % 2 ? "a" : "b", 100 + i, 1, "x");
    exemplar_ring_get_stats(ring, &stats);
    assert_int_equal(stats.stored, 3);
    assert_int_equal(stats.bytes, first.bytes);
    exemplar_ring_free(ring);
}

/* A reload may change the size either way: the newest stay, in order. */
static void test_exemplar_ring_set_max__keeps_the_newest(void **state)
{
    struct exemplar_ring *ring = exemplar_ring_new(4);

    (void)state;
    for (int i = 1; i <= 6; i++)
        add(ring, i % 3 ? "a" : "b", i, i, "x");
    expect_list(ring, 0, 10, "a:4=4 a:5=5 b:3=3 b:6=6 ");
    exemplar_ring_set_max(ring, 6);
    add(ring, "a", 7, 7, "x");
    expect_list(ring, 0, 10, "a:4=4 a:5=5 a:7=7 b:3=3 b:6=6 ");
    exemplar_ring_set_max(ring, 2);
    expect_list(ring, 0, 10, "a:7=7 b:6=6 ");
    add(ring, "c", 8, 8, "x");
    expect_list(ring, 0, 10, "a:7=7 c:8=8 ");
    assert_int_equal(add(ring, "a", 6, 8, "x"), EXEMPLAR_OUT_OF_ORDER);
    exemplar_ring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exemplar_ring_add__keeps_order),
        cmocka_unit_test(test_exemplar_ring_add__knows_undated_ones_again),
        cmocka_unit_test(test_exemplar_ring_add__checks_labels),
        cmocka_unit_test(test_exemplar_ring_add__overwrites_the_oldest),
        cmocka_unit_test(test_exemplar_ring_set_max__keeps_the_newest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
