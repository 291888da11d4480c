"""docs/assurance.md claims of the sources of now only what was measured on them."""

import re
import subprocess
import sys

from tree import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

import docs_assurance  # noqa: E402  pylint: disable=wrong-import-position
import evasion  # noqa: E402  pylint: disable=wrong-import-position
from digests import digest  # noqa: E402  pylint: disable=wrong-import-position

OLDER = "0" * 16


def model(datapath, **counts):
    enough = {"packets": 20_000_000, "sequences": 200_000, "passed": 1, "worlds": 1, "not_taken_by_test_run": 0, "disagreements": 0}
    return docs_assurance.model({"model": {"seed": 1, "kernel": "6.1", "datapath": datapath, "counts": enough | counts}})


def test_a_target_is_met_on_the_datapath_of_now_alone():
    assert model(digest()).count("| met |") == 3
    assert "older" not in model(digest())
    assert "| met |" not in model(OLDER)
    assert model(OLDER).count("| on an older datapath |") == 3


def test_a_target_that_is_missed_stays_so_on_any_datapath():
    for datapath in (digest(), OLDER):
        assert "**missed**" in model(datapath, disagreements=1)
        assert "**not yet**" in model(datapath, packets=1)


def test_a_bound_counts_what_was_drawn_independently():
    text = model(digest(), packets=30_000_000, worlds=6_000, sequences=60_000)
    for said in ("fewer than 5.0e-04 of the worlds", "fewer than 5.0e-05 of the sequences", "fewer than 1.0e-07 of those that might be "
                 "drawn in these same worlds"):
        assert said in text
    assert "fewer than" not in model(digest(), disagreements=1)


def evasion_row(**more):
    classes = {str(number): "green" if tests else "needs a cluster" for number, tests in evasion.classes().items()}
    return {"kernel": "6.1", "version": "6.1.0", "suite": "evasion", "passed": 1, "failed": [], "skipped": 0, "why_skipped": {},
            "classes": classes, "datapath": digest(), **more}


def test_a_class_with_a_test_that_never_ran_there_is_not_green():
    every = evasion.wanted()
    of_class_9 = evasion.classes()[9][0]
    whole, lacks = evasion_row(tests=sorted(every)), evasion_row(tests=sorted(every - {of_class_9}))
    assert docs_assurance.states_of(whole) == whole["classes"]
    changed = {number for number, state in docs_assurance.states_of(lacks).items() if state != lacks["classes"][number]}
    assert changed == {str(number) for number, tests in evasion.classes().items() if of_class_9 in tests}
    assert docs_assurance.states_of(lacks)["9"] == "not run since"


def test_a_class_that_is_newer_than_the_run_is_not_green():
    row = evasion_row(tests=sorted(evasion.wanted()))
    del row["classes"]["9"]
    assert docs_assurance.states_of(row)["9"] == "not run since"


def test_a_run_whose_tests_are_not_recorded_says_so():
    assert "not recorded" in docs_assurance.kernels({"kernels": {"rows": [evasion_row()]}})
    assert "not recorded" not in docs_assurance.kernels({"kernels": {"rows": [evasion_row(tests=sorted(evasion.wanted()))]}})


def test_a_run_keeps_the_names_of_the_tests_that_it_had(tmp_path):
    (tmp_path / "prog.xml").write_text('<testsuites><testsuite><testcase classname="All/Flow" name="OfOneGuestIsNotAnothers/0"/>'
                                       "</testsuite></testsuites>", encoding="utf-8")
    told = evasion.counts(tmp_path)
    assert set(told["tests"]) == {"Flow.OfOneGuestIsNotAnothers", *evasion.NOT_EMULATED}


def test_the_number_of_mutants_is_of_the_sources_of_now():
    for option, agent in ((), False), (("--agent",), True):
        listed = subprocess.run([ROOT / "scripts/mutate", *option, "--list"], capture_output=True, text=True, check=True).stdout
        there = int(re.search(r"(\d+) mutants$", listed.strip())[1])
        told = {"mutants": 1, "sources": OLDER, "seed": 1, "tried": 1, "tried_on_these_sources": 1, "not_compiled": 0, "same_code": 0,
                "refused_by_verifier": 0, "killed": 1, "survived": 0, "survivors": []}
        text = docs_assurance.mutation_of(told, agent)
        assert f"of the sources of now | {there:,} |" in text
        assert "100.0 %, of older sources" in text
        assert "of older sources" not in docs_assurance.mutation_of({**told, "sources": docs_assurance.digest_of_mutated(agent)}, agent)
