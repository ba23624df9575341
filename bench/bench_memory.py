#!/usr/bin/env python3
"""Memory: anonymous bytes for each active series, with an hour of samples at 15 s behind them, and of a whole process.

    NARTHEX=build/release/narthex PEERS=build/peers bench/bench_memory.py [write scrape process]      SERIES=200000

write     an hour of virtual time by remote write, a row of all series after the other, explicit timestamps. Pods begin
          one after the other over the half hour before, as slots end in real time; told is the mean of the last half hour. A slot
          that is full waits for the next thirtieth of its duration, which is a minute in real time: here the duration is 8 s
scrape    the same number of rows in memory in less time: a scrape each second instead of each 15 s, and slots of 2 min
          instead of 30 min (120 rows both); Prometheus' chunks and VictoriaMetrics' blocks count rows, not time
process   idle, and with 10,000 series scraped each second in slots of 2 min
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
SLOT = ("--storage.narthex.slot-duration=2m",)
WRITE_SLOT = ("--storage.narthex.slot-duration=8s",)
TOGETHER_MAX = 60000  # So many series a second can be scraped by all three at once on two cores.


def settle_and_measure(server, seconds=3.0):
    """The mean of some readings: Go's heap breathes."""
    seen = []
    for _ in range(8):
        seen.append(side.memory(server))
        time.sleep(seconds / 8)
    return sum(seen) / len(seen)


def measure_write(name, start, series):
    server = start("", WRITE_SLOT if name == "narthex" else ())
    time.sleep(1)
    idle = side.memory(server)
    stream = side.Stream(server, series, side.past_day_ms(), spread=SLOT_ROWS)
    begin, seen = time.monotonic(), []
    for _ in range((SLOT_ROWS + ROWS) // 5):
        stream.send(5)
        seen.append(side.memory(server))
    took = time.monotonic() - begin
    steady = statistics.mean(seen[-SLOT_ROWS // 5:])
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


def start_scraping(name, start, count):
    """A server with its targets in their own process; and what it took when idle."""
    targets = load_target.Targets(1, False)
    idle_server = start()
    time.sleep(2)
    idle = side.memory(idle_server)
    side.drop(idle_server)
    server = start(side.scrape_config(targets.port, count), SLOT if name == "narthex" else ())
    return server, targets, idle


def wait_rows(running, count, rows):
    """Until each has been scraped so often; gives the most that was seen of each."""
    peaks = dict.fromkeys(running, 0)
    end = time.monotonic() + 3 * rows + 60
    while any(t.served.value < rows * count for _, t, _ in running.values()) and time.monotonic() < end:
        time.sleep(1)
        for name, (server, _, _) in running.items():
            peaks[name] = max(peaks[name], side.memory(server))
    return peaks


def measure_scrape(starts, count):
    running = {name: start_scraping(name, start, count) for name, start in starts.items()}
    peaks = wait_rows(running, count, ROWS)
    found = {}
    for name, (server, targets, idle) in running.items():
        steady = settle_and_measure(server)
        series = server.value("count({job=\"pods\"})") or 0
        served = targets.served.value / count
        print(f"# memory_scrape_{name}: {series:.0f} series, {served:.0f} rows", flush=True)
        found[name] = (steady, idle, max(peaks[name], steady), series)
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
