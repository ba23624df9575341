/* proto: reads prometheus.WriteRequest off the wire.
 *
 *     WriteRequest { repeated TimeSeries timeseries = 1; reserved 2; repeated MetricMetadata
 * metadata = 3; } TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2; repeated
 * Exemplar exemplars = 3; repeated Histogram histograms = 4; } Label        { string name = 1;
 * string value = 2; } Sample       { double value = 1; int64 timestamp = 2; }
 *
 * Each field is a varint key (number << 3 | wire type) and a payload. Fields that are not named
 * here are skipped whatever they hold, groups of old protobuf included. A length never reaches past
 * its own message. Not a protobuf library: this is four messages, and a library would build the
 * whole tree before the first sample can be looked at. */
#include "proto.h"

#include <inttypes.h>

#include "base/mem.h"

enum wire { WIRE_VARINT, WIRE_FIXED64, WIRE_BYTES, WIRE_GROUP, WIRE_GROUP_END, WIRE_FIXED32 };

struct field {
    uint64_t number;
    unsigned wire;
};

static bool bad_end(struct err *err)
{
    return err_set(err, ERR_BAD_DATA, "unexpected EOF");
}

static bool read_field(struct reader *in, struct field *out, struct err *err)
{
    uint64_t key = read_varint(in);
    if (in->bad)
        return bad_end(err);
    out->number = key >> 3;
    out->wire = (unsigned)(key & 7);
    if (out->number == 0 || out->number > INT32_MAX)
        return err_set(err, ERR_BAD_DATA, "proto: illegal tag %" PRIu64 " (wire type %u)",
                       out->number, out->wire);
    return true;
}

/* Skips the payload of one field. A group is skipped by counting its nested starts and ends. */
static bool skip_field(struct reader *in, unsigned wire, struct err *err)
{
    size_t depth = 0;

    for (;;) {
        switch (wire) {
        case WIRE_VARINT:
            read_varint(in);
            break;
        case WIRE_FIXED64:
            read_u64(in);
            break;
        case WIRE_BYTES:
            read_varint_str(in);
            break;
        case WIRE_GROUP:
            depth++;
            break;
        case WIRE_GROUP_END:
            if (depth == 0)
                return err_set(err, ERR_BAD_DATA, "proto: unexpected end of group");
            depth--;
            break;
        case WIRE_FIXED32:
            read_u32(in);
            break;
        default:
            return err_set(err, ERR_BAD_DATA, "proto: illegal wireType %u", wire);
        }
        if (in->bad)
            return bad_end(err);
        if (depth == 0)
            return true;
        struct field inner;
        if (!read_field(in, &inner, err))
            return false;
        wire = inner.wire;
    }
}

static bool check_wire(struct field field, unsigned wanted, const char *name, struct err *err)
{
    if (field.wire == wanted)
        return true;
    return err_set(err, ERR_BAD_DATA, "proto: wrong wireType = %u for field %s", field.wire, name);
}

static bool read_message(struct reader *in, struct field field, const char *name,
                         struct reader *out, struct err *err)
{
    if (!check_wire(field, WIRE_BYTES, name, err))
        return false;
    struct str bytes = read_varint_str(in);
    if (in->bad)
        return bad_end(err);
    *out = reader_over(bytes);
    return true;
}

static bool read_text(struct reader *in, struct field field, const char *name, struct str *out,
                      struct err *err)
{
    if (!check_wire(field, WIRE_BYTES, name, err))
        return false;
    *out = read_varint_str(in);
    return in->bad ? bad_end(err) : true;
}

static bool read_label(struct reader in, struct label *out, struct err *err)
{
    *out = (struct label){STR_EMPTY, STR_EMPTY};
    while (reader_left(&in) > 0) {
        struct field field;
        bool ok = read_field(&in, &field, err);
        if (ok && field.number == 1)
            ok = read_text(&in, field, "Name", &out->name, err);
        else if (ok && field.number == 2)
            ok = read_text(&in, field, "Value", &out->value, err);
        else if (ok)
            ok = skip_field(&in, field.wire, err);
        if (!ok)
            return false;
    }
    return true;
}

static bool read_sample_field(struct reader *in, struct field field, struct sample *out,
                              struct err *err)
{
    switch (field.number) {
    case 1:
        if (!check_wire(field, WIRE_FIXED64, "Value", err))
            return false;
        out->value = sample_from_bits(read_u64(in));
        break;
    case 2:
        if (!check_wire(field, WIRE_VARINT, "Timestamp", err))
            return false;
        out->time_ms = (int64_t)read_varint(in);
        break;
    default:
        return skip_field(in, field.wire, err);
    }
    return in->bad ? bad_end(err) : true;
}

static bool read_sample(struct reader in, struct sample *out, struct err *err)
{
    *out = (struct sample){0};
    while (reader_left(&in) > 0) {
        struct field field;
        if (!read_field(&in, &field, err) || !read_sample_field(&in, field, out, err))
            return false;
    }
    return true;
}

static bool add_label(struct proto_write *write, struct reader in, struct err *err)
{
    struct label label;

    if (write->labels.count >= PROTO_LABELS_MAX)
        return err_set(err, ERR_BAD_DATA, "a series has more than %d labels", PROTO_LABELS_MAX);
    if (!read_label(in, &label, err))
        return false;
    VEC_PUSH(&write->labels, label);
    return true;
}

static bool add_sample(struct proto_write *write, struct reader in, struct err *err)
{
    struct sample sample;

    if (++write->sample_count > PROTO_SAMPLES_MAX)
        return err_set(err, ERR_BAD_DATA, "a request has more than %d samples", PROTO_SAMPLES_MAX);
    if (!read_sample(in, &sample, err))
        return false;
    VEC_PUSH(&write->samples, sample);
    return true;
}

static bool read_series_field(struct proto_write *write, struct reader *in, struct field field,
                              struct err *err)
{
    struct reader inner;

    switch (field.number) {
    case 1:
        return read_message(in, field, "Labels", &inner, err) && add_label(write, inner, err);
    case 2:
        return read_message(in, field, "Samples", &inner, err) && add_sample(write, inner, err);
    case 3:
        write->exemplar_count++;
        return read_message(in, field, "Exemplars", &inner, err);
    case 4:
        write->histogram_count++;
        return read_message(in, field, "Histograms", &inner, err);
    default:
        return skip_field(in, field.wire, err);
    }
}

static bool read_series(struct proto_write *write, struct reader in, struct err *err)
{
    VEC_CLEAR(&write->labels);
    VEC_CLEAR(&write->samples);
    write->exemplar_count = write->histogram_count = 0;
    while (reader_left(&in) > 0) {
        struct field field;
        if (!read_field(&in, &field, err) || !read_series_field(write, &in, field, err))
            return false;
    }
    return true;
}

void proto_write_init(struct proto_write *write, struct str bytes)
{
    *write = (struct proto_write){.in = reader_over(bytes)};
}

void proto_write_deinit(struct proto_write *write)
{
    VEC_FREE(&write->labels);
    VEC_FREE(&write->samples);
}

bool proto_write_next(struct proto_write *write, struct err *err)
{
    while (reader_left(&write->in) > 0) {
        struct field field;
        struct reader inner;
        if (!read_field(&write->in, &field, err))
            return false;
        if (field.number == 1)
            return read_message(&write->in, field, "Timeseries", &inner, err) &&
                   read_series(write, inner, err);
        if (field.number == 3)
            write->metadata_count++;
        if (!skip_field(&write->in, field.wire, err))
            return false;
    }
    return false;
}
