"""grantd on the node of the tests, following its API server as an agent does, with kubectl as its user's tool. The
outsider of the node stands in Dave's realm; at FAR it is somebody whom only a Grant can name."""

import contextlib
import json
import pathlib
import subprocess

from node import NAME, OUTSIDE_LAN

from cluster import ROOT, run, wait_until

GRANTD, GRANTCTL = (ROOT / "build/release/agent" / name for name in ("grantd", "grantctl"))
REALMS = {"alice": [], "dave": [OUTSIDE_LAN + "/32"]}
FAR, PORT = "198.51.100.7", 5000
# Sends without end; says nothing.
TALK = f"""
import socket, time
one = socket.create_connection(("{FAR}", {PORT}), 5)
while True:
    one.send(b"x")
    time.sleep(0.05)
"""
# Takes all connections one after the other and writes down what comes.
LISTEN = f"""
import socket, sys
server = socket.create_server(("{FAR}", {PORT}))
while True:
    one = server.accept()[0]
    while data := one.recv(4096):
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    one.close()
"""


def manifest(kind, name, spec, **metadata):
    return json.dumps({"apiVersion": "keystone.io/v1alpha1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec})


class Agent:
    def __init__(self, node, *options, name=NAME, kubeconfig=None, chain=False):
        self.node, self.options, self.name, self.made = node, options, name, set()
        self.kubeconfig = kubeconfig or node.kubeconfig
        # It puts grantd-cni into the runtime's chain.
        self.chain = ["--cni-conf-dir", node.networks, "--cni-bin-dir", node.plugins] if chain else []
        self.state = node.directory / "state"

    def __enter__(self):
        self.node.outside(["ip", "addr", "add", FAR + "/32", "dev", "lo"])
        run(["ip", "route", "add", FAR, "via", OUTSIDE_LAN])
        for name, addresses in REALMS.items():
            self.node.apply(manifest("Realm", name, {"identity": f"{name}.example.net", "addresses": addresses}))
        self.start()
        return self

    def __exit__(self, *_):
        if self.is_running():
            self.stop()
        self.uninstall()
        for name in sorted(self.made):
            self.delete(name, check=False)
        self.node.kubectl("delete", "realm", *REALMS)
        run(["ip", "route", "del", FAR])
        self.node.outside(["ip", "addr", "del", FAR + "/32", "dev", "lo"])

    def start(self, ready=True):
        # The rights that the DaemonSet gives it.
        rights = ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+bpf,+net_admin,+perfmon", "--no-new-privs"]
        self.node.start("grantd", [
            *self.node.as_root_of_cgroups(), *rights, GRANTD, "run", "--kubernetes", "--kubeconfig", self.kubeconfig, "--node", self.name,
            "--uplink", "lan0=lan", "--uplink", "over0=overlay", "--state-dir", self.state, "--trust-clock",
            "--listen", "127.0.0.1:9786", *self.chain, *self.options])
        if ready:
            wait_until(self.is_ready, "the agent is ready")

    def stop(self):
        self.node.end("grantd")

    def uninstall(self):
        run([GRANTD, "uninstall", "--state-dir", self.state, *self.chain])

    def is_running(self):
        return "grantd" in self.node.processes

    def is_ready(self):
        self.node.alive("grantd")
        return run(["curl", "-sf", "http://127.0.0.1:9786/readyz"], check=False).returncode == 0

    def metrics(self):
        return run(["curl", "-sf", "http://127.0.0.1:9786/metrics"]).stdout

    def metric(self, name):
        """The value of one, by its name and labels."""
        return float(next(line.split()[-1] for line in self.metrics().splitlines() if line.startswith(name + " ")))

    def said(self):
        return self.node.log("grantd").read_text(encoding="utf-8")

    def last_said(self):
        return f"grantd said: {self.said()[-3000:]}"

    # Grants, as their user makes them.

    def grant(self, name="g", grantee="dave", destinations=(), **more):
        self.made.add(name)
        policy = {"egressAllowed": True, "allowedDestinations": list(destinations)}
        self.node.apply(manifest("Grant", name, {"grantorRealm": "alice", "granteeRealm": grantee, "networkPolicy": policy,
                                                 **more}, namespace="keystone-system"))

    def delete(self, name="g", check=True):
        self.node.kubectl("delete", "grant", name, "-n", "keystone-system", check=check)
        self.made.discard(name)

    # What the pinned maps say, with or without an agent.

    def grants(self):
        return [each["grant"] for each in json.loads(run([GRANTCTL, "grants", "--output", "json"]).stdout)["grants"]]

    def endpoints(self, guest=None):
        """Of all guests, or of one."""
        told = json.loads(run([GRANTCTL, "endpoints", "--output", "json"]).stdout)
        return [each for each in told["endpoints"] if guest in (None, each["guest"])]

    def held(self, guest, grant):
        """Waits until its one endpoint is under that Grant; None: in quarantine."""
        full = grant and f"keystone-system/{grant}"

        def is_so():
            now = self.endpoints(guest)
            return now[0] if len(now) == 1 and now[0]["grant"] == full else None
        return wait_until(is_so, lambda: f"{guest} is held by {full}; {self.last_said()}", 15)

    # What passes. No need of the API server.

    @staticmethod
    def network(guest):
        """What the runtime has kept of a pod's network."""
        namespace, name = guest.split("/")
        for path in pathlib.Path("/var/lib/cni/results").iterdir():
            result = json.loads(path.read_text(encoding="utf-8"))
            said = dict(result["cniArgs"])
            if (said["K8S_POD_NAMESPACE"], said["K8S_POD_NAME"]) == (namespace, name):
                return result
        raise AssertionError(f"no network of {guest}")

    def inside(self, guest):
        """How to run something in a pod's network."""
        sandbox = next(each["sandbox"] for each in self.network(guest)["result"]["interfaces"] if each.get("sandbox"))
        return ["nsenter", f"--net={sandbox}"]

    def reaches(self, guest, address):
        return run([*self.inside(guest), "ping", "-c", "1", "-W", "1", address], check=False).returncode == 0

    def is_reached(self, address):
        return self.node.outside(["ping", "-c", "1", "-W", "1", address], check=False).returncode == 0

    def connects(self, guest, address):
        """Whether a TCP connection to PORT there comes to be."""
        code = f"import socket; socket.create_connection(('{address}', {PORT}), 1)"
        return run([*self.inside(guest), "/usr/bin/python3", "-c", code], check=False).returncode == 0

    @contextlib.contextmanager
    def listener(self):
        """Somebody listens on PORT of FAR; gives the file with what came."""
        net = f"--net=/proc/{self.node.processes['outside'].pid}/ns/net"
        arrived = self.node.directory / "arrived"
        with open(arrived, "wb") as file, \
                subprocess.Popen(["nsenter", net, "/usr/bin/python3", "-c", LISTEN], stdout=file) as listener:
            try:
                yield arrived
            finally:
                listener.kill()

    @contextlib.contextmanager
    def connection(self, guest):
        """A live one to FAR; gives a function that tells whether anything arrives now."""
        with self.listener() as arrived, subprocess.Popen([*self.inside(guest), "/usr/bin/python3", "-c",
                                  f"import time; time.sleep(0.5)\n{TALK}"]) as talker:
            try:
                wait_until(lambda: arrived.stat().st_size > 0, f"{guest} has a connection")

                def grows():
                    before = arrived.stat().st_size
                    return wait_until_true(lambda: arrived.stat().st_size > before, 1.5)
                yield grows
            finally:
                talker.kill()


def wait_until_true(condition, seconds):
    try:
        return wait_until(condition, "", seconds)
    except AssertionError:
        return False
