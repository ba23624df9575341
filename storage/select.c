/* select: from matchers to series, and from a series to its samples. Any thread, under a pinned
 * epoch.
 *
 *     matchers -> postings of the pairs that match -> refs -> snapshot of head chunks and directories
 *     cursor: runs of one series (bundle rows, head chunks) in time order -> decoded blocks
 *
 * The head is looked at before the partitions: a slot that is sealed meanwhile is seen twice rather
 * than not at all, and equal times are merged. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "store.h"

/* One head chunk with as many samples as the snapshot shows. */
struct head_run {
    const struct chunk *chunk;
    uint32_t count;
    int64_t time_min_ms, time_max_ms;
};

struct selected {
    struct labels *labels;
    uint64_t id;
    uint32_t run_first, run_count; /* In selection->runs, newest first. */
};

struct selected_partition {
    struct partition *partition;
    struct bundle_dir *dir;
    /* The bundles that touch the time range, by their lowest id; no bundle spans more ids than id_span_max. */
    VEC(struct bundle_entry *) bundles;
    uint64_t id_span_max;
};

struct selection {
    struct storage *storage; /* Borrowed: outlives every selection. */
    uint32_t pin;
    int64_t from_ms, to_ms;
    VEC(struct selected) series;
    VEC(struct head_run) runs;
    VEC(struct selected_partition) partitions;
    bool has_twins;
    VEC(uint32_t) firsts; /* When there are twins: the first entry of each label set. */
};

/* --- matchers to refs --- */

struct ref_vec {
    uint32_t *items;
    size_t count;
    size_t capacity;
};

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void refs_add(struct ref_vec *refs, struct id_view view)
{
    VEC_RESERVE(refs, view.count);
    if (view.count)
        memcpy(refs->items + refs->count, view.items, view.count * sizeof(uint32_t));
    refs->count += view.count;
}

static void refs_unique(struct ref_vec *refs)
{
    size_t kept = 0;
    VEC_SORT(refs, compare_u32);
    for (size_t i = 0; i < refs->count; i++) {
        if (kept == 0 || refs->items[kept - 1] != refs->items[i])
            refs->items[kept++] = refs->items[i];
    }
    refs->count = kept;
}

/* How many series a matcher that cannot match the empty value leaves at most; cheap to say. */
static uint64_t matcher_cost(const struct index *index, const struct matcher *matcher,
                             uint32_t name)
{
    if (name == INDEX_NONE)
        return 0;
    if (matcher->type != MATCH_EQUAL)
        return UINT64_MAX / 2;
    uint32_t pair = index_pair_find(index, name, matcher->value);
    return pair == INDEX_NONE ? 0 : id_list_view(&index_pair(index, pair)->postings).count;
}

/* The series with a value of `name` that matches. Regexes run once per distinct value; literal sets
 * not at all. */
static void matcher_refs(const struct index *index, const struct matcher *matcher, uint32_t name,
                         struct ref_vec *refs)
{
    struct arena arena;
    struct str *literals;
    size_t literal_count;
    if (name == INDEX_NONE)
        return;
    if (matcher->type == MATCH_EQUAL) {
        uint32_t pair = index_pair_find(index, name, matcher->value);
        if (pair != INDEX_NONE)
            refs_add(refs, id_list_view(&index_pair(index, pair)->postings));
        return;
    }
    arena_init(&arena, 0);
    if (matcher->type == MATCH_REGEX &&
        regex_literals(matcher->regex, &arena, &literals, &literal_count)) {
        for (size_t i = 0; i < literal_count; i++) {
            uint32_t pair = index_pair_find(index, name, literals[i]);
            if (pair != INDEX_NONE)
                refs_add(refs, id_list_view(&index_pair(index, pair)->postings));
        }
    } else {
        struct id_view pairs = id_list_view(&index_name(index, name)->pairs);
        for (uint32_t i = 0; i < pairs.count; i++) {
            const struct pair_entry *pair = index_pair(index, pairs.items[i]);
            if (matcher_matches(matcher, pair->value))
                refs_add(refs, id_list_view(&pair->postings));
        }
    }
    arena_deinit(&arena);
    refs_unique(refs);
}

