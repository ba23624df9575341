/* A range query is the instant queries at its steps: checked with random expressions over untidy
 * series.
 *
 * The evaluator works on all steps at once; an instant query is one step. So the two ways differ in
 * nearly every loop, and must agree. Expressions come from a small grammar and a
 * seed that a failure prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>

#include "base/buf.h"
#include "model/sample.h"
#include "query.h"

#include "fake_storage.c"

#define EXPRESSIONS 1500
#define STEP_MS     17000
#define STEPS       23

static uint64_t seed;

static uint32_t roll(uint32_t sides)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % sides;
}

/* --- series with gaps, resets, stale markers, NaN, and ones that replace one another --- */

static void add(struct storage *storage, const char *metric, int64_t time_ms, double value)
{
    struct labels *labels;
    struct err err;
    assert_true(query_parse_metric(str_of(metric), &labels, &err));
    fake_storage_add(storage, labels, time_ms, value);
    labels_unref(labels);
}

static double any_value(int i)
{
    switch (roll(12)) {
    case 0:
        return sample_stale();
    case 1:
        return sample_nan();
    case 2:
        return 0;
    case 3:
        return -i;
    case 4:
        return INFINITY;
    default:
        return i * 10 + (int)roll(5);
    }
}

static struct storage *untidy_series(void)
{
    static const char *const metrics[] = {
        "a{i=\"0\",g=\"x\"}",     "a{i=\"1\",g=\"x\"}",  "a{i=\"2\",g=\"y\"}",
        "b{i=\"0\",g=\"x\"}",     "b{i=\"1\",g=\"z\"}",  "c_total{i=\"0\"}",
        "c_total{i=\"1\"}",       "h{le=\"1\",i=\"0\"}", "h{le=\"2\",i=\"0\"}",
        "h{le=\"+Inf\",i=\"0\"}",
    };
    struct storage *storage = fake_storage_new();
    fake_storage_set_block(storage, 7);
    for (size_t m = 0; m < COUNT_OF(metrics); m++)
        for (int i = 0; i < 60; i++)
            if (roll(10) > (m % 3) * 3)
                add(storage, metrics[m], i * 10000 + (int)m, any_value(i));
    for (int i = 0; i < 20; i++) {
        add(storage, "old{i=\"0\"}", i * 10000, i);
        add(storage, "new{i=\"0\"}", 300000 + i * 10000, i);
    }
    add(storage, "old{i=\"0\"}", 200000, sample_stale());
    return storage;
}

/* --- expressions --- */

static void add_vector(struct buf *out, int depth);

static void add_scalar(struct buf *out, int depth)
{
    static const char *const leaves[] = {"1", "2.5", "-3", "time()", "0", "pi()"};
    if (depth <= 0 || roll(3)) {
        buf_add_str(out, str_of(leaves[roll(COUNT_OF(leaves))]));
        return;
    }
    BUF_ADD(out, "scalar(");
    add_vector(out, depth - 1);
    buf_add_char(out, ')');
}

static void add_selector(struct buf *out)
{
    static const char *const selectors[] = {
        "a",          "b",         "c_total",   "h",
        "a{i=\"0\"}", "{i=\"0\"}", "{g=\"x\"}", "{__name__=~\"old|new\"}",
        "nothing"};
    buf_add_str(out, str_of(selectors[roll(COUNT_OF(selectors))]));
}

static void add_modifiers(struct buf *out)
{
    switch (roll(8)) {
    case 0:
        BUF_ADD(out, " offset 25s");
        break;
    case 1:
        BUF_ADD(out, " @ 200");
        break;
    case 2:
        BUF_ADD(out, " offset -15s");
        break;
    default:
        break;
    }
}

static void add_range(struct buf *out, int depth)
{
    if (depth > 0 && roll(4) == 0) {
        buf_add_char(out, '(');
        add_vector(out, depth - 1);
        BUF_ADD(out, ")[50s:10s]");
    } else {
        static const char *const ranges[] = {"[30s]", "[1m]", "[2m]", "[5s]"};
        add_selector(out);
        buf_add_str(out, str_of(ranges[roll(COUNT_OF(ranges))]));
    }
    add_modifiers(out);
}

