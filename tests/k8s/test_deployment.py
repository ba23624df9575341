"""deploy/k8s in a real cluster: applied by kubectl, admitted by the API server, run by the controllers with the rights of the
manifests alone, reached through the aggregator, asked by the autoscaler."""
import base64
import http.client
import json
import os
import shutil
import socket
import ssl
import time

from control_plane import HOST, ApiError, ControlPlane, harness, new_folder, wait_for, write_file  # First: it finds harness.
from kubelet import Kubelet

DEPLOY = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy"))
COMPONENTS = ("external-metrics", "resource-metrics", "network-policy", "pod-disruption-budget")
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta1"
CUSTOM2 = "/apis/custom.metrics.k8s.io/v1beta2"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
KEYS = "/namespaces/ode/services/redis-exporter/redis_db_keys"
ACCOUNT = "system:serviceaccount:ode:narthex"
DEADLINE_S = 180  # Scrapes come each 15 s, the autoscaler's steps, too.

plane = kubelet = redis = None


def start_world():
    global plane, kubelet, redis
    plane = ControlPlane().start()
    redis = harness.start_redis(6379, lasts=True)
    kubelet = Kubelet(plane, hosts={"redis": "127.0.0.1"})
    kubelet.loads["api-"] = (0.26, 32 << 20)


def overlay(*components):
    """A kustomization beside a copy of ours, as a user would write it."""
    home = new_folder("overlay")
    shutil.copytree(os.path.join(DEPLOY, "k8s"), os.path.join(home, "k8s"))
    mine = os.path.join(home, "mine")
    os.mkdir(mine)
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "resources: [../k8s]", "components:"]
    write_file(os.path.join(mine, "kustomization.yaml"),
               "\n".join(lines + [f"- ../k8s/components/{c}" for c in components]) + "\n")
    return mine


def pod_of(app):
    """The one pod that is ready."""
    found = [pod for pod in kubelet.find(app) if pod.ready]
    assert len(found) == 1, found
    return found[0]


def ready_pod(app):
    return wait_for(app + " is ready", lambda: pod_of(app), DEADLINE_S)


class PodServer(harness.Prometheus):
    """The server in its pod."""

    def __init__(self):
        self.pod = ready_pod("narthex")
        self.port = 9090  # On every address of the namespace.

    def log(self):
        return self.pod.process.log()


def available(name):
    conditions = plane.call("GET", "/apis/apiregistration.k8s.io/v1/apiservices/" + name)["status"]["conditions"]
    found = next(c for c in conditions if c["type"] == "Available")
    assert found["status"] == "True", found
    return True


def ask_directly(path, token=None, name="narthex-metrics-api.ode.svc", pair=None, headers=()):
    """Not through the API server; trusting what the APIService trusts."""
    service = plane.call("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.custom.metrics.k8s.io")
    context = ssl.create_default_context(cadata=base64.b64decode(service["spec"]["caBundle"]).decode())
    if pair:
        context.load_cert_chain(*pair)
    with socket.create_connection((ready_pod("narthex").ip, 10250), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=name) as secure:
            lines = [f"GET {path} HTTP/1.1", "Host: x", *headers] + ([f"Authorization: Bearer {token}"] if token else [])
            secure.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            answer = http.client.HTTPResponse(secure)
            answer.begin()
            return answer.status, json.loads(answer.read())


def value_of(document):
    assert len(document["items"]) == 1, document
    text = document["items"][0]["value"]
    return int(text[:-1]) / 1000 if text.endswith("m") else int(text[:-1]) * 1000 if text.endswith("k") else int(text)


def fill_redis(count):
    harness.redis_call(6379, "FLUSHALL")
    harness.redis_call(6379, "EVAL", f"for i = 1, {count} do redis.call('SET', 'key' .. i, i) end return 1", "0")


# ---- what is shipped ----

def test_manifests__every_variant_is_valid():
    """Checked by the API server with its schemas and its admission, nothing is kept."""
    plane.kubectl("apply", "-f", os.path.join(DEPLOY, "k8s", "00-common.yaml"))
    variants = [os.path.join(DEPLOY, "k8s"), os.path.join(DEPLOY, "overlays", "stock-prometheus"), overlay(*COMPONENTS),
                overlay("emptydir"), overlay("statefulset", *COMPONENTS)]
    for variant in variants:
        code, out, err = harness.run_command(
            [os.environ["TEST_ASSET_KUBECTL"], "apply", "--dry-run=server", "--validate=strict", "-k", variant], timeout=120,
            env={"KUBECONFIG": plane.kubeconfig})
        missing = 'namespaces "' in err and "not found" in err
        assert (code == 0 or missing) and "arning" not in err, (variant, out, err)
        assert "(server dry run)" in out


