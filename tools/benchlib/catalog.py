"""What can be measured: names, programs, peers. The tables of tools/bench; no code runs here.

Every program, filch's and the peers', follows one protocol:
  task benchmarks   PROGRAM BENCH --workers N [--quick]
                    prints  result name=BENCH value=41.2 unit=ns/task check=ok
                    with metric=KEY where there are several figures, a line each
                    (exit 2: no such benchmark)
  servers           print a line that ends in their port: `port N` or `listening on ADDR:N`
"""
from dataclasses import dataclass

TIME = "time"  # the one metric of most task benchmarks

TOKIO = ("tokio", "tokio-jemalloc")
GO, UV, ASIO, TBB = ("go",), ("libuv",), ("asio",), ("tbb",)
CPP = ASIO + TBB

# Programs of the peers that run task benchmarks.
PEER_TASKS = {
    "tokio": "tokio-peer",
    "tokio-jemalloc": "tokio-peer",
    "go": "go-peer",
    "libuv": "uv_bench",
    "asio": "asio-peer",
    "tbb": "tbb-peer",
    "raw-splice": "raw_splice",
}

# What stands beside a version in every comparison.
ALLOCATORS = {
    "filch": "jemalloc in the programs, pools inside",
    "filch-stream": "the same",
    "filch-epoll": "the same",
    "tokio": "glibc",
    "tokio-jemalloc": "jemalloc, preloaded",
    "go": "Go's own, collected",
    "libuv": "glibc",
    "asio": "glibc, and Asio's recycling of handlers",
    "tbb": "tbbmalloc for its tasks, glibc for the rest",
    "hyper": "glibc",
    "nginx": "pools on glibc",
    "redis": "jemalloc",
    "curl": "glibc",
    "raw-splice": "none",
    "openssl-loop": "glibc",
    "openssl-speed": "glibc",
}


@dataclass(frozen=True)
class TaskBench:
    name: str
    group: str
    program: str  # of filch, in BUILD/bench/
    metrics: dict  # key: unit; the first is the one that counts; lower is better in all
    peers: tuple
    what: str
    peer_name: str = ""  # where the peers call it otherwise


@dataclass(frozen=True)
class Spec:
    """A line of the tables below; the unit may be a table of metrics and units."""
    name: str
    unit: object
    peers: tuple
    what: str
    peer_name: str = ""


def _benches(group, program, rows):
    return [TaskBench(row.name, group, program,
                      row.unit if isinstance(row.unit, dict) else {TIME: row.unit},
                      row.peers, row.what, row.peer_name) for row in rows]


PERCENTILES = {"p50_us": "us", "p99_us": "us"}
HOL = {"p99_us": "us", "gap_us": "us", "apart_p99_us": "us", "apart_gap_us": "us",
       "short_p99_us": "us", "short_gap_us": "us"}
READS = {"section": "ns/read", "plain_load": "ns/read", "rwlock": "ns/read"}
LOCKS = {TIME: "ns/op", "work": "ns/op"}
FORKS = {TIME: "ms", "serial": "ms", "cpu": "CPU ms"}
MONITOR = {"cost": "percent", "watch_share": "percent of CPU", "cpu": "CPU ns"}
MEMORY = {"create": "ns/task", "rss": "B/task", "page_tables": "B/task"}

