/* The engine around the evaluation: budgets, deadlines, cancel, errors of storage, statistics, and
 * the API's JSON. What expressions evaluate to is in tests/golden/promql. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "model/sample.h"
#include "query.h"

#include "fake_storage.c"

static void add(struct storage *storage, const char *metric, int64_t time_ms, double value)
{
    struct labels *labels;
    struct err err;
    assert_true(query_parse_metric(str_of(metric), &labels, &err));
    fake_storage_add(storage, labels, time_ms, value);
    labels_unref(labels);
}

/* Two counters, 15s apart, from 0 to 150s. */
static struct storage *counters(void)
{
    struct storage *storage = fake_storage_new();
    for (int i = 0; i <= 10; i++) {
        add(storage, "c_total{i=\"0\"}", i * 15000, i * 15);
        add(storage, "c_total{i=\"1\"}", i * 15000, i * 30);
    }
    return storage;
}

static struct query_options instant_at(int64_t time_ms)
{
    struct query_options options;
    query_options_init(&options);
    options.start_ms = options.end_ms = time_ms;
    return options;
}

static struct query_options range_of(int64_t from_ms, int64_t to_ms, int64_t step_ms)
{
    struct query_options options = instant_at(from_ms);
    options.end_ms = to_ms;
    options.step_ms = step_ms;
    return options;
}

/* Runs; NULL with *err when it fails. */
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

static void assert_fails(struct storage *storage, const char *text,
                         const struct query_options *options, enum err_code code,
                         const char *expected)
{
    struct err err;
    struct query *query = run(storage, text, options, &err);
    assert_null(query);
    assert_int_equal(err.code, code);
    assert_string_equal(err.text, expected);
}

/* --- the answer --- */

