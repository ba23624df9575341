/* protobuf_series: a metric as samples.
 *
 *     counter, gauge, untyped    name
 *     summary                    name_count, name_sum, name{quantile}...
 *     classic histogram          name_count, name_sum, name_bucket{le}... up to +Inf
 *     native histogram           name; then the classic ones where both are wanted
 *
 * The line cache knows a series by its name and its labels as they came, with byte 0xff between them,
 * which is in no text. */
#include "protobuf_series.h"

#include <math.h>

#include "base/number.h"

#define SEPARATOR '\xff'
/* Every sample of a metric has a copy of its labels: what they may take together. */
#define METRIC_BYTES_MAX ((size_t)64 << 20)

/* What a sample has besides the labels of its metric. */
struct extra {
    struct str suffix;
    struct str label, label_value; /* label empty: none. */
};

/* OpenMetrics' spelling of a float. */
static struct str float_text(char out[NUMBER_TEXT_MAX + 2], double value)
{
    size_t len = number_format(out, value, NUMBER_G);

    if (isfinite(value) && !memchr(out, 'e', len) && !memchr(out, '.', len)) {
        out[len++] = '.';
        out[len++] = '0';
    }
    return str_from(out, len);
}

static void key_add(struct buf *key, struct str name, struct str value)
{
    buf_add_char(key, SEPARATOR);
    buf_add_str(key, name);
    buf_add_char(key, SEPARATOR);
    buf_add_str(key, value);
}

static bool deliver(struct parse_protobuf *parser, const struct extra *extra, double value,
                    const struct histogram *histogram, struct err *err)
{
    const struct protobuf_metric *metric = &parser->metric;
    struct text_line *line = &parser->line;
    struct str name = buf_str(&parser->name);

    text_line_reset(line);
    if (extra->suffix.len > 0) {
        buf_clear(&parser->full_name);
        buf_add_str(&parser->full_name, name);
        buf_add_str(&parser->full_name, extra->suffix);
        name = buf_str(&parser->full_name);
    }
    buf_clear(&parser->key);
    buf_add_str(&parser->key, name);
    buf_add_str(&parser->key, buf_str(&parser->labels_key));
    for (size_t i = 0; i < metric->labels.count; i++)
        VEC_PUSH(&line->labels, metric->labels.items[i]);
    if (extra->label.len > 0) {
        struct text_label label = {.name = extra->label, .value = extra->label_value};
        key_add(&parser->key, extra->label, extra->label_value);
        VEC_PUSH(&line->labels, label);
    }
    line->kind = TEXT_SAMPLE;
    line->metric = buf_str(&parser->key);
    line->name = name;
    line->name_quoted = true; /* Nobody has looked at the bytes yet. */
    line->value = value;
    line->histogram = histogram;
    line->has_time = metric->time_ms != 0;
    line->time_ms = metric->time_ms;
    return parse_text_deliver(parser->sink, parser->cache, line, METRIC_UNKNOWN, err);
}

static void tell_exemplar(struct parse_protobuf *parser, uint32_t index)
{
    if (index == PROTOBUF_NO_EXEMPLAR)
        return;
    parser->exemplar_count++;
    if (!parser->sink->exemplar)
        return;
    struct text_exemplar exemplar = protobuf_metric_exemplar(&parser->metric, index);
    parser->sink->exemplar(parser->sink->ctx, &exemplar);
}

static bool emit_plain(struct parse_protobuf *parser, struct err *err)
{
    struct extra none = {0};

    if (!deliver(parser, &none, parser->metric.value, NULL, err))
        return false;
    tell_exemplar(parser, parser->metric.exemplar);
    return true;
}

static bool emit_count_and_sum(struct parse_protobuf *parser, struct err *err)
{
    struct extra count = {.suffix = STR("_count")}, sum = {.suffix = STR("_sum")};

    return deliver(parser, &count, parser->metric.count, NULL, err) &&
           deliver(parser, &sum, parser->metric.sum, NULL, err);
}

static bool emit_bounded(struct parse_protobuf *parser, struct str suffix, struct str label,
                         const struct protobuf_bucket *bucket, struct err *err)
{
    char text[NUMBER_TEXT_MAX + 2];
    struct extra extra = {
        .suffix = suffix, .label = label, .label_value = float_text(text, bucket->bound)};

    if (!deliver(parser, &extra, bucket->count, NULL, err))
        return false;
    tell_exemplar(parser, bucket->exemplar);
    return true;
}

