"""Kinds of links: a guest without Ethernet, a tunnel from outside, a namespace inside the guest, a qdisc taken away."""

import fcntl
import json
import os
import select
import socket
import struct
import time
from types import SimpleNamespace

import frames
import pytest
from agent import Agent, Counted
from foreign import foreign_filter
from sniffing import Watched
from traffic import UdpPair, mark_bytes, next_port, receives
from world import GATEWAY, NODE, PARTIES, World, eventually, run

TUNSETIFF, IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 0x0001, 0x1000, 0x4000


class Tun:
    """A guest behind a tun device of the node: whoever holds the file is the guest."""

    def __init__(self, world, name, address, flags=0):
        self.address = address
        with world.node.entered():
            self.file = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            fcntl.ioctl(self.file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI | flags))
        gateway = GATEWAY[6 if ":" in address else 4]
        world.node.ip(f"link set {name} up", f"addr add {gateway} dev {name}", f"route add {address} dev {name}")

    def send(self, to, port, payload, source=None):
        source = source or self.address
        os.write(self.file, frames.ipv4(source, to, frames.udp(source, to, 5555, port, payload)))

    def hears(self, payload, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([self.file], [], [], left)[0]:
            if payload in os.read(self.file, 65536):
                return True
        return False


    def governed_by(self, agent):
        agent.grant()
        agent.write("workload-tun", json.dumps({"apiVersion": "keystone.io/v1alpha1", "kind": "Workload", "metadata": {"name": "tun"},
                                                "spec": {"grantName": "g", "interface": "tun-guest", "addresses": [self.address]}}))
        agent.start()


def test_a_guest_without_ethernet():
    with World() as world:
        guest = Tun(world, "tun-guest", "10.20.9.2")
        try:
            agent = Agent(world)
            guest.governed_by(agent)

            def arrives(party, seconds, source=None):
                port, payload = next_port(), mark_bytes()
                receiver = world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM)
                receiver.bind((PARTIES[party][4], port))
                guest.send(PARTIES[party][4], port, payload, source)
                return receives(receiver, payload, seconds) is not None

            def reached(party, seconds):
                sender, payload = world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM), mark_bytes()
                sender.bind((PARTIES[party][4], 0))
                sender.sendto(payload, (guest.address, next_port()))
                return guest.hears(payload, seconds)

            assert arrives("grantee", 1.0) and reached("grantee", 1.0)
            with Counted(agent, "destination"):
                assert not arrives("stranger", 0.3)
            with Counted(agent, "source_address"):
                assert not arrives("grantee", 0.3, source="10.20.9.3")
            with Counted(agent, "nobody", "ingress"):
                assert not reached("stranger", 0.3)
            agent.in_force(lambda: agent.grant(revoked=True))
            assert not arrives("grantee", 0.3) and not reached("grantee", 0.3)
        finally:
            os.close(guest.file)


def tunnel(world):
    """Between the node and the grantee's home."""
    home = PARTIES["grantee"][4]
    world.node.ip(f"link add vx0 type vxlan id 7 local {NODE[4]} remote {home} dstport 4789", "link set vx0 up",
                  "addr add 10.99.0.1/24 dev vx0")
    world.outside.ip(f"link add vx0 type vxlan id 7 local {home} remote {NODE[4]} dstport 4789", "link set vx0 up",
                     "addr add 10.99.0.2/24 dev vx0")
    eventually(UdpPair(world.outside, world.node, 4, to="10.99.0.1", source_address="10.99.0.2").forward,
               what="the tunnel itself")


def test_a_tunnel_carries_no_identity_of_its_outer_packets(node):
    """Class 52: the outer packet is the grantee's and stamped so; what comes out of it is nobody's."""
    world, to = node.world, node.guest.addresses[4]
    home = PARTIES["grantee"][4]
    tunnel(world)
    eventually(lambda: any(each["interface"] == "vx0" for each in node.agent.json("status")["uplinks"])
               and node.agent.ctl("verify").returncode == 0, what="a program on the tunnel")
    world.outside.ip(f"route add {to}/32 via 10.99.0.1 dev vx0")
    free = world.add_guest("free")  # nobody holds it: what comes out of the tunnel gets as far
    world.outside.ip(f"route add {free.addresses[4]}/32 via 10.99.0.1 dev vx0")
    for source in ("10.99.0.2", home, PARTIES["stranger"][4]):
        assert UdpPair(world.outside, free, 4, to=free.addresses[4], source_address=source).forward(), source
        with Counted(node.agent, "nobody", "ingress"):
            assert not UdpPair(world.outside, node.guest, 4, to=to, source_address=source).forward(0.4), source
    world.outside.ip(f"route del {to}/32")
    assert UdpPair(world.outside, node.guest, 4, to=to, source_address=home).forward()


