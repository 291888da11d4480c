"""Crash, restart, upgrade, churn and wrong manifests: what should live lives, what should not pass does not."""

import json
import os
import shutil
import signal
import socket
import time

import pytest
from agent import Counted, pins, without_server
from sniffing import Watched
from test_metrics import get, get_metric
from traffic import Flood, Numbered, TcpPair, UdpPair
from world import HAS_TCX, PARTIES, eventually, run


def flood_of(node, to="stranger"):
    """The guest sends what it may not, all the time."""
    return Flood(node.guest, node.world.outside, PARTIES[to][4])


def forbidden_stays_away(node):
    """Then the same socket reaches the stranger once nothing holds the guest; so this comes last."""
    with flood_of(node) as flood:
        time.sleep(0.3)
        assert flood.sent > 100 and flood.arrived() == 0
        node.agent.shows_open(flood)


def test_the_flood_arrives_without_grantd(world):
    guest = world.add_guest("web")
    node = type("Node", (), {"world": world, "guest": guest})
    with flood_of(node) as flood:
        eventually(lambda: flood.arrived() > 10, what="the flood at the stranger's")


def test_it_goes_on_when_nobody_reads_its_log_any_more(node):
    node.agent.kill()
    read, write = os.pipe()
    with open(write, "wb") as end:
        again = node.world.spawn(node.world.node, *node.agent.process.args, stderr=end)
    with open(read, "rb") as log:
        eventually(lambda: b" applied " in log.readline(), 20, what="the first apply")
    node.agent.grant(destinations=[f"{PARTIES['stranger'][4]}/32"])
    pair = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["stranger"][4])
    eventually(pair.both, what="an edit after its log had nobody to read it")
    assert again.poll() is None


def test_what_a_flood_sends_is_judged_and_not_kept_waiting_for_arp(node):
    """The control of every flood that nothing of arrives: who is closed gets no answer to ARP either."""
    world = node.world
    closed = world.add_guest("closed")
    node.agent.workload(closed, "nobodys")
    eventually(lambda: any(each["guest"] == "closed" for each in node.agent.json("endpoints")["endpoints"]), what="a closed guest")
    stranger, inside = PARTIES["stranger"][4], closed.addresses[4]
    with Flood(closed, world.outside, stranger) as out, Flood(world.outside, closed, inside, port=7778) as into:
        for flood, direction in ((out, "egress"), (into, "ingress")):
            with Counted(node.agent, "quarantine", direction, "(quarantine)", packets=200):
                flood.send_more(220)
                time.sleep(0.1)
        assert out.arrived() == 0 and into.arrived() == 0


def test_kill_and_restart_open_nothing_and_cut_nothing(node):
    """Class 2."""
    out = TcpPair(node.guest, node.world.outside, 4, to=PARTIES["destination"][4], port=443)
    into = TcpPair(node.world.outside, node.guest, 4, to=node.guest.addresses[4], source_address=PARTIES["grantee"][4])
    assert out.both() and into.both()
    policy = node.agent.policy()
    with flood_of(node) as flood:
        for _ in range(3):
            node.agent.kill()
            assert out.both() and into.both()
            assert not TcpPair(node.guest, node.world.outside, 4, to=PARTIES["stranger"][4], seconds=0.2).connected
            node.agent.start()
            assert out.both() and into.both()
        node.agent.kill(signal.SIGTERM)
        node.agent.start()
        assert out.both() and into.both()
        assert flood.sent > 1000
        assert flood.arrived() == 0
        assert node.agent.policy() == policy, "a restart publishes nothing"
        node.agent.shows_open(flood)


def test_a_change_while_the_agent_was_dead_is_made_when_it_starts(node):
    pair = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["destination"][4], port=5001)
    assert pair.both()
    node.agent.kill()
    node.agent.grant(destinations=[])
    assert pair.both()
    node.agent.start()
    assert pair.silent()


