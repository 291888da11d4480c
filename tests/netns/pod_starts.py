"""Many pods start under a flood, through a real chain of plugins, while the agent comes and goes: what of a guest passes
outside its Grant? A pod's sockets are there before its interface is, and send from the first instant on; until ADD has
returned to EARLY, to where no process of a pod can send, because a runtime starts none before; from then on to the
STRANGER and to the GRANTEE. As a program it prints its result as JSON."""

import argparse
import collections
import concurrent.futures
import contextlib
import ipaddress
import json
import random
import socket
import statistics
import sys
import threading
import time

from agent import Agent
from cni import Chain
from traffic import FAMILY, Background
from world import PARTIES, World, eventually

EARLY, STRANGER, GRANTEE = (PARTIES[name] for name in ("carol", "stranger", "grantee"))
PORT = 7777
ENOUGH = 100  # packets to the stranger, that a pod sends in each family
WORKERS = 8  # pods in the making at once
PATIENCE_SECONDS = 60
EVERY_SECONDS = 0.0005
ORDINARY, CLOSED, GRANTED = "ordinary", "closed", "granted"
SNIFFER = "table netdev sniffer {\n" + "".join(
    f" set seen{family} {{ type {kind} . {kind}; size 262144; flags dynamic; counter; }}\n"
    for family, kind in ((4, "ipv4_addr"), (6, "ipv6_addr"))) + """
 chain frames {
  type filter hook ingress device eth0 priority 0; policy accept;
  update @seen4 { ip saddr . ip daddr }
  update @seen6 { ip6 saddr . ip6 daddr }
 }
}
"""


class Pod:
    """A network namespace and what sends in it. An ordinary pod is nobody's guest; a closed one is a guest of which the
    agent never hears; one that is granted becomes the agent's after its start."""

    def __init__(self, world, name, kind):
        self.name, self.kind, self.started, self.addresses = name, kind, False, {}
        self.space = world.namespace(name)
        self.sent = self.received = 0
        self.sockets = {}
        for family in FAMILY:
            made = self.sockets[family] = self.space.socket(FAMILY[family], socket.SOCK_DGRAM)
            if family == 6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(("", PORT))
            made.setblocking(False)

    def send(self):
        for family, own in self.sockets.items():
            for goal in (STRANGER, GRANTEE) if self.started else (EARLY,):
                with contextlib.suppress(OSError):  # no address yet, or no room
                    own.sendto(b"leak", (goal[family], PORT))
                    self.sent += goal is STRANGER
            with contextlib.suppress(BlockingIOError, ConnectionError):
                while own.recv(64):
                    self.received += 1

    def begin(self):
        """ADD has returned."""
        self.started = True
        self.send()


class Flood(Background):
    """Sends for all pods that are there, and from the stranger to each of them."""

    def __init__(self, world):
        super().__init__()
        self.pods, self.opened = {}, set()
        self.lock = threading.Lock()  # a socket that is used is not closed
        self.strangers, self.grantees = {}, {}
        for family in FAMILY:
            for party, sockets in ((STRANGER, self.strangers), (GRANTEE, self.grantees)):
                made = sockets[family] = world.outside.socket(FAMILY[family], socket.SOCK_DGRAM)
                made.bind((party[family], PORT))
                made.setblocking(False)

    def _run(self):
        while not self.ending.wait(EVERY_SECONDS):
            with self.lock:
                for pod in self.pods.values():
                    pod.send()
                    for family, address in pod.addresses.items():
                        with contextlib.suppress(OSError):
                            self.strangers[family].sendto(b"leak", (address, PORT))
            for own in self.grantees.values():
                with contextlib.suppress(OSError):
                    while True:
                        self.opened.add(own.recvfrom(64)[1][0])

    def add(self, pod):
        with self.lock:
            self.pods[pod.name] = pod

    def remove(self, pod):
        with self.lock:
            del self.pods[pod.name]


class Restless(Background):
    """An agent that is killed at random and started again."""

    def __init__(self, agent, chance):
        super().__init__()
        self.agent, self.chance, self.kills, self.failure = agent, chance, 0, None

    def _run(self):
        try:
            while not self.ending.wait(self.chance.uniform(0.2, 4)):
                self.agent.kill()
                self.kills += 1
                self.agent.log_path.write_text("", encoding="utf-8")
                self.ending.wait(self.chance.uniform(0, 1))
                self.agent.start()
        except (AssertionError, OSError) as error:  # raised again by who waits for the end
            self.failure = error

    def __enter__(self):
        self.agent.start()
        return super().__enter__()

    def __exit__(self, kind, *_):
        super().__exit__()
        if self.failure and kind is None:
            raise self.failure


