#!/usr/bin/env python3
"""Tests the parts that differ between architectures for aarch64, on a machine of another kind.

    cross.py switch  ROOT DIR    builds the test of the context switch, static, and runs it under qemu-user
    cross.py compile ROOT DIR    compiles the whole library, without linking it: Debian's cross compiler comes with
                                 libc only, but the headers of liburing and liburcu are the same everywhere

Exits with 77, meson's word for "skipped", and the reason when a tool is missing.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

CC = "aarch64-linux-gnu-gcc"
QEMU = ("qemu-aarch64", "qemu-aarch64-static")
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-DFILCH_FAULTS", "-O2", "-g", "-Wall", "-Wextra", "-Wshadow", "-Wvla", "-Werror",
         "-fno-strict-aliasing", "-fno-omit-frame-pointer", "-fstack-clash-protection", "-fPIC"]
# With and without landing pads and signed return addresses.
PROTECTIONS = ("none", "standard")


APART = ("io/http", "io/http_client", "io/tls")


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def run(command, **options):
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True, **options)


def test_switch(root, folder):
    qemu = next((path for path in map(shutil.which, QEMU) if path), None)
    if not qemu:
        skip(f"none of {', '.join(QEMU)} is installed")
    sources = ["tests/abi/switch_test.c", "tests/abi/registers_aarch64.S", "runtime/task/switch_aarch64.S"]
    for protection in PROTECTIONS:
        program = os.path.join(folder, "switch_test_" + protection)
        run([CC, *FLAGS, "-static", "-mbranch-protection=" + protection, "-I.", *sources, "-lm", "-o", program], cwd=root)
        run([qemu, program])


def library_sources(root):
    for layer in ("runtime", "sync", "io"):
        for where, _, names in os.walk(os.path.join(root, layer)):
            for name in sorted(names):
                # The libraries beside the core need headers of their own, which differ between architectures.
                if where.startswith(tuple(os.path.join(root, apart) for apart in APART)):
                    continue
                if name.endswith(".c") or name.endswith("_aarch64.S"):
                    yield os.path.relpath(os.path.join(where, name), root)


def header_folder(folder):
    """A folder with links to the headers that are the same for all architectures, and no others."""
    multiarch = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name in ("liburing.h", "liburing", "urcu"):
        places = [os.path.join(place, name) for place in ("/usr/include", "/usr/include/" + multiarch)]
        found = next(filter(os.path.exists, places), None)
        if not found:
            skip(f"no header {name} in /usr/include")
        os.symlink(found, os.path.join(folder, name))
    return folder


def test_compile(root, folder):
    headers = header_folder(os.path.join(folder, "include"))
    common = [CC, *FLAGS, "-DFILCH_ASSERTS=2", "-I.", "-Iinclude", "-isystem", headers, "-c"]
    sources = list(library_sources(root))

    def compile_one(source):
        command = [*common, source, "-o", os.path.join(folder, source.replace("/", "_") + ".o")]
        return subprocess.run(command, cwd=root, capture_output=True, text=True)

    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(compile_one, sources))
    for source, result in zip(sources, results):
        if result.returncode:
            print(f"{source}:\n{result.stderr}")
    failed = sum(result.returncode != 0 for result in results)
    print(f"{len(sources)} files, {failed} failed")
    return failed or len(sources) < 10


def main():
    what, root, folder = sys.argv[1:]
    if not shutil.which(CC):
        skip(f"{CC} is not installed")
    os.makedirs(folder, exist_ok=True)
    return {"switch": test_switch, "compile": test_compile}[what](root, folder)


if __name__ == "__main__":
    sys.exit(main())
