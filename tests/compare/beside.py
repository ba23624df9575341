"""A Prometheus of the version that we follow, and Narthex, on the same configuration.

The programs of this folder are for people, not for `make test`: they need a Prometheus 3.14 (PROMETHEUS=/path/to/prometheus),
which Debian does not have. `make compare PROMETHEUS=...` runs them all; each prints what differs.
"""
import http.client
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402

FEATURES = ["promql-experimental-functions", "promql-binop-fill-modifiers", "promql-extended-range-selectors", "exemplar-storage"]
ARGS = ["--storage.tsdb.retention.time=100y", "--web.enable-admin-api", "--enable-feature=" + ",".join(FEATURES)]
UNEQUAL_HEADERS = {"date", "content-length", "connection", "keep-alive", "transfer-encoding", "vary"}


def start(config=""):
    """(prometheus, narthex)"""
    program = os.environ.get("PROMETHEUS", "")
    if not os.path.exists(program):
        sys.exit("set PROMETHEUS to a Prometheus 3.14")
    home = harness.new_folder("prometheus")
    port = harness.free_port()
    path = harness.write_file(os.path.join(home, "prometheus.yml"), config)
    argv = [program, "--config.file=" + path, "--storage.tsdb.path=" + os.path.join(home, "data"),
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver", "--web.enable-lifecycle",
            "--log.level=error", *ARGS]
    theirs = harness.Prometheus("prometheus", port, argv, "/-/ready", cwd=home).start()
    theirs.home = home
    return theirs, harness.Server(config, args=ARGS)


class Connection:
    """Requests as raw as can be: (status, headers, text)."""

    def __init__(self, server):
        self.server = server

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        text = reply.read().decode("utf-8", "replace")
        kept = {k.lower(): v for k, v in reply.getheaders() if k.lower() not in UNEQUAL_HEADERS}
        connection.close()
        return reply.status, kept, self.plain(text)

    def plain(self, text):
        """Without what two runs never share."""
        text = text.replace(str(self.server.port), "PORT").replace(self.server.home, "HOME")
        text = re.sub(r'"(lastScrape|startTime|serverTime|lastConfigTime)":"[^"]*"', r'"\1":"T"', text)
        return re.sub(r'"lastScrapeDuration":[0-9.e-]+', '"lastScrapeDuration":D', text)


def ordered(value):
    """JSON without the order of its arrays and objects."""
    if isinstance(value, list):
        return sorted((ordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, dict):
        return {key: ordered(item) for key, item in value.items()}
    return value
