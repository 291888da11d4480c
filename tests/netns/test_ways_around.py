"""Ways around the guest's interface and its Grant: another interface, another program, names, the other family."""

import os
import signal
import socket
import stat
import struct
import time

import frames
import pytest
from agent import Counted
from bpf_calls import AFTER
from foreign import WITH_TCX_LINKS, foreign_program, foreign_tcx, loaded
from sniffing import Sniffer
from test_metrics import get_metric
from traffic import ENOUGH, FAMILY, SILENCE, Flood, Ping, TcpPair, UdpPair, mark_bytes, next_port, receives
from world import DESTINATIONS, GATEWAY, NODE, PARTIES, eventually


def test_a_second_interface_of_a_guest_is_held_like_the_first(node):
    """Class 36: a Workload of its own, and neither interface speaks with the other's address."""
    world, guest = node.world, node.guest
    world.node.ip(f"link add second0 address 02:20:00:00:01:01 type veth peer name eth1 address 02:20:00:00:01:02 "
                  f"netns {guest.namespace.name}", "link set second0 up", f"addr add {GATEWAY[4]}/32 dev second0",
                  "route add 10.20.1.2/32 dev second0")
    node.agent.write("workload-second", '{"apiVersion": "keystone.io/v1alpha1", "kind": "Workload", "metadata": '
                     '{"name": "second"}, "spec": {"grantName": "g", "interface": "second0", "addresses": ["10.20.1.2"]}}')
    eventually(lambda: len(node.agent.json("endpoints")["endpoints"]) == 2, what="the second endpoint")
    guest.namespace.ip("link set eth1 up", "addr add 10.20.1.2/32 dev eth1",
                       *[f"route add {PARTIES[party][4]}/32 via {GATEWAY[4]} dev eth1 onlink"
                         for party in ("grantee", "stranger")])
    world.node.until_it_sends("second0")
    guest.namespace.until_it_sends("eth1")
    outside, home = world.outside, PARTIES["grantee"][4]
    assert UdpPair(guest, outside, 4, to=home, source_address="10.20.1.2").both()
    with Counted(node.agent, "source_address"):
        assert UdpPair(guest, outside, 4, to=home, source_address=guest.addresses[4]).silent()
    with Counted(node.agent, "destination"):
        assert UdpPair(guest, outside, 4, to=PARTIES["stranger"][4], source_address="10.20.1.2").silent()


REDIRECT = """
#include <linux/bpf.h>
static long (*store)(void *, unsigned, const void *, unsigned, unsigned long) = (void *)9;
static long (*redirect)(unsigned, unsigned long) = (void *)23;
__attribute__((section("tc"), used)) int foreign(struct __sk_buff *skb) {
  unsigned char mac[6] = {%s};
  if (skb->protocol != %d) return -1;
  store(skb, 0, mac, 6, 0);
  return redirect(%d, 0);
}
char name_of_license[] __attribute__((section("license"), used)) = "GPL";
"""


def redirect_to(world, interface, mac):
    """Of IPv4, out of that interface of the node."""
    return REDIRECT % (", ".join(f"0x{part}" for part in mac.split(":")), socket.htons(0x0800), world.node.interface_index(interface))


def test_a_redirect_of_another_program_meets_ours(node):
    """Class 32: past routing and netfilter, from the uplink straight to the guest's interface."""
    world, guest = node.world, node.guest
    built = foreign_program(world, redirect_to(world, guest.interface, guest.mac))
    world.node.run("tc", "qdisc", "add", "dev", "uplink0", "clsact", check=False)  # without tcx there is ours
    world.node.run("tc", "filter", "add", "dev", "uplink0", "ingress", "bpf", "da", "obj", built, "sec", "tc")
    world.node.sysctl("ipv4/ip_forward", 0)  # what arrives now was redirected
    to = guest.addresses[4]
    assert UdpPair(world.outside, guest, 4, to=to, source_address=PARTIES["grantee"][4]).forward()
    with Counted(node.agent, "nobody", "ingress"):
        assert not UdpPair(world.outside, guest, 4, to=to, source_address=PARTIES["stranger"][4]).forward(0.4)
    with Counted(node.agent, "not_a_party", "ingress"):
        assert not UdpPair(world.outside, guest, 4, to=to, source_address=PARTIES["carol"][4]).forward(0.4)


