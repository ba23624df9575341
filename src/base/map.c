/* map: linear probing over a table of any size: the start slot is the tag scaled to it (Lemire, "Fast random integer
 * generation in an interval", 2019), so a table grows by half and not to the double.
 *
 * A slot is 8 bytes: 32 bits of the mixed hash and the value, whose two highest numbers say free and
 * removed. The same 32 bits give the start slot, so a rebuild needs no key. Probing goes on over removed slots and ends at a free one; used
 * and removed ones together stay at or below 13/16 of the table, so a free one always exists. A
 * rebuild (at growth, or in place when most of the load is tombstones) sweeps the removed ones.
 * Hashes are the caller's and may have weak low bits, so they are multiplied first. */
#include "base/map.h"

#include "base/ensure.h"
#include "base/mem.h"

#define MAP_SLOTS_MIN 16

#define SLOT_FREE    MAP_NONE
#define SLOT_REMOVED MAP_VALUE_LIMIT

static bool slot_used(const struct map_slot *slot)
{
    return slot->value < MAP_VALUE_LIMIT;
}

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)((hash * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

static size_t slot_of(const struct map *map, uint32_t tag)
{
    return (size_t)(((uint64_t)tag * map->slot_count) >> 32);
}

static size_t slot_after(const struct map *map, size_t slot)
{
    return slot + 1 < map->slot_count ? slot + 1 : 0;
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
    uint32_t tag = tag_of(hash);
    for (size_t i = slot_of(map, tag);; i = slot_after(map, i)) {
        const struct map_slot *slot = &map->slots[i];
        if (slot->value == SLOT_FREE)
            return MAP_NONE;
        if (slot->tag == tag && slot_used(slot) && equal(ctx, key, slot->value))
            return slot->value;
    }
}

static void slot_put(struct map *map, uint32_t tag, uint32_t value)
{
    size_t i = slot_of(map, tag);
    while (slot_used(&map->slots[i]))
        i = slot_after(map, i);
    if (map->slots[i].value == SLOT_REMOVED)
        map->removed--;
    map->slots[i] = (struct map_slot){.tag = tag, .value = value};
    map->used++;
}

static void map_rebuild(struct map *map, size_t slot_count)
{
    struct map old = *map;
    *map = (struct map){.slots = mem_alloc_array(slot_count, sizeof(struct map_slot)),
                        .slot_count = slot_count};
    for (size_t i = 0; i < slot_count; i++)
        map->slots[i].value = SLOT_FREE;
    for (size_t i = 0; old.slots && i < old.slot_count; i++)
        if (slot_used(&old.slots[i]))
            slot_put(map, old.slots[i].tag, old.slots[i].value);
    ENSURE(map->used == old.used);
    mem_free(old.slots);
}

void map_insert(struct map *map, uint64_t hash, uint32_t value)
{
    ENSURE(value < MAP_VALUE_LIMIT);
    size_t slot_count = map->slot_count;
    if (slot_count == 0)
        map_rebuild(map, MAP_SLOTS_MIN);
    else if ((map->used + map->removed + 1) > slot_count / 16 * 13)
        map_rebuild(map, map->used + 1 > slot_count / 2 ? slot_count + slot_count / 2 : slot_count);
    slot_put(map, tag_of(hash), value);
}

bool map_remove(struct map *map, uint64_t hash, uint32_t value)
{
    if (map->used == 0)
        return false;
    uint32_t tag = tag_of(hash);
    for (size_t i = slot_of(map, tag);; i = slot_after(map, i)) {
        struct map_slot *slot = &map->slots[i];
        if (slot->value == SLOT_FREE)
            return false;
        if (slot->tag != tag || slot->value != value)
            continue;
        /* Before a free slot no probe needs a tombstone. */
        bool last = map->slots[slot_after(map, i)].value == SLOT_FREE;
        slot->value = last ? SLOT_FREE : SLOT_REMOVED;
        map->removed += last ? 0 : 1;
        map->used--;
        return true;
    }
}

void map_clear(struct map *map)
{
    for (size_t i = 0; map->slots && i < map->slot_count; i++)
        map->slots[i].value = SLOT_FREE;
    map->used = map->removed = 0;
}

bool map_next(const struct map *map, size_t *at, uint32_t *value)
{
    for (; map->slots && *at < map->slot_count; ++*at) {
        if (!slot_used(&map->slots[*at]))
            continue;
        *value = map->slots[(*at)++].value;
        return true;
    }
    return false;
}