TASK_BENCHES = (
    _benches("tasks", "bench_tasks", [
        Spec("spawn_join", "ns/task", TOKIO + GO + TBB, "one task spawns 1M tasks, then joins all"),
        Spec("spawn_join1", "ns/task", TOKIO + GO + CPP, "300k times: spawn a task, join it"),
        Spec("spawn_detached", "ns/task", TOKIO + GO + CPP, "one task spawns 1M, waits for the last"),
        Spec("spawn_outside", "ns/task", TOKIO + CPP, "a plain thread spawns 1M detached tasks"),
        Spec("chain", "ns/task", TOKIO + GO + CPP, "each task spawns the next, depth 1M"),
        Spec("yield", "ns/yield", TOKIO + GO + ASIO, "1,000 tasks yield 1,000 times each"),
        Spec("oneshot", "ns/op", TOKIO + GO, "300k times: a spawned task answers once"),
        Spec("spawn_wake", PERCENTILES, TOKIO + GO + CPP,
            "spawn, then compute 5 ms: delay until the child starts elsewhere"),
        Spec("blocking", "ns/op", TOKIO[:1] + UV, "100k blocking no-ops, one at a time"),
        Spec("blocking_batch", "ns/op", TOKIO + UV, "100k blocking no-ops, all at once"),
    ])
    + _benches("fork", "bench_fork", [
        Spec("fib", {**FORKS, "ns_per_fork": "ns", "speedup": "times"}, TBB,
            "fib(39), a fork for each number; ns_per_fork: on one worker"),
        Spec("skynet", FORKS, TBB, "10M leaves, ten forks to a node"),
        Spec("nqueens", FORKS, TBB, "14 queens, a fork for each place that is free"),
        Spec("matmul", FORKS, TBB, "1024 x 1024 floats, down to blocks of 64"),
        Spec("uts", FORKS, TBB, "the unbalanced tree T1L, 102M nodes; T1 with --quick"),
        Spec("reduce", FORKS, TBB, "a loop that adds up a function of 50M numbers"),
        Spec("sort", FORKS, TBB, "4M numbers of 32 bits, in random order; serial: qsort"),
    ])
    + _benches("channels", "bench_channels", [
        Spec("pingpong_1", "ns/round trip", TOKIO + GO, "1 pair over two bounded(1) channels"),
        Spec("pingpong_1000", "ns/round trip", TOKIO + GO, "1,000 pairs over two channels each"),
        Spec("mpsc_1p", "ns/msg", TOKIO + GO + TBB, "bounded(128), 1 producer, 5M messages"),
        Spec("mpsc_8p", "ns/msg", TOKIO + GO, "bounded(128), 8 producers, 5M messages"),
        Spec("umpsc_1p", "ns/msg", TOKIO + GO + TBB, "unbounded, 1 producer, 5M messages"),
        Spec("umpsc_8p", "ns/msg", TOKIO + GO, "unbounded, 8 producers, 5M messages"),
        Spec("mpmc_4x4", "ns/msg", TOKIO + GO, "bounded(128), 4 producers, 4 consumers"),
        Spec("mutex_4", LOCKS, TOKIO + GO, "4 tasks, one mutex, 1M locks each, 50 ns inside; work: these alone"),
        Spec("rwlock_4", LOCKS, TOKIO + GO, "4 tasks, one read/write lock, 1M locks each, one in 64 writes"),
        Spec("select_4", "ns/msg", TOKIO + GO, "one task selects over 4 channels, 4M messages"),
        Spec("stream", "ns/item/stage", (), "10M items through map, filter and chunks"),
    ])
    + _benches("counts", "bench_counts", [
        Spec("semaphore", "ns/op", TOKIO + GO, "4 tasks, 2 permits, 1M acquire and release each"),
        Spec("semaphore_1", "ns/op", TOKIO + GO, "1 task, 1 permit, 1M acquire and release"),
        Spec("notify", "ns/round trip", TOKIO + GO, "2 tasks notify each other 300k times"),
    ])
    + _benches("signals", "bench_signals", [
        Spec("watch", "ns/look", TOKIO + GO, "1 sender replaces a value 300k times, 8 tasks see it"),
        Spec("broadcast", "ns/look", TOKIO + GO, "1 sender, 8 receivers, 1M messages, 128 kept"),
        Spec("broadcast_keep", "ns/look", GO, "the same; the sender waits for the slowest"),
    ])
    + _benches("beside", "bench_beside", [
        Spec("hol", HOL, TOKIO[:1],
            "echo_50 while all workers but one compute for 100 ms at a time; apart: in other processes"),
        Spec("hol_read", {"slower": "times", "gap_us": "us"}, (),
            "echo_50 while all workers are in read(2), against nobody beside"),
        Spec("groups", {"p99_ratio": "times", "p99_us": "us", "alone_p99_us": "us",
                        "batch_share": "percent of CPU", "slower": "times"}, (),
            "echo_50 and fib in groups 3:1, against echo_50 alone"),
        Spec("monitor_echo", MONITOR, (),
            "CPU time of echo_50 with rescue and spare workers, against without"),
        Spec("monitor_spawn", MONITOR, (), "the same for tasks that are spawned and joined"),
    ])
    + _benches("rcu", "bench_rcu", [
        Spec("rcu_read", READS, TOKIO[:1] + GO,
            "20M reads of what others may replace: in a section; bare; under a read/write lock"),
    ])
    + _benches("files", "bench_files", [
        Spec("fs_read", {TIME: "ns/read", "uring": "ns/read", "pread": "ns/read", "cpu": "CPU ns/read", "uring_cpu": "CPU ns/read",
                         "pread_cpu": "CPU ns/read"}, GO,
            "64 tasks read 4 KiB at random, 2M times, of 1 GiB that is cached; a bare ring; pread"),
        Spec("fs_small", {TIME: "ns/file", "tasks_64": "ns/file", "loop": "ns/file"}, GO,
            "1 task opens, reads, closes 10k small files 5 times; 64 tasks; a loop that blocks"),
    ])
    + _benches("time", "bench_timers", [
        Spec("timers", "CPU ns/timer", TOKIO + GO + UV + ASIO, "1M futures sleep 0-999 ms"),
        Spec("timers_tasks", "CPU ns/timer", TOKIO + GO, "1M tasks sleep 0-999 ms",
            "timers"),
        Spec("churn", "ns/op", TOKIO + GO + UV + ASIO, "arm and cancel a 10 s timer 1M times"),
        Spec("churn_bg", "ns/op", TOKIO + GO + UV + ASIO, "the same with 100k others pending"),
        Spec("timer_error", PERCENTILES, TOKIO[:1] + GO + UV + ASIO,
            "sleep 200 us, 10k times: lateness"),
    ])
    + _benches("copies", "bench_copy", [
        Spec("proxy", {TIME: "us/MiB", "cpu": "CPU us/MiB"}, ("raw-splice",),
            "2 GiB from one connection to another; its peer is a splice loop"),
        Spec("send_file", {TIME: "us/MiB", "cpu": "CPU us/MiB", "copy": "us/MiB", "copy_cpu": "CPU us/MiB"}, (),
            "a file of 4 MiB into a connection, 512 times; copy: by reads and writes; cpu: the sender's"),
        Spec("copy_pipe", {TIME: "us/MiB", "cpu": "CPU us/MiB", "copy": "us/MiB", "copy_cpu": "CPU us/MiB"}, (),
            "2 GiB from a connection into a pipe; copy: by reads and writes; cpu: without those who feed and take"),
    ])
    + _benches("idle", "bench_idle", [
        Spec("mem_task", MEMORY, GO, "1M tasks in a 600 s sleep: to create, and memory of each"),
        Spec("mem_future", MEMORY, TOKIO + ASIO, "the same with futures"),
        Spec("mem_async", MEMORY, (), "the same with futures that await a sleep (async.h)"),
        Spec("idle_cpu", {"cpu": "CPU ms/10 s", "switches": "per 10 s"}, TOKIO[:1] + GO + ASIO,
            "10k parked tasks for 10 s: CPU time and context switches"),
    ])
)

