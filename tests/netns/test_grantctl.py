"""grantctl on a live node, with and without an agent."""

import json
import pathlib
import signal
import subprocess

import frames
import pytest
from agent import GRANTCTL, manifest
from traffic import Flood, TcpPair, UdpPair
from world import GATEWAY, PARTIES, eventually, run

BOUNDED = {"top": ["--count", "1", "--interval", "100"], "monitor": ["--seconds", "1"], "explain": ["web", "192.0.2.10"]}
COMMANDS = ["status", "grants", "endpoints", "flows", "drops", "top", "monitor", "explain", "verify"]


def test_flows_show_who_began_them(node):
    out = TcpPair(node.guest, node.world.outside, 4, to=PARTIES["destination"][4], port=443)
    into = UdpPair(node.world.outside, node.guest, 4, to=node.guest.addresses[4], source_address=PARTIES["grantee"][4])
    assert out.both() and into.both()
    flows = {(each["protocol"], each["initiator"]): each for each in node.agent.json("flows")["flows"]}
    assert flows["TCP", "guest"]["peer"] == f"{PARTIES['destination'][4]}:443"
    assert flows["TCP", "guest"]["current"]
    assert "bob-home" in flows["UDP", "peer"]["peer_identity"]
    node.agent.in_force(lambda: node.agent.grant(destinations=[]))
    assert not any(each["current"] for each in node.agent.json("flows")["flows"])
    assert "judged again" in node.agent.ctl("flows").stdout


def test_top_shows_rates_against_limits(node):
    node.agent.in_force(lambda: node.agent.grant(hard={"keystone.io/egress-bandwidth": "8M"}))
    rows = json.loads(node.agent.ctl("--output", "json", "top", "--count", "1", "--interval", "200").stdout)["grants"]
    egress = [each for each in rows if each["grant"] == "keystone-system/g" and each["direction"] == "egress"][0]
    assert egress["limit_bits_per_second"] == 8_000_000
    assert "8 Mbit/s" in node.agent.ctl("top", "--count", "1", "--interval", "200").stdout


def test_monitor_tells_of_refusals(node):
    assert UdpPair(node.guest, node.world.outside, 4, to=PARTIES["stranger"][4], port=9).silent()
    shown = node.agent.ctl("--output", "json", "monitor", "--seconds", "1").stdout
    events = [json.loads(line) for line in shown.splitlines()]
    refused = [each for each in events if each["reason"] == "destination"]
    assert refused and refused[0]["destination"] == f"{PARTIES['stranger'][4]}:9"
    assert refused[0]["guest"] == "web" and not refused[0]["passes"] and refused[0]["protocol"] == "UDP"


def test_monitor_tells_what_is_known_of_arp(node):
    """Its addresses are no part of an event: none is shown, and no :: in their place."""
    with node.guest.namespace.packet_socket("eth0") as raw:
        raw.send(frames.ethernet("ff:ff:ff:ff:ff:ff", node.guest.mac, 0x0806, frames.arp(
            1, node.guest.mac, "10.20.0.99", "00:00:00:00:00:00", GATEWAY[4])))
    said = node.agent.ctl("monitor", "--seconds", "1").stdout
    lines = [line for line in said.splitlines() if "neighbour_spoofing" in line]
    assert lines and all(line.endswith("neighbour_spoofing  ARP") for line in lines), said
    with node.guest.namespace.packet_socket("eth0") as raw:
        raw.send(frames.ethernet("ff:ff:ff:ff:ff:ff", node.guest.mac, 0x88cc, b"lldp"))
    said = node.agent.ctl("--output", "json", "monitor", "--seconds", "1").stdout
    events = [each for each in map(json.loads, said.splitlines()) if each["reason"] == "ethertype"]
    assert events and events[0]["ethertype"] == 0x88cc, said
    assert events[0]["source"] is None and events[0]["destination"] is None


