"""One sample of one implementation: runs the programs and reads what they print.

make_cases() turns a name into cases; a case has one closure per implementation, and calling it
takes one sample: a dict from metric to value, with the latency curve under CURVE if there is one."""
import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field

from . import catalog
from .build import find_nginx, jemalloc_library
from .servers import NoSuchBench, RunError, certificate, cpu_ns, nginx, pinned, redis, server

TASK_TIMEOUT_S = 180
MEMORY_BYTES = 6 << 30
USAGE_EXIT = 2  # what a program answers to a name that it does not know
CURVE = "curve"  # of a sample: [[percentile, microseconds], ...]


@dataclass
class Case:
    name: str
    group: str
    workers: int
    metrics: dict  # key: (unit, is higher better)
    impls: dict = field(default_factory=dict)  # name: closure that takes a sample
    missing: dict = field(default_factory=dict)  # name: why it is left out


@dataclass
class Plan:
    """What the command line asked for, and where things are."""
    source: object
    filch: object  # build folder
    peers: object  # build folder of the peers
    workers: list  # of task benchmarks: a case for each count
    quick: bool
    seconds: float
    warmup: float
    with_filch: bool
    with_peers: bool
    raw_only: bool


def _run(command, timeout, env=None):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout, env=env)
    except subprocess.TimeoutExpired:
        raise RunError(f"no result after {timeout:.0f} s: {' '.join(command)}") from None
    if done.returncode == USAGE_EXIT:
        raise NoSuchBench(done.stderr.strip()[-400:])
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-400:]
        raise RunError(f"{' '.join(command)}: exit {done.returncode}: {said}")
    return done.stdout


def _fields(line):
    return dict(part.split("=", 1) for part in line.split() if "=" in part)


def _touch_memory():
    """Has the machine under us hand out what a sample will need: in a virtual one the first touch of a page may cost
    ten times as much, and whoever is measured first would pay for all."""
    touch = (f"import mmap\nm = mmap.mmap(-1, {MEMORY_BYTES})\n"
             f"for at in range(0, {MEMORY_BYTES}, mmap.PAGESIZE): m[at] = 1")
    subprocess.run([sys.executable, "-c", touch], check=False, timeout=TASK_TIMEOUT_S)


def run_task(plan, program, bench, workers, env=None):
    command = [str(program), bench, "--workers", str(workers)] + ["--quick"] * plan.quick
    sample = {}
    for line in _run(command, TASK_TIMEOUT_S, env).splitlines():
        if line.startswith("result "):
            result = _fields(line)
            if result.get("check") != "ok" or result.get("name") != bench:
                raise RunError(f"{program}: wrong answer: {line}")
            sample[result.get("metric", catalog.TIME)] = float(result["value"])
    if not sample:
        raise RunError(f"{program} {bench}: no result line")
    return sample


def _cpus_of(layout):
    """(cpu of the server, cpu of the client); None where nothing is pinned."""
    if not layout.pinned:
        return None, None
    cpus = sorted(os.sched_getaffinity(0))
    return (cpus[0], cpus[1]) if len(cpus) > 1 else (None, None)


def _fill(command, plan, workers):
    return [part.format(filch=plan.filch, peers=plan.peers, workers=workers) for part in command]


def run_echo(plan, command, bench, layout):
    server_cpu, client_cpu = _cpus_of(layout)
    with server(command, server_cpu) as (pid, port):
        load = [str(plan.peers / "load"), "127.0.0.1", str(port), str(bench.conns),
                str(bench.bytes), str(plan.seconds), "--warmup", str(plan.warmup),
                "--pid", str(pid), "--curve", *bench.options]
        if client_cpu is not None:
            load += ["--cpu", str(client_cpu)]
        lines = dict(line.split(" ", 1)
                     for line in _run(load, 2 * (plan.seconds + plan.warmup) + 60).splitlines())
    result = _fields(lines["load"])
    sample = {key: float(result[key]) for key in catalog.echo_metrics(bench) if key in result}
    sample[CURVE] = [[float(n) for n in point.split(":")] for point in lines["curve"].split()]
    return sample


