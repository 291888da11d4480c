"""grantctl on a live node, with and without an agent."""

import json
import signal
import subprocess

import pytest
from agent import GRANTCTL
from traffic import TcpPair, UdpPair
from world import PARTIES, eventually, run


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


def test_verify_finds_what_is_wrong(node):
    assert node.agent.ctl("verify").returncode == 0, node.agent.ctl("verify").stdout
    node.agent.kill()
    assert node.agent.ctl("verify").returncode == 0
    index = node.world.node.interface_index(node.guest.interface)
    run("rm", f"{node.world.pin_root}/links/to_guest-{index}")
    said = node.agent.ctl("verify")
    assert said.returncode == 1 and "to_guest" in said.stdout
    node.agent.start()
    assert eventually(lambda: node.agent.ctl("verify").returncode == 0, what="mended at the start")


def test_a_ping_is_what_has_no_port(node):
    asked = node.agent.ctl("explain", "web", PARTIES["destination"][4])
    assert asked.returncode == 0 and "ICMP" in asked.stdout, asked.stdout + asked.stderr
    for port, code in (("443/TCP", 0), ("443/UDP", 1), ("443", 1)):  # 0 only where all that was tried would pass
        assert node.agent.ctl("explain", "web", f"{PARTIES['destination'][4]}:{port}").returncode == code, port
    refused = node.agent.ctl("explain", "web", PARTIES["stranger"][6])
    assert refused.returncode == 1 and "ICMP" in refused.stdout, refused.stdout + refused.stderr
    martian = node.agent.ctl("explain", "web", "127.0.0.1:80/TCP")
    assert martian.returncode == 1 and "martian" in martian.stdout, martian.stdout + martian.stderr


@pytest.mark.parametrize("command", ["grants", "endpoints", "drops", "flows", "top", "monitor"])
def test_a_grant_that_is_not_there_is_told(node, command):
    bounds = {"top": ["--count", "1", "--interval", "100"], "monitor": ["--seconds", "1"]}.get(command, [])
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
    ctl = [GRANTCTL, "--pin-root", node.world.pin_root, "status"]
    with open("/dev/full", "wb") as full, node.world.node.entered():
        done = subprocess.run(ctl, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3 and "No space left" in done.stderr
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
