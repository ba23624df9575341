/* Snapshots: a directory that a store opens and that has all that was appended before it was asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "file.h"
#include "store_fixture.h"

#define DAY      (INT64_C(24) * 60 * 60 * 1000)
#define HOUR     (INT64_C(60) * 60 * 1000)
#define T0       (DAY * 19000 + 5 * HOUR)
#define STEP     15000
#define DAY_NAME "20220108T00Z-20220109T00Z.mdb"

struct told {
    int count;
    char name[STORAGE_SNAPSHOT_NAME_MAX];
    struct err err;
};

static void tell(void *ctx, const char *name, const struct err *err)
{
    struct told *told = ctx;
    told->count++;
    snprintf(told->name, sizeof(told->name), "%s", name);
    told->err = *err;
}

static int setup(void **state)
{
    struct store_fixture *f = MEM_NEW(struct store_fixture);
    store_setup(f);
    store_close(f);
    f->options.build_delay_ms = 90 * 60 * 1000;
    store_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct store_fixture *f = *state;
    file_faults = NULL;
    store_teardown(f);
    mem_free(f);
    return 0;
}

static int64_t ahead_ms; /* Time does not go back. */
static void run_all(struct store_fixture *f, int64_t begin_ms)
{
    for (int i = 0; i < 12; i++, ahead_ms += 2000)
        store_tick(f, begin_ms + ahead_ms);
}

static size_t count_of(struct store_fixture *f, const char *name)
{
    struct store_samples samples = store_read(f, name, 0, INT64_MIN / 4, INT64_MAX / 4);
    size_t count = samples.count;
    store_samples_free(&samples);
    return count;
}

/* A day, an open partition and samples in memory. */
static void fill(struct store_fixture *f)
{
    series_ref a = store_series(f, "a", 0);
    for (int i = 0; i < 10; i++)
        (void)store_add(f, a, T0 + i * STEP, i);
    (void)store_add(f, a, T0 + 2 * DAY, 1);
    run_all(f, 3 * HOUR);
    for (int i = 1; i <= 5; i++)
        (void)store_add(f, a, T0 + 2 * DAY + i * STEP, i);
    storage_series_release(f->storage, a);
}

/* A store of its own on the snapshot's directory. */
static void open_snapshot(struct store_fixture *f, struct store_fixture *copy, const char *name)
{
    *copy = *f;
    lane_now_init(&copy->lane);
    char path[160];
    snprintf(path, sizeof(path), "%s/snapshots/%s", f->dir, name);
    assert_true(strlen(path) < sizeof(path) - 1);
    copy->options.path = str_of(path);
    copy->options.submit_commit = lane_now_submit;
    copy->options.submit_ctx = &copy->lane;
    copy->options.submit_build = NULL;
    struct err err = {0};
    if (!storage_open(&copy->storage, &copy->options, &err))
        fail_msg("%s", err.text);
    copy->group = storage_group_open(copy->storage, 42);
}

static void test_storage_snapshot__has_all_that_was_appended(void **state)
{
    struct store_fixture *f = *state, copy;
    struct told told = {0};
    fill(f);
    assert_int_equal(count_of(f, "a"), 16);
    storage_snapshot(f->storage, false, tell, &told);
    series_ref a = store_series(f, "a", 0);
    (void)store_add(f, a, T0 + 2 * DAY + 50 * STEP, 7); /* Not in it. */
    run_all(f, 0);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.err.text, "");
    assert_int_equal(strlen(told.name), 16 + 1 + 16);
    open_snapshot(f, &copy, told.name);
    assert_int_equal(count_of(&copy, "a"), 16);
    series_ref again = store_series(&copy, "a", 0);
    assert_int_equal(store_add(&copy, again, T0 + 2 * DAY + 60 * STEP, 8), SAMPLE_STORED);
    assert_int_equal(count_of(&copy, "a"), 17);
    storage_series_release(copy.storage, again);
    store_close(&copy);
    assert_int_equal(count_of(f, "a"), 17);
    storage_series_release(f->storage, a);
}

/* With skip_head only what is in files already. */
static void test_storage_snapshot__may_leave_memory_out(void **state)
{
    struct store_fixture *f = *state, copy;
    struct told told = {0};
    fill(f);
    storage_snapshot(f->storage, true, tell, &told);
    run_all(f, 0);
    assert_int_equal(told.count, 1);
    open_snapshot(f, &copy, told.name);
    assert_int_equal(count_of(&copy, "a"), 11);
    store_close(&copy);
}

static int fail_rename(enum file_op op, const char *path, size_t *len)
{
    (void)len;
    return op == FILE_RENAME && str_ends(str_of(path), STR(".tmp")) ? 28 /* ENOSPC */ : 0;
}

/* A failed one leaves nothing behind, and the next one works. */
static void test_storage_snapshot__is_removed_when_it_fails(void **state)
{
    struct store_fixture *f = *state;
    struct told told = {0};
    char path[160];
    size_t left = 0;
    fill(f);
    file_faults = fail_rename;
    storage_snapshot(f->storage, true, tell, &told);
    run_all(f, 0);
    file_faults = NULL;
    assert_int_equal(told.count, 1);
    assert_int_not_equal(told.err.code, ERR_NONE);
    snprintf(path, sizeof(path), "%s/snapshots", f->dir);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        left += entry->d_name[0] != '.';
    closedir(dir);
    assert_int_equal(left, 0);
    snprintf(path, sizeof(path), "%s/snapshots/20200101T000000Z-0000000000000000.tmp/narthex",
             f->dir);
    struct err err = {0};
    assert_true(file_mkdirs(path, &err)); /* As a killed process leaves it behind. */
    storage_snapshot(f->storage, true, tell, &told);
    run_all(f, 0);
    assert_int_equal(told.count, 2);
    assert_int_equal(told.err.code, ERR_NONE);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* Days are second names of the same file: a snapshot costs next to nothing. */
static void test_storage_snapshot__links_days(void **state)
{
    struct store_fixture *f = *state;
    struct told told = {0};
    struct stat ours, theirs;
    char path[512];
    fill(f);
    storage_snapshot(f->storage, false, tell, &told);
    run_all(f, 0);
    snprintf(path, sizeof(path), "%s/narthex/%s", f->dir, DAY_NAME);
    assert_int_equal(stat(path, &ours), 0);
    snprintf(path, sizeof(path), "%s/snapshots/%s/narthex/%s", f->dir, told.name, DAY_NAME);
    assert_int_equal(stat(path, &theirs), 0);
    assert_true(ours.st_ino == theirs.st_ino);
}

/* Who waits is told when the server ends. */
static void test_storage_snapshot__is_told_of_the_end(void **state)
{
    struct store_fixture *f = *state;
    struct told told = {0};
    storage_snapshot(f->storage, false, tell, &told);
    storage_stop(f->storage);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.err.code, ERR_CANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_storage_snapshot__has_all_that_was_appended),
        T(test_storage_snapshot__may_leave_memory_out),
        T(test_storage_snapshot__is_removed_when_it_fails),
        T(test_storage_snapshot__links_days),
        T(test_storage_snapshot__is_told_of_the_end),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
