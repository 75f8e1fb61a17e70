"""Servers under test: started and stopped as children of this process, and their CPU time read."""
import contextlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from .build import find_nginx

START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 5
PORT_LINE = re.compile(r"^(?:port |listening on .*:)(\d+)\s*$", re.MULTILINE)


class RunError(Exception):
    """A program that failed, gave a wrong answer or none in time."""


class NoSuchBench(Exception):
    """A program that does not have this benchmark (yet)."""


def pinned(command, cpu):
    return command if cpu is None else ["taskset", "-c", str(cpu), *command]


def _stop(process):
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for(process, log, ready):
    """ready() gives the port, or None as long as there is none."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        port = ready()
        if port:
            return port
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise RunError(f"server did not start: {log.read_text(errors='replace')[-400:].strip()}")


@contextlib.contextmanager
def _running(command, log, ready):
    with open(log, "w") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield process.pid, _wait_for(process, log, ready)
        if process.poll() is not None:
            raise RunError(f"server ended by itself with {process.returncode}: "
                           f"{log.read_text(errors='replace')[-400:].strip()}")
    finally:
        _stop(process)


@contextlib.contextmanager
def server(command, cpu=None):
    """Runs a server that prints its port; gives (pid, port)."""
    with tempfile.TemporaryDirectory(prefix="filch-bench-") as folder:
        log = Path(folder, "log")

        def printed_port():
            found = PORT_LINE.search(log.read_text(errors="replace"))
            return int(found.group(1)) if found else None

        with _running(pinned(command, cpu), log, printed_port) as running:
            yield running


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return port


@contextlib.contextmanager
def certificate(key_kind):
    """A certificate that signs itself, for localhost; gives (its file, the file of its key)."""
    kinds = {"P-256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "RSA-2048": ["rsa:2048"]}
    with tempfile.TemporaryDirectory(prefix="filch-bench-") as folder:
        cert, key = Path(folder, "cert.pem"), Path(folder, "key.pem")
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", *kinds[key_kind], "-nodes", "-days", "1",
                               "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if made.returncode != 0:
            raise RunError(f"openssl makes no certificate: {made.stderr[-300:]}")
        yield cert, key


@contextlib.contextmanager
def nginx(template, workers, cpu=None, listen="", identity=None):
    """nginx with a configuration of our own in a temporary folder; gives (pid of master, port)."""
    folder = Path(tempfile.mkdtemp(prefix="filch-bench-"))
    port = _free_port()
    text = template.read_text()
    tls = "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {}; ssl_certificate_key {};".format(*identity) if identity else ""
    for name, value in {"DIR": folder, "PORT": port, "WORKERS": workers, "LISTEN": listen, "TLS": tls}.items():
        text = text.replace(f"@{name}@", str(value))
    (folder / "nginx.conf").write_text(text)
    command = [find_nginx(), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    try:
        with _running(pinned(command, cpu), folder / "log", lambda: _answers(port)) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def redis(cpu=None):
    """redis-server that keeps nothing on disk; gives (pid, port)."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="filch-bench-") as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                   "--dir", folder, "--daemonize", "no"]
        with _running(pinned(command, cpu), Path(folder, "log"), lambda: _answers(port)) as running:
            yield running


def cpu_ns(pid):
    """CPU time of all threads of a process and of its children, to the nanosecond."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((thread / "schedstat").read_text().split()[0])
            total += sum(cpu_ns(int(child)) for child in (thread / "children").read_text().split())
    return total
