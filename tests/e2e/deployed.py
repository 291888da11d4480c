"""The agent as its users have it: deploy/grantd.yaml applied by kubectl, the image that scripts/image makes."""

import pathlib

from agent import Agent
from node import NAME

from cluster import ROOT

MANIFEST, UNINSTALL = ROOT / "deploy/grantd.yaml", ROOT / "deploy/uninstall.yaml"
# The one thing that is the tests' own: what the node's uplinks are called.
UPLINKS = {"eth*=lan": "lan0=lan", "flannel*=overlay": "over0=overlay"}
SPACE = "keystone-system"


def manifest():
    text = MANIFEST.read_text(encoding="utf-8")
    for theirs, ours in UPLINKS.items():
        assert text.count(f"--uplink={theirs}\n") == 1
        text = text.replace(f"--uplink={theirs}\n", f"--uplink={ours}\n")
    return text


class Deployed(Agent):
    def __init__(self, node, image, text=None):
        """text: other manifests than the plain one."""
        super().__init__(node, chain=True)
        self.text = text or manifest()
        self.state = pathlib.Path("/var/lib/grantd")
        node.ctr("images", "import", image)

    def start(self, ready=True):
        self.node.kubectl("apply", "-f", "-", text=self.text)
        if ready:
            self.rolled_out()

    def stop(self):
        # The definitions and the namespace are other tests' too.
        self.node.kubectl("delete", "daemonset", "grantd", "-n", SPACE)
        self.node.kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=grantd", "-n", SPACE, "--timeout=60s")
        for name in ("admission", "rbac"):
            self.node.kubectl("delete", "-f", ROOT / f"deploy/kubernetes/{name}.yaml", "--ignore-not-found")

    def uninstall(self):
        text = UNINSTALL.read_text(encoding="utf-8").replace("NODE", NAME)
        self.node.apply(text)
        told = self.node.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/grantd-uninstall-{NAME}", "-n", SPACE,
                                 "--timeout=60s", check=False)
        assert told.returncode == 0, told.stderr + self.node.kubectl("logs", f"grantd-uninstall-{NAME}", "-n", SPACE, check=False).stdout
        self.node.kubectl("delete", "pod", f"grantd-uninstall-{NAME}", "-n", SPACE)
        left = [str(each) for place in (pathlib.Path("/sys/fs/bpf/grantd"), self.state, pathlib.Path("/run/grantd"))
                for each in place.rglob("*")]
        assert not left, left

    def is_running(self):
        return self.node.kubectl("get", "daemonset", "grantd", "-n", SPACE, check=False).returncode == 0

    def rolled_out(self):
        told = self.node.kubectl("rollout", "status", "daemonset/grantd", "-n", SPACE, "--timeout=60s", check=False)
        assert told.returncode == 0, told.stdout + told.stderr + self.said()
        return self.pod()

    def pod(self):
        """The one that is not on its way out."""
        pods = self.node.get("pods", "-n", SPACE, "-l", "app.kubernetes.io/name=grantd")["items"]
        there = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
        assert len(there) == 1
        return there[0]

    def image_id(self):
        return self.pod()["status"]["containerStatuses"][0]["imageID"]

    def pid(self):
        """Of the agent, as this namespace of processes sees it."""
        container = self.pod()["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        return next(int(line.split()[1]) for line in self.node.ctr("tasks", "ls").stdout.splitlines() if line.startswith(container))

    def execute(self, *command, check=True):
        return self.node.kubectl("exec", "daemonset/grantd", "-n", SPACE, "--", *command, check=check)

    def said(self):
        log = self.node.kubectl("logs", "daemonset/grantd", "-n", SPACE, "--tail=100", check=False)
        events = self.node.kubectl("get", "events", "-n", SPACE, "-o", "custom-columns=REASON:.reason,MESSAGE:.message")
        return log.stdout + log.stderr + events.stdout[-1000:]
