/* index_entries: see index_entries.h.
 *
 *     table   size | slot slot ...      slot   0 free, 1 tombstone, else (hash's low 7 bits) << 25 | number + 2
 *
 * The place of a hash is its high bits times size, so that a table grows by half of its size, not to the double; from
 * there on one slot after the other. Slots of 4 bytes and 7 bits of hash: a search reads one cache line and, one time in
 * 128 excepted, no entry but the right one.
 *
 * A reader that probes while the writer inserts sees a free slot or a whole entry, because the slot is stored last, with
 * release. The number in a slot that a reader saw is not used again before its pin ends, even when the slot has become a
 * tombstone or the table has been replaced. */
#include "index_entries.h"

#include <string.h>

#define NUMBER_BITS 25
#define NUMBER_MASK ((UINT32_C(1) << NUMBER_BITS) - 1)
#define NUMBERS_MAX (NUMBER_MASK - 2)
#define SLOT_FREE   0
#define SLOT_TOMB   1
#define TABLE_MIN   64
#define META_LEN    255U
#define META_UNLINK (1U << 8)
#define META_BURIED (1U << 9)
#define META_SHIFT  10
#define OWNERS_MAX  (1U << (32 - META_SHIFT))

struct index_table {
    uint32_t size;
    _Atomic uint32_t slots[];
};

static size_t table_bytes(uint32_t size)
{
    return sizeof(struct index_table) + (size_t)size * sizeof(uint32_t);
}

static struct index_table *table_new(struct index_heap *heap, uint32_t size)
{
    struct index_table *table = index_heap_alloc(heap, table_bytes(size));
    memset(table, 0, table_bytes(size));
    table->size = size;
    return table;
}

static uint32_t table_place(const struct index_table *table, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * table->size >> 32);
}

static uint32_t table_next(const struct index_table *table, uint32_t at)
{
    return at + 1 == table->size ? 0 : at + 1;
}

static uint32_t slot_of(uint32_t hash, uint32_t number)
{
    return hash << NUMBER_BITS | (number + 2);
}

static void table_put(struct index_table *table, uint32_t hash, uint32_t slot)
{
    uint32_t at = table_place(table, hash);
    while (atomic_load_explicit(&table->slots[at], memory_order_relaxed) != SLOT_FREE)
        at = table_next(table, at);
    atomic_store_explicit(&table->slots[at], slot, memory_order_release);
}

/* A table of the linked entries alone, 4/7 full. */
static void table_rebuild(struct index_entries *entries, struct index_heap *heap)
{
    struct index_table *old = atomic_load_explicit(&entries->table, memory_order_relaxed);
    uint32_t linked = atomic_load_explicit(&entries->linked_count, memory_order_relaxed);
    uint32_t wanted = linked / 4 * 7;
    struct index_table *table = table_new(heap, wanted < TABLE_MIN ? TABLE_MIN : wanted);
    for (uint32_t at = 0; at < old->size; at++) {
        uint32_t slot = atomic_load_explicit(&old->slots[at], memory_order_relaxed);
        if (slot == SLOT_FREE || slot == SLOT_TOMB)
            continue;
        table_put(table, index_entry_at(entries, (slot & NUMBER_MASK) - 2)->hash, slot);
    }
    entries->table_used = linked;
    atomic_store_explicit(&entries->table, table, memory_order_release);
    index_heap_retire(heap, old, table_bytes(old->size));
}

void index_entries_init(struct index_entries *entries, struct index_heap *heap,
                        uint32_t per_segment)
{
    *entries = (struct index_entries){0};
    segments_init(&entries->segments, sizeof(struct index_entry), per_segment);
    atomic_init(&entries->table, table_new(heap, TABLE_MIN));
    atomic_init(&entries->linked_count, 0);
}

static uint32_t entry_meta(const struct index_entry *entry)
{
    return atomic_load_explicit(&entry->meta, memory_order_acquire);
}

