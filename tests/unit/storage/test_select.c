/* select and append at their edges: whole batches of groups that stand mixed, wild ranges, very
 * large label sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "base/epoch.h"
#include "store_fixture.h"

#define T0      INT64_C(1700000000000)
#define HOUR    (INT64_C(60) * 60 * 1000)
#define FOREVER INT64_MIN, INT64_MAX
#define PAIRS   200

struct watcher {
    struct storage *storage;
    atomic_bool stop;
    size_t torn, selects, known, wrong;
};

/* Each group's series must show the same newest sample: batches go in whole. What is known of it without reading is the same. */
static void *watch(void *ctx)
{
    struct watcher *watcher = ctx;
    while (!atomic_load(&watcher->stop)) {
        struct selection *selection;
        struct sample_block block;
        struct err err = {0};
        double newest[2] = {-1, -1};
        if (!storage_select(watcher->storage, NULL, 0, FOREVER, &selection, &err))
            continue;
        struct cursor *cursor = cursor_new(selection);
        for (size_t i = 0; i < selection_count(selection); i++) {
            const struct labels *labels = selection_labels(selection, i);
            int side = str_eq(labels->items[0].value, STR("even")) ? 0 : 1;
            double last = -1;
            cursor_seek(cursor, i);
            while (cursor_next(cursor, &block, &err) && block.count)
                last = block.value[block.count - 1];
            watcher->torn += newest[side] >= 0 && newest[side] != last;
            newest[side] = last;
            int64_t time_ms;
            double value;
            if (selection_newest(selection, i, &time_ms, &value)) {
                watcher->known++;
                watcher->wrong += value != last || time_ms != T0 + (int64_t)last * 1000;
            }
        }
        cursor_free(cursor);
        selection_free(selection);
        watcher->selects++;
    }
    return NULL;
}

static void append_row(struct storage *storage, struct storage_group *group, const series_ref *refs,
                       int side, int row)
{
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct batch batch = {0};
    struct err err = {0};
    for (int i = side; i < 2 * PAIRS; i += 2)
        batch_add(&batch, refs[i], T0 + row * 1000, row);
    assert_true(storage_append(storage, group, &batch, &options, &result, &err));
    assert_int_equal(result.outcome_count[SAMPLE_STORED], PAIRS);
    batch_deinit(&batch);
}

/* Series of two targets stand in turns in the head, as they do when both get new series over time:
 * a select may not see half a scrape, neither in a slot nor with the first sample after a seal. */
static void test_storage_select__sees_whole_batches_of_mixed_groups(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_group *groups[2];
    series_ref refs[2 * PAIRS];
    pthread_t thread;
    store_setup(&f);
    groups[0] = f.group;
    groups[1] = storage_group_open(f.storage, 43);
    for (int i = 0; i < 2 * PAIRS; i++) {
        char text[16];
        struct err err = {0};
        snprintf(text, sizeof(text), "%d", i);
        struct label labels[2] = {{LABEL_NAME, i % 2 ? STR("odd") : STR("even")},
                                  {STR("i"), str_of(text)}};
        refs[i] = storage_series(f.storage, groups[i % 2], labels, 2, labels_hash(labels, 2), &err);
        assert_int_not_equal(refs[i], SERIES_REF_NONE);
    }
    append_row(f.storage, groups[0], refs, 0, 0);
    append_row(f.storage, groups[1], refs, 1, 0);
    struct watcher watcher = {.storage = f.storage};
    pthread_create(&thread, NULL, watch, &watcher);
    for (int row = 1; row < 1500; row++) {
        append_row(f.storage, groups[0], refs, 0, row);
        append_row(f.storage, groups[1], refs, 1, row);
        if (row % 40 == 0)
            store_tick(&f, (row / 40) * 2 * HOUR);
    }
    atomic_store(&watcher.stop, true);
    pthread_join(thread, NULL);
    assert_true(watcher.selects > 0);
    assert_int_equal(watcher.torn, 0);
    assert_true(watcher.known > 0);
    assert_int_equal(watcher.wrong, 0);
    storage_group_close(groups[1]);
    store_teardown(&f);
}

static bool newest_of_a(struct store_fixture *f, int64_t from_ms, int64_t to_ms, int64_t *time_ms,
                        double *value)
{
    const struct matcher named = {.type = MATCH_EQUAL, .name = LABEL_NAME, .value = STR("a")};
    struct selection *selection;
    struct err err = {0};
    assert_true(storage_select(f->storage, &named, 1, from_ms, to_ms, &selection, &err));
    bool known = selection_count(selection) == 1 && selection_newest(selection, 0, time_ms, value);
    selection_free(selection);
    return known;
}

