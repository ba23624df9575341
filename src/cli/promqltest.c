/* promqltest: see the header. */
#include "promqltest_runner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "base/regex.h"
#include "model/histogram_math.h"
#include "model/histogram_parts.h"
#include "model/sample.h"

#define EPSILON 0.000001

/* --- eval: comparing --- */

static bool almost_equal(double a, double b)
{
    if (sample_is_stale(a) || sample_is_stale(b))
        return sample_is_stale(a) && sample_is_stale(b);
    if ((isnan(a) && isnan(b)) || a == b)
        return true;
    double sum = fabs(a) + fabs(b), difference = fabs(a - b);
    if (a == 0 || b == 0 || sum < 2.2250738585072014e-308)
        return difference < EPSILON * 2.2250738585072014e-308;
    return difference / fmin(sum, 1.7976931348623157e308) < EPSILON;
}

static bool almost_equal_side(const struct histogram *a, const struct histogram *b, bool positive)
{
    struct histogram_span_walk in_a, in_b;
    histogram_span_walk_init(&in_a, a, positive, false);
    histogram_span_walk_init(&in_b, b, positive, false);
    for (;;) {
        int32_t a_index, b_index;
        double a_count = 0, b_count = 0;
        bool a_more, b_more;
        do
            a_more = histogram_span_walk_next(&in_a, &a_index, &a_count);
        while (a_more && a_count == 0);
        do
            b_more = histogram_span_walk_next(&in_b, &b_index, &b_count);
        while (b_more && b_count == 0);
        if (!a_more || !b_more)
            return a_more == b_more;
        if (a_index != b_index || !almost_equal(a_count, b_count))
            return false;
    }
}

static bool almost_equal_histogram(const struct histogram *a, const struct histogram *b,
                                   bool with_hint)
{
    if (a->schema != b->schema || !almost_equal(a->count, b->count) ||
        !almost_equal(a->sum, b->sum) || (with_hint && a->hint != b->hint))
        return false;
    if (histogram_is_custom(a)) {
        if (a->bound_count != b->bound_count)
            return false;
        for (uint32_t i = 0; i < a->bound_count; i++)
            if (a->bounds[i] != b->bounds[i])
                return false;
    }
    return a->zero_threshold == b->zero_threshold && almost_equal(a->zero_count, b->zero_count) &&
           almost_equal_side(a, b, true) && almost_equal_side(a, b, false);
}

static bool almost_equal_point(const struct point *point, const struct query_series *series,
                               size_t k)
{
    const struct histogram *histogram = series->histogram ? series->histogram[k] : NULL;
    if (!point->histogram != !histogram)
        return false;
    return histogram ? almost_equal_histogram(point->histogram, histogram, point->has_hint)
                     : almost_equal(point->value, series->value[k]);
}

static const struct expectation *expectation_of(const struct command *command,
                                                enum expectation_kind kind)
{
    for (size_t i = 0; i < command->expectations.count; i++)
        if (command->expectations.items[i].kind == kind)
            return &command->expectations.items[i];
    return NULL;
}

static bool text_is(const struct expectation *expectation, struct str text)
{
    if (expectation->regex)
        return regex_matches(expectation->regex, text);
    return !expectation->msg.ptr || str_eq(str_trim(text), expectation->msg);
}

/* Without its position " (1:2)" and what histogram_quantile repaired where, which the language leaves out. */
static struct str without_position(struct str text)
{
    size_t at = str_find(text, STR(", from buckets "));
    if (at < text.len)
        return str_first(text, at);
    if (at == 0 || text.ptr[at - 1] != ')')
        return text;
    while (at > 0 && text.ptr[at - 1] != '(')
        at--;
    return at > 1 ? str_first(text, at - 2) : text;
}

/* As it is, without position, and without "PromQL warning: ", too. */
static bool annotation_is(const struct expectation *expectation, struct str text)
{
    struct str bare = without_position(text);
    return text_is(expectation, bare) || text_is(expectation, text) ||
           text_is(expectation, str_after(bare, str_find(bare, STR(": ")) + 2));
}

static bool some_expectation_is(const struct command *command, enum expectation_kind kind,
                                struct str text)
{
    for (size_t i = 0; i < command->expectations.count; i++)
        if (command->expectations.items[i].kind == kind &&
            annotation_is(&command->expectations.items[i], text))
            return true;
    return false;
}

