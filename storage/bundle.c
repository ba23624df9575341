/* bundle: see bundle.h for the bytes. They come from disk: each is suspect. */
#include "bundle.h"

#include <string.h>

#include "base/bytes.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "codec.h"
#include "stream.h"

static uint64_t u64_at(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

static uint32_t u32_at(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
    return value;
}

static uint16_t u16_at(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, 2);
    return value;
}

/* A number of one of the widths. */
static inline uint64_t number_at(const uint8_t *from, uint32_t bytes, uint32_t index)
{
    const uint8_t *at = from + (size_t)index * bytes;
    switch (bytes) {
    case 1:
        return *at;
    case 2:
        return u16_at(at);
    case 4:
        return u32_at(at);
    case 8:
        return u64_at(at);
    default:
        return 0;
    }
}

/* --- frame --- */

/* A table of `count` rows of `bytes`; NULL when there is no room for it. */
static const uint8_t *take(const uint8_t **at, size_t *left, uint32_t count, uint32_t bytes)
{
    const uint8_t *table = *at;
    size_t len = (size_t)count * bytes;
    if (len > *left)
        return NULL;
    *at += len;
    *left -= len;
    return table;
}

static bool open_runs(struct bundle *out, const uint8_t **at, size_t *left)
{
    const uint8_t *head = (const uint8_t *)out->bytes.ptr + BUNDLE_HEAD_1;
    if (out->is_old)
        return (out->ids = take(at, left, out->run_count, BUNDLE_RUN_1)) != NULL;
    if (*left < BUNDLE_HEAD - BUNDLE_HEAD_1)
        return false;
    *at += BUNDLE_HEAD - BUNDLE_HEAD_1;
    *left -= BUNDLE_HEAD - BUNDLE_HEAD_1;
    out->id_min = u64_at(head);
    out->id_bytes = head[8];
    out->end_bytes = head[9];
    out->number_bytes = head[10];
    if (out->id_bytes > 8 || (out->id_bytes & (out->id_bytes - 1)) != 0 ||
        (out->end_bytes != 2 && out->end_bytes != 4) || out->number_bytes > 2)
        return false;
    out->ids = take(at, left, out->run_count, out->id_bytes);
    out->ends = out->ids ? take(at, left, out->run_count, out->end_bytes) : NULL;
    out->numbers = out->ends ? take(at, left, out->run_count, out->number_bytes) : NULL;
    return out->numbers != NULL;
}

bool bundle_open(struct bundle *out, struct str bytes)
{
    const uint8_t *at = (const uint8_t *)bytes.ptr;
    if (bytes.len < BUNDLE_HEAD_1 || (u32_at(at) != BUNDLE_MAGIC && u32_at(at) != BUNDLE_MAGIC_1))
        return false;
    *out = (struct bundle){.bytes = bytes,
                           .is_old = u32_at(at) == BUNDLE_MAGIC_1,
                           .group_key = u64_at(at + 8),
                           .slot = u64_at(at + 16),
                           .time_min_ms = (int64_t)u64_at(at + 24),
                           .time_max_ms = (int64_t)u64_at(at + 32),
                           .run_count = u32_at(at + 40),
                           .column_count = u32_at(at + 44),
                           .end = at + bytes.len};
    size_t left = bytes.len - BUNDLE_HEAD_1;
    at += BUNDLE_HEAD_1;
    /* Each run has a byte at least, so that a count cannot be more than what is there. */
    if (out->run_count == 0 || out->run_count > left || !open_runs(out, &at, &left))
        return false;
    out->columns = take(&at, &left, out->column_count, BUNDLE_COLUMN);
    if (!out->columns || out->column_count == 0 || out->column_count > UINT16_MAX)
        return false;
    out->column_bytes = at;
    for (uint32_t i = 0; i < out->column_count; i++) {
        uint32_t len = u32_at(out->columns + (size_t)i * BUNDLE_COLUMN + 4);
        if (len > left)
            return false;
        left -= len;
    }
    out->payload = out->end - left;
    return out->time_min_ms <= out->time_max_ms;
}

bool bundle_verify(struct str bytes)
{
    return bytes.len >= BUNDLE_HEAD_1 &&
           hash_crc32c(0, str_after(bytes, 8)) == u32_at((const uint8_t *)bytes.ptr + 4);
}

/* --- heads of runs --- */

