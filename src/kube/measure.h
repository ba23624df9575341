/* measure: the values of a metric, for custom.metrics.k8s.io and external.metrics.k8s.io. On a lane. */
#ifndef KUBE_MEASURE_H
#define KUBE_MEASURE_H

#include "evaluate.h"
#include "find.h"
#include "objects.h"

enum item_state {
    ITEM_GOOD,
    ITEM_NO_SERIES, /* None with its label. */
    ITEM_STALE,     /* Its series have ended; time_ms says when. */
    ITEM_NO_VALUE,  /* There are series, but the query gives nothing. */
    ITEM_NOT_A_NUMBER,
    ITEM_AMBIGUOUS, /* The query gives several values. */
};

struct item {
    struct str namespace_name, name; /* Of the object. */
    const struct labels *labels;     /* External: of the result, in the evaluation. */
    double value;
    int64_t time_ms; /* Of the newest sample. */
    enum item_state state;
    bool has_series, has_value;
};

struct measurement {
    /* In: */
    const struct ask *ask;
    const struct objects *objects; /* NULL: external. */
    struct finder finder;
    struct evaluator evaluator;
    struct trials *trials; /* May be NULL. */
    /* Out, in the finder's arena: */
    struct found found;
    struct str query;
    struct item *items;
    size_t count, good_count;
    struct str *others; /* Objects that are not asked for, but have series; a few. */
    size_t other_count;
    int64_t window_ms; /* 0: not known. */
    struct evaluation evaluation;
};

/* ERR_NOT_FOUND: no rule, no series or no value; the text says why. ERR_BAD_DATA: the request is not
 * good. With trials also then as much as there is is filled in. */
MUST_CHECK bool measure(struct measurement *measurement, struct err *err);
void measurement_deinit(struct measurement *measurement);
const char *item_state_text(enum item_state state);

#endif
