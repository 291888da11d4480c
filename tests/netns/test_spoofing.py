"""A guest with every right inside its own namespace speaks for itself alone, whatever frames it makes (classes 16 to
27, 34, 35). Each frame differs in one thing from one that arrives. A guest beside it, whose interface no Workload names,
sends the same: its frame is seen behind the hook, where the held guest's is not. There the kernel has not looked at it yet;
much of this it would drop itself, and each test says whether it is forwarded where nobody holds the guest."""

import mmap
import socket
import struct
import time

import frames
import pytest
from agent import Counted
from sniffing import Passage, seen_until
from traffic import mac_of, mark_bytes, next_port, receives
from world import GATEWAY, NODE, PARTIES, run


class Wire:
    """Frames out of a guest by a packet socket, and who receives their payload."""

    def __init__(self, node, guest, passage, family=4):
        self.node, self.family, self.guest, self.passage = node, family, guest, passage
        self.own, self.to, self.port = guest.addresses[family], PARTIES["grantee"][family], next_port()
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        self.receiver = node.world.outside.socket(kind, socket.SOCK_DGRAM)
        self.receiver.bind((self.to, self.port))

    def datagram(self, payload, source=None, to=None):
        return frames.udp(source or self.own, to or self.to, 5555, self.port, payload)

    def packet(self, payload, source=None, to=None, **header):
        source, to = source or self.own, to or self.to
        return (frames.ipv4 if self.family == 4 else frames.ipv6)(source, to, self.datagram(payload, source, to), **header)

    def frame(self, packet, from_mac=None, to_mac=None, ethertype=None, tags=()):
        ethertype = ethertype or (0x0800 if self.family == 4 else 0x86dd)
        return frames.ethernet(to_mac or self.guest.gateway_mac, from_mac or self.guest.mac, ethertype, packet, tags)

    def control(self):
        payload = mark_bytes()
        self.passage.sender.send(self.frame(self.packet(payload)))
        assert receives(self.receiver, payload, 1.0), "the frame that should pass"

    def comes(self, build, times=1, is_it=None):
        """How many such frames are seen (behind the hook, outside)."""
        mark = mark_bytes()
        return self.passage.comes(is_it or (lambda frame: mark in frame), [build(self, mark) for _ in range(times)],
                                  lambda last: self.frame(self.packet(last)))


class Side:
    """The guest `web`, which is held, and beside it `free`."""

    def __init__(self, node):
        self.node = node
        self.guests = (node.guest, node.world.add_guest("free"))
        self.passages = [Passage(node.world, each) for each in self.guests]

    def wires(self, family):
        """Of the held guest; the other's is its `free`."""
        held, held.free = (Wire(self.node, guest, passage, family) for guest, passage in zip(self.guests, self.passages))
        return held


@pytest.fixture(scope="module", name="side")
def side_by_side(shared_node):
    return Side(shared_node)


@pytest.fixture(params=[4, 6])
def wire(side, request):
    made = side.wires(request.param)
    made.control()
    made.free.control()
    return made


@pytest.fixture
def wire4(side):
    return side.wires(4)


@pytest.fixture
def wire6(side):
    return side.wires(6)


def refused(wire, reason, build, forwarded=True, times=3, is_it=None):
    """The held guest's frame is not let on and is counted; the free guest's is, and the kernel forwards it or not."""
    assert wire.free.comes(build, is_it=is_it) == (1, forwarded), "of a guest that nobody holds"
    with Counted(wire.node.agent, reason, packets=times):
        assert wire.comes(build, times, is_it) == (0, 0)


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


@pytest.fixture
def paged(wire, monkeypatch):
    for each in (wire, wire.free):
        monkeypatch.setattr(each.passage, "sender", PagedSender(each.guest.namespace, "eth0"))
    return wire


def test_headers_that_do_not_lie_in_the_linear_part(paged):
    """Class 16: read all the same, and judged by what they say."""
    paged.control()
    other = {4: "10.20.0.99", 6: "fd00:20::99"}[paged.family]
    refused(paged, "source_address", lambda wire, payload: wire.frame(wire.packet(payload, source=other)))
    refused(paged, "destination", lambda wire, payload: wire.frame(wire.packet(payload, to=PARTIES["stranger"][wire.family])))


def test_another_mac(wire):
    refused(wire, "source_mac", lambda wire, payload: wire.frame(wire.packet(payload), from_mac="02:20:00:00:00:fe"))


@pytest.mark.parametrize("who", ["a neighbour", "the grantor", "the node"])
def test_another_address(wire, who):
    """The kernel does not forward what claims to be from the node itself by IPv4."""
    other = {"a neighbour": {4: "10.20.0.99", 6: "fd00:20::99"}, "the grantor": PARTIES["grantor"], "the node": NODE}[who]
    refused(wire, "source_address", lambda wire, payload: wire.frame(wire.packet(payload, source=other[wire.family])),
            forwarded=(who, wire.family) != ("the node", 4))


