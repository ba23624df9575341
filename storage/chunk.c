/* chunk: see chunk.h for the bytes. Why byte-aligned and append-only: a reader needs no lock and
 * the log can carry the very same bytes. Day files use denser codecs; this one lives for half an
 * hour. */
#include "chunk.h"

#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "model/sample.h"

/* Sizes that fill malloc's 16-byte steps; the first block shares its chunk's allocation. */
#define BLOCK_BYTES_FIRST 48
#define BLOCK_BYTES_MAX   232
#define INTEGER_MAX       9007199254740992.0 /* 2^53 */

struct chunk_block {
    _Atomic(struct chunk_block *) next;
    uint32_t capacity;
    uint8_t bytes[];
};

/* (offset, length) pairs of the XOR codes: code 1 + index. */
static const struct xor_window {
    uint8_t offset, len;
} XOR_WINDOWS[36] = {
    {0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}, {7, 1}, {0, 2}, {1, 2}, {2, 2}, {3, 2},
    {4, 2}, {5, 2}, {6, 2}, {0, 3}, {1, 3}, {2, 3}, {3, 3}, {4, 3}, {5, 3}, {0, 4}, {1, 4}, {2, 4},
    {3, 4}, {4, 4}, {0, 5}, {1, 5}, {2, 5}, {3, 5}, {0, 6}, {1, 6}, {2, 6}, {0, 7}, {1, 7}, {0, 8},
};
/* Index of the first window of each length: code = XOR_FIRST[len] + offset + 1. */
static const uint8_t XOR_FIRST[9] = {0, 0, 8, 15, 21, 26, 30, 33, 35};

