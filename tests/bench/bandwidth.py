"""How limits feel, by mechanism, rate, round trip and mix. The work is done by a program of tests/netns; with the delay of
a line in it, by another kernel, for the one of a CI machine has no netem."""

import json
import pathlib
import subprocess
import sys
import tempfile

from report import table
from world import BenchError

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests/netns/bandwidth.py"
sys.path.insert(0, str(ROOT / "vmtest"))
KERNEL, SECONDS = "6.12", 3 * 3600  # 132 cells, on an emulated machine


def measure_bandwidth(quick):
    done = subprocess.run(["/usr/bin/python3", "-B", str(PROGRAM), *(["--quick"] if quick else [])], stdout=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode != 0:
        raise BenchError("the measurement of bandwidth has failed")
    return json.loads(done.stdout)


def measure_round_trips(quick):
    import kernels  # pylint: disable=import-outside-toplevel
    import machine  # pylint: disable=import-outside-toplevel

    try:
        kernel = kernels.kernel(KERNEL)
    except kernels.NotToBeHad as why:
        raise BenchError(f"the kernel {KERNEL} cannot be had: {why}") from why
    program = f"tests/netns/bandwidth.py --round-trips {'--quick' if quick else ''}"
    script = (f"cd {ROOT}\nunshare --mount --pid --fork --kill-child --mount-proc /usr/bin/python3 -B {program} "
              ">/vmtest-results/cells.json 2>/vmtest-results/log\n")
    with tempfile.TemporaryDirectory(prefix="grantd-bench-") as name:
        results = pathlib.Path(name)
        try:
            status = machine.run(kernel, script, results, SECONDS)
        except machine.Failed as failure:
            raise BenchError(str(failure)) from failure
        if status != 0:
            raise BenchError(f"with round trips: {(results / 'log').read_text(encoding='utf-8', errors='replace')[-3000:]}")
        cells = json.loads((results / "cells.json").read_text(encoding="utf-8"))
    return [{**cell, "kernel": kernel.version} for cell in cells]


def number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def bandwidth_report(cells):
    rows = [[f"{cell['rate_bps'] // 1_000_000} Mbit/s {cell['direction']}, {cell['rtt_ms']} ms, {cell['mix']}, {cell['mechanism']}",
             number(cell["goodput_ratio"], 3), number(cell["most_in_100ms_ratio"], 2), cell["retransmits"], number(cell["added_delay_p50_ms"], 1), number(cell["added_delay_p99_ms"], 1),
             number(cell["jain_by_guest"], 3), number(cell["jain_by_flow"], 3), number(cell["cpu_s_per_gb"], 2)] for cell in cells]
    return table(["cell", "of the limit", "in 100 ms", "retransmits", "delay p50, ms", "p99, ms", "Jain by guest", "by flow", "CPU s/GB"], rows)
