"""A node's agent as small as a test needs it: takes every pod, gives it an address of 10.244.0.0/16 and says that it runs.

Containers of our image really run: in the root directory that deploy/rootfs.sh makes, read-only, as the pod's user, with its
arguments, environment and volumes (ConfigMaps and tokens as links of a folder ..data that is replaced, as kubelets do), and
their probes are asked. All of them share the namespace of the test, so two of them may not listen on one port. Other images
run in name only. Serves the metrics of containers as a kubelet does."""
import atexit
import base64
import http.client
import http.server
import os
import re
import shutil
import socketserver
import ssl
import subprocess
import threading
import time
import traceback

import harness
from control_plane import HOST, ApiError
from harness import Process, new_folder, write_file

OUR_IMAGE = re.compile(r"^narthex:")
ROOTFS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "rootfs.sh")
METRICS_PORT = 10260
USER = 65534


def now_text():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def mount(*words):
    subprocess.run(["mount", *words], check=True)


class Volume:
    """A folder whose files are links into ..data, itself a link to a folder that is replaced as a whole."""

    def __init__(self, path):
        self.path, self.files, self.round = path, None, 0

    def set(self, files):
        if files == self.files:
            return
        self.files, self.round = files, self.round + 1
        fresh = os.path.join(self.path, f"..{self.round}")
        os.mkdir(fresh)
        for name, text in files.items():
            write_file(os.path.join(fresh, name), text)
            if not os.path.lexists(os.path.join(self.path, name)):
                os.symlink(os.path.join("..data", name), os.path.join(self.path, name))
        os.symlink(os.path.basename(fresh), os.path.join(self.path, "..data.new"))
        os.rename(os.path.join(self.path, "..data.new"), os.path.join(self.path, "..data"))
        shutil.rmtree(os.path.join(self.path, f"..{self.round - 1}"), ignore_errors=True)


class Pod:
    def __init__(self, item, ip):
        meta = item["metadata"]
        self.item, self.ip, self.uid = item, ip, meta["uid"]
        self.namespace, self.name = meta["namespace"], meta["name"]
        self.path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self.container = item["spec"]["containers"][0]
        self.process = self.root = self.shown = None
        self.volumes = {}  # name: Volume
        self.ready = self.started = False


