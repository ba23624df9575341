/* head: the live series, their groups and open chunks. The loop thread is its only writer.
 *
 * A series is found by its label set (hash, then compared) and keeps its id for as long as anything
 * of it is stored. Its chunks hang in a chain, newest first: the open one, frozen ones of its slot,
 * then those of slots that wait to be sealed. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "store.h"

struct label_key {
    struct storage *storage;
    const struct label *labels;
    size_t count;
};

struct series *head_series(struct storage *storage, series_ref ref)
{
    ENSURE_SLOW(ref < segments_count(&storage->series));
    return series_at(&storage->series, ref);
}

static bool labels_equal(const void *ctx, const void *key, uint32_t ref)
{
    const struct label_key *wanted = key;
    const struct storage *storage = ctx;
    const struct series *series = series_at(&storage->series, ref);
    if (series->pair_count != wanted->count)
        return false;
    for (size_t i = 0; i < wanted->count; i++) {
        const struct pair_entry *pair = index_pair(storage->index, series->pairs[i]);
        if (!str_eq(pair->value, wanted->labels[i].value) ||
            !str_eq(index_name(storage->index, pair->name)->text, wanted->labels[i].name))
            return false;
    }
    return true;
}

series_ref head_find(struct storage *storage, const struct label *labels, size_t count,
                     uint64_t hash)
{
    struct label_key key = {.storage = storage, .labels = labels, .count = count};
    return map_find(&storage->by_labels, hash, &key, labels_equal, storage);
}

static bool id_equal(const void *ctx, const void *key, uint32_t ref)
{
    const struct storage *storage = ctx;
    return series_at(&storage->series, ref)->id == *(const uint64_t *)key;
}

series_ref head_find_id(struct storage *storage, uint64_t id)
{
    return map_find(&storage->by_id, hash64_mix(id, 1), &id, id_equal, storage);
}

/* Live: something of it is in the head, or somebody holds it. `was_live` is the answer before a
 * change. */
static bool series_is_live(const struct series *series)
{
    return series->pins > 0 || series->open ||
           atomic_load_explicit(&series->newest, memory_order_relaxed);
}

static void live_changed(struct storage *storage, bool was_live, const struct series *series)
{
    bool is_live = series_is_live(series);
    if (was_live == is_live)
        return;
    storage->stats.series += is_live ? 1 : UINT64_MAX;
}

series_ref head_add_series(struct storage *storage, uint64_t id, const struct label *labels,
                           size_t count, uint64_t hash)
{
    series_ref ref = segments_count(&storage->series);
    struct series *series = segments_next(&storage->series);
    uint32_t *pairs = arena_alloc_array(&storage->pair_lists, count, sizeof(*pairs));
    ENSURE(count > 0 && count <= SERIES_LABELS_MAX);
    for (size_t i = 0; i < count; i++)
        pairs[i] = index_pair_intern(storage->index, labels[i].name, labels[i].value);
    if (id == 0)
        id = storage->next_id++;
    else if (id >= storage->next_id)
        storage->next_id = id + 1;
    series->id = id;
    series->labels_hash = hash;
    series->pairs = pairs;
    series->pair_count = (uint32_t)count;
    atomic_init(&series->newest, NULL);
    atomic_init(&series->time_first_ms, INT64_MAX);
    atomic_init(&series->time_last_ms, INT64_MIN);
    atomic_init(&series->gone, false);
    series->labels_until_ms = INT64_MIN;
    segments_publish(&storage->series);
    map_insert(&storage->by_labels, hash, ref);
    if (storage->opening)
        map_insert(&storage->by_id, hash64_mix(id, 1), ref);
    index_add_series(storage->index, pairs, count, ref);
    return ref;
}

static bool key_equal(const void *ctx, const void *key, uint32_t index)
{
    const struct storage *storage = ctx;
    return storage->groups.items[index]->key == *(const uint64_t *)key;
}

struct storage_group *head_group(struct storage *storage, uint64_t key)
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
        VEC_PUSH(&storage->groups, group);
        (void)segments_next(&storage->gates);
        segments_publish(&storage->gates);
    }
    map_insert(&storage->by_key, hash64_mix(key, 2), group->index);
    return group;
}

static void group_free(struct storage_group *group)
{
    VEC_FREE(&group->slot_refs);
    mem_free(group);
}