/* A matcher's answer for each value of its name, asked once: 0 not asked, 1 no, 2 yes. */
struct memo {
    const struct matcher *matcher;
    uint32_t name;
    uint32_t value_count;
    uint8_t *answers;
    bool empty_matches;
};

static bool memo_ask(struct memo *memo, const struct pair_entry *pair)
{
    if (pair->ordinal >= memo->value_count)
        return matcher_matches(memo->matcher, pair->value);
    if (!memo->answers[pair->ordinal])
        memo->answers[pair->ordinal] = matcher_matches(memo->matcher, pair->value) ? 2 : 1;
    return memo->answers[pair->ordinal] == 2;
}

static bool series_passes(const struct storage *storage, const struct series *series,
                          struct memo *memos, size_t count)
{
    for (size_t m = 0; m < count; m++) {
        bool found = false;
        for (uint32_t i = 0; i < series->pair_count && memos[m].name != INDEX_NONE; i++) {
            const struct pair_entry *pair = index_pair(storage->index, series->pairs[i]);
            if (pair->name != memos[m].name)
                continue;
            if (!memo_ask(&memos[m], pair))
                return false;
            found = true;
            break;
        }
        if (!found && !memos[m].empty_matches)
            return false;
    }
    return true;
}

/* Refs of the series that match all, ascending, within the time range as far as the series' bounds
 * tell. */
static void match_refs(struct storage *storage, const struct matcher *matchers, size_t count,
                       int64_t from_ms, int64_t to_ms, struct ref_vec *out)
{
    const struct index *index = storage->index;
    struct memo *memos = mem_zalloc((count + 1) * sizeof(*memos));
    struct ref_vec candidates = {0};
    size_t best = count;
    uint64_t best_cost = UINT64_MAX;
    for (size_t m = 0; m < count; m++) {
        memos[m].matcher = &matchers[m];
        memos[m].name = index_name_find(index, matchers[m].name);
        memos[m].empty_matches = matcher_matches_empty(&matchers[m]);
        if (memos[m].empty_matches)
            continue;
        uint64_t cost = matcher_cost(index, &matchers[m], memos[m].name);
        if (cost < best_cost) {
            best = m;
            best_cost = cost;
        }
    }
    if (best < count) {
        matcher_refs(index, &matchers[best], memos[best].name, &candidates);
        memos[best] = memos[count - 1];
        count--;
    } else {
        uint32_t all = segments_count(&storage->series);
        VEC_RESERVE(&candidates, all);
        for (uint32_t ref = 0; ref < all; ref++)
            candidates.items[candidates.count++] = ref;
    }
    for (size_t m = 0; m < count; m++) {
        memos[m].value_count = memos[m].name == INDEX_NONE
                                   ? 0
                                   : id_list_view(&index_name(index, memos[m].name)->pairs).count;
        memos[m].answers = mem_zalloc(memos[m].value_count + 1);
    }
    for (size_t i = 0; i < candidates.count; i++) {
        const struct series *series = series_at(&storage->series, candidates.items[i]);
        if (atomic_load_explicit(&series->gone, memory_order_acquire) ||
            atomic_load_explicit(&series->time_first_ms, memory_order_relaxed) > to_ms ||
            atomic_load_explicit(&series->time_last_ms, memory_order_relaxed) < from_ms)
            continue;
        if (series_passes(storage, series, memos, count))
            VEC_PUSH(out, candidates.items[i]);
    }
    for (size_t m = 0; m < count; m++)
        mem_free(memos[m].answers);
    mem_free(memos);
    VEC_FREE(&candidates);
}

/* --- the snapshot --- */

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
        VEC_SORT(&look.wanted, compare_u32);
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

/* The entries [*first, *last) of one label set. */
static void label_set(const struct selection *selection, size_t index, size_t *first, size_t *last)
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
    label_set(selection, index, &first, &last);
    return selection->series.items[first].labels;
}

/* --- cursors --- */

#define ORDER_HEAD (UINT32_C(1) << 31) /* What is in the head was written after any bundle. */

/* A piece of one series: a head chunk or a row of a bundle. */
struct run {
    int64_t time_min_ms, time_max_ms;
    uint32_t order; /* Of writing, as far as known: later wins. */
    const struct chunk *chunk;
    uint32_t count;
    struct str payload;
};

