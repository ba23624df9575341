"""The command line: flags, exit codes, promtool's words, reload, what is refused at start."""
import json
import os
import re
import signal
import socket
import subprocess
import time

import harness
from harness import NARTHEX, Server, run_command, wait_for

PROMTOOL = harness.link_beside_narthex("promtool")
PROMETHEUS = harness.link_beside_narthex("prometheus")
GOOD = "global:\n  scrape_interval: 15s\nscrape_configs:\n  - job_name: a\n    static_configs: [{targets: ['x:1']}]\n"


def new_config(text, name="prometheus.yml"):
    return harness.write_file(os.path.join(harness.new_folder("config"), name), text)


def refused(*arguments, config=GOOD):
    """Starts the server in the hope that it ends by itself; (exit code, everything it said)."""
    home = harness.new_folder("refused")
    path = harness.write_file(os.path.join(home, "prometheus.yml"), config)
    code, out, err = run_command([NARTHEX, "--config.file=" + path, "--storage.tsdb.path=" + home + "/data",
                                  f"--web.listen-address=127.0.0.1:{harness.free_port()}", *arguments])
    return code, out + err


def test_bad_flags__end_as_with_prometheus():
    """Words that cannot be read: 1 and no help. Values that cannot: 2 and help on stdout. Flags of agents: 3."""
    cases = (("unknown long flag '--no.such.flag'", "--no.such.flag"), ("expected argument for flag '--config.file'", "--config.file"),
             ("expected argument for flag '--web.page-title'", "--web.page-title", "--config.file=x"),
             ("unknown short flag '-x'", "-x"), ("unexpected word", "--no-agent", "word"))
    for words, *arguments in cases:
        said = run_command([NARTHEX, *arguments])
        assert said == (1, "", f"Error parsing command line arguments: {words}\nprometheus: error: {words}\n"), said
    cases = (('not a valid duration string: "soon"', "--query.timeout=soon"),
             ('strconv.ParseFloat: parsing "many": invalid syntax', "--web.max-connections=many"),
             ('not a valid duration string: "1"', "--storage.tsdb.retention.time=1"),
             ("units: unknown unit  in 1", "--storage.tsdb.retention.size=1"),
             ("unrecognized log level loud", "--log.level=loud"),
             ("enum value must be one of snappy,zstd, got 'gzip'", "--storage.tsdb.wal-compression-type=gzip"),
             ("unknown type for remote write protobuf message v3, supported: prometheus.WriteRequest, "
              "io.prometheus.write.v2.Request", "--web.remote-write-receiver.accepted-protobuf-messages=v3"),
             ("duplicated prometheus.WriteRequest flag value, got prometheus.WriteRequest already",
              *["--web.remote-write-receiver.accepted-protobuf-messages=prometheus.WriteRequest"] * 2),
             ('strconv.ParseInt: parsing "1.5": invalid syntax', "--rules.max-concurrent-evals=1.5"),
             ('strconv.ParseFloat: parsing "much": invalid syntax', "--auto-gomemlimit.ratio=much"),
             ("flag 'config.file' cannot be repeated", "--config.file=a", "--config.file=b"))
    for words, *arguments in cases:
        code, out, err = run_command([NARTHEX, *arguments])
        assert (code, err) == (2, f"Error parsing command line arguments: {words}\n"), (arguments, code, err)
        assert out.startswith("usage: ") and "      --config.file=\"prometheus.yml\"  \n" in out, out
    said = run_command([NARTHEX, "--no-storage.agent.wal-compression", "--storage.agent.path=x"])
    assert said == (3, "", 'The following flag(s) can only be used in agent mode: '
                           '["--storage.agent.wal-compression" "--storage.agent.path"]\n'), said
    said = run_command([NARTHEX, "--web.external-url=:"])
    assert said == (2, "", 'parse external URL ":": parse ":": missing protocol scheme\n'), said
    for words, *arguments in (('"\'a\'": URL must not begin or end with quotes', "--web.external-url='a'"),
                              ('"http://a b": parse "http://a b": invalid character " " in host name', "--web.external-url=http://a b"),
                              ('"": address 127.0.0.1: missing port in address', "--web.listen-address=127.0.0.1"),
                              ('"": address ::1:9090: too many colons in address', "--web.listen-address=::1:9090"),
                              ('"": address [::1:0: missing \']\' in address', "--web.listen-address=[::1:0"),
                              ('"": missing port in address', "--web.listen-address="),
                              (f'"": parse "http://{socket.gethostname()}:x/": invalid port ":x" after host', "--web.listen-address=h:x")):
        assert run_command([NARTHEX, *arguments]) == (2, "", f"parse external URL {words}\n"), (words, run_command([NARTHEX, *arguments]))
    for value in ("0", "-1", "1.01"):
        said = run_command([NARTHEX, "--auto-gomemlimit.ratio=" + value, "--config.file=/nonexistent"])
        assert said == (1, "", "--auto-gomemlimit.ratio must be greater than 0 and less than or equal to 1.\n"), said
    code, out, err = run_command([NARTHEX, "--web.cors.origin=("])
    assert code == 2 and err.startswith('could not compile CORS regex string "(": error parsing regexp: missing closing ): '), err


