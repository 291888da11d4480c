"""docs/evasion.md names tests that exist, each class once and in order."""

import re

from tree import read, tracked_files

ROW = re.compile(r"^\| (\d+) \|(.*)\|$", re.M)
PYTHON_NAME = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
CPP_NAME = re.compile(r"`([A-Z]\w+\.[A-Z]\w+)`")
CPP_TEST = re.compile(r"\b(?:TEST(?:_F|_P)?|RC_GTEST_(?:FIXTURE_)?PROP)\(\s*(\w+),\s*(\w+)")


def existing_tests():
    there = set()
    for path in tracked_files():
        if str(path).startswith(("tests/netns/test_", "tests/e2e/test_")):
            there |= {f"{path.name}::{name}" for name in re.findall(r"^def (test_\w+)", read(path), re.M)}
        elif str(path).startswith("tests/") and path.suffix == ".cc":
            there |= {".".join(found) for found in CPP_TEST.findall(read(path))}
    return there


def named(text):
    return {f"{file}::{name}" for file, name in PYTHON_NAME.findall(text)} | set(CPP_NAME.findall(text))


def test_tests_that_the_table_names_exist():
    assert not named(read("docs/evasion.md").partition("| # |")[2]) - existing_tests()


def test_every_class_has_its_row_and_each_row_a_test():
    text = read("docs/evasion.md")
    rows = ROW.findall(text)
    numbers = [int(number) for number, _ in rows]
    assert numbers == list(range(1, 60))
    assert not [number for number, row in rows if not named(row)]


def test_these_checks_can_fail():
    assert named("`test_nat.py::test_no_such_test` `Flow.NoSuchTest`") - existing_tests() == {
        "test_nat.py::test_no_such_test", "Flow.NoSuchTest"}
