/* metric_text: families as text format 0.0.4 writes them. */
#ifndef API_METRIC_TEXT_H
#define API_METRIC_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/summary.h"

void metric_family(struct buf *out, const char *name, const char *type, const char *help);
void metric_value(struct buf *out, double value); /* With the blank before it and the newline. */
void metric_label_value(struct buf *out, struct str value); /* "quoted" */
/* name{label="value"} number */
void metric_add(struct buf *out, const char *name, const char *label, struct str value,
                double number);

/* Those that Prometheus' own summaries have: of durations of queries and of scrapes. */
extern const double metric_quantiles[3], metric_quantiles_wide[5];

struct metric_labels {
    const char *name; /* One label; NULL: none. */
    struct str value;
    const char *more; /* mechanism="dns", or NULL. */
};
/* The samples of a summary, and of a histogram of the same; metric_family goes before. */
void metric_summary(struct buf *out, const char *name, const struct metric_labels *labels,
                    const struct summary *summary, const double *quantiles, size_t count);
void metric_histogram(struct buf *out, const char *name, const struct metric_labels *labels,
                      const struct summary *summary);
/* 1m30s as Go's time.Duration says it. */
void metric_go_duration(struct buf *out, int64_t ms);

#endif
