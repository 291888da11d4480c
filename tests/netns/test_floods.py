"""Many packets, large packets and streams: tables that overflow, fragments of real sockets, the last byte of a flow."""

import socket
import threading
import time

import frames
import pytest
from agent import Counted
from traffic import FAMILY, TcpPair, UdpPair, mark_bytes, receives
from world import PARTIES, eventually

FLOWS_OF_A_GRANT = 16384  # the default size of its table


def test_a_full_flow_table_concerns_its_own_grant_alone(node):
    """Class 14: the flood begins twice as many flows as fit; the neighbour's idle flow still takes its reply."""
    world, flooder = node.world, node.guest
    neighbour = world.add_guest("neighbour")
    node.agent.grant("h")
    node.agent.workload(neighbour, "h")
    eventually(lambda: len(node.agent.json("endpoints")["endpoints"]) == 2, what="the neighbour")
    to = PARTIES["destination"][4]  # no party: what it sends needs a flow
    kept = UdpPair(neighbour, world.outside, 4, to=to, port=5400)
    lost = UdpPair(flooder, world.outside, 4, to=to, port=5401)
    eventually(kept.both, what="the neighbour's flow")
    assert lost.forward(), "and is not used again, so that it is the first to go"
    wire = flooder.namespace.packet_socket("eth0")
    for number in range(FLOWS_OF_A_GRANT * 2):
        datagram = frames.udp(flooder.addresses[4], to, 1024 + number % 60000, 5000 + number % 399, b"")
        wire.send(frames.ethernet(flooder.gateway_mac, flooder.mac, 0x0800, frames.ipv4(flooder.addresses[4], to, datagram)))
    assert kept.backward(), "an idle flow of another Grant"
    with Counted(node.agent, "nobody", "ingress"):
        assert not lost.backward(0.4), "the flooder's own has gone, and nothing else lets this in"
    assert lost.both(), "it begins again"


@pytest.mark.parametrize("family", [4, 6])
def test_large_datagrams_in_both_directions(node, family):
    """Class 18: fragments as real sockets make them."""
    outside, guest = node.world.outside, node.guest
    payload = mark_bytes() * 400

    def exchange(party, seconds):
        pair = UdpPair(guest, outside, family, to=PARTIES[party][family], port=5410)
        pair.client.sendto(payload, pair.goal)
        back = receives(pair.server, payload, seconds)
        if back is None:
            return 0
        pair.server.sendto(payload, back)
        return 1 + (receives(pair.client, payload, seconds) is not None)

    assert exchange("destination", 1.0) == 2
    with Counted(node.agent, "destination"), Counted(node.agent, "fragment_orphan"):
        assert exchange("stranger", 0.4) == 0
    receiver = guest.socket(FAMILY[family], socket.SOCK_DGRAM)
    receiver.bind((guest.addresses[family], 5411))

    def comes(party, seconds):
        sender = outside.socket(FAMILY[family], socket.SOCK_DGRAM)
        sender.bind((PARTIES[party][family], 0))
        sender.sendto(payload, (guest.addresses[family], 5411))
        return receives(receiver, payload, seconds) is not None

    assert comes("grantee", 1.0)
    with Counted(node.agent, "fragment_orphan", "ingress"):
        assert not comes("stranger", 0.4)


@pytest.mark.parametrize("outwards", [True, False], ids=["out", "in"])
def test_no_byte_of_a_stream_after_its_grant(node, outwards):
    """Class 8: at full speed, with segmentation offload; once the change is in force nothing more arrives."""
    outside, guest, home = node.world.outside, node.guest, PARTIES["grantee"][4]
    pair = (TcpPair(guest, outside, 4, to=home) if outwards else
            TcpPair(outside, guest, 4, to=guest.addresses[4], source_address=home))
    assert pair.both()
    stop, got = threading.Event(), [0]

    def pour():
        while not stop.is_set():
            try:
                pair.client.send(b"x" * 65536)
            except OSError:
                pass

    def drain():
        while not stop.is_set():
            try:
                got[0] += len(pair.server.recv(1 << 20))
            except OSError:
                pass

    for each in (pair.client, pair.server):
        each.settimeout(0.05)
    threads = [threading.Thread(target=each, daemon=True) for each in (pour, drain)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: got[0] > 1 << 20, what="a stream")
        node.agent.in_force(lambda: node.agent.grant(revoked=True))
        time.sleep(0.2)  # what was already received is read
        before = got[0]
        time.sleep(1.5)  # several retransmissions
        assert got[0] == before
        assert node.agent.drops("revoked", "egress" if outwards else "ingress") > 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
