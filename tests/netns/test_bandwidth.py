"""Limits by the bucket alone: never more than rate x time + burst, and nearly all of it (classes 37 and 38)."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from node import Node
from test_offload import Wire
from traffic import SO_RCVBUFFORCE, Background, TcpPair
from world import PARTIES, eventually, run

RATE, BURST = 16_000_000, 256 * 1024
PAYLOAD, WIRE = 1400, 1442
TRIES, FULL = 8, 0.3  # seconds until the bucket is full again, and more
# In the bucket and with CPUs, at the end, and what the bucket keeps for CPUs: half a percent of two seconds.
LEFT = 16 * 1024 + 2048 * os.cpu_count()
HARD = {"keystone.io/egress-bandwidth": "16M", "keystone.io/ingress-bandwidth": "16M"}
LIMITED = {"hard": HARD, "bandwidth": {"egressBurst": "256Ki", "ingressBurst": "256Ki"}}


@pytest.fixture
def node(world):
    """Queues are tested in test_shaping.py; here nothing waits."""
    return Node(world, "--shaper", "policer")


class Sender(threading.Thread):
    """Sends all the time, and knows since when and until when."""

    def __init__(self, made, goal):
        super().__init__(daemon=True)
        self.made, self.goal, self.ending = made, goal, threading.Event()
        self.first = self.last = 0.0

    def run(self):
        payload = b"x" * PAYLOAD
        while not self.ending.is_set():
            try:
                self.made.sendto(payload, self.goal)
            except OSError:
                pass
            self.last = time.monotonic()
            self.first = self.first or self.last


class Measured:
    """Wire bytes that arrived of each sender, and between which bounds all of them together must be."""

    def __init__(self, got, senders, begin, end):
        self.got, self.senders = got, senders
        self.begin, self.end, self.elapsed = begin, end, end - begin  # not before the first was sent, nor after the last was judged
        self.first, self.last = max(each.first for each in senders), min(each.last for each in senders)

    def at_most(self):
        """Exact, whatever else the machine does."""
        return bound(self.elapsed)

    def at_least(self):
        """All that came into the bucket went out of it, but for what is left. Not where the machine was too busy to send, or to
        receive, for so long that the bucket was full."""
        return bound(self.last - self.first) - LEFT


def assert_held(pairs, each_alone=False):
    """Never too much; and once at least all of it, for a busy machine takes away and gives nothing."""
    for _ in range(TRIES):
        time.sleep(FULL)
        measured = measure(pairs, 2.0)
        sums = measured.got if each_alone else [sum(measured.got)]
        assert max(sums) <= measured.at_most(), (sums, measured.at_most())
        if min(sums) >= measured.at_least():
            return measured
    raise AssertionError(f"in none of {TRIES} tries, at last {sums} of {measured.at_least()}")


def measure(pairs, seconds):
    senders, receivers = [], []
    for source, destination, address, port in pairs:
        receiver = destination.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        receiver.bind((address, port))
        receivers.append(receiver)
        made = source.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if source.name.endswith("outside"):
            made.bind((PARTIES["grantee"][4], 0))
        senders.append(Sender(made, (address, port)))
    begin = time.monotonic()
    for each in senders:
        each.start()
    time.sleep(seconds)
    for each in senders:
        each.ending.set()
    for each in senders:
        each.join()
    got = []
    for receiver in receivers:
        receiver.setblocking(False)
        count = 0
        try:
            while receiver.recv(2048):
                count += WIRE
        except BlockingIOError:
            got.append(count)
        receiver.close()
    # Not before: what was sent last may be judged a moment after its sender has ended.
    return Measured(got, senders, begin, time.monotonic())


def udp_bytes(pairs, seconds=2.0):
    """What arrived and within which time, for those who let packets wait: a sender that has to wait is no loss there."""
    measured = measure(pairs, seconds)
    return measured.got, measured.elapsed


def bound(elapsed):
    return BURST + RATE / 8 * elapsed


def test_udp_egress_and_ingress(node):
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    outside, home = node.world.outside, PARTIES["grantee"][4]
    assert_held([(node.guest, outside, home, 9100)])
    assert_held([(outside, node.guest, node.guest.addresses[4], 9101)])
    assert node.agent.drops("rate_limit") > 0 and node.agent.drops("rate_limit", "ingress") > 0


def test_guests_of_one_grant_share_its_bucket(node):
    other = node.world.add_guest("second")
    node.agent.workload(other)
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    eventually(lambda: node.agent.has_active("second"), what="the second guest")
    outside, home = node.world.outside, PARTIES["grantee"][4]
    assert min(assert_held([(node.guest, outside, home, 9110), (other, outside, home, 9111)]).got) > 0


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
    measured = measure([(node.guest, node.world.outside, PARTIES["grantee"][4], 9120)], 0.5)
    assert sum(measured.got) > 2 * measured.at_most()


def test_the_directions_are_apart(node):
    """Both at once: each gets what it would get alone."""
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    outside, guest = node.world.outside, node.guest
    assert_held([(guest, outside, PARTIES["grantee"][4], 9130), (outside, guest, guest.addresses[4], 9131)], each_alone=True)


class Changes(Background):
    """Sets another rate over and over, and knows when which may have been in force."""

    def __init__(self, agent):
        super().__init__()
        self.agent, self.spans, self.count = agent, [], 0  # (until, least, most) since the one before
        self.rate = RATE

    def _run(self):
        while not self.ending.wait(0.15):
            rate = RATE // 2 if self.rate == RATE else RATE

            def change(rate=rate):
                self.spans.append((time.monotonic(), self.rate, self.rate))
                self.agent.grant(**{**LIMITED, "hard": {name: str(rate) for name in HARD}})
            self.agent.in_force(change, seconds=30.0)
            self.spans.append((time.monotonic(), min(rate, self.rate), max(rate, self.rate)))
            self.rate, self.count = rate, self.count + 1

    def bits(self, begin, end, which):
        total, since = 0, begin
        for until, *rates in [*self.spans, (end, self.rate, self.rate)]:
            until = min(max(until, begin), end)
            total += rates[which] * (until - since)
            since = until
        return total


def test_changes_of_the_rate_under_load_give_nothing_away(node):
    """Class 38: the bucket's level outlives the change; a new policy is no new burst."""
    pairs = [(node.guest, node.world.outside, PARTIES["grantee"][4], 9140)]
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    for _ in range(TRIES):
        time.sleep(FULL)
        with Changes(node.agent) as changes:
            measured = measure(pairs, 5.0)
        (got,), count = measured.got, changes.count
        least = BURST + changes.bits(measured.first, measured.last, 0) / 8 - LEFT * (1 + count)
        most = BURST + changes.bits(measured.begin, measured.end, 1) / 8
        assert got <= most, (got, most)
        # A burst for every change would be seen; and so it was known well enough what was in force when.
        if count >= 6 and most < least + 0.8 * count * BURST and got >= least:
            return
        if changes.rate != RATE:
            node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    raise AssertionError(f"in none of {TRIES} tries; at last {got} of {least} to {most}, with {count} changes")