def test_a_number_that_was_given_out_never_comes_again(node):
    """The record that counts them is lost, as in an upgrade that gives its map another version: flows of a policy that
    was wide must not meet its number again (class 2)."""
    narrow, stranger = ["198.51.100.128/25:443/TCP"], PARTIES["stranger"][4]
    node.agent.in_force(lambda: node.agent.grant(destinations=narrow))
    node.agent.in_force(lambda: node.agent.grant(destinations=["0.0.0.0/0"]))
    wide = node.agent.policy()
    pair = UdpPair(node.guest, node.world.outside, 4, to=stranger)
    assert pair.both(), "the control: what the wide policy allows"
    node.agent.in_force(lambda: node.agent.grant(destinations=narrow))
    node.agent.kill()
    os.unlink(os.path.join(node.world.pin_root, "maps", "grantd_node_v1"))
    node.agent.start()
    for last in range(wide + 2):
        node.agent.in_force(lambda to=last: node.agent.grant(destinations=[*narrow, f"203.0.113.{to}:80/TCP"]))
        assert node.agent.policy() > wide and pair.silent(), "a flow of another policy"


def test_directories_of_pins_that_somebody_removed_come_back(node):
    """A Grant that comes afterwards has its tables, and the next agent finds what there was."""
    world, agent = node.world, node.agent
    pair = UdpPair(world.outside, node.guest, 4, to=node.guest.addresses[4], source_address=PARTIES["grantee"][4])
    assert pair.both()
    for part in ("maps", "programs"):
        shutil.rmtree(os.path.join(world.pin_root, part))
    agent.process.send_signal(signal.SIGHUP)
    eventually(lambda: agent.ctl("verify").returncode == 0, 5, what=lambda: agent.said() + agent.ctl("verify").stdout)
    other = world.add_guest("other")
    agent.grant("h")
    agent.workload(other, "h")
    eventually(UdpPair(other, world.outside, 4, to=PARTIES["grantee"][4]).both, 5, what=agent.said)
    agent.restart()
    assert pair.backward(), "the flow of before"
    forbidden_stays_away(node)


def test_pins_that_somebody_removed_come_back(node):
    pair = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["destination"][4], port=5001)
    assert pair.both()
    directories = [os.path.join(node.world.pin_root, part) for part in ("maps", "programs")]
    before = {each: sorted(os.listdir(each)) for each in directories}
    for each in directories:
        for name in before[each]:
            if name != "tables":  # a directory
                os.unlink(os.path.join(each, name))
    # A pin of something else under our name is none of ours.
    foreign, name = directories[0], "grantd_node_v1"
    run("bpftool", "map", "create", os.path.join(foreign, name), "type", "array", "key", "4", "value", "4", "entries", "1",
        "name", "foreign")
    node.agent.process.send_signal(signal.SIGHUP)
    eventually(lambda: {each: sorted(os.listdir(each)) for each in directories} == before, 5, what=lambda: f"all pins again: {node.agent.said()}")
    assert "pinned again" in node.agent.said()
    assert node.agent.json("status")["agent"]["running"] and node.agent.ctl("verify").returncode == 0
    assert pair.both() and UdpPair(node.guest, node.world.outside, 4, to=PARTIES["stranger"][4]).silent()
    node.agent.restart()
    assert pair.both()
    forbidden_stays_away(node)


@pytest.mark.parametrize("spoil,says", [
    (lambda text: text.replace("198.51.100.128/25:443", "198.51.100.1/25:443"), "allowedDestinations[0]"),
    (lambda text: text.replace("granteeRealm", "granteeRaelm"), "granteeRaelm"),
    (lambda text: text[: len(text) // 2], "grant-g.yaml"),
    (lambda text: "", "grant-g.yaml"),
])
def test_a_wrong_edit_leaves_what_was_in_force(node, spoil, says):
    """Classes 41 and 42: also over a restart in the middle of it."""
    pair = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["destination"][4], port=5002)
    assert pair.both()
    good = (node.agent.directory / "grant-g.yaml").read_text(encoding="utf-8")
    before = len(node.agent.said())
    node.agent.write("grant-g", spoil(good))
    eventually(lambda: says in node.agent.said()[before:], 5, what=lambda: f"a word on {says}: {node.agent.said()[before:]}")
    assert pair.both()
    node.agent.restart()
    assert pair.both()
    forbidden_stays_away(node)


def test_half_a_file_is_not_read(node):
    """Without its last lines a manifest may say more than with them. Written anew and in place, and others saved
    meanwhile; an agent that starts in the middle of it reads no half either."""
    more = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["destination"][4], port=6001)
    kept = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["destination"][4], port=5003)
    named = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["destination"][4], port=6000)
    path = node.agent.directory / "grant-g.yaml"
    whole = path.read_text(encoding="utf-8").replace("198.51.100.128/25:ICMP", "198.51.100.128/25:6000/UDP")
    as_yaml = whole.replace('"198.51.100.128/25:443/TCP"', '"198.51.100.128/25"')  # one half says all ports
    for anew in (True, False):
        said = len(node.agent.said())
        if anew:
            path.unlink()
        with open(path, "w", encoding="utf-8") as writer:
            writer.write(as_yaml)
            writer.flush()
            node.agent.realm("dora", ["203.0.113.251/32"])
            eventually(lambda since=said: "is being written" in node.agent.said()[since:], what="a word on it")
            assert kept.both() and more.silent()
            node.agent.restart()
            assert kept.both() and more.silent()
            writer.seek(0)
            writer.truncate()
            writer.write(whole)
        eventually(named.both, what="the whole")
        assert kept.both() and more.silent()


