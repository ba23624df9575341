/* log_rows: see log_rows.h. The same runs as before the end, entry by entry. A record speaks of what the slot's records
 * before it have told; after a hole the rest of that slot is left out. */
#include "log_rows.h"

#include "base/clock.h"
#include "base/hash.h"
#include "codec.h"
#include "log_format.h"

#define MEMBERS_AHEAD 6

void log_rows_init(struct log_rows *rows, struct storage *storage,
                   const struct open_histograms *histograms_before)
{
    *rows = (struct log_rows){.storage = storage, .histograms_before = histograms_before};
    open_histograms_init(&rows->histograms);
}

void log_rows_deinit(struct log_rows *rows)
{
    open_histograms_deinit(&rows->histograms);
    VEC_FREE(&rows->cut);
    VEC_FREE(&rows->born);
}

/* Rows of one record, as they are read. */
struct rows {
    struct log_rows *to;
    struct storage_group *group;
    struct slot *slot;
    struct column *column;
    uint32_t row;
    uint32_t member;
    struct slot_walk walk; /* Stands on `member` while walk.left > 0. */
    int64_t time_ms;
    uint64_t id_last;
};

static void rows_go_to(struct rows *rows, uint32_t member)
{
    rows->member = member;
    rows->walk.left = 0;
    if (member < rows->slot->member_count)
        slot_walk_to(&rows->walk, rows->slot, member);
}

static void rows_next(struct rows *rows)
{
    rows->member++;
    if (rows->walk.left > 0)
        slot_walk_next(&rows->walk, rows->slot);
}

/* A slot is back in the cache only when its turn comes again, so what an entry touches is asked for ahead: the end of the run
 * and the series. Runs themselves lie side by side. */
static void rows_prefetch(const struct rows *rows)
{
    if (rows->walk.left <= MEMBERS_AHEAD ||
        rows->member + MEMBERS_AHEAD >= rows->slot->member_count)
        return;
    run_prefetch(rows->walk.run + MEMBERS_AHEAD, rows->slot);
    __builtin_prefetch(head_series(rows->to->storage, rows->walk.ref[MEMBERS_AHEAD]), 1);
}

static bool rows_select(struct rows *rows, struct reader *in)
{
    uint64_t number = read_varint(in);
    int64_t step = read_zigzag(in);
    if (in->bad || number > UINT16_MAX ||
        __builtin_add_overflow(rows->time_ms, step, &rows->time_ms) ||
        rows->time_ms > TIME_MS_MAX || rows->time_ms < -TIME_MS_MAX)
        return false;
    rows_go_to(rows, 0);
    return slot_place_at(rows->slot, (uint32_t)number, rows->time_ms, &rows->column, &rows->row);
}

/* A member's newest row must be before this one, in the same column. */
static struct run *rows_member(const struct rows *rows)
{
    if (!rows->column || rows->member >= rows->slot->member_count || rows->walk.left == 0)
        return NULL;
    struct run *run = rows->walk.run;
    bool fits = run->column == rows->column &&
                rows->row > atomic_load_explicit(&run->last_row, memory_order_relaxed);
    return fits ? run : NULL;
}

static bool rows_unchanged(struct rows *rows, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct run *run = rows_member(rows);
        if (!run || run->flags & RUN_IS_HISTOGRAM)
            return false;
        run_repeat(run, rows->row);
        rows_next(rows);
    }
    rows->slot->samples += count;
    rows->to->samples += count;
    return true;
}

static const struct histogram *rows_last_histogram(const struct rows *rows, series_ref ref)
{
    const struct histogram *last = open_histograms_find(&rows->to->histograms, ref);
    return last ? last : open_histograms_find(rows->to->histograms_before, ref);
}

static bool rows_histogram(struct rows *rows, struct run *run, series_ref ref, bool joins,
                           struct reader *in, const uint8_t *begin)
{
    struct storage *storage = rows->to->storage;
    struct histogram *histogram;
    struct arena arena;
    struct reader body = reader_over(read_varint_str(in));
    arena_init(&arena, 0);
    bool good = !in->bad &&
                codec_histogram_decode(&body, joins ? NULL : rows_last_histogram(rows, ref), &arena,
                                       &histogram) &&
                body.at == body.end;
    if (good) {
        struct buf whole;
        buf_init(&whole, (size_t)64 << 20);
        codec_histogram_encode(histogram, NULL, &whole);
        run->flags |= RUN_IS_HISTOGRAM;
        run_add(run, rows->row, str_from((const char *)begin, (size_t)(in->at - begin)));
        open_histograms_set(&rows->to->histograms, ref, histogram);
        series_set_bits(head_series(storage, ref), hash64(buf_str(&whole)));
        head_series(storage, ref)->is_histogram = true;
        buf_deinit(&whole);
    }
    arena_deinit(&arena);
    return good;
}

static bool rows_entry(struct rows *rows, struct run *run, series_ref ref, bool joins, uint8_t code,
                       struct reader *in)
{
    const uint8_t *begin = in->at - 1;
    struct series *series = head_series(rows->to->storage, ref);
    rows->slot->samples++;
    rows->to->samples++;
    if (code == STREAM_HISTOGRAM)
        return rows_histogram(rows, run, ref, joins, in, begin);
    struct stream_state state = {.bits = joins ? 0 : series->bits, .exponent = run->exponent};
    if ((run->flags & RUN_IS_HISTOGRAM) || code == STREAM_ABSENT ||
        !stream_decode(&state, code, in))
        return false;
    run->exponent = state.exponent;
    run_add(run, rows->row, str_from((const char *)begin, (size_t)(in->at - begin)));
    series_set_bits(series, state.bits); /* The next entry is coded against them. */
    series->is_histogram = false;
    return true;
}

