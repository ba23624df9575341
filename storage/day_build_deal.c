/* day_build_deal: from bundles, which have the series of one target for half an hour, to runs by series.
 *
 * Small inputs stay in their maps: one bucket. Larger ones are read once, bundle by bundle, and each bundle's runs
 * are dealt to buckets of ordinals, as small bundles in scratch files (u32 input, u32 length, bundle; ids are ordinals
 * there); then one bucket at a time is loaded. The order of writing is kept all the way, because of equal times
 * the later one wins. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "day_build_private.h"
#include "day_file_private.h"
#include "store.h"
#include "stream.h"

#define MEMORY_BYTES  ((size_t)64 << 20)
#define BUCKETS_MAX   1024u
#define WEIGHT_BLOCKS 4096u
#define SAMPLED_AIM   8192u
#define RUN_OVERHEAD  64 /* Of a run in a scratch file: its row and its part of head and column. */

/* Calls fn for each good bundle of all inputs, in order of writing. */
typedef bool (*bundle_fn)(struct day_deal *deal, uint32_t input, const struct bundle *bundle,
                          struct err *err);
struct walk {
    struct day_deal *deal;
    uint32_t input;
    uint64_t number, stride;
    bool verify;
    bundle_fn fn;
};

static bool walk_bundle(void *ctx, uint64_t key, struct str value, struct err *err)
{
    struct walk *walk = ctx;
    struct day_job *job = walk->deal->sources->job;
    struct bundle bundle;
    (void)key;
    if (walk->number++ % walk->stride != 0)
        return true;
    if (!day_job_step(job, walk->verify ? value.len : 0, err))
        return false;
    if ((walk->verify && !bundle_verify(value)) || !bundle_open(&bundle, value)) {
        job->bad_bundles += walk->verify;
        return true;
    }
    return walk->fn(walk->deal, walk->input, &bundle, err);
}

static bool walk_bundles(struct day_deal *deal, uint64_t stride, bool verify, bundle_fn fn,
                         struct err *err)
{
    struct walk walk = {.deal = deal, .stride = stride, .verify = verify, .fn = fn};
    for (uint32_t i = 0; i < deal->sources->count; i++) {
        struct day_source *source = &deal->sources->items[i];
        walk.input = i;
        if (!source->reader && !kv_each(source->read, PARTITION_BUNDLES, walk_bundle, &walk, err))
            return false;
    }
    return true;
}

/* --- one bucket in memory --- */

static void note_slot(struct day_deal *deal, const struct bundle *bundle)
{
    deal->slot_last = bundle->slot > deal->slot_last ? bundle->slot : deal->slot_last;
}

static bool keep_bundle(struct day_deal *deal, uint32_t input, const struct bundle *bundle,
                        struct err *err)
{
    const struct day_source *source = &deal->sources->items[input];
    struct day_bundle kept = {*bundle, input};
    size_t hint = 0;
    (void)err;
    note_slot(deal, bundle);
    VEC_PUSH(&deal->bundles, kept);
    VEC_RESERVE(&deal->run_ordinals, bundle->run_count);
    for (uint32_t i = 0; i < bundle->run_count; i++) {
        uint32_t ordinal = i > UINT16_MAX
                               ? DAY_NONE
                               : day_source_ordinal(source, bundle_id_at(bundle, i), &hint);
        deal->sources->job->bad_runs += ordinal == DAY_NONE;
        deal->run_ordinals.items[deal->run_ordinals.count++] = ordinal;
    }
    return true;
}

/* Sorts the runs of the loaded bundles by ordinal, by counting. */
static void sort_runs(struct day_deal *deal, uint32_t from, uint32_t to)
{
    size_t count = (size_t)(to - from) + 2, at = 0;
    VEC_CLEAR(&deal->starts);
    VEC_RESERVE(&deal->starts, count);
    memset(deal->starts.items, 0, count * sizeof(uint32_t));
    deal->starts.count = count;
    uint32_t *starts = deal->starts.items;
    for (size_t i = 0; i < deal->run_ordinals.count; i++) {
        uint32_t ordinal = deal->run_ordinals.items[i];
        if (ordinal != DAY_NONE)
            starts[ordinal - from + 2]++;
    }
    for (size_t i = 2; i < count; i++)
        starts[i] += starts[i - 1];
    VEC_CLEAR(&deal->refs);
    VEC_RESERVE(&deal->refs, starts[count - 1] + 1);
    deal->refs.count = starts[count - 1];
    for (uint32_t b = 0; b < deal->bundles.count; b++) {
        for (uint32_t r = 0; r < deal->bundles.items[b].bundle.run_count; r++) {
            uint32_t ordinal = deal->run_ordinals.items[at++];
            if (ordinal != DAY_NONE)
                deal->refs.items[starts[ordinal - from + 1]++] = (struct day_ref){b, (uint16_t)r};
        }
    }
    VEC_FREE(&deal->run_ordinals);
}

/* --- dealing --- */

