"""The metrics APIs: every request that an API server, its scalers and people send, against scraped samples and the pods
of fake_kube; a rules file of prometheus-adapter, reloaded; and a simulated autoscaler that asks the real server."""
import calendar
import concurrent.futures
import json
import math
import os
import socket
import time
import urllib.parse

import harness
from fake_kube import Certificates, FakeKube
from harness import Exporter, Server, free_port, http_call, new_folder, run_command, wait_for, write_file

TOKEN = "a-token"
CUSTOM = "/apis/custom.metrics.k8s.io"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
RESOURCE = "/apis/metrics.k8s.io/v1beta1"
PROTOBUF = "application/vnd.kubernetes.protobuf, */*"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

RULES = """
rules:
- seriesQuery: 'http_requests_total{namespace!="",pod!=""}'
  resources:
    overrides:
      namespace: {resource: namespace}
      pod: {resource: pod}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)'
- seriesQuery: '{__name__=~"^redis_.*",namespace!=""}'
  resources: {template: "<<.Resource>>"}
  name: {as: "%s$0"}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: '{__name__="by_hand"}'
  resources: {template: "<<.Resource>>"}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
"""


class World:
    """A server that scrapes one page of samples and watches the pods of a fake API server."""

    def __init__(self, args=(), watch=True, rules=None, selectors="[]"):
        self.samples = {}  # (name, labels as text): value
        self.exporter = Exporter({"/metrics": self.page})
        self.kube = None
        config = ("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: page\n  honor_labels: true\n"
                  f"  static_configs: [{{targets: ['127.0.0.1:{self.exporter.port}']}}]\n")
        if watch:
            folder = new_folder("kube")
            certificates = Certificates(folder)
            token_file = write_file(os.path.join(folder, "token"), TOKEN)
            self.kube = FakeKube(certificates, tokens={TOKEN})
            config += ("- job_name: pods\n  kubernetes_sd_configs:\n  - role: pod\n"
                       f"    api_server: {self.kube.url}\n    authorization: {{credentials_file: {token_file}}}\n"
                       f"    tls_config: {{ca_file: {certificates.ca}}}\n    selectors: {selectors}\n"
                       "  relabel_configs: [{source_labels: [job], regex: none, action: keep}]\n")
        self.port = free_port()
        self.rules_path = None
        args = [f"--kube.listen-address=127.0.0.1:{self.port}", "--kube.insecure-no-auth", *args]
        if rules is not None:
            self.rules_path = write_file(os.path.join(new_folder("rules"), "rules.yml"), rules)
            args.append("--kube.rules-file=" + self.rules_path)
        self.config = config
        self.args = args
        self.server = None

    def start(self):
        self.server = Server(self.config, self.args)
        return self

    def page(self, handler):
        text = "".join(f"{name}{{{labels}}} {value}\n" for (name, labels), value in self.samples.items())
        return 200, {"Content-Type": "text/plain; version=0.0.4"}, text.encode()

    def put(self, name, labels, value):
        self.samples[(name, labels)] = value

    def put_pod(self, name, labels, namespace="ode"):
        self.kube.put("pods", {"metadata": {"name": name, "namespace": namespace, "labels": labels},
                               "spec": {"containers": [{"name": "c", "image": "i"}]},
                               "status": {"phase": "Running", "podIP": "10.0.0.1", "hostIP": "10.0.0.2"}})

    def ask(self, path, method="GET", **headers):
        return http_call(method, self.port, path, None, {k.replace("_", "-"): v for k, v in headers.items()})

    def items(self, path):
        reply = self.ask(path, Accept=PROTOBUF)
        assert reply.status == 200, f"{path}: {reply}"
        assert reply.headers["Content-Type"] == "application/json", reply.headers
        return reply.json["items"]

    def value(self, path):
        found = self.items(path)
        assert len(found) == 1, found
        return quantity(found[0]["value"])

    def wait_value(self, path, value):
        wait_for(f"{path} is {value}", lambda: self.value(path) == value, 60)

    def stop(self):
        assert self.server.stop() == 0
        if self.kube:
            self.kube.close()


def quantity(text):
    for suffix, scale in (("m", 1e-3), ("n", 1e-9), ("Ki", 1024)):
        if text.endswith(suffix):
            return int(text[:-len(suffix)]) * scale
    return int(text)


def age_s(stamp):
    return time.time() - calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))