/* Dashboards parse exactly these shapes. */
static void test_query_result_json__has_the_shape_of_each_type(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = instant_at(30500);
    assert_json(
        storage, "c_total{i=\"0\"}", &options,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":"
        "{\"__name__\":\"c_total\",\"i\":\"0\"},\"value\":[30.500,\"30\"]}]}}");
    assert_json(storage, "nothing", &options,
                "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}");
    assert_json(storage, "1 / 0", &options,
                "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":[30.5,\"+"
                "Inf\"]}}");
    assert_json(storage, "\"a\\\"b\"", &options,
                "{\"status\":\"success\",\"data\":{\"resultType\":\"string\",\"result\":[30.5,"
                "\"a\\\"b\"]}}");
    assert_json(
        storage, "c_total{i=\"0\"}[20s]", &options,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":"
        "{\"__name__\":\"c_total\",\"i\":\"0\"},\"values\":[[15,\"15\"],[30,\"30\"]]}]}}");
    options = range_of(0, 30000, 15000);
    assert_json(
        storage, "-sum(c_total)", &options,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":"
        "{},\"values\":[[0,\"-0\"],[15,\"-45\"],[30,\"-90\"]]}]}}");
    assert_json(
        storage, "1e-7", &options,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":"
        "{},\"values\":[[0,\"1e-07\"],[15,\"1e-07\"],[30,\"1e-07\"]]}]}}");
    fake_storage_free(storage);
}

/* Annotations come with the answer; a limit cuts series and says so. */
static void test_query_result_json__adds_warnings_infos_and_limit(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = instant_at(60000);
    struct err err;
    struct buf out;
    struct query *query = run(storage, "c_total", &options, &err);
    assert_non_null(query);
    buf_init(&out, 1 << 20);
    query_result_json(query_result(query), 1, false, &out);
    buf_add_char(&out, 0);
    assert_string_equal(
        out.ptr,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":"
        "{\"__name__\":\"c_total\",\"i\":\"0\"},\"value\":[60,\"60\"]}]},\"warnings\":["
        "\"results truncated due to limit\"]}");
    buf_clear(&out);
    query_result_json(query_result(query), 2, true, &out);
    buf_add_char(&out, 0);
    assert_null(strstr(out.ptr, "truncated"));
    assert_non_null(strstr(out.ptr, "\"stats\":{\"timings\":{\"evalTotalTime\":"));
    assert_non_null(strstr(out.ptr, "\"samples\":{\"totalQueryableSamples\":2,\"samplesRead\":2,"
                                    "\"peakSamples\":2}"));
    buf_deinit(&out);
    query_free(query);

    assert_json(
        storage, "quantile(7, c_total{i=\"0\"})", &options,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{},"
        "\"value\":[60,\"+Inf\"]}]},\"warnings\":[\"PromQL warning: quantile value should be "
        "between 0 and 1, got 7 (1:10)\"]}");
    fake_storage_free(storage);
}

/* At most ten annotations of a kind are told, and how many were not. */
static void test_annotations__tell_how_many_were_left_out(void **state)
{
    (void)state;
    struct storage *storage = fake_storage_new();
    struct query_options options = instant_at(60000);
    struct err err;
    for (char c = 'a'; c < 'a' + 13; c++) {
        char metric[] = {c, '{', 'i', '=', '"', c, '"', '}', 0};
        add(storage, metric, 15000, 1);
        add(storage, metric, 30000, 2);
    }
    struct query *query = run(storage, "rate({i!=\"\"}[1m])", &options, &err);
    assert_non_null(query);
    const struct query_result *result = query_result(query);
    assert_int_equal(result->info_count, 11);
    assert_int_equal(result->warning_count, 0);
    assert_true(str_eq(result->infos[0],
                       STR("PromQL info: metric might not be a counter, name does not end in "
                           "_total/_sum/_count/_bucket: \"a\" (1:6)")));
    assert_true(str_eq(result->infos[10], STR("3 more info annotations omitted")));
    query_free(query);
    fake_storage_free(storage);
}

/* Positions count lines. */
static void test_annotations__know_their_line(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = instant_at(60000);
    struct err err;
    struct query *query = run(storage, "sum(\n  quantile(\n 2, c_total))", &options, &err);
    assert_non_null(query);
    assert_int_equal(query_result(query)->warning_count, 1);
    assert_true(str_ends(query_result(query)->warnings[0], STR("got 2 (3:2)")));
    query_free(query);
    fake_storage_free(storage);
}

/* --- range queries --- */

static void test_query_check_range__refuses_other_types(void **state)
{
    (void)state;
    struct query_options options = instant_at(60000);
    struct query *query;
    struct err err;
    assert_true(query_new(&query, STR("up[5m]"), &options, &err));
    assert_int_equal(query_type(query), QUERY_MATRIX);
    assert_false(query_check_range(query, &err));
    assert_int_equal(err.code, ERR_BAD_DATA);
    assert_string_equal(err.text,
                        "invalid expression type \"range vector\" for range query, must be "
                        "Scalar or instant Vector");
    query_free(query);
    assert_true(query_new(&query, STR("\"x\""), &options, &err));
    assert_false(query_check_range(query, &err));
    assert_string_equal(err.text,
                        "invalid expression type \"string\" for range query, must be Scalar "
                        "or instant Vector");
    query_free(query);
    assert_true(query_new(&query, STR("rate(up[5m])"), &options, &err));
    assert_true(query_check_range(query, &err));
    query_free(query);
    /* A range query is checked before its durations are worked out. */
    options = range_of(0, 60000, 15000);
    assert_false(query_new(&query, STR("up[-step()]"), &options, &err));
    assert_true(str_ends(str_of(err.text), STR("must be Scalar or instant Vector")));
}

/* The result of a range query is in the order of labels, whatever the order of evaluation. */
static void test_query_run__sorts_range_results(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = range_of(15000, 60000, 15000);
    struct err err;
    struct query *query =
        run(storage, "label_replace(c_total, \"j\", \"${1}\", \"i\", \"1\") or c_total", &options,
            &err);
    assert_non_null(query);
    const struct query_result *result = query_result(query);
    assert_int_equal(result->type, QUERY_MATRIX);
    for (size_t i = 1; i < result->count; i++)
        assert_true(labels_cmp(result->series[i - 1].labels, result->series[i].labels) < 0);
    query_free(query);
    fake_storage_free(storage);
}

/* What surely takes microseconds is told from what may not. */
static void test_query_weight__tells_light_from_heavy(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool light;
    } cases[] = {
        {"c_total", true},
        {"1 + time()", true},
        {"sum(rate(c_total[5m])) / on() group_left count(c_total)", true},
        {"topk(1, c_total{i='0'})", true},
        {"c_total{i=~'0'}", false},
        {"rate(c_total[5m])[1h:1m]", false},
        {"max_over_time(c_total[5m:1m])", false},
        {"label_replace(c_total, 'a', '$1', 'i', '(.*)')", false},
        {"c_total offset 1d", false}, /* The fake storage: before 0. */
        {"rate(c_total[1d])", false},
        {"c_total or c_total @ 1", false},
    };
    struct storage *storage = counters();
    struct err err;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct query *query;
        struct query_options options = instant_at(3600000);
        assert_true(query_new(&query, str_of(cases[i].text), &options, &err));
        if ((query_weight(query, storage) < 1000) != cases[i].light)
            fail_msg("%s", cases[i].text);
        query_free(query);
        options = range_of(3600000, 3660000, 60000);
        options.step_ms = 60000;
        if (strstr(cases[i].text, "[1h:1m]") ||
            !query_new(&query, str_of(cases[i].text), &options, &err))
            continue;
        assert_true(query_weight(query, storage) == UINT64_MAX);
        query_free(query);
    }
    fake_storage_free(storage);
}

