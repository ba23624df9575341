/* storage: the home of samples. One append in, one select out.
 *
 *     storage_open -> [storage_replay on a lane] -> append/commit/tick ... select ... -> storage_close
 *
 * Threads: append, commit, tick, groups and close belong to the loop thread, the only writer of the head. select and the
 * reading of cursors may run on any thread (query lanes); a selection pins an epoch, so nothing that it shows moves
 * or goes away until selection_free. Storage owns no thread: it hands jobs to `submit_commit` (one at a time, in order).
 *
 * Visibility: a batch appears to selects as a whole or not at all. Durability: a batch is on its way to the log file
 * within COMMIT_DELAY_MS; storage_commit tells when all that was appended before it has been written (kill -9 safe),
 * fdatasync follows every fsync_interval_ms. */
#ifndef STORAGE_H
#define STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/job.h"
#include "base/str.h"
#include "base/summary.h"
#include "model/batch.h"
#include "model/labels.h"
#include "model/matcher.h"

#define STORAGE_COMMIT_DELAY_MS 50

struct storage;

struct storage_options {
    struct str path;             /* --storage.tsdb.path; our files are in <path>/narthex. Created when missing. */
    int64_t retention_ms;        /* 0: keep for ever. Counted back from the newest sample. */
    int64_t slot_ms;             /* 30 min; tests use less. */
    int64_t partition_ms;        /* At most: 24 h; a multiple of 2 h. Less where retention is short or small. */
    int64_t fsync_interval_ms;   /* 5 s */
    int64_t out_of_order_ms;     /* 0: none. How far behind its newest a series takes samples. */
    size_t exemplars_max;        /* As storage_set_exemplars_max: so many of those in the log are there after the start. */
    uint32_t series_max;         /* 0: no limit; beyond it new series are refused. */
    uint32_t job_series_max;     /* 0: no limit; the same for the live series of one value of the label `job`. */
    uint64_t memory_budget;      /* 0: none. While the process' anonymous memory is over it, new series are refused. */
    uint64_t (*memory_used)(void *ctx); /* NULL: the process' anonymous memory. Tests have another. */
    void *memory_ctx;
    bool no_lockfile;
    uint64_t retention_bytes;    /* --storage.tsdb.retention.size; 0: no limit. All files count. */
    uint64_t spill_min;          /* So many dead series stay in memory at least. */
    int64_t build_delay_ms;      /* A partition is built so long after its end. */
    job_submit_fn submit_commit; /* The commit lane: one thread, in order. */
    void *submit_ctx;
    job_submit_fn submit_build; /* The build lane: one thread, may take minutes. NULL: the commit lane. */
    void *build_ctx;
    /* run(arg, 0 .. count - 1), each once, on several threads; returns when all are done. NULL: the start has one thread. */
    void (*parallel)(void *ctx, unsigned count, void (*run)(void *arg, unsigned index), void *arg);
    void *parallel_ctx;
    unsigned parallel_count; /* How many threads work, the one that calls included. */
    void (*wake)(void *ctx, int64_t in_ms); /* Told on the loop thread: storage_tick is wanted in in_ms. May be NULL. */
    void *wake_ctx;
};
void storage_options_init(struct storage_options *options); /* The defaults above. */

/* Locks the directory, opens the partitions and replays the log. Blocks (call before serving, or on a thread before
 * any other use). A damaged file is set aside with a log line; a torn log tail is cut. */
MUST_CHECK bool storage_open(struct storage **out, const struct storage_options *options, struct err *err);
/* Nothing new is begun on the build lane, and what runs there ends soon: before the lanes are closed, build first. */
void storage_stop(struct storage *storage);
/* The commit lane must have nothing of ours left (lane_close first): writes what is pending itself, syncs, unlocks. */
void storage_close(struct storage *storage);

/* Does what is due (log writes, slot seals, retention, reclaiming) and says in how many ms to come again. */
int64_t storage_tick(struct storage *storage, int64_t now_mono_ms);
/* The loop will sleep now: what is pending goes to the log without waiting for a tick of its own. */
void storage_rest(struct storage *storage);

/* --- tools, without a server --- */

/* The published days only: takes no lock and writes nothing, so a server may run on the same directory. For select, label
 * names and values and storage_each_file. Damaged days are left out with a log line. */
MUST_CHECK bool storage_open_readonly(struct storage **out, struct str path, struct err *err);

