"""scripts/bench kubernetes: from a request to the API server until a packet is judged by it. A whole cluster, the
agent, and pods with interfaces of their own, which the plugin has closed and the agent has found."""

import json
import pathlib
import random
import statistics
import subprocess
import sys
import threading
import time
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

# pylint: disable=wrong-import-position
from agent import Agent, manifest  # noqa: E402
from cluster import run, wait_until  # noqa: E402
from direct import Direct  # noqa: E402
from node import Node  # noqa: E402
from probe import PORTS, PROBED, Probe  # noqa: E402
from report import table, targets_table  # noqa: E402
from stand_in import NAME, StandIn  # noqa: E402
from world import DESTINATIONS  # noqa: E402

GUESTS, EDITS, REVOCATIONS = 100, 300, 100
MEASURED = ("new", "edit", "revocation", "deletion")
BY_KUBECTL = {"edit_by_kubectl_apply": "edit of a Grant by `kubectl apply`", "revocation_by_kubectl_apply": "revocation by `kubectl apply`",
              "edit_by_kubectl_patch": "edit of a Grant by `kubectl patch`"}
PEER = "bench-outside"
OPEN, SHUT = {PORTS[0]: (True, False), PORTS[1]: (False, True)}, (False, False)
MILLISECOND = 1000.0


def change(port, **more):
    return {"spec": {"networkPolicy": {"egressAllowed": True, "allowedDestinations": [f"{DESTINATIONS}:{port}/UDP"]}, **more}}


class Bench:
    """Guest n is alone in its namespace and its realm, under a Grant of its own."""

    def __init__(self, node, stand_in, direct, count):
        self.node, self.stand_in, self.direct, self.count = node, stand_in, direct, count
        self.probes, self.ports, self.chance, self.receivers = {}, {}, random.Random(1), None
        self.returned = []  # milliseconds that each kubectl took
        self.after = []  # and from its end to the packet: below 0 where that came before

    def path(self, at):
        return f"/apis/keystone.io/v1alpha1/namespaces/keystone-system/grants/bench-{at}"

    def make(self):
        for at in range(self.count):
            space = f"guest-bench{at}"
            self.direct.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
            # The first is the grantor's address, the second where the guests send to; these are nobody's.
            self.direct.post("/apis/keystone.io/v1alpha1/realms", json.loads(manifest(
                "Realm", f"bench{at}", {"identity": f"bench{at}.example.net", "addresses": [f"192.0.2.{at + 1}/32"]})))
            self.grant(at, PORTS[0])
        for at in range(self.count):
            wait_until(lambda at=at: self.node.kubectl("get", "serviceaccount", "default", "-n", f"guest-bench{at}",
                                                       check=False).returncode == 0, "an account", 60)
            pod = self.stand_in.start(f"guest-bench{at}", "web")
            ends = types.SimpleNamespace(netns={"peer": PEER, "guest": pod.netns}, measured=pod)
            self.probes[at] = Probe(ends, self.receivers)
            self.receivers = self.probes[at].receivers
            self.ports[at] = PORTS[0]
        for at, probe in self.probes.items():
            probe.wait(OPEN[self.ports[at]])

    def edit(self, ask):
        """Milliseconds from before the request to the first packet under the new policy, which moves one guest from
        one port to the other."""
        at = self.chance.randrange(self.count)
        self.ports[at] = PORTS[1] if self.ports[at] == PORTS[0] else PORTS[0]
        return self.until(OPEN[self.ports[at]], ask, at, change(self.ports[at]))

    def until(self, verdicts, ask, at, wanted):
        begin = time.monotonic()
        kubectl = ask(at, wanted)
        in_force = self.probes[at].wait(verdicts)
        if kubectl:
            ended = kubectl.ended()
            self.returned.append((ended - begin) * MILLISECOND)
            self.after.append((in_force - ended) * MILLISECOND)
        return (in_force - begin) * MILLISECOND

    def revoke(self, ask):
        """Until the first packet that does not pass any more."""
        at = self.chance.randrange(self.count)
        taken = self.until(SHUT, ask, at, change(self.ports[at], revoked=True))
        self.direct.patch(self.path(at), change(self.ports[at], revoked=False))
        self.probes[at].wait(OPEN[self.ports[at]])
        return taken

    def delete(self):
        """Until the first packet that does not pass any more, and of a new Grant in its place until the first that does."""
        at = self.chance.randrange(self.count)
        begin = time.monotonic()
        self.direct.delete(self.path(at))
        deleted = (self.probes[at].wait(SHUT) - begin) * MILLISECOND
        begin = time.monotonic()
        self.grant(at, self.ports[at])
        return deleted, (self.probes[at].wait(OPEN[self.ports[at]]) - begin) * MILLISECOND

    def grant(self, at, port):
        self.direct.post(self.path(at).rpartition("/")[0], json.loads(self.manifest(at, change(port))))

    @staticmethod
    def manifest(at, wanted):
        return manifest("Grant", f"bench-{at}", {"grantorRealm": "alice", "granteeRealm": f"bench{at}", **wanted["spec"]},
                        namespace="keystone-system")

    def by_request(self, at, wanted):
        self.direct.patch(self.path(at), wanted)

    def by_patch(self, at, wanted):
        return Kubectl(self.node, "patch", "grant", f"bench-{at}", "-n", "keystone-system", "--type=merge", "-p", json.dumps(wanted))

    def by_apply(self, at, wanted):
        return Kubectl(self.node, "apply", "-f", "-", text=self.manifest(at, wanted))

    def apply_nothing(self):
        """Milliseconds that kubectl takes where nothing comes of it."""
        begin = time.monotonic()
        at = self.chance.randrange(self.count)
        ended = Kubectl(self.node, "apply", "--dry-run=server", "-f", "-", text=self.manifest(at, change(self.ports[at]))).ended()
        return (ended - begin) * MILLISECOND


