/* kv: transactions see snapshots, aborted ones leave nothing, damaged files are an error and not a
 * crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "kv.h"

static const char *const TABLES[2] = {"one", "two"};
static char dir[64], path[128];

static int begin(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/narthex-test-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof(path), "%s/kv.mdb", dir);
    return 0;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static struct kv *open_kv(void)
{
    struct kv *kv;
    struct err err = {0};
    assert_true(kv_open(&kv, path, TABLES, 2, &err));
    return kv;
}

static void put(struct kv *kv, uint64_t key, struct str value, bool commit)
{
    struct kv_write *write;
    struct err err = {0};
    assert_true(kv_write_begin(kv, &write, &err));
    assert_true(kv_put(write, 1, key, value, &err));
    if (commit)
        assert_true(kv_commit(write, &err));
    else
        kv_abort(write);
}

static bool has(struct kv_read *read, uint64_t key, struct str wanted)
{
    struct err err = {0};
    struct str value;
    bool found;
    assert_true(kv_get(read, 1, key, &found, &value, &err));
    return found && str_eq(value, wanted);
}

static void test_kv_read__is_a_snapshot(void **state)
{
    struct kv_read *before, *after;
    struct err err = {0};
    (void)state;
    struct kv *kv = open_kv();
    put(kv, 7, STR("old"), true);
    assert_true(kv_read_begin(kv, &before, &err));
    put(kv, 7, STR("new"), true);
    put(kv, 8, STR("never"), false);
    assert_true(kv_read_begin(kv, &after, &err));
    assert_true(has(before, 7, STR("old")));
    assert_true(has(after, 7, STR("new")));
    assert_false(has(after, 8, STR("never")));
    kv_read_end(before);
    kv_read_end(after);
    kv_close(kv);
}

struct seen {
    uint64_t last;
    size_t count;
};
static bool see(void *ctx, uint64_t key, struct str value, struct err *err)
{
    struct seen *seen = ctx;
    (void)value;
    if (seen->count > 0 && key <= seen->last)
        return err_set(err, ERR_CORRUPT, "order");
    seen->last = key;
    seen->count++;
    return true;
}

/* Keys sort as numbers over the whole range, and the last one is the largest. */
static void test_kv_each__goes_in_number_order(void **state)
{
    static const uint64_t keys[] = {UINT64_MAX,        0,     256,           255, 1,
                                    UINT64_C(1) << 40, 65536, UINT64_MAX - 1};
    struct seen seen = {0};
    struct kv_read *read;
    struct kv_write *write;
    struct err err = {0};
    uint64_t last;
    bool found;
    (void)state;
    struct kv *kv = open_kv();
    assert_true(kv_write_begin(kv, &write, &err));
    assert_true(kv_last_key(write, 1, &found, &last, &err));
    assert_false(found);
    kv_abort(write);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        put(kv, keys[i], STR("x"), true);
    assert_true(kv_read_begin(kv, &read, &err));
    assert_true(kv_each(read, 1, see, &seen, &err));
    kv_read_end(read);
    assert_int_equal(seen.count, 8);
    assert_true(seen.last == UINT64_MAX);
    kv_close(kv);
}

/* Whatever the file was cut to: an error or the content, no SIGBUS. */
static void test_kv_open__refuses_a_file_that_is_cut(void **state)
{
    (void)state;
    char *value = calloc(1, 100000);
    struct kv *kv = open_kv();
    for (uint64_t key = 1; key < 20; key++)
        put(kv, key, str_from(value, 100000), true);
    kv_close(kv);
    free(value);
    static const off_t lens[] = {2000000, 1000000, 500001, 65536, 12288, 8193,
                                 8192,    8191,    4096,   152,   151,   1};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct err err = {0};
        if (truncate(path, lens[i]) != 0)
            fail();
        if (kv_open(&kv, path, TABLES, 2, &err)) {
            assert_int_equal(lens[i], 2000000);
            kv_close(kv);
        } else {
            assert_int_equal(err.code, ERR_CORRUPT);
        }
    }
}

/* Readers without number are refused as such: the file is not called damaged. */
static void test_kv_read_begin__says_when_there_are_too_many(void **state)
{
    struct kv_read *reads[600];
    struct err err = {0};
    size_t count = 0;
    (void)state;
    struct kv *kv = open_kv();
    while (count < 600 && kv_read_begin(kv, &reads[count], &err))
        count++;
    assert_in_range(count, 256, 599);
    assert_int_equal(err.code, ERR_LIMIT);
    while (count > 0)
        kv_read_end(reads[--count]);
    assert_true(kv_read_begin(kv, &reads[0], &err));
    kv_read_end(reads[0]);
    kv_close(kv);
}

/* The readers of a file that changes are counted, and how far the oldest is behind. */
static void test_kv_watch_readers__tells_who_holds_pages(void **state)
{
    struct kv_read *read;
    struct kv_readers readers;
    struct err err = {0};
    (void)state;
    struct kv *kv = open_kv();
    put(kv, 1, STR("x"), true);
    assert_true(kv_watch_readers(kv, &readers, &err));
    assert_int_equal(readers.count, 0);
    assert_int_equal(readers.commits_behind, 0);
    assert_true(kv_read_begin(kv, &read, &err));
    for (uint64_t key = 2; key < 7; key++)
        put(kv, key, STR("x"), true);
    assert_true(kv_watch_readers(kv, &readers, &err));
    assert_int_equal(readers.count, 1);
    assert_int_equal(readers.dead, 0);
    assert_int_equal(readers.commits_behind, 5);
    kv_read_end(read);
    assert_true(kv_watch_readers(kv, &readers, &err));
    assert_int_equal(readers.count, 0);
    kv_close(kv);
}