def status_of(reply, code, reason):
    assert reply.status == code, reply
    status = reply.json
    message = status.pop("message")
    assert status == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
                      "code": code}, status
    return message


def fill(world):
    for db in range(16):
        world.put("redis_db_keys", f'namespace="ode",service="redis-exporter",pod="redis-exporter-0",db="db{db}"',
                  2950 if db == 0 else 0)
    for i, state in enumerate(("10.5", "20", "NaN")):
        world.put("queue_depth", f'namespace="ode",pod="w-{i}"', state)
        world.put_pod(f"w-{i}", {"app": "w", "app.kubernetes.io/part": f"p{i}"})
        world.put("container_memory_working_set_bytes", f'namespace="ode",pod="w-{i}",container="c"', 20480 * 1024)
        world.put("container_memory_working_set_bytes", f'namespace="ode",pod="w-{i}",container="POD"', 5)
    world.put_pod("other", {"app": "other"})
    world.put("queue_depth", 'namespace="default",pod="w-9"', 7)
    world.put("too_large", 'namespace="ode",pod="w-1"', 1e19)
    world.put("node_load", 'instance="node-a",node="node-a",namespace="kube-system"', 1.5)
    world.put("container_memory_working_set_bytes", 'instance="node-a",id="/"', 1 << 30)


def test_every_request_of_an_api_server():
    world = World(["--kube.external-metrics", "--kube.resource-metrics"])
    fill(world)
    world.start()
    keys = f"{CUSTOM}/v1beta2/namespaces/ode/services/redis-exporter/redis_db_keys"
    world.wait_value(keys, 2950)
    wait_for("pods are listed", lambda: world.items(f"{CUSTOM}/v1beta2/namespaces/ode/pods/%2A/queue_depth"), 60)
    check_discovery(world)
    check_custom(world, keys)
    check_external_and_resource(world)
    check_errors(world)
    check_explain(world)
    check_figures(world)
    world.stop()


def check_figures(world):
    """How often what was asked, and with what end, is on the server's own page."""
    def count(code, handler):
        line = f'narthex_kube_requests_total{{code="{code}",handler="{handler}"}} '
        found = [text[len(line):] for text in world.server.get("/metrics").text.splitlines() if text.startswith(line)]
        return int(found[0]) if found else 0

    for code, handler, path in ((200, "custom.metrics.k8s.io", f"{CUSTOM}/v1beta1/namespaces/ode/pods/*/queue_depth"),
                                (400, "custom.metrics.k8s.io", f"{CUSTOM}/v1beta1/namespaces/ode/pods/*/queue_depth?labelSelector=a%20in"),
                                (200, "discovery", f"{CUSTOM}/v1beta1"), (200, "health", "/readyz"), (404, "unknown", "/nothing")):
        before = count(code, handler)
        assert world.ask(path).status == code, path
        assert count(code, handler) == before + 1, (path, before)


def check_discovery(world):
    for group, version in (("custom.metrics.k8s.io", "v1beta1"), ("custom.metrics.k8s.io", "v1beta2"),
                           ("external.metrics.k8s.io", "v1beta1"), ("metrics.k8s.io", "v1beta1")):
        for query in ("", "?timeout=32s"):
            reply = world.ask(f"/apis/{group}/{version}{query}")
            assert reply.status == 200 and reply.headers["Content-Type"] == "application/json", reply
            found = reply.json
            assert (found["kind"], found["apiVersion"], found["groupVersion"]) == ("APIResourceList", "v1", f"{group}/{version}")
    rows = {row["name"]: row for row in world.ask(f"{CUSTOM}/v1beta1").json["resources"]}
    assert rows["pods/redis_db_keys"] == {"name": "pods/redis_db_keys", "singularName": "", "namespaced": True,
                                          "kind": "MetricValueList", "verbs": ["get"]}, rows
    assert rows["namespaces/redis_db_keys"]["namespaced"] is False
    assert "services/redis_db_keys" in rows and "nodes/node_load" in rows and "pods/memory_working_set_bytes" in rows
    rows = {row["name"]: row for row in world.ask(EXTERNAL).json["resources"]}
    assert rows["redis_db_keys"]["kind"] == "ExternalMetricValueList" and rows["redis_db_keys"]["namespaced"] is True
    # With aggregated discovery: plain JSON, so the API server falls back to the single documents.
    reply = world.ask("/apis", Accept=AGGREGATED)
    assert reply.status == 200 and reply.headers["Content-Type"] == "application/json"
    groups = {g["name"]: g for g in reply.json["groups"]}
    assert groups["custom.metrics.k8s.io"]["preferredVersion"]["version"] == "v1beta2"
    assert [v["version"] for v in groups["custom.metrics.k8s.io"]["versions"]] == ["v1beta2", "v1beta1"]
    assert set(groups) == {"custom.metrics.k8s.io", "external.metrics.k8s.io", "metrics.k8s.io"}
    assert world.ask("/api").json["kind"] == "APIVersions"
    assert world.ask(CUSTOM).json["kind"] == "APIGroup"
    assert world.ask("/version").json["major"] == "1"
    for path in ("/healthz", "/livez", "/readyz", "/readyz/ping"):
        assert world.ask(path).text == "ok"
    # Without them an API server logs an error for each APIService each minute.
    assert world.ask("/openapi/v3").json == {"paths": {}}
    assert world.ask("/openapi/v2").json["swagger"] == "2.0" and world.ask("/openapi/v2").json["paths"] == {}
    for path in (f"/openapi/v3{CUSTOM}/v1beta1", "/api/v1/pods", "/metrics"):
        status_of(world.ask(path), 404, "NotFound")


