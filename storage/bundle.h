/* bundle: one value of an open partition: runs of up to BUNDLE_RUNS_MAX, of the series of one slot (or of late samples).
 *
 *     u32 "NXB1"  u32 CRC32C of all that follows
 *     u64 group key  u64 slot  i64 time min  i64 time max  u32 run count  u32 column count
 *     run     u64 id  u32 offset  u32 len  u16 column  u16 first row  u16 last row  u16 flags     ascending id, then time
 *     column  u32 rows  u32 len                                                     of its bytes below, in order
 *     bytes of the columns (codec-free: zigzag first time, then zigzag changes of the delta), one after the other
 *     payload: run offsets count from here
 *
 * All suspect: bundle_open checks the frame, bundle_read each run. */
#ifndef STORAGE_BUNDLE_H
#define STORAGE_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/vec.h"
#include "samples.h"

#define BUNDLE_MAGIC     UINT32_C(0x3142584e) /* "NXB1" */
#define BUNDLE_HEAD      48
#define BUNDLE_RUN       24
#define BUNDLE_COLUMN    8
#define BUNDLE_RUNS_MAX  256
#define BUNDLE_BYTES_AIM 65536

struct bundle {
    struct str bytes;
    uint64_t group_key, slot;
    int64_t time_min_ms, time_max_ms;
    uint32_t run_count, column_count;
    const uint8_t *runs, *columns, *column_bytes, *payload, *end;
};

struct bundle_run {
    uint64_t id;
    uint32_t offset, len;
    uint16_t column, first_row, last_row, flags;
};

/* Frame only, no checksum: cheap. */
MUST_CHECK bool bundle_open(struct bundle *out, struct str bytes);
bool bundle_verify(struct str bytes); /* The checksum. */
struct bundle_run bundle_run_at(const struct bundle *bundle, uint32_t index);
/* Index of the first run with an id >= `id`. */
uint32_t bundle_find(const struct bundle *bundle, uint64_t id);
/* The times of a column, appended to `times` (a cache of the reader's may keep them). */
struct time_vec {
    int64_t *items;
    size_t count;
    size_t capacity;
};
MUST_CHECK bool bundle_column(const struct bundle *bundle, uint32_t column, struct time_vec *times);
/* Appends the samples of a run; `times` is its column, decoded. */
MUST_CHECK bool bundle_read(const struct bundle *bundle, const struct bundle_run *run,
                            const struct time_vec *times, struct samples *out);

/* Building one. */
struct bundle_writer {
    uint64_t group_key, slot;
    int64_t time_min_ms, time_max_ms;
    VEC(struct bundle_run) runs;
    VEC(uint32_t) column_rows;
    VEC(uint32_t) column_lens;
    struct buf columns, payload;
};
void bundle_writer_init(struct bundle_writer *writer);
void bundle_writer_deinit(struct bundle_writer *writer);
void bundle_writer_begin(struct bundle_writer *writer, uint64_t group_key, uint64_t slot);
uint16_t bundle_writer_column(struct bundle_writer *writer, const int64_t *times_ms, uint32_t rows);
void bundle_writer_run(struct bundle_writer *writer, uint64_t id, uint16_t column,
                       uint32_t first_row, uint32_t last_row, int64_t time_first_ms,
                       int64_t time_last_ms, struct str bytes);
bool bundle_writer_is_full(const struct bundle_writer *writer);
/* The finished value, in *out (cleared first). The writer must have a run. */
void bundle_writer_finish(struct bundle_writer *writer, struct buf *out);

#endif
