"""grantd-cni in the runtime's chain, put there by the agent: a guest is closed before its first process starts, also
where no agent runs. Beside each guest an ordinary pod does the same, and passes."""

import collections
import contextlib
import json
import signal
import subprocess
import time

import pytest

from agent import Agent
from datagrams import know_gateway, sending
from node import OUTSIDE_LAN

from cluster import run, wait_until

SPACE, GUEST = "guest-dave", "guest-dave/web"
CHAIN = "00-grantd.conflist"
FLOOD = f"while :; do ping -i 0.02 {OUTSIDE_LAN}; done"
# Writes down who has sent each echo request that comes to the outsider.
SNIFF = """
import socket
packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
print("ready", flush=True)
while True:
    packet, address = packets.recvfrom(2048)
    if address[2] != socket.PACKET_OUTGOING and packet[9] == 1 and packet[20] == 8:
        print(socket.inet_ntoa(packet[12:16]), flush=True)
"""


@pytest.fixture(scope="module")
def agent(node):
    node.namespace(SPACE)
    with Agent(node, chain=True) as running:
        wait_until(lambda: is_in_place(running), "the chain is in place")
        yield running
    node.kubectl("delete", "namespace", SPACE, "--wait=false")


@pytest.fixture
def heard(node):
    """How many echo requests of an address the outsider has had."""
    log = node.directory / "heard"
    net = f"--net=/proc/{node.processes['outside'].pid}/ns/net"
    with open(log, "wb") as file, subprocess.Popen(["nsenter", net, "/usr/bin/python3", "-c", SNIFF], stdout=file) as sniffer:
        try:
            wait_until(lambda: log.read_text(encoding="ascii").startswith("ready"), "the sniffer listens")
            yield lambda: collections.Counter(log.read_text(encoding="ascii").splitlines())
        finally:
            sniffer.kill()


def is_in_place(agent):
    return "grantd_cni_chain_in_place 1\n" in agent.metrics()


def restored(agent):
    return next(int(line.split()[1]) for line in agent.metrics().splitlines() if line.startswith("grantd_cni_chain_restored_total"))


def received(agent, guest):
    """How many packets have come in at a pod's own end."""
    lines = run([*agent.inside(guest), "cat", "/proc/net/dev"]).stdout.splitlines()
    return next(int(line.split(":")[1].split()[1]) for line in lines if line.strip().startswith("eth0:"))


def chain(node):
    path = node.networks / CHAIN
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"plugins": []}


def know_bridge(agent, guest):
    gateway = json.loads(run([*agent.inside(guest), "ip", "-j", "route", "show", "default"]).stdout)[0]["gateway"]
    bridge = json.loads(run(["ip", "-j", "link", "show", "cni0"]).stdout)[0]["address"]
    know_gateway(agent.inside(guest), gateway, bridge)


@contextlib.contextmanager
def pods(node, annotations=None, **spaces):
    """Pods that flood the outsider from their first instant; their addresses."""
    try:
        yield {name: node.pod(name, space, FLOOD, annotations) for name, space in spaces.items()}
    finally:
        for name, space in spaces.items():
            node.kubectl("delete", "pod", name, "-n", space, "--grace-period=0", "--force")


@pytest.mark.parametrize("limits", [{}, {f"kubernetes.io/{direction}-bandwidth": "1M" for direction in ("egress", "ingress")}],
                         ids=["unlimited", "with the bandwidth plugin's limits"])
def test_a_guest_is_closed_from_its_first_packet_without_an_agent(agent, node, heard, limits):
    agent.grant()
    agent.stop()
    with pods(node, limits, web=SPACE, plain="default") as addresses:
        # Of each pod one on its link and one on an ifb: this is what stands beside us.
        assert run(["tc", "qdisc", "show"]).stdout.count("qdisc tbf") == 2 * len(limits)
        wait_until(lambda: heard()[addresses["plain"]] > 20, "the ordinary pod's flood arrives")
        know_bridge(agent, GUEST)
        time.sleep(0.5)
        assert heard()[addresses["web"]] == 0
        # Nothing gets in either: an answer that does not come out says nothing of that.
        before = {name: received(agent, guest) for name, guest in (("web", GUEST), ("plain", "default/plain"))}
        assert not agent.is_reached(addresses["web"]) and agent.is_reached(addresses["plain"])
        assert received(agent, GUEST) == before["web"] and received(agent, "default/plain") > before["plain"]
        agent.start()
        agent.held(GUEST, "g")
        wait_until(lambda: heard()[addresses["web"]] > 20, "the Grant has opened it")


