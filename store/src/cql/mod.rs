//! The store on ScyllaDB or Apache Cassandra: many processes, each the owner of some partitions.
//!
//! There are no transactions here. Rows of a batch are written first, then the progress; every
//! write carries a timestamp that follows from the log, so that repeated, late and reordered writes
//! change nothing. A reader takes state rows only if their versions are not ahead of progress, and
//! else folds the run again from its kept events. So a state is always one as of progress.
//!
//! What fences owners is the log's claims; that progress is looked at before a batch is written
//! only stops a slow one early.

mod blocks;
mod cells;
mod compare;
mod crew;
mod data_centre;
mod fault;
mod history;
mod letters;
mod link;
mod load;
mod merge;
mod open;
mod options;
mod owner;
mod refold;
mod remove;
mod rows;
mod runs;
mod stamp;
mod statements;
mod store;
mod switch;
mod tables;
mod write;

pub use crate::comparison::{Comparison, Difference, ProgressDifference, TableComparison};
pub use compare::compare;
pub use options::Options;
pub use store::CqlStore;
pub use switch::Switched;
