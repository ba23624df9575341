/* publish: a partition that has ended becomes a day file; a day with late samples is built anew.
 *
 *     loop: due -> slots with samples of it are cut -> when they are sealed
 *     commit lane: freeze: later samples of the span go to an overlay
 *     build lane: day_build, throttled -> rename
 *     loop: one new list: the day in, its inputs out -> retention.c unlinks them
 *
 * One at a time, oldest first. What fails is tried again later from the same inputs, which serve meanwhile. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "day_build.h"
#include "store.h"

#define CHECK_MS        1000
#define RETRY_MS        60000
#define OVERLAY_IDLE_MS (60 * 60 * 1000)
#define JITTER_MS       (60 * 60 * 1000)
#define SPREAD_DAY      20 /* An overlay is merged when it is over a twentieth of its day. */

enum publish_state { PUBLISH_DRAINING, PUBLISH_FREEZING, PUBLISH_BUILDING };

struct publish {
    struct job job;
    struct storage *storage;
    enum publish_state state;
    int64_t from_ms, to_ms;
    VEC(struct store_file) inputs; /* As they are in the list; days are referenced. */
    VEC(struct day_input) day_inputs;
    VEC(struct index_segment *) segments; /* Of all inputs, one after the other. */
    struct tombstone_list *deletes;
    int64_t cutoff_ms;
    atomic_bool stop;
    /* Out: */
    struct day_file *day;
    bool failed, empty;
    double seconds;
    struct err err;
};

bool publish_uses(const struct storage *storage, const struct store_file *file)
{
    const struct publish *publish = storage->publish;
    for (size_t i = 0; publish && i < publish->inputs.count; i++) {
        if (publish->inputs.items[i].open == file->open &&
            publish->inputs.items[i].day == file->day)
            return true;
    }
    return publish && publish->from_ms < file->to_ms && publish->to_ms > file->from_ms;
}

/* --- lanes --- */

static void freeze_run(struct job *base)
{
    struct publish *publish = CONTAINER_OF(base, struct publish, job);
    struct storage *storage = publish->storage;
    size_t kept = 0;
    struct span span = {publish->from_ms, publish->to_ms};
    for (size_t i = 0; i < storage->lane_partitions.count; i++) {
        struct partition *partition = storage->lane_partitions.items[i];
        if (partition->from_ms < span.from_ms || partition->to_ms > span.to_ms)
            storage->lane_partitions.items[kept++] = partition;
    }
    storage->lane_partitions.count = kept;
    VEC_EACH (known, &storage->lane_spans) {
        if (known->from_ms <= span.from_ms && known->to_ms >= span.to_ms)
            return;
    }
    VEC_PUSH(&storage->lane_spans, span);
}

/* Half of the time at most: scrapes, seals and queries come first. */
static void pause_build(void *ctx, uint64_t bytes_done, uint64_t bytes_all)
{
    struct timespec nap = {.tv_nsec = 2 * 1000 * 1000};
    (void)ctx, (void)bytes_done, (void)bytes_all;
    nanosleep(&nap, NULL);
}

static void build_run(struct job *base)
{
    struct publish *publish = CONTAINER_OF(base, struct publish, job);
    struct day_build build = {.inputs = publish->day_inputs.items,
                              .input_count = publish->day_inputs.count,
                              .from_ms = publish->from_ms,
                              .to_ms = publish->to_ms,
                              .cutoff_ms = publish->cutoff_ms,
                              .dir = publish->storage->dir,
                              .sequence_last = publish->deletes->sequence_last,
                              .deleted = publish->deletes->count ? tombstone_ranges : NULL,
                              .deleted_ctx = publish->deletes,
                              .stop = &publish->stop,
                              .pause = pause_build};
    int64_t begin_ns = clock_mono_ns();
    char *path = NULL;
    ensure_set_job("build a day");
    publish->failed = !day_build_run(&build, &path, &publish->err);
    publish->empty = publish->failed && publish->err.code == ERR_NOT_FOUND;
    if (!publish->failed)
        publish->failed = !day_file_open(&publish->day, path, &publish->err);
    mem_free(path);
    publish->seconds = (double)(clock_mono_ns() - begin_ns) / 1e9;
    ensure_set_job("build lane");
}

