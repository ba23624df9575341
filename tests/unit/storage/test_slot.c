/* slot: cuts, seals that fail or are late, slots over several partitions, groups that come and go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "store.h"
#include "store_fixture.h"

#define T0        INT64_C(1700000000000) /* 2023-11-14 */
#define HOUR      (INT64_C(60) * 60 * 1000)
#define DAY       (24 * HOUR)
#define FOREVER   INT64_MIN, INT64_MAX
#define DAY_OF_T0 "20231114T00Z-20231115T00Z.open.mdb"

static void check_count(struct store_fixture *f, const char *name, int number, size_t count)
{
    struct store_samples samples = store_read(f, name, number, FOREVER);
    if (samples.count != count)
        fail_msg("%s %d: %zu samples instead of %zu", name, number, samples.count, count);
    store_samples_free(&samples);
}

static void begin(struct store_fixture *f)
{
    store_setup(f);
    store_close(f);
}

static void block_path(const struct store_fixture *f, char out[256])
{
    snprintf(out, 256, "%s/narthex/%s", f->dir, DAY_OF_T0);
}

static void fail_first_slot(struct store_fixture *f)
{
    char path[256];
    struct storage_stats stats;
    block_path(f, path);
    STORE_REQUIRE(mkdir(path, 0755) == 0); /* No file can be made there. */
    series_ref ref = store_series(f, "a", 1);
    store_add(f, ref, T0, 1);
    store_tick(f, 100);
    storage_tick(f->storage, clock_mono_ms() + 2 * HOUR);
    store_add(f, ref, T0 + 3 * DAY, 2);
    storage_tick(f->storage, clock_mono_ms() + 4 * HOUR);
    lane_now_run(&f->lane);
    storage_get_stats(f->storage, &stats);
    STORE_REQUIRE(stats.seal_failures > 0);
    store_tick(f, 100); /* The second sample is in the log. */
    STORE_REQUIRE(rmdir(path) == 0);
}

/* head.mdb tells only the newest sealed slot of a group: a later slot may not be sealed before an
 * earlier one, or a kill then loses the earlier one's samples. */
static void test_slot_tick__seals_a_groups_slots_in_order(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    begin(&f);
    assert_true(store_killed_after(&f, fail_first_slot));
    store_open(&f);
    check_count(&f, "a", 1, 2);
    store_tick(&f, 2 * HOUR);
    check_count(&f, "a", 1, 2);
    store_teardown(&f);
}

static void seal_nothing(struct store_fixture *f)
{
    series_ref old = store_series(f, "old", 1), fresh = store_series(f, "fresh", 1);
    store_add(f, old, T0, 1);
    for (int i = 0; i < 6;
         i++) { /* Slots are sealed, and the log segment with the labels of `old` goes. */
        store_add(f, fresh, T0 + 40 * DAY + i, 1);
        store_tick(f, i * 2 * HOUR);
    }
    STORE_REQUIRE(store_add(f, old, T0 + 40 * DAY, 2) == SAMPLE_STORED);
    store_tick(f, 100); /* Written, not sealed. */
}

/* A series all of whose samples were past retention at the seal is in no file: its labels must go
 * to the log again. */
static void test_seal__saves_no_labels_when_all_is_past_retention(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    begin(&f);
    assert_true(store_killed_after(&f, seal_nothing));
    store_open(&f);
    struct store_samples samples = store_read(&f, "old", 1, T0 + DAY, INT64_MAX);
    assert_int_equal(samples.count, 1);
    store_samples_free(&samples);
    store_teardown(&f);
}

/* The next sample after a seal is judged by the ones that were sealed, as before it. */
static void test_storage_append__judges_by_sealed_samples(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    store_setup(&f);
    series_ref a = store_series(&f, "a", 1);
    store_add(&f, a, T0, 1);
    store_add(&f, a, T0 + 60000, 2);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(store_add(&f, a, T0 + 30000, 9), SAMPLE_OUT_OF_ORDER);
        assert_int_equal(store_add(&f, a, T0 + 60000, 2), SAMPLE_SAME);
        if (round < 2)
            assert_int_equal(store_add(&f, a, T0 + 60000, 3), SAMPLE_DUPLICATE);
        else
            assert_int_not_equal(store_add(&f, a, T0 + 60000, 3), SAMPLE_STORED);
        if (round == 0)
            store_tick(&f, 2 * HOUR);
        if (round == 1) {
            store_close(&f);
            store_open(&f);
            a = store_series(&f, "a", 1);
        }
    }
    assert_int_equal(store_add(&f, a, T0 + 60001, 3), SAMPLE_STORED);
    check_count(&f, "a", 1, 3);
    store_teardown(&f);
}

