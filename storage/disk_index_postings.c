/* disk_index_postings: an ascending list of group numbers.
 *
 *     varint (n - 1) << 2 | kind, varint first, then by kind
 *     0 run      nothing: n numbers from `first` on
 *     1 Rice     u8 k, varint bytes, n - 1 steps: (step - 1) >> k ones, a zero, its low k bits
 *     2 bitmap   here n counts bytes: a bit per number from `first` on
 *
 * The smallest of the three. Lists follow one another, so each tells its length without being decoded. */
#include "base/bytes.h"
#include "disk_index_private.h"

enum list_kind { LIST_RUN, LIST_RICE, LIST_BITMAP };

#define RICE_K_MAX 31u

/* ---- Writing ---- */

static uint64_t rice_bits(const uint32_t *items, uint32_t count, unsigned k)
{
    uint64_t bits = (uint64_t)(count - 1) * (k + 1);
    for (uint32_t i = 1; i < count; i++)
        bits += (items[i] - items[i - 1] - 1) >> k;
    return bits;
}

static unsigned rice_choose(const uint32_t *items, uint32_t count, uint64_t *bits)
{
    unsigned mean = bits_of((items[count - 1] - items[0]) / count);
    unsigned best = 0;
    *bits = UINT64_MAX;
    for (unsigned k = mean > 3 ? mean - 3 : 0; k <= mean + 1 && k <= RICE_K_MAX; k++) {
        uint64_t now = rice_bits(items, count, k);
        if (now < *bits) {
            *bits = now;
            best = k;
        }
    }
    return best;
}

struct bit_writer {
    uint8_t *bytes; /* Zeroed. */
    uint64_t at;
};

static void bits_put(struct bit_writer *out, uint32_t value, unsigned width)
{
    for (unsigned i = 0; i < width;) {
        unsigned room = 8 - (unsigned)(out->at & 7);
        unsigned now = width - i < room ? width - i : room;
        out->bytes[out->at / 8] |= (uint8_t)((value >> i & ((1u << now) - 1)) << (out->at & 7));
        out->at += now;
        i += now;
    }
}

static void rice_write(struct buf *out, const uint32_t *items, uint32_t count, unsigned k,
                       uint64_t bits)
{
    size_t bytes = (size_t)(bits + 7) / 8;
    write_u8(out, (uint8_t)k);
    write_varint(out, bytes);
    struct bit_writer writer = {.bytes = (uint8_t *)buf_reserve(out, bytes)};
    if (!writer.bytes)
        return;
    memset(writer.bytes, 0, bytes);
    for (uint32_t i = 1; i < count; i++) {
        uint32_t step = items[i] - items[i - 1] - 1;
        for (uint32_t ones = step >> k; ones > 0;) {
            unsigned now = ones < 31 ? ones : 31;
            bits_put(&writer, (1u << now) - 1, now);
            ones -= now;
        }
        bits_put(&writer, 0, 1);
        bits_put(&writer, k ? step & ((UINT32_C(1) << k) - 1) : 0, k);
    }
    buf_commit(out, bytes);
}

static void bitmap_write(struct buf *out, const uint32_t *items, uint32_t count, size_t bytes)
{
    uint8_t *bitmap = (uint8_t *)buf_reserve(out, bytes);
    if (!bitmap)
        return;
    memset(bitmap, 0, bytes);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bit = items[i] - items[0];
        bitmap[bit / 8] |= (uint8_t)(1u << (bit & 7));
    }
    buf_commit(out, bytes);
}

static void list_start(struct buf *out, uint64_t n, enum list_kind kind, uint32_t first)
{
    write_varint(out, (n - 1) << 2 | kind);
    write_varint(out, first);
}

void list_write(struct buf *out, const uint32_t *items, uint32_t count)
{
    uint32_t span = items[count - 1] - items[0] + 1;
    size_t bitmap_bytes = ((size_t)span + 7) / 8;
    uint64_t bits;

    if (span == count) {
        list_start(out, count, LIST_RUN, items[0]);
        return;
    }
    unsigned k = rice_choose(items, count, &bits);
    if (bitmap_bytes <= (bits + 7) / 8 + 2) {
        list_start(out, bitmap_bytes, LIST_BITMAP, items[0]);
        bitmap_write(out, items, count, bitmap_bytes);
    } else {
        list_start(out, count, LIST_RICE, items[0]);
        rice_write(out, items, count, k, bits);
    }
}

/* ---- Reading ---- */

