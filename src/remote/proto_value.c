/* proto_value: what a series holds.
 *
 *     Label     { string name = 1; string value = 2; }
 *     Sample    { double value = 1; int64 timestamp = 2; }
 *     Exemplar  { Label labels = 1; double value = 2; int64 timestamp = 3; }   v2: labels_refs = 1
 *     Histogram { uint64 count_int = 1; double count_float = 2; double sum = 3; sint32 schema = 4;
 *                 double zero_threshold = 5; uint64 zero_count_int = 6; double zero_count_float = 7;
 *                 negative: spans = 8, sint64 deltas = 9, double counts = 10; positive: 11, 12, 13;
 *                 ResetHint reset_hint = 14; int64 timestamp = 15; double custom_values = 16; } */
#include "proto.h"

bool proto_read_label(struct reader in, struct label *out, struct err *err)
{
    *out = (struct label){STR_EMPTY, STR_EMPTY};
    while (reader_left(&in) > 0) {
        struct wire_field field;
        bool ok = wire_next(&in, "Label", &field, err);
        if (ok && field.number == 1)
            ok = wire_text(&in, field, "Name", &out->name, err);
        else if (ok && field.number == 2)
            ok = wire_text(&in, field, "Value", &out->value, err);
        else if (ok)
            ok = wire_skip(&in, field, err);
        if (!ok)
            return false;
    }
    return true;
}

bool proto_read_sample(struct reader in, struct sample *out, struct err *err)
{
    *out = (struct sample){0};
    while (reader_left(&in) > 0) {
        struct wire_field field;
        bool ok = wire_next(&in, "Sample", &field, err);
        if (ok && field.number == 1)
            ok = wire_double(&in, field, "Value", &out->value, err);
        else if (ok && field.number == 2)
            ok = wire_i64(&in, field, "Timestamp", &out->time_ms, err);
        else if (ok)
            ok = wire_skip(&in, field, err);
        if (!ok)
            return false;
    }
    return true;
}

/* --- labels by number --- */

static void push_label(struct proto_labels *labels, struct label label)
{
    vec_reserve((void **)&labels->items, &labels->capacity, labels->count + 1,
                sizeof(*labels->items));
    labels->items[labels->count++] = label;
}

bool proto_read_refs(struct proto_write *write, struct reader *in, struct wire_field field,
                     struct proto_labels *out, size_t max, struct str *wrong, struct err *err)
{
    struct reader numbers;
    uint64_t pair[2];
    size_t count = 0;

    if (!wire_numbers(in, field, "LabelsRefs", WIRE_VARINT, &numbers, err))
        return false;
    while (reader_left(&numbers) > 0) {
        pair[count++ % 2] = read_varint(&numbers);
        if (numbers.bad)
            return wire_cut(err);
        if (count % 2 != 0 || wrong->len > 0)
            continue;
        if (pair[0] >= write->symbols.count || pair[1] >= write->symbols.count) {
            *wrong = arena_strf(&write->kept,
                                "labelRefs %llu (name) = %llu (value) outside of symbols table "
                                "(size %zu)",
                                (unsigned long long)pair[0], (unsigned long long)pair[1],
                                write->symbols.count);
            continue;
        }
        if (out->count >= max)
            return err_set(err, ERR_BAD_DATA, "a series has more than %zu labels", max);
        struct label label = {write->symbols.items[pair[0]], write->symbols.items[pair[1]]};
        push_label(out, label);
    }
    if (count % 2 != 0)
        *wrong = arena_strf(&write->kept, "invalid labelRefs length %zu", count);
    return true;
}

/* --- exemplars --- */

static bool read_exemplar_labels(struct proto_write *write, struct reader *in,
                                 struct wire_field field, struct err *err)
{
    struct proto_labels labels = {write->exemplar_labels.items, write->exemplar_labels.count,
                                  write->exemplar_labels.capacity};
    size_t max = labels.count + PROTO_LABELS_MAX;
    struct str wrong = STR_EMPTY;
    struct reader inner;
    struct label label;
    bool ok;

    if (write->is_v2) {
        ok = proto_read_refs(write, in, field, &labels, max, &wrong, err);
    } else {
        ok = wire_message(in, field, "Labels", &inner, err) && proto_read_label(inner, &label, err);
        if (ok)
            push_label(&labels, label);
    }
    write->exemplar_labels.items = labels.items;
    write->exemplar_labels.count = labels.count;
    write->exemplar_labels.capacity = labels.capacity;
    return ok;
}

