"""The worked example of docs/maps.md is what a run gives."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_example_is_of_a_real_run():
    done = subprocess.run([sys.executable, "-B", str(ROOT / "scripts" / "docs_maps.py"), "--check"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
