/* exemplar: see exemplar.h. Entries are overwritten in the order they came, so a series needs no
 * list to be searched: what is overwritten is always the oldest of its series.
 *
 * The rules are Prometheus': an exemplar must not be older than the newest of its series; of equal
 * time it must not have a smaller value, of equal value not a smaller hash of labels; the newest
 * itself again is nothing. Those of one histogram may so share a time. */
#include "exemplar.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "exemplar_log.h"
#include "store.h"

#define NO_ENTRY UINT32_MAX

struct entry {
    int64_t time_ms;
    double value;
    struct labels *labels; /* A reference. */
    uint64_t segment;      /* Of the log; 0: in none. */
    uint32_t series;
    uint32_t newer; /* Of the same series; NO_ENTRY: none. */
    bool is_undated;
};

struct owner {
    struct labels *labels; /* A reference; NULL: free. */
    uint32_t oldest, newest;
};

/* How many are in a log segment. */
struct segment_use {
    uint64_t segment;
    size_t count;
};

struct exemplar_ring {
    size_t max;
    VEC(struct entry) entries;
    size_t next; /* Where the next one goes; below count only once the ring is full. */
    VEC(struct owner) series;
    VEC(uint32_t) free_series;
    struct map map;                   /* Hash of labels to series. */
    VEC(struct segment_use) segments; /* Ascending; a dozen at most. */
    struct exemplar_stats stats;
};

struct exemplar_ring *exemplar_ring_new(size_t max)
{
    struct exemplar_ring *ring = MEM_NEW(struct exemplar_ring);

    ENSURE(max > 0 && max < NO_ENTRY);
    ring->max = max;
    map_init(&ring->map);
    return ring;
}

static uint64_t labels_bytes(const struct labels *labels)
{
    uint64_t bytes = sizeof(*labels);

    for (size_t i = 0; i < labels->count; i++)
        bytes += sizeof(struct label) + labels->items[i].name.len + labels->items[i].value.len;
    return bytes;
}

static bool owner_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct exemplar_ring *ring = ctx;
    return labels_eq(ring->series.items[value].labels, key);
}

static uint32_t owner_find(const struct exemplar_ring *ring, const struct labels *labels)
{
    uint32_t index = map_find(&ring->map, labels->hash, labels, owner_equal, ring);
    return index == MAP_NONE ? NO_ENTRY : index;
}

static uint32_t owner_add(struct exemplar_ring *ring, struct labels *labels)
{
    struct owner series = {labels_ref(labels), NO_ENTRY, NO_ENTRY};
    uint32_t index;

    if (ring->free_series.count > 0) {
        index = VEC_POP(&ring->free_series);
        ring->series.items[index] = series;
    } else {
        index = (uint32_t)ring->series.count;
        VEC_PUSH(&ring->series, series);
    }
    map_insert(&ring->map, labels->hash, index);
    ring->stats.series++;
    ring->stats.bytes += sizeof(series) + labels_bytes(labels);
    return index;
}

static void owner_remove(struct exemplar_ring *ring, uint32_t index)
{
    struct owner *series = &ring->series.items[index];

    ENSURE(map_remove(&ring->map, series->labels->hash, index));
    ring->stats.series--;
    ring->stats.bytes -= sizeof(*series) + labels_bytes(series->labels);
    labels_unref(series->labels);
    series->labels = NULL;
    VEC_PUSH(&ring->free_series, index);
}

static void segment_use(struct exemplar_ring *ring, uint64_t segment)
{
    struct segment_use added = {.segment = segment, .count = 1};
    size_t at = ring->segments.count;

    if (segment == 0)
        return;
    while (at > 0 && ring->segments.items[at - 1].segment >= segment)
        at--;
    if (at < ring->segments.count && ring->segments.items[at].segment == segment) {
        ring->segments.items[at].count++;
        return;
    }
    VEC_PUSH(&ring->segments, added);
    memmove(ring->segments.items + at + 1, ring->segments.items + at,
            (ring->segments.count - 1 - at) * sizeof(added));
    ring->segments.items[at] = added;
}

