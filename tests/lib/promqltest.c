/* promqltest: see the header. */
#include "promqltest.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/number.h"
#include "base/regex.h"
#include "base/vec.h"
#include "model/duration.h"
#include "model/sample.h"

#define EPSILON 0.000001

struct point {
    bool is_there;
    double value;
};

struct expected {
    struct labels *labels;
    VEC(struct point) points;
};

enum expectation_kind {
    EXPECT_FAIL,
    EXPECT_WARN,
    EXPECT_INFO,
    EXPECT_NO_WARN,
    EXPECT_NO_INFO,
    EXPECT_ORDERED
};

struct expectation {
    enum expectation_kind kind;
    struct str msg, regex; /* Either or none. */
};

struct command {
    size_t line;
    struct str expr;
    bool is_range;
    int64_t from_ms, to_ms, step_ms;
    bool exact_annotations; /* eval_warn and eval_info leave the other kind open. */
    VEC(struct expectation) expectations;
    VEC(struct expected) series;
    bool has_scalar;
    double scalar;
    bool has_string;
    struct str string;
    bool is_matrix;
    bool has_histograms;
    int64_t matrix_from_ms, matrix_step_ms;
};

struct runner {
    const char *name;
    struct str rest;
    size_t line;
    const struct promqltest_store *store;
    const struct promqltest_options *options;
    struct promqltest_result *result;
    struct arena arena;
    bool histograms_loaded; /* Since the last clear. */
};

/* --- lines and words --- */

/* The next line without comment and trailing space; false at the end. */
static bool next_line(struct runner *runner, struct str *line, bool *indented)
{
    if (runner->rest.len == 0)
        return false;
    *line = str_cut(runner->rest, '\n', &runner->rest);
    if (!runner->rest.ptr)
        runner->rest = STR_EMPTY;
    runner->line++;
    *indented = line->len && (line->ptr[0] == ' ' || line->ptr[0] == '\t');
    *line = str_trim(*line);
    if (line->len && line->ptr[0] == '#')
        *line = str_first(*line, 0);
    return true;
}

static struct str next_word(struct str *rest)
{
    size_t len = 0;
    *rest = str_trim(*rest);
    while (len < rest->len && rest->ptr[len] != ' ' && rest->ptr[len] != '\t')
        len++;
    struct str word = str_first(*rest, len);
    *rest = str_trim(str_after(*rest, len));
    return word;
}

static bool malformed(const struct runner *runner, struct err *err, const char *what)
{
    return err_set(err, ERR_BAD_DATA, "%s:%zu: %s", runner->name, runner->line, what);
}

static bool parse_time(struct str text, int64_t *out, struct err *err)
{
    bool negative = str_starts(text, STR("-"));
    if (negative)
        text = str_after(text, 1);
    double seconds;
    if (number_parse(text, &seconds))
        *out = (int64_t)(seconds * 1000);
    else if (!duration_parse(text, out, err))
        return false;
    if (negative)
        *out = -*out;
    return true;
}

/* --- series notation --- */

/* The longest number at the start: digits, point, exponent, or Inf and NaN. */
static bool take_number(struct str *text, double *out)
{
    for (size_t len = text->len; len > 0; len--) {
        if (number_parse(str_first(*text, len), out)) {
            *text = str_after(*text, len);
            return true;
        }
    }
    return false;
}

static bool take_repeat(struct str text, uint64_t *count)
{
    return text.len > 1 && text.ptr[0] == 'x' && str_to_u64(str_after(text, 1), count) &&
           *count <= 1000000;
}

static bool add_points(struct expected *series, struct str item)
{
    struct point point = {.is_there = true};
    uint64_t count = 0;
    double step = 0;
    if (str_starts(item, STR("_"))) {
        point.is_there = false;
        item = str_after(item, 1);
        if (item.len && !take_repeat(item, &count))
            return false;
        for (uint64_t i = 0; i < (count ? count : 1); i++)
            VEC_PUSH(&series->points, point);
        return true;
    }
    if (str_starts(item, STR("stale"))) {
        point.value = sample_stale();
        item = str_after(item, 5);
    } else if (!take_number(&item, &point.value)) {
        return false;
    }
    if (item.len && (item.ptr[0] == '+' || item.ptr[0] == '-')) {
        bool negative = item.ptr[0] == '-';
        item = str_after(item, 1);
        if (!take_number(&item, &step))
            return false;
        step = negative ? -step : step;
        if (item.len == 0)
            return false;
    }
    if (item.len && !take_repeat(item, &count))
        return false;
    for (uint64_t i = 0; i <= count; i++) {
        VEC_PUSH(&series->points, point);
        if (step != 0)
            point.value += step;
    }
    return true;
}

