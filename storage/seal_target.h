/* seal_target: the part of a slot (or of late samples) that goes into one partition: bundles in a write transaction. Commit
 * lane only.
 *
 *     seal_target_for ... seal_target_labels, bundle_writer_run, seal_target_after_run ... seal_targets_commit
 *     failed: seal_targets_take_back            in the end: seal_targets_clear */
#ifndef STORAGE_SEAL_TARGET_H
#define STORAGE_SEAL_TARGET_H

#include "store.h"

struct seal_target {
    struct partition *partition;
    struct kv_write *write;
    size_t write_bytes;
    uint64_t next_key;
    struct bundle_writer bundle;
    VEC(uint16_t)
    columns; /* By the slot's column: 1 + its number in the bundle; 0: not there yet. */
    VEC(struct bundle_entry) entries; /* Committed or about to be. */
    size_t dir_count;                 /* So many of them are in the file's directory. */
};

struct seal_targets {
    struct storage *storage;
    uint64_t group_key, slot;
    size_t column_count; /* Of the slot. */
    VEC(struct seal_target) items;
    struct buf value; /* Scratch. */
};

void seal_targets_init(struct seal_targets *targets, struct storage *storage, uint64_t group_key,
                       uint64_t slot, size_t column_count);
void seal_targets_deinit(struct seal_targets *targets);
void seal_targets_clear(struct seal_targets *targets);

/* The target of a time; its transaction has begun. */
MUST_CHECK bool seal_target_for(struct seal_targets *targets, int64_t time_ms,
                                struct seal_target **out, struct err *err);
MUST_CHECK bool seal_target_labels(struct seal_targets *targets, struct seal_target *target,
                                   const struct series *series, struct err *err);
/* The number of a column in the target's bundle; `times` are its rows. */
uint16_t seal_target_column(struct seal_target *target, uint32_t number,
                            const struct time_vec *times);
/* Ends the bundle, and the transaction, when they are large enough. */
MUST_CHECK bool seal_target_after_run(struct seal_targets *targets, struct seal_target *target,
                                      struct err *err);
MUST_CHECK bool seal_targets_commit(struct seal_targets *targets, struct err *err);
/* Takes back what a failed try has committed, so that tries do not add up on a disk that is nearly full. Bundles that
 * stay all the same do no harm: equal samples are merged. */
void seal_targets_take_back(struct seal_targets *targets);
/* The slot is in the files: head.mdb says so. A commit that fails may have reached the disk all the same. */
MUST_CHECK bool seal_mark(struct storage *storage, uint64_t group_key, uint64_t slot,
                          uint64_t next_id, uint64_t next_slot, struct err *err);

#endif
