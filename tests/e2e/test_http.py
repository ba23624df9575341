"""HTTP as clients, proxies and strangers speak it, and the API's envelope."""
import gzip
import json
import socket
import time
import zlib

import harness
from harness import Server

server = Server("", args=["--web.read-timeout=2s", "--query.timeout=10s", "--query.max-samples=1000000"])
BASE = int(time.time()) - 600


def setup():
    series = [({"__name__": "h", "job": "j", "instance": f"i{i}", "my.dotted": "x"},
               [((BASE + k * 15) * 1000, i * 100 + k) for k in range(20)]) for i in range(10)]
    assert server.write(series).status == 204


def raw(request, seconds=5, half_close=False):
    """Sends bytes and reads until the server closes or falls silent for `seconds`."""
    out = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as s:
        s.sendall(request)
        if half_close:
            s.shutdown(socket.SHUT_WR)
        try:
            while True:
                piece = s.recv(65536)
                if not piece:
                    break
                out += piece
        except (TimeoutError, ConnectionResetError):
            pass
    return out


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else None


def test_query__answers_as_prometheus_does():
    reply = server.get("/api/v1/query", {"query": "1+1", "time": "4"})
    assert reply.status == 200
    assert reply.text.strip() == '{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}', reply
    assert reply.headers["Content-Type"] == "application/json"
    assert server.value("1+1", 4) == 2
    reply = server.get("/api/v1/query", {"query": "vector(1e21)", "time": "4.0625"})
    assert reply.json["data"]["result"] == [{"metric": {}, "value": [4.063, "1e+21"]}], reply
    reply = server.get("/api/v1/query", {"query": '"text \u00e4"', "time": "1970-01-01T00:00:05Z"})
    assert reply.json["data"] == {"resultType": "string", "result": [5, "text \u00e4"]}, reply
    found = server.range("1", 0, 30, 15)
    assert found == [({}, [[0, "1"], [15, "1"], [30, "1"]])], found


def test_post_forms__count_like_the_url():
    reply = server.post("/api/v1/query", {"query": "1+1", "time": "4"})
    assert reply.json["data"]["result"] == [4, "2"], reply
    # Values of the body come before those of the URL.
    reply = server.post("/api/v1/query?query=5&time=7", {"query": "3"})
    assert reply.json["data"]["result"] == [7, "3"], reply
    reply = server.post("/api/v1/query_range", {"query": "2", "start": "0", "end": "10", "step": "10"})
    assert reply.json["data"]["result"][0]["values"] == [[0, "2"], [10, "2"]], reply
    assert len(server.post("/api/v1/series", {"match[]": "h"}).json["data"]) == 10
    assert server.post("/api/v1/labels", {"match[]": "h"}).json["data"] == ["__name__", "instance", "job", "my.dotted"]


def test_errors__have_the_envelope():
    for path, status, kind, text in (
            ("/api/v1/query", 400, "bad_data", 'invalid parameter "query": '),
            ("/api/v1/query?query=sum(", 400, "bad_data", 'invalid parameter "query": 1:5: parse error: '),
            ("/api/v1/query?query=1&time=soon", 400, "bad_data",
             'invalid parameter "time": invalid time value for \'time\': cannot parse "soon" to a valid timestamp'),
            ("/api/v1/query?query=1&timeout=soon", 400, "bad_data",
             'invalid parameter "timeout": cannot parse "soon" to a valid duration'),
            ("/api/v1/query_range?query=1&start=0&end=10&step=0", 400, "bad_data",
             'invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a '
             'positive integer'),
            ("/api/v1/query_range?query=1&start=10&end=0&step=1", 400, "bad_data",
             'invalid parameter "end": end timestamp must not be before start time'),
            ("/api/v1/query_range?query=1&start=0&end=11001&step=1", 400, "bad_data",
             "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution "
             "(?step=XX)"),
            ("/api/v1/query_range?query=h[5m]&start=0&end=1&step=1", 400, "bad_data",
             'invalid parameter "query": invalid expression type "range vector" for range query, must be Scalar or '
             'instant Vector'),
            (f"/api/v1/query?query=h%2Bon(job)h&time={BASE + 60}", 422, "execution", "found duplicate series for the match group"),
            ("/api/v1/series", 400, "bad_data", "no match[] parameter provided"),
            ("/api/v1/series?match[]={x=%22%22}", 400, "bad_data",
             "match[] must contain at least one non-empty matcher"),
            ("/api/v1/label/a%20b%FF/values", 400, "bad_data", "invalid label name"),
            ("/api/v1/labels?limit=-1", 400, "bad_data", "limit must be non-negative"),
            ("/api/v1/query?query=sum(h)&limit=x", 400, "bad_data", 'invalid parameter "limit"')):
        reply = server.get(path)
        answer = reply.json
        assert (reply.status, answer["status"], answer["errorType"]) == (status, "error", kind), (path, reply)
        assert text in answer["error"], (path, answer["error"])
        assert reply.headers["Content-Type"] == "application/json"
    assert server.get("/api/v1/query_range?query=1&start=0&end=11000&step=1").status == 200


