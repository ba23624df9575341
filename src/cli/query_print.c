/* query_print: answers of the HTTP API as promtool prints them:
 *
 *     up{instance="x", job="y"} => 1 @[1700000000.5]        a vector's element
 *     up{...} =>\n1 @[..]\n0 @[..]                           a matrix' series
 *     scalar: 1 @[...]                                      a scalar; a string is printed as it is
 */
#include "query_print.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/number.h"
#include "model/labels.h"

static int compare_label(const void *a, const void *b)
{
    return str_cmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

static struct labels *metric_labels(const struct json *metric)
{
    size_t count = json_count(metric);
    struct label *items = mem_alloc_array(count + 1, sizeof(*items));
    for (size_t i = 0; i < count; i++)
        items[i].value = json_str(json_entry(metric, i, &items[i].name));
    if (count > 1)
        qsort(items, count, sizeof(*items), compare_label);
    struct labels *labels = labels_new(items, count);
    mem_free(items);
    return labels;
}

void query_print_metric(struct buf *out, const struct json *metric)
{
    struct labels *labels = metric_labels(metric);
    labels_print_metric(out, labels);
    labels_unref(labels);
}

static void print_time(struct buf *out, const struct json *pair)
{
    BUF_ADD(out, " @[");
    buf_add_number(out, json_number(json_at(pair, 0)), NUMBER_F);
    BUF_ADD(out, "]");
}

/* [time, "value"] as `value @[time]`. */
static void print_pair(struct buf *out, const struct json *pair)
{
    double value;
    if (number_parse(json_str(json_at(pair, 1)), &value))
        buf_add_number(out, value, NUMBER_F);
    print_time(out, pair);
}

static double number_of(const struct json *text)
{
    double value = 0;
    (void)number_parse(json_str(text), &value);
    return value;
}

/* As Go's %f: six digits behind the point. */
static void print_fixed(struct buf *out, const char *what, const struct json *text)
{
    double value = number_of(text);
    buf_addf(out, "%s", what);
    if (isfinite(value))
        buf_addf(out, "%f", value);
    else
        buf_add_number(out, value, NUMBER_F);
}

/* [rule, "low", "high", "count"] as (low,high]:count */
static void print_bucket(struct buf *out, const struct json *bucket)
{
    double rule = json_number(json_at(bucket, 0));
    buf_add_char(out, rule == 1 || rule == 3 ? '[' : '(');
    buf_add_number(out, number_of(json_at(bucket, 1)), NUMBER_G);
    buf_add_char(out, ',');
    buf_add_number(out, number_of(json_at(bucket, 2)), NUMBER_G);
    buf_add_char(out, rule == 0 || rule == 3 ? ']' : ')');
    buf_add_char(out, ':');
    buf_add_number(out, number_of(json_at(bucket, 3)), NUMBER_F);
}

static void print_histogram(struct buf *out, const struct json *pair)
{
    const struct json *histogram = json_at(pair, 1), *buckets = json_get(histogram, "buckets");
    print_fixed(out, "Count: ", json_get(histogram, "count"));
    print_fixed(out, ", Sum: ", json_get(histogram, "sum"));
    BUF_ADD(out, ", Buckets: [");
    for (size_t i = 0; i < json_count(buckets); i++) {
        if (i > 0)
            buf_add_char(out, ' ');
        print_bucket(out, json_at(buckets, i));
    }
    BUF_ADD(out, "]");
    print_time(out, pair);
}

static void print_series(struct buf *out, const struct json *series, bool is_matrix)
{
    const struct json *values = json_get(series, "values");
    const struct json *histograms = json_get(series, "histograms");
    query_print_metric(out, json_get(series, "metric"));
    BUF_ADD(out, " =>");
    for (size_t i = 0; i < json_count(values); i++) {
        BUF_ADD(out, "\n");
        print_pair(out, json_at(values, i));
    }
    for (size_t i = 0; i < json_count(histograms); i++) {
        BUF_ADD(out, "\n");
        print_histogram(out, json_at(histograms, i));
    }
    if (is_matrix)
        return;
    BUF_ADD(out, " ");
    if (json_get(series, "histogram"))
        print_histogram(out, json_get(series, "histogram"));
    else
        print_pair(out, json_get(series, "value"));
}

/* Prometheus' model orders metrics by how many labels they have, then by those. */
static int compare_series(const void *a, const void *b)
{
    const struct json *left = json_get(*(const struct json *const *)a, "metric");
    const struct json *right = json_get(*(const struct json *const *)b, "metric");
    struct labels *one = metric_labels(left), *two = metric_labels(right);
    int order = (one->count > two->count) - (one->count < two->count);
    for (uint32_t i = 0; order == 0 && i < one->count; i++) {
        /* The label that sorts first and is missing on one side puts that side first. */
        order = -str_cmp(one->items[i].name, two->items[i].name);
        if (order == 0)
            order = str_cmp(one->items[i].value, two->items[i].value);
    }
    labels_unref(one);
    labels_unref(two);
    return order;
}

static void print_all_series(struct buf *out, const struct json *result, bool is_matrix)
{
    size_t count = json_count(result);
    const struct json **series = mem_alloc_array(count + 1, sizeof(const struct json *));
    for (size_t i = 0; i < count; i++)
        series[i] = json_at(result, i);
    if (is_matrix && count > 1)
        qsort(series, count, sizeof(const struct json *), compare_series);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            BUF_ADD(out, "\n");
        print_series(out, series[i], is_matrix);
    }
    mem_free(series);
    BUF_ADD(out, "\n"); /* Of an empty result this is all, as with promtool. */
}

void query_print(struct buf *out, const struct json *data)
{
    struct str type = json_str(json_get(data, "resultType"));
    const struct json *result = json_get(data, "result");
    if (str_eq(type, STR("scalar"))) {
        BUF_ADD(out, "scalar: ");
        print_pair(out, result);
        BUF_ADD(out, "\n");
    } else if (str_eq(type, STR("string"))) {
        buf_add_str(out, json_str(json_at(result, 1)));
        BUF_ADD(out, "\n");
    } else {
        print_all_series(out, result, str_eq(type, STR("matrix")));
    }
}

/* The raw result, cut out of the text, so that nothing is lost on the way: the value of a key. */
void query_print_json(struct buf *out, struct str body, struct str key)
{
    size_t at = str_find(body, key);
    if (at == body.len)
        return;
    struct str rest = str_after(body, at + key.len);
    size_t depth = 0, end = 0;
    bool quoted = false;
    for (; end < rest.len; end++) {
        char c = rest.ptr[end];
        if (quoted) {
            end += c == '\\';
            quoted = c != '"';
            continue;
        }
        quoted = c == '"';
        depth += c == '[' || c == '{';
        if (c != ']' && c != '}')
            continue;
        if (--depth == 0)
            break;
    }
    buf_add_str(out, str_first(rest, end + 1));
    BUF_ADD(out, "\n");
}

/* /series and /label/x/values: one a line, or the list as it came. */
void query_print_list(struct buf *out, const struct json *data)
{
    for (size_t i = 0; i < json_count(data); i++) {
        const struct json *item = json_at(data, i);
        if (json_type(item) == JSON_OBJECT) {
            struct labels *labels = metric_labels(item);
            labels_print(out, labels);
            labels_unref(labels);
        } else {
            buf_add_str(out, json_str(item));
        }
        BUF_ADD(out, "\n");
    }
}
