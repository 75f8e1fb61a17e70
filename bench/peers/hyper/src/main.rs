//! hyper on Tokio as a peer: `hyper-peer --workers N` answers every request with "Hello, World!",
//! by HTTP/1.1 with keep-alive, until it is terminated.

use hyper::service::{make_service_fn, service_fn};
use hyper::{Body, Response, Server};
use std::convert::Infallible;

fn workers() -> usize {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().position(|a| a == "--workers") {
        Some(i) => args.get(i + 1).and_then(|n| n.parse().ok()).expect("--workers N"),
        None => std::thread::available_parallelism().map_or(1, |n| n.get()),
    }
}

async fn serve() {
    let make = make_service_fn(|_| async {
        Ok::<_, Infallible>(service_fn(|_| async {
            let response = Response::builder().header("content-type", "text/plain");
            Ok::<_, Infallible>(response.body(Body::from("Hello, World!")).expect("response"))
        }))
    });
    let server = Server::bind(&([127, 0, 0, 1], 0).into()).tcp_nodelay(true).http1_only(true).serve(make);
    println!("port {}", server.local_addr().port());
    server.await.expect("serve");
}

fn main() {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()
        .expect("cannot start a runtime")
        .block_on(async { tokio::spawn(serve()).await.expect("task") });
}
