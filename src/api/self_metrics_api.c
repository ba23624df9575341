/* self_metrics_api: /status/self_metrics: the families of /metrics as JSON, in the form that protobuf gives MetricFamily. Made from
 * the text itself, so that the two never differ: families by name, the samples of a histogram or summary as one metric. */
#include "core.h"

#include <math.h>
#include <stdlib.h>

#include "base/number.h"
#include "base/timetext.h"
#include "base/vec.h"
#include "param.h"
#include "self_metrics.h"

enum kind { KIND_GAUGE, KIND_COUNTER, KIND_SUMMARY, KIND_HISTOGRAM };

static const struct {
    const char *text, *shown, *field;
} kinds[] = {
    {"gauge", "GAUGE", "gauge"},
    {"counter", "COUNTER", "counter"},
    {"summary", "SUMMARY", "summary"},
    {"histogram", "HISTOGRAM", "histogram"},
};

struct text_family {
    struct str name, help, samples; /* In the text. */
    enum kind kind;
};

struct writer {
    struct buf *out;
    const struct text_family *family;
    struct str created; /* Of everything that only grows: when the server started. */
    struct buf pieces;  /* Buckets or quantiles of the metric that is being read. */
    double sum;
    bool first;
};

/* --- samples --- */

struct text_label {
    struct str name, value; /* value: as in the text, without the quotes. */
};
#define LABELS_MAX 16

struct text_sample {
    struct str suffix; /* _bucket, _sum, _count or nothing. */
    struct text_label labels[LABELS_MAX];
    size_t label_count;
    struct str edge; /* Of le or quantile; NULL: none. */
    struct str value;
};

static int label_compare(const void *a, const void *b)
{
    return str_cmp(((const struct text_label *)a)->name, ((const struct text_label *)b)->name);
}

/* a="b",c="d"} 1 ; the rest behind the bracket. */
static struct str read_labels(struct text_sample *sample, struct str rest)
{
    while (rest.len > 0 && rest.ptr[0] != '}') {
        size_t quote = str_find_char(rest, '"'), end = quote + 1;
        while (end < rest.len && rest.ptr[end] != '"')
            end += rest.ptr[end] == '\\' ? 2 : 1;
        ENSURE(end < rest.len && quote > 0); /* It is our own text. */
        struct text_label label = {.name = str_first(rest, quote - 1),
                                   .value = {rest.ptr + quote + 1, end - quote - 1}};
        if (str_eq(label.name, STR("le")) || str_eq(label.name, STR("quantile"))) {
            sample->edge = label.value;
        } else {
            ENSURE(sample->label_count < LABELS_MAX);
            sample->labels[sample->label_count++] = label;
        }
        rest = str_after(rest, end + 1);
        if (rest.len > 0 && rest.ptr[0] == ',')
            rest = str_after(rest, 1);
    }
    return str_after(rest, 1);
}

static void read_sample(struct text_sample *sample, struct str line, struct str family)
{
    *sample = (struct text_sample){0};
    size_t end = 0;
    while (end < line.len && line.ptr[end] != '{' && line.ptr[end] != ' ')
        end++;
    sample->suffix = str_after(str_first(line, end), family.len);
    struct str rest = str_after(line, end);
    if (rest.len > 0 && rest.ptr[0] == '{')
        rest = read_labels(sample, str_after(rest, 1));
    sample->value = str_trim(rest);
    qsort(sample->labels, sample->label_count, sizeof(sample->labels[0]), label_compare);
}

static void add_unescaped(struct buf *out, struct str value)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < value.len; i++) {
        bool escaped = value.ptr[i] == '\\' && i + 1 < value.len;
        i += escaped;
        buf_add_char(&text, escaped && value.ptr[i] == 'n' ? '\n' : value.ptr[i]);
    }
    buf_add_json_string(out, buf_str(&text));
    buf_deinit(&text);
}

static double value_of(struct str text)
{
    double value = 0;
    (void)number_parse(text, &value);
    return value;
}

