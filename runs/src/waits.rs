//! What an open run waits for, when its next timer is due, and how its state reads from outside.

use crate::{
    Held, Holder, Live, RunState, RunStatus, StepState, StepStatus, Wait, WaitKind,
    fold::is_cleared, retry, undo, unresolved,
};
use spine_schemas::{Driver, HeldBy, spec::queue_of, time::Micros};

/// Steps of a run by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCounts {
    /// All: of a plan the planned ones, else those that were seen.
    pub total: u32,
    /// Completed.
    pub completed: u32,
    /// Failed or given up.
    pub failed: u32,
    /// With an open letter.
    pub dead_lettered: u32,
}

impl RunState {
    /// The public status: `waiting` when only a person can move the run.
    pub fn public_status(&self) -> &'static str {
        if self.status == RunStatus::Running && self.needs_a_person() {
            return "waiting";
        }
        self.status.as_str()
    }

    fn needs_a_person(&self) -> bool {
        let mut waits = self.kinds_of_waits().peekable();
        waits.peek().is_some() && waits.all(|kind| ended_by(kind) != EndedBy::Itself)
    }

    /// Whether the run goes on without anybody's decision about this very run.
    pub(crate) fn goes_on_by_itself(&self) -> bool {
        let mut waits = self.kinds_of_waits().peekable();
        let is_decided = |kind| ended_by(kind) == EndedBy::Decision;
        let waits_for_decisions = waits.peek().is_some() && waits.all(is_decided);
        self.status == RunStatus::Running && !waits_for_decisions
    }

    fn kinds_of_waits(&self) -> impl Iterator<Item = WaitKind> {
        let paused = self.paused.as_ref().map(|_| WaitKind::Paused);
        let steps = self.steps.unsettled().filter_map(|step| Some(self.wait_of(step)?.0));
        paused.into_iter().chain(steps)
    }

    /// Everything that an open run waits for; empty once it has ended. An open run always waits
    /// for something that can be named.
    pub fn waits(&self) -> Vec<Wait> {
        if !self.is_open() {
            return Vec::new();
        }
        let mut waits: Vec<Wait> =
            self.steps.unsettled().filter_map(|step| self.step_wait(step)).collect();
        if self.paused.is_some() {
            waits.insert(0, Wait { wait_for: WaitKind::Paused, step: None, until: None });
        }
        if self.takes_over() {
            waits.push(Wait { wait_for: WaitKind::Fork, step: None, until: None });
        }
        if waits.is_empty() {
            return vec![Wait { wait_for: self.idle_wait(), step: None, until: None }];
        }
        waits
    }

    /// What a step that has not ended waits for.
    pub fn step_wait(&self, step: &StepState) -> Option<Wait> {
        let (wait_for, until) = self.wait_of(step)?;
        Some(Wait { wait_for, step: Some(step.key.clone()), until })
    }

    pub(crate) fn wait_of(&self, step: &StepState) -> Option<(WaitKind, Option<Micros>)> {
        let holds_back = self.paused.is_some() || step.paused.is_some();
        Some(match step.status {
            StepStatus::Scheduled
            | StepStatus::RetryWaiting
            | StepStatus::Deferred
            | StepStatus::Failed
                if holds_back =>
            {
                (WaitKind::Paused, None)
            }
            StepStatus::Scheduled if self.waits_for_worker(step) => (WaitKind::Worker, None),
            StepStatus::Scheduled => (self.idle_wait(), None),
            StepStatus::Running if step.is_child() => (WaitKind::Child, None),
            StepStatus::Running => (WaitKind::Attempt, step.lease_until()),
            StepStatus::RetryWaiting => (WaitKind::Retry, step.due_at),
            StepStatus::Deferred => step.deferred(),
            // Neither time nor anybody but who ends the pause can end a sleep now.
            StepStatus::Awaiting if holds_back && step.awaited().0 == WaitKind::Sleep => {
                (WaitKind::Paused, None)
            }
            StepStatus::Awaiting => step.awaited(),
            StepStatus::Unknown => match step.next_probe().filter(|_| self.paused.is_none()) {
                Some(due) => (WaitKind::Probe, step.probe.is_some().then_some(due)),
                None => (WaitKind::Resolution, None),
            },
            StepStatus::Failed if step.given_up && self.undo.is_some() => return None,
            // What happened must be known first; that is what the run waits for.
            StepStatus::Failed if undo::waits_to_begin(self, step) => return None,
            StepStatus::Failed => match self.driver() {
                Driver::Plan => (WaitKind::Owner, None),
                Driver::Journal if step.given_up => (WaitKind::Client, None),
                Driver::Journal => (WaitKind::Owner, None),
                Driver::Record => (WaitKind::Reporter, None),
            },
            StepStatus::DeadLettered => (WaitKind::DeadLetter, None),
            StepStatus::Completed | StepStatus::Skipped | StepStatus::Cancelled => return None,
        })
    }

    /// Whether a step that may start is one that a worker must ask for.
    pub(crate) fn waits_for_worker(&self, step: &StepState) -> bool {
        let in_queue = self.driver() == Driver::Plan && queue_of(&step.spec.tool).is_some();
        in_queue && is_cleared(step) && undo::is_free(self, &step.key, Some(step))
    }

    fn idle_wait(&self) -> WaitKind {
        match self.driver() {
            Driver::Plan => WaitKind::Owner,
            Driver::Journal if self.is_ending() => WaitKind::Owner,
            Driver::Journal => WaitKind::Client,
            Driver::Record => WaitKind::Reporter,
        }
    }

    /// The earliest time at which the owner has something to decide for this run without any new
    /// event. `None` when only an event can move it.
    pub fn next_due(&self) -> Option<Micros> {
        if !self.is_open() || self.driver() == Driver::Record {
            return None;
        }
        let steps = self.steps.unsettled().filter(|step| self.may_move(step));
        steps.filter_map(|step| step.next_due()).chain(self.deadline()).min()
    }

    /// When the run must have ended, as long as nothing else ends it or holds it back.
    pub fn deadline(&self) -> Option<Micros> {
        let is_free = self.is_open() && !self.is_ending() && self.paused.is_none();
        self.time_limit().filter(|_| is_free)
    }

    /// The same as things stood when nothing held it back.
    pub(crate) fn time_limit(&self) -> Option<Micros> {
        let plan = self.plan().filter(|plan| plan.deadline_ms > 0);
        let own = plan.map(|plan| self.created_at.plus_ms(plan.deadline_ms));
        let of_caller = self.created.caller.as_ref().and_then(|caller| caller.deadline);
        // Its parent's time stands still in a pause as its own does.
        let first = own.into_iter().chain(of_caller).min();
        first.map(|at| at.plus_ms(self.paused_ms))
    }

    /// Whether time alone may move a step: its attempt's, or its own where nothing holds it back.
    pub(crate) fn may_move(&self, step: &StepState) -> bool {
        // What happened is found out whatever becomes of the run.
        let asks = step.status == StepStatus::Unknown && self.paused.is_none();
        step.status == StepStatus::Running || asks || undo::is_free(self, &step.key, Some(step))
    }

    /// All steps that are known: those of a plan's list, and what came beside them.
    fn step_total(&self) -> usize {
        let seen = self.steps.len();
        let Some(plan) = self.plan() else { return seen };
        if plan.listed == plan.steps.len() {
            return seen.max(plan.listed);
        }
        let beside = |step: &&spine_schemas::PlanStep| self.steps.contains_key(&step.key);
        plan.listed + plan.steps[plan.listed..].iter().filter(beside).count()
    }

    /// Steps by what became of them.
    pub fn step_counts(&self) -> StepCounts {
        let total = u32::try_from(self.step_total()).unwrap_or(u32::MAX);
        StepCounts {
            total,
            completed: self.steps.count(StepStatus::Completed),
            failed: self.steps.count(StepStatus::Failed),
            dead_lettered: self.steps.count(StepStatus::DeadLettered),
        }
    }
}

