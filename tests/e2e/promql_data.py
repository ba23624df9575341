"""Generated series for the PromQL fuzzer: gaps, resets, stale markers, NaN, Inf, labels of many shapes, buckets.

Samples lie at multiples of intervals like 15.137 s, from the first on: never on a whole second, so that it does not
matter whether a range is open on its left. Values are multiples of 1/8 and small: their sums are exact in any order. Time
begins at 0, as in the golden tests.
"""
import math
import random

SPAN_S = 7200
INTERVALS_MS = (15_137, 9_871, 59_963)
NAN, INF = float("nan"), float("inf")


class Series:
    """points[k] is the value at k * interval: a float, None for a stale marker, or "" for nothing."""

    def __init__(self, name, labels, interval_ms, points):
        self.name = name
        self.labels = dict(labels, __name__=name)
        self.interval_ms = interval_ms
        self.points = points

    def samples(self):
        return [(k * self.interval_ms, v) for k, v in enumerate(self.points) if v != ""]


class Family:
    """What the generator knows of a metric: kind is counter, gauge, bucket or odd."""

    def __init__(self, name, kind):
        self.name = name
        self.kind = kind
        self.labels = {}  # name -> values

    def add(self, labels):
        for name, value in labels.items():
            values = self.labels.setdefault(name, [])
            if value not in values:
                values.append(value)


def eighth(chance, low, high):
    return chance.randrange(int(low * 8), int(high * 8)) / 8


def counter_points(chance, count, rate, resets=()):
    value = float(chance.randrange(20_000, 60_000))
    points = []
    for k in range(count):
        value += chance.choice((0, 0, 1, chance.randrange(0, rate)))
        if k in resets:
            value = float(chance.randrange(15_000, 19_000))
        points.append(value)
    return points


def gauge_points(chance, count, low, high):
    value = eighth(chance, low, high)
    points = []
    for _ in range(count):
        if chance.random() < 0.7:
            value = min(float(high), max(float(low), value + eighth(chance, -2, 2.125)))
        points.append(value)
    return points


def odd_points(chance, count, kind):
    wheel = {"mixed": [1.0, NAN, 3.0, INF, 5.0, -INF, 7.0], "nan": [NAN], "inf": [INF], "neginf": [-INF],
             "zero": [0.0, -0.0], "tiny": [1e-300, 5e-324], "huge": [1e300, 1.7e308, -1e300],
             "some_nan": [1.0, 2.0, 3.0, NAN, NAN], "powers": [2.0 ** 53, 2.0 ** 53 + 2, 1e21, 1e-7]}[kind]
    return [chance.choice(wheel) for _ in range(count)]


def damage(chance, points):
    """Holes, stale markers and late or early ends, for some series."""
    count = len(points)
    points[0] = ""  # Time 0 is a whole second.
    fate = chance.random()
    if fate < 0.15:
        start = chance.randrange(count)
        for k in range(start, min(count, start + chance.randrange(2, 60))):
            points[k] = ""
    elif fate < 0.3:
        start = chance.randrange(count)
        points[start] = None
        for k in range(start + 1, min(count, start + chance.randrange(2, 80))):
            points[k] = ""
    elif fate < 0.36:
        end = chance.randrange(count)
        points[end] = None
        points[end + 1:] = []
    elif fate < 0.42:
        points[:chance.randrange(count)] = [""] * chance.randrange(count)
    elif fate < 0.48:
        for k in range(count):
            if chance.random() < 0.4:
                points[k] = ""
    elif fate < 0.52:
        for k in range(count):
            if k % 37 > 2:
                points[k] = ""
    return points


