/* kubernetes_group: the targets of one object, with the labels that Prometheus gives them.
 *
 *     __meta_kubernetes_<role>_name, _label_<key>, _labelpresent_<key>, _annotation_<key>, ...
 *
 * Labels of the object, its service and its namespace are the group's; those of a port, a container,
 * a backing pod or its node are the target's. Empty values are no labels. */
#include "base/log.h"
#include "base/mem.h"
#include "kubernetes_build.h"

/* --- node --- */

static struct str node_address(const struct json *addresses)
{
    static const char *const best_first[] = {"InternalIP",  "InternalDNS",  "ExternalIP",
                                             "ExternalDNS", "LegacyHostIP", "Hostname"};

    for (size_t k = 0; k < COUNT_OF(best_first); k++)
        for (size_t i = 0; i < json_count(addresses); i++)
            if (str_eq(kube_text(json_at(addresses, i), "type"), str_of(best_first[k])))
                return kube_text(json_at(addresses, i), "address");
    return STR_EMPTY;
}

static void build_node(struct kube_build *build, const struct json *node)
{
    const struct json *status = json_get(node, "status");
    const struct json *addresses = json_get(status, "addresses");
    const struct json *conditions = json_get(status, "conditions");
    const struct json *port =
        json_get(kube_at(status, "daemonEndpoints", "kubeletEndpoint"), "Port");
    struct str address = node_address(addresses);

    if (address.len == 0) {
        LOG_W("No node address found", "discovery", "kubernetes", "node", log_str(build->name));
        return;
    }
    kube_set_object(build, &build->common, node, "node");
    kube_set(&build->common, META "node_provider_id",
             json_str(kube_at(node, "spec", "providerID")));
    for (size_t i = 0; i < json_count(conditions); i++) {
        struct str type = kube_lower(build, kube_text(json_at(conditions, i), "type"));
        labels_builder_set(&build->common, kube_meta_name(build, "node", "_condition_", type),
                           kube_lower(build, kube_text(json_at(conditions, i), "status")));
    }
    kube_set(&build->target, "__address__",
             kube_host_port(build, address, kube_number_text(build, port)));
    kube_set(&build->target, "instance", build->name);
    for (size_t i = json_count(addresses); i-- > 0;) /* The first of a type wins. */
        labels_builder_set(
            &build->target,
            kube_meta_name(build, "node", "_address_", kube_text(json_at(addresses, i), "type")),
            kube_text(json_at(addresses, i), "address"));
    kube_target_add(build);
}

/* --- pod --- */

static void add_container_targets(struct kube_build *build, const struct json *pod,
                                  const struct json *container, bool init)
{
    const struct json *ports = json_get(container, "ports");
    struct str ip = json_str(kube_at(pod, "status", "podIP"));
    struct str id = kube_container_id(pod, kube_text(container, "name"), init);
    size_t count = json_count(ports);

    for (size_t i = 0; i == 0 || i < count; i++) {
        const struct json *port = json_at(ports, i);
        struct str number = kube_number_text(build, json_get(port, "containerPort"));
        kube_set_container(build, container, init);
        kube_set(&build->target, META "pod_container_id", id);
        kube_set(&build->target, "__address__", port ? kube_host_port(build, ip, number) : ip);
        if (port)
            kube_set_container_port(build, port, kube_text(port, "protocol"));
        kube_target_add(build);
    }
}

static void build_pod(struct kube_build *build, const struct json *pod)
{
    struct str node = json_str(kube_at(pod, "spec", "nodeName"));
    const struct json *container;
    bool init;

    if (json_str(kube_at(pod, "status", "podIP")).len == 0)
        return; /* Not started yet, or evicted. */
    if (build->lookup->node && !kube_build_find(build, KUBE_NODE, node))
        return; /* A selector of nodes is one of pods, too. */
    kube_set_pod(build, &build->common, pod);
    kube_set(&build->common, META "namespace", build->namespace);
    kube_attach_node(build, &build->common, node);
    kube_attach_namespace(build);
    for (size_t i = 0; (container = kube_container_at(pod, i, &init)) != NULL; i++)
        add_container_targets(build, pod, container, init);
}

/* --- service --- */

static void build_service(struct kube_build *build, const struct json *service)
{
    const struct json *spec = json_get(service, "spec"), *ports = json_get(spec, "ports");
    struct str type = kube_text(spec, "type");
    struct str host = arena_strf(&build->arena, STR_FMT "." STR_FMT ".svc", STR_ARG(build->name),
                                 STR_ARG(build->namespace));
    struct labels_builder *out = &build->target;

    kube_set(&build->common, META "namespace", build->namespace);
    kube_set_object(build, &build->common, service, "service");
    kube_attach_namespace(build);
    for (size_t i = 0; i < json_count(ports); i++) {
        const struct json *port = json_at(ports, i);
        struct str number = kube_number_text(build, json_get(port, "port"));
        kube_set(out, "__address__", kube_host_port(build, host, number));
        kube_set(out, META "service_port_name", kube_text(port, "name"));
        kube_set(out, META "service_port_number", number);
        kube_set(out, META "service_port_protocol", kube_text(port, "protocol"));
        kube_set(out, META "service_type", type);
        if (str_eq(type, STR("ExternalName")))
            kube_set(out, META "service_external_name", kube_text(spec, "externalName"));
        else
            kube_set(out, META "service_cluster_ip", kube_text(spec, "clusterIP"));
        if (str_eq(type, STR("LoadBalancer")))
            kube_set(out, META "service_loadbalancer_ip", kube_text(spec, "loadBalancerIP"));
        kube_target_add(build);
    }
}