bool proto_read_exemplar(struct proto_write *write, struct reader in, struct err *err)
{
    struct proto_exemplar exemplar = {.first_label = write->exemplar_labels.count};

    if (write->exemplars.count >= PROTO_EXEMPLARS_MAX)
        return err_set(err, ERR_BAD_DATA, "a series has more than %d exemplars",
                       PROTO_EXEMPLARS_MAX);
    while (reader_left(&in) > 0) {
        struct wire_field field;
        bool ok = wire_next(&in, "Exemplar", &field, err);
        if (ok && field.number == 1)
            ok = read_exemplar_labels(write, &in, field, err);
        else if (ok && field.number == 2)
            ok = wire_double(&in, field, "Value", &exemplar.value, err);
        else if (ok && field.number == 3)
            ok = wire_i64(&in, field, "Timestamp", &exemplar.time_ms, err);
        else if (ok)
            ok = wire_skip(&in, field, err);
        if (!ok)
            return false;
        if (write->exemplar_labels.count > (size_t)PROTO_LABELS_MAX * 64)
            return err_set(err, ERR_BAD_DATA, "a series has more than %d labels of exemplars",
                           PROTO_LABELS_MAX * 64);
    }
    exemplar.label_count = write->exemplar_labels.count - exemplar.first_label;
    VEC_PUSH(&write->exemplars, exemplar);
    return true;
}

/* --- histograms --- */

static bool read_count(struct reader *in, struct wire_field field, const char *name, double *out,
                       struct err *err)
{
    uint64_t count = 0;

    if (!wire_u64(in, field, name, &count, err))
        return false;
    *out = (double)count;
    return true;
}

static bool read_hint(struct reader *in, struct wire_field field, uint8_t *out, struct err *err)
{
    uint64_t hint = 0;

    if (!wire_u64(in, field, "ResetHint", &hint, err))
        return false;
    *out = hint <= HISTOGRAM_GAUGE ? (uint8_t)hint : HISTOGRAM_UNKNOWN_RESET;
    return true;
}

static bool read_histogram_field(struct histogram_parts *parts, struct reader *in, int64_t *time_ms,
                                 struct err *err)
{
    struct wire_field field;

    if (!wire_next(in, "Histogram", &field, err))
        return false;
    switch (field.number) {
    case 1:
        parts->is_float = false;
        return read_count(in, field, "CountInt", &parts->count, err);
    case 2:
        parts->is_float = true;
        return wire_double(in, field, "CountFloat", &parts->count, err);
    case 3:
        return wire_double(in, field, "Sum", &parts->sum, err);
    case 4:
        return wire_zigzag32(in, field, "Schema", &parts->schema, err);
    case 5:
        return wire_double(in, field, "ZeroThreshold", &parts->zero_threshold, err);
    case 6:
        return read_count(in, field, "ZeroCountInt", &parts->zero_count, err);
    case 7:
        return wire_double(in, field, "ZeroCountFloat", &parts->zero_count, err);
    case 8:
        return histogram_parts_span(&parts->negative, in, field, "NegativeSpans", err);
    case 9:
        return histogram_parts_deltas(&parts->negative, in, field, "NegativeDeltas", err);
    case 10:
        return histogram_parts_counts(&parts->negative, in, field, "NegativeCounts", err);
    case 11:
        return histogram_parts_span(&parts->positive, in, field, "PositiveSpans", err);
    case 12:
        return histogram_parts_deltas(&parts->positive, in, field, "PositiveDeltas", err);
    case 13:
        return histogram_parts_counts(&parts->positive, in, field, "PositiveCounts", err);
    case 14:
        return read_hint(in, field, &parts->hint, err);
    case 15:
        return wire_i64(in, field, "Timestamp", time_ms, err);
    case 16:
        return histogram_parts_bounds(parts, in, field, "CustomValues", err);
    default:
        return wire_skip(in, field, err);
    }
}

bool proto_read_histogram(struct proto_write *write, struct reader in, struct err *err)
{
    struct proto_histogram out = {0};
    struct err wrong;

    histogram_parts_reset(&write->parts);
    while (reader_left(&in) > 0)
        if (!read_histogram_field(&write->parts, &in, &out.time_ms, err))
            return false;
    if (!histogram_parts_take(&write->parts, &write->kept, &out.histogram, &wrong)) {
        out.histogram = NULL;
        out.wrong = arena_str(&write->kept, str_first(str_of(wrong.text), 512));
    }
    if (write->kept.over_budget)
        return err_set(err, ERR_BAD_DATA, "the histograms of a request are more than %zu bytes",
                       PROTO_HISTOGRAM_BYTES_MAX);
    VEC_PUSH(&write->histograms, out);
    return true;
}
