/* write_request: series by series into one batch. Version 1 skips series with bad labels and fails as
 * a whole for any bad sample; version 2 stores what is good and tells of the rest. Exemplars never
 * fail a request. */
#include "write_request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "model/labels.h"

#define FUTURE_MS_MAX    (10 * 60 * 1000)
#define TOO_FAR          "out of bounds: timestamp is too far in the future"
#define ERRORS_BYTES_MAX 65536

void write_request_init(struct write_request *request, struct write_receiver *receiver, bool is_v2,
                        int64_t now_ms)
{
    *request = (struct write_request){.receiver = receiver, .is_v2 = is_v2, .now_ms = now_ms};
    buf_init(&request->errors, ERRORS_BYTES_MAX);
}

static bool series_is_known(void *ctx, struct str label_bytes)
{
    struct write_request *request = ctx;

    request->key = hash128_seed(label_bytes, request->receiver->seed);
    request->known = storage_series_known(request->receiver->storage, request->key);
    return request->known != SERIES_REF_NONE;
}

/* --- labels --- */

static int label_compare(const void *a, const void *b)
{
    const struct label *left = a, *right = b;
    return str_cmp(left->name, right->name);
}

/* Sorts when the sender did not. Labels are few and mostly sorted: insertion is not needed for the
 * common case, and qsort bounds the hostile one. */
static void sort_labels(struct label *labels, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (str_cmp(labels[i - 1].name, labels[i].name) > 0) {
            qsort(labels, count, sizeof(*labels), label_compare);
            return;
        }
    }
}

static bool labels_are_valid(const struct label *labels, size_t count)
{
    bool named = false;

    for (size_t i = 0; i < count; i++) {
        if (!label_name_is_valid(labels[i].name) || !str_is_utf8(labels[i].value))
            return false;
        if (str_eq(labels[i].name, LABEL_NAME))
            named = labels[i].value.len > 0;
    }
    return named;
}

/* The name that stands twice, or an empty text. */
static struct str repeated_name(const struct label *sorted, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (str_eq(sorted[i - 1].name, sorted[i].name))
            return sorted[i].name;
    return STR_EMPTY;
}

/* A label with an empty value is as good as absent. */
static size_t drop_empty(struct label *labels, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (labels[i].value.len > 0)
            labels[kept++] = labels[i];
    }
    return kept;
}

static struct str label_value(const struct label *labels, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(labels[i].name, name))
            return labels[i].value;
    }
    return STR_EMPTY;
}

/* --- what was refused --- */

/* "<what><labels><after>" as one more line. */
static void refuse(struct write_request *request, const char *what, const struct labels *labels,
                   const char *after, struct str last)
{
    struct buf *errors = &request->errors;

    if (errors->overflow)
        return;
    if (errors->len > 0)
        buf_add_char(errors, '\n');
    buf_addf(errors, "%s", what);
    if (labels)
        labels_print(errors, labels);
    buf_addf(errors, "%s", after);
    buf_add_str(errors, str_first(last, 512));
}

static struct labels *labels_of(const struct label *items, size_t count)
{
    struct labels_builder builder;

    labels_builder_init(&builder);
    for (size_t i = 0; i < count; i++)
        if (items[i].value.len > 0)
            labels_builder_set(&builder, items[i].name, items[i].value);
    struct labels *labels = labels_build(&builder);
    labels_builder_deinit(&builder);
    return labels;
}

static void refuse_series(struct write_request *request, const char *what, const char *after,
                          struct str last)
{
    struct labels *labels = labels_of(request->proto.labels.items, request->proto.labels.count);

    refuse(request, what, labels, after, last);
    labels_unref(labels);
}

/* --- one series --- */

static void count_invalid(struct write_request *request)
{
    request->counted.invalid_label_series++;
    request->counted.invalid_label_samples +=
        request->proto.samples.count + request->proto.histograms.count;
}

/* Sorts the labels. False: the series is passed over, or (v1, err set) the request fails. */
static bool labels_check(struct write_request *request, struct err *err)
{
    struct proto_write *proto = &request->proto;

    if (proto->wrong_labels.len > 0) {
        refuse(request, "parsing labels for series: ", NULL, "", proto->wrong_labels);
        count_invalid(request);
        return false;
    }
    if (!labels_are_valid(proto->labels.items, proto->labels.count)) {
        if (request->is_v2)
            refuse_series(request, "invalid metric name or labels, got ", "", STR_EMPTY);
        count_invalid(request);
        return false;
    }
    sort_labels(proto->labels.items, proto->labels.count);
    struct str twice = repeated_name(proto->labels.items, proto->labels.count);
    if (twice.len > 0 && request->is_v2) {
        refuse_series(request, "invalid labels for series, labels ", ", duplicated label ", twice);
        count_invalid(request);
        return false;
    }
    if (twice.len > 0)
        return err_set(err, ERR_BAD_DATA,
                       "label name \"" STR_FMT "\" is not unique: invalid sample", STR_ARG(twice));
    return true;
}

