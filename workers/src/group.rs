//! The workers of one process: a member of the consumer group and an owner for each partition it has.

use crate::{Clock, Error, Node, Owner, Result, limits, tools::Tools};
use spine_log::{Change, EventLog, GroupMember};
use spine_store::RunStore;
use std::collections::BTreeMap;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};

/// Runs the partitions that the group assigns, until told to stop.
///
/// # Errors
/// The first error of an owner that starting again cannot cure.
pub async fn run<L, S, T, C>(
    node: Node<L, S, T, C>,
    group: &str,
    mut stop: watch::Receiver<bool>,
) -> Result<()>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    let mut member = node.log.join(&node.config.topic, group).await?;
    let mut owners: JoinSet<Result<()>> = JoinSet::new();
    let mut stops: BTreeMap<u32, watch::Sender<bool>> = BTreeMap::new();
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            () = told_to_stop(&mut stop), if !stopping => {
                stopping = true;
                for stop in stops.values() {
                    stop.send_replace(true);
                }
                if owners.is_empty() {
                    return Ok(());
                }
            }
            Some(ended) = owners.join_next() => {
                ended.unwrap_or_else(broken)?;
                if stopping && owners.is_empty() {
                    return Ok(());
                }
            }
            () = tokio::time::sleep(limits::COMMIT_EVERY), if !stopping => {
                for partition in stops.keys() {
                    if let Some(stored) = node.hub.stored_offset(*partition)
                        && let Err(error) = member.commit(*partition, stored + 1).await
                    {
                        tracing::warn!(partition, %error, "offset not committed");
                    }
                }
            }
            change = member.next(), if !stopping => match change? {
                Change::Gained(partition) => {
                    let sender = watch::Sender::new(false);
                    owners.spawn(keep_owning(node.clone(), partition, sender.subscribe()));
                    stops.insert(partition, sender);
                }
                Change::Lost { partition, release } => {
                    if let Some(sender) = stops.remove(&partition) {
                        sender.send_replace(true);
                    }
                    drop(release);
                }
            },
        }
    }
}

/// Returns when the process is told to stop, or when nobody can tell it any more.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Starts an owner again after trouble that passes.
async fn keep_owning<L, S, T, C>(
    node: Node<L, S, T, C>,
    partition: u32,
    stop: watch::Receiver<bool>,
) -> Result<()>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    let mut pause = limits::RETRY_FIRST;
    loop {
        match Owner::run(node.clone(), partition, stop.clone()).await {
            Err(error) if error.is_retryable() && !*stop.borrow() => {
                tracing::warn!(partition, %error, "owner stopped, starting again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(limits::RETRY_MOST);
            }
            Err(error) if *stop.borrow() && error.is_retryable() => return Ok(()),
            ended => return ended,
        }
    }
}

fn broken(error: JoinError) -> std::result::Result<(), Error> {
    std::panic::resume_unwind(error.into_panic())
}
