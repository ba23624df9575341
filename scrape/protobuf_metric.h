/* protobuf_metric: one io.prometheus.client.Metric, taken apart.
 *
 *     Metric { LabelPair label = 1; Gauge gauge = 2; Counter counter = 3; Summary summary = 4;
 *              Untyped untyped = 5; int64 timestamp_ms = 6; Histogram histogram = 7; }
 *
 * Only the value that the family's type names is read (none for PROTOBUF_TYPE_COUNT). Texts point into the bytes; the arrays keep
 * their memory from metric to metric. */
#ifndef SCRAPE_PROTOBUF_METRIC_H
#define SCRAPE_PROTOBUF_METRIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/vec.h"
#include "model/histogram_parts.h"
#include "text_lex.h"

enum protobuf_type {
    PROTOBUF_COUNTER,
    PROTOBUF_GAUGE,
    PROTOBUF_SUMMARY,
    PROTOBUF_UNTYPED,
    PROTOBUF_HISTOGRAM,
    PROTOBUF_GAUGE_HISTOGRAM,
    PROTOBUF_TYPE_COUNT,
};

#define PROTOBUF_NO_EXEMPLAR UINT32_MAX

struct protobuf_bucket { /* Or a quantile: bound and value. */
    double bound, count;
    uint32_t exemplar; /* Index, or PROTOBUF_NO_EXEMPLAR. */
};

struct protobuf_exemplar {
    uint32_t first_label, label_count;
    double value;
    int64_t time_ms;
    bool has_time;
};

struct protobuf_metric {
    VEC(struct text_label) labels;
    int64_t time_ms; /* 0: none. */
    double value;    /* Counter, gauge, untyped. */
    uint32_t exemplar;
    double count, sum; /* Summary, histogram. */
    VEC(struct protobuf_bucket) buckets;
    bool is_native;
    struct histogram_parts parts;
    VEC(uint32_t) native_exemplars;
    VEC(struct protobuf_exemplar) exemplars;
    VEC(struct text_label) exemplar_labels;
};

void protobuf_metric_deinit(struct protobuf_metric *metric);
MUST_CHECK bool protobuf_metric_read(struct protobuf_metric *metric, struct str bytes,
                                     enum protobuf_type type, struct err *err);
/* Whether names and values of its labels may be such: looked at once the family is made known. */
MUST_CHECK bool protobuf_metric_check_labels(const struct protobuf_metric *metric, struct err *err);
struct text_exemplar protobuf_metric_exemplar(const struct protobuf_metric *metric, uint32_t index);

#endif
