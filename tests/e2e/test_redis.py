"""narthex redis-exporter beside Debian's prometheus-redis-exporter (1.45) at the same Redis: names, types, help, labels and
values agree, and what differs is listed here with its reason. Then what the peer cannot be compared in: TLS, broken
servers, cluster-wide keys."""
import base64
import concurrent.futures
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time

import harness

LIBRARIES = {"LD_LIBRARY_PATH": os.path.join(harness.PEERS, "lib")}

# ---- what differs from 1.45, and why ----

# The peer's type or help was changed in later versions, which we follow.
CHANGED_TYPES = {
    "redis_expired_time_cap_reached_total": "counter",  # A gauge in 1.45.
}
CHANGED_HELP = {
    "redis_connected_clients_details",  # Reworded when the client list got metrics of its own.
}
# Families that 1.45 has in another shape.
CHANGED_FAMILIES = {
    "redis_connected_clients_details",  # 1.45: created_at, idle_since, omem and cmd as labels: a series per second.
    "redis_instance_info",  # Later versions add master_replid.
    "redis_script_values",  # Later versions add filename.
}
# Fields of INFO and settings that 1.45 does not know.
NEWER = re.compile("redis_(" + "|".join((
    "async_loading", "max_clients", "configured_hz", "hz", "lazyfreed_objects", "evicted_clients_total", "mem_.*",
    "memory_used_.*", "net_repl_.*", "number_of_(functions|libraries)", "pubsubshard_channels", "rdb_last_load_.*",
    "rdb_saves_total", "reply_buffer_.*", "current_eviction_exceeded_time_ms", "eviction_exceeded_time_ms_total",
    "expire_cycle_cpu_time_ms_total", "commands_latencies_usec", "config_client_output_buffer_.*",
    "config_repl_backlog_size", "connected_client_.*", "connected_clients_details", "key_memory_usage_bytes",
    "key_value_as_string", "stream_.*", "instance_info", "master_sync_.*", "script_result", "sentinel_.*",
    "instantaneous_eventloop_.*", "eventloop_.*", "client_.*_disconnections_total", "acl_access_denied_.*",
    "tracking_total_.*", "unexpected_error_replies", "total_.*", "dump_payload_sanitizations", "io_threaded_.*",
    "expired_subkeys_total", "errors_total")) + ")$")
# Values that change between two looks, or because of the looks.
VOLATILE = re.compile("redis_(" + "|".join((
    "exporter_.*", "commands_.*", "latency_percentiles_usec.*", "connections_received_total", "net_.*_bytes_total",
    "cpu_.*", "mem.*", "allocator_.*", "uptime_in_seconds", "start_time_seconds", "total_.*", "client_recent_.*",
    "connected_clients", "errors_total", "last_key_groups_.*", "stream_group_consumer_idle_seconds", "keyspace_.*",
    "master_last_io_seconds_ago", ".*repl_offset", "connected_slave_(offset|lag).*", "repl_backlog_history_bytes",
    "tracking_.*", "latest_fork_seconds", "db_avg_ttl_seconds", "rdb_changes_since_last_save", "number_of_cached_scripts",
    "cluster_stats_.*", "cluster_messages_.*", "expired_stale_percentage", "slowlog_.*", "last_slow_.*", "latency_spike_.*",
    "sentinel_master_last_ok_.*", "repl_backlog_first_byte_offset", "instance_info", "defrag_.*")) + ")$")


# ---- reading the text format ----

def parse_metrics(text):
    """{family: (type, help)}, {(series name, labels as a sorted tuple): value}"""
    families, series = {}, {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            families[name] = [None, words]
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            families[name][0] = kind
        elif line:
            found = re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)", line)
            assert found, line
            labels = re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)', found.group(2) or "")
            key = (found.group(1), tuple(sorted(labels)))
            assert key not in series, f"twice: {line}"
            series[key] = float(found.group(3))
    return families, series


def family_of(name, families):
    for suffix in ("", "_bucket", "_sum", "_count"):
        if name.endswith(suffix) and name[:len(name) - len(suffix)] in families:
            return name[:len(name) - len(suffix)]
    raise AssertionError(f"{name} has no TYPE")


class Exporter(harness.Web):
    """Both exporters, which take the same flags."""

    def look(self, path="/metrics", parameters=None, headers=None):
        reply = self.get(path, parameters, headers)
        assert reply.status == 200, reply
        return parse_metrics(reply.text)

    def series(self, *args, **more):
        return self.look(*args, **more)[1]

    def value(self, name, *args, **labels):
        found = [v for (n, l), v in self.series(*args).items() if n == name and set(labels.items()) <= set(l)]
        assert len(found) == 1, (name, labels, found)
        return found[0]


def start_ours(*flags, env=None):
    port = harness.free_port()
    return Exporter("our-exporter", port, [harness.NARTHEX, "redis-exporter", f"-web.listen-address=127.0.0.1:{port}",
                                           *flags], "/health", env=env).start()


