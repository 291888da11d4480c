"""The tests that docs/evasion.md names, as one suite: which of them run without a cluster, and what came of each."""

import json
import pathlib
import re
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| (\d+) \|(.*)\|$", re.M)
TRAFFIC = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
PROGRAM = re.compile(r"`([A-Z]\w+\.[A-Z]\w+)`")
TEST = re.compile(r"\b(?:TEST(?:_F|_P)?|RC_GTEST_(?:FIXTURE_)?PROP)\(\s*(\w+),\s*(\w+)")
BUILD = ROOT / "build/release"
BINARIES = ("unit", "prog", "kernel")
NOT_EMULATED = {"test_bandwidth.py::test_changes_of_the_rate_under_load_give_nothing_away":
                "wants six changes of a rate in five seconds, for which an emulated machine is too slow",
                "test_pod_starts.py::test_nothing_of_a_guest_passes_outside_its_grant":
                "starts pods by the hundred under a flood, for which an emulated machine is too slow",
                "test_waiting.py::test_what_waits_is_not_for_another_interface_of_the_same_index":
                "looks at a queue while it is full, for which an emulated machine is too slow"}
BEFORE = "before.json"  # outcomes of earlier runs that this one goes on from
# Each file is a run of its own: what came of the first ones is known also where a later one does not end.
PYTEST = "unshare --mount --pid --fork --kill-child --mount-proc /usr/bin/python3 -B -m pytest -q -p no:cacheprovider"


def traffic_tests(suite):
    """The names of those of netns, or of e2e, which need a cluster."""
    return {f"{path.name}::{name}" for path in (ROOT / "tests" / suite).glob("test_*.py")
            for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)}


def tests_of(binary):
    return {".".join(found) for path in (ROOT / "tests" / binary).glob("*.cc") for found in TEST.findall(path.read_text(encoding="utf-8"))}


def classes():
    """Number of each class, with the names of its tests that need no cluster, in the order of the page."""
    text = (ROOT / "docs/evasion.md").read_text(encoding="utf-8")
    here = traffic_tests("netns")
    return {int(number): [name for name in (*map("::".join, TRAFFIC.findall(row)), *PROGRAM.findall(row)) if "::" not in name or name in here]
            for number, row in ROW.findall(text)}


def wanted():
    return {name for tests in classes().values() for name in tests}


def command(done=()):
    """What a shell runs in the other kernel, but for the tests named there; results go to /vmtest-results."""
    names = wanted() - set(done) - set(NOT_EMULATED)
    lines, files = [], {}
    for binary in BINARIES:
        if own := ":".join(f"{name}:*/{name}/*" for name in sorted(names & tests_of(binary))):
            lines.append(f"{BUILD}/tests/{binary} --gtest_filter='{own}' --gtest_output=xml:/vmtest-results/{binary}.xml")
    for name in sorted(name for name in names if "::" in name):
        files.setdefault(name.split("::")[0], []).append(f"tests/netns/{name}")
    lines += [f"{PYTEST} --junitxml=/vmtest-results/{file}.xml {' '.join(tests)}" for file, tests in files.items()]
    # Each runs, whatever became of the one before.
    return "failed=0\n" + "".join(f"{line} || failed=1\n" for line in lines) + "[ $failed = 0 ]"


def name_of(path, case):
    """What the page calls a case of that report; one of a suite or a test with parameters has their names about its own."""
    if path.name.endswith(".py.xml"):
        return f"{path.name.removesuffix('.xml')}::{case.get('name').partition('[')[0]}"
    return f"{case.get('classname').rpartition('/')[2]}.{case.get('name').partition('/')[0]}"


def outcomes(results):
    """What each case said, by the name that the page has for it: [(name, "passed" | "failed" | "skipped", why)]."""
    before = results / BEFORE
    told = [(name, "skipped", why) for name, why in NOT_EMULATED.items()]
    told += [tuple(each) for each in json.loads(before.read_text(encoding="utf-8"))] if before.exists() else []
    for path in sorted(results.glob("*.xml")):
        for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
            failed = case.find("failure") is not None or case.find("error") is not None
            skipped = case.find("skipped")
            what = "failed" if failed else "skipped" if skipped is not None else "passed"
            # GoogleTest says first where it was skipped.
            told.append((name_of(path, case), what, skipped.get("message").strip().splitlines()[-1] if what == "skipped" else ""))
    return told


def is_as_it_was(name, since):
    """Neither what is tested nor the test is newer."""
    sources = [BUILD / "agent/grantd"]
    sources += [ROOT / "tests/netns" / name.partition("::")[0]] if "::" in name else [BUILD / "tests" / each for each in BINARIES]
    return all(path.stat().st_mtime < since for path in sources)


def ended_well(results):
    """Outcomes of the tests none of whose cases has failed there, to go on from."""
    script = results / "script"
    if not script.exists():
        return []
    told, since = outcomes(results), script.stat().st_mtime
    failed = {name for name, what, _ in told if what == "failed"}
    return [each for each in told if each[0] not in failed | set(NOT_EMULATED) and is_as_it_was(each[0], since)]


def state_of(tests, failed, skipped):
    """What the tests of a class say together. None of them: they are all tests/e2e's. Green is that all passed, in all cases."""
    if not tests:
        return "needs a cluster"
    if failed & set(tests):
        return "failed"
    left_out = skipped & set(tests)
    return "green" if not left_out else "skipped" if left_out == set(tests) else "partly"


def counts(results):
    """What the suite says: how many cases passed, what failed or did not run, why any was skipped, which tests it had, and each
    class."""
    told, by_class = outcomes(results), classes()
    skipped = {name for name, what, _ in told if what == "skipped"}
    failed = {name for name, what, _ in told if what == "failed"}
    silent = wanted() - {name for name, _, _ in told}
    return {"passed": sum(what == "passed" for _, what, _ in told),
            "failed": sorted(failed) + sorted(f"{name} did not run" for name in silent),
            "skipped": sum(what == "skipped" for _, what, _ in told),
            "why_skipped": {name: why for name, what, why in told if what == "skipped"},
            "tests": sorted({name for name, _, _ in told}),
            "classes": {number: state_of(tests, failed | silent, skipped) for number, tests in by_class.items()}}
