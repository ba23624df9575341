/* cursor: the samples of one series of a selection.
 *
 *     pieces (runs of bundles, runs in memory, days) in time order -> decoded -> what overlaps is merged -> clipped blocks
 *
 * Of samples with the same time the one that was written last counts: memory before open files, those before days. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "model/histogram_math.h"
#include "select.h"

enum piece_kind { PIECE_DAY, PIECE_BUNDLE, PIECE_RUN, PIECE_LATE };

struct piece {
    int64_t time_min_ms, time_max_ms;
    uint64_t order; /* Of writing, as far as known: later wins. */
    enum piece_kind kind;
    uint32_t file;
    union {
        const struct head_run *run;
        const struct source *late;
        struct {
            struct bundle bundle;
            struct bundle_run run;
        } in_bundle;
        uint32_t ordinal;
    } as;
};

/* A bundle's column of times, decoded: series of a group share them. */
struct known_times {
    const void *bytes; /* Of the bundle. */
    uint32_t column;
    struct time_vec times;
};
#define KNOWN_TIMES_MIN 16 /* Places, by the bundle's address; the same. */
#define KNOWN_TIMES_MAX 256

#define BLOCK_SAMPLES                                                                              \
    16384 /* Pieces are put into one block up to here, for who works on whole series. */

struct merged {
    uint32_t index; /* In the samples as they were decoded. */
    uint32_t piece;
    int64_t time_ms;
};

struct cursor {
    const struct selection *selection;
    struct kv_read **reads; /* One a selected file, begun at first use. */
    struct day_reader **days;
    struct opened_bundles opened;
    size_t known_times_count;
    struct known_times *known_times; /* NULL: no open file was read yet. */
    struct bundle_reader bundle_reader;
    VEC(struct piece) pieces;
    size_t next_piece;
    struct samples samples, merged_samples;
    VEC(size_t) ends; /* Of the pieces in `samples`. */
    VEC(struct merged) merged;
    struct time_vec times; /* The column in memory that was read last. */
    const void *times_of;
    struct buf bytes;
    const struct selected_delete *deletes; /* Of the series. */
    uint32_t delete_count;
    struct err err; /* Of cursor_seek; told by cursor_next. */
    /* The sample before the next block, when it was a histogram: hints speak of two neighbours. */
    const struct histogram *before;
    struct arena before_arena;
};

struct cursor *cursor_new(const struct selection *selection)
{
    struct cursor *cursor = MEM_NEW(struct cursor);
    size_t files = selection->files.count + 1;
    cursor->selection = selection;
    cursor->reads = mem_zalloc(files * sizeof(cursor->reads[0]));
    cursor->days = mem_zalloc(files * sizeof(cursor->days[0]));
    samples_init(&cursor->samples);
    samples_init(&cursor->merged_samples);
    buf_init(&cursor->bytes, (size_t)1 << 30);
    arena_init(&cursor->before_arena, 0);
    return cursor;
}

void cursor_free(struct cursor *cursor)
{
    if (!cursor)
        return;
    for (size_t i = 0; i < cursor->selection->files.count; i++) {
        kv_read_end(cursor->reads[i]);
        day_reader_free(cursor->days[i]);
    }
    mem_free((void *)cursor->reads);
    mem_free((void *)cursor->days);
    mem_free(cursor->opened.places);
    bundle_reader_deinit(&cursor->bundle_reader);
    for (size_t i = 0; i < cursor->known_times_count; i++)
        VEC_FREE(&cursor->known_times[i].times);
    mem_free(cursor->known_times);
    VEC_FREE(&cursor->pieces);
    VEC_FREE(&cursor->merged);
    VEC_FREE(&cursor->ends);
    VEC_FREE(&cursor->times);
    samples_deinit(&cursor->samples);
    samples_deinit(&cursor->merged_samples);
    buf_deinit(&cursor->bytes);
    arena_deinit(&cursor->before_arena);
    mem_free(cursor);
}

/* --- gathering the pieces --- */