def test_manifests__run_as_they_are():
    plane.kubectl("apply", "--validate=strict", "-k", os.path.join(DEPLOY, "k8s"))
    server = PodServer()
    ready_pod("redis-exporter")
    for version in ("v1beta1", "v1beta2"):
        wait_for(version + " is available", lambda v=version: available(v + ".custom.metrics.k8s.io"), DEADLINE_S)
    spec = plane.call("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.custom.metrics.k8s.io")["spec"]
    assert spec["caBundle"] and not spec.get("insecureSkipTLSVerify"), spec
    again = plane.kubectl("apply", "--validate=strict", "-k", os.path.join(DEPLOY, "k8s"))
    assert "created" not in again and "narthex-config unchanged" in again, again
    assert plane.call("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.custom.metrics.k8s.io")["spec"] == spec
    jobs = ("self", "kubernetes-apiservers", "kubernetes-nodes", "kubernetes-cadvisor", "redis-exporter")

    def up():
        health = {job: [(t["health"], t["lastError"]) for t in server.targets(job)] for job in jobs}
        assert all(found and all(h == "up" for h, _ in found) for found in health.values()), health
        return True

    wait_for("every job is up", up, DEADLINE_S)
    worker("api")  # Has a load from now on; who wants to know it comes later.
    assert server.value('count(apiserver_request_total{job="kubernetes-apiservers"})') > 10
    assert server.value('redis_up{namespace="ode",service="redis-exporter"}') == 1
    seen = server.instant("count by (job, instance) (prometheus_build_info)")
    assert len(seen) == 1, f"one target that is this server: {seen}"
    log = server.log()
    assert "403" not in log and "orbidden" not in log, log
    assert " level=ERROR" not in log, log


def test_rights__are_enough_and_no_more():
    """What the account of the manifests may, by the API server's own word."""
    def may(verb, what, *more):
        code, out, _ = harness.run_command([os.environ["TEST_ASSET_KUBECTL"], "auth", "can-i", verb, what, "--as", ACCOUNT, *more],
                                           env={"KUBECONFIG": plane.kubeconfig})
        assert (code == 0) == (out.strip() == "yes"), (code, out)
        return code == 0

    for what in ("nodes", "pods", "services", "endpoints", "namespaces", "endpointslices.discovery.k8s.io",
                 "ingresses.networking.k8s.io"):
        assert may("list", what, "-A") and may("watch", what, "-A"), what
        assert not any(may(verb, what, "-A") for verb in ("create", "update", "patch", "delete")), what
    for verb, what, *more in (("get", "secrets"), ("list", "secrets"), ("get", "configmaps"), ("create", "pods", "--subresource=exec"),
                              ("get", "nodes", "--subresource=proxy"), ("get", "nodes", "--subresource=stats"),
                              ("patch", "apiservices.apiregistration.k8s.io"), ("impersonate", "users"),
                              ("create", "serviceaccounts", "--subresource=token"),
                              ("create", "clusterrolebindings.rbac.authorization.k8s.io")):
        assert not may(verb, what, *more), (verb, what, more)
    assert may("get", "nodes", "--subresource=metrics")
    assert may("patch", "apiservices.apiregistration.k8s.io/v1beta1.custom.metrics.k8s.io")
    assert not may("patch", "apiservices.apiregistration.k8s.io/v1.apps")
    assert may("get", "configmaps/extension-apiserver-authentication", "-n", "kube-system")
    assert not may("get", "configmaps/coredns", "-n", "kube-system")


# ---- the metrics API behind the aggregator ----

def test_custom_metrics__through_the_aggregator():
    fill_redis(150)
    for version in (CUSTOM, CUSTOM2):
        wait_for("150 keys", lambda v=version: value_of(plane.raw(v + KEYS)) == 150, DEADLINE_S)
    found = plane.raw(CUSTOM + KEYS)["items"][0]
    assert found["describedObject"]["kind"] == "Service" and found["metricName"] == "redis_db_keys", found
    listed = {r["name"] for r in plane.raw(CUSTOM)["resources"]}
    assert "services/redis_db_keys" in listed and "namespaces/redis_db_keys" in listed, sorted(listed)[:20]
    pods = plane.raw(CUSTOM2 + "/namespaces/ode/pods/%2A/redis_db_keys")["items"]
    assert [i["describedObject"]["name"] for i in pods] == [ready_pod("redis-exporter").name], pods
    assert value_of(plane.raw(CUSTOM + "/namespaces/ode/metrics/redis_db_keys")) == 150
    message = plane.raw(CUSTOM + "/namespaces/ode/pods/redis_db_keys", fails=True)
    assert "NotFound" in message and "pods/*/redis_db_keys" in message, message
    assert "could not find the metric nonsense" in plane.raw(CUSTOM + "/namespaces/ode/pods/*/nonsense", fails=True)
    versions = plane.kubectl("api-versions")
    assert "custom.metrics.k8s.io/v1beta1" in versions and "custom.metrics.k8s.io/v1beta2" in versions
    resources = plane.kubectl("api-resources")
    assert "horizontalpodautoscalers" in resources
    groups = {g["name"]: g for g in plane.raw("/apis")["groups"]}
    assert groups["custom.metrics.k8s.io"]["preferredVersion"]["version"] == "v1beta2"


