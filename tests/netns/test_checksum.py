"""A checksum that a guest leaves to the node to fill in, at a place of its own choice (classes 25, 35 and 37): two bytes
that nobody reads say what it will be, so it would change the frame after it was judged."""

import socket
import struct

import frames
import pytest
from agent import Counted
from traffic import ARRIVES, FAMILY, SILENCE, TcpPair, UdpPair, mark_bytes, next_port, receives
from world import PARTIES

SOL_PACKET, PACKET_VNET_HDR, NEEDS_CHECKSUM = 263, 15, 1
L3, IPV6_L4, SKIPPED = 14, 14 + 40, 0x1e  # an option that every receiver skips
ETHERTYPE = {4: 0x0800, 6: 0x86dd}


@pytest.fixture(name="last_hop")
def node_that_fills_in(node):
    """The way out takes over no checksums, as a tunnel."""
    node.world.node.run("ethtool", "-K", "uplink0", "tx", "off")
    return node


def left_to_the_node(guest, family, packet, start, field):
    """The frame as the guest's packet socket sends it; offsets from its first byte."""
    wire = guest.namespace.packet_socket("eth0")
    wire.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    frame = frames.ethernet(guest.gateway_mac, guest.mac, ETHERTYPE[family], packet)
    wire.send(struct.pack("<BBHHHH", NEEDS_CHECKSUM, 0, 0, 0, start, field - start) + frame)


def so_that_it_becomes(wanted, packet, start, filler):
    """The packet with two bytes at `filler` by which the checksum from `start` on is `wanted`."""
    packet = bytearray(packet)
    packet[filler - L3:filler - L3 + 2] = b"\0\0"
    rest = ~frames.checksum(bytes(packet[start - L3:])) & 0xffff
    needed = (~wanted & 0xffff) + (~rest & 0xffff)
    packet[filler - L3:filler - L3 + 2] = struct.pack("!H", (needed & 0xffff) + (needed >> 16))
    return bytes(packet)


def listener(node, address, port):
    made = node.world.outside.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    return made


def test_it_does_not_become_another_port(last_hop):
    guest, to = last_hop.guest, PARTIES["destination"][4]
    payload = b"\0\0" + mark_bytes()
    refused = listener(last_hop, to, 6001)

    def packet(port):
        datagram = bytearray(frames.udp(guest.addresses[4], to, 40000, port, payload))
        datagram[6:8] = b"\0\0"
        return frames.ipv4(guest.addresses[4], to, bytes(datagram))
    with Counted(last_hop.agent, "destination_port"):
        guest.namespace.packet_socket("eth0").send(frames.ethernet(guest.gateway_mac, guest.mac, 0x0800, packet(6001)))
        assert receives(refused, payload, SILENCE) is None
    start, port_at, filler = 34, 36, 42
    spoiled = so_that_it_becomes(6001, packet(5001), start, filler)
    with Counted(last_hop.agent, "malformed"):
        left_to_the_node(guest, 4, spoiled, start, port_at)
        assert receives(refused, spoiled[28:], SILENCE) is None
    # The same path, and the checksum where it belongs: what stands there is that of the addresses.
    allowed = listener(last_hop, to, 5001)
    addresses = socket.inet_aton(guest.addresses[4]) + socket.inet_aton(to) + struct.pack("!II", 8 + len(payload), 17)
    usual = packet(5001)
    left_to_the_node(guest, 4, usual[:26] + struct.pack("!H", ~frames.checksum(addresses) & 0xffff) + usual[28:], 34, 40)
    assert receives(allowed, payload, ARRIVES)


@pytest.mark.parametrize("what,start,at", [("destination", L3 + 20, L3 + 24 + 4), ("source", L3 + 6, L3 + 8 + 2)])
def test_it_does_not_become_another_address(last_hop, what, start, at):
    """Two bytes of an address, at the price of an option that no checksum covers."""
    guest, stranger = last_hop.guest, PARTIES["stranger"][6]
    named = "2001:db8:de57::77"
    assert stranger == named.replace("de57", "bad"), "two bytes apart"
    payload = mark_bytes()
    final = stranger if what == "destination" else named
    receiver = listener(last_hop, final, 5002) if what == "destination" else None
    wire = last_hop.world.outside.packet_socket("eth0")
    datagram = frames.udp(guest.addresses[6], final, 40000, 5002, payload)
    options = struct.pack("!BBBB", 17, 0, SKIPPED, 4) + b"\0" * 4
    packet = frames.ipv6(guest.addresses[6], named, options + datagram, following=60)
    with Counted(last_hop.agent, "malformed"):
        left_to_the_node(guest, 6, so_that_it_becomes(0x0bad, packet, start, IPV6_L4 + 4), start, at)
        assert not seen(wire, payload)
    if receiver:
        assert receives(receiver, payload, SILENCE) is None
    # With nothing left to the node it goes where the Grant says.
    allowed = frames.ipv6(guest.addresses[6], named, options + frames.udp(guest.addresses[6], named, 40000, 5002, payload), following=60)
    guest.namespace.packet_socket("eth0").send(frames.ethernet(guest.gateway_mac, guest.mac, 0x86dd, allowed))
    assert seen(wire, payload, ARRIVES)


def seen(wire, payload, seconds=SILENCE):
    wire.settimeout(seconds)
    try:
        while payload not in wire.recv(2048):
            pass
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("family", [4, 6])
def test_what_hosts_leave_to_the_node_passes(last_hop, family):
    """TCP and UDP of ordinary sockets, and a tunnel's own headers inside a datagram."""
    guest, to = last_hop.guest, PARTIES["destination"][family]
    assert TcpPair(guest, last_hop.world.outside, family, to, port=443).both()
    assert UdpPair(guest, last_hop.world.outside, family, to, port=5003).both()
    port = 5000 + next_port() % 1000
    receiver = last_hop.world.outside.socket(FAMILY[family], socket.SOCK_DGRAM)
    receiver.bind((to, port))
    inner = struct.pack("!HHHH", 7, 8, 16, 0) + mark_bytes()[:8]
    datagram = frames.udp(guest.addresses[family], to, 40001, port, inner)
    if family == 4:
        datagram = datagram[:6] + b"\0\0" + datagram[8:]
        packet, l4 = frames.ipv4(guest.addresses[4], to, datagram), 34
    else:  # the inner checksum makes the whole of `inner` come to nothing, which the outer one then is of
        silent = datagram[:8] + b"\0" * len(inner)
        datagram = frames.udp(guest.addresses[6], to, 40001, port, silent[8:])[:8] + inner
        packet, l4 = frames.ipv6(guest.addresses[6], to, datagram), IPV6_L4
    left_to_the_node(guest, family, packet, l4 + 8, l4 + 14)
    got = receiver.recv(100)
    assert got[:6] == inner[:6] and got[8:] == inner[8:] and frames.checksum(got) == 0, "filled in"
