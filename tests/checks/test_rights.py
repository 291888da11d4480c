"""The rights that deploy/ gives are those of docs/kubernetes.md, in whatever namespace, to the agent's account alone."""

import copy
import sys

import pytest
import yaml

from tree import ROOT, tracked_files

sys.path.append(str(ROOT / "tests/common"))
from rights import AGENT, documented, rights  # noqa: E402


def manifests():
    """Every object of every manifest of deploy/. The chart's templates are none before Helm has made some of them:
    tests/e2e/test_chart.py looks at those."""
    paths = [path for path in tracked_files() if path.parts[0] == "deploy" and path.suffix == ".yaml" and "chart" not in path.parts]
    return [each for path in paths for each in yaml.safe_load_all((ROOT / path).read_text(encoding="utf-8")) if each and "kind" in each]


def single():
    return list(yaml.safe_load_all((ROOT / "deploy/grantd.yaml").read_text(encoding="utf-8")))


def test_the_manifests_give_what_the_document_says():
    assert len(documented()) > 10
    assert rights(manifests()) == documented()
    assert rights(single()) == documented()


def test_what_uses_an_account_is_the_daemonset():
    accounts = {(each["kind"], each["metadata"]["name"]) for each in manifests() if each["kind"] == "ServiceAccount"}
    assert accounts == {("ServiceAccount", AGENT[2])}
    for each in manifests():
        spec = each["spec"]["template"]["spec"] if each["kind"] == "DaemonSet" else each["spec"] if each["kind"] == "Pod" else None
        if spec:
            assert spec.get("serviceAccountName") == AGENT[2] or spec["automountServiceAccountToken"] is False, each["metadata"]["name"]


def role(kind, name, namespace=None, **more):
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"kind": kind, "metadata": metadata, **more}


SECRETS = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
US = [{"kind": "ServiceAccount", "name": "grantd", "namespace": "keystone-system"}]
MORE = {
    "a Role in another namespace": [role("Role", "r", "kube-system", rules=SECRETS),
                                    role("RoleBinding", "r", "kube-system", roleRef={"kind": "Role", "name": "r"}, subjects=US)],
    "a ClusterRole in another namespace": [role("ClusterRole", "r", rules=SECRETS),
                                           role("RoleBinding", "r", "default", roleRef={"kind": "ClusterRole", "name": "r"}, subjects=US)],
    "a second ClusterRole": [role("ClusterRole", "r", rules=SECRETS),
                             role("ClusterRoleBinding", "r", roleRef={"kind": "ClusterRole", "name": "r"}, subjects=US)],
    "a role of the cluster": [role("ClusterRoleBinding", "r", roleRef={"kind": "ClusterRole", "name": "view"}, subjects=US)],
    "no resource": [role("ClusterRole", "r", rules=[{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]),
                    role("ClusterRoleBinding", "r", roleRef={"kind": "ClusterRole", "name": "r"}, subjects=US)],
    "another account": [role("ClusterRoleBinding", "r", roleRef={"kind": "ClusterRole", "name": "grantd"},
                             subjects=[{"kind": "ServiceAccount", "name": "default", "namespace": "keystone-system"}])],
    "a group": [role("RoleBinding", "r", "default", roleRef={"kind": "ClusterRole", "name": "grantd"},
                     subjects=[{"kind": "Group", "name": "system:serviceaccounts"}])],
}


@pytest.mark.parametrize("more", MORE)
def test_it_finds(more):
    assert rights(single() + copy.deepcopy(MORE[more])) > documented()


def test_it_finds_what_is_missing():
    without = [each for each in single() if each["kind"] != "ClusterRoleBinding"]
    assert rights(without) == set()
