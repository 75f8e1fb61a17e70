#!/usr/bin/env python3
"""Runs one example and checks what a reader of the documentation would see.

    run_example.py NAME EXECUTABLE [WORKERS]

NAME is the example's, or "NAME by PEER" for what a program of others says to it: skipped where that is not installed.
The output of programs that end by themselves is compared. Servers are started on a free port of
127.0.0.1, spoken to over plain sockets, and stopped by a signal to their process.
"""

import contextlib
import http.server
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TIMEOUT_S = 20

OUTPUT = {
    "hello_future": "Hello, Future!\n",
    "async_greet": "Hello, async world!\n",
    "async_million": "1000000 tasks, sum of jobs 499999500000\n",
    "spawn_join": "first: 55\nsecond: 5050\n",
    "try_join": "both: fetched\nboth: refused\nbroken: refused\nendless: was cancelled\n",
    "sleep": "slept 100 ms\nslept 200 ms\nslept 300 ms\n",
    "current_thread": "first call\nbackground: 1\nnothing runs here\n"
                      "second call\nbackground: 2\nbackground: 3\n",
    "config_reload": "version 20, limit 200\n",
    "mpsc": "received: Hello from task\n",
    "concurrent": "".join(f"{i} * {i} = {i * i}\n" for i in range(1, 11)),
    "select_cancel": "message 1\nmessage 2\nmessage 3\nstopped\n",
    "timeout": "one call: timed out\na call within the block: cancelled\nthe block: timed out\n",
    "back_pressure": "dropped: 6 of 10\nconsumed: 40\nmore than 4 waiting: no\n",
    "pipeline": "100 300 500 700\nnot found\n1100 1300 1500 1700\n1900\n",
    "spawn_blocking": "the job returned 42; tasks went on meanwhile: yes\n",
    "rate_limit": "served: 12\nmore than 3 at a time: no\nfaster than 50 per second: no\n",
}

HELLO = b"Hello, World!"

