"""Protobuf over the wire, native histograms and exemplars: from a target or a sender to queries. The messages are made by
hand, field by field; Debian's Prometheus reads the same bytes."""
import struct
import time

import harness
from harness import Exporter, Server, field_bytes, http_call, snappy_literal, varint, wait_for

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM = range(5)


# ---- messages ----

def number(field, value):
    return varint(field << 3) + varint(value)


def zigzag(field, value):
    return number(field, value << 1 ^ value >> 63)


def double(field, value):
    return varint(field << 3 | 1) + struct.pack("<d", value)


def text(field, value):
    return field_bytes(field, value.encode())


def packed_zigzag(field, values):
    return field_bytes(field, b"".join(varint(v << 1 ^ v >> 63) for v in values))


def labels(pairs, field=1):
    return b"".join(field_bytes(field, text(1, name) + text(2, value)) for name, value in sorted(pairs.items()))


def spans(field, pairs):
    return b"".join(field_bytes(field, zigzag(1, offset) + number(2, length)) for offset, length in pairs)


def exemplar(pairs, value, seconds=None):
    stamp = field_bytes(3, number(1, int(seconds)) + number(2, int(seconds % 1 * 1e9))) if seconds else b""
    return labels(pairs) + double(2, value) + stamp


def metric(pairs, value_field, value, time_ms=0):
    return labels(pairs) + field_bytes(value_field, value) + (number(6, time_ms) if time_ms else b"")


def family(name, kind, *metrics, help_text="", unit=""):
    body = text(1, name) + text(2, help_text) + number(3, kind) + b"".join(field_bytes(4, m) for m in metrics)
    if unit:
        body += text(5, unit)
    return varint(len(body)) + body


def native(offset, count=12):
    """Buckets 1, 2, 1 (schema 1) on the positive side, 6 on the negative, 2 in the zero bucket."""
    return (number(1, count) + double(2, 18.5) + zigzag(5, 1) + double(6, 0.001) + number(7, 2)
            + spans(9, [(0, 1)]) + packed_zigzag(10, [count - 6]) + spans(12, [(offset, 2), (1, 1)])
            + packed_zigzag(13, [1, 1, -1]))


def classic_buckets(exemplar_bytes=b""):
    return (field_bytes(3, number(1, 3) + double(2, 1.0))
            + field_bytes(3, number(1, 5) + double(2, 2.5) + (field_bytes(3, exemplar_bytes) if exemplar_bytes else b"")))


def page(moment):
    return b"".join([
        family("requests_total", COUNTER,
               metric({"code": "200"}, 3, double(1, 1027) + field_bytes(2, exemplar({"trace_id": "abc"}, 1.5, moment))),
               metric({"code": "500", "zone": "ü"}, 3, double(1, 3)), help_text="All \\n of them."),
        family("temperature_celsius", GAUGE, metric({}, 2, double(1, -1.5))),
        family("rpc_seconds", SUMMARY, metric({}, 4, number(1, 42) + double(2, 1.5)
                                              + field_bytes(3, double(1, 0.5) + double(2, 0.25))
                                              + field_bytes(3, double(1, 1.0) + double(2, 4.0)))),
        family("any", UNTYPED, metric({"l": "v"}, 5, double(1, 1e10))),
        family("classic_seconds", HISTOGRAM,
               metric({}, 7, number(1, 7) + double(2, 9.25)
                      + classic_buckets(exemplar({"trace_id": "c"}, 2.0)))),
        family("native_seconds", HISTOGRAM,
               metric({"kind": "int"}, 7, native(0) + classic_buckets()
                      + field_bytes(16, exemplar({"trace_id": "n2"}, 3.0, moment))
                      + field_bytes(16, exemplar({"trace_id": "n1"}, 2.0, moment))),
               help_text="Native."),
    ])


# ---- servers ----

def config(address, job_lines="", storage=""):
    return f"""
global:
  scrape_interval: 250ms
  scrape_timeout: 250ms
scrape_configs:
  - job_name: fake
{job_lines}
    static_configs:
      - targets: ["{address}"]
        labels: {{instance: i}}
{storage}
"""


class Target:
    def __init__(self, job_lines="    scrape_native_histograms: true", body=None, args=(), storage=""):
        self.body = body or page(int(time.time()))
        self.exporter = Exporter({"/metrics": self.page})
        self.server = Server(config(self.exporter.address, job_lines, storage), args=args)

    def page(self, handler):
        return 200, {"Content-Type": PROTOBUF}, self.body

    def wait_up(self):
        wait_for("target is up", lambda: self.server.targets()[0]["health"] == "up")


