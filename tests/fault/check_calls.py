#!/usr/bin/env python3
"""Checks that every function which the library calls fails in a test, or has a reason why not.

    check_calls.py LIBRARY NTH_FAILURE...

What the static LIBRARY calls stands in wrap.h or in not_wrapped.txt, which lies beside this file, and in one of them only. What is
wrapped is really called by a scenario of the programs, on one engine at least: else nothing is known about its failure.
"""

import fnmatch
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def names_of(library, *options):
    out = subprocess.run(["nm", "--format=posix", *options, library], check=True, capture_output=True, text=True).stdout
    return {line.split()[0].split("@")[0] for line in out.splitlines() if len(line.split()) > 1 and not line.endswith(":")}


def called_by(library):
    return names_of(library, "--undefined-only") - names_of(library, "--defined-only")


def wrapped():
    with open(os.path.join(HERE, "wrap.h"), encoding="utf-8") as file:
        return set(re.findall(r"^    FUNCTION\((\w+),", file.read(), re.M))


def reasons():
    """Pattern -> reason."""
    found, reason = {}, None
    with open(os.path.join(HERE, "not_wrapped.txt"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("#") or not line.strip():
                continue
            if not line.startswith(" "):
                reason = line.strip().rstrip(":")
                continue
            for pattern in line.split():
                found[pattern] = reason
    return found


def calls_of(program, engine):
    out = subprocess.run([program, "calls"], check=True, capture_output=True, text=True,
                         env={**os.environ, "FILCH_ENGINE": engine}).stdout
    return {name for name, count in (line.split() for line in out.splitlines()) if int(count)}, \
           {line.split()[0] for line in out.splitlines()}


def main():
    library, programs = sys.argv[1], sys.argv[2:]
    calls, wraps, why = called_by(library), wrapped(), reasons()
    problems = []
    for name in sorted(calls - wraps - {"syscall"}):
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in why):
            problems.append(f"{name}: the library calls it; it is neither wrapped (wrap.h) nor has it a reason (not_wrapped.txt)")
    for name in sorted(wraps):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in why):
            problems.append(f"{name}: it is wrapped, and has a reason not to be")
    made, known = set(), set()
    for program in programs:
        for engine in ("uring", "epoll"):
            there, names = calls_of(program, engine)
            made |= there
            known |= names
    for name in sorted(known - made):
        problems.append(f"{name}: it is wrapped, and no scenario makes the library call it")
    for problem in problems:
        print(problem)
    if not calls or not wraps or (programs and not made):
        print("nothing found: is that the static library, and are those the programs?")
        return 1
    print(f"{len(calls)} functions are called, {len(wraps)} are wrapped, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
