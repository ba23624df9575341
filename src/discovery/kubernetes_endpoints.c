/* kubernetes_endpoints: the targets of Endpoints and EndpointSlices: addresses by ports, and the other
 * ports of the pods behind them.
 *
 * A thousand pods take tens of milliseconds: a call is one address, later one pod, and the build
 * remembers in `at` which is next. */
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "kubernetes_build.h"

struct backing {
    const struct json *pod;
    struct labels_builder labels; /* Of the pod: the same in all its targets. */
    VEC(int) ports;               /* Those that have a target. */
};

struct kube_backings {
    VEC(struct backing) pods;
    struct map map; /* Of pods. */
};

static const struct json *pod_of(struct kube_build *build, const struct json *target)
{
    if (!str_eq(kube_text(target, "kind"), STR("Pod")))
        return NULL;
    return kube_build_find(
        build, KUBE_POD,
        kube_key_in(build, kube_text(target, "namespace"), kube_text(target, "name")));
}

static bool is_pod(const void *ctx, const void *key, uint32_t value)
{
    return ((const struct backing *)ctx)[value].pod == key;
}

static struct backing *backing_of(struct kube_build *build, const struct json *pod)
{
    struct kube_backings *backings = build->backings;
    struct backing fresh = {.pod = pod};
    uint64_t hash = hash64_mix((uint64_t)(uintptr_t)pod, 0);
    uint32_t index = map_find(&backings->map, hash, pod, is_pod, backings->pods.items);

    if (index != MAP_NONE)
        return &backings->pods.items[index];
    labels_builder_init(&fresh.labels);
    kube_set_pod(build, &fresh.labels, pod);
    map_insert(&backings->map, hash, (uint32_t)backings->pods.count);
    VEC_PUSH(&backings->pods, fresh);
    return &backings->pods.items[backings->pods.count - 1];
}

static void set_labels(struct kube_build *build, const struct labels_builder *labels)
{
    for (size_t i = 0; i < labels->count; i++)
        labels_builder_set(&build->target, labels->items[i].name, labels->items[i].value);
}

static bool backing_has(const struct backing *backing, int port)
{
    for (size_t i = 0; i < backing->ports.count; i++)
        if (backing->ports.items[i] == port)
            return true;
    return false;
}

static int port_number(const struct json *node)
{
    double number = json_number(node);

    return number > 0 && number < 65536 ? (int)number : 0;
}

/* The container of the pod that the endpoint's port belongs to. `protocol` empty: the container's. */
static void set_container_of_port(struct kube_build *build, const struct json *pod, int number,
                                  struct str protocol)
{
    const struct json *container;
    bool init;

    for (size_t i = 0; (container = kube_container_at(pod, i, &init)) != NULL; i++) {
        const struct json *ports = json_get(container, "ports");
        for (size_t k = 0; k < json_count(ports); k++) {
            const struct json *port = json_at(ports, k);
            if (port_number(json_get(port, "containerPort")) != number)
                continue;
            kube_set_container(build, container, init);
            kube_set_container_port(build, port,
                                    protocol.len > 0 ? protocol : kube_text(port, "protocol"));
            break;
        }
    }
}

/* Ends a target of an address and, when a pod is behind it, says so. `port` NULL: none. */
static void add_endpoint(struct kube_build *build, const struct json *pod, const struct json *port,
                         struct str protocol)
{
    if (pod) {
        struct backing *backing = backing_of(build, pod);
        set_labels(build, &backing->labels);
        if (port) {
            set_container_of_port(build, pod, port_number(port), protocol);
            VEC_PUSH(&backing->ports, port_number(port));
        }
    }
    kube_target_add(build);
}

static void add_other_ports_of(struct kube_build *build, const struct backing *backing,
                               const struct json *container, bool init)
{
    const struct json *ports = json_get(container, "ports");
    struct str ip = json_str(kube_at(backing->pod, "status", "podIP"));

    for (size_t i = 0; i < json_count(ports); i++) {
        const struct json *port = json_at(ports, i), *number = json_get(port, "containerPort");
        if (backing_has(backing, port_number(number)))
            continue;
        set_labels(build, &backing->labels);
        kube_set_container(build, container, init);
        kube_set_container_port(build, port, kube_text(port, "protocol"));
        kube_set(&build->target, "__address__",
                 kube_host_port(build, ip, kube_number_text(build, number)));
        kube_target_add(build);
    }
}

static void add_other_ports(struct kube_build *build, const struct backing *backing)
{
    const struct json *container;
    bool init;

    if (json_str(kube_at(backing->pod, "status", "podIP")).len == 0)
        return;
    for (size_t i = 0; (container = kube_container_at(backing->pod, i, &init)) != NULL; i++)
        add_other_ports_of(build, backing, container, init);
}

