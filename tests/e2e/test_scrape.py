"""Scraping, seen from a fake exporter: bad bodies, staleness, honor_labels, relabelling, gzip, timeouts, limits."""
import json
import os
import time

import harness
from harness import Exporter, Server, wait_for

REPORTS = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
           "scrape_series_added"}


def config(address, job_lines="", global_lines=""):
    return f"""
global:
  scrape_interval: 250ms
  scrape_timeout: 250ms
{global_lines}
scrape_configs:
  - job_name: fake
{job_lines}
    static_configs:
      - targets: ["{address}"]
"""


def start(pages, job_lines="", global_lines=""):
    exporter = Exporter(pages)
    server = Server(config(exporter.address, job_lines, global_lines))
    return exporter, server


def wait_target(server, health):
    def state():
        targets = server.targets()
        return targets[0] if targets and targets[0]["health"] == health else None

    return wait_for(f"target is {health}", state)


def stored_raw(server, selector, seconds=60):
    """All stored points of the one series: [(time, text)]."""
    found = server.instant(f"{selector}[{seconds}s]")
    assert len(found) <= 1, found
    return found[0][1] if found else []


def test_scrape__writes_samples_and_reports():
    exporter, server = start({"/metrics": "a_metric 1.5\nb_metric{x=\"1\"} 2\nb_metric{x=\"2\"} 3\n"})
    wait_for("a_metric", lambda: server.value("a_metric") == 1.5)
    labels = {"job": "fake", "instance": exporter.address}
    found = dict((harness.labels_key(l), v[1]) for l, v in server.instant('{job="fake"}'))
    by_name = {dict(k)["__name__"]: v for k, v in found.items()}
    assert REPORTS <= set(by_name), by_name
    assert by_name["up"] == "1" and by_name["scrape_samples_scraped"] == "3"
    assert by_name["scrape_samples_post_metric_relabeling"] == "3"
    assert 0 < float(by_name["scrape_duration_seconds"]) < 0.25
    assert found[harness.labels_key(dict(labels, __name__="b_metric", x="2"))] == "3"
    target = wait_target(server, "up")
    assert target["scrapeUrl"] == f"http://{exporter.address}/metrics"
    assert target["labels"] == labels
    assert target["discoveredLabels"]["__address__"] == exporter.address
    assert target["discoveredLabels"]["__metrics_path__"] == "/metrics"
    assert target["discoveredLabels"]["__scrape_interval__"] == "250ms"
    assert target["scrapeInterval"] == "250ms" and target["scrapeTimeout"] == "250ms"
    assert target["scrapePool"] == "fake"


def test_scrape__asks_as_prometheus_does():
    exporter, server = start({"/probe": "ok 1\n"}, """
    metrics_path: /probe
    params:
      module: [http_2xx]
      x: ["a b", c]
""")
    wait_for("ok", lambda: server.value("ok") == 1)
    path, headers = exporter.requests[0]
    assert path == "/probe?module=http_2xx&x=a+b&x=c", path
    headers = {name.lower(): text for name, text in headers.items()}
    assert headers["user-agent"].startswith("Prometheus/3."), headers
    assert headers["accept"].endswith("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
                                      "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"), headers["accept"]
    assert headers["accept-encoding"] == "gzip"
    assert float(headers["x-prometheus-scrape-timeout-seconds"]) == 0.25
    assert headers["host"] == exporter.address


def test_odd_text__is_read_as_by_prometheus():
    """A newline in a label's value, blanks before a name (they are part of it), and a zero byte, which ends the text."""
    _, server = start({"/metrics": 'a{b="one\ntwo"} 1\n  c{d="e"} 2\n\0 nothing more'})
    wait_for("up", lambda: server.value("up") == 1)
    assert server.value('a{b="one\\ntwo"}') == 1
    assert server.value('{"  c"}') == 2


