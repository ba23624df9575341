"""The same data in Debian's Prometheus 2.42 and in Narthex, asked the same questions (expressions.txt).

What changed between 2.42 and the version whose behaviour we follow is kept out of the data and the questions: samples
lie off the second grid and evaluation times off the minute grid, so that it does not matter whether ranges are open or
closed on the left; counters stay away from zero (extrapolation); bucket bounds are spelled 1.0. Values may differ by
1e-9 of their size, the order of a vector and annotations do not count. DIFF_SEED repeats a run.
"""
import os
import random
import time

import harness

SEED = int(os.environ.get("DIFF_SEED", random.SystemRandom().randrange(1 << 32)))
STEP_MS = 15_000
SPAN_S = 5400
HERE = os.path.dirname(os.path.abspath(__file__))


class Walk:
    """A series: labels, a generator of values, and when it is silent."""

    def __init__(self, name, labels, step, offset_ms, every=1):
        self.labels = dict(labels, __name__=name)
        self.step = step
        self.offset_ms = offset_ms
        self.every = every
        self.gaps = []   # (from, to) in steps: no samples.
        self.stale = set()  # Steps with a stale marker.

    def at(self, k):
        """The value of step k, "stale", or "nothing"."""
        value = self.step(k)  # Always advanced, so that gaps do not change what follows.
        if k in self.stale:
            return "stale"
        if k % self.every or any(a <= k < b for a, b in self.gaps):
            return "nothing"
        return value


def counter(chance, rate, resets=()):
    state = {"v": float(chance.randrange(5000, 60000))}

    def step(k):
        state["v"] += chance.randrange(0, rate)
        if k in resets:
            state["v"] = float(chance.randrange(3000, 4000))
        return state["v"]

    return step


def gauge(chance, low, high, digits=2):
    state = {"v": chance.uniform(low, high)}

    def step(_):
        state["v"] = min(high, max(low, state["v"] + chance.gauss(0, (high - low) / 40)))
        return round(state["v"], digits)

    return step


def constant(value):
    return lambda _: value


def make_series(chance):
    walks = []

    def add(name, labels, step, **more):
        walk = Walk(name, labels, step, 137 + 31 * len(walks) % 900, **more)
        walks.append(walk)
        return walk

    add_requests(chance, add)
    add_gauges(chance, add)
    add_histograms(chance, add)
    return walks


def add_requests(chance, add):
    for job, instances in (("api", 3), ("web", 2)):
        for i in range(instances):
            instance = f"10.0.{len(job)}.{i}:8080"
            base = {"job": job, "instance": instance}
            add("up", base, constant(1.0 if i < 2 else 0.0))
            add("build_info", dict(base, version=f"1.{i}.0", branch="main"), constant(1.0))
            add("process_start_time_seconds", base, constant(1.6e9 + i * 1000.5))
            for method in ("GET", "POST"):
                for code in ("200", "404", "500"):
                    resets = {chance.randrange(40, 300)} if i == 1 else ()
                    walk = add("http_requests_total", dict(base, method=method, code=code),
                               counter(chance, 40 if code == "200" else 7, resets))
                    if i == 2 and code == "500":
                        walk.gaps = [(100, 160)]
            add("cpu_seconds_total", dict(base, mode="user", cpu="0"), counter(chance, 9))
            add("cpu_seconds_total", dict(base, mode="system", cpu="0"), counter(chance, 4))
            add("cpu_seconds_total", dict(base, mode="idle", cpu="1"), counter(chance, 14))
            if job == "api":
                add("requests_in_flight", base, gauge(chance, 0, 40, 0))


