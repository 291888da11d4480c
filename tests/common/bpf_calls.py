"""bpf(2) itself, for what no tool on Debian does, and programs of somebody else at tcx."""

import ctypes
import os
import platform
import struct

SYSTEM_CALL = {"x86_64": 321, "aarch64": 280}
PROG_LOAD, OBJ_GET, LINK_CREATE = 5, 7, 28
SCHED_CLS = 3
TCX = {"ingress": 46, "egress": 47}
BEFORE, AFTER = 8, 16


def bpf(command, attributes):
    """What it returns; OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, 128)
    done = library.syscall(SYSTEM_CALL[platform.machine()], command, buffer, 128)
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def leaves_all_to_the_next_one():
    """A program for tc, as a descriptor."""
    code = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", 0xb7, 0, 0, -1, 0x95, 0, 0, 0), 16)
    license_name = ctypes.create_string_buffer(b"GPL")
    return bpf(PROG_LOAD, struct.pack("=IIQQ", SCHED_CLS, 2, ctypes.addressof(code), ctypes.addressof(license_name)))


def pinned(path):
    """The descriptor of a program or a map."""
    name = ctypes.create_string_buffer(path.encode())
    return bpf(OBJ_GET, struct.pack("=QII", ctypes.addressof(name), 0, 0))


def tcx_link(program, interface_index, side, order=BEFORE):
    """That program stands there, before all others or after them, until the descriptor is closed."""
    return bpf(LINK_CREATE, struct.pack("=IIIIII", program, interface_index, TCX[side], order, 0, 0))