def test_an_edit_that_no_event_tells_of_is_in_force_at_the_next_look(node):
    """By the other name of the same file."""
    pair = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["destination"][4], port=5004)
    path, beside = node.agent.directory / "grant-g.yaml", node.world.path("grant-g")
    os.link(path, beside)
    text = path.read_text(encoding="utf-8")
    time.sleep(1)  # the link is an event, and the file is read for it
    node.agent.process.send_signal(signal.SIGHUP)  # which looks at everything: the next look is in 30 s
    time.sleep(1)
    with open(beside, "w", encoding="utf-8") as writer:
        writer.write(text.replace(":5000-5999/UDP", ":6000-6999/UDP"))
    time.sleep(1)
    assert pair.both(), "the control: nothing has told of it"
    eventually(pair.silent, 40, what="the edit in force")


def test_what_is_wrong_in_a_manifest_is_named(metered):
    """File, document, field, value and what is accepted (class 42); and its Grant is told of as refused for as long."""
    node, refused = metered, 'grantd_grant_refused{grant="keystone-system/g"} 1'
    assert refused not in get(node.world, "/metrics")[0]
    good = (node.agent.directory / "grant-g.yaml").read_text(encoding="utf-8")
    node.agent.write("grant-g", good.replace("198.51.100.128/25:5000-5999/UDP", "198.51.100.128/25:5000-5999/UDPX"))
    eventually(lambda: "UDPX" in node.agent.said(), what=lambda: f"a word on it: {node.agent.said()}")
    line = next(line for line in node.agent.said().splitlines() if "UDPX" in line)
    for part in ("grant-g.yaml", "allowedDestinations[1]", "TCP", "SCTP"):
        assert part in line, line
    eventually(lambda: refused in get(node.world, "/metrics")[0], what="a metric of it")
    assert UdpPair(node.guest, node.world.outside, 4, to=PARTIES["destination"][4], port=5420).both()
    node.agent.write("grant-g", good)
    eventually(lambda: refused not in get(node.world, "/metrics")[0], what="none any more")


def test_limits_that_change_with_a_restart(node):
    """Lowered, raised beyond the pinned maps, and taken back; what is in force stays all the time."""
    agent, other = node.agent, node.world.add_guest("other")
    pair = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["destination"][4], port=5003)
    more = UdpPair(other, node.world.outside, 4, to=PARTIES["destination"][4], port=5004)
    assert pair.both()
    defaults = list(agent.options)
    agent.kill()
    agent.options = [*defaults, "--max-flows", "16384", "--max-grants", "5000"]
    agent.grant("a")
    agent.workload(other, "a")
    agent.start()
    for words in ("--max-grants", "hold 4096", "Grant keystone-system/a", "--max-flows 16384"):
        eventually(lambda: words in agent.said(), 5, what=lambda: f"'{words}' in what grantd says: {agent.said()}")
    assert "its Grant is refused" in agent.ctl("endpoints").stdout
    limits = agent.json("status")["limits"]
    assert limits["flows"] == {"limit": 16384, "used": 16384, "refused": 1}
    assert limits["grants"]["limit"] == 4096
    assert pair.both() and more.silent()
    agent.kill()
    agent.options = defaults
    agent.start()
    assert agent.json("status")["limits"]["flows"] == {"limit": 67108864, "used": 2 * 16384, "refused": 0}
    assert pair.both()
    # Its questions for the gateway were refused as well: what waits for the last of them is lost with it.
    eventually(more.both, what="the other's traffic")


