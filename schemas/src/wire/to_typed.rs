//! From the wide record to the typed event. Each kind takes the fields that it needs; what is left
//! over is not allowed with it, and the refusal names the field.

use super::{
    Decision, Edit, Error as WireError, Output, Owner, Redrive, Retry, Run, Spec, Step, StepEvent,
    Symbol, Text, Usage,
};
use crate::{
    self as typed, Body, Error, InputEdit, Kind, PartitionEvent, Plan, Result, RetryPolicy,
    RunEvent, StepKey, StepSpec,
};
use std::{borrow::Cow, sync::Arc};

impl StepEvent<'_> {
    /// The typed event. The limits are not checked here; see [`typed::Event::check`].
    ///
    /// # Errors
    /// [`Error::UnknownKind`] for what is newer than this build, else [`Error::Invalid`] naming the
    /// field that is missing, not allowed with the kind, or out of range.
    pub(crate) fn into_event(mut self) -> Result<typed::Event> {
        let claim = optional_whole("claim", self.claim)?;
        let body = self.take_body().map_err(|error| under_claim(error, claim.is_some()))?;
        if let Some(field) = self.left_over() {
            return Err(Error::invalid(field, format!("is not allowed with {}", self.kind)));
        }
        let batch = match self.batch {
            Some(batch) => Some(typed::BatchItem {
                id: batch.id.into_owned(),
                index: count("batch.index", batch.index)?,
            }),
            None => None,
        };
        let op = match self.op {
            Some(op) => Some(typed::Op {
                session: op.session.into_owned(),
                op_id: whole("op.op_id", op.op_id)?,
                replaces: op.replaces.map(Cow::into_owned),
            }),
            None => None,
        };
        Ok(typed::Event {
            event_id: self.event_id.into_owned(),
            tenant: self.tenant.into(),
            occurred_at: self.occurred_at.0,
            actor: self.actor.into_owned(),
            claim,
            trace: self.trace.map(|trace| typed::Trace {
                trace_id: trace.trace_id.into_owned(),
                span_id: trace.span_id.into_owned(),
            }),
            attributes: self.attributes.into_owned(),
            key_id: self.key_id.map(Cow::into_owned),
            batch,
            op,
            body,
        })
    }

    fn take_body(&mut self) -> Result<Body> {
        use typed::StepEvent as E;
        match self.kind {
            Kind::Unknown => Err(unknown("kind")),
            Kind::RunCreated => self.run_body(Self::run_created),
            Kind::RunCompleted => self.run_body(Self::run_completed),
            Kind::RunFailed => self.run_body(Self::run_failed),
            Kind::RunCancelled => {
                self.run_body(|wire| Ok(RunEvent::Cancelled { reason: wire.take_reason() }))
            }
            Kind::DecisionRecorded => self.run_body(Self::decision_recorded),
            Kind::StepScheduled => {
                self.step_body(|wire| Ok(E::Scheduled(Arc::new(wire.take_spec()?))))
            }
            Kind::StepStarted => self.step_body(Self::step_started),
            Kind::StepHeartbeat => self.step_body(Self::step_heartbeat),
            Kind::StepCompleted => self.step_body(Self::step_completed),
            Kind::StepFailed => self.step_body(Self::step_failed),
            Kind::StepLost => self.step_body(Self::step_lost),
            Kind::StepRetryScheduled => self.step_body(Self::step_retry_scheduled),
            Kind::StepDeferred => self.step_body(Self::step_deferred),
            Kind::StepReleased => self.step_body(Self::step_released),
            Kind::StepUnknown => self.step_body(Self::step_unknown),
            Kind::StepResolved => self.step_body(Self::step_resolved),
            Kind::StepSkipped => {
                self.step_body(|wire| Ok(E::Skipped { reason: wire.take_reason() }))
            }
            Kind::StepCancelled => {
                self.step_body(|wire| Ok(E::Cancelled { reason: wire.take_reason() }))
            }
            Kind::StepDeadLettered => self.step_body(Self::step_dead_lettered),
            Kind::StepRedriven => self.step_body(Self::step_redriven),
            Kind::StepDiscarded => self.step_body(Self::step_discarded),
            Kind::FaultInjected => self.step_body(Self::fault_injected),
            Kind::OwnerClaimed => self.owner_claimed().map(Body::Partition),
            Kind::RecordDeadLettered => self.record_dead_lettered().map(Body::Partition),
            Kind::RecordDisposed => self.record_disposed().map(Body::Partition),
        }
    }

    fn run_body(&mut self, event: impl FnOnce(&mut Self) -> Result<RunEvent>) -> Result<Body> {
        let run_id = need("run_id", self.run_id.take())?.into();
        Ok(Body::Run(run_id, event(self)?))
    }

    fn step_body(
        &mut self,
        event: impl FnOnce(&mut Self) -> Result<typed::StepEvent>,
    ) -> Result<Body> {
        let run_id = need("run_id", self.run_id.take())?.into();
        let step = step_key(need("step", self.step.take())?)?;
        Ok(Body::Step(run_id, step, event(self)?))
    }

    fn run_created(&mut self) -> Result<RunEvent> {
        let Run { workflow, version, driver, input, tags, parent, plan } =
            *need("run", self.run.take())?;
        let plan = match plan {
            Some(json) => Some(Arc::new(Plan::parse(json.0.into_owned()).map_err(in_plan)?)),
            None => None,
        };
        Ok(RunEvent::Created(Box::new(typed::RunCreated {
            workflow: workflow.into_owned(),
            version: version.into_owned(),
            driver: known("run.driver", driver)?,
            input: input.into_typed("run.input")?,
            tags: tags.into_owned(),
            parent: parent.map(Cow::into_owned),
            plan,
        })))
    }

    fn run_completed(&mut self) -> Result<RunEvent> {
        Ok(RunEvent::Completed { output: self.take_output()? })
    }

    fn run_failed(&mut self) -> Result<RunEvent> {
        Ok(RunEvent::Failed { error: self.take_error()?, step: self.take_step()? })
    }

    fn decision_recorded(&mut self) -> Result<RunEvent> {
        let wire = *need("decision", self.decision.take())?;
        let Decision { decision, request, agent, reasoning, action, .. } = wire;
        let params = wire.params.map(|slot| slot.into_typed("decision.params")).transpose()?;
        let result = wire.result.map(|slot| slot.into_typed("decision.result")).transpose()?;
        Ok(RunEvent::DecisionRecorded(Box::new(typed::Decision {
            decision: decision.into_owned(),
            request: request.into_owned(),
            agent: agent.into_owned(),
            reasoning: reasoning.into_owned(),
            action: action.into_owned(),
            params,
            result,
            error: wire.error.map(Cow::into_owned),
            confidence: wire.confidence,
            step: self.take_step()?,
        })))
    }

    fn step_started(&mut self) -> Result<typed::StepEvent> {
        let attempt = match self.attempt.take() {
            Some(attempt) => Some(count("attempt", attempt)?),
            None => None,
        };
        let spec = if self.spec.is_some() { Some(Arc::new(self.take_spec()?)) } else { None };
        let lease_ms = self.start.take().and_then(|start| start.lease_ms);
        let lease_ms = optional_whole("start.lease_ms", lease_ms)?;
        Ok(typed::StepEvent::Started(typed::StepStarted { attempt, spec, lease_ms }))
    }

    fn step_heartbeat(&mut self) -> Result<typed::StepEvent> {
        Ok(typed::StepEvent::Heartbeat { attempt: self.take_attempt()?, lease: self.take_lease()? })
    }

    fn step_completed(&mut self) -> Result<typed::StepEvent> {
        Ok(typed::StepEvent::Completed {
            attempt: self.take_attempt()?,
            lease: self.take_lease()?,
            output: need("output", self.take_output()?)?,
            usage: self.take_usage()?,
        })
    }

    fn step_failed(&mut self) -> Result<typed::StepEvent> {
        Ok(typed::StepEvent::Failed {
            attempt: self.take_attempt()?,
            lease: self.take_lease()?,
            error: self.take_error()?,
            usage: self.take_usage()?,
        })
    }

    fn step_lost(&mut self) -> Result<typed::StepEvent> {
        Ok(typed::StepEvent::Lost {
            attempt: self.take_attempt()?,
            lease: need("lease", self.take_lease()?)?,
            heartbeat: whole("heartbeat", need("heartbeat", self.heartbeat.take())?)?,
            reason: self.take_reason(),
        })
    }

    fn step_retry_scheduled(&mut self) -> Result<typed::StepEvent> {
        let due_at = need("timer", self.timer.take())?.due_at.0;
        Ok(typed::StepEvent::RetryScheduled { attempt: self.take_attempt()?, due_at })
    }

    fn step_deferred(&mut self) -> Result<typed::StepEvent> {
        let due_at = need("timer", self.timer.take())?.due_at.0;
        Ok(typed::StepEvent::Deferred { attempt: self.take_attempt()?, due_at })
    }

    fn step_released(&mut self) -> Result<typed::StepEvent> {
        let lease = need("lease", self.take_lease()?)?;
        let error = if self.error.is_some() { Some(self.take_error()?) } else { None };
        Ok(typed::StepEvent::Released { attempt: self.take_attempt()?, lease, error })
    }

    fn step_unknown(&mut self) -> Result<typed::StepEvent> {
        Ok(typed::StepEvent::Unknown { attempt: self.take_attempt()?, reason: self.take_reason() })
    }

    fn step_resolved(&mut self) -> Result<typed::StepEvent> {
        Ok(typed::StepEvent::Resolved(typed::Resolution {
            attempt: self.take_attempt()?,
            happened: need("resolution", self.resolution.take())?.happened,
            output: self.take_output()?,
            reason: self.take_reason(),
        }))
    }

    fn step_dead_lettered(&mut self) -> Result<typed::StepEvent> {
        Ok(typed::StepEvent::DeadLettered {
            attempt: self.take_attempt()?,
            letter_id: self.take_letter()?,
            error: self.take_error()?,
        })
    }

    fn step_redriven(&mut self) -> Result<typed::StepEvent> {
        let Redrive { force, edit } = *need("redrive", self.redrive.take())?;
        let edit = match edit {
            Some(Edit { before, after }) => {
                let after = after.into_typed("redrive.edit.after")?;
                Some(InputEdit { before: before.0, after })
            }
            None => None,
        };
        let letter_id = self.take_letter()?;
        Ok(typed::StepEvent::Redriven { letter_id, reason: self.take_reason(), force, edit })
    }

    fn step_discarded(&mut self) -> Result<typed::StepEvent> {
        let then = need("discard", self.discard.take())?.then;
        Ok(typed::StepEvent::Discarded {
            letter_id: self.take_letter()?,
            then: known("discard.then", then)?,
            reason: self.take_reason(),
        })
    }

    fn fault_injected(&mut self) -> Result<typed::StepEvent> {
        let fault = known("fault", need("fault", self.fault.take())?)?;
        Ok(typed::StepEvent::FaultInjected { attempt: self.take_attempt()?, fault })
    }

    fn owner_claimed(&mut self) -> Result<PartitionEvent> {
        let owner: Owner<'_> = *need("owner", self.owner.take())?;
        Ok(PartitionEvent::OwnerClaimed(typed::Claim {
            worker: owner.worker.into_owned(),
            address: owner.address.into_owned(),
            store_id: owner.store_id.into_owned(),
            log_id: owner.log_id.into_owned(),
            fold_version: count("owner.fold_version", owner.fold_version)?,
            partitions: count("owner.partitions", owner.partitions)?,
            over: optional_whole("owner.over", owner.over)?,
            restored: owner.restored,
        }))
    }

    fn record_dead_lettered(&mut self) -> Result<PartitionEvent> {
        let record = need("record", self.record.take())?;
        Ok(PartitionEvent::RecordDeadLettered {
            offset: whole("record.offset", record.offset)?,
            class: known("record.class", record.class)?,
            message: record.message.into_owned(),
        })
    }

    fn record_disposed(&mut self) -> Result<PartitionEvent> {
        Ok(PartitionEvent::RecordDisposed {
            letter_id: self.take_letter()?,
            redriven: need("disposal", self.disposal.take())?.redriven,
            reason: self.take_reason(),
        })
    }

    fn take_attempt(&mut self) -> Result<u32> {
        count("attempt", need("attempt", self.attempt.take())?)
    }

    fn take_lease(&mut self) -> Result<Option<u64>> {
        optional_whole("lease", self.lease.take())
    }

    /// An absent reason is an empty one: whoever reports a fact need not explain it.
    fn take_reason(&mut self) -> String {
        self.reason.take().map(Cow::into_owned).unwrap_or_default()
    }

    fn take_step(&mut self) -> Result<Option<StepKey>> {
        self.step.take().map(step_key).transpose()
    }

    fn take_letter(&mut self) -> Result<typed::Digest> {
        Ok(need("dead_letter", self.dead_letter.take())?.letter_id.0)
    }

    fn take_output(&mut self) -> Result<Option<typed::Output>> {
        let Some(Output { data, degraded, source }) = self.output.take() else { return Ok(None) };
        let payload = data.into_typed("output.data")?;
        Ok(Some(typed::Output { payload, degraded, source: source.map(Cow::into_owned) }))
    }

    fn take_error(&mut self) -> Result<typed::StepError> {
        let WireError { class, code, message, retry_after_ms } = need("error", self.error.take())?;
        Ok(typed::StepError {
            class: known("error.class", class)?,
            code: code.into_owned(),
            message: message.into_owned(),
            retry_after_ms: optional_whole("error.retry_after_ms", retry_after_ms)?,
        })
    }

    fn take_usage(&mut self) -> Result<Option<typed::Usage>> {
        let Some(usage) = self.usage.take() else { return Ok(None) };
        let usage: Usage<'_> = *usage;
        Ok(Some(typed::Usage {
            provider: usage.provider.map(Cow::into_owned),
            model: usage.model.map(Cow::into_owned),
            input_uncached: whole("usage.input_uncached", usage.input_uncached)?,
            cache_read: whole("usage.cache_read", usage.cache_read)?,
            cache_write: whole("usage.cache_write", usage.cache_write)?,
            output_text: whole("usage.output_text", usage.output_text)?,
            output_reasoning: whole("usage.output_reasoning", usage.output_reasoning)?,
            cost_micros: whole("usage.cost_micros", usage.cost_micros)?,
            price_version: usage.price_version.map(Cow::into_owned),
        }))
    }

    fn take_spec(&mut self) -> Result<StepSpec> {
        let spec: Spec<'_> = *need("spec", self.spec.take())?;
        let status = |status| {
            u16::try_from(status)
                .map_err(|_| Error::invalid("spec.not_applied", "must be HTTP statuses"))
        };
        Ok(StepSpec {
            tool: spec.tool.into_owned(),
            input: spec.input.into_typed("spec.input")?,
            effect: known("spec.effect", spec.effect)?,
            retry: retry_policy(&spec.retry)?,
            timeout_ms: whole("spec.timeout_ms", spec.timeout_ms)?,
            schedule_to_start_ms: whole("spec.schedule_to_start_ms", spec.schedule_to_start_ms)?,
            deadline_ms: whole("spec.deadline_ms", spec.deadline_ms)?,
            key_ttl_ms: whole("spec.key_ttl_ms", spec.key_ttl_ms)?,
            on_exhausted: known("spec.on_exhausted", spec.on_exhausted)?,
            not_applied: spec.not_applied.into_iter().map(status).collect::<Result<_>>()?,
        })
    }

    /// The first field that the kind did not take.
    fn left_over(&self) -> Option<&'static str> {
        let fields = [
            ("run_id", self.run_id.is_some()),
            ("step", self.step.is_some()),
            ("attempt", self.attempt.is_some()),
            ("lease", self.lease.is_some()),
            ("heartbeat", self.heartbeat.is_some()),
            ("reason", self.reason.is_some()),
            ("run", self.run.is_some()),
            ("spec", self.spec.is_some()),
            ("start", self.start.is_some()),
            ("output", self.output.is_some()),
            ("error", self.error.is_some()),
            ("usage", self.usage.is_some()),
            ("decision", self.decision.is_some()),
            ("timer", self.timer.is_some()),
            ("resolution", self.resolution.is_some()),
            ("dead_letter", self.dead_letter.is_some()),
            ("redrive", self.redrive.is_some()),
            ("discard", self.discard.is_some()),
            ("fault", self.fault.is_some()),
            ("owner", self.owner.is_some()),
            ("record", self.record.is_some()),
            ("disposal", self.disposal.is_some()),
        ];
        fields.iter().find(|(_, present)| *present).map(|(name, _)| *name)
    }
}

