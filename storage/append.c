/* append: one batch into the head and into the log's pending bytes. Loop thread.
 *
 *     decide each outcome -> encode -> chunk and log record get the same entry -> open the gates
 *
 * The gates (one sequence number a group) are odd while the batch goes in, so that a select sees
 * all of it or nothing. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/number.h"
#include "store.h"

#define FUTURE_MAX_MS    (10 * 60 * 1000)
#define SLOT_SAMPLES_MIN 20000

/* What a sample is measured against: the series' newest, in the head or earlier in this batch. */
struct last_sample {
    bool known;
    bool bits_known;
    int64_t time_ms;
    uint64_t bits;
};

struct bounds {
    int64_t time_min_ms; /* Older ones are out of bounds. */
    int64_t time_max_ms;
};

static struct bounds bounds_of(const struct storage *storage, const struct batch *batch,
                               int64_t now_ms)
{
    int64_t newest = atomic_load_explicit(&storage->time_max_ms, memory_order_relaxed);
    struct bounds bounds = {
        .time_max_ms = now_ms > INT64_MAX - FUTURE_MAX_MS ? INT64_MAX : now_ms + FUTURE_MAX_MS};
    if (newest == INT64_MIN && batch->samples.count > 0)
        newest = batch->samples.items[0]
                     .time_ms; /* An empty store begins wherever its first sample is. */
    bounds.time_min_ms =
        newest < -TIME_MS_MAX + HEAD_WINDOW_MS ? -TIME_MS_MAX : newest - HEAD_WINDOW_MS;
    bounds.time_max_ms = bounds.time_max_ms > TIME_MS_MAX ? TIME_MS_MAX : bounds.time_max_ms;
    return bounds;
}

static enum sample_outcome decide(const struct bounds *bounds, const struct last_sample *last,
                                  int64_t time_ms, uint64_t bits)
{
    if (time_ms > bounds->time_max_ms || time_ms < bounds->time_min_ms)
        return SAMPLE_OUT_OF_BOUNDS;
    if (!last->known || time_ms > last->time_ms)
        return SAMPLE_STORED;
    if (time_ms < last->time_ms)
        return SAMPLE_OUT_OF_ORDER;
    return bits == last->bits || !last->bits_known ? SAMPLE_SAME : SAMPLE_DUPLICATE;
}

static struct last_sample last_in_head(const struct series *series)
{
    const struct chunk *chunk = atomic_load_explicit(&series->newest, memory_order_relaxed);
    if (!chunk)
        return (struct last_sample){.known = series->sealed_known != SEALED_NOTHING,
                                    .bits_known = series->sealed_known == SEALED_TIME_AND_BITS,
                                    .time_ms = series->sealed_time_ms,
                                    .bits = series->sealed_bits};
    return (struct last_sample){.known = true,
                                .bits_known = true,
                                .time_ms = chunk->state.time_ms,
                                .bits = chunk->state.bits};
}

static bool scratch_equal(const void *ctx, const void *key, uint32_t index)
{
    const struct batch *batch = ctx;
    return batch->samples.items[index].ref == *(const series_ref *)key;
}

static struct last_sample last_in_batch(struct storage *storage, const struct batch *batch,
                                        series_ref ref)
{
    uint32_t index = map_find(&storage->scratch, hash64_mix(ref, 4), &ref, scratch_equal, batch);
    if (index == MAP_NONE)
        return last_in_head(head_series(storage, ref));
    const struct batch_sample *sample = &batch->samples.items[index];
    return (struct last_sample){.known = true,
                                .bits_known = true,
                                .time_ms = sample->time_ms,
                                .bits = sample_bits(sample->value)};
}

static bool outcome_is_good(enum sample_outcome outcome)
{
    return outcome == SAMPLE_STORED || outcome == SAMPLE_SAME;
}

