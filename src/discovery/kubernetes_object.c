/* kubernetes_object: the fields of an object that targets are made of, as JSON again.
 *
 * Most of an object is of no use here: managedFields alone is half of a pod. What is kept stays
 * text, because it is read only when the object or one near it changes, and a tree takes many times
 * the memory. Numbers are kept when they are whole, which all of ours are. */
#include "base/mem.h"
#include "kubernetes.h"

#define TEXT_BYTES_MAX ((size_t)8 << 20)

/* A field that is kept; without children all of its value is. Children apply to each item of an
 * array. */
struct kept {
    const char *name;
    const struct kept *children;
};

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }

static const struct kept owner_kept[] = {{"kind", NULL}, {"name", NULL}, {"controller", NULL}, END};
static const struct kept meta_kept[] = {
    {"name", NULL},
    {"namespace", NULL},
    {"uid", NULL},
    {"labels", NULL},
    {"annotations", NULL},
    {"ownerReferences", owner_kept},
    END,
};
static const struct kept bare_meta_kept[] = {
    {"name", NULL}, {"namespace", NULL}, {"ownerReferences", owner_kept}, END};
static const struct kept condition_kept[] = {{"type", NULL}, {"status", NULL}, END};
static const struct kept port_kept[] = {{"name", NULL},     {"containerPort", NULL}, {"port", NULL},
                                        {"protocol", NULL}, {"appProtocol", NULL},   END};
static const struct kept container_kept[] = {
    {"name", NULL}, {"image", NULL}, {"ports", port_kept}, END};
static const struct kept container_status_kept[] = {{"name", NULL}, {"containerID", NULL}, END};
static const struct kept target_kept[] = {{"kind", NULL}, {"name", NULL}, {"namespace", NULL}, END};

static const struct kept pod_spec_kept[] = {
    {"nodeName", NULL}, {"containers", container_kept}, {"initContainers", container_kept}, END};
static const struct kept pod_status_kept[] = {
    {"phase", NULL},
    {"podIP", NULL},
    {"hostIP", NULL},
    {"conditions", condition_kept},
    {"containerStatuses", container_status_kept},
    {"initContainerStatuses", container_status_kept},
    END,
};
static const struct kept pod_kept[] = {
    {"metadata", meta_kept}, {"spec", pod_spec_kept}, {"status", pod_status_kept}, END};

static const struct kept kubelet_kept[] = {{"Port", NULL}, END};
static const struct kept daemons_kept[] = {{"kubeletEndpoint", kubelet_kept}, END};
static const struct kept node_spec_kept[] = {{"providerID", NULL}, END};
static const struct kept node_status_kept[] = {
    {"addresses", NULL}, {"conditions", condition_kept}, {"daemonEndpoints", daemons_kept}, END};
static const struct kept node_kept[] = {
    {"metadata", meta_kept}, {"spec", node_spec_kept}, {"status", node_status_kept}, END};

static const struct kept service_spec_kept[] = {
    {"type", NULL},         {"clusterIP", NULL},
    {"externalName", NULL}, {"loadBalancerIP", NULL},
    {"ports", port_kept},   {"ipFamilyPolicy", NULL},
    {"ipFamilies", NULL},   END,
};
static const struct kept service_kept[] = {
    {"metadata", meta_kept}, {"spec", service_spec_kept}, END};

static const struct kept address_kept[] = {
    {"ip", NULL}, {"hostname", NULL}, {"nodeName", NULL}, {"targetRef", target_kept}, END};
static const struct kept subset_kept[] = {
    {"addresses", address_kept}, {"notReadyAddresses", address_kept}, {"ports", port_kept}, END};
static const struct kept endpoints_kept[] = {
    {"metadata", meta_kept}, {"subsets", subset_kept}, END};

static const struct kept ready_kept[] = {
    {"ready", NULL}, {"serving", NULL}, {"terminating", NULL}, END};
static const struct kept endpoint_kept[] = {
    {"addresses", NULL},
    {"conditions", ready_kept},
    {"hostname", NULL},
    {"nodeName", NULL},
    {"zone", NULL},
    {"targetRef", target_kept},
    {"deprecatedTopology", NULL},
    END,
};
static const struct kept slice_kept[] = {{"metadata", meta_kept},
                                         {"addressType", NULL},
                                         {"endpoints", endpoint_kept},
                                         {"ports", port_kept},
                                         END};

static const struct kept tls_kept[] = {{"hosts", NULL}, END};
static const struct kept path_kept[] = {{"path", NULL}, END};
static const struct kept http_kept[] = {{"paths", path_kept}, END};
static const struct kept rule_kept[] = {{"host", NULL}, {"http", http_kept}, END};
static const struct kept ingress_spec_kept[] = {
    {"ingressClassName", NULL}, {"tls", tls_kept}, {"rules", rule_kept}, END};
static const struct kept ingress_kept[] = {
    {"metadata", meta_kept}, {"spec", ingress_spec_kept}, END};

static const struct kept namespace_kept[] = {{"metadata", meta_kept}, END};
static const struct kept owned_kept[] = {{"metadata", bare_meta_kept}, END};

