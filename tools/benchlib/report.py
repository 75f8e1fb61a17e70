"""What was measured, as a table, as JSON lines and as SVG bars."""
import json
import statistics
from dataclasses import dataclass
from html import escape
from math import log2


@dataclass
class Row:
    bench: str
    group: str
    metric: str
    unit: str
    higher_is_better: bool
    impl: str
    version: str
    workers: int
    samples: list
    filch: float = None  # filch's median of the same metric

    @property
    def value(self):
        return statistics.median(self.samples)

    @property
    def ratio(self):
        """filch / peer."""
        if self.filch is None or self.impl == "filch" or self.value == 0:
            return None
        return self.filch / self.value

    @property
    def filch_is_better(self):
        return (self.ratio > 1) == self.higher_is_better


def _number(value):
    if value >= 10000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def print_table(rows):
    heading = None
    for row in rows:
        if (row.bench, row.metric) != heading:
            heading = (row.bench, row.metric)
            better = "higher" if row.higher_is_better else "lower"
            print(f"\n{row.bench}, {row.unit}"
                  f"{'' if row.metric == 'time' else ', ' + row.metric} "
                  f"({better} is better; workers {row.workers}; samples {len(row.samples)})")
            print(f"    {'':36}{'median':>12}   {'min..max':24}filch/peer")
        spread = f"{_number(min(row.samples))}..{_number(max(row.samples))}"
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        print(f"    {row.impl + ' ' + row.version:36}{_number(row.value):>12}   {spread:24}{ratio}"
              .rstrip())


def write_json(rows, path):
    with open(path, "w") as out:
        for row in rows:
            entry = {"bench": row.bench, "impl": row.impl, "version": row.version,
                     "value": row.value, "unit": row.unit, "min": min(row.samples),
                     "max": max(row.samples), "samples": len(row.samples), "workers": row.workers}
            if row.metric != "time":
                entry["metric"] = row.metric
            out.write(json.dumps(entry) + "\n")


LABEL_WIDTH, BAR_WIDTH, LINE = 360, 400, 18
OCTAVES = 4  # the axis runs from 1/16 to 16


def _bar(row, y):
    middle = LABEL_WIDTH + BAR_WIDTH / 2
    octaves = max(-OCTAVES, min(OCTAVES, log2(row.ratio))) if row.ratio > 0 else -OCTAVES
    length = abs(octaves) / OCTAVES * BAR_WIDTH / 2
    x = middle if octaves >= 0 else middle - length
    colour = "#2a8a4a" if row.filch_is_better else "#b5452c"
    label = f"{row.bench} {'' if row.metric == 'time' else row.metric} / {row.impl}"
    return (f'<text x="{LABEL_WIDTH - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="{x:.1f}" y="{y + 3}" width="{max(length, 1):.1f}" height="{LINE - 6}" '
            f'fill="{colour}"/>'
            f'<text x="{LABEL_WIDTH + BAR_WIDTH + 8}" y="{y + 13}">{row.ratio:.2f}</text>')


def _axis(height):
    parts = []
    for octave in range(-OCTAVES, OCTAVES + 1, 2):
        x = LABEL_WIDTH + BAR_WIDTH / 2 * (1 + octave / OCTAVES)
        name = f"{2 ** octave}" if octave >= 0 else f"1/{2 ** -octave}"
        parts.append(f'<line x1="{x}" y1="40" x2="{x}" y2="{height}" stroke="#ccc"/>'
                     f'<text x="{x}" y="36" text-anchor="middle">{name}</text>')
    return "".join(parts)


def _svg(title, rows):
    height = 48 + LINE * len(rows)
    bars = "".join(_bar(row, 44 + LINE * i) for i, row in enumerate(rows))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL_WIDTH + BAR_WIDTH + 60}" '
            f'height="{height}" font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="white"/>'
            f'<text x="8" y="16" font-size="14">{escape(title)}: filch / peer, medians '
            f'(green: filch is better)</text>{_axis(height)}{bars}</svg>\n')


def write_plots(rows, folder):
    """One file per group with a bar for each ratio."""
    folder.mkdir(parents=True, exist_ok=True)
    compared = [row for row in rows if row.ratio is not None]
    for group in dict.fromkeys(row.group for row in compared):
        chosen = [row for row in compared if row.group == group]
        (folder / f"{group}.svg").write_text(_svg(group, chosen))