static bool open_bundle(struct cursor *cursor, uint32_t file, struct bundle_entry *entry,
                        struct bundle *out, struct err *err)
{
    const struct partition *partition = cursor->selection->files.items[file].file.open;
    struct str bytes;
    bool found;
    if (!cursor->reads[file] && !kv_read_begin(partition->kv, &cursor->reads[file], err))
        return false;
    if (!kv_get(cursor->reads[file], PARTITION_BUNDLES, entry->key, &found, &bytes, err))
        return false;
    if (!found || !bundle_open(out, bytes))
        return err_set(err, ERR_CORRUPT, "%s: a bundle is %s", partition->path,
                       found ? "damaged" : "missing");
    if (atomic_load_explicit(&entry->verified, memory_order_relaxed))
        return true;
    if (!bundle_verify(bytes))
        return err_set(err, ERR_CORRUPT, "%s: a bundle's checksum is wrong", partition->path);
    atomic_store_explicit(&entry->verified, 1, memory_order_relaxed);
    return true;
}

/* The column's times, decoded unless they are known; NULL when they are damaged. */
static const struct time_vec *load_column(struct cursor *cursor, const struct bundle *bundle,
                                          uint32_t column)
{
    uint64_t hash =
        ((uint64_t)(uintptr_t)bundle->bytes.ptr + column) * UINT64_C(0x9e3779b97f4a7c15);
    struct known_times *known = &cursor->known_times[hash >> 32 & (cursor->known_times_count - 1)];
    if (known->bytes == bundle->bytes.ptr && known->column == column)
        return &known->times;
    known->bytes = NULL;
    VEC_CLEAR(&known->times);
    if (!bundle_column(bundle, column, &known->times))
        return NULL;
    known->bytes = bundle->bytes.ptr;
    known->column = column;
    return &known->times;
}

/* The bundle's bounds stand for the run's: they are in its head, and slots of a group follow each other. */
static void add_bundle_runs(struct cursor *cursor, uint32_t file, struct opened_bundle *opened,
                            uint64_t id)
{
    const struct bundle_entry *entry = opened->entry;
    const struct bundle *bundle = &opened->bundle;
    for (uint32_t at = opened_find(opened, id);
         at < bundle->run_count && bundle_id_at(bundle, at) == id; at++) {
        struct bundle_run run = bundle_run_at(bundle, at);
        opened->next_run = at + 1;
        struct piece piece = {.kind = PIECE_BUNDLE,
                              .file = file,
                              .order = ((uint64_t)1 << 62) + entry->key,
                              .time_min_ms = bundle->time_min_ms,
                              .time_max_ms = bundle->time_max_ms,
                              .as.in_bundle = {*bundle, run}};
        VEC_PUSH(&cursor->pieces, piece);
    }
}

static void make_known_times(struct cursor *cursor)
{
    const struct selection *selection = cursor->selection;
    size_t bundles = 0;
    for (uint32_t f = 0; f < selection->files.count; f++)
        bundles += selection->files.items[f].bundles.count;
    cursor->known_times_count = KNOWN_TIMES_MIN;
    while (cursor->known_times_count < 2 * bundles && cursor->known_times_count < KNOWN_TIMES_MAX)
        cursor->known_times_count *= 2;
    cursor->known_times = mem_zalloc(cursor->known_times_count * sizeof(cursor->known_times[0]));
}

static bool add_open_file(struct cursor *cursor, uint32_t file, uint64_t id, struct err *err)
{
    const struct selected_file *selected = &cursor->selection->files.items[file];
    if (!cursor->known_times)
        make_known_times(cursor);
    for (size_t i = selected_bundle_next(selected, 0, id); i < selected->bundles.count;
         i = selected_bundle_next(selected, i + 1, id)) {
        struct bundle_entry *entry = selected->bundles.items[i];
        struct bundle bundle;
        struct opened_bundle *opened = opened_place(&cursor->opened, cursor->selection, entry);
        if (opened->entry != entry) {
            if (!open_bundle(cursor, file, entry, &bundle, err))
                return false;
            *opened = (struct opened_bundle){entry, bundle, 0};
        }
        add_bundle_runs(cursor, file, opened, id);
    }
    return true;
}

