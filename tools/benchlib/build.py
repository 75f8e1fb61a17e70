"""Builds filch in release mode and the peers, and tells which versions they are."""
import ctypes.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

def say(text):
    print(text, file=sys.stderr, flush=True)


def build_filch(source, build):
    if not (build / "build.ninja").exists():
        subprocess.run(["meson", "setup", str(build), str(source), "--buildtype=release",
                        "-Dbench=enabled", "-Dexamples=enabled", "-Dtests=disabled"],
                       check=True, stdout=sys.stderr)
    subprocess.run(["ninja", "-C", str(build)], check=True, stdout=sys.stderr)


def _is_stale(output, sources):
    return not output.exists() or any(s.stat().st_mtime > output.stat().st_mtime for s in sources)


def _try_build(name, output, sources, build):
    """Runs build() if output is older than its sources. A peer that does not build is left out."""
    if not _is_stale(output, sources):
        return
    say(f"building {name}")
    try:
        build()
    except (OSError, subprocess.CalledProcessError) as error:
        output.unlink(missing_ok=True)
        say(f"left out: {name} does not build ({error})")


def _build_c(name, source, out, *libraries):
    headers = list(source.parent.glob("*.h"))
    command = ["cc", "-O2", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-o", str(out / name),
               str(source), *libraries]
    _try_build(name, out / name, [source, *headers],
               lambda: subprocess.run(command, check=True, stdout=sys.stderr))


def _build_cpp(name, source, out, *libraries):
    headers = list(source.parent.glob("*.hpp")) + list(source.parent.glob("*.h"))
    sources = list(source.parent.glob(f"{source.stem}*.cpp"))
    command = ["c++", "-std=c++20", "-fcoroutines", "-O3", "-Wall", "-Wextra", "-o",
               str(out / name), *map(str, sources), *libraries, "-pthread"]
    _try_build(name, out / name, [*sources, *headers],
               lambda: subprocess.run(command, check=True, stdout=sys.stderr))


def _build_rust(name, source, out):
    """In a copy, because cargo writes Cargo.lock beside Cargo.toml; with Debian's tools, because
    its crates are made for its compiler."""
    program = f"{name}-peer"

    def build():
        copy = out / name
        shutil.copytree(source, copy, dirs_exist_ok=True)
        env = {**os.environ, "CARGO_HOME": str(out / "cargo-home"), "RUSTC": "/usr/bin/rustc"}
        subprocess.run(["/usr/bin/cargo", "build", "--release", "--offline"], cwd=copy, env=env,
                       check=True, stdout=sys.stderr)
        shutil.copy2(copy / "target/release" / program, out / program)
        os.utime(out / program)
    sources = [source / "Cargo.toml", *source.glob("src/*.rs")]
    _try_build(program, out / program, sources, build)


def _build_go(source, out):
    env = {**os.environ, "GOCACHE": str(out / "go-cache"), "GOPROXY": "off"}
    _try_build("go-peer", out / "go-peer", list(source.glob("*.go")),
               lambda: subprocess.run(["go", "build", "-o", str(out / "go-peer"), "."],
                                      cwd=source, env=env, check=True, stdout=sys.stderr))


def build_load(source, out):
    out.mkdir(parents=True, exist_ok=True)
    _build_c("load", source / "bench/load/load.c", out)
    if not (out / "load").exists():
        sys.exit("the load generator does not build: no server can be measured")


def build_raw(source, out):
    out.mkdir(parents=True, exist_ok=True)
    peers = source / "bench/peers"
    _build_c("raw_uring", peers / "raw_uring.c", out, "-luring")
    _build_c("raw_epoll", peers / "raw_epoll.c", out)
    _build_c("raw_splice", peers / "raw_splice.c", out, "-pthread")


def build_peers(source, out):
    build_raw(source, out)
    peers = source / "bench/peers"
    _build_c("uv_echo", peers / "uv_echo.c", out, "-luv")
    _build_c("uv_bench", peers / "uv_bench.c", out, "-luv")
    _build_cpp("asio-peer", peers / "asio.cpp", out)
    _build_cpp("tbb-peer", peers / "tbb.cpp", out, "-ltbb")
    _build_rust("tokio", peers / "tokio", out)
    _build_rust("hyper", peers / "hyper", out)
    _build_go(peers / "go", out)


def jemalloc_library():
    """The soname to preload, or None."""
    return ctypes.util.find_library("jemalloc")


def find_nginx():
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


def describe_machine():
    """One line: processor, cores that may be used, kernel."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    model = _match(r"model name\s*:\s*(.+)", text)
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {model}, Linux {platform.release().split('-')[0]}"


def _output(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _match(pattern, text):
    found = re.search(pattern, text)
    return found.group(1) if found else "?"


def _crate_version(name, out):
    lock = out / name / "Cargo.lock"
    text = lock.read_text() if lock.exists() else ""
    return _match(rf'name = "{name}"\nversion = "([^"]+)"', text)


def version_of(impl, source, out):
    """The version of the thing measured: of the library, or of the kernel for the bare loops."""
    if impl.startswith("filch"):
        return _match(r"version:\s*'([^']+)'", Path(source, "meson.build").read_text())
    if impl.startswith("tokio"):
        return _crate_version("tokio", out)
    if impl == "hyper":
        return _crate_version("hyper", out)
    if impl == "go":
        return _match(r"go([\d.]+)", _output("go", "version"))
    if impl == "libuv":
        return _output("pkg-config", "--modversion", "libuv").strip() or "?"
    if impl == "asio":
        header = Path("/usr/include/boost/version.hpp")
        text = header.read_text() if header.exists() else ""
        return _match(r'BOOST_LIB_VERSION "([^"]+)"', text).replace("_", ".")
    if impl == "tbb":
        return _output("pkg-config", "--modversion", "tbb").strip() or "?"
    if impl == "curl":
        return _match(r"curl ([\d.]+)", _output("curl", "--version"))
    if impl == "redis":
        return _match(r"v=([\d.]+)", _output("redis-server", "--version"))
    if impl.startswith("openssl"):
        return _match(r"OpenSSL ([\w.]+)", _output("openssl", "version"))
    if impl == "nginx":
        return _match(r"nginx/([\d.]+)", _output(find_nginx() or "nginx", "-v"))
    return "linux " + platform.release().split("-")[0]