void kube_backings_free(struct kube_backings *backings)
{
    if (!backings)
        return;
    VEC_EACH (backing, &backings->pods) {
        VEC_FREE(&backing->ports);
        labels_builder_deinit(&backing->labels);
    }
    VEC_FREE(&backings->pods);
    map_deinit(&backings->map);
    mem_free(backings);
}

static void backings_begin(struct kube_build *build)
{
    build->backings = MEM_NEW(struct kube_backings);
    map_init(&build->backings->map);
}

/* After the last address: a pod behind them. */
static bool next_backing(struct kube_build *build)
{
    struct kube_backings *backings = build->backings;

    if (!build->addresses_done) {
        build->addresses_done = true;
        build->at[0] = 0;
    }
    if (build->at[0] == backings->pods.count)
        return false;
    add_other_ports(build, &backings->pods.items[build->at[0]++]);
    return true;
}

static void add_address(struct kube_build *build, const struct json *address,
                        const struct json *port, bool ready)
{
    struct labels_builder *out = &build->target;
    const struct json *target = json_get(address, "targetRef");
    const struct json *number = json_get(port, "port");
    struct str node = kube_text(address, "nodeName");

    kube_set(out, "__address__",
             kube_host_port(build, kube_text(address, "ip"), kube_number_text(build, number)));
    kube_set(out, META "endpoint_port_name", kube_text(port, "name"));
    kube_set(out, META "endpoint_port_protocol", kube_text(port, "protocol"));
    kube_set(out, META "endpoint_ready", ready ? STR("true") : STR("false"));
    kube_set(out, META "endpoint_address_target_kind", kube_text(target, "kind"));
    kube_set(out, META "endpoint_address_target_name", kube_text(target, "name"));
    kube_set(out, META "endpoint_node_name", node);
    kube_set(out, META "endpoint_hostname", kube_text(address, "hostname"));
    if (node.len == 0 && str_eq(kube_text(target, "kind"), STR("Node")))
        node = kube_text(target, "name");
    kube_attach_node(build, out, node);
    add_endpoint(build, pod_of(build, target), number, kube_text(port, "protocol"));
}

static void warn_of_capacity(struct kube_build *build, const struct json *endpoints)
{
    struct str mark = json_str(json_get(kube_at(endpoints, "metadata", "labels"),
                                        "endpoints.kubernetes.io/over-capacity"));

    if (str_eq(mark, STR("truncated")))
        LOG_W("More than 1000 endpoints in one Endpoints object, the rest is cut off: use "
              "role: endpointslice",
              "discovery", "kubernetes", "endpoints", log_str(build->name));
}

static void endpoints_begin(struct kube_build *build, const struct json *endpoints)
{
    kube_set(&build->common, META "namespace", build->namespace);
    kube_attach_service(build, kube_build_find(build, KUBE_SERVICE,
                                               kube_key_in(build, build->namespace, build->name)));
    kube_set_object(build, &build->common, endpoints, "endpoints");
    kube_attach_namespace(build);
    warn_of_capacity(build, endpoints);
}

/* at: subset, port, ready or not, address. */
static bool next_address(struct kube_build *build, const struct json *subsets)
{
    static const char *const lists[] = {"addresses", "notReadyAddresses"};
    size_t *at = build->at;

    while (at[0] < json_count(subsets)) {
        const struct json *subset = json_at(subsets, at[0]), *ports = json_get(subset, "ports");
        if (at[1] == json_count(ports)) {
            at[0]++;
            at[1] = 0;
            continue;
        }
        const struct json *addresses = json_get(subset, lists[at[2]]);
        if (at[3] < json_count(addresses)) {
            add_address(build, json_at(addresses, at[3]++), json_at(ports, at[1]), at[2] == 0);
            return true;
        }
        at[3] = 0;
        at[1] += at[2];
        at[2] ^= 1;
    }
    return false;
}

bool kube_build_endpoints(struct kube_build *build, const struct json *endpoints)
{
    if (!build->backings) {
        backings_begin(build);
        endpoints_begin(build, endpoints);
    }
    return (!build->addresses_done && next_address(build, json_get(endpoints, "subsets"))) ||
           next_backing(build);
}

static void set_bool(struct kube_build *build, const char *name, const struct json *node)
{
    if (json_type(node) == JSON_BOOL)
        kube_set(&build->target, name, json_bool(node) ? STR("true") : STR("false"));
}

#define SLICE META "endpointslice_"

