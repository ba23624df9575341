"""Hostile clients, senders, targets and operators: the server answers the right status, stays responsive, keeps what it
had, bounds its memory and ends cleanly on SIGTERM. What a sanitizer or an ENSURE would say in the log is a failure, too.
"""
import json
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
import zlib

import harness
from harness import (Server, field_bytes, free_port, http_call, new_folder, snappy_literal, varint, wait_for,
                     write_file)

BROKEN = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error|ENSURE\(")
RESPONSIVE_S = 5  # Far beyond what a working server needs, below what a hang takes.
STOP_S = 5
METRICS_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"


def check_sound(server):
    assert server.is_running(), f"the server has ended with {server.child.poll()}"
    found = BROKEN.search(server.log())
    assert not found, server.log()[max(0, found.start() - 200):][:4000]
    assert server.get("/-/healthy", timeout=RESPONSIVE_S).status == 200


def stop_clean(server):
    code = server.stop(STOP_S)
    found = BROKEN.search(server.log())
    assert code == 0 and not found, (code, server.log()[-4000:])


def now_ms():
    return int(time.time() * 1000)


def memory_mb(server):
    with open(f"/proc/{server.child.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) // 1024


def fill(server, series_count=300, sample_count=60):
    start = now_ms() - sample_count * 15000
    written = server.write([({"__name__": "m", "job": "j", "n": str(i)},
                             [(start + k * 15000, float(i + k)) for k in range(sample_count)])
                            for i in range(series_count)])
    assert written.status == 204, written


def raw_call(port, request, timeout=RESPONSIVE_S):
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall(request)
        answer = bytearray()
        while piece := s.recv(65536):
            answer += piece
        return bytes(answer)


def reset(connection):
    """Closes with a reset instead of an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# ---- (a) HTTP ----

def test_http_requests_that_are_none_are_refused():
    server = Server()
    for request, status in [
            (b"\x00\xff\xfe garbage\r\n\r\n", 400), (b"\x16\x03\x01\x02\x00\x01\x00", 400),
            (b"GET /-/healthy HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
            (b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20000 + b"\r\n", 431),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n", 413),
            (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
            (b"GET /-/healthy HTTP/1.1\r\nHost : x\r\n\r\n", 400),
            (b"GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
            (b"GET /a%00b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
            (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 307),
            (b"GET /etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
            (b"GET /api/v1/query?query=%2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400)]:
        answer = raw_call(server.port, request)
        assert answer.split(b" ")[1:2] == [str(status).encode()], (request[:80], answer[:80])
    check_sound(server)
    stop_clean(server)


def test_http_pipeline_is_answered_in_order():
    server = Server()
    count = 200
    text = raw_call(server.port, b"".join(
        b"GET /api/v1/query?query=%d HTTP/1.1\r\nHost: x\r\n%s\r\n"
        % (i, b"Connection: close\r\n" if i == count - 1 else b"") for i in range(count)), 20)
    values = re.findall(rb'"scalar","result":\[[0-9.]+,"(\d+)"\]', text)
    assert [int(v) for v in values] == list(range(count))
    stop_clean(server)


def test_http_clients_that_leave_or_do_not_read_cost_little():
    server = Server()
    fill(server)
    before = memory_mb(server)
    waiting = []
    for i in range(60):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(b"GET /api/v1/query?query=m[1h] HTTP/1.1\r\nHost: x\r\n\r\n" * (1 + i % 3 * 50))
        if i % 2:
            reset(s)
        else:
            waiting.append(s)
    for _ in range(200):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\nabc")
        waiting.append(s)
    check_sound(server)
    assert memory_mb(server) < before + 500
    for s in waiting:
        s.close()
    check_sound(server)
    stop_clean(server)


# ---- (b) queries ----

def test_query_parameters_out_of_range_are_bad_data():
    server = Server()
    fill(server, 20)
    for value in ["1e300", "-1e300", "NaN", "Inf", "-Inf", "9223372036854775807", "0x10", "\0", "\xff",
                  "292277026596-01-01T00:00:00Z"]:
        number = value in ("1e300", "-1e300", "NaN", "Inf", "-Inf", "9223372036854775807")  # A time, as in Prometheus, whatever it may mean.
        reply = server.get("/api/v1/query", {"query": "m", "limit": value})
        assert reply.status == (200 if value == "9223372036854775807" else 400), (value, reply)
        reply = server.get("/api/v1/query", {"query": "m", "time": value})
        assert reply.status == (200 if number else 400), (value, reply)
        for name in ["start", "end", "step"]:
            parameters = {"query": "m", "start": "0", "end": "10", "step": "1", name: value}
            status = server.get("/api/v1/query_range", parameters).status
            assert status == 400 or (number and name != "step"), (name, value, status)
    for query in ["(" * 500000, "-" * 500000 + "1", "+".join(["1"] * 50000), 'm{n=~"((((a{100}){100}){100}){100})"}',
                  'm{n=~"' + "a" * 1000000 + '"}', "m @ NaN", "m[99999999999y]", "m\0", 'label_join(m,"","")',
                  "topk(NaN,m)", 'count_values("\\xff",m)', "max_over_time(m[10y:1ms])"]:
        reply = server.post("/api/v1/query", {"query": query})
        assert reply.status in (400, 422), (query[:60], reply)
    check_sound(server)
    stop_clean(server)


def test_query_with_many_selectors_ends():
    """Each selector pins the epoch; a query that needs more pins than there are must not wait for itself."""
    server = Server(args=["--query.timeout=10s"])
    fill(server, 5, 5)
    reply = server.post("/api/v1/query", {"query": "+".join(["m"] * 400)}, timeout=20)
    assert reply.status in (200, 400, 422), reply
    many = [("match[]", f'm{{n="{i}"}}') for i in range(2000)]
    for path in ["/api/v1/series", "/api/v1/labels"]:
        assert server.post(path, many, timeout=20).status in (200, 400, 422, 503)
    assert server.value("count(m)") == 5
    check_sound(server)
    stop_clean(server)


def test_query_heavy_ones_end_in_time_and_with_their_client():
    server = Server(args=["--query.timeout=2s"])
    fill(server, 200)
    heavy = {"query": "max_over_time(max_over_time(m[1d:1s])[1d:1s])"}
    begin = time.monotonic()
    reply = server.get("/api/v1/query", heavy, timeout=20)
    assert reply.status in (200, 422, 503) and time.monotonic() - begin < 2 + RESPONSIVE_S, reply
    body = harness.encode_query(heavy).encode()
    for _ in range(30):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(b"GET /api/v1/query?" + body + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.01)
        reset(s)
    check_sound(server)
    assert server.value("count(m)") == 200  # Waits for the lane, not for thirty timeouts.
    stop_clean(server)


def test_query_labels_count_for_the_memory_limit():
    """label_replace and label_join make texts, and these are what a query holds."""
    server = Server(args=["--query.max-bytes=64MB"])
    fill(server, 300, 5)
    before = memory_mb(server)
    server.post("/api/v1/query", {"query": 'count(label_replace(m,"v","' + "a" * 1000000 + '","",""))'}, timeout=30)
    check_sound(server)
    with open(f"/proc/{server.child.pid}/status", encoding="ascii") as f:
        peak = int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) // 1024
    assert peak < before + 250, f"{peak} MB"
    stop_clean(server)


# ---- (c) remote write ----

def post_write(server, block, timeout=30):
    return http_call("POST", server.port, "/api/v1/write", block, harness.WRITE_HEADERS, timeout)


def wire_label(name, value):
    return field_bytes(1, field_bytes(1, name) + field_bytes(2, value))


def wire_sample(time_ms, bits):
    return field_bytes(2, b"\x09" + struct.pack("<Q", bits) + b"\x10" + varint(time_ms))


def wire_series(*parts):
    return snappy_literal(field_bytes(1, b"".join(parts)))


def snappy_repeat(pattern, length):
    """A block that claims `length` bytes of a pattern and is a fraction of that."""
    out = bytearray(varint(length)) + bytes([(len(pattern) - 1) << 2]) + pattern
    left = length - len(pattern)
    while left > 0:
        step = min(64, left)
        out += bytes([(step - 1) << 2 | 2]) + struct.pack("<H", len(pattern))
        left -= step
    return bytes(out)


def test_write_garbage_and_bombs_are_refused_or_harmless():
    server = Server()
    time_ms = now_ms()
    name = wire_label(b"__name__", b"w")
    for block in [b"", os.urandom(300), varint(0xFFFFFFFF) + b"\0a", varint(1 << 63) + b"\0a", varint(32 << 20) + b"\0a",
                  snappy_repeat(b"\x0a", 31 << 20), snappy_literal(b"\x1b" * 1000000),
                  wire_series(name, *[wire_label(b"l%06d" % i, b"v") for i in range(100000)], wire_sample(time_ms, 0)),
                  wire_series(name, wire_label(b"a", b"1"), wire_label(b"a", b"2"), wire_sample(time_ms, 0)),
                  wire_series(name, wire_sample((1 << 63) - 1, 0)), wire_series(name, wire_sample(-(1 << 63), 0))]:
        reply = post_write(server, block)
        assert reply.status == 400, (block[:40], reply)
    for block in [snappy_repeat(b"\x0a\x00", 8 << 20), wire_series(wire_label(b"__name__", b"\xff"), wire_sample(time_ms, 0)),
                  wire_series(wire_label(b"", b"v"), wire_sample(time_ms, 0))]:
        assert post_write(server, block).status == 204
    check_sound(server)
    assert server.value('count({__name__=~".+"})') is None
    stop_clean(server)


def cpu_s(server):
    with open(f"/proc/{server.child.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_write_from_many_jobs_costs_the_same_for_each():
    server = Server()
    time_ms = now_ms()
    spent = []
    for round_at in range(4):
        before = cpu_s(server)
        reply = server.write([({"__name__": "w", "job": f"{round_at}_{i}"}, [(time_ms, 1.0)]) for i in range(10000)], 60)
        assert reply.status == 204, reply
        spent.append(cpu_s(server) - before)
        check_sound(server)
    # What grows with the square of the groups costs seven times as much in the last round.
    assert spent[-1] < 4 * spent[0] + 0.2, f"groups cost more the more there are: {spent}"
    assert server.value("count(w)") == 40000
    stop_clean(server)


def test_write_values_survive_bit_for_bit_and_a_restart():
    server = Server()
    start = now_ms() - 60000
    values = [0x0, 1 << 63, 0x7FF0000000000000, 0xFFF0000000000000, 0x1, 0x8000000000000001, 0x000FFFFFFFFFFFFF,
              0x7FEFFFFFFFFFFFFF, 0x3FB999999999999A, 0x7FF8000000000001, 0xFFFFFFFFFFFFFFFF, harness.STALE_BITS]
    for i, bits in enumerate(values):
        block = wire_series(wire_label(b"__name__", b"bits"), wire_sample(start + i, bits))
        assert post_write(server, block).status == 204
    found = server.get("/api/v1/query", {"query": "bits[1h]"}).json["data"]["result"][0]["values"]
    # The stale marker, the last one, is not shown.
    texts = [text for _, text in found]
    assert texts == ["0", "-0", "+Inf", "-Inf", "5e-324", "-5e-324", "2.225073858507201e-308",
                     "1.7976931348623157e+308", "0.1", "NaN", "NaN"], texts
    assert server.value("bits") is None
    stop_clean(server)
    server.start()
    assert server.get("/api/v1/query", {"query": "bits[1h]"}).json["data"]["result"][0]["values"] == found
    stop_clean(server)


def test_write_many_writers_of_one_series_keep_one_order():
    server = Server()
    start = now_ms() - 600000
    codes = []

    def write():
        for i in range(60):
            codes.append(server.write([({"__name__": "shared"}, [(start + i * 1000, float(i))])]).status)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) <= {204, 400}, set(codes)
    values = server.get("/api/v1/query", {"query": "shared[1h]"}).json["data"]["result"][0]["values"]
    assert [float(v) for _, v in values] == [float(i) for i in range(60)]
    check_sound(server)
    stop_clean(server)


# ---- (d) targets ----

class RawTarget:
    """Answers each path with a function(socket), on one thread a connection."""

    def __init__(self, pages):
        self.pages = pages
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            s, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            with s:
                s.settimeout(30)
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = s.recv(65536)
                    if not piece:
                        return
                    head += piece
                self.pages[head.split(b" ")[1].decode()](s)
        except OSError:
            pass  # The server has had enough.


def sends(data):
    return lambda s: s.sendall(data)


def page(body, headers=b""):
    return sends(METRICS_HEAD + headers + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def endless(piece):
    def send(s):
        s.sendall(METRICS_HEAD + b"\r\n")
        while True:
            s.sendall(piece)
    return send


def trickle(s):
    s.sendall(METRICS_HEAD + b"\r\n")
    while True:
        s.sendall(b"a")
        time.sleep(0.05)


def packed(data):
    z = zlib.compressobj(9, zlib.DEFLATED, 31)
    return z.compress(data) + z.flush()


def scrape_config(port, paths):
    jobs = "".join(f'- job_name: "{p[1:]}"\n  metrics_path: {p}\n  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]\n'
                   for p in paths)
    return "global: {scrape_interval: 1s, scrape_timeout: 900ms}\nscrape_configs:\n" + jobs


def test_scrape_of_broken_targets_fails_and_harms_nobody():
    gzip_header = b"Content-Encoding: gzip\r\n"
    bad = {
        "/binary": page(os.urandom(100000)), "/nul": page(b"a 1\0\n" * 1000), "/line": page(b"a" * 3000000),
        "/wronggz": page(b"m 1\n", gzip_header), "/cutgz": page(packed(b"m 1\n" * 1000)[:-10], gzip_header),
        "/bomb": page(packed(b"#" * 50000000), gzip_header), "/early": sends(METRICS_HEAD + b"Content-Length: 99\r\n\r\nm 1\n"),
        "/chunk": sends(METRICS_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzzz\r\n"), "/http09": sends(b"m 1\n"),
        "/redirect": sends(b"HTTP/1.1 302 F\r\nLocation: /redirect\r\nContent-Length: 0\r\n\r\n"),
        "/file": sends(b"HTTP/1.1 302 F\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"),
        "/twice": page(b'l{a="1",a="2"} 1\n'), "/empty": sends(b""), "/reset": reset, "/trickle": trickle,
        "/hang": lambda s: time.sleep(5),
        "/html": sends(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nm 1\n"),
    }
    target = RawTarget(dict(bad, **{"/good": page(b"good 1\n")}))
    server = Server(scrape_config(target.port, [*bad, "/good"]))
    wait_for("all scraped", lambda: all(t["health"] != "unknown" for t in server.targets()))
    for t in server.targets():
        assert (t["health"] == "up") == (t["scrapePool"] == "good"), t
    assert server.value("good") == 1
    assert memory_mb(server) < 400
    check_sound(server)
    stop_clean(server)


def test_scrape_of_endless_bodies_leaves_the_loop_alive():
    """A sender faster than the parser must not keep the loop from everything else until its timeout."""
    source = ("import socket\n"
              "l = socket.create_server(('127.0.0.1', 0))\n"
              "print(l.getsockname()[1], flush=True)\n"
              "while True:\n"
              "    s, _ = l.accept()\n"
              "    try:\n"
              "        s.recv(4096)\n"
              "        s.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Type: text/plain; version=0.0.4\\r\\n\\r\\n')\n"
              "        while True: s.sendall(b'm 1\\n' * 16000)\n"
              "    except OSError: pass\n"
              "    s.close()\n")
    # In a process of its own: its sending must not slow our measuring.
    sender = harness.Process("sender", [sys.executable, "-c", source]).spawn()
    port = int(wait_for("the sender's port", lambda: sender.log().strip()))
    server = Server(scrape_config(port, ["/x"]).replace("1s", "4s").replace("900ms", "3900ms"))
    slowest = 0
    begin = time.monotonic()
    while time.monotonic() - begin < 6:
        at = time.monotonic()
        assert server.get("/-/healthy", timeout=20).status == 200
        slowest = max(slowest, time.monotonic() - at)
        time.sleep(0.02)
    assert slowest < 1.5, f"{slowest:.2f} s without an answer"
    check_sound(server)
    stop_clean(server)


# ---- (e) configuration ----

def test_file_sd_of_hostile_files_keeps_the_last_good_targets():
    folder = new_folder("sd")
    path = os.path.join(folder, "a.json")
    good = json.dumps([{"targets": [f"127.0.0.1:{free_port()}"], "labels": {"a": "b"}}])
    write_file(path, good)
    server = Server("scrape_configs:\n- job_name: sd\n  file_sd_configs:\n"
                    f'  - {{files: ["{folder}/*.json"], refresh_interval: 1s}}\n')
    wait_for("the target", lambda: len(server.targets("sd")) == 1)
    for text in [b"", b"\0" * 1000, b"[", b"[1]", b"[" * 1000000, os.urandom(100000), b'[{"targets":[1]}]']:
        write_file(path, text)
        time.sleep(0.15)
        check_sound(server)
        assert len(server.targets("sd")) == 1, text[:20]
    for where in ["/etc/passwd", "/dev/zero", folder, path]:
        os.symlink(where, path + ".new")
        os.rename(path + ".new", path)
        time.sleep(0.15)
        check_sound(server)
    os.unlink(path)
    os.mkfifo(path)  # Nobody writes: whoever opens it for reading waits for ever.
    time.sleep(1.5)
    check_sound(server)
    os.unlink(path)
    write_file(path, good.replace('"b"', '"c"'))
    wait_for("the new target", lambda: server.targets("sd")[0]["labels"].get("a") == "c")
    stop_clean(server)


def test_reload_storm_under_load():
    target = harness.Exporter({"/metrics": "ok 1\n"})
    config = scrape_config(target.port, ["/metrics"]).replace("1s", "200ms").replace("900ms", "200ms")
    server = Server(config)
    wait_for("a scrape", lambda: server.value("ok") == 1)
    done = threading.Event()

    def load():
        while not done.is_set():
            server.get("/api/v1/query", {"query": "count_over_time(ok[5m])"})
            server.get("/api/v1/targets")

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(100):
        server.set_config([config, "{{{", config.replace('"metrics"', f'"job{i}"')][i % 3])
        server.signal(signal.SIGHUP)
        if i % 4 == 0:
            assert server.post("/-/reload").status in (200, 500)
    done.set()
    for thread in threads:
        thread.join()
    server.set_config(config)
    assert server.post("/-/reload").status == 200
    wait_for("up again", lambda: server.targets("metrics")[0]["health"] == "up")
    check_sound(server)
    stop_clean(server)


# ---- (f) the end ----

def test_stop_under_queries_slow_readers_and_hanging_scrapes():
    target = RawTarget({"/hang": lambda s: s.recv(1)})
    server = Server(scrape_config(target.port, ["/hang"]).replace("1s", "60s").replace("900ms", "60s"))
    fill(server)
    waiting = []
    for i in range(40):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall([b"GET /api/v1/query?query=max_over_time(m[1d:1s]) HTTP/1.1\r\nHost: x\r\n\r\n",
                   b"GET /api/v1/query?query=m[1h] HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /half"][i % 3])
        waiting.append(s)
    time.sleep(0.7)
    server.signal(signal.SIGTERM)  # And once more in stop_clean.
    stop_clean(server)
    for s in waiting:
        s.close()
    server.start()
    assert server.value("count(m)") == 300
    stop_clean(server)


def test_stop_loses_no_acknowledged_write():
    server = Server()
    start, acknowledged = now_ms() - 600000, [-1]

    def write():
        try:
            for i in range(100000):
                if server.write([({"__name__": "acked"}, [(start + i, float(i))])], 5).status != 204:
                    return
                acknowledged[0] = i
        except OSError:
            pass
        except harness.http.client.HTTPException:
            pass

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.5)
    stop_clean(server)
    writer.join()
    server.start()
    assert acknowledged[0] >= 0 and server.value("max_over_time(acked[1h])") >= acknowledged[0]
    stop_clean(server)


def test_storage_folder_that_goes_away_or_cannot_be():
    server = Server()
    fill(server, 10)
    harness.shutil.rmtree(server.data_path)
    codes = {server.write([({"__name__": "b"}, [(now_ms(), 1.0)])]).status for _ in range(3)}
    assert codes <= {204, 500}, codes
    assert server.value("count(m)") == 10
    check_sound(server)
    stop_clean(server)
    blocker = write_file(os.path.join(new_folder("blocked"), "file"), "")
    for path in [blocker, blocker + "/below", "/proc/none"]:
        failed = Server(data=path, ready=False).spawn()
        assert failed.exit_code(10) == 1
        assert not BROKEN.search(failed.log()), failed.log()


if __name__ == "__main__":
    harness.main(globals())
