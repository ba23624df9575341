#!/usr/bin/env python3
"""Start after kill -9, as a user sees it: many series and a long log; when the first sample after the start is of, when the
server is ready, and how many targets have a sample from before that.

    NARTHEX=build/release/narthex bench/bench_restart.py      TARGETS=1000 SERIES=500 FILL_SECONDS=60

Filled at a scrape a second, which stands for a longer time at a slower pace; after the start it goes on like that.
"""
import os
import time

for name, value in (("TARGETS", "1000"), ("SERIES", "500"), ("INTERVAL_S", "1")):
    os.environ.setdefault(name, value)

import bench_targets  # noqa: E402
import side  # noqa: E402
from side import harness, say  # noqa: E402

FILL_S = int(os.environ.get("FILL_SECONDS", str(side.pick(60, 119))))


def samples_from(server, start_s):
    """{instance: time of its first `up` not before start_s}."""
    found = {}
    for labels, points in server.instant(f"up[{int(time.time() - start_s) + 2}s]"):
        times = [float(t) for t, _ in points if float(t) >= start_s]
        if times:
            found[labels["instance"]] = min(times)
    return found


def main():
    targets = bench_targets.Targets()
    addresses = [f"{bench_targets.address(i)}:{targets.port}" for i in range(bench_targets.TARGETS)]
    text = bench_targets.config(bench_targets.job("pods", addresses))
    server = side.start_narthex(text)
    harness.wait_for("every target is scraped", lambda: int(targets.ask("report")[1]) >= len(addresses), 300, 1)
    time.sleep(FILL_S)
    say("restart_series", side.metric(server, "prometheus_tsdb_head_series"), "series")
    server.kill()
    start_s = time.time()
    server.spawn()
    server.wait_ready(300)
    ready_s, cpu_ready = time.time(), side.cpu_s(server)
    say("restart_replayed", side.metric(server, "narthex_storage_replay_samples"), "samples")
    say("restart_ready", ready_s - start_s, "s")
    say("restart_ready_bar", 2.0, "s")
    peak_ready = side.memory_mib(server, "VmHWM")
    say("restart_ready_cpu", cpu_ready, "s")
    harness.wait_for("what was held is stored", lambda: len(samples_from(server, start_s)) >= len(addresses), 120, 0.5)
    first = samples_from(server, start_s)
    say("restart_first_sample", min(first.values()) - start_s, "s")
    say("restart_targets_before_ready", sum(t < ready_s for t in first.values()), "targets")
    say("restart_targets", len(first), "targets")
    say("restart_peak_when_ready", peak_ready, "MiB")
    say("restart_peak", side.memory_mib(server, "VmHWM"), "MiB")
    say("restart_rss", side.memory_mib(server, "VmRSS"), "MiB")
    side.drop(server)
    targets.stop()


if __name__ == "__main__":
    main()
