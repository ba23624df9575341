/* storage: opens and closes the parts in order, runs what is due, and tells figures. */
#include "storage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store.h"

#define RETENTION_CHECK_MS 60000

void storage_options_init(struct storage_options *options)
{
    *options = (struct storage_options){
        .path = STR("data"),
        .retention_ms = INT64_C(15) * 24 * 60 * 60 * 1000,
        .slot_ms = 30 * 60 * 1000,
        .partition_ms = 24 * 60 * 60 * 1000,
        .fsync_interval_ms = 5000,
    };
}

/* mmap and flock over a network are not to be trusted: LMDB says so, and so do we. */
static void warn_of_network_file_system(const char *path)
{
    static const long network[] = {0x6969 /* NFS */, 0xff534d42 /* CIFS */, 0xfe534d42 /* SMB2 */,
                                   0x65735546 /* FUSE */};
    struct statfs info;
    if (statfs(path, &info) != 0)
        return;
    for (size_t i = 0; i < COUNT_OF(network); i++) {
        if ((unsigned long)info.f_type == (unsigned long)network[i])
            LOG_W("The data directory is on a network or user-space file system, which is not safe "
                  "for it",
                  "path", path);
    }
}

static void note_foreign_tsdb(const struct storage *storage)
{
    char path[4096];
    snprintf(path, sizeof(path), STR_FMT "/wal", STR_ARG(storage->options.path));
    if (access(path, F_OK) == 0)
        LOG_I("A Prometheus TSDB is in the data directory and stays untouched", "path", path);
}

static bool open_files(struct storage *storage, struct err *err)
{
    char path[4096];
    if (!file_mkdirs(storage->dir, err))
        return false;
    snprintf(path, sizeof(path), "%s/lock", storage->dir);
    if (!storage->options.no_lockfile && !file_lock(path, &storage->lock_fd, err))
        return false;
    warn_of_network_file_system(storage->dir);
    note_foreign_tsdb(storage);
    if (!partition_open_all(storage, err) || !log_replay(storage, err))
        return false;
    partition_save_labels(storage);
    return true;
}

bool storage_open(struct storage **out, const struct storage_options *options, struct err *err)
{
    struct storage *storage = MEM_NEW(struct storage);
    ENSURE(options->partition_ms > 0 && options->partition_ms % (2 * 60 * 60 * 1000) == 0);
    ENSURE(options->slot_ms > 0 && options->submit_commit);
    storage->options = *options;
    storage->options.path = str_of(str_dup(options->path));
    storage->lock_fd = -1;
    storage->dir = mem_alloc(options->path.len + 16);
    snprintf(storage->dir, options->path.len + 16, STR_FMT "/narthex", STR_ARG(options->path));
    epoch_init(&storage->epoch);
    storage->index = index_new(&storage->epoch);
    segments_init(&storage->series, sizeof(struct series), 4096);
    segments_init(&storage->gates, sizeof(struct group_gate), 1024);
    arena_init(&storage->pair_lists, 0);
    map_init(&storage->by_labels);
    map_init(&storage->by_id);
    storage->opening = true;
    map_init(&storage->by_key);
    map_init(&storage->scratch);
    list_init(&storage->seal_jobs);
    storage->next_id = storage->next_slot = 1;
    buf_init(&storage->log.pending, (size_t)1 << 30);
    file_init(&storage->log.file);
    atomic_init(&storage->time_max_ms, INT64_MIN);
    atomic_init(&storage->time_min_ms, INT64_MAX);
    storage->retired_until_ms = INT64_MIN;
    if (!open_files(storage, err)) {
        storage->log.segment = 0;
        storage_close(storage);
        return false;
    }
    storage->opening = false;
    map_deinit(&storage->by_id);
    storage->retention_checked_mono_ms = clock_mono_ms();
    *out = storage;
    return true;
}

void storage_close(struct storage *storage)
{
    if (!storage)
        return;
    log_close(storage);
    slot_free_all(storage);
    head_free(storage);
    epoch_deinit(&storage->epoch);
    partition_close_all(storage);
    index_free(storage->index);
    map_deinit(&storage->scratch);
    VEC_FREE(&storage->touched_groups);
    VEC_FREE(&storage->retired);
    if (storage->lock_fd >= 0)
        close(storage->lock_fd);
    mem_free((void *)(uintptr_t)storage->options.path.ptr);
    mem_free(storage->dir);
    mem_free(storage);
}

