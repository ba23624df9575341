/* disk_index_private: the sections of an on-disk index and the small codecs that its files share.
 *
 *     values    texts of name after name, sorted, front-coded, VALUES_PER_RESTART to a restart
 *     series    groups of GROUP_ROWS series, stored by columns: a column is a label name
 *     groups    where each group begins in `series`
 *     postings  per name, then per value: the groups that have it (not the series: a group is cheap to look into)
 *     restarts  where each run of VALUES_PER_RESTART values begins in `values` and in `postings`
 *     names     fixed entries in byte order of the names, then their texts
 *     hashes    8 bytes a series
 *     head      counts, lengths, checksums of the tables of checksums, its own checksum
 *
 * Each section but the head is data, 8 zero bytes (so that a load of 8 bytes never leaves it) and one CRC32C per
 * CHUNK_BYTES of that. Drawn byte by byte in docs/formats.md. */
#ifndef STORAGE_DISK_INDEX_PRIVATE_H
#define STORAGE_DISK_INDEX_PRIVATE_H

#include <endian.h>
#include <stdatomic.h>

#include "base/vec.h"
#include "disk_index.h"

enum section_kind {
    SECTION_VALUES,
    SECTION_SERIES,
    SECTION_GROUPS,
    SECTION_POSTINGS,
    SECTION_RESTARTS,
    SECTION_NAMES,
    SECTION_HASHES,
    SECTION_HEAD,
    SECTION_COUNT
};
_Static_assert(SECTION_COUNT == DISK_INDEX_SECTIONS, "a section for each place");

#define CHUNK_BYTES        16384u
#define PAD_BYTES          8u
#define SECTION_BYTES_MAX  UINT32_MAX
#define VALUES_PER_RESTART 16u
#define GROUP_ROWS         64u
#define PARTITIONS_MAX     120u

#define HEAD_MAGIC   UINT32_C(0x3158494e) /* "NIX1" */
#define HEAD_VERSION 1u
/* magic, version, series, names, restarts, 7 * (length, crc), crc */
#define HEAD_BYTES (4u * (5 + 2 * (SECTION_COUNT - 1) + 1))

#define NAME_BYTES    20u /* text offset, text length, values, first restart, postings offset */
#define RESTART_BYTES 8u  /* values offset, postings offset */

/* ---- Sections ---- */

struct section {
    const uint8_t *data;
    uint32_t len;           /* Of the data without the pad. */
    const uint8_t *crcs;    /* One per chunk. */
    _Atomic uint64_t *good; /* A bit per chunk that has been checked. */
};

struct disk_index {
    uint32_t series_count, group_count, name_count, restart_count;
    struct section sections[SECTION_HEAD];
    _Atomic uint64_t *good; /* Owned: bits of all sections. */
    uint64_t heap_bytes;
};

static inline uint32_t load_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static inline uint64_t load_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

/* Bits [bit, bit + width) from `at`; width <= 32; up to 8 bytes from there are read, which the pad allows. */
static inline uint32_t load_bits(const uint8_t *at, uint32_t bit, unsigned width)
{
    return (uint32_t)(load_u64(at + bit / 8) >> (bit & 7) & ((UINT64_C(1) << width) - 1));
}

static inline unsigned bits_of(uint64_t value)
{
    return value ? 64u - (unsigned)__builtin_clzll(value) : 0;
}

/* Checks the chunks that hold [from, to) unless that was done before. */
bool section_check_slow(const struct section *section, uint64_t from, uint64_t to, struct err *err);
static inline bool section_check(const struct section *section, uint64_t from, uint64_t to,
                                 struct err *err)
{
    uint64_t chunk = from / CHUNK_BYTES;
    if (LIKELY(from < to && to <= section->len && (to - 1) / CHUNK_BYTES == chunk &&
               (atomic_load_explicit(&section->good[chunk / 64], memory_order_acquire) >>
                    (chunk % 64) &
                1)))
        return true;
    return section_check_slow(section, from, to, err);
}

/* Adds pad and checksums to the data in `buf`, as a section is stored. False when it is too long. */
bool section_seal(struct buf *buf, uint32_t *data_len, uint32_t *crc);

/* ---- Groups (disk_index_group.c) ---- */

/* Which of a column's distinct entries a row has. Columns that change together share one. */
struct partition {
    enum partition_kind { PARTITION_ONE, PARTITION_ALL, PARTITION_RUNS, PARTITION_INDEX } kind;
    uint32_t count;
    uint64_t starts;       /* RUNS: bit i: row i starts a new entry. */
    const uint8_t *packed; /* INDEX: an entry number per row. */
    unsigned width;
};

struct column {
    uint32_t name;
    bool has_absent;       /* Entry value 0: the row has no such label. */
    uint32_t base;         /* Of the ranks. */
    unsigned width;        /* Of each entry. */
    const uint8_t *packed; /* partition.count entries. */
    struct partition partition;
};

#define RANK_ABSENT UINT32_MAX

