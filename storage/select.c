/* select: the moment that a selection shows: which series, which head chunks and how much of them, which bundles.
 *
 * The head is looked at before the partitions: a slot that is sealed meanwhile is seen twice rather than not at all, and
 * equal times are merged (cursor.c). */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "select.h"

static void snapshot_series(struct selection *selection, struct selected *selected,
                            const struct series *series)
{
    const struct chunk *chunk = atomic_load_explicit(&series->newest, memory_order_acquire);
    selected->run_first = (uint32_t)selection->runs.count;
    for (; chunk; chunk = atomic_load_explicit(&chunk->older, memory_order_acquire)) {
        struct head_run run = {.chunk = chunk,
                               .count = atomic_load_explicit(&chunk->count, memory_order_acquire)};
        if (run.count == 0)
            continue;
        run.time_min_ms = chunk->time_first_ms;
        run.time_max_ms = atomic_load_explicit(&chunk->time_last_ms, memory_order_relaxed);
        if (run.time_min_ms <= selection->to_ms && run.time_max_ms >= selection->from_ms)
            VEC_PUSH(&selection->runs, run);
    }
    selected->run_count = (uint32_t)selection->runs.count - selected->run_first;
}

/* The group of a series that has chunks in the head, or INDEX_NONE. */
static uint32_t group_of(const struct series *series)
{
    const struct chunk *chunk = atomic_load_explicit(&series->newest, memory_order_acquire);
    return chunk ? chunk->group : INDEX_NONE;
}

/* The selected series that have something in the head, by group. */
struct head_look {
    const struct ref_vec *refs;
    uint32_t *groups;     /* Of each ref; INDEX_NONE: nothing in the head. */
    uint32_t *order;      /* Positions in refs, the members of each group together. */
    VEC(uint32_t) starts; /* Where a group's members begin in `order`. */
    VEC(uint32_t) wanted; /* Groups to look at. */
};

/* Sorts the members by group (by counting). */
static void look_sort(struct head_look *look)
{
    uint32_t group_count = 0;
    for (size_t i = 0; i < look->refs->count; i++) {
        if (look->groups[i] != INDEX_NONE && look->groups[i] >= group_count)
            group_count = look->groups[i] + 1;
    }
    VEC_CLEAR(&look->starts);
    VEC_RESERVE(&look->starts, group_count + 2);
    look->starts.count = group_count + 2;
    memset(look->starts.items, 0, look->starts.count * sizeof(uint32_t));
    for (size_t i = 0; i < look->refs->count; i++) {
        if (look->groups[i] != INDEX_NONE)
            look->starts.items[look->groups[i] + 2]++;
    }
    for (size_t g = 2; g < look->starts.count; g++)
        look->starts.items[g] += look->starts.items[g - 1];
    for (size_t i = 0; i < look->refs->count; i++) {
        if (look->groups[i] != INDEX_NONE)
            look->order[look->starts.items[look->groups[i] + 1]++] = (uint32_t)i;
    }
}

/* The members of a group between two appends to it, so that a batch is seen whole. */
static void snapshot_group(struct selection *selection, const struct head_look *look,
                           uint32_t group)
{
    const struct group_gate *gate = gate_at(&selection->storage->gates, group);
    size_t runs_before = selection->runs.count;
    for (;;) {
        uint32_t before = atomic_load_explicit(&gate->sequence, memory_order_acquire);
        if (before & 1) {
            sched_yield();
            continue;
        }
        selection->runs.count = runs_before;
        for (uint32_t at = look->starts.items[group]; at < look->starts.items[group + 1]; at++) {
            uint32_t i = look->order[at];
            snapshot_series(selection, &selection->series.items[i],
                            series_at(&selection->storage->series, look->refs->items[i]));
        }
        if (atomic_load_explicit(&gate->sequence, memory_order_acquire) == before)
            return;
    }
}

/* Series that have come into a group since (the first sample after a seal, or a move): the groups
 * to look at again. One that left the head was sealed, and the partitions will show it. */
static void look_joined(struct storage *storage, struct head_look *look)
{
    VEC_CLEAR(&look->wanted);
    for (size_t i = 0; i < look->refs->count; i++) {
        uint32_t group = group_of(series_at(&storage->series, look->refs->items[i]));
        if (group == INDEX_NONE || group == look->groups[i])
            continue;
        look->groups[i] = group;
        VEC_PUSH(&look->wanted, group);
    }
}

static void snapshot_head(struct selection *selection, const struct ref_vec *refs)
{
    struct storage *storage = selection->storage;
    struct head_look look = {.refs = refs};
    look.groups = mem_alloc((refs->count + 1) * sizeof(look.groups[0]));
    look.order = mem_alloc((refs->count + 1) * sizeof(look.order[0]));
    for (size_t i = 0; i < refs->count; i++)
        look.groups[i] = group_of(series_at(&storage->series, refs->items[i]));
    look_sort(&look);
    for (uint32_t group = 0; group + 2 < look.starts.count; group++) {
        if (look.starts.items[group] < look.starts.items[group + 1])
            snapshot_group(selection, &look, group);
    }
    for (look_joined(storage, &look); look.wanted.count > 0; look_joined(storage, &look)) {
        look_sort(&look);
        VEC_SORT(&look.wanted, ref_compare);
        for (size_t i = 0; i < look.wanted.count; i++) {
            if (i == 0 || look.wanted.items[i] != look.wanted.items[i - 1])
                snapshot_group(selection, &look, look.wanted.items[i]);
        }
    }
    VEC_FREE(&look.starts);
    VEC_FREE(&look.wanted);
    mem_free(look.groups);
    mem_free(look.order);
}

