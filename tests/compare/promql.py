"""Random PromQL of the whole language, experimental parts and native histograms included, asked of both.

    promql.py [--seconds N] [--seed N] [--only text|value]

Each expression goes to parse_query and format_query, to an instant and to a range query: status, result, warnings, infos
and errors must agree, numbers to the last digit (what is within 1e-12 is only counted: libm is not Go's). Then tokens are
lost, doubled and swapped, and what parse_query says of that must agree to the character. A difference is shrunk.
"""
import argparse
import collections
import http.client
import json
import math
import os
import random
import re
import struct
import sys
import time

import beside
import harness
import histograms
import promql_data
from promql_generate import Node

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
FEATURES = ("promql-experimental-functions,promql-binop-fill-modifiers,promql-extended-range-selectors,"
            "promql-per-step-stats,promql-duration-expr")
RANGES = ("30s", "1m", "90s", "2m", "5m", "10m", "20m", "1h", "45s", "15s", "1m1s", "300", "0x3c", "1m30s", "1e2", "7.5", "1h0m")
RANGE_EXPRESSIONS = ("1m+30s", "2*1m", "step()", "step()+1m", "(2m)", "5m/2", "-1m+3m", "2^7", "max_of(step(), 1m)", "min_of(5m,range()+1m)",
                     "10m%7m", "range()/4+30s", "-(-1m)", "+1m", "1m*(2+1)")
STEPS = ("10s", "15s", "30s", "1m", "50s", "2m", "5m", "", "", "7", "step()", "15s*2", "30s+step()")
OFFSETS = ("15s", "1m", "5m", "-1m", "-30s", "20m", "0s", "10", "-7.5", "(1m+15s)", "step()", "-step()", "(-(1m))", "range()", "+1m",
           "max_of(1m,step())", "-min_of(1m,2m)")
ANY_REGEX = (".*", ".+", "(.*)", "a.*|b", "host-(.*):80", "(?i)API", "", "[0-9]+", "(?P<x>.)(.*)", ".{3}", "^a.*$", "\\\\d+", "x|", "*")
NUMBERS = ("0", "1", "2", "-1", "0.5", "1e3", "3", "NaN", "Inf", "-Inf", "1m", "0.1", "1e-9", "100", "7", "1e308", "0x10", "-0", "2.5")
ONE_FLOAT = ("abs ceil floor exp sqrt ln log2 log10 sgn sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh deg rad minute hour "
             "day_of_week day_of_month day_of_year days_in_month month year round sort sort_desc timestamp absent").split()
OVER = ("avg sum min max count stddev stdvar last first present absent mad ts_of_min ts_of_max ts_of_first ts_of_last").split()
OF_RANGE = "rate increase delta irate idelta deriv resets changes rate increase".split()
EXTENDED = "rate increase delta resets changes".split()
OF_HISTOGRAM = "histogram_count histogram_sum histogram_avg histogram_stddev histogram_stdvar".split()
AGGREGATIONS = "sum avg min max count group stddev stdvar sum avg".split()
OPERATORS = "+ - * / % ^ atan2 == != > < >= <= and or unless </ >/ + - *".split()
GARBAGE = ("(", ")", "[", "]", "{", "}", ",", ":", "=", "==", "!", "!=", "=~", "@", "offset", "by", "on", "bool", "group_left", "5m", "3", '"x"',
           "'", "`", "\\", "#", ";", "x", "sum", "and", "ignoring", "start()", "end()", "\n", "-", "^", "without", "ä", "0x", "1e", "5m3",
           "1_000", "smoothed", "anchored", "fill(0)", "fill_left(1)", "fill", "step()", "range()", "max_of(1,2)", "</", ">/", "<", ">", "%",
           "inf", "NaN", "{{", "}}", "[5m]", "[5m:1m]", "[5m:]", "@ start()", "@ 1e9", "offset 5m", "offset -5m", "rate", "topk", "limitk", "abs",
           "\t", "~", "!~", "$", "&", "|", "&&", "?", '"', "\\'", "'\\x'", "'\\u12'", "group_right", "sort", "08", "0b1", "1..2", ".5", "5.",
           "__name__", "{x}", '{"x"}', '"\\q"', "le", "x:y", ":x", "1s1m", "5y", "0s", "1m1m", "999999999999y", "-1s", "unless", "or", "atan2")