def test_an_interface_made_again_is_closed_again(node):
    """Classes 4 and 5: the same name, the same index, and nothing inherited."""
    guest = node.guest
    pair = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["grantee"][4])
    assert pair.both()
    before = node.agent.json("endpoints")["endpoints"][0]["endpoint_id"]
    index = node.world.node.interface_index(guest.interface)
    node.world.disconnect(guest)
    node.world.connect(guest, index)
    eventually(lambda: node.agent.json("endpoints")["endpoints"][0]["endpoint_id"] != before, what="another endpoint")
    fresh = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["grantee"][4])
    eventually(fresh.both, what="traffic of the interface made again")
    forbidden_stays_away(node)


def test_another_interface_under_a_guests_index_is_left_alone(node):
    """It is no guest's: the kernel has told the agent, however late it listens, that the guest's ended."""
    index = node.world.node.interface_index(node.guest.interface)
    node.agent.process.send_signal(signal.SIGSTOP)
    node.world.disconnect(node.guest)
    free = node.world.add_guest("free", index=index)
    node.agent.process.send_signal(signal.SIGCONT)
    eventually(lambda: not node.agent.json("endpoints")["endpoints"], what="the guest's record gone")
    pair = UdpPair(free, node.world.outside, 4, to=PARTIES["stranger"][4])
    assert pair.both()
    node.agent.in_force(lambda: node.agent.grant(revoked=True))
    assert pair.both(), "at later looks too"


def test_an_interface_made_again_while_the_agent_was_dead(node):
    guest = node.guest
    index = node.world.node.interface_index(guest.interface)
    node.agent.kill()
    node.world.disconnect(guest)
    node.world.connect(guest, index)
    node.agent.start()
    assert UdpPair(node.guest, node.world.outside, 4, to=PARTIES["grantee"][4]).both()
    forbidden_stays_away(node)


def test_guests_come_and_go_under_a_flood(node):
    """Class 15, and what compile, plan and apply leave behind: nothing. Who comes and goes sends what it may not, all the
    time: that arrives until it is held for the first time on its link, and then never again."""
    world, agent, other = node.world, node.agent, node.world.add_guest("churn")
    kept, comes = (UdpPair(each, world.outside, 4, to=PARTIES["grantee"][4]) for each in (node.guest, other))
    with flood_of(node) as flood, Numbered(other, world.outside, PARTIES["stranger"][4], port=7778) as churn:
        for turn in range(4):
            eventually(churn.come, what="what a guest without programs sends")
            agent.workload(other, "h")
            eventually(churn.closed, what="a guest whose Grant is not there held")
            agent.grant("h", [] if turn % 2 else None)
            eventually(lambda: agent.policy("h"), what="the second Grant")
            eventually(comes.both, what="what the second Grant allows")
            assert kept.both() and churn.opened_again() is None
            agent.remove("grant-h")
            eventually(lambda: agent.policy("h") is None, what="the second Grant gone")
            assert churn.opened_again() is None
            agent.remove("workload-churn")  # without it the guest stays held until its link goes
            eventually(lambda: "Workload or pod is gone" in agent.ctl("endpoints").stdout, what="the Workload gone")
            assert churn.opened_again() is None
            world.disconnect(other)
            churn.anew()
            eventually(lambda: len(agent.json("endpoints")["endpoints"]) == 1, 5, what="the old endpoint gone")
            assert not churn.come(), "it has no link"
            if turn < 3:
                world.connect(other, force=True)
        assert flood.sent > 100 and flood.arrived() == 0
    world.remove_guest(other)
    eventually(lambda: agent.json("status")["maps"]["grantd_policy"]["entries"] == 1, 5, what="old policies gone")


@pytest.mark.skipif(not HAS_TCX, reason="no tcx before Linux 6.6")
def test_drift_is_mended(metered):
    """Class 33: somebody takes our program away; SIGHUP does not wait for the next look. Until then the gate drops what the guest
    sends."""
    node, counter = metered, "grantd_drift_repaired_total"
    eventually(lambda: get(node.world, "/readyz")[1] == "200", what="readiness")
    before = get_metric(node.world, counter)
    link = os.path.join(node.world.pin_root, "links", f"from_guest-{node.world.node.interface_index(node.guest.interface)}")
    granted = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["grantee"][4])
    assert granted.both()
    with Watched(node, inwards=False):
        run("bpftool", "link", "detach", "pinned", link)
        assert "from_guest" in node.agent.ctl("verify").stdout and not granted.forward()
        node.agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: node.agent.ctl("verify").returncode == 0, 5, what="the program back in its place")
        eventually(lambda: get_metric(node.world, counter) > before, what="a count of what was mended")
        assert eventually(granted.both)


