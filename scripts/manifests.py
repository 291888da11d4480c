"""Everything in deploy/ that says again what deploy/crds and deploy/kubernetes say: the single file grantd.yaml,
what takes all of it off a node again, and the parts of the chart that no value but the namespaces changes.

  /usr/bin/python3 scripts/manifests.py           writes them
  /usr/bin/python3 scripts/manifests.py --check   fails where they say otherwise
"""

import pathlib
import re
import sys

import yaml

DEPLOY = pathlib.Path(__file__).resolve().parent.parent / "deploy"
CHART = "chart/grantd"
WRITTEN = "# Written by scripts/manifests.py from {}.\n"
LABELS = re.compile(r"labels: \{app\.kubernetes\.io/name: grantd, app\.kubernetes\.io/component: (\w+), "
                    r"app\.kubernetes\.io/part-of: grantd\}")


def read(name):
    return (DEPLOY / name).read_text(encoding="utf-8")


def single_file():
    names = yaml.safe_load(read("kustomization.yaml"))["resources"]
    return WRITTEN.format("all of " + ", ".join(names)) + "".join("---\n" + read(name) for name in names)


def template(name):
    """A manifest as a template of the chart."""
    text, labels = LABELS.subn(r'labels: {{- include "grantd.labels" (dict "root" . "component" "\1") | nindent 4 }}', read(name))
    assert labels == text.count("\nkind: "), f"{name}: an object's labels are not in the form that the chart knows"
    text = text.replace("keystone-system", "{{ .Release.Namespace }}")
    text = text.replace("startsWith('guest-')", """startsWith('{{ trimSuffix "*" .Values.guestNamespaces }}')""")
    return WRITTEN.format("deploy/" + name) + text


def uninstall():
    """The DaemonSet's pod on one node, with the same rights on the same directories, for one command."""
    made = yaml.safe_load(read("kubernetes/daemonset.yaml"))
    spec = made["spec"]["template"]["spec"]
    container = spec["containers"][0]
    kept = ("name", "image", "imagePullPolicy", "securityContext")
    mounts, volumes = ([each for each in some if each["name"] != "runtime"] for some in (container["volumeMounts"], spec["volumes"]))
    directories = [each for each in container["args"] if each.startswith(("--cni-conf-dir=", "--cni-bin-dir="))]
    labels = {**made["metadata"]["labels"], "app.kubernetes.io/name": "grantd-uninstall", "app.kubernetes.io/component": "uninstall"}
    pod = {"apiVersion": "v1", "kind": "Pod",
           "metadata": {"name": "grantd-uninstall-NODE", "namespace": made["metadata"]["namespace"], "labels": labels},
           "spec": {"nodeName": "NODE", "restartPolicy": "OnFailure", "hostNetwork": True, "automountServiceAccountToken": False,
                    "tolerations": spec["tolerations"],
                    "containers": [{**{name: container[name] for name in kept}, "volumeMounts": mounts,
                                    "args": ["uninstall", *directories]}],
                    "volumes": volumes}}
    return (WRITTEN.format("deploy/kubernetes/daemonset.yaml") +
            "# Once the DaemonSet is gone: `grantd uninstall` on the node whose name stands for NODE. Its guests are open then.\n" +
            yaml.safe_dump(pod, sort_keys=False, width=120))


def written():
    """Path in deploy/ -> text."""
    made = {"grantd.yaml": single_file(), "uninstall.yaml": uninstall()}
    for path in sorted((DEPLOY / "crds").glob("*.yaml")):
        made[f"{CHART}/crds/{path.name}"] = WRITTEN.format("deploy/crds/" + path.name) + path.read_text(encoding="utf-8")
    for name in ("rbac", "admission"):
        made[f"{CHART}/templates/{name}.yaml"] = template(f"kubernetes/{name}.yaml")
    return made


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit("usage: scripts/manifests.py [--check]")
    stale = []
    for name, text in written().items():
        path = DEPLOY / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not sys.argv[1:]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if sys.argv[1:] and stale:
        sys.exit("not what the manifests say: " + ", ".join(stale) + "; run /usr/bin/python3 scripts/manifests.py")


if __name__ == "__main__":
    main()
