//! The store on a real server: the contract, and what only a store without transactions must prove.
//!
//! Needs `SPINE_TEST_CQL=host:port`. Without it the tests say that they were skipped, and fail only
//! if `SPINE_LIVE=required`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod consistency;
mod contract;
mod history;
mod keyspaces;
mod server;
mod speed;
