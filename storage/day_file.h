/* day_file: one published partition, <from>-<to>.mdb: immutable, mapped, opened without locks.
 *
 *     day_build writes .tmp -> fsync -> rename     day_file_open ... readers ... day_file_unref (last: unmapped)
 *
 * Tables (LMDB, keys u64): meta, index sections, time columns, chunk packs. A trailer behind the last page holds version,
 * length and CRC32C over all tree pages; day_file_open checks it by pread before LMDB sees the file, because a damaged
 * tree page can crash LMDB. Values (columns, packs, index blocks) carry CRCs of their own, checked when used. Reads go
 * through guard.h: a page that cannot be read (SIGBUS, SIGSEGV in the map) ends the read with ERR_CORRUPT and marks
 * the file as damaged. Bytes: day_file_format.h.
 *
 * Immutable after open, any number of threads; each reader has its own struct day_reader. */
#ifndef STORAGE_DAY_FILE_H
#define STORAGE_DAY_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "disk_index.h"
#include "samples.h"

struct day_file;

struct day_info {
    int64_t from_ms, to_ms;           /* Of the partition. */
    int64_t time_min_ms, time_max_ms; /* Of its samples. */
    uint32_t series_count;
    uint64_t sample_count;
    /* Newest slot number that it covers: a start drops an .open.mdb that it covers wholly. */
    uint64_t slot_last;
    uint64_t sequence_last; /* Tombstones up to this one have been applied. */
    uint64_t bytes, index_bytes, column_bytes, chunk_bytes;
};

MUST_CHECK bool day_file_open(struct day_file **out, const char *path, struct err *err);
struct day_file *day_file_ref(struct day_file *day);
/* No mapped page of it is needed now. Any thread; readers get them again when they touch them. */
void day_file_let_go_all(struct day_file *day);
void day_file_unref(struct day_file *day); /* NULL is fine. Any thread. */
const char *day_file_path(const struct day_file *day);
const struct day_info *day_file_info(const struct day_file *day);
/* After reads of its index that day_file_guard did not run: as index_segment_judge. */
MUST_CHECK bool day_file_judge(struct day_file *day, bool good, struct err *err);
bool day_file_is_damaged(const struct day_file *day); /* A read has failed: to be quarantined. */
/* Where a page of it cannot be read the index sees zeroes and tells of damage; day_file_guard ends the read at once. */
const struct disk_index *day_file_index(const struct day_file *day);
/* Runs fn under the file's guard: ERR_CORRUPT when a page cannot be read, else what fn returns. What fn allocates
 * is to be reachable from ctx, because a fault leaves fn by a jump. */
typedef bool (*day_file_fn)(void *ctx, struct err *err);
MUST_CHECK bool day_file_guard(struct day_file *day, day_file_fn fn, void *ctx, struct err *err);
/* Reads every pack and column: checksums, order and counts. `stop` (NULL is fine): ERR_CANCELED. */
MUST_CHECK bool day_file_verify(struct day_file *day, const atomic_bool *stop, struct err *err);

/* Reads the samples of series; keeps the last decoded time columns and the family's column before. */
struct day_reader;
struct day_reader *day_reader_new(struct day_file *day); /* Takes a reference. */
void day_reader_free(struct day_reader *reader);
/* Appends the samples of a series in [from, to], ascending. Ascending ordinals are fastest. */
MUST_CHECK bool day_reader_read(struct day_reader *reader, uint32_t ordinal, int64_t from_ms,
                                int64_t to_ms, struct samples *out, struct err *err);
/* The same without copying, for a series that is one piece of floats: *out is valid until the reader's next call.
 * *viewed = false: it is not, use day_reader_read. */
struct day_view {
    const int64_t *time_ms;
    const double *value;
    size_t count;
};
MUST_CHECK bool day_reader_view(struct day_reader *reader, uint32_t ordinal, int64_t from_ms,
                                int64_t to_ms, struct day_view *out, bool *viewed, struct err *err);

#endif
