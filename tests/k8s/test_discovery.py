"""kubernetes_sd_configs against a real API server: all roles, what changes, what is limited, and what breaks: connections, the
API server, its history, its versions, tokens."""
import concurrent.futures
import os
import subprocess
import time

from control_plane import HOST, ControlPlane, Relay, harness, new_folder, wait_for, write_file  # First: it finds harness.
from harness import Server
from kubelet import Kubelet
from test_kubernetes import ROLES, addresses, compare_role, config_of, discovered, job, start_agent

COMMON = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "k8s", "00-common.yaml")
SERVICE_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"
FRESH = "/api/v1/namespaces/fresh"
DEADLINE_S = 90

plane = kubelet = relay = token_file = None


def start_world():
    global plane, kubelet, relay, token_file
    plane = ControlPlane().start()
    kubelet = Kubelet(plane, nodes=("node-1", "node-2"))
    relay = Relay()
    plane.kubectl("apply", "-f", COMMON)
    for name in ("fresh", "other", "many"):
        plane.create("/api/v1/namespaces", name, "v1/Namespace", metadata={"labels": {"team": "team-" + name}})
    wait_for("its accounts", lambda: all(plane.call("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default")
                                         for name in ("fresh", "other")), DEADLINE_S)
    token_file = write_file(os.path.join(new_folder("token"), "token"), plane.token("ode", "narthex"))


def access():
    """By the relay, as the account of the manifests."""
    return (f"    api_server: {relay.url}\n    authorization:\n      credentials_file: {token_file}\n"
            f"    tls_config:\n      ca_file: {plane.cluster_ca.crt}\n")


def pod_template(labels, annotations):
    port = {"name": "web", "containerPort": 8080}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": {
        "initContainers": [{"name": "init", "image": "example/init:1"}],
        "containers": [{"name": "app", "image": "example/app:1", "ports": [port, {"name": "metrics", "containerPort": 9100}]},
                       {"name": "side", "image": "example/side:1"}]}}


def create_deployment(name, count, namespace="fresh"):
    labels = {"app": name}
    plane.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", name, "apps/v1/Deployment", spec={
        "replicas": count, "selector": {"matchLabels": labels},
        "template": pod_template(labels, {"prometheus.io/scrape": "true"})})


def create_service(name, namespace="fresh", **spec):
    ports = [{"name": "web", "port": 80, "targetPort": "web"}, {"name": "metrics", "port": 9100}]
    plane.create(f"/api/v1/namespaces/{namespace}/services", name, "v1/Service", metadata={"labels": {"app": name}},
                 spec={"ports": ports, **spec})


def create_pod(name, namespace="other", **labels):
    plane.create(f"/api/v1/namespaces/{namespace}/pods", name, "v1/Pod", metadata={"labels": labels},
                 spec={"containers": [{"name": "c", "image": "example/c:1"}]})


def names(server, pool, label="pod_name"):
    return sorted({labels["__meta_kubernetes_" + label] for labels in discovered(server, pool)})


def wait_names(server, pool, wanted, label="pod_name"):
    wait_for(f"{pool}: {wanted}", lambda: names(server, pool, label) == sorted(wanted), DEADLINE_S)