static const struct kind_facts {
    const char *role, *api, *resource;
    bool namespaced;
    const struct kept *kept;
} kinds[KUBE_KIND_COUNT] = {
    [KUBE_NODE] = {"node", "/api/v1", "nodes", false, node_kept},
    [KUBE_POD] = {"pod", "/api/v1", "pods", true, pod_kept},
    [KUBE_SERVICE] = {"service", "/api/v1", "services", true, service_kept},
    [KUBE_ENDPOINTS] = {"endpoints", "/api/v1", "endpoints", true, endpoints_kept},
    [KUBE_ENDPOINTSLICE] = {"endpointslice", "/apis/discovery.k8s.io/v1", "endpointslices", true,
                            slice_kept},
    [KUBE_INGRESS] = {"ingress", "/apis/networking.k8s.io/v1", "ingresses", true, ingress_kept},
    [KUBE_NAMESPACE] = {"namespace", "/api/v1", "namespaces", false, namespace_kept},
    [KUBE_REPLICASET] = {"replicaset", "/apis/apps/v1", "replicasets", true, owned_kept},
    [KUBE_JOB] = {"job", "/apis/batch/v1", "jobs", true, owned_kept},
};

const char *kube_kind_api(enum kube_kind kind)
{
    return kinds[kind].api;
}

const char *kube_kind_resource(enum kube_kind kind)
{
    return kinds[kind].resource;
}

const char *kube_kind_role(enum kube_kind kind)
{
    return kinds[kind].role;
}

bool kube_kind_is_namespaced(enum kube_kind kind)
{
    return kinds[kind].namespaced;
}

bool kube_kind_find(struct str role, enum kube_kind *out)
{
    for (enum kube_kind kind = KUBE_NODE; kind <= KUBE_INGRESS; kind++)
        if (str_eq(role, str_of(kinds[kind].role))) {
            *out = kind;
            return true;
        }
    return false;
}

void kube_object_free(struct kube_object *object)
{
    if (object)
        mem_free(object->labels);
    mem_free(object);
}

struct str kube_object_key(const struct kube_object *object)
{
    return (struct str){object->bytes, object->key_len};
}

struct str kube_object_text(const struct kube_object *object)
{
    return (struct str){object->bytes + object->key_len, object->text_len};
}

static void value_keep(struct buf *out, const struct json *value, const struct kept *children);

/* Commas stand between what was kept: nothing is kept of a null. */
static void separate(struct buf *out, size_t start)
{
    if (out->len > start)
        buf_add_char(out, ',');
}

static void fields_keep(struct buf *out, const struct json *object, const struct kept *kept)
{
    size_t start;

    buf_add_char(out, '{');
    start = out->len;
    for (; kept->name; kept++) {
        const struct json *value = json_get(object, kept->name);
        if (json_type(value) == JSON_NULL)
            continue;
        separate(out, start);
        buf_add_json_plain(out, str_of(kept->name));
        buf_add_char(out, ':');
        value_keep(out, value, kept->children);
    }
    buf_add_char(out, '}');
}

static void object_keep(struct buf *out, const struct json *object)
{
    buf_add_char(out, '{');
    for (size_t i = 0; i < json_count(object); i++) {
        struct str key;
        const struct json *value = json_entry(object, i, &key);
        if (i > 0)
            buf_add_char(out, ',');
        buf_add_json_plain(out, key);
        buf_add_char(out, ':');
        value_keep(out, value, NULL);
    }
    buf_add_char(out, '}');
}

static void array_keep(struct buf *out, const struct json *array, const struct kept *children)
{
    buf_add_char(out, '[');
    for (size_t i = 0; i < json_count(array); i++) {
        if (i > 0)
            buf_add_char(out, ',');
        value_keep(out, json_at(array, i), children);
    }
    buf_add_char(out, ']');
}

static void number_keep(struct buf *out, double number)
{
    if (number > -1e15 && number < 1e15)
        buf_add_i64(out, (int64_t)number);
    else
        BUF_ADD(out, "0");
}

/* The depth is bounded by json_parse. */
static void value_keep(struct buf *out, const struct json *value, const struct kept *children)
{
    switch (json_type(value)) {
    case JSON_OBJECT:
        if (children)
            fields_keep(out, value, children);
        else
            object_keep(out, value);
        break;
    case JSON_ARRAY:
        array_keep(out, value, children);
        break;
    case JSON_STRING:
        buf_add_json_plain(out, json_str(value));
        break;
    case JSON_NUMBER:
        number_keep(out, json_number(value));
        break;
    case JSON_BOOL:
        buf_add_str(out, json_bool(value) ? STR("true") : STR("false"));
        break;
    case JSON_NULL:
        BUF_ADD(out, "null");
        break;
    }
}

bool kube_object_new(struct kube_object **out, enum kube_kind kind, const struct json *root,
                     struct err *err)
{
    const struct json *meta = json_get(root, "metadata");
    struct str namespace = json_str(json_get(meta, "namespace"));
    struct str name = json_str(json_get(meta, "name"));
    struct buf bytes;

    *out = NULL;
    if (name.len == 0)
        return err_set(err, ERR_BAD_DATA, "%s without a name", kinds[kind].role);
    buf_init(&bytes, TEXT_BYTES_MAX);
    if (kinds[kind].namespaced && namespace.len > 0) {
        buf_add_str(&bytes, namespace);
        buf_add_char(&bytes, '/');
    }
    buf_add_str(&bytes, name);
    size_t key_len = bytes.len;
    fields_keep(&bytes, root, kinds[kind].kept);
    bool good = !bytes.overflow || err_set(err, ERR_LIMIT, "%s is larger than %zu bytes",
                                           kinds[kind].role, TEXT_BYTES_MAX);
    if (good) {
        *out = mem_zalloc(sizeof(**out) + bytes.len);
        (*out)->key_len = (uint32_t)key_len;
        (*out)->text_len = (uint32_t)(bytes.len - key_len);
        memcpy((*out)->bytes, bytes.ptr, bytes.len);
    }
    buf_deinit(&bytes);
    return good;
}