def decimal_points(chance, count, kind):
    value, points = chance.uniform(0, 100), []
    for k in range(count):
        if kind == "counter":
            value = 0.0 if chance.random() < 0.02 else value + abs(chance.gauss(0, 3)) * chance.choice((0, 1, 1))
        elif kind == "reset":
            value = chance.choice((0.0, value + 1, value + 2.5, value))
        elif kind == "gauge":
            value += chance.gauss(0, 5)
        else:
            value = chance.choice((0.0, -0.0, 1.0, 1e-7, 1e21, -3.5, math.inf, -math.inf, math.nan, 1e308, 5e-324, 123456.789, 2.0 ** 53, 1e16, 0.1))
        points.append(value if chance.random() > 0.06 else chance.choice(("", None)))
    if chance.random() < 0.4:
        at = chance.randrange(count)
        points[at:at + 40] = [""] * len(points[at:at + 40])
    return points


class Data:
    """Series on a raster of 15 s from time 0, so that edges of ranges lie on samples."""

    def __init__(self, seed):
        self.chance = chance = random.Random(seed)
        self.series = []
        self.families = collections.defaultdict(lambda: collections.defaultdict(set))
        for job in ("api", "web"):
            for i in range(3):
                base = {"job": job, "instance": f"host-{i}:80"}
                for code in ("200", "404", "500"):
                    self.add("req_total", dict(base, code=code), "counter")
                self.add("restarts", base, "reset")
                self.add("temp", dict(base, room="r" + str(i % 2)), "gauge")
                self.add("limit", dict(base, room="r" + str(i % 2)), "gauge")
                self.add("up", base, "reset")
                self.put("target_info", dict(base, version=f"1.{i}", zone="z1", data="d" + job), [1.0] * 240)
                self.put("build_info", dict(base, rev=f"v{i * 9}"), [1.0] * 240)
        for n in range(4):
            self.add("odd", {"n": str(n)}, "odd")
            self.add("utf8.naïve metric", {"n": str(n), "la bel": "x" * n}, "gauge")
        for text in ("é\u2028<>&", 'say "hi"\\', "a10", "a9", "A9", ""):
            self.add("words", {"text": text, "n": str(len(text))}, "gauge")
        self.add("lonely", {}, "gauge")
        self.add("typed_total", {"__type__": "counter", "__unit__": "bytes", "n": "1"}, "counter")
        self.add("typed", {"__type__": "gauge", "n": "1"}, "counter")
        for job in ("api", "web"):
            counts = [0.0] * 6
            rows = []
            for _ in range(240):
                counts = [c + chance.randrange(0, 4) for c in counts]
                rows.append([sum(counts[:i + 1]) for i in range(6)])
            for i, bound in enumerate(("0.1", "0.5", "1", "2.5", "1e1", "+Inf" if job == "api" else "junk")):
                self.put("lat_bucket", {"job": job, "le": bound}, [row[i] + (0.5 if chance.random() < 0.02 else 0) for row in rows])
            self.put("lat_count", {"job": job}, [row[5] for row in rows])
            self.put("lat_sum", {"job": job}, [row[5] * 0.7 for row in rows])
        for le in ("-1", "0", "1", "+Inf"):
            self.add("neg_bucket", {"le": le}, "counter")

    def add(self, name, labels, kind):
        self.put(name, labels, decimal_points(self.chance, 240, kind))

    def put(self, name, labels, points):
        labels = {k: v for k, v in labels.items() if v != ""}
        self.series.append((dict(labels, __name__=name), [(k * 15000, v) for k, v in enumerate(points) if v != ""]))
        for key, value in labels.items():
            self.families[name][key].add(value)


def quoted(text):
    return promql_data.quoted(text)


