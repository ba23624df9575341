/* resource: what kinds of objects metrics are about: pods, deployments.apps, ... */
#ifndef KUBE_RESOURCE_H
#define KUBE_RESOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct resource {
    struct str plural;   /* pods */
    struct str singular; /* pod */
    struct str group;    /* Empty: core. */
    struct str kind;     /* Pod */
    struct str version;  /* v1 */
    bool namespaced;     /* Known to be in namespaces. */
};

/* The one that is meant by `pod`, `Pods` or `pods`, in a group or (empty) in the one that it belongs
 * to. One that is not known is made up by rule, in the arena. */
struct resource resource_find(struct str name, struct str group, struct arena *arena);
/* `pods`, `deployments.apps`: as in a path. */
struct resource resource_parse(struct str text, struct arena *arena);
bool resource_eq(const struct resource *a, const struct resource *b);
void resource_add_name(struct buf *out, const struct resource *resource); /* deployments.apps */
void resource_add_api_version(struct buf *out, const struct resource *resource); /* apps/v1 */
/* All that are known. */
const struct resource *resource_at(size_t index); /* NULL after the last. */

#endif
