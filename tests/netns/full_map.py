"""A map of the datapath that is full: whatever room there is or comes, somebody takes it, so that it is the kernel that refuses."""

import ctypes
import errno
import json
import os
import platform
import struct

from traffic import Background
from world import run

SYSTEM_CALL = {"x86_64": 321, "aarch64": 280}
UPDATE, DELETE, GET = 2, 3, 7
NEW_ONLY = 1  # BPF_NOEXIST
# Keys that the agent gives to nothing of its own; maps/abi says what they are.
KEYS = {"rule": lambda number: struct.pack("=IIBBH16s", 64 + 128, 1 << 20, 0, 4, 0, number.to_bytes(16, "big")),
        "policy": lambda number: struct.pack("=Q", (1 << 20) + number),
        "endpoint": lambda number: struct.pack("=I", 0x7F000000 + number)}


def bpf(command, attributes):
    """What it returns; OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, 128)
    done = library.syscall(SYSTEM_CALL[platform.machine()], command, buffer, 128)
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


class FullMap(Background):
    """While it is entered. `refused` counts how often the map was found full, by the kernel's word."""

    def __init__(self, world, name):
        super().__init__()
        self.path = f"{world.pin_root}/maps/grantd_{name}_v1"
        about = json.loads(run("bpftool", "-j", "map", "show", "pinned", self.path))
        self.keys = [ctypes.create_string_buffer(KEYS[name](number)) for number in range(about["max_entries"])]
        self.value = ctypes.create_string_buffer(about["bytes_value"])
        path = ctypes.create_string_buffer(self.path.encode())
        self.map = bpf(GET, struct.pack("=QII", ctypes.addressof(path), 0, 0))
        self.refused = 0

    def _add(self, key):
        """Whether there was room."""
        try:
            bpf(UPDATE, struct.pack("=IIQQQ", self.map, 0, ctypes.addressof(key), ctypes.addressof(self.value), NEW_ONLY))
        except OSError as error:
            assert error.errno in (errno.EEXIST, errno.E2BIG, errno.ENOSPC), error
            return error.errno == errno.EEXIST
        return True

    def _remove(self, key):
        try:
            bpf(DELETE, struct.pack("=IIQ", self.map, 0, ctypes.addressof(key)))
        except OSError as error:  # the agent removes what it does not know
            assert error.errno == errno.ENOENT, error

    def _run(self):
        while not self.ending.is_set():
            self.refused += not all(self._add(key) for key in self.keys)
            self.ending.wait(0.002)

    def __exit__(self, *failure):
        super().__exit__(*failure)
        for key in self.keys:
            self._remove(key)
        os.close(self.map)