class Redirected:
    """Packets from a guest or to it, forbidden ones and allowed ones, and who sees either come out of spy0."""

    def __init__(self, node, side):
        world, guest = node.world, node.guest
        nobody, self.agent, self.side, self.sent, self.seen = world.namespace("spy"), node.agent, side, [], []
        world.node.ip(f"link add spy0 type veth peer name eth0 netns {nobody.name}", "link set spy0 addrgenmode none up")
        nobody.ip("link set eth0 addrgenmode none up")
        world.node.until_it_sends("spy0")
        out = side == "ingress"  # of the node's side of the link
        for port, address in ((7777, PARTIES["stranger"][4]), (7778, PARTIES["grantee"][4])):
            ends = (guest, world.outside, address) if out else (world.outside, guest, guest.addresses[4])
            self.sent.append(Flood(*ends, port=port))
            self.sent[-1].sender.bind(("" if out else address, 0))
            self.seen.append(Sniffer(nobody, [address]))
        self.program = loaded(world, redirect_to(world, "spy0", guest.mac))

    def go(self):
        """What arrives now of the forbidden ones and of the allowed ones: at their own end, and where the redirect says."""
        for each in self.sent:
            for _ in range(ENOUGH):
                each.sender.sendto(each.payload(), each.goal)
        time.sleep(SILENCE)
        return [tuple(bool(each.arrived()) for each in ends) for ends in (self.sent, self.seen)]

    def become(self, *where):
        eventually(lambda: self.go() == list(where), what=lambda: f"{where}, not {self.go()}; {self.agent.said()}")

    def become_what_ours_lets_pass(self):
        with Counted(self.agent, *(("destination",) if self.side == "ingress" else ("nobody", "ingress")), packets=ENOUGH):
            self.become((False, False), (False, True))


@WITH_TCX_LINKS
@pytest.mark.parametrize("side", ["ingress", "egress"])
def test_a_redirect_after_ours_has_only_what_ours_lets_pass(node, side):
    """Class 32: on the guest's own interface. That is as it should be, so nobody tells of it."""
    packets = Redirected(node, side)
    packets.become((False, True), (False, False))
    with foreign_tcx(node, packets.program, side, AFTER):
        packets.become_what_ours_lets_pass()
        assert node.agent.ctl("verify").returncode == 0
        node.agent.kill()
        assert node.agent.uninstall().returncode == 0
        packets.become((False, False), (True, True))


@WITH_TCX_LINKS
@pytest.mark.parametrize("side, asked", [("ingress", False), ("egress", True)])
def test_a_redirect_before_ours_goes_where_it_says_until_the_agent_looks(metered, side, asked):
    """Class 32: nothing of ours is on that way, the gate neither (docs/assurance.md). The agent looks when asked, or by itself."""
    agent, packets = metered.agent, Redirected(metered, side)
    packets.become((False, True), (False, False))
    before = get_metric(metered.world, "grantd_drift_repaired_total")
    with foreign_tcx(metered, packets.program, side):
        packets.become((False, False), (True, True))
        told = agent.ctl("verify")
        program = "from_guest" if side == "ingress" else "to_guest"
        assert (told.returncode, told.stdout.strip()) == (1, f"guest web: {program} is not the first program on its interface")
        if asked:
            agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: agent.ctl("verify").returncode == 0, 60, what=lambda: f"ours at the front: {agent.said()}")
        packets.become_what_ours_lets_pass()
        assert get_metric(metered.world, "grantd_drift_repaired_total") > before
        assert "the kernel is not as it was left; mending it" in agent.said()
    packets.become((False, True), (False, False))


def test_name_service_is_closed_unless_opened(node):
    """Class 48: no resolver is reached because it is one; `dns: Cluster` has nobody to resolve for it here."""
    guest, outside = node.guest, node.world.outside
    policy = {"egressAllowed": True, "allowedDestinations": [f"{DESTINATIONS[4]}:53/UDP"], "dns": "Cluster"}
    node.agent.in_force(lambda: node.agent.grant(networkPolicy=policy))
    assert UdpPair(guest, outside, 4, to=PARTIES["destination"][4], port=53).both()
    with Counted(node.agent, "destination"):
        assert UdpPair(guest, outside, 4, to=PARTIES["stranger"][4], port=53).silent()
    with Counted(node.agent, "destination"):
        assert TcpPair(guest, outside, 4, to=PARTIES["stranger"][4], port=53, seconds=0.4).silent()
    # What the others reach is there: a guest beside it that nobody holds gets to it.
    free, service = node.world.add_guest("free"), "10.43.0.10"
    outside.ip(f"addr add {service}/32 dev lo")
    for there, to in ((node.world.node, NODE[4]), (outside, service)):
        reached = UdpPair(free, there, 4, to=to, port=53)
        assert reached.both()
        reached.server.close()
        with Counted(node.agent, "protected_destination"):
            assert UdpPair(guest, there, 4, to=to, port=53).silent()
    for group, port, reason in (("224.0.0.251", 5353, "link_chatter"), ("224.0.0.252", 5355, "multicast")):
        assert group_hears(node.world.node, free, group, port)
        with Counted(node.agent, reason):
            assert not group_hears(node.world.node, guest, group, port)