static bool weigh_bundle(struct day_deal *deal, uint32_t input, const struct bundle *bundle,
                         struct err *err)
{
    const struct day_source *source = &deal->sources->items[input];
    size_t hint = 0;
    (void)err;
    for (uint32_t i = 0; i < bundle->run_count; i++) {
        struct bundle_run run = bundle_run_at(bundle, i);
        uint32_t ordinal = day_source_ordinal(source, run.id, &hint);
        if (ordinal != DAY_NONE)
            deal->weights[ordinal / deal->weight_block] += run.len + RUN_OVERHEAD;
    }
    return true;
}

/* Bounds such that the buckets are of about the same size, from a sample of the bundles. */
static bool choose_bounds(struct day_deal *deal, uint32_t buckets, struct err *err)
{
    uint64_t bundles_about = deal->sources->bundle_bytes / BUNDLE_BYTES_AIM + 1, all = 0, sum = 0;
    deal->weights = mem_zalloc(WEIGHT_BLOCKS * sizeof(uint64_t));
    deal->weight_block = deal->sources->series_count / WEIGHT_BLOCKS + 1;
    bool good = walk_bundles(deal, bundles_about / SAMPLED_AIM + 1, false, weigh_bundle, err);
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
    mem_free(deal->weights);
    deal->weights = NULL;
    return good;
}

static uint32_t bucket_of(const struct day_deal *deal, uint32_t ordinal)
{
    uint32_t low = 0, high = deal->bucket_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (deal->bounds.items[middle] <= ordinal)
            low = middle;
        else
            high = middle;
    }
    return low;
}

struct dealt {
    uint32_t bucket, ordinal, run;
};

static int compare_dealt(const void *a, const void *b)
{
    const struct dealt *x = a, *y = b;
    if (x->bucket != y->bucket)
        return x->bucket < y->bucket ? -1 : 1;
    return (x->run > y->run) - (x->run < y->run);
}

/* Some runs of a bundle as a bundle of their own, into a bucket. */
static bool deal_runs(struct day_deal *deal, uint32_t input, const struct bundle *bundle,
                      const struct dealt *dealt, size_t count, struct err *err)
{
    struct bundle_writer *writer = &deal->writer;
    uint32_t column_in = DAY_NONE;
    uint16_t column_out = 0;
    bundle_writer_begin(writer, bundle->group_key, bundle->slot);
    for (size_t i = 0; i < count; i++) {
        struct bundle_run run = bundle_run_at(bundle, dealt[i].run);
        if (run.column != column_in) {
            VEC_CLEAR(&deal->times);
            column_in = DAY_NONE;
            if (bundle_column(bundle, run.column, &deal->times)) {
                column_in = run.column;
                column_out =
                    bundle_writer_column(writer, deal->times.items, (uint32_t)deal->times.count);
            }
        }
        samples_clear(&deal->samples);
        if (column_in == DAY_NONE ||
            !bundle_read(bundle, &run, &deal->times, &deal->bundle_reader, &deal->samples)) {
            deal->sources->job->bad_runs++;
            continue;
        }
        uint32_t first_row, last_row;
        buf_clear(&deal->value);
        stream_write(&deal->samples, 0, deal->samples.count, deal->times.items,
                     (uint32_t)deal->times.count, &deal->value, &first_row, &last_row);
        bundle_writer_run(writer, dealt[i].ordinal, column_out, first_row, last_row,
                          deal->times.items[first_row], deal->times.items[last_row],
                          buf_str(&deal->value));
    }
    if (writer->runs.count == 0)
        return true;
    uint32_t head[2] = {input, 0};
    bundle_writer_finish(writer, &deal->value);
    head[1] = (uint32_t)deal->value.len;
    struct day_scratch *scratch = &deal->buckets[dealt[0].bucket];
    return day_scratch_add(scratch, str_from((const char *)head, sizeof(head)), err) &&
           day_scratch_add(scratch, buf_str(&deal->value), err);
}

static bool deal_bundle(struct day_deal *deal, uint32_t input, const struct bundle *bundle,
                        struct err *err)
{
    const struct day_source *source = &deal->sources->items[input];
    struct dealt *dealt = mem_alloc_array(bundle->run_count, sizeof(*dealt));
    size_t count = 0, hint = 0;
    bool good = true;
    note_slot(deal, bundle);
    for (uint32_t i = 0; i < bundle->run_count; i++) {
        uint32_t ordinal = day_source_ordinal(source, bundle_id_at(bundle, i), &hint);
        if (ordinal == DAY_NONE)
            deal->sources->job->bad_runs++;
        else
            dealt[count++] = (struct dealt){bucket_of(deal, ordinal), ordinal, i};
    }
    if (count > 1)
        qsort(dealt, count, sizeof(*dealt), compare_dealt);
    for (size_t i = 0, end; good && i < count; i = end) {
        for (end = i + 1; end < count && dealt[end].bucket == dealt[i].bucket;)
            end++;
        good = deal_runs(deal, input, bundle, dealt + i, end - i, err);
    }
    mem_free(dealt);
    day_file_let_go(bundle->bytes);
    return good;
}