def test_a_second_monitor_is_refused_while_the_first_lives(node):
    """Events go to one reader; a second would take some of them, and show nothing where the first is faster."""
    first = node.world.spawn(node.world.node, GRANTCTL, "--pin-root", node.world.pin_root, "monitor", stdout=subprocess.PIPE)
    assert UdpPair(node.guest, node.world.outside, 4, to=PARTIES["stranger"][4], port=9).silent()
    assert first.stdout.readline(), "the first reads"
    second = node.agent.ctl("monitor", "--seconds", "1")
    assert second.returncode == 3 and second.stdout == ""
    assert f"another grantctl monitor reads the events of {node.world.pin_root}" in second.stderr, second.stderr
    assert node.agent.ctl("drops").returncode == 0  # what has no one reader is not held up
    first.send_signal(signal.SIGKILL)
    first.wait(5)
    first.stdout.close()
    assert node.agent.ctl("monitor", "--seconds", "1").returncode == 0


def test_a_monitor_of_maps_that_nobody_fills_any_more_ends_and_says_so(node):
    said = node.world.path("said")
    with open(said, "w", encoding="utf-8") as file:
        first = node.world.spawn(node.world.node, GRANTCTL, "--pin-root", node.world.pin_root, "monitor",
                                 "--seconds", str(2**64 - 1), stdout=subprocess.PIPE, stderr=file)
    assert UdpPair(node.guest, node.world.outside, 4, to=PARTIES["stranger"][4], port=9).silent()
    assert first.stdout.readline(), "it reads, and for longer than a clock can count"
    node.agent.kill()
    assert node.agent.uninstall().returncode == 0
    node.agent.start()
    assert first.wait(5) == 3
    first.stdout.close()
    with open(said, encoding="utf-8") as file:
        assert "is gone, or another: what was read is no longer in force" in file.read()


def test_a_grant_that_has_not_begun_says_when_it_does(node):
    assert "starts" not in node.agent.ctl("grants").stdout
    node.agent.in_force(lambda: node.agent.grant(validity={"validFrom": "2099-01-02T03:04:05Z"}))
    assert UdpPair(node.guest, node.world.outside, 4, to=PARTIES["destination"][4], port=5000).silent()
    begins = "2099-01-02T03:04:0"  # a second is left to the two clocks
    shown = {command: node.agent.ctl(command, *BOUNDED.get(command, [])).stdout
             for command in ("grants", "endpoints", "drops", "monitor", "explain")}
    for command, text in shown.items():
        assert "not_yet_valid" in text and f"starts {begins}" in text, (command, text)
    for command, rows in (("grants", "grants"), ("drops", "drops")):
        assert any((each["starts_at"] or "").startswith(begins) for each in node.agent.json(command)[rows]), command
    asked = json.loads(node.agent.ctl("--output", "json", "explain", *BOUNDED["explain"]).stdout)
    assert asked["packets"][0]["steps"][0]["starts_at"].startswith(begins)


def test_a_ping_is_what_has_no_port(node):
    asked = node.agent.ctl("explain", "web", PARTIES["destination"][4])
    assert asked.returncode == 0 and "ICMP" in asked.stdout, asked.stdout + asked.stderr
    for port, code in (("443/TCP", 0), ("443/UDP", 1), ("443", 1)):  # 0 only where all that was tried would pass
        assert node.agent.ctl("explain", "web", f"{PARTIES['destination'][4]}:{port}").returncode == code, port
    refused = node.agent.ctl("explain", "web", PARTIES["stranger"][6])
    assert refused.returncode == 1 and "ICMP" in refused.stdout, refused.stdout + refused.stderr
    martian = node.agent.ctl("explain", "web", "127.0.0.1:80/TCP")
    assert martian.returncode == 1 and "martian" in martian.stdout, martian.stdout + martian.stderr


def refused(node, command, name):
    """The one line of a table that begins with the name, the lines about it below, and its entry in JSON."""
    table, _, below = node.agent.ctl(command).stdout.partition("\nRefused:\n")
    rows = [line for line in table.splitlines() if line.startswith(f"{name} ")]
    field = {"grants": "grant", "endpoints": "guest"}[command]
    entries = [each for each in node.agent.json(command)["refused"] if each[field] == name]
    assert len(rows) == 1 and len(entries) == 1, (table, entries)
    return rows[0], [line for line in below.splitlines() if line.startswith(f"  {name}")], entries[0]


