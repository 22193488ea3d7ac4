//! Where one measurement's log and store are. Nobody else uses the names, and all of it is removed.

use crate::{
    cpu::{Usage, Watch, Watched},
    error::{Error, Result, tried},
    settings::{Parts, Settings},
};
use spine_log::EventLog;
use spine_store::RunStore;
use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    process::{Output, Stdio},
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{process::Command, time::interval};

/// How often a command is looked at while it runs: what it used after the last look is not seen.
const LOOK: Duration = Duration::from_millis(50);
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

    /// Bytes of an embedded log and of its store, whose server has stopped.
    pub(crate) fn stored_bytes(&self) -> Result<u64> {
        let files = files_below(self.dir.path())?;
        let is_stored = |path: &&(PathBuf, u64)| {
            path.0.extension().is_some_and(|end| end == "avro" || end == "db" || end == "db-wal")
        };
        Ok(files.iter().filter(is_stored).map(|(_, bytes)| bytes).sum())
    }

    /// The files of an embedded log.
    pub(crate) fn segments(&self) -> Result<Vec<PathBuf>> {
        let files = files_below(self.dir.path())?.into_iter().map(|(path, _)| path);
        Ok(files.filter(|path| path.extension().is_some_and(|end| end == "avro")).collect())
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
        printed(arguments, &output)
    }

    /// The same, and what the command and other processes used meanwhile.
    pub(crate) async fn watched_command(
        &self,
        arguments: &[&str],
        name: &str,
        others: Vec<Watched>,
    ) -> Result<(String, Option<Usage>)> {
        let mut command = command(&self.spine);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let process = tried(format!("run spine {}", arguments.join(" ")), spawned)?;
        let mut processes = others;
        processes.extend(process.id().map(|pid| Watched::new(name, pid)));
        let (mut watch, mut looks) = (Watch::begin(&processes), interval(LOOK));
        let mut ended = pin!(process.wait_with_output());
        let output = loop {
            tokio::select! {
                output = &mut ended => break output,
                _ = looks.tick() => watch.look(),
            }
        };
        let output = tried(format!("run spine {}", arguments.join(" ")), output)?;
        Ok((printed(arguments, &output)?, watch.end()))
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

/// All files below a directory, and their sizes.
fn files_below(dir: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let (mut dirs, mut files) = (vec![dir.to_owned()], Vec::new());
    while let Some(dir) = dirs.pop() {
        let what = || format!("look into {}", dir.display());
        for entry in tried(what(), std::fs::read_dir(&dir))? {
            let entry = tried(what(), entry)?;
            let about = tried(what(), entry.metadata())?;
            match about.is_dir() {
                true => dirs.push(entry.path()),
                false => files.push((entry.path(), about.len())),
            }
        }
    }
    Ok(files)
}

/// What a command printed that went well.
fn printed(arguments: &[&str], output: &Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Error::Server(format!("spine {}: {}", arguments.join(" "), words.trim())))
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