def test_arguments__may_stand_in_a_file():
    """@file: one a line, without empty ones and remarks; a word after -- is one too many."""
    path = new_config("# of the unit\n--log.format=json\n\n--config.file=/nonexistent/p.yml\r\n", "flags")
    code, _, err = run_command([NARTHEX, "@" + path, "--"])
    assert code == 2 and '"msg":"Error loading config (--config.file=/nonexistent/p.yml)"' in err, (code, err)
    words = 'failed to open arguments file "/nonexistent": open /nonexistent: no such file or directory'
    said = run_command([NARTHEX, "@/nonexistent"])
    assert said == (1, "", f"Error parsing command line arguments: {words}\nprometheus: error: {words}\n"), said
    assert run_command([NARTHEX, "--", "word"])[0] == 1


def test_features__are_told_as_prometheus_does():
    code, said = refused("--enable-feature=foo,native-histograms", "--enable-feature=exemplar-storage", "--enable-feature=st-storage",
                         "--enable-feature=old-ui", "--enable-feature=extra-scrape-metrics", config="nonsense")
    assert code == 2, said
    for line in ('level=WARN SOURCE msg="Unknown option for --enable-feature" option=foo',
                 'level=WARN SOURCE msg="This option for --enable-feature is a no-op. To scrape native histograms, set the '
                 'scrape_native_histograms scrape config setting to true." option=native-histograms',
                 'level=INFO SOURCE msg="Experimental in-memory exemplar storage enabled"',
                 'level=WARN SOURCE msg="Feature is accepted; what it is about is not active yet" option=st-storage',
                 'level=WARN SOURCE msg="Feature is accepted and has no effect in this server" option=old-ui'):
        assert line in re.sub(r"source=\S+", "SOURCE", said), (line, said)
    assert "This option for --enable-feature is being phased out." in said, said


def test_version_and_help():
    for program, name in ((NARTHEX, "prometheus, version 3."), (PROMETHEUS, "prometheus, version 3."),
                          (PROMTOOL, "promtool, version 3.")):
        code, out, err = run_command([program, "--version"])
        assert code == 0 and out.startswith(name), (program, code, out, err)
    code, out, _ = run_command([NARTHEX, "--help"])
    assert code == 0
    for flag in ("--config.file", "--storage.tsdb.path", "--storage.tsdb.retention.time", "--web.listen-address",
                 "--[no-]web.enable-lifecycle", "--query.lookback-delta", "--log.level"):
        assert flag in out, flag
    code, out, _ = run_command([PROMTOOL, "--help"])
    assert code == 0 and "check config" in out and "query instant" in out


