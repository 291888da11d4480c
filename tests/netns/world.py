"""A small world of network namespaces: a node between its guests and an outside.

    guests -- veth -- node -- uplink0 (class lan) ------ outside   grantee, grantor, carol, ... on its lo
                           -- tail0   (class tailnet) -- tailnet   the grantee's tailnet addresses

Every name is unique, and close() leaves nothing behind, also when a test fails half-way. Both families.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "common"))

import network_namespace  # noqa: E402  pylint: disable=wrong-import-position

CGROUPS = "/sys/fs/cgroup/unified" if os.path.isdir("/sys/fs/cgroup/unified") else "/sys/fs/cgroup"
KERNEL = tuple(int(number) for number in os.uname().release.split(".")[:2])
# Links of programs on interfaces, which outlive their pins and moves; what needs them is no test of older kernels.
HAS_TCX = KERNEL >= (6, 6)
# How many times longer than a machine of its own takes: for one that is emulated (vmtest/).
PATIENCE = float(os.environ.get("GRANTD_TEST_PATIENCE", "1"))

# Who lives where in the outside; documentation ranges, except where a class of address is the point.
PARTIES = {
    "grantee": {4: "192.0.2.10", 6: "2001:db8:b0b::10"},
    "grantor": {4: "192.0.2.130", 6: "2001:db8:a11c::10"},
    "carol": {4: "198.51.100.10", 6: "2001:db8:ca01::10"},
    "destination": {4: "198.51.100.130", 6: "2001:db8:de57::10"},
    "stranger": {4: "203.0.113.77", 6: "2001:db8:bad::77"},
}
REALMS = {
    "bob-home": ["192.0.2.0/25", "2001:db8:b0b::/48", "100.64.7.0/24", "fd7a:115c:a1e0:b0b::/64"],
    "alice-home": ["192.0.2.128/25", "2001:db8:a11c::/48"],
    "carol": ["198.51.100.0/25", "2001:db8:ca01::/48"],
}
DESTINATIONS = {4: "198.51.100.128/25", 6: "2001:db8:de57::/48"}
TAILNET_GRANTEE = {4: "100.64.7.10", 6: "fd7a:115c:a1e0:b0b::10"}
NODE = {4: "10.77.0.1", 6: "fd77::1"}
OUTSIDE = {4: "10.77.0.2", 6: "fd77::2"}
GATEWAY = {4: "10.20.0.1", 6: "fe80::1"}  # of every guest: the node's side of its link


def run(*command, text=None, check=True):
    """Runs a command; its standard output, or an AssertionError with what it said."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}: {said[:2000]}")
    return done.stdout


class Namespace:
    """A network namespace. Sockets made by it stay in it, whichever namespace the test is in."""

    def __init__(self, name):
        self.name = name
        self.open_sockets = []
        run("ip", "netns", "add", name)
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self):
        # DAD would make addresses unusable for a second; ping sockets need no privilege.
        for path, value in {"ipv6/conf/default/accept_dad": 0, "ipv6/conf/all/accept_dad": 0,
                            "ipv6/conf/default/accept_ra": 0, "ipv4/conf/all/rp_filter": 0,
                            "ipv4/conf/default/rp_filter": 0,
                            "ipv4/ping_group_range": "0 2147483647"}.items():
            self.sysctl(path, value)
        self.ip("link set lo up")

    def entered(self):
        """The calling thread is in this namespace; so are the processes that it starts."""
        return network_namespace.entered(f"/run/netns/{self.name}")

    def run(self, *command, text=None, check=True):
        with self.entered():
            return run(*command, text=text, check=check)

    def ip(self, *lines, force=False):
        """All of them; `force` goes on after one that fails."""
        run("ip", "-n", self.name, *(["-force"] if force else []), "-batch", "-", text="\n".join(lines) + "\n", check=not force)

    def until_it_sends(self, interface):
        """The kernel may take a second until a link that was made sends: what comes before is lost."""
        eventually(lambda: self.sends(interface), what=f"that {interface} of {self.name} sends")

    def sends(self, interface):
        return " state UP " in run("ip", "-n", self.name, "-o", "link", "show", "dev", interface)

    def sysctl(self, path, value):
        with self.entered(), open(f"/proc/sys/net/{path}", "w", encoding="ascii") as knob:
            knob.write(str(value))

    def socket(self, family, kind, protocol=0, timeout=2.0):
        with self.entered():
            made = socket.socket(family, kind, protocol)
        made.settimeout(timeout)
        self.open_sockets.append(made)
        return made

    def packet_socket(self, interface, timeout=2.0):
        """Sends and receives whole frames on an interface."""
        made = self.socket(socket.AF_PACKET, socket.SOCK_RAW, 0, timeout)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        made.bind((interface, 3))  # ETH_P_ALL
        return made

    def interface_index(self, interface):
        with self.entered():
            return socket.if_nametoindex(interface)

    def close_sockets(self):
        for each in self.open_sockets:
            each.close()
        self.open_sockets = []

    def close(self):
        self.close_sockets()
        run("ip", "netns", "del", self.name, check=False)