uint64_t bundle_id_at(const struct bundle *bundle, uint32_t index)
{
    if (bundle->is_old)
        return u64_at(bundle->ids + (size_t)index * BUNDLE_RUN_1);
    if (bundle->id_bytes == 0)
        return bundle->id_min + index;
    return bundle->id_min + number_at(bundle->ids, bundle->id_bytes, index);
}

static struct bundle_run old_run_at(const struct bundle *bundle, uint32_t index)
{
    const uint8_t *at = bundle->ids + (size_t)index * BUNDLE_RUN_1;
    struct bundle_run run = {.id = u64_at(at),
                             .index = index,
                             .offset = u32_at(at + 8),
                             .len = u32_at(at + 12),
                             .column = u16_at(at + 16),
                             .first_row = u16_at(at + 18),
                             .last_row = u16_at(at + 20)};
    size_t payload_len = (size_t)(bundle->end - bundle->payload);
    if (run.offset > payload_len || run.len > payload_len - run.offset) {
        run.first_row = 1;
        run.last_row = 0;
        run.len = run.offset = 0;
    }
    return run;
}

/* Fills the rows; false when they are none of the column. */
static bool read_rows(const struct bundle *bundle, struct reader *in, struct bundle_run *run)
{
    if (run->column >= bundle->column_count)
        return false;
    uint32_t rows = u32_at(bundle->columns + (size_t)run->column * BUNDLE_COLUMN);
    uint64_t first = 0, last = (uint64_t)rows - 1;
    if (rows == 0 || rows > STREAM_ROWS_MAX)
        return false;
    if (!(run->flags & BUNDLE_ALL_ROWS)) {
        first = read_varint(in);
        last = read_varint(in);
        if (in->bad || first >= rows || last >= rows - first)
            return false;
        last += first;
    }
    run->first_row = (uint16_t)first;
    run->last_row = (uint16_t)last;
    return true;
}

struct bundle_run bundle_run_at(const struct bundle *bundle, uint32_t index)
{
    if (bundle->is_old)
        return old_run_at(bundle, index);
    struct bundle_run run = {.id = bundle_id_at(bundle, index), .index = index};
    size_t payload_len = (size_t)(bundle->end - bundle->payload);
    size_t begin = index ? number_at(bundle->ends, bundle->end_bytes, index - 1) : 0;
    size_t end = number_at(bundle->ends, bundle->end_bytes, index);
    run.column = (uint16_t)number_at(bundle->numbers, bundle->number_bytes, index);
    if (begin < end && end <= payload_len) {
        struct reader in =
            reader_over(str_from((const char *)bundle->payload + begin, end - begin));
        run.flags = read_u8(&in);
        if (run.flags >> BUNDLE_DISTANCE_SHIFT <= BUNDLE_DISTANCE_MAX &&
            read_rows(bundle, &in, &run)) {
            run.offset = (uint32_t)(in.at - bundle->payload);
            run.len = (uint32_t)reader_left(&in);
            return run;
        }
    }
    run.first_row = 1;
    run.last_row = 0;
    return run;
}