def _microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def _check_http(port, scheme="http"):
    anybody = ssl._create_unverified_context() if scheme == "https" else None
    with urllib.request.urlopen(f"{scheme}://127.0.0.1:{port}/", timeout=5, context=anybody) as answer:
        body = answer.read()
    if body.strip() != b"Hello, World!":
        raise RunError(f"wrong HTTP body: {body[:80]!r}")


def _wrk(port, conns, seconds, cpu, scheme="http"):
    text = _run(pinned(["wrk", "-t1", f"-c{conns}", f"-d{max(1, round(seconds))}s", "--latency",
                        f"{scheme}://127.0.0.1:{port}/"], cpu), seconds + 30)
    if "Non-2xx" in text or "Socket errors" in text or "50%" not in text:
        raise RunError(f"wrk saw errors:\n{text}")
    quantiles = dict(re.findall(r"^\s+(\d+)%\s+(\S+)$", text, re.MULTILINE))
    return {
        "requests": int(re.search(r"(\d+) requests in", text).group(1)),
        "req_s": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
        "p50_us": _microseconds(quantiles["50"]),
        "p99_us": _microseconds(quantiles["99"]),
    }


def _h2load(port, conns, seconds, cpu, scheme):
    text = _run(pinned(["h2load", "-t1", f"-c{conns}", "-m100", f"-D{max(1, round(seconds))}",
                        f"{scheme}://127.0.0.1:{port}/"], cpu), seconds + 30)
    good, failed, errored = map(int, re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", text).groups())
    body = int(re.search(r"\((\d+)\) data", text).group(1))
    if not good or failed or errored or not 13 * good <= body <= 13 * (good + 100 * conns):
        raise RunError(f"h2load saw errors:\n{text}")
    return {"requests": good, "req_s": float(re.search(r"([\d.]+) req/s", text).group(1))}


def _s_time(port, seconds, cpu):
    before, begun = os.times(), time.monotonic()
    text = _run(pinned(["openssl", "s_time", "-new", "-tls1_3", "-connect", f"127.0.0.1:{port}",
                        "-time", str(max(1, round(seconds)))], cpu), seconds + 30)
    made = int(re.search(r"(\d+) connections in \d+ real seconds", text).group(1))
    if not made:
        raise RunError(f"no handshake was made:\n{text}")
    seconds, after = time.monotonic() - begun, os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return {"requests": made, "req_s": made / seconds, "client_cpu_us": cpu_s * 1e6 / made}


def _ask(bench, port, seconds, cpu):
    scheme = "https" if bench.tls else "http"
    if bench.load == "h2load":
        return _h2load(port, bench.conns, seconds, cpu, scheme)
    if bench.load == "s_time":
        return _s_time(port, seconds, cpu)
    return _wrk(port, bench.conns, seconds, cpu, scheme)


@contextlib.contextmanager
def _serving(plan, impl, command, bench, layout, cpu):
    with certificate(bench.key) if bench.tls else contextlib.nullcontext() as identity:
        if impl == "nginx":
            listen = ("ssl " if bench.tls else "") + ("http2" if bench.load == "h2load" else "")
            started = nginx(plan.source / "bench/peers/nginx.conf.in", layout.workers, cpu, listen, identity)
        else:
            files = dict(zip(("cert", "key"), map(str, identity or ())))
            started = server([part.format(**files) for part in command] if identity else command, cpu)
        with started as running:
            yield running


def run_http(plan, impl, command, bench, layout):
    server_cpu, client_cpu = _cpus_of(layout)
    with _serving(plan, impl, command, bench, layout, server_cpu) as (pid, port):
        if bench.load != "h2load":  # which looks at the answers itself
            _check_http(port, "https" if bench.tls else "http")
        _ask(bench, port, 1, client_cpu)
        before = cpu_ns(pid)
        result = _ask(bench, port, plan.seconds, client_cpu)
        if not result["requests"]:
            raise RunError("not one answer in the time")
        result["server_cpu_us"] = (cpu_ns(pid) - before) / 1e3 / result.pop("requests")
    return result


def run_tls_loop(plan, program, bench):
    """OpenSSL over memory, both ends in one thread: what its own work takes."""
    server_cpu, _ = _cpus_of(catalog.LAYOUTS[0])
    with certificate(bench.key) as files:
        text = _run(pinned([str(program), *map(str, files), str(plan.seconds)], server_cpu), plan.seconds * 2 + 30)
    results = [_fields(line) for line in text.splitlines() if line.startswith("result ")]
    sample = {result["metric"]: float(result["value"]) for result in results}
    return {"server_cpu_us": sample["server_cpu_us"], "client_cpu_us": sample["client_cpu_us"],
            "req_s": 1e6 / sample["server_cpu_us"]}


def run_openssl_speed(plan, bench):
    """The arithmetic of the server's side: a signature, and two multiplications on X25519, for its share of the key
    and for the secret."""
    server_cpu, _ = _cpus_of(catalog.LAYOUTS[0])
    sign = {"P-256": "ecdsap256", "RSA-2048": "rsa2048"}[bench.key]
    text = _run(pinned(["openssl", "speed", "-seconds", str(max(1, round(plan.seconds))), "-mr", sign, "ecdhx25519"],
                       server_cpu), 60)
    # +F2:...:bits:signs/s:verifies/s (RSA), +F4 likewise (ECDSA), +F5:...:bits:op/s:s/op (ECDH)
    lines = {line[:3]: line.split(":") for line in text.splitlines() if line.startswith("+F")}
    signs, multiplications = float(lines["+F2" if "rsa" in sign else "+F4"][3]), float(lines["+F5"][3])
    server_s = 1 / signs + 2 / multiplications
    return {"server_cpu_us": server_s * 1e6, "req_s": 1 / server_s}


def run_http_client(plan, template, bench, layout):
    """The time and the CPU time of the client's whole process."""
    server_cpu, client_cpu = _cpus_of(layout)
    requests = bench.requests  # also when it is to be quick: a tenth would be the time that processes take to start
    with server(_fill(catalog.HTTP_CLIENT_SERVER, plan, 1), server_cpu) as (_, port):
        _check_http(port)
        command = [part.format(filch=plan.filch, peers=plan.peers, workers=layout.workers, requests=requests,
                               tasks=bench.tasks, url=f"http://127.0.0.1:{port}/") for part in template]
        before, begun = os.times(), time.monotonic()
        done = subprocess.run(pinned(command, client_cpu), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=TASK_TIMEOUT_S, check=False)
        seconds, after = time.monotonic() - begun, os.times()
    good = re.search(r"^answers=(\d+)$", done.stdout, re.MULTILINE)
    good = int(good.group(1)) if good else done.stdout.splitlines().count("200")
    if done.returncode != 0 or good != requests:
        raise RunError(f"{good} of {requests} answers, exit {done.returncode}: {done.stderr[-300:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"req_s": requests / seconds, "client_cpu_us": cpu * 1e6 / requests}


def _check_resp(port):
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b"SET bench:check 0123456789\r\nGET bench:check\r\nDEL bench:check\r\n")
        want, got = b"+OK\r\n$10\r\n0123456789\r\n:1\r\n", b""
        while len(got) < len(want) and (piece := sock.recv(100)):
            got += piece
    if got != want:
        raise RunError(f"wrong RESP answer: {got!r}")


def _redis_benchmark(port, bench, requests, cpu):
    text = _run(pinned(["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-c", "50", "-n", str(requests), "-r", "100000",
                        "-d", "16", "-P", str(bench.pipeline), "-t", bench.command, "--csv"], cpu), TASK_TIMEOUT_S)
    rows = [line.replace('"', "").split(",") for line in text.splitlines() if line.startswith('"')]
    found = dict(zip(rows[0], rows[-1]))
    if found.get("test") != bench.command.upper():
        raise RunError(f"redis-benchmark says {text[-300:]!r}")
    return {
        "req_s": float(found["rps"]),
        "p50_us": float(found["p50_latency_ms"]) * 1e3,
        "p99_us": float(found["p99_latency_ms"]) * 1e3,
    }


def run_resp(plan, impl, command, bench, layout):
    server_cpu, client_cpu = _cpus_of(layout)
    requests = bench.requests // 10 if plan.quick else bench.requests
    serving = redis(server_cpu) if impl == "redis" else server(command, server_cpu)
    with serving as (pid, port):
        _check_resp(port)
        _redis_benchmark(port, RESP_FILL, 200_000, client_cpu)
        before = cpu_ns(pid)
        result = _redis_benchmark(port, bench, requests, client_cpu)
        result["server_cpu_us"] = (cpu_ns(pid) - before) / 1e3 / requests
        _check_resp(port)
    return result


# Has most keys there, and is the warm-up.
RESP_FILL = catalog.RespBench("fill", "set", 16, 0, "")


def _add_impl(case, impl, program, sample):
    """Adds an implementation, or notes that its program is not there."""
    if program and os.access(program, os.X_OK):
        case.impls[impl] = sample
    else:
        case.missing[impl] = "not built or not installed"


def _task_peer_env(impl):
    """(environment, why not)"""
    if impl != "tokio-jemalloc":
        return None, None
    library = jemalloc_library()
    return ({**os.environ, "LD_PRELOAD": library}, None) if library else (None, "no jemalloc")


def _prepared(plan, bench, take):
    """What takes a sample, after what it needs of the machine."""
    if bench.metrics != catalog.MEMORY or plan.quick:
        return take
    return lambda: (_touch_memory(), take())[1]


def task_case(plan, bench, workers):
    metrics = {metric: (unit, False) for metric, unit in bench.metrics.items()}
    case = Case(bench.name, bench.group, workers, metrics)
    if plan.with_filch:
        program = plan.filch / "bench" / bench.program
        _add_impl(case, "filch", program,
                  _prepared(plan, bench, lambda: run_task(plan, program, bench.name, workers)))
    for impl in bench.peers if plan.with_peers else ():
        env, why_not = _task_peer_env(impl)
        if why_not:
            case.missing[impl] = why_not
            continue
        peer, name = plan.peers / catalog.PEER_TASKS[impl], bench.peer_name or bench.name
        _add_impl(case, impl, peer, _prepared(
            plan, bench, lambda peer=peer, env=env: run_task(plan, peer, name, workers, env)))
    return case


def limits_case(plan):
    metrics = {metric: (unit, False) for metric, (unit, _) in catalog.LIMITS.items()}
    case = Case("limits", "limits", 1, metrics)
    program = plan.filch / "bench/limits/limits"
    _add_impl(case, catalog.MACHINE, program, lambda: run_task(plan, program, "limits", 1))
    return case


def _servers(plan, filch, peers, raw):
    chosen = dict(filch) if plan.with_filch else {}
    if plan.with_peers or plan.raw_only:
        chosen.update(raw)
    if plan.with_peers and not plan.raw_only:
        chosen.update(peers)
    return chosen


def echo_case(plan, bench, layout):
    case = Case(f"{bench.name}_{layout.name}", "echo", layout.workers, catalog.echo_metrics(bench))
    for impl, template in _servers(plan, *catalog.SERVERS[bench.kind]).items():
        command = _fill(template, plan, layout.workers)
        _add_impl(case, impl, command[0],
                  lambda command=command: run_echo(plan, command, bench, layout))
    return case


def http_case(plan, bench):
    layout = catalog.LAYOUTS[0]
    plain = not bench.tls and bench.load == "wrk"
    metrics = {"wrk": catalog.HTTP_METRICS, "h2load": catalog.HTTP_RATE_METRICS,
               "s_time": catalog.HANDSHAKE_METRICS}[bench.load]
    case = Case(bench.name, "http", layout.workers, metrics)
    for client in {"openssl" if bench.load == "s_time" else bench.load, "openssl" if bench.tls else bench.load}:
        if not shutil.which(client):
            case.missing[client] = "not installed: nothing to measure with"
            return case
    filch = catalog.FILCH_HTTPS if bench.tls else catalog.FILCH_HTTP
    for impl, template in _servers(plan, filch, catalog.PEER_HTTP if plain else catalog.PEER_NGINX, {}).items():
        command = _fill(template, plan, layout.workers)
        _add_impl(case, impl, find_nginx() if impl == "nginx" else command[0],
                  lambda impl=impl, command=command: run_http(plan, impl, command, bench, layout))
    if bench.load == "s_time":
        program = plan.filch / "bench/limits/tls_limit"
        _add_impl(case, "openssl-loop", program, lambda: run_tls_loop(plan, program, bench))
        _add_impl(case, "openssl-speed", shutil.which("openssl"), lambda: run_openssl_speed(plan, bench))
    return case


def http_client_case(plan, bench, layout):
    case = Case(f"{bench.name}_{layout.name}", "http", layout.workers, catalog.CLIENT_METRICS)
    for impl, template in _servers(plan, catalog.FILCH_HTTP_CLIENT, catalog.PEER_HTTP_CLIENT, {}).items():
        program = template[0].format(filch=plan.filch, peers=plan.peers)
        _add_impl(case, impl, shutil.which(program),
                  lambda template=template: run_http_client(plan, template, bench, layout))
    return case


def resp_case(plan, bench, layout):
    case = Case(f"{bench.name}_{layout.name}", "resp", layout.workers, catalog.RESP_METRICS)
    if not shutil.which("redis-benchmark"):
        case.missing["redis-benchmark"] = "not installed: nothing to measure with"
        return case
    for impl, template in _servers(plan, catalog.FILCH_RESP, catalog.PEER_RESP, {}).items():
        command = _fill(template, plan, layout.workers)
        _add_impl(case, impl, shutil.which(command[0]),
                  lambda impl=impl, command=command: run_resp(plan, impl, command, bench, layout))
    return case


@dataclass(frozen=True)
class Name:
    """What can be asked for, in the order of measuring."""
    group: str
    unit: str
    what: str


def all_names():
    names = {"limits": Name("limits", "ns", "what the machine allows: switch, CAS, wakes, faults")}
    for bench in catalog.TASK_BENCHES:
        unit = ", ".join(dict.fromkeys(bench.metrics.values()))
        names[bench.name] = Name(bench.group, unit, bench.what)
    for bench in catalog.ECHO_BENCHES:
        for layout in catalog.LAYOUTS:
            units = [unit for unit, _ in catalog.echo_metrics(bench).values()]
            names[f"{bench.name}_{layout.name}"] = Name("echo", ", ".join(dict.fromkeys(units)), bench.what)
    for bench in catalog.HTTP_BENCHES:
        names[bench.name] = Name("http", "req/s, us", bench.what)
    for bench in catalog.CLIENT_BENCHES:
        for layout in catalog.LAYOUTS:
            names[f"{bench.name}_{layout.name}"] = Name("http", "req/s, us", bench.what)
    for bench in catalog.RESP_BENCHES:
        for layout in catalog.LAYOUTS:
            names[f"{bench.name}_{layout.name}"] = Name("resp", "req/s, us", bench.what)
    return names


def make_cases(plan, name):
    if name == "limits":
        return [limits_case(plan)]
    for bench in catalog.TASK_BENCHES:
        if bench.name == name:
            return [task_case(plan, bench, workers) for workers in plan.workers]
    for bench in catalog.ECHO_BENCHES:
        for layout in catalog.LAYOUTS:
            if f"{bench.name}_{layout.name}" == name:
                return [echo_case(plan, bench, layout)]
    for bench in catalog.CLIENT_BENCHES:
        for layout in catalog.LAYOUTS:
            if f"{bench.name}_{layout.name}" == name:
                return [http_client_case(plan, bench, layout)]
    for bench in catalog.RESP_BENCHES:
        for layout in catalog.LAYOUTS:
            if f"{bench.name}_{layout.name}" == name:
                return [resp_case(plan, bench, layout)]
    return [http_case(plan, next(b for b in catalog.HTTP_BENCHES if b.name == name))]
