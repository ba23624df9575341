/* store: what the parts of storage/ share. Private: only files of this folder include it.
 *
 *     struct storage
 *       index      names, pairs, postings                       index.c
 *       series     every series of the head and of the partitions  head.c
 *       groups     slots: who is sealed when                    head.c, slot.c
 *       log        pending records -> segment files             log.c
 *       partitions files <from>-<to>.open.mdb                   partition.c
 *
 * Loop thread unless a field says otherwise. "lane" is the commit lane. */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/epoch.h"
#include "base/map.h"
#include "base/vec.h"
#include "chunk.h"
#include "file.h"
#include "index.h"
#include "kv.h"
#include "segments.h"
#include "storage.h"

#define STORE_VERSION                                                                              \
    0 /* Of every file; version 1 comes with the day build and refuses this one. */

enum sealed_known { SEALED_NOTHING, SEALED_TIME, SEALED_TIME_AND_BITS };

/* One label set that the head or a partition knows. Never moves; its ref is its position. */
struct series {
    uint64_t id; /* On disk; monotone, never reused. */
    uint64_t labels_hash;
    const uint32_t *pairs; /* In name order; in storage->pair_lists. Immutable. */
    uint32_t pair_count;
    uint32_t pins;
    struct chunk *open; /* The newest chunk while its slot is open. Writer only. */
    _Atomic(struct chunk *)
        newest; /* Head of the chain to older chunks; NULL: nothing in the head. */
    _Atomic int64_t time_first_ms; /* Bounds of what is stored anywhere; wide rather than narrow. */
    _Atomic int64_t time_last_ms;
    uint32_t group;       /* Whose slot it is in. */
    uint8_t sealed_known; /* enum sealed_known: what is told of the newest sample below. */
    _Atomic bool gone;    /* Retention has taken all of it. */
    int64_t
        labels_until_ms; /* The newest partition that has its labels ends here; INT64_MIN: none. */
    int64_t sealed_time_ms; /* Its newest sample when none is in the head: later ones are judged by
                               it. */
    uint64_t sealed_bits;
    uint64_t logged_segment; /* Where the log has its labels, when no partition has. */
};

/* A scrape target or (job, instance): its series are sealed together. */
struct storage_group {
    struct storage *storage; /* Borrowed: owns the group. */
    uint64_t key;
    uint32_t index;
    uint32_t opens;
    uint64_t slot; /* Sequence number of the open slot; 0: none. */
    int64_t slot_until_mono_ms;
    uint64_t slot_segment; /* First log segment with records of it. */
    uint64_t slot_samples;
    bool touched; /* In the append that runs now. */
    VEC(series_ref) slot_refs;
    struct seal_job
        *seal_front; /* The one that is being sealed, or is tried again before any later one. */
};

/* Readers see a group's batch whole: odd while an append runs. */
struct group_gate {
    _Atomic uint32_t sequence;
};

struct bundle_entry {
    uint64_t key;
    uint64_t id_min, id_max;
    int64_t time_min_ms, time_max_ms;
    _Atomic uint8_t verified; /* Its CRC was right once. */
};
struct bundle_dir {
    _Atomic uint32_t count;
    uint32_t capacity;
    struct bundle_entry entries[];
};

enum { PARTITION_META, PARTITION_SERIES, PARTITION_BUNDLES, PARTITION_TABLES };
enum { HEAD_META, HEAD_SEALED, HEAD_TABLES };
enum { META_VERSION = 1, META_FROM, META_TO, META_NEXT_ID, META_NEXT_SLOT };

/* One file of sealed slots. Made on the lane; published by the loop thread. */
struct partition {
    int64_t from_ms, to_ms;
    char *path;
    struct kv *kv;                    /* Set before the first bundle is published. */
    _Atomic(struct bundle_dir *) dir; /* Loop writes, readers read. NULL: no bundle yet. */
    bool published;                   /* In storage->partitions. Loop. */
    bool retired;                     /* Loop. */
};
struct partition_list {
    uint32_t count;
    struct partition *items[]; /* By from_ms. */
};

