"""One corpus of objects, good and bad, through `grantd check` (tests/unit/corpus_test.cc) and through the real
API server: whoever tries a manifest with one is not surprised by the other."""

import json
import pathlib
import re
import subprocess

import pytest
from agent import manifest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/unit/corpus"
GRANTD = ROOT / "build/release/agent/grantd"
FILES = sorted(CORPUS.glob("*/*"))

RELATION = "the API server sees one object at a time; the agent refuses it, and says so in the Grant's conditions"
TEXT = "kubectl reads the text, and hands over JSON in which this is no longer to be seen"
EMPTY = "the API server takes an empty field for one that is left out; `grantd check` asks what was meant"
DROPPED = "kubectl apply drops what is null before the server sees it, which would refuse it (below)"

# Bad for `grantd check`, and admitted by the API server.
ADMITTED = {
    "bad/bandwidth-is-null.yaml": DROPPED,
    "bad/destination-unknown-realm.yaml": RELATION,
    "bad/destinations-is-empty.yaml": EMPTY,
    "bad/grant-revoked-is-empty.yaml": EMPTY,
    "bad/grant-revoked-yes.yaml": TEXT,  # YAML 1.1: yes is true
    "bad/grant-unknown-realm.yaml": RELATION,
    "bad/object-namespaced-realm.yaml": "kubectl leaves out the namespace of what has none",
    "bad/object-twice.yaml": RELATION,
    "bad/quantity-octal.yaml": TEXT,  # YAML 1.1: 010 is 8
    "bad/realm-twice-of-a-grant.yaml": RELATION,
    "bad/realms-same-identity.yaml": RELATION,
    "bad/realms-same-prefix.yaml": RELATION,
    "bad/yaml-custom-tag.yaml": TEXT,
    "bad/yaml-duplicate-key-in-labels.yaml": TEXT,
    "bad/yaml-duplicate-key.yaml": TEXT,
    "bad/yaml-two-values-in-a-document.yaml": TEXT,
}
# Good for `grantd check` alone.
REFUSED = {
    "good/list.json": "one of its items is a Workload, which is of standalone mode",
    "good/status-of-anything.yaml": "`grantd check` reads no status; the API server knows what a status holds",
}


def name_of(path):
    return f"{path.parent.name}/{path.name}"


def for_the_server(text):
    """Without Workloads, which are of standalone mode: a cluster has pods."""
    return "\n---\n".join(part for part in re.split(r"^---$", text, flags=re.M) if "kind: Workload" not in part)


def admitted(crds, text):
    done = crds.kubectl("apply", "--dry-run=server", "-f", "-", text=text, check=False)
    return done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", [path for path in FILES if not path.name.startswith("workload")], ids=name_of)
def test_both_say_the_same(crds, path):
    good = path.parent.name == "good"
    checked = subprocess.run([GRANTD, "check", path], capture_output=True, text=True, check=False)
    assert (checked.returncode == 0) == good, checked.stdout + checked.stderr
    served, why = admitted(crds, for_the_server(path.read_text(encoding="utf-8")))
    differs = name_of(path) in ADMITTED or name_of(path) in REFUSED
    assert (served == good) != differs, f"{path.name}: good {good}, admitted {served}: {why}"


# Values, many in one go: where -> (what stands around the value, values). A value that one side refuses and
# the other admits fails the test, unless it stands in DIFFERS.
REALMS = """apiVersion: keystone.io/v1alpha1
kind: Realm
metadata: {name: a}
spec: {identity: a}
---
apiVersion: keystone.io/v1alpha1
kind: Realm
metadata: {name: b}
spec: {identity: b}
---
""" + "".join(f"""apiVersion: keystone.io/v1alpha1
kind: Realm
metadata: {{name: {name}}}
spec: {{identity: {name}}}
---
""" for name in ("a-b", "tcp"))
GRANT = """apiVersion: keystone.io/v1alpha1
kind: Grant
metadata: {name: NAME, namespace: keystone-system}
spec:
  grantorRealm: a
  granteeRealm: b
  """
