/* Case mapping and UTF-8 writing of code points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "rune.h"

static void test_rune_upper__maps_as_unicode_says(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {
        {'a', 'A'},     {'z', 'Z'},     {'1', '1'},     {0xe9, 0xc9},       {0xdf, 0xdf},
        {0xff, 0x178},  {0x131, 'I'},   {0x17f, 'S'},   {0x3c2, 0x3a3},     {0x436, 0x416},
        {0x101, 0x100}, {0x100, 0x100}, {0x1c6, 0x1c4}, {0x1e943, 0x1e921}, {0x10ffff, 0x10ffff},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        assert_int_equal(rune_upper(pairs[i][0]), pairs[i][1]);
}

static void test_rune_lower__maps_as_unicode_says(void **state)
{
    (void)state;
    const uint32_t pairs[][2] = {
        {'A', 'a'},     {'Z', 'z'},         {'[', '['},       {0xc9, 0xe9},    {0xd7, 0xd7},
        {0x130, 'i'},   {0x212a, 'k'},      {0x416, 0x436},   {0x23a, 0x2c65}, {0x1e9e, 0xdf},
        {0x100, 0x101}, {0x1e921, 0x1e943}, {0x4e2d, 0x4e2d},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        assert_int_equal(rune_lower(pairs[i][0]), pairs[i][1]);
}

static void test_rune_put__is_read_back(void **state)
{
    (void)state;
    for (uint32_t rune = 0; rune <= 0x10ffff; rune = rune == 0xd7ff ? 0xe000 : rune + 1) {
        char text[RUNE_BYTES_MAX];
        size_t at = 0, len = rune_put(text, rune);
        assert_int_equal(str_next_rune((struct str){text, len}, &at), rune);
        assert_int_equal(at, len);
    }
}

/* The bound that relabelling allocates by: ASCII stays ASCII, other letters grow to three bytes at
 * most from two. */
static void test_rune_lower__grows_little(void **state)
{
    (void)state;
    for (uint32_t rune = 0; rune <= 0x10ffff; rune++) {
        char text[RUNE_BYTES_MAX];
        size_t len = rune_put(text, rune);
        size_t allowed = rune < 0x80 ? 1 : len + (len == 2);
        assert_true(rune_put(text, rune_lower(rune)) <= allowed);
        assert_true(rune_put(text, rune_upper(rune)) <= allowed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rune_upper__maps_as_unicode_says),
        cmocka_unit_test(test_rune_lower__maps_as_unicode_says),
        cmocka_unit_test(test_rune_put__is_read_back),
        cmocka_unit_test(test_rune_lower__grows_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