/* Where the metric ends: the first white space outside of braces and quotes. */
static size_t metric_end(struct str line)
{
    char quote = 0;
    int depth = 0;
    for (size_t i = 0; i < line.len; i++) {
        char c = line.ptr[i];
        if (quote) {
            if (c == '\\' && quote != '`')
                i++;
            else if (c == quote)
                quote = 0;
        } else if (c == '"' || c == '\'' || c == '`') {
            quote = c;
        } else if (c == '{') {
            depth++;
        } else if (c == '}') {
            depth--;
        } else if (depth == 0 && (c == ' ' || c == '\t')) {
            struct str after = str_trim(str_after(line, i));
            if (after.len == 0 || after.ptr[0] != '{' || str_starts(after, STR("{{")))
                return i;
        }
    }
    return line.len;
}

static bool parse_series(struct runner *runner, struct str line, struct expected *out,
                         bool *has_histograms, struct err *err)
{
    size_t end = metric_end(line);
    *out = (struct expected){0};
    if (!query_parse_metric(str_first(line, end), &out->labels, err))
        return err_wrap(err, "%s:%zu", runner->name, runner->line);
    struct str rest = str_trim(str_after(line, end));
    if (str_find(rest, STR("{{")) != rest.len ||
        str_find(str_first(line, end), STR("@st")) != end) {
        *has_histograms = true;
        return true;
    }
    while (rest.len) {
        struct str item = next_word(&rest);
        if (!add_points(out, item)) {
            labels_unref(out->labels);
            VEC_FREE(&out->points);
            return malformed(runner, err, "bad series value");
        }
    }
    return true;
}

static void expected_free(struct expected *expected)
{
    labels_unref(expected->labels);
    VEC_FREE(&expected->points);
}

/* --- load --- */

static bool run_load(struct runner *runner, struct str rest, struct err *err)
{
    int64_t step_ms;
    struct str line;
    bool indented;
    if (!parse_time(next_word(&rest), &step_ms, err))
        return err_wrap(err, "%s:%zu", runner->name, runner->line);
    for (;;) {
        struct str before = runner->rest;
        if (!next_line(runner, &line, &indented))
            return true;
        if (line.len == 0 && indented)
            continue;
        if (line.len == 0 && before.len && before.ptr[0] == '#')
            continue;
        if (line.len == 0 || !indented) {
            runner->rest = before;
            runner->line--;
            return true;
        }
        size_t space = metric_end(line);
        if (space > 3 && str_ends(str_first(line, space), STR("@st"))) {
            runner->histograms_loaded = true; /* Start timestamps are as foreign to us. */
            continue;
        }
        struct expected series;
        if (!parse_series(runner, line, &series, &runner->histograms_loaded, err))
            return false;
        for (size_t i = 0; i < series.points.count; i++)
            if (series.points.items[i].is_there)
                runner->store->add(runner->store->ctx, series.labels, (int64_t)i * step_ms,
                                   series.points.items[i].value);
        expected_free(&series);
    }
}

/* --- eval: reading --- */

static void expect(struct command *command, enum expectation_kind kind, struct str msg,
                   struct str regex)
{
    struct expectation expectation = {.kind = kind, .msg = msg, .regex = regex};
    VEC_PUSH(&command->expectations, expectation);
}

