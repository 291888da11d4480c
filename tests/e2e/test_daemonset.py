"""The agent's pod as deploy/kubernetes/daemonset.yaml has it: the API server admits it, and its rights suffice.
Standalone here: what stands in for the API server is a directory of manifests."""

import json

from node import IMAGE, NODE_LAN

from cluster import ROOT, run, wait_until

DAEMONSET = ROOT / "deploy/kubernetes/daemonset.yaml"
MANIFESTS = """
apiVersion: keystone.io/v1alpha1
kind: Realm
metadata: {name: alice-home}
spec: {identity: alice-home}
---
apiVersion: keystone.io/v1alpha1
kind: Realm
metadata: {name: bob-home}
spec: {identity: bob-home, addresses: [203.0.113.0/24]}
---
apiVersion: keystone.io/v1alpha1
kind: Grant
metadata: {name: alice-to-bob, namespace: keystone-system}
spec: {grantorRealm: alice-home, granteeRealm: bob-home}
---
apiVersion: keystone.io/v1alpha1
kind: Workload
metadata: {name: guest}
spec: {grantName: alice-to-bob, interface: INTERFACE, addresses: [ADDRESS]}
"""


def agent_pod(node, manifests):
    """The DaemonSet's pod, with a binary of this build, its libraries from the host, and manifests."""
    made = json.loads(node.kubectl("create", "--dry-run=server", "-f", DAEMONSET, "-o", "json").stdout)
    spec = made["spec"]["template"]["spec"]
    container = spec["containers"][0]
    more = {"usr": "/usr", "lib": "/lib", "lib64": "/lib64", "build": str(ROOT / "build/release/agent"),
            "manifests": str(manifests)}
    spec["volumes"] += [{"name": name, "hostPath": {"path": path}} for name, path in more.items()]
    container["volumeMounts"] += [{"name": name, "mountPath": "/" + name, "readOnly": True} for name in more]
    container.update(image=IMAGE, imagePullPolicy="Never", command=["/build/grantd"],
                     args=["run", "--manifests=/manifests", "--uplink=lan0=lan"])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent", "namespace": "keystone-system"}, "spec": spec}


def test_the_rights_of_the_daemonset_suffice(node, tmp_path):
    address = node.pod("held")
    interface = json.loads(run(["ip", "-j", "route", "get", address]).stdout)[0]["dev"]
    to_node = f"ping -c 1 -W 1 {NODE_LAN}"
    node.execute("held", to_node)
    manifest = tmp_path / "manifests" / "guest.yaml"
    manifest.parent.mkdir()
    manifest.write_text(MANIFESTS.replace("INTERFACE", interface).replace("ADDRESS", address), encoding="utf-8")
    node.kubectl("apply", "-f", ROOT / "deploy/kubernetes/rbac.yaml")
    try:
        node.apply(json.dumps(agent_pod(node, manifest.parent)))
        told = node.kubectl("wait", "--for=condition=Ready", "pod/agent", "-n", "keystone-system", "--timeout=30s", check=False)
        log = node.kubectl("logs", "agent", "-n", "keystone-system", check=False).stdout
        assert told.returncode == 0, told.stderr + log
        wait_until(lambda: node.execute("held", to_node, check=False).returncode != 0, f"the guest is held: {log}", 10)
        # Positive control: its realm reaches it still, and it answers.
        node.outside(["ping", "-c", "1", "-W", "2", address])
    finally:
        node.kubectl("delete", "pod", "agent", "-n", "keystone-system", "--ignore-not-found")
        run([ROOT / "build/release/agent/grantd", "uninstall"])
        node.kubectl("delete", "pod", "held", "--grace-period=0", "--force")
        node.kubectl("delete", "-f", ROOT / "deploy/kubernetes/rbac.yaml")
