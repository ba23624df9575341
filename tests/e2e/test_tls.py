"""The HTTP client's options: TLS in all its ways to fail, authorization, OAuth2, proxies, redirects, HTTP/2, and files
that change while the server runs. Certificates are made here. What Debian's Prometheus knows, too, it is asked as well:
up and labels must be the same."""
import base64
import http.server
import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.parse
import warnings

import harness
from harness import Server, new_folder, start_prometheus, wait_for, write_file

PAGE = b"# TYPE speed gauge\nspeed 7\n"
TEXT = "text/plain; version=0.0.4"


# ---- certificates ----

class Pki:
    """Authorities and what they sign, in one folder."""

    def __init__(self):
        self.folder = new_folder("pki")
        self.authority("ca")
        self.authority("other-ca")
        self.issue("good", "DNS:localhost,IP:127.0.0.1")
        self.issue("named", "DNS:other.test,DNS:more.test")
        self.issue("expired", "DNS:localhost,IP:127.0.0.1", days=-1)
        self.issue("foreign", "DNS:localhost,IP:127.0.0.1", ca="other-ca")
        self.issue("client", "DNS:client.test")
        self.issue("foreign-client", "DNS:client.test", ca="other-ca")

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *words):
        done = subprocess.run(["openssl", *words], cwd=self.folder, capture_output=True, check=False)
        assert done.returncode == 0, (words, done.stderr.decode())

    def key(self, name):
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", name + ".key")

    def authority(self, name):
        self.key(name)
        self.openssl("req", "-x509", "-new", "-key", name + ".key", "-out", name + ".pem", "-days", "30", "-subj",
                     f"/CN={name} of the test", "-addext", "keyUsage=critical,keyCertSign")

    def issue(self, name, names, ca="ca", days=30):
        self.key(name)
        write_file(self.path(name + ".ext"), f"subjectAltName={names}\n")
        self.openssl("req", "-new", "-key", name + ".key", "-out", name + ".csr", "-subj", f"/CN={name}")
        self.openssl("x509", "-req", "-in", name + ".csr", "-CA", ca + ".pem", "-CAkey", ca + ".key", "-CAcreateserial",
                     "-days", str(days), "-extfile", name + ".ext", "-out", name + ".pem")

    def text(self, name):
        with open(self.path(name), encoding="ascii") as f:
            return f.read()


# ---- servers ----

class Target:
    """An HTTP or HTTPS server. answer(handler) -> (status, headers, body), or None when it has answered by itself."""

    def __init__(self, answer=None, cert=None, ca=None, versions=(None, None), host="127.0.0.1"):
        self.answer = answer or (lambda handler: (200, {}, PAGE))
        self.requests = []  # (method, path, headers, body, TLS version) in order.
        self.connections = 0
        target = self
        self.tls = self.context(cert, ca, versions) if cert else None

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                target.connections += 1
                if target.tls:
                    self.request.settimeout(5)
                    self.request = target.tls.wrap_socket(self.request, server_side=True)
                    self.request.settimeout(None)
                super().setup()

            def serve(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                version = self.request.version() if target.tls else None
                target.requests.append((self.command, self.path, dict(self.headers.items()), body, version))
                self.body = body
                answer = target.answer(self)
                if answer is None:
                    return
                status, headers, page = answer
                page = page if isinstance(page, bytes) else page.encode()
                self.send_response(status)
                for name, text in {"Content-Type": TEXT, "Content-Length": str(len(page)), **headers}.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(page)

            do_GET = do_POST = do_CONNECT = serve

            def log_message(self, *args):
                pass

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass

        self.listener = Listener((host, 0), Handler)
        self.port = self.listener.server_address[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @staticmethod
    def context(cert, ca, versions):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.path(cert + ".pem"), pki.path(cert + ".key"))
        if ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(pki.path(ca + ".pem"))
        if versions[0] and versions[0] < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The old versions are what some tests are about.
            context.minimum_version = versions[0] or ssl.TLSVersion.TLSv1_2
            context.maximum_version = versions[1] or ssl.TLSVersion.TLSv1_3
        return context


class Http2Target:
    """Speaks as much HTTP/2 as one answer needs, or HTTP/1.1 when that is what TLS agreed on."""

    def __init__(self):
        self.protocols = []
        self.context = Target.context("good", None, (None, None))
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            plain, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    @staticmethod
    def frame(kind, flags, stream, payload=b""):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    def serve(self, plain):
        try:
            connection = self.context.wrap_socket(plain, server_side=True)
            self.protocols.append(connection.selected_alpn_protocol())
            stream = connection.makefile("rb")
            if self.protocols[-1] == "h2":
                self.serve_frames(connection, stream)
            while stream.readline() not in (b"\r\n", b""):
                pass
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                               b"Content-Length: %d\r\n\r\n" % len(PAGE) + PAGE)
            connection.close()
        except OSError:
            pass

    def serve_frames(self, connection, stream):
        stream.read(24)
        connection.sendall(self.frame(4, 0, 0))
        while True:
            head = stream.read(9)
            if len(head) < 9:
                return
            payload = stream.read(int.from_bytes(head[:3], "big"))
            kind, flags, number = head[3], head[4], int.from_bytes(head[5:9], "big")
            if kind == 4 and not flags & 1:
                connection.sendall(self.frame(4, 1, 0))
            if kind == 6 and not flags & 1:
                connection.sendall(self.frame(6, 1, 0, payload))
            if kind == 1:
                fields = b"\x88" + b"\x0f\x10" + bytes([len(TEXT)]) + TEXT.encode()
                connection.sendall(self.frame(1, 4, number, fields) + self.frame(0, 1, number, PAGE))


