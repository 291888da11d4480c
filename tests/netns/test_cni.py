"""grantd-cni behind Debian's plugins: a guest is closed when its chain is done, with no agent, and stays so until the
agent has taken over. Each denial has its control: the same flood without the plugin, or what the Grant allows."""

import concurrent.futures
import fcntl
import json
import os
import pathlib
import signal
import time

import pytest
from agent import GRANTD, Agent, pins, without_server
from cni import OURS, Chain, Refused
from traffic import Flood, UdpPair
from world import PARTIES, eventually, run

STRANGER = PARTIES["stranger"][4]
MODES = pytest.mark.parametrize("attach", ["tcx", "clsact"])
CLOSED, NOT_HELD, DIFFERS, NOT_AVAILABLE, TRY_AGAIN, IO, INVALID = 100, 101, 102, 50, 11, 5, 7


class Floods:
    """Both directions at once: what the guest sends to a stranger, and what the stranger sends to it."""

    def __init__(self, world, guest):
        self.both = [Flood(guest.namespace, world.outside, STRANGER),
                     Flood(world.outside, guest.namespace, guest.addresses[4])]

    def __enter__(self):
        for each in self.both:
            each.__enter__()
        return self

    def __exit__(self, *_):
        for each in self.both:
            each.__exit__()
            each.receiver.close()
            each.sender.close()

    def arrived(self):
        return [each.arrived() for each in self.both]

    def let_nothing_through(self, seconds=0.3):
        sent = [each.sent for each in self.both]
        time.sleep(seconds)
        eventually(lambda: all(each.sent - before > 50 for each, before in zip(self.both, sent)), 20, what="floods that run")
        assert self.arrived() == [0, 0]


