/* kubernetes_read: the objects that watches know, for who asks about them by name and labels.
 *
 * An object is text; its labels are read out of it when somebody asks for the first time and stay
 * beside it until it changes. One whole watch answers alone; else all that see a part of what is
 * asked for answer together. */
#include <stdlib.h>

#include "base/mem.h"
#include "kubernetes.h"

static int compare_labels(const void *a, const void *b)
{
    return str_cmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

static struct str text_put(char **at, struct str text)
{
    struct str copy = {*at, text.len};

    if (text.len > 0)
        memcpy(*at, text.ptr, text.len);
    *at += text.len;
    return copy;
}

static struct kube_labels *labels_of(const struct json *pairs)
{
    size_t count = json_count(pairs), text_len = 0;

    for (size_t i = 0; i < count; i++) {
        struct str key;
        const struct json *value = json_entry(pairs, i, &key);
        text_len += key.len + json_str(value).len;
    }
    size_t head_len = sizeof(struct kube_labels) + count * sizeof(struct label);
    struct kube_labels *labels = mem_zalloc(head_len + text_len);
    char *at = (char *)labels + head_len;
    for (size_t i = 0; i < count; i++) {
        struct str key;
        const struct json *value = json_entry(pairs, i, &key);
        labels->items[i] = (struct label){text_put(&at, key), text_put(&at, json_str(value))};
    }
    labels->count = count;
    if (count > 1)
        qsort(labels->items, count, sizeof(labels->items[0]), compare_labels);
    return labels;
}

static void labels_read(struct kube_object *object)
{
    struct json *root = NULL;
    struct err err = {0};

    if (!json_parse(&root, kube_object_text(object), &err))
        root = NULL; /* Our own text: it parses. */
    object->labels = labels_of(json_get(json_get(root, "metadata"), "labels"));
    json_free(root);
}

struct reading {
    struct str namespace;
    kubernetes_object_fn fn;
    void *ctx;
};

static void tell_object(struct kube_object *object, bool namespaced, const struct reading *reading)
{
    struct str rest, key = kube_object_key(object), namespace = STR_EMPTY, name = key;

    if (namespaced) {
        namespace = str_cut(key, '/', &rest);
        name = rest;
    }
    if (namespaced && reading->namespace.len > 0 && !str_eq(namespace, reading->namespace))
        return;
    if (!object->labels)
        labels_read(object);
    reading->fn(reading->ctx, &(struct kubernetes_object){.namespace_name = namespace,
                                                          .name = name,
                                                          .labels = object->labels->items,
                                                          .label_count = object->labels->count});
}

static void tell_watch(const struct kube_watch *watch, bool namespaced,
                       const struct reading *reading)
{
    const struct kube_store *store = kube_watch_store(watch);

    for (size_t i = 0; i < store->slots.count; i++)
        if (store->slots.items[i])
            tell_object(store->slots.items[i], namespaced, reading);
}

/* Of replicasets and jobs no labels are kept. */
static bool kind_of_resource(struct str resource, enum kube_kind *out)
{
    for (enum kube_kind kind = KUBE_NODE; kind <= KUBE_NAMESPACE; kind++) {
        if (str_eq(resource, str_of(kube_kind_resource(kind)))) {
            *out = kind;
            return true;
        }
    }
    return false;
}

enum kubernetes_watched kube_hub_each_object(struct kube_hub *hub, struct str resource,
                                             struct str namespace, kubernetes_object_fn fn,
                                             void *ctx)
{
    struct reading reading = {namespace, fn, ctx};
    const struct kube_watch *whole_watch = NULL;
    bool syncing = false, found = false, whole;
    enum kube_kind kind;

    if (!kind_of_resource(resource, &kind))
        return KUBERNETES_NOT_WATCHED;
    bool namespaced = kube_kind_is_namespaced(kind);
    if (!namespaced)
        reading.namespace = namespace = STR_EMPTY;
    LIST_EACH (node, &hub->watches) {
        const struct kube_watch *watch = kube_watch_of(node);
        if (!kube_watch_sees(watch, kind, namespace, &whole))
            continue;
        found = true;
        syncing |= !kube_watch_synced(watch);
        if (whole && kube_watch_synced(watch) && !whole_watch)
            whole_watch = watch;
    }
    if (whole_watch) {
        tell_watch(whole_watch, namespaced, &reading);
        return KUBERNETES_WATCHED;
    }
    if (!found || syncing)
        return found ? KUBERNETES_SYNCING : KUBERNETES_NOT_WATCHED;
    LIST_EACH (node, &hub->watches) {
        const struct kube_watch *watch = kube_watch_of(node);
        if (kube_watch_sees(watch, kind, namespace, &whole))
            tell_watch(watch, namespaced, &reading);
    }
    return KUBERNETES_PARTIAL;
}
