"""Marks of others: what collides with the stamp is told of, and what does not is not."""

import signal

from test_metrics import get
from agent import Agent
from traffic import UdpPair
from world import PARTIES, eventually

NEIGHBOURS = [
    "ip rule add priority 5210 fwmark 0x80000/0xff0000 table main",
    "iptables -t mangle -A PREROUTING -m conntrack --ctstate ESTABLISHED,RELATED -j CONNMARK --restore-mark "
    "--nfmask 0xff0000 --ctmask 0xff0000",
    "iptables -A FORWARD -m mark --mark 0x40000/0xff0000 -j ACCEPT",
    "iptables -t nat -N KUBE-MARK-MASQ",
    "iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
    "ip6tables -t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE",
]


def collisions(world):
    values = dict(line.rsplit(" ", 1) for line in get(world, "/metrics")[0].splitlines() if not line.startswith("#"))
    return values.get("grantd_stamp_collisions")


def lines(agent, text):
    return [line for line in agent.said().splitlines() if text in line]


def test_collisions_with_the_stamp_are_told_once_and_when_they_are_over(world):
    guest = world.add_guest("web")
    for command in NEIGHBOURS:
        world.node.run(*command.split())
    agent = Agent(world, listen="127.0.0.1:9786")
    agent.grant()
    agent.workload(guest)
    stranger = UdpPair(guest, world.outside, 4, to=PARTIES["stranger"][4])
    assert stranger.both(), "without an agent it arrives"
    agent.start()

    def look():
        agent.process.send_signal(signal.SIGHUP)

    assert eventually(lambda: collisions(world) == "0", what=lambda: f"a first look; {agent.said()}")
    assert not lines(agent, "stamp mask")
    world.node.run("ip", "rule", "add", "priority", "100", "fwmark", "0x1/0x1", "table", "main")
    world.node.run("iptables", "-t", "mangle", "-A", "FORWARD", "-d", PARTIES["carol"][4], "-j", "MARK", "--set-mark", "0x1")
    look()
    assert eventually(lambda: collisions(world) == "2", what=lambda: f"two collisions; {agent.said()}")
    look()
    assert eventually(lambda: collisions(world) == "2")
    rule, target = "policy routing rule 100 (IPv4)", "nftables ip mangle FORWARD"
    assert len(lines(agent, rule)) == 1 and "takes some stamps for its mark" in lines(agent, rule)[0]
    assert len(lines(agent, target)) == 1 and "overwrites the stamp" in lines(agent, target)[0]
    assert "--stamp-mask 0x" in lines(agent, rule)[0] and "warning" in lines(agent, rule)[0]
    # Enforcement goes on.
    assert UdpPair(guest, world.outside, 4, to=PARTIES["grantee"][4]).both()
    assert stranger.silent()
    world.node.run("ip", "rule", "del", "priority", "100")
    look()
    assert eventually(lambda: collisions(world) == "1", what=lambda: f"one is over; {agent.said()}")
    assert any("no longer" in line for line in lines(agent, rule))


def test_a_mark_that_overwrites_the_stamp_is_what_the_warning_says(world):
    """The sender becomes nobody: it fails closed."""
    guest = world.add_guest("web")
    agent = Agent(world)
    agent.grant()
    agent.workload(guest)
    agent.start()

    def reaches():
        return UdpPair(world.outside, guest, 4, to=guest.addresses[4], source_address=PARTIES["grantee"][4])

    assert reaches().both()
    world.node.run("iptables", "-t", "mangle", "-A", "PREROUTING", "-i", "uplink0", "-j", "MARK", "--set-mark", "0x1")
    before = agent.drops("nobody", "ingress")
    assert reaches().silent()
    assert agent.drops("nobody", "ingress") > before
    world.node.run("iptables", "-t", "mangle", "-F")
    assert reaches().both()