/* False (err set): version 1 fails here. */
static bool check_time(struct write_request *request, int64_t time_ms, bool *good, struct err *err)
{
    *good = time_ms <= request->now_ms + FUTURE_MS_MAX;
    if (*good)
        return true;
    if (!request->is_v2)
        return err_set(err, ERR_BAD_DATA, TOO_FAR);
    refuse_series(request, TOO_FAR " for series ", "", STR_EMPTY);
    return true;
}

static bool check_histogram(struct write_request *request, const struct proto_histogram *histogram,
                            bool *good, struct err *err)
{
    if (!check_time(request, histogram->time_ms, good, err))
        return false;
    if (!*good || histogram->histogram)
        return true;
    *good = false;
    if (!request->is_v2)
        return err_set_str(err, ERR_BAD_DATA, histogram->wrong);
    refuse_series(request, "invalid histogram for series ", ": ", histogram->wrong);
    return true;
}

static bool add_samples(struct write_request *request, series_ref ref, struct err *err)
{
    bool good;

    VEC_EACH (sample, &request->proto.samples) {
        if (!check_time(request, sample->time_ms, &good, err))
            return false;
        if (good)
            batch_add(&request->batch, ref, sample->time_ms, sample->value);
    }
    VEC_EACH (histogram, &request->proto.histograms) {
        if (!check_histogram(request, histogram, &good, err))
            return false;
        if (good)
            batch_add_histogram(&request->batch, ref, histogram->time_ms, histogram->histogram);
    }
    return true;
}

static void add_exemplars(struct write_request *request, series_ref ref)
{
    const struct proto_write *proto = &request->proto;

    for (size_t i = 0; i < proto->exemplars.count; i++) {
        const struct proto_exemplar *exemplar = &proto->exemplars.items[i];
        struct write_exemplar added = {ref, exemplar->time_ms, exemplar->value,
                                       request->exemplar_labels.count, exemplar->label_count};
        for (size_t l = 0; l < exemplar->label_count; l++)
            VEC_PUSH(&request->exemplar_labels,
                     proto->exemplar_labels.items[exemplar->first_label + l]);
        if (exemplar->label_count > 1)
            qsort(&request->exemplar_labels.items[added.first_label], added.label_count,
                  sizeof(struct label), label_compare);
        VEC_PUSH(&request->exemplars, added);
    }
}

static bool add_of_series(struct write_request *request, series_ref ref, struct err *err)
{
    if (!add_samples(request, ref, err))
        return false;
    if (request->proto.exemplars.count > 0)
        add_exemplars(request, ref);
    return true;
}

/* The series of the labels, pinned until the append is done. SERIES_REF_NONE: it was refused, and the rest goes on, or
 * (err set) the request fails. */
static series_ref series_of_labels(struct write_request *request, struct err *err)
{
    struct proto_write *proto = &request->proto;
    struct label *labels = proto->labels.items;
    struct err why = {0};
    size_t count = proto->labels.count = drop_empty(labels, proto->labels.count);
    struct storage_group *group =
        write_group_of(request->receiver, label_value(labels, count, LABEL_JOB),
                       label_value(labels, count, LABEL_INSTANCE));
    series_ref ref = storage_series(request->receiver->storage, group, labels, count,
                                    labels_hash(labels, count), &why);

    if (ref != SERIES_REF_NONE) {
        VEC_PUSH(&request->pins, ref);
        if (proto->label_bytes.len > 0)
            storage_series_know(request->receiver->storage, request->key, ref);
        return ref;
    }
    if (why.code != ERR_LIMIT && !(request->is_v2 && why.code == ERR_BAD_DATA)) {
        *err = why;
        return SERIES_REF_NONE;
    }
    request->refused += why.code == ERR_LIMIT;
    if (why.code != ERR_LIMIT || request->refused == 1)
        refuse_series(request, "", ": ", str_of(why.text));
    return SERIES_REF_NONE;
}

