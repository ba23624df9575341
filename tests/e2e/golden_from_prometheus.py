"""Fills in what Debian's Prometheus 2.42 answers, for the evals of golden files that have no expectation yet.

    golden_from_prometheus.py FILE...        writes the files anew

An eval without an answer below it and one with an empty answer look alike: those get the comment `# nothing`. Use it only for
what 2.42 and the version that we follow agree on: no sample on the left edge of a range, counters far from zero, nothing
that is younger. What it writes is then checked against us by unit/cli/test_promql, as any other case.
"""
import math
import re
import sys

import fuzz_promql
import harness
import promql_data

UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration_ms(text):
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return round(float(text) * 1000)
    sign = -1 if text.startswith("-") else 1
    return sign * sum(int(n) * UNITS[u] for n, u in re.findall(r"(\d+)(ms|[smhd])", text))


def number(text):
    return {"NaN": float("nan"), "Inf": float("inf"), "+Inf": float("inf"), "-Inf": float("-inf")}.get(text) \
        if text.strip("+-") in ("NaN", "Inf") else float(text)


def points(text):
    """1 2 _ stale 1+2x3 5x2 _x4"""
    out = []
    for word in text.split():
        found = re.fullmatch(r"_x(\d+)", word)
        if found:
            out += [""] * int(found.group(1))
            continue
        found = re.fullmatch(r"(.+?)(?:([+-][\d.e]+))?x(\d+)", word)
        if word in ("_", "stale"):
            out.append("" if word == "_" else None)
        elif found:
            first, step, count = number(found.group(1)), float(found.group(2) or 0), int(found.group(3))
            out += [first + step * k for k in range(count + 1)]
        else:
            out.append(number(word))
    return out


def metric(text):
    name, _, inside = text.partition("{")
    labels = {k: v.encode().decode("unicode_escape").encode("latin-1").decode()
              for k, v in re.findall(r'(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"', inside)}
    if name:
        labels["__name__"] = name
    return labels


def split_series(line):
    found = re.match(r'\s+([^\s{]*(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?)\s+(.*)$', line)
    return metric(found.group(1)), points(found.group(2))


class Filler:
    def __init__(self):
        self.server = None
        self.client = None
        self.series = []
        self.clear()

    def clear(self):
        if self.server:
            self.server.kill()
        self.server = harness.start_prometheus("", ["--storage.tsdb.retention.time=100y"])
        self.client = fuzz_promql.Client(self.server, False)
        self.series = []

    def load(self, step_ms, lines):
        for line in lines:
            labels, values = split_series(line)
            self.series.append((labels, [(k * step_ms, v) for k, v in enumerate(values) if v != ""]))
        reply = self.server.write(self.series[-len(lines):])
        assert reply.status == 204, reply

    def answer(self, line):
        """The expectation's lines."""
        found = re.match(r"eval instant at (\S+) (.*)$", line)
        if found:
            at = {"time": repr(duration_ms(found.group(1)) / 1000)}
            text = found.group(2)
        else:
            found = re.match(r"eval range from (\S+) to (\S+) step (\S+) (.*)$", line)
            at = dict(zip(("start", "end", "step"), (repr(duration_ms(t) / 1000) for t in found.groups()[:3])))
            text = found.group(4)
        return expectation(text, at, self.client.ask(text, at))


def expectation(text, at, answer):
    if answer[0]:
        return ["  expect fail msg:" + answer[1].removeprefix('invalid parameter "query": ')]
    kind, result = answer[1]["resultType"], answer[1]["result"]
    if kind == "string":
        return ["  expect string " + promql_data.quoted(result[1])]
    if kind == "scalar":
        return ["  " + result[1]]
    if not result:
        return ["# nothing"]
    if kind == "matrix" and "time" in at:
        return expected_ranges(result)
    lines = ["  expect ordered"] if re.match(r"sort|topk\(|bottomk\(", text) and "time" in at else []
    if not lines:
        result = sorted(result, key=lambda s: harness.labels_key(s["metric"]))
    for one in result:
        values = {round(p[0] * 1000): p[1] for p in fuzz_promql.points_of(one)}
        shown = " ".join(values.values())
        if "step" in at:
            start, end, step = (round(float(at[k]) * 1000) for k in ("start", "end", "step"))
            shown = " ".join(values.get(t, "_") for t in range(start, end + 1, step))
        lines.append(f"  {promql_data.metric_text(one['metric']) or '{}'} {shown}")
    return lines


def expected_ranges(result):
    """The points of a range selector or subquery, all series in one raster."""
    times = sorted({round(p[0] * 1000) for one in result for p in fuzz_promql.points_of(one)})
    step = math.gcd(*(t - times[0] for t in times)) or 1000
    lines = [f"  expect range vector from {times[0]}ms to {times[-1]}ms step {step}ms"]
    for one in sorted(result, key=lambda s: harness.labels_key(s["metric"])):
        values = {round(p[0] * 1000): p[1] for p in fuzz_promql.points_of(one)}
        shown = " ".join(values.get(t, "_") for t in range(times[0], times[-1] + 1, step))
        lines.append(f"  {promql_data.metric_text(one['metric']) or '{}'} {shown}")
    return lines


def fill(path):
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")
    filler, out, at = Filler(), [], 0
    while at < len(lines):
        line = lines[at]
        out.append(line)
        at += 1
        below = []
        while at < len(lines) and lines[at].startswith("  "):
            below.append(lines[at])
            at += 1
        if line == "clear":
            filler.clear()
        elif line.startswith("load "):
            filler.load(duration_ms(line.split()[1]), below)
        elif line.startswith("eval ") and not below and not (at < len(lines) and lines[at] == "# nothing"):
            below = filler.answer(line)
        out += below
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        fill(name)
