/* store: what the parts of storage/ share. Private: only files of this folder include it.
 *
 *     struct storage
 *       index      names, pairs, postings of the series in memory       index.c
 *       series     the live ones and those not yet spilled              head.c, series.c
 *       groups     -> open slot -> columns of times, runs of values     slot.c
 *       log        pending records -> segment files                     log.c
 *       partitions open files (sealed slots), published files (days)    partition.c, seal.c, spill.c, publish.c
 *
 * Loop thread unless a field says otherwise. "lane" is the commit lane. */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/epoch.h"
#include "base/list.h"
#include "base/map.h"
#include "base/vec.h"
#include "budget.h"
#include "bundle.h"
#include "day_file.h"
#include "disk_index.h"
#include "file.h"
#include "index.h"
#include "index_segment.h"
#include "kv.h"
#include "late.h"
#include "open_histograms.h"
#include "residency.h"
#include "segments.h"
#include "series_cache.h"
#include "series_labels.h"
#include "slot.h"
#include "snapshot.h"
#include "storage.h"
#include "stream.h"
#include "tombstone.h"

#define STORE_VERSION 1 /* Of every file. */
#define STORE_VERSION_MAX 15 /* A number beyond is a damaged one: the start goes on without the file. */
#define LOG_PENDING_MAX                                                                            \
    ((size_t)64 << 30) /* The labels of all series may have to go in at once: memory has them. */

#define SERIES_LABELS_MAX 1024
#define SERIES_BYTES_MAX  ((size_t)16 << 20) /* Of all names and values of one series. */
#define NUMBER_MAX        (UINT64_MAX / 4)   /* Of series ids and slots: what is above is damage. */
#define HEAD_WINDOW_MS                                                                             \
    (60 * 60 * 1000) /* Half of Prometheus' chunk range: how far behind a sample may come. */
#define TIME_MS_MAX                                                                                \
    (INT64_MAX / 4) /* Samples lie in +-this, so that sums with spans never overflow. */

/* --- series --- */

/* One label set in memory: live, or dead and not yet spilled. Never moves while it is used; its ref is its position. */
struct series {
    uint64_t id;                  /* On disk; monotone, never reused. */
    _Atomic(struct run *) newest; /* Its runs in memory, newest first; NULL: none. */
    _Atomic uint64_t
        bits; /* Of its newest sample (of a histogram: a hash). Between two looks at the gate
                                   * they are those of its newest run's last row. */
    _Atomic int64_t newest_ms; /* Its newest sample's time; INT64_MIN: not known. */
    uint32_t pairs;            /* Its label set: series_pairs(). Immutable. */
    uint16_t pins;             /* series_pin; SERIES_PINS_MAX: for ever. */
    _Atomic bool gone;         /* Not to be shown to new readers. */
    bool bits_known : 1;
    bool is_histogram : 1; /* Its newest sample. */
    bool is_spilling : 1;
    uint64_t group : 24; /* Whose slot it is in. */
    /* These two stop at SERIES_NUMBER_MAX, which is low: its labels are then written once more than is needed. */
    uint64_t registered : 20; /* The newest partition with its labels: partition_number; 0: none. */
    uint64_t logged_segment : 20; /* The newest log segment with its labels; 0: none. */
};
_Static_assert(sizeof(struct series) == 48, "memory is per series");
#define SERIES_BORN       1024u /* Remembered for selections in their making. */
#define SERIES_PINS_MAX   UINT16_MAX
#define SERIES_NUMBER_MAX ((UINT32_C(1) << 20) - 1)
#define SERIES_GROUP_MAX  ((UINT32_C(1) << 24) - 1)

/* A scrape target or (job, instance): its series are sealed together. */
struct storage_group {
    struct storage *storage; /* Borrowed: owns the group. */
    uint64_t key;
    uint32_t index;
    uint32_t opens;
    struct slot *slot; /* The open one, or NULL. */
    bool touched;      /* In the append that runs now. */
    bool had_slot;
    struct seal_job
        *seal_front; /* The one that is being sealed, or is tried again before any later one. */
    uint64_t broken_slot; /* Replay: what is left of it in the log makes no sense. */
};

