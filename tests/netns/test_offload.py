"""Segmentation offload: a Grant pays for what goes on the wire, to the byte, and no offload opens anything (class 37)."""

import contextlib
import os
import select
import socket
import struct
import threading
import time

import frames
import pytest
from agent import Agent, Counted
from test_links import IFF_VNET_HDR, Tun, namespace_inside
from traffic import FAMILY, SO_RCVBUFFORCE, TcpPair, UdpPair
from world import GATEWAY, PARTIES, World, eventually

SENT_BY_THIS_END = 4  # PACKET_OUTGOING
AMOUNT = 2_000_000
VXLAN_PORT, INNER = 4789, {"guest": {4: "10.99.0.1", 6: "fd99::1"}, "outside": {4: "10.99.0.2", 6: "fd99::2"}}
SOL_UDP, UDP_SEGMENT = 17, 103
HOME = PARTIES["grantee"]
NEEDS_CHECKSUM, GSO_UDP = 1, 3  # linux/virtio_net.h
# linux/rtnetlink.h, linux/if_link.h
RTM_NEWLINK, NLM_F_REQUEST, NLM_F_ACK = 16, 1, 4
GSO_MAX_SIZE, GRO_MAX_SIZE, GSO_IPV4_MAX_SIZE, GRO_IPV4_MAX_SIZE = 41, 58, 63, 64
BIG = 180_000


class Wire:
    """Counts the frames and bytes of one TCP port that arrive at an end, or are sent by it."""

    def __init__(self, namespace, port, sent=False):
        self.sent, self.largest = sent, 0
        self.socket = namespace.packet_socket("eth0")
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        self.port, self.frames, self.bytes, self.stop = port, 0, 0, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stop.is_set():
            if not select.select([self.socket], [], [], 0.05)[0]:
                continue
            frame, (_, ethertype, kind, *_) = self.socket.recvfrom(1 << 17)
            at = {0x0800: 34, 0x86DD: 54}.get(ethertype)
            if (kind == SENT_BY_THIS_END) == self.sent and at and self.port in struct.unpack_from("!HH", frame, at):
                self.frames, self.bytes = self.frames + 1, self.bytes + len(frame)
                self.largest = max(self.largest, len(frame))

    def end(self):
        self.stop.set()
        self.thread.join()


class OffloadNode:
    """A guest under a Grant, behind interfaces whose last hop to a counted end carries real segments."""

    def __init__(self, world, offload):
        self.world, self.guest = world, world.add_guest("web")
        turn = "on" if offload else "off"
        features = ["tx", turn, "tso", turn, "gso", turn, "gro", turn]
        for namespace in (self.guest.namespace, world.outside):
            # An end that counts must not put together again what came in segments.
            namespace.run("ethtool", "-K", "eth0", *features[:-2], "gro", "off")
        world.node.run("ethtool", "-K", "uplink0", "gro", turn, "tso", "off", "gso", "off")
        world.node.run("ethtool", "-K", self.guest.interface, "gro", turn, "tso", "off", "gso", "off")
        for family in (4, 6):  # known neighbours: no question about them is charged in between
            self.guest.namespace.ip(f"neigh replace {GATEWAY[family]} lladdr {self.guest.gateway_mac} dev eth0 nud permanent")
            world.node.ip(f"neigh replace {self.guest.addresses[family]} lladdr {self.guest.mac} dev {self.guest.interface} "
                          "nud permanent")
        self.agent = Agent(world, listen="127.0.0.1:9786")
        self.agent.grant()
        self.agent.workload(self.guest)
        self.agent.start()

    def passed(self, direction):
        return charged(self.world, direction)


def charged(world, direction):
    """Bytes that the Grant has been charged with."""
    text = world.node.run("curl", "-s", "http://127.0.0.1:9786/metrics")
    of = f'grant="keystone-system/g",grantor="alice-home",grantee="bob-home",direction="{direction}"'
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return float(values.get(f"grantd_bytes_total{{{of}}}", 0))


def send(sender, receiver, amount):
    """Sends this much, the receiver's window being small enough for the queues between; all of it arrives."""
    sender.settimeout(20)
    receiver.settimeout(20)
    thread = threading.Thread(target=sender.sendall, args=(b"x" * amount,), daemon=True)
    thread.start()
    left = amount
    while left > 0:
        more = len(receiver.recv(1 << 16))
        assert more
        left -= more
    thread.join()


@pytest.mark.parametrize("direction", ["egress", "ingress"])
@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("family", [4, 6])
def test_a_grant_pays_for_what_is_on_the_wire(world, family, offload, direction):
    node = OffloadNode(world, offload)
    pair = TcpPair(node.guest, world.outside, family, to=HOME[family])
    assert pair.both()
    ends = [(node.guest.namespace, pair.client), (world.outside, pair.server)]
    (sending, sender), (counted, receiver) = ends if direction == "egress" else ends[::-1]
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
    before, wire, left = node.passed(direction), Wire(counted, pair.port), Wire(sending, pair.port, sent=True)
    send(sender, receiver, AMOUNT)

    eventually(lambda: node.passed(direction) - before == wire.bytes, what="the bytes charged being those on the wire")
    wire.end()
    left.end()
    assert wire.bytes > AMOUNT + 40 * AMOUNT // 1460
    assert wire.largest <= 1514
    assert left.largest > 3000 if offload else left.largest <= 1514, "the offload is what it should be"


