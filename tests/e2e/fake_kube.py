"""A stand-in for a Kubernetes API server: lists in pages and watches, with versions, bookmarks, selectors and the
failures of the real one, reviews of tokens and access, merge patches, over TLS with authorities of its own. Standard
library, and the openssl command.

    kube = FakeKube(folder, tokens={"secret"})
    kube.put("pods", {"metadata": {"namespace": "ns", "name": "a"}, ...})     kube.delete("pods", "ns", "a")
    kube.users["token"] = {"username": "alice", "groups": ["dev"]}     kube.allow = lambda spec: (True, "RBAC")
"""
import base64
import http.server
import json
import os
import re
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import urllib.parse

KINDS = {
    "nodes": ("v1", "Node"),
    "pods": ("v1", "Pod"),
    "services": ("v1", "Service"),
    "endpoints": ("v1", "Endpoints"),
    "namespaces": ("v1", "Namespace"),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
    "ingresses": ("networking.k8s.io/v1", "Ingress"),
    "replicasets": ("apps/v1", "ReplicaSet"),
    "jobs": ("batch/v1", "Job"),
    "configmaps": ("v1", "ConfigMap"),
    "apiservices": ("apiregistration.k8s.io/v1", "APIService"),
}
PATH = re.compile(r"^(/api/v1|/apis/[a-z0-9.]+/v1)(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?$")


def run_openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Certificates:
    """An authority, a server certificate for 127.0.0.1 and a client certificate, as PEM files in a folder."""

    def __init__(self, folder, name="kube"):
        def path(suffix):
            return os.path.join(folder, f"{name}-{suffix}")

        self.ca, self.ca_key = path("ca.crt"), path("ca.key")
        self.server, self.server_key = path("server.crt"), path("server.key")
        self.client, self.client_key = path("client.crt"), path("client.key")
        run_openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", f"/CN={name}-authority", "-keyout", self.ca_key, "-out", self.ca)
        self.issue(self.server, self.server_key, "kube-apiserver",
                   "subjectAltName=IP:127.0.0.1,DNS:kubernetes.default.svc\nextendedKeyUsage=serverAuth\n", path("s"))
        self.issue(self.client, self.client_key, "narthex", "extendedKeyUsage=clientAuth\n", path("c"))

    def issue(self, cert, key, name, extensions, scratch):
        with open(scratch + ".ext", "w") as f:
            f.write(extensions)
        run_openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                    "-keyout", key, "-out", scratch + ".csr")
        run_openssl("x509", "-req", "-in", scratch + ".csr", "-CA", self.ca, "-CAkey", self.ca_key, "-days", "2",
                    "-set_serial", str(int.from_bytes(os.urandom(8), "big") >> 1), "-extfile", scratch + ".ext", "-out",
                    cert)


def parse_selector(text):
    """Terms of name=value, name==value, name!=value, name, !name."""
    terms = []
    for term in filter(None, (text or "").split(",")):
        match = re.match(r"^([^=!]+)(==|=|!=)(.*)$", term)
        if match:
            terms.append((match[1], match[2] == "!=", match[3]))
        else:
            terms.append((term.lstrip("!"), term.startswith("!"), None))
    return terms


def field_of(item, path):
    for name in path.split("."):
        item = item.get(name) if isinstance(item, dict) else None
    return "" if item is None else str(item)


class Selection:
    def __init__(self, resource, namespace, query):
        self.resource, self.namespace = resource, namespace
        self.labels = parse_selector(query.get("labelSelector"))
        self.fields = parse_selector(query.get("fieldSelector"))

    def has(self, item):
        if item is None or (self.namespace and item["metadata"].get("namespace") != self.namespace):
            return False
        labels = item["metadata"].get("labels") or {}
        for name, negated, value in self.labels:
            found = name in labels if value is None else labels.get(name) == value
            if found == negated:
                return False
        return all((field_of(item, name) == value) != negated for name, negated, value in self.fields)


class Refused(Exception):
    def __init__(self, code, reason, message):
        super().__init__(message)
        self.code = code
        self.status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                       "reason": reason, "code": code}


