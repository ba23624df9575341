/* fake_storage: see the header. */
#include "fake_storage.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/vec.h"
#include "model/histogram_math.h"
#include "model/sample.h"

struct fake_series {
    struct labels *labels;
    VEC(int64_t) times;
    VEC(double) values;
    VEC(const struct histogram *) histograms; /* NULL at floats. */
    bool has_histograms;
};

struct storage {
    struct arena arena; /* Of histograms. */
    VEC(struct fake_series) series;
    const char *select_text, *read_text;
    size_t reads;
    size_t block_max;
};

struct selection {
    struct storage *storage;
    int64_t from_ms, to_ms;
    VEC(size_t) found; /* Indexes into the storage's series. */
};

struct cursor {
    const struct selection *selection;
    const struct fake_series *series;
    size_t at, end;
};

struct storage *fake_storage_new(void)
{
    struct storage *storage = MEM_NEW(struct storage);
    storage->block_max = 120;
    arena_init(&storage->arena, 0);
    return storage;
}

void fake_storage_clear(struct storage *storage)
{
    VEC_EACH (series, &storage->series) {
        labels_unref(series->labels);
        VEC_FREE(&series->times);
        VEC_FREE(&series->values);
        VEC_FREE(&series->histograms);
    }
    VEC_CLEAR(&storage->series);
    arena_reset(&storage->arena);
}

void fake_storage_free(struct storage *storage)
{
    fake_storage_clear(storage);
    VEC_FREE(&storage->series);
    arena_deinit(&storage->arena);
    mem_free(storage);
}

static struct fake_series *series_of(struct storage *storage, const struct labels *labels)
{
    VEC_EACH (series, &storage->series)
        if (labels_eq(series->labels, labels))
            return series;
    struct fake_series fresh = {.labels = labels_new(labels->items, labels->count)};
    VEC_PUSH(&storage->series, fresh);
    return &storage->series.items[storage->series.count - 1];
}

static void put(struct fake_series *series, int64_t time_ms, double value,
                const struct histogram *histogram)
{
    size_t at = series->times.count;
    while (at > 0 && series->times.items[at - 1] >= time_ms)
        at--;
    if (at == series->times.count || series->times.items[at] != time_ms) {
        VEC_PUSH(&series->times, time_ms);
        VEC_PUSH(&series->values, value);
        VEC_PUSH(&series->histograms, histogram);
        for (size_t i = series->times.count - 1; i > at; i--) {
            series->times.items[i] = series->times.items[i - 1];
            series->values.items[i] = series->values.items[i - 1];
            series->histograms.items[i] = series->histograms.items[i - 1];
        }
    }
    series->times.items[at] = time_ms;
    series->values.items[at] = value;
    series->histograms.items[at] = histogram;
}

void fake_storage_add(struct storage *storage, const struct labels *labels, int64_t time_ms,
                      double value)
{
    put(series_of(storage, labels), time_ms, value, NULL);
}

static bool same_layout(const struct histogram *a, const struct histogram *b)
{
    return a->schema == b->schema && a->zero_threshold == b->zero_threshold &&
           a->bound_count == b->bound_count &&
           (a->bound_count == 0 ||
            memcmp(a->bounds, b->bounds, a->bound_count * sizeof(double)) == 0);
}

static uint8_t hint_after(const struct fake_series *series, int64_t time_ms,
                          const struct histogram *histogram)
{
    const struct histogram *before = NULL;
    struct histogram unknown = *histogram;
    if (histogram->hint == HISTOGRAM_GAUGE)
        return histogram->hint;
    if (histogram->hint == HISTOGRAM_RESET)
        return HISTOGRAM_UNKNOWN_RESET;
    for (size_t i = 0; i < series->times.count && series->times.items[i] < time_ms; i++)
        before = series->histograms.items[i];
    if (!before || before->hint == HISTOGRAM_GAUGE)
        return HISTOGRAM_UNKNOWN_RESET;
    if (histogram_is_stale(histogram))
        return HISTOGRAM_NOT_RESET;
    unknown.hint = HISTOGRAM_UNKNOWN_RESET;
    bool starts_anew = histogram_is_stale(before) || !same_layout(histogram, before) ||
                       histogram_was_reset(&unknown, before);
    return starts_anew ? HISTOGRAM_UNKNOWN_RESET : HISTOGRAM_NOT_RESET;
}

void fake_storage_add_histogram(struct storage *storage, const struct labels *labels,
                                int64_t time_ms, const struct histogram *histogram)
{
    struct fake_series *series = series_of(storage, labels);
    struct histogram *copy = histogram_copy(&storage->arena, histogram);
    copy->hint = hint_after(series, time_ms, histogram);
    series->has_histograms = true;
    put(series, time_ms, 0, copy);
}

