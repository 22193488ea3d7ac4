//! Where the demo's log and stores are: in a directory, or on the servers that somebody named, under names
//! that nobody else uses.

use crate::{
    adapters::{Cluster, LogUrl, StoreUrl},
    exit::{Exit, Failure},
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Partitions of the demo's topics.
const PARTITIONS: &str = "3";
/// A killed member of a group is given up after this.
const SESSION: (&str, &str) = ("session.timeout.ms", "6000");

/// Where log, stores and the server's own log are.
pub(super) struct Place {
    directory: Directory,
    log: Option<Cluster>,
    store: Option<Cluster>,
}

enum Directory {
    Kept(PathBuf),
    Passing(TempDir),
}

impl Place {
    /// A place for a demo. URLs of files are refused: the directory holds those.
    ///
    /// # Errors
    /// When the directory is not new, or a URL names no servers.
    pub(super) fn new(
        keep: Option<&Path>,
        log: Option<&LogUrl>,
        store: Option<&StoreUrl>,
        mark: &str,
    ) -> Result<Self, Failure> {
        let log = match log {
            None => None,
            Some(LogUrl::Kafka(cluster)) => Some(topics(cluster, mark)),
            Some(LogUrl::Embedded(_)) => return Err(no_servers("--log kafka://HOST:PORT")),
        };
        let store = match store {
            None => None,
            Some(StoreUrl::Cql(cluster)) => Some(keyspace(cluster, mark)),
            Some(StoreUrl::Sqlite(_)) => {
                return Err(no_servers("--store cql://HOST:PORT/KEYSPACE"));
            }
        };
        Ok(Self { directory: directory(keep)?, log, store })
    }

    /// The directory, at least of the server's own log.
    pub(super) fn directory(&self) -> &Path {
        match &self.directory {
            Directory::Kept(path) => path,
            Directory::Passing(dir) => dir.path(),
        }
    }

    /// The log's URL.
    pub(super) fn log(&self) -> String {
        match &self.log {
            None => format!("embedded:{}", self.directory().join("log").display()),
            Some(cluster) => LogUrl::Kafka(cluster.clone()).to_string(),
        }
    }

    /// The URL of a store.
    pub(super) fn store(&self, name: &str) -> String {
        match &self.store {
            None => {
                format!("sqlite:{}", self.directory().join(name).with_extension("db").display())
            }
            Some(cluster) => {
                let name = format!("{}_{name}", cluster.name);
                StoreUrl::Cql(Cluster { name, ..cluster.clone() }).to_string()
            }
        }
    }

    /// The command that must come before the first start, if any.
    pub(super) fn preparation(&self) -> Option<Vec<String>> {
        self.log.as_ref()?;
        let create = ["topics", "create", "--log", &self.log(), "--partitions", PARTITIONS];
        Some(create.into_iter().chain(["--replication", "1"]).map(str::to_owned).collect())
    }

    /// Whether a killed server is missed by a clock alone, since no lock tells that it is gone.
    pub(super) fn is_cluster(&self) -> bool {
        self.log.is_some()
    }
}

fn topics(cluster: &Cluster, mark: &str) -> Cluster {
    let mut topics = Cluster { name: format!("{}.demo-{mark}", cluster.name), ..cluster.clone() };
    let (name, value) = SESSION;
    topics.settings.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    topics
}

fn keyspace(cluster: &Cluster, mark: &str) -> Cluster {
    Cluster { name: format!("{}_demo_{mark}", cluster.name), ..cluster.clone() }
}

fn no_servers(form: &str) -> Failure {
    Failure::new(Exit::Usage, "the demo keeps files in a directory of its own")
        .remedy(format!("use --keep DIR for those, or name servers: {form}"))
}

fn directory(keep: Option<&Path>) -> Result<Directory, Failure> {
    let Some(keep) = keep else {
        let dir = TempDir::with_prefix("spine-demo-").map_err(|error| {
            Failure::new(Exit::Failed, format!("could not make a directory: {error}"))
        })?;
        return Ok(Directory::Passing(dir));
    };
    let failed = |error| Failure::new(Exit::Failed, format!("{}: {error}", keep.display()));
    std::fs::create_dir_all(keep).map_err(failed)?;
    let is_empty = std::fs::read_dir(keep).map_err(failed)?.next().is_none();
    if !is_empty {
        let message = format!("{} is not empty", keep.display());
        return Err(Failure::new(Exit::Usage, message).remedy("name a new directory"));
    }
    Ok(Directory::Kept(keep.to_owned()))
}
