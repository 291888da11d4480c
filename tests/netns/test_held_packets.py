"""What the node holds between the stamp and the guest speaks for nobody once its sender's realm has lost the address, nor for
whoever has the number next (rules 3 and 11)."""

import itertools
import json
import socket
import struct

import pytest

from frames import ipv4, ipv6, udp
from traffic import ARRIVES, FAMILY, SILENCE, TcpPair, UdpPair, mark_bytes, next_port, receives, unanswered
from world import PARTIES, REALMS, TAILNET_GRANTEE, eventually

STAY = [each for each in REALMS["bob-home"] if each.startswith(("100.64.", "fd7a:"))]
WAS = " (until it lost an address)"  # after the name of what was a realm
SPLIT = 800  # bytes of the first of two fragments
FRAGMENT = 44  # IPv6's header
_identifiers = itertools.count(100)


def live(node):
    """Connections of an address of Bob's that stays; he began them."""
    to = node.guest.addresses[4]
    made = [kind(node.world.tailnet, node.guest, 4, to=to, source_address=TAILNET_GRANTEE[4]) for kind in (UdpPair, TcpPair)]
    assert all(each.both() for each in made)
    return made


def go_on(node, flows):
    """They, and new ones of the same address, also from the guest."""
    to, stays = node.guest.addresses[4], TAILNET_GRANTEE[4]
    assert all(each.both() for each in flows), "connections of an address that stays go on"
    assert UdpPair(node.world.tailnet, node.guest, 4, to=to, source_address=stays).both()
    assert UdpPair(node.guest, node.world.tailnet, 4, to=stays).both()
    assert f"bob-home{WAS}" in names(node.world).values()
    assert node.agent.ctl("verify").returncode == 0, node.agent.ctl("verify").stdout