static void add_day(struct cursor *cursor, uint32_t file, uint32_t ordinal)
{
    const struct day_info *info = day_file_info(cursor->selection->files.items[file].file.day);
    struct piece piece = {.kind = PIECE_DAY,
                          .file = file,
                          .order = file,
                          .time_min_ms = info->time_min_ms,
                          .time_max_ms = info->time_max_ms,
                          .as.ordinal = ordinal};
    VEC_PUSH(&cursor->pieces, piece);
}

static void add_memory(struct cursor *cursor, const struct source *source)
{
    for (uint32_t i = source->run_count; i-- > 0;) {
        const struct head_run *run = &cursor->selection->runs.items[source->key + i];
        struct piece piece = {.kind = PIECE_RUN,
                              .order = ((uint64_t)1 << 63) + cursor->pieces.count,
                              .time_min_ms = run->time_min_ms,
                              .time_max_ms = run->time_max_ms,
                              .as.run = run};
        VEC_PUSH(&cursor->pieces, piece);
    }
}

static void add_late(struct cursor *cursor, const struct source *source)
{
    const struct selected_late *items = cursor->selection->lates.items + source->key;
    struct piece piece = {.kind = PIECE_LATE,
                          .order = UINT64_MAX,
                          .time_min_ms = items[0].sample->time_ms,
                          .time_max_ms = items[source->run_count - 1].sample->time_ms,
                          .as.late = source};
    VEC_PUSH(&cursor->pieces, piece);
}

static int compare_piece(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->time_min_ms != y->time_min_ms)
        return x->time_min_ms < y->time_min_ms ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

void cursor_seek(struct cursor *cursor, size_t index)
{
    const struct selection *selection = cursor->selection;
    ENSURE(index < selection_count(selection));
    VEC_CLEAR(&cursor->pieces);
    cursor->next_piece = 0;
    cursor->before = NULL;
    cursor->delete_count = selection->series.items[index].delete_count;
    if (cursor->delete_count > 0)
        cursor->deletes = selection->deletes.items + selection->series.items[index].delete_first;
    err_clear(&cursor->err);
    for (uint32_t at = selection->series.items[index].source_first; at != SOURCE_NONE;) {
        const struct source *source = &selection->sources.items[at];
        if (source->file == SOURCE_MEMORY) {
            add_memory(cursor, source);
        } else if (source->file == SOURCE_LATE) {
            add_late(cursor, source);
        } else if (selection->files.items[source->file].file.day) {
            add_day(cursor, source->file, (uint32_t)source->key);
        } else if (!add_open_file(cursor, source->file, source->key, &cursor->err)) {
            return;
        }
        at = source->next;
    }
    bool is_sorted = true;
    for (size_t i = 1; is_sorted && i < cursor->pieces.count; i++)
        is_sorted = compare_piece(&cursor->pieces.items[i - 1], &cursor->pieces.items[i]) < 0;
    if (!is_sorted)
        VEC_SORT(&cursor->pieces, compare_piece);
}

/* --- decoding --- */

static struct day_reader *day_reader_of(struct cursor *cursor, uint32_t file)
{
    struct day_reader **reader = &cursor->days[file];
    if (!*reader)
        *reader = day_reader_new(cursor->selection->files.items[file].file.day);
    return *reader;
}

static bool read_day(struct cursor *cursor, const struct piece *piece, struct err *err)
{
    const struct selection *selection = cursor->selection;
    return day_reader_read(day_reader_of(cursor, piece->file), piece->as.ordinal,
                           selection->from_ms, selection->to_ms, &cursor->samples, err);
}

