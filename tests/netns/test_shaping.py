"""Limits by queues: the whole rate without a loss, each guest its part, and the bucket behind it (class 37)."""

import contextlib
import json
import signal
import socket
import statistics
import subprocess
import time

import pytest
from agent import Agent
from bandwidth import probe
from queues import classes, links
from test_bandwidth import BURST, HARD, LIMITED, RATE, bound, udp_bytes
from test_iperf3 import LOAD, Iperf3
from traffic import SO_RCVBUFFORCE, Flood, Ping, TcpPair, UdpPair
from world import PARTIES, eventually

HOME = PARTIES["grantee"]
GRANT = "keystone-system/g"


@pytest.fixture(name="limited")
def limited_node(node):
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    eventually(lambda: len(classes(node)) == 4, what="queues")
    return node


def has_sfq(node):
    """Of a kernel that can be had in a machine of vmtest, and not of every one."""
    made = subprocess.run(["ip", "netns", "exec", node.world.tailnet.name, "tc", "qdisc", "replace", "dev", "lo", "root", "sfq"],
                          capture_output=True, check=False)
    return made.returncode == 0


def leaves(node):
    queue, _ = links(node)
    return [line.split()[1] for line in node.world.node.run("tc", "qdisc", "show", "dev", queue).splitlines() if " parent " in line]


def metrics(node):
    text = node.world.node.run("curl", "-s", "http://127.0.0.1:9786/metrics")
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))


def limited_bytes(values, outcome, direction="egress", guest="web"):
    of = f'grant="{GRANT}",guest="{guest}",direction="{direction}",outcome="{outcome}"'
    return float(values[f"grantd_limited_bytes_total{{{of}}}"])


def nothing_waits(node, direction="egress"):
    """Until it is so, by what the agent says of the guest `web`."""
    queue = f'grantd_queue_bytes{{grant="{GRANT}",guest="web",direction="{direction}"}}'
    eventually(lambda: float(metrics(node)[queue]) == 0, what="an empty queue")


def retransmits(run):
    said = run.client.communicate(timeout=60)[0]
    assert run.client.returncode == 0, said[-2000:]
    return json.loads(said)["end"]["sum_sent"]["retransmits"]


def test_the_mode_and_its_reason_are_told(node):
    why = "the kernel has HTB" + (", and SFQ for the flows of a guest" if has_sfq(node) else "")
    assert node.agent.json("status")["shaper"] == {"mode": "htb", "why": why}
    assert f"htb: {why}" in node.agent.ctl("status").stdout
    assert len(links(node)) == 2
    assert classes(node) == [], "an unlimited Grant has no class"


class LargeFlood(Flood):
    def payload(self):
        return b"x" * 1400


