/* bundle: see bundle.h for the bytes. They come from disk: each is suspect. */
#include "bundle.h"

#include <string.h>

#include "base/bytes.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "stream.h"

#define BUNDLE_BYTES_MAX ((size_t)1 << 30)

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

bool bundle_open(struct bundle *out, struct str bytes)
{
    const uint8_t *at = (const uint8_t *)bytes.ptr;
    if (bytes.len < BUNDLE_HEAD || u32_at(at) != BUNDLE_MAGIC)
        return false;
    *out = (struct bundle){.bytes = bytes,
                           .group_key = u64_at(at + 8),
                           .slot = u64_at(at + 16),
                           .time_min_ms = (int64_t)u64_at(at + 24),
                           .time_max_ms = (int64_t)u64_at(at + 32),
                           .run_count = u32_at(at + 40),
                           .column_count = u32_at(at + 44),
                           .end = at + bytes.len};
    size_t left = bytes.len - BUNDLE_HEAD;
    if (out->run_count == 0 || out->run_count > left / BUNDLE_RUN)
        return false;
    left -= (size_t)out->run_count * BUNDLE_RUN;
    if (out->column_count == 0 || out->column_count > UINT16_MAX ||
        out->column_count > left / BUNDLE_COLUMN)
        return false;
    out->runs = at + BUNDLE_HEAD;
    out->columns = out->runs + (size_t)out->run_count * BUNDLE_RUN;
    out->column_bytes = out->columns + (size_t)out->column_count * BUNDLE_COLUMN;
    left = (size_t)(out->end - out->column_bytes);
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
    return bytes.len >= BUNDLE_HEAD &&
           hash_crc32c(0, str_after(bytes, 8)) == u32_at((const uint8_t *)bytes.ptr + 4);
}

struct bundle_run bundle_run_at(const struct bundle *bundle, uint32_t index)
{
    const uint8_t *at = bundle->runs + (size_t)index * BUNDLE_RUN;
    return (struct bundle_run){.id = u64_at(at),
                               .offset = u32_at(at + 8),
                               .len = u32_at(at + 12),
                               .column = u16_at(at + 16),
                               .first_row = u16_at(at + 18),
                               .last_row = u16_at(at + 20),
                               .flags = u16_at(at + 22)};
}

uint32_t bundle_find(const struct bundle *bundle, uint64_t id)
{
    uint32_t low = 0, high = bundle->run_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (u64_at(bundle->runs + (size_t)middle * BUNDLE_RUN) < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
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
    struct reader in = reader_over(str_from((const char *)at, len));
    int64_t time = 0, delta = 0;
    if (rows == 0 || rows > STREAM_ROWS_MAX || rows > len)
        return false;
    VEC_RESERVE(times, rows);
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
        times->items[times->count + i] = time;
    }
    times->count += rows;
    return !in.bad && in.at == in.end;
}

bool bundle_read(const struct bundle *bundle, const struct bundle_run *run,
                 const struct time_vec *times, struct samples *out)
{
    size_t payload_len = (size_t)(bundle->end - bundle->payload);
    if (run->offset > payload_len || run->len > payload_len - run->offset)
        return false;
    struct str bytes = str_from((const char *)bundle->payload + run->offset, run->len);
    return stream_read_amid(bytes, payload_len - run->offset - run->len, run->first_row,
                            run->last_row, times->items, (uint32_t)times->count, out);
}

void bundle_writer_init(struct bundle_writer *writer)
{
    *writer = (struct bundle_writer){0};
    buf_init(&writer->columns, BUNDLE_BYTES_MAX);
    buf_init(&writer->payload, BUNDLE_BYTES_MAX);
}

void bundle_writer_deinit(struct bundle_writer *writer)
{
    VEC_FREE(&writer->runs);
    VEC_FREE(&writer->column_rows);
    VEC_FREE(&writer->column_lens);
    buf_deinit(&writer->columns);
    buf_deinit(&writer->payload);
}

