"""deploy/kubernetes against the real API server: what is refused in guests' namespaces, each beside something that is
admitted; the agent's rights, and its own status object."""

import json
import ssl
import urllib.error
import urllib.request

import pytest

from account import make_token
from agent import GRANTD

from cluster import ROOT, run, wait_until
from rights import AGENT as ACCOUNT, documented, rights

AGENT = "system:serviceaccount:keystone-system:grantd"
DEPLOY = ROOT / "deploy/kubernetes"
NOT_READY = "grantd.keystone.io/not-ready"


@pytest.fixture(scope="module")
def deployed(crds):
    for name in ("namespace", "rbac", "admission"):
        crds.kubectl("apply", "-f", DEPLOY / f"{name}.yaml")
    crds.kubectl("create", "namespace", "guest-bob")
    crds.kubectl("create", "namespace", "labelled")
    crds.kubectl("label", "namespace", "labelled", "keystone.io/realm=bob")
    crds.kubectl("create", "namespace", "ordinary")
    for space in ("guest-bob", "labelled", "ordinary"):
        crds.kubectl("create", "serviceaccount", "default", "-n", space, check=False)
    # A policy is in force a moment after it is applied.
    wait_until(lambda: "remove hostNetwork" in refusal(crds, pod("guest-bob", hostNetwork=True)), "pods are judged")
    wait_until(lambda: "add a selector" in refusal(crds, service("guest-bob")), "services are judged")
    wait_until(lambda: "by hand" in refusal(crds, slice_of("guest-bob")), "endpoints are judged")
    wait_until(lambda: "made in namespace keystone-system" in refusal(crds, grant("ordinary")), "Grants are judged")
    wait_until(lambda: "of its own node only" in refusal(crds, node_status("node-x"), "--as", AGENT), "status is judged")
    wait_until(lambda: "its own Events only" in refusal(crds, event("node-x"), "--as", AGENT), "Events are judged")
    yield crds
    crds.kubectl("delete", "namespace", "guest-bob", "labelled", "ordinary", "--wait=false")
    for name in ("admission", "rbac"):
        crds.kubectl("delete", "-f", DEPLOY / f"{name}.yaml")


def refusal(api, made, *arguments):
    """Why the object is refused; "" if it is not."""
    done = api.kubectl("create", "--dry-run=server", "-f", "-", *arguments, text=json.dumps(made), check=False)
    return done.stderr if done.returncode else ""


def pod(space, container=None, annotations=None, **spec):
    main = {"name": "main", "image": "x", **(container or {})}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "pod", "namespace": space, "annotations": annotations or {}},
            "spec": {"containers": [main], **spec}}


def service(space, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "service", "namespace": space},
            "spec": {"ports": [{"port": 80}], **spec}}


def slice_of(space):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "slice", "namespace": space}, "endpoints": [{"addresses": ["192.0.2.1"]}]}


def node_status(name):
    return {"apiVersion": "keystone.io/v1alpha1", "kind": "GrantNodeStatus", "metadata": {"name": name}}


def event(host, component="grantd", name="event"):
    return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"}, "reason": "Quarantined",
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "pod", "namespace": "default"},
            "source": {"component": component, "host": host}}


def grant(space):
    return {"apiVersion": "keystone.io/v1alpha1", "kind": "Grant", "metadata": {"name": "g", "namespace": space},
            "spec": {"grantorRealm": "a", "granteeRealm": "b"}}


def security(**context):
    return {"securityContext": context}


def limits(*names):
    return {"resources": {"limits": {name: "1Gi" if name == "memory" else 1 for name in names}}}