class Proxy(Target):
    """Sends everything to one address, whatever was asked for."""

    def __init__(self, onward, allow=True, **more):
        super().__init__(self.pass_on, **more)
        self.onward = onward
        self.allow = allow

    def pass_on(self, handler):
        if not self.allow:
            return 403, {}, b"no\n"
        if handler.command != "CONNECT":
            return 200, {}, PAGE
        host, port = self.onward.split(":")
        onward = socket.create_connection((host, int(port)))
        handler.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        handler.close_connection = True
        back = threading.Thread(target=self.pump, args=(onward, handler.connection), daemon=True)
        back.start()
        self.pump(handler.connection, onward)
        back.join(5)
        return None

    @staticmethod
    def pump(source, sink):
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def wants(authorization):
    """A page for who shows this."""
    def answer(handler):
        if handler.headers.get("Authorization") == authorization:
            return 200, {}, PAGE
        return 401, {"WWW-Authenticate": "Basic"}, b"who are you?\n"
    return answer


class TokenServer(Target):
    """OAuth2, client credentials. in_form: it looks for them in the form only."""

    def __init__(self, in_form=False, secret="s3cret&", lives=3600, **more):
        super().__init__(self.give, **more)
        self.in_form = in_form
        self.secret = secret
        self.lives = lives
        self.given = 0
        self.delay = 0
        self.forms = []

    def give(self, handler):
        form = urllib.parse.parse_qs(handler.body.decode())
        self.forms.append(form)
        time.sleep(self.delay)
        shown = handler.headers.get("Authorization")
        if self.in_form:
            good = form.get("client_secret") == [self.secret] and form.get("client_id") == ["me"] and not shown
        else:
            good = shown == basic("me", urllib.parse.quote_plus(self.secret))
        if not good:
            return 401, {"Content-Type": "application/json"}, '{"error":"invalid_client","error_description":"wrong"}'
        self.given += 1
        return 200, {"Content-Type": "application/json"}, json.dumps(
            {"access_token": f"token-{self.given}", "token_type": "bearer", "expires_in": self.lives})


def wants_token(handler):
    if handler.headers.get("Authorization", "").startswith("Bearer token-"):
        return 200, {}, PAGE
    return 401, {}, b"no token\n"


pki = Pki()
secrets = new_folder("secrets")


def secret(name, text):
    return write_file(os.path.join(secrets, name), text)


# ---- jobs ----

def job(name, address, options="", scheme="https"):
    lines = "".join(f"  {line}\n" for line in options.strip("\n").split("\n")) if options else ""
    return (f"- job_name: {name}\n  scheme: {scheme}\n{lines}  static_configs:\n"
            f"  - targets: ['{address}']\n    labels: {{kind: test}}\n")


def config(jobs, interval="1s"):
    return f"global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}\nscrape_configs:\n" + "".join(jobs)


def scraped(server, pool, count=1):
    """The target of a job once it was scraped."""
    def look():
        found = server.targets(pool)
        return found and all(t["health"] != "unknown" for t in found) and len(found) == count and found
    return wait_for(f"{pool} scraped", look)[0]


def wait_health(server, pool, health):
    try:
        return wait_for(f"{pool} {health}", lambda: next((t for t in server.targets(pool) if t["health"] == health), None))
    except AssertionError as e:
        raise AssertionError(f"{e}: {server.targets(pool)}") from None


