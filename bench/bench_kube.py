#!/usr/bin/env python3
"""The metrics APIs under autoscalers: 1,000 pods that are scraped all the time, 100 autoscalers of 10 pods each with two
metrics, that come as the aggregator brings them: TLS, the front proxy's certificate, X-Remote-* headers, rights that the API
server is asked for. Prints lines `name value unit`.

    NARTHEX=build/release/narthex bench/bench_kube.py

A burst is the 200 requests of one round over five connections, which is how many workers the controller has; once also
over 200 connections, all at the same moment. Then thousands of requests more, and what memory has become by them.
"""
import gc
import os
import selectors
import socket
import ssl
import time
import urllib.parse

import load_target
import side
from side import cpu_s, drop, harness, memory_mib, pick, say, say_bar, scrape_config

from fake_kube import Certificates, FakeKube

PODS = int(os.environ.get("PODS", "1000"))
SCALERS = PODS // 10
INTERVAL_S = 10
BURSTS = pick(20, 40)
MANY = int(os.environ.get("MANY", pick(10000, 50000)))
NAMESPACES = 20  # As scrape_config() gives them out.
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2"
WHO = "X-Remote-User: system:serviceaccount:kube-system:horizontal-pod-autoscaler\r\nX-Remote-Group: system:serviceaccounts\r\n"
certificates = Certificates(harness.new_folder("front-proxy"))


def make_pods(kube):
    for i in range(PODS):
        name = f"workload-{i}"
        kube.put("pods", {"metadata": {"name": name, "namespace": f"namespace-{i % NAMESPACES}",
                                       "labels": {"app": f"app-{i // NAMESPACES % (SCALERS // NAMESPACES)}",
                                                  "pod-template-hash": "5d59d67564", "tier": "worker"}},
                          "spec": {"containers": [{"name": "c", "image": "i"}]},
                          "status": {"phase": "Running", "podIP": f"10.0.{i // 256}.{i % 256}"}})


def make_requests():
    found = []
    for scaler in range(SCALERS):
        namespace = f"namespace-{scaler % NAMESPACES}"
        selector = urllib.parse.quote(f"app=app-{scaler // NAMESPACES}", safe="")
        base = f"{CUSTOM}/namespaces/{namespace}/pods/%2A/"
        found.append((f"{base}node_family_01?labelSelector={selector}", 10))
        found.append((f"{base}node_family_10?labelSelector={selector}&metricLabelSelector=cpu%3D3", 10))
    return [(f"GET {path} HTTP/1.1\r\nHost: x\r\n{WHO}Accept: application/vnd.kubernetes.protobuf, */*\r\n\r\n".encode(), items)
            for path, items in found]


def aggregator():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(certificates.client, certificates.client_key)
    return context


class Connection:
    def __init__(self, port):
        plain = socket.create_connection(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = aggregator().wrap_socket(plain)
        self.begin_s, self.items, self.bytes = 0.0, 0, b""

    def send(self, request):
        self.bytes, self.items, self.begin_s = b"", request[1], time.perf_counter()
        self.socket.sendall(request[0])

    def read(self):
        """The seconds that it took when the answer is whole, else None."""
        self.bytes += self.socket.recv(1 << 20)
        while self.socket.pending():
            self.bytes += self.socket.recv(1 << 20)
        head, _, body = self.bytes.partition(b"\r\n\r\n")
        at = head.lower().find(b"content-length: ")
        if at < 0 or len(body) < int(head[at + 16:].split(b"\r\n")[0]):
            return None
        took = time.perf_counter() - self.begin_s
        assert head.startswith(b"HTTP/1.1 200") and body.count(b'"describedObject"') == self.items, self.bytes[:600]
        return took


def burst(connections, requests):
    """Each connection has one request under way, until all have been answered."""
    waiting, took = list(reversed(requests)), []
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        for connection in connections:
            if waiting:
                connection.send(waiting.pop())
        while len(took) < len(requests):
            for key, _ in selector.select(60):
                seconds = key.data.read()
                if seconds is not None:
                    took.append(seconds)
                    if waiting:
                        key.data.send(waiting.pop())
    return took


def share(values, of):
    return sorted(values)[min(len(values) - 1, int(len(values) * of))] * 1000


def run_bursts(port, requests, width):
    connections = [Connection(port) for _ in range(width)]
    took, walls = [], []
    for _ in range(BURSTS):
        begin = time.perf_counter()
        took += burst(connections, requests)
        walls.append(time.perf_counter() - begin)
        time.sleep(0.5)
    for connection in connections:
        connection.socket.close()
    return took, walls


def main():
    targets = load_target.Targets(INTERVAL_S, False)
    kube = FakeKube()
    make_pods(kube)
    port = harness.free_port()
    config = scrape_config(targets.port, PODS, INTERVAL_S) + f"""
  - job_name: watched
    kubernetes_sd_configs: [{{role: pod, api_server: "{kube.url}"}}]
    relabel_configs: [{{source_labels: [job], regex: none, action: keep}}]
"""
    server = side.start_narthex(config, [
        f"--kube.listen-address=127.0.0.1:{port}", "--kube.service=narthex.ode", "--kube.api-server=" + kube.url,
        "--kube.requestheader-client-ca-file=" + certificates.ca, "--kube.requestheader-allowed-names=narthex",
        "--web.max-connections=1024"])
    harness.wait_for("every pod is scraped three times", lambda: targets.served.value >= 3 * PODS, 120)
    requests = make_requests()
    connection = Connection(port)
    harness.wait_for("pods are listed", lambda: len(burst([connection], requests[:1])) == 1, 60)
    gc.disable()
    run_bursts(port, requests[:20], 5)
    cpu, served = cpu_s(server), targets.served.value
    took, walls = run_bursts(port, requests, 5)
    found = {"narthex": share(took, 0.99)}
    say("kube_burst_p50_narthex", share(took, 0.5), "ms")
    say("kube_burst_p99_narthex", found["narthex"], "ms")
    say_bar("kube_burst_p99", found, "ms", absolute=50)
    say("kube_burst_max_narthex", max(took) * 1000, "ms")
    say("kube_burst_wall_narthex", share(walls, 0.5), "ms")
    say("kube_burst_cpu_narthex", (cpu_s(server) - cpu) / len(took) * 1e6, "us/request")
    took, _ = run_bursts(port, requests, len(requests))
    say("kube_burst_at_once_p99_narthex", share(took, 0.99), "ms")
    assert targets.served.value > served, "scraping went on"
    before = memory_mib(server)
    connections = [Connection(port) for _ in range(5)]
    for _ in range(MANY // len(requests)):
        burst(connections, requests)
    grown = {"narthex": memory_mib(server) - before}
    say("kube_many_requests", MANY, "requests")
    say("kube_many_anon_before_narthex", before, "MiB")
    say("kube_many_anon_grown_narthex", grown["narthex"], "MiB")
    drop(server)
    targets.stop()
    kube.close()


main()
