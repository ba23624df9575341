/* day_build_private: what the steps of a day build share; in running order:
 *
 *     day_sources   the series of all inputs, in series order, with ordinals          day_build_series.c
 *     day_deal      runs of bundles by ordinal, in buckets that fit into memory       day_build_deal.c
 *     day_gather    one series' samples, merged                                       day_build_gather.c
 *     day_times     times to shared columns                                           day_build_times.c
 *     day_chunks    one series to the bytes of its entry                              day_build_chunks.c
 *     day_writer    entries to packs, packs to the file                               day_build_write.c
 *
 * One thread. */
#ifndef STORAGE_DAY_BUILD_PRIVATE_H
#define STORAGE_DAY_BUILD_PRIVATE_H

#include "base/heap.h"
#include "base/map.h"
#include "base/vec.h"
#include "bundle.h"
#include "day_build.h"
#include "day_file_format.h"
#include "file.h"

#define DAY_LABELS_MAX 1024 /* Of one series. */
#define DAY_NONE       UINT32_MAX

/* --- the job: stop, pause, what was left out --- */

struct day_job {
    const struct day_build *build;
    char *stem; /* <dir>/<from>-<to> */
    uint64_t bytes_done, bytes_all;
    int64_t worked_since_ns;
    uint64_t bad_bundles, bad_runs, bad_series;
};
bool day_job_stopped(const struct day_job *job);
/* Counts bytes of input; lets the lane pause now and then; false when it is to stop. */
MUST_CHECK bool day_job_step(struct day_job *job, uint64_t bytes, struct err *err);

/* --- a file without a name: appended to, read back, gone when closed --- */

struct day_scratch {
    struct file file;
    int read_fd;
    struct buf pending;
};
void day_scratch_init(struct day_scratch *scratch);
MUST_CHECK bool day_scratch_open(struct day_scratch *scratch, const char *stem, uint32_t number,
                                 struct err *err);
void day_scratch_close(struct day_scratch *scratch);
uint64_t day_scratch_len(const struct day_scratch *scratch);
MUST_CHECK bool day_scratch_add(struct day_scratch *scratch, struct str bytes, struct err *err);
MUST_CHECK bool day_scratch_read(struct day_scratch *scratch, uint64_t offset, char *out,
                                 size_t len, struct err *err);

/* --- series --- */

struct day_series {
    uint64_t id;
    const char *labels; /* In the input's map; NULL: of an index segment. */
    uint32_t labels_len;
    uint32_t ordinal;
};

struct day_source {
    const struct day_input *input;
    struct kv_read *read;
    VEC(struct day_series) series; /* By id. Not of a day. */
    VEC(uint32_t) by_labels;       /* Positions of those with labels, in series order. */
    struct day_reader *reader;     /* Of a day. */
};

struct day_sources {
    struct day_job *job;
    struct day_source *items;
    size_t count;
    uint32_t series_count; /* Ordinals given. */
    uint64_t bundle_bytes;
};
MUST_CHECK bool day_sources_open(struct day_sources *sources, struct day_job *job, struct err *err);
void day_sources_close(struct day_sources *sources);
/* The ordinal of an id, or DAY_NONE; *hint makes ascending ids fast. */
uint32_t day_source_ordinal(const struct day_source *source, uint64_t id, size_t *hint);

/* All label sets of all inputs, ascending, each once. */
struct day_stream;
struct day_merge {
    struct day_sources *sources;
    struct heap heap;
    VEC(struct day_stream *) streams;
    VEC(struct day_stream *) taken; /* Those that stand on the current label set. */
    uint32_t next_ordinal;
    const struct label *labels; /* The current one. */
    size_t label_count;
    uint32_t ordinal;
    uint32_t *day_ordinals; /* By input: the current one's there; DAY_NONE. */
    struct label *twin;     /* Scratch: DAY_LABELS_MAX places. */
};
MUST_CHECK bool day_merge_open(struct day_merge *merge, struct day_sources *sources,
                               struct err *err);
void day_merge_close(struct day_merge *merge);
MUST_CHECK bool day_merge_next(struct day_merge *merge, bool *found, struct err *err);

/* --- runs --- */

struct day_bundle {
    struct bundle bundle;
    uint32_t input;
};
struct day_ref {
    uint32_t bundle;
    uint16_t run;
};
#define DAY_COLUMNS_CACHED 512
struct day_cached_times {
    uint32_t bundle, column;
    bool is_valid;
    struct time_vec times;
};

/* A good bundle, and the ordinals that it has: from `first`, before `end`. */
struct day_found {
    struct str bytes; /* In the map of its input. */
    uint32_t input, first, end;
};
struct day_picked {
    uint32_t ordinal, bundle;
    uint16_t run;
};

