/* documents: the JSON that goes out. */
#ifndef KUBE_DOCUMENTS_H
#define KUBE_DOCUMENTS_H

#include "ask.h"
#include "find.h"
#include "measure.h"

struct kube_status {
    int code;
    const char *reason; /* NotFound */
};

/* {"kind":"Status",...} */
void document_status(struct buf *out, struct str reason, int code, struct str message);
/* The metadata of Status and the like ends no line: one JSON object, no newline. */
void document_values(struct buf *out, const struct measurement *measurement); /* MetricValueList */
void document_external(struct buf *out,
                       const struct measurement *measurement); /* ExternalMetricValueList */

/* 2026-11-22T10:39:52Z, quoted. */
void document_add_time(struct buf *out, int64_t time_ms);

/* What a path of ASK_DOCUMENT shows, but for lists of metrics. False: it is such a list. */
bool document_static(struct buf *out, const struct ask *ask, const struct ask_groups *groups,
                     struct str version);
/* APIResourceList of custom.metrics.k8s.io or external.metrics.k8s.io, as the store is now. On a lane. */
MUST_CHECK bool document_metrics(struct buf *out, const struct ask *ask,
                                 const struct finder *finder, struct err *err);

#endif
