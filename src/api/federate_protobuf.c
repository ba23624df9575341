/* federate_protobuf: io.prometheus.client.MetricFamily, each with its length before it.
 *
 *     family   1 name, 3 type, 4 metric...
 *     metric   1 label{1 name, 2 value}..., 5 untyped{1 value} or 7 histogram, 6 timestamp_ms
 *
 * Histograms have float counts, native ones with their spans; those with custom buckets are the classic ones that they
 * were. Messages are put together from the inside, each in a buffer of its own. */
#include "federate.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/wire.h"
#include "core.h"

enum family_type { TYPE_UNTYPED = 3, TYPE_HISTOGRAM = 4, TYPE_GAUGE_HISTOGRAM = 5 };

struct label_ctx {
    struct buf *metric;
    struct buf label;
    struct buf name;
    enum exposition_escaping escaping;
};

static void add_key(struct buf *out, unsigned number, enum wire_type type)
{
    write_varint(out, (uint64_t)number << 3 | (unsigned)type);
}

static void add_bytes(struct buf *out, unsigned number, struct str bytes)
{
    add_key(out, number, WIRE_BYTES);
    write_varint_str(out, bytes);
}

static void add_varint(struct buf *out, unsigned number, uint64_t value)
{
    add_key(out, number, WIRE_VARINT);
    write_varint(out, value);
}

static void add_zigzag(struct buf *out, unsigned number, int32_t value)
{
    add_varint(out, number, ((uint32_t)value << 1) ^ (uint32_t)(value < 0 ? -1 : 0));
}

static void add_double(struct buf *out, unsigned number, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    add_key(out, number, WIRE_FIXED64);
    for (int i = 0; i < 8; i++)
        buf_add_char(out, (char)(bits >> (8 * i)));
}

static void add_label(void *ctx, struct str name, struct str value)
{
    struct label_ctx *label = ctx;

    buf_clear(&label->name);
    exposition_add_name(&label->name, name, label->escaping);
    buf_clear(&label->label);
    add_bytes(&label->label, 1, buf_str(&label->name));
    add_bytes(&label->label, 2, value);
    add_bytes(label->metric, 1, buf_str(&label->label));
}

static void add_spans(struct buf *out, unsigned number, const struct histogram_span *spans,
                      uint32_t count)
{
    struct buf span;

    buf_init(&span, 64);
    for (uint32_t i = 0; i < count; i++) {
        buf_clear(&span);
        add_zigzag(&span, 1, spans[i].offset);
        add_varint(&span, 2, spans[i].length);
        add_bytes(out, number, buf_str(&span));
    }
    buf_deinit(&span);
}

static void add_classic(struct federate_writer *writer, const struct histogram *histogram,
                        struct buf *out)
{
    double *counts = federate_bucket_counts(histogram, writer->arena);
    struct buf bucket;

    add_double(out, 2, histogram->sum);
    buf_init(&bucket, 64);
    for (uint32_t i = 0; i < histogram->bound_count; i++) {
        buf_clear(&bucket);
        add_double(&bucket, 2, histogram->bounds[i]);
        add_double(&bucket, 4, counts[i]);
        add_bytes(out, 3, buf_str(&bucket));
    }
    buf_deinit(&bucket);
    add_double(out, 4, histogram->count);
}

static void add_native(const struct histogram *histogram, struct buf *out)
{
    add_double(out, 2, histogram->sum);
    add_double(out, 4, histogram->count);
    add_zigzag(out, 5, histogram->schema);
    add_double(out, 6, histogram->zero_threshold);
    add_double(out, 8, histogram->zero_count);
    add_spans(out, 9, histogram->negative_spans, histogram->negative_span_count);
    for (uint32_t i = 0; i < histogram->negative_count; i++)
        add_double(out, 11, histogram->negative[i]);
    add_spans(out, 12, histogram->positive_spans, histogram->positive_span_count);
    for (uint32_t i = 0; i < histogram->positive_count; i++)
        add_double(out, 14, histogram->positive[i]);
}

static void add_metric(struct federate_writer *writer, const struct federate_row *row,
                       struct label_ctx *label)
{
    struct buf value;

    buf_init(&value, ANSWER_BYTES_MAX);
    buf_clear(label->metric);
    federate_each_label(row, writer->external, add_label, label);
    if (!row->histogram) {
        add_double(&value, 1, row->sample.value);
        add_bytes(label->metric, 5, buf_str(&value));
    }
    add_varint(label->metric, 6, (uint64_t)row->sample.time_ms);
    if (row->histogram) {
        if (histogram_is_custom(row->histogram))
            add_classic(writer, row->histogram, &value);
        else
            add_native(row->histogram, &value);
        add_bytes(label->metric, 7, buf_str(&value));
    }
    buf_deinit(&value);
}

void federate_protobuf_family(struct federate_writer *writer, const struct federate_row *rows,
                              size_t count)
{
    struct buf family, metric;
    struct label_ctx label = {.metric = &metric, .escaping = writer->escaping};

    buf_init(&family, ANSWER_BYTES_MAX);
    buf_init(&metric, ANSWER_BYTES_MAX);
    buf_init(&label.label, ANSWER_BYTES_MAX);
    buf_init(&label.name, ANSWER_BYTES_MAX);
    exposition_add_name(&label.name, labels_get(rows->labels, LABEL_NAME), writer->escaping);
    add_bytes(&family, 1, buf_str(&label.name));
    add_varint(&family, 3,
               !rows->histogram          ? TYPE_UNTYPED
               : federate_is_gauge(rows) ? TYPE_GAUGE_HISTOGRAM
                                         : TYPE_HISTOGRAM);
    for (size_t i = 0; i < count; i++) {
        add_metric(writer, &rows[i], &label);
        add_bytes(&family, 4, buf_str(&metric));
    }
    write_varint_str(writer->out, buf_str(&family));
    writer->out->overflow |= family.overflow;
    buf_deinit(&label.name);
    buf_deinit(&label.label);
    buf_deinit(&metric);
    buf_deinit(&family);
}