static void read_run(struct cursor *cursor, const struct head_run *shown)
{
    const struct run *run = shown->run;
    if (cursor->times_of != run->column || cursor->times.count <= shown->last_row) {
        VEC_CLEAR(&cursor->times);
        column_read(run->column, shown->last_row, &cursor->times);
        cursor->times_of = run->column;
    }
    buf_clear(&cursor->bytes);
    char *bytes = buf_reserve(&cursor->bytes, shown->len + STREAM_BEYOND_MAX);
    run_read(run, shown->len, (uint8_t *)bytes);
    memset(bytes + shown->len, 0, STREAM_BEYOND_MAX);
    bool good = stream_read_amid(str_from(bytes, shown->len), STREAM_BEYOND_MAX, run->first_row,
                                 shown->last_row, cursor->times.items,
                                 (uint32_t)cursor->times.count, &cursor->samples);
    ENSURE(good); /* Our own memory. */
}

static bool late_is_deleted(const struct cursor *cursor, const struct selected_late *late)
{
    for (uint32_t i = 0; i < cursor->delete_count; i++) {
        const struct selected_delete *deleted = &cursor->deletes[i];
        if (selected_delete_takes_slot(deleted, late->slot) &&
            late->sample->time_ms >= deleted->from_ms && late->sample->time_ms <= deleted->to_ms)
            return true;
    }
    return false;
}

static void read_late(struct cursor *cursor, const struct source *source)
{
    const struct selected_late *items = cursor->selection->lates.items + source->key;
    samples_reserve(&cursor->samples, source->run_count);
    for (uint32_t i = 0; i < source->run_count; i++) {
        const struct late_sample *sample = items[i].sample;
        if (i + 1 < source->run_count && items[i + 1].sample->time_ms == sample->time_ms)
            continue; /* The one that came last counts. */
        if (late_is_deleted(cursor, &items[i]))
            continue;
        if (sample->histogram)
            samples_add_histogram(&cursor->samples, sample->time_ms, sample->histogram);
        else
            samples_add(&cursor->samples, sample->time_ms, sample_from_bits(sample->bits));
    }
}

/* Adds the piece's samples behind those that are there. */
static bool decode_piece(struct cursor *cursor, const struct piece *piece, struct err *err)
{
    const struct bundle *bundle = &piece->as.in_bundle.bundle;
    const struct time_vec *times;
    switch (piece->kind) {
    case PIECE_DAY:
        return read_day(cursor, piece, err);
    case PIECE_RUN:
        read_run(cursor, piece->as.run);
        return true;
    case PIECE_LATE:
        read_late(cursor, piece->as.late);
        return true;
    case PIECE_BUNDLE:
        times = load_column(cursor, bundle, piece->as.in_bundle.run.column);
        if (!times || !bundle_read(bundle, &piece->as.in_bundle.run, times, &cursor->bundle_reader,
                                   &cursor->samples))
            return err_set(err, ERR_CORRUPT, "%s: a run cannot be decoded",
                           cursor->selection->files.items[piece->file].file.open->path);
        return true;
    }
    UNREACHABLE();
}

static bool takes_piece(const struct cursor *cursor, const struct selected_delete *deleted,
                        const struct piece *piece)
{
    switch (piece->kind) {
    case PIECE_DAY:
        return selected_delete_takes_day(
            deleted, day_file_info(cursor->selection->files.items[piece->file].file.day));
    case PIECE_BUNDLE:
        return selected_delete_takes_slot(deleted, piece->as.in_bundle.bundle.slot);
    case PIECE_RUN:
        return selected_delete_takes_slot(deleted, piece->as.run->run->column->slot->number);
    case PIECE_LATE:
        return false; /* They are of several slots: read_late has looked. */
    }
    UNREACHABLE();
}

/* Takes what is deleted out of the piece's samples, which are those from `first` on. */
static void drop_deleted(struct cursor *cursor, const struct piece *piece, size_t first)
{
    for (uint32_t i = 0; i < cursor->delete_count; i++) {
        if (takes_piece(cursor, &cursor->deletes[i], piece))
            samples_drop(&cursor->samples, first, cursor->deletes[i].from_ms,
                         cursor->deletes[i].to_ms);
    }
}

