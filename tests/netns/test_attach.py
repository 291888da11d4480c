"""Where programs stand: without tcx, beside others, on foreign qdiscs, on cgroups (classes 7, 33, 34, 55)."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from agent import Agent, Counted
from bpf_calls import leaves_all_to_the_next_one
from foreign import WITH_TCX_LINKS, foreign_filter, foreign_tcx
from node import Node
from sniffing import Watched
from traffic import Ping, TcpPair, UdpPair
from world import HAS_TCX, PARTIES, World, eventually, ports_of_a_bridge, run


def core(node, family):
    """What must hold however the programs are attached."""
    guest, outside = node.guest, node.world.outside
    assert TcpPair(guest, outside, family, to=PARTIES["destination"][family], port=443).both()
    into = UdpPair(outside, guest, family, to=guest.addresses[family], source_address=PARTIES["grantee"][family])
    assert into.both()
    with Counted(node.agent, "destination"):
        assert UdpPair(guest, outside, family, to=PARTIES["stranger"][family]).silent()
    with Counted(node.agent, "nobody", "ingress"):
        assert UdpPair(outside, guest, family, to=guest.addresses[family],
                       source_address=PARTIES["stranger"][family]).silent()
    return into


class Clsact:
    def __init__(self, world, *before):
        self.world = world
        self.guest = world.add_guest("web")
        for line in before:
            world.node.run(*line.format(guest=self.guest.interface).split())
        self.agent = Agent(world, "--attach", "clsact")
        self.agent.grant()
        self.agent.workload(self.guest)
        self.agent.start()


def test_without_tcx_and_with_the_rights_of_the_daemonset(world):
    """Without CAP_SYS_ADMIN nobody opens a program by its number: a filter is known by what the kernel says of it."""
    guest = world.add_guest("web")
    agent = Agent(world, "--attach", "clsact", listen="127.0.0.1:9786")
    agent.under = ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+bpf,+net_admin,+perfmon", "--no-new-privs"]
    agent.grant(hard={f"keystone.io/{direction}-bandwidth": "50M" for direction in ("egress", "ingress")})
    agent.workload(guest)
    agent.start()

    def is_ready():
        return world.node.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:9786/readyz") == "200"

    def endpoint():
        return agent.json("endpoints")["endpoints"][0]["endpoint_id"]
    eventually(is_ready, 5, what=agent.said)
    into = UdpPair(world.outside, guest, 4, to=guest.addresses[4], source_address=PARTIES["grantee"][4])
    assert into.both()
    before = endpoint()
    agent.restart()
    assert into.backward() and endpoint() == before, "its flows live on"
    assert UdpPair(guest, world.outside, 4, to=PARTIES["stranger"][4]).silent()
    agent.kill()
    done = agent.uninstall()
    assert done.returncode == 0, done.stderr
    for side in ("ingress", "egress"):
        assert "guest" not in run("tc", "-n", world.node.name, "filter", "show", "dev", guest.interface, side)
    assert UdpPair(guest, world.outside, 4, to=PARTIES["stranger"][4]).both(), "the control"


@pytest.mark.parametrize("before", [(), ("tc qdisc add dev {guest} ingress",), ("tc qdisc add dev {guest} clsact",)],
                         ids=["plain", "ingress qdisc", "clsact qdisc"])
def test_without_tcx(world, before):
    """Class 55: an ingress qdisc would take the egress filter into its own chain without a word."""
    node = Clsact(world, *before)
    core(node, 6)
    into = core(node, 4)
    assert "clsact" in run("tc", "-n", world.node.name, "qdisc", "show", "dev", node.guest.interface)
    node.agent.kill()
    assert into.both()
    assert UdpPair(node.guest, world.outside, 4, to=PARTIES["stranger"][4]).silent()
    node.agent.start()
    assert into.both()
    node.agent.in_force(lambda: node.agent.grant(revoked=True))
    assert into.silent()
    refused = node.agent.uninstall()
    assert refused.returncode == 1 and "another" in refused.stderr, "not under a running agent"
    node.agent.kill()
    mistaken = node.agent.uninstall(pin_root=world.pin_root + "-mistaken")
    assert mistaken.returncode == 1 and "another pin root" in mistaken.stderr, mistaken.stderr
    assert not os.path.exists(world.pin_root + "-mistaken")
    assert UdpPair(node.guest, world.outside, 4, to=PARTIES["stranger"][4]).silent()
    assert node.agent.uninstall().returncode == 0
    assert UdpPair(node.guest, world.outside, 4, to=PARTIES["stranger"][4]).both()


@pytest.mark.skipif(not HAS_TCX, reason="no tcx before Linux 6.6")
def test_a_filter_of_somebody_else_opens_nothing(node):
    """Class 33: tc filters come after our tcx link, whatever they accept."""
    for side in ("ingress", "egress"):
        foreign_filter(node.world, node.guest.interface, side, 0)  # TC_ACT_OK
    core(node, 4)


def test_with_clsact_a_filter_before_ours_is_passed_by_at_once(world):
    """Class 33: at the first priority the newest goes first. The kernel tells of it, so this does not wait for the next look."""
    node = Node(world, "--attach", "clsact")
    agent, guest = node.agent, node.guest
    ways = [UdpPair(guest, world.outside, 4, to=PARTIES["stranger"][4]),
            UdpPair(world.outside, guest, 4, to=guest.addresses[4], source_address=PARTIES["stranger"][4])]
    assert not any(way.forward(0.3) for way in ways)
    agent.process.send_signal(signal.SIGSTOP)
    for side in ("ingress", "egress"):
        foreign_filter(world, guest.interface, side, 0)  # TC_ACT_OK
    assert not ways[0].forward(0.3), "the gate drops what ours has not marked"
    assert ways[1].forward(1.0), "it is in front"
    agent.process.send_signal(signal.SIGCONT)
    eventually(lambda: not any(way.forward(0.3) for way in ways), 5, what=lambda: f"ours in front: {agent.said()}")
    assert UdpPair(guest, world.outside, 4, to=PARTIES["grantee"][4]).both()


def test_a_guest_that_cannot_be_attached_is_closed_by_its_link(world):
    """A filter of another protocol at our priority keeps ours out; no error leaves a guest open."""
    node = type("Node", (), {"world": world, "guest": world.add_guest("web")})
    foreign_filter(node.world, node.guest.interface, "ingress", 0, "protocol", "ip")
    node.agent = Agent(world, "--attach", "clsact")
    node.agent.grant()
    node.agent.workload(node.guest)
    node.agent.start()
    assert "is set down" in node.agent.said(), node.agent.said()
    pair = UdpPair(node.guest, world.outside, 4, to=PARTIES["stranger"][4])
    assert pair.silent()
    world.node.run("tc", "filter", "del", "dev", node.guest.interface, "ingress")
    eventually(lambda: "state UP" in run("ip", "-n", world.node.name, "link", "show", node.guest.interface), 10,
               what="the link up again")
    assert pair.silent()
    world.node.ip(f"route replace {node.guest.addresses[4]}/32 dev {node.guest.interface}")
    assert eventually(UdpPair(node.guest, world.outside, 4, to=PARTIES["grantee"][4]).both)


def test_an_interface_that_was_down_when_it_could_not_be_attached_is_set_down_again(world):
    """Whoever sets it up, the kernel tells the agent; its next try would come up to 30 s later."""
    guest = world.add_guest("web")
    foreign_filter(world, guest.interface, "ingress", 0, "protocol", "ip")
    world.node.ip(f"link set {guest.interface} down")
    agent = Agent(world, "--attach", "clsact")
    agent.grant()
    agent.workload(guest)
    agent.start()
    assert "is down already" in agent.said() and "is set down until" not in agent.said(), agent.said()

    def tries():
        return agent.said().count("is tried again")
    eventually(lambda: tries() >= 4, 20, every=0.05, what=lambda: f"some tries: {agent.said()}")  # the next one is 8 s away
    world.node.ip(f"link set {guest.interface} up")
    eventually(lambda: "set down by grantd" in world.node.run("ip", "link", "show", guest.interface), 4,
               what=lambda: f"the interface set down: {agent.said()}")
    assert "state DOWN" in world.node.run("ip", "link", "show", guest.interface)
    world.node.run("tc", "filter", "del", "dev", guest.interface, "ingress")
    eventually(lambda: "state UP" in world.node.run("ip", "link", "show", guest.interface), 30, what="the link up again")
    assert UdpPair(guest, world.outside, 4, to=PARTIES["stranger"][4]).silent()


def test_drift_is_mended_also_while_one_guest_cannot_be_attached(world):
    """Since the agent started; the others have lost nothing by it."""
    guest, other = world.add_guest("web"), world.add_guest("other")
    foreign_filter(world, other.interface, "ingress", 0, "protocol", "ip")
    agent = Agent(world, "--attach", "clsact")
    agent.grant()
    for each in (guest, other):
        agent.workload(each)
    agent.start()
    assert "is set down" in agent.said()
    pair = UdpPair(guest, world.outside, 4, to=PARTIES["grantee"][4])
    eventually(pair.both, what="what the Grant allows")
    index = world.node.interface_index(guest.interface)
    names, record = (os.path.join(world.pin_root, "maps", name) for name in ("grantd_idname_v1", "grantd_endpoint_v1"))
    os.unlink(names)
    run("bpftool", "map", "delete", "pinned", record, "key", *[str(byte) for byte in index.to_bytes(4, sys.byteorder)])
    assert pair.silent()
    agent.process.send_signal(signal.SIGHUP)
    eventually(pair.both, 5, what=lambda: f"the record again: {agent.said()}")
    assert os.path.exists(names)
    assert "state DOWN" in run("ip", "-n", world.node.name, "link", "show", other.interface)


@pytest.mark.parametrize("after", ["another agent", "uninstall"])
def test_an_interface_that_was_set_down_is_set_up_by_whoever_comes_after(world, after):
    """The agent that closed it is killed. What its administrator has set down stays so."""
    guest, other = world.add_guest("web"), world.add_guest("other")
    world.node.ip(f"link set {guest.interface} alias veth-of-web", f"link set {other.interface} down")
    agent = Agent(world, "--attach", "clsact")
    agent.grant()
    for each in (guest, other):
        foreign_filter(world, each.interface, "ingress", 0, "protocol", "ip")
        agent.workload(each)
    agent.start()

    def link(of):
        return world.node.run("ip", "link", "show", of.interface)
    assert "state DOWN" in link(guest) and "set down by grantd" in link(guest), link(guest)
    assert "state DOWN" in link(other) and "set down by grantd" not in link(other), link(other)
    agent.kill()
    for each in (guest, other):
        world.node.run("tc", "filter", "del", "dev", each.interface, "ingress")
    assert "state DOWN" in link(guest)
    if after == "uninstall":
        done = agent.uninstall()
        assert done.returncode == 0, done.stderr
    else:
        agent.start()
    eventually(lambda: "state UP" in link(guest), 10, what="the link up again")
    eventually(lambda: "alias veth-of-web" in link(guest), what="its own alias")
    assert "state DOWN" in link(other), link(other)
    if after != "uninstall":
        world.node.ip(f"route replace {guest.addresses[4]}/32 dev {guest.interface}")
        assert eventually(UdpPair(guest, world.outside, 4, to=PARTIES["grantee"][4]).both)
        assert UdpPair(guest, world.outside, 4, to=PARTIES["stranger"][4]).silent()


@WITH_TCX_LINKS
@pytest.mark.parametrize("restart", [False, True], ids=["SIGHUP", "restart"])
def test_somebody_elses_tcx_program_before_ours_cuts_no_connection(node, restart):
    """Flows that the other side has begun, on which the guest speaks."""
    there = PARTIES["grantor"][4]
    into = TcpPair(node.world.outside, node.guest, 4, to=node.guest.addresses[4], source_address=there)
    datagrams = UdpPair(node.world.outside, node.guest, 4, to=node.guest.addresses[4], source_address=there)
    assert into.both() and datagrams.both()
    before = node.agent.json("endpoints")["endpoints"][0]["endpoint_id"]
    with Watched(node, allowed=[there]), foreign_tcx(node, leaves_all_to_the_next_one()):
        assert node.agent.ctl("verify").returncode != 0, "it is not before ours, this test shows nothing"
        if restart:
            node.agent.restart()
        else:
            node.agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: node.agent.ctl("verify").returncode == 0, 5, what=lambda: f"ours at the front: {node.agent.said()}")
        assert datagrams.backward() and into.backward(5)
        assert node.agent.json("endpoints")["endpoints"][0]["endpoint_id"] == before


def test_our_allow_goes_on_to_the_next_program(node):
    """Allow means the next one, never accept past the others: a filter that drops still drops."""
    pair = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["grantee"][4])
    assert pair.both()
    foreign_filter(node.world, node.guest.interface, "ingress", 2)  # TC_ACT_SHOT
    assert not any(pair.forward(0.2) for _ in range(3))
    assert pair.backward(), "the other side is not concerned"


def test_a_bridge_as_the_guests_gateway():
    """Guests as ports of a bridge: still each behind its own programs. One of another Grant is not even found."""
    with World() as world:
        first, second, sibling = world.add_guest("one"), world.add_guest("two"), world.add_guest("three")
        ports_of_a_bridge(world, first, second, sibling)
        agent = Agent(world)
        agent.grant()
        agent.grant("h", [], granteeRealm="carol")
        agent.workload(first)
        agent.workload(second, "h")
        agent.workload(sibling)
        agent.start()
        assert UdpPair(first, world.outside, 4, to=PARTIES["grantee"][4]).both()
        assert UdpPair(first, sibling, 4, to=sibling.addresses[4]).both()
        assert UdpPair(first, second, 4, to=second.addresses[4]).silent()
        found = {guest.name: "lladdr" in first.namespace.run("ip", "neigh", "show", guest.addresses[4]) for guest in (second, sibling)}
        assert found == {second.name: False, sibling.name: True}
        first.namespace.ip(f"neigh replace {second.addresses[4]} lladdr {second.mac} dev eth0")
        with Counted(agent, "destination"):
            assert UdpPair(first, second, 4, to=second.addresses[4]).silent()
        assert UdpPair(first, world.outside, 4, to=PARTIES["stranger"][4]).silent()


def test_the_node_finds_a_guest_behind_a_bridge_that_has_not_spoken():
    """It asks by the bridge's global address, which the guest answers; what the guest's Grant refuses stays refused."""
    with World() as world:
        guest, closed = world.add_guest("one"), world.add_guest("two")
        ports_of_a_bridge(world, guest, closed)
        world.node.ip("addr add fd00:20::1/64 dev br0 nodad",
                      *[f"route del {each.addresses[6]}/128 dev {each.interface}" for each in (guest, closed)])
        for each in (guest, closed):
            each.namespace.ip("route add fd00:20::/64 dev eth0")
        agent = Agent(world)
        agent.grant()
        agent.grant("h", networkPolicy={"egressAllowed": False, "ingress": {"from": ["Grantee"]}})
        agent.workload(guest)
        agent.workload(closed, "h")
        agent.start()
        assert not any(each.addresses[6] in world.node.run("ip", "neigh", "show", "dev", "br0") for each in (guest, closed))
        assert Ping(world.node, 6, guest.addresses[6]).answered(3)
        assert not agent.drops("destination")
        with Counted(agent, "not_a_party", "ingress", "keystone-system/h"):
            assert Ping(world.node, 6, closed.addresses[6]).silent()


CONNECT = """
import socket, sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
made = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET)
made.settimeout(1)
try:
    made.connect((sys.argv[2], int(sys.argv[3])))
    print("connected")
