"""iperf3 through a real Grant: what it moves without a limit, with one, and when the Grant ends in its midst."""

import ipaddress
import json
import select
import subprocess
import time

import pytest
from queues import classes
from traffic import next_port
from world import PARTIES, eventually

RATE, BURST = 16_000_000, 256 * 1024
LIMITED = {"hard": {"keystone.io/egress-bandwidth": "16M", "keystone.io/ingress-bandwidth": "16M"},
           "bandwidth": {"egressBurst": "256Ki", "ingressBurst": "256Ki"}}
HOME = PARTIES["grantee"]
LOAD = {"TCP": [], "UDP": ["-u", "-b", "64M", "-l", "1200"]}


class Iperf3:
    """A run from the guest to the grantee's realm; with reverse, the realm sends and the guest receives."""

    def __init__(self, node, family, *options, reverse=False):
        self.node, self.reverse, port = node, reverse, str(next_port())
        self.report = node.world.path(f"iperf3-{port}")
        with open(self.report, "w", encoding="utf-8") as report:
            self.server = node.world.spawn(node.world.outside, "iperf3", "-s", "-1", "-J", "-B", HOME[family], "-p", port,
                                           stdout=report)
        eventually(lambda: f":{port}" in node.world.outside.run("ss", "-Hltn"), what="iperf3's server")
        self.begin = time.monotonic()
        self.client = node.world.spawn(node.guest.namespace, "iperf3", "-c", HOME[family], "-p", port, "-J",
                                       *(["-R"] if reverse else []), *options, stdout=subprocess.PIPE, text=True)

    def received(self):
        """Payload that reached the receiver, and for how long the run lasted at the most."""
        said = self.client.communicate(timeout=60)[0]
        elapsed = time.monotonic() - self.begin
        assert self.client.returncode == 0, said[-2000:]
        if not self.reverse:
            self.server.wait(10)
            with open(self.report, encoding="utf-8") as report:
                said = report.read()
        return sum(each["sum"]["bytes"] for each in json.loads(said)["intervals"]), elapsed


def bound(elapsed):
    return BURST + RATE / 8 * elapsed


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("family", [4, 6])
def test_without_a_limit_and_with_one(node, family, reverse):
    got, _ = Iperf3(node, family, "-t", "1", reverse=reverse).received()
    assert got > 2 * bound(1), "TCP is held back by nothing"
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    eventually(lambda: len(classes(node)) == 4, what="queues")
    for kind, options in LOAD.items():
        got, elapsed = Iperf3(node, family, *options, "-t", "2", reverse=reverse).received()
        assert 0 < got <= bound(elapsed), kind
    assert node.agent.drops("rate_limit", "ingress" if reverse else "egress") == 0, "what is too much waits, or finds no room to"


def frames_of(sniffer, address, seconds):
    """How many frames that hold this address arrive in this time."""
    count, end = 0, time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and select.select([sniffer], [], [], left)[0]:
        frame, (_, _, kind, *_) = sniffer.recvfrom(65536)
        count += kind != 4 and address in frame[14:54]  # 4: sent by this end
    return count


@pytest.mark.parametrize("family", [4, 6])
def test_a_run_is_cut_by_revocation(node, family):
    Iperf3(node, family, "-t", "60")
    address = ipaddress.ip_address(node.guest.addresses[family]).packed
    sniffer = node.world.outside.packet_socket("eth0")
    eventually(lambda: frames_of(sniffer, address, 0.1) > 10, what="the run's frames at the other end")
    sniffer.close()
    node.agent.in_force(lambda: node.agent.grant(revoked=True))
    assert frames_of(node.world.outside.packet_socket("eth0"), address, 1.0) == 0
    assert node.agent.drops("revoked") > 0
