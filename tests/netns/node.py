"""A guest under a Grant, whose agent runs."""

from agent import Agent


class Node:
    def __init__(self, world, *options, environment=None, **more):
        self.world = world
        self.guest = world.add_guest("web")
        self.agent = Agent(world, *options, **more)
        self.agent.environment = environment or {}
        self.agent.grant()
        self.agent.workload(self.guest)
        self.agent.start()