def test_what_is_refused_has_a_row_and_a_reason(node):
    """With nothing in force no map tells of it; with or without an agent."""
    assert "efused:" not in node.agent.ctl("grants").stdout + node.agent.ctl("endpoints").stdout, "nothing is refused yet"
    node.agent.grant("new", destinations=["192.0.2.1/24"])  # host bits
    node.agent.workload(node.guest, addresses=["10.20.0.300"])
    node.agent.write("workload-other", manifest("Workload", "other", {"grantName": "g", "interface": "veth-other", "addresses": ["x"]}))
    eventually(lambda: len(node.agent.json("endpoints")["refused"]) == 2 and node.agent.json("grants")["refused"], what="refusals")
    for agent_runs in (True, False):
        row, below, entry = refused(node, "grants", "keystone-system/new")
        assert "refused" in row and not entry["in_force"] and "grant-new.yaml" in entry["message"] and "192.0.2.1/24" in below[0]
        assert below[0].count("keystone-system/new") == 1
        row, below, entry = refused(node, "endpoints", "other")
        assert "refused" in row and not entry["in_force"] and "workload-other.yaml" in entry["message"] and '"x"' in below[0]
        row, below, entry = refused(node, "endpoints", "web")
        assert "active" in row and entry["in_force"] and "what was in force stays" in below[0] and "10.20.0.300" in below[0]
        assert [each["guest"] for each in node.agent.json("endpoints", "--guest", "other")["refused"]] == ["other"]
        assert node.agent.ctl("grants", "--grant", "new").returncode == 0
        assert node.agent.json("status")["refused"] == 3
        if agent_runs:
            node.agent.kill()
    node.agent.start()
    node.agent.grant("new")
    node.agent.workload(node.guest)
    node.agent.remove("workload-other")
    eventually(lambda: node.agent.json("status")["refused"] == 0, what="nothing is refused any more")
    assert "efused:" not in node.agent.ctl("grants").stdout + node.agent.ctl("endpoints").stdout
    assert not any(each["refused"] for each in (node.agent.json("grants"), node.agent.json("endpoints")))


def test_files_that_cannot_be_read_and_realms_are_told_of_too(node):
    """Nothing says which Grants stand in such a file; who looks after them asks for Grants."""
    node.agent.write("realm-bad", manifest("Realm", "bad", {"identity": "bad.example.net", "addresses": ["192.0.2.300"]}))
    node.agent.write("broken", "kind: Grant\nmetadata: {name: x\n")
    eventually(lambda: len(node.agent.json("grants")["refused_besides"]) == 2, what="a Realm and a file that are refused")
    first, second = node.agent.json("grants")["refused_besides"]
    assert first["realm"] == "bad" and "192.0.2.300" in first["message"], first
    assert second["file"].endswith("/broken.yaml") and "is not YAML" in second["message"], second
    below = node.agent.ctl("grants").stdout.partition("\nRefused:\n")[2]
    assert "  Realm bad: " in below and "/broken.yaml: " in below, below
    assert "Refused" not in node.agent.ctl("grants", "--grant", "g").stdout + node.agent.ctl("endpoints").stdout
    assert node.agent.json("status")["refused"] == 2
    verified = node.agent.ctl("verify")
    assert verified.returncode == 1 and "Realm bad" in verified.stdout and "broken.yaml" in verified.stdout, verified
    assert len(verified.stdout.splitlines()) == 2, verified.stdout
    node.agent.remove("realm-bad")
    node.agent.remove("broken")
    eventually(lambda: not node.agent.json("grants")["refused_besides"], what="nothing is refused any more")
    assert node.agent.ctl("verify").returncode == 0


def test_a_guest_that_this_node_cannot_attach_is_refused_and_a_closed_one_is_not_in_force(node):
    for name, interface in (("on-loopback", "lo"), ("on-uplink", "uplink0")):
        node.agent.write(f"workload-{name}", manifest("Workload", name, {"grantName": "g", "interface": interface, "addresses": ["10.20.0.9"]}))
        eventually(lambda: node.agent.json("endpoints")["refused"], what=f"{name} refused")
        row, below, entry = refused(node, "endpoints", name)
        assert "refused" in row and not entry["in_force"] and f'"{interface}"' in below[0]
        node.agent.remove(f"workload-{name}")
        eventually(lambda: not node.agent.json("endpoints")["refused"], what="nothing refused")
    node.agent.workload(node.guest, grant="nope")
    eventually(lambda: "quarantine" in node.agent.ctl("endpoints").stdout, what="the guest in quarantine")
    node.agent.workload(node.guest, addresses=["10.20.0.300"])
    eventually(lambda: node.agent.json("endpoints")["refused"], what="its next version refused")
    row, below, entry = refused(node, "endpoints", "web")
    assert not entry["in_force"] and "what was in force stays" not in below[0], "it is closed"


