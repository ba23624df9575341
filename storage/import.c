/* import: samples of any time, in any order, into the days of a store that no server uses.
 *
 *     storage_import_add -> a batch in memory --full--> sorted: <path>/import.tmp/<from>, an open partition for each span
 *     storage_import_finish -> span by span: day_build over that and the day that is there -> <from>-<to>.mdb
 *
 * A span is a UTC day, or what other files of the store leave of one. Memory: one batch, however large the input is. A
 * series gets a new id in each batch: the build puts equal label sets together.
 *
 * Each day appears whole, by a rename; a run that was ended in its middle is begun again, and what it did is merged with
 * itself. Where the store has a sample of the same time already, that stays. Deletes that a day does not know yet
 * are applied to it first, so that they do not take what is imported now. Samples of a span with an open partition go to a
 * day beside it, which the server merges. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "store.h"

#define BATCH_SAMPLES ((size_t)1 << 20)
#define BATCH_LABELS  ((size_t)32 << 20)
#define TXN_BYTES     ((size_t)16 << 20)
#define DAY_MS        (INT64_C(24) * 60 * 60 * 1000)
#define GROUP_KEY     UINT64_C(1)

struct import_sample {
    int64_t time_ms;
    uint64_t bits;
    uint32_t series, order;
};

struct import_series {
    size_t at, len; /* Of its encoded labels in the batch. */
    uint64_t hash;
};

struct storage_import {
    struct storage *storage; /* Days, deletes, the lock. */
    char *scratch;           /* <path>/import.tmp */
    VEC(struct span) spans;  /* That have samples. */
    VEC(struct import_sample) samples;
    VEC(struct import_series) series;
    struct buf labels, one;
    struct map by_labels;
    VEC(struct span) taken; /* Of the files that are there. */
};

/* --- open and close --- */

static void remove_scratch(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        char below[4400];
        struct err err = {0};
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        if (!file_unlink(below, &err))
            LOG_W("A scratch file could not be removed", "err", err.text);
    }
    if (dir) {
        closedir(dir);
        (void)rmdir(path);
    }
}

/* YYYYMMDDTHHZ */
static bool parse_stamp(const char *text, int64_t *out_ms)
{
    struct tm civil = {0};
    if (sscanf(text, "%4d%2d%2dT%2dZ", &civil.tm_year, &civil.tm_mon, &civil.tm_mday,
               &civil.tm_hour) != 4)
        return false;
    civil.tm_year -= 1900;
    civil.tm_mon -= 1;
    *out_ms = (int64_t)timegm(&civil) * 1000;
    return true;
}

static void take_span(struct storage_import *import, struct span span)
{
    VEC_EACH (known, &import->taken) {
        if (known->from_ms == span.from_ms && known->to_ms == span.to_ms)
            return;
    }
    VEC_PUSH(&import->taken, span);
}

/* The spans of days, and those in the names of open partitions: <from>-<to>.open.mdb */
static bool note_taken(struct storage_import *import, struct err *err)
{
    const struct file_list *list = file_list_now(import->storage);
    DIR *dir = opendir(import->storage->dir);
    if (!dir)
        return err_errno(err, errno, "open %s", import->storage->dir);
    for (uint32_t i = 0; list && i < list->count; i++)
        take_span(import, (struct span){list->items[i].from_ms, list->items[i].to_ms});
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *dash = strchr(entry->d_name, '-');
        struct span span;
        if (dash && str_ends(str_of(entry->d_name), STR(".open.mdb")) &&
            parse_stamp(entry->d_name, &span.from_ms) && parse_stamp(dash + 1, &span.to_ms) &&
            span.from_ms < span.to_ms)
            take_span(import, span);
    }
    closedir(dir);
    return true;
}

static bool load_deletes(struct storage *storage, struct err *err)
{
    static const char *const tables[HEAD_TABLES] = {"meta", "sealed", "tombstones"};
    char path[4096];
    snprintf(path, sizeof(path), "%s/head.mdb", storage->dir);
    if (access(path, F_OK) != 0)
        return true;
    return kv_open(&storage->head, path, tables, HEAD_TABLES, err) &&
           tombstone_load_all(storage, err);
}

