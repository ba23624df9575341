/* resource: the table of what is common; plural and singular by English rules otherwise. */
#include "resource.h"

#define ROW(plural, singular, group, kind, version, namespaced)                                    \
    {                                                                                              \
        {plural, sizeof(plural) - 1}, {singular, sizeof(singular) - 1},                            \
            {group, sizeof(group) - 1}, {kind, sizeof(kind) - 1}, {version, sizeof(version) - 1},  \
            namespaced                                                                             \
    }

static const struct resource table[] = {
    ROW("namespaces", "namespace", "", "Namespace", "v1", false),
    ROW("nodes", "node", "", "Node", "v1", false),
    ROW("persistentvolumes", "persistentvolume", "", "PersistentVolume", "v1", false),
    ROW("pods", "pod", "", "Pod", "v1", true),
    ROW("services", "service", "", "Service", "v1", true),
    ROW("persistentvolumeclaims", "persistentvolumeclaim", "", "PersistentVolumeClaim", "v1", true),
    ROW("endpoints", "endpoints", "", "Endpoints", "v1", true),
    ROW("replicationcontrollers", "replicationcontroller", "", "ReplicationController", "v1", true),
    ROW("deployments", "deployment", "apps", "Deployment", "v1", true),
    ROW("statefulsets", "statefulset", "apps", "StatefulSet", "v1", true),
    ROW("daemonsets", "daemonset", "apps", "DaemonSet", "v1", true),
    ROW("replicasets", "replicaset", "apps", "ReplicaSet", "v1", true),
    ROW("jobs", "job", "batch", "Job", "v1", true),
    ROW("cronjobs", "cronjob", "batch", "CronJob", "v1", true),
    ROW("ingresses", "ingress", "networking.k8s.io", "Ingress", "v1", true),
    ROW("endpointslices", "endpointslice", "discovery.k8s.io", "EndpointSlice", "v1", true),
    ROW("horizontalpodautoscalers", "horizontalpodautoscaler", "autoscaling",
        "HorizontalPodAutoscaler", "v2", true),
};

/* `job` names the label of scrapes in every series: a rule that has the group `batch` means the
 * object, one without it as well. */
static bool is_called(const struct resource *resource, struct str name)
{
    return str_eq_nocase(name, resource->plural) || str_eq_nocase(name, resource->singular);
}

static struct str lower(struct str text, struct arena *arena)
{
    char *out = arena_alloc(arena, text.len + 1);
    for (size_t i = 0; i < text.len; i++)
        out[i] =
            text.ptr[i] >= 'A' && text.ptr[i] <= 'Z' ? (char)(text.ptr[i] | 0x20) : text.ptr[i];
    return (struct str){out, text.len};
}

static bool ends_in_sibilant(struct str s)
{
    return str_ends(s, STR("s")) || str_ends(s, STR("x")) || str_ends(s, STR("ch")) ||
           str_ends(s, STR("sh"));
}

static bool ends_in_consonant_y(struct str s)
{
    return s.len > 1 && s.ptr[s.len - 1] == 'y' && !strchr("aeiou", s.ptr[s.len - 2]);
}

/* What meta.UnsafeGuessKindToResource does. */
static struct str plural_of(struct str singular, struct arena *arena)
{
    if (str_ends(singular, STR("s")) || ends_in_sibilant(singular))
        return arena_strf(arena, STR_FMT "es", STR_ARG(singular));
    if (ends_in_consonant_y(singular))
        return arena_strf(arena, STR_FMT "ies", (int)singular.len - 1, singular.ptr);
    return arena_strf(arena, STR_FMT "s", STR_ARG(singular));
}

static struct str singular_of(struct str plural, struct arena *arena)
{
    if (str_ends(plural, STR("ies")) && plural.len > 3)
        return arena_strf(arena, STR_FMT "y", (int)plural.len - 3, plural.ptr);
    if (str_ends(plural, STR("es")) && ends_in_sibilant(str_first(plural, plural.len - 2)))
        return str_first(plural, plural.len - 2);
    return str_ends(plural, STR("s")) ? str_first(plural, plural.len - 1) : plural;
}

struct resource resource_find(struct str name, struct str group, struct arena *arena)
{
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (is_called(&table[i], name) && (group.len == 0 || str_eq(group, table[i].group)))
            return table[i];
    struct str word = lower(name, arena);
    bool plural = str_ends(word, STR("s")) && !str_ends(word, STR("ss"));
    struct resource made = {.plural = plural ? word : plural_of(word, arena),
                            .singular = plural ? singular_of(word, arena) : word,
                            .group = arena_str(arena, group),
                            .version = STR("v1")};
    char *kind = arena_alloc(arena, made.singular.len + 1);
    if (made.singular.len > 0)
        memcpy(kind, made.singular.ptr, made.singular.len);
    if (made.singular.len > 0 && kind[0] >= 'a' && kind[0] <= 'z')
        kind[0] = (char)(kind[0] - 'a' + 'A');
    made.kind = (struct str){kind, made.singular.len};
    return made;
}

struct resource resource_parse(struct str text, struct arena *arena)
{
    struct str group, name = str_cut(text, '.', &group);

    return resource_find(name, group.ptr ? group : STR_EMPTY, arena);
}

bool resource_eq(const struct resource *a, const struct resource *b)
{
    return str_eq(a->plural, b->plural) && str_eq(a->group, b->group);
}

void resource_add_name(struct buf *out, const struct resource *resource)
{
    buf_add_str(out, resource->plural);
    if (resource->group.len > 0)
        buf_addf(out, "." STR_FMT, STR_ARG(resource->group));
}

void resource_add_api_version(struct buf *out, const struct resource *resource)
{
    if (resource->group.len > 0)
        buf_addf(out, STR_FMT "/", STR_ARG(resource->group));
    buf_add_str(out, resource->version);
}

const struct resource *resource_at(size_t index)
{
    return index < COUNT_OF(table) ? &table[index] : NULL;
}
