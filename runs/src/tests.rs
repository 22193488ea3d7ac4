//! Tables and properties of the core: given events, at a time, then a verdict, a state, a decision.

mod arbitrary;
mod authors;
mod batches;
mod bodies;
mod breaker;
mod bytes;
mod claims;
mod deadline;
mod given;
mod held_back;
mod holding;
mod journal;
mod late;
mod life;
mod operators;
mod properties;
mod queue;
mod record;
mod recovery;
mod retry;
mod sessions;
mod skip;
mod waiting;
mod why;
mod world;
