/* log: writes that fail, at the open, half way, at the sync; who waits is told, nothing
 * acknowledged is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "file.h"
#include "store_fixture.h"

#define T0      INT64_C(1700000000000)
#define HOUR    (INT64_C(60) * 60 * 1000)
#define FOREVER INT64_MIN, INT64_MAX

static unsigned fail_ops; /* Bits of enum file_op. */
static int fault_code;
static unsigned fault_calls;

static int fault_some(enum file_op op, const char *path, size_t *len)
{
    (void)path;
    if (!(fail_ops & 1u << op))
        return 0;
    fault_calls++;
    *len = (*len + 1) / 2;
    return fault_code;
}

static void faults_begin(unsigned ops, int code)
{
    fail_ops = ops;
    fault_code = code;
    fault_calls = 0;
    file_faults = fault_some;
}

static void faults_end(void)
{
    fail_ops = 0;
    file_faults = NULL;
}

static int after(void **state)
{
    (void)state;
    faults_end();
    return 0;
}

static int told_count;
static struct err told_err;
static void on_commit(void *ctx, const struct err *err)
{
    (void)ctx;
    told_count++;
    told_err = *err;
}

/* A sync fails and then no new segment can be made: that must be tried each second, not in a loop
 * that eats a core and leaves a file a time. */
static void test_log_tick__waits_between_tries(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    store_setup(&f);
    store_close(&f);
    f.options.fsync_interval_ms = 1;
    store_open(&f);
    store_add(&f, store_series(&f, "a", 1), T0, 1);
    store_tick(&f, 100);
    faults_begin(1u << FILE_SYNC, EIO);
    store_add(&f, store_series(&f, "a", 1), T0 + 1, 1);
    usleep(30000);
    store_tick(&f, 0);
    usleep(5000);
    store_tick(&f, 0);
    assert_true(fault_calls > 0);
    faults_begin(1u << FILE_WRITE, ENOSPC);
    usleep(5000);
    unsigned at_once = 0;
    for (int i = 0; i < 100; i++) {
        at_once += storage_tick(f.storage, clock_mono_ms()) == 0;
        lane_now_run(&f.lane);
    }
    assert_in_range(fault_calls, 1, 5);
    assert_in_range(at_once, 0, 5);
    faults_end();
    store_tick(&f, 50000);
    store_teardown(&f);
}

/* A day of a full disk must not leave a file a second. */
static void test_log_tick__leaves_no_file_for_each_try(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    store_setup(&f);
    series_ref ref = store_series(&f, "a", 1);
    store_add(&f, ref, T0, 1);
    store_tick(&f, 100);
    faults_begin(1u << FILE_WRITE, ENOSPC);
    store_add(&f, ref, T0 + 1, 1);
    for (int i = 1; i < 50; i++)
        store_tick(&f, 60000 * i);
    assert_true(fault_calls > 10);
    assert_in_range(store_file_count(&f, "log"), 1, 4);
    faults_end();
    store_tick(&f, 60000 * 60);
    store_close(&f);
    store_open(&f);
    struct store_samples samples = store_read(&f, "a", 1, FOREVER);
    assert_int_equal(samples.count, 2);
    store_samples_free(&samples);
    store_teardown(&f);
}

/* Who asks when nothing is pending and the last try failed must be told, or a remote write hangs
 * for ever. */
static void test_storage_commit__is_told_when_nothing_is_pending(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    struct storage_stats stats;
    store_setup(&f);
    told_count = 0;
    faults_begin(1u << FILE_OPEN, EMFILE);
    storage_commit(f.storage, on_commit,
                   NULL); /* Nothing was appended, the first file cannot be made. */
    store_tick(&f, 100);
    storage_commit(f.storage, on_commit, NULL);
    for (int i = 1; i < 5; i++)
        store_tick(&f, 5000 * i);
    assert_int_equal(told_count, 2);
    faults_end();
    store_tick(&f, 60000);
    storage_commit(f.storage, on_commit, NULL);
    store_tick(&f, 70000);
    assert_int_equal(told_count, 3);
    assert_int_equal(told_err.code, ERR_NONE);
    storage_get_stats(f.storage, &stats);
    assert_false(stats.degraded);
    store_teardown(&f);
}

static unsigned faulty_ops;
static int faulty_code;

