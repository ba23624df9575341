/* kubernetes_endpoints: the targets of Endpoints and EndpointSlices: addresses by ports, and the other
 * ports of the pods behind them. */
#include "base/log.h"
#include "base/mem.h"
#include "kubernetes_build.h"

struct backing {
    const struct json *pod;
    struct labels_builder labels; /* Of the pod: the same in all its targets. */
    VEC(int) ports;               /* Those that have a target. */
};

struct backings {
    VEC(struct backing) pods;
};

static const struct json *pod_of(struct kube_build *build, const struct json *target)
{
    if (!str_eq(kube_text(target, "kind"), STR("Pod")))
        return NULL;
    return kube_build_find(
        build, KUBE_POD,
        kube_key_in(build, kube_text(target, "namespace"), kube_text(target, "name")));
}

static struct backing *backing_of(struct kube_build *build, struct backings *backings,
                                  const struct json *pod)
{
    struct backing fresh = {.pod = pod};

    VEC_EACH (each, &backings->pods)
        if (each->pod == pod)
            return each;
    labels_builder_init(&fresh.labels);
    kube_set_pod(build, &fresh.labels, pod);
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
static void add_endpoint(struct kube_build *build, struct backings *backings,
                         const struct json *pod, const struct json *port, struct str protocol)
{
    if (pod) {
        struct backing *backing = backing_of(build, backings, pod);
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

static void add_other_ports(struct kube_build *build, struct backings *backings)
{
    const struct json *container;
    bool init;

    VEC_EACH (backing, &backings->pods) {
        if (json_str(kube_at(backing->pod, "status", "podIP")).len > 0)
            for (size_t i = 0; (container = kube_container_at(backing->pod, i, &init)) != NULL; i++)
                add_other_ports_of(build, backing, container, init);
        VEC_FREE(&backing->ports);
        labels_builder_deinit(&backing->labels);
    }
    VEC_FREE(&backings->pods);
}

static void add_address(struct kube_build *build, struct backings *backings,
                        const struct json *address, const struct json *port, bool ready)
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
    add_endpoint(build, backings, pod_of(build, target), number, kube_text(port, "protocol"));
}

static void add_addresses(struct kube_build *build, struct backings *backings,
                          const struct json *addresses, const struct json *port, bool ready)
{
    for (size_t i = 0; i < json_count(addresses); i++)
        add_address(build, backings, json_at(addresses, i), port, ready);
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

void kube_build_endpoints(struct kube_build *build, const struct json *endpoints)
{
    const struct json *subsets = json_get(endpoints, "subsets");
    struct backings backings = {0};

    kube_set(&build->common, META "namespace", build->namespace);
    kube_attach_service(build, kube_build_find(build, KUBE_SERVICE,
                                               kube_key_in(build, build->namespace, build->name)));
    kube_set_object(build, &build->common, endpoints, "endpoints");
    kube_attach_namespace(build);
    for (size_t i = 0; i < json_count(subsets); i++) {
        const struct json *subset = json_at(subsets, i), *ports = json_get(subset, "ports");
        for (size_t k = 0; k < json_count(ports); k++) {
            const struct json *port = json_at(ports, k);
            add_addresses(build, &backings, json_get(subset, "addresses"), port, true);
            add_addresses(build, &backings, json_get(subset, "notReadyAddresses"), port, false);
        }
    }
    warn_of_capacity(build, endpoints);
    add_other_ports(build, &backings);
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

static void add_slice_address(struct kube_build *build, struct backings *backings,
                              const struct json *endpoint, const struct json *port,
                              struct str address)
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
    add_endpoint(build, backings, pod_of(build, json_get(endpoint, "targetRef")),
                 numbered ? number : NULL, STR_EMPTY);
}

/* A service of both families has slices of both for the same pods: the first family counts. */
static bool is_second_family(const struct json *slice, const struct json *service)
{
    const struct json *spec = json_get(service, "spec");
    struct str first = json_str(json_at(json_get(spec, "ipFamilies"), 0));

    return str_ends(kube_text(spec, "ipFamilyPolicy"), STR("DualStack")) && first.len > 0 &&
           !str_eq(first, kube_text(slice, "addressType"));
}

void kube_build_slice(struct kube_build *build, const struct json *slice)
{
    const struct json *endpoints = json_get(slice, "endpoints"), *ports = json_get(slice, "ports");
    struct str service_name =
        json_str(json_get(kube_at(slice, "metadata", "labels"), "kubernetes.io/service-name"));
    const struct json *service =
        service_name.len > 0 ? kube_build_find(build, KUBE_SERVICE,
                                               kube_key_in(build, build->namespace, service_name))
                             : NULL;
    struct backings backings = {0};

    if (is_second_family(slice, service))
        return;
    kube_set(&build->common, META "namespace", build->namespace);
    kube_set(&build->common, SLICE "address_type", kube_text(slice, "addressType"));
    kube_set_object(build, &build->common, slice, "endpointslice");
    kube_attach_service(build, service);
    kube_attach_namespace(build);
    for (size_t i = 0; i < json_count(endpoints); i++) {
        const struct json *endpoint = json_at(endpoints, i);
        const struct json *addresses = json_get(endpoint, "addresses");
        for (size_t k = 0; k < json_count(ports); k++)
            for (size_t a = 0; a < json_count(addresses); a++)
                add_slice_address(build, &backings, endpoint, json_at(ports, k),
                                  json_str(json_at(addresses, a)));
    }
    add_other_ports(build, &backings);
}
