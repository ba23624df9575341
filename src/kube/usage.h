/* usage: CPU and memory of pods and nodes, for metrics.k8s.io. On a lane. */
#ifndef KUBE_USAGE_H
#define KUBE_USAGE_H

#include "documents.h"

struct usage {
    const struct ask *ask;
    const struct objects *objects;
    struct finder finder;
    struct evaluator evaluator;
};

/* Writes a PodMetricsList or NodeMetricsList, or one PodMetrics or NodeMetrics. ERR_NOT_FOUND when
 * the one that is asked for has none. */
MUST_CHECK bool usage_document(struct buf *out, const struct usage *usage, struct err *err);

#endif
