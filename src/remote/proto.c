/* proto: requests and series.
 *
 *     WriteRequest { TimeSeries timeseries = 1; MetricMetadata metadata = 3; }
 *     TimeSeries   { Label labels = 1; Sample samples = 2; Exemplar exemplars = 3;
 *                    Histogram histograms = 4; }
 *     v2.Request   { string symbols = 4; TimeSeries timeseries = 5; }
 *     v2.TimeSeries{ uint32 labels_refs = 1; Sample samples = 2; Histogram histograms = 3;
 *                    Exemplar exemplars = 4; Metadata metadata = 5; }
 *
 * Fields that are not named here are skipped whatever they hold. */
#include "proto.h"

#include <string.h>

static bool count_sample(struct proto_write *write, struct err *err)
{
    return ++write->sample_count <= PROTO_SAMPLES_MAX ||
           err_set(err, ERR_BAD_DATA, "a request has more than %d samples", PROTO_SAMPLES_MAX);
}

static bool add_label(struct proto_write *write, struct reader in, struct err *err)
{
    struct label label;

    if (write->labels.count >= PROTO_LABELS_MAX)
        return err_set(err, ERR_BAD_DATA, "a series has more than %d labels", PROTO_LABELS_MAX);
    if (!proto_read_label(in, &label, err))
        return false;
    VEC_PUSH(&write->labels, label);
    return true;
}

static bool add_refs(struct proto_write *write, struct reader *in, struct wire_field field,
                     struct err *err)
{
    struct proto_labels labels = {write->labels.items, write->labels.count, write->labels.capacity};
    bool ok =
        proto_read_refs(write, in, field, &labels, PROTO_LABELS_MAX, &write->wrong_labels, err);

    write->labels.items = labels.items;
    write->labels.count = labels.count;
    write->labels.capacity = labels.capacity;
    return ok;
}

static bool add_sample(struct proto_write *write, struct reader in, struct err *err)
{
    struct sample sample;

    if (!count_sample(write, err) || !proto_read_sample(in, &sample, err))
        return false;
    VEC_PUSH(&write->samples, sample);
    return true;
}

enum series_part { PART_LABELS, PART_SAMPLES, PART_EXEMPLARS, PART_HISTOGRAMS, PART_OTHER };

static enum series_part part_of(uint64_t number, bool is_v2)
{
    static const enum series_part v1[] = {PART_LABELS, PART_SAMPLES, PART_EXEMPLARS,
                                          PART_HISTOGRAMS};
    static const enum series_part v2[] = {PART_LABELS, PART_SAMPLES, PART_HISTOGRAMS,
                                          PART_EXEMPLARS};

    if (number == 0 || number > 4)
        return PART_OTHER;
    return is_v2 ? v2[number - 1] : v1[number - 1];
}

static bool read_series_field(struct proto_write *write, struct reader *in, struct wire_field field,
                              struct err *err)
{
    struct reader inner;

    switch (part_of(field.number, write->is_v2)) {
    case PART_LABELS:
        if (write->is_v2)
            return add_refs(write, in, field, err);
        return wire_message(in, field, "Labels", &inner, err) && add_label(write, inner, err);
    case PART_SAMPLES:
        return wire_message(in, field, "Samples", &inner, err) && add_sample(write, inner, err);
    case PART_EXEMPLARS:
        return wire_message(in, field, "Exemplars", &inner, err) &&
               proto_read_exemplar(write, inner, err);
    case PART_HISTOGRAMS:
        return wire_message(in, field, "Histograms", &inner, err) && count_sample(write, err) &&
               proto_read_histogram(write, inner, err);
    case PART_OTHER:
        write->metadata_count += write->is_v2 && field.number == 5;
        return wire_skip(in, field, err);
    }
    UNREACHABLE();
}

/* The labels that a series begins with, as senders write them: the bytes from the first tag to the
 * last text. Lengths of two bytes and more are seldom; then it ends before them. */
static struct str leading_labels(const struct reader *in)
{
    const uint8_t *at = in->at;

    while (in->end - at > 2 && at[0] == (1 << 3 | WIRE_BYTES)) {
        size_t len = at[1], head = 2;
        if (len > 127) {
            len = (len & 127) | (size_t)at[2] << 7;
            head = 3;
        }
        if ((head == 3 && at[2] > 127) || len > (size_t)(in->end - at) - head)
            break;
        at += head + len;
    }
    return str_from((const char *)in->at, (size_t)(at - in->at));
}

static void series_clear(struct proto_write *write)
{
    VEC_CLEAR(&write->labels);
    VEC_CLEAR(&write->samples);
    VEC_CLEAR(&write->histograms);
    VEC_CLEAR(&write->exemplars);
    VEC_CLEAR(&write->exemplar_labels);
    write->wrong_labels = write->label_bytes = STR_EMPTY;
    write->is_known = false;
}