def histogram_of(server, query):
    """The one histogram that a query answers with."""
    found = server.data("/api/v1/query", {"query": query})["result"]
    assert len(found) == 1, found
    return found[0]["histogram"][1]


def names_of(server):
    return {one["__name__"] for one in server.data("/api/v1/series", {"match[]": '{job="fake"}'})}


# ---- tests ----

def test_scrape__asks_for_and_stores_protobuf():
    target = Target()
    target.wait_up()
    accept = target.exporter.requests[-1][1]["Accept"]
    assert accept.startswith("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
                             "encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;"), accept
    server = target.server
    wait_for("samples", lambda: server.value('requests_total{code="200"}') == 1027)
    assert server.value('requests_total{zone="ü"}') == 3
    assert server.value("temperature_celsius") == -1.5
    assert server.value('rpc_seconds{quantile="1.0"}') == 4
    assert server.value('classic_seconds_bucket{le="1.0"}') == 3
    assert server.value('classic_seconds_bucket{le="+Inf"}') == 7
    assert server.value("any") == 1e10
    assert server.instant("native_seconds_count") == []
    metadata = server.data("/api/v1/metadata", {"metric": "requests_total"})["requests_total"][0]
    assert metadata == {"type": "counter", "help": "All \\n of them.", "unit": ""}, metadata


def test_native_histogram__is_queried():
    target = Target()
    target.wait_up()
    server = target.server
    wait_for("a histogram", lambda: server.value("histogram_count(native_seconds)") == 12)
    found = histogram_of(server, "native_seconds")
    assert found["count"] == "12" and found["sum"] == "18.5", found
    assert [bucket[3] for bucket in found["buckets"]] == ["6", "2", "1", "2", "1"], found
    assert server.value("histogram_sum(native_seconds)") == 18.5
    target.body = family("other", GAUGE, metric({}, 2, double(1, 1)))
    wait_for("it is stale", lambda: server.instant("native_seconds") == [])


def test_switches__choose_the_kind_of_histogram():
    cases = [
        ("    scrape_native_histograms: false\n    scrape_protocols: [PrometheusProto]",
         {"classic_seconds_count", "native_seconds_bucket"}, {"native_seconds", "classic_seconds"}),
        ("    scrape_native_histograms: true\n    always_scrape_classic_histograms: true",
         {"classic_seconds_count", "native_seconds_bucket", "native_seconds"}, {"classic_seconds"}),
        ("    scrape_native_histograms: true\n    convert_classic_histograms_to_nhcb: true",
         {"classic_seconds", "native_seconds"}, {"classic_seconds_bucket", "native_seconds_bucket"}),
    ]
    for job_lines, there, absent in cases:
        target = Target(job_lines)
        target.wait_up()
        names = wait_for("series", lambda t=target, wanted=there: (lambda n: n if wanted <= n else None)(names_of(t.server)))
        assert not names & absent, (job_lines, names)
        if "classic_seconds" in there:
            found = histogram_of(target.server, "classic_seconds")
            assert [b[1:] for b in found["buckets"]] == [["-Inf", "1", "3"], ["1", "2.5", "2"], ["2.5", "+Inf", "2"]], found
        target.server.stop()


def test_federate__writes_custom_buckets_as_classic_ones():
    """Text has no form for other native histograms: Prometheus leaves them out, too."""
    target = Target("    scrape_native_histograms: true\n    convert_classic_histograms_to_nhcb: true")
    target.wait_up()
    server = target.server
    wait_for("both", lambda: {"classic_seconds", "native_seconds"} <= names_of(server))
    text = server.get("/federate", {"match[]": ["classic_seconds", "native_seconds", "any"]}).text
    lines = [" ".join(line.split(" ")[:-1]) for line in text.splitlines()]
    labels = 'instance="i",job="fake"'
    assert lines[:2] == ["# TYPE any", f'any{{{labels},l="v"}} 1e+10'], lines
    assert lines[2:] == ["# TYPE classic_seconds"] + [f"classic_seconds_{rest}" for rest in (
        f'bucket{{{labels},le="1"}} 3', f'bucket{{{labels},le="2.5"}} 5', f'bucket{{{labels},le="+Inf"}} 7',
        f"sum{{{labels}}} 9.25", f"count{{{labels}}} 7")], lines
    assert "# TYPE classic_seconds histogram\n" in text, text


