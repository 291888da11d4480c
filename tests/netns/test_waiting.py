"""What becomes of packets that wait in a queue while the world changes (classes 4 and 5): they are judged as of when
they come back, reach only the interface that they were for, and speak for nobody."""

import contextlib
import json
import socket
import time

import pytest

from agent import REALMS
from queues import classes, links
from traffic import ARRIVES, SILENCE, SO_RCVBUFFORCE, mark_bytes, receives
from world import PARTIES, eventually

HOME, PORT = PARTIES["grantee"][4], 7000
SLOW = {"hard": {"keystone.io/egress-bandwidth": "1M", "keystone.io/ingress-bandwidth": "1M"},
        "bandwidth": {"egressBurst": "256Ki", "ingressBurst": "256Ki"}}
MANY = 150  # datagrams of 1,400 bytes wait for more than a second


@pytest.fixture(name="slow")
def slow_node(node):
    node.agent.in_force(lambda: node.agent.grant(**SLOW))
    eventually(lambda: len(classes(node)) == 4, what="queues")
    return node


class Exchange:
    """Bob at home, and the guest whom he writes to; each knows the other."""

    def __init__(self, node):
        self.guest = node.guest.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.guest.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.guest.bind((node.guest.addresses[4], PORT))
        self.home = node.world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.home.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.home.bind((HOME, PORT))
        self.to_guest, self.to_home = (node.guest.addresses[4], PORT), (HOME, PORT)
        assert self.comes_in() and self.goes_out()

    def comes_in(self, seconds=ARRIVES):
        payload = mark_bytes()
        self.home.sendto(payload, self.to_guest)
        return receives(self.guest, payload, seconds) is not None

    def goes_out(self, seconds=ARRIVES):
        payload = mark_bytes()
        self.guest.sendto(payload, self.to_home)
        return receives(self.home, payload, seconds) is not None

    def many(self, text, egress):
        sender, goal = (self.guest, self.to_home) if egress else (self.home, self.to_guest)
        for _ in range(MANY):
            sender.sendto(text.ljust(1400, b"."), goal)


def waiting(node):
    """Bytes in the queues."""
    shown = json.loads(node.world.node.run("tc", "-json", "-s", "qdisc", "show", "dev", links(node)[0]))
    return max(each["backlog"] for each in shown)


def arrived(receiver, text):
    """How many of those that are at the socket now."""
    receiver.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            count += text in receiver.recv(65536)
    return count


@pytest.mark.parametrize("egress", [True, False], ids=["egress", "ingress"])
@pytest.mark.parametrize("alive", [True, False], ids=["alive", "killed"])
def test_what_waits_is_not_for_another_interface_of_the_same_index(slow, alive, egress):
    """The guest's interface is deleted while its packets wait, and somebody else's is made under its index."""
    world, guest, text = slow.world, slow.guest, mark_bytes()
    exchange, plain = Exchange(slow), world.namespace("plain")
    index = world.node.interface_index(guest.interface)
    if not alive:
        slow.agent.kill()
    exchange.many(text, egress)
    receiver = exchange.home if egress else exchange.guest
    assert receives(receiver, text.ljust(1400, b"."), ARRIVES), "they come"
    assert waiting(slow) > 20 * 1400
    world.node.ip(f"link del {guest.interface}",
                  f"link add other index {index} address {guest.gateway_mac} type veth peer name eth0 netns {plain.name}",
                  "link set other up")
    plain.ip("link set eth0 up")
    wire = plain.packet_socket("eth0")
    assert world.node.interface_index("other") == index
    arrived(exchange.home, text)
    end, others = time.monotonic() + 1.5, 0
    while time.monotonic() < end:
        others += arrived(wire, text)
        time.sleep(0.01)
    assert others == 0, "none comes out of another's interface"
    assert arrived(exchange.home, text) == 0, "none goes on as if another's interface had sent it"
    if not alive:
        assert slow.agent.drops("no_endpoint", "egress" if egress else "ingress", "(quarantine)") > 0
    wire.settimeout(ARRIVES)
    world.node.ip("addr add 10.88.0.1/24 dev other")
    plain.ip("addr add 10.88.0.2/24 dev eth0")
    payload = mark_bytes()
    world.node.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(payload, ("10.88.0.2", PORT))
    eventually(lambda: payload in wire.recv(65536), what="the interface carries what is meant for it")


def test_what_waited_settles_no_doubt(slow):
    """Another one has sent from the same address and port: replies wait for the rightful peer, as of now."""
    exchange = Exchange(slow)
    exchange.many(mark_bytes(), egress=False)
    slow.world.tailnet.ip(f"addr add {HOME}/32 dev lo")
    other = slow.world.tailnet.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.bind((HOME, PORT))
    other.sendto(mark_bytes(), exchange.to_guest)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert not exchange.goes_out(SILENCE / 2), "no packet of his has come since"
    assert slow.agent.drops("awaiting_peer", "ingress") > 0
    assert exchange.comes_in() and exchange.goes_out()


def test_what_waited_does_not_speak_for_a_realm_that_has_lost_its_address(slow):
    agent, exchange, text = slow.agent, Exchange(slow), mark_bytes()
    exchange.many(text, egress=False)
    assert receives(exchange.guest, text.ljust(1400, b"."), ARRIVES), "they come"
    bob = REALMS["bob-home"]
    agent.in_force(lambda: agent.realm("bob-home", [each for each in bob if not each.startswith("192.0.2.")]))
    arrived(exchange.guest, text)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert not exchange.goes_out(SILENCE / 2)
    assert arrived(exchange.guest, text) == 0
    assert not exchange.comes_in(SILENCE)
    agent.realm("bob-home", bob)
    eventually(lambda: exchange.comes_in(SILENCE), what="it is his again")
    assert exchange.goes_out()
