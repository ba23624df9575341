/* late: see late.h. */
#include "late.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "codec.h"
#include "log_format.h"
#include "seal_target.h"
#include "store.h"

#define RETRY_MS 5000

/* A late slot on its way to the files. */
struct late_job {
    struct job job;
    struct storage *storage;
    struct late_slot *slot;
    uint64_t next_id, next_slot;
    struct seal_targets targets;
    bool submitted, written, failed;
    int64_t retry_mono_ms;
    struct err err;
};

static struct late_list *list_now(const struct storage *storage)
{
    return atomic_load_explicit(&storage->late_slots, memory_order_relaxed);
}

static void list_replace(struct storage *storage, struct late_slot *added,
                         const struct late_slot *removed)
{
    struct late_list *old = list_now(storage);
    uint32_t count = old ? old->count : 0;
    struct late_list *list = mem_alloc(sizeof(*list) + (count + 1) * sizeof(list->items[0]));
    list->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (old->items[i] != removed)
            list->items[list->count++] = old->items[i];
    }
    if (added)
        list->items[list->count++] = added;
    atomic_store_explicit(&storage->late_slots, list, memory_order_release);
    if (old)
        epoch_retire(&storage->epoch, mem_free, old);
}

static void slot_drop(void *ptr)
{
    struct late_slot *slot = ptr;
    segments_deinit(&slot->samples);
    arena_deinit(&slot->histograms);
    mem_free(slot);
}

/* The open late slot; made when there is none. */
static struct late_slot *slot_open(struct storage *storage, uint64_t number)
{
    const struct late_list *list = list_now(storage);
    if (list && list->count > 0 && !list->items[list->count - 1]->cut)
        return list->items[list->count - 1];
    struct late_slot *slot = MEM_NEW(struct late_slot);
    slot->number = number ? number : storage->next_slot;
    slot->segment = storage->log.segment;
    slot->until_mono_ms = clock_mono_ms() + storage->options.slot_ms;
    segments_init(&slot->samples, sizeof(struct late_sample), 1024);
    arena_init(&slot->histograms, 0);
    if (slot->number >= storage->next_slot)
        storage->next_slot = slot->number + 1;
    list_replace(storage, slot, NULL);
    return slot;
}

static void slot_put(struct storage *storage, struct late_slot *slot,
                     const struct late_sample *sample)
{
    struct late_sample *place = segments_next(&slot->samples);
    struct series *series = head_series(storage, sample->ref);
    bool was_live = series_is_live(series);
    *place = *sample;
    if (sample->histogram)
        place->histogram = histogram_copy(&slot->histograms, sample->histogram);
    segments_publish(&slot->samples);
    series_pin(series);
    series_note_live(storage, sample->ref, was_live);
    head_note_time(storage, sample->time_ms);
    /* Too old for the head may still be newer than all that the series has. What comes into the head later is newer yet. */
    if (series_newest_ms(series) != INT64_MIN && series_newest_ms(series) < sample->time_ms) {
        series_set_newest_ms(series, sample->time_ms);
        series->bits_known = false;
    }
}

/* --- log: u8 3, varint slot, varint number of the record in it, then for each sample zigzag id - id before, zigzag time -
 * time before, u8 0 and the value's 8 bytes, or u8 1 and varint length and codec_histogram bytes --- */

static void log_sample(struct storage *storage, struct late_slot *slot,
                       const struct late_sample *sample)
{
    struct buf *out = &storage->log.pending;
    struct late_record *record = &storage->late_record;
    uint64_t id = head_series(storage, sample->ref)->id;
    if (!record->open) {
        record->open = true;
        record->start = log_record_begin(storage, LOG_LATE);
        record->id_last = 0;
        record->time_last_ms = 0;
        write_varint(out, slot->number);
        write_varint(out, slot->sequence++);
    }
    write_zigzag(out, (int64_t)(id - record->id_last));
    write_zigzag(out, sample->time_ms - record->time_last_ms);
    record->id_last = id;
    record->time_last_ms = sample->time_ms;
    write_u8(out, sample->histogram ? 1 : 0);
    if (sample->histogram) {
        struct buf body;
        buf_init(&body, (size_t)64 << 20);
        codec_histogram_encode(sample->histogram, NULL, &body);
        write_varint_str(out, buf_str(&body));
        buf_deinit(&body);
    } else {
        write_u64(out, sample->bits);
    }
}

