"""A guest's interface that was moved through another network namespace comes back with another index, still closed by its
links; nobody may take them away (class 2). Also where a pin's name does not say where its link stands."""

import json
import os
import pathlib
import signal
import time

import pytest
from agent import without_server
from traffic import Flood, UdpPair
from world import GATEWAY, HAS_TCX, PARTIES, eventually

# docs/operations.md says how long it is open.
pytestmark = pytest.mark.skipif(not HAS_TCX, reason="before Linux 6.6 a program leaves an interface that is moved: nothing can be closed there")
STRANGER, HOME = PARTIES["stranger"][4], PARTIES["grantee"][4]
SECONDS = 0.8


def index_of(node):
    return json.loads(node.world.node.run("ip", "-j", "link", "show", "dev", node.guest.interface))[0]["ifindex"]


def pins_of_guest(node):
    return sorted(name for name in os.listdir(os.path.join(node.world.pin_root, "links")) if "guest" in name)


def go_away(node, away):
    """The guest knows its gateway's address, so that it can send as soon as it is back."""
    guest = node.guest
    guest.namespace.ip(f"neigh replace {GATEWAY[4]} lladdr {guest.gateway_mac} dev eth0 nud permanent")
    node.world.node.ip(f"link set {guest.interface} netns {away.name}")


def come_back(node, away):
    world, guest = node.world, node.guest
    away.ip(f"link set {guest.interface} netns {world.node.name}")
    world.node.ip(f"link set {guest.interface} up", f"addr add {GATEWAY[4]}/32 dev {guest.interface}",
                  f"route add {guest.addresses[4]}/32 dev {guest.interface}")


def move(node):
    """To where its index is taken, and back."""
    before, away = index_of(node), node.world.namespace("away")
    away.ip(f"link add taken index {before} type veth peer name other")
    go_away(node, away)
    come_back(node, away)
    assert index_of(node) != before


def carrier(node):
    """A packet that leaves the guest's namespace has a way to the uplink, by what a guest without programs gets through."""
    eventually(lambda: "LOWER_UP" in node.world.node.run("ip", "link", "show", "dev", node.guest.interface), what="carrier")
    time.sleep(1.2)  # the kernel takes its time to begin with a link that came up


def allowed(node):
    return UdpPair(node.guest, node.world.outside, 4, to=HOME).forward(0.1)


def rename_pins(node):
    """Somebody with rights on the node: every link bears a name of nobody."""
    links = pathlib.Path(node.world.pin_root, "links")
    for path in list(links.iterdir()):
        if "guest" in path.name:
            path.rename(path.with_name(f"{path.name.rsplit('-', 1)[0]}-104"))


@pytest.mark.parametrize("how", ["running", "stopped", "killed", "renamed"])
def test_it_stays_closed_and_what_is_allowed_passes_again(node, how):
    with Flood(node.guest, node.world.outside, STRANGER) as flood:
        eventually(lambda: flood.sent > 100, what="a flood")
        if how == "stopped":
            node.agent.process.send_signal(signal.SIGSTOP)
        if how in ("killed", "renamed"):
            node.agent.kill()
        if how == "renamed":
            rename_pins(node)
        else:
            move(node)
            carrier(node)
        before = flood.sent
        time.sleep(SECONDS)
        assert flood.arrived() == 0 and flood.sent > before + 100, "with no agent that works"
        if how == "stopped":
            node.agent.process.send_signal(signal.SIGCONT)
        if how in ("killed", "renamed"):
            node.agent.start()
        eventually(lambda: allowed(node), what="what the Grant allows")
        before = flood.sent
        time.sleep(SECONDS)
        assert flood.arrived() == 0 and flood.sent > before + 100, "with its agent"
        assert node.agent.ctl("verify").returncode == 0
        assert pins_of_guest(node) == [f"from_guest-{index_of(node)}", f"to_guest-{index_of(node)}"]
        node.agent.shows_open(flood)


def another_guest(node, index):
    """One whose interface has that index, under its Grant."""
    other = node.world.add_guest("other", index=index)
    node.agent.workload(other)
    eventually(lambda: node.agent.has_active("other"), what="the other guest under its Grant")
    assert UdpPair(other, node.world.outside, 4, to=HOME).both()
    return other


@pytest.mark.parametrize("how", ["running", "stopped", "killed"])
def test_another_guest_gets_its_index_while_it_is_away(node, how):
    """In the other namespace it goes on under the index that is another guest's here."""
    before, away = index_of(node), node.world.namespace("away")
    go_away(node, away)
    other = another_guest(node, before)
    with Flood(node.guest, node.world.outside, STRANGER) as flood, \
            Flood(other, node.world.outside, STRANGER, 7778) as others:
        if how == "stopped":
            node.agent.process.send_signal(signal.SIGSTOP)
        if how == "killed":
            node.agent.kill()
        come_back(node, away)
        assert index_of(node) != before
        carrier(node)
        sent, others_sent = flood.sent, others.sent
        time.sleep(SECONDS)
        assert flood.arrived() == 0 and flood.sent > sent + 100
        assert others.arrived() == 0 and others.sent > others_sent + 100
        if how == "stopped":
            node.agent.process.send_signal(signal.SIGCONT)
        if how == "killed":
            node.agent.start()
        eventually(lambda: allowed(node), what="what the Grant allows")
        assert flood.arrived() == 0 and others.arrived() == 0
        assert UdpPair(other, node.world.outside, 4, to=HOME).both()
        node.agent.shows_open(flood, others)


def test_where_it_is_away_it_is_not_judged_as_who_has_its_index_here(node):
    """With that guest's addresses, whose Grant lets it send home; home is there too."""
    guest, before, away = node.guest, index_of(node), node.world.namespace("away")
    go_away(node, away)
    other = another_guest(node, before)
    address = other.addresses[4]
    away.ip("link set lo up", f"addr add {HOME}/32 dev lo", f"link set {guest.interface} up",
            f"route add {address}/32 dev {guest.interface}", f"neigh replace {address} lladdr {other.mac} dev {guest.interface}")
    shown = json.loads(away.run("ip", "-j", "link", "show", "dev", guest.interface))[0]
    assert shown["ifindex"] == before
    guest.namespace.ip("link set eth0 down", f"link set eth0 address {other.mac}", "link set eth0 up", "addr flush dev eth0",
                       f"addr add {address}/32 dev eth0", "route replace default dev eth0",
                       f"neigh replace {HOME} lladdr {guest.gateway_mac} dev eth0 nud permanent")
    pair = UdpPair(guest, away, 4, to=HOME, source_address=address)
    assert pair.silent()
    node.agent.kill()
    assert node.agent.uninstall().returncode == 0
    eventually(pair.forward, what="it arrives where nothing holds the interface")


def test_an_agent_without_its_server_leaves_it_closed(node):
    """It has heard nothing, so it changes nothing."""
    with Flood(node.guest, node.world.outside, STRANGER) as flood:
        node.agent.kill()
        move(node)
        carrier(node)
        process = node.world.spawn(node.world.node, *without_server(node.world))
        eventually(lambda: node.agent.json("status")["agent"]["running"], what="an agent")
        time.sleep(2 * SECONDS)
        assert process.poll() is None and flood.arrived() == 0 and flood.sent > 100
        assert len(pins_of_guest(node)) == 2
        # The control: this flood passes where nothing holds the interface.
        process.kill()
        process.wait()
        assert node.agent.uninstall().returncode == 0
        eventually(lambda: flood.arrived() > 0, what="the flood of an open guest")
