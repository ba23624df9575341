/* promqltest_series: the lines of test files, and how they write series: metric, floats, histograms. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/number.h"
#include "model/duration.h"
#include "model/histogram_math.h"
#include "model/sample.h"
#include "promqltest_runner.h"

/* --- lines and words --- */

/* The next line without white space around it, a comment as an empty one; false at the end. */
bool runner_line(struct runner *runner, struct str *line)
{
    if (runner->rest.len == 0)
        return false;
    *line = str_trim(str_cut(runner->rest, '\n', &runner->rest));
    if (!runner->rest.ptr)
        runner->rest = STR_EMPTY;
    runner->line++;
    if (str_starts(*line, STR("#")))
        *line = str_first(*line, 0);
    return true;
}

/* A command's first words: a metric may be called load, or eval. */
static bool begins_command(struct str line)
{
    struct str rest = line, word = runner_word(&rest), next = runner_word(&rest);
    int64_t ignored;
    struct err err;
    if (str_eq(word, STR("clear")))
        return next.len == 0;
    if (str_eq(word, STR("load")) || str_eq(word, STR("load_with_nhcb")))
        return rest.len == 0 && duration_parse(next, &ignored, &err);
    return str_starts(word, STR("eval")) &&
           (str_eq(next, STR("instant")) || str_eq(next, STR("range")));
}

/* The next line below a command; an empty line and the next command end them. Comments are passed over. */
bool runner_block_line(struct runner *runner, struct str *line)
{
    for (;;) {
        struct str before = runner->rest;
        if (!runner_line(runner, line))
            return false;
        if (line->len && !begins_command(*line))
            return true;
        if (line->len == 0 &&
            str_starts(str_trim(str_cut(before, '\n', &(struct str){0})), STR("#")))
            continue;
        if (line->len) {
            runner->rest = before;
            runner->line--;
        }
        return false;
    }
}

struct str runner_word(struct str *rest)
{
    size_t len = 0;
    *rest = str_trim(*rest);
    while (len < rest->len && rest->ptr[len] != ' ' && rest->ptr[len] != '\t')
        len++;
    struct str word = str_first(*rest, len);
    *rest = str_trim(str_after(*rest, len));
    return word;
}

bool runner_malformed(const struct runner *runner, struct err *err, const char *what)
{
    return err_set(err, ERR_BAD_DATA, "%s:%zu: %s", runner->name, runner->line, what);
}

/* A duration; also negative, and bare seconds. */
bool runner_time(const struct runner *runner, const char *what, struct str text, int64_t *out,
                 struct err *err)
{
    bool negative = str_starts(text, STR("-"));
    struct str bare = str_after(text, negative);
    double seconds;
    if (bare.len && number_parse(bare, &seconds) && fabs(seconds) < 1e12)
        *out = (int64_t)(seconds * 1000);
    else if (!duration_parse(bare, out, err))
        return err_wrap(err, "%s:%zu: %s \"" STR_FMT "\"", runner->name, runner->line, what,
                        STR_ARG(text));
    if (negative)
        *out = -*out;
    return true;
}

/* 0x1f, 017, 0b1, 0o7 and else as a float, with a sign. */
bool runner_number(struct str text, double *out)
{
    char copy[64];
    char *end;
    struct str bare = str_after(text, str_starts(text, STR("-")) || str_starts(text, STR("+")));
    if (bare.len < 2 || bare.ptr[0] != '0' || bare.len >= sizeof(copy))
        return number_parse_go(text, out);
    bool is_binary = bare.ptr[1] == 'b' || bare.ptr[1] == 'B';
    size_t skip = is_binary || bare.ptr[1] == 'o' || bare.ptr[1] == 'O' ? 2 : 0;
    snprintf(copy, sizeof(copy), STR_FMT, STR_ARG(str_after(bare, skip)));
    unsigned long long whole = strtoull(copy, &end, skip == 0 ? 0 : is_binary ? 2 : 8);
    if (*end || end == copy)
        return number_parse_go(text, out);
    *out = text.ptr[0] == '-' ? -(double)whole : (double)whole;
    return true;
}

