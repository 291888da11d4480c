"""Digests of sources: of which ones a figure is that somebody has measured."""

import hashlib
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def digest_of(paths):
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def digest():
    """Of the datapath's sources: which datapath it is."""
    return digest_of([*(ROOT / "bpf").glob("*.[hc]"), *(ROOT / "maps/abi").glob("*.h")])


def which(was, now, by_commit=None):
    """On which sources something was measured. Files that were kept without that have it from the commit that they came with."""
    return f"`{was}`" + (f", reckoned from commit {by_commit}" if by_commit else "") + ("" if was == now else " (older than that of now)")
