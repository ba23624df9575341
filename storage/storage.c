/* storage: opens and closes the parts in order, runs what is due, and tells figures. */
#include "storage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "exemplar.h"
#include "exemplar_log.h"
#include "store.h"

#define MAP_MOVE_SLOTS     4096 /* A tick: 0.2 ms. */
#define RETENTION_CHECK_MS 60000
#define EXEMPLARS_WAIT_MS  10

void storage_options_init(struct storage_options *options)
{
    *options = (struct storage_options){
        .path = STR("data"),
        .retention_ms = INT64_C(15) * 24 * 60 * 60 * 1000,
        .slot_ms = 30 * 60 * 1000,
        .partition_ms = 24 * 60 * 60 * 1000,
        .fsync_interval_ms = 5000,
        .spill_min = 8192,
        .build_delay_ms = 90 * 60 * 1000,
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

static bool can_write(const char *dir, struct err *err)
{
    struct stat info;
    int code = access(dir, W_OK | X_OK) == 0 ? 0 : errno;
    if (stat(dir, &info) == 0 && !S_ISDIR(info.st_mode))
        code = ENOTDIR;
    return !code || err_errno(err, code, "data directory %s cannot be written to", dir);
}

static bool open_files(struct storage *storage, struct err *err)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/log", storage->dir);
    if (!file_mkdirs(path, err) || !can_write(storage->dir, err) || !can_write(path, err))
        return false;
    snprintf(path, sizeof(path), "%s/lock", storage->dir);
    if (!storage->options.no_lockfile && !file_lock(path, &storage->lock_fd, err))
        return false;
    warn_of_network_file_system(storage->dir);
    note_foreign_tsdb(storage);
    if (!partition_open_all(storage, err) || !tombstone_load_all(storage, err) ||
        !log_replay(storage, err))
        return false;
    tombstone_cut(storage);
    retention_save_labels(storage);
    return true;
}

struct storage *storage_new(const struct storage_options *options)
{
    struct storage *storage = MEM_NEW(struct storage);
    storage->options = *options;
    storage->options.path = str_of(str_dup(options->path));
    storage->lock_fd = -1;
    storage->dir = mem_alloc(options->path.len + 16);
    snprintf(storage->dir, options->path.len + 16, STR_FMT "/narthex", STR_ARG(options->path));
    epoch_init(&storage->epoch);
    storage->index = index_new(&storage->epoch);
    segments_init(&storage->series, sizeof(struct series), 4096);
    segments_init(&storage->gates, sizeof(struct group_gate), 1024);
    segments_init(&storage->pair_units, sizeof(uint32_t), 1 << 15);
    map_init(&storage->by_labels);
    map_init(&storage->by_id);
    storage->opening = true;
    storage_set_exemplars_max(storage, options->exemplars_max);
    map_init(&storage->by_key);
    budget_init(&storage->budget);
    map_init(&storage->scratch);
    open_histograms_init(&storage->histograms);
    list_init(&storage->seal_jobs);
    list_init(&storage->snapshots);
    storage->next_id = storage->next_slot = 1;
    buf_init(&storage->log.pending, LOG_PENDING_MAX);
    file_init(&storage->log.file);
    atomic_init(&storage->time_max_ms, INT64_MIN);
    storage->retention_base_ms = INT64_MIN;
    atomic_init(&storage->time_min_ms, INT64_MAX);
    atomic_init(&storage->partition_length_ms, storage->options.partition_ms);
    if (!storage->options.submit_build) {
        storage->options.submit_build = options->submit_commit;
        storage->options.build_ctx = options->submit_ctx;
    }
    return storage;
}

bool storage_open(struct storage **out, const struct storage_options *options, struct err *err)
{
    ENSURE(options->partition_ms > 0 && options->partition_ms % (2 * 60 * 60 * 1000) == 0);
    ENSURE(options->slot_ms > 0 && options->submit_commit);
    struct storage *storage = storage_new(options);
    if (!open_files(storage, err)) {
        storage->log.segment = 0;
        storage_close(storage);
        return false;
    }
    storage->opening = false;
    partition_length_update(storage);
    storage->files_went = true; /* The log may have told of series that nothing has samples of. */
    map_deinit(&storage->by_id);
    storage->retention_checked_mono_ms = clock_mono_ms();
    *out = storage;
    return true;
}

void storage_close(struct storage *storage)
{
    if (!storage)
        return;
    snapshot_stop(storage);
    tombstone_clean_stop(storage);
    log_close(storage);
    publish_free(storage);
    seal_free_all(storage);
    late_free_all(storage);
    group_free_all(storage);
    open_histograms_deinit(&storage->histograms);
    epoch_deinit(&storage->epoch);
    tombstone_free_all(storage);
    VEC_FREE(&storage->cleaners);
    retention_free(storage);
    partition_close_all(storage);
    series_free_all(storage);
    index_free(storage->index);
    exemplar_ring_free(storage->exemplars);
    map_deinit(&storage->scratch);
    VEC_FREE(&storage->seen);
    VEC_FREE(&storage->order);
    budget_deinit(&storage->budget);
    VEC_FREE(&storage->touched_groups);
    if (storage->lock_fd >= 0)
        close(storage->lock_fd);
    mem_free((void *)(uintptr_t)storage->options.path.ptr);
    mem_free(storage->dir);
    mem_free(storage);
}

int64_t storage_tick(struct storage *storage, int64_t now_mono_ms)
{
    bool exemplars_wait = exemplar_log_tick(storage);
    log_tick(storage, now_mono_ms);
    seal_tick(storage, now_mono_ms);
    late_tick(storage, now_mono_ms);
    if (now_mono_ms - storage->retention_checked_mono_ms >= RETENTION_CHECK_MS) {
        storage->retention_checked_mono_ms = now_mono_ms;
        retention_apply(storage);
        tombstone_forget(storage, 0);
    }
    retention_quarantine(storage);
    budget_tick(storage, now_mono_ms);
    residency_tick(storage, now_mono_ms);
    watch_tick(storage, now_mono_ms);
    spill_tick(storage);
    snapshot_tick(storage);
    tombstone_clean_tick(storage);
    publish_tick(storage, now_mono_ms);
    retention_tick(storage);
    epoch_collect(&storage->epoch);
    map_move(&storage->by_labels, MAP_MOVE_SLOTS);
    map_move(&storage->by_id, MAP_MOVE_SLOTS);
    int64_t next_log = log_next_ms(storage, now_mono_ms),
            next_seal = seal_next_ms(storage, now_mono_ms);
    if (exemplars_wait && next_seal > EXEMPLARS_WAIT_MS)
        next_seal = EXEMPLARS_WAIT_MS;
    return next_log < next_seal ? next_log : next_seal;
}

void storage_set_out_of_order(struct storage *storage, int64_t out_of_order_ms)
{
    storage->options.out_of_order_ms = out_of_order_ms;
}

void storage_stop(struct storage *storage)
{
    storage->stopping = true;
    publish_stop(storage);
    snapshot_stop(storage);
    tombstone_clean_stop(storage);
}

void storage_set_retention(struct storage *storage, int64_t retention_ms, uint64_t retention_bytes)
{
    storage->options.retention_ms = retention_ms;
    storage->options.retention_bytes = retention_bytes;
    retention_apply(storage);
}

void storage_get_stats(const struct storage *storage, struct storage_stats *out)
{
    const struct file_list *list = file_list_now(storage);
    *out = storage->stats;
    out->series = storage->live;
    out->series_in_memory = storage->series_used;
    out->guilty = storage->budget.guilty;
    out->memory_budget = storage->options.memory_budget;
    out->memory_refusing = storage->budget.refusing;
    out->label_pairs = index_pair_total(storage->index);
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
        out->partition_bytes += store_file_bytes(&list->items[i]);
    out->partitions = list ? list->count : 0;
    uint64_t slots = storage->slot_bytes, runs = 0;
    for (size_t i = 0; i < storage->groups.count; i++) {
        const struct storage_group *group = storage->groups.items[i];
        slots += group && group->slot ? group->slot->bytes : 0;
        runs += group && group->slot ? group->slot->member_count : 0;
    }
    const struct tombstone_list *tombstones = tombstone_list_now(storage);
    out->tombstones = tombstones ? tombstones->count : 0;
    out->chunks = runs;
    out->head_bytes = slots + index_bytes(storage->index) + segments_bytes(&storage->series) +
                      segments_bytes(&storage->pair_units) + map_bytes(&storage->by_labels) +
                      map_bytes(&storage->by_id);
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

static void count_pairs(const struct index *index, uint32_t name, uint32_t metric_name,
                        struct arena *arena, struct storage_cardinality *out)
{
    struct ref_vec pairs = {0};
    uint64_t bytes = 0, values = 0;
    struct str text = index_name_text(index, name);
    index_name_pairs(index, name, &pairs);
    VEC_EACH (pair, &pairs) {
        struct str value = index_pair_value(index, *pair);
        uint32_t count = index_postings_count(index, *pair);
        if (count == 0)
            continue;
        bytes += value.len;
        values++;
        if (name == metric_name)
            out->series_by_metric.items[out->series_by_metric.count++] =
                (struct storage_top_entry){value, count};
        struct storage_top_entry entry = {.value = count};
        entry.name = arena_strf(arena, STR_FMT "=" STR_FMT, STR_ARG(text), STR_ARG(value));
        out->series_by_pair.items[out->series_by_pair.count++] = entry;
    }
    VEC_FREE(&pairs);
    if (values == 0)
        return;
    out->values_by_label.items[out->values_by_label.count++] =
        (struct storage_top_entry){text, values};
    out->bytes_by_label.items[out->bytes_by_label.count++] =
        (struct storage_top_entry){text, bytes};
}

void storage_get_cardinality(struct storage *storage, size_t limit, struct arena *arena,
                             struct storage_cardinality *out)
{
    const struct index *index = storage->index;
    uint32_t names = index_name_bound(index), pairs = index_pair_bound(index);
    uint32_t metric_name = index_name_find(index, LABEL_NAME);
    top_init(&out->values_by_label, arena, names);
    top_init(&out->bytes_by_label, arena, names);
    top_init(&out->series_by_metric, arena, pairs);
    top_init(&out->series_by_pair, arena, pairs);
    for (uint32_t name = 0; name < names; name++)
        count_pairs(index, name, metric_name, arena, out);
    top_keep(&out->values_by_label, limit);
    top_keep(&out->bytes_by_label, limit);
    top_keep(&out->series_by_metric, limit);
    top_keep(&out->series_by_pair, limit);
}