/* --- loop --- */

static void publish_end(struct publish *publish)
{
    struct storage *storage = publish->storage;
    VEC_EACH (file, &publish->inputs) {
        day_file_unref(file->day);
    }
    VEC_FREE(&publish->inputs);
    VEC_FREE(&publish->day_inputs);
    VEC_FREE(&publish->segments);
    tombstone_list_free(publish->deletes);
    mem_free(publish);
    storage->publish = NULL;
}

static void build_done(struct job *base)
{
    struct publish *publish = CONTAINER_OF(base, struct publish, job);
    struct storage *storage = publish->storage;
    storage->stats.build_seconds += publish->seconds;
    if (publish->failed && !publish->empty) {
        if (publish->err.code != ERR_CANCELED)
            LOG_E("Partition could not be built and is tried again", "err", publish->err.text);
        storage->stats.build_failures += publish->err.code != ERR_CANCELED;
        tombstone_clean_failed(storage, publish->from_ms, publish->to_ms, &publish->err);
        storage->publish_checked_mono_ms = clock_mono_ms() + RETRY_MS;
        publish_end(publish);
        return;
    }
    struct store_file added = {
        .from_ms = publish->from_ms, .to_ms = publish->to_ms, .day = publish->day};
    if (publish->day)
        LOG_I("Day is built", "file", day_file_path(publish->day), "series",
              log_fmt("%" PRIu32, day_file_info(publish->day)->series_count), "samples",
              log_fmt("%" PRIu64, day_file_info(publish->day)->sample_count), "bytes",
              log_fmt("%" PRIu64, day_file_info(publish->day)->bytes), "seconds",
              log_fmt("%.2f", publish->seconds));
    storage->stats.builds++;
    retention_retire(storage, publish->inputs.items, publish->inputs.count,
                     publish->day ? &added : NULL);
    publish_end(publish);
    tombstone_forget(storage, 0);
}

static void freeze_done(struct job *base)
{
    struct publish *publish = CONTAINER_OF(base, struct publish, job);
    struct storage *storage = publish->storage;
    const struct file_list *list = file_list_now(storage);
    for (uint32_t i = 0; list && i < list->count; i++) {
        struct store_file file = list->items[i];
        if (file.from_ms < publish->from_ms || file.to_ms > publish->to_ms)
            continue;
        struct day_input input = {.kv = file.open ? file.open->kv : NULL, .day = file.day};
        const struct segment_list *segments = file.open ? atomic_load(&file.open->spilled) : NULL;
        if (file.open)
            file.open->frozen = true;
        else
            day_file_ref(file.day);
        input.segment_count = segments ? segments->count : 0;
        for (uint32_t s = 0; s < input.segment_count; s++)
            VEC_PUSH(&publish->segments, segments->items[s]);
        VEC_PUSH(&publish->inputs, file);
        VEC_PUSH(&publish->day_inputs, input);
    }
    if (storage->stopping) { /* But they are not the lane's any more. */
        publish_end(publish);
        return;
    }
    uint32_t at = 0;
    VEC_EACH (input, &publish->day_inputs) {
        input->segments = publish->segments.items + at;
        at += input->segment_count;
    }
    publish->deletes = tombstone_list_over(storage, publish->from_ms, publish->to_ms);
    publish->state = PUBLISH_BUILDING;
    publish->job.run = build_run;
    publish->job.done = build_done;
    storage->options.submit_build(storage->options.build_ctx, &publish->job);
}

