/* scraper: what the files of this module share: a scraper has pools (jobs), a pool has targets, a
 * target has at most one fetch in flight.
 *
 *     pool_sync.c, target.c  groups -> target_build -> keep | start | retire
 *     schedule.c, fetch.c    due -> fetch_start -> on_head, on_bytes [-> held] -> fetch_finish
 *     append.c, report.c     lines -> batch -> storage_append, with stale markers and report
 *
 * Everything runs on the loop thread. */
#ifndef SCRAPE_SCRAPER_H
#define SCRAPE_SCRAPER_H

#include <uv.h>

#include "base/arena.h"
#include "base/compress.h"
#include "base/heap.h"
#include "base/list.h"
#include "failure_log.h"
#include "family.h"
#include "line_cache.h"
#include "nhcb.h"
#include "parse_protobuf.h"
#include "parse_text.h"
#include "sample_labels.h"
#include "scrape.h"

#define TURN_BUDGET_NS (2 * 1000 * 1000) /* Parsing per turn of the loop. */
#define SYNC_BUDGET_NS (4 * 1000 * 1000) /* Making targets match discovery, per turn. */
#define TURN_SLOW_NS   (20 * 1000 * 1000)
#define TIMER_SLACK_MS 2 /* By so much a timer may be early. */
#define CACHE_KEEP_FAILED_MS                                                                       \
    (10 * 60 * 1000) /* A target that is down longer gives its series back. */
#define REPORT_SERIES_MAX 8
#define SPARE_INFLATE_MAX 4

struct pool;
struct fetch;

enum target_state {
    TARGET_NEW, /* Of a sync that is under way; in no schedule. */
    TARGET_ACTIVE,
    TARGET_RETIRING, /* Gone from its pool; its stale markers wait in case it comes back. */
};

/* What becomes of histograms: the job's switches, unless labels of the target say else. */
struct target_switches {
    bool native, always_classic, classic_to_native;
};

/* What discovery said: its labels are made when somebody asks, as they take ten times the room of those of series. */
struct found_target {
    struct target_group *group; /* A reference. */
    size_t index;
};

struct target {
    struct scraper *scraper; /* Borrowed. */
    struct pool *pool;       /* Borrowed; NULL once retired. */
    enum target_state state;
    uint32_t sync_round;     /* Of its pool, when it was found last. */
    uint64_t rules_round;    /* Of its pool, when its cache was made. */
    uint32_t retiring_index; /* In scraper->retiring, when it is there. */
    struct found_target found;
    struct labels *labels;
    char *url;
    uint64_t key; /* Of job, labels and URL: what makes it the same target. */
    int64_t interval_ms, timeout_ms;
    struct target_switches switches;
    int64_t phase_ms; /* Of its grid: wall time modulo the interval. */
    int64_t due_ms;   /* Monotonic: next start, or when the retired one gets its markers. */
    int64_t stale_ms; /* Wall time of the markers of a retired one. */
    struct storage_group *group; /* target_group(); NULL until something is stored. */
    struct line_cache cache;
    enum text_format format; /* Of its last answer. */
    size_t cache_good_count; /* Entries after the last good scrape. */
    struct family_list families;
    series_ref reports[REPORT_SERIES_MAX]; /* Pinned; SERIES_REF_NONE until first used. */
    enum target_health health;
    char *error; /* Owned; NULL when fine. */
    int64_t last_scrape_ms;
    int64_t last_good_ms; /* Monotonic. */
    int64_t last_start_ns;
    double last_duration_seconds;
    struct fetch *fetch; /* In flight. */
};

struct target_list {
    struct target **items;
    size_t count, capacity;
};

struct found_list {
    struct found_target *items;
    size_t count, capacity;
};

struct pool {
    struct scraper *scraper;             /* Borrowed. */
    struct config *config;               /* Reference. */
    const struct config_scrape *options; /* In config. */
    char *name;
    struct target_group **groups; /* References. */
    size_t group_count;
    VEC(struct target_group *)
    old_groups;             /* References, let go of in slices: thousands take 20 ms. */
    struct pool_sync *sync; /* Under way. NULL else. */
    bool sync_again;        /* The groups have changed since it started. */
    uint32_t sync_round;
    uint64_t
        rules_round; /* Another one for each job with other rules: lines may mean other series. */
    struct target_list targets; /* Sorted by labels. Owned. */
    struct found_list dropped; /* At most keep_dropped_targets. */
    size_t dropped_count;
    uint64_t syncs, sync_failures;
    struct summary sync_length; /* Seconds. */
    char *request_lines;
    struct http_dialer *dialer; /* Of the job. */
    char *forced_error; /* target_limit: every scrape fails with it. */
};

