#!/usr/bin/env python3
"""Disk: bytes a sample, index included, after each server has done its last work on a whole past UTC day.

    NARTHEX=build/release/narthex PEERS=build/peers bench/bench_disk.py [d1 d2 constant ... recorded]

Each set of samples goes to a fresh server by remote write, 20 rows of a series a request, and is read back: a value that
is not the same bit for bit is counted. What is measured:
  narthex      the day's .mdb file, after the build that one sample four hours past the day's end sets off
  prometheus   the blocks (chunks, index, meta), after the compactions that the same sample sets off
  victoria     data and indexdb after /internal/force_merge and a stop; it keeps 12 digits, so its values may differ
`recorded` are real pages (bench/record.py): one scrape a second or faster, taken as steps of 15 s.
"""
import glob
import json
import os
import struct
import sys
import time

import record
import side
from side import harness

QUICK = ["d1", "d2", "constant", "request_counter", "byte_counter", "decimal_gauge", "bucket", "float_fresh",
         "recorded"]
MORE = ["slow_gauge", "idle_counter", "cpu_centiseconds", "cpu_nanoseconds", "memory_gauge", "integer_gauge",
        "float_gauge", "float_sum", "timestamp"]
BARS = {"d1": 0.53, "d2": 0.10}
AFTER_MS = 4 * 3600 * 1000


def tree_bytes(path):
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)


def send_later(server, newest_ms):
    """One sample, long enough after the newest one's day that the day is finished."""
    day_end_ms = (newest_ms // side.DAY_MS + 1) * side.DAY_MS
    labels = {"__name__": "later", "job": "later", "instance": "later"}
    reply = server.write([(labels, [(day_end_ms + AFTER_MS, 1.0)])], 60)
    assert reply.status in (200, 204), reply
    return day_end_ms


def narthex_finish(server, samples):
    day_end_ms = send_later(server, samples.newest_ms())
    day = time.strftime("%Y%m%d", time.gmtime((day_end_ms - side.DAY_MS) / 1000))
    folder = os.path.join(server.data_path, "narthex")

    def built():
        files = [f for f in glob.glob(os.path.join(folder, f"{day}T*.mdb")) if f.count(".") == 1]
        still_open = glob.glob(os.path.join(folder, f"{day}T*.open.mdb"))
        return files if files and not still_open else None

    files = harness.wait_for("the day is built", built, float(os.environ.get("BUILD_DEADLINE", "180")), 0.1)
    return sum(os.path.getsize(f) for f in files)


def prometheus_finish(server, samples):
    day_end_ms = send_later(server, samples.newest_ms())
    harness.wait_for("the head is compacted",
                     lambda: side.metric(server, "prometheus_tsdb_head_min_time") >= day_end_ms, 300, 0.5)
    side.steady("compactions", lambda: side.metric(server, "prometheus_tsdb_compactions_total"))
    time.sleep(1)
    return sum(tree_bytes(os.path.dirname(f)) for f in glob.glob(os.path.join(server.data_path, "*/meta.json")))


def victoria_finish(server, samples):
    del samples
    server.get("/internal/force_flush", timeout=60)
    server.get("/internal/force_merge", timeout=60)
    time.sleep(0.5)
    harness.wait_for("the merge ends", lambda: side.metric(server, "vm_active_force_merges") == 0, 300, 0.25)
    side.steady("merges", lambda: server.get("/metrics").text.count('vm_active_merges{type="storage/big"} 0'))
    return 0  # Counted when it has stopped.


FINISH = {"narthex": narthex_finish, "prometheus": prometheus_finish, "victoria": victoria_finish}


def read_back(name, server, labels, samples):
    """{time_ms: value} of one series. Servers that leave a window's left edge out are asked for a little more."""
    selector = "{" + ",".join(f"{k}={json.dumps(v)}" for k, v in labels.items()) + "}"
    if name == "victoria":
        reply = server.get("/api/v1/export", {"match[]": selector, "start": samples[0][0] / 1000,
                                              "end": samples[-1][0] / 1000 + 1}, timeout=120)
        found = {}
        for line in reply.text.splitlines():
            one = json.loads(line)
            found.update(zip(one["timestamps"], (float("nan") if v is None else float(v) for v in one["values"])))
        return found
    span_s = (samples[-1][0] - samples[0][0]) // 1000 + 2
    answer = server.instant(f"{selector}[{span_s}s]", samples[-1][0] / 1000)
    assert len(answer) <= 1, f"{selector}: {len(answer)} series"
    return {round(float(at) * 1000): float(text) for _, points in answer for at, text in points}


def same_bits(a, b):
    return struct.pack("<d", a) == struct.pack("<d", b) or (a != a and b != b)


def verify(name, server, samples, series_max=60):
    """Of some series: samples compared, those that are gone, those that differ in a bit."""
    compared = lost = differ = 0
    worst = 0.0
    step = max(1, samples.series // series_max)
    for number in range(0, samples.series, step):
        sent = [s for s in samples.samples(number)]
        if not sent:
            continue
        found = read_back(name, server, samples.labels(number), sent)
        compared += len(sent)
        for at, value in sent:
            if at not in found:
                lost += 1
            elif not same_bits(found[at], value):
                differ += 1
                if value:
                    worst = max(worst, abs(found[at] - value) / abs(value))
    return compared, lost, differ, worst


def measure(name, start, samples, count):
    server = start()
    before = side.written(server)
    side.send_set(samples, server)
    size = FINISH[name](server, samples)
    wrote = (side.written(server) - before) / count
    compared, lost, differ, worst = verify(name, server, samples)
    if name == "victoria":
        server.stop(60)
        size = sum(tree_bytes(os.path.join(server.data_path, part)) for part in ("data", "indexdb"))
    side.drop(server)
    return size / count, wrote, (compared, lost, differ, worst)


def bench(what):
    start_ms = side.past_day_ms()
    samples = record.recorded(start_ms) if what == "recorded" else side.make_set(what, start_ms)
    count = samples.count()
    side.say(f"disk_{what}_samples", count, "samples")
    found, wrote, checks = {}, {}, {}
    for name, start in side.servers().items():
        try:
            found[name], wrote[name], checks[name] = measure(name, start, samples, count)
        except AssertionError as e:
            print(f"# disk_{what}_{name}: {e}", flush=True)
    if what == "recorded":
        bars = {"victoria": 1, "prometheus": 1 / 3}
    else:
        bars = {"absolute": BARS.get(what), "victoria": 1}
    side.say_all(f"disk_{what}", found, "B/sample", **bars)
    if what in ("d1", "recorded"):
        side.say_all(f"disk_{what}_written", wrote, "B/sample")
    for name, (compared, lost, differ, worst) in checks.items():
        side.say(f"disk_{what}_lost_{name}", lost, f"of_{compared}")
        side.say(f"disk_{what}_changed_{name}", differ, f"of_{compared}")
        if differ:
            side.say(f"disk_{what}_error_{name}", worst, "relative")
    if what != "recorded":
        os.unlink(samples.path)
    bad = checks.get("narthex")
    return bool(bad and (bad[1] or bad[2]))


if __name__ == "__main__":
    wanted = sys.argv[1:] or QUICK + (MORE if side.FULL else [])
    if sum([bench(what) for what in wanted]):
        sys.exit("Narthex has lost or changed samples")