def test_flows_of_a_guest_take_turns_where_the_kernel_has_sfq(limited):
    """A datagram does not wait for those of another flow; without SFQ it waits for all that came before it."""
    fair = has_sfq(limited)
    wanted = ["bfifo", "sfq"] if fair else ["bfifo", "bfifo"]
    assert sorted(leaves(limited)) == wanted
    limited.agent.kill()
    limited.agent.start()
    assert sorted(leaves(limited)) == wanted, "it finds what it would make"
    with LargeFlood(limited.guest, limited.world.outside, HOME[4], port=6000):
        time.sleep(1)
        delays = sorted(probe((limited.guest, "0.0.0.0", limited.world.outside, HOME[4]), 2))
    assert len(delays) > 20
    waits = 8 * 1442 * 20 / RATE  # of the packets that wait: more are in the buffer of a socket, fewer have their turn before it
    assert (statistics.median(delays) < waits) == fair, delays[len(delays) // 2]


@pytest.mark.parametrize("reverse", [False, True])
def test_tcp_takes_the_rate_and_loses_nothing(limited, reverse):
    run = Iperf3(limited, 6 if reverse else 4, "-t", "3", reverse=reverse)
    got, elapsed = run.received()
    assert 0.72 * RATE / 8 * 3 <= got <= bound(elapsed)
    assert limited.agent.drops("rate_limit") + limited.agent.drops("rate_limit", "ingress") == 0, "the bucket had no work"


def test_a_sender_here_retransmits_nothing(limited):
    assert retransmits(Iperf3(limited, 4, "-t", "2", "-P", "4")) == 0


@pytest.mark.parametrize("reverse", [False, True])
def test_a_flood_takes_the_rate_and_not_more(limited, reverse):
    outside, guest = limited.world.outside, limited.guest
    ends = (outside, guest, guest.addresses[4], 9201) if reverse else (guest, outside, HOME[4], 9200)
    (got,), elapsed = udp_bytes([ends])
    assert 0.9 * RATE / 8 * elapsed <= got <= bound(elapsed)
    assert limited.agent.drops("rate_limit", "ingress" if reverse else "egress") == 0


def test_one_guest_does_not_starve_the_other(limited):
    """A flood beside a connection: each gets its half."""
    other = limited.world.add_guest("second")
    limited.agent.workload(other)
    eventually(lambda: len(classes(limited)) == 6, what="a class of each guest")
    run = Iperf3(limited, 4, "-t", "4")
    (flood,), elapsed = udp_bytes([(other, limited.world.outside, HOME[4], 9210)], 3.0)
    got, _ = run.received()
    assert flood + got <= bound(elapsed + 2)
    assert flood <= BURST + 0.65 * RATE / 8 * elapsed
    assert got >= 0.35 * RATE / 8 * 3


def segments(guest):
    return json.loads(guest.namespace.run("ip", "-j", "-d", "link", "show", "eth0"))[0]["gso_max_segs"]


def delay_under_load(limited):
    """Median of small datagrams beside a connection of the same guest."""
    run = Iperf3(limited, 4, "-t", "3")
    time.sleep(1.5)
    delays = probe((limited.guest, "0.0.0.0", limited.world.outside, HOME[4]), 1)
    run.received()
    assert len(delays) > 10
    return statistics.median(delays)


def test_a_guests_own_packets_are_small_and_its_queue_short(limited):
    """Only under a limit, and as it was before when that is over, also by another agent and at the end."""
    agent, guest = limited.agent, limited.guest
    eventually(lambda: segments(guest) == 1, what="small packets")
    short = delay_under_load(limited)
    guest.namespace.ip("link set eth0 gso_max_segs 65535")
    assert delay_under_load(limited) > 3 * short
    agent.process.send_signal(signal.SIGHUP)
    eventually(lambda: segments(guest) == 1, what="small packets again, though the guest had it otherwise")
    agent.kill()
    agent.grant()
    agent.start()
    eventually(lambda: segments(guest) == 65535, what="large packets without a limit")
    agent.in_force(lambda: agent.grant(**LIMITED))
    eventually(lambda: segments(guest) == 1, what="small packets under the new limit")
    agent.kill()
    assert agent.uninstall().returncode == 0
    assert segments(guest) == 65535


def test_where_a_guests_end_cannot_be_reached_its_limit_holds_all_the_same(world):
    guest = world.add_guest("web")
    agent = Agent(world)
    agent.grant(**LIMITED)
    agent.workload(guest)
    agent.under = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    agent.start()
    eventually(lambda: "goes on sending large packets" in agent.said(), what="it is told")
    assert segments(guest) == 65535
    (got,), elapsed = udp_bytes([(guest, world.outside, HOME[4], 9290)], 1.0)
    assert 0.7 * RATE / 8 * elapsed <= got <= bound(elapsed)


def test_what_waits_is_cut_by_revocation(limited):
    """Much waits when the Grant ends; none of it gets through."""
    run = limited.guest.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver = limited.world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((HOME[4], 9220))
    for _ in range(400):  # a burst passes at once, the rest waits for 0.2 s
        run.sendto(b"x" * 1400, (HOME[4], 9220))
    assert receiver.recv(2048), "it flows"
    limited.agent.in_force(lambda: limited.agent.grant(revoked=True))
    receiver.settimeout(0.3)
    with pytest.raises(TimeoutError):
        while receiver.recv(2048):
            pass
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        with pytest.raises(TimeoutError):
            receiver.recv(2048)


@pytest.mark.parametrize("kind", LOAD)
@pytest.mark.parametrize("reverse", [False, True], ids=["egress", "ingress"])
@pytest.mark.parametrize("family", [4, 6])
def test_changes_of_the_rate_keep_connections_and_the_bound(limited, family, reverse, kind):
    pair = TcpPair(limited.guest, limited.world.outside, family, to=HOME[family])
    assert pair.both()
    run = Iperf3(limited, family, *LOAD[kind], "-t", "3", reverse=reverse)
    for turn in range(10):
        hard = {name: "8M" if turn % 2 == 0 else "16M" for name in HARD}
        limited.agent.in_force(lambda hard=hard: limited.agent.grant(**{**LIMITED, "hard": hard}))
        time.sleep(0.15)
    got, elapsed = run.received()
    assert 0.35 * RATE / 8 * 3 <= got <= bound(elapsed)  # it sends for 3 s, however long the changes took
    assert pair.both()
    assert limited.agent.drops("rate_limit") + limited.agent.drops("rate_limit", "ingress") == 0
    hard = {name: "4M" for name in HARD}
    limited.agent.in_force(lambda: limited.agent.grant(**{**LIMITED, "hard": hard}))
    got, elapsed = Iperf3(limited, family, *LOAD[kind], "-t", "2", reverse=reverse).received()
    assert 0 < got <= BURST + 4e6 / 8 * elapsed < bound(elapsed) / 2, "the lower one is in force"
    limited.agent.in_force(limited.agent.grant)
    eventually(lambda: classes(limited) == [], what="no class of an unlimited Grant")
    assert pair.both()


def test_senders_stay_who_they_are(limited):
    """The local node is known by where a packet came from, others by their stamp: both outlive the queue."""
    agent, world, guest = limited.agent, limited.world, limited.guest
    for family in (4, 6):
        assert TcpPair(world.node, guest, family, to=guest.addresses[family]).both()
        assert UdpPair(world.outside, guest, family, to=guest.addresses[family], source_address=HOME[family]).both()
        assert Ping(guest, family, HOME[family]).answered()
        assert UdpPair(world.outside, guest, family, to=guest.addresses[family],
                       source_address=PARTIES["stranger"][family]).silent()
    agent.in_force(lambda: agent.grant(**LIMITED, networkPolicy={"egressAllowed": False, "ingress": {"from": ["Grantee"]}}))
    assert not TcpPair(world.node, guest, 4, to=guest.addresses[4], seconds=0.3).connected
    assert UdpPair(world.outside, guest, 4, to=guest.addresses[4], source_address=HOME[4]).both()


def test_large_datagrams_and_fragments_wait_too(limited):
    for size in (1472, 1473, 8000):
        receiver = limited.world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind((HOME[4], 9230))
        limited.guest.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x" * size, (HOME[4], 9230))
        assert len(receiver.recv(65536)) == size
        receiver.close()


def test_without_its_interfaces_the_bucket_holds(limited):
    """Somebody removes the queues while no agent runs, and while one does."""
    queue, _ = links(limited)
    ends = (limited.guest, limited.world.outside, HOME[4])
    limited.agent.kill()
    limited.world.node.run("tc", "qdisc", "del", "dev", queue, "root")
    (got,), elapsed = udp_bytes([(*ends, 9240)], 1.0)
    assert 0.5 * RATE / 8 * elapsed <= got <= bound(elapsed), "without the qdisc"
    limited.world.node.run("ip", "link", "del", queue)
    (got,), elapsed = udp_bytes([(*ends, 9241)], 1.0)
    assert got <= bound(elapsed), "without the interfaces"
    limited.agent.start()
    eventually(lambda: len(classes(limited)) == 4, what="queues again")
    (got,), elapsed = udp_bytes([(*ends, 9242)], 1.0)
    assert 0.7 * RATE / 8 * elapsed <= got <= bound(elapsed), "with queues again"
    limited.world.node.run("ip", "link", "del", links(limited)[0])
    eventually(lambda: len(links(limited)) == 2 and len(classes(limited)) == 4, what="queues that an agent mends")
    limited.world.node.run("tc", "qdisc", "del", "dev", links(limited)[0], "root")
    eventually(lambda: len(classes(limited)) == 4, what="a qdisc that an agent mends, without being asked to look")
    assert TcpPair(limited.guest, limited.world.outside, 4, to=HOME[4]).both()


def known(node):
    """Metrics, once what queues lost is among them."""
    values = metrics(node)
    return values if any('outcome="lost"' in name for name in values) else None


def test_guests_are_accounted_to_the_byte(metered):
    node, world, guest, agent = metered, metered.world, metered.guest, metered.agent
    agent.in_force(lambda: agent.grant(**LIMITED))
    eventually(lambda: len(classes(node)) == 4, what="queues")
    assert UdpPair(guest, world.outside, 4, to=HOME[4]).both()  # neighbours are known now
    before = eventually(lambda: known(node), what="what was lost, known")
    receiver = world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
    receiver.bind((HOME[4], 9250))
    sender = guest.socket(socket.AF_INET, socket.SOCK_DGRAM, timeout=20)
    for _ in range(800):  # the queue holds the sender back: nothing is lost
        sender.sendto(b"x" * 1400, (HOME[4], 9250))
    nothing_waits(node)
    after, got = eventually(lambda: known(node), what="what was lost, known"), 0
    receiver.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while receiver.recv(2048):
            got += 1442

    def grown(outcome):
        return limited_bytes(after, outcome) - limited_bytes(before, outcome)

    assert got == 800 * 1442
    assert grown("allowed") == grown("delayed") == got, "what arrived"
    assert grown("refused") == grown("lost") == 0
    delays = {name: float(value) for name, value in after.items()
              if name.startswith("grantd_queue_delay_seconds_bucket") and 'direction="egress"' in name}
    assert max(delays.values()) > got / 1442 - 1
    top = agent.ctl("top", "--count", "1", "--interval", "100").stdout
    assert "  web" in top and "QUEUE" in top


def test_the_policer_alone_makes_no_queues(world):
    guest = world.add_guest("web")
    agent = Agent(world, "--shaper", "policer")
    agent.grant(**LIMITED)
    agent.workload(guest)
    agent.start()
    assert agent.json("status")["shaper"] == {"mode": "policer", "why": "--shaper policer"}
    assert "grantd-q" not in world.node.run("ip", "-o", "link")
    (got,), elapsed = udp_bytes([(guest, world.outside, HOME[4], 9260)], 1.0)
    assert 0.7 * RATE / 8 * elapsed <= got <= bound(elapsed)
    assert agent.drops("rate_limit") > 0


def test_the_mode_can_change_and_uninstall_leaves_nothing(limited):
    agent, world = limited.agent, limited.world
    pair = TcpPair(limited.guest, world.outside, 4, to=HOME[4])
    assert pair.both()
    agent.kill()
    agent.options += ["--shaper", "policer"]
    agent.start()
    eventually(lambda: not links(limited), what="no queues")
    assert pair.both()
    agent.kill()
    agent.options[-1] = "htb"
    agent.start()
    eventually(lambda: len(classes(limited)) == 4, what="queues again")
    assert pair.both()
    agent.kill()
    done = agent.uninstall()
    assert done.returncode == 0, done.stderr
    assert not links(limited)


def test_where_queues_cannot_be_made_the_bucket_is_taken(world):
    """Somebody else's interface has the name: it is left alone."""
    guest = world.add_guest("web")
    agent = Agent(world)
    agent.grant(**LIMITED)
    agent.workload(guest)
    agent.start()
    name = next(each["ifname"] for each in json.loads(world.node.run("ip", "-j", "link")) if each["ifname"].startswith("grantd-q"))
    agent.kill()
    world.node.run("ip", "link", "del", name)
    world.node.ip(f"link add {name} type veth peer name other0")
    agent.start()
    told = agent.json("status")["shaper"]
    assert told["mode"] == "policer" and told["why"].startswith("no queues: ")
    (got,), elapsed = udp_bytes([(guest, world.outside, HOME[4], 9270)], 1.0)
    assert 0.7 * RATE / 8 * elapsed <= got <= bound(elapsed)
    assert name in world.node.run("ip", "-o", "link")
    with pytest.raises(AssertionError, match="grantd ended"):
        agent.kill()
        agent.options += ["--shaper", "htb"]
        agent.start()


def test_a_pair_that_was_left_half_made_is_made_anew(limited, faults):
    """By an agent that was killed before it could say whose the pair is. What is not that is left alone."""
    agent, node = limited.agent, limited.world.node

    def shown():
        return {each["ifname"]: each for each in json.loads(node.run("ip", "-j", "-d", "link")) if each["ifname"].startswith("grantd-")}

    def starts_with(mode):
        agent.start()
        assert agent.json("status")["shaper"]["mode"] == mode
        agent.kill()

    agent.kill()
    name, _ = links(limited)
    node.ip(f"link del {name}")
    agent.environment = faults.environment
    turn = 0
    while not shown():
        turn += 1
        faults.arm("netlink", turn, kills=True)
        agent.launch()
        agent.process.wait(10)
    faults.disarm()
    half = shown()
    assert len(half) == 2 and not any("ifalias" in each or "UP" in each["flags"] for each in half.values())
    starts_with("htb")
    assert all("ifalias" in each and "UP" in each["flags"] for each in shown().values()) and len(shown()) == 2
    group = half[name]["group"]
    others = {"no group": f"link add {name} type veth peer name other0", "no veth": f"link add {name} group {group} type bridge",
              "an alias": f"link add {name} group {group} type veth peer name other0", "up": f"link add {name} group {group} type veth"}
    for what, add in others.items():
        node.ip(f"link del {name}", add)
        if what in ("an alias", "up"):
            node.ip(f"link set {name} {'up' if what == 'up' else 'alias others'}")
        index = shown()[name]["ifindex"]
        starts_with("policer")
        assert shown()[name]["ifindex"] == index, what
    node.ip(f"link del {name}")
    starts_with("htb")


def cni_bandwidth(node, egress_bps, ingress_bps):
    """The plugin that k3s has in its chain, as it acts on a pod with kubernetes.io/egress-bandwidth and -ingress-bandwidth."""
    guest = node.guest
    netns = f"/run/netns/{guest.namespace.name}"
    config = {"cniVersion": "1.0.0", "name": "net", "type": "bandwidth", "egressRate": egress_bps, "egressBurst": 2**20,
              "ingressRate": ingress_bps, "ingressBurst": 2**20,
              "prevResult": {"cniVersion": "1.0.0", "ips": [], "interfaces": [
                  {"name": guest.interface, "mac": guest.gateway_mac}, {"name": "eth0", "mac": guest.mac, "sandbox": netns}]}}
    with node.world.node.entered():
        done = subprocess.run(["/usr/lib/cni/bandwidth"], input=json.dumps(config), capture_output=True, text=True, check=False,
                              env={"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "pod", "CNI_NETNS": netns, "CNI_IFNAME": "eth0",
                                   "CNI_PATH": "/usr/lib/cni", "PATH": "/usr/sbin:/usr/bin"})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("annotated", [4_000_000, 1_000_000_000])
def test_an_annotation_tightens_and_never_loosens(limited, annotated):
    """Both limits hold, so the smaller one counts, whatever the guest's pod says of itself."""
    cni_bandwidth(limited, annotated, annotated)
    outside, guest = limited.world.outside, limited.guest
    for ends in ((guest, outside, HOME[4], 9280), (outside, guest, guest.addresses[4], 9281)):
        (got,), elapsed = udp_bytes([ends], 1.5)
        assert got <= bound(elapsed)
        if annotated < RATE:
            assert got <= 2**20 / 8 + 2**18 + 1.1 * annotated / 8 * elapsed, "the plugin's own limit"
        else:
            assert got >= 0.7 * RATE / 8 * elapsed
    assert TcpPair(guest, outside, 4, to=HOME[4], seconds=3).connected
