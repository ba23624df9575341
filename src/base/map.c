/* map: linear probing over a power-of-two table.
 *
 * A slot is free, used or removed. Probing goes on over removed slots and ends at a free one; used
 * and removed ones together stay at or below 3/4 of the table, so a free one always exists. A
 * rebuild (at growth, or in place when most of the load is tombstones) sweeps the removed ones.
 * Hashes are the caller's and may have weak low bits, so the start slot comes from a multiplied
 * hash. */
#include "base/map.h"

#include "base/ensure.h"
#include "base/mem.h"

#define MAP_SLOTS_MIN 16

enum { SLOT_FREE, SLOT_USED, SLOT_REMOVED };

static size_t slot_start(const struct map *map, uint64_t hash)
{
    return (size_t)((hash * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & map->mask;
}

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_deinit(struct map *map)
{
    if (!map)
        return;
    mem_free(map->slots);
    *map = (struct map){0};
}

uint32_t map_find(const struct map *map, uint64_t hash, const void *key, map_equal_fn equal,
                  const void *ctx)
{
    if (map->used == 0)
        return MAP_NONE;
    for (size_t i = slot_start(map, hash);; i = (i + 1) & map->mask) {
        const struct map_slot *slot = &map->slots[i];
        if (slot->state == SLOT_FREE)
            return MAP_NONE;
        if (slot->state == SLOT_USED && slot->hash == hash && equal(ctx, key, slot->value))
            return slot->value;
    }
}

static void slot_put(struct map *map, uint64_t hash, uint32_t value)
{
    size_t i = slot_start(map, hash);
    while (map->slots[i].state == SLOT_USED)
        i = (i + 1) & map->mask;
    if (map->slots[i].state == SLOT_REMOVED)
        map->removed--;
    map->slots[i] = (struct map_slot){.hash = hash, .value = value, .state = SLOT_USED};
    map->used++;
}

static void map_rebuild(struct map *map, size_t slot_count)
{
    struct map old = *map;
    *map = (struct map){.slots = mem_alloc_array(slot_count, sizeof(struct map_slot)),
                        .mask = slot_count - 1};
    for (size_t i = 0; i < slot_count; i++)
        map->slots[i].state = SLOT_FREE;
    for (size_t i = 0; old.slots && i <= old.mask; i++)
        if (old.slots[i].state == SLOT_USED)
            slot_put(map, old.slots[i].hash, old.slots[i].value);
    ENSURE(map->used == old.used);
    mem_free(old.slots);
}

void map_insert(struct map *map, uint64_t hash, uint32_t value)
{
    ENSURE(value != MAP_NONE);
    size_t slot_count = map->slots ? map->mask + 1 : 0;
    if (slot_count == 0)
        map_rebuild(map, MAP_SLOTS_MIN);
    else if ((map->used + map->removed + 1) > slot_count / 4 * 3)
        map_rebuild(map, map->used + 1 > slot_count / 2 ? 2 * slot_count : slot_count);
    slot_put(map, hash, value);
}

bool map_remove(struct map *map, uint64_t hash, uint32_t value)
{
    if (map->used == 0)
        return false;
    for (size_t i = slot_start(map, hash);; i = (i + 1) & map->mask) {
        struct map_slot *slot = &map->slots[i];
        if (slot->state == SLOT_FREE)
            return false;
        if (slot->state != SLOT_USED || slot->hash != hash || slot->value != value)
            continue;
        /* Before a free slot no probe needs a tombstone. */
        bool last = map->slots[(i + 1) & map->mask].state == SLOT_FREE;
        slot->state = last ? SLOT_FREE : SLOT_REMOVED;
        map->removed += last ? 0 : 1;
        map->used--;
        return true;
    }
}

void map_clear(struct map *map)
{
    for (size_t i = 0; map->slots && i <= map->mask; i++)
        map->slots[i].state = SLOT_FREE;
    map->used = map->removed = 0;
}