void late_add(struct storage *storage, const struct batch_sample *sample)
{
    struct late_slot *slot = slot_open(storage, 0);
    struct series *series = head_series(storage, sample->ref);
    struct late_sample late = {.time_ms = sample->time_ms,
                               .bits = sample_bits(sample->value),
                               .histogram =
                                   sample->kind == SAMPLE_HISTOGRAM ? sample->histogram : NULL,
                               .ref = sample->ref};
    if (!series_has_labels(storage, series) && series->logged_segment < slot->segment) {
        late_end_batch(storage);
        log_add_series(storage, sample->ref, LATE_GROUP_KEY);
    }
    log_sample(storage, slot, &late);
    slot_put(storage, slot, &late);
}

void late_end_batch(struct storage *storage)
{
    if (!storage->late_record.open)
        return;
    log_record_finish(storage, storage->late_record.start);
    storage->late_record.open = false;
}

static bool replay_sample(struct storage *storage, struct late_slot *slot, struct reader *in,
                          uint64_t *id, int64_t *time_ms)
{
    *id += (uint64_t)read_zigzag(in);
    int64_t step = read_zigzag(in);
    uint8_t kind = read_u8(in);
    struct late_sample late = {.ref = series_find_id(storage, *id)};
    struct histogram *histogram = NULL;
    struct arena arena;
    if (in->bad || kind > 1 || late.ref == MAP_NONE ||
        __builtin_add_overflow(*time_ms, step, time_ms) || *time_ms > TIME_MS_MAX ||
        *time_ms < -TIME_MS_MAX)
        return false;
    arena_init(&arena, 0);
    late.time_ms = *time_ms;
    bool good = true;
    if (kind == 0) {
        late.bits = read_u64(in);
    } else {
        struct reader body = reader_over(read_varint_str(in));
        good = !in->bad && codec_histogram_decode(&body, NULL, &arena, &histogram);
        late.histogram = histogram;
    }
    good = good && !in->bad;
    if (good)
        slot_put(storage, slot, &late);
    arena_deinit(&arena);
    return good;
}

bool late_replay(struct storage *storage, struct reader *in, uint64_t sealed, uint64_t *samples)
{
    uint64_t number = read_varint(in), sequence = read_varint(in), id = 0;
    int64_t time_ms = 0;
    const struct late_list *list = list_now(storage);
    struct late_slot *open = list && list->count > 0 ? list->items[list->count - 1] : NULL;
    if (in->bad || number == 0 || number > NUMBER_MAX)
        return false;
    if (number <= sealed || (open && number < open->number))
        return true;
    if (open && number > open->number)
        open->cut = true;
    struct late_slot *slot = slot_open(storage, number);
    if (slot->number != number || sequence < slot->sequence)
        return true;
    slot->sequence = sequence + 1;
    while (in->at < in->end) {
        if (!replay_sample(storage, slot, in, &id, &time_ms))
            return false;
        ++*samples;
    }
    return true;
}

/* --- commit lane --- */

struct sorted {
    const struct late_sample *sample;
    uint64_t id;
    uint32_t number;
};

