//! The log on a real Kafka broker: the contract, its creation, its checks, groups, and gaps.
//!
//! `SPINE_TEST_KAFKA=host:port` names the broker. Without it the tests say that they are skipped
//! and pass, unless `SPINE_LIVE=required`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod appending;
mod checks;
mod contract;
mod creation;
mod groups;
mod reading;
mod speed;
mod support;
