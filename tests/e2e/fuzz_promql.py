"""Random PromQL expressions, asked of Debian's Prometheus 2.42 and of Narthex: values, labels, order and errors must agree.

    fuzz_promql.py [--seconds N] [--expressions N] [--seed N]        also FUZZ_SECONDS, FUZZ_SEED

Data and expressions follow from the seed alone. A difference is shrunk while it stays one, and printed as a case for
tests/golden/promql with the data it needs. What changed between 2.42 and the version that we follow is kept out of the
data (promql_data) and of the expressions (promql_generate); the rest of it is known_difference below.

Values of `exact` expressions agree in every digit, others within 1e-9. Annotations are not compared (2.42 has none).
"""
import argparse
import collections
import http.client
import json
import math
import os
import random
import re
import sys
import time

import harness
import promql_data
import promql_generate

DATA_EXPRESSIONS = 3000  # After so many, new data on new servers.
GARBAGE = ("(", ")", "[", "]", "{", "}", ",", ":", "=", "==", "!", "@", "offset", "by", "on", "bool", "group_left", "5m", "3",
           '"x"', "'", "`", "\\", "#", ";", "x", "sum", "and", "ignoring", "start()", "\n", "-", "^", "without", "ä")
# Of errors about what the language got after 2.42: numbers as durations, durations as numbers, quoted names, more keywords.
NEW_WORDS = ("duration", "offset", "subquery", "range", "bracket", "identifier", "string", "regexp", "number", "colon")
SMOOTHED = "double_exponential_smoothing"


class Client:
    """One kept connection."""

    def __init__(self, server, ours):
        self.server = server
        self.ours = ours
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def ask(self, text, at):
        """(error type or None, error text or data)"""
        if not self.ours:
            text = text.replace(SMOOTHED, "holt_winters")
        path = "/api/v1/query_range" if "step" in at else "/api/v1/query"
        body = harness.encode_query(dict(at, query=text))
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        for attempt in (1, 2):
            try:
                self.connection.request("POST", path, body, headers)
                answer = json.loads(self.connection.getresponse().read())
                break
            except (OSError, http.client.HTTPException):
                self.connection.close()
                if attempt == 2 or not self.server.is_running():
                    raise
        if answer["status"] == "error":
            return answer["errorType"], answer["error"].replace("holt_winters", SMOOTHED)
        return None, answer["data"]


# ---- comparing ----

def normal_error(text, expression):
    """Which of several groups or labels is named first is not defined."""
    text = text.removeprefix('invalid parameter "query": ')  # 2.42 says so for instant queries only.
    text = re.sub(r'"<Item \d+>" ', "", text)  # A token's number.
    if SMOOTHED in expression:
        text = re.sub(r"^\d+:\d+", "", text)  # Its name was shorter.
    text = re.sub(r"match group \{.*?\} on the (left|right) hand-side of the operation: \[.*\];", "match group;", text)
    return text


def known_difference(text, at, theirs, ours):
    """Changes after 2.42 that cannot be kept out of the questions."""
    both = not theirs[0] and not ours[0]
    if re.search(r"predict_linear.*@", text):
        return True  # Until 2.50 the window moved away from its @.
    if "atan2" in text and theirs[0] != ours[0]:
        return True  # 2.42 keeps the metric's name.
    if both and "time" in at and theirs[1]["resultType"] == "matrix":
        # A subquery without steps may have a point beyond its window.
        return any(p[0] > float(at["time"]) for one in theirs[1]["result"] for p in points_of(one))
    if theirs[0] and "vector cannot contain metrics with the same labelset" in theirs[1] and "step" in at:
        # 3.9: relabelling and unary minus fail only where series meet in time.
        return re.search(r"label_replace|label_join|-\(", text) is not None
    if theirs[0] == "execution" and not ours[0] and re.search(r"@.*\[.*:|\[.*:.*\[.*:", text):
        return True  # What is the same at every step, or a subquery, is evaluated in a subquery without steps, too.
    if ours[0] and "multiple matches for labels" in ours[1]:
        return re.search(r"==|!=|[<>]", text) is not None  # 3.9: also among what a filter drops.
    return False


