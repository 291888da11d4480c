"""The suites of this machine's build, inside other kernels. See --help."""

import argparse
import json
import pathlib
import shutil
import sys
import time

import evasion
import kernels
import machine

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from digests import digest  # noqa: E402  pylint: disable=wrong-import-position

KEPT = ROOT / "docs/assurance/kernels.json"
EPILOG = """examples:
  vmtest/run                         prog and kernel on each kernel
  vmtest/run --kernel 6.1            on one
  vmtest/run --suite load            only whether each kernel takes all programs
  vmtest/run --suite evasion --keep  what docs/evasion.md names and needs no cluster; an hour for each kernel
  vmtest/run --suite netns           all real traffic, which takes hours in a machine that is emulated

Exit status: 0 if every suite ran at least one test on every kernel and none failed; 1 if not; 2 on wrong usage. A
kernel that cannot be had is a skip, is told with its reason, and is no failure unless none could be had."""
SUITES = {
    "load": "build/release/tests/kernel --gtest_filter='OfAll/Verifier.*' --gtest_output=json:/vmtest-results/load.json",
    "prog": "build/release/tests/prog --gtest_output=json:/vmtest-results/prog.json",
    "model": "build/release/tests/model --gtest_output=json:/vmtest-results/model.json",
    "kernel": "build/release/tests/kernel --gtest_output=json:/vmtest-results/kernel.json",
    # What this machine's own kernel may lack.
    "fair-queues": f"{evasion.PYTEST} tests/netns/test_shaping.py -k 'told or take_turns'",
    # Limits of bandwidth mean nothing there.
    "netns": f"{evasion.PYTEST} --deselect tests/netns/test_bandwidth.py tests/netns",
    "evasion": None,  # evasion.command says what it is
}
REAL_TRAFFIC = ("fair-queues", "netns", "evasion")
SECONDS = {"load": 300, "prog": 900, "model": 3600, "kernel": 1500, "fair-queues": 300, "netns": 7200, "evasion": 10800}


def counts_of_gtest(path):
    told = json.loads(path.read_text(encoding="utf-8"))
    cases = [case for suite in told["testsuites"] for case in suite["testsuite"]]
    skipped = [case for case in cases if case.get("result") == "SKIPPED"]
    failed = [f"{case['classname']}.{case['name']}" for case in cases if case.get("failures")]
    walked = {}
    for case in cases:
        for name, value in case.items():
            if name.startswith("verified_insns."):
                name = name.removeprefix("verified_insns.")
                walked[name] = max(walked.get(name, 0), int(value))
    return {"passed": len(cases) - len(skipped) - len(failed), "failed": failed, "skipped": len(skipped), "verified_instructions": walked}


def counts_of_pytest(path):
    words = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1].replace(",", "").split()
    count = {what: int(number) for number, what in zip(words, words[1:]) if number.isdigit()}
    failed = count.get("failed", 0) + count.get("error", 0) + count.get("errors", 0)
    return {"passed": count.get("passed", 0), "failed": [f"{failed} tests, see {path}"] if failed else [], "skipped": count.get("skipped", 0)}


def counts_of(suite, results):
    if suite == "evasion":
        return evasion.counts(results)
    of_gtest = results / f"{suite}.json"
    return counts_of_gtest(of_gtest) if of_gtest.exists() else counts_of_pytest(results / "log")


