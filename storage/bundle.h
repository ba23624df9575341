/* bundle: one value of an open partition: runs of up to BUNDLE_RUNS_MAX, of the series of one slot (or of late samples).
 *
 *     u32 "NXB2"  u32 CRC32C of all that follows
 *     u64 group key  u64 slot  i64 time min  i64 time max  u32 run count  u32 column count
 *     u64 lowest id  u8 bytes of an id (0, 1, 2, 4, 8)  u8 of an end (2, 4)  u8 of a column's number (0, 1, 2)  5 zeroes
 *     ids      id - lowest id, ascending, then by time; of 0 bytes: each is one above the one before
 *     ends     where each run ends in the payload
 *     numbers  the run's column; of 0 bytes: all are of column 0
 *     column   u32 rows  u32 len                of its bytes below, in order
 *     bytes of the columns (codec times), one after the other
 *     payload, a run after the other:
 *         u8 head     1 values (else a stream)  2 all rows of the column  4 holes  distance << 3
 *         [varint first row  varint last row - first row]                                       without all rows
 *         [varint holes - 1  (varint rows before it - 1  varint rows of it - 1)*]               rows without a sample
 *         codec chunk, which may be coded against the values of the run `distance` (1..3) before; or a stream
 *
 * "NXB1", which files of the same version may have as well: a table of u64 id, u32 offset, u32 len, u16 column, u16 first row,
 * u16 last row, u16 0 a run, columns as zigzag first time and zigzag changes of the delta, streams only.
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

#define BUNDLE_MAGIC_1      UINT32_C(0x3142584e) /* "NXB1" */
#define BUNDLE_MAGIC        UINT32_C(0x3242584e) /* "NXB2" */
#define BUNDLE_HEAD_1       48
#define BUNDLE_HEAD         64
#define BUNDLE_RUN_1        24
#define BUNDLE_COLUMN       8
#define BUNDLE_RUNS_MAX     1024
#define BUNDLE_BYTES_AIM    65536
#define BUNDLE_DISTANCE_MAX 3
#define BUNDLE_CHAIN_MAX    8 /* Runs that have to be decoded for one, with itself. */

struct bundle {
    struct str bytes;
    uint64_t group_key, slot;
    int64_t time_min_ms, time_max_ms;
    uint32_t run_count, column_count;
    bool is_old; /* NXB1. */
    uint8_t id_bytes, end_bytes, number_bytes;
    uint64_t id_min;
    const uint8_t *ids, *ends, *numbers; /* NXB1: ids is its table. */
    const uint8_t *columns, *column_bytes, *payload, *end;
};

enum { BUNDLE_VALUES = 1, BUNDLE_ALL_ROWS = 2, BUNDLE_HOLES = 4, BUNDLE_DISTANCE_SHIFT = 3 };

struct bundle_run {
    uint64_t id;
    uint32_t index;       /* In the bundle. */
    uint32_t offset, len; /* In the payload, what follows the rows. */
    uint16_t column, first_row, last_row;
    uint8_t flags; /* BUNDLE_VALUES ... */
};

/* Frame only, no checksum: cheap. */
MUST_CHECK bool bundle_open(struct bundle *out, struct str bytes);
bool bundle_verify(struct str bytes); /* The checksum. */
/* Heads, without decoding. Ids alone are cheapest: they stand side by side. */
uint64_t bundle_id_at(const struct bundle *bundle, uint32_t index);
/* A damaged one has first_row > last_row, and cannot be read. */
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

/* A run's integers, for the runs that are coded against it. */
struct bundle_kept {
    const char *bytes; /* Of the bundle; NULL: nothing is kept. */
    uint32_t index, count, capacity;
    uint8_t exponent;
    int64_t *integers;
};
#define BUNDLE_KEPT 64 /* Places, by the address of the bundle's bytes. */

/* A reader's room for what runs are coded against; {0}, and made when first needed. It remembers the run that was read last,
 * and of some bundles the one that the next ones need, by the bundle's bytes: these stay where they are while it is used. */
struct codec_column;
struct bundle_reader {
    struct codec_column *columns[2];
    const char *bytes;
    uint32_t index;           /* Of the run in columns[0]. */
    struct bundle_kept *kept; /* [BUNDLE_KEPT] */
};
void bundle_reader_forget(struct bundle_reader *reader); /* Other bytes may stand there now. */
void bundle_reader_deinit(struct bundle_reader *reader);
/* Appends the samples of a run; `times` is its column, decoded. */
MUST_CHECK bool bundle_read(const struct bundle *bundle, const struct bundle_run *run,
                            const struct time_vec *times, struct bundle_reader *reader,
                            struct samples *out);

/* Building one (bundle_write.c): runs come as streams and are coded at once; what does not gain stays as it is. */
struct bundle_encoder; /* Its working memory, large: several writers of a thread may share one. */
struct bundle_encoder *bundle_encoder_new(void);
void bundle_encoder_free(struct bundle_encoder *encoder);
struct bundle_row {
    uint64_t id;
    uint32_t end;
    uint16_t column;
};
struct bundle_writer {
    uint64_t group_key, slot;
    int64_t time_min_ms, time_max_ms;
    VEC(struct bundle_row) runs;
    VEC(uint32_t) column_rows;
    VEC(uint32_t) column_lens;
    struct buf columns, payload;
    struct bundle_encoder *shared;  /* Borrowed; may be set before the first column. */
    struct bundle_encoder *encoder; /* Its own when none is shared; NULL: not needed yet. */
};
void bundle_writer_init(struct bundle_writer *writer);
void bundle_writer_deinit(struct bundle_writer *writer);
void bundle_writer_begin(struct bundle_writer *writer, uint64_t group_key, uint64_t slot);
uint16_t bundle_writer_column(struct bundle_writer *writer, const int64_t *times_ms, uint32_t rows);
/* `bytes` is a stream of just these rows of the column: the caller's own, not suspect. */
void bundle_writer_run(struct bundle_writer *writer, uint64_t id, uint16_t column,
                       uint32_t first_row, uint32_t last_row, int64_t time_first_ms,
                       int64_t time_last_ms, struct str bytes);
bool bundle_writer_is_full(const struct bundle_writer *writer);
/* The finished value, in *out (cleared first). The writer must have a run. */
void bundle_writer_finish(struct bundle_writer *writer, struct buf *out);

#endif
