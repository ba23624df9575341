"""What was written stays: sealed and unsealed, over clean stops, kills, torn logs, beside a Prometheus TSDB."""
import fcntl
import hashlib
import os
import shutil
import signal
import time

import harness
from harness import NARTHEX, Server, run_command, wait_for

SLOTS = ["--storage.narthex.slot-duration=2s"]


class Data:
    """Seeded series with awkward values, and what was written of them."""

    def __init__(self, name, series=40):
        self.name = name
        self.labels = [{"__name__": f"{name}_{i % 4}", "job": f"j{i % 3}", "instance": f"host{i % 5}:9100",
                        "series": str(i), "text": 'q"\\\n\u00e4'} for i in range(series)]
        self.samples = [[] for _ in range(series)]
        self.number = 0

    def value(self, series):
        kinds = (float(self.number), self.number * 0.1 + series, float("inf") if self.number % 7 == 0 else -1.5,
                 float("nan") if self.number % 11 == 0 else 1e300 / (self.number + 1), 5e-324 * self.number, -0.0)
        return kinds[series % len(kinds)]

    def write(self, server, times_ms):
        """In time order over all series, at most 500 samples of each in a request."""
        for at in range(0, len(times_ms), 500):
            fresh = [[] for _ in self.labels]
            for time_ms in times_ms[at:at + 500]:
                self.number += 1
                for i, samples in enumerate(fresh):
                    samples.append((time_ms, self.value(i)))
            reply = server.write(list(zip(self.labels, fresh)))
            assert reply.status == 204, reply
            for samples, more in zip(self.samples, fresh):
                samples += more

    def check(self, server):
        first, last = self.samples[0][0][0], self.samples[0][-1][0]
        seconds = (last - first) // 1000 + 2
        found = {}
        for kind in range(4):
            for labels, values in server.instant(f"{self.name}_{kind}[{seconds}s]", last / 1000):
                found[harness.labels_key(labels)] = [(round(float(t) * 1000), float(v)) for t, v in values]
        assert len(found) == len(self.labels), f"{len(found)} of {len(self.labels)} series"
        for labels, samples in zip(self.labels, self.samples):
            stored = found[harness.labels_key(labels)]
            assert len(stored) == len(samples), f"{labels}: {len(stored)} of {len(samples)} samples"
            for (time_ms, value), (stored_ms, stored_value) in zip(samples, stored):
                assert time_ms == stored_ms and harness.value_bits(value) == harness.value_bits(stored_value) or (
                    time_ms == stored_ms and value != value and stored_value != stored_value), (
                        labels, time_ms, value, stored_ms, stored_value)

    def recent(self, server, count=30, step_ms=250):
        """Samples up to now, after all that was written before."""
        now = int(time.time() * 1000)
        after = self.samples[0][-1][0] + 1 if self.samples[0] else 0
        self.write(server, [t for t in range(now - count * step_ms, now, step_ms) if t >= after])


def figure(server, name):
    for line in server.get("/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"no {name} in /metrics")


def sealed_bytes(server):
    folder = os.path.join(server.data_path, "narthex")
    return sum(os.path.getsize(os.path.join(folder, n)) for n in os.listdir(folder)
               if n.endswith(".mdb") and n[:1].isdigit())


def wait_sealed(server):
    """Until open slots have become bundles in partition files."""
    wait_for("sealed slots", lambda: sealed_bytes(server) > 0, 15)
    time.sleep(3)


def log_segments(server):
    folder = os.path.join(server.data_path, "narthex", "log")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]


def stop_well(server):
    start = time.monotonic()
    code = server.stop(10)
    assert code == 0, f"exit code {code}"
    assert time.monotonic() - start < 5, "a clean stop takes too long"


def test_sigterm__keeps_everything():
    server = Server("", args=SLOTS)
    data = Data("term")
    data.recent(server)
    data.check(server)
    stop_well(server)
    server.start()
    data.check(server)
    data.recent(server)
    wait_sealed(server)
    data.check(server)
    data.recent(server)
    stop_well(server)
    for _ in range(3):
        server.start()
        data.check(server)
        data.recent(server, 5)
        data.check(server)
        stop_well(server)


def test_sigkill__keeps_what_was_answered():
    server = Server("", args=SLOTS)
    data = Data("kill")
    for _ in range(4):
        data.recent(server)
        server.kill()
        server.start()
        data.check(server)
    wait_sealed(server)
    data.recent(server)
    data.check(server)
    server.kill()
    server.start()
    data.check(server)
    stop_well(server)


