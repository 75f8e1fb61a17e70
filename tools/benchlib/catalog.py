"""What can be measured: names, programs, peers. The tables of tools/bench; no code runs here.

Every program, filch's and the peers', follows one protocol:
  task benchmarks   PROGRAM BENCH --workers N   prints  result name=BENCH value=41.2 unit=ns/task check=ok
                    (exit 2: no such benchmark)
  servers           print a line that ends in their port: `port N` or `listening on ADDR:N`
"""
from dataclasses import dataclass

TOKIO = ("tokio", "tokio-jemalloc")
BOTH = (*TOKIO, "go")


@dataclass(frozen=True)
class TaskBench:
    name: str
    group: str
    unit: str
    program: str  # of filch, in BUILD/bench/
    peers: tuple
    peer_name: str = ""  # where the peers call it otherwise


def _benches(group, program, rows):
    return [TaskBench(name, group, unit, program, *peers) for name, unit, *peers in rows]


TASK_BENCHES = (
    _benches("tasks", "bench_tasks", [
        ("spawn_join", "ns/task", BOTH),
        ("spawn_join1", "ns/task", BOTH),
        ("spawn_detached", "ns/task", BOTH),
        ("spawn_outside", "ns/task", TOKIO),
        ("chain", "ns/task", BOTH),
        ("yield", "ns/yield", BOTH),
        ("oneshot", "ns/op", BOTH),
        ("blocking", "ns/op", TOKIO),
        ("blocking_batch", "ns/op", TOKIO),
    ])
    + _benches("channels", "bench_channels", [
        ("pingpong_1", "ns/round trip", BOTH),
        ("pingpong_1000", "ns/round trip", BOTH),
        ("mpsc_1p", "ns/msg", BOTH),
        ("mpsc_8p", "ns/msg", BOTH),
        ("umpsc_1p", "ns/msg", BOTH),
        ("umpsc_8p", "ns/msg", BOTH),
        ("mpmc_4x4", "ns/msg", BOTH),
        ("mutex_4", "ns/op", BOTH),
    ])
    + _benches("time", "bench_timers", [
        ("timers", "CPU ns/timer", BOTH),
        ("timers_tasks", "CPU ns/timer", BOTH, "timers"),
        ("churn", "ns/op", BOTH),
        ("churn_bg", "ns/op", BOTH),
    ])
)



@dataclass(frozen=True)
class EchoBench:
    name: str
    conns: int
    bytes: int


ECHO_BENCHES = [
    EchoBench("echo_1", 1, 64),
    EchoBench("echo_50", 50, 64),
    EchoBench("echo_1000", 1000, 64),
    EchoBench("echo_16k", 50, 16384),
]


@dataclass(frozen=True)
class HttpBench:
    name: str
    conns: int


HTTP_BENCHES = [HttpBench("http_plain_c64", 64), HttpBench("http_plain_c1000", 1000)]


@dataclass(frozen=True)
class Layout:
    name: str
    workers: int
    pinned: bool  # server on the first cpu, client on the second


LAYOUTS = [Layout("s1", 1, True), Layout("s2", 2, False)]

# Servers: {workers} is filled in; {peers} and {filch} are the two build folders.
FILCH_ECHO = ["{filch}/examples/echo", "127.0.0.1:0", "{workers}"]
FILCH_HTTP = ["{filch}/examples/http_hello", "127.0.0.1:0", "{workers}"]

RAW_ECHO = {
    "raw-uring-coop": ["{peers}/raw_uring", "echo"],
    "raw-uring-defer": ["{peers}/raw_uring", "echo", "--defer"],
    "raw-uring-multishot": ["{peers}/raw_uring", "echo", "--defer", "--multishot"],
    "raw-epoll": ["{peers}/raw_epoll", "echo"],
}
PEER_ECHO = {
    "tokio": ["{peers}/tokio-peer", "echo", "--workers", "{workers}"],
    "libuv": ["{peers}/uv_echo", "echo"],
    "go": ["{peers}/go-peer", "echo", "--workers", "{workers}"],
}
PEER_HTTP = {
    "go": ["{peers}/go-peer", "http", "--workers", "{workers}"],
    "nginx": ["nginx"],  # its own way to start: servers.nginx()
}

# Programs of the peers that run task benchmarks.
PEER_TASKS = {
    "tokio": "tokio-peer",
    "tokio-jemalloc": "tokio-peer",
    "go": "go-peer",
}

# key: (unit, is higher better)
ECHO_METRICS = {
    "msgs_s": ("msgs/s", True),
    "p50_us": ("us", False),
    "p99_us": ("us", False),
    "p999_us": ("us", False),
    "server_cpu_us": ("CPU us/msg", False),
}
HTTP_METRICS = {
    "req_s": ("req/s", True),
    "p50_us": ("us", False),
    "p99_us": ("us", False),
    "server_cpu_us": ("CPU us/req", False),
}
