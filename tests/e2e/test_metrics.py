"""/metrics beside the names, types and labels that Prometheus 3.14 has (tests/golden/metrics), and what dashboards divide."""
import fnmatch
import os
import re
import socket

import harness
from harness import Server, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden", "metrics", "prometheus-3.14.txt")
ROWS = os.path.join(HERE, "..", "..", "src", "api", "metrics.def")
SUFFIXES = ("_bucket", "_sum", "_count")


def families(text):
    """name -> (type, labels)"""
    types, labels = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            types[name] = kind
        elif not line.startswith("#"):
            name, _, rest = line.rpartition(" ")[0].partition("{")
            name = next((name[:-len(s)] for s in SUFFIXES if name.endswith(s) and name[:-len(s)] in types), name)
            labels.setdefault(name, set()).update(set(re.findall(r'([a-z_]+)="', rest)) - {"le", "quantile"})
    return {name: (kind, labels.get(name, set())) for name, kind in types.items()}


def start():
    folder = harness.new_folder("sd")
    files = harness.write_file(os.path.join(folder, "a.json"), '[{"targets": ["127.0.0.1:1"]}]')
    with open(GOLDEN, encoding="utf-8") as file:
        golden = [line.split() for line in file if not line.startswith("#")]
    port = harness.free_port()
    server = Server(f"""
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: self
  target_limit: 7
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
- job_name: files
  scrape_interval: 90s
  file_sd_configs: [{{files: [{files}]}}]
- job_name: http
  http_sd_configs: [{{url: "http://127.0.0.1:1/"}}]
- job_name: dns
  dns_sd_configs: [{{names: [no.such.invalid], type: A, port: 1}}]
""", port=port)
    return server, golden, files


def test_metrics__are_those_of_prometheus():
    server, golden, files = start()
    with open(ROWS, encoding="utf-8") as file:
        absent = re.findall(r'\bABSENT\("([^"]+)"', file.read())
    server.instant("up")
    wait_for("an interval", lambda: "prometheus_target_interval_length_seconds_count{" in server.get("/metrics").text, 60)
    text = wait_for("a refresh", lambda: re.search(r'refresh_failures_total\{config="http",mechanism="http"\} [1-9]', server.get("/metrics").text)
                    and server.get("/metrics").text, 60)
    ours = families(text)
    missing, unequal = [], []
    for name, kind, *labels in golden:
        if name not in ours:
            missing += [name] * (not any(fnmatch.fnmatchcase(name, pattern) for pattern in absent))
        elif ours[name] != (kind, set(labels[0].split(",")) if labels else set()):
            unequal.append((name, kind, labels, ours[name]))
    assert not missing and not unequal, (missing, unequal)
    known = {name for name, *_ in golden} | {"prometheus_engine_queries_total"}
    assert not [name for name in ours if name not in known and not name.startswith("narthex_")]
    for pattern in absent:
        assert pattern == "go_*" or any(fnmatch.fnmatchcase(name, pattern) and name not in ours for name in known), pattern
    for line in ('prometheus_target_scrape_pool_target_limit{scrape_job="self"} 7', 'prometheus_target_scrape_pool_targets{scrape_job="files"} 1',
                 'prometheus_target_interval_length_seconds{interval="1s",quantile="0.99"} ',
                 'prometheus_target_sync_length_seconds_count{scrape_job="self"} 1', 'prometheus_sd_file_mtime_seconds{filename="' + files + '"} 1',
                 'prometheus_target_scrape_pool_sync_total{scrape_job="self"} 1', 'promhttp_metric_handler_requests_in_flight 1'):
        assert "\n" + line in text, line
    assert server.stop(10) == 0


def test_metrics__of_the_mixin_can_be_asked():
    """Expressions of the mixin's dashboards over what the server scraped from itself."""
    server, _, _ = start()
    for expression in ("sum(rate(prometheus_target_sync_length_seconds_sum[5m])) by (scrape_job) * 1e3",
                       "rate(prometheus_target_interval_length_seconds_sum[5m]) / rate(prometheus_target_interval_length_seconds_count[5m])",
                       "max by (slice) (prometheus_engine_query_duration_seconds{quantile='0.9'}) * 1e3 or vector(0)",
                       "sum(prometheus_sd_discovered_targets)", "rate(prometheus_tsdb_head_samples_appended_total[5m])"):
        wait_for(expression, lambda: server.instant(expression), 60)
    assert server.stop(10) == 0


def test_metrics__count_connections_of_jobs():
    """What becomes of connections, by job: with and without TLS, which go different ways."""
    exporter, closed = harness.Exporter({"/metrics": "up_to_date 1\n"}), harness.free_port()
    hole = socket.socket()
    hole.bind(("127.0.0.1", 0))
    hole.listen(0)
    knocks = [socket.socket() for _ in range(4)]  # The queue is full: later ones are not answered.
    for knock in knocks:
        knock.setblocking(False)
        knock.connect_ex(hole.getsockname())
    places = {"good": exporter.port, "refused": closed, "hole": hole.getsockname()[1]}
    targets = [(job, "http", f"127.0.0.1:{port}") for job, port in places.items()]
    targets += [(job + "_tls", "https", f"127.0.0.1:{port}") for job, port in places.items()]
    targets += [("nohost", "http", "no.such.host.invalid:1"), ("nohost_tls", "https", "no.such.host.invalid:1")]
    server = Server("global: {scrape_interval: 1s, scrape_timeout: 500ms}\nscrape_configs:\n" + "".join(
        f"- job_name: {job}\n  scheme: {scheme}\n  static_configs: [{{targets: ['{address}']}}]\n"
        for job, scheme, address in targets))

    def figures(job):
        found = re.findall(r'net_conntrack_dialer_conn_([a-z]+)_total\{dialer_name="' + job + r'"(?:,reason="([a-z]+)")?\} (\S+)',
                           server.get("/metrics").text)
        return {reason or what: float(value) for what, reason, value in found}

    def settled(job):
        now = figures(job)
        return now["attempted"] >= 3 and now

    zeros = dict.fromkeys(("attempted", "closed", "established", "refused", "resolution", "timeout", "unknown"), 0)
    assert figures("default") == zeros
    wait_for("a scrape", lambda: figures("good")["established"] == 1)
    for job in ("", "_tls"):
        now = wait_for("refused" + job, lambda j=job: settled("refused" + j))
        assert now["refused"] == now["unknown"] and 0 <= now["attempted"] - now["refused"] <= 1, now
        assert now["established"] == now["closed"] == now["timeout"] == 0, now
        now = wait_for("nohost" + job, lambda j=job: settled("nohost" + j))
        assert 0 <= now["attempted"] - now["resolution"] <= 1 and now["unknown"] == now["established"] == 0, now
        now = wait_for("hole" + job, lambda j=job: settled("hole" + j))
        assert 0 <= now["attempted"] - now["timeout"] <= 1 and now["established"] == 0, now
    now = wait_for("no TLS there", lambda: settled("good_tls"))
    assert now["established"] == now["closed"] and 0 <= now["attempted"] - now["closed"] <= 1 and now["unknown"] == 0, now
    assert figures("good") == dict(zeros, attempted=1, established=1), "kept"
    server.set_config("scrape_configs: []\n")
    assert server.post("/-/reload").status == 200 and figures("good")["attempted"] == 1, "counters do not go"
    for knock in knocks:
        knock.close()
    hole.close()


if __name__ == "__main__":
    harness.main(globals())
