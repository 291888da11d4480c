"""Guests of one Grant on two nodes know each other by their addresses on the overlay. The other node is an object of the
API server and a network namespace behind an uplink of the class overlay; the agent is real, and so is its own node."""

import json
import re

import pytest

from agent import Agent, manifest
from direct import Direct

from cluster import run, wait_until

SPACE, GUEST = "guest-dave", "guest-dave/near"
FAR, STRANGER, GATEWAY = "10.42.1.5", "10.42.1.6", "10.42.1.1"
MEMORY_MIB = 60


@pytest.fixture(scope="module")
def agent(node):
    node.namespace(SPACE)
    pid = node.start_network("far")
    run(["ip", "link", "add", "over0", "type", "veth", "peer", "name", "eth0", "netns", pid])
    run(["ip", "addr", "add", GATEWAY + "/24", "dev", "over0"])
    run(["ip", "link", "set", "over0", "up"])
    for command in (f"addr add {FAR}/24 dev eth0", f"addr add {STRANGER}/24 dev eth0", "link set eth0 up",
                    f"route add default via {GATEWAY}"):
        run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", *command.split()])
    node.apply(json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node2"}}))
    node.pod("near", SPACE)
    node.pod("plain")
    with Agent(node) as running:
        yield running
    node.kubectl("delete", "node", "node2")
    node.kubectl("delete", "pod", "plain", "--grace-period=0", "--force")
    node.kubectl("delete", "namespace", SPACE, "--wait=false")
    run(["ip", "link", "del", "over0"])
    node.end("far")


def pod(name, space, **labels):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space, "labels": labels},
            "spec": {"nodeName": "node2", "containers": [{"name": "main", "image": "none"}]}}


def make_far(node, address=FAR):
    """As the other node's kubelet would."""
    node.apply(json.dumps(pod("far", SPACE)))
    status = {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}
    node.kubectl("patch", "pod", "far", "-n", SPACE, "--subresource=status", "--type=merge", "-p", json.dumps(status))


def delete_far(node):
    node.kubectl("delete", "pod", "far", "-n", SPACE, "--grace-period=0", "--force")


def far_reaches(node, address, source):
    net = f"--net=/proc/{node.processes['far'].pid}/ns/net"
    return run(["nsenter", net, "ping", "-c", "1", "-W", "1", "-I", source, address], check=False).returncode == 0


def test_guests_of_one_grant_reach_each_other_across_nodes(agent, node):
    agent.grant()
    agent.held(GUEST, "g")
    near = node.get("pod", "near", "-n", SPACE)["status"]["podIP"]
    assert agent.reaches("default/plain", FAR) and not agent.reaches(GUEST, FAR) and not far_reaches(node, near, FAR)
    make_far(node)
    wait_until(lambda: agent.reaches(GUEST, FAR), f"the guest elsewhere is known: {agent.said()[-2000:]}")
    assert far_reaches(node, near, FAR)
    # Who stands beside it is nobody still.
    assert not agent.reaches(GUEST, STRANGER) and not far_reaches(node, near, STRANGER)
    assert agent.reaches("default/plain", STRANGER)
    delete_far(node)
    wait_until(lambda: not agent.reaches(GUEST, FAR), "it is known no longer")
    assert not far_reaches(node, near, FAR)


def test_a_guest_elsewhere_is_known_again_after_a_restart(agent, node):
    agent.grant()
    make_far(node)
    wait_until(lambda: agent.reaches(GUEST, FAR), "it is known")
    agent.stop()
    assert agent.reaches(GUEST, FAR)
    agent.start()
    assert agent.reaches(GUEST, FAR), "ready means that it is known too"
    delete_far(node)


def memory_mib(node):
    status = open(f"/proc/{node.processes['grantd'].pid}/status", encoding="utf-8").read()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def test_a_large_cluster_elsewhere_costs_the_node_little(agent, node):
    """5,000 pods and 1,000 Grants on other nodes; the peak of the agent's memory, and what it holds in the kernel."""
    agent.grant()
    make_far(node)
    direct = Direct(node)
    node.namespace("crowd")
    grants = [json.loads(manifest("Grant", f"crowd-{number}", {
        "grantorRealm": "alice", "granteeRealm": "carol",
        "networkPolicy": {"egressAllowed": True, "allowedDestinations": [f"198.51.100.{number % 256}:443/TCP"]}}, namespace="keystone-system"))
        for number in range(1000)]
    direct.post_all("/apis/keystone.io/v1alpha1/namespaces/keystone-system/grants", grants)
    direct.post_all("/api/v1/namespaces/crowd/pods", [pod(f"crowd-{number}", "crowd", app="crowd") for number in range(5000)])
    agent.stop()
    agent.start()
    wait_until(lambda: agent.reaches(GUEST, FAR), "all is known")
    assert agent.grants() == ["keystone-system/g"], "those of other nodes are none of its business"
    peak = memory_mib(node)
    print(f"peak of the agent's memory: {peak:.1f} MiB")
    assert peak <= MEMORY_MIB
    # Collections at once: one after the other takes minutes.
    node.kubectl("delete", "--raw", "/api/v1/namespaces/crowd/pods?gracePeriodSeconds=0")
    node.kubectl("delete", "--raw", "/apis/keystone.io/v1alpha1/namespaces/keystone-system/grants")
    node.kubectl("delete", "namespace", "crowd", "--wait=false")
    agent.made.clear()
    delete_far(node)
