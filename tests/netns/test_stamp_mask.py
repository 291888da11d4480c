"""Another `--stamp-mask`: no stamp of the one before counts as another sender's (class 52)."""

import contextlib
import os
import socket

import pytest
from test_broken_node import says
from traffic import FAMILY, Flood, UdpPair, mark_bytes, next_port, receives, unanswered
from world import HAS_TCX, PARTIES, PATIENCE, eventually

DEFAULT, SHIFTED = "0xff001fff", "0xff003ffe"
TOO_FEW_BITS = "0x01003ffe"  # whose only bit of a tag is as in the default's


def set_mask(agent, mask):
    agent.options = [*(each for each in agent.options if not each.startswith("--stamp-mask")), f"--stamp-mask={mask}"]


def start_with(agent, mask):
    set_mask(agent, mask)
    agent.restart()


def held(node, party, change):
    """Whether a party's datagram that the node holds, since it waits for the guest's MAC address, arrives after a change."""
    guest, port, payload = node.guest, next_port(), mark_bytes()
    receiver, sender = (each.socket(FAMILY[4], socket.SOCK_DGRAM) for each in (guest, node.world.outside))
    receiver.bind((guest.addresses[4], port))
    sender.bind((PARTIES[party][4], 0))
    with unanswered(node.world, guest):
        sender.sendto(payload, (guest.addresses[4], port))
        assert receives(receiver, payload, 0.2) is None, "it waits"
        change()
    return receives(receiver, payload, 3.0) is not None


def passes(node, party, guest=None):
    guest = guest or node.guest
    return UdpPair(node.world.outside, guest, 4, to=guest.addresses[4], source_address=PARTIES[party][4])


def test_what_the_node_holds_is_nobody_elses_under_another_mask(node):
    """The number 4 at the lowest bits is 2 one bit further up: who is no party would be the grantor."""
    agent = node.agent
    assert held(node, "grantee", agent.restart), "with the same mask it is whose it was"
    assert not held(node, "carol", agent.restart)
    for party in ("carol", "stranger"):
        for mask in (SHIFTED, DEFAULT):
            assert not held(node, party, lambda mask=mask: start_with(agent, mask)), f"{party} under {mask}"
            assert passes(node, "grantee").both() and passes(node, party).silent()
    assert held(node, "grantor", agent.restart)


def flood_of(node, party, guest, port):
    flood = Flood(node.world.outside, guest, guest.addresses[4], port)
    flood.sender.bind((PARTIES[party][4], 0))
    return flood


@pytest.mark.skipif(not HAS_TCX, reason="counts and cuts short the replacing of links, which programs have since Linux 6.6")
def test_a_flood_where_only_some_programs_have_the_other_mask(node, faults):
    """The agent ends after the first, the second, ... program that it replaced; those that it has left stay so."""
    world, agent = node.world, node.agent
    agent.environment = faults.environment
    other = world.add_guest("other")
    agent.workload(other)
    eventually(lambda: agent.has_active("other"), what="another guest")
    programs = len(os.listdir(os.path.join(world.pin_root, "links")))
    assert programs >= 6, "of each guest two, and of each uplink one"
    # An emulated machine takes half a minute for a start, of which each turn has four.
    turns = range(2, programs + 1) if PATIENCE == 1 else (2, programs)
    with contextlib.ExitStack() as floods:
        refused = [floods.enter_context(flood_of(node, "carol", guest, 7777)) for guest in (node.guest, other)]
        allowed = [floods.enter_context(flood_of(node, "grantee", guest, 7778)) for guest in (node.guest, other)]
        for turn in turns:
            for mask in (SHIFTED, DEFAULT):
                faults.arm("link", turn)
                set_mask(agent, mask)
                agent.kill()
                agent.launch()
                eventually(lambda: agent.process.poll() is not None, 10, what=lambda: f"an agent that ends half-way: {agent.said()}")
                assert faults.disarm() == 1 and "cannot start" in agent.said().splitlines()[-1]
                for flood in refused:
                    flood.send_more()
                assert [flood.arrived() for flood in refused] == [0, 0], f"{turn - 1} programs of {programs} with {mask}"
                agent.start()
                for flood in allowed:
                    flood.arrived()
                    flood.send_more()
                    eventually(lambda flood=flood: flood.arrived() > 0, what="a party's flood")
        assert [flood.arrived() for flood in refused] == [0, 0]
        agent.shows_open(*refused)


def test_a_mask_whose_stamps_could_be_taken_for_others_is_refused(node):
    agent, before = node.agent, node.agent.json("status")
    agent.kill()
    options = agent.options
    agent.options = [*options, "--stamp-mask", TOO_FEW_BITS]
    with flood_of(node, "carol", node.guest, 7777) as flood:
        for _ in range(2):
            agent.launch()
            eventually(lambda: agent.process.poll() is not None, 10, what="an agent that is refused ends")
            says(agent, "cannot start", f"stamp mask {TOO_FEW_BITS}", f"mask {DEFAULT}", "accepted: ")
            assert passes(node, "grantee").both() and passes(node, "carol").silent()
        assert agent.json("status")["stamp_mask"] == before["stamp_mask"] == DEFAULT
        agent.options = options
        agent.start()
        assert passes(node, "grantee").both()
        assert flood.sent > 100 and flood.arrived() == 0
        agent.shows_open(flood)
    agent.options = [*options, "--stamp-mask", TOO_FEW_BITS]
    agent.start()
    assert passes(node, "grantee").both(), "where nothing was in force it is accepted"