def test_who_may_ask__is_the_cluster_s_word():
    for name in ("reader", "stranger"):
        plane.create("/api/v1/namespaces/default/serviceaccounts", name, "v1/ServiceAccount")
    plane.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "reader", "rbac.authorization.k8s.io/v1/ClusterRoleBinding",
                 roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "narthex-metrics-reader"},
                 subjects=[{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}])
    path = CUSTOM + KEYS
    reader, stranger = plane.token("default", "reader"), plane.token("default", "stranger")
    wait_for("the reader may", lambda: ask_directly(path, reader)[0] == 200)
    code, status = ask_directly(path, stranger)
    assert code == 403 and status["reason"] == "Forbidden", status
    assert 'User "system:serviceaccount:default:stranger" cannot get resource "services/redis_db_keys"' in status["message"], status
    assert ask_directly(path, "ey.not.one")[0] == 401
    assert ask_directly(path)[0] == 403  # Anonymous.
    assert ask_directly(path, headers=["X-Remote-User: admin", "X-Remote-Group: system:masters"])[0] == 403
    alice = plane.cluster_ca.issue("alice", "/O=dev/CN=alice")
    assert ask_directly(path, pair=alice)[0] == 403
    assert ask_directly(path, pair=plane.admin)[0] == 200
    # The same users at the API server, which asks us only for those that may.
    config = plane.write_kubeconfig("alice", *alice)
    message = plane.raw(path, fails=True, config=config)
    assert "Forbidden" in message and "alice" in message, message
    for token, good in ((reader, True), (stranger, False)):
        words = ["--server=https://" + HOST, "--certificate-authority=" + plane.cluster_ca.crt, "--token=" + token]
        message = plane.kubectl(*words, "get", "--raw", path, fails=not good, config="/dev/null")
        assert ("MetricValueList" if good else "Forbidden") in message, message
    # A token ends with what it is bound to, here a Secret; answers are kept for ten seconds.
    plane.create("/api/v1/namespaces/default/secrets", "bound", "v1/Secret")
    bound = plane.token("default", "reader", "bound")
    assert ask_directly(path, bound)[0] == 200
    plane.delete("/api/v1/namespaces/default/secrets/bound")
    wait_for("it has ended", lambda: ask_directly(path, bound)[0] == 401)