/* Readers see a group's batch whole: odd while an append runs. */
struct group_gate {
    _Atomic uint32_t sequence;
};

/* --- partitions --- */

struct bundle_entry {
    uint64_t key;
    uint64_t id_min, id_max;
    uint64_t slot;
    int64_t time_min_ms, time_max_ms;
    _Atomic uint8_t verified; /* Its CRC was right once. */
};
struct bundle_dir {
    _Atomic uint32_t count;
    uint32_t capacity;
    struct bundle_entry entries[];
};

struct segment_list {
    uint32_t count;
    struct index_segment *items[];
};

enum {
    PARTITION_META,
    PARTITION_SERIES,
    PARTITION_BUNDLES,
    PARTITION_DIR, /* What a commit of bundles added: a start reads this and not the bundles. */
    PARTITION_TABLES
};
enum { HEAD_META, HEAD_SEALED, HEAD_TOMBSTONES, HEAD_TABLES };
enum { META_VERSION = 1, META_FROM, META_TO, META_NEXT_ID, META_NEXT_SLOT, META_SEQUENCE };

/* One file of sealed slots. Made on the lane; published by the loop thread. An overlay is the same thing beside a published
 * day, or one that is being built: late samples. */
struct partition {
    int64_t from_ms, to_ms;
    char *path;
    bool is_overlay;
    struct kv *kv;                          /* Set before the first bundle is published. */
    _Atomic(struct bundle_dir *) dir;       /* Loop writes, readers read. NULL: no bundle yet. */
    _Atomic(struct segment_list *) spilled; /* As above. */
    uint64_t segment_next;                  /* Number of the next index segment. Lane. */
    bool published;                         /* In storage->files. Loop. */
    bool retired;                           /* Loop. */
    bool frozen;                            /* No seal writes to it any more. Loop. */
    int64_t touched_mono_ms;                /* Last write. Loop. */
    uint64_t payload_bytes;                 /* Loop. */
    uint64_t reader_oldest;                 /* watch.c: since when its oldest reader is the same. */
    int64_t reader_since_mono_ms, reader_told_mono_ms;
};

/* What readers see of the disk, by from_ms; days before the open file or overlay of the same span. */
struct store_file {
    int64_t from_ms, to_ms;
    struct partition *open; /* One of the two. */
    struct day_file *day;   /* A reference of the list's. */
};
struct span {
    int64_t from_ms, to_ms;
};
struct file_list {
    uint32_t count;
    struct store_file items[];
};

/* Its file may go once the labels that only it had are in the log. */
struct retired_file {
    struct store_file file;
    bool replaced; /* Its name belongs to a newer file. */
    uint64_t log_sequence;
};

/* --- log --- */

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
    bool asked; /* Storage has asked for the tick that writes what is pending. */
    bool failing;
    struct log_job *job; /* In flight, or NULL. */
    struct file file;    /* Lane. */
    VEC(struct log_waiter) waiters;
};

/* Exemplars on their way from segments that are to go into the current one. */
struct exemplar_move {
    uint64_t below;    /* Those of segments below this one; 0: none. */
    uint64_t from;     /* The oldest of these: stays until they are written. */
    uint64_t sequence; /* Of the log behind the last that moved. */
    size_t at;         /* Where in the ring. */
    bool dropping;     /* All moved: segments go as soon as that is written. */
};

/* Told when all deletes up to `sequence` are out of the days. */
struct clean_waiter {
    uint64_t sequence;
    storage_commit_fn done;
    void *ctx;
};

/* The record that an append is writing: rows of one group's slot. */
struct log_record {
    struct storage_group *group; /* NULL: none is open. */
    size_t start;
    const struct column *column;
    uint32_t row;
    int64_t time_last_ms;
    uint32_t member;     /* The member that the next token speaks of. */
    uint64_t id_last;    /* Of the last that joined. */
    size_t unchanged_at; /* Where a token of unchanged members can grow; 0: none. */
};

