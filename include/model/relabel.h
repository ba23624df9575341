/* relabel: rules that rewrite, keep or drop label sets. Immutable once made; any thread may apply them. */
#ifndef MODEL_RELABEL_H
#define MODEL_RELABEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/regex.h"
#include "base/str.h"
#include "model/labels.h"

#define RELABEL_ACTIONS(X)                                                                    \
    X(RELABEL_REPLACE, "replace") X(RELABEL_KEEP, "keep") X(RELABEL_DROP, "drop")             \
    X(RELABEL_KEEPEQUAL, "keepequal") X(RELABEL_DROPEQUAL, "dropequal")                       \
    X(RELABEL_HASHMOD, "hashmod") X(RELABEL_LABELMAP, "labelmap")                             \
    X(RELABEL_LABELDROP, "labeldrop") X(RELABEL_LABELKEEP, "labelkeep")                       \
    X(RELABEL_LOWERCASE, "lowercase") X(RELABEL_UPPERCASE, "uppercase")

enum relabel_action {
#define X(action, text) action,
    RELABEL_ACTIONS(X)
#undef X
};

struct relabel_plan; /* How to apply a rule, mostly without its regex; src/model/relabel_plan.h. */

/* One rule. All texts are owned by whoever owns the rule (config's arena); the regex by the rule. */
struct relabel_rule {
    enum relabel_action action;
    struct str *source_labels;
    size_t source_label_count;
    struct str separator;    /* Default ";" */
    struct str regex_text;   /* Default "(.*)" */
    struct regex *regex;     /* Compiled by relabel_rule_check. */
    struct relabel_plan *plan; /* Made by relabel_rule_check; owned. */
    uint64_t modulus;
    struct str target_label;
    struct str replacement;  /* Default "$1" */
    /* Which fields the configuration wrote: for the checks and for printing it back. */
    bool has_separator, has_regex, has_modulus, has_target_label, has_replacement, has_source_labels, has_action;
};

struct relabel_rules {
    struct relabel_rule *items;
    size_t count;
};

void relabel_rule_init(struct relabel_rule *rule); /* The defaults. */
void relabel_rule_deinit(struct relabel_rule *rule); /* Frees the regex and the plan. */
bool relabel_action_parse(struct str text, enum relabel_action *out); /* Case-insensitive, as Prometheus. */
const char *relabel_action_text(enum relabel_action action);
/* Checks the rule with Prometheus' texts and compiles its regex. `legacy_names`: names must be legacy ones. */
MUST_CHECK bool relabel_rule_check(struct relabel_rule *rule, bool legacy_names, struct err *err);

/* Applies the rules in order to `labels`; new texts go to the arena. False: the label set is dropped. */
bool relabel_apply(const struct relabel_rules *rules, struct labels_builder *labels, struct arena *arena);

#endif
