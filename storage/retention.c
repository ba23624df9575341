/* retention: what is past it, or over the size that all files may have, goes as whole files.
 *
 *     loop: off the published list, series that live on log their labels
 *     loop: retention_tick, when that log is written -> lane: unlink, forget -> epoch: closed after the last reader
 *
 * The same way goes what a published day has replaced. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "store.h"

struct retire_job {
    struct job job;
    struct storage *storage;
    struct store_file file;
    uint64_t bytes;
    bool replaced;
};

/* Its name is gone; its bytes are on the disk until the last reader has gone as well. */
struct unlinked {
    struct storage *storage;
    struct store_file file;
    uint64_t bytes;
};

static void unlink_segments(const struct partition *partition, struct err *err)
{
    const struct segment_list *list = atomic_load(&partition->spilled);
    for (uint32_t i = 0; list && i < list->count; i++) {
        if (!file_unlink(list->items[i]->path, err))
            return;
    }
}

static void forget_partition(struct storage *storage, const struct partition *partition)
{
    for (size_t i = 0; i < storage->lane_partitions.count; i++) {
        if (storage->lane_partitions.items[i] == partition) {
            storage->lane_partitions.items[i] =
                storage->lane_partitions.items[--storage->lane_partitions.count];
            break;
        }
    }
}

static void retire_run(struct job *base)
{
    struct retire_job *job = CONTAINER_OF(base, struct retire_job, job);
    const char *path = job->file.open ? job->file.open->path : day_file_path(job->file.day);
    char lock_path[4096];
    struct err err = {0};
    if (job->replaced)
        return;
    snprintf(lock_path, sizeof(lock_path), "%s-lock", path);
    if (file_unlink(path, &err) && (job->file.day || file_unlink(lock_path, &err)))
        LOG_I("File is removed", "file", path);
    else
        LOG_E("File could not be removed: the next start tries again", "err", err.text);
    job->storage->unlink_failed = job->storage->unlink_failed || err.code != ERR_NONE;
    if (job->file.open) {
        unlink_segments(job->file.open, &err);
        forget_partition(job->storage, job->file.open);
    }
}

static void unlinked_free(void *ptr)
{
    struct unlinked *unlinked = ptr;
    ENSURE(unlinked->storage->unlinked_bytes >= unlinked->bytes);
    unlinked->storage->unlinked_bytes -= unlinked->bytes;
    partition_free(unlinked->file.open);
    day_file_unref(unlinked->file.day);
    mem_free(unlinked);
}

/* The lane has forgotten it; the epoch keeps it until the last reader has gone. */
static void retire_done(struct job *base)
{
    struct retire_job *job = CONTAINER_OF(base, struct retire_job, job);
    struct unlinked *unlinked = MEM_NEW(struct unlinked);
    *unlinked = (struct unlinked){job->storage, job->file, job->bytes};
    job->storage->unlinked_bytes += job->bytes;
    epoch_retire(&job->storage->epoch, unlinked_free, unlinked);
    mem_free(job);
}

/* A live series goes on under its id: its labels must be in the log as soon as no open file has them. */
static void save_labels(struct storage *storage, series_ref ref)
{
    struct series *series = head_series(storage, ref);
    const struct run *newest = atomic_load_explicit(&series->newest, memory_order_relaxed);
    const struct storage_group *group =
        newest ? storage->groups.items[newest->column->slot->group] : NULL;
    if (group)
        log_add_series(storage, ref, group->key);
    else
        series->logged_segment = 0; /* With its next sample. */
}

static void save_all_labels(struct storage *storage, bool lost)
{
    for (uint32_t ref = 0; ref < segments_count(&storage->series); ref++) {
        struct series *series = head_series(storage, ref);
        if (atomic_load_explicit(&series->gone, memory_order_relaxed) || !series_is_live(series))
            continue;
        if (lost ? series->registered == 0
                 : series->registered != 0 && !series_has_labels(storage, series)) {
            series->registered = 0;
            save_labels(storage, ref);
        }
    }
}

void retention_save_labels(struct storage *storage)
{
    if (storage->labels_lost || storage->retired_number > 0)
        save_all_labels(storage, false);
    if (storage->labels_lost)
        save_all_labels(storage, true);
    for (size_t i = 0; i < storage->retired.count; i++)
        storage->retired.items[i].log_sequence = storage->log.sequence;
}

