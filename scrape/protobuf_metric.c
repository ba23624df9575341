/* protobuf_metric: see protobuf_metric.h. Fields that are not named here are skipped, created
 * timestamps among them. */
#include "protobuf_metric.h"

#include "base/wire.h"

/* Of one metric: two bytes may claim any of these. */
#define LABELS_MAX    10000
#define BUCKETS_MAX   HISTOGRAM_BUCKETS_MAX
#define EXEMPLARS_MAX 10000

/* The integer and the float spelling of one number: the float counts when it is not zero. */
struct number_pair {
    uint64_t integer;
    double real;
};

static double number_of(struct number_pair pair)
{
    return pair.real != 0 ? pair.real : (double)pair.integer;
}

void protobuf_metric_deinit(struct protobuf_metric *metric)
{
    VEC_FREE(&metric->labels);
    VEC_FREE(&metric->buckets);
    histogram_parts_deinit(&metric->parts);
    VEC_FREE(&metric->native_exemplars);
    VEC_FREE(&metric->exemplars);
    VEC_FREE(&metric->exemplar_labels);
}

static bool check_count(size_t count, size_t max, const char *what, struct err *err)
{
    return count < max || err_set(err, ERR_BAD_DATA, "a metric has more than %zu %s", max, what);
}

static void metric_reset(struct protobuf_metric *metric)
{
    VEC_CLEAR(&metric->labels);
    VEC_CLEAR(&metric->buckets);
    VEC_CLEAR(&metric->native_exemplars);
    VEC_CLEAR(&metric->exemplars);
    VEC_CLEAR(&metric->exemplar_labels);
    histogram_parts_reset(&metric->parts);
    metric->time_ms = 0;
    metric->value = metric->count = metric->sum = 0;
    metric->exemplar = PROTOBUF_NO_EXEMPLAR;
    metric->is_native = false;
}

static bool read_label(struct reader *in, struct wire_field field, struct text_label *out,
                       struct err *err)
{
    struct reader pair;

    *out = (struct text_label){.name = STR_EMPTY, .value = STR_EMPTY, .name_quoted = true};
    if (!wire_message(in, field, "Label", &pair, err))
        return false;
    while (reader_left(&pair) > 0) {
        if (!wire_next(&pair, "LabelPair", &field, err))
            return false;
        bool ok = field.number == 1   ? wire_text(&pair, field, "Name", &out->name, err)
                  : field.number == 2 ? wire_text(&pair, field, "Value", &out->value, err)
                                      : wire_skip(&pair, field, err);
        if (!ok)
            return false;
    }
    return true;
}

bool protobuf_metric_check_labels(const struct protobuf_metric *metric, struct err *err)
{
    for (size_t i = 0; i < metric->labels.count; i++) {
        const struct text_label *label = &metric->labels.items[i];
        if (label->name.len == 0 || !str_is_utf8(label->name))
            return err_set(err, ERR_BAD_DATA, "invalid label name: " STR_FMT,
                           STR_ARG(str_first(label->name, 512)));
        if (!str_is_utf8(label->value))
            return err_set(err, ERR_BAD_DATA, "invalid label value: " STR_FMT,
                           STR_ARG(str_first(label->value, 512)));
    }
    return true;
}

/* google.protobuf.Timestamp */
static bool read_time(struct reader *in, struct wire_field field, int64_t *time_ms, struct err *err)
{
    struct reader inner;
    int64_t seconds = 0;
    int32_t nanos = 0;

    if (!wire_message(in, field, "Timestamp", &inner, err))
        return false;
    while (reader_left(&inner) > 0) {
        if (!wire_next(&inner, "Timestamp", &field, err))
            return false;
        bool ok = field.number == 1   ? wire_i64(&inner, field, "Seconds", &seconds, err)
                  : field.number == 2 ? wire_i32(&inner, field, "Nanos", &nanos, err)
                                      : wire_skip(&inner, field, err);
        if (!ok)
            return false;
    }
    *time_ms = (int64_t)((uint64_t)seconds * 1000 + (uint64_t)(int64_t)(nanos / 1000000));
    return true;
}

static bool read_exemplar_field(struct protobuf_metric *metric, struct protobuf_exemplar *exemplar,
                                struct reader *in, struct err *err)
{
    struct wire_field field;
    struct text_label label;

    if (!wire_next(in, "Exemplar", &field, err))
        return false;
    switch (field.number) {
    case 1:
        if (!read_label(in, field, &label, err) ||
            !check_count(metric->exemplar_labels.count, LABELS_MAX, "labels of exemplars", err))
            return false;
        VEC_PUSH(&metric->exemplar_labels, label);
        exemplar->label_count++;
        return true;
    case 2:
        return wire_double(in, field, "Value", &exemplar->value, err);
    case 3:
        exemplar->has_time = true;
        return read_time(in, field, &exemplar->time_ms, err);
    default:
        return wire_skip(in, field, err);
    }
}

static bool read_exemplar(struct protobuf_metric *metric, struct reader *in,
                          struct wire_field field, uint32_t *out, struct err *err)
{
    struct protobuf_exemplar exemplar = {.first_label = (uint32_t)metric->exemplar_labels.count};
    struct reader inner;

