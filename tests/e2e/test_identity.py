"""A guest is its pod, by UID: neither a name, nor an address, nor what is deleted before it makes it another, or nobody
(classes 4 to 6). The pods come and go by the API server's and the kubelet's own hands. Beside each denial something passes
on the same path."""

import concurrent.futures
import ipaddress
import itertools
import pathlib

import pytest

from agent import FAR, REALMS, Agent, manifest
from node import OUTSIDE_LAN

from cluster import wait_until

SPACE, OTHERS = "guest-dave", "guest-dave-two"
GUEST = f"{SPACE}/web"
LAST_GIVEN = pathlib.Path("/var/lib/cni/networks/cbr0/last_reserved_ip.0")  # host-local gives the next one


@pytest.fixture(scope="module")
def agent(node):
    """`g` is of dave's guests; of dave-two's none is, until a test makes one."""
    node.namespace(SPACE)
    node.namespace(OTHERS)
    node.apply(manifest("Realm", "dave-two", {"identity": "dave-two.example.net"}))
    node.pod("plain")
    with Agent(node) as running:
        running.grant(destinations=[FAR])
        yield running
    node.kubectl("delete", "realm", "dave-two")
    for space in (SPACE, OTHERS):
        node.kubectl("delete", "namespace", space, "--wait=false")
    node.kubectl("delete", "pod", "plain", "--grace-period=0", "--force")


def delete_pod(node, guest):
    space, name = guest.split("/")
    node.kubectl("delete", "pod", name, "-n", space, "--grace-period=0", "--force")


def pod_with_address(node, name, space, address, **more):
    """The address must be free, which it is when the runtime has taken down what had it."""
    is_free = lambda: not (LAST_GIVEN.parent / address).exists()  # noqa: E731
    wait_until(is_free, f"{address} is free", 60)
    LAST_GIVEN.write_text(str(ipaddress.ip_address(address) - 1), encoding="ascii")
    assert node.pod(name, space, **more) == address


def test_names_that_read_alike_are_two_guests(agent, node):
    """guest-dave / two-web and guest-dave-two / web."""
    one, other = f"{SPACE}/two-web", f"{OTHERS}/web"
    for guest in (one, other):
        node.pod(guest.split("/")[1], guest.split("/")[0])
    first, second = agent.held(one, "g"), agent.held(other, None)
    assert first["endpoint_id"] != second["endpoint_id"]
    wait_until(lambda: agent.reaches(one, FAR), "it is open")
    assert not agent.reaches(other, FAR)
    agent.grant("h", grantee="dave-two", destinations=[OUTSIDE_LAN])
    second = agent.held(other, "h")
    wait_until(lambda: agent.reaches(other, OUTSIDE_LAN), "the other is open by its own")
    assert agent.reaches(one, FAR) and not agent.reaches(other, FAR)
    delete_pod(node, one)
    wait_until(lambda: not agent.endpoints(one), "it is gone", 60)
    assert agent.held(other, "h")["endpoint_id"] == second["endpoint_id"] and agent.reaches(other, OUTSIDE_LAN)
    agent.delete("h")
    agent.held(other, None)
    delete_pod(node, other)


@pytest.mark.parametrize("runs", [True, False], ids=["while-it-runs", "while-no-agent-runs"])
def test_an_address_that_another_guest_has_now(agent, node, runs):
    """Nothing of the first one's is its: not the Grant, not the live connection, not the siblings."""
    address = node.pod("web", SPACE)
    sibling = node.pod("sibling", SPACE)
    agent.held(GUEST, "g")
    agent.held(f"{SPACE}/sibling", "g")
    wait_until(lambda: agent.reaches(GUEST, FAR) and agent.reaches(f"{SPACE}/sibling", address), "both are open")
    with agent.connection(GUEST) as arrives:
        assert arrives() and agent.is_reached(address)
        if not runs:
            agent.stop()
        delete_pod(node, GUEST)
        pod_with_address(node, "late", OTHERS, address)
        if not runs:
            agent.start()
        agent.held(f"{OTHERS}/late", None)
        assert not arrives()
        assert not agent.is_reached(address), "the realm of the first one is not the second one's"
        assert not agent.reaches(f"{OTHERS}/late", FAR) and not agent.reaches(f"{OTHERS}/late", sibling)
    assert not agent.reaches(f"{SPACE}/sibling", address), "nor is its sibling"
    assert agent.reaches(f"{SPACE}/sibling", FAR) and agent.reaches("default/plain", OUTSIDE_LAN)
    for guest in (f"{OTHERS}/late", f"{SPACE}/sibling"):
        delete_pod(node, guest)
    wait_until(lambda: not agent.endpoints(), "they are gone", 60)


