"""The gate behind the programs (decision 69): what a guest sends past from_guest is dropped all the same (classes 33 and 35)."""

import json
import signal
import socket

import frames
import pytest
from agent import Agent, Counted
from foreign import foreign_filter
from node import Node
from sniffing import Sniffer
from test_metrics import get, get_metric
from traffic import FAMILY, UdpPair, know_neighbours, mac_of, mark_bytes, next_port
from world import NODE, PARTIES, World, eventually, ports_of_a_bridge

BURST = 200
# The kernel marks what comes out of an ifb as not to be classified again, over the link to the node too; only a second action
# takes that mark away. So half of all packets, by SKF_AD_RANDOM, take the way through it, and a quarter arrives marked.
HALF = "5,32 0 0 4294963256,84 0 0 1,21 0 1 1,6 0 0 4294967295,6 0 0 0"
LOCAL_EXPERIMENT = 0x88b5
ELEMENTS = "netlink 2573"  # NFT_MSG_GETSETELEM, the last that a look at a table asks for


def skip_classification(guest):
    space = guest.namespace
    space.ip("link add ifb9 type ifb", "link set ifb9 up")
    space.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    space.run("tc", "filter", "add", "dev", "eth0", "egress", "protocol", "all", "bpf", "bytecode", HALF, "action", "mirred", "egress",
              "redirect", "dev", "ifb9")


def arrivals(source, destination, family, to, port=None):
    """Of so many datagrams."""
    for each in (source, destination):
        know_neighbours(each, family)
    goal = (to, port or next_port())
    receiver = destination.socket(FAMILY[family], socket.SOCK_DGRAM)
    receiver.bind(goal)
    receiver.settimeout(0.3)
    sender = source.socket(FAMILY[family], socket.SOCK_DGRAM)
    for _ in range(BURST):
        sender.sendto(b"x", goal)
    count = 0
    try:
        while receiver.recv(64):
            count += 1
    except TimeoutError:
        return count


def tables(world):
    listed = json.loads(world.node.run("nft", "-j", "list", "tables"))["nftables"]
    return {(each["table"]["family"], each["table"]["name"]) for each in listed if "table" in each and
            each["table"]["name"].startswith("grantd")}


def delete_tables(world):
    for family, name in tables(world):
        world.node.run("nft", "delete", "table", family, name)


def at_the_gate(agent, reason):
    """What grantctl counts of the guests of the only Grant."""
    rows = json.loads(agent.ctl("drops", "--reason", reason, "--output", "json").stdout)["drops"]
    assert all(row["grant"] == rows[0]["grant"] and not row["grant"].startswith("(") for row in rows)
    return sum(row["packets"] for row in rows)


def members(world, family="inet"):
    name = next(name for of, name in tables(world) if of == family)
    return json.loads(world.node.run("nft", "-j", "list", "set", family, name, "guests"))["nftables"][-1]["set"].get("elem", [])


@pytest.mark.parametrize("family", [4, 6])
def test_what_the_guest_lets_skip_the_programs_is_dropped(metered, family):
    node, stranger, home = metered, PARTIES["stranger"][family], PARTIES["grantee"][family]
    world, agent = node.world, node.agent
    skip_classification(node.guest)
    with Counted(agent, "destination"):
        assert arrivals(node.guest, world.outside, family, stranger) == 0
    assert arrivals(node.guest, world.outside, family, home) > BURST / 2, "the control"
    agent.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the kernel passes by the programs" in agent.said(), what=agent.said)
    assert eventually(lambda: get_metric(world, "grantd_unjudged_packets_total") > BURST / 20)
    assert get_metric(world, "grantd_drift_repaired_total") == 0
    assert eventually(lambda: at_the_gate(agent, "unjudged") == get_metric(world, "grantd_unjudged_packets_total"))

    agent.process.send_signal(signal.SIGSTOP)
    delete_tables(world)
    assert arrivals(node.guest, world.outside, family, stranger) > BURST / 20, "the kernel does pass them by"
    agent.process.send_signal(signal.SIGCONT)
    eventually(lambda: len(tables(world)) == 3, what=agent.said)
    assert arrivals(node.guest, world.outside, family, stranger) == 0
    assert eventually(lambda: get_metric(world, "grantd_drift_repaired_total") > 0)

    agent.kill()
    assert arrivals(node.guest, world.outside, family, stranger) == 0, "it holds without an agent"
    assert agent.uninstall().returncode == 0
    assert not tables(world)
    assert arrivals(node.guest, world.outside, family, stranger) > BURST / 20


