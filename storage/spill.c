/* spill: series that have died leave memory; their labels go to an index segment of each open file that has samples of
 * them.
 *
 *     loop: enough dead ones -> build lane: segment files, in series order -> commit lane: their rows out of `series`
 *     -> loop: segments shown, series swept
 *
 * So memory holds what lives and at most a quarter more, however fast pods come and go. One that comes back meanwhile
 * stays, and its labels go to the log anew. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store.h"

#define RETRY_MS  5000
#define SPILL_MAX ((size_t)1 << 16) /* At once: its label sets are laid out to be sorted. */

struct spill_target {
    struct partition *partition;
    bool frozen;
    struct index_segment *segment;
    VEC(uint64_t) ids;
};

struct spill_series {
    series_ref ref;
    uint32_t label_count;
    const struct label *labels; /* Texts of the index: it stays in memory until the end. */
};

struct spill_job {
    struct job job;
    struct storage *storage;
    VEC(struct spill_series) series;
    VEC(series_ref) twins;
    VEC(struct spill_target) targets;
    struct arena arena;
    bool failed;
    struct err err;
};

static int compare_spill(const void *a, const void *b)
{
    const struct spill_series *x = a, *y = b;
    return series_order(x->labels, x->label_count, y->labels, y->label_count);
}

static void lay_out(struct spill_job *job)
{
    struct label labels[SERIES_LABELS_MAX];
    VEC_EACH (series, &job->series) {
        series->label_count =
            series_labels(job->storage, head_series(job->storage, series->ref), labels);
        struct label *copy =
            arena_alloc_array(&job->arena, series->label_count, sizeof(struct label));
        memcpy(copy, labels, series->label_count * sizeof(struct label));
        series->labels = copy;
    }
    VEC_SORT(&job->series, compare_spill);
}

/* An index has a label set once: of two ids of one label set, the second waits for the next time. */
static void put_back_twins(struct spill_job *job)
{
    size_t kept = 0;
    for (size_t i = 0; i < job->series.count; i++) {
        if (kept > 0 && compare_spill(&job->series.items[kept - 1], &job->series.items[i]) == 0)
            VEC_PUSH(&job->twins, job->series.items[i].ref);
        else
            job->series.items[kept++] = job->series.items[i];
    }
    job->series.count = kept;
}

static bool write_segment(struct spill_job *job, struct spill_target *target, struct err *err)
{
    struct partition *partition = target->partition;
    struct disk_index_writer *writer = disk_index_writer_new();
    struct kv_read *read = NULL;
    bool good = kv_read_begin(partition->kv, &read, err);
    for (size_t i = 0; good && i < job->series.count; i++) {
        const struct spill_series *series = &job->series.items[i];
        uint64_t id = head_series(job->storage, series->ref)->id;
        struct str row;
        bool found;
        good = kv_get(read, PARTITION_SERIES, id, &found, &row, err);
        if (good && found) {
            disk_index_writer_add(writer, series->labels, series->label_count);
            VEC_PUSH(&target->ids, id);
        }
    }
    kv_read_end(read);
    if (good && target->ids.count > 0) {
        uint64_t number = partition->segment_next++;
        good = index_segment_write(partition->path, number, writer, target->ids.items,
                                   target->ids.count, err);
        if (good) {
            char *path = index_segment_path(partition->path, number);
            good = index_segment_open(&target->segment, path, err);
            mem_free(path);
        }
    }
    disk_index_writer_free(writer);
    return good;
}

static void spill_run(struct job *base)
{
    struct spill_job *job = CONTAINER_OF(base, struct spill_job, job);
    ensure_set_job("spill series");
    lay_out(job);
    put_back_twins(job);
    for (size_t i = 0; i < job->targets.count && !job->failed; i++)
        job->failed = !write_segment(job, &job->targets.items[i], &job->err);
    VEC_EACH (target, &job->targets) { /* On a full disk tries must not add up. */
        struct err err = {0};
        if (job->failed && target->segment && !file_unlink(target->segment->path, &err))
            LOG_W("A failed spill could not be taken back", "err", err.text);
    }
    ensure_set_job("build lane");
}

/* --- commit lane: the rows that the segments have now --- */

static void forget_run(struct job *base)
{
    struct spill_job *job = CONTAINER_OF(base, struct spill_job, job);
    VEC_EACH (target, &job->targets) {
        struct kv_write *write = NULL;
        struct err err = {0};
        bool good = true;
        if (target->ids.count == 0 || target->frozen)
            continue;
        good = kv_write_begin(target->partition->kv, &write, &err);
        for (size_t i = 0; good && i < target->ids.count; i++)
            good = kv_delete(write, PARTITION_SERIES, target->ids.items[i], &err);
        if (good)
            good = kv_commit(write, &err);
        else
            kv_abort(write);
        if (!good) /* They are in both: a start loads them once more than need be. */
            LOG_W("Labels of spilled series could not be removed", "err", err.text);
    }
}

/* --- loop --- */

