"""Another program on a guest's interface that writes other addresses into packets, before ours and after it (class 32)."""

import signal
import socket

import pytest
from agent import Agent, Counted
from foreign import foreign_filter
from sniffing import Sniffer
from traffic import ARRIVES, ENOUGH, Flood, namespace_of, next_port
from world import HAS_TCX, PARTIES

HOME, STRANGER = PARTIES["grantee"][4], PARTIES["stranger"][4]
GO_ON = -1  # TC_ACT_UNSPEC: the next filter
SOURCE, DESTINATION = 26, 30  # in the frame

REWRITE = """
#include <linux/bpf.h>
static long (*store)(void *, unsigned, const void *, unsigned, unsigned long) = (void *)9;
static long (*mend_ip)(void *, unsigned, unsigned long, unsigned long, unsigned long) = (void *)10;
static long (*mend_udp)(void *, unsigned, unsigned long, unsigned long, unsigned long) = (void *)11;
static long (*load)(const void *, unsigned, void *, unsigned) = (void *)26;
__attribute__((section("tc"), used)) int foreign(struct __sk_buff *skb) {
  unsigned old = 0, other = %d;
  if (skb->protocol != %d || load(skb, %d, &old, 4) || old != %d) return -1;
  mend_udp(skb, 40, old, other, 4 | 16);
  mend_ip(skb, 24, old, other, 4);
  store(skb, %d, &other, 4, 0);
  return %d;
}
char name_of_license[] __attribute__((section("license"), used)) = "GPL";
"""


def number(address):
    """As it stands in the packet, in this machine's order."""
    return socket.htonl(int.from_bytes(socket.inet_aton(address), "big"))


def rewrites(world, interface, side, field, old, other, verdict):
    text = REWRITE % (number(other), socket.htons(0x0800), field, number(old), field, verdict)
    foreign_filter(world, interface, side, verdict, text=text)


class Rewritten(Flood):
    """A flood to an address, and who receives it once it bears the other one. Beside it one of what is forbidden the other way,
    and who sees any frame of both, whatever its addresses."""

    def __init__(self, source, destination, to, bind_to, source_address="", back=None):
        super().__init__(source, destination, bind_to, port=next_port())
        self.sender.bind((source_address, 0))
        self.goal = (to, self.goal[1])
        self.back = Flood(*back)
        self.seen = [Sniffer(namespace_of(each), [b"leak"]) for each in (destination, back[1])]

    def __enter__(self):
        self.back.__enter__()
        return super().__enter__()

    def __exit__(self, *failure):
        super().__exit__(*failure)
        self.back.__exit__(*failure)

    def is_refused(self):
        for each in (self, self.back):
            each.send_more()
        return not any(each.arrived() for each in (self, self.back, *self.seen))

    def comes_from(self):
        """From whom the newest comes."""
        self.arrived()
        self.receiver.settimeout(ARRIVES)
        try:
            return self.receiver.recvfrom(64)[1][0]
        except TimeoutError:
            return None
        finally:
            self.receiver.setblocking(False)


def arrives_once_nothing_holds(agent, packets, sender):
    agent.shows_open(packets, packets.back, *packets.seen)
    assert packets.comes_from() == sender


def started(world, *options):
    agent = Agent(world, *options)
    guest, other = world.add_guest("web"), world.add_guest("other")
    agent.grant()
    agent.grant("h", [], granteeRealm="carol")
    agent.workload(guest)
    agent.workload(other, "h")
    agent.start()
    return agent, guest, other


@pytest.mark.parametrize("side", ["ingress", "egress"])
def test_what_is_rewritten_before_ours_is_judged_as_it_goes_on(world, side):
    """With clsact, and until the agent puts ours in front again: to who it goes, and from who the uplink has it."""
    agent, guest, _ = started(world, "--attach", "clsact")
    web = guest.addresses[4]
    if side == "ingress":
        packets = Rewritten(guest, world.outside, HOME, STRANGER, back=(world.outside, guest, web))
        field, old, other, sender = DESTINATION, HOME, STRANGER, web
    else:
        packets = Rewritten(world.outside, guest, web, web, STRANGER, back=(guest, world.outside, STRANGER))
        field, old, other, sender = SOURCE, STRANGER, HOME, HOME
    agent.process.send_signal(signal.SIGSTOP)
    rewrites(world, guest.interface, side, field, old, other, GO_ON)
    with packets:
        with Counted(agent, *(("destination",) if side == "ingress" else ("nobody", "ingress")), packets=ENOUGH):
            assert packets.is_refused()
        arrives_once_nothing_holds(agent, packets, sender)


@pytest.mark.skipif(not HAS_TCX, reason="no tcx before Linux 6.6")
@pytest.mark.parametrize("what", ["to a party", "to another guest", "from a party"])
def test_what_is_rewritten_after_ours_was_judged_as_it_came(world, what):
    """And another guest's program meets it with the number of who sent it."""
    agent, guest, other = started(world)
    web, inside = guest.addresses[4], other.addresses[4]
    back = (world.outside, guest, web)
    if what == "from a party":
        packets, sender = Rewritten(world.outside, guest, web, web, STRANGER, back=(guest, world.outside, STRANGER)), HOME
        rewrites(world, guest.interface, "egress", SOURCE, STRANGER, HOME, GO_ON)
        counted = ("nobody", "ingress")
    elif what == "to a party":
        packets, sender = Rewritten(guest, world.outside, STRANGER, HOME, back=back), web
        rewrites(world, guest.interface, "ingress", DESTINATION, STRANGER, HOME, GO_ON)
        counted = ("destination",)
    else:
        packets, sender = Rewritten(guest, other, HOME, inside, back=back), web
        rewrites(world, guest.interface, "ingress", DESTINATION, HOME, inside, GO_ON)
        counted = ("not_a_party", "ingress", "keystone-system/h")
    with packets:
        with Counted(agent, *counted, packets=ENOUGH):
            assert packets.is_refused()
        arrives_once_nothing_holds(agent, packets, sender)
