"""A guest with every right inside its own namespace speaks for itself alone, whatever frames it makes (classes 16 to
27, 34, 35). Each frame differs in one thing from one that arrives."""

import json
import mmap
import socket
import struct

import frames
import pytest
from agent import Counted
from traffic import mark_bytes, next_port, receives
from world import GATEWAY, PARTIES, run


class Wire:
    """Frames out of the guest by a packet socket, and who receives their payload."""

    def __init__(self, node, family=4):
        self.node, self.family, self.guest = node, family, node.guest
        self.to, self.port = PARTIES["grantee"][family], next_port()
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        self.receiver = node.world.outside.socket(kind, socket.SOCK_DGRAM)
        self.receiver.bind((self.to, self.port))
        self.sender = self.guest.namespace.packet_socket("eth0")

    def packet(self, payload, source=None, to=None, **header):
        source, to = source or self.guest.addresses[self.family], to or self.to
        datagram = frames.udp(source, to, 5555, self.port, payload)
        return (frames.ipv4 if self.family == 4 else frames.ipv6)(source, to, datagram, **header)

    def frame(self, packet, from_mac=None, to_mac=None, ethertype=None, tags=()):
        ethertype = ethertype or (0x0800 if self.family == 4 else 0x86dd)
        return frames.ethernet(to_mac or self.guest.gateway_mac, from_mac or self.guest.mac, ethertype, packet, tags)

    def arrives(self, frame, payload, seconds=0.4):
        self.sender.send(frame)
        return receives(self.receiver, payload, seconds) is not None

    def control(self):
        payload = mark_bytes()
        assert self.arrives(self.frame(self.packet(payload)), payload, 1.0), "the frame that should pass"


@pytest.fixture(params=[4, 6])
def wire(shared_node, request):
    made = Wire(shared_node, request.param)
    made.control()
    return made


def refused(wire, reason, build):
    """The frame does not arrive, three times over, and is counted; the control still does."""
    with Counted(wire.node.agent, reason):
        for _ in range(3):
            payload = mark_bytes()
            assert not wire.arrives(build(payload), payload, 0.15)
    wire.control()


class PagedSender:
    """Frames whose headers above Ethernet are not in the linear part of the packet: out of a shared ring (packet(7))."""

    SOL_PACKET, PACKET_TX_RING, SEND_REQUEST = 263, 13, 1
    FRAME_BYTES = 4096
    DATA_AT = 32  # struct tpacket_hdr, aligned

    def __init__(self, namespace, interface):
        self.socket = namespace.packet_socket(interface)
        self.socket.setsockopt(self.SOL_PACKET, self.PACKET_TX_RING,
                               struct.pack("IIII", self.FRAME_BYTES, 1, self.FRAME_BYTES, 1))
        self.ring = mmap.mmap(self.socket.fileno(), self.FRAME_BYTES)

    def send(self, frame):
        self.ring[self.DATA_AT:self.DATA_AT + len(frame)] = frame
        self.ring[8:12] = struct.pack("I", len(frame))
        self.ring[0:8] = struct.pack("L", self.SEND_REQUEST)
        self.socket.send(b"")


def test_headers_that_do_not_lie_in_the_linear_part(wire):
    """Class 16: read all the same, and judged by what they say."""
    wire.sender = PagedSender(wire.guest.namespace, "eth0")
    wire.control()
    other = {4: "10.20.0.99", 6: "fd00:20::99"}[wire.family]
    refused(wire, "source_address", lambda payload: wire.frame(wire.packet(payload, source=other)))
    refused(wire, "destination", lambda payload: wire.frame(wire.packet(payload, to=PARTIES["stranger"][wire.family])))


def test_another_mac(wire):
    refused(wire, "source_mac", lambda payload: wire.frame(wire.packet(payload), from_mac="02:20:00:00:00:fe"))


@pytest.mark.parametrize("who", ["a neighbour", "the grantor", "the node"])
def test_another_address(wire, who):
    other = {"a neighbour": {4: "10.20.0.99", 6: "fd00:20::99"}, "the grantor": PARTIES["grantor"],
             "the node": {4: "10.77.0.1", 6: "fd77::1"}}[who][wire.family]
    refused(wire, "source_address", lambda payload: wire.frame(wire.packet(payload, source=other)))


@pytest.mark.parametrize("tags", [[(0x8100, 0)], [(0x8100, 7)], [(0x88a8, 7)], [(0x88a8, 7), (0x8100, 7)],
                                  [(0x8100, 7), (0x8100, 7)]])