# Servers whose last argument is a number of workers, and how many stand between their address and that.
BEFORE_WORKERS = {"echo": 0, "echo_stream": 0, "http_hello": 0, "https_hello": 2, "resp_server": 0, "udp_echo": 0}


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def need(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        raise Skipped(f"not installed: {', '.join(missing)}")


def check(condition, what):
    if not condition:
        raise Failed(what)


def run_to_end(exe, expected):
    done = subprocess.run([exe], capture_output=True, text=True, timeout=TIMEOUT_S)
    check(done.returncode == 0, f"exit status {done.returncode}, stderr: {done.stderr!r}")
    check(done.stdout == expected, f"printed {done.stdout!r}, expected {expected!r}")


@contextlib.contextmanager
def server(exe, *args):
    """Starts a server, with WORKERS if there are any; gives the process and its port; ends it if the block has not."""
    if len(sys.argv) > 3 and len(args) == BEFORE_WORKERS[sys.argv[1]]:
        args = *args, sys.argv[3]
    process = subprocess.Popen([exe, "127.0.0.1:0", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        check(line.startswith("listening on 127.0.0.1:"), f"first line is {line!r}")
        yield process, int(line.rsplit(":", 1)[1])
        check(process.poll() in (None, 0), f"the server ended with {process.returncode}")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)


def read_exact(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        check(piece, f"connection ended after {len(data)} of {size} bytes: {data[:200]!r}")
        data += piece
    return data


def read_to_end(sock):
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def read_response(sock, has_body=True):
    """Gives (status, headers, body) of one response, and not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exact(sock, 1)
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:] if line)}
    body = read_exact(sock, int(headers["content-length"])) if has_body else b""
    return int(lines[0].split()[1]), headers, body


def check_echo_of_bytes(exe):
    with server(exe) as (_, port):
        big = bytes(range(256)) * 4096  # more than the server's buffer, less than the kernel's
        with connect(port) as first, connect(port) as second:
            for sock, text in ((second, b"second"), (first, b"first")):
                sock.sendall(text)
                check(read_exact(sock, len(text)) == text, "an echo differs")
            for at in range(0, len(big), 65536):
                first.sendall(big[at:at + 65536])
                check(read_exact(first, 65536) == big[at:at + 65536], "a large echo differs")
            first.shutdown(socket.SHUT_WR)
            check(first.recv(1) == b"", "bytes after our end of stream")
    bad = subprocess.run([exe, "nonsense"], capture_output=True, text=True, timeout=TIMEOUT_S)
    check(bad.returncode != 0 and bad.stderr, "a bad address must be refused with a message")


def check_udp_echo(exe):
    with server(exe) as (_, port), contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(40)]
        for i, sock in enumerate(socks):
            sock.settimeout(TIMEOUT_S)
            sock.connect(("127.0.0.1", port))
            sock.send(b"%d" % i * i)  # the first is empty
        for i, sock in enumerate(socks):
            check(sock.recv(4096) == b"%d" % i * i, "an echo differs")
    bad = subprocess.run([exe, "nonsense"], capture_output=True, text=True, timeout=TIMEOUT_S)
    check(bad.returncode != 0 and bad.stderr, "a bad address must be refused with a message")


def check_echo(exe):
    check_echo_of_bytes(exe)
    with server(exe, "1", "1") as (_, port), connect(port) as idle:
        check(idle.recv(1) == b"", "an idle connection must be closed after its deadline")


def check_host_loop(exe):
    with server(exe) as (process, port):
        with connect(port) as first, connect(port) as second:
            for i in range(100):  # the loop's own events in between
                process.stdin.write("a line\n")
                process.stdin.flush()
                for sock in (first, second):
                    sock.sendall(b"%03d" % i)
                    check(read_exact(sock, 3) == b"%03d" % i, "an echo differs")
            for _ in range(20):
                first.sendall(b"x" * 50000)
                check(read_exact(first, 50000) == b"x" * 50000, "a large echo differs")
            process.stdin.close()
            check(process.stdout.readline() == "100 lines, 1000600 bytes echoed\n", "the counts differ")
            check(process.wait(TIMEOUT_S) == 0, "exit status")
            check(second.recv(1) == b"", "an idle connection is closed by the stop")


def check_graceful_shutdown(exe):
    process = subprocess.Popen([exe], stdout=subprocess.PIPE, text=True)
    try:
        check(process.stdout.readline() == "running\n", "the first line differs")
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=TIMEOUT_S)
        check(process.returncode == 0, f"exit status {process.returncode}")
        check(rest == "all that was begun is finished: yes\n", f"printed {rest!r}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_until_gone(port, peer):
    """Waits until the kernel has no connection of @port with @peer any more: a reset has come where it goes."""
    end = time.monotonic() + TIMEOUT_S
    want = [port, peer]
    while any([int(address.rsplit(":", 1)[1], 16) for address in line.split()[1:3]] == want
              for line in Path("/proc/net/tcp").read_text().splitlines()[1:]):
        check(time.monotonic() < end, "a reset connection is still there")


def check_listener_stream(exe):
    with server(exe) as (process, port):
        with connect(port) as sock:
            check(read_to_end(sock) == b"hello\n", "the greeting differs")
        process.send_signal(signal.SIGSTOP)  # the second client has gone before the server sees it
        os.waitpid(process.pid, os.WUNTRACED)
        with connect(port) as sock:
            name = sock.getsockname()[1]
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until_gone(port, name)
        process.send_signal(signal.SIGCONT)
        with connect(port) as sock:
            check(read_to_end(sock) == b"hello\n", "the third greeting differs")
        rest, _ = process.communicate(timeout=TIMEOUT_S)
        check(process.returncode == 0, f"exit status {process.returncode}")
        check(re.fullmatch("client 1: greeted\nclient 2: (Connection reset by peer|Broken pipe)\nclient 3: greeted\n", rest),
              f"printed {rest!r}")


def check_parallel(exe):
    with server(exe) as (_, port), connect(port) as slow:
        slow.sendall(b"4000000\n")
        for below, primes in ((0, b"0\n"), (2, b"0\n"), (3, b"1\n"), (100, b"25\n"), (5000, b"669\n")):
            with connect(port) as quick:
                quick.sendall(b"%d\n" % below)
                check(read_to_end(quick) == primes, f"the number of primes below {below}")
        slow.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            check(not slow.recv(1), "the small ones come first")
        slow.settimeout(TIMEOUT_S)
        check(read_to_end(slow) == b"283146\n", "the number of primes below 4000000")


def check_http(exe):
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with server(exe) as (process, port):
        with connect(port) as sock:
            for _ in range(3):  # keep-alive
                sock.sendall(get)
                status, headers, body = read_response(sock)
                check((status, body) == (200, HELLO), f"GET gave {status} {body!r}")
                check(headers.get("connection") != "close", "a 1.1 connection must be kept")
            sock.sendall(get * 500)  # pipelined, several times the server's reply buffer
            for _ in range(500):
                check(read_response(sock)[::2] == (200, HELLO), "a pipelined reply differs")
            for i in range(len(get)):  # in pieces of one byte
                sock.sendall(get[i:i + 1])
            check(read_response(sock)[0] == 200, "a request in pieces")
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nbytes" + get)
            check(read_response(sock)[0] == 200, "a request with a body")
            check(read_response(sock)[0] == 200, "the request behind a body")
            sock.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + get)
            status, headers, _ = read_response(sock, has_body=False)
            check((status, headers["content-length"]) == (200, "13"), "HEAD")
            check(read_response(sock)[2] == HELLO, "the request behind HEAD")
            offer = b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            sock.sendall(get[:-2] + offer + get)
            check(read_response(sock)[0] == 200, "an offer to upgrade is ignored")
            check(read_response(sock)[0] == 200, "the request behind the offer")
        for request, close in (
            (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + get, True),
            (b"GET / HTTP/1.0\r\n\r\n" + get, True),
        ):
            with connect(port) as sock:
                sock.sendall(request)
                status, headers, body = read_response(sock)
                check((status, body) == (200, HELLO), "the last reply of a connection")
                check(headers.get("connection") == "close", "the last reply says close")
                sock.shutdown(socket.SHUT_WR)
                check(read_to_end(sock) == b"", "bytes after the last reply")
        with connect(port) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            check(read_response(sock)[1].get("connection") == "keep-alive", "1.0 with keep-alive")
        for status, bad in (
            (b"400", b"\x00\x01\x02\x03\r\n\r\n"),
            (b"505", b"GET / HTTP/9.9\r\n\r\n"),
            (b"400", b"GET / HTTP/1.1\r\nContent-Length: none\r\n\r\n"),
            (b"431", b"GET / HTTP/1.1\r\nX: " + b"a" * 200000 + b"\r\n\r\n"),
            (b"501", b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
            (b"400", get + b"nonsense\r\n\r\n"),
        ):
            with connect(port) as sock:
                sock.sendall(bad)
                sock.shutdown(socket.SHUT_WR)
                answer = read_to_end(sock)
            check(answer.count(b"HTTP/1.1 " + status + b" ") == 1, f"{bad[:40]!r} gave {answer[:80]!r}")
            check(b"\r\nConnection: close\r\n" in answer, "a refusal closes the connection")
            check(answer.count(HELLO) == bad.count(get), "requests before the bad one are answered")
        with connect(port) as idle:
            idle.sendall(get)
            read_response(idle)
            process.send_signal(signal.SIGTERM)
            check(process.wait(TIMEOUT_S) == 0, f"SIGTERM: exit status {process.returncode}")
            check(idle.recv(1) == b"", "an idle connection is closed by the stop")


class Site(http.server.BaseHTTPRequestHandler):
    """Answers /ok, and /slow after it; holds /never until the other side hangs up; the rest is not found."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/never":
            with contextlib.suppress(OSError):
                self.rfile.read(1)
            return
        if self.path == "/slow":
            self.server.ok_is_answered.wait(TIMEOUT_S)
        found = self.path in ("/ok", "/slow")
        body = f"body of {self.path}\n".encode() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # who asked may have given up
            self.wfile.write(body)
        if self.path == "/ok":
            self.server.ok_is_answered.set()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def site():
    """Serves Site; gives its address as a URL without a path."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.daemon_threads = True
        server.ok_is_answered = threading.Event()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def refused_url():
    """Of a port on which nobody listens: it is bound as long as the block lasts."""
    @contextlib.contextmanager
    def bound():
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{sock.getsockname()[1]}/"
    return bound()


def run(exe, *args):
    done = subprocess.run([exe, *args], capture_output=True, text=True, timeout=TIMEOUT_S)
    return done.returncode, done.stdout, done.stderr


def check_read_file(exe):
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("a line\nanother\n")
        file.flush()
        check(run(exe, file.name) == (0, "15 bytes: a line\nanother\n", ""), "the file differs")
    status, _, why = run(exe, "/none/such")
    check(status == 1 and why.startswith("read_file: /none/such: "), f"{status}, {why!r}")


def check_fetch(exe):
    with site() as url, refused_url() as refused:
        check(run(exe, url + "/ok") == (0, "body of /ok\n", ""), "the body differs")
        check(run(exe, url + "/none") == (1, "", "the server says 404\n"), "404")
        status, out, why = run(exe, refused)
        check((status, out) == (1, "") and why.startswith(f"fetch: GET {refused}: connecting: "), why)


def check_try_join_fetch(exe):
    with site() as url, refused_url() as refused:
        check(run(exe, url + "/ok", url + "/slow") == (0, "body of /ok\nbody of /slow\n", ""), "the bodies differ")
        status, out, _ = run(exe, url + "/never", refused)
        check(status == 1 and out.startswith(f"GET {refused}: connecting: "), out)


def check_http_client(exe):
    with site() as url, refused_url() as refused:
        urls = [url + path for path in ("/ok", "/slow", "/none")]
        status, out, _ = run(exe, *urls)
        lines = out.splitlines()
        check(status == 0, f"exit status {status}: {out!r}")
        want = [f"{u}: {404 if u.endswith('none') else 200}" for u in urls]
        check(sorted(lines[:-1]) == sorted(want), f"printed {out!r}")
        check(lines[-1].startswith("total: "), f"printed {out!r}")
        status, out, _ = run(exe, url + "/ok", refused)
        check(status == 1 and f"{url}/ok: 200" in out and f"GET {refused}: connecting: " in out, out)


def curl(*args):
    """Runs the real one. Gives what it printed; its exit status must be 0."""
    done = subprocess.run(["curl", "--silent", "--show-error", "--max-time", str(TIMEOUT_S), *args], capture_output=True,
                          timeout=2 * TIMEOUT_S)
    check(done.returncode == 0, f"curl {args}: exit {done.returncode}: {done.stderr!r}")
    return done.stdout


def check_http_files(exe):
    need("curl")
    data = bytes(range(256)) * 4096
    with tempfile.TemporaryDirectory() as folder, server(exe, folder) as (process, port):
        url = f"http://127.0.0.1:{port}"
        big, copy = Path(folder, "big.bin"), Path(folder, ".copy")
        big.write_bytes(data)
        check(curl(url + "/big.bin") == data, "the whole file differs")
        check(curl("--http1.0", url + "/big.bin") == data, "the whole file differs by HTTP/1.0")
        check(curl("--range", "1000-1999", url + "/big.bin") == data[1000:2000], "a range differs")
        check(curl("--range", "-5", url + "/big.bin") == data[-5:], "the last bytes differ")
        copy.write_bytes(data[:300000])
        curl("--continue-at", "-", "--output", str(copy), url + "/big.bin")
        check(copy.read_bytes() == data, "a file that was resumed differs")
        head = curl("--head", url + "/big.bin").decode()
        check("\r\nContent-Length: 1048576\r\n" in head and "\r\nETag: " in head, head)
        etag = re.search("ETag: (.*)\r", head).group(1)
        status = ["--output", "/dev/null", "--write-out", "%{http_code}"]
        check(curl(*status, "--header", f"If-None-Match: {etag}", url + "/big.bin") == b"304", "304")
        check(curl(*status, "--range", "9999999-", url + "/big.bin") == b"416", "416")
        check(curl(*status, "--path-as-is", url + "/../big.bin") == b"404", "a path that leaves")
        check(curl(*status, "--request", "POST", "--data", "x", url + "/big.bin") == b"405", "405")
        for how in ((), ("--header", "Transfer-Encoding: chunked"), ("--header", "Expect: 100-continue"),
                    ("--http1.0",), ("--header", "Expect:")):
            check(curl(*how, "--upload-file", str(copy), url + "/up.bin") == b"stored\n", f"uploading with {how}")
            check(Path(folder, "up.bin").read_bytes() == data, f"what was uploaded with {how} differs")
            Path(folder, "up.bin").unlink()
        twice = curl(url + "/big.bin", url + "/big.bin", "--write-out", "%{num_connects}")
        check(twice == data + b"1" + data + b"0", "a connection is used twice")
        check(sorted(p.name for p in Path(folder).iterdir()) == [".copy", "big.bin"], "something was left behind")
        process.send_signal(signal.SIGTERM)
        check(process.wait(TIMEOUT_S) == 0, "exit status")


def frame(opcode, data, fin=True, mask=b"\1\2\3\4"):
    """A frame of a client, which must be masked."""
    size = len(data)
    head = bytes([(0x80 if fin else 0) | opcode, 0x80 | (size if size < 126 else 126 if size < 65536 else 127)])
    head += b"" if size < 126 else size.to_bytes(2 if size < 65536 else 8, "big")
    return head + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(data))


def read_frame(sock):
    first, size = read_exact(sock, 2)
    if size == 126:
        size = int.from_bytes(read_exact(sock, 2), "big")
    return first, read_exact(sock, size)


def check_chat(exe):
    def enter(port):
        sock = connect(port)
        sock.sendall(b"GET /room HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
                     b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        status, headers, _ = read_response(sock, has_body=False)
        check(status == 101, f"the handshake gave {status}")
        check(headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "the answer to the key of the RFC")
        return sock

    with server(exe) as (process, port):
        with connect(port) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            status, headers, body = read_response(sock)
            check(status == 200 and b"new WebSocket" in body, "the page")
            for request, want in ((b"GET /room HTTP/1.1\r\nHost: x\r\n\r\n", 400),
                                  (b"GET /room HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                   b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 426)):
                sock.sendall(request)
                check(read_response(sock)[0] == want, f"{request!r} must give {want}")
        with enter(port) as first, enter(port) as second:
            first.sendall(frame(9, b"are you there"))
            check(read_frame(first) == (0x8a, b"are you there"), "a ping is answered")
            second.sendall(frame(9, b""))
            check(read_frame(second) == (0x8a, b""), "an empty ping")  # and so it is in the room
            first.sendall(frame(1, b"hello"))
            text = "grüße ".encode() * 50
            second.sendall(frame(1, text[:100], fin=False) + frame(9, b"p") + frame(0, text[100:]))
            check(read_frame(second) in ((0x8a, b"p"), (0x81, b"hello")), "a ping within a message, or what was said")
            heard = [read_frame(first), read_frame(first)]
            check(sorted(heard) == [(0x81, text), (0x81, b"hello")] or sorted(heard) == [(0x81, b"hello"), (0x81, text)],
                  f"heard {heard!r}")
            first.sendall(frame(8, b"\x03\xe8"))
            check(read_frame(first) == (0x88, b"\x03\xe8"), "a close is answered")
            check(read_to_end(first) == b"", "bytes after the close")
        for bad, code in ((b"\x81\x05hello", 1002), (frame(1, b"x" * 2000), 1009), (frame(0, b"x"), 1002),
                          (frame(9, b"x", fin=False), 1002), (b"\xc1\x80\1\2\3\4", 1002), (frame(1, b"x" * 70000), 1009)):
            with enter(port) as sock:
                sock.sendall(bad)
                check(read_frame(sock) == (0x88, code.to_bytes(2, "big")), f"{bad[:10]!r} must be refused with {code}")
        with enter(port) as sock:
            process.send_signal(signal.SIGTERM)
            check(process.wait(TIMEOUT_S) == 0, "exit status")


class Browser:
    """Chromium without a window, spoken to through pipes by its protocol for debuggers: https://chromedevtools.github.io."""
    START_S = 120

    def __init__(self, folder):
        ask, self.to = os.pipe()
        self.answers, answer = os.pipe()
        self.last, self.rest = 0, b""

        def keep():  # 3 and 4 are where it looks
            first, second = os.dup(ask), os.dup(answer)
            os.dup2(first, 3)
            os.dup2(second, 4)

        # Nothing but the loopback is asked for, whatever it would like to know when it starts.
        self.process = subprocess.Popen(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
             "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={folder}", "--remote-debugging-pipe",
             "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=keep)
        os.close(ask)
        os.close(answer)

    def call(self, method, session=None, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + self.START_S
        while True:
            while b"\0" not in self.rest:
                ready, _, _ = select.select([self.answers], [], [], max(0, end - time.monotonic()))
                check(ready, f"the browser does not answer {method}")
                piece = os.read(self.answers, 65536)
                check(piece, f"the browser has ended, asked for {method}")
                self.rest += piece
            text, self.rest = self.rest.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("id") == self.last:
                check("error" not in answer, f"{method}: {answer.get('error')}")
                return answer["result"]

    def open(self, url):
        """Gives the session of a page of its own."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Emulation.setFocusEmulationEnabled", session, enabled=True)
        self.call("Page.navigate", session, url=url)  # until the first bytes of it are there
        self.evaluate(session, "new Promise((done) => document.readyState == 'complete' ? done() : onload = done)")
        return session

    def evaluate(self, session, expression):
        result = self.call("Runtime.evaluate", session, expression=expression, awaitPromise=True, returnByValue=True)
        check("exceptionDetails" not in result, f"{expression}: {result.get('exceptionDetails')}")
        return result["result"].get("value")

    def type(self, session, text):
        """Into what has the focus, and Enter."""
        self.call("Input.insertText", session, text=text)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", session, type=kind, key="Enter", code="Enter", text="\r" if kind == "keyDown" else "",
                      windowsVirtualKeyCode=13)

    def close(self):
        """By its own id; what it has started ends with it."""
        with contextlib.suppress(OSError):
            os.write(self.to, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(TIMEOUT_S)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.to)
        os.close(self.answers)


def check_chat_in_browser(exe):
    """The page in a browser, twice: what is typed in one is read in the other."""
    need("chromium")
    heard = """new Promise((done) => {
                 const look = () => [...said.children].some((item) => item.textContent == %s) && done(said.children.length);
                 new MutationObserver(look).observe(said, {childList: true}); look(); })"""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, server(exe) as (process, port):
        browser = Browser(folder)
        try:
            pages = [browser.open(f"http://127.0.0.1:{port}/") for _ in range(2)]
            for i, page in enumerate(pages):
                check(browser.evaluate(page, "document.title") == "chat", "the page's title")
                browser.evaluate(page, "new Promise((done) => socket.readyState == 1 ? done() : socket.onopen = done)")
                browser.type(page, f"here is {i}")  # who hears himself is in the room
                browser.evaluate(page, heard % json.dumps(f"here is {i}"))
            for text in ("hello <b>there</b>", "grüße \U0001f600"):  # text is text, and any of it
                browser.type(pages[0], text)
                browser.evaluate(pages[1], heard % json.dumps(text))
                check(browser.evaluate(pages[0], "text.value") == "", "the line is empty again")
            shown = browser.evaluate(pages[1], "[...said.children].map((item) => item.textContent).join('|')")
            check(shown.endswith("here is 1|hello <b>there</b>|grüße \U0001f600"), f"the second page shows {shown!r}")
        finally:
            browser.close()
        process.send_signal(signal.SIGTERM)
        check(process.wait(TIMEOUT_S) == 0, "exit status")


def check_resp_server(exe):
    def bulk(*words):
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)

    big = b"x" * 300000
    talk = [
        (b"PING\r\n", b"+PONG\r\n"),
        (bulk(b"ping", b"hi"), b"$2\r\nhi\r\n"),
        (bulk(b"GET", b"k"), b"$-1\r\n"),
        (bulk(b"SET", b"k", b"a\r\nb\0"), b"+OK\r\n"),
        (b"get k\r\n", b"$5\r\na\r\nb\0\r\n"),
        (bulk(b"INCR", b"n"), b":1\r\n"),
        (bulk(b"INCRBY", b"n", b"41"), b":42\r\n"),
        (bulk(b"DECR", b"n"), b":41\r\n"),
        (bulk(b"INCR", b"k"), b"-ERR value is not an integer or out of range\r\n"),
        (bulk(b"SET", b"n", b"9223372036854775807"), b"+OK\r\n"),
        (bulk(b"INCR", b"n"), b"-ERR value is not an integer or out of range\r\n"),
        (bulk(b"EXISTS", b"k", b"n", b"none"), b":2\r\n"),
        (bulk(b"SET", b"big", big), b"+OK\r\n"),
        (bulk(b"GET", b"big"), b"$300000\r\n" + big + b"\r\n"),
        (bulk(b"DBSIZE"), b":3\r\n"),
        (bulk(b"DEL", b"k", b"none"), b":1\r\n"),
        (bulk(b"GET"), b"-ERR wrong number of arguments for 'GET' command\r\n"),
        (bulk(b"NONE"), b"-ERR unknown command\r\n"),
        (bulk(b"SELECT", b"0"), b"+OK\r\n"),
        (bulk(b"FLUSHALL"), b"+OK\r\n"),
        (bulk(b"DBSIZE"), b":0\r\n"),
    ]
    with server(exe) as (process, port):
        with connect(port) as sock:
            for request, answer in talk:
                sock.sendall(request)
                got = read_exact(sock, len(answer))
                check(got == answer, f"{request[:60]!r} gave {got[:60]!r}")
            writer = threading.Thread(target=sock.sendall, args=(b"".join(r for r, _ in talk),))
            writer.start()  # all of them at once
            want = b"".join(a for _, a in talk)
            check(read_exact(sock, len(want)) == want, "pipelined replies differ")
            writer.join()
            small = b"".join(r for r, _ in talk if len(r) < 1000)
            want = b"".join(a for r, a in talk if len(r) < 1000)
            want = want.replace(b"$300000\r\n" + big, b"$-1").replace(b"$-1\r\n:3\r\n", b"$-1\r\n:2\r\n")
            for i in range(len(small)):
                sock.sendall(small[i:i + 1])
            check(read_exact(sock, len(want)) == want, "replies to pieces differ")
            for i in range(10000):
                sock.sendall(bulk(b"SET", b"key%d" % i, b"%d" % i))
            check(read_exact(sock, 50000) == b"+OK\r\n" * 10000, "10,000 keys")
            sock.sendall(bulk(b"GET", b"key7777") + bulk(b"DBSIZE") + bulk(b"QUIT"))
            check(read_to_end(sock) == b"$4\r\n7777\r\n:10000\r\n+OK\r\n", "the end differs")
        for bad in (b"*1\r\n:1\r\n", b"*-1\r\n", b"*99999\r\n", b"*1\r\n$99999999999\r\n", b"*1\r\n$1\r\nabc", b"*1\n",
                    b"x" * 20000):
            with connect(port) as sock:
                sock.sendall(bad)
                with contextlib.suppress(ConnectionResetError):
                    check(read_to_end(sock) == b"-ERR Protocol error\r\n", f"{bad[:40]!r}")
        with connect(port):
            process.send_signal(signal.SIGTERM)
            check(process.wait(TIMEOUT_S) == 0, "exit status")


def check_resp_server_redis(exe):
    """Their client, and their benchmark."""
    need("redis-cli", "redis-benchmark")
    with server(exe) as (process, port):
        for *words, answer in (["FLUSHALL", "OK"], ["SET", "k", "a b", "OK"], ["GET", "k", "a b"], ["INCR", "n", "1"], ["GET", "none", ""],
                               ["DEL", "k", "n", "2"], ["GET", "ERR wrong number of arguments for 'GET' command"]):
            done = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, timeout=TIMEOUT_S, text=True)
            check(done.stdout.strip() == answer, f"redis-cli {words}: {done.stdout!r}, not {answer!r}")
        done = subprocess.run(["redis-benchmark", "-p", str(port), "-n", "500", "-c", "10", "-P", "4", "-t", "set,get,incr", "--csv"],
                              capture_output=True, timeout=2 * TIMEOUT_S, text=True)
        check(done.returncode == 0 and [line.split(",")[0] for line in done.stdout.splitlines() if not line.startswith('"test"')] ==
              ['"SET"', '"GET"', '"INCR"'], f"redis-benchmark: {done.stdout!r} {done.stderr!r}")
        process.send_signal(signal.SIGTERM)
        check(process.wait(TIMEOUT_S) == 0, "exit status")


def make_certificate(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "1", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", folder / "key.new", "-out", folder / "cert.new"], check=True, capture_output=True)
    for what in ("key", "cert"):
        (folder / f"{what}.new").rename(folder / f"{what}.pem")
    return ssl.create_default_context(cafile=folder / "cert.pem")


def echo_upstream(listener):
    """Echoes each connection to its end, one after the other, until the listener is closed."""
    with contextlib.suppress(OSError):
        while True:
            conn = listener.accept()[0]
            with conn:
                while piece := conn.recv(65536):
                    conn.sendall(piece)


def check_tls_proxy(exe):
    def enter(context, port):
        return context.wrap_socket(connect(port), server_hostname="localhost", suppress_ragged_eofs=False)

    def ask(sock, text):
        sock.sendall(text)
        check(read_exact(sock, len(text)) == text, "an echo differs")

    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        folder = Path(folder)
        upstream = "127.0.0.1:%d" % listener.getsockname()[1]
        threads = [threading.Thread(target=echo_upstream, args=(listener,), daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        first = make_certificate(folder, "first")
        with server(exe, folder / "cert.pem", folder / "key.pem", upstream) as (process, port):
            with connect(port) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    check(b"HTTP" not in read_to_end(plain), "a plain request must not pass")
            with enter(first, port) as old:
                for _ in range(20):
                    ask(old, bytes(range(256)) * 64)
                second = make_certificate(folder, "second")
                process.send_signal(signal.SIGHUP)
                end = time.monotonic() + TIMEOUT_S
                while True:
                    try:
                        new = enter(second, port)
                        break
                    except ssl.SSLCertVerificationError:
                        check(time.monotonic() < end, "the certificate is still the old one")
                with new:
                    ask(new, b"new")
                    ask(old, b"old")
                    new.unwrap()  # both ends are told, also by the proxy
        for thread in threads:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(TIMEOUT_S)
    bad = subprocess.run([exe, "127.0.0.1:0", "/nowhere", "/nowhere", upstream], capture_output=True, text=True,
                         timeout=TIMEOUT_S)
    check(bad.returncode == 1 and "/nowhere" in bad.stderr, "a missing certificate must be named")


def check_https(exe):
    get = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def enter(context, port):
        return context.wrap_socket(connect(port), server_hostname="localhost", suppress_ragged_eofs=False)

    def ask(sock):
        sock.sendall(get)
        check(read_response(sock)[::2] == (200, HELLO), "an answer differs")

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        first = make_certificate(folder, "first")
        with server(exe, folder / "cert.pem", folder / "key.pem") as (process, port):
            with enter(first, port) as old:
                ask(old)
                second = make_certificate(folder, "second")
                process.send_signal(signal.SIGHUP)
                end = time.monotonic() + TIMEOUT_S
                while True:
                    try:
                        new = enter(second, port)
                        break
                    except ssl.SSLCertVerificationError:
                        check(time.monotonic() < end, "the certificate is still the old one")
                with new:
                    ask(new)
                    ask(old)
                    process.send_signal(signal.SIGTERM)
                    check(process.wait(TIMEOUT_S) == 0, f"SIGTERM: exit status {process.returncode}")
                    check(new.recv(1) == b"" and old.recv(1) == b"", "the end must be told, not a cut")
    bad = subprocess.run([exe, "127.0.0.1:0", "/nowhere", "/nowhere"], capture_output=True, text=True, timeout=TIMEOUT_S)
    check(bad.returncode == 1 and "/nowhere" in bad.stderr, "a missing certificate must be named")


def main():
    name, exe = sys.argv[1:3]
    try:
        if name in OUTPUT:
            run_to_end(exe, OUTPUT[name])
        else:
            {
                "chat": check_chat,
                "chat by chromium": check_chat_in_browser,
                "echo": check_echo,
                "echo_stream": check_echo_of_bytes,
                "udp_echo": check_udp_echo,
                "fetch": check_fetch,
                "http_client": check_http_client,
                "http_files": check_http_files,
                "read_file": check_read_file,
                "resp_server": check_resp_server,
                "resp_server by redis-cli": check_resp_server_redis,
                "tls_proxy": check_tls_proxy,
                "try_join_fetch": check_try_join_fetch,
                "graceful_shutdown": check_graceful_shutdown,
                "host_loop": check_host_loop,
                "http_hello": check_http,
                "https_hello": check_https,
                "listener_stream": check_listener_stream,
                "parallel": check_parallel,
            }[name](exe)
    except Skipped as why:
        print(f"{name}: skipped: {why}")
        return 77
    except (Failed, OSError, subprocess.TimeoutExpired) as error:
        print(f"{name}: {error}")
        return 1
    print(f"{name}: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
