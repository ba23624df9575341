/* fake_append: a stand-in for storage's append side that remembers all samples, for tests of what
 * is stored.
 *
 * Included by one test (defines storage_* functions, which win over the library's). Same time and
 * series twice: the second is SAMPLE_SAME or SAMPLE_DUPLICATE; older than the newest:
 * SAMPLE_OUT_OF_ORDER. */
#ifndef TESTS_FAKE_APPEND_H
#define TESTS_FAKE_APPEND_H

#include <math.h>

#include "base/log.h"
#include "model/histogram_math.h"
#include "model/sample.h"
#include "storage.h"

struct fake_series {
    struct labels *labels;
    int pins;
    VEC(struct sample) samples; /* A histogram: its count; `histogram` has the newest. */
    struct buf histogram;       /* As printed; empty: none. */
    struct buf exemplars;       /* All of them: {trace="x"} 1 @17; */
};

struct storage {
    VEC(struct fake_series) series;
    size_t series_max; /* 0: none. */
    int open_groups;
    size_t append_count;
    size_t exemplars_max;
};

struct storage_group {
    struct storage *storage;
    uint64_t key;
};

static void fake_deinit(struct storage *storage)
{
    VEC_EACH (series, &storage->series) {
        labels_unref(series->labels);
        VEC_FREE(&series->samples);
        buf_deinit(&series->histogram);
        buf_deinit(&series->exemplars);
    }
    VEC_FREE(&storage->series);
}

static int fake_pins(const struct storage *storage)
{
    int pins = 0;

    for (size_t i = 0; i < storage->series.count; i++)
        pins += storage->series.items[i].pins;
    return pins;
}

/* The series whose labels print as `text`, or NULL. */
static const struct fake_series *fake_find(const struct storage *storage, const char *text)
{
    for (size_t i = 0; i < storage->series.count; i++) {
        struct buf printed;
        buf_init(&printed, 1 << 20);
        labels_print_metric(&printed, storage->series.items[i].labels);
        bool same = str_eq(buf_str(&printed), str_of(text));
        buf_deinit(&printed);
        if (same)
            return &storage->series.items[i];
    }
    return NULL;
}

/* The newest value of a series; NaN with the bits of a stale marker counts as a value. */
static inline bool fake_last(const struct storage *storage, const char *text, double *out)
{
    const struct fake_series *series = fake_find(storage, text);

    if (!series || series->samples.count == 0)
        return false;
    *out = series->samples.items[series->samples.count - 1].value;
    return true;
}

struct storage_group *storage_group_open(struct storage *storage, uint64_t key)
{
    struct storage_group *group = MEM_NEW(struct storage_group);

    group->storage = storage;
    group->key = key;
    storage->open_groups++;
    return group;
}

void storage_group_close(struct storage_group *group)
{
    if (!group)
        return;
    group->storage->open_groups--;
    mem_free(group);
}

series_ref storage_series(struct storage *storage, struct storage_group *group,
                          const struct label *labels, size_t label_count, uint64_t hash,
                          struct err *err)
{
    ENSURE(group->storage == storage && label_count > 0);
    ENSURE(hash == labels_hash(labels, label_count));
    struct labels *wanted = labels_new(labels, label_count);
    for (size_t i = 0; i < storage->series.count; i++) {
        if (!labels_eq(storage->series.items[i].labels, wanted))
            continue;
        labels_unref(wanted);
        storage->series.items[i].pins++;
        return (series_ref)i;
    }
    if (storage->series_max > 0 && storage->series.count >= storage->series_max) {
        labels_unref(wanted);
        err_set(err, ERR_LIMIT, "series limit reached");
        return SERIES_REF_NONE;
    }
    struct fake_series added = {.labels = wanted, .pins = 1};
    buf_init(&added.histogram, 1 << 16);
    buf_init(&added.exemplars, 1 << 16);
    VEC_PUSH(&storage->series, added);
    return (series_ref)(storage->series.count - 1);
}

void storage_series_release(struct storage *storage, series_ref ref)
{
    ENSURE(ref < storage->series.count && storage->series.items[ref].pins > 0);
    storage->series.items[ref].pins--;
}

struct labels *storage_series_labels(struct storage *storage, series_ref ref)
{
    return labels_ref(storage->series.items[ref].labels);
}

static enum sample_outcome fake_take(struct fake_series *series, int64_t time_ms, double value)
{
    if (series->samples.count > 0) {
        struct sample last = series->samples.items[series->samples.count - 1];
        if (last.time_ms == time_ms)
            return sample_bits(last.value) == sample_bits(value) ? SAMPLE_SAME : SAMPLE_DUPLICATE;
        if (last.time_ms > time_ms)
            return SAMPLE_OUT_OF_ORDER;
    }
    struct sample sample = {time_ms, value};
    VEC_PUSH(&series->samples, sample);
    return SAMPLE_STORED;
}

bool storage_append(struct storage *storage, struct storage_group *group, struct batch *batch,
                    const struct append_options *options, struct append_result *result,
                    struct err *err)
{
    (void)options;
    (void)err;
    ENSURE(group->storage == storage);
    *result = (struct append_result){0};
    storage->append_count++;
    VEC_EACH (sample, &batch->samples) {
        ENSURE(sample->ref < storage->series.count && storage->series.items[sample->ref].pins > 0);
        struct fake_series *series = &storage->series.items[sample->ref];
        bool is_float = sample->kind == SAMPLE_FLOAT;
        enum sample_outcome outcome =
            fake_take(series, sample->time_ms, is_float ? sample->value : sample->histogram->count);
        buf_clear(&series->histogram);
        if (!is_float)
            histogram_print(&series->histogram, sample->histogram);
        sample->outcome = (uint8_t)outcome;
        result->outcome_count[outcome]++;
    }
    return true;
}

enum exemplar_outcome storage_exemplar_add(struct storage *storage, series_ref ref,
                                           const struct exemplar *exemplar)
{
    struct buf *out = &storage->series.items[ref].exemplars;

    ENSURE(storage->exemplars_max > 0 && storage->series.items[ref].pins > 0);
    struct labels *labels = labels_new(exemplar->labels, exemplar->label_count);
    labels_print(out, labels);
    labels_unref(labels);
    buf_addf(out, " %g @%lld;", exemplar->value, (long long)exemplar->time_ms);
    return EXEMPLAR_STORED;
}

size_t storage_get_exemplars_max(const struct storage *storage)
{
    return storage->exemplars_max;
}

#endif
