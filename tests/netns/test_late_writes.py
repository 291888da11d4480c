"""What a guest writes into a packet after the verdict: it gives the kernel a page without a copy, and unpacks a tunnel in its
own namespace, so that headers lie in that page (class 35)."""

import contextlib
import json
import mmap
import os
import socket
import struct

import frames
import pytest
from traffic import mark_bytes, next_port, receives
from world import OUTSIDE, PARTIES, eventually

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
    world.outside.sysctl("ipv4/conf/eth0/arp_ignore", 8)
    world.node.ip("neigh flush dev uplink0")
    try:
        yield
    finally:
        world.outside.sysctl("ipv4/conf/eth0/arp_ignore", 0)


def frame(node, payload):
    guest = node.guest
    gateway = json.loads(node.world.node.run("ip", "-j", "link", "show", guest.interface))[0]["address"]
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
