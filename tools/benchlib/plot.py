"""Draws what was measured as SVG, with nothing but text: costs relative to filch as bars, latencies
over percentiles and costs over numbers of workers as lines. Made for a light background."""
from html import escape
from math import ceil, floor, log2, log10

from .catalog import MACHINE
from .report import number

COLOURS = {
    "filch-stream": "#3aa66b",
    "filch-epoll": "#8fc93a",
    "filch": "#14763f",
    "tokio": "#c2410c",
    "tokio-jemalloc": "#e79a6b",
    "go": "#2b7bba",
    "libuv": "#7b5ea7",
    "asio": "#b8860b",
    "tbb": "#9b2d5e",
    "hyper": "#d9483b",
    "nginx": "#0f8b8d",
    "raw-uring-coop": "#444444",
    "raw-uring-defer": "#777777",
    "raw-uring-multishot": "#999999",
    "raw-epoll": "#bbbbbb",
}
TEXT, FAINT, GRID = "#222222", "#6b6b6b", "#dddddd"
FONT = "font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\""


def _colour(impl):
    return COLOURS.get(impl, "#555555")


def _text(x, y, text, anchor="start", colour=TEXT, extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{extra}>'
            f'{escape(str(text))}</text>')


def _line(x1, y1, x2, y2, colour=GRID, width=1):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"/>')


def _document(width, height, title, subtitle, parts):
    head = _text(16, 26, title, extra=' font-size="16" font-weight="bold"')
    head += _text(16, 44, subtitle, colour=FAINT)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" {FONT}>'
            f'<rect width="100%" height="100%" fill="white"/>{head}{"".join(parts)}</svg>\n')


# Bars.

SEEN_IN_CURVES = ("p50_us", "p999_us")
NAMES, BARS, VALUES = 170, 470, 200  # widths of the columns
TOP, BAR, GAP = 84, 15, 30  # heights: head, a bar, what separates benchmarks
FEWEST, MOST = -4, 6  # octaves of the axis, at most


class _Scale:
    """Costs on a logarithmic axis that is as long as the costs need."""

    def __init__(self, costs):
        self.low = max(FEWEST, min(-1, floor(log2(min(costs)))))
        self.high = min(MOST, max(1, ceil(log2(max(costs)))))

    def x(self, cost):
        octave = max(self.low, min(self.high, log2(cost)))
        return NAMES + (octave - self.low) / (self.high - self.low) * BARS

    def draw(self, bottom):
        parts = []
        for octave in range(self.low, self.high + 1):
            x = self.x(2 ** octave)
            name = f"{2 ** octave}" if octave >= 0 else f"1/{2 ** -octave}"
            parts.append(_line(x, TOP - 12, x, bottom, FAINT if octave == 0 else GRID))
            parts.append(_text(x, TOP - 18, name, "middle", FAINT))
        return parts


def _bar(scale, row, y):
    one, end = scale.x(1), scale.x(row.cost)
    return [
        _text(NAMES - 10, y + 11, row.impl, "end"),
        f'<rect x="{min(one, end):.1f}" y="{y + 1}" width="{max(abs(end - one), 1.5):.1f}" '
        f'height="{BAR - 3}" rx="2" fill="{_colour(row.impl)}"/>',
        _text(NAMES + BARS + 12, y + 11, f"{row.cost:.2f}"),
        _text(NAMES + BARS + 60, y + 11, f"{number(row.value)} {row.unit}", colour=FAINT),
    ]


def _bars(group, rows):
    scale = _Scale([row.cost for row in rows])
    parts, y, heading = [], TOP, None
    for row in rows:
        if (row.label, row.workers) != heading:
            y += GAP - BAR if heading else 0
            heading = (row.label, row.workers)
            name = f"{row.label}, {row.workers} worker{'' if row.workers == 1 else 's'}"
            parts.append(_text(16, y + 11, name, extra=' font-weight="bold"'))
            parts.append(_text(NAMES + BARS + 60, y + 11, f"{number(row.filch)} {row.unit}",
                               colour=_colour("filch")))
            y += BAR + 3
        parts += _bar(scale, row, y)
        y += BAR
    subtitle = ("cost relative to filch = 1, medians: a bar to the right costs more than filch; "
                "green: filch's own figure")
    return _document(NAMES + BARS + VALUES + 40, y + 20, group, subtitle, scale.draw(y + 4) + parts)


# Lines.

WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, ABOVE, BELOW = 76, 190, 66, 52


def _decades(values):
    """Ticks 1, 2, 5 of a logarithmic axis that covers the values."""
    low, high = min(values), max(values)
    ticks = [m * 10.0 ** e for e in range(floor(log10(low)), ceil(log10(high)) + 1)
             for m in (1, 2, 5)]
    below = [t for t in ticks if t <= low] or ticks[:1]
    above = [t for t in ticks if t >= high] or ticks[-1:]
    return [t for t in ticks if below[-1] <= t <= above[0]]


