"""Several hundred requests of the HTTP API asked of both: status, headers and text must agree.

What cannot agree is printed, too: versions, counts of a TSDB of another kind, the order of maps, pages that are not built.
"""
import json
import time
import urllib.parse

import beside
import harness

API = "/api/v1/"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CONFIG = """
global:
  scrape_interval: 1s
  external_labels: {cluster: x, az: b}
storage:
  exemplars: {max_exemplars: 1000}
scrape_configs:
- job_name: app
  static_configs: [{targets: ["127.0.0.1:%d"], labels: {env: prod}}]
  relabel_configs: [{source_labels: [__address__], target_label: addr}]
- job_name: dropped
  static_configs: [{targets: ["127.0.0.1:1", "127.0.0.1:2"]}]
  relabel_configs: [{source_labels: [__address__], regex: ".*:1", action: drop}]
"""
PAGE = """# HELP http_requests_total Requests "quoted" <&> back\\nline.
# TYPE http_requests_total counter
http_requests_total{code="200",path="/"} 100
http_requests_total{code="500",path="/a\\"b<&>"} 3
# TYPE temp_celsius gauge
temp_celsius{room="kitchen"} 21.5
temp_celsius{room="cellar"} NaN
# TYPE lat_seconds histogram
lat_seconds_bucket{le="1"} 9
lat_seconds_bucket{le="+Inf"} 10
lat_seconds_sum 4.2
lat_seconds_count 10
inf_thing +Inf
{"utf8.name", "lab.el"="v"} 5
"""
EXPRESSIONS = ("m", "sum(m)", "rate(m[5m])", "odd", "1", '"<s>"', "m[1m]", "m offset -1m", "foo", "sum(", "m{", "m{i=~'['}", "rate(m)",
               "m+m{i='0'}", "absent(zz)", "topk(2,m)", "sort(m)", "vector(1)", "time()", "m > 5", "count_values('v', m)",
               "histogram_quantile(0.9, m)", "rate(m[1m:])", "label_replace(m,'a','$1','i','(.*)')", "-m", "m or vector(1)",
               "group_left", "quantile(2, m)", "info(m)", "limitk(2, m)", "m @ 1e300", "'\\q'", "0x1f", "1e", "5m", "m{}[",
               "\n\n m", "#c\nm", "{}", "{__name__=''}", "m @ start()", "first_over_time(m[5m])", "increase(odd[5m])", "1 >/ 2")
TIMES = ("x", "9e99", "NaN", "-9223372036854775808", "1_000", "0x1p4", "2023-01-01T00:00:00Z", "")
SELECTORS = ("m", "{", "{}", "{i=~'.*'}", "", "up", "m[5m]", "sum(m)", "m offset 5m", "{i=''}")
PATHS = ("/-/healthy", "/-/ready", "/-/reload", "/-/quit", "/version", "/federate", "/federate?match[]=up", "/federate?match[]={", "/",
         "/graph", "/graph?g0.expr=up", "//metrics", "/metrics/", "/-/healthy/", "/nothing", "/api/v1", "/api/v1/", "/api/v1/nothing",
         "/api/v1/../v1/labels", "/api/v1/label//values", "/api/v1/label/1x/values", "/api/v1/label/%ff/values")


def requests(begin):
    def get(path, **parameters):
        return "GET", API + path + ("?" + urllib.parse.urlencode(parameters, doseq=True) if parameters else ""), None, None

    def post(path, **parameters):
        return "POST", API + path, urllib.parse.urlencode(parameters, doseq=True), FORM

    for text in EXPRESSIONS:
        yield get("query", query=text, time=begin + 600.123)
        yield get("query_range", query=text, start=begin, end=begin + 900, step=60)
        yield get("format_query", query=text)
        yield get("parse_query", query=text)
    for text in TIMES:
        yield get("query", query="m", time=text)
        yield get("series", **{"match[]": "m", "start": text})
        yield post("query_range", query="m", start=begin, end=text, step=1)
    for step in ("0", "-1", "x", "0.0001", "1m", "1e400", "NaN", ""):
        yield get("query_range", query="m", start=begin, end=begin + 100, step=step)
    for parameters in ({"limit": "1"}, {"limit": "-1"}, {"limit": "x"}, {"timeout": "x"}, {"lookback_delta": "0"}, {"stats": "all"}):
        yield get("query", query="m", time=begin + 300, **parameters)
        yield get("labels", **parameters)
    for text in SELECTORS:
        for path in ("series", "labels", "label/i/values", "targets/metadata", "query_exemplars", "rules"):
            yield get(path, **{"match[]": text, "match_target": text, "query": text})
        yield post("series", **{"match[]": text})
        yield post("admin/tsdb/delete_series", **{"match[]": text, "start": "x"})
    for path in ("targets", "targets?state=dropped", "targets?state=x", "scrape_pools", "metadata", "metadata?limit=x", "rules?group_limit=x",
                 "rules?type=x", "alerts", "alertmanagers", "status/config", "status/flags", "status/tsdb?limit=x", "features",
                 "notifications", "targets/relabel_steps", "targets/relabel_steps?scrapePool=x&labels=%7B%7D",
                 "targets/relabel_steps?scrapePool=dropped&labels=%7B%22__address__%22:%22a:1%22%7D"):
        yield "GET", API + path, None, None
    for path in PATHS:
        yield "GET", path, None, None
    for method in ("OPTIONS", "HEAD", "PUT", "DELETE"):
        for path in (API + "query", API + "labels", "/metrics", "/-/healthy", "/federate", API + "write"):
            yield method, path, None, {"Origin": "http://a"}
    for body, headers in ((b"junk", {}), (b"", {}), (b"x", {"Content-Encoding": "gzip"}), (b"x", {"Content-Type": "application/json"})):
        yield "POST", API + "write", body, headers
    yield "GET", API + "query?query=%zz", None, None
    yield "GET", API + "series?match[]=up&a;b", None, None


def main():
    exporter = harness.Exporter({"/metrics": lambda _: (200, {"Content-Type": "text/plain; version=0.0.4"}, PAGE.encode())})
    servers = beside.start(CONFIG % exporter.port)
    begin = int(time.time()) - 3300
    series = [({"__name__": "m", "i": str(i)}, [(1000 * (begin + 15 * k), float(k * (i + 1))) for k in range(200)]) for i in range(5)]
    odd = (0.1, 1e-7, 1e21, 123456789.123, float("inf"), float("-inf"), float("nan"), -0.0, 1e20, 5e-324)
    series.append(({"__name__": "odd", "x": "é\u2028<>&\x7f"}, [(1000 * (begin + 15 * k), value) for k, value in enumerate(odd)]))
    for server in servers:
        assert server.write(series).status in (200, 204)
    time.sleep(8)
    theirs, ours = (beside.Connection(server) for server in servers)
    count = equal = 0
    for request in requests(begin):
        one, two = theirs.ask(*request), ours.ask(*request)
        count += 1
        if same(one, two):
            equal += 1
        else:
            print(f"{request[0]} {request[1]}\n  prometheus {str(one)[:600]}\n  narthex    {str(two)[:600]}", flush=True)
    print(f"{equal} of {count} answers are equal")


def same(one, two):
    if one == two:
        return True
    if one[:2] != two[:2]:
        return False
    try:
        return beside.ordered(json.loads(one[2])) == beside.ordered(json.loads(two[2]))
    except ValueError:
        return False


if __name__ == "__main__":
    main()
