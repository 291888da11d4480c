"""What closes waits for no disk: each fsync() of the agent takes seconds, and what it enforces is in force before."""

import signal
import time

import pytest
from traffic import UdpPair
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
    faults.slow_disk(0)


def test_a_revocation_does_not(node, agent, faults):
    flow = UdpPair(node.guest, node.world.outside, 4, to=HOME)
    assert flow.both()
    faults.slow_disk(FSYNC_SECONDS)
    agent.grant(revoked=True)
    eventually(lambda: flow.silent(1), BEFORE_IT, what=lambda: f"the end of a flow: {agent.said()[-2000:]}")
    faults.slow_disk(0)
    agent.grant()
    eventually(flow.both, 4 * FSYNC_SECONDS, what=lambda: f"it is granted again: {agent.said()[-2000:]}")


def test_nor_does_a_guest_that_comes_with_an_edit(node, agent, faults):
    """The edit goes first; the guest is open until its own turn."""
    other = node.world.add_guest("other")
    out = UdpPair(other, node.world.outside, 4, to=STRANGER)
    into = UdpPair(node.world.outside, other, 4, to=other.addresses[4], source_address=STRANGER)
    assert out.both() and into.both(), "nobody holds it yet"
    faults.slow_disk(FSYNC_SECONDS)
    agent.process.send_signal(signal.SIGSTOP)
    agent.grant(destinations=[])
    agent.workload(other)
    agent.process.send_signal(signal.SIGCONT)
    eventually(lambda: out.silent(1) and into.silent(1), BEFORE_IT, what=lambda: f"it is held: {agent.said()[-2000:]}")
    assert UdpPair(other, node.world.outside, 4, to=HOME).both()
