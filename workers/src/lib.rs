//! The loops: one owner per partition that reads, folds, decides, acts and appends; replay; tools.
//!
//! The way in and the queries are in `ingest`; the two meet in the log, the store and the verdicts.

mod cache;
mod chain;
mod clock;
mod control;
mod error;
mod flood;
pub mod group;
mod health;
mod limits;
mod materialize;
mod memos;
mod metrics;
mod order;
mod owner;
mod polls;
pub mod replay;
mod schema_source;
mod streams;
pub mod tools;
mod verdicts;
pub mod webhook;

pub use clock::{Clock, SystemClock};
pub use control::Control;
pub use error::{Error, Result};
pub use health::Health;
pub use memos::Memos;
use owner::Owner;
pub use owner::{Config, Node};
pub use polls::{Ask, Polls};
pub use schema_source::{NoSchemas, Refresh, SchemaSource};
pub use streams::{ListenError, Listener, Streams};
pub use verdicts::{ResumeError, VerdictError, VerdictHub};
