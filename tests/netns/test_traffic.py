"""What a Grant allows passes as if we were not there; what it does not allow does not pass, and is counted."""

import contextlib
import json
import socket
import struct

import frames
import pytest
from agent import Agent, Counted
from traffic import ARRIVES, FAMILY, Ping, TcpPair, UdpPair, mac_of, mark_bytes, next_port, receives
from world import GATEWAY, NODE, OUTSIDE, PARTIES, REALMS, TAILNET_GRANTEE, eventually, run


@pytest.fixture(params=[4, 6])
def family(request):
    return request.param


@pytest.fixture(scope="module", name="free")
def nobodys_guest(shared_node):
    """A guest of no Workload, beside the one that is held: what it reaches is there."""
    return shared_node.world.add_guest("free")


def pairs(node, family, party, guest=None):
    """A try in each protocol from the guest to a party's address."""
    to, guest = PARTIES[party][family], guest or node.guest
    yield TcpPair(guest, node.world.outside, family, to=to, seconds=0.4)
    yield UdpPair(guest, node.world.outside, family, to=to)
    yield Ping(guest, family, to)


def test_the_grantees_realm_is_reached_in_every_protocol(shared_node, family):
    for pair in pairs(shared_node, family, "grantee"):
        assert pair.both()
    assert UdpPair(shared_node.guest, shared_node.world.tailnet, family, to=TAILNET_GRANTEE[family]).both()


@pytest.mark.parametrize("party", ["grantor", "carol", "stranger"])
def test_nobody_else_is_reached(shared_node, free, family, party):
    for pair in (*pairs(shared_node, family, "grantee"), *pairs(shared_node, family, party, free)):
        assert pair.both()
    tries = pairs(shared_node, family, party)  # each is made when it is asked for
    for _ in ("TCP", "UDP", "ICMP"):
        with Counted(shared_node.agent, "destination"):
            assert next(tries).silent()


def test_a_destination_is_reached_on_the_named_ports_only(shared_node, family):
    to, outside, guest = PARTIES["destination"][family], shared_node.world.outside, shared_node.guest
    assert TcpPair(guest, outside, family, to=to, port=443).both()
    assert UdpPair(guest, outside, family, to=to, port=5000).both()
    assert UdpPair(guest, outside, family, to=to, port=5999).both()
    assert Ping(guest, family, to).both()
    with Counted(shared_node.agent, "destination_port"):
        assert TcpPair(guest, outside, family, to=to, port=444, seconds=0.4).silent()
    with Counted(shared_node.agent, "destination_port"):
        assert UdpPair(guest, outside, family, to=to, port=6000).silent()
    with Counted(shared_node.agent, "destination_port"):
        assert UdpPair(guest, outside, family, to=to, port=443).silent()


def test_replies_pass_and_nothing_else_comes_back(shared_node, family):
    """A flow of the guest's own lets its peer answer, on that flow alone."""
    to, outside, guest = PARTIES["destination"][family], shared_node.world.outside, shared_node.guest
    pair = UdpPair(guest, outside, family, to=to, port=5100)
    assert pair.both()
    other = outside.socket(FAMILY[family], socket.SOCK_DGRAM)
    other.bind((to, 5101))
    with Counted(shared_node.agent, "nobody", "ingress"):
        other.sendto(b"from another port", pair.back)
        pair.client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            pair.client.recv(100)
    assert pair.both()


@pytest.mark.parametrize("party", ["grantee", "grantor"])
def test_the_parties_reach_in(shared_node, family, party):
    guest, outside, source = shared_node.guest, shared_node.world.outside, PARTIES[party][family]
    assert TcpPair(outside, guest, family, to=guest.addresses[family], source_address=source).both()
    assert UdpPair(outside, guest, family, to=guest.addresses[family], source_address=source).both()
    assert Ping(outside, family, guest.addresses[family], source_address=source).both()


@pytest.mark.parametrize("party,reason", [("carol", "not_a_party"), ("destination", "nobody"), ("stranger", "nobody")])
def test_nobody_else_reaches_in(shared_node, free, family, party, reason):
    outside, source = shared_node.world.outside, PARTIES[party][family]

    def tries(guest, source):
        to = guest.addresses[family]
        yield TcpPair(outside, guest, family, to=to, source_address=source, seconds=0.4)
        yield UdpPair(outside, guest, family, to=to, source_address=source)
        yield Ping(outside, family, to, source_address=source)
    for pair in (*tries(shared_node.guest, PARTIES["grantee"][family]), *tries(free, source)):
        assert pair.both()
    held = tries(shared_node.guest, source)
    for _ in ("TCP", "UDP", "ICMP"):
        with Counted(shared_node.agent, reason, "ingress"):
            assert next(held).silent()


