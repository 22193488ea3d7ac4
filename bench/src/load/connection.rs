//! A lean HTTP/1.1 client: one connection, one request at a time, no allocation per request. Server and
//! client share the processors, so what the client costs is missing at the server.

use crate::error::{Error, Result, tried};
use bytes::{Buf, BytesMut};
use std::{fmt::Write as _, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Heads of answers have fewer.
const HEADERS: usize = 32;
/// The longest that any answer may take.
const ANSWER: Duration = Duration::from_secs(130);
/// What is shown of a refusal.
const SHOWN: usize = 500;

/// A request, ready to be sent as often as wanted.
#[derive(Clone, Debug)]
pub(crate) struct Request(Vec<u8>);

impl Request {
    pub(crate) fn post(port: u16, path: &str, media_type: &str, body: &[u8]) -> Self {
        let mut whole = Self(Vec::with_capacity(body.len() + 256));
        whole.set(port, path, media_type, body);
        whole
    }

    /// Makes it another request in the same memory.
    pub(crate) fn set(&mut self, port: u16, path: &str, media_type: &str, body: &[u8]) {
        self.0.clear();
        let mut head = Head(&mut self.0);
        // Writing into memory cannot fail.
        let _ = write!(
            head,
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {media_type}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.extend_from_slice(body);
    }

    pub(crate) fn get(port: u16, path: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").into_bytes())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }
}

struct Head<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Head<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A kept-alive connection.
pub(crate) struct Connection {
    pub(crate) port: u16,
    stream: TcpStream,
    buffer: BytesMut,
    /// Bytes of the answer before, which lie in front of the buffer.
    used: usize,
}

/// An answer; its body is valid until the next request.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The body of an answer that grants what was asked.
    pub(crate) fn granted(self) -> Result<&'a [u8]> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let shown = String::from_utf8_lossy(&self.body[..self.body.len().min(SHOWN)]);
        Err(Error::Server(format!("the server answered {}: {shown}", self.status)))
    }
}

impl Connection {
    pub(crate) async fn open(port: u16) -> Result<Self> {
        let stream = tried("connect to the server", TcpStream::connect(("127.0.0.1", port)).await)?;
        tried("set up a connection", stream.set_nodelay(true))?;
        Ok(Self { port, stream, buffer: BytesMut::with_capacity(16 * 1024), used: 0 })
    }

    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Answer<'_>> {
        let exchange = tokio::time::timeout(ANSWER, self.exchange(request));
        let Ok(exchanged) = exchange.await else {
            return Err(Error::Server("the server did not answer in time".into()));
        };
        let (status, head, length) = tried("exchange a request for an answer", exchanged)?;
        self.used = head + length;
        Ok(Answer { status, body: &self.buffer[head..head + length] })
    }

    async fn exchange(&mut self, request: &Request) -> std::io::Result<(u16, usize, usize)> {
        self.buffer.advance(self.used);
        self.used = 0;
        self.stream.write_all(&request.0).await?;
        loop {
            if let Some((status, head, length)) = head_of(&self.buffer)? {
                while self.buffer.len() < head + length {
                    self.fill().await?;
                }
                return Ok((status, head, length));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> std::io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Status, bytes of the head and bytes of the body, once the head is whole.
fn head_of(bytes: &[u8]) -> std::io::Result<Option<(u16, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = answer.parse(bytes).map_err(std::io::Error::other)?
    else {
        return Ok(None);
    };
    let length = answer.headers.iter().find(|it| it.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|it| std::str::from_utf8(it.value).ok()?.trim().parse().ok());
    let length = length.ok_or_else(|| std::io::Error::other("an answer of unknown length"))?;
    Ok(Some((answer.code.unwrap_or_default(), head, length)))
}
