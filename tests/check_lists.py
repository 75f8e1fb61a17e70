#!/usr/bin/env python3
"""Checks that the lists of tests in tests/*.md name tests that exist, and that docs/article.md counts the lines of examples right.

    check_lists.py [ROOT]

A name is `file.c: test_name`; names of tests that follow it without a file are of the same file. Files without a directory are in
tests/unit.
"""

import glob
import os
import re
import sys

CODE = re.compile(r"`([^`\n]*(?:\n[^`\n]*)?)`")
NAMED = re.compile(r"^((?:\w+/)?\w+\.c):\s*(\w+)$")
FILE = re.compile(r"^(?:\w+/)?(?:test|model|stress)\w*\.c$")
TEST = re.compile(r"\bTest\(\s*\w+\s*,\s*(\w+)")


def path_of(root, name):
    return os.path.join(root, "tests", name if "/" in name else os.path.join("unit", name))


def tests_of(path):
    with open(path, encoding="utf-8") as file:
        return set(TEST.findall(file.read()))


def counts_of(root):
    """Of docs/article.md: examples and how many lines it says that they have."""
    with open(os.path.join(root, "docs", "article.md"), encoding="utf-8") as file:
        text = file.read()
    for row in re.findall(r"^\|(?:[^|\n]*)\|((?: `\w+\.c`,?)+) \| ([\d, ]+) \|", text, re.M):
        yield from zip(re.findall(r"\w+\.c", row[0]), map(int, row[1].split(",")), strict=True)
    yield from ((name, int(count)) for name, count in re.findall(r"`(\w+\.c)` \((\d+)\)", text))


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..")
    named, problems = 0, []
    for page in sorted(glob.glob(os.path.join(root, "tests", "*.md"))):
        with open(page, encoding="utf-8") as file:
            text = file.read()
        current = None
        for code in CODE.findall(text):
            match = NAMED.match(" ".join(code.split()))
            if match:
                current = match.group(1)
                test = match.group(2)
            elif FILE.match(code):
                if not os.path.exists(path_of(root, code)):
                    problems.append(f"{page}: there is no {code}")
                continue
            elif current and re.fullmatch(r"[a-z]+(?:_[a-z0-9]+){2,}", code):
                test = code
            else:
                continue
            path = path_of(root, current)
            named += 1
            if not os.path.exists(path):
                problems.append(f"{page}: there is no {current}")
            elif "/" not in current and test not in tests_of(path):
                problems.append(f"{page}: {current} has no test {test}")
    counts = list(counts_of(root))
    for name, count in counts:
        with open(os.path.join(root, "examples", name), encoding="utf-8") as file:
            lines = len(file.readlines())
        if lines != count:
            problems.append(f"docs/article.md: {name} has {lines} lines, not {count}")
    for problem in problems:
        print(problem)
    if not named or not counts:
        print("no test named, or no example counted: has the way of doing that changed?")
    print(f"{named} names, {len(counts)} counts, {len(problems)} problems")
    return 1 if problems or not named or not counts else 0


if __name__ == "__main__":
    sys.exit(main())
