/* Import: samples of any time become days; batches, days that are there and the lock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "store_fixture.h"

#define DAY  (INT64_C(24) * 60 * 60 * 1000)
#define HOUR (INT64_C(60) * 60 * 1000)
#define T0   (DAY * 19000)

static int setup(void **state)
{
    struct store_fixture *f = MEM_NEW(struct store_fixture);
    store_setup(f);
    store_close(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct store_fixture *f = *state;
    store_teardown(f);
    mem_free(f);
    return 0;
}

static struct storage_import *begin(struct store_fixture *f)
{
    struct storage_import *import;
    struct err err = {0};
    if (!storage_import_open(&import, str_of(f->dir), &err))
        fail_msg("%s", err.text);
    return import;
}

static void add(struct storage_import *import, const char *name, int number, int64_t time_ms,
                double value)
{
    struct err err = {0};
    char text[32];
    snprintf(text, sizeof(text), "%d", number);
    struct label labels[2] = {{LABEL_NAME, str_of(name)}, {STR("i"), str_of(text)}};
    if (!storage_import_add(import, labels, 2, time_ms, value, &err))
        fail_msg("%s", err.text);
}

struct told {
    size_t days;
    uint64_t samples, series;
};

static bool tell(void *ctx, const struct storage_file *file)
{
    struct told *told = ctx;
    told->days++;
    told->samples += file->samples;
    told->series = file->series;
    return true;
}

static struct told finish(struct storage_import *import)
{
    struct told told = {0};
    struct err err = {0};
    if (!storage_import_finish(import, tell, &told, &err))
        fail_msg("%s", err.text);
    storage_import_close(import);
    return told;
}

static void open_days(struct store_fixture *f)
{
    struct err err = {0};
    if (!storage_open_readonly(&f->storage, str_of(f->dir), &err))
        fail_msg("%s", err.text);
}

static void close_days(struct store_fixture *f)
{
    storage_close(f->storage);
    f->storage = NULL;
}

/* More than a batch, time by time: each series and each day is in several batches. */
static void test_storage_import__puts_batches_together(void **state)
{
    struct store_fixture *f = *state;
    struct storage_import *import = begin(f);
    const int series = 100, rows = 12000;
    for (int row = 0; row < rows; row++) {
        for (int i = 0; i < series; i++)
            add(import, "m", i, T0 + row * INT64_C(15000), row * i);
    }
    struct told told = finish(import);
    assert_int_equal(told.days, 3);
    assert_int_equal(told.samples, series * rows);
    assert_int_equal(told.series, series);
    open_days(f);
    struct store_samples back = store_read(f, "m", 7, T0, T0 + 10 * DAY);
    assert_int_equal(back.series, 1);
    assert_int_equal(back.count, rows);
    for (int row = 0; row < rows; row++) {
        assert_int_equal(back.time_ms[row], T0 + row * INT64_C(15000));
        assert_true(back.value[row] == row * 7);
    }
    store_samples_free(&back);
    close_days(f);
}

/* What is there stays, the last of two new ones counts, and order does not matter; also before 1970. */
static void test_storage_import__merges(void **state)
{
    struct store_fixture *f = *state;
    struct storage_import *import = begin(f);
    add(import, "m", 0, T0 + 2000, 1);
    add(import, "m", 0, -DAY - 5, 4);
    (void)finish(import);
    import = begin(f);
    add(import, "m", 0, T0 + 3000, 2);
    add(import, "m", 0, T0 + 2000, 2);
    add(import, "m", 0, T0 + 1000, 2);
    add(import, "m", 0, T0 + 1000, 3);
    (void)finish(import);
    open_days(f);
    struct store_samples back = store_read(f, "m", 0, -10 * DAY, T0 + DAY);
    assert_int_equal(back.count, 4);
    assert_int_equal(back.time_ms[0], -DAY - 5);
    assert_true(back.value[0] == 4 && back.value[1] == 2 && back.value[2] == 1 &&
                back.value[3] == 2);
    store_samples_free(&back);
    close_days(f);
}

/* Days of two hours are there: new samples go to those, and to what they leave of the day. */
static void test_storage_import__keeps_the_spans_of_other_files(void **state)
{
    struct store_fixture *f = *state;
    f->options.partition_ms = 2 * HOUR;
    f->options.build_delay_ms = 0;
    store_open(f);
    series_ref a = store_series(f, "m", 0);
    (void)store_add(f, a, T0 + 5 * HOUR, 1);
    (void)store_add(f, a, T0 + 3 * DAY, 1);
    for (int i = 0; i < 12; i++)
        store_tick(f, 3 * HOUR + i * 2000);
    storage_series_release(f->storage, a);
    store_close(f);
    struct storage_import *import = begin(f);
    for (int hour = 0; hour < 24; hour++)
        add(import, "n", 0, T0 + hour * HOUR, hour);
    struct told told = finish(import);
    assert_int_equal(told.days, 3);
    store_open(f);
    struct store_samples back = store_read(f, "n", 0, T0, T0 + DAY);
    assert_int_equal(back.count, 24);
    store_samples_free(&back);
    back = store_read(f, "m", 0, T0, T0 + 4 * DAY);
    assert_int_equal(back.count, 2);
    store_samples_free(&back);
}

/* A store that is in use is refused, and not touched. */
static void test_storage_import__needs_the_lock(void **state)
{
    struct store_fixture *f = *state;
    struct storage_import *import;
    struct err err = {0};
    store_open(f);
    assert_false(storage_import_open(&import, str_of(f->dir), &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
}

/* Given up in its middle it leaves nothing behind. */
static void test_storage_import__leaves_nothing_behind(void **state)
{
    struct store_fixture *f = *state;
    char path[128];
    struct stat info;
    struct storage_import *import = begin(f);
    add(import, "m", 0, T0, 1);
    storage_import_close(import);
    snprintf(path, sizeof(path), "%s/import.tmp", f->dir);
    assert_int_not_equal(stat(path, &info), 0);
    open_days(f);
    struct store_samples back = store_read(f, "m", 0, T0, T0 + DAY);
    assert_int_equal(back.count, 0);
    store_samples_free(&back);
    close_days(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_storage_import__puts_batches_together),
        T(test_storage_import__merges),
        T(test_storage_import__keeps_the_spans_of_other_files),
        T(test_storage_import__needs_the_lock),
        T(test_storage_import__leaves_nothing_behind),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