# Figures of the machine, not of a runtime: key: (unit, what).
LIMITS = {
    "switch": ("ns", "from one stack to another"),
    "cas": ("ns", "compare and swap, no contention"),
    "locked_add": ("ns", "atomic add, no contention"),
    "cache_line_round_trip": ("ns", "a cache line to another core and back"),
    "futex_wake_to_run": ("ns", "futex wake until the sleeper runs on another core"),
    "futex_wake_call": ("ns", "what of it the waker pays"),
    "eventfd_ring_to_run": ("ns", "eventfd write until a sleeper in a ring runs"),
    "eventfd_ring_call": ("ns", "what of it the waker pays"),
    "ring_nop": ("ns", "io_uring nop, one at a time"),
    "ring_nop_64": ("ns", "io_uring nop, in batches of 64"),
    "page_fault": ("ns", "first touch of a page"),
    "system_call": ("ns", "getppid"),
    "clock_read": ("ns", "clock_gettime, monotonic"),
}
MACHINE = "machine"  # stands where an implementation would


@dataclass(frozen=True)
class EchoBench:
    name: str
    conns: int
    bytes: int
    what: str
    options: tuple = ()
    unit: str = "msgs/s"
    kind: str = "echo"  # the servers: SERVERS


ECHO_BENCHES = [
    EchoBench("echo_1", 1, 64, "TCP echo of 64 B, 1 connection"),
    EchoBench("echo_50", 50, 64, "TCP echo of 64 B, 50 connections"),
    EchoBench("echo_1000", 1000, 64, "TCP echo of 64 B, 1,000 connections"),
    EchoBench("echo_16k", 50, 16384, "TCP echo of 16 KiB, 50 connections"),
    EchoBench("accept_rate", 64, 64, "64 clients: connect, one message, close",
              ("--reconnect",), "conn/s"),
    EchoBench("idle_conns", 1, 64, "one active connection beside 100k idle ones: their memory, its latency",
              ("--idle", "100000")),
    EchoBench("udp_echo", 50, 64, "UDP echo of 64 B, 50 client sockets, one of the server",
              ("--udp",), kind="udp"),
]