REALM = """apiVersion: keystone.io/v1alpha1
kind: Realm
metadata: {name: NAME}
spec:
  """
DESTINATION = GRANT + 'networkPolicy: {egressAllowed: true, allowedDestinations: ["VALUE"]}\n'
VALUES = {
    "destination": (DESTINATION, """
        198.51.100.0/24 198.51.100.7 198.51.100.7/32 198.51.100.7/24 198.51.100.0/33 198.51.100.0/024 198.51.100 1.2.3.04
        0.0.0.0/0 [::]/0 [::/0] ::/0 2001:db8::/32 2001:db8::1/32 [2001:db8::1]:443 [2001:db8::1]:443/TCP [2001:db8::1]443
        2001:db8::1:443 2001:db8::/129 [2001:db8::/32 [198.51.100.0] fe80::1%eth0 ::ffff:192.0.2.1 64:ff9b::192.0.2.1
        [2001:DB8::1] 1:2:3:4:5:6:7:8 1:2:3:4:5:6:7:8:9 :: ::1 1::2::3 192.0.2.1:0 192.0.2.1:1 192.0.2.1:65535
        192.0.2.1:65536 192.0.2.1:080 192.0.2.1: 192.0.2.1:80/ 192.0.2.1:80/tcp 192.0.2.1:80/SCTP 192.0.2.1/TCP
        192.0.2.1:TCP 192.0.2.1:ICMP 192.0.2.1:8/ICMP 192.0.2.1:128/ICMP 192.0.2.1:80/ICMP 192.0.2.1:8-8/ICMP
        [2001:db8::1]:128/ICMP [2001:db8::1]:8/ICMP a:8/ICMP a:128/ICMP internet:8/ICMP internet:128/ICMP
        192.0.2.1:80-90 192.0.2.1:90-80 192.0.2.1:80-80/UDP 192.0.2.1:9-10 192.0.2.1:80- 192.0.2.1:-80 a:80-90/UDP a:90-80/UDP
        a realm:a realm:a:80 realm: realm:A realm:a. a.example example.org internet internet:443/TCP Internet internet/0
        service:default/web service:default/web:80 service:default service:/web service:a.b/web fqdn:example.org
        224.0.0.1 224.0.0.0/4 239.1.2.3:80 ff02::1 [ff02::1]:53/UDP ff00::/8 240.0.0.1 224.0.0.0/3 1 1.2 123 a-b -a a- a:b:c
        0.0.0.0 0.0.0.0/8 0.0.0.0/7 0.1.2.3:80 1.0.0.0 255.255.255.255 255.255.255.255:67/UDP 240.0.0.0/4 223.255.255.255
        192.0.0.0/2 127.0.0.1 127.0.0.0/8:80/TCP 126.0.0.0/7 128.0.0.1 169.254.169.254:80/TCP [::1]:80 [::]:80/TCP ::/127 ::2
        ::/126 fe80::1 [fe80::/10]:443 fe80::/9 febf::1 fec0::1 fe00::/8 fe00::/7 a/b tcp TCP :80 * ::1/128 192.0.2.1:80/TCP/UDP 192.0.2.1:+80 192.0.2.1/+32 a:ICMP"""),
    "address": (REALM + 'identity: "v-NAME"\n  addresses: ["VALUE"]\n', """
        192.0.2.0/24 192.0.2.7 192.0.2.7/24 0.0.0.0/0 ::/0 0.0.0.0/1 128.0.0.0/1 8000::/1 2000::/3 127.0.0.1 127.0.0.0/8 126.0.0.0/7
        169.254.1.1 169.254.0.0/16 169.252.0.0/14 224.0.0.1 240.0.0.0/4 0.1.2.3 :: ::1 ::2 ::/8 fe80::1 fe80::/10 fe00::/7 ff02::1
        fc00::/7 ::ffff:192.0.2.1 ::ffff:0:0/96 2001:db8::/32 2001:DB8::/32 2001:db8::1/32 192.0.2.0/33 192.0.2.0/ 192.0.2.0/-1
        192.0.2.0/024 1.2.3 x"""),
    "identity": (REALM + 'identity: "VALUE-NAME"\n', "a a.b a/b a'b a@b a[b] a~b a{b} a,b a:b é #a !a a^b"),
    "limit": (GRANT + 'hard: {requests.cpu: "VALUE"}\n', """
        1 0 +1 -1 -0 .5 5. . 1e3 1E3 1e-3 1e 1E 1Ei 1k 1K 1Ki 1ki 1M 1Mi 1m 1u 1n 0.5n 1.5 1.5m 1e+3 e3 0x10 1_000 1,5
        9223372036854775806 9223372036854775807 8Ei 7Ei 10E 1e19 1e400 1e999999 1e-9 1e-400 0e400 0e-400 null
        1e0000000003 1e+0000000003 1e-0000000003 1e0000000000 1e4294967299 1e-4294967293 1e00001000000000 000000000000000000000000000000000001
        1.50000000000000000000000000000000000 1.50000000000000000000000000000000000Ei 1000000000000000000000000000000000000
        1000000000000000000000000000000000000e-36"""),
    # Without quotes: what is a number to YAML and to JSON. kubectl reads on after all of them but .inf.
    "limit's number": (GRANT + "hard: {requests.cpu: VALUE}\n", """
        1 0 -1 -0 +1 010 00 01.0 1.0 1. 1.5 .5 1e3 1E3 1.5e1 15e-1 10e-1 1e400 1e19 1e-400 0e400 0.0 0x10 0o10 1_000 true
        null ~ [1] 9223372036854775806 9223372036854775807 9223372036854775808 1.0000000000000000001 .inf"""),
    "bandwidth's number": (GRANT + "hard: {keystone.io/ingress-bandwidth: VALUE}\n", """
        8000 7999 8000.0 8000.5 1e6 1e400 1_000_000 0x100000 null ~ true {} 400000000000 400000000001"""),
    "burst's number": (GRANT + "bandwidth: {egressBurst: VALUE}\n", "131072 131072.0 131072.5 131071 1e6 1e400 true 0x100000"),
    "notice": (GRANT + "revocation: {noticePeriodSeconds: VALUE}\n", """
        0 1 1.0 1. 1.5 1e3 1E3 1e400 1e-1 10e-1 -1 -1.0 +1 010 0x10 0o10 1_0 2592000 2592000.0 2592001 2592001.0 1e7 60s true [1]
        9223372036854775808 .inf"""),
    "bandwidth": (GRANT + 'hard: {keystone.io/egress-bandwidth: "VALUE"}\n', """
        8k 7999 8000 0 1 9000000m 1.5Mi 0.0001G 100M 100Mi 400G 400000000001 401G 1T 8000.5 8.5k 1.5M 1e6 1e4 1e4294967302 1000000m 8000500m +9k -9k k"""),
    "burst": (GRANT + 'bandwidth: {egressBurst: "VALUE"}\n', """
        128Ki 131071 131072 1Mi 64Gi 65Gi 68719476737 1.5Mi 0 -1 1M 1e6 1e4294967302 x"""),
    "validity": (GRANT + 'validity: {validUntil: "VALUE"}\n', """
        2026-01-01T00:00:00Z 2026-01-01T00:00:00.123456789Z 2026-01-01T00:00:00.1234567891Z 2026-01-01T00:00:00.Z
        2026-01-01T00:00:00+02:00 2026-01-01T00:00:00-23:59 2026-01-01T00:00:00+24:00 2026-01-01T24:00:00Z
        2026-01-01T23:59:60Z 2026-01-01t00:00:00Z 2026-01-01T00:00:00z 2026-02-29T00:00:00Z 2024-02-29T00:00:00Z
        2100-02-29T00:00:00Z 2000-02-29T00:00:00Z 2026-02-30T00:00:00Z 2026-04-31T00:00:00Z 2026-04-30T00:00:00Z
        2026-12-31T00:00:00Z 2026-11-31T00:00:00Z 2026-13-01T00:00:00Z 2026-00-01T00:00:00Z 2026-01-00T00:00:00Z
        1969-12-31T23:59:59Z 1970-01-01T00:00:00Z 2261-12-31T23:59:59Z 2262-01-01T00:00:00Z 2026-02-28T00:00:00Z
        1970-01-01T00:00:00+01:00 1969-12-31T23:59:59-01:00
        2026-06-29T00:00:00Z 2026-09-31T00:00:00Z 2026-1-01T00:00:00Z 2026-01-01"""),
    "realm's name": (GRANT.replace("granteeRealm: b", 'granteeRealm: "VALUE"') + "revoked: false\n", "b B b_c -b b- b. .b b/c"),
}
ROUNDED = "the API server rounds it up to a billionth"
DIFFERS = {
    "limit": {"0.5n": ROUNDED, "1e-400": ROUNDED},
    "limit's number": {each: TEXT for each in ("-0", "00", "010", "01.0", "0o10", "0x10", "1_000", "1e-400", "1.0000000000000000001")}
    | {"null": DROPPED, "~": DROPPED},
    "bandwidth's number": {"1_000_000": TEXT, "0x100000": TEXT, "null": DROPPED, "~": DROPPED},
    "burst's number": {"0x100000": TEXT},
    "notice": {"010": TEXT, "0x10": TEXT, "0o10": TEXT, "1_0": TEXT},
}


