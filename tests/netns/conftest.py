import os
import sys

import pytest

sys.path[:0] = [os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), "../common")]

from failing import Faults, build  # noqa: E402
from node import Node  # noqa: E402
from world import World  # noqa: E402


@pytest.fixture
def world():
    """A world of the test's own."""
    with World() as made:
        yield made


@pytest.fixture
def node(world):
    """A guest `web` under Grant `g`, whose agent runs: node.guest, node.agent, node.world."""
    return Node(world)


@pytest.fixture
def metered(world):
    """The same, whose agent serves metrics on port 9786."""
    return Node(world, listen="127.0.0.1:9786")


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """What lets calls of the agent fail."""
    return build(tmp_path_factory.mktemp("failing"))


@pytest.fixture
def faults(library, tmp_path):
    """For an agent with their environment."""
    return Faults(library, tmp_path / "page")


@pytest.fixture(scope="module")
def shared_node():
    """The same, shared by the tests of a module, which leave it as they found it."""
    with World() as made:
        yield Node(made)
