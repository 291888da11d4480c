"""What the project was asked for, on a node of a cluster: Alice grants, Bob's pods run, Alice revokes. The guest's realm
is where the outsider stands; at FAR is somebody whom a Grant must name."""

import contextlib
import datetime
import re
import socket
import time

import pytest

from agent import FAR, Agent
from network_namespace import entered
from node import OUTSIDE_LAN

from cluster import wait_until

GUEST, SPACE = "guest-dave/web", "guest-dave"
RATE_BPS, BURST_SECONDS, MEASURED_SECONDS = 4_000_000, 0.1, 3.0
HEADERS_BYTES, PAYLOAD_BYTES = 14 + 20 + 8, 1000
PORT = 5001


@pytest.fixture(scope="module")
def agent(node):
    node.namespace(SPACE)
    node.pod("web", SPACE)
    node.pod("plain")
    with Agent(node) as running:
        yield running
    node.kubectl("delete", "namespace", SPACE, "--wait=false")
    node.kubectl("delete", "pod", "plain", "--grace-period=0", "--force")


def offered_and_arrived(agent, guest, seconds):
    """Bytes on the wire that a guest would send to FAR, as fast as it can, and those that come. Under a limit its socket is
    full at times: what waits is counted against it."""
    netns = agent.inside(guest)[1].removeprefix("--net=")
    with entered(f"/proc/{agent.node.processes['outside'].pid}/ns/net"):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with entered(netns):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind((FAR, PORT))
        receiver.setblocking(False)
        sender.setblocking(False)
        sent = came = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(8):
                with contextlib.suppress(BlockingIOError):
                    sender.sendto(bytes(PAYLOAD_BYTES), (FAR, PORT))
                sent += 1
            came += drained(receiver)
            time.sleep(0.001)
        time.sleep(0.1)
        came += drained(receiver)
    return sent * (HEADERS_BYTES + PAYLOAD_BYTES), came * (HEADERS_BYTES + PAYLOAD_BYTES)


def drained(receiver):
    count = 0
    try:
        while receiver.recv(2048):
            count += 1
    except BlockingIOError:
        return count


def test_a_grant_with_limits_and_a_policy(agent):
    """Story 1: what it names is reached, no faster than it says; who is no guest goes as fast as before."""
    agent.grant(destinations=[f"{FAR}:{PORT}/UDP"], hard={"requests.cpu": "2", "keystone.io/egress-bandwidth": str(RATE_BPS),
                                                          "keystone.io/ingress-bandwidth": str(RATE_BPS)})
    agent.held(GUEST, "g")
    wait_until(lambda: offered_and_arrived(agent, GUEST, 0.1)[1] > 0, "it is open")
    sent, came = offered_and_arrived(agent, GUEST, MEASURED_SECONDS)
    may = RATE_BPS / 8 * (MEASURED_SECONDS + 0.2) + RATE_BPS / 8 * BURST_SECONDS
    assert sent > 1.5 * may, "more was offered than may pass"
    assert 0.7 * RATE_BPS / 8 * MEASURED_SECONDS < came <= may
    sent, came = offered_and_arrived(agent, "default/plain", 1)
    assert came > 0.9 * sent > RATE_BPS / 8
    assert not agent.reaches(GUEST, FAR), "another protocol is not named"
    delayed = re.search(r'grantd_limited_bytes_total{grant="keystone-system/g",guest="guest-dave/web",direction="egress",'
                        r'outcome="delayed"} (\S+)', agent.metrics())
    assert delayed and float(delayed[1]) > 0.7 * RATE_BPS / 8 * MEASURED_SECONDS, "what was too much waited"


def test_without_egress_a_guest_talks_back_to_its_realm_alone(agent, node):
    """Story 1, third scenario. Outside of the realm nobody reaches it either."""
    agent.grant(networkPolicy={"egressAllowed": False, "allowedDestinations": []})
    agent.held(GUEST, "g")
    wait_until(lambda: not agent.reaches(GUEST, FAR), "the edit is in force")
    address = node.get("pod", "web", "-n", SPACE)["status"]["podIP"]
    assert agent.reaches(GUEST, OUTSIDE_LAN) and agent.is_reached(address)
    stranger = ["ping", "-c", "1", "-W", "1", "-I", FAR]
    assert node.outside([*stranger, address], check=False).returncode != 0
    assert node.outside([*stranger, node.get("pod", "plain")["status"]["podIP"]], check=False).returncode == 0
    assert agent.reaches("default/plain", FAR)


def test_a_revocation_with_notice_and_its_end(agent):
    """Story 4: what the Grant named is closed at once, live connections too; the realm when the notice ends."""
    notice = 8
    agent.grant(destinations=[FAR])
    wait_until(lambda: agent.reaches(GUEST, FAR), "it is open")
    with agent.connection(GUEST) as arrives:
        assert arrives()
        begin = datetime.datetime.now(datetime.timezone.utc)
        agent.grant(destinations=[FAR], revoked=True, revocation={"noticePeriodSeconds": notice})
        wait_until(lambda: not arrives(), "the live connection is cut")
        assert not agent.reaches(GUEST, FAR)
        if datetime.datetime.now(datetime.timezone.utc) < begin + datetime.timedelta(seconds=notice - 2):
            assert agent.reaches(GUEST, OUTSIDE_LAN), "the guest may still say goodbye"
        wait_until(lambda: not agent.reaches(GUEST, OUTSIDE_LAN), "the notice has ended", 2 * notice)
        assert datetime.datetime.now(datetime.timezone.utc) >= begin + datetime.timedelta(seconds=notice - 1)
    assert agent.reaches("default/plain", FAR)
