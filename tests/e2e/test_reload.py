"""Reload under fire: random configurations, good and bad, by SIGHUP and by POST, while other jobs keep their pace."""
import json
import os
import random
import re
import signal
import time

import harness
from harness import Exporter, Server, new_folder, wait_for, write_file

CHANGES = int(os.environ.get("RELOAD_CHANGES", "60"))
PAGE = "".join(f'm{{i="{i}"}} {i}\n' for i in range(40))
BAD = [
    ("global: {scrape_interval: x}\n", 'not a valid duration string: \\"x\\"'),
    ("scrape_configs: [{job_name: a}, {job_name: a}]\n", 'found multiple scrape configs with job name \\"a\\"'),
    ("nonsense: 1\n", "field nonsense not found in type config.plain"),
    ("scrape_configs: [{job_name: a, scrape_timeout: 2h}]\n", "scrape timeout greater than scrape interval"),
]


class World:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.exporter = Exporter({f"/m{i}": PAGE for i in range(220)})
        self.exporter.pages["/sd"] = lambda handler: (200, {"Content-Type": "application/json"}, json.dumps(self.groups("h", 120, 140)))
        folder = new_folder("files")
        self.files = [write_file(os.path.join(folder, name + ".json"), json.dumps(self.groups("f", *span)))
                      for name, span in (("a", (140, 160)), ("b", (150, 180)))]

    def groups(self, prefix, first, end):
        return [{"targets": [self.exporter.address], "labels": {"__metrics_path__": f"/m{i}", "instance": f"{prefix}{i}"}}
                for i in range(first, end)]

    def static(self, first, end):
        return f"  static_configs: {json.dumps(self.groups('i', first, end))}\n"

    def job(self, number):
        choose = self.random.choice
        options = {
            "scrape_interval": choose(["500ms", "1s", "2s"]), "sample_limit": choose([1, 39, 1000]), "target_limit": choose([1, 1000]),
            "label_limit": choose([2, 30]), "body_size_limit": choose(["100B", "1MB"]), "honor_labels": "true",
            "relabel_configs": f"[{{source_labels: [instance], regex: '.*{number}', action: {choose(['drop', 'keep'])}}}]",
            "metric_relabel_configs": f"[{{target_label: v, replacement: r{self.random.randint(0, 2)}}}, "
                                      f"{{source_labels: [i], regex: '{number}.*', action: {choose(['drop', 'keep'])}}}]"}
        chosen = self.random.sample(sorted(options), self.random.randint(0, 4))
        first = 60 + number * 10
        targets = [self.static(first, first + 10), self.static(first, first + self.random.randint(0, 10)),
                   f"  file_sd_configs: [{{files: [{', '.join(self.files)}]}}]\n",
                   f"  http_sd_configs: [{{url: 'http://{self.exporter.address}/sd', refresh_interval: 1s}}]\n",
                   "  static_configs: [{targets: ['127.0.0.1:1']}]\n", "  scheme: https\n" + self.static(first, first + 3)]
        name = choose([f"j{number}", f"j{number}_{self.random.randint(0, 3)}"])
        timeout = "  scrape_timeout: 500ms\n"
        return f"- job_name: {name}\n{timeout}" + "".join(f"  {key}: {options[key]}\n" for key in chosen) + choose(targets)

    def config(self):
        return ("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: stable\n" + self.static(0, 60)
                + f"- job_name: stable_file\n  scrape_interval: 500ms\n  scrape_timeout: 500ms\n  file_sd_configs: [{{files: [{self.files[0]}]}}]\n"
                + "".join(map(self.job, range(self.random.randint(0, 6)))))


def own(server, name):
    return float(re.search(rf"^{name} (\S+)", server.get("/metrics").text, re.M)[1])


def test_reloads__leave_other_jobs_alone():
    seed = int(os.environ.get("RELOAD_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
    print("seed", seed)
    world = World(seed)
    server = Server(world.config())
    wait_for("all are up", lambda: server.value('sum(up{job=~"stable.*"})') == 80)
    begin = time.time()
    for _ in range(CHANGES):
        if world.random.random() < 0.15:
            text, words = world.random.choice(BAD)
            server.set_config(text)
            reply = server.post("/-/reload")
            assert reply.status == 500 and words.replace("\\", "") in reply.text.replace("\\", ""), reply
            assert reply.text.startswith('failed to reload config: couldn\'t load configuration (--config.file="'), reply
            assert own(server, "prometheus_config_last_reload_successful") == 0
            continue
        server.set_config(world.config())
        if world.random.random() < 0.5:
            assert server.post("/-/reload").status == 200
        else:
            server.signal(signal.SIGHUP)
        time.sleep(0.2 * world.random.random())
    server.set_config(world.config())
    assert server.post("/-/reload").status == 200
    wait_for("the last one holds", lambda: own(server, "prometheus_config_last_reload_successful") == 1)
    time.sleep(3)
    span = int(time.time() - begin) - 1
    for job, count, interval in (("stable", 60, 1), ("stable_file", 20, 0.5)):
        found = server.data("/api/v1/query", {"query": f'up{{job="{job}"}}[{span}s]'})["result"]
        assert len(found) == count, (job, len(found))
        times = [[at for at, _ in series["values"]] for series in found]
        near = sum(after - before < interval * 0.4 for one in times for before, after in zip(one, one[1:]))
        total, least, most = sum(map(len, times)), count * (span - 1) / interval, count * (span + 1) / interval
        # A machine that stands still makes one late and the next one on time; reloads that did would do it to all.
        assert near <= total * 0.05, (job, near, total)
        assert least * 0.8 <= total <= most * 1.05, (job, total, least, most)
    assert not re.search(r"level=ERROR(?!.*(Failed to reload|reload config|couldn't load))", server.log()), server.log()[-2000:]
    assert server.stop() == 0


if __name__ == "__main__":
    harness.main(globals())
