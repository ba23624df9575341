"""Service discovery by HTTP and DNS: targets come, are scraped, change, and go with stale markers."""
import json
import re
import socket
import struct
import threading
import time

import harness
from harness import Exporter, Server, wait_for


def sd_config(block, more=""):
    return f"""
global:
  scrape_interval: 250ms
  scrape_timeout: 250ms
scrape_configs:
  - job_name: found
{block}
{more}
"""


class Site(Exporter):
    """An exporter that also gives the list of targets."""

    def __init__(self):
        super().__init__({"/metrics": "m 1\n", "/sd": self.answer_list})
        self.groups = []
        self.status = 200
        self.content_type = "application/json"

    def answer_list(self, handler):
        body = self.groups if isinstance(self.groups, str) else json.dumps(self.groups)
        return self.status, {"Content-Type": self.content_type}, body

    def asked(self):
        return [headers for path, headers in self.requests if path.startswith("/sd")]


def http_block(site):
    return f"""
    http_sd_configs:
      - url: "http://{site.address}/sd?team=a"
        refresh_interval: 300ms
    relabel_configs:
      - source_labels: [__meta_url]
        target_label: from
"""


def group(address, **labels):
    return {"targets": [address], "labels": labels}


def zones(server):
    return sorted(labels["zone"] for labels, _ in server.instant("m"))


def test_http_list__targets_appear_and_vanish():
    site = Site()
    site.groups = [group(site.address, zone="a"), group(site.address, zone="b")]
    server = Server(sd_config(http_block(site)))
    wait_for("both targets", lambda: zones(server) == ["a", "b"])
    assert server.instant("m")[0][0]["from"] == f"http://{site.address}/sd?team=a"
    headers = {name.lower(): text for name, text in site.asked()[0].items()}
    assert headers["accept"] == "application/json", headers
    assert headers["x-prometheus-refresh-interval-seconds"] == "0.3", headers
    assert headers["user-agent"].startswith("Prometheus/3."), headers
    # One goes: its series end with a stale marker at once, not five minutes later.
    site.groups = [group(site.address, zone="a")]
    wait_for("one target", lambda: zones(server) == ["a"])
    assert [t["labels"]["zone"] for t in server.targets()] == ["a"]
    assert [labels["zone"] for labels, _ in server.instant("up")] == ["a"]
    # Another comes.
    site.groups = [group(site.address, zone="a"), group(site.address, zone="c")]
    wait_for("a new target", lambda: zones(server) == ["a", "c"])
    site.groups = []
    wait_for("none", lambda: server.targets() == [] and zones(server) == [])


def test_http_failure__keeps_the_last_list():
    site = Site()
    site.groups = [group(site.address, zone="a")]
    server = Server(sd_config(http_block(site)))
    wait_for("the target", lambda: zones(server) == ["a"])

    def failures():
        for line in server.get("/metrics").text.splitlines():
            if line.startswith("prometheus_sd_http_failures_total "):
                return int(float(line.split()[1]))
        return -1

    def breaks(status, content_type, body):
        site.status, site.content_type, site.groups = status, content_type, body
        before = failures()
        wait_for("two failures", lambda: failures() >= before + 2)
        assert zones(server) == ["a"]

    assert failures() == 0
    breaks(500, "application/json", "[]")
    breaks(200, "text/plain", "[]")
    breaks(200, "application/json", "[{")
    breaks(200, "application/json", "[null]")
    breaks(200, "application/json", "[" * 100000)
    breaks(200, "application/json", "{}," * 3000000)
    page = server.get("/metrics").text
    counted = re.search(r'prometheus_sd_refresh_failures_total\{config="[^"]+",mechanism="http"\} (\d+)', page)
    assert f"\nprometheus_sd_http_failures_total {counted[1]}\n" in page and int(counted[1]) >= 12
    site.status, site.content_type, site.groups = 200, "application/json", [group(site.address, zone="b")]
    wait_for("the new list", lambda: zones(server) == ["b"])


