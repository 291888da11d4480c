"""What is committed must mean something to whoever clones it."""

import pathlib
import re

from tree import complaints, tracked_files

# Written in pieces, so that this file does not find itself.
OF_ONE_MACHINE = re.compile("|".join([
    "/" + r"work/\w", "/" + r"home/[a-z]\w*/", "/" + "root/", r"\bfarm" + r"-\w+", r"\bpy" + r"env\b",
    "bash" + "_jobs", "test" + "cluster",
]))
CONFLICT = re.compile(r"^(<{7}|>{7}) ", re.M)
# A shell's way to write an apostrophe inside apostrophes, left behind in a file.
SHELL_APOSTROPHE = "'\"" + "'\"'"
BINARY = {".png", ".svg", ".ico", ".pcap"}


def of_one_machine(_path, text):
    for found in OF_ONE_MACHINE.finditer(text):
        yield f"'{found.group(0)}' means something on one machine only"


def leftovers(path, text):
    if CONFLICT.search(text):
        yield "carries the marks of a merge conflict"
    if SHELL_APOSTROPHE in text and path.suffix in (".c", ".cc", ".h", ".md", ".txt"):
        yield "carries a shell's apostrophe"


def shape(path, text):
    if text and not text.endswith("\n"):
        yield "does not end with a line break"
    if "\r" in text:
        yield "carries carriage returns"
    if path.suffix != ".md" and re.search(r"[ \t]+$", text, re.M):
        yield "has blanks at the end of a line"


def texts():
    """Seeds of the fuzzers are what they are, byte by byte."""
    return [path for path in tracked_files() if path.suffix not in BINARY and not str(path).startswith("tests/fuzz/corpus/")]


def test_nothing_of_one_machine():
    assert not complaints(of_one_machine, texts())


def test_no_leftovers():
    assert not complaints(leftovers, texts())


def test_shape_of_files():
    assert not complaints(shape, texts())


def test_these_checks_can_fail():
    path = pathlib.PurePosixPath("x.h")
    assert list(of_one_machine(path, "see /" + "work/x"))
    assert list(leftovers(path, "<" * 7 + " HEAD\n"))
    assert list(leftovers(path, "it" + SHELL_APOSTROPHE + "s"))
    assert list(shape(path, "no end"))
    assert list(shape(path, "blank \n"))
