/* The line cache alone: order, gone lines, shared series. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "line_cache.h"

struct told {
    series_ref stale[16], released[16];
    size_t stale_count, released_count;
};

static void on_stale(void *ctx, series_ref ref)
{
    struct told *told = ctx;
    told->stale[told->stale_count++] = ref;
}

static void on_release(void *ctx, series_ref ref)
{
    struct told *told = ctx;
    told->released[told->released_count++] = ref;
}

/* One scrape with these lines (name:ref, one letter and one digit each). Returns how many were
 * predicted. */
static size_t scrape(struct line_cache *cache, const char *lines, bool ok, struct told *told)
{
    struct line_cache_ops ops = {on_stale, on_release, told};
    size_t predicted = 0;

    *told = (struct told){0};
    line_cache_begin(cache);
    for (; *lines; lines += 2) {
        char text[] = {lines[0], ' '};
        size_t len = 0;
        uint32_t index = line_cache_predict(cache, text, 2, &len);
        predicted += index != LINE_NONE;
        if (index == LINE_NONE)
            index = line_cache_find(cache, str_from(text, 1));
        if (index == LINE_NONE)
            (void)line_cache_add(cache, str_from(text, 1), (series_ref)(lines[1] - '0'),
                                 LINE_TRACKED);
        else
            (void)line_cache_mark(cache, index, true);
    }
    if (ok)
        line_cache_end(cache, &ops);
    else
        line_cache_fail(cache, 1000, &ops);
    return predicted;
}

static void close_cache(struct line_cache *cache)
{
    struct told told = {0};
    struct line_cache_ops ops = {NULL, on_release, &told};

    line_cache_drain(cache, &ops);
    line_cache_deinit(cache);
}

/* Steady lines are all predicted and the map goes away. */
static void test_line_cache__predicts_a_steady_order(void **state)
{
    struct line_cache cache;
    struct told told;

    (void)state;
    line_cache_init(&cache, 1);
    assert_int_equal(scrape(&cache, "a1b2c3", true, &told), 0);
    for (int i = 0; i < 6; i++)
        assert_int_equal(scrape(&cache, "a1b2c3", true, &told), 3);
    assert_int_equal(told.stale_count, 0);
    assert_false(cache.has_map);
    close_cache(&cache);
}

/* Another order costs the map once; after that it is the order. */
static void test_line_cache__follows_a_new_order(void **state)
{
    struct line_cache cache;
    struct told told;

    (void)state;
    line_cache_init(&cache, 1);
    (void)scrape(&cache, "a1b2c3d4e5f6", true, &told);
    (void)scrape(&cache, "f6e5d4c3b2a1", true, &told);
    assert_int_equal(told.stale_count + told.released_count, 0);
    assert_int_equal(scrape(&cache, "f6e5d4c3b2a1", true, &told), 6);
    (void)scrape(&cache, "f6e5n7d4c3b2a1", true, &told);
    assert_int_equal(scrape(&cache, "f6e5n7d4c3b2a1", true, &told), 7);
    close_cache(&cache);
}

/* A line that is gone: one marker, one release, and the rest stays. */
static void test_line_cache__tells_what_is_gone(void **state)
{
    struct line_cache cache;
    struct told told;

    (void)state;
    line_cache_init(&cache, 1);
    (void)scrape(&cache, "a1b2c3", true, &told);
    (void)scrape(&cache, "a1c3", true, &told);
    assert_int_equal(told.stale_count, 1);
    assert_int_equal(told.stale[0], 2);
    assert_int_equal(told.released_count, 1);
    assert_int_equal(told.released[0], 2);
    assert_int_equal(cache.entries.count, 2);
    assert_int_equal(scrape(&cache, "a1c3", true, &told), 2);
    assert_int_equal(told.stale_count, 0);
    close_cache(&cache);
}

/* Two texts of one series: it is gone only when both are, and then once. */
static void test_line_cache__shares_series(void **state)
{
    struct line_cache cache;
    struct told told;

    (void)state;
    line_cache_init(&cache, 1);
    (void)scrape(&cache, "a1b1", true, &told);
    (void)scrape(&cache, "b1", true, &told);
    assert_int_equal(told.stale_count, 0);
    assert_int_equal(told.released_count, 1);
    (void)scrape(&cache, "a1b1", true, &told);
    (void)scrape(&cache, "c3", true, &told);
    assert_int_equal(told.stale_count, 1);
    assert_int_equal(told.released_count, 2);
    close_cache(&cache);
}

