import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from world import World  # noqa: E402


@pytest.fixture
def world():
    """A world of the test's own."""
    with World() as made:
        yield made
