//! The flags of `spine serve`, each with unit, default and environment name.

use super::{
    breaker::BreakerArgs,
    push::PushArgs,
    roles::{Role, Roles},
};
use crate::{
    adapters::{LogUrl, SettingsFile, StoreUrl},
    exit::{Exit, Failure},
};
use spine_schemas::check_tenant;
use spine_workers::Config;
use std::{net::SocketAddr, time::Duration};

/// Arguments of `spine serve`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Address to listen on; loopback only in this build
    #[arg(
        long, value_name = "HOST:PORT", env = "SPINE_LISTEN", default_value = "127.0.0.1:7700",
        value_parser = super::listen::parse
    )]
    pub(crate) listen: SocketAddr,
    /// Where the log is: embedded:DIR or kafka://HOST:PORT/PREFIX
    #[arg(
        long,
        value_name = "URL",
        env = "SPINE_LOG",
        default_value = "embedded:./spine-data/log"
    )]
    pub(crate) log: LogUrl,
    /// Where the store is: sqlite:FILE or cql://HOST:PORT/KEYSPACE
    #[arg(
        long,
        value_name = "URL",
        env = "SPINE_STORE",
        default_value = "sqlite:./spine-data/store.db"
    )]
    pub(crate) store: StoreUrl,
    /// Further settings of the Kafka client, name=value a line, by librdkafka's names
    #[arg(long, value_name = "FILE", env = "SPINE_LOG_CONFIG")]
    pub(crate) log_config: Option<SettingsFile>,
    /// Further settings of the CQL client, name=value a line
    #[arg(long, value_name = "FILE", env = "SPINE_STORE_CONFIG")]
    pub(crate) store_config: Option<SettingsFile>,
    /// What this process does
    #[arg(
        long, value_name = "ROLE", env = "SPINE_ROLES", value_delimiter = ',',
        default_values = ["ingest", "workers"]
    )]
    pub(crate) roles: Vec<Role>,
    /// Where the other processes reach this one, if not by --listen
    #[arg(long, value_name = "HOST:PORT", env = "SPINE_ADVERTISE")]
    pub(crate) advertise: Option<String>,
    /// Goes on where another store of one process claimed; only once that server is gone for good
    #[arg(long, env = "SPINE_TAKE_OVER")]
    pub(crate) take_over: bool,
    /// Partitions of a new embedded log; fixed for its life
    #[arg(
        long, value_name = "N", env = "SPINE_PARTITIONS", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1024)
    )]
    pub(crate) partitions: u32,
    /// A host on which tools may be called: host, host:port, *.suffix or loopback; replaces the
    /// default, which is loopback (repeatable)
    #[arg(long, value_name = "HOST", env = "SPINE_ALLOW_TOOL_HOST", value_delimiter = ',')]
    pub(crate) allow_tool_host: Vec<String>,
    /// A further Host under which clients may reach this server (repeatable)
    #[arg(long, value_name = "HOST", env = "SPINE_ALLOW_HOST", value_delimiter = ',')]
    pub(crate) allow_host: Vec<String>,
    /// A tenant whose plans may inject faults (repeatable)
    #[arg(long, value_name = "TENANT", env = "SPINE_TEST_TENANT", value_delimiter = ',')]
    pub(crate) test_tenant: Vec<String>,
    /// Attempts that run at one time in a partition
    #[arg(long, value_name = "N", env = "SPINE_ATTEMPTS", default_value_t = 256)]
    pub(crate) attempts: usize,
    /// Attempts that run at one time in a run
    #[arg(long, value_name = "N", env = "SPINE_ATTEMPTS_PER_RUN", default_value_t = 32)]
    pub(crate) attempts_per_run: usize,
    /// Attempts that run at one time for a tenant, in a partition [default: three quarters of --attempts, or all of
    /// them if those are fewer than 64]
    #[arg(long, value_name = "N", env = "SPINE_ATTEMPTS_PER_TENANT")]
    pub(crate) attempts_per_tenant: Option<usize>,
    /// Attempts that run at one time on a tool
    #[arg(long, value_name = "N", env = "SPINE_ATTEMPTS_PER_TOOL", default_value_t = 128)]
    pub(crate) attempts_per_tool: usize,
    #[command(flatten)]
    pub(crate) breaker: BreakerArgs,
    #[command(flatten)]
    pub(crate) push: PushArgs,
    /// A run that no event has moved for so long is stalled, and a partition in which nothing has happened for so
    /// long although something should is unattended; in seconds, with 0 none is
    #[arg(long, value_name = "SECONDS", env = "SPINE_STALL_AFTER", default_value_t = 900)]
    pub(crate) stall_after: u64,
    /// How long running attempts may take to end when the server stops, in milliseconds
    #[arg(long, value_name = "MS", env = "SPINE_DRAIN_MS", default_value_t = 10_000)]
    pub(crate) drain_ms: u64,
    /// Claims a log that was restored from a backup: unfinished careful steps become unknown
    #[arg(long, env = "SPINE_RESTORED")]
    pub(crate) restored: bool,
    /// Form of the server's own log on standard error
    #[arg(long, value_name = "FORM", env = "SPINE_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// What the server's own log holds: error, warn, info, debug, or module=level pairs
    #[arg(long, value_name = "LEVEL", env = "SPINE_LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: String,
    /// While less is free on the disk, in bytes, new work is refused and outcomes are taken
    #[arg(
        long, value_name = "BYTES", env = "SPINE_COMMIT_HEADROOM_BYTES",
        default_value_t = 64 * 1024 * 1024
    )]
    pub(crate) commit_headroom_bytes: u64,
}

