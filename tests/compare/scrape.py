"""The fuzzers' corpora as pages, each a target of both: series, values, exemplars and lastError must agree."""
import glob
import json
import os
import time

import beside
import harness

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fuzz", "corpus")
TYPES = {"text": "text/plain; version=0.0.4", "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
         "protobuf": "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"}
# When a series is refused is known here only after it has been counted.
UNEQUAL = ("scrape_duration_seconds", "scrape_series_added")


def read_pages():
    pages = []
    for kind in TYPES:
        for path in sorted(glob.glob(os.path.join(CORPUS, kind, "*"))):
            with open(path, "rb") as file:
                body = file.read()
            # Two bytes of a protobuf input are the fuzzer's own.
            pages.append((kind, os.path.basename(path), body[2:] if kind == "protobuf" else body))
    return pages


def page(kind, body):
    return lambda _: (200, {"Content-Type": TYPES[kind]}, body)


def snapshot(server, count, port):
    found = [{"error": "", "series": {}, "exemplars": {}} for _ in range(count)]
    for target in server.targets():
        found[int(target["labels"]["p"])]["error"] = target["lastError"].replace(str(port), "PORT")
    now = repr(time.time() + 5)
    for digit in range(10):
        query = {"query": f'{{job="pages",p=~".*{digit}"}}', "time": now, "lookback_delta": "1h"}
        for one in server.data("/api/v1/query", query)["result"]:
            labels = dict(one["metric"])
            series = found[int(labels.pop("p"))]["series"]
            if labels.get("__name__") not in UNEQUAL:
                series[json.dumps(labels, sort_keys=True)] = one["value"][1] if "value" in one else one["histogram"][1]
    for one in server.data("/api/v1/query_exemplars", {"query": '{job="pages"}', "start": "0", "end": "4e9"}):
        labels = dict(one["seriesLabels"])
        exemplars = found[int(labels.pop("p"))]["exemplars"]
        exemplars[json.dumps(labels, sort_keys=True)] = [(e["labels"], e["value"]) for e in one["exemplars"]]
    return found


def main():
    pages = read_pages()
    exporter = harness.Exporter({f"/{i}": page(kind, body) for i, (kind, _, body) in enumerate(pages)})
    config = ["global: {scrape_interval: 60s, scrape_timeout: 15s}", "storage: {exemplars: {max_exemplars: 100000}}", "scrape_configs:",
              "- job_name: pages", "  scrape_native_histograms: true", "  extra_scrape_metrics: true", "  static_configs:"]
    for i in range(len(pages)):
        config.append(f"  - {{targets: ['127.0.0.1:{exporter.port}'], labels: {{__metrics_path__: '/{i}', p: '{i}'}}}}")
    servers = beside.start("\n".join(config) + "\n")
    for server in servers:
        harness.wait_for("all pages are scraped", lambda: len(server.targets()) == len(pages)
                         and all(target["health"] != "unknown" for target in server.targets()), 120)
    theirs, ours = (snapshot(server, len(pages), exporter.port) for server in servers)
    differ = 0
    for (kind, name, _), one, two in zip(pages, theirs, ours):
        if one == two:
            continue
        differ += 1
        print(f"{kind}/{name}")
        for part in ("error", "series", "exemplars"):
            if one[part] != two[part]:
                print(f"  {part}\n    prometheus {str(one[part])[:500]}\n    narthex    {str(two[part])[:500]}")
    print(f"{len(pages) - differ} of {len(pages)} pages are equal")


if __name__ == "__main__":
    main()
