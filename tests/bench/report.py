"""Ratios with their spread, targets met or missed, as an aligned table and as JSON."""

import statistics

BASE = "no policy"
TRACKING = "conntrack"
# Metrics of raw frames are told without what sending and receiving any frame costs.
FRAME_METRICS = ["established_egress", "established_ingress", "new_egress", "new_ingress", "refused_egress",
                 "refused_ingress"]
SOCKET_METRICS = ["round_trip_p50", "round_trip_p99", "connects_per_second", "datagrams_per_second"]
PAIRS = {"established": ("established_egress", "established_ingress"), "new": ("new_egress", "new_ingress"),
         "refused": ("refused_egress", "refused_ingress")}


class Spread(dict):
    """Median, smallest and largest of one value for each round."""

    def __init__(self, values):
        super().__init__(median=statistics.median(values), min=min(values), max=max(values))

    def text(self, digits):
        return f"{self['median']:.{digits}f} [{self['min']:.{digits}f}-{self['max']:.{digits}f}]"


def rounds_of(samples, rounds):
    """{case: {metric: [a value for each round]}}: a round's value is the median of its visits; costs of raw frames
    are without the harness, which only cases that look at no such frame can tell."""
    result = {}
    for case, metrics in samples.items():
        result[case] = {}
        for metric, visits in metrics.items():
            size = len(visits) // rounds
            result[case][metric] = [statistics.median(visits[at * size:(at + 1) * size]) for at in range(rounds)]
    harness = result[BASE]["harness"]
    for metrics in result.values():
        for metric in FRAME_METRICS:
            metrics[metric] = [value - less for value, less in zip(metrics[metric], harness)]
        for pair, (one, other) in PAIRS.items():
            metrics[pair] = [(a + b) / 2 for a, b in zip(metrics[one], metrics[other])]
    return result


def ratio(rounds, metric, case, to, less=None):
    """Spread of case / to, round by round; of what each adds to `less`, where that is given."""
    take = lambda name: [value - (rounds[less][metric][at] if less else 0)  # noqa: E731
                         for at, value in enumerate(rounds[name][metric])]
    return Spread([a / b for a, b in zip(take(case), take(to))])


def table(header, rows):
    """Aligned text: the first column to the left, the others to the right."""
    widths = [max(len(str(row[at])) for row in [header, *rows]) for at in range(len(header))]
    lines = []
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [str(row[0]).ljust(widths[0])] + [str(cell).rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def forwarding_report(rounds):
    """(text, JSON) of the forwarding measurement."""
    cases = list(rounds)
    absolute = {case: {metric: Spread(values) for metric, values in rounds[case].items()} for case in cases}
    ratios = {case: {metric: ratio(rounds, metric, case, BASE)
                     for metric in [*FRAME_METRICS[:4], "established", "new", *SOCKET_METRICS]}
              for case in cases if case != BASE}
    text = "Ratio to no policy, median [min-max] over rounds\n"
    text += table(
        ["case", "established", "new flow", "round trip p50", "connects/s", "UDP packets/s"],
        [[case, *(ratios[case][metric].text(2) for metric in
                  ("established", "new", "round_trip_p50", "connects_per_second", "datagrams_per_second"))]
         for case in ratios])
    text += "\n\nNanoseconds of CPU per packet, median over rounds\n"
    text += table(
        ["case", *(metric.replace("_", " ") for metric in FRAME_METRICS)],
        [[case, *(f"{absolute[case][metric]['median']:.0f}" for metric in FRAME_METRICS)] for case in cases])
    targets = forwarding_targets(rounds)
    return text + "\n\n" + targets_table(targets), {"absolute": absolute, "ratio_to_no_policy": ratios,
                                                     "targets": targets}


def forwarding_targets(rounds):
    """What issue and design ask for, as ratios in this one run."""
    return [
        target("conntrack and grantd / conntrack, established",
               ratio(rounds, "established", "conntrack and grantd", "conntrack"), 1.15),
        target("grantd with 10,000 rules / with 10, established",
               ratio(rounds, "established", "grantd 10,000 rules", "grantd"), 1.05),
        target("grantd with 110 guests / with 1, established",
               ratio(rounds, "established", "grantd 110 guests", "grantd"), 1.05),
        target("added by grantd / added by kube-router, established",
               ratio(rounds, "established", "grantd", "kube-router 1 pod", BASE), 0.12),
        target("added by grantd / added by kube-router, new flow",
               ratio(rounds, "new", "grantd", "kube-router 1 pod", BASE), 0.05),
        target("denied by grantd / denied by kube-router",
               ratio(rounds, "refused", "grantd", "kube-router 1 pod"), 0.12),
    ]


def target(name, spread, limit):
    """One row of the targets: judged by the median."""
    return {"target": name, "limit": limit, **spread, "met": spread["median"] <= limit}


def targets_table(targets):
    return "Targets\n" + table(
        ["target", "at most", "measured", ""],
        [[row["target"], row["limit"], f"{row['median']:.3g} [{row['min']:.3g}-{row['max']:.3g}]",
          "met" if row["met"] else "MISSED"] for row in targets])
