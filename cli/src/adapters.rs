//! The one place that names adapters: which log and which store a URL means.
//!
//! One adapter of each kind is in this build, so the choices are plain aliases; with a second one they
//! become enums, and nothing else in this crate changes.

use crate::exit::{Exit, Failure};
use spine_log::embedded::{Clock, DatumSchema, Driver, EmbeddedLog, Options, OsDisk, TopicOptions};
use spine_schemas::codec;
use spine_store::Progress;
use spine_store::sqlite::{self, SqliteStore};
pub(crate) use spine_store::sqlite::{Comparison, Difference};
#[cfg(test)]
pub(crate) use spine_store::sqlite::{ProgressDifference, TableComparison};
use spine_workers::{Clock as _, SystemClock};
use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

/// The log of this build.
pub(crate) type AnyLog = EmbeddedLog;
/// The store of this build.
pub(crate) type AnyStore = SqliteStore;

/// The topic of step events.
pub(crate) const STEPS: &str = "spine.steps";
/// The topic of dead letters: same partitions, same numbers.
pub(crate) const LETTERS: &str = "spine.steps.dlq";

/// Where the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogUrl {
    /// `embedded:DIR`
    Embedded(PathBuf),
}

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// `sqlite:FILE`
    Sqlite(PathBuf),
}

/// A store file: `FILE`, or `sqlite:FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreFile(PathBuf);

impl StoreFile {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for StoreFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(':') {
            let StoreUrl::Sqlite(file) = text.parse()?;
            return Ok(Self(file));
        }
        if text.is_empty() { Err("it names no file".into()) } else { Ok(Self(text.into())) }
    }
}

impl FromStr for LogUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("embedded", "")) => Err("embedded: needs a directory".into()),
            Some(("embedded", dir)) => Ok(Self::Embedded(dir.into())),
            Some(("kafka", _)) => Err("kafka:// is not in this build yet; use embedded:DIR".into()),
            Some(_) | None => Err("it is not embedded:DIR".into()),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", "")) => Err("sqlite: needs a file".into()),
            Some(("sqlite", file)) => Ok(Self::Sqlite(file.into())),
            Some(("cql", _)) => Err("cql:// is not in this build yet; use sqlite:FILE".into()),
            Some(_) | None => Err("it is not sqlite:FILE".into()),
        }
    }
}

/// How the log is opened for writing.
pub(crate) struct LogSettings {
    /// Partitions of a new log; a log that exists must have as many.
    pub(crate) partitions: u32,
    /// While less is free on the disk, new work is refused.
    pub(crate) headroom_bytes: u64,
    /// Told to whoever finds the log in use.
    pub(crate) owner: String,
}

/// Opens the log for writing, or makes it. Blocks.
///
/// # Errors
/// When it is in use, damaged, or made otherwise.
pub(crate) fn open_log(url: &LogUrl, settings: &LogSettings) -> Result<AnyLog, Failure> {
    let LogUrl::Embedded(dir) = url;
    let topics = vec![
        topic(STEPS, settings.partitions, Some(steps_datum())),
        topic(LETTERS, settings.partitions, Some(letters_datum())),
    ];
    let options = Options {
        headroom_bytes: settings.headroom_bytes,
        owner: settings.owner.clone(),
        ..Options::new(dir, topics)
    };
    let clock: Clock = Arc::new(|| SystemClock.now());
    EmbeddedLog::open(&options, Arc::new(OsDisk), clock, Driver::Thread).map_err(Failure::from)
}

/// Opens the store, or makes it. Blocks.
///
/// # Errors
/// When the file is not a store of this version.
pub(crate) fn open_store(url: &StoreUrl) -> Result<AnyStore, Failure> {
    let StoreUrl::Sqlite(file) = url;
    make_parent(file)?;
    SqliteStore::open(&sqlite::Options::file(file)).map_err(Failure::from)
}

/// Opens what is durable in a log now, also while a server writes it. Blocks.
///
/// # Errors
/// When there is no log, or it is damaged.
pub(crate) fn open_log_read_only(url: &LogUrl) -> Result<AnyLog, Failure> {
    let LogUrl::Embedded(dir) = url;
    EmbeddedLog::open_read_only(dir, Arc::new(OsDisk)).map_err(Failure::from)
}

/// How far a store file is, by partition. Blocks.
///
/// # Errors
/// When the file is not a store of this version.
pub(crate) fn progress_of(file: &Path) -> Result<Vec<(u32, Progress)>, Failure> {
    let store = sqlite::open_read_only(file)?;
    Ok(store.all_progress()?)
}

/// Compares two store files. Blocks.
///
/// # Errors
/// When one of them is not a store of this version.
pub(crate) fn compare(left: &Path, right: &Path, limit: usize) -> Result<Comparison, Failure> {
    sqlite::compare(left, right, limit).map_err(Failure::from)
}

/// The directory that keeps what must stay with the log, whatever becomes of the store.
pub(crate) fn home_of(url: &LogUrl) -> &Path {
    let LogUrl::Embedded(dir) = url;
    dir
}

fn make_parent(file: &Path) -> Result<(), Failure> {
    let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(parent).map_err(|error| {
        Failure::new(Exit::Refused, format!("could not make {}: {error}", parent.display()))
    })
}

fn topic(name: &str, partitions: u32, datum: Option<DatumSchema>) -> TopicOptions {
    TopicOptions { name: name.to_owned(), partitions, datum }
}

fn steps_datum() -> DatumSchema {
    let json = codec::step_event_schema().to_owned();
    DatumSchema { json, fingerprint: codec::step_event_fingerprint() }
}

fn letters_datum() -> DatumSchema {
    let json = codec::dead_letter_schema().to_owned();
    DatumSchema { json, fingerprint: codec::dead_letter_fingerprint() }
}