uint32_t bundle_find(const struct bundle *bundle, uint64_t id)
{
    uint32_t low = 0, high = bundle->run_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (bundle_id_at(bundle, middle) < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* --- times --- */

static bool old_column(struct str bytes, uint32_t rows, int64_t *out)
{
    struct reader in = reader_over(bytes);
    int64_t time = 0, delta = 0;
    if (rows > bytes.len)
        return false;
    for (uint32_t i = 0; i < rows; i++) {
        /* A regular column is nearly all zeroes, "as before". */
        bool is_short = in.at < in.end && *in.at < 0x80;
        int64_t change = is_short ? zigzag_decode(*in.at++) : read_zigzag(&in);
        if (i == 0) {
            time = change;
        } else if (__builtin_add_overflow(delta, change, &delta) || delta <= 0 ||
                   __builtin_add_overflow(time, delta, &time)) {
            return false;
        }
        out[i] = time;
    }
    return !in.bad && in.at == in.end;
}

bool bundle_column(const struct bundle *bundle, uint32_t column, struct time_vec *times)
{
    const uint8_t *at = bundle->column_bytes;
    if (column >= bundle->column_count)
        return false;
    for (uint32_t i = 0; i < column; i++)
        at += u32_at(bundle->columns + (size_t)i * BUNDLE_COLUMN + 4);
    uint32_t rows = u32_at(bundle->columns + (size_t)column * BUNDLE_COLUMN);
    uint32_t len = u32_at(bundle->columns + (size_t)column * BUNDLE_COLUMN + 4);
    struct str bytes = str_from((const char *)at, len);
    if (rows == 0 || rows > STREAM_ROWS_MAX)
        return false;
    VEC_RESERVE(times, rows);
    int64_t *out = times->items + times->count;
    if (!(bundle->is_old ? old_column(bytes, rows, out) : codec_times_decode(bytes, rows, out)))
        return false;
    times->count += rows;
    return true;
}

/* --- values --- */

void bundle_reader_deinit(struct bundle_reader *reader)
{
    for (int i = 0; i < 2; i++)
        mem_free(reader->columns[i]);
    for (size_t i = 0; reader->kept && i < BUNDLE_KEPT; i++)
        mem_free(reader->kept[i].integers);
    mem_free(reader->kept);
    *reader = (struct bundle_reader){0};
}

void bundle_reader_forget(struct bundle_reader *reader)
{
    reader->bytes = NULL;
    for (size_t i = 0; reader->kept && i < BUNDLE_KEPT; i++)
        reader->kept[i].bytes = NULL;
}

static struct bundle_kept *kept_place(const struct bundle_reader *reader,
                                      const struct bundle *bundle)
{
    uint64_t hash = (uint64_t)(uintptr_t)bundle->bytes.ptr * UINT64_C(0x9e3779b97f4a7c15);
    return &reader->kept[hash >> 32 & (BUNDLE_KEPT - 1)];
}

/* How far before the run is what it is coded against, if that is so; 0 beyond the last. */
static uint32_t distance_at(const struct bundle *bundle, uint32_t index)
{
    if (bundle->is_old || index >= bundle->run_count)
        return 0;
    size_t begin = index ? number_at(bundle->ends, bundle->end_bytes, index - 1) : 0;
    return begin < (size_t)(bundle->end - bundle->payload)
               ? bundle->payload[begin] >> BUNDLE_DISTANCE_SHIFT
               : 0;
}

/* Who reads series after series goes from bundle to bundle in between: what the next series needs is put aside. */
static void keep_base(const struct bundle *bundle, const struct bundle_run *run,
                      struct bundle_reader *reader)
{
    const struct codec_column *column = reader->columns[0];
    bool is_base = false;
    for (uint32_t ahead = 1; ahead <= BUNDLE_DISTANCE_MAX; ahead++)
        is_base = is_base || distance_at(bundle, run->index + ahead) == ahead;
    if (!is_base || !column->has_integers)
        return;
    if (!reader->kept)
        reader->kept = mem_zalloc(BUNDLE_KEPT * sizeof(*reader->kept));
    struct bundle_kept *kept = kept_place(reader, bundle);
    if (kept->capacity < column->count) {
        kept->capacity = column->count;
        kept->integers = mem_realloc(kept->integers, kept->capacity * sizeof(*kept->integers));
    }
    memcpy(kept->integers, column->integers, column->count * sizeof(*kept->integers));
    kept->bytes = bundle->bytes.ptr;
    kept->index = run->index;
    kept->count = column->count;
    kept->exponent = column->exponent;
}

/* True when the run is in columns[0]. */
static bool recall(const struct bundle *bundle, uint32_t index, struct bundle_reader *reader)
{
    if (reader->bytes == bundle->bytes.ptr && reader->index == index)
        return true;
    const struct bundle_kept *kept = reader->kept ? kept_place(reader, bundle) : NULL;
    if (!kept || kept->bytes != bundle->bytes.ptr || kept->index != index)
        return false;
    struct codec_column *column = reader->columns[0];
    column->count = kept->count;
    column->has_integers = column->has_base = true;
    column->has_values = false;
    column->exponent = kept->exponent;
    memcpy(column->integers, kept->integers, kept->count * sizeof(*kept->integers));
    reader->bytes = bundle->bytes.ptr;
    reader->index = index;
    return true;
}

/* Decodes a chunk on top of columns[0], which has the one it is coded against. */
static bool decode_onto(const struct bundle *bundle, const struct bundle_run *run, struct str bytes,
                        uint32_t count, struct bundle_reader *reader)
{
    bool has_base = run->flags >> BUNDLE_DISTANCE_SHIFT;
    struct codec_column *next = reader->columns[1];
    reader->bytes = NULL;
    if (!codec_decode(bytes, count, has_base ? reader->columns[0] : NULL, next))
        return false;
    reader->columns[1] = reader->columns[0];
    reader->columns[0] = next;
    reader->bytes = bundle->bytes.ptr;
    reader->index = run->index;
    return true;
}

/* Steps over the holes; *count gets the rows that are there. */
static bool skip_holes(struct reader *in, const struct bundle_run *run, uint32_t *count)
{
    uint32_t left = run->last_row - run->first_row + 1u;
    *count = left;
    if (!(run->flags & BUNDLE_HOLES))
        return true;
    for (uint64_t holes = read_varint(in) + 1; holes > 0; holes--) {
        uint64_t present = read_varint(in), absent = read_varint(in);
        if (in->bad || present >= left || absent >= left || present + absent + 2 >= left)
            return false;
        left -= (uint32_t)(present + absent + 2);
        *count -= (uint32_t)absent + 1;
    }
    return true;
}

static struct reader over_run(const struct bundle *bundle, const struct bundle_run *run)
{
    return reader_over(str_from((const char *)bundle->payload + run->offset, run->len));
}

/* What the run is coded against, into columns[0]. */
static bool decode_bases(const struct bundle *bundle, const struct bundle_run *run, uint32_t count,
                         struct bundle_reader *reader)
{
    struct bundle_run chain[BUNDLE_CHAIN_MAX];
    uint32_t len = 0, distance = run->flags >> BUNDLE_DISTANCE_SHIFT, index = run->index;
    while (distance > 0) {
        if (distance > index || len == BUNDLE_CHAIN_MAX - 1)
            return false;
        index -= distance;
        if (recall(bundle, index, reader))
            break;
        struct bundle_run base = bundle_run_at(bundle, index);
        if (base.first_row > base.last_row || !(base.flags & BUNDLE_VALUES))
            return false;
        distance = base.flags >> BUNDLE_DISTANCE_SHIFT;
        chain[len++] = base;
    }
    while (len-- > 0) {
        struct reader in = over_run(bundle, &chain[len]);
        uint32_t its_count;
        if (!skip_holes(&in, &chain[len], &its_count) || its_count != count ||
            !decode_onto(bundle, &chain[len], str_from((const char *)in.at, reader_left(&in)),
                         count, reader))
            return false;
    }
    return true;
}

static void emit(const struct bundle_run *run, const double *values, uint32_t count,
                 const int64_t *times_ms, struct samples *out)
{
    samples_reserve(out, count);
    if (out->histogram) {
        for (uint32_t i = 0; i < count; i++)
            samples_add(out, times_ms[run->first_row + i], values[i]);
        return;
    }
    memcpy(out->time_ms + out->count, times_ms + run->first_row, count * sizeof(times_ms[0]));
    memcpy(out->value + out->count, values, count * sizeof(values[0]));
    out->count += count;
}

static void emit_with_holes(const struct bundle_run *run, struct reader in, const double *values,
                            const int64_t *times_ms, struct samples *out)
{
    uint64_t holes = read_varint(&in) + 1;
    uint32_t row = run->first_row;
    samples_reserve(out, (size_t)run->last_row - row + 1);
    for (uint64_t hole = 0; hole <= holes; hole++) {
        uint32_t present = hole < holes ? (uint32_t)read_varint(&in) + 1 : run->last_row + 1u - row;
        for (; present > 0; present--)
            samples_add(out, times_ms[row++], *values++);
        row += hole < holes ? (uint32_t)read_varint(&in) + 1 : 0;
    }
}

bool bundle_read(const struct bundle *bundle, const struct bundle_run *run,
                 const struct time_vec *times, struct bundle_reader *reader, struct samples *out)
{
    struct reader in = over_run(bundle, run);
    uint32_t count;
    if (run->first_row > run->last_row || run->last_row >= times->count)
        return false;
    if (!(run->flags & BUNDLE_VALUES))
        return stream_read_amid(str_from((const char *)in.at, run->len),
                                (size_t)(bundle->end - in.end), run->first_row, run->last_row,
                                times->items, (uint32_t)times->count, out);
    for (int i = 0; i < 2 && !reader->columns[i]; i++)
        reader->columns[i] = mem_alloc(sizeof(struct codec_column));
    if (!skip_holes(&in, run, &count) || !decode_bases(bundle, run, count, reader) ||
        !decode_onto(bundle, run, str_from((const char *)in.at, reader_left(&in)), count, reader))
        return false;
    keep_base(bundle, run, reader);
    if (run->flags & BUNDLE_HOLES)
        emit_with_holes(run, over_run(bundle, run), reader->columns[0]->values, times->items, out);
    else
        emit(run, reader->columns[0]->values, count, times->items, out);
    return true;
}
