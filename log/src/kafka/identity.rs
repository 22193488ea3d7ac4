//! Which log this is: one record in the topic of control, written once when the log is created.
//!
//! Key `default/installation/log`, value the JSON object of [`Identity`]. Who creates a log first
//! appends what it would be as a *candidate*, under a key of its own, and then writes the first
//! candidate under the key, whosever that is. So of several that create at once one wins, all write
//! the same, and wherever one of them is killed, compaction never finds another identity to keep.

use super::{options::Options, scan, writer::Writer};
use crate::{Error, NewRecord, Result, TopicPartition};
use bytes::Bytes;
use rdkafka::{Message, Offset};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

const KEY: &str = "default/installation/log";
/// What the keys of candidates begin with; the log's id follows.
const CANDIDATE: &str = "default/installation/candidate/";

/// Who a log is. A recreated log has another identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The log's own id.
    pub log_id: String,
    /// The installation's id, from which idempotency keys derive.
    pub installation_id: String,
    /// How many partitions steps and letters have, for ever.
    pub partitions: u32,
}

fn place(options: &Options) -> TopicPartition {
    TopicPartition::new(options.topics().control, 0)
}

/// The identity, if it was written. Blocks.
pub(crate) fn read(options: &Options) -> Result<Option<Identity>> {
    first(options, |key, _| key == KEY)
}

/// Writes an identity and returns the one that counts, which may be another process's.
pub(crate) async fn write(
    options: &Options,
    writer: &Writer,
    identity: &Identity,
) -> Result<Identity> {
    append(options, writer, format!("{CANDIDATE}{}", identity.log_id), identity).await?;
    let (asked, partitions) = (options.clone(), identity.partitions);
    // One that was left over from a creation with other topics does not count.
    let is_candidate = move |key: &str, identity: &Identity| {
        key.starts_with(CANDIDATE) && identity.partitions == partitions
    };
    let winner = super::client::blocking(move || first(&asked, is_candidate)).await?;
    let Some(winner) = winner else {
        return Err(Error::Unavailable("the identity just written is not there yet".into()));
    };
    append(options, writer, KEY.into(), &winner).await?;
    Ok(winner)
}

/// The first identity in the topic that counts. Blocks.
fn first(options: &Options, counts: impl Fn(&str, &Identity) -> bool) -> Result<Option<Identity>> {
    let place = place(options);
    let mut found = None;
    scan::to_end(options, &place, Offset::Beginning, |message| {
        let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
        let (Some(key), Some(value)) = (key, message.payload()) else {
            return Ok(ControlFlow::Continue(()));
        };
        if key != KEY && !key.starts_with(CANDIDATE) {
            return Ok(ControlFlow::Continue(()));
        }
        let identity = serde_json::from_slice(value).map_err(|error| {
            let offset = message.offset();
            Error::Damaged(format!("the identity at offset {offset} of {place} is none: {error}"))
        })?;
        if !counts(key, &identity) {
            return Ok(ControlFlow::Continue(()));
        }
        found = Some(identity);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

async fn append(
    options: &Options,
    writer: &Writer,
    key: String,
    identity: &Identity,
) -> Result<()> {
    let value = serde_json::to_vec(identity)
        .map_err(|error| Error::Refused(format!("the identity has no JSON form: {error}")))?;
    let record = NewRecord::plain(Some(Bytes::from(key)), value);
    writer.append(&place(options), vec![record], crate::Urgency::Normal).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::mocking::MockCluster;

    fn identity(log_id: &str) -> Identity {
        Identity { log_id: log_id.into(), installation_id: format!("i-{log_id}"), partitions: 1 }
    }

    /// Two creators both found no identity. Wherever the second is killed, compaction must not find
    /// its record to be the newest of the key.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_loser_of_a_race_writes_what_the_winner_wrote() {
        let mock = MockCluster::new(1).unwrap();
        let options = Options::new(mock.bootstrap_servers());
        mock.create_topic(&options.topics().control, 1, 1).unwrap();
        let writer = Writer::new(&options).unwrap();
        for log_id in ["winner", "loser"] {
            let counted = write(&options, &writer, &identity(log_id)).await.unwrap();
            assert_eq!(counted, identity("winner"));
        }
        let under_key = super::super::client::blocking(move || {
            let mut found = Vec::new();
            scan::to_end(&options, &place(&options), Offset::Beginning, |message| {
                if message.key() == Some(KEY.as_bytes()) {
                    found.extend(message.payload().map(<[u8]>::to_vec));
                }
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(found)
        });
        let under_key = under_key.await.unwrap();
        assert_eq!(under_key.len(), 2);
        for value in under_key {
            assert_eq!(serde_json::from_slice::<Identity>(&value).unwrap(), identity("winner"));
        }
    }
}
