//! Raw ceilings: what the machine gives to a loop that does nothing but the one thing. They know nothing of
//! Spine, so that a sceptic can read them alone.

pub mod cql;
pub mod file;
pub mod floor;
pub mod kafka;
