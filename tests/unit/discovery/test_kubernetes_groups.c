/* What is kept of an object, and the exact targets of each role. The expected labels are those of
 * Prometheus 3.14. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>

#include "base/mem.h"
#include "groups.h"
#include "kubernetes.h"

static struct kube_object *object_of(enum kube_kind kind, const char *text)
{
    struct kube_object *object = NULL;
    struct json *root = NULL;
    struct err err;

    if (!json_parse(&root, str_of(text), &err) || !kube_object_new(&object, kind, root, &err))
        fail_msg("%s", err.text);
    json_free(root);
    return object;
}

/* A cluster of few objects. */
struct cluster {
    struct kube_lookup lookup;
    struct kube_object *objects[8];
    enum kube_kind kinds[8];
    size_t count;
};

static const struct kube_object *cluster_find(struct kube_lookup *lookup, enum kube_kind kind,
                                              struct str key)
{
    struct cluster *cluster = (struct cluster *)(void *)lookup;

    for (size_t i = 0; i < cluster->count; i++)
        if (cluster->kinds[i] == kind && str_eq(kube_object_key(cluster->objects[i]), key))
            return cluster->objects[i];
    return NULL;
}

static void cluster_add(struct cluster *cluster, enum kube_kind kind, const char *text)
{
    cluster->lookup.find = cluster_find;
    cluster->kinds[cluster->count] = kind;
    cluster->objects[cluster->count++] = object_of(kind, text);
}

static void cluster_free(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->count; i++)
        mem_free(cluster->objects[i]);
}

/* Without the long prefix, one label a line: "name=value". */
static void labels_dump(struct buf *out, const struct labels *labels)
{
    for (uint32_t i = 0; i < labels->count; i++) {
        struct str name = labels->items[i].name, prefix = STR("__meta_kubernetes_");
        if (str_starts(name, prefix))
            name = str_after(name, prefix.len);
        buf_addf(out, STR_FMT "=" STR_FMT "\n", STR_ARG(name), STR_ARG(labels->items[i].value));
    }
}

/* All objects come anew, as from a list: nobody may hold on to the old ones. */
static void cluster_renew(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->count; i++) {
        char *text = str_dup(kube_object_text(cluster->objects[i]));
        struct kube_object *fresh = object_of(cluster->kinds[i], text);
        mem_free(cluster->objects[i]);
        cluster->objects[i] = fresh;
        mem_free(text);
    }
}

/* The group of the cluster's last object: its labels, and after each "-" those of a target. Other
 * work is done between any two steps of its making. */
static void check_group(struct cluster *cluster, const char *wanted)
{
    size_t last = cluster->count - 1;
    struct kube_build *build =
        kube_group_begin(cluster->kinds[last], cluster->objects[last], &cluster->lookup);
    struct buf out;

    do
        cluster_renew(cluster);
    while (kube_group_step(build));
    struct target_group *group = kube_group_end(build);

    buf_init(&out, 65536);
    buf_addf(&out, "%s\n", group->source);
    for (size_t part = 0; part <= group->target_count; part++) {
        struct labels *labels = group_part(group, part);
        if (part > 0)
            BUF_ADD(&out, "-\n");
        labels_dump(&out, labels);
        labels_unref(labels);
    }
    buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, wanted);
    buf_deinit(&out);
    target_group_unref(group);
    cluster_free(cluster);
}

/* Half of a pod is of no use. */
static void test_object__keeps_what_targets_are_made_of(void **state)
{
    (void)state;
    struct kube_object *object = object_of(
        KUBE_POD,
        "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u\",\"labels\":{\"x\":"
        "\"\\\"y\"},\"managedFields\":[{\"a\":1}],\"annotations\":null},"
        "\"spec\":{\"volumes\":[1],\"containers\":[{\"name\":\"c\",\"env\":[{}],\"ports\":"
        "[{\"containerPort\":80,\"hostPort\":1}]}]},\"status\":{\"podIP\":\"1.2.3.4\","
        "\"qosClass\":\"x\"},\"other\":true}");

    assert_true(str_eq(kube_object_key(object), STR("n/a")));
    assert_true(str_eq(
        kube_object_text(object),
        STR("{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u\",\"labels\":{\"x\":"
            "\"\\\"y\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":"
            "80}]"
            "}]},\"status\":{\"podIP\":\"1.2.3.4\"}}")));
    kube_object_free(object);
}

