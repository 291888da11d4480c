"""What became of each mutant that was ever tried, as long as the file that it changes is the same."""

import hashlib
import json

OUTCOMES = ("killed", "survived", "refused", "same_code", "not_compiled")


def read(path):
    """What such a file holds: by digest of a mutant (outcome, digest of all sources that it was tried on)."""
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {digest: (outcome, sources) for sources, outcomes in held.items()
            for outcome, digests in outcomes.items() for digest in digests}


class Outcomes:
    """By a digest of the change's text and of the file that it is made to. What this machine tried stands in build/, what
    others kept in docs/assurance/; of each, on which sources it was tried."""

    def __init__(self, root, name, sources):
        self.sources = sources  # a digest of all of them
        self.here, self.kept = root / "build" / name, root / "docs" / "assurance" / name
        self.of = read(self.kept) | read(self.here)  # by digest: (outcome, sources)

    def __contains__(self, mutant):
        return mutant["digest"] in self.of

    def __getitem__(self, mutant):
        return self.of[mutant["digest"]][0]

    def is_of_these_sources(self, mutant):
        return self.of[mutant["digest"]][1] == self.sources

    def add(self, mutant, outcome):
        self.of[mutant["digest"]] = outcome, self.sources
        self.here.parent.mkdir(exist_ok=True)
        self._write(self.here, self.of)

    def forget(self, mutants):
        for mutant in mutants:
            del self.of[mutant["digest"]]

    def keep(self, mutants):
        self._write(self.kept, {mutant["digest"]: self.of[mutant["digest"]] for mutant in mutants if mutant in self})

    @staticmethod
    def _write(path, of):
        outcomes = {sources: {outcome: sorted(digest for digest, became in of.items() if became == (outcome, sources))
                              for outcome in OUTCOMES} for sources in sorted({sources for _, sources in of.values()})}
        new = path.with_suffix(".new")
        new.write_text(json.dumps(outcomes, indent=1) + "\n", encoding="utf-8")
        new.replace(path)


def digest_of(key, text):
    return hashlib.sha256(f"{key}\0{text}".encode()).hexdigest()[:12]
