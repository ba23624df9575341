/* kv, renewed: when the disk refuses LMDB's meta page, LMDB refuses the file for good; it has to take writes again once the disk
 * is well, and readers must see what was committed all the while. pwrite is this program's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kv.h"
#include "store_fixture.h"

#define META_BYTES_MAX 256 /* LMDB writes pages, but of a meta page only what changes. */
#define T0             INT64_C(1700000000000)
#define FOREVER        INT64_MIN, INT64_MAX

static atomic_bool disk_is_bad;
static atomic_int refused;

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    if (atomic_load(&disk_is_bad) && len < META_BYTES_MAX) {
        atomic_fetch_add(&refused, 1);
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, len, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at)
{
    return pwrite(fd, bytes, len, at);
}

static const char *const TABLES[1] = {"one"};

static bool try_put(struct kv *kv, uint64_t key, struct err *err)
{
    struct kv_write *write;
    *err = (struct err){0};
    if (!kv_write_begin(kv, &write, err))
        return false;
    if (kv_put(write, 0, key, STR("value"), err))
        return kv_commit(write, err);
    kv_abort(write);
    return false;
}

static bool has(struct kv_read *read, uint64_t key)
{
    struct err err = {0};
    struct str value;
    bool found;
    assert_true(kv_get(read, 0, key, &found, &value, &err));
    return found;
}

/* With a reader from before, one of the time between, and without. */
static void test_kv_write_begin__opens_a_refused_file_anew(void **state)
{
    char dir[64] = "/tmp/narthex-test-XXXXXX", path[128], command[128];
    struct kv_read *before, *between, *after;
    struct err err = {0};
    struct kv *kv;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/kv.mdb", dir);
    assert_true(kv_open(&kv, path, TABLES, 1, &err));
    assert_true(try_put(kv, 1, &err));
    assert_true(kv_read_begin(kv, &before, &err));
    atomic_store(&disk_is_bad, true);
    assert_false(try_put(kv, 2, &err));
    assert_true(atomic_load(&refused) > 0);
    assert_true(kv_read_begin(kv, &between, &err));
    assert_true(has(between, 1));
    atomic_store(&disk_is_bad, false);
    /* Both readers stand on pages that a new env would not spare. */
    assert_false(try_put(kv, 3, &err));
    kv_read_end(before);
    assert_false(try_put(kv, 3, &err));
    assert_true(has(between, 1));
    kv_read_end(between);
    assert_true(try_put(kv, 3, &err));
    assert_true(try_put(kv, 4, &err));
    assert_true(kv_read_begin(kv, &after, &err));
    assert_true(has(after, 1) && has(after, 3) && has(after, 4));
    kv_read_end(after);
    kv_close(kv);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

/* A seal that fails by it, of an open partition or of head.mdb, is done when the disk is well: no start is needed. */
static void test_seal__goes_on_when_the_disk_is_well(void **state)
{
    struct store_fixture f = {0};
    struct storage_stats stats;
    (void)state;
    store_setup(&f);
    series_ref ref = store_series(&f, "a", 1);
    int64_t ahead_ms = 0;
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 10; i++)
            assert_int_equal(store_add(&f, ref, T0 + (round * 10 + i) * 1000, i), SAMPLE_STORED);
        atomic_store(&disk_is_bad, round % 2 == 1);
        ahead_ms += 2 * f.options.slot_ms;
        store_tick(&f, ahead_ms);
    }
    atomic_store(&disk_is_bad, false);
    storage_get_stats(f.storage, &stats);
    assert_true(stats.seal_failures > 0);
    for (int i = 0; i < 3; i++) {
        ahead_ms += 60000;
        store_tick(&f, ahead_ms);
    }
    storage_get_stats(f.storage, &stats);
    assert_int_equal(stats.slots_sealed, 6);
    assert_false(stats.chunks > 0);
    struct store_samples samples = store_read(&f, "a", 1, FOREVER);
    assert_int_equal(samples.count, 60);
    store_samples_free(&samples);
    store_close(&f);
    store_open(&f);
    samples = store_read(&f, "a", 1, FOREVER);
    assert_int_equal(samples.count, 60);
    store_samples_free(&samples);
    store_teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kv_write_begin__opens_a_refused_file_anew),
        cmocka_unit_test(test_seal__goes_on_when_the_disk_is_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
