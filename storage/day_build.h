/* day_build: many sealed slots in, one day file out. Build lane; may take minutes; no thread of its own.
 *
 *     inputs (open envs: .open.mdb, .ooo.mdb; a day file to be rebuilt)
 *       -> series of all of them, in series order -> buckets of ordinals (several when large)
 *       -> per series: its samples merged (of equal times the input that comes later wins), tombstones applied
 *       -> times to shared columns, values through codec.h (families in le order) -> chunk bundles
 *       -> index, meta, trailer -> fsync -> rename to <from>-<to>.mdb -> fsync of the directory
 *
 * Stops between two series when `*stop` becomes true (the .tmp is removed); calls `pause` after every 2 ms of work, so
 * that the lane can throttle itself. Damaged bundles, runs and labels of an open input are left out and told in the log; a
 * damaged day file is an error. What it writes passes through file.h / kv.h seams, so tests can break it anywhere. */
#ifndef STORAGE_DAY_BUILD_H
#define STORAGE_DAY_BUILD_H

#include <stdatomic.h>

#include "day_file.h"
#include "index_segment.h"
#include "kv.h"
#include "model/labels.h"

/* Time ranges of a series that are deleted: of samples in slots up to `slot`. */
struct delete_range {
    int64_t from_ms, to_ms;
    uint64_t slot;
};

#define DAY_DELETES_MAX 16384 /* Of one series. */

struct day_input {
    struct kv
        *kv; /* An open partition or overlay (PARTITION_* tables of store.h): its series table and
                      bundles. NULL: `day`. */
    struct index_segment *const *segments; /* Of the open partition: labels of further ids. */
    uint32_t segment_count;
    struct day_file *day; /* A file to be rebuilt. */
};

struct day_build {
    const struct day_input *inputs; /* Oldest first: of equal times the later one wins. */
    size_t input_count;
    int64_t from_ms, to_ms; /* Of the partition; samples outside are left out. */
    int64_t cutoff_ms;      /* Older samples are past retention: left out. */
    const char *dir;        /* <path>/narthex: .tmp, scratch of times and result. */
    uint64_t sequence_last; /* Of tombstones, for day_info. */
    /* Delete ranges of one series (may be NULL): fills at most `max`, returns how many. */
    size_t (*deleted)(void *ctx, const struct label *labels, size_t count, struct delete_range *out,
                      size_t max);
    void *deleted_ctx;
    const atomic_bool *stop;
    void (*pause)(void *ctx, uint64_t bytes_done, uint64_t bytes_all);
    void *pause_ctx;
    size_t memory_bytes; /* Of the inputs that a bucket touches, about; 64 MiB when 0, more when they are over 1 GiB. */
};

/* *out_path (caller frees) is the published file. ERR_CANCELED when stopped; ERR_NOT_FOUND when no sample is left (then
 * nothing is written). */
MUST_CHECK bool day_build_run(const struct day_build *build, char **out_path, struct err *err);

#endif
