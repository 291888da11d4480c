"""How limits feel, by mechanism, rate and mix. The work is done by a program of tests/netns."""

import json
import pathlib
import subprocess

from report import table
from world import BenchError

PROGRAM = pathlib.Path(__file__).resolve().parents[1] / "netns/bandwidth.py"


def measure_bandwidth(quick):
    done = subprocess.run(["/usr/bin/python3", "-B", str(PROGRAM), *(["--quick"] if quick else [])], stdout=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode != 0:
        raise BenchError("the measurement of bandwidth has failed")
    return json.loads(done.stdout)


def number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def bandwidth_report(cells):
    rows = [[f"{cell['rate_bps'] // 1_000_000} Mbit/s, {cell['mix']}, {cell['mechanism']}", number(cell["goodput_ratio"], 3),
             cell["retransmits"], number(cell["added_delay_p50_ms"], 1), number(cell["added_delay_p99_ms"], 1),
             number(cell["jain_by_guest"], 3), number(cell["jain_by_flow"], 3), number(cell["cpu_s_per_gb"], 2)] for cell in cells]
    return table(["cell", "of the limit", "retransmits", "delay p50, ms", "p99, ms", "Jain by guest", "by flow", "CPU s/GB"], rows)