    if (!wire_message(in, field, "Exemplar", &inner, err) ||
        !check_count(metric->exemplars.count, EXEMPLARS_MAX, "exemplars", err))
        return false;
    while (reader_left(&inner) > 0)
        if (!read_exemplar_field(metric, &exemplar, &inner, err))
            return false;
    *out = (uint32_t)metric->exemplars.count;
    VEC_PUSH(&metric->exemplars, exemplar);
    return true;
}

struct text_exemplar protobuf_metric_exemplar(const struct protobuf_metric *metric, uint32_t index)
{
    const struct protobuf_exemplar *exemplar = &metric->exemplars.items[index];

    return (struct text_exemplar){
        .labels = exemplar->label_count > 0 ? &metric->exemplar_labels.items[exemplar->first_label]
                                            : NULL,
        .label_count = exemplar->label_count,
        .value = exemplar->value,
        .time_ms = exemplar->time_ms,
        .has_time = exemplar->has_time,
    };
}

/* Gauge, Untyped {double value = 1;}; Counter with Exemplar exemplar = 2. */
static bool read_plain(struct protobuf_metric *metric, struct reader in, enum protobuf_type type,
                       struct err *err)
{
    bool is_counter = type == PROTOBUF_COUNTER;
    const char *message = is_counter ? "Counter" : type == PROTOBUF_GAUGE ? "Gauge" : "Untyped";

    while (reader_left(&in) > 0) {
        struct wire_field field;
        if (!wire_next(&in, message, &field, err))
            return false;
        bool ok = field.number == 1 ? wire_double(&in, field, "Value", &metric->value, err)
                  : field.number == 2 && is_counter
                      ? read_exemplar(metric, &in, field, &metric->exemplar, err)
                      : wire_skip(&in, field, err);
        if (!ok)
            return false;
    }
    return true;
}

/* Quantile {double quantile = 1; double value = 2;} */
static bool read_quantile(struct protobuf_metric *metric, struct reader *in,
                          struct wire_field field, struct err *err)
{
    struct protobuf_bucket quantile = {.exemplar = PROTOBUF_NO_EXEMPLAR};
    struct reader inner;

    if (!wire_message(in, field, "Quantile", &inner, err) ||
        !check_count(metric->buckets.count, BUCKETS_MAX, "buckets", err))
        return false;
    while (reader_left(&inner) > 0) {
        if (!wire_next(&inner, "Quantile", &field, err))
            return false;
        bool ok = field.number == 1   ? wire_double(&inner, field, "Quantile", &quantile.bound, err)
                  : field.number == 2 ? wire_double(&inner, field, "Value", &quantile.count, err)
                                      : wire_skip(&inner, field, err);
        if (!ok)
            return false;
    }
    VEC_PUSH(&metric->buckets, quantile);
    return true;
}

/* Summary {uint64 sample_count = 1; double sample_sum = 2; Quantile quantile = 3;} */
static bool read_summary(struct protobuf_metric *metric, struct reader in, struct err *err)
{
    uint64_t count = 0;

    while (reader_left(&in) > 0) {
        struct wire_field field;
        if (!wire_next(&in, "Summary", &field, err))
            return false;
        bool ok = field.number == 1   ? wire_u64(&in, field, "SampleCount", &count, err)
                  : field.number == 2 ? wire_double(&in, field, "SampleSum", &metric->sum, err)
                  : field.number == 3 ? read_quantile(metric, &in, field, err)
                                      : wire_skip(&in, field, err);
        if (!ok)
            return false;
    }
    metric->count = (double)count;
    return true;
}

/* Bucket {uint64 cumulative_count = 1; double upper_bound = 2; Exemplar exemplar = 3;
 *         double cumulative_count_float = 4;} */
static bool read_bucket(struct protobuf_metric *metric, struct reader *in, struct wire_field field,
                        struct err *err)
{
    struct protobuf_bucket bucket = {.exemplar = PROTOBUF_NO_EXEMPLAR};
    struct number_pair count = {0};
    struct reader inner;

    if (!wire_message(in, field, "Bucket", &inner, err) ||
        !check_count(metric->buckets.count, BUCKETS_MAX, "buckets", err))
        return false;
    while (reader_left(&inner) > 0) {
        bool ok = wire_next(&inner, "Bucket", &field, err);
        if (ok && field.number == 1)
            ok = wire_u64(&inner, field, "CumulativeCount", &count.integer, err);
        else if (ok && field.number == 2)
            ok = wire_double(&inner, field, "UpperBound", &bucket.bound, err);
        else if (ok && field.number == 3)
            ok = read_exemplar(metric, &inner, field, &bucket.exemplar, err);
        else if (ok && field.number == 4)
            ok = wire_double(&inner, field, "CumulativeCountFloat", &count.real, err);
        else if (ok)
            ok = wire_skip(&inner, field, err);
        if (!ok)
            return false;
    }
    bucket.count = number_of(count);
    VEC_PUSH(&metric->buckets, bucket);
    return true;
}

struct histogram_numbers {
    struct number_pair count, zero_count;
};

