"""Who may ask the metrics APIs: the aggregator behind its front proxy, users with certificates and tokens, strangers; the
certificate of the listener, made or given; authorities that rotate. The API server is the fake one."""
import base64
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess

import harness
from fake_kube import Certificates, FakeKube, run_openssl
from harness import Server, free_port, new_folder, run_command, wait_for, write_file

SERVICE = "narthex-metrics.ode"
NAMES = ("v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io")
GROUP = "/apis/custom.metrics.k8s.io/v1beta1"
KEYS = GROUP + "/namespaces/ode/services/redis-exporter/redis_db_keys"
MAP = "extension-apiserver-authentication"


class Authority:
    """Signs certificates of clients."""

    def __init__(self, name):
        self.folder = new_folder(name)
        self.crt, self.key = (os.path.join(self.folder, "ca" + end) for end in (".crt", ".key"))
        run_openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9",
                    "-subj", "/CN=" + name, "-keyout", self.key, "-out", self.crt)

    def pem(self):
        with open(self.crt, encoding="ascii") as f:
            return f.read()

    def issue(self, subject, days="9", usage="clientAuth", names=None):
        """The paths of a certificate and its key."""
        base = os.path.join(self.folder, str(len(os.listdir(self.folder))))
        write_file(base + ".ext", f"extendedKeyUsage={usage}\n" + (f"subjectAltName={names}\n" if names else ""))
        run_openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
                    "-keyout", base + ".key", "-out", base + ".csr")
        run_openssl("x509", "-req", "-in", base + ".csr", "-CA", self.crt, "-CAkey", self.key, "-days", days, "-set_serial",
                    str(int.from_bytes(os.urandom(8), "big") >> 1), "-extfile", base + ".ext", "-out", base + ".crt")
        return base + ".crt", base + ".key"


proxy_ca, other_ca, user_ca = Authority("front-proxy-ca"), Authority("other-ca"), Authority("cluster-ca")
FRONT = proxy_ca.issue("/CN=front-proxy-client")
api_certificates = Certificates(new_folder("api"))


