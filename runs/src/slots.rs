//! How many attempts may still be started: in all, of a run, of a tool, as retries; and what holds steps
//! back whatever is free. The owner counts; here is only what follows for one start.

use crate::{RunState, StepState};
use spine_schemas::{HeldBy, time::Micros};
use std::{collections::BTreeMap, sync::Arc};

/// What may still be started. A start takes its share.
#[derive(Clone, Debug)]
pub struct Slots {
    free: usize,
    per_run: usize,
    per_tool: usize,
    tools: BTreeMap<String, usize>,
    retries: usize,
    holds: Holds,
    granted: usize,
    short_of_retries: bool,
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
    /// It is held back.
    Held(HeldAt, Hold),
}

impl Slots {
    /// Slots for `free` more attempts, at most `per_run` open ones in a run and `per_tool` of a
    /// tool, of which `tools` counts the open ones.
    pub fn new(
        free: usize,
        per_run: usize,
        per_tool: usize,
        tools: BTreeMap<String, usize>,
    ) -> Self {
        let (retries, holds) = (usize::MAX, Holds::default());
        Self { free, per_run, per_tool, tools, retries, holds, granted: 0, short_of_retries: false }
    }

    /// The same, of which at most `retries` may be retries, and with what holds steps back.
    #[must_use]
    pub fn with(self, retries: usize, holds: Holds) -> Self {
        Self { retries, holds, ..self }
    }

    /// Slots without a limit, for tests and for asking what would happen next.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX, usize::MAX, usize::MAX, BTreeMap::new())
    }

    /// What is left.
    pub fn rest(self) -> Rest {
        let Self { granted, retries, holds, short_of_retries, .. } = self;
        Rest { granted, retries, holds, short_of_retries }
    }

    pub(crate) fn take(&mut self, run: &RunState, step: &StepState, open_in_run: usize) -> Taken {
        let tool = &step.spec.tool;
        if let Some(hold) = self.holds.tenants.get(&run.key.tenant) {
            return Taken::Held(HeldAt::Tenant(run.key.tenant.clone()), *hold);
        }
        if let Some(hold) = self.holds.tools.get(tool).filter(|hold| hold.starts == 0) {
            return Taken::Held(HeldAt::Tool(tool.clone()), *hold);
        }
        let open_of_tool = self.tools.get(tool).copied().unwrap_or(0);
        if self.free == 0 || open_in_run >= self.per_run || open_of_tool >= self.per_tool {
            return Taken::Starved;
        }
        let is_retry = step.charged > 0;
        if is_retry && self.retries == 0 {
            self.short_of_retries = true;
            return Taken::Starved;
        }
        self.retries -= usize::from(is_retry);
        self.free -= 1;
        self.granted += 1;
        self.tools.insert(tool.clone(), open_of_tool + 1);
        if let Some(hold) = self.holds.tools.get_mut(tool) {
            hold.starts -= 1;
        }
        Taken::Granted
    }
}
