//! Echo servers. TCP: one task per connection, a 16 KiB buffer each. UDP: one socket, one task per
//! worker.

use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

async fn serve_one(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0u8; 16384];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n]).await?;
    }
}

pub async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    println!("port {}", listener.local_addr().expect("address").port());
    serve_on(listener).await;
}

pub async fn serve_on(listener: TcpListener) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_one(stream));
        }
    }
}

async fn serve_datagrams(socket: Arc<UdpSocket>) {
    let mut buffer = vec![0u8; 2048];
    loop {
        if let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..n], from).await;
        }
    }
}

pub async fn serve_udp(tasks: usize) {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("bind"));
    println!("port {}", socket.local_addr().expect("address").port());
    for _ in 1..tasks {
        tokio::spawn(serve_datagrams(socket.clone()));
    }
    serve_datagrams(socket).await;
}
