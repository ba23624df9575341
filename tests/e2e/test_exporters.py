"""The real neighbours: redis-server with prometheus-redis-exporter, prometheus-node-exporter, our own /metrics, and the
answers read back with Debian's promtool and with ours."""
import os
import re

import harness

CONFIG = """
global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: narthex
    static_configs: [{{targets: ["127.0.0.1:{own}"]}}]
  - job_name: redis-exporter
    static_configs: [{{targets: ["127.0.0.1:{redis}"]}}]
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{node}"]}}]
  - job_name: redis
    metrics_path: /scrape
    params:
      target: ["redis://127.0.0.1:{server}"]
    static_configs: [{{targets: ["127.0.0.1:{redis}"], labels: {{instance: redis}}}}]
"""
KEYS = 'redis_db_keys{db="db0",job="redis"}'

redis = harness.start_redis()
redis_exporter = harness.start_redis_exporter(redis.port)
node_exporter = harness.start_node_exporter()
own_port = harness.free_port()
server = harness.Server(CONFIG.format(own=own_port, redis=redis_exporter.port, node=node_exporter.port,
                                      server=redis.port), port=own_port)


def set_keys(prefix, count):
    for i in range(count):
        assert harness.redis_call(redis.port, "SET", f"{prefix}:{i}", "x") == "+OK"


def promtool_value(program, query):
    """The number that `promtool query instant` prints for a vector of one element."""
    code, out, err = harness.run_command([program, "query", "instant", f"http://127.0.0.1:{server.port}", query])
    assert code == 0, (program, code, out, err)
    found = re.findall(r"^\{?.*=> (\S+) @\[([0-9.]+)\]$", out, re.M)
    assert len(found) == 1, f"{program}: {out!r} {err!r}"
    return float(found[0][0])


def test_keys__are_counted_by_both_promtools():
    programs = [harness.peer_path("prometheus", "promtool"), harness.link_beside_narthex("promtool")]
    set_keys("first", 37)
    harness.wait_for("37 keys", lambda: server.value(KEYS) == 37)
    for program in programs:
        assert promtool_value(program, KEYS) == 37, program
    set_keys("second", 64)
    harness.wait_for("101 keys", lambda: server.value(KEYS) == 101)
    for program in programs:
        assert promtool_value(program, KEYS) == 101, program
    harness.redis_call(redis.port, "FLUSHALL")
    # An empty database is left out of the exporter's INFO keyspace lines, and shows as 0 or as a vanished series.
    harness.wait_for("no keys", lambda: server.value(KEYS) in (0, None))
    set_keys("third", 5)
    harness.wait_for("5 keys", lambda: server.value(KEYS) == 5)


def test_up__is_one_for_all_jobs():
    def all_up():
        found = {labels["job"]: value[1] for labels, value in server.instant("up")}
        return found == {"narthex": "1", "redis-exporter": "1", "node": "1", "redis": "1"}

    harness.wait_for("up of all four jobs", all_up)
    assert {t["health"] for t in server.targets()} == {"up"}
    assert all(t["lastError"] == "" for t in server.targets())


def test_own_metrics__give_rates():
    def rates():
        found = server.instant("rate(prometheus_http_requests_total[1m])")
        return any(float(value[1]) > 0 for _, value in found)

    harness.wait_for("a request rate", rates)
    assert server.value("prometheus_tsdb_head_series") > 100
    assert server.value('count({__name__=~".+", job="node"})') > 100


def test_node_exporter__is_stored_as_it_is_served():
    """All families of a real exporter: what is served is what is stored, name by name."""
    served = set()
    for line in node_exporter.get("/metrics").text.splitlines():
        if line and not line.startswith("#"):
            served.add(re.match(r"[a-zA-Z_:][a-zA-Z0-9_:]*", line).group(0))
    stored = set(server.data("/api/v1/label/__name__/values", {"match[]": '{job="node"}'}))
    assert served - stored == set(), sorted(served - stored)
    boot = server.value("node_boot_time_seconds")
    line = re.search(r"^node_boot_time_seconds (\S+)$", node_exporter.get("/metrics").text, re.M)
    assert boot == float(line.group(1))
    kinds = server.data("/api/v1/metadata", {"metric": "node_cpu_seconds_total"})
    assert kinds["node_cpu_seconds_total"][0]["type"] == "counter", kinds


def test_stop__is_clean():
    assert server.stop(5) == 0
    assert not os.path.exists(os.path.join(server.home, "core"))


if __name__ == "__main__":
    harness.main(globals())
