"""Fake exporters for bench_load.py: one process, one port, bodies made before anything is measured.

A body has 500 series in 50 families of 10, with values of the mix that exporters have: a third hardly ever changes, most
of the rest are counters. All targets show the same page; the page changes once an interval. It is kept small and cheap,
so that what is measured is who scrapes.
"""
import gzip
import multiprocessing
import random
import selectors
import socket
import time

SERIES = 500
VERSIONS = 16


def next_value(kind, value, dice):
    if kind < 0.22:
        return value
    if kind < 0.46:
        return value + (dice.random() < 0.04)
    if kind < 0.66:
        return value + (dice.randrange(1, 6) if dice.random() < 0.33 else 0)
    if kind < 0.78:
        return value + dice.randrange(50 if kind < 0.73 else 4000000)
    if kind < 0.86:
        return round(value + dice.random() * 15, 2 if kind < 0.83 else 9)
    if kind < 0.95:
        return 4096 * dice.randrange(200000, 205000) if kind < 0.91 else dice.randrange(200)
    return dice.random() if kind < 0.97 else value + dice.random()


def make_bodies():
    dice = random.Random(42)
    kinds = [dice.random() for _ in range(SERIES)]
    values = [float(dice.randrange(100000)) for _ in range(SERIES)]
    bodies = []
    for _ in range(VERSIONS):
        lines = []
        for i in range(SERIES):
            values[i] = next_value(kinds[i], values[i], dice)
            name = f"node_family_{i // 10:02}_seconds_total"
            if i % 10 == 0:
                lines.append(f"# HELP {name} What family {i // 10} is about.\n# TYPE {name} counter\n")
            lines.append(f'{name}{{cpu="{i % 10}",device="nvme{i % 4}n1",mode="mode-{i % 7}",path="/var/lib/{i}"}} '
                         f"{values[i]!r}\n")
        bodies.append("".join(lines).encode())
    return bodies


def http_reply(body, encoding):
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
    if encoding:
        head += f"Content-Encoding: {encoding}\r\n"
    return (head + f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def serve(listener, served, interval_s, compress):
    bodies = make_bodies()
    replies = [http_reply(gzip.compress(b, 6), "gzip") if compress else http_reply(b, "") for b in bodies]
    poll = selectors.DefaultSelector()
    listener.setblocking(False)
    poll.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in poll.select():
            if key.fileobj is listener:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                poll.register(client, selectors.EVENT_READ, bytearray())
                continue
            try:
                got = key.fileobj.recv(65536)
                key.data.extend(got)
                while b"\r\n\r\n" in key.data:
                    del key.data[:key.data.index(b"\r\n\r\n") + 4]
                    key.fileobj.settimeout(5)
                    key.fileobj.sendall(replies[int(time.monotonic() / interval_s) % VERSIONS])
                    served.value += 1
            except OSError:
                got = b""
            if not got:
                poll.unregister(key.fileobj)
                key.fileobj.close()


class Targets:
    def __init__(self, interval_s, compress):
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = listener.getsockname()[1]
        self.served = multiprocessing.Value("Q", 0, lock=False)
        self.process = multiprocessing.Process(target=serve, args=(listener, self.served, interval_s, compress),
                                               daemon=True)
        self.process.start()
        listener.close()

    def stop(self):
        self.process.terminate()
        self.process.join()
