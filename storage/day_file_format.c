/* day_file_format: packs and chunks; see day_file_format.h. All bytes are suspect. */
#include "day_file_format.h"

#include <string.h>

#include "base/hash.h"

const char *const DAY_TABLE_NAMES[DAY_TABLES] = {"meta", "index", "columns", "chunks"};

static uint32_t u32_at(struct str bytes, size_t at)
{
    uint32_t value;
    memcpy(&value, bytes.ptr + at, 4);
    return value;
}

bool day_pack_open(struct day_pack *out, struct str bytes, uint32_t magic)
{
    if (bytes.len < DAY_PACK_HEAD || bytes.len > UINT32_MAX || u32_at(bytes, 0) != magic)
        return false;
    *out = (struct day_pack){bytes, u32_at(bytes, 8), u32_at(bytes, 12)};
    uint64_t groups = ((uint64_t)out->count + DAY_PACK_GROUP - 1) / DAY_PACK_GROUP;
    return out->count > 0 && out->count - 1 <= UINT32_MAX - 1 - out->first &&
           groups * 4 <= bytes.len - DAY_PACK_HEAD &&
           hash_crc32c(0, str_after(bytes, 8)) == u32_at(bytes, 4);
}

bool day_pack_entry(const struct day_pack *pack, uint32_t number, struct str *out)
{
    uint32_t index = number - pack->first;
    if (!day_pack_has(pack, number))
        return false;
    uint32_t offset = u32_at(pack->bytes, DAY_PACK_HEAD + (size_t)(index / DAY_PACK_GROUP) * 4);
    struct reader in = reader_over(str_after(pack->bytes, offset));
    for (uint32_t i = 0; i <= index % DAY_PACK_GROUP; i++)
        *out = read_varint_str(&in);
    return !in.bad;
}

uint32_t day_times_rows(const struct day_times *times)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < times->range_count; i++)
        rows += times->ranges[i].rows;
    return rows;
}

bool day_times_equal(const struct day_times *a, const struct day_times *b)
{
    if (a->column != b->column || a->whole != b->whole)
        return false;
    if (a->whole)
        return true;
    return a->range_count == b->range_count &&
           memcmp(a->ranges, b->ranges, a->range_count * sizeof(a->ranges[0])) == 0;
}

static bool read_ranges(struct reader *in, struct day_times *times)
{
    uint64_t count = read_varint(in), row = 0;
    if (in->bad || count >= DAY_RANGES_MAX)
        return false;
    times->range_count = (uint32_t)count + 1;
    for (uint32_t i = 0; i < times->range_count; i++) {
        uint64_t skip = read_varint(in), rows = read_varint(in);
        if (in->bad || rows == 0 || skip > CODEC_VALUES_MAX || rows > CODEC_VALUES_MAX ||
            row + skip + rows > CODEC_VALUES_MAX)
            return false;
        times->ranges[i] = (struct day_range){(uint32_t)(row + skip), (uint32_t)rows};
        row += skip + rows;
    }
    return true;
}

bool day_chunk_read(struct reader *in, struct day_chunk *out, bool *more)
{
    uint8_t head = read_u8(in);
    uint64_t column = read_varint(in);
    *more = head & DAY_MORE;
    if (in->bad || head > (DAY_KIND_MASK | DAY_MORE | DAY_WHOLE) || column > UINT32_MAX ||
        (head & DAY_KIND_MASK) > DAY_HISTOGRAMS)
        return false;
    out->kind = (enum day_chunk_kind)(head & DAY_KIND_MASK);
    out->distance = 0;
    out->times.column = (uint32_t)column;
    out->times.whole = head & DAY_WHOLE;
    out->times.range_count = 0;
    if (!out->times.whole && !read_ranges(in, &out->times))
        return false;
    if (out->kind == DAY_REFERENCE) {
        uint64_t distance = read_varint(in);
        if (distance == 0 || distance > UINT32_MAX)
            return false;
        out->distance = (uint32_t)distance;
    }
    out->bytes = *more ? read_varint_str(in) : read_bytes(in, reader_left(in));
    return !in->bad;
}

void day_chunk_write(struct buf *out, const struct day_chunk *chunk, bool more)
{
    const struct day_times *times = &chunk->times;
    uint32_t row = 0;
    write_u8(out, (uint8_t)(chunk->kind | (more ? DAY_MORE : 0) | (times->whole ? DAY_WHOLE : 0)));
    write_varint(out, times->column);
    if (!times->whole)
        write_varint(out, times->range_count - 1);
    for (uint32_t i = 0; !times->whole && i < times->range_count; i++) {
        write_varint(out, times->ranges[i].first - row);
        write_varint(out, times->ranges[i].rows);
        row = times->ranges[i].first + times->ranges[i].rows;
    }
    if (chunk->kind == DAY_REFERENCE)
        write_varint(out, chunk->distance);
    if (more)
        write_varint_str(out, chunk->bytes);
    else
        buf_add_str(out, chunk->bytes);
}