/* Times at the ends of the number line: refused or kept, but the store opens again and nothing else
 * is harmed. */
static void test_storage_append__survives_wild_times(void **state)
{
    (void)state;
    static const int64_t times[] = {INT64_MIN,
                                    INT64_MIN + 1,
                                    INT64_MIN + DAY,
                                    -INT64_C(5000000000000000000),
                                    INT64_MIN / 2,
                                    -INT64_C(62135596800001),
                                    -1,
                                    0,
                                    1,
                                    INT64_C(10413792000000),
                                    INT64_MAX / 2,
                                    INT64_MAX - DAY,
                                    INT64_MAX - 1,
                                    INT64_MAX};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        struct store_fixture f = {0};
        store_setup(&f);
        bool stored = store_add(&f, store_series(&f, "wild", 1), times[i], 1) == SAMPLE_STORED;
        store_tick(&f, 100);
        store_tick(&f, 2 * HOUR);
        storage_set_retention(f.storage, HOUR, 0);
        check_count(&f, "wild", 1, stored);
        store_close(&f);
        store_open(&f);
        check_count(&f, "wild", 1, stored);
        store_teardown(&f);
    }
}

/* One batch from 1970 on, a sample in each of many partitions: every one comes back, also after a
 * restart. */
static void test_seal__splits_a_slot_over_many_partitions(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    store_setup(&f);
    storage_set_retention(f.storage, 0, 0);
    series_ref a = store_series(&f, "a", 1), b = store_series(&f, "b", 1);
    for (int i = 0; i < 60; i++) {
        assert_int_equal(store_add(&f, a, i * 100 * DAY + i, i), SAMPLE_STORED);
        assert_int_equal(store_add(&f, b, i * 100 * DAY + i, -i), SAMPLE_STORED);
    }
    store_tick(&f, 100);
    store_tick(&f, 2 * HOUR);
    for (int round = 0; round < 2; round++) {
        check_count(&f, "a", 1, 60);
        struct store_samples samples = store_read(&f, "b", 1, FOREVER);
        assert_int_equal(samples.count, 60);
        for (int i = 0; i < 60; i++)
            assert_true(samples.time_ms[i] == i * 100 * DAY + i && samples.value[i] == -i);
        store_samples_free(&samples);
        store_close(&f);
        store_open(&f);
    }
    store_teardown(&f);
}

/* Ids in file order, values that need all codes, samples on both sides of an edge by one
 * millisecond. */
static void test_seal__keeps_exact_values_at_the_edge(void **state)
{
    (void)state;
    static const double values[] = {
        0.0,         -0.0, 1.5, 1e308, -1e-308, 5e-324, 9007199254740991.0, -9007199254740993.0,
        1e300 * 1e10};
    struct store_fixture f = {0};
    int64_t edge = (T0 / DAY + 1) * DAY;
    size_t count = sizeof(values) / sizeof(values[0]);
    store_setup(&f);
    series_ref ref = store_series(&f, "a", 1);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(store_add(&f, ref, edge - (int64_t)count / 2 + (int64_t)i, values[i]),
                         SAMPLE_STORED);
    store_tick(&f, 2 * HOUR);
    struct store_samples samples = store_read(&f, "a", 1, FOREVER);
    assert_int_equal(samples.count, count);
    assert_memory_equal(samples.value, values, sizeof(values));
    store_samples_free(&samples);
    samples = store_read(&f, "a", 1, edge, edge);
    assert_int_equal(samples.count, 1);
    store_samples_free(&samples);
    store_teardown(&f);
}

static void move_groups(struct store_fixture *f)
{
    struct append_options options = {.now_ms = INT64_MAX};
    struct err err = {0};
    series_ref kept = store_series(f, "kept", 1); /* Pinned all the time, by a group that closes. */
    for (int i = 0; i < 40; i++) {
        struct storage_group *group = storage_group_open(f->storage, 100 + (uint64_t)(i % 3));
        struct label labels[1] = {{LABEL_NAME, STR("moving")}};
        struct append_result result;
        struct batch batch = {0};
        series_ref ref = storage_series(f->storage, group, labels, 1, labels_hash(labels, 1), &err);
        STORE_REQUIRE(ref != SERIES_REF_NONE);
        batch_add(&batch, ref, T0 + i * 1000, i);
        batch_add(&batch, kept, T0 + i * 1000, i);
        STORE_REQUIRE(storage_append(f->storage, group, &batch, &options, &result, &err));
        STORE_REQUIRE(result.outcome_count[SAMPLE_STORED] == 2);
        batch_deinit(&batch);
        storage_series_release(f->storage, ref);
        storage_group_close(group);
        store_tick(f, i % 4 == 3 ? (i + 1) * HOUR : 100);
    }
}