bool storage_import_open(struct storage_import **out, struct str path, struct err *err)
{
    struct storage_import *import = MEM_NEW(struct storage_import);
    char text[4096];
    buf_init(&import->labels, (size_t)1 << 31);
    buf_init(&import->one, (size_t)64 << 20);
    map_init(&import->by_labels);
    snprintf(text, sizeof(text), STR_FMT "/import.tmp", STR_ARG(path));
    import->scratch = str_dup(str_of(text));
    snprintf(text, sizeof(text), STR_FMT "/narthex", STR_ARG(path));
    bool good = file_mkdirs(text, err) && storage_open_readonly(&import->storage, path, err);
    snprintf(text, sizeof(text), STR_FMT "/narthex/lock", STR_ARG(path));
    good = good && file_lock(text, &import->storage->lock_fd, err) &&
           load_deletes(import->storage, err);
    if (good) {
        remove_scratch(import->scratch);
        good = file_mkdirs(import->scratch, err) && note_taken(import, err);
    }
    if (!good) {
        storage_import_close(import);
        return false;
    }
    *out = import;
    return true;
}

void storage_import_close(struct storage_import *import)
{
    if (!import)
        return;
    if (import->storage && import->storage->lock_fd >= 0)
        remove_scratch(import->scratch);
    storage_close(import->storage);
    mem_free(import->scratch);
    VEC_FREE(&import->spans);
    VEC_FREE(&import->samples);
    VEC_FREE(&import->series);
    VEC_FREE(&import->taken);
    buf_deinit(&import->labels);
    buf_deinit(&import->one);
    map_deinit(&import->by_labels);
    mem_free(import);
}

/* --- a batch to the scratch partitions --- */

/* The UTC day of a time, cut where other files begin; or the file's own span. */
static struct span span_of(const struct storage_import *import, int64_t time_ms)
{
    int64_t number = time_ms / DAY_MS - (time_ms % DAY_MS < 0);
    struct span span = {number * DAY_MS, number * DAY_MS + DAY_MS};
    for (size_t i = 0; i < import->taken.count; i++) {
        const struct span *taken = &import->taken.items[i];
        if (time_ms >= taken->from_ms && time_ms < taken->to_ms)
            return *taken;
        if (taken->to_ms <= time_ms && taken->to_ms > span.from_ms)
            span.from_ms = taken->to_ms;
        if (taken->from_ms > time_ms && taken->from_ms < span.to_ms)
            span.to_ms = taken->from_ms;
    }
    return span;
}

