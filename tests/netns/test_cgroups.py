"""The hooks on a guest's cgroup, address by address (class 7): what scripts/mutate changes in bpf/cgroup.h is noticed here."""

import errno
import json
import os
import subprocess
import sys
import time

import pytest
from agent import OPEN, Counted
from test_revocation import utc
from test_traffic import reaches_the_node
from traffic import FAMILY, SILENCE, mark_bytes, next_port, receives
from world import CGROUPS, NODE, PARTIES, eventually, run

DEPTH = 12  # GRANTD_CGROUP_DEPTH
FAR = "2001:db8:fee1:1:2:3:4:5"  # whose four words all count
RESIDENT = """
import json, os, socket, sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
held = {}
def connect(address, port, kind=socket.SOCK_STREAM):
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    made.settimeout(2)
    made.connect((address, port))
def bind(name, address, port):
    made = held[name] = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(1)
    made.bind((address, port))
def with_options(name, options):
    held[name].setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes.fromhex(options))
def send(name, address, port, text):
    held[name].sendto(text.encode(), (address, port))
def receive(name, seconds):
    held[name].settimeout(seconds)
    return held[name].recv(65536).decode()
for line in sys.stdin:
    what, *arguments = json.loads(line)
    try:
        said = globals()[what](*arguments)
    except OSError as error:
        said = error.errno or type(error).__name__
    print(json.dumps(said), flush=True)
"""


