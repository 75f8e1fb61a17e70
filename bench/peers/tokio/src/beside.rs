//! An echo server whose other workers compute: what its clients, and a task that wants to wake up
//! each millisecond, notice. The client is filch's `load`, a program beside this one.

use crate::{echo, workers_of, Outcome};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const SPIN: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(1);

fn load_p99_us(port: u16) -> f64 {
    let program = std::env::current_exe().expect("exe").with_file_name("load");
    let seconds = crate::pick(30, 5) as f64 / 10.0;
    let output = Command::new(program)
        .args(["127.0.0.1", &port.to_string(), "50", "64", &seconds.to_string()])
        .args(["--warmup", "0.2"])
        .output()
        .expect("load does not run");
    assert!(output.status.success(), "load failed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = text.split_whitespace().find_map(|word| word.strip_prefix("p99_us="));
    field.expect("no p99").parse().expect("a number")
}

async fn tick(gap: Arc<AtomicU64>) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep_until((last + TICK).into()).await;
        let now = Instant::now();
        gap.fetch_max((now - last).as_nanos() as u64, Relaxed);
        last = now;
    }
}

pub fn hol(rt: &Runtime) -> Outcome {
    let listener = rt.block_on(TcpListener::bind("127.0.0.1:0")).expect("listen");
    let port = listener.local_addr().expect("address").port();
    let server = rt.spawn(echo::serve_on(listener));
    let stop = Arc::new(AtomicBool::new(false));
    let gap = Arc::new(AtomicU64::new(0));
    let spinners: Vec<_> = (1..workers_of(&std::env::args().collect::<Vec<_>>()))
        .map(|_| {
            let stop = stop.clone();
            rt.spawn(async move {
                while !stop.load(Relaxed) {
                    let end = Instant::now() + SPIN;
                    while Instant::now() < end {}
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let ticker = rt.spawn(tick(gap.clone()));
    std::thread::sleep(Duration::from_millis(20));
    gap.store(0, Relaxed);
    let p99_us = load_p99_us(port);
    let gap_us = gap.load(Relaxed) as f64 / 1e3;
    stop.store(true, Relaxed);
    ticker.abort();
    server.abort();
    for spinner in spinners {
        let _ = rt.block_on(spinner);
    }
    Outcome::of_figures(vec![("p99_us", "us", p99_us), ("gap_us", "us", gap_us)], true)
}
