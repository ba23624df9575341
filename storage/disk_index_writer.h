/* disk_index_writer: what the two files of the writer share. Private to them. */
#ifndef STORAGE_DISK_INDEX_WRITER_H
#define STORAGE_DISK_INDEX_WRITER_H

#include "base/map.h"
#include "disk_index_private.h"

struct text {
    const char *ptr;
    uint32_t len;
};

struct name {
    struct text text;
    VEC(struct text) values; /* By temporary number. */
    struct map map;          /* Text -> temporary number. */
    uint32_t last;           /* The value that came last. */
    uint32_t column;         /* In the group that is being filled, or NUMBER_NONE. */
    uint32_t final;          /* Its number in the file. */
    uint32_t *ranks;         /* Of the temporary numbers, once sorted. */
    uint32_t value_count;
    uint32_t restart;     /* First one. */
    uint32_t postings_at; /* In its section. */
    uint64_t entry_count; /* Groups times distinct values in them, at most. */
};

struct restart {
    uint32_t values_at, postings_at;
};

struct disk_index_writer {
    struct arena arena; /* Texts of values; freed once they are written. */
    struct arena name_arena;
    char *text_at;
    size_t text_left;
    VEC(struct name) names;
    struct map name_map;
    VEC(struct label) last; /* The labels of the series before. */
    VEC(uint32_t) last_names;
    /* The group that is being filled; columns are reused from group to group. */
    VEC(struct group_column *) columns;
    VEC(const struct group_column *) sorted;
    size_t column_count;
    uint32_t rows;
    struct buf groups; /* All before it, by temporary numbers. */
    VEC(uint32_t) group_lens;
    struct buf hashes;
    uint32_t series_count;
    /* Of the result. */
    VEC(struct restart) restarts;
    VEC(uint32_t) order; /* Names in byte order. */
    uint32_t lens[SECTION_HEAD], crcs[SECTION_HEAD];
};

static inline struct name *writer_name(const struct disk_index_writer *writer, uint32_t final)
{
    return &writer->names.items[writer->order.items[final]];
}

/* The lists of all names and values, over the final groups; fills the offsets of names and restarts, too. */
void writer_lists(struct disk_index_writer *writer, const struct buf *series,
                  const struct buf *starts, struct buf *out);

#endif