struct group_walk {
    const uint8_t *at, *end;
    uint32_t rows;
    uint32_t columns_left;
    uint32_t name; /* 1 + that of the last column. */
    uint32_t partition_count;
    struct partition partitions[PARTITIONS_MAX];
    bool bad;
};

void group_walk_start(struct group_walk *walk, const uint8_t *at, const uint8_t *end,
                      uint32_t rows);
bool group_walk_next(struct group_walk *walk, struct column *column); /* False: the end, or bad. */

/* The entry number of a row. */
static inline uint32_t partition_entry(const struct partition *partition, uint32_t row)
{
    uint32_t entry;
    switch (partition->kind) {
    case PARTITION_ONE:
        return 0;
    case PARTITION_ALL:
        return row;
    case PARTITION_RUNS:
        return (uint32_t)__builtin_popcountll(partition->starts & (UINT64_MAX >> (63 - row))) - 1;
    case PARTITION_INDEX:
        entry = load_bits(partition->packed, row * partition->width, partition->width);
        return entry < partition->count ? entry : partition->count - 1;
    }
    UNREACHABLE();
}

/* The rank of the value in an entry, or RANK_ABSENT. */
static inline uint32_t column_rank(const struct column *column, uint32_t entry)
{
    uint32_t value = load_bits(column->packed, entry * column->width, column->width);
    if (!column->has_absent)
        return column->base + value;
    return value == 0 ? RANK_ABSENT : column->base + value - 1;
}

/* Rows of the entries whose bits are set. */
uint64_t partition_rows(const struct partition *partition, uint64_t entries, uint32_t rows);

static inline uint64_t rows_mask(uint32_t rows)
{
    return rows == GROUP_ROWS ? UINT64_MAX : (UINT64_C(1) << rows) - 1;
}

/* What a group is made from. */
struct group_column {
    uint32_t name;
    uint32_t values[GROUP_ROWS]; /* 1 + rank; 0: absent. Not all are absent. */
};
/* Columns ascending by name. */
void group_write(struct buf *out, const struct group_column *const *columns, uint32_t count,
                 uint32_t rows);

/* ---- Lists of groups (disk_index_postings.c) ---- */

/* Ascending, unique, not empty. */
void list_write(struct buf *out, const uint32_t *items, uint32_t count);

struct list_reader {
    const uint8_t *at, *end;
    bool bad;
};
void list_skip(struct list_reader *in);
/* Sets the bits of its items; those at or over `bound` are bad. */
void list_read(struct list_reader *in, uint64_t *bitmap, uint32_t bound);
/* True when the list at the reader is one run, which is then told; the reader stays. */
bool list_is_run(const struct list_reader *in, uint32_t *first, uint32_t *last);

/* ---- Names and values (disk_index.c) ---- */

struct name_view {
    uint32_t number;
    struct str text;
    uint32_t value_count;
    uint32_t restart; /* First one. */
    uint32_t postings_at;
};
bool name_read(const struct disk_index *index, uint32_t number, struct name_view *out,
               struct err *err);
bool name_find(const struct disk_index *index, struct str text, bool *found, struct name_view *out,
               struct err *err);

/* A value in pieces: piece i holds the bytes from prefixes[i] on, up to where the next takes over. */
struct value_view {
    uint32_t len, piece_count;
    uint32_t prefixes[VALUES_PER_RESTART];
    const char *pieces[VALUES_PER_RESTART];
};
bool value_read(const struct disk_index *index, const struct name_view *name, uint32_t rank,
                struct value_view *out, struct err *err);
void value_fill(const struct value_view *value, char *out);
/* The first rank whose value is not below `text`, and whether it is equal to it. */
bool value_find(const struct disk_index *index, const struct name_view *name, struct str text,
                uint32_t *rank, bool *equal, struct err *err);

/* Walks the values of a name in order. */
struct value_scan {
    const struct disk_index *index;
    const struct name_view *name;
    uint32_t rank, end; /* Of the next one. */
    const uint8_t *at, *limit;
    struct buf text; /* Of the last one. */
    bool bad;
};
void value_scan_init(struct value_scan *scan, const struct disk_index *index,
                     const struct name_view *name, uint32_t from, uint32_t to);
void value_scan_deinit(struct value_scan *scan);
bool value_scan_next(struct value_scan *scan, struct err *err); /* False: the end, or bad. */

/* Offsets of a restart. */
bool restart_read(const struct disk_index *index, uint32_t restart, uint32_t *values_at,
                  uint32_t *postings_at, struct err *err);
/* Begins a walk over a group's columns. */
bool group_read(const struct disk_index *index, uint32_t group, struct group_walk *walk,
                struct err *err);
static inline uint32_t group_rows(const struct disk_index *index, uint32_t group)
{
    uint32_t first = group * GROUP_ROWS;
    return index->series_count - first < GROUP_ROWS ? index->series_count - first : GROUP_ROWS;
}
bool index_corrupt(struct err *err, const char *what); /* False. */

#endif