@dataclass
class Guest:
    name: str
    number: int
    namespace: Namespace
    interface: str  # the node's side of its link; its own side is eth0
    addresses: dict
    mac: str
    gateway_mac: str

    def socket(self, *arguments, **options):
        return self.namespace.socket(*arguments, **options)


class World:
    def __init__(self):
        # What a killed run left has another name, whatever the number of its process was.
        self.tag = f"g{uuid.uuid4().hex[:12]}"
        self.namespaces, self.guests, self.processes, self.cgroups = [], {}, [], []
        self.directory = tempfile.mkdtemp(prefix=f"grantd-{self.tag}-")
        self.pin_root = os.path.join(self.directory, "bpf", "grantd")
        self.bpffs = os.path.join(self.directory, "bpf")
        self.mounted = False
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self):
        os.mkdir(self.bpffs)
        run("mount", "-t", "bpf", "-o", "mode=0700", f"grantd-{self.tag}", self.bpffs)
        self.mounted = True
        self.node = self.namespace("node")
        self.outside = self.namespace("outside")
        self.tailnet = self.namespace("tailnet")
        for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/default/forwarding"):
            self.node.sysctl(path, 1)
        # Refused packets would otherwise be answered by ICMP errors, which are limited to a few a second.
        self.node.sysctl("ipv4/icmp_ratelimit", 0)
        self.node.ip(
            f"link add uplink0 type veth peer name eth0 netns {self.outside.name}",
            f"link add tail0 type veth peer name eth0 netns {self.tailnet.name}",
            "link set uplink0 up", "link set tail0 up",
            f"addr add {NODE[4]}/24 dev uplink0", f"addr add {NODE[6]}/64 dev uplink0 nodad",
            "addr add 100.65.0.1/24 dev tail0", "addr add fd65::1/64 dev tail0 nodad")
        self.outside.ip(
            "link set eth0 up", f"addr add {OUTSIDE[4]}/24 dev eth0", f"addr add {OUTSIDE[6]}/64 dev eth0 nodad",
            *[line for party in PARTIES.values() for line in
              (f"addr add {party[4]}/32 dev lo", f"addr add {party[6]}/128 dev lo nodad")],
            f"route add default via {NODE[4]}", f"route add ::/0 via {NODE[6]}")
        self.tailnet.ip(
            "link set eth0 up", "addr add 100.65.0.2/24 dev eth0", "addr add fd65::2/64 dev eth0 nodad",
            f"addr add {TAILNET_GRANTEE[4]}/32 dev lo", f"addr add {TAILNET_GRANTEE[6]}/128 dev lo nodad",
            "route add default via 100.65.0.1", "route add ::/0 via fd65::1")
        self.node.ip(
            f"route add default via {OUTSIDE[4]}", f"route add ::/0 via {OUTSIDE[6]}",
            "route add 100.64.0.0/10 via 100.65.0.2", "route add fd7a:115c:a1e0::/48 via fd65::2")

    def namespace(self, role):
        made = Namespace(f"{self.tag}-{role}")
        self.namespaces.append(made)
        return made

    def add_guest(self, name, number=None, interface=None, index=None):
        """A guest behind a veth of its own, whose link is up: what is sent before grantd knows the interface is what the
        interface lets through without grantd."""
        number = number or 10 + len(self.guests)
        space = self.namespace(f"guest-{name}")
        guest = Guest(name, number, space, interface or f"veth-{name}"[:15],
                      {4: f"10.20.0.{number}", 6: f"fd00:20::{number:x}"},
                      f"02:20:00:00:00:{number:02x}", f"02:21:00:00:00:{number:02x}")
        self.guests[name] = guest
        self.connect(guest, index)
        return guest

    def connect(self, guest, index=None, force=False):
        """Makes the guest's link, and waits until it sends; `index` is the interface index of the node's side. By
        `force` also where somebody sets it down meanwhile, and without waiting; then the guest knows its gateway's
        address, for what waits until it is asked for comes after what is sent later."""
        index = f" index {index}" if index else ""
        self.node.ip(
            f"link add {guest.interface}{index} address {guest.gateway_mac} type veth peer name eth0 "
            f"address {guest.mac} netns {guest.namespace.name}",
            f"link set {guest.interface} up",
            f"addr add {GATEWAY[4]}/32 dev {guest.interface}",
            f"addr add {GATEWAY[6]}/64 dev {guest.interface} nodad",
            f"route add {guest.addresses[4]}/32 dev {guest.interface}",
            f"route add {guest.addresses[6]}/128 dev {guest.interface}", force=force)
        guest.namespace.ip(
            "link set eth0 up", f"addr add {guest.addresses[4]}/32 dev eth0",
            f"addr add {guest.addresses[6]}/128 dev eth0 nodad",
            *([f"neigh replace {GATEWAY[4]} lladdr {guest.gateway_mac} dev eth0 nud permanent"] if force else []),
            f"route add default via {GATEWAY[4]} dev eth0 onlink", f"route add ::/0 via {GATEWAY[6]} dev eth0")
        if not force:  # the kernel may take a second, and drops what is sent before
            for namespace, interface in ((self.node, guest.interface), (guest.namespace, "eth0")):
                eventually(lambda n=namespace, i=interface: n.sends(i), what=f"that {interface} of {guest.name} sends")

    def keep_from_going_round(self, guest):
        """What is sent to the guest while its link is set down, and its route gone: else the node sends it back outside, and that
        to the node."""
        self.node.ip(f"route replace blackhole {guest.addresses[4]}/32 metric 4096")

    def disconnect(self, guest):
        self.node.ip(f"link del {guest.interface}")

    def remove_guest(self, guest):
        del self.guests[guest.name]
        self.node.run("ip", "link", "del", guest.interface, check=False)
        self.namespaces.remove(guest.namespace)
        guest.namespace.close()

    def cgroup(self, name):
        path = os.path.join(CGROUPS, f"grantd-{self.tag}-{name}")
        os.mkdir(path)
        self.cgroups.append(path)
        return path

    def spawn(self, namespace, *command, **options):
        """Starts a process in a namespace; it ends with the world."""
        options.setdefault("stdout", subprocess.DEVNULL)
        options.setdefault("stderr", subprocess.DEVNULL)
        with namespace.entered():
            process = subprocess.Popen(command, **options)  # pylint: disable=consider-using-with
        self.processes.append(process)
        return process

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def close_sockets(self):
        for each in self.namespaces:
            each.close_sockets()

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for each in self.namespaces:
            each.close()
        for path in reversed(self.cgroups):  # those inside others first
            with contextlib.suppress(OSError):
                os.rmdir(path)
        if self.mounted:
            run("umount", self.bpffs, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def eventually(condition, seconds=5.0, every=0.01, what="condition"):
    """Waits until condition() is true and returns its value; what it looks up may not be there yet. `what` may be a function, for
    what is known only in the end, such as what grantd said."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        missing = None
        try:
            value = condition()
        except LookupError as error:
            value, missing = None, error
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}") from missing
        time.sleep(every)


def ports_of_a_bridge(world, *guests):
    """Of br0, which is their gateway."""
    world.node.ip("link add br0 type bridge", "link set br0 up", "addr add 10.20.0.1/24 dev br0",
                  *[line for guest in guests for line in
                    (f"addr flush dev {guest.interface}", f"link set {guest.interface} master br0")])
    for guest in guests:
        guest.namespace.ip("route flush dev eth0", "route add 10.20.0.0/24 dev eth0", "route add default via 10.20.0.1 dev eth0 onlink")