def tunnel(node, family):
    """VXLAN between the guest and its grantee's realm; the uplink and the guest's interface leave the cutting to nobody."""
    for interface in ("uplink0", node.guest.interface):
        node.world.node.run("ethtool", "-K", interface, "tx-udp_tnl-segmentation", "off", "tx-udp_tnl-csum-segmentation", "off")
    for namespace, own, peer, inner in ((node.guest.namespace, node.guest.addresses[family], HOME[family], INNER["guest"]),
                                        (node.world.outside, HOME[family], node.guest.addresses[family], INNER["outside"])):
        namespace.ip(f"link add vx0 type vxlan id 7 local {own} remote {peer} dstport {VXLAN_PORT} udp6zerocsumtx udp6zerocsumrx"
                     " dev eth0", f"addr add {inner[4]}/24 dev vx0", f"addr add {inner[6]}/64 dev vx0 nodad",
                     "link set vx0 addrgenmode none up")


@pytest.mark.parametrize("direction, inner", [("egress", "tcp"), ("egress", "tcp6"), ("egress", "udp"), ("ingress", "tcp"), ("ingress", "udp")])
@pytest.mark.parametrize("family", [4, 6])
def test_a_tunnel_pays_for_the_headers_of_all_its_segments(world, family, direction, inner):
    node = OffloadNode(world, True)
    tunnel(node, family)
    kind = socket.SOCK_DGRAM if inner == "udp" else socket.SOCK_STREAM
    inner_family = 6 if inner == "tcp6" else 4
    ends = [("guest", node.guest.namespace), ("outside", world.outside)]
    (_, sending), (name, counted) = ends if direction == "egress" else ends[::-1]
    receiver, sender = (each.socket(FAMILY[inner_family], kind) for each in (counted, sending))
    receiver.bind((INNER[name][inner_family], 9400))
    if inner != "udp":
        receiver.listen()
    sender.connect((INNER[name][inner_family], 9400))
    accepted = receiver if inner == "udp" else receiver.accept()[0]
    time.sleep(1.2)  # what vx0 says of itself when it comes up
    before, wire, left = node.passed(direction), Wire(counted, VXLAN_PORT), Wire(sending, VXLAN_PORT, sent=True)
    if inner != "udp":
        send(sender, accepted, AMOUNT)
    else:
        sender.setsockopt(SOL_UDP, UDP_SEGMENT, 100)
        for _ in range(100):
            sender.send(b"x" * 6000)

    eventually(lambda: node.passed(direction) - before == wire.bytes, what="the bytes charged being those on the wire")
    wire.end()
    left.end()
    assert wire.frames > (5900 if inner == "udp" else 1000)
    assert wire.largest <= 1514
    assert left.largest > 3000, "the tunnel's packets are cut at the node's interface"


@pytest.mark.parametrize("family", [4, 6])
def test_what_a_tun_leaves_to_be_cut_into_fragments_is_charged_as_these(family):
    """Nobody but who writes to a tun or a tap asks for that any more. The UDP header is cut as data is, and each fragment of
    IPv6 has a header besides."""
    with World() as world:
        guest = Tun(world, "tun-guest", {4: "10.20.9.2", 6: "fd00:20::9:2"}[family], IFF_VNET_HDR)
        try:
            guest.governed_by(Agent(world, listen="127.0.0.1:9786"))
            sniffer = world.outside.packet_socket("eth0", timeout=0.5)
            payload, gso_size = b"letter" * 4, 8
            datagram = frames.udp(guest.address, HOME[family], 5555, 9400, payload)
            packet = (frames.ipv4 if family == 4 else frames.ipv6)(guest.address, HOME[family], datagram)
            header = struct.pack("<BBHHHH", NEEDS_CHECKSUM, GSO_UDP, len(packet) - len(payload), gso_size, len(packet) - len(datagram), 6)
            before = charged(world, "egress")
            os.write(guest.file, header + packet)
            source, pieces = socket.inet_pton(FAMILY[family], guest.address), []
            with contextlib.suppress(TimeoutError):
                while True:
                    frame = sniffer.recv(1 << 16)
                    if source == frame[26:30] if family == 4 else source == frame[22:38]:
                        pieces.append(len(frame) - 14)
            assert len(pieces) == len(datagram) / gso_size, "it was cut at the uplink"
            assert charged(world, "egress") - before == sum(pieces)
        finally:
            os.close(guest.file)


def allow_big_tcp(namespace, interface):
    """iproute2 of Debian 12 knows no such sizes of IPv4."""
    body = struct.pack("=BxHiII", 0, 0, namespace.interface_index(interface), 0, 0)
    body += b"".join(struct.pack("=HHI", 8, attribute, BIG) for attribute in (GSO_MAX_SIZE, GRO_MAX_SIZE, GSO_IPV4_MAX_SIZE, GRO_IPV4_MAX_SIZE))
    with namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW) as rtnetlink:
        rtnetlink.send(struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body)
        assert struct.unpack_from("=i", rtnetlink.recv(4096), 16)[0] == 0