/* The words that Prometheus has for a refused sample. */
static void outcome_text(const struct batch_sample *sample, double existing,
                         const struct bounds *bounds, struct err *err)
{
    struct buf text;
    switch ((enum sample_outcome)sample->outcome) {
    case SAMPLE_OUT_OF_ORDER:
        err_set(err, ERR_BAD_DATA, "out of order sample");
        return;
    case SAMPLE_TOO_OLD:
        err_set(err, ERR_BAD_DATA, "too old sample");
        return;
    case SAMPLE_OUT_OF_BOUNDS:
        err_set(err, ERR_BAD_DATA,
                sample->time_ms > bounds->time_max_ms
                    ? "out of bounds: timestamp is too far in the future"
                    : "out of bounds");
        return;
    case SAMPLE_DUPLICATE:
        buf_init(&text, ERR_TEXT_MAX);
        buf_addf(&text, "duplicate sample for timestamp %lld; overrides not allowed: existing ",
                 (long long)sample->time_ms);
        buf_add_number(&text, existing, NUMBER_G);
        buf_add_str(&text, STR(", new value "));
        buf_add_number(&text, sample->value, NUMBER_G);
        err_set_str(err, ERR_BAD_DATA, buf_str(&text));
        buf_deinit(&text);
        return;
    case SAMPLE_STORED:
    case SAMPLE_SAME:
    case SAMPLE_OUTCOME_COUNT:
        break;
    }
    UNREACHABLE();
}

/* The first pass of all_or_nothing: outcomes as they would be, nothing stored. */
static bool check_all(struct storage *storage, struct batch *batch, const struct bounds *bounds,
                      struct append_result *result, struct err *err)
{
    map_clear(&storage->scratch);
    for (size_t i = 0; i < batch->samples.count; i++) {
        struct batch_sample *sample = &batch->samples.items[i];
        struct last_sample last = last_in_batch(storage, batch, sample->ref);
        sample->outcome =
            (uint8_t)decide(bounds, &last, sample->time_ms, sample_bits(sample->value));
        if (!outcome_is_good(sample->outcome)) {
            result->bad_index = i;
            result->outcome_count[sample->outcome]++;
            storage->stats.outcome_count[sample->outcome]++;
            outcome_text(sample, sample_from_bits(last.bits), bounds, err);
            return false;
        }
        uint32_t before = map_find(&storage->scratch, hash64_mix(sample->ref, 4), &sample->ref,
                                   scratch_equal, batch);
        if (before != MAP_NONE)
            map_remove(&storage->scratch, hash64_mix(sample->ref, 4), before);
        map_insert(&storage->scratch, hash64_mix(sample->ref, 4), (uint32_t)i);
    }
    return true;
}

static void gate_close(struct storage *storage, struct storage_group *group)
{
    if (group->touched)
        return;
    struct group_gate *gate = gate_at(&storage->gates, group->index);
    uint32_t sequence = atomic_load_explicit(&gate->sequence, memory_order_relaxed);
    group->touched = true;
    VEC_PUSH(&storage->touched_groups, group->index);
    atomic_store_explicit(&gate->sequence, sequence + 1, memory_order_release);
}

static void gates_open(struct storage *storage)
{
    for (size_t i = 0; i < storage->touched_groups.count; i++) {
        uint32_t index = storage->touched_groups.items[i];
        struct group_gate *gate = gate_at(&storage->gates, index);
        uint32_t sequence = atomic_load_explicit(&gate->sequence, memory_order_relaxed);
        storage->groups.items[index]->touched = false;
        atomic_store_explicit(&gate->sequence, sequence + 1, memory_order_release);
    }
    VEC_CLEAR(&storage->touched_groups);
}

/* One log record holds neighbours of one group and slot. */
struct record {
    struct storage_group *group;
    size_t start;
    uint64_t id_last;
};

static void record_end(struct storage *storage, struct record *record)
{
    if (record->group)
        log_end_samples(storage, record->start);
    record->group = NULL;
}

