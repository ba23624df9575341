/* index: see index.h. What an entry is and how it is found: index_entries; postings and lists of pairs: index_list.
 *
 * A sweep asks once per series whether it is gone, looks at each list, and writes anew, exact in size and ascending,
 * only those that lose something: one list at a time. What falls off waits in a struct leavings:
 *
 *     index_sweep    unlinks pairs and names; epoch_retire(leavings)
 *     epoch          old readers are gone: frees the lists' blocks, buries the entries
 *     next sweep     retires them once more, with its own
 *     epoch          releases them: texts are freed, numbers are used again
 *
 * The second round is for readers who go through all numbers, and it rides on the next sweep's because something that is
 * retired while the epoch is being emptied would not be freed with it. So a sweep's texts and numbers come back with the
 * sweep after it.
 *
 * Pairs that were made and never got a series go with the next sweep. */
#include "index.h"

#include <string.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "base/vec.h"
#include "index_entries.h"

#define PAIR_SEED UINT64_C(0x9e3779b97f4a7c15)

struct leavings {
    struct index *index;    /* NULL: the index is gone. */
    struct leavings *next;  /* In the list of the index that it is in. */
    struct leavings *older; /* Buried before: to be released with this. */
    struct ref_vec names, pairs;
    VEC(struct index_block *) blocks;
};

struct index {
    struct index_heap heap;
    struct index_entries names, pairs;
    struct index_bits present; /* Refs of series. */
    struct leavings *unlinked; /* In the epoch's hands. */
    struct leavings *buried;
};

struct index *index_new(struct epoch *epoch)
{
    struct index *index = MEM_NEW(struct index);
    index->heap.epoch = epoch;
    index_entries_init(&index->names, &index->heap, 256);
    index_entries_init(&index->pairs, &index->heap, 4096);
    return index;
}

static void leavings_free(struct leavings *leavings)
{
    VEC_FREE(&leavings->names);
    VEC_FREE(&leavings->pairs);
    VEC_FREE(&leavings->blocks);
    mem_free(leavings);
}

static void leavings_free_blocks(struct leavings *leavings, struct index_heap *heap)
{
    VEC_EACH (block, &leavings->blocks)
        index_block_free(*block, heap);
    VEC_FREE(&leavings->blocks);
}

static void leavings_free_all(struct leavings *leavings)
{
    while (leavings) {
        struct leavings *next = leavings->next;
        leavings_free(leavings);
        leavings = next;
    }
}

void index_free(struct index *index)
{
    if (!index)
        return;
    for (struct leavings *leavings = index->unlinked; leavings; leavings = leavings->next) {
        leavings_free_blocks(leavings, &index->heap);
        leavings_free_all(leavings->older);
        leavings->older = NULL;
        leavings->index = NULL;
    }
    leavings_free_all(index->buried);
    index_entries_deinit(&index->pairs, &index->heap);
    index_entries_deinit(&index->names, &index->heap);
    ENSURE(index->heap.bytes == 0);
    mem_free(index->present.words);
    mem_free(index);
}

/* --- series that come --- */

static uint32_t name_hash(struct str name)
{
    return (uint32_t)hash64(name);
}

static uint32_t pair_hash(uint32_t name, struct str value)
{
    return (uint32_t)hash64_seed(value, name + PAIR_SEED);
}

uint32_t index_pair_intern(struct index *index, struct str name, struct str value)
{
    uint32_t hash = name_hash(name);
    uint32_t owner = index_entries_find(&index->names, 0, name, hash);
    if (UNLIKELY(owner == INDEX_NONE))
        owner = index_entries_add(&index->names, &index->heap, 0, name, hash);
    hash = pair_hash(owner, value);
    uint32_t pair = index_entries_find(&index->pairs, owner, value, hash);
    if (LIKELY(pair != INDEX_NONE))
        return pair;
    pair = index_entries_add(&index->pairs, &index->heap, owner, value, hash);
    index_list_push(&index_entry_at(&index->names, owner)->list, &index->heap, pair);
    return pair;
}

