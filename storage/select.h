/* select: what a selection is, for the files that make and read it: match.c (matchers to series in memory), select.c (the
 * snapshot), cursor.c (samples), label_values.c (names and values). Any thread, under a pinned epoch.
 *
 *     selected (a label set) ---> sources: memory (runs), open file (series id), day file (ordinal) ... */
#ifndef STORAGE_SELECT_H
#define STORAGE_SELECT_H

#include "store.h"

/* One run with as much of it as the snapshot shows. */
struct head_run {
    const struct run *run;
    uint32_t len, last_row;
    int64_t time_min_ms, time_max_ms;
    bool last_known; /* The value of its last row: a float's bits. */
    uint64_t last_bits;
};

#define SOURCE_NONE   UINT32_MAX
#define SOURCE_MEMORY UINT32_MAX       /* As a file. */
#define SOURCE_LATE   (UINT32_MAX - 1) /* Late samples: key and run_count in selection->lates. */

/* A late sample of a series. */
struct selected_late {
    const struct late_sample *sample;
    uint32_t ref;
    uint32_t order; /* Of coming. */
    uint64_t slot;
};

/* What a tombstone takes from a label set. */
struct selected_delete {
    int64_t from_ms, to_ms;
    uint64_t sequence, slot;
};

/* Where a label set's samples are. */
struct source {
    uint32_t next; /* Of the same label set; SOURCE_NONE. */
    uint32_t file; /* Position in selection->files, or SOURCE_MEMORY. */
    uint64_t
        key; /* Series id in an open file, ordinal in a day; in memory the first of its runs. */
    uint32_t run_count; /* In memory: selection->runs, newest first. */
};

struct selected {
    struct labels *labels;
    const uint8_t *pairs;  /* Of the same labels, in memory (series_set); NULL: they are on disk. */
    uint32_t source_first; /* In selection->sources. */
    uint32_t delete_first, delete_count; /* In selection->deletes. */
    bool is_mixed; /* Not all samples are of one series in memory, or they came out of order. */
};

/* A file of the disk that the time range touches. */
struct selected_file {
    struct store_file file;
    struct bundle_dir *dir;             /* Of an open one. */
    VEC(struct bundle_entry *) bundles; /* Those that touch the time range, by their lowest id. */
    uint64_t *highest;                  /* A tree over them (select_bundles.c); NULL: none. */
    size_t leaves;
};

struct selection {
    struct storage *storage; /* Borrowed: outlives every selection. */
    uint32_t pin;
    int64_t from_ms, to_ms;
    VEC(struct selected) series; /* By labels. */
    VEC(struct source) sources;
    VEC(struct head_run) runs;
    VEC(struct selected_late) lates; /* By ref, then time. */
    VEC(struct selected_file) files;
    uint64_t bytes; /* Of the label sets, about. */
    VEC(struct selected_delete) deletes;
    bool is_moving; /* Slots were sealed meanwhile: files may have what is newer. */
};

/* Refs of the series in memory that match all, ascending, each once; added to *out. */
void match_refs(struct storage *storage, const struct matcher *matchers, size_t count,
                struct ref_vec *out);
/* Those of the candidates that match, in their order. */
void match_among(struct storage *storage, const struct matcher *matchers, size_t count,
                 const struct ref_vec *candidates, struct ref_vec *out);

/* select_head.c: refs of the series in memory that match, ascending, and of each its runs as a source (run_count 0: none);
 * fills selection->runs and lates. The caller frees the array. */
struct source *select_head(struct selection *selection, const struct matcher *matchers,
                           size_t matcher_count, struct ref_vec *refs);

/* The files that touch the range, as the list is now. */
void select_files(struct selection *selection);
void select_files_free(struct selection *selection);

/* select_deleted.c: the deletes of each label set; those of which all is deleted are taken out. `reads` by file. */
void select_deleted(struct selection *selection, const struct tombstone_list *list,
                    struct kv_read **reads);
bool selected_delete_takes_slot(const struct selected_delete *deleted, uint64_t slot);
bool selected_delete_takes_day(const struct selected_delete *deleted, const struct day_info *info);

/* select_bundles.c: the bundles of an open file that touch the range. */
void select_bundles(const struct selection *selection, struct selected_file *selected);
void select_bundles_free(struct selected_file *selected);
/* The position, `from` or later, of the next bundle whose bounds the id is within; the count of the bundles when there is
 * none. */
size_t selected_bundle_next(const struct selected_file *selected, size_t from, uint64_t id);

/* A bundle whose frame was looked at: neighbours in a selection are mostly neighbours in bundles. */
struct opened_bundle {
    const struct bundle_entry *entry;
    struct bundle bundle;
    uint32_t next_run; /* After the last that was taken: of the next series, often. */
};

/* Two places for each bundle, within bounds, found by the entry's address; of one owner and its read transactions. A day of
 * a target is 48 bundles or more, which all its series share: they are opened once. */
struct opened_bundles {
    struct opened_bundle *places; /* NULL: none was asked for yet. */
    size_t count;                 /* A power of 2. */
};

/* The bundle's place, which may be another's. */
struct opened_bundle *opened_place(struct opened_bundles *opened, const struct selection *selection,
                                   const struct bundle_entry *entry);
/* The first run of the id in the opened bundle, or its run_count. */
uint32_t opened_find(const struct opened_bundle *opened, uint64_t id);

#endif