/* A series is decoded once for all steps. */
static void test_query_run__reads_each_series_once(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = range_of(0, 150000, 1000);
    struct err err;
    struct query *query = run(storage, "sum(rate(c_total[1m]))", &options, &err);
    assert_non_null(query);
    assert_int_equal(fake_storage_reads(storage), 2);
    query_free(query);
    fake_storage_free(storage);
}

/* Samples that come in small blocks are the same samples. */
static void test_query_run__does_not_see_block_edges(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = range_of(60000, 90000, 15000);
    for (size_t block = 1; block < 5; block++) {
        fake_storage_set_block(storage, block);
        assert_json(
            storage, "increase(c_total{i=\"1\"}[1m])", &options,
            "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":"
            "{\"i\":\"1\"},\"values\":[[60,\"120\"],[75,\"120\"],[90,\"120\"]]}]}}");
    }
    fake_storage_free(storage);
}

/* --- budgets --- */

static void test_query_run__ends_over_the_sample_budget(void **state)
{
    (void)state;
    static const char text[] =
        "query processing would load too many samples into memory in query execution";
    struct storage *storage = counters();
    struct query_options options = range_of(0, 150000, 15000);
    struct err err;
    options.samples_max = 21; /* Two series of 11. */
    assert_fails(storage, "c_total", &options, ERR_EXECUTION, text);
    options.samples_max = 22;
    query_free(run(storage, "c_total", &options, &err));
    options.samples_max = 3;
    assert_fails(storage, "1", &options, ERR_EXECUTION, text);
    options = instant_at(150000);
    options.samples_max = 6; /* The window and its result. */
    assert_fails(storage, "rate(c_total{i=\"0\"}[90s])", &options, ERR_EXECUTION, text);
    options.samples_max = 7;
    query_free(run(storage, "rate(c_total{i=\"0\"}[90s])", &options, &err));
    options.samples_max = 0; /* It is no word for any number. */
    assert_fails(storage, "1", &options, ERR_EXECUTION, text);
    query_free(run(storage, "none", &options, &err));
    /* A subquery of more steps than may be held is refused before anything is allocated for them.
     */
    options.samples_max = 50000000;
    assert_fails(storage, "count_over_time(c_total[100y:1ms])", &options, ERR_EXECUTION, text);
    fake_storage_free(storage);
}

