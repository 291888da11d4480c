"""The wall clock is set while the agent runs, and while it does not (class 39): a Grant ends no later for it, and what has ended
stays so."""

import time

import pytest
from sniffing import Watched
from stepped_clock import SteppedClock
from test_many_guests import MANY, Crowd
from test_revocation import utc
from traffic import UdpPair
from world import PARTIES, PATIENCE, eventually

HOME = PARTIES["grantee"][4]
HOUR = 3600
BEHIND = "is behind a time that this node has seen"


@pytest.fixture(name="clock")
def clock_of(node, tmp_path):
    """Of the node's agent. A second guest has a Grant without dates, to which no clock matters."""
    node.agent.kill()
    made = SteppedClock(tmp_path)
    node.agent.environment = made.environment
    node.other = node.world.add_guest("other")
    node.agent.grant("h")
    node.agent.workload(node.other, "h")
    node.agent.start()
    node.undated = UdpPair(node.other, node.world.outside, 4, to=HOME)
    return made


def ends_in(node, seconds):
    """The Grant from now on; the pair that it allows."""
    node.agent.in_force(lambda: node.agent.grant(validity={"validUntil": utc(seconds)}), seconds=10)
    pair = UdpPair(node.guest, node.world.outside, 4, to=HOME)
    eventually(pair.both, what="what the Grant allows")
    return pair


def closes(node, pair, what):
    eventually(lambda: not pair.forward(0.2) and not pair.backward(0.2), 10, what=lambda: f"{what}: {node.agent.said()}")
    assert pair.silent() and node.undated.both()


@pytest.mark.parametrize("runs", [True, False], ids=["while it runs", "between two agents"])
def test_a_clock_that_is_set_back_leaves_no_grant_with_a_date_open(node, clock, runs):
    agent, pair = node.agent, ends_in(node, HOUR)
    with Watched(node):
        if not runs:
            agent.kill()
        clock.set(-HOUR)
        if not runs:
            agent.start()
        closes(node, pair, "a Grant with a date, by a clock that was set back")
        assert BEHIND in agent.said(), agent.said()
        clock.set(0)
        eventually(pair.both, 10, what=lambda: f"the Grant again by the right clock: {agent.said()}")


def test_a_step_ahead_ends_a_grant_while_a_crowd_is_attached(node, clock):
    """What the agent hears of otherwise than by an edit waits for no more than a second of it."""
    pair, crowd = ends_in(node, HOUR), Crowd(node.world, node.agent)
    crowd.come()
    eventually(lambda: crowd.attached() > 0, what="the first of them")
    begun = time.monotonic()
    clock.set(2 * HOUR)
    eventually(lambda: not pair.forward(0.02), 10, what=lambda: f"the end: {node.agent.said()}")
    # A kernel that attaches all of them at once shows nothing.
    assert crowd.attached() < MANY or time.monotonic() - begun < 2, "it did not wait for all of them"
    assert pair.silent() and node.undated.both()
    eventually(lambda: crowd.attached() == MANY, 60, what="all of them attached")


def test_a_clock_that_is_set_back_and_right_again_moves_no_end(node, clock):
    agent, length = node.agent, 20 * PATIENCE
    pair, end = ends_in(node, length), time.monotonic() + length
    with Watched(node):
        clock.set(-HOUR)
        closes(node, pair, "a Grant with a date, by a clock that was set back")
        clock.set(0)
        eventually(pair.both, what=lambda: f"the Grant again by the right clock: {agent.said()}")
        ended = UdpPair(node.guest, node.world.outside, 4, to=HOME)
        assert time.monotonic() < end, "too slow to tell"
        time.sleep(end + 0.2 - time.monotonic())
        assert pair.silent() and ended.silent() and node.undated.both(), "its end has moved"
        clock.set(-HOUR)  # by which it has not ended
        eventually(lambda: agent.said().count(BEHIND) >= 3, what=lambda: agent.said())  # once more, after that it was over
        assert pair.silent() and ended.silent()
        agent.restart()
        assert pair.silent() and ended.silent() and node.undated.both()


@pytest.mark.parametrize("restart", [False, True], ids=["while it runs", "and a restart"])
def test_what_has_ended_by_a_clock_that_was_ahead_stays_so(node, clock, restart):
    agent = node.agent
    pair = ends_in(node, HOUR)
    with Watched(node):
        clock.set(2 * HOUR)
        closes(node, pair, "a Grant that has ended")
        if restart:
            agent.kill()
        clock.set(0)
        if restart:
            agent.start()
        eventually(lambda: BEHIND in agent.said(), what=lambda: f"a word on the clock: {agent.said()}")
        assert pair.silent()
        clock.set(2 * HOUR)  # the time that it has seen: dated Grants count again, this one has ended
        eventually(lambda: "no longer: " in agent.said(), what=lambda: f"a clock that is believed: {agent.said()}")
        assert pair.silent() and node.undated.both()