def test_vlan_tags(wire, tags):
    """On a real veth the kernel may move the tag out of the frame before we see it (class 22)."""
    refused(wire, "vlan_tag", lambda payload: wire.frame(wire.packet(payload), tags=tags))


def test_a_tagged_frame_on_an_uplink_is_nobodys(shared_node):
    """The kernel takes VLAN 0 for untagged and delivers it; the realm's address in it proves nothing (class 51)."""
    node, outside = shared_node, shared_node.world.outside
    source, to, port = PARTIES["grantee"][4], node.guest.addresses[4], next_port()
    receiver = node.guest.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((to, port))
    sender = outside.packet_socket("eth0")
    macs = [json.loads(space.run("ip", "-json", "link", "show", name))[0]["address"]
            for space, name in ((node.world.node, "uplink0"), (outside, "eth0"))]

    def arrives(tags):
        payload = mark_bytes()
        packet = frames.ipv4(source, to, frames.udp(source, to, 5555, port, payload))
        sender.send(frames.ethernet(*macs, 0x0800, packet, tags))
        return receives(receiver, payload, 0.5) is not None
    for _ in range(3):
        assert arrives(())
        with Counted(node.agent, "nobody", "ingress"):
            assert not arrives([(0x8100, 0)])


def test_other_ethertypes(wire):
    refused(wire, "ethertype", lambda payload: wire.frame(wire.packet(payload), ethertype=0x88b5))


def test_broadcast_and_multicast_frames(wire):
    refused(wire, "broadcast", lambda payload: wire.frame(wire.packet(payload), to_mac="ff:ff:ff:ff:ff:ff"))
    refused(wire, "multicast", lambda payload: wire.frame(wire.packet(payload), to_mac="01:00:5e:00:00:fb"))


def test_ipv4_options(shared_node):
    wire = Wire(shared_node, 4)
    wire.control()
    refused(wire, "ipv4_options", lambda payload: wire.frame(wire.packet(payload, options=b"\x94\x04\0\0")))


def test_every_length_of_a_frame(wire):
    """Cut anywhere, nothing of it arrives anywhere; the whole does (class 16)."""
    whole = wire.frame(wire.packet(b"grantd-cut"))
    sniffer = wire.node.world.outside.packet_socket("eth0")
    for length in range(15, len(whole)):
        wire.sender.send(whole[:length])
    sniffer.settimeout(0.3)
    seen = []
    try:
        while True:
            frame = sniffer.recv(2048)
            if frame[12:14] in (b"\x08\x00", b"\x86\xdd") and struct.pack("!H", wire.port) in frame:
                seen.append(frame)
    except TimeoutError:
        pass
    assert not seen
    wire.control()


def test_extension_headers_and_routing(shared_node):
    wire = Wire(shared_node, 6)
    wire.control()
    options = bytes([17, 0, 1, 4, 0, 0, 0, 0])
    payload = mark_bytes()

    def with_header(following, header):
        return lambda text: wire.frame(frames.ipv6(
            wire.guest.addresses[6], wire.to,
            header + frames.udp(wire.guest.addresses[6], wire.to, 5555, wire.port, text), following=following))

    assert wire.arrives(with_header(60, options)(payload), payload, 1.0), "destination options pass"
    refused(wire, "routing_header", with_header(43, bytes([17, 0, 0, 0, 0, 0, 0, 0])))
    refused(wire, "extension_header", with_header(60, bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 7 + options))


