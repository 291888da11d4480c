"""Each bpf() call of the agent fails in turn, as a kernel that is out of memory or of another version would have it
(class 3). strace makes it fail at the system call; the binary is the real one."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess

import pytest
from agent import GRANTD, OPEN
from node import Node
from sniffing import Sniffer, Watched
from traffic import Flood, UdpPair
from world import OUTSIDE, PARTIES, eventually

POINTS = 24  # of some hundred calls, spread over all of them
STRANGER, DESTINATION = PARTIES["stranger"][4], PARTIES["destination"][4]


def said_by(log):
    return log.with_suffix(".said")


def strace(node, inject, log):
    """The agent under strace; its options are those of node.agent."""
    agent = node.agent
    with open(said_by(log), "wb") as said:
        return agent.world.spawn(
            agent.world.node, "strace", "-f", "-qq", "-e", "trace=bpf", *inject, "-o", str(log), GRANTD, "run", "--manifests",
            str(agent.directory), "--pin-root", agent.world.pin_root, "--state-dir", agent.world.path("state"), "--uplink",
            "uplink0=lan", "--uplink", "tail0=tailnet", "--trust-clock", *agent.options,
            stdout=subprocess.DEVNULL, stderr=said)


def end(process):
    """strace ends with what it traces; killed by itself it would leave that running."""
    def ended():
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                if f"TracerPid:\t{process.pid}\n" in status.read_text(encoding="utf-8"):
                    os.kill(int(status.parent.name), signal.SIGKILL)
        return process.poll() is not None
    eventually(ended, 20, every=0.1, what="the agent ends")


def change(node, other, turn):
    """Something to do at each start: a guest that comes or goes with its Grant, and a destination more or less."""
    agent = node.agent
    if turn % 2:
        agent.remove("workload-other")
        agent.remove("grant-h")
    else:
        agent.grant("h", [])
        agent.workload(other, "h")
    agent.grant("g", OPEN + (["198.51.100.128/25:6000/UDP"] if turn % 2 else []))


def calls(node, other, log):
    """How many bpf() calls a start makes that has such a change to bring into force."""
    change(node, other, 0)
    process = strace(node, (), log)
    try:
        eventually(lambda: node.agent.policy("h"), 30, what="the change is in force")
    finally:
        end(process)
    return len(bpf_calls(log))


def bpf_calls(log):
    return [line for line in log.read_text(encoding="utf-8").splitlines() if re.search(r"\bbpf\(", line)]


@pytest.mark.parametrize("errno", ["ENOMEM", "EPERM"])
def test_a_call_that_fails_opens_nothing(node, tmp_path, errno):
    other = node.world.add_guest("other")
    log = tmp_path / "strace"
    granted = UdpPair(node.guest, node.world.outside, 4, to=DESTINATION, port=5004)
    assert granted.both()
    node.agent.kill()
    count = calls(node, other, log)
    assert count > POINTS
    failed, came = 0, Sniffer(other.namespace, [OUTSIDE[4]])
    node.world.keep_from_going_round(other)
    with Flood(other, node.world.outside, STRANGER, port=7778) as second, \
            Flood(node.world.outside, other, other.addresses[4], port=7778) as into:
        with Watched(node, allowed=[DESTINATION]) as watched:
            floods = [watched.out, watched.into, second, into]

            def opened():
                """By the frames too that others see of them."""
                return any([each.arrived() for each in (*floods, watched.left, watched.came, came)])
            for turn, point in enumerate(range(1, count, max(1, count // POINTS)), 1):
                change(node, other, turn)
                node.world.node.run("ip", "route", "replace", f"{other.addresses[4]}/32", "dev", other.interface, check=False)
                process = strace(node, ("-e", f"inject=bpf:error={errno}:when={point}"), log)
                try:
                    # It starts and repairs, or gives up and says why; either way what is pinned goes on.
                    eventually(lambda: "INJECTED" in log.read_text(encoding="utf-8") or process.poll() is not None, 30,
                               what=f"call {point} fails")
                    failed += "INJECTED" in log.read_text(encoding="utf-8")
                    eventually(lambda: " applied " in said_by(log).read_text(encoding="utf-8") or process.poll() is not None, 30,
                               what=lambda: f"after call {point} it goes on or ends: {said_by(log).read_text(encoding='utf-8')}")
                    assert granted.both(), f"call {point} took away what is granted"
                    for each in floods:
                        each.send_more()
                finally:
                    end(process)
                assert not opened(), f"call {point} opened a guest"
            assert failed > POINTS / 2
            node.agent.start()
            eventually(lambda: node.agent.ctl("verify").returncode == 0, 10, what="all is repaired")
            assert granted.both() and not opened()
        for each in (second, into, came):
            eventually(each.arrived, what="what nothing holds")


def test_a_program_without_its_name_is_not_attached(world, tmp_path):
    """libbpf leaves the names out where its question fails whether the kernel takes them; a filter of clsact is known as ours by
    nothing else, and would hold the guest for ever."""
    node, log = Node(world, "--attach", "clsact"), tmp_path / "strace"
    agent, granted = node.agent, UdpPair(node.guest, world.outside, 4, to=DESTINATION, port=5004)
    agent.kill()
    process = strace(node, (), log)
    try:
        eventually(lambda: " applied " in said_by(log).read_text(encoding="utf-8"), 30, what="a start where nothing fails")
    finally:
        end(process)
    asked = next(number for number, line in enumerate(bpf_calls(log), 1) if "libbpf_nametest" in line)
    with Watched(node, allowed=[DESTINATION]):
        process = strace(node, ("-e", f"inject=bpf:error=ENOMEM:when={asked}"), log)
        try:
            eventually(lambda: process.poll() is not None, 10, what=lambda: f"its end: {said_by(log).read_text(encoding='utf-8')}")
        finally:
            end(process)
        last = said_by(log).read_text(encoding="utf-8").splitlines()[-1]
        assert "INJECTED" in log.read_text(encoding="utf-8") and "cannot start" in last and "without its name" in last, last
        assert granted.both()
        agent.start()
        assert granted.both()
