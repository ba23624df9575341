/* select_head: what memory has of a selection: the series that match, of each its runs and how much of them, and late
 * samples.
 *
 * A batch is seen whole or not at all: a group is looked at between two appends to it (its gate's sequence). A batch may
 * bring series that the look at the index did not find yet: after the look at the groups those are matched that were made
 * meanwhile (storage->series_born), and their groups are looked at again, until there are none. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "select.h"

#define ROUNDS_MAX                                                                                 \
    1000 /* Where series come faster than they are looked at a batch may be seen in part. */
#define MATCHES_MAX 16 /* Of all series, when more were made meanwhile than series_born has. */

static void snapshot_series(struct selection *selection, struct source *source,
                            const struct series *series)
{
    const struct run *newest = atomic_load_explicit(&series->newest, memory_order_acquire);
    source->key = selection->runs.count;
    for (const struct run *run = newest; run;
         run = atomic_load_explicit(&run->older, memory_order_acquire)) {
        struct head_run shown = {.run = run,
                                 .last_row =
                                     atomic_load_explicit(&run->last_row, memory_order_acquire),
                                 .len = atomic_load_explicit(&run->len, memory_order_acquire)};
        shown.time_min_ms = column_time(run->column, run->first_row);
        shown.time_max_ms = column_time(run->column, shown.last_row);
        if (run == newest && shown.len > 0 && run_has_floats(run)) {
            shown.last_known = true;
            shown.last_bits = series_bits(series);
        }
        if (shown.time_min_ms <= selection->to_ms && shown.time_max_ms >= selection->from_ms)
            VEC_PUSH(&selection->runs, shown);
    }
    source->run_count = (uint32_t)(selection->runs.count - source->key);
}

/* The group of a series that has runs in memory, or INDEX_NONE. */
static uint32_t group_of(const struct series *series)
{
    const struct run *run = atomic_load_explicit(&series->newest, memory_order_acquire);
    return run ? run->column->slot->group : INDEX_NONE;
}

/* The selected series, those that have something in the head by group. */
struct head_look {
    struct selection *selection;
    struct ref_vec
        *refs; /* Ascending; from `found` on those that were made meanwhile, as they came. */
    size_t found;
    VEC(uint32_t) groups; /* Of each ref; INDEX_NONE: nothing in the head. */
    VEC(struct source) sources;
    VEC(uint64_t) order, spare; /* Group << 32 | position in refs, ascending. */
    struct ref_vec wanted;      /* Groups to look at. */
    uint64_t made;              /* Series made before the last look for such. */
};

/* Sorts the members by group: byte after byte of it, by counting. Mostly they come so. */
static void look_sort(struct head_look *look)
{
    uint32_t group_max = 0;
    bool sorted = true;
    VEC_CLEAR(&look->order);
    VEC_RESERVE(&look->order, look->groups.count);
    VEC_RESERVE(&look->spare, look->groups.count);
    for (size_t i = 0; i < look->groups.count; i++) {
        uint32_t group = look->groups.items[i];
        if (group == INDEX_NONE)
            continue;
        sorted = sorted && group >= group_max;
        group_max = group > group_max ? group : group_max;
        look->order.items[look->order.count++] = (uint64_t)group << 32 | i;
    }
    for (unsigned shift = 32; !sorted && shift < 64 && group_max >> (shift - 32) > 0; shift += 8) {
        size_t starts[257] = {0};
        for (size_t i = 0; i < look->order.count; i++)
            starts[(look->order.items[i] >> shift & 255) + 1]++;
        for (size_t byte = 1; byte < 256; byte++)
            starts[byte] += starts[byte - 1];
        for (size_t i = 0; i < look->order.count; i++)
            look->spare.items[starts[look->order.items[i] >> shift & 255]++] = look->order.items[i];
        uint64_t *swap = look->order.items;
        look->order.items = look->spare.items;
        look->spare.items = swap; /* Their capacities are the same. */
    }
}

/* Where a group's members begin in the order. */
static size_t look_find(const struct head_look *look, uint32_t group)
{
    size_t low = 0, high = look->order.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (look->order.items[middle] >> 32 < group)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The members of a group, from position `first` of the order on, between two appends to it, so that a batch is seen whole.
 * Returns where they end. */
static size_t snapshot_group(struct head_look *look, size_t first)
{
    struct selection *selection = look->selection;
    uint32_t group = (uint32_t)(look->order.items[first] >> 32);
    const struct group_gate *gate = gate_at(&selection->storage->gates, group);
    size_t runs_before = selection->runs.count;
    for (;;) {
        uint32_t before = atomic_load_explicit(&gate->sequence, memory_order_acquire);
        if (before & 1) {
            sched_yield();
            continue;
        }
        selection->runs.count = runs_before;
        size_t at = first;
        for (; at < look->order.count && look->order.items[at] >> 32 == group; at++) {
            uint32_t i = (uint32_t)look->order.items[at];
            snapshot_series(selection, &look->sources.items[i],
                            series_at(&selection->storage->series, look->refs->items[i]));
        }
        if (atomic_load_explicit(&gate->sequence, memory_order_acquire) == before)
            return at;
    }
}

/* Series that have come into a group since (the first sample after a seal, or a move): the groups are
 * looked at again. One that left the head was sealed, and the partitions will show it. */
static bool look_again(struct head_look *look)
{
    VEC_CLEAR(&look->wanted);
    for (size_t i = 0; i < look->refs->count; i++) {
        uint32_t group =
            group_of(series_at(&look->selection->storage->series, look->refs->items[i]));
        if (group == INDEX_NONE || group == look->groups.items[i])
            continue;
        look->groups.items[i] = group;
        VEC_PUSH(&look->wanted, group);
    }
    if (look->wanted.count == 0)
        return false;
    look_sort(look);
    refs_sort_unique(&look->wanted);
    VEC_EACH (group, &look->wanted) {
        snapshot_group(look, look_find(look, *group));
    }
    return true;
}

static bool refs_have(const struct ref_vec *refs, size_t count, uint32_t ref)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (refs->items[middle] < ref)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && refs->items[low] == ref;
}

