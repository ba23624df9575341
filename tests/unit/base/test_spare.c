/* Spare blocks: kept for the next taker, not for long and not too many; and bufs that use them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/spare.h"

/* The largest comes first, none twice, and small ones are not kept. */
static void test_spare_take__gives_the_largest(void **state)
{
    (void)state;
    size_t bytes;
    void *large = mem_alloc(2 * SPARE_MIN), *small = mem_alloc(SPARE_MIN);
    spare_give(large, 2 * SPARE_MIN);
    spare_give(small, SPARE_MIN);
    spare_give(mem_alloc(64), 64);
    spare_give(NULL, 0);
    assert_int_equal(spare_bytes(), 3 * SPARE_MIN);
    assert_ptr_equal(spare_take(&bytes), large);
    assert_int_equal(bytes, 2 * SPARE_MIN);
    assert_ptr_equal(spare_take(&bytes), small);
    assert_int_equal(bytes, SPARE_MIN);
    assert_null(spare_take(&bytes));
    assert_int_equal(bytes, 0);
    assert_int_equal(spare_bytes(), 0);
    mem_free(large);
    mem_free(small);
}

/* Whatever is given: never more than the maximum lies there. */
static void test_spare_give__keeps_to_the_maximum(void **state)
{
    (void)state;
    size_t bytes;
    spare_give(mem_alloc(SPARE_MAX + 1), SPARE_MAX + 1);
    assert_int_equal(spare_bytes(), 0);
    for (int i = 0; i < 20; i++)
        spare_give(mem_alloc(SPARE_MAX / 3), SPARE_MAX / 3);
    assert_int_equal(spare_bytes(), 3 * (SPARE_MAX / 3));
    for (int i = 0; i < 20; i++)
        spare_give(mem_alloc(SPARE_MIN), SPARE_MIN);
    assert_true(spare_bytes() <= SPARE_MAX);
    spare_trim();
    assert_int_equal(spare_bytes(), 0);
    assert_null(spare_take(&bytes));
}

/* What is taken in time stays, what lies through a tick goes. */
static void test_spare_tick__frees_what_nobody_takes(void **state)
{
    (void)state;
    size_t bytes;
    spare_give(mem_alloc(SPARE_MIN), SPARE_MIN);
    for (int i = 0; i < 3; i++) {
        spare_tick();
        void *block = spare_take(&bytes);
        assert_non_null(block);
        spare_give(block, bytes);
    }
    spare_tick();
    assert_int_equal(spare_bytes(), SPARE_MIN);
    spare_tick();
    assert_int_equal(spare_bytes(), 0);
}

/* The text is the same wherever its memory is from, and a second buf has the first one's. */
static void test_buf_add__in_memory_of_another(void **state)
{
    (void)state;
    struct buf buf;
    char *before = NULL;
    for (int round = 0; round < 3; round++) {
        buf_init(&buf, 64 << 20);
        buf.reuses = true;
        for (uint32_t i = 0; i < 500000; i++)
            buf_add(&buf, &i, sizeof(i));
        for (uint32_t i = 0; i < 500000; i++)
            assert_memory_equal(buf.ptr + 4 * i, &i, 4);
        assert_true(round == 0 || buf.ptr == before);
        before = buf.ptr;
        buf_deinit(&buf);
        assert_true(spare_bytes() >= 2000000);
    }
    buf_init(&buf, SPARE_MAX); /* Asks for more than lies there. */
    buf.reuses = true;
    assert_non_null(buf_reserve(&buf, 8 << 20));
    assert_true(spare_bytes() > 0);
    buf_deinit(&buf);
    spare_trim();
}

/* A maximum holds though the block has more. */
static void test_buf_add__stays_within_its_maximum(void **state)
{
    (void)state;
    struct buf buf;
    spare_give(mem_alloc(4 * SPARE_MIN), 4 * SPARE_MIN);
    buf_init(&buf, SPARE_MIN + 10);
    buf.reuses = true;
    assert_non_null(buf_reserve(&buf, SPARE_MIN));
    buf_commit(&buf, SPARE_MIN);
    assert_int_equal(buf.capacity, 4 * SPARE_MIN);
    buf_add(&buf, "0123456789", 10);
    assert_false(buf.overflow);
    buf_add_char(&buf, 'x');
    assert_true(buf.overflow);
    assert_int_equal(buf.len, SPARE_MIN + 10);
    buf_deinit(&buf);
    spare_trim();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spare_take__gives_the_largest),
        cmocka_unit_test(test_spare_give__keeps_to_the_maximum),
        cmocka_unit_test(test_spare_tick__frees_what_nobody_takes),
        cmocka_unit_test(test_buf_add__in_memory_of_another),
        cmocka_unit_test(test_buf_add__stays_within_its_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