def start_peer(*flags):
    port = harness.free_port()
    path = harness.peer_path("prometheus-redis-exporter", "prometheus-redis-exporter")
    return Exporter("peer-exporter", port, [path, f"-web.listen-address=127.0.0.1:{port}", *flags], "/health").start()


def start_redis(*arguments, name="redis", port=None, tls=False):
    home = harness.new_folder(name)
    port = port or harness.free_port()
    listen = ["--port", str(port)] if not tls else ["--port", "0", "--tls-port", str(port)]
    peer = harness.Process(name, [harness.peer_path("redis-server", "redis-server"), *listen, "--bind", "127.0.0.1",
                                  "--save", "", "--appendonly", "no", "--dir", home, *arguments], env=LIBRARIES).spawn()
    peer.port = port
    peer.home = home

    def listens():
        assert peer.is_running(), peer.log()
        with socket.create_connection(("127.0.0.1", port), 2):
            return True

    harness.wait_for(f"{name} listens", listens)
    return peer


def cli(redis, *words, stdin=b"", fail=False):
    code, out, err = harness.run_command([harness.peer_path("redis-tools", "redis-cli"), "-h", "127.0.0.1", "-p",
                                          str(redis.port), *words], stdin, env=LIBRARIES)
    assert fail or (code == 0 and "ERR" not in out), (words, out, err)
    return out.strip()


def compare(ours, peer, ignore_values=False):
    """Everything that the peer says, we say, too; what we say beyond that is of a newer version."""
    peer.look()
    our_families, our_series = ours.look()
    peer_families, peer_series = peer.look()
    problems = []
    for name, (kind, words) in peer_families.items():
        if name.startswith(("go_", "promhttp_")):
            continue
        if name not in our_families:
            if name.startswith("redis_errors") or name in CHANGED_FAMILIES:
                continue
            problems.append(f"missing family {name}")
            continue
        if our_families[name][0] != CHANGED_TYPES.get(name, kind):
            problems.append(f"type of {name}: {our_families[name][0]}, peer {kind}")
        if our_families[name][1] != words and name not in CHANGED_HELP:
            if not name.startswith("process_"):
                problems.append(f"help of {name}: {our_families[name][1]!r}, peer {words!r}")
    for (name, labels), value in peer_series.items():
        if name.startswith(("go_", "promhttp_", "process_")) or family_of(name, peer_families) in CHANGED_FAMILIES:
            continue
        if name == "redis_exporter_build_info":
            assert {n for n, _ in labels} == {"version", "commit_sha", "build_date", "golang_version"}
            continue
        if (name, labels) not in our_series:
            # Commands that only the peer has sent since we looked.
            if name.startswith(("redis_commands_", "redis_latency_percentiles_usec", "redis_errors_total")):
                continue
            problems.append(f"missing {name} {labels}")
        elif not ignore_values and not VOLATILE.match(name):
            if not harness.same_value(our_series[name, labels], value):
                problems.append(f"{name} {labels}: {our_series[name, labels]}, peer {value}")
    for name in our_families:
        if name not in peer_families and not NEWER.match(name):
            problems.append(f"only we have {name}")
    assert not problems, "\n".join(problems)
    return our_series


# ---- the same Redis, both exporters ----

main = start_redis("--databases", "16", "--maxmemory", "200mb", "--latency-monitor-threshold", "5")
EVERY_TYPE = {
    "SET": ("text", "hello"), "RPUSH": ("list", "1", "2", "3"), "PFADD": ("hll", "a", "b", "c"),
    "SADD": ("set", "a", "b"), "HSET": ("hash", "f", "v"), "ZADD": ("zset", "1", "m", "2", "n"),
    "XADD": ("stream", "*", "f", "v"), "SETBIT": ("bits", "7", "1"),
}
SIZES = {"text": 5, "list": 3, "hll": 3, "set": 2, "hash": 1, "zset": 2, "stream": 1, "bits": 1}


def fill(redis):
    for command, words in EVERY_TYPE.items():
        cli(redis, command, *words)
    cli(redis, "SET", "number", "1.5e3")
    cli(redis, "-n", "3", "SET", "in3", "5", "EX", "1000")
    cli(redis, "XGROUP", "CREATE", "stream", "group", "0")
    cli(redis, "XREADGROUP", "GROUP", "group", "consumer", "COUNT", "1", "STREAMS", "stream", ">")
    cli(redis, "nosuchcommand", fail=True)
    cli(redis, "CONFIG", "SET", "slowlog-log-slower-than", "1000")
    cli(redis, "DEBUG", "SLEEP", "0.02", fail=True)


fill(main)
ADDRESS = f"-redis.addr=redis://127.0.0.1:{main.port}"


