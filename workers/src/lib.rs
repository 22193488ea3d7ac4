//! The loops: one owner per partition that reads, folds, decides, acts and appends; replay; tools.
//!
//! The way in and the queries are in `ingest`; the two meet in the log, the store and the verdicts.

mod cache;
mod chain;
mod clock;
mod error;
pub mod group;
mod limits;
mod materialize;
mod metrics;
mod owner;
pub mod replay;
pub mod tools;
mod verdicts;

pub use clock::{Clock, SystemClock};
pub use error::{Error, Result};
pub use owner::{Config, Node, Owner};
pub use verdicts::{VerdictError, VerdictHub};
