//! The way in and the way to ask: HTTP routes, validation at the door, the journal, JSON shapes.
//!
//! Facts are answered on the log's acknowledgement, requests only from the fold's verdict at their
//! own position. What events mean is decided in `runs`; who owns a partition, in `workers`. The two
//! crates meet in the log, the store and [`Verdicts`].

mod app;
mod approval;
mod ask;
mod body;
mod events;
mod guard;
mod health;
mod hosts;
mod ids;
mod in_flight;
mod journal;
mod leases;
mod letters;
pub mod limits;
mod log_records;
mod metrics;
mod partitions;
pub mod problem;
mod query;
mod queues;
mod routes;
mod runs;
mod server;
mod steering;
mod streams;
mod tasks;
mod verdicts;
mod views;
mod watch;

pub use app::{App, Clock, MetricsText, Parts, Random, Settings};
pub use leases::{Leased, Leases, Poll};
pub use problem::{Code, Problem};
pub use routes::{owners_router, router};
pub use server::serve;
pub use steering::{PauseOf, Steering};
pub use streams::{Asking, Listening, StreamError, Streams};
pub use verdicts::{ClaimHolder, VerdictError, Verdicts};
pub use watch::watch;

#[cfg(test)]
mod tests;
