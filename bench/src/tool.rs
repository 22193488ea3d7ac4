//! A tool over HTTP, in the process that measures: it answers at once and tells when each call came.

use crate::error::{Result, tried};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep},
};

/// A call that is never answered is given up by whoever made it long before.
const NEVER: Duration = Duration::from_secs(24 * 3600);
/// Calls that wait to be looked at.
const CALLS: usize = 65_536;

/// A call of the tool: whose run it is, by the path, and when it came.
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) at: Instant,
}

/// A tool that runs until it is dropped. Below `/poison` it is never available, below `/slow/MS` it takes so
/// many milliseconds, below `/hang` it never answers; while `is_broken` is set it refuses everything for good.
pub(crate) struct Tool {
    pub(crate) port: u16,
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) is_broken: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl Tool {
    pub(crate) async fn start() -> Result<Self> {
        let listener = tried("listen", TcpListener::bind("127.0.0.1:0").await)?;
        let port = tried("read the address", listener.local_addr())?.port();
        let (sender, calls) = mpsc::channel(CALLS);
        let is_broken = Arc::new(AtomicBool::new(false));
        let accepting = tokio::spawn(accept(listener, sender, Arc::clone(&is_broken)));
        Ok(Self { port, calls, is_broken, accepting })
    }

    /// The address below which every path is a tool.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, calls: mpsc::Sender<Call>, is_broken: Arc<AtomicBool>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Without it an answer waits for the next one, and nothing else depends on it.
        let _ = stream.set_nodelay(true);
        let (calls, is_broken) = (calls.clone(), Arc::clone(&is_broken));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (calls, is_broken) = (calls.clone(), Arc::clone(&is_broken));
            async move { answer(request, &calls, &is_broken).await }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // A server that goes away is no matter of ours.
            let _ = connection.await;
        });
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    calls: &mpsc::Sender<Call>,
    is_broken: &AtomicBool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (at, path) = (Instant::now(), request.uri().path().to_owned());
    let status = match &path {
        _ if is_broken.load(Ordering::Relaxed) => StatusCode::BAD_REQUEST,
        path if path.starts_with("/poison") => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    // The body is read so that the connection can be used again.
    let _ = request.into_body().collect().await;
    let pause = pause(&path);
    // Nobody looks any more, or not fast enough: then the time of this call is not wanted.
    let _ = calls.try_send(Call { path, at });
    if !pause.is_zero() {
        sleep(pause).await;
    }
    let mut answer = Response::new(Full::new(Bytes::from_static(b"{\"ok\":true}")));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    Ok(answer)
}

/// How long an answer takes, by the path.
fn pause(path: &str) -> Duration {
    match path.strip_prefix("/slow/").and_then(|rest| rest.split('/').next()?.parse().ok()) {
        Some(ms) => Duration::from_millis(ms),
        None if path.starts_with("/hang") => NEVER,
        None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_how_long_a_call_takes() {
        for (path, wanted) in [
            ("/slow/250/run/7", Duration::from_millis(250)),
            ("/hang/run/0", NEVER),
            ("/ok/run/0", Duration::ZERO),
            ("/slow/x", Duration::ZERO),
        ] {
            assert_eq!(pause(path), wanted, "{path}");
        }
    }
}
