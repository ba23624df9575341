#!/usr/bin/env python3
"""Very many targets: the schedule, the loop and memory.

    NARTHEX=build/release/narthex bench/bench_targets.py [targets faults discovery kubernetes]

targets   10,000 addresses with 100 series each, every 15 s: scrapes that were missed, how late scrapes start, the longest turn
          of the event loop, CPU and memory (after MEASURE_SECONDS; FULL=1 takes three minutes). On a machine with other work the
          times are that work's: what the loop itself needs is the CPU time of its turns, and `chrt -r 1` helps
faults    half of them refuse connections, and some targets each hang, trickle, send without end or send a gzip bomb: what that
          does to the schedule of the rest
discovery what the longest turn is while that many targets come (and later go) by a file, by a list from HTTP, by a reload, or as
          1,000 pods behind one Endpoints object
kubernetes what memory 10,000 watched pods take, without the memory of their targets
"""
import gzip
import os
import socket
import subprocess
import sys
import threading
import time

import side
from side import harness, say

TARGETS = int(os.environ.get("TARGETS", "10000"))
SERIES = int(os.environ.get("SERIES", "100"))
INTERVAL_S = int(os.environ.get("INTERVAL_S", "15"))
MEASURE_S = int(os.environ.get("MEASURE_SECONDS", str(side.pick(60, 180))))
BAD_OF_A_KIND = 20
LOAD = os.environ.get("LOAD_TARGETS") or os.path.join(os.path.dirname(harness.NARTHEX), "bench/load_targets")


