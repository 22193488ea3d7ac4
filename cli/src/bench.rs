//! `spine bench`: measures this very binary on this machine, against what the machine gives and against peers.

use crate::{
    adapters::{self, AnyLog, AnyStore, LogSettings, LogUrl, StoreUrl},
    exit::{Exit, Failure},
    output,
};
use spine_bench::{Cluster, Error, Opener, Settings, Size, jobs, jobs::Job, names};
use spine_schemas::codec::SchemaBook;
use std::{path::PathBuf, sync::Arc};

/// Arguments of `spine bench`.
#[derive(clap::Args)]
#[command(after_help = help())]
pub(crate) struct Args {
    /// What is measured; without a name, everything
    #[arg(value_name = "JOB", value_parser = job)]
    jobs: Vec<Job>,
    /// Measures only the row of this name, such as steps.journal.1, or those that begin so, such as steps. (repeatable)
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// Also measures on this Kafka: kafka://HOST:PORT; topics are made and removed
    #[arg(long, value_name = "URL", env = "SPINE_BENCH_LOG", requires = "store")]
    log: Option<String>,
    /// Also measures on this ScyllaDB or Cassandra: cql://HOST:PORT; keyspaces are made and removed
    #[arg(long, value_name = "URL", env = "SPINE_BENCH_STORE", requires = "log")]
    store: Option<String>,
    /// Where files NAME.pid name the servers' processes, to see their share of the processors
    #[arg(long, value_name = "DIR", env = "SPINE_BENCH_SERVERS_DIR")]
    servers_dir: Option<PathBuf>,
    /// Also measures the peers whose programs lie here, such as bench/peers of the sources
    #[arg(long, value_name = "DIR", env = "SPINE_BENCH_PEERS")]
    peers: Option<PathBuf>,
    /// How often each side of a comparison is measured; the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Does as little as possible: shows that everything works, its figures say nothing
    #[arg(long)]
    smoke: bool,
    /// Where logs and stores are made, and removed; the disk that is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Prints rows as JSON, an object a line, with all that the ratios come from
    #[arg(long)]
    json: bool,
    /// Serves the bare HTTP floor that servers are compared with
    #[arg(long, value_name = "FILE", hide = true)]
    serve_floor: Option<PathBuf>,
}

fn help() -> String {
    let mut text = String::from("Jobs:\n");
    for job in Job::ALL {
        text.push_str(&format!("  {:<10} {}\n", job.name(), job.about()));
    }
    text + "\nEvery figure stands beside another one of the same run; ratios travel between machines, \
            figures do not.\nbench/README.md of the sources says what each job does."
}

fn job(name: &str) -> Result<Job, String> {
    Job::ALL.into_iter().find(|job| job.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Job::ALL.into_iter().map(Job::name).collect();
        format!("there are the jobs {}", names.join(", "))
    })
}

/// Measures, and prints the rows of each job when it is done, and a table at the end.
///
/// # Errors
/// When something could not be measured. Slow is not an error.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let settings = args.settings()?;
    let jobs = args.wanted_jobs(&settings)?;
    jobs::heat(&settings, &Adapters, &jobs).await.map_err(failure)?;
    let mut rows = Vec::new();
    for job in &jobs {
        let measuring = Box::pin(jobs::run(&settings, &Adapters, *job));
        for row in measuring.await.map_err(failure)? {
            output::print(&match args.json {
                true => serde_json::to_string(&row).map(|line| line + "\n").unwrap_or_default(),
                false => spine_bench::block(&row),
            })?;
            rows.push(row);
        }
    }
    let missed = names::missed(&settings, &jobs, &rows);
    let missed: String = missed.into_iter().map(|line| line + "\n").collect();
    match args.json {
        true => {
            output::complain(&missed);
            Ok(())
        }
        false => output::print(&format!("\n{}{missed}", spine_bench::table(&rows))),
    }
}

/// Serves the floor in this process, if that is what was asked.
pub(crate) fn floor(args: &Args) -> Option<Result<(), Failure>> {
    let file = args.serve_floor.as_ref()?;
    Some(spine_bench::ceilings::floor::serve(file).map_err(failure))
}

impl Args {
    /// The jobs that give a wanted row. Each wish must mean one.
    fn wanted_jobs(&self, settings: &Settings) -> Result<Vec<Job>, Failure> {
        let named = if self.jobs.is_empty() { &Job::ALL[..] } else { &self.jobs };
        for only in &settings.only {
            let alone = Settings { only: vec![only.clone()], ..settings.clone() };
            if !named.iter().any(|job| names::is_wanted(&alone, *job)) {
                let rows: Vec<&str> = named.iter().flat_map(|job| names::of(*job)).collect();
                return Err(Failure::new(Exit::Usage, format!("--only {only}: no row begins so"))
                    .remedy(format!("the rows are {}", rows.join(", "))));
            }
        }
        let wanted = named.iter().copied().filter(|job| names::is_wanted(settings, *job));
        Ok(wanted.collect())
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let usage = |error: String| Failure::new(Exit::Usage, error);
        if let Some(log) = &self.log {
            let url: LogUrl =
                log.parse().map_err(|error| usage(format!("--log {log}: {error}")))?;
            if let LogUrl::Embedded(_) = url {
                return Err(usage("--log names servers: kafka://HOST:PORT".into())
                    .remedy("leave it out for the embedded log, which is measured anyway"));
            }
        }
        if let Some(store) = &self.store
            && !store.starts_with("cql://")
        {
            return Err(usage("--store names servers: cql://HOST:PORT".into())
                .remedy("leave it out for SQLite, which is measured anyway"));
        }
        let spine = std::env::current_exe().map_err(|error| {
            Failure::new(Exit::Failed, format!("could not find this binary: {error}"))
        })?;
        let cluster = self.log.clone().zip(self.store.clone());
        Ok(Settings {
            spine,
            dir: self.dir.clone(),
            size: if self.smoke { Size::Smoke } else { Size::Full },
            rounds: if self.smoke { 1 } else { self.rounds as usize },
            cluster: cluster.map(|(log, store)| Cluster {
                log: log.trim_end_matches('/').to_owned(),
                store: store.trim_end_matches('/').to_owned(),
                servers: self.servers_dir.clone(),
            }),
            peers: self.peers.clone(),
            only: self.only.clone(),
        })
    }
}

fn failure(error: Error) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}

/// Opens what the benchmark fills and reads itself, as a server does.
#[derive(Clone)]
struct Adapters;

impl Opener for Adapters {
    type Log = AnyLog;
    type Store = AnyStore;

    async fn log(&self, url: &str) -> spine_bench::Result<(AnyLog, Arc<str>)> {
        let url: LogUrl = url.parse().map_err(Error::Server)?;
        let settings = LogSettings {
            partitions: 1,
            headroom_bytes: 0,
            owner: format!("process {} (spine bench)", std::process::id()),
            shared: true,
            lifecycle: false,
            client: Default::default(),
        };
        let log = adapters::open_log(&url, &settings).await.map_err(said)?;
        Ok((log, url.steps()))
    }

    async fn close(&self, log: AnyLog) {
        log.close().await;
    }

    async fn store(&self, url: &str) -> spine_bench::Result<AnyStore> {
        let url: StoreUrl = url.parse().map_err(Error::Server)?;
        let book = Arc::new(SchemaBook::compiled_in());
        adapters::open_store(&url, &Default::default(), &book).await.map_err(said)
    }
}

fn said(failure: Failure) -> Error {
    Error::Server(failure.sentence())
}
