/* relabel_plan: what relabel_rule_check finds out about a rule once, so that applying it rarely
 * runs a regex.
 *
 * Most rules in the wild have the default regex, a literal or a few (keep, drop), or a literal
 * prefix before (.+) (labelmap), and a replacement that is a plain text or $1. Immutable once made.
 */
#ifndef MODEL_RELABEL_PLAN_H
#define MODEL_RELABEL_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/str.h"
#include "model/relabel.h"

enum relabel_match {
    RELABEL_MATCH_REGEX,
    RELABEL_MATCH_PREFIX,   /* `prefix` and then anything: .* .+ (.*) (.+) */
    RELABEL_MATCH_LITERALS, /* One of `literals`. */
};

enum relabel_template {
    RELABEL_TEMPLATE_PLAIN, /* No '$' in it. */
    RELABEL_TEMPLATE_WHOLE, /* $0: the whole source value. */
    RELABEL_TEMPLATE_REST,  /* $1 of a prefix match: what follows the prefix. */
    RELABEL_TEMPLATE_REGEX, /* To be expanded by the regex. */
};

struct relabel_plan {
    struct arena arena; /* Holds the literals. */
    bool legacy_names;  /* A replace whose target is not a legacy name does nothing. */
    enum relabel_match match;
    struct str prefix;    /* Borrowed from the rule's regex_text. */
    bool rest_needed;     /* .+: at least one byte must follow the prefix. */
    bool rest_captured;   /* The rest is group 1. */
    struct str *literals; /* Sorted. */
    size_t literal_count;
    enum relabel_template target;
    enum relabel_template replacement;
};

struct relabel_plan *relabel_plan_new(const struct relabel_rule *rule, bool legacy_names);
void relabel_plan_free(struct relabel_plan *plan); /* NULL is fine. */

bool relabel_plan_matches(const struct relabel_rule *rule, struct str value);
bool relabel_name_is_valid(struct str name, bool legacy_names);

#endif
