/* select: the moment that a selection shows: which series, which runs and how much of them, which files.
 *
 * Memory is looked at before the files: a slot that is sealed meanwhile is seen twice rather than not at all, and equal
 * times are merged (cursor.c). The same holds for series that are spilled. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "select.h"

#define MATCHES_MAX 16 /* Looks at the index beyond the first, at most. */

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

/* The selected series that have something in the head, by group. */
struct head_look {
    const struct ref_vec *refs;
    uint32_t *groups;        /* Of each ref; INDEX_NONE: nothing in the head. */
    uint64_t *order, *spare; /* Group << 32 | position in refs, ascending. */
    size_t order_count;
    struct ref_vec wanted;  /* Groups to look at. */
    struct source *sources; /* Out: of each ref. */
};

/* Sorts the members by group: byte after byte of it, by counting. Mostly they come so. */
static void look_sort(struct head_look *look)
{
    uint32_t group_max = 0;
    bool sorted = true;
    look->order_count = 0;
    for (size_t i = 0; i < look->refs->count; i++) {
        uint32_t group = look->groups[i];
        if (group == INDEX_NONE)
            continue;
        sorted = sorted && group >= group_max;
        group_max = group > group_max ? group : group_max;
        look->order[look->order_count++] = (uint64_t)group << 32 | i;
    }
    for (unsigned shift = 32; !sorted && shift < 64 && group_max >> (shift - 32) > 0; shift += 8) {
        size_t starts[257] = {0};
        for (size_t i = 0; i < look->order_count; i++)
            starts[(look->order[i] >> shift & 255) + 1]++;
        for (size_t byte = 1; byte < 256; byte++)
            starts[byte] += starts[byte - 1];
        for (size_t i = 0; i < look->order_count; i++)
            look->spare[starts[look->order[i] >> shift & 255]++] = look->order[i];
        uint64_t *swap = look->order;
        look->order = look->spare;
        look->spare = swap;
    }
}

/* Where a group's members begin in the order. */
static size_t look_find(const struct head_look *look, uint32_t group)
{
    size_t low = 0, high = look->order_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (look->order[middle] >> 32 < group)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The members of a group, from position `first` of the order on, between two appends to it, so that a batch is seen whole.
 * Returns where they end. */
static size_t snapshot_group(struct selection *selection, const struct head_look *look,
                             size_t first)
{
    uint32_t group = (uint32_t)(look->order[first] >> 32);
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
        for (; at < look->order_count && look->order[at] >> 32 == group; at++) {
            uint32_t i = (uint32_t)look->order[at];
            snapshot_series(selection, &look->sources[i],
                            series_at(&selection->storage->series, look->refs->items[i]));
        }
        if (atomic_load_explicit(&gate->sequence, memory_order_acquire) == before)
            return at;
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

/* Fills a source for each ref. */
static void snapshot_head(struct selection *selection, const struct ref_vec *refs,
                          struct source *sources)
{
    struct storage *storage = selection->storage;
    struct head_look look = {.refs = refs, .sources = sources};
    look.groups = mem_alloc((refs->count + 1) * sizeof(look.groups[0]));
    look.order = mem_alloc((refs->count + 1) * sizeof(look.order[0]));
    look.spare = mem_alloc((refs->count + 1) * sizeof(look.spare[0]));
    for (size_t i = 0; i < refs->count; i++)
        look.groups[i] = group_of(series_at(&storage->series, refs->items[i]));
    look_sort(&look);
    for (size_t at = 0; at < look.order_count;)
        at = snapshot_group(selection, &look, at);
    for (look_joined(storage, &look); look.wanted.count > 0; look_joined(storage, &look)) {
        look_sort(&look);
        refs_sort_unique(&look.wanted);
        VEC_EACH (group, &look.wanted) {
            snapshot_group(selection, &look, look_find(&look, *group));
        }
    }
    VEC_FREE(&look.wanted);
    mem_free(look.groups);
    mem_free(look.order);
    mem_free(look.spare);
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

static bool refs_have(const struct ref_vec *refs, uint32_t ref)
{
    size_t low = 0, high = refs->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (refs->items[middle] < ref)
            low = middle + 1;
        else
            high = middle;
    }
    return low < refs->count && refs->items[low] == ref;
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
                refs_have(refs, sample->ref))
                VEC_PUSH(&selection->lates, late);
        }
    }
    VEC_SORT(&selection->lates, compare_late);
}

