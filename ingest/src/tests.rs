//! The surface from outside: requests in, answers and rows out, on the real embedded log (over a
//! simulated disk) and the real SQLite store, with a small owner that folds when it is asked.

mod bad_input;
mod create;
mod events;
mod failures;
mod hosts;
mod journal;
mod letters;
mod owner;
mod partitions;
mod problems;
mod queries;
mod queues;
mod recalled;
mod resolve;
mod server;
mod streams;
mod surface;
mod unattended;
pub(crate) mod world;
