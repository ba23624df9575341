/* bytes: reading and writing binary formats.
 *
 * A reader past its end yields zeroes and sets the sticky `bad`: decode straight through, test once.
 * Integers are little-endian on our disk; varints are LEB128 as in protobuf. A writer is a struct buf. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "base/str.h"

struct reader {
    const uint8_t *at, *end;
    const uint8_t *begin;
    bool bad;
};

static inline struct reader reader_over(struct str bytes)
{
    const uint8_t *ptr = (const uint8_t *)bytes.ptr;
    return (struct reader){.at = ptr, .end = ptr + bytes.len, .begin = ptr};
}

static inline size_t reader_left(const struct reader *in) { return (size_t)(in->end - in->at); }

uint16_t read_u16(struct reader *in);
uint32_t read_u32(struct reader *in);
uint64_t read_u64(struct reader *in);
uint64_t read_long_varint(struct reader *in);
int64_t read_zigzag(struct reader *in);
struct str read_bytes(struct reader *in, size_t len);
struct str read_varint_str(struct reader *in); /* varint length, then the bytes. */

static inline uint8_t read_u8(struct reader *in)
{
    if (LIKELY(!in->bad && in->at < in->end))
        return *in->at++;
    in->bad = true;
    in->at = in->end;
    return 0;
}
/* At most 10 bytes; longer is bad. Most have one. */
static inline uint64_t read_varint(struct reader *in)
{
    if (LIKELY(!in->bad && in->at < in->end && *in->at < 0x80))
        return *in->at++;
    return read_long_varint(in);
}

void write_u8(struct buf *out, uint8_t value);
void write_u16(struct buf *out, uint16_t value);
void write_u32(struct buf *out, uint32_t value);
void write_u64(struct buf *out, uint64_t value);
void write_varint(struct buf *out, uint64_t value);
void write_zigzag(struct buf *out, int64_t value);
void write_varint_str(struct buf *out, struct str bytes);

static inline uint64_t zigzag_encode(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}
static inline int64_t zigzag_decode(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

#endif
