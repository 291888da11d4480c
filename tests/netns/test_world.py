"""The world itself: it is open without grantd, so that every denial has its control, and it goes without a trace."""

import os
import tempfile

import pytest
from test_cgroups import nested
from traffic import Ping, TcpPair, UdpPair
from world import CGROUPS, PARTIES, TAILNET_GRANTEE, World


def traces(tag):
    """What this world has made; others may be there at the same time."""
    return ([name for name in os.listdir("/run/netns") if name.startswith(tag)] +
            [line for line in open("/proc/self/mounts", encoding="ascii") if tag in line] +
            [name for name in os.listdir(CGROUPS) if tag in name] +
            [name for name in os.listdir(tempfile.gettempdir()) if tag in name])


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
    with pytest.raises(ZeroDivisionError), World() as made:
        made.add_guest("web")
        nested(made, "guest", 3)
        process = made.spawn(made.node, "sleep", "1000")
        assert len(traces(made.tag)) > 6
        raise ZeroDivisionError
    assert not traces(made.tag)
    assert process.returncode is not None