/* The late samples of one series, as a source; run_count 0 when it has none. */
static struct source late_source(const struct selection *selection, uint32_t ref)
{
    struct source source = {.file = SOURCE_LATE};
    size_t low = 0, high = selection->lates.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (selection->lates.items[middle].ref < ref)
            low = middle + 1;
        else
            high = middle;
    }
    source.key = low;
    while (low < selection->lates.count && selection->lates.items[low].ref == ref)
        low++;
    source.run_count = (uint32_t)(low - source.key);
    return source;
}

/* --- files --- */

static int compare_bundle(const void *a, const void *b)
{
    const struct bundle_entry *x = *(struct bundle_entry *const *)a,
                              *y = *(struct bundle_entry *const *)b;
    if (x->id_min != y->id_min)
        return x->id_min < y->id_min ? -1 : 1;
    return (x->key > y->key) - (x->key < y->key);
}

static void select_bundles(const struct selection *selection, struct selected_file *selected)
{
    uint32_t count =
        selected->dir ? atomic_load_explicit(&selected->dir->count, memory_order_acquire) : 0;
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

void select_files(struct selection *selection)
{
    const struct file_list *list = file_list_now(selection->storage);
    for (uint32_t i = 0; list && i < list->count; i++) {
        struct selected_file selected = {.file = list->items[i]};
        if (selected.file.from_ms > selection->to_ms || selected.file.to_ms <= selection->from_ms)
            continue;
        if (selected.file.open) {
            selected.dir = atomic_load_explicit(&selected.file.open->dir, memory_order_acquire);
            select_bundles(selection, &selected);
        }
        VEC_PUSH(&selection->files, selected);
    }
}

void select_files_free(struct selection *selection)
{
    VEC_EACH (selected, &selection->files) {
        VEC_FREE(&selected->bundles);
    }
    VEC_FREE(&selection->files);
}

static bool is_first_bundle(const struct selected_file *selected, uint64_t lowest, size_t at)
{
    return at <= selected->bundles.count &&
           (at == 0 || selected->bundles.items[at - 1]->id_min < lowest) &&
           (at == selected->bundles.count || selected->bundles.items[at]->id_min >= lowest);
}

size_t selected_first_bundle(const struct selected_file *selected, uint64_t id, size_t *hint)
{
    uint64_t lowest = id > selected->id_span_max ? id - selected->id_span_max : 0;
    size_t low = 0, high = selected->bundles.count;
    if (is_first_bundle(selected, lowest, *hint))
        return *hint;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (selected->bundles.items[middle]->id_min < lowest)
            low = middle + 1;
        else
            high = middle;
    }
    *hint = low;
    return low;
}

/* --- putting label sets together --- */

#define SELECTED_BYTES 128 /* Beside its labels: entry, sources, place in the map. */

struct gather {
    struct selection *selection;
    struct map by_labels; /* labels hash -> position in selection->series */
    bool
        memory_only; /* No file has an index to be asked: what comes twice is joined when it is sorted. */
    struct kv_read **reads; /* By file; begun at first use. */
    size_t hint;            /* Of selected_first_bundle, in the file that was looked at last. */
    const struct bundle_entry *opened_entry; /* The bundle that was looked at last. */
    struct bundle opened;
    struct arena arena;
    uint64_t bytes_max; /* Of the selection: the memory budget's share. */
};

struct label_set {
    const struct label *labels;
    size_t count;
};

static bool set_equal(const void *ctx, const void *key, uint32_t position)
{
    const struct selection *selection = ctx;
    const struct label_set *wanted = key;
    const struct labels *have = selection->series.items[position].labels;
    if (have->count != wanted->count)
        return false;
    for (size_t i = wanted->count; i-- > 0;) {
        if (!str_eq(have->items[i].value, wanted->labels[i].value) ||
            !str_eq(have->items[i].name, wanted->labels[i].name))
            return false;
    }
    return true;
}

static void add_source(struct selection *selection, struct selected *selected, struct source source)
{
    for (uint32_t at = selected->source_first; at != SOURCE_NONE;) {
        const struct source *have = &selection->sources.items[at];
        if (have->file == source.file && have->key == source.key && source.file < SOURCE_LATE)
            return;
        at = have->next;
    }
    source.next = selected->source_first;
    selected->source_first = (uint32_t)selection->sources.count;
    VEC_PUSH(&selection->sources, source);
}

static bool is_small(const struct gather *gather)
{
    return gather->selection->bytes <= gather->bytes_max;
}