impl Live {
    /// When its lease ends unless a heartbeat comes. It counts again from a claim: nobody could renew it
    /// while there was no owner.
    pub(crate) fn lease_ends_at(&self, claim_at: Micros) -> Micros {
        let from = match self.holder {
            // Who only reports holds nothing that a claim could renew.
            Holder::Outside => self.heartbeat_at,
            Holder::Owner(_) | Holder::Session(_) | Holder::Worker(_) | Holder::Child => {
                self.heartbeat_at.max(claim_at)
            }
        };
        from.plus_ms(self.lease_ms)
    }
}

impl StepState {
    /// When the running attempt's lease ends unless a heartbeat comes.
    pub fn lease_until(&self) -> Option<Micros> {
        let live = self.live.as_ref()?;
        let until = live.lease_ends_at(live.heartbeat_at);
        match &live.holder {
            Holder::Worker(_) => Some(until.min(self.work_ends_at(live, live.started_at))),
            Holder::Owner(_) | Holder::Session(_) | Holder::Outside => Some(until),
            Holder::Child => None,
        }
    }

    /// Whether its running attempt is a run of its own.
    pub fn is_child(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.holder == Holder::Child)
    }

    /// When an attempt that a worker holds is over, heartbeats or not.
    pub(crate) fn work_ends_at(&self, live: &Live, from: Micros) -> Micros {
        live.started_at.max(from).plus_ms(self.spec.timeout_ms)
    }

    /// What holds the step back, if anything does whatever its own state.
    pub fn held_back(&self) -> Option<&Held> {
        self.held.as_deref().filter(|_| self.status == StepStatus::Deferred)
    }

    /// Whether the event at an offset asked people to approve of its call.
    pub fn asks_since(&self, offset: u64) -> bool {
        self.task.as_ref().is_some_and(|task| task.call.is_some() && task.offset == offset)
    }

    /// What a step in `deferred` waits for, and until when at the earliest.
    fn deferred(&self) -> (WaitKind, Option<Micros>) {
        let Some(held) = self.held_back() else { return (WaitKind::Deferral, self.due_at) };
        match held.by {
            HeldBy::Breaker => (WaitKind::Breaker, Some(held.until)),
            HeldBy::RateLimit => (WaitKind::RateLimit, Some(held.until)),
            HeldBy::ToolPaused => (WaitKind::ToolPaused, None),
            HeldBy::TenantPaused => (WaitKind::TenantPaused, None),
            HeldBy::Worker => (WaitKind::Worker, None),
        }
    }

    /// What a step in `awaiting` waits for, and until when.
    pub(crate) fn awaited(&self) -> (WaitKind, Option<Micros>) {
        if let Some(wait) = &self.wait {
            let kind = if wait.signal.is_some() { WaitKind::Signal } else { WaitKind::Sleep };
            return (kind, Some(wait.until));
        }
        match &self.task {
            Some(task) if task.call.is_some() => (WaitKind::Approval, task.until),
            Some(task) => (WaitKind::Task, task.until),
            None => (WaitKind::Fallback, None),
        }
    }

    /// When the step as a whole must have ended.
    pub fn deadline(&self) -> Option<Micros> {
        (self.spec.deadline_ms > 0).then(|| self.budget_from.plus_ms(self.spec.deadline_ms))
    }

    /// When the step must have started.
    pub fn start_deadline(&self) -> Option<Micros> {
        let limited = self.spec.schedule_to_start_ms > 0 && self.first_started_at.is_none();
        limited.then(|| self.budget_from.plus_ms(self.spec.schedule_to_start_ms))
    }

    /// The earliest limit after a time that ends the step's waiting, whether it may start or not.
    pub(crate) fn limit_after(&self, now: Option<Micros>) -> Option<Micros> {
        // Both drivers whose steps an owner decides about judge an idempotent step alike.
        let forgotten = unresolved::key_forgotten_at(Driver::Plan, self);
        let patience = retry::patience_until(self);
        [self.start_deadline(), self.deadline(), forgotten, patience]
            .into_iter()
            .flatten()
            .filter(|limit| now.is_none_or(|now| *limit > now))
            .min()
    }

    /// When the owner next has something to decide for this step without any new event.
    pub fn next_due(&self) -> Option<Micros> {
        match self.status {
            StepStatus::Scheduled | StepStatus::RetryWaiting | StepStatus::Deferred => {
                earliest(self.due_at, self.limit_after(None))
            }
            StepStatus::Running => self.lease_until(),
            StepStatus::Awaiting => self.awaited().1,
            StepStatus::Unknown => self.next_probe(),
            StepStatus::Completed
            | StepStatus::Failed
            | StepStatus::DeadLettered
            | StepStatus::Skipped
            | StepStatus::Cancelled => None,
        }
    }
}

fn earliest(a: Option<Micros>, b: Option<Micros>) -> Option<Micros> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// What ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndedBy {
    /// Time, or the end of something that is under way.
    Itself,
    /// Somebody who need not think of this run: what holds back many at once, or a program that says something.
    Others,
    /// A person who decides about this run.
    Decision,
}

fn ended_by(kind: WaitKind) -> EndedBy {
    match kind {
        WaitKind::Resolution
        | WaitKind::DeadLetter
        | WaitKind::Task
        | WaitKind::Approval
        | WaitKind::Paused
        // The steps that stand in have waits of their own.
        | WaitKind::Fallback => EndedBy::Decision,
        WaitKind::Signal | WaitKind::ToolPaused | WaitKind::TenantPaused => EndedBy::Others,
        WaitKind::Owner
        | WaitKind::Attempt
        | WaitKind::Sleep
        | WaitKind::Retry
        | WaitKind::Deferral
        | WaitKind::Probe
        | WaitKind::Fork
        | WaitKind::Breaker
        | WaitKind::RateLimit
        | WaitKind::Worker
        | WaitKind::Child
        | WaitKind::Client
        | WaitKind::Reporter => EndedBy::Itself,
    }
}
