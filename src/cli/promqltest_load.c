/* promqltest_load: load and load_with_nhcb. */
#include <math.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/number.h"
#include "model/histogram_math.h"
#include "promqltest_runner.h"

struct classic_bucket {
    double bound, count;
};

/* A classic histogram at one time, on its way to become one with custom buckets. */
struct classic {
    struct labels *labels;
    int64_t time_ms;
    double count, sum;
    bool has_count;
    VEC(struct classic_bucket) buckets;
};

struct classics {
    VEC(struct classic) items;
};

static struct classic *classic_of(struct classics *classics, const struct labels *labels,
                                  struct str name, int64_t time_ms)
{
    struct labels_builder builder;
    labels_builder_init(&builder);
    labels_builder_load(&builder, labels);
    labels_builder_set(&builder, LABEL_NAME, name);
    labels_builder_del(&builder, LABEL_LE);
    struct labels *base = labels_build(&builder);
    labels_builder_deinit(&builder);
    VEC_EACH (classic, &classics->items) {
        if (classic->time_ms == time_ms && labels_eq(classic->labels, base)) {
            labels_unref(base);
            return classic;
        }
    }
    struct classic fresh = {.labels = base, .time_ms = time_ms};
    VEC_PUSH(&classics->items, fresh);
    return &classics->items.items[classics->items.count - 1];
}

static void collect_classic(struct classics *classics, const struct labels *labels, int64_t time_ms,
                            double value)
{
    struct str name = labels_get(labels, LABEL_NAME);
    struct classic_bucket bucket = {.count = value};
    if (str_ends(name, STR("_bucket"))) {
        if (number_parse(labels_get(labels, LABEL_LE), &bucket.bound)) {
            struct classic *classic =
                classic_of(classics, labels, str_first(name, name.len - 7), time_ms);
            VEC_PUSH(&classic->buckets, bucket);
        }
    } else if (str_ends(name, STR("_count"))) {
        struct classic *classic =
            classic_of(classics, labels, str_first(name, name.len - 6), time_ms);
        classic->count = value;
        classic->has_count = true;
    } else if (str_ends(name, STR("_sum"))) {
        classic_of(classics, labels, str_first(name, name.len - 4), time_ms)->sum = value;
    }
}

static int compare_classic_buckets(const void *a, const void *b)
{
    const struct classic_bucket *left = a, *right = b;
    return (left->bound > right->bound) - (left->bound < right->bound);
}

static bool store_classic(struct runner *runner, struct classic *classic, struct err *err)
{
    size_t count = classic->buckets.count, bounds = 0;
    double *values = arena_alloc_array(&runner->arena, count + 2, sizeof(double));
    double *limits = arena_alloc_array(&runner->arena, count + 2, sizeof(double));
    double before = 0;
    VEC_SORT(&classic->buckets, compare_classic_buckets);
    for (size_t i = 0; i < count; i++) {
        values[i] = classic->buckets.items[i].count - before;
        before = classic->buckets.items[i].count;
        if (!isinf(classic->buckets.items[i].bound))
            limits[bounds++] = classic->buckets.items[i].bound;
    }
    if (bounds == count) { /* No +Inf bucket. */
        values[count] = classic->has_count ? classic->count - before : 0;
        before += values[count++];
    }
    struct histogram histogram = {.schema = HISTOGRAM_SCHEMA_CUSTOM,
                                  .count = classic->has_count ? classic->count : before,
                                  .sum = classic->sum,
                                  .bounds = limits,
                                  .bound_count = (uint32_t)bounds,
                                  .positive = values,
                                  .positive_count = (uint32_t)count};
    histogram.positive_spans =
        series_one_span(runner, 0, histogram.positive_count, &histogram.positive_span_count);
    return test_store_add(&runner->store, classic->labels, classic->time_ms, 0,
                          histogram_copy(&runner->arena, &histogram), err);
}

static bool store_classics(struct runner *runner, struct classics *classics, bool good,
                           struct err *err)
{
    VEC_EACH (classic, &classics->items) {
        good = good && store_classic(runner, classic, err);
        labels_unref(classic->labels);
        VEC_FREE(&classic->buckets);
    }
    VEC_FREE(&classics->items);
    return good;
}

static bool store_series(struct runner *runner, const struct expected *series, int64_t step_ms,
                         struct classics *classics, struct err *err)
{
    for (size_t i = 0; i < series->points.count; i++) {
        const struct point *point = &series->points.items[i];
        int64_t time_ms = (int64_t)i * step_ms;
        if (!point->is_there)
            continue;
        if (!test_store_add(&runner->store, series->labels, time_ms, point->value, point->histogram,
                            err))
            return false;
        if (classics && !point->histogram)
            collect_classic(classics, series->labels, time_ms, point->value);
    }
    return true;
}

/* The series of a load. A line takes the place of an earlier one with the same labels. */
struct load {
    VEC(struct expected) items;
    struct map by_labels;
};

static bool load_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct load *load = ctx;
    return labels_eq(load->items.items[value].labels, key);
}

static void load_add(struct load *load, struct expected *series)
{
    uint32_t found =
        map_find(&load->by_labels, series->labels->hash, series->labels, load_equal, load);
    if (found != MAP_NONE) {
        series_expected_free(&load->items.items[found]);
        load->items.items[found] = *series;
        return;
    }
    map_insert(&load->by_labels, series->labels->hash, (uint32_t)load->items.count);
    VEC_PUSH(&load->items, *series);
}

static bool load_read(struct runner *runner, struct load *load, struct err *err)
{
    struct str line;
    while (runner_block_line(runner, &line)) {
        size_t space = series_metric_end(line);
        if (space > 3 && str_ends(str_first(line, space), STR("@st"))) {
            runner->start_loaded = true;
            continue;
        }
        struct expected series;
        if (!runner_series(runner, line, &series, err))
            return false;
        load_add(load, &series);
    }
    return true;
}

bool runner_load(struct runner *runner, struct str rest, bool with_nhcb, struct err *err)
{
    int64_t step_ms;
    size_t line = runner->line;
    struct classics classics = {0};
    struct load load = {0};
    if (!runner_time(runner, "invalid step definition", rest, &step_ms, err))
        return false;
    map_init(&load.by_labels);
    bool read = load_read(runner, &load, err), good = read;
    VEC_EACH (series, &load.items) {
        good = good && store_series(runner, series, step_ms, with_nhcb ? &classics : NULL, err);
        series_expected_free(series);
    }
    VEC_FREE(&load.items);
    map_deinit(&load.by_labels);
    good = store_classics(runner, &classics, good, err) && good &&
           test_store_commit(&runner->store, err);
    return !read ? false : good || err_wrap(err, "%s:%zu", runner->name, line);
}
