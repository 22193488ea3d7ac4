//! What is measured where, how long, and how often.

use crate::{cpu::Watched, names};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The two sets of parts that Spine runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parts {
    /// Log and store in files of one process.
    Embedded,
    /// Kafka and CQL.
    Cluster,
}

impl Parts {
    /// The name in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Cluster => "cluster",
        }
    }

    /// The name of a row that there is on both.
    pub(crate) fn row(self, name: &str) -> String {
        match self {
            Self::Embedded => name.to_owned(),
            Self::Cluster => format!("{name}.cluster"),
        }
    }
}

/// How much is done. The smoke size shows that a job works; its figures say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As little as possible.
    Smoke,
    /// Enough to be steady.
    Full,
}

/// Servers for the cluster's jobs. Everything is made under names of the benchmark's own, and removed.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// `kafka://HOST:PORT`, without a prefix.
    pub log: String,
    /// `cql://HOST:PORT`, without a keyspace.
    pub store: String,
    /// Where files `NAME.pid` name the servers' processes, for their share of the processors.
    pub servers: Option<PathBuf>,
}

/// Everything that a benchmark is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The binary whose servers are measured: this very one.
    pub spine: PathBuf,
    /// Where logs and stores are made.
    pub dir: PathBuf,
    /// How much.
    pub size: Size,
    /// How often each side of a comparison is measured, in turns.
    pub rounds: usize,
    /// The servers, if there are any.
    pub cluster: Option<Cluster>,
    /// The folder with a program for each peer, if peers are wanted.
    pub peers: Option<PathBuf>,
    /// The rows that are wanted, by their names or by how they begin; none is all of them.
    pub only: Vec<String>,
}

impl Settings {
    /// Whether a row is wanted.
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| names::is_meant(only, row))
    }

    /// Whether one of these rows is wanted.
    pub(crate) fn wants_any<R: AsRef<str>>(&self, rows: impl IntoIterator<Item = R>) -> bool {
        rows.into_iter().any(|row| self.wants(row.as_ref()))
    }

    /// One of two values, by the size.
    pub(crate) fn of_size<T>(&self, smoke: T, full: T) -> T {
        match self.size {
            Size::Smoke => smoke,
            Size::Full => full,
        }
    }

    /// How long a steady load is measured.
    pub(crate) fn measured(&self) -> Duration {
        self.of_size(Duration::from_millis(200), Duration::from_secs(6))
    }

    /// How long a steady load runs before.
    pub(crate) fn warm_up(&self) -> Duration {
        self.of_size(Duration::from_millis(50), Duration::from_secs(2))
    }

    /// The parts that there are, on which one of these rows is wanted.
    pub(crate) fn parts_for(&self, rows: &[&str]) -> Vec<Parts> {
        let cluster = self.cluster.as_ref().map(|_| Parts::Cluster);
        let parts = std::iter::once(Parts::Embedded).chain(cluster);
        parts.filter(|parts| self.wants_any(rows.iter().map(|row| parts.row(row)))).collect()
    }

    /// The servers' processes.
    pub(crate) fn servers(&self, parts: Parts) -> Vec<Watched> {
        let dir = match (parts, &self.cluster) {
            (Parts::Embedded, _) | (Parts::Cluster, None) => return Vec::new(),
            (Parts::Cluster, Some(cluster)) => cluster.servers.as_deref(),
        };
        dir.map(pids).unwrap_or_default()
    }
}

fn pids(dir: &Path) -> Vec<Watched> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<Watched> = files
        .filter(|path| path.extension().is_some_and(|end| end == "pid"))
        .filter_map(|path| {
            let pid = std::fs::read_to_string(&path).ok()?.trim().parse().ok()?;
            Some(Watched::new(path.file_stem()?.to_str()?, pid))
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}