def check_custom(world, keys):
    item, = world.items(keys)
    stamp = item.pop("timestamp")
    assert 0 <= age_s(stamp) < 30, stamp
    assert item == {"describedObject": {"kind": "Service", "namespace": "ode", "name": "redis-exporter", "apiVersion": "v1"},
                    "metric": {"name": "redis_db_keys", "selector": None}, "value": "2950"}, item
    item, = world.items(keys.replace("v1beta2", "v1beta1") + "?metricLabelSelector=db%3Ddb0")
    item.pop("timestamp")
    assert item == {"describedObject": {"kind": "Service", "namespace": "ode", "name": "redis-exporter", "apiVersion": "v1"},
                    "metricName": "redis_db_keys", "value": "2950", "selector": {"matchLabels": {"db": "db0"}}}, item
    assert world.value(keys + "?metricLabelSelector=" + urllib.parse.quote("db in (db1,db2)")) == 0
    item, = world.items(f"{CUSTOM}/v1beta2/namespaces/ode/metrics/redis_db_keys")
    assert item["describedObject"] == {"kind": "Namespace", "name": "ode", "apiVersion": "v1"} and item["value"] == "2950"
    item, = world.items(f"{CUSTOM}/v1beta1/nodes/%2A/node_load")
    assert item["describedObject"] == {"kind": "Node", "name": "node-a", "apiVersion": "v1"} and item["value"] == "1500m"

    def depths(query=""):
        found = world.items(f"{CUSTOM}/v1beta2/namespaces/ode/pods/%2A/queue_depth" + query)
        return {i["describedObject"]["name"]: i["value"] for i in found}

    # The one that is NaN is left out, and so is a pod of another namespace.
    assert depths() == {"w-0": "10500m", "w-1": "20"}
    assert depths("?labelSelector=app%3Dw&pretty=true&limit=500") == {"w-0": "10500m", "w-1": "20"}
    assert depths("?labelSelector=app.kubernetes.io%2Fpart%3Dp1") == {"w-1": "20"}
    assert depths("?labelSelector=" + urllib.parse.quote("app in (w,x),app.kubernetes.io/part!=p1,!tier")) == {"w-0": "10500m"}
    assert depths("?fieldSelector=metadata.name%3Dw-1") == {"w-1": "20"}


