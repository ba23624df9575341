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

static bool read_series(struct proto_write *write, struct reader in, struct err *err)
{
    VEC_CLEAR(&write->labels);
    VEC_CLEAR(&write->samples);
    VEC_CLEAR(&write->histograms);
    VEC_CLEAR(&write->exemplars);
    VEC_CLEAR(&write->exemplar_labels);
    write->wrong_labels = STR_EMPTY;
    while (reader_left(&in) > 0) {
        struct wire_field field;
        if (!wire_next(&in, &field, err) || !read_series_field(write, &in, field, err))
            return false;
    }
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
        if (!wire_next(&in, &field, err))
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
        if (!wire_next(&write->in, &field, err))
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