def records(world):
    directory = pathlib.Path(world.path("records"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*"))]


def links_of(world):
    return sorted(os.path.basename(path) for path in pins(world) if "/links/" in path)


def code(refused):
    return refused.value.error["code"]


def refused(chain, guest, wanted, *said, space="guest-bob", **more):
    """CHECK of a pod fails with that code, and says all of this."""
    with pytest.raises(Refused) as answer:
        chain.ours("CHECK", guest.namespace, space, **more)
    assert code(answer) == wanted
    for each in said:
        assert each in answer.value.error["details"]


def agent_of(world, attach):
    agent = Agent(world, "--attach", attach)
    agent.grant()
    return agent.start()


@pytest.mark.parametrize("first", ["ptp", "bridge"])
def test_without_the_plugin_everything_arrives(world, first):
    """The control of all that follows."""
    with Floods(world, Chain(world, first, ours=False).add("guest")) as floods:
        eventually(lambda: all(floods.arrived()), what="both floods")


@MODES
@pytest.mark.parametrize("first", ["ptp", "bridge"])
def test_a_guest_is_closed_before_it_runs_and_until_the_agent_takes_over(world, first, attach):
    chain = Chain(world, first, attach=attach)
    guest = chain.add("guest")
    pair = UdpPair(guest, world.outside, 4, to=PARTIES["grantee"][4])
    with Floods(world, guest) as floods:
        floods.let_nothing_through()
        assert pair.silent()
        agent = agent_of(world, attach)  # which knows nothing of the guest yet
        floods.let_nothing_through()
        agent.workload(guest)
        eventually(pair.both, what="what the Grant allows")
        floods.let_nothing_through()
        agent.restart()
        assert pair.both()
        floods.let_nothing_through()
        agent.kill()
        floods.let_nothing_through()
        agent.shows_open(*floods.both)


@MODES
def test_an_agent_that_runs_keeps_the_guest_closed_until_it_knows_it(world, attach):
    chain = Chain(world, attach=attach)
    agent = agent_of(world, attach)
    guest = chain.add("guest")
    pair = UdpPair(guest, world.outside, 4, to=PARTIES["grantee"][4])
    with Floods(world, guest) as floods:
        for _ in range(3):
            agent.process.send_signal(signal.SIGHUP)
            floods.let_nothing_through()
        agent.restart()
        floods.let_nothing_through()
        agent.workload(guest)
        eventually(pair.both, what="what the Grant allows")
        floods.let_nothing_through()
        agent.shows_open(*floods.both)


@MODES
def test_an_agent_that_starts_does_not_take_a_guest_for_the_one_before(world, attach):
    """The record of another is still there, whose interface had the same index and whose address the new one has got; the
    agent hears from nobody whose the new one is."""
    guest, agent = world.add_guest("web"), agent_of(world, attach)
    agent.workload(guest)
    allowed = PARTIES["destination"][4]
    eventually(lambda: agent.has_active("web"), what="the one before")
    assert UdpPair(guest, world.outside, 4, to=allowed, port=5500).both()
    index = world.node.interface_index(guest.interface)
    agent.kill()
    world.disconnect(guest)
    guest.namespace.close_sockets()
    world.connect(guest, index)
    Chain(world, attach=attach).ours("ADD", guest.namespace, "guest-mallory", prevResult={
        "cniVersion": "1.0.0", "ips": [{"address": guest.addresses[4] + "/24", "interface": 0}],
        "interfaces": [{"name": "eth0", "mac": guest.mac, "sandbox": f"/run/netns/{guest.namespace.name}"}]})
    with Flood(guest, world.outside, allowed, port=5501) as flood:
        process = world.spawn(world.node, *without_server(world), "--attach", attach)
        eventually(lambda: agent.json("status")["agent"]["running"], what="an agent")
        time.sleep(2)
        assert process.poll() is None and flood.sent > 100 and flood.arrived() == 0
        process.kill()
        process.wait()
        agent.start()  # which knows whose it is
        eventually(flood.arrived, what="what the Grant allows")


def test_arp_is_closed_too(world):
    answered = {}
    for ours in (False, True):
        guest = Chain(world, ours=ours).add(f"guest-{ours}")
        gateway = guest.gateways[4]
        guest.namespace.ip(f"neigh del {gateway} dev eth0")
        guest.namespace.run("ping", "-c", "1", "-W", "1", gateway, check=False)
        answered[ours] = guest.gateway_mac in guest.namespace.run("ip", "neigh", "show", gateway)
    assert answered == {False: True, True: False}


def test_the_hosts_side_is_the_kernels_word_and_no_plugins(world):
    def lie(result):
        for each in result["interfaces"]:
            if not each.get("sandbox"):
                each["name"] = "uplink0"

    guest = Chain(world).add("guest", change=lie)
    assert links_of(world) == [f"from_guest-{guest.number}", f"to_guest-{guest.number}"]
    with Floods(world, guest) as floods:
        floods.let_nothing_through()
        Agent(world).shows_open(*floods.both)


def test_it_tells_the_agent_whose_interface_it_is(world):
    chain = Chain(world, "bridge")
    guest = chain.add("guest")
    assert records(world) == [{
        "version": 1, "containerID": guest.namespace.name, "ifname": "eth0", "network": "net",
        "netns": f"/run/netns/{guest.namespace.name}", "mac": guest.mac,
        "pod": {"namespace": "guest-bob", "name": "web", "uid": f"{guest.namespace.name}-uid"},
        "host": {"interface": guest.interface, "ifindex": guest.number}, "addresses": list(guest.addresses.values())}]
    assert os.stat(world.path("records")).st_mode & 0o777 == os.stat(world.pin_root).st_mode & 0o777 == 0o700


def test_the_result_passes_on_unchanged(world):
    chain = Chain(world)
    before = []
    guest = chain.add("guest", change=lambda result: before.append(json.loads(json.dumps(result))))
    assert [chain.results[guest.namespace]] == before


def test_an_ordinary_pod_is_not_touched(world):
    """Without any privilege the plugin cannot do more than read; a guest's ADD fails there."""
    chain = Chain(world)
    chain.prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
    with pytest.raises(Refused) as refused:
        chain.add("guest")
    assert code(refused) == CLOSED
    ordinary = chain.add("pod", "default")
    assert records(world) == [] and pins(world) == []
    with Floods(world, ordinary) as floods:
        eventually(lambda: all(floods.arrived()), what="both floods")
    chain.ours("CHECK", ordinary.namespace, "default")
    chain.delete(ordinary, "default")


def test_a_recorded_namespace_is_a_guests(world):
    state = pathlib.Path(world.path("state"))
    state.mkdir(mode=0o700)
    recorded = state / "guest-namespaces.json"
    recorded.write_text(json.dumps({"version": 1, "pattern": "visitor-*", "guests": ["labelled"], "ordinary": []}), encoding="utf-8")
    chain = Chain(world)
    for space in ("labelled", "visitor-eve", "guest-bob"):
        with Floods(world, chain.add(space, space)) as floods:
            floods.let_nothing_through(0.1)
    with Floods(world, chain.add("pod", "default")) as floods:
        eventually(lambda: all(floods.arrived()), what="both floods")
    recorded.write_text("{", encoding="utf-8")
    with pytest.raises(Refused) as refused:
        chain.add("other", "default")
    assert code(refused) == TRY_AGAIN and "guest-namespaces.json" in refused.value.error["details"]
    with Floods(world, chain.add("guest")) as floods:
        floods.let_nothing_through(0.1)


def test_unknown_namespaces_do_not_start_where_that_is_set(world):
    chain = Chain(world, refuseUnknown=True)
    with pytest.raises(Refused) as refused:
        chain.add("pod", "default")
    assert code(refused) == TRY_AGAIN
    chain.add("system", "kube-system")
    assert links_of(world) == []
    recorded = pathlib.Path(world.path("state/guest-namespaces.json"))
    agent = agent_of(world, "auto")
    recorded.write_text(json.dumps({"version": 1, "pattern": "guest-*", "guests": [], "ordinary": ["default"]}), encoding="utf-8")
    chain.add("known", "default")
    with pytest.raises(Refused) as refused:
        chain.add("unknown", "other")
    assert code(refused) == TRY_AGAIN
    # The namespace may be another one by now, and a guest's.
    agent.kill()
    with pytest.raises(Refused) as refused:
        chain.add("stale", "default")
    assert code(refused) == TRY_AGAIN and "no agent runs" in refused.value.error["details"]
    agent.start()
    assert json.loads(recorded.read_text(encoding="utf-8"))["ordinary"] == []


def test_without_a_bpf_file_system_a_guest_does_not_start(world):
    chain = Chain(world, pinRoot=world.path("plain"))
    with pytest.raises(Refused) as refused:
        chain.add("guest")
    assert code(refused) == CLOSED and "mount -t bpf" in refused.value.error["details"]
    assert refused.value.error["cniVersion"] == "1.0.0" and "guest-bob/web" in refused.value.error["msg"]
    assert not os.path.exists(world.path("plain")) and records(world) == []
    chain.add("pod", "default")
    chain.version = "1.1.0"
    with pytest.raises(Refused) as refused:
        chain.ours("STATUS")
    assert code(refused) == NOT_AVAILABLE


def test_an_interface_without_a_hosts_side_is_refused(world):
    with pytest.raises(Refused) as refused:
        Chain(world, "macvlan").add("guest")
    assert code(refused) == CLOSED and "macvlan" in refused.value.error["details"]


def test_check_tells_whether_it_is_held(world):
    chain = Chain(world)
    guest = chain.add("guest")
    chain.ours("CHECK", guest.namespace)
    os.unlink(os.path.join(world.pin_root, "links", f"to_guest-{guest.number}"))
    refused(chain, guest, NOT_HELD, "to_guest is not first on interface", "else delete the pod")
    chain.ours("ADD", guest.namespace)  # mends it
    chain.ours("CHECK", guest.namespace)


def test_check_finds_what_is_not_as_the_result_says(world):
    chain = Chain(world)
    guest = chain.add("guest")
    chain.ours("CHECK", guest.namespace)
    guest.namespace.ip(f"addr del {guest.addresses[4]}/24 dev eth0")
    refused(chain, guest, DIFFERS, f"has not the address {guest.addresses[4]}", "delete the pod")
    guest.namespace.ip(f"addr add {guest.addresses[4]}/24 dev eth0")
    chain.ours("CHECK", guest.namespace)
    # More than was told is no difference.
    guest.namespace.ip("addr add 10.20.9.9/32 dev eth0")
    chain.ours("CHECK", guest.namespace)
    told = json.loads(json.dumps(chain.results[guest.namespace]))
    for each in told["interfaces"]:
        each["mac"] = "02:00:00:00:00:99" if each.get("sandbox") else each["mac"]
    refused(chain, guest, DIFFERS, "told was 02:00:00:00:00:99", prevResult=told)
    told["interfaces"] = [each for each in told["interfaces"] if not each.get("sandbox")]
    refused(chain, guest, INVALID, "", prevResult=told)
    chain.ours("CHECK", guest.namespace)
    world.disconnect(guest)
    refused(chain, guest, DIFFERS, "interface eth0 of", "No such device", "delete the pod")


def test_check_finds_what_is_not_as_recorded(world):
    chain = Chain(world)
    guest, other = chain.add("guest"), chain.add("other")
    record = pathlib.Path(world.path(f"records/{guest.namespace.name}:eth0.json"))
    good = record.read_text(encoding="utf-8")
    for name, value, said in [("host", {"interface": "veth-other", "ifindex": guest.number}, "recorded is veth-other"),
                              ("addresses", ["10.20.0.200"], "addresses: recorded is 10.20.0.200"),
                              ("mac", "02:00:00:00:00:99", "MAC: recorded is 02:00:00:00:00:99"),
                              ("pod", {"namespace": "guest-eve", "name": "web", "uid": ""}, "pod: recorded is guest-eve/web")]:
        record.write_text(json.dumps({**json.loads(good), name: value}), encoding="utf-8")
        refused(chain, guest, DIFFERS, said, "delete the pod")
    record.write_text("{", encoding="utf-8")
    refused(chain, guest, IO, record.name, "is damaged", "delete the pod")
    record.unlink()
    refused(chain, guest, DIFFERS, f"none of container {guest.namespace.name}", "delete the pod")
    chain.ours("CHECK", other.namespace)
    record.write_text(good, encoding="utf-8")
    chain.ours("CHECK", guest.namespace)
    # What the agent makes of the interface is not the plugin's to compare.
    agent = agent_of(world, "auto")
    agent.workload(guest)
    eventually(UdpPair(guest, world.outside, 4, to=PARTIES["grantee"][4]).both, what="what the Grant allows")
    chain.ours("CHECK", guest.namespace)


def test_check_says_no_where_it_cannot_tell(world):
    chain = Chain(world)
    ordinary, guest = chain.add("pod", "default"), chain.add("guest")
    state = pathlib.Path(world.path("state"))
    state.mkdir(mode=0o700)
    recorded = state / "guest-namespaces.json"
    chain.ours("CHECK", ordinary.namespace, "default")
    recorded.write_text("{", encoding="utf-8")
    refused(chain, ordinary, TRY_AGAIN, "guest-namespaces.json", space="default")
    chain.ours("CHECK", guest.namespace)  # its name is enough
    recorded.unlink()
    chain.ours("CHECK", ordinary.namespace, "default")


@MODES
def test_uninstall_opens_what_no_agent_has_taken_over(world, attach):
    chain = Chain(world, attach=attach)
    guest = chain.add("guest")
    chain.ours("CHECK", guest.namespace)
    with Floods(world, guest) as floods:
        floods.let_nothing_through(0.1)
        assert Agent(world).uninstall().returncode == 0
        eventually(lambda: all(floods.arrived()), what="both floods")
    with pytest.raises(Refused) as refused:
        chain.ours("CHECK", guest.namespace)
    assert code(refused) == NOT_HELD


def test_it_waits_for_who_changes_the_pins(world):
    """Else a pin that was found to be of a gone interface may be this one's by the time it is removed."""
    chain = Chain(world)
    chain.ours("GC", **{"cniVersion": "1.1.0", "cni.dev/valid-attachments": []})
    chain.add("first")
    links = os.open(os.path.join(world.pin_root, "links"), os.O_RDONLY)
    fcntl.flock(links, fcntl.LOCK_EX)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        guest = pool.submit(chain.add, "second")
        time.sleep(1)
        assert not guest.done() and len(links_of(world)) == 2
        os.close(links)
        guest.result(10)
    assert len(links_of(world)) == 4


def test_del_removes_the_record_and_opens_nothing(world):
    chain = Chain(world)
    guest, other = chain.add("guest"), chain.add("other")
    with Floods(world, guest) as floods:
        for _ in range(2):
            chain.ours("DEL", guest.namespace)
            floods.let_nothing_through(0.1)
        assert [each["containerID"] for each in records(world)] == [other.namespace.name]
        chain.delete(other)
        assert records(world) == []
        chain.delete(other)
        Agent(world).shows_open(*floods.both)


def test_gc_removes_what_is_gone_and_nothing_else(world):
    chain = Chain(world, version="1.1.0")
    chain.version = "1.0.0"  # Debian's plugins know no newer one
    guests = {name: chain.add(name) for name in ("valid", "gone", "left")}
    world.disconnect(guests["gone"])
    world.disconnect(guests["valid"])
    chain.version = "1.1.0"
    chain.ours("GC", **{"cni.dev/valid-attachments": [{"containerID": guests["valid"].namespace.name, "ifname": "eth0"}]})
    assert {each["containerID"] for each in records(world)} == {guests[name].namespace.name for name in ("valid", "left")}
    # Pins of gone interfaces hold nothing; the one that is still there stays closed though nobody calls it valid.
    assert links_of(world) == sorted(f"{hook}-{guests['left'].number}" for hook in ("from_guest", "to_guest"))
    with Floods(world, guests["left"]) as floods:
        floods.let_nothing_through(0.1)
        Agent(world).shows_open(*floods.both)


def test_status_and_version(world):
    chain = Chain(world, version="1.1.0")
    chain.ours("STATUS")
    assert chain.ours("VERSION") == {"cniVersion": "1.1.0", "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]}


def test_it_is_one_file_that_needs_no_other():
    assert "Requesting program interpreter" in run("readelf", "-l", GRANTD)
    assert "Requesting program interpreter" not in run("readelf", "-l", OURS)