def test_metrics__agree_with_the_peer():
    found = compare(start_ours(ADDRESS), start_peer(ADDRESS))
    assert found["redis_up", ()] == 1
    assert found["redis_exporter_last_scrape_error", (("err", ""),)] == 0
    assert found["redis_db_keys", (("db", "db0"),)] == 9
    assert found["redis_db_keys", (("db", "db15"),)] == 0
    assert found["redis_latency_percentiles_usec", (("cmd", "set"), ("quantile", "99.9"))] > 0
    assert found["redis_config_client_output_buffer_limit_bytes", (("class", "pubsub"), ("limit", "soft"))] == 8388608
    assert found["redis_commands_latencies_usec_count", (("cmd", "set"),)] == 3
    assert found["redis_commands_latencies_usec_bucket", (("cmd", "set"), ("le", "+Inf"))] == 3


def test_key_metrics__agree_with_the_peer():
    flags = [ADDRESS, "-check-keys=db0=*,db3=i*", "-check-single-keys=db0=nokey", "-check-streams=st*",
             "-count-keys=db0=*,db3=in3,db0=nothing*", "-export-client-list", "-ping-on-connect",
             "-include-system-metrics", "-check-key-groups=^(.).*,x"]
    ours = start_ours(*flags)
    found = compare(ours, start_peer(*flags))
    for key, size in SIZES.items():
        assert found["redis_key_size", (("db", "db0"), ("key", key))] == size, key
    assert found["redis_key_size", (("db", "db0"), ("key", "nokey"))] == 0
    assert found["redis_key_value", (("db", "db0"), ("key", "number"))] == 1500
    assert found["redis_key_value_as_string", (("db", "db0"), ("key", "text"), ("val", "hello"))] == 1
    assert found["redis_key_memory_usage_bytes", (("db", "db3"), ("key", "in3"))] > 0
    assert found["redis_keys_count", (("db", "db0"), ("key", "nothing*"))] == 0
    assert found["redis_keys_count", (("db", "db3"), ("key", "in3"))] == 1
    assert found["redis_stream_group_messages_pending", (("db", "db0"), ("group", "group"), ("stream", "stream"))] == 1
    assert found["redis_key_group_count", (("db", "db0"), ("key_group", "h"))] == 2
    silent = start_ours(*flags, "-disable-exporting-key-values", "-streams-exclude-consumer-metrics").series()
    assert not [n for n, _ in silent if n.startswith(("redis_key_value", "redis_stream_group_consumer_"))]


def test_config_metrics__agree_with_the_peer():
    flags = [ADDRESS, "-include-config-metrics"]
    cli(main, "CONFIG", "SET", "masterauth", "hidden-word")
    found = compare(start_ours(*flags), start_peer(*flags))
    assert not [labels for _, labels in found if "hidden-word" in str(labels)]
    assert found["redis_config_value", (("key", "maxmemory"),)] == 200 << 20


def test_replication__agrees_with_the_peer():
    replica = start_redis("--replicaof", "127.0.0.1", str(main.port), name="replica")
    harness.wait_for("the replica's link", lambda: "master_link_status:up" in cli(replica, "INFO", "replication"))
    harness.wait_for("the replica's state", lambda: "state=online" in cli(main, "INFO", "replication"))
    flags = [f"-redis.addr=127.0.0.1:{replica.port}"]
    found = compare(start_ours(*flags), start_peer(*flags))
    master = (("master_host", "127.0.0.1"), ("master_port", str(main.port)))
    assert found["redis_master_link_up", master] == 1
    assert found["redis_slave_info", master + (("read_only", "1"),)] == 1
    assert ("redis_slave_repl_offset", master) in found
    ours = start_ours(ADDRESS)
    found = compare(ours, start_peer(ADDRESS))
    assert found["redis_connected_slaves", ()] == 1
    slaves = [labels for name, labels in found if name == "redis_connected_slave_offset_bytes"]
    assert slaves == [(("slave_ip", "127.0.0.1"), ("slave_port", str(replica.port)), ("slave_state", "online"))]
    roles = start_ours(flags[0], "-append-instance-role-label").series()
    assert roles["redis_up", (("instance_role", "slave"),)] == 1
    assert ("redis_exporter_last_scrape_connect_time_seconds", ()) in roles
    replica.kill()


