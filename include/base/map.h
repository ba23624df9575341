/* map: open addressing from a 64-bit hash to a u32 value, equality by the caller.
 *
 * The map stores (hash, value) only: values index an array of the owner's, which holds the keys.
 * Linear probing, load at most 13/16, tombstones swept at growth. A large table grows in steps: a million entries would
 * stand still for 20 ms. One thread at a time. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    uint32_t tag;
    uint32_t value;
};

struct map {
    struct map_slot *slots; /* Owned; NULL while empty. */
    size_t slot_count;
    size_t used;    /* In both tables. */
    size_t removed; /* In `slots`. */
    struct map_slot *old; /* Owned; what is left of it moves to `slots` with the next insertions. NULL: nothing. */
    size_t old_count, old_at;
};

/* Says whether `value` has the key that is looked for; `key` is what the caller passed. */
typedef bool (*map_equal_fn)(const void *ctx, const void *key, uint32_t value);

#define MAP_NONE        UINT32_MAX
#define MAP_VALUE_LIMIT (UINT32_MAX - 1) /* Values are below. */

void map_init(struct map *map);
void map_deinit(struct map *map);
/* The value, or MAP_NONE. */
uint32_t map_find(const struct map *map, uint64_t hash, const void *key, map_equal_fn equal,
                  const void *ctx);
/* An insertion of this hash comes soon. */
void map_prefetch(const struct map *map, uint64_t hash);
/* The caller knows that the key is not there yet. */
void map_insert(struct map *map, uint64_t hash, uint32_t value);
/* Removes the entry with this hash and value; false when there is none. */
bool map_remove(struct map *map, uint64_t hash, uint32_t value);
void map_clear(struct map *map);
/* The next so many slots of the old table: for when there are no insertions. */
void map_move(struct map *map, size_t count);
size_t map_bytes(const struct map *map); /* Of its tables. */
/* Walks all values in no order: start with *at = 0. The map must not change meanwhile. */
bool map_next(const struct map *map, size_t *at, uint32_t *value);

#endif
