//! The one place that names adapters: which log and which store a URL means, and how each is opened.

mod any_log;
mod any_store;
mod settings_file;
mod url;

pub(crate) use any_log::AnyLog;
pub(crate) use any_store::AnyStore;
pub(crate) use settings_file::SettingsFile;
pub(crate) use spine_store::{Comparison, Difference};
#[cfg(test)]
pub(crate) use spine_store::{ProgressDifference, TableComparison};
pub(crate) use url::{Cluster, LogUrl, StoreUrl};

use crate::exit::{Exit, Failure};
use spine_log::{
    embedded::{self, DatumSchema, Driver, EmbeddedLog, OsDisk, TopicOptions},
    kafka::{self, Access, BookEntry, KafkaLog, Membership},
};
use spine_schemas::codec::{self, SchemaBook};
use spine_store::{
    Progress,
    cql::{self, CqlStore},
    sqlite::{self, SqliteStore},
};
use spine_workers::{Clock as _, SystemClock};
use std::{path::Path, sync::Arc, time::Duration};

/// How the log is opened for writing.
pub(crate) struct LogSettings {
    /// Partitions of a new embedded log; a log that exists must have as many.
    pub(crate) partitions: u32,
    /// While less is free on the disk, new work is refused.
    pub(crate) headroom_bytes: u64,
    /// Told to whoever finds the log in use.
    pub(crate) owner: String,
    /// Whether other processes own partitions too, so that a group assigns them.
    pub(crate) shared: bool,
    /// Whether transitions are told on a topic of their own.
    pub(crate) lifecycle: bool,
    /// Settings of the Kafka client beside those of the URL.
    pub(crate) client: SettingsFile,
}

/// Opens the log for writing; an embedded one is made where there is none.
///
/// # Errors
/// When it is in use, damaged, out of reach, or made otherwise.
pub(crate) async fn open_log(url: &LogUrl, settings: &LogSettings) -> Result<AnyLog, Failure> {
    match url {
        LogUrl::Embedded(dir) => open_embedded(url, dir, settings).map(AnyLog::Embedded),
        LogUrl::Kafka(cluster) => {
            let mut options = kafka_options(cluster, &settings.client)?;
            options.membership =
                if settings.shared { Membership::Group } else { Membership::Alone };
            options.lifecycle = settings.lifecycle;
            open_kafka(&options).await
        }
    }
}

fn open_embedded(url: &LogUrl, dir: &Path, settings: &LogSettings) -> Result<EmbeddedLog, Failure> {
    let topic = |name: &str, datum| TopicOptions {
        name: name.to_owned(),
        partitions: settings.partitions,
        datum: Some(datum),
    };
    let control = TopicOptions { name: url.control().to_string(), partitions: 1, datum: None };
    let (steps, letters) =
        (topic(&url.steps(), steps_datum()), topic(&url.letters(), letters_datum()));
    let mut topics = vec![steps, letters, control];
    if settings.lifecycle {
        let (name, partitions) = (url.lifecycle().to_string(), settings.partitions);
        topics.push(TopicOptions { name, partitions, datum: None });
    }
    let options = embedded::Options {
        headroom_bytes: settings.headroom_bytes,
        owner: settings.owner.clone(),
        ..embedded::Options::new(dir, topics)
    };
    let clock: embedded::Clock = Arc::new(|| SystemClock.now());
    let log = EmbeddedLog::open(&options, Arc::new(OsDisk), clock, Driver::Thread)?;
    Ok(log)
}

fn steps_datum() -> DatumSchema {
    let json = codec::step_event_schema().to_owned();
    DatumSchema { json, fingerprint: codec::step_event_fingerprint() }
}

fn letters_datum() -> DatumSchema {
    let json = codec::dead_letter_schema().to_owned();
    DatumSchema { json, fingerprint: codec::dead_letter_fingerprint() }
}

fn kafka_options(cluster: &Cluster, client: &SettingsFile) -> Result<kafka::Options, Failure> {
    let mut options = kafka::Options::new(cluster.hosts.join(","));
    options.prefix = cluster.name.clone();
    options.settings = client.with(&cluster.settings);
    if let Some(session) = options.settings.remove("session.timeout.ms") {
        let millis = session.parse().map_err(|_| {
            Failure::new(Exit::Usage, format!("session.timeout.ms={session}: it is not a number"))
        })?;
        options.session_timeout = Duration::from_millis(millis);
    }
    Ok(options)
}

/// Opens the topics, says which promises are weaker than they could be, and lets other processes know
/// the schemas of this build.
async fn open_kafka(options: &kafka::Options) -> Result<AnyLog, Failure> {
    let log = KafkaLog::open(options).await?;
    for warning in log.warnings() {
        tracing::warn!("{warning}");
    }
    if options.access == Access::ReadWrite {
        for entry in book_entries() {
            log.publish_schema(&entry).await?;
        }
    }
    Ok(AnyLog::Kafka(log))
}

