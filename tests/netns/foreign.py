"""Programs of somebody else on a guest's interface: as tc filters, and as tcx links."""

import contextlib
import os

import pytest
from bpf_calls import BEFORE, pinned, tcx_link
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


def loaded(world, text):
    """A program of that source."""
    pin = os.path.join(world.bpffs, "foreign")
    run("bpftool", "prog", "load", foreign_program(world, text), pin, "type", "classifier")
    program = pinned(pin)
    os.unlink(pin)
    return program


@contextlib.contextmanager
def foreign_tcx(node, program, side="ingress", order=BEFORE):
    """That program is somebody else's, before all others on the guest's interface, or after them."""
    with node.world.node.entered():
        link = tcx_link(program, node.world.node.interface_index(node.guest.interface), side, order)
    try:
        yield
    finally:
        os.close(link)
        os.close(program)


WITH_TCX_LINKS = pytest.mark.skipif(not HAS_TCX, reason="no tcx before Linux 6.6")
