"""check config beside promtool: who accepts what, in which words, with which exit code."""
import json
import os

import harness
from harness import NARTHEX, run_command

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "config")

# What 3.14 refuses and 2.42 did not know to refuse, or the other way round; fields that 2.42 does not know explain themselves.
NEWER = {
    "alertmanager_api_v1.yml": "version 1 of Alertmanager's API is gone",
    "http_sd_auth.yml": "two ways to authorize in a discovery block",
    "remote_write_backoff.yml": "max_backoff below min_backoff",
    "remote_write_shards.yml": "max_shards of 0",
    "key_order.yml": "label names in UTF-8",
}


def accepted(program, folder, files):
    """The files that the program calls valid, and what it says of the others."""
    code, out, err = run_command([program, "check", "config", *(os.path.join(folder, name) for name in files)])
    blocks = out.split("Checking " + folder)[1:]
    assert code == 1 and len(blocks) == len(files), (program, code, len(blocks))
    valid = {name for name, block in zip(files, blocks) if " is valid prometheus config file syntax" in block}
    bad = [name for name in files if name not in valid]
    words = err.split("  FAILED: ")[1:]
    assert len(words) == len(bad), (program, len(words), len(bad))
    return valid, dict(zip(bad, words))


def test_corpus__is_judged_as_by_promtool():
    promtool = harness.peer_path("prometheus", "promtool")
    files = sorted(name for name in os.listdir(CORPUS) if name.endswith(".yml"))
    assert len(files) >= 150, len(files)
    theirs, their_errors = accepted(promtool, CORPUS, files)
    ours, our_errors = accepted(NARTHEX, CORPUS, files)
    same_words = 0
    for name in files:
        unknown = "not found in type" in their_errors.get(name, "")
        if name in NEWER or unknown:
            continue
        assert (name in theirs) == (name in ours), (name, their_errors.get(name), our_errors.get(name))
        same_words += their_errors.get(name) == our_errors.get(name)
    assert same_words >= 105, same_words


def test_named_files__are_looked_at():
    """Files that a configuration names, each in promtool's own words."""
    folder = harness.new_folder("check")
    write = lambda name, text: harness.write_file(os.path.join(folder, name), text)
    job = "scrape_configs:\n- job_name: a\n  "
    write("sd.json", '[{"targets":["a:1","b"]}]')
    write("bad.yml", "x: 1\n")
    cases = {
        "credentials.yml": job + "authorization: {credentials_file: nofile}\n",
        "certificate.yml": job + "tls_config: {cert_file: nocert, key_file: nokey}\n",
        "sd.yml": job + "file_sd_configs: [{files: [sd.json, nosuch.json, '*.none']}]\n",
        "sd_bad.yml": job + "file_sd_configs: [{files: [bad.yml]}]\n",
        "rules.yml": "rule_files: ['nofile.yml']\n",
        "rules_none.yml": "rule_files: ['*.nofile']\n",
        "agent.yml": "rule_files: ['*.nofile']\nalerting: {alertmanagers: [{static_configs: [{targets: ['a:1']}]}]}\n",
        "read.yml": "remote_read: [{url: 'http://a/'}]\n",
    }
    for name, text in cases.items():
        path = write(name, text)
        for flags in ([], ["--syntax-only"], ["--agent"]):
            theirs = run_command([harness.peer_path("prometheus", "promtool"), "check", "config", *flags, path])
            ours = run_command([NARTHEX, "check", "config", *flags, path])
            assert ours == theirs, (name, flags, ours, theirs)
    path = write("sd_address.yml", job + "file_sd_configs: [{files: [address.json]}]\n")
    write("address.json", '[{"targets":["a:1","a/b"]}]')
    code, _, err = run_command([NARTHEX, "check", "config", path])
    assert code == 1 and 'address.json:0: "a/b" is not a valid hostname' in err, err


def test_lint__finds_long_intervals():
    """Findings are no errors unless they are to be fatal; 2.42 has no such option."""
    folder = harness.new_folder("lint")
    path = harness.write_file(os.path.join(folder, "a.yml"),
                              "scrape_configs:\n- job_name: a\n  scrape_interval: 10m\n- job_name: b\n")
    check = lambda *flags: run_command([NARTHEX, "check", "config", *flags, path])
    words = ("  FAILED: too long scrape interval found, data point will be marked as stale - job: a, interval: 10m\n")
    assert check()[0::2] == (0, "")
    assert check("--lint=none")[0::2] == (0, "")
    assert check("--lint=all")[0::2] == (0, words)
    assert check("--lint=duplicate-rules,too-long-scrape-interval", "--lint-fatal")[0::2] == (3, words)
    assert check("--lint=all", "--query.lookback-delta=11m")[0::2] == (0, "")