static void add_call(struct buf *out, int depth)
{
    static const char *const of_ranges[] = {"rate",
                                            "increase",
                                            "delta",
                                            "irate",
                                            "idelta",
                                            "resets",
                                            "changes",
                                            "deriv",
                                            "avg_over_time",
                                            "sum_over_time",
                                            "min_over_time",
                                            "max_over_time",
                                            "count_over_time",
                                            "stddev_over_time",
                                            "stdvar_over_time",
                                            "last_over_time",
                                            "first_over_time",
                                            "present_over_time",
                                            "absent_over_time",
                                            "mad_over_time",
                                            "ts_of_max_over_time",
                                            "ts_of_min_over_time"};
    static const char *const of_vectors[] = {"abs",       "ceil",      "sgn",  "exp",
                                             "absent",    "timestamp", "hour", "day_of_week",
                                             "sort_desc", "round",     "-",    "+"};
    if (roll(2)) {
        buf_add_str(out, str_of(of_ranges[roll(COUNT_OF(of_ranges))]));
        buf_add_char(out, '(');
        add_range(out, depth);
    } else {
        buf_add_str(out, str_of(of_vectors[roll(COUNT_OF(of_vectors))]));
        buf_add_char(out, '(');
        add_vector(out, depth - 1);
    }
    buf_add_char(out, ')');
}

static void add_special(struct buf *out, int depth)
{
    switch (roll(7)) {
    case 0:
        BUF_ADD(out, "quantile_over_time(0.7, ");
        add_range(out, depth);
        break;
    case 1:
        BUF_ADD(out, "predict_linear(");
        add_range(out, depth);
        BUF_ADD(out, ", 60");
        break;
    case 2:
        BUF_ADD(out, "histogram_quantile(0.6, ");
        add_vector(out, depth - 1);
        break;
    case 3:
        BUF_ADD(out, "clamp(");
        add_vector(out, depth - 1);
        BUF_ADD(out, ", 3, ");
        add_scalar(out, depth - 1);
        break;
    case 4:
        BUF_ADD(out, "vector(");
        add_scalar(out, depth - 1);
        break;
    case 5:
        BUF_ADD(out, "label_replace(");
        add_vector(out, depth - 1);
        BUF_ADD(out, ", \"i\", \"k$1\", \"i\", \"([01])\"");
        break;
    default:
        BUF_ADD(out, "histogram_fraction(0, 1.5, ");
        add_vector(out, depth - 1);
    }
    buf_add_char(out, ')');
}

static void add_aggregate(struct buf *out, int depth)
{
    static const char *const plain[] = {"sum",   "avg",   "min",    "max",
                                        "count", "group", "stddev", "stdvar"};
    static const char *const with_param[] = {"topk", "bottomk", "limitk", "quantile",
                                             "limit_ratio"};
    static const char *const groups[] = {"", " by (i)", " by (g)", " without (i)",
                                         " by (i, g, __name__)"};
    if (roll(8) == 0) {
        BUF_ADD(out, "count_values(\"v\", ");
    } else if (roll(2)) {
        buf_add_str(out, str_of(plain[roll(COUNT_OF(plain))]));
        buf_add_str(out, str_of(groups[roll(COUNT_OF(groups))]));
        buf_add_char(out, '(');
    } else {
        buf_add_str(out, str_of(with_param[roll(COUNT_OF(with_param))]));
        buf_add_str(out, str_of(groups[roll(COUNT_OF(groups))]));
        buf_add_char(out, '(');
        add_scalar(out, depth - 1);
        BUF_ADD(out, ", ");
    }
    add_vector(out, depth - 1);
    buf_add_char(out, ')');
}

static void add_binary(struct buf *out, int depth)
{
    static const char *const operators[] = {
        "+", "-",  "*",  "/",      "%",       "^",   "==", "!=",     ">",
        "<", ">=", "<=", "> bool", "== bool", "and", "or", "unless", "atan2"};
    static const char *const matchings[] = {"", "", " on (i)", " ignoring (g)", " on ()"};
    static const char *const fills[] = {"", "", "", " fill(1)", " fill_left(2)", " fill_right(3)"};
    uint32_t op = roll(COUNT_OF(operators));
    bool is_set = op >= 14 && op <= 16;
    buf_add_char(out, '(');
    if (!is_set && roll(3) == 0) {
        add_vector(out, depth - 1);
        buf_addf(out, " %s ", operators[op]);
        add_scalar(out, depth - 1);
    } else if (!is_set && roll(4) == 0) {
        add_scalar(out, depth - 1);
        buf_addf(out, " %s ", operators[op]);
        add_vector(out, depth - 1);
    } else {
        const char *matching = matchings[roll(COUNT_OF(matchings))];
        add_vector(out, depth - 1);
        buf_addf(out, " %s%s", operators[op], matching);
        if (!is_set && matching[0] && roll(2))
            buf_add_str(out, roll(2) ? STR(" group_left (g)") : STR(" group_right ()"));
        if (!is_set)
            buf_add_str(out, str_of(fills[roll(COUNT_OF(fills))]));
        buf_add_char(out, ' ');
        add_vector(out, depth - 1);
    }
    buf_add_char(out, ')');
}

