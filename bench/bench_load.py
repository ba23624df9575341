#!/usr/bin/env python3
"""Narthex beside Debian's Prometheus, and VictoriaMetrics when it is unpacked (.ci/peers.sh --all): the same targets, the
same samples, the same expressions, one after the other in one run. Prints lines `name value unit`.

    NARTHEX=build/release/narthex PEERS=build/peers bench/bench_load.py [scrape|query]

CPU is user and system time of the server's process. Each server scrapes alone: warm up, then count. Query results are
compared before they are timed; VictoriaMetrics has another rate(), so its difference is told and not judged.
"""
import os
import statistics
import sys
import time

import load_target
import side
from side import cpu_s, drop, harness, memory_mib, say, scrape_config, servers

TARGETS = int(os.environ.get("TARGETS", "200"))
INTERVAL_S = int(os.environ.get("INTERVAL_S", "5"))
WARM_S = 8
MEASURE_S = float(os.environ.get("MEASURE_SECONDS", str(side.pick(10, 20))))

STEP_S = 60
HOURS = 6
LEAD_HOURS = 1  # Written, not asked for: Prometheus 2 extrapolates over a series' birth in another way than 3.
SCRAPE_MS = 15000
OFF_GRID_MS = 7000  # No sample on a window's edge: Prometheus 2 counts the left one in, 3 and Narthex do not.
INSTANCES = 100

QUERIES = {
    "plain": "requests_total",
    "rate": "rate(requests_total[5m])",
    "sum_by_rate": "sum by (pod) (rate(requests_total[5m]))",
    "sum_rate_1h": "sum(rate(requests_total[1h]))",
    "avg_over_time": "avg_over_time(requests_total[5m])",
    "max_by": "max by (pod) (requests_total)",
    "topk": "sum(topk(5, rate(requests_total[5m])))",  # The sum: which of equal ones is kept is nobody's promise.
    "ratio": "sum by (pod) (rate(requests_total[5m])) / sum by (pod) (rate(requests_total[10m]))",
    "histogram_quantile": "histogram_quantile(0.99, sum by (le) (rate(latency_bucket[5m])))",
}


# ---- scraping ----

def measure_scrape(name, start, encoding):
    targets = load_target.Targets(INTERVAL_S, encoding == "gzip")
    server = start(scrape_config(targets.port, TARGETS, INTERVAL_S))
    harness.wait_for("every target is scraped", lambda: targets.served.value >= 2 * TARGETS, 60)
    time.sleep(WARM_S)
    cpu, served, begin = cpu_s(server), targets.served.value, time.monotonic()
    time.sleep(MEASURE_S)
    cpu, served, wall = cpu_s(server) - cpu, targets.served.value - served, time.monotonic() - begin
    samples = served * load_target.SERIES
    used = cpu / samples * 1e6
    say(f"scrape_{encoding}_cpu_{name}", used, "us/sample")
    say(f"scrape_{encoding}_rate_{name}", samples / wall, "samples/s")
    say(f"scrape_{encoding}_rss_{name}", memory_mib(server, "VmRSS"), "MiB")
    say(f"scrape_{encoding}_anon_{name}", memory_mib(server, "RssAnon"), "MiB")
    series = server.value("count({job=\"pods\"})")
    say(f"scrape_{encoding}_series_{name}", series, "series")
    drop(server)
    targets.stop()
    return used


def bench_scrape():
    for encoding, absolute in (("identity", 0.5), ("gzip", 0.9)):
        found = {name: measure_scrape(name, start, encoding) for name, start in servers().items()}
        side.say_bar(f"scrape_{encoding}_cpu", found, "us/sample", absolute, 1 / 5, 1 / 8)


# ---- queries ----

def make_series():
    bounds = ["0.005", "0.01", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "+Inf"]
    found = []
    for i in range(INSTANCES):
        common = {"job": "shop", "pod": f"pod-{i % 25}"}
        for k in range(10):
            found.append(dict(common, __name__="requests_total", instance=f"10.0.0.{i}:{k}"))
        for bound in bounds:
            found.append(dict(common, __name__="latency_bucket", instance=f"10.0.0.{i}:0", le=bound))
    return found


