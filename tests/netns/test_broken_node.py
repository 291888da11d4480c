"""What surrounds the agent breaks: a full disk, a BPF file system that nobody may write to, an agent that is suspended, pins
of somebody else at our paths. Nobody is open for it, it is said, and all is well when it is over (class 3)."""

import contextlib
import fcntl
import os
import signal
import time

import pytest
from agent import OPEN
from foreign import foreign_filter
from node import Node
from sniffing import Sniffer, Watched
from test_metrics import get_metric
from test_revocation import utc
from traffic import Flood, Numbered, UdpPair
from world import OUTSIDE, PARTIES, eventually, run

STRANGER, DESTINATION, HOME = (PARTIES[party][4] for party in ("stranger", "destination", "grantee"))
WIDER = [*OPEN, "198.51.100.128/25:6000/UDP"]


def allowed(node, guest=None):
    return UdpPair(guest or node.guest, node.world.outside, 4, to=HOME)


def says(agent, *words, seconds=10):
    eventually(lambda: any(all(word in line for word in words) for line in agent.said().splitlines()), seconds,
               what=lambda: f"a line with {words}: {agent.said()}")


class Newcomer:
    """A guest that is open, both ways, until it is attached or set down: from then on nothing of either flood arrives."""

    def __init__(self, world, guest):
        self.out = Numbered(guest, world.outside, STRANGER, port=7778)
        self.into = Numbered(world.outside, guest, guest.addresses[4], port=7778)
        self.stack = contextlib.ExitStack()
        world.keep_from_going_round(guest)

    def __enter__(self):
        for each in (self.out, self.into):
            self.stack.enter_context(each)
        for each in (self.out, self.into):
            eventually(each.come, what="what a guest without programs sends and gets")
        return self

    def __exit__(self, *failure):
        self.stack.__exit__(*failure)

    def closed(self):
        return self.out.closed() and self.into.closed()

    def closes(self, seconds, what):
        """Waits for it, and judges it from here on."""
        eventually(self.closed, seconds, what=what)
        for each in (self.out, self.into):
            each.anew()

    def stays_closed(self):
        for each in (self.out, self.into):
            each.send_more()
        return not self.out.come() and not self.into.come()


@contextlib.contextmanager
def mounted(*arguments, where):
    run("mount", *arguments, where)
    try:
        yield
    finally:
        run("umount", where)


def test_a_full_disk(node):
    """What is narrowed is in force, and a restart keeps it, though nothing can be written down."""
    agent, state = node.agent, node.world.path("state")
    agent.kill()
    wide = UdpPair(node.guest, node.world.outside, 4, to=DESTINATION, port=6000)
    with mounted("-t", "tmpfs", "-o", "size=256k", "none", where=state):
        agent.grant(destinations=WIDER)
        agent.start()
        eventually(wide.both, what="the wider Grant")
        with open(f"{state}/ballast", "wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(bytes(4096)):
                pass
        with Watched(node):
            agent.in_force(agent.grant)
            says(agent, "not kept", "No space left")
            assert wide.silent() and allowed(node).both()
            agent.restart()
            assert wide.silent() and allowed(node).both()
            run("rm", f"{state}/ballast")
            says(agent, "no longer", "not kept", seconds=40)  # at the latest when it looks for drift


def test_a_file_system_of_pins_that_nobody_may_write_to(node):
    """Who has a policy keeps it; a guest that comes is closed by its link, and attached when it can be."""
    world, agent = node.world, node.agent
    other = world.add_guest("other")
    agent.grant("h", [])
    with Newcomer(world, other) as newcomer, Watched(node, beside=[other]):
        run("mount", "-o", "remount,bind,ro", world.bpffs)
        try:
            agent.workload(other, "h")
            says(agent, "guest other", "Read-only file system")
            says(agent, "is set down")
            newcomer.closes(5, "a guest that is set down")
            time.sleep(0.3)
            assert newcomer.stays_closed() and not allowed(node, other).forward(0.2)
            assert allowed(node).both()
        finally:
            run("mount", "-o", "remount,bind,rw", world.bpffs)
        agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: "state UP" in world.node.run("ip", "link", "show", other.interface), 10, what="the link up again")
        world.node.ip(f"route replace {other.addresses[4]}/32 dev {other.interface}")
        eventually(allowed(node, other).both, what="the guest that came")
        assert newcomer.stays_closed()