static bool too_large(const struct gather *gather, struct err *err)
{
    return err_set(err, ERR_EXECUTION,
                   "the label sets of the series would use more than %llu bytes, which is what the "
                   "memory budget leaves to a query",
                   (unsigned long long)gather->bytes_max);
}

/* The entry of a label set; made when new. */
static struct selected *gather_entry(struct gather *gather, const struct label *labels,
                                     size_t count)
{
    struct selection *selection = gather->selection;
    struct selected selected = {.labels = labels_new(labels, count), .source_first = SOURCE_NONE};
    if (!gather->memory_only) {
        struct label_set key = {labels, count};
        uint64_t hash = selected.labels->hash;
        uint32_t found = map_find(&gather->by_labels, hash, &key, set_equal, selection);
        if (found != MAP_NONE) {
            labels_unref(selected.labels);
            return &selection->series.items[found];
        }
        map_insert(&gather->by_labels, hash, (uint32_t)selection->series.count);
    }
    selection->bytes += sizeof(struct labels) + count * sizeof(struct label) + SELECTED_BYTES;
    for (size_t i = 0; i < count; i++)
        selection->bytes += labels[i].name.len + labels[i].value.len;
    VEC_PUSH(&selection->series, selected);
    return &selection->series.items[selection->series.count - 1];
}

/* Brings a bundle into gather->opened; false when that is not possible: the cursor will tell. */
static bool gather_open(struct gather *gather, uint32_t file, const struct bundle_entry *entry)
{
    const struct selected_file *selected = &gather->selection->files.items[file];
    struct err ignored = {0};
    struct str bytes;
    bool found;
    if (gather->opened_entry == entry)
        return true;
    gather->opened_entry = NULL;
    if (!gather->reads[file] &&
        !kv_read_begin(selected->file.open->kv, &gather->reads[file], &ignored))
        return false;
    if (!kv_get(gather->reads[file], PARTITION_BUNDLES, entry->key, &found, &bytes, &ignored) ||
        !found || !bundle_open(&gather->opened, bytes))
        return false;
    gather->opened_entry = entry;
    return true;
}

/* True when an open file has samples of the id in the range, as far as its bundles' directories tell. */
static bool has_bundle(struct gather *gather, uint32_t file, uint64_t id)
{
    const struct selected_file *selected = &gather->selection->files.items[file];
    for (size_t i = selected_first_bundle(selected, id, &gather->hint); i < selected->bundles.count;
         i++) {
        const struct bundle_entry *entry = selected->bundles.items[i];
        if (entry->id_min > id)
            return false;
        if (entry->id_max < id)
            continue;
        if (!gather_open(gather, file, entry))
            return true;
        uint32_t at = bundle_find(&gather->opened, id);
        if (at < gather->opened.run_count && bundle_id_at(&gather->opened, at) == id)
            return true;
    }
    return false;
}

static void gather_memory(struct gather *gather, const struct ref_vec *refs,
                          const struct source *sources)
{
    struct selection *selection = gather->selection;
    const struct storage *storage = selection->storage;
    for (size_t i = 0; i < refs->count && is_small(gather); i++) {
        const struct series *series = series_at(&storage->series, refs->items[i]);
        struct label labels[SERIES_LABELS_MAX];
        struct source late = late_source(selection, refs->items[i]);
        bool shown = sources[i].run_count > 0 || late.run_count > 0;
        /* What lives and is asked for the present needs no look at the files to be shown. */
        bool may_have = series_may_have(series, selection->from_ms);
        for (uint32_t f = 0; may_have && !shown && f < selection->files.count; f++)
            shown = selection->files.items[f].file.open && has_bundle(gather, f, series->id);
        if (!shown)
            continue;
        uint32_t count = series_labels(storage, series, labels);
        struct selected *selected = gather_entry(gather, labels, count);
        selected->is_mixed = selected->source_first != SOURCE_NONE || late.run_count > 0;
        selected->pairs = series_pairs(storage, series).pairs;
        if (sources[i].run_count > 0)
            add_source(selection, selected, sources[i]);
        if (late.run_count > 0)
            add_source(selection, selected, late);
        for (uint32_t f = 0; f < selection->files.count; f++) {
            if (selection->files.items[f].file.open && selection->files.items[f].bundles.count > 0)
                add_source(selection, selected, (struct source){.file = f, .key = series->id});
        }
    }
}

