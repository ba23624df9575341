/* map: linear probing over a table of any size: the start slot is the tag scaled to it (Lemire, "Fast random integer
 * generation in an interval", 2019), so a table grows by half and not to the double.
 *
 * A slot is 8 bytes: 32 bits of the mixed hash and the value plus 2: 0 says free and 1 removed, so a new table is zeroed
 * pages that nobody has touched. The same 32 bits give the start slot, so a rebuild needs no key. Probing goes on over removed slots and ends at a free one; used
 * and removed ones together stay at or below 13/16 of the table, so a free one always exists. A
 * rebuild (at growth, or in place when most of the load is tombstones) sweeps the removed ones.
 * Growth of a large table leaves the old one beside it: each insertion moves some of its slots, which are removed there
 * then, and a look-up that finds nothing in the new one goes on in the old one. Long before the new one is full it is
 * empty.
 * Hashes are the caller's and may have weak low bits, so they are multiplied first. */
#include "base/map.h"

#include "base/ensure.h"
#include "base/mem.h"

#define MAP_SLOTS_MIN 16
/* From so many slots on a table moves in steps. After growth by half there is room for 2/5 as many insertions as the old
 * one had slots: 3 a step would do. Each slot that moves is a cache miss. */
#define MOVE_SLOTS_MIN (1 << 16)
#define MOVE_STEP      4

#define SLOT_FREE    0
#define SLOT_REMOVED 1
#define SLOT_VALUE   2 /* Added to the value. */

static bool slot_used(const struct map_slot *slot)
{
    return slot->value >= SLOT_VALUE;
}

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)((hash * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

/* One of the two tables. */
struct table {
    struct map_slot *slots;
    size_t count;
};

static struct table table_of(const struct map *map)
{
    return (struct table){map->slots, map->slot_count};
}

static struct table old_table_of(const struct map *map)
{
    return (struct table){map->old, map->old_count};
}

static size_t slot_of(struct table table, uint32_t tag)
{
    return (size_t)(((uint64_t)tag * table.count) >> 32);
}

static size_t slot_after(struct table table, size_t slot)
{
    return slot + 1 < table.count ? slot + 1 : 0;
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
    mem_free(map->old);
    *map = (struct map){0};
}

static uint32_t table_find(struct table table, uint32_t tag, const void *key, map_equal_fn equal,
                           const void *ctx)
{
    for (size_t i = slot_of(table, tag);; i = slot_after(table, i)) {
        const struct map_slot *slot = &table.slots[i];
        if (slot->value == SLOT_FREE)
            return MAP_NONE;
        if (slot->tag == tag && slot_used(slot) && equal(ctx, key, slot->value - SLOT_VALUE))
            return slot->value - SLOT_VALUE;
    }
}

uint32_t map_find(const struct map *map, uint64_t hash, const void *key, map_equal_fn equal,
                  const void *ctx)
{
    uint32_t tag = tag_of(hash);

    if (map->used == 0)
        return MAP_NONE;
    uint32_t value = table_find(table_of(map), tag, key, equal, ctx);
    if (value == MAP_NONE && map->old)
        value = table_find(old_table_of(map), tag, key, equal, ctx);
    return value;
}

void map_prefetch(const struct map *map, uint64_t hash)
{
    if (map->slot_count > 0)
        __builtin_prefetch(&map->slots[slot_of(table_of(map), tag_of(hash))], 1);
}

/* `value` as a slot has it. */
static void slot_put(struct map *map, uint32_t tag, uint32_t value)
{
    struct table table = table_of(map);
    size_t i = slot_of(table, tag);

    while (slot_used(&table.slots[i]))
        i = slot_after(table, i);
    if (table.slots[i].value == SLOT_REMOVED)
        map->removed--;
    table.slots[i] = (struct map_slot){.tag = tag, .value = value};
}

/* It is gone when all have moved. */
void map_move(struct map *map, size_t count)
{
    for (; map->old_at < map->old_count && count > 0; count--) {
        struct map_slot *slot = &map->old[map->old_at++];
        if (!slot_used(slot))
            continue;
        slot_put(map, slot->tag, slot->value);
        slot->value = SLOT_REMOVED; /* Others stand behind it. */
    }
    if (map->old_at < map->old_count)
        return;
    mem_free(map->old);
    map->old = NULL;
    map->old_count = map->old_at = 0;
}

static void map_rebuild(struct map *map, size_t slot_count)
{
    if (map->old)
        map_move(map, SIZE_MAX);
    map->old = map->slots;
    map->old_count = map->slot_count;
    map->old_at = 0;
    map->slots = mem_zalloc(slot_count * sizeof(struct map_slot));
    map->slot_count = slot_count;
    map->removed = 0;
    if (map->old_count < MOVE_SLOTS_MIN)
        map_move(map, SIZE_MAX);
}

void map_insert(struct map *map, uint64_t hash, uint32_t value)
{
    ENSURE(value < MAP_VALUE_LIMIT);
    size_t slot_count = map->slot_count;
    if (slot_count == 0)
        map_rebuild(map, MAP_SLOTS_MIN);
    else if ((map->used + map->removed + 1) > slot_count / 16 * 13)
        map_rebuild(map, map->used + 1 > slot_count / 2 ? slot_count + slot_count / 2 : slot_count);
    else if (map->old)
        map_move(map, MOVE_STEP);
    slot_put(map, tag_of(hash), value + SLOT_VALUE);
    map->used++;
}

static struct map_slot *table_find_value(struct table table, uint32_t tag, uint32_t value)
{
    for (size_t i = slot_of(table, tag);; i = slot_after(table, i)) {
        struct map_slot *slot = &table.slots[i];
        if (slot->value == SLOT_FREE)
            return NULL;
        if (slot->tag == tag && slot->value == value + SLOT_VALUE)
            return slot;
    }
}

bool map_remove(struct map *map, uint64_t hash, uint32_t value)
{
    struct table table = table_of(map);
    uint32_t tag = tag_of(hash);

    if (map->used == 0)
        return false;
    struct map_slot *slot = table_find_value(table, tag, value);
    if (slot) {
        /* Before a free slot no probe needs a tombstone. */
        bool last = table.slots[slot_after(table, (size_t)(slot - table.slots))].value == SLOT_FREE;
        slot->value = last ? SLOT_FREE : SLOT_REMOVED;
        map->removed += last ? 0 : 1;
    } else {
        slot = map->old ? table_find_value(old_table_of(map), tag, value) : NULL;
        if (!slot)
            return false;
        slot->value = SLOT_REMOVED;
    }
    map->used--;
    return true;
}

void map_clear(struct map *map)
{
    for (size_t i = 0; i < map->slot_count; i++)
        map->slots[i].value = SLOT_FREE;
    mem_free(map->old);
    map->old = NULL;
    map->used = map->removed = map->old_count = map->old_at = 0;
}

size_t map_bytes(const struct map *map)
{
    return (map->slot_count + map->old_count) * sizeof(struct map_slot);
}

bool map_next(const struct map *map, size_t *at, uint32_t *value)
{
    for (; *at < map->slot_count + map->old_count; ++*at) {
        const struct map_slot *slot =
            *at < map->slot_count ? &map->slots[*at] : &map->old[*at - map->slot_count];
        if (!slot_used(slot))
            continue;
        *value = slot->value - SLOT_VALUE;
        ++*at;
        return true;
    }
    return false;
}
