//! Moving the name of a store to another keyspace, as after a replay into a fresh one.

use super::{open, options::Options, store::CqlStore};
use crate::{Error, ProgressDifference, Result, comparison::progress_differences};

/// A pointer that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switched {
    /// The keyspace that held the rows before.
    pub from: String,
    /// The keyspace that holds them now.
    pub to: String,
    /// How often the pointer was moved.
    pub version: i64,
    /// Partitions that were stored further in the new keyspace: left is the old one.
    pub progress: Vec<ProgressDifference>,
}

impl CqlStore {
    /// Points the name `options.keyspace` at another keyspace, which must be of this version; the old
    /// one may be of an earlier version. Processes that have it open keep the old one until they open
    /// it again: stop the owners first.
    ///
    /// # Errors
    /// [`Error::Refused`] when the target is a store of another log, or behind, or when somebody
    /// else moved the pointer meanwhile.
    pub async fn switch(options: &Options, to: &str, reason: &str) -> Result<Switched> {
        let session = open::pointing(options).await?;
        let before = open::live(&session, &options.keyspace).await?;
        let from = before.as_ref().map_or(options.keyspace.as_str(), |live| &live.keyspace);
        let target = Options { keyspace: to.to_owned(), follow_live: false, ..options.clone() };
        Self::open(&target.looked_at()).await?;
        let old = open::positions(&session, from).await?;
        let new = open::positions(&session, to).await?;
        let progress = check(&old, &new, from, to)?;
        let moved = open::point(&session, &options.keyspace, before.as_ref(), to, reason).await?;
        if !moved {
            return Err(Error::Refused(format!(
                "switch {} to {to}: somebody else moved it meanwhile; look again",
                options.keyspace
            )));
        }
        let version = before.as_ref().map_or(1, |live| live.version + 1);
        Ok(Switched { from: from.to_owned(), to: to.to_owned(), version, progress })
    }
}

/// Partition, log id and offset of everything that is stored.
type Positions = [(u32, String, u64)];

/// The new keyspace must be of the same log and nowhere behind.
fn check(
    old: &Positions,
    new: &Positions,
    from: &str,
    to: &str,
) -> Result<Vec<ProgressDifference>> {
    let offsets = |all: &Positions| -> Vec<(u32, u64)> {
        all.iter().map(|(partition, _, offset)| (*partition, *offset)).collect()
    };
    let refused = |why: String| Err(Error::Refused(format!("switch {from} to {to}: {why}")));
    for (partition, log_id, offset) in old {
        let Some((_, other_log, other)) = new.iter().find(|(number, ..)| number == partition)
        else {
            return refused(format!(
                "partition {partition} is at {offset} in {from} and not begun in {to}; replay \
                 further, with the workers stopped"
            ));
        };
        if other_log != log_id {
            return refused(format!(
                "{to} is of log {other_log}, {from} of log {log_id}; replay the right log"
            ));
        }
        if other < offset {
            return refused(format!(
                "partition {partition} is at {offset} in {from} and at {other} in {to}; replay \
                 further, with the workers stopped"
            ));
        }
    }
    Ok(progress_differences(offsets(old), offsets(new)))
}
