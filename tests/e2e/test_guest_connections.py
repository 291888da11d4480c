"""deploy/kubernetes/admission.yaml on a cluster with a node: who speaks to a guest through the API server, beside the same
to an ordinary pod; and a static pod, which the kubelet shows as it is."""

import json

import pytest

from account import account
from node import IMAGE, NAME

from cluster import run, wait_until

TENANT, HELPER, ADMINISTRATOR = "bob", "helper", "alice"
GUESTS, ORDINARY = "guest-visited", "visited"
SAYS = "echo hello from $(hostname)"
SERVES = f"while true; do (echo 'HTTP/1.0 200 OK'; echo; {SAYS}) | nc -l -p 8080 >/dev/null; done"


@pytest.fixture(scope="module")
def cluster(node):
    """A tenant has all rights of their namespace, the cluster's own role of that name, and what a wildcard gives there."""
    with account(node):
        for space in (GUESTS, ORDINARY):
            node.namespace(space)
            node.kubectl("create", "role", "all", "-n", space, "--verb=*", "--resource=*.*", "--resource=*")
            for user in (TENANT, HELPER):
                node.kubectl("create", "rolebinding", f"{user}-admin", "-n", space, "--clusterrole=admin", f"--user={user}")
                node.kubectl("create", "rolebinding", f"{user}-all", "-n", space, "--role=all", f"--user={user}")
            node.pod("web", space, f"(while true; do echo tick; sleep 1; done) & {SERVES}")
            node.kubectl("expose", "pod", "web", "-n", space, "--port=8080")
        node.kubectl("create", "clusterrolebinding", "visitor", "--clusterrole=cluster-admin", f"--user={ADMINISTRATOR}")
        # As docs/kubernetes.md says.
        node.kubectl("create", "role", "connect", "-n", "keystone-system", "--verb=connect", "--resource=grants.keystone.io")
        node.kubectl("create", "rolebinding", "connect", "-n", "keystone-system", "--role=connect", f"--user={HELPER}")
        wait_until(lambda: "goes past its Grant" in WAYS_IN["exec"](node, TENANT, GUESTS).stderr, "connections are judged")
        yield node
        node.kubectl("delete", "clusterrolebinding", "visitor")
        for kind in ("rolebinding", "role"):
            node.kubectl("delete", kind, "connect", "-n", "keystone-system")
        node.kubectl("delete", "namespace", GUESTS, ORDINARY, "--wait=false")


def brief(node, user, *arguments):
    """Of a command that ends with its connection only."""
    command = [node.binary, "kubectl", f"--kubeconfig={node.kubeconfig}", f"--cache-dir={node.directory}/discovery", f"--as={user}"]
    return run(["timeout", "5", *command, *arguments], check=False)


def raw(node, user, path):
    return node.kubectl("get", "--raw", path, user=user, check=False)


WAYS_IN = {
    "exec": lambda node, user, space: node.kubectl("exec", "web", "-n", space, "--", "sh", "-c", SAYS, user=user, check=False),
    "attach": lambda node, user, space: brief(node, user, "attach", "web", "-n", space),
    "port-forward": lambda node, user, space: brief(node, user, "port-forward", "pod/web", "18080:8080", "-n", space),
    "proxy of a pod": lambda node, user, space: raw(node, user, f"/api/v1/namespaces/{space}/pods/web:8080/proxy/"),
    "proxy of a service": lambda node, user, space: raw(node, user, f"/api/v1/namespaces/{space}/services/web:8080/proxy/"),
}
ANSWERS = {"attach": "tick", "port-forward": "Forwarding from"}


@pytest.mark.parametrize("way", WAYS_IN)
def test_who_speaks_to_a_guest_through_the_api_server(cluster, way):
    def is_in(user, space):
        return ANSWERS.get(way, "hello from web") in WAYS_IN[way](cluster, user, space).stdout
    refused = WAYS_IN[way](cluster, TENANT, GUESTS)
    assert refused.returncode not in (0, 124) and not refused.stdout, refused.stdout
    assert f"goes past its Grant; {TENANT} needs the right to connect grants.keystone.io in keystone-system" in refused.stderr
    # The addresses behind a Service come a moment later.
    wait_until(lambda: is_in(TENANT, ORDINARY), "an ordinary pod answers")
    for user in (HELPER, ADMINISTRATOR):
        wait_until(lambda user=user: is_in(user, GUESTS), f"the guest answers {user}")


def test_a_static_pod_has_its_mirror(cluster):
    """The kubelet names its node, and has it tolerate everything that would drive it away."""
    path = cluster.directory / "static/mirrored.json"
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "1000000"]}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mirrored", "namespace": GUESTS},
                                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}), encoding="utf-8")

    def mirror():
        done = cluster.kubectl("get", "pod", f"mirrored-{NAME}", "-n", GUESTS, "-o", "json", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None
    try:
        spec = wait_until(mirror, "the kubelet shows it")["spec"]
        assert spec["nodeName"] == NAME and {"operator": "Exists", "effect": "NoExecute"} in spec["tolerations"]
    finally:
        path.unlink()
    wait_until(lambda: not mirror(), "it is gone", 60)
