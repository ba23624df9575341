/* index_entries: numbered texts, found by owner and text, with a list each. Private to the index, which has two of
 * these: names (owner 0, the list is the name's pairs) and pairs (owner is the name, the list is the postings).
 *
 *     unused --add--> linked --unlink--> unlinked --bury--> buried --release--> unused
 *
 *     linked     what new readers find
 *     unlinked   out of the table; text and owner stay for readers who had found it before
 *     buried     those are gone; it shows no text any more to who goes through all numbers
 *     unused     those who had seen its text in that way are gone, too: the text is freed, the number on the free list
 *
 * The writer takes each step after unlink when the readers who were there at the step before have gone. */
#ifndef STORAGE_INDEX_ENTRIES_H
#define STORAGE_INDEX_ENTRIES_H

#include "base/vec.h"
#include "index_list.h"
#include "segments.h"

#define INDEX_TEXT_INLINE 8
#define INDEX_LEN_LONG    255 /* The length stands before the text. */

/* 24 bytes: series with a label of their own have one each. */
struct index_entry {
    union {
        char bytes[INDEX_TEXT_INLINE];
        char *heap;
    } text;
    struct index_list list;
    uint32_t hash;
    _Atomic uint32_t meta; /* owner << 10 | buried << 9 | unlinked << 8 | length. Stored last. */
};
_Static_assert(sizeof(struct index_entry) == 24, "an index entry takes 24 bytes");

struct index_table;

struct index_entries {
    struct segments segments;
    _Atomic(struct index_table *) table;
    uint32_t table_used; /* Slots that are not free: linked entries and tombstones. */
    _Atomic uint32_t linked_count;
    struct ref_vec unused; /* Taken from the end. */
};

void index_entries_init(struct index_entries *entries, struct index_heap *heap,
                        uint32_t per_segment);
void index_entries_deinit(struct index_entries *entries, struct index_heap *heap);

static inline struct index_entry *index_entry_at(const struct index_entries *entries,
                                                 uint32_t number)
{
    return (struct index_entry *)segments_at(&entries->segments, number);
}

/* --- writer --- */

uint32_t index_entries_add(struct index_entries *entries, struct index_heap *heap, uint32_t owner,
                           struct str text, uint32_t hash);
bool index_entry_is_linked(const struct index_entry *entry);
void index_entries_unlink(struct index_entries *entries, uint32_t number);
void index_entries_bury(struct index_entries *entries, uint32_t number);
void index_entries_release(struct index_entries *entries, struct index_heap *heap, uint32_t number);
/* A smaller table after many unlinks. */
void index_entries_tidy(struct index_entries *entries, struct index_heap *heap);
bool index_entries_have_room(const struct index_entries *entries, size_t more);
uint64_t index_entries_bytes(const struct index_entries *entries); /* Without what is in `heap`. */

/* --- readers --- */

uint32_t index_entries_find(const struct index_entries *entries, uint32_t owner, struct str text,
                            uint32_t hash); /* INDEX_NONE */
struct str index_entries_text(const struct index_entries *entries, uint32_t number);
uint32_t index_entries_owner(const struct index_entries *entries, uint32_t number); /* INDEX_NONE */

#endif
