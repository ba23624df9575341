/* kv: transactions see snapshots, aborted ones leave nothing, damaged files are an error and not a
 * crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kv_read__is_a_snapshot, begin, end),
        cmocka_unit_test_setup_teardown(test_kv_each__goes_in_number_order, begin, end),
        cmocka_unit_test_setup_teardown(test_kv_open__refuses_a_file_that_is_cut, begin, end),
        cmocka_unit_test_setup_teardown(test_kv_read_begin__says_when_there_are_too_many, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