@pytest.mark.parametrize("code, phase", [(0, "Succeeded"), (1, "Failed")])
def test_a_pod_that_has_ended_gives_nothing_to_who_has_its_address(agent, node, code, phase):
    """Its object stays, with its labels, its namespace and its address."""
    address = node.pod("job", SPACE, command=f"while ! [ -e /tmp/end ]; do sleep 0.1; done; exit {code}", restartPolicy="Never")
    agent.held(f"{SPACE}/job", "g")
    wait_until(lambda: agent.reaches(f"{SPACE}/job", FAR), "it is open")
    node.execute("job", "touch /tmp/end", SPACE)
    wait_until(lambda: node.get("pod", "job", "-n", SPACE)["status"]["phase"] == phase, "it has ended", 60)
    wait_until(lambda: not agent.endpoints(f"{SPACE}/job"), "it is gone", 60)
    pod_with_address(node, "late", OTHERS, address)
    assert node.get("pod", "job", "-n", SPACE)["status"]["podIP"] == address
    agent.held(f"{OTHERS}/late", None)
    assert not agent.reaches(f"{OTHERS}/late", FAR) and not agent.is_reached(address)
    agent.grant("h", grantee="dave-two", destinations=[FAR])
    agent.held(f"{OTHERS}/late", "h")
    wait_until(lambda: agent.reaches(f"{OTHERS}/late", FAR), "it is open by its own Grant")
    agent.delete("h")
    agent.held(f"{OTHERS}/late", None)
    delete_pod(node, f"{OTHERS}/late")
    delete_pod(node, f"{SPACE}/job")


def is_closed(agent, guest, address):
    """Asked at once: each waits for a silence."""
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        ways = [pool.submit(agent.reaches, guest, FAR), pool.submit(agent.reaches, guest, OUTSIDE_LAN), pool.submit(agent.is_reached, address)]
        return not any(way.result() for way in ways)


GOES = {
    "Grant": lambda agent, _: agent.delete(),
    "Realm": lambda agent, _: agent.node.kubectl("delete", "realm", "dave"),
    "label": lambda agent, space: agent.node.kubectl("label", "namespace", space, "keystone.io/realm-"),
}


@pytest.mark.parametrize("order", itertools.permutations(GOES), ids="-".join)
def test_what_goes_before_the_guest_leaves_it_closed(agent, node, order):
    """In each order, under a live connection, and its namespace last; the label makes it a guest, for the name does not."""
    space = f"visitors-{'-'.join(order)}".lower()
    guest = f"{space}/web"
    node.namespace(space)
    node.kubectl("label", "namespace", space, "keystone.io/realm=dave")
    address = node.pod("web", space)
    agent.held(guest, "g")
    wait_until(lambda: agent.reaches(guest, FAR) and agent.reaches(guest, OUTSIDE_LAN) and agent.is_reached(address), "it is open")
    try:
        with agent.connection(guest) as arrives:
            for at, each in enumerate(order):
                assert at > 0 or arrives()
                GOES[each](agent, space)
                wait_until(lambda: not arrives(), f"nothing arrives after {order[:at + 1]}")  # pylint: disable=cell-var-from-loop
                assert len(agent.endpoints(guest)) == 1, "it is held as long as it is there"
                assert is_closed(agent, guest, address)
                assert agent.reaches("default/plain", FAR)
            node.kubectl("delete", "namespace", space, "--wait=false")
            assert not arrives()
            wait_until(lambda: not agent.endpoints(guest), "it is gone", 60)
    finally:
        node.apply(manifest("Realm", "dave", {"identity": "dave.example.net", "addresses": REALMS["dave"]}))
        agent.grant(destinations=[FAR])
