#!/usr/bin/env python3
"""PromQL beside Debian's Prometheus and VictoriaMetrics: the same samples by remote write, results compared before they
are timed, caches off, one server at a time.

    bench/bench_query.py [own|many|long|json|light|memory ...]         all by default

own     the expressions with which Prometheus measures its own engine, at 1 and 1,000 steps over one and 100 series
many    10,000 series (QUICK: 2,000) over 6 h: rates by job, histogram_quantile, topk, a join
long    windows of an hour and of a day, subqueries
json    a matrix of 300,000 points
light   a light instant query over 64 connections that stay open
memory  sum(rate()) over a day of counters (FULL: 8,700 of them, 50 M samples); the growth of anonymous memory

A figure is CPU of the server's process in ms for one query over HTTP, on a connection that stays open; `_time` is the
wall clock, `_engine` the time that the server says its engine took: what Prometheus' own benchmark measures.
VictoriaMetrics has other rules for windows, so its results are not judged.
"""
import http.client
import math
import os
import statistics
import subprocess
import sys
import threading
import time

from side import SENDER, drop, harness, memory_mib, pick, say, servers, send_set, Set

LOAD = os.path.join(os.path.dirname(SENDER), "load_promql")
HUNDRED_ROWS = 9700  # A day and 1,000 steps, at 10 s
MANY_SERIES = pick(2000, 10000)
MANY_ROWS = 1620  # 6 h 10 min at 15 s from when all targets are there
DAY_SERIES = pick(2000, 8700)
DAY_ROWS = 5900
AHEAD_ROWS = 240  # Sent as time goes by: what is asked for are series that live.

OWN = [
    "a_X", "rate(a_X[1m])", "rate(sparse[1m])", "double_exponential_smoothing(a_X[1d], 0.3, 0.3)", "changes(a_X[1d])",
    "rate(a_X[1d])", "absent_over_time(a_X[1d])", "-a_X", "a_X - b_X", "a_X and b_X{l=~'.*[0-4]$'}",
    "a_X or b_X{l=~'.*[0-4]$'}", "a_X unless b_X{l=~'.*[0-4]$'}", "a_X and b_X{l='notfound'}", "abs(a_X)",
    "label_replace(a_X, 'l2', '$1', 'l', '(.*)')", "label_join(a_X, 'l2', '-', 'l', 'l')", "sum(a_X)", "avg(a_X)",
    "sum without (l)(h_X)", "sum without (le)(h_X)", "sum by (l)(h_X)", "sum by (le)(h_X)",
    "count_values('value', h_X)", "topk(1, a_X)", "topk(5, a_X)", "rate(a_X[1m]) + rate(b_X[1m])",
    "sum without (l)(rate(a_X[1m]))", "sum without (l)(rate(a_X[1m])) / sum without (l)(rate(b_X[1m]))",
    "histogram_quantile(0.9, rate(h_X[5m]))", "a_X + on(l) group_right a_one", "count({__name__!=''})",
    "count({__name__!='',l=''})", "timestamp(a_X)",
]
OTHER_NAME = {"double_exponential_smoothing": "holt_winters"}  # In Prometheus 2 and VictoriaMetrics.

MANY = {
    "sum_rate": "sum by (job) (rate(x_total[5m]))",
    "histogram_quantile": "histogram_quantile(0.9, sum by (le) (rate(latency_bucket[5m])))",
    "topk": "topk(10, x_total)",
    "join": "x_total * on (instance) group_left (node) node_info",
}
LONG = {
    "max_1d": "max_over_time(a_hundred[1d])",
    "quantile_1h": "quantile_over_time(0.9, a_hundred[1h])",
    "subquery": "max_over_time(rate(a_hundred[5m])[1h:1m])",
}


