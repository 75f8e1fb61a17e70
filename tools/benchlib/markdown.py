"""Writes what was measured as the last section of a page, in place of what stood there before."""
from .catalog import ALLOCATORS, LIMITS, MACHINE
from .report import number

HEADING = "## Results"
ORDER = ["filch", "filch-stream", "filch-epoll", "tokio", "tokio-jemalloc", "go", "libuv", "asio", "tbb", "hyper", "nginx",
         "raw-uring-coop", "raw-uring-defer", "raw-uring-multishot", "raw-epoll"]


def _table(head, lines):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
                      *("| " + " | ".join(line) + " |" for line in lines)])


def _rank(impl):
    return ORDER.index(impl) if impl in ORDER else len(ORDER)


def _versions(rows):
    seen = {row.impl: row.version for row in rows if row.impl != MACHINE}
    lines = [[impl, seen[impl], ALLOCATORS.get(impl, "-")] for impl in sorted(seen, key=_rank)]
    return _table(["implementation", "version", "allocator"], lines)


def _limits(rows):
    lines = [[LIMITS[row.metric][1] if row.metric in LIMITS else row.metric,
              f"{number(row.value)} {row.unit}"] for row in rows]
    return "### limits\n\n" + _table(["what the machine allows", "median"], lines)


def _cell(row, best):
    if row is None:
        return "-"
    text = f"**{number(row.value)}**" if row.value == best else number(row.value)
    return f"{text} ({row.cost:.2f})" if row.cost else text


def _line(rows, impls):
    """One benchmark, metric and number of workers; @rows: by implementation."""
    some = next(iter(rows.values()))
    values = [row.value for row in rows.values()]
    best = max(values) if some.higher_is_better else min(values)
    unit = some.unit + (", more is better" if some.higher_is_better else "")
    return [some.label, unit, str(some.workers), *(_cell(rows.get(impl), best) for impl in impls)]


def _group(name, rows):
    impls = sorted({row.impl for row in rows}, key=_rank)
    lines = {}
    for row in rows:
        lines.setdefault((row.label, row.workers), {})[row.impl] = row
    return f"### {name}\n\n" + _table(["benchmark", "unit", "workers", *impls],
                                      [_line(by_impl, impls) for by_impl in lines.values()])


def pictures(group, names, folder):
    """The plots of a group, and of its benchmarks, that are in @folder beside the page."""
    found = [path.name for path in sorted(folder.glob("*.svg"))
             if path.stem == f"ratios_{group}" or path.stem.startswith(f"ratios_{group}_")
             or path.stem.removeprefix("latency_") in names]
    return " ".join(f"![{name.removesuffix('.svg')}]({folder.name}/{name})" for name in found)


def section(rows, folder):
    machines = "; ".join(dict.fromkeys(row.machine for row in rows))
    most = max(row.samples for row in rows)
    taken = "One sample each" if most == 1 else f"Medians of up to {most} samples each"
    legend = (f"{machines}. {taken}, filch and its peers in turn. In brackets: the cost relative to "
              "filch's, so that above 1 filch is better; in bold: the best of the line.")
    parts = [HEADING, legend, _versions(rows)]
    for group in dict.fromkeys(row.group for row in rows):
        chosen = [row for row in rows if row.group == group]
        parts.append(_limits(chosen) if group == "limits" else _group(group, chosen))
        shown = pictures(group, {row.bench for row in chosen}, folder)
        if shown:
            parts.append(shown)
    return "\n\n".join(parts) + "\n"


def write_markdown(rows, path):
    """Keeps what comes before the heading; a page without one gets the section at its end."""
    text = path.read_text() if path.exists() else ""
    before = text.split(f"\n{HEADING}\n", 1)[0].rstrip("\n")
    path.write_text((before + "\n\n" if before else "") + section(rows, path.parent / "plots"))
