//! Wires the way in to the owners of this process: what became of a request at a position.

use spine_ingest::{VerdictError, Verdicts};
use spine_runs::Verdict;
use spine_workers::{VerdictHub, tools::Tools};
use std::time::Duration;

/// How long a request waits for its verdict, or a question for the store.
const WAIT: Duration = Duration::from_secs(10);

/// The owners' hub, and the tools that may be called.
#[derive(Clone)]
pub(crate) struct Wired<T> {
    hub: VerdictHub,
    tools: T,
}

impl<T: Tools> Wired<T> {
    /// Puts the two together.
    pub(crate) fn new(hub: VerdictHub, tools: T) -> Self {
        Self { hub, tools }
    }
}

impl<T: Tools> Verdicts for Wired<T> {
    async fn wait(&self, partition: u32, offset: u64) -> Result<Verdict, VerdictError> {
        use spine_workers::VerdictError as Lacking;
        match self.hub.wait(partition, offset, WAIT).await {
            Ok(verdict) => Ok(verdict),
            Err(Lacking::Forgotten) => {
                // The asker looks into the store next: what was refused must be there by then.
                self.stored(partition, offset).await?;
                Err(VerdictError::Forgotten)
            }
            Err(lacking @ (Lacking::TimedOut | Lacking::NoPartition)) => {
                Err(VerdictError::Unavailable(lacking.to_string()))
            }
        }
    }

    async fn stored(&self, partition: u32, offset: u64) -> Result<(), VerdictError> {
        let stored = self.hub.stored(partition, offset, WAIT).await;
        stored.map_err(|error| VerdictError::Unavailable(error.to_string()))
    }

    fn ready(&self) -> Result<(), String> {
        self.hub.ready()
    }

    fn check_tool(&self, tool: &str) -> Result<(), String> {
        self.tools.check(tool)
    }
}