/* Anything may come over the wire. */
static void test_object__refuses_what_has_no_name(void **state)
{
    static const char *const bad[] = {"{}", "[]", "1", "{\"metadata\":{\"name\":3}}",
                                      "{\"metadata\":[{\"name\":\"x\"}]}"};
    struct kube_object *object;
    struct json *root;
    struct err err;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_true(json_parse(&root, str_of(bad[i]), &err));
        assert_false(kube_object_new(&object, KUBE_POD, root, &err));
        assert_string_equal(err.text, "pod without a name");
        json_free(root);
    }
}

static const char *const node_text =
    "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"kubernetes.io/os\":\"linux\"},\"annotations\":{"
    "\"a-b\":\"1\"}},\"spec\":{\"providerID\":\"aws:///x\"},\"status\":{\"addresses\":[{\"type\":"
    "\"Hostname\",\"address\":\"h1\"},{\"type\":\"ExternalIP\",\"address\":\"9.9.9.9\"},{\"type\":"
    "\"InternalIP\",\"address\":\"10.0.0.1\"},{\"type\":\"InternalIP\",\"address\":\"10.0.0.2\"}],"
    "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"},{\"type\":\"DiskPressure\","
    "\"status\":"
    "\"Unknown\"}],\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":10250}}}}";

/* Addresses have an order of preference; the first of a type is its label. */
static void test_node__gives_its_kubelet(void **state)
{
    struct cluster cluster = {0};

    (void)state;
    cluster_add(&cluster, KUBE_NODE, node_text);
    check_group(&cluster, "node/n1\nnode_annotation_a_b=1\nnode_annotationpresent_a_b=true\n"
                          "node_condition_diskpressure=unknown\nnode_condition_ready=true\n"
                          "node_label_kubernetes_io_os=linux\n"
                          "node_labelpresent_kubernetes_io_os=true\nnode_name=n1\n"
                          "node_provider_id=aws:///x\n-\n__address__=10.0.0.1:10250\n"
                          "node_address_ExternalIP=9.9.9.9\nnode_address_Hostname=h1\n"
                          "node_address_InternalIP=10.0.0.1\ninstance=n1\n");
}

/* A node that cannot be reached is none. */
static void test_node__without_address_gives_nothing(void **state)
{
    struct cluster cluster = {0};

    (void)state;
    cluster_add(&cluster, KUBE_NODE, "{\"metadata\":{\"name\":\"n\"}}");
    check_group(&cluster, "node/n\n");
}

static const char *const pod_text =
    "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\",\"labels\":{\"app\":\"x\"},"
    "\"ownerReferences\":[{\"kind\":\"A\",\"name\":\"a\"},{\"kind\":\"ReplicaSet\",\"name\":\"rs\","
    "\"controller\":true}]},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c1\","
    "\"image\":"
    "\"i1\",\"ports\":[{\"name\":\"web\",\"containerPort\":80,\"protocol\":\"TCP\"},{"
    "\"containerPort\":81,\"protocol\":\"UDP\"}]},{\"name\":\"c2\",\"image\":\"i2\"}],"
    "\"initContainers\":[{\"name\":\"c0\",\"image\":\"i0\"}]},\"status\":{\"phase\":\"Running\","
    "\"podIP\":\"10.1.1.1\",\"hostIP\":\"10.0.0.1\",\"conditions\":[{\"type\":\"Ready\",\"status\":"
    "\"False\"}],\"containerStatuses\":[{\"name\":\"c1\",\"containerID\":\"docker://1\"}],"
    "\"initContainerStatuses\":[{\"name\":\"c0\",\"containerID\":\"docker://0\"}]}}";

#define POD_COMMON "pod_controller_kind=ReplicaSet\npod_controller_name=rs\n"
#define POD_REST                                                                                   \
    "pod_host_ip=10.0.0.1\npod_ip=10.1.1.1\npod_label_app=x\npod_labelpresent_app=true\n"          \
    "pod_name=p\npod_node_name=n1\npod_phase=Running\npod_ready=false\npod_uid=u1\n"