/* Its file may go once the labels that only it had are in the log. */
struct retired_partition {
    struct partition *partition;
    uint64_t log_sequence;
};

struct log_waiter {
    uint64_t sequence; /* Bytes appended to the log when it asked. */
    storage_commit_fn done;
    void *ctx;
};

struct log {
    struct buf pending; /* Records that no job has taken yet. */
    uint64_t sequence;  /* Bytes ever appended. */
    uint64_t sequence_written;
    uint64_t segment; /* Number of the file that the next job writes to. */
    int64_t segment_since_mono_ms;
    uint64_t segment_bytes;
    bool segment_begun;          /* Its number is used up: the next file takes another one. */
    VEC(uint64_t) segments;      /* Numbers of the files that are there, ascending. */
    int64_t dirty_since_mono_ms; /* 0: nothing pending. */
    int64_t synced_mono_ms;
    int64_t retry_mono_ms;
    bool unsynced;
    bool hurry; /* A waiter wants the next write at once. */
    bool failing;
    struct log_job *job; /* In flight, or NULL. */
    struct file file;    /* Lane. */
    VEC(struct log_waiter) waiters;
};

struct storage {
    struct storage_options options;
    char *dir; /* <path>/narthex */
    int lock_fd;
    struct epoch epoch;
    struct index *index;
    struct segments series; /* struct series */
    struct segments gates;  /* struct group_gate, by group index */
    struct arena pair_lists;
    struct map by_labels; /* labels_hash -> ref */
    struct map by_id;     /* id -> ref, while the store is opened: later nobody asks. */
    bool opening;
    VEC(struct storage_group *) groups; /* By index; NULL: free. */
    VEC(uint32_t) groups_free;
    struct map by_key; /* group key -> index */
    uint64_t next_id, next_slot;
    struct log log;
    struct kv *head; /* Lane. */
    _Atomic(struct partition_list *) partitions;
    VEC(struct partition *) lane_partitions; /* Lane. */
    VEC(struct retired_partition) retired;   /* Out of sight, their files not yet unlinked. */
    int64_t retired_until_ms; /* The newest `to` of any that went; INT64_MIN: none. */
    bool labels_lost;         /* A partition was set aside at the start. */
    struct list seal_jobs;    /* struct seal_job, oldest first; until sealed. */
    int64_t seal_retry_mono_ms;
    int64_t slots_checked_mono_ms;
    int64_t retention_checked_mono_ms;
    struct map scratch; /* all_or_nothing: ref -> its last sample in the batch */
    VEC(uint32_t) touched_groups;
    _Atomic int64_t time_max_ms; /* Newest sample ever taken; INT64_MIN when empty. */
    _Atomic int64_t time_min_ms;
    struct storage_stats stats;
    uint64_t chunk_bytes, chunk_count;
};

SEGMENTS_TYPED(series, struct series)
SEGMENTS_TYPED(gate, struct group_gate)

/* head.c */
struct series *head_series(struct storage *storage, series_ref ref);
series_ref head_find(struct storage *storage, const struct label *labels, size_t count,
                     uint64_t hash);
/* Makes a series under an id (replay, partitions) or a new one (id 0). */
series_ref head_add_series(struct storage *storage, uint64_t id, const struct label *labels,
                           size_t count, uint64_t hash);
series_ref head_find_id(struct storage *storage, uint64_t id);
struct storage_group *head_group(struct storage *storage, uint64_t key);
void head_group_drop_unused(struct storage *storage, struct storage_group *group);
/* The series' open chunk with room for one more sample in the group's open slot. */
struct chunk *head_open_chunk(struct storage *storage, struct series *series, series_ref ref,
                              uint64_t slot, bool *started);
void head_stored(struct storage *storage, struct series *series, int64_t time_ms);
void head_slot_begin(struct storage *storage, struct storage_group *group, uint64_t slot,
                     int64_t now_mono_ms);