except OSError as error:
    print(error.errno if error.errno else type(error).__name__)
"""


def connect_from(world, namespace, cgroup, address, port):
    with namespace.entered():
        return subprocess.run([sys.executable, "-c", CONNECT, cgroup, address, str(port)], capture_output=True, text=True,
                              check=True).stdout.strip()


@pytest.mark.parametrize("family", [4, 6])
def test_a_refused_connection_fails_at_once_where_the_cgroup_is_known(node, family):
    cgroup = node.world.cgroup("web")
    relative = os.path.relpath(cgroup, os.path.dirname(cgroup))
    destination, stranger = PARTIES["destination"][family], PARTIES["stranger"][family]
    server = node.world.outside.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_STREAM)
    server.bind((destination, 443))
    server.listen()
    assert connect_from(node.world, node.guest.namespace, cgroup, stranger, 443) in ("TimeoutError", "110")
    node.agent.workload(node.guest, cgroup=relative)
    eventually(lambda: connect_from(node.world, node.guest.namespace, cgroup, stranger, 443) == "1", 5, every=0.1,
               what="EPERM")
    assert connect_from(node.world, node.guest.namespace, cgroup, destination, 443) == "connected"
    assert connect_from(node.world, node.guest.namespace, cgroup, "::1" if family == 6 else "127.0.0.1", 1) == "111"


def test_a_guest_on_the_host_network_is_held_back_and_reported(node):
    """Class 7: never called safe."""
    cgroup = node.world.cgroup("host")
    node.agent.host_workload(cgroup)
    destination, stranger = PARTIES["destination"][4], PARTIES["stranger"][4]
    for address in (destination, stranger):
        server = node.world.outside.socket(socket.AF_INET, socket.SOCK_STREAM)
        server.bind((address, 443))
        server.listen()
    eventually(lambda: len(node.agent.json("endpoints")["endpoints"]) == 2, what="the second guest")
    assert connect_from(node.world, node.world.node, cgroup, stranger, 443) == "1"
    assert connect_from(node.world, node.world.node, cgroup, destination, 443) == "connected"
    assert node.agent.json("status")["guests"]["not_enforced"] == 1
    assert "not enforced" in node.agent.said()


def test_ping_of_both_families_through_everything(node):
    for family in (4, 6):
        assert Ping(node.guest, family, PARTIES["destination"][family]).both()
