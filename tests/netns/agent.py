"""The real agent on the node of a world: manifests in, and what grantctl says out."""

import json
import os
import pathlib
import signal
import subprocess

from traffic import tries
from world import CGROUPS, DESTINATIONS, REALMS, eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRANTD = str(ROOT / "build" / "release" / "agent" / "grantd")
GRANTCTL = str(ROOT / "build" / "release" / "agent" / "grantctl")
OPEN = [f"{DESTINATIONS[4]}:443/TCP", f"{DESTINATIONS[4]}:5000-5999/UDP", f"{DESTINATIONS[4]}:ICMP",
        f"[{DESTINATIONS[6]}]:443/TCP", f"[{DESTINATIONS[6]}]:5000-5999/UDP", f"[{DESTINATIONS[6]}]:ICMP"]


def manifest(kind, name, spec, namespace=None):
    """One object; JSON is YAML."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return json.dumps({"apiVersion": "keystone.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}, indent=1)


def grant_spec(destinations=None, **more):
    spec = {"grantorRealm": "alice-home", "granteeRealm": "bob-home",
            "networkPolicy": {"egressAllowed": True, "allowedDestinations": OPEN if destinations is None else destinations}}
    spec.update(more)
    return spec


class Agent:
    """grantd on the world's node. Manifests are one file an object; `write` and `remove` change them as editors do."""

    def __init__(self, world, *options, listen="none"):
        self.world, self.options, self.process = world, ["--listen", listen, *options], None
        self.environment = {}  # beside the test's own
        self.under = []  # a command that runs the agent
        self.directory = pathlib.Path(world.path("manifests"))
        self.log_path = pathlib.Path(world.path("grantd.log"))
        self.directory.mkdir()
        self.log_path.touch()
        for name, addresses in REALMS.items():
            self.realm(name, addresses)

    # ---- manifests ----

    def write(self, name, text):
        beside = self.directory / f".{name}.new"
        beside.write_text(text, encoding="utf-8")
        beside.rename(self.directory / f"{name}.yaml")

    def remove(self, name):
        (self.directory / f"{name}.yaml").unlink()

    def realm(self, name, addresses, **more):
        self.write(f"realm-{name}", manifest("Realm", name, {"identity": f"{name}.example.net", "addresses": addresses, **more}))

    def grant(self, name="g", destinations=None, **more):
        self.write(f"grant-{name}", manifest("Grant", name, grant_spec(destinations, **more), "keystone-system"))

    def workload(self, guest, grant="g", **more):
        self.write(f"workload-{guest.name}", manifest("Workload", guest.name, {
            "grantName": grant, "interface": guest.interface, "addresses": list(guest.addresses.values()), **more}))

    def host_workload(self, cgroup, grant="g", addresses=()):
        """A guest of the host network, `host`."""
        self.write("workload-host", manifest("Workload", "host", {"grantName": grant, "addresses": list(addresses),
                                                                  "cgroup": os.path.relpath(cgroup, CGROUPS)}))

    def has_active(self, guest, addresses=()):
        """Whether that guest, by its name, is held under its Grant, with these addresses of it at least."""
        return any(each["guest"] == guest and each["state"] == "active" and set(addresses) <= set(each["addresses"])
                   for each in self.json("endpoints")["endpoints"])

    # ---- the process ----

    def launch(self):
        with open(self.log_path, "a", encoding="utf-8") as log:
            self.process = self.world.spawn(
                self.world.node, *self.under, GRANTD, "run", "--manifests", str(self.directory), "--pin-root", self.world.pin_root,
                "--state-dir", self.world.path("state"), "--uplink", "uplink0=lan", "--uplink", "tail0=tailnet",
                "--trust-clock", *self.options, stderr=log, env=os.environ | self.environment)

    def start(self):
        """Until everything has been applied, the guests that wait for an edit too: until then they are open."""
        def applied():
            return sum(" applied " in line and "guests_that_wait=0" in line for line in self.said().splitlines())
        before = applied()
        self.launch()
        eventually(lambda: applied() > before or self.process.poll() is not None, 20,
                   what=lambda: f"the first apply; grantd said: {self.said()}")
        assert self.process.poll() is None, f"grantd ended: {self.said()}"
        return self

    def kill(self, signal_number=signal.SIGKILL):
        self.process.send_signal(signal_number)
        self.process.wait(10)

    def restart(self):
        self.kill()
        return self.start()

    def uninstall(self, pin_root=None, namespace=None):
        with (namespace or self.world.node).entered():
            return subprocess.run([*self.under, GRANTD, "uninstall", "--pin-root", pin_root or self.world.pin_root, "--state-dir",
                                   self.world.path("state")], capture_output=True, text=True, check=False)

    def shows_open(self, *floods):
        """The control of floods that do not arrive, and the end of the test: they do, once nothing holds the guests."""
        if self.process and self.process.poll() is None:
            self.kill()
        done = self.uninstall()
        assert done.returncode == 0, done.stderr
        for flood in floods:
            eventually(flood.arrived, what="a flood that nothing holds")

    def said(self):
        return self.log_path.read_text(encoding="utf-8")

    # ---- what is in force ----

    def ctl(self, *arguments):
        with self.world.node.entered():
            return subprocess.run([GRANTCTL, "--pin-root", self.world.pin_root, "--state-dir", self.world.path("state"),
                                   *arguments], capture_output=True, text=True, check=False)

    def settings(self):
        """What it was told, for grantctl: written after what it enforces, so a guest may be active before it is there."""
        path = self.world.path("state") + "/settings.json"
        eventually(lambda: os.path.exists(path), what=path)
        return path

    def json(self, *arguments):
        done = self.ctl("--output", "json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def policy(self, name="g"):
        """The number of the policy in force; another one after every change that reaches the kernel."""
        for grant in self.json("grants")["grants"]:
            if grant["grant"] == f"keystone-system/{name}":
                return grant["policy_id"]
        return None

    def in_force(self, change, name="g", seconds=5.0):
        """Makes a change and waits until another policy is in force."""
        before = self.policy(name)
        change()
        eventually(lambda: self.policy(name) != before, seconds, every=0.005, what=lambda: f"a change in force; {self.said()}")

    def drops(self, reason, direction="egress", grant="keystone-system/g"):
        """Packets dropped for this reason so far."""
        return sum(each["packets"] for each in self.json("drops")["drops"]
                   if each["reason"] == reason and each["direction"] == direction and each["grant"] == grant)


def without_server(world):
    """The command of an agent of a cluster whose API server does not answer."""
    config = pathlib.Path(world.path("kubeconfig"))
    config.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}], "users": [{"name": "u", "user": {}}]}),
        encoding="utf-8")
    return [GRANTD, "run", "--kubernetes", "--kubeconfig", str(config), "--node", "n", "--pin-root", world.pin_root, "--state-dir",
            world.path("state"), "--uplink", "uplink0=lan", "--listen", "none", "--trust-clock", "--cri-socket", "none"]


class Counted:
    """That something was refused for this reason: every datagram, ping and SYN that was tried meanwhile in that direction, or so
    many `packets`: `with Counted(agent, "destination"): ...`. Without tries of that kind, one."""

    def __init__(self, agent, reason, direction="egress", grant="keystone-system/g", packets=None):
        self.agent, self.what, self.packets = agent, (reason, direction, grant), packets

    def __enter__(self):
        self.before, self.tries = self.agent.drops(*self.what), dict(tries)

    def __exit__(self, kind, *_):
        if kind is None:
            direction = self.what[1]
            wanted = self.packets or max(1, tries[direction] - self.tries[direction])
            counted = self.agent.drops(*self.what) - self.before
            assert counted >= wanted, f"{counted} of {wanted} were counted as {self.what}: {self.agent.ctl('drops').stdout}"


def pins(world):
    return [path for part in ("maps", "programs", "links") for path in
            ([os.path.join(world.pin_root, part, name) for name in os.listdir(os.path.join(world.pin_root, part))]
             if os.path.isdir(os.path.join(world.pin_root, part)) else [])]