def test_bad_line__fails_the_whole_scrape():
    exporter, server = start({"/metrics": "good_one 1\ngood_two 2\n"})
    wait_for("good_two", lambda: server.value("good_two") == 2)
    exporter.pages["/metrics"] = "good_one 5\nthis is = not a metric\ngood_two 6\n"
    target = wait_target(server, "down")
    assert target["lastError"] == 'strconv.ParseFloat: parsing "is": invalid syntax while parsing: "this is"', target
    wait_for("up is 0", lambda: server.value("up") == 0)
    # Everything of the bad scrape is rolled back, and what was there is stale.
    wait_for("stale", lambda: server.instant("good_one") == [] and server.instant("good_two") == [])
    assert {p[1] for p in stored_raw(server, "good_one")} == {"1"}
    exporter.pages["/metrics"] = "good_one 7\ngood_two 8\n"
    wait_for("back", lambda: server.value("good_one") == 7 and server.value("up") == 1)
    assert wait_target(server, "up")["lastError"] == ""


def test_vanished_series__gets_a_stale_marker():
    exporter, server = start({"/metrics": "stays 1\ngoes{x=\"1\"} 1\n"})
    wait_for("goes", lambda: server.value("goes") == 1)
    exporter.pages["/metrics"] = "stays 2\n"
    wait_for("stays 2", lambda: server.value("stays") == 2)
    assert server.instant("goes") == []
    assert server.value("up") == 1
    assert len(stored_raw(server, "goes")) >= 1  # The marker hides, it does not delete.
    exporter.pages["/metrics"] = "stays 2\ngoes{x=\"1\"} 9\n"
    wait_for("goes again", lambda: server.value("goes") == 9)


def test_failed_scrape__marks_everything_stale():
    exporter, server = start({"/metrics": "m 1\n"})
    wait_for("m", lambda: server.value("m") == 1)
    exporter.pages["/metrics"] = lambda handler: (500, {}, b"boom")
    target = wait_target(server, "down")
    assert target["lastError"] == "server returned HTTP status 500 Internal Server Error", target["lastError"]
    wait_for("m is stale, up is 0", lambda: server.instant("m") == [] and server.value("up") == 0)
    assert server.value("scrape_samples_scraped") == 0


def test_refused_connection__is_down():
    port = harness.free_port()
    server = Server(config(f"127.0.0.1:{port}"))
    target = wait_target(server, "down")
    assert "refused" in target["lastError"], target["lastError"]
    wait_for("up is 0", lambda: server.value("up") == 0)


def test_removed_target__gets_stale_markers():
    exporter = Exporter({"/metrics": "m 1\n"})
    home = harness.new_folder("sd")
    path = os.path.join(home, "targets.json")
    both = [{"targets": [exporter.address], "labels": {"zone": "a"}},
            {"targets": [exporter.address], "labels": {"zone": "b"}}]
    harness.write_file(path, json.dumps(both))
    server = Server(f"""
global:
  scrape_interval: 250ms
  scrape_timeout: 250ms
scrape_configs:
  - job_name: files
    file_sd_configs:
      - files: ["{path}"]
        refresh_interval: 1s
""")
    wait_for("both zones", lambda: len(server.instant('m{zone=~"a|b"}')) == 2)
    targets = server.targets("files")
    assert {t["discoveredLabels"]["__meta_filepath"] for t in targets} == {path}
    harness.write_file(path, json.dumps(both[:1]))
    wait_for("one target", lambda: len(server.targets("files")) == 1, 15)
    wait_for("zone b is stale", lambda: server.instant('m{zone="b"}') == [] and server.instant('up{zone="b"}') == [],
             10)
    assert server.value('m{zone="a"}') == 1
    # An unreadable file keeps the last good content.
    harness.write_file(path, "[{ not json")
    time.sleep(1.5)
    assert len(server.targets("files")) == 1
    harness.write_file(path, json.dumps(both))
    wait_for("zone b again", lambda: server.value('m{zone="b"}') == 1, 15)


