"""The tables of docs/assurance.md, out of what scripts/prove, scripts/mutate, scripts/faults and vmtest/run keep in
docs/assurance/.

  /usr/bin/python3 scripts/docs_assurance.py                      writes them
  /usr/bin/python3 scripts/docs_assurance.py --check              fails where the page says otherwise
  /usr/bin/python3 scripts/docs_assurance.py --digest             of the datapath's sources
  /usr/bin/python3 scripts/docs_assurance.py --keep-model STATE   takes over what scripts/prove has counted so far
  /usr/bin/python3 scripts/docs_assurance.py --kept-model SEED STATE   gives that back, for it to go on from
  /usr/bin/python3 scripts/docs_assurance.py --keep-faults TOLD   takes over what scripts/faults has counted
"""

import json
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / each) for each in ("scripts", "tests/mutate", "vmtest")]
import evasion  # noqa: E402  pylint: disable=wrong-import-position
import outcomes  # noqa: E402  pylint: disable=wrong-import-position
from agent_sources import sources  # noqa: E402  pylint: disable=wrong-import-position
from digests import digest, digest_of, which  # noqa: E402  pylint: disable=wrong-import-position
from every import mutants  # noqa: E402  pylint: disable=wrong-import-position

PAGE = ROOT / "docs" / "assurance.md"
FIGURES = ROOT / "docs" / "assurance"
BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.S)
ASKED = {"packets": 10_000_000, "sequences": 100_000}
ASKED_SCORE = 95


def digest_of_mutated(agent):
    """Of what scripts/mutate changes."""
    return digest_of(ROOT / file for file in sources(ROOT)) if agent else digest()


def keep_model(state):
    counts = json.loads(pathlib.Path(state).read_text(encoding="utf-8"))
    counts["kernel"] = os.uname().release
    FIGURES.mkdir(exist_ok=True)
    (FIGURES / "model.json").write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")


def kept_model(seed, state):
    kept = json.loads((FIGURES / "model.json").read_text(encoding="utf-8"))
    if kept["seed"] != int(seed) or kept["datapath"] != digest():
        sys.exit(f"docs/assurance/model.json is of seed {kept['seed']} and datapath {kept['datapath']}; "
                 f"accepted: seed {seed}, datapath {digest()}")
    pathlib.Path(state).write_text(json.dumps({part: kept[part] for part in ("seed", "datapath", "counts")}) + "\n", encoding="utf-8")


def keep_faults(told):
    rows = [json.loads(line) for line in pathlib.Path(told).read_text(encoding="utf-8").splitlines()]
    text = json.dumps({"kernel": os.uname().release, "datapath": digest(), "rows": rows}, indent=1)
    (FIGURES / "faults.json").write_text(text + "\n", encoding="utf-8")


