"""A guest under a Grant, whose agent runs."""

from agent import Agent


class Node:
    def __init__(self, world, *options, **more):
        self.world = world
        self.guest = world.add_guest("web")
        self.agent = Agent(world, *options, **more)
        self.agent.grant()
        self.agent.workload(self.guest)
        self.agent.start()
