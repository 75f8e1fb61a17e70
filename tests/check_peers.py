#!/usr/bin/env python3
"""Checks that the page that puts the peers' functions beside ours (docs/peers.md) names functions, macros and options that there are.

    check_peers.py [ROOT]

A name stands in backquotes and begins with filch_ or FILCH_; `struct.field` is an option.
"""

import glob
import os
import re
import sys

NAMED = re.compile(r"`((?:filch|FILCH)_\w+)(?:\.(\w+))?(?:\(\))?`")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..")
    words = set()
    for header in glob.glob(os.path.join(root, "include/filch/*.h")):
        with open(header, encoding="utf-8") as file:
            words |= set(re.findall(r"\w+", COMMENT.sub(" ", file.read())))
    with open(os.path.join(root, "docs/peers.md"), encoding="utf-8") as file:
        named = NAMED.findall(file.read())
    missing = sorted({name for pair in named for name in pair if name and name not in words})
    for name in missing:
        print(f"docs/peers.md: no header has {name}")
    if not named:
        print("no name found: has the way of writing them changed?")
        return 1
    print(f"{len(set(named))} names, {len(missing)} missing")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
