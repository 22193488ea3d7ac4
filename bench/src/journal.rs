//! An agent that owns its loop and takes its steps through the journal.

use crate::{
    error::{Error, Result},
    events,
    load::{Agent, Connection, Request},
};
use serde::Deserialize;
use std::fmt::Write as _;

const JSON: &str = "application/json";
/// Bytes of what each step gives.
pub(crate) const OUTPUT_BYTES: usize = 1000;
/// Different outputs.
const OUTPUTS: u64 = 10;

/// What every gate that a `begin` can name is asked with: attempts, times, the age of the key.
const GATES: &str = r#","retry":{"max_attempts":5,"initial_ms":200},"lease_ms":20000,"timeout_ms":60000,"schedule_to_start_ms":60000,"deadline_ms":600000,"key_ttl_ms":3600000"#;

/// An agent that makes a run, takes its steps one after the other, and ends it. The creation and the beginning of
/// the first step are one request, and so are the end of a step and the beginning of the next.
pub(crate) struct Journal {
    connection: Connection,
    tenant: String,
    mark: String,
    /// Further fields of each `begin`.
    gates: &'static str,
    steps: u64,
    run: u64,
    at: At,
    request: Request,
    body: String,
    outputs: Vec<String>,
}

/// Where in its run an agent is: the step to be begun, or the end; and attempt and lease of the step before.
#[derive(Default)]
struct At {
    run_id: String,
    step: u64,
    held: Option<(u32, String)>,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    attempt: Option<u32>,
    lease: Option<String>,
}

impl Agent for Journal {
    const TURN: &'static str = "a run";

    async fn turn(&mut self) -> Result<()> {
        self.run().await
    }
}

/// The same agent, whose turn is one request.
pub(crate) struct Requests(pub(crate) Journal);

impl Agent for Requests {
    const TURN: &'static str = "a request of a journal";

    async fn turn(&mut self) -> Result<()> {
        self.0.ask().await.map(drop)
    }
}

impl Journal {
    pub(crate) fn new(connection: Connection, mark: String, steps: u64) -> Self {
        let request = Request::post(connection.port, "/", JSON, b"");
        let outputs = (0..OUTPUTS).map(|seed| events::text(seed, OUTPUT_BYTES)).collect();
        let (tenant, body, at) = (events::TENANT.to_owned(), String::new(), At::default());
        Self { connection, tenant, mark, gates: "", steps, run: 0, at, request, body, outputs }
    }

    /// The same agent in another tenant.
    pub(crate) fn of_tenant(self, tenant: String) -> Self {
        Self { tenant, ..self }
    }

    /// The same agent, each of whose steps names all that it can be held to.
    pub(crate) fn gated(self) -> Self {
        Self { gates: GATES, ..self }
    }

    /// Takes a whole run, from its creation to its end.
    pub(crate) async fn run(&mut self) -> Result<()> {
        while !self.ask().await? {}
        Ok(())
    }

    /// Sends the next request of a run; whether it was the last one.
    async fn ask(&mut self) -> Result<bool> {
        let At { mut run_id, step, held } = std::mem::take(&mut self.at);
        if step == 0 {
            run_id = events::run_id(&self.mark, self.run);
            self.run += 1;
        }
        let is_end = step == self.steps;
        let held = self.next(&run_id, step, held).await?;
        if !is_end {
            self.at = At { run_id, step: step + 1, held };
        }
        Ok(is_end)
    }

    /// Makes the run, or completes the step that is held; and begins the next one, or ends the run. The ids of its
    /// operations follow from the step: 1 begins the first one, then two a request.
    async fn next(
        &mut self,
        run_id: &str,
        step: u64,
        held: Option<(u32, String)>,
    ) -> Result<Option<(u32, String)>> {
        self.body.clear();
        let (body, tenant, op_id) = (&mut self.body, &self.tenant, 2 * step + 1);
        // Writing into memory cannot fail.
        let _ = write!(body, r#"{{"tenant":"{tenant}","session":"S1","#);
        if step == 0 {
            let _ =
                write!(body, r#""create":{{"workflow":"bench","input":{{"n":{}}}}},"#, self.run);
        }
        body.push_str(r#""ops":["#);
        if let Some((attempt, lease)) = held {
            let (done, complete) = (step - 1, op_id - 1);
            let output = &self.outputs[done as usize % self.outputs.len()];
            let _ = write!(
                body,
                r#"{{"op":"complete","op_id":{complete},"step":{{"name":"s{done}"}},"attempt":{attempt},"lease":"{lease}","output":{output}}},"#,
            );
        }
        let is_end = step == self.steps;
        let _ = match is_end {
            true => write!(body, r#"{{"op":"end","op_id":{op_id},"status":"completed"}}]}}"#),
            false => write!(
                body,
                r#"{{"op":"begin","op_id":{op_id},"step":{{"name":"s{step}"}},"tool":"crm.lookup","effect":"at_most_once","input":{{"n":{step}}}{}}}]}}"#,
                self.gates
            ),
        };
        let path = format!("/v1/runs/{run_id}/journal");
        self.request.set(self.connection.port, &path, JSON, self.body.as_bytes());
        let answer = self.connection.ask(&self.request).await?.granted()?;
        begun(answer, is_end)
    }
}

/// Attempt and lease of the step that was begun; nothing where the run was ended.
fn begun(body: &[u8], is_end: bool) -> Result<Option<(u32, String)>> {
    let unexpected =
        || Error::Server(format!("a journal answered {}", String::from_utf8_lossy(body)));
    let Results { mut results } = serde_json::from_slice(body).map_err(|_| unexpected())?;
    let last = results.pop().ok_or_else(unexpected)?;
    if results.iter().any(|result| result.status != "ok") {
        return Err(unexpected());
    }
    match (last.status.as_str(), last.attempt.zip(last.lease)) {
        ("ok", _) if is_end => Ok(None),
        ("execute", Some(lease)) if !is_end => Ok(Some(lease)),
        _ => Err(unexpected()),
    }
}
