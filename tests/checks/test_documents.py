"""Docs and code name the same things: links resolve; maps, reasons, metrics, files and tests exist."""

import pathlib
import re
import subprocess
import sys

import pytest

from tree import ROOT, complaints, documents, read, sources, tracked_files

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE_SPAN = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
PATH = re.compile(r"(?:bpf|maps|crd-sync|agent|tests|scripts|docs|examples|deploy|\.ci)/[\w./-]*[\w/]")
OUR_NAME = re.compile(r"\bgrantd_[a-z0-9_]+\b")
REASON = re.compile(r"^\tX\((\d+), (\w+), \"(\w+)\", (\w+), \"([^\"]+)\"\)", re.M)
MAP = re.compile(r"^\} (grantd_\w+) SEC\(\"\.maps\"\);", re.M)
NAMES = r"`\w+`(?:, `\w+`)*"
NAMES_IN_FILE = re.compile(rf"({NAMES}) in `(bpf/\w+\.h)`")
FILE_WITH_NAMES = re.compile(rf"`(bpf/\w+\.h)` (?:\(|compares )({NAMES})")
STEP = re.compile(r"--> (\w+_\w+) -")
METRIC = re.compile(r"\"(grantd_[a-z0-9_]+)\"")


def anchor(heading):
    """As GitHub makes it."""
    text = re.sub(r"[`*]", "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors_of(text):
    return {anchor(line.lstrip("#")) for line in FENCE.sub("", text).splitlines() if line.startswith("#")}


# Documents that the index names and that other steps of this milestone bring. Empty at its end.
PENDING = set()


def links(path, text):
    for target in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        goal = (ROOT / path).parent / name if name else ROOT / path
        if str(goal.resolve().relative_to(ROOT)) in PENDING and not goal.exists():
            continue
        if not goal.exists():
            yield f"links to {target}, which is not there"
        elif fragment and goal.suffix == ".md" and fragment not in anchors_of(goal.read_text(encoding="utf-8")):
            yield f"links to {target}, which has no such heading"


def paths_exist(_path, text):
    for span in CODE_SPAN.findall(FENCE.sub("", text)):
        for found in PATH.findall(span):
            if span.startswith(found) and not (ROOT / found.split("::")[0]).exists() and "NNNN" not in found:
                yield f"names `{found}`, which is not there"


def names_in_code():
    texts = (read(path) for path in tracked_files() if path.suffix in (".h", ".c", ".cc", ".txt", ".py", ".json", "")
             and not str(path).startswith("tests/fuzz/corpus/"))
    return {name for text in texts for name in OUR_NAME.findall(text)}


def maps_of_the_object():
    return set(MAP.findall(read("bpf/maps.h")))


def reasons():
    return {label: (int(number), verdict, sentence)
            for number, _, label, verdict, sentence in REASON.findall(read("maps/abi/reasons.h"))}


def metrics_in_code():
    return {name for path in sources() if str(path).startswith("agent/metrics/") for name in METRIC.findall(read(path))}


def document(name):
    if not (ROOT / name).exists():
        pytest.skip(f"{name} is not there yet")
    return read(name)


def headed(text):
    """Names that a document gives a heading or a first table cell."""
    cells = re.findall(r"^\|\s*`([a-z0-9_]+)`", text, re.M)
    return set(re.findall(r"^#+ .*?`([a-z0-9_]+)`", text, re.M)) | set(cells)


def test_links_resolve():
    assert not complaints(links, documents())


def test_paths_that_docs_name_exist():
    assert not complaints(paths_exist, documents())


def test_names_of_ours_that_docs_use_exist():
    known = names_in_code()

    def unknown(_path, text):
        for name in sorted(set(OUR_NAME.findall(text)) - known):
            # grantd_flow_v1 is the pin of grantd_flow.
            if re.sub(r"_v\d+$", "", name) not in known:
                yield f"names {name}, which no source knows"
    assert not complaints(unknown, documents())


def test_every_map_is_explained():
    explained = headed(document("docs/maps.md"))
    there = maps_of_the_object()
    assert len(there) >= 18
    assert not there - explained, "maps without a section"
    assert not {name for name in explained if name.startswith("grantd_")} - there, "sections without a map"


def test_every_example_of_a_map_has_an_entry():
    examples = re.findall(r"<!-- example (\w+) -->\n```json\n(.*?)\n```\n", document("docs/maps.md"), re.S)
    assert len(examples) >= 18
    assert not [name for name, entry in examples if not entry.startswith("{")]


def numbers_for_words():
    """Fields of the layouts whose comment names an enum, or flags."""
    field = re.compile(r"(\w+)(?:\[\w+\])?;\s*/\* (?:enum grantd_|GRANTD_\w+_\*)")
    return {name for path in sources() if str(path).startswith("maps/abi/") for name in field.findall(read(path))}


def test_every_number_that_stands_for_a_word_is_explained():
    there = numbers_for_words()
    assert len(there) >= 10
    assert not there - headed(document("docs/maps.md"))


def gate_reasons():
    body = read("agent/ctl/view/drops.cc").split("gate_reasons() {", 1)[1].split("return reasons;", 1)[0]
    return set(re.findall(r'\{"(\w+)",', body))


def test_every_reason_is_explained():
    text, at_the_gate = document("docs/reasons.md").split("## At the gate")
    there, of_gate = reasons(), gate_reasons()
    assert len(there) >= 40 and len(of_gate) >= 2
    assert not set(there) - headed(text), "reasons without a row"
    assert not headed(text) - set(there), "rows without a reason"
    assert headed(at_the_gate) == of_gate


def test_every_metric_is_explained():
    text = document("docs/metrics.md")
    there = metrics_in_code()
    if not there:
        pytest.skip("no metrics in the code yet")
    named = {name for name in OUR_NAME.findall(text) if not name.endswith("_")}
    assert not there - named, "metrics that the document does not name"


def where_rules_stand(text):
    """The last cells of the rules in docs/datapath.md."""
    return [row.rstrip(" |").rpartition(" | ")[2] for row in re.findall(r"^\| \d+ \|.*\|$", text, re.M)]


def names_with_files(cells):
    for cell in cells:
        for names, file in NAMES_IN_FILE.findall(cell):
            yield from ((name, file) for name in CODE_SPAN.findall(names))
        for file, names in FILE_WITH_NAMES.findall(cell):
            yield from ((name, file) for name in CODE_SPAN.findall(names))


def test_what_docs_name_of_the_datapath_stands_where_they_say():
    text = document("docs/datapath.md")
    cells = where_rules_stand(text)
    assert len(cells) == 14
    found = set(names_with_files(cells))
    # No name is passed over for how its cell is written.
    assert {name for name, _ in found} == {span for cell in cells for span in CODE_SPAN.findall(cell) if "/" not in span}
    assert not {(name, file) for name, file in found if not re.search(rf"\b{name}\b", read(file))}


def test_the_steps_of_a_packets_path_are_functions_of_the_datapath():
    steps = set(STEP.findall(document("docs/datapath.md")))
    assert len(steps) >= 5
    sources_of_it = "".join(read(path) for path in sources() if path.parts[0] == "bpf")
    assert not {step for step in steps if not re.search(rf"\b{step}\(", sources_of_it)}


def test_the_index_names_every_document():
    index = document("docs/README.md")
    for path in documents():
        if path.parts[0] == "docs" and path.name != "README.md":
            assert str(path.relative_to("docs")) in index, f"docs/README.md does not link {path}"


def test_decisions_are_numbered_without_gaps():
    numbers = sorted(int(path.name[:4]) for path in documents() if path.parent.name == "decisions"
                     and re.match(r"\d{4}-[a-z0-9-]+\.md$", path.name))
    if not numbers:
        pytest.skip("no decisions yet")
    assert numbers == list(range(1, len(numbers) + 1))


def test_these_checks_can_fail():
    path = pathlib.PurePosixPath("README.md")
    assert list(links(path, "[x](no/such.md)"))
    assert list(paths_exist(path, "see `bpf/no_such.h`"))
    assert headed("| `too_short` | drop |\n## `vlan_tag`\n") == {"too_short", "vlan_tag"}
    assert set(names_with_files(["`a`, `b` in `bpf/x.h`; `bpf/y.h` (`c`)"])) == {("a", "bpf/x.h"), ("b", "bpf/x.h"), ("c", "bpf/y.h")}
    assert anchor("## What `X` does?".lstrip("#")) == "what-x-does"


@pytest.mark.parametrize("page", ["performance", "assurance"])
def test_a_page_of_figures_says_what_was_measured(page):
    done = subprocess.run([sys.executable, "-B", str(ROOT / f"scripts/docs_{page}.py"), "--check"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_plots_of_bandwidth_say_what_was_measured():
    done = subprocess.run([sys.executable, "-B", str(ROOT / "scripts/plot_bandwidth.py"), "--check"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