def test_start__scrapes_while_the_store_is_opened():
    """A store takes seconds to open after a kill. What targets say meanwhile is there afterwards, at its own time; a target
    that was down then was down then. What opening waits for here is a lease on a segment of the log."""
    answered = []

    def page(_):
        answered.append(time.time())
        return 200, {"Content-Type": "text/plain; version=0.0.4"}, f"step {len(answered)}\n"

    exporter = harness.Exporter({"/metrics": page})
    server = Server(f"""
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: good
  static_configs: [{{targets: ["127.0.0.1:{exporter.port}"]}}]
- job_name: bad
  static_configs: [{{targets: ["127.0.0.1:{harness.free_port()}"]}}]
""")
    wait_for("a scrape before the kill", lambda: server.value("step") and server.value('up{job="bad"}') == 0)
    server.kill()
    log = os.path.join(server.data_path, "narthex", "log")
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # Somebody wants to open it.
    lease = os.open(os.path.join(log, max(os.listdir(log))), os.O_RDWR)
    fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    before, started = len(answered), time.time()
    server.spawn()
    wait_for("a scrape while the store is opened", lambda: len(answered) > before, 60)
    time.sleep(2.5)
    assert server.get("/-/ready").status == 503
    assert server.get("/-/healthy").status == 200
    assert len(answered) == before + 1, "one answer a target is held"
    released = time.time()
    os.close(lease)
    server.wait_ready(60)
    wait_for("scrapes after it", lambda: server.value("step") >= before + 3, 60)

    samples = dict((float(t), float(v)) for t, v in server.instant("step[5m]")[0][1])
    early = [(t, v) for t, v in samples.items() if started - 0.003 <= t <= released]
    assert [v for _, v in early] == [before + 1], (early, samples, started, released)
    assert abs(early[0][0] - answered[before]) < 1, (early, answered)
    assert list(samples.values()) == sorted(samples.values()), samples
    at = repr(early[0][0] + 0.001)
    assert server.value('scrape_duration_seconds{job="good"}', float(at)) < 2
    down = [(float(t), v) for t, v in server.instant('up{job="bad"}[5m]')[0][1]]
    assert [v for t, v in down if started - 0.003 <= t <= released] == ["0"], (down, started, released)
    stop_well(server)


def test_long_history__is_one_answer_over_partitions():
    """Ten hours in partitions of two, written in one go into an empty store, read through every edge."""
    server = Server("", args=SLOTS + ["--storage.narthex.partition-duration=2h"])
    data = Data("long", 12)
    now = int(time.time() * 1000)
    data.write(server, list(range(now - 10 * 3600_000, now, 30_000)))
    data.check(server)
    wait_sealed(server)
    data.check(server)
    files = [n for n in os.listdir(os.path.join(server.data_path, "narthex")) if n.endswith(".mdb") and n[0].isdigit()]
    assert len(files) >= 5, files
    count = server.instant("count_over_time(long_0[12h])", now / 1000)
    assert {v[1] for _, v in count} == {"1200"}, count
    assert server.data("/api/v1/label/series/values") == sorted(str(i) for i in range(12))
    names = server.data("/api/v1/series", {"match[]": '{__name__=~"long_.*"}', "start": str(now / 1000 - 36000),
                                           "end": str(now / 1000 - 30000)})
    assert len(names) == 12
    stop_well(server)
    server.start()
    data.check(server)
    server.kill()
    server.start()
    data.check(server)


def test_torn_log__loses_its_tail_and_nothing_else():
    server = Server("", args=["--storage.narthex.slot-duration=10m"])
    data = Data("torn", 8)
    data.recent(server)
    kept = [list(s) for s in data.samples]
    time.sleep(0.3)
    data.recent(server, 1, 1)
    server.kill()
    shutil.copytree(server.data_path, server.data_path + ".whole")
    for damage in ("cut", "flip", "garbage", "zeros"):
        shutil.rmtree(server.data_path)
        shutil.copytree(server.data_path + ".whole", server.data_path)
        path = [p for p in log_segments(server) if os.path.getsize(p)][-1]
        size = os.path.getsize(path)
        with open(path, "r+b") as f:
            if damage == "cut":
                f.truncate(size - 5)
            elif damage == "flip":
                f.seek(size - 9)
                byte = f.read(1)
                f.seek(size - 9)
                f.write(bytes([byte[0] ^ 0x55]))
            else:
                f.seek(size)
                f.write(os.urandom(777) if damage == "garbage" else bytes(4096))
        server.start()
        whole = Data("torn", 8)
        whole.samples = kept if damage in ("cut", "flip") else data.samples
        found = server.instant("torn_0[1h]")
        assert found, damage
        for labels, values in found:
            times = {round(float(t) * 1000) for t, _ in values}
            assert {t for t, _ in whole.samples[int(labels["series"])]} <= times, (damage, labels)
        # It goes on from there, and what comes after is kept.
        more = Data("after_" + damage, 4)
        more.recent(server)
        server.kill()
        server.start()
        more.check(server)
        server.kill()


