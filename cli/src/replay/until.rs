//! Where a replay ends: a time or an offset, both included.

use crate::{
    adapters::AnyLog,
    exit::{Exit, Failure},
};
use spine_log::{EventLog, TopicPartition};
use spine_schemas::time::Micros;
use std::str::FromStr;

/// The last time or the last offset to replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Records that the log took at this time or earlier.
    Time(Micros),
    /// Records up to this offset.
    Offset(u64),
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(offset) = text.parse() {
            return Ok(Self::Offset(offset));
        }
        let wrong = || "it is neither an offset nor a time like 2026-08-01T10:00:00Z".to_owned();
        Micros::parse(text).map(Self::Time).ok_or_else(wrong)
    }
}

impl Until {
    /// One past the last offset to replay.
    pub(super) async fn end(
        self,
        log: &AnyLog,
        of: &TopicPartition,
        end: u64,
    ) -> Result<u64, Failure> {
        match self {
            // The first record that is later than the time is the first one that is left out.
            Self::Time(at) => Ok(log.offset_at(of, Micros(at.0.saturating_add(1))).await?),
            Self::Offset(offset) if offset < end => Ok(offset + 1),
            Self::Offset(offset) => {
                let message = format!("--until {offset}: {of} ends with offset {}", end.max(1) - 1);
                Err(Failure::new(Exit::Usage, message))
            }
        }
    }
}