class Data:
    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.series = []
        self.families = {}
        self.add_counters()
        self.add_gauges()
        self.add_odd()
        self.add_buckets()

    def put(self, name, kind, labels, interval_ms, points):
        self.series.append(Series(name, labels, interval_ms, points))
        self.families.setdefault(name, Family(name, kind)).add(labels)

    def add(self, name, kind, labels, make, *more):
        interval_ms = self.chance.choice((INTERVALS_MS[0],) * 4 + INTERVALS_MS)
        points = make(self.chance, SPAN_S * 1000 // interval_ms, *more)
        self.put(name, kind, labels, interval_ms, damage(self.chance, points))

    def add_counters(self):
        chance = self.chance
        for job in ("api", "web"):
            for i in range(3):
                base = {"job": job, "instance": f"host-{i}:80"}
                for code in ("200", "404", "500"):
                    for method in ("GET", "PUT"):
                        self.add("req_total", "counter", dict(base, code=code, method=method), counter_points, 30)
                self.add("cpu_total", "counter", dict(base, mode="user"), counter_points, 9)
                self.add("cpu_total", "counter", dict(base, mode="idle"), counter_points, 3)
                # Resets late and among samples without gaps: what is extrapolated towards zero did not change there.
                resets = {chance.randrange(300, 470) for _ in range(chance.choice((1, 2, 9)))}
                count = SPAN_S * 1000 // INTERVALS_MS[0]
                self.put("restarts_total", "counter", base, INTERVALS_MS[0],
                         [""] + counter_points(chance, count, 20, resets)[1:])

    def add_gauges(self):
        chance = self.chance
        for job in ("api", "web"):
            for i in range(3):
                base = {"job": job, "instance": f"host-{i}:80"}
                self.add("up", "gauge", base, lambda c, n: [float(c.random() < 0.9) for _ in range(n)])
                self.add("info", "gauge", dict(base, version=f"1.{i}", zone="z" + str(i % 2)),
                         lambda c, n: [1.0] * n)
                self.add("temp", "gauge", dict(base, room="r" + str(i % 2)), gauge_points, -20, 40)
                self.add("temp_limit", "gauge", dict(base, room="r" + str(i % 2)), gauge_points, 10, 30)
        for kind in ("free", "used"):
            for i in range(2):
                self.add("mem", "gauge", {"kind": kind, "instance": f"host-{i}:80"}, gauge_points, 100, 5000)
        for text in ("", "a/b?c", "\u00e4\u20ac\U0001f525", 'say "hi"', "back\\slash", "x" * 60):
            self.add("words", "gauge", {"text": text, "n": str(len(text))} if text else {"n": "0"}, gauge_points, 0, 9)
        self.add("lonely", "gauge", {}, gauge_points, 1, 90)
        self.add("flat", "gauge", {"a": "b"}, lambda c, n: [42.5] * n)
        self.add("stairs", "gauge", {"a": "b"}, lambda c, n: [float(k // 20 % 7) for k in range(n)])
        for a in ("x", "y", "z"):
            for b in ("1", "2"):
                self.add("many", "gauge", {"a": a, "b": b, "c": "k" + b}, gauge_points, 1, 50)
            self.add("one", "gauge", {"a": a, "extra": "e" + a}, gauge_points, 1, 50)
        assert chance

    def add_odd(self):
        for kind in ("mixed", "nan", "inf", "neginf", "zero", "tiny", "huge", "some_nan", "powers"):
            for n in ("1", "2"):
                self.add("odd", "odd", {"kind": kind, "n": n}, odd_points, kind)

    def add_buckets(self):
        bounds = ("0.01", "0.1", "0.5", "1.0", "2.5", "10.0", "+Inf")
        for job, i in (("api", 0), ("api", 1), ("web", 0)):
            base = {"job": job, "instance": f"host-{i}:80"}
            count = SPAN_S * 1000 // INTERVALS_MS[0]
            rows, now = [], [float(self.chance.randrange(2000, 3000)) for _ in bounds]
            for _ in range(count):
                now = [v + self.chance.randrange(0, 9) for v in now]
                rows.append([sum(now[:i + 1]) for i in range(len(bounds))])
            for index, bound in enumerate(bounds):
                points = [""] + [row[index] for row in rows[1:]]
                self.put("lat_bucket", "bucket", dict(base, le=bound), INTERVALS_MS[0], points)

    def load(self, servers):
        """In time order over all series, some in a request, as a sender would."""
        cuts = range(0, SPAN_S * 1000 + 1, 300_000)
        pending = [(one, one.samples()) for one in self.series]
        for cut in cuts:
            batch = []
            for one, samples in pending:
                part = [s for s in samples if cut <= s[0] < cut + 300_000]
                if part:
                    batch.append((one.labels, part))
            for server in servers:
                reply = server.write(batch)
                assert reply.status == 204, (server.name, reply)


def notation(value):
    """As the golden files write a point."""
    if value is None:
        return "stale"
    if value == "":
        return "_"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 and str(value) != "-0.0" else repr(value)


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def metric_text(labels):
    inside = ", ".join(f"{n}={quoted(v)}" for n, v in sorted(labels.items()) if n != "__name__")
    name = labels.get("__name__", "")
    return f"{name}{{{inside}}}" if inside or not name else name
