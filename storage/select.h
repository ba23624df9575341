/* select: what a selection is, for the files that make and read it: match.c (matchers to refs), select.c (the snapshot),
 * cursor.c (samples), label_values.c (names and values). Any thread, under a pinned epoch. */
#ifndef STORAGE_SELECT_H
#define STORAGE_SELECT_H

#include "store.h"

/* One head chunk with as many samples as the snapshot shows. */
struct head_run {
    const struct chunk *chunk;
    uint32_t count;
    int64_t time_min_ms, time_max_ms;
};

struct selected {
    struct labels *labels;
    uint64_t id;
    uint32_t run_first, run_count; /* In selection->runs, newest first. */
};

struct selected_partition {
    struct partition *partition;
    struct bundle_dir *dir;
    /* The bundles that touch the time range, by their lowest id; no bundle spans more ids than id_span_max. */
    VEC(struct bundle_entry *) bundles;
    uint64_t id_span_max;
};

struct selection {
    struct storage *storage; /* Borrowed: outlives every selection. */
    uint32_t pin;
    int64_t from_ms, to_ms;
    VEC(struct selected) series;
    VEC(struct head_run) runs;
    VEC(struct selected_partition) partitions;
    bool has_twins;
    VEC(uint32_t) firsts; /* When there are twins: the first entry of each label set. */
};

/* Refs of series, in the arrays' order. Freed with VEC_FREE. */
struct ref_vec {
    uint32_t *items;
    size_t count;
    size_t capacity;
};

/* Refs of the series that match all, ascending, within the time range as far as the series' bounds tell; added to *out. */
void match_refs(struct storage *storage, const struct matcher *matchers, size_t count,
                int64_t from_ms, int64_t to_ms, struct ref_vec *out);
int ref_compare(const void *a, const void *b); /* For qsort. */
void refs_unique(struct ref_vec *refs);        /* Sorts, too. */

/* The entries [*first, *last) of one label set. */
void selection_label_set(const struct selection *selection, size_t index, size_t *first,
                         size_t *last);

#endif
