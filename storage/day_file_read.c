/* day_file_read: the samples of one series of a day file.
 *
 *     ordinal -> pack -> entry -> chunks; of each: column -> times; bytes (and those of the family before it) -> values
 *
 * A reader keeps what neighbours share: the packs, the last columns, and of each of a series' first chunks the values decoded
 * last, which the next bucket of a histogram is coded against. All bytes are suspect: work is bounded by what a pack
 * can hold. */
#include <string.h>

#include "base/vec.h"
#include "day_file_private.h"

#define COLUMNS_KEPT 16

struct kept_column {
    uint64_t used; /* 0: empty. */
    uint32_t number, rows;
    int64_t *times_ms; /* CODEC_VALUES_MAX places. */
};

struct kept_values {
    struct codec_column *column; /* NULL: never used. */
    uint32_t ordinal;
    bool is_valid;
};

struct day_reader {
    struct day_file *day;
    struct kv_read *read;
    struct day_pack columns, chunks;
    struct day_pack referred; /* Of chunks that references lead to. */
    struct kept_column kept_columns[COLUMNS_KEPT];
    uint64_t clock;
    struct kept_values
        kept[DAY_FAMILY_CHUNKS + 1]; /* By chunk of the series; the last: of all others. */
    struct codec_column *spare;
    int64_t times_ms[CODEC_VALUES_MAX]; /* Of a histogram chunk of several ranges. */
};

/* Of one day_reader_read. */
struct day_read {
    struct day_reader *reader;
    uint32_t ordinal;
    int64_t from_ms, to_ms;
    int64_t last_ms; /* Of the last chunk's last row. */
    bool any;
    struct samples *out;
    struct day_view *view; /* Instead of `out`: filled when the series is one piece of one chunk. */
};

struct day_reader *day_reader_new(struct day_file *day)
{
    struct day_reader *reader = MEM_NEW(struct day_reader);
    reader->day = day_file_ref(day);
    return reader;
}

void day_reader_free(struct day_reader *reader)
{
    if (!reader)
        return;
    if (reader->chunks.count > 0)
        day_file_let_go(reader->chunks.bytes);
    if (reader->referred.count > 0)
        day_file_let_go(reader->referred.bytes);
    if (reader->columns.count > 0)
        day_file_let_go(reader->columns.bytes);
    for (size_t i = 0; i < COLUMNS_KEPT; i++)
        mem_free(reader->kept_columns[i].times_ms);
    for (size_t i = 0; i <= DAY_FAMILY_CHUNKS; i++)
        mem_free(reader->kept[i].column);
    mem_free(reader->spare);
    kv_read_end(reader->read);
    day_file_unref(reader->day);
    mem_free(reader);
}

static bool load_column(struct day_reader *reader, uint32_t number, const struct kept_column **out,
                        struct err *err)
{
    struct kept_column *oldest = &reader->kept_columns[0];
    for (size_t i = 0; i < COLUMNS_KEPT; i++) {
        struct kept_column *kept = &reader->kept_columns[i];
        if (kept->used > 0 && kept->number == number) {
            kept->used = ++reader->clock;
            *out = kept;
            return true;
        }
        oldest = kept->used < oldest->used ? kept : oldest;
    }
    struct str entry;
    if (!day_file_pack(reader->day, reader->read, DAY_COLUMNS, number, &reader->columns, err))
        return false;
    if (!day_pack_entry(&reader->columns, number, &entry))
        return day_file_corrupt(reader->day, err, "a column is damaged");
    struct reader in = reader_over(entry);
    uint64_t rows = read_varint(&in);
    oldest->used = 0;
    if (!oldest->times_ms)
        oldest->times_ms = mem_alloc(CODEC_VALUES_MAX * sizeof(oldest->times_ms[0]));
    if (in.bad || rows == 0 || rows > CODEC_VALUES_MAX ||
        !codec_times_decode(read_bytes(&in, reader_left(&in)), (uint32_t)rows, oldest->times_ms))
        return day_file_corrupt(reader->day, err, "a column is damaged");
    oldest->number = number;
    oldest->rows = (uint32_t)rows;
    oldest->used = ++reader->clock;
    *out = oldest;
    return true;
}