/* A target for each port, one without a port for a container without ports, init containers last. */
static void test_pod__gives_its_ports(void **state)
{
    struct cluster cluster = {0};

    (void)state;
    cluster_add(&cluster, KUBE_POD, pod_text);
    check_group(&cluster,
                "pod/ns/p\nnamespace=ns\n" POD_COMMON POD_REST
                "-\n__address__=10.1.1.1:80\npod_container_id=docker://1\npod_container_image=i1\n"
                "pod_container_init=false\npod_container_name=c1\npod_container_port_name=web\n"
                "pod_container_port_number=80\npod_container_port_protocol=TCP\n"
                "-\n__address__=10.1.1.1:81\npod_container_id=docker://1\npod_container_image=i1\n"
                "pod_container_init=false\npod_container_name=c1\npod_container_port_number=81\n"
                "pod_container_port_protocol=UDP\n"
                "-\n__address__=10.1.1.1\npod_container_image=i2\npod_container_init=false\n"
                "pod_container_name=c2\n"
                "-\n__address__=10.1.1.1\npod_container_id=docker://0\npod_container_image=i0\n"
                "pod_container_init=true\npod_container_name=c0\n");
}

/* What attach_metadata adds. */
static void test_pod__gets_labels_of_others(void **state)
{
    struct cluster cluster = {
        .lookup = {
            .node = true, .namespace = true, .deployment = true, .job = true, .cronjob = true}};

    (void)state;
    cluster_add(&cluster, KUBE_NODE, node_text);
    cluster_add(&cluster, KUBE_NAMESPACE,
                "{\"metadata\":{\"name\":\"ns\",\"labels\":{\"team\":\"t\"}}}");
    cluster_add(&cluster, KUBE_JOB,
                "{\"metadata\":{\"name\":\"j\",\"namespace\":\"ns\",\"ownerReferences\":[{\"kind\":"
                "\"CronJob\",\"name\":\"cj\",\"controller\":true}]}}");
    cluster_add(&cluster, KUBE_POD,
                "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"ownerReferences\":[{\"kind\":"
                "\"Job\",\"name\":\"j\",\"controller\":true}]},\"spec\":{\"nodeName\":\"n1\","
                "\"containers\":[{\"name\":\"c\"}]},\"status\":{\"podIP\":\"::1\"}}");
    check_group(&cluster,
                "pod/ns/p\nnamespace=ns\nnamespace_label_team=t\nnamespace_labelpresent_team=true\n"
                "node_annotation_a_b=1\nnode_annotationpresent_a_b=true\n"
                "node_label_kubernetes_io_os=linux\nnode_labelpresent_kubernetes_io_os=true\n"
                "node_name=n1\npod_controller_kind=Job\npod_controller_name=j\n"
                "pod_cronjob_name=cj\npod_ip=::1\npod_job_name=j\npod_name=p\npod_node_name=n1\n"
                "pod_ready=unknown\n-\n__address__=::1\npod_container_init=false\n"
                "pod_container_name=c\n");
}

/* Not started, or on a node that is not known: a selector of nodes leaves it out. */
static void test_pod__may_give_nothing(void **state)
{
    struct cluster none = {0}, left_out = {.lookup = {.node = true}};

    (void)state;
    cluster_add(&none, KUBE_POD,
                "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\"},\"spec\":{"
                "\"containers\":[{\"name\":\"c\"}]}}");
    check_group(&none, "pod/ns/p\n");
    cluster_add(&left_out, KUBE_POD, pod_text);
    check_group(&left_out, "pod/ns/p\n");
}

