//! What drives the real binary from outside: processes, a small HTTP client, a tool server that
//! remembers every effect, and the JSON of plans and events.

#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

pub mod answers;
pub mod binary;
pub mod fx;
pub mod http;
pub mod lines;
pub mod listener;
pub mod row;
pub mod server;
pub mod substrate;
pub mod waits;
pub mod worker;

pub use answers::Answer;
pub use fx::{Call, Fx};
pub use http::{Http, Reply};
pub use listener::Listener;
pub use server::{Spine, spine};
pub use substrate::{On, Servers, remove_store};
pub use worker::Worker;