def test_roles__are_those_of_another_scraper():
    create_deployment("web", 2)
    create_service("web", selector={"app": "web"}, type="LoadBalancer")
    create_service("outside", type="ExternalName", externalName="db.example.com")
    plane.create("/apis/networking.k8s.io/v1/namespaces/fresh/ingresses", "site", "networking.k8s.io/v1/Ingress", spec={
        "ingressClassName": "nginx", "tls": [{"hosts": ["a.example.com"]}],
        "rules": [{"host": host, "http": {"paths": [{"path": "/x", "pathType": "Prefix", "backend": {
            "service": {"name": "web", "port": {"number": 80}}}}]}} for host in ("a.example.com", "b.example.com")]})
    plane.create("/api/v1/namespaces/fresh/endpoints", "by-hand", "v1/Endpoints", subsets=[
        {"addresses": [{"ip": "192.0.2.7"}], "notReadyAddresses": [{"ip": "192.0.2.8", "hostname": "h"}],
         "ports": [{"port": 7, "name": "echo"}]}])
    create_service("by-hand")
    wait_for("two pods run", lambda: sum(p.ready and p.name.startswith("web-") for p in list(kubelet.pods.values())) == 2, DEADLINE_S)
    wait_for("behind the service", lambda: len(plane.call("GET", FRESH + "/endpoints/web")["subsets"][0]["addresses"]) == 2, DEADLINE_S)
    wait_for("mirrored", lambda: any(s["metadata"]["name"].startswith("by-hand") for s in plane.items(
        "/apis/discovery.k8s.io/v1/namespaces/fresh/endpointslices")), DEADLINE_S)
    attach = "    attach_metadata:\n      node: true\n"
    jobs = [job(role, role, access(), attach if role in ("pod", "endpoints", "endpointslice") else "") for role in ROLES]
    ours, theirs = Server(config_of(*jobs)), start_agent(config_of(*jobs))
    for role in ROLES:
        compare_role(ours, theirs, role)
    pod = [t for t in discovered(ours, "pod") if t["__address__"].endswith(":8080")][0]
    for name, value in {"namespace": "fresh", "pod_label_app": "web", "pod_annotation_prometheus_io_scrape": "true", "pod_ready": "true",
                        "pod_phase": "Running", "pod_controller_kind": "ReplicaSet", "pod_container_name": "app",
                        "pod_container_port_name": "web", "pod_container_init": "false", "pod_host_ip": HOST,
                        "node_label_disk_type": "ssd"}.items():
        assert pod["__meta_kubernetes_" + name] == value, (name, pod)
    assert pod["__meta_kubernetes_pod_container_id"].startswith("containerd://") and pod["__meta_kubernetes_pod_uid"]
    assert addresses(ours, "node") == [HOST + ":10260"] * 2
    assert names(ours, "ingress", "ingress_scheme") == ["http", "https"]
    kubernetes = [t for t in discovered(ours, "endpoints") if t["__meta_kubernetes_service_name"] == "kubernetes"]
    assert [t["__address__"] for t in kubernetes] == [HOST + ":443"], kubernetes
    ports = {(t["__meta_kubernetes_endpointslice_name"][:4], t["__meta_kubernetes_endpointslice_port"]): t
             for t in discovered(ours, "endpointslice")}
    assert ports[("web-", "8080")]["__meta_kubernetes_endpointslice_endpoint_conditions_ready"] == "true"
    assert {t["__address__"] for t in discovered(ours, "service")} >= {"web.fresh.svc:80", "kubernetes.default.svc:443"}
    log = ours.log()
    assert "WARN" not in log and "ERROR" not in log, log


def test_objects__come_change_move_and_go():
    create_deployment("busy", 1)
    create_service("busy", selector={"app": "busy"})
    select = "    selectors:\n    - role: pod\n      label: app=busy\n"
    server = Server(config_of(job("pod", "pod", access(), select), job("endpoints", "endpoints", access()),
                              job("endpointslice", "endpointslice", access())))

    def count(pool, wanted):
        def found():
            return {labels["__meta_kubernetes_pod_name"] for labels in discovered(server, pool)
                    if labels.get("__meta_kubernetes_pod_label_app") == "busy" and labels["__meta_kubernetes_pod_ready"] == "true"}
        return wait_for(f"{wanted} of {pool}", lambda: len(found()) == wanted and (found() or {"none"}), DEADLINE_S)

    scale = "/apis/apps/v1/namespaces/fresh/deployments/busy"
    for wanted in (1, 5, 2):
        plane.patch(scale, {"spec": {"replicas": wanted}})
        for pool in ("pod", "endpoints", "endpointslice"):
            found = count(pool, wanted)
    one = sorted(found)[0]
    plane.kubectl("-n", "fresh", "label", "pod", one, "color=blue")
    plane.kubectl("-n", "fresh", "annotate", "pod", one, "example.com/note=x")

    def changed(pool):
        return any(labels.get("__meta_kubernetes_pod_label_color") == "blue" and labels["__meta_kubernetes_pod_annotation_example_com_note"] == "x"
                   for labels in discovered(server, pool))

    for pool in ("pod", "endpoints", "endpointslice"):
        wait_for("its label at " + pool, lambda p=pool: changed(p), DEADLINE_S)
    before = set(addresses(server, "pod"))
    plane.kubectl("-n", "fresh", "delete", "pod", one, "--wait=false")
    wait_for("another in its place", lambda: one not in names(server, "pod") and len(names(server, "pod")) == 2, DEADLINE_S)
    assert set(addresses(server, "pod")) != before
    plane.kubectl("-n", "fresh", "label", "pod", names(server, "pod")[0], "app=none", "--overwrite")  # The selector's end, and a new one.
    wait_for("two again", lambda: len(count("endpointslice", 2)) == 2, DEADLINE_S)
    plane.kubectl("-n", "fresh", "delete", "deployment/busy", "service/busy", "--wait=false")
    for pool in ("pod", "endpoints", "endpointslice"):
        count(pool, 0)


