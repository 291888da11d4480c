"""Forwarding: every case in a world of its own, all alive at once and visited in every round."""

import json
import subprocess

from comparisons import apply_conntrack, apply_kube_router, apply_nft_set, apply_programs_that_do_nothing
from grantd import apply_grantd, apply_grantd_without_its_gate
from world import BenchError, World


def case_worlds():
    """(world, what to apply to it in order). The first is what all ratios are taken to."""
    return [
        (World("no policy", enforces=False), []),
        (World("conntrack", enforces=False), [apply_conntrack]),
        (World("kube-router 1 pod"), [apply_kube_router]),
        (World("kube-router 110 pods", guests=110), [apply_kube_router]),
        (World("nft set"), [apply_nft_set]),
        (World("grantd"), [apply_grantd]),
        (World("grantd 110 guests", guests=110), [apply_grantd]),
        (World("grantd 10,000 rules", rules=10_000), [apply_grantd]),
        (World("conntrack and empty programs", enforces=False), [apply_conntrack, apply_programs_that_do_nothing]),
        (World("conntrack and grantd without its gate"), [apply_conntrack, apply_grantd_without_its_gate]),
        (World("conntrack and grantd"), [apply_conntrack, apply_grantd]),
    ]


def measure(load_binary, worlds, phase, counts):
    """{world: {metric: [a value for each round]}}"""
    request = {"phase": phase, "worlds": [world.facts() for world in worlds], **counts}
    done = subprocess.run([load_binary], input=json.dumps(request), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(done.stderr.strip())
    return json.loads(done.stdout)


def measure_all(load_binary, worlds, counts):
    for world in worlds:
        world.set_sinks(True)
    samples = measure(load_binary, worlds, "frames", counts)
    for world in worlds:
        world.set_sinks(False)
    for name, metrics in measure(load_binary, worlds, "sockets", counts).items():
        samples[name].update(metrics)
    return samples