/* A failed scrape ends all series, once, and keeps the entries for when they return. */
static void test_line_cache__fails_once(void **state)
{
    struct line_cache cache;
    struct told told;

    (void)state;
    line_cache_init(&cache, 1);
    (void)scrape(&cache, "a1b2", true, &told);
    (void)scrape(&cache, "a1", false, &told);
    assert_int_equal(told.stale_count, 2);
    assert_int_equal(told.released_count, 0);
    (void)scrape(&cache, "", false, &told);
    assert_int_equal(told.stale_count, 0);
    assert_int_equal(scrape(&cache, "a1b2", true, &told), 2);
    (void)scrape(&cache, "", false, &told);
    assert_int_equal(told.stale_count, 2);
    close_cache(&cache);
}

/* New rules: texts are forgotten, but a series that does not come back still ends. */
static void test_line_cache__invalidates_without_losing_series(void **state)
{
    struct line_cache cache;
    struct told told = {0};
    struct line_cache_ops ops = {on_stale, on_release, &told};

    (void)state;
    line_cache_init(&cache, 1);
    (void)scrape(&cache, "a1b2", true, &told);
    line_cache_invalidate(&cache, &ops);
    assert_int_equal(scrape(&cache, "a1b3", true, &told), 0);
    assert_int_equal(told.stale_count, 1);
    assert_int_equal(told.stale[0], 2);
    assert_int_equal(told.released_count, 2);
    close_cache(&cache);
}

/* A scrape that was called off leaves no trace. */
static void test_line_cache__aborts(void **state)
{
    struct line_cache cache;
    struct told told;

    (void)state;
    line_cache_init(&cache, 1);
    (void)scrape(&cache, "a1b2", true, &told);
    line_cache_begin(&cache);
    (void)line_cache_mark(&cache, 1, true);
    line_cache_abort(&cache);
    assert_int_equal(scrape(&cache, "a1b2", true, &told), 2);
    assert_int_equal(told.stale_count, 0);
    close_cache(&cache);
}

/* Comments are known while they come as before; the first other one starts the rest anew. */
static void test_line_cache__knows_comments_in_order(void **state)
{
    static const char *const first[] = {"# a\n", "# b\n", "# c\n"};
    static const char *const second[] = {"# a\n", "# x\n", "# c\n"};
    struct line_cache cache;

    (void)state;
    line_cache_init(&cache, 1);
    for (int round = 0; round < 4; round++) {
        const char *const *lines = round < 2 ? first : second;
        int known = 0;
        line_cache_begin(&cache);
        for (uint32_t i = 0; i < 3; i++) {
            struct str line = str_of(lines[i]);
            const struct line_comment *found = line_cache_comment(&cache, line.ptr, line.len);
            if (found)
                assert_int_equal(found->place, i);
            else
                line_cache_add_comment(&cache, line, (struct line_comment){.place = i});
            known += found != NULL;
        }
        assert_int_equal(known, round == 0 ? 0 : round == 2 ? 1 : 3);
        assert_int_equal(cache.comments.count, 3);
    }
    line_cache_begin(&cache);
    assert_null(line_cache_comment(&cache, "# a", 3)); /* Cut short. */
    line_cache_forget_comments(&cache);
    assert_null(line_cache_comment(&cache, "# a\n", 4));
    line_cache_deinit(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_cache__predicts_a_steady_order),
        cmocka_unit_test(test_line_cache__follows_a_new_order),
        cmocka_unit_test(test_line_cache__tells_what_is_gone),
        cmocka_unit_test(test_line_cache__shares_series),
        cmocka_unit_test(test_line_cache__fails_once),
        cmocka_unit_test(test_line_cache__invalidates_without_losing_series),
        cmocka_unit_test(test_line_cache__aborts),
        cmocka_unit_test(test_line_cache__knows_comments_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
