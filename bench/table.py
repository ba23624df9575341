#!/usr/bin/env python3
"""Makes a Markdown table of what the benchmarks print.

    make bench > lines; bench/table.py lines [prefix ...] > table.md

One row for each figure that Narthex has beside a peer or a bar: lines whose names differ only in _narthex, _prometheus,
_victoria, _bar. A figure over its bar is marked. Lines of the C programs have no peers and no rows. A second table has the
lines `..._x_<peer> value times`: by how many times Narthex is better, and the least that it is held to.
"""
import sys

SIDES = ("narthex", "prometheus", "victoria", "bar", "verdict")
TITLES = {"narthex": "Narthex", "prometheus": "Prometheus 2.42", "victoria": "VictoriaMetrics 1.79"}


def read_rows(lines):
    """{figure: {side: text, "unit": text}} in the order of the first line of each."""
    rows = {}
    for line in lines:
        words = line.split()
        if len(words) != 3 or line.startswith("#"):
            continue
        figure, _, name = words[0].rpartition("_")
        if name in SIDES:
            row = rows.setdefault(figure, {})
            row[name] = words[1]
            if name != "verdict":
                row.setdefault("unit", words[2])
    return rows


def number(text):
    """As people write it: 48000000 rather than 4.8e+07."""
    try:
        value = float(text)
    except ValueError:
        return text
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def write_times(lines, prefixes, out):
    found, bars = {}, {}
    for line in lines:
        words = line.split()
        if len(words) != 3 or words[2] != "times" or "_x_" not in words[0]:
            continue
        if words[0].endswith("_bar"):
            bars[words[0][:-len("_bar")]] = float(words[1])
        else:
            found[words[0]] = float(words[1])
    rows = [name for name in found if name in bars and (not prefixes or name.startswith(tuple(prefixes)))]
    if not rows:
        return
    out.write("\n| times better | found | bar |\n|---|---|---|\n")
    for name in rows:
        text = number(str(found[name]))
        out.write(f"| {name.replace('_', ' ')} | {text if found[name] >= bars[name] else f'**{text}** (under)'} "
                  f"| >= {number(str(bars[name]))} |\n")


def write_table(rows, prefixes, out):
    out.write("| figure | unit | bar | " + " | ".join(TITLES.values()) + " |\n|---|---|---|" + "---|" * len(TITLES) + "\n")
    for figure, row in rows.items():
        if "narthex" not in row or not row.keys() & {"prometheus", "victoria", "bar"}:
            continue
        if prefixes and not figure.startswith(tuple(prefixes)):
            continue
        cells = [number(row[name]) if name in row else "" for name in TITLES]
        if row.get("verdict") == "missed":
            cells[0] = f"**{cells[0]}** (over)"
        bar = "<= " + number(row["bar"]) if "bar" in row else ""
        out.write(f"| {figure.replace('_', ' ')} | {row['unit'].replace('_', ' ')} | {bar} | " + " | ".join(cells) + " |\n")


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") if len(sys.argv) > 1 else sys.stdin as f:
        all_lines = f.readlines()
    write_table(read_rows(all_lines), sys.argv[2:], sys.stdout)
    write_times(all_lines, sys.argv[2:], sys.stdout)
