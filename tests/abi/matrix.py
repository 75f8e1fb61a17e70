#!/usr/bin/env python3
"""The library as others build and use it. Each case works in a folder of its own.

    matrix.py CASE ROOT DIR

Cases: subproject, install, dlopen, headers, and builds of the tests in this folder with other compilers and options
(gcc-lto, clang-lto, gcc-small, clang-O3). Exits with 77, meson's word for "skipped", and the reason when a tool is missing.
"""

import glob
import os
import re
import shutil
import subprocess
import sys

PROGRAM = """
#include <filch/filch.h>
#include <stdio.h>

static int child(void *arg)
{
    int *number = (int *)arg;
    *number += 1;
    return filch_sleep(filch_after(FILCH_MILLISECOND));
}

static int first(void *arg)
{
    filch_task *task = NULL;
    int number = 41, result = -1;
    (void)arg;
    if (filch_task_spawn(child, &number, NULL, &task) < 0 || filch_task_join(task, &result, FILCH_NEVER) < 0)
        return 1;
    printf("%d %d\\n", number, result);
    fflush(stdout);
    return 0;
}

int main(void)
{
    return filch_main(first, NULL, NULL);
}
"""
SAYS = "42 0\n"

TINY_MESON = """
project('tiny', 'c', 'cpp')
filch = dependency('filch', fallback: 'filch')
executable('tiny_c', 'tiny.c', dependencies: filch)
executable('tiny_cc', 'tiny.cc', dependencies: filch)
"""

DLOPEN = """
#include <dlfcn.h>
#include <stdio.h>

typedef int (*filch_fn)(void *);
typedef int (*main_fn)(filch_fn, void *, const void *);
typedef void (*yield_fn)(void);

static yield_fn yield;

static int first(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++)
        yield();
    printf("ran\\n");
    return 0;
}

int main(int argc, char **argv)
{
    (void)argc;
    for (int i = 0; i < 3; i++) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            printf("%s\\n", dlerror());
            return 1;
        }
        yield = (yield_fn)dlsym(library, "filch_task_yield");
        if (((main_fn)dlsym(library, "filch_main"))(first, NULL, NULL) != 0)
            return 2;
        dlclose(library);
        /* Thread-local data and liburcu ask for it to stay. */
        if (!dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD))
            return 3;
    }
    printf("stayed\\n");
    return 0;
}
"""

# name: compiler, C++ compiler, linker or none, what meson is told
BUILDS = {
    "gcc-lto": ("gcc", "g++", None, ["-Dbuildtype=release", "-Db_lto=true", "-Dc_args=-fcf-protection=full",
                                     "-Dc_link_args=-Wl,-z,now"]),
    "clang-lto": ("clang", "clang++", "lld", ["-Dbuildtype=release", "-Db_lto=true"]),
    "gcc-small": ("gcc", "g++", None, ["-Dbuildtype=minsize", "-Db_pie=true", "-Db_staticpic=true",
                                       "-Dc_args=-fcf-protection=none -D_FORTIFY_SOURCE=2"]),
    "clang-O3": ("clang", "clang++", None, ["-Doptimization=3", "-Ddebug=false", "-Db_pie=true",
                                            "-Dc_args=-fcf-protection=full"]),
}
# Those that depend on how they are built.
TESTS = ["abi switch", "abi floating point", "abi exceptions", "abi thread-local O2", "abi thread-local O3 pie",
         "abi unwinding"]


class Failed(Exception):
    pass


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            skip(f"{tool} is not installed")