@pytest.mark.parametrize("whole", [False, True], ids=["pins", "their directory"])
def test_a_link_whose_pin_somebody_removed_holds_until_it_is_back(node, whole):
    """The agent holds the link itself; it is the same one that gets its pin again, at the latest when the agent ends."""
    world, index = node.world, node.world.node.interface_index(node.guest.interface)
    links = [os.path.join(world.pin_root, "links", f"{hook}-{index}") for hook in ("from_guest", "to_guest")]

    def numbers():
        return [json.loads(run("bpftool", "-j", "link", "show", "pinned", link))["id"] for link in links]

    def remove():
        for link in links:
            os.unlink(link)
        if whole:
            shutil.rmtree(os.path.dirname(links[0]))

    pair = UdpPair(node.guest, world.outside, 4, to=PARTIES["destination"][4], port=5001)
    with Flood(node.guest, world.outside, PARTIES["stranger"][4]) as out, \
            Flood(world.outside, node.guest, node.guest.addresses[4], port=7779) as into:
        for _ in range(2):  # the second agent adopts them
            assert pair.both()
            before, endpoint = numbers(), node.agent.json("endpoints")["endpoints"][0]["endpoint_id"]
            remove()
            time.sleep(1)
            assert pair.both() and not any(os.path.exists(link) for link in links), "no look in between"
            node.agent.process.send_signal(signal.SIGHUP)
            eventually(lambda: all(os.path.exists(link) for link in links), 5, what=lambda: f"the pins: {node.agent.said()}")
            assert numbers() == before and pair.both()
            assert node.agent.json("endpoints")["endpoints"][0]["endpoint_id"] == endpoint
            assert "their pins are not where they were left" in node.agent.said()
            assert "is set down" not in node.agent.said()
            remove()
            node.agent.kill(signal.SIGTERM)
            assert pair.both(), "the agent has left them behind"
            node.agent.start()
            assert numbers() == before and pair.both()
        assert out.sent > 1000 and out.arrived() == 0
        assert into.sent > 1000 and into.arrived() == 0
        node.agent.shows_open(out, into)


def test_only_uninstall_opens_and_it_leaves_nothing(node):
    pair = UdpPair(node.guest, node.world.outside, 4, to=PARTIES["stranger"][4])
    assert pair.silent()
    mistaken = node.world.pin_root + "-mistaken"
    remembered = sorted(os.listdir(node.world.path("state")))
    assert "last-good" in remembered
    refused = node.agent.uninstall(pin_root=mistaken, namespace=node.world.outside)
    assert refused.returncode == 1 and f'{node.world.path("state")}: another grantd runs' in refused.stderr, refused.stderr
    node.agent.kill()
    refused = node.agent.uninstall(pin_root=mistaken)
    assert refused.returncode == 1 and "another pin root" in refused.stderr, refused.stderr
    assert node.guest.interface in refused.stderr, "which interfaces it would have opened"
    assert sorted(os.listdir(node.world.path("state"))) == remembered and not os.path.exists(mistaken)
    assert pair.silent()
    assert pins(node.world)
    done = node.agent.uninstall()
    assert done.returncode == 0, done.stderr
    assert pair.both()
    assert not pins(node.world) and not os.path.exists(node.world.pin_root)
    assert not os.path.exists(node.world.path("state"))
    assert "clsact" not in run("tc", "-n", node.world.node.name, "qdisc", "show")
    assert node.agent.uninstall().returncode == 0, "what is gone already is no error"


def test_it_waits_for_an_api_server_that_is_away(world):
    process, per_second = world.spawn(world.node, *without_server(world)), os.sysconf("SC_CLK_TCK")

    def cpu_seconds():
        with open(f"/proc/{process.pid}/stat", encoding="utf-8") as stat:
            return sum(map(int, stat.read().rpartition(")")[2].split()[11:13])) / per_second
    eventually(lambda: len(pins(world)) > 20, what="an agent that has begun")
    time.sleep(1)
    before, begin = cpu_seconds(), time.monotonic()
    time.sleep(2)
    assert cpu_seconds() - before < 0.3 * (time.monotonic() - begin), "it turns without end"
    assert process.poll() is None
    process.kill()
    process.wait()
