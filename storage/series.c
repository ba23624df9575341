/* series: the label sets in memory.
 *
 *     series_add -> live (pinned, or with runs) <-> dead -> spilled to disk (spill.c) -> series_sweep -> its place is used
 *     again when no older reader is left
 *
 * A label set is a list of pair numbers: the count, then the numbers, as varints (numbers are used again, so most have two
 * bytes), in units of four bytes that never move; lists that are given back are kept by their units for the next series
 * that needs as many. */
#include <string.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "store.h"

#define LIST_KINDS     65 /* Of 0..63 units, and one for all longer ones. */
#define UNIT           4  /* Bytes. */
#define LIST_BYTES_MAX (5 * (SERIES_LABELS_MAX + 1))

struct label_key {
    struct storage *storage;
    const struct label *labels;
    size_t count;
};

struct series_set series_pairs(const struct storage *storage, const struct series *series)
{
    const uint8_t *at = segments_at(&storage->pair_units, series->pairs);
    uint32_t count = series_pair_next(&at);
    return (struct series_set){.count = count, .pairs = at};
}

static struct str pair_text(const struct storage *storage, uint32_t pair, struct str *name)
{
    *name = index_name_text(storage->index, index_pair_name(storage->index, pair));
    return index_pair_value(storage->index, pair);
}

uint32_t series_labels(const struct storage *storage, const struct series *series,
                       struct label *out)
{
    struct series_set set = series_pairs(storage, series);
    for (uint32_t i = 0; i < set.count; i++)
        out[i].value = pair_text(storage, series_pair_next(&set.pairs), &out[i].name);
    return set.count;
}

uint64_t series_hash(const struct storage *storage, const struct series *series)
{
    struct label labels[SERIES_LABELS_MAX];
    uint32_t count = series_labels(storage, series, labels);
    return labels_hash(labels, count);
}

static bool labels_equal(const void *ctx, const void *key, uint32_t ref)
{
    const struct label_key *wanted = key;
    const struct storage *storage = ctx;
    struct series_set set = series_pairs(storage, series_at(&storage->series, ref));
    if (set.count != wanted->count)
        return false;
    for (size_t i = 0; i < wanted->count; i++) {
        uint32_t pair = series_pair_next(&set.pairs);
        if (!str_eq(index_pair_value(storage->index, pair), wanted->labels[i].value) ||
            !str_eq(index_name_text(storage->index, index_pair_name(storage->index, pair)),
                    wanted->labels[i].name))
            return false;
    }
    return true;
}

