/* select: the moment that a selection shows: which series, which runs and how much of them (select_head.c), which files.
 *
 * Memory is looked at before the files: a slot that is sealed meanwhile is seen twice rather than not at all, and equal
 * times are merged (cursor.c). The same holds for series that are spilled. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "select.h"

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
        select_bundles_free(selected);
    }
    VEC_FREE(&selection->files);
}

/* --- putting label sets together --- */

#define SELECTED_BYTES 128 /* Beside its labels: entry, sources, place in the map. */

struct gather {
    struct selection *selection;
    struct map by_labels; /* labels hash -> position in selection->series */
    bool
        memory_only; /* No file has an index to be asked: what comes twice is joined when it is sorted. */
    struct kv_read **reads; /* By file; begun at first use. */
    struct opened_bundles opened;
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

/* The entry of a label set; made when new. NULL when its hash is not the one that is wanted. */
static struct selected *gather_entry(struct gather *gather, const struct label *labels,
                                     size_t count, const uint64_t *wanted_hash)
{
    struct selection *selection = gather->selection;
    struct selected selected = {.labels = labels_new(labels, count), .source_first = SOURCE_NONE};
    if (wanted_hash && selected.labels->hash != *wanted_hash) {
        labels_unref(selected.labels);
        return NULL;
    }
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

/* The bundle, opened; NULL when that is not possible: the cursor will tell. */
static struct opened_bundle *gather_open(struct gather *gather, uint32_t file,
                                         const struct bundle_entry *entry)
{
    const struct selected_file *selected = &gather->selection->files.items[file];
    struct opened_bundle *opened = opened_place(&gather->opened, gather->selection, entry);
    struct err ignored = {0};
    struct str bytes;
    bool found;
    if (opened->entry == entry)
        return opened;
    opened->entry = NULL;
    if (!gather->reads[file] &&
        !kv_read_begin(selected->file.open->kv, &gather->reads[file], &ignored))
        return NULL;
    if (!kv_get(gather->reads[file], PARTITION_BUNDLES, entry->key, &found, &bytes, &ignored) ||
        !found || !bundle_open(&opened->bundle, bytes))
        return NULL;
    opened->entry = entry;
    opened->next_run = 0;
    return opened;
}

/* True when an open file has samples of the id in the range, as far as its bundles' directories tell. */
static bool has_bundle(struct gather *gather, uint32_t file, uint64_t id)
{
    const struct selected_file *selected = &gather->selection->files.items[file];
    for (size_t i = selected_bundle_next(selected, 0, id); i < selected->bundles.count;
         i = selected_bundle_next(selected, i + 1, id)) {
        struct opened_bundle *opened = gather_open(gather, file, selected->bundles.items[i]);
        if (!opened)
            return true;
        uint32_t at = opened_find(opened, id);
        if (at < opened->bundle.run_count) {
            opened->next_run = at + 1;
            return true;
        }
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
        struct selected *selected = gather_entry(gather, labels, count, NULL);
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
        uint64_t hash = good ? disk_index_hash(index, ordinal) : 0;
        struct selected *selected = good ? gather_entry(gather, labels, count, &hash) : NULL;
        if (good && !selected)
            good = err_set(err, ERR_CORRUPT, "index: a label set is another one");
        if (selected) {
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
            bool good =
                gather_index(gather, f, day_file_index(file->day), NULL, matchers, count, err);
            if (!day_file_judge(file->day, good, err))
                return false;
            continue;
        }
        const struct segment_list *list =
            atomic_load_explicit(&file->open->spilled, memory_order_acquire);
        for (uint32_t i = 0; list && i < list->count; i++) {
            struct index_segment *segment = list->items[i];
            bool good = gather_index(gather, f, segment->index, segment, matchers, count, err);
            if (!index_segment_judge(segment, good, err))
                return false;
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
    const uint8_t *left_at = x->pairs, *right_at = y->pairs;
    while (i < count && series_pair_next(&left_at) == series_pair_next(&right_at))
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
    const uint8_t *left = a->pairs, *right = b->pairs;
    bool same = a->labels->count == b->labels->count;
    for (uint32_t i = 0; same && i < a->labels->count; i++)
        same = series_pair_next(&left) == series_pair_next(&right);
    return same;
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
        uint64_t shown = atomic_load_explicit(&storage->bundles_shown, memory_order_acquire);
        struct source *sources = select_head(selection, matchers, matcher_count, &refs);
        select_files(selection);
        selection->is_moving =
            atomic_load_explicit(&storage->bundles_shown, memory_order_acquire) != shown;
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
    mem_free(gather.opened.places);
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
    if (selected->is_mixed || selected->delete_count > 0 || selection->is_moving)
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
