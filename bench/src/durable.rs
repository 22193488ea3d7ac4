//! What is durable when an operation counts as done. Of files it is what our code does; of servers it is what
//! they say of their own settings.

use crate::{
    ceilings::{cql, kafka},
    error::Result,
    settings::{Parts, Settings},
};

/// The embedded log, and the bare HTTP floor.
pub(crate) const EMBEDDED: &str = "fdatasync before the answer, one for all that wait";
/// A raw file.
pub(crate) const FILE: &str = "fdatasync after each write";
/// What is not about durability.
pub(crate) const NONE: &str = "nothing: in memory";
/// A store that follows the embedded log.
const SQLITE: &str = "WAL with synchronous=NORMAL behind a synced log";
/// A store file that a replay fills.
const FILLED: &str =
    "one transaction without journal or sync, the whole file synced once at its end";

/// What it is in this run.
#[derive(Clone, Debug)]
pub(crate) struct Durable {
    kafka: String,
    cql: String,
}

impl Durable {
    /// Asks the servers, if there are any.
    pub(crate) async fn of(settings: &Settings) -> Result<Self> {
        let (mut kafka, mut cql) = (String::new(), String::new());
        if let Some(cluster) = &settings.cluster {
            kafka = kafka::durability(&cluster.log).await?;
            cql = cql::durability(&cluster.store).await?;
        }
        Ok(Self { kafka, cql })
    }

    /// What an append rests on once it is acknowledged.
    pub(crate) fn log(&self, parts: Parts) -> &str {
        match parts {
            Parts::Embedded => EMBEDDED,
            Parts::Cluster => &self.kafka,
        }
    }

    /// What the rows of a store that follows rest on.
    pub(crate) fn store(&self, parts: Parts) -> &str {
        match parts {
            Parts::Embedded => SQLITE,
            Parts::Cluster => &self.cql,
        }
    }

    /// What the rows of a replay rest on once it is done.
    pub(crate) fn replay(&self, parts: Parts) -> &str {
        match parts {
            Parts::Embedded => FILLED,
            Parts::Cluster => &self.cql,
        }
    }
}