def test_check_config__in_promtools_words():
    path = new_config(GOOD)
    for argv in ([NARTHEX, "check", "config", path], [PROMTOOL, "check", "config", path]):
        code, out, err = run_command(argv)
        assert code == 0 and err == "", (argv, code, out, err)
        assert out == f"Checking {path}\n SUCCESS: {path} is valid prometheus config file syntax\n\n", out
    bad = new_config("global:\n  scrape_intervall: 15s\n")
    code, out, err = run_command([PROMTOOL, "check", "config", bad])
    assert code == 1 and out == f"Checking {bad}\n\n", (code, out)
    assert err.startswith("  FAILED: parsing YAML file " + bad), err
    assert "line 2: field scrape_intervall not found in type config" in err, err
    code, out, err = run_command([PROMTOOL, "check", "config", path, bad])
    assert code == 1 and "SUCCESS" in out and "FAILED" in err
    code, out, err = run_command([PROMTOOL, "check", "config", path + ".missing"])
    assert code == 1 and "does not exist, try --help" in err, (code, err)
    assert run_command([PROMTOOL, "check", "config"])[0] != 0
    rules = new_config(GOOD + "rule_files: ['nowhere.yml']\n")
    code, out, err = run_command([PROMTOOL, "check", "config", rules])
    assert code == 1 and 'nowhere.yml" does not point to an existing file' in err, (code, err)
    code, out, err = run_command([PROMTOOL, "check", "config", "--syntax-only", rules])
    assert code == 0, (code, out, err)
    files = new_config("scrape_configs:\n  - job_name: f\n    file_sd_configs: [{files: ['gone.json']}]\n")
    code, out, err = run_command([PROMTOOL, "check", "config", files])
    assert code == 0 and 'WARNING: file "' in out + err and 'for file_sd in scrape job "f" does not exist' in out + err


def test_unknown_command__is_an_error():
    for argv in ([NARTHEX, "frobnicate"], [PROMTOOL, "query", "sideways"], [PROMTOOL]):
        code, out, err = run_command(argv)
        assert code in (1, 2) and out == "" and err, (argv, code, out)


def test_query__prints_as_promtool_does():
    server = Server(GOOD)
    at = int(time.time()) - 60
    assert server.write([({"__name__": "q", "job": "a", "x": 'quote"back\\'}, [(at * 1000, 1.5)]),
                         ({"__name__": "q", "job": "b"}, [(at * 1000, 2)])]).status == 204
    url = f"http://127.0.0.1:{server.port}"
    peer = harness.peer_path("prometheus", "promtool")
    for query in ("q", "sum(q)", "1 + 1", "q[1m]", "nothing_here", "q{job=\"a\"}", "1/0"):
        theirs = run_command([peer, "query", "instant", f"--time={at}", url, query])
        ours = run_command([PROMTOOL, "query", "instant", f"--time={at}", url, query])
        assert sorted(ours[1].splitlines()) == sorted(theirs[1].splitlines()), (query, theirs, ours)
        assert ours[0] == theirs[0] == 0, (query, theirs, ours)
    arguments = [f"--start={at - 30}", f"--end={at + 30}", "--step=15s", url]
    for query in ("q", "sum(q)", "1"):
        theirs = run_command([peer, "query", "range", *arguments, query])
        ours = run_command([PROMTOOL, "query", "range", *arguments, query])
        assert sorted(ours[1].splitlines()) == sorted(theirs[1].splitlines()), (query, theirs, ours)
        assert ours[0] == theirs[0] == 0
    for words in (["series", "--match=q", url], ["series", "--match", 'q{job="a"}', "--match=nothing", url],
                  ["series", "--match=q", f"--start={at - 9000}", f"--end={at - 8000}", url], ["labels", url, "job"],
                  ["labels", "--match=q{job='b'}", url, "job"], ["labels", url, "nothing"],
                  ["series", "-o", "json", "--match=q", url], ["labels", "-o", "json", url, "job"]):
        theirs = run_command([peer, "query", *words])
        ours = run_command([PROMTOOL, "query", *words])
        parsed = [sorted(map(str, json.loads(out))) if "json" in words else out for _, out, _ in (ours, theirs)]
        assert parsed[0] == parsed[1] and ours[0] == theirs[0] == 0, (words, theirs, ours)
    assert run_command([PROMTOOL, "query", "series", url])[0] == 1
    assert run_command([PROMTOOL, "query", "labels", url])[0] == 1
    code, out, err = run_command([PROMTOOL, "query", "instant", url, "sum("])
    assert code == 1 and "parse error" in err, (code, out, err)
    code, out, err = run_command([PROMTOOL, "query", "instant", f"http://127.0.0.1:{harness.free_port()}", "1"])
    assert code == 1 and "refused" in err, (code, out, err)
    code, out, err = run_command([PROMTOOL, "query", "instant", "-o", "json", url, "sum(q)", f"--time={at}"])
    assert code == 0, (code, err)
    assert json.loads(out) == [{"metric": {}, "value": [at, "3.5"]}], out