struct interval_length {
    int64_t interval_ms;
    struct summary length; /* Seconds. */
};

struct scraper {
    struct uv_loop_s *loop;
    struct http_client *client;
    struct storage *storage; /* NULL while it is being opened. */
    char *user_agent;
    void (*on_quiet)(void *ctx);
    void *quiet_ctx;
    int64_t tolerance_ms; /* Of times of scrapes; negative: none. */
    struct failure_logs failure_logs;
    uint64_t hash_seed;         /* Of the line caches. */
    uint64_t offset_seed;       /* Of the schedule: host name and external labels. */
    VEC(struct pool *) pools;   /* Sorted by name. */
    VEC(struct pool *) leaving; /* Their jobs are gone, and their targets retire. */
    uint64_t rules_rounds;
    VEC(struct target *) retiring;
    struct map retiring_map; /* Key to index of retiring. */
    struct family_table families;
    struct heap schedule; /* Targets by due_ms: active and retiring ones. */
    struct list fetches;  /* In flight. */
    struct list waiting;  /* Those with bytes left over from a turn. */
    struct list released; /* Those that were held while there was no storage. */
    size_t held_bytes;
    bool held_full; /* Nothing more is begun before there is a storage. */
    uv_timer_t due_timer;
    uv_idle_t drain_idle; /* Runs while somebody waits. */
    uv_idle_t sync_idle;  /* Runs while a pool is made to match. */
    uv_check_t turn_check;
    uv_prepare_t turn_prepare;
    int64_t turn_left_ns, sync_left_ns;
    uint64_t turn_from_ns, turn_cpu_ns; /* The loop came back from its sockets; went to them. */
    int open_handles;
    struct inflate_stream *spare_inflates[SPARE_INFLATE_MAX];
    unsigned spare_inflate_count;
    bool stopping, freeing;
    void (*on_stopped)(void *ctx);
    void *stopped_ctx;
    struct scraper_stats stats;
    VEC(struct interval_length) intervals;
};

/* --- target.c --- */

enum target_verdict { TARGET_KEEP, TARGET_DROP, TARGET_BAD };
/* What a discovered target becomes by the job's rules; texts and labels are references. */
struct target_spec {
    struct labels *labels;
    char *url;
    uint64_t key;
    int64_t interval_ms, timeout_ms;
    struct target_switches switches;
};
enum target_verdict target_build(struct target_spec *out, const struct config_scrape *options,
                                 const struct target_group *group, size_t index,
                                 struct arena *arena, struct err *err);
void target_spec_deinit(struct target_spec *spec);
/* The labels before relabelling. A reference for the caller. */
struct labels *target_discovered(const struct config_scrape *options,
                                 const struct target_group *group, size_t index);
/* Takes what is in spec and, as update, a reference to the group. */
struct target *target_new(struct pool *pool, struct target_spec *spec, struct found_target found);
bool target_is(const struct target *target, const struct target_spec *spec);
/* The same one: found anew, with other times maybe. */
void target_update(struct target *target, struct target_spec *spec, struct found_target found);
void target_free(struct target *target);      /* No fetch in flight. Releases its series. */
/* Opened by the first who stores something: there is no moment at which all targets could have theirs. */
struct storage_group *target_group(struct target *target);
void target_set_error(struct target *target, const char *text);
const struct line_cache_ops *target_release_ops(struct target *target, struct line_cache_ops *ops);

/* --- pool.c --- */

struct pool *pool_new(struct scraper *scraper, struct config *config,
                      const struct config_scrape *options);
void pool_set_config(struct pool *pool, struct config *config, const struct config_scrape *options);
void pool_set_groups(struct pool *pool, struct target_group *const *groups, size_t count);
/* Its job is gone: all its targets retire, in slices of the turns that follow; then it is freed. */
void pool_leave(struct pool *pool);
void pools_leave_now(struct scraper *scraper); /* All that are still at it. */
void pool_free(struct pool *pool);
void scraper_targets_changed(struct scraper *scraper);

