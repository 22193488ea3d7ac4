//! A worker of queues: it asks for steps, and says how they end.

use crate::{Http, Reply, Spine};
use serde_json::{Value, json};

/// A worker's way to one server.
pub struct Worker {
    name: String,
    http: Http,
}

impl Worker {
    /// A worker that asks this server.
    pub fn new(name: &str, spine: &Spine) -> Self {
        Self { name: name.to_owned(), http: spine.http() }
    }

    /// Asks for steps, in this form or with further fields.
    ///
    /// # Errors
    /// When there is no server, or no whole answer.
    pub fn ask(&mut self, queue: &str, more: Value) -> std::io::Result<Reply> {
        let body = merged(json!({"worker": self.name}), more);
        self.http.post(&format!("/v1/queues/{queue}/lease"), &body)
    }

    /// What it is granted.
    ///
    /// # Panics
    /// When the server does not answer, or refuses.
    pub fn lease(&mut self, queue: &str, more: Value) -> Vec<Value> {
        let reply = self.ask(queue, more).expect("an answer");
        assert_eq!(reply.status, 200, "{:?}", reply.json());
        reply.json()["leases"].as_array().expect("leases").clone()
    }

    /// The first step of a queue.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn one(&mut self, queue: &str, lease_ms: u64) -> Value {
        let leases = self.lease(queue, json!({"wait_ms": 20_000, "lease_ms": lease_ms}));
        leases.into_iter().next().expect("a step in time")
    }

    /// Says something of what it was granted.
    ///
    /// # Errors
    /// When there is no server, or no whole answer.
    pub fn tell(
        &mut self,
        queue: &str,
        verb: &str,
        lease: &Value,
        more: Value,
    ) -> std::io::Result<Reply> {
        let mut body = merged(json!({"worker": self.name}), more);
        for field in ["tenant", "run_id", "step", "attempt", "lease"] {
            body[field] = lease[field].clone();
        }
        self.http.post(&format!("/v1/queues/{queue}/{verb}"), &body)
    }

    /// Says something of what it was granted; gives the status and the answer.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn say(&mut self, queue: &str, verb: &str, lease: &Value, more: Value) -> (u16, Value) {
        let reply = self.tell(queue, verb, lease, more).expect("an answer");
        (reply.status, reply.json())
    }

    /// Says that it is done.
    ///
    /// # Panics
    /// When that is not taken.
    pub fn complete(&mut self, queue: &str, lease: &Value) {
        let said = self.say(queue, "complete", lease, self.output());
        assert_eq!(said.0, 200, "{}", said.1);
    }

    /// What it says when it is done.
    pub fn output(&self) -> Value {
        json!({"output": {"by": self.name}})
    }
}

fn merged(mut body: Value, more: Value) -> Value {
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}
