//! The floor of every request: an HTTP server that parses the body as JSON, writes it to a file with one
//! fdatasync for all that wait, and answers. Nothing can be durable over HTTP and cost less.
//!
//! It runs as a process of its own, as the measured server does.

use crate::error::{Result, tried};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::mpsc,
};
use tokio::{net::TcpListener, sync::oneshot};

/// Requests that wait for the file.
const MOST_WAITING: usize = 4096;

/// A body on its way to the file, and who waits for it.
struct Waiting {
    body: Bytes,
    done: oneshot::Sender<u64>,
}

/// Serves until the process ends. Prints its port as the only line on standard output.
///
/// # Errors
/// When there is no port or no file.
pub fn serve(file: &Path) -> Result<()> {
    let file = tried(format!("make {}", file.display()), File::create(file))?;
    let (sender, receiver) = mpsc::sync_channel(MOST_WAITING);
    std::thread::Builder::new()
        .name("commit".into())
        .spawn(move || commit(file, &receiver))
        .map(drop)
        .or_else(|error| tried("start a thread", Err(error)))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    tried("start a runtime", runtime)?.block_on(accept(sender))
}

async fn accept(sender: mpsc::SyncSender<Waiting>) -> Result<()> {
    let listener = tried("listen", TcpListener::bind("127.0.0.1:0").await)?;
    let address = tried("read the address", listener.local_addr())?;
    tried("print the port", writeln!(io::stdout(), "{}", address.port()))?;
    loop {
        let (stream, _) = tried("accept a connection", listener.accept().await)?;
        tried("set up a connection", stream.set_nodelay(true))?;
        let sender = sender.clone();
        let service =
            service_fn(move |request: hyper::Request<Incoming>| answer(request, sender.clone()));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // A client that goes away is no matter of ours.
            let _ = connection.await;
        });
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    sender: mpsc::SyncSender<Waiting>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let body = request.into_body().collect().await?.to_bytes();
    let parsed: serde_json::Value = serde_json::from_slice(&body)?;
    let (done, position) = oneshot::channel();
    sender.try_send(Waiting { body, done }).map_err(|error| error.to_string())?;
    let position = position.await?;
    let text = format!(
        "{{\"position\":{position},\"fields\":{}}}",
        parsed.as_object().map_or(0, |it| it.len())
    );
    Ok(Response::builder()
        .header("content-type", "application/json")
        .body(Full::new(text.into()))?)
}

/// Takes all that wait, writes it, syncs once, and tells everybody.
fn commit(mut file: File, receiver: &mpsc::Receiver<Waiting>) {
    let (mut group, mut bytes, mut position) = (Vec::new(), Vec::new(), 0);
    while let Ok(first) = receiver.recv() {
        group.push(first);
        group.extend(receiver.try_iter());
        bytes.clear();
        for write in &group {
            bytes.extend_from_slice(&write.body);
        }
        if file.write_all(&bytes).and_then(|()| file.sync_data()).is_err() {
            // Whoever waits sees that nobody answers.
            return;
        }
        for write in group.drain(..) {
            position += 1;
            // A client that went away does not want to know.
            let _ = write.done.send(position);
        }
    }
}