def check_external_and_resource(world):
    item, = world.items(f"{EXTERNAL}/namespaces/ode/redis_db_keys?labelSelector=db%3Ddb0")
    item.pop("timestamp")
    assert item == {"metricName": "redis_db_keys", "metricLabels": {}, "value": "2950"}, item
    assert world.value(f"{EXTERNAL}/namespaces/ode/redis_db_keys") == 2950

    seconds = [0.0]

    def burn(handler):
        seconds[0] += 1
        for i in range(3):
            world.put("container_cpu_usage_seconds_total", f'namespace="ode",pod="w-{i}",container="c"', 0.25 * seconds[0])
        world.put("container_cpu_usage_seconds_total", 'instance="node-a",id="/"', seconds[0])
        return world.page(handler)

    world.exporter.pages["/metrics"] = burn
    pods = f"{RESOURCE}/namespaces/ode/pods?labelSelector=app%3Dw"
    wait_for("CPU has a rate", lambda: len(world.items(pods)) == 3, 60)
    reply = world.ask(pods).json
    assert (reply["kind"], reply["apiVersion"], reply["metadata"]) == ("PodMetricsList", "metrics.k8s.io/v1beta1", {})
    item = reply["items"][0]
    assert item["metadata"]["name"] == "w-0" and item["metadata"]["namespace"] == "ode"
    assert item["metadata"]["labels"]["app"] == "w" and item["window"] == "30s"
    container, = item["containers"]
    assert container["name"] == "c" and container["usage"]["memory"] == "20480Ki"
    assert 0 < quantity(container["usage"]["cpu"]) < 2, container
    assert 0 <= age_s(item["timestamp"]) < 30
    assert [i["metadata"]["name"] for i in world.items(f"{RESOURCE}/pods")] == ["w-0", "w-1", "w-2"]
    one = world.ask(f"{RESOURCE}/namespaces/ode/pods/w-1").json
    assert one["kind"] == "PodMetrics" and one["metadata"]["name"] == "w-1"
    nodes = wait_for("the node", lambda: world.items(f"{RESOURCE}/nodes"), 60)
    assert nodes[0]["metadata"]["name"] == "node-a" and nodes[0]["usage"]["memory"] == "1048576Ki"
    message = status_of(world.ask(f"{RESOURCE}/namespaces/ode/pods/none"), 404, "NotFound")
    assert message == 'podmetrics.metrics.k8s.io "ode/none" not found', message


def check_errors(world):
    base = f"{CUSTOM}/v1beta1/namespaces/ode/pods"
    message = status_of(world.ask(f"{base}/redis_db_keys"), 404, "NotFound")
    assert f"{base}/*/redis_db_keys" in message, message
    message = status_of(world.ask(f"{base}/*/redis_db_keys?labelSelector=app%3Dw"), 404, "NotFound")
    assert message.startswith("the server could not find the metric redis_db_keys for pods"), message
    assert "redis-exporter-0" in message, message
    # Through one namespace there is no way to what is said of another.
    for name in ("ode", "*"):
        status_of(world.ask(f"{CUSTOM}/v1beta1/namespaces/default/namespaces/{name}/redis_db_keys"), 404, "NotFound")
    message = status_of(world.ask(f"{base}/w-2/queue_depth"), 404, "NotFound")
    assert message.startswith("the server could not find the metric queue_depth for pods w-2") and "NaN" in message, message
    message = status_of(world.ask(f"{base}/*/queue_depth?metricLabelSelector=tier%3Dx"), 404, "NotFound")
    assert "no series with its name that fits the metric's label selector" in message, message
    # Of many pods the one is named whose series is there and of no use.
    message = status_of(world.ask(f"{base}/*/too_large"), 404, "NotFound")
    assert "w-1: its value is NaN, infinite or too large" in message, message
    message = status_of(world.ask(f"{CUSTOM}/v1beta1/namespaces/ode/deployments.apps/api/nope"), 404, "NotFound")
    assert message.startswith("the server could not find the metric nope for deployments.apps api"), message
    status_of(world.ask(f"{base}/*/queue_depth?labelSelector=a%3D%3D%3Db"), 400, "BadRequest")
    status_of(world.ask(f"{base}/*/queue_depth?metricLabelSelector=a%20in"), 400, "BadRequest")
    status_of(world.ask(f"{base}/w-0/queue_depth?fieldSelector=spec.nodeName%3Dx"), 400, "BadRequest")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        status_of(world.ask(f"{base}/*/queue_depth", method), 405, "MethodNotAllowed")


def check_explain(world):
    found = world.server.data("/api/v1/kube/explain", {"metric": "redis_db_keys", "namespace": "ode", "labelSelector": "app=w"})
    assert found["series"] == "redis_db_keys" and "redis-exporter-0" in found["otherObjects"], found
    assert [i["name"] for i in found["missing"]] == ["w-0", "w-1", "w-2"] and found["verdict"] != "ok"
    assert found["objectsFrom"] == "watched by discovery"
    reply = world.server.get("/api/v1/kube/explain", {"namespace": "ode"})
    assert reply.status == 400 and reply.json["errorType"] == "bad_data", reply
    explain = [harness.NARTHEX, "kube", "explain"]
    code, out, _ = run_command([*explain, "--help"])
    assert code == 0 and "--metric-selector" in out, out
    code, _, err = run_command([*explain, f"http://127.0.0.1:{world.server.port}", "queue_depth"])
    assert code == 1 and '"namespace": it is missing' in err, err
    code, out, _ = run_command([*explain, "--namespace=ode", "--selector=app=w",
                                f"http://127.0.0.1:{world.server.port}", "queue_depth"])
    assert code == 0 and "w-0 = 10500m" in out and "w-2: its value is NaN" in out, out
    assert 'sum(queue_depth{namespace="ode",pod=~"w-0|w-1|w-2"}) by (pod)' in out, out