/* What Prometheus says as peakSamples: operands of all steps, those of one step, results so far. */
static void test_query_run__holds_samples_as_prometheus_counts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t at_one_step, at_eleven;
    } cases[] = {
        {"c_total", 2, 22},
        {"abs(c_total)", 2 + 2 + 2, 22 + 2 + 22},
        {"c_total + c_total", 4 + 4 + 2, 44 + 4 + 22},
        {"c_total + 1", 3 + 3 + 2, 33 + 3 + 22},
        {"1 + 1", 2 + 2 + 1, 11},
        {"sum(c_total)", 2, 22},
        {"topk(1, c_total)", 3, 33},
        {"count_values(\"v\", c_total * 0)", 8, 58},
        {"timestamp(c_total)", 4, 24},
        {"-c_total", 2, 22},
        {"label_replace(c_total, \"a\", \"b\", \"i\", \".*\")", 2, 22},
        {"absent(c_total)", 4, 24},
        {"scalar(c_total)", 2 + 2 + 1, 22 + 2 + 11},
        /* The last of 3 windows of 4 samples, and what came of the series so far. */
        {"count_over_time(c_total[1m])", 4 + 2, 4 + 22},
        {"quantile_over_time(0.5, c_total[1m])", 1 + 4 + 2, 11 + 4 + 22},
        {"c_total[1m]", 8, 0},
        {"abs(c_total)[1m:30s]", 2 + 2 + 4 + 2, 0},
        {"sum(c_total offset 75s)", 2, 12},
        /* What absent_over_time() makes is let go of without having been counted. */
        {"1 + min_over_time(absent_over_time(none[1m])[2m:15s])", 1 + 8 + 1, 0},
    };
    struct storage *storage = counters();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (int eleven = 0; eleven <= (cases[i].at_eleven > 0); eleven++) {
            struct query_options options = eleven ? range_of(0, 150000, 15000) : instant_at(150000);
            struct err err = {0};
            struct query *query = run(storage, cases[i].text, &options, &err);
            assert_non_null(query);
            uint64_t want = eleven ? cases[i].at_eleven : cases[i].at_one_step;
            if (query_result(query)->stats.samples_peak != want)
                fail_msg("%s: %llu, not %llu", cases[i].text,
                         (unsigned long long)query_result(query)->stats.samples_peak,
                         (unsigned long long)want);
            query_free(query);
        }
    }
    fake_storage_free(storage);
}

static void test_query_run__ends_over_the_memory_budget(void **state)
{
    (void)state;
    struct storage *storage = fake_storage_new();
    struct query_options options = range_of(0, 10000000, 1000);
    struct err err;
    char metric[32];
    for (int i = 0; i < 100; i++) {
        snprintf(metric, sizeof(metric), "m{i=\"%d\"}", i);
        for (int k = 0; k < 40; k++)
            add(storage, metric, k * 250000, k);
    }
    options.bytes_max = 1 << 20; /* 100 series of 10,000 steps need 8 MB. */
    assert_fails(storage, "m + 1", &options, ERR_EXECUTION,
                 "query processing would use more than 1048576 bytes of memory in query execution");
    options.bytes_max = 64 << 20;
    struct query *query = run(storage, "m + 1", &options, &err);
    assert_non_null(query);
    assert_int_equal(query_result(query)->count, 100);
    query_free(query);
    fake_storage_free(storage);
}

static void test_query_run__ends_when_canceled(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = instant_at(60000);
    atomic_bool canceled = true;
    options.canceled = &canceled;
    assert_fails(storage, "c_total", &options, ERR_CANCELED,
                 "query was canceled in expression evaluation");
    fake_storage_free(storage);
}

/* A query that would take for ever ends at its deadline. */
static void test_query_run__ends_at_the_deadline(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = range_of(0, 150000, 15);
    options.timeout_ms = 1;
    assert_fails(storage, "sum_over_time(quantile_over_time(0.5, c_total[150s:10ms])[150s:10ms])",
                 &options, ERR_TIMEOUT, "query timed out in expression evaluation");
    fake_storage_free(storage);
}

