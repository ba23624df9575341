/* append: one batch into the head and into the log's pending bytes. Loop thread.
 *
 *     decide each outcome -> row of a column -> run and log record get the same entry -> open the gates
 *
 * The gates (one sequence number a group) are odd while the batch goes in, so that a select sees all of it or nothing.
 * A batch with several times is stored in the order of time, so that rows are made one after the other. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/number.h"
#include "codec.h"
#include "store.h"

#define FUTURE_MAX_MS (10 * 60 * 1000)

/* What a sample is measured against: the series' newest, in the head or earlier in this batch. */
struct last_sample {
    bool known;
    bool in_memory; /* Its run is. */
    bool bits_known;
    int64_t time_ms;
    uint64_t bits;
};

struct bounds {
    int64_t time_min_ms; /* Older ones are out of bounds. */
    int64_t time_max_ms;
    int64_t newest_ms, late_ms; /* The out-of-order window. */
    bool went_back;             /* The wall clock: there are samples of a future that is none. */
};

static struct bounds bounds_of(const struct storage *storage, const struct batch *batch,
                               int64_t now_ms)
{
    int64_t newest = atomic_load_explicit(&storage->time_max_ms, memory_order_relaxed);
    struct bounds bounds = {
        .time_max_ms = now_ms > INT64_MAX - FUTURE_MAX_MS ? INT64_MAX : now_ms + FUTURE_MAX_MS};
    if (newest == INT64_MIN && batch->samples.count > 0)
        newest = batch->samples.items[0]
                     .time_ms;         /* An empty store begins wherever its first sample is. */
    if (newest > bounds.time_max_ms) { /* Else nothing would be taken until that future comes. */
        bounds.went_back = true;
        newest = bounds.time_max_ms;
    }
    bounds.newest_ms = newest;
    bounds.late_ms = storage->options.out_of_order_ms;
    bounds.time_min_ms =
        newest < -TIME_MS_MAX + HEAD_WINDOW_MS ? -TIME_MS_MAX : newest - HEAD_WINDOW_MS;
    bounds.time_max_ms = bounds.time_max_ms > TIME_MS_MAX ? TIME_MS_MAX : bounds.time_max_ms;
    return bounds;
}

/* As Prometheus decides: first whether it goes behind the newest, then whether the out-of-order window takes it. */
static enum sample_outcome decide(const struct bounds *bounds, const struct last_sample *last,
                                  int64_t time_ms, uint64_t bits)
{
    if (time_ms > bounds->time_max_ms || time_ms < -TIME_MS_MAX)
        return SAMPLE_OUT_OF_BOUNDS;
    if (time_ms >= bounds->time_min_ms) {
        if (!last->known || time_ms > last->time_ms)
            return SAMPLE_STORED;
        if (last->time_ms > bounds->time_max_ms) /* After a jump of the wall clock. */
            return last->in_memory ? SAMPLE_LATE : SAMPLE_STORED;
        if (time_ms == last->time_ms)
            return bits == last->bits || !last->bits_known ? SAMPLE_SAME : SAMPLE_DUPLICATE;
    }
    if (bounds->late_ms > 0)
        return time_ms >= bounds->newest_ms - bounds->late_ms ? SAMPLE_LATE : SAMPLE_TOO_OLD;
    return time_ms < bounds->time_min_ms ? SAMPLE_OUT_OF_BOUNDS : SAMPLE_OUT_OF_ORDER;
}

/* After a jump of the wall clock a series goes on in a run of its own behind its newest sample. */
static struct last_sample last_in_head(const struct series *series, int64_t time_ms)
{
    struct last_sample last = {.known = series_newest_ms(series) != INT64_MIN,
                               .bits_known = series->bits_known,
                               .time_ms = series_newest_ms(series),
                               .bits = series_bits(series)};
    if (last.time_ms < time_ms)
        return last;
    const struct run *run = atomic_load_explicit(&series->newest, memory_order_relaxed);
    last.in_memory = run != NULL;
    if (run)
        last.time_ms =
            column_time(run->column, atomic_load_explicit(&run->last_row, memory_order_relaxed));
    return last;
}

