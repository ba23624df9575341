/* nhcb: see nhcb.h. The rules are Prometheus': only under a TYPE histogram of the same base name, one
 * histogram is a run of lines with equal labels but le, and buckets that make no histogram are gone
 * without a word.
 *
 * Buckets may come in any order: they are sorted at the end, not as they come, so that a hostile
 * order costs no square. */
#include "nhcb.h"

#include <math.h>
#include <stdlib.h>

#include "base/number.h"
#include "model/labels.h"

/* --- one histogram --- */

void nhcb_build_deinit(struct nhcb_build *build)
{
    VEC_FREE(&build->buckets);
    VEC_FREE(&build->bounds);
    VEC_FREE(&build->values);
    histogram_sum_deinit(&build->scratch);
}

void nhcb_build_reset(struct nhcb_build *build)
{
    VEC_CLEAR(&build->buckets);
    build->count = build->sum = 0;
    build->has_count = false;
}

void nhcb_build_bucket(struct nhcb_build *build, double bound, double count)
{
    struct nhcb_bucket bucket = {bound, count, (uint32_t)build->buckets.count};

    if (build->buckets.count <= HISTOGRAM_BUCKETS_MAX)
        VEC_PUSH(&build->buckets, bucket);
}

void nhcb_build_count(struct nhcb_build *build, double count)
{
    build->count = count;
    build->has_count = true;
}