/* A builder's file, read as a published one: floor is the way into it. */
static void test_kv_floor__finds_the_entry_at_or_below(void **state)
{
    struct kv *kv;
    struct kv_write *write;
    struct kv_read *read;
    struct str value;
    struct err err = {0};
    uint64_t pages, len, key;
    uint32_t page_bytes;
    const void *base;
    bool found;
    (void)state;
    char *large = calloc(1, 100000);
    assert_true(kv_open_builder(&kv, path, TABLES, 2, 1 << 24, &err));
    assert_true(kv_write_begin(kv, &write, &err));
    for (key = 10; key <= 1000; key += 10)
        assert_true(kv_append(write, 1, key, str_from(large, key % 100 ? 5 : 100000), &err));
    assert_false(kv_append(write, 1, 990, STR("not the highest"), &err));
    kv_abort(write);
    assert_true(kv_write_begin(kv, &write, &err));
    for (key = 10; key <= 1000; key += 10)
        assert_true(kv_append(write, 1, key, str_from(large, key % 100 ? 5 : 100000), &err));
    assert_true(kv_commit(write, &err));
    kv_close(kv);
    assert_false(kv_open_builder(&kv, path, TABLES, 2, 1 << 24, &err));
    assert_true(kv_file_pages(path, &pages, &page_bytes, &len, &err));
    assert_int_equal(pages * page_bytes, len);
    assert_true(kv_open_published(&kv, path, TABLES, 2, pages, page_bytes, &err));
    assert_true(kv_map(kv, &base, &len, &err));
    assert_int_equal(len, pages * page_bytes);
    assert_true(kv_read_begin(kv, &read, &err));
    for (uint64_t wanted = 0; wanted < 1100; wanted++) {
        assert_true(kv_floor(read, 1, wanted, &found, &key, &value, &err));
        assert_int_equal(found, wanted >= 10);
        if (!found)
            continue;
        assert_int_equal(key, wanted > 1000 ? 1000 : wanted / 10 * 10);
        assert_int_equal(value.len, key % 100 ? 5 : 100000);
        assert_true(value.ptr > (const char *)base &&
                    value.ptr + value.len <= (const char *)base + len);
    }
    assert_true(kv_floor(read, 0, 5, &found, &key, &value, &err));
    assert_false(found);
    kv_read_end(read);
    kv_close(kv);
    free(large);
}

/* A copy shows one moment, and is a file like any other; one that is there is not written over. */
static void test_kv_copy__makes_a_file_of_its_own(void **state)
{
    struct kv *copy;
    struct kv_read *read;
    struct err err = {0};
    char copy_path[160];
    (void)state;
    struct kv *kv = open_kv();
    put(kv, 7, STR("seven"), true);
    for (int compact = 0; compact < 2; compact++) {
        snprintf(copy_path, sizeof(copy_path), "%s/copy-%d.mdb", dir, compact);
        assert_true(kv_copy(kv, copy_path, compact, &err));
        assert_false(kv_copy(kv, copy_path, compact, &err));
        put(kv, 8, STR("later"), true);
        assert_true(kv_open(&copy, copy_path, TABLES, 2, &err));
        assert_true(kv_read_begin(copy, &read, &err));
        assert_true(has(read, 7, STR("seven")));
        if (!compact)
            assert_false(has(read, 8, STR("later")));
        kv_read_end(read);
        kv_close(copy);
    }
    kv_close(kv);
}

static int fail_write(enum file_op op, const char *name, size_t *len)
{
    (void)name;
    (void)len;
    return op == FILE_WRITE ? 28 : 0;
}

/* The faults of tests reach a builder's commits, and no other file's. */
static void test_kv_commit__asks_for_faults_when_building(void **state)
{
    struct kv *kv;
    struct kv_write *write;
    struct err err = {0};
    (void)state;
    assert_true(kv_open_builder(&kv, path, TABLES, 2, 1 << 24, &err));
    assert_true(kv_write_begin(kv, &write, &err));
    assert_true(kv_append(write, 0, 1, STR("x"), &err));
    file_faults = fail_write;
    bool good = kv_commit(write, &err);
    file_faults = NULL;
    assert_false(good);
    assert_int_equal(err.code, ERR_NO_SPACE);
    kv_close(kv);
}

/* LMDB writes to the map of its lock file: a page that has no room on the disk would be a SIGBUS. */
static void test_kv_open__has_the_lock_file_on_the_disk(void **state)
{
    (void)state;
    struct stat info;
    char lock[620];
    struct kv *kv = open_kv();
    snprintf(lock, sizeof(lock), "%s-lock", path);
    assert_int_equal(stat(lock, &info), 0);
    assert_true(info.st_size >= 500 * 64 && info.st_blocks * 512 >= info.st_size);
    kv_close(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kv_open__has_the_lock_file_on_the_disk, begin, end),
        cmocka_unit_test_setup_teardown(test_kv_read__is_a_snapshot, begin, end),
        cmocka_unit_test_setup_teardown(test_kv_each__goes_in_number_order, begin, end),
        cmocka_unit_test_setup_teardown(test_kv_open__refuses_a_file_that_is_cut, begin, end),
        cmocka_unit_test_setup_teardown(test_kv_read_begin__says_when_there_are_too_many, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_kv_watch_readers__tells_who_holds_pages, begin, end),
        cmocka_unit_test_setup_teardown(test_kv_floor__finds_the_entry_at_or_below, begin, end),
        cmocka_unit_test_setup_teardown(test_kv_copy__makes_a_file_of_its_own, begin, end),
        cmocka_unit_test_setup_teardown(test_kv_commit__asks_for_faults_when_building, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