/* Fills the one range of a whole column; checks those of another. */
static bool resolve_times(struct day_reader *reader, struct day_times *times,
                          const struct kept_column **column, struct err *err)
{
    if (!load_column(reader, times->column, column, err))
        return false;
    if (times->whole) {
        times->range_count = 1;
        times->ranges[0] = (struct day_range){0, (*column)->rows};
        return true;
    }
    const struct day_range *last = &times->ranges[times->range_count - 1];
    return last->first + last->rows <= (*column)->rows ||
           day_file_corrupt(reader->day, err, "a chunk has more rows than its column");
}

/* The number-th chunk of a series. */
static bool find_chunk(struct day_reader *reader, struct day_pack *pack, uint32_t ordinal,
                       uint32_t number, struct day_chunk *out, struct err *err)
{
    struct str entry;
    if (!day_file_pack(reader->day, reader->read, DAY_CHUNKS, ordinal, pack, err))
        return false;
    if (!day_pack_entry(pack, ordinal, &entry))
        return day_file_corrupt(reader->day, err, "a series is damaged");
    struct reader in = reader_over(entry);
    bool more = true;
    for (uint32_t i = 0; i <= number; i++) {
        if (!more || !day_chunk_read(&in, out, &more))
            return day_file_corrupt(reader->day, err, "a chunk is missing or damaged");
    }
    return true;
}

/* One column of a chain that leads to the values that are wanted. */
struct link {
    struct str bytes;
    uint32_t rows;
};

static bool decode_chain(struct day_reader *reader, struct kept_values *kept,
                         const struct link *chain, uint32_t links, uint32_t ordinal,
                         struct err *err)
{
    for (uint32_t i = links; i-- > 0;) {
        const struct codec_column *previous = kept->is_valid ? kept->column : NULL;
        if (!reader->spare)
            reader->spare = mem_alloc(sizeof(*reader->spare));
        /* Values only of the last one: integers are enough to go on from. */
        if (!codec_decode_base(chain[i].bytes, chain[i].rows, previous, reader->spare))
            return day_file_corrupt(reader->day, err, "a chunk cannot be decoded");
        struct codec_column *swap = kept->column;
        kept->column = reader->spare;
        reader->spare = swap;
        kept->ordinal = ordinal - i;
        kept->is_valid = true;
    }
    return true;
}

/* Values of a chunk: those that it is coded against are decoded first, unless they are still there. */
static bool load_values(struct day_reader *reader, struct day_pack *pack, uint32_t ordinal,
                        uint32_t number, const struct day_chunk *chunk,
                        const struct codec_column **out, struct err *err)
{
    bool is_kept = number < DAY_FAMILY_CHUNKS;
    struct kept_values *kept = &reader->kept[is_kept ? number : DAY_FAMILY_CHUNKS];
    struct link chain[DAY_FAMILY_RESTART];
    struct day_chunk now = *chunk;
    uint32_t links = 0;
    while (!is_kept || !kept->is_valid || kept->ordinal != ordinal - links) {
        if (now.kind != DAY_VALUES || links == DAY_FAMILY_RESTART)
            return day_file_corrupt(reader->day, err, "a family of columns has no begin");
        const struct kept_column *column;
        if (!resolve_times(reader, &now.times, &column, err))
            return false;
        chain[links++] = (struct link){now.bytes, day_times_rows(&now.times)};
        if (!codec_needs_previous(now.bytes)) {
            kept->is_valid = false;
            break;
        }
        if (!is_kept || links > ordinal)
            return day_file_corrupt(reader->day, err, "a family of columns has no begin");
        if (kept->is_valid && kept->ordinal == ordinal - links)
            break;
        if (!find_chunk(reader, pack, ordinal - links, number, &now, err))
            return false;
    }
    if (!decode_chain(reader, kept, chain, links, ordinal, err)) {
        kept->is_valid = false;
        return false;
    }
    codec_column_fill(kept->column);
    *out = kept->column;
    return true;
}

