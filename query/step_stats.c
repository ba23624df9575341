/* step_stats: how many samples each step has taken, for stats=all (promql-per-step-stats).
 *
 * A query that wants them runs on one thread and folds no aggregation, so that all counting comes
 * through here. A subquery counts by steps of its own. What its inside takes in is not counted, only
 * what the windows over it take, but what it reads is; and what is evaluated once for all steps counts at each, but is read at the first. */
#include "eval.h"

void step_stats_begin(struct query *query, const struct frame *frame)
{
    struct query_stats *stats = &query->result.stats;
    size_t bytes = (frame->steps + 1) * sizeof(uint64_t);

    if (!(query->options.features & QUERY_PER_STEP_STATS))
        return;
    stats->step_count = frame->steps;
    stats->step_total = arena_zalloc(&query->arena, bytes);
    stats->step_read = arena_zalloc(&query->arena, bytes);
    stats->step_start_ms = frame->start_ms;
    stats->step_ms = frame->step_ms;
}

static size_t step_at(const struct query_stats *stats, int64_t time_ms)
{
    if (time_ms <= stats->step_start_ms || stats->step_ms <= 0)
        return 0;
    uint64_t after = (uint64_t)(time_ms - stats->step_start_ms);
    uint64_t step = (after + (uint64_t)stats->step_ms - 1) / (uint64_t)stats->step_ms;
    return step < stats->step_count ? (size_t)step : stats->step_count - 1;
}

void step_stats_add(const struct frame *frame, size_t step, uint64_t total, uint64_t read)
{
    struct query_stats *stats = &frame->query->result.stats;

    if (stats->step_count == 0)
        return;
    size_t at = step_at(stats, frame_time(frame, step));
    stats->step_total[at] += total;
    stats->step_read[at] += read;
}

void step_stats_add_found(const struct frame *frame, const struct steps *steps)
{
    if (frame->query->result.stats.step_count == 0 || steps->count == 0)
        return;
    for (size_t t = steps->from; t < steps->to; t++) {
        if (!steps_has(steps, t))
            continue;
        const struct histogram *histogram = steps->histograms ? steps->histograms[t] : NULL;
        uint64_t samples = histogram ? histogram_samples(histogram) : 1;
        step_stats_add(frame, t, samples, samples);
    }
}

void step_stats_enter(const struct frame *sub, bool has_gaps, struct query_stats *outside)
{
    struct query *query = sub->query;
    struct query_stats *stats = &query->result.stats;
    size_t bytes = (sub->steps + 1) * sizeof(uint64_t);

    *outside = *stats;
    if (stats->step_count == 0 && !has_gaps)
        return;
    stats->step_count = sub->steps;
    stats->step_total = arena_zalloc(&query->arena, bytes);
    stats->step_read = arena_zalloc(&query->arena, bytes);
    stats->step_start_ms = sub->start_ms;
    stats->step_ms = sub->step_ms;
}

/* Reads go to the first outer step at or after them; those between two windows are nobody's. */
static void give_reads(const struct frame *frame, const struct query_stats *inside,
                       int64_t offset_ms, int64_t range_ms)
{
    struct query_stats *stats = &frame->query->result.stats;
    size_t last = frame->steps > 0 ? frame->steps - 1 : 0;
    for (size_t k = 0; k < inside->step_count; k++) {
        uint64_t read = inside->step_read[k];
        int64_t at_ms = inside->step_start_ms + (int64_t)k * inside->step_ms + offset_ms;
        size_t step = 0;
        if (read == 0)
            continue;
        if (last > 0 && at_ms > frame->start_ms)
            step = (size_t)((at_ms - frame->start_ms + frame->step_ms - 1) / frame->step_ms);
        step = step < last ? step : last;
        if (last > 0 && at_ms <= time_sub(frame_time(frame, step), range_ms))
            continue;
        stats->samples_read += read;
        step_stats_add(frame, step, 0, read);
    }
}

void step_stats_leave(const struct frame *frame, const struct query_stats *outside,
                      int64_t offset_ms, int64_t range_ms)
{
    struct query_stats *stats = &frame->query->result.stats;
    struct query_stats inside = *stats;

    stats->samples_total = outside->samples_total;
    if (outside->step_count == 0 && inside.step_count == 0)
        return;
    stats->samples_read = outside->samples_read;
    stats->step_count = outside->step_count;
    stats->step_total = outside->step_total;
    stats->step_read = outside->step_read;
    stats->step_start_ms = outside->step_start_ms;
    stats->step_ms = outside->step_ms;
    give_reads(frame, &inside, offset_ms, range_ms);
}

struct step_totals step_totals_save(struct query *query)
{
    struct query_stats *stats = &query->result.stats;
    struct step_totals saved = {.samples = stats->samples_total};

    if (stats->step_count > 0) {
        size_t bytes = stats->step_count * sizeof(uint64_t);
        saved.by_step = arena_alloc(&query->arena, bytes);
        memcpy(saved.by_step, stats->step_total, bytes);
    }
    return saved;
}

void step_totals_restore(struct query *query, const struct step_totals *saved)
{
    struct query_stats *stats = &query->result.stats;

    stats->samples_total = saved->samples;
    if (stats->step_count > 0)
        memcpy(stats->step_total, saved->by_step, stats->step_count * sizeof(uint64_t));
}

void step_totals_repeat(const struct frame *frame, const struct step_totals *saved)
{
    struct query_stats *stats = &frame->query->result.stats;
    uint64_t once = stats->samples_total - saved->samples;

    step_totals_restore(frame->query, saved);
    stats->samples_total += once * frame->steps;
    for (size_t t = 0; stats->step_count > 0 && t < frame->steps; t++)
        step_stats_add(frame, t, once, 0);
}
