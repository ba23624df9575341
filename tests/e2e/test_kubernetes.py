"""Service discovery from a Kubernetes API server: all roles as Prometheus has them, and what happens when objects, the
history, the connections and the credentials come and go. Against fake_kube; tests/k8s has the real one."""
import base64
import os
import time

import harness
from fake_kube import Certificates, FakeKube
from harness import Server, new_folder, wait_for, write_file

TOKEN = "first-token"


def meta(name, namespace=None, **more):
    found = {"name": name, "uid": "uid-" + name, **more}
    if namespace:
        found["namespace"] = namespace
    return found


def pod(name, ip="10.1.0.1", namespace="ode", node="node-a", ports=(("web", 8080),), phase="Running", ready="True", **more):
    return {
        "metadata": meta(name, namespace, managedFields=[{"manager": "kubelet", "fieldsV1": {"f:metadata": {}}}], **more),
        "spec": {
            "nodeName": node,
            "containers": [
                {"name": "app", "image": "example/app:1", "env": [{"name": "A", "value": "}\"{,]["}],
                 "ports": [{"name": n, "containerPort": p, "protocol": "TCP"} for n, p in ports]},
                {"name": "side", "image": "example/side:2"},
            ],
            "initContainers": [{"name": "init", "image": "example/init:3", "ports": [{"containerPort": 7000}]}],
        },
        "status": {
            "phase": phase, "podIP": ip, "hostIP": "192.0.2.1",
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "app", "containerID": "containerd://abc-" + name}],
        },
    }


def node(name):
    return {
        "metadata": meta(name, labels={"kubernetes.io/hostname": name, "disk-type": "ssd"},
                         annotations={"node.alpha.kubernetes.io/ttl": "0"}),
        "spec": {"providerID": "fake:///" + name},
        "status": {
            "addresses": [{"type": "Hostname", "address": name}, {"type": "ExternalIP", "address": "198.51.100.7"},
                          {"type": "InternalIP", "address": "192.0.2.1"}, {"type": "InternalIP", "address": "192.0.2.2"}],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "MemoryPressure", "status": "Unknown"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        },
    }


