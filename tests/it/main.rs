//! Integration tests: the real binary as a child process, a tool server that remembers, and kill -9.
//!
//! Every test is short by default; `SPINE_SOAK=1` asks for the long form of each (`make soak`).

#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

mod agents;
mod approvals;
mod backlog;
mod bad_input;
mod bench;
mod boundaries;
mod brain;
mod branches;
mod breakers;
mod bulk;
mod children;
mod containers;
mod contract;
mod damage;
mod deterministic;
mod events;
mod fault_rates;
mod faults;
mod fork_parts;
mod forks;
mod formats;
mod halts;
mod holding;
mod killers;
mod kills;
mod letters;
mod memo;
mod no_space;
mod objectives;
mod pauses;
mod pushed;
mod queues;
mod races;
mod rebuild;
mod recovery;
mod retries;
mod streams;
mod syncs;
mod templates;
mod tenants;
mod tidy;
mod unattended;
mod unscraped;
mod waiting;