struct storage_file {
    struct str name;
    bool is_day; /* Published; else an open partition or an overlay, of which less is known. */
    int64_t from_ms, to_ms;           /* Of the partition. */
    int64_t time_min_ms, time_max_ms; /* Of its samples; a day's. */
    uint64_t series, samples;         /* A day's. */
    uint64_t bytes, index_bytes, column_bytes, chunk_bytes;
};
typedef bool (*storage_file_fn)(void *ctx, const struct storage_file *file); /* False ends the walk. */
bool storage_each_file(const struct storage *storage, storage_file_fn fn, void *ctx);

/* Takes the lock, then samples of any time in any order, in bounded memory; storage_import_finish makes days of them,
 * one after the other, and tells each. What the store has already of the same times stays. */
struct storage_import;
MUST_CHECK bool storage_import_open(struct storage_import **out, struct str path, struct err *err);
/* Labels sorted, unique, not empty. */
MUST_CHECK bool storage_import_add(struct storage_import *import, const struct label *labels, size_t count,
                                   int64_t time_ms, double value, struct err *err);
MUST_CHECK bool storage_import_finish(struct storage_import *import, storage_file_fn told, void *ctx,
                                      struct err *err);
void storage_import_close(struct storage_import *import); /* NULL is fine. */

/* --- append --- */

/* A group is one scrape target, or one (job, instance) of remote write: its series live together. `key` is a stable
 * hash of what it is, so that after a restart it finds its series again. */
struct storage_group;
struct storage_group *storage_group_open(struct storage *storage, uint64_t key);
void storage_group_close(struct storage_group *group); /* Its series live on until they are sealed. */

/* Finds or makes the series with these labels (sorted, unique, not empty) and pins it: the ref stays valid until
 * storage_series_release, however old its samples get. SERIES_REF_NONE with err ERR_LIMIT when the series limit is
 * reached, ERR_NO_SPACE when storage takes nothing new. */
series_ref storage_series(struct storage *storage, struct storage_group *group, const struct label *labels,
                          size_t label_count, uint64_t labels_hash, struct err *err);
void storage_series_release(struct storage *storage, series_ref ref);
/* The way past the labels, for a writer that can hash what it was sent as a label set: the key, with a seed that nobody
 * can guess, stands for the labels of a series that storage_series gave. It is remembered as long as there is room. */
void storage_series_know(struct storage *storage, struct hash128 key, series_ref ref);
/* That series, or SERIES_REF_NONE when storage_series must be asked. Not pinned: for an append in the same turn. */
series_ref storage_series_known(struct storage *storage, struct hash128 key);
/* The label set of a pinned series, as a new reference: the caller unrefs. */
struct labels *storage_series_labels(struct storage *storage, series_ref ref);

struct append_options {
    bool all_or_nothing; /* Remote write v1: one bad sample and nothing is stored. */
    int64_t now_ms;      /* Wall time, for the too-far-in-the-future check (now + 10 min). */
};
struct append_result {
    size_t outcome_count[SAMPLE_OUTCOME_COUNT];
    size_t series_created;
    size_t bad_index; /* First sample that was refused; valid when one was. */
};

/* Takes the batch (group NULL: each series goes to the group that storage_series was asked with last, while it had no
 * samples in memory): each sample's outcome is filled in. False only when nothing could be stored: all_or_nothing with a
 * bad sample (ERR_BAD_DATA, the text of that sample's outcome as Prometheus gives it: `out of order sample`,
 * `duplicate sample for timestamp %d; overrides not allowed: existing %g, new value %g`, `out of bounds`), or no room
 * for the log (ERR_NO_SPACE). All refs must be pinned. */
MUST_CHECK bool storage_append(struct storage *storage, struct storage_group *group, struct batch *batch,
                               const struct append_options *options, struct append_result *result,
                               struct err *err);

/* Tells `done` (loop thread, later) when everything appended so far is in the log file, or that it cannot be. */
typedef void (*storage_commit_fn)(void *ctx, const struct err *err);
void storage_commit(struct storage *storage, storage_commit_fn done, void *ctx);

/* --- deletes and snapshots: loop thread --- */

/* Deletes what has been appended so far of the series that match any one of `sets`, in [from_ms, to_ms]; what comes
 * later lives. Takes the matchers: the sets are empty afterwards. `done` is told when the delete is on the disk and in
 * force. False (ERR_LIMIT) when there are too many deletes that have not been cleaned. */
MUST_CHECK bool storage_delete(struct storage *storage, struct matchers *sets, size_t set_count, int64_t from_ms,
                               int64_t to_ms, storage_commit_fn done, void *ctx, struct err *err);
/* Takes what is deleted out of the published days; `done` may be minutes away. */
void storage_clean_tombstones(struct storage *storage, storage_commit_fn done, void *ctx);