/* The record of the late samples of the append that runs. */
struct late_record {
    bool open;
    size_t start;
    uint64_t id_last;
    int64_t time_last_ms;
};

struct storage {
    struct storage_options options;
    struct exemplar_ring *exemplars; /* NULL: none are kept. exemplar.c */
    struct exemplar_move exemplar_move;
    char *dir; /* <path>/narthex */
    int lock_fd;
    struct epoch epoch;
    struct index *index;
    struct segments series;     /* struct series */
    struct segments gates;      /* struct group_gate, by group index */
    struct segments pair_units; /* Of four bytes: label sets, see series.c */
    VEC(uint32_t)
    pair_lists_free[65]; /* By units; the last: longer ones, by first fit of as many. */
    VEC(series_ref) series_free;
    uint64_t series_used;                      /* Places taken in `series`. */
    _Atomic uint64_t series_made;              /* So many were ever put there, the last of them: */
    _Atomic uint32_t series_born[SERIES_BORN]; /* by number % SERIES_BORN */
    _Atomic uint64_t bundles_shown;            /* So many times were bundles added to a directory. */
    struct map by_labels;                      /* labels hash -> ref */
    struct series_cache known;                 /* storage_series_know */
    struct map by_id; /* id -> ref, while the store is opened: later nobody asks. */
    bool opening, stopping;
    VEC(struct storage_group *) groups; /* By index; NULL: free. */
    VEC(uint32_t) groups_free;
    struct map by_key; /* group key -> index */
    uint64_t next_id, next_slot;
    uint64_t id_highest; /* Of the series that were added since the start. */
    size_t labels_bytes_max; /* Of a series, as large as one ever was. */
    uint64_t batch;          /* Number of the append that runs. */
    struct log log;
    struct kv *head;  /* Lane. */
    bool head_is_new; /* Made at this start: nothing is known of what is sealed. */
    _Atomic(struct file_list *) files;
    VEC(struct partition *) lane_partitions; /* Lane. Those that seals may write to. */
    VEC(struct span)
    lane_spans; /* Lane. Of frozen partitions and of days: late samples go to overlays. */
    uint64_t overlay_next;               /* Lane. Number of the next overlay. */
    _Atomic int64_t partition_length_ms; /* Of the next partition. Loop writes. */
    struct publish *publish;             /* publish.c; NULL: nothing to build. */
    int64_t publish_checked_mono_ms;
    VEC(struct retired_file) retired; /* Out of sight, not yet unlinked. */
    uint32_t retired_number;          /* partition_number of the newest that went. */
    bool labels_lost;                 /* A partition was set aside at the start. */
    struct list seal_jobs;            /* struct seal_job, oldest first; until sealed. */
    int64_t seal_retry_mono_ms;
    int64_t slots_checked_mono_ms;
    int64_t retention_checked_mono_ms;
    int64_t retention_base_ms; /* What retention counts back from: retention_edge.c. */
    int64_t watched_mono_ms;
    struct map scratch;  /* ref -> its last sample in the batch */
    VEC(uint64_t) seen;  /* A bit for each ref, all clear between batches. */
    VEC(uint32_t) order; /* Samples of a batch with several times, by time. */
    VEC(uint32_t) touched_groups;
    struct open_histograms histograms;
    VEC(series_ref) dead;    /* Without runs and pins: to be spilled or dropped. */
    struct spill_job *spill; /* In flight, or NULL. */
    int64_t spill_retry_mono_ms;
    uint64_t unlinked_bytes;                /* Of files without a name that readers hold. */
    bool files_went;                        /* Dead series may have nothing left. */
    _Atomic(struct late_list *) late_slots; /* Oldest first; the last may be open. */
    struct late_job *late_job;              /* Of the oldest. */
    struct late_record late_record;
    _Atomic(struct tombstone_list *) tombstones;
    uint64_t tombstone_sequence; /* The newest given. */
    size_t tombstones_pending;   /* On their way to head.mdb. */
    bool unlink_failed; /* Lane. A file will be back at the next start, and need its deletes. */
    bool tombstones_to_forget;   /* As soon as no build runs and no file is retired. */
    uint64_t tombstones_cleaned; /* For that: the days do without those up to this one. */
    struct clean *clean;         /* tombstone_clean.c; NULL: none runs. */
    VEC(struct clean_waiter) cleaners;
    struct list snapshots; /* struct snapshot; the first may be running. */
    uint64_t live;         /* Series with pins or runs. */
    struct budget budget;
    struct residency residency;
    _Atomic int64_t time_max_ms; /* Newest sample ever taken; INT64_MIN when empty. */
    _Atomic int64_t time_min_ms;
    struct storage_stats stats;
    uint64_t slot_bytes, run_count;
};

