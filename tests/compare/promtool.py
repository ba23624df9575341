"""promtool's promql and query commands, beside ours: exit code, what is printed, and where.

    promtool.py            needs PROMETHEUS=.../prometheus with its promtool beside it

Both ask the same Prometheus, so that what they print can be compared to the character.
"""
import os
import random
import sys

import beside
import harness
import histograms

EXPRESSIONS = ("up", "sum(rate(x[5m]))by(a)", "foo+on(a)group_left(b)bar", "sum(", "x{", "1", "'a'", "x[5m]", "rate(x[5m:1m])", "x @ start()", "-x",
               "label_replace(x,'a','$1','b','(.*)')", "a and b or c unless d", "x offset -5m", "sum by(a,b)(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "
               "+ bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb)", "x anchored", "limitk(1,x)", "info(x)", "", " ",
               '{"a.b"}', '{"a.b",c="d"}', "x{a=~'b|c',d!='e',f!~'g'}", "x fill(0) + y", "x + fill(0) y", "0x1F", "1e3", "5m", "a == bool b", "(((a)))",
               "topk(5, sum by (job) (rate(http_requests_total{code=~\"5..\", job=\"api\"}[5m]))) / on (job) group_left () "
               "sum by (job) (rate(http_requests_total[5m]))")


def lines(url, begin):
    for text in EXPRESSIONS:
        yield ["--experimental", "promql", "format", text]
        yield ["--experimental", "promql", "label-matchers", "set", text, "job", "va\"l"]
        yield ["--experimental", "promql", "label-matchers", "set", "-t", "=~", text, "job", "a.*"]
        yield ["--experimental", "promql", "label-matchers", "delete", text, "job"]
        yield ["query", "instant", "--time", str(begin + 300), url, text]
        yield ["query", "instant", "-o", "json", "--time", str(begin + 300), url, text]
        yield ["query", "range", f"--start={begin}", f"--end={begin + 120}", "--step=30s", url, text]
    yield ["promql", "format", "up"]
    yield ["promql", "label-matchers", "set", "up", "a", "b"]
    yield ["--experimental", "promql", "label-matchers", "set", "up", "a"]
    yield ["--experimental", "promql", "label-matchers", "set", "--type=!=", "up{a='c'} + x", "a", "b"]
    yield ["--experimental", "promql", "label-matchers", "set", "--type=!~", "up", "a", "["]
    yield ["--experimental", "promql", "label-matchers", "set", "--type=x", "up", "a", "b"]
    yield ["--experimental", "promql", "label-matchers", "set", "up", "a b", "c"]
    yield ["--experimental", "promql", "label-matchers", "set", "up", "", "c"]
    yield ["--experimental", "promql", "label-matchers", "set", "up", "__name__", "c"]
    yield ["--experimental", "promql", "label-matchers", "delete", "up{a='1',a!='2',b='3'}", "a"]
    yield ["--experimental", "promql", "label-matchers", "delete", "up", "__name__"]
    yield ["--experimental", "promql", "label-matchers"]
    yield ["--experimental", "promql", "format"]
    for time in ("x", "2020-01-01T00:00:00Z", "1.5", "-1", ""):
        yield ["query", "instant", "--time=" + time, url, "x"]
        yield ["query", "range", "--start=" + time, f"--end={begin}", "--step=1m", url, "x"]
        yield ["query", "series", "--match=x", "--start=" + time, url]
        yield ["query", "labels", "--start=" + time, url, "i"]
    for step in ("0", "-1s", "x", "1", "1ms", "1h"):
        yield ["query", "range", f"--start={begin}", f"--end={begin + 100}", "--step=" + step, url, "x"]
        yield ["query", "range", f"--start={begin + 100}", f"--end={begin}", "--step=" + step, url, "x"]
    for fmt in ("json", "promql", "x"):
        yield ["query", "range", "-o", fmt, f"--start={begin}", f"--end={begin + 100}", "--step=50s", url, "x"]
        yield ["query", "series", "-o", fmt, "--match=x", url]
        yield ["query", "labels", "-o", fmt, url, "i"]
    for match in ("x", "{", "{}", "up[5m]", "nothing", '{"utf.8"}', '{__name__=~".+"}'):
        yield ["query", "series", "--match=" + match, url]
        yield ["query", "labels", "--match=" + match, url, "i"]
    yield ["query", "series", url]
    yield ["query", "series", "--match=x", "--match=y", url]
    for label in ("i", "none", "__name__", "a b", ""):
        yield ["query", "labels", url, label]
    for bad in ("http://127.0.0.1:1", "nonsense", "ftp://x", "http://", url + "/prefix", url + "/"):
        yield ["query", "instant", bad, "x"]
        yield ["query", "labels", bad, "i"]
    yield ["query", "range", "--header=a=b", f"--start={begin}", f"--end={begin + 60}", "--step=30s", url, "x"]
    for text in ("exponential", "custom", "mixed", "rate(negative[5m])", "exponential[1m]", "mixed * -1"):
        yield ["query", "instant", "--time=600", url, text]
        yield ["query", "instant", "--time=600", "-o", "json", url, text]
        yield ["query", "range", "--start=600", "--end=660", "--step=15s", url, text]
    for match in ("exponential", "custom", "mixed", "x", "{", "negative"):
        for duration in ("1h", "20s", "1.5s"):
            yield ["query", "analyze", "--server=" + url, "--type=histogram", "--match=" + match, "--time=900", "--duration=" + duration]
    yield ["query", "instant", url]
    yield ["query", "instant"]
    yield ["query"]
    yield ["query", "nothing"]


def main():
    promtool = os.path.join(os.path.dirname(os.environ.get("PROMETHEUS", "")), "promtool")
    theirs, _ = beside.start()
    begin = 1_700_000_000
    series = [({"__name__": "x", "i": str(i), "job": "a" if i % 2 else "b"}, [(1000 * (begin + 15 * k), k * (i + 0.5)) for k in range(60)])
              for i in range(5)]
    series += [({"__name__": "y", "i": 'q"é\\'}, [(1000 * begin, 1.0), (1000 * begin + 7, float("nan")), (1000 * begin + 300000, float("-inf"))]),
               ({"__name__": "utf.8", "la.b": "c"}, [(1000 * begin, 1e-7)])]
    reply = harness.http_call("POST", theirs.port, "/api/v1/write", histograms.make_request(random.Random(7)), harness.WRITE_HEADERS)
    assert reply.status in (200, 204), reply
    assert theirs.write(series).status in (200, 204)
    url = f"http://127.0.0.1:{theirs.port}"
    count = equal = 0
    for words in lines(url, begin):
        one = harness.run_command([promtool, *words])
        two = harness.run_command([harness.link_beside_narthex("promtool"), *words])
        count += 1
        if one == two:
            equal += 1
        else:
            print(f"{words}\n  promtool {one}\n  narthex  {two}", flush=True)
    print(f"{equal} of {count} commands are equal")


if __name__ == "__main__":
    sys.exit(main())
