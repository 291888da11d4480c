"""scripts/mutate counts as noticed what fails twice, and as not compiled what the compiler refuses."""

import os
import subprocess
import sys

import pytest

from tree import ROOT

sys.path.insert(0, str(ROOT / "tests" / "mutate"))

from agent_sources import Tree  # noqa: E402  pylint: disable=wrong-import-position
from killers import Killers  # noqa: E402  pylint: disable=wrong-import-position

FAILED = "[  FAILED  ] Plan.IsEmpty (3 ms)"
MUTANT = {"file": "agent/plan/plan.cc", "line": 1, "lines": 1, "text": "int changed;"}


def program(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture(name="tree")
def of_scripts(tmp_path, monkeypatch):
    """A tree that builds, whose suites pass; its tools are scripts."""
    tree = Tree(None, tmp_path, Killers())
    tools = tmp_path / "tools"
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    program(tools / "cmake", f"cp {tmp_path}/agent/plan/plan.cc {tree.build}/agent/plan/CMakeFiles/plan.dir/plan.cc.o")
    for suite in ("unit_of_rules", "model"):
        program(tree.build / "tests" / suite, "exit 0")
    (tree.build / "agent/plan/CMakeFiles/plan.dir").mkdir(parents=True)
    (tmp_path / "agent/plan").mkdir(parents=True)
    source = tmp_path / MUTANT["file"]
    source.write_text("int original;\n", encoding="utf-8")
    tree.compiled = {"agent/plan/CMakeFiles/*/plan.cc.o": b"of the original"}
    yield tree
    assert source.read_text(encoding="utf-8") == "int original;\n"


def fails(tree, suite, times):
    """Its first runs; each leaves its arguments in a file of the suite's name."""
    runs = tree.copy / suite
    program(tree.build / "tests" / suite, f'echo "$@" >> {runs}', f'[ "$(wc -l < {runs})" -gt {times} ] || {{ echo "{FAILED}"; exit 1; }}')
    return runs


def test_what_nothing_notices_survives(tree):
    assert tree.tried(MUTANT) == "survived"


@pytest.mark.parametrize("suite", ["unit_of_rules", "model"])
def test_what_fails_once_notices_nothing(tree, suite):
    runs = fails(tree, suite, 1)
    assert tree.tried(MUTANT) == "survived"
    assert "Plan.IsEmpty" in runs.read_text(encoding="utf-8").splitlines()[1], "only that test is asked again"
    assert not tree.killers.filter(MUTANT["file"])


@pytest.mark.parametrize("suite", ["unit_of_rules", "model"])
def test_what_fails_twice_notices(tree, suite):
    fails(tree, suite, 2)
    assert tree.tried(MUTANT) == "killed"
    assert tree.killers.filter(MUTANT["file"]) == ("Plan.IsEmpty" if suite == "unit_of_rules" else "")


def test_what_the_compiler_refuses_is_not_compiled(tree):
    program(tree.copy / "tools/cmake", "echo 'agent/plan/plan.cc:1:5: error: expected expression'", "exit 1")
    assert tree.tried(MUTANT) == "not_compiled"


@pytest.mark.parametrize("said", ["cc1plus: out of memory allocating 65536 bytes", "ld: final link failed: No space left on device",
                                  "plan.cc:9:1: fatal error: error writing to /tmp/a.s: No space left on device",
                                  "g++: fatal error: Killed signal terminated program cc1plus", "ninja: error: loading 'build.ninja'"])
def test_what_else_keeps_it_from_compiling_ends_the_run(tree, said):
    program(tree.copy / "tools/cmake", f'echo "{said}" >&2', "exit 1")
    with pytest.raises(SystemExit, match="not for its source"):
        tree.tried(MUTANT)


def test_a_copy_is_compiled_anew_where_a_mutant_was_the_last(tmp_path):
    """What a run left compiled of its last mutant was as new as the source that the next one brought."""
    root, source = tmp_path / "root", tmp_path / "copy/plan.cc"
    root.mkdir()
    subprocess.run(["git", "init", "-q", root], check=True)
    for name in ("plan.cc", "other.cc"):
        (root / name).write_text("int original;\n", encoding="utf-8")
        os.utime(root / name, (1, 1))
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    tree = Tree(root, tmp_path / "copy", Killers())
    tree.bring_up_to_date()
    os.utime(source, (2, 2))
    source.write_text("int original;\n", encoding="utf-8")  # as a mutant is taken back
    back = source.stat().st_mtime_ns
    (root / "other.cc").write_text("int changed;\n", encoding="utf-8")
    tree.bring_up_to_date()
    assert source.stat().st_mtime_ns == back
    assert (tmp_path / "copy/other.cc").read_text(encoding="utf-8") == "int changed;\n"