class Generator:
    def __init__(self, data, seed, experimental=True):
        self.chance = random.Random(seed)
        self.families = {name: {k: sorted(v) for k, v in labels.items()} for name, labels in data.families.items()}
        for name in histograms.NAMES:
            self.families[name] = {"i": ["0", "1", "2", "3"], "job": ["a", "b"]}
        self.families.setdefault("lonely", {})
        self.names = sorted(self.families) + list(histograms.NAMES) * 3
        self.experimental = experimental

    def one(self, *of):
        return self.chance.choice(of)

    def maybe(self, share):
        return self.chance.random() < share

    # ---- leaves ----

    def selector_text(self):
        name = self.chance.choice(self.names)
        labels = self.families[name]
        parts = []
        for key in self.chance.sample(sorted(labels), min(len(labels), self.one(0, 0, 0, 1, 1, 2))):
            op = self.one("=", "=", "!=", "=~", "!~")
            value = self.chance.choice(labels[key]) if self.maybe(0.7) else self.one("", "none", "a")
            if op[-1] == "~":
                value = self.chance.choice(ANY_REGEX[:-1])
                text = '"' + value + '"'
            else:
                text = quoted(value)
            parts.append((key if re.fullmatch(r"\w+", key) else quoted(key)) + op + text)
        if not re.fullmatch(r"\w+", name):
            return "{" + ", ".join([quoted(name)] + parts) + "}"
        if self.maybe(0.04):
            return "{" + ",".join([f'__name__=~"{name}|{self.chance.choice(self.names).split(".")[0]}"'] + parts) + "}"
        return name + ("{" + ",".join(parts) + "}" if parts else "")

    def modifiers(self):
        out = []
        if self.maybe(0.1):
            out.append(" @ " + self.one("end()", "start()", "1800", "900.5", "0", "-60", "3600"))
        if self.maybe(0.13):
            out.append(" offset " + self.chance.choice(OFFSETS))
        self.chance.shuffle(out)
        return "".join(out)

    def range_text(self):
        return self.chance.choice(RANGE_EXPRESSIONS if self.maybe(0.15) else RANGES)

    def selector(self):
        return Node("vector", [self.selector_text() + (self.one(" smoothed", " anchored") if self.maybe(0.02) else "") + self.modifiers()])

    def matrix(self, depth, extended=False):
        if depth > 0 and self.maybe(0.15) and not extended:
            return Node("matrix", [Node("vector", ["(", self.vector(depth - 1), ")"]),
                                   f"[{self.range_text()}:{self.chance.choice(STEPS)}]" + self.modifiers()])
        more = self.one(" anchored", " smoothed") if extended or self.maybe(0.01) else ""
        return Node("matrix", [self.selector_text() + f"[{self.range_text()}]" + more + self.modifiers()])

    def scalar(self, depth):
        take = self.chance.random()
        if depth <= 0 or take < 0.6:
            return Node("scalar", [self.chance.choice(NUMBERS)])
        if take < 0.75:
            return Node("scalar", [self.one("time()", "pi()", "start()", "end()", "step()", "range()", "max_of(1, time())", "min_of(NaN, 3)")])
        if take < 0.85:
            return Node("scalar", ["scalar(", self.vector(depth - 1), ")"])
        if take < 0.9:
            return Node("scalar", [self.one("-", "+"), self.scalar(depth - 1)])
        op = self.one("+", "-", "*", "/", "%", "^", "atan2", "== bool", "> bool", "<= bool")
        return Node("scalar", ["(", self.scalar(depth - 1), f" {op} ", self.scalar(depth - 1), ")"])

    # ---- vectors ----

    def vector(self, depth):
        if depth <= 0 or self.maybe(0.1):
            return self.selector()
        make = self.chance.choice((self.of_range,) * 7 + (self.of_vector,) * 4 + (self.aggregation,) * 5 + (self.binary,) * 6
                                  + (self.of_histogram,) * 4 + (self.of_labels, self.rest, self.rest, self.choice, self.choice))
        return make(depth)

    def of_range(self, depth):
        take = self.chance.random()
        if take < 0.3:
            return Node("vector", [self.chance.choice(OF_RANGE) + "(", self.matrix(depth), ")"])
        if take < 0.7:
            return Node("vector", [self.chance.choice(OVER) + "_over_time(", self.matrix(depth), ")"])
        if take < 0.8:
            return Node("vector", ["quantile_over_time(", self.scalar(depth - 1), ", ", self.matrix(depth), ")"])
        if take < 0.85:
            return Node("vector", ["predict_linear(", self.matrix(depth), ", ", self.scalar(depth - 1), ")"])
        if take < 0.9:
            return Node("vector", ["double_exponential_smoothing(", self.matrix(depth), ", ", self.one("0.1", "0.5", "0.9", "1", "0"), ", ",
                                   self.one("0.1", "0.5", "0.9", "2", "-1"), ")"])
        return Node("vector", [self.chance.choice(EXTENDED) + "(", self.matrix(depth, True), ")"])

    def of_vector(self, depth):
        take = self.chance.random()
        if take < 0.65:
            return Node("vector", [self.chance.choice(ONE_FLOAT) + "(", self.vector(depth - 1), ")"])
        if take < 0.75:
            return Node("vector", ["round(", self.vector(depth - 1), ", ", self.scalar(depth - 1), ")"])
        if take < 0.85:
            return Node("vector", ["clamp(", self.vector(depth - 1), ", ", self.scalar(depth - 1), ", ", self.scalar(depth - 1), ")"])
        return Node("vector", [self.one("clamp_min", "clamp_max") + "(", self.vector(depth - 1), ", ", self.scalar(depth - 1), ")"])

    def of_histogram(self, depth):
        take = self.chance.random()
        if take < 0.35:
            return Node("vector", [self.chance.choice(OF_HISTOGRAM) + "(", self.vector(depth - 1), ")"])
        inner = self.vector(depth - 1)
        if self.maybe(0.3):
            inner = Node("vector", [self.one("rate(lat_bucket[5m])", "lat_bucket", "neg_bucket", "sum by (le) (rate(lat_bucket[5m]))",
                                             "sum by (le, job) (lat_bucket)", "rate(exponential[5m])", "sum(rate(custom[5m]))", "custom", "negative")])
        if take < 0.65:
            return Node("vector", ["histogram_quantile(", self.scalar(depth - 1), ", ", inner, ")"])
        if take < 0.85:
            return Node("vector", ["histogram_fraction(", self.scalar(depth - 1), ", ", self.scalar(depth - 1), ", ", inner, ")"])
        return Node("vector", ["histogram_quantiles(", inner, f', "{self.one("q", "job", "quantile")}", ', self.scalar(0), ", ", self.scalar(0), ")"])

    def label_list(self):
        known = ("job", "instance", "code", "i", "le", "room", "n", "none", "__name__", '"la bel"')
        return ", ".join(self.chance.sample(known, self.one(0, 1, 1, 1, 2, 2, 3)))

    def grouping(self):
        return "" if self.maybe(0.3) else self.one(" by ", " without ") + f"({self.label_list()})"

    def wrap(self, name, arguments):
        grouping = self.grouping()
        if self.maybe(0.5):
            return Node("vector", [name + grouping + "(", *arguments, ")"])
        return Node("vector", [name + "(", *arguments, ")" + grouping])

    def aggregation(self, depth):
        take = self.chance.random()
        inner = self.vector(depth - 1)
        if take < 0.85:
            return self.wrap(self.chance.choice(AGGREGATIONS), [inner])
        if take < 0.92:
            return self.wrap("quantile", [self.scalar(depth - 1), ", ", inner])
        return self.wrap("count_values", [f'"{self.one("v", "job", "le", "__name__")}", ', inner])

    def choice(self, depth):
        inner = self.vector(depth - 1)
        if self.maybe(0.5):
            return self.wrap(self.one("topk", "bottomk"), [self.one("1", "2", "3", "0", "-1", "100", "1.9", "scalar(lonely)"), ", ", inner])
        if self.maybe(0.5):
            return self.wrap("limitk", [self.one("0", "100", "-1", "2"), ", ", inner])
        return self.wrap("limit_ratio", [self.one("0", "1", "0.5", "-0.5", "0.3", "-0.7", "2", "-2", "time()"), ", ", inner])

    def matching(self, op):
        out = " bool" if op in ("==", "!=", ">", "<", ">=", "<=") and self.maybe(0.3) else ""
        if self.maybe(0.55):
            out += self.one(" on ", " ignoring ") + f"({self.label_list()})"
            if op not in ("and", "or", "unless") and self.maybe(0.45):
                out += self.one(" group_left ", " group_right ") + self.one("", f"({self.label_list()})", "()")
        if op not in ("and", "or", "unless") and self.maybe(0.15):
            out += self.one(" fill (0)", " fill_left (1)", " fill_right (-2)", " fill_left (7) fill_right(3)")
        return out

    def binary(self, depth):
        op = self.chance.choice(OPERATORS)
        if self.maybe(0.35) and op not in ("and", "or", "unless"):
            sides = [self.vector(depth - 1), f" {op}{' bool' if op in ('==', '>', '<=') and self.maybe(0.3) else ''} ", self.scalar(depth - 1)]
            if self.maybe(0.3):
                sides.reverse()
            return Node("vector", ["(", *sides, ")"])
        left = self.vector(depth - 1)
        right = left if self.maybe(0.25) else self.vector(depth - 1)
        return Node("vector", ["(", left, f" {op}{self.matching(op)} ", right, ")"])

    def of_labels(self, depth):
        inner = self.vector(depth - 1)
        if self.maybe(0.5):
            return Node("vector", ["label_replace(", inner, f', "{self.one("x", "job", "__name__", "le", "i", "a b", "")}", '
                                   f'"{self.one("$1", "x$1y", "${1}", "", "fix", "$2-$1", "$x", "$$", "${none}", "$1x")}", '
                                   f'"{self.one("job", "instance", "__name__", "none", "i")}", "{self.chance.choice(ANY_REGEX)}")'])
        return Node("vector", ["label_join(", inner, f', "{self.one("x", "job", "__name__", "")}", "{self.one("", "-")}"'
                               + "".join(f', "{self.one("job", "i", "instance", "none", "__name__", "a b")}"' for _ in range(self.one(0, 1, 2))) + ")"])

    def rest(self, depth):
        take = self.chance.random()
        if take < 0.2:
            return Node("vector", [self.one("-", "+", "-"), "(", self.vector(depth - 1), ")"])
        if take < 0.35:
            return Node("vector", ["vector(", self.scalar(depth - 1), ")"])
        if take < 0.5:
            return Node("vector", [self.one("info(", "info("), self.vector(depth - 1),
                                   self.one("", "", ', {version=~".+"}', ', {__name__="build_info"}', ', {__name__=~".*_info"}', ', {data="dapi"}',
                                            ', {version!="1.1"}', ', {none=""}', ", {zone=~\".*\"}") + ")"])
        if take < 0.7:
            return Node("vector", [self.one("sort_by_label(", "sort_by_label_desc("), self.vector(depth - 1),
                                   "".join(f', "{self.one("job", "i", "instance", "text", "__name__")}"' for _ in range(self.one(1, 1, 2))) + ")"])
        if take < 0.8:
            return Node("vector", [self.one("minute()", "hour()", "day_of_week()", "month()", "year()", "days_in_month()", "start_timestamp(up)")])
        return self.selector()

    def expression(self):
        depth = self.one(1, 2, 2, 3, 3, 4)
        take = self.chance.random()
        if take < 0.9:
            return self.vector(depth)
        return self.scalar(depth) if take < 0.95 else self.matrix(depth)

    def broken(self, root):
        nodes = list(root.nodes())
        if not nodes:
            return root
        new = {"matrix": self.matrix(0), "vector": self.selector(), "scalar": Node("scalar", ["1"]),
               "string": Node("string", ['"text"']), "nothing": Node("nothing", [""])}
        return root.replaced(self.chance.choice(nodes), new[self.one(*sorted(new))])