static bool parse_expect(struct runner *runner, struct command *command, struct str rest,
                         struct err *err)
{
    static const struct {
        const char *word;
        enum expectation_kind kind;
    } kinds[] = {{"fail", EXPECT_FAIL},       {"warn", EXPECT_WARN},
                 {"info", EXPECT_INFO},       {"no_warn", EXPECT_NO_WARN},
                 {"no_info", EXPECT_NO_INFO}, {"ordered", EXPECT_ORDERED}};
    struct str word = next_word(&rest);
    if (str_eq(word, STR("string"))) {
        if (rest.len < 2)
            return malformed(runner, err, "bad string");
        command->has_string = true;
        command->string = str_from(rest.ptr + 1, rest.len - 2);
        return true;
    }
    if (str_eq(word, STR("range"))) { /* range vector from A to B step S */
        struct str from, step;
        int64_t ignored;
        next_word(&rest);
        next_word(&rest);
        from = next_word(&rest);
        next_word(&rest);
        if (!parse_time(next_word(&rest), &ignored, err))
            return false;
        next_word(&rest);
        step = next_word(&rest);
        command->is_matrix = true;
        return parse_time(from, &command->matrix_from_ms, err) &&
               parse_time(step, &command->matrix_step_ms, err);
    }
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (!str_eq(word, str_of(kinds[i].word)))
            continue;
        struct str msg = STR_EMPTY, regex = STR_EMPTY;
        if (str_starts(rest, STR("msg:")))
            msg = str_trim(str_after(rest, 4));
        else if (str_starts(rest, STR("regex:")))
            regex = str_trim(str_after(rest, 6));
        expect(command, kinds[i].kind, msg, regex);
        return true;
    }
    return malformed(runner, err, "unknown expectation");
}

static bool parse_expected_line(struct runner *runner, struct command *command, struct str line,
                                struct err *err)
{
    struct str rest = line;
    double number;
    if (str_starts(line, STR("expect "))) {
        next_word(&rest);
        return parse_expect(runner, command, rest, err);
    }
    if (str_starts(line, STR("expected_fail_message")) ||
        str_starts(line, STR("expected_fail_regexp"))) {
        bool is_regex = str_starts(line, STR("expected_fail_regexp"));
        next_word(&rest);
        expect(command, EXPECT_FAIL, is_regex ? STR_EMPTY : rest, is_regex ? rest : STR_EMPTY);
        return true;
    }
    if (number_parse(line, &number)) {
        command->has_scalar = true;
        command->scalar = number;
        return true;
    }
    struct expected series;
    if (!parse_series(runner, line, &series, &command->has_histograms, err))
        return false;
    VEC_PUSH(&command->series, series);
    return true;
}

static bool parse_when(struct runner *runner, struct command *command, struct str *rest,
                       struct err *err)
{
    struct str kind = next_word(rest), word;
    command->is_range = str_eq(kind, STR("range"));
    command->step_ms = 0;
    next_word(rest); /* at, from */
    word = next_word(rest);
    if (!parse_time(word, &command->from_ms, err))
        return err_wrap(err, "%s:%zu", runner->name, runner->line);
    command->to_ms = command->from_ms;
    if (!command->is_range)
        return true;
    next_word(rest); /* to */
    if (!parse_time(next_word(rest), &command->to_ms, err))
        return err_wrap(err, "%s:%zu", runner->name, runner->line);
    next_word(rest); /* step */
    return parse_time(next_word(rest), &command->step_ms, err) ||
           err_wrap(err, "%s:%zu", runner->name, runner->line);
}

static bool parse_eval(struct runner *runner, struct str word, struct str rest,
                       struct command *command, struct err *err)
{
    struct str line;
    bool indented;
    *command = (struct command){.line = runner->line};
    if (str_eq(word, STR("eval_fail")))
        expect(command, EXPECT_FAIL, STR_EMPTY, STR_EMPTY);
    if (str_eq(word, STR("eval_warn")))
        expect(command, EXPECT_WARN, STR_EMPTY, STR_EMPTY);
    if (str_eq(word, STR("eval_info")))
        expect(command, EXPECT_INFO, STR_EMPTY, STR_EMPTY);
    if (str_eq(word, STR("eval_ordered")))
        expect(command, EXPECT_ORDERED, STR_EMPTY, STR_EMPTY);
    if (!parse_when(runner, command, &rest, err))
        return false;
    command->expr = rest;
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
        if (!parse_expected_line(runner, command, line, err))
            return false;
    }
}

static void command_free(struct command *command)
{
    VEC_EACH (series, &command->series)
        expected_free(series);
    VEC_FREE(&command->series);
    VEC_FREE(&command->expectations);
}

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

