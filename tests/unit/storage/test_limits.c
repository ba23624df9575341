/* The edges of the store: more columns, rows and spans than a slot takes, wild times, large label sets and histograms, memory
 * under churn, and what may lie about in the directory at a start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <sys/stat.h>

#include "store_fixture.h"

#define T0   INT64_C(1700000000000)
#define DAY  (INT64_C(24) * 60 * 60 * 1000)
#define HOUR (INT64_C(60) * 60 * 1000)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_RESIDENT 0 /* Sanitizers keep what is freed. */
#else
#define COUNTS_RESIDENT 1
#endif

static void open_as(struct store_fixture *f)
{
    store_setup(f);
    f->options.retention_ms = 0;
    store_close(f);
    store_open(f);
}

static void append(struct store_fixture *f, struct batch *batch, size_t stored)
{
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct err err = {0};
    assert_true(storage_append(f->storage, f->group, batch, &options, &result, &err));
    assert_int_equal(result.outcome_count[SAMPLE_STORED], stored);
    batch_deinit(batch);
}

static void check_series(struct store_fixture *f, int number, size_t count, int64_t first_ms,
                         double first)
{
    struct store_samples samples = store_read(f, "x", number, INT64_MIN, INT64_MAX);
    assert_int_equal(samples.series, count > 0);
    assert_int_equal(samples.count, count);
    if (count > 0) {
        assert_int_equal(samples.time_ms[0], first_ms);
        assert_true(samples.value[0] == first);
    }
    store_samples_free(&samples);
}

/* In memory, out of the log, out of a file. */
static void check_thrice(struct store_fixture *f, int number, size_t count, int64_t first_ms,
                         double first)
{
    check_series(f, number, count, first_ms, first);
    store_close(f);
    store_open(f);
    check_series(f, number, count, first_ms, first);
    store_tick(f, 2 * HOUR);
    check_series(f, number, count, first_ms, first);
    store_close(f);
    store_open(f);
    check_series(f, number, count, first_ms, first);
}

/* The day of T0 becomes a file of its own. */
static void build_day(struct store_fixture *f)
{
    struct storage_stats stats;
    store_close(f);
    f->options.build_delay_ms = 0;
    store_open(f);
    assert_int_equal(store_add(f, store_series(f, "z", 1), T0 + 2 * DAY, 1), SAMPLE_STORED);
    for (int i = 0; i < 5; i++)
        store_tick(f, (i + 1) * HOUR);
    storage_get_stats(f->storage, &stats);
    assert_true(stats.builds > 0);
    assert_int_equal(stats.build_failures, 0);
}

/* 70,000 series with a time of their own each: a slot has 65,535 columns at most. */
static void test_append__takes_more_columns_than_a_slot_has(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct batch batch = {0};
    open_as(&f);
    for (int i = 0; i < 70000; i++) {
        series_ref ref = store_series(&f, "x", i);
        batch_add(&batch, ref, T0 + i, i);
    }
    append(&f, &batch, 70000);
    check_series(&f, 69999, 1, T0 + 69999, 69999);
    check_thrice(&f, 65535, 1, T0 + 65535, 65535);
    build_day(&f);
    check_series(&f, 0, 1, T0, 0);
    check_series(&f, 69999, 1, T0 + 69999, 69999);
    store_teardown(&f);
}

/* A slot's column has 8192 rows; the batch does not end there. */
static void test_append__takes_more_rows_than_a_column_has(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct batch batch = {0};
    open_as(&f);
    series_ref one = store_series(&f, "x", 1), two = store_series(&f, "x", 2);
    for (int i = 0; i < 30000; i++) {
        batch_add(&batch, one, T0 + i * 1000, i);
        batch_add(&batch, two, T0 + i * 1000, 7);
    }
    append(&f, &batch, 60000);
    check_thrice(&f, 2, 30000, T0, 7);
    check_series(&f, 1, 30000, T0, 0);
    build_day(&f);
    check_series(&f, 2, 30000, T0, 7);
    store_teardown(&f);
}

/* Gaps of more than 2^32 ms, and of exactly that; times before 1970. */
static void test_append__takes_times_far_apart(void **state)
{
    (void)state;
    static const int64_t times[] = {-40 * DAY - 1,
                                    -1,
                                    0,
                                    1,
                                    INT64_C(4294967295),
                                    INT64_C(4294967296),
                                    INT64_C(8589934592) + 1,
                                    T0,
                                    T0 + 50 * DAY,
                                    T0 + 100 * DAY,
                                    T0 + 100 * DAY + INT64_C(4294967295) + 1};
    struct store_fixture f = {0};
    struct batch batch = {0};
    open_as(&f);
    series_ref one = store_series(&f, "x", 1), two = store_series(&f, "x", 2);
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        batch_add(&batch, one, times[i], (double)i);
        if (i % 2)
            batch_add(&batch, two, times[i], 1);
    }
    append(&f, &batch, COUNT_OF(times) + COUNT_OF(times) / 2);
    check_thrice(&f, 1, COUNT_OF(times), times[0], 0);
    check_series(&f, 2, COUNT_OF(times) / 2, times[1], 1);
    store_teardown(&f);
}

