"""Limits: new series are refused while old ones go on, and whoever looks finds out why: errors, log, metrics."""
import re
import time

import harness
from harness import Exporter, Server, wait_for

CONFIG = """
scrape_configs:
- job_name: pages
  scrape_interval: 1s
  scrape_timeout: 1s
  static_configs:
  - targets: ['127.0.0.1:%d']
"""


def metric(server, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", server.get("/metrics").text, re.M)
    return float(found.group(1)) if found else None


def refused(server, reason):
    return metric(server, f'narthex_storage_series_refused_total{{reason="{reason}"}}')


def row(count, at_ms, **labels):
    return [({"__name__": "m", "n": str(i), "instance": "i", **labels}, [(at_ms, 1.0)]) for i in range(count)]


def test_series_limit__a_scrape_goes_on_without_the_new_series():
    pages = {"/metrics": "".join(f"a{{n=\"{i}\"}} 1\n" for i in range(10))}
    exporter = Exporter(pages)
    server = Server(CONFIG % exporter.port, args=["--storage.narthex.series-limit=25"])
    wait_for("the first scrape", lambda: server.value("count(a)") == 10)
    exporter.pages["/metrics"] = "".join(f"a{{n=\"{i}\"}} 2\n" for i in range(100))
    wait_for("series to be refused", lambda: refused(server, "series_limit") > 0)
    wait_for("the old ones to go on", lambda: server.value("min(a{n=~'[0-9]'})") == 2)
    assert server.value("up") == 1, "a scrape must not fail for series that are refused"
    assert server.value("count(a)") < 100
    assert metric(server, "prometheus_tsdb_head_series") <= 25
    assert server.targets()[0]["health"] == "up"
    lines = [line for line in server.log().splitlines() if "New series are refused" in line]
    assert len(lines) == 1, "said once a minute, not for every scrape"
    assert "reason=series_limit" in lines[0] and "largest_job=pages" in lines[0] and "largest_label=n " in lines[0]
    assert metric(server, 'narthex_storage_refused_largest_job_series{job="pages"}') > 10
    assert metric(server, 'narthex_storage_refused_largest_label_values{name="n"}') > 10


def test_job_series_limit__other_jobs_go_on():
    server = Server(args=["--storage.narthex.job-series-limit=5"])
    now = int(time.time() * 1000)
    assert server.write(row(5, now, job="large")).status == 204
    reply = server.write(row(9, now + 1000, job="large"))
    assert reply.status == 400 and 'job "large" has reached its series limit of 5' in reply.text, reply
    assert "and 3 more new series" in reply.text, reply
    assert server.value('timestamp(m{job="large",n="4"})', now / 1000 + 2) == (now + 1000) / 1000, "the rest is stored"
    assert server.write(row(5, now + 2000, job="small")).status == 204
    assert server.write(row(5, now + 3000, job="large")).status == 204, "old series of the job go on"
    assert server.value('count(m{job="large"})', now / 1000 + 5) == 5
    assert server.value('count(m{job="small"})', now / 1000 + 5) == 5
    assert refused(server, "job_series_limit") >= 1
    server.stop()
    server.start()
    reply = server.write([({"__name__": "m", "n": "new", "instance": "i", "job": "large"}, [(now + 4000, 1.0)])])
    assert reply.status >= 400, "series are counted after a restart, too"


def test_memory_budget__refuses_new_series_and_queries_and_stays_up():
    server = Server()
    now = int(time.time() * 1000)
    assert metric(server, "narthex_storage_memory_budget_bytes") > 0, "there is one by default"
    assert metric(server, "narthex_storage_memory_refusing") == 0
    assert metric(server, "narthex_process_resident_anonymous_bytes") > 0
    assert metric(server, "narthex_process_resident_file_bytes") > 0
    assert metric(server, "narthex_process_resident_shared_bytes") is not None
    assert server.write(row(20, now)).status == 204
    server.stop()
    server.argv.append("--storage.memory-budget=100KB")
    server.start()
    wait_for("the budget to be used up", lambda: metric(server, "narthex_storage_memory_refusing") == 1)
    assert metric(server, "narthex_storage_memory_budget_bytes") == 102400
    assert server.write(row(20, now + 1000)).status == 204, "old series go on"
    reply = server.write(row(21, now + 2000))
    assert reply.status == 400 and "memory budget" in reply.text, reply
    assert refused(server, "memory_budget") >= 1
    reply = server.get("/api/v1/query", {"query": "count(m)"})
    assert reply.status == 503 and "memory budget is used up" in reply.json["error"], reply
    assert "The memory budget is used up" in server.log()
    assert server.get("/-/healthy").status == 200


def test_memory_budget__may_be_switched_off():
    server = Server(args=["--storage.memory-budget=0"])
    assert metric(server, "narthex_storage_memory_budget_bytes") == 0
    assert server.write(row(20, int(time.time() * 1000))).status == 204


if __name__ == "__main__":
    harness.main(globals())
