/* eval_matrix: a range vector as the result of an instant query. */
#include "range.h"

/* The points of the series in the run, as they are or with those at the bounds. */
static void take_points(struct query *query, const struct range_source *source, int64_t end_ms,
                        struct query_series *series)
{
    struct sample_run *run = &query->run;
    struct range_walk walk = {0};
    int64_t start_ms = time_sub(end_ms, source->range_ms);
    run->mark_count = 0;
    walk_to(&walk, run, time_sub(start_ms, source->before_ms), time_add(end_ms, source->after_ms));
    size_t count = walk.high - walk.low;
    series->time_ms = arena_alloc_array(&query->arena, count + 2, sizeof(int64_t));
    series->value = arena_alloc_array(&query->arena, count + 2, sizeof(double));
    struct window window = {.start_ms = start_ms,
                            .end_ms = end_ms,
                            .smoothed = source->smoothed,
                            .times = run->time_ms + walk.low,
                            .values = run->value + walk.low,
                            .count = count};
    series->count = count;
    if (count == 0)
        return;
    if (source->anchored || source->smoothed) {
        series->count = extended_points(&window, series->time_ms, series->value);
        return;
    }
    memcpy(series->time_ms, window.times, count * sizeof(int64_t));
    memcpy(series->value, window.values, count * sizeof(double));
}

/* Floats and histograms of the range in their order. */
static void merge_points(struct query *query, const struct range_source *source, int64_t end_ms,
                         struct query_series *series)
{
    const struct sample_run *run = &query->run;
    struct range_walk walk = {0}, histograms = {0};
    int64_t start_ms = time_sub(end_ms, source->range_ms);
    walk_to(&walk, run, start_ms, end_ms);
    walk_histograms(&histograms, run, start_ms, end_ms);
    size_t count = walk.high - walk.low + histograms.high_histogram - histograms.low_histogram;
    series->time_ms = arena_alloc_array(&query->arena, count + 1, sizeof(int64_t));
    series->value = arena_zalloc(&query->arena, (count + 1) * sizeof(double));
    const struct histogram **points = arena_zalloc(&query->arena, (count + 1) * sizeof(*points));
    series->histogram = points;
    series->count = count;
    for (size_t at = 0, i = walk.low, j = histograms.low_histogram; at < count; at++) {
        bool is_float = j == histograms.high_histogram ||
                        (i < walk.high && run->time_ms[i] <= run->histogram_time_ms[j]);
        if (is_float) {
            series->time_ms[at] = run->time_ms[i];
            series->value[at] = run->value[i++];
        } else {
            series->time_ms[at] = run->histogram_time_ms[j];
            points[at] = histogram_copy(&query->arena, run->histogram[j++]);
        }
    }
}

static bool take_series(struct query *query, const struct range_source *source, int64_t end_ms,
                        struct query_series *series, struct err *err)
{
    const struct sample_run *run = &query->run;
    if (run->histogram_count == 0) {
        take_points(query, source, end_ms, series);
        return true;
    }
    if (source->anchored || source->smoothed)
        return err_set(err, ERR_EXECUTION, "%s modifier is not supported with histograms",
                       source->anchored ? "anchored" : "smoothed");
    merge_points(query, source, end_ms, series);
    return true;
}

static uint64_t points_samples(const struct query_series *series)
{
    uint64_t samples = series->count;
    for (size_t i = 0; series->histogram && i < series->count; i++)
        if (series->histogram[i])
            samples += histogram_samples(series->histogram[i]) - 1;
    return samples;
}

/* Extended ranges read more than they show. */
static uint64_t read_samples(const struct query *query, const struct range_source *source,
                             int64_t end_ms, uint64_t shown)
{
    struct range_walk walk = {0};
    if (!source->anchored && !source->smoothed)
        return shown;
    walk_to(&walk, &query->run, time_sub(time_sub(end_ms, source->range_ms), source->before_ms),
            time_add(end_ms, source->after_ms));
    return walk.high - walk.low;
}

bool eval_matrix_result(const struct frame *frame, struct expr *matrix, struct err *err)
{
    struct query *query = frame->query;
    struct query_result *result = &query->result;
    struct range_source source;
    bool ok = source_open(&source, frame, expr_unwrap(matrix), err);
    struct cursor *cursor = ok && source.selection ? cursor_new(source.selection) : NULL;

    result->series =
        arena_alloc_array(&query->arena, source.count + 1, sizeof(struct query_series));
    for (size_t i = 0; ok && i < source.count; i++) {
        struct query_series series = {0};
        int64_t end_ms = time_sub(source.mod->at != AT_NONE ? source.mod->at_ms : frame->start_ms,
                                  source.mod->offset_ms);
        ok = source_load(&source, query, cursor, i, err) &&
             take_series(query, &source, end_ms, &series, err);
        if (!ok)
            break;
        if (series.count == 0)
            continue;
        struct labels *labels = source_labels(&source, i);
        if (!source.selection && source.vector.items[i].drop_name)
            labels = labels_without_name(query, labels);
        series.labels = labels_ref(labels);
        result->series[result->count++] = series;
        uint64_t samples = points_samples(&series);
        if (source.selection) {
            result->stats.samples_total += samples;
            result->stats.samples_read += samples;
            step_stats_add(frame, 0, samples, samples);
        }
        if (source.selection) /* What a subquery made is held already. */
            ok = query_hold(query, read_samples(query, &source, end_ms, samples), err);
    }
    result->stats.samples_total += source.samples_inside;
    step_stats_add(frame, 0, source.samples_inside, 0);
    cursor_free(cursor);
    return ok;
}