/* Only what surely is the newest sample of the range may be shown without reading. */
static void test_selection_newest__knows_when_to_be_silent(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    int64_t time_ms;
    double value;
    store_setup(&f);
    series_ref ref = store_series(&f, "a", 1);
    for (int i = 0; i < 10; i++)
        store_add(&f, ref, T0 + i * 1000, i < 8 ? i + 0.5 : 42);
    assert_true(newest_of_a(&f, T0, T0 + 9000, &time_ms, &value)); /* A value that repeats. */
    assert_int_equal(time_ms, T0 + 9000);
    assert_true(value == 42);
    assert_false(newest_of_a(&f, T0, T0 + 8999, &time_ms, &value)); /* There is a newer one. */
    assert_false(newest_of_a(&f, T0 + 9001, T0 + 9999, &time_ms, &value)); /* It is older. */
    store_add(&f, ref, T0 + 10000, sample_stale());
    assert_true(newest_of_a(&f, T0, T0 + 10000, &time_ms, &value));
    assert_true(sample_is_stale(value));
    store_tick(&f, 2 * HOUR); /* Sealed: it has to be read. */
    assert_false(newest_of_a(&f, T0, T0 + 10000, &time_ms, &value));
    store_add(&f, ref, T0 + 11000, 7);
    assert_true(newest_of_a(&f, T0, T0 + 11000, &time_ms, &value));
    assert_true(time_ms == T0 + 11000 && value == 7);
    store_teardown(&f);
}

/* Looks at the index and at no samples. */
static void test_storage_select_weight__is_known_of_what_is_near(void **state)
{
    (void)state;
    const struct matcher named = {.type = MATCH_EQUAL, .name = LABEL_NAME, .value = STR("a")};
    const struct matcher other = {.type = MATCH_EQUAL, .name = LABEL_NAME, .value = STR("b")};
    const struct matcher not_named = {.type = MATCH_NOT_EQUAL, .name = LABEL_NAME};
    struct store_fixture f = {0};
    store_setup(&f);
    assert_true(storage_select_weight(f.storage, &named, 1, T0) == UINT64_MAX);
    for (int i = 0; i < 5; i++)
        store_add(&f, store_series(&f, "a", i), T0, 1);
    assert_int_equal(storage_select_weight(f.storage, &named, 1, T0), 5);
    assert_int_equal(storage_select_weight(f.storage, &other, 1, T0), 0);
    assert_true(storage_select_weight(f.storage, &not_named, 1, T0) == UINT64_MAX);
    assert_true(storage_select_weight(f.storage, NULL, 0, T0) == UINT64_MAX);
    assert_true(storage_select_weight(f.storage, &named, 1, T0 - 24 * HOUR) == UINT64_MAX);
    store_teardown(&f);
}

/* More selections at once than the epoch has pins (a query of 300 selectors): they share pins, nobody hangs. */
static void test_storage_select__takes_more_than_the_epoch_has_pins(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct selection *selections[EPOCH_PINS_MAX + 10];
    struct err err = {0};
    store_setup(&f);
    store_add(&f, store_series(&f, "a", 1), T0, 1);
    alarm(60); /* A hang ends the test. */
    for (size_t i = 0; i < EPOCH_PINS_MAX + 10; i++) {
        assert_true(storage_select(f.storage, NULL, 0, FOREVER, &selections[i], &err));
        assert_int_equal(selection_count(selections[i]), 1);
    }
    for (size_t i = 0; i < EPOCH_PINS_MAX + 10; i++)
        selection_free(selections[i]);
    alarm(0);
    store_teardown(&f);
}

/* Ranges that are empty, turned round or at the ends of the number line. */
static void test_storage_select__takes_wild_ranges(void **state)
{
    (void)state;
    static const struct {
        int64_t from, to;
        size_t count;
    } cases[] = {
        {INT64_MIN, INT64_MAX, 300},
        {INT64_MAX, INT64_MIN, 0},
        {INT64_MIN, INT64_MIN, 0},
        {INT64_MAX, INT64_MAX, 0},
        {T0, T0, 1},
        {T0 - 1, T0 - 1, 0},
        {T0 + 1, T0 + 999, 0},
        {T0 + 299000, INT64_MAX, 1},
        {T0 + 299001, INT64_MAX, 0},
        {INT64_MIN, T0 - 1, 0},
        {0, T0 + 119000, 120},
        {T0 + 119500, T0 + 120500, 1},
        {-1, 1, 0},
    };
    struct store_fixture f = {0};
    store_setup(&f);
    series_ref ref = store_series(&f, "a", 1);
    for (int i = 0; i < 300; i++) {
        store_add(&f, ref, T0 + i * 1000, i);
        if (i == 200)
            store_tick(&f, 2 * HOUR);
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct store_samples samples = store_read(&f, "a", 1, cases[i].from, cases[i].to);
        if (samples.count != cases[i].count)
            fail_msg("case %zu: %zu samples", i, samples.count);
        store_samples_free(&samples);
    }
    store_teardown(&f);
}

