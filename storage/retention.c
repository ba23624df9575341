/* retention: partitions that are past it go as whole files.
 *
 *     loop: off the published list, series that only it had leave the index, those that live on log their labels
 *     loop: partition_tick, when that log is written -> lane: unlink, forget -> epoch: closed after the last reader */
#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/log.h"
#include "store.h"

struct retire_job {
    struct job job;
    struct storage *storage;
    struct partition *partition;
};

static void retire_run(struct job *base)
{
    struct retire_job *job = CONTAINER_OF(base, struct retire_job, job);
    struct storage *storage = job->storage;
    char lock_path[4096];
    struct err err = {0};
    snprintf(lock_path, sizeof(lock_path), "%s-lock", job->partition->path);
    if (file_unlink(job->partition->path, &err) && file_unlink(lock_path, &err))
        LOG_I("Partition is past retention and removed", "file", job->partition->path);
    else
        LOG_E("Partition could not be removed: the next start tries again", "err", err.text);
    for (size_t i = 0; i < storage->lane_partitions.count; i++) {
        if (storage->lane_partitions.items[i] == job->partition) {
            storage->lane_partitions.items[i] =
                storage->lane_partitions.items[--storage->lane_partitions.count];
            break;
        }
    }
}

/* The lane has forgotten it; the epoch keeps it until the last reader has gone. */
static void retire_done(struct job *base)
{
    struct retire_job *job = CONTAINER_OF(base, struct retire_job, job);
    epoch_retire(&job->storage->epoch, partition_free, job->partition);
    mem_free(job);
}

/* A live series goes on under its id: its labels must be in the log as soon as no partition has
 * them. */
static void save_labels(struct storage *storage, struct series *series)
{
    const struct chunk *newest = atomic_load_explicit(&series->newest, memory_order_relaxed);
    const struct storage_group *group = newest ? storage->groups.items[newest->group] : NULL;
    if (group)
        log_add_series(storage, series, group->key);
    else
        series->logged_segment = 0; /* With its next sample. */
}

static bool series_is_gone(void *ctx, uint32_t ref)
{
    const struct series *series = head_series(ctx, ref);
    return atomic_load_explicit(&series->gone, memory_order_relaxed);
}

/* Series of which nothing is stored any more leave the index; those that live on log their labels
 * anew when only files that go had them. */
static void sweep_series(struct storage *storage)
{
    struct partition_list *list = partition_list_now(storage);
    int64_t oldest_ms = list && list->count ? list->items[0]->from_ms : INT64_MAX;
    bool any = false;
    for (uint32_t ref = 0; ref < segments_count(&storage->series); ref++) {
        struct series *series = head_series(storage, ref);
        if (atomic_load_explicit(&series->gone, memory_order_relaxed))
            continue;
        if (series->pins > 0 || atomic_load_explicit(&series->newest, memory_order_relaxed)) {
            if (series->labels_until_ms != INT64_MIN && !series_has_labels(storage, series)) {
                series->labels_until_ms = INT64_MIN;
                save_labels(storage, series);
            }
        } else if (atomic_load_explicit(&series->time_last_ms, memory_order_relaxed) < oldest_ms) {
            atomic_store_explicit(&series->gone, true, memory_order_release);
            map_remove(&storage->by_labels, series->labels_hash, ref);
            map_remove(&storage->by_id, hash64_mix(series->id, 1), ref);
            storage->stats.series_removed++;
            any = true;
        }
    }
    if (any)
        index_sweep(storage->index, series_is_gone, storage);
}

void partition_save_labels(struct storage *storage)
{
    if (!storage->labels_lost)
        return;
    for (uint32_t ref = 0; ref < segments_count(&storage->series); ref++) {
        struct series *series = head_series(storage, ref);
        if (series->labels_until_ms == INT64_MIN)
            save_labels(storage, series);
    }
}

void partition_retire_old(struct storage *storage)
{
    struct partition_list *list = partition_list_now(storage);
    size_t count = storage->retired.count;
    int64_t edge_ms;
    if (!list || !partition_edge(storage, &edge_ms))
        return;
    for (uint32_t i = 0; i < list->count; i++) {
        struct retired_partition retired = {.partition = list->items[i]};
        if (retired.partition->to_ms > edge_ms)
            continue;
        retired.partition->retired = true;
        if (retired.partition->to_ms > storage->retired_until_ms)
            storage->retired_until_ms = retired.partition->to_ms;
        VEC_PUSH(&storage->retired, retired);
        storage->stats.partitions_retired++;
    }
    if (count == storage->retired.count)
        return;
    partition_list_update(storage, NULL);
    sweep_series(storage);
    for (; count < storage->retired.count; count++)
        storage->retired.items[count].log_sequence = storage->log.sequence;
}

/* A file goes after the labels that only it had are in the log; at once when the log cannot be
 * written, because then room is what is missing most. */
void partition_tick(struct storage *storage)
{
    const struct log *log = &storage->log;
    size_t kept = 0;
    for (size_t i = 0; i < storage->retired.count; i++) {
        struct retired_partition retired = storage->retired.items[i];
        if (!log->failing && retired.log_sequence > log->sequence_written) {
            storage->retired.items[kept++] = retired;
            continue;
        }
        struct retire_job *job = MEM_NEW(struct retire_job);
        job->job.run = retire_run;
        job->job.done = retire_done;
        job->storage = storage;
        job->partition = retired.partition;
        storage->options.submit_commit(storage->options.submit_ctx, &job->job);
    }
    storage->retired.count = kept;
}