def run(command, **options):
    """Return: what it printed."""
    print("+", " ".join(command), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        print(done.stdout)
        raise Failed(f"{command[0]} exited with {done.returncode}")
    return done.stdout


def check(condition, what):
    if not condition:
        raise Failed(what)


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def configure(source, folder, *options, **environment):
    run(["meson", "setup", folder, source, "-Dwerror=true", "-Dbench=disabled", "-Dexamples=disabled", *options],
        env={**os.environ, **environment})


def compile_all(folder, *targets):
    run(["ninja", "-j2", "-C", folder, *targets])


def test_subproject(root, folder):
    project = os.path.join(folder, "project")
    os.makedirs(os.path.join(project, "subprojects"))
    os.symlink(root, os.path.join(project, "subprojects", "filch"))
    write(project, "meson.build", TINY_MESON)
    write(project, "tiny.c", PROGRAM)
    write(project, "tiny.cc", PROGRAM)
    run(["meson", "setup", os.path.join(folder, "build"), project])
    compile_all(os.path.join(folder, "build"))
    for name in ("tiny_c", "tiny_cc"):
        check(run([os.path.join(folder, "build", name)]) == SAYS, f"{name} says something else")


def installed(root, folder, *options):
    """Builds and installs the library. Return: what pkg-config needs to find it, its folder, that of the headers."""
    configure(root, os.path.join(folder, "build"), "-Dtests=disabled", "--prefix=/usr", "--libdir=lib", *options)
    destination = os.path.join(folder, "destination")
    run(["meson", "install", "-C", os.path.join(folder, "build"), "--destdir", destination])
    library = os.path.join(destination, "usr/lib")
    environment = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": destination, "LD_LIBRARY_PATH": library}
    # The dependencies are the machine's own, so their paths must not get the prefix: they add none.
    environment["PKG_CONFIG_PATH"] = os.path.join(library, "pkgconfig")
    return environment, library, os.path.join(destination, "usr/include")


def check_library(path, headers):
    """The shared library's promises to the loader and to those who link it."""
    dynamic = run(["readelf", "-W", "-d", path])
    check("libfilch.so.0]" in dynamic, "no soname")
    check("NODELETE" in dynamic, "it may be unloaded")
    check("libstdc++" not in dynamic, "it needs the C++ library")
    check("TEXTREL" not in dynamic, "it is not position independent")
    names = re.findall(r" [TDBRV] ([^\s@]+)", run(["nm", "-D", "--defined-only", path]))
    check(len(names) > 30, "it exports too little")
    # What macros and inline functions of the public headers call is part of them.
    inlined = set()
    for header in glob.glob(os.path.join(headers, "filch", "*.h")):
        with open(header, encoding="utf-8") as file:
            inlined.update(re.findall(r"\bfilch__\w+", file.read()))
    for name in names:
        check(name.startswith("filch_") and (not name.startswith("filch__") or name in inlined),
              f"it exports {name}")
    segments = run(["readelf", "-W", "-l", path])
    check(re.search(r"GNU_STACK\s.*RW ", segments), "it asks for an executable stack")


def check_marks(library):
    """Control-flow protection. The library itself has the marks that libc's start files have too, which differ."""
    members = run(["readelf", "-W", "-n", os.path.join(library, "libfilch.a")]).split("\nFile: ")[1:]
    check(len(members) > 20, "the archive is nearly empty")
    for member in members:
        check("IBT" in member, "not marked for branch tracking: " + member.splitlines()[0])
        if "switch_x86_64" in member.splitlines()[0]:
            check("SHSTK" not in member, "the switch is marked for shadow stacks, which it cannot serve")
    check("SHSTK" not in run(["readelf", "-W", "-n", os.path.join(library, "libfilch.so")]), "marked for shadow stacks")


def test_install(root, folder):
    environment, library, headers = installed(root, folder, "-Dc_args=-fcf-protection=full")
    shared = os.path.join(library, "libfilch.so")
    check_library(shared, headers)
    if os.uname().machine == "x86_64":
        check_marks(library)
    cflags = run(["pkg-config", "--cflags", "filch"], env=environment).split()
    libs = run(["pkg-config", "--libs", "filch"], env=environment).split()
    static = run(["pkg-config", "--libs", "--static", "filch"], env=environment).split()
    static = ["-l:libfilch.a" if word == "-lfilch" else word for word in static]
    sources = {"cc": write(folder, "tiny.c", PROGRAM), "c++": write(folder, "tiny.cc", PROGRAM)}
    for compiler, source in sources.items():
        for how, words in {
            "shared": ["-Wl,-z,now", *libs],
            "static": static,
            "cf": ["-fcf-protection=full", *libs] if os.uname().machine == "x86_64" else libs,
            "fully-static": ["-static", *static],
        }.items():
            program = os.path.join(folder, f"tiny-{compiler}-{how}")
            run([compiler, "-O2", "-Wall", "-Wextra", "-Werror", *cflags, source, *words, "-pthread", "-o", program])
            check(run([program], env=environment) == SAYS, f"{program} says something else")
    # Exceptions and thread-local data through the shared library, whose symbols are bound by the loader.
    # Fully static, nobody looks a C++ runtime up but the linker.
    for compiler, source, words in (("c++", "test_exceptions.cc", libs), ("c++", "test_exceptions.cc", ["-static", *static]),
                                    ("cc", "test_fp.c", libs)):
        program = os.path.join(folder, source + ".program")
        run([compiler, "-O2", "-D_GNU_SOURCE", "-frounding-math", "-I" + root, *cflags,
             os.path.join(root, "tests/abi", source), *words, "-lm", "-pthread", "-o", program])
        run([program], env=environment)


def test_dlopen(root, folder):
    _, library, _ = installed(root, folder)
    program = os.path.join(folder, "opens")
    run(["cc", "-Wall", write(folder, "opens.c", DLOPEN), "-o", program])
    check(run([program, os.path.join(library, "libfilch.so")]) == "ran\nran\nran\nstayed\n", "it says something else")


def test_headers(root, folder):
    """Each header by itself, in each language that may include it, without a warning."""
    include = os.path.join(root, "include")
    compilers = [(["cc", "-std=gnu11"], "c"), (["cc", "-std=c2x", "-D_GNU_SOURCE"], "c"),
                 (["c++", "-std=c++11", "-Wextra-semi", "-Wnon-virtual-dtor"], "c++"), (["c++", "-std=c++20"], "c++")]
    if shutil.which("clang++"):
        compilers += [(["clang", "-std=gnu11"], "c"), (["clang++", "-std=c++17"], "c++")]
    headers = sorted(os.listdir(os.path.join(include, "filch")))
    check(len(headers) > 5, "no headers")
    for header in headers:
        # Twice: it must be guarded.
        source = write(folder, header + ".source", f"#include <filch/{header}>\n" * 2)
        for command, language in compilers:
            run([*command, "-x", language, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I" + include, "-fsyntax-only", source])


def test_build(root, folder, name):
    cc, cxx, linker, options = BUILDS[name]
    need(cc, cxx, *(["ld." + linker] if linker else []))
    environment = {"CC": cc, "CXX": cxx}
    if linker:
        environment.update(CC_LD=linker, CXX_LD=linker)
    if os.uname().machine != "x86_64":
        options = [re.sub(r"-fcf-protection=\w+", "", option) for option in options]
    configure(root, folder, *options, **environment)
    compile_all(folder, "abi-programs")
    print(run(["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs", *TESTS]))


def main():
    case, root, folder = sys.argv[1:]
    need("meson", "ninja", "cc", "c++", "pkg-config")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name in ("CFLAGS", "CXXFLAGS", "LDFLAGS", "DESTDIR"):
        os.environ.pop(name, None)
    try:
        if case in BUILDS:
            test_build(root, folder, case)
        else:
            {"subproject": test_subproject, "install": test_install, "dlopen": test_dlopen,
             "headers": test_headers}[case](root, folder)
    except Failed as failure:
        print("failed:", failure)
        return 1
    print(f"{case}: all checks hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
