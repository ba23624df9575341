/* regex: RE2 behind a C face. Patterns are anchored, and '.' matches a newline, as in Prometheus:
 * ^(?s:pattern)$. A compiled regex is immutable; any thread may match with it. */
#ifndef BASE_REGEX_H
#define BASE_REGEX_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct regex;

/* Error text as Go's regexp gives it: error parsing regexp: missing closing ): `^(?s:(a)$` */
MUST_CHECK bool regex_new(struct regex **out, struct str pattern, struct err *err);
/* Is the pattern good by itself, without what we put around it? `a)(b` is not, though ^(?s:a)(b)$ would be. */
MUST_CHECK bool regex_check(struct str pattern, struct err *err);
void regex_free(struct regex *regex); /* NULL is fine. */

bool regex_matches(const struct regex *regex, struct str subject);
/* On a match writes the template with $1, ${1}, $name, ${name} and $$ expanded as Go's Expand does. */
bool regex_expand(const struct regex *regex, struct str subject, struct str replacement,
                  struct buf *out);
struct str regex_pattern(const struct regex *regex);

/* When the pattern is one literal or an alternation of literals (a|b|c, also with a common prefix in
 * front of a group): fills *literals (array in the arena) and returns true; the regex matches exactly these. */
bool regex_literals(const struct regex *regex, struct arena *arena, struct str **literals,
                    size_t *count);

/* What plain text says about one alternative of a pattern: web-.*|.*-(a|b)[0-9]+-db is {prefix "web-", exact} and
 * {inner "-", suffix "-db"}. */
struct regex_piece {
    struct str text;
    bool gap; /* At least one character stands in front of it. */
};
struct regex_shape {
    struct str prefix, suffix;
    struct regex_piece *inner; /* In this order between prefix and suffix, not overlapping. */
    size_t inner_count;
    bool suffix_gap; /* At least one character stands in front of the suffix. */
    bool open;       /* False: the text is the prefix. */
    bool exact;      /* All that fits matches; else: all that matches fits. */
};
/* False when nothing is known (flags, or no text in an alternative). Shapes and texts are in the arena. */
bool regex_shapes(const struct regex *regex, struct arena *arena, struct regex_shape **shapes,
                  size_t *count);
bool regex_shape_fits(const struct regex_shape *shape, struct str subject);

#endif
