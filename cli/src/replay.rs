//! `spine replay`: reads the log again into a fresh store, calling nothing, and compares it with another.

mod outcome;
mod until;

use crate::{
    adapters::{self, AnyLog, LogUrl, SettingsFile, StoreUrl},
    exit::{Exit, Failure},
    output,
};
use futures::stream::{self, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use outcome::Outcome;
use spine_log::{EventLog, TopicPartition};
use spine_schemas::codec::SchemaBook;
use spine_workers::{Clock, SystemClock, replay};
use std::sync::Arc;
use until::Until;

/// Differences that are listed.
const DIFFERENCES: usize = 20;

/// Arguments of `spine replay`.
#[derive(clap::Args)]
#[command(
    after_help = "The log is opened for reading only, so a server may run meanwhile: what is \
    durable now is replayed.\nA file of SQLite has its name when all is in it; until then it is FILE.filling, which may be removed once no \
    replay runs.\nWith --compare and without --until, it goes exactly as far as that \
    store. A store that a server writes meanwhile moves on; stop the server, or compare a copy."
)]
pub(crate) struct Args {
    /// The log: embedded:DIR or kafka://HOST:PORT/PREFIX
    #[arg(
        long,
        value_name = "URL",
        env = "SPINE_LOG",
        default_value = "embedded:./spine-data/log"
    )]
    log: LogUrl,
    /// Further settings of the Kafka client, name=value a line
    #[arg(long, value_name = "FILE", env = "SPINE_LOG_CONFIG")]
    log_config: Option<SettingsFile>,
    /// Further settings of the CQL client, name=value a line
    #[arg(long, value_name = "FILE", env = "SPINE_STORE_CONFIG")]
    store_config: Option<SettingsFile>,
    /// The store to make: FILE or cql://HOST:PORT/KEYSPACE; refused if it is there
    #[arg(long, value_name = "STORE")]
    to: StoreUrl,
    /// Ends with this time (RFC 3339) or with this offset, both included
    #[arg(long, value_name = "TIME|OFFSET")]
    until: Option<Until>,
    /// Compares with this store and lists what differs
    #[arg(long, value_name = "STORE")]
    compare: Option<StoreUrl>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// A partition and one past its last offset to replay.
struct Range {
    of: TopicPartition,
    end: u64,
}

/// Replays, then compares.
///
/// # Errors
/// When the log cannot be read, the target is there already, or the comparison finds a difference.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let client = args.store_client();
    adapters::check_fresh(&args.to, &client).await?;
    let log_client = args.log_config.clone().unwrap_or_default();
    let log = adapters::open_log_read_only(&args.log, &log_client).await?;
    let ranges = ranges(args, &log).await?;
    let started = SystemClock.now();
    let records = replay_all(args, &log, &ranges).await?;
    let took_ms = SystemClock.now().ms_since(started);
    let compared = match &args.compare {
        Some(with) => Some(adapters::compare(&args.to, with, &client, DIFFERENCES).await?),
        None => None,
    };
    let outcome = Outcome {
        to: args.to.to_string(),
        with: args.compare.as_ref().map(ToString::to_string),
        ends: ranges.iter().map(|range| (range.of.partition, range.end)).collect(),
        records,
        took_ms,
        compared,
    };
    output::print(&if args.json { outcome.json() } else { outcome.text() })?;
    match outcome.difference() {
        None => Ok(()),
        Some(what) => Err(Failure::new(Exit::Different, what)),
    }
}

impl Args {
    fn store_client(&self) -> SettingsFile {
        self.store_config.clone().unwrap_or_default()
    }
}

async fn ranges(args: &Args, log: &AnyLog) -> Result<Vec<Range>, Failure> {
    let partitions = replay::partitions(log, &args.log.steps()).await?;
    let stored = match &args.compare {
        Some(with) => Some(adapters::progress_of(with, &args.store_client()).await?),
        None => None,
    };
    if let (Some(Until::Offset(_)), true) = (&args.until, partitions.len() > 1) {
        let message = format!(
            "--until with an offset needs one partition, this log has {}",
            partitions.len()
        );
        return Err(Failure::new(Exit::Usage, message).remedy("name a time"));
    }
    let mut ranges = Vec::with_capacity(partitions.len());
    for of in partitions {
        let bounds = log.bounds(&of).await?;
        if bounds.first != 0 {
            let message = format!("{of} begins at offset {}, not at 0", bounds.first);
            return Err(Failure::new(Exit::Refused, message)
                .remedy("what was removed cannot be replayed: bring back the whole log"));
        }
        let end = match (&args.until, &stored) {
            (Some(until), _) => until.end(log, &of, bounds.end).await?,
            (None, Some(stored)) => end_of_store(log, &of, bounds.end, stored)?,
            (None, None) => bounds.end,
        };
        ranges.push(Range { of, end });
    }
    Ok(ranges)
}

/// The store to compare with says how far to go; it must be of this log.
fn end_of_store(
    log: &AnyLog,
    of: &TopicPartition,
    end: u64,
    stored: &[(u32, spine_store::Progress)],
) -> Result<u64, Failure> {
    let Some((_, progress)) = stored.iter().find(|(partition, _)| *partition == of.partition)
    else {
        return Ok(0);
    };
    if progress.log_id != log.log_id() {
        let message =
            format!("that store was folded from log {}, this is {}", progress.log_id, log.log_id());
        return Err(Failure::new(Exit::Refused, message).remedy("name the log that belongs to it"));
    }
    if progress.offset >= end {
        let message =
            format!("that store is at offset {} of {of}, which ends before", progress.offset);
        return Err(Failure::new(Exit::Refused, message)
            .remedy("the log was rolled back: bring the one that belongs to the store"));
    }
    Ok(progress.offset + 1)
}

async fn replay_all(args: &Args, log: &AnyLog, ranges: &[Range]) -> Result<u64, Failure> {
    let book = Arc::new(SchemaBook::compiled_in());
    adapters::learn_schemas(log, &book).await?;
    let fresh = adapters::make_store(&args.to, &args.store_client(), &book).await?;
    let bar = bar(ranges.iter().map(|range| range.end).sum());
    let (bar, book) = (&bar, &book);
    let replays = ranges.iter().map(|Range { of, end }| {
        let mut shown = 0;
        let tick = move |done: replay::Replayed| {
            bar.inc(done.records - shown);
            shown = done.records;
        };
        Box::pin(replay::replay(log, fresh.store(), of, *end, book, tick))
    });
    let mut replays = stream::iter(replays).buffer_unordered(replay::AT_ONCE);
    let mut records = 0;
    while let Some(done) = replays.next().await {
        records += done?.records;
    }
    drop(replays);
    bar.finish_and_clear();
    fresh.finish().await?;
    Ok(records)
}

/// A bar on a terminal; nothing where nobody looks.
fn bar(records: u64) -> ProgressBar {
    if !output::is_watched() {
        return ProgressBar::hidden();
    }
    let form = "{wide_bar} {human_pos}/{human_len} records, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(records).with_style(style)
}

#[cfg(test)]
mod tests;