/// The schemas with which this build writes.
fn book_entries() -> Vec<BookEntry> {
    [
        ("spine.v1.StepEvent", codec::step_event_schema()),
        ("spine.v1.DeadLetter", codec::dead_letter_schema()),
    ]
    .map(|(subject, json)| {
        let fingerprint = codec::fingerprint_of(json).expect("a compiled-in schema can be read");
        BookEntry {
            fingerprint: format!("{fingerprint:016x}"),
            subject: subject.to_owned(),
            json: json.to_owned(),
        }
    })
    .to_vec()
}

/// Opens what is durable in a log now, also while servers write it.
///
/// # Errors
/// When there is no log, or it is damaged or out of reach.
pub(crate) async fn open_log_read_only(
    url: &LogUrl,
    client: &SettingsFile,
) -> Result<AnyLog, Failure> {
    match url {
        LogUrl::Embedded(dir) => {
            Ok(AnyLog::Embedded(EmbeddedLog::open_read_only(dir, Arc::new(OsDisk))?))
        }
        LogUrl::Kafka(cluster) => {
            let mut options = kafka_options(cluster, client)?;
            options.access = Access::ReadOnly;
            open_kafka(&options).await
        }
    }
}

/// What a log says about schemas that this build was not made with.
///
/// # Errors
/// When the log is out of reach.
pub(crate) async fn learn_schemas(log: &AnyLog, book: &SchemaBook) -> Result<(), Failure> {
    let AnyLog::Kafka(log) = log else { return Ok(()) };
    for entry in log.schemas().await? {
        // A schema of somebody else's records is no harm to ours.
        if let Err(error) = book.add(&entry.json) {
            tracing::debug!(fingerprint = entry.fingerprint, %error, "schema passed over");
        }
    }
    Ok(())
}

/// The installation's identity, where the log keeps it.
///
/// # Errors
/// On an embedded log, beside which it lies.
pub(crate) fn installation_id(log: &AnyLog) -> Result<String, Failure> {
    match log {
        AnyLog::Kafka(log) => Ok(log.identity().installation_id.clone()),
        AnyLog::Embedded(_) => Err(Failure::new(Exit::Failed, "an embedded log has a directory")),
    }
}

/// The topics that `topics create` makes.
pub(crate) struct NewTopics {
    /// Partitions of the topics of events and of letters.
    pub(crate) partitions: u32,
    /// Copies of each.
    pub(crate) replication: u16,
    /// Copies that must have a record before it is acknowledged.
    pub(crate) min_insync: u16,
    /// Becomes the log's identity, if it has none.
    pub(crate) log_id: String,
    /// Becomes the installation's identity, if it has none.
    pub(crate) installation_id: String,
}

/// Makes the topics of a log, or finds them made.
///
/// # Errors
/// When the cluster is out of reach or does not allow it.
pub(crate) async fn create_topics(
    cluster: &Cluster,
    client: &SettingsFile,
    new: NewTopics,
) -> Result<kafka::Creation, Failure> {
    let wanted = kafka::CreateTopics {
        partitions: new.partitions,
        replication: new.replication,
        min_insync: new.min_insync,
        log_id: new.log_id,
        installation_id: new.installation_id,
        schemas: book_entries(),
    };
    Ok(kafka::create(&kafka_options(cluster, client)?, &wanted).await?)
}

/// Opens the store, or makes it. It reads the events that it keeps by the log's schemas.
///
/// # Errors
/// When it is not a store of this version, or out of reach.
pub(crate) async fn open_store(
    url: &StoreUrl,
    client: &SettingsFile,
    book: &Arc<SchemaBook>,
) -> Result<AnyStore, Failure> {
    match url {
        StoreUrl::Sqlite(file) => {
            make_parent(file)?;
            Ok(AnyStore::Sqlite(SqliteStore::open(&sqlite::Options::file(file))?))
        }
        StoreUrl::Cql(cluster) => {
            let options = cql::Options { book: book.clone(), ..cql_options(cluster, client)? };
            Ok(AnyStore::Cql(CqlStore::open(&options).await?))
        }
    }
}

/// A store that a replay makes.
pub(crate) struct FreshStore {
    store: AnyStore,
    /// The file of SQLite, which has no name before all is in it.
    filling: Option<sqlite::Filling>,
}

impl FreshStore {
    /// The store to replay into.
    pub(crate) fn store(&self) -> &AnyStore {
        &self.store
    }

    /// All is in it.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub(crate) async fn finish(self) -> Result<(), Failure> {
        match self.filling {
            Some(filling) => Ok(filling.finish().await?),
            None => Ok(()),
        }
    }
}

/// Makes a store where there is none.
///
/// # Errors
/// When there is one, or it cannot be made.
pub(crate) async fn make_store(
    url: &StoreUrl,
    client: &SettingsFile,
    book: &Arc<SchemaBook>,
) -> Result<FreshStore, Failure> {
    match url {
        StoreUrl::Sqlite(file) => {
            make_parent(file)?;
            let filling = sqlite::Filling::begin(file)?;
            let store = AnyStore::Sqlite(filling.store().clone());
            Ok(FreshStore { store, filling: Some(filling) })
        }
        StoreUrl::Cql(_) => {
            Ok(FreshStore { store: open_store(url, client, book).await?, filling: None })
        }
    }
}