/* Label sets at the limit go all the way round; what no file could hold is refused with words. */
static void test_storage_series__limits_label_sets(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct label labels[1025];
    char names[1025][16];
    struct err err = {0};
    store_setup(&f);
    for (int i = 0; i < 1025; i++) {
        snprintf(names[i], sizeof(names[i]), "label_%04d", i);
        labels[i] = (struct label){str_of(names[i]), STR("value")};
    }
    series_ref ref =
        storage_series(f.storage, f.group, labels, 1024, labels_hash(labels, 1024), &err);
    assert_int_not_equal(ref, SERIES_REF_NONE);
    assert_int_equal(store_add(&f, ref, T0, 1), SAMPLE_STORED);
    assert_int_equal(
        storage_series(f.storage, f.group, labels, 1025, labels_hash(labels, 1025), &err),
        SERIES_REF_NONE);
    struct label twice[2] = {{STR("a"), STR("1")}, {STR("a"), STR("2")}};
    assert_int_equal(storage_series(f.storage, f.group, twice, 2, labels_hash(twice, 2), &err),
                     SERIES_REF_NONE);
    assert_string_equal(err.text, "label name \"a\" is not unique: invalid sample");
    struct label turned[2] = {{STR("b"), STR("1")}, {STR("a"), STR("2")}};
    assert_int_equal(storage_series(f.storage, f.group, turned, 2, labels_hash(turned, 2), &err),
                     SERIES_REF_NONE);
    char *huge = mem_alloc((size_t)70 << 20);
    memset(huge, 'x', (size_t)70 << 20);
    struct label large[2] = {{STR("a"), str_from(huge, (size_t)70 << 20)}, {STR("b"), STR("1")}};
    assert_int_equal(storage_series(f.storage, f.group, large, 2, labels_hash(large, 2), &err),
                     SERIES_REF_NONE);
    assert_int_equal(err.code, ERR_BAD_DATA);
    large[0].value.len = (size_t)2 << 20;
    series_ref fits = storage_series(f.storage, f.group, large, 2, labels_hash(large, 2), &err);
    assert_int_not_equal(fits, SERIES_REF_NONE);
    assert_int_equal(store_add(&f, fits, T0, 2), SAMPLE_STORED);
    mem_free(huge);
    for (int round = 0; round < 2; round++) {
        struct selection *selection;
        assert_true(storage_select(f.storage, NULL, 0, FOREVER, &selection, &err));
        assert_int_equal(selection_count(selection), 2);
        selection_free(selection);
        if (round == 0)
            store_tick(&f, 2 * HOUR);
        store_close(&f);
        store_open(&f);
    }
    store_teardown(&f);
}

/* The first refused sample is named, also when it is the very first. */
static void test_storage_append__names_the_first_bad_sample(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct append_options options = {.now_ms = T0};
    struct append_result result;
    struct batch batch = {0};
    struct err err = {0};
    store_setup(&f);
    series_ref a = store_series(&f, "a", 1);
    store_add(&f, a, T0, 1);
    batch_add(&batch, a, T0 - 5, 1);
    batch_add(&batch, a, T0 + 5, 1);
    batch_add(&batch, a, T0 + 4, 1);
    assert_true(storage_append(f.storage, f.group, &batch, &options, &result, &err));
    assert_int_equal(result.bad_index, 0);
    assert_int_equal(result.outcome_count[SAMPLE_OUT_OF_ORDER], 2);
    batch_deinit(&batch);
    store_teardown(&f);
}

/* A sample that is late for the store and yet the newest of its series: a range that begins after what came in order must
 * show it, in memory and in a file. */
static void test_storage_select__shows_late_samples_that_are_newest(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    store_setup(&f);
    storage_set_out_of_order(f.storage, 10 * HOUR);
    series_ref a = store_series(&f, "a", 1), b = store_series(&f, "b", 1);
    assert_int_equal(store_add(&f, a, T0, 1), SAMPLE_STORED);
    assert_int_equal(store_add(&f, b, T0 + 5 * HOUR, 2), SAMPLE_STORED);
    assert_int_equal(store_add(&f, a, T0 + 2 * HOUR, 3), SAMPLE_LATE);
    for (int sealed = 0; sealed < 2; sealed++) {
        struct store_samples found = store_read(&f, "a", 1, T0 + HOUR, T0 + 3 * HOUR);
        assert_int_equal(found.count, 1);
        assert_int_equal(found.time_ms[0], T0 + 2 * HOUR);
        store_samples_free(&found);
        store_tick(&f, 2 * HOUR);
    }
    storage_series_release(f.storage, a);
    storage_series_release(f.storage, b);
    store_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_storage_select__sees_whole_batches_of_mixed_groups),
        cmocka_unit_test(test_storage_select__takes_more_than_the_epoch_has_pins),
        cmocka_unit_test(test_selection_newest__knows_when_to_be_silent),
        cmocka_unit_test(test_storage_select_weight__is_known_of_what_is_near),
        cmocka_unit_test(test_storage_select__takes_wild_ranges),
        cmocka_unit_test(test_storage_select__shows_late_samples_that_are_newest),
        cmocka_unit_test(test_storage_series__limits_label_sets),
        cmocka_unit_test(test_storage_append__names_the_first_bad_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