/* --- errors --- */

static void test_query_run__tells_errors_of_storage(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = instant_at(60000);
    fake_storage_fail(storage, "disk is gone", NULL);
    assert_fails(storage, "sum(c_total)", &options, ERR_INTERNAL, "expanding series: disk is gone");
    fake_storage_fail(storage, NULL, "chunk is bad");
    assert_fails(storage, "sum(c_total)", &options, ERR_CORRUPT, "expanding series: chunk is bad");
    assert_fails(storage, "rate(c_total[1m])", &options, ERR_CORRUPT,
                 "expanding series: chunk is bad");
    fake_storage_fail(storage, NULL, NULL);
    fake_storage_free(storage);
}

static void test_query_new__refuses_what_does_not_parse(void **state)
{
    (void)state;
    struct query_options options = instant_at(0);
    struct query *query;
    struct err err;
    assert_false(query_new(&query, STR("sum("), &options, &err));
    assert_int_equal(err.code, ERR_BAD_DATA);
    assert_null(query);
    assert_false(query_new(&query, STR("foo[1m - 2m]"), &options, &err));
    assert_int_equal(err.code, ERR_BAD_DATA);
    assert_non_null(strstr(err.text, "duration must be greater than 0"));
    query_free(NULL);
}

/* Times at the edges of what can be asked do not overflow. */
static void test_query_run__stands_extreme_times(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = instant_at(INT64_MAX);
    struct err err;
    query_free(run(storage, "rate(c_total[5m] offset 100y)", &options, &err));
    options = instant_at(INT64_MIN);
    query_free(run(storage, "c_total offset 100y", &options, &err));
    query_free(run(storage, "sum_over_time(c_total[10m:1m])", &options, &err));
    query_free(run(storage, "year() + hour()", &options, &err));
    query_free(run(storage, "year(vector(NaN))", &options, &err));
    fake_storage_free(storage);
}

/* --- statistics --- */

/* Counted as Prometheus counts: each window's samples at each step, read only once. */
static void test_query_stats__count_samples(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = range_of(60000, 90000, 15000);
    struct err err;
    struct query *query = run(storage, "sum(increase(c_total[1m]))", &options, &err);
    assert_non_null(query);
    const struct query_stats *stats = &query_result(query)->stats;
    assert_int_equal(stats->samples_total, 2 * 3 * 4);
    assert_int_equal(stats->samples_read, 2 * (4 + 1 + 1));
    query_free(query);

    query = run(storage, "c_total @ 60", &options, &err);
    assert_non_null(query);
    assert_int_equal(query_result(query)->stats.samples_total, 2 * 3);
    query_free(query);
    fake_storage_free(storage);
}

static void assert_steps(struct storage *storage, const char *text, const uint64_t total[3],
                         const uint64_t read[3])
{
    struct query_options options = range_of(60000, 90000, 15000);
    struct err err;
    options.features = QUERY_PER_STEP_STATS;
    struct query *query = run(storage, text, &options, &err);
    assert_non_null(query);
    const struct query_stats *stats = &query_result(query)->stats;
    assert_int_equal(stats->step_count, 3);
    assert_int_equal(stats->step_start_ms, 60000);
    assert_int_equal(stats->step_ms, 15000);
    uint64_t total_sum = 0, read_sum = 0;
    for (size_t t = 0; t < 3; t++) {
        assert_int_equal(stats->step_total[t], total[t]);
        assert_int_equal(stats->step_read[t], read[t]);
        total_sum += total[t];
        read_sum += read[t];
    }
    assert_int_equal(stats->samples_total, total_sum);
    assert_int_equal(stats->samples_read, read_sum);
    query_free(query);
}

