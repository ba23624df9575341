"""Killed with SIGKILL again and again under load, the server comes back each time with what it promised:

  - every sample of a remote write that was answered 204, with its exact value
  - every scrape whose body was served more than 50 ms before the kill (and slack_ms() for a busy machine)
  - no value that nobody sent, no damaged file

KILL_SEED repeats a run, KILL_ROUNDS sets the number of kills. Slots are short, so that kills hit seals as well.
"""
import os
import random
import sys
import threading
import time

import harness

SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(1 << 32)))
ROUNDS = int(os.environ.get("KILL_ROUNDS", "14"))
PROMISE_MS = 50
INTERVAL_S = 0.1
TARGETS = 3
SERIES = 400
WRITERS = 4
WRITTEN_SERIES = 20
SAMPLES_A_WRITE = 3


def slack_ms():
    """A turn for everyone who waits for a processor."""
    return 100 * max(1.0, os.getloadavg()[0] / os.cpu_count())


class Pages:
    """The fake exporter, in a process of its own (`test_kill.py serve`), so that this one's work does not slow it down.
    It serves the same new number in all series of a target and writes down when it had been served."""

    def __init__(self):
        folder = harness.new_folder("pages")
        self.record_path = os.path.join(folder, "record")
        self.process = harness.Process("exporter", [sys.executable, __file__, "serve", folder]).spawn()
        port_path = os.path.join(folder, "port")
        harness.wait_for("the exporter's port", lambda: os.path.exists(port_path))
        with open(port_path, encoding="ascii") as f:
            self.address = "127.0.0.1:" + f.read()

    def served(self, target):
        """[(number, time when the last byte was handed to the kernel)]"""
        with open(self.record_path, encoding="ascii") as f:
            lines = [line.split() for line in f.read().split("\n")[:-1]]
        return [(int(number), float(at)) for t, number, at in lines if int(t) == target]