static int compare_sorted(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    if (x->sample->time_ms != y->sample->time_ms)
        return x->sample->time_ms < y->sample->time_ms ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* One series' samples in one partition, on a column of their own. */
static bool seal_piece(struct late_job *job, struct seal_target *target,
                       const struct series *series, const struct samples *samples, size_t from,
                       size_t to, struct err *err)
{
    struct buf bytes;
    uint32_t first, last, rows = (uint32_t)(to - from);
    if (!seal_target_labels(&job->targets, target, series, err))
        return false;
    uint16_t column = bundle_writer_column(&target->bundle, samples->time_ms + from, rows);
    buf_init(&bytes, (size_t)1 << 30);
    stream_write(samples, from, rows, samples->time_ms + from, rows, &bytes, &first, &last);
    bundle_writer_run(&target->bundle, series->id, column, first, last, samples->time_ms[from],
                      samples->time_ms[to - 1], buf_str(&bytes));
    buf_deinit(&bytes);
    return seal_target_after_run(&job->targets, target, err);
}

static bool seal_series(struct late_job *job, const struct sorted *items, size_t count,
                        struct err *err)
{
    struct samples samples;
    const struct series *series = head_series(job->storage, items[0].sample->ref);
    bool good = true;
    samples_init(&samples);
    samples_reserve(&samples, count);
    for (size_t i = 0; i < count; i++) {
        const struct late_sample *sample = items[i].sample;
        if (i + 1 < count && items[i + 1].sample->time_ms == sample->time_ms)
            continue; /* The one that came last counts. */
        if (sample->histogram)
            samples_add_histogram(&samples, sample->time_ms, sample->histogram);
        else
            samples_add(&samples, sample->time_ms, sample_from_bits(sample->bits));
    }
    for (size_t from = 0, to; good && from < samples.count; from = to) {
        struct seal_target *target;
        to = from + 1;
        good = seal_target_for(&job->targets, samples.time_ms[from], &target, err);
        while (good && to < samples.count && samples.time_ms[to] < target->partition->to_ms &&
               to - from < STREAM_ROWS_MAX)
            to++;
        good = good && seal_piece(job, target, series, &samples, from, to, err);
    }
    samples_deinit(&samples);
    return good;
}

static bool write_bundles(struct late_job *job, struct err *err)
{
    uint32_t count = segments_count(&job->slot->samples);
    struct sorted *items = mem_alloc((count + 1) * sizeof(*items));
    bool good = true;
    for (uint32_t i = 0; i < count; i++) {
        const struct late_sample *sample = late_at(&job->slot->samples, i);
        items[i] = (struct sorted){sample, head_series(job->storage, sample->ref)->id, i};
    }
    qsort(items, count, sizeof(*items), compare_sorted);
    for (uint32_t from = 0, to; good && from < count; from = to) {
        for (to = from + 1; to < count && items[to].id == items[from].id;)
            to++;
        good = seal_series(job, items + from, to - from, err);
    }
    mem_free(items);
    if (good && seal_targets_finish(&job->targets, err))
        return seal_writes_commit(job->targets.writes, err);
    seal_writes_abort(job->targets.writes);
    return false;
}

static void late_run(struct job *base)
{
    struct late_job *job = CONTAINER_OF(base, struct late_job, job);
    struct seal_mark mark = {LATE_GROUP_KEY, job->slot->number};
    struct seal_writes writes = {0};
    ensure_set_job("seal late samples");
    job->targets.writes = &writes;
    if (!job->written) {
        job->written = write_bundles(job, &job->err);
        if (!job->written)
            seal_targets_take_back(&job->targets);
    }
    job->failed = !job->written ||
                  !seal_mark(job->storage, &mark, 1, job->next_id, job->next_slot, &job->err);
    job->targets.writes = NULL;
    ensure_set_job("commit lane");
}

/* --- loop --- */

static void release_series(struct storage *storage, const struct late_slot *slot)
{
    for (uint32_t i = 0; i < segments_count(&slot->samples); i++)
        storage_series_release(storage, late_at(&slot->samples, i)->ref);
}

static void late_done(struct job *base)
{
    struct late_job *job = CONTAINER_OF(base, struct late_job, job);
    struct storage *storage = job->storage;
    job->submitted = false;
    if (job->failed) {
        LOG_E("Late samples could not be sealed: tried again", "err", job->err.text);
        storage->stats.seal_failures++;
        job->retry_mono_ms = clock_mono_ms() + RETRY_MS;
        err_clear(&job->err);
        if (!job->written)
            seal_targets_clear(&job->targets);
        return;
    }
    VEC_EACH (target, &job->targets.items) {
        partition_publish(storage, target->partition, target->entries.items, target->entries.count);
    }
    list_replace(storage, NULL, job->slot);
    release_series(storage, job->slot);
    epoch_retire(&storage->epoch, slot_drop, job->slot);
    storage->late_job = NULL;
    seal_targets_deinit(&job->targets);
    mem_free(job);
    log_drop_sealed_segments(storage);
}

void late_cut(struct storage *storage)
{
    const struct late_list *list = list_now(storage);
    if (list && list->count > 0)
        list->items[list->count - 1]->cut = true;
}

void late_tick(struct storage *storage, int64_t now_mono_ms)
{
    const struct late_list *list = list_now(storage);
    struct late_job *job = storage->late_job;
    if (!list || list->count == 0)
        return;
    struct late_slot *newest = list->items[list->count - 1];
    if (now_mono_ms >= newest->until_mono_ms || segments_count(&newest->samples) >= LATE_SLOT_MAX)
        newest->cut = true;
    if (!job && list->items[0]->cut) {
        job = storage->late_job = MEM_NEW(struct late_job);
        job->job.run = late_run;
        job->job.done = late_done;
        job->storage = storage;
        job->slot = list->items[0];
        seal_targets_init(&job->targets, storage, LATE_GROUP_KEY, job->slot->number, 0);
    }
    if (!job || job->submitted || now_mono_ms < job->retry_mono_ms)
        return;
    job->submitted = true;
    job->next_id = storage->next_id;
    job->next_slot = storage->next_slot;
    storage->options.submit_commit(storage->options.submit_ctx, &job->job);
}

uint64_t late_oldest_segment(const struct storage *storage, uint64_t oldest)
{
    const struct late_list *list = list_now(storage);
    for (uint32_t i = 0; list && i < list->count; i++)
        oldest = list->items[i]->segment < oldest ? list->items[i]->segment : oldest;
    return oldest;
}

bool late_touches(const struct storage *storage, int64_t from_ms, int64_t to_ms)
{
    const struct late_list *list = list_now(storage);
    for (uint32_t i = 0; list && i < list->count; i++) {
        for (uint32_t k = 0; k < segments_count(&list->items[i]->samples); k++) {
            int64_t time_ms = late_at(&list->items[i]->samples, k)->time_ms;
            if (time_ms >= from_ms && time_ms < to_ms)
                return true;
        }
    }
    return false;
}

bool late_uses(const struct storage *storage, const struct partition *partition)
{
    const struct late_job *job = storage->late_job;
    if (!job || job->submitted)
        return job != NULL;
    for (size_t i = 0; i < job->targets.items.count; i++) {
        if (job->targets.items.items[i].partition == partition)
            return true;
    }
    return false;
}

bool late_has_slot(const struct storage *storage, uint64_t number)
{
    const struct late_list *list = list_now(storage);
    return list && list->count > 0 && list->items[0]->number <= number; /* Oldest first. */
}

void late_free_all(struct storage *storage)
{
    struct late_list *list = list_now(storage);
    if (storage->late_job) {
        ENSURE(!storage->late_job->submitted);
        seal_targets_deinit(&storage->late_job->targets);
        mem_free(storage->late_job);
    }
    for (uint32_t i = 0; list && i < list->count; i++)
        slot_drop(list->items[i]);
    mem_free(list);
    atomic_store(&storage->late_slots, NULL);
}
