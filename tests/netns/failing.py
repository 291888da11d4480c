"""Calls of the real agent that fail, or end it, at a word of the test: failing_calls.cc is preloaded into it, and both share
a page."""

import errno
import json
import mmap
import os
import pathlib
import struct
import subprocess

from agent import ROOT

SOURCE = pathlib.Path(__file__).with_name("failing_calls.cc")
# The order of failing_calls.cc; the errno that each fails with.
KINDS = {"bpf": errno.ENOMEM, "netlink": errno.ENOBUFS, "answer": errno.ENOBUFS, "file": errno.EIO, "memory": errno.ENOMEM,
         "update": errno.ENOMEM, "link": errno.ENOMEM, "ioctl": errno.EPERM, "run": errno.ENOMEM,
         "thread": errno.EAGAIN}
LAYOUT = struct.Struct(f"=QQqQQQ{len(KINDS) + 1}QQQ")
OPERATION, OPERATIONS, ANY = struct.Struct("=24sQQQQ"), 64, 1 << 32
ONLY = LAYOUT.size  # where the page says which operation alone is to fail
FIRST = ONLY + 16  # where the operations stand


def build(directory, source=SOURCE):
    made = directory / f"{source.stem}.so"
    subprocess.run(["c++", "-std=c++20", "-O1", "-shared", "-fPIC", f"-I{ROOT}", source, "-o", made, "-ldl"], check=True)
    return made


def tell(counts):
    """For scripts/faults, which keeps them."""
    if path := os.environ.get("GRANTD_FAULTS_TOLD"):
        with open(path, "a", encoding="utf-8") as told:
            told.write(json.dumps(counts) + "\n")


class Faults:
    """Calls are counted from when the agent starts. `arm` lets the one whose turn it is fail."""

    def __init__(self, library, path):
        size = FIRST + OPERATION.size * OPERATIONS
        path.write_bytes(bytes(size))
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), size)
        self.environment = {"LD_PRELOAD": str(library), "GRANTD_FAILING_CALLS": str(path)}

    def _fields(self):
        return LAYOUT.unpack(self.page[:LAYOUT.size])

    def operations(self, kind):
        """What calls of that kind do, and by its place how many were made, and failed: {place: (name, calls, failures)}."""
        each = OPERATION.iter_unpack(self.page[FIRST:])
        return {place: (f"{function.strip(bytes(1)).decode()} {number or ''}".strip(), calls, failures)
                for place, (function, number, of, calls, failures) in enumerate(each) if of == 1 + list(KINDS).index(kind)}

    def arm(self, kind, turn, goes_on=False, error=None, kills=False, only=ANY):
        """The call number `turn` of that kind, or of `only` that operation, fails from here on, and those after it too where that
        goes on; or the agent does not come to it, for it is killed."""
        self.disarm()
        struct.pack_into("=Q", self.page, ONLY, only)
        struct.pack_into("=QqQQQ", self.page, 8, error or KINDS[kind], turn, goes_on, kills, 0)
        struct.pack_into("=Q", self.page, 0, 1 + list(KINDS).index(kind))

    def disarm(self):
        """How many calls failed since."""
        struct.pack_into("=Q", self.page, 0, 0)
        return self.failed()

    def kills(self):
        """Whether a call has killed the agent since."""
        return self._fields()[4] and self.failed() > 0

    def slow(self, fsync=0.0, attach=0.0):
        """So many seconds each takes longer from here on."""
        struct.pack_into("=QQ", self.page, LAYOUT.size - 16, int(fsync * 1e6), int(attach * 1e6))

    def failed(self):
        return self._fields()[5]

    def calls(self, kind):
        """So many have been made."""
        return self._fields()[7 + list(KINDS).index(kind)]