static int compare_sample(const void *a, const void *b)
{
    const struct import_sample *x = a, *y = b;
    if (x->series != y->series)
        return x->series < y->series ? -1 : 1;
    if (x->time_ms != y->time_ms)
        return x->time_ms < y->time_ms ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* The scratch partition of a span, while a part of a batch goes into it. */
struct scratch {
    struct storage_import *import;
    struct kv *kv;
    struct kv_write *write;
    size_t write_bytes;
    uint64_t next_id, next_key;
    struct bundle_writer bundle;
    struct time_vec times; /* Of the bundle's last column. */
    uint16_t column;
    struct samples samples;
    struct buf bytes;
};

static bool scratch_begin(struct scratch *scratch, struct err *err)
{
    bool found;
    uint64_t last;
    scratch->write_bytes = 0;
    if (!kv_write_begin(scratch->kv, &scratch->write, err) ||
        !kv_last_key(scratch->write, PARTITION_SERIES, &found, &last, err))
        return false;
    scratch->next_id = found ? last + 1 : 1;
    if (!kv_last_key(scratch->write, PARTITION_BUNDLES, &found, &last, err))
        return false;
    scratch->next_key = found ? last + 1 : 1;
    bundle_writer_begin(&scratch->bundle, GROUP_KEY, 0);
    VEC_CLEAR(&scratch->times);
    return true;
}

static bool scratch_flush(struct scratch *scratch, struct err *err)
{
    if (scratch->bundle.runs.count == 0)
        return true;
    bundle_writer_finish(&scratch->bundle, &scratch->bytes);
    scratch->write_bytes += scratch->bytes.len;
    bool good = kv_append(scratch->write, PARTITION_BUNDLES, scratch->next_key++,
                          buf_str(&scratch->bytes), err);
    bundle_writer_begin(&scratch->bundle, GROUP_KEY, 0);
    VEC_CLEAR(&scratch->times);
    return good;
}

static bool scratch_commit(struct scratch *scratch, struct err *err)
{
    struct kv_write *write = scratch->write;
    if (!scratch_flush(scratch, err))
        return false;
    scratch->write = NULL;
    return kv_commit(write, err);
}

static bool same_times(const struct time_vec *times, const int64_t *time_ms, size_t count)
{
    return times->count == count && count > 0 &&
           memcmp(times->items, time_ms, count * sizeof(time_ms[0])) == 0;
}

/* One run: neighbours with the same times share a column. */
static bool add_run(struct scratch *scratch, uint64_t id, size_t from, uint32_t rows,
                    struct err *err)
{
    const int64_t *time_ms = scratch->samples.time_ms + from;
    uint32_t first, last;
    if (!same_times(&scratch->times, time_ms, rows)) {
        scratch->column = bundle_writer_column(&scratch->bundle, time_ms, rows);
        VEC_CLEAR(&scratch->times);
        VEC_RESERVE(&scratch->times, rows);
        memcpy(scratch->times.items, time_ms, rows * sizeof(time_ms[0]));
        scratch->times.count = rows;
    }
    buf_clear(&scratch->bytes);
    stream_write(&scratch->samples, from, rows, time_ms, rows, &scratch->bytes, &first, &last);
    bundle_writer_run(&scratch->bundle, id, scratch->column, first, last, time_ms[0],
                      time_ms[rows - 1], buf_str(&scratch->bytes));
    return !bundle_writer_is_full(&scratch->bundle) || scratch_flush(scratch, err);
}

/* The samples of one series, by time. */
static bool add_series(struct scratch *scratch, const struct import_sample *items, size_t count,
                       struct err *err)
{
    const struct storage_import *import = scratch->import;
    const struct import_series *series = &import->series.items[items[0].series];
    struct str labels = str_from(import->labels.ptr + series->at, series->len);
    uint64_t id = scratch->next_id++;
    if (!kv_append(scratch->write, PARTITION_SERIES, id, labels, err))
        return false;
    scratch->write_bytes += labels.len;
    samples_clear(&scratch->samples);
    samples_reserve(&scratch->samples, count);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || items[i - 1].time_ms != items[i].time_ms) /* The first one counts. */
            samples_add(&scratch->samples, items[i].time_ms, sample_from_bits(items[i].bits));
    }
    for (size_t from = 0; from < scratch->samples.count;) {
        size_t rows = scratch->samples.count - from;
        rows = rows < STREAM_ROWS_MAX ? rows : STREAM_ROWS_MAX;
        if (!add_run(scratch, id, from, (uint32_t)rows, err))
            return false;
        from += rows;
    }
    return true;
}

static void scratch_path(const struct storage_import *import, const struct span *span, char *out,
                         size_t len)
{
    snprintf(out, len, "%s/%" PRId64 ".mdb", import->scratch, span->from_ms);
}

static bool scratch_open(struct storage_import *import, const struct span *span, struct kv **out,
                         struct err *err)
{
    char path[4400];
    scratch_path(import, span, path, sizeof(path));
    return kv_open(out, path, PARTITION_TABLE_NAMES, PARTITION_TABLES, err);
}

static void note_span(struct storage_import *import, const struct span *span)
{
    VEC_EACH (known, &import->spans) {
        if (known->from_ms == span->from_ms)
            return;
    }
    VEC_PUSH(&import->spans, *span);
}