# ---- comparing ----

class Verdict:
    SAME, CLOSE, DIFFERENT = range(3)


def compare_numbers(one, two):
    if one == two:
        return Verdict.SAME
    try:
        a, b = float(one), float(two)
    except (TypeError, ValueError):
        return Verdict.DIFFERENT
    return Verdict.CLOSE if math.isclose(a, b, rel_tol=1e-12) else Verdict.DIFFERENT


def compare(one, two):
    if isinstance(one, dict) and isinstance(two, dict):
        return max([Verdict.SAME] + [compare(one[k], two[k]) for k in one]) if one.keys() == two.keys() else Verdict.DIFFERENT
    if isinstance(one, list) and isinstance(two, list):
        return max([Verdict.SAME] + [compare(a, b) for a, b in zip(one, two)]) if len(one) == len(two) else Verdict.DIFFERENT
    return compare_numbers(one, two)


def first_difference(one, two, place=""):
    """Where the two begin to differ, and what is there."""
    if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        pairs = [(one[k], two[k], f"{place}.{k}") for k in one]
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        pairs = [(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(one, two))]
    else:
        return f"{place}\n  prometheus {json.dumps(one)[:700]}\n  narthex    {json.dumps(two)[:700]}"
    for a, b, where in pairs:
        if a != b:
            return first_difference(a, b, where)
    return place


