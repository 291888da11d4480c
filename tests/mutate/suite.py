"""Compiles a mutant, and runs a suite on it."""

import re
import subprocess

from killers import failed_tests

# What takes longer hangs. On a machine with other work a suite waits long for its turn, which notices nothing.
CPU_SECONDS, SECONDS = 240, 3600

DIAGNOSTIC = re.compile(r"^(error: )?\S+:\d+:\d+: (fatal )?error: |^error: \S+:\d+:\d+: |error in backend|undefined reference to ", re.M)
NO_ROOM = re.compile(r"no space left on device|out of memory|cannot allocate memory|killed signal|command: killed", re.I)


def ran(*command, env=None):
    """What it said and how it ended; None where it hangs."""
    try:
        return subprocess.run(["prlimit", f"--cpu={CPU_SECONDS}", *command], env=env, capture_output=True, text=True, timeout=SECONDS,
                              check=False)
    except subprocess.TimeoutExpired:
        return None


def fails_again(command, said, env=None):
    """Of tests with names, those that failed."""
    names = ":".join(failed_tests(said))
    again = ran(*command, *([f"--gtest_filter={names}"] if names else []), env=env)
    return not again or again.returncode != 0


def compiles(*command, cwd=None):
    """False where the compiler refuses the source. What else keeps it from compiling says nothing of a mutant, and ends the run."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return True
    said = done.stdout + done.stderr
    if NO_ROOM.search(said) or not DIAGNOSTIC.search(said):
        raise SystemExit(f"scripts/mutate: {' '.join(map(str, command))} ends with {done.returncode}, and not for its source: {said[-2000:]}")
    return False
