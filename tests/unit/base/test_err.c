/* Unit tests of base/err. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/err.h"

static void test_err_set__and_wrap_build_a_text(void **state)
{
    (void)state;
    struct err err = {0};

    assert_false(err_set(&err, ERR_NOT_FOUND, "no %s", "file"));
    assert_false(err_wrap(&err, "load %d", 3));
    assert_string_equal(err.text, "load 3: no file");
    assert_int_equal(err.code, ERR_NOT_FOUND);
    err_clear(&err);
    assert_int_equal(err.code, ERR_NONE);
    assert_string_equal(err.text, "");
}

/* The text itself may be an argument: a common way to change the code. */
static void test_err_set__may_use_its_own_text(void **state)
{
    (void)state;
    struct err err = {0};

    err_set(&err, ERR_IO, "disk");
    err_set(&err, ERR_EXECUTION, "storage: %s", err.text);
    assert_string_equal(err.text, "storage: disk");
}

/* A cut code point would make the API's JSON answer bad UTF-8. */
static void test_err_set_str__cuts_between_code_points(void **state)
{
    (void)state;
    static char text[3 * 3000];
    struct err err = {0};

    for (size_t i = 0; i < sizeof(text); i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    err_set_str(&err, ERR_BAD_DATA, (struct str){text, sizeof(text)});
    assert_int_equal(strlen(err.text), 4095);
    assert_true(str_is_utf8(str_of(err.text)));
    err_wrap(&err, "x");
    assert_true(str_is_utf8(str_of(err.text)));
    assert_int_equal(strlen(err.text), 4095); /* "x: ", then whole code points. */
}

static void test_err_errno__tells_a_full_disk(void **state)
{
    (void)state;
    struct err err = {0};

    assert_false(err_errno(&err, ENOSPC, "write %s", "wal"));
    assert_int_equal(err.code, ERR_NO_SPACE);
    assert_string_equal(err.text, "write wal: No space left on device");
    err_errno(&err, EACCES, "open");
    assert_int_equal(err.code, ERR_IO);
}

static void test_err_http_status__follows_the_table(void **state)
{
    (void)state;
    assert_int_equal(err_http_status(ERR_BAD_DATA), 400);
    assert_int_equal(err_http_status(ERR_TIMEOUT), 503);
    assert_string_equal(err_api_type(ERR_EXECUTION), "execution");
    assert_string_equal(err_api_type(ERR_CORRUPT), "internal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_set__and_wrap_build_a_text),
        cmocka_unit_test(test_err_set__may_use_its_own_text),
        cmocka_unit_test(test_err_set_str__cuts_between_code_points),
        cmocka_unit_test(test_err_errno__tells_a_full_disk),
        cmocka_unit_test(test_err_http_status__follows_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
