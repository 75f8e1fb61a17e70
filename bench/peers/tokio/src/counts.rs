//! Semaphores and notifications.

use crate::{on_worker, Outcome};
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore};

const ACQUIRES: u64 = 1_000_000;
const ROUNDS: u64 = 300_000;

fn holders(rt: &Runtime, holders: u64, permits: usize) -> Outcome {
    on_worker(rt, async move {
        let start = Instant::now();
        let semaphore = Arc::new(Semaphore::new(permits));
        let tasks: Vec<_> = (0..holders)
            .map(|_| {
                let semaphore = semaphore.clone();
                tokio::spawn(async move {
                    for _ in 0..ACQUIRES {
                        drop(semaphore.acquire().await.expect("open"));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("holder");
        }
        Outcome::since(start, holders * ACQUIRES, semaphore.available_permits() == permits)
    })
}

pub fn semaphore(rt: &Runtime) -> Outcome {
    holders(rt, 4, 2)
}

pub fn semaphore_1(rt: &Runtime) -> Outcome {
    holders(rt, 1, 1)
}

pub fn notify(rt: &Runtime) -> Outcome {
    on_worker(rt, async {
        let start = Instant::now();
        let there = Arc::new(Notify::new());
        let back = Arc::new(Notify::new());
        let (pinged, ponged) = (there.clone(), back.clone());
        let pong = tokio::spawn(async move {
            for _ in 0..ROUNDS {
                pinged.notified().await;
                ponged.notify_one();
            }
        });
        let ping = tokio::spawn(async move {
            for _ in 0..ROUNDS {
                there.notify_one();
                back.notified().await;
            }
        });
        let ok = pong.await.is_ok() && ping.await.is_ok();
        Outcome::since(start, ROUNDS, ok)
    })
}
