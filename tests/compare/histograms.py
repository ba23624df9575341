"""Random expressions over native histograms (exponential, custom bounds, floats, gauges, mixed with floats), asked of both:
values within 1e-9, errors and annotations to the character.

    histograms.py [seconds] [seed]

What differs for reasons of the store is left out: of an exponential histogram that has only observations near zero, Prometheus knows
which buckets its chunk has seen.
"""
import json
import math
import random
import struct
import sys
import time

import beside
import harness
from harness import field_bytes, varint

STEPS = 240
NAMES = ("exponential", "negative", "custom", "mixed", "gauge", "number")
OVER_TIME = ("rate", "increase", "delta", "irate", "idelta", "avg_over_time", "sum_over_time", "last_over_time", "first_over_time",
             "count_over_time", "resets", "changes", "min_over_time", "max_over_time", "stddev_over_time", "deriv", "absent_over_time")
OF_VECTORS = ("histogram_count(%s)", "histogram_sum(%s)", "histogram_avg(%s)", "histogram_stddev(%s)", "histogram_stdvar(%s)", "abs(%s)",
              "sort(%s)", "timestamp(%s)", "histogram_quantile(0.5, %s)", "histogram_quantile(-1, %s)", "histogram_fraction(0, 1, %s)",
              "histogram_fraction(-Inf, 2.5, %s)", "scalar(%s)", "absent(%s)", "clamp_max(%s, 3)", 'sort_by_label(%s, "i")',
              'label_replace(%s, "x", "$1", "i", "(.*)")', 'histogram_quantiles(%s, "q", 0.1, 0.9)')
AGGREGATIONS = ("sum%s(%s)", "avg%s(%s)", "count%s(%s)", "min%s(%s)", "max%s(%s)", "group%s(%s)", "stddev%s(%s)", "stdvar%s(%s)",
                "quantile%s(0.5, %s)", 'count_values%s("v", %s)')
OPERATORS = ("+", "-", "*", "/", "==", "!=", ">", "<", "and", "or", "unless", "%", "^", "atan2", "== bool", "</", ">/")


def zigzag(number, value):
    return varint(number << 3) + varint(value << 1 ^ value >> 63)


def double(number, value):
    return varint(number << 3 | 1) + struct.pack("<d", value)


class Histogram:
    """One that grows, sometimes begins anew, and sometimes changes its schema."""

    def __init__(self, chance, name):
        self.chance = chance
        self.custom = chance.choice(([0.1, 1, 5, 10], [0.5, 1, 2, 10, 100])) if name == "custom" else None
        self.schema = chance.randrange(-1, 4)
        self.zero_threshold = chance.choice((0, 0.001, 0.5))
        self.has_negative = name == "negative"
        self.is_gauge = name == "gauge"
        self.is_float = chance.random() < 0.4
        self.clear()

    def clear(self):
        self.positive, self.negative, self.zeros, self.sum = {0: 1}, {0: 1} if self.has_negative else {}, 0, 0.5

    def step(self):
        if self.chance.random() < 0.04:
            self.clear()
        for _ in range(self.chance.randrange(0, 6)):
            at = self.chance.randrange(0, len(self.custom) + 1) if self.custom else self.chance.randrange(-4, 6)
            self.positive[at] = self.positive.get(at, 0) + self.chance.randrange(1, 9)
            self.sum += self.chance.randrange(0, 80) / 8
        if self.has_negative and self.chance.random() < 0.5:
            at = self.chance.randrange(-3, 4)
            self.negative[at] = self.negative.get(at, 0) + self.chance.randrange(1, 5)
        if not self.custom and self.chance.random() < 0.4:
            self.zeros += self.chance.randrange(0, 4)

    def buckets(self, counts, spans_field, deltas_field, counts_field):
        spans, last = [], None
        for at in sorted(counts):
            if spans and at == last + 1:
                spans[-1][1] += 1
            else:
                spans.append([at if last is None else at - last - 1, 1])
            last = at
        values = [counts[at] for at in sorted(counts)]
        out = b"".join(field_bytes(spans_field, zigzag(1, gap) + varint(2 << 3) + varint(length)) for gap, length in spans)
        if self.is_float:
            return out + field_bytes(counts_field, b"".join(struct.pack("<d", float(value)) for value in values))
        deltas = [value - (values[i - 1] if i else 0) for i, value in enumerate(values)]
        return out + field_bytes(deltas_field, b"".join(varint(delta << 1 ^ delta >> 63) for delta in deltas))

    def encode(self, time_ms):
        count = sum(self.positive.values()) + sum(self.negative.values()) + self.zeros
        out = double(2, float(count)) if self.is_float else varint(1 << 3) + varint(count)
        out += double(3, self.sum) + zigzag(4, -53 if self.custom else self.schema)
        if not self.custom:
            out += double(5, self.zero_threshold)
            out += double(7, float(self.zeros)) if self.is_float else varint(6 << 3) + varint(self.zeros)
        if self.negative:
            out += self.buckets(self.negative, 8, 9, 10)
        out += self.buckets(self.positive, 11, 12, 13)
        if self.is_gauge:
            out += varint(14 << 3) + varint(3)
        out += varint(15 << 3) + varint(time_ms)
        if self.custom:
            out += field_bytes(16, b"".join(struct.pack("<d", bound) for bound in self.custom))
        return out


