"""The agent's API client against a real API server."""

import contextlib
import json
import signal
import subprocess
import threading

import pytest

from cluster import ROOT, wait_until

PROGRAMS = ROOT / "build/release/tests"


class Follower:
    """The client in a process of its own; `last` is what it told last."""

    def __init__(self, cluster, *arguments, kubeconfig=None, program="api_follow"):
        command = [PROGRAMS / program, kubeconfig or cluster.kubeconfig, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.last, self.all = {}, []
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            self.last = json.loads(line)
            self.all.append(self.last)

    def until(self, condition, what, seconds=30):
        try:
            return wait_until(lambda: self.last and condition(self.last), what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; last: {self.last}") from None

    def knows(self, objects, seconds=30):
        self.until(lambda told: told["complete"] and ours(told) == objects, f"knows {objects}", seconds)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()


def ours(told):
    """Without the one that the controller manager puts into each namespace, where another test has started it."""
    return {key: value for key, value in told["objects"].items() if not key.endswith("/kube-root-ca.crt")}


@contextlib.contextmanager
def following(*arguments, **more):
    follower = Follower(*arguments, **more)
    try:
        yield follower
    finally:
        follower.close()


def config_map(cluster, space, name, value):
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "ConfigMap",
                              "metadata": {"name": name, "namespace": space, "labels": {"value": value}}}))


@pytest.fixture
def space(api, request):
    name = request.node.name.replace("_", "-").removeprefix("test-")[:50].strip("-")
    api.kubectl("create", "namespace", name)
    return name


def maps_of(space):
    return f"/api/v1/namespaces/{space}/configmaps", "v1", "ConfigMap"


def test_a_kind_is_followed_by_one_stream(api, space):
    config_map(api, space, "a", "1")
    with following(api, *maps_of(space)) as follower:
        follower.knows({f"{space}/a": "1"})
        config_map(api, space, "b", "1")
        config_map(api, space, "a", "2")
        follower.knows({f"{space}/a": "2", f"{space}/b": "1"})
        api.kubectl("delete", "configmap", "-n", space, "a")
        follower.knows({f"{space}/b": "1"})
        assert follower.last["errors"] == {} and follower.last["relists"] == 0, follower.last


def test_a_field_selector_selects(api, space):
    with following(api, *maps_of(space), "metadata.name=wanted") as follower:
        config_map(api, space, "other", "1")
        config_map(api, space, "wanted", "1")
        follower.knows({f"{space}/wanted": "1"})


def test_a_kind_that_is_not_installed_is_told_and_tried_again(api):
    with following(api, "/apis/none.example/v1/nothings", "none.example/v1", "Nothing") as follower:
        follower.until(lambda told: told["errors"].get("not_found", 0) >= 2, "asks again")
        assert not follower.last["complete"]


def test_a_missing_right_is_told(api, space):
    api.pki.client("nobody", "/CN=nobody")
    with following(api, *maps_of(space), kubeconfig=api.pki.kubeconfig("nobody", api.url)) as follower:
        follower.until(lambda told: told["errors"].get("forbidden", 0) >= 1, "is told")
        assert 'User "nobody" cannot' in follower.last["last_error"]


def test_a_token_is_read_again(api, space, tmp_path):
    """As a pod's token is replaced in its file: one that the server does not take, then one that it takes."""
    config_map(api, space, "a", "1")
    api.kubectl("create", "serviceaccount", "-n", space, "reader")
    api.kubectl("create", "role", "-n", space, "reader", "--verb=list,watch", "--resource=configmaps")
    api.kubectl("create", "rolebinding", "-n", space, "reader", "--role=reader", f"--serviceaccount={space}:reader")
    good = api.kubectl("create", "token", "-n", space, "reader").stdout.strip()
    kubeconfig = json.loads(api.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"tokenFile": "token"}
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    (tmp_path / "token").write_text(good[:-8] + "AAAAAAAA")
    with following(api, *maps_of(space), kubeconfig=tmp_path / "kubeconfig") as follower:
        follower.until(lambda told: told["errors"].get("unauthorized", 0) >= 1, "is refused")
        (tmp_path / "token").write_text(good + "\n")
        follower.knows({f"{space}/a": "1"})