@pytest.mark.parametrize("first", ["set down", "attached"])
def test_a_guest_that_can_neither_be_attached_nor_set_down(world, faults, first):
    """Nothing closes it: this is said aloud, and tried every second until either works."""
    node = Node(world, "--attach", "clsact", listen="127.0.0.1:9786", environment=faults.environment)
    agent, other = node.agent, world.add_guest("other")
    foreign_filter(world, other.interface, "ingress", 0, "protocol", "ip")  # keeps ours out

    def counted():
        return get_metric(world, "grantd_open_guests")

    def link():
        return world.node.run("ip", "link", "show", other.interface)
    with Newcomer(world, other) as newcomer, Watched(node, beside=[other]):
        assert counted() == 0
        faults.arm("ioctl", 1, goes_on=True)
        agent.workload(other)
        says(agent, "guest other", "THE GUEST IS OPEN", "cannot set interface")
        # Were it tried less and less often, the next try after these were 16 s away.
        eventually(lambda: agent.said().count("THE GUEST IS OPEN") >= 5, 30, what=lambda: f"five tries: {agent.said()}")
        assert not newcomer.out.closed() and not newcomer.into.closed() and counted() == 1 and "state UP" in link()
        assert get_metric(world, 'grantd_apply_errors_total{operation="attach"}') >= 5
        if first == "attached":
            world.node.run("tc", "filter", "del", "dev", other.interface, "ingress")
            newcomer.closes(6, lambda: f"a guest that is attached: {agent.said()}")
            assert "is set down" not in agent.said() and "state UP" in link()
        assert faults.disarm() >= 5
        if first == "set down":
            newcomer.closes(6, lambda: f"a guest that is set down: {agent.said()}")
            eventually(lambda: "is set down" in agent.said() and "state DOWN" in link(), what=lambda: agent.said())
            world.node.run("tc", "filter", "del", "dev", other.interface, "ingress")
        eventually(lambda: counted() == 0, what="nobody is open")
        pair = allowed(node, other)

        def attached():
            world.node.run("ip", "route", "replace", f"{other.addresses[4]}/32", "dev", other.interface, check=False)
            return agent.has_active("other") and pair.both()
        eventually(attached, 40, what=lambda: f"the guest that came: {agent.said()}")
        assert newcomer.stays_closed()


def test_a_start_where_nobody_may_write_to_the_pins(node):
    agent = node.agent
    agent.kill()
    with Watched(node):
        run("mount", "-o", "remount,bind,ro", node.world.bpffs)
        agent.launch()
        eventually(lambda: agent.process.poll() is not None, 10, what="an agent that cannot pin ends")
        last = agent.said().splitlines()[-1]
        assert "cannot start" in last and "Read-only file system" in last, last
        assert allowed(node).both()
        run("mount", "-o", "remount,bind,rw", node.world.bpffs)
        agent.start()
        assert allowed(node).both()


def test_an_agent_that_is_suspended_across_an_end(node):
    """The kernel's clock ends the Grant; what was said meanwhile is in force when the agent is awake again."""
    agent = node.agent
    agent.in_force(lambda: agent.grant(validity={"validUntil": utc(3)}))
    begin = time.monotonic()
    pair = allowed(node)
    assert pair.both()
    agent.process.send_signal(signal.SIGSTOP)
    with Flood(node.guest, node.world.outside, HOME) as ended, Watched(node):
        time.sleep(max(0.0, begin + 3.2 - time.monotonic()))
        assert ended.arrived() > 0
        assert pair.silent(1)
        left = Sniffer(node.world.outside, [*node.guest.addresses.values(), b"leak"])
        came = Sniffer(node.guest.namespace, [HOME, OUTSIDE[4]])
        agent.grant(destinations=WIDER)
        time.sleep(0.3)
        assert pair.silent(1) and ended.arrived() == left.arrived() == came.arrived() == 0, "nobody is there to say so"
        agent.process.send_signal(signal.SIGCONT)
        eventually(pair.both, what="the Grant that was given anew")
        assert left.arrived() > 0 and came.arrived() > 0, "who watches sees nothing"


def test_a_lock_of_the_pins_that_nobody_lets_go(node):
    """As of a grantd-cni that is stopped. What is narrowed is in force all the same; a new guest is closed and stays so
    until the lock can be had."""
    agent, world = node.agent, node.world
    wide = UdpPair(node.guest, world.outside, 4, to=DESTINATION, port=6000)
    agent.in_force(lambda: agent.grant(destinations=WIDER))
    assert wide.both()
    late = world.add_guest("late")
    pair = allowed(node, late)
    links = os.open(os.path.join(world.pin_root, "links"), os.O_RDONLY)
    fcntl.flock(links, fcntl.LOCK_EX)
    with Newcomer(world, late) as newcomer, Watched(node, beside=[late]):
        agent.workload(late)
        agent.process.send_signal(signal.SIGHUP)
        says(agent, "cannot read the attachments", world.pin_root + "/links", "end that process", seconds=20)
        agent.in_force(agent.grant, seconds=20)
        assert wide.silent() and allowed(node).both()
        says(agent, "guest late", "is set down")
        newcomer.closes(5, "a guest that is set down")
        time.sleep(0.3)
        assert newcomer.stays_closed() and not pair.forward(0.2)
        os.close(links)

        def held():
            world.node.run("ip", "route", "replace", f"{late.addresses[4]}/32", "dev", late.interface, check=False)
            return agent.has_active("late") and pair.both()
        eventually(held, 40, every=0.5, what="the guest that came")
        assert newcomer.stays_closed()


