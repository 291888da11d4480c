"""docs/kubernetes.md, command for command, as somebody follows it: every block of the walk runs literally, in order, in
one shell. What stands in for the reader's machine are `sudo`, `k3s ctr` and a kubectl that knows the cluster."""

import fnmatch
import json
import os
import re
import subprocess

import pytest

from image import write_image
from node import NAME

from cluster import ROOT, build, wait_until

DOCUMENT = ROOT / "docs/kubernetes.md"
BLOCK = re.compile(r"^```(sh|sh refused|sh helm|text)\n(.*?)^```$", re.M | re.S)
HEADING = re.compile(r"^## (.*)$", re.M)
WALK = ("Install", "Nodes that join", "The first Grant", "Uninstall")
BUSYBOX = "docker.io/library/busybox:1.36"
SPACE = "keystone-system"
TAINT = "grantd.keystone.io/not-ready"


def sections():
    parts = HEADING.split(DOCUMENT.read_text(encoding="utf-8"))
    return dict(zip(parts[1::2], parts[2::2]))


class Shell:
    """Runs one block after the other; what one sets the next one sees."""

    def __init__(self, node, directory):
        self.kept = directory / "kept"
        self.kept.write_text("", encoding="utf-8")
        tools = directory / "tools"
        tools.mkdir()
        kubectl = f"{node.binary} kubectl --kubeconfig={node.kubeconfig} --cache-dir={node.directory}/discovery"
        for name, line in {
            "sudo": 'exec "$@"',
            "k3s": f'[ "$1" = ctr ] && shift && exec ctr --address={node.socket} --namespace=k8s.io "$@"',
            "kubectl": f'exec {kubectl} "$@"',
            "helm": f'KUBECONFIG={node.kubeconfig} exec {build("helm")} "$@"',
        }.items():
            (tools / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
            (tools / name).chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(directory)}

    def run(self, block):
        text = f"set -euo pipefail\nset -a\n. {self.kept}\n{block}\nexport -p >{self.kept}\n"
        return subprocess.run(["bash", "-c", text], cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=300, check=False)


def take_away(node):
    """All of ours; kubectl's own wait has no end where it misses one."""
    ours = ROOT / "deploy/grantd.yaml"
    node.kubectl("delete", "-f", ours, "--ignore-not-found", "--wait=false")

    def gone():
        left = node.kubectl("get", "-f", ours, "--ignore-not-found", "--output=name", check=False)
        return left.returncode == 0 and not left.stdout.strip()
    wait_until(gone, "nothing of ours", 240, 0.5)


@pytest.fixture
def bare(node):
    """A cluster without anything of ours, also where the test before has failed half way."""
    yield
    node.kubectl("delete", "namespace", "guest-bob", "guest-early", "--ignore-not-found", "--wait=false")
    node.kubectl("delete", "pod", "site", "plain", "--ignore-not-found", "--grace-period=0", "--force")
    node.kubectl("delete", "node", "node2", "--ignore-not-found")
    node.kubectl("taint", "node", NAME, TAINT + "-", check=False)
    take_away(node)


@pytest.fixture(scope="module")
def shell(node, tmp_path_factory):
    """Nothing of ours is there, as with a reader."""
    archive = node.directory / "reader.tar"
    write_image(archive, BUSYBOX, ["sh"])
    node.ctr("images", "import", archive)
    take_away(node)
    yield Shell(node, tmp_path_factory.mktemp("reader"))
    # Other tests have these.
    node.kubectl("apply", "-f", ROOT / "deploy/crds")
    node.kubectl("wait", "--for=condition=established", "crd", "--all", "--timeout=20s")
    node.kubectl("apply", "-f", ROOT / "deploy/kubernetes/namespace.yaml")


def follow(shell, section):
    """Runs a section's blocks; what they print, in order. A `text` block is what the one before it has printed."""
    printed = []
    blocks = BLOCK.findall(sections()[section])
    assert blocks
    for kind, block in blocks:
        if kind == "text":
            lines = printed[-1].splitlines()
            for wanted in block.splitlines():
                assert fnmatch.filter(lines, wanted.replace("…", "*")), f"not in what was printed: {wanted}\n{printed[-1]}"
            continue
        done = shell.run(block)
        said = f"{block}{done.stdout}{done.stderr}"
        assert (done.returncode != 0) == (kind == "sh refused"), said
        if kind == "sh refused":  # By nobody but the command in the pod.
            assert "command terminated with exit code 1\n" in done.stderr, said
        printed.append(done.stdout)
    return printed


def test_no_block_is_left_out():
    text = DOCUMENT.read_text(encoding="utf-8")
    fences = re.findall(r"^```(.+)$", text, re.M)
    assert set(fences) == {"sh", "sh refused", "sh helm", "text", "nix"}
    walked = [kind for section in WALK for kind, _ in BLOCK.findall(sections()[section])]
    assert walked.count("sh") == fences.count("sh") and walked.count("sh refused") == fences.count("sh refused") == 4


