/* index: from labels to live series: names, name=value pairs and their postings. One writer, any
 * number of readers.
 *
 *     name ---> list of its pairs          pair (name, value) ---> postings: refs of series,
 * ascending
 *
 * Everything is append-only and published with release stores; entries live in segments that never
 * move, hash tables and lists that grow are replaced whole and the old ones retired through the
 * epoch. A reader pins an epoch and needs no lock. Removed series are skipped by the reader
 * (series_gone) until index_sweep writes shorter lists. */
#ifndef STORAGE_INDEX_H
#define STORAGE_INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/str.h"
#include "model/labels.h"

#define INDEX_NONE UINT32_MAX

/* An ascending list of u32, grown by replacement. */
struct id_array {
    _Atomic uint32_t count;
    uint32_t capacity;
    uint32_t items[];
};
struct id_list {
    _Atomic(struct id_array *) array; /* NULL while empty. */
};
/* A reader's view: valid while its epoch is pinned. */
struct id_view {
    const uint32_t *items;
    uint32_t count;
};
struct id_view id_list_view(const struct id_list *list);

struct name_entry {
    struct str text;
    struct id_list pairs; /* In order of appearance. */
    uint64_t hash;
};
struct pair_entry {
    uint32_t name;
    uint32_t ordinal; /* Position in the name's list of pairs. */
    struct str value;
    struct id_list postings;
    uint64_t hash;
};

struct index;

struct index *index_new(struct epoch *epoch);
void index_free(struct index *index);

/* Writer. The pair's id; made when new. */
uint32_t index_pair_intern(struct index *index, struct str name, struct str value);
void index_add_series(struct index *index, const uint32_t *pairs, size_t count, uint32_t ref);
/* Rewrites every list without the refs for which `gone` says so. */
void index_sweep(struct index *index, bool (*gone)(void *ctx, uint32_t ref), void *ctx);

/* Room for a series with so many labels. */
bool index_has_room(const struct index *index, size_t label_count);

/* Readers. */
uint32_t index_name_count(const struct index *index);
uint32_t index_pair_count(const struct index *index);
const struct name_entry *index_name(const struct index *index, uint32_t name);
const struct pair_entry *index_pair(const struct index *index, uint32_t pair);
uint32_t index_name_find(const struct index *index, struct str name); /* INDEX_NONE */
uint32_t index_pair_find(const struct index *index, uint32_t name,
                         struct str value);      /* INDEX_NONE */
uint64_t index_bytes(const struct index *index); /* Heap bytes; writer only. */

#endif