/* A sample twice in a batch, NaNs of all kinds, the same values again and again. */
static void test_append__takes_odd_values(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct batch batch = {0};
    open_as(&f);
    series_ref one = store_series(&f, "x", 1), two = store_series(&f, "x", 2);
    for (int i = 0; i < 50; i++) {
        batch_add(&batch, one, T0 + i * 1000, i % 3 ? (double)NAN : sample_stale());
        batch_add(&batch, one, T0 + i * 1000, i % 3 ? (double)NAN : sample_stale());
        batch_add(&batch, two, T0 + i * 1000, 3);
        batch_add(&batch, two, T0 + i * 1000, 4);
    }
    append(&f, &batch, 100);
    check_thrice(&f, 2, 50, T0, 3);
    struct store_samples samples = store_read(&f, "x", 1, INT64_MIN, INT64_MAX);
    assert_int_equal(samples.count, 50);
    for (size_t i = 0; i < samples.count; i++) {
        assert_true(isnan(samples.value[i]));
        assert_int_equal(sample_is_stale(samples.value[i]), i % 3 == 0);
    }
    store_samples_free(&samples);
    store_teardown(&f);
}

/* 1024 labels, and 16 MiB of them, come through the log and a partition; one more is refused. */
static void test_series__takes_large_label_sets(void **state)
{
    (void)state;
    static char names[1025][8];
    static struct label labels[1025];
    struct store_fixture f = {0};
    struct batch batch = {0};
    struct err err = {0};
    size_t large_len = ((size_t)16 << 20) - 10;
    char *large = mem_alloc(large_len + 10);
    open_as(&f);
    for (int i = 0; i < 1025; i++) {
        snprintf(names[i], sizeof(names[i]), "l%05d", i);
        labels[i] = (struct label){str_of(names[i]), STR("x")};
    }
    series_ref many =
        storage_series(f.storage, f.group, labels, 1024, labels_hash(labels, 1024), &err);
    assert_int_not_equal(many, SERIES_REF_NONE);
    assert_int_equal(
        storage_series(f.storage, f.group, labels, 1025, labels_hash(labels, 1025), &err),
        SERIES_REF_NONE);
    memset(large, 'v', large_len + 10);
    labels[0].value = str_from(large, large_len);
    series_ref big = storage_series(f.storage, f.group, labels, 1, labels_hash(labels, 1), &err);
    assert_int_not_equal(big, SERIES_REF_NONE);
    struct label larger = {labels[0].name, str_from(large, large_len + 10)};
    assert_int_equal(storage_series(f.storage, f.group, &larger, 1, labels_hash(&larger, 1), &err),
                     SERIES_REF_NONE);
    batch_add(&batch, many, T0, 1);
    batch_add(&batch, big, T0, 2);
    append(&f, &batch, 2);
    for (int life = 0; life < 5; life++) {
        struct selection *selection;
        if (life == 3)
            build_day(&f);
        assert_true(storage_select(f.storage, NULL, 0, T0, T0, &selection, &err));
        assert_int_equal(selection_count(selection), 2);
        for (size_t i = 0; i < 2; i++) {
            const struct labels *shown = selection_labels(selection, i);
            assert_true(shown->count == 1024 ||
                        (shown->count == 1 && shown->items[0].value.len == large_len));
        }
        selection_free(selection);
        store_close(&f);
        store_open(&f);
        store_tick(&f, 2 * HOUR);
    }
    mem_free(large);
    store_teardown(&f);
}

