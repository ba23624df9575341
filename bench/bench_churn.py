#!/usr/bin/env python3
"""Churn: days of virtual time in which pods are replaced, all of them each hour or a tenth of them.

    NARTHEX=build/release/narthex PEERS=build/peers bench/bench_churn.py [hourly tenth]      DAYS=15 SERIES=2000

Pods of 500 series, 15 s, by remote write (20 rows of a series a request); a pod that goes says so with stale markers and
another with the same metrics takes its place. After each virtual hour there is a pause: without it days of series
wait to be sealed at once, and memory keeps the most that there were. Told: anonymous memory at the end of each day, how much more the last days'
is than the third's, and what the index takes for each sample: Narthex' day files less what the same samples take without
churn; the others' index files.
"""
import glob
import os
import sys
import time

import bench_disk
import side
from side import harness

DAYS = int(os.environ.get("DAYS", "15"))
SERIES = int(os.environ.get("SERIES", str(side.pick(1000, 5000))))
PEER_DAYS = int(os.environ.get("PEER_DAYS", str(side.pick(3, 15))))
PAUSE_S = float(os.environ.get("PAUSE_S", "0.3"))  # After each hour: seals and spills run in real time.
KINDS = {"hourly": (240, 0.2), "tenth": (2400, 0.03), "none": (0, None)}
ROWS = side.DAY_MS // side.STEP_MS


def index_bytes(name, server):
    """Of everything that stands; None when it is not told apart."""
    if name == "prometheus":
        return sum(os.path.getsize(f) for f in glob.glob(os.path.join(server.data_path, "*/index")))
    if name == "victoria":
        return bench_disk.tree_bytes(os.path.join(server.data_path, "indexdb"))
    return None


def narthex_days(server, first_ms, days):
    """Bytes of the day files of all days but the first and the last."""
    total = 0
    for day in range(1, days - 1):
        text = time.strftime("%Y%m%d", time.gmtime((first_ms + day * side.DAY_MS) / 1000))
        files = [f for f in glob.glob(os.path.join(server.data_path, "narthex", f"{text}T*.mdb")) if f.count(".") == 1]
        if not files:
            return None
        total += sum(os.path.getsize(f) for f in files)
    return total


def run(name, start, kind, days):
    """Memory at each day's end, index bytes a sample, and bytes a sample of whole days."""
    server = start("", ("--storage.tsdb.retention.time=60d",) if name != "victoria" else ())
    first_ms = side.past_day_ms() - days * side.DAY_MS
    stream = side.Stream(server, SERIES, first_ms, rows=20, per_request=10000, life_rows=KINDS[kind][0])
    memory, begin = [], time.monotonic()
    for _ in range(days):
        for _ in range(24):
            stream.send(ROWS // 24)
            time.sleep(PAUSE_S)
        memory.append(side.memory(server))
    took = time.monotonic() - begin
    stream.close()
    per_day = stream.samples / days
    size = index = None
    if name == "narthex":
        bench_disk.send_later(server, stream.next_ms - side.STEP_MS)
        harness.wait_for("days are built", lambda: narthex_days(server, first_ms, days), 120, 0.5)
        size = narthex_days(server, first_ms, days) / (per_day * (days - 2))
    else:
        if name == "victoria":
            bench_disk.victoria_finish(server, None)
        index = index_bytes(name, server) / stream.samples
    print(f"# churn_{kind}_{name}: {stream.samples} samples in {took:.0f} s, MiB at each day's end "
          + " ".join(f"{m / 1048576:.1f}" for m in memory), flush=True)
    side.drop(server)
    return memory, index, size


def bench(kinds):
    plain = None
    starts = side.servers()
    if "narthex" in starts:
        plain = run("narthex", starts["narthex"], "none", 3)[2]
        side.say("churn_none_disk_narthex", plain, "B/sample")
    for kind in kinds:
        growth, index, last = {}, {}, {}
        for name, start in starts.items():
            memory, index_share, size = run(name, start, kind, DAYS if name == "narthex" else PEER_DAYS)
            third = memory[min(2, len(memory) - 1)]
            growth[name] = max(memory[-3:]) / third
            last[name] = memory[-1] / 1048576
            index[name] = index_share if size is None else size - plain
            if size is not None:
                side.say(f"churn_{kind}_disk_{name}", size, "B/sample")
        side.say_all(f"churn_{kind}_memory", last, "MiB")
        side.say_all(f"churn_{kind}_memory_growth", growth, "x", absolute=1.1)
        side.say_all(f"churn_{kind}_index", index, "B/sample", absolute=KINDS[kind][1])


if __name__ == "__main__":
    bench(sys.argv[1:] or ["hourly", "tenth"])
