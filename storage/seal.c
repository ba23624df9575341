/* seal: a slot from memory to a file.
 *
 *     open --due or full: seal_cut--> frozen, in a job; jobs of the same minute (group.c) are a batch
 *     --commit lane: batch_run--> bundles in partition files, then the slots' numbers in head.mdb
 *     --loop: batch_done--> published, their runs dropped from memory, old log removed
 *
 * A batch shares its transactions: a commit of LMDB writes the way to the root of each table anew, some ten pages, which is
 * as much again as what a slot of 250 series has to say.
 * A run goes to the file by bundle_write.c; one that straddles the edge of a partition or of retention is decoded and
 * written anew. Until batch_done memory still shows the runs, from then on the file does; a select takes the
 * head first and the files second, so it may see both (equal samples are merged) but never neither.
 * A seal that fails (disk full) is tried again; the log keeps its records until it has worked. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "seal_target.h"
#include "store.h"

#define SEAL_RETRY_MS   5000
#define BATCH_BYTES_MAX ((uint64_t)4 << 20) /* The log waits meanwhile. */
#define SLOT_CHECK_MS   500 /* Ticks come with each append; groups may be thousands. */

struct seal_member {
    const struct series *series;
    series_ref ref;
    const struct run *run;
    uint32_t target; /* Of its newest samples, 1 + position in job->targets; 0: none was written. */
};

struct seal_job {
    struct list_node node; /* In storage->seal_jobs. */
    struct storage *storage;
    struct storage_group *group;
    struct slot *slot;
    uint64_t group_key;
    int64_t cutoff_ms; /* Older samples are past retention. */
    bool submitted;
    bool alone; /* Its batch failed: others shall not suffer from it, nor it from them. */
    VEC(struct seal_member) members; /* By id, then time. */
    struct seal_targets targets;
    /* Lane scratch: */
    struct time_vec times; /* Of one column. */
    const struct column *times_of;
    struct samples samples;
    struct buf bytes;
    bool written; /* The bundles are in their files: only the mark is missing. */
};

struct seal_batch {
    struct job job;
    struct storage *storage;
    VEC(struct seal_job *) jobs;
    uint64_t bytes; /* Of memory. */
    uint64_t next_id, next_slot;
    bool failed;
    struct err err;
};

static int compare_member(const void *a, const void *b)
{
    const struct seal_member *x = a, *y = b;
    if (x->series->id != y->series->id)
        return x->series->id < y->series->id ? -1 : 1;
    return (x->run->member > y->run->member) - (x->run->member < y->run->member);
}

void seal_cut(struct storage *storage, struct storage_group *group)
{
    struct slot *slot = group->slot;
    ENSURE(slot != NULL);
    if (slot->member_count == 0) { /* Replay found nothing that makes sense. */
        group->slot = NULL;
        slot_free(slot);
        return;
    }
    struct seal_job *job = MEM_NEW(struct seal_job);
    job->storage = storage;
    job->group = group;
    job->group_key = group->key;
    job->slot = slot;
    samples_init(&job->samples);
    buf_init(&job->bytes, (size_t)1 << 30);
    seal_targets_init(&job->targets, storage, group->key, slot->number, slot->columns.count);
    group->opens++; /* Until job_done. */
    for (uint32_t i = 0; i < slot->member_count; i++) {
        series_ref ref = slot_member_ref(slot, i);
        const struct run *newest =
            atomic_load_explicit(&head_series(storage, ref)->newest, memory_order_relaxed);
        /* A replay without head.mdb may have a newer run of another group. */
        if ((slot_member(slot, i)->flags & RUN_IS_HISTOGRAM) && newest &&
            newest->column->slot == slot)
            open_histograms_forget(&storage->histograms, ref);
    }
    group->slot = NULL;
    storage->slot_bytes += slot->bytes;
    list_push_back(&storage->seal_jobs, &job->node);
}

/* --- commit lane --- */

/* Members in the order of their series' ids. Made here and not when the slot is cut, to spare the loop thread. */
static void gather_members(struct seal_job *job)
{
    struct storage *storage = job->storage;
    VEC_CLEAR(&job->members);
    VEC_RESERVE(&job->members, job->slot->member_count);
    for (uint32_t i = 0; i < job->slot->member_count; i++) {
        struct seal_member member = {.ref = slot_member_ref(job->slot, i),
                                     .run = slot_member(job->slot, i)};
        member.series = head_series(storage, member.ref);
        VEC_PUSH(&job->members, member);
    }
    VEC_SORT(&job->members, compare_member);
}

