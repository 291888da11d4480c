"""The agent follows a real API server on a real node: which pods are held, by which Grant, and from when on. Beside each
denial something passes on the same path."""

import datetime
import json
import signal

import pytest

from agent import FAR, PORT, Agent, manifest
from node import IMAGE, NAME, OUTSIDE_LAN

from cluster import wait_until

GUEST, SPACE = "guest-dave/web", "guest-dave"


@pytest.fixture(scope="module")
def agent(node):
    node.namespace(SPACE)
    node.pod("plain")
    node.pod("web", SPACE)
    with Agent(node) as running:
        yield running
    node.kubectl("delete", "namespace", SPACE, "--wait=false")
    node.kubectl("delete", "pod", "plain", "--grace-period=0", "--force")


@pytest.fixture(autouse=True)
def control(agent):
    """A pod that is no guest is never touched."""
    yield
    assert agent.reaches("default/plain", FAR) and agent.reaches("default/plain", OUTSIDE_LAN)


def test_a_guest_without_a_grant_is_in_quarantine(agent):
    assert "realm dave has no Grant" in agent.held(GUEST, None)["message"]
    assert not agent.reaches(GUEST, OUTSIDE_LAN)


def test_a_grant_opens_its_realm_and_what_it_names(agent, node):
    agent.grant()
    agent.held(GUEST, "g")
    address = node.get("pod", "web", "-n", SPACE)["status"]["podIP"]
    # What it asked from quarantine may still wait for a neighbour, and this with it.
    wait_until(lambda: agent.reaches(GUEST, OUTSIDE_LAN) and agent.is_reached(address), "it is open")
    assert not agent.reaches(GUEST, FAR)
    agent.grant(destinations=[FAR])
    wait_until(lambda: agent.reaches(GUEST, FAR), "the edit is in force")
    assert 'grantd_violations_total{grant="keystone-system/g"' in agent.metrics()


def test_an_edit_and_a_revocation_end_a_live_connection(agent):
    for change, realm in (({"destinations": []}, True), ({"destinations": [FAR], "revoked": True}, False)):
        agent.grant(destinations=[FAR])
        wait_until(lambda: agent.reaches(GUEST, FAR), "it is open")
        with agent.connection(GUEST) as arrives:
            assert arrives()
            agent.grant(**change)
            wait_until(lambda: not arrives(), "nothing arrives any more")
        assert agent.reaches(GUEST, OUTSIDE_LAN) == realm
    agent.grant()