HISTOGRAM_NAMES = re.compile("exponential|negative|custom|mixed|gauge|__name__=~")
ORDERED = re.compile(r"^(sort|topk|bottomk)")


def comparable(answer, text):
    """In a vector only sort's and topk's order is defined."""
    if answer["status"] == "success" and isinstance(answer["data"], dict) and answer["data"].get("resultType") in ("vector", "matrix"):
        if answer["data"]["resultType"] == "vector" and ORDERED.match(text):
            answer["order"] = [one.get("value", [0, ""])[1] for one in answer["data"]["result"]]  # Equal values have none.
        for one in answer["data"]["result"]:
            for point in one.get("histograms", [one["histogram"]] if "histogram" in one else []):
                # Buckets without observations are as the chunk has them, until 0 * Inf is in all of them.
                if any(bucket[3] in ("NaN", "+Inf", "-Inf") for bucket in point[1].get("buckets", [])):
                    point[1]["buckets"] = "NaN"
        answer["data"]["result"].sort(key=lambda one: json.dumps(one["metric"], sort_keys=True))
    if answer["status"] == "success" and isinstance(answer["data"], dict) and "stats" in answer["data"]:
        answer["data"]["stats"]["timings"] = sorted(answer["data"]["stats"]["timings"])
        if HISTOGRAM_NAMES.search(text):
            answer["data"]["stats"]["samples"] = sorted(answer["data"]["stats"]["samples"])  # Their size is their chunk's.
        elif "__name__=~" in text or "start_timestamp" in text:  # The last window of a series is held beside what series before it made.
            answer["data"]["stats"]["samples"]["peakSamples"] = 0
    for kind in ("warnings", "infos"):
        answer[kind] = sorted(answer.get(kind, []))
        if any(one.endswith("annotations omitted") for one in answer[kind]):
            answer[kind] = ["many"]  # Which ten are named is not defined.
    if "duplicate series for the match group" in answer.get("error", ""):
        # Which group and which of its series are named is not defined there.
        answer["error"] = re.sub(r"match group \{.*?\} on the (left|right) hand-side of the operation: \[.*\];", r"match group \1;", answer["error"])
    return answer


