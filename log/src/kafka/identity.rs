//! Which log this is: one record in the topic of control, written once when the log is created.
//!
//! Key `default/installation/log`, value the JSON object of [`Identity`]. The first one in the log
//! counts, so that of two processes that create at once one wins and both agree who.

use super::{options::Options, scan, writer::Writer};
use crate::{Error, NewRecord, Result, TopicPartition};
use bytes::Bytes;
use rdkafka::{Message, Offset};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

const KEY: &[u8] = b"default/installation/log";

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
    let place = place(options);
    let mut found = None;
    scan::to_end(options, &place, Offset::Beginning, |message| {
        let (Some(KEY), Some(value)) = (message.key(), message.payload()) else {
            return Ok(ControlFlow::Continue(()));
        };
        let identity = serde_json::from_slice(value).map_err(|error| {
            let offset = message.offset();
            Error::Damaged(format!("the identity at offset {offset} of {place} is none: {error}"))
        })?;
        found = Some(identity);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// Writes an identity and returns the one that counts, which may be another process's.
pub(crate) async fn write(
    options: &Options,
    writer: &Writer,
    identity: &Identity,
) -> Result<Identity> {
    append(options, writer, identity).await?;
    let asked = options.clone();
    let first = super::client::blocking(move || read(&asked)).await?;
    let Some(first) = first else {
        return Err(Error::Unavailable("the identity just written is not there yet".into()));
    };
    if first != *identity {
        // Compaction keeps the last record of a key, so the winner's is written behind ours.
        append(options, writer, &first).await?;
    }
    Ok(first)
}

async fn append(options: &Options, writer: &Writer, identity: &Identity) -> Result<()> {
    let value = serde_json::to_vec(identity)
        .map_err(|error| Error::Refused(format!("the identity has no JSON form: {error}")))?;
    let record = NewRecord {
        key: Some(Bytes::from_static(KEY)),
        headers: Vec::new(),
        value: Some(value.into()),
    };
    writer.append(&place(options), vec![record], crate::Urgency::Normal).await.map(drop)
}
