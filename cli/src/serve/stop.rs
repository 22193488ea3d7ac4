//! How a server is told to stop: SIGTERM or SIGINT.

use crate::exit::{Exit, Failure};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// The signals that stop a server.
pub(super) struct Stopping {
    terminate: Signal,
    interrupt: Signal,
}

impl Stopping {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let us.
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::Failed, format!("could not listen for signals: {error}"))
            })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for a flag to be raised, or for its owner to be gone.
pub(super) async fn told(mut flag: watch::Receiver<bool>) {
    let _ = flag.wait_for(|raised| *raised).await;
}