def test_it_leaves_no_guest_by_a_link_that_it_cannot_pin_again(node):
    agent, world, guest, other = node.agent, node.world, node.guest, node.world.add_guest("other")
    allowed_other = allowed(node, other)
    agent.workload(other)
    eventually(lambda: agent.has_active("other") and allowed_other.both(), what="the other guest")
    index = world.node.interface_index(guest.interface)
    links = os.open(os.path.join(world.pin_root, "links"), os.O_RDONLY)
    fcntl.flock(links, fcntl.LOCK_EX)
    with Flood(guest, world.outside, PARTIES["stranger"][4]) as refused:
        os.unlink(os.path.join(world.pin_root, "links", f"from_guest-{index}"))
        agent.process.send_signal(signal.SIGTERM)
        agent.process.wait(30)
        assert "has no pin and ends with this process; the interface is set down" in agent.said()
        assert "state DOWN" in world.node.run("ip", "link", "show", guest.interface)
        assert allowed_other.both(), "the control: it has its pins"
        os.close(links)
        agent.start()
        assert refused.arrived() == 0
    eventually(lambda: "state UP" in world.node.run("ip", "link", "show", guest.interface), 15, what=lambda: f"the link up again {agent.said()[-1800:]}")
    world.node.ip(f"route replace {guest.addresses[4]}/32 dev {guest.interface}")
    eventually(allowed(node).both, what="open again, to what its Grant allows")


def test_no_thread_is_to_be_had(world, faults):
    node = Node(world, listen="127.0.0.1:9786", environment=faults.environment)
    agent, limit = node.agent, {"hard": {"keystone.io/egress-bandwidth": "16M"}}
    faults.arm("thread", 1, goes_on=True)
    assert get_metric(world, "grantd_open_guests") == 0
    agent.in_force(lambda: agent.grant(**limit))
    assert faults.disarm() >= 2 and agent.process.poll() is None
    says(agent, "cannot make a thread")
    assert get_metric(world, "grantd_open_guests") == 0


def foreign_map(path, entries=7):
    run("bpftool", "map", "create", path, "type", "array", "key", "4", "value", "16", "entries", str(entries),
        "name", "foreign")


@pytest.mark.parametrize("pin,needed", [("maps/grantd_grant_v1", True), ("maps/grantd_policy_v1", True),
                                        ("programs/from_guest", False)])
def test_something_else_at_our_path(node, pin, needed):
    """A map that is none of ours is not used: the agent says which and ends. A program's pin is only a name."""
    agent, path = node.agent, f"{node.world.pin_root}/{pin}"
    agent.kill()
    run("mv", path, node.world.path("bpf", "aside"))
    foreign_map(path)
    with Watched(node):
        agent.launch()
        if needed:
            eventually(lambda: agent.process.poll() is not None, 10, what="the end of an agent without its map")
            last = agent.said().splitlines()[-1]
            assert "cannot start" in last and pin.rpartition("/")[2].removesuffix("_v1") in last, agent.said()
            assert allowed(node).both(), "what was attached goes on enforcing"
            run("mv", node.world.path("bpf", "aside"), path)
            agent.start()
        eventually(lambda: agent.ctl("verify").returncode == 0, 10, what=lambda: f"all is well: {agent.said()}")
        assert allowed(node).both()


def test_something_else_where_a_guests_program_is_to_be_pinned(node):
    """It is no link, though a map of so many entries answers as one of that interface: the guest is closed, and attached in its place."""
    world, agent = node.world, node.agent
    other = world.add_guest("other")
    agent.grant("h", [])
    index = world.node.interface_index(other.interface)
    for hook in ("from_guest", "to_guest"):
        foreign_map(f"{world.pin_root}/links/{hook}-{index}", entries=index)
    with Newcomer(world, other) as newcomer, Watched(node, beside=[other]):
        agent.workload(other, "h")
        eventually(lambda: agent.policy("h"), what=lambda: f"the guest's Grant: {agent.said()}")

        def attached():
            world.node.run("ip", "route", "replace", f"{other.addresses[4]}/32", "dev", other.interface, check=False)
            return allowed(node, other).forward(0.2) and newcomer.closed()  # until then, all passes
        eventually(attached, 10, what=lambda: f"the guest that came: {agent.said()}")
        newcomer.closes(1, "a guest that is attached")
        assert newcomer.stays_closed()
        agent.restart()
        assert allowed(node, other).both() and newcomer.stays_closed()
        assert agent.ctl("verify").returncode == 0
