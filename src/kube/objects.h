/* objects: which objects a request is about, as discovery knows them. Loop thread; the result is the arena's. */
#ifndef KUBE_OBJECTS_H
#define KUBE_OBJECTS_H

#include "ask.h"
#include "discovery.h"

enum object_source {
    OBJECTS_NAMED,     /* The request names one. */
    OBJECTS_WATCHED,   /* Those that discovery watches. */
    OBJECTS_PARTIAL,   /* The same, but discovery watches some only. */
    OBJECTS_SYNCING,   /* Discovery is not there yet. */
    OBJECTS_UNWATCHED, /* Nobody knows: those of which there are series. */
};

struct object {
    struct str namespace_name, name;
    const struct label
        *labels; /* Of pods and nodes that are asked for by name or all; else NULL. */
    size_t label_count;
};

struct objects {
    enum object_source source;
    struct object *items; /* Sorted by namespace and name, unique. */
    size_t count;
    size_t watched_count; /* In the namespace, before the label selector. */
};

/* `labels`: copy them, too. */
void objects_find(struct objects *out, const struct ask *ask, struct discovery *discovery,
                  bool labels, struct arena *arena);
int object_cmp(const void *a, const void *b);
/* The one with this name, of a set in one namespace; NULL: there is none. */
const struct object *objects_get(const struct objects *objects, struct str namespace_name,
                                 struct str name);
const char *object_source_text(enum object_source source);

#endif
