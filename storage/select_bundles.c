/* select_bundles: the bundles of an open file that touch a selection's range, and which of them an id may be in.
 *
 * They stand by their lowest ids. Most span the few ids of a target; but a target that has been there for days has series
 * of all its time, so a bundle may as well span nearly all ids that there are. A tree of the highest ids over them tells
 * where the next one is that reaches far enough, so that one wide bundle does not make each series look at all. */
#include <stdlib.h>

#include "select.h"

static int compare_bundle(const void *a, const void *b)
{
    const struct bundle_entry *x = *(struct bundle_entry *const *)a,
                              *y = *(struct bundle_entry *const *)b;
    if (x->id_min != y->id_min)
        return x->id_min < y->id_min ? -1 : 1;
    return (x->key > y->key) - (x->key < y->key);
}

/* Leaves from `leaves` on, the root at 1. */
static void grow_tree(struct selected_file *selected)
{
    size_t count = selected->bundles.count, leaves = 1;
    while (leaves < count)
        leaves *= 2;
    uint64_t *highest = mem_zalloc(2 * leaves * sizeof(*highest));
    for (size_t i = 0; i < count; i++)
        highest[leaves + i] = selected->bundles.items[i]->id_max;
    for (size_t at = leaves; at-- > 1;)
        highest[at] = highest[2 * at] > highest[2 * at + 1] ? highest[2 * at] : highest[2 * at + 1];
    selected->highest = highest;
    selected->leaves = leaves;
}

void select_bundles(const struct selection *selection, struct selected_file *selected)
{
    uint32_t count =
        selected->dir ? atomic_load_explicit(&selected->dir->count, memory_order_acquire) : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct bundle_entry *entry = &selected->dir->entries[i];
        if (entry->time_min_ms > selection->to_ms || entry->time_max_ms < selection->from_ms)
            continue;
        VEC_PUSH(&selected->bundles, entry);
    }
    if (selected->bundles.count == 0)
        return;
    VEC_SORT(&selected->bundles, compare_bundle);
    grow_tree(selected);
}

void select_bundles_free(struct selected_file *selected)
{
    VEC_FREE(&selected->bundles);
    mem_free(selected->highest);
}

size_t selected_bundle_next(const struct selected_file *selected, size_t from, uint64_t id)
{
    size_t count = selected->bundles.count, at = selected->leaves + from;
    const uint64_t *highest = selected->highest;
    if (from >= count)
        return count;
    while (highest[at] < id) { /* All below reach less far: on to what is right of it. */
        while (at & 1)
            at /= 2;
        if (at == 0)
            return count;
        at++;
    }
    while (at < selected->leaves) {
        at *= 2;
        at += highest[at] < id;
    }
    at -= selected->leaves;
    return at < count && selected->bundles.items[at]->id_min <= id ? at : count;
}

/* --- bundles that were opened --- */

#define OPENED_MIN 16
#define OPENED_MAX 1024

static void make_places(struct opened_bundles *opened, const struct selection *selection)
{
    size_t bundles = 0;
    for (uint32_t f = 0; f < selection->files.count; f++)
        bundles += selection->files.items[f].bundles.count;
    opened->count = OPENED_MIN;
    while (opened->count < 2 * bundles && opened->count < OPENED_MAX)
        opened->count *= 2;
    opened->places = mem_zalloc(opened->count * sizeof(opened->places[0]));
}

struct opened_bundle *opened_place(struct opened_bundles *opened, const struct selection *selection,
                                   const struct bundle_entry *entry)
{
    uint64_t hash = (uint64_t)(uintptr_t)entry * UINT64_C(0x9e3779b97f4a7c15);
    if (!opened->places)
        make_places(opened, selection);
    return &opened->places[hash >> 32 & (opened->count - 1)];
}

uint32_t opened_find(const struct opened_bundle *opened, uint64_t id)
{
    const struct bundle *bundle = &opened->bundle;
    uint32_t at = opened->next_run;
    if (at == 0 || at >= bundle->run_count || bundle_id_at(bundle, at) != id ||
        bundle_id_at(bundle, at - 1) == id)
        at = bundle_find(bundle, id);
    return at < bundle->run_count && bundle_id_at(bundle, at) == id ? at : bundle->run_count;
}
