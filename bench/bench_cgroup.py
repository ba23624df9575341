#!/usr/bin/env python3
"""A small container: 100,000 series in a cgroup of 128 MiB, hours of samples by remote write, slots sealed, days built and
all of it read again by queries. Needs root and a memory controller; says so and ends well without one.

    NARTHEX=build/release/narthex bench/bench_cgroup.py      SERIES=100000 LIMIT_MIB=128

A row a minute of virtual time, files of two hours that are built at once. Told is the most anonymous memory and how often the
limit was met; the kernel must not have killed.
"""
import os
import stat
import sys
import time

import side
from side import harness, say

SERIES = int(os.environ.get("SERIES", "100000"))
LIMIT_MIB = int(os.environ.get("LIMIT_MIB", "128"))
ROWS = side.pick(300, 720)
ROW_MS = 60000
ROW_S = 0.5  # 200,000 samples a second
HOMES = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup")
LIMITS = ("memory.limit_in_bytes", "memory.max")


def make_group():
    """A new group with the limit, or None."""
    for home, limit in zip(HOMES, LIMITS):
        group = os.path.join(home, f"narthex-bench-{os.getpid()}")
        try:
            os.mkdir(group)
        except OSError:
            continue
        try:
            with open(os.path.join(group, limit), "w", encoding="ascii") as f:
                f.write(str(LIMIT_MIB << 20))
            return group
        except OSError:
            os.rmdir(group)
    return None


def start_inside(group):
    wrapper = os.path.join(harness.new_folder("cgroup"), "narthex")
    harness.write_file(wrapper, f'#!/bin/sh\necho $$ > {group}/cgroup.procs\nexec {harness.NARTHEX} "$@"\n')
    os.chmod(wrapper, stat.S_IRWXU)
    real, harness.NARTHEX = harness.NARTHEX, wrapper
    server = side.start_narthex("", ("--storage.narthex.slot-duration=15s", "--storage.narthex.partition-duration=2h",
                                     "--storage.narthex.build-delay=0s"))
    harness.NARTHEX = real
    return server


def file_value(group, names, key=""):
    """The first number in the first of the files, behind the key if there is one."""
    for name in names:
        try:
            with open(os.path.join(group, name), encoding="ascii") as f:
                for line in f:
                    if line.startswith(key):
                        return int(line[len(key):].split()[0])
        except OSError:
            pass
    return None


def run(group):
    server = start_inside(group)
    try:
        measure(group, server)
    finally:
        side.drop(server)


def measure(group, server):
    stream = side.Stream(server, SERIES, side.past_day_ms(), ROW_MS)
    begin, peak = time.monotonic(), 0
    for row in range(ROWS):
        time.sleep(max(0, begin + row * ROW_S - time.monotonic()))
        assert stream.send(1) == SERIES, "samples were refused"
        peak = max(peak, side.memory(server))
    end_s = stream.next_ms / 1000
    say("cgroup_series", side.metric(server, "prometheus_tsdb_head_series"), "series")
    names = server.data("/api/v1/label/__name__/values")
    before, seen = side.cpu_s(server), 0.0
    for name in names:
        found = server.range(f"count({name})", end_s - ROWS * ROW_MS / 1000, end_s, 60)
        seen += float(found[0][1][-2][1])
        peak = max(peak, side.memory(server))
    assert seen == SERIES, f"{seen} series were found"
    say("cgroup_read_all_cpu", side.cpu_s(server) - before, "s")
    stream.close()
    assert server.is_running(), "the kernel has killed it"
    say("cgroup_limit", LIMIT_MIB, "MiB")
    say("cgroup_samples", stream.samples, "samples")
    say("cgroup_anon_peak", peak / 1048576, "MiB")
    say("cgroup_files_mapped", side.memory_mib(server, "RssFile"), "MiB")
    say("cgroup_limit_met", file_value(group, ("memory.failcnt",)) or file_value(group, ("memory.events",), "max") or 0, "times")
    say("cgroup_killed", file_value(group, ("memory.oom_control", "memory.events"), "oom_kill ") or 0, "times")


def main():
    group = make_group()
    if not group:
        print("# no cgroup can be made here", flush=True)
        return
    try:
        run(group)
    finally:
        harness.wait_for("an empty group", lambda: not open(os.path.join(group, "cgroup.procs"), encoding="ascii").read(), 30, 0.2)
        os.rmdir(group)


if __name__ == "__main__":
    sys.exit(main())
