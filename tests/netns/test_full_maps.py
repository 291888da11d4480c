"""A map of the datapath is full, as where a limit is reached that nobody counts, or somebody else fills it: the kernel refuses what
the agent writes. What is narrowed or revoked is closed all the same, a guest that comes is closed, and once there is room all is as
the manifests say (class 3)."""

import pytest
from full_map import FullMap
from node import Node
from sniffing import Watched
from test_broken_node import WIDER, Newcomer, allowed, says
from test_failing_calls import flows
from traffic import Flood
from world import PARTIES, eventually

DESTINATION, HOME = PARTIES["destination"][4], PARTIES["grantee"][4]
FULL = {"rule": "No space left on device", "policy": "Argument list too long", "endpoint": "Argument list too long"}


@pytest.mark.parametrize("name", FULL)
def test_the_kernel_has_no_room(world, name):
    node = Node(world, "--max-grants", "8", "--max-endpoints", "8", "--max-rules", "128")
    agent, late = node.agent, world.add_guest("late")
    agent.in_force(lambda: agent.grant(destinations=WIDER))
    with Newcomer(world, late) as newcomer, Flood(node.guest, world.outside, DESTINATION, port=6000) as wide, \
            Flood(node.guest, world.outside, HOME, port=6001) as home, Watched(node, [HOME, DESTINATION], beside=[late]):
        assert flows(wide, True) and flows(home, True)
        with FullMap(world, name) as full:
            eventually(lambda: full.refused > 3, what="a map that is full")
            agent.grant()
            eventually(lambda: flows(wide, False), 10, what=lambda: f"what is narrowed: {agent.said()[-3000:]}")
            # Where no policy can be written, the Grant is closed; a record of a guest is not needed for it.
            assert flows(home, name == "endpoint")
            agent.grant("h")
            agent.workload(late, "h")
            newcomer.closes(10, lambda: f"a guest that came: {agent.said()[-3000:]}")
            says(agent, FULL[name])
            assert not allowed(node, late).forward(0.2)
            agent.grant(revoked=True)
            eventually(lambda: flows(home, False), 10, what=lambda: f"what is revoked: {agent.said()[-3000:]}")
            assert newcomer.stays_closed() and flows(wide, False)
            agent.restart()
            refused = full.refused
            assert newcomer.stays_closed() and flows(wide, False) and flows(home, False)
            assert full.refused > refused, "the map is full no more"

        def held():
            world.node.run("ip", "route", "replace", f"{late.addresses[4]}/32", "dev", late.interface, check=False)
            return agent.has_active("late") and allowed(node, late).both()
        eventually(held, 40, every=0.2, what=lambda: f"the guest that came: {agent.said()[-3000:]}")
        assert flows(home, False)
        agent.grant()
        eventually(lambda: flows(home, True), 40, what=lambda: f"the Grant again: {agent.said()[-3000:]}")
        eventually(lambda: agent.ctl("verify").returncode == 0, 40, what=lambda: f"all is well: {agent.ctl('verify').stdout}")
        assert newcomer.stays_closed() and flows(wide, False) and allowed(node).both() and allowed(node, late).both()