static void spill_free(struct spill_job *job)
{
    VEC_EACH (ref, &job->twins) {
        head_series(job->storage, *ref)->is_spilling = false;
        VEC_PUSH(&job->storage->dead, *ref);
    }
    VEC_FREE(&job->twins);
    VEC_EACH (target, &job->targets) {
        VEC_FREE(&target->ids);
    }
    VEC_FREE(&job->targets);
    VEC_FREE(&job->series);
    arena_deinit(&job->arena);
    mem_free(job);
}

static void forget_done(struct job *base)
{
    struct spill_job *job = CONTAINER_OF(base, struct spill_job, job);
    struct storage *storage = job->storage;
    VEC(series_ref) gone = {0};
    VEC_EACH (target, &job->targets) {
        if (target->segment && target->partition->retired)
            index_segment_close(target->segment);
        else if (target->segment)
            partition_show_segment(storage, target->partition, target->segment);
    }
    VEC_EACH (spilled, &job->series) {
        struct series *series = head_series(storage, spilled->ref);
        if (!series->is_spilling) {
            /* It came back meanwhile, and may be dead again: it stays. */
            const struct run *newest = atomic_load_explicit(&series->newest, memory_order_relaxed);
            series->registered = series->logged_segment = 0;
            if (newest)
                log_add_series(storage, spilled->ref,
                               storage->groups.items[newest->column->slot->group]->key);
            continue;
        }
        series->is_spilling = false;
        atomic_store_explicit(&series->gone, true, memory_order_release);
        VEC_PUSH(&gone, spilled->ref);
    }
    series_sweep(storage, gone.items, gone.count);
    VEC_FREE(&gone);
    storage->stats.spills++;
    storage->spill = NULL;
    spill_free(job);
}

static void spill_done(struct job *base)
{
    struct spill_job *job = CONTAINER_OF(base, struct spill_job, job);
    struct storage *storage = job->storage;
    if (!job->failed) {
        job->job.run = forget_run;
        job->job.done = forget_done;
        storage->options.submit_commit(storage->options.submit_ctx, &job->job);
        return;
    }
    LOG_E("Dead series could not be spilled and stay in memory", "err", job->err.text);
    storage->spill_retry_mono_ms = clock_mono_ms() + RETRY_MS;
    VEC_EACH (series, &job->series) {
        head_series(storage, series->ref)->is_spilling = false;
        VEC_PUSH(&storage->dead, series->ref);
    }
    VEC_EACH (target, &job->targets) {
        index_segment_close(target->segment);
    }
    storage->spill = NULL;
    spill_free(job);
}

static int compare_ref(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The dead, each once; those that have come back are left out. */
static void tidy_dead(struct storage *storage)
{
    size_t kept = 0;
    VEC_SORT(&storage->dead, compare_ref);
    for (size_t i = 0; i < storage->dead.count; i++) {
        series_ref ref = storage->dead.items[i];
        const struct series *series = head_series(storage, ref);
        bool again = kept > 0 && storage->dead.items[kept - 1] == ref;
        if (!again && !series_is_live(series) && !series->is_spilling &&
            !atomic_load_explicit(&series->gone, memory_order_relaxed))
            storage->dead.items[kept++] = ref;
    }
    storage->dead.count = kept;
}

/* Those that no open file has the labels of, or all: to the end of the list. Returns how many. */
static size_t choose_dead(struct storage *storage, bool all)
{
    size_t kept = 0, count = storage->dead.count;
    for (size_t i = 0; i < count && !all; i++) {
        series_ref ref = storage->dead.items[i];
        if (!series_has_labels(storage, head_series(storage, ref)))
            continue;
        storage->dead.items[i] = storage->dead.items[kept];
        storage->dead.items[kept++] = ref;
    }
    return count - kept;
}

static void add_targets(const struct storage *storage, struct spill_job *job)
{
    const struct file_list *list = file_list_now(storage);
    for (uint32_t i = 0; list && i < list->count; i++) {
        struct spill_target target = {.partition = list->items[i].open};
        if (!target.partition)
            continue;
        target.frozen = target.partition->frozen;
        VEC_PUSH(&job->targets, target);
    }
}

void spill_tick(struct storage *storage)
{
    size_t enough = storage->options.spill_min + storage->live / 4;
    if (storage->stopping || storage->spill || storage->log.failing || publish_blocks_spill(storage) ||
        (storage->dead.count <= enough && !storage->files_went) ||
        clock_mono_ms() < storage->spill_retry_mono_ms)
        return;
    tidy_dead(storage);
    size_t chosen = choose_dead(storage, storage->dead.count > enough);
    storage->files_went = chosen > SPILL_MAX;
    if (chosen == 0)
        return;
    struct spill_job *job = MEM_NEW(struct spill_job);
    job->job.run = spill_run;
    job->job.done = spill_done;
    job->storage = storage;
    arena_init(&job->arena, 0);
    for (; chosen > 0 && job->series.count < SPILL_MAX; chosen--) {
        struct spill_series series = {.ref = VEC_POP(&storage->dead)};
        head_series(storage, series.ref)->is_spilling = true;
        VEC_PUSH(&job->series, series);
    }
    add_targets(storage, job);
    storage->spill = job;
    storage->options.submit_build(storage->options.build_ctx, &job->job);
}