struct day_deal {
    struct day_sources *sources;
    uint64_t slot_last;
    VEC(struct day_found) found; /* In order of writing. */
    uint32_t bucket_count;
    VEC(uint32_t) bounds; /* Bucket b has ordinals bounds[b]..bounds[b + 1]. */
    bool in_passes;       /* The inputs are large: what was read of their maps is let go. */
    /* The bucket that is loaded: */
    uint32_t bucket;
    VEC(struct day_bundle) bundles;
    VEC(struct day_ref) refs;      /* By ordinal, then order of writing. */
    VEC(uint32_t) starts;          /* By ordinal - bounds[bucket]: where its refs begin. */
    VEC(struct day_picked) picked; /* While loading. */
    struct day_cached_times cached[DAY_COLUMNS_CACHED];
    uint64_t *weights; /* Of the first walk: bytes by block of weight_block ordinals. */
    uint32_t weight_block;
};
MUST_CHECK bool day_deal_open(struct day_deal *deal, struct day_sources *sources, struct err *err);
void day_deal_close(struct day_deal *deal);
/* Loads the bucket that has the ordinal, unless it is loaded. */
MUST_CHECK bool day_deal_load(struct day_deal *deal, uint32_t ordinal, struct err *err);
/* The times of a column of a loaded bundle; NULL when it is damaged. */
const struct time_vec *day_deal_times(struct day_deal *deal, uint32_t bundle, uint32_t column);

/* --- samples --- */

struct day_order {
    int64_t time_ms;
    uint32_t index;
};
struct day_gather {
    struct day_deal *deal;
    struct samples pieces, merged;
    VEC(struct day_order) order;
    struct delete_range deletes[DAY_DELETES_MAX];
    size_t delete_count;
    struct bundle_reader bundle_reader;
    const struct samples *result; /* Those of the current series, ascending. */
    size_t first, count;          /* The part of it that counts. */
    uint64_t group_key;           /* Whom its times are likely to be shared with. */
};
void day_gather_init(struct day_gather *gather, struct day_deal *deal);
void day_gather_deinit(struct day_gather *gather);
MUST_CHECK bool day_gather_series(struct day_gather *gather, const struct day_merge *merge,
                                  struct err *err);

/* --- times --- */

#define DAY_CANDIDATES    4
#define DAY_TIMES_DECODED 32
struct day_column {
    uint64_t hash, offset;
    uint32_t len;
    uint32_t rows;
};
struct day_candidates {
    uint64_t key;
    uint32_t columns[DAY_CANDIDATES];
    uint32_t count;
};
struct day_decoded {
    uint32_t column;
    int64_t *times_ms; /* NULL: empty. */
};
struct day_times_table {
    struct day_scratch scratch; /* codec_times bytes of the columns. */
    VEC(struct day_column) columns;
    struct map by_hash, by_key;
    VEC(struct day_candidates) candidates;
    struct day_decoded decoded[DAY_TIMES_DECODED];
    struct buf bytes;
};
MUST_CHECK bool day_times_open(struct day_times_table *table, const char *stem, struct err *err);
void day_times_close(struct day_times_table *table);
/* How to tell these times; `key`: of a group and a span of time. */
MUST_CHECK bool day_times_find(struct day_times_table *table, uint64_t key, const int64_t *times_ms,
                               uint32_t count, struct day_times *out, struct err *err);

/* --- chunks --- */

struct day_column_state {
    struct codec_column *column; /* NULL: not allocated yet. */
    struct day_times times;
    uint32_t chain; /* Columns that it is coded against, one after the other. */
    bool is_values;
};
struct day_bucket_series {
    struct day_column_state chunks[DAY_FAMILY_CHUNKS];
    uint32_t chunk_count;
    struct buf labels; /* series_labels without `le`; empty: none. */
};
struct day_infinity { /* A +Inf bucket, for x_count of the same labels. */
    uint64_t key, content[2];
    uint32_t ordinal;
};
struct day_chunks {
    struct day_times_table times;
    struct codec_encoder *encoder;
    struct day_bucket_series before, now;
    struct map infinity_map;
    VEC(struct day_infinity) infinities;
    struct buf base; /* The metric that the infinities are of, without _bucket. */
    struct buf entry, bytes, key;
    struct day_chunk pending; /* Written when it is known whether another follows. */
    bool has_pending;
    struct buf pending_bytes;
};
MUST_CHECK bool day_chunks_open(struct day_chunks *chunks, const char *stem, struct err *err);
void day_chunks_close(struct day_chunks *chunks);
/* The entry of a series, in chunks->entry. */
MUST_CHECK bool day_chunks_encode(struct day_chunks *chunks, const struct day_gather *gather,
                                  const struct label *labels, size_t label_count, uint32_t ordinal,
                                  int64_t from_ms, int64_t to_ms, struct err *err);

/* --- the file --- */

struct day_packer {
    unsigned table;
    uint32_t magic, first;
    struct buf bytes;
    VEC(uint32_t) ends;
};
struct day_writer {
    struct kv *kv;
    struct kv_write *write;
    size_t write_bytes; /* Of the transaction that is open. */
    struct day_packer chunks, columns;
    struct buf value;
    uint64_t table_bytes[DAY_TABLES];
};
MUST_CHECK bool day_writer_open(struct day_writer *writer, const char *path, uint64_t bytes_max,
                                struct err *err);
void day_writer_close(struct day_writer *writer);
MUST_CHECK bool day_writer_add(struct day_writer *writer, struct day_packer *packer,
                               struct str entry, struct err *err);
MUST_CHECK bool day_writer_flush(struct day_writer *writer, struct day_packer *packer,
                                 struct err *err);
MUST_CHECK bool day_writer_put(struct day_writer *writer, unsigned table, uint64_t key,
                               struct str value, struct err *err);
MUST_CHECK bool day_writer_commit(struct day_writer *writer, struct err *err);

#endif