/* A sample as senders write it: value, then time, zeroes left out. False: it is read the long way. */
static bool take_sample(struct proto_write *write, struct reader *in)
{
    struct sample sample = {0};
    const uint8_t *at = in->at;

    if (in->end - at < 2 || at[0] != (2 << 3 | WIRE_BYTES) || at[1] > in->end - at - 2 ||
        write->sample_count >= PROTO_SAMPLES_MAX)
        return false;
    const uint8_t *end = at + 2 + at[1];
    at += 2;
    if (end - at >= 9 && at[0] == (1 << 3 | WIRE_FIXED64)) {
        memcpy(&sample.value, at + 1, sizeof(sample.value));
        at += 9;
    }
    if (at < end && *at == (2 << 3 | WIRE_VARINT)) {
        uint64_t time = 0;
        unsigned shift = 0;
        do {
            if (++at == end || shift > 56)
                return false;
            time |= (uint64_t)(*at & 127) << shift;
            shift += 7;
        } while (*at > 127);
        sample.time_ms = (int64_t)time;
        at++;
    }
    if (at != end)
        return false;
    write->sample_count++;
    VEC_PUSH(&write->samples, sample);
    in->at = end;
    return true;
}

static bool read_fields(struct proto_write *write, struct reader *in, struct err *err)
{
    while (reader_left(in) > 0) {
        struct wire_field field;
        if (take_sample(write, in))
            continue;
        if (!wire_next(in, "TimeSeries", &field, err) || !read_series_field(write, in, field, err))
            return false;
    }
    return true;
}

static bool read_series(struct proto_write *write, struct reader in, struct err *err)
{
    struct reader whole = in;
    size_t sample_count = write->sample_count;

    series_clear(write);
    if (!write->known || write->is_v2)
        return read_fields(write, &in, err);
    struct str label_bytes = leading_labels(&in);
    struct reader labels = reader_over(label_bytes);
    bool known = label_bytes.len > 0 && write->known(write->known_ctx, label_bytes);
    if (!known && !read_fields(write, &labels, err))
        return false;
    size_t label_count = write->labels.count;
    in.at += label_bytes.len;
    if (!read_fields(write, &in, err))
        return false;
    if (write->labels.count != label_count) {
        /* More labels after other fields: the bytes do not tell which series it is. */
        if (!known)
            return true;
        write->sample_count = sample_count;
        series_clear(write);
        return read_fields(write, &whole, err);
    }
    write->is_known = known;
    write->label_bytes = label_bytes;
    return true;
}

void proto_write_init(struct proto_write *write, struct str bytes)
{
    *write = (struct proto_write){.in = reader_over(bytes)};
    arena_init(&write->kept, PROTO_HISTOGRAM_BYTES_MAX);
}

/* The table may stand anywhere in the message. */
static bool read_symbols(struct proto_write *write, struct err *err)
{
    struct reader in = write->in;

    while (reader_left(&in) > 0) {
        struct wire_field field;
        struct str symbol;
        if (!wire_next(&in, "Request", &field, err))
            return false;
        if (field.number != 4) {
            if (!wire_skip(&in, field, err))
                return false;
            continue;
        }
        if (!wire_text(&in, field, "Symbols", &symbol, err))
            return false;
        if (write->symbols.count >= PROTO_SYMBOLS_MAX)
            return err_set(err, ERR_BAD_DATA, "a request has more than %d symbols",
                           PROTO_SYMBOLS_MAX);
        VEC_PUSH(&write->symbols, symbol);
    }
    return true;
}

bool proto_write_init_v2(struct proto_write *write, struct str bytes, struct err *err)
{
    proto_write_init(write, bytes);
    write->is_v2 = true;
    return read_symbols(write, err);
}

void proto_write_deinit(struct proto_write *write)
{
    VEC_FREE(&write->symbols);
    VEC_FREE(&write->labels);
    VEC_FREE(&write->samples);
    VEC_FREE(&write->histograms);
    VEC_FREE(&write->exemplars);
    VEC_FREE(&write->exemplar_labels);
    histogram_parts_deinit(&write->parts);
    arena_deinit(&write->kept);
}

bool proto_write_next(struct proto_write *write, struct err *err)
{
    uint64_t series_number = write->is_v2 ? 5 : 1;

    while (reader_left(&write->in) > 0) {
        struct wire_field field;
        struct reader inner;
        if (!wire_next(&write->in, "WriteRequest", &field, err))
            return false;
        if (field.number == series_number)
            return wire_message(&write->in, field, "Timeseries", &inner, err) &&
                   read_series(write, inner, err);
        if (field.number == 3 && !write->is_v2)
            write->metadata_count++;
        if (!wire_skip(&write->in, field, err))
            return false;
    }
    return false;
}
