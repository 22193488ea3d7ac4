//! A tool server on raw sockets: the script decides on every byte and on when the connection ends.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Method, path and version.
    pub(super) line: String,
    /// By lower-case name.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    /// The connection that it came on, from 0.
    pub(super) connection: usize,
}

#[derive(Default)]
struct Record {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

/// A server that runs one script per connection.
pub(super) struct Server {
    /// `127.0.0.1:port`
    pub(super) address: String,
    record: Arc<Record>,
    accepting: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start<F, S>(script: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(Peer) -> F + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let record = Arc::new(Record::default());
        let shared = Arc::clone(&record);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(Peer { stream, number, record: Arc::clone(&shared) }));
            }
        });
        Self { address, record, accepting }
    }

    /// Answers every request with these bytes and keeps the connection open.
    pub(super) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut peer| {
            let answer = Arc::clone(&answer);
            async move {
                while peer.request().await.is_some() {
                    peer.write(&answer).await;
                }
            }
        })
        .await
    }

    /// Answers every connection's one request with these bytes, then closes.
    pub(super) async fn closing(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut peer| {
            let answer = Arc::clone(&answer);
            async move {
                peer.request().await;
                peer.write(&answer).await;
            }
        })
        .await
    }

    /// Answers with these bytes and then says nothing more, without closing.
    pub(super) async fn stalling(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut peer| {
            let answer = Arc::clone(&answer);
            async move {
                peer.request().await;
                peer.write(&answer).await;
                std::future::pending::<()>().await;
            }
        })
        .await
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.record.seen.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.record.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The server's end of one connection.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    pub(super) number: usize,
    record: Arc<Record>,
}

impl Peer {
    /// Reads and records one request; `None` at the end of the connection.
    pub(super) async fn request(&mut self) -> Option<Seen> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        let text = String::from_utf8(head).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let headers: BTreeMap<String, String> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        let seen = Seen { line, headers, body, connection: self.number };
        self.record.seen.lock().unwrap().push(seen.clone());
        Some(seen)
    }

    /// Writes; a client that has gone is no failure of the script.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Ends the connection with a reset.
    pub(super) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// A whole answer with a length.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// A whole 200 with a JSON body.
pub(super) fn ok(body: &str) -> String {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}
