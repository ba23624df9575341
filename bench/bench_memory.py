#!/usr/bin/env python3
"""Memory: anonymous bytes for each active series, with an hour of samples at 15 s behind them, and of a whole process.

    NARTHEX=build/release/narthex PEERS=build/peers bench/bench_memory.py [write scrape process]      SERIES=200000 REAL=

write     an hour of virtual time by remote write, a row of all series after the other, explicit timestamps. Pods begin
          one after the other over the half hour before, as slots end in real time; told is the mean of the last half hour. Slots
          of 15 s (for each 200,000 series), and no more than 120 rows are sent in that time
scrape    the same number of rows in memory in less time: a scrape each second (for each 200,000 series) instead of each 15 s,
          and slots of 120 rows, as 30 min are; Prometheus' chunks and VictoriaMetrics' blocks count rows, not time. Told is
          the mean of the last 120 rows
process   idle, and with 10,000 series scraped each second in slots of 2 min
REAL=1    no time is shortened: rows come at 15 s, slots are as long as they are by default; write takes 90 min, scrape 60
Bytes a series are RssAnon less that of the same server when it was idle, over the number of series; the most that was seen
while rows came in is told beside it. Series have 9 or 10 labels; peers run at their defaults.
"""
import os
import statistics
import sys
import time

import load_target
import side
from side import harness

SERIES = int(os.environ.get("SERIES", str(side.pick(50000, 200000))))
ROWS = int(os.environ.get("ROWS", str(side.pick(150, 240))))
SLOT_ROWS = 120
WRITE_SLOT_S = 15  # For each 200,000 series.
REAL_ROW_S = 15 if os.environ.get("REAL") else 0
TOGETHER_MAX = 60000  # So many series a second can be scraped by all three at once on two cores.


def slot_args(name, slot_s):
    return (f"--storage.narthex.slot-duration={slot_s}s",) if name == "narthex" and not REAL_ROW_S else ()


def measure_write(name, start, series):
    slot_s = max(1, round(WRITE_SLOT_S * series / 200000))
    row_s, at_once = (REAL_ROW_S, 1) if REAL_ROW_S else (slot_s / SLOT_ROWS, 5)
    server = start("", slot_args(name, slot_s))
    time.sleep(1)
    idle = side.memory(server)
    stream = side.Stream(server, series, side.past_day_ms(), spread=SLOT_ROWS)
    begin, seen = time.monotonic(), []
    for row in range(0, SLOT_ROWS + ROWS, at_once):
        time.sleep(max(0, begin + row * row_s - time.monotonic()))
        stream.send(at_once)
        seen.append(side.memory(server))
    took = time.monotonic() - begin
    steady = statistics.mean(seen[-SLOT_ROWS // at_once:])
    peak = max(seen)
    stream.close()
    print(f"# memory_write_{name}: {stream.samples} samples in {took:.0f} s", flush=True)
    side.drop(server)
    return (steady - idle) / series, (peak - idle) / series


def bench_write():
    found, peaks = {}, {}
    for name, start in side.servers().items():
        found[name], peaks[name] = measure_write(name, start, SERIES)
    size = f"{SERIES // 1000}k"
    side.say_all(f"memory_write_{size}", found, "B/series", absolute=300, prometheus=1 / 8, victoria=1 / 2)
    side.say_all(f"memory_write_{size}_peak", peaks, "B/series")


def start_scraping(name, start, count, interval_s):
    """A server with its targets in their own process; and what it took when idle."""
    targets = load_target.Targets(interval_s, False)
    idle_server = start()
    time.sleep(2)
    idle = side.memory(idle_server)
    side.drop(idle_server)
    server = start(side.scrape_config(targets.port, count, interval_s), slot_args(name, SLOT_ROWS * interval_s))
    return server, targets, idle


def wait_rows(running, count, rows, interval_s):
    """Until each has been scraped so often; gives what was seen of each: the mean of the last slot's rows, and the most."""
    seen = {name: [] for name in running}
    end = time.monotonic() + 3 * rows * interval_s + 60
    while any(t.served.value < rows * count for _, t, _ in running.values()) and time.monotonic() < end:
        time.sleep(interval_s)
        for name, (server, targets, _) in running.items():
            seen[name].append((targets.served.value / count, side.memory(server)))
    last = {name: [size for row, size in readings if row > rows - SLOT_ROWS] for name, readings in seen.items()}
    return {name: (statistics.mean(last[name]), max(size for _, size in seen[name])) for name in running}


def measure_scrape(starts, count):
    interval_s = REAL_ROW_S or max(1, round(count * load_target.SERIES / 200000))
    running = {name: start_scraping(name, start, count, interval_s) for name, start in starts.items()}
    read = wait_rows(running, count, ROWS, interval_s)
    found = {}
    for name, (server, targets, idle) in running.items():
        steady, peak = read[name]
        series = side.metric(server, "prometheus_tsdb_head_series") or count * load_target.SERIES
        served = targets.served.value / count
        print(f"# memory_scrape_{name}: {series:.0f} series, {served:.0f} rows", flush=True)
        found[name] = (steady, idle, peak, series)
    for server, targets, _ in running.values():
        side.drop(server)
        targets.stop()
    return found


def scrape_all(count):
    starts = side.servers()
    if count * load_target.SERIES <= TOGETHER_MAX:
        return measure_scrape(starts, count)
    found = {}
    for name, start in starts.items():
        found.update(measure_scrape({name: start}, count))
    return found


def bench_scrape():
    found = scrape_all(SERIES // load_target.SERIES)
    size = f"{SERIES // 1000}k"
    steady = {n: (s - idle) / series for n, (s, idle, _, series) in found.items()}
    peaks = {n: (peak - idle) / series for n, (_, idle, peak, series) in found.items()}
    side.say_all(f"memory_scrape_{size}", steady, "B/series", absolute=300, prometheus=1 / 8, victoria=1 / 2)
    side.say_all(f"memory_scrape_{size}_peak", peaks, "B/series")


def bench_process():
    found = scrape_all(10000 // load_target.SERIES)
    side.say_all("memory_process_idle", {n: f[1] / 1048576 for n, f in found.items()}, "MiB", absolute=6)
    side.say_all("memory_process_10k", {n: f[2] / 1048576 for n, f in found.items()}, "MiB", absolute=20)


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["write", "scrape", "process"]
    for what, run in (("write", bench_write), ("scrape", bench_scrape), ("process", bench_process)):
        if what in wanted:
            run()
