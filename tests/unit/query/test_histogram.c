/* The engine with native histograms: the API's JSON, samples that are counted, blocks, stale
 * markers, and budgets. What expressions evaluate to is in tests/golden/promql. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "query.h"

#include "fake_storage.c"

static struct labels *metric(const char *text)
{
    struct labels *labels;
    struct err err;
    assert_true(query_parse_metric(str_of(text), &labels, &err));
    return labels;
}

static const struct histogram_span spans[] = {{1, 2}};
static const double values[] = {1, 2};

static struct histogram small(double factor)
{
    static double scaled[64][2];
    static size_t used;
    double *own = scaled[used++ % 64];
    own[0] = values[0] * factor;
    own[1] = values[1] * factor;
    return (struct histogram){.zero_threshold = 0.001,
                              .zero_count = factor,
                              .count = 4 * factor,
                              .sum = 10 * factor,
                              .positive_spans = spans,
                              .positive_span_count = 1,
                              .positive = own,
                              .positive_count = 2};
}

static void add(struct storage *storage, const char *text, int64_t time_ms, double factor)
{
    struct labels *labels = metric(text);
    struct histogram histogram = small(factor);
    fake_storage_add_histogram(storage, labels, time_ms, &histogram);
    labels_unref(labels);
}

/* h: a counter of 4 samples, a minute apart; then a float. */
static struct storage *filled(void)
{
    struct storage *storage = fake_storage_new();
    for (int i = 0; i < 4; i++)
        add(storage, "h", i * 60000, i + 1);
    struct labels *labels = metric("h");
    fake_storage_add(storage, labels, 240000, 7);
    labels_unref(labels);
    return storage;
}

static struct query_options at(int64_t from_ms, int64_t to_ms, int64_t step_ms)
{
    struct query_options options;
    query_options_init(&options);
    options.start_ms = from_ms;
    options.end_ms = to_ms;
    options.step_ms = step_ms;
    return options;
}

static struct query *run(struct storage *storage, const char *text,
                         const struct query_options *options, struct err *err)
{
    struct query *query;
    assert_true(query_new(&query, str_of(text), options, err));
    if (query_run(query, storage, err))
        return query;
    query_free(query);
    return NULL;
}

static void assert_json(struct storage *storage, const char *text,
                        const struct query_options *options, const char *expected)
{
    struct err err;
    struct buf out;
    struct query *query = run(storage, text, options, &err);
    assert_non_null(query);
    buf_init(&out, 1 << 20);
    query_result_json(query_result(query), 0, false, &out);
    buf_add_char(&out, 0);
    assert_string_equal(out.ptr, expected);
    buf_deinit(&out);
    query_free(query);
}

#define FIRST                                                                                      \
    "{\"count\":\"4\",\"sum\":\"10\",\"buckets\":[[3,\"-0.001\",\"0.001\",\"1\"],"                 \
    "[0,\"1\",\"2\",\"1\"],[0,\"2\",\"4\",\"2\"]]}"
#define LAST                                                                                       \
    "{\"count\":\"16\",\"sum\":\"40\",\"buckets\":[[3,\"-0.001\",\"0.001\",\"4\"],"                \
    "[0,\"1\",\"2\",\"4\"],[0,\"2\",\"4\",\"8\"]]}"

