"""Who may write to the maps writes to those of an agent that lives. Nobody tells the agent: it looks for itself."""

import signal
import socket
import time

from test_metrics import get_metric
from test_verify import POLICY, entries, put, spoiled, verify
from traffic import UdpPair
from world import PARTIES, eventually

EVERY = 30  # seconds between two looks: kDriftEvery of agent/run/agent.cc
MENDS = "the kernel is not as it was left; mending it"
DESTINATION = 0  # GRANTD_UPLINK_DESTINATION
NEVER = b"\xff" * 8


def port(number):
    return number.to_bytes(2, "little")


def other_ports(node):
    """Another port instead of one that the Grant opens."""
    before, after = port(5000) + port(5999), port(6000) + port(6999)
    key, value = next((key, value) for key, value in entries(node, "rule") if before in value and key[9] == 4)
    put(node, "rule", key, value.replace(before, after))


def another_realm(node):
    """Carol's addresses become the grantee's, for who sends there."""
    numbers = {socket.inet_ntoa(key[8:12]): (key, value) for key, value in entries(node, "identity") if key[4] == DESTINATION}
    (_, grantees), (key, _) = numbers["192.0.2.0"], numbers["198.51.100.0"]
    put(node, "identity", key, grantees)


def without_end(node, grant):
    """A Grant that has expired goes on for ever."""
    number = node.agent.policy(grant).to_bytes(8, "little")
    policy, at = dict(entries(node, "policy"))[number], POLICY["not_after_ns"]
    put(node, "policy", number, policy[:at] + NEVER + policy[at + len(NEVER):])


def test_what_is_spoiled_is_mended_at_the_next_look(metered):
    node, agent, outside = metered, metered.agent, metered.world.outside
    expired = node.world.add_guest("expired")
    agent.grant("expired", validity={"validUntil": "2020-01-01T00:00:00Z"})
    agent.workload(expired, "expired")
    eventually(lambda: "expired" in {each["guest"] for each in agent.json("endpoints")["endpoints"]}, what="its guest")
    eventually(lambda: verify(node) == (0, []), what=lambda: f"as the manifests say: {verify(node)}")

    def to(party, from_guest=node.guest, **more):
        return UdpPair(from_guest, outside, 4, to=PARTIES[party][4], **more)

    def mended():
        return get_metric(node.world, "grantd_drift_repaired_total")

    key, value = next(each for each in entries(node, "slotname") if any(each[1]))
    put(node, "slotname", key, spoiled(value, len(value) - 8))  # when it ends, for people
    agent.process.send_signal(signal.SIGHUP)
    eventually(lambda: mended() == 1, what=lambda: f"a look, from which on we have time: {agent.said()}")
    begun, said = time.monotonic(), len(agent.said())

    allowed = to("destination", port=5001)
    forbidden = [to("destination", port=6001), to("carol"), to("grantee", expired)]
    assert allowed.both() and all(each.silent(1) for each in forbidden)
    other_ports(node)
    another_realm(node)
    without_end(node, "expired")
    assert [each.both() for each in forbidden] == [True, True, True] and not to("destination", port=5002).forward()
    assert mended() == 1 and time.monotonic() - begun < EVERY, "before the next look"

    eventually(lambda: mended() > 1, EVERY + 5, what=lambda: f"a look: {agent.said()[said:]}")
    assert mended() == 4 and f"{MENDS}  differences=3" in agent.said()[said:]
    eventually(lambda: verify(node) == (0, []), what=lambda: f"as the manifests say again: {verify(node)}")
    assert to("destination", port=5003).both() and allowed.both()
    assert all(each.silent() for each in [*forbidden, to("destination", port=6002), to("carol"), to("grantee", expired)])