fn retry_policy(retry: &Retry) -> Result<RetryPolicy> {
    Ok(RetryPolicy {
        max_attempts: count("spec.retry.max_attempts", retry.max_attempts)?,
        initial_ms: whole("spec.retry.initial_ms", retry.initial_ms)?,
        multiplier: retry.multiplier,
        max_ms: whole("spec.retry.max_ms", retry.max_ms)?,
        jitter: retry.jitter,
        max_elapsed_ms: whole("spec.retry.max_elapsed_ms", retry.max_elapsed_ms)?,
    })
}

/// The key as it was written; `check` judges its text.
fn step_key(step: Step<'_>) -> Result<StepKey> {
    let occurrence = count("step.occurrence", step.occurrence)?;
    Ok(StepKey { scope: text(step.scope), name: text(step.name), occurrence })
}

fn text(text: Text<'_>) -> Arc<str> {
    text.into()
}

fn need<T>(field: &'static str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::invalid(field, "is missing"))
}

fn known<T>(field: &'static str, symbol: Symbol<T>) -> Result<T> {
    match symbol {
        Symbol::Known(symbol) => Ok(symbol),
        Symbol::Unknown => Err(unknown(field)),
    }
}

fn unknown(field: &str) -> Error {
    Error::UnknownKind { field: field.into(), symbol: "unknown".into(), claimed: false }
}

