"""The call number N of the agent fails, for N = 1, 2, 3, ...: bpf(), what it asks of netlink, what netlink answers, files,
memory (class 3); or the agent is killed before it. At its first start, at changes of manifests, and when a guest's interface
comes. Then it goes on, or says why and ends; nobody who was closed is open at any moment, as floods and who sniffs beside them
say; and once nothing fails any more, all is as the manifests say.

Some turns of each kind, spread over all. With GRANTD_EACH_OPERATION, at each start and change, the first call of each operation
besides: each command of bpf(), each type of message that is sent by netlink, each function of files. With GRANTD_EVERY_CALL each
call, until there is none for the next one to fail; of memory, which is asked for ten thousand times, more of them. scripts/faults
keeps the counts for docs/assurance.md."""

import contextlib
import itertools
import os
import signal

import pytest
from agent import OPEN
from failing import ANY, tell
from sniffing import Sniffer
from traffic import Flood, Numbered, UdpPair
from world import OUTSIDE, PARTIES, eventually

# Turns of each kind: at each change, and at each start. Those of netlink were the ones that stopped the agent for ever.
POINTS = {"bpf": (3, 2), "netlink": (16, 2), "answer": (8, 2), "file": (4, 2), "memory": (3, 2)}
KILLED = "killed at "
POINTS |= {KILLED + "bpf": (3, 2), KILLED + "netlink": (2, 2), KILLED + "file": (2, 2)}
EVERY, EACH_OPERATION = (os.environ.get(name) == "1" for name in ("GRANTD_EVERY_CALL", "GRANTD_EACH_OPERATION"))
MORE = 60
STRANGER, DESTINATION, HOME = (PARTIES[party][4] for party in ("stranger", "destination", "grantee"))
WIDER = [*OPEN, "198.51.100.128/25:6000/UDP"]
LIMIT = {"hard": {"keystone.io/egress-bandwidth": "500M"}}  # so that there are queues too
AT_ONCE = 0.05


class Scene:
    """How many calls of a kind one change makes where nothing fails, and which operations they are."""

    def __init__(self, faults, kind):
        self.faults, self.kind = faults, kind
        self.calls, self.made = faults.calls(kind), faults.operations(kind)

    def over(self):
        self.calls = self.faults.calls(self.kind) - self.calls
        self.operations = {place: name for place, (name, calls, _) in self.faults.operations(self.kind).items()
                           if place not in self.made or calls > self.made[place][1]}
        return self


