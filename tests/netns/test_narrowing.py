"""A narrower policy that cannot be written closes its Grant, live flows too; a wider one leaves what is in force (class 8)."""

import pytest
from traffic import TcpPair, UdpPair
from world import PARTIES, eventually

DESTINATION, HOME = PARTIES["destination"][4], PARTIES["grantee"][4]
WIDE = ["198.51.100.128/25:8000-8999/TCP"]
WIDER = [*WIDE, "198.51.100.128/25:6000-6099/UDP"]
CLOSED = "a Grant is closed, since what narrows it could not be put in force"


@pytest.fixture(name="node")
def node_with_faults(node, faults):
    node.agent.kill()
    node.agent.environment = faults.environment
    node.other = node.world.add_guest("other")
    node.agent.grant("g", WIDE)
    node.agent.grant("h", WIDE)
    node.agent.workload(node.other, "h")
    node.agent.start()
    return node


def closed(agent, name):
    return sum(CLOSED in line and f"keystone-system/{name}" in line for line in agent.said().splitlines())


@pytest.mark.parametrize("narrower", [{"destinations": []}, {"revoked": True}], ids=["destinations", "revoked"])
def test_a_narrower_grant_that_cannot_be_written_is_closed(node, faults, narrower):
    agent, outside = node.agent, node.world.outside
    before = faults.calls("update")
    agent.in_force(lambda: agent.grant("g", **{"destinations": WIDE, **narrower}))
    count = faults.calls("update") - before
    agent.in_force(lambda: agent.grant("h", WIDER), "h")
    for at in range(3):
        turn = 1 + count * at // 3
        agent.in_force(lambda: agent.grant("g", WIDE))
        agent.in_force(lambda: agent.grant("h", WIDE), "h")
        lost = TcpPair(node.guest, outside, 4, to=DESTINATION, port=8100 + at)
        kept = TcpPair(node.other, outside, 4, to=DESTINATION, port=8200 + at)
        assert lost.both() and kept.both()
        faults.arm("update", turn, goes_on=True)
        agent.grant("g", **{"destinations": WIDE, **narrower})
        eventually(lost.silent, what=lambda: f"the end of a flow, call {turn} of {count} fails: {agent.said()[-3000:]}")
        policy = agent.policy("h")
        failed = faults.failed()
        agent.grant("h", WIDER)
        eventually(lambda: faults.failed() > failed, what="a try to widen")
        for _ in range(3):
            assert kept.both(), agent.said()[-3000:]
        assert agent.policy("h") == policy and lost.silent()
        faults.disarm()
        eventually(lambda: agent.policy("h") != policy and agent.policy("g"), 40, what="both, once nothing fails")
        assert kept.both() and lost.silent()
        assert UdpPair(node.other, outside, 4, to=DESTINATION, port=6000 + at).forward()
        assert UdpPair(node.guest, outside, 4, to=HOME).forward() == ("revoked" not in narrower)
    assert closed(agent, "g") > 0 and closed(agent, "h") == 0


def test_a_guest_whose_record_cannot_be_written_is_closed(node, faults):
    """It leaves its Grant, or loses an address; its neighbour, whom nobody changed, goes on."""
    agent, outside = node.agent, node.world.outside
    for at, fewer in enumerate([{"grant": "none"}, {"addresses": [node.guest.addresses[6]]}]):
        lost = TcpPair(node.guest, outside, 4, to=DESTINATION, port=8300 + at)
        kept = TcpPair(node.other, outside, 4, to=DESTINATION, port=8400 + at)
        assert lost.both() and kept.both()
        faults.arm("update", 1, goes_on=True)
        agent.workload(node.guest, **fewer)
        eventually(lost.silent, what=lambda: f"the end of a flow: {agent.said()[-3000:]}")
        assert "a guest is closed, since its record could not be narrowed" in agent.said()
        for _ in range(3):
            assert kept.both() and lost.silent()
        faults.disarm()
        agent.workload(node.guest)
        eventually(lambda: agent.has_active("web", node.guest.addresses.values()), 10, what="the guest, once nothing fails")
        assert TcpPair(node.guest, outside, 4, to=DESTINATION, port=8500 + at).both() and kept.both()
