"""A guest under a Grant, whose agent runs."""

from agent import Agent


class Node:
    def __init__(self, world, *options):
        self.world = world
        self.guest = world.add_guest("web")
        self.agent = Agent(world, *options)
        self.agent.grant()
        self.agent.workload(self.guest)
        self.agent.start()