void head_group_drop_unused(struct storage *storage, struct storage_group *group)
{
    if (group->opens > 0 || group->slot != 0)
        return;
    storage->groups.items[group->index] = NULL;
    VEC_PUSH(&storage->groups_free, group->index);
    map_remove(&storage->by_key, hash64_mix(group->key, 2), group->index);
    group_free(group);
}

struct storage_group *storage_group_open(struct storage *storage, uint64_t key)
{
    struct storage_group *group = head_group(storage, key);
    group->opens++;
    return group;
}

void storage_group_close(struct storage_group *group)
{
    if (!group)
        return;
    ENSURE(group->opens > 0);
    group->opens--;
    head_group_drop_unused(group->storage, group);
}

bool series_has_labels(const struct storage *storage, const struct series *series)
{
    return series->labels_until_ms > storage->retired_until_ms;
}

/* What the log and the partitions cannot hold must not get in: a start would stumble over it. */
static bool check_new_series(const struct storage *storage, const struct label *labels,
                             size_t count, struct err *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += labels[i].name.len + labels[i].value.len;
        int order = i == 0 ? -1 : str_cmp(labels[i - 1].name, labels[i].name);
        if (order == 0)
            return err_set(err, ERR_BAD_DATA,
                           "label name \"" STR_FMT "\" is not unique: invalid sample",
                           STR_ARG(labels[i].name));
        if (order > 0)
            return err_set(err, ERR_BAD_DATA, "labels are not sorted: invalid sample");
    }
    if (bytes > SERIES_BYTES_MAX)
        return err_set(err, ERR_BAD_DATA, "series has %zu bytes of labels, more than %zu", bytes,
                       SERIES_BYTES_MAX);
    if (storage->options.series_max && storage->stats.series >= storage->options.series_max)
        return err_set(err, ERR_LIMIT, "series limit of %u is reached: new series are refused",
                       storage->options.series_max);
    if (!segments_have_room(&storage->series, 1) || !index_has_room(storage->index, count))
        return err_set(err, ERR_LIMIT,
                       "storage holds as many series as it can: new series are refused");
    if (!log_has_room(storage))
        return err_set(err, ERR_NO_SPACE, "the log cannot be written: new series are refused");
    return true;
}

series_ref storage_series(struct storage *storage, struct storage_group *group,
                          const struct label *labels, size_t label_count, uint64_t labels_hash,
                          struct err *err)
{
    if (label_count == 0 || label_count > SERIES_LABELS_MAX) {
        err_set(err, ERR_BAD_DATA,
                label_count ? "series has more than %d labels" : "empty labelset: invalid sample",
                SERIES_LABELS_MAX);
        return SERIES_REF_NONE;
    }
    series_ref ref = head_find(storage, labels, label_count, labels_hash);
    if (ref == MAP_NONE) {
        if (!check_new_series(storage, labels, label_count, err))
            return SERIES_REF_NONE;
        ref = head_add_series(storage, 0, labels, label_count, labels_hash);
        log_add_series(storage, head_series(storage, ref), group->key);
        storage->stats.series_created++;
    }
    struct series *series = head_series(storage, ref);
    if (!atomic_load_explicit(&series->newest, memory_order_relaxed))
        series->group = group->index;
    bool was_live = series_is_live(series);
    series->pins++;
    live_changed(storage, was_live, series);
    return ref;
}

void storage_series_release(struct storage *storage, series_ref ref)
{
    struct series *series = head_series(storage, ref);
    ENSURE(series->pins > 0);
    series->pins--;
    live_changed(storage, true, series);
}

bool series_text_labels(const struct storage *storage, const struct series *series,
                        struct label *out)
{
    for (uint32_t i = 0; i < series->pair_count; i++) {
        const struct pair_entry *pair = index_pair(storage->index, series->pairs[i]);
        out[i].name = index_name(storage->index, pair->name)->text;
        out[i].value = pair->value;
    }
    return true;
}

struct labels *storage_series_labels(struct storage *storage, series_ref ref)
{
    struct label items[SERIES_LABELS_MAX];
    const struct series *series = head_series(storage, ref);
    series_text_labels(storage, series, items);
    return labels_new(items, series->pair_count);
}

