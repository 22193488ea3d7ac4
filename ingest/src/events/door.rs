//! Which line is wrong, why, and which route takes what is not a fact.

use crate::{Code, Problem, limits};
use serde::Serialize;
use spine_schemas::{Error, Event, Kind, json};

/// A refused line.
#[derive(Debug, Serialize)]
pub(super) struct BadLine {
    line: usize,
    code: u16,
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    message: String,
}

impl BadLine {
    pub(super) fn of(line: usize, refused: Refused) -> Self {
        let row = refused.code.row();
        let (field, message) = match refused.error {
            Error::Invalid { field, message } => (Some(field), message),
            Error::TooLarge { field, actual, limit } => {
                (Some(field), format!("{actual} is over the limit of {limit}"))
            }
            Error::UnknownKind { field, symbol, .. } => {
                (Some(field), format!("'{symbol}' is newer than this build"))
            }
            other @ (Error::Decode(_) | Error::SchemaUnknown(_) | Error::Incompatible(_)) => {
                (None, other.to_string())
            }
        };
        Self { line, code: row.number, name: row.name, field, message }
    }
}

/// The bad lines of a batch: the first ones whole, the rest counted.
#[derive(Debug, Default)]
pub(super) struct BadLines {
    listed: Vec<BadLine>,
    more: usize,
}

impl BadLines {
    pub(super) fn note(&mut self, line: usize, refused: Refused) {
        if self.listed.len() < limits::BAD_LINES {
            self.listed.push(BadLine::of(line, refused));
        } else {
            self.more += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// The refusal of the whole batch.
    pub(super) fn into_problem(self) -> Problem {
        let total = self.listed.len() + self.more;
        crate::metrics::observe_bad_lines(total);
        let detail = match self.listed.first() {
            Some(first) => format!("line {}: {} ({total} bad in all)", first.line, first.message),
            None => "no line is bad".to_owned(),
        };
        Problem::new(Code::BadEvents, detail)
            .with("errors", self.listed)
            .with("more_errors", self.more)
            .with("appended", 0)
    }
}

/// Why an event was refused, and under which code.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: Code,
    pub(super) error: Error,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { code: Code::of_event(&error), error }
    }
}

/// Checks that an event is an outsider's to report; else names the route that takes it.
pub(super) fn check(event: &Event) -> std::result::Result<(), Refused> {
    if event.batch.is_some() {
        return Err(Error::invalid("batch", "is set by the server alone").into());
    }
    json::check_fact(event).map_err(|error| match &error {
        Error::Invalid { field, .. } if field == "kind" => {
            let message = format!("{} is not a fact; {}", event.kind(), right_door(event.kind()));
            Refused { code: Code::NotAFact, error: Error::invalid("kind", message) }
        }
        Error::Invalid { field, .. } if field == "attempt" || field == "run.driver" => {
            Refused { code: Code::NotAFact, error }
        }
        _ => error.into(),
    })
}

/// Where a request of this kind is asked, or who decides it.
fn right_door(kind: Kind) -> &'static str {
    match kind {
        Kind::RunCreated => "POST /v1/runs takes plans and journal runs",
        Kind::StepStarted | Kind::StepHeartbeat => "POST /v1/runs/{id}/journal takes it",
        Kind::StepResolved => "POST /v1/runs/{id}/steps/{step}/resolve takes it",
        Kind::StepRedriven => "POST /v1/dead-letters/{id}/redrive takes it",
        Kind::StepDiscarded | Kind::RecordDisposed => "POST /v1/dead-letters/{id}/discard takes it",
        Kind::SignalReceived => "POST /v1/runs/{id}/signals/{name} takes it",
        Kind::WaitCreated => "POST /v1/runs/{id}/journal takes it",
        Kind::StepReused => "POST /v1/runs/{id}/fork takes it",
        Kind::TaskDecided => "POST /v1/tasks/{id}/decide takes it",
        Kind::CancelRequested => "POST /v1/runs/{id}/cancel takes it",
        Kind::RunPaused | Kind::RunResumed => "POST /v1/runs/{id}/pause and resume take it",
        Kind::StepPaused | Kind::StepResumed => {
            "POST /v1/runs/{id}/steps/{step}/pause and resume take it"
        }
        Kind::StepLost
        | Kind::StepRetryScheduled
        | Kind::StepDeferred
        | Kind::StepReleased
        | Kind::StepUnknown
        | Kind::StepDeadLettered
        | Kind::FaultInjected
        | Kind::CompensationStarted
        | Kind::RunStalled
        | Kind::FallbackStarted
        | Kind::TaskOpened
        | Kind::TaskExpired
        | Kind::StepProbed
        | Kind::ApprovalRequested
        | Kind::WaitExpired
        | Kind::OwnerClaimed
        | Kind::RecordDeadLettered => "the owner of the partition decides it",
        Kind::Unknown
        | Kind::RunCompleted
        | Kind::RunFailed
        | Kind::RunCancelled
        | Kind::DecisionRecorded
        | Kind::StepScheduled
        | Kind::StepCompleted
        | Kind::StepFailed
        | Kind::StepSkipped
        | Kind::StepCancelled => "its run must be a record run",
    }
}
