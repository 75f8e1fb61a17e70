//! Channels and the mutex.

use crate::{on_worker, Outcome};
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, Mutex, RwLock};

const MESSAGES: u64 = 5_000_000;
const CAPACITY: usize = 128;
const MUTEX_TASKS: u64 = 4;
const MUTEX_LOCKS: u64 = 1_000_000;
/// About 50 ns: the same rounds of the same generator in every program.
const MUTEX_ROUNDS: u32 = 30;

/// The values that producer `p` of `n` sends: together 0..MESSAGES, each once.
fn values(p: u64, n: u64) -> impl Iterator<Item = u64> {
    (p..MESSAGES).step_by(n as usize)
}

fn is_whole(count: u64, sum: u64) -> bool {
    count == MESSAGES && sum == MESSAGES * (MESSAGES - 1) / 2
}

fn pingpong(rt: &Runtime, pairs: u64, rounds: u64) -> Outcome {
    on_worker(rt, async move {
        let start = Instant::now();
        let mut pingers = Vec::new();
        for _ in 0..pairs {
            let (ping, mut pinged) = mpsc::channel::<u64>(1);
            let (pong, mut ponged) = mpsc::channel::<u64>(1);
            tokio::spawn(async move {
                while let Some(i) = pinged.recv().await {
                    if pong.send(i + 1).await.is_err() {
                        break;
                    }
                }
            });
            pingers.push(tokio::spawn(async move {
                let mut right = 0;
                for i in 0..rounds {
                    ping.send(i).await.expect("ping");
                    right += (ponged.recv().await == Some(i + 1)) as u64;
                }
                right
            }));
        }
        let mut right = 0;
        for pinger in pingers {
            right += pinger.await.unwrap_or(0);
        }
        Outcome::since(start, pairs * rounds, right == pairs * rounds)
    })
}

pub fn pingpong_1(rt: &Runtime) -> Outcome {
    pingpong(rt, 1, 300_000)
}

pub fn pingpong_1000(rt: &Runtime) -> Outcome {
    pingpong(rt, 1000, 1000)
}

fn bounded(rt: &Runtime, producers: u64) -> Outcome {
    on_worker(rt, async move {
        let start = Instant::now();
        let (tx, mut rx) = mpsc::channel(CAPACITY);
        for p in 0..producers {
            let tx = tx.clone();
            tokio::spawn(async move {
                for value in values(p, producers) {
                    tx.send(value).await.expect("send");
                }
            });
        }
        drop(tx);
        let (mut count, mut sum) = (0, 0);
        while let Some(value) = rx.recv().await {
            count += 1;
            sum += value;
        }
        Outcome::since(start, MESSAGES, is_whole(count, sum))
    })
}

pub fn mpsc_1p(rt: &Runtime) -> Outcome {
    bounded(rt, 1)
}

pub fn mpsc_8p(rt: &Runtime) -> Outcome {
    bounded(rt, 8)
}

fn unbounded(rt: &Runtime, producers: u64) -> Outcome {
    on_worker(rt, async move {
        let start = Instant::now();
        let (tx, mut rx) = mpsc::unbounded_channel();
        for p in 0..producers {
            let tx = tx.clone();
            tokio::spawn(async move {
                for value in values(p, producers) {
                    tx.send(value).expect("send");
                }
            });
        }
        drop(tx);
        let (mut count, mut sum) = (0, 0);
        while let Some(value) = rx.recv().await {
            count += 1;
            sum += value;
        }
        Outcome::since(start, MESSAGES, is_whole(count, sum))
    })
}

pub fn umpsc_1p(rt: &Runtime) -> Outcome {
    unbounded(rt, 1)
}

pub fn umpsc_8p(rt: &Runtime) -> Outcome {
    unbounded(rt, 8)
}

