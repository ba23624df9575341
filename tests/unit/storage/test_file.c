/* file: appends that fail half way leave whole records, and the lock is exclusive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

static char dir[64];
static int fault_code;
static size_t fault_keep;
static int fault_after; /* So many writes go through whole. */

static int fault_write(enum file_op op, const char *path, size_t *len)
{
    (void)path;
    if (op != FILE_WRITE || fault_after-- > 0)
        return 0;
    *len = *len < fault_keep ? *len : fault_keep;
    return fault_code;
}

static int begin(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/narthex-test-XXXXXX");
    return mkdtemp(dir) ? 0 : 1;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    file_faults = NULL;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static void check_content(const char *path, const char *wanted)
{
    struct buf content;
    struct err err = {0};
    buf_init(&content, 1 << 20);
    assert_true(file_read_all(path, &content, &err));
    assert_true(str_eq(buf_str(&content), str_of(wanted)));
    buf_deinit(&content);
}

/* A torn write is cut back, so that the next record starts where the last whole one ends. */
static void test_file_append__cuts_back_a_torn_write(void **state)
{
    struct file file;
    struct err err = {0};
    char path[128];
    (void)state;
    snprintf(path, sizeof(path), "%s/log", dir);
    file_init(&file);
    assert_true(file_open_append(&file, path, &err));
    assert_true(file_append(&file, STR("first "), &err));
    file_faults = fault_write;
    fault_code = ENOSPC;
    for (fault_keep = 0; fault_keep < 6; fault_keep++) {
        fault_after = 0;
        assert_false(file_append(&file, STR("second"), &err));
        assert_int_equal(err.code, ERR_NO_SPACE);
        err_clear(&err);
        check_content(path, "first ");
    }
    fault_code = 0; /* Short writes without an error go on. */
    fault_keep = 1;
    fault_after = 0;
    assert_true(file_append(&file, STR("third"), &err));
    check_content(path, "first third");
    assert_int_equal(file.len, 11);
    file_close(&file);
}

/* Reading stops at the named maximum, instead of taking the machine's memory. */
static void test_file_read_all__keeps_to_its_maximum(void **state)
{
    struct buf content;
    struct err err = {0};
    char path[128];
    (void)state;
    snprintf(path, sizeof(path), "%s/large", dir);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(truncate(path, 10 << 20), 0);
    buf_init(&content, 1 << 20);
    assert_false(file_read_all(path, &content, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    buf_deinit(&content);
    err_clear(&err);
    buf_init(&content, 1 << 20);
    assert_false(file_read_all(dir, &content, &err)); /* A folder. */
    buf_deinit(&content);
}

static void test_file_lock__is_exclusive_and_comes_back(void **state)
{
    struct err err = {0};
    int first, second;
    char path[128];
    (void)state;
    snprintf(path, sizeof(path), "%s/lock", dir);
    assert_true(file_lock(path, &first, &err));
    assert_false(file_lock(path, &second, &err));
    assert_int_equal(second, -1);
    close(first);
    assert_true(file_lock(path, &second, &err));
    close(second);
}

/* The bytes of a damaged file are kept for a person to look at. */
static void test_file_set_aside__keeps_the_bytes(void **state)
{
    struct err err = {0}, why = {.code = ERR_CORRUPT, .text = "because"};
    char path[128], command[256];
    (void)state;
    snprintf(path, sizeof(path), "%s/damaged", dir);
    snprintf(command, sizeof(command), "echo -n bytes > %s", path);
    assert_int_equal(system(command), 0);
    assert_true(file_set_aside(path, &why, &err));
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(command, sizeof(command), "test \"$(cat %s.damaged-*)\" = bytes", path);
    assert_int_equal(system(command), 0);
}

static void test_file_mkdirs__makes_all_and_says_what_is_in_the_way(void **state)
{
    struct err err = {0};
    char path[128];
    (void)state;
    snprintf(path, sizeof(path), "%s/a/b//c/", dir);
    assert_true(file_mkdirs(path, &err));
    assert_true(file_mkdirs(path, &err));
    snprintf(path, sizeof(path), "%s/a/file", dir);
    fclose(fopen(path, "wb"));
    snprintf(path, sizeof(path), "%s/a/file/b", dir);
    assert_false(file_mkdirs(path, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_append__cuts_back_a_torn_write, begin, end),
        cmocka_unit_test_setup_teardown(test_file_read_all__keeps_to_its_maximum, begin, end),
        cmocka_unit_test_setup_teardown(test_file_lock__is_exclusive_and_comes_back, begin, end),
        cmocka_unit_test_setup_teardown(test_file_set_aside__keeps_the_bytes, begin, end),
        cmocka_unit_test_setup_teardown(test_file_mkdirs__makes_all_and_says_what_is_in_the_way,
                                        begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
