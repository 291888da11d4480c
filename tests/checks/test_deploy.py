"""deploy/ says everything once: what says it again is written from it, and the version is the build's."""

import re
import subprocess
import sys

import yaml

from tree import ROOT, read

sys.path.insert(0, str(ROOT / "scripts"))
import manifests  # noqa: E402

VERSION = re.search(r"^project\(grantd VERSION (\S+)", read("CMakeLists.txt"), re.M).group(1)


def test_what_is_written_says_what_the_manifests_say():
    done = subprocess.run([sys.executable, "-B", str(ROOT / "scripts/manifests.py"), "--check"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_this_check_can_fail(monkeypatch):
    there = manifests.written()
    read_before = manifests.read
    monkeypatch.setattr(manifests, "read", lambda name: read_before(name).replace("watch", "look"))
    changed = {name for name, text in manifests.written().items() if text != there[name]}
    assert changed == {"grantd.yaml", "chart/grantd/templates/rbac.yaml"}


def test_the_version_is_the_builds():
    chart = yaml.safe_load(read("deploy/chart/grantd/Chart.yaml"))
    assert chart["version"] == chart["appVersion"] == VERSION
    daemonset = yaml.safe_load(read("deploy/kubernetes/daemonset.yaml"))
    assert daemonset["metadata"]["labels"]["app.kubernetes.io/version"] == VERSION
    assert daemonset["spec"]["template"]["spec"]["containers"][0]["image"] == f"localhost/grantd:{VERSION}"


def test_every_manifest_is_in_the_single_file():
    parts = {str(path.relative_to(ROOT / "deploy")) for folder in ("crds", "kubernetes")
             for path in (ROOT / "deploy" / folder).glob("*.yaml")}
    assert set(yaml.safe_load(read("deploy/kustomization.yaml"))["resources"]) == parts
