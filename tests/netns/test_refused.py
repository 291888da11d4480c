"""What counts of a version that is refused: its Grant ends (class 8), its guest is closed (classes 1 and 42), its addresses are
no wider Realm's."""

import json
import signal
import socket

import pytest
from agent import OPEN, Agent, Counted, grant_spec, manifest
from node import Node
from test_revocation import live_flows, utc
from test_traffic import reaches_the_node
from traffic import TcpPair, UdpPair
from world import PARTIES, TAILNET_GRANTEE, eventually

UNREAD = "cannot read the interfaces"
HOME, STRANGER = PARTIES["grantee"], PARTIES["stranger"]
MISTAKES = {
    "notice": {"revocation": {"noticePeriodSeconds": "3600"}},
    "host-bits": {"destinations": ["198.51.100.129/25:443/TCP"]},
    "realm": {"destinations": ["realm:nobody"]},
    "field": {"revokde": False},
}


def refused(agent, change, word="stays"):
    """Makes a change, and waits until it is said to be refused."""
    before = len(agent.said())
    change()
    eventually(lambda: word in agent.said()[before:], 5, what=lambda: f"a refusal: {agent.said()[before:]}")


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_revocation_beside_a_mistake_cuts(node, mistake):
    agent = node.agent
    flows = live_flows(node, 4)
    policy = agent.policy()
    refused(agent, lambda: agent.grant(**mistake))
    for name, flow in flows.items():
        assert flow.both(), f"the control, the same mistake without a revocation: {name}"
    assert agent.policy() == policy
    agent.in_force(lambda: agent.grant(**mistake, revoked=True))
    for name, flow in flows.items():
        with Counted(agent, "revoked", "egress" if name.endswith("out") else "ingress"):
            assert flow.silent(), name
    assert "stays as it was last good, and is revoked" in agent.said()
    shown = agent.json("grants")
    assert shown["grants"][0]["state"] == "revoked" and not shown["refused"][0]["in_force"]

    # Neither another refused version nor a restart beside a file that does not parse takes it back.
    late = UdpPair(node.guest, node.world.outside, 4, to=HOME[4])
    refused(agent, lambda: agent.grant(**{**mistake, "hard": 7}), "hard")
    assert late.silent() and flows["tcp in"].silent()
    agent.write("grant-g", "{")
    agent.restart()
    assert late.silent() and flows["tcp in"].silent()
    agent.in_force(agent.grant)
    assert late.both(), "open again, once it is mended"


def test_what_becomes_the_nodes_own_is_closed_though_the_newest_version_has_no_room(world):
    node = Node(world, "--max-rules", "50")
    agent, guest, gained = node.agent, node.guest, "203.0.113.70"
    agent.in_force(lambda: agent.grant(destinations=["203.0.113.0/24"]))
    refused(agent, lambda: agent.grant(destinations=[f"203.0.113.{host}:80/TCP" for host in range(1, 100)]), "--max-rules")
    world.outside.ip(f"addr add {gained}/32 dev lo")
    flow, other = (UdpPair(guest, world.outside, 4, to=to) for to in (gained, STRANGER[4]))
    assert flow.both() and other.both()
    flow.server = world.node.socket(socket.AF_INET, socket.SOCK_DGRAM)
    flow.server.bind(("", flow.port))
    world.node.ip(f"addr add {gained}/32 dev uplink0")
    eventually(lambda: not reaches_the_node(guest, world.node, gained), what="its new address is closed")
    with Counted(agent, "protected_destination"):
        assert not flow.forward(0.4), "what was begun before"
    assert other.both(), "what else it keeps"
    agent.in_force(lambda: agent.grant(destinations=["203.0.113.0/24", f"{gained}"]))
    assert reaches_the_node(guest, world.node, gained) and flow.forward(), "the control: named alone"


def test_a_sooner_end_beside_a_mistake_holds(node):
    agent, pair = node.agent, UdpPair(node.guest, node.world.outside, 4, to=HOME[4])
    assert pair.both()
    agent.in_force(lambda: agent.grant(validity={"validUntil": utc(3600)}))
    policy = agent.policy()
    refused(agent, lambda: agent.grant(validity={"validUntil": utc(7200)}, hard=7))
    assert pair.both() and agent.policy() == policy, "a refused version makes nothing longer"
    agent.in_force(lambda: agent.grant(validity={"validUntil": utc(3)}, hard=7))
    assert pair.both()
    eventually(lambda: not pair.forward(0.1), what="its end")
    with Counted(agent, "expired"):
        assert pair.silent()
    agent.in_force(agent.grant)
    assert pair.both()