def test_fragments_follow_a_judged_first_one(shared_node):
    wire = Wire(shared_node, 4)
    wire.control()
    payload = mark_bytes() + b"x" * 2000

    def in_pieces(to, identifier):
        datagram = frames.udp(wire.guest.addresses[4], to, 5555, wire.port, payload)
        for offset in range(0, len(datagram), 800):
            more = 0x2000 if offset + 800 < len(datagram) else 0
            yield wire.frame(frames.ipv4(wire.guest.addresses[4], to, datagram[offset:offset + 800],
                                         fragment=more | offset // 8, identifier=identifier))

    for frame in in_pieces(wire.to, 21):
        wire.sender.send(frame)
    assert receives(wire.receiver, payload, 1.0)
    stranger = wire.node.world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind((PARTIES["stranger"][4], wire.port))
    with Counted(wire.node.agent, "fragment_orphan"):
        for frame in in_pieces(PARTIES["stranger"][4], 22):
            wire.sender.send(frame)
        assert receives(stranger, payload, 0.3) is None
    with Counted(wire.node.agent, "fragment_orphan"):
        for frame in list(in_pieces(wire.to, 23))[1:]:
            wire.sender.send(frame)
        assert receives(wire.receiver, payload, 0.3) is None
    wire.control()


def test_arp_for_others(shared_node):
    """What the node believes of its neighbours stays as it was (class 24)."""
    guest, node = shared_node.guest, shared_node.world.node
    wire = Wire(shared_node, 4)
    wire.control()
    victim = "10.20.0.99"
    node.ip(f"neigh replace {victim} lladdr 02:20:00:00:00:63 dev {guest.interface} nud stale")
    with Counted(shared_node.agent, "neighbour_spoofing"):
        wire.sender.send(frames.ethernet("ff:ff:ff:ff:ff:ff", guest.mac, 0x0806,
                                         frames.arp(2, guest.mac, victim, guest.gateway_mac, GATEWAY[4])))
        wire.sender.send(frames.ethernet("ff:ff:ff:ff:ff:ff", guest.mac, 0x0806,
                                         frames.arp(1, guest.mac, GATEWAY[4], "00:00:00:00:00:00", GATEWAY[4])))
    assert "02:20:00:00:00:63" in run("ip", "-n", node.name, "neigh", "show", victim)
    with pytest.raises(AssertionError), Counted(shared_node.agent, "neighbour_spoofing"):
        wire.sender.send(frames.ethernet("ff:ff:ff:ff:ff:ff", guest.mac, 0x0806,
                                         frames.arp(1, guest.mac, guest.addresses[4], "00:00:00:00:00:00", GATEWAY[4])))


def test_router_and_neighbour_advertisements(shared_node):
    guest = shared_node.guest
    wire = Wire(shared_node, 6)
    wire.control()
    own, option = guest.addresses[6], b"\x02\x01" + frames.mac_bytes(guest.mac)
    advertisement = frames.icmpv6(own, "ff02::1", 134, 0, b"\x40\x00\x07\x08" + b"\0" * 8)
    other = frames.icmpv6(own, "ff02::1", 136, 0, b"\x20\0\0\0" + socket.inet_pton(socket.AF_INET6, "fe80::1") + option)
    for message in (advertisement, other):
        with Counted(shared_node.agent, "neighbour_spoofing"):
            wire.sender.send(frames.ethernet("33:33:00:00:00:01", guest.mac, 0x86dd,
                                             frames.ipv6(own, "ff02::1", message, 58, 255)))
    # The same message about itself is its right.
    itself = frames.icmpv6(own, "ff02::1", 136, 0, b"\x20\0\0\0" + socket.inet_pton(socket.AF_INET6, own) + option)
    with pytest.raises(AssertionError), Counted(shared_node.agent, "neighbour_spoofing"):
        wire.sender.send(frames.ethernet("33:33:00:00:00:01", guest.mac, 0x86dd,
                                         frames.ipv6(own, "ff02::1", itself, 58, 255)))
    wire.control()


def test_chatter_of_the_link_alarms_nobody(shared_node):
    wire = Wire(shared_node, 4)
    guest = shared_node.guest
    with Counted(shared_node.agent, "link_chatter"):
        discover = frames.udp("0.0.0.0", "255.255.255.255", 68, 67, b"\x01\x01\x06\x00")
        wire.sender.send(frames.ethernet("ff:ff:ff:ff:ff:ff", guest.mac, 0x0800,
                                         frames.ipv4("0.0.0.0", "255.255.255.255", discover)))
    wire.control()


@pytest.mark.parametrize("protocol", [4, 41, 47, 50, 51, 33, 136, 253])
def test_other_protocols(shared_node, protocol):
    wire = Wire(shared_node, 4)
    wire.control()
    refused(wire, "protocol", lambda payload: wire.frame(frames.ipv4(
        wire.guest.addresses[4], wire.to, frames.udp(wire.guest.addresses[4], wire.to, 5555, wire.port, payload),
        protocol=protocol)))


def test_a_second_address_or_mac_of_the_guests_own_making(node):
    """Class 35: NET_ADMIN inside the guest adds an address and a macvlan; neither speaks."""
    guest = node.guest
    wire = Wire(node, 4)
    wire.control()
    # Without this its ARP would already drop, as another's.
    guest.namespace.ip(f"neigh replace {GATEWAY[4]} lladdr {guest.gateway_mac} dev eth0 nud permanent",
                       "addr add 10.20.0.77/32 dev eth0", "link add mv0 link eth0 type macvlan mode bridge",
                       "link set mv0 up", "addr add 10.20.0.78/32 dev mv0")
    for source in ("10.20.0.77", "10.20.0.78"):
        client = guest.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind((source, 0))
        with Counted(node.agent, "source_address"):
            payload = mark_bytes()
            client.sendto(payload, (wire.to, wire.port))
            assert receives(wire.receiver, payload, 0.3) is None
    wire.control()
