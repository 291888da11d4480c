"""Mutants of agent/compile and agent/plan, for scripts/mutate --agent: where they come from and who has to notice."""

import contextlib
import filecmp
import hashlib
import pathlib
import queue
import shutil
import subprocess

import suite
from changes import changed_text
from killers import Killers

DIRECTORIES = ("agent/compile", "agent/plan")
# As little as keeps what the compiler can prove to be the same the same.
CONFIGURE = ("cmake", "-G", "Ninja", "-S", ".", "-B", "build/mutants", "-DCMAKE_BUILD_TYPE=Mutants",
             "-DCMAKE_CXX_FLAGS_MUTANTS=-O1 -DNDEBUG -Wno-stringop-overflow", "-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=gold")


def sources(root):
    """Their names from the root of a tree, headers too."""
    return [str(path.relative_to(root)) for directory in DIRECTORIES for suffix in ("cc", "h")
            for path in sorted((root / directory).glob(f"*.{suffix}"))]


def objects_of(file):
    """A pattern of what it is compiled to; of a header all that may have it in it."""
    path = pathlib.Path(file)
    return f"{path.parent}/CMakeFiles/*/{path.name}.o" if path.suffix == ".cc" else "agent/**/*.o"


class Tree:
    """A copy of the tree, built once and changed in one line at a time."""

    def __init__(self, root, copy, killers):
        self.root, self.copy, self.killers = root, copy, killers
        self.build = copy / "build" / "mutants"
        self.compiled = {}  # by pattern (objects_of), their digest without any change

    def prepare(self):
        """Why it cannot begin, or None."""
        self.bring_up_to_date()
        configured = subprocess.run(CONFIGURE, cwd=self.copy, capture_output=True, text=True, check=False)
        if configured.returncode != 0:
            return f"{self.copy} is not configured: {configured.stderr[-2000:]}"
        if not self._made("unit_of_rules"):
            return f"{self.copy} does not build without any change"
        self.compiled = {objects: self._digest(objects) for objects in set(map(objects_of, sources(self.copy)))}
        return None if self.holds() else "the suites fail without any change"

    def bring_up_to_date(self):
        """What is as it is there keeps its time: a source that was changed, and changed back, is newer than its object."""
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=self.root, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            source, copy = self.root / name, self.copy / name
            if not copy.is_file() or not filecmp.cmp(source, copy, shallow=False):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, copy)

    def holds(self):
        """Whether the suites pass without any change."""
        return self._made("unit_of_rules") and self._verdict(None) == "survived"

    def tried(self, mutant):
        path = self.copy / mutant["file"]
        text = path.read_text(encoding="utf-8")
        try:
            path.write_text(changed_text(text, mutant), encoding="utf-8")
            if not self._made("unit_of_rules"):
                return "not_compiled"
            objects = objects_of(mutant["file"])
            if self._digest(objects) == self.compiled[objects]:
                return "same_code"
            return self._verdict(mutant["file"])
        finally:
            path.write_text(text, encoding="utf-8")  # what it was compiled to is made again with the next one

    def _made(self, target):
        return suite.compiles("cmake", "--build", "build/mutants", "--target", target, cwd=self.copy)

    def _digest(self, objects):
        total = hashlib.sha256()
        for compiled in sorted(self.build.glob(objects)):
            total.update(compiled.read_bytes())
        return total.digest()

    def _notices(self, file, *command):
        command = (self.build / "tests" / command[0], *command[1:])
        done = suite.ran(*command)
        if not done:
            return True
        # A test that fails by chance, as on a busy machine, notices nothing.
        if done.returncode == 0 or not suite.fails_again(command, done.stdout):
            return False
        if file:
            self.killers.noticed(file, done.stdout)
        return True

    def _verdict(self, file):
        first = self.killers.filter(file) if file else ""
        if first and self._notices(file, "unit_of_rules", "--gtest_fail_fast", f"--gtest_filter={first}"):
            return "killed"
        if self._notices(file, "unit_of_rules", "--gtest_fail_fast"):
            return "killed"
        if not self._made("model"):
            return "not_compiled"
        return "killed" if self._notices(None, "model", "--seed", "5", "--packets", "10000", "--sequences", "60", "--jobs", "2") else "survived"


class AgentSources:
    """A tree for each job."""

    def __init__(self, root):
        self.root, self.trees = root, queue.Queue()

    def prepare(self, jobs):
        """Why it cannot begin, or None."""
        killers = Killers()
        for number in range(jobs):
            tree = Tree(self.root, self.root / "build" / "mutate-agent" / str(number), killers)
            if wrong := tree.prepare():
                return wrong
            self.trees.put(tree)
        return None

    def tried(self, mutant):
        with self._tree() as tree:
            return tree.tried(mutant)

    def hold(self):
        """Whether the suites pass in one of them without any change."""
        with self._tree() as tree:
            return tree.holds()

    @contextlib.contextmanager
    def _tree(self):
        tree = self.trees.get()
        try:
            yield tree
        finally:
            self.trees.put(tree)
