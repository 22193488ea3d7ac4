//! From the typed event to the wide record. Total: every event has a wire form.

use super::{
    Batch, Caller, Cancel, Decision, Discard, Disposal, Edit, Error, Fork, JsonText, LetterRef, Op,
    Output, Owner, Probe, Probed, Record, Redrive, Resolution, Retry, Run, Signal, Slot, Spec,
    Start, Step, StepEvent, Sum, Symbol, Task, Time, Timer, Trace, Usage, Wait, long,
};
use crate::{self as typed, Body, PartitionEvent, RetryPolicy, RunEvent, StepKey};
use std::borrow::Cow;

impl<'a> From<&'a typed::Event> for StepEvent<'a> {
    fn from(event: &'a typed::Event) -> Self {
        let mut wire = Self::default();
        wire.put_event(event);
        wire
    }
}

impl<'a> StepEvent<'a> {
    /// Fills an empty record.
    pub(crate) fn put_event(&mut self, event: &'a typed::Event) {
        self.event_id = Cow::Borrowed(&event.event_id);
        self.tenant = Cow::Borrowed(&event.tenant);
        self.run_id = event.run_id().map(|run_id| Cow::Borrowed(&**run_id));
        self.kind = event.kind();
        self.occurred_at = Time(event.occurred_at);
        self.actor = Cow::Borrowed(&event.actor);
        self.claim = event.claim.map(long);
        self.trace = event.trace.as_ref().map(Trace::from);
        self.attributes = Cow::Borrowed(&event.attributes);
        self.key_id = event.key_id.as_deref().map(Cow::Borrowed);
        self.batch = event.batch.as_ref().map(Batch::from);
        self.op = event.op.as_ref().map(Op::from);
        match &event.body {
            Body::Run(_, run) => self.put_run(run),
            Body::Step(_, key, step) => {
                self.step = Some(Step::from(key));
                self.put_step(step);
            }
            Body::Partition(partition) => self.put_partition(partition),
        }
    }

    fn put_run(&mut self, event: &'a RunEvent) {
        match event {
            RunEvent::Created(run) => self.run = Some(Box::new(Run::from(&**run))),
            RunEvent::Completed { output } => self.output = output.as_ref().map(Output::from),
            RunEvent::Failed { error, step } => {
                self.error = Some(Error::from(error));
                self.step = step.as_ref().map(Step::from);
            }
            RunEvent::CancelRequested { reason, compensate } => {
                self.put_reason(reason);
                self.cancel = Some(Cancel { compensate: *compensate });
            }
            RunEvent::CompensationStarted { error, step } => {
                self.error = Some(Error::from(error));
                self.step = step.as_ref().map(Step::from);
            }
            RunEvent::SignalReceived { name, data } => {
                self.signal = Some(Signal { name: Cow::Borrowed(name), data: Slot::from(data) });
            }
            RunEvent::Cancelled { reason }
            | RunEvent::Paused { reason }
            | RunEvent::Resumed { reason } => self.put_reason(reason),
            RunEvent::Stalled { reason, step, moved } => {
                self.put_reason(reason);
                self.step = step.as_ref().map(Step::from);
                self.moved = Some(long(*moved));
            }
            RunEvent::DecisionRecorded(decision) => {
                self.step = decision.step.as_ref().map(Step::from);
                self.decision = Some(Box::new(Decision::from(&**decision)));
            }
        }
    }