/* stats=all tells which steps are dear: what a window has read before is not read again. */
static void test_query_stats__count_by_step(void **state)
{
    (void)state;
    struct storage *storage = counters();
    assert_steps(storage, "c_total", (uint64_t[]){2, 2, 2}, (uint64_t[]){2, 2, 2});
    assert_steps(storage, "sum(increase(c_total[1m]))", (uint64_t[]){8, 8, 8},
                 (uint64_t[]){8, 2, 2});
    assert_steps(storage, "c_total @ 60", (uint64_t[]){2, 2, 2}, (uint64_t[]){2, 0, 0});
    /* Two points in each window; those of the first are read for the first step. */
    assert_steps(storage, "sum_over_time(c_total[30s:15s])", (uint64_t[]){4, 4, 4},
                 (uint64_t[]){4, 2, 2});
    assert_steps(storage, "c_total + c_total offset 15s", (uint64_t[]){4, 4, 4},
                 (uint64_t[]){4, 4, 4});
    assert_steps(storage, "time()", (uint64_t[]){0, 0, 0}, (uint64_t[]){0, 0, 0});
    struct query_options options = instant_at(60000);
    struct err err;
    struct query *query = run(storage, "c_total", &options, &err);
    assert_int_equal(query_result(query)->stats.step_count, 0);
    query_free(query);
    fake_storage_free(storage);
}

/* Lookback is an option of the query. */
static void test_query_run__uses_the_lookback_of_the_query(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = instant_at(160000);
    options.lookback_ms = 10000;
    assert_json(storage, "count(c_total)", &options,
                "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}");
    options.lookback_ms = 10001;
    assert_json(
        storage, "count(c_total)", &options,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{},"
        "\"value\":[160,\"2\"]}]}}");
    fake_storage_free(storage);
}

/* Delayed name removal: label_replace can still see the name, and the end drops it. */
static void test_query_run__delays_name_removal(void **state)
{
    (void)state;
    struct storage *storage = counters();
    struct query_options options = instant_at(60000);
    options.features = QUERY_DELAYED_NAMES;
    assert_json(
        storage, "label_replace(abs(c_total{i=\"0\"}), \"n\", \"$1\", \"__name__\", \"(.*)\")",
        &options,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":"
        "{\"i\":\"0\",\"n\":\"c_total\"},\"value\":[60,\"60\"]}]}}");
    options.features = 0;
    assert_json(
        storage, "label_replace(abs(c_total{i=\"0\"}), \"n\", \"$1\", \"__name__\", \"(.*)\")",
        &options,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":"
        "{\"i\":\"0\"},\"value\":[60,\"60\"]}]}}");
    fake_storage_free(storage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_result_json__has_the_shape_of_each_type),
        cmocka_unit_test(test_query_result_json__adds_warnings_infos_and_limit),
        cmocka_unit_test(test_annotations__tell_how_many_were_left_out),
        cmocka_unit_test(test_annotations__know_their_line),
        cmocka_unit_test(test_query_check_range__refuses_other_types),
        cmocka_unit_test(test_query_run__sorts_range_results),
        cmocka_unit_test(test_query_weight__tells_light_from_heavy),
        cmocka_unit_test(test_query_run__reads_each_series_once),
        cmocka_unit_test(test_query_run__does_not_see_block_edges),
        cmocka_unit_test(test_query_run__ends_over_the_sample_budget),
        cmocka_unit_test(test_query_run__holds_samples_as_prometheus_counts),
        cmocka_unit_test(test_query_run__ends_over_the_memory_budget),
        cmocka_unit_test(test_query_run__ends_when_canceled),
        cmocka_unit_test(test_query_run__ends_at_the_deadline),
        cmocka_unit_test(test_query_run__tells_errors_of_storage),
        cmocka_unit_test(test_query_new__refuses_what_does_not_parse),
        cmocka_unit_test(test_query_run__stands_extreme_times),
        cmocka_unit_test(test_query_stats__count_samples),
        cmocka_unit_test(test_query_stats__count_by_step),
        cmocka_unit_test(test_query_run__uses_the_lookback_of_the_query),
        cmocka_unit_test(test_query_run__delays_name_removal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