class Client:
    def __init__(self, server):
        self.server = server
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def ask(self, path, parameters):
        body = harness.encode_query(parameters)
        for attempt in (1, 2):
            try:
                self.connection.request("POST", "/api/v1/" + path, body, FORM)
                reply = self.connection.getresponse()
                text = reply.read()
                try:
                    return json.loads(text)
                except ValueError:
                    return {"status": f"{reply.status} {text[:200]!r}"}
            except (OSError, http.client.HTTPException):
                self.connection.close()
                if attempt == 2 or not self.server.is_running():
                    raise
        return None


TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|[\d.]+\w*|[=!<>]=|[=!]~|\s+|.', re.S)


def garbled(chance, text):
    tokens = TOKENS.findall(text)
    for _ in range(chance.choice((1, 1, 1, 2))):
        at = chance.randrange(len(tokens))
        take = chance.random()
        if take < 0.35:
            tokens[at:at + 1] = []
        elif take < 0.5:
            tokens.insert(at, chance.choice(tokens))
        elif take < 0.8:
            tokens.insert(at, chance.choice(("", " ")) + chance.choice(GARBAGE) + chance.choice(("", " ")))
        elif take < 0.9:
            other = chance.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]
        else:
            tokens = tokens[:at]
        tokens = tokens or ["("]
    return "".join(tokens)