    fn put_step(&mut self, event: &'a typed::StepEvent) {
        use typed::StepEvent as E;
        match event {
            E::Scheduled(spec) => self.spec = Some(Box::new(Spec::from(&**spec))),
            E::Started(started) => self.put_started(started),
            E::Heartbeat { attempt, lease } => self.put_attempt(*attempt, *lease),
            E::Completed { attempt, lease, output, usage } => {
                self.put_attempt(*attempt, *lease);
                self.output = Some(Output::from(output));
                self.usage = usage.as_ref().map(Usage::from).map(Box::new);
            }
            E::Failed { attempt, lease, error, usage } => {
                self.put_attempt(*attempt, *lease);
                self.error = Some(Error::from(error));
                self.usage = usage.as_ref().map(Usage::from).map(Box::new);
            }
            E::Lost { attempt, lease, heartbeat, reason } => {
                self.put_attempt(*attempt, Some(*lease));
                self.heartbeat = Some(long(*heartbeat));
                self.put_reason(reason);
            }
            E::RetryScheduled { attempt, due_at } => self.put_timer(*attempt, *due_at, None),
            E::Deferred { attempt, due_at, held_by } => {
                self.put_timer(*attempt, *due_at, *held_by);
            }
            E::Released { attempt, lease, error } => {
                self.put_attempt(*attempt, Some(*lease));
                self.error = error.as_ref().map(Error::from);
            }
            E::Unknown { attempt, reason } => {
                self.put_attempt(*attempt, None);
                self.put_reason(reason);
            }
            E::Resolved(resolution) => self.put_resolution(resolution),
            E::Skipped { reason, output } => self.put_skipped(reason, output.as_ref()),
            E::Cancelled { reason } | E::Paused { reason } | E::Resumed { reason } => {
                self.put_reason(reason);
            }
            E::FallbackStarted { attempt, error } => self.put_exhausted(*attempt, error),
            E::TaskOpened { attempt, task_id, error } => {
                self.put_exhausted(*attempt, error);
                self.put_task(*task_id);
            }
            E::TaskDecided { .. }
            | E::TaskExpired { .. }
            | E::ApprovalRequested { .. }
            | E::WaitCreated { .. }
            | E::WaitExpired => self.put_waiting(event),
            E::DeadLettered { attempt, letter_id, error } => {
                self.put_exhausted(*attempt, error);
                self.put_letter(*letter_id);
            }
            E::Redriven { letter_id, reason, force, edit } => {
                self.put_letter(*letter_id);
                self.put_reason(reason);
                self.put_redrive(*force, edit.as_ref());
            }
            E::Discarded { letter_id, then, reason } => {
                self.put_letter(*letter_id);
                self.put_reason(reason);
                self.discard = Some(Discard { then: Symbol::Known(*then) });
            }
            E::FaultInjected { attempt, fault } => self.put_fault(*attempt, *fault),
            E::Reused { spec, output, skipped, edited } => {
                self.put_reused(spec, output.as_ref(), *edited);
                self.reason = skipped.as_deref().map(Cow::Borrowed);
            }
            E::Probed(finding) => self.put_finding(finding),
        }
    }

    fn put_partition(&mut self, event: &'a PartitionEvent) {
        match event {
            PartitionEvent::OwnerClaimed(claim) => self.owner = Some(Box::new(Owner::from(claim))),
            PartitionEvent::RecordDeadLettered { offset, class, message } => {
                self.record = Some(Record {
                    offset: long(*offset),
                    class: Symbol::Known(*class),
                    message: Cow::Borrowed(message),
                });
            }
            PartitionEvent::RecordDisposed { letter_id, redriven, reason } => {
                self.put_letter(*letter_id);
                self.put_reason(reason);
                self.disposal = Some(Disposal { redriven: *redriven });
            }
        }
    }

    fn put_started(&mut self, started: &'a typed::StepStarted) {
        self.attempt = started.attempt.map(i64::from);
        self.spec = started.spec.as_deref().map(Spec::from).map(Box::new);
        let worker = started.worker.as_deref().map(Cow::Borrowed);
        let lease_ms = started.lease_ms.map(long);
        let is_held = lease_ms.is_some() || worker.is_some();
        self.start = is_held.then_some(Start { lease_ms, worker });
        let due_at = Time(self.occurred_at.0);
        let held_by = started.held_by.map(Symbol::Known);
        self.timer = held_by.map(|by| Timer { due_at, held_by: Some(by) });
    }

    fn put_resolution(&mut self, resolution: &'a typed::Resolution) {
        self.put_attempt(resolution.attempt, None);
        self.resolution = Some(Resolution { happened: resolution.happened });
        self.output = resolution.output.as_ref().map(Output::from);
        self.put_reason(&resolution.reason);
    }

    fn put_skipped(&mut self, reason: &'a str, output: Option<&'a typed::Output>) {
        self.put_reason(reason);
        self.put_output(output);
    }

    fn put_reused(
        &mut self,
        spec: &'a typed::StepSpec,
        output: Option<&'a typed::Output>,
        edited: bool,
    ) {
        self.spec = Some(Box::new(Spec::from(spec)));
        self.put_output(output);
        // What the edit was, the run that it comes from says.
        self.redrive = edited.then(|| Box::new(Redrive { force: false, edit: None }));
    }

    fn put_finding(&mut self, finding: &'a typed::Finding) {
        self.put_attempt(finding.attempt, None);
        self.probed = Some(Probed { found: Symbol::Known(finding.found) });
        self.put_output(finding.output.as_ref());
        self.timer = finding.due_at.map(|due_at| Timer { due_at: Time(due_at), held_by: None });
        self.put_reason(&finding.reason);
    }