def same_as_prometheus(cases):
    """cases: (name, block of the job, up, text in the error). Narthex must be as said; Prometheus, too, but for cases
    that say `differs`, and those of our own that say `ours`."""
    server = Server(config([one[1] for one in cases]))
    peer = start_prometheus(config([one[1] for one in cases if "ours" not in one]))
    for name, _, up, error, *more in cases:
        ours = scraped(server, name)
        assert ours["health"] == ("up" if up else "down"), (name, ours["health"], ours["lastError"])
        assert re.search(error, ours["lastError"]), (name, ours["lastError"])
        if "ours" in more:
            continue
        theirs = scraped(peer, name)
        assert ours["labels"] == theirs["labels"], (name, ours["labels"], theirs["labels"])
        if "differs" not in more:
            assert ours["health"] == theirs["health"], (name, theirs["health"], theirs["lastError"])
        if os.environ.get("SHOW_ERRORS") and ours["lastError"] + theirs["lastError"]:
            print(f"{name}\n  narthex:    {ours['lastError'] or 'up'}\n  prometheus: {theirs['lastError'] or 'up'}")
    server.stop()
    peer.stop()


def indented(text, by):
    return "".join(" " * by + line + "\n" for line in text.strip().split("\n"))


# ---- TLS ----

def test_certificates__are_judged_as_prometheus_judges_them():
    good, named, expired = Target(cert="good"), Target(cert="named"), Target(cert="expired")
    foreign, plain = Target(cert="foreign"), Target()
    ca = f"ca_file: {pki.path('ca.pem')}"
    inline = "tls_config:\n  ca: |\n" + indented(pki.text("ca.pem"), 4)
    same_as_prometheus([
        ("ca-file", job("ca-file", good.address, f"tls_config: {{{ca}}}"), True, "^$"),
        ("ca-inline", job("ca-inline", good.address, inline), True, "^$", "ours"),
        ("no-ca", job("no-ca", good.address), False, "x509: certificate signed by unknown authority$"),
        ("insecure", job("insecure", good.address, "tls_config: {insecure_skip_verify: true}"), True, "^$"),
        ("wrong-ca", job("wrong-ca", foreign.address, f"tls_config: {{{ca}}}"), False,
         "tls: failed to verify certificate: x509: certificate signed by unknown authority$"),
        ("expired", job("expired", expired.address, f"tls_config: {{{ca}}}"), False,
         r"x509: certificate has expired or is not yet valid: current time \S+Z is after \S+Z$"),
        ("expired-insecure", job("expired-insecure", expired.address, "tls_config: {insecure_skip_verify: true}"), True,
         "^$"),
        ("no-address", job("no-address", named.address, f"tls_config: {{{ca}}}"), False,
         "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs$"),
        ("server-name", job("server-name", named.address, f"tls_config: {{{ca}, server_name: more.test}}"), True, "^$"),
        ("wrong-name", job("wrong-name", named.address, f"tls_config: {{{ca}, server_name: wrong.test}}"), False,
         "x509: certificate is valid for other.test, more.test, not wrong.test$"),
        ("plain", job("plain", plain.address, f"tls_config: {{{ca}}}"), False,
         # What Python's server says to a handshake begins with a status line or with a page.
         "http: server gave HTTP response to HTTPS client$|tls: first record does not look like a TLS handshake$"),
    ])
    assert all(r[2]["Host"] == named.address for r in named.requests), named.requests[:2]


def test_client_certificates__are_missed_under_tls_1_3():
    """The alert comes after the handshake, behind a reset connection: it is what is told nevertheless."""
    target = Target(cert="good", ca="ca")
    server = Server(config([job("none", target.address, f"tls_config: {{ca_file: {pki.path('ca.pem')}}}")]))
    harness.wait_for("the alert", lambda: scraped(server, "none")["lastError"].endswith(': remote error: tls: certificate required'))
    server.stop()


