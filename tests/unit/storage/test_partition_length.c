/* partition_length: partitions are short where little is kept, and never cross, whatever the length was before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store.h"
#include "store_fixture.h"

#define HOUR    (INT64_C(60) * 60 * 1000)
#define DAY     (24 * HOUR)
#define T0      (INT64_C(19675) * DAY) /* 2023-11-14, midnight */
#define FOREVER INT64_MIN, INT64_MAX
#define SERIES  20

static uint32_t noise_state = 1;

/* Full mantissas: eight bytes a sample. */
static double noise(void)
{
    noise_state = noise_state * 1664525 + 1013904223;
    return (double)noise_state / 3.0;
}

/* A sample a minute of each series in [from, to) hours after T0; what is due is done each hour. */
static void fill(struct store_fixture *f, int64_t from, int64_t to, int64_t *mono_ms)
{
    for (int64_t hour = from; hour < to; hour++) {
        for (int i = 0; i < SERIES; i++) {
            series_ref ref = store_series(f, "a", i);
            for (int64_t minute = 0; minute < 60; minute++)
                assert_int_equal(store_add(f, ref, T0 + hour * HOUR + minute * 60000 + i, noise()),
                                 SAMPLE_STORED);
            storage_series_release(f->storage, ref);
        }
        *mono_ms += HOUR;
        store_tick(f, *mono_ms);
    }
}

/* The hours after T0 of the files' bounds; fails when two partitions cross. */
static size_t bounds(struct store_fixture *f, int64_t out[][2], size_t max)
{
    const struct file_list *list = file_list_now(f->storage);
    size_t count = 0;
    for (uint32_t i = 0; list && i < list->count; i++) {
        const struct store_file *file = &list->items[i];
        int64_t from = (file->from_ms - T0) / HOUR, to = (file->to_ms - T0) / HOUR;
        if (file->open && file->open->is_overlay)
            continue;
        assert_true(count < max);
        assert_true(count == 0 || from >= out[count - 1][1]);
        out[count][0] = from;
        out[count++][1] = to;
    }
    return count;
}

static void check_bounds(struct store_fixture *f, const int64_t (*want)[2], size_t count)
{
    int64_t got[64][2];
    assert_int_equal(bounds(f, got, 64), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(got[i][0], want[i][0]);
        assert_int_equal(got[i][1], want[i][1]);
    }
}

static void check_samples(struct store_fixture *f, int64_t from_hour, int64_t to_hour)
{
    for (int i = 0; i < SERIES; i++) {
        struct store_samples samples = store_read(f, "a", i, FOREVER);
        assert_int_equal(samples.series, 1);
        assert_int_equal(samples.count, (to_hour - from_hour) * 60);
        for (size_t k = 0; k < samples.count; k++)
            assert_int_equal(samples.time_ms[k], T0 + from_hour * HOUR + (int64_t)k * 60000 + i);
        store_samples_free(&samples);
    }
}

/* A third of the time that is kept, at most: or much more than that would be on the disk. */
static void test_length__follows_the_time_of_retention(void **state)
{
    (void)state;
    static const struct {
        int64_t retention_ms, length_ms;
    } cases[] = {{0, DAY},        {15 * DAY, DAY},       {3 * DAY, DAY},  {2 * DAY, DAY / 2},
                 {DAY, 6 * HOUR}, {12 * HOUR, 2 * HOUR}, {HOUR, 2 * HOUR}};
    struct store_fixture f = {0};
    store_setup(&f);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        storage_set_retention(f.storage, cases[i].retention_ms, 0);
        assert_int_equal(atomic_load(&f.storage->partition_length_ms), cases[i].length_ms);
    }
    store_teardown(&f);
}

/* A reload in the middle of a day: the open file keeps its span, the next are short; and back. */
static void test_partition_for__fits_between_its_neighbours(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    int64_t mono_ms = 0;
    store_setup(&f);
    storage_set_retention(f.storage, 12 * HOUR, 0);
    fill(&f, 0, 3, &mono_ms);
    check_bounds(&f, (const int64_t[][2]){{0, 2}, {2, 4}}, 2);
    storage_set_retention(f.storage, 0, 0);
    fill(&f, 3, 26, &mono_ms);
    check_bounds(&f, (const int64_t[][2]){{0, 2}, {2, 4}, {4, 24}, {24, 48}}, 4);
    check_samples(&f, 0, 26);
    store_close(&f);
    store_open(&f); /* What is open after a start is as it was. */
    storage_set_retention(f.storage, 0, 1 << 20);
    fill(&f, 26, 27, &mono_ms);
    check_bounds(&f, (const int64_t[][2]){{0, 2}, {2, 4}, {4, 24}, {24, 48}}, 4);
    check_samples(&f, 0, 27);
    store_teardown(&f);
}

/* Days that are built, late samples of one of them, and a length that changed between: one file a span. */
static void test_partition_for__finds_a_built_span(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    int64_t mono_ms = 0;
    store_setup(&f);
    store_close(&f);
    f.options.build_delay_ms = 0;
    f.options.out_of_order_ms = 2 * DAY;
    f.options.retention_ms = 12 * HOUR;
    store_open(&f);
    fill(&f, 0, 5, &mono_ms);
    check_bounds(&f, (const int64_t[][2]){{0, 2}, {2, 4}, {4, 6}}, 3);
    storage_set_retention(f.storage, 0, 0);
    series_ref ref = store_series(&f, "a", 0);
    assert_int_equal(store_add(&f, ref, T0 + HOUR + 30000, 1), SAMPLE_LATE);
    storage_series_release(f.storage, ref);
    mono_ms += 3 * HOUR;
    store_tick(&f, mono_ms);
    check_bounds(&f, (const int64_t[][2]){{0, 2}, {2, 4}, {4, 6}}, 3);
    struct store_samples samples = store_read(&f, "a", 0, FOREVER);
    assert_int_equal(samples.count, 5 * 60 + 1);
    store_samples_free(&samples);
    store_teardown(&f);
}

/* With short partitions a limit of size holds from the first day on; what goes is the oldest. */
static void test_length__keeps_the_size_of_retention(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    const uint64_t limit = 512 << 10;
    int64_t mono_ms = 0, got[64][2];
    store_setup(&f);
    store_close(&f);
    f.options.build_delay_ms = 0;
    f.options.retention_bytes = limit;
    store_open(&f);
    for (int64_t hour = 0; hour < 60; hour += 4) {
        fill(&f, hour, hour + 4, &mono_ms);
        assert_true(storage_disk_bytes(f.storage) <= limit + (limit >> 2));
    }
    size_t count = bounds(&f, got, 64);
    assert_true(count > 2 && got[0][0] > 2); /* Several remain, and some went. */
    assert_true(got[count - 1][1] >= 60);
    store_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_length__follows_the_time_of_retention),
        cmocka_unit_test(test_partition_for__fits_between_its_neighbours),
        cmocka_unit_test(test_partition_for__finds_a_built_span),
        cmocka_unit_test(test_length__keeps_the_size_of_retention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
