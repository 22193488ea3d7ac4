//! Where runs are looked up: the store contract and its adapters.
//!
//! The store is a fold of the log and can be thrown away. What its rows mean is decided in `runs`.

mod comparison;
pub mod contract;
#[cfg(feature = "cql")]
pub mod cql;
mod cursor;
mod error;
pub mod form;
pub mod limits;
mod metrics;
mod rows;
pub mod sqlite;
mod traits;

pub use comparison::{Comparison, Difference, ProgressDifference, TableComparison};
pub use error::{Error, Result};
pub use rows::{
    DecisionRow, EventRow, LetterClosing, LetterFilter, LetterKind, LetterRow, LetterStatus, Page,
    Progress, RefusalRow, RunChange, RunFilter, RunRow, StoreBatch, VerdictKind,
};
pub use traits::RunStore;
