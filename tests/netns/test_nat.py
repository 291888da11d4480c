"""Address translation on the node: identity is found before it and survives it (rule 11)."""

import socket

import pytest
from agent import OPEN, Counted
from traffic import FAMILY, TcpPair, UdpPair, mark_bytes, next_port, receives
from world import NODE, PARTIES

IPTABLES = {4: "iptables", 6: "ip6tables"}


@pytest.fixture(params=[4, 6])
def family(request):
    return request.param


def nat(node, family, *rule):
    node.world.node.run(IPTABLES[family], "-w", "-t", "nat", *rule)


def reaches_through_dnat(node, family, party, port, seconds=0.4):
    """A datagram to the node's own address and port, from a party's address; whether the guest gets it, and answers."""
    receiver = node.guest.socket(FAMILY[family], socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    receiver.bind((node.guest.addresses[family], 8080))
    sender = node.world.outside.socket(FAMILY[family], socket.SOCK_DGRAM)
    sender.bind((PARTIES[party][family], 0))
    payload = mark_bytes()
    sender.sendto(payload, (NODE[family], port))
    source = receives(receiver, payload, seconds)
    if source is None:
        return False
    answer = mark_bytes()
    receiver.sendto(answer, source)
    return receives(sender, answer, 1.0) is not None


def test_dnat_to_a_guest_keeps_the_senders_identity(node, family):
    """Classes 28 and 29: also with MASQUERADE behind it, which hides the sender's address from the guest."""
    guest = node.guest.addresses[family]
    to = f"{guest}:8080" if family == 4 else f"[{guest}]:8080"
    nat(node, family, "-A", "PREROUTING", "-i", "uplink0", "-p", "udp", "--dport", "3333", "-j", "DNAT", "--to", to)
    for masquerade in (False, True):
        if masquerade:
            nat(node, family, "-A", "POSTROUTING", "-o", node.guest.interface, "-j", "MASQUERADE")
        assert reaches_through_dnat(node, family, "grantee", 3333, 1.0)
        assert reaches_through_dnat(node, family, "grantor", 3333, 1.0)
        with Counted(node.agent, "not_a_party", "ingress"):
            assert not reaches_through_dnat(node, family, "carol", 3333)
        with Counted(node.agent, "nobody", "ingress"):
            assert not reaches_through_dnat(node, family, "stranger", 3333)


def test_a_guests_egress_through_masquerade(node, family):
    nat(node, family, "-A", "POSTROUTING", "-o", "uplink0", "-j", "MASQUERADE")
    to, outside = PARTIES["destination"][family], node.world.outside
    assert TcpPair(node.guest, outside, family, to=to, port=443).both()
    assert UdpPair(node.guest, outside, family, to=to, port=5200).both()
    with Counted(node.agent, "destination"):
        assert TcpPair(node.guest, outside, family, to=PARTIES["stranger"][family], seconds=0.4).silent()


def test_the_address_that_the_guest_names_is_judged(node, family):
    """Class 28: the node's own rules send a refused destination to an allowed place, and an allowed one elsewhere."""
    world, agent, elsewhere = node.world, node.agent, PARTIES["carol"][family]
    allowed, refused = PARTIES["destination"][family], PARTIES["stranger"][family]
    named = f"[{refused}]:5302/UDP" if family == 6 else f"{refused}:5302/UDP"
    agent.in_force(lambda: agent.grant(destinations=[*OPEN, named]))
    rule = ["PREROUTING", "-i", node.guest.interface, "-p", "udp"]
    nat(node, family, "-A", *rule, "-d", refused, "-j", "DNAT", "--to", allowed)
    with Counted(agent, "destination_port"):
        assert UdpPair(node.guest, world.outside, family, to=refused, port=5300, bind_to=allowed).silent()
    assert UdpPair(node.guest, world.outside, family, to=refused, port=5302, bind_to=allowed).both(), "the port that is named"
    assert UdpPair(node.guest, world.outside, family, to=allowed, port=5301).both()
    nat(node, family, "-A", *rule, "-d", allowed, "-j", "DNAT", "--to", elsewhere)
    assert UdpPair(node.guest, world.outside, family, to=allowed, port=5303, bind_to=elsewhere).both()
    with Counted(agent, "destination"):
        assert UdpPair(node.guest, world.outside, family, to=elsewhere, port=5304).silent()


def test_the_metadata_address_behind_translation(node):
    """Class 31: named by the guest it is protected, whatever the node makes of it."""
    allowed, metadata = PARTIES["destination"][4], "169.254.169.254"
    inside = node.guest.interface
    nat(node, 4, "-A", "PREROUTING", "-i", inside, "-d", metadata, "-p", "udp", "-j", "DNAT", "--to", allowed)
    with Counted(node.agent, "protected_destination"):
        assert UdpPair(node.guest, node.world.outside, 4, to=metadata, port=5310, bind_to=allowed).silent()
    node.agent.in_force(lambda: node.agent.grant(destinations=[f"{metadata}:5311/UDP"]))
    assert UdpPair(node.guest, node.world.outside, 4, to=metadata, port=5311, bind_to=allowed).both(), "named alone it is opened"


def test_a_nat_port_in_new_use_inherits_nothing(node):
    """Class 53: one source port for all, first the grantee's, then a stranger's."""
    node.world.node.run("iptables", "-w", "-t", "nat", "-A", "POSTROUTING", "-o", node.guest.interface, "-p", "udp",
                        "-j", "SNAT", "--to-source", "10.20.0.1:6000-6000")
    port = next_port()
    receiver = node.guest.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((node.guest.addresses[4], port))

    senders = {party: node.world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM) for party in ("grantee", "stranger")}
    for party, sender in senders.items():
        sender.bind((PARTIES[party][4], 0))

    def send(party, seconds):
        payload = mark_bytes()
        senders[party].sendto(payload, (node.guest.addresses[4], port))
        return receives(receiver, payload, seconds)

    def answered(party, seconds):
        """Whether the guest's answer to the one port reaches that party."""
        payload = mark_bytes()
        receiver.sendto(payload, ("10.20.0.1", 6000))
        return receives(senders[party], payload, seconds) is not None

    assert send("grantee", 1.0) == ("10.20.0.1", 6000)
    assert answered("grantee", 1.0)
    node.world.node.run("conntrack", "-F")
    with Counted(node.agent, "nobody", "ingress"):
        assert send("stranger", 0.4) is None
    with Counted(node.agent, "awaiting_peer"):
        assert not answered("stranger", 0.4)
    translation = node.world.node.run("conntrack", "-L", "-p", "udp", "--reply-port-dst", "6000")
    assert f"src={PARTIES['stranger'][4]}" in translation and PARTIES["grantee"][4] not in translation, "the port is the stranger's"
    node.world.node.run("conntrack", "-F")
    assert send("grantee", 1.0) and answered("grantee", 1.0)


def test_marks_of_a_guest_and_of_others_are_no_stamps(node):
    """Class 52: a mark that the node's own rules set is overwritten at the uplink, and is no stamp without the tag."""
    world = node.world
    rule = ["PREROUTING", "-i", "uplink0", "-j", "MARK", "--set-mark", "0x3"]

    def comes(party, seconds=1.0):
        return UdpPair(world.outside, node.guest, 4, to=node.guest.addresses[4],
                       source_address=PARTIES[party][4]).forward(seconds)
    assert comes("grantee")
    world.node.run("iptables", "-w", "-t", "raw", "-A", *rule)
    for party in ("stranger", "grantee"):
        # Whose packet it was is lost with the mark: nobody's, too.
        with Counted(node.agent, "nobody", "ingress"):
            assert not comes(party, 0.4)
    world.node.run("iptables", "-w", "-t", "raw", "-D", *rule)
    assert comes("grantee")
