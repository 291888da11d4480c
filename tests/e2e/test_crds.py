"""deploy/crds against the real API server: the seed's Grant, defaults, what changes may do, what kubectl shows."""

import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def grant(name, spec=""):
    return f"""
apiVersion: keystone.io/v1alpha1
kind: Grant
metadata: {{name: {name}, namespace: keystone-system}}
spec:
  grantorRealm: alice-home
  granteeRealm: bob-home
  {spec}
"""


def realm(name, identity):
    return f"""
apiVersion: keystone.io/v1alpha1
kind: Realm
metadata: {{name: {name}}}
spec: {{identity: {identity}}}
"""


@pytest.fixture
def gone(crds):
    """Names a resource that the test makes; it goes at the test's end."""
    made = []
    yield lambda kind, name: made.append((kind, name))
    for kind, name in made:
        crds.kubectl("delete", kind, name, "-n", "keystone-system", "--ignore-not-found")


def test_the_seed_grant_applies_unchanged(crds, gone):
    gone("grant", "alice-to-bob-compute")
    crds.kubectl("apply", "-f", ROOT / "examples/seed/grant.yaml")
    spec = crds.get("grant", "alice-to-bob-compute", "-n", "keystone-system")["spec"]
    assert spec["hard"]["requests.nvidia.com/gpu"] == 1
    assert spec["networkPolicy"] == {"egressAllowed": False, "allowedDestinations": [], "dns": "None",
                                     "ingress": {"from": ["Grantee", "Grantor", "LocalNode", "SameGrant"]}}
    assert spec["revoked"] is False and spec["revocation"] == {"noticePeriodSeconds": 0}


def test_a_bare_grant_gets_the_safe_defaults(crds, gone):
    gone("grant", "bare")
    crds.apply(grant("bare"))
    policy = crds.get("grant", "bare", "-n", "keystone-system")["spec"]["networkPolicy"]
    assert policy["egressAllowed"] is False and "allowedDestinations" not in policy


def test_realms_of_a_grant_are_immutable_and_its_policy_is_not(crds, gone):
    gone("grant", "fixed")
    crds.apply(grant("fixed"))
    for field in ("grantorRealm", "granteeRealm"):
        refused = crds.kubectl("patch", "grant", "fixed", "-n", "keystone-system", "--type=merge",
                               f'--patch={{"spec": {{"{field}": "carol"}}}}', check=False)
        assert refused.returncode != 0 and "revoke this Grant and create another one" in refused.stderr
    crds.apply(grant("fixed", "networkPolicy: {egressAllowed: true, allowedDestinations: [internet:443/TCP]}"))
    crds.apply(grant("fixed", "revoked: true"))
    assert crds.get("grant", "fixed", "-n", "keystone-system")["spec"]["revoked"] is True


def test_the_identity_of_a_realm_is_immutable(crds, gone):
    gone("realm", "fixed")
    crds.apply(realm("fixed", "one"))
    crds.apply(realm("fixed", "one, addresses: [192.0.2.0/24]"))
    refused = crds.apply(realm("fixed", "two"), check=False)
    assert refused.returncode != 0 and "create another Realm instead" in refused.stderr


def test_what_get_grants_shows(crds, gone):
    gone("grant", "shown")
    crds.apply(grant("shown", """
  hard: {keystone.io/egress-bandwidth: 100M, keystone.io/ingress-bandwidth: 50000000}
  validity: {validUntil: "2030-01-01T00:00:00Z"}"""))
    crds.kubectl("patch", "grant", "shown", "-n", "keystone-system", "--subresource=status", "--type=merge",
                 '--patch={"status": {"phase": "Active"}}')
    head, line = crds.kubectl("get", "gr", "shown", "-n", "keystone-system").stdout.splitlines()
    assert head.split() == ["NAME", "GRANTOR", "GRANTEE", "PHASE", "EGRESS", "INGRESS", "VALID", "UNTIL", "AGE"]
    assert line.split()[:7] == ["shown", "alice-home", "bob-home", "Active", "100M", "50000000", "2030-01-01T00:00:00Z"]
    assert "shown" in crds.kubectl("get", "keystone", "-n", "keystone-system").stdout


def test_status_is_written_by_its_subresource_alone(crds, gone):
    gone("grant", "told")
    crds.apply(grant("told") + "status: {phase: Revoked}\n")
    assert "status" not in crds.get("grant", "told", "-n", "keystone-system")
    unknown = crds.kubectl("patch", "grant", "told", "-n", "keystone-system", "--subresource=status", "--type=merge",
                           '--patch={"status": {"phase": "Maybe"}}', check=False)
    assert unknown.returncode != 0 and "Unsupported value" in unknown.stderr


def node_status(grants):
    return f"""
apiVersion: keystone.io/v1alpha1
kind: GrantNodeStatus
metadata: {{name: node-a}}
status:
  grants: {grants}
"""


def test_server_side_apply_merges_a_nodes_grants(crds, gone):
    gone("grantnodestatus", "node-a")
    crds.apply(node_status("[]"))
    arguments = ("--server-side", "--subresource=status")
    crds.apply(node_status("[{name: a, enforced: true, policyID: 17}]"), *arguments, "--field-manager=one")
    crds.apply(node_status("[{name: b, enforced: false}]"), *arguments, "--field-manager=two")
    grants = crds.get("gns", "node-a")["status"]["grants"]
    assert [(each["namespace"], each["name"]) for each in grants] == [("keystone-system", "a"), ("keystone-system", "b")]
    # What one manager no longer names goes; the other's stays.
    crds.apply(node_status("[]"), *arguments, "--field-manager=one")
    assert [each["name"] for each in crds.get("gns", "node-a")["status"]["grants"]] == ["b"]
