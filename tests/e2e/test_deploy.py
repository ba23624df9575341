"""What is shipped for a cluster: manifests that render, arguments that the binary takes, an image that is small and starts."""
import os
import re
import shutil
import subprocess

import harness
from harness import NARTHEX, run_command, wait_for

DEPLOY = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy"))
COMPONENTS = ("emptydir", "statefulset", "external-metrics", "resource-metrics", "network-policy", "pod-disruption-budget")


def render(folder):
    """What kubectl makes of a folder, by "Kind/name"; the test is for machines that have it."""
    code, out, err = run_command(["kubectl", "kustomize", folder])
    assert code == 0, err
    found = {}
    for text in out.split("\n---\n"):
        kind = re.search(r"^kind: (\S+)$", text, re.M).group(1)
        name = re.search(r"^metadata:\n(?:  .*\n)*?  name: (\S+)$", text, re.M).group(1)
        found.setdefault(f"{kind}/{name}", text)
    return found


def with_component(*components):
    """An overlay beside a copy of the base, as a user would write it."""
    home = harness.new_folder("deploy")
    shutil.copytree(os.path.join(DEPLOY, "k8s"), os.path.join(home, "k8s"))
    overlay = os.path.join(home, "mine")
    os.mkdir(overlay)
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "resources: [../k8s]", "components:"]
    harness.write_file(os.path.join(overlay, "kustomization.yaml"),
                       "\n".join(lines + [f"- ../k8s/components/{c}" for c in components]) + "\n")
    return render(overlay)


def arguments(text):
    block = re.search(r"^( *)- args:\n((?:\1  - .*\n)+)", text, re.M)
    return [line.strip()[2:] for line in block.group(2).splitlines()]


def check_arguments(words):
    """Each is a flag of the binary, given as often as it may be."""
    path = harness.write_file(os.path.join(harness.new_folder("flags"), "broken.yml"), "global: [\n")
    words = [w for w in words if not w.startswith("--config.file=")]
    code, out, err = run_command([NARTHEX, "--config.file=" + path, *words])
    assert code == 2 and "Error loading config" in out + err, (words, out, err)


def test_manifests__render_and_fit_each_other():
    if not shutil.which("kubectl"):
        print("skipped: kubectl is not there")
        return
    base = render(os.path.join(DEPLOY, "k8s"))
    server = base["Deployment/narthex"]
    assert "type: Recreate" in server and "claimName: narthex-data" in server
    for text in (server, base["Deployment/redis-exporter"]):
        for line in ("runAsNonRoot: true", "runAsUser: 65534", "readOnlyRootFilesystem: true", "type: RuntimeDefault",
                     "allowPrivilegeEscalation: false", "- ALL"):
            assert line in text, line
        assert re.search(r"limits:\n *memory: ", text)
    check_arguments(arguments(server))
    assert "--config.auto-reload" in arguments(server) and "--storage.tsdb.retention.time=15d" in arguments(server)
    assert "port: 9090" in base["Service/narthex"] and "type: ClusterIP" in base["Service/narthex"]
    assert arguments(base["Deployment/redis-exporter"]) == ["redis-exporter"]
    for version, priority in (("v1beta1", 100), ("v1beta2", 200)):
        service = base[f"APIService/{version}.custom.metrics.k8s.io"]
        assert f"versionPriority: {priority}" in service and "name: narthex-metrics-api" in service
        assert "insecureSkipTLSVerify" not in service
    assert "targetPort: metrics-api" in base["Service/narthex-metrics-api"]
    assert "name: system:auth-delegator" in base["ClusterRoleBinding/narthex-auth-delegator"]
    assert "name: extension-apiserver-authentication-reader" in base["RoleBinding/narthex-auth-reader"]
    worker, api = base["HorizontalPodAutoscaler/worker"], base["HorizontalPodAutoscaler/api"]
    for line in ('averageValue: "100"', "maxReplicas: 20", "stabilizationWindowSeconds: 600", "name: redis_db_keys"):
        assert line in worker, line
    for line in ("averageUtilization: 70", "averageUtilization: 80", "maxReplicas: 10", "stabilizationWindowSeconds: 300"):
        assert line in api, line
    # No Service of the server's own is an application: by each of them its pod would be scraped once more.
    own = re.search(r"job_name: applications.*?regex: (prometheus\S+)", base["ConfigMap/narthex-config"], re.S).group(1)
    for name in [n for n, text in base.items() if n.startswith("Service/") and "selector:\n    app.kubernetes.io/instance: narthex\n" in text]:
        assert re.fullmatch(own, name.removeprefix("Service/")), (name, own)
    # The order in which they are applied: what others need comes first.
    assert "kubernetes-pods" in base["ConfigMap/narthex-config"]


