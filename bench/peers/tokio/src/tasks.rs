//! Spawning, joining, yielding, blocking calls.

use crate::{on_worker, pick, Outcome};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, Notify};

const TASKS: u64 = 1_000_000;
const ROUNDS: u64 = 300_000;
const BLOCKING: u64 = 100_000;
const QUICK_BLOCKING: u64 = 20_000;
const YIELDERS: u64 = 1_000;
const YIELDS: u64 = 1_000;
const WAKES: u64 = 200;
const QUICK_WAKES: u64 = 40;

/// Counts tasks that ran; the last of `total` wakes the waiter.
struct Countdown {
    ran: AtomicU64,
    total: u64,
    done: Notify,
}

impl Countdown {
    fn new(total: u64) -> Arc<Countdown> {
        Arc::new(Countdown { ran: AtomicU64::new(0), total, done: Notify::new() })
    }

    fn add(&self) {
        if self.ran.fetch_add(1, Ordering::AcqRel) + 1 == self.total {
            self.done.notify_one();
        }
    }

    fn is_complete(&self) -> bool {
        self.ran.load(Ordering::Acquire) == self.total
    }
}

pub fn spawn_join(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let start = Instant::now();
        let mut handles = Vec::with_capacity(TASKS as usize);
        for _ in 0..TASKS {
            handles.push(tokio::spawn(async {}));
        }
        let mut joined = 0;
        for handle in handles {
            joined += handle.await.is_ok() as u64;
        }
        Outcome::since(start, TASKS, joined == TASKS)
    })
}

pub fn spawn_join1(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let start = Instant::now();
        let mut joined = 0;
        for _ in 0..ROUNDS {
            joined += tokio::spawn(async {}).await.is_ok() as u64;
        }
        Outcome::since(start, ROUNDS, joined == ROUNDS)
    })
}

pub fn spawn_detached(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let countdown = Countdown::new(TASKS);
        let start = Instant::now();
        for _ in 0..TASKS {
            let countdown = countdown.clone();
            tokio::spawn(async move { countdown.add() });
        }
        countdown.done.notified().await;
        Outcome::since(start, TASKS, countdown.is_complete())
    })
}

pub fn spawn_outside(rt: &Runtime) -> Outcome {
    let countdown = Countdown::new(TASKS);
    let start = Instant::now();
    for _ in 0..TASKS {
        let countdown = countdown.clone();
        rt.spawn(async move { countdown.add() });
    }
    rt.block_on(countdown.done.notified());
    Outcome::since(start, TASKS, countdown.is_complete())
}

fn spawn_link(depth: u64, countdown: Arc<Countdown>) {
    tokio::spawn(async move {
        countdown.add();
        if depth > 1 {
            spawn_link(depth - 1, countdown);
        }
    });
}

pub fn chain(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let countdown = Countdown::new(TASKS);
        let start = Instant::now();
        spawn_link(TASKS, countdown.clone());
        countdown.done.notified().await;
        Outcome::since(start, TASKS, countdown.is_complete())
    })
}

pub fn yield_(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let start = Instant::now();
        let yielders: Vec<_> = (0..YIELDERS)
            .map(|_| {
                tokio::spawn(async {
                    let mut yields = 0;
                    for _ in 0..YIELDS {
                        tokio::task::yield_now().await;
                        yields += 1;
                    }
                    yields
                })
            })
            .collect();
        let mut yields = 0;
        for yielder in yielders {
            yields += yielder.await.unwrap_or(0);
        }
        Outcome::since(start, YIELDERS * YIELDS, yields == YIELDERS * YIELDS)
    })
}

pub fn oneshot(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let start = Instant::now();
        let mut sum = 0;
        for i in 0..ROUNDS {
            let (answer, answered) = oneshot::channel();
            tokio::spawn(async move { answer.send(i) });
            sum += answered.await.unwrap_or(0);
        }
        Outcome::since(start, ROUNDS, sum == ROUNDS * (ROUNDS - 1) / 2)
    })
}

pub fn blocking(rt: &Runtime) -> Outcome {
    let n = pick(BLOCKING, QUICK_BLOCKING);
    on_worker(rt, async move {
        let start = Instant::now();
        let mut joined = 0;
        for _ in 0..n {
            joined += tokio::task::spawn_blocking(|| 1).await.unwrap_or(0);
        }
        Outcome::since(start, n, joined == n)
    })
}

pub fn blocking_batch(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let start = Instant::now();
        let calls: Vec<_> = (0..BLOCKING).map(|_| tokio::task::spawn_blocking(|| 1)).collect();
        let mut joined = 0;
        for call in calls {
            joined += call.await.unwrap_or(0);
        }
        Outcome::since(start, BLOCKING, joined == BLOCKING)
    })
}

pub fn spawn_wake(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let mut delays = Vec::new();
        for _ in 0..pick(WAKES, QUICK_WAKES) {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let spawned = Instant::now();
            let child = tokio::spawn(async { Instant::now() });
            while spawned.elapsed() < Duration::from_millis(5) {}
            delays.push(child.await.expect("child").saturating_duration_since(spawned));
        }
        Outcome::percentiles(delays, true)
    })
}