static int compare_bundle(const void *a, const void *b)
{
    const struct bundle_entry *x = *(struct bundle_entry *const *)a,
                              *y = *(struct bundle_entry *const *)b;
    if (x->id_min != y->id_min)
        return x->id_min < y->id_min ? -1 : 1;
    return (x->key > y->key) - (x->key < y->key);
}

static void select_bundles(const struct selection *selection, struct selected_partition *selected)
{
    uint32_t count = atomic_load_explicit(&selected->dir->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        struct bundle_entry *entry = &selected->dir->entries[i];
        if (entry->time_min_ms > selection->to_ms || entry->time_max_ms < selection->from_ms)
            continue;
        if (entry->id_max - entry->id_min > selected->id_span_max)
            selected->id_span_max = entry->id_max - entry->id_min;
        VEC_PUSH(&selected->bundles, entry);
    }
    VEC_SORT(&selected->bundles, compare_bundle);
}

static void snapshot_partitions(struct selection *selection)
{
    const struct partition_list *list = partition_list_now(selection->storage);
    for (uint32_t i = 0; list && i < list->count; i++) {
        struct selected_partition selected = {.partition = list->items[i]};
        if (selected.partition->from_ms > selection->to_ms ||
            selected.partition->to_ms <= selection->from_ms)
            continue;
        selected.dir = atomic_load_explicit(&selected.partition->dir, memory_order_acquire);
        if (!selected.dir)
            continue;
        select_bundles(selection, &selected);
        VEC_PUSH(&selection->partitions, selected);
    }
}

static int compare_selected(const void *a, const void *b)
{
    const struct selected *x = a, *y = b;
    return labels_cmp(x->labels, y->labels);
}

/* A label set can have two ids, when a partition that was away has come back: one entry shows both.
 */
static void find_label_sets(struct selection *selection)
{
    size_t count = selection->series.count;
    for (size_t i = 1; i < count; i++) {
        if (labels_cmp(selection->series.items[i - 1].labels, selection->series.items[i].labels) ==
            0)
            selection->has_twins = true;
    }
    for (size_t i = 0; i < count && selection->has_twins; i++) {
        if (i == 0 || labels_cmp(selection->series.items[i - 1].labels,
                                 selection->series.items[i].labels) != 0)
            VEC_PUSH(&selection->firsts, (uint32_t)i);
    }
}

void selection_label_set(const struct selection *selection, size_t index, size_t *first,
                         size_t *last)
{
    *first = selection->has_twins ? selection->firsts.items[index] : index;
    *last = *first + 1;
    if (selection->has_twins)
        *last = index + 1 < selection->firsts.count ? selection->firsts.items[index + 1]
                                                    : selection->series.count;
}

bool storage_select(struct storage *storage, const struct matcher *matchers, size_t matcher_count,
                    int64_t from_ms, int64_t to_ms, struct selection **out, struct err *err)
{
    struct selection *selection = MEM_NEW(struct selection);
    struct ref_vec refs = {0};
    (void)err; /* Nothing fails here yet: files are read by cursors. */
    selection->storage = storage;
    selection->pin = epoch_pin(&storage->epoch);
    selection->from_ms = from_ms;
    selection->to_ms = to_ms;
    if (from_ms <= to_ms)
        match_refs(storage, matchers, matcher_count, from_ms, to_ms, &refs);
    VEC_RESERVE(&selection->series, refs.count);
    selection->series.count = refs.count;
    for (size_t i = 0; i < refs.count; i++) {
        const struct series *series = series_at(&storage->series, refs.items[i]);
        struct label items[SERIES_LABELS_MAX];
        series_text_labels(storage, series, items);
        selection->series.items[i] = (struct selected){.id = series->id};
        selection->series.items[i].labels = labels_new(items, series->pair_count);
    }
    snapshot_head(selection, &refs);
    snapshot_partitions(selection);
    VEC_SORT(&selection->series, compare_selected);
    find_label_sets(selection);
    VEC_FREE(&refs);
    *out = selection;
    return true;
}

void selection_free(struct selection *selection)
{
    if (!selection)
        return;
    VEC_EACH (selected, &selection->series) {
        labels_unref(selected->labels);
    }
    epoch_unpin(&selection->storage->epoch, selection->pin);
    VEC_FREE(&selection->firsts);
    VEC_FREE(&selection->series);
    VEC_FREE(&selection->runs);
    VEC_EACH (selected, &selection->partitions) {
        VEC_FREE(&selected->bundles);
    }
    VEC_FREE(&selection->partitions);
    mem_free(selection);
}

size_t selection_count(const struct selection *selection)
{
    return selection->has_twins ? selection->firsts.count : selection->series.count;
}

struct labels *selection_labels(const struct selection *selection, size_t index)
{
    size_t first, last;
    ENSURE_SLOW(index < selection_count(selection));
    selection_label_set(selection, index, &first, &last);
    return selection->series.items[first].labels;
}