@pytest.mark.parametrize("tags", [[(0x8100, 0)], [(0x8100, 7)], [(0x88a8, 7)], [(0x88a8, 7), (0x8100, 7)],
                                  [(0x8100, 7), (0x8100, 7)]])
def test_vlan_tags(wire, tags):
    """On a real veth the kernel may move the tag out of the frame before we see it (class 22). It takes VLAN 0 for untagged,
    and forwards no other here."""
    refused(wire, "vlan_tag", lambda wire, payload: wire.frame(wire.packet(payload), tags=tags), forwarded=tags == [(0x8100, 0)])


def test_a_tagged_frame_on_an_uplink_is_nobodys(side):
    """The kernel takes VLAN 0 for untagged and delivers it; the realm's address in it proves nothing (class 51)."""
    world, outside, source = side.node.world, side.node.world.outside, PARTIES["grantee"][4]
    sender = outside.packet_socket("eth0")
    macs = [mac_of(world.node, "uplink0"), mac_of(outside, "eth0")]

    def arrives(guest, tags, expected=True):
        to, port, payload = guest.addresses[4], next_port(), mark_bytes()
        receiver = guest.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind((to, port))
        packet = frames.ipv4(source, to, frames.udp(source, to, 5555, port, payload))
        sender.send(frames.ethernet(*macs, 0x0800, packet, tags))
        return receives(receiver, payload, 1.0 if expected else 0.25) is not None
    held, free = side.guests
    assert arrives(free, [(0x8100, 0)])
    for _ in range(3):
        assert arrives(held, ())
        with Counted(side.node.agent, "nobody", "ingress"):
            assert not arrives(held, [(0x8100, 0)], False)


def test_other_ethertypes(wire):
    """The kernel forwards none either."""
    refused(wire, "ethertype", lambda wire, payload: wire.frame(wire.packet(payload), ethertype=0x88b5), forwarded=False)


@pytest.mark.parametrize("reason,mac", [("broadcast", "ff:ff:ff:ff:ff:ff"), ("multicast", "01:00:5e:00:00:fb")])
def test_broadcast_and_multicast_frames(wire, reason, mac):
    """The kernel forwards none either; a bridge would."""
    refused(wire, reason, lambda wire, payload: wire.frame(wire.packet(payload), to_mac=mac), forwarded=False)


def test_ipv4_options(wire4):
    refused(wire4, "ipv4_options", lambda wire, payload: wire.frame(wire.packet(payload, options=b"\x94\x04\0\0")))


def test_every_length_of_a_frame(wire):
    """Cut anywhere, nothing of it is let on; the whole is (class 16). The kernel would forward none of these either. That each is
    understood as cut, and counted, rests on Parse.EveryLengthOfAFrame."""
    def cut(wire):
        whole = wire.frame(wire.packet(b"grantd-cut"))
        return [whole[:length] for length in range(15, len(whole))]

    def seen(wire):
        sent = cut(wire)
        return wire.passage.comes(lambda frame: frame in sent, sent, lambda last: wire.frame(wire.packet(last)))
    assert seen(wire.free) == (len(cut(wire.free)), 0), "of a guest that nobody holds"
    assert seen(wire) == (0, 0)


def test_extension_headers_and_routing(wire6):
    options = bytes([17, 0, 1, 4, 0, 0, 0, 0])

    def with_header(following, header):
        return lambda wire, payload: wire.frame(frames.ipv6(wire.own, wire.to, header + wire.datagram(payload), following=following))

    assert wire6.comes(with_header(60, options)) == (1, 1), "destination options pass"
    refused(wire6, "routing_header", with_header(43, bytes([17, 0, 0, 0, 0, 0, 0, 0])))
    refused(wire6, "extension_header", with_header(60, bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 7 + options))


def test_fragments_follow_a_judged_first_one(wire4):
    """Class 18: every fragment is sought, not what is put together of them."""
    def in_pieces(wire, mark, to, identifier):
        datagram = frames.udp(wire.own, to, 5555, wire.port, mark * 130)
        for offset in range(0, len(datagram), 800):
            more = 0x2000 if offset + 800 < len(datagram) else 0
            yield wire.frame(frames.ipv4(wire.own, to, datagram[offset:offset + 800], fragment=more | offset // 8,
                                         identifier=identifier))

    def come(wire, identifier, to, first=0):
        mark = mark_bytes()
        sent = list(in_pieces(wire, mark, to, identifier))[first:]
        return wire.passage.comes(lambda frame: mark in frame, sent, lambda last: wire.frame(wire.packet(last)))

    mark = mark_bytes()
    for frame in in_pieces(wire4, mark, wire4.to, 21):
        wire4.passage.sender.send(frame)
    assert receives(wire4.receiver, mark * 130, 1.0)
    for identifier, to, first in ((22, PARTIES["stranger"][4], 0), (23, wire4.to, 1)):
        assert come(wire4.free, identifier, to, first) == (3 - first, 3 - first), "of a guest that nobody holds"
        with Counted(wire4.node.agent, "fragment_orphan", packets=2):
            assert come(wire4, identifier, to, first) == (0, 0)


