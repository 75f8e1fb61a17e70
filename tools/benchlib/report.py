"""What was measured: rows, as a table and as JSON lines, there and back."""
import json
import statistics
from dataclasses import dataclass, field

from .catalog import MACHINE, TIME


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
    value: float  # median
    low: float
    high: float
    samples: int
    machine: str
    curve: list = field(default_factory=list)  # [[percentile, microseconds], ...]; of p50_us only
    filch: float = None  # filch's median of the same metric

    @property
    def ratio(self):
        """filch / peer."""
        if self.filch is None or self.impl == "filch" or self.value == 0:
            return None
        return self.filch / self.value

    @property
    def cost(self):
        """How many times filch's cost: above 1, filch is better."""
        if not self.ratio or self.ratio < 0:  # a difference may be below nothing
            return None
        return self.ratio if self.higher_is_better else 1 / self.ratio

    @property
    def label(self):
        return self.bench if self.metric == TIME else f"{self.bench} {self.metric}"


def median_curve(curves):
    """The median at each percentile that all samples have."""
    columns = [dict(curve) for curve in curves]
    if not columns:
        return []
    shared = [percent for percent in columns[0] if all(percent in c for c in columns)]
    return [[percent, statistics.median(c[percent] for c in columns)] for percent in shared]


def compare(rows):
    """Notes filch's median in every row of the same benchmark, metric and number of workers."""
    filch = {(r.bench, r.metric, r.workers): r.value for r in rows if r.impl == "filch"}
    for row in rows:
        row.filch = filch.get((row.bench, row.metric, row.workers))


def number(value):
    if value >= 10000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _print_heading(row):
    better = "higher" if row.higher_is_better else "lower"
    print(f"\n{row.bench}, {row.unit}{'' if row.metric == TIME else ', ' + row.metric} "
          f"({better} is better; workers {row.workers}; samples {row.samples})")
    print(f"    {'':36}{'median':>12}   {'min..max':24}filch/peer")


def _print_row(row):
    name = row.metric if row.impl == MACHINE else f"{row.impl} {row.version}"
    spread = f"{number(row.low)}..{number(row.high)}"
    ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
    print(f"    {name:36}{number(row.value):>12}   {spread:24}{ratio}".rstrip())


def print_table(rows):
    heading = None
    for row in rows:
        key = ("limits",) if row.impl == MACHINE else (row.bench, row.metric, row.workers)
        if key != heading:
            heading = key
            if row.impl == MACHINE:
                print(f"\nlimits of this machine, {row.unit}")
            else:
                _print_heading(row)
        _print_row(row)


def write_json(rows, path):
    with open(path, "w") as out:
        for row in rows:
            entry = {"bench": row.bench, "impl": row.impl, "version": row.version,
                     "value": row.value, "unit": row.unit, "min": row.low, "max": row.high,
                     "samples": row.samples, "workers": row.workers, "group": row.group,
                     "better": "higher" if row.higher_is_better else "lower",
                     "machine": row.machine}
            if row.metric != TIME:
                entry["metric"] = row.metric
            if row.curve:
                entry["curve"] = row.curve
            out.write(json.dumps(entry) + "\n")


def read_json(path):
    with open(path) as lines:
        entries = [json.loads(line) for line in lines if line.strip()]
    return [Row(e["bench"], e["group"], e.get("metric", TIME), e["unit"], e["better"] == "higher",
                e["impl"], e["version"], e["workers"], e["value"], e["min"], e["max"],
                e["samples"], e["machine"], e.get("curve", [])) for e in entries]