class Side:
    """The servers that are compared, and what they were told."""

    def __init__(self):
        self.end_s = int(time.time()) // 60 * 60 - 120
        self.running = {}
        self.senders = []
        self.differing = 0

    def fill(self, name, series, rows):
        path = os.path.join(harness.scratch, name + ".set")
        ahead_ms = AHEAD_ROWS * (10000 if name == "hundred" else 15000)
        subprocess.run([LOAD, "make", name, str(series), str(rows + AHEAD_ROWS), str(self.end_s * 1000 + ahead_ms),
                        path], check=True)
        return path

    def start(self, sets):
        for name, start in servers().items():
            extra = ["--enable-feature=promql-experimental-functions"] if name == "narthex" else []
            self.running[name] = server = start("", extra)
            for path in sets:
                before = cpu_s(server)
                if name == "narthex":  # As scrapes come: that makes a difference to how samples lie.
                    self.senders.append(send_set(Set(path), server, rows=1, pause_rows=136, pause_ms=700))
                else:
                    self.senders.append(send_set(Set(path), server, rows=60))
                say(f"query_send_cpu_{name}", cpu_s(server) - before, "s")
            if name == "victoria":
                server.get("/internal/force_flush")
        time.sleep(2)

    def stop(self):
        for sender in self.senders:
            sender.kill()
            sender.wait()
        self.senders = []
        for server in self.running.values():
            drop(server)
        self.running = {}
        CONNECTIONS.clear()


def cpu_s(server):
    """Of all threads that live, to the nanosecond."""
    spent, tasks = 0, f"/proc/{server.child.pid}/task"
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/schedstat", encoding="ascii") as f:
            spent += int(f.read().split()[0])
    return spent / 1e9


def spelled(server, query):
    for ours, theirs in OTHER_NAME.items():
        if server != "narthex":
            query = query.replace(ours, theirs)
    return query


CONNECTIONS = {}


def get(server, path, parameters):
    """Over a connection that stays open, as dashboards and adapters ask. VictoriaMetrics ends them every two minutes."""
    target = path + "?" + harness.encode_query(parameters)
    for attempt in (1, 2):
        if server.port not in CONNECTIONS:
            CONNECTIONS[server.port] = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        try:
            CONNECTIONS[server.port].request("GET", target)
            answer = CONNECTIONS[server.port].getresponse()
            return harness.Reply(answer.status, answer.headers, answer.read())
        except ConnectionError:
            CONNECTIONS.pop(server.port).close()
            if attempt == 2 or server.name != "victoria":
                raise
    raise AssertionError("unreachable")


def ask(server, query, start_s, end_s, step_s, **more):
    """A range query, or an instant one when there is no step: now when there is no end."""
    if step_s:
        parameters = {"query": query, "start": start_s, "end": end_s, "step": step_s, "nocache": 1}
        reply = get(server, "/api/v1/query_range", {**parameters, **more})
    else:
        parameters = {"query": query, "nocache": 1, **({"time": end_s} if end_s else {})}
        reply = get(server, "/api/v1/query", {**parameters, **more})
    assert reply.status == 200, (query, reply)
    return reply


def points_of(reply):
    found = {}
    for one in reply.json["data"]["result"]:
        found[harness.labels_key(one["metric"])] = one.get("values") or [one["value"]]
    return found


def difference(a, b):
    """The largest relative difference; None when series or times are not the same."""
    worst = 0.0
    if a.keys() != b.keys():
        return None
    for key, points in a.items():
        if [t for t, _ in points] != [t for t, _ in b[key]]:
            return None
        for (_, left), (_, right) in zip(points, b[key]):
            x, y = float(left), float(right)
            if x != y and not (math.isnan(x) and math.isnan(y)):
                worst = max(worst, abs(x - y) / max(abs(x), abs(y)))
    return worst


def time_query(server, query, start_s, end_s, step_s, least_s):
    """CPU of one run, and the median time until the whole answer is there. What is asked for one instant is asked for
    now, as panels, rules and adapters do."""
    end_s = end_s if step_s else None
    walls, begin, before = [], time.perf_counter(), cpu_s(server)
    while len(walls) < 2 or (cpu_s(server) - before < least_s and time.perf_counter() - begin < 4 * least_s):
        one = time.perf_counter()
        ask(server, query, start_s, end_s, step_s)
        walls.append(time.perf_counter() - one)
    return (cpu_s(server) - before) / len(walls) * 1e3, statistics.median(walls) * 1e3


def compare(side, label, query, start_s, end_s, step_s, least_s=0.3):
    """{server: (cpu, wall)}; differences with Prometheus are told and counted."""
    answers, found = {}, {}
    willing = {}
    for name, server in side.running.items():
        try:
            answers[name] = points_of(ask(server, spelled(name, query), start_s, end_s, step_s))
            willing[name] = server
        except AssertionError:
            if name != "victoria":  # It refuses some.
                raise
    worst = difference(answers["narthex"], answers["prometheus"]) if "prometheus" in answers else 0.0
    ties = "topk" in query
    if worst is None and ties:  # Which of equal ones is kept is nobody's promise.
        worst = 0.0
    if worst is None or worst > 1e-9:
        side.differing += 1
        say(f"query_{label}_difference", "other_series" if worst is None else worst, "relative")
    answers = None
    for name, server in willing.items():
        found[name] = time_query(server, spelled(name, query), start_s, end_s, step_s, least_s)
    return found


