"""What became of each mutant that was ever tried, as long as the sources are the same."""

import hashlib
import json

OUTCOMES = ("killed", "survived", "refused", "same_code", "not_compiled")


def digest_of(key):
    return hashlib.sha256(key.encode()).hexdigest()[:12]


class Outcomes:
    """By a digest of the change's text. What this machine tried stands in build/, what others kept in docs/assurance/."""

    def __init__(self, root, name, sources):
        self.sources = sources  # a digest of them
        self.here, self.kept = root / "build" / name, root / "docs" / "assurance" / name
        self.of = self._read(self.kept) | self._read(self.here)

    def __contains__(self, key):
        return digest_of(key) in self.of

    def __getitem__(self, key):
        return self.of[digest_of(key)]

    def add(self, key, outcome):
        self.of[digest_of(key)] = outcome
        self.here.parent.mkdir(exist_ok=True)
        self._write(self.here, self.of)

    def forget(self, keys):
        for key in keys:
            del self.of[digest_of(key)]

    def keep(self, keys):
        self._write(self.kept, {digest: self.of[digest] for digest in map(digest_of, keys) if digest in self.of})

    def _read(self, path):
        held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if held.get("sources") != self.sources:
            return {}
        return {digest: outcome for outcome, digests in held["outcomes"].items() for digest in digests}

    def _write(self, path, of):
        outcomes = {outcome: sorted(digest for digest, became in of.items() if became == outcome) for outcome in OUTCOMES}
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"sources": self.sources, "outcomes": outcomes}, indent=1) + "\n", encoding="utf-8")
        new.replace(path)