/* Histograms of a hundred thousand buckets, unchanged and changed. */
static void test_append__takes_large_histograms(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct batch batch = {0};
    struct err err = {0};
    double *buckets = mem_alloc(HISTOGRAM_BUCKETS_MAX * sizeof(*buckets));
    struct histogram_span span = {0, HISTOGRAM_BUCKETS_MAX};
    struct histogram histogram = {.schema = 8,
                                  .positive_spans = &span,
                                  .positive_span_count = 1,
                                  .positive = buckets,
                                  .positive_count = HISTOGRAM_BUCKETS_MAX};
    open_as(&f);
    series_ref ref = store_series(&f, "x", 1);
    for (int row = 0; row < 6; row++) {
        for (int i = 0; i < HISTOGRAM_BUCKETS_MAX; i++)
            buckets[i] = (double)(i % 1000 + row / 2) + 0.25;
        histogram.sum = row;
        batch_add_histogram(&batch, ref, T0 + row * 1000, &histogram);
        append(&f, &batch, 1);
        batch = (struct batch){0};
    }
    for (int life = 0; life < 5; life++) {
        struct selection *selection;
        struct sample_block block;
        size_t count = 0;
        if (life == 3)
            build_day(&f);
        assert_true(storage_select(f.storage, NULL, 0, T0, T0 + HOUR, &selection, &err));
        assert_int_equal(selection_count(selection), 1);
        struct cursor *cursor = cursor_new(selection);
        cursor_seek(cursor, 0);
        do {
            assert_true(cursor_next(cursor, &block, &err));
            for (size_t i = 0; i < block.count; i++, count++) {
                const struct histogram *shown = block.histogram[i];
                assert_non_null(shown);
                assert_true(shown->sum == (double)count);
                assert_int_equal(shown->positive_count, HISTOGRAM_BUCKETS_MAX);
                assert_true(shown->positive[99999] == (double)(999 + count / 2) + 0.25);
            }
        } while (block.count);
        assert_int_equal(count, 6);
        cursor_free(cursor);
        selection_free(selection);
        store_close(&f);
        store_open(&f);
        store_tick(&f, 2 * HOUR);
    }
    mem_free(buckets);
    store_teardown(&f);
}

static uint64_t resident_bytes(void)
{
    unsigned long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu %lu", &all, &resident) != 2)
        abort();
    fclose(file);
    return (uint64_t)resident * 4096;
}

/* Every series is replaced each round: what is dead leaves memory, and its room is used again. */
static void test_storage__stays_small_under_churn(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    uint64_t head_early = 0, head_late = 0, resident_early = 0, resident_late = 0;
    store_setup(&f);
    store_close(&f);
    f.options.spill_min = 500;
    f.options.partition_ms = 2 * HOUR;
    f.options.build_delay_ms = 0;
    f.options.retention_ms = 12 * HOUR;
    store_open(&f);
    for (int round = 0; round < 60; round++) {
        struct batch batch = {0};
        series_ref refs[2000];
        for (int i = 0; i < 2000; i++) {
            refs[i] = store_series(&f, i % 2 ? "x" : "y", round * 2000 + i);
            batch_add(&batch, refs[i], T0 + round * (HOUR / 2), i);
        }
        append(&f, &batch, 2000);
        for (int i = 0; i < 2000; i++)
            storage_series_release(f.storage, refs[i]);
        for (int k = 0; k < 3; k++)
            store_tick(&f, (int64_t)(round + 1) * HOUR + k * 2000);
        storage_get_stats(f.storage, &stats);
        assert_true(stats.series_in_memory < 8000);
        uint64_t *head = round < 30 ? &head_early : &head_late;
        uint64_t *resident = round < 30 ? &resident_early : &resident_late;
        uint64_t now = resident_bytes();
        *head = stats.head_bytes > *head ? stats.head_bytes : *head;
        *resident = now > *resident ? now : *resident;
    }
    if (getenv("TEST_VERBOSE"))
        fprintf(stderr, "head %lu %lu resident %lu %lu\n", head_early, head_late, resident_early,
                resident_late);
    assert_true(head_late <= head_early + head_early / 10);
    assert_true(!COUNTS_RESIDENT || resident_late <= resident_early + resident_early / 4);
    store_teardown(&f);
}

static struct hash128 key_of(int number)
{
    return hash128_seed(str_from((const char *)&number, sizeof(number)), 1);
}

/* A ref is used again for another series: the bytes of the one before must not lead there. */
static void test_storage_series_known__forgets_what_left_memory(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    series_ref refs[1000];
    store_setup(&f);
    store_close(&f);
    f.options.spill_min = 100;
    store_open(&f);
    for (int round = 0; round < 6; round++) {
        struct batch batch = {0};
        for (int i = 0; i < 1000; i++) {
            int number = round * 1000 + i;
            assert_int_equal(storage_series_known(f.storage, key_of(number)), SERIES_REF_NONE);
            refs[i] = store_series(&f, "x", number);
            storage_series_know(f.storage, key_of(number), refs[i]);
            assert_int_equal(storage_series_known(f.storage, key_of(number)), SERIES_REF_NONE);
            batch_add(&batch, refs[i], T0 + round * (HOUR / 2), i);
        }
        append(&f, &batch, 1000);
        size_t known = 0;
        for (int i = 0; i < 1000; i++) {
            series_ref ref = storage_series_known(f.storage, key_of(round * 1000 + i));
            assert_true(ref == refs[i] || ref == SERIES_REF_NONE);
            known += ref == refs[i];
            storage_series_release(f.storage, refs[i]);
        }
        assert_true(known > 0);
        for (int k = 0; k < 3; k++)
            store_tick(&f, (int64_t)(round + 1) * HOUR + k * 2000);
        for (int number = 0; number < round * 1000; number++)
            assert_int_equal(storage_series_known(f.storage, key_of(number)), SERIES_REF_NONE);
    }
    storage_get_stats(f.storage, &stats);
    assert_true(stats.series_removed >= 3000);
    store_teardown(&f);
}