class Fuzzer:
    def __init__(self, seed, features):
        self.seed, self.chance = seed, random.Random(seed)
        self.data = Data(seed)
        self.generator = Generator(self.data, seed)
        beside.ARGS[-1] = "--enable-feature=" + features
        self.servers = beside.start()
        body = histograms.make_request(random.Random(seed))
        # In the order of labels, as blocks have it: sums and choices among equals follow it.
        self.data.series.sort(key=lambda one: sorted((k.encode(), v.encode()) for k, v in one[0].items()))
        for server in self.servers:
            reply = server.write(self.data.series)
            assert reply.status in (200, 204), reply
            reply = harness.http_call("POST", server.port, "/api/v1/write", body, harness.WRITE_HEADERS)
            assert reply.status in (200, 204), reply
        self.clients = [Client(server) for server in self.servers]
        self.count = collections.Counter()
        self.seen = set()

    def difference(self, text, path, at):
        answers = [client.ask(path, dict(at, query=text)) for client in self.clients]
        answers = [comparable(one, text) for one in answers]
        return compare(*answers), answers

    def times(self):
        moment = self.chance.choice((self.chance.randrange(0, 3700), self.chance.randrange(0, 240) * 15, self.chance.randrange(0, 3700000) / 1000))
        yield "query", dict({"time": str(moment)}, **self.chance.choice(({},) * 6 + ({"lookback_delta": "1m"}, {"lookback_delta": "700"}, {"stats": "all"},
                                                                                     {"stats": "true"}, {"stats": "x"}, {"limit": "1000"})))
        step = self.chance.choice((7, 15, 30, 60, 60, 120, 300, 61.5))
        start = self.chance.choice((self.chance.randrange(0, 3000), self.chance.randrange(0, 200) * 15))
        yield "query_range", dict({"start": str(start), "end": str(min(3700, start + step * self.chance.randrange(0, 40))), "step": str(step)},
                                  **self.chance.choice(({},) * 6 + ({"lookback_delta": "1m"}, {"lookback_delta": "700"}, {"stats": "all"},
                                                                    {"limit": "1"}, {"limit": "3"})))

    def shrink(self, root, path, at, verdict):
        deadline = time.monotonic() + 20
        smaller = True
        while smaller and time.monotonic() < deadline:
            smaller = False
            for old in [root] + list(root.nodes()):
                plain = [Node("scalar", ["1"])] if old.kind == "scalar" else []
                plain += [Node("vector", ["lonely"]), Node("vector", ["temp"])] if old.kind == "vector" else []
                for new in list(old.nodes()) + plain:
                    if new.kind != old.kind or len(new.text()) >= len(old.text()):
                        continue
                    candidate = root.replaced(old, new)
                    if self.difference(candidate.text(), path, at)[0] == verdict:
                        root, smaller = candidate, True
                        break
                if smaller:
                    break
        if path == "query_range":
            start, end, step = (float(at[k]) for k in ("start", "end", "step"))
            while start <= end:
                one = dict(at, start=repr(start), end=repr(start))
                if self.difference(root.text(), path, one)[0] == verdict:
                    return root, one
                start += step
        return root, at

    def report(self, kind, text, path, at, answers):
        self.count[kind] += 1
        print(f"==== {kind} {self.count[kind]} seed {self.seed}: {text!r}\n  {path} {at} {first_difference(*answers)}", flush=True)

    def check(self, root):
        text = root.text()
        for path, at in [("parse_query", {}), ("format_query", {}), *self.times()]:
            self.count["asked"] += 1
            if path == "format_query" and "offset (" in text:
                continue  # What Prometheus prints there reads back as something else.
            verdict, answers = self.difference(text, path, at)
            self.count["errors"] += answers[0]["status"] == "error"
            self.count["annotated"] += bool(answers[0]["warnings"] or answers[0]["infos"])
            self.count["empty"] += '"result": []' in json.dumps(answers[0])
            if verdict == Verdict.SAME or (path == "query_range" and re.search("topk|bottomk|limit", text)):
                continue  # Over several steps the order of a function's results, and so the choice among equals, is not defined.
            root, at = self.shrink(root, path, at, verdict)
            text = root.text()
            _, answers = self.difference(text, path, at)
            self.report("different" if verdict == Verdict.DIFFERENT else "close", text, path, at, answers)
            return

    def garble(self, text):
        text = garbled(self.chance, text)
        for path in ("parse_query", "format_query"):
            self.count["garbled"] += 1
            verdict, answers = self.difference(text, path, {})
            if path == "format_query" and answers[0]["status"] == "success":
                continue
            if verdict != Verdict.SAME:
                self.report("text", text, path, {}, answers)
                return

    def step(self, only):
        root = self.generator.expression()
        if self.chance.random() < 0.1:
            root = self.generator.broken(root)
        self.count["expressions"] += 1
        if only != "text":
            self.check(root)
        if only != "value":
            for _ in range(3 if only is None else 20):
                self.garble(root.text())

    def close(self):
        for server in self.servers:
            server.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--only", choices=("text", "value"))
    parser.add_argument("--features", default=FEATURES)
    parser.add_argument("--differences", type=int, default=30)
    options = parser.parse_args()
    fuzzer = Fuzzer(options.seed, options.features)
    end = time.monotonic() + options.seconds
    while time.monotonic() < end and fuzzer.count["different"] + fuzzer.count["text"] < options.differences:
        fuzzer.step(options.only)
    fuzzer.close()
    print(f"seed {options.seed}: {dict(fuzzer.count)}")
    return 1 if fuzzer.count["different"] + fuzzer.count["text"] else 0


if __name__ == "__main__":
    sys.exit(main())
