"""Debian's Prometheus and Narthex scrape the same real exporters side by side, for SIDE_BY_SIDE_SECONDS (8; `make
side-by-side` takes five minutes), and are then compared series by series.

Between them and the exporters stands a relay that notes each page it hands out, and writes its number on it. So every
sample that either server has kept is known: its value, and whether it has a timestamp of its own. (A page that comes too
late on a busy machine is a failed scrape, and none of its samples may be there.) While they scrape, Redis' databases fill and empty,
so series come and go. At the end the relay gives both the same page until what they say of now is the same to the last
digit, and then nothing any more, so that all is stale."""
import os
import random
import re
import threading
import time
import urllib.parse
import urllib.request

import harness

SECONDS = float(os.environ.get("SIDE_BY_SIDE_SECONDS", "8"))
SEED = int(os.environ.get("SIDE_BY_SIDE_SEED", random.SystemRandom().randrange(1 << 32)))
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*?)\})? (\S+)(?: ([0-9.]+))?(?: # .*)?$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')
ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}
NEVER_THE_SAME = {"scrape_duration_seconds"}


def plain(name, value):
    """Bounds are spelled as 3.x does: 2.42 keeps what it reads."""
    if name in ("le", "quantile"):
        return "+Inf" if value == "+Inf" else repr(float(value))
    return value


def key_of(name, labels):
    return (name, *sorted((k, plain(k, v)) for k, v in labels.items() if v and k != "__name__"))


def read_page(text, own):
    """{key: (value, time in ms or None)} of a page, with the labels of its target."""
    found = {}
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        name, labels, value, at = LINE.match(line).groups()
        labels = {k: re.sub(r"\\.", lambda m: ESCAPES[m.group(0)], v) for k, v in LABEL.findall(labels or "")}
        assert "." not in (at or ""), "the relay's own pages have times in milliseconds"
        found[key_of(name, {**labels, **own})] = (float(value), int(at) if at else None)
    return found


def own_labels(page):
    """What the targets of a page add: it is named by its job, and by the probed target when there are several."""
    job, _, target = page.partition(" ")
    return {"job": job, "instance": target or "one", "site": "a b"}


class Relay:
    """pages: {job or "job target": function() -> (content type, text)}; the request tells the target as `target`."""

    def __init__(self, pages):
        self.pages = pages
        self.served = {}  # (server, page): how many
        self.texts = {}  # (page, number): text
        self.frozen = None  # {page: (content type, text)}
        self.broken = False
        self.lock = threading.Lock()
        self.exporter = harness.Exporter({"/" + page.partition(" ")[0]: self.serve for page in pages})
        self.address = self.exporter.address

    def serve(self, handler):
        asked = urllib.parse.urlsplit(handler.path)
        parameters = urllib.parse.parse_qs(asked.query)
        page = " ".join([asked.path[1:], *parameters.get("target", ())])
        server = handler.headers["User-Agent"]
        if page in PROBED:
            assert parameters == {"module": [PROBED[page]], "target": [page.partition(" ")[2]]}, handler.path
        kind, text = self.frozen[page] if self.frozen else self.page(page)
        with self.lock:
            if self.broken:
                return 503, {}, "broken\n"
            self.served[(server, page)] = self.served.get((server, page), 0) + 1
        return 200, {"Content-Type": kind}, text

    def page(self, page):
        kind, text = self.pages[page]()
        with self.lock:
            number = len(self.texts)
            whole, end, _ = text.partition("# EOF")
            text = self.texts[(page, number)] = f"{whole}# TYPE relay_page gauge\nrelay_page {number}\n{end}{end and chr(10)}"
        return kind, text

    def freeze(self):
        self.frozen = {page: self.page(page) for page in self.pages}

    def agents(self):
        return {server for server, _ in self.served}

    def counts(self):
        with self.lock:
            return dict(self.served)


