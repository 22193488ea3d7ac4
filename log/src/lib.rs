//! Where events live: the log contract and its adapters.
//!
//! What a record means is decided in `schemas` and `runs`; this crate stores bytes, in order, durably.

pub mod contract;
pub mod embedded;
mod error;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod limits;
mod record;
mod traits;

pub use error::{Error, Result};
pub use record::{Appended, Bounds, NewRecord, ReadLimit, Record, TopicPartition, Urgency};
pub use traits::{Change, EventLog, GroupMember, PartitionReader, Release};