def test_honor_labels__decides_who_wins():
    page = 'm{job="mine",instance="here",zone="z"} 1\nempty{job=""} 2\n'
    exporter, server = start({"/metrics": page})
    wait_for("m", lambda: server.value("m") == 1)
    labels = server.instant("m")[0][0]
    assert labels == {"__name__": "m", "job": "fake", "instance": exporter.address, "exported_job": "mine",
                      "exported_instance": "here", "zone": "z"}, labels
    assert server.instant("empty")[0][0] == {"__name__": "empty", "job": "fake", "instance": exporter.address}
    exporter, server = start({"/metrics": page}, "    honor_labels: true\n")
    wait_for("m", lambda: server.value("m") == 1)
    labels = server.instant("m")[0][0]
    assert labels == {"__name__": "m", "job": "mine", "instance": "here", "zone": "z"}, labels
    assert server.instant("empty")[0][0] == {"__name__": "empty", "instance": exporter.address}


def test_honor_timestamps__can_be_switched_off():
    page = f"m 1 {int(time.time() * 1000) - 30000}\n"
    _, server = start({"/metrics": page})
    wait_for("up", lambda: server.value("up") == 1)
    age = wait_for("m", lambda: server.value("time() - timestamp(m)"))
    assert age > 29, age
    _, server = start({"/metrics": page}, "    honor_timestamps: false\n")
    wait_for("m", lambda: server.value("m") == 1)
    assert server.value("time() - timestamp(m)") < 5


def test_relabelling__of_targets_and_metrics():
    exporter, server = start({"/metrics": 'keep_a{path="/x/1"} 1\nkeep_b 2\ndrop_c 3\n'}, """
    relabel_configs:
      - source_labels: [__address__]
        regex: "(.*):(.*)"
        target_label: host
        replacement: "$1"
      - target_label: instance
        replacement: renamed
    metric_relabel_configs:
      - source_labels: [__name__]
        regex: "drop_.*"
        action: drop
      - source_labels: [path]
        regex: "/x/(.+)"
        target_label: number
        replacement: "n${1}"
      - regex: path
        action: labeldrop
""")
    wait_for("keep_b", lambda: server.value("keep_b") == 2)
    assert server.instant("keep_a")[0][0] == {"__name__": "keep_a", "job": "fake", "instance": "renamed",
                                               "host": "127.0.0.1", "number": "n1"}
    assert server.instant("drop_c") == []
    assert server.value("scrape_samples_scraped") == 3
    assert server.value("scrape_samples_post_metric_relabeling") == 2
    assert server.instant("up")[0][0] == {"__name__": "up", "job": "fake", "instance": "renamed",
                                           "host": "127.0.0.1"}
    del exporter


def test_dropped_target__is_listed():
    _, server = start({"/metrics": "m 1\n"}, """
    relabel_configs:
      - source_labels: [__address__]
        regex: "127.*"
        action: drop
""")
    dropped = wait_for("a dropped target", lambda: server.data("/api/v1/targets")["droppedTargets"])
    assert dropped[0]["scrapePool"] == "fake" and dropped[0]["discoveredLabels"]["job"] == "fake"
    assert server.targets() == []
    assert server.data("/api/v1/targets")["droppedTargetCounts"] == {"fake": 1}


def test_gzip__is_read():
    page = "".join(f'big_metric{{n="{i}"}} {i}\n' for i in range(5000))
    packed = harness.gzipped(page)
    _, server = start({"/metrics": lambda handler: (200, {"Content-Encoding": "gzip"}, packed)})
    wait_for("5000 series", lambda: server.value("count(big_metric)") == 5000)
    assert server.value("sum(big_metric)") == sum(range(5000))