def test_explain__in_the_pod():
    """The commands of docs/kubernetes.md."""
    pod = ready_pod("narthex")
    code, out, err = kubelet.run_in(pod, "/bin/narthex", "kube", "explain", "--namespace=ode", "--resource=services",
                                    "--name=redis-exporter", "http://localhost:9090", "redis_db_keys")
    assert code == 0 and "redis-exporter" in out, (code, out, err)
    code, out, err = kubelet.run_in(pod, "/bin/promtool", "query", "instant", "http://localhost:9090", "sum by (db) (redis_db_keys)")
    assert code == 0 and 'db="db0"' in out, (code, out, err)
    code, out, err = kubelet.run_in(pod, "/bin/promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    assert code == 0, (code, out, err)


# ---- changes ----

def test_config_map__a_change_is_loaded():
    server = PodServer()
    path = "/api/v1/namespaces/ode/configmaps/narthex-config"
    text = plane.call("GET", path)["data"]["prometheus.yml"]
    plane.patch(path, {"data": {"prometheus.yml": text + "  - job_name: added\n    static_configs: [{targets: ['localhost:9090']}]\n"}})
    wait_for("the new job", lambda: server.targets("added"), DEADLINE_S)
    plane.patch(path, {"data": {"prometheus.yml": "nonsense: ["}})
    wait_for("a broken one is refused", lambda: server.value('prometheus_config_last_reload_successful{job="self"}') == 0, DEADLINE_S)
    assert server.targets("added")
    plane.patch(path, {"data": {"prometheus.yml": text}})
    wait_for("as before", lambda: not server.targets("added"), DEADLINE_S)


def worker(name):
    """A Deployment that the namespace admits."""
    security = {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {"name": "app", "image": "example/" + name + ":1", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                 "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    labels = {"app": name}
    plane.create("/apis/apps/v1/namespaces/ode/deployments", name, "apps/v1/Deployment", spec={
        "replicas": 2, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"securityContext": security, "containers": [container]}}})


def replicas(name):
    return plane.call("GET", f"/apis/apps/v1/namespaces/ode/deployments/{name}")["spec"]["replicas"]


def test_update__with_components():
    """What section 6 of docs/kubernetes.md says: the old pod ends, the new one has its data and its authority."""
    fill_redis(150)
    old = ready_pod("narthex")
    process = old.process
    before = plane.call("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.custom.metrics.k8s.io")["spec"]["caBundle"]
    plane.kubectl("apply", "--validate=strict", "-k", overlay(*COMPONENTS))
    wait_for("the old one has ended", lambda: not process.is_running(), DEADLINE_S)
    assert process.child.returncode == 0, process.log()
    wait_for("another pod", lambda: pod_of("narthex") is not old, DEADLINE_S)
    fresh = pod_of("narthex")
    assert "--kube.external-metrics" in fresh.container["args"]
    for name in ("v1beta1.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io", "v1beta1.metrics.k8s.io"):
        wait_for(name + " is available", lambda n=name: available(n), DEADLINE_S)
    assert plane.call("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io")["spec"]["caBundle"] == before
    server = PodServer()
    assert server.value('count_over_time(redis_up{service="redis-exporter"}[1h])') >= 1, "what the old pod has written"
    wait_for("keys", lambda: value_of(plane.raw(CUSTOM + KEYS)) == 150, DEADLINE_S)


def test_api_service__is_made_anew():
    """Without a caBundle, as the manifest has it: the server sets its authority again. The API server says for some time that
    the new one is available without having asked."""
    name = "v1beta2.custom.metrics.k8s.io"
    plane.kubectl("delete", "apiservice", name)
    plane.kubectl("apply", "-k", overlay(*COMPONENTS))
    wait_for("its caBundle", lambda: plane.call("GET", "/apis/apiregistration.k8s.io/v1/apiservices/" + name)["spec"].get("caBundle"),
             DEADLINE_S)
    wait_for("it is available", lambda: available(name), DEADLINE_S)
    wait_for("keys", lambda: value_of(plane.raw(CUSTOM2 + KEYS)) == 150, DEADLINE_S)


# ---- the autoscaler ----

def test_top_and_cpu():
    """metrics.k8s.io from cAdvisor's series: kubectl top, and the API's HPA.

    What is used is what was used between the last two scrapes, as metrics-server has it: with a longer window new pods show
    a part of their load for minutes, and the autoscaler waits; and old ones the load that they have shared."""
    wait_for("four for 260m at 70m each", lambda: replicas("api") == 4, DEADLINE_S)
    status = plane.call("GET", "/apis/autoscaling/v2/namespaces/ode/horizontalpodautoscalers/api")["status"]
    names = [m["resource"]["name"] for m in status["currentMetrics"]]
    assert names == ["cpu", "memory"], status

    def top():
        lines = plane.kubectl("top", "pods", "-n", "ode", "--no-headers").splitlines()
        found = [line.split() for line in lines if line.startswith("api-")]
        assert len(found) == 4 and all(size == "32Mi" for _, _, size in found), lines
        assert all(60 <= int(cpu.rstrip("m")) <= 72 for _, cpu, _ in found), lines
        return True

    wait_for("kubectl top pods", top, DEADLINE_S)
    line = plane.kubectl("top", "nodes", "--no-headers").split()
    assert line[0] == "node-1" and int(line[1].rstrip("m")) >= 240, line
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        assert replicas("api") == 4
        time.sleep(1)
    kubelet.loads["api-"] = (0.05, 32 << 20)


def external_autoscaler():
    plane.create("/apis/autoscaling/v2/namespaces/ode/horizontalpodautoscalers", "consumer", "autoscaling/v2/HorizontalPodAutoscaler", spec={
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "consumer"}, "minReplicas": 1, "maxReplicas": 20,
        "metrics": [{"type": "External", "external": {
            "metric": {"name": "redis_db_keys", "selector": {"matchLabels": {"db": "db0"}}},
            "target": {"type": "AverageValue", "averageValue": "100"}}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 20}}})


