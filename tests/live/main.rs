//! Live tests: several processes of the real binary on real servers, which are stopped, killed and slowed
//! down; and producers that know nothing of Spine but its schema.
//!
//! Every test is short by default; `SPINE_SOAK=1` asks for the long form of each (`make soak`).

#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

mod breakers;
mod checks;
mod cluster;
mod fleet;
mod handover;
mod load;
mod nodes;
mod outages;
mod pauses;
mod producers;
mod queues;
mod races;
mod streams;
mod unattended;
mod zombies;