class Kubelet:
    def __init__(self, plane, nodes=("node-1",), hosts=None):
        self.plane, self.nodes, self.hosts = plane, nodes, hosts or {}
        self.pods = {}  # uid: Pod
        self.next_ip = 2
        self.claims = {}  # name of a claim: its folder
        self.folder = new_folder("kubelet")
        self.rootfs = None
        self.loads = {}  # beginning of the pods' names: (cores of all together, bytes of each)
        self.cpu_s, self.node_cpu_s, self.metrics_s = {}, 0.0, time.time()
        self.closed = False
        for name in nodes:
            self.add_node(name)
        self.serve_metrics()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        atexit.register(self.close)

    def close(self):
        self.closed = True
        self.thread.join()
        for pod in self.pods.values():
            self.stop(pod)

    def add_node(self, name):
        self.plane.create("/api/v1/nodes", name, "v1/Node", metadata={"labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "disk-type": "ssd"}})
        self.plane.patch(f"/api/v1/nodes/{name}/status", {"status": {
            "addresses": [{"type": "InternalIP", "address": HOST}, {"type": "Hostname", "address": name}],
            "capacity": {"cpu": "8", "memory": "16Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
                            "lastHeartbeatTime": now_text(), "lastTransitionTime": now_text()}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": METRICS_PORT}}}})

    # --- the loop ---

    def run(self):
        while not self.closed:
            try:
                self.sync()
            except (ConnectionError, http.client.HTTPException):
                pass  # The API server is away: some tests are about that.
            except (OSError, KeyError):
                traceback.print_exc()
            time.sleep(0.25)

    def sync(self):
        items = self.plane.items("/api/v1/pods")
        here = {item["metadata"]["uid"] for item in items}
        for uid in set(self.pods) - here:
            self.stop(self.pods.pop(uid))
        for item in items:
            try:
                self.sync_pod(item)
            except ApiError as e:
                if e.code not in (404, 409):  # It has changed or gone meanwhile.
                    raise

    def sync_pod(self, item):
        meta = item["metadata"]
        pod = self.pods.get(meta["uid"])
        if meta.get("deletionTimestamp"):
            if pod:
                self.stop(pod)
            self.plane.delete(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", gracePeriodSeconds=0)
            return
        if not pod:
            pod = self.pods[meta["uid"]] = Pod(item, f"10.244.{self.next_ip >> 8}.{self.next_ip & 255}")
            self.next_ip += 1
        if not item["spec"].get("nodeName"):
            node = self.nodes[self.next_ip % len(self.nodes)]
            self.plane.create(pod.path + "/binding", pod.name, "v1/Binding", target={"kind": "Node", "name": node})
        if OUR_IMAGE.match(pod.container["image"]):
            self.fill_volumes(pod)
            if not pod.process:
                self.start(pod)
            self.probe(pod)
        else:
            pod.ready = pod.started = True
        self.tell(pod)

    def tell(self, pod):
        state = {"running": {"startedAt": now_text()}}
        shown = (pod.ready, pod.started)
        if shown == pod.shown:
            return
        self.plane.patch(pod.path + "/status", {"status": {
            "phase": "Running", "hostIP": HOST, "podIP": pod.ip, "podIPs": [{"ip": pod.ip}],
            "startTime": pod.item["metadata"]["creationTimestamp"],
            "conditions": [{"type": kind, "status": "True" if pod.ready or kind == "PodScheduled" else "False",
                            "lastTransitionTime": now_text()}
                           for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")],
            "containerStatuses": [{
                "name": container["name"], "image": container["image"], "imageID": "", "ready": pod.ready,
                "started": pod.started, "restartCount": 0, "state": state, "containerID": "containerd://" + pod.uid}
                for container in pod.item["spec"]["containers"]]}})
        pod.shown = shown

    # --- containers of our image ---

    def make_rootfs(self):
        if self.rootfs:
            return
        self.rootfs = os.path.join(self.folder, "rootfs")
        subprocess.run([ROOTFS, harness.NARTHEX, self.rootfs], check=True, stdout=subprocess.DEVNULL)
        for path in ("proc", "var/run/secrets/kubernetes.io/serviceaccount"):
            os.makedirs(os.path.join(self.rootfs, path))
        lines = ["127.0.0.1 localhost", *(f"{ip} {name}" for name, ip in self.hosts.items())]
        write_file(os.path.join(self.rootfs, "etc/hosts"), "\n".join(lines) + "\n")

    def start(self, pod):
        self.make_rootfs()
        pod.root = os.path.join(self.folder, pod.uid)
        os.mkdir(pod.root)
        mount("--bind", self.rootfs, pod.root)
        if pod.container.get("securityContext", {}).get("readOnlyRootFilesystem"):
            mount("-o", "remount,bind,ro", pod.root)
        mount("--bind", "/proc", os.path.join(pod.root, "proc"))
        for at in pod.container.get("volumeMounts", []):
            mount("--bind", pod.volumes[at["name"]].path, pod.root + at["mountPath"])
        security = pod.item["spec"].get("securityContext", {})
        user = f"{security.get('runAsUser', 0)}:{security.get('runAsGroup', 0)}"
        argv = ["env", "-i", *self.environment(pod), "chroot", "--userspec=" + user, pod.root, "/bin/prometheus",
                *pod.container.get("args", [])]
        pod.process = Process(pod.name, argv, lasts=True).spawn()

    def environment(self, pod):
        out = ["PATH=/bin:/usr/bin:/usr/sbin", "KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443"]
        for variable in pod.container.get("env", []):
            text = variable.get("value")
            ref = variable.get("valueFrom", {}).get("secretKeyRef")
            if ref:
                text = self.secret(pod.namespace, ref)
            if text is not None:
                out.append(f"{variable['name']}={text}")
        return out

    def secret(self, namespace, ref):
        try:
            data = self.plane.call("GET", f"/api/v1/namespaces/{namespace}/secrets/{ref['name']}")["data"]
            return base64.b64decode(data[ref["key"]]).decode()
        except (ApiError, KeyError):
            if ref.get("optional"):
                return None
            raise

    def stop(self, pod):
        if pod.process and pod.process.is_running():
            pod.process.stop()
        pod.process = None
        if pod.root:
            subprocess.run(["umount", "--recursive", pod.root], check=True)
            pod.root = None

    def run_in(self, pod, *argv):
        """kubectl exec."""
        return harness.run_command(["chroot", "--userspec=65534:65534", pod.root, *argv], env={"PATH": "/bin:/usr/sbin"})

    def find(self, app):
        """The pods of ours with that name."""
        return [pod for pod in self.pods.values()
                if pod.item["metadata"].get("labels", {}).get("app.kubernetes.io/name") == app]

    def probe(self, pod):
        if not pod.process.is_running():
            pod.ready = False
            return
        probe = pod.container.get("readinessProbe", {}).get("httpGet")
        if probe:
            port = next(p["containerPort"] for p in pod.container["ports"] if probe["port"] in (p.get("name"), p["containerPort"]))
            connection = http.client.HTTPConnection(pod.ip, port, timeout=2)
            try:
                connection.request("GET", probe["path"])
                pod.ready = connection.getresponse().status < 400
            except (OSError, http.client.HTTPException):
                pod.ready = False
            finally:
                connection.close()
        else:
            pod.ready = True
        pod.started = pod.started or pod.ready

    # --- volumes ---

    def volume_folder(self, pod, volume):
        claim = volume.get("persistentVolumeClaim")
        if claim:
            return self.claims.setdefault(claim["claimName"], os.path.join(self.folder, "claim-" + claim["claimName"]))
        return os.path.join(self.folder, f"{pod.uid}-{volume['name']}")

    def fill_volumes(self, pod):
        for volume in pod.item["spec"].get("volumes", []):
            at = pod.volumes.get(volume["name"])
            if not at:
                path = self.volume_folder(pod, volume)
                os.makedirs(path, exist_ok=True)
                os.chown(path, USER, USER)
                at = pod.volumes[volume["name"]] = Volume(path)
            if "configMap" in volume:
                at.set(self.config_map(pod.namespace, volume["configMap"]["name"]))
            elif "projected" in volume and at.files is None:
                at.set(self.projected(pod, volume["projected"]["sources"]))

    def config_map(self, namespace, name):
        return self.plane.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")["data"]

    def projected(self, pod, sources):
        files = {}
        for source in sources:
            token, config = source.get("serviceAccountToken"), source.get("configMap")
            if token:
                files[token["path"]] = self.pod_token(pod, token.get("expirationSeconds", 3607))
            elif config:
                data = self.config_map(pod.namespace, config["name"])
                files.update({item["path"]: data[item["key"]] for item in config["items"]})
            elif "downwardAPI" in source:
                files.update({item["path"]: pod.namespace for item in source["downwardAPI"]["items"]})
        return files

    def pod_token(self, pod, seconds):
        account = pod.item["spec"]["serviceAccountName"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
        return self.plane.call("POST", f"/api/v1/namespaces/{pod.namespace}/serviceaccounts/{account}/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds, "audiences": [], "boundObjectRef": bound}})["status"]["token"]

    # --- metrics ---

    def metrics_page(self):
        """As cAdvisor: with times of their own, some seconds old. A load is shared by the pods that are there."""
        now_s = time.time()
        passed_s, self.metrics_s = now_s - self.metrics_s, now_s
        cpu, memory = [], []
        total = [0.0, 0]
        for pod in list(self.pods.values()):
            cores, size = self.load_of(pod)
            self.cpu_s[pod.uid] = self.cpu_s.get(pod.uid, 0.0) + cores * passed_s
            total = [total[0] + cores * passed_s, total[1] + size]
            labels = f'container="{pod.container["name"]}",id="/pods/{pod.uid}",namespace="{pod.namespace}",pod="{pod.name}"'
            cpu.append((labels, self.cpu_s[pod.uid]))
            memory.append((labels, size))
        self.node_cpu_s += total[0]
        cpu.append(('id="/",container="",namespace="",pod=""', self.node_cpu_s))
        memory.append(('id="/",container="",namespace="",pod=""', total[1]))
        lines = []
        for name, kind, rows in (("container_cpu_usage_seconds_total", "counter", cpu),
                                 ("container_memory_working_set_bytes", "gauge", memory)):
            lines.append(f"# TYPE {name} {kind}\n")
            lines += [f"{name}{{{labels}}} {value} {int((now_s - 2) * 1000)}\n" for labels, value in rows]
        return "".join(lines)

    def load_of(self, pod):
        for prefix, (cores, size) in self.loads.items():
            if pod.name.startswith(prefix):
                return cores / sum(p.name.startswith(prefix) for p in list(self.pods.values())), size
        return 0.001, 1 << 20

    def serve_metrics(self):
        kubelet = self
        authority = self.plane.cluster_ca
        crt, key = authority.issue("kubelet", "/CN=kubelet", "serverAuth", "IP:" + HOST)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                known = self.headers.get("Authorization", "").startswith("Bearer ey")
                body = kubelet.metrics_page().encode() if self.path == "/metrics/cadvisor" else b"kubelet_up 1\n"
                self.send_response(200 if known else 401)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Listener(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(crt, key)
        listener = Listener((HOST, METRICS_PORT), Handler)
        listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=listener.serve_forever, args=(0.1,), daemon=True).start()
