"""The admin API on a real server: deletes, cleaning and snapshots, over restarts and kills between the steps."""
import os
import random
import shutil
import time

import harness
from harness import Server, wait_for

DAY_MS = 24 * 3600 * 1000
ADMIN = ["--web.enable-admin-api", "--storage.narthex.slot-duration=1s", "--storage.narthex.partition-duration=2h",
         "--storage.narthex.build-delay=0s", "--storage.tsdb.retention.time=400d"]


def admin(server, what, parameters=None):
    reply = server.post("/api/v1/admin/tsdb/" + what + ("?" + harness.encode_query(parameters) if parameters else ""))
    assert reply.status in (200, 204), reply
    return reply


def values(server, name, at_ms, seconds=7200):
    """[(time in ms, value)] of the one series of this name."""
    found = server.instant(f"{name}[{seconds}s]", at_ms / 1000)
    assert len(found) <= 1, found
    return [(round(float(t) * 1000), float(v)) for t, v in found[0][1]] if found else []


def write(server, name, samples):
    reply = server.write([({"__name__": name, "job": "j"}, samples)])
    assert reply.status == 204, reply


def files(server):
    return os.listdir(os.path.join(server.data_path, "narthex"))


def days(server):
    return [n for n in files(server) if n.endswith(".mdb") and n.count(".") == 1 and n != "head.mdb"]


def old_start():
    """A moment in the first half hour of a partition that is long over."""
    now = int(time.time() * 1000)
    return (now - 12 * 3600 * 1000) // 7200000 * 7200000 + 1000


def test_delete_series__takes_a_range_and_nothing_else():
    server = Server("", args=ADMIN)
    now = int(time.time() * 1000)
    samples = [(now - 60000 + i * 1000, float(i)) for i in range(50)]
    write(server, "a", samples)
    write(server, "b", samples)
    reply = admin(server, "delete_series", {"match[]": "a", "start": samples[10][0] / 1000,
                                            "end": samples[19][0] / 1000})
    assert reply.status == 204 and reply.body == b"", reply
    kept = samples[:10] + samples[20:]
    assert values(server, "a", now) == kept
    assert values(server, "b", now) == samples
    server.kill()
    server.start()
    assert values(server, "a", now) == kept
    assert values(server, "b", now) == samples
    admin(server, "delete_series", {"match[]": ["a", "b"]})
    assert server.data("/api/v1/series", {"match[]": '{job="j"}'}) == []
    later = [(now + 1000, 1.0)]
    write(server, "a", later)
    assert values(server, "a", now + 2000) == later
    server.kill()
    server.start()
    assert values(server, "a", now + 2000) == later
    assert values(server, "b", now + 2000) == []


def test_clean_tombstones__rebuilds_days():
    server = Server("", args=ADMIN)
    start = old_start()
    samples = [(start + i * 1000, float(i)) for i in range(50)]
    write(server, "a", samples)
    write(server, "b", samples)
    write(server, "now", [(int(time.time() * 1000), 1.0)])
    wait_for("a day", lambda: len(days(server)) == 1)
    name = days(server)[0]
    before = os.stat(os.path.join(server.data_path, "narthex", name)).st_ino
    admin(server, "delete_series", {"match[]": "a", "start": start / 1000, "end": samples[39][0] / 1000})
    assert values(server, "a", start + 60000) == samples[40:]
    admin(server, "clean_tombstones")
    assert values(server, "a", start + 60000) == samples[40:]
    assert os.stat(os.path.join(server.data_path, "narthex", name)).st_ino != before
    server.kill()
    server.start()
    assert values(server, "a", start + 60000) == samples[40:]
    assert values(server, "b", start + 60000) == samples
    admin(server, "delete_series", {"match[]": ["a", "b"]})
    admin(server, "clean_tombstones")
    wait_for("no day", lambda: days(server) == [])


