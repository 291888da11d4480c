"""Mutants of agent/compile and agent/plan, for scripts/mutate --agent: where they come from and who has to notice."""

import hashlib
import pathlib
import re
import subprocess

DIRECTORIES = ("agent/compile", "agent/plan")
SECONDS = 300  # more than the suites take: what hangs is noticed


def without_texts(line):
    """Of the same length: an operator in a message is none."""
    return re.sub(r'"(?:\\.|[^"\\])*"', lambda found: '"' + " " * (len(found[0]) - 2) + '"', line)


class AgentSources:
    """A copy of the tree is built once and changed in one line at a time."""

    def __init__(self, root):
        self.root, self.copy = root, root / "build" / "mutate-agent" / "source"
        self.build = self.copy / "build" / "release"

    def paths(self):
        return [path for directory in DIRECTORIES for path in sorted((self.root / directory).glob("*.cc"))]

    def prepare(self):
        """Why it cannot begin, or None."""
        self.copy.mkdir(parents=True, exist_ok=True)
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=self.root, capture_output=True, check=True).stdout
        packed = subprocess.run(["tar", "--null", "-T", "-", "-cf", "-"], cwd=self.root, input=listed, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-xf", "-"], cwd=self.copy, input=packed, check=True)
        for command in (["cmake", "--preset", "release"], self._make()):
            if subprocess.run(command, cwd=self.copy, capture_output=True, check=False).returncode != 0:
                return f"{' '.join(command)} fails without any change"
        return None if self._verdict() == "survived" else "the suites fail without any change"

    def tried(self, mutant):
        path = self.copy / mutant["file"]
        text = path.read_text(encoding="utf-8")
        lines = text.split("\n")
        lines[mutant["line"] - 1] = mutant["text"]
        compiled = next(self.build.glob(f"{pathlib.Path(mutant['file']).parent}/CMakeFiles/*/{path.name}.o"))
        before = hashlib.sha256(compiled.read_bytes()).digest()
        try:
            path.write_text("\n".join(lines), encoding="utf-8")
            if subprocess.run(self._make(), cwd=self.copy, capture_output=True, check=False).returncode != 0:
                return "not_compiled"
            if hashlib.sha256(compiled.read_bytes()).digest() == before:
                return "same_code"
            return self._verdict()
        finally:
            path.write_text(text, encoding="utf-8")
            subprocess.run(self._make(), cwd=self.copy, capture_output=True, check=True)

    @staticmethod
    def _make():
        return ["cmake", "--build", "--preset", "release", "--target", "unit", "model"]

    def _verdict(self):
        tests = self.build / "tests"
        for command in ([tests / "unit", "--gtest_fail_fast"],
                        [tests / "model", "--seed", "5", "--packets", "10000", "--sequences", "60", "--jobs", "5"]):
            try:
                if subprocess.run(command, capture_output=True, timeout=SECONDS, check=False).returncode != 0:
                    return "killed"
            except subprocess.TimeoutExpired:
                return "killed"
        return "survived"
