"""A newcomer follows the README to the letter, so its commands and examples are real."""

import re
import shlex
import subprocess

import pytest

from tree import ROOT, documents, read, tracked_files

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
BUILD = ROOT / "build/release"
EXAMPLES = sorted(path for path in tracked_files() if path.parts[0] == "examples" and path.suffix == ".yaml")


def together(path):
    """Files of one folder speak of one another."""
    return path if str(path.parent) == "examples" else path.parent


def blocks(text, language):
    return [body for found, body in BLOCK.findall(text) if found == language]


def commands(text):
    """Words of each command of each sh block, without sudo and comments."""
    for body in blocks(text, "sh"):
        for line in body.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and (words[0] == "sudo" or re.fullmatch(r"\w+=\S*", words[0])):
                words = words[1:]
            if words:
                yield words


def binary(name):
    found = sorted(BUILD.glob(f"agent/**/{name}"))
    return next((path for path in found if path.is_file()), None)


def help_of(*command):
    result = subprocess.run([*map(str, command), "--help"], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, f"{command}: {result.stderr}"
    return result.stdout


def test_the_two_commands_stand_at_the_top():
    top = read("README.md").split("\n## ")[0]
    assert [words[0] for words in commands(top)] == ["scripts/demo", "scripts/test"]


def test_scripts_that_docs_run_exist():
    missing = [f"{path}: {' '.join(words)}" for path in documents() for words in commands(read(path))
               if words[0].startswith("scripts/") and not (ROOT / words[0]).exists() and words[0] != "scripts/demo"]
    assert not missing


@pytest.mark.parametrize("program", ["grantd", "grantctl"])
def test_commands_and_options_that_docs_use_exist(program):
    path = binary(program)
    if path is None:
        pytest.skip(f"{program} is not built yet")
    whole = help_of(path)
    for document in documents():
        for words in commands(read(document)):
            if words[0].rsplit("/", 1)[-1] != program or len(words) < 2:
                continue
            verb = words[1]
            if verb.startswith("-"):
                assert verb.split("=")[0] in whole, f"{document}: {words}"
                continue
            assert re.search(rf"^\s+{re.escape(verb)}\b", whole, re.M), f"{document}: no command {verb}"
            text = help_of(path, verb) + whole
            for word in words[2:]:
                if word.startswith("--"):
                    assert word.split("=")[0] in text, f"{document}: {' '.join(words)}: no option {word}"


def test_the_example_of_the_readme_is_the_file():
    assert read("examples/minimal.yaml") in blocks(read("README.md"), "yaml")


@pytest.mark.parametrize("path", sorted({together(path) for path in EXAMPLES}), ids=str)
def test_examples_are_accepted(path):
    grantd = binary("grantd")
    if grantd is None:
        pytest.skip("grantd is not built yet")
    result = subprocess.run([str(grantd), "check", str(ROOT / path)], capture_output=True, text=True, timeout=30,
                            check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_wrong_example_is_refused(tmp_path):
    grantd = binary("grantd")
    if grantd is None:
        pytest.skip("grantd is not built yet")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(read("examples/minimal.yaml").replace("198.51.100.0/24", "198.51.100.1/24"), encoding="utf-8")
    result = subprocess.run([str(grantd), "check", str(wrong)], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 1, result.stdout
    assert "198.51.100.1/24" in result.stdout + result.stderr


def test_readers_of_this_check_work():
    text = "```sh\nsudo A=1 grantd run --manifests X  # why\n```\n"
    assert list(commands(text)) == [["grantd", "run", "--manifests", "X"]]