/* Drops the chunks of a sealed slot from a series' chain; they go to the epoch. */
void head_drop_sealed(struct storage *storage, struct series *series, uint64_t slot);
void head_free(struct storage *storage);
/* True when a start would find its labels in a partition. */
bool series_has_labels(const struct storage *storage, const struct series *series);
bool series_text_labels(const struct storage *storage, const struct series *series,
                        struct label *out);

/* log.c */
void log_add_series(struct storage *storage, struct series *series, uint64_t group_key);
size_t log_begin_samples(struct storage *storage,
                         const struct storage_group *group); /* Where the record starts. */
void log_end_samples(struct storage *storage, size_t start);
bool log_has_room(const struct storage *storage);
void log_tick(struct storage *storage, int64_t now_mono_ms);
int64_t log_next_ms(const struct storage *storage, int64_t now_mono_ms);
void log_close(struct storage *storage);
void log_drop_sealed_segments(struct storage *storage);
MUST_CHECK bool log_replay(struct storage *storage, struct err *err); /* log_replay.c */

/* slot.c */
void slot_tick(struct storage *storage, int64_t now_mono_ms);
void slot_cut(struct storage *storage, struct storage_group *group);
int64_t slot_next_ms(const struct storage *storage, int64_t now_mono_ms);
void slot_free_all(struct storage *storage);
uint64_t slot_oldest_segment(const struct storage *storage);

/* partition.c */
struct partition_list *partition_list_now(const struct storage *storage);
MUST_CHECK bool partition_open_all(struct storage *storage, struct err *err);
/* Lane: the partition of a time, made when missing. */
MUST_CHECK bool partition_for(struct storage *storage, int64_t time_ms, struct partition **out,
                              struct err *err);
void partition_free(void *partition); /* For the epoch. */
/* Publishes the list with `added` (may be NULL) and without the retired. */
void partition_list_update(struct storage *storage, struct partition *added);
void partition_publish(struct storage *storage, struct partition *partition,
                       const struct bundle_entry *entries, size_t count);
/* Retention: where samples are too old; false when there is no such edge. */
bool partition_edge(const struct storage *storage, int64_t *edge_ms);
void partition_retire_old(struct storage *storage);
/* Unlinks what has been retired, when the log allows it. */
void partition_tick(struct storage *storage);
/* After the replay: labels of live series go to the log when a partition that had them was set
 * aside. */
void partition_save_labels(struct storage *storage);
void partition_close_all(struct storage *storage);
void series_encode_labels(const struct storage *storage, const struct series *series,
                          struct buf *out);
MUST_CHECK bool series_decode_labels(struct reader *in, struct label *out, size_t count_max,
                                     size_t *count, struct err *err);

/* Bundles: see docs/formats.md. */
#define BUNDLE_MAGIC       UINT32_C(0x3042584e) /* "NXB0" */
#define BUNDLE_HEAD_BYTES  28
#define BUNDLE_ENTRY_BYTES 40
#define BUNDLE_SERIES_MAX  256
#define BUNDLE_BYTES_AIM   65536
struct bundle_row {
    uint64_t id;
    uint32_t offset, len, count;
    int64_t time_min_ms, time_max_ms;
};
MUST_CHECK bool bundle_head(struct str bytes, struct bundle_entry *out, uint32_t *row_count);
MUST_CHECK bool bundle_verify(struct str bytes);
bool bundle_find(struct str bytes, uint64_t id, struct bundle_row *out, struct str *payload);

#define SERIES_LABELS_MAX 1024
#define SERIES_BYTES_MAX  ((size_t)16 << 20) /* Of all names and values of one series. */
#define NUMBER_MAX        (UINT64_MAX / 4)   /* Of series ids and slots: what is above is damage. */
#define HEAD_WINDOW_MS                                                                             \
    (60 * 60 * 1000) /* Half of Prometheus' chunk range: how far behind a sample may come. */
#define TIME_MS_MAX                                                                                \
    (INT64_MAX / 4) /* Samples lie in +-this, so that sums with spans never overflow. */

#endif