def fill(kube):
    """One of everything, with what tells the roles' rules apart."""
    owner = [{"kind": "ReplicaSet", "name": "api-1", "controller": True}, {"kind": "Other", "name": "x"}]
    for name in ("node-a", "node-b"):
        kube.put("nodes", node(name))
    kube.put("nodes", {"metadata": meta("no-address"), "spec": {}, "status": {}})
    for name in ("ode", "default"):
        kube.put("namespaces", {"metadata": meta(name, labels={"team": "x-" + name}, annotations={"a/b": "c"})})
    kube.put("pods", pod("api-1-x", ports=(("web", 8080), ("metrics", 9090)), labels={"app": "api", "app.kubernetes.io/name": "API"},
                         annotations={"prometheus.io/scrape": "true", "empty": ""}, ownerReferences=owner))
    kube.put("pods", pod("v6", ip="2001:db8::7", node="node-b", ready="False"))
    kube.put("pods", pod("starting", ip="", phase="Pending"))
    kube.put("pods", pod("elsewhere", namespace="default", ip="10.1.0.9", node="unknown", ports=()))
    kube.put("services", {"metadata": meta("api", "ode", labels={"app": "api"}, annotations={"team": "a"}),
                          "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1", "loadBalancerIP": "203.0.113.1",
                                   "ports": [{"name": "web", "port": 80, "protocol": "TCP", "targetPort": 8080},
                                             {"name": "extra", "port": 81, "protocol": "UDP"}]}})
    kube.put("services", {"metadata": meta("out", "ode"),
                          "spec": {"type": "ExternalName", "externalName": "db.example.com", "ports": [{"port": 5432, "protocol": "TCP"}]}})
    target = {"kind": "Pod", "namespace": "ode", "name": "api-1-x", "uid": "u"}
    kube.put("endpoints", {
        "metadata": meta("api", "ode", labels={"app": "api"}, annotations={"endpoints.kubernetes.io/last-change": "now"}),
        "subsets": [{
            "addresses": [{"ip": "10.1.0.1", "nodeName": "node-a", "targetRef": target}, {"ip": "10.9.9.9", "hostname": "h"}],
            "notReadyAddresses": [{"ip": "2001:db8::7", "targetRef": dict(target, name="v6")},
                                  {"ip": "192.0.2.1", "targetRef": {"kind": "Node", "name": "node-b"}}],
            "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}]}]})
    kube.put("endpointslices", {
        "metadata": meta("api-abc", "ode", labels={"kubernetes.io/service-name": "api"}), "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.1.0.1", "10.1.0.2"], "conditions": {"ready": True, "serving": True, "terminating": False},
             "nodeName": "node-a", "zone": "z1", "hostname": "h1", "targetRef": target,
             "deprecatedTopology": {"topology.kubernetes.io/region": "r1"}},
            {"addresses": ["10.9.9.9"], "conditions": {}}],
        "ports": [{"name": "web", "port": 8080, "protocol": "TCP", "appProtocol": "http"}, {"name": "none"}]})
    kube.put("ingresses", {
        "metadata": meta("site", "ode", labels={"app": "site"}, annotations={"x": "y"}),
        "spec": {"ingressClassName": "nginx", "tls": [{"hosts": ["*.example.com", "one.test"]}],
                 "rules": [{"host": "a.example.com", "http": {"paths": [{"path": "/a"}, {"path": ""}]}},
                           {"host": "a.b.example.com", "http": {"paths": [{"path": "/"}]}},
                           {"host": "one.test"}]}})
    kube.put("replicasets", {"metadata": meta("api-1", "ode", ownerReferences=[{"kind": "Deployment", "name": "api", "controller": True}])})


class Cluster:
    """A stand-in over TLS with a token in a file."""

    def __init__(self, **more):
        self.folder = new_folder("kube")
        self.certificates = Certificates(self.folder)
        self.kube = FakeKube(self.certificates, tokens={TOKEN}, **more)
        self.token_file = write_file(os.path.join(self.folder, "token"), TOKEN + "\n")

    def access(self):
        return f"""    api_server: {self.kube.url}
    authorization:
      credentials_file: {self.token_file}
    tls_config:
      ca_file: {self.certificates.ca}
"""


def job(name, role, access, more="", keep=False):
    drop = "" if keep else "  relabel_configs:\n  - action: drop\n    source_labels: [job]\n    regex: .+\n"
    return f"- job_name: {name}\n  scrape_interval: 1h\n  kubernetes_sd_configs:\n  - role: {role}\n{access}{more}{drop}"


def config_of(*jobs):
    return "scrape_configs:\n" + "".join(jobs)


HISTOGRAM_SWITCHES = ("__scrape_native_histograms__", "__always_scrape_classic_histograms__",
                      "__convert_classic_histograms_to_nhcb__")  # The job's, which the peer does not know.


def discovered(server, pool):
    """The label sets before relabelling, sorted. All jobs here drop their targets, so that nothing is scraped."""
    found = server.data("/api/v1/targets", {"state": "dropped", "scrapePool": pool})["droppedTargets"]
    return sorted(({name: text for name, text in t["discoveredLabels"].items() if name not in HISTOGRAM_SWITCHES}
                   for t in found if t["discoveredLabels"]["job"] == pool), key=lambda labels: sorted(labels.items()))


def addresses(server, pool):
    return sorted(labels["__address__"] for labels in discovered(server, pool))


ROLES = ("node", "pod", "service", "endpoints", "endpointslice", "ingress")
ATTACH_NODE = "    attach_metadata:\n      node: true\n"

# What Prometheus 3 gives and the peer, which follows an older one, does not; by their beginnings.
ONLY_HERE = {
    "node": ("node_condition_",),
    "pod": ("pod_container_id", "pod_container_image"),
    "service": ("service_loadbalancer_ip", "service_port_number"),
    "endpoints": ("pod_container_image", "pod_container_init", "endpoints_", "node_"),
    "endpointslice": ("pod_container_image", "pod_container_init", "endpointslice_", "node_"),
    "ingress": (),
}
# What only the peer gives: the service's address, and the node of a pod's further ports or one that is not known.
ONLY_THERE = {
    "pod": ("node_name",),
    "endpoints": ("service_cluster_ip", "service_type", "node_"),
    "endpointslice": ("service_cluster_ip", "service_type", "node_", "endpointslice_port",
                      "endpointslice_endpoint_conditions_ready"),  # false for what is not known
}

def start_agent(config):
    """A scraper of others with the same discovery: Debian's Prometheus is built without it."""
    home, port = new_folder("agent"), harness.free_port()
    path = write_file(os.path.join(home, "prometheus.yml"), config)
    argv = [harness.peer_path("victoria-metrics", "vmagent"), "-promscrape.config=" + path,
            f"-httpListenAddr=127.0.0.1:{port}", "-remoteWrite.url=http://127.0.0.1:1/", "-enableTCP6",
            "-remoteWrite.tmpDataPath=" + home, "-promscrape.kubernetesSDCheckInterval=1s"]
    return harness.Prometheus("agent", port, argv, "/health", cwd=home).start()


def shown(labels):
    return {k.removeprefix("__meta_kubernetes_"): v for k, v in labels.items()
            if v and not k.startswith("__scrape_")}


def by_address(server, role):
    """(address, container) -> labels. The peer keeps empty labels and shows a port that is missing as 0."""
    found = {}
    for labels in map(shown, discovered(server, role)):
        found[(labels["__address__"].removesuffix(":0"), labels.get("pod_container_name"),
               labels.get("endpointslice_port_name"), labels.get("ingress_path"))] = labels
    return found


def compare_role(ours, theirs, role):
    """The same targets, and the same labels but for those that only one of them has."""
    wait_for(role + " here", lambda: discovered(ours, role))
    wait_for(role + " there", lambda: discovered(theirs, role), deadline_s=40)
    mine, other = by_address(ours, role), by_address(theirs, role)
    assert set(other) <= set(mine), set(other) - set(mine)
    assert all(at[1] == "init" for at in set(mine) - set(other)), "more ports of init containers only"
    for at, labels in other.items():
        both = set(mine[at]) & set(labels) - {"__address__"}
        assert len(both) > 4, (role, at, both)
        assert {n: mine[at][n] for n in both} == {n: labels[n] for n in both}, (role, at)
        odd = [n for n in set(mine[at]) - both if n != "__address__" and not n.startswith(ONLY_HERE[role])]
        odd += [n for n in set(labels) - both if n != "__address__" and not n.startswith(ONLY_THERE.get(role, ()))]
        assert not odd, (role, at, odd)


def test_roles__labels_are_those_of_another_scraper():
    cluster = Cluster()
    fill(cluster.kube)
    cluster.kube.delete("pods", "default", "elsewhere")  # On a node that is not there: only the other one has it.
    jobs = [job(role, role, cluster.access(), ATTACH_NODE if role in ("pod", "endpoints", "endpointslice") else "")
            for role in ROLES]
    ours, theirs = Server(config_of(*jobs)), start_agent(config_of(*jobs))
    for role in ROLES:
        compare_role(ours, theirs, role)
    cluster.kube.close()


def test_pods__come_change_move_and_go():
    cluster = Cluster()
    cluster.kube.put("pods", pod("a", ip="10.0.0.1"))
    server = Server(config_of(job("pods", "pod", cluster.access())))

    def wait(what, wanted):
        wait_for(what, lambda: addresses(server, "pods") == sorted(wanted))

    def three(ip):
        return [ip + ":8080", ip, ip + ":7000"]

    wait("the first", three("10.0.0.1"))
    cluster.kube.put("pods", pod("b", ip="10.0.0.2"))
    wait("a second", three("10.0.0.1") + three("10.0.0.2"))
    cluster.kube.put("pods", pod("a", ip="10.0.0.3", node="node-b"))
    wait("the first has moved", three("10.0.0.3") + three("10.0.0.2"))
    assert {labels["__meta_kubernetes_pod_node_name"] for labels in discovered(server, "pods")} == {"node-a", "node-b"}
    cluster.kube.put("pods", pod("b", ip="10.0.0.2", labels={"app": "x"}))
    wait_for("its label", lambda: any(labels.get("__meta_kubernetes_pod_label_app") == "x"
                                      for labels in discovered(server, "pods")))
    cluster.kube.delete("pods", "ode", "a")
    wait("the first is gone", three("10.0.0.2"))
    cluster.kube.delete("pods", "ode", "b")
    wait("none", [])
    cluster.kube.close()


def bare_pod(number):
    return {"metadata": meta(f"p{number:05}", "ode"), "spec": {"nodeName": "node-a", "containers": [{"name": "c"}]},
            "status": {"podIP": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "phase": "Running"}}


def test_pages__all_items_and_what_vanished_between():
    cluster = Cluster()
    for number in range(1203):
        cluster.kube.put("pods", bare_pod(number))
    server = Server(config_of(job("pods", "pod", cluster.access())))
    wait_for("all", lambda: len(addresses(server, "pods")) == 1203)
    assert cluster.kube.count("/pods$", watch=False) == 3
    # History is gone while nobody listens: only a new list can tell what has vanished.
    cluster.kube.refuse("watch=true", 503, "ServiceUnavailable")
    cluster.kube.cut_watches()
    cluster.kube.delete("pods", "ode", "p00007")
    cluster.kube.put("pods", bare_pod(2000))
    cluster.kube.compact()
    cluster.kube.accept()
    wait_for("one gone, one come", lambda: "10.0.7.208" in addresses(server, "pods") and
             "10.0.0.7" not in addresses(server, "pods") and len(addresses(server, "pods")) == 1203)
    assert server.log().count("level=WARN") <= 2, server.log()
    cluster.kube.close()


def test_connections__cut_inside_an_event_and_slow():
    cluster = Cluster()
    cluster.kube.put("pods", bare_pod(1))
    server = Server(config_of(job("pods", "pod", cluster.access())))
    wait_for("the first", lambda: addresses(server, "pods") == ["10.0.0.1"])
    cluster.kube.cut_watches(inside=True)
    cluster.kube.put("pods", bare_pod(2))
    wait_for("after the cut", lambda: addresses(server, "pods") == ["10.0.0.1", "10.0.0.2"])
    cluster.kube.write_bytes, cluster.kube.write_pause_s = 7, 0.001
    cluster.kube.put("pods", bare_pod(3))
    cluster.kube.cut_watches()
    cluster.kube.put("pods", bare_pod(4))
    wait_for("slowly", lambda: len(addresses(server, "pods")) == 4)
    assert cluster.kube.count("/pods$", watch=False) == 1, "one list was enough"
    cluster.kube.close()


def test_bookmarks__the_version_moves_on():
    cluster = Cluster()
    cluster.kube.bookmark_s = 0.2
    cluster.kube.put("pods", bare_pod(1))
    server = Server(config_of(job("pods", "pod", cluster.access())))
    wait_for("the first", lambda: addresses(server, "pods") == ["10.0.0.1"])
    for number in range(5):  # Versions that the pods' watch sees nothing of.
        cluster.kube.put("nodes", node(f"n{number}"))
    time.sleep(0.6)
    cluster.kube.compact()
    time.sleep(0.6)  # A bookmark after the compaction.
    cluster.kube.cut_watches()
    cluster.kube.put("pods", bare_pod(2))
    wait_for("the second", lambda: len(addresses(server, "pods")) == 2)
    assert cluster.kube.count("/pods$", watch=False) == 1, "no second list"
    cluster.kube.close()


def test_versions__go_back():
    """A store that was set up again: a watch from a version that has not been yet would wait for it in silence."""
    cluster = Cluster()
    cluster.kube.version = 99990
    for number in range(3):
        cluster.kube.put("pods", bare_pod(number))
    server = Server(config_of(job("pods", "pod", cluster.access())))
    wait_for("the first", lambda: len(addresses(server, "pods")) == 3)
    cluster.kube.start_over()
    cluster.kube.put("pods", bare_pod(7))
    cluster.kube.cut_watches()
    wait_for("what there is now", lambda: addresses(server, "pods") == ["10.0.0.7"])
    cluster.kube.put("pods", bare_pod(8))
    wait_for("the watch", lambda: addresses(server, "pods") == ["10.0.0.7", "10.0.0.8"])
    cluster.kube.close()


def test_token__is_read_again():
    cluster = Cluster()
    cluster.kube.put("pods", bare_pod(1))
    server = Server(config_of(job("pods", "pod", cluster.access())))
    wait_for("the first", lambda: addresses(server, "pods") == ["10.0.0.1"])
    cluster.kube.tokens = {"second-token"}
    cluster.kube.cut_watches()
    cluster.kube.put("pods", bare_pod(2))
    wait_for("a refusal in the log", lambda: "HTTP status 401" in server.log())
    assert addresses(server, "pods") == ["10.0.0.1"], "what is known stays"
    write_file(cluster.token_file, "second-token")
    wait_for("the new token", lambda: len(addresses(server, "pods")) == 2)
    assert server.log().count("HTTP status 401") == 1, "said once"
    assert TOKEN not in server.log()
    cluster.kube.close()


def test_forbidden__is_said_once_and_tried_again():
    cluster = Cluster()
    cluster.kube.put("services", {"metadata": meta("s", "ode"), "spec": {"type": "ClusterIP", "ports": [{"port": 1}]}})
    cluster.kube.refuse("/services", 403, "Forbidden")
    server = Server(config_of(job("s", "service", cluster.access())))
    wait_for("asked again", lambda: cluster.kube.count("/services") >= 3)
    assert server.log().count("HTTP status 403: /api/v1/services") == 1, server.log()
    cluster.kube.accept()
    wait_for("found", lambda: addresses(server, "s") == ["s.ode.svc:1"])
    own = dict(line.rsplit(" ", 1) for line in server.get("/metrics").text.splitlines() if not line.startswith("#"))
    assert float(own["prometheus_sd_kubernetes_failures_total"]) >= 2
    assert float(own['prometheus_sd_kubernetes_events_total{role="service",event="add"}']) == 1
    cluster.kube.close()


def kubeconfig(cluster, user, data=False):
    def embedded(path):
        with open(path, "rb") as f:
            return base64.b64encode(f.read()).decode()

    authority = (f"certificate-authority-data: {embedded(cluster.certificates.ca)}" if data
                 else f"certificate-authority: {os.path.basename(cluster.certificates.ca)}")
    users = {
        "certificate": f"client-certificate: {cluster.certificates.client}\n    client-key: {cluster.certificates.client_key}",
        "data": f"client-certificate-data: {embedded(cluster.certificates.client)}\n"
                f"    client-key-data: {embedded(cluster.certificates.client_key)}",
        "token": f"token: {TOKEN}",
        "file": "tokenFile: token",
        "as": f"token: {TOKEN}\n    as: system:serviceaccount:ode:reader\n    as-uid: u-1\n    as-groups: [one, two]\n"
              "    as-user-extra:\n      example.com/why: [a, b]",
    }
    text = f"""apiVersion: v1
kind: Config
current-context: main
contexts:
- name: main
  context: {{cluster: here, user: someone}}
clusters:
- name: here
  cluster:
    server: {cluster.kube.url}
    {authority}
users:
- name: someone
  user:
    {users[user]}
"""
    return write_file(os.path.join(cluster.folder, f"config-{user}-{data}"), text)


def test_kubeconfig__certificates_and_tokens():
    cluster = Cluster()
    cluster.kube.put("nodes", node("node-a"))
    ways = [("certificate", False), ("data", True), ("token", True), ("file", False),
            ("as", False)]
    jobs = [job(f"{user}", "node", f"    kubeconfig_file: {kubeconfig(cluster, user, data)}\n") for user, data in ways]
    server = Server(config_of(*jobs))
    for user, _ in ways:
        wait_for(user, lambda u=user: addresses(server, u) == ["192.0.2.1:10250"])
    as_other = [headers for _, _, headers in cluster.kube.requests if "Impersonate-User" in headers]
    for headers in as_other:
        assert headers["Impersonate-User"] == "system:serviceaccount:ode:reader" and headers["Impersonate-Uid"] == "u-1"
        assert headers["Impersonate-Group"] == "one", "the first of them"
        assert headers["Impersonate-Extra-example.com%2Fwhy"] == "a"
    assert 0 < len(as_other) < len(cluster.kube.requests)
    stranger = Certificates(cluster.folder, "stranger")
    server.set_config(config_of(job("bad", "node", cluster.access().replace(cluster.certificates.ca, stranger.ca))))
    assert server.post("/-/reload").status == 200
    wait_for("an error of TLS", lambda: "certificate" in server.log())
    assert addresses(server, "bad") == []
    cluster.kube.close()


def test_watches__are_shared_by_jobs_and_kept_by_reloads():
    cluster = Cluster()
    fill(cluster.kube)
    jobs = [job("pods", "pod", cluster.access()), job("more-pods", "pod", cluster.access(), ATTACH_NODE),
            job("endpoints", "endpoints", cluster.access())]
    server = Server(config_of(*jobs))
    for name in ("pods", "more-pods", "endpoints"):
        wait_for(name, lambda n=name: discovered(server, n))
    wait_for("watches", lambda: cluster.kube.watching == 4)  # pods, nodes, endpoints, services
    assert cluster.kube.count("/pods$", watch=False) == 1
    server.set_config(config_of(*jobs[1:]))
    assert server.post("/-/reload").status == 200
    cluster.kube.put("pods", bare_pod(9))
    wait_for("the reload kept it", lambda: "10.0.0.9" in addresses(server, "more-pods"))
    assert cluster.kube.count("/pods$", watch=False) == 1 and cluster.kube.count("/pods$", watch=True) == 1
    cluster.kube.close()


def test_namespaces_and_selectors__limit_what_is_asked_for():
    cluster = Cluster()
    fill(cluster.kube)
    names = "    namespaces:\n      names: [ode, ode, other]\n"
    selectors = "    selectors:\n    - role: pod\n      label: app=api\n      field: status.phase=Running,spec.nodeName!=x\n"
    server = Server(config_of(job("pods", "pod", cluster.access(), names + selectors)))
    found = wait_for("pods", lambda: discovered(server, "pods"))
    assert {labels["__meta_kubernetes_pod_name"] for labels in found} == {"api-1-x"}
    asked = {path for path, _, _ in cluster.kube.requests}
    assert asked == {"/api/v1/namespaces/ode/pods", "/api/v1/namespaces/other/pods"}, asked
    assert all(query["labelSelector"] == "app=api" for _, query, _ in cluster.kube.requests)
    agents = {headers["User-Agent"] for _, _, headers in cluster.kube.requests}
    assert all(agent.startswith("Prometheus/") for agent in agents), agents
    cluster.kube.close()


def test_attach_metadata__follows_the_other_objects():
    cluster = Cluster()
    fill(cluster.kube)
    attach = ("    attach_metadata:\n      node: true\n      namespace: true\n      deployment: true\n      job: true\n"
              "      cronjob: true\n")
    server = Server(config_of(job("pods", "pod", cluster.access(), attach)))

    def labels_of(name):
        return next((labels for labels in discovered(server, "pods") if labels["__meta_kubernetes_pod_name"] == name), {})

    found = wait_for("the pod", lambda: labels_of("api-1-x"))
    assert found["__meta_kubernetes_node_label_disk_type"] == "ssd"
    assert found["__meta_kubernetes_namespace_label_team"] == "x-ode"
    assert found["__meta_kubernetes_namespace_annotationpresent_a_b"] == "true"
    assert found["__meta_kubernetes_pod_deployment_name"] == "api"
    assert not labels_of("elsewhere"), "on a node that is not there"
    cluster.kube.put("nodes", node("unknown"))
    wait_for("its node", lambda: labels_of("elsewhere").get("__meta_kubernetes_node_name") == "unknown")
    cluster.kube.put("namespaces", {"metadata": meta("ode", labels={"team": "new"})})
    wait_for("the namespace's label", lambda: labels_of("api-1-x")["__meta_kubernetes_namespace_label_team"] == "new")
    cluster.kube.delete("nodes", "", "node-a")
    wait_for("the node is gone, and what was on it", lambda: not labels_of("api-1-x"))
    cluster.kube.close()


def test_config__of_the_manifests_is_valid():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../deploy/k8s/prometheus.yml")
    code, out, err = harness.run_command([harness.NARTHEX, "check", "config", "--syntax-only", path])
    assert code == 0, out + err


if __name__ == "__main__":
    harness.main(globals())
