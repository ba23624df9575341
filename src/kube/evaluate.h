/* evaluate: a query at one moment, and when its series were really seen. Any thread. */
#ifndef KUBE_EVALUATE_H
#define KUBE_EVALUATE_H

#include <stdatomic.h>

#include "query.h"
#include "storage.h"

struct evaluator {
    struct storage *storage;
    int64_t now_ms, lookback_ms, timeout_ms;
    uint64_t samples_max;
    size_t bytes_max;
    const atomic_bool *canceled;
};

/* The newest sample of a series. */
struct last_sample {
    const struct labels *labels; /* The selection's. */
    int64_t time_ms;
    bool stale; /* The series has ended with it. */
};

struct evaluation {
    struct query *query; /* Owned. */
    const struct query_result *result;
    struct selection *selection; /* Owned. Of the query's first selector. */
    struct last_sample *last;    /* Owned. */
    size_t last_count;
    int64_t range_ms; /* The longest [range] in the query; 0: none. */
};

MUST_CHECK bool evaluate(const struct evaluator *evaluator, struct str text, struct evaluation *out,
                         struct err *err);
void evaluation_deinit(struct evaluation *evaluation);
/* The longest [5m] or [5m:1m] of a query; 0: none. */
int64_t query_text_range_ms(struct str text);

#endif