/* Makes <path>/snapshots/<name>: a copy, mostly by hard links, that a server starts on. What is in memory is sealed
 * before, unless skip_head. A failed one is removed. */
#define STORAGE_SNAPSHOT_NAME_MAX 64
typedef void (*storage_snapshot_fn)(void *ctx, const char *name, const struct err *err);
void storage_snapshot(struct storage *storage, bool skip_head, storage_snapshot_fn done, void *ctx);

/* --- select: any thread --- */

struct selection;

/* All series that match every matcher and may have samples in [from_ms, to_ms], sorted by labels, one entry per label
 * set. Matchers are borrowed for the call. */
MUST_CHECK bool storage_select(struct storage *storage, const struct matcher *matchers, size_t matcher_count,
                               int64_t from_ms, int64_t to_ms, struct selection **out, struct err *err);
/* How many series such a select would look at, about; UINT64_MAX: that is not known without a look at many, or samples since
 * from_ms may have to come from files that nobody has read lately. */
uint64_t storage_select_weight(struct storage *storage, const struct matcher *matchers, size_t matcher_count,
                               int64_t from_ms);
void selection_free(struct selection *selection); /* NULL is fine. Any thread. */
size_t selection_count(const struct selection *selection);
uint64_t selection_bytes(const struct selection *selection); /* What its label sets take, about. */
/* Borrowed; lives as long as the selection, longer with labels_ref. */
struct labels *selection_labels(const struct selection *selection, size_t index);

/* The newest sample that it shows of a series, where that is a float (it may be the stale marker) and known without reading;
 * false says nothing. */
bool selection_newest(const struct selection *selection, size_t index, int64_t *time_ms, double *value);

/* Samples of one series of a selection in strictly increasing time, within the selection's range. Several threads may
 * each have their own cursor over the same selection. */
struct sample_block {
    size_t count;
    const int64_t *time_ms; /* Valid until the next call on the cursor. */
    const double *value;
    const struct histogram *const *histogram; /* NULL: all floats. Else NULL at a float, whose value counts. */
    bool is_last;                             /* Nothing follows, for sure. */
};
struct cursor;
struct cursor *cursor_new(const struct selection *selection);
void cursor_free(struct cursor *cursor);
void cursor_seek(struct cursor *cursor, size_t index); /* Starts series `index` from its first sample. */
/* The next run of samples; count 0 at the end. False when a file is damaged (ERR_CORRUPT) or cannot be read. */
MUST_CHECK bool cursor_next(struct cursor *cursor, struct sample_block *out, struct err *err);

/* Sorted distinct names, or values of one name, of the series that match any one of `sets` (or all series, set_count 0)
 * and may have samples in the range. limit 0: all; *cut says that there were more. Texts in the arena. */
MUST_CHECK bool storage_label_names(struct storage *storage, const struct matchers *sets, size_t set_count,
                                    int64_t from_ms, int64_t to_ms, size_t limit, struct arena *arena,
                                    struct str **out, size_t *count, bool *cut, struct err *err);
MUST_CHECK bool storage_label_values(struct storage *storage, struct str name, const struct matchers *sets,
                                     size_t set_count, int64_t from_ms, int64_t to_ms, size_t limit,
                                     struct arena *arena, struct str **out, size_t *count, bool *cut,
                                     struct err *err);

/* --- exemplars: loop thread; the newest `max` of them in memory, and in the log for a restart --- */

#define EXEMPLAR_LABEL_RUNES_MAX 128 /* Names and values of one exemplar together. */

struct exemplar {
    int64_t time_ms;
    double value;
    const struct label *labels; /* Sorted. Empty values do not count. */
    size_t label_count;
    bool is_undated; /* It came without a time: time_ms is its scrape's. */
};
enum exemplar_outcome {
    EXEMPLAR_STORED,
    EXEMPLAR_SAME, /* The series' newest already: nothing to do. */
    EXEMPLAR_OUT_OF_ORDER,
    EXEMPLAR_TOO_LONG,
    EXEMPLAR_INVALID, /* A label twice, or not UTF-8. */
    EXEMPLAR_OFF,     /* None are kept. */
};
/* An exemplar of a pinned series, after its sample. */
enum exemplar_outcome storage_exemplar_add(struct storage *storage, series_ref ref,
                                           const struct exemplar *exemplar);
/* 0 (at first): none are kept. A lower maximum drops the oldest. */
void storage_set_exemplars_max(struct storage *storage, size_t max);
size_t storage_get_exemplars_max(const struct storage *storage);

/* The exemplars in [from_ms, to_ms], those of one series together, oldest first: a copy with references, which any
 * thread may read and free. */