def test_a_party_reaches_in_on_its_ports_only(node, family):
    """No Grant narrows a party to ports yet; the record can, and the datapath holds to it."""
    agent, guest, outside = node.agent, node.guest, node.world.outside
    to, grantor = guest.addresses[family], PARTIES["grantor"][family]
    agent.kill()  # it would mend what it did not write
    idrule = f"{node.world.pin_root}/maps/grantd_idrule_v1"
    entries = [each["formatted"] for each in json.loads(run("bpftool", "-j", "map", "dump", "pinned", idrule))]
    names = json.loads(run("bpftool", "-j", "map", "dump", "pinned", f"{node.world.pin_root}/maps/grantd_idname_v1"))
    identity = next(each["formatted"]["key"] for each in names if each["formatted"]["value"]["name"] == "alice-home")
    key = next(each["key"] for each in entries if each["key"]["identity"] == identity and each["key"]["direction"] == 1)
    narrow = struct.pack("<HHI", 1, 0, 0) + struct.pack("<BBHHH", 6, 0, 0, 80, 81)
    bytes_of = lambda data: data.hex(" ").split()  # noqa: E731
    run("bpftool", "map", "update", "pinned", idrule, "key", "hex",
        *bytes_of(struct.pack("<III", key["rules_id"], key["identity"], key["direction"])), "value", "hex",
        *bytes_of(narrow.ljust(136, b"\0")))

    def tries(port, source=grantor):
        yield TcpPair(outside, guest, family, to=to, source_address=source, port=port, seconds=0.4)
        yield UdpPair(outside, guest, family, to=to, source_address=source, port=port)

    tcp, udp = tries(81)
    assert tcp.both()
    with Counted(agent, "party_port", "ingress"):
        assert udp.silent()
    held = tries(82)
    for _ in ("TCP", "UDP"):
        with Counted(agent, "party_port", "ingress"):
            assert next(held).silent()
    with Counted(agent, "party_port", "ingress"):
        assert Ping(outside, family, to, source_address=grantor).silent()
    assert all(pair.both() for pair in tries(83, PARTIES["grantee"][family])), "another party is not narrowed"


def test_what_is_counted_is_every_try(shared_node):
    """The tool itself: half of what was tried is not enough, where others still try too."""
    outside, guest = shared_node.world.outside, shared_node.guest
    with pytest.raises(AssertionError, match="[345] of 6 were counted"), Counted(shared_node.agent, "destination"):
        assert UdpPair(guest, outside, 4, to=PARTIES["stranger"][4]).silent()
        assert UdpPair(guest, outside, 4, to=PARTIES["destination"][4], port=6002).silent()


def test_the_node_reaches_in_and_is_not_reached(shared_node, free, family):
    guest, node, agent = shared_node.guest, shared_node.world.node, shared_node.agent
    assert TcpPair(node, guest, family, to=guest.addresses[family]).both()
    assert Ping(node, family, guest.addresses[family]).both()
    addresses = [NODE[family], *([GATEWAY[4]] if family == 4 else [])]
    for to in addresses:
        for attempt in (lambda who, to=to: TcpPair(who, node, family, to=to, seconds=0.4), lambda who, to=to: Ping(who, family, to),
                        lambda who, to=to: UdpPair(who, node, family, to=to)):
            assert attempt(free).both()
            with Counted(agent, "protected_destination"):
                assert attempt(guest).silent()


