"""Programs of somebody else on a guest's interface: as tc filters, and as tcx links."""

import contextlib
import ctypes
import os
import struct

import pytest
from full_map import bpf
from world import HAS_TCX, run

FOREIGN = """
#include <linux/bpf.h>
__attribute__((section("tc"), used)) int foreign(struct __sk_buff *skb) { return %d; }
char name_of_license[] __attribute__((section("license"), used)) = "GPL";
"""


def foreign_program(world, text):
    """Its object file."""
    source, built = world.path("foreign.c"), world.path("foreign.o")
    with open(source, "w", encoding="ascii") as file:
        file.write(text)
    run("clang", "-target", "bpf", "-O2", "-idirafter", f"/usr/include/{run('gcc', '-print-multiarch').strip()}",
        "-c", source, "-o", built)
    return built


def foreign_filter(world, interface, side, verdict, *match, text=None):
    """A tc filter of somebody else, on a clsact qdisc of their own."""
    built = foreign_program(world, text or FOREIGN % verdict)
    world.node.run("tc", "qdisc", "replace", "dev", interface, "clsact")
    world.node.run("tc", "filter", "add", "dev", interface, side, *match, "prio", "1", "bpf", "da", "obj", built, "sec", "tc")


# Numbers of bpf(2).
PROG_LOAD, OBJ_GET, LINK_CREATE, SCHED_CLS = 5, 7, 28, 3
TCX, BEFORE, AFTER = {"ingress": 46, "egress": 47}, 8, 16


def leaves_all_to_the_next_one():
    code = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", 0xb7, 0, 0, -1, 0x95, 0, 0, 0), 16)
    license_name = ctypes.create_string_buffer(b"GPL")
    return bpf(PROG_LOAD, struct.pack("=IIQQ", SCHED_CLS, 2, ctypes.addressof(code), ctypes.addressof(license_name)))


def loaded(world, text):
    """A program of that source."""
    pin = os.path.join(world.bpffs, "foreign")
    run("bpftool", "prog", "load", foreign_program(world, text), pin, "type", "classifier")
    path = ctypes.create_string_buffer(pin.encode())
    program = bpf(OBJ_GET, struct.pack("=QII", ctypes.addressof(path), 0, 0))
    os.unlink(pin)
    return program


@contextlib.contextmanager
def foreign_tcx(node, program, side="ingress", order=BEFORE):
    """That program is somebody else's, before all others on the guest's interface, or after them."""
    with node.world.node.entered():
        index = node.world.node.interface_index(node.guest.interface)
        link = bpf(LINK_CREATE, struct.pack("=IIIIII", program, index, TCX[side], order, 0, 0))
    try:
        yield
    finally:
        os.close(link)
        os.close(program)


WITH_TCX_LINKS = pytest.mark.skipif(not HAS_TCX, reason="no tcx before Linux 6.6")
