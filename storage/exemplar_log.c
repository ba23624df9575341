/* exemplar_log: see exemplar_log.h. A record's payload is u8 4, then any number of
 *
 *     varint series id   0: varint label count, (text name, text value)* of the series follow
 *     zigzag time, 8 bytes value, varint label count, (text name, text value)*
 *
 * An id stands only where the labels are in the same segment or, when the file changed in between, in the one before, which
 * the exemplar then holds as well. Exemplars are worth less than samples: a log that is full or fails leaves them in memory,
 * and nothing is refused. */
#include "exemplar_log.h"

#include <stdlib.h>
#include <string.h>

#include "exemplar.h"
#include "log_format.h"
#include "store.h"

#define MOVE_MAX         512   /* Written in one tick, ... */
#define LOOK_MAX         16384 /* ... of so many looked at. */
#define LABELS_BYTES_MAX (4 * EXEMPLAR_LABEL_RUNES_MAX)
#define FOUND_MIN        1024

static void exemplar_encode(struct buf *out, int64_t time_ms, double value,
                            const struct label *labels, size_t count)
{
    size_t kept = 0;
    write_zigzag(out, time_ms);
    write_u64(out, sample_bits(value));
    for (size_t i = 0; i < count; i++)
        kept += labels[i].value.len > 0;
    write_varint(out, kept);
    for (size_t i = 0; i < count; i++) {
        if (labels[i].value.len == 0)
            continue;
        write_varint_str(out, labels[i].name);
        write_varint_str(out, labels[i].value);
    }
}

void exemplar_log_add(struct storage *storage, series_ref ref, const struct exemplar *exemplar)
{
    struct log *log = &storage->log;
    struct series *series = head_series(storage, ref);
    if (!log_has_room(storage))
        return;
    if (series->logged_segment < log->segment) {
        struct storage_group *group =
            series->group < storage->groups.count ? storage->groups.items[series->group] : NULL;
        log_add_series(storage, ref, group ? group->key : 0);
    }
    size_t start = log_record_begin(storage, LOG_EXEMPLARS);
    write_varint(&log->pending, series->id);
    exemplar_encode(&log->pending, exemplar->time_ms, exemplar->value, exemplar->labels,
                    exemplar->label_count);
    log_record_finish(storage, start);
    exemplar_ring_set_segment(storage->exemplars, log->segment);
    if (storage->options.wake && !log->asked)
        storage->options.wake(storage->options.wake_ctx, STORAGE_COMMIT_DELAY_MS / 2);
    log->asked = true;
}

/* --- before a segment goes --- */

uint64_t exemplar_log_oldest_segment(struct storage *storage, uint64_t oldest)
{
    struct exemplar_move *move = &storage->exemplar_move;
    if (!storage->exemplars)
        return oldest;
    uint64_t used = exemplar_ring_oldest_segment(storage->exemplars);
    if (used < oldest && move->below < oldest) {
        if (move->below == 0 && storage->log.sequence_written >= move->sequence)
            move->from = used;
        move->below = oldest;
        move->at = 0;
        if (storage->options.wake)
            storage->options.wake(storage->options.wake_ctx, 0);
    }
    if (move->below > 0 || storage->log.sequence_written < move->sequence)
        used = move->from < used ? move->from : used;
    return used < oldest ? used : oldest;
}

/* One record of what is in segments below `below`; true when nothing is left there. */
static bool move_some(struct storage *storage)
{
    struct exemplar_move *move = &storage->exemplar_move;
    struct log *log = &storage->log;
    struct exemplar_item item;
    size_t look_end = move->at + LOOK_MAX, moved = 0, start = 0;
    while (moved < MOVE_MAX && move->at < look_end &&
           exemplar_ring_move(storage->exemplars, move->below, log->segment, &move->at,
                              look_end - move->at, &item)) {
        if (moved++ == 0)
            start = log_record_begin(storage, LOG_EXEMPLARS);
        write_varint(&log->pending, 0);
        series_labels_encode(item.series->items, item.series->count, &log->pending);
        exemplar_encode(&log->pending, item.time_ms, item.value, item.labels->items,
                        item.labels->count);
    }
    if (moved > 0) {
        log_record_finish(storage, start);
        move->sequence = log->sequence;
    }
    return move->at >= exemplar_ring_count(storage->exemplars);
}

bool exemplar_log_tick(struct storage *storage)
{
    struct exemplar_move *move = &storage->exemplar_move;
    if (!storage->exemplars) {
        *move = (struct exemplar_move){0};
        return false;
    }
    if (move->below > 0) {
        if (!log_has_room(storage) || !move_some(storage))
            return true;
        move->below = 0;
        move->dropping = true;
    }
    if (move->dropping && storage->log.sequence_written >= move->sequence) {
        move->dropping = false;
        log_drop_sealed_segments(storage);
    }
    return false;
}

/* --- start --- */

