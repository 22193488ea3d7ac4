//! Moving the name of a store to another keyspace, as after a replay into a fresh one.

use super::{open, options::Options, store::CqlStore};
use crate::{Error, Progress, ProgressDifference, Result, comparison::progress_differences};

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
    /// Points the name `options.keyspace` at another keyspace. Processes that have it open keep
    /// the old one until they open it again: stop the owners first.
    ///
    /// # Errors
    /// [`Error::Refused`] when the target is a store of another log, or behind, or when somebody
    /// else moved the pointer meanwhile.
    pub async fn switch(options: &Options, to: &str, reason: &str) -> Result<Switched> {
        let name =
            CqlStore::open(&Options { follow_live: false, create: false, ..options.clone() })
                .await?;
        let before = open::live(&name.link().session, name.keyspace()).await?;
        let at = |keyspace: &str| Options {
            keyspace: keyspace.to_owned(),
            follow_live: false,
            ..options.clone().looked_at()
        };
        let from = before.as_ref().map_or(options.keyspace.as_str(), |live| &live.keyspace);
        let (old, new) = (Self::open(&at(from)).await?, Self::open(&at(to)).await?);
        let progress = check(&old.all_progress().await?, &new.all_progress().await?, from, to)?;
        let session = &name.link().session;
        let moved = open::point(session, name.keyspace(), before.as_ref(), to, reason).await?;
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

/// The new keyspace must be of the same log and nowhere behind.
fn check(
    old: &[(u32, Progress)],
    new: &[(u32, Progress)],
    from: &str,
    to: &str,
) -> Result<Vec<ProgressDifference>> {
    let offsets = |all: &[(u32, Progress)]| -> Vec<(u32, u64)> {
        all.iter().map(|(partition, progress)| (*partition, progress.offset)).collect()
    };
    let refused = |why: String| Err(Error::Refused(format!("switch {from} to {to}: {why}")));
    for (partition, progress) in old {
        let Some((_, other)) = new.iter().find(|(number, _)| number == partition) else {
            return refused(format!(
                "partition {partition} is at {} in {from} and not begun in {to}; replay further",
                progress.offset
            ));
        };
        if other.log_id != progress.log_id {
            return refused(format!(
                "{to} is of log {}, {from} of log {}; replay the right log",
                other.log_id, progress.log_id
            ));
        }
        if other.offset < progress.offset {
            return refused(format!(
                "partition {partition} is at {} in {from} and at {} in {to}; replay further",
                progress.offset, other.offset
            ));
        }
    }
    Ok(progress_differences(offsets(old), offsets(new)))
}