static bool deal_all(struct day_deal *deal, uint32_t buckets, struct err *err)
{
    struct day_job *job = deal->sources->job;
    if (!choose_bounds(deal, buckets, err))
        return false;
    deal->buckets = mem_alloc_array(deal->bucket_count, sizeof(deal->buckets[0]));
    for (uint32_t i = 0; i < deal->bucket_count; i++)
        day_scratch_init(&deal->buckets[i]);
    for (uint32_t i = 0; i < deal->bucket_count; i++) {
        if (!day_scratch_open(&deal->buckets[i], job->stem, i + 1, err))
            return false;
    }
    return walk_bundles(deal, 1, true, deal_bundle, err);
}

bool day_deal_open(struct day_deal *deal, struct day_sources *sources, struct err *err)
{
    size_t memory = sources->job->build->memory_bytes;
    *deal = (struct day_deal){.sources = sources, .bucket = DAY_NONE, .bucket_count = 1};
    memory = memory ? memory : MEMORY_BYTES;
    bundle_writer_init(&deal->writer);
    samples_init(&deal->samples);
    buf_init(&deal->value, (size_t)1 << 31);
    for (size_t i = 0; i < sources->count; i++) {
        const struct day_file *day = sources->items[i].input->day;
        uint64_t slot = day ? day_file_info(day)->slot_last : 0;
        deal->slot_last = slot > deal->slot_last ? slot : deal->slot_last;
    }
    sources->job->bytes_all = sources->bundle_bytes;
    if (sources->bundle_bytes > memory) {
        uint64_t buckets = sources->bundle_bytes + sources->bundle_bytes / 2; /* With overhead. */
        buckets = buckets / memory + 1;
        return deal_all(deal, buckets < BUCKETS_MAX ? (uint32_t)buckets : BUCKETS_MAX, err);
    }
    VEC_PUSH(&deal->bounds, 0);
    VEC_PUSH(&deal->bounds, sources->series_count);
    if (!walk_bundles(deal, 1, true, keep_bundle, err))
        return false;
    sort_runs(deal, 0, sources->series_count);
    deal->bucket = 0;
    return true;
}

void day_deal_close(struct day_deal *deal)
{
    for (uint32_t i = 0; deal->buckets && i < deal->bucket_count; i++)
        day_scratch_close(&deal->buckets[i]);
    for (size_t i = 0; i < DAY_COLUMNS_CACHED; i++)
        VEC_FREE(&deal->cached[i].times);
    mem_free(deal->buckets);
    mem_free(deal->bytes);
    VEC_FREE(&deal->bounds);
    VEC_FREE(&deal->bundles);
    VEC_FREE(&deal->refs);
    VEC_FREE(&deal->starts);
    VEC_FREE(&deal->run_ordinals);
    VEC_FREE(&deal->times);
    bundle_writer_deinit(&deal->writer);
    bundle_reader_deinit(&deal->bundle_reader);
    samples_deinit(&deal->samples);
    buf_deinit(&deal->value);
}

/* --- loading --- */

static bool load_bundles(struct day_deal *deal, size_t len, struct err *err)
{
    const char *path = deal->sources->job->stem;
    uint32_t from = deal->bounds.items[deal->bucket], to = deal->bounds.items[deal->bucket + 1];
    for (size_t at = 0; at < len;) {
        uint32_t head[2];
        struct day_bundle kept;
        if (len - at < sizeof(head))
            return err_set(err, ERR_IO, "%s: a scratch file is damaged", path);
        memcpy(head, deal->bytes + at, sizeof(head));
        at += sizeof(head);
        struct str value = str_from(deal->bytes + at, head[1]);
        if (head[1] > len - at || head[0] >= deal->sources->count || !bundle_verify(value) ||
            !bundle_open(&kept.bundle, value))
            return err_set(err, ERR_IO, "%s: a scratch file is damaged", path);
        at += head[1];
        kept.input = head[0];
        VEC_PUSH(&deal->bundles, kept);
        for (uint32_t i = 0; i < kept.bundle.run_count; i++) {
            uint64_t id = bundle_id_at(&kept.bundle, i);
            ENSURE(id >= from && id < to);
            VEC_PUSH(&deal->run_ordinals, (uint32_t)id);
        }
    }
    sort_runs(deal, from, to);
    return true;
}

bool day_deal_load(struct day_deal *deal, uint32_t ordinal, struct err *err)
{
    uint32_t bucket = bucket_of(deal, ordinal);
    if (bucket == deal->bucket)
        return true;
    ENSURE(deal->buckets);
    if (deal->bucket != DAY_NONE)
        day_scratch_close(&deal->buckets[deal->bucket]); /* Its disk space is free again. */
    for (size_t i = 0; i < DAY_COLUMNS_CACHED; i++)
        deal->cached[i].is_valid = false;
    VEC_CLEAR(&deal->bundles);
    mem_free(deal->bytes);
    deal->bucket = bucket;
    size_t len = (size_t)day_scratch_len(&deal->buckets[bucket]);
    deal->bytes = mem_alloc(len);
    return day_scratch_read(&deal->buckets[bucket], 0, deal->bytes, len, err) &&
           load_bundles(deal, len, err);
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