static void present_set(struct index_bits *present, uint32_t ref)
{
    uint32_t word = ref / 64;
    if (UNLIKELY(word >= present->word_count)) {
        uint32_t count = word + word / 4 + 16;
        present->words = mem_realloc(present->words, count * sizeof(uint64_t));
        memset(present->words + present->word_count, 0,
               (count - present->word_count) * sizeof(uint64_t));
        present->word_count = count;
    }
    ENSURE(!index_bits_has(present, ref));
    index_bits_set(present, ref);
}

void index_add_series(struct index *index, const uint32_t *pairs, size_t count, uint32_t ref)
{
    present_set(&index->present, ref);
    for (size_t i = 0; i < count; i++) {
        struct index_entry *entry = index_entry_at(&index->pairs, pairs[i]);
        ENSURE_SLOW(index_entry_is_linked(entry));
        index_list_push(&entry->list, &index->heap, ref);
    }
}

bool index_has_room(const struct index *index, size_t label_count)
{
    return index_entries_have_room(&index->names, label_count) &&
           index_entries_have_room(&index->pairs, label_count);
}

uint64_t index_bytes(const struct index *index)
{
    return index->heap.bytes + index->present.word_count * sizeof(uint64_t) +
           index_entries_bytes(&index->names) + index_entries_bytes(&index->pairs);
}

/* --- series that leave --- */

static void bits_init(struct index_bits *bits, uint32_t word_count)
{
    bits->word_count = word_count;
    bits->words = mem_zalloc(word_count * sizeof(uint64_t));
}

static void leavings_release(struct leavings *leavings, struct index *index)
{
    while (leavings) {
        struct leavings *next = leavings->next;
        /* Numbers are taken from the end: the lowest first. */
        for (size_t i = leavings->pairs.count; i > 0; i--)
            index_entries_release(&index->pairs, &index->heap, leavings->pairs.items[i - 1]);
        for (size_t i = leavings->names.count; i > 0; i--)
            index_entries_release(&index->names, &index->heap, leavings->names.items[i - 1]);
        leavings_free(leavings);
        leavings = next;
    }
}

/* No reader from before the sweep is left. */
static void leavings_pass(void *ptr)
{
    struct leavings *leavings = ptr;
    struct index *index = leavings->index;
    if (!index) {
        leavings_free(leavings);
        return;
    }
    struct leavings **link = &index->unlinked;
    while (*link != leavings)
        link = &(*link)->next;
    *link = leavings->next;
    leavings_free_blocks(leavings, &index->heap);
    leavings_release(leavings->older, index);
    leavings->older = NULL;
    VEC_EACH (pair, &leavings->pairs)
        index_entries_bury(&index->pairs, *pair);
    VEC_EACH (name, &leavings->names)
        index_entries_bury(&index->names, *name);
    leavings->next = index->buried;
    index->buried = leavings;
}

/* Moves those who are gone from `present` to *out; false when nobody is. */
static bool find_gone(struct index_bits *present, bool (*gone)(void *ctx, uint32_t ref), void *ctx,
                      struct index_bits *out)
{
    bool any = false;
    bits_init(out, present->word_count);
    for (uint32_t word = 0; word < present->word_count; word++) {
        for (uint64_t left = present->words[word]; left; left &= left - 1) {
            uint32_t ref = word * 64 + (uint32_t)__builtin_ctzll(left);
            if (gone(ctx, ref))
                index_bits_set(out, ref);
        }
        present->words[word] &= ~out->words[word];
        any |= out->words[word] != 0;
    }
    return any;
}

static void list_sweep(struct index *index, struct index_list *list, const struct index_bits *gone,
                       struct ref_vec *room, struct leavings *leavings)
{
    VEC_CLEAR(room);
    index_list_read(list, room);
    size_t kept = 0;
    for (size_t i = 0; i < room->count; i++) {
        uint32_t number = room->items[i];
        room->items[kept] = number;
        kept += !index_bits_has(gone, number);
    }
    kept = index_sort_unique(room->items, kept);
    struct index_block *old = index_list_replace(list, &index->heap, room->items, kept);
    if (old)
        VEC_PUSH(&leavings->blocks, old);
}

