/* kubernetes_build: what the groups of all roles are put together from: labels of an object, of its
 * service, pod, containers, node and namespace. */
#include "kubernetes_build.h"

#include "base/hash.h"
#include "base/mem.h"

/* --- reading --- */

struct str kube_number_text(struct kube_build *build, const struct json *node)
{
    return arena_strf(&build->arena, "%lld", (long long)json_number(node));
}

struct str kube_lower(struct kube_build *build, struct str s)
{
    char *out = arena_alloc(&build->arena, s.len + 1);

    for (size_t i = 0; i < s.len; i++)
        out[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] | 0x20) : s.ptr[i];
    return str_from(out, s.len);
}

/* host:port, with brackets around IPv6. */
struct str kube_host_port(struct kube_build *build, struct str host, struct str port)
{
    if (str_find_char(host, ':') < host.len)
        return arena_strf(&build->arena, "[" STR_FMT "]:" STR_FMT, STR_ARG(host), STR_ARG(port));
    return arena_strf(&build->arena, STR_FMT ":" STR_FMT, STR_ARG(host), STR_ARG(port));
}

static bool is_parsed(const void *ctx, const void *key, uint32_t value)
{
    const struct kube_parsed *parsed = ctx, *wanted = key;

    return parsed[value].kind == wanted->kind && str_eq(parsed[value].key, wanted->key);
}

/* Another object; NULL when it is not known. */
const struct json *kube_build_find(struct kube_build *build, enum kube_kind kind, struct str key)
{
    const struct kube_object *object = build->lookup->find(build->lookup, kind, key);
    struct kube_parsed fresh = {.kind = kind, .key = key};
    uint64_t hash = hash64_mix((uint64_t)kind, hash64(key));
    struct err err;

    if (!object)
        return NULL;
    uint32_t index = map_find(&build->parsed_map, hash, &fresh, is_parsed, build->parsed.items);
    if (index != MAP_NONE)
        return build->parsed.items[index].root;
    fresh.key = arena_str(&build->arena, key);
    ENSURE(json_parse(&fresh.root, kube_object_text(object), &err));
    map_insert(&build->parsed_map, hash, (uint32_t)build->parsed.count);
    VEC_PUSH(&build->parsed, fresh);
    return fresh.root;
}

struct str kube_key_in(struct kube_build *build, struct str namespace, struct str name)
{
    return arena_strf(&build->arena, STR_FMT "/" STR_FMT, STR_ARG(namespace), STR_ARG(name));
}

/* --- writing --- */

/* __meta_kubernetes_<role><middle><key>, with the key's other characters as underscores. */
static char *put(char *at, struct str s)
{
    if (s.len > 0)
        memcpy(at, s.ptr, s.len);
    return at + s.len;
}

/* By hand: a large Endpoints object has tens of thousands of these. */
struct str kube_meta_name(struct kube_build *build, const char *role, const char *middle,
                          struct str key)
{
    struct str parts[] = {STR(META), str_of(role), str_of(middle), key};
    size_t len = parts[0].len + parts[1].len + parts[2].len + key.len;
    char *bytes = arena_alloc(&build->arena, len + 1), *end = bytes;

    for (size_t i = 0; i < COUNT_OF(parts); i++)
        end = put(end, parts[i]);
    for (size_t i = len - key.len; i < len; i++) {
        bool letter = (bytes[i] >= 'a' && bytes[i] <= 'z') || (bytes[i] >= 'A' && bytes[i] <= 'Z');
        if (!letter && (bytes[i] < '0' || bytes[i] > '9'))
            bytes[i] = '_';
    }
    return str_from(bytes, len);
}

void kube_set_pairs(struct kube_build *build, struct labels_builder *out, const struct json *pairs,
                    const char *role, const char *value_middle, const char *present_middle)
{
    for (size_t i = 0; json_type(pairs) == JSON_OBJECT && i < json_count(pairs); i++) {
        struct str key;
        const struct json *value = json_entry(pairs, i, &key);
        labels_builder_set(out, kube_meta_name(build, role, value_middle, key), json_str(value));
        labels_builder_set(out, kube_meta_name(build, role, present_middle, key), STR("true"));
    }
}

static void set_metadata(struct kube_build *build, struct labels_builder *out,
                         const struct json *meta, const char *role)
{
    kube_set_pairs(build, out, json_get(meta, "labels"), role, "_label_", "_labelpresent_");
    kube_set_pairs(build, out, json_get(meta, "annotations"), role, "_annotation_",
                   "_annotationpresent_");
}

void kube_set_object(struct kube_build *build, struct labels_builder *out,
                     const struct json *object, const char *role)
{
    const struct json *meta = json_get(object, "metadata");

    labels_builder_set(out, kube_meta_name(build, role, "_name", STR_EMPTY),
                       kube_text(meta, "name"));
    set_metadata(build, out, meta, role);
}

/* Ends a target. */
void kube_target_add(struct kube_build *build)
{
    group_writer_add(&build->targets, &build->target);
    labels_builder_clear(&build->target);
}

/* --- parts that several roles have --- */