def test_lost_head_file__is_made_again():
    """Without head.mdb everything is rebuilt from the slots and the log."""
    server = Server("", args=SLOTS)
    data = Data("lost")
    data.recent(server)
    wait_sealed(server)
    data.recent(server)
    server.kill()
    folder = os.path.join(server.data_path, "narthex")
    for name in os.listdir(folder):
        if name.startswith("head.mdb"):
            os.remove(os.path.join(folder, name))
    server.start()
    data.check(server)
    data.recent(server)
    stop_well(server)
    server.start()
    data.check(server)


def test_damaged_partition__does_not_stop_the_server():
    server = Server("", args=SLOTS)
    data = Data("broken")
    data.recent(server)
    wait_sealed(server)
    stop_well(server)
    folder = os.path.join(server.data_path, "narthex")
    for name in os.listdir(folder):
        if name.endswith(".mdb") and name[0].isdigit():
            with open(os.path.join(folder, name), "r+b") as f:
                f.write(os.urandom(8192))  # Both meta pages.
    server.start()
    fresh = Data("fresh")
    fresh.recent(server)
    fresh.check(server)
    assert "set aside" in server.log()
    stop_well(server)
    server.start()
    fresh.check(server)


def tree_of(path):
    found = {}
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(f for f in folders if f != "narthex")
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                found[os.path.join(folder, name)] = hashlib.sha256(f.read()).hexdigest()
        found[folder] = "folder"
    return found


def test_prometheus_data__stays_untouched():
    """A real Prometheus leaves its files, ours come beside them, Prometheus takes its own up again."""
    home = harness.new_folder("swap")
    path = os.path.join(home, "data")
    args = ["--storage.tsdb.path=" + path]
    config = harness.write_file(os.path.join(home, "p.yml"), "")
    port = harness.free_port()
    prometheus = harness.Prometheus("prometheus", port, [
        harness.peer_path("prometheus", "prometheus"), "--config.file=" + config, *args,
        f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver", "--log.level=warn"], "/-/ready")
    prometheus.start()
    now = int(time.time() * 1000)
    assert prometheus.write([({"__name__": "theirs"}, [(now, 1)])]).status == 204
    prometheus.stop()
    block = os.path.join(path, "01H455VB4PEX5VSKNK084SN02Q")
    os.makedirs(os.path.join(block, "chunks"))
    harness.write_file(os.path.join(block, "meta.json"), '{"ulid":"01H455VB4PEX5VSKNK084SN02Q","version":1}')
    harness.write_file(os.path.join(block, "chunks", "000001"), b"\x85\xbd\x40\xdd\x01\x00\x00\x00")
    before = tree_of(path)
    server = Server("", data=path, args=SLOTS)
    data = Data("ours")
    data.recent(server)
    wait_sealed(server)
    assert server.instant("theirs") == []
    assert "Prometheus" in server.log() and "untouched" in server.log()
    stop_well(server)
    assert tree_of(path) == before
    shutil.rmtree(block)
    prometheus.start()
    assert prometheus.value("theirs", now / 1000 + 1) == 1
    prometheus.stop()
    server.start()
    data.check(server)


def test_second_process__is_refused():
    server = Server("", args=SLOTS)
    data = Data("mine")
    data.recent(server)
    code, out, err = run_command([NARTHEX, "--config.file=" + server.config_path,
                                  "--storage.tsdb.path=" + server.data_path,
                                  f"--web.listen-address=127.0.0.1:{harness.free_port()}"])
    said = (out + err).lower()
    assert code == 1, (code, said)
    assert "lock" in said and server.data_path.lower() in said, said
    data.check(server)
    data.recent(server)
    server.kill()
    server.start()  # A lock that a killed process left behind holds nobody up.
    data.check(server)


def test_disk_use__stays_in_proportion():
    """The log of sealed slots goes away: a store that only grows would fill every disk."""
    server = Server("", args=["--storage.narthex.slot-duration=1s"])
    data = Data("much", 100)
    for _ in range(8):
        data.recent(server, 20, 40)
        time.sleep(0.8)
    samples = sum(len(s) for s in data.samples)
    wait_sealed(server)
    used = 0
    for folder, _, names in os.walk(os.path.join(server.data_path, "narthex")):
        used += sum(os.stat(os.path.join(folder, n)).st_blocks * 512 for n in names)
    print(f"    {samples} samples in {used / 1e6:.2f} MB")
    assert used < 20e6, used
    stop_well(server)
    server.start()
    data.check(server)


if __name__ == "__main__":
    harness.main(globals())
