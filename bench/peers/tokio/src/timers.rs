//! Timers.

use crate::{on_worker, pick, Outcome};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::time::{sleep, Sleep};

const SLEEPERS: u64 = 1_000_000;
const QUICK_SLEEPERS: u64 = 200_000;
const CHURNS: u64 = 1_000_000;
const BACKGROUND: usize = 100_000;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

pub fn process_cpu_time() -> Duration {
    const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: `time` has the layout of struct timespec on 64-bit Linux.
    unsafe { clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}

fn next_random(x: &mut u64) -> u64 {
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    *x
}

pub fn timers(rt: &Runtime) -> Outcome {
    let n = pick(SLEEPERS, QUICK_SLEEPERS);
    on_worker(rt, async move {
        let cpu_start = process_cpu_time();
        let mut x = 0x9E3779B97F4A7C15;
        let mut sleepers = Vec::with_capacity(n as usize);
        for _ in 0..n {
            let wait = Duration::from_millis(next_random(&mut x) % 1000);
            sleepers.push(tokio::spawn(async move {
                let start = Instant::now();
                sleep(wait).await;
                start.elapsed() >= wait
            }));
        }
        let mut slept = 0;
        for sleeper in sleepers {
            slept += sleeper.await.unwrap_or(false) as u64;
        }
        let elapsed = process_cpu_time() - cpu_start;
        Outcome { elapsed, ops: n, ok: slept == n, figures: Vec::new() }
    })
}

/// Polls a sleep once, which arms its timer, and drops it, which cancels it.
struct ArmAndCancel(Option<Pin<Box<Sleep>>>);

impl Future for ArmAndCancel {
    type Output = bool;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let mut armed = self.0.take().expect("polled twice");
        Poll::Ready(armed.as_mut().poll(cx).is_pending())
    }
}

async fn arm_and_cancel() -> bool {
    ArmAndCancel(Some(Box::pin(sleep(Duration::from_secs(10))))).await
}

fn churn_with(rt: &Runtime, background: usize) -> Outcome {
    on_worker(rt, async move {
        let others: Vec<_> = (0..background)
            .map(|i| tokio::spawn(sleep(Duration::from_millis(60_000 + i as u64 % 1000))))
            .collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let start = Instant::now();
        let mut cancelled = 0;
        for _ in 0..CHURNS {
            cancelled += arm_and_cancel().await as u64;
        }
        let outcome = Outcome::since(start, CHURNS, cancelled == CHURNS);
        others.iter().for_each(|other| other.abort());
        outcome
    })
}

pub fn churn(rt: &Runtime) -> Outcome {
    churn_with(rt, 0)
}

pub fn churn_bg(rt: &Runtime) -> Outcome {
    churn_with(rt, BACKGROUND)
}

pub fn timer_error(rt: &Runtime) -> Outcome {
    let n = pick(10_000, 500);
    on_worker(rt, async move {
        let wait = Duration::from_micros(200);
        let mut late = Vec::with_capacity(n as usize);
        let mut ok = true;
        for _ in 0..n {
            let start = Instant::now();
            sleep(wait).await;
            let took = start.elapsed();
            ok = ok && took >= wait;
            late.push(took.saturating_sub(wait));
        }
        Outcome::percentiles(late, ok)
    })
}
