"""A real control plane: etcd, kube-apiserver with RBAC and an aggregator, kube-controller-manager, as processes in a network
namespace of their own.

There all of 10.0.0.0/8 is this machine, so that everything has its true address: the API server 10.0.0.1:443 and, as Service
kubernetes, 10.96.0.1:443; pods 10.244.0.0/16. The API server goes to the endpoints of a Service itself
(--enable-aggregator-routing), so no kube-proxy is needed."""
import fcntl
import http.client
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import harness  # noqa: E402
from fake_kube import run_openssl  # noqa: E402
from harness import Process, new_folder, run_command, wait_for, write_file  # noqa: E402

MERGE = "application/merge-patch+json"
HOST = "10.0.0.1"
KUBECTL = os.environ["TEST_ASSET_KUBECTL"]


def set_up_network():
    """lo up, and 10.0.0.0/8 on it: what a network of the loopback device has is local."""
    with socket.socket() as s:
        def call(number, name, data):
            fcntl.ioctl(s, number, struct.pack("16s", name) + data.ljust(24, b"\0"))

        def address(text):
            return struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(text))

        call(0x8914, b"lo", struct.pack("=h", 0x41))  # SIOCSIFFLAGS: up, running
        call(0x8916, b"lo:1", address(HOST))  # SIOCSIFADDR
        call(0x891C, b"lo:1", address("255.0.0.0"))  # SIOCSIFNETMASK


class Authority:
    """Signs certificates; all files in one folder."""

    def __init__(self, name):
        self.folder = new_folder(name)
        self.crt, self.key = (os.path.join(self.folder, "ca" + end) for end in (".crt", ".key"))
        run_openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=" + name, "-keyout", self.key, "-out", self.crt)

    def issue(self, name, subject, usage="clientAuth", names=None):
        """The paths of a certificate and its key."""
        base = os.path.join(self.folder, name)
        write_file(base + ".ext", f"extendedKeyUsage={usage}\n" + (f"subjectAltName={names}\n" if names else ""))
        run_openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
                    "-keyout", base + ".key", "-out", base + ".csr")
        run_openssl("x509", "-req", "-in", base + ".csr", "-CA", self.crt, "-CAkey", self.key, "-days", "2", "-set_serial",
                    str(int.from_bytes(os.urandom(8), "big") >> 1), "-extfile", base + ".ext", "-out", base + ".crt")
        return base + ".crt", base + ".key"


class ApiError(OSError):
    """A Status; wait_for() goes on when it meets one."""

    def __init__(self, code, text):
        super().__init__(f"{code} {text[:1000]}")
        self.code = code


