/* index_list: see index_list.h.
 *
 * A token of one byte jumps up to 65 numbers ahead: postings of a label that varies inside a target cost a byte per
 * series, those of a label that changes from one metric to the next three bytes per metric. */
#include "index_list.h"

#include <string.h>

#include "base/ensure.h"
#include "base/vec.h"

#define RUN_LENGTH_MAX UINT32_C(0x7fffffff)
#define BASE           INT64_C(-2) /* What comes before the first number: each jump to it is forward. */
#define TOKEN_BYTES    5           /* 32 bits of distance and 2 of kind. */

struct index_block {
    _Atomic uint64_t state;
    _Atomic uint32_t
        count;         /* Stored before the state that it belongs to: never less than that has. */
    uint32_t last;     /* The writer's. */
    uint32_t capacity; /* Of tokens. */
    uint8_t tokens[];
};

#define BLOCK_HEAD offsetof(struct index_block, tokens)

static bool word_is_run(uint64_t word)
{
    return (word & 1) != 0;
}

static uint64_t run_word(uint32_t start, uint32_t length)
{
    return (uint64_t)start << 32 | (uint64_t)length << 1 | 1;
}

static uint32_t run_start(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint32_t run_length(uint64_t word)
{
    return (uint32_t)word >> 1;
}

static struct index_block *word_block(uint64_t word)
{
    return (struct index_block *)(uintptr_t)word;
}

/* --- tokens --- */

static size_t token_put(uint8_t *out, uint64_t token)
{
    size_t len = 0;
    for (; token >= 0x80; token >>= 7)
        out[len++] = (uint8_t)(token | 0x80);
    out[len++] = (uint8_t)token;
    return len;
}

static size_t jump_put(uint8_t *out, int64_t last, uint32_t number)
{
    int64_t distance = (int64_t)number - last;
    ENSURE_SLOW(distance >= 2 || distance < 0);
    return token_put(out, distance > 0 ? (uint64_t)(distance - 2) << 1 | 1
                                       : (uint64_t)(-distance - 1) << 2);
}

static size_t run_put(uint8_t *out, uint32_t more)
{
    return token_put(out, (uint64_t)(more - 1) << 2 | 2);
}

static uint64_t token_take(const uint8_t **at)
{
    uint64_t token = *(*at)++;
    if (LIKELY(token < 0x80))
        return token;
    token &= 0x7f;
    for (unsigned shift = 7;; shift += 7) {
        uint64_t byte = *(*at)++;
        token |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            return token;
    }
}

/* --- blocks --- */

/* malloc gives 16 n + 8 bytes: none is left unused. */
static struct index_block *block_new(struct index_heap *heap, size_t token_bytes)
{
    size_t bytes = ((BLOCK_HEAD + token_bytes + 7) & ~(size_t)15) + 8;
    ENSURE(bytes <= UINT32_MAX);
    struct index_block *block = index_heap_alloc(heap, bytes);
    block->capacity = (uint32_t)(bytes - BLOCK_HEAD);
    return block;
}

void index_block_free(struct index_block *block, struct index_heap *heap)
{
    if (block)
        index_heap_free(heap, block, BLOCK_HEAD + block->capacity);
}

static void block_publish(struct index_block *block, uint32_t used, uint32_t open)
{
    atomic_store_explicit(&block->state, (uint64_t)used << 32 | open, memory_order_release);
}

/* False when there is no room. */
static bool block_push(struct index_block *block, uint32_t number)
{
    uint64_t state = atomic_load_explicit(&block->state, memory_order_relaxed);
    uint32_t count = atomic_load_explicit(&block->count, memory_order_relaxed);
    if (number == block->last + 1) {
        atomic_store_explicit(&block->count, count + 1, memory_order_relaxed);
        atomic_store_explicit(&block->state, state + 1, memory_order_release);
        block->last = number;
        return true;
    }
    uint8_t tokens[2 * TOKEN_BYTES];
    uint32_t used = (uint32_t)(state >> 32), open = (uint32_t)state;
    size_t len = open ? run_put(tokens, open) : 0;
    len += jump_put(tokens + len, block->last, number);
    if (used + len > block->capacity)
        return false;
    memcpy(block->tokens + used, tokens, len);
    atomic_store_explicit(&block->count, count + 1, memory_order_relaxed);
    block_publish(block, used + (uint32_t)len, 0);
    block->last = number;
    return true;
}

static struct index_block *block_of_run(struct index_heap *heap, uint32_t start, uint32_t length)
{
    struct index_block *block = block_new(heap, 2 * TOKEN_BYTES);
    size_t used = jump_put(block->tokens, BASE, start);
    atomic_init(&block->count, length);
    atomic_init(&block->state, (uint64_t)used << 32 | (length - 1));
    block->last = start + length - 1;
    return block;
}

static struct index_block *block_grown(struct index_heap *heap, const struct index_block *old)
{
    uint64_t state = atomic_load_explicit(&old->state, memory_order_relaxed);
    uint32_t used = (uint32_t)(state >> 32);
    size_t quarter = (BLOCK_HEAD + old->capacity) / 4;
    struct index_block *block =
        block_new(heap, old->capacity + (quarter < 2 * TOKEN_BYTES ? 2 * TOKEN_BYTES : quarter));
    memcpy(block->tokens, old->tokens, used);
    atomic_init(&block->count, atomic_load_explicit(&old->count, memory_order_relaxed));
    atomic_init(&block->state, state);
    block->last = old->last;
    return block;
}

/* --- the writer's lists --- */

static void list_publish(struct index_list *list, struct index_block *block)
{
    ENSURE_SLOW(!word_is_run((uintptr_t)block));
    atomic_store_explicit(&list->word, (uintptr_t)block, memory_order_release);
}

void index_list_push(struct index_list *list, struct index_heap *heap, uint32_t number)
{
    ENSURE_SLOW(number != UINT32_MAX);
    uint64_t word = atomic_load_explicit(&list->word, memory_order_relaxed);
    if (!word) {
        atomic_store_explicit(&list->word, run_word(number, 1), memory_order_release);
        return;
    }
    if (!word_is_run(word)) {
        struct index_block *block = word_block(word);
        if (LIKELY(block_push(block, number)))
            return;
        struct index_block *grown = block_grown(heap, block);
        ENSURE(block_push(grown, number));
        list_publish(list, grown);
        index_heap_retire(heap, block, BLOCK_HEAD + block->capacity);
        return;
    }
    uint32_t start = run_start(word), length = run_length(word);
    if (number == start + length && length < RUN_LENGTH_MAX) {
        atomic_store_explicit(&list->word, run_word(start, length + 1), memory_order_release);
        return;
    }
    struct index_block *block = block_of_run(heap, start, length);
    ENSURE(block_push(block, number));
    list_publish(list, block);
}

/* How long the run is that numbers[0] begins. */
static size_t run_at(const uint32_t *numbers, size_t count)
{
    size_t length = 1;
    while (length < count && numbers[length] == numbers[0] + length)
        length++;
    return length;
}

/* The tokens of `numbers` but for the run that stays open; with `out` NULL only their bytes are counted. */
static size_t tokens_put(const uint32_t *numbers, size_t count, uint8_t *out, size_t *open)
{
    uint8_t none[2 * TOKEN_BYTES];
    size_t len = 0;
    int64_t last = BASE;
    *open = 0;
    for (size_t i = 0; i < count;) {
        if (*open)
            len += run_put(out ? out + len : none, (uint32_t)*open);
        size_t length = run_at(numbers + i, count - i);
        len += jump_put(out ? out + len : none, last, numbers[i]);
        i += length;
        last = numbers[i - 1];
        *open = length - 1;
    }
    return len;
}

struct index_block *index_list_replace(struct index_list *list, struct index_heap *heap,
                                       const uint32_t *numbers, size_t count)
{
    uint64_t old = atomic_load_explicit(&list->word, memory_order_relaxed);
    size_t length = count ? run_at(numbers, count) : 0;
    ENSURE(count <= UINT32_MAX);
    if (length == count && count <= RUN_LENGTH_MAX) {
        uint64_t word = count ? run_word(numbers[0], (uint32_t)count) : 0;
        atomic_store_explicit(&list->word, word, memory_order_release);
    } else {
        size_t open;
        size_t token_bytes = tokens_put(numbers, count, NULL, &open);
        struct index_block *block = block_new(heap, token_bytes);
        tokens_put(numbers, count, block->tokens, &open);
        atomic_init(&block->count, (uint32_t)count);
        atomic_init(&block->state, (uint64_t)token_bytes << 32 | open);
        block->last = numbers[count - 1];
        list_publish(list, block);
    }
    return word_is_run(old) ? NULL : word_block(old);
}

static bool bits_meet(const struct index_bits *bits, uint32_t start, uint64_t length)
{
    uint64_t end = start + length;
    if (end > (uint64_t)bits->word_count * 64)
        end = (uint64_t)bits->word_count * 64;
    for (uint64_t i = start; i < end;) {
        uint64_t part = 64 - i % 64 < end - i ? 64 - i % 64 : end - i;
        uint64_t mask = part == 64 ? UINT64_MAX : ((UINT64_C(1) << part) - 1) << i % 64;
        if (bits->words[i / 64] & mask)
            return true;
        i += part;
    }
    return false;
}

bool index_list_meets(const struct index_list *list, const struct index_bits *bits)
{
    uint64_t word = atomic_load_explicit(&list->word, memory_order_relaxed);
    if (!word)
        return false;
    if (word_is_run(word))
        return bits_meet(bits, run_start(word), run_length(word));
    const struct index_block *block = word_block(word);
    uint64_t state = atomic_load_explicit(&block->state, memory_order_relaxed);
    const uint8_t *at = block->tokens, *end = at + (state >> 32);
    uint32_t last = (uint32_t)BASE;
    while (at < end) {
        uint64_t token = token_take(&at);
        uint64_t length = (token & 3) == 2 ? (token >> 2) + 1 : 1;
        if (token & 1)
            last += (uint32_t)(token >> 1) + 2;
        else if (token & 2)
            last++;
        else
            last -= (uint32_t)(token >> 2) + 1;
        if (bits_meet(bits, last, length))
            return true;
        last += (uint32_t)(length - 1);
    }
    return (uint32_t)state > 0 && bits_meet(bits, last + 1, (uint32_t)state);
}

/* --- readers --- */

uint32_t index_list_count(const struct index_list *list)
{
    uint64_t word = atomic_load_explicit(&list->word, memory_order_acquire);
    if (!word)
        return 0;
    if (word_is_run(word))
        return run_length(word);
    return atomic_load_explicit(&word_block(word)->count, memory_order_relaxed);
}

static uint32_t *run_read(uint32_t *out, uint32_t start, size_t length)
{
    for (size_t i = 0; i < length; i++)
        out[i] = start + (uint32_t)i;
    return out + length;
}

/* Eight jumps of one byte each? */
static bool eight_jumps(const uint8_t *at)
{
    uint64_t eight;
    memcpy(&eight, at, sizeof(eight));
    return (eight & UINT64_C(0x8181818181818181)) == UINT64_C(0x0101010101010101);
}

static uint32_t *tokens_read(const uint8_t *at, const uint8_t *end, uint32_t *out, uint32_t *last)
{
    uint32_t number = (uint32_t)BASE;
    while (at < end) {
        while (end - at >= 8 && eight_jumps(at)) {
            for (int i = 0; i < 8; i++)
                out[i] = number += (uint32_t)(at[i] >> 1) + 2;
            out += 8;
            at += 8;
        }
        if (at == end)
            break;
        uint64_t token = token_take(&at);
        if (token & 1) {
            *out++ = number += (uint32_t)(token >> 1) + 2;
        } else if (token & 2) {
            uint32_t length = (uint32_t)(token >> 2) + 1;
            out = run_read(out, number + 1, length);
            number += length;
        } else {
            *out++ = number -= (uint32_t)(token >> 2) + 1;
        }
    }
    *last = number;
    return out;
}

void index_list_read(const struct index_list *list, struct ref_vec *out)
{
    uint64_t word = atomic_load_explicit(&list->word, memory_order_acquire);
    if (!word)
        return;
    if (word_is_run(word)) {
        VEC_RESERVE(out, run_length(word));
        run_read(out->items + out->count, run_start(word), run_length(word));
        out->count += run_length(word);
        return;
    }
    const struct index_block *block = word_block(word);
    uint64_t state = atomic_load_explicit(&block->state, memory_order_acquire);
    uint32_t count = atomic_load_explicit(&block->count, memory_order_relaxed);
    VEC_RESERVE(out, count);
    uint32_t last;
    uint32_t *to =
        tokens_read(block->tokens, block->tokens + (state >> 32), out->items + out->count, &last);
    to = run_read(to, last + 1, (uint32_t)state);
    size_t read = (size_t)(to - (out->items + out->count));
    ENSURE(read <= count);
    out->count += read;
}
