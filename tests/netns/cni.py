"""What a container runtime does: runs the plugins of a chain, Debian's and ours, for network namespaces of the world."""

import json
import os
import pathlib
import subprocess

from world import Guest

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = str(ROOT / "build" / "release" / "agent" / "grantd-cni")
DEBIANS = "/usr/lib/cni"
SUBNETS = ("10.20.0.0/24", "fd00:20::/64")


class Refused(AssertionError):
    """A plugin has failed; `error` is what it said."""

    def __init__(self, plugin, error):
        super().__init__(f"{plugin}: {error}")
        self.error = error


class Chain:
    def __init__(self, world, first="ptp", version="1.0.0", ours=True, subnets=SUBNETS, **settings):
        self.world, self.version, self.subnets, self.results = world, version, subnets, {}
        self.prefix = []  # before the command of our plugin
        ipam = {"type": "host-local", "dataDir": world.path(f"ipam-{first}"), "ranges": [[{"subnet": each}] for each in subnets],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}
        kinds = {"ptp": {"type": "ptp", "ipam": ipam}, "bridge": {"type": "bridge", "isGateway": True, "ipam": ipam},
                 "macvlan": {"type": "macvlan", "master": "uplink0", "ipam": ipam}}
        self.settings = {"pinRoot": world.pin_root, "stateDir": world.path("state"), "recordDir": world.path("records"),
                         **settings}
        self.plugins = [kinds[first]] + ([{"type": "grantd-cni", **self.settings}] if ours else [])

    # ---- one plugin ----

    def call(self, plugin, command, environment=None, **more):
        """Its answer; Refused with the error that it printed."""
        ours = plugin["type"] == "grantd-cni"
        program = [*self.prefix, OURS] if ours else [os.path.join(DEBIANS, plugin["type"])]
        config = {"cniVersion": self.version, "name": "net", **plugin, **more}
        with self.world.node.entered():
            done = subprocess.run(program, input=json.dumps(config), capture_output=True, text=True, check=False, timeout=30,
                                  env={"CNI_COMMAND": command, "CNI_PATH": DEBIANS, "PATH": os.environ["PATH"],
                                       **(environment or {})})
        answer = json.loads(done.stdout) if done.stdout.strip() else None
        if done.returncode != 0:
            raise Refused(plugin["type"], answer or done.stderr)
        return answer

    def ours(self, command, space=None, pod_namespace="guest-bob", **more):
        """Our plugin alone; with a network namespace, as for the pod that is in it."""
        environment = self.environment(space, pod_namespace) if space else None
        if space in self.results and command in ("ADD", "CHECK"):
            more.setdefault("prevResult", self.results[space])
        return self.call({"type": "grantd-cni", **self.settings}, command, environment, **more)

    @staticmethod
    def environment(space, pod_namespace):
        return {"CNI_CONTAINERID": space.name, "CNI_NETNS": f"/run/netns/{space.name}", "CNI_IFNAME": "eth0",
                "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={pod_namespace};K8S_POD_NAME=web;K8S_POD_UID={space.name}-uid"}

    # ---- the whole chain ----

    def add(self, name, pod_namespace="guest-bob", change=None, space=None, done=None):
        """A pod, as a Guest of the world. `change` is done to the result that our plugin gets; `done` once the last
        plugin has returned."""
        space = space or self.world.namespace(name)
        result = None
        for plugin in self.plugins:
            if result is not None and change:
                change(result)
            more = {} if result is None else {"prevResult": result}
            result = self.call(plugin, "ADD", self.environment(space, pod_namespace), **more)
            self.results[space] = result
        if done:
            done()
        return self._guest(name, space, result)

    def delete(self, guest, pod_namespace="guest-bob"):
        for plugin in reversed(self.plugins):
            self.call(plugin, "DEL", self.environment(guest.namespace, pod_namespace),
                      prevResult=self.results[guest.namespace])

    def _guest(self, name, space, result):
        links = {link["ifindex"]: link for link in json.loads(self.world.node.run("ip", "-json", "link"))}
        own = json.loads(space.run("ip", "-json", "link", "show", "eth0"))[0]
        host = links[own["link_index"]]  # as the kernel pairs them
        gateway = next((each for each in links.values() if each["ifname"] == host.get("master")), host)
        family = {6 if ":" in each["address"] else 4: each for each in result["ips"]}
        guest = Guest(name, host["ifindex"], space, host["ifname"],
                      {number: each["address"].split("/")[0] for number, each in family.items()}, own["address"],
                      gateway["address"])
        guest.gateways = {number: each["gateway"] for number, each in family.items()}
        # No ARP is needed: what stops packets, if anything, is not that nobody answers it.
        space.ip(*[f"neigh replace {each['gateway']} lladdr {gateway['address']} dev eth0 nud permanent"
                   for each in family.values()])
        self.world.node.ip(*[f"neigh replace {address} lladdr {own['address']} dev {gateway['ifname']} nud permanent"
                             for address in guest.addresses.values()])
        return guest
