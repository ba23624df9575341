"""Days: ended partitions become dense files while the server runs; what is asked over memory, open files and days is whole."""
import math
import os
import time

import harness
from harness import Server, wait_for

HOUR = 3600_000
STEP = 60_000


def names(server, ending):
    folder = os.path.join(server.data_path, "narthex")
    return sorted(n for n in os.listdir(folder) if n.endswith(ending) and n[0].isdigit())


def days(server):
    return [n for n in names(server, ".mdb") if ".open." not in n and ".ooo." not in n]


def value_of(series, at):
    """A counter, a gauge with decimals, a constant, and one that is not a round number at all."""
    step = (at // STEP) % 100_000
    return [float(step % 977), step % 40 / 10, 42.0, math.sin(step) * 1e-3][series % 4]


def fill(server, start, end, numbers, extra=None):
    times = list(range(start, end, STEP))
    for at in range(0, len(times), 240):
        part = times[at:at + 240]
        server_reply = server.write([({"__name__": "m", "job": "j", "instance": f"i{n % 3}", "n": str(n), **(extra or {})},
                                      [(t, value_of(n, t)) for t in part]) for n in numbers])
        assert server_reply.status == 204, server_reply
    return times


def check(server, start, end, numbers, extra=""):
    """Every sample of every series, by raw range selectors an instant each six hours."""
    got = {}
    for at in range(start + 6 * HOUR - 1, end + 6 * HOUR, 6 * HOUR):
        for labels, values in server.instant(f"m{{{extra}}}[6h]", at / 1000):
            got.setdefault(labels["n"], {}).update({round(float(t) * 1000): float(v) for t, v in values})
    for n in numbers:
        wanted = {t: value_of(n, t) for t in range(start, end, STEP)}
        have = {t: v for t, v in got.get(str(n), {}).items() if start <= t < end}
        assert have == wanted, f"series {n}: {len(have)} of {len(wanted)} samples, first difference " \
            f"{next(((t, wanted[t], have.get(t)) for t in wanted if have.get(t) != wanted[t]), None)}"


ARGS = ["--storage.narthex.slot-duration=2s", "--storage.narthex.partition-duration=2h", "--storage.narthex.build-delay=0s",
        "--storage.tsdb.retention.time=30d"]


def test_days__are_built_and_whole():
    server = Server("", args=ARGS)
    end = int(time.time() * 1000) // STEP * STEP - STEP
    start = end - 20 * HOUR
    numbers = range(12)
    fill(server, start, end, numbers)
    wait_for("days", lambda: len(days(server)) >= 8 and len(names(server, ".open.mdb")) <= 2, 120)
    check(server, start, end, numbers)
    count = server.value("sum(count_over_time(m[21h]))", end / 1000)
    assert count == 12 * 20 * 60, count
    server.kill()
    server.start()
    check(server, start, end, numbers)
    assert len(server.data(f"/api/v1/series?match[]=m&start={start / 1000}&end={(start + HOUR) / 1000}")) == 12
    assert len(server.data(f"/api/v1/label/n/values?start={start / 1000}&end={(start + HOUR) / 1000}")) == 12


def test_days__keep_series_that_are_dead():
    server = Server("", args=ARGS)
    end = int(time.time() * 1000) // STEP * STEP - STEP
    start = end - 12 * HOUR
    fill(server, start, start + 3 * HOUR, range(6), {"pod": "old"})
    fill(server, start + 3 * HOUR, end, range(6), {"pod": "new"})
    wait_for("days", lambda: len(days(server)) >= 4, 120)
    check(server, start, start + 3 * HOUR, range(6), 'pod="old"')
    check(server, start + 3 * HOUR, end, range(6), 'pod="new"')
    server.stop(10)
    server.start()
    check(server, start, start + 3 * HOUR, range(6), 'pod=~"o.*"')
    assert server.data(f"/api/v1/label/pod/values?start={start / 1000}&end={(start + HOUR) / 1000}") == ["old"]
    # What the log tells of series that nothing has samples of leaves memory soon after the start.
    query = f"/api/v1/label/pod/values?start={(end - HOUR) / 1000}&end={end / 1000}"
    wait_for("the old pod to be forgotten", lambda: server.data(query) == ["new"])


def test_days__take_late_samples():
    config = "storage:\n  tsdb:\n    out_of_order_time_window: 1d\n"
    server = Server(config, args=ARGS)
    end = int(time.time() * 1000) // STEP * STEP - STEP
    start = end - 12 * HOUR
    numbers = range(4)
    fill(server, start, start + 2 * HOUR, numbers)
    fill(server, start + 4 * HOUR, end, numbers)
    wait_for("days", lambda: len(days(server)) >= 3, 120)
    fill(server, start + 2 * HOUR, start + 4 * HOUR, numbers)  # Two hours of which nothing was known, all of them late.
    check(server, start, end, numbers)
    server.kill()
    server.start()
    check(server, start, end, numbers)
    wait_for("late samples in files", lambda: any(".ooo." in n for n in names(server, ".mdb")) or
             server.value("narthex_storage_log_bytes") is not None, 60)
    check(server, start, end, numbers)


if __name__ == "__main__":
    harness.main(globals())