class ControlPlane:
    def __init__(self):
        set_up_network()
        self.cluster_ca, self.proxy_ca = Authority("cluster-ca"), Authority("front-proxy-ca")
        self.folder = new_folder("control-plane")
        self.local = threading.local()
        self.admin = self.cluster_ca.issue("admin", "/O=system:masters/CN=admin")
        self.kubeconfig = self.write_kubeconfig("admin", *self.admin)
        self.etcd = self.api_server = self.manager = None
        self.etcd_folder = None

    def write_kubeconfig(self, name, crt, key):
        return write_file(os.path.join(self.folder, name + ".kubeconfig"), json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "main",
            "clusters": [{"name": "main", "cluster": {"server": f"https://{HOST}", "certificate-authority": self.cluster_ca.crt}}],
            "users": [{"name": name, "user": {"client-certificate": crt, "client-key": key}}],
            "contexts": [{"name": "main", "context": {"cluster": "main", "user": name}}]}))

    # --- processes ---

    def start(self):
        self.start_etcd()
        self.start_api_server()
        self.start_manager()
        return self

    def start_etcd(self):
        self.etcd_folder = new_folder("etcd")
        self.etcd = Process("etcd", [
            os.environ["TEST_ASSET_ETCD"], "--data-dir=" + self.etcd_folder, "--unsafe-no-fsync", "--log-level=warn",
            "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380"], lasts=True).spawn()

    def start_api_server(self):
        if not self.api_server:
            self.api_server = Process("kube-apiserver", self.api_server_argv(), lasts=True)
        self.api_server.spawn()

        def ready():
            if not self.api_server.is_running():
                raise SystemExit("kube-apiserver ended:\n" + self.api_server.log()[-3000:])
            return self.call("GET", "/readyz") == "ok"

        wait_for("the API server is ready", ready, 120)

    def api_server_argv(self):
        signing = os.path.join(self.folder, "accounts.key")
        run_openssl("genrsa", "-out", signing, "2048")
        self.signing = signing
        serving = self.cluster_ca.issue("server", "/CN=kube-apiserver", "serverAuth",
                                        f"IP:{HOST},IP:10.96.0.1,IP:127.0.0.1,IP:10.0.0.2,DNS:kubernetes.default.svc")
        return [
            os.environ["TEST_ASSET_KUBE_APISERVER"], "--etcd-servers=http://127.0.0.1:2379", "--bind-address=0.0.0.0",
            "--secure-port=443", "--advertise-address=" + HOST, "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + signing,
            "--service-account-signing-key-file=" + signing, "--client-ca-file=" + self.cluster_ca.crt,
            "--tls-cert-file=" + serving[0], "--tls-private-key-file=" + serving[1], "--authorization-mode=RBAC",
            "--requestheader-allowed-names=front-proxy-client", "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--enable-aggregator-routing=true", *self.front_proxy_args()]

    def front_proxy_args(self):
        crt, key = self.proxy_ca.issue("front", "/CN=front-proxy-client")
        return ["--requestheader-client-ca-file=" + self.proxy_ca.crt, "--proxy-client-cert-file=" + crt,
                "--proxy-client-key-file=" + key]

    def start_manager(self):
        config = self.write_kubeconfig("manager", *self.cluster_ca.issue("manager", "/CN=system:kube-controller-manager"))
        # Nobody sends the heartbeats of nodes, so nobody may miss them.
        self.manager = Process("kube-controller-manager", [
            os.environ["TEST_ASSET_KUBE_CONTROLLER_MANAGER"], "--kubeconfig=" + config, "--use-service-account-credentials",
            "--service-account-private-key-file=" + self.signing, "--root-ca-file=" + self.cluster_ca.crt,
            "--leader-elect=false", "--secure-port=0", "--controllers=*,-node-lifecycle-controller",
            "--horizontal-pod-autoscaler-sync-period=3s", "--horizontal-pod-autoscaler-initial-readiness-delay=1s",
            "--horizontal-pod-autoscaler-cpu-initialization-period=1s"], lasts=True).spawn()
        wait_for("the default account", lambda: self.call("GET", "/api/v1/namespaces/default/serviceaccounts/default"), 120)

    def stop_api_server(self, grace_s=4):
        """As on a node that shuts down: it would wait for its watches for a minute."""
        self.api_server.signal(signal.SIGTERM)
        try:
            self.api_server.child.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.api_server.kill()

    def renew_front_proxy(self):
        """Another authority and another certificate for the front proxy, from the API server's next start on."""
        old = self.front_proxy_args()
        self.proxy_ca = Authority("front-proxy-ca-2")
        self.api_server.argv = self.api_server.argv[:-len(old)] + self.front_proxy_args()

    # --- requests as its administrator ---

    def connection(self):
        if getattr(self.local, "connection", None) is None:
            context = ssl.create_default_context(cafile=self.cluster_ca.crt)
            context.load_cert_chain(*self.admin)
            self.local.connection = http.client.HTTPSConnection(HOST, 443, timeout=30, context=context)
        return self.local.connection

    def call(self, method, path, body=None, content_type="application/json"):
        """The answer's document, or its text when it is none."""
        for again in (True, False):
            connection = self.connection()
            try:
                connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": content_type})
                answer = connection.getresponse()
                text = answer.read().decode()
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                self.local.connection = None
                if not again:
                    raise
        if answer.status >= 300:
            raise ApiError(answer.status, text)
        return json.loads(text) if answer.getheader("Content-Type", "").startswith("application/json") else text

    def items(self, path):
        return self.call("GET", path)["items"]

    def create(self, path, name, kind_and_version, **body):
        version, _, kind = kind_and_version.rpartition("/")
        meta = dict(body.pop("metadata", {}), name=name)
        return self.call("POST", path, dict(body, apiVersion=version, kind=kind, metadata=meta))

    def patch(self, path, body):
        return self.call("PATCH", path, body, MERGE)

    def delete(self, path, **options):
        return self.call("DELETE", path, dict(options, kind="DeleteOptions", apiVersion="v1"))

    def token(self, namespace, account, bound=None):
        """As kubectl create token; bound to a Secret it ends with that."""
        spec = {"expirationSeconds": 600, "audiences": []}
        if bound:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Secret", "name": bound}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return self.call("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                                        "spec": spec})["status"]["token"]

    def kubectl(self, *words, stdin="", fails=False, config=None):
        code, out, err = run_command([KUBECTL, *words], stdin.encode(), timeout=120,
                                     env={"KUBECONFIG": config or self.kubeconfig, "HOME": self.folder})
        assert (code != 0) == fails, (words, code, out, err)
        return err if fails else out

    def raw(self, path, **more):
        out = self.kubectl("get", "--raw", path, **more)
        return out if more.get("fails") else json.loads(out)

    # --- what goes wrong in a cluster ---

    def compact(self):
        """etcd forgets all that is not current."""
        def post(path, body):
            connection = http.client.HTTPConnection("127.0.0.1", 2379, timeout=15)
            connection.request("POST", path, json.dumps(body))
            answer = json.loads(connection.getresponse().read())
            connection.close()
            return answer

        revision = post("/v3/kv/range", {"key": "eA=="})["header"]["revision"]
        post("/v3/kv/compaction", {"revision": revision, "physical": True})

    def lose_everything(self):
        """The cluster as made anew: versions start over."""
        for process in (self.manager, self.api_server, self.etcd):
            process.kill()
        self.start()


class Relay:
    """A TCP relay in front of the API server, whose connections can be cut or refused."""

    def __init__(self):
        self.open, self.pairs = True, []
        self.listener = socket.create_server(("10.0.0.2", 6443), backlog=64)
        self.url = "https://10.0.0.2:6443"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            if not self.open:
                client.close()
                continue
            try:
                server = socket.create_connection((HOST, 443), timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self.pairs.append((client, server))
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    @staticmethod
    def copy(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                s.close()
