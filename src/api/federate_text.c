/* federate_text: families as text format 0.0.4.
 *
 *     # TYPE up untyped
 *     up{instance="a:1",job="x"} 1 1700000000000
 *
 * A histogram with custom buckets is written as the classic one that it was. */
#include "federate.h"

#include <math.h>
#include <string.h>

#include "base/number.h"
#include "core.h"

struct label_ctx {
    struct buf *out;
    enum exposition_escaping escaping;
    bool first;
};

static void add_escaped(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\\' || c == '"')
            buf_add_char(out, '\\');
        if (c == '\n')
            BUF_ADD(out, "\\n");
        else
            buf_add_char(out, c);
    }
}

static void add_quoted(struct buf *out, struct str text)
{
    BUF_ADD(out, "\"");
    add_escaped(out, text);
    BUF_ADD(out, "\"");
}

/* Quotes are for names that nothing was done to. */
static void add_name(struct buf *out, struct str name, enum exposition_escaping escaping)
{
    if (escaping == ESCAPING_NONE && !metric_name_is_legacy(name))
        add_quoted(out, name);
    else
        exposition_add_name(out, name, escaping);
}

static void add_label(void *ctx, struct str name, struct str value)
{
    struct label_ctx *label = ctx;

    buf_add_char(label->out, label->first ? '{' : ',');
    label->first = false;
    add_name(label->out, name, label->escaping);
    BUF_ADD(label->out, "=");
    add_quoted(label->out, value);
}

/* One line; the bound is that of a bucket, or NULL. */
static void add_line(struct federate_writer *writer, const struct federate_row *row,
                     struct str name, const double *bound, double value)
{
    struct buf *out = writer->out;
    struct label_ctx label = {.out = out, .escaping = writer->escaping, .first = true};

    if (writer->escaping == ESCAPING_NONE && !metric_name_is_legacy(name)) {
        BUF_ADD(out, "{"); /* {"my.name",a="b"} */
        add_quoted(out, name);
        label.first = false;
    } else {
        exposition_add_name(out, name, writer->escaping);
    }
    federate_each_label(row, writer->external, add_label, &label);
    if (bound) {
        char text[NUMBER_TEXT_MAX];
        size_t len = number_format(text, *bound, NUMBER_G);
        add_label(&label, LABEL_LE, str_from(text, len));
    }
    BUF_ADD(out, "} ");
    buf_add_number(out, value == 0 ? 0 : value, NUMBER_G); /* -0 has no sign there. */
    BUF_ADD(out, " ");
    buf_add_i64(out, row->sample.time_ms);
    BUF_ADD(out, "\n");
}

/* Names are escaped before they get their suffixes. */
static struct str with_suffix(struct federate_writer *writer, struct str name, const char *suffix)
{
    struct buf text;

    buf_init(&text, ANSWER_BYTES_MAX);
    exposition_add_name(&text, name, writer->escaping);
    buf_add_str(&text, str_of(suffix));
    struct str out = arena_str(writer->arena, buf_str(&text));
    buf_deinit(&text);
    return out;
}

static void add_histogram(struct federate_writer *writer, const struct federate_row *row,
                          struct str name)
{
    const struct histogram *histogram = row->histogram;
    const double *counts = federate_bucket_counts(histogram, writer->arena);
    struct str bucket = with_suffix(writer, name, "_bucket");
    double last = INFINITY;

    for (uint32_t i = 0; i < histogram->bound_count; i++)
        add_line(writer, row, bucket, &histogram->bounds[i], counts[i]);
    add_line(writer, row, bucket, &last, histogram->count);
    add_line(writer, row, with_suffix(writer, name, "_sum"), NULL, histogram->sum);
    add_line(writer, row, with_suffix(writer, name, "_count"), NULL, histogram->count);
}

void federate_text_family(struct federate_writer *writer, const struct federate_row *row)
{
    BUF_ADD(writer->out, "# TYPE ");
    add_name(writer->out, labels_get(row->labels, LABEL_NAME), writer->escaping);
    buf_addf(writer->out, " %s\n", row->histogram ? "histogram" : "untyped");
}

void federate_text_row(struct federate_writer *writer, const struct federate_row *row)
{
    struct str name = labels_get(row->labels, LABEL_NAME);

    if (row->histogram)
        add_histogram(writer, row, name);
    else
        add_line(writer, row, name, NULL, row->sample.value);
}