static void segment_leave(struct exemplar_ring *ring, uint64_t segment)
{
    size_t at = 0;

    if (segment == 0)
        return;
    while (at < ring->segments.count && ring->segments.items[at].segment != segment)
        at++;
    ENSURE(at < ring->segments.count);
    if (--ring->segments.items[at].count > 0)
        return;
    ring->segments.count--;
    memmove(ring->segments.items + at, ring->segments.items + at + 1,
            (ring->segments.count - at) * sizeof(ring->segments.items[0]));
}

/* The oldest of all makes room. */
static void entry_remove(struct exemplar_ring *ring, uint32_t at)
{
    struct entry *entry = &ring->entries.items[at];
    struct owner *series = &ring->series.items[entry->series];

    ENSURE(series->oldest == at);
    series->oldest = entry->newer;
    if (series->oldest == NO_ENTRY)
        owner_remove(ring, entry->series);
    ring->stats.stored--;
    ring->stats.bytes -= sizeof(*entry) + labels_bytes(entry->labels);
    segment_leave(ring, entry->segment);
    labels_unref(entry->labels);
    entry->labels = NULL;
}

void exemplar_ring_free(struct exemplar_ring *ring)
{
    if (!ring)
        return;
    VEC_EACH (entry, &ring->entries)
        labels_unref(entry->labels);
    VEC_EACH (series, &ring->series)
        labels_unref(series->labels);
    VEC_FREE(&ring->entries);
    VEC_FREE(&ring->series);
    VEC_FREE(&ring->free_series);
    VEC_FREE(&ring->segments);
    map_deinit(&ring->map);
    mem_free(ring);
}

static size_t count_runes(struct str s)
{
    size_t count = 0;

    for (size_t at = 0; at < s.len; count++)
        (void)str_next_rune(s, &at);
    return count;
}

/* EXEMPLAR_STORED when nothing is wrong with the labels; *kept of them are not empty. */
static enum exemplar_outcome labels_check(const struct exemplar *exemplar, size_t *kept)
{
    size_t runes = 0;

    *kept = 0;
    for (size_t i = 0; i < exemplar->label_count; i++) {
        const struct label *label = &exemplar->labels[i];
        if (label->name.len == 0 || !str_is_utf8(label->name) || !str_is_utf8(label->value) ||
            (i > 0 && str_cmp(exemplar->labels[i - 1].name, label->name) >= 0))
            return EXEMPLAR_INVALID;
        if (label->value.len == 0)
            continue;
        runes += count_runes(label->name) + count_runes(label->value);
        (*kept)++;
    }
    return runes > EXEMPLAR_LABEL_RUNES_MAX ? EXEMPLAR_TOO_LONG : EXEMPLAR_STORED;
}

static struct labels *labels_kept(const struct exemplar *exemplar, size_t kept)
{
    struct label items[EXEMPLAR_LABEL_RUNES_MAX];
    size_t count = 0;

    ENSURE(kept <= COUNT_OF(items));
    for (size_t i = 0; i < exemplar->label_count; i++)
        if (exemplar->labels[i].value.len > 0)
            items[count++] = exemplar->labels[i];
    return labels_new(items, count);
}

static enum exemplar_outcome order_check(const struct entry *newest,
                                         const struct exemplar *exemplar,
                                         const struct labels *labels)
{
    bool same_value = sample_bits(newest->value) == sample_bits(exemplar->value) ||
                      newest->value == exemplar->value;

    bool same_time = exemplar->time_ms == newest->time_ms;
    if ((same_time || (exemplar->is_undated && newest->is_undated)) && same_value &&
        labels_eq(labels, newest->labels))
        return EXEMPLAR_SAME;
    if (!same_time)
        return exemplar->time_ms < newest->time_ms ? EXEMPLAR_OUT_OF_ORDER : EXEMPLAR_STORED;
    if (exemplar->value < newest->value)
        return EXEMPLAR_OUT_OF_ORDER;
    return same_value && labels->hash < newest->labels->hash ? EXEMPLAR_OUT_OF_ORDER
                                                             : EXEMPLAR_STORED;
}

