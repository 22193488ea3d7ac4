//! Where one measurement's log and store are. Nobody else uses the names, and all of it is removed.

use crate::{
    error::{Error, Result, tried},
    settings::{Parts, Settings},
};
use spine_log::EventLog;
use spine_store::RunStore;
use std::{
    future::Future,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};
use tempfile::TempDir;
use tokio::process::Command;

/// Partitions of a log on Kafka.
pub(crate) const PARTITIONS: u32 = 12;

/// Opens logs and stores by URL. The binary implements it, since it alone knows the adapters.
pub trait Opener: Clone + Send + Sync + 'static {
    /// The log.
    type Log: EventLog;
    /// The store.
    type Store: RunStore;

    /// Opens a log for writing, and says which topic holds its events.
    fn log(&self, url: &str) -> impl Future<Output = Result<(Self::Log, Arc<str>)>> + Send;

    /// Closes a log, so that another process may open it.
    fn close(&self, log: Self::Log) -> impl Future<Output = ()> + Send;

    /// Opens a store, or makes it.
    fn store(&self, url: &str) -> impl Future<Output = Result<Self::Store>> + Send;
}

/// A log, a store and a directory of their own.
pub(crate) struct Place {
    pub(crate) parts: Parts,
    pub(crate) log: String,
    store: String,
    dir: TempDir,
    spine: PathBuf,
    partitions: u32,
}

/// Tells the places of a process apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Place {
    /// Makes a place with fresh topics, if the log needs them.
    pub(crate) async fn make(settings: &Settings, parts: Parts) -> Result<Self> {
        let partitions = match parts {
            Parts::Embedded => 1,
            Parts::Cluster => PARTITIONS,
        };
        Self::with_partitions(settings, parts, partitions).await
    }

    pub(crate) async fn with_partitions(
        settings: &Settings,
        parts: Parts,
        partitions: u32,
    ) -> Result<Self> {
        let dir = TempDir::with_prefix_in("spine-bench-", &settings.dir);
        let dir = tried(format!("make a directory in {}", settings.dir.display()), dir)?;
        let mark = format!("{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (log, store) = match (parts, &settings.cluster) {
            (Parts::Embedded, _) => (
                format!("embedded:{}", dir.path().join("log").display()),
                sqlite(dir.path(), "store"),
            ),
            (Parts::Cluster, Some(cluster)) => (
                format!("{}/bench-{mark}?session.timeout.ms=6000", cluster.log),
                format!("{}/bench_{mark}", cluster.store),
            ),
            (Parts::Cluster, None) => {
                return Err(Error::Peer(
                    "there are no servers for this job: name --log and --store".into(),
                ));
            }
        };
        let place = Self { parts, log, store, dir, spine: settings.spine.clone(), partitions };
        if parts == Parts::Cluster {
            let (log, partitions) = (place.log.clone(), partitions.to_string());
            let create = ["topics", "create", "--log", &log, "--partitions", &partitions];
            place.command(&[&create[..], &["--replication", "1"]].concat()).await?;
        }
        Ok(place)
    }

    /// The directory, for whatever else a job needs.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The URL of the live store.
    pub(crate) fn store(&self) -> &str {
        &self.store
    }

    /// The URL of another store beside the live one.
    pub(crate) fn other_store(&self, name: &str) -> String {
        match self.parts {
            Parts::Embedded => sqlite(self.dir.path(), name),
            Parts::Cluster => format!("{}_{name}", self.store),
        }
    }

    /// A keyspace that is removed with the store's.
    pub(crate) fn beside_keyspace(&self, name: &str) -> String {
        format!("{}_{name}", self.keyspace())
    }

    /// How a log of this place is made.
    pub(crate) fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Runs a command of the measured binary and gives what it prints.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Result<String> {
        let output = command(&self.spine).args(arguments).stdin(Stdio::null()).output().await;
        let output = tried(format!("run spine {}", arguments.join(" ")), output)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Server(format!("spine {}: {words}", arguments.join(" "))))
    }

    /// Removes what is not in the directory, which goes by itself.
    pub(crate) async fn remove(self, settings: &Settings) -> Result<()> {
        let Some(cluster) = settings.cluster.as_ref().filter(|_| self.parts == Parts::Cluster)
        else {
            return Ok(());
        };
        crate::ceilings::kafka::delete_topics(&cluster.log, &self.prefix()).await?;
        crate::ceilings::cql::drop_keyspaces(&cluster.store, &self.keyspace()).await
    }

    /// The topic of events of a log on Kafka.
    pub(crate) fn steps_topic(&self) -> String {
        format!("{}.steps", self.prefix())
    }

    fn prefix(&self) -> String {
        let name = self.log.rsplit('/').next().unwrap_or_default();
        name.split('?').next().unwrap_or_default().to_owned()
    }

    fn keyspace(&self) -> String {
        self.store.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

fn sqlite(dir: &Path, name: &str) -> String {
    format!("sqlite:{}", dir.join(name).with_extension("db").display())
}

/// The measured binary, free of settings from outside, which would make it another one.
pub(crate) fn command(spine: &Path) -> Command {
    let mut command = Command::new(spine);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SPINE_") {
            command.env_remove(name);
        }
    }
    command
}
