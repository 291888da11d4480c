"""deploy/grantd.yaml on a real node: its rights suffice and are no more than it says, guests are held by it, and it is
replaced under load without a forbidden packet or a lost connection."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import threading
import time

import pytest

from conftest import make_image

from agent import FAR, GRANTD, PORT
from deployed import Deployed
from node import NAME, OUTSIDE_LAN

from cluster import run, wait_until

GUEST, SPACE = "guest-dave/web", "guest-dave"
# CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF.
RIGHTS = {12, 38, 39}
FORBIDDEN = 5001
# Each packet that arrives, by its sender.
COUNT = f"""
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", {FORBIDDEN}))
while True:
    print(server.recvfrom(100)[1][0], flush=True)
"""
# Some 2,000 a second. What the kernel refuses to send is as well.
FLOOD = """
import socket, sys, time
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind((sys.argv[2], 0))
while True:
    try:
        one.sendto(b"x", (sys.argv[1], %d))
    except PermissionError:
        pass
    time.sleep(0.0005)
""" % FORBIDDEN


@pytest.fixture(scope="module")
def agent(node, agent_image):
    node.namespace(SPACE)
    node.pod("plain")
    node.pod("web", SPACE)
    with Deployed(node, agent_image) as running:
        yield running
    node.kubectl("delete", "namespace", SPACE, "--wait=false")
    node.kubectl("delete", "pod", "plain", "--grace-period=0", "--force")


def test_it_has_the_rights_that_it_names_and_no_more(agent):
    status = dict(line.split(":\t") for line in
                  pathlib.Path(f"/proc/{agent.pid()}/status").read_text(encoding="utf-8").splitlines() if ":\t" in line)
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert {bit for bit in range(64) if int(status[kind], 16) >> bit & 1} == RIGHTS, kind
    assert int(status["CapInh"], 16) in (0, sum(1 << bit for bit in RIGHTS))
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"


def test_it_can_write_its_own_directories_only(agent):
    mounts = pathlib.Path(f"/proc/{agent.pid()}/mountinfo").read_text(encoding="utf-8").splitlines()
    options = {line.split()[4]: line.split()[5].split(",") for line in mounts}
    assert "ro" in options["/"] and "ro" in options["/run/netns"] and "ro" in options["/var/lib/cni"]
    assert "ro" in options["/sys/fs/cgroup"] and "ro" in options["/run/k3s/containerd"]
    root = f"/proc/{agent.pid()}/root"
    assert os.stat(root + "/sys/fs/cgroup").st_ino == os.stat("/sys/fs/cgroup").st_ino
    assert "rw" in options["/sys/fs/bpf"] and "rw" in options["/var/lib/grantd"] and "rw" in options["/run/grantd"]


def test_its_events_are_of_its_own_node(agent, node):
    """With the token that the kubelet hands to it, which the admission policy asks for the node."""
    def told():
        sources = [each.get("source", {}) for each in node.get("events", "-n", SPACE)["items"]]
        return [each for each in sources if each.get("component") == "grantd"]
    wait_until(told, lambda: f"an Event on the guest, which has no Grant; {agent.last_said()}", 30)
    assert {each["host"] for each in told()} == {NAME}
    assert agent.metric('grantd_events_total{result="failed"}') == 0


def test_it_runs_where_nothing_else_may(agent, node):
    """On a node that takes no pods any more guests still run, and a new agent comes to them; it goes last."""
    node.kubectl("taint", "node", NAME, "full=yes:NoSchedule")
    try:
        node.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waits"},
                               "spec": {"containers": [{"name": "main", "image": "none"}]}}))
        before = agent.pod()["metadata"]["uid"]
        node.kubectl("delete", "pod", "-n", "keystone-system", "-l", "app.kubernetes.io/name=grantd")
        after = agent.rolled_out()
        assert after["metadata"]["uid"] != before
        assert after["spec"]["priority"] == 2000001000, "system-node-critical"
        waits = node.get("pod", "waits")["status"]["conditions"]
        assert [each["reason"] for each in waits if each["type"] == "PodScheduled"] == ["Unschedulable"]
    finally:
        node.kubectl("taint", "node", NAME, "full-")
        node.kubectl("delete", "pod", "waits", "--grace-period=0", "--force")


def test_where_no_record_is_left_it_asks_the_runtime(agent, node):
    agent.grant()
    agent.held(GUEST, "g")
    kept = {path: path.read_bytes() for place in ("/run/grantd/cni", "/var/lib/cni/results") if os.path.isdir(place)
            for path in pathlib.Path(place).iterdir()}
    try:
        for path in kept:
            path.unlink()
        node.kubectl("delete", "pod", "-n", "keystone-system", "-l", "app.kubernetes.io/name=grantd")
        agent.rolled_out()
        time.sleep(1)  # what the agent before it has left in force is no answer
        agent.held(GUEST, "g")
    finally:
        for path, text in kept.items():
            path.write_bytes(text)
    assert agent.reaches(GUEST, OUTSIDE_LAN) and not agent.reaches(GUEST, FAR)
    agent.delete()


@pytest.mark.parametrize("without", ["bpf", "perfmon", "net_admin"])
def test_each_right_is_needed(without, tmp_path):
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    (manifests / "guest.yaml").write_text("""
{apiVersion: keystone.io/v1alpha1, kind: Realm, metadata: {name: a}, spec: {identity: a}}
---
{apiVersion: keystone.io/v1alpha1, kind: Grant, metadata: {name: g, namespace: x}, spec: {grantorRealm: a, granteeRealm: a}}
---
{apiVersion: keystone.io/v1alpha1, kind: Workload, metadata: {name: w}, spec: {grantName: g, interface: needs0, addresses: [10.20.0.2]}}
""", encoding="utf-8")
    run(["ip", "link", "add", "needs0", "type", "veth", "peer", "name", "needs1"])
    pins = f"/sys/fs/bpf/needs-{without}"
    try:
        for rights in (["bpf", "perfmon", "net_admin"], [each for each in ("bpf", "perfmon", "net_admin") if each != without]):
            run(["ip", "link", "set", "needs0", "up"])
            with subprocess.Popen(
                    ["setpriv", "--inh-caps=-all", "--bounding-set=-all," + ",".join("+" + each for each in rights),
                     "--no-new-privs", GRANTD, "run", "--manifests", manifests, "--pin-root", pins,
                     "--state-dir", tmp_path / "state", "--listen", "127.0.0.1:9799"],
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
                try:
                    assert _becomes_ready(process, 20 if len(rights) == 3 else 4) == (len(rights) == 3), rights
                finally:
                    process.terminate()
    finally:
        run([GRANTD, "uninstall", "--pin-root", pins, "--state-dir", tmp_path / "state"], check=False)
        run(["ip", "link", "del", "needs0"])


def _becomes_ready(process, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if run(["curl", "-sf", "http://127.0.0.1:9799/readyz"], check=False).returncode == 0:
            return True
        time.sleep(0.1)
    return False


def test_it_holds_a_guest(agent, node):
    assert "realm dave has no Grant" in agent.held(GUEST, None)["message"]
    assert not agent.reaches(GUEST, OUTSIDE_LAN) and agent.reaches("default/plain", OUTSIDE_LAN)
    agent.grant()
    agent.held(GUEST, "g")
    address = node.get("pod", "web", "-n", SPACE)["status"]["podIP"]
    wait_until(lambda: agent.reaches(GUEST, OUTSIDE_LAN) and agent.is_reached(address), "it is open")
    assert not agent.reaches(GUEST, FAR) and agent.reaches("default/plain", FAR)


def test_it_keeps_the_plugin_in_the_chain(agent, node):
    assert "grantd_cni_chain_in_place 1\n" in agent.metrics()
    chain = json.loads((node.networks / "00-grantd.conflist").read_text(encoding="utf-8"))
    assert chain["plugins"][-1]["type"] == "grantd-cni"
    installed = os.stat(node.plugins / "grantd-cni")
    assert installed.st_uid == 0 and installed.st_mode & 0o777 == 0o755
    # It is the one of the image, and started pods since.
    node.pod("later", SPACE)
    assert agent.held(f"{SPACE}/later", "g")
    node.kubectl("delete", "pod", "later", "-n", SPACE, "--grace-period=0", "--force")


def test_grantctl_answers_in_it(agent):
    agent.grant()
    agent.held(GUEST, "g")
    told = json.loads(agent.execute("grantctl", "endpoints", "--output", "json").stdout)
    interfaces = {each["guest"]: each["interface"] for each in told["endpoints"]}
    # With the rights that it has it puts up the gate behind the programs too (decision 69).
    for family in ("inet", "bridge", "arp"):
        assert interfaces[GUEST] in run(["nft", "list", "set", family, "grantd", "guests"]).stdout, family
    assert agent.execute("grantctl", "status").stdout
    # It may open no map but by its pin, and says what it could not compare for that.
    told = agent.execute("grantctl", "verify").stdout
    assert "every program is this version's" in told and "the constants of the programs" in told


def test_a_guest_on_the_hosts_network_is_reported(agent, node):
    """Admission refuses it, so it was there before its namespace was a guest's. (This kubelet keeps its pods elsewhere in
    the tree of cgroups, so that the backstop finds none.)"""
    node.namespace("visitors")
    node.pod("host", "visitors", hostNetwork=True)
    node.kubectl("label", "namespace", "visitors", "keystone.io/realm=dave")
    try:
        wait_until(lambda: "Pod visitors/host: spec.hostNetwork" in agent.said() and "not enforced" in agent.said(),
                   "it is reported", 15)
    finally:
        node.kubectl("delete", "namespace", "visitors", "--wait=false")


@contextlib.contextmanager
def counting(where):
    """Gives a function: how many packets have arrived from each sender."""
    arrived = subprocess.Popen([*where, "/usr/bin/python3", "-c", COUNT], stdout=subprocess.PIPE, text=True)
    lines = []
    try:
        threading.Thread(target=lambda: lines.extend(arrived.stdout), daemon=True).start()
        yield lambda sender: sum(line.strip() == sender for line in lines)
    finally:
        arrived.kill()
        arrived.wait()


@contextlib.contextmanager
def flood(where, target, source="0.0.0.0"):
    with subprocess.Popen([*where, "/usr/bin/python3", "-c", FLOOD, target, source]) as process:
        try:
            yield process
        finally:
            process.kill()


def test_it_is_replaced_under_load(agent, node, tmp_path):
    """By images that are others each time, under the same name."""
    agent.grant(destinations=[f"{FAR}:{PORT}/TCP"])
    agent.held(GUEST, "g")
    guest, plain = (node.get("pod", name, "-n", space)["status"]["podIP"] for name, space in (("web", SPACE), ("plain", "default")))
    outside = ["nsenter", f"--net=/proc/{node.processes['outside'].pid}/ns/net"]
    before, images = agent.pod()["metadata"]["uid"], {agent.image_id()}
    endpoint = agent.held(GUEST, "g")["endpoint_id"]
    with contextlib.ExitStack() as stack:
        at_far, at_guest, at_plain = (stack.enter_context(counting(where)) for where in (
            outside, agent.inside(GUEST), agent.inside("default/plain")))
        arrives = stack.enter_context(agent.connection(GUEST))
        # Out, and in from somebody who is no party; beside them a pod that is no guest, so that arrivals are seen.
        for where, target, source in ((agent.inside(GUEST), FAR, guest), (agent.inside("default/plain"), FAR, plain),
                                      (outside, guest, FAR), (outside, plain, FAR)):
            stack.enter_context(flood(where, target, source))
        wait_until(lambda: at_far(plain) > 100 and at_plain(FAR) > 100, "what is no guest's arrives")
        for turn in range(3):
            make_image(tmp_path / "newer.tar", seconds=1_700_000_001 + turn)
            node.ctr("images", "import", tmp_path / "newer.tar")
            node.kubectl("rollout", "restart", "daemonset/grantd", "-n", "keystone-system")
            agent.rolled_out()
            images.add(agent.image_id())
        assert arrives(), "the connection lives on"
        seen = at_far(plain), at_plain(FAR)
        wait_until(lambda: at_far(plain) > seen[0] and at_plain(FAR) > seen[1], "what is no guest's arrives to the end")
        assert at_far(guest) == 0 and at_guest(FAR) == 0
    assert agent.pod()["metadata"]["uid"] != before and len(images) == 4
    assert agent.held(GUEST, "g")["endpoint_id"] == endpoint
    for direction in ("egress", "ingress"):
        assert refusals(agent, direction) > 100, f"{direction} was tried"


def refusals(agent, direction):
    line = rf'^grantd_violations_total\{{(?=[^}}]*grant="keystone-system/g")(?=[^}}]*direction="{direction}")[^}}]*\}} (\d+)'
    return sum(map(int, re.findall(line, agent.metrics(), re.M)))
