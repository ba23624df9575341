/* bcrypt against hashes of other programs, and against texts that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/password.h"

static struct err err;

/* Hashes by OpenBSD's, PHP's and Go's programs differ in a letter that means nothing. */
static void test_password_matches__knows_all_letters(void **state)
{
    static const char *const HASHES[] = {
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(HASHES); i++) {
        struct str hash = str_of(HASHES[i]);
        assert_true(password_hash_check(hash, &err));
        assert_true(password_matches(hash, STR("U*U")));
        assert_false(password_matches(hash, STR("U*V")));
        assert_false(password_matches(hash, STR("")));
        assert_false(password_matches(hash, STR("U*U\0x")));
    }
    assert_true(password_matches(
        STR("$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"), STR("fakepassword")));
}

/* Only the first 72 bytes count, as everywhere with bcrypt. */
static void test_password_matches__cuts_long_ones(void **state)
{
    static const struct str HASH = {"$2b$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
                                    60};
    (void)state;
    char text[100];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[i % 62];
    bool with_72 = password_matches(HASH, str_from(text, 72));
    assert_int_equal(password_matches(HASH, str_from(text, 100)), with_72);
    assert_true(with_72);
    assert_false(password_matches(HASH, str_from(text, 71)));
}

/* In Go's words. */
static void test_password_hash_check__names_what_is_wrong(void **state)
{
    static const struct {
        const char *hash, *words;
    } CASES[] = {
        {"", "crypto/bcrypt: hashedSecret too short to be a bcrypted password"},
        {"x2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi",
         "crypto/bcrypt: bcrypt hashes must start with '$', but hashedSecret started with 'x'"},
        {"$3y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi",
         "crypto/bcrypt: bcrypt algorithm version '3' requested is newer than current version '2'"},
        {"$2y$a0$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi",
         "strconv.Atoi: parsing \"a0\": invalid syntax"},
        {"$2y$03$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi",
         "crypto/bcrypt: cost 3 is outside allowed range (4,31)"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        assert_false(password_hash_check(str_of(CASES[i].hash), &err));
        assert_string_equal(err.text, CASES[i].words);
        assert_false(password_matches(str_of(CASES[i].hash), STR("fakepassword")));
    }
    /* Fits the form and is no hash. */
    assert_false(password_matches(
        STR("$2y$05$!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"), STR("x")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_password_matches__knows_all_letters),
        cmocka_unit_test(test_password_matches__cuts_long_ones),
        cmocka_unit_test(test_password_hash_check__names_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