struct exemplar_item {
    struct labels *series;
    struct labels *labels;
    int64_t time_ms;
    double value;
};
struct exemplar_list {
    struct exemplar_item *items;
    size_t count;
};
struct exemplar_list *storage_exemplars(const struct storage *storage, int64_t from_ms, int64_t to_ms);
void exemplar_list_free(struct exemplar_list *list); /* NULL is fine. */

struct exemplar_stats {
    uint64_t appended, out_of_order;
    uint64_t stored, series, max, bytes;
    int64_t oldest_time_ms; /* Of the one that is overwritten next; 0: there are none. */
};
void storage_get_exemplar_stats(const struct storage *storage, struct exemplar_stats *out);

/* --- figures: loop thread --- */

/* Why new series were refused: name of the reason in metrics. */
#define STORAGE_REFUSALS(X)                           \
    X(STORAGE_REFUSED_SERIES_LIMIT, "series_limit")   \
    X(STORAGE_REFUSED_JOB_LIMIT, "job_series_limit")  \
    X(STORAGE_REFUSED_MEMORY, "memory_budget")        \
    X(STORAGE_REFUSED_NO_ROOM, "no_room")             \
    X(STORAGE_REFUSED_LOG, "log")                     \
    X(STORAGE_REFUSED_INVALID, "invalid")
enum storage_refusal {
#define X(id, name) id,
    STORAGE_REFUSALS(X)
#undef X
    STORAGE_REFUSAL_COUNT
};

/* Who is large, as it was when series were refused last (looked up once a minute). Texts are cut. */
#define STORAGE_GUILTY_TEXT_MAX 128
struct storage_guilty {
    bool known;
    char job[STORAGE_GUILTY_TEXT_MAX];   /* The one with most series. */
    char label[STORAGE_GUILTY_TEXT_MAX]; /* The name with most values. */
    uint64_t job_series, label_values;
};

/* How many bytes each of so many queries may take now; UINT64_MAX without a memory budget. From then on no selection
 * may take more, until it is asked or memory is looked at again. */
uint64_t storage_memory_share(struct storage *storage, unsigned query_count);

struct storage_stats {
    uint64_t series;              /* Live in the head. */
    uint64_t series_created, series_removed, series_refused;
    uint64_t refused[STORAGE_REFUSAL_COUNT]; /* What series_refused is the sum of. */
    struct storage_guilty guilty;
    uint64_t memory_budget; /* 0: none. */
    bool memory_refusing;
    uint64_t series_in_memory; /* The live ones, and dead ones that are not yet spilled. */
    uint64_t spills;
    uint64_t quarantined; /* Files set aside while running. */
    uint64_t size_retentions, builds, build_failures;
    double build_seconds;
    uint64_t samples_appended;
    uint64_t outcome_count[SAMPLE_OUTCOME_COUNT];
    uint64_t histogram_count[SAMPLE_OUTCOME_COUNT]; /* Native histograms among them. */
    uint64_t label_pairs, chunks;
    int64_t time_min_ms, time_max_ms; /* INT64_MAX / INT64_MIN when empty. */
    uint64_t log_bytes, log_segments, log_segment_current, log_bytes_written;
    uint64_t log_failures, log_corruptions;
    struct summary log_fsync; /* Seconds. */
    uint64_t partitions, partition_bytes;
    uint64_t slots_sealed, seal_failures, partitions_retired;
    uint64_t stuck_readers;       /* Open files with a reader that has not ended for minutes. */
    uint64_t head_bytes;          /* Anonymous memory that storage knows of. */
    double replay_seconds;
    uint64_t replay_samples;
    uint64_t tombstones;          /* Deletes that are not yet out of all files. */
    bool degraded;                /* The log cannot be written: writes are refused. */
};
void storage_get_stats(const struct storage *storage, struct storage_stats *out);

/* For /status/tsdb: the largest `limit` of each kind; texts in the arena. */
struct storage_top_entry {
    struct str name;
    uint64_t value;
};
struct storage_top {
    struct storage_top_entry *items;
    size_t count;
};
struct storage_cardinality {
    struct storage_top series_by_metric, values_by_label, bytes_by_label, series_by_pair;
};
void storage_get_cardinality(struct storage *storage, size_t limit, struct arena *arena,
                             struct storage_cardinality *out);

/* Changes limits while running (configuration reload). */
void storage_set_retention(struct storage *storage, int64_t retention_ms, uint64_t retention_bytes);
void storage_set_out_of_order(struct storage *storage, int64_t out_of_order_ms);

#endif