/* Infinity and NaN are strings. */
static void add_double(struct buf *out, struct str text)
{
    double value = value_of(text);
    if (isnan(value))
        BUF_ADD(out, "\"NaN\"");
    else if (isinf(value))
        buf_addf(out, "\"%sInfinity\"", value < 0 ? "-" : "");
    else
        json_seconds(out, value);
}

/* 64-bit numbers are strings. */
static void add_count(struct buf *out, struct str text)
{
    BUF_ADD(out, "\"");
    buf_add_u64(out, (uint64_t)value_of(text));
    BUF_ADD(out, "\"");
}

static void add_created(struct writer *writer)
{
    BUF_ADD(writer->out, ",\"createdTimestamp\":");
    buf_add_json_string(writer->out, writer->created);
}

/* --- metrics --- */

static void metric_begin(struct writer *writer, const struct text_sample *sample)
{
    struct buf *out = writer->out;
    bool first = true;

    json_comma(out, &writer->first);
    BUF_ADD(out, "{");
    if (sample->label_count > 0) {
        BUF_ADD(out, "\"label\":[");
        for (size_t i = 0; i < sample->label_count; i++) {
            json_comma(out, &first);
            BUF_ADD(out, "{\"name\":");
            buf_add_json_string(out, sample->labels[i].name);
            BUF_ADD(out, ",\"value\":");
            add_unescaped(out, sample->labels[i].value);
            BUF_ADD(out, "}");
        }
        BUF_ADD(out, "],");
    }
    buf_addf(out, "\"%s\":{", kinds[writer->family->kind].field);
}

static void add_single(struct writer *writer, const struct text_sample *sample)
{
    metric_begin(writer, sample);
    BUF_ADD(writer->out, "\"value\":");
    add_double(writer->out, sample->value);
    if (writer->family->kind == KIND_COUNTER)
        add_created(writer);
    BUF_ADD(writer->out, "}}");
}

/* A bucket (the last, infinite one is the count) or a quantile. */
static void add_piece(struct writer *writer, const struct text_sample *sample)
{
    struct buf *out = &writer->pieces;
    bool bucket = writer->family->kind == KIND_HISTOGRAM;

    if (bucket && str_eq(sample->edge, STR("+Inf")))
        return;
    buf_add_str(out, out->len > 0 ? STR(",") : STR_EMPTY);
    BUF_ADD(out, "{");
    if (bucket) {
        BUF_ADD(out, "\"cumulativeCount\":");
        add_count(out, sample->value);
        BUF_ADD(out, ",\"upperBound\":");
        add_double(out, sample->edge);
    } else {
        BUF_ADD(out, "\"quantile\":");
        add_double(out, sample->edge);
        BUF_ADD(out, ",\"value\":");
        add_double(out, sample->value);
    }
    BUF_ADD(out, "}");
}

/* The count stands last: everything else is known then. */
static void add_compound(struct writer *writer, const struct text_sample *sample)
{
    struct buf *out = writer->out;

    if (sample->edge.ptr) {
        add_piece(writer, sample);
        return;
    }
    if (!str_eq(sample->suffix, STR("_count"))) {
        writer->sum = value_of(sample->value);
        return;
    }
    metric_begin(writer, sample);
    BUF_ADD(out, "\"sampleCount\":");
    add_count(out, sample->value);
    BUF_ADD(out, ",\"sampleSum\":");
    json_seconds(out, writer->sum);
    if (writer->pieces.len > 0) {
        buf_addf(out, ",\"%s\":[", writer->family->kind == KIND_HISTOGRAM ? "bucket" : "quantile");
        buf_add_str(out, buf_str(&writer->pieces));
        BUF_ADD(out, "]");
    }
    add_created(writer);
    BUF_ADD(out, "}}");
    buf_clear(&writer->pieces);
}

/* --- families --- */

struct family_list {
    VEC(struct text_family) families;
};

