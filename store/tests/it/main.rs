//! Integration tests of the store: the contract on each execution, and what only SQLite promises.

mod contract;
