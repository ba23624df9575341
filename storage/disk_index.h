/* disk_index: the label sets of one file: written once in series order, read in place from the map.
 *
 *     writer: add, add ... (ascending in series_order) -> finish: sections of bytes, which the file stores as values
 *     reader: over those sections: matchers -> ordinals; ordinal -> labels; names and values
 *
 * Ordinals are 0..count-1 in series order, so a metric is one range of them. Sections (bytes in docs/formats.md): names,
 * their values (sorted, front-coded), series by columns in groups of 64, postings from a pair to the groups that have it
 * (run, Rice-coded steps or bitmap), a 64-bit label hash per ordinal. Every byte of a section is suspect: chunks
 * carry CRC32C, checked at their first use; a wrong one is ERR_CORRUPT, never a crash or unbounded work.
 *
 * Reader: immutable after open, any number of threads. The sections' memory is borrowed and must outlive it. */
#ifndef STORAGE_DISK_INDEX_H
#define STORAGE_DISK_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "model/labels.h"
#include "model/matcher.h"

/* The order of series in files: metric name, then the labels without `le`, then `le` as a number (a text that is none
 * sorts after numbers, as text), so that a histogram's buckets are neighbours. Equal only for equal label sets. */
int series_order(const struct label *a, size_t a_count, const struct label *b, size_t b_count);

#define DISK_INDEX_SECTIONS 8 /* None is ever empty. */

struct disk_index_writer;
struct disk_index_writer *disk_index_writer_new(void);
void disk_index_writer_free(struct disk_index_writer *writer);
/* Labels sorted by name, unique, not empty; strictly ascending in series_order. The next ordinal. */
void disk_index_writer_add(struct disk_index_writer *writer, const struct label *labels,
                           size_t count);
/* Hands out each section once, in order; memory of the order of the index itself. Nothing may be added after. Fails when
 * fn does, or with ERR_LIMIT when a section would be larger than 4 GiB. */
typedef bool (*disk_index_section_fn)(void *ctx, unsigned section, struct str bytes,
                                      struct err *err);
MUST_CHECK bool disk_index_writer_finish(struct disk_index_writer *writer, disk_index_section_fn fn,
                                         void *ctx, struct err *err);

struct disk_index;
/* All checksums at once, which are else looked at when a chunk is first read. */
MUST_CHECK bool disk_index_verify(const struct disk_index *index, struct err *err);
MUST_CHECK bool disk_index_open(struct disk_index **out,
                                const struct str sections[DISK_INDEX_SECTIONS], struct err *err);
void disk_index_close(struct disk_index *index);
uint32_t disk_index_count(const struct disk_index *index);
uint64_t disk_index_heap_bytes(const struct disk_index *index); /* Small: a few bytes a block. */

/* An ascending list of ordinals. Freed with VEC_FREE. */
struct ordinal_vec {
    uint32_t *items;
    size_t count;
    size_t capacity;
};

/* Appends the series that match all of them (none: all series), ascending. Literal prefixes, suffixes and alternations of regexes are
 * used before RE2 sees a value, and RE2 only sees distinct values. Prometheus' meaning: a matcher that matches the
 * empty text also matches series without the label. */
MUST_CHECK bool disk_index_match(const struct disk_index *index, const struct matcher *matchers,
                                 size_t matcher_count, struct ordinal_vec *out, struct err *err);
/* The labels of a series; texts live in the arena or in the map. *count <= count_max. */
MUST_CHECK bool disk_index_labels(const struct disk_index *index, uint32_t ordinal,
                                  struct arena *arena, struct label *out, size_t count_max,
                                  size_t *count, struct err *err);
/* labels_hash() of its label set, as model/labels.h has it. From the labels where its own bytes are damaged; 0 when those
 * are, too: who then asks for the labels is told. */
uint64_t disk_index_hash(const struct disk_index *index, uint32_t ordinal);
/* The ordinal of exactly this label set. */
MUST_CHECK bool disk_index_find(const struct disk_index *index, const struct label *labels,
                                size_t count, bool *found, uint32_t *ordinal, struct err *err);
/* Tells each label name once, sorted; each value of a name once, sorted. With `of` not NULL: only of those series. The
 * text lives until fn returns. */
typedef bool (*disk_index_text_fn)(void *ctx, struct str text, struct err *err);
MUST_CHECK bool disk_index_names(const struct disk_index *index, const struct ordinal_vec *of,
                                 disk_index_text_fn fn, void *ctx, struct err *err);
MUST_CHECK bool disk_index_values(const struct disk_index *index, struct str name,
                                  const struct ordinal_vec *of, disk_index_text_fn fn, void *ctx,
                                  struct err *err);
/* Series per pair, for analyze and /status/tsdb: called for each pair. */
typedef void (*disk_index_pair_fn)(void *ctx, struct str name, struct str value,
                                   uint32_t series_count);
MUST_CHECK bool disk_index_pairs(const struct disk_index *index, disk_index_pair_fn fn, void *ctx,
                                 struct err *err);

#endif
