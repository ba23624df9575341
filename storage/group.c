/* group: scrape targets and (job, instance) pairs: who has which open slot. Loop thread. */
#include "base/clock.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "store.h"

static bool key_equal(const void *ctx, const void *key, uint32_t index)
{
    const struct storage *storage = ctx;
    return storage->groups.items[index]->key == *(const uint64_t *)key;
}

struct storage_group *group_for(struct storage *storage, uint64_t key)
{
    uint32_t found = map_find(&storage->by_key, hash64_mix(key, 2), &key, key_equal, storage);
    if (found != MAP_NONE)
        return storage->groups.items[found];
    struct storage_group *group = MEM_NEW(struct storage_group);
    group->storage = storage;
    group->key = key;
    if (storage->groups_free.count > 0) {
        group->index = VEC_POP(&storage->groups_free);
        storage->groups.items[group->index] = group;
    } else {
        group->index = (uint32_t)storage->groups.count;
        ENSURE(group->index <= SERIES_GROUP_MAX);
        VEC_PUSH(&storage->groups, group);
        (void)segments_next(&storage->gates);
        segments_publish(&storage->gates);
    }
    map_insert(&storage->by_key, hash64_mix(key, 2), group->index);
    return group;
}

void group_drop_unused(struct storage *storage, struct storage_group *group)
{
    if (group->opens > 0 || group->slot)
        return;
    storage->groups.items[group->index] = NULL;
    VEC_PUSH(&storage->groups_free, group->index);
    map_remove(&storage->by_key, hash64_mix(group->key, 2), group->index);
    mem_free(group);
}

struct storage_group *storage_group_open(struct storage *storage, uint64_t key)
{
    struct storage_group *group = group_for(storage, key);
    group->opens++;
    return group;
}

void storage_group_close(struct storage_group *group)
{
    if (!group)
        return;
    ENSURE(group->opens > 0);
    group->opens--;
    group_drop_unused(group->storage, group);
}

/* Every two minutes (for slots of half an hour): what is sealed together shares its commits. */
int64_t group_seal_time(const struct storage *storage, int64_t mono_ms)
{
    int64_t grid_ms = storage->options.slot_ms / 15;
    return grid_ms > 0 ? mono_ms / grid_ms * grid_ms : mono_ms;
}

void group_slot_begin(struct storage *storage, struct storage_group *group, uint64_t number,
                      int64_t now_mono_ms)
{
    int64_t slot_ms = storage->options.slot_ms;
    /* A group's first slot ends early by a part that its key decides: so seals are spread evenly, and of all slots together
     * half is full at any time. */
    int64_t early = (int64_t)(hash64_mix(group->key, 3) % (uint64_t)(slot_ms - slot_ms / 16 + 1));
    bool first = !group->had_slot || storage->opening;
    struct slot *slot = slot_new(group->index, number);
    slot->until_mono_ms =
        group_seal_time(storage, now_mono_ms + slot_ms - (first ? early : early / 16));
    if (slot->until_mono_ms - now_mono_ms < slot_ms / 16) /* None is of a row or two. */
        slot->until_mono_ms += slot_ms / 15;
    group->had_slot = true;
    slot->segment = storage->log.segment;
    group->slot = slot;
    if (number >= storage->next_slot)
        storage->next_slot = number + 1;
}

void group_free_all(struct storage *storage)
{
    for (size_t i = 0; i < storage->groups.count; i++) {
        if (storage->groups.items[i])
            slot_free(storage->groups.items[i]->slot);
        mem_free(storage->groups.items[i]);
    }
    VEC_FREE(&storage->groups);
    VEC_FREE(&storage->groups_free);
    map_deinit(&storage->by_key);
    segments_deinit(&storage->gates);
}
