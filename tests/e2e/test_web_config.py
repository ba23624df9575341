"""--web.config.file: TLS, client certificates, users and headers, beside Debian's Prometheus with the same file; junk on
the port of HTTPS; files that change while the server runs; and check web-config with promtool's words."""
import base64
import os
import select
import socket
import ssl
import subprocess
import threading
import time
import warnings

import harness
from harness import NARTHEX, Reply, Server, free_port, new_folder, peer_path, run_command, wait_for, write_file

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import crypt


class Pki:
    """An authority, what it signs, and another one. Keys are of P-256."""

    def __init__(self):
        self.folder = new_folder("pki")
        for ca in ("ca", "other"):
            self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                     ca + ".key", "-out", ca + ".crt", "-days", "9", "-subj", "/CN=" + ca)
        self.issue("server", "DNS:localhost,IP:127.0.0.1")
        self.issue("renewed", "DNS:localhost,IP:127.0.0.1")
        self.issue("client", "DNS:client.test", usage="clientAuth")
        self.issue("stranger", "DNS:client.test", ca="other", usage="clientAuth")
        self.issue("late", "DNS:client.test", usage="clientAuth", days="-1")
        self.issue("wrong-use", "DNS:client.test", usage="serverAuth")

    def run(self, *words):
        done = subprocess.run(["openssl", *words], cwd=self.folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def issue(self, name, names, ca="ca", usage="serverAuth", days="9"):
        write_file(self.path(name + ".ext"), f"subjectAltName={names}\nextendedKeyUsage={usage}\n")
        self.run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", name + ".key",
                 "-out", name + ".csr", "-subj", "/CN=" + name)
        self.run("x509", "-req", "-in", name + ".csr", "-CA", ca + ".crt", "-CAkey", ca + ".key", "-days", days,
                 "-set_serial", str(int.from_bytes(os.urandom(8), "big") >> 1), "-extfile", name + ".ext", "-out",
                 name + ".crt")

    def path(self, name):
        return os.path.join(self.folder, name)

    def text(self, name):
        with open(self.path(name), encoding="ascii") as f:
            return f.read()


pki = Pki()


def hash_of(password, cost=4):
    return crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=1 << cost))


def tls_block(more="", cert="server"):
    return (f"tls_server_config:\n  cert_file: {pki.path(cert + '.crt')}\n  key_file: {pki.path(cert + '.key')}\n"
            + "".join(f"  {line}\n" for line in more.splitlines()))


def users_block(**users):
    return "basic_auth_users:\n" + "".join(f"  {name}: {value}\n" for name, value in users.items())


def client_context(cert=None, trust="ca"):
    context = ssl.create_default_context(cafile=pki.path(trust + ".crt"))
    if cert:
        context.load_cert_chain(pki.path(cert + ".crt"), pki.path(cert + ".key"))
    return context


def ask(port, path="/-/healthy", context=None, user=None, method="GET", body=None, headers=None, scheme="Basic"):
    """One request on a connection of its own; a failed handshake is its exception."""
    headers = dict(headers or {})
    if user:
        headers["Authorization"] = scheme + " " + base64.b64encode(user.encode()).decode()
    if context:
        connection = harness.http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
    else:
        connection = harness.http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def is_refused(port, context):
    try:
        return ask(port, context=context).status >= 400
    except (ssl.SSLError, ConnectionError, harness.http.client.HTTPException):
        return True


class Guarded(Server):
    """With a web config; ready as soon as the port takes connections."""

    def __init__(self, web, **more):
        self.web_path = os.path.join(new_folder("web"), "web.yml")
        write_file(self.web_path, web)
        super().__init__("", ready=False, args=["--web.config.file=" + self.web_path], **more)
        self.spawn()
        wait_port(self.port)


def wait_port(port):
    def is_open():
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    wait_for("the port is open", is_open, 60)


def start_peer(web):
    home = new_folder("peer")
    port = free_port()
    write_file(os.path.join(home, "prometheus.yml"), "")
    peer = harness.Process("prometheus", [
        peer_path("prometheus", "prometheus"), "--config.file=" + os.path.join(home, "prometheus.yml"),
        "--storage.tsdb.path=" + os.path.join(home, "data"), f"--web.listen-address=127.0.0.1:{port}",
        "--web.config.file=" + web, "--web.enable-lifecycle", "--log.level=warn"], cwd=home).spawn()
    peer.port = port
    wait_port(port)
    return peer


# ---- TLS ----