/* The new run is the series' newest, unless another group has the series: its thread may be at work on it. */
static bool rows_claim(struct rows *rows, struct series *series, struct run *run, bool *was_live)
{
    struct run *older = atomic_load_explicit(&series->newest, memory_order_acquire);
    *was_live = older != NULL;
    atomic_init(&run->older, older);
    if (older && !rows->to->as_written && older->column->slot->group != rows->group->index)
        rows->to->conflict = true;
    else if (atomic_compare_exchange_strong_explicit(&series->newest, &older, run,
                                                     memory_order_acq_rel, memory_order_relaxed))
        return true;
    else
        rows->to->conflict = true;
    return false;
}

static bool rows_join(struct rows *rows, struct reader *in)
{
    struct storage *storage = rows->to->storage;
    rows->id_last += (uint64_t)read_zigzag(in);
    uint8_t code = read_u8(in);
    series_ref ref = series_find_id(storage, rows->id_last);
    if (in->bad || !rows->column || ref == MAP_NONE)
        return false;
    struct series *series = head_series(storage, ref);
    struct run *run = slot_add_run(rows->slot, rows->column, rows->row, ref);
    bool was_live, claimed = rows_claim(rows, series, run, &was_live);
    if (!claimed || !rows_entry(rows, run, ref, true, code, in)) {
        if (claimed)
            atomic_store_explicit(&series->newest,
                                  atomic_load_explicit(&run->older, memory_order_relaxed),
                                  memory_order_release);
        rows->slot
            ->member_count--; /* Nothing of it may be sealed. Others may be looking at it: it stays as it is. */
        return false;
    }
    series_set_group(series, rows->group->index);
    if (!was_live)
        VEC_PUSH(&rows->to->born, ref);
    rows_go_to(rows, run->member + 1);
    return true;
}

static bool rows_token(struct rows *rows, struct reader *in)
{
    uint8_t token = read_u8(in);
    uint64_t number;
    switch (token) {
    case LOG_ROW:
        return rows_select(rows, in);
    case LOG_JOIN:
        return rows_join(rows, in);
    case LOG_SEEK:
    case LOG_SKIP:
        number = read_varint(in) + (token == LOG_SKIP ? rows->member : 0);
        if (in->bad || number >= rows->slot->member_count)
            return false;
        rows_go_to(rows, (uint32_t)number);
        return true;
    default:
        break;
    }
    if (token > LOG_UNCHANGED)
        return rows_unchanged(rows, token - LOG_UNCHANGED);
    struct run *run = rows_member(rows);
    if (!run)
        return false;
    series_ref ref = *rows->walk.ref;
    rows_prefetch(rows);
    rows_next(rows);
    return rows_entry(rows, run, ref, false, token, in);
}

static void rows_cut(struct log_rows *rows, struct storage_group *group)
{
    struct slot_cut cut = {group, group->slot};
    VEC_PUSH(&rows->cut, cut);
    group->slot = NULL;
}

bool log_rows_take(struct log_rows *to, struct storage_group *group, struct reader *in)
{
    uint64_t number = read_varint(in), sequence = read_varint(in);
    if (in->bad || number == 0 || number > NUMBER_MAX)
        return false;
    if (number <= group->broken_slot || (group->slot && number < group->slot->number))
        return true;
    if (group->slot && number != group->slot->number)
        rows_cut(to, group);
    if (!group->slot)
        group_slot_begin(to->storage, group, number, clock_mono_ms());
    struct rows rows = {.to = to, .group = group, .slot = group->slot};
    if (sequence < group->slot->sequence)
        return true; /* A write that failed behind it was done again in the next segment. */
    bool good = sequence == group->slot->sequence;
    group->slot->sequence++;
    while (good && in->at < in->end)
        good = rows_token(&rows, in);
    if (good)
        return true;
    group->broken_slot = number;
    if (group->slot->member_count > 0)
        rows_cut(to, group);
    return false;
}

/* A file may have newer samples already. */
void log_rows_note_newest(struct storage *storage, const struct slot *slot)
{
    struct slot_walk walk;
    if (slot->member_count == 0)
        return;
    for (size_t i = 0; i < slot->columns.count; i++) {
        head_note_time(storage, slot->columns.items[i]->base_ms);
        head_note_time(storage, slot->columns.items[i]->last_ms);
    }
    slot_walk_to(&walk, slot, 0);
    for (uint32_t i = 0; i < slot->member_count; i++) {
        struct series *series = head_series(storage, *walk.ref);
        const struct run *run = walk.run;
        if (run == atomic_load_explicit(&series->newest, memory_order_relaxed)) {
            int64_t time_ms = column_time(
                run->column, atomic_load_explicit(&run->last_row, memory_order_relaxed));
            series->bits_known = time_ms >= series_newest_ms(series);
            series_note_newest(storage, series, time_ms);
        }
        slot_walk_next(&walk, slot);
    }
}