def test_limits__namespaces_selectors_and_what_is_attached():
    create_pod("plain", color="red")
    create_pod("marked", color="blue")
    plane.create("/apis/batch/v1/namespaces/other/cronjobs", "nightly", "batch/v1/CronJob", spec={
        "schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "example/c:1"}]}}}}})
    plane.kubectl("-n", "other", "create", "job", "--from=cronjob/nightly", "now")
    plane.kubectl("create", "clusterrole", "owners", "--verb=list,watch", "--resource=replicasets.apps,jobs.batch")
    plane.kubectl("create", "clusterrolebinding", "owners", "--clusterrole=owners", "--serviceaccount=ode:narthex")
    only = "    namespaces:\n      names: [other]\n"
    attach = "    attach_metadata: {node: true, namespace: true, deployment: true, job: true, cronjob: true}\n"
    server = Server(config_of(
        job("one", "pod", access(), only),
        job("label", "pod", access(), only + "    selectors:\n    - {role: pod, label: 'color in (blue,green)', field: status.phase=Running}\n"),
        job("node", "pod", access(), only + "    selectors:\n    - {role: pod, field: spec.nodeName=node-1}\n"),
        job("attached", "pod", access(), attach)))
    wait_for("the job's pod", lambda: any(name.startswith("now-") for name in names(server, "one")), DEADLINE_S)
    assert set(names(server, "one")) >= {"plain", "marked"} and names(server, "one", "namespace") == ["other"]
    wait_names(server, "label", ["marked"])
    wait_for("node-1", lambda: names(server, "node", "pod_node_name") == ["node-1"], DEADLINE_S)
    by_app = {labels.get("__meta_kubernetes_pod_label_app", labels["__meta_kubernetes_pod_name"].split("-")[0]): labels
              for labels in wait_for("all", lambda: discovered(server, "attached"), DEADLINE_S)}
    assert by_app["web"]["__meta_kubernetes_pod_deployment_name"] == "web", by_app["web"]
    assert by_app["web"]["__meta_kubernetes_namespace_label_team"] == "team-fresh"
    assert by_app["web"]["__meta_kubernetes_node_label_disk_type"] == "ssd"
    assert by_app["now"]["__meta_kubernetes_pod_job_name"] == "now" and by_app["now"]["__meta_kubernetes_pod_cronjob_name"] == "nightly"
    plane.kubectl("label", "namespace", "fresh", "team=renamed", "--overwrite")
    plane.kubectl("label", "node", "node-1", "node-2", "disk-type=hdd", "--overwrite")
    wait_for("what is attached changes", lambda: all(
        labels["__meta_kubernetes_node_label_disk_type"] == "hdd" and labels["__meta_kubernetes_namespace_label_team"] == "renamed"
        for labels in discovered(server, "attached") if labels["__meta_kubernetes_namespace"] == "fresh"), DEADLINE_S)


def test_in_cluster__own_namespace():
    """Credentials and namespace where a pod has them; the account may see its own namespace only."""
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
    os.makedirs(SERVICE_ACCOUNT)
    plane.kubectl("-n", "other", "create", "role", "pods", "--verb=get,list,watch", "--resource=pods")
    plane.kubectl("-n", "other", "create", "rolebinding", "pods", "--role=pods", "--serviceaccount=other:default")
    with open(plane.cluster_ca.crt, encoding="ascii") as f:
        authority = f.read()
    for name, text in (("token", plane.token("other", "default")), ("ca.crt", authority), ("namespace", "other")):
        write_file(os.path.join(SERVICE_ACCOUNT, name), text)
    os.environ.update(KUBERNETES_SERVICE_HOST="10.96.0.1", KUBERNETES_SERVICE_PORT="443")
    # The address of Service kubernetes; with no kube-proxy the API server listens there, too.
    server = Server(config_of(job("own", "pod", "", "    namespaces: {own_namespace: true}\n"), job("all", "pod", "")))
    wait_for("pods of its own", lambda: {"plain", "marked"} <= set(names(server, "own")), DEADLINE_S)
    wait_for("what it may not", lambda: 'cannot list resource \\"pods\\"' in server.log(), DEADLINE_S)
    assert names(server, "all") == [] and server.log().count("HTTP status 403") == 1, server.log()
    plane.kubectl("create", "clusterrolebinding", "late", "--clusterrole=narthex", "--serviceaccount=other:default")
    wait_for("a right that comes later", lambda: "plain" in names(server, "all"), DEADLINE_S)


def test_pages__all_of_many():
    """Three pages of a list; and a burst of events."""
    def make(number):
        plane.create("/api/v1/namespaces/many/services", f"s{number:04}", "v1/Service", spec={"clusterIP": "None", "ports": [{"port": 1}]})

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(1203)))
        server = Server(config_of(job("many", "service", access(), "    namespaces:\n      names: [many]\n")))
        wait_for("all", lambda: len(addresses(server, "many")) == 1203, DEADLINE_S)
        list(pool.map(make, range(1203, 1303)))
    wait_for("more", lambda: len(addresses(server, "many")) == 1303, DEADLINE_S)
    plane.call("DELETE", "/api/v1/namespaces/many/services?fieldSelector=metadata.name%3Ds0007", {})
    wait_for("one less", lambda: len(addresses(server, "many")) == 1302, DEADLINE_S)