def engine_ms(server, query, start_s, end_s, step_s):
    """What Prometheus' own benchmark of its engine measures, without HTTP and JSON, as the server itself tells it."""
    spent = []
    end_s = end_s if step_s else None
    while len(spent) < 9 and sum(spent) < 300:
        stats = ask(server, query, start_s, end_s, step_s, stats="true").json["data"]["stats"]
        spent.append(stats["timings"]["evalTotalTime"] * 1e3)
    return statistics.median(spent)


def tell(label, found, prometheus=None, victoria=None):
    """What each used, and by how many times Narthex is better."""
    for name, (cpu, wall) in found.items():
        say(f"query_{label}_cpu_{name}", cpu, "ms")
        say(f"query_{label}_time_{name}", wall, "ms")
    for peer, bar in (("prometheus", prometheus), ("victoria", victoria)):
        if bar is None or peer not in found:
            continue
        for at, what in enumerate(("cpu", "time")):
            say(f"query_{label}_{what}_x_{peer}", found[peer][at] / max(found["narthex"][at], 1e-6), "times")
            say(f"query_{label}_{what}_x_{peer}_bar", float(bar), "times")


def geometric(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))


def bench_own(side):
    ratios = {}
    for steps in (1, 1000):
        for kind in ("one", "hundred"):
            for query in OWN:
                text = query.replace("X", kind)
                if text == query and kind == "one":
                    continue
                if text.startswith("count_values") and steps > 1 and kind == "hundred":
                    continue  # A million series: over what the servers answer by default.
                end_s = side.end_s // 10 * 10
                start_s = end_s - (steps - 1) * 10
                label = f"own_{steps}_{text.replace(' ', '')}"
                # Long enough for the collector of garbage to have its share.
                found = compare(side, label, text, start_s, end_s, 10 if steps > 1 else 0, 0.05 if steps == 1 else 0.4)
                if "prometheus" not in found:
                    continue
                for peer in found:
                    for at, what in enumerate(("cpu", "time")):
                        ratio = max(found[peer][at], 1e-3) / max(found["narthex"][at], 1e-3)
                        ratios.setdefault((peer, steps, kind, what), []).append((ratio, text))
                tell(label, found)
                engine = {name: max(engine_ms(side.running[name], spelled(name, text), start_s, end_s,
                                              10 if steps > 1 else 0), 1e-3) for name in ("narthex", "prometheus")}
                for name, spent in engine.items():
                    say(f"query_{label}_engine_{name}", spent, "ms")
                ratios.setdefault(("prometheus", steps, kind, "engine"), []).append(
                    (engine["prometheus"] / engine["narthex"], text))
    for (peer, steps, kind, what), items in ratios.items():
        if peer == "narthex":
            continue
        name = f"query_own_{steps}_{kind}_{what}_x_{peer}"
        say(name, geometric([ratio for ratio, _ in items]), "times")
        if peer == "prometheus" and kind == "hundred":
            say(name + "_bar", 10.0, "times")
        ratio, text = min(items)
        say(f"{name}_worst ({text})", ratio, "times")
        if peer == "prometheus" and kind == "hundred":
            say(f"{name}_worst_bar", 1.0, "times")
    both = [item for steps in (1, 1000) for item in ratios.get(("prometheus", steps, "hundred", "cpu"), [])]
    if both:
        say("query_own_cpu_x_prometheus", geometric([ratio for ratio, _ in both]), "times")
        say("query_own_cpu_x_prometheus_bar", 10.0, "times")
        say("query_own_worst_cpu_x_prometheus", min(both)[0], "times")
        say("query_own_worst_cpu_x_prometheus_bar", 1.0, "times")


def bench_many(side):
    for label, query in MANY.items():
        found = compare(side, label, query, side.end_s - 6 * 3600 + 600, side.end_s, 60)
        tell(label, found, prometheus=10, victoria=2)


def bench_long(side):
    for label, query in LONG.items():
        found = compare(side, label, query, side.end_s - 10000, side.end_s, 10)
        tell(label, found, prometheus=10)


