"""scripts/demo, interrupted: what it made goes, however it is told to stop."""

import os
import pathlib
import signal
import subprocess

import pytest

from world import eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]


def namespaces_of(tag):
    return [name for name in os.listdir("/run/netns") if name.startswith(tag + "-")]


@pytest.mark.parametrize("number, send", [
    (signal.SIGHUP, os.killpg),  # its terminal is closed
    (signal.SIGINT, os.killpg),  # Ctrl-C
    (signal.SIGTERM, os.kill),
], ids=["hang-up", "interrupt", "terminate"])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path, number, send):
    places, log = tmp_path / "places", tmp_path / "log"
    places.mkdir()
    with open(log, "w", encoding="utf-8") as out, subprocess.Popen(
            [ROOT / "scripts/demo", "--fast"], start_new_session=True, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(places)},
            # Who runs the tests in the background has it ignored, and a shell cannot trap what it was given so.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as demo:
        try:
            eventually(lambda: "dropped" in log.read_text(encoding="utf-8") or demo.poll() is not None, 240, every=0.05)
            assert demo.poll() is None, log.read_text(encoding="utf-8")
            made = [each.name for each in places.iterdir() if each.name.startswith("grantd-")]
            tag = made[0].split("-")[1]
            assert len(made) == 1 and len(namespaces_of(tag)) == 4
            send(demo.pid, number)
            assert demo.wait(60) == 128 + number
        finally:
            if demo.poll() is None:
                os.killpg(demo.pid, signal.SIGKILL)
    assert not list(places.iterdir()) and not namespaces_of(tag)