/* Each expectation finds its annotation; and where there are any, each annotation finds its expectation. */
static bool check_annotations(const struct command *command, enum expectation_kind some,
                              enum expectation_kind none, const struct str *texts, size_t count,
                              const char **why)
{
    *why = "annotations where none are expected";
    if (expectation_of(command, none) && count)
        return false;
    if (!expectation_of(command, some))
        return true;
    *why = "expected annotation is missing";
    for (size_t k = 0; k < command->expectations.count; k++) {
        const struct expectation *expectation = &command->expectations.items[k];
        bool found = expectation->kind != some;
        for (size_t i = 0; i < count; i++)
            found = found || annotation_is(expectation, texts[i]);
        if (!found)
            return false;
    }
    *why = "an annotation is not expected";
    for (size_t i = 0; i < count; i++)
        if (!some_expectation_is(command, some, texts[i]))
            return false;
    return true;
}

static const struct query_series *find_series(const struct query_result *result,
                                              const struct labels *labels)
{
    for (size_t i = 0; i < result->count; i++)
        if (labels_eq(result->series[i].labels, labels))
            return &result->series[i];
    return NULL;
}

static bool same_points(const struct expected *expected, const struct query_series *series,
                        int64_t from_ms, int64_t step_ms)
{
    size_t at = 0;
    for (size_t i = 0; i < expected->points.count; i++) {
        if (!expected->points.items[i].is_there)
            continue;
        int64_t time_ms = from_ms + (int64_t)i * step_ms;
        if (at >= series->count || series->time_ms[at] != time_ms ||
            !almost_equal_point(&expected->points.items[i], series, at))
            return false;
        at++;
    }
    return at == series->count;
}

static bool expects_points(const struct expected *expected)
{
    for (size_t i = 0; i < expected->points.count; i++)
        if (expected->points.items[i].is_there)
            return true;
    return false;
}

static bool check_series(const struct command *command, const struct query_result *result,
                         const char **why)
{
    bool ordered = expectation_of(command, EXPECT_ORDERED);
    size_t expected_count = 0;
    for (size_t i = 0; i < command->series.count; i++) {
        const struct expected *expected = &command->series.items[i];
        if (!expects_points(expected))
            continue;
        const struct query_series *series = ordered && expected_count < result->count
                                                ? &result->series[expected_count]
                                                : find_series(result, expected->labels);
        expected_count++;
        *why = "an expected series is missing";
        if (!series || !labels_eq(series->labels, expected->labels))
            return false;
        *why = "values differ";
        int64_t from_ms = command->is_matrix ? command->matrix_from_ms : command->from_ms;
        int64_t step_ms = command->is_matrix ? command->matrix_step_ms : command->step_ms;
        if (!same_points(expected, series, from_ms, step_ms))
            return false;
    }
    *why = "more series than expected";
    return expected_count == result->count;
}

static bool check_result(const struct command *command, const struct query_result *result,
                         const char **why)
{
    if (!check_annotations(command, EXPECT_WARN, EXPECT_NO_WARN, result->warnings,
                           result->warning_count, why) ||
        !check_annotations(command, EXPECT_INFO, EXPECT_NO_INFO, result->infos, result->info_count,
                           why))
        return false;
    *why = "result differs";
    if (command->has_string)
        return result->type == QUERY_STRING && str_eq(result->string, command->string);
    if (command->has_scalar && result->type == QUERY_SCALAR)
        return almost_equal(command->scalar, result->scalar);
    if (command
            ->has_scalar) /* A range query over a scalar: one value, or a series without labels. */
        return result->count == 1 && result->series[0].labels->count == 0 &&
               almost_equal(command->scalar, result->series[0].value[0]);
    return check_series(command, result, why);
}

static void print_result(const struct query_result *result)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    query_result_json(result, 0, false, &text);
    printf("    got " STR_FMT "\n", STR_ARG(buf_str(&text)));
    buf_deinit(&text);
}

/* --- eval: running --- */

static bool report(struct runner *runner, const struct command *command, const char *why)
{
    bool excused = runner->options->skip_start && runner->start_loaded;
    if (excused)
        runner->result->skipped++;
    else
        runner->result->failures++;
    printf("%s:%zu: %s" STR_FMT ": %s\n", runner->name, command->line,
           excused ? "(start timestamps) " : "", STR_ARG(command->expr), why);
    return false;
}

static void query_options_of(const struct runner *runner, struct query_options *options)
{
    query_options_init(options);
    options->features = runner->options->features;
}

/* Parses and runs; NULL with *err when either fails. */
static struct query *run_query(struct runner *runner, struct str expr,
                               const struct query_options *options, struct err *err)
{
    struct query *query;
    if (!query_new(&query, expr, options, err))
        return NULL;
    if (query_run(query, runner->store.storage, err))
        return query;
    query_free(query);
    return NULL;
}

