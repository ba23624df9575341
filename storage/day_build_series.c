/* day_build_series: the label sets of all inputs as one ascending list.
 *
 * An open partition has its labels by series id, in its table: those are sorted here, as positions; the texts stay in
 * the map. Index segments and days are in series order already. A heap of these streams yields each label set once, however
 * many ids and inputs have it. The list is walked twice: to give ordinals, and to encode. */
#include <stdlib.h>
#include <string.h>

#include "day_build_private.h"
#include "index_segment.h"
#include "series_labels.h"
#include "store.h"

enum stream_kind { STREAM_TABLE, STREAM_SEGMENT, STREAM_DAY };

struct day_stream {
    enum stream_kind kind;
    uint32_t input;
    struct index_segment *segment;
    size_t position, end;
    struct arena arena;
    struct label labels[DAY_LABELS_MAX];
    size_t label_count;
};

static bool labels_of(const struct day_series *series, struct label *out, size_t *count)
{
    struct str row = str_from(series->labels, series->labels_len);
    struct err ignored = {0};
    return series_row_decode(series->id, row, out, DAY_LABELS_MAX, count, &ignored) && *count > 0;
}

struct loading {
    struct day_job *job;
    struct day_source *source;
    struct label labels[DAY_LABELS_MAX];
};

static bool load_row(void *ctx, uint64_t id, struct str value, struct err *err)
{
    struct loading *loading = ctx;
    struct day_series series = {
        .id = id, .labels = value.ptr, .labels_len = (uint32_t)value.len, .ordinal = DAY_NONE};
    size_t count;
    if (loading->source->series.count % 4096 == 0 && !day_job_step(loading->job, 0, err))
        return false;
    if (value.len > UINT32_MAX || !labels_of(&series, loading->labels, &count))
        loading->job->bad_series++;
    else
        VEC_PUSH(&loading->source->series, series);
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    const struct day_series *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->labels == NULL) - (y->labels == NULL); /* The table's first. */
}

struct comparing {
    const struct day_source *source;
    const struct day_job *job;
    struct label a[DAY_LABELS_MAX], b[DAY_LABELS_MAX];
    uint32_t a_is; /* Position whose labels are in `a`. */
    size_t a_count;
};

/* When the build is to stop all are equal, so the sort ends soon. */
static int compare_labels(const void *a, const void *b, void *ctx)
{
    struct comparing *comparing = ctx;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    size_t b_count;
    if (day_job_stopped(comparing->job))
        return 0;
    if (comparing->a_is != x) {
        ENSURE(labels_of(&comparing->source->series.items[x], comparing->a, &comparing->a_count));
        comparing->a_is = x;
    }
    ENSURE(labels_of(&comparing->source->series.items[y], comparing->b, &b_count));
    return series_order(comparing->a, comparing->a_count, comparing->b, b_count);
}

static void sort_labels(struct day_job *job, struct day_source *source)
{
    struct comparing *comparing = MEM_NEW(struct comparing);
    comparing->source = source;
    comparing->job = job;
    comparing->a_is = DAY_NONE;
    for (size_t i = 0; i < source->series.count; i++) {
        if (source->series.items[i].labels)
            VEC_PUSH(&source->by_labels, (uint32_t)i);
    }
    if (source->by_labels.count > 1)
        qsort_r(source->by_labels.items, source->by_labels.count, sizeof(uint32_t), compare_labels,
                comparing);
    mem_free(comparing);
}

static void add_segment_ids(struct day_source *source, const struct index_segment *segment)
{
    for (uint32_t i = 0; i < disk_index_count(segment->index); i++) {
        struct day_series series = {.id = index_segment_id(segment, i), .ordinal = DAY_NONE};
        VEC_PUSH(&source->series, series);
    }
}

static void drop_twin_ids(struct day_source *source)
{
    size_t kept = 0;
    for (size_t i = 0; i < source->series.count; i++) {
        if (kept == 0 || source->series.items[kept - 1].id != source->series.items[i].id)
            source->series.items[kept++] = source->series.items[i];
    }
    source->series.count = kept;
}

static bool count_bundle(void *ctx, uint64_t key, struct str value, struct err *err)
{
    struct day_sources *sources = ctx;
    (void)key;
    (void)err;
    sources->bundle_bytes += value.len;
    return true;
}

