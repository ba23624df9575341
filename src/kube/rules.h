/* rules: prometheus-adapter's configuration, read and checked.
 *
 *     text --rule_set_parse()--> rule_set --last rule_set_unref()--> freed
 *
 * Immutable; references are the loop thread's, any thread may read while one is held. */
#ifndef KUBE_RULES_H
#define KUBE_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/regex.h"
#include "model/matcher.h"
#include "resource.h"
#include "template.h"

/* --- rule_name.c: from names of series to names of metrics, and back where that is possible --- */

struct rule_name {
    struct str matches, as; /* As written, or what stands for it. */
    struct regex *regex;    /* Owned. NULL: any name, as it is. Around the pattern: .*?( )?.* */
    struct str expand;      /* `as` for that regex. */
    /* When `reversible`, only series_prefix X series_suffix gives metric_prefix X metric_suffix. */
    bool reversible, constant; /* constant: X is empty. */
    struct str series_prefix, series_suffix, metric_prefix, metric_suffix;
};

/* Empty texts: not given. */
MUST_CHECK bool rule_name_init(struct rule_name *name, struct str matches, struct str as,
                               struct arena *arena, struct err *err);
void rule_name_deinit(struct rule_name *name);
/* False: the rule is not about this series. The text is added to `out`. */
bool rule_name_metric(const struct rule_name *name, struct str series, struct buf *out);
/* The only name of series that a metric can come from; false when there may be several. */
bool rule_name_series(const struct rule_name *name, struct str metric, struct arena *arena,
                      struct str *out);
/* A regex that finds an unanchored pattern anywhere, as Go's MatchString. */
MUST_CHECK bool regex_new_unanchored(struct regex **out, struct str pattern, struct arena *arena,
                                     struct err *err);

/* --- rules.c --- */

struct label_resource {
    struct str label;
    struct resource resource;
};

struct resource_map {
    struct label_resource *overrides;
    size_t override_count;
    struct template label; /* By which the label of any resource is named. */
    bool has_label;
    bool namespaced;
};

/* The label that names a resource; false when there is none. */
bool resource_map_label(const struct resource_map *map, const struct resource *resource,
                        struct arena *arena, struct str *out);

struct name_filter {
    struct regex *regex; /* Owned. */
    bool negated;
};

struct rule {
    uint32_t line; /* 0: built in. */
    struct str series_query;
    struct matchers matchers; /* Owned. */
    struct str pinned;        /* The series' one name; empty: not said. */
    struct name_filter *filters;
    size_t filter_count;
    struct resource_map resources;
    struct rule_name name;
    struct str query_text;
    struct template query;
};

struct resource_rule {
    uint32_t line;
    bool given;
    struct template container_query, node_query;
    struct resource_map resources;
    struct str container_label;
};

struct rule_set {
    uint32_t refs;
    bool built_in;
    struct arena arena;
    struct rule *rules, *external;
    size_t rule_count, external_count;
    struct resource_rule cpu, memory;
    int64_t window_ms;
};

/* Errors begin with `line N: `. */
MUST_CHECK bool rule_set_parse(struct rule_set **out, struct str text, struct err *err);
/* From a file; an empty path: the rules that are built in. Errors name the file. */
MUST_CHECK bool rule_set_load(struct rule_set **out, struct str path, struct err *err);
uint64_t rule_file_checksum(struct str path);
struct rule_set *rule_set_ref(struct rule_set *set);
void rule_set_unref(struct rule_set *set); /* NULL is fine. */
/* The metric that a rule makes of a series' name; false: none. */
bool rule_metric(const struct rule *rule, struct str series, struct buf *out);

/* --- rules_built_in.c --- */

extern const char rules_built_in[];

#endif