struct list_head {
    uint64_t n, first, bytes;
    enum list_kind kind;
    unsigned k;
    const uint8_t *body;
};

static bool list_open(struct list_reader *in, struct list_head *out)
{
    struct reader reader = {.at = in->at, .end = in->end, .begin = in->at};
    uint64_t word = read_varint(&reader);
    *out = (struct list_head){.n = (word >> 2) + 1, .kind = (enum list_kind)(word & 3)};
    out->first = read_varint(&reader);
    if (out->kind == LIST_RICE) {
        out->k = read_u8(&reader);
        out->bytes = read_varint(&reader);
    } else if (out->kind == LIST_BITMAP) {
        out->bytes = out->n;
    }
    if (reader.bad || (word & 3) > LIST_BITMAP || out->k > RICE_K_MAX ||
        out->bytes > reader_left(&reader)) {
        in->bad = true;
        in->at = in->end;
        return false;
    }
    out->body = reader.at;
    in->at = reader.at + out->bytes;
    return true;
}

void list_skip(struct list_reader *in)
{
    struct list_head head;
    list_open(in, &head);
}

bool list_is_run(const struct list_reader *in, uint32_t *first, uint32_t *last)
{
    struct list_reader copy = *in;
    struct list_head head;
    if (!list_open(&copy, &head) || head.kind != LIST_RUN || head.first > UINT32_MAX ||
        head.n > UINT32_MAX - head.first)
        return false;
    *first = (uint32_t)head.first;
    *last = (uint32_t)(head.first + head.n - 1);
    return true;
}

static void bit_set(uint64_t *bitmap, uint64_t at)
{
    bitmap[at / 64] |= UINT64_C(1) << (at & 63);
}

static bool run_read(const struct list_head *head, uint64_t *bitmap, uint32_t bound)
{
    uint64_t at = head->first;
    if (at >= bound || head->n > bound - at)
        return false;
    uint64_t end = at + head->n;
    for (; at < end && at % 64; at++)
        bit_set(bitmap, at);
    for (; end - at >= 64; at += 64)
        bitmap[at / 64] = UINT64_MAX;
    for (; at < end; at++)
        bit_set(bitmap, at);
    return true;
}

static bool bitmap_read(const struct list_head *head, uint64_t *bitmap, uint32_t bound)
{
    for (uint64_t i = 0; i < head->bytes; i++) {
        for (unsigned byte = head->body[i]; byte; byte &= byte - 1) {
            uint64_t at = head->first + i * 8 + (unsigned)__builtin_ctz(byte);
            if (at >= bound)
                return false;
            bit_set(bitmap, at);
        }
    }
    return true;
}

/* A load of 8 bytes at any bit of the body stays in the section, thanks to its pad. */
static bool rice_read(const struct list_head *head, uint64_t *bitmap, uint32_t bound)
{
    uint64_t bit = 0, bits = head->bytes * 8, at = head->first;
    if (at >= bound)
        return false;
    bit_set(bitmap, at);
    for (uint64_t i = 1; i < head->n; i++) {
        uint64_t ones = 0;
        for (;;) {
            if (bit >= bits || ones > bound)
                return false;
            uint64_t word = ~(load_u64(head->body + bit / 8) >> (bit & 7));
            unsigned have = 64 - (unsigned)(bit & 7);
            unsigned run = word ? (unsigned)__builtin_ctzll(word) : 64;
            if (run < have) {
                ones += run;
                bit += run + 1;
                break;
            }
            ones += have;
            bit += have;
        }
        if (bit + head->k > bits)
            return false;
        uint64_t low =
            head->k ? load_u64(head->body + bit / 8) >> (bit & 7) & ((UINT64_C(1) << head->k) - 1)
                    : 0;
        bit += head->k;
        at += (ones << head->k) + low + 1;
        if (at >= bound)
            return false;
        bit_set(bitmap, at);
    }
    return true;
}

void list_read(struct list_reader *in, uint64_t *bitmap, uint32_t bound)
{
    struct list_head head;
    bool good = false;
    if (!list_open(in, &head) || head.first >= bound) {
        in->bad = true;
        return;
    }
    switch (head.kind) {
    case LIST_RUN:
        good = run_read(&head, bitmap, bound);
        break;
    case LIST_RICE:
        good = rice_read(&head, bitmap, bound);
        break;
    case LIST_BITMAP:
        good = bitmap_read(&head, bitmap, bound);
        break;
    }
    in->bad |= !good;
}