static bool changes_with_range(struct str expr)
{
    static const char *const words[] = {"start(", "end(", "range(", "step("};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_find(expr, str_of(words[i])) != expr.len)
            return true;
    return false;
}

/* The instant query must say the same in the middle of a range query. */
static void check_as_range(struct runner *runner, struct command *command)
{
    struct query_options options;
    struct err err;
    query_options_of(runner, &options);
    options.start_ms = command->from_ms - 60000;
    options.end_ms = command->from_ms + 60000;
    options.step_ms = 60000;
    struct query *query = run_query(runner, command->expr, &options, &err);
    if (!query) {
        report(runner, command, err.text);
        return;
    }
    const struct query_result *result = query_result(query);
    size_t found = 0;
    bool ok = true;
    for (size_t i = 0; i < result->count; i++) {
        for (size_t k = 0; k < result->series[i].count; k++) {
            if (result->series[i].time_ms[k] != command->from_ms)
                continue;
            found++;
            struct point wanted = {.value = command->scalar};
            bool known = command->has_scalar;
            VEC_EACH (series, &command->series) {
                if (labels_eq(series->labels, result->series[i].labels) && series->points.count) {
                    wanted = series->points.items[0];
                    known = true;
                }
            }
            ok = ok && known && almost_equal_point(&wanted, &result->series[i], k);
        }
    }
    size_t wanted_count = command->has_scalar ? 1 : 0;
    VEC_EACH (series, &command->series)
        wanted_count += expects_points(series);
    if (!ok || found != wanted_count) {
        report(runner, command, "differs as a range query");
        if (runner->options->verbose)
            print_result(result);
    }
    query_free(query);
}

static void check_failure(struct runner *runner, struct command *command, const struct err *err)
{
    VEC_EACH (expectation, &command->expectations) {
        if (expectation->kind != EXPECT_FAIL || text_is(expectation, str_of(err->text)))
            continue;
        report(runner, command, "another error than expected");
        printf("    got %s\n", err->text);
        return;
    }
}

static void run_eval(struct runner *runner, struct command *command)
{
    struct query_options options;
    struct err err;
    const char *why = "";
    query_options_of(runner, &options);
    options.start_ms = command->from_ms;
    options.end_ms = command->to_ms;
    options.step_ms = command->step_ms;
    runner->result->evals++;
    struct query *query = run_query(runner, command->expr, &options, &err);
    bool should_fail = expectation_of(command, EXPECT_FAIL);
    if (!query) {
        if (should_fail)
            check_failure(runner, command, &err);
        else
            report(runner, command, err.text);
        return;
    }
    const struct query_result *result = query_result(query);
    if (should_fail) {
        report(runner, command, "should have failed");
    } else if (!check_result(command, result, &why)) {
        report(runner, command, why);
        if (runner->options->verbose)
            print_result(result);
    } else if (!command->is_range && !changes_with_range(command->expr) &&
               !expectation_of(command, EXPECT_ORDERED) &&
               (result->type == QUERY_VECTOR || result->type == QUERY_SCALAR)) {
        check_as_range(runner, command);
    }
    query_free(query);
}

static bool run_commands(struct runner *runner, struct err *err)
{
    struct str line;
    while (runner_line(runner, &line)) {
        struct command command;
        struct str rest = line, word = runner_word(&rest);
        if (word.len == 0)
            continue;
        if (str_eq(word, STR("clear"))) {
            test_store_close(&runner->store);
            if (!test_store_open(&runner->store, err))
                return false;
            runner->start_loaded = false;
        } else if (str_eq(word, STR("load")) || str_eq(word, STR("load_with_nhcb"))) {
            if (!runner_load(runner, rest, str_eq(word, STR("load_with_nhcb")), err))
                return false;
        } else if (str_starts(word, STR("eval"))) {
            bool ok = command_parse_eval(runner, word, rest, &command, err);
            if (ok)
                run_eval(runner, &command);
            command_free(&command);
            if (!ok)
                return false;
        } else {
            return err_set(err, ERR_BAD_DATA, "%s:%zu: invalid command \"" STR_FMT "\"",
                           runner->name, runner->line, STR_ARG(line));
        }
    }
    return true;
}

bool promqltest_run(const char *name, struct str text, const struct promqltest_options *options,
                    struct promqltest_result *result, struct err *err)
{
    struct runner runner = {.name = name, .rest = text, .options = options, .result = result};
    arena_init(&runner.arena, 0);
    bool good = test_store_open(&runner.store, err) && run_commands(&runner, err);
    test_store_close(&runner.store);
    arena_deinit(&runner.arena);
    return good;
}