def test_a_tunnel_that_cannot_be_attached_carries_none_either(world):
    """Class 52: until it can, nobody is believed on any uplink. A filter of another protocol at our priority keeps ours out."""
    guest = world.add_guest("web")
    to, home, stranger = guest.addresses[4], PARTIES["grantee"][4], PARTIES["stranger"][4]
    tunnel(world)
    foreign_filter(world, "vx0", "ingress", 0, "protocol", "ip")
    agent = Agent(world, "--attach", "clsact")
    agent.grant()
    agent.workload(guest)
    agent.start()

    def arrives(source, through, seconds=0.4):
        world.outside.ip(f"route replace {to}/32 {through}")
        return UdpPair(world.outside, guest, 4, to=to, source_address=source).forward(seconds)

    inside, outside = "via 10.99.0.1 dev vx0", f"via {NODE[4]}"
    assert "no uplink believes anybody" in agent.said(), agent.said()
    for _ in range(3):  # over some tries of the agent
        for source, through in ((stranger, inside), (home, inside), (home, outside)):
            with Counted(agent, "nobody", "ingress"):
                assert not arrives(source, through), (source, through)
    assert UdpPair(guest, world.outside, 4, to=home).both(), "what the guest itself begins"
    world.node.run("tc", "filter", "del", "dev", "vx0", "ingress")
    eventually(lambda: arrives(home, outside), 10, what=lambda: f"the grantee again: {agent.said()}")
    assert not arrives(stranger, inside) and not arrives(home, inside)


def namespace_inside(world, guest, family):
    """Of the guest's own, behind a link of its own (nest0), by which the guest forwards."""
    inner = world.namespace("inner")
    own, address, length = {4: ("10.30.0.1", "10.30.0.2", 24), 6: ("fd00:30::1", "fd00:30::2", 64)}[family]
    guest.namespace.sysctl("ipv4/ip_forward" if family == 4 else "ipv6/conf/all/forwarding", 1)
    guest.namespace.ip(f"link add nest0 type veth peer name eth0 netns {inner.name}", "link set nest0 up",
                       f"addr add {own}/{length} dev nest0")
    inner.ip("link set eth0 up", f"addr add {address}/{length} dev eth0", f"route add default via {own}")
    guest.namespace.until_it_sends("nest0")
    inner.until_it_sends("eth0")
    return inner


def test_a_namespace_inside_the_guest(node):
    """Class 35: what NET_ADMIN makes inside the guest leaves by the same interface, and is judged there."""
    world, guest = node.world, node.guest
    home, stranger = PARTIES["grantee"][4], PARTIES["stranger"][4]
    inner = namespace_inside(world, guest, 4)
    with Counted(node.agent, "source_address"):
        assert UdpPair(inner, world.outside, 4, to=home).silent()
    guest.namespace.run("iptables", "-w", "-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE")
    assert UdpPair(inner, world.outside, 4, to=home).both(), "as the guest itself"
    with Counted(node.agent, "destination"):
        assert UdpPair(inner, world.outside, 4, to=stranger).silent()


@pytest.mark.parametrize("what", ["qdisc del dev {} clsact", "filter del dev {} ingress", "filter del dev {} egress"],
                         ids=lambda what: " ".join(what.split()[::4]))
def test_a_clsact_qdisc_that_somebody_deletes_comes_back(world, what):
    """Class 33: with clsact, whoever deletes the qdisc deletes our filters; this is seen at once, mended and said."""
    guest = world.add_guest("web")
    agent = Agent(world, "--attach", "clsact")
    agent.grant()
    agent.workload(guest)
    stranger = UdpPair(guest, world.outside, 4, to=PARTIES["stranger"][4])
    assert stranger.both(), "without an agent it arrives"
    agent.start()
    assert stranger.silent()
    # To the guest it is open until then; what it sends itself stops at the gate.
    with Watched(SimpleNamespace(world=world, guest=guest, agent=agent), inwards=False):
        for _ in range(3):
            world.node.run("tc", *what.format(guest.interface).split())
            eventually(lambda: "from_guest" in run("tc", "-n", world.node.name, "filter", "show", "dev", guest.interface, "ingress"), 5,
                       what=lambda: f"the filter back: {agent.said()}")
            eventually(lambda: "to_guest" in run("tc", "-n", world.node.name, "filter", "show", "dev", guest.interface, "egress"), 5)
        assert UdpPair(guest, world.outside, 4, to=PARTIES["grantee"][4]).both()
        assert stranger.silent()
