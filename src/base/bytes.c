/* bytes: fixed-width little-endian integers and LEB128 varints.
 *
 * A reader that runs out jumps to its end and stays bad: all later reads yield zeroes, so a decoder
 * loops at most as often as a count it has bounded, and tests `bad` once. */
#include "base/bytes.h"

#include <endian.h>
#include <string.h>

static bool reader_take(struct reader *in, void *out, size_t len)
{
    if (UNLIKELY(in->bad || reader_left(in) < len)) {
        in->bad = true;
        in->at = in->end;
        memset(out, 0, len);
        return false;
    }
    memcpy(out, in->at, len);
    in->at += len;
    return true;
}

uint16_t read_u16(struct reader *in)
{
    uint16_t value;
    reader_take(in, &value, sizeof(value));
    return le16toh(value);
}

uint32_t read_u32(struct reader *in)
{
    uint32_t value;
    reader_take(in, &value, sizeof(value));
    return le32toh(value);
}

uint64_t read_u64(struct reader *in)
{
    uint64_t value;
    reader_take(in, &value, sizeof(value));
    return le64toh(value);
}

uint64_t read_long_varint(struct reader *in)
{
    uint64_t value = 0;

    if (UNLIKELY(in->bad))
        return 0;
    const uint8_t *at = in->at;
    for (unsigned shift = 0; shift < 64 && at < in->end; shift += 7) {
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1) /* Past 64 bits, or an eleventh byte. */
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            in->at = at;
            return value;
        }
    }
    in->bad = true;
    in->at = in->end;
    return 0;
}

int64_t read_zigzag(struct reader *in)
{
    return zigzag_decode(read_varint(in));
}

struct str read_bytes(struct reader *in, size_t len)
{
    if (in->bad || reader_left(in) < len) {
        in->bad = true;
        in->at = in->end;
        return STR_EMPTY;
    }
    struct str bytes = {(const char *)in->at, len};
    if (len)
        in->at += len;
    return bytes;
}

struct str read_varint_str(struct reader *in)
{
    uint64_t len = read_varint(in);
    if (len > reader_left(in)) /* Before the cast: size_t may be narrower. */
        len = SIZE_MAX;
    return read_bytes(in, (size_t)len);
}

void write_u8(struct buf *out, uint8_t value)
{
    buf_add_char(out, (char)value);
}

void write_u16(struct buf *out, uint16_t value)
{
    value = htole16(value);
    buf_add(out, &value, sizeof(value));
}

void write_u32(struct buf *out, uint32_t value)
{
    value = htole32(value);
    buf_add(out, &value, sizeof(value));
}

void write_u64(struct buf *out, uint64_t value)
{
    value = htole64(value);
    buf_add(out, &value, sizeof(value));
}

void write_varint(struct buf *out, uint64_t value)
{
    uint8_t bytes[10];
    size_t len = 0;

    while (value >= 0x80) {
        bytes[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[len++] = (uint8_t)value;
    buf_add(out, bytes, len);
}

void write_zigzag(struct buf *out, int64_t value)
{
    write_varint(out, zigzag_encode(value));
}

void write_varint_str(struct buf *out, struct str bytes)
{
    write_varint(out, bytes.len);
    buf_add_str(out, bytes);
}
