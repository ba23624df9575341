/* ask: what a request asks for, read from its path and query. Texts are the request's arena's. */
#ifndef KUBE_ASK_H
#define KUBE_ASK_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "kube.h"
#include "resource.h"
#include "selector.h"

#define GROUP_CUSTOM   "custom.metrics.k8s.io"
#define GROUP_EXTERNAL "external.metrics.k8s.io"
#define GROUP_RESOURCE "metrics.k8s.io"

#define PATH_SEGMENTS_MAX 12

struct path {
    struct str segments[PATH_SEGMENTS_MAX]; /* Decoded. */
    size_t count;
};

/* Splits, then decodes: %2F stays inside its segment. Empty segments are left out. False: too many
 * segments, or a bad escape. */
MUST_CHECK bool path_parse(struct path *out, struct str target, struct arena *arena);

enum ask_kind {
    ASK_NOTHING,  /* No such path; `err` of ask_parse says why. */
    ASK_HEALTH,   /* /healthz and the like. */
    ASK_DOCUMENT, /* Discovery: see documents.h. */
    ASK_OBJECTS,  /* custom.metrics.k8s.io */
    ASK_EXTERNAL,
    ASK_PODS, /* metrics.k8s.io */
    ASK_NODES,
};

struct ask {
    enum ask_kind kind;
    struct path path;
    struct str group, version;
    struct str namespace_name; /* Empty: none, or any. */
    struct resource resource;  /* Of objects, pods and nodes. */
    struct str name;           /* Empty: all that `objects` selects. */
    struct str metric;
    struct selector objects, series;
    struct kube_attributes attributes;
};

/* Which APIs there are besides custom.metrics.k8s.io. */
struct ask_groups {
    bool external, resource;
};

/* The path. What is wrong with it is in err (ERR_NOT_FOUND), and kind is ASK_NOTHING. */
void ask_parse(struct ask *out, struct str target, const struct ask_groups *groups,
               struct arena *arena, struct err *err);
/* labelSelector, metricLabelSelector, fieldSelector; others are ignored. */
MUST_CHECK bool ask_parse_query(struct ask *ask, const struct http_params *params,
                                struct arena *arena, struct err *err);

#endif