static bool write_span(struct storage_import *import, const struct span *span,
                       struct import_sample *items, size_t count, struct err *err)
{
    struct scratch scratch = {.import = import};
    note_span(import, span);
    qsort(items, count, sizeof(*items), compare_sample);
    bundle_writer_init(&scratch.bundle);
    samples_init(&scratch.samples);
    buf_init(&scratch.bytes, (size_t)1 << 31);
    bool good = scratch_open(import, span, &scratch.kv, err) && scratch_begin(&scratch, err);
    for (size_t from = 0, to; good && from < count; from = to) {
        for (to = from + 1; to < count && items[to].series == items[from].series;)
            to++;
        good = add_series(&scratch, items + from, to - from, err);
        if (good && scratch.write_bytes > TXN_BYTES)
            good = scratch_commit(&scratch, err) && scratch_begin(&scratch, err);
    }
    good = good && scratch_commit(&scratch, err);
    if (!good && scratch.write)
        kv_abort(scratch.write);
    kv_close(scratch.kv);
    bundle_writer_deinit(&scratch.bundle);
    samples_deinit(&scratch.samples);
    buf_deinit(&scratch.bytes);
    VEC_FREE(&scratch.times);
    return good;
}

static int compare_time(const void *a, const void *b)
{
    const struct import_sample *x = a, *y = b;
    return (x->time_ms > y->time_ms) - (x->time_ms < y->time_ms);
}

static bool flush(struct storage_import *import, struct err *err)
{
    struct import_sample *items = import->samples.items;
    size_t count = import->samples.count;
    bool good = true;
    if (count > 1)
        qsort(items, count, sizeof(*items), compare_time);
    for (size_t from = 0, to; good && from < count; from = to) {
        struct span span = span_of(import, items[from].time_ms);
        for (to = from + 1; to < count && items[to].time_ms < span.to_ms;)
            to++;
        good = write_span(import, &span, items + from, to - from, err);
    }
    VEC_CLEAR(&import->samples);
    VEC_CLEAR(&import->series);
    buf_clear(&import->labels);
    map_clear(&import->by_labels);
    return good;
}

/* --- adding --- */

static bool labels_equal(const void *ctx, const void *key, uint32_t at)
{
    const struct storage_import *import = ctx;
    const struct import_series *series = &import->series.items[at];
    const struct str *wanted = key;
    return str_eq(str_from(import->labels.ptr + series->at, series->len), *wanted);
}

bool storage_import_add(struct storage_import *import, const struct label *labels, size_t count,
                        int64_t time_ms, double value, struct err *err)
{
    if (count == 0 || count > SERIES_LABELS_MAX)
        return err_set(err, ERR_BAD_DATA, "a series with %zu labels cannot be kept", count);
    if (time_ms < -TIME_MS_MAX || time_ms > TIME_MS_MAX)
        return err_set(err, ERR_BAD_DATA, "timestamp %" PRId64 " is out of bounds", time_ms);
    buf_clear(&import->one);
    series_labels_encode(labels, count, &import->one);
    if (import->one.overflow || import->one.len > SERIES_BYTES_MAX)
        return err_set(err, ERR_BAD_DATA, "a series' labels are too long");
    struct str key = buf_str(&import->one);
    uint64_t hash = hash64(key);
    uint32_t at = map_find(&import->by_labels, hash, &key, labels_equal, import);
    if (at == MAP_NONE) {
        struct import_series series = {.at = import->labels.len, .len = key.len, .hash = hash};
        at = (uint32_t)import->series.count;
        buf_add_str(&import->labels, key);
        VEC_PUSH(&import->series, series);
        map_insert(&import->by_labels, hash, at);
    }
    struct import_sample sample = {time_ms, sample_bits(value), at,
                                   (uint32_t)import->samples.count};
    VEC_PUSH(&import->samples, sample);
    return (import->samples.count < BATCH_SAMPLES && import->labels.len < BATCH_LABELS) ||
           flush(import, err);
}

/* --- days --- */

static struct day_file *day_of(const struct storage *storage, const struct span *span)
{
    const struct file_list *list = file_list_now(storage);
    for (uint32_t i = 0; list && i < list->count; i++) {
        if (list->items[i].day && list->items[i].from_ms == span->from_ms &&
            list->items[i].to_ms == span->to_ms)
            return list->items[i].day;
    }
    return NULL;
}