def add_gauges(chance, add):
    for i in range(4):
        base = {"job": "node", "instance": f"node-{i}"}
        add("memory_bytes", dict(base, kind="free"), gauge(chance, 1e9, 8e9, 0))
        add("memory_bytes", dict(base, kind="used"), gauge(chance, 1e9, 8e9, 0))
        add("temperature_celsius", dict(base, room="r" + str(i % 2)), gauge(chance, -20, 45))
        add("load_ratio", base, gauge(chance, 0.2, 0.9, 6))
        add("limit_bytes", base, constant(float(8e9 + i * 1e9)))
    gone = add("temperature_celsius", {"job": "node", "instance": "node-9", "room": "r1"}, gauge(chance, 5, 25))
    gone.stale = {200}
    gone.gaps = [(200, 10_000)]
    back = add("temperature_celsius", {"job": "node", "instance": "node-8"}, gauge(chance, 5, 25))
    back.stale = {120}
    back.gaps = [(120, 250)]
    late = add("late_bytes", {"job": "node", "instance": "late"}, gauge(chance, 10, 20))
    late.gaps = [(0, 180)]
    rare = add("rare_bytes", {"job": "node", "instance": "rare"}, gauge(chance, 10, 20), every=8)
    assert rare.every == 8
    values = [1.0, float("nan"), 3.0, float("inf"), 5.0, float("-inf"), 7.0]
    add("odd_value", {"kind": "mixed"}, lambda k: values[k % 7])
    add("odd_value", {"kind": "nan"}, constant(float("nan")))
    add("odd_value", {"kind": "inf"}, constant(float("inf")))
    add("odd_value", {"kind": "negative"}, lambda k: -float(k))
    add("odd_value", {"kind": "tiny"}, lambda k: 1e-300 * (k + 1))
    add("odd_value", {"kind": "huge"}, lambda k: 1e300 * (k + 1))
    add("steps", {"kind": "square"}, lambda k: float(k // 10 % 2))
    add("steps", {"kind": "stairs"}, lambda k: float(k // 20))
    add("text_labels", {"path": "/a/b?c=d&e", "quote": 'say "hi"', "slash": "a\\b", "utf": "\u00e4\u20ac\U0001f525"},
        constant(1.5))
    add("text_labels", {"path": "/a/b", "zz_long": "x" * 300}, constant(2.5))
    add("text_labels", {"path": "/"}, constant(3.5))
    add("no_labels", {}, gauge(chance, 100, 200))
    for a in ("x", "y"):
        for b in ("1", "2"):
            add("left_side", {"a": a, "b": b, "only_left": "l" + b}, gauge(chance, 10, 90))
        add("right_side", {"a": a, "only_right": "r" + a}, gauge(chance, 10, 90))


def add_histograms(chance, add):
    bounds = ["0.005", "0.01", "0.025", "0.1", "0.5", "1.0", "2.5", "10.0", "+Inf"]
    for job, instance in (("api", "10.0.3.0:8080"), ("api", "10.0.3.1:8080"), ("web", "10.0.3.0:8080")):
        base = {"job": job, "instance": instance}
        state = {"k": None, "counts": [float(chance.randrange(2000, 3000)) for _ in bounds], "sum": 90_000.0}

        def advance(k, state=state):
            if state["k"] != k:
                state["k"] = k
                state["counts"] = [c + chance.randrange(0, 9) for c in state["counts"]]
                state["sum"] += chance.uniform(0, 40)

        def bucket(k, index, state=state, advance=advance):
            advance(k)
            return sum(state["counts"][:index + 1])

        for index, bound in enumerate(bounds):
            add("latency_seconds_bucket", dict(base, le=bound), lambda k, i=index, b=bucket: b(k, i))
        last = len(bounds) - 1
        add("latency_seconds_count", base, lambda k, b=bucket: b(k, last))
        add("latency_seconds_sum", base, lambda k, s=state, a=advance: (a(k), s["sum"])[1])


def load(server_list, walks, begin_ms):
    """Twenty steps in one request, each sample once, in time order for each series and nearly so across them."""
    total = 0
    steps = SPAN_S * 1000 // STEP_MS
    for first in range(0, steps, 20):
        series = []
        for walk in walks:
            samples = []
            for k in range(first, min(first + 20, steps)):
                value = walk.at(k)
                if isinstance(value, str) and value == "nothing":
                    continue
                time_ms = begin_ms + k * STEP_MS + walk.offset_ms
                samples.append((time_ms, None if value == "stale" else value))
            if samples:
                series.append((walk.labels, samples))
                total += len(samples)
        for server in server_list:
            reply = server.write(series)
            assert reply.status == 204, (server.name, reply)
    return total


def read_expressions():
    with open(os.path.join(HERE, "expressions.txt"), encoding="utf-8") as f:
        return [line.strip() for line in f if line.strip() and not line.startswith("#")]


def ask(server, path, parameters):
    """(error type or None, data)"""
    answer = server.post(path, parameters, timeout=30).json
    if answer["status"] == "error":
        return answer["errorType"], answer["error"]
    return None, answer["data"]


def same_point(a, b):
    return a[0] == b[0] and harness.same_value(float(a[1]), float(b[1]))


def compare(expression, theirs, ours):
    """None, or a text that tells the first difference."""
    if theirs[0] or ours[0]:
        return None if theirs[0] == ours[0] else f"prometheus: {str(theirs)[:300]}\n      narthex:    {str(ours)[:300]}"
    theirs, ours = theirs[1], ours[1]
    if theirs["resultType"] != ours["resultType"]:
        return f"prometheus: {theirs['resultType']}, narthex: {ours['resultType']}"
    kind, a, b = theirs["resultType"], theirs["result"], ours["result"]
    if kind in ("scalar", "string"):
        good = a[1] == b[1] if kind == "string" else same_point(a, b)
        return None if good else f"prometheus: {a}, narthex: {b}"
    if expression.startswith("sort") and kind == "vector":
        values = [([float(v["value"][1]) for v in side]) for side in (a, b)]
        if not all(harness.same_value(x, y) for x, y in zip(*values)):
            return f"order: prometheus: {values[0]}, narthex: {values[1]}"
    a = {harness.labels_key(one["metric"]): one for one in a}
    b = {harness.labels_key(one["metric"]): one for one in b}
    if len(b) != len(ours["result"]):
        return "narthex: one label set twice"
    if a.keys() != b.keys():
        return (f"only prometheus ({len(a)} series): {[dict(k) for k in sorted(a.keys() - b.keys())][:3]}\n"
                f"      only narthex ({len(b)} series): {[dict(k) for k in sorted(b.keys() - a.keys())][:3]}")
    for key in sorted(a):
        found = compare_series(a[key], b[key])
        if found:
            return f"{dict(key)}: {found}"
    return None


def compare_series(a, b):
    if "value" in a:
        return None if same_point(a["value"], b["value"]) else f"prometheus: {a['value']}, narthex: {b['value']}"
    one, two = a["values"], b["values"]
    if [p[0] for p in one] != [p[0] for p in two]:
        extra = sorted({p[0] for p in one} ^ {p[0] for p in two})
        return f"prometheus has {len(one)} points, narthex {len(two)}; they differ at {extra[:5]}"
    for p, q in zip(one, two):
        if not same_point(p, q):
            return f"prometheus: {p}, narthex: {q}"
    return None


class Pair:
    """Both servers with the same data."""

    def __init__(self):
        self.theirs = harness.start_prometheus("")
        self.ours = harness.Server("")
        self.sealed = harness.Server("", args=["--storage.narthex.slot-duration=1s",
                                               "--storage.narthex.partition-duration=2h"])
        chance = random.Random(SEED)
        # Seven seconds past a full minute, for the times of evaluation; the data begin at a full minute.
        end = int(time.time()) // 60 * 60 - 60
        self.begin = end - SPAN_S
        walks = make_series(chance)
        start = time.monotonic()
        total = load([self.theirs, self.ours, self.sealed], walks, self.begin * 1000)
        print(f"    DIFF_SEED={SEED}: {len(walks)} series, {total} samples, begin {self.begin}, "
              f"{time.monotonic() - start:.1f} s", flush=True)
        self.end = end

    def differences(self, path, expressions, parameters, ours=None):
        bad = []
        for expression in expressions:
            asked = dict(parameters, query=expression)
            found = compare(expression, ask(self.theirs, path, asked), ask(ours or self.ours, path, asked))
            if found:
                bad.append(expression)
                print(f"    {expression}  {parameters}\n      {found}", flush=True)
        assert not bad, f"{len(bad)} of {len(expressions)} expressions differ: {bad}"


pair = Pair()


def test_expressions__are_enough():
    assert len(read_expressions()) >= 200
    # The questions are about something: nearly all have an answer.
    empty = [e for e in read_expressions()
             if ask(pair.ours, "/api/v1/query", {"query": e, "time": pair.end - 1013})[1] in ([], {"result": []})]
    assert len(empty) < 20, empty


def test_instant_queries():
    # In the full flow, at the edges of gaps and stale markers, beyond the newest sample, before the first.
    for at in (pair.end - 1013, pair.begin + 1807, pair.begin + 3007, pair.begin + 47, pair.end + 127,
               pair.begin - 653):
        pair.differences("/api/v1/query", read_expressions(), {"time": str(at)})


def test_range_queries():
    for start, end, step in ((pair.begin + 7, pair.end + 307, 60), (pair.begin + 1807, pair.begin + 3607, 30),
                             (pair.end - 113, pair.end - 113, 60)):
        pair.differences("/api/v1/query_range", read_expressions(),
                         {"start": str(start), "end": str(end), "step": str(step)})


def test_sealed_slots__answer_as_the_head_does():
    """The same from files, after a kill: partitions, edges of slots and the log in one answer."""
    time.sleep(2)
    pair.sealed.kill()
    pair.sealed.start()
    pair.differences("/api/v1/query", read_expressions(), {"time": str(pair.end - 1013)}, pair.sealed)
    pair.differences("/api/v1/query_range", read_expressions(),
                     {"start": str(pair.begin + 7), "end": str(pair.end + 307), "step": "60"}, pair.sealed)
    files = os.listdir(os.path.join(pair.sealed.data_path, "narthex"))
    assert any(n.endswith(".mdb") and n[0].isdigit() for n in files), files


def test_labels_and_series():
    span = {"start": str(pair.begin), "end": str(pair.end)}
    for path in ("/api/v1/labels", "/api/v1/label/__name__/values", "/api/v1/label/instance/values",
                 "/api/v1/label/le/values", "/api/v1/label/nothing/values"):
        for match in (None, "up", '{job=~"a.*|node"}', '{le!="",job!="api"}', '{__name__=~"http.*",code!~"2.."}',
                      '{path="/a/b"}', "nothing"):
            asked = dict(span, **({"match[]": match} if match else {}))
            theirs, ours = pair.theirs.data(path, asked), pair.ours.data(path, asked)
            assert theirs == ours, (path, match, theirs, ours)
    for match in ("up", '{__name__=~".+"}', '{job="",__name__!=""}', '{utf="\u00e4\u20ac\U0001f525"}', '{slash="a\\\\b"}',
                  'http_requests_total{code=~"5..|404"}', '{instance!~"10.*",__name__!=""}'):
        theirs, ours = (sorted(harness.labels_key(labels) for labels in
                               side.data("/api/v1/series", dict(span, **{"match[]": match})))
                        for side in (pair.theirs, pair.ours))
        assert theirs == ours and theirs, (match, len(theirs), len(ours))


def test_values__are_kept_bit_for_bit():
    """All raw samples of both, not through any function."""
    for name in pair.ours.data("/api/v1/label/__name__/values"):
        query = {"query": f'{{__name__="{name}"}}[3h]', "time": str(pair.end + 60)}
        theirs, ours = ({harness.labels_key(one["metric"]): one["values"] for one in
                         ask(side, "/api/v1/query", query)[1]["result"]} for side in (pair.theirs, pair.ours))
        assert theirs == ours, name


if __name__ == "__main__":
    harness.main(globals())
