"""Between the agent and the API server everything goes wrong in turn. What is enforced stays, a live connection lives,
and what was changed meanwhile is in force when the way is clear again."""

import datetime
import json
import signal
import time

import pytest

from agent import FAR, Agent, manifest
from faults import PORT, Proxy, refusal
from node import OUTSIDE_LAN

from cluster import run, wait_until

GUEST, SPACE = "guest-dave/web", "guest-dave"
SPOILED_SECONDS, AWAY_SECONDS = 2.5, 130
DEAD_SECONDS = 60  # nine probes three seconds apart, the first after ten
LATEST_SECONDS = 40  # the longest that the agent waits before it asks again, and some

OPEN = {"egressAllowed": True, "allowedDestinations": ["0.0.0.0/0"]}


def event(kind, what):
    return json.dumps({"type": kind, "object": what}).encode() + b"\n"


def grant(**change):
    return {**json.loads(manifest("Grant", "g", {"grantorRealm": "alice", "granteeRealm": "dave", "networkPolicy": OPEN},
                                  namespace="keystone-system", uid="another", resourceVersion="999999999")), **change}


def answer(what):
    """The whole of an answer, as a list or as a stream of one event."""
    body = json.dumps(what).encode() + b"\n"
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


# Each is put into every watch. None may change anything: not by half, not by being another kind of thing.
LIES = {
    "no JSON": b"}{ nothing \x00\xff\n",
    "half of an event": event("MODIFIED", grant())[:-40] + b"\n",
    "no event": b"[]\n",
    "an event without an object": b'{"type":"DELETED"}\n',
    "an event of no known type": event("REPLACED", grant()),
    "an object without a name": event("MODIFIED", grant(metadata={})),
    "an object without a version": event("MODIFIED", grant(metadata={"name": "g", "namespace": "keystone-system"})),
    "an object of another kind": event("MODIFIED", grant(kind="Secret")),
    "a deep one": b'{"type":"MODIFIED","object":' + b"[" * 100_000 + b"\n",
    "a long one": b'{"type":"MODIFIED","object":{"a":"' + b"x" * (4 << 20) + b'"}}\n',
    "an error": event("ERROR", {"kind": "Status", "code": 500, "reason": "InternalError"}),
    "a version that is gone": event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"}),
}
SPOILS = {
    "streams are cut": {"cut_after": 700},
    "streams are cut in the head": {"cut_after": 20},
    "answers are slow": {"bytes_at_once": 64},
    "nothing comes": {"stall": True},
    "garbage": {"answer": b"\x16\x03\x01 this is not HTTP\r\n\r\n"},
    "an empty list": {"answer": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"},
    "a list of another kind": {"answer": answer({"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
                                                "items": None})},
    "a stream of another kind": {"answer": answer({"type": "BOOKMARK", "object": {
        "kind": "Secret", "apiVersion": "v1",
        "metadata": {"resourceVersion": "7", "annotations": {"k8s.io/initial-events-end": "true"}}}})},
    "half of a list": {"answer": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n"
                                 b'{"kind":"GrantList","metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"g"'},
    "401": {"answer": refusal(401, "Unauthorized")},
    "403": {"answer": refusal(403, "Forbidden")},
    "404": {"answer": refusal(404, "NotFound")},
    "410": {"answer": refusal(410, "Expired")},
    "429": {"answer": refusal(429, "TooManyRequests", "Retry-After: 1")},
    "500": {"answer": refusal(500, "InternalError")},
}


@pytest.fixture(scope="module")
def proxy(node):
    with Proxy(node) as running:
        yield running


@pytest.fixture(scope="module")
def agent(node, proxy):
    node.namespace(SPACE)
    node.pod("web", SPACE)
    node.pod("plain")
    with Agent(node, kubeconfig=proxy.kubeconfig) as running:
        running.grant()
        running.held(GUEST, "g")
        yield running
    node.kubectl("delete", "namespace", SPACE, "--wait=false")
    node.kubectl("delete", "pod", "plain", "--grace-period=0", "--force")


def holds(agent):
    """What the Grant says, and nothing else; beside it somebody who is no guest."""
    assert agent.reaches(GUEST, OUTSIDE_LAN) and not agent.reaches(GUEST, FAR)
    assert agent.reaches("default/plain", FAR)


def narrows_and_widens(agent, seconds=LATEST_SECONDS):
    agent.grant(destinations=[FAR])
    wait_until(lambda: agent.reaches(GUEST, FAR), lambda: f"an edit is in force again; {agent.last_said()}", seconds)
    agent.grant()
    wait_until(lambda: not agent.reaches(GUEST, FAR), "and the next one", seconds)


@pytest.mark.parametrize("spoil", SPOILS)
def test_what_is_enforced_stays_while_answers_are_bad(agent, proxy, spoil):
    asked = proxy.requests
    with proxy.spoiled(**SPOILS[spoil]):
        wait_until(lambda: proxy.requests > asked, "it is asked", LATEST_SECONDS)
        end = time.monotonic() + SPOILED_SECONDS
        while time.monotonic() < end:
            holds(agent)
    narrows_and_widens(agent)


def test_what_is_put_into_a_stream_is_heard(agent, proxy, node):
    """So that the next test can fail: what could be true is believed."""
    true = node.get("grant", "g", "-n", "keystone-system")
    true["metadata"]["resourceVersion"] += "0"
    true["spec"]["networkPolicy"] = OPEN
    with proxy.spoiled(inject=[event("MODIFIED", true)]):
        wait_until(lambda: agent.reaches(GUEST, FAR), "it is believed", LATEST_SECONDS)
    with proxy.spoiled(inject=[LIES["a version that is gone"]]):  # no such version will ever come
        # Said so, or after the fifth error of a server that has no such version.
        wait_until(lambda: not agent.reaches(GUEST, FAR), "all is asked for again", 4 * LATEST_SECONDS)
    narrows_and_widens(agent)


@pytest.mark.parametrize("lie", LIES)
def test_what_the_server_says_wrongly_changes_nothing(agent, proxy, lie):
    grants = "/apis/keystone.io/v1alpha1/namespaces/keystone-system/grants"
    before = proxy.injected.copy()
    with proxy.spoiled(inject=[LIES[lie]]):
        wait_until(lambda: proxy.injected[grants] > before[grants] and (proxy.injected - before).total() >= 3,
                   "it was said in the Grants' stream and others", LATEST_SECONDS)
        time.sleep(0.5)
        holds(agent)
    narrows_and_widens(agent)


def test_namespaces_and_revocations_do_not_wait_for_all_else_to_be_known(agent, proxy, node):
    """grantd-cni closes what starts in a namespace of guests, also while an agent that starts cannot know of pods yet."""
    record = agent.state / "guest-namespaces.json"
    node.namespace("late")
    agent.stop()
    with proxy.spoiled(only=b" /api/v1/pods", answer=refusal(403, "Forbidden")):
        agent.start(ready=False)
        assert '"late"' not in record.read_text(encoding="utf-8")
        node.kubectl("label", "namespace", "late", "keystone.io/realm=dave")
        wait_until(lambda: '"late"' in record.read_text(encoding="utf-8"), lambda: f"it is handed over; {agent.last_said()}",
                   LATEST_SECONDS)
        assert not agent.is_ready(), "the control: pods are not known"
        holds(agent)
        agent.grant(revoked=True)
        wait_until(lambda: not agent.reaches(GUEST, OUTSIDE_LAN), lambda: f"nor does a revocation wait; {agent.last_said()}",
                   LATEST_SECONDS)
        assert not agent.is_ready() and agent.reaches("default/plain", FAR)
        agent.grant()
    wait_until(agent.is_ready, "all is known", LATEST_SECONDS)
    node.kubectl("delete", "namespace", "late", "--wait=false")
    narrows_and_widens(agent)


def is_followed(agent):
    return 'grantd_source_lag_seconds{source="grants"} 0\n' in agent.metrics()


def test_a_server_that_is_gone_without_a_word_is_noticed(agent, proxy):
    """Its machine is switched off: no connection ends, and nothing is answered any more."""
    rules = [["INPUT", "-i", "lo", "-p", "tcp", side, str(PORT), "-j", "DROP"] for side in ("--dport", "--sport")]
    assert proxy.requests and is_followed(agent)
    for rule in rules:
        run(["iptables", "-I", *rule])
    try:
        time.sleep(1)
        assert is_followed(agent), "nothing has told it so far"
        wait_until(lambda: not is_followed(agent), "it is noticed", DEAD_SECONDS)
        agent.grant(destinations=[FAR])  # nobody hears it
        time.sleep(1)
        holds(agent)
    finally:
        for rule in rules:
            run(["iptables", "-D", *rule])
    wait_until(lambda: agent.reaches(GUEST, FAR), "what was changed meanwhile is in force", LATEST_SECONDS)
    agent.grant()
    wait_until(lambda: not agent.reaches(GUEST, FAR), "and the next one", LATEST_SECONDS)


def relists(agent):
    return agent.metric('grantd_source_relists_total{source="grants"}')


def compact():
    """etcd forgets all versions but its newest, which is no object's: one that is left can still be watched from."""
    def ask(what, **more):
        told = run(["curl", "-sf", f"http://127.0.0.1:2379/v3/kv/{what}", "-d", json.dumps(more)]).stdout
        return json.loads(told)["header"]["revision"]
    ask("compaction", revision=ask("put", key="AA==", value=""), physical=True)


@pytest.fixture
def without_a_cache(node, agent):
    """The API server passes watches on to etcd itself, which knows what it has forgotten."""
    def restart(*more):
        node.end("kube-apiserver", signal.SIGKILL)
        node.start_apiserver(*more)
    restart("--watch-cache=false")
    yield
    restart()
    # Which refuses in several ways one after the other, and each makes the agent wait for longer.
    narrows_and_widens(agent, 4 * LATEST_SECONDS)


def test_a_version_that_etcd_has_compacted_is_gone(agent, proxy, node, without_a_cache):
    def away(meanwhile):
        version = node.get("grant", "g", "-n", "keystone-system")["metadata"]["resourceVersion"]
        proxy.close()
        try:
            agent.grant(destinations=[FAR])  # nobody hears it
            meanwhile()
            watch = f"/apis/keystone.io/v1alpha1/grants?watch=1&timeoutSeconds=1&resourceVersion={version}"
            return node.kubectl("get", "--raw", watch, check=False)
        finally:
            proxy.open()

    wait_until(lambda: is_followed(agent), "the agent follows the server as it is now", LATEST_SECONDS)
    for forgets in (False, True):
        agent.grant()
        wait_until(lambda: not agent.reaches(GUEST, FAR), "what is changed is heard", LATEST_SECONDS)
        before = relists(agent)
        told = away(compact if forgets else lambda: None)
        assert ('"code":410' in told.stdout + told.stderr) == forgets, told.stdout + told.stderr
        holds(agent)
        wait_until(lambda: agent.reaches(GUEST, FAR), "what was changed meanwhile is in force", LATEST_SECONDS)
        assert relists(agent) == before + forgets
    agent.grant()
    wait_until(lambda: not agent.reaches(GUEST, FAR), "and the next one", LATEST_SECONDS)


def test_a_server_that_is_away_for_minutes(agent, proxy):
    """A live connection lives until its Grant's end, which comes meanwhile; what changes meanwhile comes afterwards."""
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=AWAY_SECONDS / 2)
    agent.grant(destinations=[FAR], validity={"validUntil": end.strftime("%Y-%m-%dT%H:%M:%SZ")})
    # Tests before may have made it wait.
    wait_until(lambda: agent.reaches(GUEST, FAR), lambda: f"it is open; {agent.last_said()}", LATEST_SECONDS)
    begin = time.monotonic()
    with agent.connection(GUEST) as arrives:
        proxy.close()
        try:
            agent.grant(destinations=[])  # nobody hears it
            while datetime.datetime.now(datetime.timezone.utc) < end - datetime.timedelta(seconds=3):
                assert arrives() and agent.reaches(GUEST, OUTSIDE_LAN)
                time.sleep(1)
            wait_until(lambda: not arrives(), "the Grant has ended")
            while time.monotonic() < begin + AWAY_SECONDS:
                assert not agent.reaches(GUEST, OUTSIDE_LAN) and not arrives()
                assert agent.reaches("default/plain", FAR)
                time.sleep(1)
        finally:
            proxy.open()
    wait_until(lambda: agent.reaches(GUEST, OUTSIDE_LAN), "the Grant as it is now is in force", LATEST_SECONDS)
    holds(agent)
