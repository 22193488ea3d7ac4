//! Wires the way in to the owners: those of this process directly, those of other processes by one
//! forward to the address in the claim.

use crate::{
    claims,
    client::{Client, ServerUrl},
};
use hyper::Method;
use serde::Deserialize;
use spine_ingest::{ClaimHolder, VerdictError, Verdicts};
use spine_runs::Verdict;
use spine_store::RunStore;
use spine_workers::{VerdictHub, tools::Tools};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How long a request waits for its verdict, or a question for the store.
const WAIT: Duration = Duration::from_secs(10);
/// Between two looks at who owns a partition, or how far the store is; doubles up to the second.
const LOOK: Duration = Duration::from_millis(5);
const LOOK_MOST: Duration = Duration::from_millis(500);

/// The owners' hub, the tools that may be called, and the store, which knows who claimed.
#[derive(Clone)]
pub(crate) struct Wired<T, S> {
    hub: VerdictHub,
    tools: T,
    store: S,
    /// Where others reach this process.
    address: String,
}

/// What another process said of a verdict.
enum Said {
    Verdict(Verdict),
    /// It was folded long ago: the store has it.
    Forgotten,
    /// Not now, or not by that process.
    Later(String),
}

impl<T: Tools, S: RunStore> Wired<T, S> {
    /// Puts them together.
    pub(crate) fn new(hub: VerdictHub, tools: T, store: S, address: String) -> Self {
        Self { hub, tools, store, address }
    }

    /// The verdict of the process that owns the partition. Partitions move: until the deadline, who
    /// owns it is looked up anew for each try.
    async fn forwarded(&self, partition: u32, offset: u64) -> Result<Verdict, VerdictError> {
        let until = Instant::now() + WAIT;
        let mut pause = LOOK;
        loop {
            let why = match timeout_at(until, self.try_once(partition, offset)).await {
                Ok(Said::Verdict(verdict)) => return Ok(verdict),
                Ok(Said::Forgotten) => {
                    self.stored(partition, offset).await?;
                    return Err(VerdictError::Forgotten);
                }
                Ok(Said::Later(why)) => why,
                Err(_) => "the owner did not answer in time".to_owned(),
            };
            if Instant::now() + pause >= until {
                return Err(VerdictError::Unavailable(why));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MOST);
        }
    }

    async fn try_once(&self, partition: u32, offset: u64) -> Said {
        if let Ok(verdict) = self.hub.wait(partition, offset, Duration::ZERO).await {
            return Said::Verdict(verdict);
        }
        let progress = match self.store.progress(partition).await {
            Ok(progress) => progress,
            Err(error) => return Said::Later(error.to_string()),
        };
        // At or below progress the store itself says what was refused; the rest was applied.
        if progress.as_ref().is_some_and(|progress| progress.offset >= offset) {
            return Said::Forgotten;
        }
        let newest = ClaimHolder::newest(progress.as_ref(), claims::folded(&self.hub, partition));
        let Some(holder) = newest else {
            return Said::Later("no owner is known yet".into());
        };
        // An address does not say who claimed: hosts that advertise none all have the same one. This
        // process is asked, too, if it is there; it answers at once, and asks nobody.
        match ask(&holder, partition, offset).await {
            Said::Later(why) => Said::Later(explained(&self.address, &holder.address, why)),
            said => said,
        }
    }
}

/// Why the owner could not be asked, with what an operator can do where the claim leads back to here.
fn explained(own: &str, claimed: &str, why: String) -> String {
    if own != claimed {
        return why;
    }
    format!(
        "{why}; the newest claim names {own}, which is the address of this server: it claimed before \
         it was started again, or another server has no --advertise of its own"
    )
}

/// A process that does not own the partition says who does, as far as it knows.
#[derive(Deserialize)]
struct NotOwner {
    claim: Option<ClaimHolder>,
}

