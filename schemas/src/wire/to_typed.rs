//! From the wide record to the typed event. Each kind takes the fields that it needs; what is left
//! over is not allowed with it, and the refusal names the field.

use super::{
    Caller, Decision, Edit, Fork, Owner, Redrive, Run, StepEvent,
    take::{count, known, need, optional_whole, step_key, unknown, whole},
};
use crate::{
    self as typed, Body, Error, InputEdit, Kind, PartitionEvent, Plan, Result, RunEvent,
    time::Micros,
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
        let body = match self.take_body() {
            Ok(body) => body,
            Err(error) => return Err(under_claim(error, claim.is_some())),
        };
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
                version: op.version.map(Cow::into_owned),
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
            Kind::CancelRequested => self.run_body(Self::cancel_requested),
            Kind::CompensationStarted => self.run_body(|wire| {
                Ok(RunEvent::CompensationStarted {
                    error: wire.take_error()?,
                    step: wire.take_step()?,
                })
            }),
            Kind::SignalReceived => self.run_body(Self::signal_received),
            Kind::RunPaused => {
                self.run_body(|wire| Ok(RunEvent::Paused { reason: wire.take_reason() }))
            }
            Kind::RunResumed => {
                self.run_body(|wire| Ok(RunEvent::Resumed { reason: wire.take_reason() }))
            }
            Kind::RunStalled => self.run_body(Self::run_stalled),
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
            Kind::StepSkipped => self.step_body(|wire| {
                Ok(E::Skipped { reason: wire.take_reason(), output: wire.take_output()? })
            }),
            Kind::StepCancelled => {
                self.step_body(|wire| Ok(E::Cancelled { reason: wire.take_reason() }))
            }
            Kind::StepDeadLettered => self.step_body(Self::step_dead_lettered),
            Kind::StepRedriven => self.step_body(Self::step_redriven),
            Kind::StepDiscarded => self.step_body(Self::step_discarded),
            Kind::FaultInjected => self.step_body(Self::fault_injected),
            Kind::StepReused => self.step_body(Self::step_reused),
            Kind::StepProbed => self.step_body(Self::step_probed),
            Kind::FallbackStarted => self.step_body(|wire| {
                Ok(E::FallbackStarted { attempt: wire.take_attempt()?, error: wire.take_error()? })
            }),
            Kind::TaskExpired => self.step_body(Self::task_expired),
            Kind::ApprovalRequested => self.step_body(Self::approval_requested),
            Kind::WaitCreated => self.step_body(Self::wait_created),
            Kind::WaitExpired => self.step_body(|_| Ok(E::WaitExpired)),
            Kind::TaskOpened => self.step_body(Self::task_opened),
            Kind::TaskDecided => self.step_body(Self::task_decided),
            Kind::StepPaused => self.step_body(|wire| Ok(E::Paused { reason: wire.take_reason() })),
            Kind::StepResumed => {
                self.step_body(|wire| Ok(E::Resumed { reason: wire.take_reason() }))
            }
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
        let Run { workflow, version, driver, input, tags, parent, plan, fork, caller } =
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
            fork: fork.map(|fork| fork.into_typed().map(Box::new)).transpose()?,
            caller: caller.map(|caller| caller.into_typed().map(Box::new)).transpose()?,
        })))
    }

    fn run_completed(&mut self) -> Result<RunEvent> {
        Ok(RunEvent::Completed { output: self.take_output()? })
    }

    fn run_failed(&mut self) -> Result<RunEvent> {
        Ok(RunEvent::Failed { error: self.take_error()?, step: self.take_step()? })
    }

    fn run_stalled(&mut self) -> Result<RunEvent> {
        Ok(RunEvent::Stalled {
            reason: self.take_reason(),
            step: self.take_step()?,
            moved: whole("moved", need("moved", self.moved.take())?)?,
        })
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
        let start = self.start.take();
        let (lease_ms, worker) = start.map_or((None, None), |start| (start.lease_ms, start.worker));
        let lease_ms = optional_whole("start.lease_ms", lease_ms)?;
        let worker = worker.map(Cow::into_owned);
        let held = self.timer.take_if(|timer| timer.held_by.is_some());
        let held_by = held.and_then(|timer| timer.held_by);
        let held_by = held_by.map(|by| known("timer.held_by", by)).transpose()?;
        let started = typed::StepStarted { attempt, spec, lease_ms, worker, held_by };
        Ok(typed::StepEvent::Started(started))
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

    fn step_reused(&mut self) -> Result<typed::StepEvent> {
        let spec = Arc::new(self.take_spec()?);
        let skipped = self.reason.take().map(Cow::into_owned);
        let edited = self.redrive.take().is_some();
        Ok(typed::StepEvent::Reused { spec, output: self.take_output()?, skipped, edited })
    }

    fn step_probed(&mut self) -> Result<typed::StepEvent> {
        let due_at = self.timer.is_some().then(|| self.take_due_at()).transpose()?;
        Ok(typed::StepEvent::Probed(typed::Finding {
            attempt: self.take_attempt()?,
            found: known("probed.found", need("probed", self.probed.take())?.found)?,
            output: self.take_output()?,
            due_at,
            reason: self.take_reason(),
        }))
    }

    /// The time of a timer that nothing holds.
    fn take_due_at(&mut self) -> Result<Micros> {
        let timer = need("timer", self.timer.take())?;
        if timer.held_by.is_some() {
            let message = format!("is not allowed with {}", self.kind);
            return Err(Error::invalid("timer.held_by", message));
        }
        Ok(timer.due_at.0)
    }

    fn step_retry_scheduled(&mut self) -> Result<typed::StepEvent> {
        let due_at = self.take_due_at()?;
        Ok(typed::StepEvent::RetryScheduled { attempt: self.take_attempt()?, due_at })
    }

    fn step_deferred(&mut self) -> Result<typed::StepEvent> {
        let timer = need("timer", self.timer.take())?;
        let held_by = timer.held_by.map(|by| known("timer.held_by", by)).transpose()?;
        let (attempt, due_at) = (self.take_attempt()?, timer.due_at.0);
        Ok(typed::StepEvent::Deferred { attempt, due_at, held_by })
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

    fn cancel_requested(&mut self) -> Result<RunEvent> {
        let compensate = self.cancel.take().is_some_and(|cancel| cancel.compensate);
        Ok(RunEvent::CancelRequested { reason: self.take_reason(), compensate })
    }

    fn signal_received(&mut self) -> Result<RunEvent> {
        let signal = need("signal", self.signal.take())?;
        let data = signal.data.into_typed("signal.data")?;
        Ok(RunEvent::SignalReceived { name: signal.name.into_owned(), data })
    }

    fn wait_created(&mut self) -> Result<typed::StepEvent> {
        let wait = need("wait", self.wait.take())?;
        let spec = if self.spec.is_some() { Some(Arc::new(self.take_spec()?)) } else { None };
        Ok(typed::StepEvent::WaitCreated {
            signal: wait.signal.map(Cow::into_owned),
            expires_at: wait.expires_at.0,
            spec,
        })
    }

    fn approval_requested(&mut self) -> Result<typed::StepEvent> {
        let task = self.take_task("approval_requested")?;
        Ok(typed::StepEvent::ApprovalRequested {
            attempt: self.take_attempt()?,
            task_id: task.task_id.0,
            call: need("task.call", task.call)?.0,
            expires_at: need("task.expires_at", task.expires_at)?.0,
        })
    }

    fn task_expired(&mut self) -> Result<typed::StepEvent> {
        Ok(typed::StepEvent::TaskExpired { task_id: self.take_task("task_expired")?.task_id.0 })
    }

    /// The task of an event that decides nothing about it.
    fn take_task(&mut self, kind: &str) -> Result<super::Task> {
        let task = need("task", self.task.take())?;
        if task.verdict.is_some() {
            return Err(Error::invalid("task.verdict", format!("is not allowed with {kind}")));
        }
        Ok(task)
    }

    fn task_opened(&mut self) -> Result<typed::StepEvent> {
        let task = self.take_task("task_opened")?;
        Ok(typed::StepEvent::TaskOpened {
            attempt: self.take_attempt()?,
            task_id: task.task_id.0,
            error: self.take_error()?,
        })
    }

    fn task_decided(&mut self) -> Result<typed::StepEvent> {
        let task = need("task", self.task.take())?;
        Ok(typed::StepEvent::TaskDecided {
            task_id: task.task_id.0,
            verdict: known("task.verdict", need("task.verdict", task.verdict)?)?,
            output: self.take_output()?,
            reason: self.take_reason(),
        })
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
}

impl Caller<'_> {
    fn into_typed(self) -> Result<typed::Caller> {
        Ok(typed::Caller {
            step: step_key(self.step)?,
            attempt: count("run.caller.attempt", self.attempt)?,
            lease: whole("run.caller.lease", self.lease)?,
            deadline: self.deadline.map(|deadline| deadline.0),
        })
    }
}

impl Fork<'_> {
    fn into_typed(self) -> Result<typed::Fork> {
        Ok(typed::Fork {
            run_id: self.run_id.into_owned(),
            step: self.step.map(step_key).transpose()?,
            reused: count("run.fork.reused", self.reused)?,
            undo_reused: self.undo_reused,
            force: self.force,
            reason: self.reason.into_owned(),
        })
    }
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
