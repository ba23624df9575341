/* index: see index.h. The two hash tables hold entry numbers; a reader that probes while the writer
 * inserts sees either a free slot or a whole entry, because the number is stored last, with
 * release. */
#include "index.h"

#include <string.h>

#include "base/arena.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "segments.h"

struct table {
    uint32_t mask;
    _Atomic uint32_t slots[]; /* Entry number + 1; 0 is free. */
};

struct index {
    struct epoch *epoch; /* Borrowed: the storage's. */
    struct segments names;
    struct segments pairs;
    _Atomic(struct table *) name_table, pair_table;
    struct arena texts;
    uint64_t list_bytes;
};

SEGMENTS_TYPED(name_entry, struct name_entry)
SEGMENTS_TYPED(pair_entry, struct pair_entry)

static struct table *table_new(uint32_t slot_count)
{
    struct table *table = mem_zalloc(sizeof(*table) + slot_count * sizeof(table->slots[0]));
    table->mask = slot_count - 1;
    return table;
}

static void table_put(struct table *table, uint64_t hash, uint32_t entry)
{
    uint32_t at = (uint32_t)hash & table->mask;
    while (atomic_load_explicit(&table->slots[at], memory_order_relaxed))
        at = (at + 1) & table->mask;
    atomic_store_explicit(&table->slots[at], entry + 1, memory_order_release);
}

/* Doubles the table when it is more than half full. */
static void table_grow(struct index *index, _Atomic(struct table *) *place, uint32_t count,
                       uint64_t (*hash_of)(const struct index *, uint32_t))
{
    struct table *old = atomic_load_explicit(place, memory_order_relaxed);
    if (count * 2 <= old->mask)
        return;
    struct table *grown = table_new((old->mask + 1) * 2);
    for (uint32_t i = 0; i < count; i++)
        table_put(grown, hash_of(index, i), i);
    atomic_store_explicit(place, grown, memory_order_release);
    epoch_retire(index->epoch, mem_free, old);
}

static uint64_t name_hash_of(const struct index *index, uint32_t i)
{
    return name_entry_at(&index->names, i)->hash;
}

static uint64_t pair_hash_of(const struct index *index, uint32_t i)
{
    return pair_entry_at(&index->pairs, i)->hash;
}

struct id_view id_list_view(const struct id_list *list)
{
    const struct id_array *array = atomic_load_explicit(&list->array, memory_order_acquire);
    if (!array)
        return (struct id_view){0};
    uint32_t count = atomic_load_explicit(&array->count, memory_order_acquire);
    return (struct id_view){.items = array->items, .count = count};
}

static void id_list_push(struct index *index, struct id_list *list, uint32_t id)
{
    struct id_array *array = atomic_load_explicit(&list->array, memory_order_relaxed);
    uint32_t count = array ? atomic_load_explicit(&array->count, memory_order_relaxed) : 0;
    if (!array || count == array->capacity) {
        uint32_t capacity = count < 2 ? 2 : count + count / 2 + 1;
        struct id_array *grown = mem_alloc(sizeof(*grown) + capacity * sizeof(uint32_t));
        atomic_init(&grown->count, count);
        grown->capacity = capacity;
        if (count)
            memcpy(grown->items, array->items, count * sizeof(uint32_t));
        atomic_store_explicit(&list->array, grown, memory_order_release);
        index->list_bytes += sizeof(*grown) + capacity * sizeof(uint32_t);
        if (array) {
            index->list_bytes -= sizeof(*array) + array->capacity * sizeof(uint32_t);
            epoch_retire(index->epoch, mem_free, array);
        }
        array = grown;
    }
    array->items[count] = id;
    atomic_store_explicit(&array->count, count + 1, memory_order_release);
}

struct index *index_new(struct epoch *epoch)
{
    struct index *index = MEM_NEW(struct index);
    index->epoch = epoch;
    segments_init(&index->names, sizeof(struct name_entry), 256);
    segments_init(&index->pairs, sizeof(struct pair_entry), 4096);
    atomic_init(&index->name_table, table_new(256));
    atomic_init(&index->pair_table, table_new(1024));
    arena_init(&index->texts, 0);
    return index;
}

void index_free(struct index *index)
{
    if (!index)
        return;
    for (uint32_t i = 0; i < index_name_count(index); i++)
        mem_free(atomic_load(&name_entry_at(&index->names, i)->pairs.array));
    for (uint32_t i = 0; i < index_pair_count(index); i++)
        mem_free(atomic_load(&pair_entry_at(&index->pairs, i)->postings.array));
    mem_free(atomic_load(&index->name_table));
    mem_free(atomic_load(&index->pair_table));
    segments_deinit(&index->names);
    segments_deinit(&index->pairs);
    arena_deinit(&index->texts);
    mem_free(index);
}

uint32_t index_name_find(const struct index *index, struct str name)
{
    const struct table *table = atomic_load_explicit(&index->name_table, memory_order_acquire);
    uint64_t hash = hash64(name);
    for (uint32_t at = (uint32_t)hash & table->mask;; at = (at + 1) & table->mask) {
        uint32_t slot = atomic_load_explicit(&table->slots[at], memory_order_acquire);
        if (!slot)
            return INDEX_NONE;
        const struct name_entry *entry = name_entry_at(&index->names, slot - 1);
        if (entry->hash == hash && str_eq(entry->text, name))
            return slot - 1;
    }
}