/* A run that one partition does not hold: piece by piece. */
static bool seal_split(struct seal_job *job, struct seal_member *member, struct str bytes,
                       uint32_t last_row, struct err *err)
{
    struct samples *samples = &job->samples;
    samples_clear(samples);
    bool good = stream_read(bytes, member->run->first_row, last_row, job->times.items,
                            (uint32_t)job->times.count, samples);
    ENSURE(good); /* Our own memory. */
    for (size_t from = 0, to; from < samples->count; from = to) {
        struct seal_target *target;
        struct buf piece;
        uint32_t first, last;
        to = from + 1;
        if (samples->time_ms[from] < job->cutoff_ms)
            continue;
        if (!seal_target_for(&job->targets, samples->time_ms[from], &target, err) ||
            !seal_target_labels(&job->targets, target, member->series, err))
            return false;
        while (to < samples->count && samples->time_ms[to] < target->partition->to_ms)
            to++;
        uint16_t column = seal_target_column(target, member->run->column->number, &job->times);
        buf_init(&piece, (size_t)1 << 30);
        stream_write(samples, from, to - from, job->times.items, (uint32_t)job->times.count, &piece,
                     &first, &last);
        bundle_writer_run(&target->bundle, member->series->id, column, first, last,
                          samples->time_ms[from], samples->time_ms[to - 1], buf_str(&piece));
        buf_deinit(&piece);
        member->target = (uint32_t)(target - job->targets.items.items) + 1;
        if (!seal_target_after_run(&job->targets, target, err))
            return false;
    }
    return true;
}

static bool seal_member(struct seal_job *job, struct seal_member *member, struct err *err)
{
    const struct run *run = member->run;
    uint32_t len = atomic_load_explicit(&run->len, memory_order_acquire);
    uint32_t last_row = atomic_load_explicit(&run->last_row, memory_order_acquire);
    struct seal_target *target;
    member->target = 0;
    if (job->times_of != run->column) {
        VEC_CLEAR(&job->times);
        column_read(run->column, run->column->rows - 1, &job->times);
        job->times_of = run->column;
    }
    buf_clear(&job->bytes);
    run_read(run, len, (uint8_t *)buf_reserve(&job->bytes, len));
    buf_commit(&job->bytes, len);
    int64_t first_ms = job->times.items[run->first_row], last_ms = job->times.items[last_row];
    if (first_ms < job->cutoff_ms)
        return seal_split(job, member, buf_str(&job->bytes), last_row, err);
    if (!seal_target_for(&job->targets, first_ms, &target, err))
        return false;
    if (last_ms >= target->partition->to_ms)
        return seal_split(job, member, buf_str(&job->bytes), last_row, err);
    if (!seal_target_labels(&job->targets, target, member->series, err))
        return false;
    bundle_writer_run(&target->bundle, member->series->id,
                      seal_target_column(target, run->column->number, &job->times), run->first_row,
                      last_row, first_ms, last_ms, buf_str(&job->bytes));
    member->target = (uint32_t)(target - job->targets.items.items) + 1;
    return seal_target_after_run(&job->targets, target, err);
}

static bool job_write(struct seal_job *job, struct seal_writes *writes, struct err *err)
{
    job->times_of = NULL;
    job->targets.writes = writes;
    gather_members(job);
    for (size_t i = 0; i < job->members.count; i++) {
        if (!seal_member(job, &job->members.items[i], err))
            return false;
    }
    return seal_targets_finish(&job->targets, err);
}

/* The first `count` jobs' transactions, together. */
static bool batch_commit(struct seal_batch *batch, size_t count, struct seal_writes *writes,
                         struct err *err)
{
    bool good = seal_writes_commit(writes, err);
    for (size_t i = 0; i < count && good; i++)
        batch->jobs.items[i]->written = true;
    return good;
}

static bool batch_write(struct seal_batch *batch, struct err *err)
{
    struct seal_writes writes = {0};
    bool good = true;
    for (size_t i = 0; i < batch->jobs.count && good; i++) {
        struct seal_job *job = batch->jobs.items[i];
        good = job->written || job_write(job, &writes, err);
        if (good && seal_writes_are_full(&writes))
            good = batch_commit(batch, i + 1, &writes, err);
    }
    if (good)
        good = batch_commit(batch, batch->jobs.count, &writes, err);
    else
        seal_writes_abort(&writes);
    VEC_EACH (item, &batch->jobs) {
        struct seal_job *job = *item;
        if (!job->written)
            seal_targets_take_back(&job->targets);
        job->targets.writes = NULL;
    }
    return good;
}

