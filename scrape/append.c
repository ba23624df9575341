/* append: the batch of one scrape. Lines come from the parser as known (an entry of the line cache)
 * or new (labels to be built, a series to be found). Nothing reaches storage before the scrape has
 * ended well; a failed one stores stale markers and the report only.
 *
 * The same line twice in a scrape: the second is dropped and counted, unless it has its own
 * timestamp. */
#include "scraper.h"

#include "base/clock.h"
#include "base/log.h"

/* The arena is for one line's texts; it is emptied when it has grown to this. */
#define ARENA_RESET_BYTES ((size_t)256 << 10)

void append_init(struct append *append, struct target *target, int64_t time_ms)
{
    const struct config_scrape *options = target->pool->options;

    *append = (struct append){
        .target = target,
        .time_ms = time_ms,
        .honor_timestamps = options->honor_timestamps,
        .track_timestamps = options->track_timestamps_staleness,
        .sample_limit = options->limits.samples ? options->limits.samples : UINT64_MAX,
        .schema_max = append_schema_max(options->limits.histogram_bucket_factor),
        .bucket_limit =
            options->limits.histogram_buckets ? options->limits.histogram_buckets : UINT64_MAX,
    };
    arena_init(&append->arena, 0);
    arena_init(&append->kept, 0);
    sample_labels_init(&append->labels, options, target->labels, &append->arena);
    VEC_RESERVE(&append->batch.samples, target->cache.entries.count + REPORT_SERIES_MAX);
    line_cache_begin(&target->cache);
}

void append_deinit(struct append *append)
{
    sample_labels_deinit(&append->labels);
    batch_deinit(&append->batch);
    VEC_FREE(&append->exemplars);
    histogram_sum_deinit(&append->reducer);
    arena_deinit(&append->arena);
    arena_deinit(&append->kept);
}

/* What a line says: a float, or a histogram. */
struct sample_value {
    double value;
    const struct histogram *histogram; /* NULL: the float. */
};

/* One more sample, if the limits allow; beyond them lines are still counted, for the report. */
static void add_sample(struct append *append, series_ref ref, struct sample_value value,
                       const int64_t *time_ms)
{
    int64_t at_ms = time_ms ? *time_ms : append->time_ms;

    if (UNLIKELY(value.histogram != NULL)) {
        value.histogram = append_histogram_limit(append, value.histogram);
        append->bucket_limit_exceeded |= !value.histogram;
        if (!value.histogram) {
            append->added++;
            return;
        }
    }
    if (++append->added > append->sample_limit) {
        append->limit_exceeded = true;
        return;
    }
    if (UNLIKELY(value.histogram != NULL))
        batch_add_histogram(&append->batch, ref, at_ms, value.histogram);
    else
        batch_add(&append->batch, ref, at_ms, value.value);
    append->has_sample = true;
    append->was_histogram = value.histogram != NULL;
}

static void add_known(struct append *append, uint32_t index, struct sample_value value,
                      const int64_t *time_ms)
{
    struct line_cache *cache = &append->target->cache;
    const struct line_entry *entry = &cache->entries.items[index];
    series_ref ref = entry->ref;
    bool dropped = entry->flags & LINE_DROPPED;

    append->lines++;
    append->has_sample = false;
    if (UNLIKELY(time_ms && !append->honor_timestamps))
        time_ms = NULL;
    bool first = line_cache_mark(cache, index, !dropped && (!time_ms || append->track_timestamps));
    if (dropped)
        return;
    if (UNLIKELY(!first && !time_ms)) {
        append->added++;
        append->duplicates++;
        return;
    }
    add_sample(append, ref, value, time_ms);
}

static void on_known(void *ctx, uint32_t index, double value, const int64_t *time_ms)
{
    struct sample_value sample = {.value = value};

    add_known(ctx, index, sample, time_ms);
}

static void on_known_histogram(void *ctx, uint32_t index, const struct histogram *histogram,
                               const int64_t *time_ms)
{
    struct sample_value sample = {.histogram = histogram};

    add_known(ctx, index, sample, time_ms);
}

static bool on_sample(void *ctx, const struct text_line *line, enum metric_type type,
                      struct err *err)
{
    struct append *append = ctx;
    struct target *target = append->target;
    const struct labels_builder *builder = &append->labels.builder;
    const int64_t *time_ms = line->has_time && append->honor_timestamps ? &line->time_ms : NULL;
    struct err series_err;

    append->lines++;
    append->has_sample = false;
    if (append->arena.bytes > ARENA_RESET_BYTES)
        arena_reset(&append->arena);
    if (!sample_labels_build(&append->labels, line, type, &append->label_limit_exceeded, err))
        return false;
    if (builder->count == 0) {
        (void)line_cache_add(&target->cache, line->metric, SERIES_REF_NONE, LINE_DROPPED);
        return true;
    }
    if (append->added >= append->sample_limit) { /* No series for what is not stored. */
        append->added++;
        append->limit_exceeded = true;
        return true;
    }
    series_ref ref =
        storage_series(target->scraper->storage, target_group(target), builder->items,
                       builder->count, labels_hash(builder->items, builder->count), &series_err);
    if (ref == SERIES_REF_NONE) {
        if (append->refused++ == 0)
            LOG_D("Series refused", "scrape_pool", target->pool->name, "target", target->url, "err",
                  series_err.text);
        return true;
    }
    (void)line_cache_add(&target->cache, line->metric, ref,
                         !time_ms || append->track_timestamps ? LINE_TRACKED : 0);
    append->series_added++;
    struct sample_value value = {line->value, line->histogram};
    add_sample(append, ref, value, time_ms);
    return true;
}

