#!/usr/bin/env python3
"""Checks that the table of wrong calls is complete.

    check_misuse.py [ROOT]

Every function that a public header declares, but for private ones (filch__), must be called in one of tests/unit/test_misuse*.c.
"""

import glob
import os
import re
import sys

API = re.compile(r"\bFILCH_API\b([^;{]*?)\b(filch_(?!_)\w+)\s*\(")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
INLINE = re.compile(r"\bstatic inline\b[^;{]*?\b(filch_(?!_)\w+)\s*\(")


def read(path):
    with open(path, encoding="utf-8") as file:
        return COMMENT.sub(" ", file.read())


def functions(header):
    text = read(header)
    return {match.group(2) for match in API.finditer(text)} | set(INLINE.findall(text))


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..")
    headers = sorted(glob.glob(os.path.join(root, "include/filch/*.h")))
    called = set()
    for table in glob.glob(os.path.join(root, "tests/unit/test_misuse*.c")):
        called |= set(re.findall(r"\b(filch_\w+)\s*\(", read(table)))
    total = 0
    missing = []
    for header in headers:
        names = functions(header)
        total += len(names)
        missing += [(os.path.relpath(header, root), name) for name in sorted(names - called)]
    for header, name in missing:
        print(f"{header}: {name}() has no row in tests/unit/test_misuse*.c")
    if not total:
        print("no public function found: has the way of declaring them changed?")
        return 1
    print(f"{total} public functions, {len(missing)} without a row")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
