//! Where the owner of a partition stands, as told to those who ask this process.

/// How far a partition was folded and stored here, and what its owner does.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) folded: Option<u64>,
    pub(super) stored: Option<u64>,
    pub(super) phase: Phase,
}

/// What the owner of a partition does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The group has not said yet whose the partitions are.
    Joining,
    /// It is not ours.
    NotAssigned,
    /// It is ours, and not ready: why.
    Waiting(String),
    /// It is ours and has caught up.
    Ready,
    /// It was taken away; its owner winds down.
    Leaving,
    /// It is ours and folds nothing more until somebody lets it go on.
    Stopped { offset: u64, bad: usize },
    /// The process goes.
    Gone,
}

/// Who let a stopped partition go on, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resumed {
    pub(crate) actor: String,
    pub(crate) reason: String,
}

impl Phase {
    /// Whether an owner of this process folds it.
    pub(super) fn is_owned(&self) -> bool {
        match self {
            Self::Waiting(_) | Self::Ready | Self::Leaving | Self::Stopped { .. } => true,
            Self::Joining | Self::NotAssigned | Self::Gone => false,
        }
    }

    /// Whether it is certain that no owner of this process folds it.
    pub(super) fn is_elsewhere(&self) -> bool {
        !self.is_owned() && *self != Self::Joining
    }

    /// Nothing to complain about, or why not.
    pub(super) fn is_ready(&self, partition: usize) -> Result<(), String> {
        let why = match self {
            Self::NotAssigned | Self::Ready | Self::Leaving => return Ok(()),
            Self::Joining => return Err("joining the group".into()),
            Self::Gone => return Err("stopping".into()),
            Self::Waiting(why) => why.clone(),
            Self::Stopped { offset, bad } => format!(
                "stopped at offset {offset} after {bad} bad records: look at the letters, then \
                 `spine topics resume --partition {partition} --reason ...`"
            ),
        };
        Err(format!("partition {partition}: {why}"))
    }
}

impl Standing {
    pub(super) fn begin(phase: Phase) -> Self {
        Self { folded: None, stored: None, phase }
    }

    /// Moves the marks; says whether one of them moved.
    pub(super) fn advance(&mut self, folded: Option<u64>, stored: Option<u64>) -> bool {
        let moved = folded > self.folded || stored > self.stored;
        self.folded = self.folded.max(folded);
        self.stored = self.stored.max(stored);
        moved
    }
}
