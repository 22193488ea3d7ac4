//! Are an event's values within their limits? The same answer at the door, before encoding and after
//! decoding. Which fields a kind carries is settled by the types and in `wire`.

use crate::{
    Body, Claim, Decision, Driver, Error, Event, Finding, HeldBy, Op, Output, PartitionEvent,
    Payload, Result, RunCreated, RunEvent, StepError, StepEvent, StepKey, StepSpec, StepStarted,
    Trace, Usage, check_id, check_tenant, limits,
};
use std::collections::BTreeMap;

impl Event {
    /// Checks every value against `limits`. The encoded size is checked where it is known, in
    /// [`crate::codec::encode`].
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLarge`], naming the field.
    pub fn check(&self) -> Result<()> {
        check_id("event_id", &self.event_id)?;
        check_tenant(&self.tenant)?;
        name("actor", &self.actor)?;
        optional_number("claim", self.claim)?;
        self.trace.as_ref().map_or(Ok(()), check_trace)?;
        check_map("attributes", &self.attributes)?;
        if let Some(key_id) = &self.key_id {
            check_id("key_id", key_id)?;
        }
        if let Some(batch) = &self.batch {
            check_id("batch.id", &batch.id)?;
        }
        self.op.as_ref().map_or(Ok(()), check_op)?;
        match &self.body {
            Body::Run(run_id, event) => {
                check_id("run_id", run_id)?;
                check_run_event(event)
            }
            Body::Step(run_id, step, event) => {
                check_id("run_id", run_id)?;
                step.check()?;
                check_step_event(event)
            }
            Body::Partition(event) => check_partition_event(event),
        }
    }
}

fn check_run_event(event: &RunEvent) -> Result<()> {
    match event {
        RunEvent::Created(run) => check_run(run),
        RunEvent::Completed { output } => output.as_ref().map_or(Ok(()), check_output),
        RunEvent::Failed { error, step } | RunEvent::CompensationStarted { error, step } => {
            check_error(error)?;
            step.as_ref().map_or(Ok(()), StepKey::check)
        }
        RunEvent::Cancelled { reason }
        | RunEvent::CancelRequested { reason, compensate: _ }
        | RunEvent::Paused { reason }
        | RunEvent::Resumed { reason } => message("reason", reason),
        RunEvent::SignalReceived { name: signal, data } => {
            check_id("signal.name", signal)?;
            check_payload("signal.data", data)
        }
        RunEvent::Stalled { reason, step, moved } => {
            message("reason", reason)?;
            number("moved", *moved)?;
            step.as_ref().map_or(Ok(()), StepKey::check)
        }
        RunEvent::DecisionRecorded(decision) => check_decision(decision),
    }
}

fn check_step_event(event: &StepEvent) -> Result<()> {
    match event {
        StepEvent::Scheduled(spec) => check_spec(spec),
        StepEvent::Started(started) => check_started(started),
        StepEvent::Heartbeat { attempt, lease } => check_attempt(*attempt, *lease),
        StepEvent::Completed { attempt, lease, output, usage } => {
            check_attempt(*attempt, *lease)?;
            check_output(output)?;
            usage.as_ref().map_or(Ok(()), check_usage)
        }
        StepEvent::Failed { attempt, lease, error, usage } => {
            check_attempt(*attempt, *lease)?;
            check_error(error)?;
            usage.as_ref().map_or(Ok(()), check_usage)
        }
        StepEvent::Lost { attempt, lease, heartbeat, reason } => {
            check_attempt(*attempt, Some(*lease))?;
            number("heartbeat", *heartbeat)?;
            message("reason", reason)
        }
        // A step can be held back before its first attempt.
        StepEvent::Deferred { attempt: _, due_at: _, held_by: Some(_) } => Ok(()),
        StepEvent::RetryScheduled { attempt, due_at: _ }
        | StepEvent::Deferred { attempt, due_at: _, held_by: None }
        | StepEvent::FaultInjected { attempt, fault: _ } => check_attempt(*attempt, None),
        StepEvent::Released { attempt, lease, error } => {
            check_attempt(*attempt, Some(*lease))?;
            error.as_ref().map_or(Ok(()), check_error)
        }
        // Attempt 0 says that not even the attempt is known.
        StepEvent::Unknown { attempt: _, reason } => message("reason", reason),
        StepEvent::Resolved(resolution) => {
            message("reason", &resolution.reason)?;
            resolution.output.as_ref().map_or(Ok(()), check_output)
        }
        StepEvent::Skipped { reason, output } => {
            message("reason", reason)?;
            output.as_ref().map_or(Ok(()), check_output)
        }
        StepEvent::Cancelled { reason }
        | StepEvent::Paused { reason }
        | StepEvent::Resumed { reason }
        | StepEvent::Discarded { letter_id: _, then: _, reason } => message("reason", reason),
        StepEvent::DeadLettered { attempt: _, letter_id: _, error }
        | StepEvent::FallbackStarted { attempt: _, error }
        | StepEvent::TaskOpened { attempt: _, task_id: _, error } => check_error(error),
        StepEvent::TaskExpired { task_id: _ } | StepEvent::WaitExpired => Ok(()),
        StepEvent::ApprovalRequested { attempt, task_id: _, call: _, expires_at: _ } => {
            check_attempt(*attempt, None)
        }
        StepEvent::WaitCreated { signal, expires_at: _, spec } => {
            signal.as_ref().map_or(Ok(()), |signal| check_id("wait.signal", signal))?;
            spec.as_deref().map_or(Ok(()), check_spec)
        }
        StepEvent::TaskDecided { task_id: _, verdict: _, output, reason } => {
            message("reason", reason)?;
            output.as_ref().map_or(Ok(()), check_output)
        }
        StepEvent::Reused { spec, output, skipped, edited: _ } => {
            message("reason", skipped.as_deref().unwrap_or_default())?;
            check_reused(spec, output.as_ref())
        }
        StepEvent::Probed(finding) => check_finding(finding),
        StepEvent::Redriven { letter_id: _, reason, force: _, edit } => {
            message("reason", reason)?;
            let edit = edit.as_ref();
            edit.map_or(Ok(()), |edit| check_payload("redrive.edit.after", &edit.after))
        }
    }
}

fn check_reused(spec: &StepSpec, output: Option<&Output>) -> Result<()> {
    check_spec(spec)?;
    output.map_or(Ok(()), check_output)
}

fn check_finding(finding: &Finding) -> Result<()> {
    message("reason", &finding.reason)?;
    finding.output.as_ref().map_or(Ok(()), check_output)
}

fn check_partition_event(event: &PartitionEvent) -> Result<()> {
    match event {
        PartitionEvent::OwnerClaimed(claim) => check_claim(claim),
        PartitionEvent::RecordDeadLettered { offset, class: _, message: text } => {
            number("record.offset", *offset)?;
            message("record.message", text)
        }
        PartitionEvent::RecordDisposed { letter_id: _, redriven: _, reason } => {
            message("reason", reason)
        }
    }
}

fn check_run(run: &RunCreated) -> Result<()> {
    name("run.workflow", &run.workflow)?;
    size("run.version", run.version.len(), limits::NAME_BYTES)?;
    check_payload("run.input", &run.input)?;
    check_map("run.tags", &run.tags)?;
    if let Some(parent) = &run.parent {
        check_id("run.parent", parent)?;
    }
    if let Some(fork) = &run.fork {
        check_id("run.fork.run_id", &fork.run_id)?;
        fork.step.as_ref().map_or(Ok(()), StepKey::check)?;
        message("run.fork.reason", &fork.reason)?;
        if run.driver == Driver::Record {
            return Err(Error::invalid("run.fork", "is not for runs that others execute"));
        }
    }
    if let Some(caller) = &run.caller {
        caller.step.check()?;
        let is_plan = run.driver == Driver::Plan && run.fork.is_none();
        if run.parent.is_none() || caller.attempt == 0 || !is_plan {
            let message =
                "is for a plan that is no fork, and needs a parent and an attempt of its step";
            return Err(Error::invalid("run.caller", message));
        }
        optional_number("run.caller.lease", Some(caller.lease))?;
    }
    match (run.driver, &run.plan) {
        (Driver::Plan, Some(_)) | (Driver::Journal | Driver::Record, None) => Ok(()),
        (Driver::Plan, None) => Err(Error::invalid("run.plan", "is missing")),
        (Driver::Journal | Driver::Record, Some(_)) => {
            Err(Error::invalid("run.plan", "is only allowed where the driver is plan"))
        }
    }
}

fn check_spec(spec: &StepSpec) -> Result<()> {
    name("spec.tool", &spec.tool)?;
    check_payload("spec.input", &spec.input)?;
    spec.retry.check("spec.retry")?;
    let asked_ms = spec.approval_ms.unwrap_or(0).max(spec.memo_ms.unwrap_or(0));
    let longest =
        spec.deadline_ms.max(spec.schedule_to_start_ms).max(spec.key_ttl_ms).max(asked_ms);
    if spec.timeout_ms > limits::TIMEOUT_MS || longest > limits::DEADLINE_MS {
        return Err(Error::invalid("spec", "has a time-out above a day or a limit above a year"));
    }
    if !(1..=limits::QUORUM).contains(&spec.quorum.unwrap_or(1)) {
        return Err(Error::invalid("spec.quorum", "must be 1 to 16 people"));
    }
    spec.probe.as_ref().map_or(Ok(()), |probe| name("spec.probe.tool", &probe.tool))?;
    size("spec.not_applied", spec.not_applied.len(), limits::STATUSES)
}

fn check_started(started: &StepStarted) -> Result<()> {
    if started.attempt == Some(0) {
        return Err(Error::invalid("attempt", "counts from 1"));
    }
    optional_number("start.lease_ms", started.lease_ms)?;
    if let Some(worker) = &started.worker {
        check_id("start.worker", worker)?;
        if started.attempt.is_none() {
            return Err(Error::invalid("start.worker", "goes with a numbered attempt only"));
        }
    }
    check_held(started)?;
    started.spec.as_deref().map_or(Ok(()), check_spec)
}

/// What an owner holds back it does not start at all.
fn check_held(started: &StepStarted) -> Result<()> {
    let wrong = |message: &str| Err(Error::invalid("timer.held_by", message));
    match started.held_by {
        None => Ok(()),
        Some(HeldBy::ToolPaused | HeldBy::TenantPaused) if started.attempt.is_none() => Ok(()),
        Some(HeldBy::ToolPaused | HeldBy::TenantPaused) => wrong("goes with an agent's begin only"),
        Some(HeldBy::Breaker | HeldBy::RateLimit | HeldBy::Worker) => {
            wrong("must be a pause where an agent begins")
        }
    }
}

fn check_attempt(attempt: u32, lease: Option<u64>) -> Result<()> {
    if attempt == 0 {
        return Err(Error::invalid("attempt", "counts from 1"));
    }
    optional_number("lease", lease)
}

fn check_decision(decision: &Decision) -> Result<()> {
    name_or_empty("decision.agent", &decision.agent)?;
    let error = decision.error.as_deref().unwrap_or_default();
    let texts = [
        ("decision.decision", decision.decision.as_str()),
        ("decision.request", &decision.request),
        ("decision.reasoning", &decision.reasoning),
        ("decision.action", &decision.action),
        ("decision.error", error),
    ];
    for (field, text) in texts {
        size(field, text.len(), limits::PAYLOAD_BYTES)?;
    }
    if let Some(params) = &decision.params {
        check_payload("decision.params", params)?;
    }
    if let Some(result) = &decision.result {
        check_payload("decision.result", result)?;
    }
    if decision.confidence.is_some_and(|confidence| !(0.0..=1.0).contains(&confidence)) {
        return Err(Error::invalid("decision.confidence", "must be between 0 and 1"));
    }
    decision.step.as_ref().map_or(Ok(()), StepKey::check)
}

fn check_output(output: &Output) -> Result<()> {
    name_or_empty("output.source", output.source.as_deref().unwrap_or_default())?;
    check_payload("output.data", &output.payload)
}

fn check_payload(field: &str, payload: &Payload) -> Result<()> {
    let wrong = |message: &str| Err(Error::invalid(field, message));
    if payload.content_type.is_empty() || payload.content_type.len() > limits::NAME_BYTES {
        return wrong("must have a content type of 1 to 512 bytes");
    }
    if payload.omitted {
        if !payload.data.is_empty() {
            return wrong("must have no bytes where they are omitted");
        }
        return number(field, payload.size_bytes);
    }
    if payload.size_bytes != payload.data.len() as u64 {
        return wrong("must have the size that it states");
    }
    size(field, payload.data.len(), limits::PAYLOAD_BYTES)
}

fn check_error(error: &StepError) -> Result<()> {
    size("error.code", error.code.len(), limits::NAME_BYTES)?;
    message("error.message", &error.message)?;
    optional_number("error.retry_after_ms", error.retry_after_ms)
}

fn check_usage(usage: &Usage) -> Result<()> {
    let texts = [
        ("usage.provider", &usage.provider),
        ("usage.model", &usage.model),
        ("usage.price_version", &usage.price_version),
    ];
    for (field, text) in texts {
        name_or_empty(field, text.as_deref().unwrap_or_default())?;
    }
    number("usage.input_uncached", usage.input_uncached)?;
    number("usage.cache_read", usage.cache_read)?;
    number("usage.cache_write", usage.cache_write)?;
    number("usage.output_text", usage.output_text)?;
    number("usage.output_reasoning", usage.output_reasoning)?;
    number("usage.cost_micros", usage.cost_micros)
}

fn check_claim(claim: &Claim) -> Result<()> {
    name_or_empty("owner.worker", &claim.worker)?;
    name_or_empty("owner.address", &claim.address)?;
    name_or_empty("owner.store_id", &claim.store_id)?;
    name_or_empty("owner.log_id", &claim.log_id)?;
    optional_number("owner.over", claim.over)
}

fn check_op(op: &Op) -> Result<()> {
    check_id("op.session", &op.session)?;
    number("op.op_id", op.op_id)?;
    name_or_empty("op.version", op.version.as_deref().unwrap_or_default())?;
    op.replaces.as_ref().map_or(Ok(()), |session| check_id("op.replaces", session))
}

fn check_trace(trace: &Trace) -> Result<()> {
    let hexadecimal = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    for (field, text, digits) in
        [("trace.trace_id", &trace.trace_id, 32), ("trace.span_id", &trace.span_id, 16)]
    {
        if text.len() != digits || !text.bytes().all(hexadecimal) {
            let message = format!("must have {digits} lower-case hexadecimal digits");
            return Err(Error::invalid(field, message));
        }
    }
    Ok(())
}

fn check_map(field: &str, map: &BTreeMap<String, String>) -> Result<()> {
    size(field, map.len(), limits::ATTRIBUTES)?;
    for (key, value) in map {
        check_id("", key).map_err(|_| {
            Error::invalid(field, "must have keys of 1 to 128 bytes without control characters")
        })?;
        if value.len() > limits::ATTRIBUTE_BYTES {
            let field = format!("{field}.{key}");
            return Err(Error::too_large(field, value.len(), limits::ATTRIBUTE_BYTES));
        }
    }
    Ok(())
}

fn name(field: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(field, "must not be empty"));
    }
    name_or_empty(field, text)
}

fn name_or_empty(field: &str, text: &str) -> Result<()> {
    size(field, text.len(), limits::NAME_BYTES)
}

fn message(field: &str, text: &str) -> Result<()> {
    size(field, text.len(), limits::MESSAGE_BYTES)
}

fn size(field: &str, actual: usize, limit: usize) -> Result<()> {
    if actual > limit {
        return Err(Error::too_large(field, actual, limit));
    }
    Ok(())
}

/// Avro numbers are signed.
fn number(field: &str, number: u64) -> Result<()> {
    match i64::try_from(number) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::invalid(field, "must be below 9223372036854775808")),
    }
}

fn optional_number(field: &str, value: Option<u64>) -> Result<()> {
    value.map_or(Ok(()), |value| number(field, value))
}