/// Forms of the server's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// An object a line.
    Json,
}

impl Args {
    /// Refuses what contradicts itself.
    ///
    /// # Errors
    /// Names the flag.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        for tenant in &self.test_tenant {
            check_tenant(tenant).map_err(|error| {
                Failure::new(Exit::Usage, format!("--test-tenant {tenant}: {error}"))
            })?;
        }
        self.check_roles()?;
        self.breaker.check()?;
        self.push.check(&self.allow_tool_host)?;
        let limits = [
            ("--attempts", self.attempts),
            ("--attempts-per-run", self.attempts_per_run),
            ("--attempts-per-tenant", self.attempts_per_tenant()),
            ("--attempts-per-tool", self.attempts_per_tool),
        ];
        match limits.into_iter().find(|(_, limit)| *limit == 0) {
            None => Ok(()),
            Some((flag, _)) => {
                Err(Failure::new(Exit::Usage, format!("{flag} 0: nothing would run")))
            }
        }
    }

    /// Where there are many slots, some are left to others. Few are worth more to whoever has them.
    fn attempts_per_tenant(&self) -> usize {
        let left = if self.attempts >= 64 { self.attempts / 4 } else { 0 };
        self.attempts_per_tenant.unwrap_or(self.attempts - left)
    }

    /// What this process does.
    pub(crate) fn roles(&self) -> Roles {
        Roles::of(&self.roles)
    }

    /// Whether a group assigns the partitions, since other processes may own some.
    pub(crate) fn is_shared(&self) -> bool {
        match (&self.log, &self.store) {
            (LogUrl::Kafka(_), StoreUrl::Cql(_)) => true,
            (LogUrl::Kafka(_), StoreUrl::Sqlite(_)) | (LogUrl::Embedded(_), _) => false,
        }
    }

    fn check_roles(&self) -> Result<(), Failure> {
        if self.is_shared() || self.roles().is_whole() {
            return Ok(());
        }
        let message =
            format!("--roles apart need Kafka and CQL, not {} and {}", self.log, self.store);
        Err(Failure::new(Exit::Usage, message).remedy(
            "an embedded log and an SQLite file belong to one process: leave --roles out, or name \
             --log kafka://... and --store cql://...",
        ))
    }

    /// What the owners are told.
    pub(crate) fn config(&self, worker: String, address: String, installation_id: &str) -> Config {
        Config {
            topic: self.log.steps(),
            worker,
            address,
            installation_id: installation_id.into(),
            exclusive: match self.log {
                LogUrl::Embedded(_) => true,
                LogUrl::Kafka(_) => false,
            },
            private_store: self.store.is_private() && !matches!(self.log, LogUrl::Embedded(_)),
            take_over: self.take_over,
            restored: self.restored,
            attempts: self.attempts,
            attempts_per_run: self.attempts_per_run,
            attempts_per_tenant: self.attempts_per_tenant(),
            attempts_per_tool: self.attempts_per_tool,
            drain: Duration::from_millis(self.drain_ms),
            stall_after: Duration::from_secs(self.stall_after),
            lifecycle: self.push.is_on().then(|| self.log.lifecycle()),
        }
    }
}