static void test_service__gives_its_ports(void **state)
{
    struct cluster cluster = {0}, external = {0};

    (void)state;
    cluster_add(&cluster, KUBE_SERVICE,
                "{\"metadata\":{\"name\":\"s\",\"namespace\":\"ns\",\"annotations\":{\"a\":\"1\"}},"
                "\"spec\":{\"type\":\"LoadBalancer\",\"clusterIP\":\"10.9.0.1\",\"loadBalancerIP\":"
                "\"5.5.5.5\",\"ports\":[{\"name\":\"web\",\"port\":80,\"protocol\":\"TCP\"}]}}");
    check_group(&cluster,
                "svc/ns/s\nnamespace=ns\nservice_annotation_a=1\nservice_annotationpresent_a=true\n"
                "service_name=s\n-\n__address__=s.ns.svc:80\nservice_cluster_ip=10.9.0.1\n"
                "service_loadbalancer_ip=5.5.5.5\nservice_port_name=web\nservice_port_number=80\n"
                "service_port_protocol=TCP\nservice_type=LoadBalancer\n");
    cluster_add(&external, KUBE_SERVICE,
                "{\"metadata\":{\"name\":\"s\",\"namespace\":\"ns\"},\"spec\":{\"type\":"
                "\"ExternalName\",\"externalName\":\"x.test\",\"ports\":[{\"port\":81}]}}");
    check_group(&external, "svc/ns/s\nnamespace=ns\nservice_name=s\n-\n__address__=s.ns.svc:81\n"
                           "service_external_name=x.test\nservice_port_number=81\n"
                           "service_type=ExternalName\n");
}

static void add_service_and_pod(struct cluster *cluster, const char *families)
{
    struct buf service;

    buf_init(&service, 4096);
    buf_addf(
        &service,
        "{\"metadata\":{\"name\":\"s\",\"namespace\":\"ns\",\"labels\":{\"l\":\"1\"}},\"spec\":{"
        "\"type\":\"ClusterIP\"%s}}%c",
        families, 0);
    cluster_add(cluster, KUBE_SERVICE, service.ptr);
    cluster_add(cluster, KUBE_POD, pod_text);
    buf_deinit(&service);
}

#define OTHER_PORT                                                                                 \
    "-\n__address__=10.1.1.1:81\npod_container_image=i1\npod_container_init=false\n"               \
    "pod_container_name=c1\npod_container_port_number=81\npod_container_port_protocol="            \
    "UDP\n" POD_COMMON POD_REST

/* Addresses by ports, and the pod's further ports. */
static void test_endpoints__are_addresses_by_ports(void **state)
{
    struct cluster cluster = {.lookup = {.node = true}};

    (void)state;
    add_service_and_pod(&cluster, "");
    cluster_add(
        &cluster, KUBE_ENDPOINTS,
        "{\"metadata\":{\"name\":\"s\",\"namespace\":\"ns\",\"labels\":{\"e\":\"2\"}},\"subsets\":["
        "{"
        "\"addresses\":[{\"ip\":\"10.1.1.1\",\"nodeName\":\"n1\",\"targetRef\":{\"kind\":\"Pod\","
        "\"name\":\"p\",\"namespace\":\"ns\"}}],\"notReadyAddresses\":[{\"ip\":\"fd00::1\","
        "\"hostname\":\"h\"}],\"ports\":[{\"name\":\"e\",\"port\":80,\"protocol\":\"SCTP\"}]}]}");
    check_group(
        &cluster,
        "endpoints/ns/s\nendpoints_label_e=2\nendpoints_labelpresent_e=true\n"
        "endpoints_name=s\nnamespace=ns\nservice_label_l=1\nservice_labelpresent_l=true\n"
        "service_name=s\n"
        "-\n__address__=10.1.1.1:80\nendpoint_address_target_kind=Pod\n"
        "endpoint_address_target_name=p\nendpoint_node_name=n1\nendpoint_port_name=e\n"
        "endpoint_port_protocol=SCTP\nendpoint_ready=true\npod_container_image=i1\n"
        "pod_container_init=false\npod_container_name=c1\npod_container_port_name=web\n"
        "pod_container_port_number=80\npod_container_port_protocol=SCTP\n" POD_COMMON POD_REST
        "-\n__address__=[fd00::1]:80\nendpoint_hostname=h\nendpoint_port_name=e\n"
        "endpoint_port_protocol=SCTP\nendpoint_ready=false\n" OTHER_PORT);
}