def test_broken_gzip__fails_the_scrape():
    packed = harness.gzipped("m 1\n" * 1000)
    _, server = start({"/metrics": lambda handler: (200, {"Content-Encoding": "gzip"}, packed[:len(packed) // 2])})
    target = wait_target(server, "down")
    print("    lastError:", target["lastError"])
    assert server.instant("m") == []


def test_chunked_body__is_read():
    def page(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/plain")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in (b"first ", b"1\nsec", b"ond 2\n"):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            handler.wfile.flush()
        handler.wfile.write(b"0\r\n\r\n")

    _, server = start({"/metrics": page})
    wait_for("second", lambda: server.value("second") == 2 and server.value("first") == 1)


def test_timeout__is_down():
    def page(handler):
        time.sleep(1)
        return 200, {}, "slow 1\n"

    _, server = start({"/metrics": page})
    target = wait_target(server, "down")
    assert "deadline exceeded" in target["lastError"] or "timeout" in target["lastError"].lower(), target["lastError"]
    print("    lastError:", target["lastError"])
    assert server.instant("slow") == []
    assert 0.2 < server.value("scrape_duration_seconds") < 0.9


def test_body_that_stalls__is_down_and_leaves_nothing():
    def page(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/plain")
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        handler.wfile.write(b"half_a_scrape 1\n" + b"other 2\n")
        handler.wfile.flush()
        time.sleep(1)
        raise ConnectionAbortedError

    _, server = start({"/metrics": page})
    wait_target(server, "down")
    wait_for("up is 0", lambda: server.value("up") == 0)
    assert server.instant("half_a_scrape") == []


def test_limits__fail_the_scrape():
    page = "".join(f'm{{n="{i}"}} 1\n' for i in range(20))
    for line, text in (("sample_limit: 19", "sample limit exceeded"),
                       ("body_size_limit: 100B", "body size limit exceeded"),
                       ("label_limit: 2", "label_limit exceeded"),
                       ("label_name_length_limit: 5", "label_name_length_limit exceeded"),
                       ("label_value_length_limit: 5", "label_value_length_limit exceeded"),
                       ("target_limit: 0\n    sample_limit: 20", None)):
        _, server = start({"/metrics": page}, f"    {line}\n")
        if text is None:
            wait_for("the limit itself is fine", lambda: server.value("count(m)") == 20)
            continue
        target = wait_target(server, "down")
        assert text in target["lastError"], (line, target["lastError"])
        assert server.instant("m") == [], line
        server.stop()


def test_target_limit__fails_the_pool():
    exporter = Exporter({"/metrics": "m 1\n"})
    server = Server(config(f'{exporter.address}", "localhost:{exporter.port}', "    target_limit: 1\n"))
    wait_for("both targets down", lambda: [t["health"] for t in server.targets()] == ["down", "down"])
    assert "target_limit exceeded (number of targets: 2, limit: 1)" in server.targets()[0]["lastError"]


def test_content_type__is_needed():
    def blank(handler):
        return 200, {"Content-Type": None}, "m 1\n"

    _, server = start({"/metrics": blank})
    target = wait_target(server, "down")
    assert target["lastError"] == ("non-compliant scrape target sending blank Content-Type and no "
                                   "fallback_scrape_protocol specified for target"), target["lastError"]
    _, server = start({"/metrics": blank}, "    fallback_scrape_protocol: PrometheusText0.0.4\n")
    wait_for("m", lambda: server.value("m") == 1)
    _, server = start({"/metrics": lambda handler: (200, {"Content-Type": "text/html"}, "m 1\n")})
    target = wait_target(server, "down")
    assert target["lastError"] == ('received unsupported Content-Type "text/html" and no fallback_scrape_protocol '
                                   'specified for target'), target["lastError"]


def test_duplicate_series__keeps_the_first():
    _, server = start({"/metrics": "m 1\nm 2\nother 3\n"})
    wait_for("other", lambda: server.value("other") == 3)
    assert server.value("m") == 1
    own = server.get("/metrics").text
    line = [l for l in own.splitlines() if l.startswith("prometheus_target_scrapes_sample_duplicate_timestamp_total")]
    assert line and float(line[0].split()[1]) >= 1, line


def test_odd_values__are_kept_exactly():
    values = {"inf": "+Inf", "ninf": "-Inf", "nan": "NaN", "tiny": "5e-324", "huge": "1.7976931348623157e+308",
              "negzero": "-0", "exact": "9007199254740993", "third": "0.3333333333333333", "escaped": "1"}
    page = "".join(f"odd_{name} {text}\n" for name, text in values.items() if name != "escaped")
    page += '# HELP odd_escaped help \\\\ with \\n breaks\n# TYPE odd_escaped gauge\n'
    page += 'odd_escaped{text="a\\"b\\\\c\\nd",utf="\u00e4\u20ac\U0001f525"} 1\n'
    _, server = start({"/metrics": page})
    wait_for("odd_escaped", lambda: server.value("odd_escaped") == 1)
    labels = server.instant("odd_escaped")[0][0]
    assert labels["text"] == 'a"b\\c\nd' and labels["utf"] == "\u00e4\u20ac\U0001f525", labels
    for name, text in values.items():
        stored = server.instant(f"odd_{name}")[0][1][1]
        assert stored == text or harness.same_value(float(stored), float(text), 0), (name, text, stored)
    assert server.instant("odd_negzero")[0][1][1] == "-0"
    assert server.data("/api/v1/metadata", {"metric": "odd_escaped"})["odd_escaped"] == [
        {"type": "gauge", "help": "help \\ with \n breaks", "unit": ""}]


def test_histogram_bounds__are_normalised():
    _, server = start({"/metrics": '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
                                   '# TYPE g gauge\ng{le="1"} 4\n'})
    wait_for("h", lambda: server.value("h_count") == 2)
    assert {l["le"] for l, _ in server.instant("h_bucket")} == {"1.0", "+Inf"}
    assert server.instant("g")[0][0]["le"] == "1"


def test_reload__keeps_unchanged_targets_and_adds_new_ones():
    exporter, server = start({"/metrics": "m 1\n", "/more": "more 1\n"})
    wait_for("m", lambda: server.value("m") == 1)
    server.set_config(config(exporter.address) + f"""
  - job_name: second
    metrics_path: /more
    static_configs: [{{targets: ["{exporter.address}"]}}]
""")
    assert server.post("/-/reload").status == 200
    wait_for("more", lambda: server.value("more") == 1)
    assert server.value("up{job=\"fake\"}") == 1
    assert server.data("/api/v1/scrape_pools")["scrapePools"] == ["fake", "second"]
    server.set_config(config(exporter.address))
    assert server.post("/-/reload").status == 200
    wait_for("the pool is gone", lambda: server.data("/api/v1/scrape_pools")["scrapePools"] == ["fake"])
    wait_for("more is stale", lambda: server.instant("more") == [])


def read_lines(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def test_scrape_failure_log__has_what_brought_no_answer():
    """Only requests that failed are in there, not pages that cannot be read; a reload opens the file anew."""
    folder = harness.new_folder("failures")
    path, own = os.path.join(folder, "all.log"), os.path.join(folder, "own.log")
    port = harness.free_port()
    exporter = Exporter({"/metrics": "m 1\nbad line\n"})
    text = config(exporter.address, "", f"  scrape_failure_log_file: {path}") + f"""
  - job_name: gone
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
  - job_name: own
    scrape_failure_log_file: {own}
    metrics_path: /missing
    static_configs: [{{targets: ["{exporter.address}"]}}]
"""
    server = Server(text)
    wait_for("both files have lines", lambda: read_lines(path) and read_lines(own))
    wait_for("the bad page was read", lambda: server.value("up{job=\"fake\"}") == 0)
    line = read_lines(path)[0]
    assert list(line) == ["time", "level", "source", "msg", "job_name", "target"], line
    url = f"http://127.0.0.1:{port}/metrics"
    assert (line["level"], line["job_name"], line["target"]) == ("ERROR", "gone", url), line
    assert line["msg"] == f'Get "{url}": dial tcp 127.0.0.1:{port}: connect: connection refused', line
    assert {one["job_name"] for one in read_lines(path)} == {"gone"}
    assert read_lines(own)[0]["msg"] == "server returned HTTP status 404 Not Found"
    os.rename(path, path + ".1")
    assert server.post("/-/reload").status == 200
    wait_for("the new file has lines", lambda: read_lines(path))


def test_fallback_protocol__may_stand_in_global():
    exporter = Exporter({"/metrics": lambda handler: (200, {"Content-Type": "application/json"}, b"m 1\n")})
    server = Server(config(exporter.address, "", "  fallback_scrape_protocol: PrometheusText0.0.4"))
    wait_for("m", lambda: server.value("m") == 1)


if __name__ == "__main__":
    harness.main(globals())