def test_usage__is_said_as_by_promtool():
    """What kingpin says, with its exit code 1, and options that are not errors."""
    folder = harness.new_folder("usage")
    path = harness.write_file(os.path.join(folder, "a.yml"), "scrape_configs: [{job_name: a, scrape_interval: 10m}]\n")
    check = lambda *words: run_command([NARTHEX, "check", *words])
    said = lambda text: (1, "", f"promtool: error: {text}, try --help\n")
    assert check("config") == said("required argument 'config-files' not provided")
    assert check("config", path, path + ".none") == said(f"path '{path}.none' does not exist")
    assert check("config", folder) == said(f"'{folder}' is a directory")
    assert check("config", "--nosuch", path) == said("unknown long flag '--nosuch'")
    assert check("web-config", path + ".none") == said(f"path '{path}.none' does not exist")
    assert check("service-discovery", path) == said("required argument 'job' not provided")
    good = f"Checking {path}\n SUCCESS: {path} is valid prometheus config file syntax\n\n"
    assert check("config", "--lint=all,none", "--lint-fatal", path) == (0, good, "")
    assert check("config", "--lint=", "--ignore-unknown-fields", path) == (0, good, "")
    assert check("config", "--lint=everything", path) == (0, 'WARNING: unknown lint option: "everything"\n' + good, "")


def test_service_discovery__shows_labels_as_promtool():
    """Beside Debian's promtool, which does not know the labels of native histograms yet."""
    folder = harness.new_folder("discovery")
    write = lambda name, text: harness.write_file(os.path.join(folder, name), text)
    write("sd.json", '[{"targets":["f:1","g:2"],"labels":{"l":"<v>"}},{"targets":["f:1","f:1"]}]')
    path = write("a.yml", """
scrape_configs:
- job_name: a
  params: {module: [x]}
  static_configs: [{targets: ["x:1", y], labels: {env: prod}}]
  relabel_configs: [{source_labels: [__address__], regex: "y.*", action: drop}, {target_label: __meta_gone, replacement: z}]
- job_name: f
  file_sd_configs: [{files: ["*.json"]}]
- job_name: none
- job_name: http
  http_sd_configs: [{url: "http://127.0.0.1:1/"}]
""")
    newer = {"__always_scrape_classic_histograms__", "__convert_classic_histograms_to_nhcb__", "__scrape_native_histograms__"}

    def found(program, job):
        code, out, _ = run_command([program, "check", "service-discovery", "--timeout=1s", path, job])
        assert code == 0, (program, job, code)
        # The order of groups is that of a map in promtool.
        return sorted(({kind: {name: value for name, value in labels.items() if name not in newer} for kind, labels in target.items()}
                       for target in json.loads(out)), key=json.dumps)

    assert found(NARTHEX, "none") == found(NARTHEX, "http") == []
    for job in ("a", "f"):
        ours, theirs = found(NARTHEX, job), found(harness.peer_path("prometheus", "promtool"), job)
        assert ours == theirs, (job, ours, theirs)
    assert len(found(NARTHEX, "f")) == 3
    said = run_command([NARTHEX, "check", "service-discovery", path, "nosuch"])
    assert said == (1, "", "Job nosuch not found. Select one of:\n\ta\n\tf\n\tnone\n\thttp\n"), said


def test_healthy_and_ready__ask_the_server():
    server = harness.Server("")
    for word, text in (("healthy", "Healthy"), ("ready", "Ready")):
        check = lambda url: run_command([NARTHEX, "check", word, "--url=" + url])
        url = f"http://127.0.0.1:{server.port}"
        assert check(url) == (0, "", f"  SUCCESS:  Prometheus Server is {text}.\n\n")
        assert check(url + "/no") == (1, "", f"check failed: URL={url}/no, status=404\n")
        code, _, err = check("http://127.0.0.1:1")
        assert code == 1 and err.startswith(f'Get "http://127.0.0.1:1/-/{word}": dial tcp 127.0.0.1:1: connect: '), err
        assert check("x:y")[0] == 1
    assert server.stop(10) == 0


if __name__ == "__main__":
    harness.main(globals())
