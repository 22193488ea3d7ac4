//! How many attempts may still be started: in all, of a run, of a tool, as retries; and what holds steps
//! back whatever is free. The owner counts; here is only what follows for one start.

use crate::{Holder, RunState, StepState, StepStatus};
use spine_schemas::{
    HeldBy, RunKey, StepKey,
    spec::{RUN_TOOL, queue_of},
    time::Micros,
};
use std::{collections::BTreeMap, sync::Arc};

/// What may still be started. A start takes its share.
#[derive(Clone, Debug)]
pub struct Slots {
    free: usize,
    bounds: Bounds,
    busy: Busy,
    retries: usize,
    holds: Holds,
    granted: usize,
    short_of_retries: bool,
    grants: BTreeMap<(RunKey, String), Vec<Grant>>,
    leased: Vec<Leased>,
}

/// How many attempts may run at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of one run.
    pub per_run: usize,
    /// Of all runs of one tenant.
    pub per_tenant: usize,
    /// Of one tool.
    pub per_tool: usize,
}

/// Attempts that run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    /// By tenant.
    pub tenants: BTreeMap<Arc<str>, usize>,
    /// By tool.
    pub tools: BTreeMap<String, usize>,
}

/// What a run waits for that found no slot: one for a tool, for any tool, or for a retry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// A slot for whatever it calls: it calls too many tools to name them.
    Any,
    /// A slot for a call of this tool.
    Tool(String),
    /// That retries may be made again.
    Retry,
}

/// What a worker asks for: one step that waits in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its name.
    pub worker: String,
    /// How long it has the step without a heartbeat.
    pub lease_ms: u64,
    /// The number by which the owner knows who is to be told.
    pub ticket: u64,
}

/// A step that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// Its run.
    pub run: RunKey,
    /// Itself.
    pub step: StepKey,
    /// The attempt that begins.
    pub attempt: u32,
    /// See [`Grant::ticket`].
    pub ticket: u64,
}

/// Attempts of one run that run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    /// Calls of this owner, or of one before it.
    pub(crate) calls: usize,
    /// What workers hold.
    pub(crate) leased: usize,
}

impl Open {
    pub(crate) fn of(run: &RunState) -> Self {
        let mut open = Self { calls: 0, leased: 0 };
        if run.steps.count(StepStatus::Running) == 0 {
            return open;
        }
        for live in run.steps.unsettled().filter_map(|step| step.live.as_ref()) {
            match live.holder {
                Holder::Owner(_) | Holder::Session(_) | Holder::Outside => open.calls += 1,
                Holder::Worker(_) => open.leased += 1,
                // Its own steps are counted where they run.
                Holder::Child => {}
            }
        }
        open
    }
}

/// What is left of slots, and what was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Starts that were granted.
    pub granted: usize,
    /// Retries that are left.
    pub retries: usize,
    /// What each hold still lets through.
    pub holds: Holds,
    /// Whether a retry found that there were too many of them.
    pub short_of_retries: bool,
    /// What workers get.
    pub leased: Vec<Leased>,
}

/// What holds steps back that call tools, as the owner's process knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Tenants that an operator has paused.
    pub tenants: BTreeMap<Arc<str>, Hold>,
    /// Tools that are not called at all, or only so many times.
    pub tools: BTreeMap<String, Hold>,
}

/// One thing that holds steps back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What it is.
    pub by: HeldBy,
    /// The earliest time at which it may end.
    pub until: Micros,
    /// How many starts it lets through all the same.
    pub starts: usize,
}

/// Where steps wait that are held back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeldAt {
    /// At their tool.
    Tool(String),
    /// At their tenant.
    Tenant(Arc<str>),
}

/// What becomes of a start.
pub(crate) enum Taken {
    /// It may be made.
    Granted,
    /// Others must end first.
    Starved,
    /// There are too many retries.
    NoRetry,
    /// It is held back.
    Held(HeldAt, Hold),
    /// It is a run of its own, and takes nothing away.
    Child,
    /// A worker gets it.
    Leased(Grant),
    /// No worker has asked for it in this queue.
    Unasked(String),
    /// As many steps of the run are under way as may be: the end of one of them lets it ask again.
    Enough,
}

impl Bounds {
    /// As many as there are slots.
    pub const NONE: Self =
        Self { per_run: usize::MAX, per_tenant: usize::MAX, per_tool: usize::MAX };
}

