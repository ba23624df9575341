/* Unit tests of base/map, against a plain array as the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

/* With a hash of its own for each key. */
static uint32_t find_wide(const struct map *map, uint32_t key)
{
    return map_find(map, key, &key, key_equal, NULL);
}

/* map_next gives each entry once. */
static void expect_all(const struct map *map, uint8_t *seen, size_t seen_len)
{
    size_t at = 0, count = 0;

    memset(seen, 0, seen_len);
    for (uint32_t key; map_next(map, &at, &key); count++) {
        assert_true(key < seen_len);
        assert_int_equal(seen[key]++, 0);
        assert_int_equal(find_wide(map, key), key);
    }
    assert_int_equal(count, map->used);
}

/* A large table moves in steps: whatever is asked in the middle, nothing is missed, doubled or left behind. */
static void test_map__moves_large_tables_in_steps(void **state)
{
    (void)state;
    enum { MANY = 400000 };
    struct map map;
    unsigned moves = 0;
    uint8_t *seen = calloc(MANY, 1);

    map_init(&map);
    for (uint32_t key = 0; key < MANY; key++) {
        bool was_moving = map.old != NULL;
        map_insert(&map, key, key);
        moves += !was_moving && map.old;
        if (key % 4 == 3) { /* An old one goes: the even halves do, each once. */
            uint32_t gone = key / 4 * 2;
            assert_true(map_remove(&map, gone, gone));
            assert_false(map_remove(&map, gone, gone));
            assert_int_equal(find_wide(&map, gone), MAP_NONE);
        }
        if (map.old)
            assert_int_equal(find_wide(&map, key / 8 * 4 + 1), key / 8 * 4 + 1);
        if (map.old && key % 50000 == 0)
            expect_all(&map, seen, MANY);
    }
    assert_true(moves > 2);
    expect_all(&map, seen, MANY);
    for (uint32_t key = 0; key < MANY; key++)
        assert_int_equal(find_wide(&map, key), key % 2 == 0 && key < MANY / 2 ? MAP_NONE : key);
    map_clear(&map);
    assert_null(map.old);
    map_deinit(&map);
    free(seen);
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
        cmocka_unit_test(test_map__moves_large_tables_in_steps),
        cmocka_unit_test(test_map_find__works_on_an_empty_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
