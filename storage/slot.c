/* slot: half an hour of one group, from open to a file.
 *
 *     open --due or full: slot_cut--> frozen chunks in a job
 *     --commit lane: seal_run--> bundles in partition files, then the slot's number in head.mdb
 *     --loop: seal_done--> published, the head's chunks dropped, old log removed
 *
 * Until seal_done the head still shows the chunks, from then on the file does; a select takes the
 * head first and the files second, so it may see both (equal samples are merged) but never neither.
 * A seal that fails (disk full) is tried again; the log keeps its records until it has worked. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "store.h"

#define SEAL_RETRY_MS 5000
#define SLOT_CHECK_MS 500 /* Ticks come with each append; groups may be thousands. */
#define TXN_BYTES_MAX ((size_t)16 << 20)

struct seal_item {
    const struct series *series;
    series_ref ref;
    uint32_t chunk_first, chunk_count; /* In job->chunks, oldest first. */
    uint32_t target; /* Of its newest samples, 1 + position in job->targets; 0: none was written. */
};

/* The part of a slot that goes into one partition. */
struct seal_target {
    struct partition *partition;
    struct kv_write *write;
    size_t write_bytes;
    uint64_t next_key;
    struct buf payload;
    VEC(struct bundle_row) rows;
    VEC(struct bundle_entry) entries; /* Committed or about to be. */
};

struct seal_job {
    struct job job;
    struct list_node node; /* In storage->seal_jobs. */
    struct storage *storage;
    struct storage_group *group;
    uint64_t slot, segment, group_key;
    uint64_t next_id, next_slot;
    int64_t cutoff_ms; /* Older samples are past retention. */
    bool submitted;
    VEC(struct seal_item) items;
    VEC(const struct chunk *) chunks;
    VEC(struct seal_target) targets;
    /* Lane scratch: */
    VEC(int64_t) times;
    VEC(double) values;
    bool failed;
    struct err err;
};

static int compare_item_id(const void *a, const void *b)
{
    const struct seal_item *x = a, *y = b;
    return (x->series->id > y->series->id) - (x->series->id < y->series->id);
}

static void collect_chunks(struct seal_job *job, struct series *series, series_ref ref)
{
    struct seal_item item = {
        .series = series, .ref = ref, .chunk_first = (uint32_t)job->chunks.count};
    struct chunk *at = atomic_load_explicit(&series->newest, memory_order_relaxed);
    for (; at; at = atomic_load_explicit(&at->older, memory_order_relaxed)) {
        if (at->slot == job->slot)
            VEC_PUSH(&job->chunks, at);
    }
    item.chunk_count = (uint32_t)job->chunks.count - item.chunk_first;
    for (uint32_t i = 0; i < item.chunk_count / 2; i++) {
        const struct chunk **chunks = job->chunks.items + item.chunk_first;
        const struct chunk *swapped = chunks[i];
        chunks[i] = chunks[item.chunk_count - 1 - i];
        chunks[item.chunk_count - 1 - i] = swapped;
    }
    if (item.chunk_count > 0)
        VEC_PUSH(&job->items, item);
}

/* A series that began a second time in its slot, after a hole in the log, stands twice among the
 * refs. */
static void drop_repeated(struct seal_job *job)
{
    size_t kept = 0;
    for (size_t i = 0; i < job->items.count; i++) {
        if (kept == 0 || job->items.items[kept - 1].ref != job->items.items[i].ref)
            job->items.items[kept++] = job->items.items[i];
    }
    job->items.count = kept;
}

static void seal_run(struct job *base);
static void seal_done(struct job *base);

void slot_cut(struct storage *storage, struct storage_group *group)
{
    struct seal_job *job = MEM_NEW(struct seal_job);
    ENSURE(group->slot != 0);
    job->job.run = seal_run;
    job->job.done = seal_done;
    job->storage = storage;
    job->group = group;
    job->group_key = group->key;
    job->slot = group->slot;
    job->segment = group->slot_segment;
    group->opens++; /* Until seal_done. */
    VEC_EACH (ref, &group->slot_refs) {
        struct series *series = head_series(storage, *ref);
        if (series->open && series->open->slot == job->slot)
            series->open = NULL;
        collect_chunks(job, series, *ref);
    }
    VEC_SORT(&job->items, compare_item_id);
    drop_repeated(job);
    group->slot = 0;
    VEC_FREE(&group->slot_refs);
    list_push_back(&storage->seal_jobs, &job->node);
}

