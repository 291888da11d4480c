"""What guests and others say to each other: each function tells whether it arrived."""

import contextlib
import itertools
import json
import select
import socket
import struct
import threading
import time

from world import GATEWAY, run

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
ARRIVES = 1.0  # how long something that should arrive may take
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # not in Python's socket module
SILENCE = 0.25  # how long we listen before we say that nothing came
ENOUGH = 30  # datagrams of a flood, of which one would have come
_ports = itertools.count(20000)
_marks = itertools.count(1)


tries = {"egress": 0, "ingress": 0}  # packets that somebody sent from, and to, a guest; see agent.Counted


def tried(source, destination):
    """From one guest to another it is the first who is judged first."""
    if is_guest(source):
        tries["egress"] += 1
    elif is_guest(destination):
        tries["ingress"] += 1


def next_port():
    """A port that no other exchange of this run uses, so that no flow of another test is met again."""
    return next(_ports)


def mac_of(namespace, interface):
    return json.loads(namespace.run("ip", "-j", "link", "show", interface))[0]["address"]


def mark_bytes():
    """A payload that no other datagram of this run carries."""
    return b"grantd-%08d" % next(_marks)


def receives(receiver, payload, seconds):
    """The sender's address once `payload` comes in at the socket, None if it does not."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if not select.select([receiver], [], [], left)[0]:
            return None
        with contextlib.suppress(ConnectionError):  # an ICMP error of an earlier datagram
            data, sender = receiver.recvfrom(65536)
            if data == payload:
                return sender
    return None


@contextlib.contextmanager
def unanswered(world, guest):
    """The guest answers no ARP: what the node has for it, it holds, and asks for a minute."""
    world.node.sysctl(f"ipv4/neigh/{guest.interface}/mcast_solicit", 60)
    guest.namespace.sysctl("ipv4/conf/eth0/arp_ignore", 8)
    world.node.ip(f"neigh flush dev {guest.interface}")
    yield
    guest.namespace.sysctl("ipv4/conf/eth0/arp_ignore", 0)


class UdpPair:
    """A datagram exchange that can be carried on: a socket at either end."""

    def __init__(self, source, destination, family, to=None, source_address=None, port=None, bind_to=None):
        self.port = port or next_port()
        self.ends = source, destination
        self.server = destination.socket(FAMILY[family], socket.SOCK_DGRAM)
        self.server.bind((bind_to or to, self.port))
        self.client = source.socket(FAMILY[family], socket.SOCK_DGRAM)
        self.client.bind((source_address or "", 0))
        self.goal = (to, self.port)
        self.back = None

    def forward(self, seconds=ARRIVES):
        payload = mark_bytes()
        with contextlib.suppress(OSError):  # EPERM and EHOSTUNREACH: it did not arrive
            self.client.sendto(payload, self.goal)
            tried(*self.ends)
        sender = receives(self.server, payload, seconds)
        self.back = sender or self.back
        return sender is not None

    def backward(self, seconds=ARRIVES):
        if self.back is None:  # nothing came, so there is nobody to answer
            return False
        payload = mark_bytes()
        with contextlib.suppress(OSError):
            self.server.sendto(payload, self.back)
            tried(*reversed(self.ends))
        return receives(self.client, payload, seconds) is not None

    def both(self):
        return self.forward() and self.backward()

    def silent(self, times=3):
        """Neither direction, several times over."""
        return not any(self.forward(SILENCE / 2) or self.backward(SILENCE / 2) for _ in range(times))


class TcpPair:
    """A TCP connection, or the attempt at one (`connected` tells)."""

    def __init__(self, source, destination, family, to, source_address=None, port=None, bind_to=None,
                 seconds=ARRIVES):
        self.port = port or next_port()
        self.listener = destination.socket(FAMILY[family], socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((bind_to or to, self.port))
        self.listener.listen()
        self.client = source.socket(FAMILY[family], socket.SOCK_STREAM, timeout=seconds)
        self.client.bind((source_address or "", 0))
        self.server, self.error = None, None
        try:
            self.client.connect((to, self.port))
            self.server, self.peer = self.listener.accept()
            namespace_of(destination).open_sockets.append(self.server)
            self.server.settimeout(seconds)
        except OSError as error:
            self.error = error
        if not isinstance(self.error, PermissionError):  # then there was no SYN
            tried(source, destination)
        self.connected = self.server is not None

    def _say(self, sender, receiver, seconds):
        payload = mark_bytes()
        with contextlib.suppress(OSError):
            sender.sendall(payload)
        data, end = b"", time.monotonic() + seconds
        while payload not in data and (left := end - time.monotonic()) > 0:
            if not select.select([receiver], [], [], left)[0]:
                return False
            try:
                more = receiver.recv(65536)
            except OSError:
                return False
            if not more:
                return False
            data += more
        return payload in data

    def forward(self, seconds=ARRIVES):
        return self.connected and self._say(self.client, self.server, seconds)

    def backward(self, seconds=ARRIVES):
        return self.connected and self._say(self.server, self.client, seconds)

    def both(self):
        return self.forward() and self.backward()

    def silent(self, times=3):
        return not any(self.forward(SILENCE / 2) or self.backward(SILENCE / 2) for _ in range(times))


class Background:
    """Does `_run` in a thread of its own while it is entered, until `ending` is set."""

    def __init__(self):
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        raise NotImplementedError

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()


def is_guest(party):
    return namespace_of(party).name.split("-", 1)[1] not in ("node", "outside", "tailnet")


def know_neighbours(party, family=4):
    """A guest and its gateway need not ask for each other: who is closed is not answered, and what waits for the answer is seen
    by no program, so that its silence would prove nothing."""
    if not hasattr(party, "gateway_mac"):
        return
    party.namespace.ip(f"neigh replace {GATEWAY[family]} lladdr {party.gateway_mac} dev eth0 nud permanent")
    node = f"{party.namespace.name.split('-', 1)[0]}-node"
    run("ip", "-n", node, "neigh", "replace", party.addresses[family], "lladdr", party.mac, "dev", party.interface, "nud", "permanent",
        check=False)  # where its link is away it sends, and nobody sends to it


class Flood(Background):
    """Somebody sends to an address all the time; who receives it counts."""

    def __init__(self, source, destination, to, port=7777):
        super().__init__()
        for each in (source, destination):
            know_neighbours(each)
        self.receiver = destination.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.bind((to, port))
        self.receiver.setblocking(False)
        self.sender = source.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.goal, self.sent = (to, port), 0

    def payload(self):
        return b"leak"

    def _run(self):
        while not self.ending.is_set():
            try:
                self.sender.sendto(self.payload(), self.goal)
                self.sent += 1
            except OSError:
                pass
            time.sleep(0.0001)

    def send_more(self, packets=ENOUGH):
        """Waits until so many more have been sent; how many there were before."""
        before, end = self.sent, time.monotonic() + 5
        while self.sent < before + packets:
            assert time.monotonic() < end, f"only {self.sent - before} of {packets} could be sent"
            time.sleep(0.002)
        return before

    def arrived(self):
        count = 0
        try:
            while self.receiver.recv(64):
                count += 1
        except BlockingIOError:
            return count


class Numbered(Flood):
    """Tells whether somebody who was closed was open again: then what arrives is not the first of what was sent."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.begin, self.came = 0, []

    def payload(self):
        return struct.pack("!Q", self.sent)

    def anew(self):
        """What is sent from now on is judged by itself."""
        self.come()
        self.begin, self.came = self.sent, []

    def come(self):
        """The numbers that have arrived so far, of what was sent since `anew`."""
        with contextlib.suppress(BlockingIOError):
            while True:
                number = struct.unpack("!Q", self.receiver.recv(64))[0]
                if number >= self.begin:
                    self.came.append(number)
        return self.came

    def closed(self):
        """Whether nothing arrives of what is sent from now on."""
        now = self.send_more()
        return all(number <= now for number in self.come())

    def opened_again(self):
        """The first that arrived after one that did not, or at last, when it is to be closed; those before the first of all
        had no way yet."""
        now = self.send_more()
        come = sorted(self.come())  # from one CPU to another, one may overtake another
        return next((number for place, number in enumerate(come) if number != come[0] + place or number > now), None)


