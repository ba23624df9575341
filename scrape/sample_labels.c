/* sample_labels: order as in Prometheus: unescape and normalise -> merge with the target's labels
 * (honor_labels) -> metric_relabel_configs -> checks -> limits. Lines mostly come with sorted
 * labels and without conflicts, so the usual case is one merge of two sorted lists; the builder's
 * searches are for conflicts and rules only. */
#include "sample_labels.h"

#include <math.h>
#include <stdlib.h>

#include "base/number.h"

void sample_labels_init(struct sample_labels *labels, const struct config_scrape *options,
                        const struct labels *target, struct arena *arena)
{
    *labels = (struct sample_labels){.options = options, .target = target, .arena = arena};
    labels_builder_init(&labels->builder);
}

void sample_labels_deinit(struct sample_labels *labels)
{
    labels_builder_deinit(&labels->builder);
    VEC_FREE(&labels->own);
}

/* str_cmp, where the first byte mostly decides. */
static inline int name_compare(struct str a, struct str b)
{
    if (a.len > 0 && b.len > 0 && a.ptr[0] != b.ptr[0])
        return (unsigned char)a.ptr[0] < (unsigned char)b.ptr[0] ? -1 : 1;
    return str_cmp(a, b);
}

static int label_compare(const void *a, const void *b)
{
    return str_cmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

/* Few and nearly sorted: insertion; many: qsort, so that a hostile line costs no square. */
static void labels_sort(struct label *items, size_t count)
{
    if (count > 32) {
        qsort(items, count, sizeof(*items), label_compare);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct label label = items[i];
        size_t at = i;
        for (; at > 0 && name_compare(label.name, items[at - 1].name) < 0; at--)
            items[at] = items[at - 1];
        items[at] = label;
    }
}

/* OpenMetrics' spelling of a float: 1 is 1.0, 1e3 is 1000.0. A text that is no float stays. */
static struct str float_normalise(struct arena *arena, struct str text)
{
    char out[NUMBER_TEXT_MAX + 2];
    double value;

    if (!number_parse(text, &value))
        return text;
    size_t len = number_format(out, value == 0 ? 0 : value, NUMBER_G); /* No -0. */
    if (isfinite(value) && !memchr(out, 'e', len) && !memchr(out, '.', len)) {
        out[len++] = '.';
        out[len++] = '0';
    }
    return arena_str(arena, str_from(out, len));
}

static bool is_bound(enum metric_type type, struct str name)
{
    return (type == METRIC_HISTOGRAM && str_eq(name, LABEL_LE)) ||
           (type == METRIC_SUMMARY && str_eq(name, LABEL_QUANTILE));
}

/* The line's labels with its name, sorted; empty values are kept. */
static bool own_load(struct sample_labels *labels, const struct text_line *line,
                     enum metric_type type, struct err *err)
{
    struct arena *arena = labels->arena;
    struct str name = line->name_escaped ? text_unescape(arena, line->name, true) : line->name;

    VEC_CLEAR(&labels->own);
    VEC_PUSH(&labels->own, ((struct label){LABEL_NAME, name}));
    for (size_t i = 0; i < line->labels.count; i++) {
        const struct text_label *text = &line->labels.items[i];
        struct label label = {text->name, text->value};
        if (text->name_escaped)
            label.name = text_unescape(arena, label.name, true);
        if (text->value_escaped)
            label.value = text_unescape(arena, label.value, true);
        if (is_bound(type, label.name))
            label.value = float_normalise(arena, label.value);
        VEC_PUSH(&labels->own, label);
    }
    labels_sort(labels->own.items, labels->own.count);
    for (size_t i = 1; i < labels->own.count; i++) {
        struct str own = labels->own.items[i].name;
        if (str_eq(own, labels->own.items[i - 1].name))
            return err_set(err, ERR_BAD_DATA,
                           "label name \"" STR_FMT "\" is not unique: invalid sample",
                           STR_ARG(str_first(own, 256)));
    }
    return true;
}

static void builder_push(struct labels_builder *builder, struct label label)
{
    if (label.value.len > 0)
        builder->items[builder->count++] = label;
}

static void builder_room(struct labels_builder *builder, size_t count)
{
    if (builder->capacity >= count)
        return;
    builder->items = mem_realloc(builder->items, count * sizeof(*builder->items));
    builder->capacity = count;
}

struct conflict {
    struct label own;
    size_t order;
};

/* Stable by the length of the name, as Prometheus resolves them. */
static int conflict_compare(const void *a, const void *b)
{
    const struct conflict *x = a, *y = b;
    int order = (x->own.name.len > y->own.name.len) - (x->own.name.len < y->own.name.len);

    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static void resolve_conflicts(struct sample_labels *labels, struct conflict *items, size_t count)
{
    qsort(items, count, sizeof(*items), conflict_compare);
    for (size_t i = 0; i < count; i++) {
        struct str name = items[i].own.name;
        do {
            name = arena_strf(labels->arena, "exported_" STR_FMT, STR_ARG(name));
        } while (labels_builder_get(&labels->builder, name).len > 0);
        labels_builder_set(&labels->builder, name, items[i].own.value);
    }
}

/* Both lists are sorted. Own labels first on a tie: they win with honor_labels, and are renamed
 * without. */
static void merge(struct sample_labels *labels)
{
    struct labels_builder *builder = &labels->builder;
    const struct labels *target = labels->target;
    struct conflict *conflicts = NULL;
    size_t conflict_count = 0, i = 0, j = 0;

    builder_room(builder, labels->own.count + target->count);
    builder->count = 0;
    while (i < labels->own.count && j < target->count) {
        const struct label *own = &labels->own.items[i];
        int order = name_compare(own->name, target->items[j].name);
        if (order < 0) {
            builder_push(builder, *own);
            i++;
            continue;
        }
        if (order > 0) {
            builder_push(builder, target->items[j++]);
            continue;
        }
        builder_push(builder, labels->options->honor_labels ? *own : target->items[j]);
        if (!labels->options->honor_labels && own->value.len > 0) {
            if (!conflicts)
                conflicts = arena_alloc_array(labels->arena, target->count, sizeof(*conflicts));
            conflicts[conflict_count] = (struct conflict){*own, conflict_count};
            conflict_count++;
        }
        i++;
        j++;
    }
    while (i < labels->own.count)
        builder_push(builder, labels->own.items[i++]);
    while (j < target->count)
        builder_push(builder, target->items[j++]);
    if (conflict_count > 0)
        resolve_conflicts(labels, conflicts, conflict_count);
}

/* Names that the lexer took are legacy ones unless they were quoted; relabelling may have made any.
 */
static bool names_check(const struct sample_labels *labels, const struct text_line *line,
                        struct err *err)
{
    const struct labels_builder *builder = &labels->builder;
    bool quoted = line->name_quoted || labels->options->metric_relabel.count > 0;
    bool legacy = labels->options->legacy_names;

    for (size_t i = 0; i < line->labels.count && !quoted; i++)
        quoted = line->labels.items[i].name_quoted;
    if (!quoted && !legacy)
        return true;
    struct str metric = labels_builder_get(builder, LABEL_NAME);
    bool ok = legacy ? metric_name_is_legacy(metric) : str_is_utf8(metric);
    for (size_t i = 0; i < builder->count && ok; i++) {
        struct str name = builder->items[i].name;
        ok = legacy ? label_name_is_legacy(name) : label_name_is_valid(name);
        ok = ok && str_is_utf8(builder->items[i].value);
    }
    if (ok)
        return true;
    struct labels *shown = labels_build(builder);
    struct buf text;
    buf_init(&text, ERR_TEXT_MAX);
    BUF_ADD(&text, "invalid metric name or label names: ");
    labels_print(&text, shown);
    err_set_str(err, ERR_BAD_DATA, buf_str(&text));
    buf_deinit(&text);
    labels_unref(shown);
    return false;
}

/* The first 50 characters, as Go's %.50s. */
static struct str shorten(struct str s)
{
    size_t at = 0;

    for (int i = 0; i < 50 && at < s.len; i++)
        (void)str_next_rune(s, &at);
    return str_first(s, at);
}

static bool value_too_long(struct str metric, const struct label *label, uint64_t limit,
                           struct err *err)
{
    struct buf text;

    buf_init(&text, ERR_TEXT_MAX);
    buf_addf(&text,
             "label_value_length_limit exceeded (metric: " STR_FMT ", label name: " STR_FMT
             ", value: ",
             STR_ARG(shorten(metric)), STR_ARG(shorten(label->name)));
    buf_add_go_quoted(&text, shorten(label->value));
    buf_addf(&text, ", length: %zu, limit: %llu)", label->value.len, (unsigned long long)limit);
    err_set_str(err, ERR_LIMIT, buf_str(&text));
    buf_deinit(&text);
    return false;
}

static bool limits_check(const struct sample_labels *labels, struct err *err)
{
    const struct config_scrape_limits *limits = &labels->options->limits;
    const struct labels_builder *builder = &labels->builder;

    if (limits->labels == 0 && limits->label_name_len == 0 && limits->label_value_len == 0)
        return true;
    struct str metric = labels_builder_get(builder, LABEL_NAME);
    if (limits->labels > 0 && builder->count > limits->labels)
        return err_set(
            err, ERR_LIMIT,
            "label_limit exceeded (metric: " STR_FMT ", number of labels: %zu, limit: %llu)",
            STR_ARG(shorten(metric)), builder->count, (unsigned long long)limits->labels);
    for (size_t i = 0; i < builder->count; i++) {
        const struct label *label = &builder->items[i];
        if (limits->label_name_len > 0 && label->name.len > limits->label_name_len)
            return err_set(err, ERR_LIMIT,
                           "label_name_length_limit exceeded (metric: " STR_FMT
                           ", label name: " STR_FMT ", length: %zu, limit: %llu)",
                           STR_ARG(shorten(metric)), STR_ARG(shorten(label->name)), label->name.len,
                           (unsigned long long)limits->label_name_len);
        if (limits->label_value_len > 0 && label->value.len > limits->label_value_len)
            return value_too_long(metric, label, limits->label_value_len, err);
    }
    return true;
}

bool sample_labels_build(struct sample_labels *labels, const struct text_line *line,
                         enum metric_type type, bool *over_limit, struct err *err)
{
    const struct config_scrape *options = labels->options;

    *over_limit = false;
    if (!own_load(labels, line, type, err))
        return false;
    merge(labels);
    if (options->metric_relabel.count > 0 &&
        !relabel_apply(&options->metric_relabel, &labels->builder, labels->arena))
        labels_builder_clear(&labels->builder);
    if (labels->builder.count == 0)
        return true;
    if (labels_builder_get(&labels->builder, LABEL_NAME).len == 0)
        return err_set(err, ERR_BAD_DATA, "missing metric name (__name__ label)");
    if (!names_check(labels, line, err))
        return false;
    *over_limit = !limits_check(labels, err);
    return !*over_limit;
}
