"""A map of the datapath that is full: whatever room there is or comes, somebody takes it, so that it is the kernel that refuses."""

import ctypes
import errno
import json
import os
import struct

from bpf_calls import bpf, pinned
from traffic import Background
from world import run

UPDATE, DELETE = 2, 3
NEW_ONLY = 1  # BPF_NOEXIST
# Keys that the agent gives to nothing of its own; maps/abi says what they are.
KEYS = {"rule": lambda number: struct.pack("=IIBBH16s", 64 + 128, 1 << 20, 0, 4, 0, number.to_bytes(16, "big")),
        "policy": lambda number: struct.pack("=Q", (1 << 20) + number),
        "endpoint": lambda number: struct.pack("=I", 0x7F000000 + number)}


class FullMap(Background):
    """While it is entered. `refused` counts how often the map was found full, by the kernel's word."""

    def __init__(self, world, name):
        super().__init__()
        self.path = f"{world.pin_root}/maps/grantd_{name}_v1"
        about = json.loads(run("bpftool", "-j", "map", "show", "pinned", self.path))
        self.keys = [ctypes.create_string_buffer(KEYS[name](number)) for number in range(about["max_entries"])]
        self.value = ctypes.create_string_buffer(about["bytes_value"])
        self.map = pinned(self.path)
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