static bool emit_summary(struct parse_protobuf *parser, struct err *err)
{
    if (!emit_count_and_sum(parser, err))
        return false;
    VEC_EACH (quantile, &parser->metric.buckets)
        if (!emit_bounded(parser, STR_EMPTY, STR("quantile"), quantile, err))
            return false;
    return true;
}

static bool emit_classic(struct parse_protobuf *parser, struct err *err)
{
    struct protobuf_bucket last = {
        .bound = INFINITY, .count = parser->metric.count, .exemplar = PROTOBUF_NO_EXEMPLAR};
    bool done = false;

    if (!emit_count_and_sum(parser, err))
        return false;
    for (size_t i = 0; i < parser->metric.buckets.count && !done; i++) {
        const struct protobuf_bucket *bucket = &parser->metric.buckets.items[i];
        if (!emit_bounded(parser, STR("_bucket"), STR("le"), bucket, err))
            return false;
        done = bucket->bound == INFINITY;
    }
    return done || emit_bounded(parser, STR("_bucket"), STR("le"), &last, err);
}

static void tell_timed_exemplar(struct parse_protobuf *parser, uint32_t index)
{
    if (index != PROTOBUF_NO_EXEMPLAR && parser->metric.exemplars.items[index].has_time)
        tell_exemplar(parser, index);
}

/* Those of the native histogram, or else those of the buckets; only with a timestamp. */
static void tell_native_exemplars(struct parse_protobuf *parser)
{
    const struct protobuf_metric *metric = &parser->metric;

    for (size_t i = 0; i < metric->native_exemplars.count; i++)
        tell_timed_exemplar(parser, metric->native_exemplars.items[i]);
    for (size_t i = 0; i < metric->buckets.count && metric->native_exemplars.count == 0; i++)
        tell_timed_exemplar(parser, metric->buckets.items[i].exemplar);
}

static bool emit_native(struct parse_protobuf *parser, const struct histogram *histogram,
                        struct err *err)
{
    struct extra none = {0};

    if (!deliver(parser, &none, 0, histogram, err))
        return false;
    tell_native_exemplars(parser);
    return true;
}

static const struct histogram *convert(struct parse_protobuf *parser, enum histogram_hint hint)
{
    const struct protobuf_metric *metric = &parser->metric;
    struct nhcb_build *build = &parser->build;

    nhcb_build_reset(build);
    nhcb_build_count(build, metric->count);
    build->sum = metric->sum;
    for (size_t i = 0; i < metric->buckets.count; i++)
        if (!isnan(metric->buckets.items[i].bound))
            nhcb_build_bucket(build, metric->buckets.items[i].bound,
                              metric->buckets.items[i].count);
    return nhcb_build_take(build, hint, parser->kept);
}

static bool emit_histogram(struct parse_protobuf *parser, struct err *err)
{
    const struct parse_protobuf_options *options = &parser->options;
    struct protobuf_metric *metric = &parser->metric;
    enum histogram_hint hint =
        parser->type == PROTOBUF_GAUGE_HISTOGRAM ? HISTOGRAM_GAUGE : HISTOGRAM_UNKNOWN_RESET;
    const struct histogram *histogram = NULL;
    bool is_native = options->native && metric->is_native;

    if (is_native) {
        metric->parts.hint = (uint8_t)hint;
        if (!histogram_parts_take(&metric->parts, parser->kept, &histogram, err))
            return false;
    } else if (options->classic_to_native) {
        histogram = convert(parser, hint);
    }
    if (histogram && !emit_native(parser, histogram, err))
        return false;
    bool has_native = is_native || options->classic_to_native;
    bool classic = has_native ? options->always_classic && metric->buckets.count > 0 : true;
    return !classic || emit_classic(parser, err);
}

bool protobuf_series_emit(struct parse_protobuf *parser, struct err *err)
{
    buf_clear(&parser->labels_key);
    VEC_EACH (label, &parser->metric.labels)
        key_add(&parser->labels_key, label->name, label->value);
    size_t series = parser->metric.buckets.count + 4;
    size_t labels_bytes =
        parser->labels_key.len + parser->metric.labels.count * sizeof(struct text_label);
    if (labels_bytes > METRIC_BYTES_MAX / series)
        return err_set(err, ERR_LIMIT, "a metric has %zu bytes of labels and %zu buckets",
                       parser->labels_key.len, parser->metric.buckets.count);
    switch ((enum protobuf_type)parser->type) {
    case PROTOBUF_SUMMARY:
        return emit_summary(parser, err);
    case PROTOBUF_HISTOGRAM:
    case PROTOBUF_GAUGE_HISTOGRAM:
        return emit_histogram(parser, err);
    default:
        return emit_plain(parser, err);
    }
}
