"""What the programs that stand Narthex beside its peers share: starting each server, what a process has used, sets of
samples and the sender, and one printed line.

A line is `name value unit`; the names of one figure differ in their end: _narthex, _prometheus, _victoria, and _bar for what
Narthex is held to. bench/table.py makes a table of such lines.

QUICK is the default and takes minutes; FULL=1 measures at the sizes of the bars. SERVERS=narthex,victoria takes fewer.
"""
import array
import os
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/e2e"))
os.environ.setdefault("NARTHEX", os.path.join(HERE, "../build/release/narthex"))
os.environ.setdefault("PEERS", os.path.join(HERE, "../build/peers"))

import harness  # noqa: E402

harness.NARTHEX = os.path.abspath(harness.NARTHEX)
harness.PEERS = os.path.abspath(harness.PEERS)
SENDER = os.environ.get("SENDER") or os.path.join(os.path.dirname(harness.NARTHEX), "bench/load_sender")

FULL = os.environ.get("FULL", "") not in ("", "0")
WANTED = os.environ.get("SERVERS", "narthex,prometheus,victoria").split(",")
DAY_MS = 86400000
STEP_MS = 15000
MISSING_BITS = 0x7FF8000000000BAD


def pick(quick, full):
    return full if FULL else quick


def say(name, value, unit):
    print(f"{name} {value:.4g} {unit}" if isinstance(value, float) else f"{name} {value} {unit}", flush=True)


def say_bar(name, found, unit, absolute=None, prometheus=None, victoria=None):
    """What Narthex is held to: the least of a figure and of shares of its peers'. Says which one it missed."""
    bars = [absolute] if absolute is not None else []
    for peer, share in (("prometheus", prometheus), ("victoria", victoria)):
        if share is not None and peer in found:
            bars.append(found[peer] * share)
    if bars:
        say(name + "_bar", float(min(bars)), unit)
        if "narthex" in found:
            say(name + "_verdict", "met" if found["narthex"] <= min(bars) else "missed", "-")


def say_all(name, found, unit, **bars):
    for server, value in found.items():
        say(f"{name}_{server}", float(value), unit)
    say_bar(name, found, unit, **bars)


# ---- servers ----

def start_narthex(config="", args=()):
    return harness.Server(config, args)


def start_prometheus(config="", args=()):
    server = harness.start_prometheus(config, args)
    server.data_path = os.path.join(server.cwd, "data")
    return server


def start_victoria(config="", args=()):
    home = harness.new_folder("victoria")
    port = harness.free_port()
    config_path = harness.write_file(os.path.join(home, "scrape.yml"), config)
    argv = [harness.peer_path("victoria-metrics", "victoria-metrics"), "-storageDataPath=" + os.path.join(home, "data"),
            f"-httpListenAddr=127.0.0.1:{port}", "-search.latencyOffset=0s", "-search.disableCache",
            "-retentionPeriod=12", "-loggerLevel=ERROR", *args]
    if config:
        argv.append("-promscrape.config=" + config_path)
    server = harness.Prometheus("victoria", port, argv, "/health", cwd=home,
                                env={"LD_LIBRARY_PATH": os.path.join(harness.PEERS, "lib")}).start()
    server.data_path = os.path.join(home, "data")
    return server


def scrape_config(port, targets, interval_s=1):
    """So many targets at one port (load_target.py), as pods of some namespaces."""
    groups = "".join(f"""
      - targets: ["127.0.0.1:{port}"]
        labels: {{instance: "10.0.{i // 256}.{i % 256}:9100", namespace: "namespace-{i % 20}", pod: "workload-{i}"}}"""
                     for i in range(targets))
    return f"""global: {{scrape_interval: {interval_s}s, scrape_timeout: {interval_s}s}}
scrape_configs:
  - job_name: pods
    static_configs:{groups}
"""


def servers():
    """{name: start(config, args)} of those that are wanted and there."""
    starts = {"narthex": start_narthex}
    if os.path.exists(os.path.join(harness.PEERS, "prometheus/usr/bin/prometheus")):
        starts["prometheus"] = start_prometheus
    if os.path.exists(os.path.join(harness.PEERS, "victoria-metrics/usr/bin/victoria-metrics")):
        starts["victoria"] = start_victoria
    return {name: start for name, start in starts.items() if name in WANTED}


def drop(server):
    """Ends a server and takes its files away: a benchmark makes gigabytes."""
    server.kill()
    subprocess.run(["rm", "-rf", server.cwd], check=False)


