#!/usr/bin/env python3
"""Records real exposition text: node_exporter, redis_exporter before a redis-server, Prometheus, Alertmanager and Narthex,
all on loopback and all at work, scraped again and again for some real minutes, to be replayed as steps of 15 s.

    bench/record.py FILE          RECORD_SCRAPES=240 RECORD_EVERY=0.25 (seconds)

What that means: names, labels, kinds of values and how they move together are real, the pace is not. A counter moves in one
recorded step as much as it does in RECORD_EVERY seconds, not in 15 (redis is given work to make up for some of it), so
deltas are smaller than those of a real day, for all servers alike. The times of the samples are made: steps of 15 s for each
target with its own offset, 1 % of them 3 to 23 ms late.

The file is a set of load_set.h, from 00:00 UTC of a past day; it is moved to another day when it is read.
"""
import os
import random
import struct
import sys
import threading
import time

import side
from side import harness

SCRAPES = int(os.environ.get("RECORD_SCRAPES", str(side.pick(240, 960))))
EVERY_S = float(os.environ.get("RECORD_EVERY", str(side.pick(0.25, 0.5))))


def default_path():
    return os.environ.get("RECORD") or os.path.join(os.path.dirname(harness.NARTHEX), f"recorded-{SCRAPES}-{EVERY_S}.set")


# ---- the text format, as far as real exporters go ----

def parse_labels(text, at):
    """The pairs from after '{' to '}', and where they end."""
    labels = {}
    while text[at] != "}":
        if text[at] in ", ":
            at += 1
            continue
        end = text.index("=", at)
        name, at = text[at:end].strip(), text.index('"', end) + 1
        value = []
        while text[at] != '"':
            if text[at] == "\\":
                at += 1
                value.append({"n": "\n"}.get(text[at], text[at]))
            else:
                value.append(text[at])
            at += 1
        labels[name], at = "".join(value), at + 1
    return labels, at + 1


def parse_key(key):
    """The text of a line before its value, as labels."""
    brace = key.find("{")
    if brace < 0:
        return {"__name__": key.strip()}
    labels, _ = parse_labels(key, brace + 1)
    labels["__name__"] = key[:brace]
    return {k: v for k, v in labels.items() if v}


def parse_page(text):
    """{text before the value: value}; explicit timestamps are not kept."""
    found = {}
    for line in text.splitlines():
        if not line or line[0] == "#":
            continue
        at = line.rfind("}") + 1
        at = at or line.index(" ")
        found[line[:at].strip()] = float(line[at:].split()[0])
    return found


# ---- recording ----