def test_odd_keys_and_many_databases():
    redis = start_redis("--databases", "300", name="many")
    names = ['a"b', "a\\b", "a\nb", "a,b=c d", "\u00fcber", "{x}", "*", "a%20b"]
    for name in names:
        cli(redis, "-n", "250", "SET", name, "1")
    cli(redis, "-n", "250", "-x", "SET", "bytes", stdin=b"\xff\xfe")
    with socket.create_connection(("127.0.0.1", redis.port), 5) as s:  # A name that is no UTF-8.
        s.sendall(b"*2\r\n$6\r\nSELECT\r\n$3\r\n250\r\n*3\r\n$3\r\nSET\r\n$2\r\n\xff\xfe\r\n$1\r\n1\r\n")
        harness.wait_for("two replies", lambda: b"+OK\r\n+OK" in s.recv(100, socket.MSG_PEEK))
    flags = [f"-redis.addr=redis://127.0.0.1:{redis.port}", "-check-keys=db250=*,db299=*", "-count-keys=db250=*,db5000=*",
             "-check-single-keys=db250=a%2Cb%3Dc+d"]
    found = compare(start_ours(*flags[:3]), start_peer(*flags[:3]))
    keys = {dict(labels)["key"] for name, labels in found if name == "redis_key_size"}
    assert keys == {'a\\"b', "a\\\\b", "a\\nb", "a,b=c d", "\u00fcber", "{x}", "*", "a%20b", "bytes"}, keys
    assert found["redis_keys_count", (("db", "db250"), ("key", "*"))] == len(names) + 2
    assert not [1 for name, labels in found if name == "redis_keys_count" and ("db", "db5000") in labels]
    assert len([1 for name, _ in found if name == "redis_db_keys"]) == 300
    # The peer makes a label of it, whatever its length; beyond 64 KiB we measure and do not read.
    cli(redis, "-n", "250", "-x", "SET", "long", stdin=b"x" * 200000)
    # A database that there is none of ends the search of the peer; here the others are still looked into.
    found = start_ours(flags[0], "-check-keys=db5000=*,db250=long").series()
    assert found["redis_key_size", (("db", "db250"), ("key", "long"))] == 200000
    assert not [1 for name, _ in found if name == "redis_key_value_as_string"]
    found = start_ours(flags[0], flags[3], "-include-metrics-for-empty-databases=false").series()
    assert found["redis_key_value", (("db", "db250"), ("key", "a,b=c d"))] == 1
    assert [labels for name, labels in found if name == "redis_db_keys"] == [(("db", "db250"),)]
    redis.kill()


def test_many_keys__are_all_told():
    redis = start_redis(name="keys")
    cli(redis, "EVAL", "for i = 1, 5000 do redis.call('SET', 'k' .. i, i) end", "0")
    found = start_ours(f"-redis.addr=redis://127.0.0.1:{redis.port}", "-check-keys=k*", "-check-keys-batch-size=77").series()
    values = sorted(v for (name, _), v in found.items() if name == "redis_key_value")
    assert values == [float(i) for i in range(1, 5001)]
    redis.kill()


def test_sentinel__agrees_with_the_peer():
    home = harness.new_folder("sentinel")
    config = harness.write_file(os.path.join(home, "sentinel.conf"),
                                f"sentinel monitor mymaster 127.0.0.1 {main.port} 1\n")
    port = harness.free_port()
    sentinel = harness.Process("sentinel", [harness.peer_path("redis-server", "redis-server"), config, "--sentinel",
                                            "--port", str(port), "--bind", "127.0.0.1", "--dir", home],
                               env=LIBRARIES).spawn()
    sentinel.port = port
    harness.wait_for("the sentinel's master", lambda: "status=ok" in cli(sentinel, "INFO", "sentinel"))
    flags = [f"-redis.addr=redis://127.0.0.1:{port}"]
    found = compare(start_ours(*flags), start_peer(*flags))
    master = (("master_address", f"127.0.0.1:{main.port}"), ("master_name", "mymaster"))
    assert found["redis_sentinel_master_status", master + (("master_status", "ok"),)] == 1
    assert found["redis_sentinel_master_ok_sentinels", master] == 1
    assert found["redis_sentinel_master_setting_ckquorum", master] == 1
    sentinel.kill()


# ---- cluster ----

def cluster_port():
    """A free port whose neighbour for the cluster's own talk, 10,000 above, is free as well."""
    while True:
        port = harness.free_port()
        try:
            with socket.socket() as bus:
                bus.bind(("127.0.0.1", port + 10000))
                return port
        except (OSError, OverflowError):
            continue