def test_who_is_silent_over_a_fall_finds_no_full_bucket(node):
    """Under the rate of before it would have been full again by then (decision 43)."""
    burst, silence = 4 << 20, 2.5
    pairs = [(node.guest, node.world.outside, PARTIES["grantee"][4], 9141)]

    def limit(rate, size):
        node.agent.in_force(lambda: node.agent.grant(hard={name: rate for name in HARD}, bandwidth={"egressBurst": size, "ingressBurst": size}))

    def empties():
        return measure(pairs, 0.7).got[0]
    for _ in range(TRIES):
        limit("16M", "4Mi")
        time.sleep(silence)
        assert empties() > 0.8 * burst, "the control: that long a silence fills it"
        begin = time.monotonic()
        limit("64k", "256Ki")
        fell = time.monotonic()
        time.sleep(silence)
        rose = time.monotonic()
        limit("16M", "4Mi")
        got = empties()
        at_most = (RATE * (fell - begin + time.monotonic() - rose) + 64_000 * (rose - begin)) / 8 + LEFT
        assert got <= at_most
        if at_most < 0.8 * burst:  # the machine was quick enough for a burst to be seen
            return
    raise AssertionError(f"in none of {TRIES} tries, at last {got} of {at_most}")


def test_buckets_that_cannot_be_told_are_told_later(node, faults):
    agent, untold = node.agent, "cannot tell the buckets of a change"
    agent.kill()
    agent.environment |= faults.environment
    agent.start()
    faults.arm("run", 1, goes_on=True)
    for burst in ("1Mi", "2Mi") * 4:  # edits that come while it fails do not put it off
        agent.in_force(lambda: agent.grant(**LIMITED | {"bandwidth": {"egressBurst": burst}}))
    agent.in_force(lambda: agent.grant(**LIMITED))
    assert eventually(lambda: untold in agent.said()) and faults.failed() > 0
    assert_held([(node.guest, node.world.outside, PARTIES["grantee"][4], 9142)])
    faults.disarm()
    assert eventually(lambda: f"no longer: {node.world.pin_root}: {untold}" in agent.said(), 10, what=agent.said)


SEND_FROM_CGROUP = """
import socket, sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(int(sys.argv[4])):
    try:
        made.sendto(b"x" * 1400, (sys.argv[2], int(sys.argv[3])))
    except PermissionError:
        pass
"""


def test_a_guest_of_the_host_network_borrows_nothing(node):
    """Its program may be interrupted by that of an interface, which would spend the same credit of the CPU."""
    outside, home, cgroup = node.world.outside, PARTIES["grantee"][4], node.world.cgroup("host")
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    node.agent.host_workload(cgroup)
    eventually(lambda: len(node.agent.json("endpoints")["endpoints"]) == 2, what="the guest of the host network")

    def credit():
        cells = json.loads(run("bpftool", "-j", "map", "dump", "pinned", f"{node.world.pin_root}/maps/grantd_credit_v1"))
        return sum(each["value"]["bytes"] for cell in cells for each in cell["formatted"]["values"])

    receiver = outside.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
    receiver.bind((home, 9160))
    def send(count):
        with node.world.node.entered():
            subprocess.run([sys.executable, "-c", SEND_FROM_CGROUP, cgroup, home, "9160", str(count)], check=True)

    send(1)
    assert receiver.recv(2048) and credit() == 0, "while there is more to have than it needs"
    begin = time.monotonic()
    send(600)
    elapsed, got = time.monotonic() - begin, 0
    receiver.settimeout(0.2)
    try:
        while receiver.recv(2048):
            got += 1428  # a socket's program sees no Ethernet header
    except TimeoutError:
        pass
    assert BURST / 2 < got <= bound(elapsed), "it is limited"
    assert credit() == 0
    node.guest.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (home, 9160))
    assert receiver.recv(2048) and credit() > 0, "as one with an interface of its own"
