/* Lists of groups, as they stand in the file: each kind, side by side, and what damage must not do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "disk_index_private.h"

#define BOUND 20000u

static uint64_t random_state = 99;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state % bound);
}

struct list {
    uint32_t items[BOUND];
    uint32_t count;
};

/* Steps of at most `step`, with a far one now and then. */
static void list_make(struct list *list, uint32_t step, uint32_t count_max, bool far)
{
    uint32_t at = random_below(50);
    list->count = 0;
    while (list->count < count_max && at < BOUND) {
        list->items[list->count++] = at;
        at += 1 + random_below(step) + (far && random_below(40) == 0 ? random_below(3000) : 0);
    }
}

static struct list_reader reader_of(const struct buf *buf)
{
    const uint8_t *at = (const uint8_t *)buf->ptr;
    return (struct list_reader){.at = at, .end = at + buf->len - PAD_BYTES};
}

static void pad(struct buf *buf)
{
    static const char zeros[PAD_BYTES];
    buf_add(buf, zeros, PAD_BYTES);
}

static bool bitmap_is(const uint64_t *bitmap, const struct list *list)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < BOUND / 64 + 1; i++)
        count += (uint32_t)__builtin_popcountll(bitmap[i]);
    for (uint32_t i = 0; i < list->count; i++) {
        if (!(bitmap[list->items[i] / 64] >> (list->items[i] % 64) & 1))
            return false;
    }
    return count == list->count;
}

/* Any list comes back, read or skipped: runs, steps of all sizes with far ones among them, dense ones. */
static void test_list_write__is_read_back(void **state)
{
    static struct list lists[40];
    static uint64_t bitmap[BOUND / 64 + 1];
    (void)state;
    for (int round = 0; round < 60; round++) {
        struct buf buf;
        buf_init(&buf, UINT32_MAX);
        for (size_t i = 0; i < COUNT_OF(lists); i++) {
            list_make(&lists[i], 1 + random_below(1u << random_below(12)),
                      1 + random_below(1u << random_below(14)), random_below(2));
            list_write(&buf, lists[i].items, lists[i].count);
        }
        pad(&buf);
        struct list_reader in = reader_of(&buf);
        for (size_t i = 0; i < COUNT_OF(lists); i++) {
            if (random_below(4) == 0) {
                list_skip(&in);
                continue;
            }
            memset(bitmap, 0, sizeof(bitmap));
            list_read(&in, bitmap, BOUND);
            assert_false(in.bad);
            assert_true(bitmap_is(bitmap, &lists[i]));
        }
        assert_ptr_equal(in.at, in.end);
        buf_deinit(&buf);
    }
}

/* Only a run may be called one: what is inside of it is not looked at. */
static void test_list_is_run__knows_runs_only(void **state)
{
    static struct list list;
    (void)state;
    for (uint32_t step = 1; step < 3; step++) {
        struct buf buf;
        uint32_t first = 0, last = 0;
        buf_init(&buf, UINT32_MAX);
        list_make(&list, step, 500, false);
        list_write(&buf, list.items, list.count);
        pad(&buf);
        struct list_reader in = reader_of(&buf);
        assert_int_equal(list_is_run(&in, &first, &last), step == 1);
        if (step == 1) {
            assert_int_equal(first, list.items[0]);
            assert_int_equal(last, list.items[list.count - 1]);
        }
        buf_deinit(&buf);
    }
}

/* A list that goes past the groups, or past its bytes, is bad; no bit is set beyond the bitmap. */
static void test_list_read__stays_in_bounds(void **state)
{
    static struct list list;
    uint64_t bitmap[BOUND / 64 + 1];
    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct buf buf;
        uint32_t bound = 1 + random_below(BOUND);
        buf_init(&buf, UINT32_MAX);
        list_make(&list, 1 + random_below(1u << random_below(9)), 400, random_below(2));
        list_write(&buf, list.items, list.count);
        pad(&buf);
        for (uint32_t i = random_below(3); i > 0; i--)
            buf.ptr[random_below((uint32_t)(buf.len - PAD_BYTES))] ^= (char)(1 << random_below(8));
        memset(bitmap, 0, sizeof(bitmap));
        struct list_reader in = reader_of(&buf);
        list_read(&in, bitmap, bound);
        for (uint32_t i = bound; i < BOUND; i++)
            assert_false(bitmap[i / 64] >> (i % 64) & 1);
        assert_true(in.at <= in.end);
        buf_deinit(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_write__is_read_back),
        cmocka_unit_test(test_list_is_run__knows_runs_only),
        cmocka_unit_test(test_list_read__stays_in_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
