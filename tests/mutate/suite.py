"""Runs a suite on a mutant."""

import subprocess

# What takes longer hangs. On a machine with other work a suite waits long for its turn, which notices nothing.
CPU_SECONDS, SECONDS = 240, 3600


def ran(*command, env=None):
    """What it said and how it ended; None where it hangs."""
    try:
        return subprocess.run(["prlimit", f"--cpu={CPU_SECONDS}", *command], env=env, capture_output=True, text=True, timeout=SECONDS,
                              check=False)
    except subprocess.TimeoutExpired:
        return None
