"""The end of a Grant is the end of its live flows, both ways, with the next packet (class 8)."""

import datetime
import math
import time

import pytest
from agent import Counted
from traffic import Ping, TcpPair, UdpPair
from world import PARTIES, eventually


@pytest.fixture(params=[4, 6])
def family(request):
    return request.param


def live_flows(node, family):
    """One flow of each kind, in both directions, all alive."""
    guest, outside = node.guest, node.world.outside
    there, home, address = PARTIES["destination"][family], PARTIES["grantee"][family], guest.addresses[family]
    flows = {
        "udp out": UdpPair(guest, outside, family, to=there, port=5500),
        "ping out": Ping(guest, family, there),
        "udp in": UdpPair(outside, guest, family, to=address, source_address=home),
        "ping in": Ping(outside, family, address, source_address=home),
        # Last, for what they repeat is counted too.
        "tcp out": TcpPair(guest, outside, family, to=there, port=443),
        "tcp in": TcpPair(outside, guest, family, to=address, source_address=home),
    }
    for name, flow in flows.items():
        assert flow.both(), name
    return flows


def utc(seconds):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_a_revocation_stops_every_live_flow(node, family):
    flows = live_flows(node, family)
    node.agent.in_force(lambda: node.agent.grant(revoked=True))
    for name, flow in flows.items():
        with Counted(node.agent, "revoked", "egress" if name.endswith("out") else "ingress"):
            assert flow.silent(), name
    node.agent.in_force(node.agent.grant)
    assert UdpPair(node.guest, node.world.outside, family, to=PARTIES["grantee"][family]).both()


def test_narrowing_stops_only_what_it_takes_away(node, family):
    flows = live_flows(node, family)
    node.agent.in_force(lambda: node.agent.grant(destinations=[]))
    for name in ("udp out", "ping out", "tcp out"):
        with Counted(node.agent, "destination"):
            assert flows[name].silent(), name
    for name in ("tcp in", "udp in", "ping in"):
        assert flows[name].both(), name


def test_a_notice_closes_destinations_at_once_and_the_realm_at_its_end(node, family):
    flows = live_flows(node, family)
    node.agent.in_force(lambda: node.agent.grant(revoked=True, revocation={"noticePeriodSeconds": 5}))
    begin = time.monotonic()
    for name in ("udp out", "ping out", "tcp out"):
        assert flows[name].silent(1), name
    assert flows["tcp in"].both() and flows["udp in"].both()
    node.agent.kill()
    time.sleep(max(0.0, begin + 5.3 - time.monotonic()))
    for name, flow in flows.items():
        assert flow.silent(1), name


def test_a_notice_that_is_over_stays_over(node):
    """Neither an edit, nor a restart, nor taking the Grant away and putting it back gives more of it."""
    pair = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["grantee"][4])

    def revoke(seconds):
        node.agent.grant(revoked=True, revocation={"noticePeriodSeconds": seconds})

    node.agent.in_force(lambda: revoke(2))
    assert pair.both()
    eventually(lambda: not pair.forward(0.1), what="the end of the notice")
    for restarts in (False, True):
        node.agent.in_force(lambda: node.agent.remove("grant-g"))
        if restarts:
            node.agent.restart()
        node.agent.in_force(lambda: revoke(600))
        assert pair.silent(), f"restarts: {restarts}"
    node.agent.in_force(node.agent.grant)
    node.agent.in_force(lambda: revoke(600))
    assert pair.both(), "another revocation, after this one was taken back"


def test_expiry_works_with_the_agent_killed(node, family):
    node.agent.in_force(lambda: node.agent.grant(validity={"validUntil": utc(6)}))
    begin = time.monotonic()
    flows = live_flows(node, family)
    node.agent.kill()
    assert flows["tcp out"].both()
    time.sleep(max(0.0, begin + 6.2 - time.monotonic()))
    for name, flow in flows.items():
        with Counted(node.agent, "expired", "egress" if name.endswith("out") else "ingress"):
            assert flow.silent(1), name
    node.agent.start()
    assert flows["udp in"].silent(1)
    assert node.agent.json("grants")["grants"][0]["state"] == "expired"


def test_a_grant_begins_when_it_says(node, family):
    pair = UdpPair(node.guest, node.world.outside, family, to=PARTIES["grantee"][family])
    assert pair.both()  # and the neighbours know each other
    node.agent.in_force(lambda: node.agent.grant(validity={"validFrom": utc(3)}))
    begin = time.monotonic()
    with Counted(node.agent, "not_yet_valid"):
        assert pair.silent(1)
    node.agent.kill()
    time.sleep(max(0.0, begin + 3.2 - time.monotonic()))
    assert pair.both()


@pytest.mark.parametrize("order", [("grant-g", "workload-web"), ("workload-web", "grant-g"),
                                   ("realm-bob-home", "grant-g", "workload-web")])
def test_objects_that_go_in_any_order_leave_the_guest_closed(node, order):
    """Class 6: denial belongs to the endpoint, not to the object."""
    flows = live_flows(node, 4)
    for name in order:
        node.agent.remove(name)
        time.sleep(0.2)
    eventually(lambda: all(each["state"] == "quarantine" for each in node.agent.json("endpoints")["endpoints"]), 3,
               what="the guest in quarantine")
    for name, flow in flows.items():
        assert flow.silent(1), name
    assert UdpPair(node.guest, node.world.outside, 4, to=PARTIES["grantee"][4]).silent()


def test_a_realm_that_loses_an_address_loses_its_flows(node, family):
    flows = live_flows(node, family)
    rest = [each for each in ["192.0.2.0/25", "2001:db8:b0b::/48", "100.64.7.0/24", "fd7a:115c:a1e0:b0b::/64"]
            if (":" in each) != (family == 6) or each.startswith(("100.", "fd7a"))]
    node.agent.in_force(lambda: node.agent.realm("bob-home", rest))
    for name in ("tcp in", "udp in", "ping in"):
        assert flows[name].silent(), name
    for name in ("udp out", "ping out", "tcp out"):
        assert flows[name].both(), name


def test_an_edit_is_in_force_within_a_tenth_of_a_second(node):
    """From the write of a manifest to the last packet that passes; of several edits, since the machine may be busy."""
    taken = []
    pair = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["grantee"][4])
    for _ in range(5):
        assert pair.both()
        before, begin = node.agent.drops("revoked"), time.monotonic()
        node.agent.grant(revoked=True)
        while pair.forward(0.02):
            assert time.monotonic() < begin + 5
        took = time.monotonic() - begin - 0.02
        # One that was only late says nothing.
        taken.append(took if node.agent.drops("revoked") > before and not pair.forward(0.3) else math.inf)
        node.agent.in_force(node.agent.grant)
    assert sorted(taken)[1] < 0.1, taken
