"""The tables of docs/performance.md, out of the figures that scripts/bench keeps in docs/performance/.

  /usr/bin/python3 scripts/docs_performance.py           writes them
  /usr/bin/python3 scripts/docs_performance.py --check   fails where the page says otherwise
"""

import json
import pathlib
import re
import sys

from digests import digest, which

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.S)
# Files of figures, each of one datapath; those of bandwidth.json may be of several.
PARTS = ("forwarding", "control-plane", "kubernetes", "pod-starts", "pod-starts-kubernetes")
CASES = ["no policy", "conntrack", "conntrack and grantd", "grantd", "grantd 110 guests", "grantd 10,000 rules",
         "kube-router 1 pod", "kube-router 110 pods", "nft set"]


def table(header, rows):
    """Markdown, the first column to the left and the others to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def spread(value, digits):
    return f"{value['median']:.{digits}f} ({value['min']:.{digits}f}–{value['max']:.{digits}f})"


def machine(figures):
    facts = figures["machine"]
    return f"{facts['cpu']}, {facts['cpus']} CPUs, Linux {facts['kernel']}.\n"


def datapaths(figures):
    """The limits are measured in two runs, with and without long round trips, that share a file."""
    told = [(part, figures["parts"][part]) for part in PARTS]
    told += [("bandwidth, with long round trips" if cell["rtt_ms"] else "bandwidth", cell) for cell in figures["cells"]]
    rows = {(part, which(one["datapath"], digest(), one.get("datapath_by_commit"))): None for part, one in told}
    return table(["figures of `scripts/bench`", "datapath"], rows)


def programs(figures):
    costs = figures["programs_ns"]
    return table(["program and packet", "ns"],
                 [[name, f"{ns - costs['nothing']:.0f}"] for name, ns in costs.items() if name != "nothing"])


def nanoseconds(figures):
    metrics = ["established_egress", "established_ingress", "new_egress", "new_ingress", "refused_egress",
               "refused_ingress"]
    absolute = figures["forwarding"]["absolute"]
    return table(["", *(metric.replace("_", " ") for metric in metrics)],
                 [[case, *(f"{absolute[case][metric]['median']:.0f}" for metric in metrics)] for case in CASES])


def ratios(figures):
    metrics = {"established": "established", "new": "new flow", "round_trip_p50": "round trip p50",
               "round_trip_p99": "round trip p99", "connects_per_second": "connects a second",
               "datagrams_per_second": "UDP packets a second"}
    to_base = figures["forwarding"]["ratio_to_no_policy"]
    return table(["", *metrics.values()],
                 [[case, *(spread(to_base[case][metric], 2) for metric in metrics)] for case in CASES[1:]])


def steps(figures):
    """Each case of these has all that the one before it has, and one thing more."""
    cases = ["conntrack", "conntrack and empty programs", "conntrack and grantd without its gate", "conntrack and grantd"]
    absolute = figures["forwarding"]["absolute"]
    ways = [[absolute[case][metric]["median"] for case in cases] for metric in ("established_egress", "established_ingress")]
    rows = [[what, *(f"{way[at] - (way[at - 1] if at else 0):.0f}" for way in ways)] for at, what in enumerate(
        ("connection tracking alone", "the hooks, with programs that do nothing", "what the programs do", "the gate"))]
    return table(["ns", "from a guest", "to a guest"], rows + [["together", *(f"{way[-1]:.0f}" for way in ways)]])


def targets_of(rows, digits):
    return table(["target", "at most", "measured", ""],
                 [[row["target"], row["limit"], spread(row, digits), "met" if row["met"] else "**missed**"] for row in rows])


def targets(figures):
    return targets_of(figures["forwarding"]["targets"], 2)


def control_targets(figures):
    return targets_of(figures["control_plane"]["targets"], 2)


def control(figures):
    parts = figures["control_plane"]
    rows = [[name, spread(parts[part][key], 1)] for name, part, key in (
        ("change of 100 Grants, after the files are read", "change_100_grants", "after_reading_ms"),
        ("change of 100 Grants, from `rename()` to a packet", "change_100_grants", "rename_to_packet_ms"),
        ("10,000 prefixes, after the file is read", "prefixes_10000", "after_reading_ms"),
        ("10,000 prefixes, with reading", "prefixes_10000", "with_reading_ms"),
        ("`ipset restore` of the same", "prefixes_10000", "ipset_restore_ms"),
        ("start, 1 Grant, no pins", "start_1_grant", "without_pins_ms"),
        ("start, 1 Grant, on pins", "start_1_grant", "with_pins_ms"),
        ("start, 1,000 Grants, no pins", "start_1000_grants", "without_pins_ms"),
        ("start, 1,000 Grants, on pins", "start_1000_grants", "with_pins_ms"),
        ("start, 1,000 Grants and 100 guests, no pins", "start_100_guests", "without_pins_ms"),
        ("start, 1,000 Grants and 100 guests, on pins", "start_100_guests", "with_pins_ms"))]
    for name, edit in (("edit of one Grant", parts["edit"]), ("edit of one of 1,000 Grants", parts["edit_beside_1000"])):
        rows.append([f"{name}, from `rename()` to a packet, p50 / p99 / longest of {edit['count']}",
                     f"{edit['p50']:.1f} / {edit['p99']:.1f} / {edit['max']:.1f}"])
    return table(["", "ms"], rows)


def memory(figures):
    return table(["with 1,000 Grants and 100 guests", "MiB"],
                 [[name, f"{kib / 1024:.1f}"] for name, kib in
                  figures["control_plane"]["start_100_guests"]["memory_kib"].items()])


def starts_on_a_cluster(figures):
    told = figures["parts"]["pod-starts-kubernetes"]
    return table(["", ""], [[name, f"{told[key]:,}"] for name, key in (
        ("pods started", "starts"), ("times that the agent was killed meanwhile", "agent_killed"),
        ("times that the Grant was deleted or made", "grant_changed"),
        ("passed of guests outside of a Grant", "passed_outside_grant"),
        ("passed to guests from whom no Grant names", "received_outside_grant"),
        ("passed of what a Grant allows", "passed_within_grant"), ("passed of ordinary pods", "passed_of_ordinary_pods"),
        ("passed to ordinary pods", "received_by_ordinary_pods"))])


def starts(figures):
    told = figures["pod_starts"]
    rows = [[name, f"{told[key]:,}"] for name, key in (
        ("pods started", "starts"), ("times that the agent was killed meanwhile", "agent_killed"),
        ("packets that guests sent to whom no Grant names", "sent_outside_grant"),
        ("of these, passed", "passed_outside_grant"), ("passed to guests from whom no Grant names", "received_outside_grant"),
        ("passed of what Grants allow", "passed_within_grant"), ("passed of ordinary pods", "passed_of_ordinary_pods"))]
    rows.append(["passed before ADD had returned, when no runtime runs anything",
                 f"{told['before_the_chain_was_done']['packets']:,}"])
    return table(["", ""], rows)


def add_costs(figures):
    return table(["ADD of", "without, ms", "`grantd-cni` alone, ms", "with, ms"],
                 [[case, *(spread(costs[part], 1) for part in ("without_ms", "grantd_cni_ms", "with_ms"))]
                  for case, costs in figures["pod_starts"]["add"].items()])


def place(cell):
    trip = f", {cell['rtt_ms']} ms" if cell["rtt_ms"] else ""
    towards = " towards guests" if cell["direction"] == "ingress" else ""
    return f"{cell['rate_bps'] // 1_000_000} Mbit/s{towards}{trip}, {cell['mix']}"


def decimals(value, count):
    return "–" if value is None else f"{value:.{count}f}"


def bandwidth_cells(cells):
    rows = [[place(cell), cell["mechanism"], f"{cell['goodput_ratio']:.3f}", decimals(cell["most_in_100ms_ratio"], 2),
             cell["retransmits"], *(decimals(cell[key], 1) for key in ("added_delay_p50_ms", "added_delay_p99_ms")),
             f"{cell['jain_by_guest']:.3f}", f"{cell['jain_by_flow']:.3f}", f"{cell['cpu_s_per_gb']:.2f}"] for cell in cells if cell["mechanism"] != "no limit"]
    return table(["limit and mix", "by", "of the limit", "in 100 ms", "retransmits", "delay p50, ms", "delay p99, ms", "Jain by guest",
                  "Jain by flow", "CPU s/GB"], rows)


def bandwidth(figures):
    return bandwidth_cells([cell for cell in figures["cells"] if cell["rtt_ms"] == 0 and cell["direction"] == "egress"])


def bandwidth_ingress(figures):
    return bandwidth_cells([cell for cell in figures["cells"] if cell["rtt_ms"] == 0 and cell["direction"] == "ingress"])


def round_trips(figures):
    return bandwidth_cells([cell for cell in figures["cells"] if cell["rtt_ms"] > 0])


def limit_targets(figures):
    """What was asked of the limits, and the cells of the default mode that miss it."""
    cells = [cell for cell in figures["cells"] if cell["mechanism"] == "grantd"]
    plugins = {place(cell): cell["cpu_s_per_gb"] for cell in figures["cells"] if cell["mechanism"].startswith("CNI bandwidth")}
    asked = [  # whom it concerns, what counts, and whether that misses it
        ("TCP, of the limit, at least .98", lambda cell: cell["mix"] != "UDP", "goodput_ratio", lambda value, cell: value < 0.98),
        ("UDP, of the limit, at least .99", lambda cell: cell["mix"] == "UDP", "goodput_ratio", lambda value, cell: value < 0.99),
        ("the most in 100 ms, at most the burst and 1 %", lambda cell: True, "most_in_100ms_ratio",
         lambda value, cell: value > 80 * cell["burst_bytes"] / cell["rate_bps"] + 1.01),
        ("retransmits, none", lambda cell: True, "retransmits", lambda value, cell: value > 0),
        ("delay p99 at 100 Mbit/s, at most 5 ms", lambda cell: cell["rate_bps"] == 100_000_000, "added_delay_p99_ms",
         lambda value, cell: value > 5),
        ("Jain by guest, at least .99", lambda cell: "guests" in cell["mix"] or "beside" in cell["mix"], "jain_by_guest", lambda value, cell: value < 0.99),
        ("CPU a gigabyte, at most the CNI plugin's", lambda cell: cell["rtt_ms"] == 0, "cpu_s_per_gb",
         lambda value, cell: value > plugins[place(cell)]),
    ]
    rows = []
    for name, concerns, what, misses in asked:
        among = [cell for cell in cells if concerns(cell) and cell[what] is not None]
        missed = [cell for cell in among if misses(cell[what], cell)]
        rows.append([name, len(among), len(among) - len(missed), "; ".join(f"{place(cell)}: {cell[what]:.3g}" for cell in missed)])
    return table(["target", "cells", "held", "missed in"], rows)


def enforcement(figures):
    parts = figures["kubernetes"]
    rows = [[name, *(f"{parts[part][key]:.0f}" for key in ("p50", "p99", "max")), parts[part]["count"]] for name, part in (
        ("new Grant, from the request to a packet", "new_by_request"),
        ("edit of a Grant", "edit_by_request"),
        ("revocation", "revocation_by_request"),
        ("deletion", "deletion_by_request"),
        ("edit, from the start of `kubectl apply`", "edit_by_kubectl_apply"),
        ("revocation, from the start of `kubectl apply`", "revocation_by_kubectl_apply"),
        ("edit, from the start of `kubectl patch`", "edit_by_kubectl_patch"),
        ("`kubectl apply --dry-run=server`, which changes nothing", "kubectl_apply_dry_run"),
        ("`kubectl apply` of these edits and revocations", "kubectl_apply_returns"),
        ("from its end to the packet", "after_kubectl_apply"))]
    return table([f"{parts['grants']} Grants, {parts['guests']} guests; ms", "p50", "p99", "longest", "of"], rows)


def enforcement_targets(figures):
    return table(["target, ms", "at most", "measured", ""],
                 [[row["target"].removesuffix(", ms"), row["limit"], f"{row['median']:.0f}", "met" if row["met"] else "**missed**"]
                  for row in figures["kubernetes"]["targets"]])


def rendered(text):
    parts = {part: json.loads((ROOT / f"docs/performance/{part}.json").read_text(encoding="utf-8"))
             for part in ("bandwidth", *reversed(PARTS))}
    figures = {"parts": parts}
    for part in parts.values():  # the last one tells the machine
        figures |= part
    return BLOCK.sub(lambda found: found[1] + globals()[found[2]](figures) + found[3], text)


def main():
    text = PAGE.read_text(encoding="utf-8")
    if sys.argv[1:] == ["--check"]:
        if rendered(text) != text:
            sys.exit("docs/performance.md does not say what docs/performance/ holds: run scripts/docs_performance.py")
        return
    PAGE.write_text(rendered(text), encoding="utf-8")


if __name__ == "__main__":
    main()
