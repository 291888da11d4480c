"""scripts/demo, to its end and interrupted: what it made goes, however it is told to stop."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import uuid

import pytest

from world import Namespace, eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]


def namespaces_of(tag):
    return [name for name in os.listdir("/run/netns") if name.startswith(tag + "-")]


class Demo:
    """The demo, from when it shows something until it has gone; then nothing of it is left."""

    def __init__(self, directory):
        self.places, self.log = directory / "places", directory / "log"
        self.places.mkdir()

    def said(self):
        return self.log.read_text(encoding="utf-8")

    @contextlib.contextmanager
    def running(self):
        with open(self.log, "w", encoding="utf-8") as out, subprocess.Popen(
                [ROOT / "scripts/demo", "--fast"], start_new_session=True, stdout=out, stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(self.places)},
                # Who runs the tests in the background has it ignored, and a shell cannot trap what it was given so.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as demo:
            try:
                eventually(lambda: "dropped" in self.said() or demo.poll() is not None, 240, every=0.05)
                assert demo.poll() is None, self.said()
                made = [each.name for each in self.places.iterdir() if each.name.startswith("grantd-")]
                tag = made[0].split("-")[1]
                assert len(made) == 1 and len(namespaces_of(tag)) == 4
                yield demo
            finally:
                if demo.poll() is None:
                    os.killpg(demo.pid, signal.SIGKILL)
        assert not list(self.places.iterdir()) and not namespaces_of(tag)


@pytest.mark.parametrize("number, send", [
    (signal.SIGHUP, os.killpg),  # its terminal is closed
    (signal.SIGINT, os.killpg),  # Ctrl-C
    (signal.SIGTERM, os.kill),
], ids=["hang-up", "interrupt", "terminate"])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path, number, send):
    with Demo(tmp_path).running() as demo:
        send(demo.pid, number)
        assert demo.wait(60) == 128 + number


def links():
    with open("/proc/thread-self/net/dev", encoding="ascii") as table:
        return [line.split(":")[0].strip() for line in table if ":" in line]


def test_the_demo_shows_all_that_it_promises(tmp_path):
    """In a network namespace that nobody else uses, so that a link that it leaves is seen."""
    home = Namespace(f"g{uuid.uuid4().hex[:12]}-demo")
    try:
        with home.entered():
            before, demo = links(), Demo(tmp_path)
            with demo.running() as process:
                status = process.wait(240)
            assert links() == before
    finally:
        home.close()
    said = demo.said()
    assert status == 0 and "NOT AS EXPECTED" not in said, said
    assert said.rstrip().splitlines()[-1] == "Everything was as it should be. Nothing is left behind."
    for line in (r"guest -> 198\.51\.100\.130 \(destination\) port 443 +passes  named by the Grant",
                 r"guest -> 203\.0\.113\.77 \(stranger\) port 443 +dropped not named",
                 r"offered +[\d.]+ Mbit/s of UDP for \d+ s\n  arrived +[\d.]+ Mbit/s, [\d.]+% of the limit",
                 r"live connection, before validUntil +passes .*\n  grantd is killed.*\n  the same connection, after validUntil +dropped expired",
                 r"live connection, before +passes .*\n  revoked: true written .*\n  the same connection, after +dropped revoked"
                 r"\n  a new connection +dropped revoked"):
        assert re.search("  " + line, said), (line, said)