/* --- commit lane --- */

static bool bundle_flush(struct seal_target *target, struct err *err)
{
    struct buf value, body;
    struct bundle_entry entry = {
        .key = target->next_key, .time_min_ms = INT64_MAX, .time_max_ms = INT64_MIN};
    if (target->rows.count == 0)
        return true;
    buf_init(&body, (size_t)1 << 30);
    buf_init(&value, (size_t)1 << 30);
    entry.id_min = target->rows.items[0].id;
    entry.id_max = target->rows.items[target->rows.count - 1].id;
    VEC_EACH (row, &target->rows) {
        entry.time_min_ms =
            row->time_min_ms < entry.time_min_ms ? row->time_min_ms : entry.time_min_ms;
        entry.time_max_ms =
            row->time_max_ms > entry.time_max_ms ? row->time_max_ms : entry.time_max_ms;
    }
    write_u32(&body, (uint32_t)target->rows.count);
    write_u64(&body, (uint64_t)entry.time_min_ms);
    write_u64(&body, (uint64_t)entry.time_max_ms);
    VEC_EACH (row, &target->rows) {
        write_u64(&body, row->id);
        write_u32(&body, row->offset);
        write_u32(&body, row->len);
        write_u32(&body, row->count);
        write_u32(&body, 0);
        write_u64(&body, (uint64_t)row->time_min_ms);
        write_u64(&body, (uint64_t)row->time_max_ms);
    }
    buf_add_str(&body, buf_str(&target->payload));
    write_u32(&value, BUNDLE_MAGIC);
    write_u32(&value, hash_crc32c(0, buf_str(&body)));
    buf_add_str(&value, buf_str(&body));
    bool good = kv_put(target->write, PARTITION_BUNDLES, target->next_key, buf_str(&value), err);
    target->write_bytes += value.len;
    buf_deinit(&body);
    buf_deinit(&value);
    if (!good)
        return false;
    VEC_PUSH(&target->entries, entry);
    target->next_key++;
    VEC_CLEAR(&target->rows);
    buf_clear(&target->payload);
    return true;
}

static bool target_begin(struct seal_target *target, struct err *err)
{
    bool found;
    uint64_t last = 0;
    if (!kv_write_begin(target->partition->kv, &target->write, err))
        return false;
    target->write_bytes = 0;
    if (!kv_last_key(target->write, PARTITION_BUNDLES, &found, &last, err))
        return false;
    target->next_key = found ? last + 1 : 1;
    return true;
}

static bool target_commit(struct seal_target *target, struct err *err)
{
    struct kv_write *write = target->write;
    if (!bundle_flush(target, err))
        return false;
    target->write = NULL;
    return kv_commit(write, err);
}

static bool target_for(struct seal_job *job, int64_t time_ms, struct seal_target **out,
                       struct err *err)
{
    struct seal_target target = {0};
    VEC_EACH (have, &job->targets) {
        if (time_ms >= have->partition->from_ms && time_ms < have->partition->to_ms) {
            *out = have;
            return true;
        }
    }
    if (!partition_for(job->storage, time_ms, &target.partition, err))
        return false;
    buf_init(&target.payload, (size_t)1 << 30);
    VEC_PUSH(&job->targets, target);
    *out = &job->targets.items[job->targets.count - 1];
    return target_begin(*out, err);
}

/* Samples [from, to) of the scratch arrays as one row; they are all in target's partition. */
static bool seal_run_of(struct seal_job *job, struct seal_target *target,
                        const struct series *series, size_t from, size_t to, struct err *err)
{
    struct bundle_row row = {
        .id = series->id, .offset = (uint32_t)target->payload.len, .count = (uint32_t)(to - from)};
    struct chunk_state state = {0};
    uint8_t entry[CHUNK_ENTRY_MAX];
    bool known;
    if (!kv_has(target->write, PARTITION_SERIES, series->id, &known, err))
        return false;
    if (!known) {
        struct buf labels;
        buf_init(&labels, (size_t)64 << 20);
        series_encode_labels(job->storage, series, &labels);
        known = kv_put(target->write, PARTITION_SERIES, series->id, buf_str(&labels), err);
        target->write_bytes += labels.len;
        buf_deinit(&labels);
        if (!known)
            return false;
    }
    for (size_t i = from; i < to; i++) {
        size_t len =
            chunk_encode(&state, job->times.items[i], sample_bits(job->values.items[i]), entry);
        buf_add(&target->payload, entry, len);
    }
    row.len = (uint32_t)target->payload.len - row.offset;
    row.time_min_ms = job->times.items[from];
    row.time_max_ms = job->times.items[to - 1];
    VEC_PUSH(&target->rows, row);
    if (target->rows.count < BUNDLE_SERIES_MAX && target->payload.len < BUNDLE_BYTES_AIM)
        return true;
    if (!bundle_flush(target, err))
        return false;
    if (target->write_bytes < TXN_BYTES_MAX)
        return true;
    return target_commit(target, err) && target_begin(target, err);
}

