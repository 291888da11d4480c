"""Limits at their edges: rates from 64 kbit/s to 10 Gbit/s, small and jumbo MTUs, with and without offload, guest to guest,
thousands of Grants; and every byte that they count beside a sniffer on the wire (classes 37 and 38)."""

import contextlib
import json
import random
import re
import socket
import struct
import threading
import time

import pytest
from agent import Agent
from node import Node
from queues import classes
from test_bandwidth import udp_bytes
from test_iperf3 import LOAD, Iperf3
from test_offload import SOL_UDP, UDP_SEGMENT
from test_shaping import GRANT, known, limited_bytes, metrics, nothing_waits, segments
from traffic import FAMILY, SO_RCVBUFFORCE, SO_SNDBUFFORCE, Ping, TcpPair, UdpPair, know_neighbours
from world import KERNEL, PARTIES, eventually, run

HOME = PARTIES["grantee"]
BURST = 256 * 1024
SOL_PACKET, PACKET_STATISTICS, PACKET_VNET_HDR, PACKET_OUTGOING = 263, 6, 15, 4
VNET_HEADER = struct.Struct("=BBHHHH")  # before each frame: the fourth is the payload of each of its segments
ETHERTYPE, ETH_P_ALL = {4: 0x0800, 6: 0x86DD}, 3


def limit(bits, burst=True):
    """To `bits` a second, both ways."""
    return {"hard": {f"keystone.io/{way}-bandwidth": str(bits) for way in ("egress", "ingress")},
            **({"bandwidth": {"egressBurst": "256Ki", "ingressBurst": "256Ki"}} if burst else {})}


def is_limited(node, bits, guests=1, **more):
    """The agent has been told so, and queues stand."""
    node.agent.in_force(lambda: node.agent.grant(**limit(bits, **more)))
    eventually(lambda: len(classes(node)) == 2 + 2 * guests, what="a class of the Grant and of each guest, each way")