async fn ask(holder: &ClaimHolder, partition: u32, offset: u64) -> Said {
    let path = format!("/v1/partitions/{partition}/verdicts/{offset}");
    let Ok(url) = format!("http://{}", holder.address).parse::<ServerUrl>() else {
        return Said::Later(format!("the claim names no address: '{}'", holder.address));
    };
    let answer = match Client::of(url).ask(Method::GET, &path, None, &[]).await {
        Ok(answer) => answer,
        Err(failure) => return Said::Later(failure.text()),
    };
    match answer.status {
        200 => match serde_json::from_str(&answer.text) {
            Ok(Some(verdict)) => Said::Verdict(verdict),
            Ok(None) => Said::Forgotten,
            Err(error) => Said::Later(format!("{} answered strangely: {error}", holder.address)),
        },
        421 => Said::Later(match serde_json::from_str(&answer.text) {
            Ok(NotOwner { claim: Some(other) }) => format!("{} claimed it since", other.address),
            Ok(NotOwner { claim: None }) | Err(_) => "the partition has no owner now".into(),
        }),
        status => Said::Later(format!("{} answered {status}", holder.address)),
    }
}

impl<T: Tools, S: RunStore> Verdicts for Wired<T, S> {
    async fn wait(&self, partition: u32, offset: u64) -> Result<Verdict, VerdictError> {
        match self.wait_here(partition, offset).await {
            Err(VerdictError::NotOwner(_)) => self.forwarded(partition, offset).await,
            answered => answered,
        }
    }

    async fn wait_here(&self, partition: u32, offset: u64) -> Result<Verdict, VerdictError> {
        use spine_workers::VerdictError as Lacking;
        match self.hub.wait(partition, offset, WAIT).await {
            Ok(verdict) => Ok(verdict),
            Err(Lacking::Forgotten) => {
                // The asker looks into the store next: what was refused must be there by then.
                self.stored(partition, offset).await?;
                Err(VerdictError::Forgotten)
            }
            Err(Lacking::NotOwner) => {
                Err(VerdictError::NotOwner(claims::folded(&self.hub, partition)))
            }
            Err(lacking @ (Lacking::TimedOut | Lacking::NoPartition)) => {
                Err(VerdictError::Unavailable(lacking.to_string()))
            }
        }
    }

    async fn stored(&self, partition: u32, offset: u64) -> Result<(), VerdictError> {
        use spine_workers::VerdictError as Lacking;
        let unavailable = |error: String| VerdictError::Unavailable(error);
        match self.hub.stored(partition, offset, WAIT).await {
            Ok(()) => return Ok(()),
            Err(Lacking::NotOwner) => {}
            Err(lacking) => return Err(unavailable(lacking.to_string())),
        }
        let until = Instant::now() + WAIT;
        let mut pause = LOOK;
        loop {
            let progress = self.store.progress(partition).await;
            let progress = progress.map_err(|error| unavailable(error.to_string()))?;
            if progress.is_some_and(|progress| progress.offset >= offset) {
                return Ok(());
            }
            if Instant::now() + pause >= until {
                return Err(unavailable("the store has not come that far yet".into()));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MOST);
        }
    }

    fn resume(&self, partition: u32, actor: &str, reason: &str) -> Result<u64, VerdictError> {
        self.hub.resume(partition, actor, reason).map_err(|error| match error {
            spine_workers::ResumeError::NotOwner => {
                VerdictError::NotOwner(claims::folded(&self.hub, partition))
            }
            spine_workers::ResumeError::NotStopped => VerdictError::NotStopped,
        })
    }

    fn ready(&self) -> Result<(), String> {
        self.hub.ready()
    }

    fn check_tool(&self, tool: &str) -> Result<(), String> {
        self.tools.check(tool)
    }
}

#[cfg(test)]
mod tests {
    use super::explained;

    #[test]
    fn a_claim_that_leads_back_to_this_server_says_how_to_mend_it() {
        let own = "127.0.0.1:7700";
        let why = || "the partition has no owner now".to_owned();
        assert_eq!(explained(own, "10.0.0.2:7700", why()), why());
        let explained = explained(own, own, why());
        assert!(explained.starts_with(&why()), "{explained}");
        assert!(explained.contains("--advertise"), "{explained}");
    }
}