def same_number(a, b, exact, scale, text=""):
    """Compensated sums (2.54) begin with +0, so that none is -0; which of two zeros comes first is not defined."""
    if a == b or ({a, b} == {"0", "-0"} and re.search("sum|avg|min|max|quantile", text)):
        return True
    x, y = float(a), float(b)
    if math.isnan(x) or math.isnan(y):
        return math.isnan(x) and math.isnan(y)
    if exact:
        return False
    return x == y or math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-9 * scale)


def points_of(one):
    return [one["value"]] if "value" in one else one.get("values", [])


def scale_of(result):
    """The largest finite number around: what is left after a subtraction is as exact as that."""
    found = [abs(float(p[1])) for one in result for p in points_of(one)]
    return max([1.0] + [v for v in found if v < 1e300])


def compare(root, text, at, theirs, ours):
    """None, or what differs."""
    if known_difference(text, at, theirs, ours):
        return None
    if theirs[0] or ours[0]:
        if theirs[0] == ours[0] and normal_error(theirs[1], text) == normal_error(ours[1], text):
            return None
        return f"prometheus: {str(theirs)[:400]}\nnarthex:    {str(ours)[:400]}"
    theirs, ours = theirs[1], ours[1]
    if theirs["resultType"] != ours["resultType"]:
        return f"prometheus: {theirs['resultType']}, narthex: {ours['resultType']}"
    a, b = theirs["result"], ours["result"]
    if ours["resultType"] in ("scalar", "string"):
        good = a[1] == b[1] if ours["resultType"] == "string" else same_number(a[1], b[1], root.exact, 1e4, text)
        return None if good else f"prometheus: {a}, narthex: {b}"
    if root.top_only:
        return compare_chosen(text, a, b)
    if "atan2" in text:
        for one in a + b:
            one["metric"].pop("__name__", None)
        if len({harness.labels_key(one["metric"]) for one in a}) < len(a):
            return None
    return compare_series(root, text, a, b)


def compare_chosen(text, a, b):
    """sort's order among equals and topk's choice among them are not defined: the values in their order are."""
    def values(result):
        if result and "values" in result[0]:
            by_time = collections.defaultdict(list)
            for one in result:
                for when, value in one["values"]:
                    by_time[when].append(float(value) + 0.0)
            return {when: sorted(map(str, found)) for when, found in by_time.items()}
        found = [str(float(one["value"][1]) + 0.0) for one in result]
        return found if re.match(r"sort|topk\(|bottomk\(", text) else sorted(found)

    return None if values(a) == values(b) else f"prometheus: {str(values(a))[:400]}\nnarthex:    {str(values(b))[:400]}"


def compare_series(root, text, a, b):
    one = {harness.labels_key(s["metric"]): s for s in a}
    two = {harness.labels_key(s["metric"]): s for s in b}
    if len(two) != len(b):
        return "narthex: one label set twice"
    if one.keys() != two.keys():
        return (f"only prometheus ({len(a)} series): {[dict(k) for k in sorted(one.keys() - two.keys())][:3]}\n"
                f"only narthex ({len(b)} series): {[dict(k) for k in sorted(two.keys() - one.keys())][:3]}")
    scale = scale_of(a)
    for key in sorted(one):
        p, q = points_of(one[key]), points_of(two[key])
        if [x[0] for x in p] != [x[0] for x in q]:
            extra = sorted({x[0] for x in p} ^ {x[0] for x in q})
            return f"{dict(key)}: prometheus has {len(p)} points, narthex {len(q)}; they differ at {extra[:5]}"
        for x, y in zip(p, q):
            if not same_number(x[1], y[1], root.exact, scale, text):
                return f"{dict(key)}: prometheus {x}, narthex {y}"
    return None


# ---- shrinking and printing ----