    /// What waits for somebody or something, and what came of that.
    fn put_waiting(&mut self, event: &'a typed::StepEvent) {
        use typed::StepEvent as E;
        if let E::TaskDecided { task_id, verdict, output, reason } = event {
            let verdict = Some(Symbol::Known(*verdict));
            self.put_task(*task_id).verdict = verdict;
            self.put_output(output.as_ref());
            self.put_reason(reason);
        } else if let E::TaskExpired { task_id } = event {
            self.put_task(*task_id);
        } else if let E::ApprovalRequested { attempt, task_id, call, expires_at } = event {
            self.put_attempt(*attempt, None);
            let task = self.put_task(*task_id);
            task.call = Some(Sum(*call));
            task.expires_at = Some(Time(*expires_at));
        } else if let E::WaitCreated { signal, expires_at, spec } = event {
            let signal = signal.as_deref().map(Cow::Borrowed);
            self.wait = Some(Wait { signal, expires_at: Time(*expires_at) });
            self.spec = spec.as_deref().map(Spec::from).map(Box::new);
        }
    }

    fn put_task(&mut self, task_id: typed::Digest) -> &mut Task {
        let task = Task { task_id: Sum(task_id), verdict: None, call: None, expires_at: None };
        self.task.insert(task)
    }

    fn put_fault(&mut self, attempt: u32, fault: typed::Fault) {
        self.put_attempt(attempt, None);
        self.fault = Some(Symbol::Known(fault));
    }

    fn put_timer(
        &mut self,
        attempt: u32,
        due_at: typed::time::Micros,
        held_by: Option<typed::HeldBy>,
    ) {
        self.put_attempt(attempt, None);
        self.timer = Some(Timer { due_at: Time(due_at), held_by: held_by.map(Symbol::Known) });
    }

    fn put_redrive(&mut self, force: bool, edit: Option<&'a typed::InputEdit>) {
        let edit = edit.map(Edit::from);
        self.redrive = Some(Box::new(Redrive { force, edit }));
    }

    fn put_exhausted(&mut self, attempt: u32, error: &'a typed::StepError) {
        self.put_attempt(attempt, None);
        self.error = Some(Error::from(error));
    }

    fn put_output(&mut self, output: Option<&'a typed::Output>) {
        self.output = output.map(Output::from);
    }

    fn put_attempt(&mut self, attempt: u32, lease: Option<u64>) {
        self.attempt = Some(i64::from(attempt));
        self.lease = lease.map(long);
    }

    fn put_reason(&mut self, reason: &'a str) {
        self.reason = Some(Cow::Borrowed(reason));
    }

    fn put_letter(&mut self, letter_id: typed::Digest) {
        self.dead_letter = Some(LetterRef { letter_id: Sum(letter_id) });
    }
}

impl<'a> From<&'a StepKey> for Step<'a> {
    fn from(key: &'a StepKey) -> Self {
        Self {
            scope: Cow::Borrowed(&key.scope),
            name: Cow::Borrowed(&key.name),
            occurrence: i64::from(key.occurrence),
        }
    }
}

impl<'a> From<&'a typed::Trace> for Trace<'a> {
    fn from(trace: &'a typed::Trace) -> Self {
        Self { trace_id: Cow::Borrowed(&trace.trace_id), span_id: Cow::Borrowed(&trace.span_id) }
    }
}

impl<'a> From<&'a typed::BatchItem> for Batch<'a> {
    fn from(batch: &'a typed::BatchItem) -> Self {
        Self { id: Cow::Borrowed(&batch.id), index: i64::from(batch.index) }
    }
}

impl<'a> From<&'a typed::Op> for Op<'a> {
    fn from(op: &'a typed::Op) -> Self {
        Self {
            session: Cow::Borrowed(&op.session),
            op_id: long(op.op_id),
            replaces: op.replaces.as_deref().map(Cow::Borrowed),
            version: op.version.as_deref().map(Cow::Borrowed),
        }
    }
}

impl<'a> From<&'a typed::RunCreated> for Run<'a> {
    fn from(run: &'a typed::RunCreated) -> Self {
        // A plan was read as JSON, so its source is UTF-8; the lossy form then borrows.
        let plan = run.plan.as_ref().map(|plan| JsonText(String::from_utf8_lossy(&plan.source)));
        Self {
            workflow: Cow::Borrowed(&run.workflow),
            version: Cow::Borrowed(&run.version),
            driver: Symbol::Known(run.driver),
            input: Slot::from(&run.input),
            tags: Cow::Borrowed(&run.tags),
            parent: run.parent.as_deref().map(Cow::Borrowed),
            plan,
            fork: run.fork.as_deref().map(Fork::from).map(Box::new),
            caller: run.caller.as_deref().map(Caller::from).map(Box::new),
        }
    }
}

impl<'a> From<&'a typed::Caller> for Caller<'a> {
    fn from(caller: &'a typed::Caller) -> Self {
        Self {
            step: Step::from(&caller.step),
            attempt: i64::from(caller.attempt),
            lease: long(caller.lease),
            deadline: caller.deadline.map(Time),
        }
    }
}