def test_unknown_path_and_method():
    assert server.get("/api/v1/nothing").status == 404
    assert server.get("/nothing").status == 404
    assert server.post("/api/v1/targets").status == 405
    assert http("DELETE", "/api/v1/query").status == 405
    assert server.get("/-/reload").status == 405
    assert http("BREW", "/api/v1/query").status in (400, 405, 501)
    assert server.get("/-/healthy").text == "Prometheus Server is Healthy.\n"
    assert server.get("/-/ready").text == "Prometheus Server is Ready.\n"
    assert server.get("/").status == 302 and server.get("/").headers["Location"] == "/query"


def http(method, path, body=None, headers=None):
    return harness.http_call(method, server.port, path, body, headers)


def test_head__is_get_without_a_body():
    whole = server.get("/-/healthy")
    head = http("HEAD", "/-/healthy")
    assert head.status == 200 and head.body == b""
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]
    answer = raw(b"HEAD /-/healthy HTTP/1.1\r\nHost: x\r\n\r\nGET /-/ready HTTP/1.1\r\nHost: x\r\n"
                 b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200") == 2 and answer.endswith(b"Prometheus Server is Ready.\n"), answer
    assert b"Healthy" not in answer


def test_pipelining__answers_in_order():
    count = 200
    requests = b"".join(b"GET /api/v1/query?query=%d&time=0 HTTP/1.1\r\nHost: x\r\n\r\n" % i for i in range(count))
    requests += b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = raw(requests)
    at = 0
    for i in range(count):
        found = answer.find(b'"result":[0,"%d"]' % i, at)
        assert found > 0, (i, answer[at:at + 300])
        at = found
    assert answer.endswith(b"Prometheus Server is Ready.\n")


def test_request__one_byte_at_a_time():
    body = b"query=1%2B1&time=4"
    request = (b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
               b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(request)):
            s.sendall(request[i:i + 1])
        answer = s.makefile("rb").read()
    assert status_of(answer) == 200 and b'[4,"2"]' in answer, answer


def test_chunked_request__is_read():
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (b"query=1", b"%2B1&ti", b"me=4")) + b"0\r\n\r\n"
    answer = raw(b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
                 b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + pieces)
    assert status_of(answer) == 200 and b'[4,"2"]' in answer, answer