def serve(folder):
    record = os.open(os.path.join(folder, "record"), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    numbers = [0] * TARGETS

    def page_of(target):
        def page(handler):
            numbers[target] += 1
            number = numbers[target]
            body = "".join(f'kill_scraped{{series="{s}"}} {number}\n' for s in range(SERIES)).encode()
            handler.send_response(200)
            handler.send_header("Content-Type", "text/plain")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
            os.write(record, b"%d %d %.4f\n" % (target, number, time.time()))

        return page

    exporter = harness.Exporter({f"/{t}": page_of(t) for t in range(TARGETS)})
    harness.write_file(os.path.join(folder, "port"), str(exporter.port))
    threading.Event().wait()


class Writer(threading.Thread):
    """Writes without pause; knows what was sent and what was answered 204."""

    def __init__(self, port, index):
        super().__init__(daemon=True)
        self.port = port
        self.index = index
        self.sent = {}  # time_ms -> value
        self.acknowledged = []  # (time_ms, value, wall time of the answer)
        self.refused = []
        self.time_ms = 0
        self.number = 0
        self.stopping = False

    def run(self):
        while not self.stopping:
            samples = []
            for _ in range(SAMPLES_A_WRITE):
                self.time_ms = max(self.time_ms + 1, int(time.time() * 1000))
                self.number += 1
                samples.append((self.time_ms, self.number + 0.125))
            self.sent.update(samples)
            series = [({"__name__": "kill_written", "job": f"writer{self.index}", "instance": "i",
                        "series": str(s)}, samples) for s in range(WRITTEN_SERIES)]
            try:
                reply = harness.remote_write(self.port, series, timeout=5)
            except (OSError, harness.http.client.HTTPException):
                time.sleep(0.02)
                continue
            if reply.status == 204:
                self.acknowledged += [(t, v, time.time()) for t, v in samples]
            elif reply.status != 503:
                self.refused.append(repr(reply))
            time.sleep(0.005)


def points(server, selector, seconds):
    """[(labels, {time_ms: value})]"""
    return [(labels, {round(float(t) * 1000): float(v) for t, v in values})
            for labels, values in server.instant(f"{selector}[{seconds}s]")]


def check_written(server, writer, seconds, since=0.0):
    """since: only answers after that wall time are looked at."""
    expected = {t: v for t, v, answered in writer.acknowledged[:] if answered >= since}
    found = points(server, f'kill_written{{job="writer{writer.index}"}}', seconds)
    sent = dict(writer.sent)  # After the query: the writer goes on meanwhile.
    if not expected:
        return 0
    assert len(found) == WRITTEN_SERIES, f"writer {writer.index}: {len(found)} series"
    for labels, stored in found:
        lost = [(t, v) for t, v in expected.items() if stored.get(t) != v]
        assert not lost, (f"{labels}: {len(lost)} of {len(expected)} acknowledged samples are lost or changed, first "
                          f"{lost[0]}, stored there: {stored.get(lost[0][0])}")
        invented = [(t, v) for t, v in stored.items() if t in sent and sent[t] != v or t not in sent]
        assert not invented, f"{labels}: nobody sent {invented[:3]}"
    return len(expected) * WRITTEN_SERIES


def check_scraped(server, pages, target, kills, seconds, since=0.0):
    """The worst loss in ms over all kills, each (before the signal, after the end): how long before a kill a scrape had
    been served that is not there; and how many samples there are."""
    asked = time.time()
    served = pages.served(target)
    found = points(server, f'kill_scraped{{job="target{target}"}}', seconds)
    last = max((number for number, _ in pages.served(target)), default=0) + 1
    per_series = [set(stored.values()) for _, stored in found]
    assert len(found) == SERIES or not served, f"target {target}: {len(found)} series"
    everywhere = set.intersection(*per_series) if per_series else set()
    somewhere = set.union(*per_series) if per_series else set()
    assert somewhere == everywhere, f"target {target}: half a scrape is stored: {sorted(somewhere - everywhere)[:5]}"
    assert all(v.is_integer() and 1 <= v <= last for v in somewhere), f"target {target}: a number never served"
    # A scrape that came too late on a busy machine was refused by the server, which says so with up 0.
    failed = [t / 1000 for _, stored in points(server, f'up{{job="target{target}"}}', seconds)
              for t, v in stored.items() if v == 0]
    worst_ms, excused = 0.0, 0
    for number, at in served:
        if at < since or number in everywhere:
            continue
        # `at` may come late: the page's process writes it down when a busy machine lets it.
        if any(at - 2 * INTERVAL_S - slack_ms() / 1000 <= t <= at + 0.005 for t in failed):
            excused += 1
            continue
        kill = min((before for before, after in kills if after >= at - slack_ms() / 1000), default=None)
        if kill is None and at > asked - 1:
            continue  # On its way while we asked; looked at in the next round.
        assert kill is not None, (f"target {target}: scrape {number}, served at {at}, is missing though nothing was "
                                  f"killed after it")
        worst_ms = max(worst_ms, (kill - at) * 1000)
    assert excused <= 2 + len(served) // 10, f"target {target}: {excused} of {len(served)} scrapes failed"
    return worst_ms, len(everywhere) * SERIES


def check_log(text):
    for line in text.splitlines():
        low = line.lower()
        if "level=error" in low or "corrupt" in low or "damaged" in low or "quarantine" in low or "ENSURE" in line:
            raise AssertionError("the log tells of damage: " + line)


def test_kill__again_and_again():
    print(f"    KILL_SEED={SEED} KILL_ROUNDS={ROUNDS}", flush=True)
    chance = random.Random(SEED)
    pages = Pages()
    jobs = "".join(f"""
  - job_name: target{t}
    metrics_path: /{t}
    static_configs: [{{targets: ["{pages.address}"]}}]""" for t in range(TARGETS))
    server = harness.Server(f"""
global:
  scrape_interval: 100ms
  scrape_timeout: 100ms
scrape_configs:{jobs}
""", args=["--storage.narthex.slot-duration=3s"])
    begin = time.time()
    writers = [Writer(server.port, i) for i in range(WRITERS)]
    for writer in writers:
        writer.start()
    kills = []
    slowest_start = worst_ms = 0.0
    for round_number in range(ROUNDS):
        time.sleep(chance.uniform(0.2, 3.5))
        round_begin = kills[-1][0] if kills else begin
        before = time.time()
        server.kill()
        kills.append((before, time.time()))
        started = time.monotonic()
        server.start()
        slowest_start = max(slowest_start, time.monotonic() - started)
        seconds = int(time.time() - begin) + 30
        for writer in writers:
            check_written(server, writer, seconds, round_begin - 1)
        for target in range(TARGETS):
            lost_ms, _ = check_scraped(server, pages, target, kills, seconds, round_begin - 1)
            worst_ms = max(worst_ms, lost_ms)
            assert lost_ms <= PROMISE_MS + slack_ms(), f"round {round_number}: {lost_ms:.0f} ms of scrapes lost"
    for writer in writers:
        writer.stopping = True
    for writer in writers:
        writer.join(10)
        assert not writer.refused, writer.refused[:3]
    check_everything(server, pages, writers, kills, begin)
    assert server.stop(10) == 0
    stopped = time.time()
    server.start()
    check_everything(server, pages, writers, kills + [(stopped, stopped)], begin)
    check_log(server.log())
    print(f"    slowest start {slowest_start:.2f} s, worst loss of scrapes {worst_ms:.0f} ms before a kill", flush=True)


def check_everything(server, pages, writers, kills, begin):
    seconds = int(time.time() - begin) + 30
    written = sum(check_written(server, writer, seconds) for writer in writers)
    now = time.time()
    scraped = sum(check_scraped(server, pages, t, kills + [(now, now)], seconds)[1] for t in range(TARGETS))
    assert written > 0 and scraped > 0
    print(f"    {written} written and {scraped} scraped samples are there", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    harness.main(globals())
