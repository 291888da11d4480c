"""Where no record tells of a guest (grantd-cni is not in the chain, and libcni's results are gone), the agent asks the
real containerd where the guest's network is."""

import pytest

from agent import FAR, Agent
from node import OUTSIDE_LAN

from cluster import wait_until

SPACE, GUEST = "guest-dave", "guest-dave/web"


@pytest.fixture(scope="module")
def pods(node):
    node.namespace(SPACE)
    node.pod("plain")
    node.pod("web", SPACE)
    yield
    node.kubectl("delete", "namespace", SPACE, "--wait=false")
    node.kubectl("delete", "pod", "plain", "--grace-period=0", "--force")


def agent(node, socket):
    nothing = node.directory / "nothing"
    return Agent(node, "--cni-records", nothing, "--cni-cache", nothing, "--cri-socket", socket)


def test_a_guest_of_which_no_record_tells_is_found_by_the_runtime(node, pods):
    with agent(node, node.socket) as running:
        running.grant()
        running.held(GUEST, "g")
        assert running.reaches(GUEST, OUTSIDE_LAN) and not running.reaches(GUEST, FAR)
        assert running.reaches("default/plain", FAR)
        # Made while the agent runs, before its sandbox is there.
        node.pod("late", SPACE)
        running.held(f"{SPACE}/late", "g")
        assert running.reaches(f"{SPACE}/late", OUTSIDE_LAN) and not running.reaches(f"{SPACE}/late", FAR)


def test_without_the_socket_it_is_not_found_and_a_socket_that_is_none_is_told(node, pods):
    with agent(node, "none") as running:
        running.grant()
        assert not running.endpoints(GUEST) and running.reaches(GUEST, FAR)
        assert "the container runtime" not in running.said()
    with agent(node, node.directory / "no.sock") as running:
        wait_until(lambda: "guests of which no record tells cannot be asked for" in running.said(), "it says so")
        assert not running.endpoints(GUEST)