void kube_attach_namespace(struct kube_build *build)
{
    const struct json *object =
        build->lookup->namespace ? kube_build_find(build, KUBE_NAMESPACE, build->namespace) : NULL;

    if (object)
        set_metadata(build, &build->common, json_get(object, "metadata"), "namespace");
}

void kube_attach_node(struct kube_build *build, struct labels_builder *out, struct str name)
{
    const struct json *object =
        build->lookup->node && name.len > 0 ? kube_build_find(build, KUBE_NODE, name) : NULL;

    if (object)
        kube_set_object(build, out, object, "node");
}

void kube_attach_service(struct kube_build *build, const struct json *service)
{
    if (service)
        kube_set_object(build, &build->common, service, "service");
}

const struct json *kube_controller_of(const struct json *object)
{
    const struct json *owners = kube_at(object, "metadata", "ownerReferences");

    for (size_t i = 0; i < json_count(owners); i++)
        if (json_bool(json_get(json_at(owners, i), "controller")))
            return json_at(owners, i);
    return NULL;
}

static struct str pod_ready(struct kube_build *build, const struct json *pod)
{
    const struct json *conditions = kube_at(pod, "status", "conditions");

    for (size_t i = 0; i < json_count(conditions); i++)
        if (str_eq(kube_text(json_at(conditions, i), "type"), STR("Ready")))
            return kube_lower(build, kube_text(json_at(conditions, i), "status"));
    return STR("unknown");
}

/* The owner of the pod's owner, when it is of this kind. */
static struct str owner_of_owner(struct kube_build *build, enum kube_kind kind,
                                 struct str namespace, struct str name, struct str wanted)
{
    const struct json *owner =
        kube_controller_of(kube_build_find(build, kind, kube_key_in(build, namespace, name)));

    return str_eq(kube_text(owner, "kind"), wanted) ? kube_text(owner, "name") : STR_EMPTY;
}

static void attach_owners(struct kube_build *build, struct labels_builder *out,
                          const struct json *pod, const struct json *owner)
{
    const struct kube_lookup *lookup = build->lookup;
    struct str namespace = json_str(kube_at(pod, "metadata", "namespace"));
    struct str kind = kube_text(owner, "kind"), name = kube_text(owner, "name");

    if (lookup->deployment && str_eq(kind, STR("ReplicaSet")))
        kube_set(out, META "pod_deployment_name",
                 owner_of_owner(build, KUBE_REPLICASET, namespace, name, STR("Deployment")));
    if (lookup->job && str_eq(kind, STR("Job")))
        kube_set(out, META "pod_job_name", name);
    if (lookup->cronjob && str_eq(kind, STR("Job")))
        kube_set(out, META "pod_cronjob_name",
                 owner_of_owner(build, KUBE_JOB, namespace, name, STR("CronJob")));
}

void kube_set_pod(struct kube_build *build, struct labels_builder *out, const struct json *pod)
{
    const struct json *status = json_get(pod, "status"), *owner = kube_controller_of(pod);

    kube_set_object(build, out, pod, "pod");
    kube_set(out, META "pod_ip", kube_text(status, "podIP"));
    kube_set(out, META "pod_ready", pod_ready(build, pod));
    kube_set(out, META "pod_phase", kube_text(status, "phase"));
    kube_set(out, META "pod_node_name", json_str(kube_at(pod, "spec", "nodeName")));
    kube_set(out, META "pod_host_ip", kube_text(status, "hostIP"));
    kube_set(out, META "pod_uid", json_str(kube_at(pod, "metadata", "uid")));
    if (!owner)
        return;
    kube_set(out, META "pod_controller_kind", kube_text(owner, "kind"));
    kube_set(out, META "pod_controller_name", kube_text(owner, "name"));
    attach_owners(build, out, pod, owner);
}

/* The containers of a pod and then its init containers. NULL after the last. */
const struct json *kube_container_at(const struct json *pod, size_t index, bool *init)
{
    const struct json *spec = json_get(pod, "spec");
    size_t count = json_count(json_get(spec, "containers"));

    *init = index >= count;
    return *init ? json_at(json_get(spec, "initContainers"), index - count)
                 : json_at(json_get(spec, "containers"), index);
}

struct str kube_container_id(const struct json *pod, struct str name, bool init)
{
    const struct json *list =
        kube_at(pod, "status", init ? "initContainerStatuses" : "containerStatuses");

    for (size_t i = 0; i < json_count(list); i++)
        if (str_eq(kube_text(json_at(list, i), "name"), name))
            return kube_text(json_at(list, i), "containerID");
    return STR_EMPTY;
}

void kube_set_container(struct kube_build *build, const struct json *container, bool init)
{
    struct labels_builder *out = &build->target;

    kube_set(out, META "pod_container_name", kube_text(container, "name"));
    kube_set(out, META "pod_container_image", kube_text(container, "image"));
    kube_set(out, META "pod_container_init", init ? STR("true") : STR("false"));
}

void kube_set_container_port(struct kube_build *build, const struct json *port, struct str protocol)
{
    struct labels_builder *out = &build->target;

    kube_set(out, META "pod_container_port_name", kube_text(port, "name"));
    kube_set(out, META "pod_container_port_number",
             kube_number_text(build, json_get(port, "containerPort")));
    kube_set(out, META "pod_container_port_protocol", protocol);
}