static bool add_series(struct write_request *request, struct err *err)
{
    struct proto_write *proto = &request->proto;
    series_ref ref = request->known;

    if (proto->is_known)
        return add_of_series(request, ref, err);
    if (!labels_check(request, err))
        return err->code == ERR_NONE;
    bool empty = proto->samples.count + proto->histograms.count == 0;
    if (empty && request->is_v2)
        refuse_series(request,
                      "TimeSeries must contain at least one sample or histogram for series ", "",
                      STR_EMPTY);
    if (empty && (request->is_v2 || proto->exemplars.count == 0))
        return true;
    ref = series_of_labels(request, err);
    if (ref == SERIES_REF_NONE)
        return err->code == ERR_NONE;
    return add_of_series(request, ref, err);
}

/* --- the whole --- */

static const char *outcome_text(uint8_t outcome)
{
    switch ((enum sample_outcome)outcome) {
    case SAMPLE_DUPLICATE:
        return "duplicate sample for timestamp";
    case SAMPLE_OUT_OF_ORDER:
        return "out of order sample";
    case SAMPLE_OUT_OF_BOUNDS:
        return "out of bounds";
    case SAMPLE_TOO_OLD:
        return "too old sample";
    default:
        return NULL;
    }
}

/* What storage did with each sample. */
static void count_outcomes(struct write_request *request)
{
    VEC_EACH (sample, &request->batch.samples) {
        const char *text = outcome_text(sample->outcome);
        if (!text) {
            request->written.histograms += sample->kind == SAMPLE_HISTOGRAM;
            request->written.samples += sample->kind == SAMPLE_FLOAT;
            continue;
        }
        if (request->errors.overflow)
            continue;
        struct labels *labels = storage_series_labels(request->receiver->storage, sample->ref);
        char what[64];
        snprintf(what, sizeof(what), "%s for series ", text);
        refuse(request, what, labels, "", STR_EMPTY);
        labels_unref(labels);
    }
}

static void store_exemplars(struct write_request *request)
{
    struct write_stats *counted = &request->counted;

    VEC_EACH (exemplar, &request->exemplars) {
        struct exemplar item = {
            .time_ms = exemplar->time_ms,
            .value = exemplar->value,
            .labels = exemplar->label_count > 0
                          ? &request->exemplar_labels.items[exemplar->first_label]
                          : NULL,
            .label_count = exemplar->label_count,
        };
        switch (storage_exemplar_add(request->receiver->storage, exemplar->ref, &item)) {
        case EXEMPLAR_OFF:
            counted->exemplars_ignored++;
            request->written.exemplars += request->is_v2;
            break;
        case EXEMPLAR_STORED:
        case EXEMPLAR_SAME:
            request->written.exemplars++;
            break;
        case EXEMPLAR_OUT_OF_ORDER:
            counted->exemplars_out_of_order++;
            break;
        case EXEMPLAR_TOO_LONG:
        case EXEMPLAR_INVALID:
            counted->exemplars_ignored++;
            break;
        }
    }
    if (counted->exemplars_out_of_order > 0)
        LOG_W("Error on ingesting out-of-order exemplars", "num_dropped",
              log_fmt("%llu", (unsigned long long)counted->exemplars_out_of_order));
}

static bool read_all(struct write_request *request, struct str bytes, struct err *err)
{
    if (request->is_v2 && !proto_write_init_v2(&request->proto, bytes, err))
        return false;
    if (!request->is_v2)
        proto_write_init(&request->proto, bytes);
    request->proto.known = series_is_known;
    request->proto.known_ctx = request;
    while (proto_write_next(&request->proto, err)) {
        if (!add_series(request, err))
            return false;
    }
    return err->code == ERR_NONE;
}

bool write_request_append(struct write_request *request, struct str bytes, struct err *err)
{
    struct append_options options = {.all_or_nothing = !request->is_v2, .now_ms = request->now_ms};
    struct append_result result = {0};

    if (!read_all(request, bytes, err))
        return false;
    if (request->refused > 1 && !request->errors.overflow)
        buf_addf(&request->errors, "\nand %" PRIu64 " more new series", request->refused - 1);
    if (request->batch.samples.count > 0) {
        if (!storage_append(request->receiver->storage, NULL, &request->batch, &options, &result,
                            err))
            return false;
        count_outcomes(request);
    }
    store_exemplars(request);
    return true;
}

void write_request_release(struct write_request *request)
{
    VEC_EACH (ref, &request->pins)
        storage_series_release(request->receiver->storage, *ref);
    VEC_FREE(&request->pins);
    VEC_FREE(&request->exemplars);
    VEC_FREE(&request->exemplar_labels);
    proto_write_deinit(&request->proto);
}

void write_request_deinit(struct write_request *request)
{
    batch_deinit(&request->batch);
    buf_deinit(&request->errors);
}
