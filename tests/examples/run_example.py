#!/usr/bin/env python3
"""Runs one example and checks what a reader of the documentation would see.

    run_example.py NAME EXECUTABLE

The output of programs that end by themselves is compared. Servers are started on a free port of
127.0.0.1, spoken to over plain sockets, and stopped by a signal to their process.
"""

import contextlib
import signal
import socket
import subprocess
import sys

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
    "rate_limit": "served: 12\nmore than 3 at a time: no\nfaster than 50 per second: no\n",
}

HELLO = b"Hello, World!"


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def run_to_end(exe, expected):
    done = subprocess.run([exe], capture_output=True, text=True, timeout=TIMEOUT_S)
    check(done.returncode == 0, f"exit status {done.returncode}, stderr: {done.stderr!r}")
    check(done.stdout == expected, f"printed {done.stdout!r}, expected {expected!r}")


@contextlib.contextmanager
def server(exe, *args):
    """Starts a server; gives the process and its port; ends it if the block has not."""
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


def check_echo(exe):
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
    with server(exe, "1", "1") as (_, port), connect(port) as idle:
        check(idle.recv(1) == b"", "an idle connection must be closed after its deadline")
    bad = subprocess.run([exe, "nonsense"], capture_output=True, text=True, timeout=TIMEOUT_S)
    check(bad.returncode != 0 and bad.stderr, "a bad address must be refused with a message")


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
        for bad in (
            b"\x00\x01\x02\x03\r\n\r\n",
            b"GET / HTTP/9.x\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: none\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"a" * 200000 + b"\r\n\r\n",
            b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
            get + b"nonsense\r\n\r\n",
        ):
            with connect(port) as sock:
                sock.sendall(bad)
                sock.shutdown(socket.SHUT_WR)
                answer = read_to_end(sock)
            check(answer.count(b"HTTP/1.1 400 ") == 1, f"{bad[:40]!r} gave {answer[:80]!r}")
            check(answer.endswith(b"Connection: close\r\n\r\n"), "a 400 closes the connection")
            check(answer.count(HELLO) == bad.count(get), "requests before the bad one are answered")
        with connect(port) as idle:
            idle.sendall(get)
            read_response(idle)
            process.send_signal(signal.SIGTERM)
            check(process.wait(TIMEOUT_S) == 0, f"SIGTERM: exit status {process.returncode}")
            check(idle.recv(1) == b"", "an idle connection is closed by the stop")


def main():
    name, exe = sys.argv[1:3]
    try:
        if name in OUTPUT:
            run_to_end(exe, OUTPUT[name])
        else:
            {"echo": check_echo, "host_loop": check_host_loop, "http_hello": check_http}[name](exe)
    except (Failed, OSError, subprocess.TimeoutExpired) as error:
        print(f"{name}: {error}")
        return 1
    print(f"{name}: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