/* --- series notation --- */

/* The longest number at the start: digits, point, exponent, or Inf and NaN. Not hexadecimal: 0x5 are six zeros. */
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
        count = 1;
        item = str_after(item, 1);
        if (item.len && !take_repeat(item, &count))
            return false;
        for (uint64_t i = 0; i < count; i++)
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

/* --- histogram notation --- */

/* Up to the next space outside of {{ }}. */
static struct str next_item(struct str *rest)
{
    size_t len = 0;
    bool inside = false;
    *rest = str_trim(*rest);
    while (len < rest->len && (inside || (rest->ptr[len] != ' ' && rest->ptr[len] != '\t'))) {
        if (str_starts(str_after(*rest, len), STR("{{")))
            inside = true;
        if (str_starts(str_after(*rest, len), STR("}}")))
            inside = false;
        len++;
    }
    struct str item = str_first(*rest, len);
    *rest = str_trim(str_after(*rest, len));
    return item;
}

/* [1 2 3] */
static bool take_list(struct runner *runner, struct str *text, const double **out, uint32_t *count)
{
    VEC(double) numbers = {0};
    size_t end = str_find_char(*text, ']');
    if (text->len == 0 || text->ptr[0] != '[' || end == text->len)
        return false;
    struct str rest = str_from(text->ptr + 1, end - 1);
    bool ok = true;
    for (;;) {
        double number;
        struct str word = runner_word(&rest);
        if (word.len == 0)
            break;
        ok = ok && number_parse(word, &number);
        if (ok)
            VEC_PUSH(&numbers, number);
    }
    double *copy = arena_alloc_array(&runner->arena, numbers.count + 1, sizeof(double));
    if (numbers.count)
        memcpy(copy, numbers.items, numbers.count * sizeof(double));
    *out = numbers.count ? copy : NULL;
    *count = (uint32_t)numbers.count;
    VEC_FREE(&numbers);
    *text = str_after(*text, end + 1);
    return ok;
}

struct notation {
    struct histogram histogram;
    bool has_hint;
    int32_t offset, negative_offset;
};

static bool take_hint(struct str *text, struct notation *notation)
{
    static const char *const names[] = {"unknown", "reset", "not_reset", "gauge"};
    for (uint8_t i = 0; i < COUNT_OF(names); i++) {
        struct str after = str_after(*text, str_of(names[i]).len);
        if (!str_starts(*text, str_of(names[i])) ||
            (after.len && after.ptr[0] != ' ' && after.ptr[0] != '}'))
            continue;
        notation->histogram.hint = i;
        notation->has_hint = true;
        *text = after;
        return true;
    }
    return false;
}

static bool take_field(struct runner *runner, struct str *text, struct notation *notation)
{
    struct histogram *h = &notation->histogram;
    struct str rest = *text;
    struct str key = str_cut(rest, ':', &rest);
    double number = 0, *into = NULL;
    *text = rest;
    if (str_eq_nocase(key, STR("buckets")))
        return take_list(runner, text, &h->positive, &h->positive_count);
    if (str_eq_nocase(key, STR("n_buckets")))
        return take_list(runner, text, &h->negative, &h->negative_count);
    if (str_eq_nocase(key, STR("custom_values")))
        return take_list(runner, text, &h->bounds, &h->bound_count);
    if (str_eq_nocase(key, STR("counter_reset_hint")))
        return take_hint(text, notation);
    into = str_eq_nocase(key, STR("sum"))          ? &h->sum
           : str_eq_nocase(key, STR("count"))      ? &h->count
           : str_eq_nocase(key, STR("z_bucket"))   ? &h->zero_count
           : str_eq_nocase(key, STR("z_bucket_w")) ? &h->zero_threshold
                                                   : &number;
    size_t end = 0;
    while (end < text->len && text->ptr[end] != ' ' && text->ptr[end] != '}')
        end++;
    if (!number_parse(str_first(*text, end), into))
        return false;
    *text = str_after(*text, end);
    if (str_eq_nocase(key, STR("schema")))
        h->schema = (int32_t)number;
    else if (str_eq_nocase(key, STR("offset")))
        notation->offset = (int32_t)number;
    else if (str_eq_nocase(key, STR("n_offset")))
        notation->negative_offset = (int32_t)number;
    else
        return into != &number;
    return true;
}

