//! Answers that are read as they come, because they may have no end.

use super::{Answer, Client};
use crate::exit::Failure;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http_body_util::{BodyExt, BodyStream};
use hyper::{Method, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{io, time::Duration};
use tokio::{task::JoinHandle, time::timeout};

/// A server says something at least every 15 seconds, even if it is only that it is there.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the head of the answer may take: the owner of the run is asked first.
const HEAD: Duration = Duration::from_secs(30);

/// What came, once the head of the answer is there.
pub(crate) enum Opened {
    /// A body that comes later, piece by piece.
    Stream(BoxStream<'static, io::Result<Bytes>>),
    /// A refusal, whole.
    Refused(Answer),
}

/// The connection, which is closed when its body is no longer wanted.
struct Connection(JoinHandle<hyper::Result<()>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// GETs a path whose answer has no end.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn open(&self, path: &str) -> Result<Opened, Failure> {
        let request = self.request(Method::GET, path, None, &[])?;
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
        if status != 200 {
            let body = timeout(HEAD, response.into_body().collect()).await;
            let body = body.map_err(|_| self.unreachable("its answer did not end"))?;
            return Ok(Opened::Refused(Answer::of(status, &body.map_err(broken)?.to_bytes())));
        }
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
        Ok(Opened::Stream(body.boxed()))
    }
}