@dataclass(frozen=True)
class HttpBench:
    name: str
    conns: int
    what: str
    tls: bool = False
    load: str = "wrk"  # the client; h2load, s_time
    key: str = "P-256"  # of the server's certificate


HTTP_BENCHES = [
    HttpBench("http_plain_c64", 64, "HTTP hello, keep-alive, wrk -t1 -c64"),
    HttpBench("http_plain_c1000", 1000, "HTTP hello, keep-alive, wrk -t1 -c1000"),
    HttpBench("https_plain_c64", 64, "the same over TLS 1.3, one certificate for all (P-256)", tls=True),
    HttpBench("h2_plain", 4, "HTTP/2 hello without TLS, h2load -t1 -c4 -m100", load="h2load"),
    HttpBench("h2_tls", 4, "the same over TLS 1.3", tls=True, load="h2load"),
    HttpBench("tls_handshake", 1, "full handshakes of TLS 1.3 (P-256), openssl s_time -new", tls=True, load="s_time"),
    HttpBench("tls_handshake_rsa", 1, "the same with a key of RSA, 2,048 bits", tls=True, load="s_time", key="RSA-2048"),
]


@dataclass(frozen=True)
class ClientBench:
    name: str
    requests: int
    tasks: int
    what: str


CLIENT_BENCHES = [
    ClientBench("http_client", 10000, 64, "10,000 GETs over 64 tasks, keep-alive; the whole process"),
]


@dataclass(frozen=True)
class RespBench:
    name: str
    command: str  # of redis-benchmark's tests
    pipeline: int
    requests: int
    what: str


RESP_BENCHES = [
    RespBench("resp_get", "get", 1, 400_000, "GET of 16 B, redis-benchmark -c 50, 100k keys"),
    RespBench("resp_set", "set", 1, 400_000, "SET of 16 B, redis-benchmark -c 50, 100k keys"),
    RespBench("resp_get_p16", "get", 16, 2_000_000, "the same, 16 in a pipeline"),
    RespBench("resp_set_p16", "set", 16, 2_000_000, "the same, 16 in a pipeline"),
]


@dataclass(frozen=True)
class Layout:
    name: str
    workers: int
    pinned: bool  # server on the first cpu, client on the second


LAYOUTS = [Layout("s1", 1, True), Layout("s2", 2, False)]