/* The group whose slot the sample goes to: the series' own, or the batch's when that has closed. */
static struct storage_group *sample_group(struct storage *storage, struct series *series,
                                          struct storage_group *batch_group)
{
    struct storage_group *group = storage->groups.items[series->group];
    if (group)
        return group;
    ENSURE(!atomic_load_explicit(&series->newest, memory_order_relaxed));
    series->group = batch_group->index;
    return batch_group;
}

static void store_sample(struct storage *storage, struct record *record,
                         struct storage_group *batch_group, const struct batch_sample *sample)
{
    struct series *series = head_series(storage, sample->ref);
    struct storage_group *group = sample_group(storage, series, batch_group);
    uint8_t entry[CHUNK_ENTRY_MAX];
    bool started;
    gate_close(storage, group);
    if (group->slot == 0)
        head_slot_begin(storage, group, storage->next_slot, clock_mono_ms());
    if (!series->open && !series_has_labels(storage, series) &&
        series->logged_segment < group->slot_segment) {
        /* The segment with its labels may be gone before this slot is sealed. */
        record_end(storage, record);
        log_add_series(storage, series, group->key);
    }
    if (record->group != group) {
        record_end(storage, record);
        record->group = group;
        record->start = log_begin_samples(storage, group);
        record->id_last = 0;
    }
    struct chunk *chunk = head_open_chunk(storage, series, sample->ref, group->slot, &started);
    size_t len = chunk_encode(&chunk->state, sample->time_ms, sample_bits(sample->value), entry);
    struct buf *log = &storage->log.pending;
    write_zigzag(log, (int64_t)(series->id - record->id_last));
    if (started)
        write_u8(log, CHUNK_CONTROL_START);
    buf_add(log, entry, len);
    record->id_last = series->id;
    storage->chunk_bytes -= chunk->bytes;
    chunk_add(chunk, entry, len);
    storage->chunk_bytes += chunk->bytes;
    if (started)
        atomic_store_explicit(&series->newest, chunk, memory_order_release);
    head_stored(storage, series, sample->time_ms);
    group->slot_samples++;
}

/* A remote writer may send a day in one request: such slots are cut by size rather than by time. */
static void cut_full_slots(struct storage *storage)
{
    for (size_t i = 0; i < storage->touched_groups.count; i++) {
        struct storage_group *group = storage->groups.items[storage->touched_groups.items[i]];
        if (group->slot_samples >
            SLOT_SAMPLES_MIN + 2 * (uint64_t)CHUNK_SAMPLES_MAX * group->slot_refs.count)
            group->slot_until_mono_ms = 0;
    }
}

bool storage_append(struct storage *storage, struct storage_group *group, struct batch *batch,
                    const struct append_options *options, struct append_result *result,
                    struct err *err)
{
    struct bounds bounds = bounds_of(storage, batch, options->now_ms);
    struct record record = {0};
    bool refused = false;
    *result = (struct append_result){0};
    if (!log_has_room(storage))
        return err_set(err, ERR_NO_SPACE, "the log cannot be written: samples are refused");
    if (options->all_or_nothing && !check_all(storage, batch, &bounds, result, err))
        return false;
    for (size_t i = 0; i < batch->samples.count; i++) {
        struct batch_sample *sample = &batch->samples.items[i];
        struct last_sample last = last_in_head(head_series(storage, sample->ref));
        sample->outcome =
            (uint8_t)decide(&bounds, &last, sample->time_ms, sample_bits(sample->value));
        if (sample->outcome == SAMPLE_STORED) {
            store_sample(storage, &record, group, sample);
        } else if (sample->outcome != SAMPLE_SAME && !refused) {
            refused = true;
            result->bad_index = i;
        }
        result->outcome_count[sample->outcome]++;
        storage->stats.outcome_count[sample->outcome]++;
    }
    record_end(storage, &record);
    cut_full_slots(storage);
    gates_open(storage);
    storage->stats.samples_appended += result->outcome_count[SAMPLE_STORED];
    if (storage->options.wake)
        storage->options.wake(storage->options.wake_ctx);
    return true;
}