struct merged {
    int64_t time_ms;
    double value;
    uint32_t order;
};

struct cursor {
    const struct selection *selection;
    struct kv_read **reads; /* One a selected partition, begun at first use. */
    VEC(struct run) runs;
    size_t next_run;
    VEC(int64_t) times;
    VEC(double) values;
    VEC(struct merged) merged;
    struct err err; /* Of cursor_seek; told by cursor_next. */
};

struct cursor *cursor_new(const struct selection *selection)
{
    struct cursor *cursor = MEM_NEW(struct cursor);
    cursor->selection = selection;
    cursor->reads = mem_zalloc((selection->partitions.count + 1) * sizeof(cursor->reads[0]));
    return cursor;
}

void cursor_free(struct cursor *cursor)
{
    if (!cursor)
        return;
    for (size_t i = 0; i < cursor->selection->partitions.count; i++)
        kv_read_end(cursor->reads[i]);
    mem_free((void *)cursor->reads);
    VEC_FREE(&cursor->runs);
    VEC_FREE(&cursor->times);
    VEC_FREE(&cursor->values);
    VEC_FREE(&cursor->merged);
    mem_free(cursor);
}

static bool bundle_open(struct cursor *cursor, size_t partition, struct bundle_entry *entry,
                        struct str *bytes, struct err *err)
{
    const struct selected_partition *selected = &cursor->selection->partitions.items[partition];
    bool found;
    if (!cursor->reads[partition] &&
        !kv_read_begin(selected->partition->kv, &cursor->reads[partition], err))
        return false;
    if (!kv_get(cursor->reads[partition], PARTITION_BUNDLES, entry->key, &found, bytes, err))
        return false;
    if (!found)
        return err_set(err, ERR_CORRUPT, "%s: a bundle is missing", selected->partition->path);
    if (atomic_load_explicit(&entry->verified, memory_order_relaxed))
        return true;
    if (!bundle_verify(*bytes))
        return err_set(err, ERR_CORRUPT, "%s: a bundle's checksum is wrong",
                       selected->partition->path);
    atomic_store_explicit(&entry->verified, 1, memory_order_relaxed);
    return true;
}

