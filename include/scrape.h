/* scrape: fetches the targets on their schedule and hands what they say to storage. Loop thread.
 *
 *     due -> fetch_start -> bytes arrive (parse_text_feed, at most 2 ms a turn)
 *         -> storage_append: samples, stale markers and report series in one batch
 *
 * A pool is one job; a target is one label set in it. Targets that a reload or discovery does not
 * change keep their schedule, line cache and series. */
#ifndef SCRAPE_H
#define SCRAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "base/summary.h"
#include "config.h"
#include "model/labels.h"
#include "model/metadata.h"
#include "model/target.h"
#include "net/http_client.h"
#include "net/loop.h"
#include "storage.h"

struct scraper;

struct scraper_options {
    struct uv_loop_s *loop;
    struct http_client *client; /* Borrowed. */
    struct storage *storage;    /* Borrowed. NULL: scraper_attach_storage comes later. */
    struct str user_agent;      /* Prometheus/3.14.0 */
    /* What was asked for has come and is stored: nothing more is expected at once. May be NULL. */
    void (*on_quiet)(void *ctx);
    void *ctx;
    int64_t tolerance_ms;       /* A scrape no farther off its schedule has the schedule's time. Negative: its own. */
};

struct scraper *scraper_open(const struct scraper_options *options);
/* The store is open now. Until then a target is scraped once, and what it said is held as it came, in
 * bounded memory; it is parsed and stored, with its own time, from here on, before a newer scrape. */
void scraper_attach_storage(struct scraper *scraper, struct storage *storage);
/* New configuration: pools appear, change and go. Takes a reference. */
void scraper_apply(struct scraper *scraper, struct config *config);
/* The whole list of groups of a job, from discovery. */
void scraper_set_groups(struct scraper *scraper, struct str job, struct target_group *const *groups,
                        size_t count);
/* Stops the schedule and cancels what is in flight; done(ctx) when nothing is. Writes no stale
 * markers. */
void scraper_stop(struct scraper *scraper, void (*done)(void *ctx), void *ctx);
void scraper_free(struct scraper *scraper);

/* Whether each target of a group could be scraped: `instance 0 in group 0: "a/b" is not a valid hostname`. Needs no
 * scraper. */
MUST_CHECK bool scrape_check_group(const struct config_scrape *options,
                                   const struct target_group *group, struct err *err);

/* Labels of a target before and after relabelling, the hidden ones but __meta_*, too; none after it: dropped, or (false) one that could not be
 * scraped. References for the caller. Needs no scraper. */
MUST_CHECK bool scrape_target_labels(struct labels **discovered, struct labels **labels,
                                     const struct config_scrape *options, const struct target_group *group,
                                     size_t index, struct err *err);

/* --- what the API shows; valid during the callback --- */

enum target_health { TARGET_UNKNOWN, TARGET_UP, TARGET_DOWN };
const char *target_health_text(enum target_health health);

struct target_view {
    const struct labels *discovered; /* Before relabelling. */
    const struct labels *labels;     /* After: what series carry. NULL for dropped targets. */
    struct str pool;
    struct str url;
    struct str error;       /* Empty when fine. */
    int64_t last_scrape_ms; /* 0: never. */
    double last_duration_seconds;
    enum target_health health;
    int64_t interval_ms, timeout_ms;
};
typedef void (*target_view_fn)(void *ctx, const struct target_view *view);
/* pool empty: all. In the order of pools and targets (sorted by labels). */
void scraper_each_active(struct scraper *scraper, struct str pool, target_view_fn fn, void *ctx);
void scraper_each_dropped(struct scraper *scraper, struct str pool, target_view_fn fn, void *ctx);

struct pool_view {
    struct str name;
    size_t active_count, dropped_count;
    uint64_t target_limit; /* 0: none. */
    uint64_t syncs, sync_failures;
    uint64_t metadata_entries, metadata_bytes;
    const struct summary *sync_length; /* Seconds from what discovery says to the targets. */
};
typedef void (*pool_view_fn)(void *ctx, const struct pool_view *view);
void scraper_each_pool(struct scraper *scraper, pool_view_fn fn, void *ctx); /* Sorted by name. */
bool scraper_has_pool(const struct scraper *scraper, struct str pool);
/* The time between two scrapes of a target in truth, for each interval that targets have or had. */
typedef void (*interval_view_fn)(void *ctx, int64_t interval_ms, const struct summary *length);
void scraper_each_interval(const struct scraper *scraper, interval_view_fn fn, void *ctx);

/* What targets have said of their metrics; metric empty: all. A target's entries come together. */
typedef void (*metadata_view_fn)(void *ctx, const struct target_view *target,
                                 const struct metadata *metadata);
void scraper_each_metadata(struct scraper *scraper, struct str metric, metadata_view_fn fn,
                           void *ctx);

struct scraper_stats {
    uint64_t scrapes, scrape_failures;
    uint64_t samples_duplicate, samples_out_of_order, samples_out_of_bounds;
    uint64_t exceeded_sample_limit, exceeded_body_size_limit, exceeded_label_limits,
        exceeded_target_limit, exceeded_bucket_limit;
    uint64_t exemplars_out_of_order;
    uint64_t exemplars_ignored; /* Read and not kept. */
    uint64_t pools_created, pool_reloads, targets, cache_entries;
    double scrape_seconds; /* Of all scrapes, from their start to what is stored. */
    double loop_turn_seconds_max;     /* The longest that the loop has been away from its sockets. */
    double loop_turn_cpu_seconds_max; /* ... and was running: the rest of the other waited for a CPU or a disk. */
    uint64_t loop_turns_slow;     /* Longer than 20 ms. */
};
void scraper_get_stats(const struct scraper *scraper, struct scraper_stats *out);

#endif