def reaches_the_node(guest, node, address, port=9000):
    """Whether a datagram from the guest is delivered on the node."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    receiver = node.socket(family, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    receiver.bind(("", port))
    payload = mark_bytes()
    guest.socket(family, socket.SOCK_DGRAM).sendto(payload, (address, port))
    arrived = receives(receiver, payload, 0.4) is not None
    receiver.close()
    return arrived


def test_whatever_is_delivered_to_the_node_is_its_own(node):
    """Class 30: the broadcast addresses of its networks, the anycast ones of its routers, and local routes."""
    world, guest, agent = node.world, node.guest, node.agent
    own = ["10.77.0.1", "10.77.0.255", "100.65.0.255", "fd77::1", "fd77::", "fd65::"]
    world.node.ip("addr flush dev uplink0 scope global", f"addr add {NODE[4]}/24 brd + dev uplink0",
                  f"addr add {NODE[6]}/64 dev uplink0 nodad", "addr del 100.65.0.1/24 dev tail0",
                  "addr add 100.65.0.1/24 brd + dev tail0", f"route replace default via {OUTSIDE[4]}",
                  f"route replace ::/0 via {OUTSIDE[6]}")
    named = [f"[{each}]:9000/UDP" if ":" in each else f"{each}:9000/UDP" for each in own]
    agent.in_force(lambda: agent.grant(destinations=named))
    for address in own:
        eventually(lambda to=address: reaches_the_node(guest, world.node, to), what=f"{address}, named alone")
    agent.in_force(lambda: agent.grant(destinations=["0.0.0.0/0", "::/0"]))
    for address in own:
        with Counted(agent, "protected_destination"):
            assert not reaches_the_node(guest, world.node, address), address
    for line in ("route add local 203.0.113.64/26 dev lo", "addr add 8.8.4.1/24 brd + dev uplink0",
                 "addr add 2a00:1450:4001::1/64 dev uplink0 nodad"):
        world.node.ip(line)
    new = ["203.0.113.70", "8.8.4.255", "2a00:1450:4001::"]
    for address in new:
        eventually(lambda to=address: not reaches_the_node(guest, world.node, to), what=address)
    agent.in_force(lambda: agent.grant(destinations=["internet"]))
    agent.realm("home", ["10.77.0.0/24", "fd77::/64", "203.0.113.0/24", "203.0.113.70/32"])
    agent.realm("bob-home", [*REALMS["bob-home"], "100.65.0.0/24", "fd65::/64"])
    agent.grant(destinations=["internet", "realm:home"])
    eventually(UdpPair(guest, world.outside, 4, to=OUTSIDE[4]).both, what="the realm around the node")
    for address in own + new:
        assert not reaches_the_node(guest, world.node, address), address
    agent.in_force(lambda: agent.grant(destinations=["203.0.113.64/26:9000/UDP", "8.8.4.255:9000/UDP", "[2a00:1450:4001::]:9000/UDP"]))
    for address in new:
        eventually(lambda to=address: reaches_the_node(guest, world.node, to), what=f"{address}, named alone")


def test_a_realms_address_on_the_wrong_uplink_is_nobodys(shared_node, family):
    """Class 51: Bob's tailnet address, from the LAN side."""
    guest, world, source = shared_node.guest, shared_node.world, TAILNET_GRANTEE[family]
    assert UdpPair(world.tailnet, guest, family, to=guest.addresses[family], source_address=source).both()
    bits = 32 if family == 4 else 128
    world.outside.ip(f"addr add {source}/{bits} dev lo" + (" nodad" if family == 6 else ""))
    try:
        with Counted(shared_node.agent, "nobody", "ingress"):
            assert not UdpPair(world.outside, guest, family, to=guest.addresses[family], source_address=source).forward(0.4)
    finally:
        world.outside.ip(f"addr del {source}/{bits} dev lo")


def test_a_tagged_frame_at_an_uplink_is_nobodys(node):
    """Class 22: the kernel has moved the tag out of the frame before we see it; VID 0 it takes for none."""
    world, guest, source, to = node.world, node.guest, PARTIES["grantee"][4], node.guest.addresses[4]
    macs = [mac_of(world.node, "uplink0"), mac_of(world.outside, "eth0")]
    wire = world.outside.packet_socket("eth0")
    receiver = guest.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((to, 8080))
    for tags in ((), ((0x8100, 0),), ()):
        payload = mark_bytes()
        packet = frames.ipv4(source, to, frames.udp(source, to, next_port(), 8080, payload))
        before = node.agent.drops("nobody", "ingress")
        wire.send(frames.ethernet(*macs, 0x0800, packet, tags))
        assert (receives(receiver, payload, 0.4) is not None) == (not tags), tags
        assert node.agent.drops("nobody", "ingress") == before + len(tags), tags