def table(header, rows, align="---:"):
    lines = [header, ["---"] + [align] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def judged(is_met, told, otherwise):
    """What a figure says of the datapath of now: nothing, where it is of another one."""
    if not is_met:
        return f"**{otherwise}**"
    return "met" if told["datapath"] == digest() else "on an older datapath"


def bound(number):
    """None seen in N: the rate is below 3/N with 95 % confidence."""
    return f"{3 / number:.1e}" if number else "none"


def model(figures):
    run = figures["model"]
    counts = run["counts"]
    rows = []
    for name in ("packets", "sequences"):
        asked = ASKED[name]
        rows.append([name, f"{counts[name]:,}", f"{asked:,}", judged(counts[name] >= asked, run, "not yet")])
    rows += [["of the packets, passed", f"{counts['passed']:,}", "", ""],
             ["worlds of manifests, beside those of the sequences", f"{counts['worlds']:,}", "", ""],
             ["frames that the test interface does not take", f"{counts['not_taken_by_test_run']:,}", "", ""],
             ["disagreements", f"{counts['disagreements']:,}", "0", judged(not counts["disagreements"], run, "missed")]]
    text = table(["", "so far", "asked for", ""], rows)
    text += (f"\nSeed {run['seed']}, Linux {run['kernel']}, datapath (a digest of `bpf/` and `maps/abi/`) "
             f"{which(run['datapath'], digest())}.\n")
    if not counts["disagreements"]:
        text += (f"None was seen. Drawn independently of each other are the worlds, in each of which many packets share the manifests, and "
                 f"the sequences, each of which has a world of its own: drawn as these were, fewer than {bound(counts['worlds'])} of the "
                 f"worlds have a packet, among as many, that is judged otherwise by that datapath, and fewer than "
                 f"{bound(counts['sequences'])} of the sequences, each with 95 % confidence. The {counts['packets']:,} packets say less "
                 f"than their number: fewer than {bound(counts['packets'])} of those that might be drawn in these same worlds and "
                 f"sequences are judged otherwise. Of other manifests the first two bounds speak, and this one does not.\n")
    return text


def reasons(figures):
    met = figures["model"]["counts"]["by_reason"]
    return table(["reason", "packets"], [[f"`{name}`", f"{number:,}"] for name, number in
                                          sorted(met.items(), key=lambda item: -item[1])])


def mutation(figures):
    return mutation_of(figures["mutation"], False)


def mutation_agent(figures):
    return mutation_of(figures["mutation-agent"], True)


def mutation_of(told, agent):
    command, now = "scripts/mutate --agent" if agent else "scripts/mutate", digest_of_mutated(agent)
    kept = outcomes.read(FIGURES / f"mutants{'-agent' if agent else ''}.json")
    every = [mutant["digest"] for mutant in mutants(ROOT, agent)]
    tried = [kept[each] for each in every if each in kept]
    ran = told["killed"] + told["survived"]
    explained = sum(1 for survivor in told["survivors"] if survivor["why"])
    score = 100 * told["killed"] / ran if ran else 0
    whole = told["tried"] == told["mutants"]
    drawn = f", drawn by chance (seed {told['seed']})" if told["seed"] is not None and not whole else ""
    return table(["", ""], [
        [f"mutants that `{command}` makes of the sources of now", f"{len(every):,}"],
        ["of these, kept what became of them: their own file has not changed since", f"{len(tried):,}"],
        ["of these, no other file either", f"{sum(1 for _, sources_then in tried if sources_then == now):,}"],
        [f"tried for the figures below{drawn}, of the {told['mutants']:,} that there were", f"{told['tried']:,}"],
        ["of these, on the sources of then (the others, before another file had changed)", f"{told['tried_on_these_sources']:,}"],
        ["not compiled, or the code of the original", f"{told['not_compiled'] + told['same_code']:,}"],
        ["refused by the verifier", f"{told['refused_by_verifier']:,}"],
        ["noticed by the suites", f"{told['killed']:,}"],
        ["survived", f"{told['survived']:,}"],
        ["of these, explained one by one", f"{explained:,}"],
        [f"score, of those that ran (asked for: {ASKED_SCORE} %)",
         f"{score:.1f} %{'' if told['sources'] == now else ', of older sources'}"]]) + (
             f"\nThe sources of then have the digest {which(told['sources'], now, told.get('sources_by_commit'))}.\n")


def survivors(figures):
    return survivors_of(figures["mutation"])


def survivors_agent(figures):
    return survivors_of(figures["mutation-agent"])


def survivors_of(told):
    rows = [[f"`{each['where']}`", f"`{each['from']}`".replace("|", "\\|"), f"`{each['to']}`".replace("|", "\\|"),
             each["why"] or "**not explained yet**"] for each in told["survivors"]]
    return table(["where", "was", "became", "why nothing notices"], rows, "---") if rows else "None.\n"


def rows_of(figures, suite):
    return [row for row in figures["kernels"]["rows"] if row["suite"] == suite]


def states_of(row):
    """Each class of the page of now in that run. One of whose tests the run had not has not run since; of older runs nobody
    has kept which tests they had."""
    if "tests" not in row:
        return row["classes"]
    ran = set(row["tests"])
    return {str(number): row["classes"].get(str(number), "not run since") if set(tests) <= ran else "not run since"
            for number, tests in evasion.classes().items()}


def kernels(figures):
    rows, left = [], set()
    for row in rows_of(figures, "evasion"):
        states = states_of(row)
        left |= {number for number, state in states.items() if state == "needs a cluster"}
        count = list(states.values()).count
        rows.append([row["version"], f"{count('green')} of {len(states) - count('needs a cluster')}", count("partly"),
                     count("not run since") if "tests" in row else "not recorded", f"{row['passed']:,}", row["skipped"], len(row["failed"]),
                     which(row["datapath"], digest())])
    text = table(["Linux", "classes green", "green but for a test that is skipped", "with a test that is newer than the run", "tests passed",
                  "skipped", "failed", "datapath"], rows)
    text += (f"\nNot applicable there, for their tests need a cluster, which runs on this machine's kernel alone: classes "
             f"{', '.join(sorted(left, key=int))}.\n")
    if any("tests" not in row for row in rows_of(figures, "evasion")):
        text += ("Where it is not recorded which tests ran, a class may have got a test since, in [evasion.md](evasion.md), that has "
                 "never run there.\n")
    return text


def kernels_suites(figures):
    rows = [[row["version"], f"`{suite}`", f"{row['passed']:,}", row["skipped"], len(row["failed"]), which(row["datapath"], digest())]
            for suite in ("prog", "kernel", "model", "fair-queues") for row in rows_of(figures, suite)]
    return table(["Linux", "suite", "tests passed", "skipped", "failed", "datapath"], rows, "---") if rows else "None yet.\n"


def kernels_skipped(figures):
    rows = sorted({(f"`{name}`", row["version"], why) for row in rows_of(figures, "evasion") for name, why in row["why_skipped"].items()})
    return table(["skipped", "Linux", "why"], rows, "---") if rows else "Nothing was skipped.\n"


def instructions(figures):
    rows = rows_of(figures, "load")
    programs = sorted({name for row in rows for name in row["verified_instructions"]})
    return table(["program", *(row["version"] for row in rows)],
                 [[f"`{name}`", *(f"{row['verified_instructions'][name]:,}" for row in rows)] for name in programs]) + (
                     "\nDatapath: " + "; ".join(f"{row['version']}, {which(row['datapath'], digest())}" for row in rows) + ".\n")


def faults(figures):
    run = figures["faults"]
    rows = []
    for row in run["rows"]:
        way = row["way"] if row["way"].startswith("killed") else f"{row['way']} fails"
        rows.append([f"{way}, at {row['at']}", f"{row['calls']:,}", "each" if row["each"] else f"{row['asked']:,}",
                     f"{row['happened']:,}", f"{row['operations_failed']} of {row['operations']}" if row.get("operations") else "–"])
    total = sum(row["happened"] for row in run["rows"])
    return table(["", "such calls where nothing fails", "to fail, one at a time", "happened, and survived closed", "operations of which one failed"], rows) + (
        f"\nLinux {run['kernel']}, datapath {which(run['datapath'], digest(), run.get('datapath_by_commit'))}. {total:,} in all, none of which left a guest open. What did not happen was to fail at a call that "
        f"was not made that time: dumps of netlink vary.\n")


def rendered(text):
    figures = {part: json.loads((FIGURES / f"{part}.json").read_text(encoding="utf-8"))
               for part in ("model", "mutation", "mutation-agent", "faults", "kernels")}
    return BLOCK.sub(lambda found: found[1] + globals()[found[2]](figures) + found[3], text)


def main():
    if sys.argv[1:] == ["--digest"]:
        print(digest())
        return
    if sys.argv[1:2] == ["--keep-model"] and len(sys.argv) == 3:
        keep_model(sys.argv[2])
        return
    if sys.argv[1:2] == ["--kept-model"] and len(sys.argv) == 4:
        kept_model(*sys.argv[2:])
        return
    if sys.argv[1:2] == ["--keep-faults"] and len(sys.argv) == 3:
        keep_faults(sys.argv[2])
        return
    text = PAGE.read_text(encoding="utf-8")
    if sys.argv[1:] == ["--check"]:
        if rendered(text) != text:
            sys.exit("docs/assurance.md does not say what docs/assurance/ holds: run scripts/docs_assurance.py")
        return
    PAGE.write_text(rendered(text), encoding="utf-8")


if __name__ == "__main__":
    main()