class FakeKube:
    def __init__(self, certificates=None, tokens=(), port=0):
        self.change = threading.Condition()
        self.items = {resource: {} for resource in KINDS}
        self.log = []  # (version, resource, before, after)
        self.version = 100
        self.compacted = 0  # Watches from below and continue tokens from below are gone.
        self.pages = {}  # continue token: (version, items)
        self.tokens = set(tokens)
        self.users = {}  # token: user, for TokenReview.
        self.allow = lambda spec: (True, "")  # For SubjectAccessReview.
        self.reviews = []  # (kind, spec)
        self.certificates = certificates
        self.requests = []  # (path, query, headers)
        self.refusals = []  # [path pattern, code, reason]
        self.epoch = 0  # Watches of an older one are cut.
        self.cut_inside = False
        self.bookmark_s = 60
        self.write_bytes = None  # Answers in portions of this size, with a pause between.
        self.write_pause_s = 0.0
        self.watching = 0
        self.closed = False
        kube = self

        class Handler(KubeHandler):
            pass

        Handler.kube = kube

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass  # Peers go as they please.

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        if certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates.server, certificates.server_key)
            context.load_verify_locations(certificates.ca)
            context.verify_mode = ssl.CERT_OPTIONAL
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.url = f"{'https' if certificates else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        with self.change:
            self.closed = True
            self.epoch += 1
            self.change.notify_all()
        self.server.shutdown()
        self.server.server_close()

    # --- what happens in the cluster ---

    def put(self, resource, item):
        with self.change:
            self.version += 1
            meta = dict(item["metadata"], resourceVersion=str(self.version))
            item = dict(item, metadata=meta)
            key = (meta.get("namespace", ""), meta["name"])
            self.log.append((self.version, resource, self.items[resource].get(key), item))
            self.items[resource][key] = item
            self.change.notify_all()

    def delete(self, resource, namespace, name):
        with self.change:
            self.version += 1
            before = self.items[resource].pop((namespace, name))
            before = dict(before, metadata=dict(before["metadata"], resourceVersion=str(self.version)))
            self.log.append((self.version, resource, before, None))
            self.change.notify_all()

    def compact(self):
        """History is gone: versions of before give 410."""
        with self.change:
            self.version += 1
            self.compacted = self.version
            self.pages = {}

    def start_over(self):
        """The store is set up again: nothing is there, and versions begin anew."""
        with self.change:
            self.items = {resource: {} for resource in KINDS}
            self.log, self.pages, self.version, self.compacted = [], {}, 1, 0

    def cut_watches(self, inside=False):
        """Breaks the connections of all watches, in the middle of an event or between two."""
        with self.change:
            self.cut_inside = inside
            self.epoch += 1
            self.change.notify_all()

    def refuse(self, pattern, code, reason):
        with self.change:
            self.refusals.append((re.compile(pattern), code, reason))

    def accept(self):
        with self.change:
            self.refusals = []

    def count(self, pattern, watch=None):
        """Requests; lists of one item only ask for the version and do not count."""
        with self.change:
            return sum(1 for path, query, _ in self.requests
                       if re.search(pattern, path) and (watch is None or ("watch" in query) == watch)
                       and query.get("limit") != "1")


class Gone(Exception):
    pass


class KubeHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kube = None

    def log_message(self, *_):
        pass

    def send_bytes(self, data):
        kube = self.kube
        step = kube.write_bytes or len(data) or 1
        for at in range(0, len(data), step):
            self.wfile.write(data[at:at + step])
            self.wfile.flush()
            if kube.write_bytes:
                time.sleep(kube.write_pause_s)

    def send_document(self, code, document):
        body = json.dumps(document, separators=(",", ":")).encode() + b"\n"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.send_bytes(body)

    def check(self, path):
        kube = self.kube
        certificate = self.connection.getpeercert() if kube.certificates else None
        authorization = self.headers.get("Authorization", "")
        known = bool(certificate) or not kube.tokens or authorization.removeprefix("Bearer ") in kube.tokens
        if not known:
            raise Refused(401, "Unauthorized", "Unauthorized")
        for pattern, code, reason in kube.refusals:
            if pattern.search(path):
                raise Refused(code, reason, f"{path} is {reason.lower()} to this user")

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        query = {name: values[0] for name, values in urllib.parse.parse_qs(parts.query).items()}
        with self.kube.change:
            self.kube.requests.append((parts.path, query, dict(self.headers)))
        try:
            self.check(self.path)
            if parts.path == "/version":
                self.send_document(200, {"major": "1", "minor": "31", "gitVersion": "v1.31.0"})
                return
            match = PATH.match(parts.path)
            if not match or match[3] not in KINDS:
                raise Refused(404, "NotFound", "the server could not find the requested resource")
            selection = Selection(match[3], match[2], query)
            if match[4]:
                self.send_document(200, self.one(match))
            elif query.get("watch") in ("1", "true"):
                self.send_watch(selection, query)
            else:
                self.send_document(200, self.list_page(selection, query))
        except Refused as e:
            self.send_document(e.code, e.status)
        except (Gone, ConnectionError, ssl.SSLError, TimeoutError):
            self.close_connection = True

    def one(self, match):
        kube = self.kube
        with kube.change:
            item = kube.items[match[3]].get((match[2] or "", match[4]))
        if item is None:
            raise Refused(404, "NotFound", f'{match[3]} "{match[4]}" not found')
        api, kind = KINDS[match[3]]
        return dict({"kind": kind, "apiVersion": api}, **item)

    # --- reviews and patches ---

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        kube = self.kube
        with kube.change:
            kube.requests.append((self.path, {}, dict(self.headers)))
            kube.reviews.append((body.get("kind"), body.get("spec")))
        try:
            self.check(self.path)
            if self.path == "/apis/authentication.k8s.io/v1/tokenreviews":
                user = kube.users.get(body["spec"]["token"])
                status = {"authenticated": True, "user": user} if user else {"user": {}, "error": "invalid bearer token"}
            elif self.path == "/apis/authorization.k8s.io/v1/subjectaccessreviews":
                allowed, reason = kube.allow(body["spec"])
                status = {"allowed": allowed, "reason": reason}
            else:
                raise Refused(404, "NotFound", "the server could not find the requested resource")
            self.send_document(201, dict(body, status=status))
        except Refused as e:
            self.send_document(e.code, e.status)
        except (ConnectionError, ssl.SSLError, TimeoutError):
            self.close_connection = True

    @staticmethod
    def merge(item, patch):
        """RFC 7386."""
        if not isinstance(patch, dict):
            return patch
        out = dict(item) if isinstance(item, dict) else {}
        for name, value in patch.items():
            if value is None:
                out.pop(name, None)
            else:
                out[name] = KubeHandler.merge(out.get(name), value)
        return out

    def do_PATCH(self):
        patch = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        with self.kube.change:
            self.kube.requests.append((self.path, {}, dict(self.headers)))
        try:
            self.check(self.path)
            match = PATH.match(self.path)
            if not match or match[3] not in KINDS or not match[4]:
                raise Refused(404, "NotFound", "the server could not find the requested resource")
            if self.headers.get("Content-Type") != "application/merge-patch+json":
                raise Refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
            item = self.merge(self.one(match), patch)
            spec = item.get("spec", {})
            if match[3] == "apiservices" and spec.get("caBundle") and spec.get("insecureSkipTLSVerify"):
                raise Refused(422, "Invalid", "spec.insecureSkipTLSVerify: Invalid value: may not be true if caBundle is present")
            self.kube.put(match[3], item)
            self.send_document(200, self.one(match))
        except Refused as e:
            self.send_document(e.code, e.status)
        except (ConnectionError, ssl.SSLError, TimeoutError):
            self.close_connection = True

    def list_page(self, selection, query):
        kube = self.kube
        with kube.change:
            token = query.get("continue")
            if token:
                if token not in kube.pages:
                    raise Refused(410, "Expired", "The provided continue parameter is too old")
                version, items = kube.pages[token]
            else:
                version = kube.version
                items = [item for _, item in sorted(kube.items[selection.resource].items()) if selection.has(item)]
            # From the watch cache, which version 0 allows, all comes at once.
            limit = int(query.get("limit", 0)) if query.get("resourceVersion") != "0" else 0
            meta = {"resourceVersion": str(version)}
            if limit and len(items) > limit:
                fresh = base64.urlsafe_b64encode(os.urandom(12)).decode() + "=="
                kube.pages[fresh] = (version, items[limit:])
                meta.update({"continue": fresh, "remainingItemCount": len(items) - limit})
                items = items[:limit]
        api, kind = KINDS[selection.resource]
        return {"kind": kind + "List", "apiVersion": api, "metadata": meta, "items": items}

    # --- watches ---

    def send_chunk(self, data):
        self.send_bytes(b"%x\r\n%s\r\n" % (len(data), data))

    def send_event(self, kind, item):
        self.send_chunk(json.dumps({"type": kind, "object": item}, separators=(",", ":")).encode() + b"\n")

    def send_watch(self, selection, query):
        kube = self.kube
        version = int(query.get("resourceVersion") or 0)
        with kube.change:  # From a version that has not been yet it is a watch that says nothing.
            gone, epoch = version < kube.compacted, kube.epoch
            kube.watching += 1
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if gone:
                self.send_event("ERROR", Refused(410, "Expired", f"too old resource version: {version}").status)
            else:
                self.watch_on(selection, query, version, epoch)
            self.send_bytes(b"0\r\n\r\n")
        finally:
            with kube.change:
                kube.watching -= 1

    def event_of(self, selection, before, after):
        api, kind = KINDS[selection.resource]
        had, has = selection.has(before), selection.has(after)
        if not had and not has:
            return None
        item = after if has else dict(before)
        name = "DELETED" if not has else "MODIFIED" if had else "ADDED"
        return name, dict({"kind": kind, "apiVersion": api}, **item)

    def cut(self):
        if self.kube.cut_inside:
            self.wfile.write(b'40\r\n{"type":"ADDED","object":{"metad')
            self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        raise Gone()

    def watch_on(self, selection, query, version, epoch):
        kube = self.kube
        end = time.monotonic() + float(query.get("timeoutSeconds", 300))
        bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
        next_bookmark = time.monotonic() + kube.bookmark_s
        while True:
            with kube.change:
                fresh = [entry for entry in kube.log if entry[0] > version and entry[1] == selection.resource]
                current = kube.version
                if not fresh and kube.epoch == epoch:
                    kube.change.wait(min(0.1, max(0.0, end - time.monotonic())))
            if kube.epoch != epoch:
                self.cut()
            for at, _, before, after in fresh:
                event = self.event_of(selection, before, after)
                version = at
                if event:
                    self.send_event(*event)
            if bookmarks and time.monotonic() > next_bookmark:
                api, kind = KINDS[selection.resource]
                next_bookmark = time.monotonic() + kube.bookmark_s
                if not fresh:
                    version = max(version, current)
                self.send_event("BOOKMARK", {"kind": kind, "apiVersion": api,
                                             "metadata": {"resourceVersion": str(version), "creationTimestamp": None}})
            if time.monotonic() > end:
                return