class TimedChain(Chain):
    """Remembers how long each ADD took, in milliseconds by plugin."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.took = collections.defaultdict(list)

    def call(self, plugin, command, environment=None, **more):
        begin = time.monotonic()
        answer = super().call(plugin, command, environment, **more)
        if command == "ADD":
            self.took[plugin["type"]].append((time.monotonic() - begin) * 1000)
        return answer


class Starts:
    """`run` makes so many pods; `result` is what came of it."""

    def __init__(self, world, seed, ours=True, attach="auto"):
        self.world, self.chance, self.seed = world, random.Random(seed), seed
        world.outside.run("nft", "-f", "-", text=SNIFFER)
        # Each start has an address of its own, so that the sniffer's count of it is that start's.
        self.chains = [Chain(world, first, ours=ours, attach=attach, subnets=(f"10.{net}.0.0/16", f"fd00:{net}::/64"))
                       for net, first in ((20, "ptp"), (21, "bridge"))]
        self.subnets = [ipaddress.ip_network(each) for chain in self.chains for each in chain.subnets]
        self.agent = Agent(world, "--attach", attach)
        self.agent.grant()
        self.owner, self.pods, self.kills, self.seconds = {}, [], 0, 0.0

    def run(self, count):
        kinds = [ORDINARY if at % 10 == 0 else GRANTED if at % 2 else CLOSED for at in range(count)]
        begin = time.monotonic()
        with Flood(self.world) as flood, Restless(self.agent, self.chance) as restless, \
                concurrent.futures.ThreadPoolExecutor(WORKERS) as workers:
            jobs = [workers.submit(self._start, flood, f"pod-{at}", kind, self.chance.choice(self.chains))
                    for at, kind in enumerate(kinds)]
            try:
                for each in jobs:
                    each.result()
            finally:
                for each in jobs:
                    each.cancel()
        self.agent.kill()
        self.kills, self.seconds = restless.kills, time.monotonic() - begin
        return self.result()

    def _start(self, flood, name, kind, chain):
        pod = Pod(self.world, name, kind)
        flood.add(pod)
        pod_namespace = "default" if kind == ORDINARY else "guest-bob"
        guest = chain.add(name, pod_namespace, space=pod.space, done=pod.begin)
        pod.addresses = guest.addresses
        if kind == GRANTED:
            self.agent.workload(guest)
        sent = pod.sent
        wanted = set() if kind == CLOSED else set(guest.addresses.values())
        eventually(lambda: pod.sent >= sent + 2 * ENOUGH and wanted <= flood.opened, PATIENCE_SECONDS,
                   what=lambda: f"{kind} {name} has flooded, and reaches whom it may; {self.agent.said()[-2000:]}")
        # What it has sent has left its kernel: nothing but grantd has stopped it.
        link = json.loads(pod.space.run("ip", "-json", "-statistics", "link", "show", "eth0"))[0]
        assert link["stats64"]["tx"]["packets"] >= 2 * ENOUGH, f"{name} did not flood: {link}"
        flood.remove(pod)
        for each in guest.addresses.values():
            self.owner[each] = pod
        self.pods.append(pod)
        chain.delete(guest, pod_namespace)
        if kind == GRANTED:
            self.agent.remove(f"workload-{guest.name}")
        self.world.namespaces.remove(pod.space)
        pod.space.close()

    def seen(self):
        """{(source, destination): packets} of the sniffer."""
        result = {}
        for family in FAMILY:
            told = json.loads(self.world.outside.run("nft", "-j", "list", "set", "netdev", "sniffer", f"seen{family}"))
            for each in next(part["set"] for part in told["nftables"] if "set" in part).get("elem", []):
                result[tuple(each["elem"]["val"]["concat"])] = each["elem"]["counter"]["packets"]
        return result

    def result(self):
        family = {address: number for party in (EARLY, STRANGER, GRANTEE) for number, address in party.items()}
        leaked, early, passed = collections.Counter(), collections.Counter(), collections.Counter()
        for (source, destination), packets in self.seen().items():
            if not any(ipaddress.ip_address(source) in subnet for subnet in self.subnets):
                continue  # the node's own
            pod = self.owner.get(source)
            if pod and pod.kind == ORDINARY:
                passed[ORDINARY] += packets if destination in STRANGER.values() else 0
            elif pod and pod.kind == GRANTED and destination in GRANTEE.values():
                passed[GRANTED] += packets
            elif pod and destination in EARLY.values():
                early[pod.name] += packets
            elif destination in family:
                leaked[source] += packets
        guests = [pod for pod in self.pods if pod.kind != ORDINARY]
        return {
            "seed": self.seed, "starts": len(self.pods), "seconds": round(self.seconds, 1), "agent_killed": self.kills,
            "by_kind": dict(collections.Counter(pod.kind for pod in self.pods)),
            "sent_outside_grant": sum(pod.sent for pod in guests),
            "passed_outside_grant": sum(leaked.values()),
            "received_outside_grant": sum(pod.received for pod in guests),
            "passed_within_grant": passed[GRANTED], "passed_of_ordinary_pods": passed[ORDINARY],
            "received_by_ordinary_pods": sum(pod.received for pod in self.pods if pod.kind == ORDINARY),
            "before_the_chain_was_done": {"starts": len(early), "packets": sum(early.values())},
        }


def costs(world, count):
    """Milliseconds that ADD takes, by plugin and kind of pod; one after the other, without any flood or agent."""
    result = {}
    for net, first in ((30, "ptp"), (31, "bridge")):
        chain = TimedChain(world, first, subnets=(f"10.{net}.0.0/16", f"fd00:{net}::/64"))
        for kind, pod_namespace in (("guest", "guest-bob"), ("ordinary", "default")):
            chain.took.clear()
            for at in range(count):
                pod = chain.add(f"cost-{first}-{kind}-{at}", pod_namespace)
                chain.delete(pod, pod_namespace)
                world.namespaces.remove(pod.namespace)
                pod.namespace.close()
            both = [sum(pair) for pair in zip(*chain.took.values())]
            for what, took in (("without_ms", chain.took[first]), ("grantd_cni_ms", chain.took["grantd-cni"]), ("with_ms", both)):
                result.setdefault(f"{first} {kind}", {})[what] = {
                    name: round(of(took), 1) for name, of in (("median", statistics.median), ("min", min), ("max", max))}
    return result


def main():
    parser = argparse.ArgumentParser(prog="pod_starts.py", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--starts", type=int, default=300)
    parser.add_argument("--costs", type=int, default=20, help="ADDs that the cost of one is taken from")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    with World() as world:
        taken = costs(world, options.costs)
    with World() as world:
        json.dump({**Starts(world, options.seed).run(options.starts), "add": taken}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
