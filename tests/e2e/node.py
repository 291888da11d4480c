"""A whole node on top of the API server: controller manager, scheduler, kube-proxy, containerd and a kubelet,
with real pods behind the chain of CNI plugins that k3s writes. lan0 is the node's uplink; at its other end stands an outsider in a
network namespace of its own (`outside`)."""

import contextlib
import json
import os
import pathlib
import signal
import time

from cluster import NODE_ADDRESS, PODS, SERVICES, Cluster, build, mount_points, run, wait_until
from image import write_image

NAME = "node1"
NODE_LAN, OUTSIDE_LAN = "203.0.113.1", "203.0.113.2"
BRIDGE = "10.42.0.1/24"  # of the node's pods
IMAGE = "localhost/busybox:1"
# What the kubelet, containerd, CNI and grantd write outside of our directory. Tmpfs of our mount namespace covers it.
WRITTEN = ("/var/lib/kubelet", "/var/lib/cni", "/var/log/containers", "/var/log/pods", "/run/containerd", "/run/netns",
           "/var/lib/grantd", "/run/grantd", "/var/lib/rancher", "/run/k3s", "/run/flannel")
# Where k3s has them.
K3S = pathlib.Path("/var/lib/rancher/k3s")
CNI_CONFIGURATION, CNI_PLUGINS = K3S / "agent/etc/cni/net.d", K3S / "data/cni"
CONTAINERD = pathlib.Path("/run/k3s/containerd/containerd.sock")
# The kubelet sets these for the whole machine, unless it reads them so already.
SYSCTLS = {"vm/overcommit_memory": 1, "vm/panic_on_oom": 0, "kernel/panic": 10, "kernel/panic_on_oops": 1,
           "kernel/keys/root_maxkeys": 1000000, "kernel/keys/root_maxbytes": 25000000}
HIERARCHIES = pathlib.Path("/sys/fs/cgroup")