static bool open_kv(struct day_sources *sources, struct day_source *source, struct err *err)
{
    struct loading *loading = MEM_NEW(struct loading);
    loading->job = sources->job;
    loading->source = source;
    bool good = kv_read_begin(source->input->kv, &source->read, err) &&
                kv_each(source->read, PARTITION_SERIES, load_row, loading, err) &&
                kv_each(source->read, PARTITION_BUNDLES, count_bundle, sources, err);
    mem_free(loading);
    if (!good)
        return false;
    for (uint32_t i = 0; i < source->input->segment_count; i++)
        add_segment_ids(source, source->input->segments[i]);
    if (source->input->segment_count > 0) {
        VEC_SORT(&source->series, compare_ids);
        drop_twin_ids(source);
    }
    sort_labels(sources->job, source);
    return day_job_step(sources->job, 0, err);
}

bool day_sources_open(struct day_sources *sources, struct day_job *job, struct err *err)
{
    const struct day_build *build = job->build;
    struct day_merge merge;
    bool found = true;
    *sources = (struct day_sources){.job = job, .count = build->input_count};
    sources->items = mem_zalloc((sources->count + 1) * sizeof(sources->items[0]));
    for (size_t i = 0; i < sources->count; i++) {
        struct day_source *source = &sources->items[i];
        source->input = &build->inputs[i];
        if (source->input->day)
            source->reader = day_reader_new(source->input->day);
        else if (!open_kv(sources, source, err))
            return false;
    }
    bool good = day_merge_open(&merge, sources, err);
    while (good && found) {
        good = day_merge_next(&merge, &found, err);
        if (good && merge.next_ordinal % 1024 == 0)
            good = day_job_step(job, 0, err);
    }
    sources->series_count = merge.next_ordinal;
    day_merge_close(&merge);
    return good;
}

void day_sources_close(struct day_sources *sources)
{
    for (size_t i = 0; i < sources->count; i++) {
        struct day_source *source = &sources->items[i];
        kv_read_end(source->read);
        day_reader_free(source->reader);
        VEC_FREE(&source->series);
        VEC_FREE(&source->by_labels);
    }
    mem_free(sources->items);
    sources->count = 0;
}