class Targets:
    def __init__(self):
        self.process = subprocess.Popen([LOAD, str(SERIES), str(INTERVAL_S * 1000)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, preexec_fn=harness.end_with_parent)
        self.port = int(self.process.stdout.readline())

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def address(number):
    return f"127.{1 + number // 65536}.{number // 256 % 256}.{number % 256}"


def job(name, addresses, extra=""):
    groups = "".join(f"""
      - targets: ["{one}"]
        labels: {{namespace: "namespace-{i % 20}", pod: "workload-{i}"}}""" for i, one in enumerate(addresses))
    return f"  - job_name: {name}\n{extra}    static_configs:{groups}\n"


def config(*jobs):
    return f"global: {{scrape_interval: {INTERVAL_S}s, scrape_timeout: {min(10, INTERVAL_S)}s}}\nscrape_configs:\n" + "".join(jobs)


def run(prefix, text, targets, healthy, measure_s=MEASURE_S):
    server = side.start_narthex(text)
    harness.wait_for("every target is scraped", lambda: int(targets.ask("report")[1]) >= healthy, 300, 1)
    time.sleep(INTERVAL_S)
    targets.ask("reset")
    say(f"{prefix}_start_turn_max_cpu", side.metric(server, "narthex_event_loop_turn_max_cpu_seconds") * 1e3, "ms")
    slow, cpu, begin = side.metric(server, "narthex_event_loop_slow_turns_total"), side.cpu_s(server), time.monotonic()
    time.sleep(measure_s)
    cpu, wall = side.cpu_s(server) - cpu, time.monotonic() - begin
    requests, seen, missed, median, p99, longest = targets.ask("report")
    say(f"{prefix}_scrapes", int(requests), "scrapes")
    say(f"{prefix}_targets_seen", int(seen), "targets")
    say(f"{prefix}_missed_scrapes_narthex", int(missed), "scrapes")
    say(f"{prefix}_missed_scrapes_bar", 0, "scrapes")
    say(f"{prefix}_late_median", float(median), "ms")
    say(f"{prefix}_late_p99_narthex", float(p99), "ms")
    say(f"{prefix}_late_p99_bar", 50.0, "ms")
    say(f"{prefix}_late_max", float(longest), "ms")
    say(f"{prefix}_loop_turn_max", side.metric(server, "narthex_event_loop_turn_max_seconds") * 1e3, "ms")
    say(f"{prefix}_loop_turn_max_cpu", side.metric(server, "narthex_event_loop_turn_max_cpu_seconds") * 1e3, "ms")
    say(f"{prefix}_loop_turns_over_20ms", side.metric(server, "narthex_event_loop_slow_turns_total") - slow, "turns")
    say(f"{prefix}_cpu", cpu / wall * 100, "percent_of_a_core")
    say(f"{prefix}_cpu_sample", cpu / (int(requests) * SERIES) * 1e6, "us/sample")
    say(f"{prefix}_rss", side.memory_mib(server, "VmRSS"), "MiB")
    return server


def bench_targets():
    targets = Targets()
    text = config(job("pods", [f"{address(i)}:{targets.port}" for i in range(TARGETS)]))
    server = run("targets", text, targets, TARGETS)
    say("targets_series", side.metric(server, "prometheus_tsdb_head_series"), "series")
    anon = side.memory_mib(server, "RssAnon")
    say("targets_anon_narthex", anon, "MiB")
    say("targets_anon_bar", 450.0, "MiB")
    side.drop(server)
    targets.stop()


# ---- faults ----

def bad_server(kind):
    """Accepts for ever and does one bad thing to each that comes."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    bomb = gzip.compress(b"a" * (64 << 20))
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def serve(client):
        try:
            client.recv(65536)
            if kind == "hang":
                time.sleep(3600)
            elif kind == "bomb":
                client.sendall(head + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
            elif kind == "endless":
                client.sendall(head + b"\r\n")
                while True:
                    client.sendall(b"endless_total 1\n" * 4096)
            else:
                for byte in head + b"\r\nslow_total 1\n" * 1000:
                    client.sendall(bytes([byte]))
                    time.sleep(1)
        except OSError:
            pass
        client.close()

    def accept():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def bench_faults():
    targets = Targets()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refusing = closed.getsockname()[1]
    half = TARGETS // 2
    jobs = [job("good", [f"{address(i)}:{targets.port}" for i in range(half)]),
            job("refusing", [f"{address(i)}:{refusing}" for i in range(half)])]
    for kind in ("hang", "trickle", "bomb", "endless"):
        port = bad_server(kind)
        jobs.append(job(kind, [f"127.0.0.1:{port}"] * BAD_OF_A_KIND,
                        "    body_size_limit: 10MB\n" if kind in ("bomb", "endless") else ""))
    server = run("faults", config(*jobs), targets, half)
    say("faults_anon", side.memory_mib(server, "RssAnon"), "MiB")
    say("faults_anon_peak", side.memory_mib(server, "VmHWM"), "MiB")
    side.drop(server)
    targets.stop()


# ---- discovery ----

RELABEL = """    relabel_configs:
      - {source_labels: [__meta_kubernetes_namespace, namespace], action: keep, regex: .*}
      - {action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}
      - {source_labels: [__address__, pod], regex: "([^:]+)(?::.*)?;(.*)", replacement: "$1:9090", target_label: __address__}
"""


def found_targets(server):
    found = server.data("/api/v1/scrape_pools") and server.data("/api/v1/targets", {"state": "active"})["activeTargets"]
    return len(found)


def longest_turn(name, server, change, count, what):
    """The metric is of all turns so far: each kind of change has a server of its own."""
    before = side.metric(server, "narthex_event_loop_turn_max_cpu_seconds")
    cpu = side.cpu_s(server)
    change()
    harness.wait_for(f"{count} targets", lambda: side.metric(server, 'prometheus_sd_discovered_targets{config="pods",name="scrape"}')
                     == count, 60, 0.2)
    time.sleep(3)
    say(f"discovery_{name}_{what}_turn_max_cpu", side.metric(server, "narthex_event_loop_turn_max_cpu_seconds") * 1e3, "ms")
    say(f"discovery_{name}_{what}_turn_max_cpu_before", before * 1e3, "ms")
    say(f"discovery_{name}_{what}_cpu", (side.cpu_s(server) - cpu) * 1e3, "ms")


def groups(count):
    return [{"targets": [f"{address(i)}:9"], "labels": {"namespace": f"namespace-{i % 20}", "pod": f"workload-{i}"}}
            for i in range(count)]


def pods_behind(kube, count):
    addresses = []
    for i in range(count):
        name = f"workload-{i}"
        kube.put("pods", {"metadata": {"name": name, "namespace": "ode", "uid": f"uid-{i}", "labels": {
            "app": "workload", "pod-template-hash": "5d8c7f9b6", "app.kubernetes.io/name": "workload"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "workload-5d8c7f9b6", "controller": True}]},
            "spec": {"nodeName": f"node-{i % 50}", "containers": [
                {"name": "app", "image": "example/app:1", "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"},
                                                                     {"name": "metrics", "containerPort": 9090}]},
                {"name": "proxy", "image": "example/proxy:1", "ports": [{"containerPort": 15090}]}]},
            "status": {"phase": "Running", "podIP": address(i), "hostIP": "192.0.2.1",
                       "conditions": [{"type": "Ready", "status": "True"}]}})
        addresses.append({"ip": address(i), "nodeName": f"node-{i % 50}",
                          "targetRef": {"kind": "Pod", "namespace": "ode", "name": name}})
    kube.put("endpoints", {"metadata": {"name": "workload", "namespace": "ode"}, "subsets": [
        {"addresses": addresses, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}]})


def bench_discovery():
    import json
    from fake_kube import FakeKube
    head = "global: {scrape_interval: 1h}\nscrape_configs:\n  - job_name: pods\n" + RELABEL
    path = os.path.join(harness.new_folder("sd"), "targets.json")
    harness.write_file(path, "[]")
    server = side.start_narthex(head + f"    file_sd_configs: [{{files: ['{path}']}}]\n")
    longest_turn("file", server, lambda: harness.write_file(path, json.dumps(groups(TARGETS))), TARGETS, "come")
    longest_turn("file", server, lambda: harness.write_file(path, json.dumps(groups(10))), 10, "go")
    side.drop(server)
    server = side.start_narthex(head)
    def reload_with():
        server.set_config(head + job("x", [f"{address(i)}:9" for i in range(TARGETS)]).split("\n", 1)[1])
        server.post("/-/reload")
    longest_turn("reload", server, reload_with, TARGETS, "come")
    side.drop(server)
    kube = FakeKube()
    server = side.start_narthex(head + f"    kubernetes_sd_configs: [{{role: endpoints, api_server: '{kube.url}'}}]\n")
    longest_turn("endpoints", server, lambda: pods_behind(kube, 1000), 3000, "come")
    longest_turn("endpoints", server, lambda: kube.delete("pods", "ode", "workload-7"), 2998, "pod_goes")
    side.drop(server)


# ---- kubernetes ----

PODS = int(os.environ.get("PODS", "10000"))


def some_pod(number):
    """With what a Deployment's pods have: templates' labels, annotations, two containers, conditions."""
    name = f"workload-{number // 10}-5d8c7f9b6{number // 10 % 10}-x{number:05d}"
    return {"metadata": {"name": name, "namespace": f"namespace-{number % 20}", "uid": f"7f3c1f66-8a2e-4c58-9d3e-{number:012d}",
                         "labels": {"app.kubernetes.io/name": f"workload-{number // 10}", "app.kubernetes.io/instance": "production",
                                    "app.kubernetes.io/part-of": "shop", "pod-template-hash": "5d8c7f9b6", "team": f"t{number % 7}"},
                         "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090",
                                         "checksum/config": f"{number:064x}"},
                         "ownerReferences": [{"kind": "ReplicaSet", "name": f"workload-{number // 10}-5d8c7f9b6", "controller": True}],
                         "managedFields": [{"manager": "kubelet", "fieldsV1": {f"f:{i}": {} for i in range(40)}}]},
            "spec": {"nodeName": f"node-{number % 50}", "containers": [
                {"name": "app", "image": "registry.example.com/shop/app:1.2.3", "ports": [{"name": "http", "containerPort": 8080}]},
                {"name": "proxy", "image": "registry.example.com/mesh/proxy:4.5", "ports": [{"containerPort": 15090}]}]},
            "status": {"phase": "Running", "podIP": address(number), "hostIP": "192.0.2.1",
                       "conditions": [{"type": "Ready", "status": "True"}]}}


def bench_kubernetes():
    from fake_kube import FakeKube
    kube = FakeKube()
    config = "global: {scrape_interval: 1h}\nscrape_configs:\n  - job_name: pods\n" + f"""
    kubernetes_sd_configs: [{{role: pod, api_server: '{kube.url}'}}]
    relabel_configs: [{{source_labels: [__meta_kubernetes_namespace], regex: none, action: keep}}]
"""
    server = side.start_narthex(config)
    time.sleep(3)
    before = side.memory_mib(server, "RssAnon")
    for number in range(PODS):
        kube.put("pods", some_pod(number))
    harness.wait_for("all pods", lambda: side.metric(server, 'prometheus_sd_discovered_targets{config="pods",name="scrape"}')
                     == 2 * PODS, 300, 1)
    time.sleep(40)  # Holes of the heap go back each 30 s.
    say("kubernetes_pods", PODS, "pods")
    say("kubernetes_pods_anon_narthex", side.memory_mib(server, "RssAnon") - before, "MiB")
    say("kubernetes_pods_anon_bar", 20.0, "MiB")
    side.drop(server)


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["targets", "faults"]
    if "discovery" in wanted:
        bench_discovery()
    if "kubernetes" in wanted:
        bench_kubernetes()
    if "targets" in wanted:
        bench_targets()
    if "faults" in wanted:
        bench_faults()
