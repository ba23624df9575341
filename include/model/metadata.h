/* metadata: what an exporter says of a metric family. */
#ifndef MODEL_METADATA_H
#define MODEL_METADATA_H

#include "base/str.h"

#define METRIC_TYPES(X)                                                                    \
    X(METRIC_UNKNOWN, "unknown") X(METRIC_COUNTER, "counter") X(METRIC_GAUGE, "gauge")     \
    X(METRIC_HISTOGRAM, "histogram") X(METRIC_GAUGEHISTOGRAM, "gaugehistogram")            \
    X(METRIC_SUMMARY, "summary") X(METRIC_INFO, "info") X(METRIC_STATESET, "stateset")

enum metric_type {
#define X(type, text) type,
    METRIC_TYPES(X)
#undef X
};

const char *metric_type_text(enum metric_type type);

struct metadata {
    struct str metric;
    enum metric_type type;
    struct str help;
    struct str unit;
};

#endif