static struct str entry_text(const struct index_entry *entry, uint32_t meta)
{
    size_t len = meta & META_LEN;
    if (len <= INDEX_TEXT_INLINE)
        return str_from(entry->text.bytes, len);
    if (len < INDEX_LEN_LONG)
        return str_from(entry->text.heap, len);
    uint32_t long_len;
    memcpy(&long_len, entry->text.heap, sizeof(long_len));
    return str_from(entry->text.heap + sizeof(long_len), long_len);
}

static void text_set(struct index_entry *entry, struct index_heap *heap, struct str text)
{
    uint32_t long_len = (uint32_t)text.len;
    ENSURE(text.len <= UINT32_MAX - sizeof(long_len));
    if (text.len <= INDEX_TEXT_INLINE) {
        if (text.len)
            memcpy(entry->text.bytes, text.ptr, text.len);
    } else if (text.len < INDEX_LEN_LONG) {
        entry->text.heap = index_heap_alloc(heap, text.len);
        memcpy(entry->text.heap, text.ptr, text.len);
    } else {
        entry->text.heap = index_heap_alloc(heap, sizeof(long_len) + text.len);
        memcpy(entry->text.heap, &long_len, sizeof(long_len));
        memcpy(entry->text.heap + sizeof(long_len), text.ptr, text.len);
    }
}

static void text_free(struct index_entry *entry, struct index_heap *heap)
{
    uint32_t meta = atomic_load_explicit(&entry->meta, memory_order_relaxed);
    size_t len = entry_text(entry, meta).len;
    if (len > INDEX_TEXT_INLINE)
        index_heap_free(heap, entry->text.heap,
                        len < INDEX_LEN_LONG ? len : len + sizeof(uint32_t));
}

void index_entries_deinit(struct index_entries *entries, struct index_heap *heap)
{
    uint32_t count = segments_count(&entries->segments);
    for (uint32_t i = 0; i < count; i++) {
        struct index_entry *entry = index_entry_at(entries, i);
        index_block_free(index_list_replace(&entry->list, heap, NULL, 0), heap);
        text_free(entry, heap);
    }
    struct index_table *table = atomic_load_explicit(&entries->table, memory_order_relaxed);
    index_heap_free(heap, table, table_bytes(table->size));
    segments_deinit(&entries->segments);
    VEC_FREE(&entries->unused);
}

bool index_entries_have_room(const struct index_entries *entries, size_t more)
{
    size_t taken = segments_count(&entries->segments) - entries->unused.count;
    size_t bound = (size_t)SEGMENTS_MAX << entries->segments.shift;
    if (bound > NUMBERS_MAX)
        bound = NUMBERS_MAX;
    return more <= bound && taken <= bound - more;
}

uint64_t index_entries_bytes(const struct index_entries *entries)
{
    return segments_bytes(&entries->segments) + SEGMENTS_MAX * sizeof(char *) +
           entries->unused.capacity * sizeof(uint32_t);
}

uint32_t index_entries_add(struct index_entries *entries, struct index_heap *heap, uint32_t owner,
                           struct str text, uint32_t hash)
{
    ENSURE(owner < OWNERS_MAX && index_entries_have_room(entries, 1));
    bool is_new = entries->unused.count == 0;
    uint32_t number = is_new ? segments_count(&entries->segments) : VEC_POP(&entries->unused);
    struct index_entry *entry =
        is_new ? segments_next(&entries->segments) : index_entry_at(entries, number);
    uint32_t len = text.len < INDEX_LEN_LONG ? (uint32_t)text.len : INDEX_LEN_LONG;
    text_set(entry, heap, text);
    entry->hash = hash;
    atomic_store_explicit(&entry->meta, owner << META_SHIFT | len, memory_order_release);
    if (is_new)
        segments_publish(&entries->segments);
    struct index_table *table = atomic_load_explicit(&entries->table, memory_order_relaxed);
    if (entries->table_used + 1 > table->size - table->size / 6) {
        table_rebuild(entries, heap);
        table = atomic_load_explicit(&entries->table, memory_order_relaxed);
    }
    table_put(table, hash, slot_of(hash, number));
    entries->table_used++;
    atomic_fetch_add_explicit(&entries->linked_count, 1, memory_order_relaxed);
    return number;
}