WAYS_OUT = {
    "hostNetwork": ("remove hostNetwork", lambda space: pod(space, hostNetwork=True)),
    "hostPID": ("remove hostPID", lambda space: pod(space, hostPID=True)),
    "hostIPC": ("remove hostIPC", lambda space: pod(space, hostIPC=True)),
    "privileged": ("remove securityContext.privileged", lambda space: pod(space, security(privileged=True))),
    "privileged init container": ("remove securityContext.privileged", lambda space: pod(space, initContainers=[
        {"name": "init", "image": "x", **security(privileged=True)}])),
    "hostPath": ("hostPath", lambda space: pod(space, volumes=[{"name": "host", "hostPath": {"path": "/"}}])),
    "procMount": ("procMount", lambda space: pod(space, security(procMount="Unmasked"), hostUsers=False)),
    "device of a plugin": ("but a GPU", lambda space: pod(space, limits("cpu", "rdma/hca_shared_devices_a"))),
    "device of a plugin, init container": ("but a GPU", lambda space: pod(space, initContainers=[
        {"name": "init", "image": "x", **limits("example.org/vhost-vsock")}])),
    "resourceClaims": ("remove resourceClaims", lambda space: pod(space, resourceClaims=[{"name": "nic", "resourceClaimName": "nic"}])),
    **{kind: ("PersistentVolumeClaim", lambda space, kind=kind, source=source: pod(space, volumes=[{"name": "far", kind: source}]))
       for kind, source in (("nfs", {"server": "192.0.2.1", "path": "/"}), ("csi", {"driver": "far.example.org"}),
                            ("azureFile", {"secretName": "s", "shareName": "s"}), ("quobyte", {"registry": "192.0.2.1:7861", "volume": "v"}),
                            ("iscsi", {"targetPortal": "192.0.2.1:3260", "iqn": "iqn.2001-04.org.example:x", "lun": 0}))},
    **{f"{probe} of another host": ("probes", lambda space, probe=probe: pod(space, {probe: {"httpGet": {"host": "192.0.2.1", "port": 80}}}))
       for probe in ("livenessProbe", "readinessProbe", "startupProbe")},
    "tcp probe of another host": ("probes", lambda space: pod(space, {"livenessProbe": {"tcpSocket": {"host": "192.0.2.1", "port": 80}}})),
    **{f"{hook} hook to another host": ("probes", lambda space, hook=hook: pod(
        space, {"lifecycle": {hook: {"httpGet": {"host": "192.0.2.1", "port": 80}}}})) for hook in ("postStart", "preStop")},
    "LoadBalancer": ("LoadBalancer", lambda space: service(space, type="LoadBalancer", selector={"a": "b"})),
    "nodeName": ("instead of nodeName", lambda space: pod(space, nodeName="node-a")),
    **{f"toleration {toleration}": ("remove the toleration", lambda space, toleration=toleration: pod(space, tolerations=[toleration]))
       for toleration in ({"operator": "Exists"}, {"operator": "Exists", "effect": "NoSchedule"},
                          {"key": NOT_READY, "operator": "Exists"}, {"key": NOT_READY, "effect": "NoSchedule"})},
    "hostPort": ("remove hostPort", lambda space: pod(space, {"ports": [{"containerPort": 80, "hostPort": 80}]})),
    "service without a selector": ("add a selector", service),
    "ExternalName": ("ExternalName", lambda space: service(
        space, type="ExternalName", externalName="example.org", selector={"a": "b"})),
    "externalIPs": ("remove externalIPs", lambda space: service(space, externalIPs=["192.0.2.1"], selector={"a": "b"})),
    "hand-made EndpointSlice": ("by hand", slice_of),
    "hand-made Endpoints": ("by hand", lambda space: {
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "service", "namespace": space},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]}),
    **{f"capability {name}": ("capabilities.add", lambda space, name=name: pod(
        space, security(capabilities={"add": ["CHOWN", name]}))) for name in (
            "NET_ADMIN", "NET_RAW", "CAP_NET_RAW", "ALL", "SYS_TIME", "cap_sys_boot", "PERFMON", "SYS_ADMIN")},
    **{name: ("annotations", lambda space, name=name: pod(space, annotations={name: "1M"})) for name in (
        "k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network", "kubernetes.io/egress-bandwidth", "kubernetes.io/ingress-bandwidth")},
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_way_out_is_refused_to_guests_only(deployed, way):
    expected, made = WAYS_OUT[way]
    for space in ("guest-bob", "labelled"):
        assert expected in refusal(deployed, made(space)), space
    assert refusal(deployed, made("ordinary")) == ""


def test_a_grant_is_made_where_agents_follow_it(deployed, tmp_path):
    for space in ("guest-bob", "ordinary"):
        assert f"no agent follows one in {space}; set metadata.namespace to keystone-system" in refusal(deployed, grant(space))
    assert refusal(deployed, grant("keystone-system")) == ""
    for space, told in (("ordinary", True), ("keystone-system", False)):
        realms = [{"apiVersion": "keystone.io/v1alpha1", "kind": "Realm", "metadata": {"name": name}, "spec": {"identity": name}} for name in "ab"]
        (tmp_path / "grant.yaml").write_text("\n---\n".join(map(json.dumps, [*realms, grant(space)])), encoding="utf-8")
        checked = run([GRANTD, "check", tmp_path / "grant.yaml"])
        assert ("on a cluster no agent follows a Grant there" in checked.stderr) == told