/* Of what is written. A commit that fails may have reached the disk all the same: what it speaks of has to stay. */
static bool batch_mark(struct seal_batch *batch, struct err *err)
{
    VEC(struct seal_mark) marks = {0};
    VEC_EACH (item, &batch->jobs) {
        struct seal_mark mark = {(*item)->group_key, (*item)->slot->number};
        if ((*item)->written)
            VEC_PUSH(&marks, mark);
    }
    bool good = marks.count == 0 || seal_mark(batch->storage, marks.items, marks.count,
                                              batch->next_id, batch->next_slot, err);
    VEC_FREE(&marks);
    return good;
}

static void batch_run(struct job *base)
{
    struct seal_batch *batch = CONTAINER_OF(base, struct seal_batch, job);
    ensure_set_job("seal slots");
    batch->failed = !batch_write(batch, &batch->err) || !batch_mark(batch, &batch->err);
    ensure_set_job("commit lane");
}

/* --- loop thread --- */

static void seal_free(struct seal_job *job)
{
    seal_targets_deinit(&job->targets);
    VEC_FREE(&job->members);
    VEC_FREE(&job->times);
    samples_deinit(&job->samples);
    buf_deinit(&job->bytes);
    mem_free(job);
}

static void job_done(struct storage *storage, struct seal_job *job)
{
    VEC_EACH (target, &job->targets.items) {
        partition_publish(storage, target->partition, target->entries.items, target->entries.count);
    }
    VEC_EACH (member, &job->members) {
        struct series *series = head_series(storage, member->ref);
        const struct partition *newest =
            member->target ? job->targets.items.items[member->target - 1].partition : NULL;
        if (newest && !newest->retired && partition_number(newest->to_ms) > series->registered)
            series_set_registered(series, partition_number(newest->to_ms));
        head_drop_slot(storage, member->ref, job->slot);
    }
    storage->slot_bytes -= job->slot->bytes;
    epoch_retire(&storage->epoch, slot_free, job->slot);
    storage->stats.slots_sealed++;
    list_remove(&job->node);
    job->group->seal_front = NULL;
    storage_group_close(job->group);
    seal_free(job);
}

static void batch_failed(struct seal_batch *batch)
{
    struct storage *storage = batch->storage;
    LOG_E("Slots could not be sealed and are tried again", "err", batch->err.text, "slots",
          log_fmt("%zu", batch->jobs.count));
    storage->stats.seal_failures++;
    storage->seal_retry_mono_ms = clock_mono_ms() + SEAL_RETRY_MS;
    VEC_EACH (item, &batch->jobs) {
        struct seal_job *job = *item;
        job->submitted = false;
        job->alone = true;
        if (!job->written)
            seal_targets_clear(&job->targets);
    }
}

static void batch_done(struct job *base)
{
    struct seal_batch *batch = CONTAINER_OF(base, struct seal_batch, job);
    struct storage *storage = batch->storage;
    if (batch->failed) {
        batch_failed(batch);
    } else {
        VEC_EACH (job, &batch->jobs) {
            job_done(storage, *job);
        }
        epoch_collect(&storage->epoch);
        log_drop_sealed_segments(storage);
        if (list_empty(&storage->seal_jobs))
            mem_trim();            /* A batch takes for itself what it has sealed. */
        if (storage->options.wake) /* The groups' next slots may wait. */
            storage->options.wake(storage->options.wake_ctx, 0);
    }
    VEC_FREE(&batch->jobs);
    mem_free(batch);
}

/* Whole partitions go at once: what shares one with retained samples stays. */
static int64_t cutoff(const struct storage *storage)
{
    int64_t edge, partition_ms = storage->options.partition_ms;
    if (!retention_edge(storage, &edge))
        return INT64_MIN;
    return (edge / partition_ms - (edge % partition_ms < 0)) * partition_ms;
}

/* head.mdb tells a group's newest sealed slot only: its slots are sealed in order, however often
 * one fails. */
static bool may_be_sealed(const struct seal_job *job)
{
    return !job->submitted && (!job->group->seal_front || job->group->seal_front == job);
}

static struct seal_batch *batch_new(struct storage *storage)
{
    struct seal_batch *batch = MEM_NEW(struct seal_batch);
    batch->job.run = batch_run;
    batch->job.done = batch_done;
    batch->storage = storage;
    batch->next_id = storage->next_id;
    batch->next_slot = storage->next_slot;
    return batch;
}

