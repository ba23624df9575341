"""What every end-to-end test stands on: the server as a process, real peers, fake exporters, HTTP, remote write.

A test file defines test_*() functions and ends with harness.main(globals()). Every process started here is ended when
the test file ends, however it ends. Everything listens on free ports of 127.0.0.1. Standard library only.
"""
import atexit
import ctypes
import gzip
import http.client
import http.server
import json
import math
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

NARTHEX = os.environ.get("NARTHEX", "")
PEERS = os.environ.get("PEERS", "")
DEADLINE_S = float(os.environ.get("E2E_DEADLINE", "20"))
STALE_BITS = 0x7FF0000000000002

processes = []
scratch = tempfile.mkdtemp(prefix="narthex-e2e-")


def clean_up():
    for process in processes:
        process.kill()
    shutil.rmtree(scratch, ignore_errors=True)


atexit.register(clean_up)


def free_port():
    """A port that is free now and below the kernel's range for outgoing connections, so it stays free."""
    while True:
        port = random.SystemRandom().randrange(12000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def new_folder(name):
    return tempfile.mkdtemp(prefix=name + "-", dir=scratch)


def write_file(path, text):
    """Written beside and renamed, as a careful operator's tool does."""
    mode = "wb" if isinstance(text, bytes) else "w"
    with open(path + ".tmp", mode) as f:
        f.write(text)
    os.rename(path + ".tmp", path)
    return path


def wait_for(what, check, deadline_s=DEADLINE_S, pause_s=0.05):
    """Calls check() until it answers something true, and returns that."""
    end = time.monotonic() + deadline_s
    last = None
    while True:
        try:
            found = check()
            if found:
                return found
        except (OSError, http.client.HTTPException, AssertionError, KeyError, IndexError, ValueError) as e:
            last = e
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what}" + (f" (last: {last!r})" if last else ""))
        time.sleep(pause_s)


# ---- HTTP ----

class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.text[:500]!r}"


def http_call(method, port, path, body=None, headers=None, timeout=15):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def encode_query(parameters):
    return urllib.parse.urlencode(parameters, doseq=True)


# ---- remote write ----