/* Takes files off the list; they go when the log has the labels that only they had. */
void retention_retire(struct storage *storage, const struct store_file *files, size_t count,
                      const struct store_file *added)
{
    size_t first = storage->retired.count;
    for (size_t i = 0; i < count; i++) {
        struct retired_file retired = {.file = files[i]};
        retired.replaced = files[i].day && added && added->day &&
                           strcmp(day_file_path(files[i].day), day_file_path(added->day)) == 0;
        uint32_t number = partition_number(files[i].to_ms);
        if (files[i].open)
            files[i].open->retired = true;
        else
            day_file_ref(files[i].day); /* Until its unlink is done. */
        if (!(files[i].open && files[i].open->is_overlay) && number > storage->retired_number)
            storage->retired_number = number;
        VEC_PUSH(&storage->retired, retired);
    }
    file_list_update(storage, added);
    save_all_labels(storage, false);
    storage->files_went = true;
    for (; first < storage->retired.count; first++)
        storage->retired.items[first].log_sequence = storage->log.sequence;
}

uint64_t store_file_bytes(const struct store_file *file)
{
    if (file->day)
        return day_file_info(file->day)->bytes;
    uint64_t bytes = file_bytes(file->open->path);
    const struct segment_list *list = atomic_load(&file->open->spilled);
    for (uint32_t i = 0; list && i < list->count; i++)
        bytes += list->items[i]->bytes;
    return bytes;
}

/* What goes is not in it: who frees room for it twice loses more than the limit asks for. */
static uint64_t kept_bytes(const struct storage *storage)
{
    const struct file_list *list = file_list_now(storage);
    uint64_t bytes = 0;
    char path[4096];
    for (uint32_t i = 0; list && i < list->count; i++)
        bytes += store_file_bytes(&list->items[i]);
    snprintf(path, sizeof(path), "%s/head.mdb", storage->dir);
    bytes += file_bytes(path);
    for (size_t i = 0; i < storage->log.segments.count; i++) {
        snprintf(path, sizeof(path), "%s/log/%08" PRIu64, storage->dir,
                 storage->log.segments.items[i]);
        bytes += file_bytes(path);
    }
    return bytes;
}

/* What a build of the largest open file may take beside it. */
static uint64_t build_reserve(const struct storage *storage)
{
    const struct file_list *list = file_list_now(storage);
    uint64_t reserve = 0;
    for (uint32_t i = 0; list && i < list->count; i++) {
        uint64_t bytes = list->items[i].open ? store_file_bytes(&list->items[i]) : 0;
        reserve = bytes > reserve ? bytes : reserve;
    }
    return reserve;
}

/* Files that are to be unlinked, and those that are and have readers. */
static uint64_t leaving_bytes(const struct storage *storage)
{
    uint64_t bytes = storage->unlinked_bytes;
    for (size_t i = 0; i < storage->retired.count; i++) {
        if (!storage->retired.items[i].replaced)
            bytes += store_file_bytes(&storage->retired.items[i].file);
    }
    return bytes;
}

uint64_t storage_disk_bytes(const struct storage *storage)
{
    return kept_bytes(storage) + leaving_bytes(storage);
}

bool retention_has_room(const struct storage *storage)
{
    uint64_t limit = storage->options.retention_bytes;
    return limit == 0 || leaving_bytes(storage) == 0 ||
           storage_disk_bytes(storage) + build_reserve(storage) <= limit;
}

/* Seals that are tried again know their files by pointer. */
static bool is_in_use(const struct storage *storage, const struct store_file *file)
{
    return publish_uses(storage, file) ||
           (file->open && (seal_uses(storage, file->open) || late_uses(storage, file->open)));
}

static void retire_by_time(struct storage *storage)
{
    const struct file_list *list = file_list_now(storage);
    VEC(struct store_file) old = {0};
    int64_t edge_ms;
    if (!list || !retention_edge(storage, &edge_ms))
        return;
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i].to_ms <= edge_ms && !is_in_use(storage, &list->items[i]))
            VEC_PUSH(&old, list->items[i]);
    }
    if (old.count > 0)
        retention_retire(storage, old.items, old.count, NULL);
    storage->stats.partitions_retired += old.count;
    VEC_FREE(&old);
}