static size_t find_id(const struct day_source *source, uint64_t id)
{
    size_t low = 0, high = source->series.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (source->series.items[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t day_source_ordinal(const struct day_source *source, uint64_t id, size_t *hint)
{
    const struct day_series *items = source->series.items;
    size_t count = source->series.count, at = *hint;
    if (at < count && items[at].id != id)
        at++;
    if (at >= count || items[at].id != id)
        at = find_id(source, id);
    if (at >= count || items[at].id != id)
        return DAY_NONE;
    *hint = at;
    return items[at].ordinal;
}

/* --- the merge --- */

static bool stream_less(const void *a, const void *b)
{
    const struct day_stream *x = a, *y = b;
    return series_order(x->labels, x->label_count, y->labels, y->label_count) < 0;
}

/* Reads the labels at the stream's position. */
static bool stream_load(struct day_merge *merge, struct day_stream *stream, bool *at_end,
                        struct err *err)
{
    const struct day_source *source = &merge->sources->items[stream->input];
    *at_end = false;
    while (stream->position < stream->end) {
        if (stream->kind == STREAM_TABLE) {
            const struct day_series *series =
                &source->series.items[source->by_labels.items[stream->position]];
            /* It was good a moment ago, but the disk is read again. */
            if (labels_of(series, stream->labels, &stream->label_count))
                return true;
            stream->position++;
            continue;
        }
        const struct disk_index *index = stream->kind == STREAM_SEGMENT
                                             ? stream->segment->index
                                             : day_file_index(source->input->day);
        arena_reset(&stream->arena);
        bool good = disk_index_labels(index, (uint32_t)stream->position, &stream->arena,
                                      stream->labels, DAY_LABELS_MAX, &stream->label_count, err);
        good = stream->segment ? index_segment_judge(stream->segment, good, err)
                               : day_file_judge(source->input->day, good, err);
        if (!good)
            return false;
        if (stream->label_count > 0)
            return true;
        stream->position++;
    }
    *at_end = true;
    return true;
}

static bool stream_push(struct day_merge *merge, struct day_stream *stream, struct err *err)
{
    bool at_end;
    if (!stream_load(merge, stream, &at_end, err))
        return false;
    if (!at_end)
        heap_push(&merge->heap, stream);
    return true;
}

static bool stream_add(struct day_merge *merge, enum stream_kind kind, uint32_t input,
                       struct index_segment *segment, size_t end, struct err *err)
{
    struct day_stream *stream = MEM_NEW(struct day_stream);
    stream->kind = kind;
    stream->input = input;
    stream->segment = segment;
    stream->end = end;
    arena_init(&stream->arena, 0);
    VEC_PUSH(&merge->streams, stream);
    return stream_push(merge, stream, err);
}

bool day_merge_open(struct day_merge *merge, struct day_sources *sources, struct err *err)
{
    *merge = (struct day_merge){.sources = sources};
    heap_init(&merge->heap, stream_less);
    merge->day_ordinals = mem_alloc_array(sources->count + 1, sizeof(uint32_t));
    merge->twin = mem_alloc_array(DAY_LABELS_MAX, sizeof(merge->twin[0]));
    for (uint32_t i = 0; i < sources->count; i++) {
        const struct day_source *source = &sources->items[i];
        const struct day_input *input = source->input;
        if (input->day) {
            size_t count = disk_index_count(day_file_index(input->day));
            if (!stream_add(merge, STREAM_DAY, i, NULL, count, err))
                return false;
            continue;
        }
        if (!stream_add(merge, STREAM_TABLE, i, NULL, source->by_labels.count, err))
            return false;
        for (uint32_t s = 0; s < input->segment_count; s++) {
            size_t count = disk_index_count(input->segments[s]->index);
            if (!stream_add(merge, STREAM_SEGMENT, i, input->segments[s], count, err))
                return false;
        }
    }
    return true;
}

void day_merge_close(struct day_merge *merge)
{
    VEC_EACH (stream, &merge->streams) {
        arena_deinit(&(*stream)->arena);
        mem_free(*stream);
    }
    VEC_FREE(&merge->streams);
    VEC_FREE(&merge->taken);
    heap_deinit(&merge->heap);
    mem_free(merge->day_ordinals);
    mem_free(merge->twin);
}

/* Other ids with the same labels follow at once. */
static void take_twins(struct day_merge *merge, struct day_stream *stream,
                       struct day_source *source)
{
    for (; stream->position + 1 < stream->end; stream->position++) {
        struct day_series *next =
            &source->series.items[source->by_labels.items[stream->position + 1]];
        size_t count;
        if (!labels_of(next, merge->twin, &count))
            continue;
        if (series_order(stream->labels, stream->label_count, merge->twin, count) != 0)
            return;
        next->ordinal = merge->ordinal;
    }
}

static void take(struct day_merge *merge, struct day_stream *stream)
{
    struct day_source *source = &merge->sources->items[stream->input];
    size_t position = stream->position;
    VEC_PUSH(&merge->taken, stream);
    if (stream->kind == STREAM_DAY) {
        merge->day_ordinals[stream->input] = (uint32_t)position;
    } else if (stream->kind == STREAM_TABLE) {
        source->series.items[source->by_labels.items[position]].ordinal = merge->ordinal;
        take_twins(merge, stream, source);
    } else {
        uint64_t id = index_segment_id(stream->segment, (uint32_t)position);
        size_t at = find_id(source, id);
        if (at < source->series.count && source->series.items[at].id == id)
            source->series.items[at].ordinal = merge->ordinal;
    }
}

bool day_merge_next(struct day_merge *merge, bool *found, struct err *err)
{
    for (size_t i = 0; i < merge->taken.count; i++) {
        merge->taken.items[i]->position++;
        if (!stream_push(merge, merge->taken.items[i], err))
            return false;
    }
    VEC_CLEAR(&merge->taken);
    struct day_stream *first = heap_pop(&merge->heap);
    *found = first != NULL;
    if (!first)
        return true;
    if (merge->next_ordinal == DAY_NONE - 1)
        return err_set(err, ERR_LIMIT, "too many series for one file");
    for (size_t i = 0; i < merge->sources->count; i++)
        merge->day_ordinals[i] = DAY_NONE;
    merge->labels = first->labels;
    merge->label_count = first->label_count;
    merge->ordinal = merge->next_ordinal++;
    take(merge, first);
    while (merge->heap.count > 0 && !stream_less(first, merge->heap.items[0]))
        take(merge, heap_pop(&merge->heap));
    return true;
}