def test_a_failing_block_is_seen(shell):
    assert shell.run("false\ntrue\n").returncode != 0
    assert shell.run("KEPT=1").returncode == 0 and shell.run('[ "$KEPT" = 1 ]').returncode == 0


def waits_for_a_node(node, name, space):
    conditions = node.get("pod", name, "-n", space)["status"].get("conditions", [])
    return any(each["type"] == "PodScheduled" and "untolerated taint" in each.get("message", "") for each in conditions)


def join_beside(node):
    """A second node, whose agent seems to be ready for longer than that of the first. There is no machine behind it."""
    node.apply(json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node2", "labels": {"kubernetes.io/os": "linux"}}}))
    room = {"cpu": "1", "memory": "1Gi", "pods": "10"}
    node.kubectl("patch", "node", "node2", "--subresource=status", "--type=merge", "-p",
                 json.dumps({"status": {"capacity": room, "allocatable": room}}))
    select = ("pods", "-n", SPACE, "--field-selector=spec.nodeName=node2")
    pod, = wait_until(lambda: node.get(*select)["items"], "the DaemonSet has a pod there")
    ready = [{"type": kind, "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"} for kind in ("Ready", "ContainersReady")]
    node.kubectl("patch", "pod", pod["metadata"]["name"], "-n", SPACE, "--subresource=status", "--type=merge", "-p",
                 json.dumps({"status": {"phase": "Running", "conditions": ready}}))

    def leave():
        node.kubectl("delete", "node", "node2")
        node.kubectl("delete", "pod", "-n", SPACE, "--field-selector=spec.nodeName=node2", "--grace-period=0", "--force")
    return leave


def test_the_walk(shell, node, bare):
    node.kubectl("taint", "node", NAME, TAINT + "=:NoSchedule")
    follow(shell, "Install")
    pods = node.get("pods", "-n", SPACE)["items"]
    assert [each["status"]["containerStatuses"][0]["ready"] for each in pods] == [True]
    node.namespace("guest-early")
    node.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "early", "namespace": "guest-early"},
                           "spec": {"containers": [{"name": "main", "image": BUSYBOX, "command": ["sleep", "1000000"]}]}}))
    wait_until(lambda: waits_for_a_node(node, "early", "guest-early"), "a guest waits for a node that is ready")
    node.pod("plain", tolerations=[{"key": TAINT, "operator": "Exists"}])
    assert waits_for_a_node(node, "early", "guest-early")
    follow(shell, "Nodes that join")
    node.kubectl("wait", "--for=condition=Ready", "pod/early", "-n", "guest-early", "--timeout=60s")
    api = "nc -w 2 10.43.0.1 443 </dev/null"
    node.execute("plain", api)
    assert node.execute("early", api, "guest-early", check=False).returncode != 0
    node.kubectl("delete", "namespace", "guest-early")
    leave = join_beside(node)
    printed = follow(shell, "The first Grant")
    leave()
    before, counted = printed[2], printed[7]
    assert re.search(r"guest-bob/web.*quarantine", before), before
    assert re.search(r"alice-to-bob.*egress.*protected_destination", counted), counted
    # What the guest was refused is there for others.
    control = node.execute("site", api, check=False)
    assert control.returncode == 0, control.stderr
    follow(shell, "Uninstall")
    for kind, name in (("namespace", SPACE), ("crd", "grants.keystone.io"), ("clusterrole", "grantd"),
                       ("validatingadmissionpolicy", "grantd-guest-pods")):
        assert node.kubectl("get", kind, name, check=False).returncode != 0, f"{kind} {name} is left"
    assert not list((node.networks).glob("*grantd*")) and not (node.plugins / "grantd-cni").exists()


def test_the_chart_installs_the_same(shell, node, bare):
    (kind, block), = BLOCK.findall(sections()["The chart"])
    assert kind == "sh helm"
    done = shell.run(block)
    assert done.returncode == 0, done.stdout + done.stderr
    rolled = node.kubectl("rollout", "status", "daemonset/grantd", "-n", SPACE, "--timeout=60s", check=False)
    assert rolled.returncode == 0, rolled.stderr + node.kubectl("logs", "daemonset/grantd", "-n", SPACE, check=False).stdout
    node.namespace("guest-bob")
    node.pod("web", "guest-bob")
    node.pod("plain")
    api = "nc -w 2 10.43.0.1 443 </dev/null"
    assert node.execute("web", api, "guest-bob", check=False).returncode != 0
    node.execute("plain", api)
    assert shell.run("helm uninstall grantd --namespace keystone-system --wait").returncode == 0
    node.kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=grantd", "-n", SPACE, "--timeout=60s")
    assert node.execute("web", api, "guest-bob", check=False).returncode != 0, "it goes on enforcing"
    lines = BLOCK.findall(sections()["Uninstall"])[0][1].splitlines()
    taken_off = shell.run("\n".join(line for line in lines if "uninstall" in line))
    assert taken_off.returncode == 0, taken_off.stdout + taken_off.stderr
    node.execute("web", api, "guest-bob")