@pytest.fixture
def restarts(api):
    """Whatever a test does to the server, the next one finds it as it was."""
    def restart(*more):
        if "kube-apiserver" in api.processes:
            api.end("kube-apiserver", signal.SIGKILL)
        api.start_apiserver(*more)
    yield restart
    restart()


def test_what_was_known_stays_while_the_server_is_away(api, space, restarts):
    config_map(api, space, "a", "1")
    with following(api, *maps_of(space)) as follower:
        follower.knows({f"{space}/a": "1"})
        api.end("kube-apiserver", signal.SIGKILL)
        follower.until(lambda told: told["errors"].get("connection", 0) >= 2 and not told["following"], "notices")
        follower.knows({f"{space}/a": "1"})
        restarts()
        config_map(api, space, "b", "1")
        follower.knows({f"{space}/a": "1", f"{space}/b": "1"}, seconds=40)
        assert follower.last["following"]


def test_a_version_that_is_gone_is_listed_anew(api, space, restarts):
    """A server that has forgotten the past says 410 to who was asleep meanwhile."""
    config_map(api, space, "a", "1")
    config_map(api, space, "b", "1")
    with following(api, *maps_of(space)) as follower:
        follower.knows({f"{space}/a": "1", f"{space}/b": "1"})
        follower.process.send_signal(signal.SIGSTOP)
        restarts()  # ends its stream
        api.kubectl("delete", "configmap", "-n", space, "a")
        config_map(api, space, "c", "1")
        restarts()
        follower.process.send_signal(signal.SIGCONT)
        follower.knows({f"{space}/b": "1", f"{space}/c": "1"})
        assert follower.last["errors"].get("gone", 0) >= 1 and follower.last["relists"] >= 1, follower.last
        # The set was never empty in between, nor one without b.
        assert all(f"{space}/b" in told["objects"] for told in follower.all if ours(told))
        known = [bool(ours(told)) for told in follower.all]
        assert known == sorted(known)


def test_a_server_that_does_not_stream_lists_is_asked_for_pages(api, space, restarts):
    restarts("--feature-gates=WatchList=false")
    names = [f"m{number}" for number in range(250)]
    items = [{"apiVersion": "v1", "kind": "ConfigMap",
              "metadata": {"name": name, "namespace": space, "labels": {"value": "1"}}} for name in names]
    api.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}), "--server-side")
    with following(api, *maps_of(space)) as follower:
        follower.knows({f"{space}/{name}": "1" for name in names})
        assert follower.last["relists"] == 1, "it streamed in vain before"
        assert not follower.last["errors"].get("refused", 0), follower.last
        api.kubectl("delete", "configmap", "-n", space, "m7")
        follower.until(lambda told: len(ours(told)) == 249, "follows after the pages")


def realm(name, address):
    return {"apiVersion": "keystone.io/v1alpha1", "kind": "Realm", "metadata": {"name": name},
            "spec": {"identity": name, "addresses": [address]}}


def grant(limit):
    return {"apiVersion": "keystone.io/v1alpha1", "kind": "Grant",
            "metadata": {"name": "admitted", "namespace": "keystone-system"},
            "spec": {"grantorRealm": "owner", "granteeRealm": "tenant", "hard": {"keystone.io/egress-bandwidth": limit}}}


def test_grants_of_the_api_are_admitted(crds):
    mine = ("owner", "tenant")
    with following(crds, program="api_admit") as follower:
        for item in (realm("owner", "192.0.2.0/25"), realm("tenant", "198.51.100.0/25"), grant("10M")):
            crds.apply(json.dumps(item))
        key = "keystone-system/admitted"
        follower.until(lambda told: told["grants"].get(key, {}).get("egress") == 10_000_000, "admitted")
        assert not [text for text in follower.last["problems"] if key in text], follower.last
        crds.apply(json.dumps(grant("20M")))
        follower.until(lambda told: told["grants"].get(key, {}).get("egress") == 20_000_000, "changed")
        crds.kubectl("delete", "grant", "-n", "keystone-system", "admitted")
        follower.until(lambda told: key not in told["grants"], "deleted")
        crds.kubectl("delete", "realm", *mine)
        follower.until(lambda told: not set(mine) & set(told["realms"]), "deleted")
