//! The embedded log as an outsider sees it: the contract, its files, and what it survives.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod contract;
mod damage;
mod failing_disks;
mod formats;
mod group_commit;
mod other_readers;
mod ownership;
mod reading_only;
mod recovery;
mod seeking;
mod segments;
mod simulation;
mod splicing;
mod support;
