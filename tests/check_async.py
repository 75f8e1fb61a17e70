#!/usr/bin/env python3
"""Compiles what users may write with <filch/async.h>, and what they may not.

    check_async.py ROOT

With gcc, clang and their C++ compilers, as far as they are there. What is allowed compiles without a warning; what is not fails
with a message that says why.
"""

import os
import shutil
import subprocess
import sys

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wimplicit-fallthrough", "-Werror"]
COMPILERS = [(compiler, std) for compiler in ("gcc", "clang") for std in ("c11", "gnu11")]
COMPILERS += [(compiler, "c++17") for compiler in ("g++", "clang++")]

HEAD = """
#include <filch/filch.h>
struct f { filch_async async; filch_sleep_future nap; int i, k, r; };
"""
FUNCTION = """
filch_poll poll_%d(filch_future *future, filch_cx *cx);
filch_poll poll_%d(filch_future *future, filch_cx *cx)
{
    struct f *f = (struct f *)future;
%s
}
"""
BEGIN = "FILCH_ASYNC_BEGIN(&f->async, cx);\n"
END = "\nFILCH_ASYNC_END;"
AWAIT = "FILCH_AWAIT(&f->nap.base);"
RESULT = "FILCH_AWAIT_RESULT(f->r, &f->nap.base);"

OUTSIDE = "this_must_stand_between_FILCH_ASYNC_BEGIN_and_FILCH_ASYNC_END"

GOOD = {
    "nothing": BEGIN + END,
    "await": BEGIN + AWAIT + END,
    "two on a line": BEGIN + AWAIT + " " + RESULT + " " + AWAIT + " FILCH_ASYNC_YIELD; FILCH_ASYNC_YIELD;" + END,
    "nested loops": BEGIN + f"for (;;) {{ while (f->i) do {AWAIT} while (f->k); if (f->r) break; else continue; }}" + END,
    "if and else": BEGIN + f"if (f->i) {AWAIT} else if (f->k) {RESULT} else FILCH_ASYNC_YIELD;" + END,
    "switch": BEGIN + f"switch (f->i) {{ case 0: {AWAIT} break; case 1: case 2: {RESULT} break; default: FILCH_ASYNC_YIELD; }}" + END,
    "early return": BEGIN + f"if (f->i) FILCH_ASYNC_RETURN(1);\n{AWAIT}\nFILCH_ASYNC_RETURN(f->r);" + END,
    "before begin": "int width = f->i * 2;\n" + BEGIN + AWAIT + "\nf->r = width;" + END,
    "block of its own": BEGIN + AWAIT + "{ int now = f->i; f->r = now; }" + AWAIT + END,
}

# What, and a part of the message.
BAD = {
    "await before begin": (AWAIT + BEGIN + END, OUTSIDE),
    "await after end": (BEGIN + END + AWAIT + "return FILCH_READY;", OUTSIDE),
    "await without begin": (AWAIT + "return FILCH_READY;", OUTSIDE),
    "await of a result without begin": (RESULT + "return FILCH_READY;", OUTSIDE),
    "yield without begin": ("FILCH_ASYNC_YIELD;", OUTSIDE),
    "return without begin": ("FILCH_ASYNC_RETURN(0);", OUTSIDE),
    "end without begin": (END, OUTSIDE),
    "begin twice": (BEGIN + END + BEGIN + END, "filch__async_start"),
    "begin without end": (BEGIN + AWAIT, "expected"),
    "await of a struct": (BEGIN + "FILCH_AWAIT(f->nap.base);" + END, "filch_future"),
    "await of another type": (BEGIN + "FILCH_AWAIT(&f->nap);" + END, "filch_future"),
    "begin with another type": ("FILCH_ASYNC_BEGIN(f, cx);" + END, "filch_async"),
}


def compile_all(compiler, std, root, bodies, *options):
    """One program with a function for each body."""
    language = "c++" if compiler.endswith("++") else "c"
    command = [compiler, f"-std={std}", *options, *WARNINGS, "-I", os.path.join(root, "include"), "-x", language, "-"]
    program = HEAD + "".join(FUNCTION % (i, i, body) for i, body in enumerate(bodies))
    return subprocess.run(command, input=program, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})


def check(compiler, std, root):
    wrong = 0
    for optimise in (0, 2):
        done = compile_all(compiler, std, root, GOOD.values(), f"-O{optimise}", "-c", "-o", os.devnull)
        if done.returncode:
            print(f"{compiler} -std={std} -O{optimise}: what is allowed does not compile:\n{done.stderr}")
            wrong += 1
    for name, (body, message) in BAD.items():
        done = compile_all(compiler, std, root, [body], "-fsyntax-only")
        if not done.returncode or message not in done.stderr:
            print(f"{compiler} -std={std}: {name}: should fail with {message!r}, got {done.returncode}:\n{done.stderr}")
            wrong += 1
    return wrong


def main():
    root = sys.argv[1]
    there = [(compiler, std) for compiler, std in COMPILERS if shutil.which(compiler)]
    wrong = sum(check(compiler, std, root) for compiler, std in there)
    print(f"{len(there)} compilers and standards, {len(GOOD)} programs that are allowed, {len(BAD)} that are not, {wrong} wrong")
    return 1 if wrong or not there else 0


if __name__ == "__main__":
    sys.exit(main())