static int bucket_compare(const void *a, const void *b)
{
    const struct nhcb_bucket *x = a, *y = b;

    if (x->bound != y->bound)
        return x->bound < y->bound ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

/* Sorted, each bound once (the first), and the last one is +Inf. False: no histogram. */
static bool buckets_settle(struct nhcb_build *build)
{
    size_t kept = 0;

    if (build->buckets.count > HISTOGRAM_BUCKETS_MAX || build->count < 0)
        return false;
    VEC_SORT(&build->buckets, bucket_compare);
    for (size_t i = 0; i < build->buckets.count; i++) {
        struct nhcb_bucket bucket = build->buckets.items[i];
        const struct nhcb_bucket *before = kept > 0 ? &build->buckets.items[kept - 1] : NULL;
        if (before && before->bound == bucket.bound)
            continue;
        if (bucket.count < 0 || (before && bucket.count < before->count))
            return false;
        build->buckets.items[kept++] = bucket;
    }
    build->buckets.count = kept;
    if (!build->has_count && kept > 0)
        build->count = build->buckets.items[kept - 1].count;
    if (kept == 0 || build->buckets.items[kept - 1].bound != INFINITY) {
        struct nhcb_bucket last = {INFINITY, build->count, 0};
        VEC_PUSH(&build->buckets, last);
    }
    return build->buckets.items[build->buckets.count - 1].count == build->count;
}

static bool is_whole(double value)
{
    return fabs(value) < 0x1p63 && round(value) == value;
}

const struct histogram *nhcb_build_take(struct nhcb_build *build, enum histogram_hint hint,
                                        struct arena *arena)
{
    struct histogram_span span = {0};
    bool whole = true;
    double before = 0;
    struct err err;

    if (!buckets_settle(build))
        return NULL;
    VEC_CLEAR(&build->bounds);
    VEC_CLEAR(&build->values);
    VEC_EACH (bucket, &build->buckets) {
        whole = whole && is_whole(bucket->count);
        VEC_PUSH(&build->values, bucket->count - before);
        before = bucket->count;
        if (bucket->bound != INFINITY)
            VEC_PUSH(&build->bounds, bucket->bound);
    }
    span.length = (uint32_t)build->values.count;
    struct histogram view = {
        .schema = HISTOGRAM_SCHEMA_CUSTOM,
        .hint = (uint8_t)hint,
        .is_integer = whole,
        .count = build->count,
        .sum = build->sum,
        .positive_spans = &span,
        .positive_span_count = 1,
        .positive = build->values.items,
        .positive_count = span.length,
        .bounds = build->bounds.items,
        .bound_count = (uint32_t)build->bounds.count,
    };
    if (!histogram_validate(&view, &err))
        return NULL;
    histogram_sum_set(&build->scratch, &view);
    struct histogram *taken = histogram_sum_take(&build->scratch, false, arena);
    taken->is_integer = whole;
    return taken;
}

/* --- the sink --- */

/* What was gathered goes out as one sample. */
static void flush(struct nhcb *nhcb)
{
    if (!nhcb->collecting || nhcb->failed)
        return;
    nhcb->collecting = false;
    const struct histogram *histogram =
        nhcb_build_take(&nhcb->build, HISTOGRAM_UNKNOWN_RESET, nhcb->kept);
    if (!histogram)
        return;
    struct text_line *line = &nhcb->line;
    text_line_reset(line);
    line->kind = TEXT_SAMPLE;
    line->metric = buf_str(&nhcb->key);
    line->name = nhcb->name;
    line->name_quoted = true;
    VEC_EACH (label, &nhcb->labels)
        VEC_PUSH(&line->labels, *label);
    line->histogram = histogram;
    line->has_time = nhcb->has_time;
    line->time_ms = nhcb->time_ms;
    if (!parse_text_deliver(nhcb->out, nhcb->cache, line, METRIC_UNKNOWN, &nhcb->err)) {
        nhcb->failed = true;
        return;
    }
    if (!nhcb->out->exemplar)
        return;
    VEC_EACH (exemplar, &nhcb->exemplars)
        nhcb->out->exemplar(nhcb->out->ctx, exemplar);
}

static int label_compare(const void *a, const void *b)
{
    return str_cmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

/* Base name and sorted labels without le. Byte 0xff stands in no text: no line is spelled so. */
static void key_build(struct nhcb *nhcb, struct str base, const struct text_line *line,
                      struct str *bound)
{
    struct arena *arena = &nhcb->line_texts;

    *bound = STR_EMPTY;
    VEC_CLEAR(&nhcb->sorted);
    for (size_t i = 0; i < line->labels.count; i++) {
        const struct text_label *text = &line->labels.items[i];
        struct label label = {text->name, text->value};
        if (text->name_escaped)
            label.name = text_unescape(arena, label.name, true);
        if (text->value_escaped)
            label.value = text_unescape(arena, label.value, true);
        if (str_eq(label.name, LABEL_LE))
            *bound = label.value;
        else
            VEC_PUSH(&nhcb->sorted, label);
    }
    VEC_SORT(&nhcb->sorted, label_compare);
    buf_clear(&nhcb->next_key);
    buf_add_str(&nhcb->next_key, base);
    buf_add_char(&nhcb->next_key, '\xff');
    VEC_EACH (label, &nhcb->sorted) {
        buf_add_char(&nhcb->next_key, '\xff');
        buf_add_str(&nhcb->next_key, label->name);
        buf_add_char(&nhcb->next_key, '\xff');
        buf_add_str(&nhcb->next_key, label->value);
    }
}

static void begin(struct nhcb *nhcb, struct str base)
{
    nhcb->collecting = nhcb->past_histogram = true;
    arena_reset(&nhcb->texts);
    nhcb_build_reset(&nhcb->build);
    VEC_CLEAR(&nhcb->exemplars);
    VEC_CLEAR(&nhcb->labels);
    buf_swap(&nhcb->key, &nhcb->next_key);
    nhcb->name = arena_str(&nhcb->texts, base);
    VEC_EACH (label, &nhcb->sorted) {
        struct text_label kept = {.name = arena_str(&nhcb->texts, label->name),
                                  .value = arena_str(&nhcb->texts, label->value)};
        VEC_PUSH(&nhcb->labels, kept);
    }
}

enum part { PART_NONE, PART_BUCKET, PART_SUM, PART_COUNT };

static enum part part_of(struct str name, struct str *base)
{
    static const struct {
        struct str suffix;
        enum part part;
    } parts[] = {
        {{"_bucket", 7}, PART_BUCKET}, {{"_sum", 4}, PART_SUM}, {{"_count", 6}, PART_COUNT}};

    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (str_ends(name, parts[i].suffix)) {
            *base = str_first(name, name.len - parts[i].suffix.len);
            return parts[i].part;
        }
    }
    *base = name;
    return PART_NONE;
}

/* A line under TYPE histogram: into the histogram in work, or the first of another, or neither. */
static bool take(struct nhcb *nhcb, const struct text_line *line)
{
    struct str base, bound_text;
    double bound = NAN;

    arena_reset(&nhcb->line_texts);
    struct str name =
        line->name_escaped ? text_unescape(&nhcb->line_texts, line->name, true) : line->name;
    enum part part = part_of(name, &base);
    key_build(nhcb, base, line, &bound_text);
    if (nhcb->collecting && !str_eq(buf_str(&nhcb->key), buf_str(&nhcb->next_key)))
        flush(nhcb);
    if (part == PART_NONE || !str_eq(base, buf_str(&nhcb->type_name)))
        return false;
    if (part == PART_BUCKET && (!number_parse(bound_text, &bound) || isnan(bound)))
        return false;
    if (!nhcb->collecting)
        begin(nhcb, base);
    if (part == PART_BUCKET)
        nhcb_build_bucket(&nhcb->build, bound == 0 ? 0 : bound, line->value); /* No -0. */
    else if (part == PART_COUNT)
        nhcb_build_count(&nhcb->build, line->value);
    else
        nhcb->build.sum = line->value;
    nhcb->has_time = line->has_time;
    nhcb->time_ms = line->time_ms;
    return true;
}

/* Prometheus asks for the start time of each histogram that it makes; from the first one on its
 * OpenMetrics parser takes _created series for start times, and they are no series any more. */
static bool is_start_time(const struct nhcb *nhcb, struct str name)
{
    bool has_start = nhcb->type == METRIC_COUNTER || nhcb->type == METRIC_SUMMARY ||
                     nhcb->type == METRIC_HISTOGRAM;

    return nhcb->is_openmetrics && nhcb->past_histogram && has_start &&
           str_ends(name, STR("_created"));
}

static bool on_sample(void *ctx, const struct text_line *line, enum metric_type type,
                      struct err *err)
{
    struct nhcb *nhcb = ctx;

    if (is_start_time(nhcb, line->name))
        return true;
    if (nhcb->type != METRIC_HISTOGRAM)
        flush(nhcb);
    nhcb->took = nhcb->type == METRIC_HISTOGRAM && take(nhcb, line);
    if (nhcb->failed) {
        *err = nhcb->err;
        return false;
    }
    if (nhcb->took && !nhcb->keep_classic)
        return true;
    return parse_text_deliver(nhcb->out, nhcb->cache, line, type, err);
}

static void on_exemplar(void *ctx, const struct text_exemplar *exemplar)
{
    struct nhcb *nhcb = ctx;
    struct text_exemplar kept = *exemplar;

    if (!nhcb->took) {
        nhcb->out->exemplar(nhcb->out->ctx, exemplar);
        return;
    }
    struct text_label *labels =
        arena_alloc_array(&nhcb->texts, exemplar->label_count, sizeof(*labels));
    for (size_t i = 0; i < exemplar->label_count; i++) {
        labels[i] = exemplar->labels[i];
        labels[i].name = arena_str(&nhcb->texts, labels[i].name);
        labels[i].value = arena_str(&nhcb->texts, labels[i].value);
    }
    kept.labels = labels;
    VEC_PUSH(&nhcb->exemplars, kept);
}

static void on_metadata(void *ctx, const struct text_line *line)
{
    struct nhcb *nhcb = ctx;

    flush(nhcb);
    if (line->kind == TEXT_TYPE) {
        arena_reset(&nhcb->line_texts);
        nhcb->type = line->type;
        buf_clear(&nhcb->type_name);
        buf_add_str(&nhcb->type_name, line->name_escaped
                                          ? text_unescape(&nhcb->line_texts, line->name, true)
                                          : line->name);
    }
    nhcb->out->metadata(nhcb->out->ctx, line);
}

void nhcb_init(struct nhcb *nhcb, const struct parse_text_sink *out, struct line_cache *cache,
               struct arena *kept, bool keep_classic)
{
    *nhcb = (struct nhcb){
        .sink = {.sample = on_sample, .metadata = on_metadata, .ctx = nhcb},
        .out = out,
        .cache = cache,
        .kept = kept,
        .keep_classic = keep_classic,
    };
    if (out->exemplar)
        nhcb->sink.exemplar = on_exemplar;
    buf_init(&nhcb->type_name, LINE_LEN_MAX);
    buf_init(&nhcb->key, LINE_LEN_MAX);
    buf_init(&nhcb->next_key, LINE_LEN_MAX);
    arena_init(&nhcb->texts, 0);
    arena_init(&nhcb->line_texts, 0);
}

void nhcb_deinit(struct nhcb *nhcb)
{
    buf_deinit(&nhcb->type_name);
    buf_deinit(&nhcb->key);
    buf_deinit(&nhcb->next_key);
    arena_deinit(&nhcb->texts);
    arena_deinit(&nhcb->line_texts);
    VEC_FREE(&nhcb->labels);
    VEC_FREE(&nhcb->sorted);
    VEC_FREE(&nhcb->exemplars);
    nhcb_build_deinit(&nhcb->build);
    text_line_deinit(&nhcb->line);
}

bool nhcb_end(struct nhcb *nhcb, struct err *err)
{
    flush(nhcb);
    if (nhcb->failed)
        *err = nhcb->err;
    return !nhcb->failed;
}