static void cut_slots(struct storage *storage, int64_t from_ms, int64_t to_ms)
{
    for (size_t i = 0; i < storage->groups.count; i++) {
        struct storage_group *group = storage->groups.items[i];
        if (group && group->slot && group->slot->member_count > 0 &&
            slot_touches(group->slot, from_ms, to_ms))
            seal_cut(storage, group);
    }
}

/* The span that is to be built next; false when there is none. */
static bool find_due(const struct storage *storage, int64_t now_mono_ms, struct span *out)
{
    const struct file_list *list = file_list_now(storage);
    int64_t newest = storage_newest_ms(storage);
    int64_t jitter = (int64_t)(hash64(storage->options.path) % JITTER_MS);
    int64_t delay = storage->options.build_delay_ms;
    delay += delay > 0 ? jitter : 0;
    for (uint32_t i = 0; list && i < list->count; i++) {
        const struct store_file *file = &list->items[i];
        const struct partition *open = file->open;
        if (!open)
            continue;
        *out = (struct span){file->from_ms, file->to_ms};
        bool ended = newest >= file->to_ms && newest - file->to_ms >= delay;
        if (!open->is_overlay && ended)
            return true;
        const struct store_file *day = i > 0 ? &list->items[i - 1] : NULL;
        bool large = day && day->day && day->from_ms == file->from_ms &&
                     file_bytes(open->path) > day_file_info(day->day)->bytes / SPREAD_DAY;
        bool idle = now_mono_ms - open->touched_mono_ms >= OVERLAY_IDLE_MS || delay == 0;
        if (open->is_overlay && ended && (large || idle))
            return true;
    }
    return tombstone_clean_due(storage, &out->from_ms, &out->to_ms);
}

static void publish_begin(struct storage *storage, const struct span *span)
{
    struct publish *publish = MEM_NEW(struct publish);
    int64_t edge_ms;
    publish->storage = storage;
    publish->from_ms = span->from_ms;
    publish->to_ms = span->to_ms;
    publish->cutoff_ms =
        retention_edge(storage, &edge_ms) && edge_ms >= span->to_ms ? edge_ms : INT64_MIN;
    storage->publish = publish;
    cut_slots(storage, span->from_ms, span->to_ms);
    if (late_touches(storage, span->from_ms, span->to_ms))
        late_cut(storage);
}

void publish_tick(struct storage *storage, int64_t now_mono_ms)
{
    struct publish *publish = storage->publish;
    struct span span;
    if (!publish) {
        if (storage->stopping || now_mono_ms < storage->publish_checked_mono_ms || storage->spill ||
            storage->log.failing || snapshot_holds_files(storage) || !retention_has_room(storage) ||
            !find_due(storage, now_mono_ms, &span)) {
            if (now_mono_ms >= storage->publish_checked_mono_ms)
                storage->publish_checked_mono_ms = now_mono_ms + CHECK_MS;
            return;
        }
        publish_begin(storage, &span);
        publish = storage->publish;
    }
    if (publish->state != PUBLISH_DRAINING ||
        seal_touches(storage, publish->from_ms, publish->to_ms) ||
        late_touches(storage, publish->from_ms, publish->to_ms))
        return;
    publish->state = PUBLISH_FREEZING;
    publish->job.run = freeze_run;
    publish->job.done = freeze_done;
    storage->options.submit_commit(storage->options.submit_ctx, &publish->job);
}

bool publish_blocks_spill(const struct storage *storage)
{
    return snapshot_holds_files(storage) ||
           (storage->publish && storage->publish->state != PUBLISH_BUILDING);
}

void publish_stop(struct storage *storage)
{
    if (storage->publish)
        atomic_store(&storage->publish->stop, true);
}

void publish_free(struct storage *storage)
{
    struct publish *publish = storage->publish;
    if (!publish)
        return;
    ENSURE(publish->state == PUBLISH_DRAINING); /* The lanes are closed. */
    publish_end(publish);
}