static void batch_submit(struct seal_batch **batch)
{
    if (*batch) {
        struct storage_options *options = &(*batch)->storage->options;
        options->submit_commit(options->submit_ctx, &(*batch)->job);
    }
    *batch = NULL;
}

void seal_tick(struct storage *storage, int64_t now_mono_ms)
{
    bool look = now_mono_ms - storage->slots_checked_mono_ms >= SLOT_CHECK_MS;
    if (look)
        storage->slots_checked_mono_ms = now_mono_ms;
    for (size_t i = 0; look && i < storage->groups.count; i++) {
        struct storage_group *group = storage->groups.items[i];
        if (group && group->slot && now_mono_ms >= group->slot->until_mono_ms)
            seal_cut(storage, group);
    }
    if (now_mono_ms < storage->seal_retry_mono_ms)
        return;
    struct seal_batch *batch = NULL;
    LIST_EACH (node, &storage->seal_jobs) {
        struct seal_job *job = CONTAINER_OF(node, struct seal_job, node);
        if (!may_be_sealed(job))
            continue;
        job->group->seal_front = job;
        job->submitted = true;
        job->cutoff_ms = cutoff(storage);
        if (batch && (job->alone || batch->bytes + job->slot->bytes > BATCH_BYTES_MAX))
            batch_submit(&batch);
        if (!batch)
            batch = batch_new(storage);
        batch->bytes += job->slot->bytes;
        VEC_PUSH(&batch->jobs, job);
        if (job->alone)
            batch_submit(&batch);
    }
    batch_submit(&batch);
}

int64_t seal_next_ms(const struct storage *storage, int64_t now_mono_ms)
{
    int64_t next = 1000;
    LIST_EACH (node, &storage->seal_jobs) {
        if (may_be_sealed(CONTAINER_OF(node, struct seal_job, node)) &&
            storage->seal_retry_mono_ms <= now_mono_ms)
            next = 0;
    }
    return next;
}

uint64_t seal_oldest_segment(const struct storage *storage)
{
    uint64_t oldest = storage->log.segment;
    for (size_t i = 0; i < storage->groups.count; i++) {
        const struct storage_group *group = storage->groups.items[i];
        if (group && group->slot && group->slot->segment < oldest)
            oldest = group->slot->segment;
    }
    oldest = late_oldest_segment(storage, oldest);
    LIST_EACH (node, &storage->seal_jobs) {
        const struct seal_job *job = CONTAINER_OF(node, struct seal_job, node);
        oldest = job->slot->segment < oldest ? job->slot->segment : oldest;
    }
    return oldest;
}

bool seal_uses(const struct storage *storage, const struct partition *partition)
{
    LIST_EACH (node, &storage->seal_jobs) {
        const struct seal_job *job = CONTAINER_OF(node, struct seal_job, node);
        if (job->submitted)
            return true; /* The lane knows which. */
        for (size_t i = 0; i < job->targets.items.count; i++) {
            if (job->targets.items.items[i].partition == partition)
                return true;
        }
    }
    return false;
}

bool seal_touches(const struct storage *storage, int64_t from_ms, int64_t to_ms)
{
    LIST_EACH (node, &storage->seal_jobs) {
        const struct seal_job *job = CONTAINER_OF(node, struct seal_job, node);
        if (slot_touches(job->slot, from_ms, to_ms))
            return true;
    }
    return false;
}

void seal_each_slot(const struct storage *storage, void (*each)(void *ctx, const struct slot *slot),
                    void *ctx)
{
    LIST_EACH (node, &storage->seal_jobs) {
        each(ctx, CONTAINER_OF(node, struct seal_job, node)->slot);
    }
}

void seal_cut_all(struct storage *storage)
{
    for (size_t i = 0; i < storage->groups.count; i++) {
        struct storage_group *group = storage->groups.items[i];
        if (group && group->slot)
            seal_cut(storage, group);
    }
    late_cut(storage);
}

bool seal_has_slot(const struct storage *storage, uint64_t number)
{
    LIST_EACH (node, &storage->seal_jobs) {
        if (CONTAINER_OF(node, struct seal_job, node)->slot->number <= number)
            return true;
    }
    return false;
}

void seal_free_all(struct storage *storage)
{
    LIST_EACH (node, &storage->seal_jobs) {
        struct seal_job *job = CONTAINER_OF(node, struct seal_job, node);
        ENSURE(!job->submitted);
        list_remove(&job->node);
        slot_free(job->slot);
        seal_free(job);
    }
}