SEGMENTS_TYPED(series, struct series)
SEGMENTS_TYPED(gate, struct group_gate)

/* Whole partitions as small numbers: their `to` in units of two hours since 1970, at least 1. */
static inline uint32_t partition_number(int64_t to_ms)
{
    int64_t number = to_ms / (2 * 60 * 60 * 1000);
    return number < 1 ? 1 : number > UINT32_MAX - 1 ? UINT32_MAX - 1 : (uint32_t)number;
}

/* storage.c: all its parts, and no file opened; for storage_open and readonly.c. */
struct storage *storage_new(const struct storage_options *options);

/* series.c */
struct series_set {
    uint32_t count;
    const uint8_t *pairs; /* In name order; each as series_pair_next reads it. */
};
static inline uint32_t series_pair_next(const uint8_t **at)
{
    uint32_t byte = *(*at)++, pair = byte & 0x7f;
    for (uint32_t shift = 7; byte & 0x80; shift += 7) {
        byte = *(*at)++;
        pair |= (byte & 0x7f) << shift;
    }
    return pair;
}
struct series_set series_pairs(const struct storage *storage, const struct series *series);
uint32_t series_labels(const struct storage *storage, const struct series *series,
                       struct label *out); /* SERIES_LABELS_MAX places; texts of the index. */
uint64_t series_hash(const struct storage *storage, const struct series *series);
series_ref series_find(struct storage *storage, const struct label *labels, size_t count,
                       uint64_t hash);
series_ref series_find_id(struct storage *storage, uint64_t id);
/* Makes a series under an id (replay, partitions) or a new one (id 0). */
series_ref series_add(struct storage *storage, uint64_t id, const struct label *labels,
                      size_t count, uint64_t hash);
/* Takes series out of memory: those that have `gone` set. */
void series_sweep(struct storage *storage, const series_ref *refs, size_t count);
bool series_is_live(const struct series *series);
void series_note_live(struct storage *storage, series_ref ref, bool was_live);
/* True when a start would find its labels in a partition. */
bool series_has_labels(const struct storage *storage, const struct series *series);
void series_free_all(struct storage *storage);
static inline int64_t series_newest_ms(const struct series *series)
{
    return atomic_load_explicit(&series->newest_ms, memory_order_relaxed);
}
static inline uint64_t series_bits(const struct series *series)
{
    return atomic_load_explicit(&series->bits, memory_order_acquire);
}
static inline void series_set_bits(struct series *series, uint64_t bits)
{
    atomic_store_explicit(&series->bits, bits, memory_order_relaxed);
}
static inline void series_set_newest_ms(struct series *series, int64_t time_ms)
{
    atomic_store_explicit(&series->newest_ms, time_ms, memory_order_relaxed);
}
static inline void series_set_registered(struct series *series, uint32_t number)
{
    series->registered =
        (number < SERIES_NUMBER_MAX ? number : SERIES_NUMBER_MAX) & SERIES_NUMBER_MAX;
}
static inline void series_set_logged(struct series *series, uint64_t segment)
{
    series->logged_segment =
        (segment < SERIES_NUMBER_MAX ? segment : SERIES_NUMBER_MAX) & SERIES_NUMBER_MAX;
}
static inline void series_set_group(struct series *series, uint32_t group)
{
    ENSURE_SLOW(group <= SERIES_GROUP_MAX);
    series->group = group & SERIES_GROUP_MAX;
}
static inline void series_pin(struct series *series)
{
    series->pins = (uint16_t)(series->pins + (series->pins < SERIES_PINS_MAX));
}
static inline void series_unpin(struct series *series)
{
    ENSURE(series->pins > 0);
    series->pins = (uint16_t)(series->pins - (series->pins < SERIES_PINS_MAX));
}
/* False when all of its samples are known to be older. */
static inline bool series_may_have(const struct series *series, int64_t from_ms)
{
    int64_t newest_ms = series_newest_ms(series);
    return newest_ms == INT64_MIN || newest_ms >= from_ms;
}
/* It has a sample of this time. A wall clock that went back may have left newer ones in files, of which nothing is known
 * after a start. */