def _spread_labels(ends):
    """Moves labels apart that would lie on each other: [(y, impl)] in drawing order."""
    placed, last = [], -100.0
    for y, impl in sorted(ends):
        last = max(y, last + 14)
        placed.append((last, impl))
    return placed


def _lines(title, subtitle, x_name, x_ticks, series):
    """@series: {impl: [(x in 0..1, y), ...]}; the y axis is logarithmic."""
    values = [max(y, 1e-3) for points in series.values() for _, y in points]
    ticks = _decades(values)
    low, high = log10(ticks[0]), max(log10(ticks[-1]), log10(ticks[0]) + 0.1)

    def x_of(x):
        return LEFT + x * (WIDTH - LEFT - RIGHT)

    def y_of(y):
        return HEIGHT - BELOW - (log10(max(y, 1e-3)) - low) / (high - low) * (HEIGHT - ABOVE - BELOW)

    parts = [_text(x_of(0.5), HEIGHT - 12, x_name, "middle", FAINT)]
    for tick in ticks:
        parts += [_line(LEFT, y_of(tick), WIDTH - RIGHT, y_of(tick)),
                  _text(LEFT - 8, y_of(tick) + 4, f"{tick:,.6g}", "end", FAINT)]
    for x, name in x_ticks:
        parts += [_line(x_of(x), ABOVE, x_of(x), HEIGHT - BELOW),
                  _text(x_of(x), HEIGHT - BELOW + 18, name, "middle", FAINT)]
    ends = []
    for impl, points in series.items():
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{_colour(impl)}" '
                     f'stroke-width="{3 if impl == "filch" else 1.8}" stroke-linejoin="round"/>')
        parts += [f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="2.5" fill="{_colour(impl)}"/>'
                  for x, y in points]
        ends.append((y_of(points[-1][1]), impl))
    parts += [_text(WIDTH - RIGHT + 12, y + 4, impl, colour=_colour(impl))
              for y, impl in _spread_labels(ends)]
    return _document(WIDTH, HEIGHT, title, subtitle, parts)


def _nines(percent):
    """Where a percentile lies: each further nine is one step, as its messages are ten times fewer."""
    return -log10(1 - percent / 100)


def _latencies(bench, rows):
    last = max(_nines(percent) for row in rows for percent, _ in row.curve)
    last = max(last, 1)
    ticks = [(_nines(p) / last, f"{p:g} %") for p in (0, 50, 90, 99, 99.9, 99.99, 99.999)
             if _nines(p) <= last + 1e-9]
    series = {row.impl: [(_nines(percent) / last, us) for percent, us in row.curve] for row in rows}
    return _lines(f"{bench}: latency", "microseconds, medians of the samples at each percentile",
                  "part of the messages that were at least as fast", ticks, series)


def _scaling(label, rows):
    counts = sorted({row.workers for row in rows})
    span = max(log2(counts[-1] / counts[0]), 1e-9)
    series = {}
    for row in sorted(rows, key=lambda r: r.workers):
        series.setdefault(row.impl, []).append((log2(row.workers / counts[0]) / span, row.value))
    ticks = [(log2(n / counts[0]) / span, n) for n in counts]
    return _lines(f"{label} over workers", f"{rows[0].unit}, medians", "workers", ticks, series)


def _bars_of(row):
    """Servers have as many metrics as benchmarks: a drawing for each metric."""
    return f"{row.group}_{row.metric}" if row.group in ("echo", "http", "resp") else row.group


def write_plots(rows, folder):
    """Bars for each group, latencies for each benchmark that has them, and what each benchmark that
    was measured with several numbers of workers makes of them. Returns the files' names."""
    folder.mkdir(parents=True, exist_ok=True)
    drawings = {}
    rows = [row for row in rows if row.impl != MACHINE]
    curves = {row.bench for row in rows if row.curve}
    compared = [row for row in rows
                if row.cost and not (row.bench in curves and row.metric in SEEN_IN_CURVES)]
    for name in dict.fromkeys(_bars_of(row) for row in compared):
        drawings[f"ratios_{name}"] = _bars(name, [r for r in compared if _bars_of(r) == name])
    curved = [row for row in rows if row.curve]
    for bench in dict.fromkeys(row.bench for row in curved):
        drawings[f"latency_{bench}"] = _latencies(bench, [r for r in curved if r.bench == bench])
    for label in dict.fromkeys(row.label for row in rows):
        chosen = [row for row in rows if row.label == label]
        if len({row.workers for row in chosen}) > 1:
            drawings[f"workers_{label.replace(' ', '_')}"] = _scaling(label, chosen)
    for name, drawing in drawings.items():
        (folder / f"{name}.svg").write_text(drawing)
    return [f"{name}.svg" for name in drawings]
