//! Answers that are read as they come, because they may have no end.

use super::{Client, Content};
use crate::exit::Failure;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http_body_util::BodyStream;
use hyper::{Method, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{io, time::Duration};
use tokio::{task::JoinHandle, time::timeout};

/// A server says something at least every 15 seconds, even if it is only that it is there.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the head of the answer may take: the owner of the run is asked first.
const HEAD: Duration = Duration::from_secs(30);

/// An answer whose body comes later.
pub(crate) struct Opened {
    /// Its status.
    pub(crate) status: u16,
    /// Its body.
    pub(crate) body: BoxStream<'static, io::Result<Bytes>>,
}

/// The connection, which is closed when its body is no longer wanted.
struct Connection(JoinHandle<hyper::Result<()>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// Sends a request and gives the answer, be it a refusal, as soon as its head is there.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        content: Option<Content>,
    ) -> Result<Opened, Failure> {
        let request = self.request(method, path, content, &[])?;
        let broken = |error: hyper::Error| self.unreachable(&error.to_string());
        let stream = self.connect().await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = Connection(tokio::spawn(connection));
        let response = match timeout(HEAD, sender.send_request(request)).await {
            Ok(response) => response.map_err(broken)?,
            Err(_) => return Err(self.unreachable("there was no answer in time")),
        };
        let status = response.status().as_u16();
        // The body ends with the connection, and the connection when the sender is gone.
        let parts = (BodyStream::new(response.into_body()), connection, sender);
        let body = futures::stream::unfold(parts, |(mut body, connection, sender)| async {
            let bytes = match timeout(SILENCE, body.next()).await {
                Ok(frame) => frame?.map(|of| of.into_data().unwrap_or_default()),
                Err(_) => {
                    return Some((Err(io::ErrorKind::TimedOut.into()), (body, connection, sender)));
                }
            };
            Some((bytes.map_err(io::Error::other), (body, connection, sender)))
        });
        Ok(Opened { status, body: body.boxed() })
    }
}