static void put_file(const struct store_fixture *f, const char *name, const char *bytes)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/narthex/%s", f->dir, name);
    FILE *file = fopen(path, "w");
    if (!file || fputs(bytes, file) < 0 || fclose(file) != 0)
        abort();
}

/* Files of no set, of a set that is not whole, of names that are nearly ours: what is there is served all the same. */
static void test_open__steps_over_what_lies_about(void **state)
{
    (void)state;
    static const char *const strays[] = {
        "20231114T00Z-20231115T00Z.1.idx",
        "20231114T00Z-20231115T00Z.open.mdb.7.idx",
        "20231114T00Z-20231115T00Z.open.idx",
        "x.idx",
        ".idx",
        "20231114T00Z-20231115T00Z.mdb",
        "20231115T00Z-20231116T00Z.mdb",
        "20231114T00Z-20231115T00Z.mdb.tmp",
        "20231114T00Z-20231115T00Z.1.ooo.mdb",
        "20231114T00Z-20231115T00Z.2.ooo.mdb",
        "20231114T00Z-20231115T00Z.x.ooo.mdb",
        "20231114T00Z-20231115T00Z.99999999999999999999.ooo.mdb",
        ".ooo.mdb",
        ".open.mdb",
        ".mdb",
        "a.open.mdb",
        "head.mdb.tmp",
        "log/00000000",
        "log/99999999999999999999",
        "log/1",
        "log/x",
    };
    static const char *const contents[] = {"", "x", "nothing of ours, but long enough for a head"};
    struct store_fixture f = {0};
    open_as(&f);
    assert_int_equal(store_add(&f, store_series(&f, "x", 1), T0, 1), SAMPLE_STORED);
    store_tick(&f, 2 * HOUR);
    assert_int_equal(store_add(&f, store_series(&f, "x", 1), T0 + HOUR, 2), SAMPLE_STORED);
    for (size_t c = 0; c < COUNT_OF(contents); c++) {
        store_close(&f);
        for (size_t i = 0; i < COUNT_OF(strays); i++)
            put_file(&f, strays[i], contents[c]);
        store_open(&f);
        check_series(&f, 1, 2, T0, 1);
        store_tick(&f, 2 * HOUR);
        check_series(&f, 1, 2, T0, 1);
    }
    store_teardown(&f);
}

/* A directory where a file should be is stepped over. */
static void test_open__comes_through_directories_for_files(void **state)
{
    (void)state;
    static const char *const names[] = {"x.idx", "x.tmp", "20231116T00Z-20231117T00Z.mdb",
                                        "20231116T00Z-20231117T00Z.open.mdb", "log/00000999"};
    struct store_fixture f = {0};
    struct err err = {0};
    open_as(&f);
    assert_int_equal(store_add(&f, store_series(&f, "x", 1), T0, 1), SAMPLE_STORED);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[256];
        store_close(&f);
        snprintf(path, sizeof(path), "%s/narthex/%s", f.dir, names[i]);
        assert_int_equal(mkdir(path, 0755), 0);
        assert_true(store_try_open(&f, &err));
        check_series(&f, 1, 1, T0, 1);
        store_close(&f);
        (void)!rmdir(path);
        store_open(&f);
        check_series(&f, 1, 1, T0, 1);
    }
    store_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: what the others leave to the allocator is not counted. */
        cmocka_unit_test(test_storage__stays_small_under_churn),
        cmocka_unit_test(test_storage_series_known__forgets_what_left_memory),
        cmocka_unit_test(test_append__takes_more_columns_than_a_slot_has),
        cmocka_unit_test(test_append__takes_more_rows_than_a_column_has),
        cmocka_unit_test(test_append__takes_times_far_apart),
        cmocka_unit_test(test_append__takes_odd_values),
        cmocka_unit_test(test_series__takes_large_label_sets),
        cmocka_unit_test(test_append__takes_large_histograms),
        cmocka_unit_test(test_open__steps_over_what_lies_about),
        cmocka_unit_test(test_open__comes_through_directories_for_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