class Node(Cluster):
    """start_api(), then start_node()."""

    def __init__(self):
        super().__init__()
        self.socket = CONTAINERD
        self.networks, self.plugins = CNI_CONFIGURATION, CNI_PLUGINS  # where the runtime looks
        self.network = self.networks / "10-flannel.conflist"

    def start_node(self):
        run(["mount", "--make-rprivate", "/"])
        self._cover()
        self._make_cgroups()
        self._make_network()
        self._start_controllers()
        self._configure_containerd()
        self._start_containerd()
        self._import_image()
        self._configure_kubelet()
        self._start_kubelet()
        self._start_proxy()
        wait_until(self._is_ready, f"{NAME} is ready", 60)

    def pod(self, name, namespace="default", command="sleep 1000000", annotations=None, **spec):
        """Makes a pod and waits until it is ready; its address."""
        self._keep_scheduler()
        container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", command]}
        self.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace,
                                                                               "labels": {"app": name}, "annotations": annotations or {}},
                               "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **spec}}))
        ready = self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=100s", check=False)
        assert ready.returncode == 0, (f"{ready.stderr}{self.kubectl('describe', 'pod', name, '-n', namespace, check=False).stdout}"
                                       f"{self.kubectl('describe', 'node', check=False).stdout}")
        return self.get("pod", name, "-n", namespace)["status"]["podIP"]

    def namespace(self, name):
        """Makes a namespace in which pods can be made. One of that name that is going away goes first."""
        def is_there():
            told = self.kubectl("create", "namespace", name, check=False)
            return told.returncode == 0 or ("already exists" in told.stderr and "object is being deleted" not in told.stderr)
        wait_until(is_there, f"the namespace {name} of before is gone, and it is there", 60)
        # Its controller may still be at work on what the tests before have deleted.
        wait_until(lambda: self.kubectl("get", "serviceaccount", "default", "-n", name, check=False).returncode == 0,
                   lambda: f"an account in {self.kubectl('get', 'namespace', name, '-o', 'yaml', check=False).stdout}", 90)

    def start_network(self, name):
        """A network namespace, as a process that does nothing there; its PID."""
        self.start(name, ["unshare", "--net", "sleep", "infinity"])
        pid = self.processes[name].pid
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{pid}/ns/net") != own, f"{name} has a network of its own")
        return pid

    def execute(self, name, command, namespace="default", check=True):
        return self.kubectl("exec", name, "-n", namespace, "--", "sh", "-c", command, check=check)

    def as_root_of_cgroups(self):
        """Before a command: it sees the kubelet's tree of cgroups where a node has it, at the root of version 2."""
        root = next(each for each in (HIERARCHIES, HIERARCHIES / "unified") if (each / "cgroup.controllers").exists())
        return ["unshare", "--mount", "--propagation=slave", "sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "sh",
                root / self.directory.name, root]

    def outside(self, command, check=True):
        """Runs a command where the outsider is."""
        return run(["nsenter", f"--net=/proc/{self.processes['outside'].pid}/ns/net", *command], check=check)

    def arrived_outside(self):
        """Bytes that the outsider's interface has received."""
        return json.loads(self.outside(["ip", "-s", "-j", "link", "show", "lan0"]).stdout)[0]["stats64"]["rx"]["bytes"]

    def stop(self):
        if "kubelet" in self.processes:
            self._end_pods()
        if "outside" in self.processes:
            self.processes.pop("outside").kill()
        super().stop()

    @staticmethod
    def remove(directory):
        _remove_cgroups(directory.name)
        Cluster.remove(directory)

    def _is_ready(self):
        for name in list(self.processes):
            self.alive(name)
        node = self.kubectl("get", "node", NAME, "-o", "json", check=False)
        account = self.kubectl("get", "serviceaccount", "default", check=False)
        conditions = json.loads(node.stdout)["status"].get("conditions", []) if node.returncode == 0 else []
        return account.returncode == 0 and ("Ready", "True") in [(each["type"], each["status"]) for each in conditions]

    # What a node needs of its machine.

    def _cover(self):
        for directory in WRITTEN:
            os.makedirs(directory, exist_ok=True)
            # Of two mounts at one place containerd asks the lower one, as `ip netns` leaves at /run/netns, how it propagates.
            while directory in mount_points():
                run(["umount", "--lazy", directory])
            run(["mount", "-t", "tmpfs", "none", directory])
        # As systemd makes everything: a pod sees what is mounted there later.
        run(["mount", "--make-shared", "/run/netns"])
        run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"])
        for name, value in SYSCTLS.items():
            cover = self.directory / name.replace("/", "-")
            cover.write_text(f"{value}\n", encoding="utf-8")
            run(["mount", "--bind", cover, f"/proc/sys/{name}"])

    def _make_cgroups(self):
        for root in _cgroup_roots(self.directory.name):
            root.mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):
                # Version 1 gives a new cgroup none, and then nothing runs in it.
                if (root / name).exists() and not (root / "cgroup.controllers").exists():
                    (root / name).write_text((root.parent / name).read_text(encoding="utf-8"), encoding="utf-8")

    def _make_network(self):
        pid = self.start_network("outside")
        run(["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", pid])
        run(["ip", "addr", "add", NODE_LAN + "/24", "dev", "lan0"])
        run(["ip", "link", "set", "lan0", "up"])
        self.outside(["ip", "addr", "add", OUTSIDE_LAN + "/24", "dev", "lan0"])
        self.outside(["ip", "link", "set", "lan0", "up"])
        self.outside(["ip", "link", "set", "lo", "up"])
        # A node has a default route, without which it sends nothing to addresses that kube-proxy then rewrites.
        run(["ip", "route", "add", SERVICES, "via", OUTSIDE_LAN])
        # As a LAN's router does: pods are behind the node.
        self.outside(["ip", "route", "add", "default", "via", NODE_LAN])

    # The components.

    def _start_controllers(self):
        self._start_controller("controller-manager", [
            "--use-service-account-credentials", f"--service-account-private-key-file={self.pki.key('service-accounts')}",
            f"--root-ca-file={self.pki.certificate('ca')}", "--allocate-node-cidrs", f"--cluster-cidr={PODS}",
            "--node-monitor-period=1s", "--node-monitor-grace-period=8s"])
        self._start_controller("scheduler")

    def _start_controller(self, name, more=()):
        config = self.pki.kubeconfig(name, self.url)
        self.start("kube-" + name, [
            self.binary, "kube-" + name, f"--kubeconfig={config}", f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}", "--bind-address=127.0.0.1", "--leader-elect=false",
            f"--cert-dir={self.directory}/{name}", *more])

    def _keep_scheduler(self):
        """It ends where an API server that was killed tells it again of a pod as it was before; a cluster starts it again."""
        if self.processes["kube-scheduler"].poll() is not None:
            assert "cache is corrupted" in self.log("kube-scheduler").read_text(errors="replace")[-1000:]
            del self.processes["kube-scheduler"]
            self._start_controller("scheduler")

    def write_network(self, **more):
        """What k3s writes there, of version 1.0.0; `more` for the plugin that its first one delegates to, a bridge."""
        fresh = self.network.with_suffix(".fresh")
        fresh.write_text(json.dumps({"name": "cbr0", "cniVersion": "1.0.0", "plugins": [
            {"type": "flannel", "delegate": {"hairpinMode": True, "forceAddress": True, "isDefaultGateway": True, **more}},
            {"type": "portmap", "capabilities": {"portMappings": True}},
            {"type": "bandwidth", "capabilities": {"bandwidth": True}}]}), encoding="utf-8")
        fresh.rename(self.network)

    @staticmethod
    def _write_subnet():
        """What flannel's daemon tells its plugin. It has nothing else to do for one node."""
        pathlib.Path("/run/flannel/subnet.env").write_text(
            f"FLANNEL_NETWORK={PODS}\nFLANNEL_SUBNET={BRIDGE}\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n", encoding="ascii")

    def _configure_containerd(self):
        configuration = self.directory / "containerd.toml"
        self.socket.parent.mkdir()
        for each in (self.networks, self.plugins):
            each.mkdir(parents=True)
        for each in pathlib.Path("/usr/lib/cni").iterdir():
            (self.plugins / each.name).symlink_to(each)
        (self.plugins / "flannel").symlink_to(build("flannel"))
        self._write_subnet()
        self.write_network()
        configuration.write_text(f"""
version = 2
root = "{self.directory}/containerd/root"
state = "{self.directory}/containerd/state"
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{self.directory}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  disable_tcp_service = true
  restrict_oom_score_adj = true  # A container of ours may not lower it.
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{self.plugins}"
    conf_dir = "{self.networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
""", encoding="utf-8")

    def _start_containerd(self):
        self.start("containerd", ["containerd", "--config", self.directory / "containerd.toml"])
        wait_until(lambda: self.alive("containerd") and self.ctr("version", check=False).returncode == 0, "containerd answers")

    def _import_image(self):
        archive = self.directory / "busybox.tar"
        # Its own command is what a sandbox runs.
        write_image(archive, IMAGE, ["sleep", "2147483647"])
        self.ctr("images", "import", archive)

    def ctr(self, *arguments, check=True):
        return run(["ctr", f"--address={self.socket}", "--namespace=k8s.io", *arguments], check=check)

    def boot(self):
        """As after the node was switched off: no process of a pod and no network of one is left, and the runtime and
        the kubelet start. They make the pods again."""
        for name in ("kubelet", "containerd"):
            self.end(name, signal.SIGKILL)
        processes = _cgroup_processes(self.directory.name)
        for process in processes:
            _kill(int(process))
        wait_until(lambda: not _cgroup_processes(self.directory.name), "the pods' processes are gone")
        for process in self._shims():
            _kill(process)
        for path in pathlib.Path("/run/netns").iterdir():
            run(["umount", path], check=False)
            path.unlink()
        self._start_containerd()
        self._start_kubelet()

    def _shims(self):
        """Processes that containerd leaves when it ends, one for each pod."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().decode(errors="replace").split("\0")
            except OSError:  # it has ended
                continue
            if "containerd-shim" in words[0] and str(self.socket) in words:
                found.append(int(path.parent.name))
        return found

    def _configure_kubelet(self):
        pki, directory = self.pki, self.directory
        (directory / "static").mkdir()
        pki.client(NAME, f"/O=system:nodes/CN=system:node:{NAME}")
        pki.server("kubelet", f"/O=system:nodes/CN=system:node:{NAME}", "IP:" + NODE_ADDRESS)
        configuration = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "address": NODE_ADDRESS, "healthzPort": 0, "readOnlyPort": 0,
            "tlsCertFile": str(pki.certificate("kubelet")), "tlsPrivateKeyFile": str(pki.key("kubelet")),
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                               "x509": {"clientCAFile": str(pki.certificate("ca"))}},
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "cgroupDriver": "cgroupfs", "cgroupRoot": "/" + self.directory.name, "failCgroupV1": False,
            "failSwapOn": False, "oomScoreAdj": 0, "makeIPTablesUtilChains": False,
            "staticPodPath": f"{directory}/static", "fileCheckFrequency": "1s",
            "podLogsDir": f"{directory}/pod-logs", "volumePluginDir": f"{directory}/volume-plugins",
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "nodeStatusUpdateFrequency": "2s", "syncFrequency": "2s", "volumeStatsAggPeriod": "0s",
        }
        (directory / "kubelet.yaml").write_text(json.dumps(configuration), encoding="utf-8")

    def _start_kubelet(self):
        directory = self.directory
        self.start("kubelet", [
            self.binary, "kubelet", f"--config={directory}/kubelet.yaml",
            f"--kubeconfig={self.pki.kubeconfig(NAME, self.url)}", f"--hostname-override={NAME}",
            f"--root-dir={directory}/kubelet", f"--cert-dir={directory}/kubelet/pki", f"--node-ip={NODE_ADDRESS}"])

    def _start_proxy(self):
        path = self.directory / "kube-proxy.yaml"
        path.write_text(json.dumps({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "iptables",
            "clientConnection": {"kubeconfig": str(self.kubeconfig)}, "hostnameOverride": NAME,
            "clusterCIDR": "10.42.0.0/16", "bindAddress": NODE_ADDRESS,
            # Also how long it waits after a rewrite of the rules that failed; 30 s is what it would take by itself.
            "iptables": {"syncPeriod": "2s"},
            # Not of this namespace alone.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }), encoding="utf-8")
        self.start("kube-proxy", [self.binary, "kube-proxy", f"--config={path}"])

    def _end_pods(self):
        self.kubectl("delete", "pods", "--all", "--all-namespaces", "--force", "--grace-period=0", check=False)
        end = time.monotonic() + 15
        while "RUNNING" in self.ctr("tasks", "ls", check=False).stdout and time.monotonic() < end:
            time.sleep(0.1)


def _cgroup_roots(name):
    """One for each hierarchy of version 1, or the one of version 2."""
    if (HIERARCHIES / "cgroup.controllers").exists():
        return [HIERARCHIES / name]
    return [each / name for each in HIERARCHIES.iterdir() if (each / "cgroup.procs").exists()]


def _kill(process):
    with contextlib.suppress(ProcessLookupError):  # it has ended since it was listed
        os.kill(process, signal.SIGKILL)


def _cgroup_processes(name):
    roots = [root for root in _cgroup_roots(name) if root.exists()]
    inside = [path.read_text(encoding="utf-8") for root in roots for path in root.rglob("cgroup.procs")]
    return {line for text in inside for line in text.split() if line != "0"}


def _remove_cgroups(name):
    roots = [root for root in _cgroup_roots(name) if root.exists()]
    for process in _cgroup_processes(name):
        try:
            _kill(int(process))
        except ProcessLookupError:
            pass

    def removed():
        for root in roots:
            for path in sorted((each for each in root.rglob("*") if each.is_dir()), reverse=True):
                _try_rmdir(path)
            _try_rmdir(root)
        return not any(root.exists() for root in roots)
    wait_until(removed, f"the cgroups {name} are gone", 10)


def _try_rmdir(path):
    try:
        path.rmdir()
    except OSError:
        pass
