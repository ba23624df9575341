/* range_source: where the samples of a range vector come from: a selection, or the series of a subquery. Each series is
 * decoded once into the query's run; the window of a step is a slice of it, between two indexes that only move forward. */
#include "range.h"

bool source_open(struct range_source *source, const struct frame *frame, struct expr *matrix,
                 struct err *err)
{
    *source = (struct range_source){.matrix = matrix};
    if (matrix->kind == EXPR_SUBQUERY) {
        source->mod = &matrix->as.subquery.mod;
        source->range_ms = matrix->as.subquery.range_ms;
        if (!eval_subquery(frame, matrix, &source->sub, &source->vector, &source->samples_inside,
                           err))
            return false;
        source->count = source->vector.count;
        return true;
    }
    struct expr *selector = matrix->as.matrix.vector;
    source->anchored = selector->as.vector.anchored;
    source->smoothed = selector->as.vector.smoothed;
    if (source->anchored || source->smoothed)
        source->before_ms = frame->query->options.lookback_ms;
    if (source->smoothed)
        source->after_ms = frame->query->options.lookback_ms;
    source->mod = &selector->as.vector.mod;
    source->range_ms = matrix->as.matrix.range_ms;
    source->selection = frame->query->selections[selector->as.vector.index];
    source->count = selection_count(source->selection);
    return true;
}

struct labels *source_labels(const struct range_source *source, size_t index)
{
    return source->selection ? selection_labels(source->selection, index)
                             : source->vector.items[index].labels;
}

/* A hint compares with the sample before, which a subquery may have left out. */
static const struct histogram *unhinted(struct query *query, const struct histogram *histogram)
{
    if (histogram->hint == HISTOGRAM_GAUGE || histogram->hint == HISTOGRAM_UNKNOWN_RESET)
        return histogram;
    struct histogram *copy = arena_alloc(&query->run.arena, sizeof(*copy));
    *copy = *histogram;
    copy->hint = HISTOGRAM_UNKNOWN_RESET;
    return copy;
}

bool source_load(const struct range_source *source, struct query *query, struct cursor *cursor,
                 size_t index, struct err *err)
{
    if (source->selection)
        return run_load(query, cursor, index,
                        (struct run_wants){
                            .no_buckets = source->matrix->as.matrix.vector->as.vector.no_buckets},
                        err);
    const struct series *series = &source->vector.items[index];
    run_clear(query);
    run_reserve(query, series->to - series->from);
    for (size_t t = series->from; t < series->to; t++) {
        if (!series_has(series, t))
            continue;
        const struct histogram *histogram = series_histogram(series, t);
        if (histogram && !histogram_is_stale(histogram))
            run_add_histogram(query, frame_time(&source->sub, t), unhinted(query, histogram));
        if (histogram || sample_is_stale(*series_at(series, t)))
            continue;
        run_add_float(query, frame_time(&source->sub, t), *series_at(series, t));
    }
    return query_check(query, err);
}

/* --- windows move forward over the run --- */

uint64_t walk_histograms(struct range_walk *walk, const struct sample_run *run, int64_t start_ms,
                         int64_t end_ms)
{
    size_t seen = walk->high_histogram;
    while (walk->high_histogram < run->histogram_count &&
           run->histogram_time_ms[walk->high_histogram] <= end_ms)
        walk->high_histogram++;
    while (walk->low_histogram < walk->high_histogram &&
           run->histogram_time_ms[walk->low_histogram] <= start_ms)
        walk->low_histogram++;
    size_t fresh = seen > walk->low_histogram ? seen : walk->low_histogram;
    return run->histogram_samples[walk->high_histogram] - run->histogram_samples[fresh];
}

size_t walk_to(struct range_walk *walk, const struct sample_run *run, int64_t start_ms,
               int64_t end_ms)
{
    size_t seen = walk->high;
    while (walk->high < run->count && run->time_ms[walk->high] <= end_ms)
        walk->high++;
    while (walk->low < walk->high && run->time_ms[walk->low] <= start_ms)
        walk->low++;
    while (walk->mark_low < run->mark_count && run->marks[walk->mark_low] <= walk->low)
        walk->mark_low++;
    if (walk->mark_high < walk->mark_low)
        walk->mark_high = walk->mark_low;
    while (walk->mark_high < run->mark_count && run->marks[walk->mark_high] < walk->high)
        walk->mark_high++;
    return walk->high - (seen > walk->low ? seen : walk->low);
}