static bool seal_series(struct seal_job *job, struct seal_item *item, struct err *err)
{
    VEC_CLEAR(&job->times);
    VEC_CLEAR(&job->values);
    item->target = 0;
    for (uint32_t i = 0; i < item->chunk_count; i++) {
        const struct chunk *chunk = job->chunks.items[item->chunk_first + i];
        uint32_t count = atomic_load_explicit(&chunk->count, memory_order_acquire);
        VEC_RESERVE(&job->times, count);
        VEC_RESERVE(&job->values, count);
        chunk_read(chunk, count, job->times.items + job->times.count,
                   job->values.items + job->values.count);
        job->times.count += count;
        job->values.count += count;
    }
    for (size_t from = 0, to; from < job->times.count; from = to) {
        struct seal_target *target;
        to = from + 1;
        if (job->times.items[from] < job->cutoff_ms)
            continue;
        if (!target_for(job, job->times.items[from], &target, err))
            return false;
        while (to < job->times.count && job->times.items[to] < target->partition->to_ms &&
               job->times.items[to] > job->times.items[to - 1])
            to++;
        if (!seal_run_of(job, target, item->series, from, to, err))
            return false;
        item->target = (uint32_t)(target - job->targets.items) + 1;
    }
    return true;
}

static bool mark_sealed(struct seal_job *job, struct err *err)
{
    struct kv_write *write;
    uint64_t numbers[3] = {job->slot, job->next_id, job->next_slot};
    if (!kv_write_begin(job->storage->head, &write, err))
        return false;
    if (kv_put(write, HEAD_SEALED, job->group_key, str_from((const char *)&numbers[0], 8), err) &&
        kv_put(write, HEAD_META, META_NEXT_ID, str_from((const char *)&numbers[1], 8), err) &&
        kv_put(write, HEAD_META, META_NEXT_SLOT, str_from((const char *)&numbers[2], 8), err))
        return kv_commit(write, err);
    kv_abort(write);
    return false;
}

static void targets_clear(struct seal_job *job)
{
    VEC_EACH (target, &job->targets) {
        kv_abort(target->write);
        buf_deinit(&target->payload);
        VEC_FREE(&target->rows);
        VEC_FREE(&target->entries);
    }
    VEC_FREE(&job->targets);
}

/* Takes back what a failed try has committed, so that tries do not add up on a disk that is nearly
 * full. Bundles that stay all the same do no harm: equal samples are merged. */
static void take_back(struct seal_job *job)
{
    VEC_EACH (target, &job->targets) {
        struct err ignored = {0};
        struct kv_write *write = NULL;
        bool good = true;
        kv_abort(target->write);
        target->write = NULL;
        if (target->entries.count == 0 || !kv_write_begin(target->partition->kv, &write, &ignored))
            continue;
        VEC_EACH (entry, &target->entries) {
            good = good && kv_delete(write, PARTITION_BUNDLES, entry->key, &ignored);
        }
        if (good)
            good = kv_commit(write, &ignored);
        else
            kv_abort(write);
        if (!good)
            LOG_W("A failed seal could not be taken back", "err", ignored.text);
    }
}

static void seal_run(struct job *base)
{
    struct seal_job *job = CONTAINER_OF(base, struct seal_job, job);
    bool good = true;
    job->failed = false;
    ensure_set_job("seal a slot");
    for (size_t i = 0; i < job->items.count && good; i++)
        good = seal_series(job, &job->items.items[i], &job->err);
    VEC_EACH (target, &job->targets) {
        good = good && target_commit(target, &job->err);
    }
    job->failed = !good || !mark_sealed(job, &job->err);
    VEC_FREE(&job->times);
    VEC_FREE(&job->values);
    if (job->failed)
        take_back(job);
    ensure_set_job("commit lane");
}

/* --- loop thread --- */

