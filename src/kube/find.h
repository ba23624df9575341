/* find: which rule serves a metric, and from which series, as the store is now. Any thread. */
#ifndef KUBE_FIND_H
#define KUBE_FIND_H

#include "ask.h"
#include "rules.h"
#include "storage.h"

#define FIND_WINDOW_MS                                                                             \
    INT64_C(600000) /* Series that had samples within; prometheus-adapter's default. */

struct finder {
    struct storage *storage;
    const struct rule_set *rules;
    struct arena *arena;
    int64_t from_ms, to_ms;
};

struct found {
    const struct rule *rule; /* NULL: none serves it. */
    bool external;
    struct str series;
    struct str label;           /* That names the object; empty: external. */
    struct str namespace_label; /* Empty: the namespace does not matter. */
};

/* Why a rule does not serve what is asked for; in the arena. */
struct trial {
    const struct rule *rule;
    struct str series; /* A name that would give the metric; may be empty. */
    struct str why;    /* Empty: it does. */
};
struct trials {
    struct trial *items; /* NULL: nobody wants to know. */
    size_t count;
};

/* Of several rules the last one that has series, as prometheus-adapter. With trials all rules are
 * tried: room for all of them is there. */
MUST_CHECK bool rule_find(const struct finder *finder, const struct ask *ask, struct found *out,
                          struct trials *trials, struct err *err);
/* Adds matchers of the namespace and of the object label to a rule's. */
struct constraint {
    struct str name, value;
    bool not_empty; /* name!="" instead of name="value" */
};
/* Sorted names of series that a rule selects under constraints; at most `limit` (0: all). */
MUST_CHECK bool rule_series_names(const struct finder *finder, const struct rule *rule,
                                  const struct constraint *constraints, size_t count, size_t limit,
                                  struct str **out, size_t *out_count, struct err *err);

#endif