def start_cluster():
    nodes = []
    for i in range(3):
        nodes.append(start_redis("--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--cluster-config-file",
                                 "nodes.conf", name=f"node{i}", port=cluster_port()))
    for i, (first, last) in enumerate(((0, 5460), (5461, 10922), (10923, 16383))):
        cli(nodes[i], "CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
        cli(nodes[i], "CLUSTER", "SET-CONFIG-EPOCH", str(i + 1))
        if i:
            cli(nodes[0], "CLUSTER", "MEET", "127.0.0.1", str(nodes[i].port))
    for node in nodes:
        harness.wait_for("the cluster", lambda n=node: "cluster_state:ok" in cli(n, "CLUSTER", "INFO")
                         and "cluster_known_nodes:3" in cli(n, "CLUSTER", "INFO"), 30)
    return nodes


def test_cluster__agrees_and_tells_all_keys():
    nodes = start_cluster()
    for i in range(60):
        cli(nodes[0], "-c", "SET", f"key{i}", str(i))
    cli(nodes[0], "-c", "XADD", "stream5", "*", "f", "v")
    address = f"-redis.addr=redis://127.0.0.1:{nodes[0].port}"
    found = compare(start_ours(address), start_peer(address))
    assert found["redis_cluster_enabled", ()] == 1 and found["redis_cluster_known_nodes", ()] == 3
    assert [labels for name, labels in found if name == "redis_db_keys"] == [(("db", "db0"),)]
    ours = start_ours(address, "-is-cluster", "-check-keys=key*", "-count-keys=key*", "-check-single-streams=stream5")
    found = ours.series()
    assert found["redis_keys_count", (("db", "db0"), ("key", "key*"))] == 60
    assert sorted(v for (name, _), v in found.items() if name == "redis_key_value") == [float(i) for i in range(60)]
    assert found["redis_stream_length", (("db", "db0"), ("stream", "stream5"))] == 1
    single = start_ours(address, "-is-cluster", "-check-single-keys=" + ",".join(f"key{i}" for i in range(60))).series()
    assert len([1 for name, _ in single if name == "redis_key_value"]) == 60
    targets = ours.get("/discover-cluster-nodes").json[0]["targets"]
    assert sorted(targets) == sorted(f"redis://127.0.0.1:{n.port}" for n in nodes), targets
    nodes[2].kill()
    found = ours.series()
    assert found["redis_up", ()] == 1 and 0 < found["redis_keys_count", (("db", "db0"), ("key", "key*"))] < 60
    for node in nodes:
        node.kill()


# ---- who may ----

def test_passwords_and_users():
    redis = start_redis(name="acl")
    # The line of redis_exporter's documentation, which must be enough for us, too.
    cli(redis, "ACL", "SETUSER", "exporter", "on", ">user-word", "allkeys", "+client", "+ping", "+info", "+config|get",
        "+cluster|info", "+slowlog", "+latency", "+memory", "+select", "+get", "+scan", "+xinfo", "+type", "+pfcount",
        "+strlen", "+llen", "+scard", "+zcard", "+hlen", "+xlen", "+eval")
    cli(redis, "SET", "text", "hello")
    cli(redis, "CONFIG", "SET", "requirepass", "root-word")
    address = f"redis://127.0.0.1:{redis.port}"
    ours = start_ours("-redis.addr=" + address, "-redis.password=root-word")
    assert ours.value("redis_up") == 1
    flags = ["-redis.addr=" + address, "-redis.user=exporter", "-redis.password=user-word", "-check-keys=*"]
    found = compare(start_ours(*flags), start_peer(*flags))
    assert found["redis_up", ()] == 1 and found["redis_key_size", (("db", "db0"), ("key", "text"))] == 5
    by_environment = start_ours(env={"REDIS_ADDR": address, "REDIS_USER": "exporter", "REDIS_PASSWORD": "user-word"})
    assert by_environment.value("redis_up") == 1
    in_url = start_ours(f"-redis.addr=redis://exporter:user-word@127.0.0.1:{redis.port}/0")
    assert in_url.value("redis_up") == 1
    for flags, words in ((["-redis.password=wrong"], "WRONGPASS"), ([], "NOAUTH")):
        found = start_ours("-redis.addr=" + address, *flags).series()
        assert found["redis_up", ()] == 0
        errors = [dict(labels)["err"] for name, labels in found if name == "redis_exporter_last_scrape_error"]
        assert len(errors) == 1 and errors[0].startswith(words), errors
    redis.kill()


def test_password_file__is_read_again():
    redis = start_redis("--requirepass", "word", name="pwd")
    address = f"redis://127.0.0.1:{redis.port}"
    path = harness.write_file(os.path.join(harness.new_folder("pwd"), "pwd.json"), json.dumps({address: "old"}))
    ours = start_ours("-redis.addr=", "-redis.password-file=" + path)
    assert ours.value("redis_up", "/scrape", {"target": address}) == 0
    harness.write_file(path, json.dumps({address: "word", f"redis://default@127.0.0.1:{redis.port}": "word"}))
    assert ours.get("/-/reload").status == 200
    assert ours.value("redis_up", "/scrape", {"target": address}) == 1
    # The user counts, the password of a request does not: it would stand in logs.
    assert ours.value("redis_up", "/scrape", {"target": f"redis://default:bad@127.0.0.1:{redis.port}"}) == 1
    harness.write_file(path, "{")
    assert ours.get("/-/reload").status == 500
    assert ours.value("redis_up", "/scrape", {"target": f"127.0.0.1:{redis.port}"}) == 1
    redis.kill()


def make_certificates(folder):
    """A CA, a server's pair for localhost and 127.0.0.1, a client's pair, and another CA."""
    def run(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for ca in ("ca", "other"):
        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", ca + ".key", "-out", ca + ".crt", "-days", "2",
            "-subj", "/CN=" + ca, "-addext", "basicConstraints=critical,CA:TRUE")
    harness.write_file(os.path.join(folder, "san"), "subjectAltName=DNS:redis.test,IP:127.0.0.1\n")
    for name in ("server", "client"):
        run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
        run("x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", name + ".crt", "-extfile", "san")
    return lambda name: os.path.join(folder, name)


def test_tls():
    file = make_certificates(harness.new_folder("tls"))
    redis = start_redis("--tls-cert-file", file("server.crt"), "--tls-key-file", file("server.key"), "--tls-ca-cert-file",
                        file("ca.crt"), "--tls-auth-clients", "yes", name="tls", tls=True)
    address = f"-redis.addr=rediss://127.0.0.1:{redis.port}"
    pair = ["-tls-client-cert-file=" + file("client.crt"), "-tls-client-key-file=" + file("client.key")]
    trust = "-tls-ca-cert-file=" + file("ca.crt")
    found = compare(start_ours(address, trust, *pair), start_peer(address, trust, *pair))
    assert found["redis_up", ()] == 1
    assert start_ours(address, "-skip-tls-verification", *pair).value("redis_up") == 1
    assert start_ours(address, trust, "-tls-server-name=redis.test", *pair).value("redis_up") == 1

    def error(*flags):
        found = start_ours(*flags, "-connection-timeout=3s").series()
        assert found["redis_up", ()] == 0
        return [dict(labels)["err"] for name, labels in found if name == "redis_exporter_last_scrape_error"][0]

    assert "signed by unknown authority" in error(address, "-tls-ca-cert-file=" + file("other.crt"), *pair)
    assert "not valid for wrong.test" in error(address, trust, "-tls-server-name=wrong.test", *pair)
    assert error(address, trust)  # No certificate of ours.
    assert error(f"-redis.addr=redis://127.0.0.1:{redis.port}")  # No TLS.
    plain = Fake(reply_always(b"-ERR Protocol error: unbalanced quotes in request\r\n"))
    assert "does not look like a TLS handshake" in error(f"-redis.addr=rediss://127.0.0.1:{plain.port}", trust)
    redis.kill()


def test_https__of_the_exporter_itself():
    file = make_certificates(harness.new_folder("https"))
    port = harness.free_port()
    exporter = harness.Process("https-exporter", [
        harness.NARTHEX, "redis-exporter", f"-web.listen-address=127.0.0.1:{port}", ADDRESS,
        "-tls-server-cert-file=" + file("server.crt"), "-tls-server-key-file=" + file("server.key"),
        "-tls-server-ca-cert-file=" + file("ca.crt"), "-tls-server-min-version=TLS1.3"]).spawn()

    def ask(pair=("client.crt", "client.key"), newest=None):
        context = ssl.create_default_context(cafile=file("ca.crt"))
        if pair:
            context.load_cert_chain(*map(file, pair))
        if newest:
            context.maximum_version = newest
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    assert "redis_up 1" in harness.wait_for("metrics over HTTPS", ask)
    for more in ({"pair": None}, {"newest": ssl.TLSVersion.TLSv1_2}):
        try:
            raise AssertionError(f"{more}: {ask(**more)}")
        except (ssl.SSLError, ConnectionError, http.client.HTTPException):
            pass
    assert exporter.stop() == 0


def test_unix_socket():
    path = os.path.join(harness.new_folder("unix"), "redis.sock")
    redis = start_redis("--unixsocket", path, name="unix")
    assert start_ours("-redis.addr=unix://" + path).value("redis_up") == 1
    found = start_ours("-redis.addr=unix://" + path + ".none").series()
    assert found["redis_exporter_last_scrape_error",
                 (("err", f"dial unix {path}.none: connect: no such file or directory"),)] == 1
    redis.kill()


# ---- HTTP ----

def test_scrape__takes_the_target_and_its_keys():
    ours = start_ours("-redis.addr=")
    reply = ours.get("/scrape")
    assert reply.status == 400 and reply.text == "'target' parameter must be specified\n", reply
    assert ours.get("/scrape", {"target": "http://x"}).status == 400
    assert ours.get("/scrape", {"target": "redis://x:99999"}).status == 400
    assert ours.get("/scrape", {"target": "redis://x", "check-keys": "a=b=c"}).status == 400
    target = {"target": f"redis://127.0.0.1:{main.port}", "check-keys": "number", "count-keys": "db0=l*"}
    found = ours.series("/scrape", target)
    assert found["redis_up", ()] == 1 and found["redis_exporter_scrapes_total", ()] == 1
    assert found["redis_key_value", (("db", "db0"), ("key", "number"))] == 1500
    assert found["redis_keys_count", (("db", "db0"), ("key", "l*"))] == 1
    found = ours.series()
    assert found["redis_target_scrape_request_errors_total", ()] == 4
    assert ("redis_up", ()) not in found
    assert ours.get("/health").text == "ok" and "Redis Exporter" in ours.get("/").text
    assert ours.get("/discover-cluster-nodes").status == 400 and ours.get("/-/reload").status == 400
    assert start_ours("-disable-scrape-endpoint").get("/scrape", target).status == 404


def test_flags():
    def run(*flags):
        return harness.run_command([harness.NARTHEX, "redis-exporter", *flags])

    code, _, err = run("--help")
    assert code == 0 and "-check-single-keys" in err and "REDIS_EXPORTER_CHECK_SINGLE_KEYS" in err
    assert run("--nosuch")[0] == 2 and run("-debug=perhaps")[0] == 2 and run("-connection-timeout=soon")[0] == 2
    assert run("--version")[0] == 0
    assert run("-tls-server-cert-file=x")[0] == 1 and run("-tls-server-ca-cert-file=x")[0] == 1 and run("-check-keys=a=b=c")[0] == 1
    assert run("-redis.addr=nosuch://x")[0] == 1 and run("-script=/nonexistent.lua")[0] == 1
    port = harness.free_port()
    guarded = Exporter("guarded", port, [harness.NARTHEX, "redis-exporter", f"--web.listen-address=127.0.0.1:{port}",
                                         ADDRESS, "-namespace", "other", "-web.telemetry-path=/m", "-redis-only-metrics",
                                         "-basic-auth-username=me", "-basic-auth-password=it"], "/health").spawn()
    harness.wait_for("401", lambda: guarded.get("/m").status == 401)
    families, series = guarded.look("/m", headers={"Authorization": "Basic bWU6aXQ="})
    assert series["other_up", ()] == 1 and not [n for n in families if not n.startswith("other_")]
    assert "other_exporter_build_info" not in families
    assert guarded.get("/m", headers={"Authorization": "Basic bWU6aXR0"}).status == 401
    assert guarded.stop() == 0


# bcrypt of "it", cost 4.
HASH = "$2b$04$.ghT./nXiHryUYPv5TQyGuXsPQ3XpsdrxzcoEQjn/qlrIPZJWvWiG"


def test_hashed_password():
    """The same answers as with a plain one; a good header is known again, and a stop does not wait for guesses."""
    code, _, err = harness.run_command([harness.NARTHEX, "redis-exporter", "-basic-auth-username=me", "-basic-auth-hash-password=x"])
    assert code == 1 and "basic-auth-hash-password" in err, (code, err)
    port = harness.free_port()
    guarded = Exporter("hashed", port, [harness.NARTHEX, "redis-exporter", f"--web.listen-address=127.0.0.1:{port}", ADDRESS,
                                        "-basic-auth-username=me", "-basic-auth-password=other", "-basic-auth-hash-password=" + HASH],
                       "/health").spawn()
    say = lambda text: {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}
    harness.wait_for("401", lambda: guarded.get("/health").status == 401)
    for text in ("me:other", "me:itt", "you:it", "me", "", "me:" + "x" * 9000):
        assert guarded.get("/metrics", headers=say(text)).status == 401, text
    assert guarded.get("/metrics", headers={"Authorization": "Bearer x"}).status == 401
    for _ in range(3):
        answer = guarded.get("/metrics", headers=say("me:it"))
        assert answer.status == 200 and "redis_up 1" in answer.text
    assert guarded.get("/metrics", headers=say("me:i")).status == 401
    assert guarded.stop() == 0


def test_scripts():
    folder = harness.new_folder("lua")
    good = harness.write_file(os.path.join(folder, "good.lua"), "return {'one', '1', 'two', '2.5'}")
    none = harness.write_file(os.path.join(folder, "none.lua"), "return {}")
    bad = harness.write_file(os.path.join(folder, "bad.lua"), "return {'x', 'no number'}")
    found = start_ours(ADDRESS, f"-script={good},{none}").series()
    assert found["redis_script_values", (("filename", good), ("key", "two"))] == 2.5
    assert found["redis_script_result", (("filename", good),)] == 1
    assert found["redis_script_result", (("filename", none),)] == 2
    found = start_ours(ADDRESS, "-script=" + bad).series()
    assert found["redis_script_result", (("filename", bad),)] == 0 and found["redis_up", ()] == 0


# ---- a Redis that is none ----

class Fake:
    """Answers each connection with a function(socket)."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.serve = serve
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        try:
            with connection:
                self.serve(connection)
        except OSError:
            pass


def silent(connection):
    while connection.recv(4096):
        pass


def close_early(connection):
    connection.recv(10)


def reply_always(reply):
    def serve(connection):
        while connection.recv(65536):
            connection.sendall(reply)
    return serve


def drip(connection):
    connection.recv(100)
    for byte in b"$100000\r\n" + b"x" * 100000:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def flood(start, block):
    def serve(connection):
        connection.recv(100)
        connection.sendall(start)
        while True:
            connection.sendall(block)
    return serve


def scan_for_ever(connection):
    """A Redis whose SCAN never comes to an end."""
    info = b"# Server\r\nredis_version:7\r\n"
    while True:
        request = connection.recv(65536)
        if not request:
            return
        for words in re.split(rb"\*\d+\r\n", request)[1:]:
            if b"INFO" in words:
                connection.sendall(b"$%d\r\n%s\r\n" % (len(info), info))
            elif b"SCAN" in words:
                connection.sendall(b"*2\r\n$1\r\n7\r\n*0\r\n")
            elif b"SELECT" in words or b"CLIENT" in words:
                connection.sendall(b"+OK\r\n")
            else:
                connection.sendall(b"-ERR no\r\n")


BROKEN = {
    "silent": (silent, "i/o timeout"),
    "closes": (close_early, ""),
    "http": (reply_always(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "bad reply"),
    "drip": (drip, "i/o timeout"),
    "endless line": (flood(b"+", b"x" * 65536), "a line of more than"),
    "endless string": (flood(b"$2000000000\r\n", b"x" * 65536), "larger than"),
    "huge array": (flood(b"*2000000000\r\n", b":1\r\n" * 1000), "larger than"),
    "deep array": (flood(b"*1\r\n" * 20, b""), "bad reply"),
    "loading": (reply_always(b"-LOADING Redis is loading the dataset in memory\r\n"), ""),
    "wrong types": (reply_always(b":1\r\n"), ""),
    "too many": (reply_always(b"+OK\r\n" * 100), ""),
    "zeroes": (reply_always(b"\0" * 1000), "bad reply"),
}


def test_broken_servers__give_up_0_in_time():
    fakes = {name: Fake(serve) for name, (serve, _) in BROKEN.items()}
    ours = start_ours("-redis.addr=", "-connection-timeout=700ms")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        start = time.monotonic()
        looks = {name: pool.submit(ours.series, "/scrape", {"target": f"127.0.0.1:{fake.port}"})
                 for name, fake in fakes.items()}
        for name, look in looks.items():
            found = look.result()
            errors = [dict(labels)["err"] for n, labels in found if n == "redis_exporter_last_scrape_error"]
            assert found["redis_up", ()] == 0 and len(errors) == 1 and errors[0], (name, errors)
            # On a slow machine a flood is cut by the deadline before it reaches its limit.
            assert BROKEN[name][1] in errors[0] or "i/o timeout" in errors[0], (name, errors)
        assert time.monotonic() - start < 10
    assert ours.value("redis_up", "/scrape", {"target": f"127.0.0.1:{main.port}"}) == 1
    assert resident_kib(ours) < 400 << 10  # With sanitizers, which keep what was freed.


def resident_kib(process):
    with open(f"/proc/{process.child.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def test_down__says_why():
    free = harness.free_port()
    found = start_ours(f"-redis.addr=redis://127.0.0.1:{free}").series()
    assert found["redis_up", ()] == 0
    assert found["redis_exporter_last_scrape_error",
                 (("err", f"dial tcp 127.0.0.1:{free}: connect: connection refused"),)] == 1
    found = start_ours("-redis.addr=redis://" + "x" * 70 + ":6379", "-connection-timeout=5s").series()
    assert found["redis_up", ()] == 0


def test_deadline__of_the_scraper_is_kept():
    for serve in (silent, scan_for_ever):
        ours = start_ours(f"-redis.addr=127.0.0.1:{Fake(serve).port}", "-check-keys=k?")
        start = time.monotonic()
        found = ours.series(headers={"X-Prometheus-Scrape-Timeout-Seconds": "1"})
        assert found["redis_up", ()] == 0 and time.monotonic() - start < 8  # Not the 15 s of a connection.
        # A client that goes away takes its look with it.
        with socket.create_connection(("127.0.0.1", ours.port), 5) as s:
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.1)
        assert ours.get("/health").text == "ok"
        # Nor does one that is under way keep the process.
        with socket.create_connection(("127.0.0.1", ours.port), 5) as s:
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.1)
            assert ours.stop(5) == 0
            assert s.recv(100).startswith(b"HTTP/1.1 503 ")


def test_killed_in_between__leaves_nothing_behind():
    """Hundreds of looks at once, and a Redis that dies under them."""
    redis = start_redis(name="dies")
    ours = start_ours(f"-redis.addr=127.0.0.1:{redis.port}", "-connection-timeout=2s")
    ours.look()
    files = os.path.join("/proc", str(ours.child.pid), "fd")
    before = len(os.listdir(files))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        looks = [pool.submit(ours.series) for _ in range(300)]
        looks[100].result()
        redis.kill()
        ups = [look.result()["redis_up", ()] for look in looks]
    assert ups[0] == 1 and ups[-1] == 0
    harness.wait_for("closed sockets", lambda: len(os.listdir(files)) <= before + 1)
    assert ours.stop(5) == 0


if __name__ == "__main__":
    harness.main(globals())