/* The pods behind endpoints know their owners as those of the pod role do. */
static void test_endpoints__know_the_owners_of_pods(void **state)
{
    struct cluster cluster = {.lookup = {.deployment = true, .job = true, .cronjob = true}};

    (void)state;
    cluster_add(&cluster, KUBE_REPLICASET,
                "{\"metadata\":{\"name\":\"r\",\"namespace\":\"ns\",\"ownerReferences\":[{\"kind\":"
                "\"Deployment\",\"name\":\"d\",\"controller\":true}]}}");
    cluster_add(&cluster, KUBE_POD,
                "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"ownerReferences\":[{\"kind\":"
                "\"ReplicaSet\",\"name\":\"r\",\"controller\":true}]},\"status\":{}}");
    cluster_add(&cluster, KUBE_ENDPOINTS,
                "{\"metadata\":{\"name\":\"s\",\"namespace\":\"ns\"},\"subsets\":[{\"addresses\":[{"
                "\"ip\":\"10.1.1.1\",\"targetRef\":{\"kind\":\"Pod\",\"name\":\"p\",\"namespace\":"
                "\"ns\"}}],\"ports\":[{\"port\":80}]}]}");
    check_group(&cluster,
                "endpoints/ns/s\nendpoints_name=s\nnamespace=ns\n-\n__address__=10.1.1.1:80\n"
                "endpoint_address_target_kind=Pod\nendpoint_address_target_name=p\n"
                "endpoint_ready=true\npod_controller_kind=ReplicaSet\npod_controller_name=r\n"
                "pod_deployment_name=d\npod_name=p\npod_ready=unknown\n");
}

static const char *const slice_text =
    "{\"metadata\":{\"name\":\"s-1\",\"namespace\":\"ns\",\"labels\":{\"kubernetes.io/"
    "service-name\":"
    "\"s\"}},\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.1.1.1\"],\"conditions\":{"
    "\"ready\":true,\"terminating\":false},\"nodeName\":\"n1\",\"zone\":\"z\",\"hostname\":\"h\","
    "\"targetRef\":{\"kind\":\"Pod\",\"name\":\"p\",\"namespace\":\"ns\"},\"deprecatedTopology\":{"
    "\"a/b\":\"c\"}}],\"ports\":[{\"name\":\"w\",\"port\":80,\"protocol\":\"TCP\",\"appProtocol\":"
    "\"http\"}]}";

static void test_endpointslice__are_addresses_by_ports(void **state)
{
    struct cluster cluster = {0};

    (void)state;
    add_service_and_pod(&cluster,
                        ",\"ipFamilyPolicy\":\"PreferDualStack\",\"ipFamilies\":[\"IPv4\"]");
    cluster_add(&cluster, KUBE_ENDPOINTSLICE, slice_text);
    check_group(
        &cluster,
        "endpointslice/ns/s-1\nendpointslice_address_type=IPv4\n"
        "endpointslice_label_kubernetes_io_service_name=s\n"
        "endpointslice_labelpresent_kubernetes_io_service_name=true\n"
        "endpointslice_name=s-1\nnamespace=ns\nservice_label_l=1\n"
        "service_labelpresent_l=true\nservice_name=s\n"
        "-\n__address__=10.1.1.1:80\nendpointslice_address_target_kind=Pod\n"
        "endpointslice_address_target_name=p\n"
        "endpointslice_endpoint_conditions_ready=true\n"
        "endpointslice_endpoint_conditions_terminating=false\n"
        "endpointslice_endpoint_hostname=h\nendpointslice_endpoint_node_name=n1\n"
        "endpointslice_endpoint_topology_a_b=c\n"
        "endpointslice_endpoint_topology_present_a_b=true\n"
        "endpointslice_endpoint_zone=z\nendpointslice_port=80\n"
        "endpointslice_port_app_protocol=http\nendpointslice_port_name=w\n"
        "endpointslice_port_protocol=TCP\npod_container_image=i1\n"
        "pod_container_init=false\npod_container_name=c1\npod_container_port_name=web\n"
        "pod_container_port_number=80\npod_container_port_protocol=TCP\n" POD_COMMON POD_REST
            OTHER_PORT);
}