def bench_json(side):
    """300 series of 1,000 points: what the whole answer takes less what the same without text takes."""
    query = "h_hundred{le=~'0|0.1|0.2'}"
    found, size = {}, 0
    for name, server in side.running.items():
        start_s = side.end_s - 9990
        whole, wall = time_query(server, query, start_s, side.end_s, 10, 0.5)
        count, _ = time_query(server, f"count({query})", start_s, side.end_s, 10, 0.5)
        body = len(ask(server, query, start_s, side.end_s, 10).body)
        found[name] = (max(whole - count, 0.01), wall)
        size = body if name == "narthex" else size
    tell("json", found, prometheus=3)
    if "narthex" in found:
        say("query_json_narthex", size / 1e6 / (found["narthex"][0] / 1e3), "MB/s")
        say("query_json_bar", 100.0, "MB/s")


def ask_light(side, name, path, encoding):
    """Requests a second, half of the requests and 99 % of them in us; CPU of the server for one, in us."""
    server = side.running[name]
    before, seconds = cpu_s(server), pick(3, 10)
    done = subprocess.run([LOAD, "ask", str(server.port), path, "64", str(seconds), encoding], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.split()
    rate, p50, p99 = (float(text) for text in done)
    return rate, p50, p99, (cpu_s(server) - before) / seconds / rate * 1e6


def bench_light(side):
    """Answers as they are, and packed as browsers and the clients of Go ask for them."""
    path = "/api/v1/query?" + harness.encode_query({"query": "sum(a_one)"})
    for what, encoding in (("light", "identity"), ("light_gzip", "gzip")):
        found = {name: ask_light(side, name, path + ("&nocache=1" if name == "victoria" else ""), encoding)
                 for name in side.running}
        for name, (rate, p50, p99, cpu) in found.items():
            say(f"query_{what}_rate_{name}", rate, "requests/s")
            say(f"query_{what}_p50_{name}", p50 / 1e3, "ms")
            say(f"query_{what}_p99_{name}", p99 / 1e3, "ms")
            say(f"query_{what}_cpu_{name}", cpu, "us/request")
        if "prometheus" in found:
            ours, theirs = found["narthex"], found["prometheus"]
            say(f"query_{what}_rate_x_prometheus", ours[0] / theirs[0], "times")
            say(f"query_{what}_rate_x_prometheus_bar", 5.0, "times")
            say(f"query_{what}_cpu_x_prometheus", theirs[3] / ours[3], "times")
            say(f"query_{what}_p99_bar", theirs[2] / 1e3, "ms")


class Watch(threading.Thread):
    """The most anonymous memory of a server while it works."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.most, self.ended = server, 0.0, threading.Event()
        self.least = memory_mib(server)

    def run(self):
        while not self.ended.wait(0.005):
            self.most = max(self.most, memory_mib(self.server))

    def end(self):
        self.ended.set()
        self.join()
        return max(self.most - self.least, 0.0)


def bench_memory(side):
    """All samples of the day, at every minute."""
    for name, server in side.running.items():
        before = cpu_s(server)
        watch = Watch(server)
        watch.start()
        reply = ask(server, "sum(rate(x_total[5m]))", side.end_s - 86400 + 300, side.end_s, 60, stats="true")
        say(f"query_memory_{name}", watch.end(), "MiB")
        say(f"query_memory_cpu_{name}", cpu_s(server) - before, "s")
        if name == "narthex":
            say("query_memory_samples", reply.json["data"]["stats"]["samples"]["samplesRead"], "samples")
    say("query_memory_bar", 64.0, "MiB")


def main(wanted):
    side = Side()
    parts = {"own": bench_own, "long": bench_long, "json": bench_json, "light": bench_light, "many": bench_many,
             "memory": bench_memory}
    wanted = wanted or list(parts)
    sets = {"many": (MANY_SERIES, MANY_ROWS, ["many"]), "counters": (DAY_SERIES, DAY_ROWS, ["memory"]),
            "hundred": (0, HUNDRED_ROWS, ["own", "long", "json", "light"])}
    for name, (series, rows, those) in sets.items():
        chosen = [part for part in those if part in wanted]
        if not chosen:
            continue
        side.start([side.fill(name, series, rows)])
        for part in chosen:
            parts[part](side)
        side.stop()
    return side.differing


if __name__ == "__main__":
    if main(sys.argv[1:]):
        sys.exit("results differ from Prometheus'")