static inline void series_note_newest(const struct storage *storage, struct series *series,
                                      int64_t time_ms)
{
    int64_t newest_ms = atomic_load_explicit(&storage->time_max_ms, memory_order_relaxed);
    if (series_newest_ms(series) == INT64_MIN && newest_ms > time_ms &&
        newest_ms - time_ms > HEAD_WINDOW_MS)
        time_ms = newest_ms;
    if (time_ms > series_newest_ms(series))
        series_set_newest_ms(series, time_ms);
}
static inline struct series *head_series(struct storage *storage, series_ref ref)
{
    ENSURE_SLOW(ref < segments_count(&storage->series));
    return series_at(&storage->series, ref);
}

/* group.c */
struct storage_group *group_for(struct storage *storage, uint64_t key);
void group_drop_unused(struct storage *storage, struct storage_group *group);
/* When a slot that is due by then is cut. */
int64_t group_seal_time(const struct storage *storage, int64_t mono_ms);
void group_slot_begin(struct storage *storage, struct storage_group *group, uint64_t slot,
                      int64_t now_mono_ms);
void group_free_all(struct storage *storage);

/* slot.h's, for publish.c and seal.c. */
static inline bool slot_touches(const struct slot *slot, int64_t from_ms, int64_t to_ms)
{
    for (size_t i = 0; i < slot->columns.count; i++) {
        const struct column *column = slot->columns.items[i];
        if (column->base_ms < to_ms && column->last_ms >= from_ms)
            return true;
    }
    return false;
}

/* append.c */
void head_note_time(struct storage *storage, int64_t time_ms);
/* Unlinks the runs of a sealed slot from a series' chain. */
void head_drop_slot(struct storage *storage, series_ref ref, const struct slot *slot);

/* log.c */
size_t log_record_begin(struct storage *storage, uint8_t kind);
void log_record_finish(struct storage *storage, size_t start);
void log_add_series(struct storage *storage, series_ref ref, uint64_t group_key);
void log_row(struct storage *storage, struct log_record *record, struct storage_group *group,
             const struct column *column, uint32_t row);
void log_member(struct storage *storage, struct log_record *record, const struct run *run,
                const struct series *series, bool joins);
void log_unchanged(struct storage *storage, struct log_record *record);
void log_entry(struct storage *storage, struct log_record *record, struct str entry);
void log_end(struct storage *storage, struct log_record *record);
bool log_has_room(const struct storage *storage);
/* False when the labels of a batch's series are more than the log takes at once. */
MUST_CHECK bool log_takes_labels(const struct storage *storage, const struct batch *batch,
                                 struct err *err);
void log_tick(struct storage *storage, int64_t now_mono_ms);
int64_t log_next_ms(const struct storage *storage, int64_t now_mono_ms);
void log_close(struct storage *storage);
void log_drop_sealed_segments(struct storage *storage);
MUST_CHECK bool log_replay(struct storage *storage, struct err *err); /* log_replay.c */

