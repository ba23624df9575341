/* One query by several threads: the bytes of the answer, texts and statistics are those of one
 * thread, and so are the errors. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/sample.h"
#include "query.h"

#include "fake_storage.c"

#define SERIES 150

struct part {
    void (*run)(void *arg, unsigned index);
    void *arg;
    unsigned index;
};

static void *part_main(void *arg)
{
    struct part *part = arg;
    part->run(part->arg, part->index);
    return NULL;
}

/* The last index first: nothing may depend on the order. */
static void threads(void *ctx, unsigned count, void (*run)(void *arg, unsigned index), void *arg)
{
    struct part parts[8];
    pthread_t ids[8];
    (void)ctx;
    assert_true(count <= 8);
    for (unsigned i = count; i-- > 0;) {
        parts[i] = (struct part){run, arg, i};
        assert_int_equal(pthread_create(&ids[i], NULL, part_main, &parts[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_join(ids[i], NULL), 0);
}

/* Counters with resets, gaps, NaN and stale markers; sums of them round. */
static struct storage *many_series(void)
{
    struct storage *storage = fake_storage_new();
    uint64_t dice = 42;
    for (int i = 0; i < SERIES; i++) {
        char metric[96];
        struct labels *labels;
        struct err err;
        double value = 0;
        snprintf(metric, sizeof(metric), "%s{g=\"%d\",i=\"%03d\",le=\"%d\"}",
                 i % 3 ? "c_total" : "gauge", i % 4, i, i % 7);
        assert_true(query_parse_metric(str_of(metric), &labels, &err));
        for (int t = 0; t < 400; t++) {
            dice = dice * 6364136223846793005u + 1442695040888963407u;
            value = dice >> 58 == 0 ? 0 : value + (double)(dice >> 40) / 1e7;
            if (dice >> 54 % 64 == 3)
                continue;
            double shown = dice >> 55 == 5 ? sample_stale() : dice >> 55 == 6 ? NAN : value;
            fake_storage_add(storage, labels, t * 10000 + i % 5, shown);
        }
        labels_unref(labels);
    }
    return storage;
}

static const char *const EXPRESSIONS[] = {
    "c_total",
    "sum(c_total)",
    "sum by (g) (rate(c_total[5m]))",
    "avg without (i, le) (increase(c_total[3m]))",
    "stddev by (le) (gauge)",
    "max by (g) (rate({g=~\".+\"}[1m]))",
    "count by (g) (last_over_time(gauge[30s]))",
    "rate(gauge[2m])",
    "changes(c_total[10m])",
    "resets(c_total[10m])",
    "avg_over_time(c_total[7m])",
    "sum_over_time(gauge[7m])",
    "stddev_over_time(gauge[6m])",
    "quantile_over_time(0.3, gauge[9m])",
    "quantile_over_time(2, gauge[9m])",
    "max_over_time(c_total[8m])",
    "min_over_time(gauge[8m])",
    "ts_of_max_over_time(gauge[8m])",
    "double_exponential_smoothing(gauge[8m], 0.3, 0.6)",
    "max_over_time(rate(c_total[1m])[10m:20s])",
    "histogram_quantile(0.9, sum by (le) (rate(c_total[5m])))",
    "timestamp(c_total)",
    "rate(c_total[2m]) / on (i) rate(c_total[4m])",
    "absent_over_time(c_total[1m])",
    "sum(c_total @ end())",
    "rate({i=~\".+\"}[1m])", /* Fails: the names go, but not the difference. */
};

static struct query_options options_of(bool is_range, unsigned workers)
{
    struct query_options options;
    query_options_init(&options);
    options.features = QUERY_EXPERIMENTAL_FUNCTIONS;
    options.start_ms = is_range ? 60000 : 3000000;
    options.end_ms = 3500000;
    options.step_ms = is_range ? 17000 : 0;
    if (!is_range)
        options.end_ms = options.start_ms;
    options.parallel = workers > 1 ? threads : NULL;
    options.workers_max = workers;
    options.parallel_work_min = 1;
    return options;
}

/* The answer, or the error. */
static void answer(struct storage *storage, const char *text, const struct query_options *options,
                   struct buf *out)
{
    struct query *query;
    struct err err;
    buf_clear(out);
    assert_true(query_new(&query, str_of(text), options, &err));
    if (query_run(query, storage, &err)) {
        const struct query_result *result = query_result(query);
        query_result_json(result, 0, false, out);
        buf_addf(out, " total %llu read %llu peak %llu",
                 (unsigned long long)result->stats.samples_total,
                 (unsigned long long)result->stats.samples_read,
                 (unsigned long long)result->stats.samples_peak);
    } else {
        buf_addf(out, "%d %s", (int)err.code, err.text);
    }
    buf_add_char(out, 0);
    query_free(query);
}

/* Whoever has more cores gets the same digits. */
static void test_query_run__gives_the_same_with_any_number_of_workers(void **state)
{
    (void)state;
    struct storage *storage = many_series();
    struct buf one, other;
    buf_init(&one, 1 << 26);
    buf_init(&other, 1 << 26);
    for (size_t e = 0; e < COUNT_OF(EXPRESSIONS); e++) {
        for (int is_range = 0; is_range < 2; is_range++) {
            struct query_options options = options_of(is_range, 1);
            answer(storage, EXPRESSIONS[e], &options, &one);
            for (unsigned workers = 2; workers <= 4; workers += 2) {
                options = options_of(is_range, workers);
                answer(storage, EXPRESSIONS[e], &options, &other);
                assert_string_equal(one.ptr, other.ptr);
            }
        }
    }
    buf_deinit(&one);
    buf_deinit(&other);
    fake_storage_free(storage);
}

/* Workers share the budgets. */
static void test_query_run__keeps_budgets_with_workers(void **state)
{
    (void)state;
    struct storage *storage = many_series();
    struct buf out;
    buf_init(&out, 1 << 20);
    struct query_options options = options_of(true, 4);
    options.samples_max = 10000;
    answer(storage, "rate(c_total[5m])", &options, &out);
    assert_non_null(strstr(out.ptr, "would load too many samples"));
    answer(storage, "sum(rate(c_total[5m]))", &options, &out);
    assert_non_null(strstr(out.ptr, "would load too many samples"));
    options = options_of(true, 4);
    options.bytes_max = 150000;
    answer(storage, "rate(c_total[5m])", &options, &out);
    assert_non_null(strstr(out.ptr, "would use more than 150000 bytes"));
    atomic_bool canceled = true;
    options = options_of(true, 4);
    options.canceled = &canceled;
    answer(storage, "rate(c_total[5m])", &options, &out);
    assert_non_null(strstr(out.ptr, "canceled"));
    buf_deinit(&out);
    fake_storage_free(storage);
}

/* What is added up is not held: the memory is that of the groups. */
static void test_query_run__aggregates_without_holding_the_series(void **state)
{
    (void)state;
    struct storage *storage = many_series();
    struct buf out;
    buf_init(&out, 1 << 22);
    struct query_options options = options_of(true, 1);
    options.step_ms = 100;
    options.bytes_max = 14 << 20;
    answer(storage, "rate(c_total[5m])", &options, &out); /* 100 series of 34,400 steps */
    assert_non_null(strstr(out.ptr, "would use more than"));
    answer(storage, "sum(rate(c_total[5m]))", &options, &out);
    assert_non_null(strstr(out.ptr, "\"success\""));
    buf_deinit(&out);
    fake_storage_free(storage);
}

/* Values that hardly ever come again cost what they are, not all steps each. */
static void test_query_run__counts_values_in_little_memory(void **state)
{
    (void)state;
    struct storage *storage = many_series();
    struct buf out;
    buf_init(&out, 1 << 26);
    struct query_options options = options_of(true, 1);
    options.step_ms = 10000;
    options.bytes_max = 32 << 20; /* 50 series x 345 values; with all steps it would be 47 MB. */
    answer(storage, "count_values('v', gauge)", &options, &out);
    assert_non_null(strstr(out.ptr, "\"success\""));
    buf_deinit(&out);
    fake_storage_free(storage);
}

/* Up to the statistics. */
static void assert_same_answer(struct storage *storage, const char *left, const char *right,
                               const struct query_options *options)
{
    struct buf one, other;
    buf_init(&one, 1 << 26);
    buf_init(&other, 1 << 26);
    answer(storage, left, options, &one);
    answer(storage, right, options, &other);
    assert_non_null(strstr(one.ptr, "\"success\""));
    *strstr(one.ptr, "]}") = 0;
    *strstr(other.ptr, "]}") = 0;
    assert_string_equal(one.ptr, other.ptr);
    buf_deinit(&one);
    buf_deinit(&other);
}

/* An operand that is not a selector has to be held: the sums are the same, to the last bit. */
static void test_query_run__aggregates_the_same_held_or_not(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"sum by (g) (rate(c_total[5m]))", "sum by (g) (rate(c_total[5m]) or rate(c_total[5m]))"},
        {"sum(c_total)", "sum(c_total or c_total)"},
        {"avg by (le) (gauge)", "avg by (le) (gauge or gauge)"},
        {"stdvar without (i) (c_total)", "stdvar without (i) (c_total or c_total)"},
        {"max by (g) (c_total)", "max by (g) (c_total or c_total)"},
        {"count by (g) (gauge)", "count by (g) (gauge or gauge)"},
        {"group by (nothing) (gauge)", "group by (nothing) (gauge or gauge)"},
    };
    struct storage *storage = many_series();
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        for (int is_range = 0; is_range < 2; is_range++) {
            struct query_options options = options_of(is_range, 1);
            assert_same_answer(storage, pairs[i][0], pairs[i][1], &options);
        }
    }
    fake_storage_free(storage);
}