int64_t storage_tick(struct storage *storage, int64_t now_mono_ms)
{
    log_tick(storage, now_mono_ms);
    slot_tick(storage, now_mono_ms);
    partition_tick(storage);
    if (now_mono_ms - storage->retention_checked_mono_ms >= RETENTION_CHECK_MS) {
        storage->retention_checked_mono_ms = now_mono_ms;
        partition_retire_old(storage);
    }
    epoch_collect(&storage->epoch);
    int64_t next_log = log_next_ms(storage, now_mono_ms),
            next_slot = slot_next_ms(storage, now_mono_ms);
    return next_log < next_slot ? next_log : next_slot;
}

void storage_set_retention(struct storage *storage, int64_t retention_ms)
{
    storage->options.retention_ms = retention_ms;
    partition_retire_old(storage);
}

void storage_get_stats(const struct storage *storage, struct storage_stats *out)
{
    const struct partition_list *list = partition_list_now(storage);
    *out = storage->stats;
    out->label_pairs = index_pair_count(storage->index);
    out->chunks = storage->chunk_count;
    out->time_min_ms = atomic_load_explicit(&storage->time_min_ms, memory_order_relaxed);
    out->time_max_ms = atomic_load_explicit(&storage->time_max_ms, memory_order_relaxed);
    out->log_segment_current = storage->log.segment;
    out->log_segments = storage->log.segments.count;
    for (size_t i = 0; i < storage->log.segments.count; i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/log/%08" PRIu64, storage->dir,
                 storage->log.segments.items[i]);
        out->log_bytes += file_bytes(path);
    }
    for (uint32_t i = 0; list && i < list->count; i++)
        out->partition_bytes += file_bytes(list->items[i]->path);
    out->partitions = list ? list->count : 0;
    out->head_bytes = storage->chunk_bytes + index_bytes(storage->index) +
                      segments_bytes(&storage->series) + storage->pair_lists.bytes +
                      (storage->by_labels.mask + storage->by_id.mask + 2) * sizeof(struct map_slot);
}

static int compare_top(const void *a, const void *b)
{
    const struct storage_top_entry *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? 1 : -1;
    return str_cmp(x->name, y->name);
}

static void top_keep(struct storage_top *top, size_t limit)
{
    if (top->count > 1)
        qsort(top->items, top->count, sizeof(top->items[0]), compare_top);
    top->count = top->count < limit ? top->count : limit;
}

static void top_init(struct storage_top *top, struct arena *arena, size_t count_max)
{
    top->items = arena_alloc_array(arena, count_max ? count_max : 1, sizeof(top->items[0]));
    top->count = 0;
}

void storage_get_cardinality(struct storage *storage, size_t limit, struct arena *arena,
                             struct storage_cardinality *out)
{
    const struct index *index = storage->index;
    uint32_t names = index_name_count(index), pairs = index_pair_count(index);
    uint32_t metric_name = index_name_find(index, LABEL_NAME);
    top_init(&out->values_by_label, arena, names);
    top_init(&out->bytes_by_label, arena, names);
    top_init(&out->series_by_metric, arena, pairs);
    top_init(&out->series_by_pair, arena, pairs);
    for (uint32_t i = 0; i < names; i++) {
        const struct name_entry *name = index_name(index, i);
        struct id_view view = id_list_view(&name->pairs);
        uint64_t bytes = 0;
        for (uint32_t k = 0; k < view.count; k++)
            bytes += index_pair(index, view.items[k])->value.len;
        out->values_by_label.items[out->values_by_label.count++] =
            (struct storage_top_entry){name->text, view.count};
        out->bytes_by_label.items[out->bytes_by_label.count++] =
            (struct storage_top_entry){name->text, bytes};
    }
    for (uint32_t i = 0; i < pairs; i++) {
        const struct pair_entry *pair = index_pair(index, i);
        uint32_t count = id_list_view(&pair->postings).count;
        if (count == 0)
            continue;
        if (pair->name == metric_name)
            out->series_by_metric.items[out->series_by_metric.count++] =
                (struct storage_top_entry){pair->value, count};
        struct storage_top_entry entry = {.value = count};
        entry.name = arena_strf(arena, STR_FMT "=" STR_FMT,
                                STR_ARG(index_name(index, pair->name)->text), STR_ARG(pair->value));
        out->series_by_pair.items[out->series_by_pair.count++] = entry;
    }
    top_keep(&out->values_by_label, limit);
    top_keep(&out->bytes_by_label, limit);
    top_keep(&out->series_by_metric, limit);
    top_keep(&out->series_by_pair, limit);
}
