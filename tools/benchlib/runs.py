"""One sample of one implementation: runs the programs and reads what they print.

make_cases() turns a name into cases; a case has one closure per implementation, and calling it
takes one sample: a dict from metric to value, with the latency curve under CURVE if there is one."""
import os
import re
import shutil
import subprocess
import urllib.request
from dataclasses import dataclass, field

from . import catalog
from .build import find_nginx, jemalloc_library
from .servers import NoSuchBench, RunError, cpu_ns, nginx, pinned, server

TASK_TIMEOUT_S = 180
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
                     for line in _run(load, plan.seconds + plan.warmup + 30).splitlines())
    result = _fields(lines["load"])
    sample = {key: float(result[key]) for key in catalog.ECHO_METRICS if key in result}
    sample[CURVE] = [[float(n) for n in point.split(":")] for point in lines["curve"].split()]
    return sample


def _microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def _check_http(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        body = answer.read()
    if body.strip() != b"Hello, World!":
        raise RunError(f"wrong HTTP body: {body[:80]!r}")


def _wrk(port, conns, seconds, cpu):
    text = _run(pinned(["wrk", "-t1", f"-c{conns}", f"-d{max(1, round(seconds))}s", "--latency",
                        f"http://127.0.0.1:{port}/"], cpu), seconds + 30)
    if "Non-2xx" in text or "Socket errors" in text:
        raise RunError(f"wrk saw errors:\n{text}")
    quantiles = dict(re.findall(r"^\s+(\d+)%\s+(\S+)$", text, re.MULTILINE))
    return {
        "requests": int(re.search(r"(\d+) requests in", text).group(1)),
        "req_s": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
        "p50_us": _microseconds(quantiles["50"]),
        "p99_us": _microseconds(quantiles["99"]),
    }


def run_http(plan, impl, command, bench, layout):
    server_cpu, client_cpu = _cpus_of(layout)
    if impl == "nginx":
        serving = nginx(plan.source / "bench/peers/nginx.conf.in", layout.workers, server_cpu)
    else:
        serving = server(command, server_cpu)
    with serving as (pid, port):
        _check_http(port)
        _wrk(port, bench.conns, 1, client_cpu)
        before = cpu_ns(pid)
        result = _wrk(port, bench.conns, plan.seconds, client_cpu)
        result["server_cpu_us"] = (cpu_ns(pid) - before) / 1e3 / result.pop("requests")
    return result


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


def task_case(plan, bench, workers):
    metrics = {metric: (unit, False) for metric, unit in bench.metrics.items()}
    case = Case(bench.name, bench.group, workers, metrics)
    if plan.with_filch:
        program = plan.filch / "bench" / bench.program
        _add_impl(case, "filch", program, lambda: run_task(plan, program, bench.name, workers))
    for impl in bench.peers if plan.with_peers else ():
        env, why_not = _task_peer_env(impl)
        if why_not:
            case.missing[impl] = why_not
            continue
        peer, name = plan.peers / catalog.PEER_TASKS[impl], bench.peer_name or bench.name
        _add_impl(case, impl, peer,
                  lambda peer=peer, env=env: run_task(plan, peer, name, workers, env))
    return case


def limits_case(plan):
    metrics = {metric: (unit, False) for metric, (unit, _) in catalog.LIMITS.items()}
    case = Case("limits", "limits", 1, metrics)
    program = plan.filch / "bench/limits/limits"
    _add_impl(case, catalog.MACHINE, program, lambda: run_task(plan, program, "limits", 1))
    return case


def _servers(plan, filch, peers, raw):
    chosen = {"filch": filch} if plan.with_filch else {}
    if plan.with_peers or plan.raw_only:
        chosen.update(raw)
    if plan.with_peers and not plan.raw_only:
        chosen.update(peers)
    return chosen


def echo_case(plan, bench, layout):
    metrics = {**catalog.ECHO_METRICS, "msgs_s": (bench.unit, True)}
    case = Case(f"{bench.name}_{layout.name}", "echo", layout.workers, metrics)
    for impl, template in _servers(plan, catalog.FILCH_ECHO, catalog.PEER_ECHO,
                                   catalog.RAW_ECHO).items():
        command = _fill(template, plan, layout.workers)
        _add_impl(case, impl, command[0],
                  lambda command=command: run_echo(plan, command, bench, layout))
    return case


def http_case(plan, bench):
    layout = catalog.LAYOUTS[0]
    case = Case(bench.name, "http", layout.workers, catalog.HTTP_METRICS)
    if not shutil.which("wrk"):
        case.missing["wrk"] = "not installed: nothing to measure with"
        return case
    for impl, template in _servers(plan, catalog.FILCH_HTTP, catalog.PEER_HTTP, {}).items():
        command = _fill(template, plan, layout.workers)
        _add_impl(case, impl, find_nginx() if impl == "nginx" else command[0],
                  lambda impl=impl, command=command: run_http(plan, impl, command, bench, layout))
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
            names[f"{bench.name}_{layout.name}"] = Name("echo", f"{bench.unit}, us", bench.what)
    for bench in catalog.HTTP_BENCHES:
        names[bench.name] = Name("http", "req/s, us", bench.what)
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
    return [http_case(plan, next(b for b in catalog.HTTP_BENCHES if b.name == name))]
