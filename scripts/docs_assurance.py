"""The tables of docs/assurance.md, out of what scripts/prove, scripts/mutate, scripts/faults and vmtest/run keep in
docs/assurance/.

  /usr/bin/python3 scripts/docs_assurance.py                      writes them
  /usr/bin/python3 scripts/docs_assurance.py --check              fails where the page says otherwise
  /usr/bin/python3 scripts/docs_assurance.py --digest             of the datapath's sources
  /usr/bin/python3 scripts/docs_assurance.py --keep-model STATE   takes over what scripts/prove has counted so far
  /usr/bin/python3 scripts/docs_assurance.py --kept-model SEED STATE   gives that back, for it to go on from
  /usr/bin/python3 scripts/docs_assurance.py --keep-faults TOLD   takes over what scripts/faults has counted
"""

import hashlib
import json
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "assurance.md"
FIGURES = ROOT / "docs" / "assurance"
BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.S)
ASKED = {"packets": 10_000_000, "sequences": 100_000}
ASKED_SCORE = 95


def digest_of(sources):
    total = hashlib.sha256()
    for path in sorted(sources):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def digest():
    """Of the datapath's sources: which datapath the counts are of."""
    return digest_of([*(ROOT / "bpf").glob("*.[hc]"), *(ROOT / "maps/abi").glob("*.h")])


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
    text = json.dumps({"kernel": os.uname().release, "rows": rows}, indent=1)
    (FIGURES / "faults.json").write_text(text + "\n", encoding="utf-8")


def table(header, rows, align="---:"):
    lines = [header, ["---"] + [align] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def bound(number):
    """None seen in N: the rate is below 3/N with 95 % confidence."""
    return f"{3 / number:.1e}" if number else "none"


def model(figures):
    run = figures["model"]
    counts = run["counts"]
    rows = []
    for name in ("packets", "sequences"):
        asked = ASKED[name]
        rows.append([name, f"{counts[name]:,}", f"{asked:,}", "met" if counts[name] >= asked else "**not yet**"])
    rows += [["of the packets, passed", f"{counts['passed']:,}", "", ""],
             ["worlds of manifests", f"{counts['worlds']:,}", "", ""],
             ["frames that the test interface does not take", f"{counts['not_taken_by_test_run']:,}", "", ""],
             ["disagreements", f"{counts['disagreements']:,}", "0", "met" if not counts["disagreements"] else "**missed**"]]
    text = table(["", "so far", "asked for", ""], rows)
    text += f"\nSeed {run['seed']}, Linux {run['kernel']}, datapath `{run['datapath']}` (a digest of `bpf/` and `maps/abi/`).\n"
    if not counts["disagreements"]:
        text += (f"None was seen in {counts['packets']:,} packets: of packets that are drawn as these were, fewer than "
                 f"{bound(counts['packets'])} are judged otherwise, with 95 % confidence. Of sequences: fewer than "
                 f"{bound(counts['sequences'])}.\n")
    return text


def reasons(figures):
    met = figures["model"]["counts"]["by_reason"]
    return table(["reason", "packets"], [[f"`{name}`", f"{number:,}"] for name, number in
                                          sorted(met.items(), key=lambda item: -item[1])])


def mutation(figures):
    return mutation_of(figures["mutation"], "scripts/mutate")


def mutation_agent(figures):
    return mutation_of(figures["mutation-agent"], "scripts/mutate --agent")


def mutation_of(told, command):
    judged = told["killed"] + told["survived"]
    explained = sum(1 for survivor in told["survivors"] if survivor["why"])
    score = 100 * told["killed"] / judged if judged else 0
    return table(["", ""], [
        [f"mutants that `{command}` makes", f"{told['mutants']:,}"],
        [f"tried so far, drawn by chance (seed {told['seed']})" if told["seed"] is not None else "tried so far",
         f"{told['tried']:,}"],
        ["of these, since any of the sources has changed (the others, since their own file has)", f"{told['tried_on_these_sources']:,}"],
        ["not compiled, or the code of the original", f"{told['not_compiled'] + told['same_code']:,}"],
        ["refused by the verifier", f"{told['refused_by_verifier']:,}"],
        ["noticed by the suites", f"{told['killed']:,}"],
        ["survived", f"{told['survived']:,}"],
        ["of these, explained one by one", f"{explained:,}"],
        [f"score, of those that ran (asked for: {ASKED_SCORE} %)", f"{score:.1f} %"]])


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


def kernels(figures):
    rows = []
    for row in rows_of(figures, "evasion"):
        states = list(row["classes"].values())
        asked = len(states) - states.count("needs a cluster")
        rows.append([row["version"], f"{states.count('green')} of {asked}", states.count("partly"), f"{row['passed']:,}", row["skipped"],
                     len(row["failed"])])
    left = {number for row in rows_of(figures, "evasion") for number, state in row["classes"].items() if state == "needs a cluster"}
    return table(["Linux", "classes green", "green but for a test that is skipped", "tests passed", "skipped", "failed"], rows) + (
        f"\nNot applicable there, for their tests need a cluster, which runs on this machine's kernel alone: classes "
        f"{', '.join(sorted(left, key=int))}.\n")


def kernels_suites(figures):
    rows = [[row["version"], f"`{suite}`", f"{row['passed']:,}", row["skipped"], len(row["failed"])]
            for suite in ("prog", "kernel", "model", "fair-queues") for row in rows_of(figures, suite)]
    return table(["Linux", "suite", "tests passed", "skipped", "failed"], rows, "---") if rows else "None yet.\n"


def kernels_skipped(figures):
    rows = sorted({(f"`{name}`", row["version"], why) for row in rows_of(figures, "evasion") for name, why in row["why_skipped"].items()})
    return table(["skipped", "Linux", "why"], rows, "---") if rows else "Nothing was skipped.\n"


def instructions(figures):
    rows = rows_of(figures, "load")
    programs = sorted({name for row in rows for name in row["verified_instructions"]})
    return table(["program", *(row["version"] for row in rows)],
                 [[f"`{name}`", *(f"{row['verified_instructions'][name]:,}" for row in rows)] for name in programs])


def faults(figures):
    run = figures["faults"]
    rows = []
    for row in run["rows"]:
        way = row["way"] if row["way"].startswith("killed") else f"{row['way']} fails"
        rows.append([f"{way}, at {row['at']}", f"{row['calls']:,}", "each" if row["each"] else f"{row['asked']:,}",
                     f"{row['happened']:,}"])
    total = sum(row["happened"] for row in run["rows"])
    return table(["", "such calls where nothing fails", "to fail, one at a time", "happened, and survived closed"], rows) + (
        f"\nLinux {run['kernel']}. {total:,} in all, none of which left a guest open. What did not happen was to fail at a call that "
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