static uint64_t pair_hash(uint32_t name, struct str value)
{
    return hash64_seed(value, name + UINT64_C(0x9e3779b97f4a7c15));
}

static uint32_t pair_find_hashed(const struct index *index, uint32_t name, struct str value,
                                 uint64_t hash)
{
    const struct table *table = atomic_load_explicit(&index->pair_table, memory_order_acquire);
    for (uint32_t at = (uint32_t)hash & table->mask;; at = (at + 1) & table->mask) {
        uint32_t slot = atomic_load_explicit(&table->slots[at], memory_order_acquire);
        if (!slot)
            return INDEX_NONE;
        const struct pair_entry *entry = pair_entry_at(&index->pairs, slot - 1);
        if (entry->hash == hash && entry->name == name && str_eq(entry->value, value))
            return slot - 1;
    }
}

uint32_t index_pair_find(const struct index *index, uint32_t name, struct str value)
{
    return pair_find_hashed(index, name, value, pair_hash(name, value));
}

static uint32_t name_intern(struct index *index, struct str name)
{
    uint32_t found = index_name_find(index, name);
    if (found != INDEX_NONE)
        return found;
    uint32_t number = index_name_count(index);
    struct name_entry *entry = segments_next(&index->names);
    entry->text = arena_str(&index->texts, name);
    entry->hash = hash64(name);
    atomic_init(&entry->pairs.array, NULL);
    segments_publish(&index->names);
    table_grow(index, &index->name_table, number, name_hash_of);
    table_put(atomic_load_explicit(&index->name_table, memory_order_relaxed), entry->hash, number);
    return number;
}

bool index_has_room(const struct index *index, size_t label_count)
{
    return segments_have_room(&index->names, label_count) &&
           segments_have_room(&index->pairs, label_count);
}

uint32_t index_pair_intern(struct index *index, struct str name, struct str value)
{
    uint32_t name_number = name_intern(index, name);
    uint64_t hash = pair_hash(name_number, value);
    uint32_t found = pair_find_hashed(index, name_number, value, hash);
    if (found != INDEX_NONE)
        return found;
    struct name_entry *name_entry = name_entry_at(&index->names, name_number);
    uint32_t number = index_pair_count(index);
    struct pair_entry *entry = segments_next(&index->pairs);
    entry->name = name_number;
    entry->ordinal = id_list_view(&name_entry->pairs).count;
    entry->value = arena_str(&index->texts, value);
    entry->hash = hash;
    atomic_init(&entry->postings.array, NULL);
    segments_publish(&index->pairs);
    table_grow(index, &index->pair_table, number, pair_hash_of);
    table_put(atomic_load_explicit(&index->pair_table, memory_order_relaxed), hash, number);
    id_list_push(index, &name_entry->pairs, number);
    return number;
}

void index_add_series(struct index *index, const uint32_t *pairs, size_t count, uint32_t ref)
{
    for (size_t i = 0; i < count; i++)
        id_list_push(index, &pair_entry_at(&index->pairs, pairs[i])->postings, ref);
}

void index_sweep(struct index *index, bool (*gone)(void *ctx, uint32_t ref), void *ctx)
{
    uint32_t pair_count = index_pair_count(index);
    for (uint32_t i = 0; i < pair_count; i++) {
        struct id_list *list = &pair_entry_at(&index->pairs, i)->postings;
        struct id_array *old = atomic_load_explicit(&list->array, memory_order_relaxed);
        uint32_t count = old ? atomic_load_explicit(&old->count, memory_order_relaxed) : 0;
        uint32_t kept = 0;
        for (uint32_t k = 0; k < count; k++)
            kept += !gone(ctx, old->items[k]);
        if (kept == count)
            continue;
        struct id_array *swept = NULL;
        if (kept) {
            swept = mem_alloc(sizeof(*swept) + kept * sizeof(uint32_t));
            atomic_init(&swept->count, kept);
            swept->capacity = kept;
            index->list_bytes += sizeof(*swept) + kept * sizeof(uint32_t);
            for (uint32_t k = 0, to = 0; k < count; k++) {
                if (!gone(ctx, old->items[k]))
                    swept->items[to++] = old->items[k];
            }
        }
        atomic_store_explicit(&list->array, swept, memory_order_release);
        index->list_bytes -= sizeof(*old) + old->capacity * sizeof(uint32_t);
        epoch_retire(index->epoch, mem_free, old);
    }
}

uint32_t index_name_count(const struct index *index)
{
    return segments_count(&index->names);
}
uint32_t index_pair_count(const struct index *index)
{
    return segments_count(&index->pairs);
}

const struct name_entry *index_name(const struct index *index, uint32_t name)
{
    return name_entry_at(&index->names, name);
}

const struct pair_entry *index_pair(const struct index *index, uint32_t pair)
{
    return pair_entry_at(&index->pairs, pair);
}

uint64_t index_bytes(const struct index *index)
{
    const struct table *names = atomic_load(&index->name_table),
                       *pairs = atomic_load(&index->pair_table);
    return index->list_bytes + index->texts.bytes + segments_bytes(&index->names) +
           segments_bytes(&index->pairs) + (names->mask + pairs->mask + 2) * sizeof(uint32_t);
}
