"""OpenMetrics over the wire: what is asked for, what is stored of it, what fails, and a target that changes its format."""
import time

import harness
from harness import Exporter, Server, wait_for

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

BODY = """# HELP http_requests Requests, "all" of them.
# TYPE http_requests counter
http_requests_total{code="200"} 1027 # {trace_id="abc"} 1
http_requests_created{code="200"} 1520430000.123
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
# HELP wait_seconds How long.
wait_seconds_bucket{le="1"} 3 # {trace_id="KOO5S4vxi0o"} 0.67 1520879607.789
wait_seconds_bucket{le="+Inf"} 4
wait_seconds_count 4
wait_seconds_sum 5.5
# TYPE build info
build_info{version="1.2"} 1
# TYPE feature stateset
feature{feature="a"} 1
feature{feature="bb"} 0
{"with.dots","l.x"="y"} 7
# EOF
"""


def config(address, job_lines=""):
    return f"""
global:
  scrape_interval: 250ms
  scrape_timeout: 250ms
scrape_configs:
  - job_name: fake
{job_lines}
    static_configs:
      - targets: ["{address}"]
"""


class Target:
    """An exporter whose body and Content-Type may change while it is scraped."""

    def __init__(self, body, content_type=OPENMETRICS, job_lines="", args=()):
        self.body, self.content_type = body, content_type
        self.exporter = Exporter({"/metrics": self.page})
        self.server = Server(config(self.exporter.address, job_lines), args=args)

    def page(self, handler):
        return 200, {"Content-Type": self.content_type}, self.body

    def wait(self, health, error=None):
        def state():
            targets = self.server.targets()
            found = targets and targets[0]["health"] == health and error in (None, targets[0]["lastError"])
            return targets[0] if found else None

        return wait_for(f"target is {health}", state)


def test_openmetrics__is_asked_for():
    target = Target(BODY)
    target.wait("up")
    headers = {name.lower(): text for name, text in target.exporter.requests[0][1].items()}
    assert headers["accept"] == ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
                                 "application/openmetrics-text;version=0.0.1;q=0.5,"
                                 "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
                                 "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"), headers["accept"]


def test_openmetrics__is_stored():
    target = Target(BODY)
    server = target.server
    wait_for("sum", lambda: server.value("wait_seconds_sum") == 5.5)
    assert server.value('http_requests_total{code="200"}') == 1027
    assert server.value('http_requests_created{code="200"}') == 1520430000.123
    assert server.value('wait_seconds_bucket{le="1.0"}') == 3
    assert server.value('wait_seconds_bucket{le="+Inf"}') == 4
    assert server.value('build_info{version="1.2"}') == 1
    assert server.value('feature{feature="bb"}') == 0
    assert server.value('{"with.dots","l.x"="y"}') == 7
    assert server.value("scrape_samples_scraped") == 10
    metadata = server.data("/api/v1/metadata")
    assert metadata["wait_seconds"] == [{"type": "histogram", "help": "How long.", "unit": "seconds"}], metadata
    assert metadata["http_requests"] == [{"type": "counter", "help": 'Requests, "all" of them.', "unit": ""}], metadata
    assert metadata["build"][0]["type"] == "info" and metadata["feature"][0]["type"] == "stateset", metadata


def test_exemplars__survive_a_kill():
    target = Target(BODY, args=["--enable-feature=exemplar-storage"])

    def there():
        return target.server.data("/api/v1/query_exemplars", {"query": "wait_seconds_bucket", "start": 1520879607, "end": 1520879608})

    before = wait_for("an exemplar", there)
    assert before[0]["exemplars"][0]["labels"] == {"trace_id": "KOO5S4vxi0o"}, before
    time.sleep(1)
    target.server.set_config("scrape_configs: []\n")  # What is there after the restart was not scraped anew.
    target.server.kill()
    target.server.start()
    assert there() == before


def test_exemplars__are_counted_when_they_are_not_kept():
    target = Target(BODY)
    target.wait("up")

    def ignored():
        for line in target.server.get("/metrics").text.splitlines():
            if line.startswith('narthex_scrape_ignored_total{kind="exemplar"} '):
                return float(line.split(" ")[1])
        return 0

    wait_for("two exemplars a scrape", lambda: ignored() >= 4)
    assert ignored() % 2 == 0


def test_missing_eof__fails_the_scrape():
    target = Target(BODY)
    wait_for("sum", lambda: target.server.value("wait_seconds_sum") == 5.5)
    target.body = BODY.replace("# EOF\n", "")
    found = target.wait("down")
    assert found["lastError"].startswith("data does not end with # EOF"), found["lastError"]
    wait_for("stale", lambda: target.server.instant("wait_seconds_sum") == [])
    target.body = BODY
    target.wait("up", "")
    wait_for("back", lambda: target.server.value("wait_seconds_sum") == 5.5)


def test_format__may_change():
    target = Target("a{x=\"y\"} 1\nb 2\n", "text/plain; version=0.0.4")
    server = target.server
    wait_for("a", lambda: server.value("a") == 1)
    target.body, target.content_type = "a{x=\"y\"} 3\nb 4\n# EOF\n", OPENMETRICS
    wait_for("a as OpenMetrics", lambda: server.value("a") == 3)
    assert server.value("b") == 4 and server.value("up") == 1
    target.body, target.content_type = "a{x=\"y\"} 5\n", "text/plain"
    wait_for("a as text", lambda: server.value("a") == 5)
    assert server.instant("b") == []


def test_fallback__may_be_openmetrics():
    target = Target("a 1\n# EOF\n", None, "    fallback_scrape_protocol: OpenMetricsText1.0.0")
    wait_for("a", lambda: target.server.value("a") == 1)
    target.body = "a  1\n# EOF\n"
    found = target.wait("down")
    assert found["lastError"].startswith("expected value after metric, got"), found["lastError"]


if __name__ == "__main__":
    harness.main(globals())