impl Slots {
    /// Slots for `free` more attempts, of which `busy` counts those that run.
    pub fn new(free: usize, bounds: Bounds, busy: Busy) -> Self {
        let (retries, holds) = (usize::MAX, Holds::default());
        let (grants, leased) = (BTreeMap::new(), Vec::new());
        let (granted, short_of_retries) = (0, false);
        Self { free, bounds, busy, retries, holds, granted, short_of_retries, grants, leased }
    }

    /// The same, of which at most `retries` may be retries, and with what holds steps back.
    #[must_use]
    pub fn with(self, retries: usize, holds: Holds) -> Self {
        Self { retries, holds, ..self }
    }

    /// The same, with what workers ask for of runs and queues. The last of each is granted first.
    #[must_use]
    pub fn asked(self, grants: BTreeMap<(RunKey, String), Vec<Grant>>) -> Self {
        Self { grants, ..self }
    }

    /// Slots without a limit, for tests and for asking what would happen next.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX, Bounds::NONE, Busy::default())
    }

    /// What is left.
    pub fn rest(self) -> Rest {
        let Self { granted, retries, holds, short_of_retries, leased, .. } = self;
        Rest { granted, retries, holds, short_of_retries, leased }
    }

    /// How many calls may still be started.
    pub fn free(&self) -> usize {
        self.free
    }

    /// Whether a run of this tenant may begin something.
    pub fn lets(&self, tenant: &str) -> bool {
        let of_tenant = self.busy.tenants.get(tenant).copied().unwrap_or(0);
        self.free > 0 && of_tenant < self.bounds.per_tenant
    }

    /// Whether there is what a run waited for. Who asks in vain for a retry shows that there is none.
    pub fn has(&self, lack: &Lack) -> bool {
        self.free > 0
            && match lack {
                Lack::Any => true,
                Lack::Tool(tool) => self.of_tool(tool) < self.bounds.per_tool,
                Lack::Retry => self.retries > 0 || !self.short_of_retries,
            }
    }

    fn of_tool(&self, tool: &str) -> usize {
        self.busy.tools.get(tool).copied().unwrap_or(0)
    }

    pub(crate) fn take(&mut self, run: &RunState, step: &StepState, open: Open) -> Taken {
        let tool = &step.spec.tool;
        if let Some(hold) = self.holds.tenants.get(&run.key.tenant) {
            return Taken::Held(HeldAt::Tenant(run.key.tenant.clone()), *hold);
        }
        if let Some(hold) = self.holds.tools.get(tool).filter(|hold| hold.starts == 0) {
            return Taken::Held(HeldAt::Tool(tool.clone()), *hold);
        }
        if let Some(queue) = queue_of(tool) {
            return self.lease(run, step, queue, open.leased);
        }
        if tool == RUN_TOOL {
            return Taken::Child;
        }
        if open.calls >= self.bounds.per_run {
            return Taken::Enough;
        }
        if !self.lets(&run.key.tenant) || self.of_tool(tool) >= self.bounds.per_tool {
            return Taken::Starved;
        }
        let is_retry = step.charged > 0;
        if is_retry && self.retries == 0 {
            self.short_of_retries = true;
            return Taken::NoRetry;
        }
        self.retries -= usize::from(is_retry);
        self.free -= 1;
        self.granted += 1;
        *self.busy.tools.entry(tool.clone()).or_default() += 1;
        *self.busy.tenants.entry(run.key.tenant.clone()).or_default() += 1;
        if let Some(hold) = self.holds.tools.get_mut(tool) {
            hold.starts -= 1;
        }
        Taken::Granted
    }

    fn lease(&mut self, run: &RunState, step: &StepState, queue: &str, leased: usize) -> Taken {
        if leased >= self.bounds.per_run {
            return Taken::Enough;
        }
        let grants = self.grants.get_mut(&(run.key.clone(), queue.to_owned()));
        let Some(grant) = grants.and_then(Vec::pop) else {
            return Taken::Unasked(queue.to_owned());
        };
        self.leased.push(Leased {
            run: run.key.clone(),
            step: step.key.clone(),
            attempt: step.attempt + 1,
            ticket: grant.ticket,
        });
        Taken::Leased(grant)
    }
}