/// How far a store is, by partition.
///
/// # Errors
/// When it is not a store of this version, or out of reach.
pub(crate) async fn progress_of(
    url: &StoreUrl,
    client: &SettingsFile,
) -> Result<Vec<(u32, Progress)>, Failure> {
    match url {
        StoreUrl::Sqlite(file) => Ok(sqlite::open_read_only(file)?.all_progress()?),
        StoreUrl::Cql(cluster) => {
            let options = cql_options(cluster, client)?.looked_at();
            Ok(CqlStore::open(&options).await?.all_progress().await?)
        }
    }
}

/// Compares two stores of one kind.
///
/// # Errors
/// When one of them is not a store of this version, or they are of two kinds.
pub(crate) async fn compare(
    left: &StoreUrl,
    right: &StoreUrl,
    client: &SettingsFile,
    limit: usize,
) -> Result<Comparison, Failure> {
    match (left, right) {
        (StoreUrl::Sqlite(left), StoreUrl::Sqlite(right)) => {
            Ok(sqlite::compare(left, right, limit)?)
        }
        (StoreUrl::Cql(left), StoreUrl::Cql(right)) => {
            let left = CqlStore::open(&cql_options(left, client)?.looked_at()).await?;
            let right = CqlStore::open(&cql_options(right, client)?.looked_at()).await?;
            Ok(cql::compare(&left, &right, limit).await?)
        }
        (StoreUrl::Sqlite(_), StoreUrl::Cql(_)) | (StoreUrl::Cql(_), StoreUrl::Sqlite(_)) => {
            let message = format!("{left} and {right} are stores of two kinds");
            Err(Failure::new(Exit::Usage, message).remedy("replay into a store of the same kind"))
        }
    }
}

/// Refuses a target of a replay that holds something already.
///
/// # Errors
/// Names the target.
pub(crate) async fn check_fresh(url: &StoreUrl, client: &SettingsFile) -> Result<(), Failure> {
    let is_there = match url {
        StoreUrl::Sqlite(file) => file.exists(),
        StoreUrl::Cql(cluster) => {
            let store = CqlStore::open(&cql_options(cluster, client)?).await?;
            !store.all_progress().await?.is_empty()
        }
    };
    if !is_there {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, format!("{url} is there already"))
        .remedy("a replay makes a fresh store: name another one, or remove that one"))
}

/// Makes another keyspace the one that servers use which name this one. Gives the one before.
///
/// # Errors
/// When the cluster is out of reach, or the keyspace is no store of the same log.
pub(crate) async fn switch_store(
    cluster: &Cluster,
    client: &SettingsFile,
    to: &str,
    reason: &str,
) -> Result<String, Failure> {
    Ok(CqlStore::switch(&cql_options(cluster, client)?, to, reason).await?.from)
}

/// Removes a keyspace, the very one that is named.
///
/// # Errors
/// When the cluster is out of reach, it is no store, or it says that another keyspace is the live one.
pub(crate) async fn remove_store(cluster: &Cluster, client: &SettingsFile) -> Result<(), Failure> {
    Ok(CqlStore::remove(&cql_options(cluster, client)?).await?)
}

/// The settings that the CQL client takes.
fn cql_options(cluster: &Cluster, client: &SettingsFile) -> Result<cql::Options, Failure> {
    let hosts: Vec<&str> = cluster.hosts.iter().map(String::as_str).collect();
    let mut options = cql::Options::new(&hosts, &cluster.name);
    let (mut user, mut password) = (None, None);
    for (name, value) in client.with(&cluster.settings) {
        let wrong = |why: &str| Failure::new(Exit::Usage, format!("{name}={value}: {why}"));
        match name.as_str() {
            "replication" => {
                options.replication_factor =
                    value.parse().map_err(|_| wrong("it is not a number of copies"))?;
            }
            "datacenter" => options.local_dc = Some(value),
            "user" => user = Some(value),
            "password" => password = Some(value),
            "in_flight" => {
                options.in_flight = value.parse().map_err(|_| wrong("it is not a number"))?;
            }
            _ => {
                let message = format!("the CQL client has no setting '{name}'");
                return Err(Failure::new(Exit::Usage, message)
                    .remedy("it has replication, datacenter, user, password, in_flight"));
            }
        }
    }
    if user.is_some() != password.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "the CQL client needs user and password, or neither",
        ));
    }
    options.credentials = user.zip(password);
    Ok(options)
}

fn make_parent(file: &Path) -> Result<(), Failure> {
    let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(parent).map_err(|error| {
        Failure::new(Exit::Refused, format!("could not make {}: {error}", parent.display()))
    })
}
