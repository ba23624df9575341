"""Every configuration of tests/golden/config given to both by a reload: who takes it, in which words, and /status/config after it.

Known to differ: discoveries that are not built here are refused by name (sd_consul.yml); what remote storage fails at when it is
applied (remote.yml), and a CA file that is
not there (kind_helm.yml): there all of the reload fails, here what needs the file says so; an anchor that contains itself is called so before its type is (yaml_self_anchor.yml). A Prometheus 3.14
dies of refresh_interval: null (http_sd_nulls.yml...), and is started anew.
"""
import difflib
import os

import beside
import harness

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "config")
KNOWN = {"sd_consul.yml", "remote.yml", "kind_helm.yml", "yaml_self_anchor.yml"}


def outcome(server, text):
    """(status, words, the configuration in force)"""
    connection = beside.Connection(server)
    harness.write_file(os.path.join(server.home, "prometheus.yml"), text)
    status, _, words = connection.ask("POST", "/-/reload")
    shown = connection.ask("GET", "/api/v1/status/config")[2] if status == 200 else ""
    return status, words, shown


def both(servers, text):
    """None for a server that died of it: both are started anew."""
    outcomes = []
    for server in servers:
        try:
            outcomes.append(outcome(server, text))
        except OSError:
            outcomes.append(None)
    return outcomes


def main():
    servers = beside.start()
    equal = known = 0
    names = sorted(name for name in os.listdir(CORPUS) if name.endswith(".yml"))
    for name in names:
        with open(os.path.join(CORPUS, name), "rb") as file:
            theirs, ours = both(servers, file.read())
        if theirs == ours:
            equal += 1
        elif theirs is None:
            print(f"{name}: Prometheus died of it; ours: {ours[0]} {ours[1]}")
            servers = beside.start()
            known += 1
        else:
            known += name in KNOWN
            print(f"{name}{' (known)' if name in KNOWN else ''}: {theirs[:2]} | {ours and ours[:2]}")
            lines = [(text or "").replace("\\n", "\n").split("\n") for text in (theirs[2], ours and ours[2])]
            print("\n".join(difflib.unified_diff(*lines, "prometheus", "narthex", lineterm="", n=1)))
    print(f"{len(names)} configurations, {equal} equal, {known} known to differ")
    assert equal + known == len(names)


main()
