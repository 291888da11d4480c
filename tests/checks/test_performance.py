"""docs/performance.md says of which datapath its figures are, and the benchmarks write that down."""

import json
import sys
import types

from tree import ROOT

sys.path += [str(ROOT / "scripts"), str(ROOT / "tests/bench")]

import bench  # noqa: E402  pylint: disable=wrong-import-position
import docs_performance  # noqa: E402  pylint: disable=wrong-import-position
import kubernetes  # noqa: E402  pylint: disable=wrong-import-position
from digests import digest  # noqa: E402  pylint: disable=wrong-import-position

OLDER = "0" * 16


def figures(**of_parts):
    parts = {part: {"datapath": of_parts.get(part, digest())} for part in docs_performance.PARTS}
    cells = [{"rtt_ms": 0, "datapath": digest()}, {"rtt_ms": 20, "datapath": of_parts.get("round_trips", digest())}]
    return {"parts": parts, "cells": cells}


def older(text):
    return [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if "older" in line]


def test_figures_of_an_older_datapath_are_called_so():
    assert not older(docs_performance.datapaths(figures()))
    assert older(docs_performance.datapaths(figures(forwarding=OLDER))) == ["forwarding"]
    assert older(docs_performance.datapaths(figures(round_trips=OLDER))) == ["bandwidth, with long round trips"]


def test_each_run_of_the_limits_keeps_its_own_datapath(tmp_path, monkeypatch):
    """They share a file, and need not be of one day."""
    cell = {"goodput_ratio": 1, "retransmits": 0, "most_in_100ms_ratio": None, "added_delay_p50_ms": None, "added_delay_p99_ms": None,
            "jain_by_guest": 1, "jain_by_flow": 1, "cpu_s_per_gb": None, "rate_bps": 10_000_000, "direction": "egress", "mix": "UDP",
            "mechanism": "grantd"}
    monkeypatch.setattr(bench, "measure_bandwidth", lambda quick: [{**cell, "rtt_ms": 0}])
    monkeypatch.setattr(bench, "measure_round_trips", lambda quick: [{**cell, "rtt_ms": 20}])
    options = types.SimpleNamespace(quick=True, json=tmp_path)
    bench.bandwidth(options, {"machine": {}, "datapath": "first"}, False)
    bench.bandwidth(options, {"machine": {}, "datapath": "second"}, True)
    kept = json.loads((tmp_path / "bandwidth.json").read_text(encoding="utf-8"))
    assert [(each["rtt_ms"], each["datapath"]) for each in kept["cells"]] == [(0, "first"), (20, "second")]
    assert "datapath" not in kept


def test_a_run_begins_with_the_datapath_of_now(monkeypatch):
    begun = []
    monkeypatch.setattr(sys, "argv", ["bench", "round-trips"])
    monkeypatch.setattr(bench, "bandwidth", lambda options, result, round_trips: begun.append(result["datapath"]))
    bench.main()
    assert begun == [digest()]


def test_each_way_to_change_a_grant_on_a_cluster_has_its_targets():
    """An edit by kubectl, which misses them, stood in the table of times alone."""
    kept = json.loads((ROOT / "docs/performance/kubernetes.json").read_text(encoding="utf-8"))["kubernetes"]
    ways = [way for way in kept if "_by_" in way]
    assert "edit_by_kubectl_apply" in ways
    assert kept["targets"] == kubernetes.targets(kept)
    assert len(kept["targets"]) == 2 * (len(ways) + 1), "and one from the end of kubectl"
