"""Random well-typed PromQL expressions over the families of promql_data.

Each node knows how far its value may be trusted to the last digit (two versions add in different orders): `exact` values
are equal bit for bit, `grid` ones are multiples of 1/8 whose sums are exact, `tame` ones are finite and of moderate size.
A function that jumps (floor, ==, topk, resets ...) takes exact arguments only, so that a difference means a difference.
"""
import random
import re

import promql_data


class Node:
    def __init__(self, kind, parts, exact=True, grid=False, tame=True, labels=(), top_only=False):
        self.kind = kind        # vector, matrix, scalar or string
        self.parts = parts      # Of str and Node.
        self.exact = exact
        self.grid = grid
        self.tame = tame
        self.labels = labels    # Label names that its elements may have, without the metric's name.
        self.top_only = top_only

    def text(self):
        return "".join(p if isinstance(p, str) else p.text() for p in self.parts)

    def nodes(self):
        """All below it, large ones first."""
        for part in self.parts:
            if isinstance(part, Node):
                yield part
                yield from part.nodes()

    def may_stand_for(self, other):
        return (self.kind == other.kind and self.exact >= other.exact and self.grid >= other.grid
                and self.tame >= other.tame and not self.top_only)

    def replaced(self, old, new):
        """A copy with `new` in the place of `old`."""
        if self is old:
            return new
        parts = [p.replaced(old, new) if isinstance(p, Node) else p for p in self.parts]
        return Node(self.kind, parts, self.exact, self.grid, self.tame, self.labels, self.top_only)


RANGES = ("30s", "1m", "90s", "2m", "5m", "10m", "20m", "1h", "3h", "40s", "1m10s")
STEPS = ("10s", "30s", "1m", "50s", "2m", "5m", "20s")
OFFSETS = ("10s", "1m", "5m", "-1m", "-30s", "20m", "1h", "-10m")
INSIDE_OFFSETS = ("3s", "1m3s", "-7s", "10m3s")  # Of subqueries in subqueries: keep edges off the inner grid.
COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
OVER_TIME = ("avg", "min", "max", "sum", "count", "stddev", "stdvar", "last", "present", "quantile", "absent")
SMOOTH = ("exp", "sin", "cos", "atan", "sinh", "cosh", "tanh", "asinh", "deg", "rad")  # The libraries' last digits differ.
EDGED = ("ln", "log2", "log10", "tan", "asin", "acos", "acosh", "atanh")
JUMPING = ("floor", "ceil", "sgn", "abs", "sqrt")
TIMES = ("minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year")
REGEXES = (".*", ".+", "h.*-(.*):.*", "(.)(.*)", "api|web", "[0-9]+", "x*", "", "host-[01]:80", ".*e.*")


