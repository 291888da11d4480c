"""The call number N of the agent fails, for N = 1, 2, 3, ...: bpf(), what it asks of netlink, what netlink answers, files,
memory (class 3). At its first start, at changes of manifests, and when a guest's interface comes. Then it goes on, or says why
and ends; nobody who was closed is open at any moment; and once nothing fails any more, all is as the manifests say.

Some turns of each kind, spread over all: GRANTD_FAULT_POINTS of them, where a million is every single one."""

import os

import pytest
from agent import OPEN
from failing import Faults, build
from traffic import Flood, Numbered, UdpPair
from world import PARTIES, eventually

# Turns of each kind: at each change, and at each start. Those of netlink were the ones that stopped the agent for ever.
POINTS = {"bpf": (3, 2), "netlink": (16, 2), "answer": (8, 2), "file": (4, 2), "memory": (3, 2)}
ASKED = os.environ.get("GRANTD_FAULT_POINTS")
STRANGER, DESTINATION, HOME = (PARTIES[party][4] for party in ("stranger", "destination", "grantee"))
WIDER = [*OPEN, "198.51.100.128/25:6000/UDP"]
LIMIT = {"hard": {"keystone.io/egress-bandwidth": "500M"}}  # so that there are queues too
AT_ONCE = 0.05


