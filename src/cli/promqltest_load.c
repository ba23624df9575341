/* promqltest_load: load and load_with_nhcb. */
#include <math.h>
#include <stdlib.h>

#include "base/number.h"
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
    return test_store_add(&runner->store, classic->labels, classic->time_ms, 0, &histogram, err);
}

static bool store_classics(struct runner *runner, struct classics *classics, struct err *err)
{
    bool good = true;
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

static bool load_series(struct runner *runner, int64_t step_ms, struct classics *classics,
                        struct err *err)
{
    struct str line;
    bool indented;
    for (;;) {
        struct str before = runner->rest;
        if (!runner_line(runner, &line, &indented))
            return true;
        if (line.len == 0 && (indented || (before.len && before.ptr[0] == '#')))
            continue;
        if (line.len == 0 || !indented) {
            runner->rest = before;
            runner->line--;
            return true;
        }
        size_t space = series_metric_end(line);
        if (space > 3 && str_ends(str_first(line, space), STR("@st"))) {
            runner->start_loaded = true;
            continue;
        }
        struct expected series;
        if (!runner_series(runner, line, &series, err))
            return false;
        bool good = store_series(runner, &series, step_ms, classics, err);
        series_expected_free(&series);
        if (!good)
            return false;
    }
}

bool runner_load(struct runner *runner, struct str rest, bool with_nhcb, struct err *err)
{
    int64_t step_ms;
    struct classics classics = {0};
    if (!runner_time(runner_word(&rest), &step_ms, err))
        return err_wrap(err, "%s:%zu", runner->name, runner->line);
    bool good = load_series(runner, step_ms, with_nhcb ? &classics : NULL, err);
    good = store_classics(runner, &classics, good ? err : NULL) && good;
    return good && test_store_commit(&runner->store, err);
}
