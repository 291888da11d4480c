"""How far a guest's frames come: behind the programs of its interface, where nothing but they can have dropped a frame yet,
and out of the node."""

import socket
import time

from traffic import mark_bytes

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
