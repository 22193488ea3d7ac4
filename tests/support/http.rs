//! A client of one connection: enough HTTP/1.1 to talk to the server, and nothing that tries again.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write},
    net::TcpStream,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Head, as it was received.
    pub head: String,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The number of the problem, 0 where it is none.
    pub fn code(&self) -> u64 {
        self.json()["code"].as_u64().unwrap_or(0)
    }
}

/// A client; it keeps its connection while the server does.
pub struct Http {
    port: u16,
    connection: Option<BufReader<TcpStream>>,
}

impl Http {
    /// A client of a server on this machine.
    pub fn new(port: u16) -> Self {
        Self { port, connection: None }
    }

    /// Asks once. A connection that the server had closed meanwhile is no failure: it is opened
    /// anew only if nothing was sent on it before.
    ///
    /// # Errors
    /// When there is no server, or no whole answer.
    pub fn ask(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Reply> {
        if self.connection.is_none() {
            let connection = TcpStream::connect(("127.0.0.1", self.port))?;
            connection.set_nodelay(true)?;
            connection.set_read_timeout(Some(PATIENCE))?;
            self.connection = Some(BufReader::new(connection));
        }
        let reply = self.exchange(method, path, kind, body);
        let closes =
            reply.as_ref().is_ok_and(|it| it.head.to_lowercase().contains("connection: close"));
        if reply.is_err() || closes {
            self.connection = None;
        }
        reply
    }

    /// GET.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn get(&mut self, path: &str) -> Result<Reply> {
        self.ask("GET", path, "", b"")
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn post(&mut self, path: &str, body: &Value) -> Result<Reply> {
        self.ask("POST", path, "application/json", body.to_string().as_bytes())
    }

    fn exchange(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Reply> {
        let reader = self.connection.as_mut().ok_or(ErrorKind::NotConnected)?;
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", self.port);
        if !kind.is_empty() {
            request.push_str(&format!("Content-Type: {kind}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        // A server may refuse a body before it was sent whole; its answer is there all the same.
        let sent = reader.get_mut().write_all(&bytes);
        read_reply(reader).map_err(|error| sent.err().unwrap_or(error))
    }
}

fn read_reply(reader: &mut BufReader<TcpStream>) -> Result<Reply> {
    let mut head = String::new();
    let mut length = 0;
    loop {
        let start = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let line = head[start..].trim_end().to_ascii_lowercase();
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().map_err(Error::other)?;
        }
        if line.is_empty() {
            break;
        }
    }
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    let status = status.ok_or_else(|| Error::other(format!("no status in {head}")))?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Reply { status, head, body })
}
