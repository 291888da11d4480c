"""Worlds for the benchmark: a node between guests and an outside, in network namespaces.

bench.py runs inside mount and pid namespaces of its own with an empty /run/netns, so nothing made
here has a name that could collide, and all of it goes when bench.py does, however it ends.
"""

import ipaddress
import os
import subprocess
from dataclasses import dataclass, field

POD_RANGE = "10.42.0.0/16"
SERVICE_RANGE = "10.43.0.0/16"
GATEWAY = "169.254.1.1"  # of every guest, as point-to-point CNI plugins do it
REALM = "192.0.2.0/24"  # the grantee's; the outside's own address lies in it
NODE_UPLINK_ADDRESS = "192.0.2.1"
PEER_ADDRESS = "192.0.2.2"
DESTINATIONS = "198.51.100.0/24"  # what the Grant names, on DESTINATION_PORT over UDP
DESTINATION_PORT = 9000
REFUSED_DESTINATION = "203.0.113.9"
STRANGER = "203.0.113.77"


class BenchError(Exception):
    """Something that ends the benchmark, told in one line."""


def run(command, text=None, check=True):
    """Runs a command; its standard output, or a BenchError with what it said."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise BenchError(f"{' '.join(command[:6])}: exit {done.returncode}: {said[:2000]}")
    return done.stdout


def in_netns(netns, command):
    """The command to run in that namespace. nsenter leaves mounts alone, `ip netns exec` hides bpffs."""
    return ["nsenter", f"--net=/run/netns/{netns}", *command]


def mac(role, number):
    return f"02:{role:02x}:00:00:{number >> 8:02x}:{number & 255:02x}"


GUEST_SIDE, NODE_SIDE, UPLINK_SIDE, PEER_SIDE = 1, 2, 3, 4


@dataclass
class Guest:
    number: int

    @property
    def address(self):
        return str(ipaddress.ip_address("10.42.0.10") + self.number)

    @property
    def node_interface(self):
        return f"veth{self.number}"

    @property
    def own_interface(self):
        return f"eth{self.number}"


@dataclass
class World:
    """`name` is the case it stands for; `guests` how many are attached; traffic is that of the middle one."""

    name: str
    guests: int = 1
    rules: int = 10
    enforces: bool = True
    netns: dict = field(default_factory=dict)

    def __post_init__(self):
        tag = self.name.replace(" ", "-")
        self.netns = {role: f"{tag}-{role}" for role in ("guest", "node", "peer")}

    @property
    def all_guests(self):
        return [Guest(number) for number in range(1, self.guests + 1)]

    @property
    def measured(self):
        return Guest((self.guests + 1) // 2)

    def build(self):
        guest, node, peer = (self.netns[role] for role in ("guest", "node", "peer"))
        for netns in (guest, node, peer):
            run(["ip", "netns", "add", netns])
            run(in_netns(netns, ["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                                 "net.ipv6.conf.default.disable_ipv6=1", "net.ipv4.conf.all.rp_filter=0",
                                 "net.ipv4.conf.default.rp_filter=0", "net.ipv4.ip_forward=0"]))
        run(in_netns(node, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]))
        # Addresses and neighbours are permanent: no ARP in the middle of a measurement.
        self._batch(node, [
            "link set lo up",
            f"link add uplink0 address {mac(UPLINK_SIDE, 0)} type veth peer name eth0 "
            f"address {mac(PEER_SIDE, 0)} netns {peer}",
            "link set uplink0 up",
            f"addr add {NODE_UPLINK_ADDRESS}/24 dev uplink0",
            f"neigh replace {PEER_ADDRESS} lladdr {mac(PEER_SIDE, 0)} dev uplink0 nud permanent",
            f"route add {DESTINATIONS} via {PEER_ADDRESS}",
            f"route add 203.0.113.0/24 via {PEER_ADDRESS}",
        ])
        self._batch(peer, [
            "link set lo up", "link set eth0 up",
            f"addr add {PEER_ADDRESS}/24 dev eth0",
            f"addr add {ipaddress.ip_network(DESTINATIONS)[1]}/32 dev lo",
            f"neigh replace {NODE_UPLINK_ADDRESS} lladdr {mac(UPLINK_SIDE, 0)} dev eth0 nud permanent",
            f"route add default via {NODE_UPLINK_ADDRESS}",
        ])
        node_lines, guest_lines = [], ["link set lo up"]
        for each in self.all_guests:
            node_lines += [
                f"link add {each.node_interface} address {mac(NODE_SIDE, each.number)} type veth peer name "
                f"{each.own_interface} address {mac(GUEST_SIDE, each.number)} netns {guest}",
                f"link set {each.node_interface} up",
                f"route add {each.address}/32 dev {each.node_interface}",
                f"neigh replace {each.address} lladdr {mac(GUEST_SIDE, each.number)} "
                f"dev {each.node_interface} nud permanent",
            ]
            guest_lines += [
                f"link set {each.own_interface} up",
                f"addr add {each.address}/32 dev {each.own_interface}",
                f"neigh replace {GATEWAY} lladdr {mac(NODE_SIDE, each.number)} dev {each.own_interface} nud permanent",
            ]
        guest_lines.append(f"route add default via {GATEWAY} dev {self.measured.own_interface} onlink")
        self._batch(node, node_lines)
        self._batch(guest, guest_lines)

    def set_sinks(self, present):
        """Whoever receives drops at once, for bursts of raw frames: what is measured ends at the node."""
        for netns, interface in ((self.netns["guest"], self.measured.own_interface), (self.netns["peer"], "eth0")):
            text = (f"table netdev sink {{\n chain ingress {{\n  type filter hook ingress device {interface} "
                    "priority 0; policy drop;\n }\n}\n") if present else "delete table netdev sink\n"
            run(in_netns(netns, ["nft", "-f", "-"]), text)

    def facts(self):
        """For grantd_bench_load."""
        guest = self.measured
        return {
            "name": self.name, "enforces": self.enforces,
            "guest_netns": f"/run/netns/{self.netns['guest']}", "node_netns": f"/run/netns/{self.netns['node']}",
            "peer_netns": f"/run/netns/{self.netns['peer']}",
            "guest_interface": guest.own_interface, "peer_interface": "eth0",
            "guest_mac": mac(GUEST_SIDE, guest.number), "guest_gateway_mac": mac(NODE_SIDE, guest.number),
            "peer_mac": mac(PEER_SIDE, 0), "peer_gateway_mac": mac(UPLINK_SIDE, 0),
            "guest_address": guest.address, "peer_address": PEER_ADDRESS,
            "destination": str(ipaddress.ip_network(DESTINATIONS)[0]), "destination_port": DESTINATION_PORT,
            "refused_destination": REFUSED_DESTINATION, "stranger": STRANGER,
        }

    @staticmethod
    def _batch(netns, lines):
        run(["ip", "-n", netns, "-batch", "-"], "\n".join(lines) + "\n")


def filler_prefixes(count):
    """Prefixes that fill a policy up to its size and that no packet here matches: /24s and /32s in 11.0.0.0/8."""
    base = int(ipaddress.ip_address("11.0.0.0"))
    return [f"{ipaddress.ip_address(base + 256 * index + (index % 200 + 1) * (index % 2))}/{32 if index % 2 else 24}"
            for index in range(count)]


def mount_private():
    """An empty /run/netns and no more; bench.py is in a mount namespace of its own."""
    os.makedirs("/run/netns", exist_ok=True)
    run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"])
