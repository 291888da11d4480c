"""Limits by the bucket alone: never more than rate x time + burst, and nearly all of it (classes 37 and 38)."""

import socket
import threading
import time

import pytest
from node import Node
from test_offload import Wire
from traffic import SO_RCVBUFFORCE, TcpPair
from world import PARTIES

RATE, BURST = 16_000_000, 256 * 1024
HARD = {"keystone.io/egress-bandwidth": "16M", "keystone.io/ingress-bandwidth": "16M"}
LIMITED = {"hard": HARD, "bandwidth": {"egressBurst": "256Ki", "ingressBurst": "256Ki"}}


@pytest.fixture
def node(world):
    """Queues are tested in test_shaping.py; here nothing waits."""
    return Node(world, "--shaper", "policer")


def flood(socket_, goal, stop):
    payload = b"x" * 1400
    while not stop.is_set():
        try:
            socket_.sendto(payload, goal)
        except OSError:
            pass


def udp_bytes(pairs, seconds=2.0):
    """Wire bytes that arrive at the receivers, and within which time; (from, to, address, port) each."""
    stop, threads, receivers = threading.Event(), [], []
    begin = time.monotonic()
    for source, destination, address, port in pairs:
        receiver = destination.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        receiver.bind((address, port))
        receivers.append(receiver)
        sender = source.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if source.name.endswith("outside"):
            sender.bind((PARTIES["grantee"][4], 0))
        threads.append(threading.Thread(target=flood, args=(sender, (address, port), stop), daemon=True))
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    got = []
    for receiver in receivers:
        receiver.setblocking(False)
        count = 0
        try:
            while receiver.recv(2048):
                count += 1442
        except BlockingIOError:
            got.append(count)
    # Not before: what was sent last may be judged a moment after its sender has ended.
    return got, time.monotonic() - begin


def bound(elapsed):
    return BURST + RATE / 8 * elapsed


def test_udp_egress_and_ingress(node):
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    outside, home = node.world.outside, PARTIES["grantee"][4]
    (out,), elapsed = udp_bytes([(node.guest, outside, home, 9100)])
    assert out <= bound(elapsed)
    assert out >= 0.9 * RATE / 8 * elapsed
    (into,), elapsed = udp_bytes([(outside, node.guest, node.guest.addresses[4], 9101)])
    assert into <= bound(elapsed)
    assert into >= 0.9 * RATE / 8 * elapsed
    assert node.agent.drops("rate_limit") > 0 and node.agent.drops("rate_limit", "ingress") > 0


def test_guests_of_one_grant_share_its_bucket(node):
    other = node.world.add_guest("second")
    node.agent.workload(other)
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    outside, home = node.world.outside, PARTIES["grantee"][4]
    both, elapsed = udp_bytes([(node.guest, outside, home, 9110), (other, outside, home, 9111)])
    assert min(both) > 0
    assert sum(both) <= bound(elapsed)
    assert sum(both) >= 0.9 * RATE / 8 * elapsed


def test_tcp_with_segmentation_offload_stays_below_the_limit(node):
    """A policer costs TCP some of its rate; what it must not do is let more pass, with the headers of every segment. To the byte
    test_offload.py says it."""
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    pair = TcpPair(node.guest, node.world.outside, 4, to=PARTIES["grantee"][4])
    assert pair.both()
    sent = Wire(node.guest.namespace, pair.port, sent=True)
    received, stop = [0], threading.Event()

    def drain():
        while not stop.is_set():
            try:
                data = pair.server.recv(1 << 20)
            except OSError:
                continue
            if not data:
                return
            received[0] += len(data)

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    begin, chunk = time.monotonic(), b"x" * (1 << 16)
    pair.client.settimeout(0.5)
    while time.monotonic() - begin < 3:
        try:
            pair.client.send(chunk)
        except TimeoutError:
            pass
    elapsed = time.monotonic() - begin
    stop.set()
    reader.join()
    sent.end()
    assert sent.largest > 3000, "segments are made behind the guest"
    assert received[0] * 1514 / 1448 <= bound(elapsed)
    assert received[0] >= 0.3 * RATE / 8 * elapsed


def test_without_a_limit_nothing_is_held_back(node):
    (out,), elapsed = udp_bytes([(node.guest, node.world.outside, PARTIES["grantee"][4], 9120)], 0.5)
    assert out > 2 * bound(elapsed)


def test_the_directions_are_apart(node):
    """Both at once: each gets what it would get alone."""
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    outside, guest = node.world.outside, node.guest
    both, elapsed = udp_bytes([(guest, outside, PARTIES["grantee"][4], 9130), (outside, guest, guest.addresses[4], 9131)])
    for got in both:
        assert 0.9 * RATE / 8 * elapsed <= got <= bound(elapsed)


def test_changes_of_the_rate_under_load_give_nothing_away(node):
    """Class 38: the bucket's level outlives the change; a new policy is no new burst."""
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    stop = threading.Event()

    def change():
        for turn in range(1000):
            if stop.wait(0.05):
                return
            hard = {name: "8M" if turn % 2 else "16M" for name in HARD}
            node.agent.grant(**{**LIMITED, "hard": hard})

    changer = threading.Thread(target=change, daemon=True)
    before = node.agent.policy()
    changer.start()
    try:
        (out,), elapsed = udp_bytes([(node.guest, node.world.outside, PARTIES["grantee"][4], 9140)])
    finally:
        stop.set()
        changer.join()
    assert node.agent.policy() > before + 4, "the changes came into force"
    assert 0.4 * RATE / 8 * elapsed <= out <= bound(elapsed)