@pytest.mark.parametrize("kind", VALUES)
def test_both_say_the_same_of_values(crds, tmp_path, kind):
    template, values = VALUES[kind][0], VALUES[kind][1].split()
    assert len(values) == len(set(values))
    objects = [template.replace("VALUE", value).replace("NAME", f"v{index}") for index, value in enumerate(values)]
    done = crds.kubectl("apply", "--dry-run=server", "-f", "-", text="\n---\n".join(objects), check=False)
    served = {int(number) for number in re.findall(r"/v(\d+) created", done.stdout)}
    assert served and len(served) < len(values), done.stderr
    differing = {}
    for index, value in enumerate(values):
        manifest = tmp_path / "value.yaml"
        manifest.write_text(REALMS + objects[index], encoding="utf-8")
        checked = subprocess.run([GRANTD, "check", manifest], capture_output=True, text=True, check=False)
        assert checked.returncode in (0, 1), checked.stderr
        if (checked.returncode == 0) != (index in served):
            differing[value] = (f"admitted: {index in served}", checked.stdout[-300:])
    assert set(differing) == set(DIFFERS.get(kind, {})), differing


@pytest.mark.parametrize("name", ["requests.cpu", "keystone.io/egress-bandwidth"])
def test_the_server_refuses_a_limit_that_is_null(crds, name):
    """Dropped unseen, it would leave a Grant without the limit that somebody meant to give."""
    grant = json.loads(manifest("Grant", "null-limit", {"grantorRealm": "a", "granteeRealm": "b", "hard": {name: None}},
                                namespace="keystone-system"))
    for verb in (["create"], ["apply", "--server-side"]):
        done = crds.kubectl(*verb, "--dry-run=server", "-f", "-", text=json.dumps(grant), check=False)
        assert done.returncode == 1 and "a limit is empty; write a quantity" in done.stderr, (verb, done)
        grant["spec"]["hard"][name] = "8k"
        crds.kubectl(*verb, "--dry-run=server", "-f", "-", text=json.dumps(grant))
        grant["spec"]["hard"][name] = None


def test_whole_numbers_come_back_as_they_are_read(crds):
    """JSON's 1.0 and 1e3 are whole numbers to the server, which says 1 and 1000."""
    for number, text in (("1.0", 1), ("1e3", 1000)):
        made = manifest("Grant", "whole", {"grantorRealm": "a", "granteeRealm": "b",
                                           "revocation": {"noticePeriodSeconds": "N"}}, namespace="keystone-system")
        done = crds.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", text=made.replace('"N"', number))
        assert json.loads(done.stdout)["spec"]["revocation"]["noticePeriodSeconds"] == text