def test_a_service_of_the_guests_own_is_no_way_out(agent, node):
    """Its address leads to FAR, which the Grant does not name; for others it works. No admission policy is here."""
    agent.grant()
    agent.held(GUEST, "g")
    port = {"port": PORT, "protocol": "TCP"}
    for kind, spec in (("Service", {"spec": {"ports": [port]}}),
                       ("EndpointSlice", {"addressType": "IPv4", "endpoints": [{"addresses": [FAR]}], "ports": [port]})):
        version = "v1" if kind == "Service" else "discovery.k8s.io/v1"
        labels = {} if kind == "Service" else {"kubernetes.io/service-name": "out"}
        node.apply(json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": "out", "namespace": SPACE, "labels": labels}, **spec}))
    address = node.get("service", "out", "-n", SPACE)["spec"]["clusterIP"]
    with agent.listener():
        wait_until(lambda: agent.connects("default/plain", address), "the Service works")
        assert not agent.connects(GUEST, address)
        agent.grant(destinations=[FAR])
        wait_until(lambda: agent.connects(GUEST, FAR), "FAR itself is open")
        assert not agent.connects(GUEST, address), "the address that the guest names is judged"
    agent.grant()
    node.kubectl("delete", "service,endpointslice", "out", "-n", SPACE)


def test_a_deleted_grant_leaves_quarantine(agent):
    agent.grant()
    agent.held(GUEST, "g")
    agent.delete()
    assert "has no Grant" in agent.held(GUEST, None)["message"]
    assert not agent.reaches(GUEST, OUTSIDE_LAN)
    agent.grant()
    agent.held(GUEST, "g")
    wait_until(lambda: agent.reaches(GUEST, OUTSIDE_LAN), "it is open again")


def test_two_grants_want_a_label(agent, node):
    agent.grant()
    agent.grant("other", destinations=[FAR])
    assert "label it" in agent.held(GUEST, None)["message"]
    node.kubectl("label", "pod", "web", "-n", SPACE, "keystone.io/grant=other")
    agent.held(GUEST, "other")
    # The grantor's label goes before the guest's.
    node.kubectl("label", "namespace", SPACE, "keystone.io/grant=g")
    agent.held(GUEST, "g")
    assert agent.reaches(GUEST, OUTSIDE_LAN) and not agent.reaches(GUEST, FAR)
    node.kubectl("label", "namespace", SPACE, "keystone.io/grant-")
    node.kubectl("label", "pod", "web", "-n", SPACE, "keystone.io/grant-")
    agent.delete("other")
    agent.held(GUEST, "g")


def test_a_grant_elsewhere_opens_nothing_and_is_told_of(agent, node):
    """No admission policy is here, as where somebody has taken it away."""
    agent.delete("g")
    agent.held(GUEST, None)
    node.apply(manifest("Grant", "stray", {"grantorRealm": "alice", "granteeRealm": "dave"}, namespace=SPACE))
    wait_until(lambda: f"Grant {SPACE}/stray: metadata.namespace" in agent.said(), "the log tells of it")
    assert "realm dave has no Grant" in agent.held(GUEST, None)["message"]
    node.kubectl("delete", "grant", "stray", "-n", SPACE)
    wait_until(lambda: any("no longer: " in line and f"Grant {SPACE}/stray" in line for line in agent.said().splitlines()), "it is gone")
    agent.grant()
    agent.held(GUEST, "g")


def test_a_namespaces_label_makes_guests_and_its_loss_opens_none(agent, node):
    agent.grant()
    assert agent.reaches("default/plain", FAR)
    node.namespace("visitors")
    node.pod("late", "visitors")
    assert agent.reaches("visitors/late", FAR) and not agent.endpoints("visitors/late")
    node.kubectl("label", "namespace", "visitors", "keystone.io/realm=dave")
    agent.held("visitors/late", "g")
    assert '"visitors"' in (agent.state / "guest-namespaces.json").read_text(encoding="utf-8")
    assert agent.reaches("visitors/late", OUTSIDE_LAN) and not agent.reaches("visitors/late", FAR)
    node.kubectl("label", "namespace", "visitors", "keystone.io/realm-")
    agent.held("visitors/late", None)
    assert not agent.reaches("visitors/late", OUTSIDE_LAN)
    agent.stop()
    node.pod("after", "visitors")
    agent.start()
    agent.held("visitors/late", None)
    assert not agent.endpoints("visitors/after") and agent.reaches("visitors/after", FAR), "who came after that is no guest"
    node.kubectl("label", "namespace", "visitors", "keystone.io/realm=dave")
    agent.held("visitors/late", "g")
    node.kubectl("delete", "namespace", "visitors", "--wait=false")
    wait_until(lambda: not agent.endpoints("visitors/late"), "it is gone", 60)


def test_a_guest_on_the_hosts_network_is_held_back_by_its_cgroup(agent, node):
    """It was there before its namespace became a guests': no admission policy has seen it. One beside it is no guest."""
    agent.grant()
    for space in ("hosted", "nobodys"):
        node.namespace(space)
        node.pod("host", space, hostNetwork=True)

    def pings(address, space="hosted"):
        return node.execute("host", f"ping -c 1 -W 1 {address}", space, check=False).returncode == 0

    def connecting(space="hosted"):
        told = node.execute("host", f"timeout 5 nc -w 1 {FAR} {PORT} </dev/null", space, check=False)
        return "open" if told.returncode == 0 else told.stderr

    try:
        with agent.listener():
            wait_until(lambda: connecting() == "open", "nobody holds it yet")
            assert pings(FAR) and pings(OUTSIDE_LAN)
            node.kubectl("label", "namespace", "hosted", "keystone.io/realm=dave")
            endpoint = agent.held("hosted/host", "g")
            assert endpoint["cgroup_id"] and "on the host network" in endpoint["message"]
            assert pings(OUTSIDE_LAN) and not pings(FAR), "its Grant opens its realm"
            # Refused at once by the call, not after a second by silence.
            assert "Operation not permitted" in connecting()
            assert pings(FAR, "nobodys") and connecting("nobodys") == "open"
            agent.grant(destinations=[FAR])
            wait_until(lambda: connecting() == "open", "the Grant names it now")
            assert pings(FAR)
            agent.grant(destinations=[FAR], revoked=True)
            agent.held("hosted/host", "g")
            wait_until(lambda: not pings(FAR), "it is taken back")
            assert "Operation not permitted" in connecting() and not pings(OUTSIDE_LAN)
            assert pings(FAR, "nobodys") and connecting("nobodys") == "open"
            node.pod("late", "hosted", hostNetwork=True)
            # Of its cgroup nobody tells.
            wait_until(lambda: [each["cgroup_id"] for each in agent.endpoints("hosted/late")] not in ([], [0]), "one that comes is held", 4)
        assert "Pod hosted/host: spec.hostNetwork" in agent.said() and "held back by its cgroup only" in agent.said()
    finally:
        for space in ("hosted", "nobodys"):
            node.kubectl("delete", "pod", "host", "-n", space, "--grace-period=0", "--force")
            node.kubectl("delete", "namespace", space, "--wait=false")
    agent.grant()
    wait_until(lambda: not agent.endpoints("hosted/host"), "it is gone", 60)


def test_a_static_pod_is_held_as_its_mirror(agent, node):
    """The kubelet runs it from a file, under a uid that the API server does not know."""
    agent.grant()
    mirror, path = f"{SPACE}/static-{NAME}", node.directory / "static/static.json"
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "1000000"]}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "static", "namespace": SPACE},
                                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}), encoding="utf-8")
    try:
        agent.held(mirror, "g")
        wait_until(lambda: agent.reaches(mirror, OUTSIDE_LAN), "it is open")
        assert not agent.reaches(mirror, FAR)
    finally:
        path.unlink()
    wait_until(lambda: not agent.endpoints(mirror), "it is gone", 60)


