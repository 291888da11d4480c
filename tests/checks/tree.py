"""The tracked files of the repository, and the small readers that several checks share."""

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def tracked_files():
    """Paths, relative to the root, of files under version control that are there."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], check=True, capture_output=True, text=True)
    paths = [pathlib.PurePosixPath(name) for name in listed.stdout.split("\0") if name]
    return [path for path in paths if (ROOT / path).is_file()]


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def sources():
    return [path for path in tracked_files() if path.suffix in (".cc", ".h", ".c")]


def documents():
    return [path for path in tracked_files() if path.suffix == ".md"]


def shell_scripts():
    return [path for path in tracked_files()
            if path.suffix in ("", ".sh") and read_first_line(path).startswith("#!") and "sh" in read_first_line(path)]


def read_first_line(path):
    with open(ROOT / path, "rb") as file:
        return file.readline().decode("utf-8", "replace").strip()


def without_code_comments(text):
    """C and C++ without comments, line numbers kept."""
    def blank(match):
        return "\n" * match.group(0).count("\n")
    return re.sub(r'/\*.*?\*/|//[^\n]*', blank, text, flags=re.S)


def complaints(check, paths):
    """Runs check(path, text) over files; its complaints, one a line, as FILE: COMPLAINT."""
    return "\n".join(f"{path}: {complaint}" for path in paths for complaint in check(path, read(path)))
