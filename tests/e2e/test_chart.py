"""The chart as Helm sees it: it says what deploy/grantd.yaml says, each value does what it is for, and what is no value
is refused with a reason. The API server admits what it makes."""

import json

import pytest
import yaml

from chart import CHART, documents, helm, template

from cluster import ROOT
from rights import documented, rights

KUSTOMIZATION = ROOT / "deploy"
# What only Helm says.
OF_HELM = {"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance"}
# What only the DaemonSet says, outside of Helm.
VERSION = "app.kubernetes.io/version"


def daemonset(*arguments):
    return documents(template(*arguments).stdout)["DaemonSet", "grantd"]


def container(*arguments):
    return daemonset(*arguments)["spec"]["template"]["spec"]["containers"][0]


def without_labels(value, names):
    if isinstance(value, list):
        return [without_labels(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: {name: each for name, each in part.items() if name not in names} if key == "labels" and part else
            without_labels(part, names) for key, part in value.items()}


def test_lint_is_content():
    done = helm("lint", "--strict", CHART)
    assert "[WARNING]" not in done.stdout and "[ERROR]" not in done.stdout


def test_it_says_what_the_plain_manifest_says():
    plain = documents((ROOT / "deploy/grantd.yaml").read_text(encoding="utf-8"))
    # `--create-namespace` makes it.
    del plain["Namespace", "keystone-system"]
    made = documents(template("--include-crds").stdout)
    assert made.keys() == plain.keys()
    for name, object_ in plain.items():
        also = OF_HELM if name[0] == "DaemonSet" else OF_HELM | {VERSION}
        assert without_labels(made[name], also) == without_labels(object_, ()), name


EVERYTHING = ("--set", "metrics.listen=0.0.0.0:9786,metrics.annotations=true,metrics.podMonitor.enabled=true")


@pytest.mark.parametrize("values", [(), EVERYTHING, (*EVERYTHING, "--values", CHART / "values-kubeadm.yaml")])
def test_it_gives_the_rights_that_are_documented(values):
    assert rights(documents(template(*values).stdout).values()) == documented()


def test_so_does_the_kustomization(api):
    made = documents(api.kubectl("kustomize", KUSTOMIZATION).stdout)
    assert made == documents((ROOT / "deploy/grantd.yaml").read_text(encoding="utf-8"))


def test_the_api_server_admits_all_of_it(crds):
    made = template("--set", "metrics.listen=0.0.0.0:9786,metrics.annotations=true",
                    "--values", CHART / "values-kubeadm.yaml").stdout
    admitted = crds.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", text=made, check=False)
    assert admitted.returncode == 0 and "daemonset.apps/grantd" in admitted.stdout, admitted.stderr
    broken = crds.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-",
                          text=made.replace("hostNetwork:", "hostNetwrk:"), check=False)
    assert broken.returncode != 0 and "hostNetwrk" in broken.stderr


def everywhere(name, path, made, argument):
    """What the agent is told is what is mounted, from the same place."""
    spec = made["spec"]["template"]["spec"]
    mount = next(each for each in spec["containers"][0]["volumeMounts"] if each["name"] == name)
    volume = next(each for each in spec["volumes"] if each["name"] == name)
    return mount["mountPath"] == volume["hostPath"]["path"] == path and argument in spec["containers"][0]["args"]


