"""The world itself: it is open without grantd, so that every denial has its control, and it goes without a trace."""

import os

import pytest
from traffic import Ping, TcpPair, UdpPair
from world import CGROUPS, PARTIES, TAILNET_GRANTEE, World, run


def traces():
    return (sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else [],
            open("/proc/self/mounts", encoding="ascii").read().count("grantd-"),
            run("ip", "-o", "link"), [name for name in os.listdir(CGROUPS) if name.startswith("grantd-")])


@pytest.mark.parametrize("family", [4, 6])
def test_everything_is_open_without_grantd(world, family):
    guest = world.add_guest("web")
    other = world.add_guest("other")
    for party in PARTIES.values():
        assert UdpPair(guest, world.outside, family, to=party[family]).both()
        assert TcpPair(guest, world.outside, family, to=party[family]).both()
        assert Ping(guest, family, party[family]).both()
        assert TcpPair(world.outside, guest, family, to=guest.addresses[family], source_address=party[family]).both()
    assert UdpPair(guest, world.tailnet, family, to=TAILNET_GRANTEE[family]).both()
    assert UdpPair(guest, other, family, to=other.addresses[family]).both()
    assert Ping(world.node, family, guest.addresses[family]).both()


def test_a_world_leaves_no_trace():
    before = traces()
    with pytest.raises(ZeroDivisionError), World() as made:
        made.add_guest("web")
        made.cgroup("guest")
        made.spawn(made.node, "sleep", "1000")
        assert traces() != before
        raise ZeroDivisionError
    assert traces() == before
