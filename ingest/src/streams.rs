//! The seam to those who tell listeners what attempts say: the owner of the run's partition, in this process or in
//! another one.
//!
//! The command line wires it; this crate never sees owners.

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use spine_runs::{NotLive, Part, Said};
use spine_schemas::RunKey;

/// About which run, and how another process would be asked the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The run.
    pub run: RunKey,
    /// Its partition.
    pub partition: u32,
    /// Path and parameters at another process; `None` where this one was asked by another: nothing is forwarded twice.
    pub elsewhere: Option<String>,
}

/// What is told from now on.
pub enum Listening {
    /// By the owner of this process.
    Here(BoxStream<'static, Said>),
    /// By one of another process, as the bytes that it answers with.
    Elsewhere(BoxStream<'static, std::io::Result<Bytes>>),
}

/// Why nobody listens, or nothing was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// There is no such run.
    NoRun,
    /// Too many listen already.
    Full,
    /// Another attempt runs, or none.
    NotLive(NotLive),
    /// The owner cannot be asked now; why.
    Unavailable(String),
}

/// The owners, as listeners and attempts meet them.
pub trait Streams: Send + Sync + 'static {
    /// Listens to a run. What is told ends when the run does, and when its partition moves to another owner.
    fn listen(&self, asking: Asking) -> BoxFuture<'_, Result<Listening, StreamError>>;

    /// Says something to those who listen now; tells how many do. `sent` is the request's body, for another process.
    fn say(
        &self,
        asking: Asking,
        part: Part,
        sent: Bytes,
    ) -> BoxFuture<'_, Result<usize, StreamError>>;
}
