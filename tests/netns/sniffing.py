"""How far a guest's frames come: behind the programs of its interface, where nothing but they can have dropped a frame yet,
and out of the node."""

import contextlib
import ctypes
import ipaddress
import socket
import struct
import time

from traffic import SO_RCVBUFFORCE, Flood, mark_bytes
from world import OUTSIDE, PARTIES

SO_ATTACH_FILTER = 26  # not in Python's socket module
SOL_PACKET, PACKET_STATISTICS, PACKET_IGNORE_OUTGOING = 263, 6, 23
STRAGGLERS = 0.02  # two frames may overtake each other, from one CPU to another


def seen_until(sniffer, last, outgoing, seconds=2.0):
    """The frames that a packet socket sees leave or arrive, up to one that carries `last`, which must come."""
    came, end, missing = [], time.monotonic() + seconds, True
    while (left := end - time.monotonic()) > 0:
        sniffer.settimeout(left)
        try:
            frame, of = sniffer.recvfrom(65536)
        except TimeoutError:
            break
        if (of[2] == socket.PACKET_OUTGOING) != outgoing:
            continue
        came.append(frame)
        if missing and last in came[-1]:
            missing, end = False, time.monotonic() + STRAGGLERS
    assert not missing, "the frame that should pass was not seen"
    return came


class Passage:
    """A guest's packet socket, and who sees what it sends."""

    def __init__(self, world, guest):
        self.sender, self.outside = guest.namespace.packet_socket("eth0"), world.outside.packet_socket("eth0")
        self.behind = self._behind(world, guest)

    @staticmethod
    def _behind(world, guest):
        """A filter behind ours copies each frame that it gets to a link that nobody else uses. The kernel runs all filters
        before it looks at what the frame carries."""
        copies, node, nobody = f"see-{guest.name}", world.node, world.namespace(f"see-{guest.name}")
        node.ip(f"link add {copies} type veth peer name eth0 netns {nobody.name}", f"link set {copies} addrgenmode none up")
        nobody.ip("link set eth0 addrgenmode none up")
        node.run("tc", "qdisc", "replace", "dev", guest.interface, "clsact")
        everything = "1,6 0 0 4294967295"  # one instruction, which returns what it is given
        node.run("tc", "filter", "add", "dev", guest.interface, "ingress", "pref", "100", "bpf", "bytecode", everything,
                 "action", "mirred", "egress", "mirror", "dev", copies)
        node.until_it_sends(copies)
        return node.packet_socket(copies)

    def comes(self, is_it, sent, control):
        """How many such frames are seen (behind, outside) when these are sent and then the control, which carries a mark."""
        for each in sent:
            self.sender.send(each)
        last = mark_bytes()
        self.sender.send(control(last))
        return tuple(sum(map(is_it, seen_until(place, last, outgoing)))
                     for place, outgoing in ((self.behind, True), (self.outside, False)))


class Sniffer:
    """Beside a flood: sees any frame that reaches an interface, whatever its kind or port, and tells those that carry one of
    `words`. IPv4 with a source or destination to `ignore` is none of its business; the kernel leaves it out, so that the rest
    is few and none is missed."""

    def __init__(self, namespace, words, sources=(), destinations=(), interface="eth0"):
        self.words = [each if isinstance(each, bytes) else ipaddress.ip_address(each).packed for each in words]
        self.frame = b""  # the last of them
        self.socket = namespace.packet_socket(interface)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._ignore([(26, each) for each in sources] + [(30, each) for each in destinations])
        self.arrived()  # what came before it knew what to ignore

    def _ignore(self, fields):
        """Where a frame's addresses stand, and what is ignored there."""
        load_half, load_word, same, give = 0x28, 0x20, 0x15, 0x06
        code = [(load_half, 0, 0, 12), (same, 0, 2 * len(fields), 0x0800)]
        for number, (offset, address) in enumerate(fields):
            left = 2 * (len(fields) - number - 1)
            code += [(load_word, 0, 0, offset), (same, left + 1, 0, int(ipaddress.ip_address(address)))]
        code += [(give, 0, 0, 0xFFFFFFFF), (give, 0, 0, 0)]
        program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(code), ctypes.addressof(program)))

    def arrived(self):
        """How many such frames came since the last time."""
        count = 0
        try:
            while True:
                frame = self.socket.recv(65536)
                if any(word in frame for word in self.words):
                    self.frame, count = frame, count + 1
        except BlockingIOError:
            pass
        _, missed = struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        assert missed == 0, "frames that the sniffer has missed"
        return count


class Watched:
    """Around a fault: floods of what is forbidden, both ways, and who sees any frame of the guest's, whatever its kind or port, that
    leaves the node for nobody of `allowed`, or comes in to it from nobody of them. Nothing does; and once nothing holds the guest
    all does, so this is the end of a test. Where `inwards` may open for an instant (docs/assurance.md) it is not watched. What
    guests `beside` this one send is none of its business."""

    def __init__(self, node, allowed=(PARTIES["grantee"][4],), inwards=True, beside=()):
        self.node, self.allowed, self.inwards, self.stack = node, list(allowed), inwards, contextlib.ExitStack()
        self.beside = [each.addresses[4] for each in beside]

    def __enter__(self):
        world, guest = self.node.world, self.node.guest
        self.out = self.stack.enter_context(Flood(guest, world.outside, PARTIES["stranger"][4]))
        self.into = self.stack.enter_context(Flood(world.outside, guest, guest.addresses[4], port=7779))
        self.left = Sniffer(world.outside, [*guest.addresses.values(), b"leak"], self.beside, self.allowed)
        self.came = Sniffer(guest.namespace, [OUTSIDE[4], *(each[4] for each in PARTIES.values())], sources=self.allowed)
        return self

    def __exit__(self, *failure):
        with self.stack:
            if failure[0]:
                return
            for flood in (self.out, self.into):
                flood.send_more()
            assert self.out.arrived() == 0 and self.left.arrived() == 0, f"a frame that left the node: {self.left.frame.hex()}"
            if self.inwards:
                assert self.into.arrived() == 0 and self.came.arrived() == 0, f"a frame that came in: {self.came.frame.hex()}"
            self.node.agent.shows_open(self.out, self.into)
            assert self.left.arrived() > 0 and self.came.arrived() > 0, "who watches sees nothing"