void head_slot_begin(struct storage *storage, struct storage_group *group, uint64_t slot,
                     int64_t now_mono_ms)
{
    int64_t slot_ms = storage->options.slot_ms;
    /* The first slot ends early by a part that the key decides, so that seals are spread evenly. */
    int64_t early = (int64_t)(hash64_mix(group->key, 3) % (uint64_t)(slot_ms / 2 + 1));
    group->slot_until_mono_ms =
        now_mono_ms + slot_ms - (group->slot == 0 && slot < 1000 ? early : early / 8);
    group->slot = slot;
    group->slot_segment = storage->log.segment;
    group->slot_samples = 0;
    if (slot >= storage->next_slot)
        storage->next_slot = slot + 1;
}

struct chunk *head_open_chunk(struct storage *storage, struct series *series, series_ref ref,
                              uint64_t slot, bool *started)
{
    struct storage_group *group = storage->groups.items[series->group];
    *started = false;
    if (series->open && series->open->state.count < CHUNK_SAMPLES_MAX)
        return series->open;
    struct chunk *chunk = chunk_new(series->group, slot);
    if (!series->open)
        VEC_PUSH(&group->slot_refs, ref);
    atomic_init(&chunk->older, atomic_load_explicit(&series->newest, memory_order_relaxed));
    bool was_live = series_is_live(series);
    series->open = chunk;
    live_changed(storage, was_live, series);
    storage->chunk_count++;
    storage->chunk_bytes += chunk->bytes;
    *started = true;
    return chunk;
}

void head_stored(struct storage *storage, struct series *series, int64_t time_ms)
{
    if (time_ms < atomic_load_explicit(&series->time_first_ms, memory_order_relaxed))
        atomic_store_explicit(&series->time_first_ms, time_ms, memory_order_relaxed);
    if (time_ms > atomic_load_explicit(&series->time_last_ms, memory_order_relaxed))
        atomic_store_explicit(&series->time_last_ms, time_ms, memory_order_relaxed);
    if (time_ms > atomic_load_explicit(&storage->time_max_ms, memory_order_relaxed))
        atomic_store_explicit(&storage->time_max_ms, time_ms, memory_order_relaxed);
    if (time_ms < atomic_load_explicit(&storage->time_min_ms, memory_order_relaxed))
        atomic_store_explicit(&storage->time_min_ms, time_ms, memory_order_relaxed);
}

static void free_chunk(void *chunk)
{
    chunk_free(chunk);
}

void head_drop_sealed(struct storage *storage, struct series *series, uint64_t slot)
{
    _Atomic(struct chunk *) *link = &series->newest;
    struct chunk *at = atomic_load_explicit(link, memory_order_relaxed);
    bool was_live = series_is_live(series);
    struct chunk_state last = at ? at->state : (struct chunk_state){0};
    while (at) {
        struct chunk *older = atomic_load_explicit(&at->older, memory_order_relaxed);
        if (at->slot == slot) {
            /* A reader that stands on `at` still finds its way: at->older stays as it is. */
            atomic_store_explicit(link, older, memory_order_release);
            storage->chunk_count--;
            storage->chunk_bytes -= at->bytes;
            epoch_retire(&storage->epoch, free_chunk, at);
        } else {
            link = &at->older;
        }
        at = older;
    }
    if (last.count > 0 && !atomic_load_explicit(&series->newest, memory_order_relaxed)) {
        series->sealed_known = SEALED_TIME_AND_BITS;
        series->sealed_time_ms = last.time_ms;
        series->sealed_bits = last.bits;
    }
    live_changed(storage, was_live, series);
}

void head_free(struct storage *storage)
{
    for (uint32_t ref = 0; ref < segments_count(&storage->series); ref++) {
        struct chunk *chunk = atomic_load(&series_at(&storage->series, ref)->newest);
        while (chunk) {
            struct chunk *older = atomic_load(&chunk->older);
            chunk_free(chunk);
            chunk = older;
        }
    }
    for (size_t i = 0; i < storage->groups.count; i++) {
        if (storage->groups.items[i])
            group_free(storage->groups.items[i]);
    }
    VEC_FREE(&storage->groups);
    VEC_FREE(&storage->groups_free);
    map_deinit(&storage->by_key);
    map_deinit(&storage->by_id);
    map_deinit(&storage->by_labels);
    segments_deinit(&storage->series);
    segments_deinit(&storage->gates);
    arena_deinit(&storage->pair_lists);
}