def test_a_series_that_ends_is_left_out():
    # The pod is still listed and its rate looks back two minutes: a scaler must not be told of it.
    world = World(selectors="[{role: pod, label: app=jobs}]")
    count = [0]

    def grow(handler):
        count[0] += 1
        world.put("jobs_total", 'namespace="ode",pod="w-0"', 10 * count[0])
        if ("jobs_total", 'namespace="ode",pod="w-1"') in world.samples:
            world.put("jobs_total", 'namespace="ode",pod="w-1"', 20 * count[0])
        return world.page(handler)

    world.exporter.pages["/metrics"] = grow
    world.put("jobs_total", 'namespace="ode",pod="w-1"', 0)
    world.put_pod("w-0", {"app": "jobs"})
    world.put_pod("w-1", {"app": "jobs"})
    world.put_pod("w-2", {"app": "unseen"})
    world.start()
    path = f"{CUSTOM}/v1beta2/namespaces/ode/pods/*/jobs"
    wait_for("both have a rate", lambda: len(world.items(path)) == 2, 60)
    assert world.items(path)[0]["windowSeconds"] == 120
    del world.samples[("jobs_total", 'namespace="ode",pod="w-1"')]
    wait_for("one is left", lambda: [i["describedObject"]["name"] for i in world.items(path)] == ["w-0"], 60)
    assert world.server.value('rate(jobs_total{pod="w-1"}[2m])') > 0
    assert "stale" in status_of(world.ask(path.replace("*", "w-1")), 404, "NotFound")
    # Who selects pods that no watch sees is told that there is more than the watch.
    message = status_of(world.ask(path + "?labelSelector=app%3Dunseen"), 404, "NotFound")
    assert "none of 2 pods fits the label selector (watched by discovery in part" in message, message
    world.stop()


def test_lists__are_made_once_for_many():
    # Every API server asks five times at once whether there is such an API; some do not wait for the answer.
    world = World(watch=False)
    for i in range(3000):
        world.put(f"family_{i:04}", 'namespace="ode",pod="w-0",service="s"', i)
    world.start()
    path = f"{CUSTOM}/v1beta1"
    wait_for("all are listed", lambda: len(world.ask(path).json["resources"]) == 5000, 60)  # No list is longer.
    time.sleep(2.1)  # Older than a list is kept that took nothing.
    leaving = []
    for _ in range(3):
        leaving.append(socket.create_connection(("127.0.0.1", world.port), 10))
        leaving[-1].sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(world.ask, path) for _ in range(32)]
        for connection in leaving:
            connection.close()
        replies = [a.result() for a in asked]
    assert {r.status for r in replies} == {200} and len({r.body for r in replies}) == 1, replies[0]
    world.stop()


def test_rules_of_prometheus_adapter():
    world = World(["--kube.external-metrics", "--config.auto-reload", "--config.auto-reload-interval=1s"], watch=False, rules=RULES % "")
    for i in range(3):
        world.put("redis_keys", f'namespace="ode",pod="r-{i}",db="0"', i)
        world.put("redis_keys", f'namespace="ode",pod="r-{i}",db="1"', 5)
        world.put("by_hand", f'namespace="ode",pod="r-{i}",n="1",app="x"', 1)
    world.put("by_hand", 'namespace="ode",pod="r-0",n="2",app="x"', 2)
    world.start()
    path = f"{CUSTOM}/v1beta2/namespaces/ode/pods/*/"
    wait_for("values", lambda: len(world.items(path + "redis_keys")) == 3, 60)
    assert {i["value"] for i in world.items(path + "redis_keys")} == {"5"}
    # Nobody watches pods here: their labels are looked for on the series.
    assert len(world.items(path + "by_hand?labelSelector=app%3Dx,n%3D1")) == 3
    message = status_of(world.ask(path + "by_hand?labelSelector=tier%3Dx"), 404, "NotFound")
    assert "pods are not watched" in message and '"tier"' in message, message
    message = status_of(world.ask(path + "by_hand"), 500, "InternalError")
    assert "several values" in message, message
    status_of(world.ask(f"{EXTERNAL}/namespaces/ode/redis_keys"), 404, "NotFound")
    status_of(world.ask(RESOURCE), 404, "NotFound")
    write_file(world.rules_path, RULES % "new_")
    assert world.server.post("/-/reload").status == 200
    assert len(world.items(path + "new_redis_keys")) == 3
    status_of(world.ask(path + "redis_keys"), 404, "NotFound")
    write_file(world.rules_path, RULES % "newer_" + "  nonsense: 1\n")
    reply = world.server.post("/-/reload")
    assert reply.status == 500 and "line 17: field nonsense is not known in a rule" in reply.text, reply
    assert len(world.items(path + "new_redis_keys")) == 3
    write_file(world.rules_path, RULES % "newest_")
    wait_for("a change of the file is seen", lambda: len(world.items(path + "newest_redis_keys")) == 3, 60)
    world.stop()