static const struct query_series *found_series(const struct query_result *result,
                                               const struct labels *labels)
{
    for (size_t i = 0; i < result->count; i++)
        if (labels_eq(result->series[i].labels, labels))
            return &result->series[i];
    return NULL;
}

static struct query *run(struct storage *storage, const char *text,
                         const struct query_options *options)
{
    struct query *query;
    struct err err;
    assert_true(query_new(&query, str_of(text), options, &err));
    assert_true(query_run(query, storage, &err));
    return query;
}

/* All values that the range query has at this time, against those of an instant query. */
static size_t compare_instant(struct storage *storage, const char *text,
                              const struct query_result *range, int64_t time_ms)
{
    struct query_options options = options_of(false, 1);
    size_t found = 0;
    options.start_ms = options.end_ms = time_ms;
    struct query *query = run(storage, text, &options);
    const struct query_result *instant = query_result(query);
    for (size_t i = 0; i < range->count; i++) {
        const struct query_series *series = &range->series[i];
        for (size_t k = 0; k < series->count; k++) {
            if (series->time_ms[k] != time_ms)
                continue;
            const struct query_series *other = found_series(instant, series->labels);
            assert_non_null(other);
            if (!isnan(series->value[k]) || !isnan(other->value[0]))
                assert_int_equal(sample_bits(series->value[k]), sample_bits(other->value[0]));
            found++;
        }
    }
    assert_int_equal(found, instant->count);
    query_free(query);
    return found;
}