/* What two samples of the same time are compared by. */
static uint64_t identity_bits(const struct batch_sample *sample)
{
    struct buf bytes;
    if (sample->kind == SAMPLE_FLOAT)
        return sample_bits(sample->value);
    buf_init(&bytes, (size_t)64 << 20);
    codec_histogram_encode(sample->histogram, NULL, &bytes);
    uint64_t hash = hash64(buf_str(&bytes));
    buf_deinit(&bytes);
    return hash;
}

static bool scratch_equal(const void *ctx, const void *key, uint32_t index)
{
    const struct batch *batch = ctx;
    return batch->samples.items[index].ref == *(const series_ref *)key;
}

static struct last_sample last_in_batch(struct storage *storage, const struct batch *batch,
                                        series_ref ref, int64_t time_ms)
{
    uint32_t index = map_find(&storage->scratch, hash64_mix(ref, 4), &ref, scratch_equal, batch);
    if (index == MAP_NONE)
        return last_in_head(head_series(storage, ref), time_ms);
    const struct batch_sample *sample = &batch->samples.items[index];
    return (struct last_sample){.known = true,
                                .bits_known = true,
                                .time_ms = sample->time_ms,
                                .bits = identity_bits(sample)};
}

static bool outcome_is_good(enum sample_outcome outcome)
{
    return outcome == SAMPLE_STORED || outcome == SAMPLE_SAME || outcome == SAMPLE_LATE;
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
        if (sample->kind ==
            SAMPLE_HISTOGRAM) { /* As Prometheus: it has no words for their values. */
            buf_clear(&text);
            buf_add_str(&text, STR("duplicate sample for timestamp"));
        } else {
            buf_add_number(&text, existing, NUMBER_G);
            buf_add_str(&text, STR(", new value "));
            buf_add_number(&text, sample->value, NUMBER_G);
        }
        err_set_str(err, ERR_BAD_DATA, buf_str(&text));
        buf_deinit(&text);
        return;
    case SAMPLE_STORED:
    case SAMPLE_SAME:
    case SAMPLE_LATE:
    case SAMPLE_OUTCOME_COUNT:
        break;
    }
    UNREACHABLE();
}

/* Whether a series has several samples in the batch. */
static bool refs_repeat(struct storage *storage, const struct batch *batch)
{
    size_t words = segments_count(&storage->series) / 64 + 1, marked = 0;
    if (storage->seen.count < words) {
        VEC_RESERVE(&storage->seen, words - storage->seen.count);
        memset(storage->seen.items + storage->seen.count, 0,
               (storage->seen.capacity - storage->seen.count) * sizeof(uint64_t));
        storage->seen.count = storage->seen.capacity;
    }
    uint64_t *seen = storage->seen.items;
    for (; marked < batch->samples.count; marked++) {
        series_ref ref = batch->samples.items[marked].ref;
        if (seen[ref / 64] >> ref % 64 & 1)
            break;
        seen[ref / 64] |= UINT64_C(1) << ref % 64;
    }
    for (size_t i = 0; i < marked; i++)
        seen[batch->samples.items[i].ref / 64] = 0;
    return marked < batch->samples.count;
}

static void count_outcome(struct storage *storage, const struct batch_sample *sample)
{
    storage->stats.outcome_count[sample->outcome]++;
    if (sample->kind == SAMPLE_HISTOGRAM)
        storage->stats.histogram_count[sample->outcome]++;
}

/* Outcomes as they will be, in the order of the batch; nothing is stored yet. False at the first bad one when all
 * must be good. */
