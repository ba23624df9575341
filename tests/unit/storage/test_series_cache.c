/* series_cache: what was put is found, what is gone never, and memory stays what the header says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "series_cache.h"

static struct hash128 key_of(uint32_t number)
{
    return hash128_seed(str_from((const char *)&number, sizeof(number)), 7);
}

static size_t count_found(const struct series_cache *cache, uint32_t from, uint32_t to)
{
    size_t found = 0;
    for (uint32_t i = from; i < to; i++) {
        uint32_t ref = series_cache_find(cache, key_of(i));
        assert_true(ref == i || ref == SERIES_CACHE_NONE);
        found += ref == i;
    }
    return found;
}

/* Growing forgets; after some rounds nearly all are there, and no key finds another's ref. */
static void test_series_cache__finds_what_was_put(void **state)
{
    (void)state;
    struct series_cache cache;
    const uint32_t count = 100000;
    series_cache_init(&cache);
    assert_int_equal(series_cache_find(&cache, key_of(1)), SERIES_CACHE_NONE);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < count; i++) {
            if (series_cache_find(&cache, key_of(i)) == SERIES_CACHE_NONE)
                series_cache_put(&cache, key_of(i), i, round == 0 ? i + 1 : count);
        }
    }
    print_message("%zu %zu\n", count_found(&cache, 0, count), cache.bucket_count * 64);
    assert_true(count_found(&cache, 0, count) > count / 100 * 97);
    assert_int_equal(count_found(&cache, count, 10 * count), 0);
    assert_true(cache.bucket_count * 64 <= (size_t)13 * count);
    series_cache_deinit(&cache);
}

/* The same bytes may come to mean another series. */
static void test_series_cache_put__replaces(void **state)
{
    (void)state;
    struct series_cache cache;
    series_cache_init(&cache);
    series_cache_put(&cache, key_of(1), 5, 10);
    series_cache_put(&cache, key_of(1), 6, 10);
    assert_int_equal(series_cache_find(&cache, key_of(1)), 6);
    assert_int_equal(cache.used, 1);
    series_cache_deinit(&cache);
}

/* A sender with ever new bytes for the same few series must not take memory without end. */
static void test_series_cache_put__is_bounded_by_the_series(void **state)
{
    (void)state;
    struct series_cache cache;
    series_cache_init(&cache);
    for (uint32_t i = 0; i < 200000; i++)
        series_cache_put(&cache, key_of(i), i % 1000, 1000);
    assert_true(cache.bucket_count * 64 <= 1000 * 16);
    assert_true(cache.used <= cache.bucket_count * 6);
    series_cache_deinit(&cache);
}

static bool is_odd(void *ctx, uint32_t ref)
{
    (void)ctx;
    return ref % 2 == 1;
}

static bool is_any(void *ctx, uint32_t ref)
{
    (void)ctx;
    (void)ref;
    return true;
}

/* A ref that is used again must not be found by the bytes of the series before. */
static void test_series_cache_sweep__takes_out_what_is_gone(void **state)
{
    (void)state;
    struct series_cache cache;
    series_cache_init(&cache);
    series_cache_sweep(&cache, is_any, NULL);
    for (uint32_t i = 0; i < 300; i++)
        series_cache_put(&cache, key_of(i), i, 300);
    series_cache_sweep(&cache, is_odd, NULL);
    for (uint32_t i = 1; i < 300; i += 2)
        assert_int_equal(series_cache_find(&cache, key_of(i)), SERIES_CACHE_NONE);
    assert_true(count_found(&cache, 0, 300) >= 140);
    series_cache_sweep(&cache, is_any, NULL);
    assert_int_equal(cache.used, 0);
    assert_null(cache.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_series_cache__finds_what_was_put),
        cmocka_unit_test(test_series_cache_put__replaces),
        cmocka_unit_test(test_series_cache_put__is_bounded_by_the_series),
        cmocka_unit_test(test_series_cache_sweep__takes_out_what_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
