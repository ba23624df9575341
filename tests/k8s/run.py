"""make test-k8s: the tests against a real control plane, one file after the other, each in a network and a mount namespace of
its own. Skipped, with a line that says why, where the programs are missing or namespaces may not be made.

The programs are named as envtest names them: TEST_ASSET_ETCD, TEST_ASSET_KUBE_APISERVER, TEST_ASSET_KUBE_CONTROLLER_MANAGER,
TEST_ASSET_KUBECTL, or all of them lie in the folder KUBEBUILDER_ASSETS; kubectl may also be in PATH. Arguments: files,
file.py:test_name[,test_name], or --check, which only says whether the tests can run, as its exit code."""
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
UNSHARE = ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]


def find_programs():
    """{variable: path} and the names of those that are missing."""
    found, missing = {}, []
    for name in PROGRAMS:
        variable = "TEST_ASSET_" + name.upper().replace("-", "_")
        path = os.environ.get(variable) or os.path.join(os.environ.get("KUBEBUILDER_ASSETS", "/nowhere"), name)
        if not os.access(path, os.X_OK) and name == "kubectl":
            path = shutil.which("kubectl") or path
        found[variable] = path
        if not os.access(path, os.X_OK):
            missing.append(f"{name} ({variable})")
    return found, missing


def skip(why):
    print(f"skipped: {why}\n0 passed, 0 failed, 1 skipped")
    sys.exit(1 if sys.argv[1:] == ["--check"] else 0)


def run_file(path, only, env):
    """The counts of the tests that passed and failed."""
    argv = [*UNSHARE, sys.executable, path, *only]
    passed = failed = 0
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as child:
        for line in child.stdout:
            print(line, end="", flush=True)
            passed += bool(re.match(r"test_\w+: ok", line))
            failed += bool(re.match(r"test_\w+: FAILED", line))
    return passed, failed + (child.returncode != 0 and failed == 0)


def main():
    found, missing = find_programs()
    if missing:
        skip("no real control plane to test against; not found: " + ", ".join(missing))
    if not shutil.which("unshare") or subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode != 0:
        skip("network and mount namespaces cannot be made here (as root: unshare --net --mount)")
    if sys.argv[1:] == ["--check"]:
        return
    env = dict(os.environ, **found, E2E_DEADLINE=os.environ.get("E2E_DEADLINE", "60"), PYTHONDONTWRITEBYTECODE="1")
    wanted = [word.partition(":") for word in sys.argv[1:]] or [
        (os.path.basename(path), "", "") for path in sorted(glob.glob(os.path.join(HERE, "test_*.py")))]
    passed = failed = 0
    for name, _, only in wanted:
        print("==", name, flush=True)
        counts = run_file(os.path.join(HERE, name), only.split(",") if only else [], env)
        passed, failed = passed + counts[0], failed + counts[1]
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