def run_suite(kernel, suite, results, asked):
    """What one suite says on one kernel."""
    before = evasion.ended_well(results) if suite == "evasion" and asked.again else []
    if results.exists():
        shutil.rmtree(results)
    results.mkdir(parents=True)
    (results / evasion.BEFORE).write_text(json.dumps(before), encoding="utf-8")
    command = evasion.command(name for name, _, _ in before) if suite == "evasion" else SUITES[suite]
    # What takes a second here takes some of an emulated machine's.
    script = f"export GRANTD_TEST_PATIENCE=4\ncd {ROOT}\n{{\n{command}\n}} >/vmtest-results/log 2>&1\n"
    if SECONDS[suite] > 1500:
        print(f"{kernel.version}: {suite} takes long; what it says so far is in {results / 'log'}", file=sys.stderr, flush=True)
    begin = time.monotonic()
    try:
        status = machine.run(kernel, script, results, SECONDS[suite], asked.kvm, "single" if suite in REAL_TRAFFIC else "multi")
    except machine.Failed as failure:
        # Its parts that came to an end have said something by then.
        told = evasion.counts(results) if suite == "evasion" else {"passed": 0, "failed": [], "skipped": 0}
        return {**told, "failed": [*told["failed"], str(failure)], "seconds": round(time.monotonic() - begin)}
    told = counts_of(suite, results)
    if status != 0 and not told["failed"]:
        told["failed"].append(f"exit status {status}, see {results / 'log'}")
    return {**told, "seconds": round(time.monotonic() - begin)}


def print_row(name, version, suite, told):
    print(f"{name:6} {version:28} {suite:8} {told['passed']:5} passed  {len(told['failed']):3} failed  {told['skipped']:3} skipped  "
          f"{told['seconds']:5}s", flush=True)
    for each in told["failed"]:
        print(f"       {each}", flush=True)


def print_instructions(rows):
    walked = {row["kernel"]: row["verified_instructions"] for row in rows if row.get("verified_instructions")}
    if not walked:
        return
    print("\ninstructions that the verifier walks, most of any configuration")
    print(f"{'':20}" + "".join(f"{name:>10}" for name in walked))
    for program in sorted({program for each in walked.values() for program in each}):
        print(f"{program:20}" + "".join(f"{each.get(program, '-'):>10}" for each in walked.values()))


def keep(rows):
    """Rows of a kernel and a suite replace what was kept of them; a suite that did not run here stays as it was."""
    datapath = digest()
    kept = {(row["kernel"], row["suite"]): row for row in json.loads(KEPT.read_text(encoding="utf-8"))["rows"]} if KEPT.exists() else {}
    kept |= {(row["kernel"], row["suite"]): {**row, "datapath": datapath} for row in rows if "suite" in row}
    KEPT.write_text(json.dumps({"rows": [kept[each] for each in sorted(kept)]}, indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(prog="vmtest/run", description=__doc__.splitlines()[0], epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", action="append", choices=list(kernels.SUITES), help="all by default; may stand again")
    parser.add_argument("--suite", action="append", choices=list(SUITES), help="prog and kernel by default; may stand again")
    parser.add_argument("--json", type=pathlib.Path, help="keeps the table in this file")
    parser.add_argument("--keep", action="store_true", help="and what it says of the suites that ran in docs/assurance/kernels.json")
    parser.add_argument("--again", action="store_true", help="of evasion, only what has failed or not run there the last time")
    parser.add_argument("--kvm", action="store_true", help="not emulated; nested KVM may not start these kernels at all")
    asked = parser.parse_args()
    rows, skipped = [], 0
    for name in asked.kernel or kernels.SUITES:
        try:
            kernel = kernels.kernel(name)
        except kernels.NotToBeHad as why:
            print(f"{name:6} skipped: {why}", flush=True)
            rows.append({"kernel": name, "skipped": str(why)})
            skipped += 1
            continue
        for suite in asked.suite or ("prog", "kernel"):
            told = run_suite(kernel, suite, ROOT / "build/vmtest" / f"{name}-{suite}", asked)
            print_row(name, kernel.version, suite, told)
            rows.append({"kernel": name, "version": kernel.version, "suite": suite, **told})
    print_instructions(rows)
    if asked.json:
        asked.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n", encoding="utf-8")
    if asked.keep:
        keep(rows)
    ran = [row for row in rows if "suite" in row]
    return 0 if ran and all(row["passed"] > 0 and not row["failed"] for row in ran) else 1


if __name__ == "__main__":
    sys.exit(main())
