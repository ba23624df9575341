/* index: from labels to the series in memory: names, name=value pairs and their postings. One writer (the loop thread), any
 * number of readers under a pinned epoch, no lock.
 *
 *     name ---> list of its pairs          pair (name, value) ---> postings: refs of series
 *
 * Entries live in segments that never move; hash tables and lists that grow are replaced whole and the old ones retired
 * through the epoch. Refs that were given one after the other (a target's series) make runs, so a target's labels cost
 * next to nothing and the postings of the rest a byte or two each. Refs are reused: a list is not sorted by itself.
 *
 * Series that leave are taken out in bulk (index_sweep); pairs and names that nobody has any more give their memory
 * back, and their numbers are used again when no reader can know them. */
#ifndef STORAGE_INDEX_H
#define STORAGE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/str.h"
#include "model/labels.h"

#define INDEX_NONE UINT32_MAX

/* Numbers of series (or pairs), as a reader gathers them. Freed with VEC_FREE. */
struct ref_vec {
    uint32_t *items;
    size_t count;
    size_t capacity;
};
void refs_sort_unique(struct ref_vec *refs); /* Radix or already sorted: cheap. */

struct index;

struct index *index_new(struct epoch *epoch);
void index_free(struct index *index);

/* --- writer --- */

/* The pair's number; made when new. */
uint32_t index_pair_intern(struct index *index, struct str name, struct str value);
/* `pairs` in name order, as the series keeps them. */
void index_add_series(struct index *index, const uint32_t *pairs, size_t count, uint32_t ref);
/* Takes out every ref for which `gone` says so; pairs without series are forgotten (the caller's series that are gone
 * must not be shown to new readers any more). */
void index_sweep(struct index *index, bool (*gone)(void *ctx, uint32_t ref), void *ctx);
/* Room for a series with so many labels. */
bool index_has_room(const struct index *index, size_t label_count);
uint64_t index_bytes(const struct index *index); /* Heap bytes. */

/* --- readers --- */

/* Numbers are below these bounds; a number may be free (then its text is empty and it has no postings). */
uint32_t index_name_bound(const struct index *index);
uint32_t index_pair_bound(const struct index *index);
uint32_t index_pair_total(const struct index *index);                 /* Pairs in use. */
uint32_t index_name_find(const struct index *index, struct str name); /* INDEX_NONE */
uint32_t index_pair_find(const struct index *index, uint32_t name,
                         struct str value); /* INDEX_NONE */
struct str index_name_text(const struct index *index, uint32_t name);
uint32_t index_pair_name(const struct index *index, uint32_t pair);
struct str index_pair_value(const struct index *index, uint32_t pair);
/* Appends the numbers of a name's pairs, ascending. */
void index_name_pairs(const struct index *index, uint32_t name, struct ref_vec *out);
/* Appends the refs, as they were added: not sorted when refs were reused; none twice. */
void index_postings(const struct index *index, uint32_t pair, struct ref_vec *out);
uint32_t index_postings_count(const struct index *index, uint32_t pair);

#endif