static bool labels_decode(struct reader *in, struct labels **out)
{
    struct label items[EXEMPLAR_LABEL_RUNES_MAX];
    struct err err = {0};
    size_t count, bytes = 0;
    if (!series_labels_decode(in, items, COUNT_OF(items), &count, &err))
        return false;
    for (size_t i = 0; i < count; i++)
        bytes += items[i].name.len + items[i].value.len;
    if (bytes > LABELS_BYTES_MAX)
        return false;
    *out = labels_new(items, count);
    return true;
}

/* The series of an exemplar that tells its labels. */
static bool series_decode(struct storage *storage, struct reader *in,
                          const struct exemplar_finds *finds, struct exemplar_found *out)
{
    struct label items[SERIES_LABELS_MAX];
    struct err err = {0};
    size_t count;
    if (!series_labels_decode(in, items, COUNT_OF(items), &count, &err) || count == 0)
        return false;
    out->ref = series_find(storage, items, count, labels_hash(items, count));
    if (out->ref != SERIES_REF_NONE)
        return true;
    out->series = labels_new(items, count);
    /* Those of one histogram stand together. */
    const struct exemplar_found *last =
        finds->items.count ? &finds->items.items[finds->items.count - 1] : NULL;
    if (last && last->series && labels_eq(last->series, out->series)) {
        labels_unref(out->series);
        out->series = labels_ref(last->series);
    }
    return true;
}

static void found_free(struct exemplar_found *found)
{
    labels_unref(found->series);
    labels_unref(found->labels);
}

/* As the ring takes them: of one series by time, value, labels; the copy in the newest segment first. */
static int compare_found(const void *a, const void *b)
{
    const struct exemplar_found *x = a, *y = b;
    if (x->time_ms != y->time_ms)
        return x->time_ms < y->time_ms ? -1 : 1;
    if (x->value < y->value || x->value > y->value)
        return x->value < y->value ? -1 : 1;
    if ((x->value == x->value) != (y->value == y->value)) /* NaN last. */
        return x->value == x->value ? -1 : 1;
    if (x->labels->hash != y->labels->hash)
        return x->labels->hash < y->labels->hash ? -1 : 1;
    return (x->segment < y->segment) - (x->segment > y->segment);
}

/* Leaves the newest `max`. */
static void finds_trim(struct exemplar_finds *finds, size_t max)
{
    size_t gone = finds->items.count > max ? finds->items.count - max : 0;
    VEC_SORT(&finds->items, compare_found);
    for (size_t i = 0; i < gone; i++)
        found_free(&finds->items.items[i]);
    finds->items.count -= gone;
    if (gone > 0)
        memmove(finds->items.items, finds->items.items + gone,
                finds->items.count * sizeof(finds->items.items[0]));
}

bool exemplar_log_replay(struct storage *storage, struct reader *in, uint64_t segment,
                         struct exemplar_finds *finds)
{
    size_t max = storage_get_exemplars_max(storage);
    max = max > FOUND_MIN ? max : FOUND_MIN;
    while (storage->exemplars && reader_left(in) > 0) {
        struct exemplar_found found = {.segment = segment, .ref = SERIES_REF_NONE};
        uint64_t id = read_varint(in);
        bool good = id > 0 || series_decode(storage, in, finds, &found);
        if (id > 0)
            found.ref = series_find_id(storage, id);
        found.time_ms = read_zigzag(in);
        found.value = sample_from_bits(read_u64(in));
        good = good && labels_decode(in, &found.labels) && !in->bad && id <= NUMBER_MAX &&
               found.time_ms >= -TIME_MS_MAX && found.time_ms <= TIME_MS_MAX;
        if (!good || (found.ref == SERIES_REF_NONE && !found.series)) {
            found_free(&found);
            if (!good)
                return false;
            continue; /* Its series is not known: the segment with its labels was damaged. */
        }
        VEC_PUSH(&finds->items, found);
        if (finds->items.count >= 2 * max)
            finds_trim(finds, max);
    }
    return true;
}

void exemplar_log_replay_end(struct storage *storage, struct exemplar_finds *finds)
{
    VEC_SORT(&finds->items, compare_found);
    VEC_EACH (found, &finds->items) {
        /* Which were undated is not in the log. */
        struct exemplar exemplar = {.time_ms = found->time_ms,
                                    .value = found->value,
                                    .labels = found->labels->items,
                                    .label_count = found->labels->count,
                                    .is_undated = true};
        struct labels *series =
            found->series ? labels_ref(found->series) : storage_series_labels(storage, found->ref);
        if (exemplar_ring_add(storage->exemplars, series, &exemplar) == EXEMPLAR_STORED)
            exemplar_ring_set_segment(storage->exemplars, found->segment);
        labels_unref(series);
        found_free(found);
    }
    if (storage->exemplars)
        exemplar_ring_forget_out_of_order(storage->exemplars);
    VEC_FREE(&finds->items);
}