static void add_vector(struct buf *out, int depth)
{
    if (depth <= 0 || roll(6) == 0) {
        add_selector(out);
        add_modifiers(out);
        return;
    }
    switch (roll(5)) {
    case 0:
    case 1:
        add_call(out, depth);
        return;
    case 2:
        add_special(out, depth);
        return;
    case 3:
        add_aggregate(out, depth);
        return;
    default:
        add_binary(out, depth);
    }
}

/* --- both ways --- */

static struct query *run(struct storage *storage, struct str text, int64_t from_ms, int64_t to_ms,
                         int64_t step_ms)
{
    struct query_options options;
    struct query *query;
    struct err err;
    query_options_init(&options);
    options.features = QUERY_EXPERIMENTAL_FUNCTIONS | QUERY_FILL_MODIFIERS;
    options.start_ms = from_ms;
    options.end_ms = to_ms;
    options.step_ms = step_ms;
    if (!query_new(&query, text, &options, &err))
        return NULL;
    if (query_run(query, storage, &err))
        return query;
    query_free(query);
    return NULL;
}

/* Sums may be added up in another order after a sort. */
static bool same_value(double a, double b)
{
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

/* The points of a range result at one time must be the instant result. */
static bool same_at(const struct query_result *range, const struct query_result *instant,
                    int64_t time_ms)
{
    size_t found = 0;
    for (size_t i = 0; i < range->count; i++) {
        for (size_t k = 0; k < range->series[i].count; k++) {
            if (range->series[i].time_ms[k] != time_ms)
                continue;
            bool same = false;
            for (size_t j = 0; j < instant->count; j++)
                same = same || (labels_eq(instant->series[j].labels, range->series[i].labels) &&
                                same_value(instant->series[j].value[0], range->series[i].value[k]));
            if (!same)
                return false;
            found++;
        }
    }
    return found == instant->count;
}

static bool has_any(struct str text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_find(text, str_of(words[i])) != text.len)
            return true;
    return false;
}

/* Where the two ways may differ, in Prometheus, too: over a vector that stays the same an
 * aggregation is evaluated once, even if its parameter changes; and which of equal values is chosen
 * depends on the order of groups. */
static bool is_odd(struct str text)
{
    static const char *const same[] = {"@", "vector("};
    static const char *const varying[] = {"(time()", "(scalar("};
    static const char *const choosing[] = {"topk", "bottomk", "limitk"};
    static const char *const grouping[] = {"sum",   "avg",    "min",      "max",       "count",
                                           "group", "stddev", "quantile", "histogram", "sort"};
    return (has_any(text, same, COUNT_OF(same)) && has_any(text, varying, COUNT_OF(varying))) ||
           (has_any(text, choosing, COUNT_OF(choosing)) &&
            has_any(text, grouping, COUNT_OF(grouping)));
}

static bool check_expression(struct storage *storage, struct str text, size_t *compared)
{
    int64_t from_ms = 40000, to_ms = from_ms + (STEPS - 1) * STEP_MS + 500;
    struct query *range = run(storage, text, from_ms, to_ms, STEP_MS);
    bool ok = true;
    if (!range)
        return true; /* An error at any step ends the whole. */
    for (int i = 0; ok && i < STEPS; i++) {
        int64_t time_ms = from_ms + i * STEP_MS;
        struct query *instant = run(storage, text, time_ms, time_ms, 0);
        ok = instant && same_at(query_result(range), query_result(instant), time_ms);
        query_free(instant);
    }
    *compared += query_result(range)->count > 0;
    query_free(range);
    return ok;
}

static void test_query_run__gives_instant_values_at_each_step(void **state)
{
    (void)state;
    size_t compared = 0;
    for (uint64_t i = 0; i < EXPRESSIONS; i++) {
        seed = i / 100;
        struct storage *storage = untidy_series();
        struct buf text;
        buf_init(&text, 65536);
        seed = i * 7919 + 1;
        roll(1);
        add_vector(&text, 3);
        bool ok = is_odd(buf_str(&text)) || check_expression(storage, buf_str(&text), &compared);
        if (!ok)
            print_error("seed %d: " STR_FMT "\n", (int)i, STR_ARG(buf_str(&text)));
        assert_true(ok);
        buf_deinit(&text);
        fake_storage_free(storage);
    }
    assert_true(compared > EXPRESSIONS / 4); /* Else the grammar makes nothing but errors. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_run__gives_instant_values_at_each_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