static size_t put_varint(uint8_t *out, uint64_t value)
{
    size_t len = 0;
    while (value >= 0x80) {
        out[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[len++] = (uint8_t)value;
    return len;
}

/* True, and the integer, when the bits are those of an integer that a double counts exactly (-0 is
 * none). */
static bool bits_integer(uint64_t bits, int64_t *out)
{
    double value = sample_from_bits(bits);
    if (!(value > -INTEGER_MAX && value < INTEGER_MAX))
        return false;
    int64_t integer = (int64_t)value;
    if (sample_bits((double)integer) != bits)
        return false;
    *out = integer;
    return true;
}

static uint8_t encode_value(uint64_t last, uint64_t bits, uint8_t *out, size_t *len)
{
    int64_t integer, integer_last;
    *len = 0;
    if (bits == last)
        return 0;
    if (bits_integer(bits, &integer) && bits_integer(last, &integer_last)) {
        int64_t change = integer - integer_last;
        if (change >= -32 && change <= 31)
            return (uint8_t)(72 + change);
        if (change > -(INT64_C(1) << 34) && change < (INT64_C(1) << 34)) {
            *len = put_varint(out, zigzag_encode(change));
            return 104;
        }
    }
    uint64_t difference = bits ^ last;
    unsigned offset = (unsigned)__builtin_ctzll(difference) / 8;
    unsigned end = 8 - (unsigned)__builtin_clzll(difference) / 8;
    difference >>= 8 * offset;
    *len = end - offset;
    for (size_t i = 0; i < *len; i++)
        out[i] = (uint8_t)(difference >> (8 * i));
    return (uint8_t)(1 + XOR_FIRST[*len] + offset);
}

size_t chunk_encode(struct chunk_state *state, int64_t time_ms, uint64_t bits,
                    uint8_t out[CHUNK_ENTRY_MAX])
{
    /* Unsigned, so that wild times wrap instead of overflowing; the decoder wraps back. */
    uint64_t delta = (uint64_t)time_ms - (uint64_t)state->time_ms;
    int64_t change = (int64_t)(delta - (uint64_t)state->delta_ms);
    size_t len = 1, value_len;
    uint8_t control = 0;
    if (change != 0) {
        control = 0x80;
        len += put_varint(out + len, zigzag_encode(change));
    }
    control |= encode_value(state->bits, bits, out + len, &value_len);
    out[0] = control;
    state->delta_ms = state->count == 0 ? 0 : (int64_t)delta;
    state->time_ms = time_ms;
    state->bits = bits;
    state->count++;
    return len + value_len;
}

bool chunk_decode_entry(struct chunk_state *state, struct reader *in, uint8_t control)
{
    int64_t change = control & 0x80 ? read_zigzag(in) : 0;
    uint64_t delta = (uint64_t)state->delta_ms + (uint64_t)change;
    uint8_t code = control & 0x7f;
    state->time_ms = (int64_t)((uint64_t)state->time_ms + delta);
    state->delta_ms = state->count == 0 ? 0 : (int64_t)delta;
    state->count++;
    if (code == 0)
        return !in->bad;
    if (code <= 36) {
        const struct xor_window *window = &XOR_WINDOWS[code - 1];
        struct str bytes = read_bytes(in, window->len);
        uint64_t difference = 0;
        for (size_t i = 0; i < bytes.len; i++)
            difference |= (uint64_t)(uint8_t)bytes.ptr[i] << (8 * (i + window->offset));
        state->bits ^= difference;
        return !in->bad;
    }
    int64_t integer, step;
    if (code < 40 || code > 104 || !bits_integer(state->bits, &integer))
        return false;
    step = code == 104 ? read_zigzag(in) : (int64_t)code - 72;
    if (step > INT64_C(1) << 54 || step < -(INT64_C(1) << 54))
        return false;
    state->bits = sample_bits((double)(integer + step));
    return !in->bad;
}

bool chunk_skip_entry(struct reader *in, uint8_t control)
{
    uint8_t code = control & 0x7f;
    if (control & 0x80)
        (void)read_varint(in);
    if (code == 104)
        (void)read_varint(in);
    else if (code >= 1 && code <= 36)
        (void)read_bytes(in, XOR_WINDOWS[code - 1].len);
    return !in->bad && (code <= 36 || (code >= 40 && code <= 104));
}

static struct chunk_block *chunk_first_block(const struct chunk *chunk)
{
    return (struct chunk_block *)(void *)(uintptr_t)(chunk + 1);
}

static void block_init(struct chunk_block *block, uint32_t capacity)
{
    atomic_init(&block->next, NULL);
    block->capacity = capacity;
}

struct chunk *chunk_new(uint32_t group, uint64_t slot)
{
    size_t bytes = sizeof(struct chunk) + sizeof(struct chunk_block) + BLOCK_BYTES_FIRST;
    struct chunk *chunk = mem_alloc(bytes);
    memset(chunk, 0, sizeof(*chunk));
    chunk->group = group;
    chunk->slot = slot;
    chunk->bytes = (uint32_t)bytes;
    chunk->last = chunk_first_block(chunk);
    block_init(chunk->last, BLOCK_BYTES_FIRST);
    return chunk;
}

void chunk_free(struct chunk *chunk)
{
    if (!chunk)
        return;
    struct chunk_block *block =
        atomic_load_explicit(&chunk_first_block(chunk)->next, memory_order_relaxed);
    while (block) {
        struct chunk_block *next = atomic_load_explicit(&block->next, memory_order_relaxed);
        mem_free(block);
        block = next;
    }
    mem_free(chunk);
}

void chunk_add(struct chunk *chunk, const uint8_t *entry, size_t len)
{
    struct chunk_block *block = chunk->last;
    ENSURE(len > 0 && len <= CHUNK_ENTRY_MAX);
    if (chunk->last_used + len > block->capacity) {
        uint32_t capacity = block->capacity * 2 + 8;
        if (chunk->last_used < block->capacity)
            block->bytes[chunk->last_used] = CHUNK_CONTROL_NEXT;
        capacity = capacity < BLOCK_BYTES_MAX ? capacity : BLOCK_BYTES_MAX;
        chunk->last = mem_alloc(sizeof(*block) + capacity);
        block_init(chunk->last, capacity);
        chunk->bytes += (uint32_t)sizeof(*block) + capacity;
        chunk->last_used = 0;
        atomic_store_explicit(&block->next, chunk->last, memory_order_release);
        block = chunk->last;
    }
    memcpy(block->bytes + chunk->last_used, entry, len);
    chunk->last_used += (uint32_t)len;
    if (chunk->state.count == 1)
        chunk->time_first_ms = chunk->state.time_ms;
    atomic_store_explicit(&chunk->time_last_ms, chunk->state.time_ms, memory_order_relaxed);
    atomic_store_explicit(&chunk->count, chunk->state.count, memory_order_release);
}

void chunk_read(const struct chunk *chunk, uint32_t count, int64_t *time_ms, double *value)
{
    struct chunk_state state = {0};
    const struct chunk_block *block = chunk_first_block(chunk);
    struct reader in = reader_over(str_from((const char *)block->bytes, block->capacity));
    ENSURE(count <= CHUNK_SAMPLES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (in.at == in.end || *in.at == CHUNK_CONTROL_NEXT) {
            block = atomic_load_explicit(&block->next, memory_order_acquire);
            ENSURE(block != NULL);
            in = reader_over(str_from((const char *)block->bytes, block->capacity));
        }
        uint8_t control = read_u8(&in);
        bool good = chunk_decode_entry(&state, &in, control);
        ENSURE(good); /* Our own memory. */
        time_ms[i] = state.time_ms;
        value[i] = sample_from_bits(state.bits);
    }
}

bool chunk_read_flat(struct str bytes, uint32_t count, int64_t *time_ms, double *value)
{
    struct chunk_state state = {0};
    struct reader in = reader_over(bytes);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t control = read_u8(&in);
        if (in.bad || !chunk_decode_entry(&state, &in, control))
            return false;
        if (i > 0 && state.time_ms <= time_ms[i - 1])
            return false;
        time_ms[i] = state.time_ms;
        value[i] = sample_from_bits(state.bits);
    }
    return in.at == in.end;
}