static void retire_by_size(struct storage *storage)
{
    uint64_t limit = storage->options.retention_bytes;
    uint64_t bytes = limit ? kept_bytes(storage) + build_reserve(storage) : 0;
    const struct file_list *list = file_list_now(storage);
    VEC(struct store_file) old = {0};
    /* The newest stays, whatever its size: it is what is written to. */
    for (uint32_t i = 0; list && bytes > limit && i + 1 < list->count; i++) {
        if (is_in_use(storage, &list->items[i]))
            continue;
        uint64_t freed = store_file_bytes(&list->items[i]);
        bytes -= freed < bytes ? freed : bytes;
        VEC_PUSH(&old, list->items[i]);
    }
    if (old.count > 0) {
        retention_retire(storage, old.items, old.count, NULL);
        storage->stats.size_retentions++;
    }
    storage->stats.partitions_retired += old.count;
    VEC_FREE(&old);
}

static void set_aside(struct storage *storage, const char *path)
{
    struct err why = {0}, err = {0};
    err_set(&why, ERR_CORRUPT, "it could not be read");
    if (!file_set_aside(path, &why, &err))
        LOG_E("Damaged file could not be set aside", "err", err.text);
    storage->stats.quarantined++;
}

/* Its series are not found by their labels until the partition is built, and then they are not in the day. */
static bool quarantine_segment(struct storage *storage, struct partition *partition)
{
    const struct segment_list *list = atomic_load(&partition->spilled);
    for (uint32_t i = 0; list && i < list->count; i++) {
        if (!index_segment_is_damaged(list->items[i]))
            continue;
        set_aside(storage, list->items[i]->path);
        partition_hide_segment(storage, partition, list->items[i]);
        return true;
    }
    return false;
}

/* A day that could not be read goes out of sight and is kept aside for a person to look at; the rest serves. */
void retention_quarantine(struct storage *storage)
{
    const struct file_list *list = file_list_now(storage);
    for (uint32_t i = 0; list && i < list->count; i++) {
        struct store_file file = list->items[i];
        if (publish_uses(storage, &file))
            continue;
        if (file.open && !storage->spill && quarantine_segment(storage, file.open))
            return;
        if (!file.day || !day_file_is_damaged(file.day))
            continue;
        set_aside(storage, day_file_path(file.day));
        day_file_ref(file.day);
        retention_retire(storage, &file, 1, NULL);
        day_file_unref(file.day);
        return; /* The list is another one now: the next in the next tick. */
    }
}

void retention_apply(struct storage *storage)
{
    retention_base_update(storage);
    retire_by_time(storage);
    if (storage->options.retention_bytes)
        retire_by_size(storage);
    partition_length_update(storage);
}

/* A day that was built since has its name: while it waited. */
static bool is_replaced(const struct storage *storage, const struct store_file *file)
{
    const struct file_list *list = file_list_now(storage);
    for (uint32_t i = 0; list && file->day && i < list->count; i++) {
        if (list->items[i].day &&
            strcmp(day_file_path(list->items[i].day), day_file_path(file->day)) == 0)
            return true;
    }
    return false;
}

/* A file goes after the labels that only it had are in the log; at once when the log cannot be written, because then room
 * is what is missing most. */
void retention_tick(struct storage *storage)
{
    const struct log *log = &storage->log;
    size_t kept = 0;
    for (size_t i = 0; i < storage->retired.count; i++) {
        struct retired_file retired = storage->retired.items[i];
        if ((!log->failing && retired.log_sequence > log->sequence_written) || storage->spill ||
            snapshot_holds_files(storage) || is_in_use(storage, &retired.file)) {
            storage->retired.items[kept++] = retired;
            continue;
        }
        struct retire_job *job = MEM_NEW(struct retire_job);
        job->job.run = retire_run;
        job->job.done = retire_done;
        job->storage = storage;
        job->file = retired.file;
        job->bytes = retired.replaced ? 0 : store_file_bytes(&retired.file);
        job->replaced = retired.replaced || is_replaced(storage, &retired.file);
        storage->options.submit_commit(storage->options.submit_ctx, &job->job);
    }
    storage->retired.count = kept;
}

void retention_free(struct storage *storage)
{
    for (size_t i = 0; i < storage->retired.count; i++) {
        struct store_file *file = &storage->retired.items[i].file;
        if (file->day)
            day_file_unref(file->day);
        else if (file->open->frozen)
            partition_free(file->open); /* The others are the lane's. */
    }
    VEC_FREE(&storage->retired);
}