def test_query_analyze__counts_populated_buckets():
    server = Server()
    rows = {"0.5": (0, 2, 4), "1": (0, 2, 5), "+Inf": (3, 5, 9)}
    assert server.write([({"__name__": "h_bucket", "job": "a", "le": le}, [(1000000 + 15000 * k, float(v)) for k, v in enumerate(values)])
                         for le, values in rows.items()]).status == 204
    flags = [f"--server=http://127.0.0.1:{server.port}", "--type=histogram", "--time=1060"]
    code, out, err = run_command([PROMTOOL, "query", "analyze", *flags, "--match=h_bucket", "--duration=90s"])
    assert (code, err) == (0, ""), err
    assert '- h_bucket{job="a"} (classic): 1/2.000/3\n\nAggregated' in out, out
    assert out.endswith("Classic histogram series (1 in total):\n- min populated: 1/1.000/1\n- avg populated: 2/2.000/2\n"
                        "- max populated: 3/3.000/3\n"), out
    assert run_command([PROMTOOL, "query", "analyze", *flags])[2] == "promtool: error: required flag(s) '--match' not provided, try --help\n"
    assert run_command([PROMTOOL, "query", "analyze", *flags, "--match={"])[0] == 1


def test_promql__formats_and_edits():
    def promql(*words):
        return run_command([PROMTOOL, "promql", *words])

    query = 'sum by (j) (rate(a{b="x",c="y"}[5m]))/e'
    assert promql("format", query)[0] == 1, "experimental, as promtool's"
    assert promql("format", "--experimental", query)[:2] == (0, 'sum by (j) (rate(a{b="x",c="y"}[5m])) / e\n')
    code, out, err = promql("format", "--experimental", "sum(")
    assert code == 1 and out == "" and "parse error: unclosed left parenthesis" in err, (code, out, err)
    edit = lambda *words: promql("label-matchers", "--experimental", *words)
    assert edit("set", query, "b", "z")[1] == 'sum by (j) (rate(a{b="z",c="y"}[5m])) / e{b="z"}\n'
    assert edit("set", "-t", "!~", "e or max_over_time(e[1m:5s] @ 3)", "b", "z.*")[1] == (
        'e{b!~"z.*"} or max_over_time(e{b!~"z.*"}[1m:5s] @ 3.000)\n')
    assert edit("delete", query, "b")[1] == 'sum by (j) (rate(a{c="y"}[5m])) / e\n'
    assert edit("set", "-t", "=~", query, "b", "(")[0] == 1
    assert edit("set", "-t", "~", query, "b", "z")[2] == (
        "promtool: error: enum value must be one of =,!=,=~,!~, got '~', try --help\n")
    assert edit("set", query, "b")[::2] == (1, "promtool: error: required argument 'value' not provided, try --help\n")
    assert edit("change", query, "b")[0] == 1
    # As promtool has it: global flags in front, one removed at a time, what is experimental has its features.
    assert run_command([PROMTOOL, "--experimental", "promql", "format", "x+y"])[:2] == (0, "x + y\n")
    assert edit("delete", "a{b='1',b='2',c='3'}", "b")[1] == 'a{b="2",c="3"}\n'
    assert edit("delete", "a", "__name__")[1] == "a\n"
    assert promql("format", "--experimental", "limitk(1, x)")[2] == (
        "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions\n")
    assert run_command([PROMTOOL, "--enable-feature=promql-experimental-functions", "--experimental", "promql", "format",
                        "limitk(1,x)"])[:2] == (0, "limitk(1, x)\n")