def test_federate__hands_native_histograms_on():
    """Another server asks for protobuf, as one that scrapes native histograms does; text has none."""
    moment = int(time.time() * 1000) - 1000
    stamped = [family("native_seconds", HISTOGRAM, metric({"kind": "int"}, 7, native(0), moment)),
               family("hea.t", GAUGE, metric({"a": "b"}, 2, double(1, -1.5), moment))]
    target = Target(body=b"".join(stamped))

    def ask(server, expression):
        return server.data("/api/v1/query", {"query": expression, "time": moment / 1000 + 1})["result"]

    wait_for("them", lambda: ask(target.server, "native_seconds") and ask(target.server, '{"hea.t"}'))
    above = Server(f"""
global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}
scrape_configs:
  - job_name: federate
    honor_labels: true
    scrape_native_histograms: true
    metrics_path: /federate
    params: {{"match[]": ['{{__name__=~"native_seconds|hea.t"}}']}}
    static_configs: [{{targets: ["127.0.0.1:{target.server.port}"]}}]
""")
    for expression in ("native_seconds", "histogram_quantile(0.9, native_seconds)", "histogram_count(native_seconds)"):
        there = ask(target.server, expression)
        assert there and wait_for(expression, lambda e=expression: ask(above, e)) == there, expression
    # Whoever asks for protobuf does not say which names it can read, Prometheus neither.
    assert wait_for("hea_t", lambda: ask(above, "hea_t"))[0]["value"][1] == "-1.5"
    text = target.server.get("/federate", {"match[]": 'native_seconds'})
    assert text.status == 200 and text.body == b"", text
    answer = target.server.get("/federate", {"match[]": '{kind="int"}'}, {"Accept": PROTOBUF})
    assert answer.headers["Content-Type"] == PROTOBUF + "; escaping=underscores", answer.headers
    wanted = (number(6, moment) + field_bytes(7, double(2, 18.5) + double(4, 12) + zigzag(5, 1) + double(6, 0.001) + double(8, 2)
              + spans(9, [(0, 1)]) + double(11, 6) + spans(12, [(0, 2), (1, 1)]) + b"".join(double(14, n) for n in (1, 2, 1))))
    assert answer.body.endswith(wanted), answer.body


def test_bad_bytes__fail_the_scrape():
    good = page(int(time.time()))
    for body, error in [(good[:-5], "clientpb: insufficient length of buffer"), (b"\xff\xff\xff\xff\xff\x01", "invalid varint"),
                        (family("a", 9, metric({}, 2, double(1, 1))), 'unknown metric type for metric "a": 9')]:
        target = Target(body=body)
        found = wait_for("an error", lambda t=target: t.server.targets()[0]["lastError"])
        assert error in found, found
        assert target.server.value("up") == 0
        target.server.stop()


def exemplars_of(server, query):
    now = time.time()
    return server.data("/api/v1/query_exemplars", {"query": query, "start": now - 3600, "end": now + 60})


def test_exemplars__are_kept_when_the_feature_is_on():
    target = Target(args=["--enable-feature=exemplar-storage"])
    target.wait_up()
    server = target.server
    found = wait_for("exemplars", lambda: exemplars_of(server, 'histogram_quantile(0.9, rate(native_seconds[1m]))'))
    assert found[0]["seriesLabels"] == {"__name__": "native_seconds", "instance": "i", "job": "fake", "kind": "int"}, found
    assert [(e["labels"], e["value"]) for e in found[0]["exemplars"]] == [({"trace_id": "n1"}, "2"), ({"trace_id": "n2"}, "3")]
    both = exemplars_of(server, "requests_total / classic_seconds_bucket")
    assert [one["seriesLabels"]["__name__"] for one in both] == ["classic_seconds_bucket", "requests_total"], both
    assert both[1]["exemplars"][0]["labels"] == {"trace_id": "abc"}
    time.sleep(0.6)
    assert len(exemplars_of(server, "requests_total")[0]["exemplars"]) == 1  # The same again is none.
    figures = server.get("/metrics").text
    assert "prometheus_tsdb_exemplar_max_exemplars 100000" in figures
    server.set_config(config(target.exporter.address, "    scrape_native_histograms: true",
                             "storage: {exemplars: {max_exemplars: 2}}"))
    assert server.post("/-/reload").status == 200
    wait_for("a smaller ring", lambda: "prometheus_tsdb_exemplar_max_exemplars 2\n" in server.get("/metrics").text)
    assert sum(len(one["exemplars"]) for one in exemplars_of(server, '{__name__=~".+"}')) <= 2


def test_exemplars__are_off_by_default():
    target = Target()
    target.wait_up()
    assert exemplars_of(target.server, "requests_total") == []


# ---- remote write ----

def write_histogram(count, time_ms):
    body = number(1, count) + double(3, 18.5) + zigzag(4, 1) + double(5, 0.001) + number(6, 2)
    body += spans(11, [(0, 2), (1, 1)]) + packed_zigzag(12, [1, 1, count - 7]) + number(15, time_ms)
    return body