def page_of(url, accept="text/plain"):
    def fetch():
        request = urllib.request.Request(url, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.headers["Content-Type"], reply.read().decode()
    return fetch


def own_page():
    """What exporters seldom do: times of their own, odd numbers, series that come and go."""
    now = int(time.time() * 1000)
    lines = ["# HELP odd_total Says \\\\ and \\n.", "# TYPE odd_total counter", f"odd_total {now // 7}",
             "# TYPE odd_gauge gauge", 'odd_gauge{kind="nan"} NaN', 'odd_gauge{kind="inf"} +Inf', 'odd_gauge{kind="low"} -1.5e-300',
             'odd_gauge{kind="text",path="C:\\\\DIR\\n",quote="say \\"hi\\""} 1', f"stamped{{age=\"none\"}} 1 {now}",
             f"stamped{{age=\"old\"}} {now % 1000} {now - 20000}", "# HELP unused Has no series.", "# TYPE unused histogram"]
    lines += [f'comes_and_goes{{n="{n}"}} {now % 97}' for n in range(20) if now // 1000 % (n + 2)]
    return "text/plain; version=0.0.4; charset=utf-8", "\n".join(lines) + "\n"


PROBED = {}  # {page of a probe: its module}

# As everybody writes it: the target becomes a parameter and the instance, the exporter is what is asked.
PROBES = """
  - job_name: blackbox
    metrics_path: /blackbox
    params: {{module: [http_2xx]}}
    static_configs:
      - {{targets: ["{alive}", "{refusing}"], labels: {{site: "a b"}}}}
      - {{targets: ["{redis}"], labels: {{site: "a b", __module: tcp_connect}}}}
    relabel_configs:
      - {{source_labels: [__address__], target_label: __param_target}}
      - {{source_labels: [__param_target], target_label: instance}}
      - {{source_labels: [__module], regex: (.+), target_label: __param_module}}
      - {{target_label: __address__, replacement: "{relay}"}}
"""


class Pair:
    def probe(self, target, module):
        PROBED["blackbox " + target] = module
        query = urllib.parse.urlencode({"module": module, "target": target})
        return {"blackbox " + target: page_of(f"http://127.0.0.1:{self.blackbox_exporter.port}/probe?{query}")}

    def __init__(self):
        self.redis = harness.start_redis()
        self.redis_exporter = harness.start_redis_exporter(self.redis.port)
        self.node_exporter = harness.start_node_exporter()
        node = f"http://127.0.0.1:{self.node_exporter.port}/metrics"
        self.blackbox_exporter = harness.start_blackbox_exporter()
        self.process_exporter = harness.start_process_exporter()
        self.watched = harness.start_prometheus("")
        alive, refusing = f"{node}?collect[]=loadavg", f"http://127.0.0.1:{harness.free_port()}/"
        redis = f"127.0.0.1:{self.redis.port}"
        self.relay = Relay({
            "node": page_of(node),
            "node-openmetrics": page_of(node, OPENMETRICS),
            "redis": page_of(f"http://127.0.0.1:{self.redis_exporter.port}/scrape?target=redis://127.0.0.1:{self.redis.port}"),
            "redis-exporter": page_of(f"http://127.0.0.1:{self.redis_exporter.port}/metrics"),
            "prometheus": page_of(f"http://127.0.0.1:{self.watched.port}/metrics"),
            "process": page_of(f"http://127.0.0.1:{self.process_exporter.port}/metrics"),
            "odd": own_page,
            **self.probe(alive, "http_2xx"), **self.probe(refusing, "http_2xx"), **self.probe(redis, "tcp_connect"),
        })
        config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n" + "".join(f"""
  - job_name: {job}
    metrics_path: /{job}
    static_configs: [{{targets: ["{self.relay.address}"], labels: {{instance: one, site: "a b"}}}}]
""" for job in self.relay.pages if job not in PROBED) + PROBES.format(relay=self.relay.address, alive=alive, refusing=refusing,
                                                                       redis=redis)
        self.theirs = harness.start_prometheus(config, ["--enable-feature=extra-scrape-metrics"])
        self.ours = harness.Server(config, args=["--enable-feature=extra-scrape-metrics"])
        self.both = (self.theirs, self.ours)

    def agent(self, server):
        own, = [agent for agent in self.relay.agents() if ("2.42" in agent) == (server is self.theirs)]
        return own

    def now(self, server, query='{job=~".+"}'):
        return {key_of(labels["__name__"], labels): float(value[1]) for labels, value in server.instant(query)}


pair = Pair()


def scrape_for_a_while():
    chance = random.Random(SEED)
    print(f"    SIDE_BY_SIDE_SEED={SEED}, {SECONDS:.0f} s", flush=True)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for _ in range(chance.randrange(30)):
            database = str(chance.randrange(4))
            with_expiry = ["PX", str(chance.randrange(500, 5000))] if chance.random() < 0.3 else []
            harness.redis_call(pair.redis.port, "SET", f"k{chance.randrange(1000)}", "x" * chance.randrange(50), *with_expiry)
            harness.redis_call(pair.redis.port, "SELECT", database)
        if chance.random() < 0.1:
            harness.redis_call(pair.redis.port, "FLUSHALL")
        time.sleep(0.2)


def test_a_while__of_scrapes():
    scrape_for_a_while()
    pair.relay.freeze()
    before = pair.relay.counts()
    harness.wait_for("each job is scraped twice more by both", lambda: all(
        count >= before.get(key, 0) + 3 for key, count in pair.relay.counts().items()) and len(pair.relay.counts()) == 2 * len(pair.relay.pages))


def test_now__is_the_same():
    """Labels and values of all series of all jobs, what each scrape tells of itself among them."""
    def differences():
        theirs, ours = (pair.now(server) for server in pair.both)
        missing = sorted(theirs.keys() ^ ours.keys(), key=str)
        other = [key for key in theirs if key in ours and key[0] not in NEVER_THE_SAME
                 and not harness.same_value(theirs[key], ours[key], 0)]
        return len(theirs), missing, other

    harness.wait_for("the same series and values", lambda: not any(differences()[1:]), 20)
    count, missing, other = differences()
    assert not missing and not other, (missing[:5], other[:5])
    assert count > 1500, count
    for name in ("up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
                 "scrape_series_added", "scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"):
        assert len(pair.now(pair.ours, name)) == len(pair.relay.pages), name


def compare_samples(server, page, span_s):
    """All that a server has kept of a page, against the pages that it was given: how many samples."""
    own = own_labels(page)
    query = f'{{job="{own["job"]}",instance="{own["instance"]}"}}[{span_s}s]'
    answer = server.post("/api/v1/query", {"query": query, "time": str(time.time())}, timeout=120).json
    kept = {key_of(one["metric"]["__name__"], one["metric"]): one["values"] for one in answer["data"]["result"]}
    times = [round(at * 1000) for at, value in kept[key_of("up", own)] if value == "1"]
    numbers = {round(at * 1000): int(value) for at, value in kept[key_of("relay_page", own)]}
    assert sorted(numbers) == times, (server.name, page, set(numbers) ^ set(times))
    with pair.relay.lock:
        pages = {number: read_page(pair.relay.texts[(page, number)], own) for number in set(numbers.values())}
        assert pair.relay.served[(pair.agent(server), page)] >= len(times)
    wanted = {}
    for at, number in numbers.items():
        for key, (value, stamp) in pages[number].items():
            wanted.setdefault(key, {})[stamp if stamp is not None else at] = value
    extra = {key for key in kept.keys() - wanted.keys() if key[0] != "up" and not key[0].startswith("scrape_")}
    assert not extra, (server.name, page, sorted(extra)[:3])
    total = 0
    for key, samples in wanted.items():
        found = {round(at * 1000): float(value) for at, value in kept[key]}
        assert found.keys() == samples.keys(), (server.name, key, sorted(found.keys() ^ samples.keys())[:5])
        assert all(harness.same_value(found[at], samples[at], 0) for at in found), (server.name, key)
        total += len(found)
    return total


def test_samples__are_those_of_the_pages():
    """Every one of them, with its time: neither server loses, doubles or moves any."""
    for page in pair.relay.pages:
        counts = [compare_samples(server, page, int(SECONDS) + 120) for server in pair.both]
        assert min(counts) > 10, (page, counts)


def test_metadata__is_the_same():
    def metadata(server):
        return sorted((one["target"]["job"], one["metric"], one["type"], one["help"], one["unit"])
                      for one in server.data("/api/v1/targets/metadata"))

    theirs, ours = metadata(pair.theirs), metadata(pair.ours)
    assert theirs == ours, (sorted(set(theirs) ^ set(ours))[:5], len(theirs), len(ours))
    assert len(ours) > 500, len(ours)


def test_targets__are_the_same():
    def targets(server):
        return sorted((one["scrapePool"], one["scrapeUrl"], one["health"], one["lastError"], sorted(one["labels"].items()))
                      for one in server.data("/api/v1/targets")["activeTargets"])

    theirs, ours = targets(pair.theirs), targets(pair.ours)
    assert theirs == ours, ([one for one in theirs if one not in ours], [one for one in ours if one not in theirs])


def test_broken_targets__are_stale():
    with pair.relay.lock:
        pair.relay.broken = True
    reports = "up|scrape_.*"

    def only_reports(server):
        found = pair.now(server, '{job=~".+",__name__!="stamped"}')  # What has times of its own is not marked.
        return len(found) == 8 * len(pair.relay.pages) and all(re.fullmatch(reports, key[0]) for key in found)

    for server in pair.both:
        harness.wait_for(f"all is stale in {server.name}", lambda server=server: only_reports(server))
    harness.wait_for("the same reports", lambda: {k: v for k, v in pair.now(pair.theirs).items() if k[0] not in NEVER_THE_SAME}
                     == {k: v for k, v in pair.now(pair.ours).items() if k[0] not in NEVER_THE_SAME})
    assert set(pair.now(pair.ours, "up").values()) == {0.0}


if __name__ == "__main__":
    harness.main(globals())
