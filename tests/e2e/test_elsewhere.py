"""Guests of one Grant on two nodes know each other by their addresses on the overlay. The other node is an object of the
API server and a network namespace behind an uplink of the class overlay; the agent is real, and so is its own node."""

import concurrent.futures
import json
import re
import time

import pytest

from agent import Agent, manifest
from direct import Direct
from faults import Proxy, refusal
from node import OUTSIDE_LAN

from cluster import run, wait_until

SPACE, GUEST = "guest-dave", "guest-dave/near"
FAR, STRANGER, GATEWAY = "10.42.1.5", "10.42.1.6", "10.42.1.1"
MEMORY_MIB, BELIEVED_SECONDS = 60, 60
# As Helm, a Deployment and a StatefulSet give them between them.
USUAL_LABELS = {"app.kubernetes.io/name": "web-frontend", "app.kubernetes.io/instance": "production",
                "app.kubernetes.io/version": "2026.11.30", "app.kubernetes.io/component": "server",
                "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "web-frontend-1.4.2",
                "controller-revision-hash": "web-frontend-6f7d8", "apps.kubernetes.io/pod-index": "1"}


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


def test_a_guest_elsewhere_is_nobody_once_its_pods_cannot_be_followed(agent, node):
    """For a minute they are believed (decision 62). The server answers for everything else meanwhile."""
    straight = agent.kubeconfig
    with Proxy(node) as proxy:
        agent.stop()
        agent.kubeconfig = proxy.kubeconfig
        agent.start()
        try:
            agent.grant()
            make_far(node)
            wait_until(lambda: agent.reaches(GUEST, FAR), "it is known")
            with proxy.spoiled(only=f"/namespaces/{SPACE}/pods".encode(), answer=refusal(403, "Forbidden")):
                begin = time.monotonic()
                while time.monotonic() < begin + BELIEVED_SECONDS / 2:
                    assert agent.reaches(GUEST, FAR), "it is believed"
                    time.sleep(1)
                wait_until(lambda: not agent.reaches(GUEST, FAR), "it is nobody", BELIEVED_SECONDS)
                assert time.monotonic() - begin > BELIEVED_SECONDS - 10
                assert agent.reaches("default/plain", FAR) and agent.reaches(GUEST, OUTSIDE_LAN)
                assert "have not been followed for too long" in agent.said()
            wait_until(lambda: agent.reaches(GUEST, FAR), "it is known again", BELIEVED_SECONDS)
        finally:
            agent.stop()
            agent.kubeconfig = straight
            agent.start()
    delete_far(node)


def test_a_huge_pod_holds_up_no_other(agent, node):
    """Far above the bounds of an event, in the stream that tells of all guests there."""
    agent.grant()
    make_far(node)
    wait_until(lambda: agent.reaches(GUEST, FAR), "it is known")
    huge = pod("huge", SPACE)
    huge["spec"]["containers"][0]["args"] = [""] * 300_000
    Direct(node).post(f"/api/v1/namespaces/{SPACE}/pods", huge)
    delete_far(node)
    wait_until(lambda: not agent.reaches(GUEST, FAR), "what comes after it is heard")
    assert 'grantd_source_errors_total{source="pods_elsewhere"} 0' in agent.metrics()
    node.kubectl("delete", "pod", "huge", "-n", SPACE, "--grace-period=0", "--force")


def memory_mib(node):
    status = open(f"/proc/{node.processes['grantd'].pid}/status", encoding="utf-8").read()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def make_crowd(node, count):
    """Guests on the other node under this node's Grant, each with its address and nine labels; 1,000 Grants that concern
    nobody here."""
    direct = Direct(node)
    direct.post("/apis/keystone.io/v1alpha1/realms", json.loads(manifest("Realm", "carol", {"identity": "carol.example.net"})))
    direct.post_all("/apis/keystone.io/v1alpha1/namespaces/keystone-system/grants", [json.loads(manifest("Grant", f"crowd-{at}", {
        "grantorRealm": "alice", "granteeRealm": "carol",
        "networkPolicy": {"egressAllowed": True, "allowedDestinations": [f"198.51.100.{at % 256}:443/TCP"]}}, namespace="keystone-system"))
        for at in range(1000)])
    pods = f"/api/v1/namespaces/{SPACE}/pods"

    def make(at):
        direct.post(pods, pod(f"crowd-{at}", SPACE, **USUAL_LABELS, **{"statefulset.kubernetes.io/pod-name": f"crowd-{at}"}))
        address = f"10.42.{2 + at // 250}.{1 + at % 250}"
        direct.patch(f"{pods}/crowd-{at}/status", {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}})
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(count)))


def disperse(node):
    # Collections at once: one after the other takes minutes. The server answers after a minute at the latest, be it done
    # or not.
    for path in (f"/api/v1/namespaces/{SPACE}/pods?gracePeriodSeconds=0&fieldSelector=spec.nodeName%3Dnode2",
                 "/apis/keystone.io/v1alpha1/namespaces/keystone-system/grants"):
        wait_until(lambda gone=path: node.kubectl("delete", "--raw", gone, check=False).returncode == 0, f"{path} is deleted", 240)
    node.kubectl("delete", "realm", "carol")


def prefixes(agent, what=""):
    return int(re.search(rf'^grantd_node_limit{what}\{{limit="realm_prefixes"\}} (\d+)$', agent.metrics(), re.M)[1])


def test_a_large_cluster_elsewhere_costs_the_node_little(agent, node):
    """5,000 guests on other nodes that share a Grant with one of this node, and 1,000 Grants: the peak of the agent's
    memory while they come, and at a start that finds them. It holds the Grants of its own guests, and no others."""
    crowd = 5000
    agent.grant()
    make_far(node)
    wait_until(lambda: agent.reaches(GUEST, FAR), "the first is known")
    few = prefixes(agent, "_used")
    make_crowd(node, crowd)
    wait_until(lambda: prefixes(agent, "_used") == few + 2 * crowd, "all are known")
    peaks = [memory_mib(node)]
    agent.stop()
    agent.start()
    assert prefixes(agent, "_used") == few + 2 * crowd and agent.reaches(GUEST, FAR), "ready means that all are known"
    assert agent.grants() == ["keystone-system/g"], "those of other nodes are none of its business"
    peaks.append(memory_mib(node))
    print("peaks of the agent's memory, MiB:", *(f"{each:.1f}" for each in peaks))
    assert max(peaks) <= MEMORY_MIB
    # Where there is no room for a crowd all of it is nobody, and the Realms stay.
    agent.stop()
    agent.uninstall()
    agent.options = ["--max-realm-prefixes", "4000"]
    agent.start()
    agent.held(GUEST, "g")
    assert agent.reaches(GUEST, OUTSIDE_LAN) and not agent.reaches(GUEST, FAR) and agent.reaches("default/plain", FAR)
    assert prefixes(agent, "_refused") == 2 * (crowd + 1)
    assert f'Grant keystone-system/g: "{crowd + 1}": addresses of its guests on other nodes are more' in agent.said()
    disperse(node)
    agent.made.clear()
