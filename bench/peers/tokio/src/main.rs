//! Tokio as a peer: `tokio-peer BENCH --workers N`. A task benchmark runs once as warm-up and once
//! measured, and prints `result name=... value=... unit=... check=ok`; `echo` and
//! `udp-echo` serve until they are terminated. The workloads are those of filch's own benchmark programs, name for name.

mod beside;
mod channels;
mod counts;
mod echo;
mod idle;
mod signals;
mod tasks;
mod timers;

use std::future::Future;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// What one run of a benchmark took, for how many operations, and whether its answer was right.
pub struct Outcome {
    pub elapsed: Duration,
    pub ops: u64,
    pub ok: bool,
    /// Metric, unit, value: where there are several.
    pub figures: Vec<(&'static str, &'static str, f64)>,
}

impl Outcome {
    pub fn since(start: Instant, ops: u64, ok: bool) -> Outcome {
        Outcome { elapsed: start.elapsed(), ops, ok, figures: Vec::new() }
    }

    pub fn of_figures(figures: Vec<(&'static str, &'static str, f64)>, ok: bool) -> Outcome {
        Outcome { elapsed: Duration::ZERO, ops: 1, ok, figures }
    }

    pub fn percentiles(mut samples: Vec<Duration>, ok: bool) -> Outcome {
        samples.sort();
        let at = |percent: usize| samples[samples.len() * percent / 100].as_nanos() as f64 / 1e3;
        Outcome::of_figures(vec![("p50_us", "us", at(50)), ("p99_us", "us", at(99))], ok)
    }
}

/// The size of a workload, which --quick makes smaller.
pub fn pick(whole: u64, short: u64) -> u64 {
    if std::env::args().any(|arg| arg == "--quick") {
        short
    } else {
        whole
    }
}

/// Run `future` on a worker, as a task: block_on() itself polls on the calling thread.
pub fn on_worker<F>(rt: &Runtime, future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    rt.block_on(rt.spawn(future)).expect("task failed")
}

type Bench = fn(&Runtime) -> Outcome;

const BENCHES: &[(&str, &str, Bench)] = &[
    ("spawn_join", "ns/task", tasks::spawn_join),
    ("spawn_join1", "ns/task", tasks::spawn_join1),
    ("spawn_detached", "ns/task", tasks::spawn_detached),
    ("spawn_outside", "ns/task", tasks::spawn_outside),
    ("chain", "ns/task", tasks::chain),
    ("yield", "ns/yield", tasks::yield_),
    ("oneshot", "ns/op", tasks::oneshot),
    ("blocking", "ns/op", tasks::blocking),
    ("blocking_batch", "ns/op", tasks::blocking_batch),
    ("pingpong_1", "ns/round trip", channels::pingpong_1),
    ("pingpong_1000", "ns/round trip", channels::pingpong_1000),
    ("mpsc_1p", "ns/msg", channels::mpsc_1p),
    ("mpsc_8p", "ns/msg", channels::mpsc_8p),
    ("umpsc_1p", "ns/msg", channels::umpsc_1p),
    ("umpsc_8p", "ns/msg", channels::umpsc_8p),
    ("mpmc_4x4", "ns/msg", channels::mpmc_4x4),
    ("mutex_4", "ns/op", channels::mutex_4),
    ("rwlock_4", "ns/op", channels::rwlock_4),
    ("semaphore", "ns/op", counts::semaphore),
    ("semaphore_1", "ns/op", counts::semaphore_1),
    ("notify", "ns/round-trip", counts::notify),
    ("watch", "ns/look", signals::watch),
    ("broadcast", "ns/look", signals::broadcast),
    ("rcu_read", "ns/read", signals::rcu_read),
    ("select_4", "ns/msg", channels::select_4),
    ("spawn_wake", "us", tasks::spawn_wake),
    ("hol", "us", beside::hol),
    ("timer_error", "us", timers::timer_error),
    ("mem_future", "", idle::mem_future),
    ("idle_cpu", "", idle::idle_cpu),
    ("timers", "CPU ns/timer", timers::timers),
    ("churn", "ns/op", timers::churn),
    ("churn_bg", "ns/op", timers::churn_bg),
];

/// They have no warm-up.
const COLD: &[&str] = &["spawn_wake", "hol", "timer_error", "mem_future", "idle_cpu"];

fn start_runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .expect("cannot start a runtime")
}

fn run_bench(name: &str, unit: &str, bench: Bench, rt: &Runtime) -> bool {
    if !COLD.contains(&name) {
        bench(rt);
    }
    let outcome = bench(rt);
    let check = if outcome.ok { "ok" } else { "FAILED" };
    if outcome.figures.is_empty() {
        let value = outcome.elapsed.as_nanos() as f64 / outcome.ops as f64;
        let unit = unit.replace(' ', "_");
        println!("result name={name} value={value:.1} unit={unit} check={check}");
    }
    for (metric, unit, value) in outcome.figures {
        println!("result name={name} metric={metric} value={value:.1} unit={unit} check={check}");
    }
    outcome.ok
}

fn workers_of(args: &[String]) -> usize {
    match args.iter().position(|a| a == "--workers") {
        Some(i) => args.get(i + 1).and_then(|n| n.parse().ok()).expect("--workers N"),
        None => std::thread::available_parallelism().map_or(1, |n| n.get()),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let name = args.get(1).map_or("", |s| s.as_str());
    let rt = start_runtime(workers_of(&args));
    if name == "echo" {
        on_worker(&rt, echo::serve());
    }
    if name == "udp-echo" {
        on_worker(&rt, echo::serve_udp(workers_of(&args)));
    }
    let ok = match BENCHES.iter().find(|b| b.0 == name) {
        Some((_, unit, bench)) => run_bench(name, unit, *bench, &rt),
        None => {
            eprintln!("no benchmark of that name: {name}");
            std::process::exit(2);
        }
    };
    // Leave at once: dropping the runtime would first free what a benchmark left pending.
    std::process::exit(if ok { 0 } else { 1 });
}
