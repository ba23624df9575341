#!/usr/bin/env python3
"""Remote write: CPU and bytes written for each sample; and starting again after a kill.

    NARTHEX=build/release/narthex PEERS=build/peers bench/bench_ingest.py [write written start idle]

write     one sample a series a request, 2,000 samples a request as Prometheus sends them, snappy; CPU is user and system time
          of the server's process, first rows (new series) apart. Bytes written are what the kernel counted for the process
          until all of it has its last form: for Narthex partitions of 2 h, which are built, so that log, slots, build and day
          file are all counted; for Prometheus until its blocks of 2 h stand; for VictoriaMetrics until it is merged.
start     kill -9 with the slots as long as they get, then: time to the first scrape, to /-/ready, and memory on the way
idle      what 10,000 series scraped each 15 s in real time write in a second
"""
import os
import sys
import time

import bench_memory
import load_target
import side
from side import harness

WRITE_SERIES = int(os.environ.get("WRITE_SERIES", str(side.pick(20000, 100000))))
WRITE_ROWS = int(os.environ.get("WRITE_ROWS", "480"))  # Two hours.
CPU_ROWS = int(os.environ.get("CPU_ROWS", str(side.pick(30, 60))))
CPU_SERIES = int(os.environ.get("CPU_SERIES", "100000"))
START_SERIES = int(os.environ.get("START_SERIES", str(side.pick(50000, 500000))))
START_ROWS = int(os.environ.get("START_ROWS", "119"))
IDLE_SECONDS = int(os.environ.get("IDLE_SECONDS", str(side.pick(60, 600))))


def measure_cpu(start):
    server = start()
    stream = side.Stream(server, CPU_SERIES, side.past_day_ms())
    before = side.cpu_s(server)
    first = stream.send(1)
    born = side.cpu_s(server) - before
    stream.send(1)
    before, begin = side.cpu_s(server), time.monotonic()
    count = stream.send(CPU_ROWS)
    wall = time.monotonic() - begin
    cpu = side.cpu_s(server) - before
    stream.close()
    side.drop(server)
    return cpu / count * 1e6, born / first * 1e6, count / wall


def finish_writing(name, server, end_ms):
    if name == "victoria":
        server.get("/internal/force_flush", timeout=60)
        server.get("/internal/force_merge", timeout=60)
        time.sleep(0.5)
        harness.wait_for("the merge ends", lambda: side.metric(server, "vm_active_force_merges") == 0, 300, 0.25)
    else:
        for ahead_h in (4, 7):
            reply = server.write([({"__name__": "later", "job": "later", "instance": "later"},
                                   [(end_ms + ahead_h * 3600000, 1.0)])], 60)
            assert reply.status in (200, 204), reply
    side.steady("bytes written", lambda: side.written(server) // 65536, 12)


def measure_written(name, start):
    server = start("", ("--storage.narthex.partition-duration=2h",) if name == "narthex" else ())
    before, begin = side.written(server), time.monotonic()
    stream = side.Stream(server, WRITE_SERIES, side.past_day_ms())
    stream.send(WRITE_ROWS)
    stream.close()
    taken = side.written(server)
    finish_writing(name, server, stream.next_ms)
    count = stream.samples
    total = side.written(server) - before
    print(f"# ingest_written_{name}: {count} samples, {(taken - before) / count:.3g} B/sample when the last was taken, "
          f"{time.monotonic() - begin:.0f} s", flush=True)
    side.drop(server)
    return total / count


def bench_write():
    cpu, born, rate = {}, {}, {}
    for name, start in side.servers().items():
        cpu[name], born[name], rate[name] = measure_cpu(start)
    side.say_all("ingest_cpu", cpu, "us/sample", prometheus=1 / 8, victoria=1 / 2)
    side.say_all("ingest_new_series_cpu", born, "us/series")
    side.say_all("ingest_rate", rate, "samples/s")


def bench_written():
    found = {name: measure_written(name, start) for name, start in side.servers().items()}
    side.say_all(f"ingest_written_{WRITE_SERIES // 1000}k", found, "B/sample", absolute=3.0)


# ---- start ----

def watch_start(server, page):
    """Starts it again: seconds to the first scrape and to readiness, and the most anonymous memory until 3 s later."""
    begin, ready_s, peak = time.monotonic(), None, 0
    server.spawn()
    while ready_s is None or time.monotonic() - begin < ready_s + 3 or (not page.requests and time.monotonic() - begin < 300):
        assert server.is_running(), server.log()[-2000:]
        peak = max(peak, side.memory(server))
        try:
            if ready_s is None and server.get(server.ready_path, timeout=600).status == 200:
                ready_s = time.monotonic() - begin
        except (OSError, harness.http.client.HTTPException):
            pass
        time.sleep(0.01)
    return page.first_s - begin, ready_s, peak


def start_page():
    """A target that remembers when it was first asked."""
    page = harness.Exporter()
    page.first_s = None

    def answer(_):
        page.first_s = page.first_s or time.monotonic()
        return 200, {}, "one 1\n"

    page.pages["/metrics"] = answer
    return page


def measure_start(name, start):
    page = start_page()
    config = f"""global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs: [{{job_name: one, static_configs: [{{targets: ["{page.address}"]}}]}}]
"""
    server = start(config)
    now_ms = int(time.time() * 1000) // side.STEP_MS * side.STEP_MS
    stream = side.Stream(server, START_SERIES, now_ms - START_ROWS * side.STEP_MS)
    stream.send(START_ROWS)
    stream.close()
    time.sleep(1)
    steady = bench_memory.settle_and_measure(server)
    if name == "victoria":
        time.sleep(6)  # It writes its newest rows each 5 s, and loses what it has not.
    series = side.metric(server, "prometheus_tsdb_head_series")
    server.kill()
    page.requests.clear()
    page.first_s = None
    first_s, ready_s, peak = watch_start(server, page)
    at = (stream.next_ms - side.STEP_MS) / 1000
    kept = server.value('count({job="kubernetes-pods"})', at)
    print(f"# ingest_start_{name}: {stream.samples} samples, {series} series before, {kept} after", flush=True)
    side.drop(server)
    return first_s, ready_s, peak / steady, peak / 1048576


def bench_start():
    first, ready, growth, peak = {}, {}, {}, {}
    for name, start in side.servers().items():
        first[name], ready[name], growth[name], peak[name] = measure_start(name, start)
    size = f"{START_SERIES // 1000}k"
    side.say_all(f"start_{size}_first_scrape", first, "s", absolute=2.0)
    side.say_all(f"start_{size}_ready", ready, "s", absolute=2.0)
    side.say_all(f"start_{size}_peak_over_steady", growth, "x", absolute=1.1)
    side.say_all(f"start_{size}_peak", peak, "MiB")


# ---- idle ----

def bench_idle():
    """All three at once: they hardly do a thing."""
    targets = load_target.Targets(15, False)
    config = side.scrape_config(targets.port, 10000 // load_target.SERIES, 15)
    running = {name: start(config) for name, start in side.servers().items()}
    time.sleep(20)
    before = {name: side.written(server) for name, server in running.items()}
    time.sleep(IDLE_SECONDS)
    found = {name: (side.written(server) - before[name]) / IDLE_SECONDS for name, server in running.items()}
    side.say_all("ingest_written_10k", found, "B/s")
    for server in running.values():
        side.drop(server)
    targets.stop()


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["write", "written", "start", "idle"]
    for what, run in (("write", bench_write), ("written", bench_written), ("start", bench_start), ("idle", bench_idle)):
        if what in wanted:
            run()
