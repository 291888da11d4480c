"""docs/performance/bandwidth-*.svg, out of docs/performance/bandwidth.json.

  /usr/bin/python3 scripts/plot_bandwidth.py             writes them
  /usr/bin/python3 scripts/plot_bandwidth.py --check     fails where they say otherwise
"""

import json
import pathlib
import sys

DIRECTORY = pathlib.Path(__file__).resolve().parent.parent / "docs" / "performance"
COLOURS = {"grantd": "#1b6ca8", "grantd policer": "#c44536", "CNI bandwidth (TBF)": "#d99a2b", "ifb and HTB": "#6b8e4e"}
PLOTS = {"goodput": ("goodput_ratio", "Share of the limit that arrives, headers included", 1.2),
         "delay": ("added_delay_p99_ms", "Delay of a small datagram of the same guest, p99, ms", None),
         "cpu": ("cpu_s_per_gb", "CPU seconds a gigabyte, of the whole machine", None)}
WIDTH, ROW, LEFT, TOP, BAR = 760, 64, 220, 56, 12


def shown(value):
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def plot(cells, metric, title, most):
    groups = list(dict.fromkeys((cell["rate_bps"], cell["mix"]) for cell in cells))
    values = {(cell["rate_bps"], cell["mix"], cell["mechanism"]): cell[metric] for cell in cells if cell["mechanism"] in COLOURS}
    largest = most or max(value for value in values.values() if value is not None)
    height = TOP + ROW * len(groups) + 8
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{height}" fill="white"/>', f'<text x="8" y="18" font-size="14">{title}</text>']
    for at, (name, colour) in enumerate(COLOURS.items()):
        lines.append(f'<rect x="{8 + at * 170}" y="28" width="12" height="12" fill="{colour}"/>'
                     f'<text x="{24 + at * 170}" y="38">{name}</text>')
    for row, (rate, mix) in enumerate(groups):
        top = TOP + ROW * row
        lines.append(f'<text x="8" y="{top + 30}">{rate // 1_000_000} Mbit/s, {mix}</text>')
        for at, (name, colour) in enumerate(COLOURS.items()):
            value = values.get((rate, mix, name))
            if value is None:
                continue
            length = round(min(value / largest, 1) * (WIDTH - LEFT - 70), 1)
            lines.append(f'<rect x="{LEFT}" y="{top + at * (BAR + 1)}" width="{length}" height="{BAR}" fill="{colour}"/>'
                         f'<text x="{LEFT + length + 4}" y="{top + at * (BAR + 1) + 10}" font-size="10">{shown(value)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def main():
    cells = [cell for cell in json.loads((DIRECTORY / "bandwidth.json").read_text(encoding="utf-8"))["cells"]
             if cell["rtt_ms"] == 0 and cell["direction"] == "egress"]
    for name, (metric, title, most) in PLOTS.items():
        path, text = DIRECTORY / f"bandwidth-{name}.svg", plot(cells, metric, title, most)
        if sys.argv[1:] != ["--check"]:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path.name} does not say what bandwidth.json holds: run scripts/plot_bandwidth.py")


if __name__ == "__main__":
    main()