def rate_outside(node, seconds=2):
    """Bits a second that come to the outsider now."""
    begin, before = time.monotonic(), node.arrived_outside()
    time.sleep(seconds)
    return 8 * (node.arrived_outside() - before) / (time.monotonic() - begin)


@pytest.mark.parametrize("granted, annotated", [(8, 100), (40, 1)], ids=["the annotation's is larger", "the annotation's is smaller"])
def test_of_two_limits_the_smaller_one_holds(agent, node, granted, annotated):
    """Millions of bits a second. The runtime gives the plugin a burst of many megabytes, which has to pass first."""
    agent.grant(hard={"keystone.io/egress-bandwidth": f"{granted}M"})
    with pods(node, {"kubernetes.io/egress-bandwidth": f"{annotated}M"}, web=SPACE):
        agent.held(GUEST, "g")
        assert "qdisc tbf" in run(["tc", "qdisc", "show"]).stdout
        with sending(agent.inside(GUEST), OUTSIDE_LAN):
            smaller = min(granted, annotated) * 1e6
            wait_until(lambda: rate_outside(node, 1) > 0.5 * smaller, "it sends")
            wait_until(lambda: rate_outside(node, 1) < 1.3 * smaller, "the smaller limit holds", 60)
            assert 0.5 * smaller < rate_outside(node) < 1.3 * smaller
            if granted < annotated:
                agent.grant()
                wait_until(lambda: rate_outside(node, 1) > 2 * smaller, "more comes without the Grant's")


def test_the_runtimes_own_configuration_is_followed(agent, node):
    assert [each["type"] for each in chain(node)["plugins"]] == ["flannel", "portmap", "bandwidth", "grantd-cni"]
    node.write_network(mtu=1300)
    wait_until(lambda: chain(node)["plugins"][0]["delegate"].get("mtu") == 1300, "it is followed")
    address = node.pod("narrow", "default")
    with_link = run([*agent.inside("default/narrow"), "ip", "-j", "link", "show", "eth0"]).stdout
    assert json.loads(with_link)[0]["mtu"] == 1300 and address
    node.kubectl("delete", "pod", "narrow", "--grace-period=0", "--force")
    node.write_network()
    wait_until(lambda: "mtu" not in chain(node)["plugins"][0]["delegate"], "it is followed again")


def test_what_somebody_takes_out_is_put_back(agent, node, heard):
    before, text = restored(agent), (node.networks / CHAIN).read_text(encoding="utf-8")
    (node.networks / CHAIN).unlink()
    wait_until(lambda: (node.networks / CHAIN).exists(), "it is back")
    (node.plugins / "grantd-cni").unlink()
    wait_until(lambda: (node.plugins / "grantd-cni").exists(), "the plugin is back")
    assert (node.networks / CHAIN).read_text(encoding="utf-8") == text
    wait_until(lambda: restored(agent) == before + 2, "both are counted")
    overtaking = node.networks / "00-first.conflist"
    overtaking.write_text(node.network.read_text(encoding="utf-8"), encoding="utf-8")
    wait_until(lambda: not is_in_place(agent), "it is told that another goes first")
    assert "sorts before 00-grantd.conflist" in agent.said()
    overtaking.unlink()
    wait_until(lambda: is_in_place(agent), "it is in place again")