def start_alertmanager():
    """Debian's has the folder of its templates built in: a copy looks for it from where it is started."""
    home, port = harness.new_folder("alertmanager"), harness.free_port()
    config = harness.write_file(os.path.join(home, "alertmanager.yml"), "route: {receiver: none}\nreceivers: [{name: none}]\n")
    with open(harness.peer_path("prometheus-alertmanager", "prometheus-alertmanager"), "rb") as f:
        program = f.read().replace(b"/usr/share/prometheus/alertmanager", b"usr/share/prometheus//alertmanager")
    path = harness.write_file(os.path.join(home, "alertmanager"), program)
    os.chmod(path, 0o755)
    return harness.Web("alertmanager", port,
                       [path, "--config.file=" + config, "--storage.path=" + home,
                        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
                       "/-/ready", cwd=os.path.join(harness.PEERS, "prometheus-alertmanager")).start()


def keep_redis_busy(port, stop):
    dice = random.Random(1)
    while not stop.is_set():
        for _ in range(dice.randrange(1, 60)):
            key = f"key-{dice.randrange(5000)}"
            word = dice.choice(["SET", "GET", "GET", "GET", "INCR", "DEL", "LPUSH"])
            harness.redis_call(port, *{"SET": (word, key, "x" * dice.randrange(500)), "LPUSH": (word, "l" + key, "x"),
                                       "INCR": (word, "n" + key)}.get(word, (word, key)))
        time.sleep(dice.random() * 0.05)


def start_targets():
    redis = harness.start_redis()
    targets = {"node": harness.start_node_exporter(), "redis": harness.start_redis_exporter(redis.port),
               "alertmanager": start_alertmanager()}
    jobs = "".join(f'  - {{job_name: {name}, static_configs: [{{targets: ["127.0.0.1:{t.port}"]}}]}}\n'
                   for name, t in targets.items())
    rule = harness.write_file(os.path.join(harness.new_folder("rules"), "rules.yml"), """groups:
- name: load
  interval: 1s
  rules:
  - record: job:load:sum
    expr: sum by (job) (rate({__name__=~".+_total"}[1m]))
  - alert: Always
    expr: up == 1
""")
    config = f"""global: {{scrape_interval: 1s, scrape_timeout: 1s}}
rule_files: ["{rule}"]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{targets["alertmanager"].port}"]}}]}}]}}
scrape_configs:
{jobs}"""
    targets["prometheus"] = harness.start_prometheus(config)
    targets["narthex"] = harness.Server(config.split("rule_files")[0] + "scrape_configs:\n" + jobs)
    return redis, targets


def record(path):
    redis, targets = start_targets()
    stop = threading.Event()
    threading.Thread(target=keep_redis_busy, args=(redis.port, stop), daemon=True).start()
    time.sleep(3)
    pages = {name: [] for name in targets}
    begin = time.monotonic()
    for i in range(SCRAPES):
        time.sleep(max(0, begin + i * EVERY_S - time.monotonic()))
        for name, target in targets.items():
            reply = target.get("/metrics")
            assert reply.status == 200, reply
            pages[name].append(parse_page(reply.text))
        if i % 7 == 0:
            targets["prometheus"].get("/api/v1/query", {"query": "sum(rate(redis_commands_total[1m]))"})
            targets["narthex"].get("/api/v1/query", {"query": "sum(rate(redis_commands_total[1m]))"})
    stop.set()
    for target in [redis, *targets.values()]:
        target.kill()
    write_pages(path, pages)


def write_pages(path, pages):
    dice = random.Random(1)
    columns, series = [], []
    for number, (name, seen) in enumerate(pages.items()):
        offset = dice.randrange(side.STEP_MS)
        columns.append([side.STEP_MS * i + offset + (dice.randrange(3, 24) if dice.random() < 0.01 else 0)
                        for i in range(SCRAPES)])
        target = {"job": name, "instance": f"10.0.0.{number + 1}:9100"}
        for key in dict.fromkeys(k for page in seen for k in page):
            labels = {("exported_" + k if k in target else k): v for k, v in parse_key(key).items()}
            series.append((number, {**labels, **target}, [page.get(key) for page in seen]))
    side.write_set(path + ".tmp", columns, series)
    os.rename(path + ".tmp", path)


def recorded(start_ms):
    """The recorded set, made when it is not there, with its times in the day that starts then."""
    path = default_path()
    if not os.path.exists(path):
        record(path)
    samples = side.Set(path)
    with open(path, "rb") as f:
        data = bytearray(f.read())
    times = memoryview(data)[24:samples.values_at].cast("q")
    for i, at in enumerate(times):
        times[i] = at % side.DAY_MS + start_ms
    times.release()
    moved = os.path.join(harness.scratch, "recorded.set")
    harness.write_file(moved, bytes(data))
    return side.Set(moved)


if __name__ == "__main__":
    record(sys.argv[1] if len(sys.argv) > 1 else default_path())
    found = side.Set(sys.argv[1] if len(sys.argv) > 1 else default_path())
    side.say("recorded_series", found.series, "series")
    side.say("recorded_samples", found.count(), "samples")
    values = found.data[found.values_at:found.table_at]
    side.say("recorded_values", len({struct.pack("<d", v) for v in values.cast("d")}), "distinct")