def spread(count, points):
    """Turns from 1 to count that lie over all of them."""
    points = int(ASKED) if ASKED else points
    return range(1, count + 1) if count <= points else sorted({1 + (count - 1) * at // (points - 1) for at in range(points)})


@pytest.fixture(scope="module", name="library")
def shared_library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("failing"))


@pytest.fixture(name="faults")
def faults_of(node, library, tmp_path):
    """The node's agent runs with the library; its second guest has a Grant without destinations."""
    node.agent.kill()
    made = Faults(library, tmp_path / "page")
    node.agent.environment = made.environment
    node.agent.grant(**LIMIT)
    node.other = node.world.add_guest("other")
    node.agent.grant("h", [], **LIMIT)
    node.agent.workload(node.other, "h")
    node.granted = UdpPair(node.guest, node.world.outside, 4, to=HOME)
    return made


def passes(pair):
    return pair.forward(AT_ONCE) and pair.backward(AT_ONCE)


def flows(flood, wanted):
    """Whether what is sent from now on arrives."""
    flood.arrived()
    flood.send_more()
    arrived = flood.arrived()
    return arrived > 5 if wanted else arrived == 0


def carries_on_or_says_why(agent, faults):
    """Whether the agent had ended, in which case it runs again."""
    if agent.process.poll() is None:
        return False
    last = agent.said().splitlines()[-1]
    assert agent.process.returncode == 1 and (" error " in last or "out of memory" in last), \
        f"it ended with {agent.process.returncode}: {agent.said()[-3000:]}"
    faults.disarm()
    agent.start()
    return True


def come_back(node):
    """The route goes with a link that is set down, which is how a guest is closed that cannot be attached."""
    node.world.node.run("ip", "route", "replace", f"{node.other.addresses[4]}/32", "dev", node.other.interface, check=False)


class Changes:
    """What is done again and again; each tells how it is known to be in force."""

    def __init__(self, node, toggled, newcomer):
        self.node, self.toggled, self.newcomer = node, toggled, newcomer
        self.pair = UdpPair(node.other, node.world.outside, 4, to=HOME)

    def narrow(self):
        self.node.agent.grant(destinations=OPEN, **LIMIT)
        return lambda: flows(self.toggled, False)

    def widen(self):
        self.node.agent.grant(destinations=WIDER, **LIMIT)
        return lambda: flows(self.toggled, True)

    def revoke(self):
        self.node.agent.grant(destinations=WIDER, revoked=True, **LIMIT)
        return lambda: flows(self.toggled, False) and not passes(self.node.granted)

    def restore(self):
        self.node.agent.grant(destinations=WIDER, **LIMIT)
        return lambda: flows(self.toggled, True) and passes(self.node.granted)

    def go(self):
        self.node.world.disconnect(self.node.other)
        self.newcomer.anew()
        return lambda: len(self.node.agent.json("endpoints")["endpoints"]) == 1

    def come(self):
        self.node.world.connect(self.node.other, force=True)

        def in_force():
            come_back(self.node)
            return passes(self.pair) and self.newcomer.closed()  # until it is attached, all passes
        return in_force

    ALL = ("narrow", "widen", "revoke", "restore", "go", "come")


def repaired(agent, faults, in_force, at):
    """It goes on, or says why and ends; then what is wanted is in force, with no help but a start."""
    try:
        eventually(lambda: carries_on_or_says_why(agent, faults) or in_force(), 10, what=f"repair after {at}")
        eventually(in_force, 10, what=f"repair after {at}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {agent.said()[-3000:]}") from error
    return faults.disarm()


@pytest.mark.parametrize("kind", POINTS)
def test_calls_that_fail_at_a_change(node, faults, kind):
    world, agent = node.world, node.agent
    agent.grant(destinations=WIDER, **LIMIT)
    with Flood(node.guest, world.outside, STRANGER) as out, \
            Flood(world.outside, node.guest, node.guest.addresses[4], port=7779) as into, \
            Flood(node.guest, world.outside, DESTINATION, port=6000) as toggled, \
            Numbered(node.other, world.outside, STRANGER, port=7778) as newcomer:
        eventually(newcomer.come, what="what a guest without programs sends")
        agent.start()
        changes = Changes(node, toggled, newcomer)
        counts = {}
        for name in Changes.ALL:
            before = faults.calls(kind)
            eventually(getattr(changes, name)(), what=f"{name}, when nothing fails")
            counts[name] = faults.calls(kind) - before
        failed = asked = 0
        turns = {name: spread(counts[name], POINTS[kind][0]) for name in Changes.ALL}
        for place in range(max(len(each) for each in turns.values())):
            for name in Changes.ALL:
                if place >= len(turns[name]):
                    continue
                at = f"call {turns[name][place]} of {counts[name]} at {name}"
                faults.arm(kind, turns[name][place])
                failed += repaired(agent, faults, getattr(changes, name)(), at)
                asked += 1
                assert out.arrived() == 0, f"{at}: what is forbidden left the guest"
                assert into.arrived() == 0, f"{at}: what is forbidden reached the guest"
                if name == "go":
                    assert not newcomer.come(), f"{at}: there is no link"
                else:
                    assert newcomer.opened_again() is None, f"{at}: a guest that was closed was open"
        assert out.sent > 1000 and into.sent > 1000
        # Of some calls the count varies with what a dump carries, so that some turns come after the change is in force.
        assert failed > asked / 4


@pytest.mark.parametrize("kind", POINTS)
def test_calls_that_fail_at_a_start(node, faults, kind):
    """The first one, of a guest that is open so far, and one that adopts what is pinned."""
    world, agent = node.world, node.agent
    with Numbered(node.guest, world.outside, STRANGER) as out, \
            Flood(world.outside, node.guest, node.guest.addresses[4], port=7779) as into, \
            Flood(node.guest, world.outside, DESTINATION, port=6000) as toggled:
        def prepare(first, wide):
            """As it is before a start; the agent does not run."""
            agent.kill()
            if first:
                assert agent.uninstall().returncode == 0
                out.anew()
                eventually(out.come, what="what a guest without programs sends")
            agent.grant(destinations=WIDER if wide else OPEN, **LIMIT)
            agent.grant("h", [], **LIMIT) if wide else agent.remove("grant-h")

        def in_force(wide):
            def now():
                come = len(out.come())
                return (flows(toggled, wide) and flows(into, False) and passes(node.granted) and len(out.come()) == come and
                        ("keystone-system/h" in agent.ctl("grants").stdout) == wide)
            return now

        agent.start()
        failed = asked = 0
        for first in (True, False):
            prepare(first, True)
            before = faults.calls(kind)
            agent.start()
            eventually(in_force(True), what="a start where nothing fails")
            count = faults.calls(kind) - before
            for place, turn in enumerate(spread(count, POINTS[kind][1])):
                at, wide = f"call {turn} of {count} at {'the first' if first else 'a'} start", place % 2 == 1
                prepare(first, wide)
                into.arrived()
                faults.arm(kind, turn)
                agent.launch()
                failed += repaired(agent, faults, in_force(wide), at)
                asked += 1
                assert out.opened_again() is None, f"{at}: a guest that was closed was open"
                assert first or into.arrived() == 0, f"{at}: what is forbidden reached the guest"
        assert out.sent > 1000 and into.sent > 1000
        # Of some calls the count varies with what a dump carries, so that some turns come after the change is in force.
        assert failed > asked / 4
