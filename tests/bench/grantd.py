"""grantd's side of the benchmark: the real agent, and the Grant that the others' rules were written for."""

import itertools
import json
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.request

from probe import entered
from world import DESTINATION_PORT, DESTINATIONS, REALM, BenchError, filler_prefixes, in_netns, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
METRICS_PORT = 9786
GRANTD = str(ROOT / "build" / "release" / "agent" / "grantd")


def manifest(kind, name, spec, **metadata):
    return json.dumps({"apiVersion": "keystone.io/v1alpha1", "kind": kind, "metadata": {"name": name, **metadata},
                       "spec": spec})


def grant(name, destinations):
    return manifest("Grant", name, {"grantorRealm": "alice-home", "granteeRealm": "bob-home", "networkPolicy": {
        "egressAllowed": True, "allowedDestinations": destinations}}, namespace="keystone-system")


def workload(guest, grant_name):
    return manifest("Workload", f"guest-{guest.number}", {
        "grantName": grant_name, "interface": guest.node_interface, "addresses": [guest.address]})


REALMS = [manifest("Realm", "alice-home", {"identity": "alice.example.net", "addresses": ["203.0.113.128/25"]}),
          manifest("Realm", "bob-home", {"identity": "bob.example.net", "addresses": [REALM]})]


def manifests(world):
    destinations = [f"{DESTINATIONS}:{DESTINATION_PORT}/UDP"]
    destinations += [f"{prefix}:443/TCP" for prefix in filler_prefixes(world.rules - 1)]
    return [*REALMS, grant("g", destinations), *(workload(guest, "g") for guest in world.all_guests)]


class Agent:
    """grantd on the node of a world, with a pin root, a state directory and manifests of its own."""

    def __init__(self, world):
        self.world, self.process = world, None
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="grantd-bench-", dir="/run/netns"))
        for part in ("manifests", "beside", "bpf"):
            (self.directory / part).mkdir()
        run(["mount", "-t", "bpf", "grantd-bench", str(self.directory / "bpf")])
        self.pin_root = self.directory / "bpf" / "grantd"
        self.log = self.directory / "log"
        self.log.touch()

    def prepare(self, name, objects):
        """A file that put() moves into the manifests."""
        (self.directory / "beside" / name).write_text("\n---\n".join(objects), encoding="utf-8")

    def put(self, name):
        """Moves it there; the moment before."""
        moment = time.monotonic()
        (self.directory / "beside" / name).rename(self.directory / "manifests" / name)
        return moment

    def command(self, what, *options):
        return in_netns(self.world.netns["node"], [
            GRANTD, what, "--pin-root", str(self.pin_root), "--state-dir", str(self.directory / "state"), *options])

    def start(self):
        """Starts it; the moment before. It has done nothing yet."""
        with open(self.log, "w", encoding="utf-8") as stream:
            moment = time.monotonic()
            self.process = subprocess.Popen(self.command(  # pylint: disable=consider-using-with
                "run", "--manifests", str(self.directory / "manifests"), "--uplink", "uplink0=lan", "--listen",
                f"127.0.0.1:{METRICS_PORT}", "--trust-clock"), stderr=stream, stdout=stream)
        return moment

    def put_and_start(self, name):
        self.put(name)
        return self.start()

    def _applied_lines(self):
        return [line for line in self.log.read_text(encoding="utf-8").splitlines() if " applied " in line]

    def applied(self):
        """Each change that was brought into force since the start, as milliseconds by part."""
        return [{name: float(value) for name, value in re.findall(r"(\w+)=([0-9.]+) ms", line)} for line in self._applied_lines()]

    def _wait_for(self, what, seconds):
        end = time.monotonic() + seconds
        while not what():
            if self.process.poll() is not None or time.monotonic() > end:
                raise BenchError(f"grantd in {self.world.name}: {self.log.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.02)

    def wait_applied(self, more_than=0, seconds=60):
        """The first change after so many."""
        self._wait_for(lambda: len(self.applied()) > more_than, seconds)
        return self.applied()[more_than]

    def wait_until_nobody_waits(self, seconds=60):
        """All guests are attached."""
        self._wait_for(lambda: "guests_that_wait=0" in self._applied_lines()[-1], seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def uninstall(self):
        self.kill()
        run(self.command("uninstall"))

    def scrape(self):
        """As Prometheus does every some seconds: the text takes memory, too."""
        with entered(self.world.netns["node"]):
            with urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics", timeout=30) as answer:
                if b"grantd_build_info" not in answer.read():
                    raise BenchError(f"no metrics of grantd in {self.world.name}")

    def map_kib(self):
        """What the kernel holds for the maps: {"tables of Grants", "all other maps"}. Of the process none of it is."""
        held = {"tables of Grants": 0, "all other maps": 0}
        for path in self.pin_root.rglob("*"):
            if not path.is_file() or path.parent.name in ("programs", "links"):
                continue
            shown = json.loads(run(["/usr/sbin/bpftool", "-j", "map", "show", "pinned", str(path)]))
            kind = "tables of Grants" if path.parent.name != "maps" else "all other maps"
            held[kind] += shown["bytes_memlock"] // 1024
        return held

    def memory_kib(self):
        """{VmRSS, VmHWM, RssAnon, RssFile}"""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return {name: int(kib) for name, kib in re.findall(r"(VmRSS|VmHWM|RssAnon|RssFile):\s*(\d+) kB", status)}


def apply_grantd(world):
    agent = Agent(world)
    agent.prepare("all.yaml", manifests(world))
    agent.put("all.yaml")
    agent.start()
    agent.wait_applied()
    return agent


def apply_grantd_without_its_gate(world):
    """The programs alone, as pinned: an agent would put the gate back."""
    apply_grantd(world).kill()
    for table in run(in_netns(world.netns["node"], ["nft", "list", "tables"])).splitlines():
        if " grantd" in table:  # behind the name stands a number, for the pin root
            run(in_netns(world.netns["node"], ["nft", "delete", *table.split()]))


def grants(count, port, guests):
    """Files of `count` Grants with ten destinations each; every guest has one of its own and may reach `port`."""
    owners = itertools.chain(guests, itertools.repeat(None))
    for number, guest in zip(range(count), owners):
        fillers = [f"{prefix}:443/TCP" for prefix in filler_prefixes(9)]
        yield grant(f"g-{number}", [f"{DESTINATIONS}:{port}/UDP", *fillers])
        if guest:
            yield workload(guest, f"g-{number}")
