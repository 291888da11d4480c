"""Many guests on a node: what all of them cost at once keeps no edit waiting, and each is under a limit of its own."""

import os
import signal

import pytest
from agent import Agent, manifest
from queues import classes
from test_shaping_range import is_held_and_follows, limit
from traffic import UdpPair
from world import PARTIES, eventually

MANY = 100


class Crowd:
    """Guests that say nothing: pairs of interfaces whose other end is nobody's."""

    def __init__(self, world, agent, grant=lambda number: "g"):
        self.world, self.agent = world, agent
        for number in range(MANY):
            agent.write(f"workload-c{number}", manifest("Workload", f"c{number}", {
                "grantName": grant(number), "interface": f"c{number}", "addresses": [f"10.21.0.{number + 1}"]}))

    def come(self):
        self.world.node.ip(*[f"link add c{number} type veth peer name p{number}" for number in range(MANY)])

    def attached(self):
        links = os.path.join(self.world.pin_root, "links")
        indices = {self.world.node.interface_index(f"c{number}") for number in range(MANY)}
        return sum(f"from_guest-{index}" in os.listdir(links) for index in indices)


@pytest.fixture(name="agent")
def an_agent(world):
    agent = Agent(world)
    agent.grant()
    agent.workload(world.add_guest("web"))
    return agent


@pytest.mark.parametrize("known", [True, False], ids=["the edit comes with them", "the edit comes after them"])
def test_an_edit_is_in_force_before_the_rest_of_a_crowd_is_attached(world, agent, known):
    crowd = Crowd(world, agent)
    agent.start()
    pair = UdpPair(world.guests["web"], world.outside, 4, to=PARTIES["destination"][4], port=5001)
    assert pair.both()
    agent.process.send_signal(signal.SIGSTOP)
    crowd.come()

    def edit():
        if not known:
            agent.process.send_signal(signal.SIGCONT)
        agent.grant(revoked=True)
        agent.process.send_signal(signal.SIGCONT)
    agent.in_force(edit, seconds=60)
    attached = crowd.attached()
    assert pair.silent()
    assert attached < MANY / 2, "it did not wait for all of them"
    eventually(lambda: crowd.attached() == MANY, 60, what="all of them attached")


def test_each_of_a_crowd_is_under_a_limit_of_its_own(world, agent):
    guest, rate = world.guests["web"], 16_000_000
    for number in range(MANY):
        agent.grant(f"c{number}", **limit(1_000_000 + 8 * number))
    agent.grant(**limit(rate))
    crowd = Crowd(world, agent, lambda number: f"c{number}")
    crowd.come()
    agent.start()
    eventually(lambda: len(classes(agent)) == 4 * (MANY + 1), 60, every=0.2, what="the classes of all")
    is_held_and_follows(agent, guest, rate, port=9400)