bool index_entry_is_linked(const struct index_entry *entry)
{
    return (entry_meta(entry) & (META_UNLINK | META_BURIED)) == 0;
}

void index_entries_unlink(struct index_entries *entries, uint32_t number)
{
    struct index_entry *entry = index_entry_at(entries, number);
    struct index_table *table = atomic_load_explicit(&entries->table, memory_order_relaxed);
    uint32_t slot = slot_of(entry->hash, number), met;
    uint32_t at = table_place(table, entry->hash);
    ENSURE(index_entry_is_linked(entry));
    while ((met = atomic_load_explicit(&table->slots[at], memory_order_relaxed)) != slot) {
        ENSURE(met != SLOT_FREE);
        at = table_next(table, at);
    }
    atomic_store_explicit(&table->slots[at], SLOT_TOMB, memory_order_relaxed);
    atomic_store_explicit(&entry->meta, entry_meta(entry) | META_UNLINK, memory_order_release);
    atomic_fetch_sub_explicit(&entries->linked_count, 1, memory_order_relaxed);
}

void index_entries_bury(struct index_entries *entries, uint32_t number)
{
    struct index_entry *entry = index_entry_at(entries, number);
    ENSURE(!index_entry_is_linked(entry));
    atomic_store_explicit(&entry->meta, entry_meta(entry) | META_BURIED, memory_order_release);
}

void index_entries_release(struct index_entries *entries, struct index_heap *heap, uint32_t number)
{
    struct index_entry *entry = index_entry_at(entries, number);
    ENSURE((entry_meta(entry) & META_BURIED) != 0);
    text_free(entry, heap);
    atomic_store_explicit(&entry->meta, META_BURIED, memory_order_relaxed);
    VEC_PUSH(&entries->unused, number);
}

void index_entries_tidy(struct index_entries *entries, struct index_heap *heap)
{
    const struct index_table *table = atomic_load_explicit(&entries->table, memory_order_relaxed);
    uint32_t linked = atomic_load_explicit(&entries->linked_count, memory_order_relaxed);
    bool many_tombs = entries->table_used - linked > table->size / 8;
    if (many_tombs || (table->size > TABLE_MIN && linked < table->size / 4))
        table_rebuild(entries, heap);
}

uint32_t index_entries_find(const struct index_entries *entries, uint32_t owner, struct str text,
                            uint32_t hash)
{
    const struct index_table *table = atomic_load_explicit(&entries->table, memory_order_acquire);
    uint32_t tag = slot_of(hash, 0) & ~NUMBER_MASK;
    for (uint32_t at = table_place(table, hash);; at = table_next(table, at)) {
        uint32_t slot = atomic_load_explicit(&table->slots[at], memory_order_acquire);
        if (slot == SLOT_FREE)
            return INDEX_NONE;
        if ((slot & ~NUMBER_MASK) != tag || slot == SLOT_TOMB)
            continue;
        const struct index_entry *entry = index_entry_at(entries, (slot & NUMBER_MASK) - 2);
        uint32_t meta = entry_meta(entry);
        if (entry->hash == hash && meta >> META_SHIFT == owner &&
            str_eq(entry_text(entry, meta), text))
            return (slot & NUMBER_MASK) - 2;
    }
}

struct str index_entries_text(const struct index_entries *entries, uint32_t number)
{
    const struct index_entry *entry = index_entry_at(entries, number);
    uint32_t meta = entry_meta(entry);
    return meta & META_BURIED ? STR_EMPTY : entry_text(entry, meta);
}

uint32_t index_entries_owner(const struct index_entries *entries, uint32_t number)
{
    uint32_t meta = entry_meta(index_entry_at(entries, number));
    return meta & META_BURIED ? INDEX_NONE : meta >> META_SHIFT;
}
