/* metrics: see metrics.h. Labels are rendered when a metric is added; only the order waits for the
 * end: families by name, metrics of a family by the number of their labels, then by value. */
#include "metrics.h"

#include <math.h>
#include <stdlib.h>

#include "base/number.h"

#define LABELS_MAX 16

static const struct metric_row {
    const char *name;
    enum metric_kind kind;
    const char *help, *labels;
} ROWS[] = {
#define METRIC(id, name, kind, help, labels) {name, kind, help, labels},
#include "metrics.def"
#undef METRIC
};

/* Written before the role is known. */
static const char *const WITHOUT_ROLE[] = {
    "exporter_last_scrape_connect_time_seconds",
    "exporter_last_scrape_ping_time_seconds",
    "exporter_scrapes_total",
    "exporter_scrape_duration_seconds",
    "target_scrape_request_errors_total",
    "exporter_build_info",
};

void metrics_init(struct metrics *metrics, struct str namespace, size_t bytes_max)
{
    *metrics = (struct metrics){.namespace = namespace};
    arena_init(&metrics->arena, bytes_max);
}

void metrics_deinit(struct metrics *metrics)
{
    arena_deinit(&metrics->arena);
    VEC_FREE(&metrics->items);
}

/* --- adding --- */

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static struct str full_name(struct metrics *metrics, struct str name)
{
    struct str joined =
        arena_strf(&metrics->arena, STR_FMT "%s" STR_FMT, STR_ARG(metrics->namespace),
                   metrics->namespace.len > 0 ? "_" : "", STR_ARG(name));
    char *bytes = (char *)joined.ptr; /* Ours, from the arena. */
    for (size_t i = metrics->namespace.len; i < joined.len; i++)
        bytes[i] = is_name_byte(bytes[i]) ? bytes[i] : '_';
    return joined;
}

static bool takes_role(const struct metrics *metrics, struct str name)
{
    if (!metrics->instance_role.ptr)
        return false;
    for (size_t i = 0; i < COUNT_OF(WITHOUT_ROLE); i++) {
        if (str_eq(name, str_of(WITHOUT_ROLE[i])))
            return false;
    }
    return true;
}

static size_t escape(char *out, struct str text)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\\' || c == '"' || c == '\n')
            out[len++] = '\\';
        out[len++] = c == '\n' ? 'n' : c;
    }
    return len;
}

/* Fills labels, sort_key and label_count. */
static void render_labels(struct metrics *metrics, struct metric *metric,
                          const struct metric_label *labels, size_t count)
{
    struct metric_label sorted[LABELS_MAX];
    size_t text_max = 1, key_max = 1;
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && str_cmp(sorted[at - 1].name, labels[i].name) > 0; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = labels[i];
        text_max += labels[i].name.len + 2 * labels[i].value.len + 4;
        key_max += labels[i].value.len + 1;
    }
    char *text = arena_alloc(&metrics->arena, text_max),
         *key = arena_alloc(&metrics->arena, key_max);
    size_t text_len = 0, key_len = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            text[text_len++] = ',';
        memcpy(text + text_len, sorted[i].name.ptr, sorted[i].name.len);
        text_len += sorted[i].name.len;
        text[text_len++] = '=';
        text[text_len++] = '"';
        text_len += escape(text + text_len, sorted[i].value);
        text[text_len++] = '"';
        if (sorted[i].value.len > 0)
            memcpy(key + key_len, sorted[i].value.ptr, sorted[i].value.len);
        key_len += sorted[i].value.len;
        key[key_len++] = '\0';
    }
    metric->labels = str_from(text, text_len);
    metric->sort_key = str_from(key, key_len);
    metric->label_count = count;
}

static struct metric *add(struct metrics *metrics, struct str name, struct str help,
                          const struct metric_label *given, size_t count)
{
    struct metric_label labels[LABELS_MAX];
    struct metric metric = {.help = help};
    ENSURE(count < LABELS_MAX);
    if (metrics->arena.over_budget)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        labels[i] = given[i];
        if (!str_is_utf8(given[i].value))
            return NULL;
    }
    if (takes_role(metrics, name))
        labels[count++] = (struct metric_label){STR("instance_role"), metrics->instance_role};
    metric.name = full_name(metrics, name);
    render_labels(metrics, &metric, labels, count);
    VEC_PUSH(&metrics->items, metric);
    return &metrics->items.items[metrics->items.count - 1];
}

void metrics_add_labelled(struct metrics *metrics, enum metric_id id, double value,
                          const struct metric_label *labels, size_t count)
{
    const struct metric_row *row = &ROWS[id];
    struct metric *metric = add(metrics, str_of(row->name), str_of(row->help), labels, count);
    if (!metric)
        return;
    metric->kind = row->kind;
    metric->value = value;
}

static void name_labels(const struct metric_row *row, const struct str *values, size_t count,
                        struct metric_label labels[LABELS_MAX])
{
    struct str rest = row->labels[0] != '\0' ? str_of(row->labels) : (struct str){NULL, 0};
    for (size_t i = 0; i < count; i++) {
        ENSURE(rest.ptr != NULL && i < LABELS_MAX);
        labels[i] = (struct metric_label){str_cut(rest, ',', &rest), values[i]};
    }
    ENSURE(rest.ptr == NULL);
}

void metrics_add(struct metrics *metrics, enum metric_id id, double value, const struct str *values,
                 size_t count)
{
    struct metric_label labels[LABELS_MAX];
    name_labels(&ROWS[id], values, count, labels);
    metrics_add_labelled(metrics, id, value, labels, count);
}

