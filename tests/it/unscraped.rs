//! A server that no Prometheus scrapes: what it measures of itself does not heap up.

use spine_tests::Spine;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Requests on the way at once. Their answers fit into the buffers of a connection.
const AT_ONCE: usize = 100;

/// Asks for `/healthz`, a hundred times a round, on one connection.
struct Pipelined {
    connection: TcpStream,
    requests: Vec<u8>,
    answers: Vec<u8>,
}

impl Pipelined {
    fn to(spine: &Spine) -> Self {
        let one = format!("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n", spine.port());
        let mut connection = TcpStream::connect(("127.0.0.1", spine.port())).expect("it listens");
        connection.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
        // All answers are as long as the first.
        connection.write_all(one.as_bytes()).expect("it reads");
        let mut first = vec![0; 4096];
        let length = connection.read(&mut first).expect("an answer");
        assert!(first.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&first));
        let requests = one.repeat(AT_ONCE).into_bytes();
        Self { connection, requests, answers: vec![0; length * AT_ONCE] }
    }

    fn asks(&mut self, times: usize) {
        for _ in 0..times / AT_ONCE {
            self.connection.write_all(&self.requests).expect("it reads");
            self.connection.read_exact(&mut self.answers).expect("an answer to each");
            let length = self.answers.len() / AT_ONCE;
            let is_fine = |answer: &[u8]| answer.starts_with(b"HTTP/1.1 200 ");
            assert!(self.answers.chunks(length).all(is_fine), "each is answered with 200");
        }
    }
}

#[test]
fn a_million_requests_that_nobody_scrapes_leave_memory_as_it_was() {
    let spine = Spine::fresh().start();
    let mut client = Pipelined::to(&spine);
    client.asks(100_000);
    let before = spine.rss_kib();
    client.asks(1_000_000);
    let after = spine.rss_kib();
    assert!(after < before + 4096, "{before} KiB after 100,000, {after} KiB after 1,100,000");
    // None of them was lost on the way, either.
    let metrics = String::from_utf8(spine.get("/metrics").body).expect("text");
    let series = "spine_ingest_request_seconds_count{route=\"/healthz\"} ";
    let counted = metrics.lines().find_map(|line| line.strip_prefix(series)).expect("a series");
    let counted: usize = counted.parse().expect("a number");
    assert!(counted > 1_100_000, "{counted} requests were counted");
}
