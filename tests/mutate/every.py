"""Every mutant that scripts/mutate makes of the sources of now."""

import collections

from agent_sources import sources
from changes import mutants_of
from outcomes import digest_of

LEFT_OUT = {"maps.h": "declares maps"}


def numbered(paths):
    """The mutants of the files of these names. One change of lines that read alike is another mutant in each of them."""
    every, seen = [], collections.Counter()
    for name, path in paths.items():
        whole = path.read_text(encoding="utf-8")
        for mutant in mutants_of(path, name):
            text = f"{name}: {mutant['from']} => {mutant['to']}"
            seen[text] += 1
            mutant["key"] = text if seen[text] == 1 else f"{text} ({seen[text]})"
            mutant["digest"] = digest_of(mutant["key"], whole)
            every.append(mutant)
    return every


def mutants(root, agent):
    if agent:
        return numbered({file: root / file for file in sources(root)})
    return numbered({path.name: path for path in sorted((root / "bpf").glob("*.h")) if path.name not in LEFT_OUT})
