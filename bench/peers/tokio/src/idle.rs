//! Many tasks that do nothing: their memory, and what an idle runtime costs.

use crate::timers::process_cpu_time;
use crate::{on_worker, pick, Outcome};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

const PARKED: u64 = 10_000;

/// The number after a key such as "VmRSS:" in a status file of /proc.
fn status_number(path: &str, key: &str) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0)
}

fn process_bytes(key: &str) -> f64 {
    status_number("/proc/self/status", key) * 1024.0
}

fn process_switches() -> f64 {
    let threads = fs::read_dir("/proc/self/task").expect("/proc");
    threads
        .flatten()
        .map(|thread| thread.path().join("status").display().to_string())
        .map(|path| {
            status_number(&path, "voluntary_ctxt_switches:")
                + status_number(&path, "nonvoluntary_ctxt_switches:")
        })
        .sum()
}

pub fn mem_future(rt: &Runtime) -> Outcome {
    let n = pick(1_000_000, 100_000);
    on_worker(rt, async move {
        let arrived = Arc::new(AtomicU64::new(0));
        let all = Arc::new(Notify::new());
        let (rss, tables) = (process_bytes("VmRSS:"), process_bytes("VmPTE:"));
        let start = Instant::now();
        for _ in 0..n {
            let (arrived, all) = (arrived.clone(), all.clone());
            tokio::spawn(async move {
                if arrived.fetch_add(1, Ordering::AcqRel) + 1 == n {
                    all.notify_one();
                }
                drop((arrived, all));
                tokio::time::sleep(Duration::from_secs(600)).await;
            });
        }
        all.notified().await;
        let took = start.elapsed().as_nanos() as f64 / n as f64;
        let figures = vec![
            ("create", "ns/task", took),
            ("rss", "B/task", (process_bytes("VmRSS:") - rss) / n as f64),
            ("page_tables", "B/task", (process_bytes("VmPTE:") - tables) / n as f64),
        ];
        Outcome::of_figures(figures, arrived.load(Ordering::Acquire) == n)
    })
}

pub fn idle_cpu(rt: &Runtime) -> Outcome {
    let gate = Arc::new(Notify::new());
    let arrived = Arc::new(AtomicU64::new(0));
    for _ in 0..PARKED {
        let (gate, arrived) = (gate.clone(), arrived.clone());
        rt.spawn(async move {
            arrived.fetch_add(1, Ordering::AcqRel);
            gate.notified().await;
        });
    }
    while arrived.load(Ordering::Acquire) < PARKED {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(500));
    let seconds = pick(10, 1) as f64;
    let (cpu, switches) = (process_cpu_time(), process_switches());
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let cpu = (process_cpu_time() - cpu).as_secs_f64() * 1e3 * 10.0 / seconds;
    let switches = (process_switches() - switches) * 10.0 / seconds;
    Outcome::of_figures(vec![("cpu", "ms", cpu), ("switches", "count", switches)], true)
}
