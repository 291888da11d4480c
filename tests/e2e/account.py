"""The account that the DaemonSet gives the agent, with its rights, and tokens of it as the kubelet would give them to a
pod on this node."""

import contextlib
import json

from node import NAME

from cluster import ROOT

SPACE, HOLDER = "keystone-system", "holder"
DEPLOY = ROOT / "deploy/kubernetes"


@contextlib.contextmanager
def account(node):
    for name in ("rbac", "admission"):
        node.kubectl("apply", "-f", DEPLOY / f"{name}.yaml")
    make_holder(node, HOLDER)
    try:
        yield
    finally:
        remove_holder(node, HOLDER)
        for name in ("admission", "rbac"):
            node.kubectl("delete", "-f", DEPLOY / f"{name}.yaml")


def make_holder(node, name):
    """A pod that tokens can be bound to. It never runs."""
    container = {"name": "main", "image": "localhost/never:1", "imagePullPolicy": "Never"}
    node.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": SPACE},
                           "spec": {"nodeName": NAME, "serviceAccountName": "grantd", "containers": [container]}}))


def remove_holder(node, name):
    node.kubectl("delete", "pod", name, "-n", SPACE, "--grace-period=0", "--force", "--ignore-not-found")


def make_token(node, holder=HOLDER):
    return node.kubectl("create", "token", "grantd", "-n", SPACE, "--bound-object-kind=Pod",
                        f"--bound-object-name={holder}").stdout.strip()


def write_kubeconfig(node, server=None, **user):
    """user: `token`, or `tokenFile`."""
    path = node.directory / "agent.kubeconfig"
    made = json.loads(node.kubeconfig.read_text(encoding="utf-8"))
    made["users"][0]["user"] = user
    if server:
        made["clusters"][0]["cluster"]["server"] = server
    path.write_text(json.dumps(made), encoding="utf-8")
    return path
