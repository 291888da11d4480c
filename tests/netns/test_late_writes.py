"""What a guest writes into a packet after the verdict: it gives the kernel a page without a copy, and unpacks a tunnel in its
own namespace, so that headers lie in that page (class 35)."""

import contextlib
import mmap
import os
import socket
import struct
import time

import frames
import pytest
from bpf_calls import AFTER, BEFORE
from foreign import WITH_TCX_LINKS, foreign_tcx, loaded
from traffic import UdpPair, mac_of, mark_bytes, next_port, receives
from world import GATEWAY, OUTSIDE, PARTIES, eventually

VXLAN, VXLAN_HEADER = 4789, struct.pack("!II", 0x08 << 24, 7 << 8)
TO, OPEN_PORT, CLOSED_PORT = PARTIES["destination"][4], 5001, 6001


class Page:
    """Memory of the guest's, sent as one datagram without a copy. What is written to it later is in the datagram too."""

    def __init__(self, content):
        self.file, self.bytes = os.memfd_create("page"), len(content)
        os.ftruncate(self.file, mmap.PAGESIZE)
        self.memory = mmap.mmap(self.file, mmap.PAGESIZE)
        self.memory[:len(content)] = content

    def send(self, connected):
        taken, given = os.pipe()
        assert os.splice(self.file, given, self.bytes, offset_src=0) == self.bytes
        assert os.splice(taken, connected.fileno(), self.bytes) == self.bytes
        os.close(taken), os.close(given)

    def close(self):
        self.memory.close()
        os.close(self.file)


@pytest.fixture
def tunnelled(node):
    """What comes out of a tunnel of the guest's to itself goes to its interface as it is."""
    space = node.guest.namespace
    space.ip("link set lo up", f"link add vx0 type vxlan id 7 local 127.0.0.1 remote 127.0.0.2 dstport {VXLAN}",
             "link add br0 type bridge", "link set vx0 master br0 up", "link set eth0 master br0", "link set br0 up")
    for name in ("vx0", "eth0"):  # it would bring headers together
        space.run("ethtool", "-K", name, "gro", "off")
    sender = space.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(("127.0.0.1", VXLAN))
    return sender


@contextlib.contextmanager
def unanswered(world):
    """The node does not know its next hop, and packets wait for it."""
    deaf = ("INPUT", "-p", "icmpv6", "--icmpv6-type", "neighbour-solicitation", "-j", "DROP")
    world.outside.sysctl("ipv4/conf/eth0/arp_ignore", 8)
    world.outside.run("ip6tables", "-w", "-A", *deaf)
    for family in ("-4", "-6"):
        world.node.run("ip", family, "neigh", "flush", "dev", "uplink0")
    try:
        yield
    finally:
        world.outside.sysctl("ipv4/conf/eth0/arp_ignore", 0)
        world.outside.run("ip6tables", "-w", "-D", *deaf)


def frame(node, payload):
    guest = node.guest
    gateway = mac_of(node.world.node, guest.interface)
    datagram = bytearray(frames.udp(guest.addresses[4], TO, next_port(), OPEN_PORT, payload))
    datagram[6:8] = bytes(2)  # no checksum
    return frames.ethernet(gateway, guest.mac, 0x0800, frames.ipv4(guest.addresses[4], TO, bytes(datagram)))


def test_what_was_judged_is_what_goes_on(node, tunnelled):
    world, heard = node.world, {}
    world.node.sysctl("ipv4/ip_early_demux", 0)  # else the node reads the ports at once, and the guest has to be quick
    for port in (OPEN_PORT, CLOSED_PORT):
        heard[port] = world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM)
        heard[port].bind((TO, port))

    def arrives(written):
        payload = mark_bytes()
        page = Page(VXLAN_HEADER + frame(node, payload))
        at = page.memory.find(struct.pack("!HH", OPEN_PORT, 8 + len(payload)))
        with unanswered(world):
            page.send(tunnelled)
            eventually(lambda: OUTSIDE[4] in world.node.run("ip", "neigh", "show", "nud", "incomplete"), what="it waits")
            page.memory[at:at + 2] = struct.pack("!H", written)
        came = {port for port, receiver in heard.items() if receives(receiver, payload, 3)}
        page.close()
        return came
    assert arrives(OPEN_PORT) == {OPEN_PORT}, "the control"
    assert arrives(CLOSED_PORT) == {OPEN_PORT}


