/* seal_target: the part of a slot (or of late samples) that goes into one partition: bundles in a write transaction. Commit
 * lane only.
 *
 *     seal_target_for ... seal_target_labels, bundle_writer_run, seal_target_after_run ... seal_targets_finish
 *     several of them, then seal_writes_commit, or seal_writes_abort and seal_targets_take_back
 *     in the end: seal_targets_clear
 *
 * Slots that are due at about the same time share their transactions: a commit writes some ten pages of trees anew. */
#ifndef STORAGE_SEAL_TARGET_H
#define STORAGE_SEAL_TARGET_H

#include "store.h"

/* A transaction of a partition. */
struct seal_write {
    struct partition *partition;
    struct kv_write *write;
    size_t bytes; /* By weight: labels count for more. */
};
struct seal_writes {
    VEC(struct seal_write) items;
    struct bundle_encoder *encoder; /* Of all bundles; made when first needed. */
};

struct seal_target {
    struct partition *partition;
    struct kv_write *write; /* Borrowed: of seal_writes. NULL after seal_targets_finish. */
    uint64_t next_key;
    struct bundle_writer bundle;
    VEC(uint16_t)
    columns; /* By the slot's column: 1 + its number in the bundle; 0: not there yet. */
    VEC(struct bundle_entry) entries; /* Committed or about to be. */
    size_t dir_count;                 /* So many of them are in the file's directory. */
};

struct seal_targets {
    struct storage *storage;
    struct seal_writes *writes; /* Borrowed; set before seal_target_for. */
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
/* All of the slot is in the transactions. */
MUST_CHECK bool seal_targets_finish(struct seal_targets *targets, struct err *err);
/* The transactions end in any case. */
MUST_CHECK bool seal_writes_commit(struct seal_writes *writes, struct err *err);
/* Time to commit, between two slots. */
bool seal_writes_are_full(const struct seal_writes *writes);
void seal_writes_abort(struct seal_writes *writes);
/* Takes back what a failed try has committed, so that tries do not add up on a disk that is nearly full. Bundles that
 * stay all the same do no harm: equal samples are merged. No transaction may be open. */
void seal_targets_take_back(struct seal_targets *targets);

/* A value of head.mdb's `sealed`: u64 slot, u32 CRC of group key and slot; earlier builds wrote none. A wrong number would
 * have the start skip rows that are in no file. */
#define SEALED_BYTES 12
void sealed_encode(uint64_t group_key, uint64_t slot, char out[SEALED_BYTES]);
bool sealed_decode(uint64_t group_key, struct str value, uint64_t *slot);

/* The slots are in the files: head.mdb says so. A commit that fails may have reached the disk all the same. */
struct seal_mark {
    uint64_t group_key, slot;
};
MUST_CHECK bool seal_mark(struct storage *storage, const struct seal_mark *marks, size_t count,
                          uint64_t next_id, uint64_t next_slot, struct err *err);

#endif