void bundle_writer_begin(struct bundle_writer *writer, uint64_t group_key, uint64_t slot)
{
    writer->group_key = group_key;
    writer->slot = slot;
    writer->time_min_ms = INT64_MAX;
    writer->time_max_ms = INT64_MIN;
    VEC_CLEAR(&writer->runs);
    VEC_CLEAR(&writer->column_rows);
    VEC_CLEAR(&writer->column_lens);
    buf_clear(&writer->columns);
    buf_clear(&writer->payload);
}

uint16_t bundle_writer_column(struct bundle_writer *writer, const int64_t *times_ms, uint32_t rows)
{
    size_t start = writer->columns.len;
    ENSURE(writer->column_rows.count < UINT16_MAX && rows > 0 && rows <= STREAM_ROWS_MAX);
    for (uint32_t i = 0; i < rows; i++) {
        int64_t delta = i > 0 ? times_ms[i] - times_ms[i - 1] : times_ms[0];
        write_zigzag(&writer->columns, i > 1 ? delta - (times_ms[i - 1] - times_ms[i - 2]) : delta);
    }
    VEC_PUSH(&writer->column_rows, rows);
    VEC_PUSH(&writer->column_lens, (uint32_t)(writer->columns.len - start));
    return (uint16_t)(writer->column_rows.count - 1);
}

void bundle_writer_run(struct bundle_writer *writer, uint64_t id, uint16_t column,
                       uint32_t first_row, uint32_t last_row, int64_t time_first_ms,
                       int64_t time_last_ms, struct str bytes)
{
    struct bundle_run run = {.id = id,
                             .offset = (uint32_t)writer->payload.len,
                             .len = (uint32_t)bytes.len,
                             .column = column,
                             .first_row = (uint16_t)first_row,
                             .last_row = (uint16_t)last_row};
    VEC_PUSH(&writer->runs, run);
    buf_add_str(&writer->payload, bytes);
    writer->time_min_ms = time_first_ms < writer->time_min_ms ? time_first_ms : writer->time_min_ms;
    writer->time_max_ms = time_last_ms > writer->time_max_ms ? time_last_ms : writer->time_max_ms;
}

bool bundle_writer_is_full(const struct bundle_writer *writer)
{
    return writer->runs.count >= BUNDLE_RUNS_MAX || writer->payload.len >= BUNDLE_BYTES_AIM ||
           writer->columns.len >= BUNDLE_BYTES_AIM;
}

void bundle_writer_finish(struct bundle_writer *writer, struct buf *out)
{
    ENSURE(writer->runs.count > 0 && writer->column_rows.count > 0);
    buf_clear(out);
    write_u32(out, BUNDLE_MAGIC);
    write_u32(out, 0);
    write_u64(out, writer->group_key);
    write_u64(out, writer->slot);
    write_u64(out, (uint64_t)writer->time_min_ms);
    write_u64(out, (uint64_t)writer->time_max_ms);
    write_u32(out, (uint32_t)writer->runs.count);
    write_u32(out, (uint32_t)writer->column_rows.count);
    VEC_EACH (run, &writer->runs) {
        write_u64(out, run->id);
        write_u32(out, run->offset);
        write_u32(out, run->len);
        write_u16(out, run->column);
        write_u16(out, run->first_row);
        write_u16(out, run->last_row);
        write_u16(out, run->flags);
    }
    for (size_t i = 0; i < writer->column_rows.count; i++) {
        write_u32(out, writer->column_rows.items[i]);
        write_u32(out, writer->column_lens.items[i]);
    }
    buf_add_str(out, buf_str(&writer->columns));
    buf_add_str(out, buf_str(&writer->payload));
    uint32_t crc = hash_crc32c(0, str_after(buf_str(out), 8));
    memcpy(out->ptr + 4, &crc, 4);
}