def test_what_skips_the_programs_reaches_nobody_on_a_bridge():
    """Nor does a frame that is no IP."""
    with World() as world:
        guest, pod = world.add_guest("one"), world.add_guest("two")
        ports_of_a_bridge(world, guest, pod)
        skip_classification(guest)
        agent = Agent(world)
        agent.grant()
        agent.workload(guest)

        def frames():
            """That arrive of so many."""
            sniffer = Sniffer(pod.namespace, [b"no IP at all"])
            sender = guest.namespace.socket(socket.AF_PACKET, socket.SOCK_RAW)
            sender.bind(("eth0", LOCAL_EXPERIMENT))
            for _ in range(BURST):
                sender.send(b"\xff" * 6 + bytes.fromhex(guest.mac.replace(":", "")) + LOCAL_EXPERIMENT.to_bytes(2, "big") +
                            b"no IP at all".ljust(46, b"\0"))
            return sniffer.arrived()

        assert arrivals(guest, pod, 4, pod.addresses[4]) > BURST / 20 and frames() > BURST / 20, "without an agent"
        agent.start()
        assert arrivals(guest, pod, 4, pod.addresses[4]) == 0 and frames() == 0
        assert arrivals(guest, world.outside, 4, PARTIES["stranger"][4]) == 0
        assert arrivals(guest, world.outside, 4, PARTIES["grantee"][4]) > BURST / 2, "the control"
        agent.process.send_signal(signal.SIGSTOP)  # it hears of what follows
        delete_tables(world)
        assert arrivals(guest, pod, 4, pod.addresses[4]) > BURST / 20 and frames() > BURST / 20
        agent.process.send_signal(signal.SIGCONT)


def test_the_gate_is_mended_and_follows_the_guests(metered):
    """Whatever somebody changes in it, at once. Others' tables are nobody's business."""
    world, agent = metered.world, metered.agent
    world.node.run("nft", "add", "table", "inet", "somebody")
    names = dict(tables(world))
    assert set(names) == {"inet", "bridge", "arp"}
    changes = {
        "a rule before ours": ("insert", "rule", "inet", names["inet"], "unjudged", "accept"),
        "no rule": ("flush", "chain", "bridge", names["bridge"], "unjudged"),
        "nobody behind it": ("flush", "set", "inet", names["inet"], "guests"),
        "asleep": ("add", "table", "arp", names["arp"], "{ flags dormant; }"),
        "nothing": ("flush", "ruleset"),
    }

    def state():
        return [world.node.run("nft", "-s", "list", "table", family, name) for family, name in sorted(tables(world))]
    whole = state()
    assert all("what from_guest has not judged" in each and metered.guest.interface in each for each in whole), whole
    for what, change in changes.items():
        before = get_metric(world, "grantd_drift_repaired_total")
        agent.process.send_signal(signal.SIGSTOP)
        world.node.run("nft", *change)
        assert state() != whole, what
        agent.process.send_signal(signal.SIGCONT)
        eventually(lambda: state() == whole, what=lambda what=what: f"{what}: {state()}")
        assert eventually(lambda before=before: get_metric(world, "grantd_drift_repaired_total") > before), what

    other = world.add_guest("other")
    agent.workload(other)
    eventually(lambda: agent.has_active("other"), what=agent.said)
    both = len(members(world))
    assert both == 2 and UdpPair(other, world.outside, 4, to=PARTIES["grantee"][4]).both()
    world.remove_guest(other)
    eventually(lambda: len(members(world)) == 1, what=lambda: members(world))


def test_a_look_that_fails_does_not_make_it_missing(world, faults):
    node = Node(world, listen="127.0.0.1:9786", environment=faults.environment)
    agent = node.agent

    def is_told(value):
        return f"grantd_gate_in_place {value}\n" in get(world, "/metrics")[0]
    eventually(lambda: is_told(1), what=agent.said)
    looks = next(place for place, (name, *_) in faults.operations("netlink").items() if name == ELEMENTS)
    faults.arm("netlink", 1, goes_on=True, only=looks)
    agent.process.send_signal(signal.SIGHUP)
    eventually(lambda: "could not be read whether the gate stands" in agent.said(), what=agent.said)
    once = faults.failed()
    eventually(lambda: faults.failed() > once, what="it is tried again soon")
    assert is_told(1) and len(tables(world)) == 3
    assert "may not be dropped" not in agent.said()

    other = world.add_guest("other")
    agent.workload(other)
    eventually(lambda: is_told(0), what="who comes meanwhile is not behind it")
    assert "may not be dropped" in agent.said()
    faults.disarm()
    eventually(lambda: is_told(1), 10, what=agent.said)
    assert len(members(world)) == 2 and get_metric(world, "grantd_drift_repaired_total") == 0