class Turns:
    """Which calls of a kind are to fail at one change, and how many of them came: one after another, by `next`, where none is left
    0; each is told by `end` whether it came. Of some kinds there are fewer calls at one time than at another, as what a dump
    carries varies: in place of one that did not come an earlier one fails."""

    def __init__(self, kind, scene, points):
        self.scene, self.each = scene, EVERY and kind != "memory"
        points = MORE if EVERY else points
        operations = [(1, place) for place in scene.operations] if EACH_OPERATION and not self.each else []
        calls = itertools.count(1) if self.each else self.spread(scene.calls, points)
        self.left = itertools.chain(operations, ((turn, ANY) for turn in calls))
        self.turn, self.only, self.earlier, self.asked, self.happened = 0, ANY, 0, 0, 0
        self.over = False

    @staticmethod
    def spread(count, points):
        """Turns from 1 to count that lie over all of them."""
        return range(1, count + 1) if count <= points else sorted({1 + (count - 1) * at // (points - 1) for at in range(points)})

    def next(self):
        self.turn, self.only = (0, ANY) if self.over else (self.earlier, ANY) if self.earlier else next(self.left, (0, ANY))
        self.over = self.turn == 0
        return self.turn

    def text(self):
        return f"call {self.turn} of {self.scene.operations.get(self.only) or self.scene.calls}"

    def end(self, happened):
        if self.each and not happened:  # there are no more
            self.over = True
        elif self.turn and not happened and not self.earlier and self.only == ANY:
            self.earlier = 1 + self.turn // 2
        elif self.turn:
            self.earlier = 0
            self.asked += 1
            self.happened += happened


def judge(way, at, faults, turns):
    """What is asked for is to happen, most of it."""
    asked, happened = sum(each.asked for each in turns), sum(each.happened for each in turns)
    assert happened > asked / 2, f"{way} {at}: only {happened} of {asked} happened"
    operations = faults.operations(how(way)[0])
    made = set().union(*(each.scene.operations for each in turns))
    tell({"way": way, "at": at, "calls": sum(each.scene.calls for each in turns), "asked": asked, "happened": happened,
          "each": all(turn.each for turn in turns), "operations": len(made),
          "operations_failed": sum(operations[place][2] > 0 for place in made)})


@pytest.fixture(name="node")
def node_with_faults(node, faults):
    """Its agent runs with the library; its second guest has a Grant without destinations."""
    node.agent.kill()
    node.agent.environment = faults.environment
    node.agent.grant(**LIMIT)
    node.other = node.world.add_guest("other")
    node.agent.grant("h", [], **LIMIT)
    node.agent.workload(node.other, "h")
    node.granted = UdpPair(node.guest, node.world.outside, 4, to=HOME)
    return node


def passes(pair):
    return pair.forward(AT_ONCE) and pair.backward(AT_ONCE)


def flows(flood, wanted):
    """Whether what is sent from now on arrives."""
    flood.arrived()
    flood.send_more()
    arrived = flood.arrived()
    return arrived > 5 if wanted else arrived == 0


def carries_on_or_says_why(agent, faults, before_start):
    """Whether the agent had ended, in which case it runs again."""
    if agent.process.poll() is None:
        return False
    last = agent.said().splitlines()[-1]
    if agent.process.returncode == -signal.SIGKILL and faults.kills():
        before_start()
    else:
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


def repaired(agent, faults, in_force, at, before_start):
    """It goes on, or says why and ends; then what is wanted is in force, with no help but a start."""
    process = agent.process
    try:
        # Of programs whose types were not loaded the kernel takes half a minute to say that they are too long.
        eventually(lambda: carries_on_or_says_why(agent, faults, before_start) or in_force(), 90, what=f"repair after {at}")
        eventually(in_force, 10, what=f"repair after {at}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {agent.said()[-3000:]}") from error
    if EVERY:  # calls are still made when all is in force
        with contextlib.suppress(AssertionError):
            eventually(faults.failed, 0.5)
    happened = faults.disarm()
    if faults.kills() and agent.process is process:  # after all was in force
        agent.process.wait(10)
        carries_on_or_says_why(agent, faults, before_start)
    return happened


def how(way):
    """The kind of call, and whether the agent is killed before it."""
    return way.removeprefix(KILLED), way.startswith(KILLED)


def sniffers(node):
    """Beside the floods, whatever its port or protocol: a frame of the guest's that leaves the node for nobody of its Grant, and
    one to the guest of who may not send to it."""
    return (Sniffer(node.world.outside, [*node.guest.addresses.values(), b"leak"], sources=[node.other.addresses[4]],
                    destinations=[HOME, DESTINATION]),
            Sniffer(node.guest.namespace, [OUTSIDE[4]], sources=[HOME]))


@pytest.mark.parametrize("way", POINTS)
def test_calls_that_fail_at_a_change(node, faults, way):
    world, agent = node.world, node.agent
    kind, kills = how(way)
    agent.grant(destinations=WIDER, **LIMIT)
    with Flood(node.guest, world.outside, STRANGER) as out, \
            Flood(world.outside, node.guest, node.guest.addresses[4], port=7779) as into, \
            Flood(node.guest, world.outside, DESTINATION, port=6000) as toggled, \
            Numbered(node.other, world.outside, STRANGER, port=7778) as newcomer:
        eventually(newcomer.come, what="what a guest without programs sends")
        agent.start()
        left, came = sniffers(node)
        changes = Changes(node, toggled, newcomer)
        scenes = {}
        for name in Changes.ALL:
            scene = Scene(faults, kind)
            eventually(getattr(changes, name)(), what=f"{name}, when nothing fails")
            scenes[name] = scene.over()
        turns = {name: Turns(kind, scenes[name], POINTS[way][0]) for name in Changes.ALL}
        while not all(each.over for each in turns.values()):
            for name in Changes.ALL:
                turn = turns[name].next()  # 0: none fails, and the change is made all the same
                at = f"{turns[name].text()} at {name}"
                faults.arm(kind, turn, kills=kills, only=turns[name].only)
                # Who comes is open until an agent lives that attaches it.
                turns[name].end(repaired(agent, faults, getattr(changes, name)(), at,
                                         newcomer.anew if name == "come" else lambda: None))
                assert out.arrived() == left.arrived() == 0, f"{at}: what is forbidden left the guest: {left.frame.hex()}"
                assert into.arrived() == came.arrived() == 0, f"{at}: what is forbidden reached the guest: {came.frame.hex()}"
                if name == "go":
                    assert not newcomer.come(), f"{at}: there is no link"
                else:
                    assert newcomer.opened_again() is None, f"{at}: a guest that was closed was open"
        assert out.sent > 1000 and into.sent > 1000
        judge(way, "changes", faults, turns.values())
        agent.shows_open(out, into, left, came)


@pytest.mark.parametrize("way", POINTS)
def test_calls_that_fail_at_a_start(node, faults, way):
    """The first one, of a guest that is open so far, and one that adopts what is pinned."""
    world, agent = node.world, node.agent
    kind, kills = how(way)
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
        left, came = sniffers(node)
        turns = {}
        for first in (True, False):
            prepare(first, True)
            scene = Scene(faults, kind)
            agent.start()
            eventually(in_force(True), what="a start where nothing fails")
            turns[first], wide = Turns(kind, scene.over(), POINTS[way][1]), True
            while turn := turns[first].next():
                at, wide = f"{turns[first].text()} at {'the first' if first else 'a'} start", not wide
                prepare(first, wide)
                for each in (into, left, came):
                    each.arrived()
                faults.arm(kind, turn, kills=kills, only=turns[first].only)
                agent.launch()
                turns[first].end(repaired(agent, faults, in_force(wide), at, out.anew if first else lambda: None))
                assert out.opened_again() is None, f"{at}: a guest that was closed was open"
                assert first or left.arrived() == 0, f"{at}: what is forbidden left the guest: {left.frame.hex()}"
                assert first or into.arrived() == came.arrived() == 0, \
                    f"{at}: what is forbidden reached the guest: {came.frame.hex()}"
        assert out.sent > 1000 and into.sent > 1000
        judge(way, "starts", faults, turns.values())
        agent.shows_open(out, into, left, came)
