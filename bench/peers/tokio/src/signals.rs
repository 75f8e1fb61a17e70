//! One sender, many who look: the latest value, messages that everybody gets, data that many read.

use crate::{on_worker, Outcome};
use std::sync::{Arc, RwLock};
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

const READERS: u64 = 8;
const VALUES: u64 = 300_000;
const MESSAGES: u64 = 1_000_000;
const BURST: u64 = 64;
const CAPACITY: usize = 128;
const READS: u64 = 20_000_000;

pub fn watch(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let (tx, first) = watch::channel(0u64);
        let watchers: Vec<_> = (0..READERS)
            .map(|_| {
                let mut rx = first.clone();
                tokio::spawn(async move {
                    let (mut last, mut looks) = (0, 0);
                    while rx.changed().await.is_ok() {
                        let value = *rx.borrow_and_update();
                        assert!(value > last);
                        last = value;
                        looks += 1;
                    }
                    (last, looks)
                })
            })
            .collect();
        drop(first);
        tokio::task::yield_now().await;
        let start = Instant::now();
        for value in 1..=VALUES {
            tx.send(value).expect("send");
            tokio::task::yield_now().await;
        }
        drop(tx);
        let (mut looks, mut ok) = (0, true);
        for watcher in watchers {
            let (last, n): (u64, u64) = watcher.await.expect("watcher");
            ok &= last == VALUES;
            looks += n;
        }
        Outcome::since(start, looks, ok)
    })
}

pub fn broadcast(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let (tx, first) = broadcast::channel(CAPACITY);
        let receivers: Vec<_> = (0..READERS)
            .map(|_| {
                let mut rx = tx.subscribe();
                tokio::spawn(async move {
                    let (mut last, mut looks, mut all) = (0, 0, 0);
                    loop {
                        match rx.recv().await {
                            Ok(value) => {
                                assert!(value > last);
                                last = value;
                                looks += 1;
                                all += 1;
                            }
                            Err(RecvError::Lagged(lost)) => all += lost,
                            Err(RecvError::Closed) => return (all, looks),
                        }
                    }
                })
            })
            .collect();
        drop(first);
        tokio::task::yield_now().await;
        let start = Instant::now();
        for value in 1..=MESSAGES {
            tx.send(value).expect("send");
            if value % BURST == 0 {
                tokio::task::yield_now().await;
            }
        }
        drop(tx);
        let (mut looks, mut ok) = (0, true);
        for receiver in receivers {
            let (all, n): (u64, u64) = receiver.await.expect("receiver");
            ok &= all == MESSAGES;
            looks += n;
        }
        Outcome::since(start, looks, ok)
    })
}

fn per_read(reads: impl Fn() -> u64) -> (f64, bool) {
    let start = Instant::now();
    let sum: u64 = (0..READS).map(|_| reads()).sum();
    (start.elapsed().as_nanos() as f64 / READS as f64, sum == READS)
}

/// Its way to read what others may replace is the watch.
pub fn rcu_read(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let (_tx, rx) = watch::channel(1u64);
        let lock = Arc::new(RwLock::new(1u64));
        let (watched, first) = per_read(|| *rx.borrow());
        let (locked, second) = per_read(|| *lock.read().expect("lock"));
        let figures = vec![("section", "ns/read", watched), ("rwlock", "ns/read", locked)];
        Outcome::of_figures(figures, first && second)
    })
}