/* Does each piece begin after the one before it has ended? Bounds of pieces are wider than their samples, so most that seem to
 * overlap follow each other. Within a piece times ascend. */
static bool is_ascending(const struct samples *samples, const size_t *ends, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++)
        if (ends[i] > 0 && ends[i] < samples->count &&
            samples->time_ms[ends[i] - 1] >= samples->time_ms[ends[i]])
            return false;
    return true;
}

static int compare_merged(const void *a, const void *b)
{
    const struct merged *x = a, *y = b;
    if (x->time_ms != y->time_ms)
        return x->time_ms < y->time_ms ? -1 : 1;
    return (x->piece > y->piece) - (x->piece < y->piece);
}

/* Pieces that overlap in time: sorted, of equal times the one that was written last. `ends` tells where each piece's
 * samples end. */
static void merge_overlap(struct cursor *cursor, const struct piece *pieces, const size_t *ends,
                          size_t count)
{
    struct samples *from = &cursor->samples, *to = &cursor->merged_samples;
    size_t at = 0;
    VEC_CLEAR(&cursor->merged);
    for (size_t p = 0; p < count; p++) {
        uint32_t rank = 0; /* Of the piece among these, by order of writing. */
        for (size_t other = 0; other < count; other++)
            rank += pieces[other].order < pieces[p].order;
        for (; at < ends[p]; at++) {
            struct merged merged = {(uint32_t)at, rank, from->time_ms[at]};
            VEC_PUSH(&cursor->merged, merged);
        }
    }
    VEC_SORT(&cursor->merged, compare_merged);
    samples_clear(to);
    samples_reserve(to, cursor->merged.count);
    for (size_t i = 0; i < cursor->merged.count; i++) {
        const struct merged *merged = &cursor->merged.items[i];
        const struct histogram *histogram = from->histogram ? from->histogram[merged->index] : NULL;
        if (to->count > 0 && to->time_ms[to->count - 1] == merged->time_ms)
            to->count--;
        if (histogram)
            samples_add_histogram(to, merged->time_ms, histogram);
        else
            samples_add(to, merged->time_ms, from->value[merged->index]);
    }
}

/* --- counter resets --- */

static bool same_layout(const struct histogram *a, const struct histogram *b)
{
    return a->schema == b->schema && a->zero_threshold == b->zero_threshold &&
           a->bound_count == b->bound_count &&
           (a->bound_count == 0 ||
            memcmp(a->bounds, b->bounds, a->bound_count * sizeof(a->bounds[0])) == 0);
}

/* The hint that Prometheus reads back: it keeps "not reset" inside its chunks only, and a chunk ends where the layout
 * changes or a counter falls. */
static uint8_t hint_of(const struct histogram *histogram, const struct histogram *before)
{
    struct histogram plain = *histogram;
    if (histogram->hint == HISTOGRAM_GAUGE)
        return HISTOGRAM_GAUGE;
    if (histogram->hint == HISTOGRAM_RESET || !before || before->hint == HISTOGRAM_GAUGE)
        return HISTOGRAM_UNKNOWN_RESET;
    if (histogram_is_stale(histogram))
        return HISTOGRAM_NOT_RESET;
    plain.hint = HISTOGRAM_UNKNOWN_RESET;
    bool starts_anew = histogram_is_stale(before) || !same_layout(histogram, before) ||
                       histogram_was_reset(&plain, before);
    return starts_anew ? HISTOGRAM_UNKNOWN_RESET : HISTOGRAM_NOT_RESET;
}

static void set_hints(struct cursor *cursor, struct samples *samples)
{
    const struct histogram *before = cursor->before;
    for (size_t i = 0; samples->histogram && i < samples->count; i++) {
        const struct histogram *histogram = samples->histogram[i];
        if (histogram) {
            struct histogram *shown = arena_alloc(&samples->histograms, sizeof(*shown));
            *shown = *histogram;
            shown->hint = hint_of(histogram, before);
            samples->histogram[i] = shown;
        }
        before = histogram;
    }
    if (samples->count == 0)
        return;
    if (before && before != cursor->before) {
        struct arena arena;
        arena_init(&arena, 0);
        before = histogram_copy(&arena, before);
        arena_deinit(&cursor->before_arena);
        cursor->before_arena = arena;
    }
    cursor->before = samples->histogram ? before : NULL;
}

