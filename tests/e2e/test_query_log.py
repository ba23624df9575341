"""query_log_file: a JSON line for each query, turned on, off and to another file by reloads; what is said of a file that cannot
be opened. Beside Prometheus 2.42, whose lines lack level, source and msg."""
import json
import os
import time

import harness
from harness import Server, wait_for


def config(path):
    return f"global: {{query_log_file: {path}}}\n" if path else "global: {}\n"


def lines(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def reload(server, text):
    server.set_config(text)
    return server.post("/-/reload")


def metric(server, name):
    for line in server.get("/metrics").text.split("\n"):
        if line.startswith(name + " "):
            return float(line.split(" ")[1])
    return None


def test_query_log__has_a_line_for_each_query():
    folder = harness.new_folder("query-log")
    path = os.path.join(folder, "q.log")
    server = Server(config(path))
    assert metric(server, "prometheus_engine_query_log_enabled") == 1
    assert server.get("/api/v1/query", {"query": "vector(1) + 1", "time": 1.5}).status == 200
    assert server.get("/api/v1/query_range", {"query": '"<&>"', "start": 0, "end": 60, "step": 15}).status == 400
    assert server.post("/api/v1/query_range", {"query": "vector(2)", "start": 0, "end": 60, "step": 15}).status == 200
    assert server.get("/api/v1/query", {"query": "vector(", "time": 1}).status == 400
    failing = """label_replace(vector(1), "a", "$1", "b", "(")"""
    assert server.get("/api/v1/query", {"query": failing, "time": 1}).status == 422
    there = wait_for("lines", lambda: len(lines(path)) >= 3 and lines(path))
    first, second, third = there
    assert list(first) == ["time", "level", "source", "msg", "params", "stats", "spanID", "traceID", "httpRequest"], first
    assert (first["level"], first["msg"]) == ("INFO", "promql query logged")
    assert first["params"] == {"query": "vector(1) + 1", "start": "1970-01-01T00:00:01.500Z", "end": "1970-01-01T00:00:01.500Z", "step": 0}
    assert first["httpRequest"] == {"clientIP": "127.0.0.1", "method": "GET", "path": "/api/v1/query"}
    assert list(first["stats"]["timings"]) == ["evalTotalTime", "resultSortTime", "queryPreparationTime", "innerEvalTime",
                                               "execQueueTime", "execTotalTime"]
    assert list(first["stats"]["samples"]) == ["totalQueryableSamples", "samplesRead", "peakSamples"]
    assert second["params"] == {"query": "vector(2)", "start": "1970-01-01T00:00:00.000Z", "end": "1970-01-01T00:01:00.000Z", "step": 15}
    assert second["httpRequest"] == {"clientIP": "127.0.0.1", "method": "POST", "path": "/api/v1/query_range"}
    assert third["params"]["query"] == failing
    assert metric(server, "prometheus_engine_query_log_failures_total") == 0
    assert "query_log_file" not in server.log(), server.log()  # Nothing of "not active".


def test_query_log__follows_reloads():
    folder = harness.new_folder("query-log")
    first, second = os.path.join(folder, "a.log"), os.path.join(folder, "b.log")
    server = Server("")
    assert metric(server, "prometheus_engine_query_log_enabled") == 0
    assert reload(server, config(first)).status == 200
    server.value("vector(1)")
    wait_for("a line", lambda: len(lines(first)) == 1)
    os.rename(first, first + ".1")  # Rotated: a reload opens it anew.
    assert reload(server, config(first)).status == 200
    server.value("vector(1)")
    wait_for("a line in the new file", lambda: len(lines(first)) == 1)
    missing = os.path.join(folder, "none", "q.log")
    reply = reload(server, config(missing))
    what = f'one or more errors occurred while applying the new configuration (--config.file="{server.config_path}")'
    assert (reply.status, reply.text) == (500, f"failed to reload config: {what}\n"), reply
    assert f"can't create json log file: open {missing}: no such file or directory" in server.log()
    assert metric(server, "prometheus_config_last_reload_successful") == 0
    server.value("vector(1)")
    wait_for("the old file goes on", lambda: len(lines(first)) == 2)
    assert reload(server, config(second)).status == 200
    assert metric(server, "prometheus_config_last_reload_successful") == 1
    for _ in range(50):
        server.value("vector(1)")
    assert reload(server, config("")).status == 200
    assert metric(server, "prometheus_engine_query_log_enabled") == 0
    server.value("vector(1)")
    wait_for("all lines", lambda: len(lines(second)) == 50)
    assert reload(server, config(second)).status == 200
    server.value("vector(1)")
    server.stop()
    assert len(lines(second)) == 51  # What was pending at the end is there.
    assert len(lines(first)) == 2 and len(lines(first + ".1")) == 1


def test_query_log__that_cannot_be_opened_ends_the_start():
    folder = harness.new_folder("query-log")
    missing = os.path.join(folder, "none", "q.log")
    server = Server(config(missing), ready=False)
    assert server.spawn().exit_code() == 1
    assert f"can't create json log file: open {missing}: no such file or directory" in server.log()
    assert "error loading config from" in server.log() and "Fatal error" in server.log(), server.log()


def test_differential__has_the_fields_of_prometheus():
    folder = harness.new_folder("query-log")
    ours, theirs = os.path.join(folder, "ours.log"), os.path.join(folder, "theirs.log")
    server, other = Server(config(ours)), harness.start_prometheus(config(theirs))
    now = int(time.time())
    for one in (server, other):
        one.get("/api/v1/query", {"query": 'up{a="<é>"}', "time": now + 0.25})
        one.post("/api/v1/query_range", {"query": "sum(up)", "start": now - 60, "end": now, "step": "2.5"})
        one.get("/api/v1/query", {"query": "up +", "time": now})
    wait_for("the lines", lambda: len(lines(ours)) >= 2 and len(lines(theirs)) >= 2)
    for mine, peer in zip(lines(ours), lines(theirs)):
        assert mine["params"] == peer["params"] and mine["httpRequest"] == peer["httpRequest"], (mine, peer)
        assert mine["stats"]["timings"].keys() == peer["stats"]["timings"].keys(), (mine, peer)
        assert not peer["stats"]["samples"].keys() - mine["stats"]["samples"].keys(), (mine, peer)
    assert len(lines(ours)) == len(lines(theirs)) == 2


if __name__ == "__main__":
    harness.main(globals())