class Wire:
    """Bytes of the frames that come in through an interface from or to an address, or with `sent` leave through it, as a sniffer
    sees them once they are cut; and the largest of them as it was seen."""

    def __init__(self, namespace, address, sent=False):
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address, self.bytes, self.frames, self.stop = socket.inet_pton(self.family, address), 0, 0, threading.Event()
        self.sent, self.largest = sent, 0
        self.socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 28)
        self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.socket.settimeout(0.1)
        self.ethertype = ETHERTYPE[6 if ":" in address else 4]
        self.socket.bind(("eth0", ETH_P_ALL if sent else self.ethertype))  # what leaves is shown to who asks for all kinds
        self.thread = threading.Thread(target=self._count, daemon=True)

    def _count(self):
        told, head = VNET_HEADER.size, bytearray(VNET_HEADER.size + 80)
        begin, size = (told + 22, 16) if self.family == socket.AF_INET6 else (told + 26, 4)
        while True:
            try:
                length, where = self.socket.recvfrom_into(head, 0, socket.MSG_TRUNC)
            except TimeoutError:
                if self.stop.is_set():
                    return
                continue
            if (where[1], where[2] == PACKET_OUTGOING) != (self.ethertype, self.sent):
                continue
            if self.address in (head[begin:begin + size], head[begin + size:begin + 2 * size]):
                length, segment = length - told, VNET_HEADER.unpack_from(head)[3]
                self.bytes, self.frames, self.largest = self.bytes + length, self.frames + 1, max(self.largest, length)
                if segment:
                    headers = self._headers(head[told:])
                    self.bytes += headers * (-(-(length - headers) // segment) - 1)

    def _headers(self, frame):
        """How much of a frame each of its segments has, of TCP or UDP without extension headers."""
        at, protocol = (54, frame[20]) if self.family == socket.AF_INET6 else (34, frame[23])
        return at + (8 if protocol == socket.IPPROTO_UDP else frame[at + 12] // 16 * 4)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        _, lost = struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        assert lost == 0, "the sniffer was too slow"
        self.socket.close()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_counted_is_what_a_sniffer_counts(metered, family, reverse):
    """To the byte, with packets of segmentation offload on our hooks and single ones on the wire."""
    world, guest, direction = metered.world, metered.guest, "ingress" if reverse else "egress"
    is_limited(metered, 200_000_000)
    assert UdpPair(guest, world.outside, family, to=HOME[family]).both()  # neighbours are known now
    if reverse:  # cut behind our program
        world.node.ip(f"link set {guest.interface} gso_max_segs 1")
    else:
        world.node.ip("link set uplink0 gso_max_segs 1")
    before = metrics(metered)
    with Wire(guest.namespace if reverse else world.outside, guest.addresses[family]) as wire:
        Iperf3(metered, family, "-t", "1", "-P", "2", reverse=reverse).received()
        Iperf3(metered, family, "-u", "-b", "20M", "-l", "1200", "-t", "1", reverse=reverse).received()
        assert Ping(guest, family, HOME[family]).answered()
        nothing_waits(metered, direction)
        time.sleep(0.2)
    after = metrics(metered)
    assert wire.frames > 1000
    assert limited_bytes(after, "allowed", direction) - limited_bytes(before, "allowed", direction) == wire.bytes


# Of large packets of UDP an older kernel cannot tell a packet socket how they are cut.
LARGE_UDP = KERNEL >= (6, 2)


def offer(sender, goal, source=""):
    """At once 8.6 MB of UDP in large packets, which the kernel cuts where the interface does not take them; more than any queue
    holds at 40 Mbit/s."""
    made = sender.socket(FAMILY[6 if ":" in goal else 4], socket.SOCK_DGRAM, timeout=20)
    made.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 26)
    made.setsockopt(SOL_UDP, UDP_SEGMENT, 1400)
    made.bind((source, 0))
    size = 56_000 if LARGE_UDP else 1400
    for _ in range(8_400_000 // size):
        made.sendto(b"x" * size, (goal, 9340))


@pytest.mark.parametrize("direction", ["egress", "ingress"])
@pytest.mark.parametrize("offload", [True, False], ids=["large packets", "single ones"])
@pytest.mark.parametrize("shaper", ["htb", "policer"])
def test_what_was_dropped_is_what_a_sniffer_misses(world, shaper, offload, direction):
    """To the byte, once nothing moves: what left the sender and did not arrive, the Grant lost in a queue or refused."""
    node = Node(world, "--shaper", shaper, listen="127.0.0.1:9786")
    guest, reverse = node.guest, direction == "ingress"
    family = 6 if reverse else 4
    know_neighbours(guest, family)
    node.agent.in_force(lambda: node.agent.grant(**limit(40_000_000)))
    if shaper == "htb":
        eventually(lambda: len(classes(node)) == 4 and segments(guest) == 1, what="queues, and the guest's packets small")
    sender, receiver = (world.outside, guest.namespace) if reverse else (guest.namespace, world.outside)
    sender.ip("link set eth0 gso_max_segs 65535")
    if not offload:
        sender.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off", "tx-udp-segmentation", "off")
    assert UdpPair(guest, world.outside, family, to=HOME[family]).both()
    before = eventually(lambda: known(node), what="what was lost, known")
    refused = refused_bytes(node.agent, direction)
    with Wire(sender, guest.addresses[family], sent=True) as left, Wire(receiver, guest.addresses[family]) as came:
        Iperf3(node, family, "-t", "1", "-P", "2", reverse=reverse).received()
        offer(sender, *((guest.addresses[family], HOME[family]) if reverse else (HOME[family],)))
        nothing_waits(node, direction)
        time.sleep(0.2)
    after = eventually(lambda: known(node), what="what was lost, known")
    grown = {outcome: limited_bytes(after, outcome, direction) - limited_bytes(before, outcome, direction)
             for outcome in ("allowed", "lost", "refused")}
    assert left.largest > 3000 if offload else 1000 < left.largest <= 1514, "they leave as this is about"
    assert came.bytes == grown["allowed"] > 1_000_000
    assert left.bytes - came.bytes == grown["lost"] + grown["refused"] > 1_000_000
    assert grown["refused"] == refused_bytes(node.agent, direction) - refused, "grantctl says the same"
    assert grown["lost" if shaper == "policer" else "refused"] == 0


def refused_bytes(agent, direction):
    return sum(each["bytes"] for each in agent.json("drops")["drops"]
               if (each["reason"], each["direction"], each["grant"]) == ("rate_limit", direction, GRANT))


@pytest.mark.parametrize("reverse", [False, True])
def test_the_lowest_rate(node, reverse):
    """64 kbit/s: eight kilobytes a second, and what is larger than a quarter of that passes too."""
    is_limited(node, 64_000)
    outside, guest = node.world.outside, node.guest
    pair = TcpPair(guest, outside, 4, to=HOME[4])
    assert pair.both()
    ends = (outside, guest, guest.addresses[4], 9310) if reverse else (guest, outside, HOME[4], 9311)
    (got,), elapsed = udp_bytes([ends], 3)
    assert 0.8 * 8000 * elapsed <= got <= BURST + 8000 * elapsed
    assert got < 1.5 * 8000 * elapsed, "queues let no burst through"


def test_the_highest_rate(node):
    """10 Gbit/s is more than this path carries beside a queue; nothing is lost, and the kernel holds the whole number. A
    burst of 256 KiB would be a fifth of a millisecond; the default is a quarter of a second."""
    is_limited(node, 10_000_000_000, burst=False)
    unit = {"M": 1e6, "G": 1e9}
    rates = [float(number) * unit[prefix] for each in classes(node) for number, prefix in re.findall(r" rate ([\d.]+)(\w)bit", each)]
    assert len(rates) == 4 and all(9.97e9 <= rate <= 10e9 for rate in rates), classes(node)
    got, elapsed = Iperf3(node, 4, "-t", "2").received()
    assert 300_000_000 / 8 * elapsed <= got <= 10_000_000_000 / 8 * (elapsed + 0.25)
    assert node.agent.drops("rate_limit") == 0


@pytest.mark.parametrize("mtu", [1280, 9000])
@pytest.mark.parametrize("offload", [True, False])
def test_mtu_and_offload(node, mtu, offload):
    """Also where the guest sends large packets, though the agent lets its end take small ones: whoever owns it may do that."""
    world, guest, rate = node.world, node.guest, 40_000_000
    everywhere = [(world.node, "uplink0"), (world.outside, "eth0"), (world.node, guest.interface), (guest.namespace, "eth0")]
    for namespace, interface in everywhere:
        namespace.ip(f"link set {interface} mtu {mtu}")
    is_limited(node, rate)
    eventually(lambda: segments(guest) == 1, what="the guest's packets small")
    for namespace, interface in everywhere:
        namespace.ip(f"link set {interface} gso_max_segs {65535 if offload else 1}")
    for family, reverse in ((4, False), (6, True)):
        with Wire(guest.namespace, guest.addresses[family], sent=not reverse) as wire:
            got, elapsed = Iperf3(node, family, "-t", "2", reverse=reverse).received()
        assert 0.65 * rate / 8 * 2 <= got <= BURST + rate / 8 * elapsed, (family, reverse)
        assert wire.largest > 2 * mtu if offload else mtu < wire.largest <= mtu + 14, (family, reverse)
    assert node.agent.drops("rate_limit") + node.agent.drops("rate_limit", "ingress") == 0


def test_guest_to_guest_is_charged_once_each_way(metered):
    """Two guests of one Grant on one node: a packet leaves the one and reaches the other."""
    guest, other, rate = metered.guest, metered.world.add_guest("other"), 16_000_000
    metered.agent.workload(other)
    is_limited(metered, rate, guests=2)
    assert UdpPair(guest, other, 4, to=other.addresses[4]).both()  # neighbours are known now
    before = metrics(metered)
    with Wire(other.namespace, guest.addresses[4]) as wire:
        sender = guest.socket(socket.AF_INET, socket.SOCK_DGRAM, timeout=20)
        receiver = other.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind((other.addresses[4], 9330))
        begin = time.monotonic()
        for _ in range(2000):
            sender.sendto(b"x" * 1400, (other.addresses[4], 9330))
        eventually(lambda: wire.frames == 2000, what="all of them")
        elapsed = time.monotonic() - begin
    after = metrics(metered)
    grown = {(who.name, way): limited_bytes(after, "allowed", way, who.name) - limited_bytes(before, "allowed", way, who.name)
             for who in (guest, other) for way in ("egress", "ingress")}
    assert grown == {("web", "egress"): wire.bytes, ("other", "ingress"): wire.bytes, ("web", "ingress"): 0, ("other", "egress"): 0}
    assert wire.bytes <= BURST + rate / 8 * elapsed, "and held to the rate, once"
    assert wire.bytes >= 0.6 * rate / 8 * elapsed, "not twice"


@pytest.mark.parametrize("loses", [False, True], ids=["a sender that waits", "a sender that overruns"])
def test_what_queues_lost_never_goes_down(metered, loses):
    """Whenever one looks; and what only moves is not lost, so that in the end it is what did not arrive."""
    is_limited(metered, 40_000_000 if loses else 400_000_000)
    direction = "ingress" if loses else "egress"
    flow = Iperf3(metered, 4, *(["-u", "-b", "200M", "-l", "1400"] if loses else []), "-t", "2", reverse=loses)
    seen = []
    while flow.client.poll() is None:
        with contextlib.suppress(KeyError):  # it is not known yet
            seen.append(limited_bytes(metrics(metered), "lost", direction))
    nothing_waits(metered, direction)
    lost, back = eventually(lambda: [limited_bytes(metrics(metered), outcome, direction) for outcome in ("lost", "delayed")],
                            what="both, known")
    assert len(seen) > 5 and [*seen, lost] == sorted([*seen, lost])
    usage = json.loads(run("bpftool", "-j", "map", "dump", "pinned", f"{metered.world.pin_root}/maps/grantd_usage_v1"))
    queued = sum(each["formatted"]["value"]["queued_bytes"] for each in usage
                 if each["formatted"]["key"]["direction"] == ["egress", "ingress"].index(direction))
    assert lost > 1_000_000 if loses else lost == 0
    assert back > 1_000_000 and lost + back == queued, "to the byte"


def is_held_and_follows(agent, guest, rate, port):
    """A flood of the guest's, under this limit and then under a quarter of it."""
    (got,), elapsed = udp_bytes([(guest, agent.world.outside, HOME[4], port)], 1.5)
    assert 0.7 * rate / 8 * elapsed <= got <= BURST + rate / 8 * elapsed
    agent.in_force(lambda: agent.grant(**limit(rate // 4)))
    (got,), elapsed = udp_bytes([(guest, agent.world.outside, HOME[4], port + 1)], 1.5)
    assert 0.7 * rate / 4 / 8 * elapsed <= got <= BURST + rate / 4 / 8 * elapsed


def test_thousands_of_limited_grants(world):
    """Of which this node has the guest of one; that one is held, and follows a change, beside all others."""
    guest, rate = world.add_guest("web"), 16_000_000
    agent = Agent(world)
    for number in range(3000):
        agent.grant(f"other-{number}", **limit(64_000 + number))
    agent.grant(**limit(rate))
    agent.workload(guest)
    agent.start()
    is_held_and_follows(agent, guest, rate, port=9320)


@pytest.mark.parametrize("family, reverse, kind, seconds", [
    (4, False, "TCP", 8), (6, True, "TCP", 4), (6, False, "UDP", 4), (4, True, "UDP", 4),
], ids=["TCP out", "TCP in, IPv6", "UDP out, IPv6", "UDP in"])
def test_a_long_churn_of_rates_under_load(node, family, reverse, kind, seconds):
    """No change gives anything away, and connections both ways outlive all of them. The seed is told."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance, changes = random.Random(seed), []
    is_limited(node, 16_000_000)
    pairs = [TcpPair(node.guest, node.world.outside, 4, to=HOME[4]),
             TcpPair(node.world.outside, node.guest, 6, to=node.guest.addresses[6], source_address=HOME[6])]
    assert all(pair.both() for pair in pairs)
    changes.append((time.monotonic(), 16_000_000))
    run = Iperf3(node, family, *LOAD[kind], "-t", str(seconds), reverse=reverse)
    while time.monotonic() < run.begin + seconds:
        bits = chance.choice([each for each in (2_000_000, 5_000_000, 16_000_000, 40_000_000, 200_000_000)
                              if each != changes[-1][1]])
        changes.append((time.monotonic(), max(bits, changes[-1][1])))  # a rise counts from before it is told, a fall from after
        node.agent.in_force(lambda bits=bits: node.agent.grant(**limit(bits)))
        changes.append((time.monotonic(), bits))
        time.sleep(chance.uniform(0, 0.2))
    got, elapsed = run.received()
    end = run.begin + elapsed
    rates = list(zip(changes, [*changes[1:], (end, 0)]))

    def allowed(offered=float("inf")):
        return BURST + sum(min(max(bits, next_bits if until != end else 0), offered) / 8 * (until - since)
                           for (since, bits), (until, next_bits) in rates)

    assert len(changes) > 2.5 * seconds
    assert 0.15 * allowed(64e6 if kind == "UDP" else float("inf")) <= got <= allowed()
    assert all(pair.both() for pair in pairs)
    # What the queue lets go before it hears of a lower rate is charged at that one; it may be more than the burst, and of what
    # goes to a guest more waits.
    assert node.agent.drops("rate_limit", "ingress" if reverse else "egress") < got / 1448 / (4 if reverse else 20)