impl<'a> From<&'a typed::Fork> for Fork<'a> {
    fn from(fork: &'a typed::Fork) -> Self {
        Self {
            run_id: Cow::Borrowed(&fork.run_id),
            step: fork.step.as_ref().map(Step::from),
            reused: i64::from(fork.reused),
            undo_reused: fork.undo_reused,
            force: fork.force,
            reason: Cow::Borrowed(&fork.reason),
        }
    }
}

impl<'a> From<&'a typed::StepSpec> for Spec<'a> {
    fn from(spec: &'a typed::StepSpec) -> Self {
        Self {
            tool: Cow::Borrowed(&spec.tool),
            input: Slot::from(&spec.input),
            effect: Symbol::Known(spec.effect),
            retry: Retry::from(&spec.retry),
            timeout_ms: long(spec.timeout_ms),
            schedule_to_start_ms: long(spec.schedule_to_start_ms),
            deadline_ms: long(spec.deadline_ms),
            key_ttl_ms: long(spec.key_ttl_ms),
            on_exhausted: Symbol::Known(spec.on_exhausted),
            not_applied: spec.not_applied.iter().copied().map(i32::from).collect(),
            approval_ms: spec.approval_ms.map(long),
            probe: spec.probe.as_deref().map(|probe| {
                let typed::Probe { tool, voids } = probe;
                Box::new(Probe { tool: Cow::Borrowed(tool), voids: *voids })
            }),
            quorum: spec.quorum.map(i64::from),
            memo_ms: spec.memo_ms.map(long),
        }
    }
}

impl From<&RetryPolicy> for Retry {
    fn from(retry: &RetryPolicy) -> Self {
        Self {
            max_attempts: i64::from(retry.max_attempts),
            initial_ms: long(retry.initial_ms),
            multiplier: retry.multiplier,
            max_ms: long(retry.max_ms),
            jitter: retry.jitter,
            max_elapsed_ms: long(retry.max_elapsed_ms),
        }
    }
}

impl<'a> From<&'a typed::Output> for Output<'a> {
    fn from(output: &'a typed::Output) -> Self {
        Self {
            data: Slot::from(&output.payload),
            degraded: output.degraded,
            source: output.source.as_deref().map(Cow::Borrowed),
        }
    }
}

impl<'a> From<&'a typed::StepError> for Error<'a> {
    fn from(error: &'a typed::StepError) -> Self {
        Self {
            class: Symbol::Known(error.class),
            code: Cow::Borrowed(&error.code),
            message: Cow::Borrowed(&error.message),
            retry_after_ms: error.retry_after_ms.map(long),
            free: error.free.then_some(true),
        }
    }
}

impl<'a> From<&'a typed::Usage> for Usage<'a> {
    fn from(usage: &'a typed::Usage) -> Self {
        Self {
            provider: usage.provider.as_deref().map(Cow::Borrowed),
            model: usage.model.as_deref().map(Cow::Borrowed),
            input_uncached: long(usage.input_uncached),
            cache_read: long(usage.cache_read),
            cache_write: long(usage.cache_write),
            output_text: long(usage.output_text),
            output_reasoning: long(usage.output_reasoning),
            cost_micros: long(usage.cost_micros),
            price_version: usage.price_version.as_deref().map(Cow::Borrowed),
        }
    }
}

impl<'a> From<&'a typed::Decision> for Decision<'a> {
    fn from(decision: &'a typed::Decision) -> Self {
        Self {
            decision: Cow::Borrowed(&decision.decision),
            request: Cow::Borrowed(&decision.request),
            agent: Cow::Borrowed(&decision.agent),
            reasoning: Cow::Borrowed(&decision.reasoning),
            action: Cow::Borrowed(&decision.action),
            params: decision.params.as_ref().map(Slot::from),
            result: decision.result.as_ref().map(Slot::from),
            error: decision.error.as_deref().map(Cow::Borrowed),
            confidence: decision.confidence,
        }
    }
}

impl<'a> From<&'a typed::InputEdit> for Edit<'a> {
    fn from(edit: &'a typed::InputEdit) -> Self {
        Self { before: Sum(edit.before), after: Slot::from(&edit.after) }
    }
}

impl<'a> From<&'a typed::Claim> for Owner<'a> {
    fn from(claim: &'a typed::Claim) -> Self {
        Self {
            worker: Cow::Borrowed(&claim.worker),
            address: Cow::Borrowed(&claim.address),
            store_id: Cow::Borrowed(&claim.store_id),
            log_id: Cow::Borrowed(&claim.log_id),
            fold_version: i64::from(claim.fold_version),
            partitions: i64::from(claim.partitions),
            over: claim.over.map(long),
            restored: claim.restored,
        }
    }
}
