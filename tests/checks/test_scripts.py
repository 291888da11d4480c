"""Scripts: shellcheck is content, --help answers, wrong usage is told apart from failure."""

import os
import pathlib
import subprocess

import pytest

from tree import ROOT, shell_scripts

SCRIPTS = shell_scripts()


def run(command, **options):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, **options)


def test_shellcheck():
    assert SCRIPTS
    result = run(["shellcheck", *map(str, SCRIPTS)])
    assert result.returncode == 0, result.stdout + result.stderr


def test_shellcheck_can_fail(tmp_path):
    bad = tmp_path / "bad"
    bad.write_text("#!/bin/bash\nrm -rf $1/*\n", encoding="utf-8")
    assert run(["shellcheck", str(bad)]).returncode != 0


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_scripts_are_executable_and_strict(script):
    assert os.access(ROOT / script, os.X_OK)
    text = (ROOT / script).read_text(encoding="utf-8")
    assert "\nset -euo pipefail\n" in text or "\nset -uo pipefail\n" in text


@pytest.mark.parametrize("script", ["scripts/test", "scripts/bench", "scripts/demo", "scripts/fuzz", "scripts/image", "scripts/prove",
                                    "scripts/mutate", "scripts/faults"])
def test_help_answers_without_root_or_build(script):
    if not (ROOT / script).exists():
        pytest.skip(f"{script} is not there yet")
    result = run([script, "--help"])
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) >= 3


def test_an_unknown_suite_is_wrong_usage():
    result = run(["scripts/test", "no-such-suite"])
    assert result.returncode == 2
    assert "no-such-suite" in result.stderr and "accepted:" in result.stderr


def test_an_unknown_fuzzer_is_wrong_usage():
    result = run(["scripts/fuzz", "no-such-target"])
    assert result.returncode == 2
    assert "no-such-target" in result.stderr and "manifests" in result.stderr


def test_no_suite_is_passed_over_in_silence():
    text = (ROOT / "scripts/test").read_text(encoding="utf-8")
    assert "continue" not in text.split('for suite in "${suites[@]}"; do', 1)[1]


def test_the_gate_runs_the_tests():
    assert "scripts/test" in pathlib.Path(ROOT / ".ci/run").read_text(encoding="utf-8")


def test_what_is_explained_of_mutants_is_one_still():
    every = {line[5:] for options in ([], ["--agent"]) for line in run(["scripts/mutate", *options, "--list"]).stdout.splitlines()}
    explained = [line for line in (ROOT / "tests/mutate/explained.txt").read_text(encoding="utf-8").splitlines()
                 if line and not line.startswith((" ", "#"))]
    assert len(every) > 1000 and explained
    assert not set(explained) - every
