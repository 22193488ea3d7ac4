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

/// An agent that makes a run, takes its steps one after the other, and ends it. The end of a step and
/// the beginning of the next are one request.
pub(crate) struct Journal {
    connection: Connection,
    tenant: String,
    mark: String,
    steps: u64,
    run: u64,
    request: Request,
    body: String,
    outputs: Vec<String>,
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
    async fn turn(&mut self) -> Result<()> {
        self.run().await
    }
}

impl Journal {
    pub(crate) fn new(connection: Connection, mark: String, steps: u64) -> Self {
        let request = Request::post(connection.port, "/", JSON, b"");
        let outputs = (0..OUTPUTS).map(|seed| events::text(seed, OUTPUT_BYTES)).collect();
        let (tenant, body) = (events::TENANT.to_owned(), String::new());
        Self { connection, tenant, mark, steps, run: 0, request, body, outputs }
    }

    /// The same agent in another tenant.
    pub(crate) fn of_tenant(self, tenant: String) -> Self {
        Self { tenant, ..self }
    }

    /// Takes a whole run, from its creation to its end.
    pub(crate) async fn run(&mut self) -> Result<()> {
        let (run_id, tenant) = (events::run_id(&self.mark, self.run), &self.tenant);
        self.run += 1;
        let create = format!(
            r#"{{"tenant":"{tenant}","run_id":"{run_id}","workflow":"bench","driver":"journal","input":{{"n":{}}}}}"#,
            self.run
        );
        self.request.set(self.connection.port, "/v1/runs", JSON, create.as_bytes());
        self.connection.ask(&self.request).await?.granted()?;
        let path = format!("/v1/runs/{run_id}/journal");
        let (mut op_id, mut lease) = (0, None);
        for step in 0..=self.steps {
            self.body.clear();
            // Writing into memory cannot fail.
            let _ = write!(self.body, r#"{{"tenant":"{tenant}","session":"S1","ops":["#);
            if let Some((attempt, lease)) = lease.take() {
                op_id += 1;
                let output = &self.outputs[(step as usize - 1) % self.outputs.len()];
                let _ = write!(
                    self.body,
                    r#"{{"op":"complete","op_id":{op_id},"step":{{"name":"s{}"}},"attempt":{attempt},"lease":"{lease}","output":{output}}},"#,
                    step - 1
                );
            }
            op_id += 1;
            let _ = match step == self.steps {
                true => {
                    write!(self.body, r#"{{"op":"end","op_id":{op_id},"status":"completed"}}]}}"#)
                }
                false => write!(
                    self.body,
                    r#"{{"op":"begin","op_id":{op_id},"step":{{"name":"s{step}"}},"tool":"crm.lookup","effect":"at_most_once","input":{{"n":{step}}}}}]}}"#
                ),
            };
            self.request.set(self.connection.port, &path, JSON, self.body.as_bytes());
            let body = self.connection.ask(&self.request).await?.granted()?;
            lease = begun(body, step == self.steps)?;
        }
        Ok(())
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
