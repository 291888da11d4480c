"""scripts/bench: measures and reports. See docs/performance.md for what the figures mean."""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys

from bandwidth import bandwidth_report, measure_bandwidth, measure_round_trips
from control_plane import control_plane_report, measure_control_plane
from forwarding import case_worlds, measure_all
from pod_starts import measure_pod_starts, pod_starts_report
from report import forwarding_report, rounds_of, table, targets_table
from world import BenchError, mount_private

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts"))
from digests import digest  # noqa: E402  pylint: disable=wrong-import-position


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures what grantd costs, beside others.")
    parser.add_argument("--quick", action="store_true", help="a smoke test of a few seconds: its figures mean little")
    parser.add_argument("--rounds", type=int, default=9, help="rounds that the spread is taken over (default 9)")
    parser.add_argument("--visits", type=int, default=5, help="visits to each case in a round (default 5)")
    parser.add_argument("part", nargs="?", choices=["forwarding", "control-plane", "pod-starts", "bandwidth", "round-trips", "kubernetes"],
                        help="only this one; the last four are made only if asked for")
    parser.add_argument("--starts", type=int, default=10_000, help="pods that pod-starts makes (default 10000)")
    parser.add_argument("--json", type=pathlib.Path, help="directory for the figures, a file of JSON for each part")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help="directory of the binaries")
    return parser.parse_args()


def machine():
    """Where the figures come from. Absolute ones belong to this machine."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), "unknown")
    return {"kernel": platform.release(), "cpu": model, "cpus": os.cpu_count(), "load_before": os.getloadavg()[0]}


def counts_of(options):
    few = options.quick
    return {
        "rounds": options.rounds * options.visits, "cpu": max(os.sched_getaffinity(0)),
        "packets": 512 if few else 4096, "new_flows": 256 if few else 2048, "round_trips": 100 if few else 1000,
        "connects": 20 if few else 200, "datagrams": 512 if few else 4096,
    }


def programs(binary):
    """{what: nanoseconds for a packet}, with what the test run itself costs under "nothing"."""
    done = subprocess.run([binary], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(done.stderr.strip())
    return json.loads(done.stdout)


def keep(options, part, result):
    if options.json:
        options.json.mkdir(parents=True, exist_ok=True)
        (options.json / f"{part}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def control_plane(options, result):
    text, result["control_plane"] = control_plane_report(measure_control_plane(options.quick))
    print(text + "\n\n" + targets_table(result["control_plane"]["targets"]) + "\n")
    keep(options, "control-plane", result)


def forwarding(options, result):
    result["programs_ns"] = programs(str(options.build / "tests/bench/grantd_bench_programs"))
    print("Nanoseconds of each program for one packet (BPF_PROG_TEST_RUN)")
    print(table(["program", "ns"], [[name, f"{value:.0f}"] for name, value in result["programs_ns"].items()]) + "\n")
    cases = case_worlds()
    for world, policies in cases:
        world.build()
        for apply in policies:
            apply(world)
    samples = measure_all(str(options.build / "tests/bench/grantd_bench_load"), [world for world, _ in cases],
                          counts_of(options))
    text, result["forwarding"] = forwarding_report(rounds_of(samples, options.rounds))
    print(text)
    keep(options, "forwarding", result)


def pod_starts(options, result):
    result["pod_starts"] = measure_pod_starts(options.starts)
    text, failures = pod_starts_report(result["pod_starts"])
    print(text)
    keep(options, "pod-starts", result)
    if failures:
        raise BenchError("; ".join(failures))


def bandwidth(options, result, round_trips):
    """What the other of the two has measured stays in the file that they share, so each cell says of which datapath it is."""
    datapath = result.pop("datapath")
    cells = [{**cell, "datapath": datapath} for cell in (measure_round_trips if round_trips else measure_bandwidth)(options.quick)]
    print(bandwidth_report(cells))
    kept = options.json / "bandwidth.json" if options.json else None
    if kept and kept.exists():
        before = json.loads(kept.read_text(encoding="utf-8"))
        others = [cell for cell in before["cells"] if (cell["rtt_ms"] > 0) != round_trips]
        if round_trips:
            result, cells = before, others + cells
        else:
            cells += others
    keep(options, "bandwidth", {**result, "cells": cells})


def kubernetes(options, result):
    from kubernetes import kubernetes_report, measure_kubernetes  # pylint: disable=import-outside-toplevel

    # Needs a network namespace of its own, and what a cluster needs.
    text, result["kubernetes"] = kubernetes_report(measure_kubernetes(options.quick))
    print(text)
    keep(options, "kubernetes", result)


def main():
    options = arguments()
    if options.quick:
        options.rounds, options.visits, options.starts = 3, 1, 100
    facts = machine()
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, Linux {facts['kernel']}, load {facts['load_before']:.1f}\n")
    result = {"machine": facts, "datapath": digest()}
    if options.part == "kubernetes":
        kubernetes(options, result)
        return 0
    if options.part == "round-trips":
        bandwidth(options, result, True)
        return 0
    mount_private()
    if options.part == "pod-starts":
        pod_starts(options, result)
        return 0
    if options.part == "bandwidth":
        bandwidth(options, result, False)
        return 0
    # First: the worlds of the other part stay, and are in the way.
    if options.part != "forwarding":
        control_plane(options, dict(result))
    if options.part != "control-plane":
        forwarding(options, dict(result))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"scripts/bench: {error}")
