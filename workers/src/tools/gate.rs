//! The gate between hyper and the socket. It holds the one rule that safety rests on: no byte of a
//! request is written after the attempt's deadline, even if the process was stopped on the way. And it
//! knows for certain whether any byte was written at all.

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

/// A connected stream, with or without TLS.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the coming close discard what the kernel has not sent yet.
    fn discard_unsent(&self);

    /// Whether nothing has come that was not read: neither bytes nor the end.
    fn is_quiet(&self) -> bool;
}

impl Wire for TcpStream {
    fn discard_unsent(&self) {
        // On failure the close is an ordinary one, as it would be without this call.
        let _ = self.set_zero_linger();
    }

    fn is_quiet(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(self, &mut [0_u8; 1], flags).is_err_and(|error| error == Errno::WOULDBLOCK)
    }
}

impl Wire for TlsStream<TcpStream> {
    fn discard_unsent(&self) {
        self.get_ref().0.discard_unsent();
    }

    fn is_quiet(&self) -> bool {
        self.get_ref().0.is_quiet()
    }
}

/// The state of one connection's current request.
#[derive(Debug, Default)]
struct Pass {
    /// Until when bytes of the request may be written; `None` before the first request.
    deadline: Option<Instant>,
    /// Whether the remote may not have said anything since the answer before.
    is_reused: bool,
    /// Whether a byte may have left.
    sent: bool,
    /// Whether a write came too late and was refused.
    late: bool,
    /// Whether the head of the answer has arrived.
    answered: bool,
}

impl Pass {
    fn is_over(&self) -> bool {
        self.deadline.is_none_or(|deadline| Instant::now() >= deadline)
    }
}

/// The handle by which the caller opens the gate and asks what went through it.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<Mutex<Pass>>);

impl Gate {
    fn pass(&self) -> MutexGuard<'_, Pass> {
        // No code that holds the lock can panic between two writes, so a poisoned state is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one request through until its deadline; a further one of a connection only if the remote has
    /// not ended it.
    pub(super) fn open(&self, deadline: Instant) {
        let mut pass = self.pass();
        *pass = Pass { deadline: Some(deadline), is_reused: pass.answered, ..Pass::default() };
    }

    /// Whether a byte of the request may have left. `false` is certain.
    pub(super) fn was_sent(&self) -> bool {
        self.pass().sent
    }

    /// Whether a write was refused because the deadline had passed.
    pub(super) fn was_late(&self) -> bool {
        self.pass().late
    }

    /// Notes that the remote has answered, so that the connection closes in the ordinary way.
    pub(super) fn answered(&self) {
        self.pass().answered = true;
    }

    /// Allows or refuses one write, at the very moment of writing.
    fn admit_write(&self, wire: &dyn Wire) -> io::Result<()> {
        let mut pass = self.pass();
        if pass.is_over() {
            pass.late = true;
            return Err(too_late());
        }
        // The runtime may not have looked at the socket since the remote closed it.
        if pass.is_reused && !pass.sent && !wire.is_quiet() {
            let ended = "the remote ended the connection before the request was written";
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, ended));
        }
        // Set before the write: TLS may have sent part of what it then reports as an error.
        pass.sent = true;
        Ok(())
    }

    /// Flushing moves bytes that TLS still holds, so it is late where writing is. Without an open
    /// request there is nothing to move, and hyper flushes waiting connections too.
    fn admit_flush(&self) -> io::Result<()> {
        let mut pass = self.pass();
        if pass.sent && !pass.answered && pass.is_over() {
            pass.late = true;
            return Err(too_late());
        }
        Ok(())
    }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the deadline passed before the request was written")
}

/// A stream behind its gate.
pub(super) struct GatedStream {
    wire: Box<dyn Wire>,
    gate: Gate,
}

impl GatedStream {
    /// Puts a gate before a stream.
    pub(super) fn new(wire: Box<dyn Wire>, gate: Gate) -> Self {
        Self { wire, gate }
    }
}

impl Drop for GatedStream {
    fn drop(&mut self) {
        let pass = self.gate.pass();
        // A plain close lets the kernel go on sending what it holds, long after the attempt has ended.
        if pass.sent && !pass.answered {
            self.wire.discard_unsent();
        }
    }
}

impl AsyncRead for GatedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_read(cx, into)
    }
}

impl AsyncWrite for GatedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.gate.admit_write(&*self.wire)?;
        Pin::new(&mut self.wire).poll_write(cx, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.gate.admit_write(&*self.wire)?;
        Pin::new(&mut self.wire).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gate.admit_flush()?;
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