class Resident:
    """A process of a cgroup, in a network namespace: None is success, a number what the kernel says instead."""

    def __init__(self, world, namespace, cgroup):
        self.process = world.spawn(namespace, sys.executable, "-c", RESIDENT, cgroup, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, what, *arguments):
        self.process.stdin.write(json.dumps([what, *arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def is_refused(self, address, port=443):
        return self("connect", address, port) == errno.EPERM


def nested(world, name, depth):
    """A cgroup so many levels below the root."""
    path = top = world.cgroup(name)
    for level in range(2, depth + 1):
        path = os.path.join(path, f"level-{level}")
        os.mkdir(path)
        world.cgroups.append(path)
    assert os.path.dirname(top) == CGROUPS
    return path


def lives_in(node, cgroup):
    node.agent.workload(node.guest, cgroup=os.path.relpath(cgroup, CGROUPS))


def host_guest(node, depth=2, **more):
    """The cgroup of a guest of the host network, so many levels below the root."""
    cgroup = nested(node.world, "host", depth)
    node.agent.host_workload(cgroup, **more)
    eventually(lambda: node.agent.json("status")["guests"]["not_enforced"] == 1, what="the guest of the host network")
    return cgroup


def listens_at(node, address, port):
    server = node.world.outside.socket(FAMILY[6 if ":" in address else 4], 1)
    server.bind((address, port))
    server.listen()


def records_of_cgroups(node):
    """The map, and the keys in it. Programs come before their records: until then a guest's cgroup is closed."""
    pinned = f"{node.world.pin_root}/maps/grantd_hostguest_v1"
    return pinned, [each["key"] for each in json.loads(run("bpftool", "-j", "map", "dump", "pinned", pinned))]


def refused(node, reason):
    """What `grantctl drops` says of one reason, on the way out."""
    [row] = [each for each in node.agent.json("drops")["drops"] if each["reason"] == reason and each["direction"] == "egress"]
    return row


def forget_cgroups(node):
    """No record says any more whose they are."""
    pinned, keys = records_of_cgroups(node)
    for key in keys:
        run("bpftool", "map", "delete", "pinned", pinned, "key", *key)
    return len(keys)


@pytest.mark.parametrize("depth", [1, DEPTH])
def test_what_a_connect_may_reach(node, depth):
    guest, agent = node.guest, node.agent
    node.world.outside.ip(f"addr add {FAR}/128 dev lo nodad")
    agent.in_force(lambda: agent.grant(destinations=[*OPEN, f"[{FAR}]:443/TCP", f"[{FAR}]:443/UDP"]))
    inner = nested(node.world, "web", depth)
    lives_in(node, inner)
    web = Resident(node.world, guest.namespace, inner)
    stranger, destination = PARTIES["stranger"], PARTIES["destination"]
    eventually(lambda: web.is_refused(stranger[4]) and web.is_refused(stranger[6]), what="EPERM")
    for address in (destination[4], destination[6], FAR):
        assert web("connect", address, 443) == errno.ECONNREFUSED, f"{address} has no listener"
        listens_at(node, address, 443)
        assert web("connect", address, 443) is None, address
    assert web("connect", f"::ffff:{destination[4]}", 443) is None
    for address in ("127.0.0.1", "127.200.3.4", "0.0.0.0", guest.addresses[4], "::1", "::", guest.addresses[6], "::ffff:127.0.0.1"):
        assert web("connect", address, 1) == errno.ECONNREFUSED, f"{address} is inside"
    before = agent.drops("destination")
    assert web.is_refused(stranger[4])
    assert agent.drops("destination") == before + 1, "a connect is one packet"
    for address in ("8.127.0.1", "8.8.127.1", "8.8.8.127", "128.0.0.1", "126.0.0.1", "8.0.0.0", "::2", "::3", "::1:0:0:1", "::1:0:0:0:1",
                    "0:0:1::1", "0:1::1", "1::1", "::1:1", "8000::1", f"::ffff:{stranger[4]}", "::ffff:8.0.0.1", f"::{destination[4]}"):
        assert web.is_refused(address), address
    for word in range(4):
        parts = FAR.split(":")
        parts[2 * word + 1] = "77"
        assert web.is_refused(":".join(parts)), f"{FAR} in another word"
    for address in (destination[4], destination[6], FAR):
        assert web.is_refused(address, 444) and web.is_refused(address, 0xbb01), "443 the other way round, and the next one"
    assert web("connect", stranger[4], 443, 2) is None, "a datagram's connect sends nothing"
    agent.in_force(lambda: agent.grant(validity={"validUntil": "2020-01-01T00:00:00Z"}))
    with Counted(agent, "expired", packets=1):
        assert web.is_refused(destination[4])
    for address in ("127.0.0.1", guest.addresses[4], guest.addresses[6]):
        assert web("connect", address, 1) == errno.ECONNREFUSED, f"{address} is inside, whatever the Grant says"
    agent.in_force(agent.grant)
    assert web("connect", destination[4], 443) is None
    agent.kill()
    assert forget_cgroups(node) == 1
    assert web.is_refused(destination[4]) and web.is_refused(destination[6]), "whose cgroup this is nobody knows"
    assert refused(node, "no_endpoint")["last_seen"], "and when is told"
    assert web("connect", "127.0.0.1", 1) == errno.ECONNREFUSED


def test_a_cgroup_inside_another_is_under_its_own_grant(node):
    """Both see the connect: the deepest that has a record says whose it is."""
    agent, inner = node.agent, nested(node.world, "web", 3)
    outer = os.path.dirname(os.path.dirname(inner))
    agent.grant("other", destinations=[])
    lives_in(node, outer)
    agent.host_workload(inner, "other")
    eventually(lambda: len(records_of_cgroups(node)[1]) == 2, what="whose each of the two is")
    destination = PARTIES["destination"][4]
    listens_at(node, destination, 443)
    here, there = (Resident(node.world, node.world.node, each) for each in (outer, inner))
    eventually(lambda: there.is_refused(destination), what="EPERM")
    eventually(lambda: here("connect", destination, 443) is None, what="its own Grant")
    assert there.is_refused(destination)
    assert Resident(node.world, node.world.node, os.path.dirname(inner))("connect", destination, 443) is None


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("depth", [1, DEPTH])
def test_what_a_guest_of_the_host_network_says_and_hears(node, family, depth):
    """Class 7: held back, and never called safe."""
    agent, outside, cgroup = node.agent, node.world.outside, host_guest(node, depth)
    own = NODE[family]
    host, port = Resident(node.world, node.world.node, cgroup), next_port()
    assert host("bind", "a", own, port) is None

    def sends_to(party, to_port):
        receiver = outside.socket(FAMILY[family], 2)
        receiver.bind((PARTIES[party][family], to_port))
        payload = mark_bytes()
        said = host("send", "a", PARTIES[party][family], to_port, payload.decode())
        return receives(receiver, payload, 1.0 if said is None else SILENCE) is not None, said, receiver

    def hears(party):
        sender = outside.socket(FAMILY[family], 2)
        sender.bind((PARTIES[party][family], 0))
        payload = mark_bytes()
        sender.sendto(payload, (own, port))
        return host("receive", "a", 1 if party.startswith("grant") else SILENCE) == payload.decode()

    arrived, _, receiver = sends_to("destination", 5000)
    assert arrived, "what the Grant names is reached"
    payload = mark_bytes()
    receiver.sendto(payload, (own, port))
    assert host("receive", "a", 1) == payload.decode(), "and answers"
    with Counted(agent, "destination", packets=1):
        assert sends_to("stranger", 5000)[:2] == (False, errno.EPERM)
    assert sends_to("destination", 6000)[:2] == (False, errno.EPERM), "another port"
    if family == 4:
        assert host("with_options", "a", "01010101") is None
        assert sends_to("destination", 5002)[:2] == (False, errno.EPERM), "with options"
        row = refused(node, "ipv4_options")
        assert row["packets"] == 1 and row["bytes"] > 20 + 4 + 8, "what is not read on weighs what it weighs"
        assert host("with_options", "a", "") is None
    assert hears("grantee") and hears("grantor")
    with Counted(agent, "not_a_party", "ingress", packets=1):
        assert not hears("carol")
    with Counted(agent, "nobody", "ingress", packets=1):
        assert not hears("stranger")
    payload = mark_bytes()
    node.world.node.socket(FAMILY[family], 2).sendto(payload, (own, port))
    assert host("receive", "a", 1) == payload.decode(), "the node itself reaches it"
    agent.kill()
    assert forget_cgroups(node) == 1
    assert sends_to("destination", 5001)[:2] == (False, errno.EPERM) and not hears("grantee"), "whose cgroup this is nobody knows"


def test_a_flow_of_the_host_network_ends_with_its_grant(node):
    agent, cgroup = node.agent, host_guest(node)
    end = time.time() + 4
    agent.in_force(lambda: agent.grant(validity={"validUntil": utc(end - time.time())}))
    host, receiver = Resident(node.world, node.world.node, cgroup), node.world.outside.socket(FAMILY[4], 2)
    receiver.bind((PARTIES["destination"][4], 5003))
    assert host("bind", "a", NODE[4], next_port()) is None

    def sends():
        payload = mark_bytes()
        said = host("send", "a", PARTIES["destination"][4], 5003, payload.decode())
        return receives(receiver, payload, 0.5) is not None, said
    assert sends() == (True, None) and sends() == (True, None), "it begins, and goes on"
    agent.kill()
    assert sends() == (True, None), "with nobody to close it"
    time.sleep(max(0, end - time.time()) + 0.05)
    with Counted(agent, "expired", packets=1):
        assert sends() == (False, errno.EPERM)


def test_what_is_told_of_a_connect_that_is_refused(node):
    inner, stranger = nested(node.world, "web", 2), PARTIES["stranger"]
    lives_in(node, inner)
    web = Resident(node.world, node.guest.namespace, inner)
    eventually(lambda: web.is_refused(stranger[4], 7001), what="EPERM")
    for address in (stranger[4], stranger[6], f"::ffff:{stranger[4]}"):
        time.sleep(0.2)  # each is told
        assert web.is_refused(address, 7002)
    events = [json.loads(line) for line in node.agent.ctl("--output", "json", "monitor", "--seconds", "1").stdout.splitlines()]
    told = [(each["ethertype"], each["protocol"], each["destination"]) for each in events
            if (each["destination"] or "").endswith(":7002")]
    assert told == [(0x0800, "TCP", f"{stranger[4]}:7002"), (0x86dd, "TCP", f"[{stranger[6]}]:7002"), (0x0800, "TCP", f"{stranger[4]}:7002")]


def test_no_address_of_a_guest_of_the_host_network_opens_the_node_to_its_siblings(node):
    agent, world, own = node.agent, node.world, NODE[4]
    host_guest(node, addresses=[own])
    assert "has no effect on the host network" in agent.said()
    with Counted(agent, "protected_destination"):
        assert not reaches_the_node(node.guest, world.node, own)
    agent.in_force(lambda: agent.grant(destinations=[f"{own}:9000/UDP"]))
    assert reaches_the_node(node.guest, world.node, own), "the control: named alone"