def cpu_s(server):
    with open(f"/proc/{server.child.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(server, what="RssAnon"):
    """Bytes: RssAnon, VmRSS, VmHWM ..."""
    with open(f"/proc/{server.child.pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith(what + ":"):
                return int(line.split()[1]) * 1024
    return 0


def memory_mib(server, what="RssAnon"):
    return memory(server, what) / 1048576


def written(server):
    """Bytes that the process has made dirty in files, less what it unlinked before it was written."""
    with open(f"/proc/{server.child.pid}/io", encoding="ascii") as f:
        fields = dict(line.split(": ") for line in f)
    return int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"])


def metric(server, name):
    """A metric without labels on the server's own page, or None."""
    for line in server.get("/metrics", timeout=60).text.splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    return None


def steady(what, read, calm_s=3, deadline_s=300):
    """Waits until read() has given the same for so long, and returns that."""
    last, since, end = read(), time.monotonic(), time.monotonic() + deadline_s
    while time.monotonic() - since < calm_s:
        time.sleep(0.25)
        now = read()
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() > end:
            raise AssertionError(f"not steady within {deadline_s} s: {what}")
    return last


# ---- samples ----

def past_day_ms():
    """Midnight of the day before yesterday: what comes hours after it is still not in the future."""
    return (int(time.time() * 1000) // DAY_MS - 2) * DAY_MS


class Set:
    """The file of load_set.h."""

    def __init__(self, path):
        with open(path, "rb") as f:
            data = f.read()
        magic, self.series, self.columns, self.rows, text_len = struct.unpack_from("<8s4I", data)
        assert magic == b"NXSET1\n\0", path
        self.path, self.data = path, memoryview(data)
        self.values_at = 24 + 8 * self.columns * self.rows
        self.table_at = self.values_at + 8 * self.series * self.rows
        self.text = data[len(data) - text_len:]

    def labels(self, number):
        _, offset, length = struct.unpack_from("<3I", self.data, self.table_at + 12 * number)
        words = self.text[offset:offset + length].decode().split("\0")[:-1]
        return dict(zip(words[::2], words[1::2]))

    def samples(self, number):
        """[(time_ms, value)] of one series, as they were sent."""
        column = struct.unpack_from("<I", self.data, self.table_at + 12 * number)[0]
        times = self.data[24 + 8 * column * self.rows:][:8 * self.rows].cast("q")
        at = self.values_at + 8 * number * self.rows
        bits = self.data[at:at + 8 * self.rows].cast("Q")
        values = self.data[at:at + 8 * self.rows].cast("d")
        return [(times[i], values[i]) for i in range(self.rows) if bits[i] != MISSING_BITS]

    def count(self):
        bits = array.array("Q", self.data[self.values_at:self.table_at].tobytes())
        return len(bits) - bits.count(MISSING_BITS)

    def newest_ms(self):
        return max(self.data[24:self.values_at].cast("q"))


def write_set(path, columns, series):
    """columns: lists of times of one length; series: [(column, labels, values with None where there is none)]."""
    rows = len(columns[0])
    text, table, values = bytearray(), bytearray(), array.array("Q")
    pack, unpack = struct.Struct("<d").pack, struct.Struct("<Q").unpack
    for column, labels, samples in series:
        words = b"".join(name.encode() + b"\0" + labels[name].encode() + b"\0"
                         for name in sorted(labels, key=lambda n: n.encode()))
        table += struct.pack("<3I", column, len(text), len(words))
        text += words
        values.extend(MISSING_BITS if v is None else unpack(pack(v))[0] for v in samples)
    with open(path, "wb") as f:
        f.write(struct.pack("<8s4I", b"NXSET1\n\0", len(series), len(columns), rows, len(text)))
        for times in columns:
            array.array("q", times).tofile(f)
        values.tofile(f)
        f.write(table + text)


def make_set(name, start_ms):
    path = os.path.join(harness.scratch, f"{name}.set")
    subprocess.run([SENDER, "make", name, str(start_ms), path], check=True)
    return Set(path)


def send_set(samples, server, rows=20, pause_rows=0, pause_ms=0):
    """So many rows of each series a request. With pauses Narthex, whose slots go by the clock, has them as with scrapes.
    Rows that lie ahead are sent when their time comes, by the process that is returned."""
    argv = [SENDER, "send", samples.path, str(server.port), str(rows), str(pause_rows), str(pause_ms)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, preexec_fn=harness.end_with_parent)
    assert process.stdout.readline(), "the sender ended"
    return process


class Stream:
    """Made-up pods of 500 series, a row of all of them at a time; every server gets the same."""

    def __init__(self, server, series, start_ms, interval_ms=STEP_MS, rows=1, per_request=2000, life_rows=0, spread=0):
        self.process = subprocess.Popen(
            [SENDER, "stream", str(server.port), str(series), str(start_ms), str(interval_ms), str(rows),
             str(per_request), str(life_rows), str(spread)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=harness.end_with_parent)
        self.process.stdout.readline()
        self.next_ms, self.interval_ms = start_ms, interval_ms
        self.samples = 0

    def send(self, rows):
        """Sends them and returns how many samples that were."""
        before = self.samples
        self.process.stdin.write(f"{rows}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the sender ended"
        self.samples = int(line.split()[0])
        self.next_ms += rows * self.interval_ms
        return self.samples - before

    def close(self):
        self.process.stdin.close()
        self.process.wait()
