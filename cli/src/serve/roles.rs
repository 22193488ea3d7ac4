//! What a process does: it takes and answers requests, or it owns partitions and calls tools, or both.

/// One of the two things that a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Takes events and requests, answers questions.
    Ingest,
    /// Owns partitions: folds, decides, calls tools.
    Workers,
}

/// What one process does; never nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) ingest: bool,
    pub(crate) workers: bool,
}

impl Roles {
    /// The roles that were named.
    pub(crate) fn of(named: &[Role]) -> Self {
        Self { ingest: named.contains(&Role::Ingest), workers: named.contains(&Role::Workers) }
    }

    /// Whether one process does it all.
    pub(crate) fn is_whole(self) -> bool {
        self.ingest && self.workers
    }
}
