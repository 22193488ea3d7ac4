//! Creating a log: six topics, the schema book, and last the identity.
//!
//! The order makes a half-done creation safe to repeat. The topics come first, each made or found.
//! The identity comes last, since a log with an identity is complete and may be opened. Of two
//! processes that create at once, the one whose candidate is first in the topic of control wins, and
//! both report that one. While any records exist in steps or letters, a missing identity
//! is not made anew: it would give finished calls new idempotency keys.

use super::{
    book::{self, BookEntry},
    client::{admin, blocking},
    fault, identity,
    identity::Identity,
    off_thread::OffThread,
    options::{Options, Topics},
    query::Queries,
    writer::Writer,
};
use crate::{Error, Result, TopicPartition, limits};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    types::RDKafkaErrorCode,
};
use std::{sync::Arc, time::Duration};

/// What a log is created with.
#[derive(Clone, Debug)]
pub struct CreateTopics {
    /// Partitions of steps and letters, fixed for ever.
    pub partitions: u32,
    /// Copies of each partition.
    pub replication: u16,
    /// Copies that must have an event before it is acknowledged.
    pub min_insync: u16,
    /// The log's id, random: used only if the log has no identity yet.
    pub log_id: String,
    /// The installation's id, random: used only if the log has no identity yet.
    pub installation_id: String,
    /// Schemas to publish in the schema book.
    pub schemas: Vec<BookEntry>,
}

/// What creating found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// The log's identity, new or old.
    pub identity: Identity,
    /// Topics that were made now.
    pub made: Vec<String>,
    /// Whether the identity was made now, by this process.
    pub is_new: bool,
}

/// Creates a log, or finishes a creation that was interrupted, or does nothing.
///
/// # Errors
/// [`Error::Refused`] where existing topics contradict what is wanted, or hold records of a log
/// whose identity is lost.
pub async fn create(options: &Options, wanted: &CreateTopics) -> Result<Creation> {
    options.check()?;
    check(wanted)?;
    let asked = options.clone();
    let (admin, queries) =
        blocking(move || Ok((OffThread::new(admin(&asked)?), Queries::new(&asked)?))).await?;
    let queries = Arc::new(queries);
    let mut made = Vec::new();
    for shape in shapes(options, wanted) {
        if make(&admin, &queries, &shape).await? {
            made.push(shape.name.to_string());
        }
    }
    outlive_older(options, &queries, &made).await?;
    let writer = Writer::new(options)?;
    book::publish(options, &writer, &wanted.schemas).await?;
    let (identity, is_new) = identify(options, wanted, &queries, &writer).await?;
    Ok(Creation { identity, made, is_new })
}

