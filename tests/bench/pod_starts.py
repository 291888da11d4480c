"""What of a guest passes outside its Grant while many pods start under a flood, and what ADD costs. The work is done by a
program of tests/netns, whose own test makes a few hundred."""

import json
import pathlib
import subprocess

from report import table
from world import BenchError

PROGRAM = pathlib.Path(__file__).resolve().parents[1] / "netns/pod_starts.py"
ADDS = 100


def measure_pod_starts(starts):
    done = subprocess.run(["/usr/bin/python3", "-B", str(PROGRAM), "--starts", str(starts), "--costs", str(min(ADDS, starts))],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(done.stderr.strip()[-3000:])
    return json.loads(done.stdout)


def pod_starts_report(told):
    """Its text, and why it has not held."""
    rows = [[name.replace("_", " "), value] for name, value in told.items() if isinstance(value, (int, float))]
    rows += [["before the chain was done: " + name, value] for name, value in told["before_the_chain_was_done"].items()]
    text = lambda value: f"{value['median']:.1f} [{value['min']:.1f}-{value['max']:.1f}]"  # noqa: E731
    costs = [[case, *(text(each[part]) for part in ("without_ms", "grantd_cni_ms", "with_ms"))]
             for case, each in told["add"].items()]
    failures = [f"{told[name]} packets are {name.replace('_', ' ')}"
                for name in ("passed_outside_grant", "received_outside_grant") if told[name]]
    failures += [f"nothing is {name.replace('_', ' ')}, so the run has shown nothing"
                 for name in ("passed_within_grant", "passed_of_ordinary_pods", "received_by_ordinary_pods") if not told[name]]
    return table(["pod starts under a flood", ""], rows) + "\n\n" + table(
        ["ADD in ms", "without grantd-cni", "grantd-cni", "with it"], costs), failures