def test_tls__serves_small_and_large():
    server = Guarded(tls_block())
    context = client_context()
    wait_for("healthy", lambda: ask(server.port, context=context).status == 200)
    assert ask(server.port, "/metrics", context).text.startswith("# HELP")
    # A large answer comes in pieces, and a large body goes in.
    page = ask(server.port, "/api/v1/status/flags", context)
    assert page.status == 200 and "web.config.file" in page.text, (page.status, page.text)
    big = ask(server.port, "/api/v1/query", context, method="POST", body="query=" + "1%2B" * 200000 + "1",
              headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert big.status in (200, 400, 422, 413), big
    # Several requests on one connection.
    connection = harness.http.client.HTTPSConnection("localhost", server.port, timeout=20, context=context)
    for _ in range(20):
        connection.request("GET", "/-/healthy")
        answer = connection.getresponse()
        assert answer.status == 200 and b"Healthy" in answer.read()
    assert connection.sock.selected_alpn_protocol() in (None, "http/1.1")
    connection.close()
    done = subprocess.run(["curl", "-sS", "--cacert", pki.path("ca.crt"), f"https://localhost:{server.port}/-/healthy"],
                          capture_output=True, check=False)
    assert b"Healthy" in done.stdout, done
    old = client_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert is_refused(server.port, old)
    assert server.stop() == 0


def raw(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        got = b""
        while piece := s.recv(65536):
            got += piece
        return got


def test_junk__on_the_tls_port_hurts_nobody():
    server = Guarded(tls_block())
    peer = start_peer(server.web_path)
    context = client_context()
    ours, theirs = (raw(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") for port in (server.port, peer.port))
    assert ours == theirs == (b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"), ours
    peer.stop()
    for junk in (b"\x16\x03\x01\xff\xff" + b"\x00" * 100, b"\x00" * 5000, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
                 b"\x80\x2e\x01\x03\x01", b"SSH-2.0-x\r\n", os.urandom(3000)):
        try:
            assert len(raw(server.port, junk)) < 100
        except ConnectionError:
            pass
    # Half a handshake each, and nothing more: they cost a place until their time is over.
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    for s in held:
        s.sendall(b"\x16\x03\x01\x02\x00\x01")
    # An end in the middle of a session, without a goodbye.
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        secure = context.wrap_socket(plain, server_hostname="localhost")
        secure.sendall(b"GET /-/healthy HTTP/1.1\r\n")
        os.close(secure.detach())
    # Bytes in the clear within a session end it.
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        bare = plain.dup()
        secure = context.wrap_socket(plain, server_hostname="localhost")
        secure.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        assert secure.recv(65536).startswith(b"HTTP/1.1 200")
        bare.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        bare.settimeout(20)
        while bare.recv(65536):
            pass
        bare.close()
    # Renegotiation (TLS 1.2) is not taken.
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2", "-CAfile",
                           pki.path("ca.crt")], input=b"R\nGET /-/healthy HTTP/1.0\r\n\r\n", capture_output=True, check=False,
                          timeout=60)
    assert b"Verify return code: 0 (ok)" in done.stdout, done
    assert ask(server.port, context=context).status == 200
    for s in held:
        s.close()
    assert server.stop() == 0


def test_client_certificates__are_judged_as_by_prometheus():
    ca = f"client_ca_file: {pki.path('ca.crt')}"
    certs = (None, "client", "stranger", "late", "wrong-use")
    for mode, more in (("RequireAndVerifyClientCert", ca), ("VerifyClientCertIfGiven", ca), ("RequestClientCert", ca),
                       ("RequireAnyClientCert", ""), ("NoClientCert", "")):
        server = Guarded(tls_block(f"client_auth_type: {mode}\n" + more))
        peer = start_peer(server.web_path)
        ours, theirs = ([not is_refused(port, client_context(cert)) for cert in certs]
                        for port in (server.port, peer.port))
        assert ours == theirs, (mode, ours, theirs)
        peer.stop()
        assert server.stop() == 0
    server = Guarded(tls_block(f"client_auth_type: RequireAndVerifyClientCert\n{ca}\nclient_allowed_sans: [client.test]"))
    assert ask(server.port, context=client_context("client")).status == 200
    write_file(server.web_path, tls_block(f"client_auth_type: RequireAndVerifyClientCert\n{ca}\n"
                                          "client_allowed_sans: [someone.test]"))
    assert is_refused(server.port, client_context("client"))
    assert server.stop() == 0


def test_files__are_read_again_when_they_change():
    folder = new_folder("rotated")
    cert, key = os.path.join(folder, "c.pem"), os.path.join(folder, "k.pem")

    def place(name):
        write_file(key, pki.text(name + ".key"))
        write_file(cert, pki.text(name + ".crt"))

    def served():
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain:
            with client_context().wrap_socket(plain, server_hostname="localhost") as secure:
                return dict(part[0] for part in secure.getpeercert()["subject"])["commonName"]

    place("server")
    server = Guarded(f"tls_server_config: {{cert_file: {cert}, key_file: {key}}}\n")
    assert served() == "server"
    place("renewed")
    assert served() == "renewed"
    # Half of a pair is no pair: connections fail, and come back with the other half.
    write_file(key, pki.text("server.key"))
    assert is_refused(server.port, client_context())
    place("server")
    assert served() == "server"
    # Other versions, inline certificates, headers.
    write_file(server.web_path, "tls_server_config:\n  min_version: TLS13\n  cert: |\n"
               + "".join("    " + line + "\n" for line in pki.text("renewed.crt").splitlines())
               + "  key: |\n" + "".join("    " + line + "\n" for line in pki.text("renewed.key").splitlines())
               + "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=9\n")
    assert served() == "renewed"
    reply = ask(server.port, context=client_context())
    assert reply.headers["X-Frame-Options"] == "deny" and reply.headers["Strict-Transport-Security"] == "max-age=9"
    old = client_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert is_refused(server.port, old)
    # A file that is no configuration any more lets nobody in.
    write_file(server.web_path, "tls_server_config: [1]\n")
    assert is_refused(server.port, client_context())
    assert "cannot unmarshal" in server.log()
    write_file(server.web_path, tls_block())
    assert served() == "server"
    assert server.stop() == 0


# ---- users ----

def test_users__are_asked_for_their_passwords_everywhere():
    web = users_block(alice=hash_of("secret"), bob=hash_of("pass:word").replace("$2b$", "$2y$"))
    server = Guarded(web)
    peer = start_peer(server.web_path)
    for port in (server.port, peer.port):
        wait_for("ready", lambda p=port: ask(p, "/-/ready", user="alice:secret").status == 200, 60)
    cases = [dict(), dict(user="alice:secret"), dict(user="alice:wrong"), dict(user="eve:secret"), dict(user="eve:fakepassword"),
             dict(user="bob:pass:word"), dict(user="alice:secret", scheme="basic"), dict(user="alice:secret", scheme="Bearer"),
             dict(user="alice"), dict(user=":"), dict(headers={"Authorization": "Basic !!!"}),
             dict(headers={"Authorization": "Basic"}), dict(user="alice:" + "x" * 100), dict(user="alice:secret\0")]
    for path in ("/-/healthy", "/metrics", "/-/ready", "/api/v1/query?query=1", "/no/such"):
        for case in cases:
            ours, theirs = (ask(port, path, **case) for port in (server.port, peer.port))
            assert ours.status == theirs.status, (path, case, ours, theirs)
            if ours.status == 401:
                assert ours.body == theirs.body == b"Unauthorized\n", (ours, theirs)
                for name in ("WWW-Authenticate", "Content-Type", "X-Content-Type-Options"):
                    assert ours.headers[name] == theirs.headers[name], (name, ours.headers, theirs.headers)
    peer.stop()
    # A user who is gone from the file is gone.
    write_file(server.web_path, users_block(bob=hash_of("new")))
    assert ask(server.port, user="alice:secret").status == 401
    assert ask(server.port, user="bob:new").status == 200
    # A bad file closes the door.
    write_file(server.web_path, users_block(bob="plain"))
    assert ask(server.port, user="bob:new").status == 500
    write_file(server.web_path, "")
    assert ask(server.port).status == 200
    assert server.stop() == 0


def test_passwords__do_not_hold_up_the_loop():
    """Costly hashes: wrong passwords by the dozen keep one thread busy, and who is known gets through meanwhile."""
    server = Guarded(users_block(alice=hash_of("secret", 10)))
    assert ask(server.port, user="alice:secret").status == 200
    stop = threading.Event()
    statuses = []

    def guess(number):
        at = 0
        while not stop.is_set():
            at += 1
            try:
                statuses.append(ask(server.port, user=f"alice:guess-{number}-{at}").status)
            except OSError:
                pass

    threads = [threading.Thread(target=guess, args=(n,), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    wait_for("guesses wait", lambda: len(statuses) >= 2, 60)
    start, before = time.monotonic(), len(statuses)
    for _ in range(100):
        assert ask(server.port, user="alice:secret").status == 200
    computed = len(statuses) - before
    # 100 answers in a row, each behind a queue of eight computations, would be 800 of them.
    assert computed < 200, (computed, time.monotonic() - start)
    # Connections that go away take their passwords with them.
    for n in range(100):
        s = socket.create_connection(("127.0.0.1", server.port))
        word = base64.b64encode(f"alice:gone-{n}".encode()).decode()
        s.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {word}\r\n\r\n".encode())
        s.close()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert set(statuses) == {401}, set(statuses)
    assert ask(server.port, user="alice:secret").status == 200
    assert server.stop() == 0


def begin_guess(server, user, password):
    s = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    word = base64.b64encode(f"{user}:{password}".encode()).decode()
    s.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {word}\r\n\r\n".encode())
    return s


def test_guesses__do_not_crowd_out_who_is_known():
    """More wrong passwords than are kept: the right one need not be computed again, behind a queue of costly ones."""
    server = Guarded(users_block(alice=hash_of("secret"), bob=hash_of("hidden", 12)))
    assert ask(server.port, user="alice:secret").status == 200
    for n in range(120):
        assert ask(server.port, user=f"alice:guess-{n}").status == 401
    queue = [begin_guess(server, "bob", f"guess-{n}") for n in range(20)]
    wait_for("the first is computed", lambda: select.select(queue, [], [], 0)[0], 60)
    assert ask(server.port, user="alice:secret").status == 200
    assert len(select.select(queue, [], [], 0)[0]) < len(queue)
    for s in queue:
        s.close()
    assert server.stop() == 0


# ---- check web-config ----

def test_check_web_config__speaks_as_promtool():
    folder = new_folder("check")
    pair = f"cert_file: {pki.path('server.crt')}, key_file: {pki.path('server.key')}"
    cases = {
        "empty": "", "unknown": "foo: 1", "unknown-tls": "tls_server_config: {foo: 1}", "type": "tls_server_config: [1]",
        "cipher": "tls_server_config: {cert_file: a, key_file: b, cipher_suites: [X]}",
        "curve": "tls_server_config: {cert_file: a, key_file: b, curve_preferences: [X]}",
        "version": "tls_server_config: {cert_file: a, key_file: b, min_version: TLS09}",
        "no-file": "tls_server_config: {cert_file: a, key_file: b}",
        "header": "http_server_config: {headers: {Foo: x}}",
        "header-value": "http_server_config: {headers: {X-Frame-Options: x}}",
        "http2": "http_server_config: {headers: {X-Frame-Options: deny}, http2: maybe}",
        "short": "basic_auth_users: {a: b}", "plain": "basic_auth_users: {a: " + "x" * 70 + "}",
        "newer": "basic_auth_users: {a: $3" + hash_of("x")[2:] + "}",
        "cost": "basic_auth_users: {a: $2y$99" + hash_of("x")[6:] + "}",
        "no-cost": "basic_auth_users: {a: $2y$xx" + hash_of("x")[6:] + "}",
        "user": "basic_auth_users: {a: " + hash_of("x") + "}", "users": "basic_auth_users: [a]", "syntax": "a: b: c",
        "good": f"tls_server_config: {{{pair}}}",
        "mismatch": f"tls_server_config: {{cert_file: {pki.path('server.crt')}, key_file: {pki.path('client.key')}}}",
        "auth": f"tls_server_config: {{{pair}, client_auth_type: X}}",
        "no-auth": f"tls_server_config: {{{pair}, client_ca_file: {pki.path('ca.crt')}}}",
        "no-ca": f"tls_server_config: {{{pair}, client_ca_file: nope, client_auth_type: RequireAndVerifyClientCert}}",
        "no-pem": f"tls_server_config: {{cert_file: good.yml, key_file: {pki.path('server.key')}}}",
        "no-key": f"tls_server_config: {{cert_file: {pki.path('server.crt')}, key_file: good.yml}}",
        "all": f"tls_server_config: {{{pair}, client_auth_type: RequestClientCert, min_version: TLS12, max_version: TLS13, "
               "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256], curve_preferences: "
               "[CurveP256, X25519, CurveP384, CurveP521], prefer_server_cipher_suites: false}",
    }
    names = []
    for name, text in cases.items():
        names.append(name + ".yml")
        write_file(os.path.join(folder, name + ".yml"), text + "\n")
    promtool = [peer_path("prometheus", "promtool"), "check", "web-config"]
    ours, theirs = (run_command(argv + names, cwd=folder) for argv in ([NARTHEX, "check", "web-config"], promtool))
    assert ours == theirs, "\n".join(f"{a!r}\n{b!r}" for a, b in zip(ours[2].splitlines(), theirs[2].splitlines()) if a != b)
    for argv in (["good.yml"], ["nowhere.yml"], [], ["user.yml", "empty.yml"]):
        ours, theirs = (run_command(words + argv, cwd=folder) for words in ([NARTHEX, "check", "web-config"], promtool))
        assert ours == theirs, (argv, ours, theirs)


if __name__ == "__main__":
    harness.main(globals())