/* The series of an index that match: of a day file, or of a segment of an open one. */
static bool gather_index(struct gather *gather, uint32_t file, const struct disk_index *index,
                         const struct index_segment *segment, const struct matcher *matchers,
                         size_t matcher_count, struct err *err)
{
    struct ordinal_vec ordinals = {0};
    struct label labels[SERIES_LABELS_MAX];
    bool good = disk_index_match(index, matchers, matcher_count, &ordinals, err);
    for (size_t i = 0; good && i < ordinals.count; i++) {
        uint32_t ordinal = ordinals.items[i];
        struct source source = {.file = file,
                                .key = segment ? index_segment_id(segment, ordinal) : ordinal};
        size_t count;
        if (segment && !has_bundle(gather, file, source.key))
            continue;
        arena_reset(&gather->arena);
        good = disk_index_labels(index, ordinal, &gather->arena, labels, SERIES_LABELS_MAX, &count,
                                 err);
        if (good) {
            struct selected *selected = gather_entry(gather, labels, count);
            selected->is_mixed = true;
            add_source(gather->selection, selected, source);
        }
        good = good && (is_small(gather) || too_large(gather, err));
    }
    VEC_FREE(&ordinals);
    return good;
}

static bool gather_files(struct gather *gather, const struct matcher *matchers, size_t count,
                         struct err *err)
{
    struct selection *selection = gather->selection;
    for (uint32_t f = 0; f < selection->files.count; f++) {
        const struct store_file *file = &selection->files.items[f].file;
        if (file->day) {
            const struct day_info *info = day_file_info(file->day);
            if (info->time_min_ms > selection->to_ms || info->time_max_ms < selection->from_ms)
                continue;
            if (!gather_index(gather, f, day_file_index(file->day), NULL, matchers, count, err))
                return err_wrap(err, "%s", day_file_path(file->day));
            continue;
        }
        const struct segment_list *list =
            atomic_load_explicit(&file->open->spilled, memory_order_acquire);
        for (uint32_t i = 0; list && i < list->count; i++) {
            if (!gather_index(gather, f, list->items[i]->index, list->items[i], matchers, count,
                              err))
                return err_wrap(err, "%s", file->open->path);
        }
    }
    return true;
}

static int compare_selected(const void *a, const void *b)
{
    const struct selected *x = a, *y = b;
    uint32_t count = x->labels->count < y->labels->count ? x->labels->count : y->labels->count;
    uint32_t i = 0;
    if (!x->pairs || !y->pairs)
        return labels_cmp(x->labels, y->labels);
    while (i < count && x->pairs[i] == y->pairs[i])
        i++;
    if (i == count)
        return (x->labels->count > count) - (y->labels->count > count);
    const struct label *left = &x->labels->items[i], *right = &y->labels->items[i];
    int order = str_cmp(left->name, right->name);
    return order ? order : str_cmp(left->value, right->value);
}

/* Series of one target are often sorted as they come. */
static void sort_selected(struct selection *selection)
{
    const struct selected *items = selection->series.items;
    for (size_t i = 1; i < selection->series.count; i++) {
        if (compare_selected(&items[i - 1], &items[i]) > 0) {
            VEC_SORT(&selection->series, compare_selected);
            return;
        }
    }
}

static bool same_pairs(const struct selected *a, const struct selected *b)
{
    return a->labels->count == b->labels->count &&
           memcmp(a->pairs, b->pairs, a->labels->count * sizeof(a->pairs[0])) == 0;
}

/* Two series may have the same labels in memory as well, when a file came back that had been away: neighbours are joined. */
static void join_selected(struct selection *selection)
{
    struct selected *items = selection->series.items;
    size_t kept = 0;
    for (size_t i = 0; i < selection->series.count; i++) {
        if (kept == 0 || !same_pairs(&items[kept - 1], &items[i])) {
            items[kept++] = items[i];
            continue;
        }
        uint32_t *last = &items[kept - 1].source_first;
        while (*last != SOURCE_NONE)
            last = &selection->sources.items[*last].next;
        *last = items[i].source_first;
        items[kept - 1].is_mixed = true;
        labels_unref(items[i].labels);
    }
    selection->series.count = kept;
}

/* Has a file an index of its own that matchers are to be put to? */
static bool files_have_series(const struct selection *selection)
{
    for (uint32_t f = 0; f < selection->files.count; f++) {
        const struct store_file *file = &selection->files.items[f].file;
        if (file->day || atomic_load_explicit(&file->open->spilled, memory_order_acquire))
            return true;
    }
    return false;
}

