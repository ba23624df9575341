/* index_list: a list of numbers in one word, and in a block of tokens when a word does not do. Private to the index.
 *
 *     word   0                              nothing
 *            start << 32 | length << 1 | 1  one run: start, start + 1, ... ; no memory of its own
 *            pointer                        a block:
 *
 *     block  state | count | last | capacity | token token token ...
 *
 *     token  a varint, low bits first; the numbers that it stands for depend on the one before, `last`:
 *            g << 1 | 1     jump forward:  last + 2 + g
 *            n << 2 | 2     run:           n + 1 numbers more, each one higher
 *            b << 2 | 0     jump back:     last - 1 - b
 *
 * A list has no number twice, keeps them in the order in which they came, and is only added to; to take numbers out is to
 * put another list in its place.
 *
 * One writer, any readers under a pinned epoch. state = (token bytes in use) << 32 | (numbers of the run that is still
 * open, after the last token's). Tokens in use never change, and nothing but state says what a block holds: a number is
 * published by one release store, of the word or of the state. It either lengthens the open run by one or closes it,
 * which is to count in the token that says the same (and a jump) while the open length falls to 0. So whatever state a
 * reader loads, with acquire, is the list as it was at one moment: all that had been added before the load, none twice.
 * A block that was outgrown stays as it is until its readers are gone, and any of them had begun before. */
#ifndef STORAGE_INDEX_LIST_H
#define STORAGE_INDEX_LIST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/mem.h"
#include "index.h"

/* What the index holds, with malloc's own 8 bytes and its steps of 16. */
struct index_heap {
    struct epoch *epoch; /* Borrowed: the storage's. */
    uint64_t bytes;
};

static inline uint64_t index_heap_step(size_t bytes)
{
    return bytes <= 24 ? 32 : ((uint64_t)bytes + 8 + 15) & ~UINT64_C(15);
}
static inline void *index_heap_alloc(struct index_heap *heap, size_t bytes)
{
    heap->bytes += index_heap_step(bytes);
    return mem_alloc(bytes);
}
static inline void index_heap_free(struct index_heap *heap, void *ptr, size_t bytes)
{
    heap->bytes -= index_heap_step(bytes);
    mem_free(ptr);
}
static inline void index_heap_retire(struct index_heap *heap, void *ptr, size_t bytes)
{
    heap->bytes -= index_heap_step(bytes);
    epoch_retire(heap->epoch, mem_free, ptr);
}

/* A set of numbers below a bound. */
struct index_bits {
    uint64_t *words;
    uint32_t word_count;
};

static inline bool index_bits_has(const struct index_bits *bits, uint32_t i)
{
    return i / 64 < bits->word_count && (bits->words[i / 64] >> i % 64 & 1) != 0;
}
static inline void index_bits_set(struct index_bits *bits, uint32_t i)
{
    bits->words[i / 64] |= UINT64_C(1) << i % 64;
}

struct index_list {
    _Atomic uint64_t word;
};

struct index_block;

/* --- writer --- */

void index_list_push(struct index_list *list, struct index_heap *heap, uint32_t number);
bool index_list_meets(const struct index_list *list, const struct index_bits *bits);
/* Puts `numbers` in the list's place; the old block (or NULL) is the caller's to free when its readers are gone. */
struct index_block *index_list_replace(struct index_list *list, struct index_heap *heap,
                                       const uint32_t *numbers, size_t count);
void index_block_free(struct index_block *block, struct index_heap *heap); /* NULL is fine. */

/* --- readers --- */

uint32_t index_list_count(const struct index_list *list);
void index_list_read(const struct index_list *list, struct ref_vec *out); /* Appends. */

/* Sorts in place, drops what is there twice, returns how many are left. */
size_t index_sort_unique(uint32_t *numbers, size_t count);

#endif