# Servers: {workers} is filled in; {peers} and {filch} are the two build folders.
FILCH_ECHO = {
    "filch": ["{filch}/examples/echo", "127.0.0.1:0", "{workers}"],
    "filch-stream": ["{filch}/examples/echo_stream", "127.0.0.1:0", "{workers}"],
    "filch-epoll": ["/usr/bin/env", "FILCH_ENGINE=epoll", "{filch}/examples/echo", "127.0.0.1:0", "{workers}"],
}
FILCH_HTTP = {"filch": ["{filch}/examples/http_hello", "127.0.0.1:0", "{workers}"]}

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
    "asio": ["{peers}/asio-peer", "echo", "--workers", "{workers}"],
}
FILCH_UDP = {"filch": ["{filch}/examples/udp_echo", "127.0.0.1:0", "{workers}"]}
PEER_UDP = {
    "tokio": ["{peers}/tokio-peer", "udp-echo", "--workers", "{workers}"],
    "go": ["{peers}/go-peer", "udp-echo", "--workers", "{workers}"],
}
SERVERS = {"echo": (FILCH_ECHO, PEER_ECHO, RAW_ECHO), "udp": (FILCH_UDP, PEER_UDP, {})}
# {cert} and {key} are filled in when it starts.
FILCH_HTTPS = {"filch": ["{filch}/examples/https_hello", "127.0.0.1:0", "{{cert}}", "{{key}}", "{workers}"]}
PEER_NGINX = {"nginx": ["nginx"]}
PEER_HTTP = {
    "go": ["{peers}/go-peer", "http", "--workers", "{workers}"],
    "hyper": ["{peers}/hyper-peer", "--workers", "{workers}"],
    "nginx": ["nginx"],  # its own way to start: servers.nginx()
}

# The server of both is filch's; what is measured is the client.
HTTP_CLIENT_SERVER = ["{filch}/examples/http_hello", "127.0.0.1:0", "1"]
FILCH_HTTP_CLIENT = {"filch": ["{filch}/bench/bench_http_client", "{url}", "{requests}", "{tasks}", "--workers", "{workers}"]}
PEER_HTTP_CLIENT = {
    "go": ["{peers}/go-peer", "fetch", "{url}", "{requests}", "{tasks}", "--workers", "{workers}"],
    "curl": ["curl", "--no-progress-meter", "--parallel", "--parallel-max", "{tasks}", "--output", "/dev/null",
             "--write-out", "%{{http_code}}\\n", "{url}?[1-{requests}]"],
}

FILCH_RESP = {"filch": ["{filch}/examples/resp_server", "127.0.0.1:0", "{workers}"]}
PEER_RESP = {"redis": ["redis-server"]}  # its own way to start: servers.redis()

# key: (unit, is higher better); the unit of msgs_s is the benchmark's own
ECHO_METRICS = {
    "msgs_s": ("msgs/s", True),
    "p50_us": ("us", False),
    "p99_us": ("us", False),
    "p999_us": ("us", False),
    "server_cpu_us": ("CPU us/msg", False),
}
IDLE_METRICS = {
    "rss_b": ("B/connection", False),
    "page_tables_b": ("B/connection", False),
    "p99_us": ("us", False),
    "alone_p99_us": ("us", False),
    "beyond_us": ("us", False),
}
HTTP_METRICS = {
    "req_s": ("req/s", True),
    "p50_us": ("us", False),
    "p99_us": ("us", False),
    "server_cpu_us": ("CPU us/req", False),
}
# Of clients that know no percentiles.
HTTP_RATE_METRICS = {
    "req_s": ("req/s", True),
    "server_cpu_us": ("CPU us/req", False),
}
# The rate is what one client's core, or for the limits the server's, allows.
HANDSHAKE_METRICS = {
    "server_cpu_us": ("CPU us/handshake", False),
    "client_cpu_us": ("CPU us/handshake", False),
    "req_s": ("handshakes/s", True),
}
CLIENT_METRICS = {
    "req_s": ("req/s", True),
    "client_cpu_us": ("CPU us/req", False),
}
RESP_METRICS = HTTP_METRICS


def echo_metrics(bench):
    """What load's line says of a benchmark."""
    return IDLE_METRICS if "--idle" in bench.options else {**ECHO_METRICS, "msgs_s": (bench.unit, True)}
