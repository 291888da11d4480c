"""A second node of the cluster on the machine of the first: what a kubelet and its runtime do for a pod is done here, in
milliseconds, with Debian's plugins and grantd-cni. So a test has hundreds of pods."""

import contextlib
import json
import os
import pathlib
import subprocess

from datagrams import know_gateway

from cluster import ROOT, run

NAME, SUBNET = "node3", "10.42.3.0/24"
OURS, DEBIANS = ROOT / "build/release/agent/grantd-cni", pathlib.Path("/usr/lib/cni")
FOREVER = [{"operator": "Exists"}]  # no condition of the node, which has no kubelet, drives its pods away


class Pod:
    def __init__(self, number, space, name):
        self.number, self.space, self.name = number, space, name
        self.key = f"{space}/{name}"
        self.netns = f"{NAME}-{os.getpid()}-{number}"
        self.uid = self.address = self.result = None

    @property
    def path(self):
        return f"/api/v1/namespaces/{self.space}/pods"

    @property
    def netns_path(self):
        return f"/run/netns/{self.netns}"


class StandIn:
    def __init__(self, cluster, direct, state):
        self.cluster, self.direct, self.pods, self.started = cluster, direct, [], 0
        ipam = {"type": "host-local", "dataDir": str(cluster.directory / NAME), "ranges": [[{"subnet": SUBNET}]],
                "routes": [{"dst": "0.0.0.0/0"}]}
        self.chain = [{"type": "ptp", "ipMasq": False, "ipam": ipam}, {"type": "grantd-cni", "stateDir": str(state)}]

    def __enter__(self):
        self.cluster.apply(json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}}))
        return self

    def __exit__(self, *_):
        for pod in list(self.pods):
            self.stop(pod)
        self.cluster.kubectl("delete", "node", NAME)

    def start(self, space, name, labels=None, first_process=None):
        """A pod that runs. `first_process` is called with it as soon as the runtime would start one: the chain is done,
        and neither the API server nor the agent has been told yet."""
        pod = Pod(self.started, space, name)
        self.started += 1
        made = self.direct.post(pod.path, {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}},
            "spec": {"nodeName": NAME, "tolerations": FOREVER, "containers": [{"name": "main", "image": "none"}]}})
        pod.uid = made["metadata"]["uid"]
        run(["ip", "netns", "add", pod.netns])
        self.pods.append(pod)
        for plugin in self.chain:
            pod.result = self._call(plugin, "ADD", pod)
        know_gateway(["nsenter", f"--net={pod.netns_path}"], pod.result["ips"][0]["gateway"], pod.result["interfaces"][0]["mac"])
        if first_process:
            first_process(pod)
        pod.address = pod.result["ips"][0]["address"].split("/")[0]
        self.direct.patch(f"{pod.path}/{name}/status",
                          {"status": {"phase": "Running", "podIP": pod.address, "podIPs": [{"ip": pod.address}]}})
        return pod

    def stop(self, pod):
        self.pods.remove(pod)
        with contextlib.ExitStack() as stack:
            stack.callback(run, ["ip", "netns", "del", pod.netns])
            stack.callback(self.direct.delete, f"{pod.path}/{pod.name}")
            for plugin in reversed(self.chain):
                self._call(plugin, "DEL", pod)

    def _call(self, plugin, command, pod):
        config = {"cniVersion": "1.0.0", "name": NAME, **plugin}
        if pod.result:
            config["prevResult"] = pod.result
        arguments = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={pod.space};K8S_POD_NAME={pod.name};K8S_POD_UID={pod.uid}"
        program = OURS if plugin["type"] == "grantd-cni" else DEBIANS / plugin["type"]
        done = subprocess.run(
            [program], input=json.dumps(config), capture_output=True, text=True, timeout=30, check=False,
            env={"CNI_COMMAND": command, "CNI_CONTAINERID": pod.netns, "CNI_NETNS": pod.netns_path, "CNI_IFNAME": "eth0",
                 "CNI_PATH": str(DEBIANS), "CNI_ARGS": arguments, "PATH": os.environ["PATH"]})
        assert done.returncode == 0, f"{plugin['type']} {command}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None
