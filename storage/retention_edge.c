/* retention_edge: where samples are too old. Retention counts back from the newest sample, and a wall clock that jumps makes
 * a sample that is newer than all by years: what is behind it would be gone within a minute.
 *
 *     samples    ---- days ----------|         hole          |-- minutes --|
 *                                    base                                  newest
 *
 * So samples behind a hole count only when they span TRUST_MS; until then the ones before the hole are the newest. What is
 * later than the wall clock allows does not count at all. All of this is read from the samples' own times: it holds over
 * restarts. A server that was off for a month keeps old days for one day more. */
#include "base/clock.h"
#include "store.h"

#define AHEAD_MAX_MS  (10 * 60 * 1000) /* As append.c takes samples of the future. */
#define TRUST_MS      (INT64_C(24) * 60 * 60 * 1000)
#define TRUST_PARTS   4  /* At most a quarter of what is kept. */
#define TRUST_BUCKETS 48 /* A hole is two of them: an hour. */
#define HOLES_MAX                                                                                  \
    4 /* That are looked behind: what is written once a day is retained four days longer. */

/* The trust before the newest sample, in buckets; the last is the newest's. */
struct coverage {
    int64_t newest_ms, bucket_ms;
    uint64_t buckets;
    int64_t below_ms, best_ms; /* Second look: the newest sample below this time. */
};

int64_t storage_newest_ms(const struct storage *storage)
{
    int64_t newest = atomic_load_explicit(&storage->time_max_ms, memory_order_relaxed);
    int64_t possible = clock_wall_ms() + AHEAD_MAX_MS;
    return newest < possible ? newest : possible;
}

static void cover(struct coverage *coverage, int64_t min_ms, int64_t max_ms)
{
    int64_t first_ms = coverage->newest_ms - TRUST_BUCKETS * coverage->bucket_ms;
    if (min_ms < coverage->below_ms) {
        int64_t max_below = max_ms < coverage->below_ms ? max_ms : coverage->below_ms - 1;
        coverage->best_ms = max_below > coverage->best_ms ? max_below : coverage->best_ms;
    }
    max_ms = max_ms < coverage->newest_ms ? max_ms : coverage->newest_ms;
    min_ms = min_ms > first_ms ? min_ms : first_ms + 1;
    for (int64_t at = min_ms; at <= max_ms; at += coverage->bucket_ms)
        coverage->buckets |= UINT64_C(1) << (coverage->newest_ms - at) / coverage->bucket_ms;
    if (min_ms <= max_ms)
        coverage->buckets |= UINT64_C(1) << (coverage->newest_ms - max_ms) / coverage->bucket_ms;
}

static void cover_file(struct coverage *coverage, const struct store_file *file)
{
    if (file->from_ms > coverage->newest_ms)
        return;
    if (file->day) {
        cover(coverage, day_file_info(file->day)->time_min_ms,
              day_file_info(file->day)->time_max_ms);
        return;
    }
    const struct bundle_dir *dir = atomic_load_explicit(&file->open->dir, memory_order_relaxed);
    for (uint32_t i = 0; dir && i < atomic_load_explicit(&dir->count, memory_order_relaxed); i++)
        cover(coverage, dir->entries[i].time_min_ms, dir->entries[i].time_max_ms);
}

static void cover_slot(void *ctx, const struct slot *slot)
{
    for (size_t i = 0; i < slot->columns.count; i++)
        cover(ctx, slot->columns.items[i]->base_ms, slot->columns.items[i]->last_ms);
}

static void cover_all(struct coverage *coverage, const struct storage *storage)
{
    const struct file_list *list = file_list_now(storage);
    for (uint32_t i = 0; list && i < list->count; i++)
        cover_file(coverage, &list->items[i]);
    for (size_t g = 0; g < storage->groups.count; g++) {
        const struct storage_group *group = storage->groups.items[g];
        if (group && group->slot)
            cover_slot(coverage, group->slot);
    }
    seal_each_slot(storage, cover_slot, coverage);
}

/* The newest sample before the first hole in the trust behind `newest_ms`; false when there is none. */
static bool before_hole(const struct storage *storage, int64_t newest_ms, int64_t bucket_ms,
                        int64_t *out)
{
    struct coverage coverage = {.newest_ms = newest_ms,
                                .bucket_ms = bucket_ms,
                                .below_ms = INT64_MIN,
                                .best_ms = INT64_MIN};
    cover_all(&coverage, storage);
    coverage.buckets |= 1; /* It may be a late one in memory. */
    for (int i = 1; i + 1 < TRUST_BUCKETS; i++) {
        if (coverage.buckets >> i & 3)
            continue;
        coverage.below_ms = newest_ms - i * bucket_ms;
        cover_all(&coverage, storage);
        if (coverage.best_ms == INT64_MIN)
            return false;
        *out = coverage.best_ms;
        return true;
    }
    return false;
}

void retention_base_update(struct storage *storage)
{
    int64_t span = storage->options.retention_ms, base = storage_newest_ms(storage);
    int64_t trust = span / TRUST_PARTS < TRUST_MS ? span / TRUST_PARTS : TRUST_MS;
    if (span > 0 && base >= -TIME_MS_MAX) {
        for (int i = 0; i < HOLES_MAX; i++) {
            if (!before_hole(storage, base, trust / TRUST_BUCKETS + 1, &base))
                break;
        }
    }
    storage->retention_base_ms = base;
}

bool retention_edge(const struct storage *storage, int64_t *edge_ms)
{
    int64_t newest = storage_newest_ms(storage), span = storage->options.retention_ms;
    int64_t base = storage->retention_base_ms < newest ? storage->retention_base_ms : newest;
    if (span <= 0 || base == INT64_MIN || base < INT64_MIN + span)
        return false;
    *edge_ms = base - span;
    return true;
}