/* Takes the numbers in `gone` out of all lists; entries that have nothing left are unlinked, pushed to `out` and, when
 * there is one, set in `out_bits`. */
static void entries_sweep(struct index *index, struct index_entries *entries,
                          const struct index_bits *gone, struct leavings *leavings,
                          struct ref_vec *out, struct index_bits *out_bits)
{
    struct ref_vec room = {0};
    uint32_t bound = segments_count(&entries->segments);
    for (uint32_t i = 0; i < bound; i++) {
        struct index_entry *entry = index_entry_at(entries, i);
        if (!index_entry_is_linked(entry))
            continue;
        if (index_list_meets(&entry->list, gone))
            list_sweep(index, &entry->list, gone, &room, leavings);
        if (index_list_count(&entry->list) > 0)
            continue;
        index_entries_unlink(entries, i);
        VEC_PUSH(out, i);
        if (out_bits)
            index_bits_set(out_bits, i);
    }
    VEC_FREE(&room);
    index_entries_tidy(entries, &index->heap);
}

void index_sweep(struct index *index, bool (*gone)(void *ctx, uint32_t ref), void *ctx)
{
    struct index_bits gone_refs, gone_pairs;
    struct leavings *leavings = MEM_NEW(struct leavings);
    leavings->index = index;
    if (!find_gone(&index->present, gone, ctx, &gone_refs))
        gone_refs.word_count = 0; /* Lists need not be looked through. */
    bits_init(&gone_pairs, segments_count(&index->pairs.segments) / 64 + 1);
    entries_sweep(index, &index->pairs, &gone_refs, leavings, &leavings->pairs, &gone_pairs);
    if (leavings->pairs.count > 0)
        entries_sweep(index, &index->names, &gone_pairs, leavings, &leavings->names, NULL);
    mem_free(gone_refs.words);
    mem_free(gone_pairs.words);
    leavings->older = index->buried;
    index->buried = NULL;
    if (leavings->blocks.count == 0 && leavings->pairs.count == 0 && !leavings->older) {
        leavings_free(leavings);
        return;
    }
    leavings->next = index->unlinked;
    index->unlinked = leavings;
    epoch_retire(index->heap.epoch, leavings_pass, leavings);
}

/* --- readers --- */

uint32_t index_name_bound(const struct index *index)
{
    return segments_count(&index->names.segments);
}

uint32_t index_pair_bound(const struct index *index)
{
    return segments_count(&index->pairs.segments);
}

uint32_t index_pair_total(const struct index *index)
{
    return atomic_load_explicit(&index->pairs.linked_count, memory_order_relaxed);
}

uint32_t index_name_find(const struct index *index, struct str name)
{
    return index_entries_find(&index->names, 0, name, name_hash(name));
}

uint32_t index_pair_find(const struct index *index, uint32_t name, struct str value)
{
    return index_entries_find(&index->pairs, name, value, pair_hash(name, value));
}

struct str index_name_text(const struct index *index, uint32_t name)
{
    return index_entries_text(&index->names, name);
}

uint32_t index_pair_name(const struct index *index, uint32_t pair)
{
    return index_entries_owner(&index->pairs, pair);
}

struct str index_pair_value(const struct index *index, uint32_t pair)
{
    return index_entries_text(&index->pairs, pair);
}

void index_name_pairs(const struct index *index, uint32_t name, struct ref_vec *out)
{
    size_t before = out->count;
    index_list_read(&index_entry_at(&index->names, name)->list, out);
    if (out->count > before)
        out->count = before + index_sort_unique(out->items + before, out->count - before);
}

void index_postings(const struct index *index, uint32_t pair, struct ref_vec *out)
{
    index_list_read(&index_entry_at(&index->pairs, pair)->list, out);
}

uint32_t index_postings_count(const struct index *index, uint32_t pair)
{
    return index_list_count(&index_entry_at(&index->pairs, pair)->list);
}