/* A vector has "histogram", a matrix "values" and "histograms"; what is empty is left out. */
static void test_query_result_json__writes_histograms(void **state)
{
    (void)state;
    struct storage *storage = filled();
    struct query_options instant = at(0, 0, 0), range = at(180000, 240000, 60000);
    assert_json(storage, "h", &instant,
                "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{"
                "\"metric\":{\"__name__\":\"h\"},\"histogram\":[0," FIRST "]}]}}");
    assert_json(
        storage, "h", &range,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{"
        "\"metric\":{\"__name__\":\"h\"},\"values\":[[240,\"7\"]],\"histograms\":[[180," LAST
        "]]}]}}");
    range = at(0, 0, 60000);
    assert_json(storage, "h", &range,
                "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{"
                "\"metric\":{\"__name__\":\"h\"},\"histograms\":[[0," FIRST "]]}]}}");
    instant = at(240000, 240000, 0);
    assert_json(
        storage, "h[90s]", &instant,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{"
        "\"metric\":{\"__name__\":\"h\"},\"values\":[[240,\"7\"]],\"histograms\":[[180," LAST
        "]]}]}}");
    fake_storage_free(storage);
}

/* Each counts for its size in floats of 16 bytes: 200 bytes are 12. */
static void test_query_run__counts_histograms_by_size(void **state)
{
    (void)state;
    struct storage *storage = filled();
    struct query_options options = at(180000, 180000, 0);
    struct err err;
    struct query *query = run(storage, "h", &options, &err);
    assert_non_null(query);
    assert_int_equal(query_result(query)->stats.samples_total, 12);
    query_free(query);
    query = run(storage, "count_over_time(h[5m])", &options, &err);
    assert_non_null(query);
    assert_int_equal(query_result(query)->stats.samples_total, 48);
    assert_true(query_result(query)->stats.samples_peak >= 48);
    query_free(query);
    options.samples_max = 40;
    assert_null(run(storage, "count_over_time(h[5m])", &options, &err));
    assert_non_null(strstr(err.text, "too many samples"));
    fake_storage_free(storage);
}

/* Samples outlive the block that they came in. */
static void test_query_run__reads_block_by_block(void **state)
{
    (void)state;
    struct storage *storage = filled();
    struct query_options options = at(240000, 240000, 0);
    for (size_t block = 1; block < 7; block++) {
        struct err err;
        fake_storage_set_block(storage, block);
        struct query *query =
            run(storage, "histogram_sum(increase(h[200s] offset 1m))", &options, &err);
        assert_non_null(query);
        assert_int_equal(query_result(query)->count, 1);
        /* 30 within 180 s, 200 s in all: 10 on the left, where the zero is 60 s away. */
        double expected = 30 * (180 + 20) / 180.0;
        double difference = query_result(query)->series[0].value[0] - expected;
        assert_true(difference < 1e-9 && difference > -1e-9);
        query_free(query);
    }
    fake_storage_free(storage);
}

/* A histogram with the stale NaN as its sum ends the series. */
static void test_query_run__heeds_stale_histograms(void **state)
{
    (void)state;
    struct storage *storage = filled();
    struct query_options options = at(60000, 60000, 0);
    struct histogram stale = {.sum = sample_stale()};
    struct labels *labels = metric("s");
    struct err err;
    add(storage, "s", 0, 1);
    fake_storage_add_histogram(storage, labels, 30000, &stale);
    labels_unref(labels);
    struct query *query = run(storage, "s", &options, &err);
    assert_non_null(query);
    assert_int_equal(query_result(query)->count, 0);
    query_free(query);
    query = run(storage, "count_over_time(s[5m])", &options, &err);
    assert_non_null(query);
    assert_true(query_result(query)->series[0].value[0] == 1);
    query_free(query);
    fake_storage_free(storage);
}

/* Memory is bounded for histograms, too. */
static void test_query_run__ends_at_the_memory_budget(void **state)
{
    (void)state;
    struct storage *storage = fake_storage_new();
    struct query_options options = at(0, 20000000, 10000);
    struct err err;
    for (int i = 0; i < 2000; i++)
        add(storage, "h", i * 10000, i + 1);
    options.bytes_max = 1 << 20;
    assert_null(run(storage, "-(h * 2) + h", &options, &err));
    assert_int_equal(err.code, ERR_EXECUTION);
    assert_non_null(strstr(err.text, "bytes of memory"));
    assert_null(run(storage, "sum_over_time(h[1d])", &options, &err));
    assert_non_null(strstr(err.text, "bytes of memory"));
    fake_storage_free(storage);
}

/* The texts that tell of what was dropped have a position each. */
static void test_query_run__annotates_mixes(void **state)
{
    (void)state;
    struct storage *storage = filled();
    struct query_options options = at(240000, 240000, 0);
    static const struct {
        const char *expr, *warning, *info;
    } cases[] = {
        {"rate(h[5m])",
         "PromQL warning: encountered a mix of histograms and floats for metric name \"h\" (1:6)",
         NULL},
        {"max_over_time(h[5m])", NULL,
         "PromQL info: ignored histograms in a range containing both floats and histograms for "
         "metric name \"h\" (1:15)"},
        {"1 +\n  (h offset 1m)", NULL,
         "PromQL info: incompatible sample types encountered for binary operator \"+\": float + "
         "histogram (1:1)"},
        {"max(h offset 1m)", NULL, "PromQL info: ignored histogram in max aggregation (1:5)"},
        {"topk(1, h offset 1m)", NULL, "PromQL info: ignored histogram in topk aggregation (1:1)"},
        {"delta(h[2m] offset 1m)",
         "PromQL warning: this native histogram metric is not a gauge: \"h\" (1:7)", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err err;
        struct query *query = run(storage, cases[i].expr, &options, &err);
        assert_non_null(query);
        const struct query_result *result = query_result(query);
        assert_int_equal(result->warning_count, cases[i].warning ? 1 : 0);
        assert_int_equal(result->info_count, cases[i].info ? 1 : 0);
        if (cases[i].warning)
            assert_true(str_eq(result->warnings[0], str_of(cases[i].warning)));
        if (cases[i].info)
            assert_true(str_eq(result->infos[0], str_of(cases[i].info)));
        query_free(query);
    }
    fake_storage_free(storage);
}

/* info() takes labels from float series only, and from one of each name. */
static void test_query_run__refuses_ambiguous_info(void **state)
{
    (void)state;
    struct storage *storage = fake_storage_new();
    struct query_options options = at(0, 0, 0);
    struct err err;
    static const char *const series[] = {"m{job=\"a\",instance=\"i\"}",
                                         "target_info{job=\"a\",instance=\"i\",v=\"1\"}",
                                         "target_info{job=\"a\",instance=\"i\",v=\"2\"}",
                                         "other_info{job=\"a\",instance=\"i\",v=\"3\"}"};
    options.features = QUERY_EXPERIMENTAL_FUNCTIONS;
    for (size_t i = 0; i < COUNT_OF(series); i++) {
        struct labels *labels = metric(series[i]);
        fake_storage_add(storage, labels, 0, 1);
        labels_unref(labels);
    }
    assert_null(run(storage, "info(m)", &options, &err));
    assert_int_equal(err.code, ERR_EXECUTION);
    assert_non_null(strstr(
        err.text, "found duplicate series for info metric: existing "
                  "{__name__=\"target_info\", instance=\"i\", job=\"a\", v=\"1\"} @ 0, new "));
    assert_null(
        run(storage, "info(m, {__name__=~\"(target|other)_info\", v=~\"1|3\"})", &options, &err));
    assert_string_equal(err.text, "conflicting label: v");
    assert_json(storage, "info(m, {__name__=\"other_info\"})", &options,
                "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{"
                "\"metric\":{\"__name__\":\"m\",\"instance\":\"i\",\"job\":\"a\",\"v\":\"3\"},"
                "\"value\":[0,\"1\"]}]}}");
    fake_storage_free(storage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_result_json__writes_histograms),
        cmocka_unit_test(test_query_run__counts_histograms_by_size),
        cmocka_unit_test(test_query_run__reads_block_by_block),
        cmocka_unit_test(test_query_run__heeds_stale_histograms),
        cmocka_unit_test(test_query_run__ends_at_the_memory_budget),
        cmocka_unit_test(test_query_run__annotates_mixes),
        cmocka_unit_test(test_query_run__refuses_ambiguous_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
