"""A real Kubernetes for the tests: the API server with etcd alone (start_api, 4 s), or a whole node on top
of it (node.py). It lives in namespaces of its own, which `scripts/test e2e` makes:

    unshare --net --mount --pid --fork --kill-child --mount-proc COMMAND

so nothing of it can be reached from outside or outlive the command.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from pki import Pki

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PREFIX = "grantd-e2e-"
NODE_ADDRESS = "192.0.2.10"
SERVICES, PODS = "10.43.0.0/16", "10.42.0.0/16"  # As k3s has them.


def wait_until(condition, what, seconds=30, pause=0.05):
    """The first true result of condition(). What is waited for is a text, or a function that says it when it is late."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"not within {seconds} s: {what() if callable(what) else what}"
        time.sleep(pause)


def dead_clusters():
    """Directories of clusters whose process is gone, each ours to remove: suites that begin at once see the same ones. One
    without a lock is being made or removed."""
    for directory in pathlib.Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        with contextlib.ExitStack() as held:
            try:
                lock = held.enter_context(open(directory / "lock", "rb"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            if os.fstat(lock.fileno()).st_nlink > 0:  # Else it was removed meanwhile.
                yield directory


def hold(directory):
    """Says that the cluster lives, as long as what it returns is open. It is there only when it is held."""
    lock = open(directory / "lock.fresh", "wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    (directory / "lock.fresh").rename(directory / "lock")
    return lock


def build(name="kubernetes"):
    """The path of the binary; quick when it is there."""
    done = subprocess.run([HERE / "build", name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


class Cluster:
    """start_api() before anything else; stop() takes down whatever was started, in reverse order."""

    url = "https://127.0.0.1:6443"

    def __init__(self):
        links = {link["ifname"] for link in json.loads(run(["ip", "-j", "link"]).stdout)}
        assert not any(name.startswith(("eth", "en", "wl")) for name in links), \
            "a test cluster needs namespaces of its own: scripts/test e2e"
        self.binary = build()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
        self.lock = hold(self.directory)
        for dead in dead_clusters():
            self.remove(dead)
        self.processes = {}
        self.pki = Pki(self.directory / "pki")
        self.kubeconfig = self.pki.kubeconfig("admin", self.url)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def start_api(self):
        run(["ip", "link", "set", "lo", "up"])
        if NODE_ADDRESS not in run(["ip", "addr"]).stdout:
            run(["ip", "addr", "add", NODE_ADDRESS + "/32", "dev", "lo"])
        self.pki.server("kube-apiserver", "/CN=kube-apiserver", "DNS:localhost", "DNS:kubernetes.default.svc",
                        "IP:127.0.0.1", "IP:10.43.0.1", "IP:" + NODE_ADDRESS)
        self.start_etcd()
        self.start_apiserver()
        # Nobody makes it where no controller manager runs; pods of no account are refused.
        wait_until(lambda: self.kubectl("get", "namespace", "default", check=False).returncode == 0, "namespace default")
        if self.kubectl("get", "serviceaccount", "default", check=False).returncode != 0:
            self.kubectl("create", "serviceaccount", "default")

    def start_etcd(self):
        client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
        self.start("etcd", [
            self.binary, "etcd", "--name=e2e", f"--data-dir={self.directory}/etcd", "--unsafe-no-fsync", "--log-level=warn",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=e2e={peer}"])

    def start_apiserver(self, *more):
        pki = self.pki
        self.start("kube-apiserver", [
            self.binary, "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--bind-address=0.0.0.0",
            f"--advertise-address={NODE_ADDRESS}", "--secure-port=6443", "--anonymous-auth=false",
            f"--tls-cert-file={pki.certificate('kube-apiserver')}", f"--tls-private-key-file={pki.key('kube-apiserver')}",
            f"--client-ca-file={pki.certificate('ca')}", f"--service-cluster-ip-range={SERVICES}",
            f"--kubelet-client-certificate={pki.certificate('kubelet-client')}",
            f"--kubelet-client-key={pki.key('kubelet-client')}", "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={pki.directory}/service-accounts.pub",
            f"--service-account-signing-key-file={pki.key('service-accounts')}",
            "--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", *more])
        wait_until(lambda: self.alive("kube-apiserver") and
                   self.kubectl("get", "--raw=/readyz", check=False).returncode == 0, "the API server is ready", 60)

    def kubectl_command(self, *arguments):
        return [self.binary, "kubectl", f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.directory}/discovery", *map(str, arguments)]

    def kubectl(self, *arguments, text=None, check=True, user=None):
        """user: somebody to impersonate."""
        return run(self.kubectl_command(*([f"--as={user}"] if user else []), *arguments), text=text, check=check)

    def get(self, *arguments):
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def apply(self, text, *arguments, check=True):
        return self.kubectl("apply", "-f", "-", *arguments, text=text, check=check)

    # Processes.

    def start(self, name, command, **options):
        assert name not in self.processes, f"{name} runs already"
        with open(self.log(name), "ab") as log:
            self.processes[name] = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log,
                                                    stdin=subprocess.DEVNULL, **options)

    def log(self, name):
        return self.directory / f"{name}.log"

    def alive(self, name):
        status = self.processes[name].poll()
        assert status is None, f"{name} ended with {status}: {self.log(name).read_text(errors='replace')[-3000:]}"
        return True

    def end(self, name, number=signal.SIGTERM, seconds=10):
        process = self.processes.pop(name)
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self):
        for name in reversed(list(self.processes)):
            # A server that is asked to end waits up to a minute for open watches.
            self.end(name, signal.SIGKILL if name in ("etcd", "kube-apiserver") else signal.SIGTERM)
        kept = os.environ.get("GRANTD_E2E_LOGS")
        if kept:
            pathlib.Path(kept).mkdir(parents=True, exist_ok=True)
            for log in self.directory.glob("*.log"):
                shutil.copy(log, kept)
        self.remove(self.directory)

    @staticmethod
    def remove(directory):
        """What a cluster left on this machine, be it killed."""
        for path in reversed(mount_points()):
            if path.startswith(f"{directory}/"):
                run(["umount", "--lazy", path], check=False)
        shutil.rmtree(directory)


def mount_points():
    """Also a directory that is mounted onto itself, which os.path.ismount() does not see."""
    return [line.split()[1] for line in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]


def run(command, text=None, check=True, seconds=120):
    done = subprocess.run(list(map(str, command)), input=text, capture_output=True, text=True, timeout=seconds, check=False)
    assert not check or done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done
