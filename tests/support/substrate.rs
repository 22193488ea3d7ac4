//! On what the tests run: files of this machine, or real servers that somebody started and named.
//!
//! `SPINE_IT_ON` is `embedded` (default), `kafka+sqlite` or `kafka+cql`. The servers are named by
//! `SPINE_TEST_KAFKA`, `SPINE_TEST_CQL` and `SPINE_TEST_SERVERS_DIR`, as `compose/servers env` prints
//! them.

use crate::spine;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// A member of a group that was killed is given up after this.
pub const SESSION_MS: u64 = 3000;

/// Log and store of the servers under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The embedded log and SQLite.
    Embedded,
    /// Kafka, and SQLite of one process.
    KafkaSqlite,
    /// Kafka and CQL.
    KafkaCql,
}

impl On {
    /// As `SPINE_IT_ON` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::KafkaSqlite => "kafka+sqlite",
            Self::KafkaCql => "kafka+cql",
        }
    }
}

/// What `SPINE_IT_ON` says.
///
/// # Panics
/// When it says nothing known.
pub fn chosen() -> On {
    match std::env::var("SPINE_IT_ON").as_deref() {
        Err(_) | Ok("embedded") => On::Embedded,
        Ok("kafka+sqlite") => On::KafkaSqlite,
        Ok("kafka+cql") => On::KafkaCql,
        Ok(other) => panic!("SPINE_IT_ON={other}: it is embedded, kafka+sqlite or kafka+cql"),
    }
}

/// Whether a test is about files of the embedded log or of SQLite, and there are none: says so.
#[must_use]
pub fn is_without_files(why: &str) -> bool {
    let is_without = chosen() != On::Embedded;
    if is_without {
        println!("not here: {why}");
    }
    is_without
}

/// The arguments with which a benchmark measures on the chosen servers; `None` where it has nothing of
/// its own to measure.
#[must_use]
pub fn bench_arguments() -> Option<Vec<String>> {
    match chosen() {
        On::Embedded => Some(Vec::new()),
        On::KafkaSqlite => None,
        On::KafkaCql => {
            let servers = Servers::named()?;
            let dir = servers.dir.display().to_string();
            let (log, store) =
                (format!("kafka://{}", servers.kafka), format!("cql://{}", servers.cql));
            let pairs = [("--log", log), ("--store", store), ("--servers-dir", dir)];
            Some(pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect())
        }
    }
}

/// The servers under which tests may make topics and keyspaces.
#[derive(Clone, Debug)]
pub struct Servers {
    /// `host:port` of the brokers.
    pub kafka: String,
    /// `host:port` of the nodes.
    pub cql: String,
    /// Where `compose/servers` keeps them.
    pub dir: PathBuf,
}

impl Servers {
    /// Those that were named; `None` with a plain word where there are none.
    ///
    /// # Panics
    /// When there are none and `SPINE_LIVE=required`.
    pub fn named() -> Option<Self> {
        let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let all = (of("SPINE_TEST_KAFKA"), of("SPINE_TEST_CQL"), of("SPINE_TEST_SERVERS_DIR"));
        if let (Some(kafka), Some(cql), Some(dir)) = all {
            return Some(Self { kafka, cql, dir: dir.into() });
        }
        let is_required = std::env::var("SPINE_LIVE").is_ok_and(|live| live == "required");
        assert!(!is_required, "SPINE_LIVE=required, but no servers were named");
        println!("skipped: no Kafka and Cassandra were named (make servers-up)");
        None
    }

    /// A log of its own under these brokers, its topics made.
    ///
    /// # Panics
    /// When they cannot be made.
    pub fn fresh_log(&self, partitions: u32, replication: u32) -> String {
        let prefix = fresh_name();
        let url = format!("kafka://{}/{prefix}?session.timeout.ms={SESSION_MS}", self.kafka);
        let (partitions, replication) = (partitions.to_string(), replication.to_string());
        let made = spine(&["topics", "create", "--log", &url, "--partitions", &partitions])
            .args(["--replication", &replication])
            .output()
            .expect("the binary runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        url
    }

    /// The URL of a keyspace of its own, to be made by whoever opens it.
    pub fn fresh_store(&self) -> String {
        format!("cql://{}/{}", self.cql, fresh_name())
    }

    /// Does something to one of the servers, by `compose/servers`: stop, kill, start, pause, resume.
    ///
    /// # Panics
    /// When it does not succeed.
    pub fn does(&self, verb: &str, name: &str) {
        let script = crate::binary::root().join("compose/servers");
        let out = Command::new(script)
            .args([verb, name, "--dir"])
            .arg(&self.dir)
            .output()
            .expect("the script runs");
        assert!(out.status.success(), "{verb} {name}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

/// A name that no other test has had.
fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mark = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mark = mark.expect("a clock after 1970").as_millis() as u64 % 1_000_000_000;
    format!("t{mark:x}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes a keyspace, so that the servers do not fill up with those of tests. One that was never made need not go.
///
/// # Panics
/// When it stays, unless the test has failed already.
pub fn remove_store(url: &str) {
    if !url.starts_with("cql:") {
        return;
    }
    let out = spine(&["stores", "remove", "--yes", "--store", url]).output();
    let out = out.expect("the binary runs");
    let said = String::from_utf8_lossy(&out.stderr);
    let is_gone = out.status.success() || said.contains("there is no store");
    assert!(is_gone || std::thread::panicking(), "{url} could not be removed: {said}");
}

/// Log and store for a server in a directory.
pub(crate) fn places(dir: &Path) -> (String, String) {
    let sqlite = || format!("sqlite:{}", dir.join("store.db").display());
    let servers = || Servers::named().expect("SPINE_IT_ON names servers: they must be there");
    match chosen() {
        On::Embedded => (format!("embedded:{}", dir.join("log").display()), sqlite()),
        On::KafkaSqlite => (servers().fresh_log(1, 1), sqlite()),
        On::KafkaCql => (servers().fresh_log(1, 1), servers().fresh_store()),
    }
}
