/* promqltest_load: load and load_with_nhcb. Part of promqltest.c, which includes it. */
#ifndef TESTS_PROMQLTEST_LOAD_H
#define TESTS_PROMQLTEST_LOAD_H

#include <stdlib.h>

#include "promqltest_series.h"

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

static void store_classic(struct runner *runner, struct classic *classic)
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
        one_span(runner, 0, histogram.positive_count, &histogram.positive_span_count);
    runner->store->add_histogram(runner->store->ctx, classic->labels, classic->time_ms, &histogram);
}

static void store_classics(struct runner *runner, struct classics *classics)
{
    VEC_EACH (classic, &classics->items) {
        store_classic(runner, classic);
        labels_unref(classic->labels);
        VEC_FREE(&classic->buckets);
    }
    VEC_FREE(&classics->items);
}

static void store_series(struct runner *runner, const struct expected *series, int64_t step_ms,
                         struct classics *classics)
{
    const struct promqltest_store *store = runner->store;
    for (size_t i = 0; i < series->points.count; i++) {
        const struct point *point = &series->points.items[i];
        int64_t time_ms = (int64_t)i * step_ms;
        if (!point->is_there)
            continue;
        if (point->histogram) {
            store->add_histogram(store->ctx, series->labels, time_ms, point->histogram);
            continue;
        }
        store->add(store->ctx, series->labels, time_ms, point->value);
        if (classics)
            collect_classic(classics, series->labels, time_ms, point->value);
    }
}

static bool load_series(struct runner *runner, int64_t step_ms, struct classics *classics,
                        struct err *err)
{
    struct str line;
    bool indented;
    for (;;) {
        struct str before = runner->rest;
        if (!next_line(runner, &line, &indented))
            return true;
        if (line.len == 0 && (indented || (before.len && before.ptr[0] == '#')))
            continue;
        if (line.len == 0 || !indented) {
            runner->rest = before;
            runner->line--;
            return true;
        }
        size_t space = metric_end(line);
        if (space > 3 && str_ends(str_first(line, space), STR("@st"))) {
            runner->start_loaded = true;
            continue;
        }
        struct expected series;
        if (!parse_series(runner, line, &series, err))
            return false;
        store_series(runner, &series, step_ms, classics);
        expected_free(&series);
    }
}

static bool run_load(struct runner *runner, struct str rest, bool with_nhcb, struct err *err)
{
    int64_t step_ms;
    struct classics classics = {0};
    if (!parse_time(next_word(&rest), &step_ms, err))
        return err_wrap(err, "%s:%zu", runner->name, runner->line);
    bool ok = load_series(runner, step_ms, with_nhcb ? &classics : NULL, err);
    store_classics(runner, &classics);
    return ok;
}

#endif