static void entry_add(struct exemplar_ring *ring, uint32_t series_index, struct entry entry)
{
    size_t at = ring->next;

    entry.series = series_index;
    entry.newer = NO_ENTRY;
    if (at < ring->entries.count)
        ring->entries.items[at] = entry;
    else
        VEC_PUSH(&ring->entries, entry);
    ring->next = at + 1 == ring->max ? 0 : at + 1;
    struct owner *series = &ring->series.items[series_index];
    if (series->newest != NO_ENTRY)
        ring->entries.items[series->newest].newer = (uint32_t)at;
    else
        series->oldest = (uint32_t)at;
    series->newest = (uint32_t)at;
    ring->stats.stored++;
    ring->stats.bytes += sizeof(entry) + labels_bytes(entry.labels);
}

enum exemplar_outcome exemplar_ring_add(struct exemplar_ring *ring, struct labels *series,
                                        const struct exemplar *exemplar)
{
    size_t kept;
    enum exemplar_outcome outcome = labels_check(exemplar, &kept);

    if (outcome != EXEMPLAR_STORED)
        return outcome;
    struct labels *labels = labels_kept(exemplar, kept);
    uint32_t index = owner_find(ring, series);
    if (index != NO_ENTRY)
        outcome =
            order_check(&ring->entries.items[ring->series.items[index].newest], exemplar, labels);
    if (outcome != EXEMPLAR_STORED) {
        ring->stats.out_of_order += outcome == EXEMPLAR_OUT_OF_ORDER;
        labels_unref(labels);
        return outcome;
    }
    struct entry entry = {.time_ms = exemplar->time_ms,
                          .value = exemplar->value,
                          .labels = labels,
                          .is_undated = exemplar->is_undated};
    if (ring->next < ring->entries.count) {
        entry_remove(ring, (uint32_t)ring->next);
        index = owner_find(ring, series); /* It may have been its last. */
    }
    if (index == NO_ENTRY)
        index = owner_add(ring, series);
    entry_add(ring, index, entry);
    ring->stats.appended++;
    return EXEMPLAR_STORED;
}

/* Everything moves to a ring of the new size, the oldest first; what does not fit is left behind. */
void exemplar_ring_set_max(struct exemplar_ring *ring, size_t max)
{
    size_t count = ring->entries.count;
    size_t first = ring->next < count ? ring->next : 0;
    size_t dropped = count > max ? count - max : 0;
    VEC(struct entry) old = {ring->entries.items, count, ring->entries.capacity};

    ENSURE(max > 0 && max < NO_ENTRY);
    if (max == ring->max)
        return;
    for (size_t i = 0; i < dropped; i++)
        entry_remove(ring, (uint32_t)((first + i) % count));
    VEC_EACH (series, &ring->series)
        series->oldest = series->newest = NO_ENTRY;
    ring->entries.items = NULL;
    ring->entries.count = ring->entries.capacity = 0;
    ring->next = 0;
    ring->max = max;
    for (size_t i = dropped; i < count; i++) {
        struct entry entry = old.items[(first + i) % count];
        ring->stats.stored--;
        ring->stats.bytes -= sizeof(entry) + labels_bytes(entry.labels);
        entry_add(ring, entry.series, entry);
    }
    VEC_FREE(&old);
}

struct exemplar_list *exemplar_ring_list(const struct exemplar_ring *ring, int64_t from_ms,
                                         int64_t to_ms)
{
    struct exemplar_list *list = MEM_NEW(struct exemplar_list);

    if (ring->stats.stored > 0)
        list->items = mem_alloc_array(ring->stats.stored, sizeof(*list->items));
    for (size_t i = 0; i < ring->series.count; i++) {
        const struct owner *series = &ring->series.items[i];
        uint32_t at = series->labels ? series->oldest : NO_ENTRY;
        for (; at != NO_ENTRY; at = ring->entries.items[at].newer) {
            const struct entry *entry = &ring->entries.items[at];
            if (entry->time_ms < from_ms || entry->time_ms > to_ms)
                continue;
            list->items[list->count++] =
                (struct exemplar_item){labels_ref(series->labels), labels_ref(entry->labels),
                                       entry->time_ms, entry->value};
        }
    }
    return list;
}

