#!/usr/bin/env python3
"""Tables of flags, own metrics and configuration fields, from the .def files that the program is compiled from.

    docs.py          writes docs/flags.md, docs/metrics.md, docs/config.md
    docs.py --check  fails when one of them differs from what it would write
"""
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
STRING = r'"((?:[^"\\]|\\.)*)"'


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def text(quoted):
    return quoted.replace('\\"', '"').replace("|", "\\|")


def flags():
    effects = {"ACTIVE": "yes", "GO_ONLY": "accepted, no effect here", "LATER": "accepted, not active yet",
               "AGENT_ONLY": "agent mode only: ends the start"}
    rows = re.findall(rf"FLAG\({STRING}, (\w+), {STRING}, (\w+), {STRING}\)", read("src/flags.def"))
    out = "# Flags\n\nGenerated from src/flags.def by .ci/docs.py.\n\n| flag | default | active | what |\n|---|---|---|---|\n"
    for name, kind, value, effect, help_text in rows:
        default = f"`{value}`" if value else ""
        out += f"| `--{'[no-]' if kind == 'BOOL' else ''}{name}` | {default} | {effects[effect]} | {text(help_text)} |\n"
    return out


def metrics():
    out = ("# Metrics of our own\n\nServed at /metrics. Generated from src/api/metrics.def by .ci/docs.py; beside these come, "
           "with labels that are known at run time only, `prometheus_http_*`, `prometheus_engine_query_duration_*`, those of each job, interval and file "
           "(`prometheus_target_*`, `prometheus_sd_*`), and `narthex_kube_requests_total` with the metrics APIs.\n\n| metric | type | what |\n|---|---|---|\n")
    seen = set()
    for name, kind, help_text in re.findall(rf'\bM\({STRING}, (\w+), "(?:[^"\\]|\\.)*",\s*{STRING}', read("src/api/metrics.def")):
        if name not in seen:
            out += f"| `{name}` | {kind.lower()} | {text(help_text)} |\n"
        seen.add(name)
    out += "\n## What Prometheus 3.14 has and we do not\n| metrics | why |\n|---|---|\n"
    for names, reason in re.findall(rf"\bABSENT\({STRING}, {STRING}\)", read("src/api/metrics.def")):
        out += f"| `{names}` | {text(reason)} |\n"
    return out


def config():
    # The compiler's preprocessor knows the macros of fields.def best.
    source = ("#define SECTION(id, type, list, check) @section #id\n"
              "#define FIELD(section, name, type, shown, value, nested, help) @field #name, value, help @end\n"
              "#define SECTION_END(id)\n" + read("src/config/fields.def"))
    expanded = subprocess.run([os.environ.get("CC", "cc"), "-E", "-P", "-x", "c", "-"], input=source, text=True,
                              capture_output=True, check=True).stdout
    out = ("# Configuration fields\n\nGenerated from src/config/fields.def by .ci/docs.py. Fields of later features are read and checked; the log and "
           "/targets say what is not active yet.\n")
    for section, field in re.findall(r'@section "(\w+)"|@field (.*?) @end', expanded.replace("\n", " ")):
        if section:
            out += f"\n## {section.lower()}\n| field | default | what |\n|---|---|---|\n"
            continue
        name, rest = field.split(",", 1)
        name = name.strip().strip('"')
        value, help_text = re.findall(r'((?:"(?:[^"\\]|\\.)*"\s*)+)', rest)
        value, help_text = ("".join(re.findall(STRING, part)) for part in (value, help_text))
        out += f"| `{name}` | {'`' + text(value) + '`' if value else ''} | {text(help_text)} |\n"
    return out


def main():
    wrong = []
    for path, make in (("docs/flags.md", flags), ("docs/metrics.md", metrics), ("docs/config.md", config)):
        content = make()
        if "--check" in sys.argv:
            if not os.path.exists(os.path.join(ROOT, path)) or read(path) != content:
                wrong.append(path)
            continue
        with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
            file.write(content)
    if wrong:
        sys.exit("differ from their .def files (run .ci/docs.py): " + " ".join(wrong))


main()