class Kubectl:
    """Runs while packets are sent: what it asked for may be in force before it ends."""

    def __init__(self, node, *arguments, text=""):
        self.process = subprocess.Popen(node.kubectl_command(*arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.process.stdin.write(text)
        self.process.stdin.close()
        self.end = None
        self.waits = threading.Thread(target=self._wait)
        self.waits.start()

    def _wait(self):
        self.process.wait()
        self.end = time.monotonic()

    def ended(self):
        self.waits.join()
        with self.process:
            assert self.process.returncode == 0, self.process.stdout.read()
        return self.end


def quantiles(values):
    values = sorted(values)
    return {"count": len(values), "p50": statistics.median(values), "p99": values[min(len(values) - 1, len(values) * 99 // 100)],
            "max": values[-1]}


def measure_kubernetes(quick):
    few = 10 if quick else 1
    with Node() as node:
        node.start_api()
        node.kubectl("apply", "-f", str(pathlib.Path(__file__).resolve().parents[2] / "deploy/crds"))
        node.kubectl("wait", "--for=condition=established", "crd", "--all", "--timeout=20s")
        node.kubectl("create", "namespace", "keystone-system")
        node.start_node()
        run(["ip", "netns", "attach", PEER, node.processes["outside"].pid])
        direct = Direct(node)
        node.outside(["ip", "addr", "add", f"{PROBED}/32", "dev", "lo"])
        run(["ip", "route", "add", DESTINATIONS, "via", "203.0.113.2"])
        with Agent(node, name=NAME) as agent, StandIn(node, direct, agent.state) as stand_in:
            bench = Bench(node, stand_in, direct, GUESTS // few)
            bench.make()
            deleted, new = zip(*(bench.delete() for _ in range(REVOCATIONS // few)))
            result = {
                "guests": bench.count, "grants": bench.count, "new_by_request": quantiles(new),
                "deletion_by_request": quantiles(deleted),
                "edit_by_request": quantiles([bench.edit(bench.by_request) for _ in range(EDITS // few)]),
                "revocation_by_request": quantiles([bench.revoke(bench.by_request) for _ in range(REVOCATIONS // few)]),
                "kubectl_apply_dry_run": quantiles([bench.apply_nothing() for _ in range(REVOCATIONS // few)]),
                "edit_by_kubectl_patch": quantiles([bench.edit(bench.by_patch) for _ in range(REVOCATIONS // few)]),
            }
            bench.returned, bench.after = [], []
            result |= {
                "edit_by_kubectl_apply": quantiles([bench.edit(bench.by_apply) for _ in range(REVOCATIONS // few)]),
                "revocation_by_kubectl_apply": quantiles([bench.revoke(bench.by_apply) for _ in range(REVOCATIONS // few)]),
                "kubectl_apply_returns": quantiles(bench.returned),
                "after_kubectl_apply": quantiles(bench.after),
                "agent_memory_kib": memory_kib(node),
            }
    return result


def memory_kib(node):
    with open(f"/proc/{node.processes['grantd'].pid}/status", encoding="utf-8") as file:
        return {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in file)
                if name in ("VmHWM", "VmRSS")}


def targets(result):
    asked = [(f"{'new Grant' if name == 'new' else f'{name} of a Grant'} by the API server", f"{name}_by_request") for name in MEASURED]
    asked += [(what, name) for name, what in BY_KUBECTL.items()]
    asked.append(("from the end of `kubectl apply`", "after_kubectl_apply"))
    rows = []
    for what, measured in asked:
        for part, limit in (("p50", 100), ("p99", 500)):
            value = result[measured][part]
            rows.append({"target": f"{what}, {part}, ms", "limit": limit, "median": value,
                         "min": value, "max": value, "met": value <= limit})
    return rows


def kubernetes_report(result):
    """(text, JSON)"""
    result["targets"] = targets(result)
    rows = [[name.replace("_", " "), *(f"{result[name][part]:.1f}" for part in ("p50", "p99", "max"))]
            for name in (*(f"{name}_by_request" for name in MEASURED), *BY_KUBECTL, "kubectl_apply_dry_run",
                         "kubectl_apply_returns", "after_kubectl_apply")]
    text = f"{result['grants']} Grants, {result['guests']} guests; ms until a packet is judged anew\n"
    return text + table(["", "p50", "p99", "longest"], rows) + "\n\n" + targets_table(result["targets"]), result
