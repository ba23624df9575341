"""What one query may take, and what others see of it: samples, bytes, points, time, a place in the queue.

Each limit answers with Prometheus' status, errorType and text, and nobody else waits for it.
"""
import re
import socket
import threading
import time

import harness
from harness import Server, wait_for

SAMPLES = 400
BEGIN_S = 1_700_000_000
END_S = BEGIN_S + SAMPLES * 15
# Takes longer than any deadline here: each of 172,800 windows has to be gone through from its begin, 172,800 points each.
SLOW = "sum_over_time(double_exponential_smoothing(vector(time())[2d:1s], 0.5, 0.5)[2d:1s])"
FEATURE = "--enable-feature=promql-experimental-functions"


def fill(server, series=10):
    rows = [({"__name__": "m", "n": str(i)}, [((BEGIN_S + k * 15) * 1000, float(k * i % 17)) for k in range(1, SAMPLES)])
            for i in range(series)]
    assert server.write(rows).status == 204


def ask(server, query, **parameters):
    return server.post("/api/v1/query", dict({"query": query, "time": END_S - 3}, **parameters), timeout=120)


def ask_range(server, query, seconds, step=15):
    return server.post("/api/v1/query_range", {"query": query, "start": END_S - 3 - seconds, "end": END_S - 3,
                                               "step": step}, timeout=60)


def assert_error(reply, status, kind, text):
    assert reply.status == status, reply
    answer = reply.json
    assert (answer["status"], answer["errorType"], answer["error"]) == ("error", kind, text), answer


