/* Unit tests of base/map, against a plain array as the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/map.h"

#define KEYS 4096

/* Few hashes for many keys, so that probing and equality are put to work. */
static uint64_t hash_of(uint32_t key)
{
    return key % 512;
}

static bool key_equal(const void *ctx, const void *key, uint32_t value)
{
    (void)ctx;
    return *(const uint32_t *)key == value;
}

static uint32_t find(const struct map *map, uint32_t key)
{
    return map_find(map, hash_of(key), &key, key_equal, NULL);
}

/* Series come and go: tombstones must neither hide keys nor fill the table. */
static void test_map__agrees_with_a_model_through_churn(void **state)
{
    (void)state;
    static bool present[KEYS];
    struct map map;
    uint64_t random = 88172645463325252u;
    size_t count = 0;

    map_init(&map);
    for (int step = 0; step < 50000; step++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint32_t key = (uint32_t)(random % KEYS);
        if (present[key]) {
            assert_true(map_remove(&map, hash_of(key), key));
            count--;
        } else {
            assert_false(map_remove(&map, hash_of(key), key));
            map_insert(&map, hash_of(key), key);
            count++;
        }
        present[key] = !present[key];
        assert_int_equal(map.used, count);
        assert_true((map.used + map.removed) * 16 <= map.slot_count * 13);
    }
    for (uint32_t key = 0; key < KEYS; key++)
        assert_int_equal(find(&map, key), present[key] ? key : MAP_NONE);
    assert_true(map.slot_count <= 4 * KEYS);
    map_clear(&map);
    assert_int_equal(find(&map, 1), MAP_NONE);
    map_deinit(&map);
    map_deinit(NULL);
}

static void test_map_find__works_on_an_empty_map(void **state)
{
    (void)state;
    struct map map;

    map_init(&map);
    assert_int_equal(find(&map, 1), MAP_NONE);
    assert_false(map_remove(&map, 1, 1));
    map_clear(&map);
    map_deinit(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map__agrees_with_a_model_through_churn),
        cmocka_unit_test(test_map_find__works_on_an_empty_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
