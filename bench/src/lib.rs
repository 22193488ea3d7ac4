//! How fast Spine is, against what the machine gives and against its peers. A program, never a timed test:
//! it prints what it measured, and decides nothing.
//!
//! Servers are measured as processes of their own, through their public surface; what a sceptic doubts can
//! be repeated by hand. The adapters are unknown here: the binary opens logs and stores.

#[cfg(test)]
mod allocations;
mod bench;
mod blocks;
pub mod ceilings;
mod container;
mod cpu;
mod durable;
mod error;
mod events;
mod filled;
mod floor;
mod goals;
pub mod jobs;
mod journal;
mod load;
mod measure;
mod memory;
pub mod names;
mod peer;
mod place;
mod plans;
mod row;
mod server;
mod settings;
mod table;
mod tool;
mod traffic;

pub use error::{Error, Result};
pub use goals::Met;
pub use measure::{Measure, Times};
pub use place::Opener;
pub use row::Row;
pub use settings::{Cluster, Parts, Settings, Size};
pub use table::{block, table};
