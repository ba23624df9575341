"""The tsdb commands on the directories of real servers."""
import os
import subprocess
import time

import harness
from harness import NARTHEX, Server, run_command, wait_for, write_file

DAY = 24 * 3600
BUILDS = ["--storage.narthex.slot-duration=1s", "--storage.narthex.build-delay=0s",
          "--storage.tsdb.retention.time=4000d"]
# A day that is long over, on its first second.
T0 = (int(time.time()) // DAY - 30) * DAY


def tsdb(*words, code=0, stdin=b""):
    found, out, err = run_command([NARTHEX, "tsdb", *words], stdin=stdin, timeout=60)
    assert found == code, (words, found, out[-2000:], err[-2000:])
    return out, err


def openmetrics(lines):
    return "\n".join(lines) + "\n# EOF\n"


def import_text(folder, text, *flags, code=0):
    path = write_file(os.path.join(harness.new_folder("om"), "in.om"), text)
    return tsdb("create-blocks-from", "openmetrics", *flags, path, folder, code=code)


def dumped(folder, *flags):
    return tsdb("dump", *flags, folder)[0].splitlines()


def test_create_blocks__makes_days_that_a_server_serves():
    folder = os.path.join(harness.new_folder("import"), "data")
    lines = ["# TYPE a counter"]
    lines += [f'a_total{{x="{x}"}} {t * (x + 1)} {T0 + t * 600}' for x in range(3) for t in range(400)]
    lines.append(f"b 1.5e300 {T0 - 40 * DAY}.25")
    out, _ = import_text(folder, openmetrics(lines))
    rows = [line.split() for line in out.splitlines()]
    assert rows[0][0] == "DAY" and len(rows) == 1 + 4, out
    assert sum(int(r[4]) for r in rows[1:]) == 1201, out
    assert len(dumped(folder)) == 1201
    assert dumped(folder, "--match=b") == [f'{{__name__="b"}} 1.5e+300 {(T0 - 40 * DAY) * 1000 + 250}']
    assert len(dumped(folder, "--match=b", '--match={x="1"}', "--match", '{x="1"}')) == 401
    assert dumped(folder, f"--min-time={T0 * 1000}", f"--max-time={T0 * 1000}", '--match={x="2"}') == [
        f'{{__name__="a_total", x="2"}} 0 {T0 * 1000}']
    text, _ = tsdb("dump-openmetrics", folder)
    assert f'a_total{{x="1"}} 2 {T0 + 600}.000' in text.splitlines() and text.endswith("# EOF\n")
    server = Server("", args=BUILDS, data=folder)
    assert server.value("count_over_time(a_total{x='1'}[10d])", T0 + 5 * DAY) == 400
    assert server.value("b", T0 - 40 * DAY + 60) == 1.5e300
    again = os.path.join(harness.new_folder("again"), "data")
    import_text(again, text)
    assert dumped(again) == dumped(folder)


def test_create_blocks__merges_with_what_is_there():
    folder = os.path.join(harness.new_folder("merge"), "data")
    import_text(folder, openmetrics([f"a 1 {T0 + 10}", f"a 1 {T0 + 20}"]))
    import_text(folder, openmetrics([f"a 2 {T0 + 20}", f"a 2 {T0 + 15}", f"c 2 {T0 + 30}"]))
    assert dumped(folder) == [f'{{__name__="a"}} 1 {(T0 + 10) * 1000}', f'{{__name__="a"}} 2 {(T0 + 15) * 1000}',
                              f'{{__name__="a"}} 1 {(T0 + 20) * 1000}', f'{{__name__="c"}} 2 {(T0 + 30) * 1000}']
    assert not os.path.exists(os.path.join(folder, "import.tmp"))


def test_create_blocks__beside_the_present_of_a_server():
    """Today's partition is open: what is imported for it goes to a day beside it, and the server merges both."""
    now = int(time.time())
    server = Server("", args=BUILDS + ["--web.enable-admin-api"])
    assert server.write([({"__name__": "a"}, [(now * 1000 - 5000, 1.0)])]).status == 204
    reply = server.post("/api/v1/admin/tsdb/delete_series?match[]=a")
    assert reply.status == 204
    assert server.write([({"__name__": "a"}, [(now * 1000 - 4000, 2.0)])]).status == 204
    server.kill()
    import_text(server.data_path, openmetrics([f"a 3 {now - 9}", f"b 3 {now - 9}"]))
    for _ in range(3):
        server.start()
        assert server.value("a", now) == 2
        assert server.value("count_over_time(a[1m])", now) == 2
        assert server.value("b", now) == 3
        server.kill()
    server.start()
    assert server.write([({"__name__": "a"}, [(now * 1000, 4.0)])]).status == 204
    wait_for("sealed", lambda: any(n.endswith(".ooo.mdb") for n in os.listdir(server.data_path + "/narthex")))
    server.kill()
    server.start()
    assert server.value("count_over_time(a[1m])", now + 1) == 3


def test_create_blocks__applies_deletes_before():
    """A delete that a day does not know yet takes what it had, not what is imported after it."""
    folder = os.path.join(harness.new_folder("deleted"), "data")
    import_text(folder, openmetrics([f"a 1 {T0 + 10}", f"b 1 {T0 + 10}"]))
    server = Server("", args=BUILDS + ["--web.enable-admin-api"], data=folder)
    assert server.post("/api/v1/admin/tsdb/delete_series?match[]=a").status == 204
    server.kill()
    import_text(folder, openmetrics([f"a 2 {T0 + 20}"]))
    server.start()
    assert server.value("count_over_time(a[1h])", T0 + 100) == 1
    assert server.value("a", T0 + 100) == 2 and server.value("b", T0 + 100) == 1


def test_create_blocks__refuses_what_it_cannot_do():
    folder = os.path.join(harness.new_folder("bad"), "data")
    _, err = import_text(folder, openmetrics(["a 1"]), code=1)
    assert "expected timestamp for series got none" in err, err
    _, err = import_text(folder, f"a 1 {T0}\n", code=1)
    assert "# EOF" in err or "EOF" in err, err
    assert dumped(folder) == []
    server = Server("", args=BUILDS, data=folder)
    _, err = import_text(folder, openmetrics([f"a 1 {T0}"]), code=1)
    assert "another process uses this data directory" in err, err
    server.stop()
    tsdb("create-blocks-from", "rules", "x", code=2)
    assert "/narthex" in tsdb("dump", os.path.join(folder, "nothing"), code=1)[1]


def test_commands__work_beside_a_server():
    server = Server("", args=BUILDS)
    import_folder = os.path.join(harness.new_folder("beside"), "data")
    import_text(import_folder, openmetrics([f'a{{x="{i}"}} {i} {T0 + i}' for i in range(50)]))
    server.stop()
    os.rename(server.data_path, server.data_path + ".old")
    os.rename(import_folder, server.data_path)
    server.start()
    now = int(time.time() * 1000)
    assert server.write([({"__name__": "fresh"}, [(now, 1.0)])]).status == 204
    out, err = tsdb("dump", server.data_path)
    assert len(out.splitlines()) == 50 and "only published days are read" in err, (out, err)
    rows = tsdb("list", "-r", server.data_path)[0].splitlines()
    assert len(rows) == 2 and "+0000 UTC" in rows[1], rows
    out, _ = tsdb("analyze", server.data_path)
    assert "Total Series: 50" in out and "50 a\n" in out and "50 x\n" in out, out
    assert "block nothing not found" in tsdb("analyze", server.data_path, "nothing", code=1)[1]
    server.stop()
    lines = dumped(server.data_path)
    assert len(lines) == 51 and f'{{__name__="fresh"}} 1 {now}' in lines
    server.start()
    assert server.value("fresh", now / 1000 + 1) == 1


def test_create_blocks__is_begun_again_after_a_kill():
    """Killed anywhere, each day is there as a whole or not at all; the next run has all."""
    folder = os.path.join(harness.new_folder("killed"), "data")
    text = openmetrics([f'a{{x="{x}"}} {t} {T0 + t * 60}' for x in range(40) for t in range(6000)])
    path = write_file(os.path.join(harness.new_folder("om"), "in.om"), text)
    for delay_s in (0.05, 0.15, 0.3, 0.5):
        child = subprocess.Popen([NARTHEX, "tsdb", "create-blocks-from", "openmetrics", path, folder],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay_s)
        child.kill()
        child.wait()
        tsdb("list", folder, code=0 if os.path.isdir(os.path.join(folder, "narthex")) else 1)
    tsdb("create-blocks-from", "openmetrics", path, folder)
    lines = dumped(folder)
    assert len(lines) == 240000 and len(set(lines)) == 240000, len(lines)
    assert not os.path.exists(os.path.join(folder, "import.tmp"))


if __name__ == "__main__":
    harness.main(globals())