def metric(server, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", server.get("/metrics").text, re.M)
    assert found, name
    return float(found.group(1))


def start_slow(server, query=SLOW):
    """A connection on which a slow query has been asked; closing it is what a client does that goes away."""
    s = socket.create_connection(("127.0.0.1", server.port))
    body = harness.encode_query({"query": query, "time": END_S})
    s.sendall(f"GET /api/v1/query?{body} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return s


def in_background(function):
    """Runs it on a thread; the list gets its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    return thread, results


def test_samples__as_many_as_prometheus_counts_and_not_one_more():
    text = "query processing would load too many samples into memory in query execution"
    # How many each holds at its worst, by the rules of the engine: 10 series; ranges of 20 samples, one series at a time.
    peaks = [("m", None, 10), ("m + 1", None, 32), ("m + m", None, 50), ("m and m", None, 50), ("time()", None, 1),
             ("m", 150, 110), ("m + m", 150, 350), ("m or m", 150, 350), ("-m", 150, 110), ("1", 150, 11)]
    server = Server()
    fill(server)
    for query, seconds, peak in peaks:
        reply = ask_range(server, query, seconds) if seconds else ask(server, query, stats="true")
        assert reply.status == 200, reply
        if not seconds:
            assert reply.json["data"]["stats"]["samples"]["peakSamples"] == peak, (query, reply)
    server.stop()
    for limit in sorted({peak for _, _, peak in peaks}):
        server.argv = [a for a in server.argv if "max-samples" not in a] + [f"--query.max-samples={limit}"]
        server.start()
        for query, seconds, peak in peaks:
            reply = ask_range(server, query, seconds) if seconds else ask(server, query)
            if peak <= limit:
                assert reply.status == 200, (query, limit, reply)
            else:
                assert_error(reply, 422, "execution", text)
        server.stop()


def test_bytes__a_query_has_a_budget_of_its_own():
    server = Server(args=["--query.max-bytes=1MB"])
    fill(server, 100)
    text = "query processing would use more than 1048576 bytes of memory in query execution"
    assert_error(ask_range(server, "m + m", 5400, 1), 422, "execution", text)
    assert_error(ask(server, "m[2h:1s]"), 422, "execution", text)
    assert ask(server, "sum(m)").status == 200
    # Reading much is not holding much.
    assert ask(server, "sum(sum_over_time(m[2h]))").status == 200


def test_points__eleven_thousand_for_each_series():
    server = Server()
    fill(server, 1)
    text = ("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution "
            "(?step=XX)")
    assert_error(ask_range(server, "m", 11001, 1), 400, "bad_data", text)
    assert_error(ask_range(server, "m", 11000.5, 0.5), 400, "bad_data", text)
    # The division is one of whole numbers: 11,001 points pass.
    for seconds in (11000, 11000.5):
        reply = ask_range(server, "time()", seconds, 1)
        assert reply.status == 200 and len(reply.json["data"]["result"][0]["values"]) == 11001, reply


def test_time__the_flag_and_the_callers_own():
    server = Server(args=[FEATURE, "--query.timeout=700ms"])
    fill(server)
    for parameters in ({}, {"timeout": "200ms"}, {"timeout": "1h"}):
        begin = time.monotonic()
        assert_error(ask(server, SLOW, **parameters), 503, "timeout", "query timed out in expression evaluation")
        assert time.monotonic() - begin < 30
    assert ask(server, "count(m)").status == 200


def test_queue__a_query_waits_for_its_turn_and_no_longer_than_it_may():
    server = Server(args=[FEATURE, "--query.max-concurrency=1", "--query.timeout=1h"])
    fill(server)
    slow = start_slow(server)
    wait_for("the slow one to run", lambda: metric(server, "prometheus_engine_queries") == 1)
    assert metric(server, "prometheus_engine_queries_concurrent_max") == 1
    assert_error(ask(server, "count(m)", timeout="300ms"), 400, "bad_data", 'invalid parameter "query": context deadline exceeded')
    # What is no query does not stand in the queue.
    assert server.get("/-/healthy").status == 200
    assert server.data("/api/v1/labels")
    assert server.get("/api/v1/format_query", {"query": "sum(m)by(a)"}).json["data"] == "sum by (a) (m)"
    assert server.write([({"__name__": "more"}, [(END_S * 1000, 1.0)])]).status == 204
    # One that waits runs when the one before it has lost its client.
    thread, results = in_background(lambda: ask(server, "count(m)"))
    time.sleep(0.3)
    assert thread.is_alive() and not results
    slow.close()
    thread.join(120)
    assert results and results[0].status == 200, results


def test_client_gone__ends_its_query_where_it_stands():
    server = Server(args=[FEATURE, "--query.max-concurrency=2", "--query.timeout=1h"])
    fill(server)
    running = [start_slow(server) for _ in range(2)]
    wait_for("both to run", lambda: metric(server, "prometheus_engine_queries") == 2)
    waiting = [start_slow(server, q) for q in (SLOW, "m" + " or m" * 100)]
    for s in waiting:  # They have not begun, not even to be parsed.
        s.close()
    thread, results = in_background(lambda: ask(server, "count(m)"))
    time.sleep(0.3)
    assert not results, "two places are taken"
    for s in running:
        s.close()
    thread.join(120)
    assert results and results[0].status == 200, results
    wait_for("all to have ended", lambda: metric(server, "prometheus_engine_queries") == 0)


def test_shutdown__cancels_what_runs_and_what_waits():
    server = Server(args=[FEATURE, "--query.max-concurrency=1", "--query.timeout=1h"])
    fill(server)
    first = in_background(lambda: ask(server, SLOW))
    wait_for("the slow one to run", lambda: metric(server, "prometheus_engine_queries") == 1)
    second = in_background(lambda: ask(server, SLOW))
    time.sleep(0.3)
    assert server.stop(60) == 0
    for thread, results in (first, second):
        thread.join(30)
        # 499 with a text, unless the connection went first.
        assert not results or results[0].status in (499, 503), results


def test_others__are_answered_while_slow_ones_run():
    server = Server(args=[FEATURE, "--query.max-concurrency=4", "--query.timeout=1h"])
    fill(server)
    slow = [start_slow(server) for _ in range(2)]
    wait_for("them to run", lambda: metric(server, "prometheus_engine_queries") == 2)
    for _ in range(20):
        assert server.get("/-/ready").status == 200
        assert server.value("count(m)", END_S - 3) == 10
    for s in slow:
        s.close()


if __name__ == "__main__":
    harness.main(globals())