/* Half a group that nobody waits for any more. */
static void test_group_cancel__frees_what_is_half_made(void **state)
{
    struct cluster cluster = {0};

    (void)state;
    cluster_add(&cluster, KUBE_ENDPOINTS,
                "{\"metadata\":{\"name\":\"e\",\"namespace\":\"n\"},\"subsets\":[{\"addresses\":["
                "{\"ip\":\"1.1.1.1\"},{\"ip\":\"1.1.1.2\"},{\"ip\":\"1.1.1.3\"}],"
                "\"ports\":[{\"port\":1},{\"port\":2}]}]}");
    for (int steps = 0; steps <= 7; steps++) {
        struct kube_build *build =
            kube_group_begin(KUBE_ENDPOINTS, cluster.objects[0], &cluster.lookup);
        for (int i = 0; i < steps; i++)
            assert_int_equal(kube_group_step(build), i < 6);
        kube_group_cancel(build);
    }
    cluster_free(&cluster);
}

/* The same pods again, by their other address. */
static void test_endpointslice__of_the_second_family_gives_nothing(void **state)
{
    struct cluster cluster = {0};

    (void)state;
    add_service_and_pod(
        &cluster, ",\"ipFamilyPolicy\":\"RequireDualStack\",\"ipFamilies\":[\"IPv6\",\"IPv4\"]");
    cluster_add(&cluster, KUBE_ENDPOINTSLICE, slice_text);
    check_group(&cluster, "endpointslice/ns/s-1\n");
}

static void test_ingress__gives_its_paths(void **state)
{
    struct cluster cluster = {0};

    (void)state;
    cluster_add(
        &cluster, KUBE_INGRESS,
        "{\"metadata\":{\"name\":\"i\",\"namespace\":\"ns\"},\"spec\":{\"ingressClassName\":"
        "\"nginx\",\"tls\":[{\"hosts\":[\"*.x.test\"]}],\"rules\":[{\"host\":\"a.x.test\","
        "\"http\":{\"paths\":[{\"path\":\"/a\"},{}]}},{\"host\":\"b.a.x.test\"}]}}");
    check_group(&cluster, "ingress/ns/i\ningress_class_name=nginx\ningress_name=i\nnamespace=ns\n"
                          "-\n__address__=a.x.test\ningress_host=a.x.test\ningress_path=/a\n"
                          "ingress_scheme=https\n"
                          "-\n__address__=a.x.test\ningress_host=a.x.test\ningress_path=/\n"
                          "ingress_scheme=https\n"
                          "-\n__address__=b.a.x.test\ningress_host=b.a.x.test\ningress_path=/\n"
                          "ingress_scheme=http\n");
}

static void on_nothing(void *ctx, struct str key, enum kubernetes_event event, bool differs)
{
    size_t *counts = ctx;

    (void)key;
    (void)differs;
    counts[event]++;
}

static void big_pod(struct buf *out, unsigned number)
{
    buf_clear(out);
    buf_addf(
        out,
        "{\"metadata\":{\"name\":\"api-server-6d4cf56db6-x%05u\",\"namespace\":\"production-%u\","
        "\"uid\":\"0b5c1a70-0000-4000-8000-%012u\",\"labels\":{\"app.kubernetes.io/name\":"
        "\"api-server\",\"app.kubernetes.io/version\":\"1.2.3\",\"app\":\"api\",\"tier\":\"web\","
        "\"pod-template-hash\":\"6d4cf56db6\"},\"annotations\":{\"prometheus.io/scrape\":\"true\","
        "\"prometheus.io/port\":\"8080\",\"prometheus.io/path\":\"/metrics\",\"checksum/config\":"
        "\"0123456789abcdef0123456789abcdef\",\"kubernetes.io/psp\":\"restricted\"},"
        "\"ownerReferences\":[{\"kind\":\"ReplicaSet\",\"name\":\"api-server-6d4cf56db6\","
        "\"controller\":true}],\"managedFields\":[",
        number, number % 20, number);
    for (int i = 0; i < 40; i++)
        buf_addf(out, "%s{\"manager\":\"kubelet\",\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{}}}}",
                 i ? "," : "");
    buf_addf(
        out,
        "]},\"spec\":{\"nodeName\":\"node-%u.example.internal\",\"containers\":[{\"name\":\"api\","
        "\"image\":\"registry.example.com/team/"
        "api:1.2.3\",\"env\":[{\"name\":\"A\",\"value\":\"b\"}],"
        "\"ports\":[{\"name\":\"http\",\"containerPort\":8080,\"protocol\":\"TCP\"}]},{\"name\":"
        "\"proxy\",\"image\":\"registry.example.com/mesh/proxy:9\",\"ports\":[{\"name\":\"admin\","
        "\"containerPort\":15090,\"protocol\":\"TCP\"}]}]},\"status\":{\"phase\":\"Running\","
        "\"podIP\":\"10.%u.%u.%u\",\"hostIP\":\"192.168.0.%u\",\"conditions\":[{\"type\":"
        "\"Initialized\",\"status\":\"True\"},{\"type\":\"Ready\",\"status\":\"True\"}],"
        "\"containerStatuses\":[{\"name\":\"api\",\"containerID\":\"containerd://%064u\"},{"
        "\"name\":\"proxy\",\"containerID\":\"containerd://%064u\"}]}}",
        number % 200, number >> 16, number >> 8 & 255, number & 255, number % 200, number, number);
    buf_add_char(out, 0);
}

