//! The server loop over real sockets.

use super::world::{World, ndjson, settings, six_events};
use crate::serve;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

async fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut settings = settings();
    settings.listen = address;
    let world = World::with(1, settings, |log| log);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        // The world lives as long as its server.
        let World { router, log: _log, owner: _owner, disk: _disk, workers: _, streams: _, app: _ } =
            world;
        serve(listener, router, async move { drop(stopped.await) }).await
    });
    Running { address, stop, server }
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn answers_over_a_socket_and_stops_in_order() {
    let Running { address, stop, server } = start().await;
    let body = ndjson(&six_events("r1"));
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-ndjson\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert!(answer.contains("\"appended\":6"), "{answer}");
    let request = "GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert!(exchange(address, request).await.starts_with("HTTP/1.1 403 "));
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn heads_beyond_the_bounds_are_refused() {
    let Running { address, stop, server } = start().await;
    let many: String = (0..200).map(|at| format!("X-{at}: 1\r\n")).collect();
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n{many}\r\n");
    assert!(exchange(address, &request).await.starts_with("HTTP/1.1 431 "));
    let request = "nonsense\r\n\r\n";
    assert!(exchange(address, request).await.starts_with("HTTP/1.1 400 "));
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
