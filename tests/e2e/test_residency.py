"""Residency: what a query has mapped and allocated goes back to the kernel, and answers are the same afterwards."""
import os
import random
import time

import harness
from harness import Server, wait_for

SERIES = 900
STEP_MS = 15_000
HOURS = 24
MIB = 1 << 20


def resident(server, what):
    with open(f"/proc/{server.child.pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(what + ":"):
                return int(line.split()[1]) * 1024
    raise AssertionError(f"no {what} in /proc")


def day_files(server):
    folder = os.path.join(server.data_path, "narthex")
    return [os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".mdb") and n[0].isdigit()
            and "open" not in n and "ooo" not in n]


def write_hours(server, first_ms, hours):
    """Values that do not pack, so that files are large. In slices of time, as samples come."""
    dice = random.Random(1)
    per_request = 30
    names = [{"__name__": "wide", "job": "j", "instance": str(i % 4), "n": str(i)} for i in range(SERIES)]
    rows = hours * 3600_000 // STEP_MS
    for at in range(0, rows, per_request):
        times = [first_ms + row * STEP_MS for row in range(at, min(at + per_request, rows))]
        reply = server.write([(labels, [(t, dice.random()) for t in times]) for labels in names])
        assert reply.status == 204, reply


def test_residency__falls_after_queries_over_day_files():
    server = Server(args=["--storage.narthex.slot-duration=2s", "--storage.narthex.partition-duration=4h",
                          "--storage.narthex.build-delay=0s"])
    now = int(time.time() * 1000)
    first = now - HOURS * 3600_000
    write_hours(server, first, HOURS)
    # Not a number of files: the oldest holds what is left of its four hours, which may be minutes.
    wait_for("days to be built", lambda: sum(map(os.path.getsize, day_files(server))) > 24 * MIB, 120, 0.5)
    query = lambda: server.instant("sum(sum_over_time(wide[24h]))", now / 1000)
    before = query()
    for _ in range(3):
        assert query() == before
    # The program itself and its libraries are mapped files, too: an idle one has about 12 MiB of them.
    wait_for("mapped pages to go", lambda: resident(server, "RssFile") < 12 * MIB + 17 * MIB, 30, 0.5)
    wait_for("the heap to shrink", lambda: resident(server, "RssAnon") < 24 * MIB, 60, 0.5)
    assert query() == before, "what was dropped is read again"
    server.stop()


if __name__ == "__main__":
    harness.main(globals())
