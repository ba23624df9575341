/* fake_storage: see the header. */
#include "fake_storage.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/vec.h"
#include "model/sample.h"

struct fake_series {
    struct labels *labels;
    VEC(int64_t) times;
    VEC(double) values;
};

struct storage {
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
    return storage;
}

void fake_storage_clear(struct storage *storage)
{
    VEC_EACH (series, &storage->series) {
        labels_unref(series->labels);
        VEC_FREE(&series->times);
        VEC_FREE(&series->values);
    }
    VEC_CLEAR(&storage->series);
}

void fake_storage_free(struct storage *storage)
{
    fake_storage_clear(storage);
    VEC_FREE(&storage->series);
    mem_free(storage);
}

void fake_storage_add(struct storage *storage, const struct labels *labels, int64_t time_ms,
                      double value)
{
    struct fake_series *found = NULL;
    VEC_EACH (series, &storage->series)
        if (labels_eq(series->labels, labels))
            found = series;
    if (!found) {
        struct fake_series fresh = {.labels = labels_new(labels->items, labels->count)};
        VEC_PUSH(&storage->series, fresh);
        found = &storage->series.items[storage->series.count - 1];
    }
    size_t at = found->times.count;
    while (at > 0 && found->times.items[at - 1] >= time_ms)
        at--;
    if (at < found->times.count && found->times.items[at] == time_ms) {
        found->values.items[at] = value;
        return;
    }
    VEC_PUSH(&found->times, time_ms);
    VEC_PUSH(&found->values, value);
    for (size_t i = found->times.count - 1; i > at; i--) {
        found->times.items[i] = found->times.items[i - 1];
        found->values.items[i] = found->values.items[i - 1];
    }
    found->times.items[at] = time_ms;
    found->values.items[at] = value;
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
    selection->storage->reads++;
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
    cursor->at += out->count;
    return true;
}
