"""C++ is as clang-format has it. The C of the datapath is laid out by hand where tables are read better so."""

import subprocess

from tree import ROOT, tracked_files

BY_HAND = ("bpf/", "maps/abi/")


def badly_formatted(command, **options):
    done = subprocess.run(["clang-format", "--dry-run", *command], capture_output=True, text=True, cwd=ROOT, check=True, **options)
    return sorted({line.split(":")[0] for line in done.stderr.splitlines() if "-Wclang-format-violations" in line})


def test_the_sources_are_formatted():
    files = [str(path) for path in tracked_files() if path.suffix in (".cc", ".h") and not str(path).startswith(BY_HAND)]
    assert len(files) > 100
    assert not badly_formatted(files), "clang-format -i mends it"


def test_this_check_can_fail():
    assert badly_formatted(["--assume-filename=maps/sample.cc"], input="int  f( ) ;\n") == ["maps/sample.cc"]