def watch_replicas(names, until, deadline_s=DEADLINE_S):
    """{name: [(seconds, replicas), ...]}: each change of what the autoscaler wants."""
    start_s, seen = time.monotonic(), {name: [] for name in names}
    while not all(seen[name] and until(seen[name][-1][1]) for name in names):
        now_s = time.monotonic() - start_s
        assert now_s < deadline_s, (seen, plane.kubectl("-n", "ode", "describe", "hpa"))
        for name in names:
            count = replicas(name)
            if not seen[name] or seen[name][-1][1] != count:
                seen[name].append((round(now_s, 1), count))
        time.sleep(0.1)
    return seen


def test_autoscaler__from_two_to_twenty_and_back():
    """2,950 keys at 100 for each worker: by the metric of the Service, as in 04-hpa, and by the external one."""
    fill_redis(2950)
    wait_for("2950 keys", lambda: value_of(plane.raw(CUSTOM2 + KEYS)) == 2950, DEADLINE_S)
    found = plane.raw(EXTERNAL + "/namespaces/ode/redis_db_keys?labelSelector=db%3Ddb0")["items"]
    assert sum(int(i["value"]) for i in found) == 2950, found
    plane.patch("/apis/autoscaling/v2/namespaces/ode/horizontalpodautoscalers/worker",
                {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 20}}}})
    names = ("worker", "consumer")
    external_autoscaler()
    for name in names:
        worker(name)
    seen = watch_replicas(names, lambda count: count == 20)
    print("up:", seen)
    for name in names:
        assert [count for _, count in seen[name]] == [2, 6, 12, 20], seen
    listed = plane.kubectl("-n", "ode", "get", "hpa", "worker", "--no-headers")
    print(listed.strip())
    assert "/100 (avg)" in listed, listed
    fill_redis(50)
    wait_for("50 keys", lambda: value_of(plane.raw(CUSTOM2 + KEYS)) == 50, DEADLINE_S)
    fell_s = time.monotonic()
    seen = watch_replicas(names, lambda count: count == 1)
    print("down:", seen)
    assert time.monotonic() - fell_s >= 10, "not before the window"
    events = plane.kubectl("-n", "ode", "get", "events", "-o", "jsonpath={range .items[*]}{.reason} {.message}{'\\n'}{end}")
    assert "All metrics below target" in events, events


def test_front_proxy__gets_another_authority():
    """The API server starts again with it and says so in the ConfigMap that we watch."""
    fill_redis(50)
    wait_for("50 keys", lambda: value_of(plane.raw(CUSTOM2 + KEYS)) == 50, DEADLINE_S)
    plane.renew_front_proxy()
    plane.stop_api_server()
    plane.start_api_server()
    for name in ("v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io", "v1beta1.metrics.k8s.io"):
        wait_for(name + " is available", lambda n=name: available(n), DEADLINE_S)
    wait_for("an answer", lambda: value_of(plane.raw(CUSTOM2 + KEYS)) == 50, DEADLINE_S)


def test_exporter_gone__freezes():
    """No answer is no zero: the autoscaler says that it does not know and changes nothing."""
    fill_redis(950)
    watch_replicas(("worker",), lambda count: count == 10)
    plane.patch("/apis/apps/v1/namespaces/ode/deployments/redis-exporter", {"spec": {"replicas": 0}})
    wait_for("the value is gone", lambda: "NotFound" in plane.raw(CUSTOM2 + KEYS, fails=True), DEADLINE_S)

    def active():
        conditions = plane.call("GET", "/apis/autoscaling/v2/namespaces/ode/horizontalpodautoscalers/worker")["status"]["conditions"]
        return next(c for c in conditions if c["type"] == "ScalingActive")

    found = wait_for("the HPA says so", lambda: active() if active()["status"] == "False" else None, DEADLINE_S)
    assert found["reason"] == "FailedGetObjectMetric" and "could not find the metric redis_db_keys" in found["message"], found
    time.sleep(25)
    assert replicas("worker") == 10


def test_log_of_the_api_server__has_no_complaint():
    """Once we are there. Each of them would come again each minute."""
    log = plane.api_server.log()
    bad = [line for line in log.splitlines() if "metrics.k8s.io" in line and "resource not found" in line]
    assert not bad, bad


def test_delete__ends_everything():
    process = ready_pod("narthex").process
    plane.kubectl("delete", "-k", overlay(*COMPONENTS), "--timeout=100s")
    wait_for("the server has ended", lambda: not process.is_running(), DEADLINE_S)
    assert process.child.returncode == 0
    try:
        found = plane.call("GET", "/api/v1/namespaces/ode")
    except ApiError as e:
        assert e.code == 404
    else:
        raise AssertionError(found)


if __name__ == "__main__":
    start_world()
    harness.main(globals())
