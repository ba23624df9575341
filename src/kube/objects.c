/* objects: see objects.h. */
#include "objects.h"

#include <stdlib.h>

#include "base/vec.h"

struct collecting {
    const struct ask *ask;
    struct arena *arena;
    bool labels;
    size_t seen;
    VEC(struct object) found;
};

int object_cmp(const void *a, const void *b)
{
    const struct object *x = a, *y = b;
    int order = str_cmp(x->namespace_name, y->namespace_name);

    return order ? order : str_cmp(x->name, y->name);
}

static const struct label *copy_labels(const struct kubernetes_object *object, struct arena *arena)
{
    struct label *labels = arena_alloc_array(arena, object->label_count + 1, sizeof(*labels));

    for (size_t i = 0; i < object->label_count; i++)
        labels[i] = (struct label){arena_str(arena, object->labels[i].name),
                                   arena_str(arena, object->labels[i].value)};
    return labels;
}

static void on_object(void *ctx, const struct kubernetes_object *object)
{
    struct collecting *c = ctx;

    c->seen++;
    if (c->ask->name.len > 0 && !str_eq(object->name, c->ask->name))
        return;
    if (!selector_matches(&c->ask->objects, object->labels, object->label_count))
        return;
    struct object found = {.namespace_name = arena_str(c->arena, object->namespace_name),
                           .name = arena_str(c->arena, object->name)};
    if (c->labels) {
        found.labels = copy_labels(object, c->arena);
        found.label_count = object->label_count;
    }
    VEC_PUSH(&c->found, found);
}

static void take_sorted(struct objects *out, struct collecting *c)
{
    VEC_SORT(&c->found, object_cmp);
    out->items = arena_alloc_array(c->arena, c->found.count + 1, sizeof(*out->items));
    for (size_t i = 0; i < c->found.count; i++) {
        if (out->count > 0 && object_cmp(&out->items[out->count - 1], &c->found.items[i]) == 0)
            continue;
        out->items[out->count++] = c->found.items[i];
    }
    out->watched_count = c->seen;
    VEC_FREE(&c->found);
}

static void take_named(struct objects *out, const struct ask *ask, struct arena *arena)
{
    out->items = ARENA_NEW(arena, struct object);
    out->items[0] = (struct object){.namespace_name = ask->namespace_name, .name = ask->name};
    out->count = 1;
    out->source = OBJECTS_NAMED;
}

void objects_find(struct objects *out, const struct ask *ask, struct discovery *discovery,
                  bool labels, struct arena *arena)
{
    struct collecting c = {.ask = ask, .arena = arena, .labels = labels};

    *out = (struct objects){.source = OBJECTS_UNWATCHED};
    if (ask->name.len > 0 && !labels && ask->objects.count == 0) {
        take_named(out, ask, arena); /* It need not exist. */
        return;
    }
    enum kubernetes_watched watched =
        discovery ? discovery_each_object(discovery, ask->resource.plural, ask->namespace_name,
                                          on_object, &c)
                  : KUBERNETES_NOT_WATCHED;
    switch (watched) {
    case KUBERNETES_WATCHED:
    case KUBERNETES_PARTIAL:
        out->source = watched == KUBERNETES_WATCHED ? OBJECTS_WATCHED : OBJECTS_PARTIAL;
        take_sorted(out, &c);
        break;
    case KUBERNETES_SYNCING:
        out->source = OBJECTS_SYNCING;
        break;
    case KUBERNETES_NOT_WATCHED:
        break;
    }
    if (watched == KUBERNETES_NOT_WATCHED && ask->name.len > 0)
        take_named(out, ask, arena);
}

const struct object *objects_get(const struct objects *objects, struct str namespace_name,
                                 struct str name)
{
    struct object wanted = {.namespace_name = namespace_name, .name = name};

    if (objects->count == 0)
        return NULL;
    return bsearch(&wanted, objects->items, objects->count, sizeof(wanted), object_cmp);
}

const char *object_source_text(enum object_source source)
{
    switch (source) {
    case OBJECTS_NAMED:
        return "named in the request";
    case OBJECTS_WATCHED:
        return "watched by discovery";
    case OBJECTS_PARTIAL:
        return "watched by discovery in part: its watches have selectors or namespaces";
    case OBJECTS_SYNCING:
        return "discovery has not listed them yet";
    case OBJECTS_UNWATCHED:
        return "not watched by discovery: taken from the labels of the series";
    }
    UNREACHABLE();
}