def set_map(kube, proxy):
    kube.put("configmaps", {"metadata": {"namespace": "kube-system", "name": MAP}, "data": {
        "client-ca-file": user_ca.pem(), "requestheader-client-ca-file": proxy.pem(),
        "requestheader-allowed-names": '["front-proxy-client"]', "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-group-headers": '["X-Remote-Group"]', "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]'}})


def new_kube():
    kube = FakeKube(api_certificates, tokens={"our-token"})
    set_map(kube, proxy_ca)
    for name in NAMES:
        kube.put("apiservices", {"metadata": {"name": name}, "spec": {"insecureSkipTLSVerify": True}})
    kube.users["alices-token"] = {"username": "alice", "groups": ["dev"]}
    kube.allow = allow
    return kube


def allow(spec):
    """What RBAC says here: the autoscaler and alice may read, everybody who is known may discover."""
    if "nonResourceAttributes" in spec:
        return "system:authenticated" in spec.get("groups", []), ""
    good = spec["user"] in ("alice", "bob", "system:serviceaccount:kube-system:horizontal-pod-autoscaler")
    return good, "" if good else "no RBAC policy matched"


class Metrics(Server):
    def __init__(self, kube, args=(), made=True, **more):
        self.kube_port = free_port()
        token = write_file(os.path.join(new_folder("token"), "token"), "our-token\n")
        args = [f"--kube.listen-address=127.0.0.1:{self.kube_port}", "--kube.api-server=" + kube.url,
                "--kube.api-server.token-file=" + token, "--kube.api-server.ca-file=" + api_certificates.ca, *args]
        if made:
            args += ["--kube.service=" + SERVICE, "--kube.api-services=" + ",".join(NAMES)]
        super().__init__(args=args, **more)


def bundle(kube, name=NAMES[0]):
    with kube.change:
        spec = kube.items["apiservices"][("", name)]["spec"]
    assert not spec["insecureSkipTLSVerify"]
    return base64.b64decode(spec["caBundle"]).decode()


def ask(server, path, trust, pair=None, headers=(), name=SERVICE + ".svc", method="GET"):
    """As the aggregator: the certificate has to have the Service's name."""
    context = ssl.create_default_context(cadata=trust)
    if pair:
        context.load_cert_chain(*pair)
    with socket.create_connection(("127.0.0.1", server.kube_port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=name) as secure:
            lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1:443", "Accept: application/json", *headers]
            secure.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            answer = http.client.HTTPResponse(secure)
            answer.begin()
            return answer.status, answer.read().decode()


def as_user(name, *groups):
    return ["X-Remote-User: " + name, *("X-Remote-Group: " + group for group in groups)]


AGGREGATOR = as_user("system:kube-aggregator", "system:masters")
HPA = as_user("system:serviceaccount:kube-system:horizontal-pod-autoscaler", "system:serviceaccounts",
              "system:serviceaccounts:kube-system", "system:authenticated")


def status_of(answer):
    code, text = answer
    status = json.loads(text)
    assert status["kind"] == "Status" and status["status"] == "Failure" and status["code"] == code, status
    return code, status["reason"], status["message"]


# ---- the front proxy ----

def test_front_proxy__speaks_for_users():
    kube = new_kube()
    server = Metrics(kube)
    wait_for("the caBundle is set", lambda: all(bundle(kube, name) for name in NAMES))
    trust = bundle(kube)
    assert trust == bundle(kube, NAMES[1])
    wait_for("the ConfigMap is read", lambda: kube.count(MAP) or kube.count("/configmaps", watch=True))
    wait_for("available", lambda: ask(server, GROUP, trust, FRONT, AGGREGATOR)[0] == 200)
    # The discovery of the API server comes without a group.
    assert ask(server, "/apis", trust, FRONT, as_user("system:aggregator"))[0] == 200
    # Whether there is such a metric is not the question here.
    assert ask(server, KEYS, trust, FRONT, HPA)[0] in (200, 404)
    with kube.change:
        spec = [s for kind, s in kube.reviews if kind == "SubjectAccessReview" and "resourceAttributes" in s][-1]
    assert spec["user"].endswith("horizontal-pod-autoscaler") and "system:authenticated" in spec["groups"], spec
    assert spec["resourceAttributes"] == {
        "namespace": "ode", "verb": "get", "group": "custom.metrics.k8s.io", "version": "v1beta1", "resource": "services",
        "subresource": "redis_db_keys", "name": "redis-exporter"}, spec
    code, reason, message = status_of(ask(server, GROUP + "/namespaces/ode/pods/%2A/redis_db_keys", trust, FRONT,
                                          as_user("eve", "system:authenticated")))
    assert (code, reason) == (403, "Forbidden")
    assert message.startswith('pods.custom.metrics.k8s.io "*" is forbidden: User "eve" cannot get resource '
                              '"pods/redis_db_keys" in API group "custom.metrics.k8s.io" in the namespace "ode"'), message
    # Answers are kept: the autoscaler's hundred questions are one review.
    before = len(kube.reviews)
    for _ in range(20):
        ask(server, KEYS, trust, FRONT, HPA)
    assert len(kube.reviews) <= before + 2, (before, len(kube.reviews))
    server.stop()
    kube.close()


def test_strangers__are_refused_and_health_is_open():
    kube = new_kube()
    server = Metrics(kube)
    trust = wait_for("the caBundle is set", lambda: bundle(kube))
    wait_for("available", lambda: ask(server, GROUP, trust, FRONT, AGGREGATOR)[0] == 200)
    for path in ("/healthz", "/livez", "/readyz"):
        assert ask(server, path, trust)[0] == 200, path
    before = len(kube.reviews)
    for pair in (proxy_ca.issue("/CN=eve"), proxy_ca.issue("/CN=front-proxy-client", days="-1"),
                 proxy_ca.issue("/CN=front-proxy-client", usage="serverAuth"), other_ca.issue("/CN=front-proxy-client")):
        assert status_of(ask(server, KEYS, trust, pair, AGGREGATOR)) == (401, "Unauthorized", "Unauthorized")
        assert ask(server, "/readyz", trust, pair)[0] == 200
    assert len(kube.reviews) == before
    # Nobody's headers are worth anything; a user's neither.
    code, reason, message = status_of(ask(server, KEYS, trust, None, AGGREGATOR))
    assert (code, reason) == (403, "Forbidden") and 'User "system:anonymous"' in message, message
    assert ask(server, GROUP, trust, None, AGGREGATOR)[0] == 403
    bob = user_ca.issue("/O=dev/CN=bob")
    assert ask(server, KEYS, trust, bob, AGGREGATOR)[0] in (200, 404)
    with kube.change:
        assert any(spec["user"] == "bob" and spec["groups"] == ["dev", "system:authenticated"]
                   for kind, spec in kube.reviews if kind == "SubjectAccessReview"), kube.reviews
    mallory = user_ca.issue("/O=dev/CN=mallory")
    assert status_of(ask(server, KEYS, trust, mallory, AGGREGATOR))[0] == 403
    server.stop()
    kube.close()


def test_tokens__are_reviewed():
    kube = new_kube()
    server = Metrics(kube)
    trust = wait_for("the caBundle is set", lambda: bundle(kube))
    assert ask(server, KEYS, trust, None, ["Authorization: Bearer alices-token"])[0] in (200, 404)
    assert ask(server, GROUP, trust, None, ["Authorization: Bearer alices-token"])[0] == 200
    assert status_of(ask(server, KEYS, trust, None, ["Authorization: Bearer wrong"])) == (401, "Unauthorized", "Unauthorized")
    reviews = [spec for kind, spec in kube.reviews if kind == "TokenReview"]
    assert reviews == [{"token": "alices-token"}, {"token": "wrong"}], reviews
    if shutil.which("kubectl"):
        kubectl = ["kubectl", "--server", f"https://127.0.0.1:{server.kube_port}", "--insecure-skip-tls-verify"]
        env = {"KUBECONFIG": "/dev/null", "HOME": new_folder("home")}
        code, out, err = run_command([*kubectl, "--token", "alices-token", "get", "--raw", GROUP], env=env)
        assert code == 0 and json.loads(out)["kind"] == "APIResourceList", (out, err)
        code, out, err = run_command([*kubectl, "--token", "wrong", "get", "--raw", GROUP], env=env)
        assert code == 1 and "nauthorized" in err, (code, out, err)
    # Nobody gets in because the API server is away, and nobody waits long for it.
    kube.refuse("reviews", 500, "InternalError")
    code, reason, _ = status_of(ask(server, KEYS, trust, None, ["Authorization: Bearer another"]))
    assert (code, reason) == (500, "InternalError")
    kube.close()
    code, reason, _ = status_of(ask(server, KEYS, trust, None, ["Authorization: Bearer third"]))
    assert (code, reason) == (500, "InternalError")
    assert ask(server, "/livez", trust)[0] == 200
    assert server.stop() == 0


# ---- what rotates ----

def test_authorities__rotate():
    kube = new_kube()
    server = Metrics(kube)
    trust = wait_for("the caBundle is set", lambda: bundle(kube))
    wait_for("available", lambda: ask(server, GROUP, trust, FRONT, AGGREGATOR)[0] == 200)
    new_front = other_ca.issue("/CN=front-proxy-client")
    assert ask(server, GROUP, trust, new_front, AGGREGATOR)[0] == 401
    wait_for("watched", lambda: kube.watching > 0)
    set_map(kube, other_ca)
    wait_for("the new authority", lambda: ask(server, GROUP, trust, new_front, AGGREGATOR)[0] == 200)
    assert ask(server, GROUP, trust, FRONT, AGGREGATOR)[0] == 401
    # A map that is nonsense, and one that is gone, change nothing.
    kube.put("configmaps", {"metadata": {"namespace": "kube-system", "name": MAP}, "data": {
        "requestheader-client-ca-file": "junk"}})
    wait_for("it is said", lambda: "Cannot read who may ask" in server.log())
    assert ask(server, GROUP, trust, new_front, AGGREGATOR)[0] == 200
    set_map(kube, proxy_ca)
    wait_for("the old authority", lambda: ask(server, GROUP, trust, FRONT, AGGREGATOR)[0] == 200)
    # An authority of ours outlives a restart, so the caBundle stays good.
    assert server.stop() == 0
    server.start()
    wait_for("available again", lambda: ask(server, GROUP, trust, FRONT, AGGREGATOR)[0] == 200)
    assert bundle(kube) == trust
    assert server.stop() == 0
    kube.close()


def test_certificate__may_be_given():
    kube = new_kube()
    folder = new_folder("given")
    crt, key = os.path.join(folder, "tls.crt"), os.path.join(folder, "tls.key")
    authority = Authority("given-ca")

    def place(subject):
        pair = authority.issue(subject, usage="serverAuth", names="DNS:" + SERVICE + ".svc")
        for source, to in zip(pair, (crt, key)):
            shutil.copy(source, to + ".new")
            os.rename(to + ".new", to)

    def shown():
        context = ssl.create_default_context(cadata=authority.pem())
        with socket.create_connection(("127.0.0.1", server.kube_port), timeout=30) as plain:
            with context.wrap_socket(plain, server_hostname=SERVICE + ".svc") as secure:
                return dict(part[0] for part in secure.getpeercert()["subject"])["commonName"]

    place("/CN=first")
    server = Metrics(kube, [f"--kube.cert-file={crt}", f"--kube.key-file={key}",
                            f"--kube.requestheader-client-ca-file={proxy_ca.crt}"], made=False)
    assert shown() == "first"
    # With the proxies' authority in a file no ConfigMap is asked for.
    assert ask(server, GROUP, authority.pem(), FRONT, AGGREGATOR)[0] == 200
    assert kube.count("/configmaps") == 0
    place("/CN=second")
    assert shown() == "second"
    write_file(key, "junk")
    assert shown() == "second"
    assert server.stop() == 0
    kube.close()
    # What is not there ends the start.
    for args, words in ((["--kube.cert-file=" + crt], "belong together"), ([], "--kube.service"),
                        (["--kube.service=x"], "NAME.NAMESPACE")):
        code, out, err = run_command([harness.NARTHEX, "--config.file=" + server.config_path, "--storage.tsdb.path="
                                      + new_folder("data"), f"--web.listen-address=127.0.0.1:{free_port()}",
                                      f"--kube.listen-address=127.0.0.1:{free_port()}", *args])
        assert code == 1 and words in out + err, (args, code, out, err)


if __name__ == "__main__":
    if "--kube.listen-address" in run_command([harness.NARTHEX, "--help"])[1]:
        harness.main(globals())
    else:
        print("skipped: this build has no listener for the metrics APIs")