fn under_claim(error: Error, claimed: bool) -> Error {
    match error {
        Error::UnknownKind { field, symbol, .. } => Error::UnknownKind { field, symbol, claimed },
        Error::Invalid { .. }
        | Error::TooLarge { .. }
        | Error::Decode(_)
        | Error::SchemaUnknown(_)
        | Error::Incompatible(_) => error,
    }
}

/// Errors of a plan name their field by its path in the plan.
fn in_plan(error: Error) -> Error {
    match error {
        Error::Invalid { field, message } => Error::invalid(format!("run.plan.{field}"), message),
        Error::TooLarge { field, actual, limit } => {
            Error::too_large(format!("run.plan.{field}"), actual, limit)
        }
        Error::UnknownKind { .. }
        | Error::Decode(_)
        | Error::SchemaUnknown(_)
        | Error::Incompatible(_) => error,
    }
}

/// A number that is never negative.
pub(super) fn whole(field: &'static str, number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| Error::invalid(field, "must not be negative"))
}

fn optional_whole(field: &'static str, number: Option<i64>) -> Result<Option<u64>> {
    number.map(|number| whole(field, number)).transpose()
}

/// A number that fits into 32 bits.
pub(super) fn count(field: &'static str, number: i64) -> Result<u32> {
    u32::try_from(number)
        .map_err(|_| Error::invalid(field, "must be a whole number below 4294967296"))
}
