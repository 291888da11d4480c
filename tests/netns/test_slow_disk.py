"""What closes waits for no disk: each fsync() of the agent takes seconds, and what it enforces is in force before."""

import signal
import time

import pytest
from traffic import SILENCE, UdpPair
from world import PARTIES, eventually

HOME, STRANGER = PARTIES["grantee"][4], PARTIES["stranger"][4]
FSYNC_SECONDS = 8
BEFORE_IT = FSYNC_SECONDS / 2


def writes_nothing(faults):
    before = faults.calls("file")
    time.sleep(0.3)
    return faults.calls("file") == before


@pytest.fixture(name="agent")
def agent_on_a_slow_disk(node, faults):
    node.agent.kill()
    node.agent.environment = faults.environment
    node.agent.start()
    eventually(lambda: writes_nothing(faults), what="what follows the start is written")
    yield node.agent
    faults.slow()


def test_a_revocation_does_not(node, agent, faults):
    flow = UdpPair(node.guest, node.world.outside, 4, to=HOME)
    assert flow.both()
    faults.slow(fsync=FSYNC_SECONDS)
    agent.grant(revoked=True)
    eventually(lambda: flow.silent(1), BEFORE_IT, what=lambda: f"the end of a flow: {agent.said()[-2000:]}")
    faults.slow()
    agent.grant()
    eventually(flow.both, 4 * FSYNC_SECONDS, what=lambda: f"it is granted again: {agent.said()[-2000:]}")


def test_nor_do_guests_that_come_with_an_edit(node, agent, faults):
    """The edit goes first, and after a second of them what has come meanwhile; each is open until its own turn."""
    world = node.world
    others = [world.add_guest(f"other{at}") for at in range(4)]
    flows = [flow for each in others for flow in (
        UdpPair(each, world.outside, 4, to=STRANGER), UdpPair(world.outside, each, 4, to=each.addresses[4], source_address=STRANGER))]
    assert all(flow.both() for flow in flows), "nobody holds them yet"
    faults.slow(fsync=FSYNC_SECONDS, attach=0.3)
    agent.process.send_signal(signal.SIGSTOP)
    agent.grant(destinations=[])
    for each in others:
        agent.workload(each)
    agent.process.send_signal(signal.SIGCONT)
    eventually(lambda: not any(flow.forward(SILENCE / 2) for flow in flows), BEFORE_IT,
               what=lambda: f"they are held: {agent.said()[-2000:]}")
    assert all(UdpPair(each, world.outside, 4, to=HOME).both() for each in others)