static void on_metadata(void *ctx, const struct text_line *line)
{
    struct append *append = ctx;
    struct target *target = append->target;

    family_list_note(&target->families, &target->scraper->families, line, &append->arena);
}

static uint32_t on_metadata_place(void *ctx)
{
    return family_list_place(&((struct append *)ctx)->target->families);
}

static void on_metadata_again(void *ctx, uint32_t place)
{
    family_list_again(&((struct append *)ctx)->target->families, place);
}

static void on_exemplar(void *ctx, const struct text_exemplar *exemplar)
{
    append_exemplar_add(ctx, exemplar);
}

const struct parse_text_sink append_sink = {
    .known = on_known,
    .sample = on_sample,
    .metadata = on_metadata,
    .metadata_place = on_metadata_place,
    .metadata_again = on_metadata_again,
    .exemplar = on_exemplar,
    .known_histogram = on_known_histogram,
};

static void on_stale(void *ctx, series_ref ref)
{
    struct append *append = ctx;

    batch_add(&append->batch, ref, append->time_ms, sample_stale());
}

/* Entries go after the batch is stored: its refs must be pinned until then. */
struct ending {
    struct append *append;
    VEC(series_ref) released;
};

static void on_ending_stale(void *ctx, series_ref ref)
{
    on_stale(((struct ending *)ctx)->append, ref);
}

static void on_ending_release(void *ctx, series_ref ref)
{
    struct ending *ending = ctx;

    VEC_PUSH(&ending->released, ref);
}

static void ending_release(struct ending *ending)
{
    VEC_EACH (ref, &ending->released)
        storage_series_release(ending->append->target->scraper->storage, *ref);
    VEC_FREE(&ending->released);
}

static void count_outcomes(struct append *append, const struct append_result *result)
{
    struct target *target = append->target;
    struct scraper_stats *stats = &target->scraper->stats;
    uint64_t duplicate = append->duplicates + result->outcome_count[SAMPLE_DUPLICATE];
    uint64_t out_of_order = result->outcome_count[SAMPLE_OUT_OF_ORDER];
    uint64_t out_of_bounds =
        result->outcome_count[SAMPLE_OUT_OF_BOUNDS] + result->outcome_count[SAMPLE_TOO_OLD];

    stats->samples_duplicate += duplicate;
    stats->samples_out_of_order += out_of_order;
    stats->samples_out_of_bounds += out_of_bounds;
    if (duplicate)
        LOG_W("Error on ingesting samples with different value but same timestamp", "target",
              target->url, "num_dropped", log_fmt("%llu", (unsigned long long)duplicate));
    if (out_of_order)
        LOG_W("Error on ingesting out-of-order samples", "target", target->url, "num_dropped",
              log_fmt("%llu", (unsigned long long)out_of_order));
    if (out_of_bounds)
        LOG_W("Error on ingesting samples that are too old or are too far into the future",
              "target", target->url, "num_dropped",
              log_fmt("%llu", (unsigned long long)out_of_bounds));
}

/* Markers of series that are gone may come too late for a series that has moved on: not worth a
 * word. */
static void store(struct append *append, bool count)
{
    struct target *target = append->target;
    struct append_options options = {.now_ms = clock_wall_ms()};
    struct append_result result = {0};
    struct err err;

    if (append->batch.samples.count == 0)
        return;
    if (!storage_append(target->scraper->storage, target_group(target), &append->batch, &options,
                        &result, &err)) {
        LOG_W("Scrape commit failed", "target", target->url, "err", err.text);
        target_set_error(target, err.text);
        target->health = TARGET_DOWN;
        return;
    }
    if (!count)
        return;
    count_outcomes(append, &result);
    append_exemplars_store(append);
}

void append_finish(struct append *append, const struct append_summary *summary)
{
    struct target *target = append->target;
    struct ending ending = {.append = append};
    struct line_cache_ops ops = {
        .stale = on_ending_stale, .release = on_ending_release, .ctx = &ending};

    if (summary->ok) {
        line_cache_end(&target->cache, &ops);
        if (family_list_end(&target->families, &target->scraper->families))
            line_cache_forget_comments(&target->cache);
        target->cache_good_count = target->cache.entries.count;
        target->last_good_ms = clock_mono_ms();
    } else {
        size_t count_max = target->cache_good_count * 2 + 1000;
        if (clock_mono_ms() - target->last_good_ms > CACHE_KEEP_FAILED_MS)
            count_max = 0;
        VEC_CLEAR(&append->batch.samples);
        VEC_CLEAR(&append->exemplars);
        line_cache_fail(&target->cache, count_max, &ops);
    }
    report_add(append, summary);
    store(append, summary->ok);
    ending_release(&ending);
}

void append_target_gone(struct target *target, int64_t time_ms)
{
    struct append append = {.target = target, .time_ms = time_ms};
    struct ending ending = {.append = &append};
    struct line_cache_ops ops = {
        .stale = on_ending_stale, .release = on_ending_release, .ctx = &ending};

    line_cache_drain(&target->cache, &ops);
    report_add_stale(&append);
    store(&append, false);
    ending_release(&ending);
    batch_deinit(&append.batch);
}