/* What memory has: the series that match, and a source for each. A batch may have brought a series between the look at the
 * index and the one at its group: then both are taken anew. Where they come without end a batch may be seen in part. */
static struct source *select_memory(struct selection *selection, const struct matcher *matchers,
                                    size_t matcher_count, struct ref_vec *refs)
{
    struct storage *storage = selection->storage;
    for (unsigned attempt = 0;; attempt++) {
        uint64_t made = atomic_load_explicit(&storage->series_made, memory_order_acquire);
        VEC_CLEAR(refs);
        VEC_CLEAR(&selection->runs);
        match_refs(storage, matchers, matcher_count, refs);
        struct source *sources = mem_alloc((refs->count + 1) * sizeof(*sources));
        for (size_t i = 0; i < refs->count; i++)
            sources[i] = (struct source){.next = SOURCE_NONE, .file = SOURCE_MEMORY};
        snapshot_head(selection, refs, sources);
        if (attempt < MATCHES_MAX &&
            atomic_load_explicit(&storage->series_made, memory_order_acquire) != made) {
            mem_free(sources);
            continue;
        }
        snapshot_late(selection, refs);
        return sources;
    }
}

bool storage_select(struct storage *storage, const struct matcher *matchers, size_t matcher_count,
                    int64_t from_ms, int64_t to_ms, struct selection **out, struct err *err)
{
    struct selection *selection = MEM_NEW(struct selection);
    struct gather gather = {
        .selection = selection,
        .bytes_max =
            atomic_load_explicit(&storage->budget.selection_bytes_max, memory_order_relaxed),
    };
    struct ref_vec refs = {0};
    bool good = true;
    selection->storage = storage;
    selection->pin = epoch_pin(&storage->epoch);
    const struct tombstone_list *tombstones = tombstone_list_now(storage); /* Before the files. */
    selection->from_ms = from_ms;
    selection->to_ms = to_ms;
    map_init(&gather.by_labels);
    arena_init(&gather.arena, 0);
    if (from_ms <= to_ms) {
        struct source *sources = select_memory(selection, matchers, matcher_count, &refs);
        select_files(selection);
        gather.memory_only = !files_have_series(selection);
        gather.reads = mem_zalloc((selection->files.count + 1) * sizeof(gather.reads[0]));
        gather_memory(&gather, &refs, sources);
        good = (is_small(&gather) || too_large(&gather, err)) &&
               (gather.memory_only || gather_files(&gather, matchers, matcher_count, err));
        sort_selected(selection);
        if (gather.memory_only)
            join_selected(selection);
        select_deleted(selection, tombstones, gather.reads);
        mem_free(sources);
        for (size_t f = 0; f < selection->files.count; f++)
            kv_read_end(gather.reads[f]);
        mem_free((void *)gather.reads);
    }
    map_deinit(&gather.by_labels);
    arena_deinit(&gather.arena);
    VEC_FREE(&refs);
    if (!good) {
        selection_free(selection);
        return false;
    }
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
    select_files_free(selection);
    epoch_unpin(&selection->storage->epoch, selection->pin);
    VEC_FREE(&selection->series);
    VEC_FREE(&selection->sources);
    VEC_FREE(&selection->runs);
    VEC_FREE(&selection->lates);
    VEC_FREE(&selection->deletes);
    mem_free(selection);
}

size_t selection_count(const struct selection *selection)
{
    return selection->series.count;
}

bool selection_newest(const struct selection *selection, size_t index, int64_t *time_ms,
                      double *value)
{
    const struct selected *selected = &selection->series.items[index];
    if (selected->is_mixed || selected->delete_count > 0)
        return false;
    for (uint32_t at = selected->source_first; at != SOURCE_NONE;) {
        const struct source *source = &selection->sources.items[at];
        at = source->next;
        if (source->file != SOURCE_MEMORY)
            continue; /* What is sealed is older. */
        const struct head_run *run = &selection->runs.items[source->key];
        if (!run->last_known || run->time_max_ms > selection->to_ms)
            return false;
        *time_ms = run->time_max_ms;
        *value = sample_from_bits(run->last_bits);
        return true;
    }
    return false;
}

uint64_t selection_bytes(const struct selection *selection)
{
    return selection->bytes;
}

struct labels *selection_labels(const struct selection *selection, size_t index)
{
    ENSURE_SLOW(index < selection_count(selection));
    return selection->series.items[index].labels;
}
