/* day_build_deal: from bundles, which have the series of one target for half an hour, to runs by series.
 *
 * The runs stay where they are, in the maps of the inputs. A first walk checks each bundle and weighs its series; then
 * the ordinals are taken in buckets, one after the other: of each bundle that has some of them only the ids are looked
 * at, and what the bucket touches of the maps is let go when the next one comes. The order of writing is kept all the
 * way, because of equal times the later one wins. */
#include <stdlib.h>
#include <string.h>

#include "day_build_private.h"
#include "day_file_private.h"
#include "store.h"

#define MEMORY_BYTES  ((size_t)64 << 20)
#define BUCKETS_MAX   16u /* Each looks at the ids of all bundles once more. */
#define WEIGHT_BLOCKS 4096u
#define RUN_OVERHEAD  16 /* Of a run in memory: its reference and its part of the bundle's head. */

/* --- the first walk --- */

static bool weigh_bundle(struct day_deal *deal, uint32_t input, struct str value)
{
    const struct day_source *source = &deal->sources->items[input];
    struct day_found found = {.bytes = value, .input = input, .first = DAY_NONE};
    struct bundle bundle;
    size_t hint = 0;
    if (!bundle_verify(value) || !bundle_open(&bundle, value))
        return false;
    deal->slot_last = bundle.slot > deal->slot_last ? bundle.slot : deal->slot_last;
    for (uint32_t i = 0; i < bundle.run_count; i++) {
        struct bundle_run run = bundle_run_at(&bundle, i);
        uint32_t ordinal = i > UINT16_MAX ? DAY_NONE : day_source_ordinal(source, run.id, &hint);
        if (ordinal == DAY_NONE) {
            deal->sources->job->bad_runs++;
            continue;
        }
        deal->weights[ordinal / deal->weight_block] += run.len + RUN_OVERHEAD;
        found.first = ordinal < found.first ? ordinal : found.first;
        found.end = ordinal >= found.end ? ordinal + 1 : found.end;
    }
    if (found.end > 0)
        VEC_PUSH(&deal->found, found);
    return true;
}

struct walk {
    struct day_deal *deal;
    uint32_t input;
};

static bool walk_bundle(void *ctx, uint64_t key, struct str value, struct err *err)
{
    struct walk *walk = ctx;
    struct day_job *job = walk->deal->sources->job;
    (void)key;
    if (!day_job_step(job, value.len, err))
        return false;
    job->bad_bundles += !weigh_bundle(walk->deal, walk->input, value);
    if (walk->deal->in_passes)
        day_file_let_go(value);
    return true;
}

/* All bundles of all inputs, in order of writing. */
static bool walk_bundles(struct day_deal *deal, struct err *err)
{
    struct walk walk = {.deal = deal};
    for (uint32_t i = 0; i < deal->sources->count; i++) {
        struct day_source *source = &deal->sources->items[i];
        walk.input = i;
        if (!source->reader && !kv_each(source->read, PARTITION_BUNDLES, walk_bundle, &walk, err))
            return false;
    }
    return true;
}

/* Bounds such that the buckets are of about the same size. */
static void choose_bounds(struct day_deal *deal, uint64_t buckets)
{
    uint64_t all = 0, sum = 0;
    for (uint32_t i = 0; i < WEIGHT_BLOCKS; i++)
        all += deal->weights[i];
    VEC_PUSH(&deal->bounds, 0);
    for (uint32_t i = 0; i + 1 < WEIGHT_BLOCKS; i++) {
        uint64_t end = (uint64_t)(i + 1) * deal->weight_block;
        sum += deal->weights[i];
        if (sum >= all / buckets * deal->bounds.count && deal->bounds.count < buckets &&
            end < deal->sources->series_count)
            VEC_PUSH(&deal->bounds, (uint32_t)end);
    }
    VEC_PUSH(&deal->bounds, deal->sources->series_count);
    deal->bucket_count = (uint32_t)deal->bounds.count - 1;
}

bool day_deal_open(struct day_deal *deal, struct day_sources *sources, struct err *err)
{
    size_t memory = sources->job->build->memory_bytes;
    memory = memory ? memory : MEMORY_BYTES;
    uint64_t buckets = sources->bundle_bytes / memory + 1;
    *deal = (struct day_deal){
        .sources = sources, .bucket = DAY_NONE, .in_passes = sources->bundle_bytes > memory};
    for (size_t i = 0; i < sources->count; i++) {
        const struct day_file *day = sources->items[i].input->day;
        uint64_t slot = day ? day_file_info(day)->slot_last : 0;
        deal->slot_last = slot > deal->slot_last ? slot : deal->slot_last;
    }
    sources->job->bytes_all = sources->bundle_bytes;
    deal->weights = mem_zalloc(WEIGHT_BLOCKS * sizeof(uint64_t));
    deal->weight_block = sources->series_count / WEIGHT_BLOCKS + 1;
    bool good = walk_bundles(deal, err);
    if (good)
        choose_bounds(deal, buckets < BUCKETS_MAX ? buckets : BUCKETS_MAX);
    mem_free(deal->weights);
    deal->weights = NULL;
    return good;
}