def test_remote_write__takes_histograms_and_exemplars():
    server = Server("", args=["--enable-feature=exemplar-storage"])
    now_ms = int(time.time() * 1000) - 1000
    series = (labels({"__name__": "w", "job": "x"}) + field_bytes(4, write_histogram(10, now_ms))
              + field_bytes(3, labels({"trace_id": "t"}) + double(2, 0.5) + number(3, now_ms)))
    reply = http_call("POST", server.port, "/api/v1/write", snappy_literal(field_bytes(1, series)), harness.WRITE_HEADERS)
    assert reply.status == 204, reply
    assert "X-Prometheus-Remote-Write-Samples-Written" not in reply.headers
    assert server.value("histogram_count(w)") == 10
    # Positions are those of what stands in parentheses; of several sorts the outer one is told.
    reply = server.get("/api/v1/query", {"query": "max(((w)))"}).json
    assert reply["infos"] == ["PromQL info: ignored histogram in max aggregation (1:7)"], reply
    reply = server.get("/api/v1/query_range", {"query": "sort(abs(sort(w)))", "start": 0, "end": 10, "step": 60}).json
    assert [w[-6:] for w in reply["warnings"]] == [" (1:1)"], reply
    found = exemplars_of(server, "w")
    assert found[0]["exemplars"][0]["value"] == "0.5" and found[0]["exemplars"][0]["labels"] == {"trace_id": "t"}, found


def test_exemplars__survive_a_restart():
    """Those of scrapes and of senders, when the server was killed and when it was asked to end."""
    target = Target(args=["--enable-feature=exemplar-storage"])
    server = target.server
    target.wait_up()
    now_ms = int(time.time() * 1000) - 1000
    series = (labels({"__name__": "w", "job": "x"}) + field_bytes(2, double(1, 5) + number(2, now_ms))
              + field_bytes(3, labels({"trace_id": "t"}) + double(2, 0.5) + number(3, now_ms)))
    reply = http_call("POST", server.port, "/api/v1/write", snappy_literal(field_bytes(1, series)), harness.WRITE_HEADERS)
    assert reply.status == 204, reply
    before = {query: wait_for(query, lambda q=query: exemplars_of(server, q)) for query in ["w", "requests_total"]}
    time.sleep(1)
    server.set_config("scrape_configs: []\n")  # What is there after the restart is not scraped anew.
    for end in [server.kill, server.stop]:
        end()
        server.start()
        for query, there in before.items():
            assert exemplars_of(server, query) == there, (query, exemplars_of(server, query), there)


def test_remote_write_2__stores_what_is_good():
    server = Server("")
    now_ms = int(time.time() * 1000) - 1000
    symbols = b"".join(text(4, s) for s in ["", "__name__", "v2", "job", "x"])

    def refs(*numbers):
        return field_bytes(1, b"".join(varint(n) for n in numbers))

    good = refs(1, 2, 3, 4) + field_bytes(2, double(1, 5) + number(2, now_ms)) + field_bytes(
        3, write_histogram(10, now_ms + 1))
    bad = refs(1, 77) + field_bytes(2, double(1, 5) + number(2, now_ms))
    headers = dict(harness.WRITE_HEADERS, **{"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"})
    for body, status in [(good, 204), (bad, 400)]:
        reply = http_call("POST", server.port, "/api/v1/write", snappy_literal(symbols + field_bytes(5, body)), headers)
        assert reply.status == status, reply
        written = [reply.headers[f"X-Prometheus-Remote-Write-{kind}-Written"] for kind in ("Samples", "Histograms", "Exemplars")]
        assert written == (["1", "1", "0"] if status == 204 else ["0", "0", "0"]), written
    assert "outside of symbols table (size 5)" in reply.text
    assert server.value("histogram_count(v2)") == 10


# ---- beside Prometheus 2.42 ----

def comparable(server, query):
    out = []
    for one in server.data("/api/v1/query", {"query": query})["result"]:
        value = one["value"][1] if "value" in one else one["histogram"][1]
        out.append((sorted(one["metric"].items()), value))
    return sorted(out, key=repr)


def test_differential__scrapes_as_prometheus_does():
    target = Target()
    other = harness.start_prometheus(config(target.exporter.address), ["--enable-feature=native-histograms"])
    target.wait_up()
    wait_for("the peer has scraped", lambda: other.value("up") == 1)
    for query in ['{__name__!~"scrape_.*|up",job="fake"}', "histogram_count(native_seconds)", "histogram_sum(native_seconds)",
                  "up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"]:
        ours, theirs = comparable(target.server, query), comparable(other, query)
        assert ours == theirs, f"{query}\nours   {ours}\ntheirs {theirs}"


harness.main(globals())
