/* template: the part of Go's text/template that prometheus-adapter's configurations use, with << and >> around actions:
 *
 *     <<.Series>> <<.LabelMatchers>> <<.GroupBy>> <<index .LabelValuesByName "namespace">>
 *     <<.LabelValuesByName.namespace>> <<index .GroupBySlice 0>>     in queries
 *     <<.Resource>> <<.Group>>                                       in names of labels
 *
 * Anything else is refused when it is parsed. Immutable. */
#ifndef KUBE_TEMPLATE_H
#define KUBE_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "model/labels.h"

enum template_use { TEMPLATE_QUERY, TEMPLATE_LABEL };

struct template_part;

struct template
{
    struct template_part *parts; /* In the arena. */
    size_t count;
};

MUST_CHECK bool template_parse(struct template *out, struct str text, enum template_use use,
                               struct arena *arena, struct err *err);

/* Does it say .LabelValuesByName? */
bool template_has_values(const struct template *template);

struct template_values {
    struct str series, matchers;
    struct str group_by[3];
    size_t group_by_count;
    struct label values[2]; /* By name. */
    size_t value_count;
    struct str resource, group; /* Of labels: singular; dots are underscores already. */
};
/* Fails where a slice is too short, or a value of a label could mean more than a name in the query. */
MUST_CHECK bool template_render(const struct template *template,
                                const struct template_values *values, struct buf *out,
                                struct err *err);

#endif