def test_after_a_boot_guests_are_closed_before_the_agent_runs(agent, node, heard):
    """bpffs is empty then, and the kubelet starts all pods at once."""
    agent.grant()
    spaces = {**{f"boot-{number}": SPACE for number in range(4)}, "plain": "default"}
    with pods(node, **spaces) as old:
        wait_until(lambda: all(heard()[address] for address in old.values()), "all flood")
        agent.node.end("grantd", signal.SIGKILL)
        run(["rm", "-r", "/sys/fs/bpf/grantd"])
        node.boot()
        begin = heard()

        def addresses():
            found = {name: node.get("pod", name, "-n", space)["status"] for name, space in spaces.items()}
            fresh = {name: status.get("podIP") for name, status in found.items()
                     if status["phase"] == "Running" and all(each["ready"] and each["restartCount"] for each in status["containerStatuses"])}
            return fresh if len(fresh) == len(spaces) and not set(fresh.values()) & {*old.values(), None} else None
        new = wait_until(addresses, "the pods run again", 120)
        wait_until(lambda: heard()[new["plain"]] > 20, "the ordinary pod's flood arrives")
        for name in set(spaces) - {"plain"}:
            know_bridge(agent, f"{SPACE}/{name}")
        time.sleep(1)
        now = heard()
        assert {name: now[address] for name, address in new.items() if name != "plain"} == dict.fromkeys(set(spaces) - {"plain"}, 0)
        assert begin[new["plain"]] == 0
        agent.start()
        for name in set(spaces) - {"plain"}:
            agent.held(f"{SPACE}/{name}", "g")
        wait_until(lambda: all(heard()[address] for address in new.values()), "the Grant has opened them")


def end_sandbox(agent, node, guest):
    """As a process in it may, where its processes share one namespace: the kubelet makes another one; the pod's next address."""
    space, name = guest.split("/")
    before = node.get("pod", name, "-n", space)["status"]["podIP"]
    node.ctr("tasks", "kill", "--signal", "SIGKILL", agent.network(guest)["containerId"])

    def fresh():
        status = node.get("pod", name, "-n", space)["status"]
        return status.get("podIP") if status.get("podIP") not in (None, before) and status["containerStatuses"][0]["ready"] else None
    return wait_until(fresh, f"{guest} has another sandbox", 60)


def test_a_guest_is_one_in_its_next_sandbox_too(agent, node, heard):
    """Its namespace has lost its label meanwhile. Who comes there after that is none."""
    space, guest, other = "visitors", "visitors/late", "visitors/other"
    agent.grant()
    node.namespace(space)
    node.kubectl("label", "namespace", space, "keystone.io/realm=dave")
    wait_until(lambda: f'"{space}"' in (agent.state / "guest-namespaces.json").read_text(encoding="utf-8"), "the plugin is told")
    with pods(node, late=space) as addresses:
        agent.held(guest, "g")
        wait_until(lambda: heard()[addresses["late"]] > 20, "its Grant has opened it")
        node.kubectl("label", "namespace", space, "keystone.io/realm-")
        assert "has lost its label keystone.io/realm" in agent.held(guest, None)["message"]
        with pods(node, other=space):
            for runs in (True, False):
                if not runs:
                    agent.stop()
                address, another = (end_sandbox(agent, node, each) for each in (guest, other))
                wait_until(lambda: heard()[another] > 20, "the other one's flood arrives")  # pylint: disable=cell-var-from-loop
                know_bridge(agent, guest)
                time.sleep(0.5)
                assert heard()[address] == 0
            agent.start()
            agent.held(guest, None)
            assert not agent.endpoints(other)
            node.kubectl("label", "namespace", space, "keystone.io/realm=dave")
            agent.held(guest, "g")
            wait_until(lambda: heard()[address] > 20, "its Grant has opened it again")
    node.kubectl("delete", "namespace", space, "--wait=false")


def test_uninstalled_nothing_of_it_is_left(agent, node, heard):
    agent.stop()
    agent.uninstall()
    assert sorted(each.name for each in node.networks.iterdir()) == [node.network.name]
    assert not (node.plugins / "grantd-cni").exists()
    with pods(node, web=SPACE) as addresses:
        wait_until(lambda: heard()[addresses["web"]] > 20, "who was a guest is open")
    agent.start()
    wait_until(lambda: is_in_place(agent), "the chain is in place again")