static void look_add(struct head_look *look, uint32_t ref)
{
    struct source source = {.next = SOURCE_NONE, .file = SOURCE_MEMORY};
    VEC_PUSH(look->refs, ref);
    VEC_PUSH(&look->groups, INDEX_NONE);
    VEC_PUSH(&look->sources, source);
}

/* Adds what was made since and matches. False when more was made than is remembered. */
static bool look_born(struct head_look *look, const struct matcher *matchers, size_t matcher_count)
{
    struct storage *storage = look->selection->storage;
    uint64_t made = atomic_load_explicit(&storage->series_made, memory_order_acquire);
    struct ref_vec born = {0}, matching = {0};
    if (made - look->made < SERIES_BORN) {
        for (uint64_t n = look->made; n < made; n++)
            VEC_PUSH(&born, atomic_load_explicit(&storage->series_born[n % SERIES_BORN],
                                                 memory_order_acquire));
    }
    /* The next one that is made writes before it counts. */
    bool known = atomic_load_explicit(&storage->series_made, memory_order_acquire) - look->made <
                 SERIES_BORN;
    if (known && born.count > 0)
        match_among(storage, matchers, matcher_count, &born, &matching);
    VEC_EACH (ref, &matching) {
        if (!refs_have(look->refs, look->found, *ref))
            look_add(look, *ref);
    }
    look->made = made;
    VEC_FREE(&born);
    VEC_FREE(&matching);
    return known;
}

/* The series that match, and their runs. */
static bool look_at_all(struct head_look *look, const struct matcher *matchers,
                        size_t matcher_count)
{
    struct storage *storage = look->selection->storage;
    VEC_CLEAR(look->refs);
    VEC_CLEAR(&look->groups);
    VEC_CLEAR(&look->sources);
    VEC_CLEAR(&look->selection->runs);
    look->made = atomic_load_explicit(&storage->series_made, memory_order_acquire);
    match_refs(storage, matchers, matcher_count, look->refs);
    look->found = look->refs->count;
    VEC_RESERVE(&look->groups, look->found);
    VEC_RESERVE(&look->sources, look->found);
    for (size_t i = 0; i < look->found; i++) {
        look->groups.items[look->groups.count++] =
            group_of(series_at(&storage->series, look->refs->items[i]));
        look->sources.items[look->sources.count++] =
            (struct source){.next = SOURCE_NONE, .file = SOURCE_MEMORY};
    }
    look_sort(look);
    for (size_t at = 0; at < look->order.count;)
        at = snapshot_group(look, at);
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        size_t count = look->refs->count;
        bool moved = look_again(look);
        if (!look_born(look, matchers, matcher_count))
            return false;
        if (!moved && look->refs->count == count)
            break;
    }
    return true;
}

struct ref_source {
    uint32_t ref;
    struct source source;
};

static int compare_ref_source(const void *a, const void *b)
{
    const struct ref_source *x = a, *y = b;
    return (x->ref > y->ref) - (x->ref < y->ref);
}

/* What was found last to its place. */
static void look_put_in_order(struct head_look *look)
{
    VEC(struct ref_source) all = {0};
    if (look->refs->count == look->found)
        return;
    for (size_t i = 0; i < look->refs->count; i++) {
        struct ref_source one = {look->refs->items[i], look->sources.items[i]};
        VEC_PUSH(&all, one);
    }
    VEC_SORT(&all, compare_ref_source);
    for (size_t i = 0; i < all.count; i++) {
        look->refs->items[i] = all.items[i].ref;
        look->sources.items[i] = all.items[i].source;
    }
    VEC_FREE(&all);
}

/* --- late samples --- */

static int compare_late(const void *a, const void *b)
{
    const struct selected_late *x = a, *y = b;
    if (x->ref != y->ref)
        return x->ref < y->ref ? -1 : 1;
    if (x->sample->time_ms != y->sample->time_ms)
        return x->sample->time_ms < y->sample->time_ms ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* The late samples of these series in the range. */
static void snapshot_late(struct selection *selection, const struct ref_vec *refs)
{
    const struct late_list *list =
        atomic_load_explicit(&selection->storage->late_slots, memory_order_acquire);
    for (uint32_t i = 0; list && i < list->count; i++) {
        uint32_t count = segments_count(&list->items[i]->samples);
        for (uint32_t k = 0; k < count; k++) {
            const struct late_sample *sample = late_at(&list->items[i]->samples, k);
            struct selected_late late = {sample, sample->ref, (uint32_t)selection->lates.count,
                                         list->items[i]->number};
            if (sample->time_ms >= selection->from_ms && sample->time_ms <= selection->to_ms &&
                refs_have(refs, refs->count, sample->ref))
                VEC_PUSH(&selection->lates, late);
        }
    }
    VEC_SORT(&selection->lates, compare_late);
}

struct source *select_head(struct selection *selection, const struct matcher *matchers,
                           size_t matcher_count, struct ref_vec *refs)
{
    struct head_look look = {.selection = selection, .refs = refs};
    for (unsigned i = 0; i < MATCHES_MAX && !look_at_all(&look, matchers, matcher_count); i++)
        ;
    look_put_in_order(&look);
    snapshot_late(selection, refs);
    VEC_FREE(&look.groups);
    VEC_FREE(&look.order);
    VEC_FREE(&look.spare);
    VEC_FREE(&look.wanted);
    return look.sources.items;
}