const struct histogram_span *series_one_span(struct runner *runner, int32_t offset, uint32_t length,
                                             uint32_t *count)
{
    struct histogram_span *span = arena_alloc(&runner->arena, sizeof(*span));
    *span = (struct histogram_span){.offset = offset, .length = length};
    *count = length > 0;
    return length ? span : NULL;
}

static bool take_histogram(struct runner *runner, struct str *text, const struct histogram **out,
                           bool *has_hint)
{
    struct notation notation = {0};
    struct histogram *h = &notation.histogram;
    if (!str_starts(*text, STR("{{")))
        return false;
    *text = str_trim(str_after(*text, 2));
    while (!str_starts(*text, STR("}}"))) {
        if (text->len == 0 || !take_field(runner, text, &notation))
            return false;
        *text = str_trim(*text);
    }
    *text = str_after(*text, 2);
    h->positive_spans =
        series_one_span(runner, notation.offset, h->positive_count, &h->positive_span_count);
    h->negative_spans = series_one_span(runner, notation.negative_offset, h->negative_count,
                                        &h->negative_span_count);
    *has_hint = notation.has_hint;
    *out = histogram_copy(&runner->arena, h);
    return true;
}

/* {{..}}  {{..}}x3  {{..}}+{{..}}x3  {{..}}-{{..}}x3 */
static bool add_histograms(struct runner *runner, struct expected *series, struct str item)
{
    struct point point = {.is_there = true};
    const struct histogram *step = NULL;
    struct histogram_sum sum = {0};
    bool negative = false, ok = true;
    uint64_t count = 0;
    if (!take_histogram(runner, &item, &point.histogram, &point.has_hint))
        return false;
    if (item.len && (item.ptr[0] == '+' || item.ptr[0] == '-')) {
        negative = item.ptr[0] == '-';
        item = str_after(item, 1);
        if (!take_histogram(runner, &item, &step, &point.has_hint))
            return false;
    }
    if ((item.len || step) && !take_repeat(item, &count))
        return false;
    for (uint64_t i = 0; ok && i <= count; i++) {
        VEC_PUSH(&series->points, point);
        if (!step || i == count)
            continue;
        histogram_sum_set(&sum, point.histogram);
        ok = negative ? histogram_sum_subtract(&sum, step, NULL)
                      : histogram_sum_add(&sum, step, NULL);
        point.histogram = histogram_sum_take(&sum, true, &runner->arena);
    }
    histogram_sum_deinit(&sum);
    return ok;
}

/* Where the metric ends: the first white space outside of braces and quotes. */
size_t series_metric_end(struct str line)
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

bool runner_series(struct runner *runner, struct str line, struct expected *out, struct err *err)
{
    size_t end = series_metric_end(line);
    *out = (struct expected){0};
    if (!query_parse_metric(str_first(line, end), &out->labels, err))
        return err_wrap(err, "%s:%zu", runner->name, runner->line);
    struct str rest = str_trim(str_after(line, end));
    while (rest.len) {
        struct str item = next_item(&rest);
        bool ok =
            str_starts(item, STR("{{")) ? add_histograms(runner, out, item) : add_points(out, item);
        if (!ok) {
            labels_unref(out->labels);
            VEC_FREE(&out->points);
            return runner_malformed(runner, err, "bad series value");
        }
    }
    return true;
}

void series_expected_free(struct expected *expected)
{
    labels_unref(expected->labels);
    VEC_FREE(&expected->points);
}
