"""A few of the 10,000 pod starts that scripts/bench makes."""

import random

import pytest
from pod_starts import CLOSED, GRANTED, ORDINARY, Starts


@pytest.mark.parametrize("attach", ["tcx", "clsact"])
def test_nothing_of_a_guest_passes_outside_its_grant(world, attach):
    told = Starts(world, random.randrange(1_000_000), attach=attach).run(120)
    assert told["by_kind"] == {ORDINARY: 12, GRANTED: 60, CLOSED: 48}
    assert told["passed_outside_grant"] == told["received_outside_grant"] == 0, told
    assert told["agent_killed"] > 0 and told["sent_outside_grant"] > 108 * 200
    # The same path at the same time.
    assert told["passed_within_grant"] > 60 and told["passed_of_ordinary_pods"] > 12 * 200
    assert told["received_by_ordinary_pods"] > 12


def test_without_the_plugin_it_is_seen_that_it_passes(world):
    told = Starts(world, random.randrange(1_000_000), ours=False).run(20)
    assert told["passed_outside_grant"] > 0 and told["received_outside_grant"] > 0, told
