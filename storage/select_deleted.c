/* select_deleted: what tombstones take from a selection: the ranges of each label set, once a selection, and only when there
 * are tombstones in its time. cursor.c leaves the samples out; a label set of which nothing can be left is not
 * shown at all. */
#include "base/ensure.h"
#include "select.h"

bool selected_delete_takes_day(const struct selected_delete *deleted, const struct day_info *info)
{
    return info->sequence_last < deleted->sequence;
}

bool selected_delete_takes_slot(const struct selected_delete *deleted, uint64_t slot)
{
    return slot <= deleted->slot;
}

struct deleting {
    struct selection *selection;
    const struct tombstone_list *list;
    const struct selected *selected;
    struct kv_read **reads; /* By file; begun at first use. */
};

static bool covers(const struct deleting *deleting, const struct selected_delete *deleted,
                   int64_t min_ms, int64_t max_ms)
{
    const struct selection *selection = deleting->selection;
    min_ms = min_ms > selection->from_ms ? min_ms : selection->from_ms;
    max_ms = max_ms < selection->to_ms ? max_ms : selection->to_ms;
    return deleted->from_ms <= min_ms && deleted->to_ms >= max_ms;
}

static bool slot_is_covered(const struct deleting *deleting, uint64_t slot, int64_t min_ms,
                            int64_t max_ms)
{
    const struct selected *selected = deleting->selected;
    for (uint32_t i = 0; i < selected->delete_count; i++) {
        const struct selected_delete *deleted =
            &deleting->selection->deletes.items[selected->delete_first + i];
        if (selected_delete_takes_slot(deleted, slot) && covers(deleting, deleted, min_ms, max_ms))
            return true;
    }
    return false;
}

static bool day_is_covered(const struct deleting *deleting, const struct day_info *info)
{
    const struct selected *selected = deleting->selected;
    for (uint32_t i = 0; i < selected->delete_count; i++) {
        const struct selected_delete *deleted =
            &deleting->selection->deletes.items[selected->delete_first + i];
        if (selected_delete_takes_day(deleted, info) &&
            covers(deleting, deleted, info->time_min_ms, info->time_max_ms))
            return true;
    }
    return false;
}

static bool runs_are_covered(const struct deleting *deleting, const struct source *source)
{
    for (uint32_t i = 0; i < source->run_count; i++) {
        const struct head_run *shown = &deleting->selection->runs.items[source->key + i];
        if (!slot_is_covered(deleting, shown->run->column->slot->number, shown->time_min_ms,
                             shown->time_max_ms))
            return false;
    }
    return true;
}

static bool lates_are_covered(const struct deleting *deleting, const struct source *source)
{
    for (uint32_t i = 0; i < source->run_count; i++) {
        const struct selected_late *late = &deleting->selection->lates.items[source->key + i];
        if (!slot_is_covered(deleting, late->slot, late->sample->time_ms, late->sample->time_ms))
            return false;
    }
    return true;
}

/* True when the bundle has the id, or cannot tell. */
static bool bundle_has(struct deleting *deleting, uint32_t file, const struct bundle_entry *entry,
                       uint64_t id)
{
    const struct partition *open = deleting->selection->files.items[file].file.open;
    struct err ignored = {0};
    struct bundle bundle;
    struct str bytes;
    bool found;
    if ((!deleting->reads[file] && !kv_read_begin(open->kv, &deleting->reads[file], &ignored)) ||
        !kv_get(deleting->reads[file], PARTITION_BUNDLES, entry->key, &found, &bytes, &ignored) ||
        !found || !bundle_open(&bundle, bytes))
        return true;
    uint32_t at = bundle_find(&bundle, id);
    return at < bundle.run_count && bundle_id_at(&bundle, at) == id;
}

static bool bundles_are_covered(struct deleting *deleting, const struct source *source)
{
    const struct selected_file *selected = &deleting->selection->files.items[source->file];
    for (size_t i = selected_bundle_next(selected, 0, source->key); i < selected->bundles.count;
         i = selected_bundle_next(selected, i + 1, source->key)) {
        const struct bundle_entry *entry = selected->bundles.items[i];
        if (!slot_is_covered(deleting, entry->slot, entry->time_min_ms, entry->time_max_ms) &&
            bundle_has(deleting, source->file, entry, source->key))
            return false;
    }
    return true;
}

/* True when no sample can be left. */
static bool all_is_covered(struct deleting *deleting)
{
    const struct selection *selection = deleting->selection;
    for (uint32_t at = deleting->selected->source_first; at != SOURCE_NONE;) {
        const struct source *source = &selection->sources.items[at];
        bool covered;
        if (source->file == SOURCE_MEMORY)
            covered = runs_are_covered(deleting, source);
        else if (source->file == SOURCE_LATE)
            covered = lates_are_covered(deleting, source);
        else if (selection->files.items[source->file].file.day)
            covered = day_is_covered(deleting,
                                     day_file_info(selection->files.items[source->file].file.day));
        else
            covered = bundles_are_covered(deleting, source);
        if (!covered)
            return false;
        at = source->next;
    }
    return true;
}

static void add_deletes(struct deleting *deleting, struct selected *selected)
{
    struct selection *selection = deleting->selection;
    selected->delete_first = (uint32_t)selection->deletes.count;
    for (uint32_t i = 0; i < deleting->list->count; i++) {
        const struct tombstone *tombstone = deleting->list->items[i];
        if (tombstone->from_ms > selection->to_ms || tombstone->to_ms < selection->from_ms ||
            !tombstone_matches(tombstone, selected->labels->items, selected->labels->count))
            continue;
        struct selected_delete deleted = {tombstone->from_ms, tombstone->to_ms, tombstone->sequence,
                                          tombstone->slot};
        VEC_PUSH(&selection->deletes, deleted);
    }
    selected->delete_count = (uint32_t)(selection->deletes.count - selected->delete_first);
}

void select_deleted(struct selection *selection, const struct tombstone_list *list,
                    struct kv_read **reads)
{
    struct deleting deleting = {.selection = selection, .list = list, .reads = reads};
    size_t kept = 0;
    if (!list || list->count == 0)
        return;
    for (size_t i = 0; i < selection->series.count; i++) {
        struct selected *selected = &selection->series.items[i];
        add_deletes(&deleting, selected);
        deleting.selected = selected;
        if (selected->delete_count > 0 && all_is_covered(&deleting)) {
            labels_unref(selected->labels);
            continue;
        }
        selection->series.items[kept++] = *selected;
    }
    selection->series.count = kept;
}
