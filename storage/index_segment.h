/* index_segment: the labels of series of an open partition that have left memory: <from>-<to>.<n>.idx, a plain file.
 *
 *     u32 "NXIS"  u32 version  u64 number  u64 offset and u64 length of sections 0..7 and of the ids  u32 CRC of all before
 *     sections (disk_index.h), then ids: u64 series id a piece by ordinal, then u32 CRC of the ids; each on a page's bound
 *
 * Not a table of the partition's env, because reading it for as long as the partition lives would hold a transaction open,
 * and LMDB could not use any page again that was freed meanwhile. Written once, mapped read-only; any thread. */
#ifndef STORAGE_INDEX_SEGMENT_H
#define STORAGE_INDEX_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "disk_index.h"
#include "guard.h"

struct index_segment {
    uint64_t number;
    uint64_t bytes;
    struct disk_index *index;
    struct str ids; /* u64 a piece, by ordinal. */
    char *path;
    void *map;
    struct guard_map guard; /* Its mark of damage: to be set aside. */
};

/* Writes the file beside `partition_path` (its .open.mdb), synced and renamed into place. */
MUST_CHECK bool index_segment_write(const char *partition_path, uint64_t number,
                                    struct disk_index_writer *writer, const uint64_t *ids,
                                    size_t count, struct err *err);
char *index_segment_path(const char *partition_path, uint64_t number); /* The caller frees. */
MUST_CHECK bool index_segment_open(struct index_segment **out, const char *path, struct err *err);
/* All of it is as it was written. */
MUST_CHECK bool index_segment_verify(const struct index_segment *segment, struct err *err);
/* After reads of its index: an error that is its fault is noted, and one is made of pages that were not there. Any thread. */
MUST_CHECK bool index_segment_judge(struct index_segment *segment, bool good, struct err *err);
bool index_segment_is_damaged(const struct index_segment *segment);
void index_segment_close(struct index_segment *segment); /* NULL is fine. */
uint64_t index_segment_id(const struct index_segment *segment, uint32_t ordinal); /* 0: no such. */

#endif