def test_refusals_of_another_agent_or_damaged_ones_do_not_pass_for_ours(node):
    node.agent.grant("new", destinations=["192.0.2.1/24"])
    eventually(lambda: node.agent.json("grants")["refused"], what="a refusal")
    path = pathlib.Path(node.world.path("state")) / "refused.json"
    node.agent.kill()
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(node.world.pin_root, "/sys/fs/bpf/another"), encoding="utf-8")
    assert node.agent.json("grants")["refused"] == []
    path.write_text(text[:-9], encoding="utf-8")
    said = node.agent.ctl("grants")
    assert said.returncode == 0 and "keystone-system/g" in said.stdout and "is damaged" in said.stderr
    path.unlink()
    said = node.agent.ctl("grants")
    assert said.returncode == 0 and "efused" not in said.stdout and said.stderr == ""
    node.agent.start()
    eventually(lambda: node.agent.json("grants")["refused"], what="the refusal again")
    node.agent.kill()
    assert node.agent.uninstall().returncode == 0 and not path.exists()


@pytest.mark.parametrize("command", ["grants", "endpoints", "drops", "flows", "top", "monitor"])
def test_a_grant_that_is_not_there_is_told(node, command):
    bounds = BOUNDED.get(command, [])
    known = node.agent.ctl(command, "--grant", "g", *bounds)
    assert known.returncode == 0, known.stderr
    said = node.agent.ctl(command, "--grant", "nope", *bounds)
    assert said.returncode == 3 and said.stdout == "", said.stdout
    assert "Grant nope is not known to this node; known: (quarantine), keystone-system/g" in said.stderr


def test_a_guest_or_a_reason_that_is_not_there_is_told(node):
    said = node.agent.ctl("flows", "--guest", "nobody")
    assert said.returncode == 3 and "guest nobody is not known to this node; known: web" in said.stderr
    assert node.agent.ctl("drops", "--reason", "martian").returncode == 0
    for option in (["flows", "--guest", ""], ["drops", "--grant", ""], ["top", "--count", "0"], ["monitor", "--seconds", "-1"]):
        said = node.agent.ctl(*option)
        assert said.returncode == 2 and option[1] in said.stderr and "accepted" in said.stderr, option
    said = node.agent.ctl("drops", "--reason", "mars")
    assert said.returncode == 2 and "mars" in said.stderr and "accepted" in said.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_usage_is_told_and_exits_with_2(shared_node, command):
    agent, bounds = shared_node.agent, BOUNDED.get(command, [])
    assert agent.ctl(command, *bounds).returncode in (0, 1), "the control"
    for wrong, named in ((["--nonsense"], "--nonsense"), (["one-word-more"], "one-word-more"), (["--output", "xml"], "xml"),
                         (["--pin-root"], "--pin-root")):
        said = agent.ctl(command, *bounds, *wrong)
        assert said.returncode == 2 and said.stdout == "" and named in said.stderr, (wrong, said)


@pytest.mark.parametrize("wrong, named", [
    (["top", "--interval", "99"], ["--interval", "99", "100"]),
    (["top", "--count", "-1"], ["--count", "-1", "accepted"]),
    (["monitor", "--count", "x"], ["--count", "'x'", "accepted"]),
    (["monitor", "--seconds", "0"], ["--seconds", "'0'", "accepted"]),
    (["flows", "--guest", ""], ["--guest", "accepted"]),
    (["drops", "--reason", "mars"], ["--reason", "'mars'", "accepted: ", "martian"]),
    (["status", "--output", "xml"], ["--output", "xml", "table", "json"]),
    (["explain", "web"], ["DESTINATION"]),
    (["explain", "192.0.2.1", "192.0.2.2"], ["SOURCE '192.0.2.1'", "DESTINATION '192.0.2.2'", "accepted"]),
    (["explain", "web:80", "192.0.2.1:80"], ["SOURCE 'web:80'", "both name a port", "accepted"]),
    (["explain", "web", "192.0.2.0/24"], ["DESTINATION '192.0.2.0/24'", "accepted"]),
    (["explain", "web", "192.0.2.1:99999/TCP"], ["DESTINATION '192.0.2.1:99999/TCP'", "65535", "accepted"]),
    (["explain", "web:80/XYZ", "192.0.2.1"], ["SOURCE 'web:80/XYZ'", "accepted"]),
    (["explain", "web", "web:80/TCP"], ["both guest web", "accepted"]),
    (["explain", "web", "192.0.2.1", "--via", "lan"], ["--via lan", "SOURCE is web", "accepted"]),
    (["explain", "web", "192.0.2.1", "--local"], ["--local", "SOURCE is web", "accepted"]),
    (["explain", "192.0.2.1", "web", "--via", "wlan9"], ["--via wlan9", "accepted: tailnet, lan, overlay", "lan (uplink0)"]),
    (["explain", "192.0.2.1", "web", "--via", ""], ["--via", "accepted"]),
    (["explain", "192.0.2.1", "web", "--via", "lan", "--local"], ["--via", "--local"]),
], ids=" ".join)
def test_wrong_words_are_named_with_what_is_accepted(shared_node, wrong, named):
    said = shared_node.agent.ctl(*wrong)
    assert said.returncode == 2 and said.stdout == "", said
    assert all(each in said.stderr for each in named), said.stderr