EFFECTS = {
    "image.tag": lambda: container("--set", "image.tag=v7")["image"] == "localhost/grantd:v7",
    "image.digest": lambda: container("--set", f"image.digest=sha256:{'a' * 64}")["image"] == f"localhost/grantd@sha256:{'a' * 64}",
    "image.repository": lambda: container("--set", "image.repository=r.example/g")["image"].startswith("r.example/g:"),
    "image.pullPolicy": lambda: container("--set", "image.pullPolicy=Never")["imagePullPolicy"] == "Never",
    "imagePullSecrets": lambda: daemonset("--set", "imagePullSecrets[0].name=s")["spec"]["template"]["spec"][
        "imagePullSecrets"] == [{"name": "s"}],
    "uplinks": lambda: [each for each in container("--set", "uplinks={a*=lan,b=overlay}")["args"] if "uplink" in each]
    == ["--uplink=a*=lan", "--uplink=b=overlay"],
    "podCidrs": lambda: "--pod-cidr=fd00::/48" in container("--set", "podCidrs={fd00::/48}")["args"],
    "serviceCidrs": lambda: "--service-cidr=10.9.0.0/16" in container("--set", "serviceCidrs={10.9.0.0/16}")["args"],
    "guestNamespaces": lambda: "--guest-namespaces=visitor-*" in container("--set", "guestNamespaces=visitor-*")["args"],
    "cni.enabled": lambda: not {"networks", "plugins"} & {
        each["name"] for each in daemonset("--set", "cni.enabled=false")["spec"]["template"]["spec"]["volumes"]}
    and "cni" not in " ".join(container("--set", "cni.enabled=false")["args"]),
    "cni.refuseUnknown": lambda: "--cni-refuse-unknown" in container("--set", "cni.refuseUnknown=true")["args"],
    "cni.confDir": lambda: everywhere("networks", "/c", daemonset("--set", "cni.confDir=/c"), "--cni-conf-dir=/c"),
    "cni.binDir": lambda: everywhere("plugins", "/b", daemonset("--set", "cni.binDir=/b"), "--cni-bin-dir=/b"),
    "criSocket": lambda: everywhere("runtime", "/r", daemonset("--set", "criSocket=/r/c.sock"), "--cri-socket=/r/c.sock")
    and "runtime" not in json.dumps(daemonset("--set", "criSocket=")) and "--cri-socket=none" in container("--set", "criSocket=")["args"],
    "stampMask": lambda: "--stamp-mask=0xff" in container("--set-string", "stampMask=0xff")["args"],
    "log": lambda: {"--log-format=text", "--log-level=debug"} <= set(
        container("--set", "log.format=text,log.level=debug")["args"]),
    "resources": lambda: container("--set", "resources.limits.cpu=1")["resources"]["limits"] == {"cpu": 1},
    "tolerations": lambda: daemonset("--set-json", 'tolerations=[{"key":"x"}]')["spec"]["template"]["spec"]["tolerations"]
    == [{"key": "x"}, {"key": "grantd.keystone.io/not-ready", "operator": "Exists"}],
    "nodeSelector": lambda: daemonset("--set", "nodeSelector.x=y")["spec"]["template"]["spec"]["nodeSelector"]["x"] == "y",
    "priorityClassName": lambda: daemonset("--set", "priorityClassName=p")["spec"]["template"]["spec"]["priorityClassName"] == "p",
    "extraArgs": lambda: container("--set", "extraArgs={--trust-clock}")["args"][-1] == "--trust-clock",
    "metrics.annotations": lambda: daemonset("--set", "metrics.annotations=true,metrics.listen=0.0.0.0:80")["spec"][
        "template"]["metadata"]["annotations"]["prometheus.io/port"] == "80",
}


@pytest.mark.parametrize("value", EFFECTS)
def test_each_value_does_what_it_is_for(value):
    assert EFFECTS[value]()


def test_every_value_has_a_test():
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    tested = {name.split(".")[0] for name in EFFECTS}
    assert set(values) == tested
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert set(schema["properties"]) == set(values) | {"global"}


def test_the_pattern_of_guests_is_the_policies_too():
    text = template("--set", "guestNamespaces=visitor-*").stdout
    assert text.count("startsWith('visitor-')") == 4 and "guest-'" not in text


def test_the_probes_ask_where_the_agent_listens():
    for listen, host, port in (("0.0.0.0:80", "127.0.0.1", 80), ("[::]:9786", "::1", 9786), ("192.0.2.1:99", "192.0.2.1", 99)):
        made = container("--set-string", f"metrics.listen={listen}")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert made[probe]["httpGet"]["host"] == host and made[probe]["httpGet"]["port"] == port
        assert made["ports"] == [{"name": "metrics", "containerPort": port}]
    assert "ports" not in container()


def test_a_pod_monitor_finds_the_agents():
    made = documents(template("--set", "metrics.podMonitor.enabled=true,metrics.listen=0.0.0.0:9786",
                              "--set", "metrics.podMonitor.labels.release=mine").stdout)
    monitor = made["PodMonitor", "grantd"]
    assert monitor["metadata"]["labels"]["release"] == "mine"
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    pod = made["DaemonSet", "grantd"]["spec"]["template"]
    assert wanted <= pod["metadata"]["labels"].items()
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == pod["spec"]["containers"][0]["ports"][0]["name"]
    assert "PodMonitor" not in template().stdout


