"""Retention by time: whole partitions go, counted back from the newest sample; what is younger stays."""
import os
import time

import harness
from harness import Server, wait_for


def partition_files(server):
    folder = os.path.join(server.data_path, "narthex")
    return sorted(n for n in os.listdir(folder) if n.endswith(".mdb") and n[0].isdigit())


def test_retention__drops_old_partitions():
    server = Server("", args=["--storage.narthex.slot-duration=2s", "--storage.narthex.partition-duration=2h",
                              "--storage.tsdb.retention.time=30d", "--storage.narthex.build-delay=10d"])
    now = int(time.time() * 1000)
    times = list(range(now - 14 * 3600_000, now, 60_000))
    series = [{"__name__": "kept", "job": "j", "instance": "i", "n": str(i)} for i in range(5)]
    for at in range(0, len(times), 200):
        reply = server.write([(labels, [(t, float(t)) for t in times[at:at + 200]]) for labels in series])
        assert reply.status == 204, reply
    wait_for("sealed partitions", lambda: len(partition_files(server)) >= 6)
    time.sleep(3)
    assert [float(v[1]) for _, v in server.instant("count_over_time(kept[1d])", now / 1000)] == [float(len(times))] * 5
    before = partition_files(server)
    server.stop(10)
    server.argv = [a.replace("retention.time=30d", "retention.time=5h") for a in server.argv]
    server.start()
    wait_for("old partitions to be dropped", lambda: len(partition_files(server)) <= 4, 80, 0.5)
    after = partition_files(server)
    assert set(after) < set(before) and after, (before, after)
    found = server.instant("kept[1d]", now / 1000)
    assert len(found) == 5
    for labels, values in found:
        stored = {round(float(t) * 1000) for t, _ in values}
        young = {t for t in times if t > now - 5 * 3600_000}
        assert young <= stored, f"{labels}: {len(young - stored)} samples inside the retention are gone"
        assert min(stored) > now - 9 * 3600_000, f"{labels}: {now - min(stored)} ms old data is still there"
    assert server.value("count(kept)", now / 1000 - 12 * 3600) is None
    server.kill()
    server.start()
    assert partition_files(server) == after
    assert "5h" in server.data("/api/v1/status/runtimeinfo")["storageRetention"]


if __name__ == "__main__":
    harness.main(globals())