/* Ten thousand pods have to fit beside everything else of a small server. */
static void test_store__of_ten_thousand_pods_is_small(void **state)
{
    struct kube_store store;
    size_t counts[3] = {0};
    size_t heap_before = mallinfo2().uordblks;
    struct buf text;

    (void)state;
    kube_store_init(&store, on_nothing, counts);
    buf_init(&text, 1 << 20);
    for (unsigned i = 0; i < 10000; i++) {
        big_pod(&text, i);
        kube_store_put(&store, object_of(KUBE_POD, text.ptr));
    }
    size_t json_len = text.len;
    buf_deinit(&text);
    printf("10000 pods of %zu bytes of JSON: %zu bytes kept, %zu bytes of heap\n", json_len,
           kube_store_bytes(&store), mallinfo2().uordblks - heap_before);
    assert_int_equal(counts[KUBERNETES_ADD], 10000);
    assert_true(kube_store_bytes(&store) < (size_t)20 << 20);
    kube_store_deinit(&store);
}

/* A list that lacks an object ends it; one that has it again unchanged tells nothing new. */
static void test_store__sweeps_what_a_list_lacks(void **state)
{
    struct kube_store store;
    size_t counts[3] = {0};

    (void)state;
    kube_store_init(&store, on_nothing, counts);
    kube_store_put(&store, object_of(KUBE_NAMESPACE, "{\"metadata\":{\"name\":\"a\"}}"));
    kube_store_put(&store, object_of(KUBE_NAMESPACE, "{\"metadata\":{\"name\":\"b\"}}"));
    store.round++;
    kube_store_put(&store, object_of(KUBE_NAMESPACE, "{\"metadata\":{\"name\":\"b\"}}"));
    kube_store_sweep(&store);
    assert_int_equal(counts[KUBERNETES_ADD], 2);
    assert_int_equal(counts[KUBERNETES_UPDATE], 1);
    assert_int_equal(counts[KUBERNETES_DELETE], 1);
    assert_null(kube_store_find(&store, STR("a")));
    assert_non_null(kube_store_find(&store, STR("b")));
    kube_store_remove(&store, STR("b"));
    kube_store_remove(&store, STR("b"));
    assert_int_equal(store.bytes, 0);
    kube_store_deinit(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_object__keeps_what_targets_are_made_of),
        cmocka_unit_test(test_object__refuses_what_has_no_name),
        cmocka_unit_test(test_node__gives_its_kubelet),
        cmocka_unit_test(test_node__without_address_gives_nothing),
        cmocka_unit_test(test_pod__gives_its_ports),
        cmocka_unit_test(test_pod__gets_labels_of_others),
        cmocka_unit_test(test_pod__may_give_nothing),
        cmocka_unit_test(test_service__gives_its_ports),
        cmocka_unit_test(test_endpoints__are_addresses_by_ports),
        cmocka_unit_test(test_endpoints__know_the_owners_of_pods),
        cmocka_unit_test(test_endpointslice__are_addresses_by_ports),
        cmocka_unit_test(test_endpointslice__of_the_second_family_gives_nothing),
        cmocka_unit_test(test_ingress__gives_its_paths),
        cmocka_unit_test(test_group_cancel__frees_what_is_half_made),
        cmocka_unit_test(test_store__of_ten_thousand_pods_is_small),
        cmocka_unit_test(test_store__sweeps_what_a_list_lacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