/* --- pool_sync.c --- */

/* Makes the targets match pool->groups, in slices of the turns that follow. */
void pool_sync_start(struct pool *pool);
void pool_sync_cancel(struct pool *pool); /* The targets are as they were. */
void pool_sync_finish(struct pool *pool); /* In this turn. */
/* As much of all syncs as sync_left_ns allows. Whether there is more to do. */
bool pool_sync_some(struct scraper *scraper);
void target_retire(struct target *target);
void target_unlist(struct target *target); /* Out of scraper->retiring. */

/* --- schedule.c --- */

void schedule_open(struct scraper *scraper);
void schedule_close(struct scraper *scraper);
void schedule_target(struct target *target); /* Sets when it is due: its next grid point. */
void schedule_retire(struct target *target); /* ... its markers: two intervals and a tenth on. */
void schedule_rebuild(struct scraper *scraper);
void schedule_set_seed(struct scraper *scraper, uint64_t seed); /* Then schedule_rebuild. */
void schedule_tell_stopped(struct scraper *scraper);            /* Nothing is in flight any more. */
/* The grid point next to now, or now when none is within the tolerance and a hundredth of the interval. */
int64_t schedule_snap(const struct target *target, int64_t now_wall_ms);
int64_t schedule_next(int64_t now_wall_ms, int64_t interval_ms,
                      int64_t phase_ms); /* First one after now. */
int64_t schedule_phase(int64_t interval_ms, uint64_t hash, uint64_t seed);

/* --- fetch.c --- */

void fetch_start(struct target *target, int64_t now_wall_ms);
void fetch_cancel(struct target *target); /* Nothing of it is stored. */
void fetch_drain_waiting(struct scraper *scraper);
void fetch_release_held(struct scraper *scraper); /* There is a storage now. */

/* --- append.c --- */

/* An exemplar on its way: it is stored after its sample. */
struct append_exemplar {
    series_ref ref;
    uint32_t sample; /* Those of one sample are stored in order of time. */
    int64_t time_ms;
    double value;
    const struct label *labels; /* Sorted; in `kept`. */
    size_t label_count;
    bool is_undated;
};

/* One scrape's samples on their way. */
struct append {
    struct target *target;
    struct batch batch;
    struct arena arena; /* Of one line. */
    struct arena kept;  /* Of the whole scrape: histograms, exemplars. */
    VEC(struct append_exemplar) exemplars;
    bool has_sample; /* The last line became a sample: what its exemplars belong to. */
    bool was_histogram;
    struct histogram_sum reducer;
    int32_t schema_max;
    uint64_t bucket_limit;
    struct sample_labels labels;
    int64_t time_ms; /* Of samples without their own. */
    bool honor_timestamps, track_timestamps;
    uint64_t sample_limit;
    uint64_t lines, added, series_added, duplicates, refused;
    bool limit_exceeded, label_limit_exceeded, bucket_limit_exceeded;
};
void append_init(struct append *append, struct target *target, int64_t time_ms);
void append_deinit(struct append *append);
extern const struct parse_text_sink append_sink; /* To be copied, with ctx set to the append. */
/* The scrape is over, well or not: stale markers and report join the batch, which goes to storage.
 */
struct append_summary {
    bool ok;
    double duration_seconds;
    int64_t body_bytes; /* -1: over the limit. */
};
void append_finish(struct append *append, const struct append_summary *summary);
/* Markers for all that lives, at this time, and an empty cache: the target is gone for good. */
void append_target_gone(struct target *target, int64_t time_ms);

/* --- append_histogram.c --- */

/* What native_histogram_min_bucket_factor means: no finer than this. */
int32_t append_schema_max(double bucket_factor);
/* Brings a histogram within the scrape's limits. NULL: it has too many buckets in any resolution. */
const struct histogram *append_histogram_limit(struct append *append,
                                               const struct histogram *histogram);

/* --- append_exemplar.c --- */

void append_exemplar_add(struct append *append, const struct text_exemplar *exemplar);
void append_exemplars_store(struct append *append);

/* --- report.c --- */

void report_add(struct append *append, const struct append_summary *summary);
void report_add_stale(struct append *append);
void report_release(struct target *target);

#endif
