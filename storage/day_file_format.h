/* day_file_format: the bytes of a day file, for the files that read and write it. Private to day_file*.c and day_build*.c.
 *
 *     pages of LMDB (tables meta, index, columns, chunks)  trailer
 *
 *     pack     u32 magic  u32 CRC32C of all that follows  u32 number of the first entry  u32 entries
 *              u32 offset, from the pack's begin, of every 32nd entry
 *              entries: varint length, bytes
 *     column   (entry of a "NXT1" pack)  varint rows, codec_times bytes
 *     series   (entry of a "NXC1" pack)  chunks, ascending in time, each:
 *              u8 head     bits 0-1 kind: 0 values, 1 reference, 2 histograms; bit 2: another chunk follows
 *                          bit 3: all rows of the column
 *              varint column  [varint ranges - 1, (varint rows skipped, varint rows)*]
 *              [varint distance]    reference: the values are those of the same chunk of ordinal - distance
 *              [varint length]      when another chunk follows
 *              bytes               of codec_encode; of histograms: see day_file_histogram.c
 *     trailer  runs of tree pages: (varint pages skipped, varint pages)*
 *              u64 "NXDAYEND"  u32 version  u32 page bytes  u64 pages  u32 length of the runs  u32 CRC32C of all tree
 *              pages  u32 CRC32C of the trailer before this
 *
 * The key of a pack is the number of its first entry (an ordinal, a column), so the tree is the directory. */
#ifndef STORAGE_DAY_FILE_FORMAT_H
#define STORAGE_DAY_FILE_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/str.h"
#include "codec.h"
#include "samples.h"

#define DAY_VERSION      2
#define DAY_COLUMN_MAGIC UINT32_C(0x3154584e) /* "NXT1" */
#define DAY_CHUNK_MAGIC  UINT32_C(0x3143584e) /* "NXC1" */
#define DAY_PACK_HEAD    16
#define DAY_PACK_GROUP   32
#define DAY_RANGES_MAX   16
#define DAY_FAMILY_RESTART                                                                         \
    16 /* A chain of columns, each coded against the one before, has at most so many. */
#define DAY_FAMILY_CHUNKS                                                                          \
    16 /* Of a series only so many first chunks may be coded against another series'. */

enum { DAY_META, DAY_INDEX, DAY_COLUMNS, DAY_CHUNKS, DAY_TABLES };
extern const char *const DAY_TABLE_NAMES[DAY_TABLES];
#define DAY_META_INFO 1

enum day_chunk_kind { DAY_VALUES, DAY_REFERENCE, DAY_HISTOGRAMS };
enum { DAY_KIND_MASK = 3, DAY_MORE = 4, DAY_WHOLE = 8 };

/* A pack of entries in a value; borrowed. */
struct day_pack {
    struct str bytes;
    uint32_t first, count;
};

/* Checks the frame and the checksum. */
MUST_CHECK bool day_pack_open(struct day_pack *out, struct str bytes, uint32_t magic);
static inline bool day_pack_has(const struct day_pack *pack, uint32_t number)
{
    return number >= pack->first && number - pack->first < pack->count;
}
MUST_CHECK bool day_pack_entry(const struct day_pack *pack, uint32_t number, struct str *out);

/* The rows of a column that a chunk's samples have. */
struct day_range {
    uint32_t first, rows;
};
struct day_times {
    uint32_t column;
    bool
        whole; /* Then the ranges are not filled when read: the column knows how many rows it has. */
    uint32_t range_count;
    struct day_range ranges[DAY_RANGES_MAX];
};
uint32_t day_times_rows(const struct day_times *times); /* Not of a whole one. */
bool day_times_equal(const struct day_times *a, const struct day_times *b);

struct day_chunk {
    enum day_chunk_kind kind;
    uint32_t distance; /* Of a reference. */
    struct day_times times;
    struct str bytes;
};

/* Reads the next chunk of an entry; *more: another one follows. */
MUST_CHECK bool day_chunk_read(struct reader *in, struct day_chunk *out, bool *more);
void day_chunk_write(struct buf *out, const struct day_chunk *chunk, bool more);

/* Native histograms and floats mixed, `rows` of them from samples at `first`, as far as about bytes_max go (at least
 * one); returns how many. */
uint32_t day_histograms_write(const struct samples *samples, size_t first, uint32_t rows,
                              size_t bytes_max, struct buf *out);
/* Appends those of `rows` rows whose time is in [from, to]; times_ms are all rows' times. */
MUST_CHECK bool day_histograms_read(struct str bytes, const int64_t *times_ms, uint32_t rows,
                                    int64_t from_ms, int64_t to_ms, struct samples *out);

struct day_trailer {
    uint64_t pages;
    uint32_t page_bytes;
};

/* Appends the trailer behind the pages of a file that LMDB has closed; makes it durable. */
MUST_CHECK bool day_trailer_append(const char *path, struct err *err);
/* Reads the trailer and all that it vouches for, without a map. */
MUST_CHECK bool day_trailer_check(const char *path, struct day_trailer *out, uint64_t *file_len,
                                  struct err *err);

#endif
