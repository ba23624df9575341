/* selector: Kubernetes' label selectors: a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1
 *
 * Immutable; texts are the arena's or borrowed from what was parsed. */
#ifndef KUBE_SELECTOR_H
#define KUBE_SELECTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "model/labels.h"

#define SELECTOR_PARTS_MAX  256
#define SELECTOR_VALUES_MAX 4096

enum selector_op {
    SELECT_EQUAL,
    SELECT_NOT_EQUAL,
    SELECT_IN,
    SELECT_NOT_IN,
    SELECT_EXISTS,
    SELECT_MISSING,
    SELECT_ABOVE,
    SELECT_BELOW,
};

struct selector_part {
    struct str key;
    enum selector_op op;
    struct str *values; /* Sorted. */
    size_t value_count;
};

struct selector {
    struct selector_part *parts;
    size_t count; /* 0: all. */
};

MUST_CHECK bool selector_parse(struct selector *out, struct str text, struct arena *arena,
                               struct err *err);
/* Labels sorted by name; values may be empty. */
bool selector_matches(const struct selector *selector, const struct label *labels, size_t count);
/* As PromQL matchers, with a comma before each unless *first. Fails on > and <. `names`: the label of
 * each part, or NULL: its key. */
MUST_CHECK bool selector_add_matchers(const struct selector *selector, const struct str *names,
                                      struct buf *out, bool *first, struct err *err);
/* A LabelSelector object, or null. */
void selector_add_json(const struct selector *selector, struct buf *out);
/* name="value", name=~"a|b" with the values taken literally. */
void matcher_add_values(struct buf *out, bool *first, struct str name, const char *one_op,
                        const char *many_op, const struct str *values, size_t count);
/* A pattern that matches only the text. */
void regex_add_quoted(struct buf *out, struct str text);

#endif