/* A day that nothing overlaps, all floats of it: shown where the reader has them. Leaves *out empty when it is not so. */
static bool view_day(struct cursor *cursor, struct sample_block *out, struct err *err)
{
    const struct selection *selection = cursor->selection;
    const struct piece *piece = &cursor->pieces.items[cursor->next_piece];
    bool is_last = cursor->next_piece + 1 == cursor->pieces.count;
    struct day_view view;
    bool viewed;
    if (piece->kind != PIECE_DAY || cursor->delete_count > 0 || cursor->before ||
        (!is_last && piece[1].time_min_ms <= piece->time_max_ms))
        return true;
    if (!day_reader_view(day_reader_of(cursor, piece->file), piece->as.ordinal, selection->from_ms,
                         selection->to_ms, &view, &viewed, err))
        return false;
    if (!viewed)
        return true;
    cursor->next_piece++;
    out->count = view.count;
    out->time_ms = view.time_ms;
    out->value = view.value;
    return true;
}

/* What is in [from, to], where it is. */
static void show_range(const struct samples *samples, int64_t from_ms, int64_t to_ms,
                       struct sample_block *out)
{
    size_t from = 0, to = samples->count;
    while (from < to && samples->time_ms[from] < from_ms)
        from++;
    while (to > from && samples->time_ms[to - 1] > to_ms)
        to--;
    out->count = to - from;
    out->time_ms = samples->time_ms + from;
    out->value = samples->value + from;
    out->histogram = samples->histogram ? samples->histogram + from : NULL;
}

/* Decodes pieces into cursor->samples: those that overlap in time together, and more while they are small floats. */
static bool decode_block(struct cursor *cursor, struct err *err)
{
    struct samples *samples = &cursor->samples;
    int64_t until = INT64_MIN;
    samples_clear(samples);
    VEC_CLEAR(&cursor->ends);
    while (cursor->next_piece < cursor->pieces.count) {
        const struct piece *piece = &cursor->pieces.items[cursor->next_piece];
        bool is_apart = piece->time_min_ms > until && cursor->ends.count > 0;
        if (is_apart && (samples->histogram || cursor->before || samples->count >= BLOCK_SAMPLES))
            return true;
        cursor->next_piece++;
        until = piece->time_max_ms > until ? piece->time_max_ms : until;
        size_t before = samples->count;
        if (!decode_piece(cursor, piece, err))
            return false;
        drop_deleted(cursor, piece, before);
        VEC_PUSH(&cursor->ends, samples->count);
    }
    return true;
}

bool cursor_next(struct cursor *cursor, struct sample_block *out, struct err *err)
{
    const struct selection *selection = cursor->selection;
    *out = (struct sample_block){0};
    while (cursor->err.code == ERR_NONE && cursor->next_piece < cursor->pieces.count &&
           out->count == 0) {
        size_t first = cursor->next_piece;
        if (!view_day(cursor, out, &cursor->err))
            break;
        if (cursor->next_piece > first)
            continue;
        struct samples *samples = &cursor->samples;
        if (!decode_block(cursor, &cursor->err))
            break;
        if (!is_ascending(samples, cursor->ends.items, cursor->ends.count)) {
            merge_overlap(cursor, &cursor->pieces.items[first], cursor->ends.items,
                          cursor->ends.count);
            samples = &cursor->merged_samples;
        }
        if (samples->histogram || cursor->before)
            set_hints(cursor, samples);
        show_range(samples, selection->from_ms, selection->to_ms, out);
    }
    if (cursor->err.code != ERR_NONE) {
        *err = cursor->err;
        return false;
    }
    out->is_last = cursor->next_piece == cursor->pieces.count;
    return true;
}