void fake_storage_fail(struct storage *storage, const char *select_text, const char *read_text)
{
    storage->select_text = select_text;
    storage->read_text = read_text;
}

size_t fake_storage_reads(const struct storage *storage)
{
    return storage->reads;
}

void fake_storage_set_block(struct storage *storage, size_t samples)
{
    storage->block_max = samples;
}

/* --- storage.h --- */

static bool has_samples(const struct fake_series *series, int64_t from_ms, int64_t to_ms)
{
    for (size_t i = 0; i < series->times.count; i++)
        if (series->times.items[i] >= from_ms && series->times.items[i] <= to_ms)
            return true;
    return false;
}

static struct storage *sorting;

static int compare_found(const void *a, const void *b)
{
    return labels_cmp(sorting->series.items[*(const size_t *)a].labels,
                      sorting->series.items[*(const size_t *)b].labels);
}

bool storage_select(struct storage *storage, const struct matcher *matchers, size_t matcher_count,
                    int64_t from_ms, int64_t to_ms, struct selection **out, struct err *err)
{
    if (storage->select_text)
        return err_set(err, ERR_INTERNAL, "%s", storage->select_text);
    struct selection *selection = MEM_NEW(struct selection);
    *selection = (struct selection){.storage = storage, .from_ms = from_ms, .to_ms = to_ms};
    for (size_t i = 0; i < storage->series.count; i++)
        if (has_samples(&storage->series.items[i], from_ms, to_ms) &&
            matchers_match(matchers, matcher_count, storage->series.items[i].labels))
            VEC_PUSH(&selection->found, i);
    sorting = storage;
    VEC_SORT(&selection->found, compare_found);
    *out = selection;
    return true;
}

void selection_free(struct selection *selection)
{
    if (!selection)
        return;
    VEC_FREE(&selection->found);
    mem_free(selection);
}

/* Now and then known, so that both ways are taken. */
bool selection_newest(const struct selection *selection, size_t index, int64_t *time_ms,
                      double *value)
{
    const struct fake_series *series =
        &selection->storage->series.items[selection->found.items[index]];
    size_t count = series->times.count;
    if (count % 2 || count == 0 || series->histograms.items[count - 1] ||
        series->times.items[count - 1] < selection->from_ms ||
        series->times.items[count - 1] > selection->to_ms)
        return false;
    *time_ms = series->times.items[count - 1];
    *value = series->values.items[count - 1];
    return true;
}

uint64_t storage_select_weight(struct storage *storage, const struct matcher *matchers,
                               size_t matcher_count, int64_t from_ms)
{
    (void)matchers;
    (void)matcher_count;
    return from_ms < 0 ? UINT64_MAX : storage->series.count;
}

uint64_t selection_bytes(const struct selection *selection)
{
    (void)selection;
    return 0;
}

size_t selection_count(const struct selection *selection)
{
    return selection->found.count;
}

struct labels *selection_labels(const struct selection *selection, size_t index)
{
    ENSURE(index < selection->found.count);
    return selection->storage->series.items[selection->found.items[index]].labels;
}

struct cursor *cursor_new(const struct selection *selection)
{
    struct cursor *cursor = MEM_NEW(struct cursor);
    cursor->selection = selection;
    return cursor;
}

void cursor_free(struct cursor *cursor)
{
    mem_free(cursor);
}

void cursor_seek(struct cursor *cursor, size_t index)
{
    const struct selection *selection = cursor->selection;
    ENSURE(index < selection->found.count);
    cursor->series = &selection->storage->series.items[selection->found.items[index]];
    cursor->at = 0;
    while (cursor->at < cursor->series->times.count &&
           cursor->series->times.items[cursor->at] < selection->from_ms)
        cursor->at++;
    cursor->end = cursor->at;
    while (cursor->end < cursor->series->times.count &&
           cursor->series->times.items[cursor->end] <= selection->to_ms)
        cursor->end++;
    __atomic_fetch_add(&selection->storage->reads, 1, __ATOMIC_RELAXED);
}

bool cursor_next(struct cursor *cursor, struct sample_block *out, struct err *err)
{
    const struct storage *storage = cursor->selection->storage;
    if (storage->read_text)
        return err_set(err, ERR_CORRUPT, "%s", storage->read_text);
    size_t left = cursor->end - cursor->at;
    *out = (struct sample_block){.count = left < storage->block_max ? left : storage->block_max};
    if (left == 0)
        return true;
    out->time_ms = cursor->series->times.items + cursor->at;
    out->value = cursor->series->values.items + cursor->at;
    if (cursor->series->has_histograms)
        out->histogram = cursor->series->histograms.items + cursor->at;
    cursor->at += out->count;
    return true;
}