class Generator:
    def __init__(self, data, seed):
        self.data = data
        self.families = list(data.families.values())
        self.chance = random.Random(seed)
        self.inside = 0  # Subqueries around us.

    def expression(self):
        """One to be asked at the top."""
        depth = self.chance.choice((1, 2, 2, 3, 3, 4, 5))
        pick = self.chance.random()
        if pick < 0.82:
            return self.vector(depth)
        if pick < 0.9:
            return self.top_vector(depth)
        if pick < 0.96:
            return self.scalar(depth)
        return self.matrix(depth)

    # ---- leaves ----

    def matchers(self, family):
        """As parts of the text, between the braces."""
        parts = []
        for name in self.chance.sample(sorted(family.labels), min(len(family.labels), self.chance.choice((0, 0, 1, 1, 2)))):
            value = self.chance.choice(family.labels[name])
            op = self.chance.choice(("=", "=", "!=", "=~", "!~"))
            if op in ("=~", "!~"):
                value = self.chance.choice((self.chance.choice(REGEXES), re.sub("[^a-z0-9]", ".", value)))
            parts.append(f"{name}{op}{promql_data.quoted(value)}")
        if self.chance.random() < 0.03:
            parts.append(self.chance.choice(('none=""', 'job!=""', 'instance=~".+"', 'none="x"', 'job!~"a.*"')))
        return parts

    def selector_text(self, family):
        parts = self.matchers(family)
        pick = self.chance.random()
        if pick < 0.04:
            return "{" + ",".join([f'__name__="{family.name}"'] + parts) + "}"
        if pick < 0.06:
            return "{" + ",".join([f'__name__=~"{family.name}|none"'] + parts) + "}"
        return family.name + ("{" + ",".join(parts) + "}" if parts or pick < 0.1 else "")

    def modifiers(self, subquery=False):
        out = ""
        inside = subquery and self.inside > 0
        pinned = self.chance.random() < 0.06
        if pinned:
            out += self.chance.choice((" @ end()", " @ start()", " @ 3607", " @ 1807", " @ 5407"))
        if inside and not pinned:
            out += " offset " + self.chance.choice(INSIDE_OFFSETS)
        elif self.chance.random() < 0.12:
            out += " offset " + self.chance.choice(OFFSETS)
        return out

    def family(self, **need):
        found = [f for f in self.families if all(self.fits(f, n, v) for n, v in need.items())]
        return self.chance.choice(found)

    @staticmethod
    def fits(family, need, value):
        if need == "kind":
            return family.kind == value
        return family.kind != "odd"  # tame or grid

    def selector(self, family):
        odd = family.kind == "odd"
        return Node("vector", [self.selector_text(family), self.modifiers()], grid=not odd, tame=not odd,
                    labels=tuple(family.labels))

    def range_selector(self, family):
        odd = family.kind == "odd"
        span = self.chance.choice(RANGES)
        return Node("matrix", [self.selector_text(family), f"[{span}]", self.modifiers()], grid=not odd, tame=not odd,
                    labels=tuple(family.labels))

    def matrix(self, depth, **need):
        if depth <= 1 or self.chance.random() < 0.7:
            return self.range_selector(self.family(**{k: v for k, v in need.items() if k != "exact"}))
        self.inside += 1
        inner = self.vector(depth - 1, **{k: v for k, v in need.items() if k != "kind"})
        self.inside -= 1
        span, step = self.chance.choice(RANGES), self.chance.choice(STEPS)
        if span in ("3h", "1h") and step in ("10s", "20s"):
            step = "1m"
        return Node("matrix", ["(", inner, ")", f"[{span}:{step}]", self.modifiers(subquery=True)], exact=inner.exact,
                    grid=inner.grid, tame=inner.tame, labels=inner.labels)

    def number(self):
        return self.chance.choice(("0", "1", "2", "-1", "0.5", "3.25", "10", "-0.25", "100", "0x1F", "1e3", "7"))

    def scalar(self, depth, tame=True):
        pick = self.chance.random()
        if depth <= 0 or pick < 0.5:
            odd = not tame and self.chance.random() < 0.2
            return Node("scalar", [self.chance.choice(("NaN", "Inf", "-Inf")) if odd else self.number()], grid=not odd,
                        tame=not odd)
        if pick < 0.6:
            return Node("scalar", ["time()"], grid=True)
        if pick < 0.62:
            return Node("scalar", ["pi()"])
        if pick < 0.75 and not tame:
            inner = self.vector(depth - 1, exact=True)
            return Node("scalar", ["scalar(", inner, ")"], tame=False)
        left, right = self.scalar(depth - 1), self.scalar(depth - 1)
        op = self.chance.choice(("+", "-", "*", "+", "-", "*", "== bool", "< bool", ">= bool"))
        if not tame and self.chance.random() < 0.3:
            op = self.chance.choice(("/", "%"))
        if self.chance.random() < 0.1:
            return Node("scalar", ["(-(", left, "))"], grid=left.grid)
        return Node("scalar", ["((", left, f") {op} (", right, "))"], grid=False, tame=op not in ("/", "%"))

    # ---- vectors ----

    def vector(self, depth, **need):
        """One that is what `need` asks for: exact, grid, tame."""
        for _ in range(30):
            found = self.any_vector(depth, need)
            if all(getattr(found, n) for n in need):
                return found
            depth = max(0, depth - self.chance.choice((0, 1)))
        return self.selector(self.family(tame=True))

    def any_vector(self, depth, need):
        if depth <= 0:
            return self.selector(self.family(**need) if need else self.chance.choice(self.families))
        make = self.chance.choice((self.range_function,) * 6 + (self.aggregation,) * 5 + (self.binary,) * 5
                                  + (self.scalar_binary,) * 3 + (self.set_operation,) * 2 + (self.plain_function,) * 3
                                  + (self.label_function,) * 2 + (self.bucket_function, self.unary, self.odd_function))
        return make(depth)

    def range_function(self, depth):
        pick = self.chance.random()
        if pick < 0.3:
            return self.counter_function()
        if pick < 0.42:
            name = self.chance.choice(("delta", "idelta", "deriv", "irate"))
            inner = self.matrix(depth, tame=True, exact=True)
            return Node("vector", [name + "(", inner, ")"], exact=True, labels=inner.labels, tame=True)
        if pick < 0.52:
            name = self.chance.choice(("changes", "resets"))
            inner = self.matrix(depth, exact=True)
            return Node("vector", [name + "(", inner, ")"], grid=True, labels=inner.labels)
        if pick < 0.57:
            inner = self.matrix(depth, tame=True, exact=True)
            return Node("vector", ["predict_linear(", inner, ", ", self.scalar(0), ")"], labels=inner.labels)
        if pick < 0.61:
            inner = self.matrix(depth, tame=True, exact=True)
            factors = [self.chance.choice(("0.1", "0.5", "0.9", "0.25")) for _ in range(2)]
            return Node("vector", ["double_exponential_smoothing(", inner, f", {factors[0]}, {factors[1]})"],
                        labels=inner.labels)
        return self.over_time(depth)

    def over_time(self, depth):
        name = self.chance.choice(OVER_TIME)
        need = {"tame": True} if name in ("avg", "stddev", "stdvar", "sum") else {}
        inner = self.matrix(depth, **need)
        if name == "quantile":
            return Node("vector", ["quantile_over_time(", self.chance.choice(("0.5", "0", "1", "0.317", "0.9", "-1", "2")),
                                   ", ", inner, ")"], exact=inner.exact, tame=False, labels=inner.labels)
        exact = inner.exact and name not in ("avg", "stddev", "stdvar") and (name != "sum" or inner.grid)
        grid = (inner.grid and name in ("min", "max", "sum", "last")) or name in ("count", "present", "absent")
        return Node("vector", [name + "_over_time(", inner, ")"], exact=exact or grid, grid=grid,
                    tame=inner.tame or name in ("count", "present", "absent"), labels=inner.labels)

    def counter_function(self):
        """Extrapolation towards zero changed between the versions; counters of the data stay far from it."""
        name = self.chance.choice(("rate", "increase", "rate", "irate"))
        inner = self.range_selector(self.family(kind=self.chance.choice(("counter", "counter", "bucket"))))
        if self.chance.random() < 0.2:
            family = self.family(kind="counter")
            inner = Node("matrix", [self.selector_text(family), f"[{self.chance.choice(RANGES)}:"
                                    f"{self.chance.choice(STEPS)}]", self.modifiers(subquery=True)], grid=True,
                         labels=tuple(family.labels))
        return Node("vector", [name + "(", inner, ")"], labels=inner.labels)

    def grouping(self, labels):
        if self.chance.random() < 0.25:
            return "", ()
        known = list(labels) + ["none"]
        chosen = self.chance.sample(known, min(len(known), self.chance.choice((0, 1, 1, 2, 3))))
        if self.chance.random() < 0.6:
            return f" by ({', '.join(chosen)})", tuple(chosen)
        return f" without ({', '.join(chosen)})", tuple(n for n in labels if n not in chosen)

    def aggregation(self, depth):
        op = self.chance.choice(("sum", "sum", "sum", "avg", "min", "max", "count", "group", "stddev", "stdvar",
                                 "quantile", "count_values"))
        need = {"stddev": {"tame": True}, "stdvar": {"tame": True}, "avg": {"tame": True}, "sum": {"tame": True},
                "count_values": {"exact": True}}.get(op, {})
        inner = self.vector(depth - 1, **need)
        grouping, labels = self.grouping(inner.labels)
        argument = ""
        if op == "quantile":
            argument = self.chance.choice(("0.5", "0", "1", "0.317", "0.9", "-1", "2")) + ", "
        elif op == "count_values":
            # 2.42 mixes up groups when the label sorts before one that is grouped by.
            argument = self.chance.choice(('"v"', '"job"', '"value"') if "without" in grouping else ('"zz"',)) + ", "
            labels += (argument[1:-3],)
        parts = ([op, grouping, " (", argument, inner, ")"] if self.chance.random() < 0.5
                 else [op, "(", argument, inner, ")", grouping])
        counts = op in ("count", "group", "count_values")
        grid = counts or (inner.grid and op in ("sum", "min", "max"))
        exact = grid or (inner.exact and op in ("min", "max", "quantile"))
        return Node("vector", parts, exact=exact, grid=grid, tame=inner.tame and op != "quantile" or counts, labels=labels)

    def matching(self, left, right):
        """Text between operator and right side, and the result's labels."""
        common = [n for n in left.labels if n in right.labels]
        pick = self.chance.random()
        if pick < 0.2:
            return "", common
        if pick < 0.65:
            chosen = self.chance.sample(common, self.chance.randrange(len(common) + 1)) if common else []
            if self.chance.random() < 0.6:
                chosen = common
            text, labels = f" on ({', '.join(chosen)})", chosen
        else:
            differing = sorted(set(left.labels) ^ set(right.labels))
            if self.chance.random() < 0.25 and common:
                differing.append(self.chance.choice(common))
            text, labels = f" ignoring ({', '.join(differing)})", [n for n in common if n not in differing]
        group = self.chance.random()
        if group < 0.55:
            side, other = ("left", right) if group < 0.3 else ("right", left)
            extra = [n for n in other.labels if n not in labels]
            extra = self.chance.sample(extra, self.chance.randrange(len(extra) + 1)) if extra else []
            text += f" group_{side} ({', '.join(extra)})"
            labels = list((left if side == "left" else right).labels) + extra
        return text, labels

    def pair(self, depth, **need):
        """Two sides that have a chance to meet."""
        left = self.vector(depth - 1, **need)
        if self.chance.random() < 0.45:
            return left, self.vector(depth - 1, **need)
        common = list(left.labels)
        inner = self.vector(max(0, depth - 2), **need)
        if self.chance.random() < 0.5:
            return left, inner
        chosen = self.chance.sample(common, self.chance.randrange(len(common) + 1)) if common else []
        return left, Node("vector", [f"max by ({', '.join(chosen)}) (", inner, ")"], exact=inner.exact, grid=inner.grid,
                          tame=inner.tame, labels=tuple(chosen))

    def binary(self, depth):
        if self.chance.random() < 0.35:
            op = self.chance.choice(COMPARISONS)
            left, right = self.pair(depth, exact=True)
            bool_text = " bool" if self.chance.random() < 0.4 else ""
            text, labels = self.matching(left, right)
            return Node("vector", ["(", left, f" {op}{bool_text}{text} ", right, ")"], exact=True,
                        grid=bool_text != "" or left.grid, tame=bool_text != "" or (left.tame and right.tame),
                        labels=tuple(labels))
        op = self.chance.choice(("+", "-", "*", "/", "%", "^", "atan2"))
        need = {"exact": True} if op in ("/", "%", "^", "atan2") else {"tame": True}
        left, right = self.pair(depth, **need)
        text, labels = self.matching(left, right)
        exact = left.exact and right.exact and op not in ("^", "atan2")
        grid = op in ("+", "-") and left.grid and right.grid
        return Node("vector", ["(", left, f" {op}{text} ", right, ")"], exact=exact, grid=grid,
                    tame=op in ("+", "-", "*") and left.tame and right.tame, labels=tuple(labels))

    def scalar_binary(self, depth):
        number = self.scalar(1, tame=False)
        if self.chance.random() < 0.5:
            op = self.chance.choice(COMPARISONS)
            inner = self.vector(depth - 1, exact=True)
            bool_text = " bool" if self.chance.random() < 0.3 else ""
            sides = [inner, f" {op}{bool_text} ", number]
            grid, tame, exact = bool_text != "" or inner.grid, bool_text != "" or inner.tame, True
        else:
            op = self.chance.choice(("+", "-", "*", "/", "%", "^", "atan2"))
            need = {"exact": True} if op in ("/", "%", "^", "atan2") else {}
            inner = self.vector(depth - 1, **need)
            sides = [inner, f" {op} ", number]
            grid = op in ("+", "-") and inner.grid and number.grid
            tame = op in ("+", "-", "*") and inner.tame and number.tame
            exact = inner.exact and op not in ("^", "atan2")
        if self.chance.random() < 0.4:
            sides.reverse()
        return Node("vector", ["(", *sides, ")"], exact=exact, grid=grid, tame=tame, labels=inner.labels)

    def set_operation(self, depth):
        op = self.chance.choice(("and", "or", "unless"))
        left, right = self.pair(depth)
        text, _ = self.matching(left, right)
        text = text.split(" group_")[0]
        both = op == "or"
        return Node("vector", ["(", left, f" {op}{text} ", right, ")"], exact=left.exact and (not both or right.exact),
                    grid=left.grid and (not both or right.grid), tame=left.tame and (not both or right.tame),
                    labels=left.labels)

    def plain_function(self, depth):
        pick = self.chance.random()
        if pick < 0.3:
            inner = self.vector(depth - 1, tame=True)
            return Node("vector", [self.chance.choice(SMOOTH) + "(", inner, ")"], exact=False, tame=False,
                        labels=inner.labels)
        if pick < 0.4:
            inner = self.vector(depth - 1, exact=True, tame=True)
            return Node("vector", [self.chance.choice(EDGED) + "(", inner, ")"], exact=False, tame=False,
                        labels=inner.labels)
        inner = self.vector(depth - 1, exact=True)
        if pick < 0.7:
            name = self.chance.choice(JUMPING)
            return Node("vector", [name + "(", inner, ")"], grid=inner.grid and name in ("floor", "ceil", "sgn", "abs"),
                        tame=name != "sqrt" and inner.tame, labels=inner.labels)
        if pick < 0.8:
            to = self.chance.choice(("", ", 0.5", ", 10", ", 5", ", 0.1", ", -2", ", 0"))
            return Node("vector", ["round(", inner, f"{to})"], tame=inner.tame and to != ", 0", labels=inner.labels)
        name = self.chance.choice(("clamp", "clamp_min", "clamp_max"))
        bounds = [", ", self.scalar(1, tame=False)] * (2 if name == "clamp" else 1)
        return Node("vector", [name + "(", inner, *bounds, ")"], tame=False, labels=inner.labels)

    def label_function(self, depth):
        inner = self.vector(depth - 1)
        source = self.chance.choice(inner.labels or ("none",))
        target = self.chance.choice(list(inner.labels) + ["fresh", "fresh", "__name__"])
        if self.chance.random() < 0.6:
            replacement = self.chance.choice(("$1", "x$1y", "${1}", "", "fixed", "$2-$1", "$9", "$$", "${none}"))
            text = ['label_replace(', inner, f', "{target}", "{replacement}", "{source}", "{self.chance.choice(REGEXES)}")']
        else:
            sources = self.chance.sample(list(inner.labels) + ["none"], self.chance.randrange(len(inner.labels) + 2))
            text = ['label_join(', inner, f', "{target}", "{self.chance.choice(("", "-", ", "))}"',
                    "".join(f', "{s}"' for s in sources), ")"]
        labels = inner.labels if target in inner.labels or target == "__name__" else inner.labels + (target,)
        return Node("vector", text, exact=inner.exact, grid=inner.grid, tame=inner.tame, labels=labels)

    def bucket_function(self, depth):
        family = self.family(kind="bucket")
        quantile = self.chance.choice(("0.317", "0.9137", "0.0131", "0.99", "-1", "2", "NaN"))
        if self.chance.random() < 0.2:
            inner = self.vector(depth - 1, exact=True, tame=True)
            return Node("vector", [f"histogram_quantile({quantile}, ", inner, ")"], exact=False, tame=False,
                        labels=inner.labels)
        inside = [self.selector(family)]
        if self.chance.random() < 0.7:
            inside = [self.chance.choice(("rate", "increase", "delta")) + "(", self.range_selector(family), ")"]
        labels = ("job", "instance")
        if self.chance.random() < 0.6:
            keep = self.chance.choice(("le", "le, job", "job, le", "le, instance"))
            inside = [f"sum by ({keep}) ("] + inside + [")"]
            labels = tuple(n for n in labels if n in keep)
        return Node("vector", [f"histogram_quantile({quantile}, ", *inside, ")"], exact=False, tame=False, labels=labels)

    def unary(self, depth):
        inner = self.vector(depth - 1)
        return Node("vector", [self.chance.choice(("-", "-", "+")), "(", inner, ")"], exact=inner.exact, grid=inner.grid,
                    tame=inner.tame, labels=inner.labels)

    def odd_function(self, depth):
        pick = self.chance.random()
        if pick < 0.25:
            inner = self.vector(depth - 1)
            return Node("vector", ["absent(", inner, ")"], grid=True, labels=inner.labels)
        if pick < 0.5:
            inner = self.vector(self.chance.choice((0, depth - 1)))
            return Node("vector", ["timestamp(", inner, ")"], labels=inner.labels)
        if pick < 0.75:
            return Node("vector", ["vector(", self.scalar(depth - 1, tame=False), ")"], tame=False)
        if self.chance.random() < 0.2:
            return Node("vector", [self.chance.choice(TIMES) + "()"], grid=True)
        inner = self.vector(depth - 1, exact=True, tame=True, grid=True)
        return Node("vector", [self.chance.choice(TIMES) + "((", inner, ") * 65536.5)"], grid=True, labels=inner.labels)

    def top_vector(self, depth):
        """What has an order, or a choice among equals: only its values count, and only at the top."""
        inner = self.vector(depth, exact=True)
        if self.chance.random() < 0.5:
            return Node("vector", [self.chance.choice(("sort(", "sort_desc(")), inner, ")"], labels=inner.labels,
                        top_only=True)
        grouping, _ = self.grouping(inner.labels)
        return Node("vector", [self.chance.choice(("topk", "bottomk")), grouping, "(",
                               self.chance.choice(("1", "2", "3", "0", "-1", "100")), ", ", inner, ")"],
                    labels=inner.labels, top_only=True)

    # ---- wrong on purpose ----

    def broken(self, root):
        """The expression with a part of a wrong type, or one too many; its error's text is to be compared."""
        nodes = [n for n in root.nodes()]
        if not nodes:
            return None
        old = self.chance.choice(nodes)
        other = {"vector": ("matrix", "string", "scalar"), "matrix": ("vector", "scalar"),
                 "scalar": ("vector", "matrix", "string"), "string": ("scalar",)}[old.kind]
        kind = self.chance.choice(other)
        new = {"matrix": lambda: self.range_selector(self.family(kind="gauge")),
               "vector": lambda: self.selector(self.family(kind="gauge")),
               "scalar": lambda: Node("scalar", ["1"]), "string": lambda: Node("string", ['"text"'])}[kind]()
        return root.replaced(old, new)
