"""grantd's side of the benchmark: the real agent with the same Grant that the others' rules were written for."""

import json
import pathlib
import subprocess
import tempfile
import time

from world import DESTINATION_PORT, DESTINATIONS, REALM, BenchError, filler_prefixes, in_netns, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRANTD = str(ROOT / "build" / "release" / "agent" / "grantd")


def manifest(kind, name, spec, **metadata):
    return json.dumps({"apiVersion": "keystone.io/v1alpha1", "kind": kind, "metadata": {"name": name, **metadata},
                       "spec": spec})


def manifests(world):
    destinations = [f"{DESTINATIONS}:{DESTINATION_PORT}/UDP"]
    destinations += [f"{prefix}:443/TCP" for prefix in filler_prefixes(world.rules - 1)]
    yield manifest("Realm", "alice-home", {"identity": "alice.example.net", "addresses": ["203.0.113.128/25"]})
    yield manifest("Realm", "bob-home", {"identity": "bob.example.net", "addresses": [REALM]})
    yield manifest("Grant", "g", {"grantorRealm": "alice-home", "granteeRealm": "bob-home", "networkPolicy": {
        "egressAllowed": True, "allowedDestinations": destinations}}, namespace="keystone-system")
    for guest in world.all_guests:
        yield manifest("Workload", f"guest-{guest.number}", {
            "grantName": "g", "interface": guest.node_interface, "addresses": [guest.address]})


def apply_grantd(world):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="grantd-bench-", dir="/run/netns"))
    for part in ("manifests", "bpf"):
        (directory / part).mkdir()
    run(["mount", "-t", "bpf", "grantd-bench", str(directory / "bpf")])
    (directory / "manifests" / "all.yaml").write_text("\n---\n".join(manifests(world)), encoding="utf-8")
    log = directory / "log"
    with open(log, "w", encoding="utf-8") as stream:
        agent = subprocess.Popen(in_netns(world.netns["node"], [  # pylint: disable=consider-using-with
            GRANTD, "run", "--manifests", str(directory / "manifests"), "--pin-root", str(directory / "bpf" / "grantd"),
            "--state-dir", str(directory / "state"), "--uplink", "uplink0=lan", "--listen", "none", "--trust-clock"]),
            stderr=stream, stdout=stream)
    end = time.monotonic() + 30
    while "applied" not in log.read_text(encoding="utf-8"):
        if agent.poll() is not None or time.monotonic() > end:
            raise BenchError(f"grantd in {world.name}: {log.read_text(encoding='utf-8')[-2000:]}")
        time.sleep(0.05)