def test_test_promql__tells_what_failed():
    good = new_config("load 1m\n  a 1 2 3\neval instant at 2m a\n  a 3\n", "good.test")
    bad = new_config("load 1m\n  a 1 2 3\n\neval instant at 2m a\n  a 4\n\neval instant at 1m a\n  a 2\n", "bad.test")
    broken = new_config("lode 1m\n", "broken.test")
    code, out, _ = run_command([NARTHEX, "test", "promql", good])
    assert code == 0 and out == f"Unit Testing:  {good}\n  SUCCESS: 1 evals\n\n", (code, out)
    code, out, _ = run_command([NARTHEX, "test", "promql", good, bad])
    assert code == 1 and "FAILED: 1 of 2 evals" in out and f"{bad}:4: a: " in out, (code, out)
    code, out, _ = run_command([NARTHEX, "test", "promql", broken])
    assert code == 1 and f"{broken}:1: invalid command" in out, (code, out)
    assert run_command([NARTHEX, "test", "promql", broken + ".missing"])[0] == 1
    assert run_command([NARTHEX, "test", "promql"])[0] == 1


def test_bad_config__ends_the_start_with_2():
    code, said = refused(config="global: [1]\n")
    assert code == 2 and "Error loading config (--config.file=" in said, (code, said)
    code, said = refused(config="scrape_configs: [{}]\n")
    assert code == 2 and "job_name is empty" in said, (code, said)
    code, out, err = run_command([NARTHEX, "--config.file=/nowhere/prometheus.yml",
                                  "--storage.tsdb.path=" + harness.new_folder("d")])
    assert code == 2 and "no such file or directory" in (out + err).lower(), (code, out, err)


def test_web_config__ends_the_start_when_it_is_bad():
    path = new_config("basic_auth_users:\n  admin: $2y$10$abc\n", "web.yml")
    code, said = refused("--web.config.file=" + path)
    assert code == 1 and 'msg="Unable to validate web configuration file" err="' in said, (code, said)
    assert refused("--web.config.file=" + path, "--agent")[0] in (2, 3)
    # An empty name is what charts pass when there is none.
    server = Server(GOOD, args=["--web.config.file="])
    assert server.stop(5) == 0


def test_prometheus_flags__are_accepted():
    """A command line as the charts and the operator write it."""
    server = Server(GOOD, args=[
        "--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=10GB", "--storage.tsdb.wal-compression",
        "--web.console.templates=/etc/prometheus/consoles", "--web.console.libraries=/etc/prometheus/console_libraries",
        "--web.route-prefix=/", "--web.external-url=http://prometheus.example/", "--web.page-title=Title",
        "--no-auto-gomaxprocs", "--auto-gomemlimit.ratio=0.8", "--log.level", "debug", "--log.format=json",
        "--enable-feature=exemplar-storage,memory-snapshot-on-shutdown", "--enable-feature=no-such-feature",
        "--query.timeout=30s", "--query.max-samples=1000000", "--storage.tsdb.no-lockfile",
        "--storage.remote.flush-deadline=1m", "--rules.alert.resend-delay=1m", "--web.cors.origin=.*"])
    flags = server.data("/api/v1/status/flags")
    assert flags["storage.tsdb.retention.time"] == "15d" and flags["query.timeout"] == "30s", flags
    assert flags["auto-gomaxprocs"] == "false" and flags["log.level"] == "debug"
    assert all(isinstance(text, str) for text in flags.values())
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    assert len(lines) == len(server.log().splitlines()), server.log()
    warned = json.dumps(lines)
    assert "auto-gomaxprocs" in warned and "no-such-feature" in warned
    assert server.stop(5) == 0


def test_taken_port__ends_the_start():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, out, err = run_command([NARTHEX, "--config.file=" + new_config(GOOD),
                                      "--storage.tsdb.path=" + harness.new_folder("d"),
                                      f"--web.listen-address=127.0.0.1:{taken.getsockname()[1]}"])
    assert code == 1 and "address already in use" in (out + err).lower(), (code, out, err)
    code, said = refused("--web.listen-address=127.0.0.1:99999")
    assert code != 0, said


def test_unusable_data_folder__ends_the_start():
    path = new_config("", "a_file")
    code, out, err = run_command([NARTHEX, "--config.file=" + new_config(GOOD), "--storage.tsdb.path=" + path,
                                  f"--web.listen-address=127.0.0.1:{harness.free_port()}"])
    assert code == 1 and path in out + err, (code, out, err)