void exemplar_list_free(struct exemplar_list *list)
{
    if (!list)
        return;
    for (size_t i = 0; i < list->count; i++) {
        labels_unref(list->items[i].series);
        labels_unref(list->items[i].labels);
    }
    mem_free(list->items);
    mem_free(list);
}

static void entry_set_segment(struct exemplar_ring *ring, struct entry *entry, uint64_t segment)
{
    segment_leave(ring, entry->segment);
    entry->segment = segment;
    segment_use(ring, segment);
}

void exemplar_ring_set_segment(struct exemplar_ring *ring, uint64_t segment)
{
    ENSURE(ring->entries.count > 0);
    size_t last = ring->next > 0 ? ring->next - 1 : ring->entries.count - 1;
    entry_set_segment(ring, &ring->entries.items[last], segment);
}

uint64_t exemplar_ring_oldest_segment(const struct exemplar_ring *ring)
{
    return ring->segments.count > 0 ? ring->segments.items[0].segment : UINT64_MAX;
}

size_t exemplar_ring_count(const struct exemplar_ring *ring)
{
    return ring->entries.count;
}

bool exemplar_ring_move(struct exemplar_ring *ring, uint64_t below, uint64_t segment, size_t *at,
                        size_t look_max, struct exemplar_item *out)
{
    ENSURE(segment >= below);
    for (; *at < ring->entries.count && look_max > 0; ++*at, look_max--) {
        struct entry *entry = &ring->entries.items[*at];
        if (entry->segment >= below)
            continue;
        entry_set_segment(ring, entry, segment);
        *out = (struct exemplar_item){ring->series.items[entry->series].labels, entry->labels,
                                      entry->time_ms, entry->value};
        ++*at;
        return true;
    }
    return false;
}

void exemplar_ring_forget_out_of_order(struct exemplar_ring *ring)
{
    ring->stats.out_of_order = 0;
}

void exemplar_ring_get_stats(const struct exemplar_ring *ring, struct exemplar_stats *out)
{
    *out = ring->stats;
    out->max = ring->max;
    if (ring->entries.count > 0)
        out->oldest_time_ms =
            ring->entries.items[ring->next < ring->entries.count ? ring->next : 0].time_ms;
}

/* --- of a storage --- */

enum exemplar_outcome storage_exemplar_add(struct storage *storage, series_ref ref,
                                           const struct exemplar *exemplar)
{
    if (!storage->exemplars)
        return EXEMPLAR_OFF;
    struct labels *series = storage_series_labels(storage, ref);
    enum exemplar_outcome outcome = exemplar_ring_add(storage->exemplars, series, exemplar);
    labels_unref(series);
    if (outcome == EXEMPLAR_STORED)
        exemplar_log_add(storage, ref, exemplar);
    return outcome;
}

void storage_set_exemplars_max(struct storage *storage, size_t max)
{
    if (max >= NO_ENTRY)
        max = NO_ENTRY - 1;
    storage->exemplar_move.at = 0;
    if (max == 0) {
        exemplar_ring_free(storage->exemplars);
        storage->exemplars = NULL;
    } else if (storage->exemplars) {
        exemplar_ring_set_max(storage->exemplars, max);
    } else {
        storage->exemplars = exemplar_ring_new(max);
    }
}

size_t storage_get_exemplars_max(const struct storage *storage)
{
    return storage->exemplars ? storage->exemplars->max : 0;
}

struct exemplar_list *storage_exemplars(const struct storage *storage, int64_t from_ms,
                                        int64_t to_ms)
{
    return storage->exemplars ? exemplar_ring_list(storage->exemplars, from_ms, to_ms)
                              : MEM_NEW(struct exemplar_list);
}

void storage_get_exemplar_stats(const struct storage *storage, struct exemplar_stats *out)
{
    *out = (struct exemplar_stats){0};
    if (storage->exemplars)
        exemplar_ring_get_stats(storage->exemplars, out);
}
