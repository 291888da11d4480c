"""What originated on the node itself, and what the kernel only makes look like it."""

import socket
import struct
import time

import pytest

import frames
from agent import Agent, Counted
from traffic import FAMILY, TcpPair, UdpPair, mac_of, mark_bytes, next_port, receives
from world import GATEWAY, PARTIES, TAILNET_GRANTEE, eventually

OPTIONS_BYTES = 256  # in the first fragment, so that what is put together no longer fits where it was split


def track_connections(node):
    for tool in ("iptables", "ip6tables"):
        node.run(tool, "-w", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")


def fragments(source, destination, datagram, split, identifier):
    """Connection tracking puts these together, and has to split them anew on the slow path."""
    options = struct.pack("!BBBB", 44, OPTIONS_BYTES // 8 - 1, 0x1e, OPTIONS_BYTES - 4) + b"\0" * (OPTIONS_BYTES - 4)
    first = struct.pack("!BBHI", 17, 0, 1, identifier) + datagram[:split]
    second = struct.pack("!BBHI", 17, 0, split, identifier) + datagram[split:]
    return [frames.ipv6(source, destination, options + first, following=60),
            frames.ipv6(source, destination, second, following=44)]


@pytest.mark.parametrize("interface", ["uplink0", "lan1"])
def test_fragments_that_the_node_splits_again_are_not_its_own(node, interface):
    """Class 29: whoever sent them, and also where no program of ours has seen them come in."""
    world, guest = node.world, node.guest
    if interface == "lan1":
        world.node.ip(f"link add lan1 type veth peer name eth1 netns {world.outside.name}", "link set lan1 up")
        world.outside.ip("link set eth1 up")
    track_connections(world.node)
    there = {"uplink0": "eth0", "lan1": "eth1"}[interface]
    wire = world.outside.packet_socket(there)
    to_mac, from_mac = mac_of(world.node, interface), mac_of(world.outside, there)
    receiver = guest.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    receiver.bind((guest.addresses[6], 8080))

    def arrives(party, seconds):
        source, payload, port = PARTIES[party][6], mark_bytes() + b"x" * 2176, next_port()
        datagram = frames.udp(source, guest.addresses[6], port, 8080, payload)
        for packet in fragments(source, guest.addresses[6], datagram, 1000, port):
            wire.send(frames.ethernet(to_mac, from_mac, 0x86dd, packet))
        return receives(receiver, payload, seconds) is not None

    if interface == "uplink0":
        assert arrives("grantee", 1.0)
    for party in ("stranger", "carol"):
        reason = "not_a_party" if party == "carol" and interface == "uplink0" else "nobody"
        with Counted(node.agent, reason, "ingress"):
            assert not arrives(party, 0.4), party
    world.node.ip(f"link set {guest.interface} mtu 1400")  # so that the node's own are split on the way, too
    own = world.node.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    for size in (100, 2176, 9000):
        payload = mark_bytes() + b"x" * size
        own.sendto(payload, (guest.addresses[6], 8080))
        assert receives(receiver, payload, 1.0), size


@pytest.mark.parametrize("family", [4, 6])
def test_a_handshake_that_the_node_repeats_is_not_its_own(node, family):
    """Class 29: SYNPROXY sends its own SYN in the name of whoever answered its cookie."""
    guest, outside, to = node.guest, node.world.outside, node.guest.addresses[family]
    tool = {4: "iptables", 6: "ip6tables"}[family]
    assert TcpPair(outside, guest, family, to, source_address=PARTIES["grantee"][family]).both()
    node.world.node.run(tool, "-w", "-t", "raw", "-A", "PREROUTING", "-i", "uplink0", "-p", "tcp", "--syn",
                        "-j", "CT", "--notrack")
    node.world.node.run(tool, "-w", "-A", "FORWARD", "-i", "uplink0", "-p", "tcp", "-m", "conntrack",
                        "--ctstate", "INVALID,UNTRACKED", "-j", "SYNPROXY", "--sack-perm", "--mss", "1400")
    node.world.node.sysctl("netfilter/nf_conntrack_tcp_loose", 0)
    with Counted(node.agent, "nobody", "ingress"):
        client = outside.socket(FAMILY[family], socket.SOCK_STREAM, timeout=1.0)
        client.bind((PARTIES["stranger"][family], 0))
        listener = guest.socket(FAMILY[family], socket.SOCK_STREAM, timeout=0.4)
        listener.bind((to, 8081))
        listener.listen()
        client.connect((to, 8081))  # the node itself answers
        with pytest.raises(TimeoutError):
            listener.accept()
    assert PARTIES["stranger"][family] not in node.agent.ctl("flows").stdout


@pytest.mark.parametrize("family", [4, 6])
def test_what_the_node_answers_without_a_socket_follows_its_flow(node, family):
    """A reset for a connection of the node's that is gone; the guest must not wait for it in vain."""
    guest, world, to = node.guest, node.world, node.guest.addresses[family]
    pair = TcpPair(world.node, guest, family, to)
    assert pair.both()
    here, port = pair.client.getsockname()[:2]
    pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair.client.close()  # with a reset; from now on nobody knows the connection
    wire = guest.namespace.packet_socket("eth0")
    segment = frames.tcp(to, here, pair.port, port, 0x10, acknowledged=4711)
    ip = frames.ipv4(to, here, segment, 6) if family == 4 else frames.ipv6(to, here, segment, 6)
    wire.send(frames.ethernet(guest.gateway_mac, guest.mac, 0x0800 if family == 4 else 0x86dd, ip))
    header = struct.pack("!HHI", port, pair.port, 4711)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        frame = wire.recv(2048)
        if header in frame and frame[frame.index(header) + 13] & 0x04:
            break
    else:
        raise AssertionError("no reset")
    assert not node.agent.drops("nobody", "ingress")


@pytest.mark.parametrize("family", [4, 6])
def test_the_node_speaks_whatever_tracks_its_connections(node, family):
    guest, world, to = node.guest, node.world, node.guest.addresses[family]
    track_connections(world.node)
    assert UdpPair(world.node, guest, family, to=to).both()
    assert TcpPair(world.node, guest, family, to).both()


def pod_on_the_bridge(world, guests, source):
    """The guests' interfaces become ports of br0, of which a pod that is no guest has a macvlan with this address."""
    ports = [guest.interface for guest in guests]
    world.node.ip("link add br0 type bridge", "link set br0 up",
                  *(f"link set {each} master br0" for each in ports), *(f"addr flush dev {each}" for each in ports),
                  "link add mv0 link br0 type macvlan mode bridge")
    pod = world.namespace("pod")
    world.node.ip(f"link set mv0 netns {pod.name}")
    pod.ip("link set mv0 up", f"addr add {source} dev mv0 nodad")
    return pod


def forgeries(pod, guest, family, source):
    """An exchange under each mark that a party of the world could have: alice-home, bob-home, carol, and none."""
    for identity in (0, 2, 3, 4):
        pair = UdpPair(pod, guest, family, to=guest.addresses[family], source_address=source)
        pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, identity and 0x67000000 | identity)
        yield identity, pair


@pytest.mark.parametrize("family", [4, 6])
def test_what_comes_over_the_guests_bridge_is_not_the_nodes_own(world, family):
    """A pod's macvlan on the bridge gives its frames to the guest's port through no interface, with the mark that its
    socket set."""
    guest = world.add_guest("web")
    gateway, prefix = {4: ("10.20.0.1/24", 24), 6: ("fd00:20::1/64", 64)}[family]
    to = guest.addresses[family]
    source = {4: "10.20.0.77", 6: to.rsplit(":", 1)[0] + ":77"}[family]
    pod = pod_on_the_bridge(world, [guest], f"{source}/{prefix}")
    world.node.ip(f"route del {guest.addresses[6]}/128 dev {guest.interface}", f"addr add {gateway} dev br0 nodad")
    # Nothing hangs on how they find each other.
    for space, interface in ((world.node, "br0"), (pod, "mv0")):
        space.ip(f"neigh replace {to} lladdr {guest.mac} dev {interface} nud permanent")
    guest.namespace.ip(f"neigh replace {GATEWAY[family]} lladdr {mac_of(world.node, 'br0')} dev eth0 nud permanent")
    agent = Agent(world)
    agent.grant()
    agent.workload(guest)
    agent.start()
    assert UdpPair(world.node, guest, family, to=to).both()
    for identity, pair in forgeries(pod, guest, family, source):
        with Counted(agent, "nobody", "ingress"):
            assert pair.silent(), identity
    assert UdpPair(world.node, guest, family, to=to).both()


@pytest.mark.parametrize("flooded", [False, True])
def test_a_frame_that_the_guests_bridge_floods_is_nobodys(world, flooded):
    """Copies have no socket; where the bridge does not know the guest's MAC, its port gets one, with the sender's mark."""
    guest, before, after = (world.add_guest(name) for name in ("web", "before", "after"))
    to, source = guest.addresses[4], "10.20.0.77"
    pod = pod_on_the_bridge(world, [before, guest, after], f"{source}/24")
    world.node.ip("addr add 10.20.0.1/24 dev br0")
    pod.ip(f"neigh replace {to} lladdr {guest.mac} dev mv0 nud permanent")
    if flooded:
        world.node.ip("link set br0 type bridge ageing_time 0", f"link set {guest.interface} type bridge_slave learning off",
                      "link set br0 type bridge fdb_flush")
    pair = UdpPair(pod, guest, 4, to=to, source_address=source)
    eventually(pair.forward, what="what arrives without an agent")
    agent = Agent(world)
    agent.grant()
    agent.workload(guest)
    agent.start()
    for identity, forged in forgeries(pod, guest, 4, source):
        assert not forged.forward(0.4), identity
    assert UdpPair(world.outside, guest, 4, to=to, source_address=PARTIES["grantee"][4]).forward()


@pytest.mark.parametrize("family", [4, 6])
def test_a_strangers_piece_in_a_partys_datagram(node, family):
    """Connection tracking puts both together; the stranger's came in first, by an uplink where the party is not believed."""
    world, guest, to = node.world, node.guest, node.guest.addresses[family]
    track_connections(world.node)
    receiver = guest.socket(FAMILY[family], socket.SOCK_DGRAM)
    receiver.bind((to, 8080))
    tailnet, lan = world.tailnet.packet_socket("eth0"), world.outside.packet_socket("eth0")
    macs = {tailnet: (mac_of(world.node, "tail0"), mac_of(world.tailnet, "eth0")),
            lan: (mac_of(world.node, "uplink0"), mac_of(world.outside, "eth0"))}

    def arrives(first, later, seconds):
        payload, identifier = b"x" * 703 + mark_bytes(), next_port()
        datagram = frames.udp(TAILNET_GRANTEE[family], to, identifier, 8080, payload)
        pieces = ((first, 0, datagram[:512]), (later, 512, datagram[512:]))
        for wire, at, piece in sorted(pieces, key=lambda each: each[0] is tailnet):
            if family == 4:
                flags = at // 8 or 0x2000
                packet = (0x0800, frames.ipv4(TAILNET_GRANTEE[4], to, piece, fragment=flags, identifier=identifier))
            else:
                head = struct.pack("!BBHI", 17, 0, at or 1, identifier)
                packet = (0x86dd, frames.ipv6(TAILNET_GRANTEE[6], to, head + piece, following=44))
            wire.send(frames.ethernet(*macs[wire], *packet))
            time.sleep(0.02)
        return receives(receiver, payload, seconds) is not None

    assert arrives(tailnet, tailnet, 1.0), "both by the party"
    with Counted(node.agent, "nobody", "ingress", "(quarantine)"):
        assert not arrives(lan, lan, 0.3), "both by the stranger"
    with Counted(node.agent, "nobody", "ingress", "(quarantine)"):
        assert not arrives(tailnet, lan, 0.5)
    assert arrives(tailnet, tailnet, 1.0)