def test_components__change_what_they_say():
    if not shutil.which("kubectl"):
        print("skipped: kubectl is not there")
        return
    found = with_component("emptydir")
    assert "PersistentVolumeClaim/narthex-data" not in found
    assert "- emptyDir:\n          sizeLimit: 10Gi\n        name: data" in found["Deployment/narthex"]
    found = with_component("statefulset", "external-metrics", "resource-metrics", "network-policy", "pod-disruption-budget")
    assert "Deployment/narthex" not in found and "PersistentVolumeClaim/narthex-data" not in found
    server = found["StatefulSet/narthex"]
    assert "volumeClaimTemplates:" in server and "serviceName: narthex" in server and "strategy:" not in server
    check_arguments(arguments(server))
    for name in ("external.metrics.k8s.io", "metrics.k8s.io"):
        assert f"--kube.api-services=v1beta1.{name}" in arguments(server)
        assert f"APIService/v1beta1.{name}" in found
    assert "NetworkPolicy/narthex" in found and "maxUnavailable: 1" in found["PodDisruptionBudget/narthex"]


def test_rules_file__goes_in_as_the_documentation_says():
    if not shutil.which("kubectl"):
        print("skipped: kubectl is not there")
        return
    with open(os.path.join(DEPLOY, "..", "docs", "kubernetes.md"), encoding="utf-8") as f:
        block = re.search(r"^    apiVersion: kustomize(?:.*\n    |.*\n)+?(?=\n\S)", f.read(), re.M).group(0)
    home = harness.new_folder("rules")
    shutil.copytree(os.path.join(DEPLOY, "k8s"), os.path.join(home, "k8s"))
    overlay = os.path.join(home, "mine")
    os.mkdir(overlay)
    harness.write_file(os.path.join(overlay, "kustomization.yaml"), re.sub("^    ", "", block, flags=re.M))
    rules = harness.write_file(os.path.join(overlay, "rules.yml"), "rules: []\n")
    found = render(overlay)
    assert "rules.yml: |" in found["ConfigMap/narthex-config"] and "prometheus.yml: |" in found["ConfigMap/narthex-config"]
    words = arguments(found["Deployment/narthex"])
    assert words[-1] == "--kube.rules-file=/etc/prometheus/rules.yml", words
    check_arguments(words[:-1] + ["--kube.rules-file=" + rules])


def test_stock_deployment__only_changes_its_image():
    if not shutil.which("kubectl"):
        print("skipped: kubectl is not there")
        return
    overlay = os.path.join(DEPLOY, "overlays", "stock-prometheus")
    server = render(overlay)["Deployment/prometheus"]
    assert "image: narthex:0.1.0" in server and "prom/prometheus" not in server
    check_arguments(arguments(server))


def test_configuration__is_good():
    for path in (os.path.join(DEPLOY, "k8s", "prometheus.yml"),):
        code, out, err = run_command([NARTHEX, "check", "config", "--syntax-only", path])
        assert code == 0, (out, err)


def test_image__is_small_and_starts():
    """The root directory of the image, without Docker: its size, and the server in it as root directory where we may."""
    root = os.path.join(harness.new_folder("image"), "rootfs")
    code, out, err = run_command([os.path.join(DEPLOY, "rootfs.sh"), NARTHEX, root])
    assert code == 0, err
    sanitized = "libasan" in subprocess.run(["ldd", NARTHEX], capture_output=True, text=True, check=True).stdout
    size_kib = int(re.search(r"image: (\d+) KiB", out).group(1))
    assert sanitized or size_kib <= 32 * 1024, f"{size_kib} KiB"
    if os.geteuid() != 0 or sanitized:
        print("skipped: chroot needs root, and sanitizers /proc")
        return
    assert run_command(["chroot", root, "/bin/promtool", "--version"])[1].startswith("promtool, version 3.")
    os.makedirs(os.path.join(root, "proc"), exist_ok=True)
    port = harness.free_port()
    server = harness.Prometheus("image", port, [
        "chroot", "--userspec=65534:65534", root, "/bin/prometheus", "--config.file=/etc/prometheus/prometheus.yml",
        "--storage.tsdb.path=/prometheus", f"--web.listen-address=127.0.0.1:{port}"], "/-/ready", cwd=root).start()
    wait_for("a scrape", lambda: server.data("/api/v1/query?query=up")["result"])
    assert server.stop() == 0


if __name__ == "__main__":
    harness.main(globals())
