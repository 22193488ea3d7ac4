//! Integration tests of the store: the contract on each execution, and what only SQLite promises.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod bounds;
mod compare;
mod contract;
mod crash;
mod fill;
mod readers;
mod refused;
mod story;
mod threads;
