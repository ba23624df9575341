/* matcher: one condition of a selector on one label. Immutable once made; any thread may match. */
#ifndef MODEL_MATCHER_H
#define MODEL_MATCHER_H

#include <stdbool.h>

#include "base/err.h"
#include "base/regex.h"
#include "base/str.h"
#include "model/labels.h"

enum matcher_type { MATCH_EQUAL, MATCH_NOT_EQUAL, MATCH_REGEX, MATCH_NOT_REGEX };

struct matcher {
    enum matcher_type type;
    struct str name;      /* Owned copy. */
    struct str value;     /* Owned copy: text or pattern. */
    struct regex *regex;  /* Owned; NULL unless a regex type. */
};

/* Copies name and value. Fails on a pattern that does not compile, with Go's text. */
MUST_CHECK bool matcher_init(struct matcher *matcher, enum matcher_type type, struct str name,
                             struct str value, struct err *err);
void matcher_deinit(struct matcher *matcher);

bool matcher_matches(const struct matcher *matcher, struct str value);
/* An absent label has the empty value. */
bool matchers_match(const struct matcher *matchers, size_t count, const struct labels *labels);
bool matcher_matches_empty(const struct matcher *matcher);
const char *matcher_type_text(enum matcher_type type); /* = != =~ !~ */
void matcher_print(struct buf *buf, const struct matcher *matcher); /* name="value", value by %q */

/* An owned set of matchers, as a selector or match[] holds it. */
struct matchers {
    struct matcher *items; /* Owned. */
    size_t count;
};
void matchers_deinit(struct matchers *matchers);

#endif