def test_a_pod_made_again_is_another_endpoint(agent, node):
    agent.grant()
    before = agent.held(GUEST, "g")
    node.kubectl("delete", "pod", "web", "-n", SPACE, "--grace-period=0", "--force")
    node.pod("web", SPACE)
    wait_until(lambda: [each["endpoint_id"] for each in agent.endpoints(GUEST)] not in ([], [before["endpoint_id"]]), "another endpoint")
    agent.held(GUEST, "g")
    wait_until(lambda: agent.reaches(GUEST, OUTSIDE_LAN), "it is open")
    assert not agent.reaches(GUEST, FAR)


def test_without_the_api_server_all_goes_on(agent, node):
    """Enforcement, the end of a Grant, and a restart of the agent in between."""
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=30)
    agent.grant(destinations=[FAR], validity={"validUntil": end.strftime("%Y-%m-%dT%H:%M:%SZ")})
    wait_until(lambda: agent.reaches(GUEST, FAR), "it is open")
    with agent.connection(GUEST) as arrives:
        node.end("kube-apiserver", signal.SIGKILL)
        agent.stop()
        agent.start(ready=False)
        assert arrives() and agent.reaches(GUEST, OUTSIDE_LAN)
        assert datetime.datetime.now(datetime.timezone.utc) < end
        wait_until(lambda: not arrives(), "the Grant has ended", 45)
    assert not agent.is_ready(), "it cannot know everything"
    assert "the API server cannot be followed: Realm: " in agent.said()
    assert not agent.reaches(GUEST, OUTSIDE_LAN)
    assert agent.reaches("default/plain", FAR)
    node.start_apiserver()
    wait_until(agent.is_ready, "the agent has caught up", 60)
    agent.held(GUEST, "g")
    agent.grant()
    wait_until(lambda: agent.reaches(GUEST, OUTSIDE_LAN), "another Grant opens it again", 30)