def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def field_bytes(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def value_bits(value):
    """The wire form of a value; None stands for the stale marker."""
    return struct.pack("<Q", STALE_BITS) if value is None else struct.pack("<d", value)


def encode_series(labels, samples):
    """prometheus.TimeSeries; labels a dict (sorted here), samples a list of (time_ms, value or None)."""
    out = bytearray()
    for name, text in sorted(labels.items(), key=lambda pair: pair[0].encode()):
        out += field_bytes(1, field_bytes(1, name.encode()) + field_bytes(2, text.encode()))
    for time_ms, value in samples:
        out += field_bytes(2, b"\x09" + value_bits(value) + b"\x10" + varint(time_ms))
    return bytes(out)


def encode_write(series):
    """prometheus.WriteRequest of [(labels, samples)]."""
    return b"".join(field_bytes(1, encode_series(labels, samples)) for labels, samples in series)


def snappy_literal(data):
    """A valid snappy block that stores everything as literals."""
    out = bytearray(varint(len(data)))
    for at in range(0, len(data), 65536):
        piece = data[at:at + 65536]
        out += b"\xf4" + struct.pack("<H", len(piece) - 1) + piece
    return bytes(out)


WRITE_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def remote_write(port, series, timeout=15):
    return http_call("POST", port, "/api/v1/write", snappy_literal(encode_write(series)), WRITE_HEADERS, timeout)


# ---- processes ----

def end_with_parent():
    """Runs in the child: when the test is killed, so is what it started."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    """One program with a log file that is shown when a test fails. It ends with the test, or it lasts for all of a file."""

    def __init__(self, name, argv, env=None, cwd=None, lasts=False):
        self.name = name
        self.lasts = lasts
        self.argv = argv
        self.env = dict(os.environ, **(env or {}))
        self.cwd = cwd
        self.log_path = os.path.join(new_folder("log"), name + ".log")
        self.child = None
        self.shown_from = 0
        processes.append(self)

    def spawn(self):
        with open(self.log_path, "ab") as log:
            # The pipes of the test itself stay out of the child.
            self.child = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                                          cwd=self.cwd, preexec_fn=end_with_parent)
        return self

    def is_running(self):
        return self.child is not None and self.child.poll() is None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def signal(self, number):
        self.child.send_signal(number)

    def stop(self, deadline_s=DEADLINE_S):
        """SIGTERM; returns the exit code."""
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} still runs {deadline_s} s after SIGTERM") from None

    def kill(self):
        if self.child is not None:
            if self.child.poll() is None:
                self.child.kill()
            self.child.wait()

    def exit_code(self, deadline_s=DEADLINE_S):
        """Waits for the end that the program comes to by itself."""
        try:
            return self.child.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end by itself") from None


class Web(Process):
    """A process that speaks HTTP."""

    def __init__(self, name, port, argv, ready_path, **more):
        super().__init__(name, argv, **more)
        self.port = port
        self.ready_path = ready_path

    def start(self, deadline_s=DEADLINE_S):
        self.spawn()
        return self.wait_ready(deadline_s)

    def wait_ready(self, deadline_s=DEADLINE_S):
        def ready():
            if not self.is_running():
                raise SystemExit(f"{self.name} ended with {self.child.returncode} before it was ready:\n"
                                 + self.log()[-3000:])
            return self.get(self.ready_path, timeout=2).status == 200

        wait_for(f"{self.name} ready", ready, deadline_s, 0.01)
        return self

    def get(self, path, parameters=None, headers=None, timeout=15):
        if parameters:
            path += "?" + encode_query(parameters)
        return http_call("GET", self.port, path, None, headers, timeout)

    def post(self, path, parameters=None, headers=None, body=None, timeout=15):
        headers = dict(headers or {})
        if parameters is not None:
            body = encode_query(parameters)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return http_call("POST", self.port, path, body, headers, timeout)


class Prometheus(Web):
    """What Narthex and Prometheus share: the API."""

    def data(self, path, parameters=None):
        reply = self.get(path, parameters)
        assert reply.status == 200, f"{path} {parameters}: {reply}"
        answer = reply.json
        assert answer["status"] == "success", answer
        return answer["data"]

    def instant(self, query, at=None):
        """[(labels, [time, text])] of a vector; [(labels, [[time, text], ...])] of a matrix; [time, text] of a scalar."""
        parameters = {"query": query}
        if at is not None:
            parameters["time"] = repr(at)
        found = self.data("/api/v1/query", parameters)
        return unpack(found)

    def range(self, query, start, end, step):
        return unpack(self.data("/api/v1/query_range", {"query": query, "start": repr(start), "end": repr(end),
                                                        "step": repr(step)}))

    def value(self, query, at=None):
        """The one float that the query answers with, or None when the answer is empty."""
        found = self.instant(query, at)
        if isinstance(found, list) and found and not isinstance(found[0], tuple):
            return float(found[1])
        if not found:
            return None
        assert len(found) == 1, f"{query}: {len(found)} elements"
        return float(found[0][1][1])

    def targets(self, pool=None):
        active = self.data("/api/v1/targets", {"state": "active"})["activeTargets"]
        return [t for t in active if pool in (None, t["scrapePool"])]

    def write(self, series, timeout=15):
        return remote_write(self.port, series, timeout)


def unpack(data):
    kind, result = data["resultType"], data["result"]
    if kind in ("scalar", "string"):
        return result
    return [(one["metric"], one["value"] if kind == "vector" else one["values"]) for one in result]


def labels_key(labels):
    return tuple(sorted(labels.items()))


class Server(Prometheus):
    """Narthex. The data folder and the port outlive a restart of the same object."""

    def __init__(self, config="", args=(), data=None, port=None, write=True, lifecycle=True, ready=True):
        assert NARTHEX, "set NARTHEX to the binary"
        self.home = new_folder("narthex")
        self.data_path = data or os.path.join(self.home, "data")
        self.config_path = write_file(os.path.join(self.home, "prometheus.yml"), config)
        port = port or free_port()
        argv = [NARTHEX, "--config.file=" + self.config_path, "--storage.tsdb.path=" + self.data_path,
                f"--web.listen-address=127.0.0.1:{port}"]
        if write:
            argv.append("--web.enable-remote-write-receiver")
        if lifecycle:
            argv.append("--web.enable-lifecycle")
        super().__init__("narthex", port, argv + list(args), "/-/ready", cwd=self.home)
        if ready:
            self.start()

    def set_config(self, text):
        write_file(self.config_path, text)


def link_beside_narthex(name):
    return os.path.join(os.path.dirname(os.path.abspath(NARTHEX)), name)


def run_command(argv, stdin=b"", env=None, timeout=DEADLINE_S, cwd=None):
    """A command that ends by itself: its exit code, stdout and stderr as text."""
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout, cwd=cwd or scratch,
                          env=dict(os.environ, **(env or {})), check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


# ---- peers ----

def peer_path(package, program):
    path = os.path.join(PEERS, package, "usr/bin", program)
    assert PEERS and os.path.exists(path), f"{path} is missing: run .ci/peers.sh"
    return path


def start_prometheus(config="", args=()):
    """Debian's Prometheus, with a remote-write receiver."""
    home = new_folder("prometheus")
    port = free_port()
    config_path = write_file(os.path.join(home, "prometheus.yml"), config)
    argv = [peer_path("prometheus", "prometheus"), "--config.file=" + config_path,
            "--storage.tsdb.path=" + os.path.join(home, "data"), f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver", "--log.level=warn", *args]
    return Prometheus("prometheus", port, argv, "/-/ready", cwd=home).start()


def start_redis(port=None, lasts=False):
    home = new_folder("redis")
    port = port or free_port()
    peer = Process("redis", [peer_path("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1",
                             "--save", "", "--appendonly", "no", "--dir", home],
                   env={"LD_LIBRARY_PATH": os.path.join(PEERS, "lib")}, lasts=lasts).spawn()
    peer.port = port
    wait_for("redis answers", lambda: redis_call(port, "PING") == "+PONG")
    return peer


def redis_call(port, *words):
    """One command in RESP; the first line of the answer."""
    request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        s.sendall(request)
        return s.makefile("rb").readline().decode().rstrip("\r\n")


def start_redis_exporter(redis_port):
    port = free_port()
    return Web("redis-exporter", port,
               [peer_path("prometheus-redis-exporter", "prometheus-redis-exporter"),
                f"-redis.addr=redis://127.0.0.1:{redis_port}", f"-web.listen-address=127.0.0.1:{port}"],
               "/metrics").start()


def start_node_exporter():
    port = free_port()
    return Web("node-exporter", port,
               [peer_path("prometheus-node-exporter", "prometheus-node-exporter"),
                f"--web.listen-address=127.0.0.1:{port}"], "/metrics").start()


def start_blackbox_exporter():
    port = free_port()
    config = write_file(os.path.join(new_folder("blackbox"), "blackbox.yml"), """
modules:
  http_2xx: {prober: http, timeout: 2s, http: {preferred_ip_protocol: ip4}}
  tcp_connect: {prober: tcp, timeout: 2s}
""")
    return Web("blackbox-exporter", port,
               [peer_path("prometheus-blackbox-exporter", "prometheus-blackbox-exporter"),
                f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"], "/metrics").start()


def start_process_exporter():
    """Of all processes of this machine, by their commands."""
    port = free_port()
    config = write_file(os.path.join(new_folder("process"), "process.yml"),
                        "process_names:\n  - {name: '{{.Comm}}', cmdline: ['.+']}\n")
    return Web("process-exporter", port,
               [peer_path("prometheus-process-exporter", "prometheus-process-exporter"),
                f"-config.path={config}", f"-web.listen-address=127.0.0.1:{port}"], "/metrics").start()


# ---- fake exporter ----

class Exporter:
    """An HTTP server in this process. pages: {path: text, bytes or a function(handler) -> (status, headers, body),
    or None when the function has answered by itself}."""

    def __init__(self, pages=None):
        self.pages = pages or {}
        self.requests = []  # (path with query, headers) of each request, in order.
        exporter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                exporter.requests.append((self.path, dict(self.headers.items())))
                page = exporter.pages.get(self.path.split("?")[0])
                status, headers, body = 404, {}, b"no such page\n"
                if callable(page):
                    answer = page(self)
                    if answer is None:
                        return
                    status, headers, body = answer
                elif page is not None:
                    status, headers, body = 200, {}, page
                exporter.answer(self, status, headers, body)

            def log_message(self, *args):
                pass

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass  # A killed server breaks its connections; that is what some tests are about.

        self.listener = Listener(("127.0.0.1", 0), Handler)
        self.port = self.listener.server_address[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @staticmethod
    def answer(handler, status, headers, body):
        if isinstance(body, str):
            body = body.encode()
        headers = dict(headers)
        headers.setdefault("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        handler.send_response(status)
        for name, text in headers.items():
            if text is not None:
                handler.send_header(name, text)
        if "Content-Length" not in headers:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


def gzipped(text):
    return gzip.compress(text.encode())


def same_value(a, b, relative=1e-9):
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or math.isclose(a, b, rel_tol=relative, abs_tol=1e-12)


# ---- running ----

def check_sanitizers():
    """With a server built with sanitizers, their words in its log are a failure."""
    for process in processes:
        for line in process.log().splitlines() if os.path.exists(process.log_path) else ():
            if "runtime error: " in line or "Sanitizer:" in line or "ENSURE" in line:
                raise AssertionError(f"{process.name}: {line}")


def main(names):
    """Runs the test_* functions of a file, or those named on the command line, in their order."""
    tests = [(n, f) for n, f in names.items() if n.startswith("test_") and callable(f)]
    if len(sys.argv) > 1:
        tests = [(n, f) for n, f in tests if n in sys.argv[1:]]
    failed = 0
    for name, function in tests:
        start = time.monotonic()
        first_process = len(processes)
        try:
            function()
            check_sanitizers()
            print(f"{name}: ok ({time.monotonic() - start:.1f} s)", flush=True)
        except (Exception, SystemExit):  # The others still run.
            failed += 1
            print(f"{name}: FAILED", flush=True)
            traceback.print_exc(file=sys.stdout)
            for process in processes[first_process:] or processes:
                code = process.child.poll() if process.child else None
                print(f"--- log of {process.name} (exit code {code}):\n{process.log()[-4000:]}", flush=True)
        for process in processes[first_process:]:
            if not process.lasts:
                process.kill()
    if failed:
        print(f"{failed} of {len(tests)} failed")
        sys.exit(1)
    print("ok")