/* seal.c */
void seal_tick(struct storage *storage, int64_t now_mono_ms);
void seal_cut(struct storage *storage, struct storage_group *group);
int64_t seal_next_ms(const struct storage *storage, int64_t now_mono_ms);
void seal_free_all(struct storage *storage);
uint64_t seal_oldest_segment(const struct storage *storage);
/* True for a file that has bundles of a slot which is not yet known to be sealed. */
bool seal_uses(const struct storage *storage, const struct partition *partition);
/* True while a slot with samples of this span waits to be sealed. */
bool seal_touches(const struct storage *storage, int64_t from_ms, int64_t to_ms);
/* Those that wait to be sealed. */
void seal_each_slot(const struct storage *storage, void (*each)(void *ctx, const struct slot *slot),
                    void *ctx);
/* Cuts every open slot, the late one too: what is appended next has a higher slot number. */
void seal_cut_all(struct storage *storage);
/* True while a cut slot with a number up to this one waits to be sealed. */
bool seal_has_slot(const struct storage *storage, uint64_t number);

/* partition.c */
extern const char *const PARTITION_TABLE_NAMES[PARTITION_TABLES];
char *partition_path(const struct storage *storage, int64_t from_ms, int64_t to_ms,
                     uint64_t overlay);
struct file_list *file_list_now(const struct storage *storage);
/* Lane: the file that takes samples of this time, made when missing. */
MUST_CHECK bool partition_for(struct storage *storage, int64_t time_ms, struct partition **out,
                              struct err *err);
void partition_free(void *partition); /* For the epoch. */
/* Publishes the list with `added` (may be NULL) and without what is retired; a day in `added` is the list's then. */
void file_list_update(struct storage *storage, const struct store_file *added);
void partition_publish(struct storage *storage, struct partition *partition,
                       const struct bundle_entry *entries, size_t count);
bool bundle_entry_of(struct str bytes, struct bundle_entry *out);
/* The value of PARTITION_DIR for these bundles, and back. */
void bundle_dir_encode(const struct bundle_entry *entries, size_t count, struct buf *out);
MUST_CHECK bool bundle_dir_decode(struct str bytes, struct bundle_entry *out, size_t *count);
void partition_close_all(struct storage *storage);
/* Off the list; closed after its last reader. */
void partition_hide_segment(struct storage *storage, struct partition *partition,
                            struct index_segment *segment);
void partition_show_segment(struct storage *storage, struct partition *partition,
                            struct index_segment *segment);

/* partition_open.c */
MUST_CHECK bool partition_open_all(struct storage *storage, struct err *err);

/* publish.c */
void publish_tick(struct storage *storage, int64_t now_mono_ms);
bool publish_blocks_spill(const struct storage *storage);
void publish_stop(struct storage *storage); /* The build that runs is to end soon. */
void publish_free(struct storage *storage);
/* True for a file that a build reads. */
bool publish_uses(const struct storage *storage, const struct store_file *file);

/* spill.c */
void spill_tick(struct storage *storage);

/* watch.c */
void watch_tick(struct storage *storage, int64_t now_mono_ms);

/* partition_length.c */
void partition_length_update(struct storage *storage);

/* retention_edge.c */
/* The newest sample; what is later than the wall clock allows is left out. */
int64_t storage_newest_ms(const struct storage *storage);
void retention_base_update(struct storage *storage);
/* Where samples are too old, as of the last update; false when there is no such edge. */
bool retention_edge(const struct storage *storage, int64_t *edge_ms);

/* retention.c */
void retention_apply(struct storage *storage);
void retention_quarantine(struct storage *storage);
/* Takes files off the list, `added` (may be NULL) onto it, in one step. */
void retention_retire(struct storage *storage, const struct store_file *files, size_t count,
                      const struct store_file *added);
/* Unlinks what has been retired, when the log allows it. */
void retention_tick(struct storage *storage);
/* After the replay: labels of live series go to the log when no open file has them. */
void retention_save_labels(struct storage *storage);
void retention_free(struct storage *storage);
uint64_t store_file_bytes(const struct store_file *file);
uint64_t storage_disk_bytes(const struct storage *storage); /* With what is leaving. */
/* For a build: false while files that are leaving have not left, and the limit of the size does not have room for both. */
bool retention_has_room(const struct storage *storage);

#endif
