#!/usr/bin/env python3
"""tools/bench without measuring: results that --json wrote are read back, printed, drawn, and put into a page.

    test_bench.py ROOT
"""
import json
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

ROOT = Path(sys.argv.pop(1))


def entry(bench, impl, value, **more):
    return {"bench": bench, "impl": impl, "version": "1.0", "value": value, "unit": "ns/task",
            "min": value, "max": value * 2, "samples": 3, "workers": 2, "group": "tasks",
            "better": "lower", "machine": "2 cores, some <model> & more", **more}


def server(impl, metric, value, better, **more):
    return entry("echo_50_s1", impl, value, group="echo", metric=metric, better=better,
                 unit="us", **more)


CURVE = [[0, 10.0], [50, 12.5], [99, 100.0], [99.9, 1000.0]]
RESULTS = [
    entry("limits", "machine", 2.5, group="limits", metric="cas", unit="ns"),
    entry("spawn_join", "filch", 50.0), entry("spawn_join", "tokio", 200.0),
    entry("spawn_join", "filch", 40.0, workers=4), entry("spawn_join", "tokio", 20.0, workers=4),
    server("filch", "msgs_s", 1000.0, "higher"), server("tokio", "msgs_s", 500.0, "higher"),
    server("filch", "p50_us", 12.5, "lower", curve=CURVE),
    server("tokio", "p50_us", 25.0, "lower", curve=[[p, us * 2] for p, us in CURVE]),
]


class Bench(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        (self.path / "results").write_text("".join(json.dumps(e) + "\n" for e in RESULTS))

    def tearDown(self):
        self.folder.cleanup()

    def bench(self, *arguments, code=0):
        done = subprocess.run([str(ROOT / "tools/bench"), *map(str, arguments)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout

    def read(self, *arguments):
        return self.bench("--from", self.path / "results", *arguments)

    def test_lists_every_name_with_group_and_unit(self):
        lines = self.bench("--list").splitlines()
        self.assertTrue(any(line.split()[:3] == ["spawn_join", "tasks", "ns/task"] for line in lines))
        self.assertTrue(all(len(line.split()) > 3 for line in lines))

    def test_refuses_a_name_that_it_does_not_know(self):
        self.bench("no_such_benchmark", code=1)

    def test_prints_ratios_of_rows_with_equal_workers(self):
        ratios = [line.split()[-1] for line in self.read("spawn_join").splitlines()
                  if line.strip().startswith("tokio")]
        self.assertEqual(ratios, ["0.25", "2.00"])

    def test_json_survives_reading_and_writing(self):
        self.read("--json", self.path / "again")
        again = [json.loads(line) for line in (self.path / "again").read_text().splitlines()]
        self.assertEqual(again, RESULTS)

    def test_draws_ratios_latencies_and_scaling_as_xml(self):
        self.read("--plot", self.path / "plots")
        drawn = {path.name: xml.parse(path).getroot() for path in (self.path / "plots").iterdir()}
        self.assertEqual(set(drawn), {"ratios_tasks.svg", "ratios_echo_msgs_s.svg",
                                      "latency_echo_50_s1.svg", "workers_spawn_join.svg"})
        texts = [e.text for e in drawn["ratios_tasks.svg"].iter() if e.tag.endswith("text")]
        self.assertIn("4.00", texts)  # tokio costs four times as much with two workers
        self.assertIn("0.50", texts)
        texts = [e.text for e in drawn["ratios_echo_msgs_s.svg"].iter() if e.tag.endswith("text")]
        self.assertIn("2.00", texts)  # half the messages cost twice as much

    def test_page_keeps_its_text_and_gets_its_results_once(self):
        page = self.path / "page.md"
        page.write_text("# Title\n\nText.\n")
        self.read("--markdown", page)
        once = page.read_text()
        self.read("--markdown", page)
        self.assertEqual(page.read_text(), once)
        self.assertTrue(once.startswith("# Title\n\nText.\n\n## Results\n"))
        self.assertIn("| spawn_join | ns/task | 2 | **50.0** | 200.0 (4.00) |", once)
        self.assertIn("| compare and swap, no contention | 2.50 ns |", once)

    def test_page_shows_the_plots_that_are_beside_it(self):
        page = self.path / "page.md"
        (self.path / "plots").mkdir()
        for name in ["ratios_tasks", "latency_spawn_join", "ratios_others", "latency_others"]:
            (self.path / "plots" / f"{name}.svg").touch()
        self.read("--markdown", page)
        self.assertIn("\n\n![latency_spawn_join](plots/latency_spawn_join.svg) "
                      "![ratios_tasks](plots/ratios_tasks.svg)\n", page.read_text())
        self.assertNotIn("others", page.read_text())


if __name__ == "__main__":
    unittest.main()