@pytest.mark.parametrize("family", [4, 6])
def test_packets_larger_than_their_header_can_say_pass(world, family):
    node = OffloadNode(world, True)
    for namespace, interface in ((node.guest.namespace, "eth0"), (world.node, node.guest.interface)):
        allow_big_tcp(namespace, interface)
    # The option by which IPv6 says how large it is makes each segment too large for the node's routing.
    node.guest.namespace.ip("link set eth0 mtu 1480")
    pair = TcpPair(node.guest, world.outside, family, to=HOME[family])
    assert pair.both()
    sniffer, largest = node.guest.namespace.packet_socket("eth0", timeout=0.5), 0
    pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 23)
    pair.server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
    before, wire = node.passed("egress"), Wire(world.outside, pair.port)
    send(pair.client, pair.server, 20 * AMOUNT)
    with contextlib.suppress(TimeoutError):
        while True:
            largest = max(largest, len(sniffer.recv(1 << 18)))
    assert largest > 1 << 16, "it was as large as this is about"
    eventually(lambda: node.passed("egress") - before == wire.bytes, what="the bytes charged being those on the wire")
    wire.end()
    assert not node.agent.drops("malformed") and not node.agent.drops("too_short")


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("family", [4, 6])
def test_what_is_denied_stays_denied(world, family, offload):
    node = OffloadNode(world, offload)
    stranger, named = PARTIES["stranger"][family], PARTIES["destination"][family]
    refused = node.agent.drops("destination")
    assert not TcpPair(node.guest, world.outside, family, to=stranger, seconds=0.3).connected
    assert node.agent.drops("destination") > refused
    node.agent.in_force(lambda: node.agent.grant(destinations=["0.0.0.0/0", "::/0"]))
    assert TcpPair(node.guest, world.outside, family, to=stranger).connected, "the control, on the same way"
    pair = TcpPair(node.guest, world.outside, family, to=named, port=443)
    send(pair.client, pair.server, AMOUNT)
    node.agent.in_force(lambda: node.agent.grant(destinations=[]))
    wire, before = Wire(world.outside, pair.port), node.agent.drops("destination")
    pair.client.send(b"x" * 60000)
    assert pair.silent()
    wire.end()
    assert wire.frames == 0
    assert node.agent.drops("destination") > before


def forwarding(world, family):
    """A node whose guest forwards, by NAT, for a namespace inside it."""
    node = OffloadNode(world, True)
    inner = namespace_inside(world, node.guest, family)
    node.guest.namespace.run("iptables" if family == 4 else "ip6tables", "-w", "-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE")
    return node, node.guest.namespace, inner


@pytest.mark.parametrize("family", [4, 6])
def test_a_chain_of_packets_does_not_pass(world, family):
    """What a guest forwards it may have chained as it came (rx-gro-list). Of a chain only the first packet is in sight, and
    kernels before 2025 rewrite only that one where the guest has NAT."""
    node, guest, inner = forwarding(world, family)
    inner.run("ethtool", "-K", "eth0", "tx-udp-segmentation", "off")  # so they come one by one, and together
    pair = UdpPair(inner, world.outside, family, to=HOME[family])
    assert pair.both()
    pair.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    pair.client.setsockopt(SOL_UDP, UDP_SEGMENT, 1000)

    def arrive():
        """Of sixteen, and the largest frame in which they left the guest."""
        left, arrived = Wire(guest, pair.port, sent=True), 0
        pair.client.sendto(b"x" * 16000, pair.goal)
        pair.server.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while pair.server.recv(2000):
                arrived += 1
        left.end()
        return arrived, left.largest

    assert arrive() == (16, 1042 if family == 4 else 1062)
    guest.run("ethtool", "-K", "nest0", "gro", "on", "rx-gro-list", "on")
    with Counted(node.agent, "malformed"):
        arrived, largest = arrive()
    assert arrived == 0 and largest > 3000, "it was a chain"
    guest.run("ethtool", "-K", "nest0", "rx-gro-list", "off")
    assert arrive()[0] == 16


@pytest.mark.parametrize("family", [4, 6])
def test_a_chain_of_segments_does_not_pass(world, family):
    """The same of TCP. What is sent again comes alone, and passes."""
    node, guest, inner = forwarding(world, family)
    inner.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off")  # so they come one by one, and together
    pair = TcpPair(inner, world.outside, family, to=HOME[family])
    assert pair.both()

    def largest():
        left = Wire(guest, pair.port, sent=True)
        send(pair.client, pair.server, AMOUNT)
        left.end()
        return left.largest
    largest()
    assert not node.agent.drops("malformed"), "the control"
    guest.run("ethtool", "-K", "nest0", "gro", "on", "rx-gro-list", "on")
    before = node.agent.drops("malformed")
    if largest() <= 1514:
        pytest.skip("this kernel chains nothing of TCP")
    assert node.agent.drops("malformed") > before
