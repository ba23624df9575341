/* Unit tests of base/arena. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"

static void test_arena_alloc__aligns_and_keeps_apart(void **state)
{
    (void)state;
    struct arena arena;
    unsigned char *ptrs[500];

    arena_init(&arena, 0);
    for (size_t i = 0; i < 500; i++) {
        ptrs[i] = arena_alloc(&arena, i + 1);
        assert_int_equal((uintptr_t)ptrs[i] % 16, 0);
        memset(ptrs[i], (int)(i & 0xff), i + 1);
    }
    for (size_t i = 0; i < 500; i++)
        for (size_t j = 0; j <= i; j++)
            assert_int_equal(ptrs[i][j], i & 0xff);
    assert_false(arena.over_budget);
    arena_deinit(&arena);
    arena_deinit(NULL);
}

/* Over the budget it still gives memory: the owner ends the work at its own place. */
static void test_arena_alloc__raises_a_flag_over_budget(void **state)
{
    (void)state;
    struct arena arena;

    arena_init(&arena, 100000);
    arena_alloc(&arena, 1000);
    assert_false(arena.over_budget);
    memset(arena_alloc(&arena, 200000), 1, 200000);
    assert_true(arena.over_budget);
    arena_reset(&arena);
    assert_false(arena.over_budget);
    assert_true(arena.bytes < 100000);
    arena_deinit(&arena);
}

/* Rounds of the same work must not grow. */
static void test_arena_reset__reuses_its_block(void **state)
{
    (void)state;
    struct arena arena;
    size_t bytes_first = 0;

    arena_init(&arena, 0);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 3000; i++)
            memset(arena_zalloc(&arena, 40), 7, 40);
        if (round == 3)
            bytes_first = arena.bytes;
        arena_reset(&arena);
    }
    for (int i = 0; i < 3000; i++)
        arena_alloc(&arena, 40);
    assert_int_equal(arena.bytes, bytes_first);
    arena_deinit(&arena);
}

static void test_arena_strf__formats_short_and_long(void **state)
{
    (void)state;
    struct arena arena;

    arena_init(&arena, 0);
    struct str s = arena_strf(&arena, "%d-%s", 7, "x");
    assert_string_equal(s.ptr, "7-x");
    s = arena_strf(&arena, "%0*d", 5000, 1);
    assert_int_equal(s.len, 5000);
    assert_int_equal(strlen(s.ptr), 5000);
    assert_string_equal(arena_str(&arena, (struct str){NULL, 0}).ptr, "");
    assert_non_null(arena_alloc_array(&arena, 0, 8));
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_alloc__aligns_and_keeps_apart),
        cmocka_unit_test(test_arena_alloc__raises_a_flag_over_budget),
        cmocka_unit_test(test_arena_reset__reuses_its_block),
        cmocka_unit_test(test_arena_strf__formats_short_and_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