series_ref series_find(struct storage *storage, const struct label *labels, size_t count,
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

series_ref series_find_id(struct storage *storage, uint64_t id)
{
    if (id > storage->id_highest) /* Most, while they are read back: no long search for what is not there. */
        return MAP_NONE;
    return map_find(&storage->by_id, hash64_mix(id, 1), &id, id_equal, storage);
}

bool series_is_live(const struct series *series)
{
    return series->pins > 0 || atomic_load_explicit(&series->newest, memory_order_relaxed);
}

void series_note_live(struct storage *storage, series_ref ref, bool was_live)
{
    struct series *series = head_series(storage, ref);
    bool is_live = series_is_live(series);
    if (was_live == is_live)
        return;
    if (is_live)
        series->is_spilling = false; /* The spill that runs knows nothing of what comes now. */
    storage->live += is_live ? 1 : UINT64_MAX;
    budget_note_live(storage, series, is_live);
    if (!is_live)
        VEC_PUSH(&storage->dead, ref);
}

/* --- lists of pairs --- */

static uint32_t list_kind(uint32_t units)
{
    return units < LIST_KINDS - 1 ? units : LIST_KINDS - 1;
}

static uint8_t *put_number(uint8_t *at, uint32_t number)
{
    for (; number >= 0x80; number >>= 7)
        *at++ = (uint8_t)(number | 0x80);
    *at++ = (uint8_t)number;
    return at;
}

/* How many units the list at a handle has. */
static uint32_t list_units(const struct storage *storage, uint32_t handle)
{
    const uint8_t *begin = segments_at(&storage->pair_units, handle), *at = begin;
    for (uint32_t left = series_pair_next(&at); left > 0; left--)
        (void)series_pair_next(&at);
    return (uint32_t)(at - begin + UNIT - 1) / UNIT;
}

static bool list_reuse(struct storage *storage, uint32_t units, uint32_t *handle)
{
    uint32_t kind = list_kind(units);
    size_t free_count = storage->pair_lists_free[kind].count;
    uint32_t *items = storage->pair_lists_free[kind].items;
    for (size_t i = free_count; i-- > 0;) {
        if (kind == LIST_KINDS - 1 && list_units(storage, items[i]) != units)
            continue;
        *handle = items[i];
        items[i] = items[--storage->pair_lists_free[kind].count];
        return true;
    }
    return false;
}

static uint32_t list_place(struct storage *storage, uint32_t units)
{
    struct segments *segments = &storage->pair_units;
    uint32_t at;
    if (list_reuse(storage, units, &at))
        return at;
    at = atomic_load_explicit(&segments->count, memory_order_relaxed);
    uint32_t left = segments->per_segment - (at & (segments->per_segment - 1));
    if (left < units) /* Lists do not straddle two segments. */
        atomic_store_explicit(&segments->count, at += left, memory_order_release);
    (void)segments_next(segments);
    atomic_store_explicit(&segments->count, at + units, memory_order_release);
    return at;
}

/* The handle of a new list. */
static uint32_t list_new(struct storage *storage, const uint32_t *pairs, uint32_t count)
{
    uint8_t bytes[LIST_BYTES_MAX], *end = put_number(bytes, count);
    for (uint32_t i = 0; i < count; i++)
        end = put_number(end, pairs[i]);
    size_t len = (size_t)(end - bytes);
    uint32_t handle = list_place(storage, (uint32_t)(len + UNIT - 1) / UNIT);
    memcpy(segments_at(&storage->pair_units, handle), bytes, len);
    return handle;
}

/* --- life --- */

/* A place that was never used: readers see it when it is published, with all that belongs to it. */
static struct series *place_take(struct storage *storage, series_ref *ref, bool *is_fresh)
{
    *is_fresh = storage->series_free.count == 0;
    *ref = *is_fresh ? segments_count(&storage->series) : VEC_POP(&storage->series_free);
    return *is_fresh ? segments_next(&storage->series) : head_series(storage, *ref);
}

series_ref series_add(struct storage *storage, uint64_t id, const struct label *labels,
                      size_t count, uint64_t hash)
{
    ENSURE(count > 0 && count <= SERIES_LABELS_MAX);
    bool is_fresh;
    series_ref ref;
    struct series *series = place_take(storage, &ref, &is_fresh);
    uint32_t pairs[SERIES_LABELS_MAX];
    size_t bytes = 0;
    map_prefetch(&storage->by_labels, hash);
    if (storage->opening)
        map_prefetch(&storage->by_id, hash64_mix(id, 1));
    for (size_t i = 0; i < count; i++) {
        pairs[i] = index_pair_intern(storage->index, labels[i].name, labels[i].value);
        bytes += labels[i].name.len + labels[i].value.len;
    }
    storage->labels_bytes_max =
        bytes > storage->labels_bytes_max ? bytes : storage->labels_bytes_max;
    if (id == 0)
        id = storage->next_id++;
    else if (id >= storage->next_id)
        storage->next_id = id + 1;
    storage->id_highest = id > storage->id_highest ? id : storage->id_highest;
    series->id = id;
    atomic_store_explicit(&series->newest, NULL, memory_order_relaxed);
    series_set_bits(series, 0);
    series_set_newest_ms(series, INT64_MIN);
    series->pairs = list_new(storage, pairs, (uint32_t)count);
    series->group = 0;
    series->registered = series->logged_segment = 0;
    series->pins = 0;
    series->bits_known = series->is_spilling = series->is_histogram = false;
    atomic_store_explicit(&series->gone, false, memory_order_release);
    if (is_fresh)
        segments_publish(&storage->series);
    map_insert(&storage->by_labels, hash, ref);
    if (storage->opening)
        map_insert(&storage->by_id, hash64_mix(id, 1), ref);
    index_add_series(storage->index, pairs, count, ref);
    uint64_t made = atomic_load_explicit(&storage->series_made, memory_order_relaxed);
    atomic_store_explicit(&storage->series_born[made % SERIES_BORN], ref, memory_order_release);
    atomic_store_explicit(&storage->series_made, made + 1, memory_order_release);
    storage->series_used++;
    return ref;
}

bool series_has_labels(const struct storage *storage, const struct series *series)
{
    return series->registered > storage->retired_number;
}

struct swept {
    struct storage *storage;
    size_t count;
    series_ref refs[];
};

/* No reader knows them any more. */
static void swept_free(void *ptr)
{
    struct swept *swept = ptr;
    struct storage *storage = swept->storage;
    for (size_t i = 0; i < swept->count; i++) {
        uint32_t handle = head_series(storage, swept->refs[i])->pairs;
        VEC_PUSH(&storage->pair_lists_free[list_kind(list_units(storage, handle))], handle);
        VEC_PUSH(&storage->series_free, swept->refs[i]);
    }
    mem_free(swept);
}

static bool is_gone(void *ctx, uint32_t ref)
{
    return atomic_load_explicit(&head_series(ctx, ref)->gone, memory_order_relaxed);
}

void series_sweep(struct storage *storage, const series_ref *refs, size_t count)
{
    struct swept *swept = mem_alloc(sizeof(*swept) + count * sizeof(refs[0]));
    if (count == 0) {
        mem_free(swept);
        return;
    }
    swept->storage = storage;
    swept->count = count;
    memcpy(swept->refs, refs, count * sizeof(refs[0]));
    for (size_t i = 0; i < count; i++) {
        struct series *series = head_series(storage, refs[i]);
        ENSURE(is_gone(storage, refs[i]) && !series_is_live(series));
        bool removed = map_remove(&storage->by_labels, series_hash(storage, series), refs[i]);
        ENSURE(removed);
    }
    series_cache_sweep(&storage->known, is_gone, storage);
    index_sweep(storage->index, is_gone, storage);
    storage->series_used -= count;
    storage->stats.series_removed += count;
    epoch_retire(&storage->epoch, swept_free, swept);
}

void series_free_all(struct storage *storage)
{
    for (size_t i = 0; i < COUNT_OF(storage->pair_lists_free); i++)
        VEC_FREE(&storage->pair_lists_free[i]);
    VEC_FREE(&storage->series_free);
    VEC_FREE(&storage->dead);
    map_deinit(&storage->by_id);
    map_deinit(&storage->by_labels);
    series_cache_deinit(&storage->known);
    segments_deinit(&storage->series);
    segments_deinit(&storage->pair_units);
}

/* --- the interface --- */

/* What the log and the partitions cannot hold must not get in: a start would stumble over it. */
static bool check_labels(const struct label *labels, size_t count, struct err *err)
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
    return true;
}