class Service:
    """One of the node's own, by UDP, which answers; who may speak to it, on a wire, and the guest that would go on."""

    def __init__(self, world, guest, family, wire, macs):
        self.guest, self.family, self.wire, self.macs, self.port = guest, family, wire, macs, next_port()
        self.own = guest.addresses[family]
        self.server = world.node.socket(FAMILY[family], socket.SOCK_DGRAM, timeout=0.3)
        self.server.bind((NODE[family], self.port))
        self.client = guest.socket(FAMILY[family], socket.SOCK_DGRAM)
        self.client.bind((self.own, 4000))

    def hears(self, source):
        """Whether it gets what has that source."""
        payload, to = mark_bytes(), NODE[self.family]
        ip, ethertype = (frames.ipv4, 0x0800) if self.family == 4 else (frames.ipv6, 0x86dd)
        self.wire.send(frames.ethernet(*self.macs, ethertype, ip(source, to, frames.udp(source, to, 4000, self.port, payload))))
        try:
            data, sender = self.server.recvfrom(64)
        except TimeoutError:
            return False
        self.server.sendto(b"answer", sender)
        return data == payload

    def is_reached(self):
        """By the guest."""
        self.client.sendto(b"more", (NODE[self.family], self.port))
        try:
            return self.server.recv(64) == b"more"
        except TimeoutError:
            return False

    def is_kept_from(self, agent, other):
        """Nobody speaks for the guest; `other` is on the same way. Without the gate it is open."""
        assert self.hears(other), "the control"
        with Counted(agent, "protected_destination"):
            assert not self.is_reached()
        assert not self.hears(self.own) and not self.is_reached()

    def is_open_without_the_gate(self, world, agent):
        agent.process.send_signal(signal.SIGSTOP)
        delete_tables(world)
        assert self.hears(self.own) and self.is_reached(), "without it the guest reaches the service"
        agent.process.send_signal(signal.SIGCONT)


def told_of(world, agent, service):
    agent.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: get_metric(world, "grantd_forged_packets_total") == 1)
    assert f"address {service.own}" in agent.said()
    assert at_the_gate(agent, "forged") == 1


@pytest.mark.parametrize("family", [4, 6])
def test_nobody_speaks_for_a_guest_to_the_node(metered, family):
    """The answer of a service of the node's own would begin a flow that the guest may go on with (class 48)."""
    world, agent, guest = metered.world, metered.agent, metered.guest
    service = Service(world, guest, family, world.outside.packet_socket("eth0"), (mac_of(world.node, "uplink0"), "02:00:00:00:00:99"))
    service.is_kept_from(agent, PARTIES["stranger"][family])
    told_of(world, agent, service)
    service.is_open_without_the_gate(world, agent)


@pytest.mark.parametrize("family", [4, 6])
def test_nor_behind_an_interface_that_is_no_uplink(metered, family):
    world, agent = metered.world, metered.agent
    stranger = world.add_guest("nobody")
    service = Service(world, metered.guest, family, stranger.namespace.packet_socket("eth0"), (stranger.gateway_mac, stranger.mac))
    service.is_kept_from(agent, stranger.addresses[family])
    told_of(world, agent, service)
    service.is_open_without_the_gate(world, agent)


def test_nor_a_pod_on_the_guests_bridge():
    """What the guest may say to the node arrives there."""
    with World() as world:
        guest, pod = world.add_guest("one"), world.add_guest("two")
        ports_of_a_bridge(world, guest, pod)
        agent = Agent(world)
        agent.grant()
        agent.workload(guest)
        agent.start()
        service = Service(world, guest, 4, pod.namespace.packet_socket("eth0"), (mac_of(world.node, "br0"), pod.mac))
        service.is_kept_from(agent, pod.addresses[4])
        service.is_open_without_the_gate(world, agent)
        agent.in_force(lambda: agent.grant(destinations=[f"{NODE[4]}:{service.port}/UDP"]))
        assert eventually(service.is_reached, what="it is granted")


def test_who_accepts_all_before_ours_opens_nothing_outwards(world):
    """With clsact, while the agent sleeps: the newest filter of the first priority goes first."""
    node = Node(world, "--attach", "clsact")
    agent, guest = node.agent, node.guest
    eventually(lambda: len(tables(world)) == 3, what=agent.said)  # put there after the programs
    agent.process.send_signal(signal.SIGSTOP)
    foreign_filter(world, guest.interface, "ingress", 0)  # TC_ACT_OK
    assert arrivals(guest, world.outside, 4, PARTIES["stranger"][4]) == 0
    delete_tables(world)
    assert arrivals(guest, world.outside, 4, PARTIES["stranger"][4]) == BURST, "it does accept all"
    agent.process.send_signal(signal.SIGCONT)


def test_uninstall_takes_it_away_by_any_spelling_and_from_no_other_network(metered):
    """Without the programs it would drop all that the guests send, and no agent is left to say so."""
    world, agent, stranger = metered.world, metered.agent, PARTIES["stranger"][4]
    agent.settings()
    agent.kill()
    elsewhere = agent.uninstall(namespace=world.outside)
    assert elsewhere.returncode == 1 and "another network namespace than the agent's" in elsewhere.stderr, elsewhere.stderr
    assert len(tables(world)) == 3 and arrivals(metered.guest, world.outside, 4, stranger) == 0, "nothing of it has begun"
    assert agent.uninstall(pin_root=f"{world.pin_root}/.//").returncode == 0
    assert not tables(world)
    assert arrivals(metered.guest, world.outside, 4, stranger) == BURST