def test_expect_continue__is_answered():
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as s:
        s.sendall(b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 14\r\n"
                  b"Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        s.sendall(b"query=7&time=1")
        assert b'[1,"7"]' in s.makefile("rb").read()


def test_nonsense__is_refused_and_the_server_lives():
    for request in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"GET\r\n\r\n", b"\x00" * 1000,
                    b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
                    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                    b"GET /api/v1/query?query=%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                    b"GET / HTTP/1.1\r\nbad header line\r\n\r\n"):
        answer = raw(request, 3)
        assert status_of(answer) in (None, 400, 501, 505), (request[:40], answer[:100])
    assert server.get("/-/healthy").status == 200


def test_oversize_head__is_431():
    answer = raw(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 200000 + b"\r\n\r\n")
    assert status_of(answer) in (431, 400, None), answer[:100]
    answer = raw(b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(answer) in (431, 414, 400, None), answer[:100]
    # A long query is nothing unusual.
    reply = server.get("/api/v1/query", {"query": "1" + "+1" * 500, "time": 0})
    assert reply.status == 200 and reply.json["data"]["result"][1] == "501", reply
    long_query = 'count({__name__="h",instance=~"' + "|".join(f"i{i}" for i in range(3000)) + '"})'
    assert len(long_query) > 10000
    assert server.value(long_query, BASE + 60) == 10


def test_oversize_body__is_413():
    answer = raw(b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc")
    assert status_of(answer) == 413, answer[:100]
    reply = http("POST", "/api/v1/query", b"query=1&time=4&x=" + b"a" * 5000000,
                 {"Content-Type": "application/x-www-form-urlencoded"})
    assert reply.status in (200, 413), reply
    assert server.get("/-/healthy").status == 200


def test_slow_client__is_let_go():
    """A client that never finishes its request does not keep its connection for ever."""
    start = time.monotonic()
    answer = raw(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nX-Slow: ", 15)
    assert status_of(answer) in (None, 408), answer
    assert 1 < time.monotonic() - start < 8
    start = time.monotonic()
    raw(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n", 15)  # Idle after an answer.
    assert 1 < time.monotonic() - start < 8
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as s:  # A drip does not count as progress.
        start = time.monotonic()
        try:
            for i in range(60):
                s.sendall(b"GET /"[i:i + 1] or b"a")
                time.sleep(0.2)
        except OSError:
            pass
        assert time.monotonic() - start < 10


def test_reader_that_does_not_read__does_not_stop_others():
    """Pipelined large answers that nobody reads: memory stays bounded and others are served."""
    stuck = []
    for _ in range(5):
        s = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        s.setblocking(False)
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 2000
        try:
            while request:
                request = request[s.send(request):]
        except BlockingIOError:
            pass
        stuck.append(s)
    for _ in range(20):
        assert server.get("/-/healthy", timeout=3).status == 200
    with open(f"/proc/{server.child.pid}/status", encoding="ascii") as f:
        anonymous_kb = next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))
    for s in stuck:
        s.close()
    assert anonymous_kb < 400_000, anonymous_kb


def test_many_connections__are_served():
    sockets = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(300)]
    for s in sockets:
        s.sendall(b"GET /api/v1/query?query=1&time=0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert all(status_of(s.makefile("rb").read()) == 200 for s in sockets)
    for s in sockets:
        s.close()


def test_client_that_leaves__does_no_harm():
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as s:
            s.sendall(b"GET /api/v1/query_range?query=sum(rate(h[5m]))&start=0&end=100000&step=10 HTTP/1.1\r\n"
                      b"Host: x\r\n\r\n")
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    assert server.value("1", 1) == 1


def test_compression__is_the_first_that_both_know():
    path = "/api/v1/query?query=h&time=" + str(BASE + 60)
    plain = server.get(path)
    assert "Content-Encoding" not in plain.headers
    for accept, encoding in (("gzip", "gzip"), ("deflate", "deflate"), ("br, gzip", "gzip"), ("deflate, gzip", "deflate"),
                             ("identity", None), ("", None), ("zstd", None)):
        reply = server.get(path, headers={"Accept-Encoding": accept})
        assert reply.headers.get("Content-Encoding") == encoding, (accept, reply.headers)
        body = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[encoding](reply.body)
        assert json.loads(body) == plain.json, accept
    assert "accept-encoding" in ",".join(server.get(path, headers={"Accept-Encoding": "gzip"}).headers.get_all("Vary")).lower()
    text = gzip.decompress(server.get("/metrics", headers={"Accept-Encoding": "gzip"}).body)
    assert b"prometheus_build_info" in text


RELABELED = """
scrape_configs:
- job_name: steps
  relabel_configs:
  - {source_labels: [__address__], target_label: addr}
  - {source_labels: [a, b], separator: "", regex: "<(.*)>", target_label: c, replacement: "x$1"}
  - {source_labels: [c], modulus: 4, target_label: __tmp, action: hashmod}
  - {regex: a, action: labeldrop}
  - {source_labels: [__address__], regex: ".*:1", action: drop}
  - {source_labels: [never], target_label: d}
"""


def test_relabel_steps__shows_what_each_rule_makes():
    other = Server(RELABELED)
    path = "/api/v1/targets/relabel_steps"
    for parameters, error in (({}, "no scrapePool parameter provided"), ({"scrapePool": "steps"}, "no labels parameter provided"),
                              ({"scrapePool": "x", "labels": "{}"}, 'error retrieving scrape config: scrape pool "x" not found')):
        reply = other.get(path, parameters)
        assert reply.status == 400 and reply.json == {"status": "error", "errorType": "bad_data", "error": error}, reply
    for labels in ("{", "[]", '{"a":1}', '{"a":"b"} x', "{" * 5000):
        reply = other.get(path, {"scrapePool": "steps", "labels": labels})
        assert reply.status == 400 and reply.json["error"].startswith("error parsing labels: "), reply
    reply = other.get(path, {"scrapePool": "steps", "labels": '{"__address__":"h:1","a":"<","b":"y>"}'})
    assert reply.status == 200, reply
    steps = reply.json["data"]["steps"]
    assert reply.text.startswith('{"status":"success","data":{"steps":[{"rule":{"source_labels":["__address__"],"separator":";",'
                                   '"regex":"(.*)","target_label":"addr","replacement":"$1","action":"replace"},'
                                   '"output":{"__address__":"h:1","a":"<","addr":"h:1","b":"y>"},"keep":true},{"rule":'
                                   '{"source_labels":["a","b"],"regex":"\\u003c(.*)\\u003e"'), reply.text
    assert [step["keep"] for step in steps] == [True, True, True, True, False, False], steps
    assert steps[1]["output"]["c"] == "xy" and steps[2]["rule"]["modulus"] == 4 and "__tmp" in steps[2]["output"], steps
    assert "a" not in steps[3]["output"] and steps[4]["output"] == steps[5]["output"] == {}, steps


def test_features__follow_the_flags():
    plain = server.get("/api/v1/features").json["data"]
    assert plain["promql_functions"]["rate"] and not plain["promql_functions"]["info"], plain
    assert plain["promql_operators"]["atan2"] and not plain["promql_operators"]["limitk"], plain
    assert list(plain) == sorted(plain) and all(list(plain[c]) == sorted(plain[c]) for c in plain), plain
    other = Server("", args=["--enable-feature=promql-experimental-functions,promql-binop-fill-modifiers", "--web.enable-admin-api"])
    more = other.get("/api/v1/features").json["data"]
    assert all(more["promql_functions"].values()) and more["promql_operators"]["limitk"] and more["promql"]["fill_left"], more
    assert more["api"]["admin"] and not plain["api"]["admin"], more


def test_cors__headers():
    reply = server.get("/api/v1/query?query=1", headers={"Origin": "http://grafana.example"})
    assert reply.headers["Access-Control-Allow-Origin"] == "http://grafana.example"
    assert reply.headers["Access-Control-Allow-Headers"] == "Accept, Authorization, Content-Type, Origin"
    assert reply.headers["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
    assert reply.headers["Access-Control-Expose-Headers"] == "Date"
    plain = server.get("/api/v1/query?query=1")
    assert "Access-Control-Allow-Origin" not in plain.headers
    assert "Origin" in ",".join(plain.headers.get_all("Vary"))
    reply = http("OPTIONS", "/api/v1/query", headers={"Origin": "http://grafana.example"})
    assert reply.status == 204 and reply.headers["Access-Control-Allow-Origin"] == "http://grafana.example", reply
    other = Server("", args=["--web.cors.origin=https?://(.+\\.)?mine\\.example"])
    reply = other.get("/api/v1/query?query=1", headers={"Origin": "http://a.mine.example"})
    assert reply.headers["Access-Control-Allow-Origin"] == "http://a.mine.example", reply.headers
    reply = other.get("/api/v1/query?query=1", headers={"Origin": "http://a.mine.example.evil"})
    assert "Access-Control-Allow-Origin" not in reply.headers


def test_label_values__of_escaped_names():
    assert server.data("/api/v1/label/U__my_2e_dotted/values") == ["x"]
    assert server.data("/api/v1/label/my.dotted/values") == ["x"]
    assert server.data("/api/v1/label/instance/values") == [f"i{i}" for i in range(10)]
    assert server.data("/api/v1/label/nobody/values") == []
    found = server.instant('{"h", "my.dotted"="x", instance="i3"}', BASE + 60)
    assert len(found) == 1 and found[0][1][1] == "304", found


def test_limits__cut_and_say_so():
    for path, parameters, full in (("/api/v1/series", {"match[]": "h"}, 10), ("/api/v1/labels", {"match[]": "h"}, 4),
                                   ("/api/v1/label/instance/values", {}, 10)):
        reply = server.get(path, dict(parameters, limit="3")).json
        assert len(reply["data"]) == 3 and reply["warnings"] == ["results truncated due to limit"], (path, reply)
        for limit in (0, full, 1000):
            reply = server.get(path, dict(parameters, limit=str(limit))).json
            assert len(reply["data"]) == full and "warnings" not in reply, (path, limit, reply)
    reply = server.get("/api/v1/query", {"query": "h", "time": BASE + 60, "limit": "2"}).json
    assert len(reply["data"]["result"]) == 2 and "results truncated due to limit" in reply["warnings"], reply
    reply = server.get("/api/v1/query", {"query": "h", "time": BASE + 60, "limit": "10"}).json
    assert len(reply["data"]["result"]) == 10 and "warnings" not in reply, reply


def test_series__are_sorted_and_bounded_in_time():
    found = server.data("/api/v1/series", {"match[]": 'h{instance=~"i[12]"}'})
    assert found == [{"__name__": "h", "instance": f"i{i}", "job": "j", "my.dotted": "x"} for i in (1, 2)], found
    assert server.data("/api/v1/series", {"match[]": "h", "start": str(BASE - 7200), "end": str(BASE - 3600)}) == []
    assert len(server.data("/api/v1/series", {"match[]": ['h{instance="i1"}', 'h{instance="i2"}', "h{instance='i1'}"]})) == 2


def test_query_limits__are_clear_errors():
    reply = server.get("/api/v1/query_range", {"query": "sum_over_time(h[10m:1s])", "start": BASE, "end": BASE + 10000,
                                               "step": "1"}, timeout=30)
    assert reply.status in (200, 422), reply
    reply = server.get("/api/v1/query", {"query": "sum(sum_over_time(vector(1)[100d:1s]))", "time": BASE}, timeout=30)
    assert reply.status == 422 and reply.json["errorType"] == "execution", reply
    assert reply.json["error"] == ("query processing would load too many samples into memory in query execution"), reply
    reply = server.get("/api/v1/query", {"query": "count_over_time((vector(1))[900000s:1s])", "time": BASE, "timeout": "1ms"})
    in_queue = 'invalid parameter "query": context deadline exceeded'  # On a busy machine it ends before its turn.
    assert reply.status == 503 and reply.json["errorType"] == "timeout" or reply.status == 400 and reply.json["error"] == in_queue, reply
    deep = "(" * 20000 + "1" + ")" * 20000
    reply = server.post("/api/v1/query", {"query": deep})
    assert reply.status in (200, 400, 422), reply.status
    deep = "-" * 20000 + "1"
    assert server.post("/api/v1/query", {"query": deep}).status in (200, 400, 422)
    deep = "abs(" * 20000 + "h" + ")" * 20000
    assert server.post("/api/v1/query", {"query": deep}).status in (200, 400, 422)
    assert server.get("/-/healthy").status == 200


def test_remote_write__answers_as_documented():
    now = int(time.time() * 1000)
    good = [({"__name__": "rw", "x": "1"}, [(now - 1000, 1)])]
    body = harness.snappy_literal(harness.encode_write(good))
    headers = harness.WRITE_HEADERS

    def post(data=body, **other):
        changed = {k: v for k, v in dict(headers, **{k.replace("_", "-"): v for k, v in other.items()}).items() if v}
        return http("POST", "/api/v1/write", data, changed)

    assert post().status == 204 and post().body == b""
    assert post(Content_Type=None).status == 204
    assert post(Content_Encoding=None).status == 204
    reply = post(Content_Type="text/plain")
    assert reply.status == 415 and "expected application/x-protobuf as the first (media) part" in reply.text, reply
    reply = post(Content_Encoding="zstd")
    assert reply.status == 415 and "only snappy is acceptable" in reply.text, reply
    assert post(b"not snappy at all").status == 400
    assert post(harness.snappy_literal(b"\xff\xff\xff not protobuf")).status == 400
    assert post(b"\xff\xff\xff\xff\x0f\x00").status in (400, 413)  # Claims 4 GB.
    reply = server.write([({"__name__": "rw", "x": "1"}, [(now - 2000, 1)])])
    assert reply.status == 400 and "out of order sample" in reply.text, reply
    reply = server.write([({"__name__": "rw", "x": "1"}, [(now - 1000, 2)])])
    assert reply.status == 400 and "duplicate sample for timestamp" in reply.text, reply
    reply = server.write([({"__name__": "rw", "x": "2"}, [(now, 5)]), ({"__name__": "rw", "x": "1"}, [(now - 5000, 2)])])
    assert reply.status == 400
    assert server.instant('rw{x="2"}') == [], "a refused request is rolled back as a whole"
    reply = server.write([({"__name__": "rw_future"}, [(now + 3600000, 1)])])
    assert reply.status == 400 and "too far in the future" in reply.text, reply
    assert server.write([({"x": "no name"}, [(now, 1)]), ({"__name__": "rw_named"}, [(now, 1)])]).status == 204
    assert server.value("rw_named") == 1
    off = Server("", write=False)
    reply = off.write(good)
    assert reply.status == 404 and "--web.enable-remote-write-receiver" in reply.text, reply


def test_admin_api__is_off_by_default():
    reply = server.post("/api/v1/admin/tsdb/delete_series?match[]=h")
    assert reply.status == 500 and reply.json["errorType"] == "unavailable", reply
    assert reply.json["error"] == "admin APIs disabled", reply


def test_status_pages__have_the_fields_that_grafana_reads():
    assert server.data("/api/v1/status/buildinfo")["version"].startswith("3.")
    info = server.data("/api/v1/status/runtimeinfo")
    for field in ("startTime", "CWD", "reloadConfigSuccess", "lastConfigTime", "corruptionCount", "goroutineCount",
                  "GOMAXPROCS", "GOGC", "GODEBUG", "storageRetention"):
        assert field in info, field
    tsdb = server.data("/api/v1/status/tsdb")
    assert tsdb["headStats"]["numSeries"] >= 10
    names = {row["name"]: row["value"] for row in tsdb["seriesCountByMetricName"]}
    assert names.get("h") == 10, names
    assert server.data("/api/v1/alerts") == {"alerts": []}
    assert server.data("/api/v1/rules")["groups"] == []
    assert server.data("/api/v1/alertmanagers") == {"activeAlertmanagers": [], "droppedAlertmanagers": []}
    assert server.data("/api/v1/query_exemplars", {"query": "h", "start": "0", "end": "1"}) == []
    assert server.data("/api/v1/format_query", {"query": "sum  by(job)( h )"}) == "sum by (job) (h)"
    assert server.data("/api/v1/parse_query", {"query": "1"}) == {"type": "numberLiteral", "val": "1"}


def test_route_prefix__moves_everything():
    other = Server("", args=["--web.external-url=http://x.example/prom/"], ready=False)
    other.ready_path = "/prom/-/ready"
    other.start()
    assert other.get("/prom/api/v1/query?query=1").status == 200
    assert other.get("/api/v1/query?query=1").status == 404
    assert other.get("/prom/metrics").status == 200
    assert other.get("/").status == 302 and other.get("/").headers["Location"].rstrip("/") == "/prom"


def test_federate__of_what_is_there():
    now = int(time.time() * 1000)
    assert server.write([({"__name__": "fed", "instance": "a", "x": "1"}, [(now, 1.5)]),
                         ({"__name__": "fed", "x": 'q"\\'}, [(now, 2)])]).status == 204
    reply = server.get("/federate", {"match[]": ["fed", '{__name__="fed"}']})
    assert reply.status == 200
    lines = [l for l in reply.text.splitlines() if l]
    assert lines[0] == "# TYPE fed untyped", lines
    assert sorted(lines[1:]) == sorted([f'fed{{instance="a",x="1"}} 1.5 {now}', f'fed{{x="q\\"\\\\",instance=""}} 2 {now}']), lines
    assert server.get("/federate").status == 200 and server.get("/federate").body.strip() == b""
    assert server.get("/federate", {"match[]": "{"}).status == 400


setup()
if __name__ == "__main__":
    harness.main(globals())
