"""--cni-refuse-unknown: a pod does not start before the agent knows whether its namespace is a guest's, also where the
namespace was made again under its name while no agent ran."""

import json
import signal

import pytest

from agent import FAR, Agent
from node import IMAGE, OUTSIDE_LAN

from cluster import wait_until

SPACE = "visitors"


@pytest.fixture(scope="module")
def agent(node):
    with Agent(node, "--cni-refuse-unknown", chain=True) as running:
        wait_until(lambda: "grantd_cni_chain_in_place 1\n" in running.metrics(), "the chain is in place")
        yield running
    node.kubectl("delete", "namespace", SPACE, "--wait=false")


def begin(node, name, space):
    """A pod, not waited for."""
    node.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space},
                           "spec": {"terminationGracePeriodSeconds": 0, "containers": [
                               {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "1000000"]}]}}))


def waits(node, name, space):
    events = node.kubectl("get", "events", "-n", space, "--field-selector", f"involvedObject.name={name}", check=False).stdout
    return "cannot tell whether it is a guest's" in events


def ordinary(agent):
    return json.loads((agent.state / "guest-namespaces.json").read_text(encoding="utf-8"))["ordinary"]


def make_again(node, *labels):
    node.kubectl("delete", "namespace", SPACE)
    node.namespace(SPACE)
    if labels:
        node.kubectl("label", "namespace", SPACE, *labels)


def test_a_namespace_made_again_as_a_guests_is_closed_from_the_start(agent, node):
    agent.grant()
    node.namespace(SPACE)
    node.pod("ordinary", SPACE)
    assert agent.reaches(f"{SPACE}/ordinary", FAR) and SPACE in ordinary(agent)
    # The agent sees it.
    make_again(node, "keystone.io/realm=dave")
    node.pod("guest", SPACE)
    agent.held(f"{SPACE}/guest", "g")
    assert agent.reaches(f"{SPACE}/guest", OUTSIDE_LAN) and not agent.reaches(f"{SPACE}/guest", FAR)
    make_again(node)
    wait_until(lambda: SPACE in ordinary(agent), "it is ordinary again")
    node.pod("ordinary", SPACE)
    assert agent.reaches(f"{SPACE}/ordinary", FAR)
    # No agent does; what the last one has recorded is of no use.
    agent.stop()
    assert SPACE in ordinary(agent)
    make_again(node, "keystone.io/realm=dave")
    begin(node, "guest", SPACE)
    begin(node, "plain", "default")
    wait_until(lambda: waits(node, "guest", SPACE) and waits(node, "plain", "default"), "both wait", 60)
    assert node.get("pod", "guest", "-n", SPACE)["status"]["phase"] == "Pending"
    agent.start()
    node.kubectl("wait", "--for=condition=Ready", "pod/guest", "-n", SPACE, "--timeout=60s")
    node.kubectl("wait", "--for=condition=Ready", "pod/plain", "--timeout=60s")
    agent.held(f"{SPACE}/guest", "g")
    assert agent.reaches(f"{SPACE}/guest", OUTSIDE_LAN) and not agent.reaches(f"{SPACE}/guest", FAR)
    assert agent.reaches("default/plain", FAR)
    node.kubectl("delete", "pod", "plain", "--grace-period=0", "--force")


def test_an_agent_that_hears_of_no_namespaces_vouches_for_none(agent, node):
    wait_until(lambda: "default" in ordinary(agent), "it vouches")
    node.end("kube-apiserver", signal.SIGKILL)
    try:
        assert "default" in ordinary(agent), "a stream may end"
        wait_until(lambda: not ordinary(agent), "it vouches no longer", 30)
    finally:
        node.start_apiserver()
    wait_until(lambda: "default" in ordinary(agent), "it vouches again", 60)