def test_the_guest_of_a_refused_workload_is_closed(world):
    """Free before the agent runs, closed by a Workload that was never good, and under its Grant once that is mended."""
    web, db, cache, one, fine = (world.add_guest(name) for name in ("web", "db", "cache", "one", "fine"))
    guests = (web, db, cache, one)
    outside = world.outside
    flows = [(guest, UdpPair(guest, outside, 4, to=STRANGER[4]),
              TcpPair(outside, guest, 4, to=guest.addresses[4], source_address=STRANGER[4])) for guest in guests]
    for guest, out, into in flows:
        assert out.both() and into.both(), f"{guest.name}: nobody holds it"
    agent = Agent(world)
    agent.grant()
    agent.workload(fine)
    agent.workload(web, addresses=[f"{web.addresses[4]}/24"])
    shared = "10.20.0.99"
    agent.workload(db, addresses=[shared])
    agent.workload(cache, addresses=[shared])
    agent.workload(one)
    agent.write("workload-same", manifest("Workload", "same", {"grantName": "g", "interface": one.interface,
                                                               "addresses": ["10.20.0.98"]}))
    agent.write("workload-uplink", manifest("Workload", "uplink", {"grantName": "g", "interface": "uplink0",
                                                                   "addresses": ["10.20.0.97"]}))
    agent.start()
    for guest, out, into in flows:
        assert out.silent() and into.silent(), guest.name
        assert UdpPair(guest, outside, 4, to=HOME[4]).silent(), guest.name
    assert UdpPair(fine, outside, 4, to=HOME[4]).both(), "a neighbour"

    shown = agent.json("endpoints")
    rows = {each["interface"]: each for each in shown["endpoints"]}
    assert len(rows) == len(shown["endpoints"]) == 5, shown
    for guest, why in ((web, f"{web.addresses[4]}/24"), (db, shared), (cache, shared), (one, one.interface)):
        row = rows[guest.interface]
        assert row["guest"] == guest.name and row["state"] == "quarantine", row
        assert row["message"].startswith("its Workload is refused: ") and f'"{why}"' in row["message"], row
    assert f'"{web.interface}": the Workload is refused; the guest is in quarantine: nothing passes' in agent.said()
    assert "is an uplink of this node, which cannot be closed: nothing holds this guest" in agent.said()

    agent.restart()
    assert all(out.silent() and into.silent() for _, out, into in flows)
    agent.remove("workload-same")
    for guest in guests:
        agent.workload(guest)
        eventually(lambda name=guest.name: agent.has_active(name), what=lambda: f"{guest.name}: {agent.said()[-2000:]}")
    for guest, out, into in flows:
        assert out.silent() and into.silent(), f"{guest.name}: the stranger is none of its Grant's"
        assert UdpPair(guest, outside, 4, to=HOME[4]).both(), guest.name
        assert UdpPair(outside, guest, 4, to=guest.addresses[4], source_address=HOME[4]).both(), guest.name


def test_a_refused_workload_leaves_what_was_in_force(node):
    pair = UdpPair(node.guest, node.world.outside, 4, to=HOME[4])
    assert pair.both()
    refused(node.agent, lambda: node.agent.workload(node.guest, addresses=["10.20.0.2/24"]))
    assert pair.both() and node.agent.has_active("web")
    node.agent.restart()
    assert pair.both()


def of_uid(uid, destinations):
    grant = json.loads(manifest("Grant", "g", grant_spec(destinations), "keystone-system"))
    grant["metadata"]["uid"] = uid
    return json.dumps(grant)


def start_that_cannot_read_its_node(agent, faults):
    """Runs, and has read its manifests alone: what netlink answers to all that comes later is an error. How many calls come
    before depends on what is there: too few, and it ends. To read its node are more than three."""
    for turn in range(20, 100, 3):
        before = len(agent.said())
        faults.arm("answer", turn, goes_on=True)
        agent.launch()
        eventually(lambda: agent.process.poll() is not None or UNREAD in agent.said()[before:] or
                   " applied " in agent.said()[before:], what=lambda: agent.said()[before:])
        if agent.process.poll() is None and UNREAD in agent.said()[before:]:
            return
        assert " applied " not in agent.said()[before:], "there is no such turn"
    raise AssertionError("there is no such turn")


@pytest.mark.parametrize("uid", ("one", "two"))
def test_what_was_a_deleted_grants_ends_though_its_manifests_are_read_twice_before(node, faults, uid):
    """The newest version is refused by this node. The control: it is the same Grant's."""
    agent, pair = node.agent, UdpPair(node.guest, node.world.outside, 4, to=HOME[4])
    agent.kill()
    agent.environment, agent.options = faults.environment, ["--max-rules", "100"]
    agent.write("grant-g", of_uid("one", OPEN))
    agent.start()
    assert pair.both()
    agent.kill(signal.SIGTERM)  # when it has written down whose that is
    agent.write("grant-g", of_uid(uid, [*OPEN, *(f"198.51.100.{last}:443/TCP" for last in range(200))]))
    agent.write("realm-wrong", "{")
    start_that_cannot_read_its_node(agent, faults)
    assert pair.both(), "what is pinned goes on"
    before = agent.said().count(UNREAD)
    agent.write("realm-wrong", "[")
    # One look may have begun before.
    eventually(lambda: agent.said().count(UNREAD) >= before + 2, what="it looks again")
    faults.disarm()
    eventually(lambda: " applied " in agent.said().rsplit(UNREAD, 1)[1], what=agent.said)
    assert pair.both() if uid == "one" else pair.silent(), agent.said()


def test_what_a_refused_realm_sets_apart_is_not_the_wider_realms(node):
    """Neither as a destination nor as one who reaches in; over a restart, and until it is mended or gone."""
    agent, world, guest = node.agent, node.world, node.guest
    out, into = (UdpPair(guest, world.outside, 4, to=HOME[4]),
                 UdpPair(world.outside, guest, 4, to=guest.addresses[4], source_address=HOME[4]))
    others = [UdpPair(guest, world.outside, 6, to=HOME[6]), UdpPair(guest, world.tailnet, 4, to=TAILNET_GRANTEE[4])]
    assert out.both() and into.both() and all(other.both() for other in others)
    inside = [f"{HOME[4]}/32"]
    refused(agent, lambda: agent.realm("carol-home", inside, upklinks=["lan"]), "upklinks: is an unknown field")
    for _ in range(2):
        eventually(out.silent, what="an address of a refused Realm to be closed")
        assert not into.forward(0.3), "who reaches in from there"
        assert all(other.both() for other in others), "the control: what else the wider Realm has"
        with Counted(agent, "destination"):
            assert not UdpPair(guest, world.outside, 4, to=HOME[4]).forward(0.3)
        agent.restart()
    assert "is nobody's while this Realm is refused" in agent.said()
    agent.remove("realm-carol-home")
    eventually(out.both, what="the wider Realm's again")
    assert into.both()
