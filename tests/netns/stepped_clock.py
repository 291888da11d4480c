"""A wall clock of the real agent's own, which a test sets: stepped_clock.cc is preloaded into it, and both share a page."""

import mmap
import os
import pathlib
import struct

from failing import build

SOURCE = pathlib.Path(__file__).with_name("stepped_clock.cc")


class SteppedClock:
    def __init__(self, directory):
        path = directory / "clock"
        path.write_bytes(bytes(8))
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 8)
        self.steps = f"{path}.steps"
        os.mkfifo(self.steps)
        self.environment = {"LD_PRELOAD": str(build(directory, SOURCE)), "GRANTD_STEPPED_CLOCK": str(path)}

    def set(self, ahead):
        """Of the machine's, by so many seconds; the agent is told if there is one."""
        struct.pack_into("=q", self.page, 0, int(ahead * 1e9))
        try:
            told = os.open(self.steps, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # ENXIO: nobody reads
            return
        os.write(told, b".")
        os.close(told)