static void set_slice_endpoint(struct kube_build *build, const struct json *endpoint)
{
    struct labels_builder *out = &build->target;
    const struct json *conditions = json_get(endpoint, "conditions");
    const struct json *target = json_get(endpoint, "targetRef");

    set_bool(build, SLICE "endpoint_conditions_ready", json_get(conditions, "ready"));
    set_bool(build, SLICE "endpoint_conditions_serving", json_get(conditions, "serving"));
    set_bool(build, SLICE "endpoint_conditions_terminating", json_get(conditions, "terminating"));
    kube_set(out, SLICE "endpoint_hostname", kube_text(endpoint, "hostname"));
    kube_set(out, SLICE "endpoint_node_name", kube_text(endpoint, "nodeName"));
    kube_set(out, SLICE "endpoint_zone", kube_text(endpoint, "zone"));
    kube_set(out, SLICE "address_target_kind", kube_text(target, "kind"));
    kube_set(out, SLICE "address_target_name", kube_text(target, "name"));
    kube_set_pairs(build, out, json_get(endpoint, "deprecatedTopology"), "endpointslice",
                   "_endpoint_topology_", "_endpoint_topology_present_");
    kube_attach_node(build, out,
                     str_eq(kube_text(target, "kind"), STR("Node"))
                         ? kube_text(target, "name")
                         : kube_text(endpoint, "nodeName"));
}

static void add_slice_address(struct kube_build *build, const struct json *endpoint,
                              const struct json *port, struct str address)
{
    struct labels_builder *out = &build->target;
    const struct json *number = json_get(port, "port");
    bool numbered = json_type(number) == JSON_NUMBER;

    kube_set(out, "__address__",
             numbered ? kube_host_port(build, address, kube_number_text(build, number)) : address);
    kube_set(out, SLICE "port_name", kube_text(port, "name"));
    kube_set(out, SLICE "port_protocol", kube_text(port, "protocol"));
    if (numbered)
        kube_set(out, SLICE "port", kube_number_text(build, number));
    kube_set(out, SLICE "port_app_protocol", kube_text(port, "appProtocol"));
    set_slice_endpoint(build, endpoint);
    add_endpoint(build, pod_of(build, json_get(endpoint, "targetRef")), numbered ? number : NULL,
                 STR_EMPTY);
}

/* A service of both families has slices of both for the same pods: the first family counts. */
static bool is_second_family(const struct json *slice, const struct json *service)
{
    const struct json *spec = json_get(service, "spec");
    struct str first = json_str(json_at(json_get(spec, "ipFamilies"), 0));

    return str_ends(kube_text(spec, "ipFamilyPolicy"), STR("DualStack")) && first.len > 0 &&
           !str_eq(first, kube_text(slice, "addressType"));
}

/* False: it gives no targets. */
static bool slice_begin(struct kube_build *build, const struct json *slice)
{
    struct str service_name =
        json_str(json_get(kube_at(slice, "metadata", "labels"), "kubernetes.io/service-name"));
    const struct json *service =
        service_name.len > 0 ? kube_build_find(build, KUBE_SERVICE,
                                               kube_key_in(build, build->namespace, service_name))
                             : NULL;

    if (is_second_family(slice, service))
        return false;
    kube_set(&build->common, META "namespace", build->namespace);
    kube_set(&build->common, SLICE "address_type", kube_text(slice, "addressType"));
    kube_set_object(build, &build->common, slice, "endpointslice");
    kube_attach_service(build, service);
    kube_attach_namespace(build);
    return true;
}

/* at: endpoint, port, address. */
static bool next_slice_address(struct kube_build *build, const struct json *slice)
{
    const struct json *endpoints = json_get(slice, "endpoints"), *ports = json_get(slice, "ports");
    size_t *at = build->at;

    while (at[0] < json_count(endpoints)) {
        const struct json *endpoint = json_at(endpoints, at[0]);
        const struct json *addresses = json_get(endpoint, "addresses");
        if (at[1] == json_count(ports)) {
            at[0]++;
            at[1] = 0;
            continue;
        }
        if (at[2] < json_count(addresses)) {
            add_slice_address(build, endpoint, json_at(ports, at[1]),
                              json_str(json_at(addresses, at[2]++)));
            return true;
        }
        at[2] = 0;
        at[1]++;
    }
    return false;
}

bool kube_build_slice(struct kube_build *build, const struct json *slice)
{
    if (!build->backings) {
        backings_begin(build);
        if (!slice_begin(build, slice))
            return false;
    }
    return (!build->addresses_done && next_slice_address(build, slice)) || next_backing(build);
}