/* Each acknowledged sample is in the file after a kill, whatever failed before. */
static void add_with_faults(struct store_fixture *f)
{
    series_ref ref = store_series(f, "a", 1);
    int64_t ahead = 0;
    for (int i = 0; i < 300; i++) {
        if (i % 10 == 5)
            faults_begin(faulty_ops, faulty_code);
        else
            faults_end();
        told_count = 0;
        bool asked = store_try_add(f, ref, T0 + i * 1000, i) == SAMPLE_STORED;
        if (asked)
            storage_commit(f->storage, on_commit, NULL);
        ahead += i % 50 == 49 ? 6 * 60 * 1000 : 2000;
        store_tick(f, ahead);
        if (asked && i % 10 != 5)
            STORE_REQUIRE(told_count == 1 && told_err.code == ERR_NONE);
    }
}

static void check_faulty(unsigned ops, int code)
{
    struct store_fixture f = {0};
    faulty_ops = ops;
    faulty_code = code;
    store_setup(&f);
    store_close(&f);
    assert_true(store_killed_after(&f, add_with_faults));
    store_open(&f);
    struct store_samples samples = store_read(&f, "a", 1, FOREVER);
    assert_true(samples.count >= 270); /* A refused sample is not an acknowledged one. */
    for (size_t i = 0; i < samples.count; i++)
        assert_int_equal(samples.time_ms[i], T0 + (int64_t)samples.value[i] * 1000);
    store_samples_free(&samples);
    store_teardown(&f);
}

/* Every kind of failure of the disk, each followed by better times, then a kill. */
static void test_log__loses_nothing_when_operations_fail(void **state)
{
    (void)state;
    check_faulty(1u << FILE_WRITE, ENOSPC);
    check_faulty(1u << FILE_WRITE, 0); /* Short writes only: no error. */
    check_faulty(1u << FILE_SYNC, EIO);
    check_faulty(1u << FILE_OPEN | 1u << FILE_WRITE, EIO);
    check_faulty(1u << FILE_SYNC | 1u << FILE_OPEN, EIO);
    check_faulty(1u << FILE_UNLINK, EACCES);
}

/* The end comes while the disk is full: no crash, and what had been written is there. */
static void test_log_close__while_it_cannot_write(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    store_setup(&f);
    series_ref ref = store_series(&f, "a", 1);
    store_add(&f, ref, T0, 0);
    store_tick(&f, 100);
    faults_begin(1u << FILE_WRITE | 1u << FILE_SYNC | 1u << FILE_OPEN, ENOSPC);
    store_add(&f, ref, T0 + 1, 1);
    told_count = 0;
    storage_commit(f.storage, on_commit, NULL);
    store_tick(&f, 100);
    storage_commit(f.storage, on_commit, NULL);
    store_close(&f);
    assert_int_equal(told_count, 2);
    assert_int_not_equal(told_err.code, ERR_NONE);
    faults_end();
    store_open(&f);
    struct store_samples samples = store_read(&f, "a", 1, FOREVER);
    assert_int_equal(samples.count, 1);
    store_samples_free(&samples);
    store_teardown(&f);
}

/* Segments rotate by time, and go when their slots are sealed. */
static void test_log__drops_segments_of_sealed_slots(void **state)
{
    (void)state;
    struct store_fixture f = {0};
    store_setup(&f);
    series_ref ref = store_series(&f, "a", 1);
    for (int i = 0; i < 20; i++) {
        store_add(&f, ref, T0 + i * 1000, i);
        store_tick(&f, i * 6 * 60 * 1000);
    }
    store_tick(&f, 20 * HOUR);
    store_add(&f, ref, T0 + HOUR, 1);
    store_tick(&f, 21 * HOUR);
    store_tick(&f, 23 * HOUR);
    assert_in_range(store_file_count(&f, "log"), 1, 3);
    store_close(&f);
    store_open(&f);
    struct store_samples samples = store_read(&f, "a", 1, FOREVER);
    assert_int_equal(samples.count, 21);
    store_samples_free(&samples);
    store_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_log_tick__waits_between_tries, after),
        cmocka_unit_test_teardown(test_log_tick__leaves_no_file_for_each_try, after),
        cmocka_unit_test_teardown(test_storage_commit__is_told_when_nothing_is_pending, after),
        cmocka_unit_test_teardown(test_log__loses_nothing_when_operations_fail, after),
        cmocka_unit_test_teardown(test_log_close__while_it_cannot_write, after),
        cmocka_unit_test_teardown(test_log__drops_segments_of_sealed_slots, after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