def test_resets__name_both_ends():
    """As Go: both addresses, and what the socket was doing."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    address = "127.0.0.1:%d" % listener.getsockname()[1]
    server = Server(config([job("plain", address, scheme="http"), job("tls", address, "tls_config: {insecure_skip_verify: true}")]))
    for name in ("plain", "tls"):
        error = scraped(server, name)["lastError"]
        assert re.search(rf"^Get \"https?://{address}/metrics\": read tcp 127.0.0.1:\d+->{address}: read: connection reset by peer$",
                         error), (name, error)
    server.stop()


def test_client_certificates__are_shown():
    target = Target(cert="good", ca="ca")
    files = f"ca_file: {pki.path('ca.pem')}, cert_file: {pki.path('client.pem')}, key_file: {pki.path('client.key')}"
    foreign = files.replace("client.", "foreign-client.")
    mixed = files.replace("client.key", "foreign-client.key")
    inline = (f"tls_config:\n  ca_file: {pki.path('ca.pem')}\n  cert: |\n" + indented(pki.text("client.pem"), 4)
              + "  key: |\n" + indented(pki.text("client.key"), 4))
    same_as_prometheus([
        ("client", job("client", target.address, f"tls_config: {{{files}}}"), True, "^$"),
        ("client-inline", job("client-inline", target.address, inline), True, "^$", "ours"),
        ("client-none", job("client-none", target.address, f"tls_config: {{ca_file: {pki.path('ca.pem')}}}"), False,
         # With TLS 1.3 the refusal may come after the request was sent off into a closed connection: then the next scrape knows.
         "remote error: tls: certificate required$|broken pipe$|connection reset by peer$"),
        ("client-foreign", job("client-foreign", target.address, f"tls_config: {{{foreign}}}"), False,
         "remote error: tls: unknown certificate authority$|broken pipe$|connection reset by peer$"),
    ])
    server = Server(config([
        job("mixed", target.address, f"tls_config: {{{mixed}}}"),
        job("missing", target.address, "tls_config: {ca_file: /nowhere/ca.pem}"),
        job("folder", target.address, f"tls_config: {{ca_file: {secrets}}}"),
        job("rubbish", target.address, f"tls_config: {{ca_file: {secret('rubbish', 'no certificate')}}}"),
        job("reference", target.address, "tls_config: {ca_ref: a-name}"),
    ]))
    for pool, error in (
            ("mixed", r"unable to use specified client cert \(file .*client.pem\) & key \(file .*\): tls: private key does "
                      "not match public key, or is no PEM$"),
            ("missing", "unable to read CA cert: unable to read file /nowhere/ca.pem: open /nowhere/ca.pem: no such file or "
                        "directory$"),
            ("folder", "read .*: is a directory$"),
            ("rubbish", "unable to use specified CA cert file .*rubbish$"),
            ("reference", "cannot use secret ref without manager$")):
        found = scraped(server, pool)
        assert found["health"] == "down" and re.search(error, found["lastError"]), (pool, found["lastError"])
    assert "there is no secret manager" in server.log()
    server.stop()


def test_versions__are_kept_to():
    new = Target(cert="good", versions=(ssl.TLSVersion.TLSv1_3, None))
    middle = Target(cert="good", versions=(None, ssl.TLSVersion.TLSv1_2))
    both = Target(cert="good")
    old = Target(cert="good", versions=(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1))
    ca = f"ca_file: {pki.path('ca.pem')}"
    same_as_prometheus([
        ("default-new", job("default-new", new.address, f"tls_config: {{{ca}}}"), True, "^$"),
        ("default-middle", job("default-middle", middle.address, f"tls_config: {{{ca}}}"), True, "^$"),
        ("default-old", job("default-old", old.address, f"tls_config: {{{ca}}}"), False, "protocol version"),
        ("min-13", job("min-13", middle.address, f"tls_config: {{{ca}, min_version: TLS13}}"), False,
         "protocol version"),
        ("min-13-new", job("min-13-new", new.address, f"tls_config: {{{ca}, min_version: TLS13}}"), True, "^$"),
        ("max-12", job("max-12", new.address, f"tls_config: {{{ca}, max_version: TLS12}}"), False, "protocol version"),
        ("max-12-both", job("max-12-both", both.address, f"tls_config: {{{ca}, max_version: TLS12}}"), True, "^$"),
        ("min-10", job("min-10", old.address, f"tls_config: {{{ca}, min_version: TLS10}}"), True, "^$"),
        ("crossed", job("crossed", both.address, f"tls_config: {{{ca}, min_version: TLS13, max_version: TLS12}}"), False,
         "tls: no supported versions satisfy MinVersion and MaxVersion$", "ours"),
    ])
    assert {r[4] for r in both.requests} == {"TLSv1.2"}
    assert {r[4] for r in old.requests} == {"TLSv1.1"}


def test_http2__is_used_where_tls_agrees():
    target, without = Http2Target(), Http2Target()
    ca = f"tls_config: {{ca_file: {pki.path('ca.pem')}}}"
    same_as_prometheus([
        ("h2", job("h2", target.address, ca), True, "^$"),
        ("h1", job("h1", without.address, ca + "\nenable_http2: false"), True, "^$"),
    ])
    assert set(target.protocols) == {"h2"}, target.protocols
    assert set(without.protocols) <= {"http/1.1", None}, without.protocols


# ---- authorization ----

def test_authorization__comes_from_texts_and_files():
    both, token, custom = Target(wants(basic("me", "pass:word"))), Target(wants("Bearer abc")), Target(wants("Magic xyz"))
    no_user = Target(wants(basic("", "only")))
    user, password = secret("user", "me\n"), secret("password", " pass:word\n")
    credentials = secret("token", "abc\n")
    same_as_prometheus([
        ("basic", job("basic", both.address, "basic_auth: {username: me, password: 'pass:word'}", "http"), True, "^$"),
        ("basic-file", job("basic-file", both.address, f"basic_auth: {{username: me, password_file: {password}}}", "http"),
         True, "^$"),
        ("basic-wrong", job("basic-wrong", both.address, "basic_auth: {username: me, password: no}", "http"), False,
         "^server returned HTTP status 401 Unauthorized$"),
        ("no-user", job("no-user", no_user.address, "basic_auth: {password: only}", "http"), True, "^$"),
        ("bearer", job("bearer", token.address, "authorization: {credentials: abc}", "http"), True, "^$"),
        ("bearer-file", job("bearer-file", token.address, f"authorization: {{credentials_file: {credentials}}}", "http"),
         True, "^$"),
        ("bearer-old", job("bearer-old", token.address, f"bearer_token_file: {credentials}", "http"), True, "^$"),
        ("custom", job("custom", custom.address, "authorization: {type: Magic, credentials: xyz}", "http"), True, "^$"),
        ("missing", job("missing", token.address, "authorization: {credentials_file: /nowhere/token}", "http"), False,
         'Get "http://.*/metrics": unable to read authorization credentials.* /nowhere/token: no such file or directory$'),
    ])
    server = Server(config([job("user-file", both.address,
                                f"basic_auth: {{username_file: {user}, password_file: {password}}}", "http")]))
    wait_health(server, "user-file", "up")
    server.stop()


def test_headers__are_added():
    def answer(handler):
        good = (handler.headers.get_all("X-Many") == ["a", "b", "c"] and handler.headers.get("X-Tenant") == "ode")
        return (200 if good else 400), {}, PAGE
    target = Target(answer)
    path = secret("header", "c\n")
    server = Server(config([job("headers", target.address,
                                f"http_headers:\n  X-Many: {{values: [a], secrets: [b], files: [{path}]}}\n"
                                "  X-Tenant: {values: [ode]}", "http")]))
    wait_health(server, "headers", "up")
    shown = server.data("/api/v1/status/config")["yaml"]
    assert "<secret>" in shown and "- b\n" not in shown, shown
    secret("header", "d\n")
    wait_health(server, "headers", "down")
    server.stop()


# ---- OAuth2 ----

def oauth2(token_server, more="", scheme="http", path="/token"):
    return f"oauth2:\n  client_id: me\n  token_url: {scheme}://{token_server.address}{path}\n" + indented(more, 2)


def test_oauth2__gets_tokens_as_prometheus_does():
    target = Target(wants_token)
    header, form, wrong, tls = TokenServer(), TokenServer(in_form=True), TokenServer(), TokenServer(cert="good")
    many = "client_secret: 's3cret&'\nscopes: [a, b]\nendpoint_params: {audience: x y, tenant: '1'}"
    closed = f"127.0.0.1:{harness.free_port()}"
    path = secret("client-secret", "s3cret&\n")
    same_as_prometheus([
        ("header", job("header", target.address, oauth2(header, many), "http"), True, "^$"),
        ("form", job("form", target.address, oauth2(form, f"client_secret_file: {path}"), "http"), True, "^$"),
        ("wrong", job("wrong", target.address, oauth2(wrong, "client_secret: no"), "http"), False,
         '^Get "http://.*/metrics": oauth2: "invalid_client" "wrong"$'),
        ("tls", job("tls", target.address, oauth2(tls, "client_secret: 's3cret&'\n"
                                                  f"tls_config: {{ca_file: {pki.path('ca.pem')}}}", "https"), "http"),
         True, "^$"),
        ("tls-wrong", job("tls-wrong", target.address, oauth2(tls, "client_secret: 's3cret&'", "https"), "http"), False,
         'Get "http://.*/metrics": Post "https://.*/token": tls: .*x509: certificate signed by unknown authority$'),
        ("closed", job("closed", target.address,
                       f"oauth2: {{client_id: me, client_secret: x, token_url: 'http://{closed}/t'}}", "http"), False,
         f'Get "http://.*": Post "http://{closed}/t": dial tcp {closed}: connect: connection refused$'),
    ])
    seen = header.forms[0]
    assert seen == {"grant_type": ["client_credentials"], "scope": ["a b"], "audience": ["x y"], "tenant": ["1"]}, seen
    assert header.requests[0][2]["Content-Type"] == "application/x-www-form-urlencoded"


def test_oauth2__asks_once_for_many():
    target, tokens = Target(wants_token), TokenServer()
    tokens.delay = 0.4
    targets = ", ".join(f"'127.0.0.1:{target.port}'" for _ in range(1))
    text = config(["- job_name: many\n" + indented(oauth2(tokens, "client_secret: 's3cret&'"), 2)
                   + "  static_configs:\n" + "".join(f"  - {{targets: [{targets}], labels: {{n: '{i}'}}}}\n" for i in range(20))])
    server = Server(text)
    wait_for("all up", lambda: [t["health"] for t in server.targets("many")] == ["up"] * 20)
    assert tokens.given == 1, tokens.given
    # A token that ends soon is not used again.
    tokens.lives = 11
    server.stop()
    tokens.given = 0
    server = Server(text)
    wait_for("all up", lambda: [t["health"] for t in server.targets("many")] == ["up"] * 20)
    wait_for("a second token", lambda: tokens.given >= 2)
    # A server that hangs is a scrape that times out, and nothing else waits for it.
    slow = TokenServer()
    slow.delay = 30
    server.set_config(config([job("slow", target.address, oauth2(slow, "client_secret: 's3cret&'"), "http"),
                              job("quick", target.address, "authorization: {credentials: token-x}", "http")]))
    server.post("/-/reload")
    assert wait_health(server, "slow", "down")["lastError"].endswith(": context deadline exceeded")
    wait_health(server, "quick", "up")
    server.stop()


def test_oauth2__survives_hostile_answers():
    target = Target(wants_token)
    answers = {
        "/empty": (200, {"Content-Type": "application/json"}, b""),
        "/html": (502, {"Content-Type": "text/html"}, b"<html>bad gateway</html>"),
        "/array": (200, {"Content-Type": "application/json"}, b"[1]"),
        "/none": (200, {"Content-Type": "application/json"}, b'{"token":"x"}'),
        "/huge": (200, {"Content-Type": "application/json"}, b'{"access_token":"' + b"x" * (2 << 20) + b'"}'),
        "/split": (200, {"Content-Type": "application/json"}, b'{"access_token":"a\\r\\nX-Evil: 1"}'),
        "/form": (200, {"Content-Type": "application/x-www-form-urlencoded"}, b"access_token=token-f&expires_in=99"),
    }
    tokens = Target(lambda handler: answers[handler.path])
    server = Server(config([job(path[1:], target.address, oauth2(tokens, "client_secret: x", path=path), "http")
                            for path in answers]))
    for pool, error in (("empty", "oauth2: cannot parse json"), ("html", "oauth2: cannot fetch token: 502 Bad Gateway"),
                        ("array", "oauth2: cannot parse json"), ("none", "oauth2: server response missing access_token"),
                        ("huge", "oauth2: cannot fetch token: "), ("split", "invalid header field value")):
        found = scraped(server, pool)
        assert found["health"] == "down" and error in found["lastError"], (pool, found["lastError"])
    wait_health(server, "form", "up")
    assert not any("X-Evil" in r[2] for r in target.requests)
    server.stop()


# ---- proxies ----

def test_proxies__are_gone_through():
    plain, secure = Target(), Target(cert="named")
    proxy, closed = Proxy(secure.address), Proxy(secure.address, allow=False)
    tls_proxy = Proxy(secure.address, cert="good")
    url = f"proxy_url: http://user:pa%20ss@{proxy.address}"
    ca = f"tls_config: {{ca_file: {pki.path('ca.pem')}}}"
    same_as_prometheus([
        ("http", job("http", "metrics.test:80", url, "http"), True, "^$"),
        ("https", job("https", "other.test:443", url + "\n" + ca), True, "^$"),
        ("loopback", job("loopback", plain.address, url, "http"), True, "^$"),
        ("refused", job("refused", "other.test:443", f"proxy_url: http://{closed.address}\n" + ca), False,
         '^Get "https://other.test(:443)?/metrics": Forbidden$'),
        ("no-port", job("no-port", "metrics.test:80", "proxy_url: http://127.0.0.1", "http"), False,
         "proxyconnect tcp: dial tcp 127.0.0.1:80: "),
        ("tls-proxy", job("tls-proxy", "metrics.test:80", f"proxy_url: https://{tls_proxy.address}\n" + ca, "http"), True,
         "^$"),
    ])
    wanted = basic("user", "pa ss")
    assert all(r[2].get("Proxy-Authorization") == wanted for r in proxy.requests), proxy.requests[:3]
    assert {r[0] for r in proxy.requests} == {"GET", "CONNECT"}
    asked = {r[1].replace("metrics.test:80/", "metrics.test/") for r in proxy.requests}
    assert asked == {"http://metrics.test/metrics", "other.test:443", f"http://{plain.address}/metrics"}, asked
    assert not plain.requests
    assert all("Proxy-Authorization" not in r[2] for r in secure.requests)


def test_proxies__have_exceptions_headers_and_an_environment():
    plain, secure = Target(), Target(cert="named")
    proxy = Proxy(secure.address)
    url = f"proxy_url: http://{proxy.address}"
    ca = f"tls_config: {{ca_file: {pki.path('ca.pem')}}}"
    server = Server(config([
        job("direct", plain.address, url + "\nno_proxy: example.test", "http"),
        job("through", "metrics.test:80", url + "\nno_proxy: '10.0.0.0/8,example.test,metrics.test:81'", "http"),
        job("connect", "other.test:443", url + "\n" + ca + "\nproxy_connect_header: {X-Key: [one, two]}"),
        job("not-connect", "metrics.test:82", url + "\nproxy_connect_header: {X-Key: [one]}", "http"),
    ]))
    for pool in ("direct", "through", "connect", "not-connect"):
        wait_health(server, pool, "up")
    assert plain.requests and not any(plain.address in r[1] for r in proxy.requests)
    for method, path, headers, _, _ in proxy.requests:
        assert (headers.get("X-Key") is not None) == (method == "CONNECT"), (method, path, headers)
    assert all("X-Key" not in r[2] for r in secure.requests)
    server.stop()
    os.environ.update(HTTP_PROXY=proxy.address, HTTPS_PROXY="http://" + proxy.address, NO_PROXY="example.test")
    try:
        block = [job("env", "metrics.test:80", "proxy_from_environment: true", "http"),
                 job("env-tls", "other.test:443", "proxy_from_environment: true\n" + ca),
                 job("env-loopback", plain.address, "proxy_from_environment: true", "http"),
                 job("env-not", plain.address, "", "http")]
        server = Server(config(block))
        for pool in ("env", "env-tls", "env-loopback", "env-not"):
            wait_health(server, pool, "up")
        assert not any(plain.address in r[1] for r in proxy.requests)
        server.stop()
    finally:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
            del os.environ[name]


# ---- redirects ----

def test_redirects__keep_credentials_at_home():
    wanted = basic("me", "pw")
    end = Target(wants(wanted))
    loop = Target(lambda handler: (302, {"Location": "/metrics"}, b""))

    def leads_to(location):
        return Target(lambda handler: (200, {}, PAGE) if handler.path == "/end" and
                      handler.headers.get("Authorization") == wanted else (302, {"Location": location}, b"x" * 10000))

    near, port, far = leads_to("/end"), leads_to(f"http://{end.address}/end"), leads_to(f"http://localhost:{end.port}/end")
    auth = "basic_auth: {username: me, password: pw}"
    same_as_prometheus([
        ("near", job("near", near.address, auth, "http"), True, "^$"),
        ("port", job("port", port.address, auth, "http"), True, "^$"),
        ("far", job("far", far.address, auth, "http"), False, "^server returned HTTP status 401 Unauthorized$", "differs"),
        ("not", job("not", near.address, auth + "\nfollow_redirects: false", "http"), False,
         "^server returned HTTP status 302 Found$"),
        ("loop", job("loop", loop.address, auth, "http"), False, '^Get "/metrics": stopped after 10 redirects$'),
    ])
    secret_target = Target()
    leads = Target(lambda handler: (301, {"Location": f"http://localhost:{secret_target.port}/x"}, b""))
    server = Server(config([job("headers", leads.address, "http_headers: {X-Key: {secrets: [abc]}}", "http")]))
    wait_health(server, "headers", "up")
    assert leads.requests[0][2].get("X-Key") == "abc"
    assert all("X-Key" not in r[2] and "User-Agent" in r[2] for r in secret_target.requests)
    server.stop()


# ---- files that change ----

def test_files__are_looked_at_when_used():
    """What Kubernetes rotates holds from the next scrape on, without a restart or reload."""
    folder = new_folder("rotated")
    names = {name: os.path.join(folder, name) for name in ("ca.pem", "client.pem", "client.key", "token", "secret")}

    def place(name, source):
        shutil.copy(pki.path(source), names[name] + ".new")
        os.rename(names[name] + ".new", names[name])

    place("ca.pem", "ca.pem")
    place("client.pem", "client.pem")
    place("client.key", "client.key")
    write_file(names["token"], "one\n")
    write_file(names["secret"], "first\n")
    state = {"token": "Bearer one"}
    tls, mutual = Target(cert="good"), Target(cert="good", ca="ca")
    token = Target(lambda handler: wants(state["token"])(handler))
    target, tokens = Target(wants_token), TokenServer(secret="first")
    ca = f"ca_file: {names['ca.pem']}"
    blocks = [
        job("tls", tls.address, f"tls_config: {{{ca}}}"),
        job("mutual", mutual.address, f"tls_config: {{ca_file: {pki.path('ca.pem')}, cert_file: {names['client.pem']}, "
                                      f"key_file: {names['client.key']}}}"),
        job("token", token.address, f"authorization: {{credentials_file: {names['token']}}}", "http"),
        job("oauth2", target.address, oauth2(tokens, f"client_secret_file: {names['secret']}"), "http"),
    ]
    server = Server(config(blocks))
    for pool in ("tls", "mutual", "token", "oauth2"):
        wait_health(server, pool, "up")
    place("ca.pem", "other-ca.pem")
    assert "unknown authority" in wait_health(server, "tls", "down")["lastError"]
    os.remove(names["ca.pem"])
    wait_for("no CA file", lambda: "no such file" in server.targets("tls")[0]["lastError"])
    place("ca.pem", "ca.pem")
    wait_health(server, "tls", "up")
    place("client.pem", "foreign-client.pem")
    place("client.key", "foreign-client.key")
    wait_health(server, "mutual", "down")
    place("client.pem", "client.pem")
    place("client.key", "client.key")
    wait_health(server, "mutual", "up")
    state["token"] = "Bearer two"
    wait_health(server, "token", "down")
    write_file(names["token"], "two\n")
    wait_health(server, "token", "up")
    given = tokens.given
    tokens.secret = "second"
    write_file(names["secret"], "second\n")
    wait_for("a token for the new secret", lambda: tokens.given > given)
    wait_health(server, "oauth2", "up")
    # A connection that works is kept as long as nothing changes.
    before = tls.connections
    scrapes = len(tls.requests)
    wait_for("three more scrapes", lambda: len(tls.requests) >= scrapes + 3)
    assert tls.connections == before, (before, tls.connections)
    server.stop()


def test_http_sd__has_the_same_options():
    target, tokens = Target(), TokenServer()
    groups = json.dumps([{"targets": [target.address], "labels": {"found": "yes"}}])
    secure = Target(lambda handler: (200, {"Content-Type": "application/json"}, groups), cert="good", ca="ca")
    guarded = Target(lambda handler: (200, {"Content-Type": "application/json"}, groups)
                     if wants_token(handler)[0] == 200 else (401, {}, b""))
    files = f"ca_file: {pki.path('ca.pem')}, cert_file: {pki.path('client.pem')}, key_file: {pki.path('client.key')}"
    text = ("global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: tls\n  http_sd_configs:\n"
            f"  - {{url: 'https://{secure.address}/', refresh_interval: 1s, tls_config: {{{files}}}}}\n"
            f"- job_name: oauth2\n  http_sd_configs:\n  - url: http://{guarded.address}/\n    refresh_interval: 1s\n"
            + indented(oauth2(tokens, "client_secret: 's3cret&'"), 4))
    servers = Server(text), start_prometheus(text)
    for pool in ("tls", "oauth2"):
        ours, theirs = (wait_health(server, pool, "up") for server in servers)
        assert ours["labels"] == theirs["labels"] and ours["labels"]["found"] == "yes", (ours, theirs)
    for server in servers:
        server.stop()


if __name__ == "__main__":
    harness.main(globals())