static enum kind kind_of(struct str text)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (str_eq(text, str_of(kinds[i].text)))
            return (enum kind)i;
    return KIND_GAUGE;
}

static void find_families(struct family_list *list, struct str text)
{
    struct text_family *family = NULL;

    for (struct str rest = text; rest.ptr;) {
        struct str line = str_cut(rest, '\n', &rest), after;
        if (str_starts(line, STR("# HELP "))) {
            struct text_family found = {.samples = {NULL, 0}};
            found.name = str_cut(str_after(line, 7), ' ', &found.help);
            VEC_PUSH(&list->families, found);
            family = &list->families.items[list->families.count - 1];
        } else if (str_starts(line, STR("# TYPE "))) {
            (void)str_cut(str_after(line, 7), ' ', &after);
            family->kind = kind_of(after);
        } else if (line.len > 0) {
            if (!family->samples.ptr)
                family->samples.ptr = line.ptr;
            family->samples.len = (size_t)(line.ptr + line.len - family->samples.ptr);
        }
    }
}

static int family_compare(const void *a, const void *b)
{
    return str_cmp(((const struct text_family *)a)->name, ((const struct text_family *)b)->name);
}

static void add_family(struct writer *writer)
{
    const struct text_family *family = writer->family;
    struct buf *out = writer->out;
    bool first = true;

    BUF_ADD(out, "{");
    json_text(out, &first, "name", family->name);
    json_text(out, &first, "help", family->help);
    json_text(out, &first, "type", str_of(kinds[family->kind].shown));
    BUF_ADD(out, ",\"metric\":[");
    writer->first = true;
    for (struct str rest = family->samples; rest.ptr;) {
        struct text_sample sample;
        read_sample(&sample, str_cut(rest, '\n', &rest), family->name);
        if (family->kind == KIND_SUMMARY || family->kind == KIND_HISTOGRAM)
            add_compound(writer, &sample);
        else
            add_single(writer, &sample);
    }
    BUF_ADD(out, "]}");
}

static void add_families(struct call *call, struct str text, const struct regex *pattern,
                         struct buf *out)
{
    struct buf created;
    struct writer writer = {.out = out};
    struct family_list list = {0};
    bool first = true;

    buf_init(&created, 64);
    buf_add_rfc3339_nano(&created, call->api->options.start_time_ms * 1000000);
    writer.created = buf_str(&created);
    buf_init(&writer.pieces, ANSWER_BYTES_MAX);
    find_families(&list, text);
    VEC_SORT(&list.families, family_compare);
    VEC_EACH (family, &list.families) {
        if (!family->samples.ptr || (pattern && !regex_matches(pattern, family->name)))
            continue;
        json_comma(out, &first);
        writer.family = family;
        add_family(&writer);
    }
    VEC_FREE(&list.families);
    buf_deinit(&writer.pieces);
    buf_deinit(&created);
}

void serve_status_self_metrics(struct call *call)
{
    struct str text = param_get(call, "metric_name_pattern");
    struct regex *pattern = NULL;
    struct err err = {0};
    struct buf metrics, out;

    if (text.len > 0 && !regex_new(&pattern, text, &err)) {
        struct str said = str_of(err.text);
        size_t flags =
            str_find(said, STR("`^(?s:")); /* Prometheus compiles this one without them. */
        if (flags < said.len)
            memmove(err.text + flags + 4, err.text + flags + 5, said.len - flags - 4);
        (void)err_wrap(&err, "invalid metric_name_pattern");
        answer_error(call, &err);
        return;
    }
    buf_init(&metrics, ANSWER_BYTES_MAX);
    self_metrics_write(&metrics, call->api);
    buf_init(&out, ANSWER_BYTES_MAX);
    envelope_begin(&out);
    BUF_ADD(&out, "[");
    add_families(call, buf_str(&metrics), pattern, &out);
    BUF_ADD(&out, "]");
    buf_deinit(&metrics);
    regex_free(pattern);
    answer_data(call, &out);
}