def write_requests(start_ms):
    """The samples as remote write requests of ten minutes each; made once, sent to each server."""
    dice = load_target.random.Random(42)
    series = make_series()
    values = [0.0] * len(series)
    per_request = 40
    for at in range(0, (LEAD_HOURS + HOURS) * 3600 * 1000 // SCRAPE_MS, per_request):
        samples = [[] for _ in series]
        for step in range(at, at + per_request):
            below = 0
            for i, labels in enumerate(series):
                if "le" in labels:
                    below = (0 if labels["le"] == "0.005" else below) + dice.getrandbits(2)
                    values[i] += below
                else:
                    values[i] = 0.0 if dice.getrandbits(11) == 0 else values[i] + dice.getrandbits(6)
                samples[i].append((start_ms + OFF_GRID_MS + step * SCRAPE_MS, values[i]))
        yield harness.snappy_literal(harness.encode_write(list(zip(series, samples))))


def send_all(name, server, requests):
    before = cpu_s(server)
    for body in requests:
        reply = harness.http_call("POST", server.port, "/api/v1/write", body, harness.WRITE_HEADERS, 60)
        assert reply.status in (200, 204), reply
    if name == "victoria":
        server.get("/internal/force_flush")
    count = 20 * INSTANCES * (LEAD_HOURS + HOURS) * 3600 * 1000 // SCRAPE_MS
    say(f"write_cpu_{name}", (cpu_s(server) - before) / count * 1e6, "us/sample")
    say(f"write_anon_{name}", memory_mib(server, "RssAnon"), "MiB")


def ask(server, query, start_s, end_s):
    reply = server.get("/api/v1/query_range", {"query": query, "start": start_s, "end": end_s, "step": STEP_S,
                                               "nocache": 1}, timeout=120)
    assert reply.status == 200, reply
    return reply


def points_of(reply):
    return {harness.labels_key(one["metric"]): one["values"] for one in reply.json["data"]["result"]}


def difference(a, b):
    """The largest relative difference; None when series or times are not the same."""
    if a.keys() != b.keys():
        return None
    worst = 0.0
    for key, points in a.items():
        others = b[key]
        if [t for t, _ in points] != [t for t, _ in others]:
            return None
        for (_, left), (_, right) in zip(points, others):
            x, y = float(left), float(right)
            if x != y and not (x != x and y != y):
                worst = max(worst, abs(x - y) / max(abs(x), abs(y)))
    return worst


def time_query(server, query, start_s, end_s):
    """CPU of one run, and the median time until the whole answer is there."""
    walls, before = [], cpu_s(server)
    while len(walls) < 5 or (cpu_s(server) - before < 0.5 and len(walls) < 40):
        begin = time.perf_counter()
        ask(server, query, start_s, end_s)
        walls.append(time.perf_counter() - begin)
    return (cpu_s(server) - before) / len(walls), statistics.median(walls)


def bench_query():
    end_s = int(time.time()) // 60 * 60 - 120
    start_s = end_s - HOURS * 3600
    requests = list(write_requests((start_s - LEAD_HOURS * 3600) * 1000))
    running = {}
    for name, start in servers().items():
        running[name] = start("")
        send_all(name, running[name], requests)
    time.sleep(3)
    differing = 0
    for label, query in QUERIES.items():
        answers = {name: points_of(ask(server, query, start_s, end_s)) for name, server in running.items()}
        assert answers["narthex"], query
        for name in running:
            if name != "narthex":
                worst = difference(answers["narthex"], answers[name])
                say(f"query_{label}_difference_{name}", "other_series" if worst is None else worst, "relative")
                if name == "prometheus" and (worst is None or worst > 1e-9):
                    differing += 1
        for name, server in running.items():
            cpu, wall = time_query(server, query, start_s, end_s)
            say(f"query_{label}_cpu_{name}", cpu * 1e3, "ms")
            say(f"query_{label}_time_{name}", wall * 1e3, "ms")
    for name, server in running.items():
        say(f"query_anon_{name}", memory_mib(server, "RssAnon"), "MiB")
        say(f"query_rss_{name}", memory_mib(server, "VmRSS"), "MiB")
        drop(server)
    return differing


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["scrape", "query"]
    if "scrape" in wanted:
        bench_scrape()
    if "query" in wanted and bench_query():
        sys.exit("results differ from Prometheus'")