/// Tokio has no channel with many receivers that each take messages: async-channel, which its
/// users take for this.
pub fn mpmc_4x4(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let start = Instant::now();
        let (tx, rx) = async_channel::bounded(CAPACITY);
        for p in 0..4 {
            let tx = tx.clone();
            tokio::spawn(async move {
                for value in values(p, 4) {
                    tx.send(value).await.expect("send");
                }
            });
        }
        drop(tx);
        let consumers: Vec<_> = (0..4)
            .map(|_| {
                let rx = rx.clone();
                tokio::spawn(async move {
                    let (mut count, mut sum) = (0, 0);
                    while let Ok(value) = rx.recv().await {
                        count += 1;
                        sum += value;
                    }
                    (count, sum)
                })
            })
            .collect();
        let (mut count, mut sum) = (0, 0);
        for consumer in consumers {
            let part: (u64, u64) = consumer.await.expect("consumer");
            count += part.0;
            sum += part.1;
        }
        Outcome::since(start, MESSAGES, is_whole(count, sum))
    })
}

struct Shared {
    locks: u64,
    state: u64,
}

fn work(mut x: u64) -> u64 {
    for _ in 0..MUTEX_ROUNDS {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    x
}

pub fn mutex_4(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let start = Instant::now();
        let shared = Arc::new(Mutex::new(Shared { locks: 0, state: 1 }));
        let lockers: Vec<_> = (0..MUTEX_TASKS)
            .map(|_| {
                let shared = shared.clone();
                tokio::spawn(async move {
                    for _ in 0..MUTEX_LOCKS {
                        let mut guard = shared.lock().await;
                        guard.locks += 1;
                        guard.state = work(guard.state);
                    }
                })
            })
            .collect();
        for locker in lockers {
            locker.await.expect("locker");
        }
        let end = shared.lock().await;
        // The generator never reaches 0; asking keeps the work from being optimised away.
        let ok = end.locks == MUTEX_TASKS * MUTEX_LOCKS && end.state != 0;
        Outcome::since(start, MUTEX_TASKS * MUTEX_LOCKS, ok)
    })
}

// One write in 64; the readers do the same work, each on a copy.
pub fn rwlock_4(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let start = Instant::now();
        let shared = Arc::new(RwLock::new(Shared { locks: 0, state: 1 }));
        let lockers: Vec<_> = (0..MUTEX_TASKS)
            .map(|_| {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let mut sum = 0;
                    for i in 0..MUTEX_LOCKS {
                        if i % 64 == 0 {
                            let mut guard = shared.write().await;
                            guard.locks += 1;
                            guard.state = work(guard.state);
                        } else {
                            sum |= work(shared.read().await.state);
                        }
                    }
                    sum
                })
            })
            .collect();
        let mut ok = true;
        for locker in lockers {
            ok &= locker.await.expect("locker") != 0;
        }
        let end = shared.read().await;
        ok &= end.locks == MUTEX_TASKS * MUTEX_LOCKS / 64 && end.state != 0;
        Outcome::since(start, MUTEX_TASKS * MUTEX_LOCKS, ok)
    })
}

pub fn select_4(rt: &Runtime) -> Outcome {
    const EACH: u64 = 1_000_000;
    on_worker(rt, async {
        let start = Instant::now();
        let feed = || {
            let (tx, rx) = mpsc::channel(CAPACITY);
            tokio::spawn(async move {
                for value in 0..EACH {
                    tx.send(value).await.expect("send");
                }
            });
            rx
        };
        let (mut a, mut b, mut c, mut d) = (feed(), feed(), feed(), feed());
        let (mut count, mut sum) = (0, 0);
        loop {
            let value: u64 = tokio::select! {
                Some(value) = a.recv() => value,
                Some(value) = b.recv() => value,
                Some(value) = c.recv() => value,
                Some(value) = d.recv() => value,
                else => break,
            };
            count += 1;
            sum += value;
        }
        let ok = count == 4 * EACH && sum == 4 * (EACH * (EACH - 1) / 2);
        Outcome::since(start, 4 * EACH, ok)
    })
}