static const struct expectation *expectation_of(const struct command *command,
                                                enum expectation_kind kind)
{
    for (size_t i = 0; i < command->expectations.count; i++)
        if (command->expectations.items[i].kind == kind)
            return &command->expectations.items[i];
    return NULL;
}

static bool text_is(const struct expectation *expectation, struct str text, bool whole)
{
    if (expectation->msg.len)
        return whole ? str_eq(str_trim(text), expectation->msg)
                     : str_starts(text, expectation->msg);
    if (expectation->regex.len) {
        struct regex *regex;
        struct err err;
        char pattern[2048];
        snprintf(pattern, sizeof(pattern), ".*(?:" STR_FMT ").*", STR_ARG(expectation->regex));
        if (!regex_new(&regex, str_of(pattern), &err))
            return false;
        bool matches = regex_matches(regex, text);
        regex_free(regex);
        return matches;
    }
    return true;
}

/* "PromQL warning: x (1:2)" as "x", as the language has it. */
static struct str bare_annotation(struct str text)
{
    size_t colon = str_find(text, STR(": "));
    text = str_after(text, colon + 2);
    if (text.len && text.ptr[text.len - 1] == ')') {
        size_t at = text.len;
        while (at > 0 && text.ptr[at - 1] != '(')
            at--;
        if (at > 1)
            text = str_first(text, at - 2);
    }
    return text;
}

static bool check_annotations(const struct command *command, enum expectation_kind some,
                              enum expectation_kind none, const struct str *texts, size_t count,
                              const char **why)
{
    if (expectation_of(command, none) && count) {
        *why = "annotations where none are expected";
        return false;
    }
    for (size_t k = 0; k < command->expectations.count; k++) {
        const struct expectation *expectation = &command->expectations.items[k];
        bool found = false;
        if (expectation->kind != some)
            continue;
        for (size_t i = 0; i < count; i++)
            found = found || text_is(expectation, bare_annotation(texts[i]), false) ||
                    text_is(expectation, texts[i], false);
        if (!found) {
            *why = "expected annotation is missing";
            return false;
        }
    }
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
            !almost_equal(expected->points.items[i].value, series->value[at]))
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
    bool excused =
        runner->options->skip_histograms && (runner->histograms_loaded || command->has_histograms);
    if (excused)
        runner->result->skipped++;
    else
        runner->result->failures++;
    printf("%s:%zu: %s" STR_FMT ": %s\n", runner->name, command->line,
           excused ? "(histograms) " : "", STR_ARG(command->expr), why);
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
    if (query_run(query, runner->store->storage(runner->store->ctx), err))
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
            double wanted = command->scalar;
            bool known = command->has_scalar;
            VEC_EACH (series, &command->series) {
                if (labels_eq(series->labels, result->series[i].labels) && series->points.count) {
                    wanted = series->points.items[0].value;
                    known = true;
                }
            }
            ok = ok && known && almost_equal(wanted, result->series[i].value[k]);
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
        if (expectation->kind != EXPECT_FAIL || text_is(expectation, str_of(err->text), true))
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

bool promqltest_run(const char *name, struct str text, const struct promqltest_store *store,
                    const struct promqltest_options *options, struct promqltest_result *result,
                    struct err *err)
{
    struct runner runner = {
        .name = name, .rest = text, .store = store, .options = options, .result = result};
    struct str line;
    bool indented;
    while (next_line(&runner, &line, &indented)) {
        struct command command;
        struct str rest = line, word = next_word(&rest);
        if (word.len == 0)
            continue;
        if (str_eq(word, STR("clear"))) {
            store->clear(store->ctx);
            runner.histograms_loaded = false;
        } else if (str_eq(word, STR("load")) || str_eq(word, STR("load_with_nhcb"))) {
            if (str_eq(word, STR("load_with_nhcb")))
                runner.histograms_loaded = true;
            if (!run_load(&runner, rest, err))
                return false;
        } else if (str_starts(word, STR("eval"))) {
            bool ok = parse_eval(&runner, word, rest, &command, err);
            if (ok)
                run_eval(&runner, &command);
            command_free(&command);
            if (!ok)
                return false;
        } else {
            return malformed(&runner, err, "unknown command");
        }
    }
    store->clear(store->ctx);
    return true;
}