def test_snapshot__is_a_store():
    server = Server("", args=ADMIN)
    start = old_start()
    old = [(start + i * 1000, float(i)) for i in range(50)]
    now = int(time.time() * 1000)
    new = [(now - 60000 + i * 1000, float(i)) for i in range(50)]
    write(server, "a", old)
    write(server, "a", new[:40])
    wait_for("a day", lambda: len(days(server)) == 1)
    write(server, "a", new[40:])
    admin(server, "delete_series", {"match[]": "a", "start": new[0][0] / 1000, "end": new[4][0] / 1000})
    name = admin(server, "snapshot").json["data"]["name"]
    write(server, "a", [(now, 7.0)])
    path = os.path.join(server.data_path, "snapshots", name)
    assert not os.path.exists(os.path.join(path, "narthex", "log"))
    copy = Server("", args=ADMIN, data=path)
    assert values(copy, "a", start + 60000) == old
    assert values(copy, "a", now, 300) == new[5:]
    assert values(server, "a", now, 300) == new[5:] + [(now, 7.0)]
    write(copy, "a", [(now + 1, 8.0)])
    assert values(copy, "a", now + 1, 300) == new[5:] + [(now + 1, 8.0)]
    copy.stop()
    # It stands alone: what the server does to its own files does not reach it.
    admin(server, "delete_series", {"match[]": "a"})
    admin(server, "clean_tombstones")
    copy.start()
    assert values(copy, "a", start + 60000) == old
    name = admin(server, "snapshot", {"skip_head": "true"}).json["data"]["name"]
    assert len(os.listdir(os.path.join(server.data_path, "snapshots"))) == 2
    shutil.rmtree(os.path.join(server.data_path, "snapshots", name))


def test_admin_calls__survive_kills():
    """Writes, deletes, cleans and snapshots with a kill after any of them: what was answered holds."""
    seed = int(os.environ.get("ADMIN_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"    seed {seed}")
    chance = random.Random(seed)
    late = "storage: {tsdb: {out_of_order_time_window: 30d}}"
    server = Server(late, args=ADMIN)
    start = old_start()
    write(server, "now", [(int(time.time() * 1000), 1.0)])  # What comes after is late, and its partition over.
    model = {}
    at = start
    snapshots = []
    for step in range(40):
        kind = chance.randrange(6)
        if os.environ.get("ADMIN_TRACE"):
            print(step, kind, sorted(files(server)), flush=True)
        if kind <= 2:
            samples = [(at + i * 1000, float(step)) for i in range(20)]
            at += 20000
            name = f"k{chance.randrange(3)}"
            write(server, name, samples)
            model.setdefault(name, {}).update(samples)
        elif kind == 3:
            name = f"k{chance.randrange(3)}"
            low = start + chance.randrange(1 + at - start)
            high = low + chance.randrange(60000)
            admin(server, "delete_series", {"match[]": name, "start": low / 1000, "end": high / 1000})
            model[name] = {t: v for t, v in model.get(name, {}).items() if not low <= t <= high}
        elif kind == 4:
            admin(server, "clean_tombstones")
        else:
            snapshots.append(admin(server, "snapshot").json["data"]["name"])
        if chance.randrange(3) == 0:
            server.kill()
            server.start()
        for name, samples in model.items():
            found = dict(values(server, name, at + 1000))
            assert found == samples, (step, name, f"lost {sorted(set(samples.items()) - set(found.items()))[:3]}",
                                      f"too much {sorted(set(found.items()) - set(samples.items()))[:3]}")
    copy = Server("", args=ADMIN, data=os.path.join(server.data_path, "snapshots", snapshots[-1])) if snapshots else None
    assert copy is None or copy.data("/api/v1/label/__name__/values")


def test_admin_api__has_prometheus_errors():
    server = Server("", args=ADMIN)
    for path, text in (("delete_series", "no match[] parameter provided"),
                       ("delete_series?match[]=a&start=x",
                        "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid "
                        "timestamp"),
                       ("snapshot?skip_head=maybe",
                        "invalid parameter \"skip_head\": unable to parse boolean: strconv.ParseBool: parsing "
                        "\"maybe\": invalid syntax")):
        reply = server.post("/api/v1/admin/tsdb/" + path)
        assert reply.status == 400 and reply.json["error"] == text, reply
    assert server.get("/api/v1/admin/tsdb/snapshot").status == 405
    assert harness.http_call("PUT", server.port, "/api/v1/admin/tsdb/clean_tombstones").status == 204


if __name__ == "__main__":
    harness.main(globals())
