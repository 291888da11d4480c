"""What is pinned goes while no agent runs, as where an upgrade gives a map another version; what a refused Grant had in
force cannot be written again then, and must open nothing else."""

import os

import pytest
from test_lost_addresses import WITHOUT, ingress
from traffic import UdpPair
from world import PARTIES, eventually

PARTIES_OUTSIDE = ("grantee", "grantor", "carol", "stranger")


def opened(node):
    """The parties that the guest reaches."""
    return {party for party in PARTIES_OUTSIDE if UdpPair(node.guest, node.world.outside, 4, to=PARTIES[party][4]).forward(0.3)}


def refuse(agent):
    """An edit that does not fit; what was in force stays."""
    agent.grant(**ingress("Grantee", destinations=[f"198.51.100.130:{port}/TCP" for port in range(1000, 1400, 2)]))
    eventually(lambda: "separate ranges" in agent.said(), what="the refusal")


def test_an_identity_without_its_name_is_nobody_elses(node):
    agent = node.agent
    agent.realm("aaron-home", ["203.0.113.0/26"])  # later than the others, and first by name
    agent.in_force(lambda: agent.grant(**ingress("Grantee")))
    refuse(agent)
    agent.restart()
    assert opened(node) == {"grantee"}, "as before the edit"
    agent.kill()
    os.unlink(f"{node.world.pin_root}/maps/grantd_idname_v1")
    agent.start()
    assert opened(node) <= {"grantee"}
    agent.in_force(lambda: agent.grant(**ingress("Grantee")))
    eventually(lambda: opened(node) == {"grantee"}, what="the grantee, once the manifest is mended")


@pytest.mark.parametrize("lost", ["grantd_policy_v1", "grantd_idrule_v1"])
def test_a_realms_loss_is_felt_by_flows_of_a_refused_grant(node, lost):
    agent, to = node.agent, node.guest.addresses[4]
    agent.in_force(lambda: agent.grant(**ingress("Grantee")))
    refuse(agent)
    flow = UdpPair(node.world.outside, node.guest, 4, to=to, source_address=PARTIES["grantee"][4])
    assert flow.both()
    agent.restart()
    assert flow.backward(), "as long as nothing is lost"
    agent.kill()
    os.unlink(f"{node.world.pin_root}/maps/{lost}")
    agent.realm("bob-home", WITHOUT)
    agent.start()
    assert not any(flow.backward(0.3) for _ in range(3))