class Fuzzer:
    def __init__(self, seed):
        self.seed = seed
        self.chance = random.Random(seed)
        self.data = promql_data.Data(seed)
        self.generator = promql_generate.Generator(self.data, seed)
        self.theirs = harness.start_prometheus("", ["--storage.tsdb.retention.time=100y"])
        self.ours = harness.Server("", args=["--enable-feature=promql-experimental-functions",
                                             "--storage.tsdb.retention.time=100y"])
        self.data.load([self.theirs, self.ours])
        self.clients = (Client(self.theirs, False), Client(self.ours, True))
        self.count = self.found = self.empty = self.errors = 0

    def difference(self, root, at):
        text = root.text()
        theirs, ours = [client.ask(text, at) for client in self.clients]
        self.last = theirs
        return compare(root, text, at, theirs, ours)

    def times(self):
        """Seven seconds past tens: edges of ranges lie off the samples and off the steps of subqueries."""
        begin = self.chance.randrange(0, 730) * 10 + 7
        yield {"time": str(begin)}
        step = self.chance.choice((10, 30, 60, 60, 120, 300))
        start = self.chance.randrange(0, 600) * 10 + 7
        # The end is a step: else 2.42 fails for what subqueries meet after the last step, too.
        end = start + self.chance.randrange(0, 1 + min(60, 900 // step)) * step
        yield {"start": str(start), "end": str(end), "step": str(step)}

    def shrink(self, root, at):
        """The smallest that still differs, by replacing parts by what is in them or by plain things."""
        plain = [promql_generate.Node("scalar", ["1"], grid=True)]
        deadline = time.monotonic() + 60
        smaller = True
        while smaller and time.monotonic() < deadline:
            smaller = False
            for old in [root] + list(root.nodes()):
                for new in list(old.nodes()) + plain:
                    if new is old or not new.may_stand_for(old) or len(new.text()) >= len(old.text()):
                        continue
                    candidate = root.replaced(old, new)
                    if self.difference(candidate, at):
                        root, smaller = candidate, True
                        break
                if smaller:
                    break
        return self.shrink_time(root, at)

    def shrink_time(self, root, at):
        """One step of a range, or an instant query, when that is enough."""
        if "step" not in at:
            return root, at
        for when in range(int(at["start"]), int(at["end"]) + 1, int(at["step"])):
            for one in ({"time": str(when)}, {"start": str(when), "end": str(when), "step": at["step"]}):
                if self.difference(root, one):
                    return root, one
        return root, at

    def report(self, root, at, found):
        self.found += 1
        print(f"\n==== difference {self.found}, FUZZ_SEED={self.seed}: {root.text()}\n{at}\n{found}", flush=True)
        root, at = self.shrink(root, at)
        print(f"---- shrunk: {root.text()}\n{at}\n{self.difference(root, at)}")
        print(self.golden(root, at), flush=True)

    def golden(self, root, at):
        """The case in the language of tests/golden/promql, with what 2.42 answers."""
        text = root.text()
        names = [f for f in self.data.families if re.search(rf'\b{f}\b', text)]
        lines = []
        for interval in promql_data.INTERVALS_MS:
            series = [s for s in self.data.series if s.name in names and s.interval_ms == interval]
            if not series:
                continue
            lines.append(f"load {interval}ms")
            for one in series[:40]:
                lines.append(f"  {promql_data.metric_text(one.labels)} {' '.join(map(promql_data.notation, one.points))}")
        self.difference(root, at)
        lines.append(golden_eval(text, at, self.last))
        return "\n".join(lines)

    def step(self):
        root = self.generator.expression()
        self.count += 1
        if self.chance.random() < 0.1:
            self.garble(root.text())
            return
        if self.chance.random() < 0.08:
            root = self.generator.broken(root) or root
        for at in self.times():
            found = self.difference(root, at)
            if found:
                self.report(root, at, found)
                break
            self.errors += self.last[0] is not None
            self.empty += self.last[0] is None and not self.last[1]["result"]

    def garble(self, text):
        """The text with a token lost, doubled or moved: the errors' texts and positions must agree."""
        tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|[\d.]+\w*|[=!<>]=|[=!]~|\s+|.', text)
        for _ in range(self.chance.choice((1, 1, 2))):
            at = self.chance.randrange(len(tokens))
            take = self.chance.random()
            if take < 0.4:
                tokens[at:at + 1] = []
            elif take < 0.6:
                tokens.insert(at, self.chance.choice(tokens))
            elif take < 0.8:
                tokens.insert(at, self.chance.choice(GARBAGE))
            else:
                other = self.chance.randrange(len(tokens))
                tokens[at], tokens[other] = tokens[other], tokens[at]
            tokens = tokens or ["("]
        text = "".join(tokens)
        theirs, ours = [client.ask(text, {"time": "3607"}) for client in self.clients]
        if theirs[0] != "bad_data" or ours[0] != "bad_data" or re.search(SMOOTHED + r"|start\(\)|\binfo\b|\d[smhdwy]\(", text):
            return  # Much may be written now that could not be then: start() and info() are functions, 5m a number.
        self.errors += 1
        one, two = normal_error(theirs[1], text), normal_error(ours[1], text)
        if one != two and not any(re.search(word, t) for word in NEW_WORDS for t in (one, two)):
            self.found += 1
            print(f"\n==== difference {self.found}, FUZZ_SEED={self.seed}: {text}\nprometheus: {one}\nnarthex:    {two}",
                  flush=True)

    def close(self):
        self.theirs.kill()
        self.ours.kill()


def golden_eval(text, at, answer):
    """eval ... and the lines of what is expected."""
    when = (f"range from {at['start']}s to {at['end']}s step {at['step']}s" if "step" in at
            else f"instant at {at['time']}s")
    if answer[0]:
        message = answer[1].split("parse error: ")[-1]
        return f"eval {when} {text}\n  expect fail msg: {message}"
    lines = [f"eval {when} {text}"]
    result = answer[1]["result"]
    if answer[1]["resultType"] == "matrix" and "time" in at:
        return lines[0] + f"\n# {result}"
    if answer[1]["resultType"] == "scalar":
        return "\n".join(lines + ["  " + result[1]])
    for one in sorted(result, key=lambda s: harness.labels_key(s["metric"])):
        values = {round(float(p[0]) * 1000): p[1] for p in points_of(one)}
        if "step" in at:
            start, end, step = (int(at[k]) * 1000 for k in ("start", "end", "step"))
            shown = " ".join(values.get(t, "_") for t in range(start, end + 1, step))
        else:
            shown = next(iter(values.values()))
        lines.append(f"  {promql_data.metric_text(one['metric']) or '{}'} {shown}")
    return "\n".join(lines)


def run(seconds, expressions, seed):
    """The number of differences found within so many seconds or expressions."""
    begin = time.monotonic()
    total = found = errors = empty = 0
    while time.monotonic() - begin < seconds and total < expressions and found < 20:
        fuzzer = Fuzzer(seed)
        while time.monotonic() - begin < seconds and total < expressions and fuzzer.count < DATA_EXPRESSIONS:
            fuzzer.step()
            total += 1
            if total % 1000 == 0:
                print(f"    {total} expressions, {found + fuzzer.found} differences, "
                      f"{time.monotonic() - begin:.0f} s", flush=True)
        found, errors, empty = found + fuzzer.found, errors + fuzzer.errors, empty + fuzzer.empty
        fuzzer.close()
        seed += 1
    print(f"    {total} expressions, each at one time and over a range: {found} differences, {errors} answers were "
          f"errors, {empty} empty; {time.monotonic() - begin:.0f} s", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("FUZZ_SECONDS", 3600)))
    parser.add_argument("--expressions", type=int, default=1 << 40)
    parser.add_argument("--seed", type=int,
                        default=int(os.environ.get("FUZZ_SEED", random.SystemRandom().randrange(1 << 31))))
    options = parser.parse_args()
    print(f"FUZZ_SEED={options.seed}", flush=True)
    sys.exit(1 if run(options.seconds, options.expressions, options.seed) else 0)


if __name__ == "__main__":
    main()