def test_reload__does_not_disturb_the_list():
    site = Site()
    site.groups = [group(site.address, zone="a")]
    server = Server(sd_config(http_block(site)))
    wait_for("the target", lambda: zones(server) == ["a"])
    # The list is not to be had now: an unchanged block goes on with what it knows.
    site.status = 503
    server.set_config(sd_config(http_block(site), "  - job_name: other\n    static_configs: [{targets: []}]"))
    assert server.post("/-/reload").status == 200
    for _ in range(10):
        assert [t["labels"]["zone"] for t in server.targets()] == ["a"]
        time.sleep(0.1)
    assert zones(server) == ["a"]


class NameServer:
    """DNS over UDP on loopback. names: {(name, type): [record data]}; None for SERVFAIL; absent is NXDOMAIN."""

    def __init__(self, names):
        self.names = names
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, peer = self.socket.recvfrom(65536)
            self.socket.sendto(self.answer(query), peer)

    def answer(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += query[at] + 1
        kind = struct.unpack(">H", query[at + 1:at + 3])[0]
        question = query[12:at + 5]
        found = self.names.get((".".join(labels), kind), ())
        code = 2 if found is None else 3 if found == () else 0
        records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data for data in found or ())
        counts = struct.pack(">HHHH", 1, len(found or ()), 0, 0)
        return query[:2] + struct.pack(">H", 0x8180 | code) + counts + question + records


def srv(host, port):
    name = b"".join(bytes([len(part)]) + part.encode() for part in host.split("."))
    return struct.pack(">HHH", 0, 0, port) + name + b"\0"


A, SRV = 1, 33


def test_dns_records__become_targets():
    exporter = Exporter({"/metrics": "m 1\n"})
    dead_port = harness.free_port()
    names = NameServer({("_web._tcp.test", SRV): [srv("localhost", exporter.port)],
                        ("host.test", A): [socket.inet_aton("127.0.0.1")]})
    block = f"""
    dns_sd_configs:
      - names: ["_web._tcp.test."]
        refresh_interval: 300ms
      - names: ["host.test."]
        type: A
        port: {exporter.port}
        refresh_interval: 300ms
    relabel_configs:
      - {{source_labels: [__meta_dns_name], target_label: name}}
      - {{source_labels: [__meta_dns_srv_record_target], target_label: srv_target}}
"""
    server = Server(sd_config(block), ["--discovery.narthex.dns-servers=" + names.address])

    def instances():
        return sorted(labels["instance"] for labels, _ in server.instant("m"))

    wait_for("both", lambda: instances() == [f"127.0.0.1:{exporter.port}", f"localhost:{exporter.port}"])
    by_name = {labels["name"]: labels for labels, _ in server.instant("m")}
    assert by_name["_web._tcp.test."]["srv_target"] == "localhost.", by_name
    assert "srv_target" not in by_name["host.test."], by_name
    # A failing server keeps the list; a name that is gone ends its target.
    names.names[("host.test", A)] = None
    time.sleep(1)
    assert len(instances()) == 2
    page = server.get("/metrics").text
    lookups = {line.split()[0]: float(line.split()[1]) for line in page.splitlines() if line.startswith("prometheus_sd_dns")}
    assert lookups["prometheus_sd_dns_lookups_total"] > lookups["prometheus_sd_dns_lookup_failures_total"] > 0, lookups
    del names.names[("host.test", A)]
    wait_for("one", lambda: instances() == [f"localhost:{exporter.port}"])
    names.names[("_web._tcp.test", SRV)] = [srv("localhost", exporter.port), srv("localhost", dead_port)]
    wait_for("another one", lambda: len(server.targets()) == 2)
    wait_for("one is down", lambda: {l["instance"]: v[1] for l, v in server.instant("up")} ==
             {f"localhost:{exporter.port}": "1", f"localhost:{dead_port}": "0"})


if __name__ == "__main__":
    harness.main(globals())