static void seal_free(struct seal_job *job)
{
    targets_clear(job);
    VEC_FREE(&job->items);
    VEC_FREE(&job->chunks);
    VEC_FREE(&job->times);
    VEC_FREE(&job->values);
    mem_free(job);
}

static void seal_done(struct job *base)
{
    struct seal_job *job = CONTAINER_OF(base, struct seal_job, job);
    struct storage *storage = job->storage;
    job->submitted = false;
    if (job->failed) {
        LOG_E("Slot could not be sealed and is tried again", "err", job->err.text);
        storage->stats.seal_failures++;
        storage->seal_retry_mono_ms = clock_mono_ms() + SEAL_RETRY_MS;
        err_clear(&job->err);
        targets_clear(job);
        return;
    }
    VEC_EACH (target, &job->targets) {
        partition_publish(storage, target->partition, target->entries.items, target->entries.count);
    }
    VEC_EACH (item, &job->items) {
        struct series *series = head_series(storage, item->ref);
        const struct partition *newest =
            item->target ? job->targets.items[item->target - 1].partition : NULL;
        if (newest && !newest->retired && newest->to_ms > series->labels_until_ms)
            series->labels_until_ms = newest->to_ms;
        head_drop_sealed(storage, series, job->slot);
    }
    storage->stats.slots_sealed++;
    list_remove(&job->node);
    job->group->seal_front = NULL;
    storage_group_close(job->group);
    epoch_collect(&storage->epoch);
    log_drop_sealed_segments(storage);
    seal_free(job);
    if (storage->options.wake) /* The group's next slot may wait. */
        storage->options.wake(storage->options.wake_ctx);
}

/* Whole partitions go at once: what shares one with retained samples stays. */
static int64_t cutoff(const struct storage *storage)
{
    int64_t edge, partition_ms = storage->options.partition_ms;
    if (!partition_edge(storage, &edge))
        return INT64_MIN;
    return (edge / partition_ms - (edge % partition_ms < 0)) * partition_ms;
}

/* head.mdb tells a group's newest sealed slot only: its slots are sealed in order, however often
 * one fails. */
static bool may_be_sealed(const struct seal_job *job)
{
    return !job->submitted && (!job->group->seal_front || job->group->seal_front == job);
}

void slot_tick(struct storage *storage, int64_t now_mono_ms)
{
    bool look = now_mono_ms - storage->slots_checked_mono_ms >= SLOT_CHECK_MS;
    if (look)
        storage->slots_checked_mono_ms = now_mono_ms;
    for (size_t i = 0; look && i < storage->groups.count; i++) {
        struct storage_group *group = storage->groups.items[i];
        if (group && group->slot != 0 && now_mono_ms >= group->slot_until_mono_ms)
            slot_cut(storage, group);
    }
    if (now_mono_ms < storage->seal_retry_mono_ms)
        return;
    LIST_EACH (node, &storage->seal_jobs) {
        struct seal_job *job = CONTAINER_OF(node, struct seal_job, node);
        if (!may_be_sealed(job))
            continue;
        job->group->seal_front = job;
        job->submitted = true;
        job->cutoff_ms = cutoff(storage);
        job->next_id = storage->next_id;
        job->next_slot = storage->next_slot;
        storage->options.submit_commit(storage->options.submit_ctx, &job->job);
    }
}

int64_t slot_next_ms(const struct storage *storage, int64_t now_mono_ms)
{
    int64_t next = 1000;
    LIST_EACH (node, &storage->seal_jobs) {
        if (may_be_sealed(CONTAINER_OF(node, struct seal_job, node)) &&
            storage->seal_retry_mono_ms <= now_mono_ms)
            next = 0;
    }
    return next;
}

uint64_t slot_oldest_segment(const struct storage *storage)
{
    uint64_t oldest = storage->log.segment;
    for (size_t i = 0; i < storage->groups.count; i++) {
        const struct storage_group *group = storage->groups.items[i];
        if (group && group->slot != 0 && group->slot_segment < oldest)
            oldest = group->slot_segment;
    }
    LIST_EACH (node, &storage->seal_jobs) {
        const struct seal_job *job = CONTAINER_OF(node, struct seal_job, node);
        oldest = job->segment < oldest ? job->segment : oldest;
    }
    return oldest;
}

void slot_free_all(struct storage *storage)
{
    LIST_EACH (node, &storage->seal_jobs) {
        struct seal_job *job = CONTAINER_OF(node, struct seal_job, node);
        ENSURE(!job->submitted);
        list_remove(&job->node);
        seal_free(job);
    }
}