def frames_within(wire, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            yield wire.recv(2048)


def fragment_seen(wire, content, seconds):
    """The fragment header of a frame that ends with this; None where none comes."""
    return next((frame[54:62] for frame in frames_within(wire, seconds) if frame.endswith(content)), None)


def test_a_later_fragment_stays_one(node, tunnelled):
    """IPv6: whether it is one says a header behind IPv6's."""
    world, guest, to, identifier = node.world, node.guest, PARTIES["destination"][6], 77
    heard = world.outside.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    heard.bind((to, CLOSED_PORT))
    gateway = mac_of(world.node, guest.interface)
    payload = mark_bytes()
    forbidden = frames.udp(guest.addresses[6], to, next_port(), CLOSED_PORT, payload)

    def fragment(offset, more, content):
        header = struct.pack("!BBHI", 17, 0, offset << 3 | more, identifier)
        packet = frames.ipv6(guest.addresses[6], to, header + content, following=44)
        return VXLAN_HEADER + frames.ethernet(gateway, guest.mac, 0x86dd, packet), header
    first, _ = fragment(0, 1, frames.udp(guest.addresses[6], to, next_port(), OPEN_PORT, bytes(64))[:16])
    later, header = fragment(2, 0, forbidden)
    wire = world.outside.packet_socket("eth0", timeout=0.1)

    def arrives(written):
        """What its header says on the wire, and whether it is taken for a datagram."""
        pages = Page(first), Page(later)
        pages[0].send(tunnelled)
        assert fragment_seen(wire, forbidden, 0.3) is None
        with unanswered(world):
            pages[1].send(tunnelled)
            eventually(lambda: OUTSIDE[6] in world.node.run("ip", "-6", "neigh", "show", "nud", "incomplete"), what="it waits")
            at = pages[1].memory.find(header)
            pages[1].memory[at:at + 8] = written
        seen = fragment_seen(wire, forbidden, 3)
        for page in pages:
            page.close()
        return seen, receives(heard, payload, 0.3) is not None
    assert arrives(header) == (header, False), "the control"
    assert arrives(struct.pack("!BBHI", 17, 0, 0, identifier)) == (header, False)


ONLY_LINEAR = """
#include <linux/bpf.h>
__attribute__((section("tc"), used)) int foreign(struct __sk_buff *skb) {
  return skb->protocol == %d && skb->data_end - skb->data < skb->len ? 2 : -1;  // TC_ACT_SHOT, the next program
}
char name_of_license[] __attribute__((section("license"), used)) = "GPL";
"""


def only_linear(node, ethertype, order):
    """Of that type, the node has what lies where the kernel alone writes."""
    return foreign_tcx(node, loaded(node.world, ONLY_LINEAR % socket.htons(ethertype)), order=order)


def past_bridges(guest, protocol):
    """Which bring some headers together: frames of that type go from the tunnel to the guest's interface at once."""
    space = guest.namespace
    space.ip("link set eth0 nomaster", "link set vx0 nomaster")
    space.run("tc", "qdisc", "add", "dev", "vx0", "clsact")
    space.run("tc", "filter", "add", "dev", "vx0", "ingress", "protocol", protocol, "u32", "match", "u32", "0", "0",
              "action", "mirred", "egress", "redirect", "dev", "eth0")


def lies_where_the_guest_cannot_write(node, ethertype, arrives):
    """That is looked at by a program beside ours, where whoever takes it next reads it too soon to write to it."""
    assert arrives(), "the control"
    with only_linear(node, ethertype, BEFORE):
        assert not arrives(), "it is not in one piece, or this test shows nothing"
    with only_linear(node, ethertype, AFTER):
        assert arrives()


@WITH_TCX_LINKS
def test_what_arp_says_lies_where_the_guest_cannot_write(node, tunnelled):
    guest = node.guest
    past_bridges(guest, "arp")
    asked = frames.arp(1, guest.mac, guest.addresses[4], "00:00:00:00:00:00", GATEWAY[4])
    page = Page(VXLAN_HEADER + frames.ethernet(guest.gateway_mac, guest.mac, 0x0806, asked))
    wire = guest.namespace.packet_socket("eth0", timeout=0.1)

    def answered():
        page.send(tunnelled)
        return any(frame[:6] == frames.mac_bytes(guest.mac) and frame[12:14] == b"\x08\x06" for frame in frames_within(wire, 1))
    lies_where_the_guest_cannot_write(node, 0x0806, answered)
    page.close()


@WITH_TCX_LINKS
def test_what_an_icmp_error_quotes_lies_where_the_guest_cannot_write(node, tunnelled):
    """It is judged by the flow that it quotes a packet of."""
    guest, outside, home = node.guest, node.world.outside, PARTIES["grantee"][4]
    past_bridges(guest, "ip")
    pair = UdpPair(outside, guest, 4, to=guest.addresses[4], source_address=home)
    with only_linear(node, 0x0800, AFTER):
        assert pair.both(), "a live flow"
    payload = mark_bytes()
    quoted = frames.ipv4(home, guest.addresses[4], frames.udp(home, guest.addresses[4], pair.client.getsockname()[1], pair.port, payload))
    error = frames.ipv4(guest.addresses[4], home, frames.icmp(3, 3, bytes(4) + quoted), protocol=1)
    page = Page(VXLAN_HEADER + frames.ethernet(guest.gateway_mac, guest.mac, 0x0800, error))
    wire = outside.packet_socket("eth0", timeout=0.1)

    def arrives():
        page.send(tunnelled)
        return any(payload in frame for frame in frames_within(wire, 1))
    lies_where_the_guest_cannot_write(node, 0x0800, arrives)
    page.close()