def test_what_guests_may_do(deployed):
    harmless = security(privileged=False, capabilities={"add": ["CHOWN"], "drop": ["ALL"]})
    for space in ("guest-bob", "labelled"):
        assert refusal(deployed, pod(space)) == ""
        assert refusal(deployed, pod(space, limits("cpu", "memory", "nvidia.com/gpu", "gpu.intel.com/i915"))) == ""
        for source in ({"emptyDir": {}}, {"configMap": {"name": "c"}}, {"secret": {"secretName": "s"}}, {"projected": {"sources": []}},
                       {"persistentVolumeClaim": {"claimName": "c"}}, {"downwardAPI": {"items": []}}, {"ephemeral": {"volumeClaimTemplate": {
                           "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}}}):
            assert refusal(deployed, pod(space, harmless, {"note": "x"}, volumes=[{"name": "tmp", **source}])) == "", source
        assert refusal(deployed, service(space, selector={"app": "web"})) == ""


def test_what_is_on_its_way_out_changes_in_nothing_that_counts(deployed):
    """A finalizer keeps an object there as long as its maker wants."""
    kept = {"finalizers": ["example.org/keep"]}
    for made, change, message in (
            (service("guest-bob", selector={"app": "web"}), {"spec": {"externalIPs": ["192.0.2.1"]}}, "remove externalIPs"),
            (pod("guest-bob"), {"metadata": {"annotations": {"k8s.v1.cni.cncf.io/networks": "x"}}}, "one interface")):
        kind, name = made["kind"].lower(), made["metadata"]["name"]
        made["metadata"].update(kept)
        deployed.apply(json.dumps(made))
        deployed.kubectl("delete", kind, name, "-n", "guest-bob", "--wait=false", "--grace-period=0", "--force")
        patch = ("patch", kind, name, "-n", "guest-bob", "--type=merge", "-p")
        refused = deployed.kubectl(*patch, json.dumps(change), check=False)
        assert refused.returncode != 0 and message in refused.stderr, refused.stdout + refused.stderr
        deployed.kubectl(*patch, json.dumps({"metadata": {"finalizers": None}}))
        wait_until(lambda kind=kind, name=name: deployed.kubectl("get", kind, name, "-n", "guest-bob", check=False).returncode, "it is gone")


def test_a_probe_without_a_host_asks_the_guest_itself(deployed):
    asked = {"httpGet": {"port": 80}}
    harmless = {"livenessProbe": asked, "readinessProbe": {"tcpSocket": {"port": 80}}, "lifecycle": {"preStop": asked}}
    assert refusal(deployed, pod("guest-bob", harmless)) == ""


def test_an_annotation_does_not_come_later(deployed):
    deployed.apply(json.dumps(pod("guest-bob")))
    refused = deployed.kubectl("annotate", "pod", "pod", "-n", "guest-bob", "k8s.v1.cni.cncf.io/networks=x", check=False)
    assert refused.returncode != 0 and "one interface" in refused.stderr
    deployed.kubectl("annotate", "pod", "pod", "-n", "guest-bob", "note=x")
    deployed.kubectl("delete", "pod", "pod", "-n", "guest-bob", "--grace-period=0", "--force")


# What the cluster gives to every pod, and to those of a DaemonSet.
OF_THE_CLUSTER = [{"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": effect} for name, effect in (
    ("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule"), ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule"))]


def test_a_guest_tolerates_what_others_do_and_no_more_later(deployed):
    made = pod("guest-bob", tolerations=[*OF_THE_CLUSTER, {"key": "mine", "operator": "Exists"}], nodeSelector={"a": "b"})
    deployed.apply(json.dumps(made))
    add = ("patch", "pod", "pod", "-n", "guest-bob", "--type=json", "-p")
    refused = deployed.kubectl(*add, json.dumps([{"op": "add", "path": "/spec/tolerations/-", "value": {"operator": "Exists"}}]), check=False)
    assert refused.returncode != 0 and "remove the toleration" in refused.stderr
    deployed.kubectl(*add, json.dumps([{"op": "add", "path": "/spec/tolerations/-", "value": {"key": "later", "operator": "Exists"}}]))
    # The scheduler's choice is no choice of the guest's.
    bound = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "pod"}, "target": {"kind": "Node", "name": "node-a"}}
    deployed.kubectl("create", "--raw", "/api/v1/namespaces/guest-bob/pods/pod/binding", "-f", "-", text=json.dumps(bound))
    deployed.kubectl("annotate", "pod", "pod", "-n", "guest-bob", "note=x")
    assert deployed.get("pod", "pod", "-n", "guest-bob")["spec"]["nodeName"] == "node-a"
    deployed.kubectl("delete", "pod", "pod", "-n", "guest-bob", "--grace-period=0", "--force")


def test_an_ephemeral_container_gets_no_more(deployed):
    """Debugging is a way in later on, as a guest's own right to `pods/ephemeralcontainers` is."""
    for space, held in (("guest-bob", True), ("ordinary", False)):
        deployed.apply(json.dumps(pod(space, hostUsers=False)))
        for profile, refused in (("baseline", False), ("general", held), ("netadmin", held), ("sysadmin", held)):
            done = deployed.kubectl("debug", "pod", "-n", space, "--image=x", f"--profile={profile}", "--attach=false", check=False)
            assert (done.returncode != 0) == refused, f"{space}, {profile}: {done.stderr}"
            assert not refused or "a guest " in done.stderr
        later = {"spec": {"ephemeralContainers": [{"name": "later", "image": "x", **security(procMount="Unmasked")}]}}
        done = deployed.kubectl("patch", "pod", "pod", "-n", space, "--subresource=ephemeralcontainers", "-p", json.dumps(later), check=False)
        assert (done.returncode != 0) == held and ("remove securityContext.procMount" in done.stderr) == held, done.stderr
        deployed.kubectl("delete", "pod", "pod", "-n", space, "--grace-period=0", "--force")


def test_the_clusters_controllers_write_endpoints(deployed):
    for name in ("endpoint", "endpointslice"):
        controller = f"system:serviceaccount:kube-system:{name}-controller"
        assert "by hand" not in refusal(deployed, slice_of("guest-bob"), "--as", controller, "--as-group=system:masters")
    other = "system:serviceaccount:guest-bob:endpointslice-controller"
    assert "by hand" in refusal(deployed, slice_of("guest-bob"), "--as", other, "--as-group=system:masters")


def test_a_selector_does_not_go_later(deployed):
    deployed.apply(json.dumps(service("guest-bob", selector={"app": "web"})))
    take = ("patch", "service", "service", "-n", "guest-bob", "--type=merge", "-p")
    refused = deployed.kubectl(*take, '{"spec": {"selector": null}}', check=False)
    assert refused.returncode != 0 and "add a selector" in refused.stderr
    deployed.kubectl(*take, '{"spec": {"selector": {"app": "other"}}}')
    deployed.kubectl("delete", "service", "service", "-n", "guest-bob")


MAY = {
    ("realms.keystone.io", ""): {"list", "watch"},
    ("grants.keystone.io", ""): {"list", "watch"},
    ("grants.keystone.io", "status"): set(),
    ("grantnodestatuses.keystone.io", ""): {"get", "create", "patch"},
    ("grantnodestatuses.keystone.io", "status"): {"patch"},
    ("namespaces", ""): {"list", "watch"},
    ("pods", ""): {"list", "watch"},
    ("pods", "exec"): set(),
    ("events", ""): {"create", "patch"},
    ("events.events.k8s.io", ""): set(),
    ("secrets", ""): set(),
    ("configmaps", ""): set(),
    ("serviceaccounts", "token"): set(),
    ("nodes", ""): set(),
    ("nodes", "proxy"): set(),
    ("clusterroles.rbac.authorization.k8s.io", ""): set(),
}
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")


@pytest.mark.parametrize("resource,sub", MAY, ids=lambda part: part or "-")
def test_the_agent_can_do_this_and_no_more(deployed, resource, sub):
    more = [f"--subresource={sub}"] if sub else []
    can = {verb for verb in VERBS if deployed.kubectl(
        "auth", "can-i", verb, resource, "--all-namespaces", *more, "--as", AGENT, check=False).stdout.strip() == "yes"}
    assert can == MAY[resource, sub]


def more_than_others(api, space):
    """What the agent may there and another account may not, of all that the server knows of; and the other way round."""
    def told(user):
        lines = api.kubectl("auth", "can-i", "--list", f"--namespace={space}", "--as", user).stdout.splitlines()
        return {(" ".join(line[:line.index("[")].split()), verb) for line in lines[1:] if (verbs := line[line.rindex("["):].strip("[]"))
                for verb in verbs.split()}
    everybody, agent = told("system:serviceaccount:default:default"), told(AGENT)
    return agent - everybody, everybody - agent


MATRIX = {(f"{resource}/{sub}" if sub else resource, verb) for (resource, sub), verbs in MAY.items() for verb in verbs}


@pytest.mark.parametrize("space", ["keystone-system", "kube-system", "default", "guest-bob", "labelled", "ordinary"])
def test_it_has_no_right_that_is_not_in_that_matrix(deployed, space):
    assert more_than_others(deployed, space) == (MATRIX, set())


def test_that_matrix_is_the_documents():
    named = {(f"{resource.split('.')[0]}{'/' + sub if sub else ''}", verb) for (resource, sub), verbs in MAY.items() for verb in verbs}
    assert named == {(resource, verb) for _, _, _, resource, verb in documented()}


def bound(api):
    """What the bindings of the cluster give to the agent, by its name or as one of its namespace's accounts."""
    objects = [each for kind in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
               for each in json.loads(api.kubectl("get", kind, "-A", "-o", "json").stdout)["items"]]
    for each in objects:
        each.pop("aggregationRule", None)  # of the cluster's own roles
    whose = (ACCOUNT, ("Group", "", "system:serviceaccounts:keystone-system"))
    return {right for right in rights(objects) if right[0] in whose}


def test_no_binding_in_any_namespace_gives_more(deployed):
    assert bound(deployed) == documented()
    for kind in ("role", "clusterrole"):
        deployed.kubectl("create", kind, "more", "--verb=get", "--resource=secrets", "-n", "ordinary")
        deployed.kubectl("create", "rolebinding", "more", f"--{kind}=more", "--serviceaccount=keystone-system:grantd", "-n", "ordinary")
        try:
            assert bound(deployed) - documented() == {(ACCOUNT, "ordinary", "", "secrets", "get")}
            wait_until(lambda: more_than_others(deployed, "ordinary")[0] - MATRIX == {("secrets", "get")}, "it is found there")
            assert more_than_others(deployed, "default") == (MATRIX, set())
        finally:
            deployed.kubectl("delete", "rolebinding", "more", "-n", "ordinary")
            deployed.kubectl("delete", kind, "more", "-n", "ordinary")


@pytest.fixture(name="with_token")
def token_of_an_agent(deployed):
    """How kubectl is the agent of node-a."""
    agent = pod("keystone-system", nodeName="node-a", serviceAccountName="grantd")
    deployed.apply(json.dumps(agent))
    token = make_token(deployed, "pod")
    yield ("--kubeconfig=/dev/null", f"--server={deployed.url}", f"--token={token}",
           f"--certificate-authority={deployed.pki.certificate('ca')}")
    deployed.kubectl("delete", "pod", "pod", "-n", "keystone-system", "--grace-period=0", "--force")


def patched(api, with_token, path, change):
    """What the server says of it."""
    token = next(each for each in with_token if each.startswith("--token=")).removeprefix("--token=")
    asked = urllib.request.Request(api.url + path, json.dumps(change).encode(), {
        "Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}, method="PATCH")
    try:
        with urllib.request.urlopen(asked, context=ssl.create_default_context(cafile=api.pki.certificate("ca"))) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def test_the_agent_writes_events_of_its_own_node_only(deployed, with_token):
    assert refusal(deployed, event("node-a"), *with_token) == ""
    for others in (event("node-b"), event("node-a", component="kubelet")):
        assert "of node node-a writes its own Events only" in refusal(deployed, others, *with_token)
    for made, mine in ((event("node-a", name="mine"), True), (event("node-a", component="kubelet", name="theirs"), False)):
        deployed.apply(json.dumps(made))
        # Also where it takes the Event for its own by the same change. Not by kubectl, which reads first.
        said = patched(deployed, with_token, f"/api/v1/namespaces/default/events/{made['metadata']['name']}",
                       {"count": 2, "source": {"component": "grantd", "host": "node-a"}})
        assert ('"count":2' in said) == mine and ("its own Events only" in said) != mine, said
    deployed.kubectl("delete", "event", "mine", "theirs", "-n", "default")


def test_the_agent_writes_the_status_of_its_own_node_only(deployed, with_token):
    assert refusal(deployed, node_status("node-a"), *with_token) == ""
    assert "of its own node only, not of node-b" in refusal(deployed, node_status("node-b"), *with_token)
    deployed.apply(json.dumps(node_status("node-b")))
    status = {**node_status("node-b"), "status": {"grants": [{"name": "g", "enforced": True}]}}
    for more in ((), ("--subresource=status",)):
        refused = deployed.apply(json.dumps(status), "--server-side", *more, *with_token, check=False)
        assert refused.returncode != 0 and "of its own node only" in refused.stderr
    deployed.kubectl("delete", "grantnodestatus", "node-b")