def believes(node, guest, neighbour):
    """The MAC that the node has for an address on that guest's link."""
    return run("ip", "-n", node.name, "neigh", "show", neighbour, "dev", guest.interface).partition("lladdr ")[2].split()[0]


def takes_over(wire, neighbour, messages):
    """How many of these messages of the guest are let on, and whether the node then takes the guest for the neighbour."""
    node, interface, before = wire.node.world.node, wire.guest.interface, "02:20:00:00:00:63"
    node.sysctl(f"ipv4/neigh/{interface}/locktime", 0)  # it keeps an entry for a second from its last change, whoever speaks
    node.ip(f"neigh replace {neighbour} lladdr {before} dev {interface} nud stale")
    time.sleep(0.05)  # an entry that is as old as the clock's tick is kept, too
    come = wire.passage.comes(lambda frame: frame in messages, messages, lambda last: wire.frame(wire.packet(last)))
    after = believes(node, wire.guest, neighbour)
    assert after in (before, wire.guest.mac)
    return come[0], after == wire.guest.mac


def not_counted(agent, reason, does):
    before = agent.drops(reason)
    assert does()
    assert agent.drops(reason) == before


def test_arp_for_others(wire4):
    """Class 24: what the node believes of its neighbours stays as it was."""
    victim, everybody, nobody = "10.20.0.99", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"

    def arp(guest, *message):
        return frames.ethernet(everybody, guest.mac, 0x0806, frames.arp(*message))

    def messages(guest):
        return [arp(guest, 2, guest.mac, victim, guest.gateway_mac, GATEWAY[4]), arp(guest, 1, guest.mac, GATEWAY[4], nobody, GATEWAY[4])]

    assert takes_over(wire4.free, victim, messages(wire4.free.guest)) == (2, True), "of a guest that nobody holds"
    with Counted(wire4.node.agent, "neighbour_spoofing", packets=2):
        assert takes_over(wire4, victim, messages(wire4.guest)) == (0, False)
    itself = arp(wire4.guest, 1, wire4.guest.mac, wire4.own, nobody, GATEWAY[4])
    not_counted(wire4.node.agent, "neighbour_spoofing",
                lambda: wire4.comes(lambda *_: itself, is_it=lambda frame: frame == itself) == (1, 0))


def test_router_and_neighbour_advertisements(wire6):
    """Class 24. That the node would follow a router's is up to its settings: here is seen that none is let on."""
    victim = "fd00:20::99"

    def said(wire, kind, body):
        return wire.frame(frames.ipv6(wire.own, "ff02::1", frames.icmpv6(wire.own, "ff02::1", kind, 0, body), 58, 255),
                          to_mac="33:33:00:00:00:01")

    def neighbour(wire, address):
        return said(wire, 136, b"\x20\0\0\0" + socket.inet_pton(socket.AF_INET6, address) + b"\x02\x01" +
                    frames.mac_bytes(wire.guest.mac))

    def messages(wire):
        return [neighbour(wire, victim)]

    assert takes_over(wire6.free, victim, messages(wire6.free)) == (1, True), "of a guest that nobody holds"
    with Counted(wire6.node.agent, "neighbour_spoofing"):
        assert takes_over(wire6, victim, messages(wire6)) == (0, False)
    for build in (lambda wire, _: said(wire, 134, b"\x40\x00\x07\x08" + b"\0" * 8), lambda wire, _: neighbour(wire, GATEWAY[6])):
        alike = {build(each, None) for each in (wire6, wire6.free)}
        refused(wire6, "neighbour_spoofing", build, forwarded=False, is_it=lambda frame, alike=alike: frame in alike)
    itself = neighbour(wire6, wire6.own)
    not_counted(wire6.node.agent, "neighbour_spoofing",
                lambda: wire6.comes(lambda *_: itself, is_it=lambda frame: frame == itself) == (1, 0))