def make_request(chance):
    out = b""
    for name in sorted(NAMES):
        for number in range(4):
            histogram = Histogram(chance, name)
            head = harness.encode_series({"__name__": name, "i": str(number), "job": "ab"[number % 2]}, [])
            for step in range(STEPS):
                time_ms = (step + 1) * 15000 + number * 7
                histogram.step()
                if chance.random() < 0.04:
                    continue
                if chance.random() < 0.015:
                    point = field_bytes(2, b"\x09" + harness.value_bits(None) + b"\x10" + varint(time_ms))
                elif name == "number" or (name == "mixed" and chance.random() < 0.3):
                    value = chance.choice((0, 1, 2.5, step, -1))
                    point = field_bytes(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(time_ms))
                else:
                    point = field_bytes(4, histogram.encode(time_ms))
                out += field_bytes(1, head + point)
    return harness.snappy_literal(out)


class Generator:
    def __init__(self, chance):
        self.chance = chance

    def selector(self):
        return self.chance.choice(NAMES) + self.chance.choice(("", "", '{i="%d"}' % self.chance.randrange(4), '{job="a"}'))

    def range(self):
        return self.chance.choice(("1m", "2m", "5m", "10m", "30s", "1m1s"))

    def offset(self):
        return self.chance.choice(("", "", "", " offset 1m", " offset -30s", " @ 1800"))

    def expression(self, depth):
        take = self.chance.random()
        if depth <= 0 or take < 0.12:
            return self.selector() + self.offset()
        if take < 0.4:
            function = self.chance.choice(OVER_TIME)
            if self.chance.random() < 0.12:
                return f"{function}(({self.expression(depth - 1)})[{self.range()}:{self.chance.choice(('', '20s'))}]{self.offset()})"
            return f"{function}({self.selector()}[{self.range()}]{self.offset()})"
        if take < 0.62:
            return self.chance.choice(OF_VECTORS) % self.expression(depth - 1)
        if take < 0.8:
            grouping = self.chance.choice(("", " by (job)", " by (i)", " without (i)"))
            return self.chance.choice(AGGREGATIONS) % (grouping, self.expression(depth - 1))
        operator = self.chance.choice(OPERATORS)
        right = self.chance.choice(("2", "0", "-1", "0.5")) if self.chance.random() < 0.35 else self.expression(depth - 1)
        return f"({self.expression(depth - 1)} {operator} {right})"


def equal(one, two):
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return isinstance(two, list) and len(one) == len(two) and all(equal(a, b) for a, b in zip(one, two))
    if one == two:
        return True
    try:
        return math.isclose(float(one), float(two), rel_tol=1e-9, abs_tol=1e-12)
    except (TypeError, ValueError):
        return False


def comparable(text):
    answer = json.loads(text)
    if answer["status"] == "success" and answer["data"]["resultType"] in ("vector", "matrix"):
        answer["data"]["result"].sort(key=lambda one: json.dumps(one["metric"], sort_keys=True))
    for kind in ("warnings", "infos"):
        answer[kind] = sorted(answer.get(kind, []))
    return answer


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 31)
    chance = random.Random(seed)
    servers = beside.start()
    body = make_request(chance)
    for server in servers:
        reply = harness.http_call("POST", server.port, "/api/v1/write", body, harness.WRITE_HEADERS)
        assert reply.status in (200, 204), reply
    connections = [beside.Connection(server) for server in servers]
    generator = Generator(chance)
    end, count, differ = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end and differ < 20:
        text = generator.expression(3)
        count += 1
        for at in ({"time": str(chance.randrange(60, 3700))}, {"start": str(chance.randrange(60, 3000)), "end": "3600", "step": "60"}):
            path = "/api/v1/query_range" if "step" in at else "/api/v1/query"
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            answers = [one.ask("POST", path, harness.encode_query(dict(at, query=text)), form)[2] for one in connections]
            if not equal(*map(comparable, answers)):
                differ += 1
                print(f"{text} {at}\n  prometheus {answers[0][:500]}\n  narthex    {answers[1][:500]}", flush=True)
                break
    print(f"seed {seed}: {count} expressions, {differ} differ")


if __name__ == "__main__":
    main()
