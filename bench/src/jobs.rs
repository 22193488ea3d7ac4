//! The jobs: each is one question about speed, and gives the rows that answer it.

mod append_http;
mod append_log;
mod backlog;
mod batches;
mod context;
mod fold;
mod gates;
mod growth;
mod healthy;
mod heat;
mod idle;
mod lag;
mod list;
mod plan;
mod recovery;
mod scale;
mod steps;
mod store;

use crate::{bench::Bench, error::Result, names, place::Opener, row::Row, settings::Settings};

/// A question about speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// How fast does the log take events?
    Append,
    /// How fast does the HTTP surface take events?
    Http,
    /// How fast are events decoded and folded?
    Fold,
    /// How fast does the store follow, and how fast is a replay?
    Store,
    /// How long until an event can be queried?
    Lag,
    /// What does a durable step of an agent cost?
    Steps,
    /// What do the gates of a journal step cost?
    Gates,
    /// What does a step cost that the server runs?
    Plan,
    /// What do healthy runs feel of runs that fail for ever?
    Poison,
    /// What do healthy runs feel of a redrive?
    Redrive,
    /// What do runs feel of another tenant's backlog?
    Backlog,
    /// How long after a kill does the first step run?
    Recovery,
    /// What does a server cost that has nothing to do?
    Idle,
    /// What grows with the work?
    Scale,
}

impl Job {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 14] = [
        Self::Append,
        Self::Http,
        Self::Fold,
        Self::Store,
        Self::Lag,
        Self::Steps,
        Self::Gates,
        Self::Plan,
        Self::Poison,
        Self::Redrive,
        Self::Backlog,
        Self::Recovery,
        Self::Idle,
        Self::Scale,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Http => "http",
            Self::Fold => "fold",
            Self::Store => "store",
            Self::Lag => "lag",
            Self::Steps => "steps",
            Self::Gates => "gates",
            Self::Plan => "plan",
            Self::Poison => "poison",
            Self::Redrive => "redrive",
            Self::Backlog => "backlog",
            Self::Recovery => "recovery",
            Self::Idle => "idle",
            Self::Scale => "scale",
        }
    }

    /// What it answers.
    pub fn about(self) -> &'static str {
        match self {
            Self::Append => "appends to the log, against a raw file and a raw producer",
            Self::Http => "appends over HTTP, against a bare HTTP server that syncs",
            Self::Fold => "decoding and folding, in memory",
            Self::Store => "the store that follows the log, and replay",
            Self::Lag => "from the acknowledgement of an event to the store",
            Self::Steps => "durable steps through the journal, against floor and peers",
            Self::Gates => "journal steps with all that they can be held to, against bare ones",
            Self::Plan => "steps of plans over HTTP tools, against one synced write",
            Self::Poison => "healthy runs beside runs that fail for ever",
            Self::Redrive => "healthy runs while dead letters are put back to work",
            Self::Backlog => "first calls of runs beside another tenant's backlog",
            Self::Recovery => {
                "from kill -9 to the first step, with a million runs stored; their list"
            }
            Self::Idle => "processor time of a server without work",
            Self::Scale => "long runs, large payloads; more runs, partitions and tenants",
        }
    }
}

/// Heats the servers before anything is measured on them, if any wanted row of these jobs needs them.
///
/// # Errors
/// When they do not answer.
pub async fn heat<O: Opener>(settings: &Settings, opener: &O, jobs: &[Job]) -> Result<()> {
    if settings.cluster.is_none() || !names::needs_servers(settings, jobs) {
        return Ok(());
    }
    heat::heat(&Bench::new(settings, opener).await?).await
}

/// Runs a job and gives those of its rows that are wanted.
///
/// # Errors
/// When something did not do its work. Slow is not an error.
pub async fn run<O: Opener>(settings: &Settings, opener: &O, job: Job) -> Result<Vec<Row>> {
    let bench = Bench::new(settings, opener).await?;
    let mut rows = match job {
        Job::Append => append_log::rows(&bench).await,
        Job::Http => append_http::rows(&bench).await,
        Job::Fold => fold::rows(&bench).await,
        Job::Store => store::rows(&bench).await,
        Job::Lag => lag::rows(&bench).await,
        Job::Steps => steps::rows(&bench).await,
        Job::Gates => gates::rows(&bench).await,
        Job::Plan => plan::rows(&bench).await,
        Job::Poison => healthy::poison(&bench).await,
        Job::Redrive => healthy::redrive(&bench).await,
        Job::Backlog => backlog::rows(&bench).await,
        Job::Recovery => recovery::rows(&bench).await,
        Job::Idle => idle::rows(&bench).await,
        Job::Scale => scale::rows(&bench).await,
    }?;
    for row in &rows {
        assert!(names::of(job).any(|name| name == row.job), "{} is no row of {job:?}", row.job);
    }
    rows.retain(|row| settings.wants(&row.job));
    Ok(rows)
}
