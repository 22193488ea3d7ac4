//! Integration tests of the store: the contract on each execution, and what only SQLite promises.

mod bounds;
mod compare;
mod contract;
mod crash;
mod readers;
mod refused;
mod story;
mod threads;
