"""docs/evasion.md names tests that exist, each class once and in order."""

import re
import sys

from tree import ROOT, read, tracked_files

sys.path.insert(0, str(ROOT / "vmtest"))

import evasion  # noqa: E402  pylint: disable=wrong-import-position


def existing_tests():
    there = set()
    for path in tracked_files():
        if str(path).startswith(("tests/netns/test_", "tests/e2e/test_")):
            there |= {f"{path.name}::{name}" for name in re.findall(r"^def (test_\w+)", read(path), re.M)}
        elif str(path).startswith("tests/") and path.suffix == ".cc":
            there |= {".".join(found) for found in evasion.TEST.findall(read(path))}
    return there


def named(text):
    return {f"{file}::{name}" for file, name in evasion.TRAFFIC.findall(text)} | set(evasion.PROGRAM.findall(text))


def test_tests_that_the_table_names_exist():
    assert not named(read("docs/evasion.md").partition("| # |")[2]) - existing_tests()


def test_every_class_has_its_row_and_each_row_a_test():
    text = read("docs/evasion.md")
    rows = evasion.ROW.findall(text)
    numbers = [int(number) for number, _ in rows]
    assert numbers == list(range(1, 60))
    assert not [number for number, row in rows if not named(row)]


def test_the_suite_for_other_kernels_has_every_test_that_needs_no_cluster():
    there = existing_tests()
    left = named(read("docs/evasion.md").partition("| # |")[2]) - evasion.wanted()
    assert left <= there & evasion.traffic_tests("e2e")
    command = evasion.command()
    assert not [name for name in evasion.wanted() & there - set(evasion.NOT_EMULATED) if f"{name}:" not in command and f"/{name}" not in command]


def test_these_checks_can_fail():
    assert named("`test_nat.py::test_no_such_test` `Flow.NoSuchTest`") - existing_tests() == {
        "test_nat.py::test_no_such_test", "Flow.NoSuchTest"}
