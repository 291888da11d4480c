"""What the agent tells the API server, with the rights and the token that its DaemonSet has: its node's
GrantNodeStatus, and Events on pods and Grants. The cluster is shared: what other tests left on its way out is told
too, so that each test looks for its own."""

import datetime
import json
import signal
import subprocess
import time

import pytest

from account import account, make_token, write_kubeconfig
from agent import FAR, GRANTCTL, Agent
from node import NAME, OUTSIDE_LAN

from cluster import run, wait_until

GUEST, SPACE = "guest-dave/told", "guest-dave"
SYSTEM = "keystone-system"
KEY = f"{SYSTEM}/g"


@pytest.fixture(scope="module")
def deployed(node):
    with account(node):
        yield node


@pytest.fixture(scope="module")
def agent(deployed):
    deployed.namespace(SPACE)
    deployed.pod("told", SPACE)
    with Agent(deployed, kubeconfig=write_kubeconfig(deployed, token=make_token(deployed))) as running:
        yield running
    deployed.kubectl("delete", "namespace", SPACE, "--wait=false")
    deployed.kubectl("delete", "gns", NAME)


def node_status(node):
    done = node.kubectl("get", "gns", NAME, "-o", "json", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def quarantined(status):
    return [each["guest"] for each in status.get("quarantined", [])]


def told(node, name="g"):
    """What the status says of a Grant."""
    grants = node_status(node).get("status", {}).get("grants", [])
    return next((each for each in grants if each["name"] == name), None)


def condition(grant, kind):
    return next(each for each in grant["conditions"] if each["type"] == kind)


def wait_for(node, agent, holds, what, name="g"):
    def is_so():
        grant = told(node, name)
        return grant if grant and holds(grant) else None
    return wait_until(is_so, lambda: f"{what}: {told(node, name)}; {agent.last_said()}", 20)


def generation(node, name="g"):
    return node.get("grant", name, "-n", SYSTEM)["metadata"]["generation"]


def events(node, reason, space=SYSTEM):
    return [each for each in node.get("events", "-n", space)["items"] if each["reason"] == reason]


def uid(node, name="g"):
    return node.get("grant", name, "-n", SYSTEM)["metadata"]["uid"]


def of(its_uid):
    """An event on this object; others had its name before."""
    return lambda event: event["involvedObject"]["uid"] == its_uid


def wait_event(node, reason, holds=lambda event: True, space=SYSTEM, seconds=30):
    return wait_until(lambda: [each for each in events(node, reason, space) if holds(each)], reason, seconds)[0]


def test_quarantine_is_told_on_the_pod(agent, deployed):
    agent.held(GUEST, None)
    event = wait_event(deployed, "Quarantined", space=SPACE)
    assert event["involvedObject"]["uid"] == deployed.get("pod", "told", "-n", SPACE)["metadata"]["uid"]
    assert "no packet passes" in event["message"] and "realm dave has no Grant" in event["message"]
    assert "Create a Grant in keystone-system whose spec.granteeRealm is the guest's realm" in event["message"]
    described = deployed.kubectl("describe", "pod", "told", "-n", SPACE).stdout
    assert "Quarantined" in described and "realm dave has no Grant" in described

    def listing():
        status = node_status(deployed).get("status", {})
        return status if GUEST in quarantined(status) else None
    status = wait_until(listing, "it is listed")
    assert status["summary"]["quarantined"] == len(status["quarantined"])


def test_an_event_of_somebody_else_silences_nothing(agent, deployed):
    """A tenant may know the name, and be there first."""
    agent.held(GUEST, None)
    about_the_pod = of(deployed.get("pod", "told", "-n", SPACE)["metadata"]["uid"])
    name = wait_event(deployed, "Quarantined", about_the_pod, SPACE)["metadata"]["name"]
    agent.stop()
    deployed.kubectl("delete", "event", name, "-n", SPACE)
    theirs = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": SPACE}, "reason": "AllIsWell", "message": "!",
              "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "told", "namespace": SPACE}, "source": {"component": "tenant"}}
    for source, kept in ((theirs["source"], "AllIsWell"), ({"component": "grantd", "host": NAME}, "Quarantined")):
        deployed.apply(json.dumps({**theirs, "source": source}))
        agent.start()
        told_by_us = wait_event(deployed, "Quarantined", about_the_pod, SPACE)
        assert "no packet passes" in told_by_us["message"] and (told_by_us["metadata"]["name"] == name) == (kept == "Quarantined")
        assert deployed.get("event", name, "-n", SPACE)["reason"] == kept
        agent.stop()
        deployed.kubectl("delete", "event", name, told_by_us["metadata"]["name"], "-n", SPACE, "--ignore-not-found")
    agent.start()


def test_a_guest_on_the_hosts_network_is_told_of_as_not_enforced(agent, deployed):
    """It was there before its namespace became a guests': no admission policy has seen it."""
    agent.grant()
    deployed.namespace("became-guests")
    deployed.pod("host", "became-guests", hostNetwork=True)
    deployed.pod("beside", "became-guests")
    deployed.kubectl("label", "namespace", "became-guests", "keystone.io/realm=dave")
    agent.held("became-guests/beside", "g")
    try:
        def listing():
            listed = {each["guest"]: each["why"] for each in node_status(deployed)["status"].get("notEnforced", [])}
            return listed if "became-guests/host" in listed else None
        listed = wait_until(listing, "it is listed", 20)
        assert agent.held("became-guests/host", "g")["cgroup_id"], "held back all the same"
        assert "on the host's network" in listed["became-guests/host"] and "became-guests/beside" not in listed
        grant = wait_for(deployed, agent, lambda each: not each["enforced"], "the Grant is not wholly enforced")
        enforced = condition(grant, "Enforced")
        assert "guest became-guests/host runs on the host's network" in enforced["message"]
        event = wait_event(deployed, "NotEnforced", space="became-guests")
        assert event["involvedObject"]["uid"] == deployed.get("pod", "host", "-n", "became-guests")["metadata"]["uid"]
        to_do = "Remove spec.hostNetwork and create the pod anew"
        assert event["message"].endswith(f". {to_do}.") and listed["became-guests/host"].endswith(f". {to_do}")
    finally:
        deployed.kubectl("delete", "namespace", "became-guests", "--wait=false")
    wait_for(deployed, agent, lambda each: each["enforced"], "it is, once that guest is gone")


def test_a_grant_in_force_as_read_back(agent, deployed):
    agent.grant(destinations=[FAR], hard={"keystone.io/egress-bandwidth": "8M"})
    agent.held(GUEST, "g")
    grant = wait_for(deployed, agent, lambda grant: grant["enforced"] and grant["observedGeneration"] == generation(deployed), "in force")
    assert {each["type"]: each["status"] for each in grant["conditions"]} == {
        "Accepted": "True", "RealmResolved": "True", "Enforced": "True"}
    in_force = next(each for each in json.loads(run([GRANTCTL, "grants", "--output", "json"]).stdout)["grants"] if each["grant"] == KEY)
    assert grant["policyID"] == in_force["policy_id"] and grant["endpoints"] == 1
    assert grant["observedGeneration"] == generation(deployed)
    assert grant["policy"]["phase"] == "Active" and grant["policy"]["egressBitsPerSecond"] == 8_000_000
    assert "ingressBitsPerSecond" not in grant["policy"] and grant["policy"]["rules"] > 0
    # It goes with its node.
    owner, = node_status(deployed)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Node", deployed.get("node", NAME)["metadata"]["uid"])
    assert GUEST not in quarantined(node_status(deployed)["status"])
    columns = deployed.kubectl("get", "gns").stdout.split()
    assert columns[:2] == ["NAME", "GRANTS"] and NAME in columns


def test_a_missing_gate_is_told(agent, deployed):
    """Somebody holds a table of its name, as on a kernel without that family there is none."""
    agent.grant(destinations=[FAR])
    agent.held(GUEST, "g")
    wait_for(deployed, agent, lambda grant: grant["enforced"], "the control: the gate stands")
    tables = json.loads(run(["nft", "-j", "list", "tables", "bridge"]).stdout)["nftables"]
    name = next(each["table"]["name"] for each in tables if each.get("table", {}).get("name", "").startswith("grantd"))
    with subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as owner:
        owner.stdin.write(f"delete table bridge {name}; add table bridge {name} {{ flags owner; }}\n")
        owner.stdin.flush()
        grant = wait_for(deployed, agent, lambda grant: not grant["enforced"], "it is told")
        enforced = condition(grant, "Enforced")
        assert enforced["reason"] == "GateMissing" and "past the programs may not be dropped" in enforced["message"]
        about_the_grant = of(uid(deployed))
        event = wait_event(deployed, "NotEnforced", lambda each: about_the_grant(each) and "(GateMissing)" in each["message"])
        assert "nf_tables" in event["message"]
    wait_for(deployed, agent, lambda grant: grant["enforced"], "it stands again")


def test_verify_compares_with_what_kubectl_says(agent, deployed, tmp_path):
    """The agent's source is the API server, which grantctl does not ask."""
    agent.grant(destinations=[FAR], hard={"keystone.io/egress-bandwidth": "8M"})
    agent.held(GUEST, "g")

    def verify(grants, pods=None):
        (tmp_path / "grants.yaml").write_text(grants, encoding="utf-8")
        of_pods = []
        if pods:
            (tmp_path / "pods.json").write_text(pods, encoding="utf-8")
            of_pods = ["--pods", tmp_path / "pods.json"]
        return run([GRANTCTL, "--state-dir", agent.state, "verify", "--manifests", tmp_path / "grants.yaml", *of_pods], check=False)

    def holds(*said):
        return wait_until(lambda: (done := verify(*said)).returncode == 0 and done, "what is in force is what kubectl says")
    grants = deployed.kubectl("get", "realms,grants", "--all-namespaces", "--output", "yaml").stdout
    pods = deployed.kubectl("get", "namespaces,pods", "--all-namespaces", "--output", "json").stdout
    done = holds(grants)
    assert "What is in force is what" in done.stdout and "guest, " not in done.stdout.splitlines()[-1]
    assert "Not compared: the guests" in done.stdout
    other = verify(grants.replace("8M", "9M"))
    assert other.returncode == 1 and f"Grant {KEY}: limit of egress, rate_bps is 8000000; by the manifests 9000000" in other.stdout, other.stdout
    alone = run([GRANTCTL, "--state-dir", agent.state, "verify"])
    assert "Not compared with manifests: the API server has them" in alone.stdout

    done = holds(grants, pods)
    assert "1 guest, " in done.stdout.splitlines()[-1] and "Not compared" not in done.stdout
    guest = next(each for each in json.loads(pods)["items"] if each["kind"] == "Pod" and each["metadata"]["name"] == GUEST.split("/")[1])
    other = verify(grants, pods.replace(guest["status"]["podIP"], "10.42.0.99"))
    assert other.returncode == 1 and f"guest {GUEST}: its Grant in the record of " in other.stdout, other.stdout
    assert "by the manifests no Grant" in other.stdout, "the kernel says another address of it, so it would be in quarantine"
    another = verify(grants, pods.replace(f'"{guest["metadata"]["uid"]}"', '"another"'))
    assert another.returncode == 1 and f", named {GUEST}: is under Grant {KEY}; by the manifests there is no guest" in another.stdout, another.stdout
    moved = verify(grants, pods.replace(f'"nodeName": "{NAME}"', '"nodeName": "elsewhere"'))
    assert moved.returncode == 1 and "by the manifests there is no guest" in moved.stdout, moved.stdout
    wrong = verify(grants, grants)
    assert wrong.returncode == 3 and "kubectl get namespaces,pods" in wrong.stderr


def test_a_refused_edit_keeps_the_older_in_force(agent, deployed):
    agent.grant(destinations=[FAR])
    good = wait_for(deployed, agent, lambda grant: grant["enforced"] and grant["observedGeneration"] == generation(deployed), "in force")
    agent.grant(destinations=[FAR, "realm:nobody-knows"])
    refused = wait_for(deployed, agent, lambda grant: condition(grant, "Accepted")["status"] == "False", "refused")
    accepted, enforced = condition(refused, "Accepted"), condition(refused, "Enforced")
    assert accepted["observedGeneration"] == generation(deployed) == good["observedGeneration"] + 1
    assert "nobody-knows" in accepted["message"] and "what was in force before stays" in accepted["message"]
    assert enforced["status"] == "False" and enforced["reason"] == "OlderInForce"
    assert refused["policyID"] == good["policyID"] and refused["observedGeneration"] == good["observedGeneration"]
    realm = condition(refused, "RealmResolved")
    assert (realm["status"], realm["reason"]) == ("False", "RealmMissing")
    assert agent.reaches(GUEST, FAR)
    event = wait_event(deployed, "GrantRefused", of(uid(deployed)))
    assert event["involvedObject"]["name"] == "g" and "nobody-knows" in event["message"] and NAME in event["message"]
    assert "GrantRefused" in deployed.kubectl("describe", "grant", "g", "-n", SYSTEM).stdout
    agent.grant(destinations=[FAR])
    again = wait_for(deployed, agent, lambda grant: grant["enforced"], "accepted again")
    assert again["observedGeneration"] == generation(deployed)


def test_a_first_violation_is_told_on_the_grant(agent, deployed):
    agent.grant()
    wait_for(deployed, agent, lambda grant: grant["enforced"] and grant["observedGeneration"] == generation(deployed), "in force")
    assert agent.reaches(GUEST, OUTSIDE_LAN)
    assert not agent.reaches(GUEST, FAR)
    of_this_one = of(uid(deployed))
    event = wait_event(deployed, "Violations", lambda each: of_this_one(each) and "egress, destination" in each["message"])
    assert event["involvedObject"]["kind"] == "Grant" and event["involvedObject"]["name"] == "g"
    assert "allowedDestinations" in event["message"]
    before = len([each for each in events(deployed, "Violations") if of_this_one(each)])
    for _ in range(3):
        assert not agent.reaches(GUEST, FAR)
    time.sleep(12)  # The agent has looked again.
    again = [each for each in events(deployed, "Violations") if of_this_one(each)]
    assert len(again) == before and all(each["count"] == 1 for each in again), "once in an hour"


def test_an_end_within_a_day_is_told(agent, deployed):
    agent.grant(destinations=[FAR])
    of_this_one = of(uid(deployed))
    assert not [each for each in events(deployed, "GrantExpiresSoon") if of_this_one(each)]
    end = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    agent.grant(destinations=[FAR], validity={"validUntil": end})
    event = wait_event(deployed, "GrantExpiresSoon", of_this_one)
    assert end in event["message"] and "spec.validity.validUntil" in event["message"]
    grant = wait_for(deployed, agent, lambda grant: "notAfter" in grant.get("policy", {}), "it has an end")
    told_end = datetime.datetime.fromisoformat(grant["policy"]["notAfter"].replace("Z", "+00:00"))
    assert abs(told_end - datetime.datetime.fromisoformat(end.replace("Z", "+00:00"))) <= datetime.timedelta(seconds=1)
    agent.grant(destinations=[FAR])


def test_writes_are_coalesced(agent, deployed):
    agent.grant(destinations=[FAR])
    wait_for(deployed, agent, lambda grant: grant["enforced"] and grant["observedGeneration"] == generation(deployed), "settled")
    time.sleep(11)  # Metrics are published with each look, every 10 s.
    written = writes(agent)
    begin = time.monotonic()
    for number in range(50):
        agent.grant(destinations=[FAR], hard={"keystone.io/egress-bandwidth": f"{number + 1}M"})
    edits = time.monotonic() - begin
    grant = wait_for(deployed, agent, lambda grant: grant["observedGeneration"] == generation(deployed), "the last edit is told")
    took = time.monotonic() - begin
    assert grant["policy"]["egressBitsPerSecond"] == 50_000_000
    time.sleep(11)
    assert 1 <= writes(agent) - written <= took / 5 + 1, f"50 edits in {edits} s, told after {took} s"


def writes(agent, result="done"):
    return agent.metric(f'grantd_status_writes_total{{result="{result}"}}')


def test_an_agent_writes_no_other_nodes_object(agent, deployed):
    """The same account, as the node that its token is not bound to."""
    agent.stop()
    complaint = "this node's GrantNodeStatus cannot be written; enforcement goes on"
    before = agent.said().count(complaint)  # Agents that ran before write into the same log.
    agent.name = "node2"
    agent.start()
    try:
        wait_until(lambda: writes(agent, "failed") >= 1, "it was refused", 30)
        wait_until(lambda: "of its own node only, not of node2" in agent.said(), "the log says why", 10)
        assert deployed.kubectl("get", "gns", "node2", check=False).returncode != 0
        assert writes(agent) == 0
        time.sleep(5)
        assert agent.said().count(complaint) - before == 1, "once"
    finally:
        agent.stop()
        agent.name = NAME
        agent.start()
    agent.held(GUEST, "g")
    wait_until(lambda: writes(agent) >= 1, "its own object is written again")


def test_kinds_that_are_followed(agent):
    for kind in ("realms", "grants", "namespaces", "pods"):
        assert agent.metric(f'grantd_source_lag_seconds{{source="{kind}"}}') == 0
        assert abs(agent.metric(f'grantd_source_last_contact_timestamp_seconds{{source="{kind}"}}') - time.time()) < 300


def test_nothing_is_lost_while_the_server_is_away(agent, deployed):
    agent.grant(destinations=[FAR])
    wait_for(deployed, agent, lambda grant: grant["enforced"], "in force")
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=25)
    agent.grant(destinations=[FAR], validity={"validUntil": end.strftime("%Y-%m-%dT%H:%M:%SZ")})
    wait_for(deployed, agent, lambda grant: "notAfter" in grant.get("policy", {}), "it has an end")
    deployed.end("kube-apiserver", signal.SIGKILL)
    wait_until(lambda: not agent.reaches(GUEST, OUTSIDE_LAN), "it ended by itself", 45)
    wait_until(lambda: agent.metric('grantd_source_lag_seconds{source="grants"}') > 0, "the lag is told", 30)
    wait_until(lambda: writes(agent, "failed") >= 1, "the write failed", 30)
    deployed.start_apiserver()
    grant = wait_until(lambda: (told(deployed) or {}).get("policy", {}).get("phase") == "Expired" and told(deployed),
                       "the end is told", 60)
    assert grant["enforced"]
    wait_until(lambda: agent.metric('grantd_source_lag_seconds{source="grants"}') == 0, "it is followed again", 60)
    agent.grant(destinations=[FAR])
    wait_until(lambda: agent.reaches(GUEST, FAR), "it is open again", 30)