def test_a_bad_rules_file_ends_the_start():
    folder = new_folder("rules")
    path = write_file(os.path.join(folder, "rules.yml"), "rules:\n- seriesQuery: up\n  metricQuery: up\n")
    server = Server("", [f"--kube.listen-address=127.0.0.1:{free_port()}", "--kube.insecure-no-auth",
                         "--kube.rules-file=" + path], ready=False)
    server.spawn()
    assert server.exit_code() != 0
    assert "rules.yml: line 3: field metricQuery is not known in a rule" in server.log(), server.log()


def test_without_the_flag_there_is_nothing():
    server = Server("")
    reply = server.get("/api/v1/kube/explain", {"metric": "up"})
    assert reply.status == 404 and "--kube.listen-address" in reply.json["error"], reply
    server.stop()


# ---- the autoscaler: the algorithm of kube-controller-manager with its own clock ----

class Autoscaler:
    TOLERANCE = 0.1

    def __init__(self, ask, replicas, target, maximum, stabilization_s):
        self.ask, self.replicas, self.target = ask, replicas, target
        self.maximum, self.stabilization_s = maximum, stabilization_s
        self.now_s = 0
        self.recommended = []  # (when, replicas)
        self.started = [(0, replicas)]

    def step(self):
        """15 s later: asks, and scales by the default behaviour."""
        self.now_s += 15
        total = self.ask()
        ratio = total / (self.target * self.replicas)
        wanted = self.replicas if abs(1 - ratio) <= self.TOLERANCE else math.ceil(total / self.target - 1e-9)
        self.recommended = [(t, r) for t, r in self.recommended if t > self.now_s - self.stabilization_s]
        self.recommended.append((self.now_s, wanted))
        if wanted < self.replicas:
            wanted = min(self.replicas, max(r for _, r in self.recommended))
        else:
            wanted = min(wanted, max(self.replicas * 2, self.replicas + 4))
        self.replicas = max(1, min(wanted, self.maximum))
        return self.replicas


def test_a_simulated_autoscaler():
    world = World(watch=False)
    for db in range(16):
        world.put("redis_db_keys", f'namespace="ode",service="redis-exporter",db="db{db}"', 2950 if db == 0 else 0)
    world.start()
    path = f"{CUSTOM}/v1beta2/namespaces/ode/services/redis-exporter/redis_db_keys"
    world.wait_value(path, 2950)
    scaler = Autoscaler(lambda: world.value(path), replicas=2, target=100, maximum=20, stabilization_s=600)
    assert [scaler.step() for _ in range(5)] == [6, 12, 20, 20, 20]
    world.put("redis_db_keys", 'namespace="ode",service="redis-exporter",db="db0"', 50)
    world.wait_value(path, 50)
    fell_s = scaler.now_s
    while scaler.step() == 20:
        assert scaler.now_s < fell_s + 900
    assert scaler.now_s - fell_s == 600 and scaler.replicas == 1, (scaler.now_s, scaler.replicas)
    # The value goes: no answer is no number, and the scaler stays where it is.
    del world.samples[("redis_db_keys", 'namespace="ode",service="redis-exporter",db="db0"')]
    world.samples.clear()
    wait_for("no value", lambda: world.ask(path).status == 404, 60)
    assert "items" not in json.loads(world.ask(path).text)
    world.stop()


if __name__ == "__main__":
    harness.main(globals())