void metrics_add_plain(struct metrics *metrics, struct str name, enum metric_kind kind,
                       double value)
{
    struct str help = arena_strf(&metrics->arena, STR_FMT " metric", STR_ARG(name));
    struct metric *metric = add(metrics, name, help, NULL, 0);
    if (!metric)
        return;
    metric->kind = kind;
    metric->value = value;
}

void metrics_add_bare(struct metrics *metrics, struct str name, struct str help,
                      enum metric_kind kind, double value)
{
    struct metric metric = {.name = name, .help = help, .kind = kind, .value = value};
    render_labels(metrics, &metric, NULL, 0);
    VEC_PUSH(&metrics->items, metric);
}

/* --- summaries and histograms --- */

static int compare_points(const void *a, const void *b)
{
    double left = ((const struct metric_point *)a)->at,
           right = ((const struct metric_point *)b)->at;
    return (left > right) - (left < right);
}

static void write_point(struct buf *out, const struct metric *metric, const char *suffix,
                        const char *bound_name, double bound)
{
    buf_add_str(out, metric->name);
    buf_add_str(out, str_of(suffix));
    if (metric->labels.len > 0 || bound_name)
        buf_add_char(out, '{');
    buf_add_str(out, metric->labels);
    if (bound_name) {
        buf_addf(out, "%s%s=\"", metric->labels.len > 0 ? "," : "", bound_name);
        buf_add_number(out, bound, NUMBER_G);
        buf_add_char(out, '"');
    }
    if (metric->labels.len > 0 || bound_name)
        buf_add_char(out, '}');
    buf_add_char(out, ' ');
}

static void write_points(struct buf *out, const struct metric *metric, uint64_t count, double sum,
                         const struct metric_point *points, size_t point_count)
{
    bool histogram = metric->kind == HISTOGRAM;
    bool has_infinity = false;
    for (size_t i = 0; i < point_count; i++) {
        write_point(out, metric, histogram ? "_bucket" : "", histogram ? "le" : "quantile",
                    points[i].at);
        buf_add_number(out, points[i].value, NUMBER_G);
        buf_add_char(out, '\n');
        has_infinity = has_infinity || points[i].at == (double)INFINITY;
    }
    if (histogram && !has_infinity) {
        write_point(out, metric, "_bucket", "le", (double)INFINITY);
        buf_addf(out, "%llu\n", (unsigned long long)count);
    }
    write_point(out, metric, "_sum", NULL, 0);
    buf_add_number(out, sum, NUMBER_G);
    buf_add_char(out, '\n');
    write_point(out, metric, "_count", NULL, 0);
    buf_addf(out, "%llu\n", (unsigned long long)count);
}

void metrics_add_points(struct metrics *metrics, enum metric_id id, struct str label,
                        uint64_t count, double sum, struct metric_point *points, size_t point_count)
{
    const struct metric_row *row = &ROWS[id];
    struct metric_label labels[LABELS_MAX];
    struct buf lines;
    size_t label_count = row->labels[0] != '\0' ? 1 : 0;
    name_labels(row, &label, label_count, labels);
    struct metric *metric = add(metrics, str_of(row->name), str_of(row->help), labels, label_count);
    if (!metric)
        return;
    metric->kind = row->kind;
    if (point_count > 1)
        qsort(points, point_count, sizeof(*points), compare_points);
    buf_init(&lines, (size_t)1 << 20);
    write_points(&lines, metric, count, sum, points, point_count);
    metric->lines = arena_str(&metrics->arena, buf_str(&lines));
    buf_deinit(&lines);
}

/* --- writing --- */

static int compare_metrics(const void *a, const void *b)
{
    const struct metric *left = a, *right = b;
    int order = str_cmp(left->name, right->name);
    if (order == 0)
        order = (left->label_count > right->label_count) - (left->label_count < right->label_count);
    if (order == 0)
        order = str_cmp(left->sort_key, right->sort_key);
    if (order == 0)
        order = (left->help.ptr > right->help.ptr) - (left->help.ptr < right->help.ptr);
    return order;
}

static void write_head(struct buf *out, const struct metric *metric)
{
    static const char *const KINDS[] = {"gauge", "counter", "summary", "histogram"};
    buf_addf(out, "# HELP " STR_FMT " ", STR_ARG(metric->name));
    for (size_t i = 0; i < metric->help.len; i++) {
        char c = metric->help.ptr[i];
        if (c == '\\' || c == '\n')
            buf_add_char(out, '\\');
        buf_add_char(out, c == '\n' ? 'n' : c);
    }
    buf_addf(out, "\n# TYPE " STR_FMT " %s\n", STR_ARG(metric->name), KINDS[metric->kind]);
}

void metrics_write(struct metrics *metrics, struct buf *out)
{
    const struct metric *last = NULL;
    VEC_SORT(&metrics->items, compare_metrics);
    VEC_EACH (metric, &metrics->items) {
        bool same_family = last && str_eq(last->name, metric->name);
        if (same_family && (str_eq(last->labels, metric->labels) || last->kind != metric->kind))
            continue;
        if (!same_family)
            write_head(out, metric);
        last = metric;
        if (metric->kind == SUMMARY || metric->kind == HISTOGRAM) {
            buf_add_str(out, metric->lines);
            continue;
        }
        write_point(out, metric, "", NULL, 0);
        buf_add_number(out, metric->value, NUMBER_G);
        buf_add_char(out, '\n');
    }
}