@pytest.mark.parametrize("address,reason", [("169.254.169.254", "protected_destination"), ("127.0.0.1", "martian")])
def test_metadata_and_loopback_are_protected(world, address, reason):
    """Both are there: a cloud's metadata behind the node, and the node's own loopback, which it is told to route."""
    guest = world.add_guest("web")
    world.outside.ip("addr add 169.254.169.254/32 dev lo")
    world.node.ip(f"route add 169.254.169.254/32 via {OUTSIDE[4]}")
    world.node.sysctl("ipv4/conf/all/route_localnet", 1)
    guest.namespace.sysctl("ipv4/conf/all/route_localnet", 1)
    if address == "127.0.0.1":
        guest.namespace.ip("link set lo down", "rule add pref 1 to 127.0.0.0/8 table 100", "rule del table local",
                           "rule add pref 2 table local", f"route add 127.0.0.0/8 via {GATEWAY[4]} dev eth0 onlink table 100")
    receiver = {"169.254.169.254": world.outside, "127.0.0.1": world.node}[address]
    pair = UdpPair(guest, receiver, 4, to=address, source_address=guest.addresses[4])
    eventually(pair.forward, what="without an agent it arrives")
    agent = Agent(world)
    agent.grant(destinations=["0.0.0.0/0"])
    agent.workload(guest)
    agent.start()
    assert UdpPair(guest, world.outside, 4, to=PARTIES["stranger"][4]).both()
    with Counted(agent, reason):
        assert not pair.forward(0.3)


def test_guests_of_one_grant_reach_each_other_and_others_do_not(node, family):
    world, agent = node.world, node.agent
    same, other = world.add_guest("same"), world.add_guest("other")
    agent.grant("h", [], granteeRealm="carol")
    agent.workload(same)
    agent.workload(other, "h")
    pair = UdpPair(node.guest, same, family, to=same.addresses[family])
    eventually(lambda: len(agent.json("endpoints")["endpoints"]) == 3, what="three endpoints")
    eventually(pair.both, what="traffic between guests of one Grant")
    assert TcpPair(same, node.guest, family, to=node.guest.addresses[family]).both()
    assert UdpPair(other, world.outside, family, to=PARTIES["carol"][family]).both()
    assert UdpPair(world.node, other, family, to=other.addresses[family]).both()
    for source, grant, to in ((node.guest, "g", other), (other, "h", node.guest)):
        with Counted(agent, "destination", grant=f"keystone-system/{grant}"):
            assert TcpPair(source, to, family, to=to.addresses[family], seconds=0.4).silent()
        with Counted(agent, "destination", grant=f"keystone-system/{grant}"):
            assert UdpPair(source, to, family, to=to.addresses[family]).silent()


def test_without_egress_nothing_but_the_realm(node, family):
    node.agent.in_force(lambda: node.agent.grant(networkPolicy={
        "egressAllowed": False, "allowedDestinations": ["0.0.0.0/0", "::/0"]}))
    for pair in pairs(node, family, "grantee"):
        assert pair.both()
    tries = pairs(node, family, "destination")
    for _ in ("TCP", "UDP", "ICMP"):
        with Counted(node.agent, "destination"):
            assert next(tries).silent()


def test_a_narrowed_grant_lets_only_the_grantee_in(node, family):
    guest, outside = node.guest, node.world.outside
    assert UdpPair(outside, guest, family, to=guest.addresses[family], source_address=PARTIES["grantor"][family]).both()
    assert Ping(node.world.node, family, guest.addresses[family]).both()
    node.agent.in_force(lambda: node.agent.grant(networkPolicy={"egressAllowed": False, "ingress": {"from": ["Grantee"]}}))
    assert UdpPair(outside, guest, family, to=guest.addresses[family], source_address=PARTIES["grantee"][family]).both()
    with Counted(node.agent, "not_a_party", "ingress"):
        assert UdpPair(outside, guest, family, to=guest.addresses[family],
                       source_address=PARTIES["grantor"][family]).silent()
    with Counted(node.agent, "not_a_party", "ingress"):
        assert Ping(node.world.node, family, guest.addresses[family]).silent()


def test_a_datagram_in_fragments_learns_of_a_narrower_path(node, family):
    """Packet Too Big and Fragmentation Needed quote the first fragment; what is sent again fits (class 18)."""
    world = node.world
    world.node.ip("link set uplink0 mtu 1300")
    world.outside.ip("link set eth0 mtu 1300")
    to = PARTIES["destination"][family]
    pair = UdpPair(node.guest, world.outside, family, to=to, port=5200)
    assert pair.both()
    payload = bytes(3000)
    for _ in range(5):
        with contextlib.suppress(OSError):  # EMSGSIZE: what is too big for the path is told here
            pair.client.sendto(payload, pair.goal)
        if receives(pair.server, payload, ARRIVES):
            break
    else:
        pytest.fail("none of five datagrams has come through")
    assert pair.both()
