//! The gate alone, under a clock that the test moves.

use super::super::gate::{Gate, GatedStream, Wire};
use std::{io::ErrorKind, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{TcpListener, TcpStream},
    time::{Instant, advance},
};

impl Wire for DuplexStream {
    fn discard_unsent(&self) {}

    fn is_quiet(&self) -> bool {
        true
    }
}

const LIMIT: Duration = Duration::from_secs(30);

fn gated() -> (Gate, GatedStream, DuplexStream) {
    let (near, far) = tokio::io::duplex(1024);
    let gate = Gate::default();
    (gate.clone(), GatedStream::new(Box::new(near), gate), far)
}

#[tokio::test(start_paused = true)]
async fn nothing_passes_before_a_request_is_let_through() {
    let (gate, mut stream, _far) = gated();
    assert_eq!(stream.write(b"POST").await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(!gate.was_sent());
}

#[tokio::test(start_paused = true)]
async fn a_stop_between_intent_and_send_closes_the_gate() {
    let (gate, mut stream, mut far) = gated();
    gate.open(Instant::now() + LIMIT);
    advance(LIMIT).await;
    assert_eq!(stream.write(b"POST").await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(gate.was_late() && !gate.was_sent());

    drop(stream);
    let mut arrived = Vec::new();
    far.read_to_end(&mut arrived).await.unwrap();
    assert_eq!(arrived, b"");
}

#[tokio::test(start_paused = true)]
async fn a_stop_between_two_writes_leaves_the_request_incomplete() {
    let (gate, mut stream, mut far) = gated();
    gate.open(Instant::now() + LIMIT);
    stream.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
    advance(LIMIT + Duration::from_millis(1)).await;
    assert_eq!(stream.write(b"rest").await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(stream.flush().await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(gate.was_late() && gate.was_sent());

    drop(stream);
    let mut arrived = Vec::new();
    far.read_to_end(&mut arrived).await.unwrap();
    assert_eq!(arrived, b"POST / HTTP/1.1\r\n");
}

#[tokio::test(start_paused = true)]
async fn each_request_has_a_deadline_and_a_record_of_its_own() {
    let (gate, mut stream, _far) = gated();
    gate.open(Instant::now() + LIMIT);
    stream.write_all(b"one").await.unwrap();
    gate.answered();
    advance(2 * LIMIT).await;
    stream.flush().await.expect("a waiting connection may be flushed");

    gate.open(Instant::now() + LIMIT);
    assert!(!gate.was_sent());
    stream.write_all(b"two").await.unwrap();
    assert!(gate.was_sent() && !gate.was_late());
}

/// The runtime learns of the end only when it next asks; a first request needs no such look, since a remote
/// may greet.
#[tokio::test]
async fn a_further_request_is_not_written_once_the_remote_has_ended_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    let gate = Gate::default();
    let mut stream = GatedStream::new(Box::new(near), gate.clone());
    for write in 1..=2 {
        gate.open(Instant::now() + LIMIT);
        stream.write_all(b"POST").await.unwrap();
        far.read_exact(&mut [0; 4]).await.unwrap();
        assert!(gate.was_sent(), "write {write}");
        gate.answered();
    }
    drop(far);
    std::thread::sleep(Duration::from_millis(20));
    gate.open(Instant::now() + LIMIT);
    assert_eq!(stream.write(b"POST").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(!gate.was_sent() && !gate.was_late());
}
