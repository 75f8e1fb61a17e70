#!/usr/bin/env python3
"""Checks what the compiler cannot: who includes whom, and who touches atomics.

    check_layers.py [ROOT]

Includes go downward only: include <- runtime/base <- runtime <- sync <- io. Examples see the public
headers only, for that is all a user has. The library's atomics come from runtime/base/atomic.h
alone, so that model builds can replace them; tests and benchmarks are programs as a user writes them
and may use C11's. Lone fences are nowhere, for ThreadSanitizer cannot see what they publish.
"""

import os
import re
import sys

LAYERS = ["include", "runtime/base", "runtime", "sync", "io"]
SKIPPED = ("build", "subprojects", "bench/peers", ".git")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CONDITION = re.compile(r"^\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b(.*)")
ATOMICS = [
    (re.compile(r"#\s*include\s*<stdatomic\.h>"), "<stdatomic.h>"),
    (re.compile(r"\b__atomic_\w+"), "a compiler's atomic"),
    (re.compile(r"\b__sync_\w+"), "a compiler's atomic"),
]
FENCE = re.compile(r"\batomic_(thread|signal)_fence\b")


def layer_of(path):
    """The innermost layer that @path lies in; None for tests, bench, tools, examples."""
    inside = [layer for layer in LAYERS if path.startswith(layer + "/")]
    return max(inside, key=len, default=None)


def without_comments(text):
    """The same lines with comments and the contents of other strings than include paths blanked."""
    def blank(match):
        found = match.group(0)
        return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)
    return re.sub(r'"(?:\\.|[^"\\\n])*"|/\*.*?\*/|//[^\n]*', blank, text, flags=re.S)


def resolve(root, path, quote, target):
    """The included file's path from the root, or None for a system header."""
    if quote == "<":
        return "include/" + target if target.startswith("filch/") else None
    beside = os.path.normpath(os.path.join(os.path.dirname(path), target))
    return beside if os.path.exists(os.path.join(root, beside)) else os.path.normpath(target)


def include_problem(path, target, in_model):
    layer = layer_of(path)
    if path.startswith("examples/"):
        if not target.startswith(("include/", "examples/")):
            return f"an example includes {target}: examples see <filch/...> only, as users do"
        return None
    if layer is None:
        return None
    if target.startswith("tests/model/") and in_model:
        return None  # the explorer takes the place of the real thing
    target_layer = layer_of(target)
    if target_layer is None:
        return f"{layer} includes {target}: that is in no layer of the library" + (
            " (allowed under FILCH_MODEL only)" if target.startswith("tests/") else "")
    if LAYERS.index(target_layer) > LAYERS.index(layer):
        return (f"{layer} includes {target}, which is above it: includes go downward, "
                + " <- ".join(LAYERS))
    return None


def check_file(root, path):
    """Yields (line number, message)."""
    with open(os.path.join(root, path), encoding="utf-8") as file:
        lines = without_comments(file.read()).split("\n")
    # A section of rcu.h is two additions and a load in line, in its user's code; a fork is a load.
    may_use_atomics = path in ("runtime/base/atomic.h", "include/filch/rcu.h", "include/filch/fork.h") or layer_of(path) is None
    in_model = []  # per open #if: are we in a branch for models?
    for number, line in enumerate(lines, 1):
        condition = CONDITION.match(line)
        if condition:
            word, rest = condition.groups()
            model = "FILCH_MODEL" in rest and word != "ifndef" and "!" not in rest
            if word in ("if", "ifdef", "ifndef"):
                in_model.append(model)
            elif not in_model:
                continue
            elif word == "endif":
                in_model.pop()
            else:
                in_model[-1] = model
        include = INCLUDE.match(line)
        if include:
            target = resolve(root, path, *include.groups())
            problem = target and include_problem(path, target, any(in_model))
            if problem:
                yield number, problem
        if not may_use_atomics:
            for pattern, what in ATOMICS:
                if pattern.search(line):
                    yield number, f"uses {what}: atomics come from runtime/base/atomic.h only"
        if FENCE.search(line):
            yield number, ("lone fence: ThreadSanitizer cannot see what it publishes; "
                           "put the order on the access")


def sources(root):
    for folder, folders, files in os.walk(root):
        here = os.path.relpath(folder, root)
        here = "" if here == "." else here + "/"
        folders[:] = sorted(f for f in folders if here + f not in SKIPPED)
        for name in sorted(files):
            if name.endswith((".c", ".h", ".S")):
                yield here + name


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(here)
    checked = problems = 0
    for path in sources(root):
        checked += 1
        for number, message in check_file(root, path):
            problems += 1
            print(f"{path}:{number}: {message}")
    if checked == 0:
        print(f"no sources under {root}")
        return 1
    print(f"{checked} files, {problems} problems")
    return problems > 0


if __name__ == "__main__":
    sys.exit(main())
