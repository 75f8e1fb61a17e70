#!/usr/bin/env python3
"""Asks gdb for the backtrace of a task.

    gdb.py PROGRAM    stops test_unwind in unwind_leaf(), three times, and reads what `bt` says

Exits with 77, meson's word for "skipped", and the reason where there is no gdb, or none that may trace.
"""

import re
import shutil
import subprocess
import sys

STOPS = 3


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def main():
    program, = sys.argv[1:]
    if not shutil.which("gdb"):
        skip("gdb is not installed")
    commands = ["set confirm off", "set pagination off", "set debuginfod enabled off", "break unwind_leaf", "run"]
    for _ in range(STOPS):
        commands += ["echo BACKTRACE\\n", "bt", "echo END\\n", "continue"]
    command = ["gdb", "-q", "-nx", "-batch"]
    for line in commands:
        command += ["-ex", line]
    output = subprocess.run([*command, program], capture_output=True, text=True, errors="replace", timeout=100)
    text = output.stdout + output.stderr
    if re.search(r"ptrace: Operation not permitted|Couldn't get registers|warning: Could not trace", text):
        skip("gdb may not trace here")
    # Names with two underscores look like Ada to gdb, where it does not know the language.
    traces = re.findall(r"BACKTRACE\n(.*?)END\n", output.stdout.replace("filch.", "filch__"), re.S)
    problems = []
    if len(traces) != STOPS:
        problems.append(f"{len(traces)} backtraces, not {STOPS}")
    for trace in traces:
        frames = re.findall(r"^#\d+ .*$", trace, re.M)
        nested = sum("unwind_nested" in frame for frame in frames)
        if nested != 9 or not any("filch__task_main" in frame for frame in frames[-2:]) \
                or "filch__switch_entry" not in frames[-1]:
            problems.append("not the frames of a task")
        if "corrupt" in trace or "Backtrace stopped" in trace:
            problems.append("gdb found it corrupt")
    if problems:
        print(text)
    for problem in problems:
        print("problem:", problem)
    print(f"{len(traces)} backtraces, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
