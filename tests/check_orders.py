#!/usr/bin/env python3
"""Checks that each memory order of a file that some model compiles was weakened by one step, and that this was noticed or has a reason.

    check_orders.py ROOT BUILD MODEL... [--list]

Each MODEL is the path of a model's program, beside which `NAME.orders` lies: what `--mutate` has written there. A model that has not
written since it was built is run. An order is known by its file, line and operation, and found in the sources of all files that models
include, so that one in a function that no model uses, or that the preprocessor leaves out, is known, too. Where no model executes it, a row
of tests/ORDERS.md has the reason; a row that is not needed any more is a problem. --list prints each order and what became of it.
"""

import os
import re
import subprocess
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^">]+)[">]', re.M)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
ATTRIBUTE = re.compile(r"__attribute__\(\([^\n]*?\)\)+ ?")
FUNCTION = re.compile(r"^(?=[a-z_])[^\n;=#]*?\b(\w+)\([^;{]*\)\s*\n\{.*?^\}", re.S | re.M)
ORDER = re.compile(r"\bfilch_((?:load|store|exchange|cas|cas_weak|fetch_[a-z]+)_(?:acquire|release|acq_rel|seq_cst|light)|fence_\w+)\s*\(")
LIGHT = {"load_light": "load_seq_cst", "store_light": "store_seq_cst"}  # runtime/base/fence.h
VOCABULARY = {"runtime/base/atomic.h", "runtime/base/fence.h"}  # the operations themselves; whoever uses them has the order
ROW = re.compile(r"^\| `([\w/.]+)` \| `(\w+)` \| `(\w+)` \| (.*?) \|$", re.M)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def modelled(root, model):
    """The library's files that a model includes."""
    seen, todo = set(), [f"tests/model/{model}.c"]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in INCLUDE.findall(read(root, path)):
            todo += [name] if os.path.exists(os.path.join(root, name)) else []
    return {path for path in seen if not path.startswith("tests/")}


def closing(text, at):
    """The end of the call whose parenthesis opens before @at."""
    depth = 1
    while depth and at < len(text):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at


class Site:
    def __init__(self, path, text, match, function):
        self.path = path
        self.function = function
        self.operation = LIGHT.get(match.group(1), match.group(1))
        self.first = text.count("\n", 0, match.start()) + 1
        self.last = text.count("\n", 0, closing(text, match.end())) + 1

    def __str__(self):
        return f"{self.path}:{self.first} {self.function} {self.operation}"


def sites_of(root, path):
    text = ATTRIBUTE.sub("", COMMENT.sub(blank, read(root, path)))
    functions = [(m.start(), m.end(), m.group(1)) for m in FUNCTION.finditer(text)]
    for match in ORDER.finditer(text):
        around = [name for start, end, name in functions if start <= match.start() < end]
        yield Site(path, text, match, around[0] if around else "?")


def results_of(root, build, program):
    """[(what, path, line, operation, weaker, reason)], or None: it has not come to the end."""
    path = re.sub(r"model_(\w+)$", r"\1.orders", program)
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(program):
        subprocess.run([program, "--mutate", path], stdout=subprocess.DEVNULL, check=False)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip("\n").split("\t") for line in file]
    if not lines or lines.pop() != ["end"]:
        return None
    return [(what, os.path.relpath(os.path.join(build, name), root), int(line), *rest) for what, name, line, *rest in lines]


class Results:
    def __init__(self):
        self.tried = {}  # (path, operation): {line: {model: {weaker: [(what, model, reason)]}}}

    def add(self, model, results):
        for what, path, line, operation, weaker, reason in results:
            if what != "unexecuted":
                lines = self.tried.setdefault((path, operation), {})
                lines.setdefault(line, {}).setdefault(model, {}).setdefault(weaker, []).append((what, model, reason))

    def of(self, site, count):
        """{weaker: [(what, model, reason)]}, those that say most first, of an order of which its line has @count; None: some of them is
        executed by no model."""
        found = {}
        complete = False
        for line, models in self.tried.get((site.path, site.operation), {}).items():
            if not site.first <= line <= site.last:
                continue
            for weakened in models.values():
                for weaker, whats in weakened.items():
                    complete |= len(whats) >= count
                    found.setdefault(weaker, []).extend(whats)
        return {weaker: sorted(whats) for weaker, whats in found.items()} if complete else None


def main():
    arguments = [a for a in sys.argv[1:] if a != "--list"]
    root, build, programs = arguments[0], arguments[1], arguments[2:]
    problems, paths, results = [], set(), Results()
    for program in programs:
        model = os.path.basename(program)
        paths |= modelled(root, model)
        found = results_of(root, build, program)
        if found is None:
            problems.append(f"{model}: has not tried all orders")
        else:
            results.add(model, found)
    rows = {match.groups()[:3]: match.group(4) for match in ROW.finditer(read(root, "tests/ORDERS.md"))}
    counts = {"killed": 0, "survived": 0}
    needed, executed, sites = set(), 0, []
    for path in sorted(paths - VOCABULARY):
        sites += sites_of(root, path)
    for site in sites:
        row = (site.path, site.function, site.operation)
        beside = [s for s in sites if (s.path, s.operation, s.first) == (site.path, site.operation, site.first)]
        became = results.of(site, len(beside))
        if became is None:
            needed.add(row)
            if row not in rows:
                problems.append(f"{site}: no model executes it, and tests/ORDERS.md does not say why")
            elif len(rows[row].split()) < 4:
                problems.append(f"{site}: tests/ORDERS.md has no reason")
            if "--list" in sys.argv:
                print(f"{site}: {rows.get(row, 'not executed')}")
            continue
        executed += 1
        for weaker, whats in sorted(became.items()):
            what, model, reason = next((w for w in whats if w[0] == "killed"), whats[0])
            if what == "SURVIVED":
                problems.append(f"{site} -> {weaker}: survives in {model} without a reason")
            counts[what.lower()] += 1
            if "--list" in sys.argv:
                print(f"{site} -> {weaker}: {what} in {model}{': ' if reason else ''}{reason}")
    for row in sorted(rows.keys() - needed):
        problems.append(f"tests/ORDERS.md: {' '.join(row)}: there is none that no model executes")
    for problem in problems:
        print(problem)
    print(f"{len(sites)} orders in {len({s.path for s in sites})} files: {executed} weakened in {counts['killed'] + counts['survived']} ways, of which "
          f"{counts['killed']} are noticed and {counts['survived']} have a reason; {len(sites) - executed} executed by no model; "
          f"{len(problems)} problems")
    return 1 if problems or not sites else 0


if __name__ == "__main__":
    sys.exit(main())