/// A topic that was made now is empty, unless somebody else creates the log at the same time, or
/// it is an older one of this name: a broker serves a deleted topic until it has heard of its end,
/// and the identity in that one does not count. So its end is waited for, for a while.
async fn outlive_older(options: &Options, queries: &Arc<Queries>, made: &[String]) -> Result<()> {
    let control = options.topics().control;
    if !made.contains(&control.to_string()) {
        return Ok(());
    }
    let of = TopicPartition::new(control, 0);
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < limits::KAFKA_OUTLIVE {
        let (asked, of) = (Arc::clone(queries), of.clone());
        if blocking(move || asked.bounds(&of)).await?.end == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn check(wanted: &CreateTopics) -> Result<()> {
    if wanted.partitions == 0 || wanted.replication == 0 || wanted.min_insync == 0 {
        let message = "partitions, replication and min.insync.replicas are at least 1";
        return Err(Error::Refused(message.into()));
    }
    if wanted.min_insync > wanted.replication {
        let CreateTopics { replication, min_insync, .. } = wanted;
        return Err(Error::Refused(format!(
            "min.insync.replicas {min_insync} is more than replication {replication}: nothing \
             could ever be appended"
        )));
    }
    Ok(())
}

/// One topic as it should be.
struct Shape {
    name: Arc<str>,
    partitions: u32,
    replication: u16,
    settings: Vec<(&'static str, String)>,
}

fn shapes(options: &Options, wanted: &CreateTopics) -> Vec<Shape> {
    let topics = Topics::of_prefix(&options.prefix);
    let shape = |name: &Arc<str>, partitions, policy: &str, largest: usize| Shape {
        name: Arc::clone(name),
        partitions,
        replication: wanted.replication,
        settings: vec![
            ("cleanup.policy", policy.to_owned()),
            ("retention.ms", "-1".to_owned()),
            ("retention.bytes", "-1".to_owned()),
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            ("max.message.bytes", largest.to_string()),
            ("min.insync.replicas", wanted.min_insync.to_string()),
            ("unclean.leader.election.enable", "false".to_owned()),
        ],
    };
    let (steps, letters) = (limits::KAFKA_STEPS_MESSAGE_BYTES, limits::KAFKA_LETTERS_MESSAGE_BYTES);
    let always = [
        shape(&topics.steps, wanted.partitions, "delete", steps),
        shape(&topics.letters, wanted.partitions, "delete", letters),
        shape(&topics.schemas, 1, "compact", steps),
        shape(&topics.audit, 1, "delete", steps),
        shape(&topics.control, 1, "compact", steps),
    ];
    // Made whether it is used yet or not, so that it is there when somebody wants it.
    let told = topics.lifecycle.iter().map(|name| shape(name, wanted.partitions, "delete", steps));
    always.into_iter().chain(told).collect()
}

/// Makes a topic and waits until it can be used. Returns whether it was made now.
async fn make(
    admin: &AdminClient<DefaultClientContext>,
    queries: &Arc<Queries>,
    shape: &Shape,
) -> Result<bool> {
    let name = &*shape.name;
    let replication = TopicReplication::Fixed(i32::from(shape.replication));
    let partitions = i32::try_from(shape.partitions)
        .map_err(|_| Error::Refused(format!("{} partitions", shape.partitions)))?;
    let mut topic = NewTopic::new(name, partitions, replication);
    for (setting, value) in &shape.settings {
        topic = topic.set(setting, value);
    }
    let what = format!("creating topic {name}");
    let options = AdminOptions::new()
        .request_timeout(Some(limits::KAFKA_CREATE))
        .operation_timeout(Some(limits::KAFKA_CREATE));
    let outcome = admin.create_topics([&topic], &options).await;
    let outcome = outcome.map_err(|error| fault::of_query(&what, &error))?;
    let is_made = match outcome.into_iter().next() {
        Some(Ok(_)) => true,
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => false,
        Some(Err((_, code))) => return Err(refused(&what, code, shape)),
        None => return Err(Error::Unavailable(format!("{what}: no answer"))),
    };
    settle(queries, shape).await?;
    Ok(is_made)
}

fn refused(what: &str, code: RDKafkaErrorCode, shape: &Shape) -> Error {
    match code {
        RDKafkaErrorCode::InvalidReplicationFactor => Error::Refused(format!(
            "{what}: there are fewer brokers than the {} copies wanted; lower the replication",
            shape.replication
        )),
        code => match fault::of_code(what, code) {
            Error::Missing(_) => Error::Refused(format!("{what}: {code}")),
            error => error,
        },
    }
}

/// Waits until the brokers know the topic, and refuses one with another number of partitions.
async fn settle(queries: &Arc<Queries>, shape: &Shape) -> Result<()> {
    let begun = tokio::time::Instant::now();
    let found = loop {
        let (queries, name) = (Arc::clone(queries), Arc::clone(&shape.name));
        match blocking(move || queries.settled_partitions(&name)).await {
            Ok(found) => break found,
            Err(error) if begun.elapsed() >= limits::KAFKA_CREATE => return Err(error),
            Err(Error::Missing(_) | Error::Unavailable(_)) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error),
        }
    };
    if found != shape.partitions {
        let Shape { name, partitions, .. } = shape;
        return Err(Error::Refused(format!(
            "topic {name} exists with {found} partitions instead of {partitions}; ask for {found}, \
             or choose another prefix"
        )));
    }
    Ok(())
}

/// The identity that is there, or the one that was wanted, written now.
async fn identify(
    options: &Options,
    wanted: &CreateTopics,
    queries: &Arc<Queries>,
    writer: &Writer,
) -> Result<(Identity, bool)> {
    let asked = options.clone();
    if let Some(found) = blocking(move || identity::read(&asked)).await? {
        return Ok((found, false));
    }
    let (topics, partitions) = (options.topics(), wanted.partitions);
    let asked = Arc::clone(queries);
    blocking(move || {
        for topic in [&topics.steps, &topics.letters] {
            refuse_orphans(&asked, topic, partitions)?;
        }
        Ok(())
    })
    .await?;
    let mine = Identity {
        log_id: wanted.log_id.clone(),
        installation_id: wanted.installation_id.clone(),
        partitions,
    };
    let counted = identity::write(options, writer, &mine).await?;
    let is_new = counted == mine;
    Ok((counted, is_new))
}

/// Records without an identity belong to a log whose topic of control was lost.
fn refuse_orphans(queries: &Queries, topic: &Arc<str>, partitions: u32) -> Result<()> {
    for partition in 0..partitions {
        let of = TopicPartition::new(Arc::clone(topic), partition);
        if queries.bounds(&of)?.end > 0 {
            return Err(Error::Refused(format!(
                "{of} holds records, but the identity of its log is lost: restore the topic of \
                 control, or choose another prefix. A new identity would run finished calls again"
            )));
        }
    }
    Ok(())
}