class Exchange:
    """Somebody outside, and the guest to whom he has written nothing yet."""

    def __init__(self, node, party, family=4):
        self.agent, self.source, self.to, self.family = node.agent, PARTIES[party][family], node.guest.addresses[family], family
        self.port, self.guest, self.peer = next_port(), *(each.socket(FAMILY[family], socket.SOCK_DGRAM)
                                                          for each in (node.guest, node.world.outside))
        self.guest.bind((self.to, self.port))
        self.peer.bind((self.source, self.port))
        self.raw = node.world.outside.socket(FAMILY[family], socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.payload = mark_bytes().ljust(SPLIT + 400, b".")
        self.identifier = next(_identifiers)
        self.before = self.refused()

    def refused(self):
        return sum(each["packets"] for each in self.agent.json("drops")["drops"]
                   if each["reason"] == "not_a_party" and each["direction"] == "ingress")

    def fragments(self):
        """The packet in two, neither of which is sent yet."""
        whole = udp(self.source, self.to, self.port, self.port, self.payload)
        for part, offset in ((whole[:SPLIT], 0), (whole[SPLIT:], SPLIT)):
            more = offset == 0
            if self.family == 4:
                yield ipv4(self.source, self.to, part, fragment=more << 13 | offset // 8, identifier=self.identifier)
            else:
                header = struct.pack("!BBHI", 17, 0, offset | more, self.identifier)
                yield ipv6(self.source, self.to, header + part, following=FRAGMENT)

    def send(self, fragment):
        self.raw.sendto(fragment, (self.to, 0))

    def comes_in(self, seconds=ARRIVES):
        return receives(self.guest, self.payload, seconds) is not None

    def goes_out(self):
        payload = mark_bytes()
        self.guest.sendto(payload, (self.source, self.port))
        return receives(self.peer, payload, SILENCE) is not None

    def is_refused(self):
        """It has come to the guest's door, and nothing follows it."""
        eventually(lambda: self.refused() > self.before, what=lambda: self.agent.ctl("drops").stdout)
        assert not self.comes_in(SILENCE)
        assert not any(self.goes_out() for _ in range(3))


def reassemble(world):
    """A rule for connections makes the node put fragments together."""
    for command in ("iptables", "ip6tables"):
        world.node.run(command, "-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "ACCEPT")


def has_come(node, family):
    """What was sent from outside before: nothing overtakes it."""
    assert UdpPair(node.world.outside, node.guest, family, to=node.guest.addresses[family],
                   source_address=PARTIES["grantor"][family]).forward()


def idname(world):
    return f"{world.pin_root}/maps/grantd_idname_v1"


def names(world):
    """Identities by number, and how they are called."""
    shown = world.node.run("bpftool", "map", "dump", "pinned", idname(world))
    return {each["key"]: each["value"]["name"] for each in json.loads(shown)}


def give_out_numbers(node):
    """As if the highest had been somebody's: then those that are free come again."""
    key, value = struct.pack("=I", 8191), struct.pack("=I320s", 1, f"gone{WAS}".encode())  # 1: a realm
    node.world.node.run("bpftool", "map", "update", "pinned", idname(node.world), "key", *map(str, key), "value", *map(str, value))
    node.agent.restart()


def number_of(world, name):
    return {each: number for number, each in names(world).items()}[name]


def loses(node):
    node.agent.in_force(lambda: node.agent.realm("bob-home", STAY))


@pytest.mark.parametrize("lost", [True, False])
def test_for_a_neighbour_that_answers_late(node, lost):
    """The guest decides when the node may send it what it holds."""
    guest, flows, exchange = node.guest, live(node), Exchange(node, "grantee")
    with unanswered(node.world, guest):
        exchange.peer.sendto(exchange.payload, (exchange.to, exchange.port))
        eventually(lambda: "INCOMPLETE" in node.world.node.run("ip", "neigh", "show", exchange.to, "dev", guest.interface),
                   what="a packet that is held")
        if lost:
            loses(node)
    if lost:
        exchange.is_refused()
        go_on(node, flows)
    else:
        assert exchange.comes_in(5) and exchange.goes_out(), "what was held came"


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("family", [4, 6])
def test_for_its_other_fragments(node, family, lost):
    reassemble(node.world)
    flows, exchange = live(node), Exchange(node, "grantee", family)
    first, last = exchange.fragments()
    exchange.send(first)
    has_come(node, family)
    if lost:
        loses(node)
    exchange.send(last)
    if lost:
        exchange.is_refused()
        go_on(node, flows)
    else:
        assert exchange.comes_in() and exchange.goes_out(), "what was held came"


@pytest.mark.parametrize("gone", [True, False])
def test_of_a_guest_that_is_gone(node, gone):
    """Its address is somebody's who is no guest by the time that its sibling answers; that one goes nowhere there."""
    world, agent, guest = node.world, node.agent, node.guest
    sibling, stays = world.add_guest("sibling"), world.add_guest("stays")
    for each in (sibling, stays):
        agent.workload(each)
        eventually(lambda name=each.name: agent.has_active(name), what="the siblings")
    (address, to), port, payload = (sibling.addresses[4], guest.addresses[4]), next_port(), mark_bytes()
    held, sender = (each.socket(socket.AF_INET, socket.SOCK_DGRAM) for each in (guest, sibling))
    held.bind((to, port))
    sender.bind((address, port))
    flow = TcpPair(stays, guest, 4, to=to)
    assert flow.both()
    with unanswered(world, guest):
        sender.sendto(payload, (to, port))
        eventually(lambda: "INCOMPLETE" in world.node.run("ip", "neigh", "show", to, "dev", guest.interface),
                   what="a packet that is held")
        if gone:
            before, refused = agent.policy(), agent.drops("not_a_party", "ingress")
            world.remove_guest(sibling)
            eventually(lambda: agent.policy() != before, what="the siblings' new number")
            plain = world.add_guest("plain", number=int(address.rsplit(".", 1)[1]))
    if not gone:
        assert receives(held, payload, 5), "what was held came"
        held.sendto(payload, (address, port))
        assert receives(sender, payload, ARRIVES)
        return
    eventually(lambda: agent.drops("not_a_party", "ingress") > refused, what=lambda: agent.ctl("drops").stdout)
    assert plain.addresses[4] == address
    there = plain.socket(socket.AF_INET, socket.SOCK_DGRAM)
    there.bind((address, port))
    assert receives(held, payload, SILENCE) is None
    for _ in range(3):
        held.sendto(payload, (address, port))
    assert receives(there, payload, SILENCE) is None
    assert flow.both() and UdpPair(guest, stays, 4, to=stays.addresses[4]).both(), "who stays goes on"
    assert agent.ctl("verify").returncode == 0, agent.ctl("verify").stdout


@pytest.mark.parametrize("restart", [False, True])
def test_while_its_number_is_given_to_another(node, restart):
    """Carol is no party; her number would be Dave's next, who is one, for all were given out before."""
    world, agent = node.world, node.agent
    give_out_numbers(node)
    reassemble(world)
    exchange = Exchange(node, "carol")
    first, last = exchange.fragments()
    exchange.send(first)
    has_come(node, 4)
    number = number_of(world, "carol")
    before = agent.json("status")["maps"]["grantd_identity"]["entries"]
    agent.remove("realm-carol")
    eventually(lambda: agent.json("status")["maps"]["grantd_identity"]["entries"] < before, what="her addresses gone")
    agent.in_force(lambda: agent.grant(destinations=[]))  # what nothing bears may go now
    if restart:
        agent.restart()
    agent.realm("dave", ["203.0.113.0/25"])
    eventually(lambda: number_of(world, "dave"), what="a number of Dave's")
    agent.grant("h", granteeRealm="dave")
    agent.workload(node.guest, grant="h")
    to = node.guest.addresses[4]
    eventually(lambda: UdpPair(world.outside, node.guest, 4, to=to, source_address=PARTIES["stranger"][4]).both(), what="Dave as a party")
    exchange.before = exchange.refused()
    exchange.send(last)
    exchange.is_refused()
    assert number_of(world, "dave") != number
    assert names(world)[number] == f"carol{WAS}"