REFUSED = {
    "uplink=x": ("--set", "uplink=x", "uplink"),
    "image.name": ("--set", "image.name=x", "name"),
    "metrics.podMonitor.on": ("--set", "metrics.podMonitor.on=true", "on"),
    "uplinks class": ("--set", "uplinks={eth0=wan}", "uplinks.0"),
    "uplinks none": ("--set-json", "uplinks=[]", "uplinks"),
    "podCidrs": ("--set", "podCidrs={10.42.0.0}", "podCidrs.0"),
    "guestNamespaces": ("--set", "guestNamespaces=guests", "guestNamespaces"),
    "cni.confDir": ("--set", "cni.confDir=net.d", "cni.confDir"),
    "criSocket": ("--set", "criSocket=containerd.sock", "criSocket"),
    "stampMask a number": ("--set", "stampMask=255", "stampMask"),
    "log.level": ("--set", "log.level=loud", "log.level"),
    "pullPolicy": ("--set", "image.pullPolicy=Sometimes", "image.pullPolicy"),
    "digest": ("--set", "image.digest=sha256:12", "image.digest"),
    "listen without a port": ("--set", "metrics.listen=0.0.0.0", "metrics.listen"),
    "listen beyond the ports": ("--set", "metrics.listen=0.0.0.0:65536", "metrics.listen"),
    "listen beyond addresses": ("--set", "metrics.listen=0.0.0.256:9786", "metrics.listen"),
    "listen at a name": ("--set", "metrics.listen=localhost:9786", "metrics.listen"),
    "podCidrs beyond addresses": ("--set", "podCidrs={10.256.0.0/16}", "podCidrs.0"),
    "podCidrs beyond a prefix": ("--set", "podCidrs={10.42.0.0/33}", "podCidrs.0"),
    "serviceCidrs beyond IPv6": ("--set", "serviceCidrs={fd00::/129}", "serviceCidrs.0"),
    "extraArgs no flag": ("--set", "extraArgs={trust-clock}", "extraArgs.0"),
    "extraArgs in two": ("--set", "extraArgs={--max-grants 7}", "extraArgs.0"),
    "extraArgs of a value": ("--set", "extraArgs={--listen=0.0.0.0:1}", "extraArgs.0"),
    "extraArgs of a directory": ("--set", "extraArgs={--pin-root=/sys/fs/bpf/x}", "extraArgs.0"),
    "metrics that nobody reaches": ("--set", "metrics.annotations=true", "set metrics.listen=0.0.0.0:9786"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_value_is_refused_with_its_name(what):
    *arguments, named = REFUSED[what]
    done = template(*arguments, check=False)
    assert done.returncode != 0 and named in done.stderr, done.stderr


def names_of_values(values, prefix=""):
    for name, value in values.items():
        yield prefix + name
        if isinstance(value, dict) and value and name not in ("requests", "nodeSelector"):
            yield from names_of_values(value, f"{prefix}{name}.")


def test_null_is_no_value():
    """Helm takes the default away for it."""
    names = [name for name in names_of_values(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))
             if name != "resources.requests"]
    assert len(names) > 25
    for name in names:
        done = template("--set", f"{name}=null", check=False)
        assert done.returncode != 0 and name.split(".")[-1] in done.stderr and "required" in done.stderr, f"{name}: {done.stdout[:200]}{done.stderr}"


@pytest.mark.parametrize("arguments", [
    ("--set-string", "metrics.listen=[fd00::1]:65535"), ("--set", "podCidrs={10.0.0.0/8,fd00::/48}"),
    ("--set", "extraArgs={--max-grants=7,--trust-clock}"), ("--set-json", "resources={}")], ids=lambda each: each[1])
def test_what_is_a_value_is_taken(arguments):
    assert documents(template(*arguments).stdout)


def test_another_namespace_is_refused():
    done = template(namespace="default", check=False)
    assert done.returncode != 0 and "--namespace keystone-system" in done.stderr