/* One window stands alone in an instant query; in a range query it is worked out from its neighbours
 * or beside them. */
static void test_query_run__gives_at_each_step_what_an_instant_query_gives(void **state)
{
    (void)state;
    struct storage *storage = many_series();
    for (size_t e = 0; e + 1 < COUNT_OF(EXPRESSIONS); e++) {
        struct query_options options = options_of(true, 1);
        if (strstr(EXPRESSIONS[e], "end()"))
            continue;
        struct query *query = run(storage, EXPRESSIONS[e], &options);
        size_t found = 0;
        for (int64_t t = options.start_ms; t <= options.end_ms; t += 11 * options.step_ms)
            found += compare_instant(storage, EXPRESSIONS[e], query_result(query), t);
        assert_true(found > 0 || strstr(EXPRESSIONS[e], "absent"));
        query_free(query);
    }
    fake_storage_free(storage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_run__gives_the_same_with_any_number_of_workers),
        cmocka_unit_test(test_query_run__keeps_budgets_with_workers),
        cmocka_unit_test(test_query_run__aggregates_without_holding_the_series),
        cmocka_unit_test(test_query_run__counts_values_in_little_memory),
        cmocka_unit_test(test_query_run__aggregates_the_same_held_or_not),
        cmocka_unit_test(test_query_run__gives_at_each_step_what_an_instant_query_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
