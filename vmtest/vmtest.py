"""The suites of this machine's build, inside other kernels. See --help."""

import argparse
import json
import pathlib
import shutil
import sys
import time

import kernels
import machine

ROOT = pathlib.Path(__file__).resolve().parent.parent
EPILOG = """examples:
  vmtest/run                         prog and kernel on each kernel
  vmtest/run --kernel 6.1            on one
  vmtest/run --suite load            only whether each kernel takes all programs
  vmtest/run --suite netns           real traffic, which takes long in a machine that is emulated

Exit status: 0 if every suite ran at least one test on every kernel and none failed; 1 if not; 2 on wrong usage. A
kernel that cannot be had is a skip, is told with its reason, and is no failure unless none could be had."""
SUITES = {
    "load": "build/release/tests/kernel --gtest_filter='OfAll/Verifier.*' --gtest_output=json:/vmtest-results/load.json",
    "prog": "build/release/tests/prog --gtest_output=json:/vmtest-results/prog.json",
    "kernel": "build/release/tests/kernel --gtest_output=json:/vmtest-results/kernel.json",
    # What this machine's own kernel may lack.
    "fair-queues": "unshare --mount --pid --fork --kill-child --mount-proc /usr/bin/python3 -B -m pytest -q -p no:cacheprovider "
                   "tests/netns/test_shaping.py -k 'told or take_turns'",
    # Limits of bandwidth mean nothing there.
    "netns": "unshare --mount --pid --fork --kill-child --mount-proc /usr/bin/python3 -B -m pytest -q -p no:cacheprovider "
             "--deselect tests/netns/test_bandwidth.py tests/netns",
}
SECONDS = {"load": 300, "prog": 900, "kernel": 1500, "fair-queues": 300, "netns": 7200}


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


def run_suite(kernel, suite, results, kvm):
    """What one suite says on one kernel."""
    if results.exists():
        shutil.rmtree(results)
    results.mkdir(parents=True)
    script = f"cd {ROOT}\n{SUITES[suite]} >/vmtest-results/log 2>&1\n"
    begin = time.monotonic()
    try:
        status = machine.run(kernel, script, results, SECONDS[suite], kvm)
    except machine.Failed as failure:
        return {"passed": 0, "failed": [str(failure)], "skipped": 0, "seconds": round(time.monotonic() - begin)}
    of_gtest = results / f"{suite}.json"
    told = counts_of_gtest(of_gtest) if of_gtest.exists() else counts_of_pytest(results / "log")
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


def main():
    parser = argparse.ArgumentParser(prog="vmtest/run", description=__doc__.splitlines()[0], epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", action="append", choices=list(kernels.SUITES), help="all by default; may stand again")
    parser.add_argument("--suite", action="append", choices=list(SUITES), help="prog and kernel by default; may stand again")
    parser.add_argument("--json", type=pathlib.Path, help="keeps the table in this file")
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
            told = run_suite(kernel, suite, ROOT / "build/vmtest" / f"{name}-{suite}", asked.kvm)
            print_row(name, kernel.version, suite, told)
            rows.append({"kernel": name, "version": kernel.version, "suite": suite, **told})
    print_instructions(rows)
    if asked.json:
        asked.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n", encoding="utf-8")
    ran = [row for row in rows if "suite" in row]
    return 0 if ran and all(row["passed"] > 0 and not row["failed"] for row in ran) else 1


if __name__ == "__main__":
    sys.exit(main())