def test_chatter_of_the_link_alarms_nobody(wire4):
    def discover(wire, payload):
        nobody, everybody = "0.0.0.0", "255.255.255.255"
        return wire.frame(frames.ipv4(nobody, everybody, frames.udp(nobody, everybody, 68, 67, payload)), to_mac="ff:ff:ff:ff:ff:ff")
    refused(wire4, "link_chatter", discover, forwarded=False)


@pytest.mark.parametrize("protocol", [4, 41, 47, 50, 51, 33, 136, 253])
def test_other_protocols(wire4, protocol):
    refused(wire4, "protocol", lambda wire, payload: wire.frame(wire.packet(payload, protocol=protocol)))


def test_a_segment_of_no_flow(wire4):
    """Class 9: a SYN with ACK, a RST and a FIN answer somebody; there is nobody."""
    for flags in (0x12, 0x04, 0x01):
        refused(wire4, "no_flow", lambda wire, payload, flags=flags: wire.frame(frames.ipv4(
            wire.own, wire.to, frames.tcp(wire.own, wire.to, 5555, wire.port, flags) + payload, 6)))


def unreachable(wire, payload, quoted_to=None, kind=3, padding=0):
    """The guest complains of a datagram from the wire's goal that it got, or says so."""
    quoted = frames.ipv4(wire.to, quoted_to or wire.own, frames.udp(wire.to, wire.own, wire.port, 5555, payload))
    return wire.frame(frames.ipv4(wire.own, wire.to, frames.icmp(kind, 3, bytes(4) + quoted + bytes(padding)), 1))


def test_icmp_errors_speak_of_a_live_flow(wire4):
    """Class 13: what is quoted is the control's flow, or one that is not."""
    wire4.control()
    assert wire4.comes(unreachable) == (1, 1)
    refused(wire4, "icmp_error_unrelated", lambda wire, payload: unreachable(wire, payload, quoted_to="10.20.0.99"))
    refused(wire4, "icmp_error_size", lambda wire, payload: unreachable(wire, payload, padding=1280))
    refused(wire4, "icmp_redirect", lambda wire, payload: unreachable(wire, payload, kind=5))
    refused(wire4, "icmp_type", lambda wire, payload: unreachable(wire, payload, kind=13))


def test_what_comes_for_another_address(side):
    """The node has a route for it over the guest's link, by which the grantee's datagram goes."""
    world, other = side.node.world, "10.20.0.99"

    def arrives(guest, to):
        world.node.ip(f"route replace {other}/32 dev {guest.interface}",
                      f"neigh replace {other} lladdr {guest.mac} dev {guest.interface} nud permanent")
        wire, sender = guest.namespace.packet_socket("eth0"), world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((PARTIES["grantee"][4], 0))
        frames_of = {}
        for address in (to, guest.addresses[4]):
            frames_of[address] = mark_bytes()
            sender.sendto(frames_of[address], (address, next_port()))
        return any(frames_of[to] in frame for frame in seen_until(wire, frames_of[guest.addresses[4]], False))
    held, free = side.guests
    assert arrives(free, other)
    with Counted(side.node.agent, "not_for_guest", "ingress"):
        assert not arrives(held, other)
    world.node.ip(f"route del {other}/32", f"neigh del {other} dev {held.interface}", f"neigh del {other} dev {free.interface}")


def test_a_second_address_or_mac_of_the_guests_own_making(node):
    """Class 35: NET_ADMIN inside the guest adds an address and a macvlan; neither speaks."""
    held = Side(node).wires(4)
    for wire in (held.free, held):
        # Without the neighbours its ARP would already drop, as another's.
        neighbour = f"neigh replace {GATEWAY[4]} lladdr {wire.guest.gateway_mac} nud permanent dev"
        wire.guest.namespace.ip(f"{neighbour} eth0", "addr add 10.20.0.77/32 dev eth0", "link add mv0 link eth0 type macvlan mode bridge",
                                "link set mv0 up", "addr add 10.20.0.78/32 dev mv0", f"{neighbour} mv0",
                                f"route add default via {GATEWAY[4]} dev mv0 onlink metric 900")

    def comes(wire, source, interface):
        client, payload = wire.guest.socket(socket.AF_INET, socket.SOCK_DGRAM), mark_bytes()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        client.bind((source, 0))
        client.sendto(payload, (wire.to, wire.port))
        return wire.passage.comes(lambda frame: payload in frame, [], lambda last: wire.frame(wire.packet(last)))
    assert comes(held, held.own, "eth0") == (1, 1)
    for source, interface, reason in (("10.20.0.77", "eth0", "source_address"), ("10.20.0.78", "mv0", "source_mac"),
                                      (None, "mv0", "source_mac")):
        assert comes(held.free, source or held.free.own, interface) == (1, 1), "of a guest that nobody holds"
        with Counted(node.agent, reason):
            assert comes(held, source or held.own, interface) == (0, 0)