/* The first bundle that could have the id. */
static size_t first_bundle(const struct selected_partition *selected, uint64_t id)
{
    uint64_t lowest = id > selected->id_span_max ? id - selected->id_span_max : 0;
    size_t low = 0, high = selected->bundles.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (selected->bundles.items[middle]->id_min < lowest)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool add_bundle_runs(struct cursor *cursor, size_t partition, uint64_t id, struct err *err)
{
    const struct selection *selection = cursor->selection;
    const struct selected_partition *selected = &selection->partitions.items[partition];
    for (size_t i = first_bundle(selected, id); i < selected->bundles.count; i++) {
        struct bundle_entry *entry = selected->bundles.items[i];
        struct bundle_row row;
        struct str bytes, payload;
        if (entry->id_min > id)
            break;
        if (entry->id_max < id)
            continue;
        if (!bundle_open(cursor, partition, entry, &bytes, err))
            return false;
        if (!bundle_find(bytes, id, &row, &payload))
            continue;
        if (row.time_min_ms > selection->to_ms || row.time_max_ms < selection->from_ms)
            continue;
        struct run run = {.time_min_ms = row.time_min_ms,
                          .time_max_ms = row.time_max_ms,
                          .count = row.count,
                          .payload = payload,
                          .order = (uint32_t)(entry->key % ORDER_HEAD)};
        VEC_PUSH(&cursor->runs, run);
    }
    return true;
}

static int compare_run(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    if (x->time_min_ms != y->time_min_ms)
        return x->time_min_ms < y->time_min_ms ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static void add_head_runs(struct cursor *cursor, const struct selected *selected)
{
    for (uint32_t i = selected->run_count; i-- > 0;) {
        const struct head_run *head = &cursor->selection->runs.items[selected->run_first + i];
        struct run run = {.time_min_ms = head->time_min_ms,
                          .time_max_ms = head->time_max_ms,
                          .chunk = head->chunk,
                          .count = head->count,
                          .order = ORDER_HEAD + (uint32_t)cursor->runs.count};
        VEC_PUSH(&cursor->runs, run);
    }
}

void cursor_seek(struct cursor *cursor, size_t index)
{
    const struct selection *selection = cursor->selection;
    size_t first, last;
    ENSURE(index < selection_count(selection));
    label_set(selection, index, &first, &last);
    VEC_CLEAR(&cursor->runs);
    cursor->next_run = 0;
    err_clear(&cursor->err);
    for (size_t entry = first; entry < last; entry++) {
        for (size_t i = 0; i < selection->partitions.count; i++) {
            if (!add_bundle_runs(cursor, i, selection->series.items[entry].id, &cursor->err))
                return;
        }
    }
    for (size_t entry = first; entry < last; entry++)
        add_head_runs(cursor, &selection->series.items[entry]);
    VEC_SORT(&cursor->runs, compare_run);
}

/* Adds the run's samples behind what is in times and values. */
static bool decode_run(struct cursor *cursor, const struct run *run, struct err *err)
{
    VEC_RESERVE(&cursor->times, run->count);
    VEC_RESERVE(&cursor->values, run->count);
    int64_t *times = cursor->times.items + cursor->times.count;
    double *values = cursor->values.items + cursor->values.count;
    if (run->chunk)
        chunk_read(run->chunk, run->count, times, values);
    else if (!chunk_read_flat(run->payload, run->count, times, values))
        return err_set(err, ERR_CORRUPT, "a chunk cannot be decoded");
    cursor->times.count += run->count;
    cursor->values.count += run->count;
    return true;
}

static int compare_merged(const void *a, const void *b)
{
    const struct merged *x = a, *y = b;
    if (x->time_ms != y->time_ms)
        return x->time_ms < y->time_ms ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* Runs that overlap in time: sorted, of equal times the one that was written last. */
static void merge_overlap(struct cursor *cursor, const struct run *runs, size_t count)
{
    size_t at = 0, kept = 0;
    VEC_CLEAR(&cursor->merged);
    for (size_t r = 0; r < count; r++) {
        for (uint32_t i = 0; i < runs[r].count; i++, at++) {
            struct merged merged = {cursor->times.items[at], cursor->values.items[at],
                                    runs[r].order};
            VEC_PUSH(&cursor->merged, merged);
        }
    }
    VEC_SORT(&cursor->merged, compare_merged);
    for (size_t i = 0; i < cursor->merged.count; i++) {
        const struct merged *merged = &cursor->merged.items[i];
        if (kept > 0 && cursor->times.items[kept - 1] == merged->time_ms)
            kept--;
        cursor->times.items[kept] = merged->time_ms;
        cursor->values.items[kept++] = merged->value;
    }
    cursor->times.count = cursor->values.count = kept;
}

bool cursor_next(struct cursor *cursor, struct sample_block *out, struct err *err)
{
    const struct selection *selection = cursor->selection;
    *out = (struct sample_block){0};
    if (cursor->err.code != ERR_NONE) {
        *err = cursor->err;
        return false;
    }
    while (cursor->next_run < cursor->runs.count && out->count == 0) {
        size_t first = cursor->next_run;
        int64_t until = cursor->runs.items[first].time_max_ms;
        VEC_CLEAR(&cursor->times);
        VEC_CLEAR(&cursor->values);
        do {
            const struct run *run = &cursor->runs.items[cursor->next_run++];
            until = run->time_max_ms > until ? run->time_max_ms : until;
            if (!decode_run(cursor, run, &cursor->err)) {
                *err = cursor->err;
                return false;
            }
        } while (cursor->next_run < cursor->runs.count &&
                 cursor->runs.items[cursor->next_run].time_min_ms <= until);
        if (cursor->next_run - first > 1)
            merge_overlap(cursor, &cursor->runs.items[first], cursor->next_run - first);
        size_t from = 0, to = cursor->times.count;
        while (from < to && cursor->times.items[from] < selection->from_ms)
            from++;
        while (to > from && cursor->times.items[to - 1] > selection->to_ms)
            to--;
        out->count = to - from;
        out->time_ms = cursor->times.items + from;
        out->value = cursor->values.items + from;
    }
    return true;
}

/* --- names and values --- */

/* Marks the refs of the series that match any set; NULL when there are no sets (all series). */
static struct ref_vec sets_refs(struct storage *storage, const struct matchers *sets,
                                size_t set_count, int64_t from_ms, int64_t to_ms)
{
    struct ref_vec refs = {0};
    if (set_count == 0)
        match_refs(storage, NULL, 0, from_ms, to_ms, &refs);
    for (size_t i = 0; i < set_count; i++)
        match_refs(storage, sets[i].items, sets[i].count, from_ms, to_ms, &refs);
    if (set_count > 1)
        refs_unique(&refs);
    return refs;
}

static int compare_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Texts of the marked entries, copied, sorted and cut. */
static void collect_texts(const uint8_t *marks, uint32_t count,
                          struct str (*text_of)(const struct index *, uint32_t),
                          const struct index *index, size_t limit, struct arena *arena,
                          struct str **out, size_t *out_count, bool *cut)
{
    size_t found = 0;
    for (uint32_t i = 0; i < count; i++)
        found += marks[i];
    *out = arena_alloc_array(arena, found ? found : 1, sizeof(**out));
    *out_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (marks[i])
            (*out)[(*out_count)++] = text_of(index, i);
    }
    if (found > 1)
        qsort(*out, found, sizeof(**out), compare_str);
    *cut = limit && found > limit;
    *out_count = *cut ? limit : found;
    for (size_t i = 0; i < *out_count; i++)
        (*out)[i] = arena_str(arena, (*out)[i]);
}

static struct str name_text(const struct index *index, uint32_t name)
{
    return index_name(index, name)->text;
}
static struct str pair_text(const struct index *index, uint32_t pair)
{
    return index_pair(index, pair)->value;
}

bool storage_label_names(struct storage *storage, const struct matchers *sets, size_t set_count,
                         int64_t from_ms, int64_t to_ms, size_t limit, struct arena *arena,
                         struct str **out, size_t *count, bool *cut, struct err *err)
{
    uint32_t pin = epoch_pin(&storage->epoch);
    struct ref_vec refs = sets_refs(storage, sets, set_count, from_ms, to_ms);
    uint32_t name_count = index_name_count(storage->index);
    uint8_t *marks = mem_zalloc(name_count + 1);
    (void)err;
    VEC_EACH (ref, &refs) {
        const struct series *series = series_at(&storage->series, *ref);
        for (uint32_t i = 0; i < series->pair_count; i++) {
            uint32_t name = index_pair(storage->index, series->pairs[i])->name;
            if (name < name_count)
                marks[name] = 1;
        }
    }
    collect_texts(marks, name_count, name_text, storage->index, limit, arena, out, count, cut);
    mem_free(marks);
    VEC_FREE(&refs);
    epoch_unpin(&storage->epoch, pin);
    return true;
}

bool storage_label_values(struct storage *storage, struct str name, const struct matchers *sets,
                          size_t set_count, int64_t from_ms, int64_t to_ms, size_t limit,
                          struct arena *arena, struct str **out, size_t *count, bool *cut,
                          struct err *err)
{
    uint32_t pin = epoch_pin(&storage->epoch);
    uint32_t number = index_name_find(storage->index, name);
    struct ref_vec refs = {0};
    uint32_t pair_count = index_pair_count(storage->index);
    uint8_t *marks = mem_zalloc(pair_count + 1);
    (void)err;
    if (number != INDEX_NONE)
        refs = sets_refs(storage, sets, set_count, from_ms, to_ms);
    VEC_EACH (ref, &refs) {
        const struct series *series = series_at(&storage->series, *ref);
        for (uint32_t i = 0; i < series->pair_count; i++) {
            if (series->pairs[i] < pair_count &&
                index_pair(storage->index, series->pairs[i])->name == number)
                marks[series->pairs[i]] = 1;
        }
    }
    collect_texts(marks, pair_count, pair_text, storage->index, limit, arena, out, count, cut);
    mem_free(marks);
    VEC_FREE(&refs);
    epoch_unpin(&storage->epoch, pin);
    return true;
}
