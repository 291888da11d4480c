"""What Prometheus sees: promtool has nothing to say, refusals are counted, ready means applied."""

import re
import signal
import socket
import subprocess
import time

from agent import Agent, Counted
from traffic import UdpPair
from world import PARTIES, eventually


def get(world, path):
    return world.node.run("curl", "-s", "-o", "/dev/stdout", "-w", "\n%{http_code}", f"http://127.0.0.1:9786{path}").rsplit("\n", 1)


def get_metric(world, name):
    """Its value; with labels as the page has them."""
    return next(float(line.rpartition(" ")[2]) for line in get(world, "/metrics")[0].splitlines() if line.rpartition(" ")[0] == name)


def test_metrics_health_and_readiness(world):
    guest = world.add_guest("web")
    agent = Agent(world, listen="127.0.0.1:9786")
    agent.grant(hard={"keystone.io/egress-bandwidth": "100M"})
    agent.workload(guest)
    stranger = UdpPair(guest, world.outside, 4, to=PARTIES["stranger"][4])
    assert stranger.both(), "without an agent it arrives"
    agent.start()
    assert eventually(lambda: get(world, "/readyz")[1] == "200", what="readiness")
    assert get(world, "/healthz")[1] == "200"
    assert get(world, "/nothing")[1] == "404"
    assert UdpPair(guest, world.outside, 4, to=PARTIES["grantee"][4]).both()
    with Counted(agent, "destination"):
        assert stranger.silent()
    text, _ = get(world, "/metrics")
    said = subprocess.run(["promtool", "check", "metrics"], input=text + "\n", capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    labels = 'grant="keystone-system/g",grantor="alice-home",grantee="bob-home",direction="egress"'
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["grantd_violations_total{" + labels + ',reason="destination"}']) >= 3
    assert float(values["grantd_packets_total{" + labels + "}"]) >= 1
    assert float(values["grantd_bandwidth_limit_bytes_per_second{" + labels + "}"]) == 12_500_000
    assert values['grantd_grant_phase{grant="keystone-system/g",phase="Active"}'] == "1"


def test_health_tells_when_the_loop_turned(world):
    """It fails after two minutes of silence (tests/kernel/metrics_server_test.cc); a signal has the loop turn."""
    agent = Agent(world, listen="127.0.0.1:9786")
    agent.start()

    def silence():
        text, code = get(world, "/healthz")
        assert code == "200"
        return float(re.search(r"ok, the agent's loop turned ([0-9.]+) s ago", text)[1])

    for _ in range(2):
        eventually(lambda: silence() >= 2, 40, what="a loop that has nothing to do")
        agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: silence() < 1, 5, what="a turn")


def test_clients_that_never_finish_keep_nobody_from_health(world):
    agent = Agent(world, listen="127.0.0.1:9786")
    agent.start()
    eventually(lambda: get(world, "/healthz")[1] == "200", what="health")

    def hold(number):
        for _ in range(number):
            client = world.node.socket(socket.AF_INET, socket.SOCK_STREAM)
            client.connect(("127.0.0.1", 9786))
            client.sendall(b"GET /metrics HT")

    def answers(path, seconds):
        return world.node.run("curl", "-s", "-m", str(seconds), "-o", "/dev/null", "-w", "%{http_code}",
                              f"http://127.0.0.1:9786{path}", check=False) == "200"

    hold(50)
    assert answers("/healthz", 0.9), "while nobody's time has run out"
    hold(250)
    assert answers("/healthz", 20) and answers("/metrics", 20)


def test_a_port_that_is_taken_is_no_reason_not_to_enforce(world):
    guest = world.add_guest("web")
    taken = world.node.socket(socket.AF_INET, socket.SOCK_STREAM)
    taken.bind(("127.0.0.1", 9786))
    taken.listen()
    agent = Agent(world, listen="127.0.0.1:9786")
    agent.grant()
    agent.workload(guest)
    stranger = UdpPair(guest, world.outside, 4, to=PARTIES["stranger"][4])
    assert stranger.both(), "without an agent it arrives"
    agent.start()
    assert "no metrics are served" in agent.said()
    assert UdpPair(guest, world.outside, 4, to=PARTIES["grantee"][4]).both()
    assert stranger.silent()
    time.sleep(5)
    assert agent.said().count("no metrics are served") == 1 and "serving /metrics" not in agent.said()
    taken.close()
    eventually(lambda: "serving /metrics" in agent.said(), 5, what="the next try, with nothing else to do")
    assert get(world, "/readyz")[1] == get(world, "/healthz")[1] == "200", "as the agent had said before"