static bool build(struct storage_import *import, const struct span *span,
                  const struct day_input *inputs, size_t count, struct tombstone_list *deletes,
                  char **path, struct err *err)
{
    const struct tombstone_list *all = tombstone_list_now(import->storage);
    struct day_build plan = {.inputs = inputs,
                             .input_count = count,
                             .from_ms = span->from_ms,
                             .to_ms = span->to_ms,
                             .cutoff_ms = INT64_MIN,
                             .dir = import->storage->dir,
                             .sequence_last = all ? all->sequence_last : 0,
                             .deleted = deletes ? tombstone_ranges : NULL,
                             .deleted_ctx = deletes};
    return day_build_run(&plan, path, err);
}

/* The day as it is without what has been deleted from it; *out NULL: nothing is left, or there is none. */
static bool day_without_deleted(struct storage_import *import, const struct span *span,
                                struct day_file **out, struct err *err)
{
    struct day_file *day = day_of(import->storage, span);
    const struct tombstone_list *all = tombstone_list_now(import->storage);
    struct err why = {0};
    char *path = NULL;
    *out = day ? day_file_ref(day) : NULL;
    if (!day || !all || day_file_info(day)->sequence_last >= all->sequence_last)
        return true;
    struct tombstone_list *deletes =
        tombstone_list_over(import->storage, span->from_ms, span->to_ms);
    struct day_input input = {.day = day};
    bool good = deletes->count == 0 || build(import, span, &input, 1, deletes, &path, &why);
    if (path) {
        day_file_unref(*out);
        *out = NULL;
        good = day_file_open(out, path, &why);
        mem_free(path);
    } else if (!good && why.code == ERR_NOT_FOUND) {
        day_file_unref(*out);
        *out = NULL;
        return true;
    }
    tombstone_list_free(deletes);
    if (!good)
        *err = why;
    return good;
}

static bool finish_span(struct storage_import *import, const struct span *span,
                        storage_file_fn told, void *ctx, struct err *err)
{
    struct day_input inputs[2] = {{0}};
    struct day_file *old = NULL, *made = NULL;
    struct kv *kv = NULL;
    size_t count = 0;
    char *path = NULL;
    bool good =
        scratch_open(import, span, &kv, err) && day_without_deleted(import, span, &old, err);
    inputs[count++].kv = kv;
    if (old)
        inputs[count++].day = old;
    good = good && build(import, span, inputs, count, NULL, &path, err) &&
           day_file_open(&made, path, err);
    mem_free(path);
    kv_close(kv);
    if (good) {
        const char *name = strrchr(day_file_path(made), '/') + 1;
        const struct day_info *info = day_file_info(made);
        struct storage_file file = {.name = str_of(name),
                                    .is_day = true,
                                    .from_ms = info->from_ms,
                                    .to_ms = info->to_ms,
                                    .time_min_ms = info->time_min_ms,
                                    .time_max_ms = info->time_max_ms,
                                    .series = info->series_count,
                                    .samples = info->sample_count,
                                    .bytes = info->bytes};
        (void)told(ctx, &file);
    }
    day_file_unref(made);
    day_file_unref(old);
    return good;
}

static int compare_span(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return (x->from_ms > y->from_ms) - (x->from_ms < y->from_ms);
}

bool storage_import_finish(struct storage_import *import, storage_file_fn told, void *ctx,
                           struct err *err)
{
    if (!flush(import, err))
        return false;
    VEC_SORT(&import->spans, compare_span);
    for (size_t i = 0; i < import->spans.count; i++) {
        const struct span *span = &import->spans.items[i];
        char path[4400], lock_path[4410];
        if (!finish_span(import, span, told, ctx, err))
            return false;
        scratch_path(import, span, path, sizeof(path));
        snprintf(lock_path, sizeof(lock_path), "%s-lock", path);
        if (!file_unlink(path, err) || !file_unlink(lock_path, err))
            return false;
    }
    VEC_CLEAR(&import->spans);
    return true;
}