def test_signals__reload_and_stop():
    server = Server("global:\n  external_labels: {v: one}\n")

    def yaml():
        return server.data("/api/v1/status/config")["yaml"]

    assert "v: one" in yaml()
    server.set_config("global:\n  external_labels: {v: two}\n")
    server.signal(signal.SIGHUP)
    wait_for("the new config", lambda: "v: two" in yaml())
    server.set_config("global:\n  external_labels: {v: three\n")
    server.signal(signal.SIGHUP)
    wait_for("the refusal", lambda: "level=ERROR" in server.log())
    assert "v: two" in yaml() and server.is_running()
    assert server.data("/api/v1/status/runtimeinfo")["reloadConfigSuccess"] is False
    assert "prometheus_config_last_reload_successful 0" in server.get("/metrics").text
    reply = server.post("/-/reload")
    assert reply.status == 500 and reply.text.startswith("failed to reload config: "), reply
    assert "v: two" in yaml()
    server.set_config("global:\n  external_labels: {v: four}\n")
    reply = server.post("/-/reload")
    assert reply.status == 200 and reply.body == b"", reply
    assert "v: four" in yaml()
    assert server.data("/api/v1/status/runtimeinfo")["reloadConfigSuccess"] is True
    assert "prometheus_config_last_reload_successful 1" in server.get("/metrics").text
    os.remove(server.config_path)
    assert server.post("/-/reload").status == 500 and "v: four" in yaml()
    server.signal(signal.SIGINT)
    assert server.exit_code(5) == 0


def test_lifecycle__is_off_by_default():
    server = Server(GOOD, lifecycle=False)
    for path in ("/-/reload", "/-/quit"):
        reply = server.post(path)
        assert reply.status == 403 and reply.text.strip() == "Lifecycle API is not enabled.", reply
        assert server.get(path).status in (403, 405)
    assert server.is_running()


def test_quit__ends_with_0():
    server = Server(GOOD)
    assert server.get("/-/quit").status == 405
    reply = server.post("/-/quit")
    assert reply.status == 200 and reply.text.strip() == "Requesting termination... Goodbye!", reply
    assert server.exit_code(5) == 0


def test_prometheus_link__serves():
    home = harness.new_folder("link")
    port = harness.free_port()
    path = harness.write_file(os.path.join(home, "prometheus.yml"), "")
    peer = harness.Prometheus("prometheus-link", port, [PROMETHEUS, "--config.file", path, "--storage.tsdb.path",
                                                        home + "/data", f"--web.listen-address=127.0.0.1:{port}"],
                              "/-/ready").start()
    assert peer.data("/api/v1/status/buildinfo")["version"].startswith("3.")
    assert peer.stop(5) == 0


def test_stdout__takes_a_closed_pipe():
    """`narthex --help | head -1` must not end in a signal's name on the terminal, nor hang."""
    done = subprocess.run(f"{NARTHEX} --help | head -1", shell=True, capture_output=True, timeout=10, check=False)
    assert done.returncode == 0 and done.stdout, done


def test_auto_reload__takes_what_changes():
    """The file itself and one that it names, both by the flag and by Prometheus' feature name; a broken one changes nothing."""
    for flags in (["--config.auto-reload"], ["--enable-feature=auto-reload-config"]):
        main = "scrape_config_files: ['jobs/*.yml']\nglobal:\n  external_labels: {v: %s}\n"
        server = Server(main % "one", args=[*flags, "--config.auto-reload-interval=1s"])
        yaml = lambda: server.data("/api/v1/status/config")["yaml"]
        jobs = lambda: server.data("/api/v1/targets")["activeTargets"]
        server.set_config(main % "two")
        wait_for("the new text", lambda: "v: two" in yaml())
        server.set_config("global: [\n")
        wait_for("the refusal", lambda: "level=ERROR" in server.log())
        assert "v: two" in yaml()
        server.set_config(main % "two")
        folder = os.path.join(server.home, "jobs")
        os.mkdir(folder)
        harness.write_file(os.path.join(folder, "a.yml"),
                           "scrape_configs: [{job_name: a, static_configs: [{targets: ['127.0.0.1:1']}]}]\n")
        wait_for("the job of another file", lambda: [t["labels"]["job"] for t in jobs()] == ["a"])
        assert server.stop() == 0


if __name__ == "__main__":
    harness.main(globals())