/* Groups close, reopen and take over each other's series between slots; all of it outlives a kill.
 */
static void test_group__series_move_between_groups(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    begin(&f);
    assert_true(store_killed_after(&f, move_groups));
    store_open(&f);
    struct store_samples samples = store_read(&f, "kept", 1, FOREVER);
    assert_int_equal(samples.count, 40);
    store_samples_free(&samples);
    struct matcher matcher;
    struct selection *selection;
    struct sample_block block;
    struct err err = {0};
    size_t count = 0;
    assert_true(matcher_init(&matcher, MATCH_EQUAL, LABEL_NAME, STR("moving"), &err));
    assert_true(storage_select(f.storage, &matcher, 1, FOREVER, &selection, &err));
    assert_int_equal(selection_count(selection), 1);
    struct cursor *cursor = cursor_new(selection);
    cursor_seek(cursor, 0);
    do {
        assert_true(cursor_next(cursor, &block, &err));
        count += block.count;
    } while (block.count);
    assert_int_equal(count, 40);
    cursor_free(cursor);
    selection_free(selection);
    matcher_deinit(&matcher);
    store_teardown(&f);
}

/* Slots come and go, groups too: what storage holds does not grow with their number. */
static void test_slot__memory_does_not_grow(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    uint64_t bytes_early = 0;
    store_setup(&f);
    f.options.retention_ms = 0;
    series_ref refs[20];
    for (int i = 0; i < 20; i++)
        refs[i] = store_series(&f, "a", i);
    for (int round = 0; round < 30; round++) {
        for (int row = 0; row < 130; row++) {
            for (int i = 0; i < 20; i++)
                store_add(&f, refs[i], T0 + (round * 130 + row) * 1000, row * 0.1);
        }
        struct storage_group *group = storage_group_open(f.storage, 1000 + (uint64_t)round);
        storage_group_close(group);
        store_tick(&f, (round + 1) * 2 * HOUR);
        storage_get_stats(f.storage, &stats);
        assert_int_equal(stats.chunks, 0);
        if (round == 3)
            bytes_early = stats.head_bytes;
    }
    assert_int_equal(stats.head_bytes, bytes_early);
    assert_int_equal(f.storage->epoch.retired_count, 0);
    assert_true(f.storage->groups.count <= 2);
    assert_in_range(stats.log_segments, 1, 3);
    store_teardown(&f);
}

/* A seal that fails again and again must not add a copy of the slot to the file each time. */
static void test_seal__failing_does_not_fill_the_disk(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    char path[256];
    store_setup(&f);
    block_path(&f, path);
    assert_int_equal(mkdir(path, 0755), 0);
    /* Ids 1.. are sealed in order: the first series goes to a good partition, the last one to the
     * bad one. */
    for (int i = 0; i < 300; i++) {
        series_ref ref = store_series(&f, "a", i);
        for (int k = 0; k < 50; k++)
            assert_int_equal(store_add(&f, ref, T0 - HOUR - DAY + k + i * 1000, k * 0.37),
                             SAMPLE_STORED);
    }
    assert_int_equal(store_add(&f, store_series(&f, "z", 1), T0, 1), SAMPLE_STORED);
    store_tick(&f, 100);
    uint64_t bytes_first = 0;
    for (int i = 0; i < 10; i++) {
        store_tick(&f, (i + 1) * 2 * HOUR);
        char other[512];
        uint64_t bytes = store_last_file(&f, "", "14T00Z.open.mdb", other) ? file_bytes(other) : 0;
        bytes_first = i == 1 ? bytes : bytes_first;
        if (i > 1)
            assert_in_range(bytes, 0, bytes_first);
    }
    assert_int_equal(rmdir(path), 0);
    store_tick(&f, 30 * HOUR);
    storage_get_stats(f.storage, &stats);
    assert_int_equal(stats.chunks, 0);
    check_count(&f, "a", 299, 50);
    check_count(&f, "z", 1, 1);
    store_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slot_tick__seals_a_groups_slots_in_order),
        cmocka_unit_test(test_seal__saves_no_labels_when_all_is_past_retention),
        cmocka_unit_test(test_storage_append__judges_by_sealed_samples),
        cmocka_unit_test(test_storage_append__survives_wild_times),
        cmocka_unit_test(test_seal__splits_a_slot_over_many_partitions),
        cmocka_unit_test(test_seal__keeps_exact_values_at_the_edge),
        cmocka_unit_test(test_group__series_move_between_groups),
        cmocka_unit_test(test_slot__memory_does_not_grow),
        cmocka_unit_test(test_seal__failing_does_not_fill_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
