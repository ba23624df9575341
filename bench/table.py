#!/usr/bin/env python3
"""Makes a Markdown table of what the benchmarks print.

    make bench > lines; bench/table.py lines [prefix ...] > table.md

One row for each figure that Narthex has beside a peer or a bar: lines whose names differ only in _narthex, _prometheus,
_victoria, _bar. A figure over its bar is marked. Lines of the C programs have no peers and no rows.
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
        write_table(read_rows(f), sys.argv[2:], sys.stdout)