def test_a_class_that_this_node_has_no_uplink_of_is_not_wrong_usage(shared_node):
    said = shared_node.agent.ctl("explain", "192.0.2.1", "web", "--via", "overlay")
    assert said.returncode == 3 and "--via overlay: this node has no uplink of that class; its uplinks: " in said.stderr
    assert "lan (uplink0)" in said.stderr and "tailnet (tail0)" in said.stderr
    assert shared_node.agent.ctl("explain", PARTIES["grantee"][4], "web", "--via", "lan").returncode == 0


def test_what_it_cannot_do_it_says(node):
    wrong = node.agent.ctl("flaws")
    assert wrong.returncode == 2
    assert "command 'flaws': accepted: status, grants, endpoints, drops, flows, top, monitor, verify, explain" in wrong.stderr
    assert "command '': accepted: status" in node.agent.ctl().stderr
    with node.world.node.entered():
        nowhere = run("sh", "-c", f"{__import__('agent').GRANTCTL} --pin-root /nowhere status 2>&1; echo $?", check=False)
    assert nowhere.strip().endswith("3") and "/nowhere" in nowhere


def test_an_answer_that_cannot_be_written_is_an_error(node):
    """A full disk is not a reader who has gone."""
    with Flood(node.guest, node.world.outside, PARTIES["stranger"][4]):  # so that there are events
        for command in (["status"], ["top", "--count", "2", "--interval", "100"], ["monitor", "--seconds", "5"]):
            ctl = [GRANTCTL, "--pin-root", node.world.pin_root, *command]
            with open("/dev/full", "wb") as full, node.world.node.entered():
                done = subprocess.run(ctl, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
            assert done.returncode == 3 and "No space left" in done.stderr, command
    assert node.agent.ctl("status").returncode == 0


def test_status_knows_the_agent_by_its_lock(node):
    """Whatever processes are seen from where it is asked, and whoever has not been waited for."""
    assert node.agent.json("status")["agent"]["running"]
    node.agent.process.send_signal(signal.SIGKILL)
    eventually(lambda: not node.agent.json("status")["agent"]["running"], what="an agent that is dead and not reaped")


def test_explain_names_the_line_of_a_party(node):
    """What the Grant names is no default; moved lines are named where they are now."""
    outside, web = PARTIES["grantor"][4], "web:80/TCP"
    said = node.agent.ctl("explain", outside, web).stdout
    assert "ingress.from: Grantor (a default of the design)" in said, said
    node.agent.in_force(lambda: node.agent.grant(networkPolicy={
        "egressAllowed": True, "allowedDestinations": ["198.51.100.0/24"], "ingress": {"from": ["Grantee", "Grantor"]}}))
    path = node.agent.directory / "grant-g.yaml"

    def named():
        line = next(number for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if "Grantor" in text
                    and "grantorRealm" not in text)
        return f"{path}:{line}: spec.networkPolicy.ingress.from: Grantor" in node.agent.ctl("explain", outside, web).stdout

    assert eventually(named, what=node.agent.ctl("explain", outside, web).stdout)
    text = path.read_text(encoding="utf-8")
    node.agent.write("grant-g", "# one line more" + chr(10) + text)
    assert eventually(named, what="the line where it is now")