/* First position with a time that is not below. */
static uint32_t lower_bound(const int64_t *times_ms, uint32_t count, int64_t time_ms)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (times_ms[middle] < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Rows of a range whose time is in [from_ms, to_ms]. */
static struct day_range wanted_rows(const struct day_read *read, const int64_t *range_ms,
                                    uint32_t rows)
{
    uint32_t from = lower_bound(range_ms, rows, read->from_ms), to = rows;
    if (range_ms[rows - 1] > read->to_ms)
        to = lower_bound(range_ms, rows, read->to_ms + 1);
    return (struct day_range){from, to > from ? to - from : 0};
}

static void emit_values(const struct day_read *read, const struct day_times *times,
                        const int64_t *times_ms, const double *values)
{
    struct samples *out = read->out;
    if (read->view) {
        const int64_t *range_ms = times_ms + times->ranges[0].first;
        struct day_range rows = wanted_rows(read, range_ms, times->ranges[0].rows);
        *read->view = (struct day_view){range_ms + rows.first, values + rows.first, rows.rows};
        return;
    }
    samples_reserve(out, day_times_rows(times));
    for (uint32_t i = 0; i < times->range_count; i++) {
        const struct day_range *range = &times->ranges[i];
        const int64_t *range_ms = times_ms + range->first;
        struct day_range rows = wanted_rows(read, range_ms, range->rows);
        uint32_t from = rows.first, to = rows.first + rows.rows;
        if (from < to) {
            memcpy(out->time_ms + out->count, range_ms + from, (to - from) * sizeof(int64_t));
            memcpy(out->value + out->count, values + from, (to - from) * sizeof(double));
            if (out->histogram)
                memset((void *)(out->histogram + out->count), 0,
                       (to - from) * sizeof(out->histogram[0]));
            out->count += to - from;
        }
        values += range->rows;
    }
}

static bool emit_histograms(const struct day_read *read, const struct day_chunk *chunk,
                            const int64_t *column_ms, struct err *err)
{
    struct day_reader *reader = read->reader;
    const struct day_times *times = &chunk->times;
    const int64_t *times_ms = column_ms + times->ranges[0].first;
    uint32_t rows = day_times_rows(times);
    if (times->range_count > 1) {
        uint32_t row = 0;
        for (uint32_t i = 0; i < times->range_count; i++) {
            memcpy(reader->times_ms + row, column_ms + times->ranges[i].first,
                   times->ranges[i].rows * sizeof(int64_t));
            row += times->ranges[i].rows;
        }
        times_ms = reader->times_ms;
    }
    return day_histograms_read(chunk->bytes, times_ms, rows, read->from_ms, read->to_ms,
                               read->out) ||
           day_file_corrupt(reader->day, err, "histograms cannot be decoded");
}

static bool read_chunk(struct day_read *read, uint32_t number, struct day_chunk *chunk,
                       struct err *err)
{
    struct day_reader *reader = read->reader;
    const struct kept_column *column;
    const struct codec_column *values = NULL;
    uint32_t ordinal = read->ordinal;
    if (!resolve_times(reader, &chunk->times, &column, err))
        return false;
    struct day_times *times = &chunk->times;
    const struct day_range *last = &times->ranges[times->range_count - 1];
    int64_t first_ms = column->times_ms[times->ranges[0].first];
    int64_t last_ms = column->times_ms[last->first + last->rows - 1];
    if (read->any && first_ms <= read->last_ms)
        return day_file_corrupt(reader->day, err, "chunks are out of order");
    read->any = true;
    read->last_ms = last_ms;
    if (first_ms > read->to_ms || last_ms < read->from_ms)
        return true;
    if (chunk->kind == DAY_HISTOGRAMS)
        return emit_histograms(read, chunk, column->times_ms, err);
    struct day_chunk other = *chunk;
    struct day_pack *pack = &reader->chunks;
    if (chunk->kind == DAY_REFERENCE) {
        if (chunk->distance > ordinal)
            return day_file_corrupt(reader->day, err, "a reference leads out of the file");
        ordinal -= chunk->distance;
        pack = &reader->referred;
        if (!find_chunk(reader, pack, ordinal, number, &other, err))
            return false;
    }
    if (!load_values(reader, pack, ordinal, number, &other, &values, err))
        return false;
    /* Other columns may have been loaded meanwhile: this one's place may have been taken. */
    if (!load_column(reader, times->column, &column, err))
        return false;
    if (values->count != day_times_rows(times))
        return day_file_corrupt(reader->day, err, "a reference has another number of rows");
    emit_values(read, times, column->times_ms, values->values);
    return true;
}

static bool read_series(void *ctx, struct err *err)
{
    struct day_read *read = ctx;
    struct day_reader *reader = read->reader;
    struct str entry;
    bool more = true;
    if (!reader->read && !day_file_begin(reader->day, &reader->read, err))
        return false;
    if (!day_file_pack(reader->day, reader->read, DAY_CHUNKS, read->ordinal, &reader->chunks, err))
        return false;
    if (!day_pack_entry(&reader->chunks, read->ordinal, &entry))
        return day_file_corrupt(reader->day, err, "a series is damaged");
    struct reader in = reader_over(entry);
    for (uint32_t number = 0; more; number++) {
        struct day_chunk chunk;
        if (!day_chunk_read(&in, &chunk, &more))
            return day_file_corrupt(reader->day, err, "a series is damaged");
        if (!read_chunk(read, number, &chunk, err))
            return false;
    }
    return true;
}

static bool run_read(struct day_read *read, day_file_fn fn, struct err *err)
{
    struct day_reader *reader = read->reader;
    if (read->ordinal >= reader->day->info.series_count)
        return err_set(err, ERR_CORRUPT, "%s has no series %u", reader->day->path, read->ordinal);
    if (day_file_guard(reader->day, fn, read, err))
        return true;
    for (size_t i = 0; i <= DAY_FAMILY_CHUNKS; i++)
        reader->kept[i].is_valid = false;
    return false;
}

bool day_reader_read(struct day_reader *reader, uint32_t ordinal, int64_t from_ms, int64_t to_ms,
                     struct samples *out, struct err *err)
{
    struct day_read read = {
        .reader = reader, .ordinal = ordinal, .from_ms = from_ms, .to_ms = to_ms, .out = out};
    size_t count_before = out->count;
    if (run_read(&read, read_series, err))
        return true;
    out->count = count_before;
    return false;
}

/* One chunk of values, all in one piece of their column. */
static bool is_one_piece(struct day_reader *reader, uint32_t ordinal, bool *one, struct err *err)
{
    struct str entry;
    struct day_chunk chunk;
    bool more;
    if (!day_file_pack(reader->day, reader->read, DAY_CHUNKS, ordinal, &reader->chunks, err))
        return false;
    if (!day_pack_entry(&reader->chunks, ordinal, &entry))
        return day_file_corrupt(reader->day, err, "a series is damaged");
    struct reader in = reader_over(entry);
    if (!day_chunk_read(&in, &chunk, &more))
        return day_file_corrupt(reader->day, err, "a series is damaged");
    *one = !more && chunk.kind != DAY_HISTOGRAMS &&
           (chunk.times.whole || chunk.times.range_count == 1);
    return true;
}

static bool view_series(void *ctx, struct err *err)
{
    struct day_read *read = ctx;
    struct day_reader *reader = read->reader;
    bool one = false;
    if (!reader->read && !day_file_begin(reader->day, &reader->read, err))
        return false;
    if (!is_one_piece(reader, read->ordinal, &one, err))
        return false;
    *read->view = (struct day_view){0};
    if (one)
        return read_series(ctx, err);
    read->view = NULL;
    return true;
}

bool day_reader_view(struct day_reader *reader, uint32_t ordinal, int64_t from_ms, int64_t to_ms,
                     struct day_view *out, bool *viewed, struct err *err)
{
    struct day_read read = {
        .reader = reader, .ordinal = ordinal, .from_ms = from_ms, .to_ms = to_ms, .view = out};
    bool good = run_read(&read, view_series, err);
    *viewed = good && read.view;
    return good;
}