static bool read_native_exemplar(struct protobuf_metric *metric, struct reader *in,
                                 struct wire_field field, struct err *err)
{
    uint32_t index = 0;

    if (!read_exemplar(metric, in, field, &index, err))
        return false;
    VEC_PUSH(&metric->native_exemplars, index);
    return true;
}

static bool read_histogram_field(struct protobuf_metric *metric, struct histogram_numbers *numbers,
                                 struct reader *in, struct err *err)
{
    struct histogram_parts *parts = &metric->parts;
    struct wire_field field;

    if (!wire_next(in, "Histogram", &field, err))
        return false;
    switch (field.number) {
    case 1:
        return wire_u64(in, field, "SampleCount", &numbers->count.integer, err);
    case 2:
        return wire_double(in, field, "SampleSum", &metric->sum, err);
    case 3:
        return read_bucket(metric, in, field, err);
    case 4:
        return wire_double(in, field, "SampleCountFloat", &numbers->count.real, err);
    case 5:
        return wire_zigzag32(in, field, "Schema", &parts->schema, err);
    case 6:
        return wire_double(in, field, "ZeroThreshold", &parts->zero_threshold, err);
    case 7:
        return wire_u64(in, field, "ZeroCount", &numbers->zero_count.integer, err);
    case 8:
        return wire_double(in, field, "ZeroCountFloat", &numbers->zero_count.real, err);
    case 9:
        return histogram_parts_span(&parts->negative, in, field, "NegativeSpan", err);
    case 10:
        return histogram_parts_deltas(&parts->negative, in, field, "NegativeDelta", err);
    case 11:
        return histogram_parts_counts(&parts->negative, in, field, "NegativeCount", err);
    case 12:
        return histogram_parts_span(&parts->positive, in, field, "PositiveSpan", err);
    case 13:
        return histogram_parts_deltas(&parts->positive, in, field, "PositiveDelta", err);
    case 14:
        return histogram_parts_counts(&parts->positive, in, field, "PositiveCount", err);
    case 16:
        return read_native_exemplar(metric, in, field, err);
    default:
        return wire_skip(in, field, err);
    }
}

/* Spans, or a zero bucket, make it native: one without observations has an empty span. */
static bool read_histogram(struct protobuf_metric *metric, struct reader in, struct err *err)
{
    struct histogram_parts *parts = &metric->parts;
    struct histogram_numbers numbers = {0};

    while (reader_left(&in) > 0)
        if (!read_histogram_field(metric, &numbers, &in, err))
            return false;
    metric->count = number_of(numbers.count);
    metric->is_native = parts->positive.spans.count > 0 || parts->negative.spans.count > 0 ||
                        parts->zero_threshold > 0 || numbers.zero_count.integer > 0;
    parts->is_float = numbers.count.real > 0 || numbers.zero_count.real > 0;
    parts->sum = metric->sum;
    parts->count = parts->is_float ? numbers.count.real : (double)numbers.count.integer;
    parts->zero_count =
        parts->is_float ? numbers.zero_count.real : (double)numbers.zero_count.integer;
    return true;
}

static bool read_value(struct protobuf_metric *metric, struct reader in, enum protobuf_type type,
                       struct err *err)
{
    if (type == PROTOBUF_SUMMARY)
        return read_summary(metric, in, err);
    if (type == PROTOBUF_HISTOGRAM || type == PROTOBUF_GAUGE_HISTOGRAM)
        return read_histogram(metric, in, err);
    return read_plain(metric, in, type, err);
}

bool protobuf_metric_read(struct protobuf_metric *metric, struct str bytes, enum protobuf_type type,
                          struct err *err)
{
    static const char *const names[] = {"",        "Label",   "Gauge",       "Counter",
                                        "Summary", "Untyped", "TimestampMs", "Histogram"};
    static const unsigned value_fields[PROTOBUF_TYPE_COUNT + 1] = {
        [PROTOBUF_COUNTER] = 3, [PROTOBUF_GAUGE] = 2,     [PROTOBUF_SUMMARY] = 4,
        [PROTOBUF_UNTYPED] = 5, [PROTOBUF_HISTOGRAM] = 7, [PROTOBUF_GAUGE_HISTOGRAM] = 7};
    struct reader in = reader_over(bytes), value = {0};

    metric_reset(metric);
    while (reader_left(&in) > 0) {
        struct wire_field field;
        struct text_label label;
        if (!wire_next(&in, "Metric", &field, err))
            return false;
        bool ok = true;
        if (field.number == 1 && (ok = read_label(&in, field, &label, err)))
            VEC_PUSH(&metric->labels, label);
        else if (field.number == value_fields[type])
            ok = wire_message(&in, field, names[field.number], &value, err);
        else if (field.number == 6)
            ok = wire_i64(&in, field, "TimestampMs", &metric->time_ms, err);
        else if (field.number != 1)
            ok = wire_skip(&in, field, err);
        if (!ok)
            return false;
        if (!check_count(metric->labels.count, LABELS_MAX + 1, "labels", err))
            return false;
    }
    return read_value(metric, value, type, err);
}