def namespace_of(party):
    """The namespace behind a guest or a namespace."""
    return getattr(party, "namespace", party)


class Ping:
    """ICMP echo with one identifier, as one flow; the kernel of the other end answers."""

    def __init__(self, source, family, to, source_address=None):
        protocol = socket.IPPROTO_ICMP if family == 4 else socket.IPPROTO_ICMPV6
        self.family, self.to, self.source = family, to, source
        self.socket = source.socket(FAMILY[family], socket.SOCK_DGRAM, protocol)
        if source_address:
            self.socket.bind((source_address, 0))
        self.sequence = 0

    def answered(self, seconds=ARRIVES):
        self.sequence += 1
        payload = mark_bytes()
        kind = 8 if self.family == 4 else 128
        message = struct.pack("!BBHHH", kind, 0, 0, 0, self.sequence) + payload
        with contextlib.suppress(OSError):
            self.socket.sendto(message, (self.to, 0))
            tries["egress" if is_guest(self.source) else "ingress"] += 1
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([self.socket], [], [], left)[0]:
            with contextlib.suppress(OSError):
                if self.socket.recv(2048)[8:] == payload:
                    return True
        return False

    both = answered

    def silent(self, times=3):
        return not any(self.answered(SILENCE / 2) for _ in range(times))