/* --- ingress --- */

/* Equal, or the pattern is *.rest and stands for one label. */
static bool host_matches(struct str pattern, struct str host)
{
    if (str_eq(pattern, host))
        return true;
    return str_starts(pattern, STR("*.")) &&
           str_eq(str_after(pattern, 1), str_after(host, str_find_char(host, '.')));
}

static bool is_https(const struct json *spec, struct str host)
{
    const struct json *tls = json_get(spec, "tls");

    for (size_t i = 0; i < json_count(tls); i++) {
        const struct json *hosts = json_get(json_at(tls, i), "hosts");
        for (size_t k = 0; k < json_count(hosts); k++)
            if (host_matches(json_str(json_at(hosts, k)), host))
                return true;
    }
    return false;
}

static void build_ingress(struct kube_build *build, const struct json *ingress)
{
    const struct json *spec = json_get(ingress, "spec"), *rules = json_get(spec, "rules");
    struct labels_builder *out = &build->target;

    kube_set(&build->common, META "namespace", build->namespace);
    kube_set(&build->common, META "ingress_class_name", kube_text(spec, "ingressClassName"));
    kube_set_object(build, &build->common, ingress, "ingress");
    kube_attach_namespace(build);
    for (size_t i = 0; i < json_count(rules); i++) {
        const struct json *rule = json_at(rules, i), *http = json_get(rule, "http");
        const struct json *paths = json_get(http, "paths");
        struct str host = kube_text(rule, "host");
        size_t count = json_type(http) == JSON_NULL ? 1 : json_count(paths);
        for (size_t k = 0; k < count; k++) {
            struct str path = kube_text(json_at(paths, k), "path");
            kube_set(out, "__address__", host);
            kube_set(out, META "ingress_scheme", is_https(spec, host) ? STR("https") : STR("http"));
            kube_set(out, META "ingress_host", host);
            kube_set(out, META "ingress_path", path.len > 0 ? path : STR("/"));
            kube_target_add(build);
        }
    }
}

/* --- all --- */

static bool build_at_once(struct kube_build *build)
{
    switch (build->kind) {
    case KUBE_NODE:
        build_node(build, build->root);
        break;
    case KUBE_POD:
        build_pod(build, build->root);
        break;
    case KUBE_SERVICE:
        build_service(build, build->root);
        break;
    case KUBE_INGRESS:
        build_ingress(build, build->root);
        break;
    default:
        UNREACHABLE();
    }
    return false;
}

struct kube_build *kube_group_begin(enum kube_kind kind, const struct kube_object *object,
                                    struct kube_lookup *lookup)
{
    const char *role = kind == KUBE_SERVICE ? "svc" : kube_kind_role(kind);
    struct kube_build *build = MEM_NEW(struct kube_build);
    struct err err;

    build->lookup = lookup;
    build->kind = kind;
    ENSURE(json_parse(&build->root, kube_object_text(object), &err)); /* We wrote it. */
    arena_init(&build->arena, 0);
    labels_builder_init(&build->common);
    labels_builder_init(&build->target);
    group_writer_init(&build->targets);
    map_init(&build->parsed_map);
    build->source =
        arena_strf(&build->arena, "%s/" STR_FMT, role, STR_ARG(kube_object_key(object)));
    build->namespace = json_str(kube_at(build->root, "metadata", "namespace"));
    build->name = json_str(kube_at(build->root, "metadata", "name"));
    return build;
}

bool kube_group_step(struct kube_build *build)
{
    switch (build->kind) {
    case KUBE_ENDPOINTS:
        return kube_build_endpoints(build, build->root);
    case KUBE_ENDPOINTSLICE:
        return kube_build_slice(build, build->root);
    default:
        return build_at_once(build);
    }
}

void kube_group_cancel(struct kube_build *build)
{
    if (!build)
        return;
    VEC_EACH (parsed, &build->parsed)
        json_free(parsed->root);
    VEC_FREE(&build->parsed);
    map_deinit(&build->parsed_map);
    group_writer_deinit(&build->targets);
    kube_backings_free(build->backings);
    labels_builder_deinit(&build->common);
    labels_builder_deinit(&build->target);
    arena_deinit(&build->arena);
    json_free(build->root);
    mem_free(build);
}

struct target_group *kube_group_end(struct kube_build *build)
{
    struct target_group *group = group_writer_end(&build->targets, build->source, &build->common);

    kube_group_cancel(build);
    return group;
}

struct target_group *kube_group_new(enum kube_kind kind, const struct kube_object *object,
                                    struct kube_lookup *lookup)
{
    struct kube_build *build = kube_group_begin(kind, object, lookup);

    while (kube_group_step(build))
        ;
    return kube_group_end(build);
}
