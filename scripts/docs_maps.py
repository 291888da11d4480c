"""The worked example of docs/maps.md: a small world, one Grant, one guest, a little traffic, and bpftool."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "netns"))
from agent import Agent  # noqa: E402  pylint: disable=wrong-import-position
from traffic import TcpPair, UdpPair, mark_bytes, receives  # noqa: E402  pylint: disable=wrong-import-position
from world import CGROUPS, PARTIES, World, eventually  # noqa: E402  pylint: disable=wrong-import-position

PAGE = ROOT / "docs" / "maps.md"
BLOCK = re.compile(r"(<!-- example (grantd_\w+) -->\n).*?(<!-- end -->)", re.S)
# What differs from run to run.
VARIES = re.compile(r"(_ns|_seconds|_us|_ifindex|^secret|^(allowed|queued|returned|refused)_(bytes|packets)|^pid|^tick|seal|^id$|version|version_again|boot_to_wall_ns|_port|wire_bytes|^bytes|^packets)$")
BPFTOOL = shutil.which("bpftool") or "/usr/sbin/bpftool"


def masked(value, name=""):
    if isinstance(value, dict):
        if isinstance(value.get("bytes"), list):  # struct grantd_address
            return masked(value["bytes"], "address")
        return {key: masked(each, key) for key, each in value.items()}
    if isinstance(value, list):
        if name == "packets":  # of grantd_delay
            return "..."
        if name in ("mac", "address") and all(isinstance(each, int) for each in value):
            return (":" if name == "mac" else "").join(f"{each:02x}" for each in value) if any(value) else 0
        return [masked(each, name) for each in value]
    if isinstance(value, int) and VARIES.search(name) and value not in (0, 2**64 - 1):
        return "..."
    if name == "node" and isinstance(value, str):
        return "..."
    if isinstance(value, str) and "/grantd-" in value:
        return re.sub(r"/tmp/grantd-[^/]+", "DIR", value)
    return value


def compact(value):
    """Fields that are zero say nothing here."""
    if isinstance(value, dict):
        fields = {key: compact(each) for key, each in value.items()}
        return {key: each for key, each in fields.items() if each not in (0, "", [], {})}
    if isinstance(value, list):
        return [each for each in map(compact, value) if each not in (0, "", [], {})]
    return value


def entries(world, pinned_or_id):
    dump = json.loads(subprocess.run([BPFTOOL, "-j", "map", "dump", *pinned_or_id], capture_output=True, text=True,
                                     check=True).stdout)
    return [each["formatted"] if "formatted" in each else each for each in dump]


def inner_of(world, pin):
    """The table of slot 1 in an array of maps."""
    for each in json.loads(subprocess.run([BPFTOOL, "-j", "map", "dump", *pin], capture_output=True, text=True,
                                          check=True).stdout):
        slot, table = (int.from_bytes((int(byte, 16) for byte in each[part]), sys.byteorder) for part in ("key", "value"))
        if slot == 1:
            return ["id", str(table)]
    return None


def says_something(entry):
    value = {key: each for key, each in compact(masked(entry)).items() if key != "key"}
    return bool(value) and not (list(value) == ["values"] and not any("value" in each for each in value["values"]))


def example(world, name):
    pin = ["pinned", *(str(each) for each in (pathlib.Path(world.pin_root) / "maps").glob(f"{name}_v*"))]
    if name in ("grantd_flow", "grantd_frag", "grantd_counter"):
        pin = inner_of(world, pin)
        assert pin, f"{name} has no table for slot 1"
    found = [each for each in entries(world, pin) if says_something(each)]
    if name == "grantd_rule":
        found = [each for each in found if each["value"]["count"]]
    for each in found:
        if name == "grantd_hostguest":  # the kernel numbers cgroups
            each["key"] = "..."
        if "values" in each:  # which CPU it was differs from run to run
            each["values"] = [{"cpu": "...", "value": one["value"]} for one in each["values"] if compact(one["value"])][:1]
    shown = sorted(json.dumps(compact(masked(each))) for each in found)
    return shown[0] if shown else "(empty in this run)"


def run():
    with World() as world:
        guest = world.add_guest("bob-web")
        agent = Agent(world)
        agent.grant("alice-to-bob", ["198.51.100.128/25:443/TCP", "198.51.100.128/25:5000/UDP"], hard={"keystone.io/egress-bandwidth": "100M"})
        agent.workload(guest, "alice-to-bob", cgroup=os.path.relpath(world.cgroup("bob-web"), CGROUPS))
        agent.start()
        for name in ("queue", "hostguest"):
            pin = ["pinned", str(pathlib.Path(world.pin_root) / f"maps/grantd_{name}_v1")]
            eventually(lambda pin=pin: entries(world, pin), what=f"the guest in grantd_{name}")
        assert TcpPair(guest, world.outside, 4, to=PARTIES["destination"][4], port=443).both()
        UdpPair(guest, world.outside, 4, to=PARTIES["stranger"][4], port=53).forward(0.2)
        large = UdpPair(guest, world.outside, 4, to=PARTIES["destination"][4], port=5000)
        payload = mark_bytes() * 400  # more than a packet holds
        large.client.sendto(payload, large.goal)
        assert receives(large.server, payload, 2.0)
        text = PAGE.read_text(encoding="utf-8")
        return text, BLOCK.sub(lambda at: f"{at[1]}```json\n{example(world, at[2])}\n```\n{at[3]}", text)


def main():
    before, after = run()
    if "--check" in sys.argv[1:]:
        if before != after:
            print("docs/maps.md is not what a run gives; scripts/docs-maps writes it", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