static bool check_all(struct storage *storage, struct batch *batch, bool all_or_nothing,
                      const struct bounds *bounds, struct append_result *result, struct err *err)
{
    bool repeat = refs_repeat(storage, batch);
    map_clear(&storage->scratch);
    for (size_t i = 0; i < batch->samples.count; i++) {
        struct batch_sample *sample = &batch->samples.items[i];
        struct last_sample last =
            repeat ? last_in_batch(storage, batch, sample->ref, sample->time_ms)
                   : last_in_head(head_series(storage, sample->ref), sample->time_ms);
        sample->outcome = (uint8_t)decide(bounds, &last, sample->time_ms, identity_bits(sample));
        if (!outcome_is_good(sample->outcome)) {
            if (!all_or_nothing)
                continue;
            result->bad_index = i;
            result->outcome_count[sample->outcome]++;
            count_outcome(storage, sample);
            outcome_text(sample, sample_from_bits(last.bits), bounds, err);
            return false;
        }
        if (sample->outcome != SAMPLE_STORED || !repeat)
            continue;
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

/* --- storing --- */

void head_note_time(struct storage *storage, int64_t time_ms)
{
    if (time_ms > atomic_load_explicit(&storage->time_max_ms, memory_order_relaxed))
        atomic_store_explicit(&storage->time_max_ms, time_ms, memory_order_relaxed);
    if (time_ms < atomic_load_explicit(&storage->time_min_ms, memory_order_relaxed))
        atomic_store_explicit(&storage->time_min_ms, time_ms, memory_order_relaxed);
}

void head_drop_slot(struct storage *storage, series_ref ref, const struct slot *slot)
{
    struct series *series = head_series(storage, ref);
    _Atomic(struct run *) *link = &series->newest;
    struct run *at = atomic_load_explicit(link, memory_order_relaxed);
    bool was_live = series_is_live(series);
    while (at) {
        struct run *older = atomic_load_explicit(&at->older, memory_order_relaxed);
        /* A reader that stands on `at` still finds its way: at->older stays as it is. */
        if (at->column->slot == slot)
            atomic_store_explicit(link, older, memory_order_release);
        else
            link = &at->older;
        at = older;
    }
    series_note_live(storage, ref, was_live);
}

/* The group whose slot the sample goes to: that of the series' runs in memory; the batch's, if it is of one, when there are
 * none. */
static struct storage_group *sample_group(struct storage *storage, struct series *series,
                                          struct storage_group *batch_group)
{
    if (batch_group && !atomic_load_explicit(&series->newest, memory_order_relaxed))
        series_set_group(series, batch_group->index);
    struct storage_group *group = storage->groups.items[series->group];
    ENSURE(group != NULL);
    return group;
}

/* The series' run in the group's open slot for samples of this kind, or NULL. */
static struct run *open_run(const struct series *series, const struct storage_group *group,
                            bool is_histogram)
{
    struct run *run = atomic_load_explicit(&series->newest, memory_order_relaxed);
    bool fits = run && run->column->slot == group->slot &&
                ((run->flags & RUN_IS_HISTOGRAM) != 0) == is_histogram;
    return fits ? run : NULL;
}

static void add_float(struct storage *storage, struct log_record *record, struct series *series,
                      struct run *run, uint32_t row, bool joins, uint64_t bits)
{
    struct stream_state state = {.bits = joins ? 0 : series_bits(series),
                                 .exponent = run->exponent,
                                 .wanted = run->flags & RUN_NO_EXPONENT ? STREAM_NO_EXPONENT
                                                                        : run->exponent};
    uint8_t entry[STREAM_ENTRY_MAX];
    if (!joins && bits == series_bits(series)) {
        run_repeat(run, row);
        log_unchanged(storage, record);
        return;
    }
    struct str bytes = str_from((const char *)entry, stream_encode(&state, bits, entry));
    run->exponent = state.exponent;
    run->flags |= state.wanted == STREAM_NO_EXPONENT ? RUN_NO_EXPONENT : 0;
    run_add(run, row, bytes);
    log_entry(storage, record, bytes);
}

static void add_histogram(struct storage *storage, struct log_record *record, struct run *run,
                          uint32_t row, bool joins, const struct batch_sample *sample)
{
    struct buf body, entry;
    buf_init(&body, (size_t)64 << 20);
    buf_init(&entry, (size_t)64 << 20);
    codec_histogram_encode(sample->histogram,
                           joins ? NULL : open_histograms_find(&storage->histograms, sample->ref),
                           &body);
    write_u8(&entry, STREAM_HISTOGRAM);
    write_varint_str(&entry, buf_str(&body));
    run->flags |= RUN_IS_HISTOGRAM;
    run_add(run, row, buf_str(&entry));
    log_entry(storage, record, buf_str(&entry));
    open_histograms_set(&storage->histograms, sample->ref, sample->histogram);
    buf_deinit(&body);
    buf_deinit(&entry);
}

/* The stale marker of a series whose newest sample is a histogram is one as well. */
static const struct histogram STALE_HISTOGRAM_SHAPE = {.is_integer = true};

static void store_sample(struct storage *storage, struct log_record *record,
                         struct storage_group *batch_group, const struct batch_sample *given)
{
    struct series *series = head_series(storage, given->ref);
    struct histogram stale = STALE_HISTOGRAM_SHAPE;
    struct batch_sample converted = *given;
    const struct batch_sample *sample = given;
    if (given->kind == SAMPLE_FLOAT && series->is_histogram && sample_is_stale(given->value)) {
        stale.sum = given->value;
        converted.kind = SAMPLE_HISTOGRAM;
        converted.histogram = &stale;
        sample = &converted;
    }
    struct storage_group *group = sample_group(storage, series, batch_group);
    bool is_histogram = sample->kind == SAMPLE_HISTOGRAM;
    struct column *column;
    uint32_t row;
    gate_close(storage, group);
    if (!group->slot)
        group_slot_begin(storage, group, storage->next_slot, clock_mono_ms());
    struct run *run = open_run(series, group, is_histogram);
    if (!slot_place(group->slot, &storage->epoch, run, sample->time_ms, storage->batch, &column,
                    &row)) {
        log_end(storage, record);
        seal_cut(storage, group);
        group_slot_begin(storage, group, storage->next_slot, clock_mono_ms());
        run = NULL;
        bool placed = slot_place(group->slot, &storage->epoch, NULL, sample->time_ms,
                                 storage->batch, &column, &row);
        ENSURE(placed);
    }
    bool joins = !run || run->column != column;
    if (joins && !series_has_labels(storage, series) &&
        series->logged_segment < group->slot->segment) {
        /* The segment with its labels may be gone before this slot is sealed. */
        log_end(storage, record);
        log_add_series(storage, sample->ref, group->key);
    }
    if (joins)
        run = slot_add_run(group->slot, column, row, sample->ref);
    log_row(storage, record, group, column, row);
    log_member(storage, record, run, series, joins);
    if (is_histogram)
        add_histogram(storage, record, run, row, joins, sample);
    else
        add_float(storage, record, series, run, row, joins, sample_bits(sample->value));
    if (joins) {
        bool was_live = series_is_live(series);
        atomic_init(&run->older, atomic_load_explicit(&series->newest, memory_order_relaxed));
        atomic_store_explicit(&series->newest, run, memory_order_release);
        series_note_live(storage, sample->ref, was_live);
    }
    series_note_newest(storage, series, sample->time_ms);
    series_set_bits(series, is_histogram ? identity_bits(sample) : sample_bits(sample->value));
    series->bits_known = true;
    series->is_histogram = is_histogram;
    head_note_time(storage, sample->time_ms);
    group->slot->samples++;
}

/* When slots are cut next. */
static int64_t next_mono_ms(const struct storage *storage)
{
    return group_seal_time(storage, clock_mono_ms() + storage->options.slot_ms / 15);
}

/* Full slots are cut when the batch is whole, with the others of the minute; very full ones at once: then true. */
static bool cut_full_slots(struct storage *storage)
{
    bool at_once = false;
    for (size_t i = 0; i < storage->touched_groups.count; i++) {
        struct slot *slot = storage->groups.items[storage->touched_groups.items[i]]->slot;
        uint32_t rows = slot ? slot->columns.items[0]->rows : 0;
        bool is_full = rows >= SLOT_ROWS_MAX || (slot && slot->bytes >= SLOT_BYTES_MAX);
        if (is_full)
            slot->until_mono_ms = 0;
        else if (rows >= SLOT_ROWS_AIM && slot->until_mono_ms > next_mono_ms(storage))
            slot->until_mono_ms = next_mono_ms(storage);
        at_once = at_once || is_full;
    }
    return at_once;
}

/* What comes into the log after its last write asks for the next one, once. */
static void wake(struct storage *storage, bool at_once)
{
    struct log *log = &storage->log;
    if (storage->options.wake && (!log->asked || at_once))
        storage->options.wake(storage->options.wake_ctx, at_once ? 0 : STORAGE_COMMIT_DELAY_MS / 2);
    log->asked = true;
}

static int compare_times(const void *a, const void *b, void *ctx)
{
    const struct batch *batch = ctx;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int64_t time_x = batch->samples.items[x].time_ms, time_y = batch->samples.items[y].time_ms;
    if (time_x != time_y)
        return time_x < time_y ? -1 : 1;
    return (x > y) - (x < y);
}

static bool has_one_time(const struct batch *batch)
{
    for (size_t i = 1; i < batch->samples.count; i++) {
        if (batch->samples.items[i].time_ms != batch->samples.items[0].time_ms)
            return false;
    }
    return true;
}

/* The outcomes are known. */
static void store_in_order(struct storage *storage, struct log_record *record,
                           struct storage_group *group, const struct batch *batch, bool one_time)
{
    VEC_CLEAR(&storage->order);
    for (size_t i = 0; i < batch->samples.count; i++) {
        if (batch->samples.items[i].outcome == SAMPLE_STORED)
            VEC_PUSH(&storage->order, (uint32_t)i);
    }
    if (!one_time && storage->order.count > 1)
        qsort_r(storage->order.items, storage->order.count, sizeof(storage->order.items[0]),
                compare_times, (void *)(uintptr_t)batch);
    VEC_EACH (index, &storage->order) {
        store_sample(storage, record, group, &batch->samples.items[*index]);
    }
}

static void store_late(struct storage *storage, const struct batch *batch)
{
    for (size_t i = 0; i < batch->samples.count; i++) {
        if (batch->samples.items[i].outcome == SAMPLE_LATE)
            late_add(storage, &batch->samples.items[i]);
    }
    late_end_batch(storage);
}

/* The clock has gone back. A run cannot: series with samples of the future go on in the late slot until what they have in
 * memory is sealed, which is soon. */
static void cut_future(struct storage *storage, const struct batch *batch,
                       const struct bounds *bounds)
{
    for (size_t i = 0; i < batch->samples.count; i++) {
        const struct series *series = head_series(storage, batch->samples.items[i].ref);
        const struct run *run = atomic_load_explicit(&series->newest, memory_order_relaxed);
        if (batch->samples.items[i].outcome != SAMPLE_LATE || !run ||
            column_time(run->column, atomic_load_explicit(&run->last_row, memory_order_relaxed)) <=
                bounds->time_max_ms)
            continue;
        struct storage_group *group = storage->groups.items[run->column->slot->group];
        if (group->slot == run->column->slot)
            seal_cut(storage, group);
    }
}

static void count_outcomes(struct storage *storage, const struct batch *batch,
                           struct append_result *result)
{
    bool refused = false;
    for (size_t i = 0; i < batch->samples.count; i++) {
        uint8_t outcome = batch->samples.items[i].outcome;
        result->outcome_count[outcome]++;
        count_outcome(storage, &batch->samples.items[i]);
        if (!outcome_is_good(outcome) && !refused) {
            refused = true;
            result->bad_index = i;
        }
    }
    storage->stats.samples_appended +=
        result->outcome_count[SAMPLE_STORED] + result->outcome_count[SAMPLE_LATE];
}

bool storage_append(struct storage *storage, struct storage_group *group, struct batch *batch,
                    const struct append_options *options, struct append_result *result,
                    struct err *err)
{
    struct bounds bounds = bounds_of(storage, batch, options->now_ms);
    struct log_record record = {0};
    bool one_time = has_one_time(batch);
    *result = (struct append_result){0};
    if (!log_has_room(storage))
        return err_set(err, ERR_NO_SPACE, "the log cannot be written: samples are refused");
    if (!log_takes_labels(storage, batch, err))
        return false;
    storage->batch++;
    if (options->all_or_nothing || !one_time) {
        if (!check_all(storage, batch, options->all_or_nothing, &bounds, result, err))
            return false;
        store_in_order(storage, &record, group, batch, one_time);
    } else {
        VEC_EACH (sample, &batch->samples) {
            struct last_sample last =
                last_in_head(head_series(storage, sample->ref), sample->time_ms);
            sample->outcome =
                (uint8_t)decide(&bounds, &last, sample->time_ms, identity_bits(sample));
            if (sample->outcome == SAMPLE_STORED)
                store_sample(storage, &record, group, sample);
        }
    }
    log_end(storage, &record);
    if (bounds.late_ms > 0 || bounds.went_back)
        store_late(storage, batch);
    if (bounds.went_back)
        cut_future(storage, batch, &bounds);
    bool at_once = cut_full_slots(storage);
    gates_open(storage);
    count_outcomes(storage, batch, result);
    wake(storage, at_once);
    return true;
}