static bool refuse(struct storage *storage, enum storage_refusal why, const struct err *err)
{
    budget_refused(storage, why, err);
    return false;
}

static bool check_new_series(struct storage *storage, const struct label *labels, size_t count,
                             struct err *err)
{
    if (!check_labels(labels, count, err))
        return refuse(storage, STORAGE_REFUSED_INVALID, err);
    if (!segments_have_room(&storage->series, 1) || !index_has_room(storage->index, count) ||
        !segments_have_room(&storage->pair_units, 2 * SERIES_LABELS_MAX)) {
        err_set(err, ERR_LIMIT, "storage holds as many series as it can: new series are refused");
        return refuse(storage, STORAGE_REFUSED_NO_ROOM, err);
    }
    if (!log_has_room(storage)) {
        err_set(err, ERR_NO_SPACE, "the log cannot be written: new series are refused");
        return refuse(storage, STORAGE_REFUSED_LOG, err);
    }
    return budget_take(storage, labels, count, err);
}

/* Whether the next sample's group is settled: there are samples in memory, and their group is open. */
static bool series_has_group(const struct storage *storage, const struct series *series)
{
    return atomic_load_explicit(&series->newest, memory_order_relaxed) &&
           storage->groups.items[series->group];
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
    series_ref ref = series_find(storage, labels, label_count, labels_hash);
    if (ref == MAP_NONE) {
        if (!check_new_series(storage, labels, label_count, err))
            return SERIES_REF_NONE;
        ref = series_add(storage, 0, labels, label_count, labels_hash);
        storage->stats.series_created++;
    }
    struct series *series = head_series(storage, ref);
    if (!series_has_group(storage, series))
        series_set_group(series, group->index);
    bool was_live = series_is_live(series);
    series_pin(series);
    series_note_live(storage, ref, was_live);
    return ref;
}

void storage_series_know(struct storage *storage, struct hash128 key, series_ref ref)
{
    series_cache_put(&storage->known, key, ref, storage->series_used);
}

series_ref storage_series_known(struct storage *storage, struct hash128 key)
{
    series_ref ref = series_cache_find(&storage->known, key);
    if (ref == SERIES_CACHE_NONE)
        return SERIES_REF_NONE;
    const struct series *series = head_series(storage, ref);
    return series_has_group(storage, series) ? ref : SERIES_REF_NONE;
}

void storage_series_release(struct storage *storage, series_ref ref)
{
    struct series *series = head_series(storage, ref);
    series_unpin(series);
    series_note_live(storage, ref, true);
}

struct labels *storage_series_labels(struct storage *storage, series_ref ref)
{
    struct label items[SERIES_LABELS_MAX];
    uint32_t count = series_labels(storage, head_series(storage, ref), items);
    return labels_new(items, count);
}