def group_hears(node, guest, group, port):
    """Whether somebody on the node who listens to a multicast group on the guest's link hears the guest."""
    receiver, payload = node.socket(socket.AF_INET, socket.SOCK_DGRAM), mark_bytes()
    receiver.bind((group, port))
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                        struct.pack("=4s4xi", socket.inet_aton(group), node.interface_index(guest.interface)))
    guest.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(payload, (group, port))
    heard = receives(receiver, payload, 0.4) is not None
    receiver.close()
    return heard


def test_a_grant_of_one_family_leaves_the_other_closed(node):
    """Class 21: also on the link."""
    guest, outside = node.guest, node.world.outside
    node.agent.in_force(lambda: node.agent.grant(destinations=[f"{DESTINATIONS[4]}"]))
    assert UdpPair(guest, outside, 4, to=PARTIES["destination"][4]).both()
    assert Ping(guest, 4, PARTIES["destination"][4]).both()
    with Counted(node.agent, "destination"):
        assert UdpPair(guest, outside, 6, to=PARTIES["destination"][6]).silent()
    with Counted(node.agent, "destination"):
        assert Ping(guest, 6, PARTIES["destination"][6]).silent()
    free = node.world.add_guest("free")
    assert UdpPair(free, outside, 6, to=PARTIES["destination"][6]).both()

    def hears_on_the_link(sender):
        receiver = node.world.node.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        port, payload = next_port(), mark_bytes()
        receiver.bind(("::", port))
        client = sender.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        client.sendto(payload, (GATEWAY[6], port, 0, sender.namespace.interface_index("eth0")))
        return receives(receiver, payload, 0.3) is not None
    assert hears_on_the_link(free)
    with Counted(node.agent, "link_local"):
        assert not hears_on_the_link(guest)
    assert UdpPair(guest, outside, 6, to=PARTIES["grantee"][6]).both()


def test_an_address_in_new_use_inherits_nothing(node):
    """Class 5: another guest, under a Grant that opens less, with the address of one that is gone."""
    world, old = node.world, node.guest
    to = PARTIES["destination"][4]
    assert UdpPair(old, world.outside, 4, to=to, port=5100).both()
    world.close_sockets()
    node.agent.grant("h", [])
    node.agent.remove("workload-web")
    world.disconnect(old)
    eventually(lambda: not node.agent.json("endpoints")["endpoints"], what="the old endpoint gone")
    fresh = world.add_guest("fresh")
    world.disconnect(fresh)
    fresh.addresses = dict(old.addresses)
    world.connect(fresh)
    node.agent.workload(fresh, "h")
    eventually(lambda: node.agent.json("endpoints")["endpoints"], what="the new endpoint")
    eventually(UdpPair(fresh, world.outside, 4, to=PARTIES["grantee"][4]).both, what="traffic of the new guest")
    with Counted(node.agent, "destination", grant="keystone-system/h"):
        assert UdpPair(fresh, world.outside, 4, to=to, port=5100).silent()


def test_a_mapped_address_is_the_address(node):
    """Class 34: a socket of the other family, and a datagram without connect."""
    guest, outside = node.guest, node.world.outside
    sender = guest.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    for party, arrives in (("grantee", True), ("stranger", False)):
        port, payload = next_port(), mark_bytes()
        receiver = outside.socket(FAMILY[4], socket.SOCK_DGRAM)
        receiver.bind((PARTIES[party][4], port))
        sender.sendto(payload, (f"::ffff:{PARTIES[party][4]}", port))
        assert (receives(receiver, payload, 1.0 if arrives else 0.4) is not None) == arrives, party


def test_data_in_a_syn_is_judged_as_one(node):
    """Class 34: TCP fast open sends without connect()."""
    guest, outside = node.guest, node.world.outside
    sniffer = outside.packet_socket("eth0")
    sniffer.settimeout(0.4)
    wire = guest.namespace.packet_socket("eth0")
    for party, arrives in (("grantee", True), ("stranger", False)):
        payload, to = mark_bytes(), PARTIES[party][4]
        syn = b"\x15\xb3\x01\xbb" + b"\0\0\0\1" + b"\0" * 4 + b"\x50\x02\xff\xff" + b"\0" * 4 + payload
        wire.send(frames.ethernet(guest.gateway_mac, guest.mac, 0x0800, frames.ipv4(guest.addresses[4], to, syn, 6)))
        seen = False
        try:
            while not seen:
                seen = payload in sniffer.recv(2048)
        except TimeoutError:
            pass
        assert seen == arrives, party


def test_pins_are_for_root_alone(node):
    """Class 46."""
    for place in ("", "maps", "programs", "links"):
        path = os.path.join(node.world.pin_root, place)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700, path