def test_watches__are_cut_and_refused():
    server = Server(config_of(job("pod", "pod", access(), "    namespaces:\n      names: [other]\n")))
    wait_for("the first", lambda: "plain" in names(server, "pod"), DEADLINE_S)
    before = names(server, "pod")
    relay.cut()
    create_pod("after-cut")
    wait_names(server, "pod", before + ["after-cut"])
    relay.open = False
    relay.cut()
    create_pod("unseen")
    time.sleep(3)
    assert names(server, "pod") == sorted(before + ["after-cut"]), "what is known stays"
    relay.open = True
    wait_names(server, "pod", before + ["after-cut", "unseen"])


def test_api_server__ends_and_comes_back():
    server = Server(config_of(job("pod", "pod", access(), "    namespaces:\n      names: [other]\n")))
    before = wait_for("pods", lambda: names(server, "pod"), DEADLINE_S)
    plane.stop_api_server()
    wait_for("it is said", lambda: "Failed to watch" in server.log(), DEADLINE_S)
    assert names(server, "pod") == before
    plane.start_api_server()
    create_pod("after-restart")
    wait_names(server, "pod", before + ["after-restart"])


def test_history__is_gone():
    """410: only a new list can tell what has vanished meanwhile."""
    server = Server(config_of(job("pod", "pod", access(), "    namespaces:\n      names: [other]\n")))
    before = wait_for("pods", lambda: names(server, "pod"), DEADLINE_S)
    version = plane.call("GET", "/api/v1/pods?limit=1")["metadata"]["resourceVersion"]
    relay.open = False
    relay.cut()
    plane.delete("/api/v1/namespaces/other/pods/after-cut", gracePeriodSeconds=0)
    create_pod("after-gap")
    wait_for("it has gone", lambda: "after-cut" not in plane.kubectl("-n", "other", "get", "pods", "-o", "name"), DEADLINE_S)
    plane.compact()
    plane.api_server.kill()
    plane.start_api_server()
    text = plane.call("GET", f"/api/v1/pods?watch=1&resourceVersion={version}&timeoutSeconds=1")
    assert "too old resource version" in str(text), text
    relay.open = True
    wait_names(server, "pod", [name for name in before if name != "after-cut"] + ["after-gap"])


def test_token__ends_and_another_comes():
    """A token ends with the Secret that it is bound to."""
    plane.create("/api/v1/namespaces/ode/secrets", "bound", "v1/Secret")
    path = write_file(os.path.join(new_folder("token"), "token"), plane.token("ode", "narthex", "bound"))
    server = Server(config_of(job("pod", "pod", access().replace(token_file, path), "    namespaces:\n      names: [other]\n")))
    before = wait_for("pods", lambda: names(server, "pod"), DEADLINE_S)
    plane.delete("/api/v1/namespaces/ode/secrets/bound")
    wait_for("a refusal", lambda: relay.cut() or "HTTP status 401" in server.log(), DEADLINE_S, 1)
    create_pod("after-refusal")
    time.sleep(2)
    assert names(server, "pod") == before, "what is known stays"
    write_file(path, plane.token("ode", "narthex"))
    wait_names(server, "pod", before + ["after-refusal"])
    assert server.log().count("HTTP status 401") == 1, server.log()


def test_cluster__is_made_anew():
    """Its versions start over, below those that we know: a version that is too large."""
    server = Server(config_of(job("node", "node", f"    kubeconfig_file: {plane.kubeconfig}\n"),
                              job("service", "service", f"    kubeconfig_file: {plane.kubeconfig}\n")))
    wait_for("services", lambda: len(addresses(server, "service")) > 1000 and addresses(server, "node"), DEADLINE_S)
    kubelet.close()
    plane.lose_everything()
    wait_for("what there is now", lambda: addresses(server, "service") == ["kubernetes.default.svc:443"], DEADLINE_S)
    wait_for("no nodes", lambda: addresses(server, "node") == [], DEADLINE_S)
    kubelet.add_node("node-9")
    wait_for("a node", lambda: addresses(server, "node") == [HOST + ":10260"], DEADLINE_S)


if __name__ == "__main__":
    start_world()
    harness.main(globals())
