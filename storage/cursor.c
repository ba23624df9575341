/* cursor: the samples of one series of a selection.
 *
 *     runs (rows of bundles, head chunks) in time order -> decoded -> what overlaps is merged -> clipped blocks */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "select.h"

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
    selection_label_set(selection, index, &first, &last);
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