void day_deal_close(struct day_deal *deal)
{
    for (size_t i = 0; i < DAY_COLUMNS_CACHED; i++)
        VEC_FREE(&deal->cached[i].times);
    VEC_FREE(&deal->found);
    VEC_FREE(&deal->bounds);
    VEC_FREE(&deal->bundles);
    VEC_FREE(&deal->refs);
    VEC_FREE(&deal->starts);
    VEC_FREE(&deal->picked);
}

/* --- a bucket --- */

static void pick_runs(struct day_deal *deal, const struct day_found *found, uint32_t from,
                      uint32_t to)
{
    const struct day_source *source = &deal->sources->items[found->input];
    struct day_bundle kept = {.input = found->input};
    struct day_picked picked = {.bundle = (uint32_t)deal->bundles.count};
    size_t hint = 0;
    if (!bundle_open(&kept.bundle, found->bytes))
        return;
    for (uint32_t i = 0; i < kept.bundle.run_count && i <= UINT16_MAX; i++) {
        picked.ordinal = day_source_ordinal(source, bundle_id_at(&kept.bundle, i), &hint);
        picked.run = (uint16_t)i;
        if (picked.ordinal != DAY_NONE && picked.ordinal >= from && picked.ordinal < to)
            VEC_PUSH(&deal->picked, picked);
    }
    VEC_PUSH(&deal->bundles, kept);
}

/* By ordinal, by counting. */
static void sort_picked(struct day_deal *deal, uint32_t from, uint32_t to)
{
    size_t count = (size_t)(to - from) + 2;
    VEC_CLEAR(&deal->starts);
    VEC_RESERVE(&deal->starts, count);
    memset(deal->starts.items, 0, count * sizeof(uint32_t));
    deal->starts.count = count;
    uint32_t *starts = deal->starts.items;
    VEC_EACH (picked, &deal->picked) {
        starts[picked->ordinal - from + 2]++;
    }
    for (size_t i = 2; i < count; i++)
        starts[i] += starts[i - 1];
    VEC_CLEAR(&deal->refs);
    VEC_RESERVE(&deal->refs, deal->picked.count + 1);
    deal->refs.count = deal->picked.count;
    VEC_EACH (picked, &deal->picked) {
        deal->refs.items[starts[picked->ordinal - from + 1]++] =
            (struct day_ref){picked->bundle, picked->run};
    }
    VEC_FREE(&deal->picked);
}

static void let_go(struct day_deal *deal)
{
    VEC_EACH (kept, &deal->bundles) {
        day_file_let_go(kept->bundle.bytes);
    }
}

bool day_deal_load(struct day_deal *deal, uint32_t ordinal, struct err *err)
{
    uint32_t bucket = 0;
    while (deal->bounds.items[bucket + 1] <= ordinal)
        bucket++;
    if (bucket == deal->bucket)
        return true;
    if (deal->in_passes)
        let_go(deal);
    for (size_t i = 0; i < DAY_COLUMNS_CACHED; i++)
        deal->cached[i].is_valid = false;
    VEC_CLEAR(&deal->bundles);
    deal->bucket = bucket;
    uint32_t from = deal->bounds.items[bucket], to = deal->bounds.items[bucket + 1];
    VEC_EACH (found, &deal->found) {
        if (found->first >= to || found->end <= from)
            continue;
        if (!day_job_step(deal->sources->job, 0, err))
            return false;
        pick_runs(deal, found, from, to);
    }
    sort_picked(deal, from, to);
    return true;
}

const struct time_vec *day_deal_times(struct day_deal *deal, uint32_t bundle, uint32_t column)
{
    struct day_cached_times *cached = &deal->cached[(bundle + column * 61) % DAY_COLUMNS_CACHED];
    if (cached->is_valid && cached->bundle == bundle && cached->column == column)
        return &cached->times;
    VEC_CLEAR(&cached->times);
    cached->is_valid = bundle_column(&deal->bundles.items[bundle].bundle, column, &cached->times);
    cached->bundle = bundle;
    cached->column = column;
    return cached->is_valid ? &cached->times : NULL;
}
